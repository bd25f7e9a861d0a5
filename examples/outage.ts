// A model is down for two seconds, and thirty callers do not know: what it has to bear, and what they get.
import { Duration, Effect, Either, Logger, LogLevel, Schedule } from "effect"
import { Chat, ChatModel, CircuitBreaker, OpenAi, RetryBudget, RetryPolicy } from "effect-steadfast"
import { Fault, FaultyProvider, Reply } from "effect-steadfast/testing"

const replies = [Reply.text("here you are", { delay: "20 millis" })]
const spare = { model: "spare", script: replies }
const up = { rules: [{ model: "gpt-4o-mini", script: replies }, spare] }
const down = { rules: [{ model: "gpt-4o-mini", script: [Fault.status(503)] }, spare] }

/** Asks every 200 ms for four seconds, whatever comes back. */
const caller = (model: ChatModel.ChatModel) =>
  Effect.forEach(Array.from({ length: 20 }), () =>
    Effect.zipLeft(Effect.either(model.generate(Chat.prompt("Are you there?"))), Effect.sleep("200 millis"))
  )

const watch = (title: string, hold: (model: ChatModel.ChatModel) => ChatModel.ChatModel) =>
  Effect.gen(function* () {
    const provider = yield* FaultyProvider.FaultyProvider
    yield* provider.reset
    yield* provider.become(up)
    const model = hold(yield* OpenAi.make({ model: "gpt-4o-mini" }))
    const start = Date.now()
    yield* Effect.forkDaemon(Effect.delay(provider.become(down), "1 second"))
    yield* Effect.forkDaemon(Effect.delay(provider.become(up), "3 seconds"))
    const answers = yield* Effect.forEach(Array.from({ length: 30 }), () => caller(model), { concurrency: 30 })
    const requests = (yield* provider.requests).filter(({ model }) => model === "gpt-4o-mini")
    const perHalfSecond = Array.from(
      { length: 12 },
      (_, i) => requests.filter((one) => Math.floor((one.at - start) / 500) === i).length
    )
    console.log(`\n${title}`)
    perHalfSecond.forEach((count, i) => {
      const when = Duration.format(Duration.millis(i * 500)).padEnd(9)
      const state = i >= 2 && i < 6 ? "down" : "up  "
      if (count > 0) console.log(`  ${when} ${state} ${String(count).padStart(5)} ${"#".repeat(Math.ceil(count / 12))}`)
    })
    const served = answers.flat().filter(Either.isRight).length
    console.log(`  ${requests.length} requests for ${answers.flat().length} calls, ${served} answered`)
  })

const program = Effect.gen(function* () {
  yield* watch("Five retries a tenth of a second apart:", (model) =>
    model.pipe(ChatModel.retry(Schedule.intersect(Schedule.recurs(5), Schedule.spaced("100 millis"))))
  ).pipe(Effect.provide(RetryBudget.layerUnlimited))
  const breaker = yield* CircuitBreaker.make({ openDuration: { initial: "250 millis", max: "1 second" } })
  yield* watch("Steadfast: a breaker that hears every attempt, and a budget for retries:", (model) =>
    model.pipe(ChatModel.breaker(breaker), ChatModel.retry(RetryPolicy.standard))
  )
  const other = yield* OpenAi.make({ model: "spare" })
  const again = yield* CircuitBreaker.make({ openDuration: { initial: "250 millis", max: "1 second" } })
  yield* watch("The same, and another model while it is down:", (model) =>
    model.pipe(ChatModel.breaker(again), ChatModel.retry(RetryPolicy.standard), ChatModel.orElse(other))
  )
})

const quiet = Logger.withMinimumLogLevel(LogLevel.None)
await Effect.runPromise(program.pipe(Effect.provide(FaultyProvider.layer(up)), quiet))
