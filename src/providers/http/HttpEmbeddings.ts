/**
 * An embedding model over HTTP: the options of its providers, one exchange for each part, and the layers.
 *
 * A provider is an {@link EmbeddingFormat} (pure: encode, decode, limits) and a place (`Address`). Address, key,
 * transport and errors are those of the chat providers.
 *
 * @since 0.2.0
 */

import * as HttpClient from "@effect/platform/HttpClient"
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import type * as Attempt from "../../calls/Attempt.js"
import type * as Embedding from "../../embeddings/Embedding.js"
import * as EmbeddingModel from "../../embeddings/EmbeddingModel.js"
import * as Classify from "../../errors/Classify.js"
import * as ErrorMessage from "../../errors/ErrorMessage.js"
import { InvalidRequest, type LlmError } from "../../errors/LlmError.js"
import type { Limits } from "../../policies/pacer/RateLimits.js"
import * as Json from "../wire/Json.js"
import * as WireFields from "../wire/WireFields.js"
import * as Address from "./Address.js"
import * as HttpExchange from "./HttpExchange.js"
import * as HttpTarget from "./HttpTarget.js"

/**
 * The options that every provider of embeddings takes.
 *
 * @since 0.2.0
 * @category options
 */
export interface Options extends Address.Options {
  /**
   * The space of the vectors, as `nomic-embed-text/768`: models that stand in for each other must name the same one.
   * Default: that of a known model.
   */
  readonly space?: string | undefined
  /** The length of the vectors of a request without `dimensions`. Default: that of the model. */
  readonly dimensions?: number | undefined
  /** The most that one request may hold, laid over what is known of the provider. */
  readonly limits?: Embedding.Limits | undefined
}

/**
 * The wire format of a provider's embeddings: functions that neither wait nor send.
 *
 * @since 0.2.0
 * @category models
 */
export interface EmbeddingFormat {
  /** The body of a request; an `InvalidRequest` if the format cannot express the request. */
  readonly encode: (part: EmbeddingModel.Part) => WireFields.Encoded | InvalidRequest
  /** The answer in a body. */
  readonly decode: (body: Json.Json, context: WireFields.Exchange) => EmbeddingModel.Answer | LlmError
  /** The rate limits in the headers; `undefined` if there are none. `now` in epoch milliseconds. */
  readonly limits: (headers: WireFields.Headers, now: number) => Limits | undefined
}

/**
 * The bytes of an answer that are held by default: 256 MiB. 2,048 vectors of 3,072 numbers have 34 MB in base64 and,
 * with each number in a line of its own, 140 MB as text.
 */
const defaultMaxBytes = 256 * 1024 * 1024

/** The answer in a body of a success status. */
const decode = (
  format: EmbeddingFormat,
  text: string,
  context: WireFields.Exchange
): EmbeddingModel.Answer | LlmError => {
  const body = Json.parse(text)
  if (body === undefined) return Classify.unreadable(context, text)
  try {
    return Classify.hidden(context, body) ?? format.decode(Json.object(body), context)
  } catch (defect) {
    return WireFields.thrown(context, defect)
  }
}

/**
 * A model from options. Fails with a `ConfigError` if the key is not configured, or the base URL is missing or invalid.
 *
 * @since 0.2.0
 * @category constructors
 */
export const make = (
  options: Omit<Options, "provider" | "baseUrl">,
  place: Address.Place,
  format: EmbeddingFormat,
  known: Embedding.Limits
): Effect.Effect<EmbeddingModel.EmbeddingModel, ConfigError.ConfigError, HttpClient.HttpClient> =>
  Effect.gen(function* () {
    const client = yield* HttpClient.HttpClient
    const address = yield* Address.resolve(options, place)
    const { group, headers, key, model, provider, secrets } = address
    const url = address.url(false)
    const endpoint = { ...address, maxAnswerBytes: options.maxAnswerBytes ?? defaultMaxBytes }
    const { failed, headersIn, isSuccess, maxBytes, readHead, refused, scrubbed } = HttpTarget.make(
      endpoint,
      url,
      format.limits
    )
    const send = HttpExchange.make(client)
    const posted = { ...HttpTarget.lowerCased(headers), "content-type": "application/json" }

    const answer = (text: string, context: WireFields.Exchange, isWhole: boolean) => {
      if (!isSuccess(context)) return Effect.fail(refused(text, context))
      if (!isWhole) return Effect.fail(WireFields.tooLarge(context))
      const decoded = decode(format, text, context)
      return decoded instanceof Error ? Effect.fail(decoded) : Effect.succeed(decoded)
    }

    /** The body of a request. One that cannot be written, as a circular option, is an `InvalidRequest`. */
    const encode = (part: EmbeddingModel.Part) => {
      try {
        const encoded = format.encode(part)
        return encoded instanceof InvalidRequest
          ? encoded
          : { body: JSON.stringify(encoded.body), leftOut: encoded.leftOut }
      } catch (cause) {
        const why = ErrorMessage.clean(cause instanceof Error ? cause.message : String(cause), secrets)
        return WireFields.refusal(address, `the request cannot be written as JSON: ${why}`, false)
      }
    }

    const embed = (
      part: EmbeddingModel.Part,
      attempt: Attempt.Attempt
    ): Effect.Effect<EmbeddingModel.Answer, LlmError> =>
      Effect.withFiberRuntime((fiber) => {
        const encoded = encode(part)
        if (encoded instanceof InvalidRequest) return Effect.fail(encoded)
        const context = fiber.currentContext
        const request = {
          method: "POST",
          url,
          headers: headersIn(posted, context),
          body: encoded.body,
          maxBytes
        } as const
        const reader = { head: readHead(attempt), text: answer, failed }
        return HttpTarget.said(encoded.leftOut, send(fiber, context, request, reader))
      })

    return EmbeddingModel.make({
      provider,
      model,
      key,
      group,
      embed,
      space: options.space,
      dimensions: options.dimensions,
      limits: { ...known, ...options.limits },
      keepsLimits: true,
      shown: (text) => scrubbed(text)
    })
  })

/**
 * The application's model as a layer, from a provider's `make`.
 *
 * @since 0.2.0
 * @category layers
 */
export const layer =
  <O>(
    make: (options: O) => Effect.Effect<EmbeddingModel.EmbeddingModel, ConfigError.ConfigError, HttpClient.HttpClient>
  ) =>
  (options: O): Layer.Layer<EmbeddingModel.EmbeddingModel, ConfigError.ConfigError, HttpClient.HttpClient> =>
    EmbeddingModel.layer(make(options))

/**
 * {@link layer} with every option from a `Config`.
 *
 * @since 0.2.0
 * @category layers
 */
export const layerConfig =
  <O>(
    make: (options: O) => Effect.Effect<EmbeddingModel.EmbeddingModel, ConfigError.ConfigError, HttpClient.HttpClient>
  ) =>
  (
    options: Config.Config.Wrap<Address.Plain<O>>
  ): Layer.Layer<EmbeddingModel.EmbeddingModel, ConfigError.ConfigError, HttpClient.HttpClient> =>
    EmbeddingModel.layer(Effect.flatMap(Config.unwrap<Address.Plain<O>>(options), (options) => make(options as O)))
