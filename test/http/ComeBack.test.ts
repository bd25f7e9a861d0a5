import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted, Stream } from "effect"
import { Anthropic, Chat, ChatStream, Gemini, OpenAiResponses } from "effect-steadfast"
import { AnswerBody, type Dialect, EventStream, RequestBody } from "effect-steadfast/http"
import { Reply } from "effect-steadfast/testing"
import { collect, generate, type Make, plain } from "../providers/support.js"

/**
 * What a provider wants to see again goes to the client with the answer, comes back with its next request, and reaches
 * the provider as it was.
 */

const origin = { id: "answer-0", created: 1_790_000_000 }
const apiKey = Redacted.make("key-of-a-test")
const call = { id: "call-0", name: "f", arguments: { x: 1 } }

interface Case {
  readonly make: Make
  readonly model: string
  readonly reply: unknown
  /** What a stream can bring back; the whole reply if it is not said. */
  readonly streamed?: unknown
  readonly signature?: string
  /** The message of an answer, as its client sends it back. */
  readonly back: (body: never) => object
}

const cases: { readonly [K in Dialect.Dialect]?: Case } = {
  responses: {
    make: OpenAiResponses.make({ model: "gpt-5.1", apiKey }),
    model: "gpt-5.1",
    reply: {
      stored: false,
      items: [
        { type: "reasoning", id: "rs_1", summary: [], encrypted_content: "c2VjcmV0" },
        { type: "message", id: "msg_1", role: "assistant", content: [{ type: "output_text", text: "so" }] },
        { type: "function_call", id: "fc_1", call_id: "call-0", name: "f", arguments: '{"x":1}' }
      ]
    },
    back: ({ output }: { readonly output: ReadonlyArray<object> }) => ({ input: output })
  },
  anthropic: {
    make: Anthropic.make({ model: "claude-sonnet-4-5", apiKey }),
    model: "claude-sonnet-4-5",
    reply: {
      content: [
        { type: "thinking", thinking: "hm", signature: "c2ln" },
        { type: "text", text: "so" },
        { type: "tool_use", id: "call-0", name: "f" }
      ]
    },
    back: ({ content }: { readonly content: ReadonlyArray<object> }) => ({
      max_tokens: 5,
      messages: [{ role: "assistant", content }]
    })
  },
  gemini: {
    make: Gemini.make({ model: "gemini-3-flash", apiKey }),
    model: "gemini-3-flash",
    reply: { parts: [{ text: "so", thoughtSignature: "czE=" }, { functionCall: {} }] },
    streamed: { parts: [{ text: "so" }, { functionCall: {} }, { text: "", thoughtSignature: "czE=" }] },
    signature: "czI=",
    back: ({ candidates }: { readonly candidates: ReadonlyArray<{ readonly content: object }> }) => ({
      contents: [candidates[0]?.content]
    })
  }
}

const answerOf = (dialect: Dialect.Dialect, { model, reply, signature }: Case): Chat.Response => {
  const provider = dialect === "responses" ? "openai" : dialect
  const data = { wire: dialect === "responses" ? "openai-responses" : dialect, provider, model }
  const signed = signature === undefined ? {} : { providerData: { ...data, reply: { thoughtSignature: signature } } }
  return {
    id: "a1",
    provider,
    model,
    text: "so",
    toolCalls: [{ ...call, ...signed }],
    finishReason: "tool-calls",
    providerData: { ...data, reply }
  }
}

for (const [dialect, one] of Object.entries(cases) as Array<[Dialect.Dialect, Case]>) {
  describe(`what a provider wants back, in the dialect of ${dialect}`, () => {
    const answer = answerOf(dialect, one)

    it.effect("is in a whole answer, and is read from the next request", () =>
      Effect.gen(function* () {
        const body = AnswerBody.make(dialect, answer, origin)
        const read = plain(yield* generate(one.make, Reply.raw([JSON.stringify(body)])))
        assert.deepStrictEqual(Chat.reply(read), Chat.reply(answer))
        const sent = { model: one.model, ...one.back(body as never) }
        const { request } = yield* RequestBody.decode(dialect, sent)
        assert.deepStrictEqual(request.messages[0], Chat.reply(answer))
      })
    )

    // Anthropic's signatures come when their blocks are closed: see the codec.
    const streaming = dialect === "anthropic" ? [] : [answer]
    it.effect.each(streaming)("is in a stream", (answer) =>
      Effect.gen(function* () {
        const encoder = EventStream.make(dialect, origin)
        const events: ReadonlyArray<Chat.Event> = [
          { _tag: "Start", provider: answer.provider, model: one.model, id: "a1" },
          { _tag: "TextDelta", text: "so" },
          ...answer.toolCalls.map((call) => ({ _tag: "ToolCall" as const, ...call })),
          { _tag: "Finish", reason: "tool-calls", providerData: answer.providerData }
        ]
        const frames = events.map((event) => String(encoder.push(event)))
        const read = yield* collect(one.make, Reply.raw(frames, { headers: { "content-type": "text/event-stream" } }))
        const whole = yield* ChatStream.collect(Stream.fromIterable(events))
        const reply = one.streamed ?? one.reply
        const expected = { ...whole, providerData: { ...answer.providerData, reply } } as Chat.Response
        assert.deepStrictEqual(Chat.reply(read), Chat.reply(expected))
      })
    )

    it.effect("is not in an answer that says something else", () =>
      Effect.gen(function* () {
        // Anthropic's thoughts are signed alone, so that they stay.
        if (dialect === "anthropic") return
        const other = { ...answer, toolCalls: [...answer.toolCalls, { id: "call-1", name: "f", arguments: {} }] }
        const body = AnswerBody.make(dialect, other, origin)
        const read = yield* generate(one.make, Reply.raw([JSON.stringify(body)]))
        assert.deepStrictEqual([read.toolCalls.length, read.providerData?.reply], [2, undefined])
      })
    )

    it.effect("is not in the answer of another provider", () =>
      Effect.sync(() => {
        const other = { wire: "other", provider: "other", model: "m", reply: one.reply }
        const body = AnswerBody.make(dialect, { ...answer, providerData: other }, origin)
        assert.notInclude(
          JSON.stringify(body),
          dialect === "responses" ? "c2VjcmV0" : dialect === "gemini" ? "czE" : "c2ln"
        )
      })
    )
  })
}
