/**
 * Where the attempts of a call stand: metrics and call log number them alike.
 *
 * @since 0.2.0
 */

import type { AttemptRecord } from "../calls/CallRecord.js"

const sameTarget = (a: AttemptRecord, b: AttemptRecord): boolean => a.provider === b.provider && a.model === b.model

/**
 * Where an attempt stands in the chain of attempts for one answer.
 *
 * @internal
 */
export interface Place {
  /** 1 for the first attempt. A hedge has the number of the attempt beside which it runs. */
  readonly number: number
  /** Whether it came because the attempt before it had not succeeded. */
  readonly again: boolean
  /** Whether the call went on to another target with it. */
  readonly handoff: boolean
}

/**
 * The places of a call's attempts. A call may hold several requests, as an agent's does: a request that follows a
 * success begins a chain of its own.
 *
 * @internal
 */
export const of = (attempts: ReadonlyArray<AttemptRecord>): ReadonlyArray<Place> => {
  let before: AttemptRecord | undefined
  let last = 0
  return attempts.map((attempt) => {
    if (attempt.hedge === true) {
      // If it answered, nothing is left to try again for.
      if (attempt.outcome === "success") before = attempt
      return { number: Math.max(last, 1), again: false, handoff: false }
    }
    const failed = before !== undefined && before.outcome !== "success" ? before : undefined
    const stays =
      failed !== undefined && sameTarget(failed, attempt) && failed.fallback?.from === attempt.fallback?.from
    const again = before === undefined ? attempt.index > 1 : failed !== undefined
    last = before === undefined ? attempt.index : failed === undefined ? 1 : last + 1
    before = attempt
    return { number: last, again, handoff: attempt.fallback !== undefined && attempt.retry === undefined && !stays }
  })
}
