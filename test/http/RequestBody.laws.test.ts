import { assert, describe, it } from "@effect/vitest"
import { Effect, FastCheck as fc, Redacted } from "effect"
import { Anthropic, Chat, Gemini, OpenAi, OpenAiResponses } from "effect-steadfast"
import { type Dialect, RequestBody } from "effect-steadfast/http"
import { body, type Make } from "../providers/support.js"
import { cases } from "../support/cases.js"
import { dialects, every, readers, type Spoken } from "./support.js"

const apiKey = Redacted.make("key-of-a-test")

/** Models that reason, for the fields that others are not asked for. */
const thinkers: { readonly [K in Spoken]: readonly [model: string, make: Make] } = {
  openai: ["gpt-5.1", OpenAi.make({ model: "gpt-5.1", apiKey })],
  responses: ["gpt-5.1", OpenAiResponses.make({ model: "gpt-5.1", apiKey })],
  anthropic: ["claude-sonnet-4-5", Anthropic.make({ model: "claude-sonnet-4-5", apiKey })],
  gemini: ["gemini-3-flash", Gemini.make({ model: "gemini-3-flash", apiKey })]
}

const word = fc.stringMatching(/^[a-z€😀\n]{1,8}[a-z]$/u)

const part = fc.oneof(
  fc.record({ type: fc.constant("text" as const), text: word }),
  fc.constant({ type: "image" as const, data: "aGk=", mediaType: "image/png" }),
  fc.constant({ type: "image" as const, url: "https://a.test/cat.png" }),
  fc.constant({ type: "file" as const, data: "aGk=", mediaType: "application/pdf", name: "a.pdf" })
)

const user = fc.array(part, { minLength: 1, maxLength: 3 }).map((parts) => Chat.user(parts))

const call = fc.record({
  name: fc.constantFrom("f", "g"),
  arguments: fc.dictionary(word, fc.jsonValue({ maxDepth: 1 }))
})

const result = fc.oneof(
  word,
  fc.dictionary(word, fc.jsonValue({ maxDepth: 1 })).map((value) => JSON.stringify(value)),
  fc.constant('["no object"]')
)

/** A turn of the assistant, with the results of its calls. */
const step = fc
  .record({ text: word, calls: fc.array(fc.tuple(call, result), { maxLength: 3 }), next: user })
  .map(({ calls, next, text }): ReadonlyArray<Chat.Message> => {
    const toolCalls = calls.map(([one], index) => ({ id: `call-${index}`, ...one }))
    return [
      { role: "assistant", content: text, ...(toolCalls.length === 0 ? {} : { toolCalls }) },
      ...calls.map(([, said], index) => Chat.toolResult(`call-${index}`, said)),
      next
    ]
  })

const schema = { type: "object", properties: { a: { type: "string" } }, required: ["a"], additionalProperties: false }

const parameters = { type: "object", properties: {}, additionalProperties: false }

const requests: fc.Arbitrary<Chat.Request> = fc
  .record({
    system: fc.array(word, { maxLength: 2 }),
    first: user,
    step: fc.option(step, { nil: [] as ReadonlyArray<Chat.Message> }),
    options: fc.record(
      {
        maxTokens: fc.integer({ min: 16, max: 9999 }),
        temperature: fc.double({ min: 0, max: 1, noNaN: true }),
        topP: fc.double({ min: 0.5, max: 1, noNaN: true }),
        stop: fc.array(word, { minLength: 1, maxLength: 2 }),
        seed: fc.integer({ min: 0, max: 9999 }),
        metadata: fc.dictionary(word, word),
        toolChoice: fc.constantFrom("auto" as const, "none" as const, "required" as const, { name: "f" }),
        responseFormat: fc.constantFrom<NonNullable<Chat.Request["responseFormat"]>>(
          { type: "json" },
          { type: "json-schema", name: "answer", schema, strict: true }
        )
      },
      { requiredKeys: ["maxTokens"] }
    )
  })
  .map(({ first, options, step, system }) => ({
    ...options,
    messages: [...system.map(Chat.system), first, ...step] as unknown as Chat.Request["messages"],
    tools: [{ name: "f", description: "says f", parameters }]
  }))

