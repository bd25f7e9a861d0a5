// How to test retries: a provider that fails by script, and a clock that the test moves. No waiting, no flakiness.
import assert from "node:assert"
import { Effect, Fiber, TestClock, TestContext } from "effect"
import { Chat, OpenAi, RetryPolicy } from "effect-steadfast"
import { Fault, FaultyProvider, Reply } from "effect-steadfast/testing"

const script = [Fault.rateLimited({ retryAfter: "2 seconds" }), Fault.status(503), Reply.text("hi")]

// In a test file this is the body of `it.effect(...)` from @effect/vitest, which brings the TestContext.
const test = Effect.gen(function* () {
  const gpt = yield* OpenAi.make({ model: "gpt-4o-mini" })
  const provider = yield* FaultyProvider.FaultyProvider
  const fiber = yield* Effect.fork(gpt.generate(Chat.prompt("Hello")).pipe(Effect.retry(RetryPolicy.standard)))
  yield* TestClock.adjust("10 seconds")
  assert.equal((yield* Fiber.join(fiber)).text, "hi")
  const times = (yield* provider.requests).map((request) => request.at)
  assert.equal(times.length, 3)
  assert.ok(Number(times[1]) - Number(times[0]) >= 2000, "the server asked for 2 seconds")
})

await Effect.runPromise(
  test.pipe(Effect.provide(FaultyProvider.layer({ script })), Effect.provide(TestContext.TestContext))
)
console.log("ok: 3 attempts, at least 2 s apart as the server asked, in no time at all")
