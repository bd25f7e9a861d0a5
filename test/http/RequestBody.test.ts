import { assert, describe, it } from "@effect/vitest"
import { Effect, FastCheck as fc, Redacted } from "effect"
import { Anthropic, Chat, OpenAi } from "effect-steadfast"
import { RequestBody } from "effect-steadfast/http"
import { body } from "../providers/support.js"
import { cases } from "../support/cases.js"

const apiKey = Redacted.make("key-of-a-test")

const writers = {
  openai: OpenAi.make({ model: "m-1", apiKey }),
  anthropic: Anthropic.make({ model: "m-1", apiKey })
} as const

const dialects = ["openai", "anthropic"] as const

const word = fc.stringMatching(/^[a-z€😀\n]{1,8}[a-z]$/u)

const png = { type: "image" as const, data: "aGk=", mediaType: "image/png" }

const part = fc.oneof(
  fc.record({ type: fc.constant("text" as const), text: word }),
  fc.constant(png),
  fc.constant({ type: "image" as const, url: "https://a.test/cat.png" }),
  fc.constant({ type: "file" as const, data: "aGk=", mediaType: "application/pdf", name: "a.pdf" })
)

const user = fc.array(part, { minLength: 1, maxLength: 3 }).map((parts) => Chat.user(parts))

/** A turn of the assistant, with the results of its calls. */
const step = fc
  .record({
    text: word,
    calls: fc.array(
      fc.record({ name: fc.constantFrom("f", "g"), arguments: fc.dictionary(word, fc.jsonValue({ maxDepth: 1 })) }),
      { maxLength: 2 }
    ),
    next: user
  })
  .map(({ calls, next, text }): ReadonlyArray<Chat.Message> => {
    const toolCalls = calls.map((call, index) => ({ id: `call-${index}`, ...call }))
    return [
      { role: "assistant", content: text, ...(toolCalls.length === 0 ? {} : { toolCalls }) },
      ...toolCalls.map(({ id }) => Chat.toolResult(id, "done")),
      next
    ]
  })

const requests: fc.Arbitrary<Chat.Request> = fc
  .record({
    system: fc.option(word, { nil: undefined }),
    first: user,
    step: fc.option(step, { nil: undefined }),
    options: fc.record(
      {
        maxTokens: fc.integer({ min: 1, max: 9999 }),
        temperature: fc.double({ min: 0, max: 1, noNaN: true }),
        topP: fc.double({ min: 0.5, max: 1, noNaN: true }),
        stop: fc.array(word, { minLength: 1, maxLength: 2 })
      },
      { requiredKeys: ["maxTokens"] }
    ),
    choice: fc.option(fc.constantFrom("auto" as const, "required" as const, { name: "f" }), { nil: undefined })
  })
  .map(({ choice, first, options, step, system }) => ({
    ...options,
    messages: [
      ...(system === undefined ? [] : [Chat.system(system)]),
      first,
      ...(step ?? [])
    ] as unknown as Chat.Request["messages"],
    tools: [{ name: "f", description: "says f", parameters: { type: "object", properties: {} } }],
    ...(choice === undefined ? {} : { toolChoice: choice })
  }))

/** Without the fields that are `undefined`, and with `-0` as JSON has it. */
const plain = (u: unknown): unknown => JSON.parse(JSON.stringify(u))

describe("what a provider's encoder writes", () => {
  for (const dialect of dialects) {
    it.effect(`is read as the request that it was, in the dialect of ${dialect}`, () =>
      Effect.promise(() =>
        fc.assert(
          fc.asyncProperty(requests, fc.boolean(), (request, streaming) =>
            Effect.runPromise(
              Effect.gen(function* () {
                const sent = yield* body(writers[dialect], request, streaming)
                const asked = yield* RequestBody.decode(dialect, sent)
                assert.deepStrictEqual(plain(asked.request), plain(request))
                assert.deepStrictEqual([asked.model, asked.stream, asked.unread], ["m-1", streaming, []])
              })
            )
          ),
          { numRuns: cases(1000) }
        )
      )
    )
  }

  it.effect("is read with its format, its effort and its seed", () =>
    Effect.gen(function* () {
      const schema = { type: "object", properties: {}, required: [], additionalProperties: false }
      const request = Chat.prompt("hi", {
        responseFormat: { type: "json-schema", name: "answer", schema, strict: true },
        reasoning: { effort: "low" },
        seed: 7
      })
      const sent = yield* body(writers.openai, request)
      const { request: read } = yield* RequestBody.decode("openai", sent)
      assert.deepStrictEqual(read, request)
    })
  )
})

const messages = [{ role: "user", content: "hi" }]
const openai = (more: object) => ({ model: "m", messages, ...more })
const anthropic = (more: object) => ({ model: "m", max_tokens: 5, messages, ...more })
const openaiMessage = (message: object) => openai({ messages: [message] })

