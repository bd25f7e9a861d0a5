import { assert, describe, it } from "@effect/vitest"
import { Duration, FastCheck as fc } from "effect"
import { settings } from "../../../src/policies/circuit/CircuitOptions.js"
import {
  dead,
  failure,
  ignored,
  type Outcome,
  success,
  throttled
} from "../../../src/policies/circuit/CircuitOutcome.js"
import {
  admit,
  type Circuit,
  isRefusal,
  mayOpen,
  type Refusal,
  record
} from "../../../src/policies/circuit/CircuitState.js"
import { readyAt, transition } from "../../../src/policies/circuit/CircuitView.js"
import * as TripPolicy from "../../../src/policies/circuit/TripPolicy.js"
import { cases } from "../../support/cases.js"
import { machine, standard } from "./CircuitBreaker.support.js"

const failed = failure()
const times = (count: number, outcome: Outcome): ReadonlyArray<Outcome> => Array.from({ length: count }, () => outcome)

/** Whether the outcomes, `gap` milliseconds apart, open a circuit, and with which of them. */
const opensAt = (policy: TripPolicy.TripPolicy, outcomes: ReadonlyArray<Outcome>, gap = 0): number | undefined => {
  const circuit = machine(settings({ tripPolicy: policy }))
  for (const [i, outcome] of outcomes.entries()) {
    circuit.run(outcome).pass(gap)
    if (circuit.view()._tag === "Open") return i + 1
  }
  return undefined
}

/** F and S for failure and success. */
const spelled = (text: string): ReadonlyArray<Outcome> => Array.from(text, (c) => (c === "F" ? failed : success))

/** A circuit that is half-open with a free place, after so many openings in a row. */
const probed = (openings = 1, options = standard) => {
  const circuit = machine(options).run(...times(3, failed))
  for (let i = 1; i < openings; i++) circuit.pass(circuit.left()).run(failed)
  return circuit.pass(circuit.left())
}

describe("consecutive", () => {
  it.each([
    [1, "F", 1],
    [3, "FFF", 3],
    [3, "FF", undefined],
    [3, "FFSFF", undefined],
    [3, "FFSFFF", 6],
    [2, "SSSSSSSSSSSSSSFF", 16]
  ] as const)("of %i and %s opens with the outcome %s", (failures, text, expected) => {
    assert.strictEqual(opensAt(TripPolicy.consecutive(failures), spelled(text)), expected)
  })

  it("knows no time", () => {
    assert.strictEqual(opensAt(TripPolicy.consecutive(3), spelled("FFF"), 1_000_000), 3)
  })

  it.each([ignored, throttled(5000)])("is neither fed nor broken by $_tag", (outcome) => {
    assert.strictEqual(opensAt(TripPolicy.consecutive(2), [...times(9, outcome), failed, outcome, failed]), 12)
  })
})

