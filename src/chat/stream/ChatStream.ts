/**
 * Streamed answers: what a model's `stream` is made of, and what can be made of it.
 *
 * Inside, a stream is a {@link Source}: an effect that opens it in a scope and answers with a {@link Pull}. The
 * combinators work on sources, because replaying (`Replay`) needs to know exactly what was delivered and to close the
 * socket of an attempt before the next one is opened; at the border each becomes a plain `Stream`.
 *
 * {@link collect} gives the whole answer and {@link text} only its text; both keep the promises of the mode that the
 * stream was made with.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Chunk from "effect/Chunk"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type * as Attempt from "../../calls/Attempt.js"
import type * as Call from "../../calls/Call.js"
import * as Resilience from "../../calls/Resilience.js"
import { type LlmError, StreamInterrupted, type TimeoutPhase } from "../../errors/LlmError.js"
import * as Deadline from "../../policies/Deadline.js"
import type * as Immediate from "../../policies/Immediate.js"
import type * as Chat from "../Chat.js"
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
        case "Reset":
          text.length = reasoning.length = toolCalls.length = 0
          break
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
 * Only the text. Text alone cannot take anything back: a `Reset` after text was given out ends it with
 * `StreamInterrupted`; collect a `restart` stream, or read its events.
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
              message: `the answer began anew (${event.cause}), and text that was given out cannot be taken back`,
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
 * Whether an event is content: from the first one on, a stream can no longer be replayed unseen.
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
export const toStream = (source: Source): Stream.Stream<Chat.Event, LlmError> => Stream.fromPull(source)

/**
 * A stream of any origin with the promises that ours keep: nothing comes after `Finish`, and an end without `Finish` is
 * `StreamInterrupted`.
 *
 * @since 0.1.0
 * @category conversions
 */
export const fromStream = (stream: Stream.Stream<Chat.Event, LlmError>, target: Attempt.Target): Source =>
  Effect.zipWith(Effect.context<never>(), Stream.toPull(stream), (context, pulled) => {
    // Pulling is what runs the stream, so it runs inside what was opened around it, just as opening does.
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
 * Runs a source with something more in its context.
 *
 * @internal
 */
export const provided = <I, S>(source: Source, tag: Context.Tag<I, S>, service: S): Source =>
  Effect.mapInputContext(source, (context: Context.Context<Scope.Scope>) => Context.add(context, tag, service))

/**
 * Opens something around a stream and closes it once with how the stream ended: with its `Finish`, with its error, or
 * as interrupted where its reader left before. The source is opened under its context, and what a pull runs it must run
 * under the context that it was opened with: providing one costs 5 µs a pull.
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
      Effect.acquireRelease(
        Effect.withFiberRuntime<O>((fiber) => Effect.succeed(open(fiber))),
        (opened) => opened.close(end) ?? Effect.void
      ),
      (opened) =>
        Effect.suspend(() => body(opened)).pipe(
          Effect.mapInputContext((context: Context.Context<Scope.Scope>) =>
            Context.add(opened.context, Scope.Scope, Context.get(context, Scope.Scope))
          ),
          Effect.tapErrorCause((cause) =>
            Effect.sync(() => {
              end = Exit.failCause(cause)
            })
          ),
          Effect.map((pull) => watched(pull, opened))
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
 * made no attempt. The `OnEnd` that `enter` returns runs exactly once; if the reader leaves early, with an interruption.
 *
 * `enter` runs uninterruptibly, except under `restore`.
 *
 * @since 0.2.0
 * @category combinators
 */
export const guarded = (
  source: Source,
  enter: (restore: Immediate.Region["restore"]) => Effect.Effect<OnEnd, LlmError>
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
    const watched = (pull: Pull): Pull =>
      Effect.matchCauseEffect(pull, {
        onSuccess: (chunk) => {
          let finished = false
          for (const event of chunk) {
            if (event._tag === "Usage") usage = event.usage
            else if (event._tag === "Finish") finished = true
          }
          return finished && onEnd !== undefined ? Effect.as(end(Exit.void), chunk) : Effect.succeed(chunk)
        },
        onFailure: (cause) => {
          const failure = Cause.flipCauseOption(cause)
          const exit = failure._tag === "Some" ? Exit.failCause(failure.value) : Exit.void
          return Effect.zipRight(end(exit), Effect.failCause(cause))
        }
      })
    const opened = Effect.flatMap(
      Effect.mapInputContext(source, (_: Context.Context<never>) => context),
      (pull) => {
        reading = watched(pull)
        return reading
      }
    )
    const begun: Pull = Effect.uninterruptibleMask((restore) => {
      // After a refusal, every further pull is at the end.
      reading = Effect.fail(Option.none())
      return Effect.matchEffect(enter(restore), {
        onFailure: (error) => Effect.fail(Option.some(error)),
        onSuccess: (returned) => {
          onEnd = returned
          return restore(opened)
        }
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
 * Holds back what comes before the first content, so that a stream which fails before it can be replayed and nobody
 * notices.
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
 * The limits of a stream, in milliseconds: for everything (`attempt` or `total`), to its first content, and between
 * content. Only the time that its reader waits counts towards `idle`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Limits {
  readonly attempt?: number | undefined
  readonly total?: number | undefined
  readonly firstToken?: number | undefined
  readonly idle?: number | undefined
}

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
      const { attempt = Infinity, firstToken = Infinity, idle = Infinity, total = Infinity } = limits
      const whole = Math.min(attempt, total)
      const inForce = Deadline.of(context)
      const end = Deadline.narrow(inForce, start, whole, phase)
      const limit: Deadline.Limit = end === inForce ? { at: inForce.at, phase: inForce.phase, outer: inForce } : end
      let first = true
      return Effect.map(
        provided(source, Deadline.Deadline, limit),
        (pull): Pull =>
          Effect.flatMap(Clock.currentTimeMillis, (now) => {
            const gap = first
              ? { whole: firstToken, millis: start + firstToken - now, phase: "first-token" as const }
              : { whole: idle, millis: idle, phase: "idle" as const }
            const rest = { whole, millis: start + whole - now, phase }
            const nearest = gap.millis < rest.millis ? gap : rest
            return Effect.map(
              Resilience.within(pull, {
                ...nearest,
                limit,
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
