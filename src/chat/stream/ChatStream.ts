/**
 * Streamed answers: how they are read, and the parts of a model's `stream`.
 *
 * {@link forEach} calls a function for each event, {@link collect} gives the whole answer and {@link text} only its
 * text; all keep the promises of the stream's mode. They read the stream of a model directly. `Stream`'s own operators
 * give the same events, at several times the processor time for each.
 *
 * Inside, a stream is a {@link Source}: an effect that opens it in a scope and returns a {@link Pull}. The combinators
 * work on sources because `Replay` must know exactly which events were delivered, and must close the socket of an
 * attempt before it opens the next one. The public stream of a model is a plain `Stream`.
 *
 * @since 0.1.0
 */

import * as Cause from "effect/Cause"
import * as Channel from "effect/Channel"
import * as Chunk from "effect/Chunk"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { dual } from "effect/Function"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type * as Attempt from "../../calls/Attempt.js"
import { type LlmError, StreamInterrupted } from "../../errors/LlmError.js"
import * as Immediate from "../../policies/Immediate.js"
import * as Answer from "../Answer.js"
import type * as Chat from "../Chat.js"
import * as Layers from "./Layers.js"
import * as Pulls from "./Pull.js"
import * as Sources from "./Source.js"
import * as StreamDecoder from "./StreamDecoder.js"

export { evidenced, guarded, held, isContent, type OnEnd } from "./Layers.js"
export type { Pull } from "./Pull.js"
export type { Source } from "./Source.js"
export { limited, type TimeLimits } from "./StreamLimits.js"

// -----------------------------------------------------------------------------
// readers
// -----------------------------------------------------------------------------

/** The streams that are made of a source, so that a reader can do without the machinery of `Stream`. */
const sources = new WeakMap<object, Sources.Source>()

type Take<E, R> = (events: ReadonlyArray<Chat.Event>) => Effect.Effect<unknown, E, R> | undefined

/** Reads a source to its end. `take` handles the events of a chunk; its effect runs before the next chunk is read. */
const drained = <E, R>(source: Sources.Source, take: Take<E, R>): Effect.Effect<void, E | LlmError, R> =>
  Immediate.masked(({ fiber, restore }) => {
    const closing = new Sources.Closing()
    const reading = Effect.suspend(() =>
      Immediate.entered(
        Sources.open(source, { fiber, context: fiber.currentContext, closing }),
        (pull): Effect.Effect<void, E | LlmError, R> => {
          const again = (exit: Exit.Exit<unknown, E>) => (Exit.isFailure(exit) ? exit : read())
          const taken = (
            exit: Exit.Exit<Pulls.Events, Option.Option<LlmError>>
          ): Effect.Effect<void, E | LlmError, R> | undefined => {
            if (Exit.isFailure(exit)) return ending(exit.cause)
            const awaited = take(Chunk.toReadonlyArray(exit.value))
            return awaited === undefined ? undefined : Pulls.ended(awaited, again)
          }
          const read = Pulls.loop(() => pull, taken)
          return read()
        }
      )
    )
    return Immediate.ended(restore(reading), (exit) => Immediate.andThen(closing.close(exit), () => exit))
  })

/** The end of a stream: no failure is its good end. */
const ending = (cause: Cause.Cause<Option.Option<LlmError>>): Exit.Exit<void, LlmError> => {
  const failure = Cause.flipCauseOption(cause)
  return failure._tag === "None" ? Exit.void : Exit.failCause(failure.value)
}

const forEachChunk = <E, R, E2, R2>(
  self: Stream.Stream<Chat.Event, E, R>,
  take: Take<E2, R2>
): Effect.Effect<void, E | E2, R | R2> => {
  const source = sources.get(self)
  return source === undefined
    ? Stream.runForEachChunk(self, (chunk) => Effect.suspend(() => take(Chunk.toReadonlyArray(chunk)) ?? Effect.void))
    : // A stream that is made of a source fails with an `LlmError`, and needs nothing.
      (drained(source, take) as Effect.Effect<void, E | E2, R | R2>)
}

