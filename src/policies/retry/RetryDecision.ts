/**
 * The decisions of a retry policy, and their listener.
 *
 * A {@link Verdict} comes from one block of a policy, a {@link Decision} from the whole policy after one failure.
 * {@link announced} wraps a schedule so that the {@link Listener} receives each decision as it is carried out. By
 * default each becomes a WARN line. Inside a `Call`, the call is the listener.
 *
 * @since 0.1.0
 */

import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import * as ScheduleDecision from "effect/ScheduleDecision"
import * as ScheduleInterval from "effect/ScheduleInterval"
import * as ScheduleIntervals from "effect/ScheduleIntervals"
import { factsOf } from "../../errors/ErrorFacts.js"
import * as LlmError from "../../errors/LlmError.js"
import * as Deadline from "../Deadline.js"
import * as Probe from "../Probe.js"
import * as Times from "../Times.js"
import * as RetryBudget from "./RetryBudget.js"

/**
 * The verdict of one block on one failure: retry after `delay` milliseconds, or give up; and the reason.
 *
 * @since 0.1.0
 * @category models
 */
export type Verdict =
  | { readonly _tag: "Retry"; readonly delay: number; readonly reason: "backoff" | "hint" | "schedule" | "circuit" }
  | {
      readonly _tag: "GiveUp"
      readonly reason:
        | "exhausted"
        | "not-retryable"
        | "give-up-on"
        | "hint-too-long"
        | "deadline"
        | "budget"
        | "schedule"
    }

/**
 * The decision of a whole policy after a failed attempt.
 *
 * @since 0.1.0
 * @category models
 */
export interface Decision {
  /** The number of the failed attempt, from 1. */
  readonly attempt: number
  /** The policy's limit of attempts; `Infinity` without one. */
  readonly maxAttempts: number
  /** The longest wait for the retry budget without a deadline, in milliseconds. Default 60,000. */
  readonly patience?: number | undefined
  /** The attempt's error. */
  readonly error: LlmError.LlmError
  /** The verdict. */
  readonly verdict: Verdict
  /** The wait for the retry budget before `delay` began, in milliseconds; absent if there was none. */
  readonly queuedMillis?: number
}

/**
 * A policy's own part of a decision; {@link announced} adds the attempt and the error.
 *
 * @internal
 */
export type Opinion = Pick<Decision, "maxAttempts" | "patience" | "queuedMillis" | "verdict">

/**
 * The verdict to give up.
 *
 * @internal
 */
export const giveUp = (reason: Extract<Verdict, { _tag: "GiveUp" }>["reason"]): Verdict => ({ _tag: "GiveUp", reason })

/**
 * The verdict to retry after `delay` milliseconds.
 *
 * @internal
 */
export const retryIn = (delay: number, reason: Extract<Verdict, { _tag: "Retry" }>["reason"]): Verdict => ({
  _tag: "Retry",
  delay,
  reason
})

/**
 * Receives the decisions of {@link announced}. By default they become WARN lines, the give-up with all attempts: a
 * fallback may still follow it. Inside a `Call`, the call receives them and logs its own end.
 *
 * @since 0.1.0
 * @category context
 */
export class Listener extends Context.Reference<Listener>()("steadfast/RetryPolicy/Listener", {
  defaultValue: () => (decision: Decision, failures: ReadonlyArray<LlmError.LlmError>) => log(decision, failures)
}) {}

/**
 * Set while an outer `announced` runs the schedule inside it. The inner one then leaves the deadline and the listener
 * to the outer one.
 */
class Announcing extends Context.Reference<Announcing>()("steadfast/RetryPolicy/Announcing", {
  defaultValue: () => false
}) {}

/** The milliseconds that a step of a schedule waits. */
const delayOf = (now: number, step: ScheduleDecision.ScheduleDecision): number =>
  ScheduleDecision.isDone(step) ? 0 : Math.max(0, ScheduleIntervals.start(step.intervals) - now)

const isOpinion = (u: unknown): u is Opinion =>
  typeof u === "object" && u !== null && "verdict" in u && "maxAttempts" in u

