import { assert, describe, it } from "@effect/vitest"
import { FastCheck as fc } from "effect"
import * as AnswerTime from "../../../src/policies/circuit/AnswerTime.js"
import { cases } from "../../support/cases.js"

const timeOf = (times: ReadonlyArray<number>) =>
  times.reduce<AnswerTime.AnswerTime | undefined>(AnswerTime.seen, undefined)

describe("answer times", () => {
  it("are unknown at first, guessed after one answer, and known after many", () => {
    assert.strictEqual(AnswerTime.most(timeOf([])), 0)
    assert.strictEqual(AnswerTime.most(timeOf([300])), 600)
    assert.approximately(AnswerTime.most(timeOf(Array.from({ length: 100 }, () => 300))), 300, 1)
    assert.isAbove(AnswerTime.most(timeOf([...Array.from({ length: 100 }, () => 300), 3000, 3000, 3000])), 2000)
  })

  it("lie between the least and four times the longest answer", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 600_000 }), { minLength: 1 }), (times) => {
        const most = AnswerTime.most(timeOf(times))
        assert.isAtLeast(most, Math.min(...times) - 1e-6)
        assert.isAtMost(most, 4 * Math.max(...times))
      }),
      { numRuns: cases(10_000) }
    )
  })
})
