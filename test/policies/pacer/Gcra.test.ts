import { assert, describe, it } from "@effect/vitest"
import { FastCheck as fc } from "effect"
import * as Gcra from "../../../src/policies/pacer/Gcra.js"
import { cases } from "../../support/cases.js"

const limit = (limit: number, windowMillis: number, burst = limit): Gcra.Limit => ({ limit, windowMillis, burst })
const forEver = Number.POSITIVE_INFINITY
const runs = { numRuns: cases(10_000) }

describe("a bucket", () => {
  const ten = limit(10, 1000)
  const cases: ReadonlyArray<readonly [string, Gcra.Limit, number, number, number, number]> = [
    // what, limit, level at 0, cost, ready at, drained at
    ["is ready when it holds enough", ten, 3, 3, 0, 0],
    ["is ready when it holds more", ten, 9, 3, 0, 0],
    ["waits for what is missing", ten, 3, 5, 200, 200],
    ["waits for ever where no clock tells the end", limit(1, 2 ** 53, 2), 0, 2, forEver, forEver],
    ["waits for a debt too", ten, -4, 1, 500, 500],
    ["rounds up to a whole millisecond", limit(3, 1000), 0, 1, 334, 334],
    ["never holds more than its burst", limit(10, 1000, 2), 2, 3, forEver, 100],
    ["can be emptied more than once", ten, 10, 25, forEver, 1500],
    ["asks nothing of what costs nothing", ten, -4, 0, 0, 0]
  ]
  for (const [what, limit, level, cost, ready, drained] of cases) {
    it(what, () => {
      assert.strictEqual(Gcra.readyAt(limit, { level, at: 0 }, cost, 0), ready)
      assert.strictEqual(Gcra.drainedAt(limit, { level, at: 0 }, cost, 0), drained)
    })
  }

  it("refills evenly, up to its burst", () => {
    const empty = { level: 0, at: 1000 }
    assert.deepStrictEqual(
      [1000, 1050, 1100, 1900, 2000, 9000].map((now) => Gcra.levelAt(ten, empty, now)),
      [0, 0.5, 1, 9, 10, 10]
    )
  })

  it("stands still when time runs backwards", () => {
    const bucket = { level: 4, at: 1000 }
    assert.strictEqual(Gcra.levelAt(ten, bucket, 0), 4)
    assert.deepStrictEqual(Gcra.take(ten, bucket, 1, 0), { level: 3, at: 1000 })
    assert.strictEqual(Gcra.readyAt(ten, bucket, 5, 0), 1100)
  })

  it("stands still for whatever is done when time runs backwards, for one window at most", () => {
    const at = (now: number) => {
      const bucket = { level: 4, at: 2000 }
      return [
        Gcra.take(ten, bucket, 1, now),
        Gcra.giveBack(ten, bucket, 1, now),
        Gcra.atMost(ten, bucket, 2, now),
        Gcra.atMost(ten, bucket, 9, now),
        Gcra.change(ten, limit(3, 1000), bucket, now)
      ]
    }
    const levels = [3, 5, 2, 4, 3]
    for (const [now, since] of [
      [999, 999],
      [1000, 2000],
      [1500, 2000],
      [2000, 2000]
    ] as const) {
      assert.deepStrictEqual(
        at(now),
        levels.map((level) => ({ level, at: since })),
        `${now}`
      )
    }
    assert.strictEqual(Gcra.readyAt(ten, { level: 4, at: 2000 }, 5, 1000), 2100)
  })

  it("owes no more than a window or a burst pays", () => {
    for (const one of [limit(10, 1000, 2), limit(2, 1000, 10)]) {
      const bucket = { level: 1, at: 0 }
      assert.deepStrictEqual(Gcra.take(one, bucket, 100, 0), { level: -10, at: 0 })
      assert.deepStrictEqual(Gcra.atMost(one, bucket, -100, 0), { level: -10, at: 0 })
    }
  })

  it("is ready at the exact millisecond, also where the division is a rounding error away", () => {
    for (let size = 1; size <= 20; size++) {
      for (let missing = 1; missing <= 60; missing++) {
        const bucket = { level: 1 - 1e-6 - missing * (size / 1000), at: 0 }
        const one = limit(size, 1000)
        const at = Gcra.readyAt(one, bucket, 1, 0)
        const found = [Gcra.admits(one, bucket, 1, at - 1), Gcra.admits(one, bucket, 1, at)]
        assert.deepStrictEqual(found, [false, true], `${size} a second, ${missing} ms`)
      }
    }
  })

  it("forgives a rounding error of a millionth and no more", () => {
    assert.isTrue(Gcra.fits(limit(1, 1000), 1 + 1e-6))
    assert.isTrue(Gcra.admits(ten, { level: 0, at: 0 }, 1e-6, 0))
    const holds = (missing: number) => [
      Gcra.fits(ten, 10 + missing),
      Gcra.admits(ten, { level: 3, at: 0 }, 3 + missing, 0)
    ]
    assert.deepStrictEqual(
      [holds(0), holds(9e-7), holds(1e-5)],
      [
        [true, true],
        [true, true],
        [false, false]
      ]
    )
  })

  it("takes back no more than fits", () => {
    assert.strictEqual(Gcra.giveBack(ten, { level: 8, at: 0 }, 5, 0).level, 10)
    assert.strictEqual(Gcra.giveBack(ten, { level: -8, at: 0 }, 5, 0).level, -3)
  })

  it("keeps under another limit what it held, as far as that fits", () => {
    assert.deepStrictEqual(Gcra.change(ten, limit(100, 1000), { level: 2, at: 0 }, 100), { level: 3, at: 100 })
    assert.deepStrictEqual(Gcra.change(ten, limit(2, 1000), { level: 8, at: 0 }, 100), { level: 2, at: 100 })
  })
})

