/**
 * One call under a pacer, without its place: what it asks for, how it is refused, and what its end teaches. Pure.
 *
 * @since 0.2.0
 */
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as LlmError from "../../errors/LlmError.js"
import type { Usage } from "../Usage.js"
import type * as Buckets from "./Buckets.js"
import type * as PacerState from "./PacerState.js"

// -----------------------------------------------------------------------------
// models
// -----------------------------------------------------------------------------

/**
 * A call that asks for a place.
 *
 * @since 0.2.0
 * @category models
 */
export interface Ask {
  /** The key whose limits count. */
  readonly key: string
  /** The provider that a refusal names. Default: the key. */
  readonly provider?: string | undefined
  /** The model that a refusal names. Default: none. */
  readonly model?: string | undefined
  /** An estimate of the tokens in. Default 0. */
  readonly inputTokens?: number | undefined
  /** An estimate of the tokens out. Default: what answers took lately. */
  readonly outputTokens?: number | undefined
  /** An object that stands for the call, so that it gets its old place when it comes back. Default: none. */
  readonly place?: object | undefined
}

/**
 * How a call ended: with its usage, or an error; `interrupted` if nobody waited for its end; not `sent` if its place
 * was not used.
 *
 * @since 0.2.0
 * @category models
 */
export interface End {
  readonly usage?: Usage | undefined
  readonly error?: LlmError.LlmError | undefined
  readonly interrupted?: boolean | undefined
  readonly sent?: false | undefined
}

/**
 * What a pacer fails with, both before anything was sent.
 *
 * @since 0.2.0
 * @category models
 */
export type Refusal = LlmError.RateLimited | LlmError.ContextLengthExceeded

// -----------------------------------------------------------------------------
// refusals and ends
// -----------------------------------------------------------------------------

/**
 * @internal
 */
export const tooLarge = (ask: Ask, { dimension, found, limit }: Buckets.Exceeded): Refusal =>
  new LlmError.ContextLengthExceeded({
    provider: ask.provider ?? ask.key,
    model: ask.model,
    message: `${dimension}: found ${Math.ceil(found)}, expected at most the ${Math.floor(limit.burst)} that the limit allows at once`,
    code: "pacer-too-large",
    delivery: "not-sent"
  })

/**
 * @internal
 */
export const turnedAway = (ask: Ask, why: string, wait: number): Refusal =>
  new LlmError.RateLimited({
    provider: ask.provider ?? ask.key,
    model: ask.model,
    message: `${why}; the wait would be ${Duration.format(Duration.millis(Math.ceil(wait)))}`,
    code: "pacer-queue",
    hint: Duration.millis(Math.ceil(wait)),
    delivery: "not-sent"
  })

/**
 * What an end teaches the lane. Our own refusals, of this pacer or of one inside, were not sent and teach nothing.
 *
 * @internal
 */
export const outcomeOf = (end: End, random: number): PacerState.Outcome => {
  const { error, usage } = end
  if (end.sent === false || error?.delivery === "not-sent") return { _tag: "NotSent" }
  if (error === undefined) return { _tag: end.interrupted === true ? "Unclear" : "Answered", usage }
  if (error._tag === "RateLimited") {
    const hint = error.hint === undefined ? undefined : Duration.toMillis(error.hint)
    return { _tag: "Refused", hint, scope: error.scope === "day" ? undefined : error.scope, random }
  }
  return error.delivery === "rejected" ? { _tag: "Rejected" } : { _tag: "Unclear", usage }
}

/**
 * The error as it goes on: where the provider did not say when to come back, the pacer does, so that nobody comes
 * before, and the return is no retry that has to be afforded.
 *
 * @since 0.2.0
 * @category combinators
 */
export const hinted = <E>(error: E, paused: number): E =>
  error instanceof LlmError.RateLimited && error.hint === undefined && error.delivery !== "not-sent"
    ? LlmError.override(error, { hint: Duration.millis(Math.ceil(paused)) })
    : error

/**
 * The end of an effect, as a permit is told it.
 *
 * @internal
 */
export const endOf = <A>(exit: Exit.Exit<A, unknown>, usage: ((value: A) => Usage | undefined) | undefined): End => {
  if (Exit.isSuccess(exit)) return { usage: usage?.(exit.value) }
  const failure = Option.getOrUndefined(Cause.failureOption(exit.cause))
  return LlmError.isLlmError(failure) ? { error: failure } : { interrupted: true }
}
