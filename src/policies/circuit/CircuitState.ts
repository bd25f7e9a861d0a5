/**
 * The pure part of {@link CircuitBreaker}: one circuit as plain data, and functions over it.
 *
 * A {@link Circuit} is plain JSON, so a store shared by processes can hold it. {@link admit} and {@link record} take
 * the circuit, the event and the time, and return the decision and the next circuit. They may run more than once for
 * one event, as compare-and-swap requires.
 *
 * Gotcha: each transition begins a new `generation`, and outcomes of older generations change nothing. So many failures
 * that return at once open the circuit only once.
 *
 * @since 0.2.0
 */

import * as Duration from "effect/Duration"
import type { Tag } from "../../errors/LlmError.js"
import * as Store from "../Store.js"
import * as Times from "../Times.js"
import type { Admission, Circuit, Closed, Common, HalfOpen, Open, Place, Refusal } from "./Circuit.js"
import type { Backoff, Settings } from "./CircuitOptions.js"
import type { Outcome } from "./CircuitOutcome.js"
import * as TripPolicy from "./TripPolicy.js"

export type { Admission, Circuit, Reason, Refusal } from "./Circuit.js"

// -----------------------------------------------------------------------------
// transitions
// -----------------------------------------------------------------------------

/**
 * How long an unused circuit is kept, in milliseconds: an hour, as in Effect's own breaker. Older knowledge is
 * worthless.
 */
const idleMillis = 3_600_000

/** Mere use is written at most this often, in milliseconds. A circuit may be dropped earlier by as much. */
const touchMillis = 60_000

/** The generation of an unknown circuit. All others are times. */
const unused = 0

const fresh = (generation: number, now: number): Closed => ({
  _tag: "Closed",
  generation,
  openings: { Unhealthy: 0, Dead: 0 },
  calm: 0,
  throttledUntil: 0,
  keepUntil: now + idleMillis,
  calmAt: 0,
  seen: TripPolicy.nothing(now)
})

/**
 * The circuit, unless a store may have dropped it.
 *
 * @internal
 */
export const current = (circuit: Circuit | undefined, now: number): Circuit | undefined =>
  circuit !== undefined && Store.isDropped(circuit, now) ? undefined : circuit

/** A generation above all earlier ones, those of dropped circuits included: they are older than `now`. */
const after = (circuit: Circuit | undefined, now: number): number => Math.max((circuit?.generation ?? unused) + 1, now)

/** Each open time is shortened by up to a fifth at random, so that many processes do not probe at the same moment. */
const jitter = 0.2

/**
 * The n-th open time, in milliseconds. Jitter only shortens it, so the maximum holds. The hint is lengthened first, so
 * it holds too, unless it exceeds four fifths of the maximum.
 */
const openMillis = (backoff: Backoff, openings: number, hint: number, random: number): number => {
  const doubled = backoff.initial * 2 ** (openings - 1)
  const base = Math.min(backoff.max, Math.max(doubled, hint / (1 - jitter)))
  return Math.ceil(base * (1 - jitter * random))
}

const common = (circuit: Circuit, now: number): Common => ({
  generation: after(circuit, now),
  openings: circuit.openings,
  calm: circuit.calm,
  throttledUntil: circuit.throttledUntil,
  seen: circuit.seen,
  keepUntil: now + idleMillis
})

const because = (error: Tag | undefined): { readonly error?: Tag } => (error === undefined ? {} : { error })

/**
 * Each second that a probe hung counts as this many seconds of the open time: the target received no other request, and
 * a caller has waited. A hanging target is then probed about as often as one that fails at once, instead of half as
 * often.
 */
const hungWeight = 2

/** Opens a circuit. `waited` is the time that the failed probe took, in milliseconds. */
const opened = (
  settings: Settings,
  circuit: Closed | HalfOpen,
  outcome: Extract<Outcome, { readonly _tag: "Failure" | "Dead" }>,
  now: number,
  random: number,
  waited = 0
): Open => {
  const reason = outcome._tag === "Dead" ? "Dead" : "Unhealthy"
  const hint =
    outcome._tag === "Failure" && outcome.retryAfter !== undefined ? Duration.toMillis(outcome.retryAfter) : 0
  const calmed = circuit._tag === "Closed" && now >= circuit.calmAt
  const before = calmed ? { ...circuit.openings, Unhealthy: 0 } : circuit.openings
  const openings = { ...before, [reason]: before[reason] + 1 }
  const millis = openMillis(settings[reason], openings[reason], hint, random)
  const least = openMillis(settings[reason], 1, hint, random)
  const until = now + Math.max(least, millis - hungWeight * Math.max(0, waited))
  return {
    ...common(circuit, now),
    _tag: "Open",
    openings,
    calm: reason === "Unhealthy" ? millis : circuit.calm,
    keepUntil: until + idleMillis,
    reason,
    ...because(outcome.error),
    ...(hint > 0 ? { notBefore: now + hint } : {}),
    until
  }
}

