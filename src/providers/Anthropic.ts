/**
 * Anthropic Messages, and the servers that speak it. The wire format is in `AnthropicMessages`.
 *
 * A setting that the model refuses is not sent: it is left out, or replaced by the nearest that the model takes, and a
 * debug line says so. Fields in `providerOptions` are sent as they are.
 *
 * Gotchas: `max_tokens` is always sent, because the API requires it. Signed thoughts go back with the message that
 * `Chat.reply` made of the answer, and only where the model thinks. Newer models refuse thoughts if anything before
 * them changes, system messages and tools included: only append to their conversations. A model that thinks by a budget
 * does not think about the results of tools that another provider's model called. Schemas of structured output must
 * contain `additionalProperties: false`.
 *
 * @example
 * import { Config } from "effect"
 * import { Anthropic } from "effect-steadfast"
 *
 * const claude = Anthropic.make({ model: "claude-haiku-4-5", apiKey: Config.redacted("ANTHROPIC_API_KEY") })
 *
 * @since 0.1.0
 */

import * as HttpClient from "@effect/platform/HttpClient"
import type * as ConfigError from "effect/ConfigError"
import * as Effect from "effect/Effect"
import type * as ChatModel from "../chat/ChatModel.js"
import * as AnthropicMessages from "./anthropic/AnthropicMessages.js"
import * as Endpoint from "./http/Endpoint.js"
import * as WireFields from "./wire/WireFields.js"

declare module "../chat/Chat.js" {
  interface ProviderOptions {
    /** Fields of the body that `Chat.Request` does not have; objects are merged with those of the request. */
    readonly anthropic?: {
      readonly thinking?:
        | {
            readonly type: "enabled"
            readonly budget_tokens: number
            readonly display?: "summarized" | "omitted"
          }
        | {
            readonly type: "adaptive" | "between_tools" | "disabled"
            readonly display?: "summarized" | "omitted"
            readonly block_binding?: { readonly prefix_mismatch_behavior: string }
          }
      readonly top_k?: number
      readonly service_tier?: "auto" | "standard_only"
      readonly cache_control?: { readonly type: "ephemeral"; readonly ttl?: "5m" | "1h" }
      readonly output_config?: { readonly effort?: string; readonly [field: string]: unknown }
      readonly [field: string]: unknown
    }
  }
}

// -----------------------------------------------------------------------------
// facts
// -----------------------------------------------------------------------------

/**
 * The version of the API, sent as `anthropic-version`.
 *
 * @since 0.1.0
 * @category facts
 */
export const version = "2023-06-01"

export { defaultMaxTokens } from "./anthropic/AnthropicMessages.js"

// -----------------------------------------------------------------------------
// limits
// -----------------------------------------------------------------------------

/** Anthropic counts all limits per minute. */
const limitHeaders = (dimension: string): WireFields.LimitHeaders => ({
  limit: `anthropic-ratelimit-${dimension}-limit`,
  remaining: `anthropic-ratelimit-${dimension}-remaining`,
  reset: `anthropic-ratelimit-${dimension}-reset`,
  windowMillis: 60_000
})

const limits = WireFields.limits("anthropic", {
  requests: limitHeaders("requests"),
  tokens: limitHeaders("tokens"),
  inputTokens: limitHeaders("input-tokens"),
  outputTokens: limitHeaders("output-tokens")
})

// -----------------------------------------------------------------------------
// constructors
// -----------------------------------------------------------------------------

/**
 * The options of every provider (`Endpoint.Options`), and two more. The default `provider` is `"anthropic"`, the
 * default `baseUrl` `https://api.anthropic.com/v1`.
 *
 * @since 0.1.0
 * @category options
 */
export interface Options extends Endpoint.Options {
  /** The most tokens of an answer, for requests that do not set it. Default 4,096, plus room for thoughts. */
  readonly maxTokens?: number | undefined
  /** Features to switch on, sent as `anthropic-beta`. Default none. */
  readonly beta?: ReadonlyArray<string> | undefined
}

/**
 * A model over Messages. Fails with a `ConfigError` if the key is not configured.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  options: Options
): Effect.Effect<ChatModel.ChatModel, ConfigError.ConfigError, HttpClient.HttpClient> =>
  Effect.suspend(() => {
    const { baseUrl = "https://api.anthropic.com/v1", beta = [], maxTokens, model, provider = "anthropic" } = options
    return Endpoint.make(
      options,
      {
        provider,
        baseUrl,
        url: (baseUrl) => `${baseUrl}/messages`,
        auth: (key) => ({ "x-api-key": key }),
        headers: {
          "anthropic-version": version,
          ...(beta.length === 0 ? {} : { "anthropic-beta": beta.join(",") })
        }
      },
      AnthropicMessages.format(provider, model, maxTokens, limits)
    )
  })

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
