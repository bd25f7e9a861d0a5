import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Layer, Schedule, Schema } from "effect"
import { Call, CallRecord, Chat, ChatModel, LlmError, Resilience, RetryPolicy } from "effect-steadfast"
import { Fault, Reply } from "effect-steadfast/testing"
import { collect, collectRecords, only, scripted } from "../support/evidence.js"
import { drawing, errorIn, under } from "../support/time.js"

const hello = Chat.prompt("Hello")

const pair = (first: Parameters<typeof scripted>[0], second: Parameters<typeof scripted>[0] = {}) =>
  Effect.all([scripted(first, { model: "first" }), scripted(second, { model: "second" })])

const shape = (record: CallRecord.CallRecord) =>
  record.attempts.map((attempt) => [attempt.index, attempt.model, attempt.outcome, attempt.error?._tag])

describe("one record per logical call", () => {
  it.effect("a leaf alone is a call, with everything known of it", () =>
    Effect.gen(function* () {
      const { layer, records } = collect()
      const { model } = yield* scripted({
        script: [
          Reply.text("one two", { delay: "300 millis", model: "gpt-4o-mini-2024", headers: { "x-request-id": "r-1" } })
        ]
      })
      yield* under(Effect.provide(model.generate(hello), layer))
      const record = only(records)
      assert.deepInclude(record, {
        name: "openai/gpt-4o-mini",
        startedAt: 0,
        durationMillis: 300,
        outcome: "success",
        error: undefined
      })
      assert.deepInclude(only(record.attempts), {
        index: 1,
        provider: "openai",
        model: "gpt-4o-mini",
        startedAt: 0,
        durationMillis: 300,
        outcome: "success",
        status: 200,
        requestId: "r-1",
        responseModel: "gpt-4o-mini-2024"
      })
      assert.deepInclude(only(record.attempts).usage, { inputTokens: 1, outputTokens: 2 })
      assert.isUndefined(only(record.attempts).retry)
    })
  )

  it.effect("a composition is one call, numbered over retries and fallback", () =>
    Effect.gen(function* () {
      const { layer, records } = collect()
      const [a, b] = yield* pair({ script: [Fault.serverError()] }, { script: [Fault.status(500), Reply.text("hi")] })
      const assistant = a.model.pipe(
        ChatModel.timeout({ attempt: "10 seconds" }),
        ChatModel.retry(RetryPolicy.make({ maxAttempts: 2 })),
        ChatModel.orElse(b.model.pipe(ChatModel.retry(RetryPolicy.standard))),
        ChatModel.deadline("90 seconds"),
        ChatModel.named("assistant")
      )
      yield* under(drawing(1)(Effect.provide(assistant.generate(hello), layer)))
      const record = only(records)
      assert.deepInclude(record, { name: "assistant", outcome: "success", durationMillis: 1000 })
      assert.deepStrictEqual(shape(record), [
        [1, "first", "failure", "ServerError"],
        [2, "first", "failure", "ServerError"],
        [3, "second", "failure", "ServerError"],
        [4, "second", "success", undefined]
      ])
      assert.deepStrictEqual(
        record.attempts.map((attempt) => [attempt.retry?.delayMillis, attempt.retry?.reason, attempt.fallback?.from]),
        [
          [undefined, undefined, undefined],
          [500, "backoff", undefined],
          [undefined, undefined, "openai/first"],
          [500, "backoff", "openai/first"]
        ]
      )
      assert.strictEqual(CallRecord.waitedMillis(record), 1000)
      assert.strictEqual(CallRecord.servedBy(record), record.attempts[3])
    })
  )

  it.effect("compositions, calls and plain operators nest in one", () =>
    Effect.gen(function* () {
      const { layer, records } = collect()
      const [a, b] = yield* pair({ script: [Fault.serverError(), Reply.text("hi")] })
      const program = a.model
        .generate(hello)
        .pipe(
          Effect.retry(RetryPolicy.standard),
          Call.make("inner"),
          Effect.zip(ChatModel.named(b.model, "also").generate(hello)),
          Call.make("outer"),
          Effect.provide(layer)
        )
      yield* under(drawing(1)(program))
      assert.strictEqual(only(records).name, "outer")
      assert.deepStrictEqual(
        only(records).attempts.map((attempt) => [attempt.index, attempt.model, attempt.retry?.delayMillis]),
        [
          [1, "first", undefined],
          [2, "first", 500],
          [3, "second", undefined]
        ]
      )
    })
  )

  it.effect("parallel calls do not mix", () =>
    Effect.gen(function* () {
      const { layer, records } = collect()
      const [a, b] = yield* pair({ script: [Fault.serverError(), Reply.text("hi", { delay: "1 second" })] })
      const calls = Effect.all(
        [
          Call.make("a")(a.model.generate(hello).pipe(Effect.retry(RetryPolicy.standard))),
          Call.make("b")(b.model.generate(hello))
        ],
        { concurrency: "unbounded" }
      )
      yield* under(Effect.provide(calls, layer))
      assert.deepStrictEqual(
        records.map((record) => [record.name, record.attempts.map((attempt) => attempt.model)]),
        [
          ["b", ["second"]],
          ["a", ["first", "first"]]
        ]
      )
      assert.strictEqual(new Set(records.map((record) => record.id)).size, 2)
    })
  )

  it.effect("parallel attempts inside one call are all in it", () =>
    Effect.gen(function* () {
      const { layer, records } = collect()
      const { model } = yield* scripted({ script: [Reply.text("hi", { delay: "1 second" })] })
      const both = Effect.all([model.generate(hello), model.generate(hello)], { concurrency: "unbounded" })
      yield* under(Effect.provide(Call.make("both")(both), layer))
      assert.deepStrictEqual(
        only(records).attempts.map((attempt) => [attempt.index, attempt.startedAt, attempt.durationMillis]),
        [
          [1, 0, 1000],
          [2, 0, 1000]
        ]
      )
    })
  )

  it.effect("a retry around a fallback waits once a round", () =>
    Effect.gen(function* () {
      const { layer, records } = collect()
      const [a, b] = yield* pair({ script: [Fault.serverError()] }, { script: [Fault.serverError(), Reply.text("hi")] })
      const assistant = a.model.pipe(ChatModel.orElse(b.model), ChatModel.retry(RetryPolicy.standard))
      const { millis } = yield* under(drawing(1)(Effect.provide(assistant.generate(hello), layer)))
      assert.strictEqual(millis, 500)
      assert.deepStrictEqual(
        only(records).attempts.map((attempt) => attempt.retry?.delayMillis),
        [undefined, undefined, 500, undefined]
      )
      assert.strictEqual(CallRecord.waitedMillis(only(records)), 500)
    })
  )

  it.effect("the wait on record is the one that was waited, whoever's schedule it was", () =>
    Effect.gen(function* () {
      for (const policy of [
        RetryPolicy.standard.pipe(Schedule.intersect(Schedule.spaced("3 seconds"))),
        Schedule.spaced("3 seconds")
      ] as ReadonlyArray<Schedule.Schedule<unknown>>) {
        const { layer, records } = collect()
        const { model } = yield* scripted({ script: [Fault.serverError(), Reply.text("hi")] })
        const assistant = ChatModel.retry(model, policy)
        const { millis } = yield* under(drawing(1)(Effect.provide(assistant.generate(hello), layer)))
        assert.strictEqual(millis, 3000)
        assert.deepStrictEqual(only(records).attempts[1]?.retry, { delayMillis: 3000, reason: "schedule" })
      }
    })
  )
})

