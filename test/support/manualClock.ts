import { Clock, Duration, Effect } from "effect"

/** A clock that moves only when adjusted, and wakes the sleepers on the way. */
export const manualClock = () => {
  let now = 0
  let sleepers: Array<{ readonly at: number; readonly wake: () => void }> = []
  const clock: Clock.Clock = {
    [Clock.ClockTypeId]: Clock.ClockTypeId,
    unsafeCurrentTimeMillis: () => now,
    unsafeCurrentTimeNanos: () => BigInt(now) * 1_000_000n,
    currentTimeMillis: Effect.sync(() => now),
    currentTimeNanos: Effect.sync(() => BigInt(now) * 1_000_000n),
    sleep: (duration) =>
      Effect.async<void>((resume) => {
        const sleeper = { at: now + Math.ceil(Duration.toMillis(duration)), wake: () => resume(Effect.void) }
        sleepers.push(sleeper)
        return Effect.sync(() => {
          sleepers = sleepers.filter((one) => one !== sleeper)
        })
      })
  }
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
