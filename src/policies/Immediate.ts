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
 * Where something runs uninterruptibly: in which fiber, and `restore` for the parts that may be interrupted.
 *
 * @internal
 */
export interface Region {
  readonly restore: Restore
  readonly fiber: Fiber.RuntimeFiber<unknown, unknown>
}

/**
 * What follows an effect that ended so.
 *
 * @internal
 */
export type End<A, E> = (exit: Exit.Exit<A, E>) => Effect.Effect<A, E>

/**
 * `Effect.uninterruptibleMask`, with the fiber that runs it.
 *
 * @internal
 */
export const masked = <A, E, R>(body: (region: Region) => Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.uninterruptibleMask((restore) =>
    body({ restore, fiber: (Fiber.getCurrentFiber() as Option.Some<Region["fiber"]>).value })
  )

/**
 * The exit of an effect that is one already: as `Exit.isExit` tells, which also asks whether it is an effect at all.
 *
 * @internal
 */
export const exitOf = <A, E, R>(self: Effect.Effect<A, E, R>): Exit.Exit<A, E> | undefined => {
  const exit = self as Exit.Exit<A, E>
  return exit._tag === "Success" || exit._tag === "Failure" ? exit : undefined
}

/**
 * Goes on with what a function answers; where it throws, `end` follows with that.
 *
 * @internal
 */
export const tried = <A, B>(f: () => A, then: (value: A) => B, end: (exit: Exit.Exit<never>) => B): B => {
  let value: A
  try {
    value = f()
  } catch (defect) {
    return end(Exit.die(defect))
  }
  return then(value)
}

/**
 * What is made of a value when it is run, once. It forgets the value then: the engine allocates what Effect makes an
 * effect interruptible with among what is old, so that whatever it holds would live until the next full collection
 * (Node 20).
 *
 * @internal
 */
export const once = <A, B, E, R>(value: A, f: (value: A) => Effect.Effect<B, E, R>): Effect.Effect<B, E, R> => {
  let held: { readonly value: A; readonly f: typeof f } | undefined = { value, f }
  return Effect.suspend(() => {
    const { f, value } = held as NonNullable<typeof held>
    held = undefined
    return f(value)
  })
}

/**
 * One effect and then another; of what is over nothing is left to run.
 *
 * @internal
 */
export const andThen = <B, E2, R2, E = never, R = never>(
  first: Effect.Effect<unknown, E, R> | undefined,
  then: () => Effect.Effect<B, E2, R2>
): Effect.Effect<B, E | E2, R | R2> => {
  if (first === undefined || exitOf(first)?._tag === "Success") return then()
  return Effect.flatMap(first, then)
}

/**
 * What follows the end of an effect, whatever that is.
 *
 * @internal
 */
export const ended = <A, E, R, B, E2, R2>(
  self: Effect.Effect<A, E, R>,
  then: (exit: Exit.Exit<A, E>) => Effect.Effect<B, E2, R2>
): Effect.Effect<B, E2, R | R2> => {
  const exit = exitOf(self)
  if (exit !== undefined) return then(exit)
  return Effect.matchCauseEffect(self, {
    onFailure: (cause) => then(Exit.failCause(cause)),
    onSuccess: (value) => then(Exit.succeed(value))
  })
}

/**
 * Goes on with what an effect succeeds with; else `end` follows with its exit.
 *
 * @internal
 */
export const entered = <A, E, R, B, E2, R2>(
  self: Effect.Effect<A, E, R>,
  then: (value: A) => Effect.Effect<B, E2, R2>,
  end: (exit: Exit.Exit<never, E>) => Effect.Effect<B, E2, R2>
): Effect.Effect<B, E2, R | R2> =>
  ended(self, (exit) => (exit._tag === "Success" ? then(exit.value) : end(Exit.failCause(exit.cause))))
