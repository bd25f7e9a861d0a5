/**
 * A call: one request of the application, with all its attempts.
 *
 * {@link make} opens a call around an effect: one span, one record, and log lines about its end. Effects inside join
 * the open call, so nested combinators make no second record. A `ChatModel` opens a call itself if none is open.
 *
 * Every observer ({@link observe}) receives the record. The log gets a WARN for each retry and fallback, an INFO if a
 * later attempt recovered the call, and one ERROR with every attempt if the call failed. A call that succeeds at once
 * logs nothing, and builds no record unless an observer is installed.
 *
 * Gotcha: a lone model, without a policy and outside of {@link make}, logs no ERROR: `Effect.retry` or `Effect.orElse`
 * around it may still mend the failure.
 *
 * @example
 * import { Effect } from "effect"
 * import { Call, Chat, ChatModel, RetryPolicy } from "effect-steadfast"
 *
 * declare const gpt: ChatModel.ChatModel
 * const answer = gpt.generate(Chat.prompt("Hello")).pipe(Effect.retry(RetryPolicy.standard), Call.make("greeting"))
 *
 * @since 0.1.0
 */

import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Tracer from "effect/Tracer"
import { factsOf } from "../errors/ErrorFacts.js"
import { isLlmError, type LlmError, StreamInterrupted } from "../errors/LlmError.js"
import * as Deadline from "../policies/Deadline.js"
import * as FiberInternals from "../policies/FiberInternals.js"
import * as Immediate from "../policies/Immediate.js"
import * as RetryDecision from "../policies/retry/RetryDecision.js"
import * as Times from "../policies/Times.js"
import * as CallLines from "./CallLines.js"
import type { AttemptRecord, CallRecord, Labels, Outcome } from "./CallRecord.js"
import * as CallSpan from "./CallSpan.js"
import { CurrentLabels } from "./Labels.js"
import { Observers } from "./Observers.js"

export { CurrentLabels, labelBounds, withLabels } from "./Labels.js"
export { type Observer, Observers, observe } from "./Observers.js"

/**
 * An open call.
 *
 * @since 0.1.0
 * @category models
 */
export interface Call {
  /** Unique; from {@link Ids}. */
  readonly id: string
  /** The name that the application gave, or the model's operation. */
  readonly name: string
  /** What the application says of it. */
  readonly labels: Labels | undefined
  /** What was asked for: that of the model, or of the first attempt. */
  operation: string | undefined
  /** Epoch milliseconds. */
  readonly startedAt: number
  /** The number of the first attempt: above 1 if the call itself is one round of a schedule. */
  readonly firstIndex: number
  /** Grows while the call runs. */
  readonly attempts: Array<AttemptRecord>
  /** The retry decisions whose first attempt has begun. A fallback in the same round did not wait again. */
  begun: Set<object> | undefined
  /** The last policy's decision to give up; `undefined` if none gave up. */
  gaveUp: CallLines.GaveUp | undefined
}

/**
 * The open call; absent outside a call.
 *
 * @since 0.1.0
 * @category context
 */
export class CurrentCall extends Context.Tag("steadfast/CurrentCall")<CurrentCall, Call>() {}

/**
 * Makes the ids of calls. Default: random UUIDs.
 *
 * @since 0.1.0
 * @category context
 */
export class Ids extends Context.Reference<Ids>()("steadfast/Call/Ids", {
  defaultValue: () => (): string => globalThis.crypto.randomUUID()
}) {}

/** Removes the partial answer. Records hold no answers; the application's own error keeps it. */
const withoutAnswer = (error: LlmError): LlmError =>
  error._tag === "StreamInterrupted" && error.partial !== ""
    ? new StreamInterrupted({ ...error, message: error.message, cause: error.cause, partial: "" })
    : error

/**
 * The outcome of an exit, and its `LlmError` without the partial answer.
 *
 * @since 0.1.0
 * @category getters
 */