describe("rate", () => {
  // The lower end of Wilson's interval for k of n: 5/5 0.57, 6/7 0.49, 7/8 0.53, 13/18 0.49, 14/19 0.51
  it.each([
    ["FFFF", undefined],
    ["FFFFF", 5],
    ["SSFFFFFFFF", undefined],
    ["SFFFFFF", undefined],
    ["SFFFFFFF", 8],
    ["SFSFSFSFSFSFSFSFSFSF", undefined],
    ["SSSSSFFFFFFFFFFFFF", undefined],
    ["SSSSSFFFFFFFFFFFFFF", 19]
  ] as const)("with the defaults and %s at once opens with the outcome %s", (text, expected) => {
    assert.strictEqual(opensAt(TripPolicy.rate(), spelled(text)), expected)
  })

  it("forgets by time: successes of an hour ago do not hold it closed", () => {
    const policy = TripPolicy.rate()
    const circuit = machine(settings({ tripPolicy: policy })).run(...times(1000, success))
    assert.strictEqual(circuit.run(...times(20, failed)).view()._tag, "Closed")
    circuit.pass(3_500_000)
    assert.strictEqual(circuit.run(...times(4, failed)).view()._tag, "Closed", "below the minimum")
    assert.strictEqual(circuit.run(failed).view()._tag, "Open")
  })

  it("needs the minimum of outcomes that still count", () => {
    // Each counts half after its half-life: 1 + 1/2 + 1/4 + ... never reaches 2.
    assert.isUndefined(opensAt(TripPolicy.rate({ minimum: 2 }), times(50, failed), 60_000))
    // At one call in ten seconds there are at most 9.2 of them.
    assert.isUndefined(opensAt(TripPolicy.rate({ minimum: 9.2 }), times(200, failed), 10_000))
    assert.isDefined(opensAt(TripPolicy.rate({ minimum: 9 }), times(200, failed), 10_000))
  })

  it("asks for more than the threshold", () => {
    assert.isUndefined(opensAt(TripPolicy.rate({ threshold: 0.6 }), times(5, failed)))
    assert.strictEqual(opensAt(TripPolicy.rate({ threshold: 0.6 }), times(9, failed)), 6)
    assert.strictEqual(opensAt(TripPolicy.rate({ threshold: 0, minimum: 1 }), spelled("SSSSF")), 5)
    assert.strictEqual(opensAt(TripPolicy.rate({ threshold: 0, minimum: 1 }), [failed]), 1)
  })

  it("is never opened by a success, though it makes the outcomes enough", () => {
    const policy = TripPolicy.rate({ threshold: 0.2 })
    assert.isUndefined(opensAt(policy, spelled("FFFFS")))
    assert.strictEqual(opensAt(policy, spelled("FFFFSF")), 6)
  })

  it("stands beside others, each with its own memory", () => {
    const both = [TripPolicy.rate({ halfLife: "1 second" }), TripPolicy.rate(), TripPolicy.consecutive(7)]
    const circuit = machine(settings({ tripPolicy: both }))
    for (let i = 0; i < 5; i++) circuit.run(failed).pass(1000)
    assert.strictEqual(circuit.view()._tag, "Closed", "4.9 outcomes count")
    assert.strictEqual(circuit.run(failed).view()._tag, "Open")
    const alone = machine(settings({ tripPolicy: [TripPolicy.rate({ halfLife: "1 second" })] }))
    for (let i = 0; i < 50; i++) alone.run(failed).pass(1000)
    assert.strictEqual(alone.view()._tag, "Closed")
  })

  it("takes a clock that is behind for one that stands still", () => {
    const policies = [TripPolicy.rate()]
    const seen = TripPolicy.count(policies, TripPolicy.nothing(5000), true, 5000)
    const behind = TripPolicy.count(policies, seen, true, 1000)
    assert.deepStrictEqual(behind, TripPolicy.count(policies, seen, true, 5000))
  })

  it("agrees with Wilson's interval as it is defined, for any outcomes at any time", () => {
    const outcomes = fc.array(fc.tuple(fc.boolean(), fc.integer({ min: 0, max: 30_000 })), { maxLength: 40 })
    const threshold = fc.double({ min: 0, max: 0.9, noNaN: true })
    fc.assert(
      fc.property(outcomes, threshold, (outcomes, threshold) => {
        const policy = TripPolicy.rate({ threshold, minimum: 5, halfLife: "20 seconds" })
        let seen = TripPolicy.nothing(0)
        let now = 0
        const history: Array<readonly [boolean, number]> = []
        for (const [failed, gap] of outcomes) {
          now += gap
          seen = TripPolicy.count([policy], seen, failed, now)
          history.push([failed, now])
          const weight = (at: number) => Math.exp((-(now - at) * Math.LN2) / 20_000)
          const n = history.reduce((sum, [, at]) => sum + weight(at), 0)
          const p = history.reduce((sum, [failed, at]) => sum + (failed ? weight(at) : 0), 0) / n
          // A ratio q is inside while the observed one is within 1.96 standard errors of it.
          const excluded = p > threshold && (p - threshold) ** 2 * n > 1.96 ** 2 * threshold * (1 - threshold)
          const near =
            Math.abs(n - 5) < 1e-6 || Math.abs((p - threshold) ** 2 * n - 3.8416 * threshold * (1 - threshold)) < 1e-6
          if (!near) assert.strictEqual(TripPolicy.trips([policy], seen), n >= 5 && excluded)
        }
      }),
      { numRuns: cases(10_000) }
    )
  })
})

