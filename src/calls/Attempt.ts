/**
 * An attempt: one request to one target, and its record.
 *
 * A provider runs its request inside {@link run}, or a stream between {@link open} and its `close`. It adds facts to
 * the {@link Attempt} as they arrive: status, request id, limits, usage. Success, failure, defect and interruption each
 * end the span and complete the record in the open call. An attempt that a deadline interrupted is recorded as that
 * deadline's `Timeout`.
 *
 * @since 0.1.0
 */

import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as FiberRef from "effect/FiberRef"
import * as LogLevel from "effect/LogLevel"
import * as Tracer from "effect/Tracer"
import type * as Types from "effect/Types"
import * as LlmError from "../errors/LlmError.js"
import * as Deadline from "../policies/Deadline.js"
import * as FiberInternals from "../policies/FiberInternals.js"
import { CurrentPlace } from "../policies/pacer/RateLimits.js"
import { RetryBudgets } from "../policies/retry/RetryBudget.js"
import * as RetryDecision from "../policies/retry/RetryDecision.js"
import * as Prices from "../policies/spend/Prices.js"
import * as Times from "../policies/Times.js"
import * as Waited from "../policies/Waited.js"
import * as Call from "./Call.js"
import { type AttemptRecord, targetName } from "./CallRecord.js"
import * as CallSpan from "./CallSpan.js"

/**
 * The destination of an attempt.
 *
 * @since 0.1.0
 * @category models
 */
export interface Target {
  /** The provider's name, such as `openai`. */
  readonly provider: string
  /** The model's name at the provider. */
  readonly model: string
  /** The API key's short hash (`KeyPool.nameOf`). Default: none. */
  readonly key?: string | undefined
  /** What is asked of it, as in the GenAI conventions: `chat`, `embeddings`. Default `chat`. */
  readonly operation?: string | undefined
  /** The targets of one group share a `RetryBudget`. Default: the provider. */
  readonly group?: string | undefined
}

type Note = Partial<
  Pick<
    AttemptRecord,
    | "status"
    | "requestId"
    | "responseId"
    | "responseModel"
    | "usage"
    | "limits"
    | "stream"
    | "finishReason"
    | "correction"
  >
>

/**
 * A running attempt.
 *
 * @since 0.1.0
 * @category models
 */
export interface Attempt {
  /** The number of the attempt in its call, from 1. */
  readonly index: number
  /** The destination. */
  readonly target: Target
  /** Adds facts to the record. An `undefined` fact changes nothing. */
  readonly note: (facts: Note) => void
  /** Says that content of the answer is there. Only the first time counts, for `firstTokenMillis`. */
  readonly begun: () => void
}

/**
 * The running attempt; absent outside an attempt.
 *
 * @since 0.1.0
 * @category context
 */
export class CurrentAttempt extends Context.Tag("steadfast/CurrentAttempt")<CurrentAttempt, Attempt>() {}

/**
 * Set around a fallback: the target that failed, and the reason.
 *
 * @since 0.1.0
 * @category context
 */
export class Fallback extends Context.Tag("steadfast/Attempt/Fallback")<
  Fallback,
  { readonly from: string; readonly reason: string }
>() {}

/**
 * Set around an attempt that drew on a retry budget without being a retry: a hedge, another key, or a fallback within
 * the group.
 *
 * @since 0.2.0
 * @category context
 */
export class Extra extends Context.Tag("steadfast/Attempt/Extra")<Extra, { readonly reason: "hedge" | "again" }>() {}

/**
 * The name of the retry budget that a target shares: its group, or else its provider.
 *
 * @since 0.2.0
 * @category getters
 */
export const groupOf = (target: Target): string => target.group ?? target.provider

/**
 * An open attempt. Run its work under `context`, and close it with its exit.
 *
 * @since 0.1.0
 * @category models
 */
export interface Opened extends Call.Opened {
  /** The attempt, for notes. */
  readonly attempt: Attempt
}

type Draft = Types.Mutable<AttemptRecord>

/**
 * Opens an attempt at a target, under a context. The caller must close it exactly once.
 *
 * @internal
 */
