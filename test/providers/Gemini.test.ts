import { assert, describe, it } from "@effect/vitest"
import { Config, ConfigProvider, Effect, Layer, Redacted, Schema } from "effect"
import { Chat, ChatModel, ChatStream, Gemini } from "effect-steadfast"
import { FaultyProvider, Reply } from "effect-steadfast/testing"
import { assertRefused, at, body, collect, events, generate, laws, peer, secret, sent, sse, textOf } from "./support.js"

const make = Gemini.make({ model: "gemini-2.5-flash", apiKey: Redacted.make(secret) })
const make3 = Gemini.make({ model: "gemini-3-pro-preview" })

const chunk = (parts: ReadonlyArray<unknown>, more: object = {}, tail: object = {}) => ({
  candidates: [{ content: { role: "model", parts }, index: 0, ...more }],
  modelVersion: "gemini-2.5-flash-001",
  responseId: "resp-1",
  ...tail
})
const call = { functionCall: { name: "weather", args: { city: "Oslo" } } }
const usageMetadata = {
  promptTokenCount: 10,
  candidatesTokenCount: 4,
  thoughtsTokenCount: 3,
  cachedContentTokenCount: 5
}

const answer = chunk(
  [{ text: "Hm.", thought: true }, { text: "Let me look." }, call],
  { finishReason: "STOP" },
  { usageMetadata }
)

const stream = [
  chunk([{ text: "Hm.", thought: true }], {}, { usageMetadata: { promptTokenCount: 10 } }),
  chunk([{ text: "Let me " }]),
  chunk([{ text: "look." }]),
  chunk([call]),
  chunk([{ text: "" }], { finishReason: "STOP" }),
  { usageMetadata, modelVersion: "gemini-2.5-flash-001", responseId: "resp-1" }
]

const streamWith = (index: number, event: unknown) => sse(stream.map((original, i) => (i === index ? event : original)))

laws({
  make,
  answer,
  events: stream,
  unknownEvent: (content) => ({ hint: content }),
  errors: { 400: "InvalidRequest" },
  keyHeader: "x-goog-api-key",
  requestId: undefined
})

describe("encode", () => {
  it.effect("the shortest request, whole and streamed", () =>
    Effect.gen(function* () {
      const whole = yield* sent(make, Chat.prompt("hi"))
      assert.strictEqual(whole.url, "/v1beta/models/gemini-2.5-flash:generateContent")
      assert.deepStrictEqual(whole.body, { contents: [{ role: "user", parts: [{ text: "hi" }] }] })
      const streamed = yield* sent(make, Chat.prompt("hi"), true)
      assert.strictEqual(streamed.url, "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse")
      assert.deepStrictEqual(streamed.body, whole.body)
    })
  )

  it.effect("what cannot be said is refused before it is sent", () =>
    Effect.gen(function* () {
      const { model, provider } = yield* peer(make)
      for (const [messages, message] of [
        [[Chat.system("hi")], "only system messages"],
        [[Chat.user("hi"), Chat.toolResult("x", "?")], 'messages[1].toolCallId: found "x", expected the id of']
      ] as const) {
        const error = yield* Effect.flip(model.generate({ messages }))
        assert.strictEqual(error._tag, "InvalidRequest")
        assert.strictEqual(error.delivery, "not-sent")
        assert.include(error.message, message)
      }
      assert.deepStrictEqual(yield* provider.requests, [])
    })
  )
})

