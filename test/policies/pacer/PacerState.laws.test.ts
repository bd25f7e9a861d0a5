import { assert, describe, it } from "@effect/vitest"
import { FastCheck as fc } from "effect"
import type * as Buckets from "../../../src/policies/pacer/Buckets.js"
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
const limits: fc.Arbitrary<Limits> = fc.record({ requests: header, tokens: header, outputTokens: header })

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
  fc.record({ _tag: fc.constant("Told" as const), which: fc.nat(5), limits }),
  fc.record({ _tag: fc.constant("Settle" as const), which: fc.nat(5), outcome })
)

describe("a lane that is written in place", () => {
  it("stands as one that is made anew each time, and what was admitted with it stays as it was", () => {
    fc.assert(
      fc.property(
        config,
        fc.array(fc.tuple(event, fc.nat(3000)), { minLength: 1, maxLength: 20 }),
        (config, events) => {
          let now = 1_000_000
          let made = PacerState.make(config, now)
          const kept = PacerState.kept(config, now)
          const admitted: Array<readonly [made: PacerState.Ticket, kept: PacerState.Ticket]> = []
          const apply = (
            f: (lane: PacerState.PacerState, ticket: PacerState.Ticket) => PacerState.PacerState,
            which: number
          ) => {
            const [ticketOfMade, ticketOfKept] = admitted[which % admitted.length] ?? []
            if (ticketOfMade === undefined || ticketOfKept === undefined) return
            made = f(made, ticketOfMade)
            PacerState.overwrite(kept, f(kept, ticketOfKept))
          }
          for (const [event, passed] of events) {
            now += passed
            if (event._tag === "Admit") {
              const cost = Cost.make(1, event.input, event.output)
              const [ticketOfMade, next] = PacerState.admit(made, cost, event.isWaited, now)
              const [ticketOfKept, written] = PacerState.admit(kept, cost, event.isWaited, now)
              made = next
              PacerState.overwrite(kept, written)
              admitted.push([ticketOfMade, ticketOfKept])
            } else if (event._tag === "Told") {
              apply((lane, ticket) => PacerState.told(lane, ticket, event.limits, now), event.which)
            } else {
              apply((lane, ticket) => PacerState.settle(lane, ticket, event.outcome, now), event.which)
            }
            assert.deepStrictEqual<PacerState.PacerState>(kept, made)
            for (const [ticketOfMade, ticketOfKept] of admitted) assert.deepStrictEqual(ticketOfKept, ticketOfMade)
          }
          assert.deepStrictEqual(Cost.none, Cost.make(0, 0, 0))
        }
      ),
      { numRuns: cases(10_000) }
    )
  })
})
