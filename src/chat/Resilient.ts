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
import * as About from "../calls/About.js"
import * as Attempt from "../calls/Attempt.js"
import * as Call from "../calls/Call.js"
import { targetName } from "../calls/CallRecord.js"
import * as Resilience from "../calls/Resilience.js"
import * as Stack from "../calls/Stack.js"
import type * as LlmError from "../errors/LlmError.js"
import * as PolicyOptions from "../policies/Options.js"
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
export interface CommonOptions extends Stack.CommonOptions {}

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

const length = PolicyOptions.duration()

// -----------------------------------------------------------------------------
// constructors
// -----------------------------------------------------------------------------

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
  const { mode, timeout, when } = options
  return Stack.make<ChatModel.ChatModel>(
    {
      timeout: ChatModel.timeout({ attempt: Stack.attemptTime, ...timeout }),
      pace: ChatModel.pace,
      breaker: ChatModel.breaker,
      retry: (self, policy) => ChatModel.retry(self, policy, { mode }),
      orElse: (self, that) => ChatModel.orElse(self, that, { mode, when }),
      deadline: ChatModel.deadline,
      named: ChatModel.named,
      hasManyKeys: (model) => About.hasManyKeys(model[ChatModel.TypeId])
    },
    ChatModel.isChatModel(targets) ? [targets] : targets,
    options,
    "Resilient"
  )
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
  const { deadline, inputTokens, retry = Stack.lastPolicy, timeout = Stack.attemptTime, ...target } = options
  const { model, provider } = target
  const key = [Attempt.groupOf(target), model, target.key].filter((part) => part !== undefined).join(" ")
  const ask = { key, provider, model }
  const group = () => Attempt.groupOf(target)
  const limited = Resilience.timeout(length.read(timeout, "Resilient: timeout"), target)
  const whole =
    deadline === undefined ? identity : Resilience.deadline(length.read(deadline, "Resilient: deadline"), target)
  return Effect.map(
    Stack.shared,
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
