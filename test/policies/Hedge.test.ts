import { assert, describe, it } from "@effect/vitest"
import { FastCheck as fc } from "effect"
import * as Hedge from "../../src/policies/Hedge.js"
import { cases } from "../support/cases.js"

/** One bucket is this much longer than the one before. */
const bucket = 2 ** (1 / 8)

/** Calls that took so long to their first token; how long the last one is to be waited for. */
const heard = (hedge: Hedge.Hedge, times: Iterable<number>): number | undefined => {
  let delay: number | undefined
  for (const millis of times) {
    delay = hedge.begin()
    hedge.answered("first", millis)
  }
  return delay
}

const often = (count: number, millis: number): ReadonlyArray<number> => new Array<number>(count).fill(millis)

/** In each 25 calls one that takes ten times as long, the last one of them. */
const tailed = (rounds: number): ReadonlyArray<number> =>
  Array.from({ length: 25 * rounds }, (_, i) => (i % 25 === 24 ? 5000 : 500))

const yes = () => true

/** Hedging that has seen 125 calls, of which five were slow. */
const seasoned = (options?: Hedge.Options): Hedge.Hedge => {
  const hedge = Hedge.make(options)
  heard(hedge, tailed(5))
  return hedge
}

describe("how long a call is waited for", () => {
  it("is not known before the quantile was seen", () => {
    const hedge = Hedge.make()
    heard(hedge, often(19, 500))
    assert.isUndefined(hedge.snapshot().delayMillis)
    heard(hedge, [500])
    assert.isDefined(hedge.snapshot().delayMillis)
    const median = Hedge.make({ quantile: 0.5 })
    heard(median, [500])
    assert.isUndefined(median.snapshot().delayMillis)
    heard(median, [500])
    assert.isDefined(median.snapshot().delayMillis)
  })

  it("is the p95, and at most one bucket more", () => {
    const hedge = Hedge.make()
    heard(
      hedge,
      Array.from({ length: 100 }, (_, i) => 1000 + 10 * i)
    )
    // Of a hundred the later ones count twice as much, and those are the longest: 1973 is the p95.
    const delay = hedge.snapshot().delayMillis ?? 0
    assert.isAtLeast(delay, 1970)
    assert.isAtMost(delay, 1970 * bucket)
  })

  it("is the quantile that was asked for", () => {
    const hedge = Hedge.make({ quantile: 0.5 })
    heard(hedge, [...often(10, 100), ...often(30, 800), ...often(15, 3000)])
    assert.approximately(hedge.snapshot().delayMillis ?? 0, 800, 800 * (bucket - 1))
  })

  it("follows calls that become slow within eight of them, and those that become fast again with time", () => {
    const hedge = Hedge.make()
    heard(hedge, often(500, 500))
    heard(hedge, often(7, 5000))
    assert.isBelow(hedge.snapshot().delayMillis ?? 0, 600)
    heard(hedge, [5000])
    assert.isAbove(hedge.snapshot().delayMillis ?? 0, 4999)
    heard(hedge, often(20, 500))
    assert.isBelow(hedge.snapshot().delayMillis ?? 0, 600)
  })

  it("is bounded, whatever the times are", () => {
    const hedge = Hedge.make()
    heard(hedge, [...often(30, 0), ...often(30, 0.2), ...often(60, 1e12)])
    const { delayMillis = 0, medianMillis } = hedge.snapshot()
    assert.strictEqual(delayMillis, 2 ** 20)
    assert.strictEqual(medianMillis.first, 2 ** 20)
    heard(hedge, often(2000, 0))
    assert.strictEqual(hedge.snapshot().delayMillis, 1)
  })
})

