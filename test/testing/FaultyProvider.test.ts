import { HttpClient, HttpClientRequest } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Chunk, Clock, Effect, Exit, Fiber, Schedule, Stream, TestClock } from "effect"
import { Fault, FaultyProvider, Reply, Step } from "effect-steadfast/testing"
import { at, events, readStream, request, textOf } from "./support.js"

const timed = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const start = yield* Clock.currentTimeMillis
    const value = yield* effect
    return [value, (yield* Clock.currentTimeMillis) - start] as const
  })

// Lets a fiber run under TestClock, and tells how long it thought it took.
const elapsed = <A, E, R>(effect: Effect.Effect<A, E, R>, time: "1 minute" | "10 minutes" = "1 minute") =>
  Effect.gen(function* () {
    const fiber = yield* Effect.fork(timed(effect))
    yield* TestClock.adjust(time)
    return yield* Fiber.join(fiber)
  })

const codes = (cause: unknown): unknown => at((cause as Error).cause, "code")

describe("a retry test of a user", () => {
  it.effect("waits as told and then succeeds", () =>
    Effect.gen(function* () {
      const provider = yield* FaultyProvider.make({
        script: [Fault.rateLimited({ retryAfter: "2 seconds" }), Fault.status(503), Reply.text("hi")]
      })
      const ask = provider.client.pipe(HttpClient.filterStatusOk).execute(request("openai-chat"))
      const fiber = yield* Effect.fork(Effect.retry(ask, Schedule.spaced("2 seconds")))
      yield* TestClock.adjust("4 seconds")
      assert.strictEqual((yield* fiber).status, 200)
      assert.deepStrictEqual(
        (yield* provider.requests).map((_) => _.at),
        [0, 2000, 4000]
      )
    })
  )
})

describe("time", () => {
  it.effect("headers come after the delay, exactly", () =>
    Effect.gen(function* () {
      const provider = yield* FaultyProvider.make({
        script: [Fault.slowHeaders("5 seconds"), Fault.slowHeaders("5 seconds")]
      })
      const [response, time] = yield* elapsed(provider.client.execute(request("openai-chat", true)))
      assert.strictEqual(time, 5000)
      assert.strictEqual(response.status, 200)
      // One millisecond earlier there is nothing.
      const fiber = yield* Effect.fork(provider.client.execute(request("openai-chat", true)))
      yield* TestClock.adjust("4999 millis")
      assert.isNull(fiber.unsafePoll())
      yield* TestClock.adjust("1 millis")
      assert.isTrue(Exit.isSuccess(yield* fiber.await))
    })
  )

  it.effect("an error response can be slow too", () =>
    Effect.gen(function* () {
      const provider = yield* FaultyProvider.make({ script: [Fault.status(503, { delay: "3 seconds" })] })
      const [response, time] = yield* elapsed(provider.client.execute(request("openai-chat")))
      assert.deepStrictEqual([response.status, time], [503, 3000])
    })
  )

  it.effect("tokens come one by one", () =>
    Effect.gen(function* () {
      const reply = Reply.text("a b c d", { delay: "1 second", firstTokenDelay: "2 seconds", tokenDelay: "500 millis" })
      const provider = yield* FaultyProvider.make({ script: [reply] })
      const arrivals = Stream.unwrap(
        Effect.map(provider.client.execute(request("openai-chat", true)), (response) => response.stream)
      ).pipe(
        Stream.decodeText(),
        Stream.filter((text) => textOf("openai-chat", events(text)) !== ""),
        Stream.mapEffect(() => Clock.currentTimeMillis),
        Stream.runCollect
      )
      const [times] = yield* elapsed(arrivals)
      assert.deepStrictEqual(Chunk.toReadonlyArray(times), [3000, 3500, 4000, 4500])
      // An answer in one piece is written before it is sent: the same time, in one wait.
      const [, whole] = yield* elapsed(Effect.flatMap(provider.client.execute(request("openai-chat")), (_) => _.json))
      assert.strictEqual(whole, 4500)
    })
  )

  it.effect("a slow reader does not make the provider slow", () =>
    Effect.gen(function* () {
      const provider = yield* FaultyProvider.make({ script: [Fault.slowTokens("1 second", Reply.text("a b c d e"))] })
      const read = Effect.flatMap(provider.client.execute(request("openai-chat", true)), (response) =>
        Effect.zipRight(Effect.sleep("1 minute"), readStream(response))
      )
      const [, time] = yield* elapsed(read, "10 minutes")
      assert.strictEqual(time, 60_000)
    })
  )
})

