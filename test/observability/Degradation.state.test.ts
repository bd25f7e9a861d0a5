import { assert, describe, it } from "@effect/vitest"
import { FastCheck as fc } from "effect"
import { sampleOf } from "../../src/observability/CallSample.js"
import * as State from "../../src/observability/DegradationState.js"
import { cases } from "../support/cases.js"
import { collectGarbage, recordOf, type Sketch } from "./support.js"

const minute = 60_000

const settings: State.Settings = {
  slotMillis: minute,
  windowSlots: 10,
  minimum: 20,
  raise: { share: 0.2, addedP95Millis: 5000, slots: 5 },
  clear: { share: 0.1, addedP95Millis: 2500, slots: 5 },
  chronicSlots: 60,
  chronicRaises: 3,
  maxTargets: 1000
}

const watching = (over: Partial<State.Settings> = {}) => {
  const watch = State.watch({ ...settings, ...over }, 0)
  const add = (sketch: Sketch, now: number, times = 1) => {
    const sample = sampleOf(recordOf(sketch))
    for (let i = 0; i < times && sample !== undefined; i++) watch.add(sample, now)
  }
  /** Minute by minute: `minutes` of them, with the calls of each. */
  let now = 0
  const changes: Array<State.Change> = []
  const run = (minutes: number, calls: (add: (sketch: Sketch, times: number) => void) => void = () => {}) => {
    for (let i = 0; i < minutes; i++) {
      calls((sketch, times) => add(sketch, now, times))
      now += minute
      changes.push(...watch.advance(now, now))
    }
  }
  const told = () => changes.map(({ _tag, at, kind, why }) => [_tag, at / minute, kind, ...(why ? [why] : [])])
  return { watch, add, run, changes, told, now: () => now }
}

const good: Sketch = {}
const bad: Sketch = { errors: ["Overloaded"] }

// -----------------------------------------------------------------------------
// figures
// -----------------------------------------------------------------------------

const reasons = ["Overloaded", "RateLimited", "Timeout"] as const

/** Money in powers of two: exact sums. */
const sketch: fc.Arbitrary<Sketch> = fc.record({
  target: fc.constantFrom("openai/gpt-4o", "anthropic/claude", "google/gemini"),
  errors: fc.array(fc.constantFrom(...reasons), { maxLength: 2 }),
  served: fc.boolean(),
  backoffMillis: fc.integer({ min: 0, max: 40_000 }),
  queuedMillis: fc.integer({ min: 0, max: 40_000 }),
  usd: fc.integer({ min: 0, max: 64 }).map((n) => n / 1024)
})

const timeline = (minutes: number, maxLength: number) =>
  fc.array(fc.tuple(fc.integer({ min: 0, max: minutes * minute }), sketch), { maxLength })

/** The same from the raw records, with nothing but lists. */
const byHand = (records: ReadonlyArray<readonly [number, Sketch]>, target: string, now: number) => {
  const last = Math.floor(now / minute)
  const own = records
    .filter(([at, one]) => one.target === target && last - 10 < Math.floor(at / minute) && at <= now)
    .map(([, one]) => one)
  const errorsOf = (one: Sketch) => one.errors ?? []
  const again = own.filter((one) => errorsOf(one).length > 0 || one.served === false)
  const later = again.filter((one) => one.served)
  const sum = (f: (one: Sketch) => number) => own.reduce((all, one) => all + f(one), 0)
  const backoffOf = (one: Sketch) => (one.served && errorsOf(one).length > 0 ? (one.backoffMillis ?? 0) : 0)
  const queuedOf = (one: Sketch) => (one.served ? (one.queuedMillis ?? 0) : 0)
  const added = own.map((one) => backoffOf(one) + queuedOf(one)).sort((a, b) => a - b)
  const counts: Record<string, number> = {}
  for (const one of again) {
    const reason = errorsOf(one)[0] ?? "CircuitOpen"
    counts[reason] = (counts[reason] ?? 0) + 1
  }
  const usdOf = (one: Sketch) => one.usd ?? 0
  return {
    addedP95Millis: added[Math.ceil(0.95 * added.length) - 1] ?? 0,
    figures: {
      calls: own.length,
      first: own.length - again.length,
      later: later.length,
      failed: again.length - later.length,
      share: own.length === 0 ? 0 : again.length / own.length,
      rescued: again.length === 0 ? 1 : later.length / again.length,
      backoffMillis: sum(backoffOf),
      queuedMillis: sum(queuedOf),
      usd: sum((one) => usdOf(one) * (errorsOf(one).length + (one.served ? 1 : 0))),
      wastedUsd: sum((one) => usdOf(one) * errorsOf(one).length),
      reasons: counts
    }
  }
}

