import { AsyncLocalStorage } from "node:async_hooks"
import { brotliCompressSync, deflateSync, gzipSync } from "node:zlib"
import { FetchHttpClient, HttpClient, HttpClientRequest } from "@effect/platform"
import { NodeHttpClient } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Context, Effect, Exit, FastCheck as fc, Layer, Logger, Redacted, type Scope, Stream } from "effect"
import { Chat, LlmError, OpenAi, Transport } from "effect-steadfast"
import { NodeTransport } from "effect-steadfast/node"
import * as HttpModel from "../../src/providers/http/HttpModel.js"
import * as OpenAiChat from "../../src/providers/openai/OpenAiChat.js"
import { read } from "../chat/support.js"
import { cases } from "../support/cases.js"
import { clients } from "./support.js"
import { listen, serving, transport, transports } from "./Transport.support.js"

const quiet = Logger.remove(Logger.defaultLogger)

const onEvery = (name: string, test: () => Effect.Effect<void, unknown, HttpClient.HttpClient | Scope.Scope>): void => {
  for (const [each, layer] of transports) {
    it.scopedLive(`${name} (${each})`, () => Effect.provide(test(), Layer.merge(layer, quiet)))
  }
}

const answer = JSON.stringify({ choices: [{ index: 0, message: { content: "hi" }, finish_reason: "stop" }] })

const modelAt = (url: string, more: Partial<OpenAi.Options> = {}) =>
  Effect.orDie(OpenAi.make({ model: "m-1", apiKey: Redacted.make("key-1"), baseUrl: url, ...more }))

const pause = (millis: number) => Effect.promise(() => new Promise((resolve) => setTimeout(resolve, millis)))

