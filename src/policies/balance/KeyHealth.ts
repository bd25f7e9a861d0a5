/**
 * The health of a key: whether its failures are its own fault, and how long it pauses after a rate limit. Pure.
 *
 * @since 0.2.0
 */

import * as Duration from "effect/Duration"
import type * as Deadline from "../Deadline.js"

/** As the breaker's default: three failures in a row are hardly chance. */
const tolerated = 3

/**
 * A key's failures in a row. `since` is the time of the first one; `othersAt` is the first time that another key
 * answered after it. Both are in epoch milliseconds.
 *
 * @internal
 */
export interface Health {
  readonly failures: number
  readonly since: number
  readonly othersAt: number
}

/**
 * @internal
 */
export const never = Number.NEGATIVE_INFINITY

const notYet = Number.POSITIVE_INFINITY

/**
 * @internal
 */
export const unasked: Health = { failures: 0, since: notYet, othersAt: notYet }

/**
 * Adds a failure, and decides whether the key is at fault: at the third in a row or later, if another key answered
 * after the first failure, and this attempt began after that answer. Failures at the start of a provider's outage
 * therefore do not count, nor attempts that hang beyond its end. `othersAt` is the last answer of another key that
 * still takes traffic.
 *
 * @internal
 */
export const failed = (
  before: Health,
  othersAt: number,
  startedAt: number,
  now: number
): readonly [boolean, Health] => {
  const since = before.failures === 0 ? now : before.since
  const othersServe = othersAt > since
  const next: Health = {
    failures: before.failures + 1,
    since,
    othersAt: before.othersAt === notYet && othersServe ? othersAt : before.othersAt
  }
  return [next.failures >= tolerated && othersServe && startedAt >= next.othersAt, next]
}

/**
 * A key's pause for one model: its end, in epoch milliseconds, and the number of rate limits without a hint since the
 * last answer.
 *
 * @internal
 */
export interface Pause {
  readonly until: number
  readonly unhinted: number
}

/**
 * @internal
 */
export const running: Pause = { until: 0, unhinted: 0 }

/**
 * From 1 to 16 seconds, doubling. Most limits are per minute and refill all the time, so a second is worth a try and a
 * quarter of a minute is enough.
 */
const pauseMillis = (unhinted: number): number => Math.min(16_000, 1000 * 2 ** (unhinted - 1))

/**
 * The longest pause, in milliseconds: as for a dead key. A server's hint may be the time until its limit is full again,
 * and one request an hour costs nothing.
 */
const longestPause = 3_600_000

/**
 * @internal
 */
export const paused = (before: Pause, hint: Duration.Duration | undefined, now: number): Pause => {
  const unhinted = hint === undefined ? before.unhinted + 1 : before.unhinted
  const millis = hint === undefined ? pauseMillis(unhinted) : Math.min(longestPause, Duration.toMillis(hint))
  return { until: Math.max(before.until, now + millis), unhinted }
}

/**
 * How long the probe of a key with hanging requests waits for a call that can afford it, in milliseconds: as long as
 * the key's first pause.
 *
 * @since 0.2.0
 * @category constants
 */
export const patience = 15_000

/**
 * Whether a call can afford a hanging attempt: the time left after it allows another attempt of the same length.
 *
 * @since 0.2.0
 * @category predicates
 */
export const affords = (within: Deadline.Limit, now: number): boolean => {
  if (!Number.isFinite(within.at)) return true
  const rest = (within.outer?.at ?? Number.POSITIVE_INFINITY) - within.at
  return within.phase !== "total" && rest >= within.at - now
}

/**
 * Counts the errors of keys: "all 5 keys are out: 3 AuthError, 2 RateLimited".
 *
 * @internal
 */
export const summary = (tags: ReadonlyArray<string>): string => {
  const counts = new Map<string, number>()
  for (const tag of tags) counts.set(tag, (counts.get(tag) ?? 0) + 1)
  const [first] = counts.keys()
  const reasons = counts.size === 1 ? first : Array.from(counts, ([tag, count]) => `${count} ${tag}`).join(", ")
  return `${tags.length === 1 ? "the only key is" : `all ${tags.length} keys are`} out: ${reasons}`
}
