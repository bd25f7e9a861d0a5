/**
 * Gemini's `generateContent` and `streamGenerateContent`.
 *
 * System messages become `systemInstruction`, the role of the assistant is `model`, and a tool result names its
 * function, which is looked up from its call. A setting that the model refuses is not sent: it is left out, or replaced
 * by the nearest that the model takes, and a debug line says so. Fields in `providerOptions` are sent as they are. The
 * key goes into a header, never into the URL, where proxies would log it.
 *
 * Gotchas: a stream has no terminator: it is complete if a finish reason came. A function call without an id gets one
 * made from the answer's id, so that it is unique in the conversation. From Gemini 3 on a function call carries a
 * signature that must go back with it: it is in the tool call. A call of another provider is sent with the placeholder
 * that Google documents: it works, but the model loses its train of thought.
 *
 * @example
 * import { Config } from "effect"
 * import { Gemini } from "effect-steadfast"
 *
 * const gemini = Gemini.make({ model: "gemini-2.5-flash", apiKey: Config.redacted("GEMINI_API_KEY") })
 *
 * @since 0.1.0
 */

import * as HttpClient from "@effect/platform/HttpClient"
import type * as ConfigError from "effect/ConfigError"
import * as Effect from "effect/Effect"
import * as ChatModel from "../chat/ChatModel.js"
import * as GeminiAnswer from "./gemini/GeminiAnswer.js"
import * as GeminiRequest from "./gemini/GeminiRequest.js"
import * as Endpoint from "./http/Endpoint.js"

declare module "../chat/Chat.js" {
  interface ProviderOptions {
    /** Fields of the body that `Chat.Request` does not have; objects are merged with those of the request. */
    readonly gemini?: {
      readonly safetySettings?: ReadonlyArray<{ readonly category: string; readonly threshold: string }>
      readonly generationConfig?: {
        readonly thinkingConfig?: {
          readonly includeThoughts?: boolean
          readonly thinkingBudget?: number
          readonly thinkingLevel?: "minimal" | "low" | "medium" | "high"
        }
        readonly topK?: number
        readonly [field: string]: unknown
      }
      readonly cachedContent?: string
      readonly [field: string]: unknown
    }
  }
}

// -----------------------------------------------------------------------------
// constructors
// -----------------------------------------------------------------------------

/**
 * The options of every provider (`Endpoint.Options`). `model` may name its collection: `gemini-2.5-flash`,
 * `tunedModels/mine`. The default `provider` is `"gemini"`, the default `baseUrl`
 * `https://generativelanguage.googleapis.com/v1beta`.
 *
 * @since 0.1.0
 * @category options
 */
export interface Options extends Endpoint.Options {}

/**
 * A model over `generateContent`. Fails with a `ConfigError` if the key is not configured.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  options: Options
): Effect.Effect<ChatModel.ChatModel, ConfigError.ConfigError, HttpClient.HttpClient> =>
  Effect.suspend(() => {
    const { baseUrl = "https://generativelanguage.googleapis.com/v1beta", model, provider = "gemini" } = options
    const path = (model.includes("/") ? model : `models/${model}`).split("/").map(encodeURIComponent).join("/")
    return Endpoint.make(
      options,
      {
        provider,
        baseUrl,
        url: (baseUrl, streaming) =>
          `${baseUrl}/${path}:${streaming ? "streamGenerateContent?alt=sse" : "generateContent"}`,
        auth: (key) => ({ "x-goog-api-key": key })
      },
      {
        encode: GeminiRequest.encode(provider, model),
        // An end without parts is a known fault of Gemini, which passes.
        answers: { wire: "gemini", reasonField: "candidates[0].finishReason", neverSilent: true },
        reader: GeminiAnswer.reader,
        // Gemini sends its limits only in the bodies of errors.
        limits: () => undefined
      }
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
