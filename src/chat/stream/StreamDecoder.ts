/**
 * Decodes a provider's bytes into events.
 *
 * {@link decode} reads the body of a streaming response with the provider's {@link Decoder}. It ends in exactly one
 * way: with `Finish` after the end that the protocol defines, or with an error. If the bytes end before that, the
 * error is `StreamInterrupted`; an error event in the stream becomes the error that it names.
 *
 * @since 0.1.0
 */

import * as Cause from "effect/Cause"
import * as Chunk from "effect/Chunk"
import type * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { identity } from "effect/Function"
import * as Option from "effect/Option"
import * as JsonText from "../../errors/JsonText.js"
import { InvalidResponse, type LlmError, StreamInterrupted } from "../../errors/LlmError.js"
import type * as Chat from "../Chat.js"
import * as Layers from "./Layers.js"
import * as Pull from "./Pull.js"
import * as Sse from "./Sse.js"
import * as Utf8 from "./Utf8.js"

/**
 * Translates a provider's events into ours. One decoder reads one stream.
 *
 * @since 0.1.0
 * @category models
 */
export interface Decoder {
  /** Takes one event and appends its translation to `out`. Returns the error if the event is one. */
  readonly push: (event: Sse.Event, out: Array<Chat.Event>) => LlmError | undefined
  /** Whether the protocol allows nothing more, so that reading may stop. */
  readonly done: () => boolean
  /**
   * Called once after the last event. Appends the rest (usage, `Finish`) if the protocol's end was seen. Returns an
   * error if there is one; a cut stream appends no `Finish` and returns `undefined`.
   */
  readonly end: (out: Array<Chat.Event>) => LlmError | undefined
  /** Whether the answer has come to its end as far as it told, so that its connection may break. */
  readonly over: () => boolean
  /** The position in the answer. */
  readonly cursor: () => Cursor
  /**
   * The number of pieces of the answer that were taken, delivered or not: text, thoughts (also hidden ones), the parts
   * of a tool call, the pieces of the provider's own tools. Pings and empty pieces are none.
   */
  readonly progress: () => number
}

/**
 * The position of a stream in its answer.
 *
 * @since 0.1.0
 * @category models
 */
export interface Cursor {
  /** The part of the answer that is open; `end` after a finish reason. */
  readonly inside: "nothing" | "text" | "reasoning" | "tool-call" | "end"
  /** The usage reported so far. */
  readonly usage: Chat.Usage | undefined
  /** The id of the answer and the number of its last event, if the provider stores it and can continue it. */
  readonly resume?: { readonly id: string; readonly after: number } | undefined
}

/**
 * The cursor of a stream that has not begun.
 *
 * @internal
 */
export const start: Cursor = { inside: "nothing", usage: undefined }

/**
 * The target of a stream, for error messages, and the callbacks of {@link decode}.
 *
 * @since 0.1.0
 * @category models
 */
export interface Origin<E> {
  /** The provider named in errors. */
  readonly provider: string
  /** The model named in errors. */
  readonly model: string
  /** The request id named in errors. */
  readonly requestId?: string | undefined
  /** Removes secrets from text that an error shows. */
  readonly shown: (text: string) => string
  /** Classifies an error that broke the body while it was read. */
  readonly broken: (error: E) => LlmError
  /** Receives the cursor after each piece. */
  readonly moved: (cursor: Cursor) => void
  /** The longest event, in UTF-16 units. Default: that of `Sse`. */
  readonly maxEventLength?: number | undefined
  /** Whether a time limit ended the wait for more; called if the answer is over by then. Default: none did. */
  readonly lapsed?: (() => boolean) | undefined
  /** Called when the answer grew by something of which nothing can be delivered yet. */
  readonly alive?: (() => void) | undefined
}

/**
 * Decodes bytes: each pull reads until there is an event to deliver.
 *
 * @since 0.1.0
 * @category constructors
 */
export const decode = <E>(
  bytes: Effect.Effect<Chunk.Chunk<Uint8Array>, Option.Option<E>>,
  decoder: Decoder,
  origin: Origin<E>
): Pull.Pull => {
  const state = makeState(decoder, origin)
  const { alive } = origin
  let progress = decoder.progress()
  /** The end of the stream, for the next pull if this one has events too. */
  let ended: End
  const deliver = (out: Array<Chat.Event>): Exit.Exit<Pull.Events, Option.Option<LlmError>> | undefined =>
    out.length > 0
      ? Exit.succeed(Chunk.unsafeFromArray(out) as Pull.Events)
      : ended === undefined
        ? undefined
        : Exit.fail(ended === "end" ? Option.none() : Option.some(ended))
  const take = (exit: Exit.Exit<Chunk.Chunk<Uint8Array>, Option.Option<E>>): ReturnType<typeof deliver> => {
    const out: Array<Chat.Event> = []
    if (Exit.isSuccess(exit)) {
      ended = state.read(exit.value, out)
      const now = decoder.progress()
      if (now !== progress && !out.some(Layers.isContent)) alive?.()
      progress = now
    } else {
      const failure = Cause.failureOption(exit.cause)
      if (failure._tag === "None") {
        if (!decoder.over() || origin.lapsed?.() !== true) return Exit.failCause(exit.cause as Cause.Cause<never>)
        ended = state.end(out)
        return deliver(out)
      }
      ended = failure.value._tag === "None" ? state.end(out) : state.broken(failure.value.value, out)
    }
    return deliver(out)
  }
  const next = Pull.loop(() => bytes, take)
  return Pull.make(() => (ended === undefined ? undefined : deliver([])) ?? next())
}