describe("open", () => {
  it("lasts 1, 2, 4, 8 and then 15 seconds for an unhealthy target", () => {
    const circuit = machine().run(...times(3, failed))
    const lasted: Array<number> = []
    for (let i = 0; i < 7; i++) {
      lasted.push(circuit.left())
      circuit.pass(circuit.left()).run(failed)
    }
    assert.deepStrictEqual(lasted, [1000, 2000, 4000, 8000, 15_000, 15_000, 15_000])
  })

  it("lasts 60 seconds, doubling to an hour, for a dead key, which is taken out by one outcome", () => {
    const circuit = machine().run(dead)
    const lasted: Array<number> = []
    for (let i = 0; i < 8; i++) {
      lasted.push(circuit.left() / 1000)
      circuit.pass(circuit.left()).run(dead)
    }
    assert.deepStrictEqual(lasted, [60, 120, 240, 480, 960, 1920, 3600, 3600])
    assert.deepInclude(circuit.view(), { reason: "Dead", consecutiveOpenings: 9 })
  })

  it("is shortened by chance, by a fifth at most, at the maximum too", () => {
    const opened = (random: number, openings: number) => {
      const circuit = machine().run(failed, failed)
      circuit.end(circuit.begin(), failed, random)
      for (let i = 1; i < openings; i++) circuit.pass(circuit.left()).end(circuit.begin(), failed, random)
      return circuit.left()
    }
    assert.deepStrictEqual(
      [0, 0.5, 1].map((random) => opened(random, 1)),
      [1000, 900, 800]
    )
    assert.deepStrictEqual(
      [0, 0.5, 1].map((random) => opened(random, 6)),
      [15_000, 13_500, 12_000]
    )
  })

  it("takes a hint for a floor as far as the maximum allows", () => {
    const opened = (hint: Duration.DurationInput, random: number) => {
      const circuit = machine().run(failed, failed)
      return circuit.end(circuit.begin(), failure({ retryAfter: hint }), random).left()
    }
    assert.deepStrictEqual([opened(100, 0), opened(100, 1)], [1000, 800])
    assert.deepStrictEqual([opened("8 seconds", 0), opened("8 seconds", 1)], [10_000, 8000])
    assert.deepStrictEqual([opened("12 seconds", 0), opened("12 seconds", 1)], [15_000, 12_000])
    assert.deepStrictEqual([opened("1 hour", 0), opened(Duration.infinity, 1)], [15_000, 12_000])
  })

  it("only the hint of the failure that opens counts", () => {
    const long = failure({ retryAfter: "10 seconds" })
    assert.strictEqual(machine().run(long, long, failed).left(), 1000)
  })

  it.each([
    [2, 1000, 1000],
    [5, 5000, 5000],
    [5, 6000, 3000],
    [5, 10_000, 1000]
  ])("of the %ith time is shorter by twice the %i ms that the probe hung: %i ms", (opening, hung, left) => {
    const circuit = probed(opening - 1)
    const probe = circuit.begin()
    assert.strictEqual(circuit.pass(hung).end(probe, failed).left(), left)
  })

  it("refuses with the time that is left", () => {
    const circuit = machine()
      .run(...times(3, failed))
      .pass(300)
    const refused: Refusal = { retryAfter: 700, reason: "Unhealthy", error: undefined, probing: false }
    assert.deepEqual(circuit.ask(), refused)
    assert.deepEqual(circuit.pass(699).ask(), { ...refused, retryAfter: 1 })
    assert.isFalse(isRefusal(circuit.pass(1).ask()))
  })

  it("is not opened further by failures that were on their way", () => {
    const circuit = machine()
    const admissions = Array.from({ length: 20 }, () => circuit.begin())
    for (const admission of admissions) circuit.end(admission, failed)
    assert.deepInclude(circuit.view(), { _tag: "Open", consecutiveOpenings: 1 })
    assert.strictEqual(circuit.left(), 1000)
  })

  it("keeps the causes apart: a dead key that is unreachable for once goes on where it was", () => {
    const circuit = machine().run(dead)
    circuit.pass(60_000).run(failed)
    assert.deepInclude(circuit.view(), { reason: "Unhealthy", consecutiveOpenings: 1 })
    assert.strictEqual(circuit.left(), 1000)
    circuit.pass(1000).run(dead)
    assert.deepInclude(circuit.view(), { reason: "Dead", consecutiveOpenings: 2 })
    assert.strictEqual(circuit.left(), 120_000)
  })
})

