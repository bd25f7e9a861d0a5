import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Stream, TestClock } from "effect"
import { Call, Chat, ChatModel, RetryPolicy } from "effect-steadfast"
import { Evaluation } from "effect-steadfast/observability"
import { Fault, Reply } from "effect-steadfast/testing"
import { collectRecords, only, scripted } from "../support/evidence.js"
import { under } from "../support/time.js"

const words = (events: ReadonlyArray<Chat.Event>): string =>
  events.map((event) => (event._tag === "TextDelta" ? event.text : "")).join("")

/** What the judge was asked, in an evaluation that judges every call, around `body`. */
const judged = <E>(body: Effect.Effect<unknown, E, Evaluation.Evaluation>) =>
  Effect.gen(function* () {
    const asked: Array<Evaluation.Evaluated> = []
    const judge = (one: Evaluation.Evaluated) => {
      asked.push(one)
      return Effect.succeed({ score: 1, reason: "good" })
    }
    const observed = collectRecords()
    // Judges run as long as the layer.
    const whole = Effect.zipLeft(Effect.exit(body), Effect.sleep("1 second"))
    const layer = Layer.mergeAll(Evaluation.layer({ judge, normal: 1 }), observed.layer)
    const { exit } = yield* under(Effect.provide(whole, layer), "5 minutes")
    return { asked, records: observed.records, exit }
  })

const sampled = Evaluation.sampledStream({ input: "question", output: words })

describe("a sampled stream", () => {
  it.effect("is judged after its end, with its question, its text and its record", () =>
    Effect.gen(function* () {
      const { model } = yield* scripted({ script: [Reply.text("one two three", { tokenDelay: "1 second" })] })
      const { asked, records } = yield* judged(Stream.runDrain(sampled(model.stream(Chat.prompt("?")))))
      assert.deepInclude(only(asked), { retried: false, input: "question", output: "one two three" })
      assert.strictEqual(only(asked).record.id, only(records).id)
    })
  )

  it.effect("that a retry served is one of those", () =>
    Effect.gen(function* () {
      const { model } = yield* scripted({ script: [Fault.overloaded(), Reply.text("at last")] })
      const again = model.pipe(ChatModel.retry(RetryPolicy.standard))
      const { asked } = yield* judged(Stream.runDrain(sampled(again.stream(Chat.prompt("?")))))
      assert.deepInclude(only(asked), { retried: true, output: "at last" })
    })
  )

  it.effect("inside of a call is judged with the record of that call", () =>
    Effect.gen(function* () {
      const { model } = yield* scripted({ script: [Reply.text("first"), Reply.text("second")] })
      const ask = Stream.runDrain(sampled(model.stream(Chat.prompt("?"))))
      const { asked, records } = yield* judged(Effect.zip(ask, ask).pipe(Call.make("agent")))
      assert.deepStrictEqual(
        asked.map(({ output, record }) => [output, record.id]),
        [
          ["first", only(records).id],
          ["second", only(records).id]
        ]
      )
    })
  )

  it.effect("that ran twice is judged twice, each time with its own text", () =>
    Effect.gen(function* () {
      const { model } = yield* scripted({
        script: [
          Fault.resetInBody({ tokens: 1, reply: Reply.text("gone away") }),
          Reply.text("first"),
          Reply.text("second")
        ]
      })
      const stream = sampled(Stream.retry(model.stream(Chat.prompt("?")), RetryPolicy.standard))
      const { asked } = yield* judged(
        Effect.zip(Effect.either(Stream.runDrain(stream)), Effect.either(Stream.runDrain(stream)))
      )
      const outputs = asked.map(({ output }) => output)
      assert.deepStrictEqual(outputs, ["first", "second"])
    })
  )

  it.effect("that failed, or that its reader left, is not judged", () =>
    Effect.gen(function* () {
      const { model } = yield* scripted({
        script: [Fault.badRequest(), Reply.text("one two three", { tokenDelay: "1 second" }), Reply.text("end")]
      })
      const stream = sampled(model.stream(Chat.prompt("?")))
      const left = Stream.runDrain(Stream.take(stream, 2))
      const { asked, records } = yield* judged(
        Effect.all([Effect.either(Stream.runDrain(stream)), left, Stream.runDrain(stream)])
      )
      assert.deepStrictEqual(
        records.map(({ outcome }) => outcome),
        ["failure", "interrupted", "success"]
      )
      assert.strictEqual(only(asked).output, "end")
    })
  )

  it.effect("delivers what it delivers, and is the whole where no output is named", () =>
    Effect.gen(function* () {
      const { model } = yield* scripted({ script: [Reply.text("one two")] })
      const bare = model.stream(Chat.prompt("?")).pipe(Evaluation.sampledStream({ input: "question" }))
      const { asked, exit } = yield* judged(Stream.runCollect(bare))
      if (exit._tag === "Failure" || exit.value._tag === "Failure") return assert.fail("it failed")
      assert.deepStrictEqual(only(asked).output, Array.from(exit.value.value as Iterable<Chat.Event>))
      yield* TestClock.adjust("1 second")
    })
  )
})
