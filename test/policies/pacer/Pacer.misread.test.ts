import { assert, describe, it } from "@effect/vitest"
import { Clock, Duration, Effect, Logger, LogLevel, Option, Random } from "effect"
import { LlmError, Pacer, Resilience, RetryPolicy } from "effect-steadfast"
import * as Gcra from "../../../src/policies/pacer/Gcra.js"
import { CurrentPlace } from "../../../src/policies/pacer/RateLimits.js"
import { share } from "../../support/cases.js"
import { manualClock } from "../../support/manualClock.js"
import { lognormal, simulate, type World } from "./Pacer.support.js"

const second = 1000
const minute = 60_000
const hour = 3_600_000

const per = (limit: number, windowMillis: number): Gcra.Limit => ({ limit, windowMillis, burst: limit })

const seeds = share([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20], 4)

const median = (values: ReadonlyArray<number>): number =>
  [...values].sort((a, b) => a - b)[values.length >> 1] ?? Number.NaN

/** The last job can go at this time: at once as many as the bucket holds, then as it refills. */
const physical = ({ fixed, jobs, requests }: World): number => {
  if (requests === undefined) return 0
  const { burst, limit, windowMillis } = requests
  return fixed === true ? (Math.ceil(jobs / limit) - 1) * windowMillis : ((jobs - burst) * windowMillis) / limit
}

interface Case {
  readonly name: string
  readonly world: Partial<World> & { readonly requests: Gcra.Limit }
  /** Calls for each job. */
  readonly calls?: number
  /** The time over the physical time, to which the wait for one answer is added. */
  readonly time?: number
}

const meets = ({ calls = 1.05, time = 1.15, world }: Case, hints: boolean) => {
  const all = {
    workers: 200,
    jobs: 200,
    service: lognormal(330, 0.5),
    countsRefused: false,
    headers: "asIs",
    hints,
    ...world
  } as const
  const found = seeds.map((seed) => simulate(all, seed))
  for (const { done } of found) assert.strictEqual(done, all.jobs)
  assert.isAtMost(median(found.map(({ callsPerAnswer }) => callsPerAnswer)), calls, "calls per job")
  assert.isAtMost(median(found.map(({ lastAt }) => lastAt)), physical(all) * time + 330, "time")
}

describe.each([true, false])("a header without its window, 200 jobs at once, hints %s", (hints) => {
  const cases: ReadonlyArray<Case> = [
    { name: "a second, the reset is the wait for one place", world: { requests: per(10, second), reset: "place" } },
    { name: "the same in whole seconds", world: { requests: per(10, second), reset: "placeSeconds" } },
    { name: "the same without a reset", world: { requests: per(10, second), reset: "none" } },
    { name: "the same, and all is back at the reset", world: { requests: per(10, second), reset: "full" } },
    {
      name: "the same, where refused ones count",
      world: { requests: per(10, second), reset: "place", countsRefused: true }
    },
    {
      name: "the same, answered in 60 ms",
      world: {
        requests: per(50, second),
        jobs: 1000,
        workers: 1000,
        reset: "placeSeconds",
        service: lognormal(60, 0.5)
      }
    },
    {
      name: "a second that begins anew by the clock",
      world: { requests: per(10, second), fixed: true },
      calls: 1.12,
      time: 1.4
    },
    { name: "ten seconds", world: { requests: per(20, 10 * second), reset: "place" } },
    { name: "ten seconds that begin anew by the clock", world: { requests: per(20, 10 * second), fixed: true } },
    { name: "a minute", world: { requests: per(60, minute), reset: "full" } },
    { name: "a minute, without a reset", world: { requests: per(60, minute), reset: "none" } },
    { name: "a minute that begins anew by the clock", world: { requests: per(60, minute), fixed: true } },
    {
      name: "an hour, the reset is the wait for one place",
      world: { requests: per(100, hour), reset: "place" },
      calls: 1.07
    },
    { name: "an hour, and all is back at the reset", world: { requests: per(100, hour), reset: "full" } }
  ]
  for (const one of cases) it(`is not paced as something else: ${one.name}`, () => meets(one, hints))

  // Only refusals tell that an hour is meant. Taken for a minute it would be 5.5 calls for each job.
  it("an hour without a reset is found by what does not come back", () =>
    meets({ name: "", world: { requests: per(100, hour), reset: "none" }, calls: hints ? 1.07 : 1.4 }, hints))
})

