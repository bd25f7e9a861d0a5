/**
 * The whole stack in the right order, with defaults that hold.
 *
 * {@link make} builds one model of one or several targets, {@link around} does the same for any effect that is no chat.
 * From the outside in: deadline, fallback, retry with its budget, circuit breaker, pacer, timeout of an attempt.
 *
 * - While its only target is down, a call waits in order and is answered when the target is back, as long as its
 *   deadline allows. With several targets it goes to the next one that takes traffic, at once.
 * - No attempt hangs: it takes 10 minutes at most, as with the providers' own SDKs.
 * - The breaker and the pacer of the context are used, so that all models of an application share what they know;
 *   without them each model has its own. `CircuitBreaker.layer` and `Pacer.layer` set their options.
 *
 * The combinators of `ChatModel` and `Resilience` remain for every other order.
 *
 * @example
 * import { Config, Effect } from "effect"
 * import { Anthropic, Chat, OpenAi, Resilient } from "effect-steadfast"
 *
 * const program = Effect.gen(function* () {
 *   const gpt = yield* OpenAi.make({ model: "gpt-4o-mini", apiKey: Config.redacted("OPENAI_API_KEY") })
 *   const claude = yield* Anthropic.make({ model: "claude-haiku-4-5", apiKey: Config.redacted("ANTHROPIC_API_KEY") })
 *   const assistant = yield* Resilient.make([gpt, claude], { deadline: "90 seconds" })
 *   return yield* assistant.generate(Chat.prompt("Hello"))
 * })
 *
 * @since 0.2.0
 */

import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { identity } from "effect/Function"
import * as Option from "effect/Option"
import type * as Schedule from "effect/Schedule"
import * as About from "../calls/About.js"
import * as Attempt from "../calls/Attempt.js"
import * as Call from "../calls/Call.js"
import { targetName } from "../calls/CallRecord.js"
import * as Resilience from "../calls/Resilience.js"
import type * as LlmError from "../errors/LlmError.js"
import * as CircuitBreaker from "../policies/circuit/CircuitBreaker.js"
import * as PolicyOptions from "../policies/Options.js"
import * as Pacer from "../policies/pacer/Pacer.js"
import * as RetryPolicy from "../policies/retry/RetryPolicy.js"
import * as ChatModel from "./ChatModel.js"

// -----------------------------------------------------------------------------
// options
// -----------------------------------------------------------------------------

/**
 * The options that {@link make} and {@link around} share.
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
 * The options of {@link make}.
 *
 * @since 0.2.0
 * @category options
 */
export interface Options extends CommonOptions, ChatModel.FallbackOptions {
  /** The time limits of an attempt. Default: 10 minutes for the whole attempt, as the SDKs of OpenAI and Anthropic. */
  readonly timeout?: ChatModel.Timeouts | undefined
  /** The name in logs, spans and records. Default: the names of the targets. */
  readonly name?: string | undefined
}

/**
 * The options of {@link around}.
 *
 * @since 0.2.0
 * @category options
 */
export interface AroundOptions extends CommonOptions, Attempt.Target {
  /** The longest time of an attempt. Default 10 minutes. */
  readonly timeout?: Duration.DurationInput | undefined
  /** The tokens that an attempt takes at most, for limits of tokens. Default: the pacer's own guess. */
  readonly inputTokens?: number | undefined
}

/** The default time of an attempt: that of the SDKs of OpenAI and Anthropic. */
const attemptTime = "10 minutes"

/**
 * The default at the last target. Where every fifth request fails, 4 attempts lose 1 call in 625, and 8 attempts 1 in
 * 390,625, with 1.250 requests a call instead of 1.248.
 */
const lastPolicy = RetryPolicy.make({ maxAttempts: 8 })

const length = PolicyOptions.duration()

// -----------------------------------------------------------------------------
// constructors
// -----------------------------------------------------------------------------

/** The policies that all targets share: those of the context, or new ones. */
const shared = Effect.all({
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
 * One model of one or several targets, the first choice first.
 *
 * Throws a `RangeError` that names the option, the value found and the value expected; also if there is no target.
 *
 * @since 0.2.0
 * @category constructors
 */
export const make = (
  targets: ChatModel.ChatModel | ReadonlyArray<ChatModel.ChatModel>,
  options: Options = {}
): Effect.Effect<ChatModel.ChatModel> => {
  const { deadline, mode, name, retry, timeout, when } = options
  const models = ChatModel.isChatModel(targets) ? [targets] : targets
  if (models.length === 0) throw PolicyOptions.wrong("Resilient: targets", models, "at least one")
  const limited = models.map(ChatModel.timeout({ attempt: attemptTime, ...timeout }))
  return Effect.map(shared, ({ breaker, pacer }) => {
    const held = limited.map((model, index) =>
      // The models of a pool's keys are paced one by one, inside of it.
      (About.hasManyKeys(model[ChatModel.TypeId]) ? model : ChatModel.pace(model, pacer)).pipe(
        ChatModel.breaker(breaker),
        ChatModel.retry(retry ?? (index < limited.length - 1 ? RetryPolicy.standard : lastPolicy), { mode })
      )
    )
    const all = held.reduce((before, next) => ChatModel.orElse(before, next, { mode, when }))
    const whole = deadline === undefined ? all : ChatModel.deadline(all, deadline)
    return name === undefined ? whole : ChatModel.named(whole, name)
  })
}

/**
 * The same for any effect that asks one target and fails with `LlmError`, such as an embedding or a reranking: a
 * function that puts the whole stack around it. Each run is one call with one record, each request one attempt.
 *
 * @example
 * import { Effect } from "effect"
 * import { type LlmError, Resilient } from "effect-steadfast"
 *
 * declare const rerank: (query: string) => Effect.Effect<ReadonlyArray<number>, LlmError.LlmError>
 *
 * const program = Effect.gen(function* () {
 *   const held = yield* Resilient.around({ provider: "cohere", model: "rerank-v3.5", deadline: "30 seconds" })
 *   return yield* held(rerank("hello"))
 * })
 *
 * @since 0.2.0
 * @category constructors
 */
export const around = (
  options: AroundOptions
): Effect.Effect<
  <A, E extends LlmError.LlmError, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E | LlmError.LlmError, R>
> => {
  const { deadline, inputTokens, retry = lastPolicy, timeout = attemptTime, ...target } = options
  const { model, provider } = target
  const key = [Attempt.groupOf(target), model, target.key].filter((part) => part !== undefined).join(" ")
  const ask = { key, provider, model }
  const group = () => Attempt.groupOf(target)
  const limited = Resilience.timeout(length.read(timeout, "Resilient: timeout"), target)
  const whole =
    deadline === undefined ? identity : Resilience.deadline(length.read(deadline, "Resilient: deadline"), target)
  return Effect.map(
    shared,
    ({ breaker, pacer }) =>
      <A, E extends LlmError.LlmError, R>(self: Effect.Effect<A, E, R>) => {
        const held: Effect.Effect<A, E | LlmError.LlmError, R> = Attempt.run(target, () => self).pipe(
          limited,
          pacer.pace({ ...ask, inputTokens }),
          breaker.execute(ask),
          Resilience.retry(retry, { group })
        )
        return Call.around(whole(held), targetName(target))
      }
  )
}
