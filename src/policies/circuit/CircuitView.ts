/**
 * The outside of a circuit: its {@link State}, its refusals and its {@link Transition}s.
 *
 * @since 0.2.0
 */

import * as Duration from "effect/Duration"
import { CircuitOpen, type Tag } from "../../errors/LlmError.js"
import type { Circuit, HalfOpen, Open, Reason, Refusal } from "./Circuit.js"
import { current, freeAt } from "./CircuitState.js"

/**
 * The options of `admit`.
 *
 * @since 0.2.0
 * @category models
 */
export interface AdmitOptions {
  /** The name of the circuit. Logs and records show it, so it must hold no secret. */
  readonly key: string
  /** The provider named in a refusal. Default: the key. */
  readonly provider?: string | undefined
  /** The model named in a refusal. Default: none. */
  readonly model?: string | undefined
}

/**
 * Why and how often a circuit opened.
 *
 * @since 0.2.0
 * @category models
 */
export interface Opening {
  readonly reason: Reason
  /** The tag of the error that opened it. */
  readonly error: Tag | undefined
  /** How often it opened for this reason since its backoff last reset. */
  readonly consecutiveOpenings: number
}

/**
 * The state of a circuit. An open circuit stays `Open` after its time, until the next attempt asks.
 *
 * @since 0.2.0
 * @category models
 */
export type State = {
  readonly key: string
  /** The end of the latest pause that the target asked for with a 429, in epoch milliseconds, if not over yet. */
  readonly throttledUntil: number | undefined
} & (
  | { readonly _tag: "Closed" }
  | (Opening & {
      readonly _tag: "Open"
      /** The rest of the open time, never below zero; infinite until a reset. */
      readonly retryAfter: Duration.Duration
    })
  | (Opening & {
      readonly _tag: "HalfOpen"
      /** The probes in flight. */
      readonly probes: number
      /** The most probes in flight at this step of the ramp. */
      readonly width: number
    })
)

/**
 * A change of a circuit's state, at `at` in epoch milliseconds. Only `reset` leads from `Open` to `Closed`.
 *
 * @since 0.2.0
 * @category models
 */
export type Transition = { readonly key: string; readonly at: number } & (
  | (Opening & {
      readonly from: "Closed" | "HalfOpen"
      readonly to: "Open"
      /** The open time; infinite until a reset. */
      readonly retryAfter: Duration.Duration
    })
  | { readonly from: "Open"; readonly to: "HalfOpen" }
  | { readonly from: "HalfOpen" | "Open"; readonly to: "Closed" }
)

const openingOf = ({ error, openings, reason }: Open | HalfOpen): Opening => ({
  reason,
  error,
  consecutiveOpenings: reason === "Manual" ? 1 : openings[reason]
})

const remaining = (circuit: Open, now: number): Duration.Duration =>
  circuit.until === null ? Duration.infinity : Duration.millis(Math.max(0, circuit.until - now))

/**
 * The state of a circuit. `now` is the time as in the circuit, `wall` the same as wall time.
 *
 * @since 0.2.0
 * @category getters
 */
export const view = (key: string, circuit: Circuit | undefined, now: number, wall = now): State => {
  const known = current(circuit, now)
  const until = known?.throttledUntil ?? 0
  const seen = { key, throttledUntil: until > now ? wall + until - now : undefined }
  if (known === undefined || known._tag === "Closed") return { _tag: "Closed", ...seen }
  if (known._tag === "Open") {
    return { _tag: "Open", ...seen, ...openingOf(known), retryAfter: remaining(known, now) }
  }
  const probes = known.places.filter((place) => now < place.until).length
  return { _tag: "HalfOpen", ...seen, ...openingOf(known), probes, width: known.width }
}

const causes: Record<Reason, string> = {
  Unhealthy: "the circuit is open",
  Dead: "the key is taken out",
  Manual: "the circuit was opened by hand"
}

const reasonOf = ({ error, isBack, probing, reason }: Refusal): string =>
  isBack === true
    ? "the target is back, and the calls that waited go first"
    : causes[reason] + (error === undefined ? "" : ` after ${error}`) + (probing ? ", and is being probed" : "")

/**
 * The error of a refused attempt.
 *
 * @internal
 */
export const refused = (options: AdmitOptions, refusal: Refusal): CircuitOpen => {
  const { retryAfter } = refusal
  return new CircuitOpen({
    provider: options.provider ?? options.key,
    model: options.model,
    message: reasonOf(refusal),
    hint: Number.isFinite(retryAfter) ? Duration.millis(retryAfter) : undefined,
    delivery: "not-sent"
  })
}

/**
 * The transition between two states of a circuit, if there is one.
 *
 * @since 0.2.0
 * @category getters
 */
export const transition = (
  key: string,
  before: Circuit | undefined,
  next: Circuit | undefined,
  now: number
): Transition | undefined => {
  const from = current(before, now)?._tag ?? "Closed"
  if (next === undefined || next._tag === from) return undefined
  if (next._tag === "Open" && from !== "Open") {
    return { key, at: now, from, to: "Open", ...openingOf(next), retryAfter: remaining(next, now) }
  }
  if (next._tag === "HalfOpen") return { key, at: now, from: "Open", to: "HalfOpen" }
  return from === "Closed" ? undefined : { key, at: now, from, to: "Closed" }
}

/**
 * The time from which a circuit takes traffic, in epoch milliseconds: 0 for now, `Infinity` until a reset. For a
 * half-open circuit without a free place it is the latest possible time.
 *
 * @since 0.2.0
 * @category getters
 */
export const readyAt = (circuit: Circuit | undefined): number => {
  if (circuit === undefined || circuit._tag === "Closed") return 0
  if (circuit._tag === "Open") return circuit.until ?? Number.POSITIVE_INFINITY
  return freeAt(circuit)
}

/**
 * The earliest time at which a circuit may take traffic: a probe may end at any moment.
 *
 * @internal
 */
export const soonestAt = (circuit: Circuit | undefined): number => (circuit?._tag === "HalfOpen" ? 0 : readyAt(circuit))
