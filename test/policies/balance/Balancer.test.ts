import { assert, describe, it } from "@effect/vitest"
import * as Balancer from "../../../src/policies/balance/Balancer.js"

const member = (name: string, more: Partial<Balancer.Member> = {}): Balancer.Member => ({
  name,
  weight: 1,
  inFlight: 0,
  ...more
})

/** Who is chosen with each of many seeds, and how often. */
const shares = (
  strategy: Balancer.Strategy,
  members: ReadonlyArray<Balancer.Member>,
  more: Partial<Balancer.Circumstances> = {}
): ReadonlyArray<number> => {
  const roster = Balancer.roster(members)
  const counts = members.map(() => 0)
  for (let i = 0; i < 1000; i++) {
    const index = Balancer.choose(strategy, roster, { now: 0, seed: i / 1000, readyAt: () => 0, ...more })
    if (index !== undefined) counts[index] = (counts[index] ?? 0) + 1
  }
  return counts
}

/** The only one that is ever chosen. */
const always = (
  strategy: Balancer.Strategy,
  members: ReadonlyArray<Balancer.Member>,
  more: Partial<Balancer.Circumstances> = {}
): string | undefined => {
  const counts = shares(strategy, members, more)
  const chosen = counts.flatMap((count, index) => (count > 0 ? [members[index]?.name] : []))
  return chosen.length === 1 ? chosen[0] : `${counts}`
}

const strategies = ["weighted", "least-busy", "fastest", "cheapest"] as const

describe("whatever the strategy", () => {
  for (const strategy of strategies) {
    it(`${strategy} passes over those that take no traffic yet`, () => {
      const members = [member("a", { cost: 1 }), member("b", { inFlight: 9, cost: 9 }), member("c", { cost: 1 })]
      const readyAt = (index: number) => [1001, 0, Number.POSITIVE_INFINITY][index] ?? 0
      assert.strictEqual(always(strategy, members, { now: 1000, readyAt }), "b")
      assert.include(always(strategy, members, { now: 1001, readyAt }), "a")
    })

    it(`${strategy} has nobody where nobody takes traffic`, () => {
      assert.deepStrictEqual(shares(strategy, [member("a"), member("b")], { readyAt: () => 1 }), [0, 0])
    })

    it(`${strategy} finds the only one of a thousand that takes traffic`, () => {
      const members = Array.from({ length: 1000 }, (_, i) => member(`m${i}`))
      const readyAt = (index: number) => (index === 777 ? 0 : 1)
      assert.strictEqual(always(strategy, members, { readyAt }), "m777")
    })
  }
})

describe("weighted", () => {
  it("asks the least loaded for its weight", () => {
    assert.strictEqual(always("weighted", [member("a", { inFlight: 2 }), member("b", { inFlight: 1 })]), "b")
    assert.strictEqual(always("weighted", [member("a", { inFlight: 2, weight: 4 }), member("b", { inFlight: 1 })]), "a")
  })

  it("gives turns to those that have their share to within one request", () => {
    // With 3 to 1 a load of 1 to 0 is as near to the shares as 0 to 1 would be.
    const members = [member("a", { inFlight: 1, weight: 3, turn: 1 / 3 }), member("b", { turn: 1 })]
    assert.strictEqual(always("weighted", members), "a")
    assert.strictEqual(always("weighted", [member("a", { inFlight: 1, turn: 0 }), member("b", { turn: 5 })]), "b")
  })

  it("leaves equals to chance", () => {
    const [a = 0, b = 0, c = 0] = shares("weighted", [member("a"), member("b"), member("c")])
    for (const count of [a, b, c]) assert.isAbove(count, 250)
  })

  it("spares whoever failed of late", () => {
    const strained = member("a", { strain: { value: 4, at: 0 } })
    assert.strictEqual(always("weighted", [strained, member("b", { inFlight: 2 })]), "b")
    // After two half-lives of 10 seconds 4 failures are as good as one request.
    assert.strictEqual(always("weighted", [strained, member("b", { inFlight: 2 })], { now: 20_001 }), "a")
  })
})

