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
