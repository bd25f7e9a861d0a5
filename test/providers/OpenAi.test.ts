import { HttpClient } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Config, ConfigProvider, Effect, Layer, Redacted } from "effect"
import { Chat, ChatModel, LlmError, OpenAi } from "effect-steadfast"
import { FaultyProvider, Reply } from "effect-steadfast/testing"
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

const make = OpenAi.make({ model: "gpt-4o-mini", apiKey: Redacted.make(secret) })

const base = { id: "chatcmpl-1", model: "gpt-4o-mini-2024-07-18", created: 1 }
const usage = {
  prompt_tokens: 10,
  completion_tokens: 9,
  prompt_tokens_details: { cached_tokens: 5 },
  completion_tokens_details: { reasoning_tokens: 3 }
}
const toolCall = { id: "call_1", type: "function", function: { name: "weather", arguments: '{"city":"Oslo"}' } }

const answer = {
  ...base,
  object: "chat.completion",
  choices: [
    {
      index: 0,
      message: { role: "assistant", content: "Let me look.", tool_calls: [toolCall] },
      finish_reason: "tool_calls"
    }
  ],
  usage
}

const chunk = (delta: object, finish_reason: string | null = null) => ({
  ...base,
  object: "chat.completion.chunk",
  choices: [{ index: 0, delta, finish_reason }],
  usage: null
})

const stream = [
  chunk({ role: "assistant", content: "" }),
  chunk({ content: "Let me " }),
  chunk({ content: "look." }),
  chunk({ tool_calls: [{ index: 0, id: "call_1", type: "function", function: { name: "weather", arguments: "" } }] }),
  chunk({ tool_calls: [{ index: 0, function: { arguments: '{"ci' } }] }),
  chunk({ tool_calls: [{ index: 0, function: { arguments: 'ty":"Oslo"}' } }] }),
  chunk({}, "tool_calls"),
  { ...base, object: "chat.completion.chunk", choices: [], usage },
  "[DONE]"
]

const streamWith = (index: number, event: unknown) => sse(stream.map((original, i) => (i === index ? event : original)))

laws({
  make,
  answer,
  events: stream,
  unknownEvent: (content) => ({ id: "", model: "", object: "chat.completion.hint", choices: [], hint: content }),
  keyHeader: "authorization",
  requestId: "x-request-id"
})

/** An object without fields, by the rules of strict schemas. */
const empty = { type: "object", properties: {}, required: [], additionalProperties: false }

