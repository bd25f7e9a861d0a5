import { HttpClient } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Effect, LogLevel, Redacted } from "effect"
import type * as EmbeddingModel from "effect-steadfast/EmbeddingModel"
import * as GeminiEmbeddings from "effect-steadfast/GeminiEmbeddings"
import { Fault, FaultyProvider, Reply } from "effect-steadfast/testing"
import { collect, only } from "../support/evidence.js"

const name = "gemini-embedding-001"

const over = (script: ReadonlyArray<FaultyProvider.Answer>, options: Partial<GeminiEmbeddings.Options> = {}) =>
  Effect.gen(function* () {
    const provider = yield* FaultyProvider.make({ script })
    const model = yield* GeminiEmbeddings.make({ model: name, apiKey: Redacted.make("key-1"), ...options }).pipe(
      Effect.provideService(HttpClient.HttpClient, provider.client)
    )
    return { provider, model }
  })

describe("a request", () => {
  it.effect("has one entry for each text, and the key in a header", () =>
    Effect.gen(function* () {
      const { model, provider } = yield* over([Reply.text("")])
      const answer = yield* model.embed({
        input: ["a", "b"],
        dimensions: 4,
        providerOptions: { gemini: { title: "t" } },
        task: "document"
      })
      assert.deepStrictEqual(
        answer.vectors.map(({ length }) => length),
        [4, 4]
      )
      const request = only(yield* provider.requests)
      assert.strictEqual(request.url, `/v1beta/models/${name}:batchEmbedContents`)
      assert.strictEqual(request.headers["x-goog-api-key"], "key-1")
      const more = { model: `models/${name}`, taskType: "RETRIEVAL_DOCUMENT", outputDimensionality: 4, title: "t" }
      assert.deepStrictEqual(request.body, {
        requests: ["a", "b"].map((text) => ({ ...more, content: { parts: [{ text }] } }))
      })
    })
  )

  it.effect("translates every task", () =>
    Effect.gen(function* () {
      const words: Record<EmbeddingModel.Task, string> = {
        query: "RETRIEVAL_QUERY",
        document: "RETRIEVAL_DOCUMENT",
        similarity: "SEMANTIC_SIMILARITY",
        classification: "CLASSIFICATION",
        clustering: "CLUSTERING",
        question: "QUESTION_ANSWERING",
        "fact-check": "FACT_VERIFICATION",
        code: "CODE_RETRIEVAL_QUERY"
      }
      const { model, provider } = yield* over([Reply.text("")])
      for (const task of Object.keys(words) as Array<EmbeddingModel.Task>) yield* model.embed({ input: "a", task })
      const sent = (yield* provider.requests).map(
        ({ body }) => (body as { readonly requests: ReadonlyArray<Record<string, unknown>> }).requests[0]?.taskType
      )
      assert.deepStrictEqual(sent, Object.values(words))
    })
  )

  it.effect("of a model without tasks leaves the task out, and says so", () =>
    Effect.gen(function* () {
      const { model, provider } = yield* over([Reply.text("")], { model: "gemini-embedding-2-preview" })
      const evidence = collect(LogLevel.Debug)
      yield* Effect.provide(model.embed({ input: "a", task: "query" }), evidence.layer)
      assert.notInclude(JSON.stringify(only(yield* provider.requests).body), "taskType")
      assert.include(
        evidence.lines.map(({ message }) => message),
        "not sent as asked: task (gemini-embedding-2-preview takes none)"
      )
    })
  )

  it.effect("has at most 100 texts", () =>
    Effect.gen(function* () {
      const { model, provider } = yield* over([Reply.text("")], { dimensions: 8 })
      const input = Array.from({ length: 250 }, (_, index) => `text ${index}`)
      const answer = yield* model.embed({ input })
      const sizes = (yield* provider.requests).map(
        ({ body }) => (body as { readonly requests: ReadonlyArray<unknown> }).requests.length
      )
      assert.deepStrictEqual(sizes, [100, 100, 50])
      assert.lengthOf(answer.vectors, 250)
      assert.deepStrictEqual(answer.vectors[120], (yield* model.embed({ input: "text 120" })).vectors[0])
      assert.strictEqual(answer.usage?.inputTokens, 500)
    })
  )
})

describe("an answer", () => {
  it.effect.each([
    ["nothing", {}, "embeddings: found nothing, expected an array"],
    ["no values", { embeddings: [{}] }, "embeddings[0].values: found nothing"],
    ["one too many", { embeddings: [{ values: [1] }, { values: [2] }] }, "found 2 vectors, expected 1"],
    ["a text", { embeddings: [{ values: ["x"] }] }, "vector 0: found x at 0"]
  ] as const)("with %s is an InvalidResponse", ([, body, message]) =>
    Effect.gen(function* () {
      const { model } = yield* over([Reply.json(body)], { space: "s" })
      const error = yield* Effect.flip(model.embed({ input: "a" }))
      assert.strictEqual(error._tag, "InvalidResponse")
      assert.include(error.message, message)
    })
  )

  it.effect("without usage has none", () =>
    Effect.gen(function* () {
      const { model } = yield* over([Reply.json({ embeddings: [{ values: [1] }] })], { space: "s" })
      assert.isUndefined((yield* model.embed({ input: "a" })).usage)
    })
  )
})

describe("a failure", () => {
  it.effect.each([
    [Fault.unauthorized(), "AuthError"],
    [Fault.rateLimited({ retryAfter: "2 seconds" }), "RateLimited"],
    [Fault.overloaded(), "Overloaded"],
    [Fault.resetInBody(), "ConnectionError"],
    [Fault.garbage, "InvalidResponse"]
  ] as const)("is the error that a chat would get: %#", ([step, tag]) =>
    Effect.gen(function* () {
      const { model } = yield* over([step])
      const error = yield* Effect.flip(model.embed({ input: "a" }))
      assert.strictEqual(error._tag, tag)
      assert.strictEqual(error.provider, "gemini")
      assert.strictEqual(error.model, name)
    })
  )
})
