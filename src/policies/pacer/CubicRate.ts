/**
 * A rate that comes back after a refusal, as CUBIC's does: fast to the plateau where it was refused, and slowly beyond.
 *
 * @since 0.2.0
 */

import * as Gcra from "./Gcra.js"

/**
 * Requests in a millisecond: from `low` to the `plateau` and beyond it; it has `grown` for so many milliseconds.
 *
 * @since 0.2.0
 * @category models
 */
export interface Rate {
  readonly low: number
  readonly plateau: number
  readonly grown: number
  readonly bucket: Gcra.Bucket
}

// -----------------------------------------------------------------------------
// constants
// -----------------------------------------------------------------------------

/** CUBIC sends 0.7 of the rate that failed; this rate is measured, so less has to be given up. */
const beta = 0.9

/** The cut without a measurement is CUBIC's. */
const blindBeta = 0.7

/** The time from a cut back to the plateau: so many milliseconds, or so many requests where those take longer. */
const recovery = { millis: 10_000, requests: 25 }

/** The learned rate may catch up with a timer that came so many milliseconds late. */
const slack = 20

/**
 * The longest time between two requests at the lowest rate, in milliseconds.
 *
 * @since 0.2.0
 * @category constants
 */
export const longestGap = 600_000

const lowest = 1 / longestGap

// -----------------------------------------------------------------------------
// the rate
// -----------------------------------------------------------------------------

const recoveryOf = (rate: Rate): number => Math.max(recovery.millis, recovery.requests / rate.plateau)

/**
 * Requests in a millisecond. The rate rises fast at first, rests at the plateau after the recovery, and then rises
 * beyond it, slowly at first.
 *
 * @since 0.2.0
 * @category getters
 */
export const perMilliOf = (rate: Rate): number => {
  const x = rate.grown / recoveryOf(rate) - 1
  return rate.plateau + (x < 0 ? rate.plateau - rate.low : rate.plateau * (1 - beta)) * x ** 3
}

/**
 * The limit that the rate is now.
 *
 * @since 0.2.0
 * @category getters
 */
export const limitOf = (rate: Rate): Gcra.Limit => {
  const perMilli = perMilliOf(rate)
  return { limit: perMilli * 1000, windowMillis: 1000, burst: 1 + perMilli * slack }
}

/**
 * One more request was sent. Beyond the plateau the rate grows only while requests wait for it.
 *
 * @since 0.2.0
 * @category combinators
 */
export const grow = (rate: Rate, isWaited: boolean, elapsed: number, now: number): Rate => {
  const grown = rate.grown + Math.max(0, elapsed)
  const next = { ...rate, grown: isWaited ? grown : Math.min(grown, Math.max(rate.grown, recoveryOf(rate))) }
  const limit = limitOf(next)
  return { ...next, bucket: Gcra.take(limit, Gcra.change(limitOf(rate), limit, rate.bucket, now), 1, now) }
}

/**
 * The rate after a refusal. The measurement is right for a bucket that saves up unused capacity; for one that does not,
 * the refused rate is right. The plateau is between the two.
 *
 * @since 0.2.0
 * @category combinators
 */
export const slowed = (
  rate: Rate | undefined,
  measured: readonly [low: number, high: number] | undefined,
  now: number
): Rate | undefined => {
  const to = (low: number, plateau: number): Rate => ({
    low: Math.max(lowest, low),
    plateau: Math.max(lowest, plateau),
    grown: 0,
    bucket: { level: 0, at: now }
  })
  if (measured === undefined) {
    if (rate === undefined) return undefined
    const refused = perMilliOf(rate)
    return to(refused * blindBeta, refused * beta)
  }
  const most = rate === undefined ? measured[1] : perMilliOf(rate)
  const least = Math.min(measured[0], most)
  return to(least * beta, Math.sqrt(least * most))
}
