/**
 * The keys of a pool for one model: the times at which they take traffic, the admission of an attempt, and the effect
 * of its end on the health of its key.
 *
 * A dead key is out for all models, because the {@link KeyRecord} is theirs together; a `RateLimited` pauses a key for
 * one model alone.
 *
 * @since 0.2.0
 */

import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as LlmError from "../../errors/LlmError.js"
import * as CircuitBreaker from "../circuit/CircuitBreaker.js"
import * as CircuitOutcome from "../circuit/CircuitOutcome.js"
import type * as Deadline from "../Deadline.js"
import * as KeyHealth from "./KeyHealth.js"

// -----------------------------------------------------------------------------
// models
// -----------------------------------------------------------------------------

/**
 * The keys for one model. `index` is the key's place in the pool. A `RateLimited` pauses a key for this model alone.
 *
 * @since 0.2.0
 * @category models
 */
export interface View {
  /** The time from which a key takes traffic, in epoch milliseconds; 0 for now. */
  readonly readyAt: (index: number) => number
  /** Admits one attempt. Pass the admission to `end` exactly once, interruption included; run both uninterruptibly. */
  readonly admit: (index: number) => Effect.Effect<CircuitBreaker.Admission, LlmError.CircuitOpen>
  /** Records the end of an attempt. */
  readonly end: (end: AttemptEnd) => Effect.Effect<void>
  /**
   * The outlook while no key takes traffic. `notBefore` gives the earliest time for each key, in epoch milliseconds.
   */
  readonly outlook: (now: number, notBefore: (index: number) => number) => Outlook
}

/**
 * The end of an attempt with a key.
 *
 * @since 0.2.0
 * @category models
 */
export interface AttemptEnd {
  /** The key's place in the pool. */
  readonly index: number
  /** The admission from `admit`. */
  readonly admission: CircuitBreaker.Admission
  /** The attempt's exit. */
  readonly exit: Exit.Exit<unknown, unknown>
  /** The deadline over the attempt. */
  readonly within: Deadline.Limit
  /** The attempt's begin, in epoch milliseconds. */
  readonly startedAt: number
  /** The attempt's end, in epoch milliseconds. */
  readonly now: number
}

/**
 * The outlook while no key takes traffic.
 *
 * @since 0.2.0
 * @category models
 */
export interface Outlook {
  /** The time at which the first key takes traffic again, dead keys included; `Infinity` for never. */
  readonly readyAt: number
  /** The same without dead keys: nobody should wait for those. */
  readonly worthAt: number
  /** The errors of the keys in one line. */
  readonly why: string
}

// -----------------------------------------------------------------------------
// the pure part
// -----------------------------------------------------------------------------

/**
 * The outcome of an attempt for its key's circuit. A timeout of the whole call counts as a failure too: without another
 * limit it is the only sign of a key with hanging requests.
 */
const outcomeOf = (end: AttemptEnd, error: LlmError.LlmError | undefined): CircuitBreaker.Outcome =>
  error?._tag === "Timeout" && error.phase === "total" && error.delivery !== "not-sent"
    ? { _tag: "Failure", error: error._tag }
    : CircuitBreaker.classify(end.exit, end.now, end.within)

/**
 * Whether an error says that its key is dead.
 *
 * @internal
 */
export const isDead = (reason: LlmError.Tag | undefined): boolean =>
  reason !== undefined && LlmError.rules[reason].health === "dead"

// -----------------------------------------------------------------------------
// constructors
// -----------------------------------------------------------------------------

/**
 * The state of a key for all models, updated in place.
 *
 * @internal
 */
export interface KeyRecord {
  readonly name: string
  health: KeyHealth.Health
  answeredAt: number
  /** The last error that took the key out. */
  reason: LlmError.Tag | undefined
  /** The probes in flight. */
  probes: number
}

/**
 * The keys for one model.
 *
 * @internal
 */
export const make = (records: ReadonlyArray<KeyRecord>, circuits: CircuitBreaker.CircuitBreaker): View => {
  const pauses: Array<KeyHealth.Pause> = records.map(() => KeyHealth.running)
  const recordOf = (index: number) => records[index] as KeyRecord
  const pauseOf = (index: number) => pauses[index] as KeyHealth.Pause
  const openUntil = (index: number) => circuits.readyAt(recordOf(index).name)
  const readyAt = (index: number): number => Math.max(openUntil(index), pauseOf(index).until)

  /** When any other key that takes traffic now last answered. */
  const othersAnsweredAt = (index: number): number =>
    records.reduce(
      (last, { answeredAt }, other) => (other === index || openUntil(other) > 0 ? last : Math.max(last, answeredAt)),
      KeyHealth.never
    )

  /** The outcome to record. Failures of a key in service are ignored until one is the key's fault. */
  const judged = ({ admission, index, now, startedAt }: AttemptEnd, outcome: CircuitBreaker.Outcome) => {
    const record = recordOf(index)
    if (outcome._tag === "Success") {
      record.health = KeyHealth.unasked
      record.answeredAt = now
      if (pauseOf(index).unhinted > 0) pauses[index] = { until: pauseOf(index).until, unhinted: 0 }
      return outcome
    }
    if (outcome._tag !== "Failure" || admission.probe !== undefined) return outcome
    const [atFault, next] = KeyHealth.failed(record.health, othersAnsweredAt(index), startedAt, now)
    record.health = atFault ? KeyHealth.unasked : next
    return atFault ? outcome : CircuitBreaker.ignored
  }

  return {
    readyAt,
    admit: (index) => {
      const record = recordOf(index)
      return Effect.matchEffect(circuits.admit({ key: record.name }), {
        onSuccess: (admission) => {
          if (admission.probe !== undefined) record.probes += 1
          return Effect.succeed(admission)
        },
        // Another process may have opened it.
        onFailure: (refusal) =>
          Effect.flatMap(circuits.state(record.name), (state) => {
            if (state._tag !== "Closed") record.reason = state.error
            return Effect.fail(refusal)
          })
      })
    },
    end: (end) => {
      const { admission, exit, index, now, within } = end
      const record = recordOf(index)
      if (admission.probe !== undefined) record.probes -= 1
      const error = CircuitOutcome.errorOf(exit, within)
      const outcome = judged(end, outcomeOf(end, error))
      if (error?._tag === "RateLimited") pauses[index] = KeyHealth.paused(pauseOf(index), error.hint, now)
      if (outcome._tag === "Failure" || outcome._tag === "Dead") record.reason = outcome.error
      return circuits.record(record.name, admission, outcome)
    },
    outlook: (now, notBefore) => {
      const tags: Array<string> = []
      let first = Number.POSITIVE_INFINITY
      let worth = Number.POSITIVE_INFINITY
      for (let index = 0; index < records.length; index++) {
        const record = recordOf(index)
        const pausedUntil = pauseOf(index).until
        const reason = openUntil(index) > now ? (record.reason ?? "CircuitOpen") : undefined
        tags.push(reason ?? (pausedUntil > now ? "RateLimited" : "CircuitOpen"))
        // A probe may end at any moment, and then the key takes traffic again.
        const at = Math.max(record.probes > 0 ? pausedUntil : readyAt(index), notBefore(index))
        first = Math.min(first, at)
        if (!isDead(reason)) worth = Math.min(worth, at)
      }
      return { readyAt: first, worthAt: worth, why: KeyHealth.summary(tags) }
    }
  }
}
