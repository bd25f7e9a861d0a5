/**
 * OpenAI: Chat Completions, and every server that speaks it, or the Responses API.
 *
 * {@link make} calls OpenAI; with `provider` and `baseUrl` it calls Groq, Mistral, DeepSeek, Together, Fireworks,
 * OpenRouter, xAI, vLLM, Ollama or any other server; {@link azure} calls an Azure deployment. The differences between
 * the servers are a table ({@link dialects}). With `api: "responses"` the same request goes to `/responses`. The wire
 * formats are in `OpenAiChat` and `OpenAiResponses`.
 *
 * Gotchas: the base URLs of the known providers are built in; keys are never read from the environment unasked: name
 * the variable with `Config.redacted`. A stream ends with a finish reason; `[DONE]` alone is no answer. The Responses
 * API has no `stop` and no `seed`: both are left out there. The provider stores no answers unless `providerOptions`
 * asks for it (`store`). With `background: true` it stores them, and a stream that breaks is resumed at that point.
 *
 * @example
 * import { Config } from "effect"
 * import { OpenAi } from "effect-steadfast"
 *
 * const gpt = OpenAi.make({ model: "gpt-4o-mini", apiKey: Config.redacted("OPENAI_API_KEY") })
 * const local = OpenAi.make({ provider: "ollama", model: "llama3.2" })
 * const thinking = OpenAi.make({ model: "gpt-5", api: "responses", apiKey: Config.redacted("OPENAI_API_KEY") })
 *
 * @since 0.1.0
 */
import * as HttpClient from "@effect/platform/HttpClient"
import type * as ConfigError from "effect/ConfigError"
import * as Effect from "effect/Effect"
import type * as ChatModel from "../chat/ChatModel.js"
import * as Endpoint from "./Endpoint.js"
import * as OpenAiChat from "./OpenAiChat.js"
import * as OpenAiResponses from "./OpenAiResponses.js"
import * as WireFormat from "./WireFormat.js"

declare module "../chat/Chat.js" {
  interface ProviderOptions {
    /** Fields of the body that `Chat.Request` does not have; the last three are for the Responses API. */
    readonly openai?: {
      readonly reasoning_effort?: "none" | "minimal" | "low" | "medium" | "high" | "xhigh"
      readonly service_tier?: "auto" | "default" | "flex" | "priority"
      readonly parallel_tool_calls?: boolean
      readonly presence_penalty?: number
      readonly frequency_penalty?: number
      readonly logit_bias?: Readonly<Record<string, number>>
      readonly user?: string
      readonly store?: boolean
      readonly reasoning?: {
        readonly effort?: string | null
        readonly summary?: "auto" | "concise" | "detailed" | null
      }
      readonly text?: { readonly verbosity?: "low" | "medium" | "high" }
      readonly background?: boolean
      readonly [field: string]: unknown
    }
  }
}

// -----------------------------------------------------------------------------
// facts
// -----------------------------------------------------------------------------

export type { Dialect } from "./OpenAiChat.js"

const plain: OpenAiChat.Dialect = { maxTokens: "max_tokens", seed: "seed", streamUsage: true }

/**
 * The known servers, from their API references: base URL, names of fields, and whether they take `stream_options`.
 *
 * @since 0.1.0
 * @category facts
 */
export const dialects: ReadonlyMap<string, OpenAiChat.Dialect> = new Map<string, OpenAiChat.Dialect>([
  ["openai", { ...plain, baseUrl: "https://api.openai.com/v1", maxTokens: "max_completion_tokens" }],
  ["azure-openai", { ...plain, maxTokens: "max_completion_tokens" }],
  ["groq", { ...plain, baseUrl: "https://api.groq.com/openai/v1", maxTokens: "max_completion_tokens" }],
  [
    "mistral",
    { ...plain, baseUrl: "https://api.mistral.ai/v1", seed: "random_seed", streamUsage: false, prefix: true }
  ],
  ["deepseek", { ...plain, baseUrl: "https://api.deepseek.com/v1" }],
  ["together", { ...plain, baseUrl: "https://api.together.xyz/v1" }],
  ["fireworks", { ...plain, baseUrl: "https://api.fireworks.ai/inference/v1", streamUsage: false }],
  ["openrouter", { ...plain, baseUrl: "https://openrouter.ai/api/v1" }],
  ["xai", { ...plain, baseUrl: "https://api.x.ai/v1" }],
  ["vllm", { ...plain, baseUrl: "http://localhost:8000/v1" }],
  ["ollama", { ...plain, baseUrl: "http://localhost:11434/v1" }]
])

