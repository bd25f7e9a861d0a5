/**
 * What is judged, what is said of it, and the comparison of both groups. Pure.
 *
 * @internal
 */

import * as Schema from "effect/Schema"
import type { CallRecord } from "../calls/CallRecord.js"
import * as ScoreStats from "./ScoreStats.js"

// -----------------------------------------------------------------------------
// models
// -----------------------------------------------------------------------------

/**
 * A call for the judge. `retried`: a later attempt served it. `input` and `output` are those of `sampled`.
 *
 * @since 0.2.0
 * @category models
 */
export interface Evaluated {
  readonly record: CallRecord
  readonly retried: boolean
  readonly input: unknown
  readonly output: unknown
}

/**
 * What a judge says: a score from 0 to 1, and why.
 *
 * @since 0.2.0
 * @category models
 */
export interface Judgement {
  readonly score: number
  readonly reason: string
}

/** The most characters of a note or a reason, and of the id of a call. */
export const longest = { note: 1000, id: 200 } as const

/**
 * What a user said of an answer: thumbs, or a score from 0 to 1, and a note of at most 1,000 characters. For whoever
 * decodes it from a request.
 *
 * @since 0.2.0
 * @category models
 */
export const Opinion = Schema.Union(
  Schema.Struct({
    score: Schema.Number.pipe(Schema.between(0, 1)),
    note: Schema.optional(Schema.String.pipe(Schema.maxLength(longest.note)))
  }),
  Schema.Struct({
    thumbs: Schema.Literal("up", "down"),
    note: Schema.optional(Schema.String.pipe(Schema.maxLength(longest.note)))
  })
)

/**
 * @since 0.2.0
 * @category models
 */
export type Opinion = typeof Opinion.Type

/**
 * A judgement, or the feedback of a user: plain data, without prompt and answer. `at` is in epoch milliseconds. The
 * judge's reason is cut to 1,000 characters; it may quote the answer.
 *
 * @since 0.2.0
 * @category models
 */
export type Event =
  | ({ readonly _tag: "Judged"; readonly callId: string; readonly at: number; readonly retried: boolean } & Judgement)
  | { readonly _tag: "Feedback"; readonly callId: string; readonly at: number; readonly opinion: Opinion }

/**
 * The judged calls of a group. `mean` is `undefined` without any.
 *
 * @since 0.2.0
 * @category models
 */
export interface Group {
  readonly count: number
  readonly mean: number | undefined
}

/**
 * The two groups, compared.
 *
 * @since 0.2.0
 * @category models
 */
export interface Summary {
  /** The answers that a later attempt served. */
  readonly retried: Group
  /** The answers of first attempts. */
  readonly normal: Group
  /** Mean of `retried` less mean of `normal`, with its 95 % confidence interval; `undefined` with too few. */
  readonly difference: { readonly mean: number; readonly low: number; readonly high: number } | undefined
  /** `lower` or `higher` if the interval does not hold 0. */
  readonly verdict: "too few to tell" | "no difference seen" | "lower" | "higher"
  /** The calls that found no place, and were not judged. */
  readonly dropped: number
  /** The judgements that failed, died, took too long, or had no score from 0 to 1. */
  readonly judgeFailures: number
}

// -----------------------------------------------------------------------------
// the comparison
// -----------------------------------------------------------------------------

const verdictOf = (low: number, high: number): Summary["verdict"] =>
  high < 0 ? "lower" : low > 0 ? "higher" : "no difference seen"

export const compare = (
  retried: ScoreStats.Sums,
  normal: ScoreStats.Sums,
  minimum: number
): Omit<Summary, "dropped" | "judgeFailures"> => {
  const means = { retried: ScoreStats.mean(retried), normal: ScoreStats.mean(normal) }
  const groups = {
    retried: { count: retried.count, mean: means.retried },
    normal: { count: normal.count, mean: means.normal }
  }
  const isEnough = retried.count >= minimum && normal.count >= minimum
  if (!isEnough || means.retried === undefined || means.normal === undefined) {
    return { ...groups, difference: undefined, verdict: "too few to tell" }
  }
  const [low, high] = ScoreStats.interval(retried, normal)
  return { ...groups, difference: { mean: means.retried - means.normal, low, high }, verdict: verdictOf(low, high) }
}
