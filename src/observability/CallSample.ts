/**
 * What a call record says of the target that it was meant for.
 *
 * A call counts if its target served it, or could have: as `first`, if the first attempt served it; as `later`, if it
 * needed more; as `failed`, if its target did not serve it and nothing else did. A caller's mistake, and a call that
 * was interrupted before anything failed, say nothing of a target.
 *
 * A call that failed counts as one that needed more, because otherwise an outage would look like a recovery.
 *
 * @internal
 */

import * as CallRecord from "../calls/CallRecord.js"
import * as LlmError from "../errors/LlmError.js"

/** @internal */
export interface Sample {
  /** The target that the call was meant for: that of its first attempt, or the one that this attempt fell back from. */
  readonly target: string
  readonly end: "first" | "later" | "failed"
  /** The tag of the first error, or `hedge`; absent if the first attempt served the call. */
  readonly reason: string | undefined
  readonly backoffMillis: number
  readonly queuedMillis: number
  readonly usd: number
  readonly wastedUsd: number
}

/** The loser of a hedge that failed has cost no wait. */
const failed = ({ hedge, outcome }: CallRecord.AttemptRecord): boolean =>
  hedge !== true && (outcome === "failure" || outcome === "defect")

const firstOf = ({ attempts }: Pick<CallRecord.CallRecord, "attempts">): CallRecord.AttemptRecord | undefined =>
  attempts[0]

/**
 * Why the first attempt did not serve a call; `undefined` if it did. In a call with several questions, as an agent's,
 * one failed attempt among them is enough.
 */
const reasonOf = (record: CallRecord.CallRecord): string | undefined => {
  const first = firstOf(record)
  if (first?.fallback !== undefined) return first.fallback.reason
  const broken = record.attempts.find(failed)
  if (broken !== undefined) return broken.error?._tag ?? broken.outcome
  if (CallRecord.servedBy(record)?.hedge === true) return "hedge"
  // A round of a schedule around a call that is not `Call.make`.
  return first !== undefined && first.index > 1 ? (first.retry?.reason ?? "retry") : undefined
}

/**
 * Whether a call succeeded, and not by its first attempt.
 *
 * @internal
 */
export const isServedLater = (record: CallRecord.CallRecord): boolean =>
  record.outcome === "success" && reasonOf(record) !== undefined

/** Whether another attempt may mend the error, so that it is the target's and not the caller's. */
const isOfTarget = (error: LlmError.LlmError): boolean =>
  LlmError.isRetryable(error) || LlmError.fallbackOf(error) === true

/**
 * `undefined` if the record says nothing of a target.
 *
 * @internal
 */
export const sampleOf = (record: CallRecord.CallRecord): Sample | undefined => {
  const first = firstOf(record)
  const error = record.attempts.find(failed)?.error ?? record.error
  const reason = reasonOf(record)
  const target = first?.fallback?.from ?? (first && CallRecord.targetName(first)) ?? (error && LlmError.targetOf(error))
  if (target === undefined) return undefined
  const served = record.outcome === "success"
  if (served && first === undefined) return undefined
  if (!served && (error === undefined || !isOfTarget(error))) return undefined
  const bill = CallRecord.billOf(record)
  return {
    target,
    end: !served ? "failed" : reason === undefined ? "first" : "later",
    reason: reason ?? (served ? undefined : error?._tag),
    backoffMillis: CallRecord.waitedMillis(record),
    queuedMillis: CallRecord.queuedMillis(record),
    usd: bill.usd,
    wastedUsd: bill.wastedUsd
  }
}
