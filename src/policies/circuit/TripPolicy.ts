/**
 * Trip policies: when a closed circuit opens.
 *
 * Made for LLM rates. A web breaker waits for about twenty calls in ten seconds, and so never opens at one call a
 * second or less. {@link consecutive} and {@link streak} need no rate at all. {@link rate} forgets by time, not by
 * number, and tests the lower bound of the failure ratio: two failures in three calls may be chance, fifteen in twenty
 * are not.
 *
 * @since 0.2.0
 */

import * as Duration from "effect/Duration"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import * as PolicyOptions from "../Options.js"

/**
 * A trip policy. `halfLife` is in milliseconds.
 *
 * @since 0.2.0
 * @category models
 */
export type TripPolicy =
  | { readonly _tag: "Consecutive"; readonly failures: number }
  | { readonly _tag: "Streak"; readonly failures: number; readonly chance: number; readonly halfLife: number }
  | { readonly _tag: "Rate"; readonly threshold: number; readonly minimum: number; readonly halfLife: number }

const failures = PolicyOptions.number({ min: 1, whole: true })

const halfLife = PolicyOptions.optional(
  PolicyOptions.duration({ above: 0, finite: true }),
  "The time after which an outcome counts half",
  "60 seconds"
)

const streakOptions = PolicyOptions.struct({
  failures: PolicyOptions.optional(failures, "The fewest failures in a row that open it", 3),
  chance: PolicyOptions.optional(
    PolicyOptions.number({ above: 0, below: 1 }),
    "The highest accepted chance of a random streak",
    0.00001
  ),
  halfLife
})

const rateOptions = PolicyOptions.struct({
  threshold: PolicyOptions.optional(
    PolicyOptions.number({ min: 0, below: 1 }),
    "The ratio of failures above which it opens",
    0.5
  ),
  minimum: PolicyOptions.optional(
    PolicyOptions.number({ min: 1, max: 1_000_000 }),
    "The fewest outcomes that open it; older ones count in part",
    5
  ),
  halfLife
})

/**
 * Opens after this many failures in a row, in the order of their ends. Only a success breaks the row.
 *
 * Throws a `RangeError` unless `failures` is a whole number of 1 or more.
 *
 * @since 0.2.0
 * @category trip policies
 */
export const consecutive = (input: number): TripPolicy => ({
  _tag: "Consecutive",
  failures: failures.read(input, "CircuitBreaker.consecutive: failures")
})

/**
 * The options of {@link streak}.
 *
 * @since 0.2.0
 * @category options
 */
export interface StreakOptions {
  /** The fewest failures in a row that open it, a whole number of 1 or more. Default 3. */
  readonly failures?: number | undefined
  /**
   * The highest accepted chance of a random streak: above 0, below 1. Default 0.00001: at five calls a second, one
   * mistake in five hours.
   */
  readonly chance?: number | undefined
  /** The time after which an outcome counts half: above 0, finite. Default 60 seconds. */
  readonly halfLife?: Duration.DurationInput | undefined
}

/**
 * Opens after `failures` failures in a row, or more if failures are common: the streak must be less likely than
 * `chance`, given the failure ratio before it. A target that fails one call in five has three failures in a row at
 * every hundredth call. At five calls a second {@link consecutive} would keep its circuit open most of the time: in
 * simulation one call in three succeeds, while retries alone answer every call.
 *
 * Throws a `RangeError` that names the option, the value found and the value expected.
 *
 * @since 0.2.0
 * @category trip policies
 */
export const streak = (options: StreakOptions = {}): TripPolicy => ({
  _tag: "Streak",
  ...streakOptions.read(options, "CircuitBreaker.streak")
})

/**
 * The options of {@link rate}.
 *
 * @since 0.2.0
 * @category options
 */
export interface RateOptions {
  /** The ratio of failures above which it opens: 0 or more, below 1. Default 0.5. */
  readonly threshold?: number | undefined
  /** The fewest outcomes that open it; older ones count in part: 1 to 1,000,000. Default 5. */
  readonly minimum?: number | undefined
  /**
   * The time after which an outcome counts half: above 0, finite. Default 60 seconds: five calls in two minutes can
   * open it.
   */
  readonly halfLife?: Duration.DurationInput | undefined
}

/**
 * Opens if more than `threshold` of the calls fail, with 95 % confidence: the lower end of the Wilson interval must be
 * above it.
 *
 * Throws a `RangeError` that names the option, the value found and the value expected.
 *
 * @since 0.2.0
 * @category trip policies
 */
export const rate = (options: RateOptions = {}): TripPolicy => ({
  _tag: "Rate",
  ...rateOptions.read(options, "CircuitBreaker.rate")
})

