/**
 * The policies of traffic over models: a circuit breaker that hears every attempt, and a pacer that lets them through as
 * the provider's limits allow.
 *
 * @since 0.2.0
 */
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import * as Attempt from "../calls/Attempt.js"
import * as CircuitBreaker from "../policies/CircuitBreaker.js"
import * as ChatStream from "./ChatStream.js"
import { type ChatModel, compose, isChatModel, TypeId } from "./Model.js"

/**
 * `key` says who shares a circuit or a queue. Default: {@link keyOf}, the target that the model asks first.
 *
 * @since 0.2.0
 * @category options
 */
export interface KeyOptions {
  readonly key?: string | undefined
}

/**
 * The key of a model's circuit and queue unless it is given another: provider and base URL, model, and API key by its hash.
 *
 * @since 0.2.0
 * @category getters
 */
export const keyOf = (model: ChatModel): string => {
  const [target] = model[TypeId].targets
  const name = `${Attempt.groupOf(target)} ${target.model}`
  return target.key === undefined ? name : `${name} #${target.key}`
}

/**
 * Refuses attempts at a target that is known to fail, with `CircuitOpen`, and tells the breaker how each attempt ended. Put
 * it inside the retry and outside of the pacer and the timeout.
 *
 * @since 0.2.0
 * @category combinators
 */
export const breaker: {
  (breaker: CircuitBreaker.CircuitBreaker, options?: KeyOptions): (self: ChatModel) => ChatModel
  (self: ChatModel, breaker: CircuitBreaker.CircuitBreaker, options?: KeyOptions): ChatModel
} = dual(
  (args) => isChatModel(args[0]),
  (self: ChatModel, breaker: CircuitBreaker.CircuitBreaker, options?: KeyOptions): ChatModel => {
    const about = self[TypeId]
    const { model, provider } = about.targets[0]
    const ask = { key: options?.key ?? keyOf(self), provider, model }
    return compose({
      name: self.name,
      generate: (request) => breaker.execute(self.generate(request), ask),
      source: (request) =>
        ChatStream.guarded(about.open(request), (entered) =>
          Effect.uninterruptible(
            Effect.map(breaker.admit(ask), (admission) =>
              entered(({ exit }) =>
                Effect.flatMap(Effect.clock, (clock) => {
                  const outcome = CircuitBreaker.classify(exit, clock.unsafeCurrentTimeMillis())
                  return breaker.record(ask.key, admission, outcome)
                })
              )
            )
          )
        ),
      about: { ...about, readyAt: () => Math.max(about.readyAt(), breaker.readyAt(ask.key)) }
    })
  }
)
