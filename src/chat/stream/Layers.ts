/**
 * Layers around a source: the evidence of a call or an attempt, the gates of breaker and pacer, and the hold before the
 * first content.
 *
 * @since 0.2.0
 */

import * as Cause from "effect/Cause"
import * as Chunk from "effect/Chunk"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import { identity } from "effect/Function"
import * as Option from "effect/Option"
import type * as Call from "../../calls/Call.js"
import type { LlmError } from "../../errors/LlmError.js"
import * as FiberInternals from "../../policies/FiberInternals.js"
import * as Immediate from "../../policies/Immediate.js"
import * as Waited from "../../policies/Waited.js"
import type * as Chat from "../Chat.js"
import * as Pull from "./Pull.js"
import * as Source from "./Source.js"

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
export const toChunk = (events: ReadonlyArray<Chat.Event>): Pull.Events => Chunk.unsafeFromArray(events) as Pull.Events

/**
 * Adds a service to the context of a source.
 *
 * @internal
 */
export const provided = <I, S>(source: Source.Source, tag: Context.Tag<I, S>, service: S): Source.Source =>
  Source.under(source, (context) => FiberInternals.added(context, tag, service) as Context.Context<never>)

/**
 * Calls `onEvent` for each event of a pull, and runs `onExit` at the end of the answer: after `Finish`, or after an
 * error.
 */
const watched = (
  pull: Pull.Pull,
  onEvent: ((event: Chat.Event) => void) | undefined,
  onExit: (exit: Exit.Exit<void, LlmError>) => Effect.Effect<void> | undefined
): Pull.Pull =>
  Pull.layered(pull, (exit) => {
    if (Exit.isFailure(exit)) {
      const failure = Cause.flipCauseOption(exit.cause)
      const exited = failure._tag === "Some" ? onExit(Exit.failCause(failure.value)) : undefined
      return Immediate.andThen(exited, () => exit)
    }
    let finished = false
    for (const event of Chunk.toReadonlyArray(exit.value)) {
      onEvent?.(event)
      if (event._tag === "Finish") finished = true
    }
    return finished ? Immediate.andThen(onExit(Exit.void), () => exit) : exit
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
  open: (fiber: Fiber.RuntimeFiber<unknown, unknown>, context: Context.Context<never>) => O,
  body: (opened: O) => Source.Source,
  onEvent?: (event: Chat.Event, opened: O) => void
): Source.Source =>
  Source.make((opening) => {
    const { closing, context, fiber } = opening
    let end: Exit.Exit<unknown, unknown> = Exit.interrupt(FiberId.none)
    const onExit = (exit: Exit.Exit<unknown, unknown>): undefined => {
      end = exit
    }
    const opened = open(fiber, context)
    closing.add(() => {
      const rest = opened.close(end)
      return rest && Effect.mapInputContext(rest, (_: Context.Context<never>) => context)
    })
    const inner = { ...opening, context: opened.context }
    const source = Source.make((inner) => Source.open(body(opened), inner))
    const { first } = opened
    return Pull.ended(
      first === undefined
        ? Source.open(source, inner)
        : Effect.zipRight(
            Effect.mapInputContext(first, (_: Context.Context<never>) => opened.context),
            Effect.suspend(() => Source.open(source, inner))
          ),
      (exit): Exit.Exit<Pull.Pull> => {
        if (Exit.isSuccess(exit)) {
          return Exit.succeed(watched(exit.value, onEvent && ((event) => onEvent(event, opened)), onExit))
        }
        onExit(exit)
        return exit
      }
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
 * (`Waited`).
 *
 * @since 0.2.0
 * @category combinators
 */
export const guarded = (
  source: Source.Source,
  enter: (restore: Immediate.Region["restore"]) => Effect.Effect<OnEnd, LlmError>,
  queues = false
): Source.Source =>
  Source.make(({ closing, context }) => {
    let onEnd: OnEnd | undefined
    let usage: Chat.Usage | undefined
    let reading: Pull.Pull | undefined
    const end = (exit: Exit.Exit<void, LlmError>): Effect.Effect<void> | undefined => {
      const run = onEnd
      onEnd = undefined
      return run?.({ exit, usage })
    }
    const noteUsage = (event: Chat.Event): void => {
      if (event._tag === "Usage") usage = event.usage
    }
    const begun: Pull.Pull = Immediate.masked(({ fiber, restore }) => {
      // After a refusal, every further pull is at the end.
      reading = Effect.fail(Option.none())
      const began = Immediate.nowOf(fiber)
      const opened = (context: Context.Context<never>): Pull.Pull =>
        Immediate.entered(Source.open(source, { fiber, context, closing }), (pull) => {
          reading = watched(pull, noteUsage, end)
          return Pull.nextOf(reading)
        })
      // A wait has the deadline and the fallback of the opening.
      return Immediate.under({ fiber, restore: identity }, context, enter(restore), (entered): Pull.Pull => {
        if (Exit.isFailure(entered)) return Effect.failCause(Cause.map(entered.cause, Option.some))
        onEnd = entered.value
        const waited = queues ? Immediate.nowOf(fiber) - began : 0
        return restore(Effect.suspend(() => opened(waited === 0 ? context : Waited.after(context, waited))))
      })
    })
    closing.add(() => end(Exit.interrupt(FiberId.none)))
    return Exit.succeed(Pull.make(() => (reading === undefined ? begun : Pull.nextOf(reading))))
  })

/**
 * Holds back all events before the first content, so that a stream that fails before its content can be replayed
 * unnoticed.
 *
 * @since 0.1.0
 * @category combinators
 */
export const held = (source: Source.Source): Source.Source =>
  Source.map(source, (pull) => {
    let waiting: Array<Chat.Event> | undefined = []
    const take = (exit: Exit.Exit<Pull.Events, Option.Option<LlmError>>): Pull.Pull | undefined => {
      if (waiting === undefined || Exit.isFailure(exit)) return exit
      waiting.push(...exit.value)
      if (!waiting.some((event) => isContent(event) || event._tag === "Finish")) return undefined
      const events = waiting
      waiting = undefined
      return Exit.succeed(toChunk(events))
    }
    const next = Pull.loop(() => pull, take)
    return Pull.make(() => (waiting === undefined ? Pull.nextOf(pull) : next()))
  })
