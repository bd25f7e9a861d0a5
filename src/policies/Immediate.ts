/**
 * The steps of a policy before and after an effect, in one uninterruptible region.
 *
 * With Effect's own operators each step runs through the runtime, which costs more than a policy with its state in
 * memory. Here a step that is done at once is a plain function call. The region itself costs six runtime steps, and
 * {@link under} adds none; `Effect.acquireUseRelease` with `Effect.provide` costs 30 (effect 3.22).
 *
 * @since 0.2.0
 */

import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as FiberInternals from "./FiberInternals.js"
import * as Times from "./Times.js"

/**
 * An uninterruptible region.
 *
 * @since 0.2.0
 * @category models
 */
export interface Region {
  /** Makes an effect interruptible again. */
  readonly restore: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  /** The fiber that runs the region. */
  readonly fiber: Fiber.RuntimeFiber<unknown, unknown>
}

/**
 * `Effect.uninterruptibleMask`, with the fiber that runs it.
 *
 * @internal
 */
export const masked = <A, E, R>(body: (region: Region) => Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  FiberInternals.uninterruptibleMask((restore) => body({ restore, fiber: FiberInternals.current() }))

/**
 * The time on the fiber's clock, in milliseconds.
 *
 * @internal
 */
export const nowOf = (fiber: Region["fiber"]): number =>
  Times.now(Context.get(fiber.currentDefaultServices, Clock.Clock))

/**
 * An effect that is already an exit, as that exit; else `undefined`. Cheaper than `Exit.isExit`.
 *
 * @internal
 */
export const exitOf = <A, E, R>(self: Effect.Effect<A, E, R>): Exit.Exit<A, E> | undefined => {
  const exit = self as Exit.Exit<A, E>
  return exit._tag === "Success" || exit._tag === "Failure" ? exit : undefined
}

/**
 * `Effect.flatMap`, without a runtime step if the effect is already an exit.
 *
 * @internal
 */
export const entered = <A, E, R, B, E2, R2>(
  self: Effect.Effect<A, E, R>,
  then: (value: A) => Effect.Effect<B, E2, R2>
): Effect.Effect<B, E | E2, R | R2> => {
  const exit = exitOf(self)
  if (exit === undefined) return Effect.flatMap(self, then)
  return exit._tag === "Success" ? then(exit.value) : Exit.failCause(exit.cause)
}

/**
 * `Effect.zipRight`, without a runtime step if the first effect is already an exit or `undefined`.
 *
 * @internal
 */
export const andThen = <B, E2, R2, E = never, R = never>(
  first: Effect.Effect<unknown, E, R> | undefined,
  then: () => Effect.Effect<B, E2, R2>
): Effect.Effect<B, E | E2, R | R2> => (first === undefined ? then() : entered(first, then))

/**
 * Continues with the exit of an effect, without a runtime step if it is already an exit.
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
 * Like `Effect.suspend(() => f(value))`, but drops `value` after running. Otherwise the engine keeps it, through an
 * interruptible effect, until the next full collection (V8 of Node 20).
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
 * Runs an effect interruptibly under another context, and continues with its exit under the previous one.
 *
 * @internal
 */
export const under = <A, E, R, B, E2, R2>(
  { fiber, restore }: Region,
  context: Context.Context<never>,
  self: Effect.Effect<A, E, R>,
  then: (exit: Exit.Exit<A, E>) => Effect.Effect<B, E2, R2>
): Effect.Effect<B, E2, R | R2> => {
  const putBack = FiberInternals.setContext(fiber, context)
  return ended(restore(self), (exit) => {
    putBack()
    return then(exit)
  })
}
