/**
 * The options of a pacer, checked.
 *
 * Without it a limit of zero or of `NaN` would hold up every call for ever.
 *
 * @since 0.2.0
 */
import * as Duration from "effect/Duration"
import type * as Buckets from "./Buckets.js"
import type * as Cost from "./Cost.js"
import type * as Gcra from "./Gcra.js"

/**
 * `limit` in each `window` (default one minute), at most `burst` of it at once (default `limit`: the token buckets that
 * providers document hold one window).
 *
 * @since 0.2.0
 * @category options
 */
export interface LimitOptions {
  readonly limit: number
  readonly window?: Duration.DurationInput | undefined
  readonly burst?: number | undefined
}

/**
 * - `requests`, `tokens` (in and out together), `inputTokens`, `outputTokens`: limits for each key; headers can only
 *   make them smaller. The pacer learns a limit that is left out.
 * - `maxWait`: the longest that a call may wait for its place. Default: as long as its deadline allows.
 * - `maxQueue`: how many calls may wait for one key. Default 10,000.
 *
 * @since 0.2.0
 * @category options
 */
export interface Options {
  readonly requests?: LimitOptions | undefined
  readonly tokens?: LimitOptions | undefined
  readonly inputTokens?: LimitOptions | undefined
  readonly outputTokens?: LimitOptions | undefined
  readonly maxWait?: Duration.DurationInput | undefined
  readonly maxQueue?: number | undefined
}

/**
 * The checked options; durations in milliseconds.
 *
 * @since 0.2.0
 * @category models
 */
export interface Settings {
  readonly config: Buckets.Config
  readonly maxWait: number
  readonly maxQueue: number
}

const refuse = (name: string, found: unknown, expected: string): never => {
  throw new RangeError(`Pacer: ${name}: found ${JSON.stringify(found) ?? String(found)}, expected ${expected}`)
}

const millis = (name: string, input: Duration.DurationInput): number => {
  const decoded = Duration.decodeUnknown(input)
  const value = decoded._tag === "None" ? Number.NaN : Duration.toMillis(decoded.value)
  return value > 0 && Number.isFinite(value) ? value : refuse(name, input, "a duration above zero")
}

const limitOf = (name: Cost.Dimension, options: LimitOptions | undefined): Gcra.Limit | undefined => {
  if (options === undefined) return undefined
  const { limit } = options
  if (!(limit > 0 && Number.isFinite(limit))) return refuse(`${name}.limit`, limit, "a number above 0")
  // A bucket that does not hold one request never lets one go.
  const burst = options.burst ?? Math.max(1, limit)
  if (!(burst >= 1 && Number.isFinite(burst))) return refuse(`${name}.burst`, burst, "a number from 1")
  return { limit, windowMillis: millis(`${name}.window`, options.window ?? "1 minute"), burst }
}

/**
 * Throws a `RangeError` that names the option, what was found and what was expected.
 *
 * @internal
 */
export const settings = (options: Options): Settings => {
  const { maxQueue = 10_000, maxWait } = options
  if (!(Number.isInteger(maxQueue) && maxQueue >= 0)) return refuse("maxQueue", maxQueue, "a whole number from 0")
  return {
    config: {
      requests: limitOf("requests", options.requests),
      tokens: limitOf("tokens", options.tokens),
      inputTokens: limitOf("inputTokens", options.inputTokens),
      outputTokens: limitOf("outputTokens", options.outputTokens)
    },
    maxWait: maxWait === undefined ? Number.POSITIVE_INFINITY : millis("maxWait", maxWait),
    maxQueue
  }
}
