/**
 * The errors of an LLM call: one flat union of sixteen tagged errors.
 *
 * Every error is a `Schema.TaggedError`, so it can be caught by tag, encoded to JSON, sent to another process and
 * decoded there as the same class. `Classify` makes them from a provider's failures. The policies read them through
 * {@link isRetryable}, {@link isFallbackable} and {@link hint}, never by status code. Classes, union and rules stand in
 * one long file, so that a new error cannot be added without its rule.
 *
 * Gotchas: only a request with `delivery: "unknown"` may have cost money or had an effect at the provider. `retryable`
 * and `fallbackable` are set on an instance only if the server, or the caller, overrode the rule of its class.
 *
 * @example
 * import { Effect } from "effect"
 * import { LlmError } from "effect-steadfast"
 *
 * const call: Effect.Effect<string, LlmError.LlmError> = Effect.fail(
 *   new LlmError.RateLimited({ provider: "openai", message: "slow down", delivery: "rejected" })
 * )
 * const handled = call.pipe(Effect.catchTag("RateLimited", (e) => Effect.succeed(`busy: ${e.provider}`)))
 *
 * @since 0.1.0
 */

import type * as Duration from "effect/Duration"
import * as Schema from "effect/Schema"

/**
 * How far the request came: `not-sent` was not sent, `rejected` was refused and not run, `unknown` may have been run,
 * billed, or had an effect.
 *
 * @since 0.1.0
 * @category models
 */
export const Delivery = Schema.Literal("not-sent", "rejected", "unknown")

/**
 * @since 0.1.0
 * @category models
 */
export type Delivery = typeof Delivery.Type

/**
 * The cause of an error, as data that can be encoded: no request, no header, no URL.
 *
 * @since 0.1.0
 * @category models
 */
export const ErrorCause = Schema.Struct({
  name: Schema.String,
  message: Schema.String,
  code: Schema.optional(Schema.String)
})

/**
 * @since 0.1.0
 * @category models
 */
export type ErrorCause = typeof ErrorCause.Type

/**
 * The fields that every error has.
 *
 * @since 0.1.0
 * @category fields
 */
export const fields = {
  /** The name of the provider, e.g. `"openai"`. */
  provider: Schema.String,
  /** The model as it was requested. */
  model: Schema.optional(Schema.String),
  /** Short and without secrets; at most 500 characters of a provider's text. */
  message: Schema.String,
  /** The HTTP status, if there was a response. */
  status: Schema.optional(Schema.Int),
  /** The provider's code for the error, or the transport's. */
  code: Schema.optional(Schema.String),
  /** The provider's id of the request. */
  requestId: Schema.optional(Schema.String),
  /** The wait that the server asked for; encoded in milliseconds. */
  hint: Schema.optional(Schema.DurationFromMillis),
  /** Whether the request was sent, and may have been run. */
  delivery: Delivery,
  /** Overrides the rule of the class: whether another attempt at the same target may succeed. */
  retryable: Schema.optional(Schema.Boolean),
  /** Overrides the rule of the class: whether an attempt at another target may succeed. */
  fallbackable: Schema.optional(Schema.Boolean),
  /** The underlying failure, if one was thrown. */
  cause: Schema.optional(ErrorCause)
}

/**
 * The values of {@link fields}: the argument of the constructors.
 *
 * @since 0.1.0
 * @category models
 */
export interface Fields extends Schema.Struct.Type<typeof fields> {}

/**
 * The provider's rate limit was hit; waiting helps. `scope` names the limit, if it is known.
 *
 * @since 0.1.0
 * @category errors
 */
export class RateLimited extends Schema.TaggedError<RateLimited>("steadfast/RateLimited")("RateLimited", {
  ...fields,
  scope: Schema.optional(Schema.Literal("requests", "tokens", "day"))
}) {}

/**
 * No credit, a spent quota or a spend cap: waiting a minute does not help.
 *
 * @since 0.1.0
 * @category errors
 */
export class QuotaExhausted extends Schema.TaggedError<QuotaExhausted>("steadfast/QuotaExhausted")(
  "QuotaExhausted",
  fields
) {}

/**
 * The provider has no capacity right now; the caller's own limits are not the reason.
 *
 * @since 0.1.0
 * @category errors
 */
export class Overloaded extends Schema.TaggedError<Overloaded>("steadfast/Overloaded")("Overloaded", fields) {}

/**
 * The provider, or a proxy in front of it, failed. A page with which a proxy refuses the request has
 * `retryable: false`.
 *
 * @since 0.1.0
 * @category errors
 */
export class ServerError extends Schema.TaggedError<ServerError>("steadfast/ServerError")("ServerError", fields) {}

/**
 * The time limit that was exceeded: connecting, one attempt, the first sign of the answer, the gap between such signs,
 * or the whole call (`total`).
 *
 * @since 0.1.0
 * @category models
 */
export const TimeoutPhase = Schema.Literal("connect", "attempt", "first-token", "idle", "total")

/**
 * @since 0.1.0
 * @category models
 */
export type TimeoutPhase = typeof TimeoutPhase.Type

