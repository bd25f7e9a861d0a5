/**
 * What needs no step of the runtime: a step costs more than a policy whose state is in memory.
 *
 * @since 0.2.0
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type * as Option from "effect/Option"

type Restore = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

/**
 * `Effect.uninterruptibleMask`, with the fiber that runs it.
 *
 * @internal
 */
export const masked = <A, E, R>(
  body: (restore: Restore, fiber: Fiber.RuntimeFiber<unknown, unknown>) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Effect.uninterruptibleMask((restore) =>
    body(restore, (Fiber.getCurrentFiber() as Option.Some<Fiber.RuntimeFiber<unknown, unknown>>).value)
  )

/**
 * The exit of an effect that is one already.
 *
 * @internal
 */
export const exitOf = <A, E, R>(self: Effect.Effect<A, E, R>): Exit.Exit<A, E> | undefined =>
  Exit.isExit(self) ? (self as Exit.Exit<A, E>) : undefined

/**
 * One effect and then another; of what is over nothing is left to run.
 *
 * @internal
 */
export const andThen = <B, E2, R2, E = never, R = never>(
  first: Effect.Effect<unknown, E, R> | undefined,
  then: Effect.Effect<B, E2, R2>
): Effect.Effect<B, E | E2, R | R2> => {
  if (first === undefined || exitOf(first)?._tag === "Success") return then
  return Effect.zipRight(first, then)
}
