/**
 * When to try again: a retry policy is a plain Effect `Schedule` over `LlmError`.
 *
 * {@link standard} = {@link backoff} ∩ {@link serverHint} ∩ {@link attempts} ∩ {@link whileRetryable}, not beyond the
 * deadline, and announced. It works with `Effect.retry`, with `Resilience.retry` and with `ChatModel.retry`. Each block
 * is exported, each is a `Schedule`, and the policy is nothing but their intersection: all must agree to go on, and the
 * longest wait counts.
 *
 * Gotchas:
 * - A block decides from the newest error, never from the first.
 * - The server's hint is a floor: jitter is added to it, never taken off.
 * - To add a schedule of your own, intersect it and announce the result: `intersect(standard, own).pipe(announced)`.
 *   The outermost {@link announced} is the one that speaks, so that the log tells what really happens.
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
import * as ParseResult from "effect/ParseResult"
import * as Random from "effect/Random"
import * as Schedule from "effect/Schedule"
import * as ScheduleDecision from "effect/ScheduleDecision"
import * as ScheduleInterval from "effect/ScheduleInterval"
import * as Schema from "effect/Schema"
import * as LlmError from "../../errors/LlmError.js"
import * as Deadline from "../Deadline.js"
import { announced, type Decision, delayOf, giveUp, retryIn, type Verdict } from "./RetryDecision.js"

export {
  /**
   * @since 0.1.0
   * @category combinators
   */
  announced,
  /**
   * @since 0.1.0
   * @category models
   */
  type Decision,
  /**
   * @since 0.1.0
   * @category context
   */
  Listener,
  /**
   * @since 0.1.0
   * @category models
   */
  type Verdict
} from "./RetryDecision.js"

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

const positive = Schema.DurationFromSelf.pipe(
  Schema.greaterThanOrEqualToDuration(0),
  Schema.lessThanOrEqualToDuration(Duration.weeks(1))
)

/** Effect takes a negative duration for zero; where a person wrote it, it is a mistake. */
const decodeDuration = (input: unknown): Option.Option<Duration.Duration> =>
  (typeof input === "number" && input < 0) || (typeof input === "string" && input.trim().startsWith("-"))
    ? Option.none()
    : Duration.decodeUnknown(input)

/** A duration in JSON and YAML is text with a unit; a bare number would leave the unit to guessing. */
const DurationText = Schema.transformOrFail(Schema.String, positive, {
  strict: true,
  decode: (text, _, ast) =>
    Either.fromOption(
      decodeDuration(text),
      () => new ParseResult.Type(ast, text, `expected a duration such as "500 millis" or "30 seconds", found "${text}"`)
    ),
  encode: (duration) => ParseResult.succeed(`${Duration.toMillis(duration)} millis`)
})

const maxAttempts = Schema.Int.pipe(Schema.between(1, 100))
const backoffFactor = Schema.Number.pipe(Schema.between(1, 10))
const jitter = Schema.Literal("full", "none")

/**
 * The options of {@link make} as they stand in JSON or YAML: durations are text with a unit.
 *
 * - `maxAttempts`: how often to try in all, 1 to 100. Default 4.
 * - `initialDelay`: the first backoff. Default 500 millis, the value the official SDKs start with.
 * - `overloadedDelay`: the first backoff after `Overloaded`. Default 1 second: capacity comes back slower than a
 *   socket.
 * - `backoffFactor`: 1 to 10. Default 2.
 * - `maxDelay`: no backoff is longer. Default 30 seconds.
 * - `maxHint`: a server that asks for more ends retrying at once. Default 60 seconds, as in the openai SDK.
 * - `jitter`: `"full"` (default) draws each backoff from 0 to its value and adds to each hint; `"none"` takes both as
 *   they are.
 *
 * @since 0.1.0
 * @category options
 */
export const Options = Schema.Struct({
  maxAttempts: Schema.optional(maxAttempts),
  initialDelay: Schema.optional(DurationText),
  overloadedDelay: Schema.optional(DurationText),
  backoffFactor: Schema.optional(backoffFactor),
  maxDelay: Schema.optional(DurationText),
  maxHint: Schema.optional(DurationText),
  jitter: Schema.optional(jitter)
})

/**
 * The options of {@link make}; see the schema of the same name for units and defaults.
 *
 * @since 0.1.0
 * @category options
 */
export interface Options {
  readonly maxAttempts?: number | undefined
  readonly initialDelay?: Duration.DurationInput | undefined
  readonly overloadedDelay?: Duration.DurationInput | undefined
  readonly backoffFactor?: number | undefined
  readonly maxDelay?: Duration.DurationInput | undefined
  readonly maxHint?: Duration.DurationInput | undefined
  readonly jitter?: "full" | "none" | undefined
}

