import { assert, describe, it } from "@effect/vitest"
import { Effect, Schedule, Stream } from "effect"
import { ChatModel } from "effect-steadfast"
import type * as Replay from "../../src/chat/stream/Replay.js"
import { type Format, formats, modelOf, prompt, stub } from "./support.js"
import { written } from "./wire.js"

const words = Array.from({ length: 200 }, (_, i) => `⟦${i}⟧ `)

/** A model whose stream comes in one piece per event. */
const slowly = (format: Format) =>
  Effect.gen(function* () {
    const text = new TextDecoder().decode(written(format, {}, words))
    const events = text.split(/(?<=\n\n)/).map((event) => new TextEncoder().encode(event))
    const provider = stub(() => ({ pieces: events, ending: "end" }))
    return { provider, events, leaf: yield* modelOf(format, provider) }
  })

const modes: ReadonlyArray<Replay.Mode | undefined> = [undefined, "strict", "restart", "continue"]

const within = (leaf: ChatModel.ChatModel, mode: Replay.Mode | undefined) =>
  mode === undefined
    ? leaf
    : leaf.pipe(ChatModel.timeout({ idle: "5 seconds" }), ChatModel.retry(Schedule.recurs(2), { mode }))

describe("a slow reader", () => {
  it.effect.each(formats.map((format) => [format] as const))("%s: is not run ahead of", ([format]) =>
    Effect.forEach(modes, (mode) =>
      Effect.gen(function* () {
        const { leaf, provider } = yield* slowly(format)
        let read = 0
        let ahead = 0
        yield* Stream.runForEach(within(leaf, mode).stream(prompt), (event) =>
          Effect.sync(() => {
            if (event._tag === "TextDelta") read++
            // What stands before the text, and in `continue` mode the white space that waits, is not ahead.
            ahead = Math.max(ahead, provider.state.pulled - read)
          }).pipe(Effect.zipLeft(Effect.yieldNow()))
        )
        assert.isAtLeast(read, words.length)
        assert.isAtMost(ahead, 6, `${mode}`)
      })
    )
  )
})

describe("a reader who leaves", () => {
  it.effect.each(formats.map((format) => [format] as const))("%s: has closed the source by then", ([format]) =>
    Effect.forEach(modes, (mode) =>
      Effect.gen(function* () {
        const { events, leaf, provider } = yield* slowly(format)
        for (const count of [1, 2, 5, 50]) {
          provider.state.pulled = 0
          yield* Stream.runDrain(Stream.take(within(leaf, mode).stream(prompt), count))
          assert.strictEqual(provider.state.open, 0)
          assert.isBelow(provider.state.pulled, Math.min(events.length, count + 8))
        }
      })
    )
  )

  it.effect("has closed it also after a failure of its own", () =>
    Effect.gen(function* () {
      const { leaf, provider } = yield* slowly("anthropic")
      yield* Effect.exit(Stream.runForEach(leaf.stream(prompt), () => Effect.fail("enough")))
      assert.strictEqual(provider.state.open, 0)
      assert.isBelow(provider.state.pulled, 6)
    })
  )
})
