/**
 * Traffic policies for models: a circuit breaker that counts every attempt, a pacer that keeps the provider's rate
 * limits, and a hedge that asks a second model when the first token is late.
 *
 * @since 0.2.0
 */

import * as Cause from "effect/Cause"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { dual } from "effect/Function"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as About from "../calls/About.js"
import * as Attempt from "../calls/Attempt.js"
import * as Call from "../calls/Call.js"
import type { LlmError } from "../errors/LlmError.js"
import * as CircuitBreaker from "../policies/circuit/CircuitBreaker.js"
import * as Deadline from "../policies/Deadline.js"
import * as FiberInternals from "../policies/FiberInternals.js"
import * as Hedge from "../policies/Hedge.js"
import * as Immediate from "../policies/Immediate.js"
import * as Pacer from "../policies/pacer/Pacer.js"
import * as PacerRequest from "../policies/pacer/PacerRequest.js"
import { CurrentPlace, type Place } from "../policies/pacer/RateLimits.js"
import * as Tokens from "../policies/spend/Tokens.js"
import * as Times from "../policies/Times.js"
import type * as Chat from "./Chat.js"
import * as Fallback from "./Fallback.js"
import { type ChatModel, compose, isChatModel, partsOf, TypeId, usageOf } from "./Model.js"
import * as ChatStream from "./stream/ChatStream.js"
import * as Hedging from "./stream/Hedging.js"
import * as Layers from "./stream/Layers.js"
import * as Pull from "./stream/Pull.js"
import * as Source from "./stream/Source.js"

/**
 * The options of {@link breaker} and {@link pace}.
 *
 * @since 0.2.0
 * @category options
 */
export interface KeyOptions {
  /** Models with the same key share one circuit or one queue. Default: {@link keyOf}, the model's first target. */
  readonly key?: string | undefined
}

/**
 * The default key of a model's circuit and queue: provider and base URL, model name, and a hash of the API key.
 *
 * @since 0.2.0
 * @category getters
 */
export const keyOf = (model: ChatModel): string => About.keyOf(model[TypeId])

export const breaker: {
  /**
   * Asks the target only while its circuit lets the attempt through, and records how each attempt ended. While the
   * circuit is open, an attempt goes to the fallback, or waits in order; see `CircuitBreaker`. Put it inside the retry,
   * and outside the pacer and the timeout.
   *
   * @since 0.2.0
   * @category combinators
   */
  (breaker: CircuitBreaker.CircuitBreaker, options?: KeyOptions): (self: ChatModel) => ChatModel
  /** Data first: asks the target only while its circuit lets the attempt through. */
  (self: ChatModel, breaker: CircuitBreaker.CircuitBreaker, options?: KeyOptions): ChatModel
} = dual(
  (args) => isChatModel(args[0]),
  (self: ChatModel, breaker: CircuitBreaker.CircuitBreaker, options?: KeyOptions): ChatModel => {
    const about = self[TypeId]
    const { model, provider } = about.targets[0]
    const ask = { key: options?.key ?? keyOf(self), provider, model }
    /** A reader that leaves has left the deadline too, so both are those of the admission. */
    const recordWith = (admission: CircuitBreaker.Admission): ChatStream.OnEnd => {
      const opened = FiberInternals.current()
      const admitted = { at: Immediate.nowOf(opened), limit: Deadline.of(opened.currentContext) }
      return ({ exit }) =>
        Effect.flatMap(Times.current, (now) =>
          breaker.record(
            ask.key,
            admission,
            CircuitBreaker.classify(exit, now, admitted.limit),
            Option.getOrUndefined(Exit.isFailure(exit) ? Cause.failureOption(exit.cause) : Option.none()),
            admitted
          )
        )
    }
    return compose({
      ...partsOf(self),
      generate: (request) => breaker.execute(about.generate(request), ask),
      source: (request) =>
        ChatStream.guarded(about.open(request), (restore) => Effect.map(breaker.admit(ask, restore), recordWith), true),
      about: {
        ...about,
        readyAt: () => Math.max(about.readyAt(), breaker.readyAt(ask.key)),
        soonestAt: () => Math.max(about.soonestAt(), breaker.soonestAt(ask.key))
      }
    })
  }
)

