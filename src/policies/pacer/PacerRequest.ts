/**
 * One request under a pacer: its options, the errors that turn it away, and the lesson of its ending. Pure.
 *
 * Without it an error that never reached the provider would count as its refusal, and pause the key.
 *
 * @since 0.2.0
 */

import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as LlmError from "../../errors/LlmError.js"
import * as RetryBudget from "../retry/RetryBudget.js"
import type { Usage } from "../Usage.js"
import type * as Buckets from "./Buckets.js"
import type * as PacerState from "./PacerState.js"

// -----------------------------------------------------------------------------
// models
// -----------------------------------------------------------------------------

/**
 * The options of a request.
 *
 * @since 0.2.0
 * @category options
 */
export interface AcquireOptions {
  /** The key of the queue: requests with one key share its limits. */
  readonly key: string
  /** The provider that a {@link Refusal} names. Default: the key. */
  readonly provider?: string | undefined
  /** The model that a {@link Refusal} names. Default: none. */
  readonly model?: string | undefined
  /** An estimate of the tokens of the prompt. Default 0. */
  readonly inputTokens?: number | undefined
  /** The most tokens of the answer. Default: the average of the last answers, 300 before the first. */
  readonly outputTokens?: number | undefined
  /**
   * An object that stands for the call: a request that failed and comes back with it gets its old place. Default: none.
   */
  readonly place?: object | undefined
}

/**
 * The ending of a request: its usage, or its error. `interrupted`: the caller left before the answer. `sent` is `false`
 * for a place that was not used.
 *
 * @since 0.2.0
 * @category models
 */
export interface Ending {
  readonly usage?: Usage | undefined
  readonly error?: LlmError.LlmError | undefined
  readonly interrupted?: boolean | undefined
  readonly sent?: false | undefined
}

/**
 * The errors of a pacer; both come before anything was sent.
 *
 * @since 0.2.0
 * @category models
 */
export type Refusal = LlmError.RateLimited | LlmError.ContextLengthExceeded

// -----------------------------------------------------------------------------
// errors and endings
// -----------------------------------------------------------------------------

/**
 * @internal
 */
export const tooLarge = (options: AcquireOptions, { dimension, found, limit }: Buckets.Exceeded): Refusal =>
  new LlmError.ContextLengthExceeded({
    provider: options.provider ?? options.key,
    model: options.model,
    message:
      `${dimension}: found ${Math.ceil(found)}, ` +
      `expected at most the ${Math.floor(limit.burst)} that the limit allows at once`,
    code: "pacer-too-large",
    delivery: "not-sent"
  })

/**
 * @internal
 */
export const turnedAway = (options: AcquireOptions, why: string, wait: number): Refusal =>
  new LlmError.RateLimited({
    provider: options.provider ?? options.key,
    model: options.model,
    message: `${why}; the wait would be ${Duration.format(Duration.millis(Math.ceil(wait)))}`,
    code: "pacer-queue",
    hint: Duration.millis(Math.ceil(wait)),
    delivery: "not-sent"
  })

/** No limit counts more in one request. */
const mostTokens = 1e9

/**
 * A number of tokens as an application gives it, from 0 to a billion.
 *
 * @internal
 */
export const count = (tokens: number | undefined): number | undefined =>
  tokens === undefined || Number.isNaN(tokens) ? undefined : Math.min(mostTokens, Math.max(0, tokens))

/**
 * The longest pause that a refusal asks for, in milliseconds. A longer hint may be the time until the limit is full
 * again; one request an hour finds out.
 */
const longestPause = 3_600_000

/**
 * The outcome of an ending. A `Refusal`, of this pacer or of another inside, was not sent and teaches nothing.
 *
 * @internal
 */
export const outcomeOf = (ending: Ending, random: number): PacerState.Outcome => {
  const { error, usage } = ending
  if (ending.sent === false || error?.delivery === "not-sent") return { _tag: "NotSent" }
  if (error === undefined) return { _tag: ending.interrupted === true ? "Unclear" : "Answered", usage }
  if (error._tag === "RateLimited") {
    const hint = error.hint === undefined ? undefined : Math.min(longestPause, Duration.toMillis(error.hint))
    return { _tag: "Refused", hint, scope: error.scope === "day" ? undefined : error.scope, random }
  }
  return error.delivery === "rejected" ? { _tag: "Rejected" } : { _tag: "Unclear", usage }
}

/**
 * Gives the pause of the pacer, in milliseconds, to a refusal without a hint of its provider. So a retry waits as long
 * as the key does, and costs nothing of the retry budget.
 *
 * @since 0.2.0
 * @category combinators
 */
export const hinted = <E>(error: E, paused: number): E =>
  error instanceof LlmError.RateLimited && error.hint === undefined && error.delivery !== "not-sent"
    ? RetryBudget.markPause(LlmError.override(error, { hint: Duration.millis(Math.ceil(paused)) }))
    : error

/**
 * The ending of an effect.
 *
 * @internal
 */
export const endingOf = <A>(
  exit: Exit.Exit<A, unknown>,
  usage: ((value: A) => Usage | undefined) | undefined
): Ending => {
  if (Exit.isSuccess(exit)) return { usage: usage?.(exit.value) }
  const failure = Option.getOrUndefined(Cause.failureOption(exit.cause))
  return LlmError.isLlmError(failure) ? { error: failure } : { interrupted: true }
}
