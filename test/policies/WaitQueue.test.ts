import { assert, describe, it } from "@effect/vitest"
import { Clock, Duration, Effect, Exit, FastCheck as fc } from "effect"
import { Resilience } from "effect-steadfast"
import * as Immediate from "../../src/policies/Immediate.js"
import * as WaitQueue from "../../src/policies/WaitQueue.js"
import { breathe, cases } from "../support/cases.js"
import { simulate } from "../support/simulate.js"
import { errorIn } from "../support/time.js"

/** A gate that opens at a time, in milliseconds, and lets one through in each so many; and when each was let through. */
const gateOf = (opensAt: number, every: number) => {
  const passed: Array<readonly [call: number, at: number]> = []
  const asked: Array<number> = []
  const gate = (call: number): WaitQueue.Gate<number, string, string> => ({
    ask: (now) => {
      asked.push(now)
      const at = Math.max(opensAt, (passed.at(-1)?.[1] ?? Number.NEGATIVE_INFINITY) + every)
      if (now < at) return Effect.succeed(new WaitQueue.Wait(at, "shut"))
      passed.push([call, now])
      return Effect.succeed(call)
    },
    waits: () => Effect.void,
    refused: ({ why }) => why
  })
  return { gate, passed, asked }
}

interface Call {
  readonly start: number
  readonly deadline?: number | undefined
  readonly cancelled?: number | undefined
  /** The time from which its fallback takes it. */
  readonly elsewhere?: number | undefined
}

/** Runs calls through one gate: how and when each ended. */
const run = (gate: ReturnType<typeof gateOf>["gate"], calls: ReadonlyArray<Call>, settings = WaitQueue.defaults) =>
  Effect.suspend(() => {
    const queue = WaitQueue.make<string>(settings)
    const one = ({ cancelled, deadline, elsewhere, start }: Call, call: number) =>
      Effect.gen(function* () {
        yield* Effect.sleep(start)
        const now = Clock.currentTimeMillis
        const pass = Immediate.masked((region) => queue.pass(region, gate(call)))
        const limited = deadline === undefined ? pass : Resilience.deadline(pass, Duration.millis(deadline))
        const beside =
          elsewhere === undefined ? limited : Resilience.besides(limited, () => (elsewhere <= clock() ? 0 : elsewhere))
        const clock = (yield* Effect.clock).unsafeCurrentTimeMillis
        const exit = yield* Effect.exit(
          cancelled === undefined
            ? beside
            : Effect.timeoutFail(beside, { duration: cancelled, onTimeout: () => "left" })
        )
        return { exit, error: errorIn<number, unknown>(exit), ended: yield* now }
      })
    return Effect.map(Effect.forEach(calls, one, { concurrency: "unbounded" }), (ends) => ({
      ends,
      left: queue.size()
    }))
  })

describe("a queue", () => {
  it("lets calls through in their order, and only the first one asks", () => {
    const { asked, gate, passed } = gateOf(1000, 100)
    const { ends, left } = simulate(
      run(
        gate,
        Array.from({ length: 50 }, (_, start) => ({ start }))
      )
    )
    assert.isTrue(ends.every(({ exit }) => Exit.isSuccess(exit)))
    assert.deepStrictEqual(
      passed.map(([call]) => call),
      ends.map((_, call) => call)
    )
    // The first asks as it comes and as it begins to wait; then one asks for each place, and is told when to come.
    assert.isAtMost(asked.length, 2 + 2 * 50)
    assert.strictEqual(left, 0)
  })

  it("turns away at once whoever cannot be served in time, and all but so many", () => {
    const { gate } = gateOf(10_000, 0)
    const calls = [{ start: 0, deadline: 5000 }, { start: 0 }, { start: 1 }, { start: 2 }]
    const { ends } = simulate(run(gate, calls, { maxWait: undefined, maxQueue: 2 }))
    assert.deepStrictEqual(
      ends.map(({ ended, error }) => [error, ended]),
      [
        ["shut", 0],
        [undefined, 10_000],
        [undefined, 10_000],
        ["shut", 2]
      ]
    )
  })

  it("waits a minute without a deadline, and as long as maxWait says", () => {
    const never = () => gateOf(Number.POSITIVE_INFINITY, 0).gate
    const hoping = (call: number): WaitQueue.Gate<number, string, string> => ({
      ...never()(call),
      ask: (now) => Effect.succeed(new WaitQueue.Wait(now, "shut", now + 7000))
    })
    assert.strictEqual(simulate(run(hoping, [{ start: 0 }])).ends[0]?.ended, 60_000)
    const two = simulate(run(hoping, [{ start: 0 }], { maxWait: 2000, maxQueue: 1 }))
    assert.strictEqual(two.ends[0]?.ended, 2000)
    // Before its deadline, so that the error tells what it waited for.
    const five = simulate(run(hoping, [{ start: 0, deadline: 5000 }])).ends[0]
    assert.deepStrictEqual([five?.error, five?.ended], ["shut", 4999])
  })

  it("lets a call go to its fallback when that opens, also behind one that has none", () => {
    const { gate } = gateOf(30_000, 0)
    const { ends } = simulate(
      run(gate, [
        { start: 0, deadline: 60_000 },
        { start: 10, elsewhere: 4000 },
        { start: 20, elsewhere: 0 }
      ])
    )
    assert.strictEqual(ends[0]?.ended, 30_000)
    assert.strictEqual(ends[1]?.error, "shut")
    assert.isAtLeast(ends[1]?.ended ?? 0, 4000)
    assert.isAtMost(ends[1]?.ended ?? 0, 5100)
    assert.strictEqual(ends[2]?.ended, 20)
  })
})

describe("laws of a queue", () => {
  const optional = (max: number) => fc.option(fc.integer({ min: 1, max }), { nil: undefined })
  const call = fc.record({
    start: fc.integer({ min: 0, max: 20_000 }),
    deadline: optional(40_000),
    cancelled: optional(20_000),
    elsewhere: optional(40_000)
  })

  it("hold for arrivals, deadlines, cancellations and fallbacks in any order", async () => {
    await fc.assert(
      fc
        .asyncProperty(
          fc.array(call, { minLength: 1, maxLength: 30 }),
          fc.integer({ min: 0, max: 30_000 }),
          fc.integer({ min: 0, max: 500 }),
          async (given, opensAt, every) => {
            // A millisecond of its own for each, so that the order of arrival is plain.
            const calls = given.map((one, index) => ({ ...one, start: one.start * 50 + index }))
            const { gate, passed } = gateOf(opensAt, every)
            const { ends, left } = simulate(run(gate, calls))
            assert.strictEqual(left, 0, "nothing is left behind")
            const arrivals = passed.map(([call]) => calls[call]?.start ?? 0)
            assert.deepStrictEqual(
              arrivals,
              [...arrivals].sort((a, b) => a - b),
              "first in, first out"
            )
            ends.forEach(({ ended, exit }, index) => {
              const { cancelled = 60_000, deadline = 60_000, elsewhere, start } = calls[index] ?? { start: 0 }
              assert.isAtMost(ended - start, Math.min(cancelled, deadline, 60_000), "no wait outlives its limit")
              if (elsewhere === undefined || Exit.isSuccess(exit)) return
              // Another target is looked at each second.
              assert.isAtMost(ended, Math.max(start, elsewhere) + 1000, "nor a fallback that takes the call")
            })
          }
        )
        .beforeEach(breathe),
      { numRuns: cases(10_000) }
    )
  })
})
