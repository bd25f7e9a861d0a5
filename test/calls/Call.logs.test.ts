import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Fiber, Layer, LogLevel, Option, TestClock } from "effect"
import { Call, type CallRecord, Chat, ChatModel, Resilience, RetryPolicy } from "effect-steadfast"
import { Fault, Reply } from "effect-steadfast/testing"
import { collect, collectLogs, only, scripted } from "../support/evidence.js"
import { drawing, under } from "../support/time.js"

const hello = Chat.prompt("Hello")

const logsOf = (program: Effect.Effect<unknown, unknown>, minimum?: LogLevel.LogLevel) =>
  Effect.gen(function* () {
    const { layer, lines } = collectLogs(minimum)
    yield* under(drawing(1)(Effect.provide(program, layer)))
    return lines
  })

const levels = (lines: ReadonlyArray<{ readonly level: string }>) => lines.map((line) => line.level)

const attemptsOf = (line: { readonly annotations: Readonly<Record<string, unknown>> } | undefined) =>
  line?.annotations.attempts as ReadonlyArray<string>

describe("the log of a call", () => {
  it.effect("an untroubled one writes nothing and builds no record", () =>
    Effect.gen(function* () {
      const { model } = yield* scripted()
      let steps = 0
      const watched = Effect.contextWith((context: Context.Context<never>) => {
        const call = Option.getOrThrow(Context.getOption(context, Call.CurrentCall))
        // A record copies the attempts: one that is not built asks for no copy.
        Object.defineProperty(call.attempts, "slice", { value: () => assert.fail("a record was built") })
        steps++
      })
      const program = Call.make("greeting")(Effect.zipRight(model.generate(hello), watched))
      assert.deepStrictEqual(yield* logsOf(program), [])
      assert.strictEqual(steps, 1)
    })
  )

  it.effect("several attempts are no trouble where each succeeds", () =>
    Effect.gen(function* () {
      const { model } = yield* scripted()
      const steps = Effect.all([model.generate(hello), model.generate(hello)])
      assert.deepStrictEqual(yield* logsOf(Call.make("agent")(steps)), [])
      const parallel = Effect.all([model.generate(hello), model.generate(hello)], { concurrency: 2 })
      assert.deepStrictEqual(yield* logsOf(Call.make("agent")(parallel)), [])
    })
  )

  it.effect("recovered: a WARN for each retry and one INFO with all attempts", () =>
    Effect.gen(function* () {
      const { model } = yield* scripted({ script: [Fault.serverError(), Reply.text("hi")] })
      const lines = yield* logsOf(ChatModel.retry(model, RetryPolicy.standard).generate(hello))
      assert.deepStrictEqual(levels(lines), ["WARN", "INFO"])
      assert.match(lines[1]?.message ?? "", /recovered by attempt 2 at openai\/gpt-4o-mini after 500ms/)
      assert.strictEqual(lines[1]?.annotations.call, "openai/gpt-4o-mini")
      assert.strictEqual(attemptsOf(lines[1]).length, 2)
      assert.match(attemptsOf(lines[1])[0] ?? "", /1\. openai\/gpt-4o-mini .*ServerError/)
    })
  )

  it.effect("recovered by fallback: the WARN says from where", () =>
    Effect.gen(function* () {
      const a = yield* scripted({ script: [Fault.unauthorized()] }, { model: "first" })
      const b = yield* scripted({}, { model: "second" })
      const lines = yield* logsOf(
        a.model.pipe(ChatModel.retry(RetryPolicy.standard), ChatModel.orElse(b.model)).generate(hello)
      )
      assert.deepStrictEqual(levels(lines), ["WARN", "INFO"])
      assert.match(lines[0]?.message ?? "", /falling back from openai\/first: AuthError/)
      assert.match(lines[1]?.message ?? "", /recovered by attempt 2 at openai\/second/)
    })
  )

  it.effect("exhausted: one ERROR with every attempt", () =>
    Effect.gen(function* () {
      const a = yield* scripted({ script: [Fault.serverError()] }, { model: "first" })
      const b = yield* scripted({ script: [Fault.overloaded()] }, { model: "second" })
      const two = RetryPolicy.make({ maxAttempts: 2 })
      const assistant = a.model.pipe(ChatModel.retry(two), ChatModel.orElse(ChatModel.retry(b.model, two)))
      const lines = yield* logsOf(assistant.generate(hello))
      assert.deepStrictEqual(levels(lines), ["WARN", "WARN", "WARN", "ERROR"])
      const error = lines.at(-1)
      assert.include(error?.message ?? "", "4 attempts")
      assert.include(error?.message ?? "", "Overloaded")
      assert.deepStrictEqual(
        attemptsOf(error).map((line) => line.split(" ").slice(0, 2)),
        [
          ["1.", "openai/first"],
          ["2.", "openai/first"],
          ["3.", "openai/second"],
          ["4.", "openai/second"]
        ]
      )
    })
  )

  it.effect("what another attempt cannot mend: one ERROR for the one attempt", () =>
    Effect.gen(function* () {
      const { model } = yield* scripted({ script: [Fault.unauthorized()] })
      const lines = yield* logsOf(ChatModel.retry(model, RetryPolicy.standard).generate(hello))
      assert.deepStrictEqual(levels(lines), ["ERROR"])
      assert.include(only(lines).message, "AuthError")
    })
  )

  it.effect("a leaf alone leaves its failure to the application, a named call tells it", () =>
    Effect.gen(function* () {
      const { model } = yield* scripted({ script: [Fault.unauthorized()] })
      assert.deepStrictEqual(yield* logsOf(model.generate(hello)), [])
      assert.deepStrictEqual(levels(yield* logsOf(Call.make("greeting")(model.generate(hello)))), ["ERROR"])
    })
  )

  it.effect("plain Effect.retry inside a call: the call tells the end, and the schedule does not repeat it", () =>
    Effect.gen(function* () {
      const { model } = yield* scripted({ script: [Fault.serverError()] })
      const program = Effect.retry(model.generate(hello), RetryPolicy.standard)
      assert.deepStrictEqual(levels(yield* logsOf(Call.make("greeting")(program))), ["WARN", "WARN", "WARN", "ERROR"])
      // Without a call nobody knows whether a fallback follows: the last line is a WARN too.
      assert.deepStrictEqual(levels(yield* logsOf(program)), ["WARN", "WARN", "WARN", "WARN"])
    })
  )

  it.effect("a defect is one ERROR with its cause", () =>
    Effect.gen(function* () {
      const lines = yield* logsOf(Call.make("greeting")(Effect.die(new Error("a bug"))))
      assert.deepStrictEqual(levels(lines), ["ERROR"])
      assert.include(only(lines).cause, "a bug")
    })
  )

  it.effect("interrupted: no ERROR, whenever it happens", () =>
    Effect.gen(function* () {
      const { layer, lines } = collectLogs(LogLevel.Debug)
      const { model } = yield* scripted({ script: [Fault.serverError(), Fault.hang] })
      const program = Call.make("greeting")(ChatModel.retry(model, RetryPolicy.standard).generate(hello))
      for (const time of ["100 millis", "1 second"] as const) {
        const fiber = yield* Effect.fork(drawing(1)(Effect.provide(program, layer)))
        yield* TestClock.adjust(time)
        yield* Fiber.interrupt(fiber)
      }
      assert.notInclude(levels(lines), "ERROR")
      assert.strictEqual(lines.filter((line) => line.message.startsWith("call interrupted")).length, 2)
    })
  )

  it.effect("a deadline that is up is told like any failure", () =>
    Effect.gen(function* () {
      const { model } = yield* scripted({ script: [Fault.hang] })
      const lines = yield* logsOf(Call.make("greeting")(Resilience.deadline(model.generate(hello), "1 second")))
      assert.deepStrictEqual(levels(lines), ["ERROR"])
      assert.include(only(lines).message, "Timeout")
    })
  )
})

