// The error channel says what can go wrong, and the compiler sees what was dealt with.
import { Console, Duration, Effect } from "effect"
import { Chat, type LlmError, OpenAi, Resilience, RetryPolicy } from "effect-steadfast"
import { Fault, FaultyProvider } from "effect-steadfast/testing"

type Handled = LlmError.AuthError | LlmError.QuotaExhausted | LlmError.RateLimited

const program = Effect.gen(function* () {
  const gpt = yield* OpenAi.make({ model: "gpt-4o-mini" })
  const call: Effect.Effect<Chat.Response, LlmError.LlmError> = gpt.generate(Chat.prompt("Hello"))

  // After `catchTags` these three have left the channel; the annotation would not compile otherwise.
  const handled: Effect.Effect<string, Exclude<LlmError.LlmError, Handled>> = call.pipe(
    Resilience.retry(RetryPolicy.make({ maxAttempts: 2, maxHint: "5 seconds" })),
    Effect.map((answer) => answer.text),
    Effect.catchTags({
      AuthError: (error) => Effect.succeed(`check the key of ${error.provider}`),
      QuotaExhausted: (error) => Effect.succeed(`top up the account at ${error.provider}`),
      RateLimited: (error) => Effect.succeed(`too busy: come back in ${Duration.format(error.hint ?? Duration.zero)}`)
    })
  )

  for (const _ of [1, 2, 3, 4]) {
    yield* handled.pipe(
      Effect.catchAll((error) => Effect.succeed(`unhandled: ${error._tag} (status ${error.status ?? "none"})`)),
      Effect.flatMap((line) => Console.log(line))
    )
  }
})

const script = [
  Fault.unauthorized(),
  Fault.insufficientQuota(),
  Fault.rateLimited({ retryAfter: "10 minutes" }),
  Fault.modelNotFound()
]

await Effect.runPromise(program.pipe(Effect.provide(FaultyProvider.layer({ script }))))
