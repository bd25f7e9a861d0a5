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
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as ExecutionStrategy from "effect/ExecutionStrategy"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Scope from "effect/Scope"
import * as Attempt from "../../calls/Attempt.js"
import * as Call from "../../calls/Call.js"
import * as LlmError from "../../errors/LlmError.js"
import type * as Balancer from "../../policies/balance/Balancer.js"
import type * as KeyPool from "../../policies/balance/KeyPool.js"
import * as CircuitBreaker from "../../policies/circuit/CircuitBreaker.js"
import * as Deadline from "../../policies/Deadline.js"
import * as Immediate from "../../policies/Immediate.js"
import * as RetryBudget from "../../policies/retry/RetryBudget.js"
import type * as Chat from "../Chat.js"
import { type ChatModel, compose, groupIn, type Inside, mayRepeat, TypeId } from "../Model.js"
import type * as ChatStream from "../stream/ChatStream.js"
import * as Replay from "../stream/Replay.js"

/**
 * The members and the rules for choosing among them. An `index` is a position in `models`; times are in epoch
 * milliseconds.
 *
 * @since 0.2.0
 * @category models
 */
export interface Members {
  /** The members, at least one. */
  readonly models: ReadonlyArray<ChatModel>
  /** Chooses among the members that take traffic. */
  readonly balancer: Balancer.Balancer
  /** The longest wait for a member, in milliseconds, while none takes traffic. */
  readonly maxWait: number
  /** The affinity key of a request: requests with the same key go to the same member. */
  readonly affinity: ((request: Chat.Request) => string | undefined) | undefined
  /** The members that lack a capability which the request needs. */
  readonly unable: ((request: Chat.Request) => ReadonlyArray<number>) | undefined
  /** The time from which a member takes traffic; 0 for now. */
  readonly readyAt: (index: number) => number
  /** When members take traffic again, none of them before its `notBefore`. */
  readonly outlook: (now: number, notBefore: (index: number) => number) => KeyPool.Outlook
  /** The pool's keys, one for each member; `undefined` if the members share no pool. */
  readonly keys: Keys | undefined
}

/**
 * The keys of a pool, by the index of their member.
 *
 * @since 0.2.0
 * @category models
 */
export interface Keys extends Pick<KeyPool.View, "admit" | "end"> {
  /** Whether another key should be preferred for this attempt, because this one is due for a risky probe. */
  readonly spares: (selection: Selection, index: number, now: number) => boolean
  /** The name of the key in log lines. */
  readonly nameAt: (index: number) => string
}

/**
 * The state of one attempt until a member has answered it.
 *
 * @internal
 */
export interface Selection {
  readonly members: Members
  readonly request: Chat.Request
  readonly measure: Balancer.Measure
  readonly session: string | undefined
  readonly clock: Clock.Clock
  readonly random: Random.Random
  readonly within: Deadline.Limit
  readonly restore: Immediate.Region["restore"]
  /** The member asked last. */
  index: number
  admission: CircuitBreaker.Admission | undefined
  startedAt: number
  /** Whether a request was sent before, to another member. */
  again: boolean
  /** For members that refused or failed: the time from which each may be asked again. */
  notBefore: Map<number, number> | undefined
  /** The time since which the attempt waits for a member. */
  waitsSince: number | undefined
  /** The error to fail with if no other member can be asked. */
  error: LlmError.LlmError | undefined
  draw: RetryBudget.Draw | undefined
}

// -----------------------------------------------------------------------------
// choosing a member
// -----------------------------------------------------------------------------

