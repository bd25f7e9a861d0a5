/**
 * What can be set of a {@link CircuitBreaker}, and its defaults.
 *
 * @since 0.2.0
 */
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import * as TripPolicy from "./TripPolicy.js"

/**
 * How long to stay open: always the same, or doubling from `initial` to `max`. Chance takes up to a fifth off each
 * time, so that many processes do not probe in the same moment.
 *
 * @since 0.2.0
 * @category options
 */
export type OpenDuration =
  | Duration.DurationInput
  | { readonly initial: Duration.DurationInput; readonly max: Duration.DurationInput }

/**
 * - `tripPolicy`: what opens a closed circuit; of several, any. Default `streak()` and `rate()`.
 * - `openDuration`: how long it stays open for an unhealthy target. Default 1 second, doubling to 15: LLM outages are
 *   short and many, and a probe costs one call.
 * - `deadDuration`: the same for a key that is refused or has no credit. Default 60 seconds, doubling to an hour: a
 *   person has to mend it.
 * - `ramp`: how many may be in flight in a half-open circuit, step by step. Default 1, 2, 4.
 * - `probeLease`: how long the place of a probe is kept that is not heard of again, as when its process died. Default
 *   2 minutes, longer than all but the longest answers take.
 *
 * @since 0.2.0
 * @category options
 */
export interface Options {
  readonly tripPolicy?: TripPolicy.TripPolicy | ReadonlyArray<TripPolicy.TripPolicy> | undefined
  readonly openDuration?: OpenDuration | undefined
  readonly deadDuration?: OpenDuration | undefined
  readonly ramp?: ReadonlyArray<number> | undefined
  readonly probeLease?: Duration.DurationInput | undefined
}

/**
 * How long to stay open: doubling from `initial` to `max`, in milliseconds.
 *
 * @since 0.2.0
 * @category models
 */
export interface Backoff {
  readonly initial: number
  readonly max: number
}

/**
 * The options of a breaker, checked and in milliseconds.
 *
 * @since 0.2.0
 * @category models
 */
export interface Settings {
  readonly policies: ReadonlyArray<TripPolicy.TripPolicy>
  readonly Unhealthy: Backoff
  readonly Dead: Backoff
  readonly ramp: ReadonlyArray<number>
  readonly lease: number
}

const standard: ReadonlyArray<TripPolicy.TripPolicy> = [TripPolicy.streak(), TripPolicy.rate()]

const wrong = (option: string, found: unknown, expected: string): RangeError =>
  new RangeError(`CircuitBreaker: ${option}: found ${found}, expected ${expected}`)

const millis = (option: string, input: Duration.DurationInput): number => {
  const duration = Option.getOrUndefined(Duration.decodeUnknown(input))
  const value = duration === undefined ? Number.NaN : Math.ceil(Duration.toMillis(duration))
  if (!(value > 0 && Number.isSafeInteger(value))) throw wrong(option, JSON.stringify(input), "a finite time above 0")
  return value
}

const backoff = (option: string, input: OpenDuration): Backoff => {
  const both =
    typeof input === "object" && "initial" in input
      ? { initial: millis(`${option}.initial`, input.initial), max: millis(`${option}.max`, input.max) }
      : { initial: millis(option, input), max: millis(option, input) }
  if (both.initial > both.max) throw wrong(`${option}.max`, `${both.max} ms`, `at least initial, ${both.initial} ms`)
  return both
}

/**
 * The options with their defaults, checked.
 *
 * @internal
 */
export const settings = (options: Options = {}): Settings => {
  const { ramp = [1, 2, 4], tripPolicy = standard } = options
  const policies = "_tag" in tripPolicy ? [tripPolicy] : tripPolicy
  if (policies.length === 0) throw wrong("tripPolicy", "none", "at least one")
  if (ramp.length === 0 || ramp.some((width) => !(Number.isSafeInteger(width) && width >= 1))) {
    throw wrong("ramp", `[${ramp.join(", ")}]`, "whole numbers from 1 on")
  }
  return {
    policies,
    Unhealthy: backoff("openDuration", options.openDuration ?? { initial: "1 second", max: "15 seconds" }),
    Dead: backoff("deadDuration", options.deadDuration ?? { initial: "60 seconds", max: "1 hour" }),
    ramp,
    lease: millis("probeLease", options.probeLease ?? "2 minutes")
  }
}