// -----------------------------------------------------------------------------
// decisions
// -----------------------------------------------------------------------------

const widthOf = (settings: Settings, step: number): number => settings.ramp[step] ?? 1

const halfOpened = (settings: Settings, circuit: Open, now: number): HalfOpen => ({
  ...common(circuit, now),
  _tag: "HalfOpen",
  reason: circuit.reason,
  ...because(circuit.error),
  step: 0,
  width: widthOf(settings, 0),
  places: [],
  issued: 0
})

const refuse = (circuit: Open | HalfOpen, retryAfter: number): Refusal => ({
  retryAfter,
  reason: circuit.reason,
  error: circuit.error,
  probing: circuit._tag === "HalfOpen"
})

const holding = (circuit: HalfOpen, places: ReadonlyArray<Place>, now: number): HalfOpen => {
  const last = places.reduce((last, place) => Math.max(last, place.until), now)
  return { ...circuit, places, keepUntil: last + idleMillis }
}

/**
 * The latest time at which a half-open circuit has a free place, by the leases of its probes, in epoch milliseconds.
 * After a step back, more places may be taken than the step allows.
 *
 * @internal
 */
export const freeAt = ({ places, width }: HalfOpen): number =>
  places.map(({ until }) => until).sort((a, b) => a - b)[places.length - width] ?? 0

/**
 * A call that must soon have its answer probes a circuit this long after it opened, in milliseconds: the third of the
 * standard open times, so that a long outage costs a probe every three seconds at most.
 */
const eagerAfter = 3000

/** It probes this long before its time is up, in milliseconds: most answers take less. */
const eagerBefore = 1000

/**
 * The time of the next probe, in epoch milliseconds: the end of the open time, or sooner if a waiting call must leave
 * at `soonest`; but not before the time that the target named.
 */
const probeAt = (
  settings: Settings,
  { generation, notBefore = 0, reason, until }: Open,
  soonest: number,
  now: number
): number => {
  if (until === null || reason === "Manual") return Number.POSITIVE_INFINITY
  const end = Times.believed(until, now, settings[reason].max)
  return reason === "Unhealthy"
    ? Math.min(end, Math.max(notBefore, generation + eagerAfter, soonest - eagerBefore))
    : end
}

/**
 * Admits or refuses an attempt. After its open time a circuit becomes half-open with its first probe. A half-open
 * circuit admits as many probes at a time as its step allows, and reuses the place of a probe whose lease has ended.
 *
 * `soonest` is the time by which the first of the waiting calls needs a place, in epoch milliseconds. The open time of
 * an unhealthy target ends sooner for it.
 *
 * @since 0.2.0
 * @category decisions
 */
export const admit = (
  settings: Settings,
  circuit: Circuit | undefined,
  now: number,
  soonest = Number.POSITIVE_INFINITY
): readonly [Admission | Refusal, Circuit | undefined] => {
  const known = current(circuit, now)
  if (known === undefined) return [{ generation: unused, since: now }, undefined]
  if (known._tag === "Closed") return [{ generation: known.generation }, known]
  if (known._tag === "Open") {
    const at = probeAt(settings, known, soonest, now)
    if (now < at) return [refuse(known, at - now), known]
  }
  const half = known._tag === "Open" ? halfOpened(settings, known, now) : known
  const taken = half.places.filter((place) => now < Times.believed(place.until, now, settings.lease))
  if (taken.length >= half.width) {
    // A probe may end at any moment, so ask again soon; its lease is the latest time.
    return [refuse(half, Math.min(settings.Unhealthy.initial, freeAt(half) - now)), half]
  }
  const { generation, issued, step } = half
  const place: Place = { id: issued, until: now + settings.lease }
  return [
    { generation, probe: { id: issued, step, at: now } },
    { ...holding(half, [...taken, place], now), issued: issued + 1 }
  ]
}

/**
 * Whether a decision of {@link admit} is a refusal.
 *
 * @since 0.2.0
 * @category predicates
 */
export const isRefusal = (decision: Admission | Refusal): decision is Refusal => "retryAfter" in decision

/**
 * Whether an outcome may open a circuit, and so needs a random number from 0 to 1.
 *
 * @since 0.2.0
 * @category predicates
 */
export const mayOpen = (outcome: Outcome): outcome is Extract<Outcome, { readonly _tag: "Failure" | "Dead" }> =>
  outcome._tag === "Failure" || outcome._tag === "Dead"

/**
 * The circuit after an attempt. `random` is from 0 to 1 and shortens an open time.
 *
 * @since 0.2.0
 * @category decisions
 */
