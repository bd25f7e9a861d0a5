/**
 * The log line about the end of a call.
 *
 * @since 0.2.0
 */

import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { factsOf } from "../errors/ErrorFacts.js"
import { type LlmError, targetOf } from "../errors/LlmError.js"
import { type AttemptRecord, type CallRecord, servedBy, targetName, waitedMillis } from "./CallRecord.js"

/**
 * A policy's decision to give up, in words.
 *
 * @since 0.2.0
 * @category models
 */
export interface GaveUp {
  /** The error that it gave up on. */
  readonly error: LlmError
  /** The whole decision. */
  readonly line: string
  /** Its reason. */
  readonly why: string
}

const attemptLine = (attempt: AttemptRecord): string => {
  const end = attempt.error === undefined ? attempt.outcome : `${attempt.error._tag}: ${attempt.error.message}`
  return `${attempt.index}. ${targetName(attempt)} ${Math.round(attempt.durationMillis)}ms ${end}`
}

/** How many attempts there were. An effect of the application records none, but its error says whether it was sent. */
const countOf = ({ attempts, error }: CallRecord): string => {
  if (attempts.length > 1) return ` after ${attempts.length} attempts`
  if (attempts.length === 1) return " after 1 attempt"
  return error === undefined || error.delivery === "not-sent" ? " before any attempt" : ""
}

/** Why the call failed. A policy that gave up on another target's error is not the reason. */
const failureLine = ({ attempts, error }: CallRecord, gaveUp: GaveUp | undefined, count: string): string => {
  if (error === undefined) return `call failed${count}: an error of the application`
  const last = gaveUp?.error._tag === error._tag && targetOf(gaveUp.error) === targetOf(error) ? gaveUp : undefined
  return attempts.length > 0 && last !== undefined
    ? `call failed${count}: ${error._tag} (${last.line})`
    : `call failed${count}: ${error._tag}: ${error.message}${last === undefined ? "" : ` (${last.why})`}`
}

/**
 * Logs one line with every attempt. `gaveUp` is the last policy's decision to give up.
 *
 * @internal
 */
export const tell = (
  record: CallRecord,
  exit: Exit.Exit<unknown, unknown>,
  gaveUp: GaveUp | undefined
): Effect.Effect<void> => {
  const annotated = Effect.annotateLogs({
    ...(record.error === undefined ? {} : factsOf(record.error)),
    call: record.name,
    call_id: record.id,
    attempts: record.attempts.map(attemptLine)
  })
  const count = countOf(record)
  switch (record.outcome) {
    case "success": {
      const served = servedBy(record)
      if (served === undefined) return Effect.void
      const waited = Math.round(waitedMillis(record))
      const line = `recovered by attempt ${served.index} at ${targetName(served)} after ${waited}ms of waiting`
      return annotated(Effect.logInfo(line))
    }
    case "interrupted":
      return annotated(Effect.logDebug(`call interrupted${count}`))
    case "failure":
      return annotated(Effect.logError(failureLine(record, gaveUp, count)))
    case "defect":
      return annotated(Effect.logError(`call died${count}`, Exit.isFailure(exit) ? exit.cause : undefined))
  }
}