describe("a call that must soon have its answer", () => {
  /** How long it is refused, `passed` milliseconds after the circuit opened, if it must leave `soonest` after that. */
  const refused = (circuit: ReturnType<typeof machine>, soonest: number, passed = 0) => {
    const [decision] = admit(constant, circuit.circuit, circuit.now + passed, circuit.now + soonest)
    return isRefusal(decision) ? decision.retryAfter : undefined
  }
  const constant = settings({ openDuration: "8 seconds" })
  const eight = (last: Outcome = failed) => machine(constant).pass(10).run(failed, failed, last)

  it.each([
    [Number.POSITIVE_INFINITY, 8000],
    [20_000, 8000],
    [9000, 8000],
    [8999, 7999],
    [5000, 4000],
    [4000, 3000],
    [1000, 3000]
  ])("within %i ms probes a target that is unhealthy after %i ms", (soonest, at) => {
    assert.strictEqual(refused(eight(), soonest), at)
    assert.strictEqual(refused(eight(), soonest, at - 1), 1)
    assert.isUndefined(refused(eight(), soonest, at))
  })

  it("does not probe it before the time that it named", () => {
    const circuit = eight(failure({ retryAfter: "3500 millis" }))
    assert.strictEqual(refused(circuit, 1000), 3500)
    assert.strictEqual(refused(circuit, 5000), 4000)
  })

  it("does not probe a dead key sooner, nor what was opened by hand", () => {
    assert.strictEqual(refused(machine().run(dead), 5000), 60_000)
    assert.strictEqual(refused(machine().open(), 5000), Number.POSITIVE_INFINITY)
  })
})