interface Settings {
  readonly maxAttempts: number
  readonly initialDelay: number
  readonly overloadedDelay: number
  readonly backoffFactor: number
  readonly maxDelay: number
  readonly maxHint: number
  readonly jitter: "full" | "none"
}

const accept = <A>(key: string, schema: Schema.Schema<A>, value: unknown): A => {
  const result = Schema.decodeUnknownEither(schema)(value)
  if (Either.isRight(result)) return result.right
  throw new RangeError(`RetryPolicy: ${key}: ${ParseResult.TreeFormatter.formatErrorSync(result.left)}`)
}

const millis = (key: string, input: Duration.DurationInput): number => {
  const duration = decodeDuration(input)
  if (duration._tag === "None") {
    throw new RangeError(`RetryPolicy: ${key}: expected a duration, found ${JSON.stringify(input)}`)
  }
  return Duration.toMillis(accept(key, positive, duration.value))
}

const settings = (options: Options): Settings => ({
  maxAttempts: accept("maxAttempts", maxAttempts, options.maxAttempts ?? 4),
  initialDelay: millis("initialDelay", options.initialDelay ?? 500),
  overloadedDelay: millis("overloadedDelay", options.overloadedDelay ?? 1000),
  backoffFactor: accept("backoffFactor", backoffFactor, options.backoffFactor ?? 2),
  maxDelay: millis("maxDelay", options.maxDelay ?? 30_000),
  maxHint: millis("maxHint", options.maxHint ?? 60_000),
  jitter: accept("jitter", jitter, options.jitter ?? "full")
})

// -----------------------------------------------------------------------------
// the pure part
// -----------------------------------------------------------------------------

/** The cap comes before the jitter, so that jitter never exceeds it. `random` is in [0, 1], 1 for no jitter. */
const decideBackoff = (options: Settings, attempt: number, error: LlmError.LlmError, random: number): Verdict => {
  const initial =
    error._tag === "Overloaded" ? Math.max(options.overloadedDelay, options.initialDelay) : options.initialDelay
  const ceiling = Math.min(options.maxDelay, initial * options.backoffFactor ** (attempt - 1))
  return retryIn(Math.floor(random * ceiling), "backoff")
}

/** Clients that were told the same second must not come back in the same second: up to 25 % more, at least 200 ms. */
const hintSpread = (hint: number): number => Math.max(200, hint * 0.25)

const decideHint = (options: Settings, error: LlmError.LlmError, random: number): Verdict => {
  const hint = LlmError.hint(error)
  if (hint === undefined) return retryIn(0, "hint")
  const wait = Duration.toMillis(hint)
  return wait > options.maxHint ? giveUp("hint-too-long") : retryIn(Math.ceil(wait + random * hintSpread(wait)), "hint")
}

const decideRetryable = (error: LlmError.LlmError): Verdict =>
  LlmError.isRetryable(error) ? retryIn(0, "backoff") : giveUp("not-retryable")

const decideAttempts = (options: Settings, attempt: number): Verdict =>
  attempt < options.maxAttempts ? retryIn(0, "backoff") : giveUp("exhausted")

/** All must agree; the first refusal is the reason, else the longest wait is. */
const both = (self: Verdict, that: Verdict): Verdict =>
  self._tag === "GiveUp" ? self : that._tag === "GiveUp" ? that : that.delay > self.delay ? that : self

// -----------------------------------------------------------------------------
// the blocks
// -----------------------------------------------------------------------------

const toStep = (now: number, verdict: Verdict): ScheduleDecision.ScheduleDecision =>
  verdict._tag === "GiveUp"
    ? ScheduleDecision.done
    : ScheduleDecision.continueWith(ScheduleInterval.after(now + verdict.delay))

/** A schedule of one pure decision: it counts the attempts from 1, and draws a number only where chance decides. */
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
 * At least the wait the server asked for, plus up to 25 % (at least up to 200 ms); stops on a hint above `maxHint`.
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
 * Stops after `max` attempts in all, the first one counted.
 *
 * @since 0.1.0
 * @category blocks
 */
export const attempts = (max: number): Schedule.Schedule<Verdict, LlmError.LlmError> => {
  const values = settings({ maxAttempts: max })
  return block((attempt) => decideAttempts(values, attempt))
}

/**
 * Goes on, without waiting, while the newest error is one that another attempt may mend.
 *
 * @since 0.1.0
 * @category blocks
 */
export const whileRetryable: Schedule.Schedule<Verdict, LlmError.LlmError> = block((_, error) => decideRetryable(error))

/**
 * Stops where the wait would outlive the deadline in force: the call then fails now, with its last error.
 *
 * @since 0.1.0
 * @category combinators
 */
