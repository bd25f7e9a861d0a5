import { assert, describe, it } from "@effect/vitest"
import { FastCheck as fc, Schema } from "effect"
import * as Usage from "../../src/policies/Usage.js"
import * as Counts from "../../src/providers/wire/Counts.js"
import { cases } from "../support/cases.js"

const count = fc.option(fc.oneof(fc.nat(20), fc.nat(2_000_000), fc.constant(Number.MAX_SAFE_INTEGER)), {
  nil: undefined
})

/** Counts as a provider may report them: any may be missing, and parts may be larger than their wholes. */
const reported: fc.Arbitrary<Counts.Counts> = fc.record({
  input: count,
  output: count,
  total: count,
  cached: count,
  written: count,
  writtenHour: count,
  reasoning: count
})

const runs = { numRuns: cases(10_000) }
const isUsage = Schema.is(Usage.Usage)

describe("the larger of two counts", () => {
  it("holds the larger of each field, and a known one over an unknown one", () => {
    const both = Counts.larger({ input: 100, output: 1, written: 80 }, { input: 0, output: 9, reasoning: 4 })
    assert.deepInclude(both, { input: 100, output: 9, written: 80, reasoning: 4, cached: undefined })
  })

  it("is idempotent, commutative and associative", () => {
    fc.assert(
      fc.property(reported, reported, reported, (a, b, c) => {
        assert.deepStrictEqual(Counts.larger(a, a), a)
        assert.deepStrictEqual(Counts.larger(a, b), Counts.larger(b, a))
        assert.deepStrictEqual(Counts.larger(Counts.larger(a, b), c), Counts.larger(a, Counts.larger(b, c)))
      }),
      runs
    )
  })
})

describe("the usage of counts", () => {
  it("is known if both halves are, or one and the total; and then no reported part is missing in it", () => {
    fc.assert(
      fc.property(reported, (counts) => {
        const usage = Counts.usage(counts)
        const { input, output, total } = counts
        const known = [input, output, total].filter((one) => one !== undefined).length
        assert.strictEqual(usage !== undefined, known >= 2, JSON.stringify(counts))
        if (usage === undefined) return
        assert.isTrue(isUsage(usage))
        assert.isAtLeast(usage.inputTokens, input ?? 0)
        assert.isAtLeast(usage.outputTokens, Math.max(output ?? 0, counts.reasoning ?? 0))
        assert.isAtLeast(usage.inputTokens + usage.outputTokens, total ?? 0)
        const parts = (usage.cachedInputTokens ?? 0) + (usage.cacheWriteTokens ?? 0)
        assert.isAtLeast(usage.inputTokens, Math.min(parts, Number.MAX_SAFE_INTEGER))
      }),
      runs
    )
  })
})
