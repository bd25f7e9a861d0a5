import { HttpClient, HttpClientError, HttpClientResponse } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Chunk, Effect, Fiber, JSONSchema, Layer, Metric, Schema, Stream, TestClock } from "effect"
import { Call, Chat, ChatModel, RetryPolicy } from "effect-steadfast"
import { Degradation } from "effect-steadfast/observability"
import { Fault, Reply } from "effect-steadfast/testing"
import { collect, scripted } from "../support/evidence.js"
import { recordOf, type Sketch } from "./support.js"

const bad: Sketch = { errors: ["Overloaded"] }

/** Tells the observers of such calls, minute by minute. */
const minutes = (count: number, sketch: Sketch, times = 10) =>
  Effect.gen(function* () {
    const observers = yield* Call.Observers
    for (let minute = 0; minute < count; minute++) {
      for (let i = 0; i < times; i++) for (const observe of observers) yield* observe(recordOf(sketch))
      yield* TestClock.adjust("1 minute")
    }
  })

const incident = Effect.zipRight(minutes(10, bad), minutes(20, {}, 30))

/** The gauge of a target: what every registry of the process has. */
const gaugeOf = (target: string) =>
  Metric.value(
    Metric.tagged(
      Metric.gauge("steadfast.degraded", { description: "1 while an alarm about the target stands" }),
      "target",
      target
    )
  )

describe("Degradation", () => {
  it.effect("tells an alarm once and its end once: in the log, the stream, the states and the gauge", () => {
    const { layer, lines } = collect()
    const target = "openai/told"
    return Effect.gen(function* () {
      const { changes, states } = yield* Degradation.Degradation
      const fiber = yield* Effect.fork(Stream.runCollect(Stream.take(changes, 2)))
      yield* Effect.yieldNow()
      yield* minutes(10, { ...bad, target })
      const state = (yield* states).get(target)
      assert.deepInclude(state, { degraded: true, since: 7 * 60_000, kind: "new", raised: 1 })
      assert.include(state?.advice, `add a fallback for ${target}: 100 % of calls`)
      assert.strictEqual((yield* gaugeOf(target)).value, 1)
      yield* minutes(20, { target }, 30)
      assert.deepInclude((yield* states).get(target), {
        degraded: false,
        since: undefined,
        advice: undefined,
        raised: 1
      })
      assert.strictEqual((yield* gaugeOf(target)).value, 0)
      const told = Chunk.toReadonlyArray(yield* Fiber.join(fiber))
      assert.deepStrictEqual(
        told.map(({ _tag, at, why }) => [_tag, at / 60_000, why]),
        [
          ["Raised", 7, undefined],
          ["Cleared", 23, "recovered"]
        ]
      )
      assert.deepStrictEqual(
        lines.map(({ annotations, level, message }) => [level, message, annotations.target]),
        [
          ["WARN", `degraded: ${told[0]?.advice}`, target],
          ["INFO", `no longer degraded: ${told[1]?.advice}`, target]
        ]
      )
    }).pipe(Effect.provide(Layer.provideMerge(Degradation.layer(), layer)))
  })

  it.effect("tells that an alarm turned chronic: in the log, the stream and the gauge", () => {
    const { layer, lines } = collect()
    const target = "openai/chronic"
    return Effect.gen(function* () {
      const { changes } = yield* Degradation.Degradation
      const fiber = yield* Effect.fork(Stream.runCollect(Stream.take(changes, 2)))
      yield* Effect.yieldNow()
      yield* minutes(25, { ...bad, target })
      const told = Chunk.toReadonlyArray(yield* Fiber.join(fiber))
      assert.deepStrictEqual(
        told.map(({ _tag, at, kind }) => [_tag, at / 60_000, kind]),
        [
          ["Raised", 7, "new"],
          ["Chronic", 22, "chronic"]
        ]
      )
      assert.strictEqual((yield* gaugeOf(target)).value, 1)
      assert.deepStrictEqual(
        lines.map(({ annotations, level, message }) => [level, message, annotations.kind]),
        [
          ["WARN", `degraded: ${told[0]?.advice}`, "new"],
          ["WARN", `still degraded: ${told[1]?.advice}`, "chronic"]
        ]
      )
    }).pipe(Effect.provide(Layer.provideMerge(Degradation.layer({ chronicAfter: "15 minutes" }), layer)))
  })

  it.effect("hears the calls of models, and waits no longer than the calls", () =>
    Effect.gen(function* () {
      const hi = Reply.text("hi")
      const { model } = yield* scripted({ script: [Fault.status(529), hi, hi, Fault.status(529), hi] })
      const assistant = model.pipe(ChatModel.retry(RetryPolicy.make({ initialDelay: "1 second" })))
      const { states } = yield* Degradation.Degradation
      for (let i = 0; i < 3; i++) {
        const fiber = yield* Effect.fork(assistant.generate(Chat.prompt("Hello")))
        yield* TestClock.adjust("5 seconds")
        yield* Fiber.join(fiber)
      }
      const figures = (yield* states).get("openai/gpt-4o-mini")?.figures
      assert.deepInclude(figures, { calls: 3, first: 1, later: 2, rescued: 1, reasons: { Overloaded: 2 } })
    }).pipe(Effect.provide(Degradation.layer()))
  )

  it.effect("ends its timer with its scope", () => {
    const { layer, lines } = collect()
    return Effect.gen(function* () {
      const { observe } = yield* Effect.scoped(Effect.tap(Degradation.make(), TestClock.adjust("1 minute")))
      yield* minutes(10, bad).pipe(Effect.provideService(Call.Observers, [observe]))
      assert.deepStrictEqual(lines, [])
    }).pipe(Effect.provide(layer))
  })

  it("refuses what makes no sense, and its schema is that of its options", () => {
    const refused = (options: Degradation.Options, message: string) =>
      assert.throws(() => Degradation.make(options), RangeError, message)
    refused({ raiseShare: 0 }, "Degradation: raiseShare: found 0, expected a number above 0 and at most 1")
    refused(
      { raiseShare: 0.1, clearShare: 0.2 },
      "Degradation: clearShare: found 0.2, expected at most raiseShare, 0.1"
    )
    refused(
      { clearAddedP95: "6 seconds" },
      'Degradation: clearAddedP95: found "6 seconds", expected at most raiseAddedP95'
    )
    refused({ raiseAfter: Number.POSITIVE_INFINITY }, "Degradation: raiseAfter")
    refused({ window: "1 second" }, "Degradation: window")
    assert.throws(
      () => Degradation.webhook("https://a.example", { timeout: 0 }),
      RangeError,
      "Degradation.webhook: timeout"
    )
    const decoded = Schema.decodeUnknownSync(Degradation.Options)({ window: "20 minutes", raiseShare: 0.3 })
    assert.doesNotThrow(() => Degradation.make(decoded))
    assert.sameMembers(Object.keys((JSONSchema.make(Degradation.Options) as { properties: object }).properties), [
      "window",
      "minimum",
      "raiseShare",
      "clearShare",
      "raiseAddedP95",
      "clearAddedP95",
      "raiseAfter",
      "clearAfter",
      "chronicAfter",
      "chronicRaises"
    ])
  })
})