/** What a dialect can say of a request. */
const said = (dialect: Spoken, request: Chat.Request): Chat.Request => {
  const { metadata, responseFormat, seed, stop, ...rest } = request
  const given = responseFormat === undefined ? {} : { responseFormat }
  const { strict, ...loose } = responseFormat?.type === "json-schema" ? responseFormat : { strict: undefined }
  const format = responseFormat?.type === "json-schema" ? { responseFormat: loose as typeof responseFormat } : given
  const some = <K extends string, V>(key: K, value: V | undefined) => (value === undefined ? {} : { [key]: value })
  switch (dialect) {
    case "openai":
      // OpenAI takes metadata only with what it stores.
      return { ...rest, ...given, ...some("stop", stop), ...some("seed", seed) }
    case "responses":
      return { ...rest, ...given, ...some("metadata", metadata) }
    case "anthropic": {
      // There it is one system message, and JSON without a schema is asked for in words.
      const texts = rest.messages.flatMap((one) => (one.role === "system" ? [one.content] : []))
      const others = rest.messages.filter(({ role }) => role !== "system")
      const messages = [...(texts.length === 0 ? [] : [Chat.system(texts.join("\n\n"))]), ...others]
      const { responseFormat: kept } = format as Pick<Chat.Request, "responseFormat">
      return {
        ...rest,
        ...some("stop", stop),
        ...some("responseFormat", kept?.type === "json" ? undefined : kept),
        messages: messages as unknown as Chat.Request["messages"]
      }
    }
    case "gemini": {
      // Its files have no names.
      const messages = rest.messages.map((one) =>
        one.role === "user" && typeof one.content !== "string"
          ? Chat.user(one.content.map((part) => (part.type === "file" ? { ...part, name: undefined } : part)))
          : one
      ) as unknown as Chat.Request["messages"]
      return { ...rest, ...format, ...some("stop", stop), ...some("seed", seed), messages }
    }
  }
}

/** Requests for whose JSON no words have to be added. */
const writable = (dialect: Spoken) =>
  dialect === "anthropic" ? requests.filter(({ responseFormat }) => responseFormat?.type !== "json") : requests

/** Without the fields that are `undefined`, and with `-0` as JSON has it. */
const plain = (u: unknown): unknown => JSON.parse(JSON.stringify(u))

const run = <A, E>(effect: Effect.Effect<A, E>): Promise<A> => Effect.runPromise(effect)

describe("what a provider's encoder writes", () => {
  for (const dialect of dialects) {
    it.effect(`is read as the request that it was, in the dialect of ${dialect}`, () =>
      Effect.promise(() =>
        fc.assert(
          fc.asyncProperty(writable(dialect), fc.boolean(), (request, streaming) =>
            run(
              Effect.gen(function* () {
                const sent = yield* body(readers[dialect], request, streaming)
                const asked = yield* RequestBody.decode(dialect, sent, { model: "m-1", stream: streaming })
                assert.deepStrictEqual(plain(asked.request), plain(said(dialect, request)))
                assert.deepStrictEqual([asked.model, asked.stream, asked.unread], ["m-1", streaming, []])
              })
            )
          ),
          { numRuns: cases(2000) }
        )
      )
    )

    it.effect(`is written the same after it was read, with effort, in the dialect of ${dialect}`, () =>
      Effect.promise(() => {
        const [model, make] = thinkers[dialect]
        const efforts = fc.constantFrom("low", "medium", "high", undefined)
        return fc.assert(
          fc.asyncProperty(writable(dialect), efforts, fc.boolean(), (request, effort, summary) =>
            run(
              Effect.gen(function* () {
                const reasoning = { ...(effort === undefined ? {} : { effort }), ...(summary ? { summary } : {}) }
                const sent = yield* body(make, { ...request, reasoning } as Chat.Request)
                const asked = yield* RequestBody.decode(dialect, sent, { model })
                assert.deepStrictEqual(plain(yield* body(make, asked.request)), plain(sent))
                assert.deepStrictEqual(asked.unread, [])
              })
            )
          ),
          { numRuns: cases(500) }
        )
      })
    )
  }
})

