import type { ServerResponse } from "node:http"
import * as Zlib from "node:zlib"
import { assert, describe } from "@effect/vitest"
import { Effect, Either } from "effect"
import { Chat, ChatStream, LlmError } from "effect-steadfast"
import { modelAt, onEveryClient, patience } from "./support.js"
import { serving } from "./Transport.support.js"

const mebi = 1024 * 1024
/** Bytes that a server offers, which nobody shall take: six times the default bound. */
const offered = 100 * mebi

/** Writes pieces as fast as the reader takes them, until the end or a hang-up. Tells how many bytes were taken. */
const pour = (response: ServerResponse, first: string, piece: Buffer, onEnd: (sent: number) => void): void => {
  let sent = 0
  response.write(first)
  const more = (): void => {
    while (sent < offered) {
      sent += piece.length
      if (!response.write(piece)) {
        response.once("drain", more)
        return
      }
    }
    response.end()
  }
  response.once("close", () => onEnd(sent))
  more()
}

const filler = Buffer.alloc(64 * 1024, "x")
const event = (delta: object): Buffer => Buffer.from(`data: ${JSON.stringify({ choices: [{ index: 0, delta }] })}\n\n`)
const long = "y".repeat(32 * 1024)

const bodies = {
  "a 200": [200, "application/json", '{"choices":[{"message":{"content":"', filler],
  "a line of a stream": [200, "text/event-stream", "data: ", filler],
  "the data lines of one event": [200, "text/event-stream", "", Buffer.from(`data: ${long}\n`)],
  "the text of a stream": [200, "text/event-stream", "", event({ content: long })],
  "the arguments of a tool call": [
    200,
    "text/event-stream",
    "",
    event({ tool_calls: [{ index: 0, id: "a", function: { name: "f", arguments: long } }] })
  ]
} as const

describe("a body without an end", () => {
  for (const [name, [status, type, first, piece]] of Object.entries(bodies)) {
    onEveryClient(`${name} is held to its bound, and the connection closed`, () =>
      Effect.gen(function* () {
        let taken: number | undefined
        const { url } = yield* serving((_, response) => {
          response.writeHead(status, { "content-type": type })
          pour(response, first, piece, (sent) => {
            taken = sent
          })
        })
        const model = yield* modelAt(url)
        const prompt = Chat.prompt("hi")
        const ask = type === "application/json" ? model.generate(prompt) : ChatStream.collect(model.stream(prompt))
        const answer = yield* Effect.either(Effect.timeout(ask, patience))
        if (Either.isRight(answer)) return assert.fail("an answer without an end was taken")
        const error = answer.left
        if (error._tag !== "InvalidResponse") return assert.fail(String(error))
        assert.isFalse(LlmError.isRetryable(error))
        for (let i = 0; i < 200 && taken === undefined; i++) yield* Effect.sleep(20)
        // The rest is in the buffers of the sockets.
        assert.isBelow(taken ?? offered, 40 * mebi)
      })
    )
  }

  onEveryClient("the body of an error keeps the class of its status", () =>
    Effect.gen(function* () {
      const { url } = yield* serving((_, response) => {
        response.writeHead(500, { "content-type": "application/json" })
        pour(response, '{"error":{"message":"', filler, () => {})
      })
      const error = yield* Effect.flip((yield* modelAt(url)).generate(Chat.prompt("hi")))
      assert.strictEqual(error._tag, "ServerError")
    })
  )

  onEveryClient("a small body that unpacks to a large one is held to its bound", () =>
    Effect.gen(function* () {
      const packed = Zlib.gzipSync(Buffer.concat([Buffer.from('{"choices":"'), Buffer.alloc(offered, "x")]))
      const { url } = yield* serving((_, response) => {
        response.writeHead(200, { "content-type": "application/json", "content-encoding": "gzip" })
        response.end(packed)
      })
      const error = yield* Effect.flip((yield* modelAt(url)).generate(Chat.prompt("hi")))
      assert.strictEqual(error._tag, "InvalidResponse")
    })
  )
})
