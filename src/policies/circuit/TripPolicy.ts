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
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import * as PolicyOptions from "../Options.js"

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

const failures = PolicyOptions.number({ min: 1, whole: true })

const halfLife = PolicyOptions.optional(
  PolicyOptions.duration({ above: 0, finite: true }),
  "The time after which an outcome counts half",
  "60 seconds"
)

const streakOptions = PolicyOptions.struct({
  failures: PolicyOptions.optional(failures, "The least number of failures in a row that opens it", 3),
  chance: PolicyOptions.optional(
    PolicyOptions.number({ above: 0, below: 1 }),
    "How likely a streak by chance must be at most",
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
    "With fewer outcomes it never opens; older ones count in part",
    5
  ),
  halfLife
})

/**
 * Opens after so many failures in a row, in the order in which they end. Only a success breaks the row.
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
  /** The least number of failures in a row that opens it, a whole number of 1 or more. Default 3. */
  readonly failures?: number | undefined
  /**
   * How likely a streak by chance must be at most: above 0, below 1. Default 0.00001: at five calls a second a mistake
   * in five hours.
   */
  readonly chance?: number | undefined
  /** The time after which an outcome counts half: above 0, finite. Default 60 seconds. */
  readonly halfLife?: Duration.DurationInput | undefined
}

/**
 * Opens after so many failures in a row, or more where failures are common: as many as would come by chance less often
 * than `chance`, at the ratio that failed before. A target that fails one call in five has three in a row at every
 * hundredth, is asked five times a second, and would be shut out most of the time by {@link consecutive}: simulated,
 * one call in three succeeds, where retries alone answer all of them.
 *
 * Throws a `RangeError` that names the option, what was found and what was expected.
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
  /** With fewer outcomes it never opens; older ones count in part: 1 to 1,000,000. Default 5. */
  readonly minimum?: number | undefined
  /**
   * The time after which an outcome counts half: above 0, finite. Default 60 seconds, so that five calls in two minutes
   * are enough.
   */
  readonly halfLife?: Duration.DurationInput | undefined
}

/**
 * Opens when more than `threshold` of the calls fail, as far as can be told from those there were: the lower end of a
 * 95 % Wilson interval has to be above it.
 *
 * Throws a `RangeError` that names the option, what was found and what was expected.
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
 * One or several, as a breaker takes them.
 *
 * @internal
 */
export const rule = {
  schema: Schema.Union(one, several.schema),
  read: (input: TripPolicy | ReadonlyArray<TripPolicy>, at: string): ReadonlyArray<TripPolicy> =>
    several.read(isTripPolicy(input) ? [input] : input, at)
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