describe("least-busy", () => {
  it("looks at requests in flight, and at no weight", () => {
    assert.strictEqual(
      always("least-busy", [member("a", { inFlight: 2, weight: 9 }), member("b", { inFlight: 1 })]),
      "b"
    )
  })
})

describe("fastest", () => {
  const slow = member("slow", { firstToken: { value: 900, at: 0 }, whole: { value: 100, at: 0 } })
  const quick = member("quick", { firstToken: { value: 300, at: 0 }, whole: { value: 5000, at: 0 } })

  it("asks the one that is expected to answer sooner", () => {
    assert.strictEqual(always("fastest", [slow, quick], { measure: "firstToken" }), "quick")
    assert.strictEqual(always("fastest", [slow, quick], { measure: "whole" }), "slow")
  })

  it("expects a busy one to take longer", () => {
    assert.strictEqual(
      always("fastest", [slow, { ...quick, inFlight: 3 }], { measure: "firstToken" }),
      "slow",
      "4 times 300 ms are more than 900"
    )
  })

  it("asks one that was never measured first, but not twice at a time", () => {
    assert.strictEqual(always("fastest", [quick, member("new")], { measure: "firstToken" }), "new")
    const asked = member("new", { inFlight: 1 })
    assert.strictEqual(always("fastest", [quick, asked], { measure: "firstToken" }), "quick")
    assert.strictEqual(always("fastest", [{ ...quick, inFlight: 3 }, asked], { measure: "firstToken" }), "new")
  })

  it("tries a slow one again when its measurement is old", () => {
    const fresh = { ...quick, firstToken: { value: 300, at: 120_000 } }
    assert.strictEqual(always("fastest", [slow, fresh], { measure: "firstToken", now: 60_000 }), "quick")
    // 900 ms halve to 225 in two minutes.
    assert.strictEqual(always("fastest", [slow, fresh], { measure: "firstToken", now: 120_000 }), "slow")
  })

  it("compares two at random, so that not everybody rushes to one", () => {
    const three = [slow, quick, member("middle", { firstToken: { value: 600, at: 0 } })]
    const [first = 0, second = 0, third = 0] = shares("fastest", three, { measure: "firstToken" })
    assert.strictEqual(first, 0, "the slowest of three loses to any other")
    assert.isAbove(second, 550)
    assert.isAbove(third, 250)
  })
})

describe("cheapest", () => {
  it("asks the one that costs least, however busy", () => {
    assert.strictEqual(always("cheapest", [member("a", { cost: 2 }), member("b", { cost: 1, inFlight: 50 })]), "b")
  })

  it("goes by load among those that cost the same", () => {
    const members = [member("a", { cost: 1, inFlight: 2 }), member("b", { cost: 1 }), member("c", { cost: 3 })]
    assert.strictEqual(always("cheapest", members), "b")
  })

  it("asks those whose cost is not known last", () => {
    assert.strictEqual(always("cheapest", [member("a"), member("b", { cost: 1e9 })]), "b")
    assert.strictEqual(always("cheapest", [member("a", { inFlight: 1 }), member("b")]), "b")
  })
})

describe("affinity", () => {
  const members = ["a", "b", "c"].map((name) => member(name))
  const of = (session: string, readyAt: (index: number) => number = () => 0) =>
    Balancer.choose("weighted", Balancer.roster(members), { now: 0, seed: 0, readyAt, affinity: session })

  it("comes before load and strategy", () => {
    const busy = members.map((one, index) => ({ ...one, inFlight: index === of("s") ? 99 : 0 }))
    for (const strategy of strategies)
      assert.strictEqual(always(strategy, busy, { affinity: "s" }), members[of("s") ?? 0]?.name)
  })

  it("goes to the second choice while the first takes no traffic, and comes back", () => {
    const first = of("s")
    const second = of("s", (index) => (index === first ? 1 : 0))
    assert.notStrictEqual(second, first)
    assert.isDefined(second)
    assert.strictEqual(of("s"), first)
  })
})

