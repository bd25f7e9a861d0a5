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
 * - `stream` is true if the answer was asked for in pieces; `firstTokenMillis` is the time to its first content.
 * - `finishReason` is the reason of the answer's end, as in `Chat.FinishReason`.
 * - `correction` is true if the request told the model what was wrong with its answer before.
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
  hedge: Schema.optional(Schema.Boolean),
  stream: Schema.optional(Schema.Boolean),
  firstTokenMillis: Schema.optional(Schema.Number),
  finishReason: Schema.optional(Schema.String),
  correction: Schema.optional(Schema.Boolean)
})

/**
 * @since 0.1.0
 * @category models
 */
export type AttemptRecord = typeof AttemptRecord.Type

/**
 * What an application says of a call: its tenant, user, feature. Names and values are text.
 *
 * @since 0.2.0
 * @category models
 */
export const Labels = Schema.Record({ key: Schema.String, value: Schema.String })

/**
 * @since 0.2.0
 * @category models
 */
export type Labels = typeof Labels.Type

/**
 * One request of the application, with all its attempts.
 *
 * - `operation` is what was asked for: `chat` or `embeddings`. It is absent if nothing was asked of a model.
 * - `error` is present if the call failed with an `LlmError`.
 * - `labels` are those of the application (`Call.withLabels`).
 *
 * @since 0.1.0
 * @category models
 */
export const CallRecord = Schema.Struct({
  id: Schema.String,
  name: Schema.String,
  operation: Schema.optional(Schema.String),
  labels: Schema.optional(Labels),
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
export const servedBy = (record: Pick<CallRecord, "attempts" | "outcome">): AttemptRecord | undefined =>
  record.outcome === "success" ? record.attempts.findLast((attempt) => attempt.outcome === "success") : undefined

/**
 * The milliseconds that the call waited before its retries.
 *
 * @since 0.1.0
 * @category getters
 */
export const waitedMillis = (record: Pick<CallRecord, "attempts">): number =>
  record.attempts.reduce((sum, attempt) => sum + (attempt.retry?.delayMillis ?? 0), 0)

/**
 * The cost of an attempt: dollars, or why there is no number. A refused attempt is `Free`. `Unpriced` has a usage and
 * no price; of `Unknown` the provider told no usage, though it may have run the request.
 *
 * @since 0.2.0
 * @category models
 */
export type Cost = { readonly _tag: "Usd"; readonly usd: number } | { readonly _tag: "Free" | "Unpriced" | "Unknown" }

/**
 * The cost of an attempt.
 *
 * @since 0.2.0
 * @category getters
 */
export const costOf = ({ error, usage, usd }: AttemptRecord): Cost => {
  if (usd !== undefined) return { _tag: "Usd", usd }
  if (usage !== undefined) return { _tag: "Unpriced" }
  return { _tag: error !== undefined && error.delivery !== "unknown" ? "Free" : "Unknown" }
}

/**
 * What a call cost. `wastedUsd` is that part of `usd` that went to attempts without use: failed ones, cancelled ones,
 * losers of a hedge. `unpriced` and `unknown` count the attempts whose cost is in neither.
 *
 * @since 0.2.0
 * @category models
 */
export interface Bill {
  readonly usd: number
  readonly wastedUsd: number
  readonly unpriced: number
  readonly unknown: number
}

/**
 * The bill of a call. In a successful call every attempt that succeeded was of use, as in an agent's many; in a failed
 * one none was.
 *
 * @since 0.2.0
 * @category getters
 */
export const billOf = ({ attempts, outcome }: Pick<CallRecord, "attempts" | "outcome">): Bill => {
  const bill = { usd: 0, wastedUsd: 0, unpriced: 0, unknown: 0 }
  for (const attempt of attempts) {
    const cost = costOf(attempt)
    if (cost._tag === "Usd") {
      bill.usd += cost.usd
      if (outcome !== "success" || attempt.outcome !== "success") bill.wastedUsd += cost.usd
    } else if (cost._tag === "Unpriced") bill.unpriced++
    else if (cost._tag === "Unknown") bill.unknown++
  }
  return bill
}

/**
 * The milliseconds that the call waited for our own gates: circuits, budgets, members and pacers.
 *
 * @since 0.2.0
 * @category getters
 */
export const queuedMillis = (record: Pick<CallRecord, "attempts">): number =>
  record.attempts.reduce((sum, attempt) => sum + (attempt.queuedMillis ?? 0), 0)
