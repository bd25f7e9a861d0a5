import { assert, describe, it } from "@effect/vitest"
import { FastCheck as fc } from "effect"
import * as Gcra from "../../../src/policies/pacer/Gcra.js"
import * as Seen from "../../../src/policies/pacer/Seen.js"
import { cases } from "../../support/cases.js"

const minute = 60_000
const hour = 3_600_000

/** `spent` requests went until this one, which was sent and heard at those times. */
type Told = readonly [sentAt: number, heardAt: number, remaining: number, spent: number, reset?: number | undefined]

const heard = (limit: number, windowMillis: number, told: ReadonlyArray<Told>) => {
  let seen = Seen.nothing
  let found: number | undefined
  for (const [sentAt, heardAt, remaining, spent, reset] of told) {
    const response = { remaining, reset, sentAt, spentThen: spent, spentNow: spent, isExact: true }
    const lesson = Seen.hear(seen, { limit, windowMillis, burst: limit }, response, heardAt)
    seen = lesson.seen
    found = lesson.windowMillis ?? found
  }
  return { seen, found }
}

describe("the window that is seen", () => {
  const ten = { limit: 10, first: [0, 100, 0, 10] } as const
  const hundred = { limit: 100, first: [0, 100, 0, 100] } as const
  const unused = { limit: 100, first: [0, 100, 99, 1] } as const

  /** What the first response tells, and the next one, under a guess of a minute. */
  const table: ReadonlyArray<
    readonly [string, typeof ten | typeof hundred | typeof unused, Told | undefined, number?]
  > = [
    ["nothing after one response", ten, undefined],
    // Ten and two for rounding may be back at once where a minute begins anew.
    ["nothing from one whole limit", ten, [900, 1000, 9, 11]],
    ["a second from more than the limit in less than the window", ten, [1300, 1400, 9, 14], 1000],
    ["the rate itself where no usual window is near", ten, [4900, 5000, 9, 15], 5000 * (10 / 14)],
    ["an hour from what does not come back", hundred, [70_000, 70_100, 0, 101], hour],
    ["nothing where the limit was hardly used", unused, [70_000, 70_100, 99, 2]],
    ["nothing where too little time went by", hundred, [50_000, 50_100, 0, 101]]
  ]
  for (const [name, { first, limit }, next, found] of table) {
    it(name, () => {
      assert.strictEqual(heard(limit, minute, next === undefined ? [first] : [first, next]).found, found)
    })
  }

  /** A server with that limit, asked after those gaps; answers take as long as they take, and some are refused. */
  const served = (
    { limit, windowMillis }: { readonly limit: number; readonly windowMillis: number },
    isFixed: boolean,
    asked: ReadonlyArray<readonly [gap: number, latency: number]>
  ): ReadonlyArray<number> => {
    const bound = { limit, windowMillis, burst: limit }
    let bucket = Gcra.full(bound, 0)
    let window = 0
    let at = 0
    const events: Array<{ readonly at: number; readonly run: () => void }> = []
    const proven: Array<number> = []
    let seen = Seen.nothing
    let spent = 0
    for (const [gap, latency] of asked) {
      at += gap
      const sentAt = at
      events.push({
        at: sentAt,
        run: () => {
          spent++
          const spentThen = spent
          if (isFixed && Math.floor(sentAt / windowMillis) > window) {
            window = Math.floor(sentAt / windowMillis)
            bucket = Gcra.full(bound, sentAt)
          }
          const level = isFixed ? bucket.level : Gcra.levelAt(bound, bucket, sentAt)
          const isFree = level >= 1
          bucket = { level: isFree ? level - 1 : level, at: sentAt }
          const remaining = Math.floor(bucket.level)
          events.push({
            at: sentAt + latency,
            run: () => {
              const response = { remaining, reset: undefined, sentAt, spentThen, spentNow: spent, isExact: true }
              const lesson = Seen.hear(seen, bound, response, sentAt + latency)
              if (lesson.windowMillis !== undefined) proven.push(lesson.windowMillis)
              seen = isFree ? lesson.seen : Seen.refused(lesson.seen, sentAt, 1, sentAt + latency)
            }
          })
        }
      })
    }
    for (let next = take(events); next !== undefined; next = take(events)) next.run()
    return proven
  }

  const take = <A extends { readonly at: number }>(events: Array<A>): A | undefined => {
    const first = events.reduce((least, { at }, index) => (at < (events[least]?.at ?? at) ? index : least), 0)
    return events.splice(first, 1)[0]
  }

  it("law: a window that is right is never taken for a much shorter one, fixed or not, whatever is refused", () => {
    const asked = fc.array(fc.tuple(fc.integer({ min: 0, max: 3000 }), fc.integer({ min: 1, max: 900 })), {
      minLength: 1,
      maxLength: 80
    })
    fc.assert(
      fc.property(
        fc.integer({ min: 5, max: 40 }),
        fc.boolean(),
        fc.integer({ min: 1, max: 60 }),
        asked,
        (limit, isFixed, seconds, asked) => {
          const windowMillis = seconds * 1000
          for (const found of served({ limit, windowMillis }, isFixed, asked)) assert.isAtLeast(found, windowMillis)
        }
      ),
      { numRuns: cases(10_000) }
    )
  })
})

describe("a probe", () => {
  const told = (reset: number | undefined, remaining = 0) => heard(10, minute, [[0, 100, remaining, 10, reset]]).seen

  it("goes when the reset is over, or after a second where there is none", () => {
    for (const [reset, at] of [
      [250, 350],
      [undefined, 1100],
      [0, 1100]
    ] as const) {
      assert.isFalse(Seen.mayProbe(told(reset), at - 1))
      assert.isTrue(Seen.mayProbe(told(reset), at))
      assert.strictEqual(Seen.probeAt(told(reset)), at)
    }
  })

  it("is one at a time, and takes twice as long after each that is refused", () => {
    let seen = Seen.probed(told(undefined), 1100)
    assert.isFalse(Seen.mayProbe(seen, 1e9))
    const waits: Array<number> = []
    for (let index = 0; index < 3; index++) {
      const at = seen.probedAt + 30
      seen = Seen.refused(seen, seen.probedAt, 1, at)
      waits.push(Seen.probeAt(seen) - at)
      seen = Seen.probed(seen, Seen.probeAt(seen))
    }
    assert.deepStrictEqual(waits, [2000, 4000, 8000])
  })

  it("is not called off by an answer to an older request", () => {
    const seen = Seen.probed(told(250), 350)
    const late = { remaining: 3, reset: 10, sentAt: 0, spentThen: 7, spentNow: 11, isExact: true }
    assert.isTrue(Seen.hear(seen, { limit: 10, windowMillis: minute, burst: 10 }, late, 400).seen.isProbing)
  })

  it("is plain JSON", () => {
    for (const seen of [told(250), Seen.probed(told(250), 350)]) {
      assert.deepStrictEqual(JSON.parse(JSON.stringify(seen)), seen)
    }
  })
})
