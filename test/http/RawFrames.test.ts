import { assert, describe, it } from "@effect/vitest"
import type { Chat } from "effect-steadfast"
import { type Dialect, EventStream } from "effect-steadfast/http"
import * as Passage from "../../src/chat/Passage.js"
import * as RawFrames from "../../src/http/RawFrames.js"
import { errorOf } from "../support/errors.js"

const start: Chat.Event = { _tag: "Start", provider: "openai", model: "m-1", id: "answer-1" }
const usage: Chat.Event = { _tag: "Usage", usage: { inputTokens: 1, outputTokens: 1 } }

const text = (text: string, frames?: string, wire = "openai-responses"): Chat.Event => {
  const event: Chat.Event = { _tag: "TextDelta", text }
  if (frames !== undefined) Passage.keep(event, wire, frames)
  return event
}

const finish = (frames?: string): Chat.Event => {
  const event: Chat.Event = { _tag: "Finish", reason: "stop" }
  if (frames !== undefined) Passage.keep(event, "openai-responses", frames)
  return event
}

const make = (dialect: Dialect.Dialect = "responses") =>
  RawFrames.encoder(dialect, EventStream.make(dialect, { id: "id-1", created: 1 }))

const pushed = (encoder: EventStream.Encoder, ...events: ReadonlyArray<Chat.Event>) =>
  events.map((event) => encoder.push(event))

describe("an answer with raw frames", () => {
  it("is written as they are, and nothing else", () => {
    assert.deepStrictEqual(pushed(make(), start, text("a", "A"), text("", "B"), text("b", ""), usage, finish("C")), [
      "",
      "A",
      "B",
      "",
      "",
      "C"
    ])
  })

  it("is all raw: what comes without them is an error", () => {
    const seam: Chat.Event = { _tag: "Seam", offset: 1, method: "turn", overlap: 0, startedOver: false }
    for (const odd of [text("b"), finish(), seam, text("b", "B", "anthropic")]) {
      const [, wrong] = pushed(make(), text("a", "A"), odd)
      assert.propertyVal(wrong, "_tag", "StreamInterrupted")
      assert.propertyVal(wrong, "retryable", false)
    }
  })

  it("cannot start over", () => {
    const encoder = make()
    encoder.push(text("a", "A"))
    assert.propertyVal(encoder.push({ _tag: "Reset", attempt: 2, cause: "Timeout" }), "_tag", "StreamInterrupted")
  })

  it("has an error after it without the beginning of our own, and with the number that is next", () => {
    const encoder = make()
    encoder.push(text("a", 'data: {"sequence_number":40}\n\ndata: {"sequence_number": 41}\n\n'))
    const error = encoder.fail(errorOf("Timeout"))
    assert.match(error, /^event: error\ndata: \{"type":"error","sequence_number":42,/)
    const chat = make("openai")
    chat.push(text("a", "A", "openai-chat"))
    assert.match(chat.fail(errorOf("Timeout")), /^data: \{"error"/)
  })
})

describe("an answer that begins without", () => {
  it("is written by the codec to its end", () => {
    const codec = EventStream.make("responses", { id: "id-1", created: 1 })
    const events = [start, text("a"), text("b", "B"), text("", "C"), usage, finish("D")]
    assert.deepStrictEqual(pushed(make(), ...events), pushed(codec, ...events))
  })

  it("is that of another wire too", () => {
    const [frames] = pushed(make(), text("a", "A", "anthropic"))
    assert.include(frames as string, "response.output_text.delta")
  })
})

it("a text is raw in its own dialect only", () => {
  const answer: Chat.Response = { provider: "p", model: "m", text: "", toolCalls: [], finishReason: "stop" }
  Passage.keep(answer, "gemini", "{}")
  assert.strictEqual(RawFrames.textOf("gemini", answer), "{}")
  assert.isUndefined(RawFrames.textOf("openai", answer))
})

describe("a dialect that no provider speaks", () => {
  it("is written by its codec, whatever frames an answer brings", () => {
    for (const dialect of ["ollama", "ollama-generate", "cohere"] as const) {
      const codec = EventStream.make(dialect, { id: "id-1", created: 1 })
      assert.strictEqual(RawFrames.encoder(dialect, codec), codec)
      const answer = { provider: "p", model: "m", text: "a", toolCalls: [], finishReason: "stop" } as const
      Passage.keep(answer, "openai-chat", "raw")
      assert.isUndefined(RawFrames.textOf(dialect, answer))
      assert.strictEqual(RawFrames.textOf("openai", answer), "raw")
    }
  })
})

it("the raw text of an answer without a fingerprint is nothing for a client of OpenRouter", () => {
  const said = (text: string) => {
    const answer: Chat.Response = { provider: "p", model: "m", text: "", toolCalls: [], finishReason: "stop" }
    Passage.keep(answer, "openai-chat", text)
    return answer
  }
  const whole = '{"system_fingerprint" : null}'
  assert.strictEqual(RawFrames.textOf("openai", said(whole), "openrouter"), whole)
  assert.isUndefined(RawFrames.textOf("openai", said("{}"), "openrouter"))
  assert.strictEqual(RawFrames.textOf("openai", said("{}"), "mistral"), "{}")
})
