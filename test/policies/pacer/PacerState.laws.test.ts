import { assert, describe, it } from "@effect/vitest"
import { FastCheck as fc } from "effect"
import * as Buckets from "../../../src/policies/pacer/Buckets.js"
import * as Cost from "../../../src/policies/pacer/Cost.js"
import * as PacerState from "../../../src/policies/pacer/PacerState.js"
import type { Limits } from "../../../src/policies/pacer/RateLimits.js"
import { cases } from "../../support/cases.js"

const limit = fc.record({ limit: fc.integer({ min: 1, max: 1000 }), windowMillis: fc.constantFrom(1000, 60_000) })
const configured = fc.option(
  limit.map((one) => ({ ...one, burst: one.limit })),
  { nil: undefined }
)
const config: fc.Arbitrary<Buckets.Config> = fc.record({
  requests: configured,
  tokens: configured,
  inputTokens: configured
})

const header = fc.option(
  fc.record({
    limit: fc.integer({ min: 1, max: 1000 }),
    remaining: fc.nat(1000),
    resetMillis: fc.integer({ min: 1, max: 60_000 })
  }),
  { nil: undefined }
)
const headers: fc.Arbitrary<Limits> = fc.record({ requests: header, tokens: header, outputTokens: header })

const usage = fc.option(fc.record({ inputTokens: fc.nat(100), outputTokens: fc.nat(100) }), { nil: undefined })
const outcome: fc.Arbitrary<PacerState.Outcome> = fc.oneof(
  fc.record({ _tag: fc.constantFrom("Answered" as const, "Unclear" as const), usage }),
  fc.record({ _tag: fc.constantFrom("Rejected" as const, "NotSent" as const) }),
  fc.record({
    _tag: fc.constant("Refused" as const),
    hint: fc.option(fc.nat(5000), { nil: undefined }),
    scope: fc.constantFrom("requests" as const, "tokens" as const, undefined),
    random: fc.double({ min: 0, max: 1, noNaN: true })
  })
)

const event = fc.oneof(
  fc.record({ _tag: fc.constant("Admit" as const), input: fc.nat(100), output: fc.nat(100), isWaited: fc.boolean() }),
  fc.record({ _tag: fc.constant("Observe" as const), which: fc.nat(5), headers }),
  fc.record({ _tag: fc.constant("Settle" as const), which: fc.nat(5), outcome })
)

/** Through JSON, as a store outside of the process keeps it. */
const stored = <A>(value: A): A => {
  const text = JSON.stringify(value)
  assert.notInclude(text, "null", "a number that JSON does not have")
  return JSON.parse(text)
}

describe("a state that goes through JSON after each event", () => {
  it("decides as the one that stays in memory, and so do the admissions", () => {
    fc.assert(
      fc.property(
        config,
        fc.array(fc.tuple(event, fc.oneof({ arbitrary: fc.nat(3000), weight: 9 }, fc.constant(700_000))), {
          minLength: 1,
          maxLength: 20
        }),
        fc.nat(200),
        (config, events, tokens) => {
          const cost = Cost.make(1, tokens, tokens)
          let now = 1_000_000
          let held = PacerState.make(config, now)
          let read = stored(held)
          const admissions: Array<readonly [held: PacerState.Admission, read: PacerState.Admission]> = []
          const apply = (
            f: (state: PacerState.PacerState, admission: PacerState.Admission) => PacerState.PacerState,
            which: number
          ) => {
            const both = admissions[which % admissions.length]
            if (both === undefined) return
            held = f(held, both[0])
            read = stored(f(read, both[1]))
          }
          for (const [event, passed] of events) {
            now += passed
            if (event._tag === "Admit") {
              const cost = Cost.make(1, event.input, event.output)
              const [first, next] = PacerState.admit(held, cost, event.isWaited, now)
              const [second, nextRead] = PacerState.admit(read, cost, event.isWaited, now)
              held = next
              read = stored(nextRead)
              admissions.push([first, stored(second)])
            } else if (event._tag === "Observe") {
              apply((state, admission) => PacerState.observe(state, admission, event.headers, now), event.which)
            } else {
              apply((state, admission) => PacerState.settle(state, admission, event.outcome, now), event.which)
            }
            const decisions = (state: PacerState.PacerState) => [
              PacerState.admits(state, cost, now),
              PacerState.readyAt(state, cost, now),
              PacerState.expectedAt(state, Cost.make(3, 30, 30), cost, now),
              PacerState.isIdle(state, now),
              PacerState.isIdle(state, now + 3_600_000),
              Buckets.exceeded(state.buckets, cost)?.dimension
            ]
            assert.strictEqual(decisions(read).join(), decisions(held).join())
          }
          assert.deepStrictEqual(read, stored(held))
        }
      ),
      { numRuns: cases(2_000) }
    )
  })
})
