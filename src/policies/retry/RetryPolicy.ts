/**
 * Retry policies: a retry policy is a plain Effect `Schedule` over `LlmError`.
 *
 * {@link standard} = {@link backoff} ∩ {@link serverHint} ∩ {@link attempts} ∩ {@link whileRetryable}, within the
 * deadline, and announced. It works with `Effect.retry`, `Resilience.retry` and `ChatModel.retry`. Each block is an
 * exported `Schedule`, and a policy is their intersection: a retry needs the consent of all blocks, and the longest
 * wait counts.
 *
 * Gotchas:
 * - A block decides by the newest error, never by the first.
 * - The server's hint is a floor: jitter is added to it, never taken off.
 * - To add your own schedule, intersect it and announce the result: `intersect(standard, own).pipe(announced)`. Only
 *   the outermost {@link announced} reports, so the log shows the real wait.
 *
 * @example
 * import { Effect, Schedule } from "effect"
 * import { LlmError, RetryPolicy } from "effect-steadfast"
 *
 * declare const call: Effect.Effect<string, LlmError.LlmError>
 * const held = call.pipe(Effect.retry(RetryPolicy.standard))
 * const calm = call.pipe(
 *   Effect.retry(RetryPolicy.standard.pipe(Schedule.intersect(Schedule.spaced("2 seconds")), RetryPolicy.announced))
 * )
 *
 * @since 0.1.0
 */

import * as Config from "effect/Config"
import * as ConfigError from "effect/ConfigError"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Schedule from "effect/Schedule"
import * as ScheduleDecision from "effect/ScheduleDecision"
import * as ScheduleInterval from "effect/ScheduleInterval"
import * as LlmError from "../../errors/LlmError.js"
import * as PolicyOptions from "../Options.js"
import * as WaitQueue from "../WaitQueue.js"
import * as RetryConditions from "./RetryConditions.js"
import { announced, type Decision, giveUp, type Opinion, retryIn, type Verdict } from "./RetryDecision.js"

export type { Conditions } from "./RetryConditions.js"
export { announced, type Decision, Listener, type Verdict } from "./RetryDecision.js"

// -----------------------------------------------------------------------------
// models
// -----------------------------------------------------------------------------

/**
 * A schedule that decides about LLM errors.
 *
 * @since 0.1.0
 * @category models
 */
export type RetryPolicy = Schedule.Schedule<Decision, LlmError.LlmError>

const delay = PolicyOptions.duration({ min: 0, max: "1 week" })

const options = PolicyOptions.struct({
  maxAttempts: PolicyOptions.optional(
    PolicyOptions.number({ min: 1, max: 100, whole: true }),
    "The most attempts, the first one included",
    4
  ),
  initialDelay: PolicyOptions.optional(delay, "The first backoff", "500 millis"),
  overloadedDelay: PolicyOptions.optional(
    delay,
    "The first backoff after Overloaded, never shorter than initialDelay",
    "1 second"
  ),
  backoffFactor: PolicyOptions.optional(
    PolicyOptions.number({ min: 1, max: 10 }),
    "The factor from each backoff to the next",
    2
  ),
  maxDelay: PolicyOptions.optional(delay, "The longest backoff", "30 seconds"),
  maxHint: PolicyOptions.optional(
    delay,
    "The longest server hint to wait for; a longer one ends retrying at once",
    "60 seconds"
  ),
  jitter: PolicyOptions.optional(
    PolicyOptions.oneOf("full", "none"),
    "full draws each backoff from 0 to its value and adds to each hint; none takes both as they are",
    "full"
  ),
  ...RetryConditions.fields
})

/**
 * The options of {@link make} in JSON or YAML: durations are text with a unit.
 *
 * @since 0.1.0
 * @category options
 */
export const Options = options.schema

/**
 * The options of {@link make}.
 *
 * @since 0.1.0
 * @category options
 */
export interface Options extends RetryConditions.Conditions {
  /** The most attempts, the first one included: a whole number from 1 to 100. Default 4. */
  readonly maxAttempts?: number | undefined
  /** The first backoff, at most 1 week. Default 500 millis, as in the official SDKs. */
  readonly initialDelay?: Duration.DurationInput | undefined
  /**
   * The first backoff after `Overloaded`, never shorter than `initialDelay`. Default 1 second: capacity comes back
   * slower than a socket.
   */
  readonly overloadedDelay?: Duration.DurationInput | undefined
  /** The factor from each backoff to the next: 1 to 10. Default 2. */
  readonly backoffFactor?: number | undefined
  /** The longest backoff, at most 1 week. Default 30 seconds. */
  readonly maxDelay?: Duration.DurationInput | undefined
  /**
   * The longest server hint to wait for, at most 1 week; a longer one ends retrying at once. Default 60 seconds, as in
   * the openai SDK.
   */
  readonly maxHint?: Duration.DurationInput | undefined
  /**
   * `"full"` draws each backoff from 0 to its value and adds to each hint; `"none"` takes both as they are. Default
   * `"full"`.
   */
  readonly jitter?: "full" | "none" | undefined
  /**
   * Lists for single providers, by their names in errors (`"openai"`). A match in them counts before the general lists.
   * Default: none.
   */
  readonly providers?: { readonly [name: string]: RetryConditions.Conditions } | undefined
}

