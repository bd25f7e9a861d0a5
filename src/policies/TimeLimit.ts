/**
 * Time limits where a call waits.
 *
 * A limit is a time in the context (`Deadline`). Whoever waits for something outside sets one timer for the nearest
 * limit ({@link waiting}). When it fires, the wait is given up and ends as interrupted, and the policy that set the
 * limit turns that into its error ({@link under}). So a call under two limits has one timer and no fiber of its own.
 *
 * An effect that keeps no limits itself runs in a fiber that the timer interrupts ({@link kept}).
 *
 * @since 0.2.0
 */

import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as DefaultServices from "effect/DefaultServices"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import { identity } from "effect/Function"
import * as Runtime from "effect/Runtime"
import type * as Scheduler from "effect/Scheduler"
import type { LlmError } from "../errors/LlmError.js"
import * as Deadline from "./Deadline.js"
import * as FiberInternals from "./FiberInternals.js"
import * as Immediate from "./Immediate.js"

// -----------------------------------------------------------------------------
// timers
// -----------------------------------------------------------------------------

const liveClock = Context.get(DefaultServices.liveServices, Clock.Clock)

/** The longest timer of the platform, in milliseconds. A longer one goes off then, so whoever waits looks again. */
const longest = 2 ** 31 - 1

/**
 * What a timer needs of a fiber.
 *
 * @internal
 */
export interface Time {
  readonly clock: Clock.Clock
  /** Default: that of the runtime. */
  readonly scheduler?: Scheduler.Scheduler
}

/**
 * The time of a fiber.
 *
 * @internal
 */
export const timeOf = (fiber: Immediate.Region["fiber"]): Time => ({
  clock: Context.get(fiber.currentDefaultServices, Clock.Clock),
  scheduler: fiber.currentScheduler
})

/**
 * Calls `onFire` after so many milliseconds, rounded up, and returns the cancellation. On the live clock it is a plain
 * timer, which costs 1 µs; a sleeping fiber costs 16 µs (effect 3.22, Node 20). Other clocks need the fiber.
 *
 * @internal
 */
export const startTimer = ({ clock, scheduler }: Time, millis: number, onFire: () => void): (() => void) => {
  const wait = Math.min(Math.ceil(Math.max(0, millis)), longest)
  if (clock === liveClock) {
    const timer = setTimeout(onFire, wait)
    return () => clearTimeout(timer)
  }
  const sleeping = Effect.map(clock.sleep(Duration.millis(wait)), onFire)
  const sleeper = Effect.runFork(sleeping, scheduler === undefined ? {} : { scheduler })
  return () => sleeper.unsafeInterruptAsFork(FiberId.none)
}

/** Calls `onFire` when the time of a limit is up, and returns the cancellation. */
const alarm = (time: Time, limit: Deadline.Limit, onFire: () => void): (() => void) => {
  const set = (): (() => void) =>
    startTimer(time, limit.at - time.clock.unsafeCurrentTimeMillis(), () => {
      if (limit.at > time.clock.unsafeCurrentTimeMillis()) stop = set()
      else {
        Deadline.expire(limit)
        onFire()
      }
    })
  let stop = set()
  return () => stop()
}

// -----------------------------------------------------------------------------
// waits
// -----------------------------------------------------------------------------

/**
 * Waits for something outside, at the longest until the limit: `register` starts it and returns its cancellation, if
 * any. After the limit the wait is cancelled and ends as interrupted.
 *
 * @internal
 */
