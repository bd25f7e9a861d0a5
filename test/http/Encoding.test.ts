import { assert, describe, it } from "@effect/vitest"
import { Chat } from "effect-steadfast"
import { AnswerBody, type Dialect, EventStream } from "effect-steadfast/http"
import { errorOf } from "../support/errors.js"
import { dialects, every, type Spoken } from "./support.js"

const origin = { id: "answer-0", created: 1_790_000_000, requestId: "req_1" }

const start: Chat.Event = { _tag: "Start", provider: "openai", model: "m-1", id: "answer-1" }
const text = (text: string): Chat.Event => ({ _tag: "TextDelta", text })
const call: Chat.Event = { _tag: "ToolCall", id: "call-1", name: "weather", arguments: { city: "Oslo" } }
const idle: Chat.Event = { _tag: "ToolCall", id: "call-2", name: "clock", arguments: undefined }
const finish = (reason: Chat.FinishReason): Chat.Event => ({ _tag: "Finish", reason })

const framesOf = (dialect: Dialect.Dialect, events: ReadonlyArray<Chat.Event>, more: object = {}) => {
  const encoder = EventStream.make(dialect, { ...origin, ...more })
  return { encoder, text: events.map((event) => String(encoder.push(event))).join("") }
}

type Json = { readonly [key: string]: unknown }

/** The data of all frames; a text that is no JSON as it is. */
const dataOf = (frames: string): ReadonlyArray<Json | string> =>
  Array.from(frames.matchAll(/^data: (.*)$/gm), ([, data = ""]) => (data.startsWith("{") ? JSON.parse(data) : data))

const wholeOf = (reason: Chat.FinishReason, words: string): Chat.Response => ({
  provider: "openai",
  model: "m-1",
  text: words,
  toolCalls: [],
  finishReason: reason
})

describe("frames", () => {
  it("are blocks of one line of data, with an event line only where the dialect has one", () => {
    for (const dialect of dialects) {
      const { text: frames } = framesOf(dialect, [start, text("a\n\nb\r\nc\u2028"), call, finish("tool-calls")])
      const hasNames = dialect === "responses" || dialect === "anthropic"
      for (const block of frames.split("\n\n").filter((block) => block !== "")) {
        assert.match(block, hasNames ? /^event: [\w.]+\ndata: [^\r\n]+$/ : /^data: [^\r\n]+$/, dialect)
      }
    }
  })

  it("begin with the first content, which has the names of the answer", () => {
    for (const dialect of dialects) {
      const { encoder } = framesOf(dialect, [])
      assert.strictEqual(encoder.push(start), "")
      const first = String(encoder.push(text("a")))
      assert.include(first, "answer-1")
      assert.include(first, '"m-1"')
      assert.notInclude(first, "answer-0")
    }
  })

  it("have the id of their origin where the provider gave none, and the name that is asked for", () => {
    for (const dialect of dialects) {
      const { text: frames } = framesOf(dialect, [text("a")], { model: "assistant" })
      assert.include(frames, "answer-0")
      assert.include(frames, '"assistant"')
    }
  })

  it("of Chat Completions hold a whole call in one delta, by indexes from 0", () => {
    const { text: frames } = framesOf("openai", [start, call, idle, finish("tool-calls")])
    const calls = dataOf(frames).flatMap((data) => {
      const choice = typeof data === "string" ? undefined : (data.choices as ReadonlyArray<Json>)[0]
      return ((choice?.delta as Json | undefined)?.tool_calls as ReadonlyArray<Json> | undefined) ?? []
    })
    assert.deepStrictEqual(calls, [
      { index: 0, id: "call-1", type: "function", function: { name: "weather", arguments: '{"city":"Oslo"}' } },
      { index: 1, id: "call-2", type: "function", function: { name: "clock", arguments: "{}" } }
    ])
  })

  it("of Chat Completions have every field that may be null, and a usage only at the end and if wanted", () => {
    const usage: Chat.Event = { _tag: "Usage", usage: { inputTokens: 3, outputTokens: 2 } }
    const all = [start, text("a"), usage, finish("stop")]
    const chunks = dataOf(framesOf("openai", all).text)
    assert.strictEqual(chunks.at(-1), "[DONE]")
    for (const chunk of chunks.slice(0, -1) as ReadonlyArray<Json>) {
      assert.isNull(chunk.system_fingerprint)
      assert.notStrictEqual(chunk.usage, null)
    }
    const last = chunks.at(-2) as Json
    assert.deepStrictEqual(last.usage, { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 })
    assert.notInclude(framesOf("openai", all, { includeUsage: false }).text, "usage")
  })

  it("of Responses are numbered without a gap, and end with the whole answer", () => {
    const events = [
      start,
      { _tag: "ReasoningDelta", text: "hm" } as const,
      text("a"),
      call,
      text("b"),
      finish("length")
    ]
    const frames = dataOf(framesOf("responses", events).text) as ReadonlyArray<Json>
    assert.deepStrictEqual(
      frames.map((frame) => frame.sequence_number),
      frames.map((_, index) => index)
    )
    const last = frames.at(-1)
    assert.strictEqual(last?.type, "response.incomplete")
    const response = last?.response as Json
    assert.deepStrictEqual(
      (response.output as ReadonlyArray<Json>).map(({ type }) => type),
      ["reasoning", "message", "function_call", "message"]
    )
    for (const field of ["error", "instructions", "metadata", "parallel_tool_calls", "tool_choice", "tools"]) {
      assert.isTrue(field in response, field)
    }
  })

  it("make up no finish reason", () => {
    const told = { openai: '"stop"', responses: '"completed"', anthropic: '"end_turn"', gemini: '"STOP"' }
    for (const dialect of dialects) {
      const { text: frames } = framesOf(dialect, [start, text("a"), finish("other")])
      assert.include(frames, told[dialect])
    }
  })
})

