/**
 * Tells a retry that a failed attempt was the probe of a circuit: one call tried for all that wait, so the attempt does
 * not count against that call.
 *
 * @since 0.2.0
 */

import type { LlmError } from "../errors/LlmError.js"

/** The errors of probes. Beside the errors, not in them: callers see the error as the provider gave it. */
const marks = new WeakMap<LlmError, number>()

/**
 * Marks the error of a failed probe. `until`: how long its call may go on waiting, in epoch milliseconds.
 *
 * @internal
 */
export const mark = (error: LlmError, until: number): void => {
  marks.set(error, until)
}

/**
 * Takes the mark off an error: how long its call may go on waiting, in epoch milliseconds; `undefined` without a mark.
 *
 * @internal
 */
export const take = (error: LlmError): number | undefined => {
  const until = marks.get(error)
  if (until !== undefined) marks.delete(error)
  return until
}