const refusals: ReadonlyArray<readonly [RequestBody.Readable, unknown, string]> = [
  ["openai", undefined, "body: found nothing, expected a JSON object"],
  ["openai", [], "body: found an array, expected an object"],
  ["openai", { messages }, "model: found nothing, expected a string"],
  ["openai", openai({ messages: [] }), "messages: found an empty array, expected at least one message"],
  ["openai", openaiMessage({ role: "user", content: 7 }), "messages[0].content: found a number, expected a string or"],
  ["openai", openaiMessage({ role: "robot" }), 'messages[0].role: found "robot", expected one of "system"'],
  [
    "openai",
    openaiMessage({ role: "tool", content: "" }),
    "messages[0].tool_call_id: found nothing, expected a string"
  ],
  [
    "openai",
    openaiMessage({ role: "assistant", tool_calls: [{ id: "a", function: { name: "f", arguments: "{" } }] }),
    "messages[0].tool_calls[0].function.arguments: found text that is no JSON"
  ],
  [
    "openai",
    openaiMessage({ role: "user", content: [{ type: "video" }] }),
    'messages[0].content[0].type: found "video"'
  ],
  ["openai", openai({ n: 2 }), "n: found 2, expected 1"],
  ["openai", openai({ max_tokens: 0.5 }), "max_tokens: found 0.5, expected a whole number from 1 on"],
  ["openai", openai({ temperature: "hot" }), "temperature: found a string, expected a number"],
  ["openai", openai({ tools: [{ type: "function" }] }), "tools[0].function: found nothing, expected an object"],
  ["openai", openai({ tool_choice: "maybe" }), 'tool_choice: found "maybe"'],
  ["openai", openai({ metadata: { a: 1 } }), "metadata.a: found a number, expected a string"],
  ["anthropic", { model: "m", messages }, "max_tokens: found nothing, expected a whole number"],
  ["anthropic", anthropic({ messages: [{ role: "system", content: "" }] }), 'messages[0].role: found "system"'],
  ["anthropic", anthropic({ tools: [{ type: "bash_20250124" }] }), 'tools[0].type: found "bash_20250124"'],
  ["anthropic", anthropic({ thinking: { type: "enabled", budget_tokens: -1 } }), "thinking.budget_tokens: found -1"]
]

describe("a request that is wrong", () => {
  it.effect.each(refusals)(
    "in %s: %j is told which field, what was found and what was expected",
    ([dialect, sent, said]) =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(RequestBody.decode(dialect, sent))
        assert.strictEqual(error._tag, "InvalidRequest")
        assert.include(error.message, said)
        assert.include(error.message, ", expected ")
      })
  )

  it.effect("never shows a prompt", () =>
    Effect.gen(function* () {
      const prompt = "my secret prompt, which is longer than any word of an API"
      const error = yield* Effect.flip(RequestBody.decode("openai", openaiMessage({ role: prompt })))
      assert.notInclude(error.message, "secret")
    })
  )

  it("is an error or a request, whatever came", () => {
    fc.assert(
      fc.property(fc.constantFrom(...dialects), fc.anything(), (dialect, sent) => {
        const exit = Effect.runSyncExit(RequestBody.decode(dialect, sent))
        if (exit._tag === "Failure") assert.strictEqual(exit.cause._tag, "Fail")
      }),
      { numRuns: cases(5000) }
    )
  })
})

describe("fields that are not read", () => {
  const sent = openai({ service_tier: "priority", store: true, user: null })

  it.effect("are named, and sent on only where that is asked for", () =>
    Effect.gen(function* () {
      const kept = yield* RequestBody.decode("openai", sent)
      assert.deepStrictEqual(kept.unread, ["service_tier", "store"])
      assert.strictEqual(kept.request.providerOptions, undefined)
      const passed = yield* RequestBody.decode("openai", sent, { passTo: "openai" })
      assert.deepStrictEqual(passed.unread, [])
      assert.deepStrictEqual(passed.request.providerOptions, { openai: { service_tier: "priority", store: true } })
    })
  )

  it.effect("are null without meaning anything", () =>
    Effect.gen(function* () {
      const nothing = openai({ stop: null, tools: null, temperature: null, stream: null, response_format: null })
      const { request, stream } = yield* RequestBody.decode("openai", nothing)
      assert.deepStrictEqual(request, { messages: [Chat.user("hi")] })
      assert.isFalse(stream)
    })
  )
})

describe("thoughts of earlier answers", () => {
  it.effect("go back to a Claude, if they are signed", () =>
    Effect.gen(function* () {
      const thought = { type: "thinking", thinking: "hm", signature: "c2ln" }
      const said = { type: "text", text: "yes" }
      const turns = [
        ...messages,
        { role: "assistant", content: [thought, { ...thought, signature: "" }, said] },
        ...messages
      ]
      const { request } = yield* RequestBody.decode("anthropic", anthropic({ messages: turns }))
      const [, answer] = request.messages
      if (answer?.role !== "assistant") return assert.fail("no answer")
      assert.strictEqual(answer.content, "yes")
      assert.deepStrictEqual(answer.providerData?.reply, { content: [thought, said] })
    })
  )
})
