/**
 * One rate limit as a provider's headers tell it, response by response: what it is really per, and what its bucket
 * holds. Pure.
 *
 * Headers name a number, what remains of it and when it is full again. What the number is per they do not say, and a
 * provider may enforce it in shorter windows than it tells. Both can be found out, for a bucket that refills evenly:
 * what remains and what refills until it is full make the same sum every time. {@link tell} tries two readings and
 * believes one only when several different responses agree on it:
 *
 * - the documented window is right (a minute, unless the wire format knows better), and the sum is the bucket's size;
 * - the bucket holds the whole limit, and the time until it is full says what the limit is per.
 *
 * Gotcha: a window that is fixed, and full again all at once, agrees with neither. Then the documented window stands.
 *
 * @since 0.2.0
 */
import type * as Types from "effect/Types"
import * as Gcra from "./Gcra.js"
import type { Limit } from "./RateLimits.js"

/** What several responses agree on: it lies between `low` and `high`. */
interface Reading {
  readonly low: number
  readonly high: number
  readonly count: number
  /** The least and the most that remained, and when the first of them came. */
  readonly least: number
  readonly most: number
  readonly since: number
}

/**
 * What is known of a limit from headers. `bound` is what it comes to.
 *
 * @since 0.2.0
 * @category models
 */
export interface HeaderLimit {
  readonly limit: number
  readonly documented: number
  readonly bound: Gcra.Limit
  readonly size: Reading | undefined
  readonly window: Reading | undefined
  /** Whether `bound` is what the two readings say. */
  readonly isFound: boolean
  /** How many responses in a row spoke against what `bound` was found to be. */
  readonly against: number
}

/** What limits are per where nobody says: a minute, as for every provider of chat models but for daily quotas. */
export const minute = 60_000

/** Windows that people choose; one of them is likelier than its neighbours. */
const usual = [1000, 10_000, minute, 3_600_000, 86_400_000]

/** Fewer responses may agree by chance. */
const enough = 3

/** So many responses that disagree are no stragglers: what was found holds no more. */
const tooManyAgainst = 8

const isPositive = (value: number | undefined): value is number =>
  value !== undefined && value > 0 && Number.isFinite(value)

/**
 * The number in a header that can be a limit; zero, which some send for "none", negative and absurd ones cannot.
 *
 * @since 0.2.0
 * @category getters
 */
export const limitOf = (header: Limit): number | undefined => (isPositive(header.limit) ? header.limit : undefined)

/**
 * What remained, if that can be so.
 *
 * @since 0.2.0
 * @category getters
 */
export const remainingOf = (header: Limit): number | undefined =>
  header.remaining !== undefined && header.remaining >= 0 && header.remaining <= (limitOf(header) ?? header.remaining)
    ? header.remaining
    : undefined

/** Whole seconds may have been rounded to them, anything else to a millisecond. */
const toleranceOf = (reset: number): number => (reset % 1000 === 0 ? 1000 : 1)

/** The reading with one response more; the same one where that teaches nothing. */
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
 * The bucket's size, at the documented rate. It counts when what remained, or the time, differed by more than what
 * rounding alone may hide: the sums of a fixed window would differ by as much.
 */
const foundSize = (told: HeaderLimit, reading: Reading, tolerance: number, now: number): Gcra.Limit | undefined => {
  const rate = told.limit / told.documented
  const hidden = 2 * (1 + 2 * tolerance * rate)
  const agreed =
    reading.count >= enough && (reading.most - reading.least >= hidden || (now - reading.since) * rate >= hidden)
  if (!agreed || reading.low < 1 || reading.low > told.limit * 1.02 || !Number.isFinite(reading.high)) return undefined
  // Buckets hold whole numbers.
  const whole = Math.ceil(reading.low)
  const burst = Math.min(told.limit, whole <= reading.high ? whole : reading.low)
  return { limit: told.limit, windowMillis: told.documented, burst }
}

/** The window, for a bucket that holds the whole limit. */
const foundWindow = (told: HeaderLimit, reading: Reading): Gcra.Limit | undefined => {
  const [fewest, most] = [told.limit - reading.most, told.limit - reading.least]
  if (reading.count < enough || most - 1 < 2 * fewest || !(reading.low > 0) || reading.high > reading.low * 1.5)
    return undefined
  const within = (millis: number) => millis >= reading.low * 0.99 && millis <= reading.high * 1.01
  const windowMillis =
    [told.documented, ...usual].find(within) ?? (reading.high <= reading.low * 1.1 ? reading.high : undefined)
  return windowMillis === undefined ? undefined : { limit: told.limit, windowMillis, burst: told.limit }
}

