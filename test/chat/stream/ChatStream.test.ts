import { assert, describe, it } from "@effect/vitest"
import { Chunk, Duration, Effect, Fiber, FastCheck as fc, Stream, TestClock } from "effect"
import { type Chat, ChatModel, ChatStream, RetryPolicy } from "effect-steadfast"
import { Fault, FaultyProvider, Reply, type Step } from "effect-steadfast/testing"
import { cases } from "../../support/cases.js"
import { chunk, content, done, elapse, finish, modelOf, prompt, readAll, scripted, sse, usage } from "../support.js"

const weather = { name: "weather", arguments: { city: "Oslo", days: [1, 2] } }

describe("events", () => {
  it.effect("start, text, usage, finish, in this order", () =>
    Effect.gen(function* () {
      const { model } = yield* scripted(Reply.text("a b c"))
      const { events, exit } = yield* readAll(model)
      assert.strictEqual(exit._tag, "Success")
      assert.deepStrictEqual(
        events.map((event) => (event._tag === "Start" ? event._tag : event)),
        [
          "Start",
          { _tag: "TextDelta", text: "a" },
          { _tag: "TextDelta", text: " b" },
          { _tag: "TextDelta", text: " c" },
          {
            _tag: "Usage",
            usage: { inputTokens: 4, outputTokens: 3, cachedInputTokens: 0, reasoningTokens: 0 }
          },
          { _tag: "Finish", reason: "stop" }
        ]
      )
    })
  )

  it.effect("start is held back until the first content", () =>
    Effect.gen(function* () {
      const reply = Reply.text("a b", { delay: "1 second", firstTokenDelay: "2 seconds", tokenDelay: "3 seconds" })
      const { model } = yield* scripted(reply)
      const { tags, times } = yield* readAll(model)
      assert.deepStrictEqual(tags, ["Start", "TextDelta", "TextDelta", "Usage", "Finish"])
      assert.deepStrictEqual(times, [3000, 3000, 6000, 6000, 6000])
    })
  )

  it.effect("thoughts come before the text", () =>
    Effect.gen(function* () {
      const { model } = yield* scripted(Reply.reasoning("let me see", { text: "yes" }))
      const { tags, text } = yield* readAll(model)
      assert.deepStrictEqual(
        tags.filter((tag, i) => tag !== tags[i - 1]),
        ["Start", "ReasoningDelta", "TextDelta", "Usage", "Finish"]
      )
      assert.strictEqual(text, "yes")
    })
  )

  it.effect("a tool call comes whole, and two come in order", () =>
    Effect.gen(function* () {
      const reply = Reply.toolCall([weather, { name: "clock" }], { text: "a moment", fragment: 3 })
      const { model } = yield* scripted(reply)
      const { events } = yield* readAll(model)
      assert.deepStrictEqual(
        events.flatMap((event) => (event._tag === "ToolCall" ? [[event.name, event.arguments]] : [])),
        [
          ["weather", weather.arguments],
          ["clock", {}]
        ]
      )
      assert.deepStrictEqual(events.at(-1), { _tag: "Finish", reason: "tool-calls" })
    })
  )

  it.effect("a tool call that was cut is never seen", () =>
    Effect.gen(function* () {
      const reply = Reply.toolCall(weather, { text: "a moment" })
      for (const tokens of [3, 4, 5, 6]) {
        const { model } = yield* scripted(Fault.earlyEnd({ tokens, reply }))
        const { error, tags } = yield* readAll(model)
        assert.deepStrictEqual(tags, ["Start", "TextDelta", "TextDelta"])
        assert.strictEqual(error?._tag, "StreamInterrupted")
      }
    })
  )

  it.effect("arguments that are no JSON are an error, not a tool call", () =>
    Effect.gen(function* () {
      const { model } = yield* scripted(Reply.toolCall({ name: "weather", arguments: '{"city": "Os' }))
      const { error, events } = yield* readAll(model)
      assert.deepStrictEqual(events, [])
      assert.strictEqual(error?._tag, "InvalidResponse")
    })
  )

  it.effect("a finish reason that is said twice does not double the tool calls", () =>
    Effect.gen(function* () {
      const call = { index: 0, id: "call-1", function: { name: "f", arguments: "{}" } }
      const end = chunk({ delta: {}, finish_reason: "tool_calls" })
      const { model } = yield* scripted(
        Reply.raw([chunk({ delta: { tool_calls: [call] }, finish_reason: null }), end, end, usage, done].join(""), sse)
      )
      const { tags } = yield* readAll(model)
      assert.deepStrictEqual(tags, ["Start", "ToolCall", "Usage", "Finish"])
    })
  )
})