export const outcomeOf = (exit: Exit.Exit<unknown, unknown>): readonly [Outcome, LlmError | undefined] => {
  if (Exit.isSuccess(exit)) return ["success", undefined]
  const failure = Cause.failureOption(exit.cause)
  if (Option.isSome(failure)) return ["failure", isLlmError(failure.value) ? withoutAnswer(failure.value) : undefined]
  return [Cause.isInterruptedOnly(exit.cause) ? "interrupted" : "defect", undefined]
}

/**
 * Like {@link outcomeOf}, but an interruption by a deadline is a failure with that `Timeout`.
 *
 * @internal
 */
export const outcomeWithin = (
  exit: Exit.Exit<unknown, unknown>,
  context: Context.Context<never>
): readonly [Outcome, LlmError | undefined] => {
  const recorded = outcomeOf(exit)
  const expired = recorded[0] === "interrupted" ? Deadline.expired(Deadline.of(context)) : undefined
  return expired === undefined ? recorded : ["failure", expired]
}

/**
 * The current round of the surrounding retry schedule. A schedule that repeats successes does not count: its input is
 * no error.
 *
 * @internal
 */
export const roundOf = (context: Context.Context<never>): Schedule.IterationMetadata | undefined => {
  const iteration: Schedule.IterationMetadata | undefined = peek(context, Schedule.CurrentIterationMetadata)
  return iteration?.input instanceof Error ? iteration : undefined
}

/**
 * Reads an optional service from a context, without a requirement in the type.
 *
 * @internal
 */
export const peek = <I, S>(context: Context.Context<never>, tag: Context.Tag<I, S>): S | undefined =>
  context.unsafeMap.get(tag.key)

/**
 * Opens a call or an attempt, runs an effect under its context, and closes it with the exit.
 *
 * @internal
 */