export const record = (
  settings: Settings,
  circuit: Circuit | undefined,
  admission: Admission,
  outcome: Outcome,
  now: number,
  random: number
): Circuit | undefined => {
  const known = current(circuit, now)
  const { since } = admission
  // A circuit kept since the admission would be dropped by now.
  if (since !== undefined && now >= since + idleMillis) return known
  if (known === undefined) {
    return since === undefined || !changesMore(settings, undefined, outcome)
      ? undefined
      : recordClosed(settings, fresh(unused, now), outcome, now, random)
  }
  if (known.generation !== admission.generation || known._tag === "Open") return known
  return known._tag === "Closed"
    ? recordClosed(settings, known, outcome, now, random)
    : recordProbe(settings, known, admission, outcome, now, random)
}

const throttledUntil = (circuit: Circuit, outcome: Outcome): number =>
  outcome._tag === "Throttled" ? Math.max(circuit.throttledUntil, outcome.until) : circuit.throttledUntil

/** Whether an outcome changes more of a closed circuit than the time of its last use. */
const changesMore = (settings: Settings, seen: TripPolicy.Seen | undefined, outcome: Outcome): boolean =>
  outcome._tag === "Success" ? !TripPolicy.isCalm(settings.policies, seen) : outcome._tag !== "Ignored"

const recordClosed = (settings: Settings, circuit: Closed, outcome: Outcome, now: number, random: number): Circuit => {
  const keepUntil = now + idleMillis
  if (outcome._tag === "Dead") return opened(settings, circuit, outcome, now, random)
  const failed = outcome._tag === "Failure"
  if (!changesMore(settings, circuit.seen, outcome) && keepUntil < circuit.keepUntil + touchMillis) return circuit
  if (outcome._tag === "Ignored" || outcome._tag === "Throttled") {
    return { ...circuit, keepUntil, throttledUntil: throttledUntil(circuit, outcome) }
  }
  const seen = TripPolicy.count(settings.policies, circuit.seen, failed, now)
  // A success never opens a circuit, even if it completes the minimum of observations.
  if (failed && TripPolicy.trips(settings.policies, seen)) return opened(settings, circuit, outcome, now, random)
  // Written out: a spread costs every successful call 0.9 µs (Node 20).
  return {
    _tag: "Closed",
    generation: circuit.generation,
    openings: circuit.openings,
    calm: circuit.calm,
    throttledUntil: circuit.throttledUntil,
    keepUntil,
    calmAt: circuit.calmAt,
    seen
  }
}

const recordProbe = (
  settings: Settings,
  circuit: HalfOpen,
  admission: Admission,
  outcome: Outcome,
  now: number,
  random: number
): Circuit => {
  const atFirst = circuit.step === 0 && admission.probe?.step === 0
  if (outcome._tag === "Dead" || (outcome._tag === "Failure" && atFirst)) {
    return opened(settings, circuit, outcome, now, random, now - (admission.probe?.at ?? now))
  }
  // A probe past its lease has no place to free, but its outcome still counts: long answers are normal.
  const others = circuit.places.filter((place) => place.id !== admission.probe?.id)
  const freed = { ...holding(circuit, others, now), throttledUntil: throttledUntil(circuit, outcome) }
  // A target that answers some probes is not down: it is probed one by one again.
  if (outcome._tag === "Failure") return { ...freed, step: 0, width: widthOf(settings, 0) }
  // Only a probe that began in the current step ends it: parallel probes are one observation.
  if (outcome._tag !== "Success" || admission.probe?.step !== circuit.step) return freed
  const step = circuit.step + 1
  return step < settings.ramp.length
    ? { ...freed, step, width: widthOf(settings, step) }
    : closed(settings, circuit, now)
}

/**
 * Closes a circuit after the whole ramp. Its answers prove that a key works, so the `Dead` openings reset now. They
 * prove a target healthy only for the moment, so its openings reset after `calm`. The failure ratio before is kept: a
 * target that often fails is not down at every streak.
 */
const closed = (settings: Settings, circuit: HalfOpen, now: number): Closed => ({
  ...fresh(after(circuit, now), now),
  seen: TripPolicy.anew(settings.policies, circuit.seen),
  openings: { ...circuit.openings, Dead: 0 },
  calm: circuit.calm,
  throttledUntil: circuit.throttledUntil,
  calmAt: now + circuit.calm
})

/**
 * A reset circuit. Attempts admitted earlier do not count in it.
 *
 * @since 0.2.0
 * @category decisions
 */
export const reset = (circuit: Circuit | undefined, now: number): Circuit => fresh(after(circuit, now), now)

/**
 * A circuit opened by hand, until a reset.
 *
 * @since 0.2.0
 * @category decisions
 */
export const open = (circuit: Circuit | undefined, now: number): Circuit => ({
  ...common(current(circuit, now) ?? fresh(now, now), now),
  _tag: "Open",
  reason: "Manual",
  until: null,
  keepUntil: null
})