describe("decode", () => {
  it.effect("an answer", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* generate(make, Reply.json(answer)), {
        id: "resp-1",
        provider: "gemini",
        model: "gemini-2.5-flash-001",
        text: "Let me look.",
        reasoning: "Hm.",
        toolCalls: [{ id: "call_resp-1_0", name: "weather", arguments: { city: "Oslo" } }],
        finishReason: "tool-calls",
        usage: { inputTokens: 10, outputTokens: 7, cachedInputTokens: 5, reasoningTokens: 3 }
      })
    })
  )

  it.effect("calls keep the id that they have, and get one of their own otherwise", () =>
    Effect.gen(function* () {
      const named = { functionCall: { ...call.functionCall, id: "own" } }
      const several = { candidates: [{ content: { parts: [call, named, call] }, finishReason: "STOP" }] }
      const whole = yield* generate(make, Reply.json({ ...several, responseId: "r" }))
      assert.deepStrictEqual(
        whole.toolCalls.map(({ id }) => id),
        ["call_r_0", "own", "call_r_2"]
      )
      const nameless = yield* generate(make, Reply.json(several))
      assert.deepStrictEqual(
        nameless.toolCalls.map(({ id }) => id),
        ["call_0_0", "own", "call_0_2"]
      )
    })
  )

  for (const [reason, expected] of [
    ["STOP", "stop"],
    ["MAX_TOKENS", "length"],
    ["SOMETHING_NEW", "other"]
  ] as const) {
    it.effect(`the finish reason ${reason} is ${expected}`, () =>
      Effect.gen(function* () {
        const ended = chunk([{ text: "x" }], { finishReason: reason })
        assert.strictEqual((yield* generate(make, Reply.json(ended))).finishReason, expected)
      })
    )
  }

  it.effect("an answer whose thoughts used all tokens up has no content, and is no error", () =>
    Effect.gen(function* () {
      const cut = { candidates: [{ finishReason: "MAX_TOKENS", content: { role: "model" } }], usageMetadata }
      const { finishReason, text } = yield* generate(make, Reply.json(cut))
      assert.deepStrictEqual({ finishReason, text }, { finishReason: "length", text: "" })
    })
  )

  it.effect("a blocked prompt, and a blocked answer, are ContentFiltered", () =>
    Effect.gen(function* () {
      const blocked = [
        { promptFeedback: { blockReason: "PROHIBITED_CONTENT" }, usageMetadata },
        { candidates: [{ finishReason: "SAFETY" }] },
        { candidates: [{ finishReason: "RECITATION", content: { parts: [{ text: "x" }] } }] }
      ]
      for (const value of blocked) {
        assert.strictEqual((yield* Effect.flip(generate(make, Reply.json(value))))._tag, "ContentFiltered")
        assert.strictEqual((yield* Effect.flip(collect(make, sse([value]))))._tag, "ContentFiltered")
        assert.strictEqual((yield* Effect.flip(collect(make, sse([stream[0], value]))))._tag, "ContentFiltered")
      }
    })
  )

  it.effect("a call that the model made wrong, and an answer of nothing, are InvalidResponse", () =>
    Effect.gen(function* () {
      for (const value of [
        { candidates: [{ finishReason: "MALFORMED_FUNCTION_CALL" }] },
        { candidates: [{ finishReason: "STOP", content: { role: "model" } }] },
        { candidates: [] },
        { usageMetadata }
      ]) {
        assert.strictEqual((yield* Effect.flip(generate(make, Reply.json(value))))._tag, "InvalidResponse")
      }
    })
  )

  const wrong: ReadonlyArray<readonly [unknown, string]> = [
    [{ candidates: [{ index: 0 }] }, "candidates[0].content: found nothing, expected an object"],
    [{ candidates: "x" }, "candidates[0].content: found nothing, expected an object"],
    [{ candidates: [{ content: "x" }] }, "candidates[0].content: found a string, expected an object"],
    [{ candidates: [{ content: { parts: {} } }] }, "candidates[0].content.parts: found a object, expected an array"],
    [chunk([{ text: 1 }]), "candidates[0].content.parts[0].text: found a number, expected a string"],
    [chunk([{}, { functionCall: {} }]), "parts[1].functionCall.name: found nothing, expected a string"]
  ]
  for (const [value, message] of wrong) {
    it.effect(`refuses: ${message} (${JSON.stringify(value).slice(0, 40)})`, () =>
      Effect.gen(function* () {
        assertRefused(yield* Effect.flip(generate(make, Reply.json(value))), message)
      })
    )
  }
})

describe("stream", () => {
  const wrong: ReadonlyArray<readonly [unknown, string]> = [
    [{ candidates: [{ content: [] }] }, "candidates[0].content: found an array, expected an object"],
    [chunk([{ text: {} }]), "candidates[0].content.parts[0].text: found a"],
    [chunk([{ functionCall: { name: null } }]), "functionCall.name: found null, expected a string"],
    ["{not JSON", "data: found a string, expected JSON"]
  ]
  for (const [event, message] of wrong) {
    it.effect(`refuses: ${message}`, () =>
      Effect.gen(function* () {
        assertRefused(yield* Effect.flip(collect(make, streamWith(2, event))), message)
      })
    )
  }

  it.effect("ends with a finish reason and the end of the bytes; the last usage counts", () =>
    Effect.gen(function* () {
      const { delivered } = yield* events(make, sse(stream))
      assert.deepStrictEqual(delivered.slice(-2), [
        { _tag: "Usage", usage: { inputTokens: 10, outputTokens: 7, cachedInputTokens: 5, reasoningTokens: 3 } },
        { _tag: "Finish", reason: "tool-calls" }
      ])
      const cut = yield* events(make, sse(stream.slice(0, 3)))
      assert.strictEqual(cut.error?._tag, "StreamInterrupted")
      assert.strictEqual(textOf(cut.delivered), "Let me look.")
    })
  )

  it.effect("a finish reason on every chunk loses no text", () =>
    Effect.gen(function* () {
      const eager = ["a", "b", "c"].map((text) => chunk([{ text }], { finishReason: "STOP" }))
      assert.strictEqual((yield* collect(make, sse(eager))).text, "abc")
    })
  )

  it.effect("bare JSON in the stream is the error that it is", () =>
    Effect.gen(function* () {
      const error = { error: { code: 503, message: "The model is overloaded.", status: "UNAVAILABLE" } }
      const good = `data: ${JSON.stringify(stream[1])}\r\n\r\n`
      for (const bare of [JSON.stringify(error), JSON.stringify(error, null, 2), JSON.stringify([error], null, 2)]) {
        const step = Reply.raw([good, bare], { headers: { "content-type": "text/event-stream" } })
        const { delivered, error: failure } = yield* events(make, step)
        assert.strictEqual(failure?._tag, "Overloaded", bare)
        assert.strictEqual(textOf(delivered), "Let me ")
      }
    })
  )
})

