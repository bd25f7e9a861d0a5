/**
 * An attempt: one request to one target, recorded whatever its end.
 *
 * A provider runs its request inside {@link run} (or, for a stream, between {@link open} and its `close`), and notes on
 * the {@link Attempt} what it learns on the way: status, request id, limits, usage. Success, failure, defect and
 * interruption all leave a record in the open call and end the span. Where the attempt was interrupted because a
 * deadline was up, it is recorded as that `Timeout`.
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
import * as Deadline from "../policies/Deadline.js"
import { CurrentPlace } from "../policies/pacer/RateLimits.js"
import { RetryBudgets } from "../policies/retry/RetryBudget.js"
import * as RetryDecision from "../policies/retry/RetryDecision.js"
import { Prices } from "../policies/spend/Prices.js"
import * as Call from "./Call.js"
import { type AttemptRecord, targetName } from "./CallRecord.js"

/**
 * Where an attempt is sent. `key` names the API key by a short hash; `group` says who shares a `RetryBudget`, by
 * default all that go to the provider.
 *
 * @since 0.1.0
 * @category models
 */
export interface Target {
  readonly provider: string
  readonly model: string
  readonly key?: string | undefined
  readonly group?: string | undefined
}

type Note = Partial<Pick<AttemptRecord, "status" | "requestId" | "responseId" | "responseModel" | "usage" | "limits">>

/**
 * The running attempt. `note` adds what becomes known of it.
 *
 * @since 0.1.0
 * @category models
 */
export interface Attempt {
  readonly index: number
  readonly target: Target
  readonly note: (facts: Note) => void
}

/**
 * The attempt that runs, if one does.
 *
 * @since 0.1.0
 * @category context
 */
export class CurrentAttempt extends Context.Tag("steadfast/CurrentAttempt")<CurrentAttempt, Attempt>() {}

/**
 * Set around a fallback: which target failed, and with what.
 *
 * @since 0.1.0
 * @category context
 */
export class Fallback extends Context.Tag("steadfast/Attempt/Fallback")<
  Fallback,
  { readonly from: string; readonly reason: string }
>() {}

/**
 * Set around an attempt that a budget was asked for, though it is no retry: a hedge, another key, a fallback to the
 * same group.
 *
 * @since 0.2.0
 * @category context
 */
export class Extra extends Context.Tag("steadfast/Attempt/Extra")<Extra, { readonly reason: "hedge" | "again" }>() {}

/**
 * Who shares a retry budget with a target.
 *
 * @since 0.2.0
 * @category getters
 */
export const groupOf = (target: Target): string => target.group ?? target.provider

/**
 * An attempt that was opened: run under `context`, and close it with its exit.
 *
 * @since 0.1.0
 * @category models
 */
export interface Opened extends Call.Opened {
  readonly attempt: Attempt
}

type Draft = Types.Mutable<AttemptRecord>

/**
 * Opens an attempt at a target. Whoever opens it must close it.
 *
 * @internal
 */
