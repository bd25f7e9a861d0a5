import { assert, describe, it } from "@effect/vitest"
import { Effect, Schedule, Stream } from "effect"
import { ChatModel, ChatStream } from "effect-steadfast"
import {
  answers,
  bytesOf,
  callsOf,
  closed,
  type Format,
  find,
  formats,
  marksOf,
  modelOf,
  prompt,
  type Reply,
  type Shape,
  see,
  stub,
  tagsOf,
  textOf
} from "./support.js"

/** The bytes of an answer up to where it has said something of it, and then a reset. */
const cutIn = (format: Format, shape: Shape, where: "text" | "tool" | "start"): Reply => {
  const marks = marksOf(bytesOf(format, shape))
  const mark = marks.find((mark) => (where === "tool" ? mark.tool : mark.text !== ""))
  const at = where === "start" ? marks[1]?.at : mark?.at
  return { pieces: [bytesOf(format, shape).subarray(0, (at ?? 0) - (where === "start" ? 3 : 0))], ending: "reset" }
}

const whole = (format: Format, shape: Shape): Reply => ({ pieces: [bytesOf(format, shape)], ending: "end" })

const scripted = (format: Format, ...replies: ReadonlyArray<Reply>) =>
  Effect.gen(function* () {
    const provider = stub((_, index) => replies[index] ?? assert.fail("asked too often"))
    return { provider, leaf: yield* modelOf(format, provider) }
  })

const restart = ChatModel.retry(Schedule.recurs(3), { mode: "restart" })

describe("restart", () => {
  it.effect.each(formats.map((format) => [format] as const))(
    "%s: says Reset before anything of a new attempt",
    ([format]) =>
      Effect.gen(function* () {
        const { leaf } = yield* scripted(format, cutIn(format, "plain", "text"), whole(format, "plain"))
        const { error, events } = yield* see(restart(leaf).stream(prompt))
        assert.isUndefined(error)
        const at = events.findIndex((event) => event._tag === "Reset")
        assert.deepStrictEqual(events[at], { _tag: "Reset", attempt: 2, cause: "StreamInterrupted" })
        assert.isTrue(answers.plain.text.startsWith(textOf(events.slice(0, at))))
        assert.strictEqual(textOf(events.slice(at)), answers.plain.text)
        assert.strictEqual(events[at + 1]?._tag, "Start")
      })
  )

  it.effect("says Reset once also when the second attempt fails before its first content", () =>
    Effect.gen(function* () {
      const { leaf, provider } = yield* scripted(
        "openai-chat",
        cutIn("openai-chat", "plain", "text"),
        cutIn("openai-chat", "plain", "start"),
        { body: "{}", status: 503 },
        whole("openai-chat", "plain")
      )
      const { error, events } = yield* see(restart(leaf).stream(prompt))
      assert.isUndefined(error)
      assert.lengthOf(provider.asked, 4)
      assert.lengthOf(find(events, "Reset"), 1)
      const at = events.findIndex((event) => event._tag === "Reset")
      assert.strictEqual(textOf(events.slice(at)), answers.plain.text)
    })
  )

  it.effect("ends with the last error, after a Reset, when nothing more comes", () =>
    Effect.gen(function* () {
      const dead: Reply = { body: "{}", status: 500 }
      const { leaf } = yield* scripted("anthropic", cutIn("anthropic", "plain", "text"), dead, dead, dead)
      const { error, events } = yield* see(restart(leaf).stream(prompt))
      assert.strictEqual(error?._tag, "ServerError")
      assert.strictEqual(events.at(-1)?._tag, "Reset")
      assert.notInclude(tagsOf(events), "Finish")
    })
  )

  it.effect.each(formats.map((format) => [format] as const))("%s: delivers tool calls once, at the end", ([format]) =>
    Effect.gen(function* () {
      const cut = cutIn(format, "tools", "tool")
      const { leaf } = yield* scripted(format, cut, cut, whole(format, "tools"))
      const { error, events } = yield* see(restart(leaf).stream(prompt))
      assert.isUndefined(error)
      assert.lengthOf(find(events, "Reset"), 2)
      assert.deepStrictEqual(callsOf(events), answers.tools.toolCalls)
      assert.deepStrictEqual(tagsOf(events).slice(-4), ["ToolCall", "ToolCall", "Usage", "Finish"])
    })
  )

  it.effect("collect gives the last attempt only", () =>
    Effect.gen(function* () {
      const { leaf } = yield* scripted(
        "openai-chat",
        cutIn("openai-chat", "plain", "text"),
        whole("openai-chat", "tools")
      )
      const answer = yield* ChatStream.collect(restart(leaf).stream(prompt))
      assert.strictEqual(answer.text, answers.tools.text)
      assert.lengthOf(answer.toolCalls, 2)
      assert.strictEqual(answer.finishReason, "tool-calls")
    })
  )

  it.effect("text alone fails with StreamInterrupted once it would have to be taken back", () =>
    Effect.gen(function* () {
      const { leaf, provider } = yield* scripted(
        "openai-chat",
        cutIn("openai-chat", "plain", "text"),
        whole("openai-chat", "plain")
      )
      const given: Array<string> = []
      const error = yield* ChatStream.text(restart(leaf).stream(prompt)).pipe(
        Stream.runForEach((text) => Effect.sync(() => given.push(text))),
        Effect.flip
      )
      assert.strictEqual(error._tag, "StreamInterrupted")
      assert.isTrue(given.length > 0 && answers.plain.text.startsWith(given.join("")))
      yield* closed(provider.state)
    })
  )

  it.effect("goes over to another model", () =>
    Effect.gen(function* () {
      const first = yield* scripted("openai-chat", cutIn("openai-chat", "plain", "text"))
      const second = yield* scripted("anthropic", whole("anthropic", "multibyte"))
      const model = ChatModel.orElse(first.leaf, second.leaf, { mode: "restart" })
      const { error, events } = yield* see(model.stream(prompt))
      assert.isUndefined(error)
      const at = events.findIndex((event) => event._tag === "Reset")
      assert.deepInclude(events[at + 1], { _tag: "Start", provider: "anthropic" })
      assert.strictEqual(textOf(events.slice(at)), answers.multibyte.text)
      yield* closed(first.provider.state)
      yield* closed(second.provider.state)
    })
  )
})