/**
 * The decision in the output of a schedule: the output itself, or a part of the tuples that `Schedule.intersect` makes.
 *
 * @internal
 */
export const findDecision = (output: unknown): Opinion | undefined => {
  if (isOpinion(output)) return output
  return Array.isArray(output) ? output.map(findDecision).find((found) => found !== undefined) : undefined
}

/** The decision as carried out. A composed schedule may differ from our part of it, so the step counts. */
const carriedOut = (
  attempt: number,
  error: LlmError.LlmError,
  now: number,
  output: unknown,
  step: ScheduleDecision.ScheduleDecision
): Decision => {
  const inner = findDecision(output)
  const delay = delayOf(now, step)
  const verdict: Verdict = ScheduleDecision.isDone(step)
    ? inner?.verdict._tag === "GiveUp"
      ? inner.verdict
      : giveUp("schedule")
    : inner?.verdict._tag === "Retry" && inner.verdict.delay === delay
      ? inner.verdict
      : retryIn(delay, "schedule")
  const { maxAttempts = Number.POSITIVE_INFINITY, patience } = inner ?? {}
  return { attempt, maxAttempts, patience, error, verdict }
}

/**
 * The reason not to make a wanted retry, or how long its budget took, in milliseconds. The budget is asked last,
 * because it may give only to retries that are made.
 */
const refusal = (
  limit: Deadline.Limit,
  now: number,
  { error, patience, verdict }: Decision,
  draw: RetryBudget.Draw
): Effect.Effect<"deadline" | "budget" | number> => {
  if (verdict._tag === "GiveUp") return Effect.succeed(0)
  if (!Deadline.allows(limit, now, verdict.delay)) return Effect.succeed("deadline")
  return Effect.map(draw.take(error, verdict.delay, undefined, patience), (waited) => waited ?? "budget")
}

/** The facts of the failures so far. */
interface Progress {
  readonly failures: ReadonlyArray<LlmError.LlmError>
  /** The probes among them: a probe does not count towards the policy's attempts. */
  readonly probes: number
  /** The end of the time in which probes do not count, in epoch milliseconds, once there was one. */
  readonly waitsUntil: number | undefined
}

/** Whether a policy that was asked about a failed probe goes on, or would if the probe did not count. */
const goesOn = ({ verdict }: Decision): boolean => verdict._tag === "Retry" || verdict.reason === "exhausted"

/**
 * Reports every decision of a schedule, as it is carried out, to the {@link Listener}: one WARN line for each retry
 * and one for giving up. Two limits overrule the schedule: a wait that would outlive the deadline is not begun,
 * nor a retry for which `draw` gets nothing from its budget.
 *
 * The failed probe of a circuit is retried at once, and not counted: the call waits for the circuit again.
 *
 * The decision is the schedule's output, so the next attempt finds it in `Schedule.CurrentIterationMetadata`, alone or
 * in a tuple, and records it. If `Schedule.map` and the like hide it, announce the result. Only the outermost of nested
 * ones reports: `announced(announced(x))` is `announced(x)`.
 *
 * @since 0.1.0
 * @category combinators
 */
