import { HttpClient } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Config, ConfigProvider, Effect, Layer, Redacted } from "effect"
import { Anthropic, Chat, ChatModel, ChatStream } from "effect-steadfast"
import { Fault, FaultyProvider, Reply } from "effect-steadfast/testing"
import {
  assertRefused,
  at,
  body,
  collect,
  events,
  generate,
  laws,
  peer,
  recorded,
  secret,
  sent,
  sse,
  textOf
} from "./support.js"

const make = Anthropic.make({ model: "claude-haiku-4-5", apiKey: Redacted.make(secret) })

const answer = {
  id: "msg_1",
  type: "message",
  role: "assistant",
  model: "claude-haiku-4-5-20251001",
  content: [
    { type: "text", text: "Let me look." },
    { type: "tool_use", id: "toolu_1", name: "weather", input: { city: "Oslo" } }
  ],
  stop_reason: "tool_use",
  stop_sequence: null,
  usage: { input_tokens: 10, cache_read_input_tokens: 5, cache_creation_input_tokens: 2, output_tokens: 9 }
}

const stream = [
  {
    type: "message_start",
    message: {
      ...answer,
      content: [],
      stop_reason: null,
      usage: { ...answer.usage, output_tokens: 1 }
    }
  },
  { type: "content_block_start", index: 0, content_block: { type: "text", text: "" } },
  { type: "ping" },
  { type: "content_block_delta", index: 0, delta: { type: "text_delta", text: "Let me " } },
  { type: "content_block_delta", index: 0, delta: { type: "text_delta", text: "look." } },
  { type: "content_block_stop", index: 0 },
  {
    type: "content_block_start",
    index: 1,
    content_block: { type: "tool_use", id: "toolu_1", name: "weather", input: {} }
  },
  { type: "content_block_delta", index: 1, delta: { type: "input_json_delta", partial_json: '{"ci' } },
  { type: "content_block_delta", index: 1, delta: { type: "input_json_delta", partial_json: 'ty":"Oslo"}' } },
  { type: "content_block_stop", index: 1 },
  { type: "message_delta", delta: { stop_reason: "tool_use" }, usage: { output_tokens: 9, input_tokens: null } },
  { type: "message_stop" }
]

/** The stream with one event replaced. */
const streamWith = (at: number, event: unknown) =>
  sse(stream.map((original, index) => (index === at ? event : original)))

laws({
  make,
  answer,
  events: stream,
  unknownEvent: (content) => ({ type: "content_block_hint", content }),
  keyHeader: "x-api-key",
  requestId: "request-id"
})

describe("encode", () => {
  it.effect("the shortest request", () =>
    Effect.gen(function* () {
      const request = yield* sent(make, Chat.prompt("hi"))
      assert.strictEqual(request.url, "/v1/messages")
      assert.strictEqual(request.headers["anthropic-version"], "2023-06-01")
      assert.isUndefined(request.headers["anthropic-beta"])
      assert.deepStrictEqual(request.body, {
        model: "claude-haiku-4-5",
        max_tokens: 4096,
        messages: [{ role: "user", content: [{ type: "text", text: "hi" }] }]
      })
    })
  )

  it.effect("only system messages are refused before they are sent", () =>
    Effect.gen(function* () {
      const { model, provider } = yield* peer(make)
      const error = yield* Effect.flip(model.generate({ messages: [Chat.system("hi")] }))
      assert.strictEqual(error._tag, "InvalidRequest")
      assert.strictEqual(error.delivery, "not-sent")
      assert.deepStrictEqual(yield* provider.requests, [])
    })
  )
})

