/**
 * From a provider's bytes to events.
 *
 * {@link decode} reads the body of a streaming response with the help of the provider's {@link Decoder}. It ends in
 * exactly one way: with `Finish` if the protocol's own end was seen, or with an error. A clean end of the bytes before
 * that is `StreamInterrupted`, never an answer; an error event is the error that it names.
 *
 * Nothing is emitted before the first content: a stream that fails before it can be replayed, and nobody will notice.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { InvalidResponse, type LlmError, StreamInterrupted } from "../errors/LlmError.js"
import type * as Chat from "./Chat.js"
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
 *
 * @since 0.1.0
 * @category models
 */
export interface Decoder {
  readonly push: (event: Sse.Event, out: Array<Chat.Event>) => LlmError | undefined
  readonly done: () => boolean
  readonly end: (out: Array<Chat.Event>) => LlmError | undefined
}

/**
 * Who speaks, for the errors made here; `broken` classifies what went wrong beneath while the body was read.
 *
 * @since 0.1.0
 * @category models
 */
export interface Origin<E> {
  readonly provider: string
  readonly model: string
  readonly requestId?: string | undefined
  readonly broken: (error: E) => LlmError
}

/**
 * Whether an event is content: from the first one on, a stream can no longer be replayed unseen.
 *
 * @since 0.1.0
 * @category predicates
 */
export const isContent = (event: Chat.Event): boolean =>
  event._tag === "TextDelta" || event._tag === "ReasoningDelta" || event._tag === "ToolCall"

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
      if (ended === undefined && decoder.done()) ended = state.end(out) ?? "end"
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

/**
 * Where the events of one stream leave. `release` holds back what comes before the first content and counts what is
 * handed out; `interrupted` is the error for a stream that was cut, with what was delivered of it.
 *
 * @internal
 */
export const makeOutlet = (origin: {
  readonly provider: string
  readonly model: string
  readonly requestId?: string | undefined
}) => {
  const text: Array<string> = []
  let received = 0
  let held: Array<Chat.Event> | undefined = []
  return {
    release: (events: ReadonlyArray<Chat.Event>, out: Array<Chat.Event>): void => {
      let ready = events
      if (held !== undefined) {
        held.push(...events)
        if (!events.some((event) => isContent(event) || event._tag === "Finish")) return
        ready = held
        held = undefined
      }
      for (const event of ready) {
        if (event._tag === "TextDelta") {
          received += event.text.length
          text.push(event.text)
        }
        out.push(event)
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
        partial: text.join("")
      })
  }
}

/** The part without a runtime: bytes in, events and at most one error out. */
const makeState = <E>(decoder: Decoder, origin: Origin<E>) => {
  const parser = Sse.make()
  const { interrupted, release } = makeOutlet(origin)

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
    const fresh: Array<Chat.Event> = []
    let error: LlmError | undefined
    for (const event of events) {
      error = decoder.push(event, fresh)
      if (error !== undefined || decoder.done()) break
    }
    if (fresh.length > 0) release(fresh, out)
    return error
  }

  return {
    read: (pieces: Chunk.Chunk<Uint8Array>, out: Array<Chat.Event>): LlmError | undefined => {
      for (const piece of pieces) {
        const error = push(parser.feed(piece), out)
        if (error !== undefined) return error
        if (parser.overflow()) return tooLarge()
        if (decoder.done()) return undefined
      }
      return undefined
    },
    end: (out: Array<Chat.Event>): LlmError | undefined => {
      const error = decoder.done() ? undefined : push(parser.end(), out)
      if (error !== undefined) return error
      const last: Array<Chat.Event> = []
      const ended = decoder.end(last)
      const finished = ended === undefined && last.some((event) => event._tag === "Finish")
      if (finished) release(last, out)
      return ended ?? (finished ? undefined : interrupted("the stream ended before the answer did"))
    },
    /** Some servers reset the connection after a whole answer: what was finished stays finished. */
    broken: (failure: E, out: Array<Chat.Event>): LlmError | undefined => {
      const last: Array<Chat.Event> = []
      if (decoder.end(last) === undefined && last.some((event) => event._tag === "Finish")) {
        release(last, out)
        return undefined
      }
      const error = origin.broken(failure)
      return error._tag === "StreamInterrupted" || error._tag === "ConnectionError"
        ? interrupted(error.message, error)
        : error
    }
  }
}
