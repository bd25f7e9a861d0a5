/**
 * The slow start of calls that waited for a circuit: how many of them may be in flight after it closed.
 *
 * The window doubles with each round as long as the target answers at least a quarter faster than in the round before;
 * else it goes back to the width before.
 * A target that only just came back, or whose capacity is reached, so sees no herd. Everything here is pure.
 *
 * @since 0.2.0
 */

import type { Outcome } from "./CircuitOutcome.js"

/**
 * A window and its present round. Times are in epoch milliseconds.
 *
 * @internal
 */
export interface Window {
  /** The most calls in flight. */
  readonly width: number
  /** The start of the round. */
  readonly since: number
  /** The answers of the round, and its failures. A round ends after as many as the window is wide. */
  readonly answers: number
  readonly failures: number
  /** The answers per millisecond of the round before. */
  readonly rate: number
  /** The width before, if the last round doubled it. */
  readonly before: number | undefined
}

/** The growth of the rate that shows free capacity. A doubled window doubles the rate if the target has room. */
const growth = 1.25

/**
 * @internal
 */
export const begin = (width: number, now: number, rate = 0, before?: number): Window => ({
  width,
  since: now,
  answers: 0,
  failures: 0,
  rate,
  before
})

/** The share of failures that a round may have: a target that fails one call in five is not above its capacity. */
const bearable = 0.25

/**
 * The window after the end of one of its calls. A round with too many failures narrows it to the share that was
 * answered; a 429 is a failure here.
 *
 * @internal
 */
export const next = (window: Window, outcome: Outcome, now: number): Window => {
  if (outcome._tag === "Ignored") return window
  const answers = window.answers + (outcome._tag === "Success" ? 1 : 0)
  const failures = window.failures + (outcome._tag === "Success" ? 0 : 1)
  const { before, rate, since, width } = window
  if (answers + failures < width) return { width, since, answers, failures, rate, before }
  const measured = answers / Math.max(1, now - since)
  // What it answered in that round is what it can do: the narrower window must beat it to widen again.
  if (failures > bearable * (answers + failures)) {
    return begin(Math.max(1, Math.floor((width * answers) / (answers + failures))), now, measured)
  }
  if (measured >= growth * rate) return begin(width * 2, now, measured, width)
  // More calls at once brought no more answers: they waited inside the target, where they may time out.
  return before === undefined ? begin(width, now, measured) : begin(before, now, rate)
}
