/**
 * Traffic policies for embedding models: a circuit breaker that hears every attempt, and a pacer that keeps the
 * provider's rate limits. Each stands around the requests for single parts.
 *
 * @since 0.2.0
 */

import { dual } from "effect/Function"
import * as Facts from "../calls/About.js"
import type * as CircuitBreaker from "../policies/circuit/CircuitBreaker.js"
import type * as Pacer from "../policies/pacer/Pacer.js"
import type * as Embedding from "./Embedding.js"
import { compose, type EmbeddingModel, isEmbeddingModel, partsOf, TypeId } from "./Model.js"
import type * as Parts from "./Parts.js"

/**
 * The options of {@link breaker} and {@link pace}.
 *
 * @since 0.2.0
 * @category options
 */
export interface KeyOptions {
  /** Models with the same key share one circuit or one queue. Default: provider, base URL, model and API key. */
  readonly key?: string | undefined
}

export const breaker: {
  /**
   * Asks the target only while its circuit lets the attempt through, and records how each attempt ended. While the
   * circuit is open, a part goes to the fallback, or waits in order; see `CircuitBreaker`. Put it inside the retry, and
   * outside the pacer and the timeout.
   *
   * @since 0.2.0
   * @category combinators
   */
  (breaker: CircuitBreaker.CircuitBreaker, options?: KeyOptions): (self: EmbeddingModel) => EmbeddingModel
  /** Data first: asks the target only while its circuit lets the attempt through. */
  (self: EmbeddingModel, breaker: CircuitBreaker.CircuitBreaker, options?: KeyOptions): EmbeddingModel
} = dual(
  (args) => isEmbeddingModel(args[0]),
  (self: EmbeddingModel, breaker: CircuitBreaker.CircuitBreaker, options?: KeyOptions): EmbeddingModel => {
    const about = self[TypeId]
    const { model, provider } = about.targets[0]
    const ask = { key: options?.key ?? Facts.keyOf(about), provider, model }
    return compose({
      ...partsOf(self),
      ask: (part) => breaker.execute(about.ask(part), ask),
      about: {
        ...about,
        readyAt: () => Math.max(about.readyAt(), breaker.readyAt(ask.key)),
        soonestAt: () => Math.max(about.soonestAt(), breaker.soonestAt(ask.key))
      }
    })
  }
)

/** Four characters a token is OpenAI's rule of thumb for English; the pacer corrects it with the usage. */
const charactersPerToken = 4

const glance = ({ input }: Parts.Part): number => {
  let characters = 0
  for (const text of input) characters += text.length
  return Math.ceil(characters / charactersPerToken)
}

export const pace: {
  /**
   * Starts attempts as fast as the provider's rate limits allow, first in first out. It learns the limits from the
   * headers and the usage of every response. Put it around the timeout, and inside the breaker and the retry.
   *
   * Throws a `RangeError` around a model with several API keys, as {@link pooled} makes it: each key has limits of its
   * own, so each member needs its own `pace`. With the option `key` the keys share one queue.
   *
   * @since 0.2.0
   * @category combinators
   */
  (pacer: Pacer.Pacer, options?: KeyOptions): (self: EmbeddingModel) => EmbeddingModel
  /** Data first: starts attempts as fast as the provider's rate limits allow. */
  (self: EmbeddingModel, pacer: Pacer.Pacer, options?: KeyOptions): EmbeddingModel
} = dual(
  (args) => isEmbeddingModel(args[0]),
  (self: EmbeddingModel, pacer: Pacer.Pacer, options?: KeyOptions): EmbeddingModel => {
    const about = self[TypeId]
    const { model, provider } = about.targets[0]
    if (options?.key === undefined && Facts.hasManyKeys(about)) {
      throw new RangeError(
        `EmbeddingModel.pace: found a model with several API keys at ${provider}, expected one key, whose limits ` +
          "the pacer keeps. Pace each member: " +
          "EmbeddingModel.pooled(pool, (apiKey) => Effect.map(make(apiKey), EmbeddingModel.pace(pacer))). " +
          "If the keys share one account's limits, say so with the option `key`"
      )
    }
    const key = options?.key ?? Facts.keyOf(about)
    return compose({
      ...partsOf(self),
      ask: (part) =>
        pacer.pace(about.ask(part), {
          key,
          provider,
          model,
          inputTokens: glance(part),
          outputTokens: 0,
          // A part that comes back after an error gets its old place, whatever the other parts of its call do.
          place: part,
          usage: ({ usage }: Embedding.Response) => usage
        }),
      about: {
        ...about,
        readyAt: () => Math.max(about.readyAt(), pacer.readyAt(key)),
        soonestAt: () => Math.max(about.soonestAt(), pacer.readyAt(key))
      }
    })
  }
)
