import { assert, describe, it } from "@effect/vitest"
import { SpanKind, SpanStatusCode } from "@opentelemetry/api"
import { Effect, Fiber, Layer, Stream, TestClock } from "effect"
import { Attempt, Call, Chat, ChatModel, LlmError, Prices, RetryPolicy } from "effect-steadfast"
import { Fault, Reply } from "effect-steadfast/testing"
import * as CallSpan from "../../src/calls/CallSpan.js"
import { collectLogs, only, scripted } from "../support/evidence.js"
import { collectSpans } from "../support/spans.js"
import { drawing, under } from "../support/time.js"

const hello = Chat.prompt("Hello")

const traced = (program: Effect.Effect<unknown, unknown>) =>
  Effect.gen(function* () {
    const collected = collectSpans()
    const { exit } = yield* under(
      drawing(1)(program).pipe(Effect.provide(collected.layer), Effect.provide(collectLogs().layer))
    )
    return { ...collected, exit }
  })

describe("spans", () => {
  it.effect("one for the call and one for its attempt, and none of the HTTP client", () =>
    Effect.gen(function* () {
      const { model } = yield* scripted({
        script: [Reply.text("one two", { model: "gpt-4o-mini-2024", headers: { "x-request-id": "r-1" } })]
      })
      const { named, spans } = yield* traced(model.generate(hello))
      assert.deepStrictEqual(
        spans().map((span) => span.name),
        ["attempt", "chat gpt-4o-mini"]
      )
      const call = only(named("chat gpt-4o-mini"))
      const attempt = only(named("attempt"))
      assert.strictEqual(attempt.parentSpanContext?.spanId, call.spanContext().spanId)
      assert.isUndefined(call.parentSpanContext)
      assert.deepStrictEqual([call.kind, attempt.kind], [SpanKind.CLIENT, SpanKind.CLIENT])
      assert.deepInclude(attempt.attributes, {
        "steadfast.attempt.index": 1,
        "steadfast.attempt.target": "openai/gpt-4o-mini",
        "steadfast.attempt.request_id": "r-1",
        "steadfast.attempt.input_tokens": 1,
        "steadfast.attempt.output_tokens": 2,
        "http.response.status_code": 200
      })
      assert.deepInclude(call.attributes, {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o-mini",
        "gen_ai.response.model": "gpt-4o-mini-2024",
        // Effect's tracer over the SDK writes a list as text; over OTLP it is a list.
        "gen_ai.response.finish_reasons": '[\n  "stop"\n]',
        "gen_ai.usage.input_tokens": 1,
        "gen_ai.usage.output_tokens": 2,
        "steadfast.target": "openai/gpt-4o-mini",
        "steadfast.attempts": 1
      })
      // What a backend adds up stands on one span only.
      assert.deepStrictEqual(
        Object.keys(attempt.attributes).filter((name) => /^(?:gen_ai|llm)\./.test(name)),
        []
      )
      assert.notProperty(call.attributes, "gen_ai.system")
      assert.notProperty(call.attributes, "llm.token_count.prompt")
      assert.strictEqual(call.status.code, SpanStatusCode.OK)
      assert.strictEqual(attempt.status.code, SpanStatusCode.OK)
      for (const key of [
        "steadfast.retry.delay_ms",
        "steadfast.retry.reason",
        "steadfast.fallback.from",
        "error.type"
      ]) {
        assert.notProperty(attempt.attributes, key)
      }
    })
  )

  it.effect("tell what was read from the provider's cache and written to it, where that is known", () =>
    Effect.gen(function* () {
      const usage = {
        inputTokens: 9,
        outputTokens: 1,
        cachedInputTokens: 4,
        cacheWriteTokens: 3,
        cacheWriteHourTokens: 1
      }
      const answer = Attempt.run({ provider: "custom", model: "m-1" }, (attempt) => {
        attempt.note({ usage })
        return Effect.succeed("hi")
      })
      for (const legacy of [false, true]) {
        const { named } = yield* traced(Effect.provideService(Call.make("ask")(answer), CallSpan.LegacyNames, legacy))
        const { attributes } = only(named("ask"))
        assert.deepInclude(attributes, {
          "gen_ai.usage.input_tokens": 9,
          "gen_ai.usage.cache_read.input_tokens": 4,
          "gen_ai.usage.cache_write.input_tokens": 3
        })
        const old = {
          "gen_ai.system": "custom",
          "llm.token_count.prompt": 9,
          "llm.token_count.completion": 1,
          "llm.token_count.prompt_details.cache_read": 4,
          "llm.token_count.prompt_details.cache_write": 3
        }
        if (legacy) assert.deepInclude(attributes, old)
        else for (const name in old) assert.notProperty(attributes, name)
        assert.isEmpty(Object.keys(only(named("attempt")).attributes).filter((name) => /^(?:gen_ai|llm)\./.test(name)))
      }
    })
  )

  it.effect("count every token once, those of lost attempts too, and name the end, the wait and the cost", () =>
    Effect.gen(function* () {
      let round = 0
      const error = new LlmError.InvalidResponse({
        provider: "gemini",
        model: "m-1",
        message: "no",
        delivery: "unknown"
      })
      const answer = Attempt.run({ provider: "gemini", model: "m-1" }, (attempt) => {
        attempt.note({ usage: { inputTokens: 5, outputTokens: 2, reasoningTokens: 1 } })
        return round++ === 0 ? Effect.fail(error) : Effect.succeed("hi")
      })
      const priced = Layer.succeed(Prices.Prices, Prices.table({ "gemini/m-1": { input: 1_000_000, output: 0 } }))
      const asked = Call.make("ask")(Effect.retry(answer, RetryPolicy.make({ maxAttempts: 2 })))
      const { named } = yield* traced(Effect.provide(asked, priced))
      const { attributes } = only(named("ask"))
      assert.deepInclude(attributes, {
        "gen_ai.provider.name": "gcp.gemini",
        "gen_ai.usage.input_tokens": 10,
        "gen_ai.usage.output_tokens": 4,
        "gen_ai.usage.reasoning.output_tokens": 2,
        "steadfast.usd": 10,
        "steadfast.wasted_usd": 5
      })
    })
  )

  it.effect("a call that failed ended with an error, and has its labels", () =>
    Effect.gen(function* () {
      const { model } = yield* scripted({ script: [Fault.resetInBody({ tokens: 2 })] })
      const asked = Stream.runDrain(model.stream(hello)).pipe(Call.withLabels({ tenant: "a" }))
      const { attributes } = only((yield* traced(asked)).named("chat gpt-4o-mini"))
      assert.deepInclude(attributes, {
        "gen_ai.response.finish_reasons": '[\n  "error"\n]',
        "gen_ai.request.stream": true,
        "steadfast.label.tenant": "a"
      })
    })
  )

  it.effect("say nothing of a cache where the provider does not", () =>
    Effect.gen(function* () {
      const answer = Attempt.run({ provider: "custom", model: "m-1" }, (attempt) => {
        attempt.note({ usage: { inputTokens: 9, outputTokens: 1 } })
        return Effect.succeed("hi")
      })
      const { named } = yield* traced(answer)
      assert.deepStrictEqual(
        Object.keys(only(named("attempt")).attributes).filter((key) => key.includes("cache")),
        []
      )
    })
  )

  it.effect("each attempt tells its number, its wait and why, and where it fell back from", () =>
    Effect.gen(function* () {
      const a = yield* scripted(
        { script: [Fault.rateLimited({ retryAfter: "2 seconds" }), Fault.serverError()] },
        { model: "first" }
      )
      const b = yield* scripted({}, { model: "second" })
      const assistant = a.model.pipe(
        ChatModel.retry(RetryPolicy.make({ maxAttempts: 2 })),
        ChatModel.orElse(b.model),
        ChatModel.named("assistant")
      )
      const { named, spans } = yield* traced(assistant.generate(hello))
      const call = only(named("chat assistant"))
      const attempts = named("attempt")
      assert.strictEqual(spans().length, 4)
      assert.isTrue(attempts.every((span) => span.parentSpanContext?.spanId === call.spanContext().spanId))
      assert.deepStrictEqual(
        attempts.map(({ attributes }) => [
          attributes["steadfast.attempt.index"],
          attributes["steadfast.attempt.target"],
          attributes["steadfast.retry.delay_ms"],
          attributes["steadfast.retry.reason"],
          attributes["steadfast.fallback.from"],
          attributes["error.type"],
          attributes["http.response.status_code"]
        ]),
        [
          [1, "openai/first", undefined, undefined, undefined, "RateLimited", 429],
          [2, "openai/first", 2500, "hint", undefined, "ServerError", 500],
          [3, "openai/second", undefined, undefined, "openai/first", undefined, 200]
        ]
      )
      assert.deepStrictEqual(
        attempts.map((span) => span.status.code),
        [SpanStatusCode.ERROR, SpanStatusCode.ERROR, SpanStatusCode.OK]
      )
      assert.deepInclude(call.attributes, { "steadfast.attempts": 3, "steadfast.target": "openai/second" })
      assert.strictEqual(call.status.code, SpanStatusCode.OK)
    })
  )

  it.effect("take as long as what they stand for", () =>
    Effect.gen(function* () {
      const { model } = yield* scripted({ script: [Fault.serverError({ delay: "3 seconds" }), Reply.text("hi")] })
      const { named } = yield* traced(ChatModel.retry(model, RetryPolicy.standard).generate(hello))
      const [first, second] = named("attempt")
      assert.deepStrictEqual(first?.duration, [3, 0])
      assert.deepStrictEqual(second?.startTime, [3, 500_000_000])
      assert.deepStrictEqual(only(named("chat gpt-4o-mini")).duration, [3, 500_000_000])
    })
  )

  it.effect("a failed call has status error and the tag of its error", () =>
    Effect.gen(function* () {
      const { model } = yield* scripted({ script: [Fault.unauthorized()] })
      const { spans } = yield* traced(model.generate(hello))
      assert.strictEqual(spans().length, 2)
      for (const span of spans()) {
        assert.strictEqual(span.status.code, SpanStatusCode.ERROR)
        assert.strictEqual(span.attributes["error.type"], "AuthError")
      }
    })
  )

  it.effect("a deadline is an error of the attempt that it cut", () =>
    Effect.gen(function* () {
      const { model } = yield* scripted({ script: [Fault.hang] })
      const { spans } = yield* traced(ChatModel.deadline(model, "1 second").generate(hello))
      assert.deepStrictEqual(
        spans().map((span) => [span.name, span.attributes["error.type"], span.status.code]),
        [
          ["attempt", "Timeout", SpanStatusCode.ERROR],
          ["chat gpt-4o-mini", "Timeout", SpanStatusCode.ERROR]
        ]
      )
    })
  )

  it.effect("are ended by interruption too", () =>
    Effect.gen(function* () {
      const { layer, spans } = collectSpans()
      const { model } = yield* scripted({ script: [Fault.hang] })
      const fiber = yield* Effect.fork(Effect.provide(model.generate(hello), layer))
      yield* TestClock.adjust("1 second")
      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual(
        spans().map((span) => span.name),
        ["attempt", "chat gpt-4o-mini"]
      )
    })
  )

  it.effect("a call of the application is the span around, and itself inside the application's", () =>
    Effect.gen(function* () {
      const { model } = yield* scripted()
      const program = model.generate(hello).pipe(Call.make("greeting"), Effect.withSpan("handler"))
      const { named, spans } = yield* traced(program)
      assert.deepStrictEqual(
        spans().map((span) => span.name),
        ["attempt", "greeting", "handler"]
      )
      const [attempt, call, handler] = [only(named("attempt")), only(named("greeting")), only(named("handler"))]
      assert.strictEqual(attempt.parentSpanContext?.spanId, call.spanContext().spanId)
      assert.strictEqual(call.parentSpanContext?.spanId, handler.spanContext().spanId)
      assert.strictEqual(call.attributes["steadfast.call.name"], "greeting")
    })
  )

  it.effect("Level 1: each retry is a call with its attempt's number", () =>
    Effect.gen(function* () {
      const { model } = yield* scripted({ script: [Fault.serverError(), Reply.text("hi")] })
      const { named } = yield* traced(Effect.retry(model.generate(hello), RetryPolicy.standard))
      assert.strictEqual(named("chat gpt-4o-mini").length, 2)
      assert.deepStrictEqual(
        named("attempt").map(({ attributes }) => [
          attributes["steadfast.attempt.index"],
          attributes["steadfast.retry.delay_ms"]
        ]),
        [
          [1, undefined],
          [2, 500]
        ]
      )
    })
  )

  it.effect("none where tracing is off, and the call works as ever", () =>
    Effect.gen(function* () {
      const { model } = yield* scripted()
      const { exit, spans } = yield* traced(Effect.withTracerEnabled(model.generate(hello), false))
      assert.deepStrictEqual([exit._tag, spans().length], ["Success", 0])
    })
  )
})

