/**
 * When a closed circuit opens: what {@link CircuitBreaker} counts, and when it is enough.
 *
 * Made for the rates at which LLMs are called. A breaker of the web waits for twenty calls in ten seconds, and at one
 * call a second or less it never opens. {@link consecutive} and {@link streak} need no rate at all. {@link rate}
 * forgets by time rather than by number, and asks what the ratio is *at least*: two failures in three calls may be
 * chance, fifteen in twenty are not.
 *
 * @since 0.2.0
 */
import * as Duration from "effect/Duration"

/**
 * When a closed circuit opens. `halfLife` is in milliseconds.
 *
 * @since 0.2.0
 * @category models
 */
export type TripPolicy =
  | { readonly _tag: "Consecutive"; readonly failures: number }
  | { readonly _tag: "Streak"; readonly failures: number; readonly chance: number; readonly halfLife: number }
  | { readonly _tag: "Rate"; readonly threshold: number; readonly minimum: number; readonly halfLife: number }

/**
 * Opens after so many failures in a row, in the order in which they end. Only a success breaks the row.
 *
 * Throws a `RangeError` unless `failures` is a whole number from 1 on.
 *
 * @since 0.2.0
 * @category trip policies
 */
export const consecutive = (failures: number): TripPolicy => {
  if (!Number.isInteger(failures) || failures < 1) {
    throw new RangeError(`CircuitBreaker.consecutive: failures: found ${failures}, expected a whole number from 1 on`)
  }
  return { _tag: "Consecutive", failures }
}

type Complaint = (option: string, found: unknown, expected: string) => RangeError

const complaint =
  (policy: string): Complaint =>
  (option, found, expected) =>
    new RangeError(`CircuitBreaker.${policy}: ${option}: found ${found}, expected ${expected}`)

const checkedHalfLife = (input: Duration.DurationInput | undefined, wrong: Complaint): number => {
  const halfLife = Duration.toMillis(input ?? "60 seconds")
  if (!(halfLife > 0 && Number.isFinite(halfLife))) throw wrong("halfLife", `${halfLife} ms`, "a finite time above 0")
  return halfLife
}

/**
 * Opens after so many failures in a row, or more where failures are common: as many as would come by chance less often
 * than `chance`, at the ratio that failed before. A target that fails one call in five has three in a row at every
 * hundredth, is asked five times a second, and would be shut out most of the time by {@link consecutive}: simulated,
 * one call in three succeeds, where retries alone answer all of them.
 *
 * - `failures`: the least that opens it, a whole number from 1 on. Default 3.
 * - `chance`: above 0 and below 1. Default 0.00001: at five calls a second a mistake in five hours.
 * - `halfLife`: after this time an outcome counts half. Default 60 seconds.
 *
 * Throws a `RangeError` that names the option, what was found and what was expected.
 *
 * @since 0.2.0
 * @category trip policies
 */
export const streak = (
  options: {
    readonly failures?: number | undefined
    readonly chance?: number | undefined
    readonly halfLife?: Duration.DurationInput | undefined
  } = {}
): TripPolicy => {
  const { chance = 1e-5, failures = 3 } = options
  const wrong = complaint("streak")
  const halfLife = checkedHalfLife(options.halfLife, wrong)
  if (!Number.isInteger(failures) || failures < 1) throw wrong("failures", failures, "a whole number from 1 on")
  if (!(chance > 0 && chance < 1)) throw wrong("chance", chance, "a number above 0 and below 1")
  return { _tag: "Streak", failures, chance, halfLife }
}

/**
 * Opens when more than `threshold` of the calls fail, as far as can be told from those there were: the lower end of a
 * 95 % Wilson interval has to be above it.
 *
 * - `threshold`: from 0 to below 1. Default 0.5.
 * - `minimum`: with fewer outcomes it never opens, 1 or more; older ones count in part. Default 5.
 * - `halfLife`: after this time an outcome counts half. Default 60 seconds, so that five calls in two minutes are
 *   enough.
 *
 * Throws a `RangeError` that names the option, what was found and what was expected.
 *
 * @since 0.2.0
 * @category trip policies
 */