/** Calls `onEvent` for the events from an index on, until it returns an effect; after that one come the others. */
const each = (
  events: ReadonlyArray<Chat.Event>,
  onEvent: (event: Chat.Event) => unknown,
  from = 0
): Effect.Effect<unknown, unknown, unknown> | undefined => {
  for (let index = from; index < events.length; index++) {
    const awaited = onEvent(events[index] as Chat.Event)
    if (!Effect.isEffect(awaited)) continue
    const exit = Immediate.exitOf(awaited)
    if (exit === undefined) return Effect.flatMap(awaited, () => each(events, onEvent, index + 1) ?? Effect.void)
    if (Exit.isFailure(exit)) return exit
  }
  return undefined
}

/**
 * The errors of an effect that a callback returns; `never` if it returns something else.
 *
 * @since 0.2.0
 * @category models
 */
export type ErrorOf<Out> = Out extends Effect.Effect<infer _A, infer E, infer _R> ? E : never

/**
 * The requirements of an effect that a callback returns; `never` if it returns something else.
 *
 * @since 0.2.0
 * @category models
 */
export type ContextOf<Out> = Out extends Effect.Effect<infer _A, infer _E, infer R> ? R : never

export const forEach: {
  /**
   * Calls `onEvent` for each event. If it returns an effect, the effect runs before the next event is read; any other
   * result is ignored, a promise too. If `onEvent` throws, or its effect fails or is interrupted, the stream is closed.
   *
   * Reads the stream of a model directly, which costs a fraction of `Stream.runForEach`. Reads any other stream too.
   *
   * @since 0.2.0
   * @category destructors
   */
  <Out>(
    onEvent: (event: Chat.Event) => Out
  ): <E, R>(self: Stream.Stream<Chat.Event, E, R>) => Effect.Effect<void, E | ErrorOf<Out>, R | ContextOf<Out>>
  /** Data first: calls `onEvent` for each event. */
  <E, R, Out>(
    self: Stream.Stream<Chat.Event, E, R>,
    onEvent: (event: Chat.Event) => Out
  ): Effect.Effect<void, E | ErrorOf<Out>, R | ContextOf<Out>>
} = dual(2, <E, R, Out>(self: Stream.Stream<Chat.Event, E, R>, onEvent: (event: Chat.Event) => Out) =>
  forEachChunk(
    self,
    (events) => each(events, onEvent) as Effect.Effect<unknown, ErrorOf<Out>, ContextOf<Out>> | undefined
  )
)

/**
 * The whole answer of a stream: the same `Chat.Response` that `generate` gives.
 *
 * @since 0.1.0
 * @category destructors
 */
export const collect = <E, R>(self: Stream.Stream<Chat.Event, E, R>): Effect.Effect<Chat.Response, E, R> =>
  Effect.suspend(() => {
    const answer = Answer.make()
    return Effect.map(
      forEachChunk(self, (events) => {
        answer.add(events)
        return undefined
      }),
      () => answer.response()
    )
  })

/**
 * Only the text. Text cannot be taken back, so a `Reset` after some text fails with `StreamInterrupted`. For streams
 * in `restart` mode use {@link collect}, or read the events.
 *
 * @since 0.1.0
 * @category combinators
 */
export const text = <E, R>(self: Stream.Stream<Chat.Event, E, R>): Stream.Stream<string, E | StreamInterrupted, R> => {
  const source = sources.get(self)
  // A stream that is made of a source fails with an `LlmError`, and needs nothing.
  if (source !== undefined) return streamOf(source, pieces) as Stream.Stream<string, E | StreamInterrupted, R>
  return Stream.suspend(() => {
    const read = pieces()
    return Stream.mapChunksEffect(self, (chunk) => read(Chunk.toReadonlyArray(chunk)))
  })
}

/** Reads the text of one stream. */
const pieces = () => {
  let received = 0
  let origin = { provider: "steadfast", model: "" }
  return (events: ReadonlyArray<Chat.Event>): Exit.Exit<Chunk.Chunk<string>, StreamInterrupted> => {
    const out: Array<string> = []
    for (const event of events) {
      if (event._tag === "TextDelta") {
        out.push(event.text)
        received += event.text.length
      } else if (event._tag === "Start") origin = { provider: event.provider, model: event.model }
      else if (event._tag === "Reset" && received > 0) {
        return Exit.fail(
          new StreamInterrupted({
            ...origin,
            message: `the answer started over (${event.cause}), and delivered text cannot be taken back`,
            delivery: "unknown",
            retryable: false,
            received,
            partial: ""
          })
        )
      }
    }
    return Exit.succeed(Chunk.unsafeFromArray(out))
  }
}