const signed: { readonly [K in Spoken]?: readonly [wire: string, reply: unknown] } = {
  responses: [
    "openai-responses",
    {
      stored: false,
      items: [
        { type: "reasoning", summary: [], encrypted_content: "c2VjcmV0" },
        { type: "message", role: "assistant", content: [{ type: "output_text", text: "one" }] },
        { type: "reasoning", summary: [{ type: "summary_text", text: "hm" }], encrypted_content: "bW9yZQ==" },
        { type: "function_call", call_id: "call-0", name: "f", arguments: "{}" }
      ]
    }
  ],
  anthropic: [
    "anthropic",
    {
      content: [
        { type: "thinking", thinking: "hm", signature: "c2ln" },
        { type: "redacted_thinking", data: "eA==" },
        { type: "text", text: "one" },
        { type: "tool_use", id: "call-0", name: "f" }
      ]
    }
  ],
  gemini: [
    "gemini",
    {
      parts: [
        { text: "hm", thought: true, thoughtSignature: "czE=" },
        { text: "one", thoughtSignature: "czI=" },
        { functionCall: {} }
      ]
    }
  ]
}

describe("signed and encrypted thoughts", () => {
  for (const [dialect, kept] of Object.entries(signed) as Array<[Spoken, readonly [string, unknown]]>) {
    it.effect(`come back to the provider from which they came, in the dialect of ${dialect}`, () =>
      Effect.gen(function* () {
        const [model, make] = thinkers[dialect]
        const [wire, reply] = kept
        const data = { wire, provider: dialect === "responses" ? "openai" : dialect, model }
        const call = { id: "call-0", name: "f", arguments: {} }
        const mark = dialect === "gemini" ? { providerData: { ...data, reply: { thoughtSignature: "czM=" } } } : {}
        const request = Chat.request({
          messages: [
            Chat.user("go"),
            {
              role: "assistant",
              content: "one",
              toolCalls: [{ ...call, ...mark }],
              providerData: { ...data, reply }
            },
            Chat.toolResult("call-0", "done"),
            Chat.user("on")
          ],
          tools: [{ name: "f", parameters: { type: "object", properties: {} } }],
          maxTokens: 8000,
          reasoning: { effort: "low" }
        })
        const sent = yield* body(make, request)
        const { request: read } = yield* RequestBody.decode(dialect, sent, { model })
        const [, answer, ...rest] = read.messages
        if (answer?.role !== "assistant") return assert.fail("no answer")
        assert.deepStrictEqual(plain(answer.providerData), plain({ ...data, reply }))
        assert.deepStrictEqual(answer.toolCalls?.[0]?.providerData, mark.providerData)
        assert.deepStrictEqual([answer.content, rest.length], ["one", 2])
        assert.deepStrictEqual(plain(yield* body(make, read)), plain(sent))
      })
    )
  }
})

/** A JSON value with one of its places exchanged for another value. */
const exchanged = (value: unknown, place: number, other: unknown): unknown => {
  let left = place
  const walk = (one: unknown): unknown => {
    if (left-- === 0) return other
    if (Array.isArray(one)) return one.map(walk)
    if (typeof one !== "object" || one === null) return one
    return Object.fromEntries(Object.entries(one).map(([key, inner]) => [key, walk(inner)]))
  }
  return walk(value)
}

const isRefusedOrRead = (dialect: Dialect.Dialect, sent: unknown): void => {
  const exit = Effect.runSyncExit(RequestBody.decode(dialect, sent, { model: "m", passTo: "openai" }))
  if (exit._tag === "Failure") {
    if (exit.cause._tag !== "Fail") assert.fail(String(exit.cause))
    assert.strictEqual(exit.cause.error._tag, "InvalidRequest")
    assert.match(exit.cause.error.message, /^[^:]+: found .+, expected /s)
  }
}

