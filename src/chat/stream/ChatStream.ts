/**
 * Streamed answers: the parts of a model's `stream`, and its conversions.
 *
 * Inside, a stream is a {@link Source}: an effect that opens it in a scope and returns a {@link Pull}. The combinators
 * work on sources because `Replay` must know exactly which events were delivered, and must close the socket of an
 * attempt before it opens the next one. The public stream of a model is a plain `Stream`.
 *
 * {@link collect} gives the whole answer and {@link text} only its text; both keep the promises of the stream's mode.
 *
 * @since 0.1.0
 */

import * as Cause from "effect/Cause"
import * as Channel from "effect/Channel"
import * as Chunk from "effect/Chunk"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import { identity } from "effect/Function"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type * as Attempt from "../../calls/Attempt.js"
import type * as Call from "../../calls/Call.js"
import * as Resilience from "../../calls/Resilience.js"
import { type LlmError, StreamInterrupted, type TimeoutPhase } from "../../errors/LlmError.js"
import * as Deadline from "../../policies/Deadline.js"
import * as Immediate from "../../policies/Immediate.js"
import * as TimeLimit from "../../policies/TimeLimit.js"
import * as WaitQueue from "../../policies/WaitQueue.js"
import type * as Chat from "../Chat.js"
import * as StreamDecoder from "./StreamDecoder.js"

/**
 * Reads the next events. Fails with `None` at the end of the stream.
 *
 * @since 0.1.0
 * @category models
 */
export type Pull = StreamDecoder.Pull

/**
 * Opens a stream. Nothing is sent before the first pull. Closing the scope releases the stream's resources.
 *
 * @since 0.1.0
 * @category models
 */
export type Source = Effect.Effect<Pull, never, Scope.Scope>

// -----------------------------------------------------------------------------
// destructors
// -----------------------------------------------------------------------------

/**
 * The whole answer of a stream: the same `Chat.Response` that `generate` gives.
 *
 * @since 0.1.0
 * @category destructors
 */
export const collect = <E, R>(self: Stream.Stream<Chat.Event, E, R>): Effect.Effect<Chat.Response, E, R> =>
  Effect.suspend(() => {
    const text: Array<string> = []
    const reasoning: Array<string> = []
    const toolCalls: Array<Chat.ToolCall> = []
    let answer: Chat.Response = { provider: "", model: "", text: "", toolCalls, finishReason: "other" }
    const apply = (event: Chat.Event): void => {
      if (event._tag === "TextDelta") text.push(event.text)
      else if (event._tag === "ReasoningDelta") reasoning.push(event.text)
      else if (event._tag === "ToolCall") toolCalls.push({ id: event.id, name: event.name, arguments: event.arguments })
      else if (event._tag === "Usage") answer = { ...answer, usage: event.usage }
      else if (event._tag === "Finish") answer = { ...answer, finishReason: event.reason }
      else if (event._tag === "Reset") text.length = reasoning.length = toolCalls.length = 0
      else if (event._tag === "Start") {
        const { _tag, ...start } = event
        answer = { ...answer, ...start }
      }
    }
    return Effect.map(
      Stream.runForEachChunk(self, (chunk) => Effect.sync(() => Chunk.forEach(chunk, apply))),
      () => ({
        ...answer,
        text: text.join(""),
        ...(reasoning.length > 0 ? { reasoning: reasoning.join("") } : {})
      })
    )
  })

/**
 * Only the text. Text cannot be taken back, so a `Reset` after some text fails with `StreamInterrupted`. For streams
 * in `restart` mode use {@link collect}, or read the events.
 *
 * @since 0.1.0
 * @category combinators
 */
