/**
 * Outcomes: what an attempt tells about the health of its target.
 *
 * {@link classify} reads the outcome off the `LlmError`, by `LlmError.rules`. Only the target's own behaviour counts,
 * and a circuit opens only for faults that a pause can cure. The caller's mistakes, our own refusals and interruption
 * are `Ignored`; a 429 is left to the pacer.
 *
 * @since 0.2.0
 */

import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as LlmError from "../../errors/LlmError.js"
import * as Deadline from "../Deadline.js"

/**
 * The health that an attempt tells of.
 *
 * - `Success`: the target answers.
 * - `Ignored`: nothing is known.
 * - `Failure`: the target is unhealthy. `retryAfter` is the pause that it asked for.
 * - `Dead`: its key is refused or has no credit.
 * - `Throttled`: it asked for a pause `until`, in epoch milliseconds.
 *
 * `error` is the tag of the error behind the outcome.
 *
 * @since 0.2.0
 * @category models
 */
export type Outcome =
  | { readonly _tag: "Success" }
  | { readonly _tag: "Ignored" }
  | {
      readonly _tag: "Failure"
      readonly retryAfter?: Duration.Duration | undefined
      readonly error?: LlmError.Tag | undefined
    }
  | { readonly _tag: "Dead"; readonly error?: LlmError.Tag | undefined }
  | { readonly _tag: "Throttled"; readonly until: number }

/**
 * The target answers: ends a row of failures, and widens the ramp of a half-open circuit.
 *
 * @since 0.2.0
 * @category outcomes
 */
export const success: Outcome = { _tag: "Success" }

/**
 * The same outcome with its time so many milliseconds later.
 *
 * @internal
 */
export const later = (outcome: Outcome, millis: number): Outcome =>
  outcome._tag === "Throttled" && millis !== 0 ? { ...outcome, until: outcome.until + millis } : outcome

/**
 * Nothing is known. A probe frees its place.
 *
 * @since 0.2.0
 * @category outcomes
 */
export const ignored: Outcome = { _tag: "Ignored" }

/**
 * The target is unhealthy. If this failure opens the circuit, it stays open for at least `retryAfter`, up to the
 * longest open time.
 *
 * @since 0.2.0
 * @category outcomes
 */
export const failure = (options?: {
  /** The shortest time to stay open, up to the longest open time. Default: none. */
  readonly retryAfter?: Duration.DurationInput | undefined
}): Outcome =>
  options?.retryAfter === undefined
    ? { _tag: "Failure" }
    : { _tag: "Failure", retryAfter: Duration.decode(options.retryAfter) }

/**
 * The key is dead: one such outcome opens the circuit.
 *
 * @since 0.2.0
 * @category outcomes
 */
export const dead: Outcome = { _tag: "Dead" }

/**
 * The target asked for a pause until `until`, in epoch milliseconds. The state shows it; it never opens the circuit.
 *
 * @since 0.2.0
 * @category outcomes
 */
export const throttled = (until: number): Outcome => ({ _tag: "Throttled", until })

/** Whether an unsent request failed on our side: only connecting can fail on the target's side. */
const isOurs = (error: LlmError.LlmError): boolean =>
  error.delivery === "not-sent" &&
  error._tag !== "ConnectionError" &&
  !(error._tag === "Timeout" && error.phase === "connect")

const ofError = (error: LlmError.LlmError, now: number): Outcome => {
  switch (isOurs(error) ? "ignored" : LlmError.healthOf(error)) {
    case "failure":
      return { _tag: "Failure", retryAfter: error.hint, error: error._tag }
    case "dead":
      return { _tag: "Dead", error: error._tag }
    case "throttled":
      return throttled(now + Duration.toMillis(error.hint ?? 0))
    case "ignored":
      return ignored
  }
}

/**
 * The `LlmError` of an exit. An interruption by a limit of `within` has that limit's `Timeout`.
 *
 * @internal
 */
export const errorOf = (exit: Exit.Exit<unknown, unknown>, within: Deadline.Limit): LlmError.LlmError | undefined => {
  if (Exit.isSuccess(exit)) return undefined
  const error = Cause.isInterruptedOnly(exit.cause)
    ? Deadline.expired(within)
    : Option.getOrUndefined(Cause.failureOption(exit.cause))
  return LlmError.isLlmError(error) ? error : undefined
}

/**
 * The outcome of an attempt, by the health of its `LlmError` (`LlmError.rules`). `Failure` and `Throttled` carry the
 * server's hint.
 *
 * Also `Ignored`: an unsent request (unless the connection failed), interruption, defects, and errors other than
 * `LlmError`.
 *
 * An interruption by a limit of `within` counts as that limit's `Timeout`. `now` is in epoch milliseconds.
 *
 * @since 0.2.0
 * @category outcomes
 */
export const classify = (
  exit: Exit.Exit<unknown, unknown>,
  now: number,
  within: Deadline.Limit = Deadline.none
): Outcome => {
  if (Exit.isSuccess(exit)) return success
  const error = errorOf(exit, within)
  return error === undefined ? ignored : ofError(error, now)
}

/**
 * The outcome of an exit under a limit, and the exit to go on with: if `read` throws, the call dies. `read` does not
 * see mere interruption.
 *
 * @internal
 */
export const judge = <A, E>(
  exit: Exit.Exit<A, E>,
  read: ((exit: Exit.Exit<A, E>, now: number) => Outcome) | undefined,
  now: number,
  within: Deadline.Limit
): readonly [Outcome, Exit.Exit<A, E>] => {
  if (read === undefined && Exit.isSuccess(exit)) return [success, exit]
  if (read === undefined || (Exit.isFailure(exit) && Cause.isInterruptedOnly(exit.cause))) {
    return [classify(exit, now, within), exit]
  }
  try {
    return [read(exit, now), exit]
  } catch (defect) {
    const died = Cause.die(defect)
    const cause = Exit.isFailure(exit) ? Cause.sequential(exit.cause, died) : died
    return [ignored, Exit.failCause(cause)]
  }
}