/**
 * A time limit was exceeded: the server's (408, 504), the transport's, or one of our own.
 *
 * @since 0.1.0
 * @category errors
 */
export class Timeout extends Schema.TaggedError<Timeout>("steadfast/Timeout")("Timeout", {
  ...fields,
  phase: TimeoutPhase
}) {}

/**
 * There was no connection, or it broke before the answer was complete: DNS, refused, reset, TLS. A redirect, which no
 * model follows because the key belongs to one server, has `retryable: false` and names where it points.
 *
 * @since 0.1.0
 * @category errors
 */
export class ConnectionError extends Schema.TaggedError<ConnectionError>("steadfast/ConnectionError")(
  "ConnectionError",
  fields
) {}

/**
 * The key is wrong, expired or missing.
 *
 * @since 0.1.0
 * @category errors
 */
export class AuthError extends Schema.TaggedError<AuthError>("steadfast/AuthError")("AuthError", fields) {}

/**
 * The key is valid but not allowed to do this: region, entitlement, firewall.
 *
 * @since 0.1.0
 * @category errors
 */
export class PermissionDenied extends Schema.TaggedError<PermissionDenied>("steadfast/PermissionDenied")(
  "PermissionDenied",
  fields
) {}

/**
 * The target does not know the model, or has retired it.
 *
 * @since 0.1.0
 * @category errors
 */
export class ModelNotFound extends Schema.TaggedError<ModelNotFound>("steadfast/ModelNotFound")(
  "ModelNotFound",
  fields
) {}

/**
 * The prompt is larger than the model's context window, or the request alone exceeds the limit per minute.
 *
 * @since 0.1.0
 * @category errors
 */
export class ContextLengthExceeded extends Schema.TaggedError<ContextLengthExceeded>("steadfast/ContextLengthExceeded")(
  "ContextLengthExceeded",
  fields
) {}

/**
 * Moderation, safety or policy blocked the prompt or the answer.
 *
 * @since 0.1.0
 * @category errors
 */
export class ContentFiltered extends Schema.TaggedError<ContentFiltered>("steadfast/ContentFiltered")(
  "ContentFiltered",
  fields
) {}

/**
 * The caller's mistake: the same request fails everywhere. One that asks for what only this model does not support has
 * `fallbackable: true`.
 *
 * @since 0.1.0
 * @category errors
 */
export class InvalidRequest extends Schema.TaggedError<InvalidRequest>("steadfast/InvalidRequest")(
  "InvalidRequest",
  fields
) {}

/**
 * A success status with an empty, cut or nonsensical body.
 *
 * @since 0.1.0
 * @category errors
 */
export class InvalidResponse extends Schema.TaggedError<InvalidResponse>("steadfast/InvalidResponse")(
  "InvalidResponse",
  fields
) {}

/**
 * The stream broke, or ended without its protocol's end. `received` is the number of characters of text that arrived,
 * and `partial` is that text, at most its last 65,536 characters.
 *
 * @since 0.1.0
 * @category errors
 */
export class StreamInterrupted extends Schema.TaggedError<StreamInterrupted>("steadfast/StreamInterrupted")(
  "StreamInterrupted",
  { ...fields, received: Schema.Int, partial: Schema.String }
) {}

/**
 * Our circuit breaker refused the call; `hint` is the time to its next probe.
 *
 * @since 0.1.0
 * @category errors
 */
export class CircuitOpen extends Schema.TaggedError<CircuitOpen>("steadfast/CircuitOpen")("CircuitOpen", fields) {}

/**
 * A budget of ours is spent: `budget` names it.
 *
 * @since 0.1.0
 * @category errors
 */
export class BudgetExceeded extends Schema.TaggedError<BudgetExceeded>("steadfast/BudgetExceeded")("BudgetExceeded", {
  ...fields,
  budget: Schema.Literal("retry", "usd", "tokens", "attempts")
}) {}

/**
 * The union of all errors; also a `Schema` that encodes and decodes every member.
 *
 * @since 0.1.0
 * @category models
 */
export const LlmError = Schema.Union(
  RateLimited,
  QuotaExhausted,
  Overloaded,
  ServerError,
  Timeout,
  ConnectionError,
  AuthError,
  PermissionDenied,
  ModelNotFound,
  ContextLengthExceeded,
  ContentFiltered,
  InvalidRequest,
  InvalidResponse,
  StreamInterrupted,
  CircuitOpen,
  BudgetExceeded
)

/**
 * @since 0.1.0
 * @category models
 */
export type LlmError = typeof LlmError.Type

/**
 * @since 0.1.0
 * @category models
 */
export type Tag = LlmError["_tag"]

/**
 * The effect of an error on the health of its target.
 *
 * - `failure`: the target is unhealthy.
 * - `dead`: the key is refused or has no credit. Another key may help.
 * - `throttled`: the key is over its rate limit. Another key may help.
 * - `ignored`: no effect.
 *
 * @since 0.2.0
 * @category models
 */
export type Health = "failure" | "dead" | "throttled" | "ignored"

/**
 * The reaction of the policies to an error.
 *
 * @since 0.2.0
 * @category models
 */
