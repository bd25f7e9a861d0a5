import { Duration, Effect } from "effect"
import { clockOf } from "./time.js"

/**
 * A clock that moves only when adjusted, and wakes the sleepers on the way. `wall` is the wall time at a time; sleeps
 * and nanoseconds do not follow it.
 */
export const manualClock = (wall = (now: number) => now) => {
  let now = 0
  let sleepers: Array<{ readonly at: number; readonly wake: () => void }> = []
  const clock = clockOf(
    () => wall(now),
    (duration) =>
      Effect.async<void>((resume) => {
        const sleeper = { at: now + Math.ceil(Duration.toMillis(duration)), wake: () => resume(Effect.void) }
        sleepers.push(sleeper)
        return Effect.sync(() => {
          sleepers = sleepers.filter((one) => one !== sleeper)
        })
      }),
    () => now
  )
  const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
  const adjust = async (millis: number): Promise<void> => {
    const end = now + millis
    for (;;) {
      await turn()
      const next = Math.min(...sleepers.map(({ at }) => at))
      if (next > end) break
      now = Math.max(now, next)
      const due = sleepers.filter(({ at }) => at <= now)
      sleepers = sleepers.filter(({ at }) => at > now)
      for (const { wake } of due) wake()
    }
    now = end
    await turn()
  }
  return { clock, adjust, now: () => now }
}
