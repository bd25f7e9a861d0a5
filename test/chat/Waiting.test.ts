import { assert, describe, it } from "@effect/vitest"
import { Clock, Duration, Effect, Exit, FastCheck as fc, Logger, LogLevel, Random, Stream } from "effect"
import { Chat, ChatModel, ChatStream, CircuitBreaker, type LlmError, RetryPolicy } from "effect-steadfast"
import { breathe, cases } from "../support/cases.js"
import { errorOf } from "../support/errors.js"
import { collectLogs } from "../support/evidence.js"
import { simulate } from "../support/simulate.js"
import { errorIn } from "../support/time.js"

const prompt = Chat.prompt("Hello")

type Ask = (model: ChatModel.ChatModel) => Effect.Effect<Chat.Response, LlmError.LlmError>

const ways: readonly [readonly [string, Ask], readonly [string, Ask]] = [
  ["generate", (model) => model.generate(prompt)],
  ["stream", (model) => ChatStream.collect(model.stream(prompt))]
]

/** A model that fails between two times, in seconds, and what it was asked when. */
const leafOf = (
  name: string,
  from: number,
  until: number,
  hint?: Duration.Duration,
  answers: Duration.DurationInput = "100 millis"
) => {
  const asked: Array<number> = []
  const target = { provider: name, model: `${name}-1` }
  const attempt = Effect.gen(function* () {
    const now = (yield* Clock.currentTimeMillis) / 1000
    asked.push(now)
    const isDown = now >= from && now < until
    yield* Effect.sleep(isDown ? "100 millis" : answers)
    if (isDown) return yield* Effect.fail(errorOf("ServerError", { ...target, hint }))
    return { ...target, text: name, toolCalls: [], finishReason: "stop" as const }
  })
  const model = ChatModel.make({
    ...target,
    generate: () => attempt,
    stream: () =>
      Stream.flatMap(Stream.fromEffect(attempt), ({ text }) =>
        Stream.fromIterable<Chat.Event>([
          { _tag: "Start", ...target },
          { _tag: "TextDelta", text },
          { _tag: "Finish", reason: "stop" }
        ])
      )
  })
  return { model, asked }
}

const guarded = (self: ChatModel.ChatModel, options: CircuitBreaker.Options = {}) =>
  Effect.map(CircuitBreaker.make({ tripPolicy: CircuitBreaker.consecutive(2), ...options }), (breaker) =>
    self.pipe(ChatModel.breaker(breaker), ChatModel.retry(RetryPolicy.make({ initialDelay: "100 millis" })))
  )

/** Asks once every tenth of a second, and tells how and after how many seconds each call ended. */
const run = <E>(model: Effect.Effect<ChatModel.ChatModel, E>, ask: Ask, count: number) =>
  Effect.flatMap(model, (model) =>
    Effect.forEach(
      Array.from({ length: count }, (_, index) => index / 10),
      (start) =>
        Effect.gen(function* () {
          yield* Effect.sleep(Duration.seconds(start))
          const exit = yield* Effect.exit(ask(model))
          const ended = (yield* Clock.currentTimeMillis) / 1000
          return { exit, said: exit._tag === "Success" ? exit.value.text : errorIn(exit)?._tag, took: ended - start }
        }),
      { concurrency: "unbounded" }
    )
  ).pipe(Effect.withRandom(Random.make("waiting")), Logger.withMinimumLogLevel(LogLevel.None), simulate)

