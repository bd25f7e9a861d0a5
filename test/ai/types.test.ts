import type { AiError } from "@effect/ai"
import { LanguageModel, Model, Tool, Toolkit } from "@effect/ai"
import type { Context } from "effect"
import { Effect, Layer, Schema, type Scope, type Stream } from "effect"
import { type Chat, ChatModel, type LlmError } from "effect-steadfast"
import { EffectAi } from "effect-steadfast/ai"
import { describe, expectTypeOf, it } from "vitest"

declare const model: ChatModel.ChatModel
declare const service: LanguageModel.LanguageModel["Type"]
interface Client {
  readonly client: "client"
}

/** What is declared above has no value: the bodies are compiled, and never run. */
const typed = (_: () => void): void => {}

const options = { provider: "openai", model: "gpt-4o-mini" }

describe("fromLanguageModel", () => {
  it("keeps the errors and requirements of what it is given", () =>
    typed(() => {
      expectTypeOf(EffectAi.fromLanguageModel(service, options)).toEqualTypeOf<ChatModel.ChatModel>()
      const effect = {} as Effect.Effect<LanguageModel.Service, "bad", Client>
      expectTypeOf(EffectAi.fromLanguageModel(effect, options)).toEqualTypeOf<
        Effect.Effect<ChatModel.ChatModel, "bad", Client>
      >()
      const layer = {} as Layer.Layer<LanguageModel.LanguageModel, "bad", Client>
      expectTypeOf(EffectAi.fromLanguageModel(layer, options)).toEqualTypeOf<
        Effect.Effect<ChatModel.ChatModel, "bad", Client | Scope.Scope>
      >()
      expectTypeOf(EffectAi.fromLanguageModel(LanguageModel.LanguageModel, options)).toEqualTypeOf<
        Effect.Effect<ChatModel.ChatModel, never, LanguageModel.LanguageModel>
      >()
    }))

  it("takes a Model of theirs, which is a layer and an effect", () =>
    typed(() => {
      const gpt = Model.make("openai", {} as Layer.Layer<LanguageModel.LanguageModel, never, Client>)
      expectTypeOf(EffectAi.fromLanguageModel(gpt, options)).toEqualTypeOf<
        Effect.Effect<ChatModel.ChatModel, never, Client | Scope.Scope>
      >()
    }))

  it("fails with LlmError, and asks for nothing", () =>
    typed(() => {
      const made = EffectAi.fromLanguageModel(service, options)
      expectTypeOf(made.generate).returns.toEqualTypeOf<Effect.Effect<Chat.Response, LlmError.LlmError>>()
      expectTypeOf(made.stream).returns.toEqualTypeOf<Stream.Stream<Chat.Event, LlmError.LlmError>>()
      // @ts-expect-error the provider's name is asked for
      EffectAi.fromLanguageModel(service, { model: "gpt-4o-mini" })
    }))
})

describe("layer", () => {
  it("keeps the errors and requirements of the model", () =>
    typed(() => {
      expectTypeOf(EffectAi.layer(model)).toEqualTypeOf<Layer.Layer<LanguageModel.LanguageModel>>()
      const effect = {} as Effect.Effect<ChatModel.ChatModel, "bad", Client>
      expectTypeOf(EffectAi.layer(effect)).toEqualTypeOf<Layer.Layer<LanguageModel.LanguageModel, "bad", Client>>()
      expectTypeOf(EffectAi.layer(ChatModel.ChatModel)).toEqualTypeOf<
        Layer.Layer<LanguageModel.LanguageModel, never, ChatModel.ChatModel>
      >()
      expectTypeOf(EffectAi.toLanguageModel(model)).toEqualTypeOf<Effect.Effect<LanguageModel.Service>>()
    }))

  it("leaves a program of theirs with their errors, and with what its tools ask for", () =>
    typed(() => {
      const tools = Toolkit.make(Tool.make("weather", { parameters: { city: Schema.String } }))
      const program = LanguageModel.generateText({ prompt: "x", toolkit: tools }).pipe(
        Effect.provide(EffectAi.layer(model))
      )
      expectTypeOf<Effect.Effect.Error<typeof program>>().toEqualTypeOf<AiError.AiError>()
      expectTypeOf<Effect.Effect.Context<typeof program>>().toEqualTypeOf<Tool.Handler<"weather">>()
      const plain = Effect.provide(LanguageModel.generateText({ prompt: "x" }), EffectAi.layer(model))
      expectTypeOf<Effect.Effect.Context<typeof plain>>().toEqualTypeOf<never>()
    }))
})

describe("the rest", () => {
  it("is plain", () =>
    typed(() => {
      expectTypeOf(EffectAi.llmErrorOf).toEqualTypeOf<(error: unknown) => LlmError.LlmError | undefined>()
      expectTypeOf<Context.Tag.Service<typeof EffectAi.RequestSettings>>().toEqualTypeOf<EffectAi.Settings>()
      const response = {} as LanguageModel.GenerateTextResponse<{}>
      EffectAi.promptOf(response.content)
      const settings: EffectAi.Settings = { temperature: 0, maxTokens: 5 }
      EffectAi.layer(model, { request: settings })
      // @ts-expect-error the conversation is theirs
      EffectAi.layer(model, { request: { messages: [] } })
      Layer.empty
    }))
})