export const text = <E, R>(self: Stream.Stream<Chat.Event, E, R>): Stream.Stream<string, E | StreamInterrupted, R> =>
  Stream.suspend(() => {
    let received = 0
    let origin = { provider: "steadfast", model: "" }
    return Stream.mapChunksEffect(self, (chunk) => {
      const out: Array<string> = []
      for (const event of chunk) {
        if (event._tag === "TextDelta") {
          out.push(event.text)
          received += event.text.length
        } else if (event._tag === "Start") origin = { provider: event.provider, model: event.model }
        else if (event._tag === "Reset" && received > 0) {
          return Effect.fail(
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
      return Effect.succeed(Chunk.unsafeFromArray(out))
    })
  })

// -----------------------------------------------------------------------------
// sources
// -----------------------------------------------------------------------------

/**
 * Whether an event is content. After its first content a stream can no longer be replayed unnoticed.
 *
 * @since 0.1.0
 * @category predicates
 */
export const isContent = (event: Chat.Event): boolean =>
  event._tag === "TextDelta" || event._tag === "ReasoningDelta" || event._tag === "ToolCall"

/**
 * @internal
 */
export const toChunk = (events: ReadonlyArray<Chat.Event>): Chunk.NonEmptyChunk<Chat.Event> =>
  Chunk.unsafeFromArray(events) as Chunk.NonEmptyChunk<Chat.Event>

/**
 * @since 0.1.0
 * @category conversions
 */
export const toStream = (source: Source): Stream.Stream<Chat.Event, LlmError> =>
  // What `Stream.fromPull` does, in one channel: that one runs another executor inside, for the opening and each chunk.
  Stream.fromChannel(
    Channel.suspend(() => {
      let scope: Scope.CloseableScope | undefined
      let pull: Pull = Effect.flatMap(Scope.make(), (own) => {
        scope = own
        return Effect.flatMap(Scope.extend(source, own), (opened) => {
          pull = opened
          return pull
        })
      })
      const next = Effect.catchAll(
        Effect.suspend((): Effect.Effect<Chunk.Chunk<Chat.Event> | undefined, Option.Option<LlmError>> => pull),
        (end) => (end._tag === "None" ? Effect.succeed(undefined) : Effect.fail(end.value))
      )
      const rest: Channel.Channel<
        Chunk.Chunk<Chat.Event>,
        unknown,
        LlmError,
        unknown,
        unknown,
        unknown
      > = Channel.flatMap(Channel.fromEffect(next), (chunk) =>
        chunk === undefined ? Channel.void : Channel.flatMap(Channel.write(chunk), () => rest)
      )
      return Channel.ensuringWith(rest, (exit) => (scope === undefined ? Effect.void : Scope.close(scope, exit)))
    })
  )

/**
 * Makes a source of any stream, with the promises of ours: no event follows `Finish`, and an end without `Finish` is
 * `StreamInterrupted`.
 *
 * @since 0.1.0
 * @category conversions
 */
export const fromStream = (stream: Stream.Stream<Chat.Event, LlmError>, target: Attempt.Target): Source =>
  Effect.zipWith(Effect.context<never>(), Stream.toPull(stream), (context, pulled) => {
    // A pull runs the stream, so it needs the context of the opening: the attempt and the call around it.
    const pull = Effect.mapInputContext(pulled, (_: Context.Context<never>) => context)
    const tally = StreamDecoder.makeTally(target)
    let finished = false
    const next: Pull = Effect.matchEffect(pull, {
      onSuccess: (chunk) => {
        const events = Chunk.toReadonlyArray(chunk)
        const end = events.findIndex((event) => event._tag === "Finish")
        finished = end !== -1
        const out = finished ? events.slice(0, end + 1) : events
        tally.count(out)
        return out.length > 0 ? Effect.succeed(toChunk(out)) : next
      },
      onFailure: (failure) =>
        Effect.fail(
          failure._tag === "Some" ? failure : Option.some(tally.interrupted("the stream ended before the answer did"))
        )
    })
    return Effect.suspend(() => (finished ? Effect.fail(Option.none()) : next))
  })

/**
 * Adds a service to the context of a source.
 *
 * @internal
 */
export const provided = <I, S>(source: Source, tag: Context.Tag<I, S>, service: S): Source =>
  Effect.mapInputContext(source, (context: Context.Context<Scope.Scope>) => Context.add(context, tag, service))

/**
 * Calls `onEvent` for each event of a pull, and runs `onExit` at the end of the answer: after `Finish`, or after an
 * error.
 */
const watched = (
  pull: Pull,
  onEvent: (event: Chat.Event) => void,
  onExit: (exit: Exit.Exit<void, LlmError>) => Effect.Effect<void> | undefined
): Pull =>
  Effect.matchCauseEffect(pull, {
    onSuccess: (chunk) => {
      let finished = false
      for (const event of chunk) {
        onEvent(event)
        if (event._tag === "Finish") finished = true
      }
      return Immediate.andThen(finished ? onExit(Exit.void) : undefined, () => Effect.succeed(chunk))
    },
    onFailure: (cause) => {
      const failure = Cause.flipCauseOption(cause)
      const exited = failure._tag === "Some" ? onExit(Exit.failCause(failure.value)) : undefined
      return Immediate.andThen(exited, () => Effect.failCause(cause))
    }
  })

/**
 * Opens a call or an attempt around a stream, and closes it once with the end of the stream: its `Finish`, its error,
 * or an interruption if the reader left before. The source is opened under the context of the call or attempt. A pull
 * must itself run its effects under that context, because providing it for each pull costs 5 µs.
 *
 * @since 0.1.0
 * @category combinators
 */
export const evidenced = <O extends Call.Opened>(
  open: (fiber: Fiber.RuntimeFiber<unknown, unknown>) => O,
  body: (opened: O) => Source,
  onEvent: (event: Chat.Event, opened: O) => void = () => {}
): Source =>
  Effect.suspend(() => {
    let end: Exit.Exit<unknown, unknown> = Exit.interrupt(FiberId.none)
    const onExit = (exit: Exit.Exit<unknown, unknown>): undefined => {
      end = exit
    }
    return Effect.flatMap(
      // Without `Effect.acquireRelease`, which compares all FiberRefs of then and now.
      Effect.uninterruptible(
        Effect.withFiberRuntime<O, never, Scope.Scope>((fiber) => {
          const outer = fiber.currentContext as Context.Context<Scope.Scope>
          const opened = open(fiber)
          const close = Effect.suspend(() => {
            const rest = opened.close(end)
            return rest === undefined ? Effect.void : Effect.mapInputContext(rest, (_: Context.Context<never>) => outer)
          })
          return Effect.as(Scope.addFinalizer(Context.get(outer, Scope.Scope), close), opened)
        })
      ),
      (opened) =>
        Effect.suspend(() =>
          opened.first === undefined ? body(opened) : Effect.zipRight(opened.first, body(opened))
        ).pipe(
          Effect.mapInputContext((context: Context.Context<Scope.Scope>) =>
            Context.add(opened.context, Scope.Scope, Context.get(context, Scope.Scope))
          ),
          Effect.tapErrorCause((cause) => Effect.sync(() => onExit(Exit.failCause(cause)))),
          Effect.map((pull) => watched(pull, (event) => onEvent(event, opened), onExit))
        )
    )
  })

/**
 * Runs when a stream ends, with its exit and the last usage that it reported.
 *
 * @since 0.2.0
 * @category models
 */
export type OnEnd = (end: {
  readonly exit: Exit.Exit<void, LlmError>
  readonly usage: Chat.Usage | undefined
}) => Effect.Effect<void>

/**
 * Runs `enter` on the first pull, and opens the stream only if that succeeds: a stream that waits, or is refused, has
 * made no attempt. The `OnEnd` that `enter` returns runs exactly once; if the reader leaves early, with an
 * interruption.
 *
 * `enter` runs uninterruptibly, except under `restore`. With `queues`, its time is the stream's wait
 * (`WaitQueue.Waited`).
 *
 * @since 0.2.0
 * @category combinators
 */
export const guarded = (
  source: Source,
  enter: (restore: Immediate.Region["restore"]) => Effect.Effect<OnEnd, LlmError>,
  queues = false
): Source =>
  Effect.flatMap(Effect.context<Scope.Scope>(), (context) => {
    let onEnd: OnEnd | undefined
    let usage: Chat.Usage | undefined
    let reading: Pull | undefined
    const end = (exit: Exit.Exit<void, LlmError>): Effect.Effect<void> => {
      const run = onEnd
      onEnd = undefined
      return run === undefined ? Effect.void : run({ exit, usage })
    }
    const noteUsage = (event: Chat.Event): void => {
      if (event._tag === "Usage") usage = event.usage
    }
    const openedIn = (context: Context.Context<Scope.Scope>): Pull =>
      Effect.flatMap(
        Effect.mapInputContext(source, (_: Context.Context<never>) => context),
        (pull) => {
          reading = watched(pull, noteUsage, end)
          return reading
        }
      )
    const begun: Pull = Immediate.masked(({ fiber, restore }) => {
      // After a refusal, every further pull is at the end.
      reading = Effect.fail(Option.none())
      const began = Immediate.nowOf(fiber)
      // A wait has the deadline and the fallback of the opening.
      return Immediate.under({ fiber, restore: identity }, context, enter(restore), (entered): Pull => {
        if (Exit.isFailure(entered)) return Effect.failCause(Cause.map(entered.cause, Option.some))
        onEnd = entered.value
        const waited = queues ? Immediate.nowOf(fiber) - began : 0
        return restore(openedIn(waited === 0 ? context : WaitQueue.after(context, waited)))
      })
    })
    return Effect.as(
      Scope.addFinalizer(
        Context.get(context, Scope.Scope),
        Effect.suspend(() => end(Exit.interrupt(FiberId.none)))
      ),
      Effect.suspend(() => reading ?? begun)
    )
  })

/**
 * Holds back all events before the first content, so that a stream that fails before its content can be replayed
 * unnoticed.
 *
 * @since 0.1.0
 * @category combinators
 */
export const held = (source: Source): Source =>
  Effect.map(source, (pull) => {
    let waiting: Array<Chat.Event> | undefined = []
    const next: Pull = Effect.flatMap(pull, (chunk) => {
      if (waiting === undefined) return Effect.succeed(chunk)
      waiting.push(...chunk)
      if (!waiting.some((event) => isContent(event) || event._tag === "Finish")) return next
      const events = waiting
      waiting = undefined
      return Effect.succeed(toChunk(events))
    })
    return Effect.suspend(() => (waiting === undefined ? pull : next))
  })

// -----------------------------------------------------------------------------
// time
// -----------------------------------------------------------------------------

/**
 * The time limits of a stream, in milliseconds. Default for each: no limit.
 *
 * @since 0.1.0
 * @category models
 */
export interface TimeLimits {
  /** The longest time of one attempt. */
  readonly attempt?: number | undefined
  /** The longest time of all attempts and waits together. */
  readonly total?: number | undefined
  /** The longest time to the first content. */
  readonly firstToken?: number | undefined
  /** The longest time between content. Only the time during which the reader waits counts. */
  readonly idle?: number | undefined
}

/**
 * The limit of a stream: it moves with each pull. Captured when the stream is opened, and read by whoever waits in it.
 */
class PullLimit implements Deadline.Limit {
  /** The end of the time of this pull, in milliseconds of the `Clock`. */
  private own = Number.POSITIVE_INFINITY
  private length = Number.POSITIVE_INFINITY
  phase: TimeoutPhase
  expired?: LlmError
  asked?: NonNullable<Deadline.Limit["asked"]>
  readonly outer: Deadline.Limit
  private readonly named: Resilience.Named

  constructor(outer: Deadline.Limit, phase: TimeoutPhase, named: Resilience.Named) {
    this.outer = outer
    this.phase = phase
    this.named = named
  }

  get at(): number {
    return Math.min(this.own, this.outer.at)
  }

  set(at: number, length: number, phase: TimeoutPhase): void {
    this.own = at
    this.length = length
    this.phase = phase
  }

  error(asked: Deadline.Limit["asked"]): LlmError {
    return Resilience.timeUp(this.length, this.phase, this.named)(asked)
  }
}

/**
 * Ends a stream that exceeds a limit with the `Timeout` of that limit. The source keeps limits.
 *
 * @since 0.1.0
 * @category combinators
 */
export const limited = (source: Source, limits: TimeLimits, named: Resilience.Named): Source =>
  Effect.withFiberRuntime((fiber) => {
    const clock = Context.get(fiber.currentDefaultServices, Clock.Clock)
    const start = clock.unsafeCurrentTimeMillis()
    const phase: TimeoutPhase = limits.attempt === undefined ? "total" : "attempt"
    const { attempt = Infinity, firstToken = Infinity, idle = Infinity, total = Infinity } = limits
    const whole = Math.min(attempt, total)
    const limit = new PullLimit(Deadline.of(fiber.currentContext), phase, named)
    let first = true
    const begin = (): void => {
      const end = start + whole
      const at = first ? start + firstToken : clock.unsafeCurrentTimeMillis() + idle
      if (at < end) limit.set(at, first ? firstToken : idle, first ? "first-token" : "idle")
      else limit.set(end, whole, phase)
    }
    begin()
    return Effect.map(
      provided(source, Deadline.Deadline, limit),
      (pull): Pull =>
        Effect.suspend(() => {
          begin()
          return Effect.matchCauseEffect(pull, {
            onSuccess: (chunk) => {
              first = false
              return Effect.succeed(chunk)
            },
            onFailure: (cause) => TimeLimit.named(limit, Exit.failCause(cause), Option.some)
          })
        })
    )
  })

/**
 * A source that keeps no limits itself, under the limit in force at its opening.
 *
 * @internal
 */
export const kept = (source: Source): Source =>
  Effect.flatMap(Effect.context<Scope.Scope>(), (context) =>
    Deadline.of(context) === Deadline.none
      ? source
      : Effect.map(source, (pull) =>
          Effect.mapInputContext(TimeLimit.kept(pull), (_: Context.Context<never>) => context)
        )
  )
