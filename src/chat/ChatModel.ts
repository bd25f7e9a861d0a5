/**
 * Models, and the algebra over them: a composition of models is a model.
 *
 * A leaf ({@link make}) is one target; every request to it is one attempt. {@link retry}, {@link timeout},
 * {@link deadline} and {@link orElse} take models and give models, so that a composition can be named, put into a
 * layer, served and streamed like a leaf. For `generate` each is the combinator of `Resilience`; for `stream` it is the
 * same with the rules of `Replay`, by default those of `strict` mode: once content was delivered nothing is replayed,
 * and what was delivered is a prefix of exactly one attempt.
 *
 * Gotchas: the order is the order of the pipe, inside out. Put `timeout` before `retry` (one attempt each) and
 * `deadline` last (everything together).
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
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Resilience from "../calls/Resilience.js"
import type * as LlmError from "../errors/LlmError.js"
import * as PolicyOptions from "../policies/Options.js"
import * as RetryBudget from "../policies/retry/RetryBudget.js"
import type * as Chat from "./Chat.js"
import type * as Fallback from "./Fallback.js"
import * as Handover from "./Handover.js"
import { ChatModel, careful, carefulSource, compose, either, groupIn, isChatModel, mayRepeat, TypeId } from "./Model.js"
import * as ChatStream from "./stream/ChatStream.js"
import * as Replay from "./stream/Replay.js"

export { type BalanceMember, BalanceOptions, balance, type PooledOptions, pooled } from "./balance/Balance.js"
export { type About, ChatModel, fromLeaf, isChatModel, type Leaf, make, TypeId } from "./Model.js"
export type { Mode } from "./stream/Replay.js"
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
 * What happens to a stream that breaks after content was delivered. Default `"strict"`: nothing is replayed then. See
 * `Replay` for what each mode promises.
 *
 * @since 0.1.0
 * @category options
 */
export interface ReplayOptions {
  readonly mode?: Replay.Mode | undefined
}

/**
 * Retries by a policy, or by any schedule over `LlmError`; a stream only until its first content, unless `mode` says
 * otherwise. Each retry draws on the `RetryBudget` of the provider and key group that failed.
 *
 * @since 0.1.0
 * @category combinators
 */
export const retry: {
  <Out>(policy: Schedule.Schedule<Out, LlmError.LlmError>, options?: ReplayOptions): (self: ChatModel) => ChatModel
  <Out>(self: ChatModel, policy: Schedule.Schedule<Out, LlmError.LlmError>, options?: ReplayOptions): ChatModel
} = dual(
  (args) => isChatModel(args[0]),
  <Out>(self: ChatModel, policy: Schedule.Schedule<Out, LlmError.LlmError>, options?: ReplayOptions): ChatModel => {
    const group = (error: LlmError.LlmError) => groupIn(self[TypeId], error)
    const allowed = (request: Chat.Request) =>
      request.idempotent === false ? Schedule.whileInput(policy, (error) => mayRepeat(request, error)) : policy
    return compose({
      name: self.name,
      generate: (request) => Resilience.retry(self[TypeId].generate(request), allowed(request), { group }),
      source: (request) => Replay.retry(self[TypeId], request, allowed(request), options?.mode ?? "strict", { group }),
      about: self[TypeId]
    })
  }
)

const length = PolicyOptions.duration()

const timeouts = PolicyOptions.struct({
  attempt: PolicyOptions.optional(length, "The longest time of an attempt, from its start to its end"),
  firstToken: PolicyOptions.optional(length, "The longest time to the first content of a stream"),
  idle: PolicyOptions.optional(length, "The longest time between the content of a stream")
})

/**
 * The limits of an attempt as they stand in JSON or YAML: durations are text with a unit.
 *
 * @since 0.2.0
 * @category options
 */
export const Timeouts = timeouts.schema

/**
 * The limits of an attempt. An absent one does not limit.
 *
 * @since 0.1.0
 * @category options
 */
export interface Timeouts {
  /** The longest time of an attempt, from its start to its end. */
  readonly attempt?: Duration.DurationInput | undefined
  /** The longest time to the first content of a stream. Headers and pings are no content. */
  readonly firstToken?: Duration.DurationInput | undefined
  /** The longest time between the content of a stream. Comments and pings are no content. */
  readonly idle?: Duration.DurationInput | undefined
}

