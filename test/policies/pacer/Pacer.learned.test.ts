/** What a provider tells of itself, by usage and by headers, may be wrong: it never shuts a key for good. */
import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, FastCheck as fc, TestClock } from "effect"
import { type CallRecord, Pacer } from "effect-steadfast"
import * as Cost from "../../../src/policies/pacer/Cost.js"
import * as PacerState from "../../../src/policies/pacer/PacerState.js"
import type { Limits } from "../../../src/policies/pacer/RateLimits.js"
import { cases } from "../../support/cases.js"
import { callers } from "./Pacer.requests.js"

/** Calls without `maxTokens`, each after the end of the one before; how long each waited, in seconds. */
const inTurn = (pacer: Pacer.Pacer, count: number, outputTokens: number, headers: CallRecord.Limits = {}) =>
  Effect.gen(function* () {
    const { come, end, observe, times } = callers(pacer)
    const waits: Array<number> = []
    for (let nth = 0; nth < count; nth++) {
      const name = `${nth}`
      const start = yield* Clock.currentTimeMillis
      yield* come(name, { outputTokens: undefined })
      yield* TestClock.adjust("2 hours")
      const at = times.find(([one]) => one === name)?.[1]
      assert.isDefined(at, `call ${nth} went`)
      waits.push(((at ?? 0) - start) / 1000)
      yield* TestClock.setTime(at ?? 0)
      yield* observe(name, headers)
      yield* end(name, { usage: { inputTokens: 10, outputTokens } })
    }
    return waits
  })

describe("usage", () => {
  const largest = Number.MAX_SAFE_INTEGER

  for (const [what, tokens] of [
    ["the largest safe integer", largest],
    ["the largest of 32 bits", 4_294_967_295],
    ["one more than a billion", 1_000_000_001],
    ["not a number", Number.NaN],
    ["less than nothing", -1]
  ] as const) {
    it.effect(`of ${what} is none: the reservation counts`, () =>
      Effect.gen(function* () {
        const pacer = yield* Pacer.make({ outputTokens: { limit: 10_000 } })
        assert.deepStrictEqual(yield* inTurn(pacer, 3, tokens), [0, 0, 0])
        assert.strictEqual((yield* pacer.state("k")).limits.outputTokens?.left, 9100)
      })
    )
  }

  for (const [what, tokens] of [
    ["of a billion", 1e9],
    ["above the limit, as an honest one may be", 30_000],
    ["just above the limit", 8001]
  ] as const) {
    it.effect(`${what} holds no call back for more than the two windows of its debt`, () =>
      Effect.gen(function* () {
        const pacer = yield* Pacer.make({ outputTokens: { limit: 8000 } })
        const waits = yield* inTurn(pacer, 12, tokens)
        assert.strictEqual(waits[0], 0)
        assert.isAtMost(Math.max(...waits), 120.001)
      })
    )
  }

  it.effect("of a billion, once, is forgotten: the estimate is an answer's again", () =>
    Effect.gen(function* () {
      const pacer = yield* Pacer.make({ outputTokens: { limit: 100_000 } })
      const [state] = [PacerState.make({}, 0)]
      const settled = (before: PacerState.PacerState, outputTokens: number) => {
        const [admission, admitted] = PacerState.admit(before, Cost.make(1, 10, 10), false, 0)
        return PacerState.settle(admitted, admission, { _tag: "Answered", usage: { inputTokens: 10, outputTokens } }, 0)
      }
      let after = settled(state, 1e9)
      assert.isBelow(after.output, 600)
      for (let nth = 0; nth < 20; nth++) after = settled(after, 300)
      assert.closeTo(after.output, 300, 50)
      assert.isAtMost(Math.max(...(yield* inTurn(pacer, 3, 1e9))), 120.001)
    })
  )

  it.effect("that is declared still has to fit into a configured limit", () =>
    Effect.gen(function* () {
      const pacer = yield* Pacer.make({ outputTokens: { limit: 8000 } })
      yield* inTurn(pacer, 3, 30_000)
      const asked = { key: "k", inputTokens: 0, outputTokens: 8001 }
      assert.strictEqual((yield* Effect.flip(pacer.acquire(asked)))._tag, "ContextLengthExceeded")
    })
  )
})