describe("recorded whatever its end", () => {
  const recordOf = (program: Effect.Effect<unknown, unknown>) =>
    Effect.gen(function* () {
      const { layer, records } = collect()
      const { exit } = yield* under(Effect.provide(program, layer))
      return { record: only(records), exit }
    })

  it.effect("failure, with the error", () =>
    Effect.gen(function* () {
      const { model } = yield* scripted({ script: [Fault.unauthorized()] })
      const { exit, record } = yield* recordOf(model.generate(hello))
      assert.deepInclude(record, { outcome: "failure" })
      assert.strictEqual(record.error, errorIn(exit))
      assert.deepInclude(only(record.attempts), { outcome: "failure", status: 401 })
    })
  )

  it.effect("an error of the application", () =>
    Effect.gen(function* () {
      const { exit, record } = yield* recordOf(Call.make("app")(Effect.fail("mine")))
      assert.deepInclude(record, { outcome: "failure", error: undefined, attempts: [] })
      assert.strictEqual(errorIn(exit), "mine")
    })
  )

  it.effect("defect", () =>
    Effect.gen(function* () {
      const broken = ChatModel.make({
        provider: "custom",
        model: "m-1",
        generate: () => Effect.die("a bug"),
        stream: () => assert.fail("not streamed")
      })
      const { exit, record } = yield* recordOf(broken.generate(hello))
      assert.strictEqual(record.outcome, "defect")
      assert.strictEqual(only(record.attempts).outcome, "defect")
      assert.deepStrictEqual(exit, Exit.die("a bug"))
    })
  )

  it.effect("interruption by the caller", () =>
    Effect.gen(function* () {
      const { model } = yield* scripted({ script: [Fault.hang] })
      const { record } = yield* recordOf(Effect.timeoutOption(model.generate(hello), "2 seconds"))
      assert.deepInclude(record, { outcome: "interrupted", error: undefined, durationMillis: 2000 })
      assert.deepInclude(only(record.attempts), { outcome: "interrupted", durationMillis: 2000 })
    })
  )

  it.effect("a deadline inside the call, and one around it", () =>
    Effect.gen(function* () {
      const { model } = yield* scripted({ script: [Fault.hang] })
      const programs: ReadonlyArray<Effect.Effect<unknown, LlmError.LlmError>> = [
        Call.make("call")(Resilience.deadline(model.generate(hello), "2 seconds")),
        Resilience.deadline(Call.make("call")(model.generate(hello)), "2 seconds"),
        Resilience.deadline(model.generate(hello), "2 seconds"),
        ChatModel.deadline(model, "2 seconds").generate(hello)
      ]
      for (const program of programs) {
        const { exit, record } = yield* recordOf(program)
        const error = errorIn(exit)
        if (!(error instanceof LlmError.Timeout)) return assert.fail("no Timeout")
        assert.deepStrictEqual([error.phase, error.provider, error.delivery], ["total", "openai", "unknown"])
        const attempt = only(record.attempts)
        assert.deepStrictEqual([record.outcome, record.durationMillis, attempt.outcome], ["failure", 2000, "failure"])
        // Under a span an error is behind a proxy that knows the span, so these are equal and not identical.
        assert.deepStrictEqual({ ...record.error }, { ...error })
        assert.deepStrictEqual({ ...attempt.error }, { ...error })
      }
    })
  )

  it.effect("the attempt's own timeout, before a retry that succeeds", () =>
    Effect.gen(function* () {
      const { model } = yield* scripted({ script: [Fault.hang, Reply.text("hi")] })
      const assistant = model.pipe(ChatModel.timeout({ attempt: "2 seconds" }), ChatModel.retry(RetryPolicy.standard))
      const { record } = yield* recordOf(assistant.generate(hello))
      assert.deepStrictEqual(shape(record), [
        [1, "gpt-4o-mini", "failure", "Timeout"],
        [2, "gpt-4o-mini", "success", undefined]
      ])
    })
  )
})

