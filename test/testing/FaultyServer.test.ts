import { FetchHttpClient, HttpClient } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { Fault, FaultyProvider, Reply } from "effect-steadfast/testing"
import { ask, at, events, names, request, textOf, wholeText } from "./support.js"

const reply = Reply.text("a b c d")

// The rejection of a promise, or a failing test.
const rejected = (promise: Promise<unknown>) =>
  Effect.promise(() =>
    promise.then(
      (value) => assert.fail(`expected a failure, got ${JSON.stringify(value)}`),
      (error: unknown) => error as Error
    )
  )

// What arrived before a body broke, and how it broke.
const readAll = (response: Response) =>
  Effect.promise(async () => {
    const decoder = new TextDecoder()
    const reader = response.body?.getReader()
    let text = ""
    try {
      for (;;) {
        const next = await reader?.read()
        if (next === undefined || next.done) return { text, error: undefined }
        text += decoder.decode(next.value, { stream: true })
      }
    } catch (error) {
      return { text, error: error as Error }
    }
  })

const code = (error: Error | undefined) => at(error?.cause, "code")

describe("on a socket", () => {
  it.scopedLive("serves the four formats, whole and streamed", () =>
    Effect.gen(function* () {
      const server = yield* FaultyProvider.serve({ script: [reply] })
      for (const format of names) {
        const whole = yield* Effect.promise(() => ask(server.url, format).then((response) => response.json()))
        assert.strictEqual(wholeText(format, whole), "a b c d")
        const text = yield* Effect.promise(() => ask(server.url, format, true).then((response) => response.text()))
        assert.strictEqual(textOf(format, events(text)), "a b c d")
      }
      assert.deepStrictEqual(
        (yield* server.requests).map((_) => [_.format, _.stream, _.key, _.model, _.status, _.hungUp]),
        names.flatMap((format) => [
          [format, false, "key-1", "m-1", 200, false],
          [format, true, "key-1", "m-1", 200, false]
        ])
      )
    })
  )

  it.scopedLive("lets a page of any origin ask", () =>
    Effect.gen(function* () {
      const server = yield* FaultyProvider.serve({ script: [Fault.status(503), reply] })
      const url = `${server.url}/v1/chat/completions`
      const headers = { origin: "https://page.example", "access-control-request-headers": "authorization,content-type" }
      const first = yield* Effect.promise(() => fetch(url, { method: "OPTIONS", headers }))
      assert.strictEqual(first.status, 204)
      assert.strictEqual(first.headers.get("access-control-allow-headers"), "authorization,content-type")
      assert.include(first.headers.get("access-control-allow-methods") ?? "", "POST")
      for (const status of [503, 200]) {
        const response = yield* Effect.promise(() => ask(server.url, "openai-chat"))
        assert.strictEqual(response.status, status)
        assert.strictEqual(response.headers.get("access-control-allow-origin"), "*")
        yield* Effect.promise(() => response.text())
      }
      assert.lengthOf(yield* server.requests, 2)
    })
  )

  it.scopedLive("sends the same headers and bodies of errors as in process", () =>
    Effect.gen(function* () {
      const script = [Fault.rateLimited({ retryAfter: "2 seconds" }), Fault.badGateway(), Fault.emptyBody]
      const server = yield* FaultyProvider.serve({ script })
      const provider = yield* FaultyProvider.make({ script })
      for (const _ of script) {
        const there = yield* Effect.promise(() => ask(server.url, "openai-chat"))
        const here = yield* provider.client.execute(request("openai-chat"))
        assert.strictEqual(there.status, here.status)
        assert.strictEqual(yield* Effect.promise(() => there.text()), yield* here.text)
        for (const name of ["content-type", "retry-after", "retry-after-ms", "x-request-id"]) {
          assert.strictEqual(there.headers.get(name) ?? undefined, here.headers[name])
        }
      }
    })
  )

  it.scopedLive("resets before headers", () =>
    Effect.gen(function* () {
      const server = yield* FaultyProvider.serve({ script: [Fault.resetBeforeHeaders()] })
      const error = yield* rejected(ask(server.url, "openai-chat"))
      assert.strictEqual(error.message, "fetch failed")
      assert.strictEqual(code(error), "ECONNRESET")
      const [seen] = yield* server.requests
      assert.deepStrictEqual([seen?.hungUp, seen?.status], [false, undefined])
    })
  )

  it.scopedLive("resets inside a body, after what it was to send", () =>
    Effect.gen(function* () {
      const server = yield* FaultyProvider.serve({ script: [Fault.resetInBody({ tokens: 2, reply })] })
      for (let i = 0; i < 10; i++) {
        const streamed = yield* readAll(yield* Effect.promise(() => ask(server.url, "anthropic", true)))
        assert.strictEqual(textOf("anthropic", events(streamed.text)), "a b")
        assert.strictEqual(streamed.error?.message, "terminated")
        assert.strictEqual(code(streamed.error), "ECONNRESET")
      }
      const whole = yield* readAll(yield* Effect.promise(() => ask(server.url, "anthropic")))
      assert.strictEqual(whole.error?.message, "terminated")
      assert.isAbove(whole.text.length, 20)
    })
  )

  it.scopedLive("ends early and cleanly, in JSON and in a stream", () =>
    Effect.gen(function* () {
      for (const framing of [undefined, "close", "chunked", "content-length"] as const) {
        const server = yield* FaultyProvider.serve({ script: [Fault.earlyEnd({ framing, reply })] })
        const whole = yield* Effect.promise(() => ask(server.url, "openai-chat"))
        assert.strictEqual(whole.headers.has("content-length"), framing === "content-length")
        assert.strictEqual(whole.headers.has("transfer-encoding"), framing === "chunked")
        const json = yield* readAll(whole)
        assert.isUndefined(json.error)
        assert.isAbove(json.text.length, 20)
        assert.throws(() => JSON.parse(json.text))
        const streamed = yield* readAll(yield* Effect.promise(() => ask(server.url, "openai-chat", true)))
        assert.isUndefined(streamed.error)
        assert.strictEqual(textOf("openai-chat", events(streamed.text)), "a b")
        assert.notInclude(streamed.text, "[DONE]")
        assert.isFalse((yield* server.requests).some((_) => _.hungUp))
      }
    })
  )

  it.scopedLive("can promise more than it sends", () =>
    Effect.gen(function* () {
      const server = yield* FaultyProvider.serve({ script: [Fault.earlyEnd({ framing: "overstated-length" })] })
      const { error, text } = yield* readAll(yield* Effect.promise(() => ask(server.url, "openai-chat")))
      assert.isAbove(text.length, 20)
      assert.strictEqual(error?.message, "terminated")
      assert.strictEqual(code(error), "UND_ERR_SOCKET")
    })
  )

  it.scopedLive("sees a client hang up, before headers and in a stall, and when", () =>
    Effect.gen(function* () {
      const server = yield* FaultyProvider.serve({ script: [Fault.hang, Fault.stall({ tokens: 1, reply })] })
      const hanging = new AbortController()
      const first = rejected(ask(server.url, "openai-chat", false, { signal: hanging.signal }))
      const fiber = yield* Effect.fork(first)
      const [asked] = yield* server.until((requests) => requests.length === 1)
      assert.isFalse(asked?.hungUp)
      hanging.abort()
      assert.strictEqual((yield* fiber).name, "AbortError")
      const [left] = yield* server.until((requests) => requests[0]?.hungUp === true)
      assert.isAtLeast(left?.hungUpAt ?? 0, left?.at ?? Number.POSITIVE_INFINITY)
      assert.isUndefined(left?.status)

      const stalling = new AbortController()
      const response = yield* Effect.promise(() => ask(server.url, "openai-chat", true, { signal: stalling.signal }))
      stalling.abort()
      yield* rejected(response.text())
      const [, stalled] = yield* server.until((requests) => requests[1]?.hungUp === true)
      assert.strictEqual(stalled?.status, 200)
      assert.isUndefined(stalled?.finishedAt)
    })
  )

  it.scopedLive("sees an Effect client hang up when it is interrupted", () =>
    Effect.gen(function* () {
      const server = yield* FaultyProvider.serve({ script: [Fault.hang] })
      const client = yield* HttpClient.HttpClient
      const fiber = yield* Effect.fork(client.post(`${server.url}/v1/messages`))
      yield* server.until((requests) => requests.length === 1)
      yield* fiber.interruptAsFork(fiber.id())
      yield* server.until((requests) => requests[0]?.hungUp === true)
    }).pipe(Effect.provide(FetchHttpClient.layer))
  )

  it.scopedLive("pings in a stall until the client goes", () =>
    Effect.gen(function* () {
      const server = yield* FaultyProvider.serve({ script: [Fault.stall({ tokens: 1, reply, pings: "5 millis" })] })
      const response = yield* Effect.promise(() => ask(server.url, "openai-chat", true))
      const reader = response.body?.getReader()
      let seen = ""
      while (!/keep-alive\n[\s\S]*keep-alive/.test(seen)) {
        seen += new TextDecoder().decode((yield* Effect.promise(async () => reader?.read()))?.value)
      }
      yield* Effect.promise(async () => reader?.cancel())
      yield* server.until((requests) => requests[0]?.hungUp === true)
    })
  )

  it.scopedLive("sends tokens slowly", () =>
    Effect.gen(function* () {
      const server = yield* FaultyProvider.serve({ script: [Fault.slowTokens("30 millis", reply)] })
      const text = yield* Effect.promise(() => ask(server.url, "gemini", true).then((response) => response.text()))
      assert.strictEqual(textOf("gemini", events(text)), "a b c d")
      const [seen] = yield* server.requests
      // Three waits between four tokens; timers may be a millisecond early.
      assert.isAtLeast((seen?.finishedAt ?? 0) - (seen?.at ?? 0), 87)
    })
  )

  it.live("closes every connection with its scope", () =>
    Effect.gen(function* () {
      const [url, open] = yield* Effect.scoped(
        Effect.gen(function* () {
          const server = yield* FaultyProvider.serve({ script: [Fault.hang] })
          const open = rejected(ask(server.url, "openai-chat"))
          const fiber = yield* Effect.forkDaemon(open)
          yield* server.until((requests) => requests.length === 1)
          return [server.url, fiber] as const
        })
      )
      assert.strictEqual((yield* open).message, "fetch failed")
      assert.strictEqual(code(yield* rejected(ask(url, "openai-chat"))), "ECONNREFUSED")
    })
  )
})
