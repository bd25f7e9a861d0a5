import { FetchHttpClient, HttpClient } from "@effect/platform"
import { NodeHttpClient, Undici } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Layer, Redacted } from "effect"
import { Chat, OpenAi } from "effect-steadfast"
import { NodeTransport } from "effect-steadfast/node"
import { listen, serving, transport, transports } from "./Transport.support.js"

describe("a transport", () => {
  it.scopedLive.each(transports)("says when it failed to connect, if it knows (%s)", ([name, layer]) =>
    Effect.gen(function* () {
      const self = yield* transport
      const refusing = yield* Effect.scoped(
        Effect.map(
          serving(() => {}),
          ({ url }) => url
        )
      )
      const known = name === "fetch" ? "before-headers" : "connect"
      assert.strictEqual((yield* listen(self, refusing, "text").last).stage, known)
      const closing = yield* serving((request) => void request.socket.destroy())
      assert.strictEqual((yield* listen(self, closing.url, "text").last).stage, "before-headers")
    }).pipe(Effect.provide(layer))
  )
})

describe("undici without dispatchers, as in Bun", () => {
  /** Takes away what a stub has not. */
  const stubbed = Effect.acquireRelease(
    Effect.sync(() =>
      Object.defineProperty(Undici.Agent.prototype, "dispatch", { value: undefined, configurable: true })
    ),
    (prototype) => Effect.sync(() => Reflect.deleteProperty(prototype, "dispatch"))
  )

  it.scoped("is fetch", () =>
    Effect.gen(function* () {
      yield* stubbed
      const answer = JSON.stringify({ choices: [{ message: { content: "by fetch" }, finish_reason: "stop" }] })
      const fetch = Layer.succeed(FetchHttpClient.Fetch, () => Promise.resolve(new Response(answer)))
      const model = yield* Effect.provide(
        OpenAi.make({ model: "m-1", apiKey: Redacted.make("key-1") }),
        Layer.provide(NodeTransport.layer, fetch)
      )
      assert.strictEqual((yield* model.generate(Chat.prompt("hi"))).text, "by fetch")
    })
  )

  it.scoped("passes by no proxy of the application", () =>
    Effect.gen(function* () {
      const agent = yield* NodeHttpClient.makeDispatcher
      yield* stubbed
      const own = Layer.provide(NodeTransport.layerWithoutDispatcher, Layer.succeed(NodeHttpClient.Dispatcher, agent))
      const exit = yield* Effect.exit(Effect.provide(HttpClient.HttpClient, own))
      assert.include(Exit.isFailure(exit) ? Cause.pretty(exit.cause) : "", "Transport.layerFetch")
    })
  )
})
