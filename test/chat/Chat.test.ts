import { assert, describe, it } from "@effect/vitest"
import { Either, Schema } from "effect"
import { Chat } from "effect-steadfast"

const decode = Schema.decodeUnknownEither(Chat.Request)

/** The message of a rejection, which must name the field. */
const rejection = (u: unknown): string =>
  Either.match(decode(u), {
    onLeft: (error) => error.message,
    onRight: (value) => assert.fail(`expected a rejection, got ${JSON.stringify(value)}`)
  })

const messages = [{ role: "user", content: "hi" }]

describe("constructors", () => {
  it("messages of every role", () => {
    assert.deepStrictEqual(Chat.system("a"), { role: "system", content: "a" })
    assert.deepStrictEqual(Chat.user("a"), { role: "user", content: "a" })
    assert.deepStrictEqual(Chat.user([{ type: "text", text: "a" }]), {
      role: "user",
      content: [{ type: "text", text: "a" }]
    })
    assert.deepStrictEqual(Chat.toolResult("call-1", "42"), { role: "tool", toolCallId: "call-1", content: "42" })
    const call = { id: "call-1", name: "f", arguments: { x: 1 } }
    assert.deepStrictEqual(Chat.assistant("a", [call]), { role: "assistant", content: "a", toolCalls: [call] })
    assert.strictEqual(Chat.assistant("a").role, "assistant")
  })

  it("prompt is one user message, with options", () => {
    assert.deepStrictEqual(Chat.prompt("hi"), { messages: [{ role: "user", content: "hi" }] })
    assert.deepStrictEqual(Chat.prompt("hi", { temperature: 0, idempotent: false }), {
      messages: [{ role: "user", content: "hi" }],
      temperature: 0,
      idempotent: false
    })
  })

  it("request is what it is given", () => {
    const request = Chat.request({ messages: [Chat.system("a"), Chat.user("b")], maxTokens: 5 })
    assert.deepStrictEqual(request, {
      messages: [
        { role: "system", content: "a" },
        { role: "user", content: "b" }
      ],
      maxTokens: 5
    })
  })

  it("what they make can be decoded", () => {
    const request = Chat.request({
      messages: [
        Chat.system("a"),
        Chat.user("b"),
        Chat.assistant("", [{ id: "1", name: "f", arguments: { x: 1 } }]),
        Chat.toolResult("1", "42")
      ]
    })
    assert.deepStrictEqual(Either.getOrThrow(decode(request)), request)
    assert.deepStrictEqual(Either.getOrThrow(decode(JSON.parse(JSON.stringify(request)))).messages[3], {
      role: "tool",
      toolCallId: "1",
      content: "42"
    })
  })
})

describe("Request decodes", () => {
  it("every field", () => {
    const request = {
      messages: [
        {
          role: "user",
          content: [
            { type: "text", text: "what is this?" },
            { type: "image", url: "https://x.example/a.png" },
            { type: "image", data: "AAAA", mediaType: "image/png" }
          ]
        }
      ],
      tools: [{ name: "f", description: "d", parameters: { type: "object" }, strict: true }],
      toolChoice: { name: "f" },
      responseFormat: { type: "json-schema", name: "n", schema: { type: "object" } },
      temperature: 0.5,
      topP: 0.9,
      maxTokens: 100,
      stop: ["\n"],
      seed: 7,
      metadata: { user: "u" },
      idempotent: false,
      providerOptions: { openai: { reasoning_effort: "low" } }
    }
    assert.deepStrictEqual(Either.getOrThrow(decode(request)) as unknown, request)
  })

  it("the forms of toolChoice and responseFormat", () => {
    for (const toolChoice of ["auto", "none", "required", { name: "f" }]) {
      assert.isTrue(Either.isRight(decode({ messages, toolChoice })))
    }
    assert.isTrue(Either.isRight(decode({ messages, responseFormat: { type: "json" } })))
  })
})

describe("Request names the field that it rejects", () => {
  for (const [field, request] of [
    ["messages", {}],
    ["messages", { messages: [] }],
    ["messages", { messages: "hi" }],
    ["role", { messages: [{ role: "robot", content: "hi" }] }],
    ["content", { messages: [{ role: "user" }] }],
    ["content", { messages: [{ role: "system", content: [] }] }],
    ["toolCallId", { messages: [{ role: "tool", content: "42" }] }],
    ["toolCalls", { messages: [{ role: "assistant", content: "", toolCalls: [{ id: "1" }] }] }],
    ["temperature", { messages, temperature: "hot" }],
    ["topP", { messages, topP: null }],
    ["maxTokens", { messages, maxTokens: 0 }],
    ["maxTokens", { messages, maxTokens: 1.5 }],
    ["stop", { messages, stop: "x" }],
    ["seed", { messages, seed: 0.5 }],
    ["tools", { messages, tools: [{ parameters: {} }] }],
    ["parameters", { messages, tools: [{ name: "f", parameters: "x" }] }],
    ["toolChoice", { messages, toolChoice: "maybe" }],
    ["responseFormat", { messages, responseFormat: { type: "xml" } }],
    ["metadata", { messages, metadata: { n: 1 } }],
    ["idempotent", { messages, idempotent: "no" }],
    ["providerOptions", { messages, providerOptions: { openai: "x" } }]
  ] as const) {
    it(`${field}: ${JSON.stringify(request)}`, () => {
      assert.include(rejection(request), `["${field}"]`)
    })
  }
})

describe("Response and Event", () => {
  it("survive JSON", () => {
    const response: Chat.Response = {
      id: "c-1",
      provider: "openai",
      model: "m",
      text: "hi",
      toolCalls: [{ id: "1", name: "f", arguments: { x: [1, null] } }],
      finishReason: "tool-calls",
      usage: { inputTokens: 1, outputTokens: 2, cachedInputTokens: 0 }
    }
    const encoded = JSON.parse(JSON.stringify(Schema.encodeSync(Chat.Response)(response)))
    assert.deepStrictEqual(Schema.decodeUnknownSync(Chat.Response)(encoded), response)
    const events: ReadonlyArray<Chat.Event> = [
      { _tag: "Start", provider: "openai", model: "m" },
      { _tag: "TextDelta", text: "hi" },
      { _tag: "ReasoningDelta", text: "hm" },
      { _tag: "ToolCall", id: "1", name: "f", arguments: {} },
      { _tag: "Usage", usage: { inputTokens: 1, outputTokens: 2 } },
      { _tag: "Finish", reason: "stop" }
    ]
    for (const event of events) {
      assert.deepStrictEqual(Schema.decodeUnknownSync(Chat.Event)(JSON.parse(JSON.stringify(event))), event)
    }
  })

  it("reject counts below zero and reasons that there are not", () => {
    const usage = Schema.decodeUnknownEither(Chat.Usage)
    assert.isTrue(Either.isLeft(usage({ inputTokens: -1, outputTokens: 0 })))
    assert.isTrue(Either.isLeft(usage({ inputTokens: 1 })))
    assert.isTrue(Either.isLeft(Schema.decodeUnknownEither(Chat.Event)({ _tag: "Finish", reason: "content-filter" })))
  })
})
