/**
 * What a client is told of a call whose targets all failed: the error that says most about when to come back.
 *
 * The last target's error is not always that one. If the first is at its rate limit for 3 seconds and the last refuses
 * our key, another try in 3 seconds helps. And if the last cannot be asked at all, because the request has no words in
 * its dialect, the failure of the others is the news.
 *
 * @since 0.2.0
 */

import * as Duration from "effect/Duration"
import type { AttemptRecord } from "../calls/CallRecord.js"
import * as LlmError from "../errors/LlmError.js"
import * as ErrorResponse from "../http/ErrorResponse.js"

/** Mistakes of the caller: no time and no other target mends them. */
const isTheCallers = (error: LlmError.LlmError): boolean => {
  const { status } = ErrorResponse.factsOf(error)
  return status < 429
}

const waits = (error: LlmError.LlmError): boolean =>
  error._tag === "RateLimited" || error._tag === "Overloaded" || error._tag === "CircuitOpen"

/** A request that this target cannot be sent, which says nothing against it at another one. */
const isUnsaid = (error: LlmError.LlmError): boolean =>
  error._tag === "InvalidRequest" && error.delivery === "not-sent" && error.status === undefined

/**
 * The error to tell, with the soonest hint of all targets that named one.
 *
 * @since 0.2.0
 * @category getters
 */
export const of = (attempts: ReadonlyArray<AttemptRecord>, last: LlmError.LlmError): LlmError.LlmError => {
  const byTarget = new Map<string, LlmError.LlmError>()
  for (const { error, model, provider } of attempts) {
    if (error !== undefined) byTarget.set(`${provider}/${model}`, error)
  }
  if (isUnsaid(last)) {
    const failed = [...byTarget.values()].findLast((error) => !isTheCallers(error))
    return failed === undefined ? last : of(attempts, failed)
  }
  // No wait brings the caller's own budget back.
  if (isTheCallers(last) || (last._tag === "BudgetExceeded" && last.budget !== "retry")) return last
  const all = [...byTarget.values(), last].filter(waits)
  const told = waits(last) ? last : all.at(-1)
  if (told === undefined) return last
  const hints = all.flatMap(({ hint }) => (hint === undefined ? [] : [Duration.toMillis(hint)]))
  return hints.length === 0 ? told : LlmError.override(told, { hint: Duration.millis(Math.min(...hints)) })
}
