import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Stream, TestClock } from "effect"
import { Chat, ChatModel, Pacer, Prices } from "effect-steadfast"
import { collectRecords } from "../support/evidence.js"

const usage: Chat.Usage = { inputTokens: 1_000_000, outputTokens: 500_000 }

const leaf = ChatModel.make({
  provider: "memory",
  model: "m",
  generate: () =>
    Effect.succeed({ provider: "memory", model: "m", text: "hi", toolCalls: [], finishReason: "stop", usage }),
  stream: () =>
    Stream.fromIterable<Chat.Event>([
      { _tag: "Start", provider: "memory", model: "m" },
      { _tag: "TextDelta", text: "hi" },
      { _tag: "Usage", usage },
      { _tag: "Finish", reason: "stop" }
    ])
})

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
