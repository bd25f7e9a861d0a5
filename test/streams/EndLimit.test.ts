import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, TestClock } from "effect"
import { ChatModel, ChatStream } from "effect-steadfast"
import { modelOver, reaching, serving, type Timed, ways } from "./Life.support.js"
import { prompt } from "./support.js"

const data = (value: object): string => `data: ${JSON.stringify(value)}\n\n`
const chunk = (delta: object, finish_reason: string | null = null) =>
  data({ id: "c", model: "m", choices: [{ index: 0, delta, finish_reason }] })
const hi = chunk({ content: "hi" })
const stop = chunk({}, "stop")

/** What a reader of a stream gets, and after how long; every body stays open. */
const outcome = (
  way: keyof typeof ways,
  body: Timed,
  wrap = (model: ChatModel.ChatModel) => model
): Effect.Effect<object> =>
  Effect.gen(function* () {
    const clock = yield* Effect.clock
    const { fetch, requests } = serving(clock, body)
    const model = wrap(yield* modelOver("openai-chat", way))
    const fiber = yield* Effect.fork(
      Effect.either(Effect.timed(reaching(fetch)(ChatStream.collect(model.stream(prompt)))))
    )
    yield* TestClock.adjust("10 minutes")
    const either = yield* Fiber.join(fiber)
    const [{ at = 0, hungUpAt = 0 } = {}] = requests
    return either._tag === "Left"
      ? { error: either.left._tag }
      : { text: either.right[1].text, finish: either.right[1].finishReason, hungUp: hungUpAt - at }
  })

for (const way of Object.keys(ways) as Array<keyof typeof ways>) {
  describe(`an answer that is over while its connection stays open, over ${way}`, () => {
    const whole = { text: "hi", finish: "stop" }

    it.effect("is whole after a short wait, and the connection is closed", () =>
      Effect.gen(function* () {
        const answer = yield* outcome(way, [
          [0, hi],
          [0, stop]
        ])
        assert.deepStrictEqual(answer, { ...whole, hungUp: 5000 })
      })
    )

    it.effect("is whole also if the connection is kept alive", () =>
      Effect.gen(function* () {
        const pings = Array.from({ length: 20 }, (): Timed[number] => [2000, ": ping\n\n"])
        assert.deepStrictEqual(yield* outcome(way, [[0, hi], [0, stop], ...pings]), { ...whole, hungUp: 5000 })
      })
    )

    it.effect("is whole when another limit is nearer", () =>
      Effect.gen(function* () {
        const body: Timed = [
          [0, hi],
          [0, stop]
        ]
        for (const wrap of [
          ChatModel.timeout({ idle: "1 second" }),
          ChatModel.timeout({ attempt: "1 second" }),
          ChatModel.deadline("1 second")
        ]) {
          assert.deepStrictEqual(yield* outcome(way, body, wrap), { ...whole, hungUp: 1000 })
        }
      })
    )

    it.effect("takes what comes in the meantime, usage and text", () =>
      Effect.gen(function* () {
        const answer = yield* outcome(way, [
          [0, hi],
          [0, stop],
          [3000, chunk({ content: "!" }, "length")],
          [3000, "data: [DONE]\n\n"]
        ])
        assert.deepInclude(answer, { text: "hi!", finish: "length" })
      })
    )

    it.effect("is not over if content came after a finish reason, as that reason told nothing", () =>
      Effect.gen(function* () {
        const body: Timed = [
          [0, hi],
          [0, stop],
          [1000, hi],
          [0, stop],
          [60_000, hi]
        ]
        const answer = yield* outcome(way, body, ChatModel.timeout({ idle: "2 minutes" }))
        assert.deepStrictEqual(answer, { error: "Timeout" })
      })
    )

    it.effect("is not over before it has begun", () =>
      Effect.gen(function* () {
        const answer = yield* outcome(way, [
          [0, stop],
          [6000, hi],
          [0, stop],
          [0, "data: [DONE]\n\n"]
        ])
        assert.deepInclude(answer, whole)
      })
    )

    it.effect("is not over without a finish reason", () =>
      Effect.gen(function* () {
        assert.deepStrictEqual(yield* outcome(way, [[0, hi]], ChatModel.timeout({ idle: "1 second" })), {
          error: "Timeout"
        })
      })
    )
  })
}
