/**
 * The policies as combinators on any effect that fails with `LlmError`: retry, timeout, deadline, fallback.
 *
 * They mean the same as Effect's own operators, with three differences: the happy path pays nothing for unused
 * policies, the open `Call` learns of each decision, and each respects the `Deadline` in force. `ChatModel` lifts the
 * same functions over models.
 *
 * Gotchas: an effect under a time limit runs in a fiber of its own, so its changes to a `FiberRef` stay inside it (as
 * with `Effect.fork`). `orElse` asks `LlmError.isFallbackable` unless `when` is given; an error of the caller goes to
 * no second target.
 *
 * @since 0.1.0
 */

import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { dual, identity } from "effect/Function"
import * as Schedule from "effect/Schedule"
import * as LlmError from "../errors/LlmError.js"
import * as Deadline from "../policies/Deadline.js"
import * as Immediate from "../policies/Immediate.js"
import * as PolicyOptions from "../policies/Options.js"
import * as RetryBudget from "../policies/retry/RetryBudget.js"
import { announced } from "../policies/retry/RetryDecision.js"
import * as TimeLimit from "../policies/TimeLimit.js"
import * as WaitQueue from "../policies/WaitQueue.js"
import * as Attempt from "./Attempt.js"
import * as Call from "./Call.js"

// -----------------------------------------------------------------------------
// retry
// -----------------------------------------------------------------------------

/**
 * The options of {@link retry}.
 *
 * @since 0.2.0
 * @category options
 */
export interface RetryOptions {
  /**
   * The budget group of an error; each retry draws on that group's `RetryBudget`. `undefined` for no budget. Default:
   * none.
   */
  readonly group?: ((error: LlmError.LlmError) => string | undefined) | undefined
}

export const retry: {
  /**
   * Retries by a policy, or by any schedule over `LlmError`, and fails with the newest error when it gives up. The
   * schedule is built at the first error, so a success on the first attempt costs one handler.
   *
   * With `group`, each retry draws on that group's `RetryBudget`. Defects and interruption are not retried.
   *
   * @since 0.1.0
   * @category combinators
   */
  <Out, R2>(
    policy: Schedule.Schedule<Out, LlmError.LlmError, R2>,
    options?: RetryOptions
  ): <A, E extends LlmError.LlmError, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R | R2>
  <A, E extends LlmError.LlmError, R, Out, R2>(
    self: Effect.Effect<A, E, R>,
    policy: Schedule.Schedule<Out, LlmError.LlmError, R2>,
    options?: RetryOptions
  ): Effect.Effect<A, E, R | R2>
} = dual(
  (args) => Effect.isEffect(args[0]),
  <A, E extends LlmError.LlmError, R, Out, R2>(
    self: Effect.Effect<A, E, R>,
    policy: Schedule.Schedule<Out, LlmError.LlmError, R2>,
    options?: RetryOptions
  ): Effect.Effect<A, E, R | R2> =>
    Effect.catchAll(self, (error) => {
      const draw = RetryBudget.draw(options?.group)
      return Effect.flatMap(Schedule.driver(announced(policy, draw)), (driver) => again(self, error, driver, draw))
    })
)

/**
 * A draw for an attempt that is no retry: another key, or a fallback within the group. One answer gives one draw back:
 * within a retry, that of the retry.
 *
 * @internal
 */
export const extraDraw = (
  context: Context.Context<never>,
  groupOf: (error: LlmError.LlmError) => string | undefined
): RetryBudget.Draw => {
  const draw = RetryBudget.draw(groupOf)
  return Call.roundOf(context) === undefined ? draw : { ...draw, answered: Effect.void }
}

const again = <A, E extends LlmError.LlmError, R, R2>(
  self: Effect.Effect<A, E, R>,
  error: E,
  driver: Schedule.ScheduleDriver<unknown, LlmError.LlmError, R2>,
  draw: RetryBudget.Draw
): Effect.Effect<A, E, R | R2> =>
  // The waits of a schedule are its own.
  Effect.matchEffect(TimeLimit.kept(driver.next(error)), {
    onFailure: () => Effect.fail(error),
    onSuccess: () =>
      Effect.matchEffect(Effect.provideServiceEffect(self, Schedule.CurrentIterationMetadata, driver.iterationMeta), {
        onFailure: (error) => again(self, error, driver, draw),
        onSuccess: (value) => Effect.as(draw.answered, value)
      })
  })