/** `context`: the context to read the deadline from. Default: that of the fiber. */
const begin = (
  members: Members,
  request: Chat.Request,
  measure: Balancer.Measure,
  { fiber, restore }: Immediate.Region,
  context: Context.Context<never> = fiber.currentContext
): Selection => {
  const unable = members.unable?.(request) ?? []
  return {
    members,
    request,
    measure,
    session: members.affinity?.(request),
    clock: Context.get(fiber.currentDefaultServices, Clock.Clock),
    random: Context.get(fiber.currentDefaultServices, Random.Random),
    within: Deadline.of(context),
    restore,
    index: 0,
    admission: undefined,
    startedAt: 0,
    again: false,
    notBefore: unable.length === 0 ? undefined : new Map(unable.map((index) => [index, Number.POSITIVE_INFINITY])),
    waitsSince: undefined,
    error: undefined,
    draw: undefined
  }
}

const insideOf = ({ index, members }: Selection): Inside => (members.models[index] as ChatModel)[TypeId]

/** A waiting attempt looks again after this time, in milliseconds, because a running probe may end at any moment. */
const pollMillis = 1000

/** Attempts that wait for the same member return spread over this time: the least that `RetryPolicy` adds to a hint. */
const spreadMillis = 200

const leaveOut = (selection: Selection, index: number, until: number): void => {
  selection.notBefore ??= new Map()
  selection.notBefore.set(index, until)
}

/** The time from which a member that refused may be asked again. */
const afterRefusal = (refusal: LlmError.LlmError, now: number): number =>
  now + (refusal.hint === undefined ? pollMillis : Duration.toMillis(refusal.hint))

const pick = (selection: Selection, now: number, seed: number): number | undefined => {
  const { measure, members, notBefore, session } = selection
  const { balancer, keys } = members
  const readyAt =
    notBefore === undefined
      ? members.readyAt
      : (index: number) => Math.max(members.readyAt(index), notBefore.get(index) ?? 0)
  const index = balancer.choose({ now, seed, readyAt, measure, affinity: session })
  if (index === undefined || keys === undefined || !keys.spares(selection, index, now)) return index
  const others = (index: number) => (keys.spares(selection, index, now) ? Number.POSITIVE_INFINITY : readyAt(index))
  return balancer.choose({ now, seed, readyAt: others, measure, affinity: session }) ?? index
}

const outlookOf = ({ members, notBefore }: Selection, now: number): KeyPool.Outlook =>
  members.outlook(now, (index) => notBefore?.get(index) ?? 0)

/** The error for an attempt that finds no member. */
const closed = ({ members }: Selection, { readyAt, why }: KeyPool.Outlook, now: number): LlmError.CircuitOpen => {
  const { model, provider } = (members.models[0] as ChatModel)[TypeId].targets[0]
  return new LlmError.CircuitOpen({
    provider,
    model,
    message: why,
    hint: Number.isFinite(readyAt) ? Duration.millis(Math.max(0, readyAt - now)) : undefined,
    delivery: "not-sent"
  })
}

/** Whether the deadline leaves time for an attempt at time `at`. */
const inTime = ({ within }: Selection, at: number, now: number): boolean =>
  Deadline.allows(within, now, Math.max(0, at - now))

/** Whether the attempt may wait for a member that takes traffic from `at` on. */
const mayWait = (selection: Selection, at: number, now: number): boolean =>
  Math.max(at, now + 1) <= (selection.waitsSince ?? now) + selection.members.maxWait && inTime(selection, at, now)

/** Takes a place with a member, or waits for one. Runs uninterruptibly, so that the place is not lost. */
const select = (selection: Selection): Effect.Effect<void, LlmError.LlmError> =>
  Effect.flatMap(selection.random.next, (seed) => {
    const { balancer, keys } = selection.members
    const now = selection.clock.unsafeCurrentTimeMillis()
    const index = pick(selection, now, seed)
    if (index === undefined) {
      const outlook = outlookOf(selection, now)
      if (!mayWait(selection, outlook.worthAt, now)) {
        return Effect.fail(selection.error ?? closed(selection, outlook, now))
      }
      selection.waitsSince ??= now
      const millis = Math.min(pollMillis, Math.max(0, outlook.worthAt - now)) + spreadMillis * seed
      return Effect.flatMap(selection.restore(Effect.sleep(Duration.millis(millis))), () => select(selection))
    }
    const take = (admission: CircuitBreaker.Admission | undefined): Effect.Effect<void> => {
      selection.index = index
      selection.admission = admission
      selection.startedAt = now
      balancer.begin(index)
      return Effect.void
    }
    if (keys === undefined) return take(undefined)
    return Effect.matchEffect(keys.admit(index), {
      onSuccess: take,
      onFailure: (refusal) => {
        leaveOut(selection, index, afterRefusal(refusal, now))
        return select(selection)
      }
    })
  })

