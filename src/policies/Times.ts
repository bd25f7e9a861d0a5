/**
 * The time by which policies measure. Pure, but for {@link now}.
 *
 * The wall time may jump: it is set, or a virtual machine was moved. A deadline would then fire an hour early, and an
 * open circuit stay open for an hour. So every policy in this process measures by {@link now}, the monotonic clock
 * counted from the wall time at the start of the process. It stands still while the machine sleeps, as timers do: a
 * wait goes on after the sleep.
 *
 * The wall time is read for three things only: the date of a server, the stamp of a record, and states that processes
 * share (`KeyedStore`), because their monotonic clocks have nothing in common. Of those states {@link believed} takes
 * what can be true.
 *
 * @since 0.2.0
 */

import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as DefaultServices from "effect/DefaultServices"
import * as Effect from "effect/Effect"

/**
 * The clock of a program without a clock of its own.
 *
 * @internal
 */
export const liveClock = Context.get(DefaultServices.liveServices, Clock.Clock)

const origin = Math.floor(performance.timeOrigin)

/**
 * The monotonic time of a clock in milliseconds, whole ones on the live clock. It costs as much as the wall time: 75 ns
 * (Node 20).
 *
 * The live clock is read here, because its own nanoseconds cannot be replaced by fake timers of a test. On other clocks
 * it is the wall time while that agrees with the nanoseconds: those of `TestClock` are made of it, and are rounded.
 *
 * @internal
 */
export const now = (clock: Clock.Clock): number => {
  if (clock === liveClock) return Math.floor(origin + performance.now())
  const wall = clock.unsafeCurrentTimeMillis()
  const steady = Math.round(Number(clock.unsafeCurrentTimeNanos()) / 1000) / 1000
  return Math.abs(wall - steady) < 0.001 ? wall : steady
}

/**
 * {@link now} on the clock of the fiber.
 *
 * @internal
 */
export const current: Effect.Effect<number> = Effect.clockWith((clock) => Effect.succeed(now(clock)))

/**
 * A stored time, or `now` if it lies further ahead than `longest`, the longest time ahead that the policy stores: then
 * the clock was set back meanwhile. All in milliseconds.
 *
 * @internal
 */
export const believed = (stored: number, now: number, longest: number): number =>
  stored - now > longest ? now : stored
