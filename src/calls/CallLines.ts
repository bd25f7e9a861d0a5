/**
 * The log line about the end of a call.
 *
 * @since 0.2.0
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { type AttemptRecord, type CallRecord, servedBy, targetName, waitedMillis } from "./CallRecord.js"

const attemptLine = (attempt: AttemptRecord): string => {
  const end = attempt.error === undefined ? attempt.outcome : `${attempt.error._tag}: ${attempt.error.message}`
  return `${attempt.index}. ${targetName(attempt)} ${Math.round(attempt.durationMillis)}ms ${end}`
}

/**
 * Logs one line with every attempt. `gaveUp` is the last policy's reason for giving up.
 *
 * @internal
 */
export const tell = (
  record: CallRecord,
  exit: Exit.Exit<unknown, unknown>,
  gaveUp: string | undefined
): Effect.Effect<void> => {
  const annotated = Effect.annotateLogs({ call: record.name, attempts: record.attempts.map(attemptLine) })
  const count = record.attempts.length === 1 ? "1 attempt" : `${record.attempts.length} attempts`
  switch (record.outcome) {
    case "success": {
      const served = servedBy(record)
      if (served === undefined) return Effect.void
      const line = `recovered by attempt ${served.index} at ${targetName(served)} after ${Math.round(waitedMillis(record))}ms of waiting`
      return annotated(Effect.logInfo(line))
    }
    case "interrupted":
      return annotated(Effect.logDebug(`call interrupted after ${count}`))
    case "failure": {
      const line = `call failed after ${count}: ${record.error?._tag ?? "an error of the application"}`
      return annotated(Effect.logError(gaveUp === undefined ? line : `${line} (${gaveUp})`))
    }
    case "defect":
      return annotated(Effect.logError(`call died after ${count}`, Exit.isFailure(exit) ? exit.cause : undefined))
  }
}
