import { HttpClient } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, LogLevel, Redacted } from "effect"
import { LlmError } from "effect-steadfast"
import type * as EmbeddingModel from "effect-steadfast/EmbeddingModel"
import * as OpenAiEmbeddings from "effect-steadfast/OpenAiEmbeddings"
import { Fault, FaultyProvider, Reply, type Step } from "effect-steadfast/testing"
import { collect, only } from "../support/evidence.js"
import { collectSpans } from "../support/spans.js"

const secret = "sk-proj-Zq81mVt5xW0eKd93Yb"

const small = "text-embedding-3-small"

/** A model over a provider with this script. */
const over = (script: ReadonlyArray<FaultyProvider.Answer>, options: Partial<OpenAiEmbeddings.Options> = {}) =>
  Effect.gen(function* () {
    const provider = yield* FaultyProvider.make({ script })
    const model = yield* OpenAiEmbeddings.make({ model: small, apiKey: Redacted.make(secret), ...options }).pipe(
      Effect.provideService(HttpClient.HttpClient, provider.client)
    )
    return { provider, model }
  })

const bodyOf = (provider: FaultyProvider.Provider) =>
  Effect.map(provider.requests, (requests) => only(requests).body as Record<string, unknown>)

describe("a request", () => {
  it.effect("asks OpenAI for base64, with the fields of the request and the key in a header", () =>
    Effect.gen(function* () {
      const { model, provider } = yield* over([Reply.text("")])
      yield* model.embed({
        input: ["a", "b"],
        dimensions: 4,
        task: "query",
        providerOptions: { openai: { user: "u-1" }, gemini: { title: "t" } }
      })
      const request = only(yield* provider.requests)
      assert.strictEqual(request.url, "/v1/embeddings")
      assert.strictEqual(request.host, "api.openai.com")
      assert.strictEqual(request.key, secret)
      assert.deepStrictEqual(request.body, {
        model: small,
        input: ["a", "b"],
        dimensions: 4,
        encoding_format: "base64",
        user: "u-1"
      })
    })
  )

  it.effect("asks another server for no form, unless told to, and Azure by its deployment", () =>
    Effect.gen(function* () {
      const other = { provider: "vllm", model: "nomic" }
      const plain = yield* over([Reply.text("")], other)
      yield* plain.model.embed({ input: "a" })
      assert.deepStrictEqual(yield* bodyOf(plain.provider), { model: "nomic", input: ["a"] })
      const told = yield* over([Reply.text("")], { ...other, encoding: "base64" })
      yield* told.model.embed({ input: "a" })
      assert.propertyVal(yield* bodyOf(told.provider), "encoding_format", "base64")

      const provider = yield* FaultyProvider.make()
      const azure = yield* OpenAiEmbeddings.azure({
        endpoint: "https://mine.openai.azure.com",
        deployment: "d 1",
        apiKey: Redacted.make(secret)
      }).pipe(Effect.provideService(HttpClient.HttpClient, provider.client))
      yield* azure.embed({ input: "a" })
      const request = only(yield* provider.requests)
      assert.strictEqual(request.url, "/openai/deployments/d%201/embeddings?api-version=2024-10-21")
      assert.strictEqual(request.headers["api-key"], secret)
    })
  )

  it.effect("with an empty text is refused before it is sent, by its position", () =>
    Effect.gen(function* () {
      const { model, provider } = yield* over([Reply.text("")], { limits: { inputs: 2 } })
      const error = yield* Effect.flip(model.embed({ input: ["a", "b", "c", ""], concurrency: 1 }))
      assert.strictEqual(error._tag, "InvalidRequest")
      assert.include(error.message, "input 3: found an empty text")
      assert.lengthOf(yield* provider.requests, 1)
    })
  )

  it.effect("has the limits of OpenAI, and of other servers those that are stated", () =>
    Effect.gen(function* () {
      const { model, provider } = yield* over([Reply.text("")], { model: "m", space: "m/8" })
      yield* model.embed({ input: Array.from({ length: 2049 }, () => "a") })
      assert.deepStrictEqual(
        (yield* provider.requests).map(({ body }) => (body as { readonly input: ReadonlyArray<string> }).input.length),
        [2048, 1]
      )
      const other = yield* over([Reply.text("")], { provider: "vllm", model: "m", limits: { inputs: 3 } })
      yield* other.model.embed({ input: ["a", "b", "c", "d"] })
      assert.lengthOf(yield* other.provider.requests, 2)
    })
  )

  it.effect("goes in several if its texts have more than 300,000 tokens", () =>
    Effect.gen(function* () {
      const { model, provider } = yield* over([Reply.text("")], { model: "m", space: "m/8" })
      const text = "word ".repeat(4000)
      const answer = yield* model.embed({ input: Array.from({ length: 60 }, (_, index) => `${text}${index}`) })
      assert.lengthOf(answer.vectors, 60)
      assert.isAbove((yield* provider.requests).length, 1)
    })
  )
})

