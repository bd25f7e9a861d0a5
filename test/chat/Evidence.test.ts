import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Random, Redacted, Stream, TestClock } from "effect"
import {
  Chat,
  ChatModel,
  CircuitBreaker,
  KeyPool,
  type LlmError,
  Pacer,
  Prices,
  RetryBudget,
  RetryPolicy
} from "effect-steadfast"
import { errorOf, hinted } from "../support/errors.js"
import { collectRecords } from "../support/evidence.js"
import { simulate } from "../support/simulate.js"

const usage: Chat.Usage = { inputTokens: 1_000_000, outputTokens: 500_000 }

const leafAfter = (before: Effect.Effect<void, LlmError.LlmError>) =>
  ChatModel.make({
    provider: "memory",
    model: "m",
    generate: () =>
      Effect.as(before, { provider: "memory", model: "m", text: "hi", toolCalls: [], finishReason: "stop", usage }),
    stream: () =>
      Stream.concat(
        Stream.execute(before),
        Stream.fromIterable<Chat.Event>([
          { _tag: "Start", provider: "memory", model: "m" },
          { _tag: "TextDelta", text: "hi" },
          { _tag: "Usage", usage },
          { _tag: "Finish", reason: "stop" }
        ])
      )
  })

const leaf = leafAfter(Effect.void)

const ways: Readonly<Record<string, (model: ChatModel.ChatModel) => Effect.Effect<unknown, unknown>>> = {
  generate: (model) => model.generate(Chat.prompt("hi")),
  stream: (model) => Stream.runDrain(model.stream(Chat.prompt("hi")))
}

describe("the record of an attempt", () => {
  for (const [name, ask] of Object.entries(ways)) {
    it.effect(`says how long it waited for a place, if it did: ${name}`, () =>
      Effect.gen(function* () {
        const { layer, records } = collectRecords()
        const pacer = yield* Pacer.make({ requests: { limit: 1, window: "10 seconds" } })
        const paced = leaf.pipe(ChatModel.pace(pacer))
        const calls = Effect.all([ask(paced), ask(paced), ask(paced)], { concurrency: "unbounded" })
        const fiber = yield* Effect.fork(Effect.provide(calls, layer))
        yield* TestClock.adjust("1 minute")
        yield* Fiber.join(fiber)
        assert.deepStrictEqual(
          records.map(({ attempts }) => attempts[0]?.queuedMillis),
          [undefined, 10_000, 20_000]
        )
      })
    )

    it(`says how long it waited for a circuit, a budget and a member, and no longer: ${name}`, () => {
      const failing = (times: number, error: LlmError.LlmError) => {
        let left = times
        return leafAfter(Effect.suspend(() => (left-- > 0 ? Effect.fail(error) : Effect.void))).pipe(
          ChatModel.timeout({ attempt: "1 minute" })
        )
      }
      const retried = ChatModel.retry(RetryPolicy.make({ initialDelay: "1 second", jitter: "none" }))
      const queued = (model: Effect.Effect<ChatModel.ChatModel, unknown>) => {
        const { layer, records } = collectRecords()
        const program = Effect.gen(function* () {
          const made = yield* model
          yield* ask(made).pipe(Effect.exit)
          yield* ask(made)
          yield* ask(made)
        })
        const budget = RetryBudget.layer({ cap: 1, ratio: 0, reserve: "10 seconds" })
        simulate(program.pipe(Effect.provide(layer), Effect.provide(budget), Effect.withRandom(Random.fixed([0.5]))))
        return records.map(({ attempts }) => attempts.map(({ queuedMillis }) => queuedMillis))
      }
      // Five seconds, less the jitter.
      const trip = CircuitBreaker.consecutive(1)
      const breaker = Effect.map(CircuitBreaker.make({ tripPolicy: trip, openDuration: "5 seconds" }), (breaker) =>
        failing(1, errorOf("ServerError")).pipe(ChatModel.breaker(breaker))
      )
      assert.deepStrictEqual(queued(breaker), [[undefined], [4500], [undefined]])
      // The first retry has the only one that is left; the second waits ten seconds, of which one is its own delay.
      const poor = Effect.sync(() => failing(2, errorOf("ServerError")).pipe(retried))
      assert.deepStrictEqual(queued(poor), [[undefined, undefined, 9000], [undefined], [undefined]])
      const limited = Effect.flatMap(KeyPool.make({ keys: [Redacted.make("a")] }), (pool) =>
        ChatModel.pooled(pool, () => Effect.succeed(failing(1, hinted("7 seconds"))))
      )
      assert.deepStrictEqual(queued(limited), [[undefined], [7000], [undefined]])
    })

    it.effect(`says its cost, if usage and price are known: ${name}`, () =>
      Effect.gen(function* () {
        const { layer, records } = collectRecords()
        const broken = () => {
          throw new Error("a bug")
        }
        const lists = [
          Prices.table({ "memory/m": { input: 2, output: 4 } }),
          Prices.none,
          { price: broken, bound: broken }
        ]
        for (const list of lists) yield* ask(leaf).pipe(Effect.provide(layer), Effect.provide(Prices.layer(list)))
        assert.deepStrictEqual(
          records.map(({ attempts, outcome }) => [outcome, attempts[0]?.usd]),
          [
            ["success", 4],
            ["success", undefined],
            ["success", undefined]
          ]
        )
      })
    )
  }
})
