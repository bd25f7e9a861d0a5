/**
 * The policies of traffic over models: a circuit breaker that hears every attempt, a pacer that lets them through as the
 * provider's limits allow, and a hedge that asks another where the first is late.
 *
 * @since 0.2.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import { dual } from "effect/Function"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Attempt from "../calls/Attempt.js"
import * as Call from "../calls/Call.js"
import type { LlmError } from "../errors/LlmError.js"
import * as CircuitBreaker from "../policies/CircuitBreaker.js"
import * as Deadline from "../policies/Deadline.js"
import * as Hedge from "../policies/Hedge.js"
import type { Limits } from "../policies/Limits.js"
import * as Pacer from "../policies/Pacer.js"
import * as Tokens from "../policies/Tokens.js"
import type * as Chat from "./Chat.js"
import * as ChatStream from "./ChatStream.js"
import * as Fallback from "./Fallback.js"
import * as Hedging from "./Hedging.js"
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
                Effect.withFiberRuntime((fiber) => {
                  const limit = Context.get(fiber.currentContext, Deadline.Deadline)
                  const now = clockOf(fiber).unsafeCurrentTimeMillis()
                  return breaker.record(ask.key, admission, CircuitBreaker.classify(exit, now, limit))
                })
              )
            )
          )
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
    const ask = (request: Chat.Request, fiber: Fiber.RuntimeFiber<unknown, unknown>): Pacer.Ask => ({
      key,
      provider,
      model,
      inputTokens: Tokens.glance(request),
      outputTokens: request.maxTokens,
      place: Call.peek(fiber.currentContext, Call.CurrentCall)
    })
    return compose({
      name: self.name,
      generate: (request) =>
        Effect.uninterruptibleMask((restore) =>
          Effect.withFiberRuntime((fiber) => {
            const visit = makeVisit(clockOf(fiber))
            return Effect.matchCauseEffect(restore(pacer.acquire(ask(request, fiber), visit.granted)), {
              onFailure: (cause) => {
                visit.unused()
                return Effect.failCause(cause)
              },
              onSuccess: () =>
                Call.under(
                  () => ({
                    context: Context.add(fiber.currentContext, Attempt.LimitsListener, visit.observe),
                    close: (exit) => visit.end(Pacer.endOf(exit as Exit.Exit<Chat.Response, LlmError>, usageOf))
                  }),
                  () => restore(self.generate(request))
                ).pipe(Effect.mapError(visit.hinted))
            })
          })
        ),
      source: (request) =>
        Effect.withFiberRuntime((fiber) => {
          const visit = makeVisit(clockOf(fiber))
          const source = ChatStream.provided(about.open(request), Attempt.LimitsListener, visit.observe)
          const guarded = ChatStream.guarded(source, (entered) =>
            Effect.uninterruptibleMask((restore) =>
              Effect.matchCauseEffect(restore(pacer.acquire(ask(request, fiber), visit.granted)), {
                onFailure: (cause) => {
                  visit.unused()
                  return Effect.failCause(cause)
                },
                onSuccess: () =>
                  Effect.sync(() =>
                    entered(({ exit, usage }) => visit.end(Pacer.endOf(exit, () => usage)) ?? Effect.void)
                  )
              })
            )
          )
          return Effect.map(guarded, Effect.mapError(Option.map(visit.hinted)))
        }),
      about: { ...about, readyAt: () => Math.max(about.readyAt(), pacer.readyAt(key)) }
    })
  }
)

const clockOf = (fiber: Fiber.RuntimeFiber<unknown, unknown>): Clock.Clock =>
  Context.get(fiber.currentDefaultServices, Clock.Clock)

const usageOf = (response: Chat.Response): Chat.Usage | undefined => response.usage

/** One call at the pacer, from its place to its end. */
const makeVisit = (clock: Clock.Clock) => {
  let permit: Pacer.Permit | undefined
  let paused = 0
  const settle = (end: Pacer.End, random: number): void => {
    paused = permit?.settle(end, clock.unsafeCurrentTimeMillis(), random) ?? 0
  }
  return {
    hinted: (error: LlmError): LlmError => Pacer.hinted(error, paused),
    granted: (given: Pacer.Permit): void => {
      permit = given
    },
    observe: (limits: Limits, now: number): void => permit?.observe(limits, now),
    /** A place that came the moment its call was interrupted. */
    unused: (): void => settle({ sent: false }, 0),
    /** Chance has a say only in how long a refusal pauses. */
    end: (end: Pacer.End): Effect.Effect<void> | undefined => {
      if (end.error !== undefined) return Effect.map(Random.next, (random) => settle(end, random))
      settle(end, 0)
      return undefined
    }
  }
}

/**
 * Asks another model too where the first content of a stream is late, and reads on from whichever speaks first; see
 * `Hedging` and `Hedge`. A hedge draws on the retry budget of the other model's provider and key group. There is none
 * while either takes no traffic, where the other cannot do what the request needs, and for requests that may not run twice.
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
      generate: self.generate,
      source: (request) =>
        Fallback.cannot(second.targets, request) === undefined
          ? Hedging.source(first.open, second.open, request, known)
          : first.open(request),
      about: { ...first, targets: [...first.targets, ...second.targets] }
    })
  }
)
