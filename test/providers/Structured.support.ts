/** The four wire formats, as `generateObject` uses them. */
import { HttpClient } from "@effect/platform"
import { Effect, Redacted } from "effect"
import { Anthropic, Chat, Gemini, OpenAi, OpenAiResponses } from "effect-steadfast"
import { FaultyProvider } from "effect-steadfast/testing"
import { at, type Make } from "./support.js"

const apiKey = Redacted.make("key-1")

const list = (u: unknown): ReadonlyArray<unknown> => (Array.isArray(u) ? u : [])

const textOf = (content: unknown): string =>
  typeof content === "string"
    ? content
    : list(content)
        .map((part) => String(at(part, "text") ?? ""))
        .join("")

/** A turn of a conversation as it is sent: who speaks, and the words. */
export type Turn = readonly [role: string, text: string]

const turnsOf = (turns: unknown, field: string): ReadonlyArray<Turn> =>
  list(turns).map((turn) => [String(at(turn, "role")).replace("model", "assistant"), textOf(at(turn, field))])

export interface Wire {
  readonly make: Make
  /** The conversation in the body of a request. */
  readonly turns: (body: unknown) => ReadonlyArray<Turn>
  /** The schema in the body of a request. */
  readonly schema: (body: unknown) => unknown
  /** The code of the error when the model refuses. */
  readonly refused: string | undefined
}

export const wires = {
  OpenAi: {
    make: OpenAi.make({ model: "gpt-4o-mini", apiKey }),
    turns: (body) => turnsOf(at(body, "messages"), "content"),
    schema: (body) => at(body, "response_format", "json_schema", "schema"),
    refused: "refusal"
  },
  OpenAiResponses: {
    make: OpenAiResponses.make({ model: "gpt-4o-mini", apiKey }),
    turns: (body) => turnsOf(at(body, "input"), "content"),
    schema: (body) => at(body, "text", "format", "schema"),
    refused: "refusal"
  },
  Anthropic: {
    make: Anthropic.make({ model: "claude-haiku-4-5", apiKey }),
    turns: (body) => turnsOf(at(body, "messages"), "content"),
    schema: (body) => at(body, "output_config", "format", "schema"),
    refused: "refusal"
  },
  Gemini: {
    make: Gemini.make({ model: "gemini-3-flash-preview", apiKey }),
    turns: (body) => turnsOf(at(body, "contents"), "parts"),
    schema: (body) => at(body, "generationConfig", "responseJsonSchema"),
    refused: "SAFETY"
  }
} satisfies Record<string, Wire>

/** A model of a wire format over a provider of this behaviour. */
export const modelOf = ({ make }: Wire, options: FaultyProvider.Options) =>
  Effect.gen(function* () {
    const provider = yield* FaultyProvider.make(options)
    const model = yield* Effect.orDie(Effect.provideService(make, HttpClient.HttpClient, provider.client))
    return { model, provider }
  })

export const ask: Chat.Request = {
  messages: [{ role: "user", content: "Who is she?" }],
  maxTokens: 100,
  tools: [{ name: "look", parameters: { type: "object", properties: {} } }]
}