type Settings = ReturnType<typeof settings>

/**
 * The options with their defaults, durations in milliseconds.
 *
 * @internal
 */
export const settings = (input: Options) => options.read(input, "RetryPolicy")

// -----------------------------------------------------------------------------
// the pure part
// -----------------------------------------------------------------------------

/** The cap comes before the jitter, so jitter never exceeds it. `random` is in [0, 1], 1 for no jitter. */
const decideBackoff = (options: Settings, attempt: number, error: LlmError.LlmError, random: number): Verdict => {
  const initial = Math.max(options.initialDelay, error._tag === "Overloaded" ? options.overloadedDelay : 0)
  const ceiling = Math.min(options.maxDelay, initial * options.backoffFactor ** (attempt - 1))
  return retryIn(Math.floor(random * ceiling), "backoff")
}

/**
 * The jitter on a hint, up to 25 %, at least 200 ms: clients told the same second must not return in the same second.
 */
const hintSpread = (hint: number): number => Math.max(200, hint * 0.25)

const decideHint = (options: Settings, error: LlmError.LlmError, random: number): Verdict => {
  const hint = LlmError.hint(error)
  if (hint === undefined) return retryIn(0, "hint")
  const wait = Duration.toMillis(hint)
  return wait > options.maxHint ? giveUp("hint-too-long") : retryIn(Math.ceil(wait + random * hintSpread(wait)), "hint")
}

/** Gives up with the first reason to give up, else retries after the longer wait. */
const both = (self: Verdict, that: Verdict): Verdict =>
  self._tag === "GiveUp" ? self : that._tag === "GiveUp" ? that : that.delay > self.delay ? that : self

// -----------------------------------------------------------------------------
// the blocks
// -----------------------------------------------------------------------------

const toStep = (now: number, verdict: Verdict): ScheduleDecision.ScheduleDecision =>
  verdict._tag === "GiveUp"
    ? ScheduleDecision.done
    : ScheduleDecision.continueWith(ScheduleInterval.after(now + verdict.delay))

/** A schedule of one pure decision. It counts the attempts from 1; `chance` draws the random number. */
const block = (
  decide: (attempt: number, error: LlmError.LlmError, random: number) => Verdict,
  chance: (error: LlmError.LlmError) => Effect.Effect<number> = () => Effect.succeed(0)
): Schedule.Schedule<Verdict, LlmError.LlmError> =>
  Schedule.makeWithState(1, (now, error: LlmError.LlmError, attempt) =>
    Effect.map(chance(error), (random) => {
      const verdict = decide(attempt, error, random)
      return [attempt + 1, verdict, toStep(now, verdict)] as const
    })
  )

/**
 * Exponential backoff from `initialDelay`, capped at `maxDelay`, then jittered. Never stops.
 *
 * @since 0.1.0
 * @category blocks
 */
export const backoff = (options: Options = {}): Schedule.Schedule<Verdict, LlmError.LlmError> => {
  const values = settings(options)
  return block(
    (attempt, error, random) => decideBackoff(values, attempt, error, random),
    () => (values.jitter === "full" ? Random.next : Effect.succeed(1))
  )
}

/**
 * Waits at least the server's hint, plus up to 25 % (at least up to 200 ms). Stops on a hint above `maxHint`.
 *
 * @since 0.1.0
 * @category blocks
 */
export const serverHint = (
  options: Pick<Options, "maxHint" | "jitter"> = {}
): Schedule.Schedule<Verdict, LlmError.LlmError> => {
  const values = settings(options)
  return block(
    (_, error, random) => decideHint(values, error, random),
    (error) => (values.jitter === "full" && LlmError.hint(error) !== undefined ? Random.next : Effect.succeed(0))
  )
}

/**
 * Stops after `max` attempts, the first one included.
 *
 * @since 0.1.0
 * @category blocks
 */
export const attempts = (max: number): Schedule.Schedule<Verdict, LlmError.LlmError> => {
  const { maxAttempts } = settings({ maxAttempts: max })
  return block((attempt) => (attempt < maxAttempts ? retryIn(0, "backoff") : giveUp("exhausted")))
}

