/**
 * Gemini's embeddings, over `batchEmbedContents`.
 *
 * The task of a request becomes Gemini's task type. The key goes into a header, never into the URL.
 *
 * Gotchas: vectors of `gemini-embedding-001` with fewer than 3,072 dimensions do not have the length 1: compare them by
 * their angle, or normalize them. `gemini-embedding-2` knows no task types; a `task` is left out, and said in the log
 * at debug level. Fields in `providerOptions` go into the request of each text.
 *
 * @example
 * import { Config, Effect } from "effect"
 * import * as GeminiEmbeddings from "effect-steadfast/GeminiEmbeddings"
 *
 * const program = Effect.gen(function* () {
 *   const model = yield* GeminiEmbeddings.make({
 *     model: "gemini-embedding-001",
 *     apiKey: Config.redacted("GEMINI_API_KEY")
 *   })
 *   const { vectors } = yield* model.embed({ input: "Hello", task: "query" })
 *   return vectors
 * })
 *
 * @since 0.2.0
 */

import type * as HttpClient from "@effect/platform/HttpClient"
import type * as ConfigError from "effect/ConfigError"
import * as Effect from "effect/Effect"
import type * as Embedding from "../embeddings/Embedding.js"
import type * as EmbeddingModel from "../embeddings/EmbeddingModel.js"
import type { LlmError } from "../errors/LlmError.js"
import * as Usage from "../policies/Usage.js"
import * as HttpEmbeddings from "./http/HttpEmbeddings.js"
import * as Json from "./wire/Json.js"
import * as WireFields from "./wire/WireFields.js"

/**
 * The options of every provider of embeddings (`HttpEmbeddings.Options`). The default `provider` is `"gemini"`, the
 * default `baseUrl` `https://generativelanguage.googleapis.com/v1beta`.
 *
 * @since 0.2.0
 * @category options
 */
export interface Options extends HttpEmbeddings.Options {}

/** Gemini's words, from https://ai.google.dev/api/embeddings (TaskType). */
const tasks: Readonly<Record<Embedding.Task, string>> = {
  query: "RETRIEVAL_QUERY",
  document: "RETRIEVAL_DOCUMENT",
  similarity: "SEMANTIC_SIMILARITY",
  classification: "CLASSIFICATION",
  clustering: "CLUSTERING",
  question: "QUESTION_ANSWERING",
  "fact-check": "FACT_VERIFICATION",
  code: "CODE_RETRIEVAL_QUERY"
}

/** Whether a model takes no task type: https://ai.google.dev/gemini-api/docs/embeddings. */
const isWithoutTasks = (model: string): boolean => /gemini-embedding-2/.test(model)

/**
 * The limits of one request. The API refuses more than 100 texts, with "at most 100 requests can be in one batch". The
 * window of a text is that of the models' pages at https://ai.google.dev/gemini-api/docs/embeddings.
 *
 * @since 0.2.0
 * @category facts
 */
export const limits = (model: string): Embedding.Limits => ({
  inputs: 100,
  inputTokens: isWithoutTasks(model) ? 8192 : 2048
})

const encode =
  (provider: string, model: string, path: string) =>
  ({ input, request }: EmbeddingModel.Part): WireFields.Encoded => {
    const isRefused = request.task !== undefined && isWithoutTasks(model)
    const own = Json.object(request.providerOptions?.[provider])
    const shared = Json.compact({
      model: path,
      taskType: request.task === undefined || isRefused ? undefined : tasks[request.task],
      outputDimensionality: request.dimensions
    })
    return {
      body: { requests: input.map((text) => Json.merge({ ...shared, content: { parts: [{ text }] } }, own)) },
      leftOut: isRefused ? [`task (${model} takes none)`] : []
    }
  }

const decode = (body: Json.Json, context: WireFields.Exchange): EmbeddingModel.Answer | LlmError => {
  if (!Array.isArray(body.embeddings)) return WireFields.missing(context, "embeddings", body.embeddings, "an array")
  const vectors: Array<ReadonlyArray<number>> = []
  for (const [index, one] of body.embeddings.entries()) {
    const { values } = Json.object(one)
    if (!Array.isArray(values)) return WireFields.missing(context, `embeddings[${index}].values`, values, "an array")
    // The numbers are checked with those of all providers.
    vectors.push(values)
  }
  // The older models tell no usage.
  const tokens = Json.count(Json.object(body.usageMetadata).promptTokenCount)
  return {
    vectors,
    model: Json.text(body.modelVersion),
    usage: tokens === undefined ? undefined : Usage.make({ inputTokens: tokens, outputTokens: 0 })
  }
}

/**
 * A model over `batchEmbedContents`. Fails with a `ConfigError` if the key is not configured.
 *
 * @since 0.2.0
 * @category constructors
 */
export const make = (
  options: Options
): Effect.Effect<EmbeddingModel.EmbeddingModel, ConfigError.ConfigError, HttpClient.HttpClient> =>
  Effect.suspend(() => {
    const { baseUrl = "https://generativelanguage.googleapis.com/v1beta", model, provider = "gemini" } = options
    const path = model.includes("/") ? model : `models/${model}`
    return HttpEmbeddings.make(
      options,
      {
        provider,
        baseUrl,
        url: (baseUrl) => `${baseUrl}/${path.split("/").map(encodeURIComponent).join("/")}:batchEmbedContents`,
        auth: (key) => ({ "x-goog-api-key": key })
      },
      // Gemini sends its rate limits only in the bodies of errors.
      { encode: encode(provider, model, path), decode, limits: () => undefined },
      limits(model)
    )
  })

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
