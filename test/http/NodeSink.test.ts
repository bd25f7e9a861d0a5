import type { ServerResponse } from "node:http"
import { Writable } from "node:stream"
import { assert, describe, it } from "@effect/vitest"
import { Effect, FastCheck as fc } from "effect"
import * as NodeReply from "../../src/node/NodeReply.js"
import { cases } from "../support/cases.js"

/** A response that keeps what was written to it. */
const responseOf = () => {
  const written: Array<string> = []
  const response = new Writable({
    decodeStrings: false,
    write: (text, _, done) => {
      written.push(String(text))
      setImmediate(done)
    }
  })
  return { written, response: response as unknown as ServerResponse }
}

const turn = Effect.async<void>((resume) => {
  setImmediate(() => resume(Effect.void))
})

const frames = fc.array(fc.array(fc.string({ minLength: 1, maxLength: 20 }), { maxLength: 6 }), { maxLength: 6 })

describe("a connection to a client", () => {
  it("gets the frames of a turn of the event loop together, and all in their order", async () => {
    await fc.assert(
      fc.asyncProperty(frames, fc.option(fc.string(), { nil: undefined }), async (turns, last) => {
        const { response, written } = responseOf()
        const sink = NodeReply.sinkOf(response, {})
        const program = Effect.gen(function* () {
          for (const texts of turns) {
            for (const text of texts) yield* sink.write(text) ?? Effect.void
            yield* turn
          }
          sink.end(last)
          yield* turn
        })
        await Effect.runPromise(program)
        assert.strictEqual(written.join(""), turns.flat().join("") + (last ?? ""))
        assert.isAtMost(written.length, turns.filter((texts) => texts.length > 0).length + 1)
      }),
      { numRuns: cases(2000, 100) }
    )
  })

  it.live("takes a large text at once, and tells when there is room again", () =>
    Effect.gen(function* () {
      const { response, written } = responseOf()
      const sink = NodeReply.sinkOf(response, {})
      const large = "x".repeat(response.writableHighWaterMark)
      const room = sink.write(large)
      assert.deepStrictEqual(written, [large])
      assert.isDefined(room)
      yield* room ?? Effect.void
      assert.isUndefined(sink.write("more"))
    })
  )

  it.live("gets what was written before its last text and its end", () =>
    Effect.gen(function* () {
      const { response, written } = responseOf()
      const sink = NodeReply.sinkOf(response, {})
      sink.write("a")
      yield* sink.abort("b")
      assert.strictEqual(written.join(""), "ab")
      assert.isTrue(response.destroyed)
    })
  )

  it.live("bears that somebody else ends it", () =>
    Effect.gen(function* () {
      const { response, written } = responseOf()
      const errors: Array<unknown> = []
      response.on("error", (error) => errors.push(error))
      NodeReply.sinkOf(response, {}).write("a")
      response.end()
      yield* turn
      assert.deepStrictEqual([written, errors], [[], []])
    })
  )
})
