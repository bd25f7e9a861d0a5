import type { Face } from "./faces.js"
import { clientKey, type Stage } from "./gateway.js"
import { type Client, load } from "./installed.js"
import * as Replies from "./replies.js"

const { call, question, words } = Replies

/** A package, with the API that it speaks. */
interface Kit {
  readonly name: string
  readonly dialect: Face["dialect"]
  readonly broken: string
  readonly model: (kit: Client) => Client
  readonly client: (kit: Client, apiKey: Client, url: string) => Client
}

export const kits: ReadonlyArray<Kit> = [
  {
    name: "@effect/ai-openai",
    dialect: "responses",
    broken: "HttpResponseError 200",
    model: ({ OpenAiLanguageModel }) => OpenAiLanguageModel.layer({ model: "smart" }),
    client: ({ OpenAiClient }, apiKey, url) => OpenAiClient.layer({ apiKey, apiUrl: `${url}/v1` })
  },
  {
    name: "@effect/ai-anthropic",
    dialect: "anthropic",
    broken: "HttpResponseError 200",
    model: ({ AnthropicLanguageModel }) => AnthropicLanguageModel.layer({ model: "smart" }),
    client: ({ AnthropicClient }, apiKey, apiUrl) => AnthropicClient.layer({ apiKey, apiUrl })
  }
]

/** Runs a program of these packages, which come with an Effect of their own. */
export const run = async (
  kit: Kit,
  { url }: Stage,
  make: (ai: Client, effect: Client) => Client,
  signal?: AbortSignal
): Promise<unknown> => {
  const effect = await load("effect")
  const { Effect, Either, Layer, Redacted } = effect
  const { FetchHttpClient } = await load("@effect/platform")
  const own = await load(kit.name)
  const client = Layer.provide(kit.client(own, Redacted.make(clientKey), url), FetchHttpClient.layer)
  const layer = Layer.provide(kit.model(own), client)
  const program = Effect.either(Effect.provide(make(await load("@effect/ai"), effect), layer))
  const ended = await Effect.runPromise(program, { signal })
  if (Either.isLeft(ended)) throw ended.left
  return ended.right
}

/** The tool of {@link call}. */
export const toolkit = ({ Tool, Toolkit }: Client, { Schema }: Client): Client =>
  Toolkit.make(
    Tool.make(call.name, {
      description: "The weather",
      parameters: {
        city: Schema.String,
        country: Schema.String,
        days: Schema.Number,
        hourly: Schema.Boolean
      },
      success: Schema.Struct({ forecast: Schema.String })
    })
  )

const shown = (one: Client) => ({ name: one.name, arguments: one.params })

const facesOf = (kit: Kit): ReadonlyArray<Face> => {
  const face = (
    name: string,
    { ask, ...rest }: Omit<Face, "name" | "ask" | "errorName"> & { readonly ask: Parameters<typeof run>[2] }
  ): Face => ({
    dialect: kit.dialect,
    broken: kit.broken,
    errorName: () => "HttpResponseError",
    ...rest,
    name: `${kit.name}: ${name}`,
    ask: async (stage) => run(kit, stage, ask)
  })
  const plain = { prompt: question }
  return [
    face("generateText", {
      reply: Replies.text,
      says: words,
      ask: ({ LanguageModel }, { Effect }) => Effect.map(LanguageModel.generateText(plain), ({ text }: Client) => text)
    }),
    face("streamText", {
      reply: Replies.text,
      says: words,
      streams: true,
      ask: ({ LanguageModel }, { Stream }) =>
        Stream.runFold(
          LanguageModel.streamText(plain),
          "",
          (read: string, part: Client) => read + (part.type === "text-delta" ? part.delta : "")
        )
    }),
    face("generateText with tools", {
      reply: Replies.tool,
      says: call,
      ask: (ai, effect) => {
        const asked = { ...plain, toolkit: toolkit(ai, effect), disableToolCallResolution: true }
        return effect.Effect.map(ai.LanguageModel.generateText(asked), ({ toolCalls: [made] }: Client) => shown(made))
      }
    }),
    face("streamText with tools", {
      reply: Replies.tool,
      says: call,
      streams: true,
      late: true,
      ask: (ai, effect) => {
        const asked = { ...plain, toolkit: toolkit(ai, effect), disableToolCallResolution: true }
        const calls = effect.Stream.filter(
          ai.LanguageModel.streamText(asked),
          ({ type }: Client) => type === "tool-call"
        )
        return effect.Effect.map(effect.Stream.runCollect(calls), (all: Client) => shown([...all][0]))
      }
    })
  ]
}

export const faces: ReadonlyArray<Face> = kits.flatMap(facesOf)