describe("decode", () => {
  it.effect("an answer", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* generate(make, Reply.json(answer, { headers: { "request-id": "req_1" } })), {
        id: "msg_1",
        requestId: "req_1",
        provider: "anthropic",
        model: "claude-haiku-4-5-20251001",
        text: "Let me look.",
        toolCalls: [{ id: "toolu_1", name: "weather", arguments: { city: "Oslo" } }],
        finishReason: "tool-calls",
        usage: { inputTokens: 17, outputTokens: 9, cachedInputTokens: 5, cacheWriteTokens: 2 }
      })
    })
  )

  for (const [reason, expected] of [
    ["end_turn", "stop"],
    ["stop_sequence", "stop"],
    ["max_tokens", "length"],
    ["model_context_window_exceeded", "length"],
    ["pause_turn", "other"],
    ["something_new", "other"]
  ] as const) {
    it.effect(`the stop reason ${reason} is ${expected}`, () =>
      Effect.gen(function* () {
        const ended = { ...answer, content: [{ type: "text", text: "x" }], stop_reason: reason }
        assert.strictEqual((yield* generate(make, Reply.json(ended))).finishReason, expected)
      })
    )
  }

  it.effect("blocks of unknown types are passed over", () =>
    Effect.gen(function* () {
      const more = [
        { type: "server_tool_use", id: "s", name: "web_search", input: {} },
        ...answer.content,
        { type: "new" }
      ]
      assert.strictEqual((yield* generate(make, Reply.json({ ...answer, content: more }))).toolCalls.length, 1)
    })
  )

  const wrong: ReadonlyArray<readonly [unknown, string]> = [
    [{ ...answer, content: undefined }, "content: found nothing, expected an array"],
    [{ ...answer, content: "text" }, "content: found a string, expected an array"],
    [{ ...answer, content: null }, "content: found null, expected an array"],
    [{ ...answer, content: [{ type: "text", text: 1 }] }, "content[0].text: found a number, expected a string"],
    [{ ...answer, content: [{ type: "tool_use", id: "a" }] }, "content[0].name: found nothing, expected a string"]
  ]
  for (const [value, message] of wrong) {
    it.effect(`refuses: ${message}`, () =>
      Effect.gen(function* () {
        assertRefused(yield* Effect.flip(generate(make, Reply.json(value))), message)
      })
    )
  }
})

describe("stream", () => {
  const wrong: ReadonlyArray<readonly [number, unknown, string]> = [
    [
      1,
      { type: "content_block_start", index: 0 },
      "content_block_start.content_block: found nothing, expected an object"
    ],
    [
      6,
      { type: "content_block_start", index: 1, content_block: { type: "tool_use" } },
      "content_block.name: found nothing"
    ],
    [
      3,
      { type: "content_block_delta", index: 0, delta: { type: "text_delta" } },
      "delta.text: found nothing, expected a string"
    ],
    [
      7,
      { type: "content_block_delta", index: 1, delta: { type: "input_json_delta", partial_json: {} } },
      "delta.partial_json: found a"
    ],
    [
      7,
      { type: "content_block_delta", index: 5, delta: { type: "input_json_delta", partial_json: "{}" } },
      "content_block_delta.index: found a number"
    ],
    [3, "{not JSON", "data: found a string, expected JSON"]
  ]
  for (const [at, event, message] of wrong) {
    it.effect(`refuses: ${message}`, () =>
      Effect.gen(function* () {
        assertRefused(yield* Effect.flip(collect(make, streamWith(at, event))), message)
      })
    )
  }

  it.effect("arguments that are no JSON are refused with their text", () =>
    Effect.gen(function* () {
      const delta = {
        type: "content_block_delta",
        index: 1,
        delta: { type: "input_json_delta", partial_json: "{oops" }
      }
      const error = yield* Effect.flip(collect(make, streamWith(7, delta)))
      assert.strictEqual(error._tag, "InvalidResponse")
      assert.include(error.message, 'the arguments of tool call weather are no JSON: {oopsty":"Oslo"}')
    })
  )

  it.effect("needs both the stop reason and message_stop", () =>
    Effect.gen(function* () {
      for (const kept of [stream.slice(0, -1), stream.filter((event) => event.type !== "message_delta")]) {
        const { delivered, error } = yield* events(make, sse(kept))
        assert.strictEqual(error?._tag, "StreamInterrupted")
        assert.strictEqual(textOf(delivered), "Let me look.")
      }
      const empty = yield* events(make, sse([stream[0], { type: "message_stop" }]))
      assertRefused(empty.error, "message_delta.delta.stop_reason")
    })
  )

  it.effect("stops at message_stop: what follows is not read", () =>
    Effect.gen(function* () {
      const more = sse([...stream, { type: "error", error: { type: "api_error", message: "late" } }])
      assert.strictEqual((yield* collect(make, more)).finishReason, "tool-calls")
    })
  )

  it.effect("a tool call that was never stopped is closed by the end of the message", () =>
    Effect.gen(function* () {
      const unstopped = stream.filter((event) => event.type !== "content_block_stop")
      assert.deepStrictEqual((yield* collect(make, sse(unstopped))).toolCalls, [
        { id: "toolu_1", name: "weather", arguments: { city: "Oslo" } }
      ])
    })
  )

  it.effect("an input that comes whole with the start is taken", () =>
    Effect.gen(function* () {
      const whole = stream
        .filter((_, index) => index !== 7 && index !== 8)
        .map((event) =>
          "content_block" in event && event.index === 1
            ? { ...event, content_block: { ...event.content_block, input: { city: "Rome" } } }
            : event
        )
      assert.deepStrictEqual((yield* collect(make, sse(whole))).toolCalls[0]?.arguments, { city: "Rome" })
    })
  )

  it.effect("content that comes with the start of its block is not lost", () =>
    Effect.gen(function* () {
      const early = [
        stream[0],
        { type: "content_block_start", index: 0, content_block: { type: "thinking", thinking: "Hm" } },
        { type: "content_block_delta", index: 0, delta: { type: "thinking_delta", thinking: "." } },
        { type: "content_block_start", index: 1, content_block: { type: "text", text: "Ye" } },
        { type: "content_block_delta", index: 1, delta: { type: "text_delta", text: "s" } },
        ...stream.slice(-2)
      ]
      const { reasoning, text } = yield* collect(make, sse(early))
      assert.deepStrictEqual({ reasoning, text }, { reasoning: "Hm.", text: "Yes" })
    })
  )

  it.effect("an error event that comes first is the answer of the call", () =>
    Effect.gen(function* () {
      const first = { type: "error", error: { type: "overloaded_error", message: "Overloaded", details: null } }
      assert.strictEqual((yield* Effect.flip(collect(make, sse([first]))))._tag, "Overloaded")
    })
  )
})

