import { request as ask, createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { type HttpClient, HttpRouter, HttpServer, HttpServerRequest } from "@effect/platform"
import { NodeHttpServer } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Layer, Logger, Runtime, type Scope, Stream } from "effect"
import type { Chat, ChatModel } from "effect-steadfast"
import { HttpReply } from "effect-steadfast/http"
import { NodeReply, NodeTransport } from "effect-steadfast/node"
import { Fault, FaultyProvider, Reply, type Step } from "effect-steadfast/testing"
import { modelAt, nobodyOnTheLine, patience } from "../sockets/support.js"

/**
 * A service on a socket, in front of a provider on a socket, with both faces that Node has.
 */

const quiet = Logger.remove(Logger.defaultLogger)

const path = "/v1/chat/completions"

/** A server of `node:http`. It runs until the scope closes. */
const serving = (served: (request: IncomingMessage, response: ServerResponse) => Effect.Effect<void>) =>
  Effect.gen(function* () {
    const runtime = yield* Effect.runtime<never>()
    const open = { now: 0 }
    const server = yield* Effect.acquireRelease(
      Effect.async<Server>((resume) => {
        const server = createServer((request, response) => {
          open.now++
          Runtime.runFork(runtime)(
            Effect.ensuring(
              served(request, response),
              Effect.sync(() => {
                open.now--
              })
            )
          )
        })
        server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
      }),
      (server) =>
        Effect.async<void>((resume) => {
          server.close(() => resume(Effect.void))
          server.closeAllConnections()
        })
    )
    return { port: (server.address() as AddressInfo).port, open }
  })

/** A service of `node:http`. */
const bare = (model: ChatModel.ChatModel, options: HttpReply.Options & NodeReply.SendOptions = {}) =>
  serving((request, response) =>
    Effect.flatMap(NodeReply.json(request), (body) =>
      NodeReply.send(
        HttpReply.serve("openai", body, () => model, options),
        response,
        options
      )
    )
  )

/** The same on the platform's server. */
const platform = (model: ChatModel.ChatModel, options: HttpReply.Options = {}) =>
  Effect.gen(function* () {
    const router = HttpRouter.empty.pipe(
      HttpRouter.post(
        path,
        Effect.gen(function* () {
          const request = yield* HttpServerRequest.HttpServerRequest
          const body = yield* Effect.orElseSucceed(request.json, () => undefined)
          return yield* HttpReply.toServerResponse(HttpReply.serve("openai", body, () => model, options))
        })
      )
    )
    const context = yield* Layer.build(
      HttpServer.serve(router).pipe(
        Layer.provideMerge(NodeHttpServer.layerServer(createServer, { port: 0, host: "127.0.0.1" }))
      )
    )
    const { address } = yield* Effect.provide(HttpServer.HttpServer, context)
    return { port: address._tag === "TcpAddress" ? address.port : 0, open: { now: 0 } }
  })

const faces = { "node:http": bare, platform }

interface Heard {
  readonly status: number
  readonly headers: IncomingMessage["headers"]
  readonly text: string
  /** Whether the body came to its own end. */
  readonly whole: boolean
}

const body = (stream: boolean) => JSON.stringify({ model: "m", stream, messages: [{ role: "user", content: "hi" }] })

/** Asks over a connection of its own; `onResponse` may hang up, or read slowly. */
const post = (
  port: number,
  stream: boolean,
  onResponse?: (response: IncomingMessage, hangUp: () => void) => void,
  onInformation?: (status: number) => void
) =>
  Effect.async<Heard, Error>((resume) => {
    const headers = { "content-type": "application/json" }
    const sent = ask({ port, path, host: "127.0.0.1", method: "POST", headers, agent: false }, (response) => {
      const chunks: Array<Buffer> = []
      const { statusCode: status = 0, headers } = response
      const heard = (whole: boolean) => ({ status, headers, text: Buffer.concat(chunks).toString("utf8"), whole })
      response.on("data", (chunk: Buffer) => chunks.push(chunk))
      response.on("error", () => {})
      response.on("close", () => resume(Effect.succeed(heard(response.complete))))
      onResponse?.(response, () => sent.destroy())
    })
    sent.on("information", ({ statusCode }) => onInformation?.(statusCode))
    sent.on("error", (error) => resume(Effect.fail(error)))
    sent.end(body(stream))
    return Effect.sync(() => {
      sent.destroy()
    })
  })