describe("the figures", () => {
  it("are those of the raw records", () => {
    fc.assert(
      fc.property(timeline(30, 200), fc.boolean(), (unsorted, decides) => {
        const records = unsorted.slice().sort(([a], [b]) => a - b)
        const { add, watch } = watching()
        let now = 0
        for (const [at, one] of records) {
          now = at
          if (decides) watch.advance(now, now)
          add(one, now)
        }
        for (const [target, state] of watch.states(now, now)) {
          const { addedP95Millis, ...rest } = state.figures
          const expected = byHand(records, target, now)
          assert.deepStrictEqual(rest, expected.figures)
          assert.isAtLeast(addedP95Millis * (1 + 1e-12), expected.addedP95Millis)
          assert.isAtMost(addedP95Millis, Math.max(expected.addedP95Millis * 2 ** (1 / 8) * (1 + 1e-12), 0))
        }
        for (const [, one] of records.filter(([at]) => at > now - 9 * minute)) {
          assert.isTrue(watch.states(now, now).has(one.target ?? ""))
        }
      }),
      { numRuns: cases(5000, 100) }
    )
  })

  it("do not depend on the order of records with equal times, nor do the alarms", () => {
    const shuffled = timeline(40, 300).chain((records) =>
      fc.tuple(fc.constant(records), fc.shuffledSubarray(records, { minLength: records.length }))
    )
    const outcome = (records: ReadonlyArray<readonly [number, Sketch]>) => {
      const { add, changes, run, watch, now } = watching()
      for (let slot = 0; slot < 40; slot++) {
        for (const [at, one] of records) if (Math.floor(at / minute) === slot) add(one, now())
        run(1)
      }
      // Named, because a map tells its order too.
      const sorted = changes.slice().sort((a, b) => a.at - b.at || (a.target < b.target ? -1 : 1))
      return [sorted, new Map([...watch.states(now(), now())].sort(([a], [b]) => (a < b ? -1 : 1)))]
    }
    fc.assert(
      fc.property(shuffled, ([records, others]) => assert.deepStrictEqual(outcome(records), outcome(others))),
      { numRuns: cases(2000, 50) }
    )
  })
})

// -----------------------------------------------------------------------------
// alarms
// -----------------------------------------------------------------------------

