import { Headers, HttpClient, HttpClientError, HttpClientRequest, HttpClientResponse } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted, Stream } from "effect"
import {
  Anthropic,
  Chat,
  ChatModel,
  ChatStream,
  Gemini,
  LlmError,
  OpenAi,
  OpenAiResponses,
  Resilient,
  RetryPolicy,
  Spend
} from "effect-steadfast"
import { Reply } from "effect-steadfast/testing"
import { collect, generate, peer, secret, sse } from "./support.js"

const apiKey = Redacted.make(secret)
const makes = {
  chat: OpenAi.make({ model: "gpt-4o", apiKey }),
  responses: OpenAiResponses.make({ model: "gpt-4o", apiKey }),
  anthropic: Anthropic.make({ model: "claude-haiku-4-5", apiKey }),
  gemini: Gemini.make({ model: "gemini-2.5-flash", apiKey })
}

describe("a request that cannot be written", () => {
  const circular: Record<string, unknown> = {}
  circular.self = circular
  let deep: unknown = 1
  for (let i = 0; i < 100_000; i++) deep = [deep]
  const requests: Record<string, Chat.Request> = {
    "a circular schema": Chat.prompt("hi", { tools: [{ name: "f", parameters: circular }] }),
    "a number that JSON has not": Chat.prompt("hi", { tools: [{ name: "f", parameters: { n: 1n } }] }),
    "arguments nested without end": {
      messages: [Chat.user("hi"), Chat.assistant("", [{ id: "a", name: "f", arguments: { deep } }]), Chat.user("?")]
    }
  }
  for (const [wire, make] of Object.entries(makes)) {
    for (const [name, request] of Object.entries(requests)) {
      it.effect(`is an InvalidRequest: ${wire}, ${name}`, () =>
        Effect.gen(function* () {
          const { model, provider } = yield* peer(make)
          const held = yield* Resilient.make([model, model])
          const asks = [model, held].flatMap((model) => [
            model.generate(request),
            ChatStream.collect(model.stream(request)),
            Spend.within(model.generate(request), { tokens: 10_000 }),
            Spend.within(ChatStream.collect(model.stream(request)), { tokens: 10_000 }, { strict: true })
          ])
          for (const ask of asks) {
            const error = yield* Effect.flip(ask)
            assert.strictEqual(error._tag, "InvalidRequest")
            assert.strictEqual(error.delivery, "not-sent")
            assert.notInclude(error.message, secret)
          }
          assert.lengthOf(yield* provider.requests, 0)
        })
      )
    }
  }
})

describe("a client that throws", () => {
  it.effect("has failed: retry and fallback are reached", () =>
    Effect.gen(function* () {
      let calls = 0
      const broken = HttpClient.make(() => {
        calls++
        throw new Error("no adapter")
      })
      const dying = HttpClient.make((request) =>
        calls++ < 0
          ? Effect.fail(new HttpClientError.RequestError({ request, reason: "Transport" }))
          : Effect.die(new Error("no adapter"))
      )
      const { model: other } = yield* peer(makes.anthropic, { script: [Reply.text("from the other")] })
      for (const client of [broken, dying, HttpClient.mapRequest(broken, HttpClientRequest.setHeader("x", "y"))]) {
        calls = 0
        const model = yield* Effect.orDie(Effect.provideService(makes.chat, HttpClient.HttpClient, client))
        const error = yield* Effect.flip(model.generate(Chat.prompt("hi")))
        assert.isTrue(LlmError.isLlmError(error), error._tag)
        const resilient = model.pipe(ChatModel.retry(RetryPolicy.none), ChatModel.orElse(other))
        assert.strictEqual((yield* resilient.generate(Chat.prompt("hi"))).text, "from the other")
        assert.strictEqual((yield* ChatStream.collect(resilient.stream(Chat.prompt("hi")))).text, "from the other")
        assert.isAtLeast(calls, 2)
      }
    })
  )
})

