/**
 * One of several members: the engine of `balance` and `pooled`, for whatever is called.
 *
 * An attempt chooses a member, or waits for one. After an error that another member can fix, it goes on with another.
 * This module asks for whole answers; `chat/balance/Members` adds streams.
 *
 * @since 0.2.0
 */

import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type * as LlmError from "../../errors/LlmError.js"
import * as MemberQueue from "../../policies/balance/MemberQueue.js"
import * as Immediate from "../../policies/Immediate.js"
import type * as About from "../About.js"
import * as Selection from "./Selection.js"

export type { Keys, Members } from "./Selection.js"

/**
 * The queues of those that wait for a member.
 *
 * @since 0.2.0
 * @category constructors
 */
export const queuesOf = <Q>({ balancer, maxWait }: Selection.Members<Q>): MemberQueue.MemberQueues =>
  MemberQueue.make(maxWait, balancer.waiting)

/**
 * Asks one of the members for a whole answer. `asks` are the members' own functions, in the order of `members`.
 *
 * @since 0.2.0
 * @category constructors
 */
export const asking =
  <Q, A>(
    members: Selection.Members<Q>,
    queues: MemberQueue.MemberQueues,
    asks: ReadonlyArray<(request: Q) => Effect.Effect<A, LlmError.LlmError>>
  ) =>
  (request: Q): Effect.Effect<A, LlmError.LlmError> =>
    Immediate.masked((region) => {
      const selection = Selection.begin(members, queues, request, "whole", region)
      const ask = (): Effect.Effect<A, LlmError.LlmError> => {
        const own = asks[selection.index] as (typeof asks)[number]
        return Immediate.ended(region.restore(Selection.marked(selection, own(request))), (exit) => {
          members.balancer.end(selection.index)
          return Immediate.andThen(Selection.record(selection, exit), () => {
            MemberQueue.wake(members.balancer.waiting)
            const error = Exit.isFailure(exit) ? Option.getOrUndefined(Cause.failureOption(exit.cause)) : undefined
            return error === undefined ? exit : Effect.flatMap(Selection.goOn(selection, error), ask)
          })
        })
      }
      return Effect.flatMap(Selection.select(selection), ask)
    })

/**
 * The earliest of the members' times; 0 for now.
 *
 * @internal
 */
export const earliest = ({ length }: ReadonlyArray<unknown>, readyAt: (index: number) => number): number => {
  let first = Number.POSITIVE_INFINITY
  for (let index = 0; index < length && first > 0; index++) first = Math.min(first, readyAt(index))
  return first
}

/**
 * The facts about the model of these members, whose own facts are `all`.
 *
 * @since 0.2.0
 * @category getters
 */
export const about = <Q, T extends About.About["targets"][number]>(
  members: Selection.Members<Q>,
  all: ReadonlyArray<About.About<T>>
): About.About<T> => {
  const [first, ...others] = all as readonly [About.About<T>, ...ReadonlyArray<About.About<T>>]
  return {
    targets: [...first.targets, ...others.flatMap(({ targets }) => targets)],
    readyAt: () => earliest(all, members.readyAt),
    soonestAt: () => members.outlook(0, () => 0).worthAt
  }
}