describe("CallRecord", () => {
  const roundTrip = (record: CallRecord.CallRecord) => {
    const json = JSON.parse(JSON.stringify(Schema.encodeSync(CallRecord.CallRecord)(record)))
    return { json, decoded: Schema.decodeUnknownSync(CallRecord.CallRecord)(json) }
  }

  it.effect("comes back from JSON as it went", () =>
    Effect.gen(function* () {
      const { layer, records } = collect()
      const [a, b] = yield* pair(
        { script: [Fault.rateLimited({ retryAfter: "2 seconds" }), Fault.resetBeforeHeaders(), Fault.contextLength()] },
        { script: [Reply.text("hi", { usage: { inputTokens: 7, outputTokens: 3, cachedTokens: 2 } })] }
      )
      const assistant = a.model.pipe(ChatModel.retry(RetryPolicy.standard), ChatModel.orElse(b.model))
      yield* under(Effect.provide(assistant.generate(hello), layer))
      const record = only(records)
      const { decoded, json } = roundTrip(record)
      assert.deepStrictEqual(roundTrip(decoded).json, json)
      assert.deepStrictEqual(shape(decoded), shape(record))
      const [first] = decoded.attempts
      assert.strictEqual(String(first?.error), String(record.attempts[0]?.error))
      assert.deepStrictEqual(first?.error?.hint, record.attempts[0]?.error?.hint)
      assert.deepStrictEqual(decoded.attempts[3]?.usage?.cachedInputTokens, 2)
    })
  )
})

