import { assert, describe, it } from "@effect/vitest"
import { Effect, TestClock } from "effect"
import { RetryBudget } from "effect-steadfast"
import * as Sweep from "../../src/policies/Sweep.js"

describe("a sweep", () => {
  it("looks at two entries for each new one, however many there are", () => {
    for (const count of [10, 1000, 20_000]) {
      const entries = new Map<string, number>()
      const sweep = Sweep.make(entries)
      let looks = 0
      for (let nth = 0; nth < count; nth++) {
        sweep(() => {
          looks += 1
          return true
        })
        entries.set(`${nth}`, nth)
      }
      assert.strictEqual(entries.size, count)
      assert.isAtMost(looks, 2 * count)
    }
  })

  it("forgets all that is not needed, and nothing else", () => {
    const entries = new Map(Array.from({ length: 100 }, (_, nth) => [`${nth}`, nth]))
    const sweep = Sweep.make(entries)
    for (let nth = 0; nth < 51; nth++) sweep((value) => value % 2 === 0)
    assert.deepStrictEqual(
      [...entries.values()],
      Array.from({ length: 50 }, (_, nth) => 2 * nth)
    )
  })

  it("comes to entries that are added later, and over an empty map it does nothing", () => {
    const entries = new Map<string, number>()
    const sweep = Sweep.make(entries)
    sweep(() => false)
    entries.set("late", 1)
    for (let nth = 0; nth < 3; nth++) sweep(() => false)
    assert.strictEqual(entries.size, 0)
  })
})

describe("the budgets of many groups", () => {
  const draining = (drained: boolean) =>
    Effect.gen(function* () {
      const clock = yield* Effect.clock
      const budgets = yield* RetryBudget.RetryBudgets
      for (let nth = 0; nth < 20_000; nth++) {
        const budget = budgets.of(`group ${nth}`, clock)
        if (drained) budget.draw(0)
      }
      return { budgets, clock, known: budgets.known(clock) }
    })

  it.effect("are forgotten while they are full", () =>
    Effect.gen(function* () {
      const { known } = yield* draining(false)
      assert.isAtMost(known.size, 1001)
    }).pipe(Effect.provide(RetryBudget.layer()))
  )

  it.effect("are kept while they are not, and forgotten when they are full again", () =>
    Effect.gen(function* () {
      const { budgets, clock, known } = yield* draining(true)
      assert.strictEqual(known.size, 20_000)
      assert.approximately(budgets.of("group 7", clock).available(0), 9, 1e-6)
      yield* TestClock.adjust("1 minute")
      for (let nth = 0; nth < 20_000; nth++) budgets.of(`other ${nth}`, clock)
      assert.isAtMost(known.size, 2000)
    }).pipe(Effect.provide(RetryBudget.layer()))
  )
})