describe("a call is hedged", () => {
  it("where a few take much longer than the others", () => {
    const delay = seasoned().begin()
    assert.approximately(delay ?? 0, 500, 500 * (bucket - 1))
  })

  it("not where times hardly differ", () => {
    const hedge = Hedge.make()
    for (let i = 0; i < 2000; i++) assert.isUndefined(heard(hedge, [500 + 100 * Math.sin(i)]))
  })

  it("not where no call was slower than the delay", () => {
    const hedge = Hedge.make()
    assert.isUndefined(heard(hedge, often(100, 500)))
    assert.isDefined(hedge.snapshot().delayMillis)
  })

  it("not where the second target is no faster than waiting on, until that was long ago", () => {
    const hedge = seasoned()
    for (let i = 0; i < 2; i++) hedge.answered("second", 60_000)
    assert.isDefined(hedge.begin())
    for (let i = 0; i < 10; i++) hedge.answered("second", 60_000)
    assert.isUndefined(hedge.begin())
    // Twelve of them count as three after 200 calls.
    assert.isUndefined(heard(hedge, tailed(7)))
    assert.isDefined(heard(hedge, tailed(2)))
  })

  it("not where the second target is often left without an answer", () => {
    const hedge = seasoned()
    for (let i = 0; i < 10; i++) hedge.silent("second", 60_000)
    assert.isAbove(hedge.snapshot().medianMillis.second ?? 0, 59_000)
    assert.isUndefined(hedge.begin())
  })

  it("where the second target, left early, may well be like the first", () => {
    const hedge = seasoned()
    for (let i = 0; i < 10; i++) hedge.silent("second", 50)
    assert.approximately(hedge.snapshot().medianMillis.second ?? 0, 500, 500 * (bucket - 1))
    assert.isDefined(hedge.begin())
  })

  it("only where a third of the wait is to be gained", () => {
    const delayFor = (slow: number) => {
      const hedge = Hedge.make()
      heard(
        hedge,
        Array.from({ length: 100 }, (_, i) => (i % 25 === 24 ? slow : 500))
      )
      return hedge.begin()
    }
    assert.isUndefined(delayFor(1300))
    assert.isDefined(delayFor(2000))
  })

  it("not before the quantile was seen, though hedges are there", () => {
    const hedge = Hedge.make({ ratio: 0.2 })
    heard(hedge, [5000, ...often(18, 500)])
    assert.isUndefined(hedge.begin())
    assert.isAbove(hedge.snapshot().available, 1)
    hedge.answered("first", 500)
    assert.isDefined(hedge.begin())
  })
})

describe("what was cut short", () => {
  it("keeps the slow ones slow, though every one of them was beaten by a hedge", () => {
    const hedge = seasoned()
    for (let i = 0; i < 2000; i++) {
      const delay = hedge.begin()
      if (i % 25 === 24) hedge.silent("first", 1100)
      else hedge.answered("first", 500 + (i % 7))
      if (i > 100 && i % 25 === 23) assert.isDefined(delay, `call ${i}`)
    }
    // Those that were told to take longer than 1100 are still taken to take what such calls took: 5000.
    const slow = Hedge.make({ quantile: 0.97 })
    heard(slow, tailed(5))
    for (let i = 0; i < 500; i++) {
      slow.begin()
      if (i % 25 === 24) slow.silent("first", 1100)
      else slow.answered("first", 500)
    }
    assert.approximately(slow.snapshot().delayMillis ?? 0, 5000, 5000 * (bucket - 1))
  })

  it("is the longest time there is, where nothing longer is known", () => {
    const hedge = Hedge.make()
    heard(hedge, often(30, 500))
    for (let i = 0; i < 10; i++) {
      hedge.begin()
      hedge.silent("first", 30_000)
    }
    assert.isAbove(hedge.snapshot().delayMillis ?? 0, 29_999)
  })

  it("says nothing where it is a quick failure, first or later", () => {
    const hedge = Hedge.make()
    for (let i = 0; i < 50; i++) hedge.silent("first", 5)
    assert.deepStrictEqual(hedge.snapshot().medianMillis, { first: undefined, second: undefined })
    heard(hedge, tailed(5))
    const before = hedge.snapshot()
    for (let i = 0; i < 50; i++) hedge.silent("first", 5)
    assert.deepStrictEqual(hedge.snapshot(), before)
  })

  it("is not counted as a first token", () => {
    const hedge = Hedge.make()
    heard(hedge, often(19, 500))
    for (let i = 0; i < 50; i++) hedge.silent("first", 600)
    assert.isUndefined(hedge.snapshot().delayMillis)
  })
})

