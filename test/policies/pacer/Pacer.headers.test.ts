import { assert, describe, it } from "@effect/vitest"
import { Effect, FastCheck as fc, TestClock } from "effect"
import { type CallRecord, Pacer } from "effect-steadfast"
import * as Buckets from "../../../src/policies/pacer/Buckets.js"
import * as Cost from "../../../src/policies/pacer/Cost.js"
import * as Gcra from "../../../src/policies/pacer/Gcra.js"
import * as HeaderLimit from "../../../src/policies/pacer/HeaderLimit.js"
import type { Limit } from "../../../src/policies/pacer/RateLimits.js"
import * as Reconcile from "../../../src/policies/pacer/Reconcile.js"
import { cases } from "../../support/cases.js"
import { callers } from "./Pacer.requests.js"

const minute = 60_000
const day = 86_400_000

type Response = readonly [at: number, remaining: number, resetMillis: number]

/** The limit after those responses, of which each tells the rest and the time until it is full again. */
const believed = (limit: number, documented: number, responses: ReadonlyArray<Response>) =>
  responses.reduce<HeaderLimit.HeaderLimit | undefined>(
    (known, [at, remaining, resetMillis]) =>
      HeaderLimit.observe(known, { limit, remaining, resetMillis }, documented, at),
    undefined
  )?.bound

/** The responses of a bucket that requests are taken from at those times. */
const continuous = (limit: Gcra.Limit, times: ReadonlyArray<number>): ReadonlyArray<Response> => {
  let bucket = Gcra.full(limit, 0)
  return times.map((at) => {
    bucket = Gcra.take(limit, bucket, 1, at)
    return [at, Math.floor(bucket.level), Math.ceil((limit.burst - bucket.level) / Gcra.perMilli(limit))]
  })
}

/** A window that is full again all at once. */
const fixed = (limit: number, windowMillis: number, times: ReadonlyArray<number>): ReadonlyArray<Response> => {
  let used = 0
  let last = 0
  return times.map((at) => {
    if (Math.floor(at / windowMillis) > last) {
      last = Math.floor(at / windowMillis)
      used = 0
    }
    used += 1
    return [at, Math.max(0, limit - used), windowMillis - (at % windowMillis)]
  })
}

const every = (millis: number, count: number) => Array.from({ length: count }, (_, index) => index * millis)

describe("what a limit is per", () => {
  it("is the documented window after one response, whatever it says", () => {
    assert.deepStrictEqual(believed(60, minute, [[0, 59, 20]]), { limit: 60, windowMillis: minute, burst: 60 })
    assert.deepStrictEqual(believed(60, day, [[0, 0, 20]]), { limit: 60, windowMillis: day, burst: 60 })
  })

  it("stays the documented window where that is right", () => {
    const limit = { limit: 500, windowMillis: minute, burst: 500 }
    assert.deepStrictEqual(believed(500, minute, continuous(limit, every(10, 300))), limit)
  })

  it("is found where it is a second, and where it is a day", () => {
    for (const windowMillis of [1000, day]) {
      const limit = { limit: 200, windowMillis, burst: 200 }
      assert.deepStrictEqual(believed(200, minute, continuous(limit, every(3, 12))), limit)
    }
  })

  it("stays the documented window where the window is fixed", () => {
    for (const times of [every(0, 50), every(700, 50), every(3000, 100), every(15_000, 60)]) {
      assert.deepStrictEqual(believed(100, minute, fixed(100, minute, times)), {
        limit: 100,
        windowMillis: minute,
        burst: 100
      })
    }
  })

  it("holds less at once where it is enforced in shorter windows", () => {
    const enforced = { limit: 300, windowMillis: minute, burst: 5 }
    const bound = believed(300, minute, continuous(enforced, [0, 10, 20, 30, 700, 1500]))
    assert.deepStrictEqual(bound, { limit: 300, windowMillis: minute, burst: 5 })
  })

  it("is found anew when the number changes", () => {
    const before = believed(200, minute, continuous({ limit: 200, windowMillis: 1000, burst: 200 }, every(3, 12)))
    assert.strictEqual(before?.windowMillis, 1000)
    let known: HeaderLimit.HeaderLimit | undefined
    for (const [at, remaining, resetMillis] of continuous(
      { limit: 200, windowMillis: 1000, burst: 200 },
      every(3, 12)
    )) {
      known = HeaderLimit.observe(known, { limit: 200, remaining, resetMillis }, minute, at)
    }
    known = HeaderLimit.observe(known, { limit: 400, remaining: 399, resetMillis: 3 }, minute, 100)
    assert.deepStrictEqual(known?.bound, { limit: 400, windowMillis: 1000, burst: 400 })
  })

  it("law: no fixed window is ever taken for a faster one", () => {
    const gaps = fc.array(fc.integer({ min: 0, max: 20_000 }), { minLength: 1, maxLength: 40 })
    fc.assert(
      fc.property(
        fc.integer({ min: 2, max: 1000 }),
        fc.integer({ min: 0, max: minute }),
        gaps,
        (limit, start, gaps) => {
          let at = start
          const times = gaps.map((gap) => {
            at += gap
            return at
          })
          const bound = believed(limit, minute, fixed(limit, minute, times))
          assert.isAtMost((bound?.limit ?? 0) / (bound?.windowMillis ?? 1), (limit / minute) * 1.01)
        }
      ),
      { numRuns: cases(10_000) }
    )
  })
})

