/**
 * Models and their combinators: a composition of models is a model.
 *
 * A leaf ({@link make}) is one target; every request to it is one attempt. {@link retry}, {@link timeout},
 * {@link deadline} and {@link orElse} take models and return models, so a composition can be named, put into a layer,
 * served and streamed like a leaf. For `generate` each applies the combinator of `Resilience`. For `stream` it adds the
 * rules of `Replay`: in the default mode `strict`, a stream is not replayed after its first content, and the delivered
 * events are a prefix of exactly one attempt.
 *
 * Gotchas: the first combinator of a pipe is the innermost. Put `timeout` before `retry` to limit each attempt, and
 * `deadline` last to limit everything together.
 *
 * @example
 * import { ChatModel, RetryPolicy } from "effect-steadfast"
 *
 * declare const gpt: ChatModel.ChatModel
 * declare const claude: ChatModel.ChatModel
 *
 * const assistant = gpt.pipe(
 *   ChatModel.timeout({ attempt: "30 seconds", firstToken: "10 seconds" }),
 *   ChatModel.retry(RetryPolicy.standard),
 *   ChatModel.orElse(claude),
 *   ChatModel.deadline("90 seconds"),
 *   ChatModel.named("assistant")
 * )
 *
 * @since 0.1.0
 */

import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import { groupIn } from "../calls/About.js"
import * as Resilience from "../calls/Resilience.js"
import type * as LlmError from "../errors/LlmError.js"
import * as FiberInternals from "../policies/FiberInternals.js"
import * as PolicyOptions from "../policies/Options.js"
import * as WaitQueue from "../policies/WaitQueue.js"
import type * as Chat from "./Chat.js"
import type * as Fallback from "./Fallback.js"
import * as Handover from "./Handover.js"
import {
  ChatModel,
  compose,
  either,
  guardRepeat,
  guardRepeatSource,
  isChatModel,
  mayRepeat,
  partsOf,
  TypeId
} from "./Model.js"
import * as ChatStream from "./stream/ChatStream.js"
import * as Replay from "./stream/Replay.js"
import * as Source from "./stream/Source.js"

export { type BalanceMember, BalanceOptions, balance, type PooledOptions, pooled } from "./balance/Balance.js"
export { type About, ChatModel, fromLeaf, isChatModel, type Leaf, make, TypeId } from "./Model.js"
export type { Mode } from "./stream/Replay.js"
export {
  type Growing,
  generateObject,
  type ObjectEvent,
  type ObjectOptions,
  type ObjectResponse,
  streamObject
} from "./structured/Structured.js"
export { breaker, hedge, keyOf, pace } from "./Traffic.js"

// -----------------------------------------------------------------------------
// layers
// -----------------------------------------------------------------------------

/**
 * Puts a model into the context of an application.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = <E, R>(model: Effect.Effect<ChatModel, E, R>): Layer.Layer<ChatModel, E, R> =>
  Layer.effect(ChatModel, model)

/**
 * Asks the model in the context for a whole answer.
 *
 * @since 0.1.0
 * @category accessors
 */
export const generate = (request: Chat.Request): Effect.Effect<Chat.Response, LlmError.LlmError, ChatModel> =>
  Effect.flatMap(ChatModel, (model) => model.generate(request))

/**
 * Asks the model in the context for a streamed answer.
 *
 * @since 0.1.0
 * @category accessors
 */
export const stream = (request: Chat.Request): Stream.Stream<Chat.Event, LlmError.LlmError, ChatModel> =>
  Stream.unwrap(Effect.map(ChatModel, (model) => model.stream(request)))

// -----------------------------------------------------------------------------
// combinators
// -----------------------------------------------------------------------------

/**
 * The option of combinators that replay streams.
 *
 * @since 0.1.0
 * @category options
 */
export interface ReplayOptions {
  /**
   * How a stream that broke after content goes on; see `Replay` for the promises. Default `"strict"`: it fails with the
   * error.
   */
  readonly mode?: Replay.Mode | undefined
}

export const retry: {
  /**
   * Retries by a policy, or by any schedule over `LlmError`. A stream is retried only until its first content, unless
   * `mode` says otherwise. Each retry draws on the `RetryBudget` of the provider and key group that failed.
   *
   * @since 0.1.0
   * @category combinators
   */
  <Out>(policy: Schedule.Schedule<Out, LlmError.LlmError>, options?: ReplayOptions): (self: ChatModel) => ChatModel
  /** Data first: retries by a policy, or by any schedule over `LlmError`. */
  <Out>(self: ChatModel, policy: Schedule.Schedule<Out, LlmError.LlmError>, options?: ReplayOptions): ChatModel
} = dual(
  (args) => isChatModel(args[0]),
  <Out>(self: ChatModel, policy: Schedule.Schedule<Out, LlmError.LlmError>, options?: ReplayOptions): ChatModel => {
    const inside = self[TypeId]
    const group = (error: LlmError.LlmError) => groupIn(inside, error)
    const allowed = (request: Chat.Request) =>
      request.idempotent === false ? Schedule.whileInput(policy, (error) => mayRepeat(request, error)) : policy
    return compose({
      ...partsOf(self),
      generate: (request) => Resilience.retry(inside.generate(request), allowed(request), { group }),
      source: (request) => Replay.retry(inside, request, allowed(request), options?.mode ?? "strict", { group })
    })
  }
)

const length = PolicyOptions.duration()

const timeouts = PolicyOptions.struct({
  attempt: PolicyOptions.optional(length, "The longest time of an attempt, from its start to its end"),
  firstToken: PolicyOptions.optional(length, "The longest time to the first sign of a streamed answer"),
  idle: PolicyOptions.optional(length, "The longest time between the pieces of a streamed answer")
})

