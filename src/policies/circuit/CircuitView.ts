/**
 * How a circuit shows itself: its {@link State} for whoever looks, its refusals for whoever asks, its
 * {@link Transition}s for whoever listens.
 *
 * @since 0.2.0
 */
import * as Duration from "effect/Duration"
import { CircuitOpen, type Tag } from "../../errors/LlmError.js"
import { type Circuit, current, freeAt, type HalfOpen, type Open, type Reason, type Refusal } from "./CircuitState.js"

/**
 * An attempt that asks a circuit for admission.
 *
 * @since 0.2.0
 * @category models
 */
export interface Ask {
  /** The name of the circuit. It is seen in the evidence, so it must hold no secret. */
  readonly key: string
  /** The provider that a refusal names. Default: the key. */
  readonly provider?: string | undefined
  /** The model that a refusal names. Default: none. */
  readonly model?: string | undefined
}

/**
 * A circuit, as it shows itself: see `CircuitBreaker.state`.
 *
 * - `retryAfter`: what is left of the open time, never below zero, infinite where a reset is waited for. A circuit
 *   whose time is over is still `Open` until somebody asks.
 * - `probes` of at most `width` are in flight.
 * - `consecutiveOpenings`: how often it opened for this reason since its backoff began anew.
 * - `throttledUntil`: the latest time, in epoch milliseconds, that the target named with a 429 and that is yet to come.
 *
 * @since 0.2.0
 * @category models
 */
export type State = { readonly key: string; readonly throttledUntil: number | undefined } & (
  | { readonly _tag: "Closed" }
  | {
      readonly _tag: "Open"
      readonly reason: Reason
      readonly error: Tag | undefined
      readonly retryAfter: Duration.Duration
      readonly consecutiveOpenings: number
    }
  | {
      readonly _tag: "HalfOpen"
      readonly reason: Reason
      readonly error: Tag | undefined
      readonly probes: number
      readonly width: number
      readonly consecutiveOpenings: number
    }
)

/**
 * A change of a circuit's state, at `at` in epoch milliseconds. `Open` to `Closed` happens by `reset` only.
 *
 * @since 0.2.0
 * @category models
 */
export type Transition = { readonly key: string; readonly at: number } & (
  | {
      readonly from: "Closed" | "HalfOpen"
      readonly to: "Open"
      readonly reason: Reason
      readonly error: Tag | undefined
      readonly retryAfter: Duration.Duration
      readonly consecutiveOpenings: number
    }
  | { readonly from: "Open"; readonly to: "HalfOpen" }
  | { readonly from: "HalfOpen" | "Open"; readonly to: "Closed" }
)

const openingsOf = (circuit: Open | HalfOpen): number =>
  circuit.reason === "Manual" ? 1 : circuit.openings[circuit.reason]

const remaining = (circuit: Open, now: number): Duration.Duration =>
  circuit.until === null ? Duration.infinity : Duration.millis(Math.max(0, circuit.until - now))

/**
 * How a circuit shows itself.
 *
 * @since 0.2.0
 * @category getters
 */
export const view = (key: string, circuit: Circuit | undefined, now: number): State => {
  const known = current(circuit, now)
  if (known === undefined) return { _tag: "Closed", key, throttledUntil: undefined }
  const seen = { key, throttledUntil: known.throttledUntil > now ? known.throttledUntil : undefined }
  if (known._tag === "Closed") return { _tag: "Closed", ...seen }
  const broken = { ...seen, reason: known.reason, error: known.error, consecutiveOpenings: openingsOf(known) }
  return known._tag === "Open"
    ? { _tag: "Open", ...broken, retryAfter: remaining(known, now) }
    : {
        _tag: "HalfOpen",
        ...broken,
        probes: known.places.filter((place) => now < place.until).length,
        width: known.width
      }
}

const cause = (refusal: Refusal): string => {
  const after = refusal.error === undefined ? "" : ` after ${refusal.error}`
  switch (refusal.reason) {
    case "Unhealthy":
      return `the circuit is open${after}`
    case "Dead":
      return `the key is taken out${after}`
    case "Manual":
      return "the circuit was opened by hand"
  }
}

/**
 * The error of who asked and was refused.
 *
 * @internal
 */
export const refused = (ask: Ask, refusal: Refusal): CircuitOpen =>
  new CircuitOpen({
    provider: ask.provider ?? ask.key,
    model: ask.model,
    message: refusal.probing ? `${cause(refusal)}, and is being probed` : cause(refusal),
    hint: Number.isFinite(refusal.retryAfter) ? Duration.millis(refusal.retryAfter) : undefined,
    delivery: "not-sent"
  })

/**
 * What happened to a circuit that was one and is now the other, if anything did.
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
    const { error, reason } = next
    const consecutiveOpenings = openingsOf(next)
    return { key, at: now, from, to: "Open", reason, error, retryAfter: remaining(next, now), consecutiveOpenings }
  }
  if (next._tag === "HalfOpen") return { key, at: now, from: "Open", to: "HalfOpen" }
  return from === "Closed" ? undefined : { key, at: now, from, to: "Closed" }
}

/**
 * From when a circuit takes traffic, in epoch milliseconds: 0 for now, `Infinity` until a reset. While a half-open one
 * has no place free, it is the time by which one will be at the latest.
 *
 * @since 0.2.0
 * @category getters
 */
export const readyAt = (circuit: Circuit | undefined): number => {
  if (circuit === undefined || circuit._tag === "Closed") return 0
  if (circuit._tag === "Open") return circuit.until ?? Number.POSITIVE_INFINITY
  return freeAt(circuit)
}
