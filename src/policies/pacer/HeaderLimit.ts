/**
 * One rate limit as a provider's headers tell it, response by response: the window that it is for, and the size of its
 * bucket. Pure.
 *
 * Headers tell a number, how much of it remains, and when it is full again. They do not tell the window, and a provider
 * may enforce the limit in shorter windows. Both can be found out for a bucket that refills evenly: the rest and the
 * refill until it is full make the same sum every time. {@link observe} tries two readings and believes one only when
 * several different responses agree on it:
 *
 * - the documented window is right (a minute, unless the wire format knows better), and the sum is the bucket's size;
 * - the bucket holds the whole limit, and the time until it is full tells the window.
 *
 * If neither reading holds, a {@link proven} window replaces the documented one: returned places proved it.
 *
 * Without it a limit of five a second counts as five a minute, and takes twelve times as long.
 *
 * Gotcha: a fixed window, full again all at once, agrees with neither reading. Then the documented window stands.
 *
 * @since 0.2.0
 */

import * as Gcra from "./Gcra.js"
import type * as RateLimits from "./RateLimits.js"

/** A number that several responses agree on: it lies between `low` and `high`. */
interface Reading {
  readonly low: number
  readonly high: number
  readonly count: number
  /** The least and the most that remained, and the time of the first response. */
  readonly least: number
  readonly most: number
  readonly since: number
}

/**
 * A limit as headers told it so far. `bound` is the limit to keep; `documented` is its window in milliseconds, `proven`
 * the one that was seen instead, if any.
 *
 * @since 0.2.0
 * @category models
 */
export interface HeaderLimit {
  readonly limit: number
  readonly documented: number
  readonly proven: number | undefined
  readonly bound: Gcra.Limit
  readonly size: Reading | undefined
  readonly window: Reading | undefined
  /** Whether `bound` comes from one of the two readings. */
  readonly isFound: boolean
  /** How many responses in a row spoke against `bound`. */
  readonly against: number
}

/** The window where nobody tells it: every provider of chat models counts in minutes, but for daily quotas. */
export const minute = 60_000

/** Windows that people choose, in milliseconds; one of them is likelier than its neighbours. */
const usual = [1000, 10_000, minute, 3_600_000, 86_400_000]

/** The responses that must agree; fewer may agree by chance. */
const enough = 3

/** After so many responses that disagree, the reading is given up. */
const tooManyAgainst = 8

/** A limit above a billion thousands is none; some send the largest number that they have. */
const largest = 1e12

/** The longest reset and window, in milliseconds: a month of 31 days. */
const longest = 31 * 86_400_000

const isIn = (value: number | undefined, least: number, most: number): value is number =>
  value !== undefined && value >= least && value <= most

/**
 * The limit of a header. Less than one, as the zero that some send for "none", and absurd numbers are no limit.
 *
 * @since 0.2.0
 * @category getters
 */
export const limitOf = (header: RateLimits.Limit): number | undefined =>
  isIn(header.limit, 1, largest) ? header.limit : undefined

/**
 * The milliseconds until the limit is full again, if that is possible: 1 to a month.
 *
 * @since 0.2.0
 * @category getters
 */
export const resetOf = ({ resetMillis }: RateLimits.Limit): number | undefined =>
  isIn(resetMillis, 1, longest) ? resetMillis : undefined

/**
 * The rest that a header tells, if it is possible.
 *
 * @since 0.2.0
 * @category getters
 */
export const remainingOf = (header: RateLimits.Limit): number | undefined =>
  isIn(header.remaining, 0, limitOf(header) ?? largest) ? header.remaining : undefined

/** Whole seconds may have been rounded to them, anything else to a millisecond. */
const toleranceOf = (reset: number): number => (reset % 1000 === 0 ? 1000 : 1)

/** The reading with one response more; the same object where the response teaches nothing. */
const read = (before: Reading | undefined, low: number, high: number, remaining: number, now: number): Reading => {
  if (before === undefined || low > before.high || high < before.low) {
    return { low, high, count: 1, least: remaining, most: remaining, since: now }
  }
  const isKnown =
    before.count >= enough &&
    low <= before.low &&
    high >= before.high &&
    remaining >= before.least &&
    remaining <= before.most
  if (isKnown) return before
  return {
    low: Math.max(low, before.low),
    high: Math.min(high, before.high),
    count: before.count + 1,
    least: Math.min(before.least, remaining),
    most: Math.max(before.most, remaining),
    since: before.since
  }
}

/**
 * The bucket's size, at the documented rate. It counts when the rest, or the time, differed by more than rounding may
 * hide: the sums of a fixed window would differ by as much.
 */