describe("an alarm", () => {
  it("is raised after five minutes, once, and cleared once, five minutes after the share has fallen", () => {
    const { run, told } = watching()
    run(10, (add) => add(good, 30))
    assert.deepStrictEqual(told(), [])
    run(20, (add) => {
      add(good, 20)
      add(bad, 10)
    })
    // 33 % in each minute: the window has 20 % after six.
    assert.deepStrictEqual(told(), [["Raised", 21, "new"]])
    run(30, (add) => add(good, 30))
    assert.deepStrictEqual(told().slice(1), [["Cleared", 42, "episode", "recovered"]])
  })

  it("is not raised by few calls", () => {
    const { run, told } = watching()
    run(60, (add) => add(bad, 1))
    assert.deepStrictEqual(told(), [])
  })

  it("is raised by calls that fail, and stays while nothing is served", () => {
    const { run, told } = watching()
    run(10, (add) => add(bad, 10))
    run(50, (add) => add({ ...bad, served: false }, 10))
    assert.deepStrictEqual(told(), [["Raised", 7, "new"]])
  })

  it("turns chronic once, when it has stood for an hour, and ends as chronic", () => {
    const { changes, run, told } = watching()
    run(200, (add) => add(bad, 10))
    assert.deepStrictEqual(told(), [
      ["Raised", 7, "new"],
      ["Chronic", 67, "chronic"]
    ])
    assert.strictEqual(changes[1]?.lastedMillis, 60 * minute)
    assert.match(
      changes[1]?.advice ?? "",
      /^the alarm has stood for 60 min; add a fallback for openai\/gpt-4o: 100 % of calls/
    )
    run(40, (add) => add(good, 200))
    assert.deepStrictEqual(told().slice(2), [["Cleared", 209, "chronic", "recovered"]])
    // The next one begins anew.
    run(70, (add) => add(bad, 200))
    assert.deepStrictEqual(told().slice(3), [
      ["Raised", 247, "new"],
      ["Chronic", 307, "chronic"]
    ])
  })

  it("that is raised as chronic is not told so again", () => {
    const { run, told } = watching({ chronicRaises: 1 })
    run(10, (add) => add(bad, 10))
    run(50)
    run(200, (add) => add(bad, 10))
    assert.deepStrictEqual(
      told().map(([tag, , kind]) => [tag, kind]),
      [
        ["Raised", "new"],
        ["Cleared", "episode"],
        ["Raised", "chronic"]
      ]
    )
  })

  it("that ends when it would turn chronic is cleared only", () => {
    // Quiet from minute 57 on: the window is empty at the end of minute 66, the alarm's sixtieth.
    const { run, told } = watching()
    run(57, (add) => add(bad, 10))
    run(30)
    assert.deepStrictEqual(told(), [
      ["Raised", 7, "new"],
      ["Cleared", 67, "chronic", "no traffic"]
    ])
  })

  it("clears when calls stop coming, after its window", () => {
    const { run, told, watch, now } = watching()
    run(10, (add) => add(bad, 10))
    run(60)
    assert.deepStrictEqual(told(), [
      ["Raised", 7, "new"],
      ["Cleared", 20, "episode", "no traffic"]
    ])
    run(24 * 60)
    assert.strictEqual(watch.states(now(), now()).size, 0)
  })

  it("is a blip if it cleared within the window, and chronic if it lasts an hour", () => {
    const blip = watching({ clear: { ...settings.clear, slots: 1 } })
    blip.run(7, (add) => add(bad, 10))
    blip.run(10, (add) => add(good, 200))
    assert.deepStrictEqual(
      blip.told().map(([tag, , kind]) => [tag, kind]),
      [
        ["Raised", "new"],
        ["Cleared", "blip"]
      ]
    )
    const long = watching()
    long.run(66, (add) => add(bad, 10))
    assert.strictEqual(long.watch.states(long.now(), long.now()).get("openai/gpt-4o")?.kind, "new")
    long.run(1, (add) => add(bad, 10))
    assert.strictEqual(long.watch.states(long.now(), long.now()).get("openai/gpt-4o")?.kind, "chronic")
    long.run(30)
    assert.deepStrictEqual(long.told().at(-1)?.[2], "chronic")
  })

  it("is chronic if it comes back more than three times in a day, and not the day after", () => {
    const { run, told } = watching()
    const once = () => {
      run(10, (add) => add(bad, 10))
      run(50)
    }
    for (let i = 0; i < 5; i++) once()
    const kinds = told().flatMap(([tag, , kind]) => (tag === "Raised" ? [kind] : []))
    assert.deepStrictEqual(kinds, ["new", "new", "new", "chronic", "chronic"])
    run(24 * 60)
    once()
    assert.deepStrictEqual(told().at(-2)?.[2], "new")
  })

  it("is raised by the time that is added alone", () => {
    const { changes, run } = watching()
    run(10, (add) => {
      add(good, 17)
      add({ queuedMillis: 8000 }, 3)
    })
    assert.deepStrictEqual(
      changes.map(({ _tag }) => _tag),
      ["Raised"]
    )
    assert.include(changes[0]?.advice, "the wait is in our own queue")
  })

  it("is raised and cleared in turns, whatever comes", () => {
    const step = fc.record({
      target: fc.constantFrom("a/a", "b/b", "c/c"),
      good: fc.constantFrom(0, 0, 5, 30, 200),
      bad: fc.constantFrom(0, 0, 0, 8, 40),
      minutes: fc.integer({ min: 1, max: 15 })
    })
    let alarms = 0
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), fc.constantFrom(2, 1000), (steps, maxTargets) => {
        const { changes, run } = watching({ maxTargets })
        for (const { target, good, bad, minutes } of steps) {
          run(minutes, (add) => {
            add({ target }, good)
            add({ target, errors: ["Overloaded"] }, bad)
          })
        }
        run(40)
        for (const name of ["a/a", "b/b", "c/c"]) {
          const all = changes.filter(({ target }) => target === name).map(({ _tag }) => _tag)
          assert.notMatch(all.join(" "), /(?:^|Cleared |Chronic )Chronic/)
          const own = all.filter((tag) => tag !== "Chronic")
          assert.deepStrictEqual(
            own,
            own.map((_, i) => (i % 2 === 0 ? "Raised" : "Cleared"))
          )
          assert.strictEqual(own.length % 2, 0)
          alarms += own.length
        }
      }),
      { numRuns: cases(3000, 60) }
    )
    assert.isAbove(alarms, 0)
  })

  it("does not flap within the band", () => {
    const bands = fc.array(fc.integer({ min: 11, max: 19 }), { minLength: 20, maxLength: 90 })
    fc.assert(
      fc.property(bands, fc.boolean(), (shares, raised) => {
        const { run, told } = watching()
        if (raised) run(10, (add) => add(bad, 100))
        for (const share of shares) {
          run(1, (add) => {
            add(good, 100 - share)
            add(bad, share)
          })
        }
        assert.deepStrictEqual(told(), raised ? [["Raised", 6, "new"]] : [])
      }),
      { numRuns: cases(2000) }
    )
  })
})