describe("encode", () => {
  it.effect("the shortest request, whole and streamed", () =>
    Effect.gen(function* () {
      const request = yield* sent(make, Chat.prompt("hi"))
      assert.strictEqual(request.url, "/v1/chat/completions")
      assert.strictEqual(request.headers.authorization, `Bearer ${secret}`)
      const expected = { model: "gpt-4o-mini", messages: [{ role: "user", content: "hi" }] }
      assert.deepStrictEqual(request.body, expected)
      assert.deepStrictEqual(yield* body(make, Chat.prompt("hi"), true), {
        ...expected,
        stream: true,
        stream_options: { include_usage: true }
      })
    })
  )

  it.effect("every setting", () =>
    Effect.gen(function* () {
      const request = yield* body(
        make,
        Chat.request({
          messages: [Chat.system("Be short."), Chat.user("hi")],
          temperature: 0.5,
          topP: 0.9,
          maxTokens: 100,
          stop: ["END"],
          seed: 7,
          metadata: { user_id: "u-1" },
          tools: [
            { name: "weather", description: "of a city", parameters: empty, strict: true },
            { name: "clock", parameters: { type: "object" } }
          ],
          toolChoice: { name: "clock" },
          responseFormat: { type: "json-schema", name: "city", schema: { type: "object" }, strict: false },
          providerOptions: { openai: { reasoning_effort: "low", top_p: 0.1, store: true }, anthropic: { top_k: 1 } }
        })
      )
      assert.deepStrictEqual(request, {
        model: "gpt-4o-mini",
        messages: [
          { role: "system", content: "Be short." },
          { role: "user", content: "hi" }
        ],
        temperature: 0.5,
        top_p: 0.1,
        max_completion_tokens: 100,
        stop: ["END"],
        seed: 7,
        metadata: { user_id: "u-1" },
        response_format: {
          type: "json_schema",
          json_schema: { name: "city", schema: { type: "object" }, strict: false }
        },
        tools: [
          {
            type: "function",
            function: { name: "weather", description: "of a city", parameters: empty, strict: true }
          },
          { type: "function", function: { name: "clock", parameters: { type: "object" } } }
        ],
        tool_choice: { type: "function", function: { name: "clock" } },
        reasoning_effort: "low",
        store: true
      })
    })
  )

  it.effect("a conversation with tools and images", () =>
    Effect.gen(function* () {
      const { messages } = yield* body(make, {
        messages: [
          Chat.user([
            { type: "text", text: "What is this?" },
            { type: "image", data: "QUJD", mediaType: "image/png" },
            { type: "image", url: "https://example.com/a.png" }
          ]),
          Chat.assistant("", [{ id: "a", name: "look", arguments: { deep: [1] } }]),
          Chat.toolResult("a", "a cat"),
          Chat.assistant("A cat.")
        ]
      })
      assert.deepStrictEqual(messages, [
        {
          role: "user",
          content: [
            { type: "text", text: "What is this?" },
            { type: "image_url", image_url: { url: "data:image/png;base64,QUJD" } },
            { type: "image_url", image_url: { url: "https://example.com/a.png" } }
          ]
        },
        {
          role: "assistant",
          content: null,
          tool_calls: [{ id: "a", type: "function", function: { name: "look", arguments: '{"deep":[1]}' } }]
        },
        { role: "tool", tool_call_id: "a", content: "a cat" },
        { role: "assistant", content: "A cat." }
      ])
    })
  )

  it.effect("JSON without a schema; tool choices by word", () =>
    Effect.gen(function* () {
      const json = yield* body(make, Chat.prompt("hi", { responseFormat: { type: "json" } }))
      assert.deepStrictEqual(json.response_format, { type: "json_object" })
      for (const toolChoice of ["auto", "none", "required"] as const) {
        const tools = [{ name: "look", parameters: { type: "object" } }]
        assert.strictEqual((yield* body(make, Chat.prompt("hi", { toolChoice, tools }))).tool_choice, toolChoice)
      }
    })
  )
})

