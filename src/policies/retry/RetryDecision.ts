/**
 * What a retry policy decided, and who is told.
 *
 * A {@link Verdict} is what one block of a policy says, a {@link Decision} what the whole policy decided about one
 * failure. {@link announced} wraps a schedule so that each decision, as it will really be carried out, reaches the
 * {@link Listener}: by default a WARN line for a retry and an ERROR line for giving up. Inside a `Call` the call
 * listens.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import * as ScheduleDecision from "effect/ScheduleDecision"
import * as ScheduleIntervals from "effect/ScheduleIntervals"
import * as LlmError from "../../errors/LlmError.js"
import * as Deadline from "../Deadline.js"
import * as RetryBudget from "./RetryBudget.js"

/**
 * What one block says about one failure: go on after `delay` milliseconds, or stop, and why.
 *
 * @since 0.1.0
 * @category models
 */
export type Verdict =
  | { readonly _tag: "Retry"; readonly delay: number; readonly reason: "backoff" | "hint" | "schedule" }
  | {
      readonly _tag: "GiveUp"
      readonly reason: "exhausted" | "not-retryable" | "hint-too-long" | "deadline" | "budget" | "schedule"
    }

/**
 * What the whole policy decided after attempt number `attempt` failed with `error`. `maxAttempts` is `Infinity` where
 * the policy has no such limit.
 *
 * @since 0.1.0
 * @category models
 */
export interface Decision {
  readonly attempt: number
  readonly maxAttempts: number
  readonly error: LlmError.LlmError
  readonly verdict: Verdict
}

/**
 * What a policy says of itself: {@link announced} adds the attempt and the error.
 *
 * @internal
 */
export type Opinion = Pick<Decision, "maxAttempts" | "verdict">

/**
 * Stops, and why.
 *
 * @internal
 */
export const giveUp = (reason: Extract<Verdict, { _tag: "GiveUp" }>["reason"]): Verdict => ({ _tag: "GiveUp", reason })

/**
 * Goes on after `delay` milliseconds, and why then.
 *
 * @internal
 */
export const retryIn = (delay: number, reason: Extract<Verdict, { _tag: "Retry" }>["reason"]): Verdict => ({
  _tag: "Retry",
  delay,
  reason
})

/**
 * Who hears the decisions of {@link announced}. By default they become log lines: a WARN for a retry, an ERROR with all
 * attempts for giving up. Inside a `Call` the call listens, and tells its own end.
 *
 * @since 0.1.0
 * @category context
 */
export class Listener extends Context.Reference<Listener>()("steadfast/RetryPolicy/Listener", {
  defaultValue: () => (decision: Decision, failures: ReadonlyArray<LlmError.LlmError>) => log(decision, failures)
}) {}

/** Set while an outer `announced` steps its inner schedule, which then leaves the deadline and the telling to it. */
class Announcing extends Context.Reference<Announcing>()("steadfast/RetryPolicy/Announcing", {
  defaultValue: () => false
}) {}

/** The milliseconds that a step of a schedule waits. */
const delayOf = (now: number, step: ScheduleDecision.ScheduleDecision): number =>
  ScheduleDecision.isDone(step) ? 0 : Math.max(0, ScheduleIntervals.start(step.intervals) - now)

const isOpinion = (u: unknown): u is Opinion =>
  typeof u === "object" && u !== null && "verdict" in u && "maxAttempts" in u

/**
 * The decision inside the output of a schedule: our own, or one in the tuples that `Schedule.intersect` makes.
 *
 * @internal
 */
export const findDecision = (output: unknown): Opinion | undefined => {
  if (isOpinion(output)) return output
  if (!Array.isArray(output)) return undefined
  for (const part of output) {
    const found = findDecision(part)
    if (found !== undefined) return found
  }
  return undefined
}

/** What a composed schedule really does may differ from what our part of it decided: trust the step. */
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
  return { attempt, maxAttempts: inner?.maxAttempts ?? Number.POSITIVE_INFINITY, error, verdict }
}

/** Why an attempt that a schedule wants is not made, if so. The budget is asked last, as it gives for attempts only. */
const refusal = (
  limit: Deadline.Limit,
  now: number,
  { error, verdict }: Decision,
  draw: RetryBudget.Draw
): Effect.Effect<"deadline" | "budget" | undefined> => {
  if (verdict._tag === "GiveUp") return Effect.succeed(undefined)
  if (!Deadline.allows(limit, now, verdict.delay)) return Effect.succeed("deadline")
  return Effect.map(draw.take(error), (taken) => (taken ? undefined : "budget"))
}

