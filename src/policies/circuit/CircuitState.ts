/**
 * The deciding part of {@link CircuitBreaker}: one circuit as plain data, and pure functions over it.
 *
 * A {@link Circuit} is JSON and nothing else, so that a store shared by processes can hold it. {@link admit} and
 * {@link record} take the circuit, the event and the time, and answer with the decision and the next circuit; they may
 * be run more than once for one event, as a compare-and-swap has to.
 *
 * Gotcha: whoever was admitted before a transition has no say after it. Each transition begins a new `generation`, and
 * an outcome of an older one changes nothing; so many failures that come back at once open the circuit once.
 *
 * @since 0.2.0
 */
import * as Duration from "effect/Duration"
import type { Tag } from "../../errors/LlmError.js"
import * as Store from "../Store.js"
import type { Backoff, Settings } from "./CircuitOptions.js"
import type { Outcome } from "./CircuitOutcome.js"
import * as TripPolicy from "./TripPolicy.js"

// -----------------------------------------------------------------------------
// models
// -----------------------------------------------------------------------------

/**
 * The right to make one attempt, to be handed back with its outcome. Where nothing was known of the circuit, and so
 * nothing was kept of it, it says `since` when. In a half-open circuit it is a probe: with the number of its place, the
 * step of the ramp at which it began, and when that was. Times are in epoch milliseconds.
 *
 * @since 0.2.0
 * @category models
 */
export interface Admission {
  readonly generation: number
  readonly since?: number
  readonly probe?: { readonly id: number; readonly step: number; readonly at: number }
}

/**
 * Why a circuit is, or was last, open: the target fails, its key is dead, or somebody opened it by hand.
 *
 * @since 0.2.0
 * @category models
 */
export type Reason = "Unhealthy" | "Dead" | "Manual"

/** How often in a row it opened, for each of the two reasons that have a backoff. */
type Openings = { readonly [K in Exclude<Reason, "Manual">]: number }

/** A place that is taken, `until` its lease is over. */
interface Place {
  readonly id: number
  readonly until: number
}

interface Common {
  readonly generation: number
  readonly openings: Openings
  /** So many milliseconds the circuit has to stay closed until the openings for `Unhealthy` are forgotten. */
  readonly calm: number
  readonly throttledUntil: number
  /** What was seen while it was closed. */
  readonly seen: TripPolicy.Seen
  /** From when a store may forget the circuit, which is then as new; `null` for never. Epoch milliseconds. */
  readonly keepUntil: number | null
}

interface Closed extends Common {
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
  /** `null` until it is reset by hand. */
  readonly until: number | null
}

/**
 * @since 0.2.0
 * @category models
 */
export interface HalfOpen extends Broken {
  readonly _tag: "HalfOpen"
  readonly step: number
  /** How many may be in flight at this step. */
  readonly width: number
  readonly places: ReadonlyArray<Place>
  readonly issued: number
}

/**
 * One circuit, as a store holds it: plain JSON, opaque but for `keepUntil`.
 *
 * @since 0.2.0
 * @category models
 */
export type Circuit = Closed | Open | HalfOpen

/**
 * A refusal: how long until the circuit takes a probe, or may do so, in milliseconds; `Infinity` if it waits for a
 * reset.
 *
 * @since 0.2.0
 * @category models
 */
export interface Refusal {
  readonly retryAfter: number
  readonly reason: Reason
  readonly error: Tag | undefined
  readonly probing: boolean
}

// -----------------------------------------------------------------------------
// what time does
// -----------------------------------------------------------------------------

/**
 * For an hour, as in Effect's own breaker: what is known of a target for which nobody asked so long is worth nothing.
 */
const idleMillis = 3_600_000

/**
 * Where there is nothing else to write, that the circuit was used is written this seldom: so much earlier it may be
 * dropped.
 */
const touchMillis = 60_000

/** The generation of a circuit of which nothing is known; all others are times. */
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
 * The circuit that counts: one past its time is as if there were none.
 *
 * @internal
 */
export const current = (circuit: Circuit | undefined, now: number): Circuit | undefined =>
  circuit !== undefined && Store.isDropped(circuit, now) ? undefined : circuit

/** Above every generation before, and above those of a circuit that was forgotten, which are older than now. */
const after = (circuit: Circuit | undefined, now: number): number => Math.max((circuit?.generation ?? unused) + 1, now)

/** Each open time is drawn up to a fifth shorter, so that many processes do not probe in the same moment. */
const jitter = 0.2

/**
 * How long to stay open for the n-th time, in milliseconds. Only shortened by chance, so that the maximum holds; and a
 * hint is lengthened before, so that it holds too unless it is more than four fifths of the maximum.
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
 * What a second that a probe hung is worth of the seconds to stay open: the target was asked for nothing else then, and
 * a caller has waited for it. A target that hangs is so asked as often as one that fails at once, and not half as
 * often.
 */
const hungWeight = 2

/** `waited`: how long the probe took that failed, in milliseconds. */
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
 * When so many leases are over that one of the places of a half-open circuit is free, at the latest; a step back may
 * have left more of them taken than it has.
 *
 * @internal
 */
