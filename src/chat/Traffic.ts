/**
 * The policies of traffic over models: a circuit breaker that hears every attempt, a pacer that lets them through as
 * the provider's limits allow, and a hedge that asks another where the first is late.
 *
 * @since 0.2.0
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import { dual } from "effect/Function"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Attempt from "../calls/Attempt.js"
import * as Call from "../calls/Call.js"
import * as CircuitBreaker from "../policies/circuit/CircuitBreaker.js"
import * as Deadline from "../policies/Deadline.js"
import * as Hedge from "../policies/Hedge.js"
import * as Pacer from "../policies/pacer/Pacer.js"
import * as PacerRequest from "../policies/pacer/PacerRequest.js"
import { CurrentPlace, type Place } from "../policies/pacer/RateLimits.js"
import * as Tokens from "../policies/spend/Tokens.js"
import type * as Chat from "./Chat.js"
import * as Fallback from "./Fallback.js"
import { type ChatModel, compose, isChatModel, TypeId } from "./Model.js"
import * as ChatStream from "./stream/ChatStream.js"
import * as Hedging from "./stream/Hedging.js"

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
 * The key of a model's circuit and queue unless it is given another: provider and base URL, model, and API key by its
 * hash.
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
 * Refuses attempts at a target that is known to fail, with `CircuitOpen`, and tells the breaker how each attempt ended.
 * Put it inside the retry and outside of the pacer and the timeout.
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
    const leave =
      (admission: CircuitBreaker.Admission) =>
      ({ exit }: ChatStream.Ended): Effect.Effect<void> =>
        Effect.zipWith(Clock.currentTimeMillis, Deadline.Deadline, (now, limit) =>
          CircuitBreaker.classify(exit, now, limit)
        ).pipe(Effect.flatMap((outcome) => breaker.record(ask.key, admission, outcome)))
    return compose({
      name: self.name,
      generate: (request) => breaker.execute(about.generate(request), ask),
      source: (request) =>
        ChatStream.guarded(about.open(request), (entered) =>
          Effect.uninterruptible(Effect.map(breaker.admit(ask), (admission) => entered(leave(admission))))
        ),
      about: { ...about, readyAt: () => Math.max(about.readyAt(), breaker.readyAt(ask.key)) }
    })
  }
)

/**
 * Lets attempts through in the order in which their calls came, as the limits of the provider allow. It learns from the
 * headers and the usage of every response. Put it around the timeout, and inside of the breaker and the retry.
 *
 * @since 0.2.0
 * @category combinators
 */
export const pace: {
  (pacer: Pacer.Pacer, options?: KeyOptions): (self: ChatModel) => ChatModel
  (self: ChatModel, pacer: Pacer.Pacer, options?: KeyOptions): ChatModel
} = dual(
  (args) => isChatModel(args[0]),
  (self: ChatModel, pacer: Pacer.Pacer, options?: KeyOptions): ChatModel => {
    const about = self[TypeId]
    const { model, provider } = about.targets[0]
    const key = options?.key ?? keyOf(self)
    const { readyAt } = about
    const ask = (request: Chat.Request, fiber: Fiber.RuntimeFiber<unknown, unknown>) => ({
      key,
      provider,
      model,
      inputTokens: Tokens.glance(request),
      outputTokens: request.maxTokens,
      place: Call.peek(fiber.currentContext, Call.CurrentCall),
      usage: usageOf
    })
    return compose({
      name: self.name,
      generate: (request) =>
        Effect.withFiberRuntime((fiber) => pacer.pace(about.generate(request), ask(request, fiber))),
      source: (request) =>
        Effect.withFiberRuntime((fiber) => {
          let permit: Pacer.Permit | undefined
          let paused = 0
          // The stream is opened when it has its place.
          const place: Place = {
            get queuedMillis() {
              return permit?.queuedMillis ?? 0
            },
            observe: (headers, now) => permit?.observe(headers, now)
          }
          const source = ChatStream.provided(about.open(request), CurrentPlace, place)
          /** Only the pause after an error is jittered, so only an error draws a number. */
          const settle = (ending: Pacer.Ending): Effect.Effect<void> =>
            Effect.zipWith(
              ending.error === undefined ? Effect.succeed(0) : Random.next,
              Clock.currentTimeMillis,
              (random, now) => {
                paused = permit?.settle(ending, now, random) ?? 0
              }
            )
          const guarded = ChatStream.guarded(source, (entered) =>
            Effect.uninterruptibleMask((restore) => {
              const acquired = pacer.acquire(ask(request, fiber), (given) => {
                permit = given
              })
              return Effect.matchCauseEffect(restore(acquired), {
                onFailure: (cause) => Effect.zipRight(settle({ sent: false }), Effect.failCause(cause)),
                onSuccess: () =>
                  Effect.sync(() => entered(({ exit, usage }) => settle(PacerRequest.endingOf(exit, () => usage))))
              })
            })
          )
          return Effect.map(guarded, Effect.mapError(Option.map((error) => Pacer.hinted(error, paused))))
        }),
      about: { ...about, readyAt: () => Math.max(readyAt(), pacer.readyAt(key)) }
    })
  }
)

const usageOf = (response: Chat.Response): Chat.Usage | undefined => response.usage

/**
 * Asks another model too where the first content of a stream is late, and reads on from whichever speaks first; see
 * `Hedging` and `Hedge`. A hedge draws on the retry budget of the other model's provider and key group. There is none
 * while either takes no traffic, where the other cannot do what the request needs, and for requests that may not run
 * twice.
 *
 * `generate` is that of the first model: a whole answer has no first token to wait for.
 *
 * @since 0.2.0
 * @category combinators
 */
export const hedge: {
  (that: ChatModel, options?: Hedge.Options): (self: ChatModel) => ChatModel
  (self: ChatModel, that: ChatModel, options?: Hedge.Options): ChatModel
} = dual(
  (args) => isChatModel(args[1]),
  (self: ChatModel, that: ChatModel, options?: Hedge.Options): ChatModel => {
    const first = self[TypeId]
    const second = that[TypeId]
    const known: Hedging.Options = {
      hedge: Hedge.make(options),
      group: Attempt.groupOf(second.targets[0]),
      healthy: (now) => first.readyAt() <= now && second.readyAt() <= now
    }
    return compose({
      name: self.name,
      generate: first.generate,
      source: (request) =>
        Fallback.cannot(second.targets, request) === undefined
          ? Hedging.source(first.open, second.open, request, known)
          : first.open(request),
      about: { ...first, targets: [...first.targets, ...second.targets] }
    })
  }
)