describe("an answer", () => {
  const json = (body: unknown): Step.Step => Reply.json(body)
  const item = (index: number | undefined, embedding: unknown) => ({ object: "embedding", index, embedding })

  it.effect("is the same in base64 and in numbers, and of the texts alone", () =>
    Effect.gen(function* () {
      const input = ["one", "two words", "ünï 世界"]
      const coded = yield* over([Reply.text("")])
      const plain = yield* over([Reply.text("")], { encoding: "float" })
      const a = yield* coded.model.embed({ input })
      const b = yield* plain.model.embed({ input })
      assert.deepStrictEqual(a.vectors, b.vectors)
      assert.lengthOf(a.vectors[0] ?? [], 1536)
      assert.deepStrictEqual((yield* coded.model.embed({ input: "two words" })).vectors, a.vectors.slice(1, 2))
      assert.notDeepEqual(a.vectors[0], a.vectors[1])
      assert.deepStrictEqual(a.usage, { inputTokens: 5, outputTokens: 0 })
    })
  )

  it.effect("is put in the order of its indices", () =>
    Effect.gen(function* () {
      const data = [item(2, [3, 3]), item(0, [1, 1]), item(1, [2, 2])]
      const { model } = yield* over([json({ data, model: "m-9", usage: { prompt_tokens: 7, total_tokens: 7 } })], {
        model: "m"
      })
      const answer = yield* model.embed({ input: ["a", "b", "c"] })
      assert.deepStrictEqual(answer, {
        vectors: [
          [1, 1],
          [2, 2],
          [3, 3]
        ],
        usage: { inputTokens: 7, outputTokens: 0 },
        provider: "openai",
        model: "m-9"
      })
      const bare = yield* over([json({ data: [item(undefined, [1]), item(undefined, [2])] })], { model: "m" })
      assert.deepStrictEqual((yield* bare.model.embed({ input: ["a", "b"] })).vectors, [[1], [2]])
    })
  )

  it.effect.each([
    ["no data", {}, "data: found nothing, expected an array"],
    ["too few", { data: [item(0, [1])] }, "found 1 vectors, expected 2"],
    ["an index twice", { data: [item(0, [1]), item(0, [2])] }, "data[1].index: found 0"],
    ["an index too high", { data: [item(0, [1]), item(2, [2])] }, "data[1].index: found 2"],
    ["no vector", { data: [item(0, [1]), item(1, null)] }, "data[1].embedding: found null"],
    ["no base64", { data: [item(0, "%%%"), item(1, "%%%")] }, "data[0].embedding: found a string"],
    ["half a float", { data: [item(0, "AAA="), item(1, "AAA=")] }, "data[0].embedding: found a string"],
    ["no number", { data: [item(0, "AADAfw=="), item(1, "AADAfw==")] }, "vector 0: found NaN at 0"],
    ["two lengths", { data: [item(0, [1]), item(1, [1, 2])] }, "vector 1: found 2 numbers, expected 1"]
  ] as const)("with %s is an InvalidResponse", ([, body, message]) =>
    Effect.gen(function* () {
      const { model } = yield* over([json(body)], { model: "m" })
      const error = yield* Effect.flip(model.embed({ input: ["a", "b"] }))
      assert.strictEqual(error._tag, "InvalidResponse")
      assert.include(error.message, message)
      assert.isTrue(LlmError.isRetryable(error))
    })
  )

  it.effect("that ignores the dimensions asked for is refused for good", () =>
    Effect.gen(function* () {
      const { model } = yield* over([json({ data: [item(0, [1, 2, 3])] })], { provider: "vllm", model: "m" })
      const error = yield* Effect.flip(model.embed({ input: "a", dimensions: 2 }))
      assert.strictEqual(error.message, "found vectors of 3 numbers, expected 2")
      assert.isFalse(LlmError.isRetryable(error))
    })
  )
})

