/**
 * A wire format, and the reading of its answers.
 *
 * A {@link WireFormat} is a set of functions that neither wait nor send. It has one reader for its answers; {@link
 * decode} gives it a whole body, and {@link decoder} the events of a stream. Both end in the same `Assembly`, so that a
 * whole answer and a streamed one are the same `Chat.Response`.
 *
 * @since 0.1.0
 */

import * as Answer from "../../chat/Answer.js"
import type * as Chat from "../../chat/Chat.js"
import type * as Replay from "../../chat/stream/Replay.js"
import * as Sse from "../../chat/stream/Sse.js"
import type * as StreamDecoder from "../../chat/stream/StreamDecoder.js"
import * as Classify from "../../errors/Classify.js"
import { type ContentFiltered, type InvalidRequest, InvalidResponse, type LlmError } from "../../errors/LlmError.js"
import type { Limits } from "../../policies/pacer/RateLimits.js"
import * as Assembly from "./Assembly.js"
import * as Json from "./Json.js"
import type * as Reader from "./Reader.js"
import type * as Relay from "./Relay.js"
import * as WireFields from "./WireFields.js"

/**
 * The wire format of a provider: functions that neither wait nor send.
 *
 * @since 0.1.0
 * @category models
 */
export interface WireFormat {
  /** The body of a request; an `InvalidRequest` if the format cannot express the request. */
  readonly encode: (request: Chat.Request, streaming: boolean) => WireFields.Encoded | InvalidRequest
  /** How answers are put together. */
  readonly answers: Omit<Assembly.Options, "resumed">
  /** A reader for one answer, or, with the cursor of a broken stream, for the rest of that answer. */
  readonly reader: (assembly: Assembly.Assembly, from?: StreamDecoder.Cursor) => Reader.Reader
  /** The URL of the rest of an answer, from the URL of the request. Absent if the provider keeps no answers. */
  readonly resume?: ((url: string, from: Replay.Resume["Type"]) => string) | undefined
  /** How to fetch an answer that is made later. Absent if the provider makes none. */
  readonly later?: Later | undefined
  /** Whether a stream tells its usage only if `stream_options.include_usage` asks for it. Default `false`. */
  readonly streamUsage?: boolean | undefined
  /** The field of the body that limits the tokens of the answer; absent where it is no field at the top. */
  readonly tokensField?: string | undefined
  /** The rate limits in the headers; `undefined` if there are none. `now` in epoch milliseconds. */
  readonly limits: (headers: WireFields.Headers, now: number) => Limits | undefined
}

/**
 * How to fetch an answer that the provider makes in the background.
 *
 * @since 0.2.0
 * @category models
 */
export interface Later {
  /** The state in a body: the answer is still being made, or it has ended. `undefined` if the body says neither. */
  readonly stateOf: (body: Json.Json) => "pending" | "ended" | undefined
  /** The id of the answer in a body, if it is one. */
  readonly idOf: (body: Json.Json) => string | undefined
  /** The URL of an answer, or of its cancellation, from the URL of the request. */
  readonly url: (url: string, id: string, action?: "cancel") => string
}

/** The finish reason of a whole answer that states none. */
const unstated = "unstated"

/** Receives the usage that an error came with. */
type OnUsage = (usage: Chat.Usage | undefined) => void

/** The events of a whole answer, or the error that its body is. */
const events = (
  format: WireFormat,
  body: unknown,
  context: WireFields.Exchange,
  onUsage: OnUsage | undefined
): ReadonlyArray<Chat.Event> | LlmError => {
  const assembly = new Assembly.Assembly(context, format.answers)
  const reader = format.reader(assembly)
  const error = Classify.answer(context, body) ?? reader.whole(Json.object(body))
  if (error !== undefined) {
    count(reader, body)
    onUsage?.(assembly.usage())
    return error
  }
  reader.ending?.()
  assembly.closed = true
  assembly.reason ??= unstated
  const wrong = assembly.end(reader.reply)
  if (wrong === undefined) return assembly.out
  onUsage?.(assembly.usage())
  return wrong
}

