/**
 * A model of one target of the configuration, with the policies that stand directly around it: time limits of an
 * attempt, pacer, breaker, retry.
 *
 * @since 0.2.0
 */

import * as HttpClient from "@effect/platform/HttpClient"
import type * as ConfigError from "effect/ConfigError"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Redacted from "effect/Redacted"
import * as Stack from "../calls/Stack.js"
import * as ChatModel from "../chat/ChatModel.js"
import * as EmbeddingModel from "../embeddings/EmbeddingModel.js"
import * as RetryPolicy from "../policies/retry/RetryPolicy.js"
import * as Anthropic from "../providers/Anthropic.js"
import * as Gemini from "../providers/Gemini.js"
import * as GeminiEmbeddings from "../providers/GeminiEmbeddings.js"
import * as OpenAi from "../providers/OpenAi.js"
import * as OpenAiEmbeddings from "../providers/OpenAiEmbeddings.js"
import * as OpenAiResponses from "../providers/OpenAiResponses.js"
import type { Model, Provider, Target } from "./config/Resolved.js"
import type { Policies } from "./Policies.js"

type Made<M> = Effect.Effect<M, ConfigError.ConfigError, HttpClient.HttpClient>

/**
 * The base URL of a provider; `undefined` where its module knows it.
 *
 * @since 0.2.0
 * @category getters
 */
export const baseUrlOf = ({ baseUrl, kind, name }: Provider): string | undefined => {
  if (baseUrl !== undefined) return baseUrl
  if (kind === "faulty") return "http://demo.invalid/v1"
  const isOpenAi = kind === "openai" || kind === "responses"
  return isOpenAi && !OpenAi.dialects.has(name) ? "https://api.openai.com/v1" : undefined
}

const optionsOf = (provider: Provider, model: string, apiKey: Redacted.Redacted | undefined) => ({
  model,
  apiKey,
  provider: provider.name,
  baseUrl: baseUrlOf(provider),
  headers: provider.headers,
  keyGroup: provider.keyGroup
})

const azureOf = (provider: Provider, model: string, apiKey: Redacted.Redacted | undefined) => ({
  ...optionsOf(provider, model, apiKey),
  endpoint: provider.baseUrl ?? "",
  deployment: model,
  ...(provider.apiVersion === undefined ? {} : { apiVersion: provider.apiVersion })
})

const chatLeaf = (
  provider: Provider,
  model: string,
  apiKey: Redacted.Redacted | undefined
): Made<ChatModel.ChatModel> => {
  const options = optionsOf(provider, model, apiKey)
  switch (provider.kind) {
    case "openai":
    case "faulty":
      return OpenAi.make(options)
    case "responses":
      return OpenAiResponses.make(options)
    case "anthropic":
      return Anthropic.make(options)
    case "gemini":
      return Gemini.make(options)
    case "azure":
      return OpenAi.azure(azureOf(provider, model, apiKey))
  }
}

const vectorsLeaf = (
  provider: Provider,
  model: string,
  apiKey: Redacted.Redacted | undefined
): Made<EmbeddingModel.EmbeddingModel> => {
  const options = optionsOf(provider, model, apiKey)
  switch (provider.kind) {
    case "gemini":
      return GeminiEmbeddings.make(options)
    case "azure":
      return OpenAiEmbeddings.azure(azureOf(provider, model, apiKey))
    default:
      return OpenAiEmbeddings.make(options)
  }
}

/** Asks an embedded provider by its own client. */
const reached = <M>(policies: Policies, { faults, kind, name }: Provider, made: Made<M>): Made<M> =>
  kind !== "faulty" || faults === undefined
    ? made
    : Effect.flatMap(policies.demo(name, faults), (client) =>
        Effect.provideService(made, HttpClient.HttpClient, client)
      )

/**
 * The retry policy of a target: the nearest that the configuration names, with at most `maxAttempts`.
 *
 * @since 0.2.0
 * @category getters
 */
export const retryOf = (
  model: Pick<Model, "retry">,
  target: Pick<Target, "retry">,
  isLast: boolean,
  maxAttempts: number | undefined
): RetryPolicy.RetryPolicy => {
  const options = target.retry ?? model.retry
  if (options === undefined && maxAttempts === undefined) return isLast ? Stack.lastPolicy : RetryPolicy.standard
  const most = options?.maxAttempts ?? (isLast && options === undefined ? lastAttempts : undefined)
  return RetryPolicy.make({
    ...options,
    maxAttempts: maxAttempts === undefined ? most : Math.min(maxAttempts, most ?? defaultAttempts)
  })
}

/** Those of `RetryPolicy.standard` and of `Stack.lastPolicy`. */
const defaultAttempts = 4
const lastAttempts = 8

const attemptTime: Duration.DurationInput = Stack.attemptTime

/** What stands around a target. */
interface Place {
  readonly policies: Policies
  readonly provider: Provider
  readonly target: Target
  readonly model: Model
}

/**
 * A chat target, without its retry.
 *
 * @since 0.2.0
 * @category constructors
 */
export const chat = ({ model, policies, provider, target }: Place): Made<ChatModel.ChatModel> =>
  Effect.gen(function* () {
    const limits: ChatModel.Timeouts = { attempt: attemptTime, ...model.timeout, ...target.timeout }
    const pacer = yield* policies.pacer(provider)
    const one = (apiKey: Redacted.Redacted | undefined) =>
      Effect.map(reached(policies, provider, chatLeaf(provider, target.model, apiKey)), (leaf) =>
        leaf.pipe(ChatModel.timeout(limits), ChatModel.pace(pacer), ChatModel.breaker(policies.breaker))
      )
    return provider.keys.length > 1
      ? yield* ChatModel.pooled(yield* policies.pool(provider), one)
      : yield* one(provider.keys[0])
  })

/**
 * A target of embeddings, without its retry.
 *
 * @since 0.2.0
 * @category constructors
 */
export const vectors = ({ model, policies, provider, target }: Place): Made<EmbeddingModel.EmbeddingModel> =>
  Effect.gen(function* () {
    const limit = target.timeout?.attempt ?? model.timeout?.attempt ?? attemptTime
    const pacer = yield* policies.pacer(provider)
    const one = (apiKey: Redacted.Redacted | undefined) =>
      Effect.map(reached(policies, provider, vectorsLeaf(provider, target.model, apiKey)), (leaf) =>
        leaf.pipe(EmbeddingModel.timeout(limit), EmbeddingModel.pace(pacer), EmbeddingModel.breaker(policies.breaker))
      )
    return provider.keys.length > 1
      ? yield* EmbeddingModel.pooled(yield* policies.pool(provider), one)
      : yield* one(provider.keys[0])
  })