export interface Rule {
  /** Whether another attempt at the same target may succeed. A server's hint is kept only on such errors. */
  readonly retry: boolean
  /** Whether an attempt at another target may succeed; `larger-window`: only with a larger context window. */
  readonly fallback: boolean | "larger-window"
  /** The outcome that breakers, key pools and retry budgets record. */
  readonly health: Health
}

/**
 * The rule of each tag; `total` is for a `Timeout` of the whole call, which has no time left.
 *
 * @since 0.2.0
 * @category constants
 */
export const rules: { readonly [K in Tag | "total"]: Rule } = {
  RateLimited: { retry: true, fallback: true, health: "throttled" },
  QuotaExhausted: { retry: false, fallback: true, health: "dead" },
  Overloaded: { retry: true, fallback: true, health: "failure" },
  ServerError: { retry: true, fallback: true, health: "failure" },
  Timeout: { retry: true, fallback: true, health: "failure" },
  total: { retry: false, fallback: true, health: "ignored" },
  ConnectionError: { retry: true, fallback: true, health: "failure" },
  AuthError: { retry: false, fallback: true, health: "dead" },
  PermissionDenied: { retry: false, fallback: true, health: "ignored" },
  ModelNotFound: { retry: false, fallback: true, health: "ignored" },
  ContextLengthExceeded: { retry: false, fallback: "larger-window", health: "ignored" },
  ContentFiltered: { retry: false, fallback: false, health: "ignored" },
  InvalidRequest: { retry: false, fallback: false, health: "ignored" },
  InvalidResponse: { retry: true, fallback: true, health: "failure" },
  StreamInterrupted: { retry: true, fallback: true, health: "failure" },
  CircuitOpen: { retry: false, fallback: true, health: "ignored" },
  BudgetExceeded: { retry: false, fallback: false, health: "ignored" }
}

const ruleOf = (error: LlmError): Rule =>
  rules[error._tag === "Timeout" && error.phase === "total" ? "total" : error._tag]

/**
 * Whether another attempt at the same target may succeed: the instance's `retryable`, else the {@link rules}.
 *
 * @since 0.1.0
 * @category refinements
 */
export const isRetryable = (error: LlmError): boolean => error.retryable ?? ruleOf(error).retry

/**
 * Whether an attempt at another target may succeed, and at which: the instance's `fallbackable`, else the
 * {@link rules}.
 *
 * @since 0.2.0
 * @category getters
 */
export const fallbackOf = (error: LlmError): Rule["fallback"] => error.fallbackable ?? ruleOf(error).fallback

/**
 * Whether an attempt at another target may succeed. False for `ContentFiltered`, unless the caller overrides it.
 *
 * @since 0.1.0
 * @category refinements
 */
export const isFallbackable = (error: LlmError): boolean => fallbackOf(error) !== false

/** These codes say that the model made the mistake: `generateObject` and the reader of tool calls set them. */
const answerCodes: ReadonlyArray<string | undefined> = ["not-json", "misfit", "truncated"]

/**
 * Whether an answer came and was read, but is not what was asked for. Its target is well.
 *
 * @internal
 */
export const isAboutAnswer = (error: LlmError): error is InvalidResponse =>
  error._tag === "InvalidResponse" && answerCodes.includes(error.code)

/**
 * The effect of an error on the health of its target, by the {@link rules}. An answer that does not fit a schema has
 * none: a schema that a model does not follow must not close the way to it for all others.
 *
 * @since 0.2.0
 * @category getters
 */
export const healthOf = (error: LlmError): Health => (isAboutAnswer(error) ? "ignored" : ruleOf(error).health)

/**
 * The wait that the server asked for, if any.
 *
 * @since 0.1.0
 * @category getters
 */
export const hint = (error: LlmError): Duration.Duration | undefined => error.hint

/**
 * Whether a value is one of our errors.
 *
 * @since 0.1.0
 * @category refinements
 */
export const isLlmError: (u: unknown) => u is LlmError = Schema.is(LlmError)

/**
 * A refinement to one or more tags, for `Effect.retry({ while })` and `ChatModel.orElse({ when })`.
 *
 * @since 0.1.0
 * @category refinements
 */
export const isTag =
  <const Tags extends readonly [Tag, ...Array<Tag>]>(...tags: Tags) =>
  (error: LlmError): error is Extract<LlmError, { readonly _tag: Tags[number] }> =>
    tags.includes(error._tag)

/**
 * The target of an error, as logs write it: `provider/model`.
 *
 * @since 0.1.0
 * @category getters
 */
export const targetOf = (error: LlmError): string =>
  error.model === undefined ? error.provider : `${error.provider}/${error.model}`

/**
 * The same error with some of its common fields replaced.
 *
 * @since 0.1.0
 * @category combinators
 */
export const override = <E extends LlmError>(error: E, changed: Partial<Fields>): E =>
  new (error.constructor as new (fields: object) => E)({
    ...error,
    // an Error's own message and cause are not enumerable
    message: error.message,
    cause: error.cause,
    ...changed
  })
