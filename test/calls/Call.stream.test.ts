import { assert, describe, it } from "@effect/vitest"
import { Chunk, Effect, Exit, Fiber, Stream, TestClock } from "effect"
import { Call, Chat, ChatModel, ChatStream, Resilience, RetryPolicy } from "effect-steadfast"
import { Fault, Reply } from "effect-steadfast/testing"
import { collect, collectRecords, only, scripted } from "../support/evidence.js"
import { drawing, errorIn, under } from "../support/time.js"

const hello = Chat.prompt("Hello")

const drained = (stream: Stream.Stream<Chat.Event, unknown>) =>
  Effect.gen(function* () {
    const { layer, lines, records } = collect()
    const { exit, millis } = yield* under(drawing(1)(Effect.provide(Stream.runCollect(stream), layer)))
    return { exit, millis, lines, record: only(records) }
  })

describe("a streamed call leaves one record", () => {
  it.effect("success, with its usage, when it is over", () =>
    Effect.gen(function* () {
      const { model } = yield* scripted({
        script: [
          Reply.text("one two three", { tokenDelay: "1 second", model: "dated", headers: { "x-request-id": "r-1" } })
        ]
      })
      const { lines, record } = yield* drained(model.stream(hello))
      assert.deepInclude(record, { name: "openai/gpt-4o-mini", outcome: "success", durationMillis: 2000 })
      const attempt = only(record.attempts)
      assert.deepInclude(attempt, {
        index: 1,
        outcome: "success",
        status: 200,
        requestId: "r-1",
        responseModel: "dated"
      })
      assert.deepInclude(attempt.usage, { inputTokens: 1, outputTokens: 3 })
      assert.deepStrictEqual(lines, [])
    })
  )

  it.effect("failure before the first content", () =>
    Effect.gen(function* () {
      const { model } = yield* scripted({ script: [Fault.unauthorized()] })
      const { exit, record } = yield* drained(model.stream(hello))
      assert.strictEqual(record.outcome, "failure")
      assert.strictEqual(record.error?._tag, "AuthError")
      assert.deepInclude(only(record.attempts), { outcome: "failure", status: 401 })
      assert.isTrue(Exit.isFailure(exit))
    })
  )

  it.effect("failure in the middle, which is not replayed", () =>
    Effect.gen(function* () {
      const { model, provider } = yield* scripted({ script: [Fault.resetInBody({ tokens: 2 }), Reply.text("hi")] })
      const { record } = yield* drained(ChatModel.retry(model, RetryPolicy.standard).stream(hello))
      assert.strictEqual(record.error?._tag, "StreamInterrupted")
      assert.strictEqual(only(record.attempts).outcome, "failure")
      assert.strictEqual((yield* provider.requests).length, 1)
    })
  )

  it.effect("a clean end before the protocol's own is no success", () =>
    Effect.gen(function* () {
      const { model } = yield* scripted({ script: [Fault.earlyEnd({ tokens: 2 })] })
      const { record } = yield* drained(model.stream(hello))
      assert.deepStrictEqual([record.outcome, record.error?._tag], ["failure", "StreamInterrupted"])
    })
  )

  it.effect("retries and fallback before the first content, numbered over the call", () =>
    Effect.gen(function* () {
      const a = yield* scripted({ script: [Fault.serverError()] }, { model: "first" })
      const b = yield* scripted({ script: [Reply.text("hi")] }, { model: "second" })
      const assistant = a.model.pipe(
        ChatModel.retry(RetryPolicy.make({ maxAttempts: 2 })),
        ChatModel.orElse(b.model),
        ChatModel.deadline("1 minute")
      )
      const { lines, millis, record } = yield* drained(assistant.stream(hello))
      assert.strictEqual(millis, 500)
      assert.deepStrictEqual(
        record.attempts.map((attempt) => [
          attempt.index,
          attempt.model,
          attempt.outcome,
          attempt.retry?.delayMillis,
          attempt.fallback?.from
        ]),
        [
          [1, "first", "failure", undefined, undefined],
          [2, "first", "failure", 500, undefined],
          [3, "second", "success", undefined, "openai/first"]
        ]
      )
      assert.deepStrictEqual(
        lines.map((line) => line.level),
        ["WARN", "WARN", "INFO"]
      )
    })
  )

  it.effect("a reader that leaves early: interrupted, and no ERROR", () =>
    Effect.gen(function* () {
      const { model, provider } = yield* scripted({ script: [Reply.text("a b c d", { tokenDelay: "1 second" })] })
      const { exit, lines, record } = yield* drained(
        model.stream(hello).pipe(
          Stream.filter((event) => event._tag === "TextDelta"),
          Stream.take(2)
        )
      )
      assert.isTrue(Exit.isSuccess(exit) && Chunk.size(exit.value) === 2)
      assert.deepInclude(record, { outcome: "interrupted", durationMillis: 1000, error: undefined })
      assert.strictEqual(only(record.attempts).outcome, "interrupted")
      assert.deepStrictEqual(lines, [])
      assert.isTrue(only(yield* provider.requests).hungUp)
    })
  )

  it.effect("a reader that is interrupted", () =>
    Effect.gen(function* () {
      const { layer, lines, records } = collect()
      const { model } = yield* scripted({ script: [Fault.stall({ tokens: 2 })] })
      const fiber = yield* Effect.fork(Effect.provide(Stream.runDrain(model.stream(hello)), layer))
      yield* TestClock.adjust("3 seconds")
      yield* Fiber.interrupt(fiber)
      assert.deepInclude(only(records), { outcome: "interrupted", durationMillis: 3000 })
      assert.deepStrictEqual(lines, [])
    })
  )

  it.effect("a reader that fails: interrupted, for the provider did nothing wrong", () =>
    Effect.gen(function* () {
      const { model } = yield* scripted({ script: [Reply.text("a b c d", { tokenDelay: "1 second" })] })
      const { exit, record } = yield* drained(
        Stream.mapEffect(model.stream(hello), (event) =>
          event._tag === "TextDelta" ? Effect.fail("the reader's own") : Effect.succeed(event)
        )
      )
      assert.strictEqual(errorIn(exit), "the reader's own")
      assert.strictEqual(record.outcome, "interrupted")
    })
  )

  it.effect("its time limits, each recorded as its Timeout", () =>
    Effect.gen(function* () {
      const { model } = yield* scripted({ script: [Fault.stall({ tokens: 2 })] })
      for (const [limited, phase, millis] of [
        [ChatModel.timeout(model, { idle: "5 seconds" }), "idle", 5000],
        [ChatModel.timeout(model, { attempt: "7 seconds" }), "attempt", 7000],
        [ChatModel.deadline(model, "9 seconds"), "total", 9000]
      ] as const) {
        const { record } = yield* drained(limited.stream(hello))
        const attempt = only(record.attempts)
        for (const { error } of [record, attempt]) {
          assert.deepStrictEqual(error?._tag === "Timeout" && [error.phase, error.provider], [phase, "openai"])
        }
        assert.deepStrictEqual([attempt.outcome, attempt.durationMillis], ["failure", millis])
      }
    })
  )

  it.effect("no first content in time", () =>
    Effect.gen(function* () {
      const { model } = yield* scripted({ script: [Fault.slowFirstToken("1 minute"), Reply.text("hi")] })
      const assistant = model.pipe(
        ChatModel.timeout({ firstToken: "4 seconds" }),
        ChatModel.retry(RetryPolicy.standard)
      )
      const { millis, record } = yield* drained(assistant.stream(hello))
      assert.strictEqual(millis, 4500)
      const [first] = record.attempts
      assert.strictEqual(first?.error?._tag === "Timeout" && first.error.phase, "first-token")
      assert.strictEqual(record.outcome, "success")
    })
  )

  it.effect("a stream inside a named call joins it", () =>
    Effect.gen(function* () {
      const { layer, records } = collect()
      const { model } = yield* scripted()
      const program = ChatStream.collect(model.stream(hello)).pipe(
        Effect.zip(model.generate(hello)),
        Call.make("both"),
        Effect.provide(layer)
      )
      yield* under(program)
      assert.deepStrictEqual(
        only(records).attempts.map((attempt) => [attempt.index, attempt.outcome]),
        [
          [1, "success"],
          [2, "success"]
        ]
      )
    })
  )

  it.effect("collecting a stream retries like any effect", () =>
    Effect.gen(function* () {
      const { layer, records } = collect()
      const { model } = yield* scripted({ script: [Fault.resetInBody({ tokens: 2 }), Reply.text("hi")] })
      const program = ChatStream.collect(model.stream(hello)).pipe(
        Resilience.retry(RetryPolicy.standard),
        Call.make("greeting"),
        Effect.provide(layer)
      )
      const { exit } = yield* under(program)
      assert.strictEqual(Exit.isSuccess(exit) && exit.value.text, "hi")
      assert.deepStrictEqual(
        only(records).attempts.map((attempt) => attempt.outcome),
        ["failure", "success"]
      )
    })
  )
})

describe("the answer that a cut stream carries", () => {
  it.effect("stays on the error, and gets into no record", () =>
    Effect.gen(function* () {
      const { layer, records } = collectRecords()
      const { model } = yield* scripted({ script: [Fault.earlyEnd({ tokens: 3, reply: Reply.text("a b c d e f") })] })
      const error = yield* Effect.flip(Effect.provide(Stream.runDrain(model.stream(Chat.prompt("Hello"))), layer))
      assert.deepInclude(error, { _tag: "StreamInterrupted", partial: "a b c", received: 5 })
      const record = only(records)
      for (const recorded of [record.error, only(record.attempts).error]) {
        assert.deepInclude(recorded, { _tag: "StreamInterrupted", partial: "", received: 5 })
      }
    })
  )
})