/** When a member may be asked again after an error that another can fix; `undefined` for other errors. */
const untilAfter = ({ keys }: Members, error: LlmError.LlmError, now: number): number | undefined => {
  if (error._tag === "CircuitOpen") return afterRefusal(error, now)
  const health = LlmError.healthOf(error)
  return keys !== undefined && (health === "dead" || health === "throttled") ? Number.POSITIVE_INFINITY : undefined
}

/** Prefers a retryable error; otherwise the newer one. */
const better = (before: LlmError.LlmError | undefined, error: LlmError.LlmError): LlmError.LlmError =>
  before !== undefined && LlmError.isRetryable(before) && !LlmError.isRetryable(error) ? before : error

/** Takes a place with another member after an error that another can fix; fails after any other error. */
const goOn = (selection: Selection, error: LlmError.LlmError): Effect.Effect<void, LlmError.LlmError> =>
  Effect.suspend(() => {
    const { index, members, request } = selection
    const now = selection.clock.unsafeCurrentTimeMillis()
    const until = untilAfter(members, error, now)
    if (until === undefined || !mayRepeat(request, error)) return Effect.fail(error)
    leaveOut(selection, index, until)
    const next = select(selection)
    // If every member refuses and nothing was sent, the attempt fails with the time to return, not with this refusal.
    if (error._tag === "CircuitOpen") return next
    const failure = better(selection.error, error)
    selection.error = failure
    if (error.delivery === "not-sent") return next
    const at = outlookOf(selection, now).worthAt
    if (at <= now ? !inTime(selection, at, now) : !mayWait(selection, at, now)) return Effect.fail(failure)
    selection.again = true
    selection.draw ??= RetryBudget.draw((error) => groupIn(insideOf(selection), error))
    // A dead key draws on no budget: it leaves at once, so only the requests in flight to it are sent again.
    const drawn =
      LlmError.healthOf(error) === "dead" ? Effect.succeed(0) : selection.draw.take(error, selection.restore)
    return Effect.flatMap(drawn, (waited) => {
      const allowed = waited !== undefined
      const then = allowed ? "asking another" : "no budget left to ask another"
      const text = `${LlmError.targetOf(error)} failed with key ${members.keys?.nameAt(index)}: ${error._tag}; ${then}`
      return Effect.zipRight(Call.warn(text, error), allowed ? next : Effect.fail(failure))
    })
  })

/** Records how an attempt ended: its time or failure, the health of its key, and its draw on the budget. */
const record = (selection: Selection, exit: Exit.Exit<unknown, unknown>): Effect.Effect<void> | undefined => {
  const { admission, draw, index, measure, members, startedAt, within } = selection
  const { balancer, keys } = members
  const now = selection.clock.unsafeCurrentTimeMillis()
  if (exit._tag === "Success") balancer.measured(index, measure, now - startedAt, now)
  else if (CircuitBreaker.classify(exit, now, within)._tag !== "Ignored") balancer.failed(index, now)
  const ended = admission && keys?.end({ index, admission, exit, within, startedAt, now })
  return exit._tag === "Success" && draw !== undefined ? Immediate.andThen(ended, () => draw.answered) : ended
}

