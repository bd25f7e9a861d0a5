import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Exit, LogLevel, Schedule } from "effect"
import { Attempt, Call, Chat, ChatModel, LlmError, RetryPolicy } from "effect-steadfast"
import { Fault, Reply } from "effect-steadfast/testing"
import { errorOf } from "../support/errors.js"
import { collect, only, scripted } from "../support/evidence.js"
import { drawing, errorIn, under } from "../support/time.js"

const hello = Chat.prompt("Hello")
const target = { provider: "custom", model: "m-1" }

describe("Level 1 without a call", () => {
  it.effect("each generate is a call of its own, its attempt numbered by the schedule around it", () =>
    Effect.gen(function* () {
      const { layer, records } = collect()
      const { model } = yield* scripted({ script: [Fault.serverError(), Fault.serverError(), Reply.text("hi")] })
      const program = Effect.retry(model.generate(hello), RetryPolicy.standard)
      yield* under(drawing(1)(Effect.provide(program, layer)))
      assert.deepStrictEqual(
        records.map((record) => {
          const attempt = only(record.attempts)
          return [record.outcome, attempt.index, attempt.retry?.delayMillis, attempt.retry?.reason]
        }),
        [
          ["failure", 1, undefined, undefined],
          ["failure", 2, 500, "backoff"],
          ["success", 3, 1000, "backoff"]
        ]
      )
    })
  )

  it.effect("is numbered under any schedule that retries", () =>
    Effect.gen(function* () {
      const { layer, records } = collect()
      const { model } = yield* scripted({ script: [Fault.serverError(), Fault.serverError(), Reply.text("hi")] })
      yield* under(Effect.provide(Effect.retry(model.generate(hello), Schedule.spaced("1 second")), layer))
      assert.deepStrictEqual(
        records.map((record) => only(record.attempts).index),
        [1, 2, 3]
      )
    })
  )

  it.effect("records the wait that was waited, where policies are composed and announced", () =>
    Effect.gen(function* () {
      const { layer, records } = collect()
      const { model } = yield* scripted({ script: [Fault.serverError(), Reply.text("hi")] })
      const calm = RetryPolicy.standard.pipe(Schedule.intersect(Schedule.spaced("3 seconds")), RetryPolicy.announced)
      const { millis } = yield* under(drawing(1)(Effect.provide(Effect.retry(model.generate(hello), calm), layer)))
      assert.strictEqual(millis, 3000)
      assert.deepStrictEqual(
        records.map((record) => only(record.attempts).retry),
        [undefined, { delayMillis: 3000, reason: "schedule" }]
      )
    })
  )

  it.effect("a schedule that repeats what succeeds makes no second attempts", () =>
    Effect.gen(function* () {
      const { layer, records } = collect()
      const { model } = yield* scripted()
      const polling = Effect.repeat(
        model.generate(hello),
        Schedule.intersect(Schedule.spaced("1 hour"), Schedule.recurs(2))
      )
      yield* under(Effect.provide(polling, layer), "3 hours")
      assert.deepStrictEqual(
        records.map((record) => only(record.attempts).index),
        [1, 1, 1]
      )
    })
  )

  it.effect("an explicit call inside a retried program starts from 1", () =>
    Effect.gen(function* () {
      const { layer, records } = collect()
      const { model } = yield* scripted({ script: [Fault.serverError(), Reply.text("hi")] })
      const program = model.generate(hello).pipe(Call.make("greeting"), Effect.retry(RetryPolicy.standard))
      yield* under(Effect.provide(program, layer))
      assert.deepStrictEqual(
        records.map((record) => only(record.attempts).index),
        [1, 1]
      )
    })
  )
})

