/** A clock that is set back, or forward, in the middle of a wait. */
import { assert, describe, it } from "@effect/vitest"
import { FastCheck as fc } from "effect"
import { RetryBudget } from "effect-steadfast"
import { settings } from "../../src/policies/circuit/CircuitOptions.js"
import { failure } from "../../src/policies/circuit/CircuitOutcome.js"
import * as CircuitState from "../../src/policies/circuit/CircuitState.js"
import * as Gcra from "../../src/policies/pacer/Gcra.js"
import * as Times from "../../src/policies/Times.js"
import { cases } from "../support/cases.js"

const start = 1_800_000_000_000
const jump = fc.constantFrom(-3_600_000, -5000, 5000, 3_600_000)
const runs = { numRuns: cases(10_000) }

it("a stored time is believed as far ahead as it may lie", () => {
  assert.deepStrictEqual(
    [Times.believed(90, 100, 10), Times.believed(110, 100, 10), Times.believed(111, 100, 10)],
    [90, 110, 100]
  )
})

describe("a clock that is set back and forward again and again", () => {
  for (const millis of [5000, 90_000, 3_600_000]) {
    it(`by ${millis} ms earns nothing for a retry budget`, () => {
      const budget = RetryBudget.make()
      let drawn = 0
      for (let nth = 0; nth < 200; nth++) if (budget.draw(start + (nth % 2 === 0 ? millis : 0))) drawn += 1
      assert.strictEqual(drawn, 10)
    })
  }
})

describe("a clock that jumps once, at any moment", () => {
  it("gains no more than one bucket, and no wait takes more than a window more", () => {
    const minute: Gcra.Limit = { limit: 60, windowMillis: 60_000, burst: 60 }
    fc.assert(
      fc.property(jump, fc.nat(200_000), (jump, at) => {
        let bucket = Gcra.full(minute, start)
        let taken = 0
        let last = 0
        for (let elapsed = 0; elapsed < 600_000; elapsed += 500) {
          const now = start + elapsed + (elapsed >= at ? jump : 0)
          if (!Gcra.admits(minute, bucket, 1, now)) {
            assert.isAtMost(Gcra.readyAt(minute, bucket, 1, now) - now, 61_000)
            assert.isAtMost(elapsed - last, 61_000)
            // As a queue does: what it asks is kept.
            bucket = Gcra.take(minute, bucket, 0, now)
            continue
          }
          bucket = Gcra.take(minute, bucket, 1, now)
          taken += 1
          last = elapsed
        }
        assert.isAtMost(taken, 60 + 600 + 60)
      }),
      { numRuns: cases(1000) }
    )
  })

  it("keeps the circuit of an unhealthy target open for no longer than its longest open time", () => {
    const chosen = settings({})
    fc.assert(
      fc.property(jump, fc.nat(15_000), fc.integer({ min: 1, max: 6 }), (jump, after, openings) => {
        let now = start
        let circuit: CircuitState.Circuit | undefined
        for (let nth = 0; nth < openings + 2; nth++) {
          const [decision, next] = CircuitState.admit(chosen, circuit, now)
          circuit = next
          if (CircuitState.isRefusal(decision)) now += decision.retryAfter
          else circuit = CircuitState.record(chosen, circuit, decision, failure(), now, 0)
        }
        now += after + jump
        for (let waited = 0; ; waited += 100) {
          const [decision] = CircuitState.admit(chosen, circuit, now + waited)
          if (!CircuitState.isRefusal(decision)) break
          assert.isAtMost(waited, 16_500)
        }
      }),
      runs
    )
  })
})