describe("a body that throws", () => {
  it.effect("has failed, read whole or in pieces", () =>
    Effect.gen(function* () {
      const client = HttpClient.make((request) =>
        Effect.succeed({
          ...HttpClientResponse.fromWeb(request, new Response("")),
          request,
          status: 200,
          headers: Headers.empty,
          stream: Stream.dieMessage("no body")
        })
      )
      const model = yield* Effect.provideService(makes.chat, HttpClient.HttpClient, client)
      const whole = yield* Effect.flip(model.generate(Chat.prompt("hi")))
      const pieces = yield* Effect.flip(ChatStream.collect(model.stream(Chat.prompt("hi"))))
      assert.deepStrictEqual([whole._tag, pieces._tag], ["ConnectionError", "StreamInterrupted"])
    })
  )
})

describe("arguments that are nested too deep", () => {
  it.effect("are no tool call, so that the next turn can be written", () =>
    Effect.gen(function* () {
      const args = `${'{"a":'.repeat(5000)}1${"}".repeat(5000)}`
      const body = {
        choices: [
          {
            message: { tool_calls: [{ id: "a", function: { name: "f", arguments: args } }] },
            finish_reason: "tool_calls"
          }
        ]
      }
      const error = yield* Effect.flip(generate(makes.chat, Reply.json(body)))
      assert.strictEqual(error._tag, "InvalidResponse")
      const streamed = sse([
        { choices: [{ delta: { tool_calls: [{ index: 0, id: "a", function: { name: "f", arguments: args } }] } }] },
        { choices: [{ delta: {}, finish_reason: "tool_calls" }] },
        "[DONE]"
      ])
      assert.strictEqual((yield* Effect.flip(collect(makes.chat, streamed)))._tag, "InvalidResponse")
    })
  )
})

describe("an answer that is too large", () => {
  const small = OpenAi.make({ model: "gpt-4o", apiKey, maxAnswerBytes: 10_000 })
  const big = "x".repeat(20_000)
  const chunk = (delta: object) => ({ choices: [{ index: 0, delta }] })
  const many = (delta: object) => Array.from({ length: 300 }, () => chunk(delta))
  const piece = "y".repeat(100)
  const cases = {
    "a whole body": () =>
      generate(small, Reply.json({ choices: [{ message: { content: big }, finish_reason: "stop" }] })),
    "one event": () => collect(small, sse([chunk({ content: big })])),
    "a line without an end": () =>
      collect(small, Reply.raw(`data: ${big}`, { headers: { "content-type": "text/event-stream" } })),
    text: () => collect(small, sse(many({ content: piece }))),
    reasoning: () => collect(small, sse(many({ reasoning_content: piece }))),
    arguments: () =>
      collect(small, sse(many({ tool_calls: [{ index: 0, id: "a", function: { name: "f", arguments: piece } }] }))),
    calls: () =>
      collect(
        small,
        sse(
          Array.from({ length: 300 }, (_, index) =>
            chunk({ tool_calls: [{ index, id: `call-${index}-${piece}`, function: { name: "f", arguments: "" } }] })
          )
        )
      ),
    "a refusal": () => collect(small, sse(many({ refusal: piece }))),
    details: () => collect(small, sse(many({ reasoning_details: [{ type: "reasoning.encrypted", data: piece }] })))
  }
  for (const [name, ask] of Object.entries(cases)) {
    it.effect(`is an InvalidResponse that nobody repeats: ${name}`, () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(ask())
        assert.strictEqual(error._tag, "InvalidResponse", error.message)
        assert.isFalse(LlmError.isRetryable(error))
        assert.isFalse(error.fallbackable)
        assert.include(error.message, "too large")
      })
    )
  }

  it.effect("keeps the class of its status if it is the body of an error", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(generate(small, Reply.raw(`{"error":{"message":"${big}`, { status: 503 })))
      assert.strictEqual(error._tag, "Overloaded")
    })
  )
})