describe("a failure", () => {
  it.effect.each([
    [Fault.unauthorized(), "AuthError"],
    [Fault.rateLimited(), "RateLimited"],
    [Fault.insufficientQuota(), "QuotaExhausted"],
    [Fault.error("model-not-found"), "ModelNotFound"],
    [Fault.contextLength(), "ContextLengthExceeded"],
    [Fault.status(500), "ServerError"],
    [Fault.resetBeforeHeaders(), "ConnectionError"],
    [Fault.resetInBody(), "ConnectionError"],
    [Fault.garbage, "InvalidResponse"],
    [Fault.emptyBody, "InvalidResponse"],
    [Fault.errorEvent("server-error"), "ServerError"]
  ] as const)("is the error that a chat would get: %#", ([step, tag]) =>
    Effect.gen(function* () {
      const { model } = yield* over([step])
      assert.strictEqual((yield* Effect.flip(model.embed({ input: "a" })))._tag, tag)
    })
  )

  it.effect("of a key that is not configured is a ConfigError", () =>
    Effect.gen(function* () {
      const exit = yield* Effect.exit(over([], { baseUrl: "ftp://x" }))
      assert.isTrue(Exit.isFailure(exit))
    })
  )

  it.effect("shows no key and no text, in no log, span or record", () =>
    Effect.gen(function* () {
      const echo = (request: FaultyProvider.WireRequest): Step.Step =>
        Fault.status(401, { body: { error: { message: `bad key ${request.key}` } } })
      const { model } = yield* over([echo])
      const evidence = collect(LogLevel.All)
      const tracing = collectSpans()
      const asked = Effect.exit(Effect.provide(model.embed({ input: "my private text" }), evidence.layer))
      yield* Effect.provide(asked, tracing.layer)
      const spans = tracing.spans()
      assert.isNotEmpty(spans)
      const all = JSON.stringify([
        evidence.lines,
        evidence.records,
        spans.map(({ attributes, events, name, status }) => [name, attributes, events, status])
      ])
      assert.isNotEmpty(evidence.records)
      assert.notInclude(all, secret)
      assert.notInclude(all, "private text")
    })
  )
})

describe("evidence", () => {
  it.effect("has the span and the record of the conventions", () =>
    Effect.gen(function* () {
      const { model } = yield* over([Reply.text("")])
      const evidence = collect()
      const { layer, spans } = collectSpans()
      yield* model.embed({ input: ["a", "b"] }).pipe(Effect.provide(evidence.layer), Effect.provide(layer))
      const call = only(spans().filter(({ name }) => name !== "attempt"))
      assert.strictEqual(call.name, `embeddings ${small}`)
      assert.strictEqual(call.attributes["gen_ai.operation.name"], "embeddings")
      assert.strictEqual(call.attributes["gen_ai.request.model"], small)
      assert.strictEqual(call.attributes["gen_ai.provider.name"], "openai")
      assert.strictEqual(call.attributes["gen_ai.usage.input_tokens"], 2)
      const record = only(evidence.records)
      assert.strictEqual(record.operation, "embeddings")
      const attempt = only(record.attempts)
      assert.strictEqual(attempt.status, 200)
      assert.strictEqual(attempt.requestId, "req_000000000000000000000000")
      assert.isDefined(attempt.key)
    })
  )

  it.effect("says at debug level that OpenAI has no tasks", () =>
    Effect.gen(function* () {
      const { model } = yield* over([Reply.text("")])
      const evidence = collect(LogLevel.Debug)
      yield* Effect.provide(model.embed({ input: "a", task: "query" }), evidence.layer)
      assert.include(
        evidence.lines.map(({ message }) => message),
        "not sent as asked: task (openai has none)"
      )
    })
  )

  it.effect("learns the rate limits of the headers", () =>
    Effect.gen(function* () {
      const provider = yield* FaultyProvider.make({ limits: { requests: { limit: 10 } } })
      const model: EmbeddingModel.EmbeddingModel = yield* OpenAiEmbeddings.make({ model: small }).pipe(
        Effect.provideService(HttpClient.HttpClient, provider.client)
      )
      const evidence = collect()
      yield* Effect.provide(model.embed({ input: "a" }), evidence.layer)
      assert.deepInclude(only(only(evidence.records).attempts).limits?.requests, { limit: 10, remaining: 9 })
    })
  )
})