export const open = (
  fiber: Fiber.RuntimeFiber<unknown, unknown>,
  outer: Context.Context<never>,
  target: Target
): Opened => {
  const clock = Context.get(fiber.currentDefaultServices, Clock.Clock)
  const call = Call.peek(outer, Call.CurrentCall)
  const place = Call.peek(outer, CurrentPlace)
  const round = Call.roundOf(outer)
  const began = Times.now(clock)
  const draft = begin(outer, call, target, round, clock.unsafeCurrentTimeMillis())
  const queued = (place?.queuedMillis ?? 0) + Waited.take(outer)
  if (queued > 0) draft.queuedMillis = (draft.queuedMillis ?? 0) + queued
  if (call !== undefined) {
    call.attempts.push(draft)
    call.operation ??= target.operation ?? "chat"
  }
  Deadline.asking(Deadline.of(outer), target)
  if (draft.retry === undefined && Call.peek(outer, Extra) === undefined) {
    Context.get(outer, RetryBudgets).of(groupOf(target), clock).deposit(began)
  }
  const attempt: Attempt = {
    index: draft.index,
    target,
    note: (facts) => {
      // An absent fact leaves an earlier one in place. Written out: every call passes here.
      if (facts.status !== undefined) draft.status = facts.status
      if (facts.requestId !== undefined) draft.requestId = facts.requestId
      if (facts.responseId !== undefined) draft.responseId = facts.responseId
      if (facts.responseModel !== undefined) draft.responseModel = facts.responseModel
      if (facts.usage !== undefined) draft.usage = facts.usage
      if (facts.stream !== undefined) draft.stream = facts.stream
      if (facts.finishReason !== undefined) draft.finishReason = facts.finishReason
      if (facts.correction !== undefined) draft.correction = facts.correction
      if (facts.limits === undefined) return
      draft.limits = facts.limits
      place?.observe(facts.limits, Times.now(clock))
    },
    begun: () => {
      if (draft.firstTokenMillis === undefined) draft.firstTokenMillis = Times.now(clock) - began
    }
  }
  const span = CallSpan.open(fiber, outer, "attempt", () => CallSpan.attemptAttributes(draft))
  const own = FiberInternals.added(outer, CurrentAttempt, attempt)
  const debug = LogLevel.greaterThanEqual(LogLevel.Debug, fiber.getFiberRef(FiberRef.currentMinimumLogLevel))
  return {
    attempt,
    context: span === undefined ? own : FiberInternals.added(own, Tracer.ParentSpan, span),
    first: plainRetry(round),
    close: (exit) => {
      end(draft, outer, span, clock, began, exit)
      return debug
        ? Effect.logDebug(`attempt ${draft.index} at ${targetName(draft)}: ${draft.error?._tag ?? draft.outcome}`)
        : undefined
    }
  }
}

type Round = ReturnType<typeof Call.roundOf>

/** The rounds of plain schedules that were logged. */
const logged = new WeakSet<object>()

/**
 * A WARN with the first attempt of each further round of a plain schedule, such as `Schedule.recurs(3)`: it does not
 * announce its decisions, and nobody knows before that there is another round.
 */
const plainRetry = (round: Round): Effect.Effect<void> | undefined => {
  if (round === undefined || logged.has(round) || RetryDecision.findDecision(round.output) !== undefined)
    return undefined
  const error = round.input
  if (!LlmError.isLlmError(error)) return undefined
  logged.add(round)
  const failed = `attempt ${round.recurrence} at ${LlmError.targetOf(error)} failed: ${error._tag}`
  const more = { attempt: round.recurrence, reason: "schedule" }
  return Call.warn(`${failed}; retrying, as the schedule says`, error, more)
}

/**
 * Runs one request as an attempt.
 *
 * @since 0.1.0
 * @category combinators
 */
export const run = <A, E, R>(
  target: Target,
  body: (attempt: Attempt) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Call.under(
    (fiber) => open(fiber, fiber.currentContext, target),
    ({ attempt }) => body(attempt)
  )

/**
 * Starts the record: the attempt's number, and the retry or fallback that led to it. The retry is read from the
 * schedule around the attempt, so a plain `Effect.retry` is recorded too.
 */
const begin = (
  context: Context.Context<never>,
  call: Call.Call | undefined,
  target: Target,
  iteration: Round,
  startedAt: number
): Draft => {
  const index = call === undefined ? (iteration?.recurrence ?? 0) + 1 : call.firstIndex + call.attempts.length
  const draft: Draft = {
    index,
    provider: target.provider,
    model: target.model,
    startedAt,
    durationMillis: 0,
    outcome: "interrupted"
  }
  if (target.key !== undefined) draft.key = target.key
  if (Call.peek(context, Extra)?.reason === "hedge") draft.hedge = true
  const fallback = Call.peek(context, Fallback)
  const decision = RetryDecision.findDecision(iteration?.output)
  if (fallback !== undefined && fallback.from !== targetName(target)) draft.fallback = fallback
  if (decision?.verdict._tag === "Retry" && call?.begun?.has(decision) !== true) {
    if (call !== undefined) call.begun = (call.begun ?? new Set()).add(decision)
    draft.retry = { delayMillis: decision.verdict.delay, reason: decision.verdict.reason }
    if (decision.queuedMillis !== undefined) draft.queuedMillis = decision.queuedMillis
  }
  return draft
}

/** The cost by the price list in force. */
const costOf = ({ model, provider, startedAt, usage }: Draft, context: Context.Context<never>): number | undefined =>
  usage && Prices.safePrice(Context.get(context, Prices.Prices), { provider, model, usage, at: startedAt })

const end = (
  draft: Draft,
  context: Context.Context<never>,
  span: Tracer.Span | undefined,
  clock: Clock.Clock,
  began: number,
  exit: Exit.Exit<unknown, unknown>
): void => {
  const [outcome, error] = Call.outcomeWithin(exit, context)
  draft.outcome = outcome
  const usd = costOf(draft, context)
  if (usd !== undefined) draft.usd = usd
  draft.durationMillis = Times.now(clock) - began
  if (error !== undefined) {
    draft.error = error
    draft.status ??= error.status
    draft.requestId ??= error.requestId
  }
  if (span === undefined) return
  CallSpan.endAttempt(span, draft)
  span.end(clock.unsafeCurrentTimeNanos(), error === undefined ? exit : Exit.fail(error))
}