/**
 * Ends what takes too long with a `Timeout` of its phase, and closes its socket. Put it before `retry`.
 *
 * @since 0.1.0
 * @category combinators
 */
export const timeout: {
  (options: Timeouts): (self: ChatModel) => ChatModel
  (self: ChatModel, options: Timeouts): ChatModel
} = dual(2, (self: ChatModel, options: Timeouts): ChatModel => {
  const limits = timeouts.read(options, "ChatModel.timeout")
  const { attempt } = limits
  const { generate, open } = self[TypeId]
  return compose({
    name: self.name,
    generate: (request) =>
      attempt === undefined
        ? generate(request)
        : careful(request, Resilience.timeout(generate(request), attempt, namedBy(self))),
    source: (request) => carefulSource(request, ChatStream.limited(open(request), limits, namedBy(self))),
    about: self[TypeId]
  })
})

/**
 * Bounds everything below, all attempts and waits together, with a `Timeout` of phase `total`. A retry whose wait would
 * outlive it is not begun.
 *
 * @since 0.1.0
 * @category combinators
 */
export const deadline: {
  (duration: Duration.DurationInput): (self: ChatModel) => ChatModel
  (self: ChatModel, duration: Duration.DurationInput): ChatModel
} = dual(2, (self: ChatModel, duration: Duration.DurationInput): ChatModel => {
  const total = length.read(duration, "ChatModel.deadline")
  const { generate, open } = self[TypeId]
  return compose({
    name: self.name,
    generate: (request) => careful(request, Resilience.deadline(generate(request), total, namedBy(self))),
    source: (request) => carefulSource(request, ChatStream.limited(open(request), { total }, namedBy(self))),
    about: self[TypeId]
  })
})

/**
 * When another model is asked, and what happens to a stream then. `when` has a rule for a tag, or one for all errors;
 * see `Fallback` for what holds where it has none.
 *
 * @since 0.1.0
 * @category options
 */
export interface FallbackOptions extends ReplayOptions {
  readonly when?: Fallback.When | undefined
}

/**
 * Asks another model when this one fails with an error that another target may mend, and the other can do what the
 * request needs (`Fallback`). A stream goes over only until its first content, unless `mode` says otherwise.
 *
 * A fallback to the same provider and key group draws on its `RetryBudget`, as a retry would, unless nothing was sent
 * before: where a breaker refused the first target, it is the first attempt of the call.
 *
 * @since 0.1.0
 * @category combinators
 */
export const orElse: {
  (that: ChatModel, options?: FallbackOptions): (self: ChatModel) => ChatModel
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
        Handover.skipping(from, to, request, (sent) => {
          const draw = RetryBudget.draw((error) => groupIn(from, error))
          const skip = Effect.suspend(() => to.generate(request))
          return {
            skip,
            ask: Resilience.handingOver(from.generate(request), handover(request, draw, sent), () =>
              Effect.tap(skip, draw.answered)
            )
          }
        }),
      source: (request) =>
        Handover.skipping(from, to, request, (sent) => {
          const draw = RetryBudget.draw((error) => groupIn(from, error))
          const next = (error: LlmError.LlmError) =>
            Effect.map(handover(request, draw, sent)(error), (services) => (source: ChatStream.Source) => {
              const provided = Effect.mapInputContext(source, (context: Context.Context<Scope.Scope>) =>
                Context.merge(context, services)
              )
              return Replay.answering(provided, draw)
            })
          return {
            skip: to.open(request),
            ask: Replay.orElse(from, to, request, next, mode)
          }
        }),
      about: either(from, to)
    })
  }
)

/**
 * The same model under another name, for logs, spans and records.
 *
 * @since 0.1.0
 * @category combinators
 */
export const named: {
  (name: string): (self: ChatModel) => ChatModel
  (self: ChatModel, name: string): ChatModel
} = dual(
  2,
  (self: ChatModel, name: string): ChatModel =>
    compose({
      name,
      generate: self[TypeId].generate,
      source: self[TypeId].open,
      about: self[TypeId]
    })
)

const namedBy = (model: ChatModel): Resilience.Named => ({ provider: model.name })