/**
 * Tells every decision of a schedule, as it will really be carried out, to the {@link Listener}: one WARN line a retry,
 * one ERROR line for giving up. A wait that would outlive the deadline in force is not begun, whatever the schedule
 * says, and none for which `draw` gets nothing from its budget.
 *
 * The decision is the output, and so reaches the next attempt in `Schedule.CurrentIterationMetadata`. The attempt
 * records the one that it finds there, alone or in a tuple; where `Schedule.map` and the like hid it, announce the
 * result. Of nested ones only the outermost speaks, so that `announced(announced(x))` is `announced(x)`.
 *
 * @since 0.1.0
 * @category combinators
 */
export const announced = <Out, R>(
  self: Schedule.Schedule<Out, LlmError.LlmError, R>,
  draw: RetryBudget.Draw = RetryBudget.draw()
): Schedule.Schedule<Decision, LlmError.LlmError, R> =>
  Schedule.makeWithState(
    [self.initial, []] as readonly [unknown, ReadonlyArray<LlmError.LlmError>],
    (now, error: LlmError.LlmError, [state, earlier]) =>
      Effect.gen(function* () {
        const nested = yield* Announcing
        const [next, out, step] = yield* Effect.provideService(self.step(now, error, state), Announcing, true)
        const failures = [...earlier, error]
        const wanted = carriedOut(failures.length, error, now, out, step)
        const refused = yield* refusal(nested ? Deadline.none : yield* Deadline.Deadline, now, wanted, draw)
        const decision = refused === undefined ? wanted : { ...wanted, verdict: giveUp(refused) }
        if (!nested) yield* (yield* Listener)(decision, failures)
        return [[next, failures], decision, refused === undefined ? step : ScheduleDecision.done] as const
      })
  )

/** The shortest way to say a wait: whole milliseconds below a second, tenths above. */
const seconds = (millis: number): string =>
  millis < 1000 ? `${Math.round(millis)}ms` : `${(millis / 1000).toFixed(1)}s`

const ofMax = (decision: Decision): string =>
  Number.isFinite(decision.maxAttempts) ? `${decision.attempt} of ${decision.maxAttempts}` : `${decision.attempt}`

const why = (decision: Decision): string => {
  const { error, verdict } = decision
  const asked = () => `the server asked for ${seconds(Duration.toMillis(LlmError.hint(error) ?? 0))}`
  switch (verdict.reason) {
    case "backoff":
      return "backing off"
    case "hint":
      return asked()
    case "schedule":
      return "as the schedule says"
    case "exhausted":
      return "no attempts left"
    case "not-retryable":
      return "another attempt cannot mend it"
    case "hint-too-long":
      return `${asked()}, too long to wait`
    case "deadline":
      return "the wait would outlive the deadline"
    case "budget":
      return "too many retries already: no budget left"
  }
}

/**
 * A decision in one line, and the fields that go with it.
 *
 * @since 0.1.0
 * @category getters
 */
export const describe = (decision: Decision): readonly [line: string, annotations: Record<string, unknown>] => {
  const { error, verdict } = decision
  const what = `attempt ${ofMax(decision)} at ${LlmError.targetOf(error)} failed: ${error._tag}`
  const fields = {
    provider: error.provider,
    model: error.model,
    attempt: decision.attempt,
    error: error._tag,
    reason: verdict.reason
  }
  return verdict._tag === "Retry"
    ? [
        `${what}; retrying in ${seconds(verdict.delay)}, ${why(decision)}`,
        { ...fields, delay_ms: Math.round(verdict.delay) }
      ]
    : [`${what}; giving up, ${why(decision)}`, fields]
}

const log = (decision: Decision, failures: ReadonlyArray<LlmError.LlmError>): Effect.Effect<void> => {
  const [line, annotations] = describe(decision)
  return decision.verdict._tag === "Retry"
    ? Effect.annotateLogs(Effect.logWarning(line), annotations)
    : Effect.annotateLogs(Effect.logError(line), {
        ...annotations,
        attempts: failures.map((error) => `${error._tag}: ${error.message}`)
      })
}