describe("thoughts", () => {
  const loop = (first: Chat.Response): Chat.Request => ({
    messages: [Chat.user("Weather?"), Chat.reply(first), Chat.toolResult("toolu_t", "rain")],
    reasoning: { budgetTokens: 1024 }
  })
  const thinking = { type: "thinking", thinking: "Hm, weather.", signature: "c2ln" }
  const redacted = { type: "redacted_thinking", data: "c2VjcmV0" }
  const call = { type: "tool_use", id: "toolu_t", name: "weather", input: {} }
  const whole = Reply.json({ ...answer, content: [thinking, redacted, call] })
  const streamed = sse([
    stream[0],
    { type: "content_block_start", index: 0, content_block: { type: "thinking", thinking: "", signature: "" } },
    { type: "content_block_delta", index: 0, delta: { type: "thinking_delta", thinking: "Hm, " } },
    { type: "content_block_delta", index: 0, delta: { type: "thinking_delta", thinking: "weather." } },
    { type: "content_block_delta", index: 0, delta: { type: "signature_delta", signature: "c2ln" } },
    { type: "content_block_stop", index: 0 },
    { type: "content_block_start", index: 1, content_block: redacted },
    { type: "content_block_stop", index: 1 },
    { type: "content_block_start", index: 2, content_block: call },
    { type: "content_block_stop", index: 2 },
    ...stream.slice(-2)
  ])

  for (const [name, step] of [
    ["whole", whole],
    ["streamed", streamed]
  ] as const) {
    it.effect(`go back, signed, with the tool calls that they led to: ${name}`, () =>
      Effect.gen(function* () {
        const { model, provider } = yield* peer(make, { script: [step, Reply.text("Rain.")] })
        const first = yield* name === "whole"
          ? model.generate(Chat.prompt("Weather?"))
          : ChatStream.collect(model.stream(Chat.prompt("Weather?")))
        assert.strictEqual(first.reasoning, "Hm, weather.")
        yield* model.generate(loop(first))
        const [, second] = yield* provider.requests
        assert.deepStrictEqual(at(second?.body, "messages", 1, "content"), [thinking, redacted, call])
      })
    )
  }

  it.effect("that are not signed are not sent", () =>
    Effect.gen(function* () {
      const unsigned = yield* generate(make, Reply.json({ ...answer, content: [{ ...thinking, signature: "" }, call] }))
      assert.deepStrictEqual(at(yield* body(make, loop(unsigned)), "messages", 1, "content"), [call])
    })
  )
})

