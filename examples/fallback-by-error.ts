// Which error goes to which target: the route decides by tag, and what it does not name stays an error.
import { Effect } from "effect"
import { Chat, ChatModel, LlmError, OpenAi, RetryPolicy } from "effect-steadfast"
import { Fault, FaultyProvider, Reply } from "effect-steadfast/testing"

const program = Effect.gen(function* () {
  const small = yield* OpenAi.make({ model: "small" })
  const large = yield* OpenAi.make({ model: "large-window" })
  const local = yield* OpenAi.make({ model: "local" })

  const assistant = small.pipe(
    ChatModel.retry(RetryPolicy.make({ maxAttempts: 2, initialDelay: "50 millis" })),
    // Too long for the small window: only a larger one helps.
    ChatModel.orElse(large, { when: LlmError.isTag("ContextLengthExceeded") }),
    // Anything else that another target may mend. A content filter is not among it unless the route says so.
    ChatModel.orElse(local, { when: (error) => LlmError.isFallbackable(error) || error._tag === "ContentFiltered" }),
    ChatModel.named("assistant")
  )

  for (const topic of ["a long one", "no money", "a filtered one", "a mistake"]) {
    const line = yield* assistant.generate(Chat.prompt(topic)).pipe(
      Effect.map((answer) => `served by ${answer.model}`),
      Effect.catchTag("InvalidRequest", (error) => Effect.succeed(`nobody is asked again: ${error.message}`))
    )
    yield* Effect.logInfo(`${topic}: ${line}`)
  }
})

const provider = FaultyProvider.layer({
  rules: [
    {
      model: "small",
      script: [Fault.contextLength(), Fault.insufficientQuota(), Fault.contentFilter(), Fault.badRequest()]
    },
    { model: "large-window", script: [Reply.text("it fits", { model: "large-window" })] },
    { model: "local", script: [Reply.text("at your service", { model: "local" })] }
  ]
})

await Effect.runPromise(program.pipe(Effect.provide(provider)))
