/**
 * The options of a {@link CircuitBreaker} and their defaults.
 *
 * @since 0.2.0
 */

import * as Duration from "effect/Duration"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import * as PolicyOptions from "../Options.js"
import * as WaitQueue from "../WaitQueue.js"
import * as TripPolicy from "./TripPolicy.js"

/**
 * How long to stay open: a fixed time, or one that doubles from `initial` to `max`. Up to a fifth of each time is taken
 * off at random, so that many processes do not probe at the same moment.
 *
 * @since 0.2.0
 * @category options
 */
export type OpenDuration =
  | Duration.DurationInput
  | {
      /** The first time, above 0 and finite. */
      readonly initial: Duration.DurationInput
      /** The longest time, at least `initial` and finite. */
      readonly max: Duration.DurationInput
    }

const time = PolicyOptions.duration({ above: 0, finite: true })

const doubling = PolicyOptions.struct({
  initial: PolicyOptions.required(time, "The first time"),
  max: PolicyOptions.required(time, "The longest time, at least initial")
})

const openDuration = {
  schema: Schema.Union(time.schema, doubling.schema),
  read: (input: OpenDuration, at: string): Backoff => {
    const isDoubling = Predicate.hasProperty(input, "initial")
    const { initial, max } = isDoubling ? doubling.read(input, at) : { initial: time.read(input, at), max: 0 }
    const both = { initial: Math.ceil(initial), max: Math.ceil(isDoubling ? max : initial) }
    if (both.initial <= both.max) return both
    throw PolicyOptions.wrong(`${at}.max`, Duration.millis(both.max), `at least initial, ${both.initial} ms`)
  }
}

const options = PolicyOptions.struct({
  tripPolicy: PolicyOptions.optional(
    TripPolicy.rule,
    "What opens a closed circuit: consecutive, streak or rate, or any of several; default streak and rate"
  ),
  openDuration: PolicyOptions.optional(
    openDuration,
    "How long a circuit stays open for an unhealthy target: a finite duration above 0, or one that doubles",
    { initial: "1 second", max: "15 seconds" }
  ),
  deadDuration: PolicyOptions.optional(openDuration, "The same for a refused key or one without credit", {
    initial: "60 seconds",
    max: "1 hour"
  }),
  ramp: PolicyOptions.optional(
    PolicyOptions.list(PolicyOptions.number({ min: 1, whole: true })),
    "The attempts in flight at each step of a half-open circuit: whole numbers of 1 or more",
    [1, 2, 4]
  ),
  probeLease: PolicyOptions.optional(
    time,
    "How long a lost probe, such as one of a dead process, keeps its place",
    "2 minutes"
  ),
  ...WaitQueue.options
})

/**
 * The options of a breaker in JSON or YAML: durations are text with a unit, and a trip policy is `{ "consecutive": 3
 * }`, `{ "streak": { … } }` or `{ "rate": { … } }` with the options of the function of that name.
 *
 * @since 0.2.0
 * @category options
 */
export const Options = options.schema

/**
 * The options of a breaker.
 *
 * @since 0.2.0
 * @category options
 */
export interface Options extends WaitQueue.Options {
  /** The trip policies; any of them opens a closed circuit. Default `streak()` and `rate()`. */
  readonly tripPolicy?: TripPolicy.TripPolicy | ReadonlyArray<TripPolicy.TripPolicy> | undefined
  /**
   * How long a circuit stays open for an unhealthy target: above 0, finite. Default 1 second, doubling to 15: LLM
   * outages are short and many, and a probe costs one call.
   */
  readonly openDuration?: OpenDuration | undefined
  /** The same for a refused key or one without credit. Default 60 seconds, doubling to an hour: it needs a person. */
  readonly deadDuration?: OpenDuration | undefined
  /** The attempts in flight at each step of a half-open circuit: whole numbers, 1 or more. Default 1, 2, 4. */
  readonly ramp?: ReadonlyArray<number> | undefined
  /**
   * How long a lost probe, such as one of a dead process, keeps its place: above 0, finite. Default 2 minutes, longer
   * than nearly all answers take.
   */
  readonly probeLease?: Duration.DurationInput | undefined
}

/**
 * How long to stay open, doubling.
 *
 * @since 0.2.0
 * @category models
 */
export interface Backoff {
  /** The first time, in milliseconds. */
  readonly initial: number
  /** The longest time, in milliseconds. */
  readonly max: number
}

/**
 * The options of a breaker, checked.
 *
 * @since 0.2.0
 * @category models
 */
export interface Settings extends WaitQueue.Settings {
  /** The trip policies. */
  readonly policies: ReadonlyArray<TripPolicy.TripPolicy>
  /** The open times of an unhealthy target. */
  readonly Unhealthy: Backoff
  /** The open times of a dead key. */
  readonly Dead: Backoff
  /** The attempts in flight at each step of a half-open circuit. */
  readonly ramp: ReadonlyArray<number>
  /** How long a lost probe keeps its place, in milliseconds. */
  readonly lease: number
}

const standard: ReadonlyArray<TripPolicy.TripPolicy> = [TripPolicy.streak(), TripPolicy.rate()]

/**
 * Checks the options and adds the defaults.
 *
 * @internal
 */
export const settings = (input: Options = {}): Settings => {
  const read = options.read(input, "CircuitBreaker")
  const { deadDuration, maxQueue, maxWait, openDuration, probeLease, ramp, tripPolicy = standard } = read
  return {
    policies: tripPolicy,
    Unhealthy: openDuration,
    Dead: deadDuration,
    ramp,
    lease: Math.ceil(probeLease),
    maxWait,
    maxQueue
  }
}