describe("faults of transport", () => {
  it.effect("reset before headers is what fetch says", () =>
    Effect.gen(function* () {
      const provider = yield* FaultyProvider.make({
        script: [Fault.resetBeforeHeaders(), Fault.resetBeforeHeaders({ delay: "2 seconds" })]
      })
      const error = yield* Effect.flip(provider.client.execute(request("anthropic")))
      assert.strictEqual(error._tag, "RequestError")
      assert.strictEqual(error.reason, "Transport")
      assert.instanceOf(error.cause, TypeError)
      assert.strictEqual((error.cause as Error).message, "fetch failed")
      assert.strictEqual(codes(error.cause), "ECONNRESET")
      const [, time] = yield* elapsed(Effect.flip(provider.client.execute(request("anthropic"))))
      assert.strictEqual(time, 2000)
      const [first] = yield* provider.requests
      assert.deepStrictEqual([first?.status, first?.hungUp, first?.finishedAt], [undefined, false, 0])
    })
  )

  it.effect("there can be no connection at all", () =>
    Effect.gen(function* () {
      const provider = yield* FaultyProvider.make({ script: [Fault.noConnection("ENOTFOUND")] })
      const error = yield* Effect.flip(provider.client.execute(request("anthropic")))
      assert.strictEqual(codes(error.cause), "ENOTFOUND")
    })
  )

  it.effect("a stall can go on pinging", () =>
    Effect.gen(function* () {
      const provider = yield* FaultyProvider.make({
        script: [Fault.stall({ tokens: 1, reply: Reply.text("a b"), pings: "10 seconds" })]
      })
      for (const format of ["openai-chat", "anthropic"] as const) {
        let seen = ""
        const read = Effect.flatMap(provider.client.execute(request(format, true)), (response) =>
          response.stream.pipe(
            Stream.decodeText(),
            Stream.runForEach((text) => Effect.sync(() => (seen += text)))
          )
        )
        const [exit] = yield* elapsed(read.pipe(Effect.timeout("35 seconds"), Effect.exit))
        assert.isTrue(Exit.isFailure(exit))
        const pings = { "openai-chat": /: keep-alive\n\n/g, anthropic: /event: ping\n/g }[format]
        // Anthropic has sent one of its own before the text.
        assert.lengthOf([...seen.matchAll(pings)], format === "anthropic" ? 4 : 3)
      }
      assert.isTrue((yield* provider.requests).every((_) => _.hungUp))
    })
  )

  it.effect("reset in the body gives the part and then fails", () =>
    Effect.gen(function* () {
      const reply = Reply.text("a b c d")
      const provider = yield* FaultyProvider.make({ script: [Fault.resetInBody({ tokens: 2, reply })] })
      const response = yield* provider.client.execute(request("openai-chat", true))
      let seen = ""
      const error = yield* response.stream.pipe(
        Stream.decodeText(),
        Stream.runForEach((text) => Effect.sync(() => (seen += text))),
        Effect.flip
      )
      assert.strictEqual(textOf("openai-chat", events(seen)), "a b")
      assert.strictEqual(error._tag, "ResponseError")
      assert.strictEqual((error.cause as Error).message, "terminated")
      assert.strictEqual(codes(error.cause), "ECONNRESET")
      const whole = yield* provider.client.execute(request("openai-chat"))
      assert.strictEqual((yield* Effect.flip(whole.text)).reason, "Decode")
    })
  )

  it.effect("cuts by bytes, events and tokens, the smallest of them, or in the middle", () =>
    Effect.gen(function* () {
      const reply = Reply.text("a b c d e f")
      const cut = (at: Fault.CutOptions) =>
        Effect.gen(function* () {
          const provider = yield* FaultyProvider.make({ script: [Fault.earlyEnd({ ...at, reply })] })
          return yield* Effect.flatMap(provider.client.execute(request("openai-chat", true)), readStream)
        })
      assert.lengthOf(yield* cut({ bytes: 11 }), 11)
      assert.lengthOf(events(yield* cut({ events: 2 })), 2)
      assert.strictEqual(textOf("openai-chat", events(yield* cut({ tokens: 4 }))), "a b c d")
      assert.strictEqual(textOf("openai-chat", events(yield* cut({ tokens: 0 }))), "")
      assert.strictEqual(textOf("openai-chat", events(yield* cut({ tokens: 4, events: 2 }))), "a")
      assert.strictEqual(textOf("openai-chat", events(yield* cut({}))), "a b c")
      assert.strictEqual(textOf("openai-chat", events(yield* cut({ tokens: 99 }))), "a b c d e f")
    })
  )

  it.effect("early end is clean, and JSON is cut in the middle", () =>
    Effect.gen(function* () {
      const provider = yield* FaultyProvider.make({
        script: [Fault.earlyEnd(), Fault.earlyEnd({ framing: "overstated-length" })]
      })
      const text = yield* Effect.flatMap(provider.client.execute(request("gemini")), (response) => response.text)
      assert.throws(() => JSON.parse(text))
      const error = yield* Effect.flatMap(provider.client.execute(request("gemini")), (response) =>
        Effect.flip(response.text)
      )
      assert.strictEqual(codes(error.cause), "UND_ERR_SOCKET")
    })
  )
})

