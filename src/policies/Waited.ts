/**
 * The waits of a call for gates of our own, on their way to the record of its next attempt.
 *
 * @since 0.2.0
 */

import * as Context from "effect/Context"
import * as FiberInternals from "./FiberInternals.js"

/**
 * Set around what a call does after a wait for a gate: the milliseconds of the wait, until the record of an attempt
 * takes them.
 *
 * @since 0.2.0
 * @category context
 */
export class Waited extends Context.Tag("steadfast/WaitQueue/Waited")<Waited, { millis: number }>() {}

/**
 * The context after a wait, in milliseconds. A wait around it that no attempt took yet is added.
 *
 * @internal
 */
export const after = <R>(context: Context.Context<R>, millis: number): Context.Context<R | Waited> =>
  FiberInternals.added(context, Waited, { millis: millis + take(context as Context.Context<never>) })

/**
 * Takes the wait before an attempt, in milliseconds.
 *
 * @internal
 */
export const take = (context: Context.Context<never>): number => {
  const waited = context.unsafeMap.get(Waited.key) as Waited["Type"] | undefined
  if (waited === undefined) return 0
  const { millis } = waited
  waited.millis = 0
  return millis
}