describe("dialects", () => {
  const facts: ReadonlyArray<readonly [provider: string, url: string, tokens: string, seed: string, usage: boolean]> = [
    ["openai", "https://api.openai.com/v1", "max_completion_tokens", "seed", true],
    ["groq", "https://api.groq.com/openai/v1", "max_completion_tokens", "seed", true],
    ["mistral", "https://api.mistral.ai/v1", "max_tokens", "random_seed", false],
    ["deepseek", "https://api.deepseek.com/v1", "max_tokens", "seed", true],
    ["together", "https://api.together.xyz/v1", "max_tokens", "seed", true],
    ["fireworks", "https://api.fireworks.ai/inference/v1", "max_tokens", "seed", false],
    ["openrouter", "https://openrouter.ai/api/v1", "max_tokens", "seed", true],
    ["xai", "https://api.x.ai/v1", "max_tokens", "seed", true],
    ["cerebras", "https://api.cerebras.ai/v1", "max_completion_tokens", "seed", true],
    ["moonshot", "https://api.moonshot.ai/v1", "max_tokens", "seed", true],
    ["zai", "https://api.z.ai/api/paas/v4", "max_tokens", "seed", true],
    ["vllm", "http://localhost:8000/v1", "max_tokens", "seed", true],
    ["ollama", "http://localhost:11434/v1", "max_tokens", "seed", true]
  ]
  for (const [provider, url, tokens, seed, streamUsage] of facts) {
    it.effect(provider, () =>
      Effect.gen(function* () {
        const seen: Array<string> = []
        const { client, requests } = yield* FaultyProvider.make()
        const spying = HttpClient.mapRequest(client, (request) => {
          seen.push(request.url)
          return request
        })
        const model = yield* Effect.provideService(OpenAi.make({ provider, model: "m" }), HttpClient.HttpClient, spying)
        const answered = yield* model.generate(
          Chat.prompt("hi", { maxTokens: 5, seed: 7, providerOptions: { [provider]: { extra: 1 } } })
        )
        assert.strictEqual(answered.provider, provider)
        assert.deepStrictEqual(seen, [`${url}/chat/completions`])
        const [recorded] = yield* requests
        assert.isUndefined(recorded?.headers.authorization)
        assert.deepStrictEqual(recorded?.body, {
          model: "m",
          messages: [{ role: "user", content: "hi" }],
          [tokens]: 5,
          [seed]: 7,
          extra: 1
        })
        const streamed = yield* body(OpenAi.make({ provider, model: "m" }), Chat.prompt("hi"), true)
        assert.deepStrictEqual(streamed.stream_options, streamUsage ? { include_usage: true } : undefined)
      })
    )
  }

  it("are all tested here", () => {
    assert.deepStrictEqual(
      [...OpenAi.dialects.keys()].filter((name) => name !== "azure-openai"),
      facts.map(([provider]) => provider)
    )
  })

  it.effect("azure has its own URL and header", () =>
    Effect.gen(function* () {
      const azure = OpenAi.azure({
        endpoint: "https://my.openai.azure.com/",
        deployment: "my gpt",
        apiKey: Redacted.make(secret)
      })
      const request = yield* sent(azure, Chat.prompt("hi", { maxTokens: 5 }))
      assert.strictEqual(request.url, "/openai/deployments/my%20gpt/chat/completions?api-version=2024-10-21")
      assert.strictEqual(request.headers["api-key"], secret)
      assert.isUndefined(request.headers.authorization)
      assert.strictEqual(at(request.body, "max_completion_tokens"), 5)
      assert.strictEqual((yield* generate(azure, Reply.text("hi"))).provider, "azure-openai")
    })
  )
})

describe("decode", () => {
  it.effect("an answer", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* generate(make, Reply.json(answer, { headers: { "x-request-id": "req_1" } })), {
        id: "chatcmpl-1",
        requestId: "req_1",
        provider: "openai",
        model: "gpt-4o-mini-2024-07-18",
        text: "Let me look.",
        toolCalls: [{ id: "call_1", name: "weather", arguments: { city: "Oslo" } }],
        finishReason: "tool-calls",
        usage: { inputTokens: 10, outputTokens: 9, cachedInputTokens: 5, reasoningTokens: 3 }
      })
    })
  )

  const message = (content: object) => ({ ...answer, choices: [{ message: content, finish_reason: "stop" }] })

  it.effect("other servers: parts of text, other names for thoughts, arguments that are parsed", () =>
    Effect.gen(function* () {
      const parts = [{ type: "thinking" }, { type: "text", text: "a" }, { type: "text", text: "b" }]
      assert.strictEqual((yield* generate(make, Reply.json(message({ content: parts })))).text, "ab")
      const thoughts = message({ content: "x", reasoning: "hm" })
      assert.strictEqual((yield* generate(make, Reply.json(thoughts))).reasoning, "hm")
      const parsed = message({ content: null, tool_calls: [{ function: { name: "f", arguments: { a: 1 } } }] })
      assert.deepStrictEqual((yield* generate(make, Reply.json(parsed))).toolCalls, [
        { id: "call_chatcmpl-1_0", name: "f", arguments: { a: 1 } }
      ])
      const hit = { ...answer, usage: { prompt_tokens: 3, completion_tokens: 1, prompt_cache_hit_tokens: 2 } }
      assert.strictEqual((yield* generate(make, Reply.json(hit))).usage?.cachedInputTokens, 2)
    })
  )

  const wrong: ReadonlyArray<readonly [unknown, string]> = [
    [{ ...answer, choices: undefined }, "choices[0].message: found nothing, expected an object"],
    [{ ...answer, choices: "x" }, "choices[0].message: found nothing, expected an object"],
    [{ ...answer, choices: [{ text: "x" }] }, "choices[0].message: found nothing, expected an object"],
    [{ ...answer, choices: [{ message: "x", text: "x" }] }, "choices[0].message: found a string, expected an object"],
    [
      message({ content: "x", tool_calls: [{ id: "a", function: {} }] }),
      "tool_calls[0].function.name: found nothing, expected a string"
    ]
  ]
  for (const [value, text] of wrong) {
    it.effect(`refuses: ${text} (${JSON.stringify(at(value, "choices"))})`, () =>
      Effect.gen(function* () {
        assertRefused(yield* Effect.flip(generate(make, Reply.json(value))), text)
      })
    )
  }

  it.effect("refuses arguments that are no JSON, whole and streamed", () =>
    Effect.gen(function* () {
      const reply = Reply.toolCall({ name: "weather", arguments: '{"city": Oslo}' })
      for (const ask of [generate, collect]) {
        const error = yield* Effect.flip(ask(make, reply))
        assert.strictEqual(error._tag, "InvalidResponse")
        assert.strictEqual(error.message, 'the arguments of tool call weather are no JSON: {"city": Oslo}')
        // The model's mistake closes no circuit.
        assert.strictEqual(LlmError.healthOf(error), "ignored")
      }
    })
  )
})

