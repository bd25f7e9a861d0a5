/**
 * The options that all chat providers share, and the model that is made from them.
 *
 * A provider is a `WireFormat` (pure: encode, decode, limits) and a place (`Address`: URL, headers, key). {@link make}
 * puts them together over an `HttpClient`; `HttpModel` sends the requests and reads the responses.
 *
 * @since 0.1.0
 */

import * as HttpClient from "@effect/platform/HttpClient"
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import type * as Capabilities from "../../chat/Capabilities.js"
import * as ChatModel from "../../chat/ChatModel.js"
import type * as WireFormat from "../wire/WireFormat.js"
import * as Address from "./Address.js"
import * as HttpModel from "./HttpModel.js"

export type { Place, Plain } from "./Address.js"

/**
 * The options that every chat provider takes.
 *
 * @since 0.1.0
 * @category options
 */
export interface Options extends Address.Options {
  /** Capabilities of the model, laid over the known ones; a fallback skips a model that cannot serve the request. */
  readonly capabilities?: Capabilities.Capabilities | undefined
}

/**
 * A model from options. Fails with a `ConfigError` if the key is not configured, or the base URL is missing or invalid.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  options: Omit<Options, "provider" | "baseUrl">,
  place: Address.Place,
  format: WireFormat.WireFormat
): Effect.Effect<ChatModel.ChatModel, ConfigError.ConfigError, HttpClient.HttpClient> =>
  Effect.gen(function* () {
    const client = yield* HttpClient.HttpClient
    const address = yield* Address.resolve(options, place)
    return HttpModel.make(client, { ...address, capabilities: options.capabilities }, format)
  })

/**
 * The application's model as a layer, from a provider's `make`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer =
  <O>(make: (options: O) => Effect.Effect<ChatModel.ChatModel, ConfigError.ConfigError, HttpClient.HttpClient>) =>
  (options: O): Layer.Layer<ChatModel.ChatModel, ConfigError.ConfigError, HttpClient.HttpClient> =>
    ChatModel.layer(make(options))

/**
 * {@link layer} with every option from a `Config`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig =
  <O>(make: (options: O) => Effect.Effect<ChatModel.ChatModel, ConfigError.ConfigError, HttpClient.HttpClient>) =>
  (
    options: Config.Config.Wrap<Address.Plain<O>>
  ): Layer.Layer<ChatModel.ChatModel, ConfigError.ConfigError, HttpClient.HttpClient> =>
    ChatModel.layer(Effect.flatMap(Config.unwrap<Address.Plain<O>>(options), (options) => make(options as O)))
