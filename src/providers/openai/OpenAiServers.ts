/**
 * The servers that speak OpenAI's formats, for `OpenAi` and `OpenAiResponses`: addresses, dialects, limits, keys.
 *
 * @since 0.2.0
 */

import type * as Endpoint from "../http/Endpoint.js"
import * as WireFields from "../wire/WireFields.js"
import type * as WireFormat from "../wire/WireFormat.js"
import type * as OpenAiChat from "./OpenAiChat.js"

declare module "../../chat/Chat.js" {
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

/**
 * The dialect of servers that are not known.
 *
 * @since 0.2.0
 * @category facts
 */
export const plain: OpenAiChat.Dialect = { maxTokens: "max_tokens", seed: "seed", streamUsage: true }

/**
 * The known servers, from their API references: base URL, names of fields, and the fields that they take or refuse.
 *
 * @since 0.1.0
 * @category facts
 */
export const dialects: ReadonlyMap<string, OpenAiChat.Dialect> = new Map<string, OpenAiChat.Dialect>([
  [
    "openai",
    {
      ...plain,
      baseUrl: "https://api.openai.com/v1",
      maxTokens: "max_completion_tokens",
      metadata: "stored",
      files: "pdf"
    }
  ],
  ["azure-openai", { ...plain, maxTokens: "max_completion_tokens", metadata: "stored", files: "pdf" }],
  ["groq", { ...plain, baseUrl: "https://api.groq.com/openai/v1", maxTokens: "max_completion_tokens", files: "none" }],
  [
    "mistral",
    {
      ...plain,
      baseUrl: "https://api.mistral.ai/v1",
      seed: "random_seed",
      streamUsage: false,
      prefix: true,
      files: "document"
    }
  ],
  [
    "deepseek",
    { ...plain, baseUrl: "https://api.deepseek.com/v1", reasoning: "thinking", files: "none", schemas: false }
  ],
  ["together", { ...plain, baseUrl: "https://api.together.xyz/v1", reasoning: "toggle" }],
  [
    "fireworks",
    {
      ...plain,
      baseUrl: "https://api.fireworks.ai/inference/v1",
      streamUsage: false,
      metadata: "always",
      files: "none"
    }
  ],
  [
    "openrouter",
    {
      ...plain,
      baseUrl: "https://openrouter.ai/api/v1",
      reasoning: "openrouter",
      metadata: "always",
      files: "url",
      adapts: true
    }
  ],
  ["xai", { ...plain, baseUrl: "https://api.x.ai/v1", files: "none" }],
  ["cerebras", { ...plain, baseUrl: "https://api.cerebras.ai/v1", maxTokens: "max_completion_tokens", files: "none" }],
  ["moonshot", { ...plain, baseUrl: "https://api.moonshot.ai/v1", reasoning: "thinking", files: "none" }],
  ["zai", { ...plain, baseUrl: "https://api.z.ai/api/paas/v4", reasoning: "thinking", files: "none", schemas: false }],
  ["vllm", { ...plain, baseUrl: "http://localhost:8000/v1", metadata: "always" }],
  ["ollama", { ...plain, baseUrl: "http://localhost:11434/v1", files: "none" }]
])

// -----------------------------------------------------------------------------
// limits
// -----------------------------------------------------------------------------

const minute = 60_000

const day = 24 * 60 * minute

/** The headers of one limit: OpenAI's names, with another ending or none, and the documented window. */
const limitHeaders = (ending: string, windowMillis: number | undefined): WireFields.LimitHeaders => ({
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
const limitsOf: Readonly<Record<string, Parameters<typeof WireFields.limits>[1]>> = {
  openai: limitNames(minute, minute),
  "azure-openai": limitNames(minute, minute),
  groq: limitNames(day, minute),
  cerebras: { requests: limitHeaders("-requests-day", day), tokens: limitHeaders("-tokens-minute", minute) },
  mistral: { requests: limitHeaders("-req-minute", minute), tokens: limitHeaders("-tokens-minute", minute) },
  together: { requests: limitHeaders("", 1000) }
}

const unknownLimits = limitNames(undefined, undefined)

/**
 * Reads the limits in a server's response headers. A server that is not known is read by OpenAI's names, without
 * windows.
 *
 * @since 0.2.0
 * @category facts
 */
export const limits = (provider: string): WireFormat.WireFormat["limits"] =>
  WireFields.limits(provider, limitsOf[provider] ?? unknownLimits)

// -----------------------------------------------------------------------------
// places
// -----------------------------------------------------------------------------

/**
 * The place of an API at OpenAI or a server that is asked in the same way. `path` is the API's, after the base URL.
 *
 * @since 0.2.0
 * @category constructors
 */
export const place = (provider: string, baseUrl: string | undefined, path: string): Endpoint.Place => ({
  provider,
  baseUrl: baseUrl ?? dialects.get(provider)?.baseUrl,
  url: (baseUrl) => baseUrl + path,
  auth: (key) => ({ authorization: `Bearer ${key}` })
})

/**
 * The options of a deployment at Azure OpenAI.
 *
 * @since 0.2.0
 * @category options
 */
export interface AzureOptions extends Omit<Endpoint.Options, "model" | "baseUrl" | "provider"> {
  /** The URL of the resource, e.g. `https://my-resource.openai.azure.com`. */
  readonly endpoint: string
  /** The name of the deployment. */
  readonly deployment: string
  /** The `api-version` in the query. Default `2024-10-21`, the newest general release; none for `OpenAiResponses`. */
  readonly apiVersion?: string | undefined
}

/**
 * The place of an API at Azure OpenAI. `path` is the API's, after `/openai`.
 *
 * @since 0.2.0
 * @category constructors
 */
export const azurePlace = (endpoint: string, path: string, version: string | undefined): Endpoint.Place => ({
  provider: "azure-openai",
  baseUrl: endpoint,
  url: (baseUrl) => `${baseUrl}/openai${path}${version === undefined ? "" : `?api-version=${version}`}`,
  auth: (key) => ({ "api-key": key })
})