describe("stream", () => {
  it.effect("refuses events that are no JSON, and tools without a name", () =>
    Effect.gen(function* () {
      assertRefused(
        yield* Effect.flip(collect(make, streamWith(2, "{not JSON"))),
        "data: found a string, expected JSON"
      )
      const nameless = chunk({ tool_calls: [{ index: 0, id: "call_1", function: { arguments: "" } }] })
      assertRefused(yield* Effect.flip(collect(make, streamWith(3, nameless))), "tool_calls[0].function.name")
    })
  )

  it.effect("a finish reason is the end, also without [DONE]; [DONE] alone is none", () =>
    Effect.gen(function* () {
      assert.strictEqual((yield* collect(make, sse(stream.slice(0, -1)))).finishReason, "tool-calls")
      const done = yield* events(make, sse([...stream.slice(0, 3), "[DONE]"]))
      assert.strictEqual(done.error?._tag, "StreamInterrupted")
      assert.strictEqual(textOf(done.delivered), "Let me look.")
      assertRefused((yield* events(make, sse(["[DONE]"]))).error, "choices[0].finish_reason")
    })
  )

  it.effect("usage in the last chunk, in a chunk of its own, and where Groq puts it", () =>
    Effect.gen(function* () {
      const text = chunk({ content: "x" })
      for (const last of [
        [{ ...chunk({}, "stop"), usage }],
        [chunk({}, "stop"), { ...base, choices: [], usage }],
        [{ ...chunk({}, "stop"), usage: undefined, x_groq: { usage } }]
      ]) {
        assert.strictEqual((yield* collect(make, sse([text, ...last, "[DONE]"]))).usage?.outputTokens, 9)
      }
    })
  )
})

