/**
 * OpenAI's embeddings, and those of every server that speaks the same API.
 *
 * {@link make} calls OpenAI; with `provider` and `baseUrl` it calls Mistral, Together, Fireworks, vLLM, Ollama or any
 * other server; {@link azure} calls an Azure deployment. Base URLs and keys are as with `OpenAi`.
 *
 * Vectors are asked for in base64 where OpenAI itself is asked: the answer has less than half the size, and is decoded
 * in less than half the time (docs/embeddings.md). Either form is read from every server.
 *
 * Gotchas: OpenAI knows no tasks; a `task` is left out, and said in the log at debug level. A server that is not known
 * has no limits of a request: state them, or a long input goes in one.
 *
 * @example
 * import { Config, Effect } from "effect"
 * import * as OpenAiEmbeddings from "effect-steadfast/OpenAiEmbeddings"
 *
 * const program = Effect.gen(function* () {
 *   const model = yield* OpenAiEmbeddings.make({
 *     model: "text-embedding-3-small",
 *     apiKey: Config.redacted("OPENAI_API_KEY")
 *   })
 *   const { vectors } = yield* model.embed({ input: ["Hello", "world"] })
 *   return vectors
 * })
 *
 * @since 0.2.0
 */

import type * as HttpClient from "@effect/platform/HttpClient"
import type * as ConfigError from "effect/ConfigError"
import type * as Effect from "effect/Effect"
import type * as Embedding from "../embeddings/Embedding.js"
import type * as EmbeddingModel from "../embeddings/EmbeddingModel.js"
import * as HttpEmbeddings from "./http/HttpEmbeddings.js"
import * as OpenAiServers from "./openai/OpenAiServers.js"
import * as OpenAiVectors from "./openai/OpenAiVectors.js"

/**
 * The options of every provider of embeddings (`HttpEmbeddings.Options`), and the form of the vectors.
 *
 * @since 0.2.0
 * @category options
 */
export interface Options extends HttpEmbeddings.Options {
  /** The form of the vectors that is asked for. Default: `base64` at OpenAI and Azure, elsewhere none is asked for. */
  readonly encoding?: OpenAiVectors.Encoding | undefined
}

/**
 * The options of a deployment at Azure OpenAI. State the `space`: the name of a deployment tells no model.
 *
 * @since 0.2.0
 * @category options
 */
export interface AzureOptions
  extends Omit<OpenAiServers.AzureOptions, "capabilities">,
    Pick<Options, "space" | "dimensions" | "limits" | "encoding"> {}

/**
 * The limits of one request at OpenAI: https://platform.openai.com/docs/api-reference/embeddings/create, `input`.
 *
 * @since 0.2.0
 * @category facts
 */
export const limits: Embedding.Limits = { inputs: 2048, tokens: 300_000, inputTokens: 8192 }

const isOwn = (provider: string): boolean => provider === "openai" || provider === "azure-openai"

const format = (provider: string, model: string, encoding: OpenAiVectors.Encoding | undefined) =>
  OpenAiVectors.format(
    {
      provider,
      model,
      encoding: encoding ?? (isOwn(provider) ? "base64" : undefined),
      refusesEmpty: isOwn(provider)
    },
    OpenAiServers.limits(provider)
  )

/**
 * A model over the embeddings API. Fails with a `ConfigError` if the key is not configured.
 *
 * @since 0.2.0
 * @category constructors
 */
export const make = (
  options: Options
): Effect.Effect<EmbeddingModel.EmbeddingModel, ConfigError.ConfigError, HttpClient.HttpClient> => {
  const { baseUrl, encoding, model, provider = "openai" } = options
  return HttpEmbeddings.make(
    options,
    OpenAiServers.place(provider, baseUrl, "/embeddings"),
    format(provider, model, encoding),
    isOwn(provider) ? limits : {}
  )
}

/**
 * A model behind an Azure OpenAI deployment, with Azure's URL and `api-key` header. Fails with a `ConfigError` if the
 * key is not configured.
 *
 * @since 0.2.0
 * @category constructors
 */
export const azure = (
  options: AzureOptions
): Effect.Effect<EmbeddingModel.EmbeddingModel, ConfigError.ConfigError, HttpClient.HttpClient> => {
  const { apiVersion = "2024-10-21", deployment, encoding, endpoint } = options
  const path = `/deployments/${encodeURIComponent(deployment)}/embeddings`
  const place = OpenAiServers.azurePlace(endpoint, path, apiVersion)
  return HttpEmbeddings.make(
    { ...options, model: deployment },
    place,
    format(place.provider, deployment, encoding),
    limits
  )
}

/**
 * The application's model, made by {@link make}.
 *
 * @since 0.2.0
 * @category layers
 */
export const layer = HttpEmbeddings.layer(make)

/**
 * {@link layer} with every option from a `Config`.
 *
 * @since 0.2.0
 * @category layers
 */
export const layerConfig = HttpEmbeddings.layerConfig(make)
