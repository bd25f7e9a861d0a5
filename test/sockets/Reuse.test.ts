import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { it } from "@effect/vitest"
import { Effect } from "effect"
import { Chat, ChatStream, OpenAi } from "effect-steadfast"
import { assert, describe } from "vitest"
import { clients } from "./support.js"

/** A server that says its last word and ends the body a little later, as real ones do. */
const server = Effect.acquireRelease(
  Effect.async<{ readonly url: string; readonly sockets: () => number; readonly close: () => void }>((resume) => {
    let sockets = 0
    const http = createServer((_, response) => {
      response.writeHead(200, { "content-type": "text/event-stream" })
      response.write(
        'data: {"choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
      )
      setTimeout(() => response.end(), 3)
    })
    http.on("connection", () => {
      sockets++
    })
    http.listen(0, "127.0.0.1", () => {
      const { port } = http.address() as AddressInfo
      const close = () => {
        http.closeAllConnections()
        http.close()
      }
      resume(Effect.succeed({ url: `http://127.0.0.1:${port}`, sockets: () => sockets, close }))
    })
  }),
  ({ close }) => Effect.sync(close)
)

describe("a stream that was read to its Finish", () => {
  it.scopedLive.each(clients.filter(([name]) => name !== "node:http"))(
    "leaves its connection to the next one (%s)",
    ([, layer]) =>
      Effect.gen(function* () {
        const { sockets, url } = yield* server
        const gpt = yield* OpenAi.make({ model: "gpt-4o-mini", baseUrl: url })
        for (let i = 0; i < 10; i++) {
          assert.strictEqual((yield* ChatStream.collect(gpt.stream(Chat.prompt("hello")))).text, "hi")
          // The end of the body is on its way for some milliseconds.
          yield* Effect.sleep("25 millis")
        }
        assert.isAtMost(sockets(), 3)
      }).pipe(Effect.provide(layer))
  )
})
