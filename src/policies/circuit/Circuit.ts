/**
 * One circuit of a {@link CircuitBreaker} as plain data: its states, admissions and refusals.
 *
 * @since 0.2.0
 */

import type { Tag } from "../../errors/LlmError.js"
import type * as TripPolicy from "./TripPolicy.js"

/**
 * The admission of one attempt. Record its outcome with it.
 *
 * @since 0.2.0
 * @category models
 */
export interface Admission {
  /** The circuit's generation at the admission. */
  readonly generation: number
  /** The time of the admission, in epoch milliseconds, if nothing was known of the circuit. */
  readonly since?: number
  /**
   * Present in a half-open circuit: the probe's place, its step of the ramp, and the time of its admission in epoch
   * milliseconds.
   */
  readonly probe?: { readonly id: number; readonly step: number; readonly at: number }
}

/**
 * Why a circuit opened last: a failing target, a dead key, or a call of `open`.
 *
 * @since 0.2.0
 * @category models
 */
export type Reason = "Unhealthy" | "Dead" | "Manual"

/** The openings in a row, by each reason with a backoff. */
type Openings = { readonly [K in Exclude<Reason, "Manual">]: number }

/**
 * A taken place, `until` its lease ends.
 *
 * @since 0.2.0
 * @category models
 */
export interface Place {
  readonly id: number
  readonly until: number
}

/**
 * The facts that survive a transition.
 *
 * @since 0.2.0
 * @category models
 */
export interface Common {
  readonly generation: number
  readonly openings: Openings
  /** The `Unhealthy` openings reset after the circuit stayed closed this long, in milliseconds. */
  readonly calm: number
  readonly throttledUntil: number
  /** The outcomes counted while it was closed. */
  readonly seen: TripPolicy.Seen
  /** The time from which a store may drop the circuit, in epoch milliseconds; `null` for never. */
  readonly keepUntil: number | null
}

/**
 * @since 0.2.0
 * @category models
 */
export interface Closed extends Common {
  readonly _tag: "Closed"
  readonly keepUntil: number
  readonly calmAt: number
}

interface Broken extends Common {
  readonly reason: Reason
  readonly error?: Tag
}

/**
 * @since 0.2.0
 * @category models
 */
export interface Open extends Broken {
  readonly _tag: "Open"
  /** The end of the open time, in epoch milliseconds; `null` until a reset. */
  readonly until: number | null
  /** The end of the pause that the target asked for, in epoch milliseconds, if it asked for one. */
  readonly notBefore?: number
}

/**
 * @since 0.2.0
 * @category models
 */
export interface HalfOpen extends Broken {
  readonly _tag: "HalfOpen"
  readonly step: number
  /** The most probes in flight at this step. */
  readonly width: number
  readonly places: ReadonlyArray<Place>
  readonly issued: number
}

/**
 * A circuit in a store: plain JSON, opaque except for `keepUntil`.
 *
 * @since 0.2.0
 * @category models
 */
export type Circuit = Closed | Open | HalfOpen

/**
 * A refusal of an attempt.
 *
 * @since 0.2.0
 * @category models
 */
export interface Refusal {
  /** The time until the circuit takes, or may take, a probe, in milliseconds; `Infinity` until a reset. */
  readonly retryAfter: number
  /** Why the circuit is open. */
  readonly reason: Reason
  /** The tag of the error that opened it. */
  readonly error: Tag | undefined
  /** Whether probes are in flight. */
  readonly probing: boolean
  /** Whether the target is back, and the calls that waited go first. */
  readonly isBack?: boolean
}
