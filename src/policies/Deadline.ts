/**
 * Deadlines: the time by which an answer is needed.
 *
 * The deadline in force is a value in the context ({@link Deadline}). `Resilience.deadline` and `Resilience.timeout`
 * narrow it and back it with a timer. Every wait checks it first, so a wait that cannot end in time is never begun. A
 * nested deadline can only be nearer.
 *
 * @example
 * import { Effect } from "effect"
 * import { Deadline, Resilience } from "effect-steadfast"
 *
 * const program = Deadline.remaining.pipe(
 *   Effect.map((millis) => `${millis} ms left`),
 *   Resilience.deadline("30 seconds")
 * )
 *
 * @since 0.1.0
 */

import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type { LlmError, TimeoutPhase } from "../errors/LlmError.js"
import * as Times from "./Times.js"

/**
 * A time limit.
 *
 * @since 0.1.0
 * @category models
 */
export interface Limit {
  /**
   * The end of the time, in milliseconds of the monotonic clock (`Clock.currentTimeNanos`), which no change of the wall
   * time moves; `Infinity` for none.
   */
  readonly at: number
  /** The phase that its `Timeout` names. */
  readonly phase: TimeoutPhase
  /** The limit around it. */
  readonly outer?: Limit
  /**
   * Makes the error of the limit, with the last target asked. A limit with an error ends each wait under it when the
   * time is up; a limit without one only forbids waits to begin.
   */
  readonly error?: (asked: Limit["asked"]) => LlmError
  /** The error, set when the time is up, so that the interrupted effect can tell why. */
  expired?: LlmError
  /** The last target asked under it. */
  asked?: { readonly provider: string; readonly model: string }
}

/**
 * The nearest limit in force. Default: {@link none}.
 *
 * @since 0.1.0
 * @category context
 */
export class Deadline extends Context.Reference<Deadline>()("steadfast/Deadline", {
  defaultValue: (): Limit => none
}) {}

/**
 * The limit in force in a context. Like `Context.get`, which costs four lookups if the limit is absent.
 *
 * @internal
 */
export const of = (context: Context.Context<never>): Limit =>
  (context.unsafeMap.get(Deadline.key) as Limit | undefined) ?? none

/**
 * No limit.
 *
 * @since 0.1.0
 * @category constructors
 */
export const none: Limit = { at: Number.POSITIVE_INFINITY, phase: "total" }

/**
 * The limit `millis` from `now`, or `outer` if that is nearer. `now` is in milliseconds of the monotonic clock.
 *
 * @since 0.1.0
 * @category combinators
 */
export const narrow = (
  outer: Limit,
  now: number,
  millis: number,
  phase: TimeoutPhase,
  error?: Limit["error"]
): Limit =>
  now + millis < outer.at ? { at: now + millis, phase, outer, ...(error === undefined ? {} : { error }) } : outer

/**
 * Whether a wait of `millis` from `now` ends before the limit.
 *
 * @since 0.1.0
 * @category predicates
 */
export const allows = (limit: Limit, now: number, millis: number): boolean => now + millis < limit.at

/**
 * The milliseconds left, `Infinity` without a deadline and never below 0.
 *
 * @since 0.1.0
 * @category getters
 */
export const remaining: Effect.Effect<number> = Effect.flatMap(Deadline, (limit) =>
  Effect.map(Times.current, (now) => Math.max(0, limit.at - now))
)

/**
 * Sets the last target asked on a limit and on its outer limits.
 *
 * @internal
 */
export const asking = (limit: Limit, target: NonNullable<Limit["asked"]>): void => {
  for (let at = limit; at.outer !== undefined; at = at.outer) at.asked = target
}

/**
 * Sets the error of the limit whose time is up: the nearest of a limit and those around it.
 *
 * @internal
 */
export const expire = (limit: Limit): void => {
  const { outer } = limit
  const isOuter = limit.error === undefined || (outer?.error !== undefined && outer.at <= limit.at)
  if (!isOuter) limit.expired ??= limit.error?.(limit.asked)
  else if (outer !== undefined) expire(outer)
}

/**
 * The error of the nearest expired limit.
 *
 * @since 0.1.0
 * @category getters
 */
export const expired = (limit: Limit): LlmError | undefined =>
  limit.expired ?? (limit.outer === undefined ? undefined : expired(limit.outer))