// -----------------------------------------------------------------------------
// time
// -----------------------------------------------------------------------------

/**
 * The names in a `Timeout` if no target was asked yet.
 *
 * @since 0.1.0
 * @category models
 */
export interface Named {
  /** Default `"steadfast"`. */
  readonly provider?: string | undefined
  /** Default: none. */
  readonly model?: string | undefined
}

/**
 * Makes the `Timeout` of a limit, from its length in milliseconds.
 *
 * @internal
 */
export const timeUp =
  (millis: number, phase: LlmError.TimeoutPhase, named: Named) =>
  (asked: Deadline.Limit["asked"]): LlmError.Timeout =>
    new LlmError.Timeout({
      provider: asked?.provider ?? named.provider ?? "steadfast",
      model: asked?.model ?? named.model,
      message: `no answer within ${Duration.format(Duration.millis(millis))} (${phase})`,
      phase,
      delivery: asked === undefined ? "not-sent" : "unknown"
    })

/**
 * Runs an effect under a limit of so many milliseconds, or as it is if a limit in force is nearer. `run`: how.
 */
const limiting = <A, E, R, E2>(
  self: Effect.Effect<A, E, R>,
  millis: number,
  phase: LlmError.TimeoutPhase,
  named: Named,
  run: (fiber: Immediate.Region["fiber"], limit: Deadline.Limit) => Effect.Effect<A, E | E2, R>
): Effect.Effect<A, E | E2, R> =>
  Effect.withFiberRuntime<A, E | E2, R>((fiber) => {
    const inForce = Deadline.of(fiber.currentContext)
    const limit = Deadline.narrow(inForce, Immediate.nowOf(fiber), millis, phase, timeUp(millis, phase, named))
    return limit === inForce ? self : run(fiber, limit)
  })

/**
 * Limits the time of an effect that keeps limits itself, as all of a model does.
 *
 * @internal
 */
export const limited = <A, E, R>(
  self: Effect.Effect<A, E, R>,
  millis: number,
  phase: LlmError.TimeoutPhase,
  named: Named
): Effect.Effect<A, E | LlmError.LlmError, R> =>
  limiting(self, millis, phase, named, (_, limit) => TimeLimit.under(limit, self, identity))

/**
 * A time limit for any effect: {@link timeout} or {@link deadline}.
 *
 * @since 0.1.0
 * @category models
 */
export interface Limiting {
  /**
   * Limits the time of an effect: interrupts it when `duration` is over, and fails with `Timeout`.
   *
   * `timeout` limits one attempt (`phase: "attempt"`). `deadline` limits a whole call, waits included
   * (`phase: "total"`): a retry whose wait would outlive it is not begun, and the call fails at once with its last
   * error.
   */
  (
    duration: Duration.DurationInput,
    named?: Named
  ): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E | LlmError.Timeout, R>
  <A, E, R>(
    self: Effect.Effect<A, E, R>,
    duration: Duration.DurationInput,
    named?: Named
  ): Effect.Effect<A, E | LlmError.Timeout, R>
}

const length = PolicyOptions.duration()

const limit = (name: string, phase: LlmError.TimeoutPhase): Limiting =>
  dual(
    (args) => Effect.isEffect(args[0]),
    <A, E, R>(self: Effect.Effect<A, E, R>, duration: Duration.DurationInput, named: Named = {}) =>
      limiting(self, length.read(duration, name), phase, named, (fiber, limit) =>
        TimeLimit.keptUnder(fiber, limit, self, (error) => error as LlmError.Timeout)
      )
  )

/**
 * Limits one attempt.
 *
 * @since 0.1.0
 * @category combinators
 */
export const timeout = limit("Resilience.timeout", "attempt")

/**
 * Limits a whole call, waits included.
 *
 * @since 0.1.0
 * @category combinators
 */
export const deadline = limit("Resilience.deadline", "total")

// -----------------------------------------------------------------------------
// fallback
// -----------------------------------------------------------------------------

