import { assert, describe } from "@effect/vitest"
import { Clock, Duration, Effect } from "effect"
import { Chat, ChatModel, ChatStream, LlmError, RetryPolicy } from "effect-steadfast"
import { Fault, FaultyProvider, Reply, type Step } from "effect-steadfast/testing"
import { read, recorded } from "../chat/support.js"
import { modelAt, nobodyOnTheLine, onEveryClient, served } from "./support.js"
import { serving } from "./Transport.support.js"

const prompt = Chat.prompt("four words of prompt")
const reply = Reply.text("one two three four")

const told = (error: LlmError.LlmError | undefined) => [
  error?._tag,
  error?.delivery,
  error === undefined ? undefined : LlmError.isRetryable(error)
]

const phaseOf = (error: LlmError.LlmError | undefined) => (error?._tag === "Timeout" ? error.phase : error?._tag)

describe("an answer", () => {
  onEveryClient("arrives, whole and streamed, with characters cut anywhere", () =>
    Effect.gen(function* () {
      const { model, server } = yield* served(Reply.text("é€😀 日本 a", { fragment: 1 }))
      const { raw: _, ...whole } = yield* model.generate(prompt)
      const streamed = yield* ChatStream.collect(model.stream(prompt))
      assert.strictEqual(whole.text, "é€😀 日本 a")
      assert.deepStrictEqual(
        { ...streamed, id: undefined, requestId: undefined },
        { ...whole, id: undefined, requestId: undefined }
      )
      yield* nobodyOnTheLine(server)
      assert.isFalse((yield* server.requests).some((request) => request.hungUp))
    })
  )

  const broken: ReadonlyArray<readonly [string, Step.Step, ReturnType<typeof told>]> = [
    ["a reset before the headers", Fault.resetBeforeHeaders(), ["ConnectionError", "unknown", true]],
    ["a reset in the body", Fault.resetInBody({ reply }), ["ConnectionError", "unknown", true]],
    ["a clean end in the body", Fault.earlyEnd({ reply }), ["InvalidResponse", "unknown", true]],
    ["a clean end of chunks", Fault.earlyEnd({ reply, framing: "chunked" }), ["InvalidResponse", "unknown", true]],
    [
      "fewer bytes than promised",
      Fault.earlyEnd({ reply, framing: "overstated-length" }),
      ["ConnectionError", "unknown", true]
    ],
    ["no bytes at all", Fault.emptyBody, ["InvalidResponse", "unknown", true]],
    ["an HTML page", Fault.htmlPage(), ["InvalidResponse", "unknown", false]],
    ["a proxy's error page", Fault.badGateway(), ["ServerError", "unknown", true]]
  ]
  for (const [name, step, expected] of broken) {
    onEveryClient(`that is broken by ${name} is a typed error`, () =>
      Effect.gen(function* () {
        const { model, server } = yield* served(step)
        const error = yield* Effect.flip(model.generate(prompt))
        assert.deepStrictEqual(told(error), expected)
        assert.deepStrictEqual([error.provider, error.model], ["openai", "m-1"])
        yield* nobodyOnTheLine(server)
      })
    )
  }

  onEveryClient("that never comes is a timeout, and the socket is closed", () =>
    Effect.gen(function* () {
      for (const step of [Fault.hang, Fault.stall({ reply })]) {
        const { model, server } = yield* served(step)
        const start = yield* Clock.currentTimeMillis
        const limited = model.pipe(ChatModel.timeout({ attempt: "200 millis" }))
        const error = yield* Effect.flip(limited.generate(prompt))
        const took = (yield* Clock.currentTimeMillis) - start
        assert.strictEqual(phaseOf(error), "attempt")
        // Timers may be a millisecond early, and a busy machine late: the phase tells which limit it was.
        assert.isAtLeast(took, 195)
        const [request] = yield* nobodyOnTheLine(server)
        assert.isTrue(request?.hungUp)
      }
    })
  )
})