/** A provider with these steps, and the model that asks it. */
const upstream = (...script: ReadonlyArray<Step.Step>) =>
  Effect.gen(function* () {
    const server = yield* FaultyProvider.serve({ script })
    const model = yield* modelAt(server.url)
    return { server, model }
  })

const live = (name: string, test: () => Effect.Effect<void, unknown, HttpClient.HttpClient | Scope.Scope>) =>
  it.scopedLive(name, () => Effect.provide(test(), Layer.merge(NodeTransport.layer, quiet)))

for (const [name, face] of Object.entries(faces)) {
  describe(`a service on ${name}`, () => {
    live("answers whole and in pieces", () =>
      Effect.gen(function* () {
        const { model, server } = yield* upstream(Reply.text("one two three"))
        const { port } = yield* face(model)
        const whole = yield* post(port, false)
        assert.deepStrictEqual([whole.status, whole.whole], [200, true])
        assert.strictEqual(JSON.parse(whole.text).choices[0].message.content, "one two three")
        const streamed = yield* post(port, true)
        assert.deepStrictEqual([streamed.status, streamed.whole], [200, true])
        assert.strictEqual(streamed.headers["content-type"], "text/event-stream; charset=utf-8")
        assert.match(streamed.text, /data: \[DONE\]\n\n$/)
        yield* nobodyOnTheLine(server)
        assert.isFalse((yield* server.requests).some(({ hungUp }) => hungUp))
      })
    )

    live("tells an error before the first content by its status", () =>
      Effect.gen(function* () {
        const { model } = yield* upstream(Fault.rateLimited({ retryAfter: "7 seconds" }))
        const { port } = yield* face(model)
        for (const stream of [false, true]) {
          const { headers, status, text, whole } = yield* post(port, stream)
          assert.deepStrictEqual([status, whole], [429, true])
          assert.strictEqual(headers["retry-after"], "7")
          assert.strictEqual(headers["x-should-retry"], "false")
          assert.strictEqual(headers["content-type"], "application/json")
          assert.strictEqual(JSON.parse(text).error.code, "rate_limit_exceeded")
        }
      })
    )

    live("breaks an answer off that broke, after its error frame", () =>
      Effect.gen(function* () {
        for (const cut of [Fault.resetInBody({ tokens: 3 }), Fault.earlyEnd({ tokens: 3 })]) {
          const { model } = yield* upstream(cut)
          const { port } = yield* face(model)
          const { status, text, whole } = yield* post(port, true)
          assert.strictEqual(status, 200)
          assert.isFalse(whole, "a cut answer must not look whole")
          assert.match(text, /"content":"The.*\ndata: \{"error":\{[^\n]+\}\}\n\n$/s)
        }
      })
    )

    live("cancels the call of a client that hangs up, before its head and in its middle", () =>
      Effect.gen(function* () {
        const { model, server } = yield* upstream(Fault.hang, Fault.stall({ tokens: 2 }))
        const { open, port } = yield* face(model)
        for (const index of [0, 1]) {
          let left = 0
          const client = yield* Effect.fork(
            post(port, true, (_, hangUp) => {
              left = Date.now()
              hangUp()
            })
          )
          if (index === 0) {
            yield* server.until((requests) => requests.length > 0)
            left = yield* Clock.currentTimeMillis
            yield* client.interruptAsFork(client.id())
          }
          yield* server.until((requests) => requests.length > index)
          const requests = yield* nobodyOnTheLine(server)
          assert.isTrue(requests[index]?.hungUp)
          assert.isBelow((requests[index]?.hungUpAt ?? Number.POSITIVE_INFINITY) - left, patience)
        }
        yield* Effect.sleep("20 millis")
        assert.strictEqual(open.now, 0, "a call is left open")
      })
    )

    live("makes the provider wait for a slow reader", () =>
      Effect.gen(function* () {
        // 64 MB of frames, of which sockets and queues hold a few.
        const { model, server } = yield* upstream(Reply.text(`${"x".repeat(4096)} `.repeat(16_000)))
        const { port } = yield* face(model)
        const before = process.memoryUsage().rss
        const client = yield* Effect.fork(post(port, true, (response) => void response.pause()))
        yield* server.until((requests) => requests.length > 0)
        yield* Effect.sleep("1500 millis")
        const [request] = yield* server.requests
        assert.strictEqual(request?.finishedAt, undefined, "the provider was let go")
        const grown = (process.memoryUsage().rss - before) / 1024 / 1024
        assert.isBelow(grown, 250)
        yield* client.interruptAsFork(client.id())
        assert.isTrue((yield* nobodyOnTheLine(server))[0]?.hungUp)
      })
    )
  })
}

describe("a service on node:http, besides", () => {
  live("tells a waiting client that work goes on, and leaves the status open", () =>
    Effect.gen(function* () {
      const { model } = yield* upstream(Fault.rateLimited({ delay: "100 millis" }))
      const { port } = yield* bare(model, { processing: true, keepAlive: "20 millis" })
      const told: Array<number> = []
      const { status } = yield* post(port, true, undefined, (one) => told.push(one))
      assert.strictEqual(status, 429)
      assert.isAtLeast(told.length, 2)
      assert.isTrue(told.every((one) => one === 102))
    })
  )

  live("refuses what is no JSON, and what is too large", () =>
    Effect.gen(function* () {
      const { model, server } = yield* upstream(Reply.text("hi"))
      const { port } = yield* bare(model)
      const wrong = yield* Effect.promise(() =>
        fetch(`http://127.0.0.1:${port}${path}`, { method: "POST", body: "{" }).then(async (response) => ({
          status: response.status,
          body: (await response.json()) as { readonly error: { readonly message: string } }
        }))
      )
      assert.strictEqual(wrong.status, 400)
      assert.match(wrong.body.error.message, /body: found nothing, expected a JSON object/)
      const small = yield* serving((request, response) =>
        Effect.flatMap(NodeReply.json(request, { maxBytes: 20 }), (body) =>
          NodeReply.send(
            HttpReply.serve("openai", body, () => model),
            response
          )
        )
      )
      assert.strictEqual((yield* post(small.port, false)).status, 400)
      assert.lengthOf(yield* server.requests, 0)
    })
  )

  live("leaves nothing behind of the waits for a reader", () =>
    Effect.gen(function* () {
      const piece: Chat.Event = { _tag: "TextDelta", text: "x".repeat(100_000) }
      const start: Chat.Event = { _tag: "Start", provider: "openai", model: "m-1" }
      const finish: Chat.Event = { _tag: "Finish", reason: "stop" }
      const events = Stream.fromIterable([start, ...Array<Chat.Event>(200).fill(piece), finish])
      const most = { waiting: 0 }
      const { port } = yield* serving((_, response) => {
        const counted = Stream.tap(events, () =>
          Effect.sync(() => {
            most.waiting = Math.max(most.waiting, response.listenerCount("close"))
          })
        )
        return NodeReply.send(HttpReply.stream(counted), response)
      })
      const { text, whole } = yield* post(port, true)
      assert.isTrue(whole)
      assert.isAbove(text.length, 20_000_000)
      assert.isAtMost(most.waiting, 5)
    })
  )

  live("breaks off where a head cannot be written", () =>
    Effect.gen(function* () {
      const { port } = yield* serving((_, response) =>
        NodeReply.send(HttpReply.stream(Stream.empty, { requestId: "two\nlines" }), response)
      )
      const error = yield* Effect.flip(post(port, true))
      assert.match(error.message, /socket hang up/)
    })
  )

  live("gives up a reader that takes nothing", () =>
    Effect.gen(function* () {
      const { model, server } = yield* upstream(Reply.text(`${"x".repeat(4096)} `.repeat(16_000)))
      const { port } = yield* bare(model, { readerTimeout: "100 millis" })
      const client = yield* Effect.fork(post(port, true, (response) => void response.pause()))
      yield* server.until((requests) => requests.length > 0)
      assert.isTrue((yield* nobodyOnTheLine(server))[0]?.hungUp)
      yield* client.interruptAsFork(client.id())
    })
  )
})