export const orElse: {
  /**
   * Runs the next effect if this one fails with an error that another target may mend: by default
   * `LlmError.isFallbackable`, else `when`. A refinement in `when` narrows the error channel. If no time is left before
   * the deadline, the error stands. The first effect does not wait for an open circuit or an empty retry budget.
   *
   * @since 0.1.0
   * @category combinators
   */
  <E extends LlmError.LlmError, B, E2, R2, Caught extends E>(
    that: (error: NoInfer<E>) => Effect.Effect<B, E2, R2>,
    options: { readonly when: (error: E) => error is Caught }
  ): <A, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A | B, Exclude<E, Caught> | E2, R | R2>
  /** The same with a plain predicate in `when`, or none. */
  <E extends LlmError.LlmError, B, E2, R2>(
    that: (error: NoInfer<E>) => Effect.Effect<B, E2, R2>,
    options?: { readonly when?: (error: LlmError.LlmError) => boolean }
  ): <A, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A | B, E | E2, R | R2>
  <A, E extends LlmError.LlmError, R, B, E2, R2, Caught extends E>(
    self: Effect.Effect<A, E, R>,
    that: (error: NoInfer<E>) => Effect.Effect<B, E2, R2>,
    options: { readonly when: (error: E) => error is Caught }
  ): Effect.Effect<A | B, Exclude<E, Caught> | E2, R | R2>
  <A, E extends LlmError.LlmError, R, B, E2, R2>(
    self: Effect.Effect<A, E, R>,
    that: (error: NoInfer<E>) => Effect.Effect<B, E2, R2>,
    options?: { readonly when?: (error: LlmError.LlmError) => boolean }
  ): Effect.Effect<A | B, E | E2, R | R2>
} = dual(
  (args) => Effect.isEffect(args[0]),
  <A, E extends LlmError.LlmError, R, B, E2, R2>(
    self: Effect.Effect<A, E, R>,
    that: (error: E) => Effect.Effect<B, E2, R2>,
    options?: { readonly when?: (error: LlmError.LlmError) => boolean }
  ): Effect.Effect<A | B, E | E2, R | R2> =>
    handingOver(
      besides(self, now),
      (error) =>
        (options?.when ?? LlmError.isFallbackable)(error)
          ? Effect.map(fallingBack(error), (fallback) => Context.make(Attempt.Fallback, fallback))
          : Effect.fail(error),
      that
    )
)

/** The time of an effect of which nothing is known: it may be run now. */
const now = (): number => 0

/**
 * Runs an effect beside a fallback that takes traffic from `at` on, in epoch milliseconds: it waits for no gate of ours
 * any longer.
 *
 * @internal
 */
export const besides = <A, E, R>(self: Effect.Effect<A, E, R>, at: () => number): Effect.Effect<A, E, R> =>
  Immediate.masked((region) => {
    const { currentContext } = region.fiber
    const context = WaitQueue.besides(currentContext, at)
    return Immediate.under(region, context, self, identity)
  })

/**
 * Runs the next effect after an error, with the services from `decide`, or fails with the error of `decide`.
 *
 * @internal
 */
export const handingOver = <A, E, R, S, B, E2, R2>(
  self: Effect.Effect<A, E, R>,
  decide: (error: E) => Effect.Effect<Context.Context<S>, E>,
  that: (error: E) => Effect.Effect<B, E2, R2>
): Effect.Effect<A | B, E | E2, R | R2> =>
  Effect.catchAll(self, (error) => Effect.flatMap(decide(error), (services) => Effect.provide(that(error), services)))

/**
 * Logs the fallback after `error` and its reason, and returns the facts for the next target's attempts. Fails with the
 * error if no time is left. The reason is the error's tag by default.
 *
 * @since 0.1.0
 * @category combinators
 */
export const fallingBack = <E extends LlmError.LlmError>(
  error: E,
  reason: string = error._tag
): Effect.Effect<{ readonly from: string; readonly reason: string }, E> =>
  Effect.flatMap(Deadline.remaining, (left) => {
    if (left <= 0) return Effect.fail(error)
    const from = LlmError.targetOf(error)
    return Effect.as(Call.warn(`falling back from ${from}: ${reason}`, error, { reason }), { from, reason })
  })