// -----------------------------------------------------------------------------
// conversions
// -----------------------------------------------------------------------------

type Reading<A> = (events: ReadonlyArray<Chat.Event>) => Exit.Exit<Chunk.Chunk<A>, LlmError>

const over: Pulls.Pull = Exit.fail(Option.none())

/** What `Stream.fromPull` does, in one channel: that one runs an executor inside, for the opening and each chunk. */
const streamOf = <A>(source: Sources.Source, reader: () => Reading<A>): Stream.Stream<A, LlmError> =>
  Stream.fromChannel(
    Channel.suspend(() => {
      const closing = new Sources.Closing()
      const read = reader()
      const take = (
        exit: Exit.Exit<Pulls.Events, Option.Option<LlmError>>
      ): Exit.Exit<Chunk.Chunk<A> | undefined, LlmError> => {
        if (Exit.isSuccess(exit)) return read(Chunk.toReadonlyArray(exit.value))
        return Exit.as(ending(exit.cause), undefined)
      }
      let pull: Pulls.Pull | undefined
      const opened = Effect.withFiberRuntime<Chunk.Chunk<A> | undefined, LlmError>((fiber) =>
        Immediate.entered(Sources.open(source, { fiber, context: fiber.currentContext, closing }), (opened) => {
          pull = opened
          return Pulls.ended(Pulls.nextOf(opened), take)
        })
      )
      const next = Effect.suspend(() => (pull === undefined ? opened : Pulls.ended(Pulls.nextOf(pull), take)))
      const rest: Channel.Channel<Chunk.Chunk<A>, unknown, LlmError, unknown, unknown, unknown> = Channel.flatMap(
        Channel.fromEffect(next),
        (chunk) => (chunk === undefined ? Channel.void : Channel.flatMap(Channel.write(chunk), () => rest))
      )
      const end = (exit: Exit.Exit<unknown, unknown>) =>
        Effect.suspend(() => {
          // What the engine keeps of a stream that is over must not keep the call (V8 of Node 20).
          pull = over
          return closing.close(exit) ?? Effect.void
        })
      return Channel.ensuringWith(rest, end)
    })
  )

const events = (): Reading<Chat.Event> => (events) => Exit.succeed(Chunk.unsafeFromArray(events))

/**
 * @since 0.1.0
 * @category conversions
 */
export const toStream = (source: Sources.Source): Stream.Stream<Chat.Event, LlmError> => {
  const stream = streamOf(source, events)
  sources.set(stream, source)
  return stream
}

/**
 * Makes a source of any stream, with the promises of ours: no event follows `Finish`, and an end without `Finish` is
 * `StreamInterrupted`.
 *
 * @since 0.1.0
 * @category conversions
 */
export const fromStream = (stream: Stream.Stream<Chat.Event, LlmError>, target: Attempt.Target): Sources.Source => {
  const own = sources.get(stream)
  const source = own ?? pulledFrom(stream)
  return Sources.map(source, (pull) => {
    const tally = StreamDecoder.makeTally(target)
    let finished = false
    const take = (exit: Exit.Exit<Pulls.Events, Option.Option<LlmError>>): Pulls.Pull | undefined => {
      if (Exit.isFailure(exit)) {
        return Exit.failCause(
          Cause.map(exit.cause, (failure) =>
            failure._tag === "Some" ? failure : Option.some(tally.interrupted("the stream ended before the answer did"))
          )
        )
      }
      const events = Chunk.toReadonlyArray(exit.value)
      const end = events.findIndex((event) => event._tag === "Finish")
      finished = end !== -1
      const out = finished ? events.slice(0, end + 1) : events
      tally.count(out)
      return out.length > 0 ? Exit.succeed(Layers.toChunk(out)) : undefined
    }
    const next = Pulls.loop(() => pull, take)
    return Pulls.make(() => (finished ? Exit.fail(Option.none()) : next()))
  })
}

/** A pull runs the stream, so it needs the context of the opening: the attempt and the call around it. */
const pulledFrom = (stream: Stream.Stream<Chat.Event, LlmError>): Sources.Source =>
  Effect.zipWith(Effect.context<never>(), Stream.toPull(stream), (context, pulled) =>
    // `fromStream` reads on after an empty chunk.
    Effect.mapInputContext(pulled as Pulls.Pull, (_: Context.Context<never>) => context)
  )
