/**
 * What a pacer is told of limits and patience, checked.
 *
 * @since 0.2.0
 */

import type * as Duration from "effect/Duration"
import * as PolicyOptions from "../Options.js"
import type * as Buckets from "./Buckets.js"
import type * as Gcra from "./Gcra.js"

const limit = PolicyOptions.struct({
  limit: PolicyOptions.required(PolicyOptions.number({ above: 0 }), "How much in each window"),
  window: PolicyOptions.optional(
    PolicyOptions.duration({ above: 0, finite: true }),
    "The time in which the whole limit comes back",
    "1 minute"
  ),
  // A bucket that does not hold one is never full enough for anything.
  burst: PolicyOptions.optional(
    PolicyOptions.number({ min: 1 }),
    "How much at once; by default the limit, but at least 1"
  )
})

const options = PolicyOptions.struct({
  requests: PolicyOptions.optional(limit, "Requests with each key; by default learned"),
  tokens: PolicyOptions.optional(limit, "Tokens in and out together, with each key; by default learned"),
  inputTokens: PolicyOptions.optional(limit, "Tokens in, with each key; by default learned"),
  outputTokens: PolicyOptions.optional(limit, "Tokens out, with each key; by default learned"),
  maxWait: PolicyOptions.optional(
    PolicyOptions.duration(),
    "The longest wait for a place; by default as long as the deadline allows, but no pause above 75 seconds"
  ),
  maxQueue: PolicyOptions.optional(PolicyOptions.number({ whole: true }), "How many calls may wait for one key", 10_000)
})

/**
 * A limit as it stands in JSON or YAML: durations are text with a unit.
 *
 * @since 0.2.0
 * @category options
 */
export const LimitOptions = limit.schema

/**
 * A limit: so much in each window, and so much of it at once.
 *
 * @since 0.2.0
 * @category options
 */
export interface LimitOptions {
  /** How much in each window, above 0. */
  readonly limit: number
  /** The time in which the whole limit comes back: above 0, finite. Default 1 minute. */
  readonly window?: Duration.DurationInput | undefined
  /**
   * How much at once, 1 or more. Default `limit`, but at least 1: the token buckets that providers document hold one
   * window.
   */
  readonly burst?: number | undefined
}

/**
 * The options of a pacer as they stand in JSON or YAML: durations are text with a unit.
 *
 * @since 0.2.0
 * @category options
 */
export const Options = options.schema

/**
 * The options of a pacer. Limits hold for each key, and headers may only tell smaller ones.
 *
 * @since 0.2.0
 * @category options
 */
export interface Options {
  /** The limit of requests. Default: learned. */
  readonly requests?: LimitOptions | undefined
  /** The limit of tokens, in and out together. Default: learned. */
  readonly tokens?: LimitOptions | undefined
  /** The limit of tokens in. Default: learned. */
  readonly inputTokens?: LimitOptions | undefined
  /** The limit of tokens out. Default: learned. */
  readonly outputTokens?: LimitOptions | undefined
  /**
   * The longest that a call may wait for its place; with 0 none waits. Default: as long as its deadline allows, but
   * a provider's pause of more than 75 seconds refuses all that wait: the longest hint that `RetryPolicy` keeps, 60
   * seconds, and its jitter. A caller with more time sets `maxWait`.
   */
  readonly maxWait?: Duration.DurationInput | undefined
  /** How many calls may wait for one key, a whole number. Default 10,000. */
  readonly maxQueue?: number | undefined
}

/**
 * The options as they are used; durations in milliseconds. `maxPause` is the longest pause of a key that calls wait
 * for.
 *
 * @since 0.2.0
 * @category models
 */
export interface Settings {
  readonly config: Buckets.Config
  readonly maxWait: number
  readonly maxPause: number
  readonly maxQueue: number
}

/** The longest pause without `maxWait`, in milliseconds: `maxHint` of `RetryPolicy`, and a quarter of it for jitter. */
const longestPause = 75_000

type Limit = ReturnType<typeof limit.read>

const bucket = (one: Limit | undefined): Gcra.Limit | undefined =>
  one && { limit: one.limit, windowMillis: one.window, burst: one.burst ?? Math.max(1, one.limit) }

/**
 * Throws a `RangeError` that names the option, what was found and what was expected.
 *
 * @internal
 */
export const settings = (input: Options): Settings => {
  const { maxQueue, maxWait, ...limits } = options.read(input, "Pacer")
  return {
    config: {
      requests: bucket(limits.requests),
      tokens: bucket(limits.tokens),
      inputTokens: bucket(limits.inputTokens),
      outputTokens: bucket(limits.outputTokens)
    },
    maxWait: maxWait ?? Number.POSITIVE_INFINITY,
    maxPause: maxWait === undefined ? longestPause : Number.POSITIVE_INFINITY,
    maxQueue
  }
}