/**
 * The schema of the limits in JSON or YAML: durations are text with a unit.
 *
 * @since 0.2.0
 * @category options
 */
export const Timeouts = timeouts.schema

/**
 * The time limits of an attempt. Default for each: no limit.
 *
 * @since 0.1.0
 * @category options
 */
export interface Timeouts {
  /** The longest time of an attempt, from its start to its end. */
  readonly attempt?: Duration.DurationInput | undefined
  /**
   * The longest time to the first sign of a streamed answer: whatever adds to it counts, also a piece of a tool call
   * or of a hidden thought. Headers, comments, pings and empty pieces do not count.
   */
  readonly firstToken?: Duration.DurationInput | undefined
  /** The longest time between such signs. */
  readonly idle?: Duration.DurationInput | undefined
}

export const timeout: {
  /**
   * Ends an attempt that exceeds a limit with a `Timeout` of that limit's phase, and closes its socket. Put it before
   * `retry`.
   *
   * @since 0.1.0
   * @category combinators
   */
  (options: Timeouts): (self: ChatModel) => ChatModel
  /** Data first: ends an attempt that exceeds a limit with `Timeout`. */
  (self: ChatModel, options: Timeouts): ChatModel
} = dual(2, (self: ChatModel, options: Timeouts): ChatModel => {
  const limits = timeouts.read(options, "ChatModel.timeout")
  const { attempt } = limits
  const { generate, open } = self[TypeId]
  const named = { provider: self.name }
  return compose({
    ...partsOf(self),
    generate: (request) =>
      attempt === undefined
        ? generate(request)
        : guardRepeat(request, Resilience.limited(generate(request), attempt, "attempt", named)),
    source: (request) => guardRepeatSource(request, ChatStream.limited(open(request), limits, named))
  })
})

export const deadline: {
  /**
   * Limits all attempts and waits below it together, with a `Timeout` of phase `total`. A retry whose wait would end
   * after the deadline is not begun: the call fails at once with its last error.
   *
   * @since 0.1.0
   * @category combinators
   */
  (duration: Duration.DurationInput): (self: ChatModel) => ChatModel
  /** Data first: limits all attempts and waits together. */
  (self: ChatModel, duration: Duration.DurationInput): ChatModel
} = dual(2, (self: ChatModel, duration: Duration.DurationInput): ChatModel => {
  const total = length.read(duration, "ChatModel.deadline")
  const { generate, open } = self[TypeId]
  const named = { provider: self.name }
  return compose({
    ...partsOf(self),
    generate: (request) => guardRepeat(request, Resilience.limited(generate(request), total, "total", named)),
    source: (request) => guardRepeatSource(request, ChatStream.limited(open(request), { total }, named))
  })
})

/**
 * The options of {@link orElse}.
 *
 * @since 0.1.0
 * @category options
 */
export interface FallbackOptions extends ReplayOptions {
  /** Rules by error tag, or one function for all errors. Default for each tag: see `Fallback`. */
  readonly when?: Fallback.When | undefined
}

export const orElse: {
  /**
   * Asks `that` model after an error that another target may fix, if it has the capabilities for the request
   * (`Fallback`). A stream goes over only until its first content, unless `mode` says otherwise.
   *
   * A fallback to the same provider and key group draws on its `RetryBudget`, like a retry. If no attempt was sent
   * before, for example because a breaker refused the first target, it draws nothing.
   *
   * @since 0.1.0
   * @category combinators
   */
  (that: ChatModel, options?: FallbackOptions): (self: ChatModel) => ChatModel
  /** Data first: asks `that` model after an error that another target may fix. */
  (self: ChatModel, that: ChatModel, options?: FallbackOptions): ChatModel
} = dual(
  (args) => isChatModel(args[1]),
  (self: ChatModel, that: ChatModel, options?: FallbackOptions): ChatModel => {
    const from = self[TypeId]
    const to = that[TypeId]
    const mode = options?.mode ?? "strict"
    const handover = Handover.make(from, to, that.name, options?.when)
    return compose({
      name: `${self.name} | ${that.name}`,
      generate: (request) =>
        Effect.withFiberRuntime((fiber) =>
          handover(request, fiber.currentContext, ({ decide, draw, elsewhere }) => {
            const skip = Effect.suspend(() => to.generate(request))
            const first = Resilience.besides(from.generate(request), elsewhere)
            return { skip, ask: Resilience.handingOver(first, decide, () => Effect.tap(skip, draw.answered)) }
          })
        ),
      source: (request) =>
        Source.make((opening) => {
          const source = handover(request, opening.context, ({ decide, draw, elsewhere }) => {
            const beside = (context: Context.Context<never>) => WaitQueue.besides(context, elsewhere)
            const first = { ...from, open: (request: Chat.Request) => Source.under(from.open(request), beside) }
            const next = (error: LlmError.LlmError) =>
              Effect.map(
                decide(error),
                (services) => (source: ChatStream.Source) =>
                  Replay.answering(
                    Source.under(source, (context) => FiberInternals.merged(context, services)),
                    draw
                  )
              )
            return { skip: to.open(request), ask: Replay.orElse(first, to, request, next, mode) }
          })
          return Source.open(source, opening)
        }),
      about: either(from, to)
    })
  }
)

export const named: {
  /**
   * Renames the model in logs, spans and records.
   *
   * @since 0.1.0
   * @category combinators
   */
  (name: string): (self: ChatModel) => ChatModel
  /** Data first: renames the model. */
  (self: ChatModel, name: string): ChatModel
} = dual(2, (self: ChatModel, name: string): ChatModel => compose({ ...partsOf(self), name }))
