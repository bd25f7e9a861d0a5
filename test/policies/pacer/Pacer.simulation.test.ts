import { assert, describe, it } from "@effect/vitest"
import { share } from "../../support/cases.js"
import { lognormal, simulate, type World } from "./Pacer.support.js"

const requests = { limit: 5, windowMillis: 1000, burst: 5 }
const manyRequests = { limit: 50, windowMillis: 1000, burst: 50 }
const tokens = { limit: 20_000, windowMillis: 60_000, burst: 20_000 / 12 }

/** A hundred workers, a thousand jobs, five requests a second. */
const base = { workers: 100, jobs: 1000, service: lognormal(1000, 0.5) }
const seeds = share([1, 2, 3, 4, 5], 5)

const bounded = (random: () => number) => ({
  input: 10 + Math.round(90 * random()),
  output: Math.ceil(100 * (0.4 + 0.6 * random())),
  maxTokens: 100
})
const unbounded = (random: () => number) => ({
  input: 10 + Math.round(90 * random()),
  output: Math.ceil(lognormal(70, 0.6)(random))
})

interface Goals {
  readonly calls: number
  readonly used: number
  readonly longest?: number
}

const meets = (world: World, goals: Goals) => {
  for (const seed of seeds) {
    const found = simulate(world, seed)
    assert.strictEqual(found.done, world.jobs)
    assert.isAtMost(found.callsPerAnswer, goals.calls, "calls per answer")
    assert.isAtLeast(found.used, goals.used, "share of the limit")
    assert.isAtMost(found.longestWait / found.medianWait, goals.longest ?? Number.POSITIVE_INFINITY, "longest wait")
  }
}

const variants = [true, false].flatMap((hints) =>
  [true, false].map((countsRefused) => ({
    name: `${hints ? "with" : "without"} hints, refused ones ${countsRefused ? "count" : "are free"}`,
    hints,
    countsRefused
  }))
)

for (const { name, ...variant } of variants) {
  describe(name, () => {
    it("a limit that is known is used up, and hardly ever met", () => {
      const known = { ...base, ...variant, requests, config: { requests } }
      meets(known, { calls: 1.02, used: 0.97, longest: 1.5 })
      meets({ ...known, headers: "perMinute" }, { calls: 1.02, used: 0.97, longest: 1.5 })
      meets({ ...known, headers: "asIs" }, { calls: 1.02, used: 0.97, longest: 1.5 })
    })

    it("a limit that only headers tell is found at once", () => {
      const told = { ...base, ...variant, requests }
      meets({ ...told, headers: "perMinute" }, { calls: 1.03, used: 0.95, longest: 1.5 })
      meets({ ...told, headers: "asIs" }, { calls: 1.03, used: 0.95, longest: 1.5 })
    })

    it("a limit that nobody tells is learned", () => {
      meets({ ...base, ...variant, requests }, { calls: 1.05, used: 0.9 })
    })

    it("a limit on tokens is used up where it is known, whatever answers are charged", () => {
      const known = { ...base, ...variant, requests: manyRequests, tokens, config: { requests: manyRequests, tokens } }
      meets({ ...known, tokensOf: bounded }, { calls: 1.02, used: 0.97, longest: 1.5 })
      meets({ ...known, tokensOf: unbounded }, { calls: 1.02, used: 0.97, longest: 1.5 })
      meets({ ...known, tokensOf: bounded, chargesMost: true, headers: "perMinute" }, { calls: 1.02, used: 0.97 })
      meets({ ...known, tokensOf: bounded, headers: "perMinute" }, { calls: 1.02, used: 0.97 })
    })

    it("a limit on tokens is learned where nobody tells it", () => {
      const unknown = { ...base, ...variant, requests: manyRequests, tokens }
      meets({ ...unknown, tokensOf: bounded, chargesMost: true }, { calls: 1.1, used: 0.9 })
      meets({ ...unknown, tokensOf: unbounded }, { calls: 1.1, used: 0.85 })
    })
  })
}

describe("other providers", () => {
  const hints = true
  const countsRefused = true
  const aMinute = { limit: 300, windowMillis: 60_000, burst: 300 }

  it("a bucket that holds a minute, known and not", () => {
    const world = { ...base, jobs: 2000, hints, countsRefused, requests: aMinute }
    meets({ ...world, config: { requests: aMinute } }, { calls: 1.02, used: 0.97 })
    meets(world, { calls: 1.05, used: 0.95 })
    meets({ ...world, hints: false }, { calls: 1.05, used: 0.95 })
  })

  it("a bucket that holds one request: what is not sent is lost", () => {
    const world = { ...base, hints, countsRefused, requests: { ...requests, burst: 1 } }
    meets(world, { calls: 1.1, used: 0.75 })
    meets({ ...world, hints: false, countsRefused: false }, { calls: 1.1, used: 0.8 })
  })

  it("fixed windows, full again all at once", () => {
    const world = { ...base, workers: 50, jobs: 600, hints, countsRefused: false, fixed: true }
    const sixty = { limit: 60, windowMillis: 60_000, burst: 60 }
    meets({ ...world, requests: sixty }, { calls: 1.1, used: 0.8 })
    meets({ ...world, requests: sixty, hints: false }, { calls: 1.2, used: 0.7 })
    meets({ ...world, requests: sixty, headers: "asIs" }, { calls: 1.1, used: 0.8 })
  })

  it("answers of twenty seconds: what waits is not held up by what runs", () => {
    const world = { ...base, workers: 200, service: lognormal(20_000, 0.5), hints, countsRefused, requests }
    meets({ ...world, config: { requests } }, { calls: 1.02, used: 0.97 })
    meets(world, { calls: 1.05, used: 0.9 })
  })

  it("estimates twenty times too high, where headers prove it", () => {
    const tokensOf = (random: () => number) => ({ ...bounded(random), maxTokens: 2000 })
    const whole = { limit: 20_000, windowMillis: 60_000, burst: 20_000 }
    const world = { ...base, hints, countsRefused, tokens: whole, headers: "perMinute" as const, tokensOf }
    meets({ ...world, config: { tokens: whole } }, { calls: 1.02, used: 0.9 })
    meets(world, { calls: 1.05, used: 0.9 })
  })
})
