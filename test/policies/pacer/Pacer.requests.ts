/** Calls that ask a pacer for places, one after the other. */
import { Clock, Effect, Fiber } from "effect"
import type { CallRecord, Pacer } from "effect-steadfast"
import { errorIn } from "../../support/time.js"

export const ask: Pacer.AcquireOptions = {
  key: "k",
  provider: "openai",
  model: "gpt-4o-mini",
  inputTokens: 10,
  outputTokens: 10
}

export const twoASecond = { requests: { limit: 2, window: "1 second" } } as const

/** Calls come one after the other; notes when each got its place. */
export const callers = (pacer: Pacer.Pacer) => {
  const times: Array<readonly [name: string, at: number]> = []
  const permits = new Map<string, Pacer.Permit>()
  const come = (name: string, asked: Partial<Pacer.AcquireOptions> = {}) =>
    Effect.gen(function* () {
      const permit = yield* pacer.acquire({ ...ask, ...asked })
      permits.set(name, permit)
      times.push([name, yield* Clock.currentTimeMillis])
      return permit
    }).pipe(
      Effect.fork,
      Effect.tap(() => Effect.yieldNow())
    )
  const end = (name: string, end: Pacer.Ending, random = 0) =>
    Effect.map(Clock.currentTimeMillis, (now) => permits.get(name)?.settle(end, now, random))
  const observe = (name: string, headers: CallRecord.Limits) =>
    Effect.map(Clock.currentTimeMillis, (now) => permits.get(name)?.observe(headers, now))
  return { times, come, end, observe, names: () => times.map(([name]) => name) }
}

export const refusedBy = <A, E>(fiber: Fiber.Fiber<A, E>) => Effect.map(Fiber.await(fiber), (exit) => errorIn(exit))
