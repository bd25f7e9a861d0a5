/**
 * Embedding models and their combinators: the algebra of `ChatModel` for vectors.
 *
 * A leaf ({@link make}) is one target. {@link retry}, {@link timeout}, {@link deadline}, {@link orElse},
 * {@link breaker}, {@link pace}, {@link balance} and {@link pooled} take models and return models; {@link resilient}
 * puts them together in the order and with the defaults of `Resilient`. A long input goes in several requests: the
 * policies stand around each of them, so that a part that fails is asked for again alone, and all are attempts of one
 * call.
 *
 * Gotchas: models that stand in for each other must make vectors of the same space, else `orElse` and `balance` throw.
 * The first combinator of a pipe is the innermost. A `deadline` that is outermost limits all parts of a request
 * together; inside of another policy it limits each part.
 *
 * @example
 * import { Effect } from "effect"
 * import * as EmbeddingModel from "effect-steadfast/EmbeddingModel"
 *
 * declare const east: EmbeddingModel.EmbeddingModel
 * declare const west: EmbeddingModel.EmbeddingModel
 *
 * const program = Effect.gen(function* () {
 *   const model = yield* EmbeddingModel.resilient([east, west], { deadline: "2 minutes" })
 *   const { vectors } = yield* model.embed({ input: ["Hello", "world"], task: "document" })
 *   return vectors.length
 * })
 *
 * @since 0.2.0
 */

import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import * as Layer from "effect/Layer"
import type * as Schedule from "effect/Schedule"
import * as Facts from "../calls/About.js"
import * as Resilience from "../calls/Resilience.js"
import * as Stack from "../calls/Stack.js"
import type * as LlmError from "../errors/LlmError.js"
import * as PolicyOptions from "../policies/Options.js"
import type * as Embedding from "./Embedding.js"
import * as Fallback from "./Fallback.js"
import { compose, EmbeddingModel, isEmbeddingModel, partsOf, spacedOf, TypeId } from "./Model.js"
import * as Parts from "./Parts.js"
import * as Space from "./Space.js"
import { breaker, pace } from "./Traffic.js"

export { type BalanceMember, type BalanceOptions, balance, pooled } from "./Balance.js"
export type { Limits, ProviderOptions, Request, Response, Task } from "./Embedding.js"
export type { FallbackOptions } from "./Fallback.js"
export {
  type About,
  type Answer,
  compose,
  EmbeddingModel,
  type Inside,
  isEmbeddingModel,
  type Leaf,
  make,
  TypeId
} from "./Model.js"
export type { Part } from "./Parts.js"
export { breaker, type KeyOptions, pace } from "./Traffic.js"

// -----------------------------------------------------------------------------
// layers
// -----------------------------------------------------------------------------

/**
 * Puts a model into the context of an application.
 *
 * @since 0.2.0
 * @category layers
 */
export const layer = <E, R>(model: Effect.Effect<EmbeddingModel, E, R>): Layer.Layer<EmbeddingModel, E, R> =>
  Layer.effect(EmbeddingModel, model)

/**
 * Asks the model in the context for vectors.
 *
 * @since 0.2.0
 * @category accessors
 */
export const embed = (
  request: Embedding.Request
): Effect.Effect<Embedding.Response, LlmError.LlmError, EmbeddingModel> =>
  Effect.flatMap(EmbeddingModel, (model) => model.embed(request))

/**
 * The vector of one text.
 *
 * @since 0.2.0
 * @category accessors
 */
export const embedOne = (
  model: EmbeddingModel,
  text: string,
  options?: Omit<Embedding.Request, "input">
): Effect.Effect<ReadonlyArray<number>, LlmError.LlmError> =>
  Effect.map(model.embed({ ...options, input: text }), ({ vectors }) => vectors[0] as ReadonlyArray<number>)

/**
 * The vectors of many texts, in their order.
 *
 * @since 0.2.0
 * @category accessors
 */
export const embedMany = (
  model: EmbeddingModel,
  texts: ReadonlyArray<string>,
  options?: Omit<Embedding.Request, "input">
): Effect.Effect<ReadonlyArray<ReadonlyArray<number>>, LlmError.LlmError> =>
  Effect.map(model.embed({ ...options, input: texts }), ({ vectors }) => vectors)

// -----------------------------------------------------------------------------
// retry, time and names
// -----------------------------------------------------------------------------

export const retry: {
  /**
   * Retries each part by a policy, or by any schedule over `LlmError`. Each retry draws on the `RetryBudget` of the
   * provider and key group that failed.
   *
   * @since 0.2.0
   * @category combinators
   */
  <Out>(policy: Schedule.Schedule<Out, LlmError.LlmError>): (self: EmbeddingModel) => EmbeddingModel
  /** Data first: retries each part by a policy, or by any schedule over `LlmError`. */
  <Out>(self: EmbeddingModel, policy: Schedule.Schedule<Out, LlmError.LlmError>): EmbeddingModel
} = dual(2, <Out>(self: EmbeddingModel, policy: Schedule.Schedule<Out, LlmError.LlmError>): EmbeddingModel => {
  const inside = self[TypeId]
  const group = (error: LlmError.LlmError) => Facts.groupIn(inside, error)
  return compose({ ...partsOf(self), ask: (part) => Resilience.retry(inside.ask(part), policy, { group }) })
})

