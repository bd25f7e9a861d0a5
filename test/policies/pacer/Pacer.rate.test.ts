import { assert, describe, it } from "@effect/vitest"
import * as AdaptiveRate from "../../../src/policies/pacer/AdaptiveRate.js"

const refusal = { hint: undefined, inFlight: 0, isKnown: false, random: 0 }

/** As fast as it may, against a bucket of that rate, for so long; refusals come back after 30 ms. */
const drive = (perSecond: number, burst: number, millis: number, start = AdaptiveRate.fresh, from = 0) => {
  let rate = start
  let now = from
  let level = burst
  let at = from
  const sent: Array<number> = []
  let refused = 0
  while (now < from + millis) {
    now = AdaptiveRate.readyAt(rate, false, now)
    if (now >= from + millis) break
    rate = AdaptiveRate.send(rate, false, true, now)
    const mark = AdaptiveRate.mark(rate, now)
    level = Math.min(burst, level + ((now - at) * perSecond) / 1000)
    at = now
    sent.push(now)
    if (level >= 1) level -= 1
    else {
      refused += 1
      rate = AdaptiveRate.refuse(rate, mark, refusal, now + 30)
      now += 30
    }
  }
  return { rate, sent, refused }
}

const perSecond = (rate: AdaptiveRate.AdaptiveRate): number => {
  const learned = AdaptiveRate.learned(rate)
  return learned === undefined ? Number.NaN : (learned.limit.limit * 1000) / learned.limit.windowMillis
}

describe("a rate that nobody tells", () => {
  for (const limit of [0.5, 2, 5, 50, 300]) {
    it(`is measured: ${limit} a second`, () => {
      const { rate, refused, sent } = drive(limit, Math.max(1, limit), 300_000)
      assert.isAtLeast((sent.length - refused) / 300 / limit, 0.85)
      assert.isAtMost(refused / sent.length, 0.1)
      assert.isAtLeast(perSecond(rate), limit * 0.6)
      assert.isAtMost(perSecond(rate), limit * 1.5)
    })
  }

  it("follows a limit that falls, and one that rises", () => {
    const before = drive(20, 20, 120_000)
    const fallen = drive(4, 4, 120_000, before.rate, 120_000)
    assert.isAtLeast((fallen.sent.length - fallen.refused) / 120 / 4, 0.8)
    assert.isAtMost(fallen.refused / fallen.sent.length, 0.15)
    const risen = drive(20, 20, 120_000, fallen.rate, 240_000)
    const late = risen.sent.filter((at) => at > 300_000).length
    assert.isAtLeast(late / 60 / 20, 0.75)
  })

  it("is sent evenly", () => {
    const { rate } = drive(5, 5, 60_000)
    const { sent } = drive(1000, 1000, 2000, rate, 60_000)
    const gaps = sent.slice(1).map((at, index) => at - (sent[index] ?? 0))
    assert.isAtMost(Math.max(...gaps.slice(3)) - Math.min(...gaps.slice(3)), 40)
  })
})

describe("one event", () => {
  const burst = (count: number) => {
    let rate = AdaptiveRate.fresh
    const marks = Array.from({ length: count }, () => {
      rate = AdaptiveRate.send(rate, false, true, 0)
      return AdaptiveRate.mark(rate, 0)
    })
    return { rate, marks }
  }

  it("is all refusals of what was sent before the first of them came back", () => {
    const { marks, rate } = burst(10)
    const after = marks.slice(5).reduce((rate, mark) => AdaptiveRate.refuse(rate, mark, refusal, 30), rate)
    assert.deepInclude(after, { pausedUntil: 530, streak: 0, strikes: 1 })
    assert.strictEqual(AdaptiveRate.learned(after), undefined)
  })

  it("cuts once, however many come back", () => {
    const { rate } = drive(5, 5, 60_000)
    let sending = rate
    const marks = Array.from({ length: 5 }, () => {
      sending = AdaptiveRate.send(sending, false, true, 60_000)
      return AdaptiveRate.mark(sending, 60_000)
    })
    const [first, ...rest] = marks.map(
      (mark) => (rate: AdaptiveRate.AdaptiveRate) => AdaptiveRate.refuse(rate, mark, refusal, 60_030)
    )
    const once = first?.(sending) ?? sending
    assert.strictEqual(perSecond(rest.reduce((rate, refuse) => refuse(rate), once)), perSecond(once))
  })

  it("says nothing against limits that are known, until ten follow each other", () => {
    let rate = AdaptiveRate.fresh
    const known = { ...refusal, isKnown: true }
    for (let event = 0; event < 12; event++) {
      let last = AdaptiveRate.mark(rate, 0)
      for (let index = 0; index < 10; index++) {
        const now = event * 5000 + index * 100
        rate = AdaptiveRate.send(rate, true, true, now)
        last = AdaptiveRate.mark(rate, now)
      }
      rate = AdaptiveRate.refuse(rate, last, known, last.at + 30)
      assert.strictEqual(AdaptiveRate.learned(rate) === undefined, event < 9, `event ${event}`)
    }
  })
})

describe("time", () => {
  it("makes everything forgotten ten minutes after the last refusal", () => {
    const { rate } = drive(5, 5, 60_000)
    const last = rate.event.at
    assert.isFalse(AdaptiveRate.isFresh(AdaptiveRate.current(rate, last + 600_000)))
    assert.isTrue(AdaptiveRate.isFresh(AdaptiveRate.current(rate, last + 700_000)))
  })

  it("teaches how long a refusal takes, and so how long a round is", () => {
    let rate = AdaptiveRate.send(AdaptiveRate.fresh, false, true, 0)
    assert.strictEqual(rate.patience, 1000)
    rate = AdaptiveRate.refuse(rate, AdaptiveRate.mark(rate, 0), refusal, 30)
    assert.strictEqual(rate.patience, 200)
    rate = AdaptiveRate.send(rate, false, true, 1000)
    rate = AdaptiveRate.refuse(rate, AdaptiveRate.mark(rate, 1000), refusal, 1700)
    assert.strictEqual(rate.patience, 1400)
  })
})
