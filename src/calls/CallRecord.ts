/**
 * The records of ended calls and of their attempts.
 *
 * Records are plain data with a `Schema`, so they can be logged, stored and read back. They hold no prompt, no answer,
 * no header and no key.
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
 * The end of a call or an attempt. A `defect` is a bug, not a provider's answer.
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
 * One request to one target.
 *
 * - `index` counts from 1 over the whole call.
 * - `key` is the API key's short hash.
 * - `startedAt` is in epoch milliseconds.
 * - `retry` is present on a retry, with the wait before it.
 * - `fallback` is present if another target failed first.
 * - `hedge` is true if another target had not answered yet.
 * - `usd` is the cost in US dollars, if usage and price are known.
 * - `queuedMillis` is the wait for our own gates before the attempt, if there was one: for an open circuit, an empty
 *   retry budget, a member of a pool or balance, and a place with a pacer.
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
 * One request of the application, with all its attempts. `error` is present if the call failed with an `LlmError`.
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
 * The name of a target in logs and spans: `provider/model`.
 *
 * @since 0.1.0
 * @category getters
 */
export const targetName = (target: { readonly provider: string; readonly model: string }): string =>
  `${target.provider}/${target.model}`

/**
 * The attempt that answered; `undefined` unless the call succeeded.
 *
 * @since 0.1.0
 * @category getters
 */
export const servedBy = (record: CallRecord): AttemptRecord | undefined =>
  record.outcome === "success" ? record.attempts.findLast((attempt) => attempt.outcome === "success") : undefined

/**
 * The milliseconds that the call waited before its retries.
 *
 * @since 0.1.0
 * @category getters
 */
export const waitedMillis = (record: Pick<CallRecord, "attempts">): number =>
  record.attempts.reduce((sum, attempt) => sum + (attempt.retry?.delayMillis ?? 0), 0)