export const open = (fiber: Fiber.RuntimeFiber<unknown, unknown>, target: Target): Opened => {
  const outer = fiber.currentContext
  const clock = Context.get(fiber.currentDefaultServices, Clock.Clock)
  const call = Call.peek(outer, Call.CurrentCall)
  const place = Call.peek(outer, CurrentPlace)
  const draft = begin(outer, call, target, clock.unsafeCurrentTimeMillis())
  if (place !== undefined && place.queuedMillis > 0) draft.queuedMillis = place.queuedMillis
  if (call !== undefined) call.attempts.push(draft)
  Deadline.asking(Deadline.of(outer), target)
  if (draft.retry === undefined && Call.peek(outer, Extra) === undefined) {
    Context.get(outer, RetryBudgets).of(groupOf(target), clock).deposit(draft.startedAt)
  }
  const attempt: Attempt = {
    index: draft.index,
    target,
    note: (facts) => {
      // What is not known takes nothing back.
      if (facts.status !== undefined) draft.status = facts.status
      if (facts.requestId !== undefined) draft.requestId = facts.requestId
      if (facts.responseId !== undefined) draft.responseId = facts.responseId
      if (facts.responseModel !== undefined) draft.responseModel = facts.responseModel
      if (facts.usage !== undefined) draft.usage = facts.usage
      if (facts.limits === undefined) return
      draft.limits = facts.limits
      place?.observe(facts.limits, clock.unsafeCurrentTimeMillis())
    }
  }
  const span = Call.openSpan(fiber, "attempt", () => spanAttributes(draft))
  const services = new Map(outer.unsafeMap)
  services.set(CurrentAttempt.key, attempt)
  if (span !== undefined) services.set(Tracer.ParentSpan.key, span)
  const debug = LogLevel.greaterThanEqual(LogLevel.Debug, fiber.getFiberRef(FiberRef.currentMinimumLogLevel))
  return {
    attempt,
    context: Context.unsafeMake(services),
    close: (exit) => {
      end(draft, outer, span, clock, exit)
      return debug
        ? Effect.logDebug(`attempt ${draft.index} at ${targetName(draft)}: ${draft.error?._tag ?? draft.outcome}`)
        : undefined
    }
  }
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
    (fiber) => open(fiber, target),
    ({ attempt }) => body(attempt)
  )

/** The number, and why there is another attempt at all: read from the schedule around it, whoever drives that. */
const begin = (
  context: Context.Context<never>,
  call: Call.Call | undefined,
  target: Target,
  startedAt: number
): Draft => {
  const iteration = Call.roundOf(context)
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
  }
  return draft
}

const spanAttributes = (draft: Draft): Record<string, unknown> => {
  const attributes: Record<string, unknown> = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": draft.provider,
    "gen_ai.system": draft.provider,
    "gen_ai.request.model": draft.model,
    "steadfast.attempt": draft.index,
    "steadfast.target": targetName(draft)
  }
  if (draft.key !== undefined) attributes["steadfast.key"] = draft.key
  if (draft.hedge === true) attributes["steadfast.hedge"] = true
  if (draft.retry !== undefined) {
    attributes["steadfast.retry.delay_ms"] = draft.retry.delayMillis
    attributes["steadfast.retry.reason"] = draft.retry.reason
  }
  if (draft.fallback !== undefined) attributes["steadfast.fallback.from"] = draft.fallback.from
  return attributes
}

/** The cost by the price list in force. A list that throws leaves it unknown: evidence fails no call. */
const costOf = ({ model, provider, startedAt, usage }: Draft, context: Context.Context<never>): number | undefined => {
  if (usage === undefined) return undefined
  try {
    return Context.get(context, Prices).price({ provider, model, usage, at: startedAt })
  } catch {
    return undefined
  }
}

const end = (
  draft: Draft,
  context: Context.Context<never>,
  span: Tracer.Span | undefined,
  clock: Clock.Clock,
  exit: Exit.Exit<unknown, unknown>
): void => {
  const [outcome, error] = Call.outcomeWithin(exit, context)
  draft.outcome = outcome
  const usd = costOf(draft, context)
  if (usd !== undefined) draft.usd = usd
  draft.durationMillis = clock.unsafeCurrentTimeMillis() - draft.startedAt
  if (error !== undefined) {
    draft.error = error
    draft.status ??= error.status
    draft.requestId ??= error.requestId
  }
  if (span !== undefined) {
    if (draft.status !== undefined) span.attribute("http.response.status_code", draft.status)
    if (draft.requestId !== undefined) span.attribute("steadfast.request_id", draft.requestId)
    if (draft.responseId !== undefined) span.attribute("gen_ai.response.id", draft.responseId)
    if (error !== undefined) span.attribute("error.type", error._tag)
    Call.usageAttributes(span, draft)
    span.end(clock.unsafeCurrentTimeNanos(), error === undefined ? exit : Exit.fail(error))
  }
}
