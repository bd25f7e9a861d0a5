/**
 * From a provider's bytes to events.
 *
 * {@link decode} reads the body of a streaming response with the help of the provider's {@link Decoder}. It ends in
 * exactly one way: with `Finish` if the protocol's own end was seen, or with an error. A clean end of the bytes before
 * that is `StreamInterrupted`, never an answer; an error event is the error that it names.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import { identity } from "effect/Function"
import * as Option from "effect/Option"
import { InvalidResponse, type LlmError, StreamInterrupted } from "../../errors/LlmError.js"
import type * as Chat from "../Chat.js"
import * as Sse from "./Sse.js"

/**
 * The next events; `None` at the end.
 *
 * @since 0.1.0
 * @category models
 */
export type Pull = Effect.Effect<Chunk.NonEmptyChunk<Chat.Event>, Option.Option<LlmError>>

/**
 * How a provider's events become ours. One decoder reads one stream.
 *
 * - `push` takes one event, appends what it means to `out`, and answers with the error if it is one.
 * - `done` is true once nothing can follow, so that reading may stop.
 * - `end` is called once after the last event: it appends the rest (usage, `Finish`) if the protocol's end was seen,
 *   and answers with an error, or with `undefined` where the stream was merely cut.
 * - `cursor` says where the stream stands.
 *
 * @since 0.1.0
 * @category models
 */
export interface Decoder {
  readonly push: (event: Sse.Event, out: Array<Chat.Event>) => LlmError | undefined
  readonly done: () => boolean
  readonly end: (out: Array<Chat.Event>) => LlmError | undefined
  readonly cursor: () => Cursor
}

/**
 * Where a stream stands: inside what (`end` once a finish reason came), what it is known to have cost so far, and from
 * where the provider can be asked for the rest of this very answer, if it keeps it.
 *
 * @since 0.1.0
 * @category models
 */
export interface Cursor {
  readonly inside: "nothing" | "text" | "reasoning" | "tool-call" | "end"
  readonly usage: Chat.Usage | undefined
  readonly resume?: { readonly id: string; readonly after: number } | undefined
}

/**
 * Who speaks, for the errors made here; `broken` classifies what went wrong beneath while the body was read, `shown`
 * scrubs what an error shows of it, and `moved` hears where the stream stands after each piece.
 *
 * @since 0.1.0
 * @category models
 */
export interface Origin<E> {
  readonly provider: string
  readonly model: string
  readonly requestId?: string | undefined
  readonly shown: (text: string) => string
  readonly broken: (error: E) => LlmError
  readonly moved: (cursor: Cursor) => void
}

/**
 * Events from bytes: each pull reads until there is something to hand out.
 *
 * @since 0.1.0
 * @category constructors
 */
export const decode = <E>(
  bytes: Effect.Effect<Chunk.Chunk<Uint8Array>, Option.Option<E>>,
  decoder: Decoder,
  origin: Origin<E>
): Pull => {
  const state = makeState(decoder, origin)
  /** What the next pull answers when the last one had events and an end at once. */
  let ended: LlmError | "end" | undefined
  const handOut = (out: Array<Chat.Event>): Pull =>
    out.length > 0
      ? Effect.succeed(Chunk.unsafeFromArray(out) as Chunk.NonEmptyChunk<Chat.Event>)
      : ended === undefined
        ? next
        : Effect.fail(ended === "end" ? Option.none() : Option.some(ended))
  const next: Pull = Effect.matchCauseEffect(bytes, {
    onSuccess: (pieces) => {
      const out: Array<Chat.Event> = []
      ended = state.read(pieces, out)
      return handOut(out)
    },
    onFailure: (cause) => {
      const failure = failureOf(cause)
      if (failure === undefined) return Effect.failCause(cause as Cause.Cause<never>)
      const out: Array<Chat.Event> = []
      ended = (failure._tag === "None" ? state.end(out) : state.broken(failure.value, out)) ?? "end"
      return handOut(out)
    }
  })
  return Effect.suspend(() => (ended === undefined ? next : handOut([])))
}

const failureOf = <E>(cause: Cause.Cause<Option.Option<E>>): Option.Option<E> | undefined => {
  const failure = Cause.failureOption(cause)
  return failure._tag === "None" ? undefined : failure.value
}

/** As much of a cut answer as an error carries: its end, for whoever wants to show or mend it. */
const maxPartial = 65_536

/**
 * Keeps count of the text that was handed out, and makes the error for a stream that was cut.
 *
 * @internal
 */
export const makeTally = (origin: {
  readonly provider: string
  readonly model: string
  readonly requestId?: string | undefined
  readonly shown?: ((text: string) => string) | undefined
}) => {
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
        partial = [partial.join("").slice(-maxPartial)]
        kept = maxPartial
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
        partial: shown(partial.join("").slice(-maxPartial))
      })
  }
}

/** Whether what stood unterminated at the end is an event that only lacks its line end, and not one that was cut. */
const isWhole = (event: Sse.Event): boolean => {
  if (event.data === "[DONE]") return true
  try {
    JSON.parse(event.data)
    return true
  } catch {
    return false
  }
}

/** The part without a runtime: bytes in, events and at most one error out. */
const makeState = <E>(decoder: Decoder, origin: Origin<E>) => {
  const parser = Sse.make()
  const { count, interrupted } = makeTally(origin)

  const tooLarge = (): LlmError =>
    new InvalidResponse({
      provider: origin.provider,
      model: origin.model,
      requestId: origin.requestId,
      message: "an event of the stream is too large",
      delivery: "unknown",
      retryable: false
    })

  const push = (events: ReadonlyArray<Sse.Event>, out: Array<Chat.Event>): LlmError | undefined => {
    for (const event of events) {
      const error = decoder.push(event, out)
      if (error !== undefined || decoder.done()) return error
    }
    return undefined
  }

  /** `Finish` is the last event there is, and only together with the protocol's end. */
  const finish = (out: Array<Chat.Event>): LlmError | "finished" | undefined => {
    const last: Array<Chat.Event> = []
    const error = decoder.end(last)
    if (error !== undefined) return error
    if (last.at(-1)?._tag !== "Finish") return undefined
    out.push(...last)
    return "finished"
  }

  const read = (pieces: Chunk.Chunk<Uint8Array>, out: Array<Chat.Event>): LlmError | undefined => {
    for (const piece of pieces) {
      const error = push(parser.feed(piece), out)
      if (error !== undefined) return error
      if (parser.overflow()) return tooLarge()
      if (decoder.done()) return undefined
    }
    return undefined
  }

  const end = (out: Array<Chat.Event>): LlmError | undefined => {
    const error = decoder.done() ? undefined : push(parser.end().filter(isWhole), out)
    if (error !== undefined) return error
    count(out)
    const ended = finish(out)
    return ended === "finished" ? undefined : (ended ?? interrupted("the stream ended before the answer did"))
  }

  return {
    read: (pieces: Chunk.Chunk<Uint8Array>, out: Array<Chat.Event>): LlmError | "end" | undefined => {
      const error = read(pieces, out)
      origin.moved(decoder.cursor())
      if (error === undefined && decoder.done()) return end(out) ?? "end"
      count(out)
      return error
    },
    end,
    /** Some servers reset the connection after a whole answer: what was finished stays finished. */
    broken: (failure: E, out: Array<Chat.Event>): LlmError | undefined => {
      if (finish(out) === "finished") return undefined
      const error = origin.broken(failure)
      return error._tag === "StreamInterrupted" || error._tag === "ConnectionError"
        ? interrupted(error.message, error)
        : error
    }
  }
}
