import type { HttpClient } from "@effect/platform"
import type { ConfigError, Layer, Schedule } from "effect"
import { Config, Effect } from "effect"
import { type KeyPool, type LlmError, RetryPolicy } from "effect-steadfast"
import * as EmbeddingModel from "effect-steadfast/EmbeddingModel"
import * as GeminiEmbeddings from "effect-steadfast/GeminiEmbeddings"
import * as Models from "effect-steadfast/Models"
import * as OpenAiEmbeddings from "effect-steadfast/OpenAiEmbeddings"
import { describe, expectTypeOf, it } from "vitest"

declare const model: EmbeddingModel.EmbeddingModel
declare const pool: KeyPool.KeyPool

/** What is declared above has no value: the bodies are compiled, and never run. */
const typed = (_: () => void): void => {}

type Model = EmbeddingModel.EmbeddingModel

describe("embed", () => {
  it("fails with LlmError, needs nothing, and loses what was caught by tag", () =>
    typed(() => {
      const asked = model.embed({ input: ["a"], task: "query" })
      expectTypeOf(asked).toEqualTypeOf<Effect.Effect<EmbeddingModel.Response, LlmError.LlmError>>()
      const caught = asked.pipe(Effect.catchTag("ContextLengthExceeded", () => Effect.succeed("long" as const)))
      expectTypeOf<Effect.Effect.Error<typeof caught>>().not.toExtend<{ readonly _tag: "ContextLengthExceeded" }>()
      expectTypeOf<Effect.Effect.Error<typeof caught>>().toEqualTypeOf<
        Exclude<LlmError.LlmError, { readonly _tag: "ContextLengthExceeded" }>
      >()
      expectTypeOf(EmbeddingModel.embed({ input: "a" })).toEqualTypeOf<
        Effect.Effect<EmbeddingModel.Response, LlmError.LlmError, Model>
      >()
      expectTypeOf(EmbeddingModel.embedOne(model, "a")).toEqualTypeOf<
        Effect.Effect<ReadonlyArray<number>, LlmError.LlmError>
      >()
    }))

  it("takes only known tasks", () =>
    typed(() => {
      // @ts-expect-error a task that nobody has
      model.embed({ input: "a", task: "poetry" })
    }))
})

describe("the combinators", () => {
  it("are the same data-first and data-last", () =>
    typed(() => {
      const all = model.pipe(
        EmbeddingModel.timeout("30 seconds"),
        EmbeddingModel.retry(RetryPolicy.standard),
        EmbeddingModel.orElse(model, { when: { AuthError: false } }),
        EmbeddingModel.deadline("1 minute"),
        EmbeddingModel.named("index")
      )
      expectTypeOf(all).toEqualTypeOf<Model>()
      expectTypeOf(EmbeddingModel.retry(model, RetryPolicy.standard)).toEqualTypeOf<Model>()
      expectTypeOf(EmbeddingModel.orElse(model, model)).toEqualTypeOf<Model>()
      expectTypeOf(EmbeddingModel.balance([model, { model, weight: 2 }])).toEqualTypeOf<Model>()
      expectTypeOf(EmbeddingModel.resilient([model])).toEqualTypeOf<Effect.Effect<Model>>()
    }))

  it("take a schedule that needs nothing", () =>
    typed(() => {
      const needy = null as unknown as Schedule.Schedule<number, LlmError.LlmError, "service">
      // @ts-expect-error a model has no requirements
      EmbeddingModel.retry(model, needy)
    }))

  it("keep the error and the requirements of a pool's maker", () =>
    typed(() => {
      const made = EmbeddingModel.pooled(pool, (apiKey) => OpenAiEmbeddings.make({ model: "m", apiKey }))
      expectTypeOf(made).toEqualTypeOf<Effect.Effect<Model, ConfigError.ConfigError, HttpClient.HttpClient>>()
    }))
})

describe("the leaves", () => {
  it("fail with ConfigError and need an HttpClient", () =>
    typed(() => {
      const options = { model: "m", apiKey: Config.redacted("KEY") }
      type Made = Effect.Effect<Model, ConfigError.ConfigError, HttpClient.HttpClient>
      type Layered = Layer.Layer<Model, ConfigError.ConfigError, HttpClient.HttpClient>
      expectTypeOf(OpenAiEmbeddings.make(options)).toEqualTypeOf<Made>()
      expectTypeOf(GeminiEmbeddings.make(options)).toEqualTypeOf<Made>()
      expectTypeOf(OpenAiEmbeddings.layer(options)).toEqualTypeOf<Layered>()
      expectTypeOf(GeminiEmbeddings.layerConfig({ model: Config.string("MODEL") })).toEqualTypeOf<Layered>()
    }))

  it("list fails with both kinds of error", () =>
    typed(() => {
      expectTypeOf(Models.list()).toEqualTypeOf<
        Effect.Effect<ReadonlyArray<Models.Model>, ConfigError.ConfigError | LlmError.LlmError, HttpClient.HttpClient>
      >()
    }))
})
