/**
 * Anthropic Messages, and the servers that speak it. The wire format is in `AnthropicMessages`.
 *
 * Gotchas: `max_tokens` is always sent, because the API requires it. A model that thinks wants its signed thoughts back
 * with the tool calls that followed them: the model value keeps those of the newest calls and sends them. In another
 * process they are missing, and a model that requires them refuses the request. Schemas of structured output must
 * contain `additionalProperties: false`. `seed` is not sent, and of `metadata` only `user_id`.
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
import * as AnthropicMessages from "./AnthropicMessages.js"
import * as Endpoint from "./Endpoint.js"
import * as WireFields from "./WireFields.js"

declare module "../chat/Chat.js" {
  interface ProviderOptions {
    /** Fields of the body that `Chat.Request` does not have; objects are merged with those of the request. */
    readonly anthropic?: {
      readonly thinking?:
        | { readonly type: "enabled"; readonly budget_tokens: number }
        | { readonly type: "adaptive" | "disabled" }
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

export { defaultMaxTokens } from "./AnthropicMessages.js"

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
  /** The most tokens of an answer, for requests that do not set it. Default 4,096, plus the budget for thinking. */
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