describe("a stream", () => {
  const cuts: ReadonlyArray<readonly [string, Step.Step]> = [
    ["a reset", Fault.resetInBody({ tokens: 2, reply })],
    ["a clean end", Fault.earlyEnd({ tokens: 2, reply })],
    ["the end of the connection", Fault.earlyEnd({ tokens: 2, reply, framing: "close" })],
    ["fewer bytes than promised", Fault.earlyEnd({ tokens: 2, reply, framing: "overstated-length" })]
  ]
  for (const [name, step] of cuts) {
    onEveryClient(`that is cut by ${name} is interrupted, and tells what came`, () =>
      Effect.gen(function* () {
        const { model, server } = yield* served(step)
        const { error, text } = yield* read(model.stream(prompt))
        assert.strictEqual(text, "one two")
        assert.deepStrictEqual(told(error), ["StreamInterrupted", "unknown", true])
        if (error?._tag === "StreamInterrupted") assert.deepStrictEqual([error.received, error.partial], [7, "one two"])
        yield* nobodyOnTheLine(server)
      })
    )
  }

  onEveryClient("that is reset before its headers is a connection error", () =>
    Effect.gen(function* () {
      const { model } = yield* served(Fault.resetBeforeHeaders())
      const { error, events } = yield* read(model.stream(prompt))
      assert.deepStrictEqual([told(error), events], [["ConnectionError", "unknown", true], []])
    })
  )

  onEveryClient("that is reset before its first content is replayed", () =>
    Effect.gen(function* () {
      const { model, server } = yield* served(
        Fault.resetInBody({ tokens: 0, reply }),
        Fault.earlyEnd({ tokens: 0, reply }),
        Fault.errorEvent("overloaded", { reply }),
        reply
      )
      const held = model.pipe(ChatModel.retry(RetryPolicy.make({ initialDelay: "1 millis", overloadedDelay: 0 })))
      const { exit, text } = yield* read(held.stream(prompt))
      assert.deepStrictEqual([exit._tag, text], ["Success", "one two three four"])
      assert.lengthOf(yield* nobodyOnTheLine(server), 4)
    })
  )

  onEveryClient("that stalls is an idle timeout, pings or not, and the socket is closed", () =>
    Effect.gen(function* () {
      for (const pings of [undefined, "20 millis"] as const) {
        const { model, server } = yield* served(Fault.stall({ tokens: 2, reply, pings }))
        const { ended, error, text } = yield* read(
          model.pipe(ChatModel.timeout({ firstToken: "10 seconds", idle: "200 millis" })).stream(prompt)
        )
        assert.deepStrictEqual([phaseOf(error), text], ["idle", "one two"])
        assert.isAtLeast(ended, 195)
        const [request] = yield* nobodyOnTheLine(server)
        assert.isTrue(request?.hungUp)
      }
    })
  )

  onEveryClient("whose headers or first content are late is a first-token timeout", () =>
    Effect.gen(function* () {
      for (const step of [Fault.hang, Fault.slowHeaders("1 minute"), Fault.slowFirstToken("1 minute")]) {
        const { model, server } = yield* served(step)
        const { error, events } = yield* read(
          model.pipe(ChatModel.timeout({ firstToken: "500 millis", idle: "10 seconds" })).stream(prompt)
        )
        assert.deepStrictEqual([phaseOf(error), events], ["first-token", []])
        const [request] = yield* nobodyOnTheLine(server)
        assert.isTrue(request?.hungUp)
      }
    })
  )
})