const first = (limit: number, documented: number): HeaderLimit => ({
  limit,
  documented,
  bound: { limit, windowMillis: documented, burst: limit },
  size: undefined,
  window: undefined,
  isFound: false,
  against: 0
})

/** The same limit with another number, as after an upgrade: the rest of what was found about it stays in proportion. */
const renumbered = (told: HeaderLimit, limit: number): HeaderLimit => ({
  ...first(limit, told.documented),
  bound: { limit, windowMillis: told.bound.windowMillis, burst: (told.bound.burst * limit) / told.limit }
})

/**
 * What is known after one more response. `documented` is what the limit is per, in milliseconds, as far as anybody
 * said. A header without a usable limit tells nothing new.
 *
 * @since 0.2.0
 * @category combinators
 */
export const tell = (
  before: HeaderLimit | undefined,
  header: Limit,
  documented: number,
  now: number
): HeaderLimit | undefined => {
  const limit = limitOf(header)
  if (limit === undefined) return before
  const told =
    before === undefined || before.documented !== documented
      ? first(limit, documented)
      : before.limit === limit
        ? before
        : renumbered(before, limit)
  const reset = header.resetMillis
  const remaining = remainingOf(header)
  if (remaining === undefined || !isPositive(reset) || remaining >= limit) return told
  return learn(told, remaining, reset, now)
}

const learn = (told: HeaderLimit, remaining: number, reset: number, now: number): HeaderLimit => {
  const { limit } = told
  const tolerance = toleranceOf(reset)
  const rate = limit / told.documented
  // Where nothing remains, there may be less than nothing: then only one side of the sum is known.
  const none = remaining < 1
  const size = read(
    told.size,
    none ? 0 : remaining + (reset - tolerance) * rate,
    remaining + 1 + (reset + tolerance) * rate,
    remaining,
    now
  )
  const used = limit - remaining
  const window = read(
    told.window,
    none ? 0 : ((reset - tolerance) * limit) / used,
    used > 1 ? ((reset + tolerance) * limit) / (used - 1) : Number.POSITIVE_INFINITY,
    remaining,
    now
  )
  if (told.isFound && size === told.size && window === told.window) return told
  const bySize = () => foundSize(told, size, tolerance, now)
  const byWindow = () => foundWindow(told, window)
  // Responses that are all alike agree with both: the reading that held for longer is the one that stood a test.
  const found = size.since <= window.since ? (bySize() ?? byWindow()) : (byWindow() ?? bySize())
  const { documented } = told
  if (found !== undefined) return { limit, documented, bound: found, size, window, isFound: true, against: 0 }
  const contradicted = size.count === 1 && window.count === 1 && told.size !== undefined
  const against = contradicted ? told.against + 1 : told.against
  return against >= tooManyAgainst
    ? first(limit, documented)
    : { limit, documented, bound: told.bound, size, window, isFound: false, against }
}

// -----------------------------------------------------------------------------
// what is kept
// -----------------------------------------------------------------------------

/**
 * One that is written in place: see `PacerState.Kept`.
 *
 * @internal
 */
export interface Kept extends Types.Mutable<HeaderLimit> {
  size: Types.Mutable<Reading> | undefined
  window: Types.Mutable<Reading> | undefined
}

/**
 * What is known now, written over what was known before where there is anything.
 *
 * @internal
 */
export const overwrite = (kept: Kept | undefined, next: HeaderLimit | undefined): Kept | undefined => {
  // The same: nothing was learned.
  if (kept === next || next === undefined) return next === undefined ? undefined : kept
  if (kept === undefined) {
    const { against, bound, documented, isFound, limit } = next
    const [size, window] = [overReading(undefined, next.size), overReading(undefined, next.window)]
    return { limit, documented, bound, size, window, isFound, against }
  }
  kept.limit = next.limit
  kept.documented = next.documented
  kept.bound = Gcra.shared(kept.bound, next.bound)
  kept.size = overReading(kept.size, next.size)
  kept.window = overReading(kept.window, next.window)
  kept.isFound = next.isFound
  kept.against = next.against
  return kept
}

const overReading = (kept: Kept["size"], next: Reading | undefined): Kept["size"] => {
  if (kept === next || next === undefined) return next === undefined ? undefined : kept
  if (kept === undefined) {
    const { count, high, least, low, most, since } = next
    return { low, high, count, least, most, since }
  }
  return Object.assign(kept, next)
}