/** What each provider's headers mean; docs/pacer.md has the sources. */
describe("the headers of", () => {
  const providers: ReadonlyArray<Case> = [
    {
      name: "OpenAI: a minute; full again at the reset",
      world: { requests: per(60, minute), reset: "full", countsRefused: true }
    },
    {
      name: "Anthropic: a minute; full again at the reset, in whole seconds",
      world: { requests: per(50, minute), reset: "fullSeconds" }
    },
    {
      name: "Azure OpenAI: told by ten seconds, without a usable reset",
      world: { requests: per(20, 10 * second), reset: "none" }
    },
    {
      name: "Groq: a day; full again at the reset",
      world: { requests: per(100, 24 * hour), jobs: 102, reset: "full" }
    },
    {
      name: "Together: a second; the reset in whole seconds",
      world: { requests: per(10, second), reset: "placeSeconds" }
    },
    { name: "Fireworks: a minute, without a reset", world: { requests: per(100, minute), reset: "none" } },
    {
      name: "Cerebras: a minute that refills evenly; the reset is the end of the clock's minute",
      world: { requests: per(30, minute), reset: "clock" }
    },
    { name: "Mistral: a minute, without a reset", world: { requests: per(60, minute), reset: "none" } },
    { name: "DeepInfra: none", world: { requests: per(10, second), headers: "none" }, time: 1.3 },
    {
      name: "OpenRouter: a minute that begins anew by the clock",
      world: { requests: per(20, minute), jobs: 100, fixed: true }
    },
    {
      name: "a proxy before vLLM: a second, the reset is the wait for one place",
      world: { requests: per(10, second), reset: "place" }
    },
    {
      name: "LiteLLM: a minute that begins anew by the clock, without a reset",
      world: { requests: per(60, minute), fixed: true, reset: "none" }
    }
  ]
  for (const one of providers) it(one.name, () => meets(one, true))
})

describe("a pacer before a server that tells 10 and means a second", () => {
  /** Ten a second; the headers say 10, what remains, and the wait for one place. */
  const server = () => {
    const limit = per(10, second)
    let bucket = Gcra.full(limit, 0)
    let calls = 0
    const call = Effect.gen(function* () {
      const place = Option.getOrThrow(yield* Effect.serviceOption(CurrentPlace))
      const now = yield* Clock.currentTimeMillis
      calls++
      const isFree = Gcra.admits(limit, bucket, 1, now)
      if (isFree) bucket = Gcra.take(limit, bucket, 1, now)
      const remaining = Math.floor(Math.max(0, Gcra.levelAt(limit, bucket, now)))
      const resetMillis = Gcra.readyAt(limit, bucket, 1, now) - now
      yield* Effect.sleep(Duration.millis(isFree ? lognormal(330, 0.5)(() => Effect.runSync(Random.next)) : 30))
      place.observe(
        { requests: { limit: 10, remaining, resetMillis, windowMillis: minute } },
        yield* Clock.currentTimeMillis
      )
      if (!isFree) return yield* new LlmError.RateLimited({ provider: "p", message: "busy", delivery: "rejected" })
      return undefined
    })
    return { call, calls: () => calls }
  }

  for (const random of seeds) {
    it(`loses no job of 200 and no time, seed ${random}`, async () => {
      const { call, calls } = server()
      const { adjust, clock, now } = manualClock()
      const run = <A, E>(effect: Effect.Effect<A, E>) =>
        Effect.runPromise(Effect.withClock(Effect.withRandom(effect, Random.make(random)), clock))
      const pacer = await run(Pacer.make())
      const job = call.pipe(
        pacer.pace({ key: "k" }),
        Resilience.retry(RetryPolicy.standard),
        Resilience.deadline("10 minutes"),
        Logger.withMinimumLogLevel(LogLevel.None)
      )
      let endedAt = Number.POSITIVE_INFINITY
      const all = run(Effect.forEach(Array.from({ length: 200 }), () => job, { concurrency: "unbounded" })).then(() => {
        endedAt = now()
      })
      while (endedAt > now() && now() < 10 * minute) await adjust(second)
      await all
      assert.isAtMost(endedAt, 1.15 * 19_300)
      assert.isAtMost(calls(), 210)
      const { requests } = (await run(pacer.state("k"))).limits
      assert.deepInclude(requests, { limit: 10, source: "headers" })
      assert.isAtMost(requests?.windowMillis ?? minute, 1.25 * second)
    })
  }
})
