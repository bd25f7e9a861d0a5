import { assert, describe, it } from "@effect/vitest"
import * as Hedge from "../../src/policies/Hedge.js"
import { share } from "../support/cases.js"

/** A generator of numbers in [0, 1) that gives the same ones every time. */
const seeded = (seed: number) => {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }
}

type Random = () => number

/** The milliseconds to the first token of a request that is sent at a time. */
type Target = (at: number, random: Random) => number

const seconds = (count: number) => 1000 * count
const minutes = (count: number) => 60_000 * count

/** Half a second, give or take a third. */
const normal = (random: Random): number =>
  500 * Math.exp(0.3 * Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random()))

const slow = (random: Random): number => normal(random) * (10 + 10 * random())

/** Now and then a request takes ten to twenty times as long as the others. */
const tailed =
  (share: number): Target =>
  (_, random) =>
    random() < share ? slow(random) : normal(random)

interface Scenario {
  readonly first: Target
  readonly second: Target
  readonly calls: number
  readonly perSecond: number
  readonly seed: number
}

interface Seen {
  readonly at: number
  /** To the first token, with hedging and without. */
  readonly hedged: number
  readonly plain: number
  readonly sent: boolean
}

/** Independent calls, each in its own time, over one hedging. */
const simulate = ({ calls, first, perSecond, second, seed }: Scenario): ReadonlyArray<Seen> => {
  const random = seeded(seed)
  const hedge = Hedge.make()
  const seen: Array<Seen> = []
  /** What is to happen, the next one last. */
  const agenda: Array<{ readonly at: number; readonly run: () => void }> = []
  const schedule = (at: number, run: () => void): void => {
    let i = agenda.length
    while (i > 0 && (agenda[i - 1]?.at ?? 0) <= at) i--
    agenda.splice(i, 0, { at, run })
  }

  const call = (at: number): void => {
    const plain = first(at, random)
    const unhedged = () =>
      schedule(at + plain, () => {
        hedge.answered("first", plain)
        seen.push({ at, hedged: plain, plain, sent: false })
      })
    const delay = hedge.begin()
    if (delay === undefined || plain <= delay) unhedged()
    else
      schedule(at + delay, () => {
        if (!hedge.launch(() => true)) return unhedged()
        const other = second(at + delay, random)
        const hedged = Math.min(plain, delay + other)
        schedule(at + hedged, () => {
          if (plain <= hedged) {
            hedge.answered("first", plain)
            hedge.silent("second", plain - delay)
          } else {
            hedge.silent("first", hedged)
            hedge.answered("second", other)
          }
          seen.push({ at, hedged, plain, sent: true })
        })
      })
  }

  let arrival = 0
  const arrive = (left: number): void => {
    if (left === 0) return
    arrival += (-Math.log(1 - random()) / perSecond) * 1000
    const at = arrival
    schedule(at, () => {
      call(at)
      arrive(left - 1)
    })
  }
  arrive(calls)
  for (let next = agenda.pop(); next !== undefined; next = agenda.pop()) next.run()
  return seen
}

const percentile = (values: ReadonlyArray<number>, part: number): number =>
  [...values].sort((a, b) => a - b)[Math.floor(part * values.length)] ?? Number.NaN

/** The p99 with hedging as a part of that without, and how many requests more that took for each call. */
const measure = (scenario: Scenario, from = 0, to = Number.POSITIVE_INFINITY) => {
  const seen = simulate(scenario).filter(({ at }) => at >= from && at < to)
  const plain = percentile(
    seen.map((one) => one.plain),
    0.99
  )
  const hedged = percentile(
    seen.map((one) => one.hedged),
    0.99
  )
  return { p99: hedged / plain, extra: seen.filter((one) => one.sent).length / seen.length, calls: seen.length }
}

type Measured = ReturnType<typeof measure>

const seeds = share([1, 2, 3, 4, 5, 6], 3)