describe("half-open", () => {
  it("admits 1, then 2, then 4 at a time, and closes", () => {
    const circuit = probed()
    for (const width of [1, 2, 4]) {
      const probes = Array.from({ length: width }, () => circuit.begin())
      assert.isTrue(isRefusal(circuit.ask()))
      assert.deepInclude(circuit.view(), { _tag: "HalfOpen", probes: width, width })
      for (const probe of probes) circuit.end(probe, success)
    }
    assert.strictEqual(circuit.view()._tag, "Closed")
  })

  it("widens by a probe that began in the step it ends, not by its companions", () => {
    const circuit = probed().run(success)
    const [one, two] = [circuit.begin(), circuit.begin()]
    circuit.end(one, success)
    assert.deepInclude(circuit.view(), { width: 4, probes: 1 })
    circuit.end(two, success)
    assert.deepInclude(circuit.view(), { _tag: "HalfOpen", width: 4, probes: 0 })
    assert.strictEqual(circuit.run(success).view()._tag, "Closed")
  })

  it("reopens for longer when the first probe fails", () => {
    const circuit = probed().run(failed)
    assert.deepInclude(circuit.view(), { _tag: "Open", consecutiveOpenings: 2 })
    assert.strictEqual(circuit.left(), 2000)
  })

  it.each([1, 2])("asks one by one again on a failure after %i successes, and reopens on the next", (successes) => {
    const circuit = probed()
      .run(...times(successes, success))
      .run(failed)
    assert.deepInclude(circuit.view(), { _tag: "HalfOpen", width: 1 })
    assert.deepInclude(circuit.run(failed).view(), { _tag: "Open", consecutiveOpenings: 2 })
  })

  it("is back at one by one, though several probes fail, and reopens once", () => {
    const circuit = probed().run(success, success)
    const probes = Array.from({ length: 4 }, () => circuit.begin())
    for (const probe of probes) circuit.end(probe, failed)
    assert.deepInclude(circuit.view(), { _tag: "HalfOpen", width: 1, probes: 0 })
    assert.strictEqual(circuit.run(failed).left(), 2000)
  })

  it("reopens at any step where the key is dead", () => {
    assert.deepInclude(probed().run(success, dead).view(), { _tag: "Open", reason: "Dead" })
  })

  it.each([ignored, throttled(9e9)])("gives the place of a probe to another after $_tag", (outcome) => {
    const circuit = probed().run(outcome)
    assert.deepInclude(circuit.view(), { _tag: "HalfOpen", probes: 0, width: 1 })
    circuit.begin()
    assert.isTrue(isRefusal(circuit.ask()))
  })

  it("says to ask again soon while a probe is out", () => {
    const circuit = probed()
    circuit.begin()
    const expected: Refusal = { retryAfter: 1000, reason: "Unhealthy", error: undefined, probing: true }
    assert.deepEqual(circuit.ask(), expected)
    assert.deepEqual(circuit.pass(119_500).ask(), { ...expected, retryAfter: 500 })
  })

  it("gives away the place of a probe whose lease is over", () => {
    const circuit = probed()
    circuit.begin()
    assert.isTrue(isRefusal(circuit.pass(119_999).ask()))
    circuit.pass(1).begin()
    assert.isTrue(isRefusal(circuit.ask()))
    assert.deepInclude(circuit.view(), { probes: 1 })
  })

  it("still believes the probe whose lease is over, and takes no place from the next for it", () => {
    const circuit = probed()
    const slow = circuit.begin()
    circuit.pass(120_000).begin()
    circuit.end(slow, success)
    assert.deepInclude(circuit.view(), { _tag: "HalfOpen", probes: 1, width: 2 })
    const failing = probed()
    const hung = failing.begin()
    failing.pass(120_000).begin()
    assert.strictEqual(failing.end(hung, failed).view()._tag, "Open")
  })

  it("is not reopened by its first probe, if that fails after another has succeeded", () => {
    const circuit = probed()
    const slow = circuit.begin()
    circuit.pass(120_000).run(success)
    assert.deepInclude(circuit.end(slow, failed).view(), { _tag: "HalfOpen", width: 1 })
  })

  it("is not reopened by a later probe that fails after it is back at one by one", () => {
    const circuit = probed().run(success)
    const probes = [circuit.begin(), circuit.begin()]
    for (const probe of probes) circuit.end(probe, failed)
    assert.deepInclude(circuit.view(), { _tag: "HalfOpen", width: 1, probes: 0 })
  })

  it("that is back at one by one is ready when so many leases are over that a place is free", () => {
    const circuit = probed().run(success)
    const [early] = [circuit.begin(), circuit.pass(10_000).begin()]
    circuit.end(early, failed)
    const last = circuit.now + 120_000
    assert.strictEqual(readyAt(circuit.circuit), last)
    circuit.pass(119_999)
    assert.isTrue(isRefusal(circuit.ask()))
    circuit.pass(1).begin()
  })

  it("takes its ramp from the options", () => {
    assert.strictEqual(
      probed(1, settings({ ramp: [1] }))
        .run(success)
        .view()._tag,
      "Closed"
    )
    const wide = probed(1, settings({ ramp: [3, 5] }))
    Array.from({ length: 3 }, wide.begin)
    assert.isTrue(isRefusal(wide.ask()))
  })
})

describe("the backoff", () => {
  const healed = (openings: number) => probed(openings).run(...times(3, success))

  it("survives a close", () => {
    const circuit = healed(3)
      .pass(3999)
      .run(...times(3, failed))
    assert.strictEqual(circuit.left(), 8000)
    assert.deepInclude(circuit.view(), { consecutiveOpenings: 4 })
  })

  it("begins anew when the circuit stayed closed as long as it was last open", () => {
    const circuit = healed(3)
      .pass(4000)
      .run(...times(3, failed))
    assert.strictEqual(circuit.left(), 1000)
    assert.deepInclude(circuit.view(), { consecutiveOpenings: 1 })
  })

  it("begins anew for a dead key with the close", () => {
    const circuit = machine().run(dead).pass(60_000).run(dead).pass(120_000)
    assert.strictEqual(circuit.run(...times(3, success), dead).left(), 60_000)
  })

  it("of an unhealthy target is not begun anew by a dead key", () => {
    const circuit = probed(3).run(dead).pass(60_000)
    circuit.run(...times(3, success), ...times(3, failed))
    assert.strictEqual(circuit.left(), 8000)
    const calm = probed(3).run(dead).pass(60_000)
    assert.strictEqual(
      calm
        .run(...times(3, success))
        .pass(4000)
        .run(...times(3, failed))
        .left(),
      1000
    )
  })

  it("begins anew with what was counted before the circuit opened", () => {
    const circuit = healed(1).run(failed, failed)
    assert.strictEqual(circuit.view()._tag, "Closed")
  })
})