describe("the allowance", () => {
  it("has none at the start, and earns one with twenty calls", () => {
    const hedge = Hedge.make()
    assert.isFalse(hedge.launch(yes))
    for (let i = 0; i < 19; i++) hedge.begin()
    assert.isFalse(hedge.launch(yes))
    for (let i = 0; i < 2; i++) hedge.begin()
    assert.isTrue(hedge.launch(yes))
    assert.isFalse(hedge.launch(yes))
  })

  it("saves up five at most", () => {
    const hedge = seasoned()
    heard(hedge, tailed(50))
    assert.strictEqual(hedge.snapshot().available, 5)
    assert.deepStrictEqual(
      [1, 2, 3, 4, 5, 6].map(() => hedge.launch(yes)),
      [true, true, true, true, true, false]
    )
    assert.isUndefined(hedge.begin())
  })

  it("is spent only where the others agree, who are asked last", () => {
    const hedge = seasoned()
    const { available } = hedge.snapshot()
    assert.isFalse(hedge.launch(() => false))
    assert.strictEqual(hedge.snapshot().available, available)
    while (hedge.launch(yes));
    let asked = 0
    hedge.launch(() => {
      asked += 1
      return true
    })
    assert.strictEqual(asked, 0)
  })

  it("shrinks with each hedge that does not win, to a tenth", () => {
    const hedge = Hedge.make({ ratio: 0.1 })
    const ratios = Array.from({ length: 15 }, () => {
      while (!hedge.launch(yes)) hedge.begin()
      return hedge.snapshot().ratio
    })
    assert.approximately(ratios[0] ?? 0, 0.08, 1e-12)
    assert.approximately(ratios[1] ?? 0, 0.064, 1e-12)
    assert.approximately(ratios.at(-1) ?? 0, 0.01, 1e-12)
  })

  it("doubles with each that wins, up to what it was", () => {
    const hedge = Hedge.make({ ratio: 0.1 })
    const lose = () => {
      while (!hedge.launch(yes)) hedge.begin()
    }
    for (let i = 0; i < 15; i++) lose()
    for (const expected of [0.025, 0.05, 0.1, 0.1]) {
      lose()
      hedge.answered("second", 100)
      assert.approximately(hedge.snapshot().ratio, expected, 1e-12)
    }
  })
})

describe("options", () => {
  it("that mean nothing are refused", () => {
    assert.throws(() => Hedge.make({ quantile: 0.4 }), "Hedge: quantile: found 0.4, expected a number from 0.5 to 0.99")
    assert.throws(() => Hedge.make({ quantile: 1 }), RangeError)
    assert.throws(() => Hedge.make({ ratio: 0 }), "Hedge: ratio: found 0, expected a number above 0 and at most 0.2")
    assert.throws(() => Hedge.make({ ratio: Number.NaN }), RangeError)
  })
})

describe("laws", () => {
  const runs = { numRuns: cases(10_000) }

  it("the delay is never shorter than the quantile of what was seen, each call counting 2^(-1/100) of the next", () => {
    const times = fc.array(fc.double({ min: 1, max: 600_000, noNaN: true }), { minLength: 20, maxLength: 60 })
    fc.assert(
      fc.property(times, (given) => {
        const hedge = Hedge.make()
        heard(hedge, given)
        const delay = hedge.snapshot().delayMillis ?? 0
        const weighed = given
          .map((millis, i) => ({ millis, weight: 2 ** (i / 100) }))
          .sort((a, b) => b.millis - a.millis)
        const total = weighed.reduce((sum, { weight }) => sum + weight, 0)
        const exact = (above: number) => {
          let mass = 0
          const reached = weighed.find(({ weight }) => {
            mass += weight
            return mass > above
          })
          return reached?.millis ?? 0
        }
        // What falls on the border to a rounding error may count on either side.
        assert.isAtLeast(delay, exact(0.05 * total * (1 + 1e-9)) * (1 - 1e-9))
        assert.isAtMost(delay, exact(0.05 * total * (1 - 1e-9)) * bucket * (1 + 1e-9))
      }),
      runs
    )
  })

  it("hedges are never more than the ratio of the calls so far, nor more than that and five in any stretch", () => {
    const event = fc.oneof(
      { weight: 6, arbitrary: fc.constant("begin" as const) },
      fc.constantFrom("launch" as const, "refused" as const, "won" as const, "first" as const, "silent" as const)
    )
    const ratio = fc.double({ min: 0.01, max: 0.2, noNaN: true })
    fc.assert(
      fc.property(ratio, fc.array(event, { maxLength: 100 }), (ratio, events) => {
        const hedge = Hedge.make({ ratio })
        let calls = 0
        let sent = 0
        // The most that `sent - ratio * calls` grew from any earlier point to now.
        let lowest = 0
        for (const one of events) {
          if (one === "begin") {
            hedge.begin()
            calls += 1
          } else if (one === "launch") sent += hedge.launch(yes) ? 1 : 0
          else if (one === "refused") hedge.launch(() => false)
          else if (one === "won") hedge.answered("second", 100)
          else if (one === "first") hedge.answered("first", 100 * calls)
          else hedge.silent("second", 10 * calls)
          const surplus = sent - ratio * calls
          assert.isAtMost(surplus, 1e-9)
          assert.isAtMost(surplus - lowest, 5 + 1e-9)
          lowest = Math.min(lowest, surplus)
          const now = hedge.snapshot()
          assert.isAtMost(now.ratio, ratio)
          assert.isAtLeast(now.ratio, ratio * 0.1 * (1 - 1e-12))
        }
      }),
      runs
    )
  })
})