describe("ids", () => {
  it.effect("are as the application makes them", () =>
    Effect.gen(function* () {
      const { layer, records } = collect()
      let n = 0
      const ids = Layer.succeed(Call.Ids, () => `call-${++n}`)
      const { model } = yield* scripted()
      const twice = Effect.repeatN(model.generate(hello), 1)
      yield* under(Effect.provide(twice, Layer.merge(layer, ids)))
      assert.deepStrictEqual(
        records.map((record) => record.id),
        ["call-1", "call-2"]
      )
    })
  )
})

describe("labels", () => {
  it.effect("of inside go before those of outside, and a call has 16 short ones at the most", () =>
    Effect.gen(function* () {
      const { layer, records } = collectRecords()
      const call = Call.make("ask")(Effect.void)
      const many = Object.fromEntries(Array.from({ length: 20 }, (_, at) => [`l${at}`, "v"]))
      yield* call.pipe(
        Call.withLabels({ tenant: "inner", feature: "x".repeat(300) }),
        Call.withLabels({ tenant: "outer", user: "u-1" }),
        Effect.zipRight(Call.withLabels(many)(call)),
        Effect.zipRight(call),
        Effect.provide(layer)
      )
      const [first, second, third] = records
      assert.deepStrictEqual(first?.labels, { tenant: "inner", feature: "x".repeat(256), user: "u-1" })
      assert.lengthOf(Object.keys(second?.labels ?? {}), Call.labelBounds.count)
      assert.isUndefined(third?.labels)
    })
  )
})

describe("observers", () => {
  it.effect("are all heard, side by side or one around the other, and none outside of its layer", () =>
    Effect.gen(function* () {
      const heard: Array<string> = []
      const hears = (name: string) => Call.observe(({ name: call }) => Effect.sync(() => heard.push(`${name} ${call}`)))
      const call = (name: string) => Call.make(name)(Effect.void)
      const inner = call("inner").pipe(Effect.provide(hears("d")))
      yield* Effect.zipRight(inner, call("outer")).pipe(
        Effect.provide(Layer.mergeAll(hears("a"), hears("b").pipe(Layer.provideMerge(hears("c")))))
      )
      yield* call("after")
      assert.sameMembers(heard, ["a inner", "b inner", "c inner", "d inner", "a outer", "b outer", "c outer"])
    })
  )

  it.effect("one layer that is built twice is heard twice, and once where it is built once", () =>
    Effect.gen(function* () {
      let heard = 0
      const layer = Call.observe(() => Effect.sync(() => void heard++))
      const call = Call.make("ask")(Effect.void)
      yield* Effect.provide(call, Layer.merge(layer, layer))
      assert.strictEqual(heard, 1)
      yield* call.pipe(Effect.provide(layer), Effect.provide(layer))
      assert.strictEqual(heard, 3)
    })
  )
})
