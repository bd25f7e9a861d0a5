/**
 * What attempts say about a key: whether its failures are its own, and until when it waits after a rate limit. Pure.
 *
 * @since 0.2.0
 */
import * as Duration from "effect/Duration"

/** As the breaker's own default: three in a row are no chance. */
const tolerated = 3

/**
 * The failures of a key in a row, when the first of them was there, and when another key answered after that.
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
 * One failure more, and whether it is the key's fault: after the first another key answered, and then this attempt
 * began. So neither counts what breaks at the beginning of an outage of the provider, nor what hangs beyond its end.
 * `othersAt` is when another key answered last that still takes traffic.
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
  const serve = othersAt > since
  const next: Health = {
    failures: before.failures + 1,
    since,
    othersAt: before.othersAt === notYet && serve ? othersAt : before.othersAt
  }
  return [next.failures >= tolerated && serve && startedAt >= next.othersAt, next]
}

/**
 * Until when a key waits for a model, and how many rate limits in a row it was told without a hint.
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
 * Limits are per minute as a rule, and refill all the time: a second is worth a try, a quarter of a minute is enough.
 */
const pauseMillis = (unhinted: number): number => Math.min(16_000, 1000 * 2 ** (unhinted - 1))

/**
 * @internal
 */
export const paused = (before: Pause, hint: Duration.Duration | undefined, now: number): Pause => {
  const unhinted = hint === undefined ? before.unhinted + 1 : before.unhinted
  const millis = hint === undefined ? pauseMillis(unhinted) : Duration.toMillis(hint)
  return { until: Math.max(before.until, now + millis), unhinted }
}
