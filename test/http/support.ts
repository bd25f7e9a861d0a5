import { FastCheck as fc, Redacted } from "effect"
import { Anthropic, type Chat, Gemini, OpenAi, OpenAiResponses } from "effect-steadfast"
import { Dialect } from "effect-steadfast/http"
import type { Make } from "../providers/support.js"

const apiKey = Redacted.make("key-of-a-test")

/** The dialects that a provider of ours speaks too. */
export type Spoken = Exclude<Dialect.Dialect, "ollama" | "ollama-generate" | "cohere">

/** What reads each dialect. */
export const readers: { readonly [K in Spoken]: Make } = {
  openai: OpenAi.make({ model: "m-1", apiKey }),
  responses: OpenAiResponses.make({ model: "m-1", apiKey }),
  anthropic: Anthropic.make({ model: "m-1", apiKey }),
  gemini: Gemini.make({ model: "m-1", apiKey })
}

export const dialects = Object.keys(readers) as ReadonlyArray<Spoken>

/** All dialects. */
export const every = Dialect.Dialect.literals

const word = fc.oneof(
  fc.string({ minLength: 1, maxLength: 8 }),
  fc.constantFrom("é€", "😀", "\n\n", "data: x", "event: error", "{}", "[DONE]", ": c", "\r\n", "\u2028")
)

const call = fc.record({
  name: fc.constantFrom("f", "g"),
  arguments: fc.dictionary(fc.constantFrom("x", "y", "__proto__"), fc.jsonValue({ maxDepth: 2 }), { maxKeys: 2 })
})

const usage: fc.Arbitrary<Chat.Usage> = fc
  .record({
    fresh: fc.nat({ max: 99 }),
    cached: fc.option(fc.integer({ min: 1, max: 99 }), { nil: undefined }),
    said: fc.nat({ max: 99 }),
    thought: fc.option(fc.integer({ min: 1, max: 99 }), { nil: undefined })
  })
  .map(({ cached, fresh, said, thought }) => ({
    inputTokens: fresh + (cached ?? 0),
    outputTokens: said + (thought ?? 0),
    ...(cached === undefined ? {} : { cachedInputTokens: cached }),
    ...(thought === undefined ? {} : { reasoningTokens: thought })
  }))

const piece = fc.oneof(
  fc.record({ _tag: fc.constant("TextDelta" as const), text: word }),
  fc.record({ _tag: fc.constant("ToolCall" as const), call })
)

/**
 * The events of any answer that says something: thoughts first, then texts and calls in any order. One that the limit
 * cut ends with text: of a last call, no reader of Anthropic's wire can know whether it is whole.
 */
export const answers: fc.Arbitrary<ReadonlyArray<Chat.Event>> = fc
  .record({
    thoughts: fc.array(word, { maxLength: 3 }),
    first: piece,
    rest: fc.array(piece, { maxLength: 4 }),
    cut: fc.boolean(),
    usage: fc.option(usage, { nil: undefined })
  })
  .map(({ cut, first, rest, thoughts, usage }) => {
    const said = [first, ...rest].map(
      (one, index): Chat.Event =>
        one._tag === "TextDelta" ? one : { _tag: "ToolCall", id: `call-${index}`, ...one.call }
    )
    const isCut = cut && said[said.length - 1]?._tag === "TextDelta"
    const called = said.some(({ _tag }) => _tag === "ToolCall")
    return [
      { _tag: "Start", provider: "origin", model: "m-origin", id: "answer-1" },
      ...thoughts.map((text): Chat.Event => ({ _tag: "ReasoningDelta", text })),
      ...said,
      ...(usage === undefined ? [] : [{ _tag: "Usage", usage } as const]),
      { _tag: "Finish", reason: isCut ? "length" : called ? "tool-calls" : "stop" }
    ]
  })