const whileListed = (lists: RetryConditions.Lists): Schedule.Schedule<Verdict, LlmError.LlmError> =>
  block((_, error) => {
    const decision = RetryConditions.decide(lists, error)
    return decision === "retry" ? retryIn(0, "backoff") : giveUp(decision)
  })

/**
 * Continues, without a wait, while the newest error is retryable.
 *
 * @since 0.1.0
 * @category blocks
 */
export const whileRetryable: Schedule.Schedule<Verdict, LlmError.LlmError> = whileListed({})

// -----------------------------------------------------------------------------
// policies
// -----------------------------------------------------------------------------

/**
 * A policy from options: backoff ∩ server hint ∩ attempts, while retryable by the lists (`retryOn`, `giveUpOn`) or else
 * by the error, within the deadline, announced.
 *
 * Throws a `RangeError` that names the option, the value found and the value expected. Decode untrusted options with
 * the schema {@link Options} first.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: Options = {}): RetryPolicy => {
  const values = settings(options)
  const blocks = whileListed(values).pipe(
    Schedule.intersect(attempts(values.maxAttempts)),
    Schedule.intersect(serverHint(options)),
    Schedule.intersect(backoff(options)),
    Schedule.map(
      ([[[retryable, attempts], hint], backoff]): Opinion => ({
        maxAttempts: values.maxAttempts,
        patience: Math.max(WaitQueue.defaultWait, values.maxHint),
        verdict: both(both(retryable, attempts), both(hint, backoff))
      })
    )
  )
  return announced(blocks)
}

/**
 * For interactive calls: 4 attempts, 500 ms doubling to 30 s with full jitter (1 s after `Overloaded`), hints up to 60
 * s.
 *
 * @since 0.1.0
 * @category policies
 */
export const standard: RetryPolicy = make()

/**
 * For batch work: 20 attempts, 500 ms doubling to 1 minute with full jitter, and hints up to 10 minutes.
 *
 * Under a provider that refuses everything at once, the waits last 6.5 minutes on average, 13 at most. They are shorter
 * than one minute in less than 1 of 479,001,600 calls: the last 12 waits are drawn from 0 to 60 s each, and their sum
 * is below 60 s with a probability of 1 in 12!.
 *
 * @since 0.1.0
 * @category policies
 */
export const patient: RetryPolicy = make({ maxAttempts: 20, maxDelay: "1 minute", maxHint: "10 minutes" })

/**
 * One attempt.
 *
 * @since 0.1.0
 * @category policies
 */
export const none: RetryPolicy = make({ maxAttempts: 1 })

const variable = (name: string, bounds: Parameters<typeof PolicyOptions.number>[0], unit?: string) => {
  const { expected, read } = PolicyOptions.number(bounds)
  return Config.string(name).pipe(
    Config.mapOrFail((text) =>
      Either.try({
        try: () => read(text.trim() === "" ? Number.NaN : Number(text), name),
        catch: () => ConfigError.InvalidData([name], PolicyOptions.wrong(name, text, unit ?? `${expected}`).message)
      })
    ),
    Config.option,
    Config.map(Option.getOrUndefined)
  )
}

/**
 * The policy set by the environment; unset variables have the values of {@link standard}.
 *
 * - `LLM_MAX_RETRIES`: retries after the first attempt, 0 to 99
 * - `LLM_RETRY_INITIAL_DELAY`, `LLM_RETRY_MAX_DELAY`: seconds, decimals allowed
 * - `LLM_RETRY_BACKOFF_FACTOR`: 1 to 10
 *
 * Fails with a `ConfigError` that names the variable, the value found and the value expected.
 *
 * @since 0.1.0
 * @category policies
 */
export const config: Config.Config<RetryPolicy> = Config.all({
  retries: variable("LLM_MAX_RETRIES", { min: 0, max: 99, whole: true }),
  initialDelay: variable("LLM_RETRY_INITIAL_DELAY", { min: 0, max: 604_800 }, "seconds, such as 0.5"),
  maxDelay: variable("LLM_RETRY_MAX_DELAY", { min: 0, max: 604_800 }, "seconds, such as 30"),
  backoffFactor: variable("LLM_RETRY_BACKOFF_FACTOR", { min: 1, max: 10 })
}).pipe(
  Config.map(({ backoffFactor, initialDelay, maxDelay, retries }) =>
    make({
      maxAttempts: retries === undefined ? undefined : retries + 1,
      initialDelay: initialDelay === undefined ? undefined : Duration.seconds(initialDelay),
      maxDelay: maxDelay === undefined ? undefined : Duration.seconds(maxDelay),
      backoffFactor
    })
  )
)
