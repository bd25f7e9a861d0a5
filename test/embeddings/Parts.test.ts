import { assert, describe, it } from "@effect/vitest"
import { FastCheck as fc } from "effect"
import * as Parts from "../../src/embeddings/Parts.js"
import { cases } from "../support/cases.js"

const texts = fc.array(fc.string({ maxLength: 40 }), { minLength: 1, maxLength: 60 })
const limits = fc.record({
  inputs: fc.option(fc.integer({ min: 1, max: 20 }), { nil: undefined }),
  tokens: fc.option(fc.integer({ min: 1, max: 200 }), { nil: undefined })
})

const split = (input: ReadonlyArray<string>, most: Parameters<typeof Parts.split>[2]) => {
  const parts = Parts.split({ input }, input, most)
  if ("index" in parts) throw new Error(parts.message)
  return parts
}

describe("the parts of an input", () => {
  it("hold each text once, in its order", () => {
    fc.assert(
      fc.property(texts, limits, (input, most) => {
        const parts = split(input, most)
        assert.deepStrictEqual(
          parts.flatMap((part) => part.input),
          input
        )
        for (const part of parts) assert.strictEqual(part.input[0], input[part.from])
      }),
      { numRuns: cases(5000) }
    )
  })

  it("keep the limits, but for a text that alone is above the limit of all", () => {
    const count = (text: string) => text.length
    fc.assert(
      fc.property(texts, limits, (input, most) => {
        for (const part of split(input, { ...most, count })) {
          assert.isNotEmpty(part.input)
          assert.isAtMost(part.input.length, most.inputs ?? input.length)
          const size = part.input.reduce((sum, text) => sum + count(text), 0)
          if (part.input.length > 1) assert.isAtMost(size, most.tokens ?? size)
        }
      }),
      { numRuns: cases(5000) }
    )
  })

  it("are as few as can be: no two neighbours fit into one", () => {
    const count = (text: string) => text.length
    fc.assert(
      fc.property(texts, limits, (input, most) => {
        const parts = split(input, { ...most, count })
        for (const [index, part] of parts.slice(1).entries()) {
          const before = parts[index] as Parts.Part
          const size = [...before.input, part.input[0] ?? ""].reduce((sum, text) => sum + count(text), 0)
          const fits = before.input.length + 1 <= (most.inputs ?? Infinity) && size <= (most.tokens ?? Infinity)
          assert.isFalse(fits)
        }
      }),
      { numRuns: cases(5000) }
    )
  })

  it("are one, without reading the texts, where the limits are far away", () => {
    let read = 0
    const text = new Proxy(Object("hello"), {
      get: (target, name) => {
        if (name === "charCodeAt") read++
        return Reflect.get(target, name)
      }
    }) as string
    assert.lengthOf(split([text, text], { inputs: 2048, tokens: 300_000, inputTokens: 8192 }), 1)
    assert.strictEqual(read, 0)
  })

  it("refuse a text above the window by the counter of the application, or that cannot fit", () => {
    const count = (text: string) => text.length
    const found = Parts.split({ input: [] }, ["a".repeat(10), "a".repeat(11)], { inputTokens: 10, count })
    assert.deepInclude(found, { index: 1, message: "found 11 tokens, expected at most 10" })
    assert.notProperty(Parts.split({ input: [] }, ["a".repeat(1280)], { inputTokens: 10 }), "index")
    assert.propertyVal(Parts.split({ input: [] }, ["a", "b".repeat(1281)], { inputTokens: 10 }), "index", 1)
  })

  it("are named by their inputs", () => {
    const [first, second, last] = split(["a", "b", "c", "d", "e"], { inputs: 2 }) as [
      Parts.Part,
      Parts.Part,
      Parts.Part
    ]
    assert.strictEqual(Parts.words(first, 5), "inputs 0 to 1 of 5")
    assert.strictEqual(Parts.words(second, 5), "inputs 2 to 3 of 5")
    assert.strictEqual(Parts.words(last, 5), "input 4 of 5")
  })
})

describe("the answer of parts", () => {
  const part = (usage: boolean, model: string) => ({
    vectors: [[1]],
    usage: usage ? { inputTokens: 2, outputTokens: 0 } : undefined,
    provider: "p",
    model
  })

  it("is of the first, with the usage of all, or of none if one is unknown", () => {
    assert.deepStrictEqual(Parts.join([part(true, "a"), part(true, "b")]), {
      vectors: [[1], [1]],
      usage: { inputTokens: 4, outputTokens: 0 },
      provider: "p",
      model: "a"
    })
    assert.isUndefined(Parts.join([part(true, "a"), part(false, "b")]).usage)
  })
})