const isTripPolicy = (input: unknown): input is TripPolicy =>
  Predicate.isTagged(input, "Consecutive") || Predicate.isTagged(input, "Streak") || Predicate.isTagged(input, "Rate")

const Json = Schema.Union(
  Schema.Struct({ consecutive: failures.schema }),
  Schema.Struct({ streak: streakOptions.schema }),
  Schema.Struct({ rate: rateOptions.schema })
)

const encode = (self: TripPolicy): typeof Json.Type => {
  if (self._tag === "Consecutive") return { consecutive: self.failures }
  const { _tag, ...options } = { ...self, halfLife: Duration.millis(self.halfLife) }
  return _tag === "Streak" ? { streak: options } : { rate: options }
}

const one = Schema.transform(Json, Schema.declare(isTripPolicy), {
  strict: true,
  decode: (json) =>
    "consecutive" in json ? consecutive(json.consecutive) : "streak" in json ? streak(json.streak) : rate(json.rate),
  encode
})

const several = PolicyOptions.list({
  schema: one,
  read: (input: TripPolicy, at) => {
    if (!isTripPolicy(input)) throw PolicyOptions.wrong(at, input, "a trip policy")
    return input
  }
})

/**
 * The option of a breaker: one trip policy or several.
 *
 * @internal
 */
export const rule = {
  schema: Schema.Union(one, several.schema),
  read: (input: TripPolicy | ReadonlyArray<TripPolicy>, at: string): ReadonlyArray<TripPolicy> =>
    several.read(isTripPolicy(input) ? [input] : input, at)
}

/**
 * The outcomes of a closed circuit. The tallies are in the order of the policies, each with the weights of the time
 * `at`. A streak's own tally excludes the current streak.
 *
 * @since 0.2.0
 * @category models
 */
export interface Seen {
  /** The failures in a row. */
  readonly streak: number
  /** The weighed outcomes, and the failures among them, for each policy; zero for `consecutive`. */
  readonly tallies: ReadonlyArray<Tally>
  /** The time of the last outcome, in epoch milliseconds. */
  readonly at: number
}

interface Tally {
  readonly total: number
  readonly failures: number
}

const noTally: Tally = { total: 0, failures: 0 }

/**
 * No outcomes yet.
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
 * Counts an outcome.
 *
 * @internal
 */
export const count = (policies: ReadonlyArray<TripPolicy>, seen: Seen, failed: boolean, now: number): Seen => {
  const age = Math.max(0, now - seen.at)
  return {
    streak: failed ? seen.streak + 1 : 0,
    tallies: policies.map((policy, i) => tallied(policy, seen.tallies[i] ?? noTally, seen.streak, failed, age)),
    at: Math.max(now, seen.at)
  }
}

const tallied = (policy: TripPolicy, before: Tally, streak: number, failed: boolean, age: number): Tally => {
  if (policy._tag === "Consecutive") return noTally
  const left = 2 ** (-age / policy.halfLife)
  const total = before.total * left
  const failures = before.failures * left
  if (policy._tag === "Rate") return { total: total + 1, failures: failures + (failed ? 1 : 0) }
  return failed ? { total, failures } : { total: total + streak + 1, failures: failures + streak }
}

/**
 * The outcomes to keep when a circuit closes: how common failures were before the streak that opened it.
 *
 * @internal
 */
export const anew = (policies: ReadonlyArray<TripPolicy>, seen: Seen): Seen => ({
  streak: 0,
  tallies: policies.map((policy, i) => (policy._tag === "Streak" && seen.tallies[i]) || noTally),
  at: seen.at
})

/** The quantile of the normal distribution for a two-sided 95 % interval. */
const z = 1.96

/** The lower bound of the true failure ratio. */
const wilsonLowerBound = ({ failures, total }: Tally): number => {
  const ratio = failures / total
  const spread = (z * z) / total
  return (ratio + spread / 2 - Math.sqrt(spread * ratio * (1 - ratio) + (spread * spread) / 4)) / (1 + spread)
}

/** The length of a streak with this chance. The added outcome keeps a few observations from counting as a ratio. */
const byChance = (chance: number, { failures, total }: Tally): number =>
  Math.log(chance) / Math.log(failures / (total + 1))

/**
 * Whether any of the policies opens the circuit.
 *
 * @internal
 */
export const trips = (policies: ReadonlyArray<TripPolicy>, seen: Seen): boolean =>
  policies.some((policy, i) => {
    if (policy._tag === "Consecutive") return seen.streak >= policy.failures
    const tally = seen.tallies[i] ?? noTally
    if (policy._tag === "Streak") return seen.streak >= Math.max(policy.failures, byChance(policy.chance, tally))
    return tally.total >= policy.minimum && wilsonLowerBound(tally) > policy.threshold
  })
