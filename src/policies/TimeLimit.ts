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
import * as Times from "./Times.js"

// -----------------------------------------------------------------------------
// timers
// -----------------------------------------------------------------------------

/** The longest timer of the platform, in milliseconds. A longer wait takes several. */
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
export const startTimer = (time: Time, millis: number, onFire: () => void): (() => void) => {
  const { clock, scheduler } = time
  const left = Math.ceil(Math.max(0, millis))
  const wait = Math.min(left, longest)
  let stop: (() => void) | undefined
  const fire = (): void => {
    if (left > wait) stop = startTimer(time, left - wait, onFire)
    else onFire()
  }
  if (clock === Times.liveClock) {
    const timer = setTimeout(fire, wait)
    stop = () => clearTimeout(timer)
  } else {
    const sleeping = Effect.map(clock.sleep(Duration.millis(wait)), fire)
    const sleeper = Effect.runFork(sleeping, scheduler === undefined ? {} : { scheduler })
    stop ??= () => sleeper.unsafeInterruptAsFork(FiberId.none)
  }
  return () => stop?.()
}

/**
 * The time left until a limit ends the waits under it, in milliseconds. A limit without an error ends nothing: the
 * application put it into the context, for waits not to begin.
 */
const leftOf = (limit: Deadline.Limit, clock: Clock.Clock): number =>
  limit.error === undefined
    ? limit.outer === undefined
      ? Number.POSITIVE_INFINITY
      : leftOf(limit.outer, clock)
    : limit.at - Times.now(clock)

/**
 * Calls `onFire` when the time of a limit is up, and returns the cancellation. The timer counts: a clock that is set
 * back during the wait does not make it longer.
 */
const alarm = (time: Time, limit: Deadline.Limit, onFire: () => void): (() => void) | undefined => {
  const left = leftOf(limit, time.clock)
  if (left === Number.POSITIVE_INFINITY) return undefined
  return startTimer(time, left, () => {
    Deadline.expire(limit)
    onFire()
  })
}

/**
 * The alarm of waits that come one after another, as those of a stream.
 *
 * @internal
 */
export interface Alarm {
  /** A wait begins. */
  readonly begin: () => void
  /** The wait is over. */
  readonly end: () => void
  /** No other wait comes. */
  readonly stop: () => void
}

/**
 * Makes an alarm that calls `onFire` if the time of a limit is up during a wait. The limit may move between the waits:
 * the timer of an earlier wait stays, and when it goes off, the alarm looks again. So a stream of many tokens sets few
 * timers, and a wait needs no cancellation.
 *
 * @internal
 */
export const alarmOf = (time: Time, limit: Deadline.Limit, onFire: () => void): Alarm => {
  const { clock } = time
  let waits = false
  /** The time for which the timer is set. */
  let due = Number.POSITIVE_INFINITY
  let cancel: (() => void) | undefined
  const stop = (): void => {
    cancel?.()
    cancel = undefined
    due = Number.POSITIVE_INFINITY
  }
  const set = (): void => {
    const { at } = limit
    if (at >= due) return
    const left = leftOf(limit, clock)
    if (left === Number.POSITIVE_INFINITY) return
    stop()
    due = at
    cancel = startTimer(time, left, () => {
      const isMoved = limit.at > due
      cancel = undefined
      due = Number.POSITIVE_INFINITY
      if (!waits) return
      if (isMoved) return set()
      waits = false
      Deadline.expire(limit)
      onFire()
    })
  }
  return {
    begin: () => {
      waits = true
      set()
    },
    end: () => {
      waits = false
    },
    stop: () => {
      waits = false
      stop()
    }
  }
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
      if (!over) {
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
    const time = timeOf(fiber)
    let stop: (() => void) | undefined
    // The fiber may tell of life while it waits for the next content of a stream, which moves the limit.
    const set = (): void => {
      const { at } = limit
      const left = leftOf(limit, time.clock)
      if (left === Number.POSITIVE_INFINITY) return
      stop = startTimer(time, left, () => {
        stop = undefined
        if (limit.at > at) return set()
        Deadline.expire(limit)
        child.unsafeInterruptAsFork(fiber.id())
      })
    }
    set()
    child.addObserver((exit: Exit.Exit<A, E>) => {
      stop?.()
      resume(then(exit))
    })
    return Effect.suspend(() => {
      stop?.()
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