describe("collect", () => {
  const replies = fc.record({
    text: fc.string({ unit: "grapheme" }),
    thoughts: fc.option(fc.lorem(), { nil: undefined }),
    call: fc.option(fc.record({ name: fc.constant("f"), arguments: fc.dictionary(fc.string(), fc.jsonValue()) }), {
      nil: undefined
    }),
    fragment: fc.option(fc.integer({ min: 1, max: 50 }), { nil: undefined }),
    length: fc.boolean()
  })

  it.effect.prop(
    "gives what generate gives",
    [replies],
    ([{ call, fragment, length, text, thoughts }]) =>
      Effect.gen(function* () {
        const options = { fragment, ...(length ? { finish: "length" as const } : {}) }
        const said = text === "" && call === undefined ? "x" : text
        const parts = [
          ...(thoughts === undefined ? [] : Reply.reasoning(thoughts).parts),
          ...(call === undefined ? Reply.text(said) : Reply.toolCall(call, { text: said })).parts
        ]
        const reply: Step.Reply = { ...Reply.text(said, options), finish: "stop", parts }
        const whole = yield* FaultyProvider.make({ script: [reply] })
        const pieces = yield* FaultyProvider.make({ script: [reply] })
        const { raw: _, ...generated } = yield* (yield* modelOf(whole)).generate(prompt)
        const collected = yield* ChatStream.collect((yield* modelOf(pieces)).stream(prompt))
        assert.deepStrictEqual(
          { ...collected, requestId: undefined, id: undefined },
          { ...generated, requestId: undefined, id: undefined }
        )
      }),
    { fastCheck: { numRuns: cases(100, 15) } }
  )

  it.effect("fails as the stream fails", () =>
    Effect.gen(function* () {
      const { model } = yield* scripted(Fault.earlyEnd())
      const error = yield* Effect.flip(ChatStream.collect(model.stream(prompt)))
      assert.strictEqual(error._tag, "StreamInterrupted")
    })
  )
})

describe("text", () => {
  it.effect("is only the text", () =>
    Effect.gen(function* () {
      const { model } = yield* scripted(Reply.reasoning("hm", { text: "a b c" }))
      const all = yield* Stream.runCollect(ChatStream.text(model.stream(prompt)))
      assert.deepStrictEqual(Chunk.toReadonlyArray(all), ["a", " b", " c"])
    })
  )
})

describe("the end", () => {
  const outcome = (body: string | ReadonlyArray<string>) =>
    Effect.gen(function* () {
      const { model } = yield* scripted(Reply.raw(typeof body === "string" ? body : body.join(""), sse))
      const { error, tags, text } = yield* readAll(model)
      return [tags.join(" "), text, error?._tag] as const
    })

  it.effect("is seen with a finish reason, with or without usage and [DONE]", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* outcome([content("a"), finish("stop"), usage, done]), [
        "Start TextDelta Usage Finish",
        "a",
        undefined
      ])
      assert.deepStrictEqual(yield* outcome([content("a"), finish("stop"), done]), [
        "Start TextDelta Finish",
        "a",
        undefined
      ])
      assert.deepStrictEqual(yield* outcome([content("a"), finish("stop")]), ["Start TextDelta Finish", "a", undefined])
      assert.deepStrictEqual(yield* outcome([content("a"), finish("length").trimEnd()]), [
        "Start TextDelta Finish",
        "a",
        undefined
      ])
    })
  )

  it.effect("is not seen without a finish reason, unless usage and [DONE] tell it", () =>
    Effect.gen(function* () {
      for (const body of [[content("a")], [content("a"), done], [content("a"), usage]]) {
        assert.strictEqual((yield* outcome(body))[2], "StreamInterrupted")
      }
      const told = yield* outcome([content("a"), usage, done])
      assert.deepStrictEqual(told, ["Start TextDelta Usage Finish", "a", undefined])
    })
  )

  it.effect("what comes after it is not read", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* outcome([content("a"), finish("stop"), done, content("b"), finish("stop")]), [
        "Start TextDelta Finish",
        "a",
        undefined
      ])
    })
  )

  it.effect("nothing, only comments, only [DONE], HTML and noise are errors", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* outcome(""), ["", "", "StreamInterrupted"])
      assert.deepStrictEqual(yield* outcome(": a\n\n: b\n\n"), ["", "", "StreamInterrupted"])
      assert.deepStrictEqual(yield* outcome(done), ["", "", "InvalidResponse"])
      for (const step of [Fault.htmlPage(), Fault.garbage, Fault.emptyBody]) {
        const { model } = yield* scripted(step)
        const { error, events } = yield* readAll(model)
        assert.deepStrictEqual(events, [])
        assert.include(["InvalidResponse", "StreamInterrupted"], error?._tag)
      }
    })
  )

  it.effect("an event that is too large is an error that no retry mends", () =>
    Effect.gen(function* () {
      const { model, provider } = yield* scripted(Reply.raw(`data: ${"x".repeat(17 * 1024 * 1024)}`, sse))
      const { error } = yield* readAll(model.pipe(ChatModel.retry(RetryPolicy.standard)))
      assert.strictEqual(error?._tag, "InvalidResponse")
      assert.lengthOf(yield* provider.requests, 1)
    })
  )

  it.effect("a reset after the whole answer takes nothing from it", () =>
    Effect.gen(function* () {
      const reply = Reply.raw([content("a"), finish("stop"), usage, ": more\n\n"], sse)
      const { model } = yield* scripted(Fault.resetInBody({ events: 3, reply }))
      const { tags } = yield* readAll(model)
      assert.deepStrictEqual(tags, ["Start", "TextDelta", "Usage", "Finish"])
    })
  )

  it.effect("an answer in JSON is one, although a stream was asked for", () =>
    Effect.gen(function* () {
      const provider = yield* FaultyProvider.make({ script: [Reply.text("a b c", { tokenDelay: "1 second" })] })
      const model = yield* modelOf(provider)
      const whole = yield* elapse(model.generate(prompt))
      const body = {
        id: "c-1",
        model: "m-1",
        choices: [{ message: { role: "assistant", content: "a b c" }, finish_reason: "stop" }],
        usage: { prompt_tokens: 4, completion_tokens: 3 }
      }
      const { model: json } = yield* scripted(Reply.json(body))
      const { tags, text } = yield* readAll(json)
      assert.deepStrictEqual(tags, ["Start", "TextDelta", "Usage", "Finish"])
      assert.strictEqual(text, whole.text)
      // An error with status 200 is that error.
      const { model: hidden } = yield* scripted(Reply.json({ error: { code: "rate_limit_exceeded", message: "slow" } }))
      assert.strictEqual((yield* readAll(hidden)).error?._tag, "RateLimited")
    })
  )
})