export const waiting = <A, E, R>(
  time: Time,
  limit: Deadline.Limit,
  register: (resume: (answer: Effect.Effect<A, E, R>) => void) => (() => void) | undefined
): Effect.Effect<A, E, R> =>
  Immediate.masked(({ restore }) => {
    let over = false
    let stop: (() => void) | undefined
    let cancel: (() => void) | undefined
    const waited = FiberInternals.suspended<A, E, R>((resume) => {
      const end = (answer: Effect.Effect<A, E, R>): void => {
        if (over) return
        over = true
        stop?.()
        resume(answer)
      }
      cancel = register(end)
      if (!over && limit.at !== Number.POSITIVE_INFINITY) {
        stop = alarm(time, limit, () => {
          cancel?.()
          end(Exit.failCause(Cause.interrupt(FiberId.none)))
        })
      }
    })
    return Immediate.ended(restore(waited), (exit) => {
      if (!over) {
        // Interrupted.
        over = true
        stop?.()
        cancel?.()
      }
      return exit
    })
  })

/** Runs an effect in a fiber of its own, which is interrupted and awaited when the time of a limit is up. */
const forked = <A, E, R, E2>(
  fiber: Immediate.Region["fiber"],
  context: Context.Context<never>,
  limit: Deadline.Limit,
  self: Effect.Effect<A, E, R>,
  then: (exit: Exit.Exit<A, E>) => Exit.Exit<A, E2>
): Effect.Effect<A, E2> => {
  const runtime = Runtime.make({
    context: context as Context.Context<R>,
    fiberRefs: fiber.getFiberRefs(),
    runtimeFlags: Runtime.defaultRuntimeFlags
  })
  const child = Runtime.runFork(runtime)(self)
  const done = child.unsafePoll()
  if (done !== null) return then(done)
  return Effect.async<A, E2>((resume) => {
    const stop = alarm(timeOf(fiber), limit, () => child.unsafeInterruptAsFork(fiber.id()))
    child.addObserver((exit: Exit.Exit<A, E>) => {
      stop()
      resume(then(exit))
    })
    return Effect.suspend(() => {
      stop()
      return Effect.asVoid(Fiber.interruptAs(child, fiber.id()))
    })
  })
}

/**
 * Runs an effect that keeps no limits itself under the limit in force: in a fiber of its own, which is interrupted and
 * awaited when the time is up. The fiber starts at once; if the effect ends without waiting, no timer is set.
 *
 * @internal
 */
export const kept = <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.withFiberRuntime<A, E, R>((fiber) => {
    const { currentContext } = fiber
    const limit = Deadline.of(currentContext)
    return limit.at === Number.POSITIVE_INFINITY ? self : forked(fiber, currentContext, limit, self, identity)
  })

/**
 * Runs an effect that keeps no limits itself under a new limit, like {@link kept}. If its time was up before it ended
 * well, it fails with the limit's error.
 *
 * @internal
 */
export const keptUnder = <A, E, R, E2>(
  fiber: Immediate.Region["fiber"],
  limit: Deadline.Limit,
  self: Effect.Effect<A, E, R>,
  fail: (expired: LlmError) => E2
): Effect.Effect<A, E | E2, R> =>
  forked(fiber, FiberInternals.added(fiber.currentContext, Deadline.Deadline, limit), limit, self, (exit) =>
    named(limit, exit, fail)
  )

/**
 * Runs an effect that keeps limits under a limit. If its time was up before it ended well, it fails with the limit's
 * error.
 *
 * @internal
 */
export const under = <A, E, R, E2>(
  limit: Deadline.Limit,
  self: Effect.Effect<A, E, R>,
  fail: (expired: LlmError) => E2
): Effect.Effect<A, E | E2, R> =>
  Immediate.masked((region) =>
    Immediate.under(
      region,
      FiberInternals.added(region.fiber.currentContext, Deadline.Deadline, limit),
      self,
      (exit): Effect.Effect<A, E | E2> => named(limit, exit, fail)
    )
  )

/**
 * The exit of an effect under a limit, with the limit's error if its time was up.
 *
 * @internal
 */
export const named = <A, E, E2>(
  limit: Deadline.Limit,
  exit: Exit.Exit<A, E>,
  fail: (expired: LlmError) => E2
): Exit.Exit<A, E | E2> =>
  limit.expired !== undefined && exit._tag === "Failure" ? Exit.fail(fail(limit.expired)) : exit
