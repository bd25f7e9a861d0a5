/**
 * Continues a stream after it broke, in one of three modes.
 *
 * | mode | promise |
 * |---|---|
 * | `strict` | the delivered events are a prefix of exactly one attempt; replays only while nothing was delivered |
 * | `restart` | `Reset` comes before the first event of a new attempt |
 * | `continue` | the beginning is from one attempt, the rest from one that was asked to continue it, after a `Seam` |
 *
 * {@link retry} and {@link orElse} differ only in the model that they ask after an error. In all modes a stream has one
 * `Finish` or one error at its end, delivers a tool call at most once, and adds the reported usage of lost attempts to
 * the usage of the last one.
 *
 * Gotchas: `restart` and `continue` deliver tool calls only at the end, because the caller may run a tool as soon as it
 * is delivered. `continue` works only in text: not inside a tool call, not after reasoning or a finish reason, not in a
 * JSON answer, and only with models that `Continuation` knows. In all other cases the stream fails with the error.
 *
 * @since 0.1.0
 */

import * as Cause from "effect/Cause"
import * as Chunk from "effect/Chunk"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Call from "../../calls/Call.js"
import type * as Resilience from "../../calls/Resilience.js"
import type { LlmError } from "../../errors/LlmError.js"
import * as FiberInternals from "../../policies/FiberInternals.js"
import * as RetryBudget from "../../policies/retry/RetryBudget.js"
import { announced } from "../../policies/retry/RetryDecision.js"
import * as TimeLimit from "../../policies/TimeLimit.js"
import * as Usage from "../../policies/Usage.js"
import type * as Chat from "../Chat.js"
import * as Passage from "../Passage.js"
import * as Continuation from "./Continuation.js"
import * as Delivery from "./Delivery.js"
import * as Layers from "./Layers.js"
import * as Life from "./Life.js"
import * as Pull from "./Pull.js"
import * as Source from "./Source.js"
import * as StreamDecoder from "./StreamDecoder.js"

export type { Mode } from "./Delivery.js"

/**
 * A model as this module needs it.
 *
 * @since 0.1.0
 * @category models
 */
export interface Candidate {
  /** Opens a stream for a request. */
  readonly open: (request: Chat.Request) => Source.Source
  /** How to ask the model to continue a cut answer; `undefined` if it cannot. */
  readonly continuation: Continuation.Method | undefined
}

/**
 * The cursor of the running attempt's stream. The provider's leaf writes it, `Replay` reads it.
 *
 * @since 0.1.0
 * @category context
 */
export class Progress extends Context.Tag("steadfast/Replay/Progress")<Progress, { cursor: StreamDecoder.Cursor }>() {}

/**
 * Set around an attempt that asks the provider for the rest of a stored answer: the answer's id and the number of the
 * last event received.
 *
 * @since 0.1.0
 * @category context
 */
export class Resume extends Context.Tag("steadfast/Replay/Resume")<
  Resume,
  { readonly id: string; readonly after: number }
>() {}

/**
 * Set around a stream whose reader cannot be told of `Reset` and `Seam`: every replay in it is `strict`. So it is with
 * a `Passage`, whose raw frames tell of neither.
 *
 * @internal
 */
export class Strict extends Context.Tag("steadfast/Replay/Strict")<Strict, true>() {}

// -----------------------------------------------------------------------------
// the combinators
// -----------------------------------------------------------------------------

interface Options {
  readonly mode: Delivery.Mode
  readonly request: Chat.Request
  readonly first: Candidate
  /** The model asked after an error. */
  readonly following: Candidate
  /** Returns a wrapper for the source of the next attempt, or fails to give up. */
  readonly next: (error: LlmError) => Effect.Effect<(source: Source.Source) => Source.Source, LlmError>
}