describe("limits", () => {
  it.effect("are in the record of the attempt", () =>
    Effect.gen(function* () {
      const headers = {
        "anthropic-ratelimit-requests-limit": "50",
        "anthropic-ratelimit-requests-remaining": "49",
        "anthropic-ratelimit-requests-reset": "1970-01-01T00:00:02Z",
        "anthropic-ratelimit-input-tokens-limit": "40000",
        "anthropic-ratelimit-input-tokens-remaining": "39000",
        "anthropic-ratelimit-output-tokens-remaining": "nonsense",
        "anthropic-ratelimit-tokens-remaining": "0"
      }
      const { records } = yield* recorded(generate(make, Reply.text("hi", { headers })))
      const none = { limit: undefined, remaining: undefined, resetMillis: undefined, windowMillis: undefined }
      assert.deepStrictEqual(records[0]?.attempts[0]?.limits, {
        requests: { limit: 50, remaining: 49, resetMillis: 2000, windowMillis: 60_000 },
        tokens: { ...none, remaining: 0 },
        inputTokens: { ...none, limit: 40000, remaining: 39000, windowMillis: 60_000 },
        outputTokens: none
      })
    })
  )

  it.effect("of a refused attempt, too; and none where no header tells", () =>
    Effect.gen(function* () {
      const limited = yield* recorded(generate(make, Fault.rateLimited({ retryAfter: "5 seconds", form: "reset" })))
      assert.strictEqual(limited.records[0]?.attempts[0]?.limits?.requests?.remaining, 0)
      const silent = yield* recorded(generate(make, Reply.text("hi")))
      assert.isUndefined(silent.records[0]?.attempts[0]?.limits)
    })
  )
})

describe("constructors", () => {
  it.effect("headers, beta, baseUrl and provider", () =>
    Effect.gen(function* () {
      const proxied = Anthropic.make({
        model: "m",
        provider: "minimax",
        baseUrl: "https://proxy.example/anthropic/v1/",
        beta: ["a-2025", "b-2026"],
        headers: { "x-team": "red" }
      })
      const request = yield* sent(proxied, Chat.prompt("hi", { providerOptions: { minimax: { extra: 1 } } }))
      assert.strictEqual(request.url, "/anthropic/v1/messages")
      assert.strictEqual(request.headers["anthropic-beta"], "a-2025,b-2026")
      assert.strictEqual(request.headers["x-team"], "red")
      assert.isUndefined(request.headers["x-api-key"])
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
      const plain = Anthropic.layer({ model: "m", apiKey: Redacted.make("k") })
      assert.strictEqual((yield* Effect.provide(ask, Layer.provideMerge(plain, http)))?.key, "k")
      const configured = Anthropic.layerConfig({
        model: Config.string("MODEL"),
        apiKey: Config.redacted("KEY"),
        maxTokens: Config.integer("MAX")
      })
      const request = yield* ask.pipe(
        Effect.provide(Layer.provideMerge(configured, http)),
        Effect.withConfigProvider(
          ConfigProvider.fromMap(
            new Map([
              ["MODEL", "m2"],
              ["KEY", "k2"],
              ["MAX", "77"]
            ])
          )
        )
      )
      assert.strictEqual(request?.key, "k2")
      assert.strictEqual(request?.model, "m2")
      assert.strictEqual(at(request?.body, "max_tokens"), 77)
    })
  )

  it.effect("a key that is not configured, or a base URL that is none, is a ConfigError", () =>
    Effect.gen(function* () {
      const { client } = yield* FaultyProvider.make()
      const failing = (options: Anthropic.Options) =>
        Anthropic.make(options).pipe(
          Effect.provideService(HttpClient.HttpClient, client),
          Effect.withConfigProvider(ConfigProvider.fromMap(new Map())),
          Effect.flip
        )
      assert.strictEqual((yield* failing({ model: "m", apiKey: Config.redacted("NO_KEY") }))._op, "MissingData")
      assert.strictEqual((yield* failing({ model: "m", baseUrl: "nowhere" }))._op, "InvalidData")
    })
  )
})