describe("a listener", () => {
  onEvery("is told head, body and one last word, whatever the bytes and their cuts", () =>
    Effect.gen(function* () {
      let body: ReadonlyArray<Uint8Array> = []
      let broken = false
      const server = yield* serving((_, response) => {
        response.writeHead(200, { "X-Mixed-Case": "Yes", "content-type": "text/plain" })
        response.flushHeaders()
        const [piece, ...rest] = body
        const next = (now: Uint8Array | undefined, later: ReadonlyArray<Uint8Array>): void => {
          if (now === undefined) {
            if (broken) response.destroy()
            else response.end()
          } else {
            response.write(now)
            setImmediate(() => next(later[0], later.slice(1)))
          }
        }
        next(piece, rest)
      })
      const self = yield* transport
      const bytes = fc.oneof(
        fc.uint8Array({ maxLength: 40 }),
        fc.string({ unit: "binary", maxLength: 20 }).map((text) => new TextEncoder().encode(`\uFEFF${text}`))
      )
      const all = fc.record({
        pieces: fc.array(bytes, { maxLength: 5 }),
        form: fc.constantFrom("text", "data"),
        cut: fc.boolean()
      })
      const law = fc.asyncProperty(all, async ({ cut, form, pieces }) => {
        body = pieces
        broken = cut
        const whole = Buffer.concat(pieces)
        const told = await Effect.runPromise(listen(self, server.url, form as "text" | "data").last)
        const words = told.order.filter((word) => word !== "data")
        if (!cut) {
          assert.deepStrictEqual(words, ["head", form === "text" ? "text" : "end"])
          assert.deepStrictEqual([told.status, told.headers["x-mixed-case"]], [200, "Yes"])
          if (form === "text") {
            // Of two byte order marks in a row, fetch of Node 20 takes off both.
            const unmarked = (text: string) => text.replace(/^\ufeff+/, "")
            assert.strictEqual(unmarked(told.text ?? ""), unmarked(new TextDecoder().decode(whole)))
          } else assert.isTrue(Buffer.concat(told.pieces).equals(whole))
        } else {
          assert.deepStrictEqual(words.at(-1), "failed")
          assert.include(form === "text" ? ["before-headers", "body"] : ["before-headers", "stream"], told.stage)
          if (words.length === 1) assert.strictEqual(told.stage, "before-headers")
          assert.isTrue(whole.indexOf(Buffer.concat(told.pieces)) === 0)
        }
      })
      yield* Effect.promise(() => fc.assert(law, { numRuns: cases(200) }))
    })
  )

  onEvery("hears nothing after it hung up, and the server sees it go", () =>
    Effect.gen(function* () {
      let closed = 0
      const server = yield* serving((request, response) => {
        response.on("close", () => {
          closed++
        })
        if (request.url === "/hang") return
        response.writeHead(200)
        const more = setInterval(() => response.write("more"), 1)
        response.on("close", () => clearInterval(more))
      })
      const self = yield* transport
      const left = listen(self, `${server.url}/hang`, "text")
      const never = listen(self, `${server.url}/hang`, "text")
      never.exchange.abort()
      const reading = listen(self, server.url, "text")
      const inside = listen(self, server.url, "data", {
        goOn: (told, exchange) => {
          if (told.pieces.length === 3) exchange().abort()
          return true
        }
      })
      for (let turn = 0; turn < 200 && reading.told.order.length === 0; turn++) yield* pause(10)
      left.exchange.abort()
      reading.exchange.abort()
      for (let turn = 0; turn < 200 && closed < 3; turn++) yield* pause(10)
      yield* pause(50)
      assert.deepStrictEqual([left.told.order, never.told.order, reading.told.order], [[], [], ["head"]])
      assert.deepStrictEqual(inside.told.order, ["head", "data", "data", "data"])
      // A request that was aborted before it was sent reaches no server, or is seen to go.
      assert.isAtLeast(closed, 3)
    })
  )

  onEvery("that rests is not sent more than a connection holds, and then gets the rest", () =>
    Effect.gen(function* () {
      const piece = Buffer.alloc(65_536, "x")
      const count = 512
      let written = 0
      const server = yield* serving((_, response) => {
        response.writeHead(200)
        const write = (): void => {
          while (written < count) {
            written++
            if (!response.write(piece)) return void response.once("drain", write)
          }
          response.end()
        }
        write()
      })
      const self = yield* transport
      let resting = true
      const { exchange, last, told } = listen(self, server.url, "data", { goOn: () => !resting })
      yield* pause(400)
      const [before, arrived] = [written, told.pieces.length]
      yield* pause(200)
      assert.strictEqual(written, before)
      assert.isBelow(arrived, 8)
      assert.isBelow(written, count)
      resting = false
      exchange.resume()
      yield* last
      assert.strictEqual(told.order.at(-1), "end")
      assert.strictEqual(Buffer.concat(told.pieces).length, count * piece.length)
    })
  )

  onEvery("gets a compressed body unpacked", () =>
    Effect.gen(function* () {
      const text = "é€😀 ".repeat(20_000)
      const packed = { gzip: gzipSync(text), deflate: deflateSync(text), br: brotliCompressSync(text) }
      const server = yield* serving(({ url = "" }, response) => {
        const encoding = url.slice(1) as keyof typeof packed
        response.writeHead(200, { "content-encoding": encoding })
        response.write(packed[encoding].subarray(0, 30))
        setTimeout(() => response.end(packed[encoding].subarray(30)), 2)
      })
      const self = yield* transport
      for (const encoding of Object.keys(packed)) {
        const whole = yield* listen(self, `${server.url}/${encoding}`, "text").last
        assert.strictEqual(whole.text, text)
        const slow = listen(self, `${server.url}/${encoding}`, "data", {
          goOn: (_, exchange) => {
            setImmediate(() => exchange().resume())
            return false
          }
        })
        assert.strictEqual(Buffer.concat((yield* slow.last).pieces).toString(), text)
      }
    })
  )

  onEvery("is told of a damaged compression", () =>
    Effect.gen(function* () {
      const server = yield* serving((_, response) => {
        response.writeHead(200, { "content-encoding": "gzip" })
        response.end("no gzip at all")
      })
      const told = yield* listen(yield* transport, server.url, "text").last
      assert.deepStrictEqual([told.order.at(-1), told.stage], ["failed", "body"])
    })
  )

  onEvery("is told of a URL that is none", () =>
    Effect.gen(function* () {
      const told = yield* listen(yield* transport, "no url", "text").last
      assert.deepStrictEqual(told.order, ["failed"])
    })
  )
})

