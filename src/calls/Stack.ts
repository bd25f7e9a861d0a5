/**
 * The whole stack of policies in the right order, with its defaults, for models of any kind.
 *
 * `Resilient` puts it around chat models and around single effects, `EmbeddingModel.resilient` around embedding models.
 * From the outside in: deadline, fallback, retry with its budget, circuit breaker, pacer, timeout of an attempt.
 *
 * @since 0.2.0
 */

import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Schedule from "effect/Schedule"
import type * as LlmError from "../errors/LlmError.js"
import * as CircuitBreaker from "../policies/circuit/CircuitBreaker.js"
import * as PolicyOptions from "../policies/Options.js"
import * as Pacer from "../policies/pacer/Pacer.js"
import * as RetryPolicy from "../policies/retry/RetryPolicy.js"

// -----------------------------------------------------------------------------
// options
// -----------------------------------------------------------------------------

/**
 * The options of every stack.
 *
 * @since 0.2.0
 * @category options
 */
export interface CommonOptions {
  /** The longest time of a whole call, all waits included. Default: none; then a call waits 60 seconds for a target. */
  readonly deadline?: Duration.DurationInput | undefined
  /**
   * When an attempt is tried again: a policy, or any schedule over `LlmError`. Default: `RetryPolicy.standard`, but up
   * to 8 attempts at the last target, after which there is no other.
   */
  readonly retry?: Schedule.Schedule<unknown, LlmError.LlmError> | undefined
}

/**
 * The options of a stack around models.
 *
 * @since 0.2.0
 * @category options
 */
export interface Options extends CommonOptions {
  /** The name in logs, spans and records. Default: the names of the targets. */
  readonly name?: string | undefined
}

/**
 * The combinators of a kind of model.
 *
 * @since 0.2.0
 * @category models
 */
export interface Algebra<M> {
  readonly timeout: (self: M) => M
  readonly pace: (self: M, pacer: Pacer.Pacer) => M
  readonly breaker: (self: M, breaker: CircuitBreaker.CircuitBreaker) => M
  readonly retry: (self: M, policy: Schedule.Schedule<unknown, LlmError.LlmError>) => M
  readonly orElse: (self: M, that: M) => M
  readonly deadline: (self: M, duration: Duration.DurationInput) => M
  readonly named: (self: M, name: string) => M
  /** Whether a model has several keys: its members are then paced one by one, inside of it. */
  readonly hasManyKeys: (model: M) => boolean
}

/**
 * The default time of an attempt: that of the SDKs of OpenAI and Anthropic.
 *
 * @since 0.2.0
 * @category constants
 */
export const attemptTime = "10 minutes"

/**
 * The default at the last target. Where every fifth request fails, 4 attempts lose 1 call in 625, and 8 attempts 1 in
 * 390,625, with 1.250 requests a call instead of 1.248.
 *
 * @since 0.2.0
 * @category constants
 */
export const lastPolicy = RetryPolicy.make({ maxAttempts: 8 })

// -----------------------------------------------------------------------------
// constructors
// -----------------------------------------------------------------------------

/**
 * The policies that all targets share: those of the context, or new ones.
 *
 * @since 0.2.0
 * @category constructors
 */
export const shared = Effect.all({
  breaker: Effect.flatMap(
    Effect.serviceOption(CircuitBreaker.CircuitBreaker),
    Option.match({ onNone: () => CircuitBreaker.make(), onSome: Effect.succeed })
  ),
  pacer: Effect.flatMap(
    Effect.serviceOption(Pacer.Pacer),
    Option.match({ onNone: () => Pacer.make(), onSome: Effect.succeed })
  )
})

/**
 * One model of one or several targets, the first choice first. Throws a `RangeError` if there is no target; `where`
 * names the caller.
 *
 * @since 0.2.0
 * @category constructors
 */
export const make = <M>(
  algebra: Algebra<M>,
  models: ReadonlyArray<M>,
  { deadline, name, retry }: Options,
  where: string
): Effect.Effect<M> => {
  if (models.length === 0) throw PolicyOptions.wrong(`${where}: targets`, models, "at least one")
  const limited = models.map((model) => algebra.timeout(model))
  return Effect.map(shared, ({ breaker, pacer }) => {
    const held = limited.map((model, index) => {
      const paced = algebra.hasManyKeys(model) ? model : algebra.pace(model, pacer)
      const policy = retry ?? (index < limited.length - 1 ? RetryPolicy.standard : lastPolicy)
      return algebra.retry(algebra.breaker(paced, breaker), policy)
    })
    const all = held.reduce((before, next) => algebra.orElse(before, next))
    const whole = deadline === undefined ? all : algebra.deadline(all, deadline)
    return name === undefined ? whole : algebra.named(whole, name)
  })
}