/** A failed source is closed before the next one is opened. */
const replaying = (options: Options): Source.Source =>
  Source.make(({ closing: outer, context, fiber }) => {
    const above = Call.peek(context, Progress)
    const alive = Call.peek(context, Life.Life)
    const isStrict = Call.peek(context, Strict) !== undefined || Passage.of(context, options.request) !== undefined
    const mode = isStrict ? "strict" : options.mode
    const delivery = Delivery.make(mode, options.request)
    let closing = new Source.Closing()
    let pull: Pull.Pull = Effect.fail(Option.none())
    let progress = { cursor: StreamDecoder.start }
    /** The cursor of the delivered events: events that were read and not delivered are asked for again. */
    let delivered = StreamDecoder.start
    outer.add((exit) => closing.close(exit))

    const open = (
      source: Source.Source,
      fiber: Source.Opening["fiber"],
      from?: Resume["Type"]
    ): Effect.Effect<Pull.Pull> => {
      closing = new Source.Closing()
      // If a resumed attempt fails before its first event, the answer stays at the cursor before it.
      const { inside } = progress.cursor
      delivered = from === undefined ? StreamDecoder.start : { inside, usage: undefined, resume: from }
      progress = { cursor: delivered }
      const inner = FiberInternals.added(context, Progress, progress)
      return Source.open(source, {
        fiber,
        context: from === undefined ? inner : FiberInternals.added(inner, Resume, from),
        closing
      })
    }

    /**
     * Reports our cursor to a `Replay` outside, with the lost usage added and without `resume`: the outer one may ask
     * another model, and it does not know which events are held back here.
     */
    const report = (): void => {
      if (above === undefined) return
      const { cursor } = progress
      above.cursor = { inside: cursor.inside, usage: Usage.add(delivery.lost(), cursor.usage) }
    }

    /** The point to resume the answer from; only the model that began the answer can. */
    const rest = (): Resume["Type"] | undefined => {
      const { resume } = progress.cursor
      if (resume === undefined || options.following !== options.first) return undefined
      return delivered.resume ?? { id: resume.id, after: -1 }
    }

    const replay = (error: LlmError): Pull.Pull => {
      const joint = delivery.joint({ ...progress.cursor, resume: rest() }, options.following.continuation)
      report()
      if (joint === undefined) return Exit.fail(Option.some(error))
      delivery.lose(joint._tag === "Resume" ? undefined : progress.cursor.usage)
      const asked =
        joint._tag === "Seam" ? Continuation.request(options.request, joint.text, joint.method) : options.request
      return Effect.zipRight(
        closing.close(Exit.fail(error)) ?? Effect.void,
        Effect.mapInputContext(
          Effect.matchEffect(options.next(error), {
            onFailure: (error) => Effect.fail(Option.some(error)),
            onSuccess: (within) => {
              const first = delivery.join(joint, error)
              const from = joint._tag === "Resume" ? joint.from : undefined
              return Effect.flatMap(
                Effect.withFiberRuntime<Pull.Pull>((fiber) => open(within(options.following.open(asked)), fiber, from)),
                (opened) => {
                  pull = opened
                  return first.length === 0 ? step() : Effect.succeed(Layers.toChunk(first))
                }
              )
            }
          }),
          (_: Context.Context<never>) => context
        )
      )
    }

    const take = (exit: Exit.Exit<Pull.Events, Option.Option<LlmError>>): Pull.Pull | undefined => {
      if (Exit.isFailure(exit)) {
        const failure = Cause.failureOption(exit.cause)
        return failure._tag === "Some" && failure.value._tag === "Some" ? replay(failure.value.value) : exit
      }
      const events = Chunk.toReadonlyArray(exit.value)
      const taken = delivery.take(events)
      delivered = progress.cursor
      report()
      if (taken === events) return exit
      if (alive !== undefined && events.some(Layers.isContent) && !taken.some(Layers.isContent)) alive()
      return taken.length === 0 ? undefined : Exit.succeed(Layers.toChunk(taken))
    }
    const step = Pull.loop(() => pull, take)
    return Pull.ended(
      open(options.first.open(options.request), fiber),
      Exit.map((opened): Pull.Pull => {
        pull = opened
        return Pull.make(step)
      })
    )
  })

/**
 * Returns the draw of an attempt to the budget with its first content.
 *
 * @internal
 */
export const answering = (source: Source.Source, draw: RetryBudget.Draw): Source.Source =>
  Source.map(source, (pull) => {
    let answered = false
    return Pull.layered(pull, (exit) => {
      if (answered || Exit.isFailure(exit)) return exit
      answered = true
      return Effect.as(draw.answered, exit.value)
    })
  })

/**
 * Asks the same candidate again, as the policy decides.
 *
 * @since 0.1.0
 * @category combinators
 */
export const retry = <Out>(
  candidate: Candidate,
  request: Chat.Request,
  policy: Schedule.Schedule<Out, LlmError>,
  mode: Delivery.Mode,
  options?: Resilience.RetryOptions
): Source.Source =>
  Source.make((opening) => {
    let driver: Schedule.ScheduleDriver<unknown, LlmError> | undefined
    const draw = RetryBudget.draw(options?.group)
    const started = Effect.suspend(() => (driver ? Effect.succeed(driver) : Schedule.driver(announced(policy, draw))))
    const source = replaying({
      mode,
      request,
      first: candidate,
      following: candidate,
      next: (error) =>
        Effect.flatMap(started, (running) => {
          driver = running
          return Effect.matchEffect(TimeLimit.kept(running.next(error)), {
            onFailure: () => Effect.fail(error),
            onSuccess: () =>
              Effect.map(
                running.iterationMeta,
                (meta) => (source) => answering(Layers.provided(source, Schedule.CurrentIterationMetadata, meta), draw)
              )
          })
        })
    })
    return Source.open(source, opening)
  })

/**
 * Asks another candidate, once. `next` fails to give up, or returns a wrapper for the other's source.
 *
 * @since 0.1.0
 * @category combinators
 */
export const orElse = (
  candidate: Candidate,
  that: Candidate,
  request: Chat.Request,
  next: Options["next"],
  mode: Delivery.Mode
): Source.Source =>
  Source.make((opening) => {
    let used = false
    const source = replaying({
      mode,
      request,
      first: candidate,
      following: that,
      next: (error) => {
        if (used) return Effect.fail(error)
        used = true
        return next(error)
      }
    })
    return Source.open(source, opening)
  })
