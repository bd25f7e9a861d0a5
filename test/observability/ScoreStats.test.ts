import { assert, describe, it } from "@effect/vitest"
import * as Judged from "../../src/observability/Judged.js"
import * as ScoreStats from "../../src/observability/ScoreStats.js"
import { cases } from "../support/cases.js"

/** Numbers from 0 to 1 by mulberry32, so that each run of a simulation is the same. */
const numbers = (seed: number) => {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}

const sumsOf = (scores: Iterable<number>) => [...scores].reduce(ScoreStats.add, ScoreStats.none)

type Draw = (next: () => number) => number

const uniform: Draw = (next) => next()
const yes =
  (share: number): Draw =>
  (next) =>
    next() < share ? 1 : 0
/** Most are good, some bad: of an LLM's judge. */
const graded: Draw = (next) => (next() < 0.8 ? 0.8 + 0.2 * next() : 0.5 * next())

const groups: Readonly<Record<string, readonly [Draw, number]>> = {
  uniform: [uniform, 0.5],
  graded: [graded, 0.8 * 0.9 + 0.2 * 0.25],
  half: [yes(0.5), 0.5],
  "nine in ten": [yes(0.9), 0.9],
  "49 in 50": [yes(0.98), 0.98]
}

describe("the interval", () => {
  const pairs = Object.keys(groups).flatMap((a) => Object.keys(groups).map((b) => [a, b] as const))

  it.each(pairs)("holds the true difference of %s and %s in 95 % of all cases", (a, b) => {
    const [[drawA, meanA], [drawB, meanB]] = [groups[a] ?? [uniform, 0], groups[b] ?? [uniform, 0]]
    const runs = cases(20_000, 500)
    for (const [sizeA, sizeB] of [
      [30, 30],
      [30, 600],
      [200, 100]
    ] as const) {
      const next = numbers(7)
      let held = 0
      for (let run = 0; run < runs; run++) {
        const one = sumsOf(Array.from({ length: sizeA }, () => drawA(next)))
        const two = sumsOf(Array.from({ length: sizeB }, () => drawB(next)))
        const [low, high] = ScoreStats.interval(one, two)
        if (low <= meanA - meanB && meanA - meanB <= high) held++
      }
      assert.isAtLeast(held / runs, 0.935, `${sizeA} and ${sizeB}`)
    }
  })

  it("is no wider than it needs to be where scores are spread", () => {
    const next = numbers(11)
    const runs = 4000
    let held = 0
    for (let run = 0; run < runs; run++) {
      const [low, high] = ScoreStats.interval(
        sumsOf(Array.from({ length: 100 }, () => uniform(next))),
        sumsOf(Array.from({ length: 300 }, () => uniform(next)))
      )
      if (low <= 0 && 0 <= high) held++
    }
    assert.isAtMost(held / runs, 0.965)
  })

  it("is that of Welch's formula, by hand, with a 0 and a 1 more in each group", () => {
    // 0, 1, 1, 1 and 0, 0, 1: means 3/4 and 1/3, variances of the means 1/16 and 1/9.
    const [low, high] = ScoreStats.interval(sumsOf([1, 1]), sumsOf([0]))
    const variance = 1 / 16 + 1 / 9
    const degrees = variance ** 2 / ((1 / 16) ** 2 / 3 + (1 / 9) ** 2 / 2)
    const half = ScoreStats.quantileOf(degrees) * Math.sqrt(variance)
    assert.closeTo(low, 5 / 12 - half, 1e-12)
    assert.closeTo(high, Math.min(1, 5 / 12 + half), 1e-12)
  })

  it("takes its quantile from Student's table", () => {
    for (const [degrees, quantile] of [
      [4, 2.7764],
      [10, 2.2281],
      [29, 2.0452],
      [100, 1.984],
      [1e9, 1.96]
    ] as const) {
      assert.closeTo(ScoreStats.quantileOf(degrees) / quantile, 1, 0.001)
    }
  })

  it("has a width even if all scores are 1", () => {
    const ones = sumsOf(new Array(30).fill(1))
    const [low, high] = ScoreStats.interval(ones, ones)
    assert.isBelow(low, -0.05)
    assert.isAbove(high, 0.05)
  })
})

describe("the comparison", () => {
  const of = (count: number, score: number) => sumsOf(new Array<number>(count).fill(score))

  it("does not tell with too few calls in one of the groups", () => {
    const few = Judged.compare(of(29, 0.2), of(500, 0.9), 30)
    assert.deepStrictEqual(few.difference, undefined)
    assert.deepStrictEqual(few.verdict, "too few to tell")
    assert.strictEqual(few.retried.count, 29)
    assert.strictEqual(Judged.compare(of(500, 0.2), of(29, 0.9), 30).verdict, "too few to tell")
    assert.strictEqual(Judged.compare(ScoreStats.none, ScoreStats.none, 0).retried.mean, undefined)
  })

  it("tells lower, higher, and that none is seen", () => {
    const lower = Judged.compare(of(30, 0.2), of(500, 0.9), 30)
    assert.strictEqual(lower.verdict, "lower")
    assert.closeTo(lower.difference?.mean ?? 0, -0.7, 1e-9)
    assert.isBelow(lower.difference?.high ?? 0, 0)
    assert.strictEqual(Judged.compare(of(500, 0.9), of(30, 0.2), 30).verdict, "higher")
    assert.strictEqual(Judged.compare(of(500, 0.6), of(500, 0.6), 30).verdict, "no difference seen")
  })
})

describe("the interval of a mean", () => {
  it.each(Object.keys(groups))("holds the true mean of %s in 95 %% of all cases", (name) => {
    const [draw, mean] = groups[name] ?? [uniform, 0]
    const runs = cases(20_000, 500)
    for (const size of [5, 30, 600]) {
      const next = numbers(11)
      let held = 0
      for (let run = 0; run < runs; run++) {
        const [low, high] = ScoreStats.around(sumsOf(Array.from({ length: size }, () => draw(next))))
        if (low <= mean && mean <= high) held++
      }
      assert.isAtLeast(held / runs, 0.93, `${size}`)
    }
  })

  it("is all of it without a score, and narrows with more", () => {
    assert.deepStrictEqual(ScoreStats.around(ScoreStats.none), [0, 1])
    const width = (size: number) => {
      const [low, high] = ScoreStats.around(sumsOf(Array.from({ length: size }, (_, n) => (n % 4 === 0 ? 0 : 1))))
      return high - low
    }
    assert.isBelow(width(400), 0.1)
    assert.isBelow(width(400), width(40) / 2)
  })
})