const length = PolicyOptions.duration()

export const timeout: {
  /**
   * Ends an attempt that takes longer with a `Timeout` of phase `attempt`, and closes its socket. Put it before
   * `retry`.
   *
   * @since 0.2.0
   * @category combinators
   */
  (duration: Duration.DurationInput): (self: EmbeddingModel) => EmbeddingModel
  /** Data first: ends an attempt that takes longer with `Timeout`. */
  (self: EmbeddingModel, duration: Duration.DurationInput): EmbeddingModel
} = dual(2, (self: EmbeddingModel, duration: Duration.DurationInput): EmbeddingModel => {
  const millis = length.read(duration, "EmbeddingModel.timeout")
  const { ask } = self[TypeId]
  const named = { provider: self.name }
  return compose({ ...partsOf(self), ask: (part) => Resilience.limited(ask(part), millis, "attempt", named) })
})

export const deadline: {
  /**
   * Limits all parts, attempts and waits below it together, with a `Timeout` of phase `total`. Inside of another policy
   * it limits each part.
   *
   * @since 0.2.0
   * @category combinators
   */
  (duration: Duration.DurationInput): (self: EmbeddingModel) => EmbeddingModel
  /** Data first: limits all parts, attempts and waits together. */
  (self: EmbeddingModel, duration: Duration.DurationInput): EmbeddingModel
} = dual(2, (self: EmbeddingModel, duration: Duration.DurationInput): EmbeddingModel => {
  const total = length.read(duration, "EmbeddingModel.deadline")
  const { around, ask } = self[TypeId]
  const limited = <A>(effect: Effect.Effect<A, LlmError.LlmError>) =>
    Resilience.limited(effect, total, "total", { provider: self.name })
  return compose({
    ...partsOf(self),
    ask: (part) => limited(ask(part)),
    around: (all) => limited(around(all))
  })
})

export const named: {
  /**
   * Renames the model in logs, spans and records.
   *
   * @since 0.2.0
   * @category combinators
   */
  (name: string): (self: EmbeddingModel) => EmbeddingModel
  /** Data first: renames the model. */
  (self: EmbeddingModel, name: string): EmbeddingModel
} = dual(
  2,
  (self: EmbeddingModel, name: string): EmbeddingModel =>
    compose({ ...partsOf(self), around: self[TypeId].around, name })
)

// -----------------------------------------------------------------------------
// fallback
// -----------------------------------------------------------------------------

export const orElse: {
  /**
   * Asks `that` model for a part after an error that another target may fix. Throws a `RangeError` if its vectors are
   * of another space.
   *
   * A fallback to the same provider and key group draws on its `RetryBudget`, like a retry. If no attempt was sent
   * before, for example because a breaker refused the first target, it draws nothing.
   *
   * @since 0.2.0
   * @category combinators
   */
  (that: EmbeddingModel, options?: Fallback.FallbackOptions): (self: EmbeddingModel) => EmbeddingModel
  /** Data first: asks `that` model after an error that another target may fix. */
  (self: EmbeddingModel, that: EmbeddingModel, options?: Fallback.FallbackOptions): EmbeddingModel
} = dual(
  (args) => isEmbeddingModel(args[1]),
  (self: EmbeddingModel, that: EmbeddingModel, options?: Fallback.FallbackOptions): EmbeddingModel => {
    Space.check([spacedOf(self), spacedOf(that)], "EmbeddingModel.orElse")
    const from = self[TypeId]
    const to = that[TypeId]
    return compose({
      name: `${self.name} | ${that.name}`,
      ask: Fallback.asking(from, to, that.name, options),
      about: {
        ...Facts.either(from, to),
        space: self.space,
        limits: Parts.narrower(from.limits, to.limits)
      }
    })
  }
)

// -----------------------------------------------------------------------------
// the whole stack
// -----------------------------------------------------------------------------

/**
 * The options of {@link resilient}.
 *
 * @since 0.2.0
 * @category options
 */
export interface ResilientOptions extends Stack.Options, Fallback.FallbackOptions {
  /** The longest time of an attempt. Default 10 minutes, as the SDKs of OpenAI and Anthropic. */
  readonly timeout?: Duration.DurationInput | undefined
}

/**
 * One model of one or several targets of one space, the first choice first, with the whole stack of policies:
 * `Resilient.make` for embeddings, with its order and its defaults.
 *
 * Throws a `RangeError` that names the option, the value found and the value expected; also if there is no target.
 *
 * @since 0.2.0
 * @category constructors
 */
export const resilient = (
  targets: EmbeddingModel | ReadonlyArray<EmbeddingModel>,
  options: ResilientOptions = {}
): Effect.Effect<EmbeddingModel> => {
  const { timeout: attempt = Stack.attemptTime, when } = options
  return Stack.make<EmbeddingModel>(
    {
      timeout: timeout(attempt),
      pace,
      breaker,
      retry,
      orElse: (self, that) => orElse(self, that, { when }),
      deadline,
      named,
      hasManyKeys: (model) => Facts.hasManyKeys(model[TypeId])
    },
    isEmbeddingModel(targets) ? [targets] : targets,
    options,
    "EmbeddingModel.resilient"
  )
}
