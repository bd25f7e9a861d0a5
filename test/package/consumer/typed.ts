import { HttpClient } from "@effect/platform"
import { Effect, Layer, Redacted } from "effect"
import { Chat, ChatModel, type LlmError, OpenAi, RetryPolicy } from "effect-steadfast"
import { Fault, FaultyProvider, Reply } from "effect-steadfast/testing"

const provider = FaultyProvider.layer({ script: [Fault.status(503), Reply.text("Paris.")] })

export const assistant = OpenAi.make({ model: "gpt-4o-mini", apiKey: Redacted.make("sk-test") }).pipe(
  Effect.map(ChatModel.retry(RetryPolicy.standard)),
  Effect.map(ChatModel.deadline("90 seconds"))
)

export const answer: Effect.Effect<string, LlmError.LlmError> = Effect.gen(function* () {
  const model = yield* Effect.orDie(assistant)
  const response = yield* model.generate(Chat.prompt("The capital of France?"))
  return response.text
}).pipe(Effect.provide(provider))

export const handled: Effect.Effect<string, Exclude<LlmError.LlmError, LlmError.RateLimited>> = answer.pipe(
  Effect.catchTag("RateLimited", (error) => Effect.succeed(error.message))
)

export const layer: Layer.Layer<ChatModel.ChatModel, unknown> = ChatModel.layer(assistant).pipe(
  Layer.provide(
    Layer.effect(
      HttpClient.HttpClient,
      Effect.map(FaultyProvider.make(), ({ client }) => client)
    )
  )
)
