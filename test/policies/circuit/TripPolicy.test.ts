import { assert, describe, it } from "@effect/vitest"
import { FastCheck as fc } from "effect"
import * as TripPolicy from "../../../src/policies/circuit/TripPolicy.js"
import { cases } from "../../support/cases.js"

const policies = [TripPolicy.streak()]

/** What was seen after these outcomes, `true` for a failure, one each so many milliseconds. */
const seenOf = (outcomes: ReadonlyArray<boolean>, every = 200): TripPolicy.Seen =>
  outcomes.reduce((seen, failed, i) => TripPolicy.count(policies, seen, failed, i * every), TripPolicy.nothing(0))

/** After how many failures in a row it trips. */
const needed = (seen: TripPolicy.Seen): number => {
  let now = seen.at
  for (let failures = 1; failures < 1000; failures++) {
    seen = TripPolicy.count(policies, seen, true, now++)
    if (TripPolicy.trips(policies, seen)) return failures
  }
  return Number.POSITIVE_INFINITY
}

/** One failure in so many. */
const oneIn = (many: number): ReadonlyArray<boolean> => Array.from({ length: 500 }, (_, i) => i % many === 0)

describe("a streak", () => {
  it("takes three failures where nothing is known, or nothing failed", () => {
    assert.strictEqual(needed(TripPolicy.nothing(0)), 3)
    assert.strictEqual(needed(seenOf(oneIn(1e9).slice(1))), 3)
  })

  it.each([
    [100, 3],
    [10, 5],
    [5, 8],
    [3, 11]
  ])("takes more where one in %i fails: %i", (many, failures) => {
    assert.strictEqual(needed(seenOf([...oneIn(many), false])), failures)
  })

  it("of one failure trips with the first, unless it is likely after what failed before", () => {
    const trips = (chance: number, outcomes: ReadonlyArray<boolean>) => {
      const one = [TripPolicy.streak({ failures: 1, chance })]
      const seen = outcomes.reduce((seen, failed) => TripPolicy.count(one, seen, failed, 0), TripPolicy.nothing(0))
      return TripPolicy.trips(one, seen)
    }
    assert.isTrue(trips(0.00001, [true]))
    assert.isTrue(trips(0.00001, [false, false, true]))
    assert.isFalse(trips(0.00001, [true, false, true]))
    // One failure in three outcomes, and the one that is added: a chance of a quarter for each failure of the streak.
    assert.isFalse(trips(1 / 16, [true, false, false, true]))
    assert.isTrue(trips(1 / 16, [true, false, false, true, true]))
    assert.isFalse(trips(1 / 17, [true, false, false, true, true]))
  })

  it("forgets by time what was common", () => {
    const seen = seenOf([...oneIn(5), false])
    const later = TripPolicy.count(policies, seen, false, seen.at + 3_600_000)
    assert.strictEqual(needed(later), 3)
  })

  it("keeps how common failures were when the circuit closes again, and not those that opened it", () => {
    const common = seenOf([...oneIn(5), false])
    const tripped = [1, 2, 3, 4, 5, 6, 7, 8].reduce((seen) => TripPolicy.count(policies, seen, true, seen.at), common)
    assert.isTrue(TripPolicy.trips(policies, tripped))
    const anew = TripPolicy.anew(policies, tripped)
    assert.isFalse(TripPolicy.trips(policies, anew))
    assert.strictEqual(needed(anew), needed(common))
  })

  it("alone keeps its outcomes when the circuit closes again", () => {
    const all = [TripPolicy.rate(), TripPolicy.consecutive(1), TripPolicy.streak()]
    const seen = [true, false].reduce((seen, failed) => TripPolicy.count(all, seen, failed, 7), TripPolicy.nothing(0))
    const none = { total: 0, failures: 0 }
    assert.deepStrictEqual(TripPolicy.anew(all, seen), {
      streak: 0,
      tallies: [none, none, { total: 2, failures: 1 }],
      at: 7
    })
    assert.deepStrictEqual(TripPolicy.anew(all, TripPolicy.nothing(7)).tallies, [none, none, none])
  })

  it("never trips with fewer than its failures, and after enough of them always", () => {
    fc.assert(
      fc.property(fc.array(fc.boolean(), { maxLength: 60 }), fc.integer({ min: 1, max: 60_000 }), (outcomes, every) => {
        const seen = seenOf(outcomes, every)
        if (seen.streak < 3) assert.isFalse(TripPolicy.trips(policies, seen))
        assert.isAtLeast(needed(seen) + seen.streak, 3)
        assert.isBelow(needed(seen), 1000)
      }),
      { numRuns: cases(10_000) }
    )
  })

  it("refuses options that mean nothing", () => {
    assert.throws(() => TripPolicy.streak({ failures: 0 }), "CircuitBreaker.streak: failures: found 0")
    assert.throws(() => TripPolicy.streak({ chance: 1 }), "CircuitBreaker.streak: chance: found 1")
    assert.throws(
      () => TripPolicy.streak({ halfLife: 0 }),
      "CircuitBreaker.streak: halfLife: found 0, expected a finite duration above 0"
    )
  })
})

describe("a calm circuit", () => {
  const one = [TripPolicy.consecutive(3), TripPolicy.consecutive(5)]
  const failedOnce = TripPolicy.count(one, TripPolicy.nothing(0), true, 0)

  it("is one that nothing failed in last, where only failures in a row count", () => {
    assert.isTrue(TripPolicy.isCalm(one, undefined))
    assert.isTrue(TripPolicy.isCalm(one, TripPolicy.nothing(0)))
    assert.isFalse(TripPolicy.isCalm(one, failedOnce))
    assert.isTrue(TripPolicy.isCalm(one, TripPolicy.count(one, failedOnce, false, 0)))
  })

  it("is none where successes count as well", () => {
    for (const other of [TripPolicy.streak(), TripPolicy.rate()]) {
      assert.isFalse(TripPolicy.isCalm([...one, other], undefined))
      assert.isFalse(TripPolicy.isCalm([other], TripPolicy.nothing(0)))
    }
  })
})