describe("signatures of thoughts", () => {
  const calls = [{ ...call, thoughtSignature: "c2lnMQ==" }, call]
  const whole = Reply.json(chunk(calls, { finishReason: "STOP" }))
  const streamed = sse([...calls.map((part) => chunk([part])), chunk([], { finishReason: "STOP" })])
  const conversation = (toolCalls: ReadonlyArray<Chat.ToolCall>): Chat.Request => ({
    messages: [Chat.user("Weather?"), Chat.assistant("", toolCalls)]
  })
  const signed = (request: unknown) =>
    [0, 1].map((index) => at(request, "contents", 1, "parts", index, "thoughtSignature"))
  const foreign = [0, 1].map((index) => ({ id: `call-${index}`, name: "weather", arguments: {} }))

  for (const [name, step] of [
    ["whole", whole],
    ["streamed", streamed]
  ] as const) {
    it.effect(`go back with their calls: ${name}`, () =>
      Effect.gen(function* () {
        const { model, provider } = yield* peer(make3, { script: [step, Reply.text("Rain.")] })
        const { toolCalls } = yield* name === "whole"
          ? model.generate(Chat.prompt("Weather?"))
          : ChatStream.collect(model.stream(Chat.prompt("Weather?")))
        yield* model.generate(conversation(toolCalls))
        const [, second] = yield* provider.requests
        assert.deepStrictEqual(signed(second?.body), ["c2lnMQ==", undefined])
      })
    )
  }

  it.effect("are replaced where they are not known and the model asks for them", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(signed(yield* body(make3, conversation(foreign))), [
        "skip_thought_signature_validator",
        undefined
      ])
      assert.deepStrictEqual(signed(yield* body(make, conversation(foreign))), [undefined, undefined])
    })
  )

  it.effect("travel in the conversation, however many are open", () =>
    Effect.gen(function* () {
      const step = (responseId: string) => Reply.json({ ...chunk(calls, { finishReason: "STOP" }), responseId })
      const { model } = yield* peer(make3, { script: Array.from({ length: 300 }, (_, i) => step(`r${i}`)) })
      const answers = yield* Effect.forEach(Array.from({ length: 300 }), () => model.generate(Chat.prompt("hi")))
      for (const { toolCalls } of answers) {
        const stored = JSON.parse(JSON.stringify(conversation(toolCalls)))
        const request = yield* Schema.decodeUnknown(Chat.Request)(stored)
        assert.deepStrictEqual(signed(yield* body(make3, request)), ["c2lnMQ==", undefined])
      }
    })
  )
})

describe("constructors", () => {
  it.effect("model names are a path", () =>
    Effect.gen(function* () {
      const url = (model: string) =>
        Effect.map(sent(Gemini.make({ model }), Chat.prompt("hi")), (request) => request.url)
      assert.strictEqual(yield* url("models/gemini-2.5-pro"), "/v1beta/models/gemini-2.5-pro:generateContent")
      assert.strictEqual(yield* url("tunedModels/mine"), "/v1beta/tunedModels/mine:generateContent")
      assert.strictEqual(yield* url("a?key=b"), "/v1beta/models/a%3Fkey%3Db:generateContent")
    })
  )

  it.effect("headers, baseUrl and provider", () =>
    Effect.gen(function* () {
      const proxied = Gemini.make({
        model: "m",
        provider: "proxy",
        baseUrl: "https://proxy.example/g/",
        headers: { "x-team": "red" }
      })
      const request = yield* sent(proxied, Chat.prompt("hi", { providerOptions: { proxy: { extra: 1 } } }))
      assert.strictEqual(request.url, "/g/models/m:generateContent")
      assert.strictEqual(request.headers["x-team"], "red")
      assert.isUndefined(request.headers["x-goog-api-key"])
      assert.strictEqual(at(request.body, "extra"), 1)
    })
  )

  it.effect("layer and layerConfig give the model of the application", () =>
    Effect.gen(function* () {
      const ask = Effect.gen(function* () {
        yield* ChatModel.generate(Chat.prompt("hi"))
        const provider = yield* FaultyProvider.FaultyProvider
        return (yield* provider.requests)[0]
      })
      const http = FaultyProvider.layer()
      const plain = Gemini.layer({ model: "m", apiKey: Redacted.make("k") })
      assert.strictEqual((yield* Effect.provide(ask, Layer.provideMerge(plain, http)))?.key, "k")
      const configured = Gemini.layerConfig({ model: Config.string("MODEL"), apiKey: Config.redacted("KEY") })
      const request = yield* ask.pipe(
        Effect.provide(Layer.provideMerge(configured, http)),
        Effect.withConfigProvider(ConfigProvider.fromMap(new Map(Object.entries({ MODEL: "m2", KEY: "k2" }))))
      )
      assert.strictEqual(request?.key, "k2")
      assert.strictEqual(request?.model, "m2")
    })
  )
})
