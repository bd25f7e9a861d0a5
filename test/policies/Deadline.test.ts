import { assert, describe, it } from "@effect/vitest"
import { Effect, FastCheck as fc, TestClock } from "effect"
import { Deadline, Resilience } from "effect-steadfast"
import { cases } from "../support/cases.js"
import { errorOf } from "../support/errors.js"
import { under } from "../support/time.js"

const millis = fc.integer({ min: 0, max: 1_000_000 })

describe("narrow", () => {
  it("never moves a deadline away, whatever is nested", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(millis, millis), { maxLength: 8 }), (limits) => {
        let limit = Deadline.none
        for (const [now, length] of limits) {
          const inner = Deadline.narrow(limit, now, length, "attempt")
          assert.strictEqual(inner.at, Math.min(limit.at, now + length))
          limit = inner
        }
      }),
      { numRuns: cases(1000) }
    )
  })

  it("keeps the outer one where that is as near, and remembers it where it is not", () => {
    const outer = Deadline.narrow(Deadline.none, 100, 50, "total")
    assert.deepInclude(outer, { at: 150, phase: "total" })
    assert.strictEqual(Deadline.narrow(outer, 120, 30, "attempt"), outer)
    assert.strictEqual(Deadline.narrow(outer, 120, Number.POSITIVE_INFINITY, "attempt"), outer)
    const inner = Deadline.narrow(outer, 120, 29, "attempt")
    assert.deepInclude(inner, { at: 149, phase: "attempt" })
    assert.strictEqual(inner.outer, outer)
  })

  it("an infinite limit on none is none", () => {
    assert.strictEqual(Deadline.narrow(Deadline.none, 5, Number.POSITIVE_INFINITY, "total"), Deadline.none)
  })
})

describe("allows", () => {
  it("what ends before the limit, and not what ends with it", () => {
    const limit = Deadline.narrow(Deadline.none, 0, 100, "total")
    assert.isTrue(Deadline.allows(limit, 40, 59))
    assert.isFalse(Deadline.allows(limit, 40, 60))
    assert.isFalse(Deadline.allows(limit, 100, 0))
    assert.isTrue(Deadline.allows(Deadline.none, 0, Number.MAX_SAFE_INTEGER))
  })
})

describe("expired", () => {
  it("is the error of the nearest limit whose time is up", () => {
    const outer = Deadline.narrow(Deadline.none, 0, 100, "total")
    const inner = Deadline.narrow(outer, 0, 50, "attempt")
    assert.isUndefined(Deadline.expired(inner))
    outer.expired = errorOf("ServerError")
    assert.strictEqual(Deadline.expired(inner), outer.expired)
    inner.expired = errorOf("Overloaded")
    assert.strictEqual(Deadline.expired(inner), inner.expired)
    assert.isUndefined(Deadline.expired(Deadline.none))
  })
})

describe("remaining", () => {
  it.effect("is infinite without a deadline", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* Deadline.remaining, Number.POSITIVE_INFINITY)
    })
  )

  it.effect("counts down, and nested deadlines only narrow it", () =>
    Effect.gen(function* () {
      const seen: Array<number> = []
      const see = Effect.map(Deadline.remaining, (left) => {
        seen.push(left)
      })
      const inner = Effect.zipRight(see, Effect.zipRight(Effect.sleep("1 second"), see))
      const program = see.pipe(
        Effect.zipRight(Effect.sleep("4 seconds")),
        Effect.zipRight(Resilience.timeout(inner, "2 seconds")),
        Effect.zipRight(Resilience.timeout(inner, "1 minute")),
        Effect.zipRight(see),
        Resilience.deadline("10 seconds")
      )
      yield* under(program)
      assert.deepStrictEqual(seen, [10_000, 2000, 1000, 5000, 4000, 4000])
    })
  )

  it.effect("is never below zero", () =>
    Effect.gen(function* () {
      const late: Deadline.Limit = { at: 100, phase: "total" }
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual(yield* Effect.provideService(Deadline.remaining, Deadline.Deadline, late), 0)
    })
  )

  it.effect("is gone after the deadline's own effect", () =>
    Effect.gen(function* () {
      yield* Resilience.deadline(Effect.void, "1 second")
      assert.strictEqual(yield* Deadline.remaining, Number.POSITIVE_INFINITY)
    })
  )
})