export const announced = <Out, R>(
  self: Schedule.Schedule<Out, LlmError.LlmError, R>,
  draw: RetryBudget.Draw = RetryBudget.draw()
): Schedule.Schedule<Decision, LlmError.LlmError, R> =>
  Schedule.makeWithState(
    [self.initial, { failures: [], probes: 0, waitsUntil: undefined }] as readonly [unknown, Progress],
    (now, error: LlmError.LlmError, [state, earlier]) =>
      Effect.gen(function* () {
        const nested = yield* Announcing
        // The time of the schedule is the wall time.
        const at = yield* Times.current
        const [next, out, step] = yield* Effect.provideService(self.step(now, error, state), Announcing, true)
        const failures = [...earlier.failures, error]
        const asked = carriedOut(failures.length, error, now, out, step)
        const marked = nested ? undefined : Probe.take(error)
        const waitsUntil = earlier.waitsUntil ?? marked
        const isProbe = marked !== undefined && waitsUntil !== undefined && at < waitsUntil && goesOn(asked)
        const probes = earlier.probes + (isProbe ? 1 : 0)
        const wanted: Decision = {
          ...asked,
          maxAttempts: asked.maxAttempts + probes,
          verdict: isProbe ? retryIn(0, "circuit") : asked.verdict
        }
        const limit = nested ? Deadline.none : yield* Deadline.Deadline
        const allowed = yield* refusal(limit, at, wanted, draw)
        const waited = typeof allowed === "number" ? allowed : 0
        const decision: Decision =
          typeof allowed === "string" ? { ...wanted, verdict: giveUp(allowed) } : shortened(wanted, waited)
        if (!nested) yield* (yield* Listener)(decision, failures)
        const { verdict } = decision
        return [
          [isProbe ? state : next, { failures, probes, waitsUntil }],
          decision,
          verdict._tag === "GiveUp"
            ? ScheduleDecision.done
            : isProbe || waited > 0
              ? ScheduleDecision.continueWith(ScheduleInterval.after(now + verdict.delay))
              : step
        ] as const
      })
  )

/** A decision of which a part of the wait is over: the time that the budget took. */
const shortened = (decision: Decision, waited: number): Decision => {
  const { verdict } = decision
  return waited === 0 || verdict._tag === "GiveUp"
    ? decision
    : { ...decision, verdict: { ...verdict, delay: Math.max(0, verdict.delay - waited) }, queuedMillis: waited }
}

/** Formats a wait: whole milliseconds below a second, tenths of seconds above. */
const seconds = (millis: number): string =>
  millis < 1000 ? `${Math.round(millis)}ms` : `${(millis / 1000).toFixed(1)}s`

const ofMax = (decision: Decision): string =>
  Number.isFinite(decision.maxAttempts) ? `${decision.attempt} of ${decision.maxAttempts}` : `${decision.attempt}`

/**
 * The reason of a decision in words.
 *
 * @internal
 */
export const why = ({ error, verdict }: Decision): string => {
  const asked = `the server asked for ${seconds(Duration.toMillis(LlmError.hint(error) ?? 0))}`
  const reasons: Record<Verdict["reason"], string> = {
    backoff: "backing off",
    hint: asked,
    circuit: "as soon as the circuit allows",
    schedule: "as the schedule says",
    exhausted: "no attempts left",
    "not-retryable": "another attempt cannot mend it",
    "give-up-on": "the policy gives up on it",
    "hint-too-long": `${asked}, too long to wait`,
    deadline: "the wait would outlive the deadline",
    budget: "too many retries already: no budget left"
  }
  return reasons[verdict.reason]
}

/** Whether a refusal of our own ended the attempt before it was sent. */
const isRefused = ({ _tag }: LlmError.LlmError): boolean => _tag === "CircuitOpen" || _tag === "BudgetExceeded"

/**
 * A decision as a log line and its annotations. `sent` is false if nothing was sent in this round.
 *
 * @since 0.1.0
 * @category getters
 */
export const describe = (
  decision: Decision,
  sent = !isRefused(decision.error)
): readonly [line: string, annotations: Record<string, unknown>] => {
  const { attempt, error, verdict } = decision
  const ended = sent ? "failed" : "was not sent"
  const failed = `attempt ${ofMax(decision)} at ${LlmError.targetOf(error)} ${ended}: ${error._tag}`
  const fields = { ...factsOf(error), attempt, reason: verdict.reason }
  if (verdict._tag === "GiveUp") return [`${failed}; giving up, ${why(decision)}`, fields]
  const line = `${failed}; retrying in ${seconds(verdict.delay)}, ${why(decision)}`
  return [line, { ...fields, delay_ms: Math.round(verdict.delay) }]
}

const log = (decision: Decision, failures: ReadonlyArray<LlmError.LlmError>): Effect.Effect<void> => {
  const [line, annotations] = describe(decision)
  const attempts = failures.map((error) => `${error._tag}: ${error.message}`)
  return Effect.annotateLogs(
    Effect.logWarning(line),
    decision.verdict._tag === "Retry" ? annotations : { ...annotations, attempts }
  )
}
