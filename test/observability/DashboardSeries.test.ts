import { FastCheck as fc } from "effect"
import { assert, describe, it } from "vitest"
import type { Selected } from "../../src/observability/DashboardSearch.js"
import { type Counted, type Line, seriesOf } from "../../src/observability/DashboardSeries.js"
import { cases } from "../support/cases.js"

const minute = 60_000
const since = 1_000 * minute

/** An hour in points of a minute and steps of two. */
const hour: Selected = {
  range: { since, until: since + 60 * minute },
  bucket: minute,
  step: 2 * minute,
  filters: {}
}

const none = { failed: 0, defects: 0, succeeded: 0, later: 0 }
const first = (place: number, calls: number, target = "a/b"): Line => ({
  ...{ ...none, place, target, error: undefined, calls },
  succeeded: calls
})
const later = (place: number, calls: number, error = "RateLimited", target = "a/b"): Line => ({
  ...{ ...none, place, target, error, calls },
  succeeded: calls,
  later: calls
})
const failed = (place: number, calls: number, error: string): Line => ({
  ...{ ...none, place, target: "a/b", error, calls },
  failed: calls
})

describe("the share of second attempts", () => {
  it("counts what the target could not serve, and leaves callers' mistakes out", () => {
    const { again, buckets } = seriesOf(
      [
        first(0, 10),
        later(0, 3),
        failed(1, 2, "ServerError"),
        failed(1, 4, "InvalidRequest"),
        failed(1, 1, "toString")
      ],
      hour
    )
    assert.deepStrictEqual(again, [
      {
        ...{ target: "a/b", calls: 15, later: 3, failed: 2 },
        steps: [{ at: since, calls: 15, later: 3, failed: 2 }],
        periods: []
      }
    ])
    assert.deepStrictEqual(
      buckets.map(({ calls, failed }) => [calls, failed]),
      [
        [13, 0],
        [7, 7]
      ]
    )
  })

  it("names a period only where there are enough calls, and joins steps in a row", () => {
    const lines = [
      // 19 calls say too little.
      ...[first(0, 10), later(0, 9)],
      // Two steps in a row, and one apart.
      ...[first(10, 20), later(10, 5), first(12, 10), later(12, 20, "ServerError")],
      ...[first(20, 16), later(20, 4)],
      // One in six is no alarm.
      ...[first(30, 50), later(30, 10)]
    ]
    const [one] = seriesOf(lines, hour).again
    assert.deepStrictEqual(one?.periods, [
      {
        ...{ calls: 55, later: 25, failed: 0, reason: "ServerError" },
        ...{ from: since + 10 * minute, until: since + 14 * minute }
      },
      {
        ...{ calls: 20, later: 4, failed: 0, reason: "RateLimited" },
        ...{ from: since + 20 * minute, until: since + 22 * minute }
      }
    ])
  })

  it("loses no call, whatever the lines are and in any order", () => {
    const line = fc.record({
      place: fc.nat(59),
      target: fc.constantFrom(undefined, "a/b", "c/d"),
      error: fc.constantFrom(undefined, "RateLimited", "InvalidRequest"),
      first: fc.nat(50),
      later: fc.nat(50),
      failed: fc.nat(50)
    })
    const made = fc.array(
      line.map(({ failed, first, later, ...rest }): Line => {
        return { ...rest, calls: first + later + failed, defects: 0, failed, later, succeeded: first + later }
      })
    )
    const sum = (all: ReadonlyArray<Counted>, of: (one: Counted) => number) => all.reduce((n, one) => n + of(one), 0)
    fc.assert(
      fc.property(made, (lines) => {
        const { again, buckets } = seriesOf(lines, hour)
        assert.strictEqual(
          buckets.reduce((n, { calls }) => n + calls, 0),
          lines.reduce((n, { calls }) => n + calls, 0)
        )
        const known = lines.filter(({ target }) => target !== undefined)
        assert.strictEqual(
          sum(again, ({ later }) => later),
          known.reduce((n, { later }) => n + later, 0)
        )
        for (const one of again) {
          assert.strictEqual(
            sum(one.steps, ({ calls }) => calls),
            one.calls
          )
          for (const { calls, failed, from, later, until } of one.periods) {
            assert.isAtLeast((later + failed) / calls, 0.2)
            assert.isAtLeast(calls, 20)
            assert.isAbove(until, from)
          }
        }
        assert.deepStrictEqual(seriesOf([...lines].reverse(), hour), { again, buckets })
      }),
      { numRuns: cases(2_000, 100) }
    )
  })
})
