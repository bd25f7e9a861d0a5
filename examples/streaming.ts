// Streams that tell the truth: a cut is never an answer, and how it is mended is yours to choose.
import { Effect, Logger, LogLevel } from "effect"
import { Chat, ChatModel, ChatStream, OpenAi, RetryPolicy } from "effect-steadfast"
import { Fault, FaultyProvider, Reply } from "effect-steadfast/testing"

const line = "Rough winds do shake the darling buds of May, and summer's lease hath all too short a date."
const poem = Reply.text(line, { tokenDelay: "30 millis" })
const cut = Fault.earlyEnd({ tokens: 9, reply: poem })
const rest = Reply.text(line.slice(25), { tokenDelay: "30 millis" })

const write = (text: string): void => void process.stdout.write(text)
const say = (text: string) => Effect.sync(() => write(text))

const recite = (title: string, mode: ChatModel.Mode) =>
  Effect.gen(function* () {
    const gpt = yield* OpenAi.make({ model: "gpt-4o-mini" })
    const poet = gpt.pipe(
      ChatModel.timeout({ firstToken: "2 seconds", idle: "1 second" }),
      ChatModel.retry(RetryPolicy.make({ initialDelay: "100 millis" }), { mode })
    )
    yield* say(`\n${title}\n  `)
    yield* poet.stream(Chat.prompt("Two lines of Shakespeare, please")).pipe(
      ChatStream.forEach((event) => {
        if (event._tag === "TextDelta") write(event.text)
        if (event._tag === "Reset") write(` ✂ ${event.cause}, from the top:\n  `)
        if (event._tag === "Seam") write(` ✂ [${event.overlap} repeated characters cut off] `)
      }),
      Effect.catchAll((error) => say(` ✂ ${error._tag}: ${error.message}`))
    )
    yield* say("\n")
  })

const program = Effect.gen(function* () {
  yield* recite("An overload before the first word is replayed, and nobody notices:", "strict")
  yield* recite("A clean end in the middle is an error (strict, the default):", "strict")
  yield* recite("The same, begun again (restart):", "restart")
  yield* recite("The same, gone on from where it stopped (continue):", "continue")
  yield* recite("A provider that only pings is a timeout, not a long wait:", "strict")

  const gpt = yield* OpenAi.make({ model: "gpt-4o-mini" })
  const answer = yield* ChatStream.collect(gpt.stream(Chat.prompt("Once more")))
  yield* say(`\nA stream collected is the answer that generate gives: ${answer.text.length} characters\n`)
})

const script = [
  Fault.errorEvent("overloaded"),
  poem,
  cut,
  ...[cut, poem],
  ...[cut, rest],
  Fault.stall({ tokens: 3, pings: "100 millis", reply: poem }),
  poem
]

await Effect.runPromise(
  program.pipe(Effect.provide(FaultyProvider.layer({ script })), Logger.withMinimumLogLevel(LogLevel.Error))
)