export const rate = (
  options: {
    readonly threshold?: number | undefined
    readonly minimum?: number | undefined
    readonly halfLife?: Duration.DurationInput | undefined
  } = {}
): TripPolicy => {
  const { minimum = 5, threshold = 0.5 } = options
  const wrong = complaint("rate")
  const halfLife = checkedHalfLife(options.halfLife, wrong)
  if (!(threshold >= 0 && threshold < 1)) throw wrong("threshold", threshold, "a number from 0 to below 1")
  if (!(minimum >= 1 && minimum <= 1e6)) throw wrong("minimum", minimum, "a number from 1 to 1000000")
  return { _tag: "Rate", threshold, minimum, halfLife }
}

/**
 * What a closed circuit has seen: failures in a row, and for each policy that counts, in their order, the outcomes and
 * the failures among them as they weighed at the time `at`. Those of a streak that is going on are not yet among its
 * own.
 *
 * @since 0.2.0
 * @category models
 */
export interface Seen {
  readonly streak: number
  readonly tallies: ReadonlyArray<Tally>
  readonly at: number
}

interface Tally {
  readonly total: number
  readonly failures: number
}

const noTally: Tally = { total: 0, failures: 0 }

/**
 * Nothing yet.
 *
 * @internal
 */
export const nothing = (now: number): Seen => ({ streak: 0, tallies: [], at: now })

/**
 * Whether a success would change nothing.
 *
 * @internal
 */
export const isCalm = (policies: ReadonlyArray<TripPolicy>, seen: Seen | undefined): boolean =>
  (seen === undefined || seen.streak === 0) && policies.every((policy) => policy._tag === "Consecutive")

/**
 * One outcome more.
 *
 * @internal
 */
export const count = (policies: ReadonlyArray<TripPolicy>, seen: Seen, failed: boolean, now: number): Seen => {
  const age = Math.max(0, now - seen.at)
  let tallies: ReadonlyArray<Tally> = []
  for (const policy of policies) {
    if (policy._tag === "Consecutive") continue
    const tally = tallied(policy, seen.tallies[tallies.length] ?? noTally, seen.streak, failed, age)
    tallies = tallies.length === 0 ? [tally] : [...tallies, tally]
  }
  return { streak: failed ? seen.streak + 1 : 0, tallies, at: Math.max(now, seen.at) }
}

const tallied = (
  policy: Exclude<TripPolicy, { readonly _tag: "Consecutive" }>,
  before: Tally,
  streak: number,
  failed: boolean,
  age: number
): Tally => {
  const left = 2 ** (-age / policy.halfLife)
  const total = before.total * left
  const failures = before.failures * left
  if (policy._tag === "Rate") return { total: total + 1, failures: failures + (failed ? 1 : 0) }
  return failed ? { total, failures } : { total: total + streak + 1, failures: failures + streak }
}

/**
 * What is still known when a circuit closes again: how common failures were before the streak that opened it.
 *
 * @internal
 */
export const anew = (policies: ReadonlyArray<TripPolicy>, seen: Seen): Seen => ({
  streak: 0,
  tallies: policies
    .filter((policy) => policy._tag !== "Consecutive")
    .map((policy, index) => (policy._tag === "Streak" ? (seen.tallies[index] ?? noTally) : noTally)),
  at: seen.at
})

/** The quantile of the normal distribution that belongs to a two-sided interval of 95 %. */
const z = 1.96

/** What the true ratio is at least, after so few observations. */
const wilsonLowerBound = ({ failures, total }: Tally): number => {
  const ratio = failures / total
  const spread = (z * z) / total
  return (ratio + spread / 2 - Math.sqrt(spread * ratio * (1 - ratio) + (spread * spread) / 4)) / (1 + spread)
}

/**
 * So many failures in a row are less likely than that; one outcome more than there were keeps a few from being a ratio.
 */
const byChance = (chance: number, { failures, total }: Tally): number =>
  failures === 0 ? 0 : Math.log(chance) / Math.log(failures / (total + 1))

/**
 * Whether it is enough for one of the policies.
 *
 * @internal
 */
export const trips = (policies: ReadonlyArray<TripPolicy>, seen: Seen): boolean => {
  let counted = 0
  return policies.some((policy) => {
    if (policy._tag === "Consecutive") return seen.streak >= policy.failures
    const tally = seen.tallies[counted++] ?? noTally
    if (policy._tag === "Streak") return seen.streak >= Math.max(policy.failures, byChance(policy.chance, tally))
    return tally.total >= policy.minimum && wilsonLowerBound(tally) > policy.threshold
  })
}
