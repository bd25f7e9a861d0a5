/**
 * What an attempt says about the health of its target.
 *
 * {@link classify} reads it off the `LlmError`, by `LlmError.rules`. The rule behind it: only what the target did
 * counts, and a circuit opens only for what passes by leaving the target alone. So the caller's mistakes, our own
 * refusals and interruption say nothing, and a 429 is for the pacer.
 *
 * @since 0.2.0
 */
import * as Cause from "effect/Cause"
import type * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as LlmError from "../../errors/LlmError.js"
import * as Deadline from "../Deadline.js"

/**
 * What an attempt says about its target.
 *
 * - `Success`: it answers.
 * - `Ignored`: nothing.
 * - `Failure`: it is unhealthy; `retryAfter` is how long it asked to be left alone.
 * - `Dead`: its key is refused or has no credit.
 * - `Throttled`: it wants no more before `until`, in epoch milliseconds.
 *
 * `error` is the tag of the error that said so.
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
 * Nothing is known; a probe gives its place to another.
 *
 * @since 0.2.0
 * @category outcomes
 */
export const ignored: Outcome = { _tag: "Ignored" }

/**
 * The target is unhealthy. Where this failure opens the circuit, `retryAfter` is a floor for how long, as far as the
 * longest open time allows.
 *
 * @since 0.2.0
 * @category outcomes
 */
export const failure = (options?: {
  /** The shortest time to stay open, as far as the longest open time allows. Default: none. */
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
 * The target wants no more before `until`, in epoch milliseconds: kept in sight, and never opens the circuit.
 *
 * @since 0.2.0
 * @category outcomes
 */
export const throttled = (until: number): Outcome => ({ _tag: "Throttled", until })

/** Before it was sent, only the way to the target can have failed; whatever else did is on our side. */
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
 * The outcome of an attempt, by the health that its `LlmError` tells of (`LlmError.rules`). `Failure` and
 * `Throttled` carry the server's hint.
 *
 * Also `Ignored`: a request that was never sent (unless the connection failed), interruption, defects, and errors
 * that are no `LlmError`.
 *
 * What was interrupted because a limit of `within` was up is that limit's `Timeout`. `now` is in epoch milliseconds.
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
  const error = Cause.isInterruptedOnly(exit.cause)
    ? Deadline.expired(within)
    : Option.getOrUndefined(Cause.failureOption(exit.cause))
  return LlmError.isLlmError(error) ? ofError(error, now) : ignored
}

/**
 * The outcome of an exit under `context`, and the exit as it goes on: a `read` that throws makes the call die. One that
 * is nothing but interruption is not shown to it.
 *
 * @internal
 */
export const judge = <A, E>(
  exit: Exit.Exit<A, E>,
  read: ((exit: Exit.Exit<A, E>, now: number) => Outcome) | undefined,
  now: number,
  context: Context.Context<never>
): readonly [Outcome, Exit.Exit<A, E>] => {
  if (read === undefined && Exit.isSuccess(exit)) return [success, exit]
  if (read === undefined || (Exit.isFailure(exit) && Cause.isInterruptedOnly(exit.cause))) {
    return [classify(exit, now, Deadline.of(context)), exit]
  }
  try {
    return [read(exit, now), exit]
  } catch (defect) {
    const died = Cause.die(defect)
    const cause = Exit.isFailure(exit) ? Cause.sequential(exit.cause, died) : died
    return [ignored, Exit.failCause(cause)]
  }
}
