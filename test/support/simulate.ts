import { Cause, Duration, Effect, Exit, Scheduler } from "effect"
import { clockOf } from "./time.js"

/**
 * Runs an effect to its end on a clock of its own, in one go: whenever all fibers wait, the clock moves to the first that
 * is to wake. For hours with thousands of calls, and laws over thousands of timelines. `wall` is the wall time at a
 * time; sleeps and nanoseconds do not follow it.
 */
export const simulate = <A, E>(effect: Effect.Effect<A, E>, wall = (now: number) => now): A => {
  let now = 0
  const sleeps: Array<{ readonly at: number; readonly wake: () => void }> = []
  const tasks: Array<() => void> = []
  const clock = clockOf(
    () => wall(now),
    (duration) =>
      Effect.async<void>((resume) => {
        const sleep = { at: now + Duration.toMillis(duration), wake: () => resume(Effect.void) }
        const later = sleeps.findIndex((other) => other.at > sleep.at)
        sleeps.splice(later === -1 ? sleeps.length : later, 0, sleep)
        return Effect.sync(() => {
          const index = sleeps.indexOf(sleep)
          if (index !== -1) sleeps.splice(index, 1)
        })
      }),
    () => now
  )
  const scheduler = Scheduler.make(
    (task) => tasks.push(task),
    () => false
  )
  const fiber = Effect.runFork(Effect.withClock(effect, clock), { scheduler })
  while (true) {
    for (let task = tasks.shift(); task !== undefined; task = tasks.shift()) task()
    const exit = fiber.unsafePoll()
    if (exit !== null)
      return Exit.getOrElse(exit, (cause) => {
        throw new Error(Cause.pretty(cause))
      })
    const next = sleeps.shift()
    if (next === undefined) throw new Error("everybody waits for ever")
    now = next.at
    next.wake()
  }
}