/** Marks an attempt as extra if a request was sent before it, so that it earns nothing for the retry budget. */
const marked = <A, E, R>(selection: Selection, effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  selection.again ? Effect.provideService(effect, Attempt.Extra, { reason: "again" }) : effect

// -----------------------------------------------------------------------------
// the model
// -----------------------------------------------------------------------------

const generateOf = (members: Members): ChatModel["generate"] => {
  // Read once, because among thousands of models the chosen one is in no CPU cache.
  const generates = members.models.map((model) => model[TypeId].generate)
  return (request) =>
    Immediate.masked((region) => {
      const selection = begin(members, request, "whole", region)
      const ask = (): Effect.Effect<Chat.Response, LlmError.LlmError> => {
        const generate = generates[selection.index] as (typeof generates)[number]
        return Immediate.ended(region.restore(marked(selection, generate(request))), (exit) => {
          members.balancer.end(selection.index)
          return Immediate.andThen(record(selection, exit), () => {
            const error = Exit.isFailure(exit) ? Option.getOrUndefined(Cause.failureOption(exit.cause)) : undefined
            return error === undefined ? exit : Effect.flatMap(goOn(selection, error), ask)
          })
        })
      }
      return Effect.flatMap(select(selection), ask)
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
  (members: Members) =>
  (request: Chat.Request): ChatStream.Source =>
    Effect.map(Effect.context<Scope.Scope>(), (surroundings) => {
      const outer = Context.get(surroundings, Scope.Scope)
      const context = withoutResume(surroundings)
      let reading: ChatStream.Pull | undefined
      const begun: ChatStream.Pull = Immediate.masked((region) => {
        // After a failure, every further pull is at the end.
        reading = Effect.fail(Option.none())
        const selection = begin(members, request, "firstToken", region, context)
        const askAfter = (selected: Effect.Effect<void, LlmError.LlmError>): ChatStream.Pull =>
          Effect.flatMap(Effect.mapError(selected, Option.some), () =>
            Effect.flatMap(Scope.fork(outer, ExecutionStrategy.sequential), ask)
          )
        const ask = (scope: Scope.CloseableScope): ChatStream.Pull => {
          const { index } = selection
          const first = Effect.flatMap(marked(selection, insideOf(selection).open(request)), (pull) =>
            Effect.map(pull, (chunk) => {
              reading = pull
              return chunk
            })
          )
          const inner = Context.add(context, Scope.Scope, scope)
          const release = Effect.sync(() => members.balancer.end(index))
          return Effect.zipRight(
            Scope.addFinalizer(scope, release),
            Effect.matchCauseEffect(region.restore(under(inner, first)), {
              onSuccess: (chunk) => Immediate.andThen(record(selection, Exit.void), () => Effect.succeed(chunk)),
              onFailure: (cause) => {
                const failure = Cause.flipCauseOption(cause)
                const exit = failure._tag === "Some" ? Exit.failCause(failure.value) : Exit.void
                const error = Option.getOrUndefined(Option.flatMap(failure, Cause.failureOption))
                const over = Immediate.andThen(record(selection, exit), () => Scope.close(scope, exit))
                if (error === undefined) return Effect.zipRight(over, Effect.failCause(cause))
                return Effect.zipRight(over, askAfter(under(context, goOn(selection, error))))
              }
            })
          )
        }
        return askAfter(select(selection))
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
export const make = (members: Members, name: string, attributes?: Record<string, unknown>): ChatModel => {
  const { continuation, targets } = (members.models[0] as ChatModel)[TypeId]
  const others = members.models.slice(1).map((model) => model[TypeId])
  return compose(
    {
      name,
      generate: generateOf(members),
      source: sourceOf(members),
      about: {
        continuation: others.every((other) => other.continuation === continuation) ? continuation : undefined,
        targets: [...targets, ...others.flatMap((other) => other.targets)],
        readyAt: () => earliest(members.models, members.readyAt)
      }
    },
    attributes
  )
}
