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
import type * as Redacted from "effect/Redacted"
import type * as Schedule from "effect/Schedule"
import * as Facts from "../calls/About.js"
import * as Balanced from "../calls/balance/Balance.js"
import * as Members from "../calls/balance/Members.js"
import * as Resilience from "../calls/Resilience.js"
import * as Stack from "../calls/Stack.js"
import type * as LlmError from "../errors/LlmError.js"
import type * as KeyPool from "../policies/balance/KeyPool.js"
import type * as CircuitBreaker from "../policies/circuit/CircuitBreaker.js"
import * as PolicyOptions from "../policies/Options.js"
import type * as Pacer from "../policies/pacer/Pacer.js"
import type * as Embedding from "./Embedding.js"
import * as Fallback from "./Fallback.js"
import { type About, compose, EmbeddingModel, isEmbeddingModel, partsOf, TypeId } from "./Model.js"
import * as Parts from "./Parts.js"
import * as Space from "./Space.js"

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

const spacedOf = (model: EmbeddingModel): Space.Spaced => ({
  name: model.name,
  space: model.space,
  targets: model[TypeId].targets
})

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
// traffic
// -----------------------------------------------------------------------------

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

// -----------------------------------------------------------------------------
// several members
// -----------------------------------------------------------------------------

/**
 * A model, alone or with its weight and cost.
 *
 * @since 0.2.0
 * @category options
 */
export type BalanceMember = Balanced.Member<EmbeddingModel>

/**
 * The options of {@link balance}.
 *
 * @since 0.2.0
 * @category options
 */
export interface BalanceOptions extends Balanced.Options<Embedding.Request> {}

const namedOf = (model: EmbeddingModel): Balanced.Named => ({ name: model.name, about: model[TypeId] })

/** Every request may be sent again: an embedding changes nothing. */
const requests = { unable: undefined, isOnce: undefined }

const affinityOf = ({ affinity }: Pick<BalanceOptions, "affinity">) => ({
  affinity: affinity && ((part: Parts.Part) => affinity(part.request))
})

/** One model of members of one space. */
const several = (
  models: ReadonlyArray<EmbeddingModel>,
  members: Members.Members<Parts.Part>,
  name: string,
  where: string
): EmbeddingModel => {
  Space.check(models.map(spacedOf), where)
  const all = models.map((model) => model[TypeId])
  const { limits, space } = all.reduce<Pick<About, "limits" | "space">>(
    (a, b) => ({
      limits: Parts.narrower(a.limits, b.limits),
      space: a.space
    }),
    all[0] as About
  )
  const asks = all.map(({ ask }) => ask)
  return compose({
    name,
    ask: Members.asking(members, Members.queuesOf(members), asks),
    about: { ...Members.about(members, all), limits, space }
  })
}

/**
 * One model of several of the same space. Each part goes to a member that takes traffic, chosen by the strategy. If the
 * member's breaker refuses, the same attempt asks the next member. Any other error is the result of the attempt; a
 * `retry` outside chooses again.
 *
 * Throws a `RangeError` that names the option, the value found and the values expected; also for members of two spaces.
 *
 * @since 0.2.0
 * @category combinators
 */
export const balance = (members: ReadonlyArray<BalanceMember>, options: BalanceOptions = {}): EmbeddingModel => {
  const where = "EmbeddingModel.balance"
  const given = members.map((member) => (isEmbeddingModel(member) ? { model: member } : member))
  const models = given.map(({ model }) => model)
  const all = given.map(({ model, ...member }) => ({ ...member, ...namedOf(model) }))
  return several(
    models,
    Balanced.balanced(all, { ...options, ...affinityOf(options) }, requests, where),
    [...new Set(models.map(({ name }) => name))].join(" + "),
    where
  )
}

/**
 * One model over the keys of a pool: `make` builds the model of each key. If a key is refused, out of credit or over
 * its limit, it is left out and the same attempt goes on with another key at once.
 *
 * @since 0.2.0
 * @category constructors
 */
export const pooled = <E, R>(
  pool: KeyPool.KeyPool,
  make: (apiKey: Redacted.Redacted) => Effect.Effect<EmbeddingModel, E, R>,
  options: Pick<BalanceOptions, "affinity"> = {}
): Effect.Effect<EmbeddingModel, E, R> =>
  Effect.map(
    Effect.forEach(pool.keys, ({ apiKey }) => make(apiKey)),
    (models) =>
      several(
        models,
        Balanced.pooled(pool, models.map(namedOf), affinityOf(options), requests),
        (models[0] as EmbeddingModel).name,
        "EmbeddingModel.pooled"
      )
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
