import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, TestClock } from "effect"
import { ChatModel, ChatStream, Resilience } from "effect-steadfast"
import { Fault, Reply } from "effect-steadfast/testing"
import { prompt, scripted } from "../chat/support.js"

/** Reads so many milliseconds at each event, and tells how the stream ended and when. */
const reading = (
  model: ChatModel.ChatModel,
  millis: number,
  around = <A, E, R>(self: Effect.Effect<A, E, R>) => self
) =>
  Effect.gen(function* () {
    let events = 0
    const slow = ChatStream.forEach(model.stream(prompt), () => {
      events++
      return Effect.sleep(millis)
    })
    const fiber = yield* Effect.fork(Effect.timed(Effect.either(around(slow))))
    yield* TestClock.adjust("1 hour")
    const [took, either] = yield* Fiber.join(fiber)
    return { events, tag: either._tag === "Left" ? either.left._tag : "Right", took: Number(took) / 1_000_000 || took }
  })

describe("a reader that is slower than the server", () => {
  const words = Reply.text(Array.from({ length: 200 }, (_, index) => `w${index}`).join(" "))

  it.effect("does not outlive the limits: deadline, attempt, and a deadline around it", () =>
    Effect.gen(function* () {
      for (const [wrap, phase] of [
        [ChatModel.deadline("1 second"), "total"],
        [ChatModel.timeout({ attempt: "1 second" }), "attempt"]
      ] as const) {
        const { model } = yield* scripted(Fault.slowTokens("10 millis", words))
        const { events, tag } = yield* reading(wrap(model), 30)
        assert.strictEqual(tag, "Timeout", phase)
        assert.isAtMost(events, 36)
        assert.isAtLeast(events, 20)
      }
      const { model } = yield* scripted(Fault.slowTokens("10 millis", words))
      const { events, tag } = yield* reading(model, 30, (self) => Resilience.deadline(self, "1 second") as typeof self)
      assert.strictEqual(tag, "Timeout")
      assert.isAtMost(events, 36)
    })
  )

  it.effect("keeps an answer that came in time, however long it reads the last event", () =>
    Effect.gen(function* () {
      const { model } = yield* scripted(Reply.text("a b"))
      const { tag } = yield* reading(model.pipe(ChatModel.deadline("10 seconds")), 3000)
      assert.strictEqual(tag, "Right")
    })
  )
})