describe("hanging up", () => {
  it.effect("on a provider that hangs is recorded, with the time", () =>
    Effect.gen(function* () {
      const provider = yield* FaultyProvider.make({ script: [Fault.hang] })
      const [exit] = yield* elapsed(
        provider.client.execute(request("openai-chat")).pipe(Effect.timeout("3 seconds"), Effect.exit)
      )
      assert.isTrue(Exit.isFailure(exit))
      const [seen] = yield* provider.until((requests) => requests.every((_) => _.hungUp))
      assert.deepStrictEqual([seen?.hungUp, seen?.hungUpAt, seen?.status], [true, 3000, undefined])
    })
  )

  it.effect("while headers are awaited, in a stall, and by taking a part", () =>
    Effect.gen(function* () {
      const provider = yield* FaultyProvider.make({
        script: [Fault.slowHeaders("1 hour"), Fault.stall(), Fault.slowTokens("1 second"), Fault.stall()]
      })
      const asked = provider.client.execute(request("anthropic", true))
      yield* elapsed(asked.pipe(Effect.timeout("1 second"), Effect.exit))
      yield* elapsed(Effect.flatMap(asked, readStream).pipe(Effect.timeout("1 second"), Effect.exit))
      yield* elapsed(Effect.flatMap(asked, (response) => Stream.runDrain(Stream.take(response.stream, 1))))
      // Closing the scope aborts the request, read or not.
      yield* Effect.scoped(provider.client.pipe(HttpClient.withScope).execute(request("anthropic", true)))
      assert.deepStrictEqual(
        (yield* provider.requests).map((_) => [_.hungUp, (_.hungUpAt ?? 0) - _.at]),
        [
          [true, 1000],
          [true, 1000],
          [true, 0],
          [true, 0]
        ]
      )
    })
  )

  it.effect("is not what a client does that reads to the end", () =>
    Effect.gen(function* () {
      const provider = yield* FaultyProvider.make({ script: [Fault.slowTokens("1 second"), Fault.status(500)] })
      const last = Effect.flatMap(provider.client.execute(request("openai-chat", true)), (response) =>
        response.stream.pipe(
          Stream.decodeText(),
          Stream.takeUntil((text) => text.includes("[DONE]")),
          Stream.runDrain
        )
      )
      yield* elapsed(last)
      yield* provider.client.execute(request("openai-chat"))
      assert.deepStrictEqual(
        (yield* provider.requests).map((_) => [_.hungUp, (_.finishedAt ?? -1) - _.at]),
        [
          [false, 8000],
          [false, 0]
        ]
      )
    })
  )

  it.effect("aborts a reader in another fiber", () =>
    Effect.gen(function* () {
      const provider = yield* FaultyProvider.make({ script: [Fault.stall()] })
      const fiber = yield* Effect.scoped(
        Effect.gen(function* () {
          const response = yield* provider.client.pipe(HttpClient.withScope).execute(request("anthropic", true))
          const fiber = yield* Effect.forkDaemon(Effect.flip(response.text))
          yield* Effect.yieldNow()
          return fiber
        })
      )
      assert.strictEqual(((yield* Fiber.join(fiber)).cause as Error).name, "AbortError")
    })
  )
})