export const freeAt = ({ places, width }: HalfOpen): number =>
  places.map(({ until }) => until).sort((a, b) => a - b)[places.length - width] ?? 0

/**
 * Whether an attempt may be made now. An open circuit whose time is over becomes half-open with its first probe; a
 * half-open one admits as many at a time as its ramp is wide, and gives away the place of a probe that was not heard of
 * within its lease.
 *
 * @since 0.2.0
 * @category decisions
 */
export const admit = (
  settings: Settings,
  circuit: Circuit | undefined,
  now: number
): readonly [Admission | Refusal, Circuit | undefined] => {
  const known = current(circuit, now)
  if (known === undefined) return [{ generation: unused, since: now }, undefined]
  if (known._tag === "Closed") return [{ generation: known.generation }, known]
  if (known._tag === "Open" && (known.until === null || now < known.until)) {
    return [refuse(known, known.until === null ? Number.POSITIVE_INFINITY : known.until - now), known]
  }
  const half = known._tag === "Open" ? halfOpened(settings, known, now) : known
  const taken = half.places.filter((place) => now < place.until)
  if (taken.length >= half.width) {
    // When a probe ends nobody knows: to ask again soon is right, and its lease is the latest.
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
 * Whether an outcome may open a circuit, so that a random number, from 0 to 1, has to be drawn for it.
 *
 * @since 0.2.0
 * @category predicates
 */
export const mayOpen = (outcome: Outcome): outcome is Extract<Outcome, { readonly _tag: "Failure" | "Dead" }> =>
  outcome._tag === "Failure" || outcome._tag === "Dead"

/**
 * The circuit after an attempt. `random` is from 0 to 1 and shortens the time that the circuit opens for.
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
  // Had anything been kept of it then, it would be forgotten by now.
  if (since !== undefined && now >= since + idleMillis) return known
  if (known === undefined) {
    return since === undefined || !teaches(settings, undefined, outcome)
      ? undefined
      : recordClosed(settings, fresh(unused, now), outcome, now, random)
  }
  if (known.generation !== admission.generation || known._tag === "Open") return known
  return known._tag === "Closed"
    ? recordClosed(settings, known, outcome, now, random)
    : recordProbe(settings, known, admission, outcome, now, random)
}

const throttled = (circuit: Circuit, outcome: Outcome): number =>
  outcome._tag === "Throttled" ? Math.max(circuit.throttledUntil, outcome.until) : circuit.throttledUntil

/** Whether there is more to write of a closed circuit than that it was used. */
const teaches = (settings: Settings, seen: TripPolicy.Seen | undefined, outcome: Outcome): boolean =>
  outcome._tag === "Success" ? !TripPolicy.isCalm(settings.policies, seen) : outcome._tag !== "Ignored"

const recordClosed = (settings: Settings, circuit: Closed, outcome: Outcome, now: number, random: number): Circuit => {
  const keepUntil = now + idleMillis
  if (outcome._tag === "Dead") return opened(settings, circuit, outcome, now, random)
  const failed = outcome._tag === "Failure"
  if (!teaches(settings, circuit.seen, outcome) && keepUntil < circuit.keepUntil + touchMillis) return circuit
  if (outcome._tag === "Ignored" || outcome._tag === "Throttled") {
    return { ...circuit, keepUntil, throttledUntil: throttled(circuit, outcome) }
  }
  const seen = TripPolicy.count(settings.policies, circuit.seen, failed, now)
  // A success never opens a circuit, not even where it makes the observations enough.
  if (failed && TripPolicy.trips(settings.policies, seen)) return opened(settings, circuit, outcome, now, random)
  // Written out: a spread here costs every call that succeeds 0.9 µs (Node 20).
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
  // One whose lease was over has no place to give back, and what it found out is no less true: answers may take long.
  const others = circuit.places.filter((place) => place.id !== admission.probe?.id)
  const freed = { ...holding(circuit, others, now), throttledUntil: throttled(circuit, outcome) }
  // Of a target that answers some fail: after an answer it is not down, and is asked one by one again.
  if (outcome._tag === "Failure") return { ...freed, step: 0, width: widthOf(settings, 0) }
  // A step takes the success of a probe that began in it: those that ran side by side are one observation.
  if (outcome._tag !== "Success" || admission.probe?.step !== circuit.step) return freed
  const step = circuit.step + 1
  return step < settings.ramp.length
    ? { ...freed, step, width: widthOf(settings, step) }
    : closed(settings, circuit, now)
}

/**
 * Answers over the whole ramp prove that a key works, so that its openings are forgotten. That the target is healthy
 * they prove only for now: those are forgotten when it stayed closed as long as it was last open. How often it failed
 * before this stays known: a target that fails often is not down whenever it does.
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
 * The circuit as new. What was admitted before has no say in it.
 *
 * @since 0.2.0
 * @category decisions
 */
export const reset = (circuit: Circuit | undefined, now: number): Circuit => fresh(after(circuit, now), now)

/**
 * The circuit opened by hand, until it is reset.
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
