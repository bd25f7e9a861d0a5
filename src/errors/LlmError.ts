/**
 * What can go wrong with an LLM call: one flat union of sixteen tagged errors.
 *
 * Every error is a `Schema.TaggedError`, so it can be caught by tag, encoded to JSON, sent to another process and
 * decoded there as the same class. `Classify` makes them from what a provider sent; the policies read them through
 * {@link isRetryable}, {@link isFallbackable} and {@link hint} and never look at a status code again.
 *
 * Gotchas: `delivery: "unknown"` is the only kind that may have cost money or had an effect at the provider;
 * `retryable` and `fallbackable` are set on an instance only where the server, or the caller, overrode its class.
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
 * Where the request was when it failed: `not-sent` never left, `rejected` was refused without being run, and `unknown`
 * may have been run, billed, or had an effect.
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
 * The failure beneath an error, reduced to what can be encoded and holds no request, header or URL.
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
 * - `provider`: the name of the provider, e.g. `"openai"`; `model`: as it was requested.
 * - `message`: short; a body excerpt in it is at most 500 characters; never a secret.
 * - `status`, `code`, `requestId`: what the provider said, where it did.
 * - `hint`: how long the server asked to wait, on the wire in milliseconds.
 * - `retryable`, `fallbackable`: set only where this instance differs from its class.
 *
 * @since 0.1.0
 * @category fields
 */
export const fields = {
  provider: Schema.String,
  model: Schema.optional(Schema.String),
  message: Schema.String,
  status: Schema.optional(Schema.Int),
  code: Schema.optional(Schema.String),
  requestId: Schema.optional(Schema.String),
  hint: Schema.optional(Schema.DurationFromMillis),
  delivery: Delivery,
  retryable: Schema.optional(Schema.Boolean),
  fallbackable: Schema.optional(Schema.Boolean),
  cause: Schema.optional(ErrorCause)
}

/**
 * What {@link fields} hold: the argument of every constructor below.
 *
 * @since 0.1.0
 * @category models
 */
export interface Fields extends Schema.Struct.Type<typeof fields> {}

/**
 * The provider's rate limit was hit and passes by waiting. `scope` says which limit, where it is known.
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
 * The provider has no capacity right now, whatever the caller's own limits are.
 *
 * @since 0.1.0
 * @category errors
 */
export class Overloaded extends Schema.TaggedError<Overloaded>("steadfast/Overloaded")("Overloaded", fields) {}

/**
 * The provider, or a proxy before it, failed.
 *
 * @since 0.1.0
 * @category errors
 */
export class ServerError extends Schema.TaggedError<ServerError>("steadfast/ServerError")("ServerError", fields) {}

/**
 * Which clock ran out: connecting, one attempt, waiting for the first content, between content, or the whole call.
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
 * Somebody stopped waiting: the server (408, 504), the transport, or one of our own limits.
 *
 * @since 0.1.0
 * @category errors
 */
export class Timeout extends Schema.TaggedError<Timeout>("steadfast/Timeout")("Timeout", {
  ...fields,
  phase: TimeoutPhase
}) {}

/**
 * No connection, or one that broke before the answer was whole: DNS, refused, reset, TLS.
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
 * The key is right and still may not do this: region, entitlement, firewall.
 *
 * @since 0.1.0
 * @category errors
 */
export class PermissionDenied extends Schema.TaggedError<PermissionDenied>("steadfast/PermissionDenied")(
  "PermissionDenied",
  fields
) {}

/**
 * The model is unknown or retired at this target.
 *
 * @since 0.1.0
 * @category errors
 */
export class ModelNotFound extends Schema.TaggedError<ModelNotFound>("steadfast/ModelNotFound")(
  "ModelNotFound",
  fields
) {}

/**
 * The prompt does not fit the model's window, or the request alone is larger than the budget per minute.
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
 * The caller's mistake: the same request fails everywhere.
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
 * The stream broke or ended without its protocol's end. `received` counts the characters of text that arrived, and
 * `partial` is that text.
 *
 * @since 0.1.0
 * @category errors
 */
export class StreamInterrupted extends Schema.TaggedError<StreamInterrupted>("steadfast/StreamInterrupted")(
  "StreamInterrupted",
  { ...fields, received: Schema.Int, partial: Schema.String }
) {}

/**
 * Our circuit breaker refused; `hint` is the time to its next probe.
 *
 * @since 0.1.0
 * @category errors
 */
export class CircuitOpen extends Schema.TaggedError<CircuitOpen>("steadfast/CircuitOpen")("CircuitOpen", fields) {}

/**
 * One of our own limits is spent: `budget` names it.
 *
 * @since 0.1.0
 * @category errors
 */
export class BudgetExceeded extends Schema.TaggedError<BudgetExceeded>("steadfast/BudgetExceeded")("BudgetExceeded", {
  ...fields,
  budget: Schema.Literal("retry", "usd", "tokens", "attempts")
}) {}

/**
 * Everything an LLM call can fail with; also a `Schema` that encodes and decodes every member.
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
 * What an error says about the health of its target.
 *
 * - `failure`: it is unhealthy.
 * - `dead`: its key is refused or has no credit. Another key may mend it.
 * - `throttled`: its key wants no more for now. Another key may mend it.
 * - `ignored`: nothing.
 *
 * @since 0.2.0
 * @category models
 */
export type Health = "failure" | "dead" | "throttled" | "ignored"

/**
 * What the policies may do about an error.
 *
 * - `retry`: whether another attempt at the same target may succeed. Only such errors carry a server's hint.
 * - `fallback`: whether an attempt at another target may; `larger-window` only at one with a larger context window.
 * - `health`: what breakers, key pools and retry budgets learn from it.
 *
 * @since 0.2.0
 * @category models
 */
export interface Rule {
  readonly retry: boolean
  readonly fallback: boolean | "larger-window"
  readonly health: Health
}

/**
 * The rules of all policies, one row a tag; `total` is for the `Timeout` of the whole call, whose time is gone.
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
 * Whether another attempt at the same target may succeed: by the instance, or else by the {@link rules}.
 *
 * @since 0.1.0
 * @category refinements
 */
export const isRetryable = (error: LlmError): boolean => error.retryable ?? ruleOf(error).retry

/**
 * Which other target an attempt may succeed at: by the instance, or else by the {@link rules}.
 *
 * @since 0.2.0
 * @category getters
 */
export const fallbackOf = (error: LlmError): Rule["fallback"] => error.fallbackable ?? ruleOf(error).fallback

/**
 * Whether an attempt at another target may succeed. `ContentFiltered` is not, unless the route asks for it.
 *
 * @since 0.1.0
 * @category refinements
 */
export const isFallbackable = (error: LlmError): boolean => fallbackOf(error) !== false

/**
 * The health that an error tells of, by the {@link rules}.
 *
 * @since 0.2.0
 * @category getters
 */
export const healthOf = (error: LlmError): Health => ruleOf(error).health

/**
 * How long the server asked to wait, if it did.
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
 * A refinement for one or more tags, for `Effect.retry({ while })`, `ChatModel.orElse({ when })` and the like.
 *
 * @since 0.1.0
 * @category refinements
 */
export const isTag =
  <const Tags extends readonly [Tag, ...Array<Tag>]>(...tags: Tags) =>
  (error: LlmError): error is Extract<LlmError, { readonly _tag: Tags[number] }> =>
    tags.includes(error._tag)

/**
 * The target that an error speaks of, as logs write it: `provider/model`.
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