/** Reads the counts of what is an error. Whatever is odd there does not hide the error. */
const count = (reader: Reader.Reader, body: unknown): void => {
  try {
    reader.failed?.(Json.object(body))
  } catch {}
}

/**
 * The answer in a body of a success status: JSON, also with the end of a stream behind it, or the events of a stream
 * that nobody asked for, also in a list. Everything else is the error that it is; `onUsage` receives the usage that
 * such an error came with.
 *
 * @since 0.2.0
 * @category decoding
 */
export const decode = (
  format: WireFormat,
  text: string,
  context: WireFields.Exchange,
  onUsage?: OnUsage
): Chat.Response | LlmError => {
  try {
    const read = eventsOf(format, text, context, onUsage)
    if (read instanceof Error) return read
    const answer = Answer.make()
    answer.add(read.events)
    return answer.response(read.body)
  } catch (defect) {
    return WireFields.thrown(context, defect)
  }
}

/** The events of a whole answer that came as text, and its JSON. */
const eventsOf = (
  format: WireFormat,
  text: string,
  context: WireFields.Exchange,
  onUsage: OnUsage | undefined
): { readonly events: ReadonlyArray<Chat.Event>; readonly body: unknown } | LlmError => {
  const body = Json.parse(text) ?? Json.parse(text.replace(/^\uFEFF/, "").replace(/data:\s*\[DONE\]\s*$/, ""))
  const isList = Array.isArray(body) && body.length > 0
  if (body !== undefined && !isList) {
    const found = events(format, body, context, onUsage)
    return found instanceof Error ? found : { events: found, body }
  }
  if (!isList && !/^\uFEFF?\s*(?:data|event|id|retry)?:/.test(text)) return Classify.unreadable(context, text)
  const out: Array<Chat.Event> = []
  const reading = decoder(format, context)
  const parser = Sse.make()
  const sent = isList
    ? [{ event: undefined, data: text, stray: true }]
    : [...parser.feed(new TextEncoder().encode(text)), ...parser.end()]
  const read = (): LlmError | undefined => {
    for (const event of sent) {
      const error = reading.push(event, out)
      if (error !== undefined) return error
      if (reading.done()) break
    }
    return reading.end(out)
  }
  const error = read()
  if (error === undefined && out.at(-1)?._tag === "Finish") return { events: out, body: undefined }
  onUsage?.(reading.cursor().usage)
  return (
    error ?? new InvalidResponse(WireFields.errorFields(context, "the events of an answer end before the answer does"))
  )
}

const brace = 123

const heartbeat = /^\[?(?:ping|pong|heart[ _-]?beat|keep[ _-]?alive)\]?$/i

/** Whether an event without JSON says nothing: heartbeats of servers and gateways. */
const isNoise = (data: string, name = ""): boolean =>
  data === "" || data.startsWith(":") || heartbeat.test(data) || heartbeat.test(name)

/**
 * A decoder for one stream, or, with the cursor of a broken stream, for the rest of that answer. With `passing` its
 * events bring the raw frames.
 *
 * @since 0.2.0
 * @category decoding
 */
