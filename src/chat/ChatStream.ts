/**
 * Streamed answers: what a model's `stream` is made of, and what can be made of it.
 *
 * Inside, a stream is a {@link Source}: an effect that opens it in a scope and answers with a {@link Pull}. The
 * combinators here work on sources, because replaying needs to know exactly what was delivered and to close the socket
 * of an attempt before the next one is opened; at the border each becomes a plain `Stream`.
 *
 * The promise of `strict` mode, the one there is: what was delivered is a prefix of exactly one attempt. A failed attempt
 * is replayed, at the same target or the next, only while nothing was delivered.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Chunk from "effect/Chunk"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as ExecutionStrategy from "effect/ExecutionStrategy"
import * as Exit from "effect/Exit"
import * as FiberId from "effect/FiberId"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Attempt from "../calls/Attempt.js"
import * as Resilience from "../calls/Resilience.js"
import type { LlmError, TimeoutPhase } from "../errors/LlmError.js"
import * as Deadline from "../policies/Deadline.js"
import { announced } from "../policies/RetryDecision.js"
import type * as Chat from "./Chat.js"
import * as StreamDecoder from "./StreamDecoder.js"

/**
 * The next events; `None` at the end.
 *
 * @since 0.1.0
 * @category models
 */
export type Pull = StreamDecoder.Pull

/**
 * A stream that can be opened; nothing is sent before the first pull. What it holds open is released with the scope.
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
      switch (event._tag) {
        case "Start": {
          const { _tag, ...start } = event
          answer = { ...answer, ...start }
          break
        }
        case "TextDelta":
          text.push(event.text)
          break
        case "ReasoningDelta":
          reasoning.push(event.text)
          break
        case "ToolCall":
          toolCalls.push({ id: event.id, name: event.name, arguments: event.arguments })
          break
        case "Usage":
          answer = { ...answer, usage: event.usage }
          break
        case "Finish":
          answer = { ...answer, finishReason: event.reason }
      }
    }
    return Effect.map(
      Stream.runForEachChunk(self, (chunk) =>
        Effect.sync(() => {
          for (const event of chunk) apply(event)
        })
      ),
      () => ({
        ...answer,
        text: text.join(""),
        ...(reasoning.length > 0 ? { reasoning: reasoning.join("") } : {})
      })
    )
  })

/**
 * Only the text.
 *
 * @since 0.1.0
 * @category combinators
 */
export const text = <E, R>(self: Stream.Stream<Chat.Event, E, R>): Stream.Stream<string, E, R> =>
  Stream.mapChunks(self, (chunk) =>
    Chunk.filterMap(chunk, (event) => (event._tag === "TextDelta" ? Option.some(event.text) : Option.none()))
  )

// -----------------------------------------------------------------------------
// sources
// -----------------------------------------------------------------------------

/**
 * @since 0.1.0
 * @category conversions
 */
export const toStream = (source: Source): Stream.Stream<Chat.Event, LlmError> => Stream.fromPull(source)

/**
 * The promises that the streams of this library keep, for a stream of any origin: nothing comes before the first content,
 * nothing after `Finish`, and an end without `Finish` is `StreamInterrupted`.
 *
 * @since 0.1.0
 * @category conversions
 */
export const fromStream = (stream: Stream.Stream<Chat.Event, LlmError>, target: Attempt.Target): Source =>
  Effect.map(Stream.toPull(stream), (pull) => {
    const outlet = StreamDecoder.makeOutlet(target)
    let finished = false
    const next: Pull = Effect.matchEffect(pull, {
      onSuccess: (chunk) => {
        const events = Chunk.toReadonlyArray(chunk)
        const end = events.findIndex((event) => event._tag === "Finish")
        finished = end !== -1
        const out: Array<Chat.Event> = []
        outlet.release(finished ? events.slice(0, end + 1) : events, out)
        return out.length > 0 ? Effect.succeed(Chunk.unsafeFromArray(out) as Chunk.NonEmptyChunk<Chat.Event>) : next
      },
      onFailure: (failure) =>
        Effect.fail(
          failure._tag === "Some" ? failure : Option.some(outlet.interrupted("the stream ended before the answer did"))
        )
    })
    return Effect.suspend(() => (finished ? Effect.fail(Option.none()) : next))
  })

/** Runs a source with something more in its context. */
const provided = <I, S>(source: Source, tag: Context.Tag<I, S>, service: S): Source =>
  Effect.mapInputContext(source, (context: Context.Context<Scope.Scope>) => Context.add(context, tag, service))

/**
 * What was opened around a stream, a call or an attempt.
 *
 * @since 0.1.0
 * @category models
 */
export interface Opened {
  readonly context: Context.Context<never>
  readonly close: (exit: Exit.Exit<unknown, unknown>) => Effect.Effect<void>
}

/**
 * Opens something around a stream and closes it once with how the stream ended: with its `Finish`, with its error, or as
 * interrupted where its reader left before.
 *
 * @since 0.1.0
 * @category combinators
 */
export const evidenced = <O extends Opened>(
  open: Effect.Effect<O>,
  body: (opened: O) => Source,
  onEvent: (event: Chat.Event, opened: O) => void = () => {}
): Source =>
  Effect.suspend(() => {
    let end: Exit.Exit<unknown, unknown> = Exit.interrupt(FiberId.none)
    const watched = (pull: Pull, opened: O): Pull =>
      Effect.matchCauseEffect(pull, {
        onSuccess: (chunk) => {
          for (const event of chunk) {
            onEvent(event, opened)
            if (event._tag === "Finish") end = Exit.void
          }
          return Effect.succeed(chunk)
        },
        onFailure: (cause) => {
          const failure = Cause.flipCauseOption(cause)
          if (failure._tag === "Some") end = Exit.failCause(failure.value)
          return Effect.failCause(cause)
        }
      })
    return Effect.flatMap(
      Effect.acquireRelease(open, (opened) => opened.close(end)),
      (opened) =>
        Effect.map(
          Effect.mapInputContext(body(opened), (context: Context.Context<Scope.Scope>) =>
            Context.add(opened.context, Scope.Scope, Context.get(context, Scope.Scope))
          ),
          // Pulling is what runs the request, so it runs inside what was opened just as opening does.
          (pull) =>
            watched(
              Effect.mapInputContext(pull, () => opened.context),
              opened
            )
        )
    )
  })