describe("what was admitted before a transition", () => {
  const outcomes = [success, failed, dead, ignored, throttled(9e9)]

  it.each(outcomes)("changes nothing afterwards: $_tag", (outcome) => {
    const unchanged = (
      circuit: ReturnType<typeof machine>,
      ...old: ReadonlyArray<ReturnType<typeof circuit.begin>>
    ) => {
      const before = circuit.circuit
      for (const admission of old) circuit.end(admission, outcome)
      assert.strictEqual(circuit.circuit, before)
    }
    const circuit = machine()
    const closed = circuit.begin()
    unchanged(circuit.run(...times(3, failed)), closed)
    const probe = circuit.pass(1000).begin()
    unchanged(circuit, closed)
    circuit.end(probe, success).run(success)
    const late = circuit.begin()
    circuit.run(success)
    unchanged(circuit, closed, probe, late)
    const again = circuit.begin()
    unchanged(circuit.reset(), again)
    const byHand = circuit.begin()
    unchanged(circuit.open(), again, byHand)
  })

  it("nor does what was admitted in the same millisecond as a reset", () => {
    const circuit = machine()
    const old = circuit.begin()
    assert.strictEqual(circuit.reset().end(old, dead).view()._tag, "Closed")
  })

  it("nor does what was admitted before the circuit was forgotten", () => {
    const circuit = machine()
    const old = circuit.begin()
    circuit.pass(3_600_000)
    circuit.begin()
    const before = circuit.circuit
    circuit.end(old, dead)
    assert.strictEqual(circuit.circuit, before)
  })
})

describe("nothing", () => {
  const calm = settings({ tripPolicy: TripPolicy.consecutive(2) })

  it("is kept of a circuit of which nothing is known but that its attempts succeed, or say nothing", () => {
    assert.isUndefined(machine(calm).run(success, ignored, success).circuit)
    assert.isUndefined(machine().run(ignored).circuit)
    assert.isDefined(machine().run(success).circuit, "this one counts successes")
  })

  it("is lost: attempts that began when nothing was known all count", () => {
    const circuit = machine(calm)
    const [one, other] = [circuit.begin(), circuit.pass(1000).begin()]
    assert.strictEqual(circuit.end(other, failed).view()._tag, "Closed")
    assert.strictEqual(circuit.pass(1000).end(one, failed).view()._tag, "Open")
  })

  it("is said by who began an hour ago, of what others found meanwhile", () => {
    const circuit = machine(calm)
    const old = circuit.begin()
    circuit.pass(3_599_000).run(failed).pass(1000)
    const before = circuit.circuit
    circuit.end(old, failed)
    assert.isDefined(before)
    assert.strictEqual(circuit.circuit, before)
  })
})

describe("throttled", () => {
  it("is seen until its time is over, the latest one, and opens nothing", () => {
    const circuit = machine().run(...times(50, throttled(5000)), throttled(3000))
    assert.deepEqual(circuit.view(), { _tag: "Closed", key: "k", throttledUntil: 5000 })
    assert.deepEqual(circuit.pass(5000).view(), { _tag: "Closed", key: "k", throttledUntil: undefined })
  })

  it("is seen of a circuit that opens for another reason", () => {
    const circuit = machine().run(throttled(90_000), dead)
    assert.deepInclude(circuit.view(), { _tag: "Open", throttledUntil: 90_000 })
    assert.deepInclude(circuit.pass(60_000).run(throttled(95_000)).view(), { _tag: "HalfOpen", throttledUntil: 95_000 })
    assert.deepInclude(circuit.run(...times(3, success)).view(), { _tag: "Closed", throttledUntil: 95_000 })
  })
})