describe("a model", () => {
  onEvery("sends its headers and its trace, and nothing of another request", () =>
    Effect.gen(function* () {
      const seen: Array<Record<string, unknown>> = []
      const server = yield* serving(({ headers }, response) => {
        seen.push(headers)
        response.end(answer)
      })
      const headers = { "X-Team": "a", "Content-Type": "text/plain" }
      const plain = yield* modelAt(server.url, { headers })
      const traced = yield* modelAt(server.url, { headers, traceHeaders: true })
      for (const model of [traced, plain]) assert.strictEqual((yield* model.generate(Chat.prompt("hi"))).text, "hi")
      const told = seen.map((all) => [all["x-team"], all["content-type"], all.authorization, typeof all.traceparent])
      assert.deepStrictEqual(told, [
        ["a", "application/json", "Bearer key-1", "string"],
        ["a", "application/json", "Bearer key-1", "undefined"]
      ])
    })
  )

  onEvery("dies of a defect in reading the headers, and does not hang", () =>
    Effect.gen(function* () {
      const server = yield* serving((_, response) => void response.end(answer))
      const limits = () => {
        throw new Error("a defect")
      }
      const endpoint = { provider: "openai", model: "m-1", url: () => server.url, headers: {}, secrets: [] }
      const format = OpenAiChat.format(
        "openai",
        "m-1",
        { maxTokens: "max_tokens", seed: "seed", streamUsage: true },
        limits
      )
      const model = HttpModel.make(yield* HttpClient.HttpClient, endpoint, format)
      for (const asked of [model.generate(Chat.prompt("hi")), Stream.runDrain(model.stream(Chat.prompt("hi")))]) {
        const exit: Exit.Exit<unknown, unknown> = yield* Effect.exit(asked)
        assert.include(String(Exit.isFailure(exit) && Cause.squash(exit.cause)), "a defect")
      }
    })
  )

  onEvery("closes a body that does not end soon after a whole answer", () =>
    Effect.gen(function* () {
      let closed = false
      const server = yield* serving((_, response) => {
        response.on("close", () => {
          closed = true
        })
        response.writeHead(200, { "content-type": "text/event-stream" })
        response.write('data: {"choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":"stop"}]}\n\n')
        response.write("data: [DONE]\n\n")
      })
      const model = yield* modelAt(server.url)
      assert.strictEqual((yield* read(model.stream(Chat.prompt("hi")))).text, "hi")
      assert.isFalse(closed)
      for (let turn = 0; turn < 200 && !closed; turn++) yield* pause(10)
      assert.isTrue(closed)
    })
  )

  onEvery("keeps the caller's asynchronous context", () =>
    Effect.gen(function* () {
      const server = yield* serving((_, response) => void response.end(answer))
      const model = yield* modelAt(server.url)
      const storage = new AsyncLocalStorage<number>()
      const inside = (id: number) =>
        storage.run(id, () =>
          Effect.runPromise(Effect.map(model.generate(Chat.prompt("hi")), () => storage.getStore()))
        )
      // One after the other: they share a connection, which was opened in the context of the first.
      const found = yield* Effect.forEach([1, 2, 3], (id) => Effect.promise(() => inside(id)))
      assert.deepStrictEqual(found, [1, 2, 3])
    })
  )

  it.scopedLive.each(transports)("sends its key to no other server that an answer names (%s)", ([, layer]) =>
    Effect.gen(function* () {
      let elsewhere = 0
      const built = yield* Layer.build(layer)
      const other = yield* serving((_, response) => {
        elsewhere++
        response.end()
      })
      for (const status of [301, 302, 307, 308]) {
        const server = yield* serving((_, response) => {
          response.writeHead(status, { location: `${other.url}/v1/chat/completions` })
          response.end()
        })
        const model = yield* Effect.provide(modelAt(server.url), built)
        const whole = yield* Effect.flip(model.generate(Chat.prompt("hi")))
        const streamed = (yield* read(model.stream(Chat.prompt("hi")))).error
        for (const error of [whole, streamed]) {
          assert.deepStrictEqual([error?.status, error && LlmError.isLlmError(error)], [status, true])
        }
      }
      assert.strictEqual(elsewhere, 0)
    }).pipe(Effect.provide(quiet))
  )

  it.scopedLive("reads a stream that is cut anywhere as over every other client", () =>
    Effect.gen(function* () {
      const event = (content: string, reason: string | null) =>
        `data: ${JSON.stringify({ choices: [{ index: 0, delta: { content }, finish_reason: reason }] })}\n\n`
      const bytes = Buffer.from(`${event("é€", null)}${event("😀 b", null)}${event("", "stop")}data: [DONE]\n\n`)
      let cut = 0
      let reset = false
      const server = yield* serving((_, response) => {
        response.writeHead(200, { "content-type": "text/event-stream" })
        response.flushHeaders()
        response.write(bytes.subarray(0, cut), () => setImmediate(() => (reset ? response.destroy() : response.end())))
      })
      const models: Array<Effect.Effect.Success<ReturnType<typeof modelAt>>> = []
      for (const [, layer] of [...clients, ...transports]) {
        models.push(yield* Effect.provide(modelAt(server.url), yield* Layer.build(layer)))
      }
      const law = fc.asyncProperty(fc.integer({ min: 0, max: bytes.length }), fc.boolean(), async (at, breaks) => {
        cut = at
        reset = breaks
        const seen: Array<unknown> = []
        for (const model of models) {
          const { error, text } = await Effect.runPromise(read(model.stream(Chat.prompt("hi"))))
          seen.push([text, error?._tag, error?.delivery])
        }
        for (const one of seen) assert.deepStrictEqual(one, seen[0])
      })
      yield* Effect.promise(() => fc.assert(law, { numRuns: cases(150) }))
    }).pipe(Effect.provide(quiet))
  )
})

