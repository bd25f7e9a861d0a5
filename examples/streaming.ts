// A stream that tells the truth: what fails before the first word is replayed in silence, a cut is never an answer.
import { Effect, Stream } from "effect"
import { Chat, ChatModel, ChatStream, OpenAi, RetryPolicy } from "effect-steadfast"
import { Fault, FaultyProvider, Reply } from "effect-steadfast/testing"

const poem = Reply.text("Rough winds do shake the darling buds of May", { tokenDelay: "60 millis" })

const program = Effect.gen(function* () {
  const gpt = yield* OpenAi.make({ model: "gpt-4o-mini" })
  const poet = gpt.pipe(
    ChatModel.timeout({ firstToken: "2 seconds", idle: "1 second" }),
    ChatModel.retry(RetryPolicy.make({ initialDelay: "100 millis" }))
  )
  const recite = poet.stream(Chat.prompt("A line of Shakespeare, please")).pipe(
    ChatStream.text,
    Stream.runForEach((word) => Effect.sync(() => process.stdout.write(word)))
  )

  console.log("An overload before the first word is retried, and nobody notices:")
  yield* recite
  console.log("\n\nA connection that closes cleanly in the middle is an error with what arrived:")
  yield* recite.pipe(
    Effect.catchTag("StreamInterrupted", (error) =>
      Effect.sync(() => console.log(`\n${error._tag}: ${error.message}; ${error.received} characters received`))
    )
  )
  console.log("\nA silent provider is a timeout, not a long wait:")
  yield* recite.pipe(
    Effect.catchTag("Timeout", (error) => Effect.sync(() => console.log(`\n${error._tag}: ${error.message}`)))
  )
})

const script = [
  Fault.errorEvent("overloaded"),
  poem,
  Fault.earlyEnd({ tokens: 4, reply: poem }),
  Fault.stall({ tokens: 3, pings: "100 millis", reply: poem })
]

await Effect.runPromise(program.pipe(Effect.provide(FaultyProvider.layer({ script }))))