describe("by hand", () => {
  it("open stays open until reset", () => {
    const circuit = machine().open().pass(10_000_000)
    assert.deepInclude(circuit.view(), { _tag: "Open", reason: "Manual", consecutiveOpenings: 1 })
    assert.strictEqual(circuit.left(), Number.POSITIVE_INFINITY)
    assert.deepInclude(circuit.ask(), { retryAfter: Number.POSITIVE_INFINITY, reason: "Manual" })
    circuit.reset().begin()
    assert.strictEqual(circuit.view()._tag, "Closed")
  })

  it("reset makes the circuit as new", () => {
    const circuit = probed(5).reset()
    assert.strictEqual(circuit.run(failed, failed).view()._tag, "Closed")
    assert.strictEqual(circuit.run(failed).left(), 1000)
    assert.strictEqual(machine().run(dead).pass(60_000).run(dead).reset().run(dead).left(), 60_000)
  })

  it("both do with a circuit that nobody asked yet", () => {
    assert.strictEqual(machine().reset().view()._tag, "Closed")
    assert.strictEqual(machine().open().view()._tag, "Open")
  })
})

describe("an hour without use", () => {
  it.each([
    ["closed", () => machine().run(failed, failed), 0],
    ["open", () => probed(5), -15_000],
    ["half-open", () => probed().run(ignored), 0],
    [
      "half-open with a probe that is not heard of",
      () => {
        const circuit = probed()
        circuit.begin()
        return circuit
      },
      120_000
    ],
    ["dead", () => machine().run(dead), 60_000]
  ] as const)("makes a circuit as new that was %s", (_, make, more) => {
    const circuit = make()
    const hour = 3_600_000 + Math.max(0, more)
    const before = circuit.circuit?._tag
    circuit.pass(hour - 1)
    assert.strictEqual(circuit.view()._tag, before)
    circuit.pass(1)
    assert.deepEqual(circuit.view(), { _tag: "Closed", key: "k", throttledUntil: undefined })
    assert.strictEqual(circuit.run(failed, failed).view()._tag, "Closed")
    assert.strictEqual(circuit.run(failed).left(), 1000)
  })

  it("is written down once a minute where nothing else is to be", () => {
    const circuit = machine(settings({ tripPolicy: TripPolicy.consecutive(1) })).reset()
    const first = circuit.circuit
    assert.isDefined(first)
    assert.strictEqual(circuit.pass(59_999).run(success).circuit, first)
    assert.strictEqual(circuit.pass(1).run(success).circuit?.keepUntil, 3_660_000)
  })

  it("counts from the last use", () => {
    const circuit = machine().run(failed, failed)
    for (let i = 0; i < 5; i++) circuit.pass(3_000_000).run(ignored)
    assert.strictEqual(circuit.run(failed).view()._tag, "Open")
  })
})

describe("transitions", () => {
  it("are told where the state is another, and only there", () => {
    const seen: Array<string> = []
    let circuit: Circuit | undefined
    let now = 0
    const go = (next: Circuit | undefined) => {
      const told = transition("k", circuit, next, now)
      if (told !== undefined) seen.push(`${told.from} ${told.to}`)
      circuit = next
    }
    const run = (outcome: Outcome) => {
      const [admission, next] = admit(standard, circuit, now)
      go(next)
      if (!isRefusal(admission)) go(record(standard, circuit, admission, outcome, now, 0))
    }
    for (const outcome of [failed, failed, failed]) run(outcome)
    run(success)
    now += 1000
    run(failed)
    now += 2000
    for (const outcome of [success, success, success, success]) run(outcome)
    assert.deepStrictEqual(seen, ["Closed Open", "Open HalfOpen", "HalfOpen Open", "Open HalfOpen", "HalfOpen Closed"])
  })

  it("say why a circuit opened, for how long and how often", () => {
    const before = machine().run(failed, failed)
    const [admission] = [before.begin()]
    const next = record(standard, before.circuit, admission, { _tag: "Failure", error: "ServerError" }, 7, 0)
    assert.deepEqual(transition("k", before.circuit, next, 7), {
      key: "k",
      at: 7,
      from: "Closed",
      to: "Open",
      reason: "Unhealthy",
      error: "ServerError",
      retryAfter: Duration.seconds(1),
      consecutiveOpenings: 1
    })
  })
})

