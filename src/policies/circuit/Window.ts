/**
 * The slow start of calls that waited for a circuit: how many of them may be in flight after it closed.
 *
 * The window doubles with each round as long as the target answers at least a quarter faster than in the round before.
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
  /** The answers of the round. A round ends after as many as the window is wide. */
  readonly answers: number
  /** The answers per millisecond of the round before. */
  readonly rate: number
}

/** The growth of the rate that shows free capacity. A doubled window doubles the rate if the target has room. */
const growth = 1.25

/**
 * @internal
 */
export const begin = (width: number, now: number): Window => ({ width, since: now, answers: 0, rate: 0 })

/**
 * The window after the end of one of its calls. A failure or a 429 halves it.
 *
 * @internal
 */
export const next = (window: Window, outcome: Outcome, now: number): Window => {
  if (outcome._tag === "Ignored") return window
  if (outcome._tag !== "Success") return begin(Math.max(1, Math.floor(window.width / 2)), now)
  const answers = window.answers + 1
  if (answers < window.width) return { ...window, answers }
  const rate = answers / Math.max(1, now - window.since)
  const width = rate >= growth * window.rate ? window.width * 2 : window.width
  return { width, since: now, answers: 0, rate }
}