export const under = <O extends Opened, A, E, R>(
  open: (fiber: Fiber.RuntimeFiber<unknown, unknown>) => O,
  body: (opened: O) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Immediate.masked((region) => {
    const opened = open(region.fiber)
    const own = Immediate.once(opened, body)
    const self = opened.first === undefined ? own : Effect.zipRight(opened.first, own)
    return Immediate.under(region, opened.context, self, (exit) => Immediate.andThen(opened.close(exit), () => exit))
  })

/**
 * An open call or attempt, around an effect or a stream.
 *
 * @since 0.1.0
 * @category models
 */
export interface Opened {
  /** The context to run under. */
  readonly context: Context.Context<never>
  /** The work to do first under it, if any. */
  readonly first?: Effect.Effect<void> | undefined
  /** Call once, with the exit. Returns the remaining work, if any. */
  readonly close: (exit: Exit.Exit<unknown, unknown>) => Effect.Effect<void> | undefined
}

/**
 * The options of a call that a model opens by itself.
 *
 * @internal
 */
export interface Implicit {
  /**
   * Whether the model is one target without a policy. Its lone failed attempt then logs nothing: the application, or
   * the schedule around it, gets the typed error.
   */
  readonly lone: boolean
  /** The name of the call's span. */
  readonly spanName: string
  /** What is asked for: `chat`. */
  readonly operation: string
}

/**
 * Whether a call is open. Effects that run in it join it.
 *
 * @internal
 */
export const isOpen = (context: Context.Context<never>): boolean => context.unsafeMap.has(CurrentCall.key)

/**
 * Opens a call under a context. The caller must close it exactly once.
 *
 * @internal
 */
export const open = (
  fiber: Fiber.RuntimeFiber<unknown, unknown>,
  outer: Context.Context<never>,
  name: string,
  implicit?: Implicit
): Opened => {
  const clock = Context.get(fiber.currentDefaultServices, Clock.Clock)
  const began = Times.now(clock)
  const call: Call = {
    id: Context.get(outer, Ids)(),
    name,
    labels: Context.get(outer, CurrentLabels),
    operation: implicit?.operation,
    startedAt: clock.unsafeCurrentTimeMillis(),
    firstIndex: implicit === undefined ? 1 : (roundOf(outer)?.recurrence ?? 0) + 1,
    attempts: [],
    begun: undefined,
    gaveUp: undefined
  }
  const span = CallSpan.open(fiber, outer, implicit?.spanName ?? name, () => ({
    "steadfast.call.id": call.id,
    "steadfast.call.name": name
  }))
  const own = FiberInternals.added(
    FiberInternals.added(outer, CurrentCall, call),
    RetryDecision.Listener,
    listener(call)
  )
  return {
    context: span === undefined ? own : FiberInternals.added(own, Tracer.ParentSpan, span),
    close: (exit) => close(call, outer, span, clock, began, exit, implicit?.lone === true)
  }
}

/**
 * Runs an effect as one call, with one span and one record. Inside an open call the effect joins that call.
 *
 * @since 0.1.0
 * @category combinators
 */
export const make =
  (name: string) =>
  <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    around(self, name)

/**
 * @internal
 */
export const around = <A, E, R>(
  self: Effect.Effect<A, E, R>,
  name: string,
  implicit?: Implicit
): Effect.Effect<A, E, R> =>
  Effect.withFiberRuntime<A, E, R>((fiber) =>
    isOpen(fiber.currentContext)
      ? self
      : under(
          (fiber) => open(fiber, fiber.currentContext, name, implicit),
          () => self
        )
  )

/** Logs each retry. Only the end of the call logs a give-up: a fallback may still follow it. */
const listener = (call: Call) => {
  let attempts = 0
  return (decision: RetryDecision.Decision): Effect.Effect<void> => {
    // An effect of the application records no attempt, but its error says whether it was sent.
    const sent = call.attempts.length > attempts || decision.error.delivery !== "not-sent"
    attempts = call.attempts.length
    const [line, annotations] = RetryDecision.describe(decision, sent)
    if (decision.verdict._tag === "GiveUp") {
      call.gaveUp = { error: decision.error, line, why: RetryDecision.why(decision) }
      return Effect.void
    }
    return Effect.annotateLogs(Effect.logWarning(line), { ...annotations, ...namesOf(call) })
  }
}

const namesOf = (call: Call | undefined): Record<string, unknown> =>
  call === undefined ? {} : { call: call.name, call_id: call.id }

/**
 * Logs a WARN with the facts of an error, and of the open call.
 *
 * @internal
 */
export const warn = (line: string, error: LlmError, more: Record<string, unknown> = {}): Effect.Effect<void> =>
  Effect.withFiberRuntime((fiber) =>
    Effect.annotateLogs(Effect.logWarning(line), {
      ...factsOf(error),
      ...more,
      ...namesOf(peek(fiber.currentContext, CurrentCall))
    })
  )

const close = (
  call: Call,
  context: Context.Context<never>,
  span: Tracer.Span | undefined,
  clock: Clock.Clock,
  began: number,
  exit: Exit.Exit<unknown, unknown>,
  lone: boolean
): Effect.Effect<void> | undefined => {
  const [outcome, error] = outcomeWithin(exit, context)
  if (span !== undefined) {
    CallSpan.endCall(span, { ...call, outcome, error }, Context.get(context, CallSpan.LegacyNames))
    span.end(clock.unsafeCurrentTimeNanos(), error === undefined ? exit : Exit.fail(error))
  }
  const logs = Exit.isSuccess(exit)
    ? call.attempts.some(failed)
    : !lone || call.attempts.length > 1 || call.gaveUp !== undefined
  const observers = Context.get(context, Observers)
  if (observers.length === 0 && !logs) return undefined
  const record: CallRecord = {
    id: call.id,
    name: call.name,
    operation: call.operation,
    labels: call.labels,
    startedAt: call.startedAt,
    durationMillis: Times.now(clock) - began,
    outcome,
    error,
    attempts: call.attempts.slice()
  }
  const logged = logs ? CallLines.tell(record, exit, call.gaveUp) : Effect.void
  return observers.reduce((all, observer) => {
    const seen = Effect.suspend(() => observer(record))
    return Effect.zipRight(
      all,
      Effect.catchAllCause(seen, (cause) => Effect.logWarning("a call observer died", cause))
    )
  }, logged)
}

/** Several attempts without a failure need no log line: an agent makes many in one call. */
const failed = (attempt: AttemptRecord): boolean => attempt.outcome === "failure" || attempt.outcome === "defect"