describe("what remains", () => {
  const limit = { limit: 1000, windowMillis: minute, burst: 1000 }
  const header = (remaining: number): { readonly tokens: Limit } => ({
    tokens: { limit: 1000, remaining, resetMillis: 1, windowMillis: minute }
  })
  const take = (buckets: Buckets.Buckets, tokens: number, at: number) => {
    const cost = Cost.make(1, tokens, 0)
    const next = Buckets.take(buckets, cost, at)
    return { next, cost, mark: { at, spent: next.spent } }
  }
  const left = (buckets: Buckets.Buckets, at: number): number => {
    const part = buckets.parts.tokens
    return part === undefined ? Number.NaN : Gcra.levelAt(part.limit, part, at)
  }

  it("is believed where it is less than was thought, and not where it is more", () => {
    const { cost, mark, next } = take(Buckets.make({ tokens: limit }, 0), 100, 0)
    assert.strictEqual(left(Reconcile.observe(next, mark, cost, header(700), 0), 0), 700)
    assert.strictEqual(left(Reconcile.observe(next, mark, cost, header(1000), 0), 0), 900)
  })

  it("shows what a provider gives back: nothing, where it charges the most that an answer might be", () => {
    let buckets = Buckets.make({ tokens: limit }, 0)
    let provider = 1000
    for (let index = 0; index < 5; index++) {
      const { cost, mark, next } = take(buckets, 100, 0)
      provider -= 100
      buckets = Reconcile.observe(next, mark, cost, header(provider), 0)
      buckets = Buckets.reconcile(buckets, cost, Cost.make(1, 40, 0), 0)
      assert.strictEqual(left(buckets, 0), provider)
    }
  })

  it("shows what a provider gives back: all of it, where it charges what was used", () => {
    let buckets = Buckets.make({ tokens: limit }, 0)
    let provider = 1000
    const behind: Array<number> = []
    for (let index = 0; index < 10; index++) {
      const { cost, mark, next } = take(buckets, 100, 0)
      provider -= 40
      buckets = Reconcile.observe(next, mark, cost, header(provider), 0)
      buckets = Buckets.reconcile(buckets, cost, Cost.make(1, 40, 0), 0)
      behind.push(provider - left(buckets, 0))
    }
    // Never ahead of the provider, and never further behind than two estimates.
    assert.isAtLeast(Math.min(...behind), 0)
    assert.isAtMost(Math.max(...behind), 200)
  })

  it("of a refusal is what its hint says: so much less than it asked for", () => {
    const { cost, mark, next } = take(Buckets.make({ tokens: limit }, 0), 100, 0)
    const second = 1000 / 60
    // Half of what it asked for is kept free, for estimates that are off.
    const refused = Reconcile.refused(next, mark, cost, { scope: "tokens", hint: 3000 }, 0)
    assert.closeTo(left(refused, 0), 50 - 3 * second, 1e-9)
    assert.closeTo(left(refused, 3000), 50, 1e-9)
  })

  it("of a refusal that names nothing is what is nearest to empty", () => {
    const config = { requests: { limit: 10, windowMillis: minute, burst: 10 }, tokens: limit }
    const { cost, mark, next } = take(Buckets.make(config, 0), 900, 0)
    const refused = Reconcile.refused(next, mark, cost, { scope: undefined, hint: undefined }, 0)
    assert.strictEqual(refused.parts.requests?.level, 9)
    assert.strictEqual(left(refused, 0), 450)
  })
})

