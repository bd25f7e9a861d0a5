import { HttpClient } from "@effect/platform"
import { Effect, Redacted } from "effect"
import * as Barrel from "effect-steadfast"
import * as Chat from "effect-steadfast/Chat"
import * as ChatModel from "effect-steadfast/ChatModel"
import * as OpenAi from "effect-steadfast/OpenAi"
import * as RetryPolicy from "effect-steadfast/RetryPolicy"
import { FaultyProvider, Reply } from "effect-steadfast/testing"

const program = Effect.gen(function* () {
  const { client } = yield* FaultyProvider.make({ script: [Reply.text("Paris.")] })
  const model = yield* OpenAi.make({ model: "gpt-4o-mini", apiKey: Redacted.make("sk-test") }).pipe(
    Effect.provideService(HttpClient.HttpClient, client)
  )
  return yield* ChatModel.retry(model, RetryPolicy.standard).generate(Chat.prompt("The capital of France?"))
})

const { text } = await Effect.runPromise(program)
process.stdout.write(`${text} ${Barrel.ChatModel === ChatModel} ${Barrel.ChatModel.retry === ChatModel.retry}\n`)