describe("limits", () => {
  it.effect("are in the record of the attempt, resets in the units of the provider", () =>
    Effect.gen(function* () {
      const headers = {
        "x-ratelimit-limit-requests": "500",
        "x-ratelimit-remaining-requests": "499",
        "x-ratelimit-reset-requests": "120ms",
        "x-ratelimit-limit-tokens": "30000",
        "x-ratelimit-remaining-tokens": "29000",
        "x-ratelimit-reset-tokens": "1m2s"
      }
      const { records } = yield* recorded(generate(make, Reply.text("hi", { headers })))
      assert.deepStrictEqual(records[0]?.attempts[0]?.limits, {
        requests: { limit: 500, remaining: 499, resetMillis: 120, windowMillis: 60_000 },
        tokens: { limit: 30000, remaining: 29000, resetMillis: 62_000, windowMillis: 60_000 }
      })
      const groq = yield* recorded(
        generate(OpenAi.make({ provider: "groq", model: "m" }), Reply.text("hi", { headers }))
      )
      assert.strictEqual(groq.records[0]?.attempts[0]?.limits?.requests?.windowMillis, 24 * 3_600_000)
      assert.strictEqual(groq.records[0]?.attempts[0]?.limits?.tokens?.windowMillis, 60_000)
      const others = [
        ["cerebras", "-requests-day", "-tokens-minute", "33011.382", 86_400_000, 33_011_382],
        ["mistral", "-req-minute", "-tokens-minute", undefined, 60_000, undefined],
        ["together", "", undefined, "1", 1000, 1000],
        ["fireworks", "-requests", "-tokens", undefined, undefined, undefined]
      ] as const
      for (const [provider, requests, tokens, reset, windowMillis, resetMillis] of others) {
        const told = Object.fromEntries(
          [requests, tokens].flatMap((ending) =>
            ending === undefined
              ? []
              : [
                  [`x-ratelimit-limit${ending}`, "60"],
                  [`x-ratelimit-remaining${ending}`, "59"],
                  ...(reset === undefined ? [] : [[`x-ratelimit-reset${ending}`, reset]])
                ]
          )
        )
        const asked = generate(
          OpenAi.make({ provider, model: "m", baseUrl: "https://api.test/v1" }),
          Reply.text("hi", { headers: told })
        )
        const limits = (yield* recorded(asked)).records[0]?.attempts[0]?.limits
        assert.deepStrictEqual(limits?.requests, { limit: 60, remaining: 59, resetMillis, windowMillis }, provider)
        assert.strictEqual(limits?.tokens?.limit, tokens === undefined ? undefined : 60, provider)
      }
      const silent = yield* recorded(generate(make, Reply.text("hi")))
      assert.isUndefined(silent.records[0]?.attempts[0]?.limits)
    })
  )
})

describe("constructors", () => {
  it.effect("trace headers are sent only where asked for", () =>
    Effect.gen(function* () {
      const traced = OpenAi.make({ model: "m", traceHeaders: true })
      assert.isString((yield* sent(traced, Chat.prompt("hi"))).headers.traceparent)
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
      const plain = OpenAi.layer({ model: "m", apiKey: Redacted.make("k") })
      assert.strictEqual((yield* Effect.provide(ask, Layer.provideMerge(plain, http)))?.key, "k")
      const configured = OpenAi.layerConfig({ model: Config.string("MODEL"), apiKey: Config.redacted("KEY") })
      const request = yield* ask.pipe(
        Effect.provide(Layer.provideMerge(configured, http)),
        Effect.withConfigProvider(ConfigProvider.fromMap(new Map(Object.entries({ MODEL: "m2", KEY: "k2" }))))
      )
      assert.strictEqual(request?.key, "k2")
      assert.strictEqual(request?.model, "m2")
    })
  )

  it.effect("an unknown provider needs a base URL, and a Config its key", () =>
    Effect.gen(function* () {
      const { model } = yield* peer(OpenAi.make({ model: "m", provider: "mine", baseUrl: "http://localhost:1/v1" }))
      assert.strictEqual((yield* model.generate(Chat.prompt("hi"))).provider, "mine")
      const { client } = yield* FaultyProvider.make()
      const failing = (options: OpenAi.Options) =>
        OpenAi.make(options).pipe(
          Effect.provideService(HttpClient.HttpClient, client),
          Effect.withConfigProvider(ConfigProvider.fromMap(new Map())),
          Effect.flip
        )
      assert.strictEqual((yield* failing({ model: "m", provider: "mine" }))._op, "MissingData")
      assert.strictEqual((yield* failing({ model: "m", baseUrl: "nowhere" }))._op, "InvalidData")
      assert.strictEqual((yield* failing({ model: "m", apiKey: Config.redacted("NO_KEY") }))._op, "MissingData")
    })
  )
})
