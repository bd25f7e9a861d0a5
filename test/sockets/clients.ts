import { FetchHttpClient, type HttpClient } from "@effect/platform"
import { NodeHttpClient } from "@effect/platform-node"
import { Effect, type Layer, Redacted } from "effect"
import { type ChatModel, OpenAi, Transport } from "effect-steadfast"
import { NodeTransport } from "effect-steadfast/node"

/** Our transports, and every client that the platform has on Node. */
export const clients: ReadonlyArray<readonly [name: string, layer: Layer.Layer<HttpClient.HttpClient>]> = [
  ["transport over fetch", Transport.layerFetch],
  ["transport over undici", NodeTransport.layer],
  ["fetch", FetchHttpClient.layer],
  ["undici", NodeHttpClient.layerUndici],
  ["node:http", NodeHttpClient.layer]
]

/**
 * A model at an address.
 */
export const modelAt = (url: string): Effect.Effect<ChatModel.ChatModel, never, HttpClient.HttpClient> =>
  Effect.orDie(OpenAi.make({ model: "m-1", apiKey: Redacted.make("key-1"), baseUrl: `${url}/v1` }))