/** The end of a stream, by its protocol or by an error; `undefined` while it goes on. */
type End = LlmError | "end" | undefined

/** The most text that an error about a cut answer carries, in UTF-16 units: the last 65,536. */
const maxPartial = 65_536

/** The longest secret that is expected in a text, in UTF-16 units: a signed token. */
const longestSecret = 4096

/**
 * Counts the text that was delivered, and makes the error for a cut stream.
 *
 * @internal
 */
export const makeTally = (
  origin: Pick<Origin<never>, "provider" | "model"> & Partial<Pick<Origin<never>, "requestId" | "shown">>
) => {
  const { shown = identity } = origin
  let partial: Array<string> = []
  let kept = 0
  let received = 0
  return {
    count: (events: Iterable<Chat.Event>): void => {
      for (const event of events) {
        if (event._tag !== "TextDelta") continue
        received += event.text.length
        kept += event.text.length
        partial.push(event.text)
      }
      if (kept > 2 * maxPartial) {
        partial = [partial.join("").slice(-maxPartial - longestSecret)]
        kept = maxPartial + longestSecret
      }
    },
    interrupted: (message: string, cause?: LlmError): LlmError =>
      new StreamInterrupted({
        provider: origin.provider,
        model: origin.model,
        requestId: origin.requestId,
        message,
        delivery: "unknown",
        code: cause?.code,
        cause: cause?.cause,
        received,
        // Scrubbed before it is cut, so that no half of a secret survives at the beginning.
        partial: shown(partial.join("").slice(-maxPartial - longestSecret)).slice(-maxPartial)
      })
  }
}

/** Whether an event without a line end is complete: providers end a stream so, but a cut event must not be read. */
const isWhole = (event: Sse.Event): boolean => {
  // Text outside of events that begins as JSON or a page may be a whole answer; else it is a field that was cut.
  if (event.stray && /^\s*[{[<]/.test(event.data)) return true
  return event.data.trim() === "[DONE]" || JsonText.parse(event.data) !== undefined
}

/** The pure part: takes bytes, appends events, and returns the end once. */
const makeState = <E>(decoder: Decoder, origin: Origin<E>) => {
  const parser = Sse.make(origin)
  const { count, interrupted } = makeTally(origin)
  const { model, provider, requestId } = origin

  const push = (events: ReadonlyArray<Sse.Event>, out: Array<Chat.Event>): LlmError | undefined => {
    for (const event of events) {
      const error = decoder.push(event, out)
      if (error !== undefined || decoder.done()) return error
    }
    return undefined
  }

  const feed = (piece: Uint8Array, out: Array<Chat.Event>): LlmError | undefined => {
    const error = push(parser.feed(piece), out)
    if (error !== undefined || !parser.overflow()) return error
    const message = "an event of the stream is too large"
    const never = { retryable: false, fallbackable: false }
    return new InvalidResponse({ provider, model, requestId, message, delivery: "unknown", ...never })
  }

  /** Appends the rest of the answer only if it closes with `Finish`. */
  const finish = (out: Array<Chat.Event>): End => {
    if (out.at(-1)?._tag === "Finish") return "end"
    const last: Array<Chat.Event> = []
    const error = decoder.end(last)
    if (error !== undefined || last.at(-1)?._tag !== "Finish") return error
    out.push(...last)
    return "end"
  }

  const end = (out: Array<Chat.Event>): End => {
    const rest = decoder.done() ? [] : parser.end().filter(isWhole)
    const error = push(rest, out)
    if (rest.length > 0) origin.moved(decoder.cursor())
    if (error !== undefined) return error
    count(out)
    return finish(out) ?? interrupted("the stream ended before the answer did")
  }

  return {
    read: (pieces: Chunk.Chunk<Uint8Array>, out: Array<Chat.Event>): End => {
      const error = feed(Utf8.concat(Chunk.toReadonlyArray(pieces)), out)
      origin.moved(decoder.cursor())
      if (error === undefined && decoder.done()) return end(out)
      count(out)
      return error
    },
    end,
    /** Some servers reset the connection after a whole answer: a finished answer stays finished. */
    broken: (failure: E, out: Array<Chat.Event>): End => {
      const end = decoder.over() ? finish(out) : undefined
      if (end === "end" || (end !== undefined && end._tag === "ContentFiltered")) return end
      const error = origin.broken(failure)
      return error._tag === "StreamInterrupted" || error._tag === "ConnectionError"
        ? interrupted(error.message, error)
        : error
    }
  }
}
