/**
 * OpenAI's Responses API. The same requests as to `OpenAi` go to `/responses`.
 *
 * {@link make} calls OpenAI, or with `baseUrl` another server that has this API; {@link azure} calls an Azure
 * deployment. The wire format is in `OpenAiResponsesWire`. It is a module of its own, so that an application with Chat
 * Completions does not carry it.
 *
 * Gotchas: the API has no `stop` and no `seed`: both are left out. The provider stores no answers unless
 * `providerOptions` asks for it (`store`); its reasoning comes encrypted instead, and `Chat.reply` carries it into the
 * next request. With `background: true` the provider stores the answer: `generate` asks for it until it is there, and a
 * stream that breaks is resumed at that point.
 *
 * @example
 * import { Config } from "effect"
 * import { OpenAiResponses } from "effect-steadfast"
 *
 * const thinking = OpenAiResponses.make({ model: "gpt-5", apiKey: Config.redacted("OPENAI_API_KEY") })
 *
 * @since 0.2.0
 */

import type * as HttpClient from "@effect/platform/HttpClient"
import type * as ConfigError from "effect/ConfigError"
import type * as Effect from "effect/Effect"
import type * as ChatModel from "../chat/ChatModel.js"
import * as Endpoint from "./http/Endpoint.js"
import * as OpenAiResponsesWire from "./openai/OpenAiResponsesWire.js"
import * as OpenAiServers from "./openai/OpenAiServers.js"

export type { AzureOptions } from "./openai/OpenAiServers.js"

/**
 * The options of every provider (`Endpoint.Options`). The default `provider` is `"openai"`; a name from
 * `OpenAi.dialects` sets the default `baseUrl`.
 *
 * @since 0.2.0
 * @category options
 */
export interface Options extends Endpoint.Options {}

const format = (provider: string, model: string) =>
  OpenAiResponsesWire.format(provider, model, OpenAiServers.limits(provider))

/**
 * A model over the Responses API. Fails with a `ConfigError` if the key is not configured.
 *
 * @since 0.2.0
 * @category constructors
 */
export const make = (
  options: Options
): Effect.Effect<ChatModel.ChatModel, ConfigError.ConfigError, HttpClient.HttpClient> => {
  const { baseUrl, model, provider = "openai" } = options
  return Endpoint.make(options, OpenAiServers.place(provider, baseUrl, "/responses"), format(provider, model))
}

/**
 * A model behind an Azure OpenAI deployment, with Azure's URL and `api-key` header. Fails with a `ConfigError` if the
 * key is not configured.
 *
 * @since 0.2.0
 * @category constructors
 */
export const azure = (
  options: OpenAiServers.AzureOptions
): Effect.Effect<ChatModel.ChatModel, ConfigError.ConfigError, HttpClient.HttpClient> => {
  const { apiVersion, deployment, endpoint } = options
  const place = OpenAiServers.azurePlace(endpoint, "/v1/responses", apiVersion)
  return Endpoint.make({ ...options, model: deployment }, place, format(place.provider, deployment))
}

/**
 * The application's model, made by {@link make}.
 *
 * @since 0.2.0
 * @category layers
 */
export const layer = Endpoint.layer(make)

/**
 * {@link layer} with every option from a `Config`.
 *
 * @since 0.2.0
 * @category layers
 */
export const layerConfig = Endpoint.layerConfig(make)
