import { assert, describe, it } from "@effect/vitest"
import { FastCheck as fc } from "effect"
import { Tokens } from "effect-steadfast"
import { cases } from "../../support/cases.js"

const prompt = (text: string): Tokens.Prompt => ({ messages: [{ role: "user", content: text }] })

const empty = Tokens.estimate(prompt(""))

/** Texts with what OpenAI's tokenizers o200k and cl100k make of them. */
const counted: ReadonlyArray<readonly [kind: string, text: string, o200k: number, cl100k: number]> = [
  [
    "prose",
    "A retry policy is a value that decides when to try again, and a budget is a value that decides whether we may. Both are asked before each attempt, and what they said is in the log.",
    41,
    41
  ],
  [
    "code",
    "export const narrow = (outer: Limit, now: number, millis: number): Limit =>\n  now + millis < outer.at ? { at: now + millis, outer } : outer\n",
    39,
    39
  ],
  [
    "JSON",
    '{"id":"call_4b1f","name":"get_weather","arguments":{"city":"Paris","days":[1,2,3],"unit":"celsius","when":"2024-07-18T09:30:00Z"}}',
    50,
    50
  ],
  ["numbers", "0.7264,0.0193,912.44,18,2024,771203,44.91,0.00031,55120,6.02214076e23", 41, 41],
  [
    "base64",
    "iVBORw0KGgoAAAANSUhEUgAAAAUAAAAFCAYAAACNbyblAAAAHElEQVQI12P4x8vAw8DAwMDAxMDAwPD/ABwGBP8Xn2kkAAAAAElFTkSuQmCC9fK2mQ7xTzL4wVb8NcR1",
    82,
    82
  ],
  [
    "Chinese",
    "人工智能是计算机科学的一个分支，它企图了解智能的实质，并生产出一种新的能以人类智能相似的方式做出反应的智能机器。",
    40,
    61
  ],
  ["Russian", "Политика повторов решает, когда попробовать снова, а бюджет решает, можно ли это сделать.", 22, 41],
  ["Arabic", "سياسة إعادة المحاولة هي قيمة تقرر متى نحاول مرة أخرى.", 17, 38],
  ["emoji", "😀🎉👩‍👩‍👧🇩🇪🙈🚀✨🔥🧠🦄", 27, 41]
]

describe("estimate", () => {
  for (const [kind, text, o200k, cl100k] of counted) {
    it(`is not below what tokenizers make of ${kind}, and not beyond three times that`, () => {
      const estimate = Tokens.estimate(prompt(text)) - empty
      assert.isAtLeast(estimate, o200k)
      assert.isAtLeast(estimate, cl100k)
      assert.isAtMost(estimate, 3 * cl100k)
    })
  }

  it("counts what stands around a message, whether there is text in it or not", () => {
    const two: Tokens.Prompt = { messages: [...prompt("").messages, ...prompt("").messages] }
    // the dearest chat templates put 7 tokens around a message
    assert.isAtLeast(Tokens.estimate(two) - empty, 8)
  })

  it("counts an image by its kind and not by the length of its data", () => {
    const part = (data: string) => ({ type: "image", mediaType: "image/png", data })
    const image = (data: string): Tokens.Prompt => ({
      messages: [{ role: "user", content: [{ type: "text", text: "What is it?" }, part(data), part(data)] }]
    })
    assert.strictEqual(Tokens.estimate(image("A".repeat(100_000))), Tokens.estimate(image("A")))
    assert.isAtLeast(Tokens.estimate(image("A")), 2 * 4800)
    assert.isAtLeast(Tokens.bound(image("A")), 2 * (2833 + 8 * 5667))
  })

  const tool = { name: "weather", description: "Tells the weather", parameters: { type: "object", properties: {} } }

  const adds = (more: Partial<Tokens.Prompt>, count: (prompt: Tokens.Prompt) => number) =>
    count({ ...prompt("Hello"), ...more }) - count(prompt("Hello"))

  it("counts tools and schemas, and the prompt that a provider puts around them", () => {
    for (const more of [
      { tools: [tool] },
      { responseFormat: { type: "json-schema", name: "answer", schema: tool.parameters } }
    ]) {
      // Anthropic's is 530 tokens at most
      for (const count of [Tokens.estimate, Tokens.bound]) assert.isAbove(adds(more, count), 530 + 20)
    }
    assert.strictEqual(adds({ tools: [] }, Tokens.estimate), adds({ tools: undefined }, Tokens.estimate))
  })

  it("counts what is merged into the body", () => {
    const more = { providerOptions: { anthropic: { system: "You are a poet. ".repeat(20) } } }
    assert.isAbove(adds(more, Tokens.estimate), 20 * 5)
    assert.isAbove(adds(more, Tokens.bound), 20 * 16)
  })
})

describe("bound", () => {
  const encoder = new TextEncoder()

  it("is the bytes of the prompt, of which tokens are made", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary", maxLength: 40 }), (text) => {
        const added = Tokens.bound(prompt(text)) - Tokens.bound(prompt(""))
        assert.isAtLeast(added, encoder.encode(text).length)
        assert.strictEqual(added, encoder.encode(JSON.stringify(text)).length - 2)
      }),
      { numRuns: cases(10_000) }
    )
  })

  it("is never below the estimate", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary", maxLength: 40 }), fc.string({ maxLength: 40 }), (any, ascii) => {
        for (const text of [any, ascii]) assert.isAtLeast(Tokens.bound(prompt(text)), Tokens.estimate(prompt(text)))
      }),
      { numRuns: cases(10_000) }
    )
  })
})