describe("the targets", () => {
  it("are at most so many, the oldest out, and an alarm of one that goes is cleared", () => {
    const { run, told, watch, now, changes } = watching({ maxTargets: 3 })
    run(10, (add) => add(bad, 10))
    for (const target of ["a/a", "b/b", "c/c"]) run(1, (add) => add({ target }, 1))
    assert.sameMembers([...watch.states(now(), now()).keys()], ["a/a", "b/b", "c/c"])
    assert.deepStrictEqual(told().at(-1), ["Cleared", 13, "blip", "forgotten"])
    assert.strictEqual(changes.length, 2)
  })

  it("are old by their last call, not by their first", () => {
    const { run, watch, now } = watching({ maxTargets: 2 })
    for (const target of ["a/a", "b/b", "a/a", "c/c"]) run(1, (add) => add({ target }, 1))
    assert.sameMembers([...watch.states(now(), now()).keys()], ["a/a", "c/c"])
  })

  it("hold a bounded number of slots, also when nobody decides any more", () => {
    const { add, watch } = watching()
    const before = collectGarbage()
    for (let slot = 0; slot < 100_000; slot++) add(good, slot * minute)
    assert.isBelow(collectGarbage() - before, 10_000_000)
    assert.strictEqual(watch.states(100_000 * minute, 0).get("openai/gpt-4o")?.figures.calls, 9)
  })

  it("are decided about after a long pause without a slot for each minute of it", () => {
    const { run, watch, told } = watching()
    run(10, (add) => add(bad, 10))
    const cleared = watch.advance(1e12, 1e12)
    assert.deepStrictEqual(told().length, 1)
    assert.deepStrictEqual(
      cleared.map(({ _tag, why }) => [_tag, why]),
      [["Cleared", "no traffic"]]
    )
  })
})

// -----------------------------------------------------------------------------
// words
// -----------------------------------------------------------------------------

describe("an alarm says what to change", () => {
  const advice = (calls: (add: (sketch: Sketch, times: number) => void) => void) => {
    const { changes, run } = watching()
    run(12, calls)
    assert.strictEqual(changes.length, 1)
    return changes[0]?.advice
  }
  const claude = { target: "anthropic/claude" }

  it.each<readonly [string, ReadonlyArray<readonly [Sketch, number]>]>([
    [
      "route around openai/gpt-4o: 31 % of calls needed a second attempt for 10 min (mostly Overloaded); the other targets need 2 %",
      [
        [good, 69],
        [bad, 21],
        [{ errors: ["Timeout"] }, 10],
        [claude, 98],
        [{ ...claude, errors: ["Timeout"] }, 2]
      ]
    ],
    [
      "openai/gpt-4o is not alone: 30 % of calls needed a second attempt for 10 min (Overloaded); the other targets need 15 % too",
      [
        [good, 70],
        [bad, 30],
        [claude, 85],
        [{ ...claude, errors: ["Timeout"] }, 15]
      ]
    ],
    [
      "add a fallback for openai/gpt-4o: 30 % of calls needed a second attempt for 10 min (Overloaded, Timeout and others); 10 % were not served at all; no other target has enough calls to compare with",
      [
        [good, 70],
        [bad, 15],
        [{ errors: ["Timeout"] }, 5],
        [{ errors: ["Timeout"], served: false }, 5],
        [{ errors: ["ServerError"], served: false }, 5]
      ]
    ],
    [
      "raise the key's limit for openai/gpt-4o, or pace its calls: 28 % of calls were RateLimited for 10 min",
      [
        [good, 70],
        [{ errors: ["RateLimited"] }, 28],
        [bad, 2]
      ]
    ],
    [
      "the wait is in our own queue: one call in twenty to openai/gpt-4o waited about 8.2 s or more, 100 % of it queued; raise the limits there or send less",
      [
        [good, 90],
        [{ queuedMillis: 8000 }, 10]
      ]
    ],
    [
      "the wait is before retries: one call in twenty to openai/gpt-4o waited about 21 s or more, 95 % of it backoff; fall back sooner",
      [
        [good, 90],
        [{ ...bad, backoffMillis: 19_000, queuedMillis: 1000 }, 10]
      ]
    ]
  ])("%s", (expected, calls) => {
    assert.strictEqual(
      advice((add) => {
        for (const [one, times] of calls) add(one, times)
      }),
      expected
    )
  })
})