describe("a path", () => {
  it.effect("is served at a known host as that host serves it", () =>
    Effect.gen(function* () {
      const provider = yield* FaultyProvider.make()
      const status = (url: string) => Effect.map(provider.client.post(url, { body: undefined }), (_) => _.status)
      const served = [
        "https://api.openai.com/v1/chat/completions",
        "https://api.groq.com/openai/v1/chat/completions",
        "https://openrouter.ai/api/v1/messages",
        "https://generativelanguage.googleapis.com/v1/models/g:generateContent",
        "https://gateway.example/v1/account/anthropic/v1/messages",
        "http://localhost:8080/chat/completions"
      ]
      const lost = [
        "https://api.openai.com/chat/completions",
        "https://api.openai.com/v1/v1/chat/completions",
        "https://api.groq.com/v1/chat/completions",
        "https://api.anthropic.com/messages",
        "http://localhost:8080/v1/chat/completions/chat/completions",
        "http://localhost:8080/v1/v1/responses"
      ]
      for (const url of served) assert.strictEqual(yield* status(url), 200, url)
      for (const url of lost) assert.strictEqual(yield* status(url), 404, url)
      assert.isTrue((yield* provider.requests).every(({ status, step }) => (status === 404) === (step === undefined)))
    })
  )
})

describe("the record", () => {
  it.effect("holds what came and what was served", () =>
    Effect.gen(function* () {
      const provider = yield* FaultyProvider.make({ script: [Fault.unauthorized(), Reply.text("hi")] })
      yield* provider.client.execute(request("openai-chat"))
      yield* provider.client.execute(request("anthropic", true))
      yield* provider.client.execute(request("gemini", true))
      const azure = "https://x.example/openai/deployments/gpt/chat/completions?api-version=1"
      yield* provider.client.post(azure, { headers: { "api-key": "key-2" } })
      yield* provider.client.post("https://x.example/v1beta/models/g:generateContent?key=key-3", {})
      const unknown = yield* provider.client.get("https://x.example/v1/files")
      assert.strictEqual(unknown.status, 404)

      const seen = yield* provider.requests
      assert.deepStrictEqual(
        seen.map((_) => [_.index, _.format, _.stream, _.model, _.key, _.status]),
        [
          [0, "openai-chat", false, "m-1", "key-1", 401],
          [1, "anthropic", true, "m-1", "key-1", 200],
          [2, "gemini", true, "m-1", "key-1", 200],
          [3, "openai-chat", false, "gpt", "key-2", 200],
          [4, "gemini", false, "g", "key-3", 200],
          [5, undefined, false, undefined, undefined, 404]
        ]
      )
      assert.strictEqual(at(seen[0]?.body, "messages", 0, "content"), "four words of prompt")
      assert.strictEqual(seen[0]?.method, "POST")
      assert.strictEqual(seen[2]?.url, "/v1beta/models/m-1:streamGenerateContent?alt=sse")
      assert.deepStrictEqual(seen[0]?.step, Fault.unauthorized())
      assert.strictEqual(
        Step.describe(Fault.rateLimited({ retryAfter: "2 seconds" })),
        "rate-limited, retry after 2000 ms"
      )
      assert.isUndefined(seen[5]?.step)
      // Plain data: it can be printed and compared.
      assert.deepStrictEqual(JSON.parse(JSON.stringify(seen[1]?.step)).parts, [{ _tag: "Text", chunks: ["hi"] }])
    })
  )

  it.effect("reads bodies of every sort", () =>
    Effect.gen(function* () {
      const provider = yield* FaultyProvider.make()
      const post = HttpClientRequest.post("https://x.example/v1/responses")
      const bytes = new TextEncoder().encode('{"model":"streamed"}')
      yield* provider.client.execute(HttpClientRequest.bodyStream(post, Stream.make(bytes)))
      yield* provider.client.execute(HttpClientRequest.bodyText(post, "not json"))
      assert.deepStrictEqual(
        (yield* provider.requests).map((_) => _.body),
        [{ model: "streamed" }, "not json"]
      )
    })
  )

  it.effect("gives ids that can be told in advance", () =>
    Effect.gen(function* () {
      const provider = yield* FaultyProvider.make()
      const response = yield* provider.client.execute(request("openai-chat"))
      assert.strictEqual(response.headers["x-request-id"], "req_000000000000000000000000")
      const anthropic = yield* provider.client.execute(request("anthropic"))
      assert.strictEqual(anthropic.headers["request-id"], "req_000000000000000100000000")
    })
  )
})