// -----------------------------------------------------------------------------
// limits
// -----------------------------------------------------------------------------

const minute = 60_000

const day = 24 * 60 * minute

/** The headers of one limit: OpenAI's names, with another ending or none, and the documented window. */
const limitHeaders = (ending: string, windowMillis: number | undefined): WireFormat.LimitHeaders => ({
  limit: `x-ratelimit-limit${ending}`,
  remaining: `x-ratelimit-remaining${ending}`,
  reset: `x-ratelimit-reset${ending}`,
  windowMillis
})

const limitNames = (requestsMillis: number | undefined, tokensMillis: number | undefined) => ({
  requests: limitHeaders("-requests", requestsMillis),
  tokens: limitHeaders("-tokens", tokensMillis)
})

/** The names and the documented windows of the limits in the headers; docs/pacer.md has their sources. */
const limitsOf: Readonly<Record<string, Parameters<typeof WireFormat.limits>[1]>> = {
  openai: limitNames(minute, minute),
  "azure-openai": limitNames(minute, minute),
  groq: limitNames(day, minute),
  cerebras: { requests: limitHeaders("-requests-day", day), tokens: limitHeaders("-tokens-minute", minute) },
  mistral: { requests: limitHeaders("-req-minute", minute), tokens: limitHeaders("-tokens-minute", minute) },
  together: { requests: limitHeaders("", 1000) }
}

const unknownLimits = limitNames(undefined, undefined)

const limits = (provider: string): WireFormat.WireFormat["limits"] =>
  WireFormat.limits(provider, limitsOf[provider] ?? unknownLimits)

// -----------------------------------------------------------------------------
// constructors
// -----------------------------------------------------------------------------

/**
 * The options of every provider (`Endpoint.Options`), and the API. The default `provider` is `"openai"`; a name from
 * {@link dialects} sets the default `baseUrl`.
 *
 * @since 0.1.0
 * @category options
 */
export interface Options extends Endpoint.Options {
  /** Chat Completions or the Responses API. Default `"chat"`. */
  readonly api?: "chat" | "responses" | undefined
}

const format = (provider: string, model: string, api: Options["api"]): WireFormat.WireFormat =>
  api === "responses"
    ? OpenAiResponses.format(provider, model, limits(provider))
    : OpenAiChat.format(provider, model, dialects.get(provider) ?? plain, limits(provider))

const path = (api: Options["api"]): string => (api === "responses" ? "/responses" : "/chat/completions")

/**
 * A model over Chat Completions or the Responses API. Fails with a `ConfigError` if the key is not configured.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  options: Options
): Effect.Effect<ChatModel.ChatModel, ConfigError.ConfigError, HttpClient.HttpClient> => {
  const { api, model, provider = "openai" } = options
  return Endpoint.make(
    options,
    {
      provider,
      baseUrl: options.baseUrl ?? dialects.get(provider)?.baseUrl,
      url: (baseUrl) => baseUrl + path(api),
      auth: (key) => ({ authorization: `Bearer ${key}` })
    },
    format(provider, model, api)
  )
}

/**
 * A model behind an Azure OpenAI deployment, with Azure's URL and `api-key` header. Fails with a `ConfigError` if the
 * key is not configured.
 *
 * @since 0.1.0
 * @category constructors
 */
export const azure = (
  options: Omit<Options, "model" | "baseUrl" | "provider"> & {
    /** The URL of the resource, e.g. `https://my-resource.openai.azure.com`. */
    readonly endpoint: string
    /** The name of the deployment. */
    readonly deployment: string
    /** Default `2024-10-21`, the newest general release; none for the Responses API, whose path is `/openai/v1`. */
    readonly apiVersion?: string | undefined
  }
): Effect.Effect<ChatModel.ChatModel, ConfigError.ConfigError, HttpClient.HttpClient> => {
  const { api, deployment } = options
  const provider = "azure-openai"
  const place = api === "responses" ? "v1" : `deployments/${encodeURIComponent(deployment)}`
  const version = options.apiVersion ?? (api === "responses" ? undefined : "2024-10-21")
  const query = version === undefined ? "" : `?api-version=${version}`
  return Endpoint.make(
    { ...options, model: deployment },
    {
      provider,
      baseUrl: options.endpoint,
      url: (baseUrl) => `${baseUrl}/openai/${place}${path(api)}${query}`,
      auth: (key) => ({ "api-key": key })
    },
    format(provider, deployment, api)
  )
}

/**
 * The application's model, made by {@link make}.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = Endpoint.layer(make)

/**
 * {@link layer} with every option from a `Config`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = Endpoint.layerConfig(make)