const limits = fc.record({
  limit: fc.integer({ min: 1, max: 100_000 }),
  windowMillis: fc.constantFrom(1000, 7000, 60_000, 3_600_000),
  burst: fc.integer({ min: 1, max: 100_000 })
})

describe("laws", () => {
  it("ready at t: admitted at t, refused one millisecond before", () => {
    const level = fc.double({ min: -1000, max: 100_000, noNaN: true })
    const now = fc.integer({ min: 0, max: 1e12 })
    fc.assert(
      fc.property(limits, level, fc.integer({ min: 1, max: 100_000 }), now, (limit, level, cost, now) => {
        const bucket = { level: Math.min(level, limit.burst), at: now }
        const at = Gcra.readyAt(limit, bucket, cost, now)
        if (cost > limit.burst) {
          assert.strictEqual(at, forEver)
          return
        }
        assert.isTrue(Gcra.admits(limit, bucket, cost, at))
        assert.isTrue(at === now || !Gcra.admits(limit, bucket, cost, at - 1))
      }),
      runs
    )
  })

  it("waiting in steps is waiting at once: taking nothing on the way changes no time", () => {
    const pauses = fc.array(fc.integer({ min: 0, max: 5000 }), { maxLength: 5 })
    fc.assert(
      fc.property(limits, fc.integer({ min: 1, max: 1000 }), pauses, (limit, cost, pauses) => {
        fc.pre(cost <= limit.burst)
        const start = { level: 0, at: 0 }
        const at = Gcra.readyAt(limit, start, cost, 0)
        let bucket: Gcra.Bucket = start
        let now = 0
        for (const pause of pauses) {
          now = Math.min(at, now + pause)
          bucket = Gcra.take(limit, bucket, 0, now)
        }
        assert.strictEqual(Gcra.readyAt(limit, bucket, cost, now), at)
      }),
      runs
    )
  })

  const visits = fc.array(
    fc.record({
      after: fc.integer({ min: 0, max: 2000 }),
      cost: fc.integer({ min: 1, max: 30 }),
      used: fc.double({ min: 0, max: 1, noNaN: true }),
      takes: fc.integer({ min: 0, max: 3000 })
    }),
    { minLength: 1, maxLength: 20 }
  )

  /**
   * Whoever comes is admitted as early as can be, one after the other; estimates are put right when the answer is
   * there.
   */
  const run = (
    limit: Gcra.Limit,
    visits: ReadonlyArray<{ after: number; cost: number; used: number; takes: number }>
  ) => {
    let bucket = Gcra.full(limit, 0)
    let now = 0
    const booked: Array<{ readonly at: number; readonly amount: number }> = []
    let open: Array<{ readonly at: number; readonly unused: number }> = []
    const settle = (until: number) => {
      for (const { at, unused } of open.filter((one) => one.at <= until).sort((a, b) => a.at - b.at)) {
        const before = Gcra.levelAt(limit, bucket, at)
        bucket = Gcra.giveBack(limit, bucket, unused, at)
        booked.push({ at, amount: before - Gcra.levelAt(limit, bucket, at) })
      }
      open = open.filter((one) => one.at > until)
    }
    for (const { after, cost, takes, used } of visits.filter(({ cost }) => cost <= limit.burst)) {
      now += after
      settle(now)
      now = Gcra.readyAt(limit, bucket, cost, now)
      settle(now)
      bucket = Gcra.take(limit, bucket, cost, now)
      booked.push({ at: now, amount: cost })
      open.push({ at: now + takes, unused: cost * (1 - used) })
    }
    return booked.sort((a, b) => a.at - b.at)
  }

  it("no window sees more than limit and burst, with what is given back in it", () => {
    const small = fc.record({
      limit: fc.integer({ min: 1, max: 50 }),
      windowMillis: fc.constantFrom(1000, 3000),
      burst: fc.integer({ min: 1, max: 50 })
    })
    fc.assert(
      fc.property(small, visits, (limit, visits) => {
        let excess = 0
        run(limit, visits).forEach((first, index, booked) => {
          let sum = 0
          for (const { amount, at } of booked.slice(index)) {
            sum += amount
            excess = Math.max(excess, sum - limit.burst - ((at - first.at) * limit.limit) / limit.windowMillis)
          }
        })
        assert.isAtMost(excess, 1e-3)
      }),
      runs
    )
  })

  it("a debt is paid: what was used beyond the estimate is missing afterwards, up to a window or a burst", () => {
    fc.assert(
      fc.property(limits, fc.integer({ min: 1, max: 1000 }), fc.integer({ min: 1, max: 1000 }), (limit, cost, more) => {
        fc.pre(cost <= limit.burst)
        const taken = Gcra.take(limit, Gcra.take(limit, Gcra.full(limit, 0), cost, 0), more, 0)
        const level = Math.max(limit.burst - cost - more, -Math.max(limit.limit, limit.burst))
        assert.closeTo(Gcra.levelAt(limit, taken, 0), level, 1e-6)
        const full = Math.ceil(((limit.burst - level) * limit.windowMillis) / limit.limit)
        assert.closeTo(Gcra.levelAt(limit, taken, full + 1), limit.burst, 1e-6)
      }),
      runs
    )
  })

  it("no numbers, however large or small, make a search of a wait, nor a wait of two windows and a burst", () => {
    const any = fc.oneof(
      fc.constantFrom(1, 2 ** 53 - 1, 2 ** 53, 1e300, 4_294_967_295),
      fc.double({ min: 1, max: 1e12, noNaN: true })
    )
    fc.assert(
      fc.property(any, any, any, any, fc.nat(3_600_000), (size, windowMillis, burst, cost, later) => {
        const huge = limit(size, windowMillis, burst)
        const owing = Gcra.take(huge, Gcra.full(huge, 1e12), cost, 1e12)
        assert.isTrue(Number.isFinite(owing.level) && Number.isFinite(owing.at))
        const now = 1e12 + later
        const at = Gcra.readyAt(huge, owing, Math.min(cost, burst), now)
        const most = (windowMillis * (Math.max(size, burst) + burst)) / size
        assert.isTrue(at === forEver ? most > 1e12 : at - now <= most * 1.01 + 2)
      }),
      runs
    )
  })
})
