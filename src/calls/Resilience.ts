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
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as DefaultServices from "effect/DefaultServices"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import { dual, identity } from "effect/Function"
import * as Runtime from "effect/Runtime"
import * as Schedule from "effect/Schedule"
import * as LlmError from "../errors/LlmError.js"
import * as Deadline from "../policies/Deadline.js"
import * as Immediate from "../policies/Immediate.js"
import * as PolicyOptions from "../policies/Options.js"
import * as RetryBudget from "../policies/retry/RetryBudget.js"
import { announced } from "../policies/retry/RetryDecision.js"
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

const again = <A, E extends LlmError.LlmError, R, R2>(
  self: Effect.Effect<A, E, R>,
  error: E,
  driver: Schedule.ScheduleDriver<unknown, LlmError.LlmError, R2>,
  draw: RetryBudget.Draw
): Effect.Effect<A, E, R | R2> =>
  Effect.matchEffect(driver.next(error), {
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

const liveClock = Context.get(DefaultServices.liveServices, Clock.Clock)

/** The longest platform timer, in milliseconds. A longer limit gets no timer. */
const maxTimeout = 2 ** 31 - 1

/**
 * Calls `onFire` after `millis`, and returns the cancellation. On the live clock it is a plain timer, which costs 1 µs;
 * a sleeping fiber costs 16 µs (effect 3.22, Node 20). Other clocks need the fiber.
 *
 * @internal
 */
export const startTimer = (
  fiber: Fiber.RuntimeFiber<unknown, unknown>,
  runtime: Runtime.Runtime<never>,
  millis: number,
  onFire: () => void
): (() => void) => {
  const clock = Context.get(fiber.currentDefaultServices, Clock.Clock)
  if (clock === liveClock) {
    const timer = setTimeout(onFire, millis)
    return () => clearTimeout(timer)
  }
  const sleeper = Runtime.runFork(runtime)(Effect.map(clock.sleep(Duration.millis(millis)), onFire))
  return () => sleeper.unsafeInterruptAsFork(fiber.id())
}

/**
 * A time limit for {@link within}.
 *
 * @since 0.1.0
 * @category models
 */
export interface Within<E> {
  /** The limit in force inside. */
  readonly limit: Deadline.Limit
  /** The length that the message names, in milliseconds. */
  readonly whole: number
  /** The time left, in milliseconds. */
  readonly millis: number
  /** The phase that the `Timeout` names. */
  readonly phase: LlmError.TimeoutPhase
  /** The names in the `Timeout` if no target was asked yet. */
  readonly named: Named
  /** Turns the `Timeout` into the error. */
  readonly fail: (timeout: LlmError.Timeout) => E
}

/**
 * Runs an effect under a limit. The effect starts at once in its own fiber; if it ends without waiting, no timer is
 * set. When the time is up, the fiber is interrupted and awaited, and the effect fails with the `Timeout`.
 *
 * @since 0.1.0
 * @category combinators
 */
export const within = <A, E, R, E2>(self: Effect.Effect<A, E, R>, options: Within<E2>): Effect.Effect<A, E | E2, R> =>
  Effect.withFiberRuntime<A, E | E2, R>((fiber) => {
    const { limit, millis, named, phase, whole } = options
    const outer = fiber.currentContext
    const runtime = Runtime.make({
      context: Context.add(outer, Deadline.Deadline, limit) as Context.Context<R>,
      fiberRefs: fiber.getFiberRefs(),
      runtimeFlags: Runtime.defaultRuntimeFlags
    })
    const child = Runtime.runFork(runtime)(self)
    const done = child.unsafePoll()
    if (done !== null) return done
    return Effect.async<A, E | E2>((resume) => {
      let expired: LlmError.Timeout | undefined
      const expire = () => {
        const { asked } = limit
        expired = new LlmError.Timeout({
          provider: asked?.provider ?? named.provider ?? "steadfast",
          model: asked?.model ?? named.model,
          message: `no answer within ${Duration.format(Duration.millis(whole))} (${phase})`,
          phase,
          delivery: asked === undefined ? "not-sent" : "unknown"
        })
        limit.expired = expired
        child.unsafeInterruptAsFork(fiber.id())
      }
      const stop = millis > maxTimeout ? () => {} : startTimer(fiber, runtime, Math.max(0, millis), expire)
      child.addObserver((exit: Exit.Exit<A, E>) => {
        stop()
        resume(expired !== undefined && exit._tag === "Failure" ? Effect.fail(options.fail(expired)) : exit)
      })
      return Effect.suspend(() => {
        stop()
        return Effect.asVoid(Fiber.interruptAs(child, fiber.id()))
      })
    })
  })

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

const limiting = (name: string, phase: LlmError.TimeoutPhase): Limiting =>
  dual(
    (args) => Effect.isEffect(args[0]),
    <A, E, R>(self: Effect.Effect<A, E, R>, duration: Duration.DurationInput, named: Named = {}) => {
      const millis = length.read(duration, name)
      return Effect.withFiberRuntime<A, E | LlmError.Timeout, R>((fiber) => {
        const inForce = Deadline.of(fiber.currentContext)
        const limit = Deadline.narrow(inForce, Immediate.nowOf(fiber), millis, phase)
        return limit === inForce ? self : within(self, { limit, whole: millis, millis, phase, named, fail: identity })
      })
    }
  )

/**
 * Limits one attempt.
 *
 * @since 0.1.0
 * @category combinators
 */
export const timeout = limiting("Resilience.timeout", "attempt")

/**
 * Limits a whole call, waits included.
 *
 * @since 0.1.0
 * @category combinators
 */
export const deadline = limiting("Resilience.deadline", "total")

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
    const context = Context.merge(currentContext, WaitQueue.besides(currentContext, at))
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