describe("run", () => {
  it.effect("gives the attempt to the body, and to whatever the body asks", () =>
    Effect.gen(function* () {
      const [outer, inner] = yield* Attempt.run(target, (attempt) =>
        Effect.map(Attempt.CurrentAttempt, (current) => [attempt, current] as const)
      ).pipe(Effect.provideService(Attempt.CurrentAttempt, { index: 0, target, note: () => {}, begun: () => {} }))
      assert.strictEqual(outer, inner)
      assert.deepStrictEqual([outer.index, outer.target], [1, target])
    })
  )

  it.effect("keeps the body's own context", () =>
    Effect.gen(function* () {
      class Setting extends Context.Tag("test/Setting")<Setting, string>() {}
      const seen = yield* Effect.provideService(
        Attempt.run(target, () => Setting),
        Setting,
        "here"
      )
      assert.strictEqual(seen, "here")
    })
  )

  it.effect("keeps what was noted before it broke", () =>
    Effect.gen(function* () {
      const { layer, records } = collect()
      const broken = Attempt.run(target, (attempt) => {
        attempt.note({ status: 200, requestId: "r-1" })
        attempt.note({ usage: { inputTokens: 4, outputTokens: 0 } })
        return Effect.die("a bug")
      })
      const { exit } = yield* under(Effect.provide(Call.make("call")(broken), layer))
      assert.deepStrictEqual(exit, Exit.die("a bug"))
      assert.deepInclude(only(only(records).attempts), {
        outcome: "defect",
        status: 200,
        requestId: "r-1",
        usage: { inputTokens: 4, outputTokens: 0 }
      })
    })
  )

  it.effect("takes status and request id from the error where nothing was noted", () =>
    Effect.gen(function* () {
      const { layer, records } = collect()
      const failed = Attempt.run(target, () => Effect.fail(errorOf("ServerError", { status: 503, requestId: "r-2" })))
      yield* under(Effect.provide(Call.make("call")(failed), layer))
      assert.deepInclude(only(only(records).attempts), { outcome: "failure", status: 503, requestId: "r-2" })
    })
  )

  it.effect("an effect that fails with an error of another kind is a failure without error", () =>
    Effect.gen(function* () {
      const { layer, records } = collect()
      const failed = Attempt.run(target, () => Effect.fail("mine"))
      const { exit } = yield* under(Effect.provide(Call.make("call")(failed), layer))
      assert.strictEqual(errorIn(exit), "mine")
      assert.deepInclude(only(only(records).attempts), { outcome: "failure" })
      assert.isUndefined(only(only(records).attempts).error)
    })
  )

  it.effect("writes a line for each attempt at level Debug, and formats none above it", () =>
    Effect.gen(function* () {
      const debug = collect(LogLevel.Debug)
      yield* under(
        Effect.provide(
          Attempt.run(target, () => Effect.void),
          debug.layer
        )
      )
      assert.deepStrictEqual(
        debug.lines.map((line) => [line.level, line.message]),
        [["DEBUG", "attempt 1 at custom/m-1: success"]]
      )
      const info = collect()
      yield* under(
        Effect.provide(
          Attempt.run(target, () => Effect.void),
          info.layer
        )
      )
      assert.deepStrictEqual(info.lines, [])
    })
  )
})

describe("a retry", () => {
  it.effect("is recorded of each of two that run at once, though they failed with one and the same error", () =>
    Effect.gen(function* () {
      const { layer, records } = collect()
      const error = errorOf("ServerError")
      const retried = (initialDelay: "1 second" | "2 seconds") => {
        let first = true
        const attempt = Attempt.run(target, () => {
          const answer = first ? Effect.fail(error) : Effect.void
          first = false
          return answer
        })
        return Effect.retry(attempt, RetryPolicy.make({ initialDelay, jitter: "none" }))
      }
      const both = Effect.all([retried("1 second"), retried("2 seconds")], { concurrency: "unbounded" })
      yield* under(Effect.provide(Call.make("both")(both), layer))
      assert.deepStrictEqual(
        only(records).attempts.map((attempt) => attempt.retry?.delayMillis),
        [undefined, undefined, 1000, 2000]
      )
    })
  )
})

describe("a fallback", () => {
  it.effect("to the same target is none", () =>
    Effect.gen(function* () {
      const { layer, records } = collect()
      const { model } = yield* scripted({ script: [Fault.serverError(), Reply.text("hi")] })
      yield* under(Effect.provide(model.pipe(ChatModel.orElse(model)).generate(hello), layer))
      assert.deepStrictEqual(
        only(records).attempts.map((attempt) => [attempt.index, attempt.fallback]),
        [
          [1, undefined],
          [2, undefined]
        ]
      )
    })
  )
})

describe("idempotence", () => {
  it.effect("what may have been run is not run again where that does harm", () =>
    Effect.gen(function* () {
      const { layer, records } = collect()
      const { model } = yield* scripted({ script: [Fault.resetInBody(), Reply.text("hi")] })
      const program = model.pipe(ChatModel.retry(RetryPolicy.standard), ChatModel.orElse(model))
      const { exit } = yield* under(
        Effect.provide(program.generate(Chat.prompt("Hello", { idempotent: false })), layer)
      )
      assert.isTrue(LlmError.isLlmError(errorIn(exit)))
      assert.strictEqual(only(records).attempts.length, 1)
    })
  )

  it.effect("what was refused is", () =>
    Effect.gen(function* () {
      const { layer, records } = collect()
      const { model } = yield* scripted({ script: [Fault.rateLimited(), Reply.text("hi")] })
      const program = model.pipe(ChatModel.retry(RetryPolicy.standard))
      yield* under(Effect.provide(program.generate(Chat.prompt("Hello", { idempotent: false })), layer))
      assert.strictEqual(only(records).attempts.length, 2)
    })
  )
})