describe("the mark", () => {
  it.scopedLive("is on the clients of our layers alone", () =>
    Effect.gen(function* () {
      const both = yield* Layer.build(
        Layer.merge(
          Layer.map(FetchHttpClient.layer, (context) =>
            Context.make(
              Context.GenericTag<HttpClient.HttpClient>("plain"),
              Context.get(context, HttpClient.HttpClient)
            )
          ),
          Transport.layerFetch
        )
      )
      const marked = Context.get(both, HttpClient.HttpClient)
      assert.isDefined(Transport.of(marked))
      assert.isUndefined(Transport.of(both.unsafeMap.get("plain")))
      for (const layer of [FetchHttpClient.layer, NodeHttpClient.layerUndici, NodeHttpClient.layer]) {
        assert.isUndefined(Transport.of(Context.get(yield* Layer.build(layer), HttpClient.HttpClient)))
      }
      assert.isUndefined(Transport.of(HttpClient.mapRequest(marked, (request) => request)))
    })
  )

  onEvery("is not on a transformed client, and the transformation is used", () =>
    Effect.gen(function* () {
      const seen: Array<unknown> = []
      const server = yield* serving(({ headers }, response) => {
        seen.push(headers["x-proxy"])
        response.end(answer)
      })
      const own = HttpClient.mapRequest(yield* HttpClient.HttpClient, HttpClientRequest.setHeader("x-proxy", "yes"))
      const model = yield* Effect.provideService(modelAt(server.url), HttpClient.HttpClient, own)
      assert.strictEqual((yield* model.generate(Chat.prompt("hi"))).text, "hi")
      assert.deepStrictEqual(seen, ["yes"])
    })
  )

  onEvery("leaves an ordinary client", () =>
    Effect.gen(function* () {
      const server = yield* serving((_, response) => void response.end("plain"))
      const response = yield* HttpClient.get(server.url)
      assert.strictEqual(yield* response.text, "plain")
    })
  )
})

describe("platform's services", () => {
  const stub = (name: string): typeof globalThis.fetch => {
    return (_, init) => Promise.resolve(new Response(name + new Headers(init?.headers).get("x-init") + init?.redirect))
  }
  const init = (name: string): RequestInit => ({ headers: { "x-init": name, "x-own": "2", "content-length": "9" } })
  const services = (name: string) =>
    Context.make(FetchHttpClient.Fetch, stub(name)).pipe(
      Context.add(FetchHttpClient.RequestInit, { ...init(name), redirect: "manual" })
    ) as Context.Context<never>

  it.scopedLive("Fetch and RequestInit are those of the call, or else of the layer", () =>
    Effect.gen(function* () {
      const self = yield* transport
      const told = yield* listen(self, "http://localhost", "text").last
      assert.strictEqual(told.text, "layer layer manual".replaceAll(" ", ""))
      const context = services("call")
      assert.strictEqual((yield* listen(self, "http://localhost", "text", { context }).last).text, "callcallmanual")
    }).pipe(Effect.provide(Transport.layerFetch.pipe(Layer.provide(Layer.succeedContext(services("layer"))))))
  )

  it.scopedLive("a fetch that throws, and a body that is none, are told", () =>
    Effect.gen(function* () {
      const self = yield* transport
      const asked = (fetch: typeof globalThis.fetch) =>
        listen(self, "http://localhost", "data", {
          context: Context.make(FetchHttpClient.Fetch, fetch) as Context.Context<never>
        }).last
      const thrown = yield* asked(() => {
        throw new TypeError("no")
      })
      assert.deepStrictEqual([thrown.order, thrown.stage], [["failed"], "before-headers"])
      const empty = yield* asked(() => Promise.resolve(new Response(null, { status: 204 })))
      assert.deepStrictEqual([empty.order, empty.status], [["head", "end"], 204])
    }).pipe(Effect.provide(Transport.layerFetch))
  )

  it.scopedLive("UndiciRequestOptions are those of the call, or else of the layer", () =>
    Effect.gen(function* () {
      const server = yield* serving(({ headers }, response) => void response.end(headers.connection))
      const self = yield* transport
      assert.strictEqual((yield* listen(self, server.url, "text").last).text, "close")
      const context = Context.make(NodeHttpClient.UndiciRequestOptions, { reset: false } as never)
      const told = yield* listen(self, server.url, "text", { context: context as Context.Context<never> }).last
      assert.strictEqual(told.text, "keep-alive")
    }).pipe(
      Effect.provide(
        NodeTransport.layer.pipe(
          Layer.provide(Layer.succeed(NodeHttpClient.UndiciRequestOptions, { reset: true } as never))
        )
      )
    )
  )
})
