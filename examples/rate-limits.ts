// Twenty workers, a hundred jobs, and a provider that takes twenty requests a second: in a queue nobody is turned away.
import { Clock, Effect, Logger, LogLevel } from "effect"
import { Chat, ChatModel, OpenAi, Pacer, RetryBudget, RetryPolicy } from "effect-steadfast"
import { FaultyProvider, Reply } from "effect-steadfast/testing"

// Real token buckets, and headers that tell the truth about them.
const behaviour: FaultyProvider.Options = {
  script: [Reply.text("done", { delay: "50 millis" })],
  limits: { requests: { limit: 20, window: "1 second" } }
}

const jobs = Array.from({ length: 100 }, (_, n) => Chat.prompt(`job ${n}`))

const measure = (title: string, hold: (model: ChatModel.ChatModel) => ChatModel.ChatModel) =>
  Effect.gen(function* () {
    const provider = yield* FaultyProvider.FaultyProvider
    yield* provider.become(behaviour)
    yield* provider.reset
    const model = hold(yield* OpenAi.make({ model: "gpt-4o-mini" }))
    const start = yield* Clock.currentTimeMillis
    const waits: Array<number> = []
    const work = (request: Chat.Request) =>
      Effect.gen(function* () {
        const asked = yield* Clock.currentTimeMillis
        const answer = yield* Effect.option(model.generate(request))
        waits.push((yield* Clock.currentTimeMillis) - asked)
        return answer._tag === "Some"
      })
    const done = yield* Effect.forEach(jobs, work, { concurrency: 20 })
    const seconds = ((yield* Clock.currentTimeMillis) - start) / 1000
    const requests = yield* provider.requests
    const refused = requests.filter((request) => request.limited).length
    console.log(`${title}\n  ${done.filter(Boolean).length} of ${jobs.length} jobs done in ${seconds.toFixed(1)} s`)
    console.log(`  ${requests.length} requests, ${refused} of them refused; longest wait ${Math.max(...waits)} ms`)
  })

const program = Effect.gen(function* () {
  yield* measure("Retry alone, as the server asks:", ChatModel.retry(RetryPolicy.standard)).pipe(
    Effect.provide(RetryBudget.layerUnlimited)
  )

  const told = yield* Pacer.make({ requests: { limit: 20, window: "1 second" } })
  yield* measure("A queue that knows the limit:", (model) =>
    model.pipe(ChatModel.pace(told), ChatModel.retry(RetryPolicy.standard))
  )

  const learning = yield* Pacer.make()
  yield* measure("A queue that learns it on the way:", (model) =>
    model.pipe(ChatModel.pace(learning), ChatModel.retry(RetryPolicy.standard))
  )
})

const quiet = Logger.withMinimumLogLevel(LogLevel.None)
await Effect.runPromise(program.pipe(Effect.provide(FaultyProvider.layer(behaviour)), quiet))
