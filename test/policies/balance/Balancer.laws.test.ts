import { assert, describe, it } from "@effect/vitest"
import { FastCheck as fc } from "effect"
import * as Balancer from "../../../src/policies/balance/Balancer.js"
import { cases } from "../../support/cases.js"

const runs = { numRuns: cases(10_000) }
const seed = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })
const strategy = fc.constantFrom<Balancer.Strategy>("weighted", "least-busy", "fastest", "cheapest")
const measured = fc.option(fc.record({ value: fc.nat({ max: 60_000 }), at: fc.nat({ max: 10_000 }) }), {
  nil: undefined
})

/** A member, and from when it takes traffic. */
const arbitraryMember = fc.record({
  weight: fc.double({ min: 0.001, max: 1000, noNaN: true }),
  cost: fc.option(fc.double({ min: 0, max: 100, noNaN: true }), { nil: undefined }),
  inFlight: fc.nat({ max: 100 }),
  turn: fc.double({ min: 0, max: 1000, noNaN: true }),
  strain: measured,
  firstToken: measured,
  whole: measured,
  readyAt: fc.constantFrom(0, 0, 0, 5000, 10_000, Number.POSITIVE_INFINITY)
})

const rosterOf = <M extends Omit<Balancer.Member, "name">>(members: ReadonlyArray<M>) =>
  Balancer.roster(members.map((member, index) => ({ ...member, name: `m${index}` })))

describe("choosing", () => {
  it("finds somebody who takes traffic wherever there is one, and nobody else", () => {
    fc.assert(
      fc.property(
        strategy,
        fc.array(arbitraryMember, { minLength: 1, maxLength: 50 }),
        fc.nat({ max: 10_001 }),
        seed,
        fc.option(fc.string(), { nil: undefined }),
        fc.constantFrom<Balancer.Measure>("firstToken", "whole"),
        (strategy, members, now, seed, affinity, measure) => {
          const readyAt = (index: number) => members[index]?.readyAt ?? Number.NaN
          const chosen = Balancer.choose(strategy, rosterOf(members), { now, seed, readyAt, affinity, measure })
          if (chosen === undefined) assert.isTrue(members.every((member) => member.readyAt > now))
          else assert.isAtMost(readyAt(chosen), now)
        }
      ),
      runs
    )
  })

  it("who takes no traffic has no say in who is asked of the others", () => {
    fc.assert(
      fc.property(
        fc.constantFrom<Balancer.Strategy>("weighted", "least-busy", "cheapest"),
        fc.array(arbitraryMember, { minLength: 1, maxLength: Balancer.fewMembers }),
        fc.nat({ max: 10_001 }),
        seed,
        (strategy, members, now, seed) => {
          // Of equal turns chance would decide, and draw another number.
          const named = members.map((member, index) => ({
            ...member,
            name: `m${index}`,
            turn: member.turn + index * 1001
          }))
          const among = (some: typeof named) => {
            const readyAt = (index: number) => some[index]?.readyAt ?? Number.NaN
            return some[Balancer.choose(strategy, Balancer.roster(some), { now, seed, readyAt }) ?? -1]?.name
          }
          assert.strictEqual(among(named), among(named.filter((member) => member.readyAt <= now)))
        }
      ),
      runs
    )
  })

  it("weighted: nobody who is asked would have more for its weight than another with one request more", () => {
    fc.assert(
      fc.property(fc.array(arbitraryMember, { minLength: 1, maxLength: 10 }), seed, (members, seed) => {
        const plain = members.map((member) => ({ ...member, strain: undefined }))
        const chosen = Balancer.choose("weighted", rosterOf(plain), { now: 0, seed, readyAt: () => 0 }) ?? -1
        const { inFlight = Number.NaN, weight = 1 } = plain[chosen] ?? {}
        for (const other of plain) assert.isAtMost(inFlight / weight, (other.inFlight + 1) / other.weight)
      }),
      runs
    )
  })

  it("least-busy: nobody has fewer requests in flight than the one who is asked", () => {
    fc.assert(
      fc.property(fc.array(arbitraryMember, { minLength: 1, maxLength: 10 }), seed, (members, seed) => {
        const plain = members.map((member) => ({ ...member, strain: undefined }))
        const chosen = Balancer.choose("least-busy", rosterOf(plain), { now: 0, seed, readyAt: () => 0 }) ?? -1
        assert.strictEqual(plain[chosen]?.inFlight, Math.min(...plain.map((member) => member.inFlight)))
      }),
      runs
    )
  })

  it("cheapest: nobody costs less than the one who is asked", () => {
    fc.assert(
      fc.property(fc.array(arbitraryMember, { minLength: 1, maxLength: 10 }), seed, (members, seed) => {
        const chosen = Balancer.choose("cheapest", rosterOf(members), { now: 0, seed, readyAt: () => 0 }) ?? -1
        const costs = members.map((member) => member.cost ?? Number.POSITIVE_INFINITY)
        assert.strictEqual(costs[chosen], Math.min(...costs))
      }),
      runs
    )
  })

  it("fastest: of two, the one that is asked is not expected to take longer", () => {
    fc.assert(
      fc.property(fc.tuple(arbitraryMember, arbitraryMember), seed, ([one, other], seed) => {
        const both = [one, other].map((member, index) => ({
          ...member,
          strain: undefined,
          whole: { value: 100 * (index + 1), at: 0 }
        }))
        const chosen = Balancer.choose("fastest", rosterOf(both), { now: 0, seed, readyAt: () => 0 }) ?? -1
        const expected = both.map((member) => (member.inFlight + 1) * member.whole.value)
        assert.strictEqual(expected[chosen], Math.min(...expected))
      }),
      runs
    )
  })
})

