/**
 * One chat model of several members. `calls/balance/Members` is its engine; this module adds the rules of streams.
 *
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
import * as Members from "../../calls/balance/Members.js"
import * as Selection from "../../calls/balance/Selection.js"
import type * as LlmError from "../../errors/LlmError.js"
import * as MemberQueue from "../../policies/balance/MemberQueue.js"
import * as FiberInternals from "../../policies/FiberInternals.js"
import * as Immediate from "../../policies/Immediate.js"
import * as Times from "../../policies/Times.js"
import type * as Chat from "../Chat.js"
import { type ChatModel, compose, type Inside, TypeId } from "../Model.js"
import type * as ChatStream from "../stream/ChatStream.js"
import * as Life from "../stream/Life.js"
import * as Replay from "../stream/Replay.js"

/**
 * Hides `resume` from the `Replay` outside: only the member that began an answer can continue it, and the next attempt
 * may go to another.
 */
const withoutResume = (context: Context.Context<Scope.Scope>): Context.Context<Scope.Scope> => {
  const above = Option.getOrUndefined(Context.getOption(context as Context.Context<never>, Replay.Progress))
  if (above === undefined) return context
  return FiberInternals.added(context, Replay.Progress, {
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
  (members: Members.Members<Chat.Request>, all: ReadonlyArray<Inside>, queues: MemberQueue.MemberQueues) =>
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
          const first = Effect.flatMap(Selection.marked(selection, (all[index] as Inside).open(request)), (pull) =>
            Effect.map(pull, (chunk) => {
              reading = pull
              return chunk
            })
          )
          const inner = Life.heard(FiberInternals.added(context, Scope.Scope, scope), () => {
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
 * Makes one model of members. `models` are the members, in their order.
 *
 * @since 0.2.0
 * @category constructors
 */
export const make = (
  members: Members.Members<Chat.Request>,
  models: ReadonlyArray<ChatModel>,
  name: string
): ChatModel => {
  const all = models.map((model) => model[TypeId])
  const queues = Members.queuesOf(members)
  // Read once, because among thousands of models the chosen one is in no CPU cache.
  const generates = all.map(({ generate }) => generate)
  const [continuation, ...others] = all.map((inside) => inside.continuation)
  return compose({
    name,
    generate: Members.asking(members, queues, generates),
    source: sourceOf(members, all, queues),
    about: {
      continuation: others.every((other) => other === continuation) ? continuation : undefined,
      ...Members.about(members, all)
    }
  })
}