describe("whatever came", () => {
  it("is an error or a request", () => {
    fc.assert(
      fc.property(fc.constantFrom(...every), fc.anything(), (dialect, sent) => isRefusedOrRead(dialect, sent)),
      { numRuns: cases(5000) }
    )
  })

  for (const dialect of dialects) {
    it.effect(`is an error or a request, where one place of a good body is wrong, in the dialect of ${dialect}`, () =>
      Effect.promise(() =>
        fc.assert(
          fc.asyncProperty(
            writable(dialect),
            fc.array(fc.tuple(fc.nat({ max: 60 }), fc.oneof(fc.jsonValue({ maxDepth: 2 }), fc.constant("f"))), {
              minLength: 1,
              maxLength: 3
            }),
            (request, changes) =>
              run(
                Effect.map(body(readers[dialect], request), (sent) => {
                  let wrong: unknown = plain(sent)
                  for (const [place, other] of changes) {
                    wrong = exchanged(wrong, place, other)
                    isRefusedOrRead(dialect, wrong)
                  }
                })
              )
          ),
          { numRuns: cases(5000, 100) }
        )
      )
    )
  }

  const deep = (levels: number): unknown => JSON.parse(`${'{"a":['.repeat(levels)}1${"]}".repeat(levels)}`)
  const holders: { readonly [K in Dialect.Dialect]: (value: unknown) => unknown } = {
    openai: (value) => ({ model: "m", messages: [{ role: "user", content: "hi" }], metadata: value }),
    responses: (value) => ({ model: "m", input: "hi", tools: [{ type: "function", name: "f", parameters: value }] }),
    anthropic: (value) => ({
      model: "m",
      max_tokens: 5,
      messages: [{ role: "assistant", content: [{ type: "tool_use", id: "a", name: "f", input: value }] }]
    }),
    gemini: (value) => ({ contents: [{ parts: [{ text: "hi" }] }], generationConfig: { responseSchema: value } }),
    ollama: (value) => ({ model: "m", messages: [{ role: "user", content: "hi" }], format: value }),
    "ollama-generate": (value) => ({ model: "m", prompt: "hi", format: value }),
    cohere: (value) => ({ model: "m", messages: [{ role: "user", content: "hi" }], citation_options: value })
  }

  for (const dialect of every) {
    it.effect(`is refused where it is nested too deep, in the dialect of ${dialect}`, () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(RequestBody.decode(dialect, holders[dialect](deep(100_000)), { model: "m" }))
        assert.strictEqual(error.message, "body: found more than 500 levels, expected JSON that is not nested so deep")
      })
    )
  }

  it.effect("is refused where the JSON of arguments is nested too deep", () =>
    Effect.gen(function* () {
      const args = JSON.stringify({ a: 0 }).replace("0", `${"[".repeat(100_000)}${"]".repeat(100_000)}`)
      const called = { type: "function_call", call_id: "a", name: "f", arguments: args }
      const error = yield* Effect.flip(RequestBody.decode("responses", { model: "m", input: [called] }))
      assert.include(error.message, "input[0].arguments: found more than 500 levels")
    })
  )

  const many = 200_000
  const long: { readonly [K in Dialect.Dialect]: () => unknown } = {
    openai: () => ({ model: "m", messages: Array.from({ length: many }, () => ({ role: "user", content: "hi" })) }),
    responses: () => ({
      model: "m",
      input: Array.from({ length: many }, (_, id) => ({ type: "function_call", call_id: `${id}`, name: "f" }))
    }),
    anthropic: () => ({
      model: "m",
      max_tokens: 5,
      messages: [{ role: "user", content: Array.from({ length: many }, () => ({ type: "text", text: "hi" })) }]
    }),
    gemini: () => ({
      contents: [
        { role: "model", parts: Array.from({ length: many }, () => ({ functionCall: { name: "f" } })) },
        { parts: Array.from({ length: many }, () => ({ functionResponse: { name: "f" } })) }
      ]
    }),
    ollama: () => ({
      model: "m",
      messages: [
        { role: "assistant", tool_calls: Array.from({ length: many }, () => ({ function: { name: "f" } })) },
        ...Array.from({ length: many }, (_, id) => ({ role: "tool", ...(id % 9 === 0 ? { tool_name: "f" } : {}) }))
      ]
    }),
    "ollama-generate": () => ({ model: "m", prompt: "hi", images: Array.from({ length: many }, () => "/9j/") }),
    cohere: () => ({
      model: "m",
      messages: [
        { role: "tool", tool_call_id: "a", content: Array.from({ length: many }, () => ({ type: "text", text: "hi" })) }
      ]
    })
  }

  for (const dialect of every) {
    it.effect(`is read where it is long, in the dialect of ${dialect}`, () =>
      Effect.gen(function* () {
        const { request } = yield* RequestBody.decode(dialect, long[dialect](), { model: "m" })
        assert.isAtLeast(JSON.stringify(request).length, many)
      })
    )
  }
})