describe("a measurement", () => {
  it("moves the mean by a fifth", () => {
    assert.deepStrictEqual(Balancer.measure(undefined, 100, 5), { value: 100, at: 5 })
    assert.deepStrictEqual(Balancer.measure({ value: 100, at: 5 }, 200, 6), { value: 120, at: 6 })
  })

  it("counts more the older the last one is", () => {
    assert.strictEqual(Balancer.measure({ value: 100, at: 0 }, 200, 60_000).value, 150)
    assert.strictEqual(Balancer.measure({ value: 100, at: 0 }, 200, 120_000).value, 175)
  })

  it("is not confused by a clock that goes back", () => {
    assert.deepStrictEqual(Balancer.measure({ value: 100, at: 50 }, 100, 0), { value: 100, at: 50 })
  })
})

describe("a balancer", () => {
  const choose = (balancer: Balancer.Balancer, seed = 0.5) => balancer.choose({ now: 0, seed, readyAt: () => 0 }) ?? -1

  it("counts what begins and ends", () => {
    const balancer = Balancer.make([{ name: "a" }, { name: "b" }])
    balancer.begin(0)
    assert.deepStrictEqual(
      balancer.members.map((one) => one.inFlight),
      [1, 0]
    )
    assert.strictEqual(choose(balancer), 1)
    balancer.end(0)
    assert.deepStrictEqual(
      balancer.members.map((one) => one.inFlight),
      [0, 0]
    )
  })

  it("shares one request at a time by weight, evenly spread", () => {
    const balancer = Balancer.make([{ name: "a", weight: 3 }, { name: "b" }, { name: "c", weight: 2 }])
    const order = Array.from({ length: 60 }, (_, i) => {
      const index = choose(balancer, i / 60)
      balancer.begin(index)
      balancer.end(index)
      return index
    })
    for (let round = 0; round < 10; round++) {
      const six = order.slice(round * 6, round * 6 + 6)
      assert.deepStrictEqual(
        [0, 1, 2].map((index) => six.filter((one) => one === index).length),
        [3, 1, 2]
      )
    }
  })

  it("lets nobody catch up on the turns it missed", () => {
    const balancer = Balancer.make([{ name: "a" }, { name: "b" }])
    const ask = (readyAt: (index: number) => number) => {
      const index = balancer.choose({ now: 0, seed: 0.3, readyAt }) ?? -1
      balancer.begin(index)
      balancer.end(index)
      return index
    }
    for (let i = 0; i < 100; i++)
      assert.strictEqual(
        ask((index) => (index === 0 ? 1 : 0)),
        1
      )
    const after = Array.from({ length: 10 }, () => ask(() => 0))
    assert.isAtMost(after.filter((index) => index === 0).length, 6)
  })

  it("keeps the two measures apart", () => {
    const balancer = Balancer.make([{ name: "a" }])
    balancer.measured(0, "firstToken", 100, 1)
    balancer.measured(0, "whole", 2000, 2)
    assert.deepInclude(balancer.members[0], { firstToken: { value: 100, at: 1 }, whole: { value: 2000, at: 2 } })
  })

  it("gives those that have the same name names of their own", () => {
    const balancer = Balancer.make([{ name: "a" }, { name: "a" }, { name: "b" }, { name: "a" }])
    assert.deepStrictEqual(
      balancer.members.map((one) => one.name),
      ["a", "a#2", "b", "a#3"]
    )
  })

  it("refuses options that mean nothing", () => {
    assert.throws(() => Balancer.make([]), "Balancer: members: found none, expected at least one")
    assert.throws(
      () => Balancer.make([{ name: "a", weight: 0 }]),
      "Balancer: members[0].weight: found 0, expected a number above 0"
    )
    assert.throws(() => Balancer.make([{ name: "a", weight: Number.NaN }]), RangeError)
    assert.throws(
      () => Balancer.make([{ name: "a", cost: -1 }]),
      "Balancer: members[0].cost: found -1, expected a finite number"
    )
  })
})