describe("the frame of an error", () => {
  const expected: { readonly [K in Spoken]: RegExp } = {
    openai: /^data: \{"error":\{"message":".+","type":"overloaded_error","param":null,"code":"overloaded"\}\}\n\n$/,
    responses:
      /^event: error\ndata: \{"type":"error","sequence_number":5,"code":"overloaded",.*"error":\{"type":"overloaded_error",.*\}\}\n\n$/,
    anthropic:
      /^event: error\ndata: \{"type":"error","error":\{"type":"overloaded_error",.*"request_id":"req_1"\}\n\n$/,
    gemini: /^data: \{"error":\{"code":503,"message":".+","status":"UNAVAILABLE"\}\}\n\n$/
  }

  for (const dialect of dialects) {
    it(`is that of ${dialect}, and nothing ends after it`, () => {
      const { encoder } = framesOf(dialect, [start, text("a")])
      const frame = encoder.fail(errorOf("Overloaded"))
      assert.match(frame, expected[dialect])
    })

    it(`follows the first frame of ${dialect}, where that has one`, () => {
      const frames = EventStream.make(dialect, origin).fail(errorOf("Overloaded"))
      const blocks = frames.split("\n\n").filter((block) => block !== "")
      assert.lengthOf(blocks, { openai: 2, responses: 3, anthropic: 2, gemini: 1 }[dialect])
      assert.match(blocks.at(-1) ?? "", /error/)
      if (dialect !== "gemini") assert.notMatch(blocks[0] ?? "", /"error":\{/)
    })
  }
})

describe("an answer that starts over", () => {
  for (const dialect of every) {
    it(`is an error in ${dialect} once something was said, and not before`, () => {
      const { encoder } = framesOf(dialect, [start])
      const reset: Chat.Event = { _tag: "Reset", attempt: 2, cause: "StreamInterrupted" }
      assert.strictEqual(encoder.push(reset), "")
      encoder.push(text("a"))
      const again = encoder.push(reset)
      if (typeof again === "string") return assert.fail("text cannot be taken back")
      assert.strictEqual(again._tag, "StreamInterrupted")
    })
  }

  it("goes on where it was continued", () => {
    const seam: Chat.Event = { _tag: "Seam", offset: 1, method: "turn", overlap: 0, startedOver: false }
    for (const dialect of every) assert.strictEqual(EventStream.make(dialect, origin).push(seam), "")
  })
})

describe("a whole answer", () => {
  it("that says nothing is never null or an empty list", () => {
    for (const reason of ["stop", "length"] as const) {
      const body = AnswerBody.make("openai", wholeOf(reason, ""), origin)
      const choices = body.choices as ReadonlyArray<{ readonly message: Json }>
      assert.strictEqual(choices[0]?.message.content, "")
      assert.isNotEmpty(AnswerBody.make("responses", wholeOf(reason, ""), origin).output)
      assert.isNotEmpty(AnswerBody.make("gemini", wholeOf(reason, ""), origin).candidates)
    }
  })

  it("gives a provider of the same wire its own data back", () => {
    const data = (wire: string, reply: unknown) => ({ wire, provider: "p", model: "m-1", reply })
    const thought = { type: "thinking", thinking: "hm", signature: "c2ln" }
    const said = { type: "text", text: "yes" }
    const claude = { ...wholeOf("stop", "yes"), providerData: data("anthropic", { content: [thought, said] }) }
    assert.deepStrictEqual(AnswerBody.make("anthropic", claude, origin).content, [thought, said])
    assert.notInclude(JSON.stringify(AnswerBody.make("openai", claude, origin)), "c2ln")
    const toolCalls = [
      { id: "a", name: "f", arguments: {}, providerData: data("gemini", { thoughtSignature: "c2ln" }) }
    ]
    const gemini = { ...wholeOf("tool-calls", ""), toolCalls }
    assert.include(JSON.stringify(AnswerBody.make("gemini", gemini, origin)), '"thoughtSignature":"c2ln"')
    const router = { ...wholeOf("stop", "yes"), providerData: data("openai-chat", { reasoning_details: [{ id: 1 }] }) }
    assert.include(JSON.stringify(AnswerBody.make("openai", router, origin)), '"reasoning_details":[{"id":1}]')
  })
})