export const decoder = (
  format: WireFormat,
  context: WireFields.Exchange,
  from?: StreamDecoder.Cursor,
  passing?: Relay.Relaying
): StreamDecoder.Decoder => {
  const seen = from?.resume?.after ?? -1
  const resumed = seen >= 0
  const relay = passing?.frames(seen)
  /** What was wrong with text outside of any event, which may be a whole answer. */
  let astray: LlmError | undefined
  /** Whether the answer came as a whole. */
  let replayed = false
  /** The end of an answer that was filtered, until its usage has come. */
  let filtered: ContentFiltered | undefined
  /** The usage in a whole answer that is an error. */
  let usage: Chat.Usage | undefined
  const assembly = new Assembly.Assembly(context, { ...format.answers, resumed, relayed: passing !== undefined })
  const reader = format.reader(assembly, from)

  /** Reads a list of events, which Gemini sends to whoever does not ask for a stream of them. */
  const readList = (list: ReadonlyArray<unknown>, { event }: Sse.Event): LlmError | undefined => {
    for (const one of list) {
      const error = Array.isArray(one) ? undefined : read(one, { event, data: "", stray: false })
      if (error !== undefined || assembly.closed) return error
    }
    return undefined
  }

  const read = (parsed: unknown, sent: Sse.Event): LlmError | undefined => {
    if (Array.isArray(parsed)) return readList(parsed, sent)
    const { event, stray } = sent
    const data = Json.object(parsed)
    const error = reader.isWhole?.(data, event) === true ? undefined : Classify.event(context, parsed, event)
    if (error !== undefined || filtered !== undefined) count(reader, data)
    // Chat Completions tells the usage after the end.
    if (error?._tag === "ContentFiltered" && assembly.usage() === undefined) filtered ??= error
    if (filtered !== undefined) return assembly.usage() === undefined ? undefined : filtered
    if (error !== undefined) return error
    if (!stray) return reader.event(data, event)
    if (assembly.progress === 0 && astray === undefined) readWhole(parsed)
    return undefined
  }

  /** Reads a whole answer to a request for a stream. */
  const readWhole = (body: unknown): void => {
    const found = events(format, body, context, (told) => {
      usage = told
    })
    if (found instanceof Error) {
      astray = found
      return
    }
    assembly.out.push(...found)
    replayed = true
  }

  /** An event that is no JSON object. */
  const odd = (sent: Sse.Event): LlmError | undefined => {
    const text = sent.data.trim()
    if (text === "[DONE]") {
      reader.done()
      return undefined
    }
    if (isNoise(text, sent.event)) return undefined
    const parsed = Json.parse(text)
    if (parsed !== undefined) return read(parsed, sent)
    if (sent.stray) {
      astray = Classify.unreadable(context, text)
      return undefined
    }
    return Classify.frame(context, text, sent.event) ?? WireFields.missing(context, "data", text.slice(0, 200), "JSON")
  }

  /** Frames that no event brought are asked for again. */
  const placeOf = (place: StreamDecoder.Cursor["resume"]): StreamDecoder.Cursor["resume"] =>
    place === undefined || relay === undefined ? place : { ...place, after: relay.after() }

  const take = (sent: Sse.Event): LlmError | undefined => {
    if (sent.data.charCodeAt(0) !== brace) return odd(sent)
    const parsed = Json.parse(sent.data)
    return parsed === undefined ? odd(sent) : read(parsed, sent)
  }

  return {
    push: (sent, out) => {
      assembly.out = out
      const first = out.length
      const { progress, size } = assembly
      try {
        const error = take(sent)
        if (error !== undefined) return error
        if (relay !== undefined) {
          const isEnd = assembly.closed || assembly.reason !== undefined
          const state = { grew: assembly.size > size, moved: assembly.progress > progress, isEnd }
          relay.take(sent, out, first, state, () => assembly.beat())
          if (relay.size() > context.maxBytes) return WireFields.tooLarge(context)
        }
      } catch (defect) {
        return WireFields.thrown(context, defect)
      }
      // A piece of unknown size is as large as its event.
      if (assembly.progress > progress && assembly.size === size) assembly.size += sent.data.length
      return assembly.size > context.maxBytes ? WireFields.tooLarge(context) : undefined
    },
    done: () => assembly.closed || replayed,
    end: (out) => {
      if (filtered !== undefined) return filtered
      if (replayed) return undefined
      assembly.out = out
      try {
        reader.ending?.()
        const first = out.length
        const error = assembly.end(reader.reply) ?? (assembly.progress === 0 ? astray : undefined)
        relay?.end(out, first)
        return error
      } catch (defect) {
        return WireFields.thrown(context, defect)
      }
    },
    over: () => replayed || filtered !== undefined || assembly.over(),
    progress: () => assembly.progress,
    cursor: () => {
      const position = assembly.position(placeOf(reader.resume?.()))
      return usage === undefined ? position : { ...position, usage }
    }
  }
}