describe("observers", () => {
  it.effect("all hear the same record, in the order in which they came", () =>
    Effect.gen(function* () {
      const heard: Array<readonly [string, CallRecord.CallRecord]> = []
      const observer = (name: string) => Call.observe((record) => Effect.sync(() => heard.push([name, record])))
      const { model } = yield* scripted()
      const all = Layer.provideMerge(observer("b"), observer("a"))
      yield* under(Effect.provide(model.generate(hello), all))
      assert.deepStrictEqual(
        heard.map(([name]) => name),
        ["a", "b"]
      )
      assert.strictEqual(heard[0]?.[1], heard[1]?.[1])
    })
  )

  it.effect("one that dies or fails to end well harms neither the call nor the others", () =>
    Effect.gen(function* () {
      const { layer, lines, records } = collect()
      const dying = Call.observe(() => Effect.die("an observer's bug"))
      const throwing = Call.observe(() => {
        throw new Error("an observer's throw")
      })
      const { model } = yield* scripted()
      const all = layer.pipe(Layer.provideMerge(dying), Layer.provideMerge(throwing))
      const { exit } = yield* under(Effect.provide(model.generate(hello), all))
      assert.strictEqual(exit._tag, "Success")
      assert.strictEqual(records.length, 1)
      assert.deepStrictEqual(levels(lines), ["WARN", "WARN"])
      assert.include(lines.map((line) => line.cause).join(), "an observer's bug")
    })
  )

  it.effect("hear of interrupted calls too", () =>
    Effect.gen(function* () {
      const { layer, records } = collect()
      const { model } = yield* scripted({ script: [Fault.hang] })
      const fiber = yield* Effect.fork(Effect.provide(model.generate(hello), layer))
      yield* TestClock.adjust("1 second")
      yield* Fiber.interrupt(fiber)
      assert.strictEqual(only(records).outcome, "interrupted")
    })
  )
})
