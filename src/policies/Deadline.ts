/**
 * A point in time by which an answer is worth having.
 *
 * The deadline in force is a value in the context ({@link Deadline}): `Resilience.deadline` and
 * `Resilience.timeout` narrow it and stand behind it with a timer, and everything that waits asks it first, so
 * that a wait which cannot end in time is never begun. A nested deadline can only be nearer.
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
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type { LlmError, TimeoutPhase } from "../errors/LlmError.js"

/**
 * `at` is in milliseconds of the `Clock`, `Infinity` for none. `phase` says which kind of limit it is. When its time is
 * up, `expired` holds the error, so that whoever is interrupted can tell why. `outer` is the limit around it. `asked`
 * is the target that was asked last under it.
 *
 * @since 0.1.0
 * @category models
 */
export interface Limit {
  readonly at: number
  readonly phase: TimeoutPhase
  readonly outer?: Limit
  expired?: LlmError
  asked?: { readonly provider: string; readonly model: string }
}

/**
 * The nearest limit in force.
 *
 * @since 0.1.0
 * @category context
 */
export class Deadline extends Context.Reference<Deadline>()("steadfast/Deadline", {
  defaultValue: (): Limit => none
}) {}

/**
 * The limit that a context is under: as `Context.get`, which looks four times where there is none.
 *
 * @internal
 */
export const of = (context: Context.Context<never>): Limit =>
  (context.unsafeMap.get(Deadline.key) as Limit | undefined) ?? none

/**
 * No limit at all.
 *
 * @since 0.1.0
 * @category constructors
 */
export const none: Limit = { at: Number.POSITIVE_INFINITY, phase: "total" }

/**
 * The limit `millis` from `now`, or `outer` where that one is nearer.
 *
 * @since 0.1.0
 * @category combinators
 */
export const narrow = (outer: Limit, now: number, millis: number, phase: TimeoutPhase): Limit =>
  now + millis < outer.at ? { at: now + millis, phase, outer } : outer

/**
 * Whether something that takes `millis` from `now` ends before the limit.
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
  Effect.map(Clock.currentTimeMillis, (now) => Math.max(0, limit.at - now))
)

/**
 * Notes on a limit, and on those around it, who is asked under it.
 *
 * @internal
 */
export const asking = (limit: Limit, target: NonNullable<Limit["asked"]>): void => {
  for (let at = limit; at.outer !== undefined; at = at.outer) at.asked = target
}

/**
 * The error of the nearest limit whose time is up.
 *
 * @since 0.1.0
 * @category getters
 */
export const expired = (limit: Limit): LlmError | undefined =>
  limit.expired ?? (limit.outer === undefined ? undefined : expired(limit.outer))