describe("spans of a stream", () => {
  it.effect("last until its end and hold its usage", () =>
    Effect.gen(function* () {
      const { model } = yield* scripted({
        script: [Reply.text("one two three", { firstTokenDelay: "1 second", tokenDelay: "1 second" })]
      })
      const { named } = yield* traced(Stream.runDrain(model.stream(hello)))
      const attempt = only(named("attempt"))
      assert.deepStrictEqual(attempt.duration, [3, 0])
      assert.deepInclude(attempt.attributes, { "steadfast.attempt.output_tokens": 3 })
      const call = only(named("chat gpt-4o-mini"))
      assert.strictEqual(call.status.code, SpanStatusCode.OK)
      assert.deepInclude(call.attributes, {
        "gen_ai.usage.output_tokens": 3,
        "gen_ai.request.stream": true,
        "gen_ai.response.time_to_first_chunk": 1
      })
    })
  )

  it.effect("show what broke it", () =>
    Effect.gen(function* () {
      const { model } = yield* scripted({ script: [Fault.resetInBody({ tokens: 2 })] })
      const { spans } = yield* traced(Stream.runDrain(model.stream(hello)))
      assert.deepStrictEqual(
        spans().map((span) => [span.attributes["error.type"], span.status.code]),
        [
          ["StreamInterrupted", SpanStatusCode.ERROR],
          ["StreamInterrupted", SpanStatusCode.ERROR]
        ]
      )
    })
  )

  it.effect("each replay is an attempt of the same call", () =>
    Effect.gen(function* () {
      const { model } = yield* scripted({ script: [Fault.serverError(), Reply.text("hi")] })
      const { named, spans } = yield* traced(
        Stream.runDrain(ChatModel.retry(model, RetryPolicy.standard).stream(hello))
      )
      assert.strictEqual(spans().length, 3)
      const call = only(named("chat gpt-4o-mini"))
      assert.deepStrictEqual(
        named("attempt").map((span) => [
          span.parentSpanContext?.spanId === call.spanContext().spanId,
          span.attributes["steadfast.attempt.index"],
          span.attributes["steadfast.retry.delay_ms"]
        ]),
        [
          [true, 1, undefined],
          [true, 2, 500]
        ]
      )
    })
  )
})

describe("trace headers", () => {
  const headerNames = ["traceparent", "tracestate", "b3", "x-b3-traceid"]

  it.effect("are not sent", () =>
    Effect.gen(function* () {
      const { model, provider } = yield* scripted()
      yield* traced(Effect.zipRight(model.generate(hello), Stream.runDrain(model.stream(hello))))
      const requests = yield* provider.requests
      assert.strictEqual(requests.length, 2)
      for (const request of requests) {
        for (const name of headerNames) assert.notProperty(request.headers, name)
      }
    })
  )

  it.effect("name the attempt where they are asked for", () =>
    Effect.gen(function* () {
      const { model, provider } = yield* scripted({}, { traceHeaders: true })
      const { named } = yield* traced(model.generate(hello))
      const { spanId, traceId } = only(named("attempt")).spanContext()
      const headers = only(yield* provider.requests).headers as Readonly<Record<string, string>>
      assert.strictEqual(headers.traceparent, `00-${traceId}-${spanId}-01`)
    })
  )
})