describe("shares", () => {
  it("follow the weights to within one request each, however many there are, one at a time", () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1, maxLength: 8 }),
        fc.integer({ min: 1, max: 60 }),
        seed,
        (weights, count, seed) => {
          const balancer = Balancer.make(weights.map((weight, index) => ({ name: `m${index}`, weight })))
          const asked = weights.map(() => 0)
          for (let i = 0; i < count; i++) {
            const index = balancer.choose({ now: 0, seed: (seed + i * 0.618) % 1, readyAt: () => 0 }) ?? -1
            balancer.begin(index)
            balancer.end(index)
            asked[index] = (asked[index] ?? 0) + 1
          }
          // Nobody is a whole request ahead of anybody, for its weight.
          for (const [index, weight] of weights.entries()) {
            for (const [other, otherWeight] of weights.entries()) {
              assert.isAtMost(((asked[index] ?? 0) - 1) / weight, (asked[other] ?? 0) / otherWeight + 1e-9)
            }
          }
        }
      ),
      runs
    )
  })

  it("follow the weights to within one request each while requests are under way", () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1, maxLength: 8 }),
        fc.integer({ min: 1, max: 60 }),
        seed,
        (weights, count, seed) => {
          const balancer = Balancer.make(weights.map((weight, index) => ({ name: `m${index}`, weight })))
          for (let i = 0; i < count; i++) {
            balancer.begin(balancer.choose({ now: 0, seed: (seed + i * 0.618) % 1, readyAt: () => 0 }) ?? -1)
          }
          for (const one of balancer.members) {
            for (const other of balancer.members) {
              assert.isAtMost((one.inFlight - 1) / one.weight, (other.inFlight + 1) / other.weight + 1e-9)
            }
          }
        }
      ),
      runs
    )
  })

  it("of very many members follow the weights too, though only a few are looked at", () => {
    const weights = Array.from({ length: 1000 }, (_, index) => (index < 500 ? 1 : 3))
    const balancer = Balancer.make(weights.map((weight, index) => ({ name: `m${index}`, weight })))
    const asked = [0, 0]
    for (let i = 0; i < 20_000; i++) {
      const index = balancer.choose({ now: 0, seed: (i * 0.6180339887) % 1, readyAt: () => 0 }) ?? -1
      balancer.begin(index)
      asked[index < 500 ? 0 : 1] = (asked[index < 500 ? 0 : 1] ?? 0) + 1
    }
    assert.approximately((asked[1] ?? 0) / 20_000, 0.75, 0.02)
    // 20,000 requests are 10 for each of weight 1: three at random keep everybody within a few of that.
    for (const { inFlight, weight } of balancer.members) assert.approximately(inFlight / weight, 10, 4)
  })
})

describe("what is in flight", () => {
  it("is what began and did not end, for any interleaving", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 6 }),
        fc.array(fc.record({ begin: fc.boolean(), pick: fc.nat({ max: 1000 }), failed: fc.boolean() }), {
          maxLength: 40,
          size: "max"
        }),
        (size, events) => {
          const balancer = Balancer.make(Array.from({ length: size }, (_, index) => ({ name: `m${index}` })))
          const running: Array<number> = []
          let now = 0
          for (const { begin, failed, pick } of events) {
            now += pick
            if (begin) {
              const index = balancer.choose({ now, seed: pick / 1001, readyAt: () => 0 }) ?? -1
              balancer.begin(index)
              running.push(index)
            } else {
              const [index] = running.splice(pick % Math.max(1, running.length), 1)
              if (index === undefined) continue
              balancer.end(index)
              if (failed) balancer.failed(index, now)
            }
            for (const [index, member] of balancer.members.entries()) {
              assert.strictEqual(member.inFlight, running.filter((one) => one === index).length)
            }
          }
        }
      ),
      runs
    )
  })
})

describe("affinity", () => {
  const names = fc.uniqueArray(fc.string({ minLength: 1, maxLength: 8 }), { minLength: 2, maxLength: 12 })
  const of = (names: ReadonlyArray<string>, session: string, out?: string) =>
    names[
      Balancer.choose("weighted", Balancer.roster(names.map((name) => ({ name, weight: 1, inFlight: 0 }))), {
        now: 0,
        seed: 0,
        affinity: session,
        readyAt: (index) => (names[index] === out ? 1 : 0)
      }) ?? -1
    ]

  it("stays when another member leaves, or takes no traffic, wherever it stood", () => {
    fc.assert(
      fc.property(names, fc.string(), fc.nat(), (names, session, pick) => {
        const gone = names[pick % names.length]
        const before = of(names, session)
        const after = of(
          names.filter((name) => name !== gone),
          session
        )
        if (before === gone) assert.notStrictEqual(after, gone)
        else assert.strictEqual(after, before)
        assert.strictEqual(of(names, session, gone), after)
        assert.strictEqual(of([...names].reverse(), session), before)
      }),
      runs
    )
  })

  it("shares sessions by weight", () => {
    const members = [1, 2, 5].map((weight, index) => ({ name: `key ${index}`, weight, inFlight: 0 }))
    const roster = Balancer.roster(members)
    const counts = [0, 0, 0]
    for (let i = 0; i < 16_000; i++) {
      const index =
        Balancer.choose("weighted", roster, { now: 0, seed: 0, readyAt: () => 0, affinity: `session ${i}` }) ?? -1
      counts[index] = (counts[index] ?? 0) + 1
    }
    for (const [index, expected] of [2000, 4000, 10_000].entries()) {
      // Six standard deviations of a fair draw.
      assert.approximately(counts[index] ?? 0, expected, 380)
    }
  })
})