describe("limits", () => {
  it.effect("are kept per key and told truthfully", () =>
    Effect.gen(function* () {
      const provider = yield* FaultyProvider.make({
        script: [Reply.text("hi")],
        limits: { requests: { limit: 2 }, tokens: { limit: 1000, window: "10 seconds" } }
      })
      const ask = provider.client.execute(request("openai-chat"))
      const first = yield* ask
      assert.strictEqual(first.headers["x-ratelimit-limit-requests"], "2")
      assert.strictEqual(first.headers["x-ratelimit-remaining-requests"], "1")
      assert.strictEqual(first.headers["x-ratelimit-reset-requests"], "30s")
      // Four words asked, one answered.
      assert.strictEqual(first.headers["x-ratelimit-remaining-tokens"], "995")
      yield* ask
      const refused = yield* ask
      assert.deepStrictEqual([refused.status, refused.headers["retry-after-ms"]], [429, "30000"])
      assert.strictEqual((yield* provider.client.execute(request("anthropic", false, {}))).status, 429)
      yield* TestClock.adjust("29999 millis")
      assert.strictEqual((yield* ask).status, 429)
      yield* TestClock.adjust("1 millis")
      assert.strictEqual((yield* ask).status, 200)
      assert.deepStrictEqual(
        (yield* provider.requests).map((_) => _.limited),
        [false, false, true, true, true, false]
      )
      const other = HttpClientRequest.setHeader(request("openai-chat"), "authorization", "Bearer other")
      assert.strictEqual((yield* provider.client.execute(other)).status, 200)
    })
  )

  it.effect("refuse for ever what is larger than the bucket", () =>
    Effect.gen(function* () {
      const provider = yield* FaultyProvider.make({ limits: { tokens: { limit: 3 } } })
      const response = yield* provider.client.execute(request("openai-chat"))
      assert.strictEqual(response.status, 429)
      assert.include(yield* response.text, "Request too large")
      assert.isUndefined(response.headers["retry-after"])
    })
  )
})

describe("layer", () => {
  it.effect("is the HttpClient of a program", () =>
    Effect.gen(function* () {
      const response = yield* HttpClient.execute(request("anthropic"))
      assert.strictEqual(response.status, 529)
      const provider = yield* FaultyProvider.FaultyProvider
      assert.lengthOf(yield* provider.requests, 1)
    }).pipe(Effect.provide(FaultyProvider.layer({ script: [Fault.overloaded()] })))
  )
})