describe("no connection", () => {
  const closed = Effect.scoped(Effect.map(FaultyProvider.serve(), (server) => server.url))

  onEveryClient("a port that refuses was sent nothing", () =>
    Effect.gen(function* () {
      const model = yield* modelAt(yield* closed)
      const careful = Chat.prompt("pay", { idempotent: false })
      for (const request of [prompt, careful]) {
        assert.deepStrictEqual(told(yield* Effect.flip(model.generate(request))), ["ConnectionError", "not-sent", true])
        const { error } = yield* read(model.stream(request))
        assert.deepStrictEqual(told(error), ["ConnectionError", "not-sent", true])
      }
    })
  )

  onEveryClient("a host that does not exist was sent nothing", () =>
    Effect.gen(function* () {
      const model = yield* modelAt("http://no-such-host.invalid")
      const error = yield* Effect.flip(model.generate(prompt))
      assert.deepStrictEqual(told(error), ["ConnectionError", "not-sent", true])
    })
  )

  onEveryClient("HTTPS at a port that speaks HTTP is a fault that no retry mends", () =>
    Effect.gen(function* () {
      const { server } = yield* served(reply)
      const model = yield* modelAt(server.url.replace("http:", "https:"))
      const error = yield* Effect.flip(model.generate(prompt))
      assert.deepStrictEqual([error._tag, LlmError.isRetryable(error)], ["ConnectionError", false])
      assert.lengthOf(yield* server.requests, 0)
    })
  )
})

describe("a journey", () => {
  onEveryClient("429 with a hint, 503, answer: whole and streamed", () =>
    Effect.gen(function* () {
      for (const streaming of [false, true]) {
        const { model, server } = yield* served(
          Fault.rateLimited({ retryAfter: "200 millis", form: "header" }),
          Fault.status(503),
          reply
        )
        const held = model.pipe(
          ChatModel.timeout({ attempt: "5 seconds", firstToken: "5 seconds", idle: "5 seconds" }),
          ChatModel.retry(
            RetryPolicy.make({ initialDelay: "10 millis", overloadedDelay: "10 millis", jitter: "none" })
          ),
          ChatModel.deadline("10 seconds")
        )
        const { records, value } = yield* recorded(
          streaming ? ChatStream.collect(held.stream(prompt)) : held.generate(prompt)
        )
        assert.strictEqual(value.text, "one two three four")
        assert.deepStrictEqual(
          records[0]?.attempts.map(({ error, outcome, status }) => [outcome, error?._tag, status]),
          [
            ["failure", "RateLimited", 429],
            ["failure", "Overloaded", 503],
            ["success", undefined, 200]
          ]
        )
        const [first, second] = yield* nobodyOnTheLine(server)
        assert.isAtLeast((second?.at ?? 0) - (first?.at ?? 0), Duration.toMillis("195 millis"))
      }
    })
  )

  onEveryClient("from a target that resets to one that answers", () =>
    Effect.gen(function* () {
      const { model: one } = yield* served(Fault.resetBeforeHeaders())
      const { model: two } = yield* served(reply)
      const model = one.pipe(ChatModel.orElse(two))
      assert.strictEqual((yield* model.generate(prompt)).text, "one two three four")
      assert.strictEqual((yield* ChatStream.collect(model.stream(prompt))).text, "one two three four")
    })
  )
})

describe("a redirect", () => {
  onEveryClient("is not followed: the key stays with its server", () =>
    Effect.gen(function* () {
      const seen: Array<string> = []
      const other = yield* serving((request, response) => {
        seen.push(request.url ?? "")
        response.end("{}")
      })
      const { url } = yield* serving((_, response) => {
        response.writeHead(307, { location: `${other.url}/elsewhere?key=1` })
        response.end()
      })
      const model = yield* modelAt(url)
      for (const ask of [model.generate(prompt), ChatStream.collect(model.stream(prompt))]) {
        const error = yield* Effect.flip(ask)
        assert.deepStrictEqual(
          [error._tag, LlmError.isRetryable(error), LlmError.isFallbackable(error)],
          ["ConnectionError", false, true]
        )
        assert.include(error.message, "/elsewhere")
        assert.notInclude(error.message, "key=1")
      }
      assert.deepStrictEqual(seen, [])
    })
  )
})