const mean = (of: (one: Measured) => number, all: ReadonlyArray<Measured>): number =>
  all.reduce((sum, one) => sum + of(one), 0) / all.length

/** The same scenario with other luck, and what came of it on average. */
const repeated = (name: string, scenario: Omit<Scenario, "seed">, from?: number, to?: number) => {
  const all = seeds.map((seed) => measure({ ...scenario, seed }, from, to))
  const p99 = mean((one) => one.p99, all)
  const extra = mean((one) => one.extra, all)
  console.log(`hedging, ${name}: p99 ${(100 * p99).toFixed(0)} %, extra ${(100 * extra).toFixed(2)} %`)
  return { all, p99, extra }
}

/** Five calls a second and six thousand of them: twenty minutes. */
const load = { calls: 6000, perSecond: 5 }

describe("one target in thirty slow by chance", () => {
  it("the p99 is at most a quarter of what it was, for at most 5 % more requests", () => {
    const { all } = repeated("3 % slow tail", { ...load, first: tailed(0.03), second: tailed(0.03) })
    for (const one of all) {
      assert.isAtMost(one.extra, 0.05)
      assert.isAtMost(one.p99, 0.25)
    }
  })

  it("a thinner tail is cut as well", () => {
    const { p99 } = repeated("2 % slow tail", { ...load, first: tailed(0.02), second: tailed(0.02) })
    assert.isAtMost(p99, 0.25)
  })

  it("without a tail nothing is sent", () => {
    const { all } = repeated("no tail", { ...load, first: tailed(0), second: tailed(0) })
    for (const { extra } of all) assert.strictEqual(extra, 0)
  })
})

describe("slowness that is common to both targets", () => {
  /** Ten minutes in which both are slow, in the middle of days with a tail. */
  const during =
    (target: (random: Random) => number): Target =>
    (at, random) =>
      at >= minutes(10) && at < minutes(20) ? target(random) : tailed(0.03)(at, random)

  const kinds: ReadonlyArray<readonly [name: string, slowly: (random: Random) => number]> = [
    ["all requests 10-20 x", slow],
    ["all requests 3 x", (random) => 3 * normal(random)],
    ["every other request 10-20 x", (random) => (random() < 0.5 ? slow(random) : normal(random))],
    ["no first token for 60 s", () => seconds(60)]
  ]

  for (const [name, slowly] of kinds) {
    it(`${name}: at most 1 % more requests`, () => {
      const both = during(slowly)
      const { all } = repeated(
        `common, ${name}`,
        { calls: 9000, perSecond: 5, first: both, second: both },
        minutes(10),
        minutes(20)
      )
      for (const { calls, extra } of all) {
        assert.isAbove(calls, 2500)
        assert.isAtMost(extra, 0.01)
      }
    })
  }

  it("at most 1 % more requests at one call a second too, where the few that were saved up count most", () => {
    const both = during(slow)
    const { all } = repeated(
      "common, 1 call/s",
      { calls: 1800, perSecond: 1, first: both, second: both },
      minutes(10),
      minutes(20)
    )
    for (const { calls, extra } of all) assert.isAtMost(extra, 0.01, `of ${calls}`)
  })

  it("is over some time after it is over: hedging comes back", () => {
    const both = during(slow)
    const { p99 } = repeated(
      "30 minutes after",
      { calls: 18_000, perSecond: 5, first: both, second: both },
      minutes(40),
      minutes(60)
    )
    assert.isAtMost(p99, 0.25)
  })
})

describe("a second target that does not help", () => {
  it("is sent at most 1 % more requests", () => {
    const targets: ReadonlyArray<readonly [name: string, second: Target]> = [
      ["30 x slower", (at, random) => 30 * tailed(0.03)(at, random)],
      ["never answers", () => minutes(10)]
    ]
    for (const [name, second] of targets) {
      const { all } = repeated(`second ${name}`, { ...load, first: tailed(0.03), second })
      for (const { extra } of all) assert.isAtMost(extra, 0.01)
    }
  })
})
