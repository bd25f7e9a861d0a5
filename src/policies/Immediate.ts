/**
 * What is over before it is run: policies whose state is in memory answer at once, and a step of the runtime costs more
 * than they do.
 *
 * @since 0.2.0
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"

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