describe("the webhook", () => {
  const secret = "https://hooks.example.com/services/T00/SECRET"

  type Answer = (url: string) => Effect.Effect<number, HttpClientError.HttpClientError>

  const posting = (answer: Answer) => {
    const posts: Array<{ readonly url: string; readonly body: Degradation.Change }> = []
    const client = HttpClient.make((request, url) =>
      Effect.suspend(() => {
        const { body } = request
        const text = body._tag === "Uint8Array" ? new TextDecoder().decode(body.body) : "null"
        posts.push({ url: url.href, body: JSON.parse(text) as Degradation.Change })
        return Effect.map(answer(url.href), (status) =>
          HttpClientResponse.fromWeb(request, new Response(null, { status }))
        )
      })
    )
    const http = Layer.succeed(HttpClient.HttpClient, client)
    const logs = collect()
    const layer = Degradation.webhook(secret).pipe(
      Layer.provideMerge(Degradation.layer()),
      Layer.provide(http),
      Layer.provideMerge(logs.layer)
    )
    const hookLines = () =>
      logs.lines.filter(({ message }) => message.includes("webhook")).map(({ message }) => message)
    return { posts, layer, lines: logs.lines, hookLines }
  }

  it.effect("gets what is raised and cleared, as JSON", () => {
    const { hookLines, layer, posts } = posting(() => Effect.succeed(200))
    return Effect.gen(function* () {
      yield* incident
      assert.deepStrictEqual(
        posts.map(({ body, url }) => [url, body._tag, body.target]),
        [
          [secret, "Raised", "openai/gpt-4o"],
          [secret, "Cleared", "openai/gpt-4o"]
        ]
      )
      assert.include(posts[0]?.body.advice, "add a fallback for openai/gpt-4o")
      assert.strictEqual(posts[0]?.body.figures.reasons.Overloaded, 70)
      assert.deepStrictEqual(hookLines(), [])
    }).pipe(Effect.provide(layer))
  })

  it.effect("is asked again when it fails in passing", () => {
    let asked = 0
    const { hookLines, layer, posts } = posting(() => Effect.sync(() => (++asked === 1 ? 503 : 200)))
    return Effect.gen(function* () {
      yield* incident
      assert.deepStrictEqual(
        posts.map(({ body }) => body._tag),
        ["Raised", "Raised", "Cleared"]
      )
      assert.deepStrictEqual(hookLines(), [])
    }).pipe(Effect.provide(layer))
  })

  it.effect("is logged once if it fails or hangs, without its address, and holds up nothing", () => {
    let hangs = true
    const { hookLines, layer, lines, posts } = posting(() => (hangs ? Effect.never : Effect.succeed(404)))
    return Effect.gen(function* () {
      yield* incident
      hangs = false
      yield* incident
      assert.deepStrictEqual(
        posts.map(({ body }) => body._tag),
        ["Raised", "Cleared", "Raised", "Cleared"]
      )
      assert.deepStrictEqual(hookLines(), ["the webhook did not get that openai/gpt-4o was raised"])
      assert.notInclude(JSON.stringify(lines), "SECRET")
    }).pipe(Effect.provide(layer))
  })
})