export const pace: {
  /**
   * Starts attempts as fast as the provider's rate limits allow, first in first out. It learns the limits from the
   * headers and the usage of every response. Put it around the timeout, and inside the breaker and the retry.
   *
   * Throws a `RangeError` around a model with several API keys, as `ChatModel.pooled` makes it: each key has limits of
   * its own, so each member needs its own `pace`. With the option `key` the keys share one queue.
   *
   * @since 0.2.0
   * @category combinators
   */
  (pacer: Pacer.Pacer, options?: KeyOptions): (self: ChatModel) => ChatModel
  /** Data first: starts attempts as fast as the provider's rate limits allow. */
  (self: ChatModel, pacer: Pacer.Pacer, options?: KeyOptions): ChatModel
} = dual(
  (args) => isChatModel(args[0]),
  (self: ChatModel, pacer: Pacer.Pacer, options?: KeyOptions): ChatModel => {
    const about = self[TypeId]
    const { model, provider } = about.targets[0]
    if (options?.key === undefined && About.hasManyKeys(about)) {
      throw new RangeError(
        `ChatModel.pace: found a model with several API keys at ${provider}, ` +
          "expected one key, whose limits the pacer keeps. " +
          "Pace each member: ChatModel.pooled(pool, (apiKey) => Effect.map(make(apiKey), ChatModel.pace(pacer))). " +
          "If the keys share one account's limits, say so with the option `key`"
      )
    }
    const key = options?.key ?? keyOf(self)
    const ask = (request: Chat.Request, context: Context.Context<never>) => ({
      key,
      provider,
      model,
      inputTokens: Tokens.glance(request),
      outputTokens: request.maxTokens,
      place: Call.peek(context, Call.CurrentCall),
      usage: usageOf
    })
    return compose({
      ...partsOf(self),
      generate: (request) =>
        Effect.withFiberRuntime((fiber) => pacer.pace(about.generate(request), ask(request, fiber.currentContext))),
      source: (request) =>
        Source.make((opening) => {
          let permit: Pacer.Permit | undefined
          let paused = 0
          // The stream is opened when it has its place.
          const place: Place = {
            get queuedMillis() {
              return permit?.queuedMillis ?? 0
            },
            observe: (headers, now) => permit?.observe(headers, now)
          }
          const source = Layers.provided(about.open(request), CurrentPlace, place)
          /** Only the pause after an error is jittered, so only an error draws a number. */
          const settle = (ending: Pacer.Ending): Effect.Effect<void> => {
            const settled = Effect.zipWith(
              ending.error === undefined ? Effect.succeed(0) : Random.next,
              Times.current,
              (random, now) => {
                paused = permit?.settle(ending, now, random) ?? 0
              }
            )
            if (ending.error === undefined || permit?.pause === undefined) return settled
            return Effect.map(Effect.zipRight(settled, Effect.suspend(permit.pause)), (millis) => {
              paused = millis
            })
          }
          const acquired = pacer.acquire(ask(request, opening.context), (given) => {
            permit = given
          })
          const guarded = ChatStream.guarded(source, (restore) =>
            Effect.matchCauseEffect(restore(acquired), {
              onFailure: (cause) => Effect.zipRight(settle({ sent: false }), Effect.failCause(cause)),
              onSuccess: () => Effect.succeed(({ exit, usage }) => settle(PacerRequest.endingOf(exit, () => usage)))
            })
          )
          const hinted = Option.map((error: LlmError) => Pacer.hinted(error, paused))
          return Source.open(
            Source.map(guarded, (pull) => Pull.mapError(pull, hinted)),
            opening
          )
        }),
      about: {
        ...about,
        readyAt: () => Math.max(about.readyAt(), pacer.readyAt(key)),
        soonestAt: () => Math.max(about.soonestAt(), pacer.readyAt(key))
      }
    })
  }
)

export const hedge: {
  /**
   * If the first token of a stream is late, asks `that` too; the first of the two to answer wins. See `Hedge` for the
   * delay and the ratio.
   *
   * A hedge draws on the retry budget of `that` model's provider and key group. No hedge is sent while either model
   * takes no traffic, if `that` lacks a capability that the request needs, or if the request is not idempotent.
   * `generate` asks the first model only, because a whole answer has no first token to wait for.
   *
   * @since 0.2.0
   * @category combinators
   */
  (that: ChatModel, options?: Hedge.Options): (self: ChatModel) => ChatModel
  /** Data first: if the first token of a stream is late, asks `that` too. */
  (self: ChatModel, that: ChatModel, options?: Hedge.Options): ChatModel
} = dual(
  (args) => isChatModel(args[1]),
  (self: ChatModel, that: ChatModel, options?: Hedge.Options): ChatModel => {
    const first = self[TypeId]
    const second = that[TypeId]
    const able = Fallback.targetsOf(second.targets)
    const pair: Hedging.Options = {
      hedge: Hedge.make(options),
      group: Attempt.groupOf(second.targets[0]),
      healthy: (now) => first.readyAt() <= now && second.readyAt() <= now
    }
    return compose({
      ...partsOf(self),
      source: (request) =>
        Fallback.cannot(able, request) === undefined
          ? Hedging.source(first.open, second.open, request, pair)
          : first.open(request),
      about: { ...first, targets: [...first.targets, ...second.targets] }
    })
  }
)