describe.each(ways)("%s", (_, ask) => {
  it("says that it waits, and for what", () => {
    const one = leafOf("one", 0, 20)
    const { layer, lines } = collectLogs()
    const program = Effect.gen(function* () {
      const model = ChatModel.deadline(yield* guarded(one.model), "1 minute")
      return yield* Effect.forEach([0, 1, 2, 3], () => ask(model), { concurrency: "unbounded" })
    })
    simulate(Effect.provide(Effect.withRandom(program, Random.make("says")), layer))
    const waiting = lines.filter(({ message }) => message.startsWith("waiting for"))
    assert.isAtLeast(waiting.length, 4)
    assert.match(waiting[0]?.message ?? "", /^waiting for one.*one-1: the circuit is open after ServerError/)
    assert.deepInclude(waiting[0], { level: "INFO" })
  })

  it("waits for its only target and loses no call", () => {
    const one = leafOf("one", 2, 32)
    const ends = run(Effect.map(guarded(one.model), ChatModel.deadline("10 minutes")), ask, 100)
    assert.isTrue(ends.every(({ said }) => said === "one"))
    assert.isAtMost(one.asked.filter((at) => at >= 2 && at < 32).length, 12)
  })

  it.each([0, 2])("serves those that have time for a long answer, with an outage from second %i", (from) => {
    const one = leafOf("one", from, 32, undefined, "2 seconds")
    const ends = run(Effect.map(guarded(one.model), ChatModel.deadline("20 seconds")), ask, 600)
    // From second 12 on a call has time: it ends 20 seconds later at the earliest.
    const possible = ends.slice(170)
    assert.isAtLeast(possible.filter(({ said }) => said === "one").length, 0.75 * possible.length)
    assert.isTrue(ends.slice(450).every(({ said }) => said === "one"))
  })

  it("goes to a fallback that takes traffic at once", () => {
    const one = leafOf("one", 1, 60)
    const two = leafOf("two", 0, 0)
    const both = Effect.map(guarded(one.model), ChatModel.orElse(two.model))
    const ends = run(both, ask, 150)
    assert.isTrue(ends.every(({ said }) => said !== "CircuitOpen" && said !== "ServerError"))
    // A probe or a first failure, and its retries, are all that a call may lose.
    assert.isBelow(Math.max(...ends.map(({ took }) => took)), 3)
    assert.isAtMost(one.asked.filter((at) => at >= 1).length, 20)
  })

  it("waits where the fallback may not take the call", () => {
    const one = leafOf("one", 1, 10)
    const two = leafOf("two", 0, 0)
    const never = { when: { CircuitOpen: false, ServerError: false } } as const
    const ends = run(
      Effect.map(guarded(one.model), (model) =>
        model.pipe(ChatModel.orElse(two.model, never), ChatModel.deadline("1 minute"))
      ),
      ask,
      100
    )
    assert.isTrue(ends.every(({ said }) => said === "one"))
    assert.strictEqual(two.asked.length, 0)
  })

  it("takes the first of two shut targets that opens", () => {
    const one = leafOf("one", 1, 600)
    const two = leafOf("two", 1, 20)
    const both = Effect.gen(function* () {
      const first = yield* guarded(one.model)
      const second = yield* guarded(two.model)
      return first.pipe(ChatModel.orElse(second), ChatModel.deadline("5 minutes"))
    })
    const ends = run(both, ask, 150)
    assert.isTrue(ends.every(({ exit }) => Exit.isSuccess(exit)))
    assert.isBelow(Math.max(...ends.map(({ took }) => took)), 45)
  })

  it("fails at once if the wait cannot end before the deadline", () => {
    const one = leafOf("one", 0, 600, Duration.seconds(40))
    const soon = Effect.map(guarded(one.model, { openDuration: "50 seconds" }), ChatModel.deadline("2 seconds"))
    const ends = run(soon, ask, 40)
    const refused = ends.filter(({ said }) => said === "CircuitOpen")
    assert.isAtLeast(refused.length, 30)
    for (const { took } of refused.slice(10)) assert.isBelow(took, 0.5)
  })

  it("leaves the queue when it is interrupted", () => {
    const one = leafOf("one", 0, 30)
    const timeout: Ask = (model) => Effect.orDie(Effect.timeout(ask(model), "1 second")) as ReturnType<Ask>
    const ends = run(
      Effect.flatMap(guarded(one.model, { openDuration: "5 seconds" }), (model) =>
        Effect.as(Effect.exit(Effect.replicateEffect(Effect.exit(timeout(model)), 3)), model)
      ),
      ask,
      1
    )
    assert.strictEqual(ends[0]?.said, "one")
  })
})

describe("laws of two targets", () => {
  const outage = fc.tuple(fc.integer({ min: 0, max: 20 }), fc.integer({ min: 0, max: 40 }))

  it("no call that has time is lost, and none waits while its other target takes traffic", async () => {
    await fc.assert(
      fc
        .asyncProperty(
          outage,
          outage,
          fc.nat(1),
          fc.integer({ min: 1, max: 60 }),
          async (first, second, way, count) => {
            const one = leafOf("one", first[0], first[0] + first[1])
            const two = leafOf("two", second[0], second[0] + second[1])
            const both = Effect.gen(function* () {
              const [left, right] = [yield* guarded(one.model), yield* guarded(two.model)]
              return left.pipe(ChatModel.orElse(right), ChatModel.deadline("10 minutes"))
            })
            const [, ask] = ways[way] ?? ways[0]
            const ends = run(both, ask, count)
            assert.isTrue(ends.every(({ exit }) => Exit.isSuccess(exit)))
            // The second target is never down: whoever the first one fails goes on within its retries.
            if (second[1] === 0) assert.isBelow(Math.max(...ends.map(({ took }) => took)), 5)
          }
        )
        .beforeEach(breathe),
      { numRuns: cases(2_000) }
    )
  })
})
