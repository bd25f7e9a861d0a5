/**
 * What a client is told of a call whose targets all failed: the error that says most about when to come back.
 *
 * The last target's error is not always that one. If the first is at its rate limit for 3 seconds and the last refuses
 * our key, another try in 3 seconds helps.
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

/**
 * The error to tell, with the soonest hint of all targets that named one.
 *
 * @since 0.2.0
 * @category getters
 */
export const of = (attempts: ReadonlyArray<AttemptRecord>, last: LlmError.LlmError): LlmError.LlmError => {
  // No wait brings the caller's own budget back.
  if (isTheCallers(last) || (last._tag === "BudgetExceeded" && last.budget !== "retry")) return last
  const byTarget = new Map<string, LlmError.LlmError>()
  for (const { error, model, provider } of attempts) {
    if (error !== undefined) byTarget.set(`${provider}/${model}`, error)
  }
  const all = [...byTarget.values(), last].filter(waits)
  const told = waits(last) ? last : all.at(-1)
  if (told === undefined) return last
  const hints = all.flatMap(({ hint }) => (hint === undefined ? [] : [Duration.toMillis(hint)]))
  return hints.length === 0 ? told : LlmError.override(told, { hint: Duration.millis(Math.min(...hints)) })
}
