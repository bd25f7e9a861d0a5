/**
 * OpenAI Chat Completions, and every server that speaks it.
 *
 * {@link make} calls OpenAI; with `provider` and `baseUrl` it calls Groq, Mistral, DeepSeek, Together, Fireworks,
 * OpenRouter, xAI, Cerebras, Moonshot, Z.AI, vLLM, Ollama or any other server; {@link azure} calls an Azure deployment.
 * The differences between the servers are a table ({@link dialects}). What a server or a model refuses is translated
 * or left out, and said in the log at debug level. OpenAI's other API is `OpenAiResponses`. The wire format is in
 * `OpenAiChat`.
 *
 * Gotchas: the base URLs of the known providers are built in; keys are never read from the environment unasked: name
 * the variable with `Config.redacted`. A stream ends with a finish reason; `[DONE]` alone is no answer.
 *
 * @example
 * import { Config } from "effect"
 * import { OpenAi } from "effect-steadfast"
 *
 * const gpt = OpenAi.make({ model: "gpt-4o-mini", apiKey: Config.redacted("OPENAI_API_KEY") })
 * const local = OpenAi.make({ provider: "ollama", model: "llama3.2" })
 *
 * @since 0.1.0
 */

import type * as HttpClient from "@effect/platform/HttpClient"
import type * as ConfigError from "effect/ConfigError"
import type * as Effect from "effect/Effect"
import type * as ChatModel from "../chat/ChatModel.js"
import * as Endpoint from "./http/Endpoint.js"
import * as OpenAiChat from "./openai/OpenAiChat.js"
import * as OpenAiServers from "./openai/OpenAiServers.js"

export type { Dialect } from "./openai/OpenAiChat.js"
export { type AzureOptions, dialects } from "./openai/OpenAiServers.js"

/**
 * The options of every provider (`Endpoint.Options`). The default `provider` is `"openai"`; a name from
 * {@link dialects} sets the default `baseUrl`.
 *
 * @since 0.1.0
 * @category options
 */
export interface Options extends Endpoint.Options {}

const format = (provider: string, model: string) =>
  OpenAiChat.format(
    provider,
    model,
    OpenAiServers.dialects.get(provider) ?? OpenAiServers.plain,
    OpenAiServers.limits(provider)
  )

/**
 * A model over Chat Completions. Fails with a `ConfigError` if the key is not configured.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  options: Options
): Effect.Effect<ChatModel.ChatModel, ConfigError.ConfigError, HttpClient.HttpClient> => {
  const { baseUrl, model, provider = "openai" } = options
  return Endpoint.make(options, OpenAiServers.place(provider, baseUrl, "/chat/completions"), format(provider, model))
}

/**
 * A model behind an Azure OpenAI deployment, with Azure's URL and `api-key` header. Fails with a `ConfigError` if the
 * key is not configured.
 *
 * @since 0.1.0
 * @category constructors
 */
export const azure = (
  options: OpenAiServers.AzureOptions
): Effect.Effect<ChatModel.ChatModel, ConfigError.ConfigError, HttpClient.HttpClient> => {
  const { apiVersion = "2024-10-21", deployment, endpoint } = options
  const place = OpenAiServers.azurePlace(
    endpoint,
    `/deployments/${encodeURIComponent(deployment)}/chat/completions`,
    apiVersion
  )
  return Endpoint.make({ ...options, model: deployment }, place, format(place.provider, deployment))
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