describe("a broken stream", () => {
  it.effect("tells how much came, and what", () =>
    Effect.gen(function* () {
      const reply = Reply.text("one two three four")
      for (const step of [Fault.resetInBody({ tokens: 3, reply }), Fault.earlyEnd({ tokens: 3, reply })]) {
        const { model } = yield* scripted(step)
        const { error, text } = yield* readAll(model)
        assert.strictEqual(text, "one two three")
        assert.strictEqual(error?._tag, "StreamInterrupted")
        if (error?._tag !== "StreamInterrupted") continue
        assert.deepStrictEqual([error.received, error.partial], [13, "one two three"])
        assert.deepStrictEqual([error.delivery, error.provider, error.model], ["unknown", "openai", "m-1"])
        assert.match(error.requestId ?? "", /\S/)
      }
    })
  )

  it.effect("an error event is the error that it names, after what came before it", () =>
    Effect.gen(function* () {
      const fault = Fault.errorEvent("overloaded", { afterTokens: 2, reply: Reply.text("a b c") })
      const { model, provider } = yield* scripted(fault, Reply.text("x y"))
      const { error, text } = yield* readAll(model.pipe(ChatModel.retry(RetryPolicy.standard)))
      assert.deepStrictEqual([text, error?._tag], ["a b", "Overloaded"])
      assert.lengthOf(yield* provider.requests, 1)
    })
  )

  it.effect("an error event that comes first is replayed, and nobody notices", () =>
    Effect.gen(function* () {
      const { model, provider } = yield* scripted(Fault.errorEvent("overloaded"), Reply.text("x y"))
      const { tags, text } = yield* readAll(model.pipe(ChatModel.retry(RetryPolicy.standard)))
      assert.strictEqual(text, "x y")
      assert.deepStrictEqual(tags, ["Start", "TextDelta", "TextDelta", "Usage", "Finish"])
      assert.lengthOf(yield* provider.requests, 2)
    })
  )
})

describe("a reader", () => {
  it.effect("gets each event when it comes, not when the next one does", () =>
    Effect.gen(function* () {
      const { model } = yield* scripted(Fault.slowTokens("1 second", Reply.text("a b c")))
      const seen: Array<Chat.Event> = []
      const fiber = yield* Effect.fork(
        Stream.runForEach(model.stream(prompt), (event) => Effect.sync(() => seen.push(event)))
      )
      yield* TestClock.adjust(Duration.zero)
      assert.deepStrictEqual(
        seen.map((event) => event._tag),
        ["Start", "TextDelta"]
      )
      yield* TestClock.adjust("1 second")
      assert.lengthOf(seen, 3)
      yield* Fiber.interrupt(fiber)
    })
  )

  it.effect("can read the same stream twice: it asks twice", () =>
    Effect.gen(function* () {
      const { model, provider } = yield* scripted(Reply.text("a"), Reply.text("b"))
      const stream = ChatStream.text(model.stream(prompt))
      assert.deepStrictEqual(Chunk.toReadonlyArray(yield* Stream.runCollect(stream)), ["a"])
      assert.deepStrictEqual(Chunk.toReadonlyArray(yield* Stream.runCollect(stream)), ["b"])
      assert.lengthOf(yield* provider.requests, 2)
    })
  )
})
