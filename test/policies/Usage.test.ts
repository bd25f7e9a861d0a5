import { assert, describe, it } from "@effect/vitest"
import { FastCheck as fc, Schema } from "effect"
import * as Usage from "../../src/policies/Usage.js"
import { cases } from "../support/cases.js"

const runs = { numRuns: cases(10_000) }

const count = fc.oneof(fc.nat(20), fc.nat(2_000_000), fc.constant(Number.MAX_SAFE_INTEGER))

/** Counts as a provider may report them: parts may be larger than their wholes. */
const reported: fc.Arbitrary<Usage.Usage> = fc.record(
  {
    inputTokens: count,
    outputTokens: count,
    cachedInputTokens: count,
    cacheWriteTokens: count,
    cacheWriteHourTokens: count,
    reasoningTokens: count
  },
  { requiredKeys: ["inputTokens", "outputTokens"] }
)

const usage = reported.map(Usage.make)

const maybe = fc.option(usage, { nil: undefined })

const isUsage = Schema.is(Usage.Usage)

describe("a usage", () => {
  it("decodes as it was stored before cache writes were counted", () => {
    const stored = { inputTokens: 17, outputTokens: 9, cachedInputTokens: 5 }
    assert.deepStrictEqual(Schema.decodeUnknownSync(Usage.Usage)(stored), stored)
  })

  it("keeps its cache writes when it is stored", () => {
    const written = { inputTokens: 9, outputTokens: 1, cacheWriteTokens: 8, cacheWriteHourTokens: 3 }
    const json = JSON.parse(JSON.stringify(Schema.encodeSync(Usage.Usage)(written)))
    assert.deepStrictEqual(Schema.decodeUnknownSync(Usage.Usage)(json), written)
  })
})

describe("make", () => {
  it("leaves counts alone that fit together", () => {
    const counts = { inputTokens: 10, outputTokens: 3, cachedInputTokens: 4, cacheWriteTokens: 6, reasoningTokens: 3 }
    assert.strictEqual(Usage.make(counts), counts)
  })

  for (const [name, counts, raised] of [
    ["the input to what was read from the cache", { cachedInputTokens: 15 }, { inputTokens: 15 }],
    ["the input to what was read and written", { cachedInputTokens: 6, cacheWriteTokens: 6 }, { inputTokens: 12 }],
    ["the writes to those for an hour", { cacheWriteTokens: 1, cacheWriteHourTokens: 4 }, { cacheWriteTokens: 4 }],
    ["unknown writes to those for an hour", { cacheWriteHourTokens: 4 }, { cacheWriteTokens: 4 }],
    [
      "the input to the writes that were raised",
      { cachedInputTokens: 7, cacheWriteTokens: 1, cacheWriteHourTokens: 5 },
      { inputTokens: 12, cacheWriteTokens: 5 }
    ],
    ["the output to the thoughts", { reasoningTokens: 11 }, { outputTokens: 11 }]
  ] as const) {
    it(`raises ${name}`, () => {
      const all = { inputTokens: 10, outputTokens: 3, ...counts }
      assert.deepStrictEqual(Usage.make(all), { ...all, ...raised })
    })
  }

  it("never makes a part larger than its whole, lowers a count, or leaves what is a count", () => {
    fc.assert(
      fc.property(reported, (counts) => {
        const made = Usage.make(counts)
        const { cachedInputTokens = 0, cacheWriteHourTokens = 0, cacheWriteTokens = 0, reasoningTokens = 0 } = made
        const parts = Math.min(Number.MAX_SAFE_INTEGER, cachedInputTokens + cacheWriteTokens)
        assert.isAtLeast(made.inputTokens, parts)
        assert.isAtLeast(cacheWriteTokens, cacheWriteHourTokens)
        assert.isAtLeast(made.outputTokens, reasoningTokens)
        for (const key of Object.keys(counts) as Array<keyof Usage.Usage>) {
          assert.isAtLeast(made[key] ?? -1, counts[key] ?? 0)
        }
        assert.isTrue(isUsage(made))
        assert.strictEqual(Usage.make(made), made)
      }),
      runs
    )
  })
})

describe("add", () => {
  it("sums every field, and leaves out what neither knows", () => {
    const one = { inputTokens: 10, outputTokens: 3, cacheWriteTokens: 6, cacheWriteHourTokens: 2 }
    const other = { inputTokens: 20, outputTokens: 4, cacheWriteTokens: 1, cachedInputTokens: 5 }
    assert.deepStrictEqual(Usage.add(one, other), {
      inputTokens: 30,
      outputTokens: 7,
      cachedInputTokens: 5,
      cacheWriteTokens: 7,
      cacheWriteHourTokens: 2
    })
  })

  it("takes an unknown usage for none", () => {
    const one = { inputTokens: 10, outputTokens: 3 }
    assert.strictEqual(Usage.add(one, undefined), one)
    assert.strictEqual(Usage.add(undefined, one), one)
    assert.isUndefined(Usage.add(undefined, undefined))
  })

  it("is commutative and associative, and stays a usage", () => {
    fc.assert(
      fc.property(maybe, maybe, maybe, (a, b, c) => {
        assert.deepStrictEqual(Usage.add(a, b), Usage.add(b, a))
        assert.deepStrictEqual(Usage.add(Usage.add(a, b), c), Usage.add(a, Usage.add(b, c)))
        const sum = Usage.add(a, b)
        assert.isTrue(sum === undefined || isUsage(sum))
      }),
      runs
    )
  })
})

describe("isPossible", () => {
  for (const [count, expected] of [
    [0, true],
    [1e9, true],
    [1e9 + 1, false],
    [-1, false],
    [Number.NaN, false],
    [Number.POSITIVE_INFINITY, false]
  ] as const) {
    it(`${expected ? "takes" : "refuses"} ${count}, in whichever field`, () => {
      assert.strictEqual(Usage.isPossible({ inputTokens: count, outputTokens: 1 }), expected)
      assert.strictEqual(Usage.isPossible({ inputTokens: 1, outputTokens: 1, cachedInputTokens: count }), expected)
    })
  }
})
