/**
 * The evidence: what is known of a call, and of each of its attempts, when it is over.
 *
 * Records are plain data with a `Schema`, so that they can be logged, stored and read back. They hold no prompt, no
 * answer, no header and no key.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import { LlmError } from "../errors/LlmError.js"
import { Limits } from "../policies/pacer/RateLimits.js"
import { Usage } from "../policies/Usage.js"

export { Limit, Limits } from "../policies/pacer/RateLimits.js"
export { Usage } from "../policies/Usage.js"

/**
 * How something ended. A `defect` is a bug, not an answer of a provider.
 *
 * @since 0.1.0
 * @category models
 */
export const Outcome = Schema.Literal("success", "failure", "defect", "interrupted")

/**
 * @since 0.1.0
 * @category models
 */
export type Outcome = typeof Outcome.Type

/**
 * One request to one target. Times are in milliseconds; `index` counts from 1 over the whole call; `retry` is there if
 * it is a retry, with the wait before it; `fallback` is there if another target failed first; `hedge` if another target
 * was still being asked. `key` names the API key by a short hash. `usd` is the cost in US dollars, if usage and price are
 * known. `queuedMillis` is the wait in a pacer's queue, if there was one.
 *
 * @since 0.1.0
 * @category models
 */
export const AttemptRecord = Schema.Struct({
  index: Schema.Int,
  provider: Schema.String,
  model: Schema.String,
  key: Schema.optional(Schema.String),
  startedAt: Schema.Number,
  durationMillis: Schema.Number,
  outcome: Outcome,
  error: Schema.optional(LlmError),
  status: Schema.optional(Schema.Int),
  requestId: Schema.optional(Schema.String),
  responseId: Schema.optional(Schema.String),
  responseModel: Schema.optional(Schema.String),
  usage: Schema.optional(Usage),
  usd: Schema.optional(Schema.Number),
  queuedMillis: Schema.optional(Schema.Number),
  limits: Schema.optional(Limits),
  retry: Schema.optional(Schema.Struct({ delayMillis: Schema.Number, reason: Schema.String })),
  fallback: Schema.optional(Schema.Struct({ from: Schema.String, reason: Schema.String })),
  hedge: Schema.optional(Schema.Boolean)
})

/**
 * @since 0.1.0
 * @category models
 */
export type AttemptRecord = typeof AttemptRecord.Type

/**
 * What the application asked for, once. `error` is there if it failed with one of our errors.
 *
 * @since 0.1.0
 * @category models
 */
export const CallRecord = Schema.Struct({
  id: Schema.String,
  name: Schema.String,
  startedAt: Schema.Number,
  durationMillis: Schema.Number,
  outcome: Outcome,
  error: Schema.optional(LlmError),
  attempts: Schema.Array(AttemptRecord)
})

/**
 * @since 0.1.0
 * @category models
 */
export type CallRecord = typeof CallRecord.Type

/**
 * A target as it is written in logs and spans: `provider/model`.
 *
 * @since 0.1.0
 * @category getters
 */
export const targetName = (target: { readonly provider: string; readonly model: string }): string =>
  `${target.provider}/${target.model}`

/**
 * The attempt that answered, if one did.
 *
 * @since 0.1.0
 * @category getters
 */
export const servedBy = (record: CallRecord): AttemptRecord | undefined =>
  record.outcome === "success" ? record.attempts.findLast((attempt) => attempt.outcome === "success") : undefined

/**
 * The milliseconds that the call spent waiting to try again.
 *
 * @since 0.1.0
 * @category getters
 */
export const waitedMillis = (record: Pick<CallRecord, "attempts">): number =>
  record.attempts.reduce((sum, attempt) => sum + (attempt.retry?.delayMillis ?? 0), 0)
