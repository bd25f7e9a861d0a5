/**
 * A rate limit as arithmetic: the token bucket, in the form that is also called GCRA. Pure.
 *
 * A bucket holds at most `burst` and refills evenly with `limit` in `windowMillis`. So no window lets through more than
 * `limit + burst`, whenever the requests come. {@link readyAt} is exact: the cost is admitted at that millisecond and
 * not one before it.
 *
 * Without it a request cannot know when to go: it would wait too long, or be refused.
 *
 * Gotchas: {@link take} does not look at the level; a level below zero is a debt that later refills pay, of one window
 * at most. Time that runs backwards stands still here, for one window at most.
 *
 * @example
 * import * as Gcra from "./Gcra.js"
 *
 * const limit: Gcra.Limit = { limit: 60, windowMillis: 60_000, burst: 1 }
 * const empty = Gcra.take(limit, Gcra.full(limit, 0), 1, 0)
 * const second = Gcra.readyAt(limit, empty, 1, 0) // 1000
 *
 * @since 0.2.0
 */

import * as Times from "../Times.js"

/**
 * `limit` in `windowMillis`, at most `burst` at once.
 *
 * @since 0.2.0
 * @category models
 */
export interface Limit {
  readonly limit: number
  readonly windowMillis: number
  readonly burst: number
}

/**
 * The level of a bucket at a time in epoch milliseconds.
 *
 * @since 0.2.0
 * @category models
 */
export interface Bucket {
  readonly level: number
  readonly at: number
}

/** Levels are sums of fractions. Nothing is refused for a rounding error as small as this. */
const epsilon = 1e-6

/**
 * The refill of one millisecond.
 *
 * @since 0.2.0
 * @category getters
 */
export const perMilli = (limit: Limit): number => limit.limit / limit.windowMillis

/**
 * A full bucket.
 *
 * @since 0.2.0
 * @category constructors
 */
export const full = (limit: Limit, now: number): Bucket => ({ level: limit.burst, at: now })

/**
 * The level now; below zero it is a debt.
 *
 * @since 0.2.0
 * @category getters
 */
export const levelAt = (limit: Limit, bucket: Bucket, now: number): number =>
  Math.min(limit.burst, bucket.level + Math.max(0, now - bucket.at) * perMilli(limit))

/** The time from which the bucket refills on. */
const refilledTo = (limit: Limit, bucket: Bucket, now: number): number =>
  Math.max(now, Times.believed(bucket.at, now, limit.windowMillis))

/**
 * The level, but a debt is never more than one window, or one burst, pays. So nothing that a provider tells makes one
 * that lasts.
 */
const bounded = (limit: Limit, level: number): number => Math.max(-Math.max(limit.limit, limit.burst), level)

/**
 * Whether the bucket can ever hold that much.
 *
 * @since 0.2.0
 * @category predicates
 */
export const fits = (limit: Limit, cost: number): boolean => cost <= limit.burst + epsilon

/**
 * Whether the bucket holds that much now. A cost of zero is always admitted, even while there is a debt.
 *
 * @since 0.2.0
 * @category predicates
 */
export const admits = (limit: Limit, bucket: Bucket, cost: number, now: number): boolean =>
  cost <= 0 || levelAt(limit, bucket, now) >= cost - epsilon

/**
 * The first whole millisecond from `now` at which the bucket holds that much; `Infinity` if it never will.
 *
 * @since 0.2.0
 * @category getters
 */
export const readyAt = (limit: Limit, bucket: Bucket, cost: number, now: number): number => {
  if (admits(limit, bucket, cost, now)) return now
  if (!fits(limit, cost)) return Number.POSITIVE_INFINITY
  const at = drainedAt(limit, bucket, cost, now)
  // The division may be a rounding error away from the answer of `admits`. A search would never end for huge times.
  if (!admits(limit, bucket, cost, at)) return at + 1
  return admits(limit, bucket, cost, at - 1) ? at - 1 : at
}

/**
 * The time at which so much can have been taken, in small parts, each as soon as it can be; `Infinity` if there is no
 * such time. Unlike for {@link readyAt} the sum may be more than the bucket holds at once.
 *
 * @since 0.2.0
 * @category getters
 */
export const drainedAt = (limit: Limit, bucket: Bucket, cost: number, now: number): number => {
  const missing = cost - epsilon - levelAt(limit, bucket, now)
  if (cost <= 0 || missing <= 0) return now
  const at = refilledTo(limit, bucket, now) + Math.ceil(missing / perMilli(limit))
  return at <= Number.MAX_SAFE_INTEGER ? at : Number.POSITIVE_INFINITY
}

/**
 * Takes that much, whether the bucket holds it or not. The debt is never more than one window, or one burst, pays.
 *
 * @since 0.2.0
 * @category combinators
 */
export const take = (limit: Limit, bucket: Bucket, cost: number, now: number): Bucket => ({
  level: bounded(limit, levelAt(limit, bucket, now) - cost),
  at: refilledTo(limit, bucket, now)
})

/**
 * Gives that much back; a bucket never holds more than its burst.
 *
 * @since 0.2.0
 * @category combinators
 */
export const giveBack = (limit: Limit, bucket: Bucket, cost: number, now: number): Bucket => ({
  level: Math.min(limit.burst, levelAt(limit, bucket, now) + cost),
  at: refilledTo(limit, bucket, now)
})

/**
 * The same bucket at no more than that level.
 *
 * @since 0.2.0
 * @category combinators
 */
export const atMost = (limit: Limit, bucket: Bucket, level: number, now: number): Bucket => ({
  level: bounded(limit, Math.min(level, levelAt(limit, bucket, now))),
  at: refilledTo(limit, bucket, now)
})

/**
 * The same bucket under another limit from now on: it keeps its level, as far as that still fits.
 *
 * @since 0.2.0
 * @category combinators
 */
export const change = (from: Limit, to: Limit, bucket: Bucket, now: number): Bucket =>
  atMost(to, { level: levelAt(from, bucket, now), at: refilledTo(from, bucket, now) }, to.burst, now)