describe("headers", () => {
  const header = (limit: number, remaining: number, resetMillis: number): CallRecord.Limit => ({
    limit,
    remaining,
    resetMillis,
    windowMillis: 60_000
  })

  it.effect("tell limits that nobody configured", () =>
    Effect.gen(function* () {
      const pacer = yield* Pacer.make()
      const all = callers(pacer)
      yield* all.come("a")
      yield* all.observe("a", { requests: header(60, 59, 1000), tokens: header(6000, 5980, 200) })
      const { limits } = yield* pacer.state("k")
      assert.deepStrictEqual(limits, {
        requests: { limit: 60, windowMillis: 60_000, left: 59, source: "headers" },
        tokens: { limit: 6000, windowMillis: 60_000, left: 5980, source: "headers" }
      })
    })
  )

  it.effect("never raise what is configured, and lower it where they tell less", () =>
    Effect.gen(function* () {
      const pacer = yield* Pacer.make({ requests: { limit: 60 }, tokens: { limit: 6000 } })
      const all = callers(pacer)
      yield* all.come("a")
      yield* all.observe("a", { requests: header(600, 599, 100), tokens: header(600, 580, 2000) })
      const { limits } = yield* pacer.state("k")
      assert.deepInclude(limits.requests, { limit: 60, source: "config" })
      assert.deepInclude(limits.tokens, { limit: 600, source: "headers" })
    })
  )

  it.effect("take off what others used, once, however many responses tell it", () =>
    Effect.gen(function* () {
      const pacer = yield* Pacer.make({ requests: { limit: 100 } })
      const all = callers(pacer)
      for (let index = 0; index < 10; index++) yield* all.come(`${index}`)
      // Others took 40: the first of ours left 59, and the tenth 50.
      for (let index = 0; index < 10; index++) {
        yield* all.observe(`${index}`, { requests: header(100, 59 - index, 0) })
      }
      assert.strictEqual((yield* pacer.state("k")).limits.requests?.left, 50)
    })
  )

  it.effect("that are stale cost nothing: what was sent and refilled since is known", () =>
    Effect.gen(function* () {
      const pacer = yield* Pacer.make({ requests: { limit: 60 } })
      const all = callers(pacer)
      for (let index = 0; index < 60; index++) yield* all.come(`${index}`)
      yield* TestClock.adjust("30 seconds")
      yield* all.observe("59", { requests: header(60, 0, 60_000) })
      assert.strictEqual((yield* pacer.state("k")).limits.requests?.left, 30)
    })
  )

  it.effect("with nonsense in them are none", () =>
    Effect.gen(function* () {
      for (const nonsense of [
        { limit: 0, remaining: 0 },
        { limit: -1, remaining: -1, resetMillis: -1 },
        { limit: Number.NaN, remaining: Number.NaN },
        { limit: Number.POSITIVE_INFINITY, remaining: 5 },
        { remaining: 5, resetMillis: 100 },
        {}
      ]) {
        const pacer = yield* Pacer.make()
        const all = callers(pacer)
        yield* all.come("a")
        yield* all.observe("a", { requests: nonsense, tokens: nonsense })
        assert.deepStrictEqual((yield* pacer.state("k")).limits, {})
      }
    })
  )

  it.effect("may change: after an upgrade more goes at once", () =>
    Effect.gen(function* () {
      const pacer = yield* Pacer.make()
      const all = callers(pacer)
      yield* all.come("a")
      yield* all.observe("a", { requests: header(60, 59, 1000) })
      yield* TestClock.adjust("2 minutes")
      yield* all.come("b")
      yield* all.observe("b", { requests: header(600, 599, 100) })
      yield* TestClock.adjust("2 minutes")
      assert.deepInclude((yield* pacer.state("k")).limits.requests, { limit: 600, left: 600 })
    })
  )

  it.effect("of Anthropic's sum count for nothing beside its separate limits", () =>
    Effect.gen(function* () {
      const pacer = yield* Pacer.make()
      const all = callers(pacer)
      yield* all.come("a")
      const limit = header(1000, 900, 6000)
      yield* all.observe("a", { tokens: limit, inputTokens: limit, outputTokens: limit })
      assert.deepStrictEqual(Object.keys((yield* pacer.state("k")).limits), ["inputTokens", "outputTokens"])
    })
  )
})
