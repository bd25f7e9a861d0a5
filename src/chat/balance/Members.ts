/**
 * One model of several members: the engine of `ChatModel.balance` and `ChatModel.pooled`.
 *
 * An attempt chooses a member, or waits for one. After an error that another member can fix, it goes on with another.
 * A stream chooses on its first pull, and again only until its first content; then it reads from the chosen member
 * alone, at no cost here.
 *
 * @since 0.2.0
 */

import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as ExecutionStrategy from "effect/ExecutionStrategy"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import type * as LlmError from "../../errors/LlmError.js"
import * as MemberQueue from "../../policies/balance/MemberQueue.js"
import * as Immediate from "../../policies/Immediate.js"
import * as Times from "../../policies/Times.js"
import type * as Chat from "../Chat.js"
import { type ChatModel, compose, TypeId } from "../Model.js"
import type * as ChatStream from "../stream/ChatStream.js"
import * as Life from "../stream/Life.js"
import * as Replay from "../stream/Replay.js"
import * as Selection from "./Selection.js"

export type { Keys, Members } from "./Selection.js"

const generateOf = (members: Selection.Members, queues: MemberQueue.MemberQueues): ChatModel["generate"] => {
  // Read once, because among thousands of models the chosen one is in no CPU cache.
  const generates = members.models.map((model) => model[TypeId].generate)
  return (request) =>
    Immediate.masked((region) => {
      const selection = Selection.begin(members, queues, request, "whole", region)
      const ask = (): Effect.Effect<Chat.Response, LlmError.LlmError> => {
        const generate = generates[selection.index] as (typeof generates)[number]
        return Immediate.ended(region.restore(Selection.marked(selection, generate(request))), (exit) => {
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
}

/**
 * Hides `resume` from the `Replay` outside: only the member that began an answer can continue it, and the next attempt
 * may go to another.
 */
const withoutResume = (context: Context.Context<Scope.Scope>): Context.Context<Scope.Scope> => {
  const above = Option.getOrUndefined(Context.getOption(context as Context.Context<never>, Replay.Progress))
  if (above === undefined) return context
  return Context.add(context, Replay.Progress, {
    get cursor() {
      return above.cursor
    },
    set cursor({ inside, usage }) {
      above.cursor = { inside, usage }
    }
  }) as Context.Context<Scope.Scope>
}

const under = <A, E, R>(context: Context.Context<R>, effect: Effect.Effect<A, E, R>): Effect.Effect<A, E> =>
  Effect.mapInputContext(effect, (_: Context.Context<never>) => context)

/** The scope of a failed attempt is closed before the next one is opened. */
const sourceOf =
  (members: Selection.Members, queues: MemberQueue.MemberQueues) =>
  (request: Chat.Request): ChatStream.Source =>
    Effect.map(Effect.context<Scope.Scope>(), (surroundings) => {
      const outer = Context.get(surroundings, Scope.Scope)
      const context = withoutResume(surroundings)
      let reading: ChatStream.Pull | undefined
      const begun: ChatStream.Pull = Immediate.masked((region) => {
        // After a failure, every further pull is at the end.
        reading = Effect.fail(Option.none())
        const selection = Selection.begin(members, queues, request, "firstToken", region, context)
        const askAfter = (selected: Effect.Effect<void, LlmError.LlmError>): ChatStream.Pull =>
          Effect.flatMap(Effect.mapError(selected, Option.some), () =>
            Effect.flatMap(Scope.fork(outer, ExecutionStrategy.sequential), ask)
          )
        const ask = (scope: Scope.CloseableScope): ChatStream.Pull => {
          const { index } = selection
          const first = Effect.flatMap(
            Selection.marked(selection, Selection.insideOf(selection).open(request)),
            (pull) =>
              Effect.map(pull, (chunk) => {
                reading = pull
                return chunk
              })
          )
          const inner = Life.heard(Context.add(context, Scope.Scope, scope), () => {
            selection.aliveAt ??= Times.now(selection.clock)
          })
          const wake = () => MemberQueue.wake(members.balancer.waiting)
          const release = Effect.sync(() => {
            members.balancer.end(index)
            wake()
          })
          return Effect.zipRight(
            Scope.addFinalizer(scope, release),
            Effect.matchCauseEffect(region.restore(under(inner, first)), {
              onSuccess: (chunk) =>
                Immediate.andThen(Selection.record(selection, Exit.void), () => {
                  wake()
                  return Effect.succeed(chunk)
                }),
              onFailure: (cause) => {
                const failure = Cause.flipCauseOption(cause)
                const exit = failure._tag === "Some" ? Exit.failCause(failure.value) : Exit.void
                const error = Option.getOrUndefined(Option.flatMap(failure, Cause.failureOption))
                const over = Immediate.andThen(Selection.record(selection, exit), () => Scope.close(scope, exit))
                if (error === undefined) return Effect.zipRight(over, Effect.failCause(cause))
                return Effect.zipRight(over, askAfter(under(context, Selection.goOn(selection, error))))
              }
            })
          )
        }
        return askAfter(Selection.select(selection))
      })
      return Effect.suspend(() => reading ?? begun)
    })

/**
 * The earliest of the members' times; 0 for now.
 *
 * @internal
 */
export const earliest = ({ length }: ReadonlyArray<ChatModel>, readyAt: (index: number) => number): number => {
  let first = Number.POSITIVE_INFINITY
  for (let index = 0; index < length && first > 0; index++) first = Math.min(first, readyAt(index))
  return first
}

/**
 * Makes one model of members.
 *
 * @since 0.2.0
 * @category constructors
 */
export const make = (members: Selection.Members, name: string): ChatModel => {
  const { continuation, targets } = (members.models[0] as ChatModel)[TypeId]
  const queues = MemberQueue.make(members.maxWait, members.balancer.waiting)
  const others = members.models.slice(1).map((model) => model[TypeId])
  return compose({
    name,
    generate: generateOf(members, queues),
    source: sourceOf(members, queues),
    about: {
      continuation: others.every((other) => other.continuation === continuation) ? continuation : undefined,
      targets: [...targets, ...others.flatMap((other) => other.targets)],
      readyAt: () => earliest(members.models, members.readyAt),
      soonestAt: () => members.outlook(0, () => 0).worthAt
    }
  })
}
