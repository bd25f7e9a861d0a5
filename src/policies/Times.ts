/**
 * Times that a policy stored, under a clock that may be set back. Pure.
 *
 * A policy stores the end of a wait, or the time until which it has counted. If the clock is set back by an hour, that
 * time lies an hour further ahead. No wait is that long, so the time is not believed.
 *
 * Without it an open circuit stays open for as long as the clock was set back, and an empty bucket stays empty.
 *
 * @since 0.2.0
 */

/**
 * A stored time, or `now` if it lies further ahead than `longest`, the longest time ahead that the policy stores. All
 * in milliseconds.
 *
 * @internal
 */
export const believed = (stored: number, now: number, longest: number): number =>
  stored - now > longest ? now : stored