export const withinDeadline = <R>(
  self: Schedule.Schedule<Decision, LlmError.LlmError, R>
): Schedule.Schedule<Decision, LlmError.LlmError, R> =>
  Schedule.makeWithState(self.initial, (now, error: LlmError.LlmError, state) =>
    Effect.zipWith(self.step(now, error, state), Deadline.Deadline, ([next, decision, step], deadline) =>
      ScheduleDecision.isDone(step) || Deadline.allows(deadline, now, delayOf(now, step))
        ? ([next, decision, step] as const)
        : ([next, { ...decision, verdict: giveUp("deadline") }, ScheduleDecision.done] as const)
    )
  )

// -----------------------------------------------------------------------------
// policies
// -----------------------------------------------------------------------------

/**
 * A policy from options: backoff ∩ server hint ∩ attempts, while retryable, within the deadline, announced.
 *
 * Throws a `RangeError` that names the option, the value and what was expected; to decode untrusted options use the
 * schema {@link Options} first.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: Options = {}): RetryPolicy => {
  const values = settings(options)
  const blocks = whileRetryable.pipe(
    Schedule.intersect(attempts(values.maxAttempts)),
    Schedule.intersect(serverHint(options)),
    Schedule.intersect(backoff(options)),
    Schedule.map(([[[retryable, attempts], hint], backoff]) => both(both(retryable, attempts), both(hint, backoff)))
  )
  const decided = Schedule.makeWithState(
    [blocks.initial, 1] as readonly [unknown, number],
    (now, error: LlmError.LlmError, [state, attempt]) =>
      Effect.map(blocks.step(now, error, state), ([next, verdict, step]) => {
        const decision: Decision = { attempt, maxAttempts: values.maxAttempts, error, verdict }
        return [[next, attempt + 1] as const, decision, step] as const
      })
  )
  return announced(withinDeadline(decided))
}

/**
 * For a caller who is waiting: 4 attempts, 500 ms doubling to 30 s with full jitter (1 s when `Overloaded`), hints up
 * to 60 s.
 *
 * @since 0.1.0
 * @category policies
 */
export const standard: RetryPolicy = make()

/**
 * For batch work: 10 attempts, and hints up to 10 minutes.
 *
 * @since 0.1.0
 * @category policies
 */
export const patient: RetryPolicy = make({ maxAttempts: 10, maxHint: "10 minutes" })

/**
 * One attempt.
 *
 * @since 0.1.0
 * @category policies
 */
export const none: RetryPolicy = make({ maxAttempts: 1 })

const checked = <A>(
  name: string,
  config: Config.Config<string>,
  expected: string,
  read: (text: string) => A | undefined
) =>
  config.pipe(
    Config.mapOrFail((text) => {
      const value = read(text.trim())
      return value === undefined
        ? Either.left(ConfigError.InvalidData([name], `${name} is "${text}", expected ${expected}`))
        : Either.right(value)
    }),
    Config.option
  )

const numberIn =
  (min: number, max: number, integer = false) =>
  (text: string): number | undefined => {
    const value = text === "" ? Number.NaN : Number(text)
    return value >= min && value <= max && (!integer || Number.isInteger(value)) ? value : undefined
  }

const secondsIn = (text: string): Duration.Duration | undefined => {
  const value = numberIn(0, 604_800)(text)
  return value === undefined ? undefined : Duration.millis(value * 1000)
}

const variable = <A>(name: string, expected: string, read: (text: string) => A | undefined) =>
  checked(name, Config.string(name), expected, read)

/**
 * The policy as the environment sets it; what is not set is as in {@link standard}.
 *
 * - `LLM_MAX_RETRIES`: retries after the first attempt, 0 to 99
 * - `LLM_RETRY_INITIAL_DELAY`, `LLM_RETRY_MAX_DELAY`: seconds, decimals allowed
 * - `LLM_RETRY_BACKOFF_FACTOR`: 1 to 10
 *
 * Fails with a `ConfigError` that names the variable, the value found and what was expected.
 *
 * @since 0.1.0
 * @category policies
 */
export const config: Config.Config<RetryPolicy> = Config.all({
  retries: variable("LLM_MAX_RETRIES", "a whole number from 0 to 99", numberIn(0, 99, true)),
  initialDelay: variable("LLM_RETRY_INITIAL_DELAY", "seconds, such as 0.5", secondsIn),
  maxDelay: variable("LLM_RETRY_MAX_DELAY", "seconds, such as 30", secondsIn),
  backoffFactor: variable("LLM_RETRY_BACKOFF_FACTOR", "a number from 1 to 10", numberIn(1, 10))
}).pipe(
  Config.map(({ backoffFactor, initialDelay, maxDelay, retries }) =>
    make({
      maxAttempts: retries._tag === "Some" ? retries.value + 1 : undefined,
      initialDelay: initialDelay._tag === "Some" ? initialDelay.value : undefined,
      maxDelay: maxDelay._tag === "Some" ? maxDelay.value : undefined,
      backoffFactor: backoffFactor._tag === "Some" ? backoffFactor.value : undefined
    })
  )
)
