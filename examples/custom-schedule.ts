// A schedule of one's own, intersected with ours: both must agree to go on, and the longer wait counts.
import { Duration, Effect, Schedule } from "effect"
import { Chat, OpenAi, RetryPolicy } from "effect-steadfast"
import { Fault, FaultyProvider, Reply } from "effect-steadfast/testing"

// Office rules: at least 300 ms between attempts, and no new attempt after five seconds.
const officeRules = Schedule.spaced("300 millis").pipe(
  Schedule.intersect(Schedule.recurUpTo("5 seconds")),
  Schedule.tapOutput(([round]) => Effect.logDebug(`round ${round}`))
)

// `announced` tells what the whole does; of nested ones only the outermost speaks.
const policy = RetryPolicy.standard.pipe(Schedule.intersect(officeRules), RetryPolicy.announced)

// The blocks alone are schedules too: backoff and the server's hint, for as long as the error is worth it.
const tireless = RetryPolicy.backoff({ initialDelay: "50 millis", maxDelay: "200 millis" }).pipe(
  Schedule.intersect(RetryPolicy.serverHint()),
  Schedule.intersect(RetryPolicy.whileRetryable),
  RetryPolicy.announced
)

const program = Effect.gen(function* () {
  const gpt = yield* OpenAi.make({ model: "gpt-4o-mini" })
  const ask = gpt.generate(Chat.prompt("Hello"))

  const [took, first] = yield* Effect.timed(Effect.retry(ask, policy))
  yield* Effect.logInfo(`"${first.text}" after ${Duration.format(took)}`)

  const second = yield* Effect.retry(ask, tireless)
  yield* Effect.logInfo(`"${second.text}" after six more failures`)
})

const script = [
  Fault.status(503),
  Fault.rateLimited({ retryAfter: "1 second" }),
  Reply.text("patience pays"),
  ...Array.from({ length: 6 }, () => Fault.status(500)),
  Reply.text("so does persistence")
]

await Effect.runPromise(program.pipe(Effect.provide(FaultyProvider.layer({ script }))))