/**
 * Goes from source to source while nothing was delivered: `next` answers with the source that follows an error, or fails
 * to give up. The scope of a failed source is closed before the next is opened.
 */
const replaying = (first: Source, next: (error: LlmError) => Effect.Effect<Source, LlmError>): Source =>
  Effect.flatMap(Effect.context<Scope.Scope>(), (context) => {
    const outer = Context.get(context, Scope.Scope)
    let scope: Scope.CloseableScope | undefined
    let pull: Pull = Effect.fail(Option.none())
    let delivered = false
    const open = (source: Source): Effect.Effect<void> =>
      Effect.flatMap(Scope.fork(outer, ExecutionStrategy.sequential), (opened) => {
        scope = opened
        return Effect.map(
          Effect.mapInputContext(source, () => Context.add(context, Scope.Scope, opened)),
          (opened) => {
            pull = opened
          }
        )
      })
    const replay = (error: LlmError): Pull =>
      Effect.zipRight(
        scope === undefined ? Effect.void : Scope.close(scope, Exit.fail(error)),
        Effect.mapInputContext(
          Effect.matchEffect(next(error), {
            onFailure: (error) => Effect.fail(Option.some(error)),
            onSuccess: (source) => Effect.zipRight(open(source), step)
          }),
          (_: Context.Context<never>) => context
        )
      )
    const step: Pull = Effect.suspend(() =>
      Effect.matchEffect(pull, {
        onSuccess: (chunk) => {
          delivered = true
          return Effect.succeed(chunk)
        },
        onFailure: (failure) => (delivered || failure._tag === "None" ? Effect.fail(failure) : replay(failure.value))
      })
    )
    return Effect.as(open(first), step)
  })

/**
 * Replays by a policy while nothing was delivered.
 *
 * @since 0.1.0
 * @category combinators
 */
export const retry = <Out>(source: Source, policy: Schedule.Schedule<Out, LlmError>): Source =>
  Effect.suspend(() => {
    let driver: Schedule.ScheduleDriver<Out, LlmError> | undefined
    return replaying(source, (error) =>
      Effect.flatMap(driver === undefined ? Schedule.driver(announced(policy)) : Effect.succeed(driver), (started) => {
        driver = started
        return Effect.matchEffect(started.next(error), {
          onFailure: () => Effect.fail(error),
          onSuccess: () =>
            Effect.map(started.iterationMeta, (meta) => provided(source, Schedule.CurrentIterationMetadata, meta))
        })
      })
    )
  })

/**
 * Goes to another source, once, while nothing was delivered and `when` allows it.
 *
 * @since 0.1.0
 * @category combinators
 */
export const orElse = (source: Source, that: Source, when: (error: LlmError) => boolean): Source =>
  Effect.suspend(() => {
    let used = false
    return replaying(source, (error) => {
      if (used || !when(error)) return Effect.fail(error)
      used = true
      return Effect.map(Resilience.fallingBack(error), (fallback) => provided(that, Attempt.Fallback, fallback))
    })
  })

/**
 * How long a stream may take: for everything (`attempt` or `total`), to its first content, and between content. Only the
 * time that its reader waits counts towards `idle`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Limits {
  readonly attempt?: Duration.DurationInput | undefined
  readonly total?: Duration.DurationInput | undefined
  readonly firstToken?: Duration.DurationInput | undefined
  readonly idle?: Duration.DurationInput | undefined
}

const millis = (input: Duration.DurationInput | undefined): number =>
  input === undefined ? Number.POSITIVE_INFINITY : Duration.toMillis(input)

/**
 * Ends a stream that takes longer than its limits with the `Timeout` of the limit that was nearest.
 *
 * @since 0.1.0
 * @category combinators
 */
export const limited = (source: Source, limits: Limits, named: Resilience.Named): Source =>
  Effect.flatMap(Effect.context<Scope.Scope>(), (context) =>
    Effect.flatMap(Clock.currentTimeMillis, (start) => {
      const phase: TimeoutPhase = limits.attempt === undefined ? "total" : "attempt"
      const whole = Math.min(millis(limits.attempt), millis(limits.total))
      const inForce = Context.get(context, Deadline.Deadline)
      const end = Deadline.narrow(inForce, start, whole, phase)
      const limit: Deadline.Limit = end === inForce ? { at: inForce.at, phase: inForce.phase, outer: inForce } : end
      let first = true
      return Effect.map(
        provided(source, Deadline.Deadline, limit),
        (pull): Pull =>
          Effect.flatMap(Clock.currentTimeMillis, (now) => {
            const gap = first
              ? { millis: start + millis(limits.firstToken) - now, phase: "first-token" as const }
              : { millis: millis(limits.idle), phase: "idle" as const }
            const rest = { millis: start + whole - now, phase }
            const nearest = gap.millis < rest.millis ? gap : rest
            return Effect.map(
              Resilience.within(pull, {
                limit,
                millis: nearest.millis,
                phase: nearest.phase,
                named,
                fail: Option.some
              }),
              (chunk) => {
                first = false
                return chunk
              }
            )
          })
      )
    })
  )