describe("a limit that headers tell", () => {
  const told: ReadonlyArray<readonly [string, CallRecord.Limits]> = [
    ["one token", { tokens: { limit: 1 } }],
    ["one token of input, and none left", { inputTokens: { limit: 1, remaining: 0 } }],
    ["one request, and a month until the next", { requests: { limit: 1, remaining: 0, resetMillis: 2_678_400_000 } }],
    ["one request, and longer than a month", { requests: { limit: 1, remaining: 0, resetMillis: 1e15 } }],
    ["one request in a month", { requests: { limit: 1, remaining: 0, windowMillis: 2_678_400_000 } }],
    ["a part of a request", { requests: { limit: 0.001, remaining: 0 } }],
    ["no request", { requests: { limit: 0, remaining: 0 } }],
    ["not a number", { requests: { limit: Number.NaN, remaining: Number.NaN, resetMillis: Number.NaN } }],
    ["more than can be", { tokens: { limit: Number.MAX_SAFE_INTEGER, remaining: 0, resetMillis: 1e15 } }]
  ]
  for (const [what, headers] of told) {
    it.effect(`as ${what} refuses no call, and lets one through each hour at least`, () =>
      Effect.gen(function* () {
        const waits = yield* inTurn(yield* Pacer.make(), 4, 500, headers)
        assert.isAtMost(Math.max(...waits), 3600.001)
      })
    )
    it.effect(`as ${what} is believed no more than that where another is configured`, () =>
      Effect.gen(function* () {
        const pacer = yield* Pacer.make({ requests: { limit: 500 }, tokens: { limit: 100_000 } })
        assert.isAtMost(Math.max(...(yield* inTurn(pacer, 4, 500, headers))), 3600.001)
      })
    )
  }

  it.effect("and told again as it is, is as it is at once", () =>
    Effect.gen(function* () {
      const pacer = yield* Pacer.make()
      yield* inTurn(pacer, 2, 500, { tokens: { limit: 1, remaining: 0 } })
      yield* inTurn(pacer, 1, 500, { tokens: { limit: 100_000, remaining: 99_000 } })
      yield* TestClock.adjust("2 minutes")
      assert.deepStrictEqual(yield* inTurn(pacer, 5, 500), [0, 0, 0, 0, 0])
    })
  )
})

describe("whatever is told", () => {
  const number = fc.oneof(
    fc.constantFrom(0, 1, -1, 0.001, 2 ** 31 - 1, 4_294_967_295, 2 ** 53 - 1, 1e300, Number.NaN, 1 / 0, -1 / 0),
    fc.nat(100_000)
  )
  const maybe = fc.option(number, { nil: undefined })
  const header = fc.option(fc.record({ limit: maybe, remaining: maybe, resetMillis: maybe, windowMillis: maybe }), {
    nil: undefined
  })
  const headers = fc.record({ requests: header, tokens: header, inputTokens: header, outputTokens: header })
  const usage = fc.option(fc.record({ inputTokens: number, outputTokens: number, cachedInputTokens: maybe }), {
    nil: undefined
  })
  const outcome: fc.Arbitrary<PacerState.Outcome> = fc.oneof(
    fc.record({ _tag: fc.constantFrom("Answered" as const, "Unclear" as const), usage }),
    fc.record({ _tag: fc.constantFrom("Rejected" as const, "NotSent" as const) }),
    fc.record({
      _tag: fc.constant("Refused" as const),
      hint: fc.option(fc.nat(3_600_000), { nil: undefined }),
      scope: fc.constantFrom("requests" as const, "tokens" as const, undefined),
      random: fc.double({ min: 0, max: 1, noNaN: true })
    })
  )
  const limit = fc.option(
    fc.record({ limit: fc.integer({ min: 1, max: 10_000 }), windowMillis: fc.constantFrom(1000, 60_000) }),
    { nil: undefined }
  )

  const numbersIn = (value: unknown): ReadonlyArray<number> =>
    typeof value === "number"
      ? [value]
      : typeof value === "object" && value !== null
        ? Object.values(value).flatMap(numbersIn)
        : []

  it("every number of a state is finite, no level is beyond its bucket, and a call goes within some hours", () => {
    fc.assert(
      fc.property(
        limit,
        limit,
        fc.array(fc.record({ headers, outcome, takes: fc.nat(100_000), tokens: fc.nat(20_000) }), { maxLength: 15 }),
        (requests, tokens, events) => {
          const full = (one: typeof requests) => one && { ...one, burst: one.limit }
          let now = 1_000_000_000_000
          let state = PacerState.make({ requests: full(requests), tokens: full(tokens) }, now)
          for (const { headers, outcome, takes, tokens } of events) {
            const cost = Cost.make(1, tokens, tokens)
            const at = PacerState.readyAt(state, cost, now)
            // A pause of an hour and its jitter, and one more hour from the last news.
            assert.isAtMost(at - now, 2.3 * 3_600_000)
            now = at
            const [admission, admitted] = PacerState.admit(state, cost, true, now)
            now += takes
            const heard = PacerState.observe(admitted, admission, headers as Limits, now)
            state = PacerState.settle(heard, admission, outcome as PacerState.Outcome, now)
            assert.isTrue(numbersIn(state).every(Number.isFinite), JSON.stringify(state))
            for (const name of Cost.dimensions) {
              const part = state.buckets.parts[name]
              if (part === undefined) continue
              const { burst, limit } = part.limit
              assert.isTrue(part.level <= burst && part.level >= -Math.max(limit, burst))
            }
          }
        }
      ),
      { numRuns: cases(10_000) }
    )
  })
})
