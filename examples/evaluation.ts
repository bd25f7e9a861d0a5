// Are the answers of the fallback as good as the others? A second model judges a sample of them, after the calls.
import { Effect, Fiber, Logger, LogLevel, Stream } from "effect"
import { Anthropic, Chat, ChatModel, OpenAi } from "effect-steadfast"
import { Evaluation } from "effect-steadfast/observability"
import { Fault, FaultyProvider, Reply } from "effect-steadfast/testing"

const questions = Array.from({ length: 80 }, (_, n) => `Why is ${n} not prime?`)

/** Asks another model, which says a number and then why. What is no number is counted as a failure of the judge. */
const judgeBy = (model: ChatModel.ChatModel) => (call: Evaluation.Evaluated) => {
  const task = "Score the answer from 0 to 10. Say the number first, then why."
  return Effect.map(
    model.generate(Chat.prompt(`${task}\n\nQuestion: ${call.input}\n\nAnswer: ${call.output}`)),
    ({ text }) => ({ score: Number.parseFloat(text) / 10, reason: text })
  )
}

const print = ({ difference, judgeFailures, normal, retried, verdict }: Evaluation.Summary) => {
  const show = (n = 0) => n.toFixed(2)
  console.log(`first attempts: ${normal.count} judged, mean ${show(normal.mean)}`)
  console.log(`later attempts: ${retried.count} judged, mean ${show(retried.mean)}`)
  console.log(`the judge failed ${judgeFailures} times`)
  const { high, low, mean } = difference ?? {}
  console.log(`later answers: ${verdict}; difference ${show(mean)}, 95 % within ${show(low)} and ${show(high)}`)
}

const program = Effect.gen(function* () {
  const gpt = yield* OpenAi.make({ model: "gpt-4o" })
  const small = yield* OpenAi.make({ model: "small" })
  const assistant = gpt.pipe(ChatModel.orElse(small), ChatModel.named("assistant"))

  const ask = (question: string) =>
    assistant
      .generate(Chat.prompt(question))
      .pipe(Evaluation.sampled({ input: question, output: (answer) => answer.text }))

  const { events } = yield* Evaluation.Evaluation
  const judged = yield* Effect.fork(Stream.runDrain(Stream.take(events, questions.length)))
  yield* Effect.forEach(questions, ask, { concurrency: 8, discard: true })
  yield* Fiber.join(judged)
  print(yield* Evaluation.summary)
})

const evaluated = Effect.gen(function* () {
  const claude = yield* Anthropic.make({ model: "claude-haiku-4-5" })
  const layer = Evaluation.layer({ judge: judgeBy(claude), normal: 1 })
  yield* Effect.provide(program, layer)
})

const provider = FaultyProvider.layer({
  rules: [
    { model: "gpt-4o", script: [Reply.text("It has a divisor."), Fault.status(503)], onExhausted: "cycle" },
    { model: "small", script: [Reply.text("It is a number.")] }
  ],
  script: [({ body }) => Reply.text(/divisor/.test(JSON.stringify(body)) ? "9, it is right" : "4, it says nothing")]
})

await Effect.runPromise(evaluated.pipe(Effect.provide(provider), Logger.withMinimumLogLevel(LogLevel.Error)))
