/**
 * One model of a {@link Members.Members}, with everything that `ChatModel.balance` and `ChatModel.pooled` have in
 * common.
 *
 * Gotchas: a stream takes its place with the first pull, and chooses again only until something was delivered; then it
 * is the stream of whoever was chosen, and costs nothing here.
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
import * as LlmError from "../../errors/LlmError.js"
import * as Immediate from "../../policies/Immediate.js"
import type * as Chat from "../Chat.js"
import { type About, type ChatModel, compose, TypeId } from "../Model.js"
import type * as ChatStream from "../stream/ChatStream.js"
import * as Replay from "../stream/Replay.js"
import * as Members from "./Members.js"

// -----------------------------------------------------------------------------
// what is asked
// -----------------------------------------------------------------------------

const generateOf = (members: Members.Members) => {
  // Taken out of the models: of thousands the one that is asked is in no cache.
  const generates = members.models.map((model) => model[TypeId].generate)
  return (request: Chat.Request): Effect.Effect<Chat.Response, LlmError.LlmError> =>
    Immediate.masked(({ fiber, restore }) => {
      const selection = Members.begin(members, request, "whole", fiber)
      const ask = (): Effect.Effect<Chat.Response, LlmError.LlmError> => {
        const generate = generates[selection.index] as (typeof generates)[number]
        return Immediate.ended(restore(Members.marked(selection, generate(request))), (exit) => {
          members.balancer.end(selection.index)
          const judged = Members.judge(members, selection, exit)
          if (Exit.isSuccess(exit)) {
            return Immediate.andThen(judged, () => Immediate.andThen(selection.draw?.answered, () => exit))
          }
          const error = Cause.failureOption(exit.cause)
          return Immediate.andThen(judged, () =>
            error._tag === "None" ? exit : Effect.flatMap(Members.goOn(members, selection, error.value, restore), ask)
          )
        })
      }
      return Effect.flatMap(Members.select(members, selection, restore), ask)
    })
}

/**
 * The progress of an attempt, as whoever replays the stream may see it: the rest of an answer is kept by the one who
 * gave its beginning, and another may be asked next.
 */
const withoutRest = (context: Context.Context<Scope.Scope>): Context.Context<Scope.Scope> => {
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

/**
 * Chooses with the first pull, and again until something was delivered; then it is the stream of whoever was chosen.
 * The scope of a failed attempt is closed before the next one is opened.
 */
const sourceOf =
  (members: Members.Members) =>
  (request: Chat.Request): ChatStream.Source =>
    Effect.map(Effect.context<Scope.Scope>(), (surroundings) => {
      const outer = Context.get(surroundings, Scope.Scope)
      const context = withoutRest(surroundings)
      const under = <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, E> =>
        Effect.mapInputContext(effect, (_: Context.Context<never>) => context)
      let reading: ChatStream.Pull | undefined

      /** Opens the stream of whoever was selected; its place is released with the scope. */
      const ask = (
        selection: Members.Selection,
        scope: Scope.CloseableScope,
        restore: Members.Restore
      ): ChatStream.Pull => {
        const { index } = selection
        const release = Effect.sync(() => members.balancer.end(index))
        const opened = Members.marked(selection, (members.models[index] as ChatModel)[TypeId].open(request))
        const first = Effect.flatMap(opened, (pull) =>
          Effect.map(pull, (chunk) => {
            reading = pull
            return chunk
          })
        )
        return Effect.zipRight(
          Scope.addFinalizer(scope, release),
          Effect.matchCauseEffect(
            restore(
              Effect.mapInputContext(first, (_: Context.Context<never>) => Context.add(context, Scope.Scope, scope))
            ),
            {
              onSuccess: (chunk) =>
                Immediate.andThen(Members.judge(members, selection, Exit.void), () =>
                  Immediate.andThen(selection.draw?.answered, () => Effect.succeed(chunk))
                ),
              onFailure: (cause) => {
                const failure = Cause.flipCauseOption(cause)
                const exit = failure._tag === "Some" ? Exit.failCause(failure.value) : Exit.void
                const error = Option.flatMap(failure, Cause.failureOption)
                const after = Immediate.andThen(Members.judge(members, selection, exit), () => Scope.close(scope, exit))
                if (error._tag === "None") return Effect.zipRight(after, Effect.failCause(cause))
                return Effect.zipRight(
                  after,
                  next(selection, under(Members.goOn(members, selection, error.value, restore)), restore)
                )
              }
            }
          )
        )
      }

      const next = (
        selection: Members.Selection,
        selected: Effect.Effect<void, LlmError.LlmError>,
        restore: Members.Restore
      ): ChatStream.Pull =>
        Effect.flatMap(Effect.mapError(selected, Option.some), () =>
          Effect.flatMap(Scope.fork(outer, ExecutionStrategy.sequential), (scope) => ask(selection, scope, restore))
        )

      const begun: ChatStream.Pull = Immediate.masked(({ fiber, restore }) => {
        // What failed is over, whoever pulls again.
        reading = Effect.fail(Option.none())
        const selection = Members.begin(members, request, "firstToken", fiber, context)
        return next(selection, Members.select(members, selection, restore), restore)
      })
      return Effect.suspend(() => reading ?? begun)
    })

// -----------------------------------------------------------------------------
// constructors
// -----------------------------------------------------------------------------

const earliest = (members: Members.Members): number => {
  let first = Number.POSITIVE_INFINITY
  for (let index = 0; index < members.models.length && first > 0; index++)
    first = Math.min(first, members.readyAt(index))
  return first
}

const aboutOf = (members: Members.Members): About => {
  const { continuation, targets } = (members.models[0] as ChatModel)[TypeId]
  const others = members.models.slice(1).map((model) => model[TypeId])
  return {
    continuation: others.every((other) => other.continuation === continuation) ? continuation : undefined,
    targets: [...targets, ...others.flatMap((other) => other.targets)],
    readyAt: () => earliest(members)
  }
}

/**
 * One model of a members.
 *
 * @since 0.2.0
 * @category constructors
 */
export const make = (members: Members.Members, name: string, attributes?: Record<string, unknown>): ChatModel =>
  compose({ name, generate: generateOf(members), source: sourceOf(members), about: aboutOf(members) }, attributes)