describe("readyAt", () => {
  it("is now, the end of the open time, the end of a lease, or never", () => {
    assert.strictEqual(readyAt(undefined), 0)
    const circuit = machine().run(success).pass(500)
    assert.strictEqual(readyAt(circuit.circuit), 0)
    circuit.run(...times(3, failed))
    assert.strictEqual(readyAt(circuit.circuit), 1500)
    const probe = circuit.pass(1000).begin()
    assert.strictEqual(readyAt(circuit.circuit), 121_500)
    circuit.end(probe, ignored)
    assert.strictEqual(readyAt(circuit.circuit), 0)
    assert.strictEqual(readyAt(circuit.open().circuit), Number.POSITIVE_INFINITY)
  })
})

describe("a circuit", () => {
  it("is plain JSON in every state, and goes on from it", () => {
    const states = [
      machine().run(failed, throttled(9)),
      machine().run(dead),
      machine().run(...times(3, { _tag: "Failure", error: "Timeout" } as const)),
      probed().run(success, ignored),
      machine().open(),
      machine().reset()
    ]
    for (const { circuit } of states) {
      const text = JSON.stringify(circuit)
      assert.deepStrictEqual(JSON.parse(text), circuit)
      assert.notInclude(text, "undefined")
    }
  })
})

describe("an outcome", () => {
  it("may open a circuit if it is a failure or tells a dead key", () => {
    assert.deepStrictEqual([success, failed, dead, ignored, throttled(5)].map(mayOpen), [
      false,
      true,
      true,
      false,
      false
    ])
  })
})

describe("options", () => {
  it.each([
    [() => settings({ tripPolicy: [] }), "CircuitBreaker: tripPolicy: found none, expected at least one"],
    [() => settings({ openDuration: 0 }), "CircuitBreaker: openDuration: found 0, expected a finite duration above 0"],
    [() => settings({ openDuration: Duration.infinity }), "CircuitBreaker: openDuration: found "],
    [
      () => settings({ deadDuration: { initial: "2 seconds", max: "1 second" } }),
      "CircuitBreaker: deadDuration.max: found 1s, expected at least initial, 2000 ms"
    ],
    [
      () => settings({ openDuration: { initial: "soon" as "1 second", max: "1 second" } }),
      'CircuitBreaker: openDuration.initial: found "soon", expected a finite duration above 0'
    ],
    [() => settings({ ramp: [] }), "CircuitBreaker: ramp: found none, expected at least one"],
    [() => settings({ ramp: [1, 0.5] }), "CircuitBreaker: ramp[1]: found 0.5, expected a whole number of 1 or more"],
    [() => settings({ probeLease: -1 }), "CircuitBreaker: probeLease: found -1, expected a finite duration above 0"],
    [
      () => TripPolicy.consecutive(0),
      "CircuitBreaker.consecutive: failures: found 0, expected a whole number of 1 or more"
    ],
    [() => TripPolicy.consecutive(1.5), "failures: found 1.5"],
    [
      () => TripPolicy.rate({ threshold: 1 }),
      "CircuitBreaker.rate: threshold: found 1, expected a number of 0 or more and below 1"
    ],
    [
      () => TripPolicy.rate({ minimum: 0 }),
      "CircuitBreaker.rate: minimum: found 0, expected a number from 1 to 1000000"
    ],
    [
      () => TripPolicy.rate({ halfLife: 0 }),
      "CircuitBreaker.rate: halfLife: found 0, expected a finite duration above 0"
    ]
  ] as const)("wrong ones are named: %#", (make, message) => {
    assert.throws(make, RangeError, message)
  })

  it("one duration is always the same", () => {
    const circuit = machine(settings({ openDuration: "3 seconds" })).run(...times(3, failed))
    assert.strictEqual(circuit.left(), 3000)
    assert.strictEqual(circuit.pass(3000).run(failed).left(), 3000)
    assert.strictEqual(
      machine(settings({ deadDuration: Duration.seconds(9) }))
        .run(dead)
        .left(),
      9000
    )
  })
})