const foundSize = (self: HeaderLimit, reading: Reading, tolerance: number, now: number): Gcra.Limit | undefined => {
  const rate = self.limit / self.documented
  const hidden = 2 * (1 + 2 * tolerance * rate)
  const agreed =
    reading.count >= enough && (reading.most - reading.least >= hidden || (now - reading.since) * rate >= hidden)
  if (!agreed || reading.low < 1 || reading.low > self.limit * 1.02) return undefined
  // Buckets hold whole numbers.
  const whole = Math.ceil(reading.low)
  const burst = Math.min(self.limit, whole <= reading.high ? whole : reading.low)
  return { limit: self.limit, windowMillis: self.documented, burst }
}

/** The window, for a bucket that holds the whole limit. */
const foundWindow = (self: HeaderLimit, reading: Reading): Gcra.Limit | undefined => {
  const [fewest, most] = [self.limit - reading.most, self.limit - reading.least]
  if (!isIn(reading.low, 1, longest)) return undefined
  if (reading.count < enough || most - 1 < 2 * fewest || reading.high > reading.low * 1.5) return undefined
  const within = (millis: number) => millis >= reading.low * 0.99 && millis <= reading.high * 1.01
  const windowMillis =
    [self.documented, ...usual].find(within) ?? (reading.high <= reading.low * 1.1 ? reading.high : undefined)
  return windowMillis === undefined ? undefined : { limit: self.limit, windowMillis, burst: self.limit }
}

const first = (limit: number, documented: number, proven?: number): HeaderLimit => ({
  limit,
  documented,
  proven,
  bound: { limit, windowMillis: proven ?? documented, burst: limit },
  size: undefined,
  window: undefined,
  isFound: false,
  against: 0
})

/** The same limit with another number, as after an upgrade: window and burst stay, the burst in proportion. */
const renumbered = (self: HeaderLimit, limit: number): HeaderLimit => ({
  ...first(limit, self.documented, self.proven),
  bound: { limit, windowMillis: self.bound.windowMillis, burst: (self.bound.burst * limit) / self.limit }
})

/**
 * The limit with the window that returned places proved, in milliseconds. A contradiction ends it.
 *
 * @since 0.2.0
 * @category combinators
 */
export const proven = (self: HeaderLimit, windowMillis: number): HeaderLimit => ({
  ...self,
  proven: windowMillis,
  bound: { limit: self.limit, windowMillis, burst: self.bound.burst }
})

/**
 * The limit after one more response. `documented` is its documented window in milliseconds. A header without a usable
 * limit changes nothing.
 *
 * @since 0.2.0
 * @category combinators
 */
export const observe = (
  before: HeaderLimit | undefined,
  header: RateLimits.Limit,
  documented: number,
  now: number
): HeaderLimit | undefined => {
  const limit = limitOf(header)
  if (limit === undefined || !isIn(documented, 1, longest)) return before
  const self =
    before === undefined || before.documented !== documented
      ? first(limit, documented)
      : before.limit === limit
        ? before
        : renumbered(before, limit)
  const reset = resetOf(header)
  const remaining = remainingOf(header)
  // No bucket holds more than its size.
  if (remaining !== undefined && self.isFound && remaining > self.bound.burst + 1)
    return first(limit, documented, self.proven)
  if (remaining === undefined || reset === undefined || remaining >= limit) return self
  return learn(self, remaining, reset, now)
}

const learn = (self: HeaderLimit, remaining: number, reset: number, now: number): HeaderLimit => {
  const { limit } = self
  const tolerance = toleranceOf(reset)
  const rate = limit / self.documented
  // Where nothing remains, there may be less than nothing: then only one side of the sum is known.
  const none = remaining < 1
  const size = read(
    self.size,
    none ? 0 : remaining + (reset - tolerance) * rate,
    remaining + 1 + (reset + tolerance) * rate,
    remaining,
    now
  )
  const used = limit - remaining
  const window = read(
    self.window,
    none ? 0 : ((reset - tolerance) * limit) / used,
    // JSON has no `Infinity`, and the state of a key must survive it.
    used > 1 ? ((reset + tolerance) * limit) / (used - 1) : Number.MAX_VALUE,
    remaining,
    now
  )
  if (self.isFound && size === self.size && window === self.window) return self
  // The sums are made at the documented rate, so they mean nothing where a faster one was seen.
  const isFaster = self.proven !== undefined && self.proven < self.documented
  const bySize = () => (isFaster ? undefined : foundSize(self, size, tolerance, now))
  const byWindow = () => foundWindow(self, window)
  // Responses that are all alike agree with both: the reading that held for longer is the one that stood a test.
  const found = size.since <= window.since ? (bySize() ?? byWindow()) : (byWindow() ?? bySize())
  const { documented, proven } = self
  if (found !== undefined) return { limit, documented, proven, bound: found, size, window, isFound: true, against: 0 }
  const contradicted = size.count === 1 && window.count === 1 && self.size !== undefined
  const against = contradicted ? self.against + 1 : self.against
  return against >= tooManyAgainst
    ? first(limit, documented, proven)
    : { limit, documented, proven, bound: self.bound, size, window, isFound: false, against }
}
