import { Effect, Logger, LogLevel, Redacted } from "effect"
import { Chat, ChatModel, OpenAi, RetryPolicy } from "effect-steadfast"
import { Fault, FaultyProvider, Reply } from "effect-steadfast/testing"

const program = Effect.gen(function* () {
  const model = yield* OpenAi.make({ model: "gpt-4o-mini", apiKey: Redacted.make("sk-test") })
  const assistant = model.pipe(ChatModel.retry(RetryPolicy.make({ maxAttempts: 2, initialDelay: "1 millis" })))
  const answer = yield* assistant.generate(Chat.prompt("The capital of France?"))
  const provider = yield* FaultyProvider.FaultyProvider
  const requests = yield* provider.requests
  return `${answer.text} after ${requests.length} requests\n`
})

const provider = FaultyProvider.layer({ script: [Fault.status(500), Reply.text("Paris.")] })
const answer = program.pipe(Effect.provide(provider), Logger.withMinimumLogLevel(LogLevel.None))

process.stdout.write(await Effect.runPromise(answer))
