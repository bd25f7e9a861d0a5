/**
 * One attempt of a model of several members, until a member has answered it: the choice of a member, the wait for one,
 * and another choice after an error that another member can fix.
 *
 * Attempts that find no member wait in order ({@link MemberQueue}), in one queue for each set of members that are left
 * out for good: a request that needs a capability waits for other members than one that does not.
 *
 * @since 0.2.0
 */

import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import { factsOf } from "../../errors/ErrorFacts.js"
import * as LlmError from "../../errors/LlmError.js"
import type * as Balancer from "../../policies/balance/Balancer.js"
import type * as KeyPool from "../../policies/balance/KeyPool.js"
import * as MemberQueue from "../../policies/balance/MemberQueue.js"
import * as CircuitBreaker from "../../policies/circuit/CircuitBreaker.js"
import * as Deadline from "../../policies/Deadline.js"
import * as Immediate from "../../policies/Immediate.js"
import type * as RetryBudget from "../../policies/retry/RetryBudget.js"
import * as Times from "../../policies/Times.js"
import * as Waited from "../../policies/Waited.js"
import * as WaitQueue from "../../policies/WaitQueue.js"
import * as About from "../About.js"
import * as Attempt from "../Attempt.js"
import * as Call from "../Call.js"
import * as Resilience from "../Resilience.js"

// -----------------------------------------------------------------------------
// models
// -----------------------------------------------------------------------------

/**
 * The members and the rules for choosing among them, for requests of type `Q`. An `index` is a position in `members`;
 * times are in epoch milliseconds.
 *
 * @since 0.2.0
 * @category models
 */
export interface Members<Q> {
  /** The facts about the members, at least one. */
  readonly members: ReadonlyArray<About.About>
  /** Chooses among the members that take traffic. */
  readonly balancer: Balancer.Balancer
  /** The longest wait for a member, in milliseconds, while none takes traffic. */
  readonly maxWait: number
  /** The affinity key of a request: requests with the same key go to the same member. */
  readonly affinity: ((request: Q) => string | undefined) | undefined
  /** The members that lack a capability which the request needs. */
  readonly unable: ((request: Q) => ReadonlyArray<number>) | undefined
  /** Whether a request must not be sent again once it may have run. `undefined`: every request may. */
  readonly isOnce: ((request: Q) => boolean) | undefined
  /** The time from which a member takes traffic; 0 for now. */
  readonly readyAt: (index: number) => number
  /** When members take traffic again, none of them before its `notBefore`. */
  readonly outlook: (now: number, notBefore: (index: number) => number) => KeyPool.Outlook
  /** The pool's keys, one for each member; `undefined` if the members share no pool. */
  readonly keys: Keys<Q> | undefined
}

/**
 * The keys of a pool, by the index of their member.
 *
 * @since 0.2.0
 * @category models
 */
export interface Keys<Q> extends Pick<KeyPool.View, "admit" | "end"> {
  /** Whether another key should be preferred for this attempt, because this one is due for a risky probe. */
  readonly spares: (selection: Selection<Q>, index: number, now: number) => boolean
  /** The name of the key in log lines. */
  readonly nameAt: (index: number) => string
}

/**
 * The state of one attempt until a member has answered it.
 *
 * @since 0.2.0
 * @category models
 */
export interface Selection<Q> {
  readonly members: Members<Q>
  readonly queues: MemberQueue.MemberQueues
  readonly request: Q
  readonly measure: Balancer.Measure
  readonly session: string | undefined
  readonly clock: Clock.Clock
  readonly random: Random.Random
  readonly within: Deadline.Limit
  readonly region: Immediate.Region
  /** The context whose deadline and fallback the attempt has. */
  readonly context: Context.Context<never>
  /** The member asked last. */
  index: number
  admission: CircuitBreaker.Admission | undefined
  startedAt: number
  /** When the member first showed that its answer comes (`Life`), before any content. */
  aliveAt: number | undefined
  /** Whether a request was sent before, to another member. */
  again: boolean
  /** For members that refused or failed: the time from which each may be asked again. */
  notBefore: Map<number, number> | undefined
  /** The time since which the attempt waits for a member. */
  waitsSince: number | undefined
  /** Whether the log tells that it waits. */
  isTold: boolean
  /** The milliseconds of the waits since the last request. */
  queued: number
  /** The error to fail with if no other member can be asked. */
  error: LlmError.LlmError | undefined
  draw: RetryBudget.Draw | undefined
}

// -----------------------------------------------------------------------------
// choosing a member
// -----------------------------------------------------------------------------

/**
 * The state of an attempt that begins. `context`: the context to read the deadline and the fallback from. Default: that
 * of the fiber.
 *
 * @internal
 */
export const begin = <Q>(
  members: Members<Q>,
  queues: MemberQueue.MemberQueues,
  request: Q,
  measure: Balancer.Measure,
  region: Immediate.Region,
  context: Context.Context<never> = region.fiber.currentContext
): Selection<Q> => {
  const { fiber } = region
  const unable = members.unable?.(request) ?? []
  return {
    members,
    queues,
    request,
    measure,
    session: members.affinity?.(request),
    clock: Context.get(fiber.currentDefaultServices, Clock.Clock),
    random: Context.get(fiber.currentDefaultServices, Random.Random),
    within: Deadline.of(context),
    region,
    context,
    index: 0,
    admission: undefined,
    startedAt: 0,
    aliveAt: undefined,
    again: false,
    notBefore: unable.length === 0 ? undefined : new Map(unable.map((index) => [index, Number.POSITIVE_INFINITY])),
    waitsSince: undefined,
    isTold: false,
    queued: 0,
    error: undefined,
    draw: undefined
  }
}

const aboutOf = <Q>({ index, members }: Selection<Q>): About.About => members.members[index] as About.About

const leaveOut = <Q>(selection: Selection<Q>, index: number, until: number): void => {
  selection.notBefore ??= new Map()
  selection.notBefore.set(index, until)
}

/**
 * The time from which a member that refused may be asked again. If the member's own time tells that it is shut, that
 * time holds, and it may open before.
 */
const afterRefusal = <Q>({ readyAt }: Members<Q>, index: number, refusal: LlmError.LlmError, now: number): number => {
  const hinted = refusal.hint === undefined ? MemberQueue.pollMillis : Math.max(1, Duration.toMillis(refusal.hint))
  return now + (readyAt(index) > now ? Math.min(hinted, MemberQueue.pollMillis) : hinted)
}

const pick = <Q>(selection: Selection<Q>, now: number, seed: number): number | undefined => {
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

const outlookOf = <Q>({ members, notBefore }: Selection<Q>, now: number): KeyPool.Outlook =>
  members.outlook(now, (index) => notBefore?.get(index) ?? 0)

/** The error for an attempt that finds no member. */
const closed = <Q>({ members }: Selection<Q>, { readyAt, why }: KeyPool.Outlook, now: number): LlmError.CircuitOpen => {
  const { model, provider } = (members.members[0] as About.About).targets[0]
  return new LlmError.CircuitOpen({
    provider,
    model,
    message: why,
    hint: Number.isFinite(readyAt) ? Duration.millis(Math.max(0, readyAt - now)) : undefined,
    delivery: "not-sent"
  })
}

/** Tells what the attempt waits for. */
const tell = <Q>(selection: Selection<Q>): Effect.Effect<void> => {
  selection.isTold = true
  const now = Times.now(selection.clock)
  const refusal = closed(selection, outlookOf(selection, now), now)
  return Effect.annotateLogs(
    Effect.logInfo(`waiting for ${LlmError.targetOf(refusal)}: ${refusal.message}`),
    factsOf(refusal)
  )
}

/** Whether the attempt may wait for a member that takes traffic from `at` on. */
const mayWait = <Q>({ context, members, waitsSince, within }: Selection<Q>, at: number, now: number): boolean =>
  (Option.getOrUndefined(Context.getOption(context, WaitQueue.Elsewhere))?.() ?? Number.POSITIVE_INFINITY) > now &&
  Math.max(at, now + 1) <= WaitQueue.limitOf(within, members.maxWait, waitsSince ?? now)

/**
 * Takes a place with a member that takes traffic, or goes on with `none`. `taken` and `none` get the time and a random
 * number; `turn` may hold the attempt back. Runs uninterruptibly, so that the place is not lost.
 */
const seek = <Q, A, E>(
  selection: Selection<Q>,
  taken: (now: number, seed: number) => Effect.Effect<A, E>,
  none: (now: number, seed: number) => Effect.Effect<A, E>,
  turn?: (now: number) => A | undefined
): Effect.Effect<A, E> =>
  Effect.flatMap(selection.random.next, (seed) => {
    const { balancer, keys } = selection.members
    const now = Times.now(selection.clock)
    const index = pick(selection, now, seed)
    if (index === undefined) return none(now, seed)
    const held = turn?.(now)
    if (held !== undefined) return Effect.succeed(held)
    const take = (admission: CircuitBreaker.Admission | undefined): Effect.Effect<A, E> => {
      selection.index = index
      selection.admission = admission
      selection.startedAt = now
      selection.aliveAt = undefined
      balancer.begin(index)
      return taken(now, seed)
    }
    if (keys === undefined) return take(undefined)
    return Effect.matchEffect(keys.admit(index), {
      onSuccess: take,
      onFailure: (refusal) => {
        leaveOut(selection, index, afterRefusal(selection.members, index, refusal, now))
        return seek(selection, taken, none, turn)
      }
    })
  })

/** Whether all members that take traffic are left out by this attempt for a while: it then waits for itself alone. */
const waitsAlone = <Q>({ members: { members, readyAt }, notBefore }: Selection<Q>, now: number): boolean => {
  if (notBefore === undefined) return false
  const open = [...members.keys()].filter((index) => readyAt(index) <= now)
  const times = open.map((index) => notBefore.get(index) ?? 0).filter(Number.isFinite)
  return times.length > 0 && times.every((until) => until > now)
}

/** The time from which a wait is worth it, for all attempts in the same queue: without the times of this one alone. */
const sharedAt = <Q>({ members, notBefore }: Selection<Q>, now: number): number =>
  members.outlook(now, (index) => (notBefore?.get(index) === Number.POSITIVE_INFINITY ? Number.POSITIVE_INFINITY : 0))
    .worthAt

/** Waits for a place with a member. */
const wait = <Q>(selection: Selection<Q>): Effect.Effect<void, LlmError.LlmError> => {
  const { clock, context, members, queues, region } = selection
  const now = Times.now(clock)
  const refused = (now: number) => selection.error ?? closed(selection, outlookOf(selection, now), now)
  if (members.maxWait === 0) return Effect.fail(refused(now))
  selection.waitsSince ??= now
  const since = selection.waitsSince
  const alone = waitsAlone(selection, now)
  const passed = queues.within(selection.notBefore, alone, (line) => {
    const gate: WaitQueue.Gate<"placed" | "alone", undefined, LlmError.LlmError> = {
      ask: () => seek<Q, "placed" | "alone" | WaitQueue.Wait<undefined>, never>(selection, taken, none, turn),
      waits: () => (selection.isTold ? Effect.void : tell(selection)),
      refused: (_, now) => refused(now)
    }
    const turn = (now: number) => MemberQueue.turnOf(line, now)
    const taken = (now: number, seed: number) => {
      MemberQueue.admitted(line, now, seed)
      return Effect.succeed("placed" as const)
    }
    const none = (now: number, seed: number) => {
      MemberQueue.shut(line)
      const at = outlookOf(selection, now).worthAt
      const look = at > now ? Math.min(now + MemberQueue.pollMillis, at) : now + MemberQueue.pollMillis
      if (alone) return Effect.succeed(new WaitQueue.Wait(at, undefined, look + MemberQueue.spreadMillis * seed))
      if (waitsAlone(selection, now)) return Effect.succeed("alone" as const)
      return Effect.succeed(new WaitQueue.Wait(sharedAt(selection, now), undefined, look))
    }
    return line.queue.pass(region, gate, { context, since })
  })
  return Effect.flatMap(passed, (answer) => {
    selection.queued += Times.now(clock) - now
    return answer === "alone" ? wait(selection) : Effect.void
  })
}

/**
 * Takes a place with a member, or waits for one.
 *
 * @internal
 */
export const select = <Q>(selection: Selection<Q>): Effect.Effect<void, LlmError.LlmError> =>
  selection.queues.isWaitedIn(selection.notBefore)
    ? Effect.suspend(() => wait(selection))
    : seek<Q, void, LlmError.LlmError>(
        selection,
        () => Effect.void,
        () => wait(selection)
      )

/** When a member may be asked again after an error that another can fix; `undefined` for other errors. */
const untilAfter = <Q>({ index, members }: Selection<Q>, error: LlmError.LlmError, now: number): number | undefined => {
  if (error._tag === "CircuitOpen") return afterRefusal(members, index, error, now)
  const health = LlmError.healthOf(error)
  return members.keys !== undefined && (health === "dead" || health === "throttled")
    ? Number.POSITIVE_INFINITY
    : undefined
}

/** Prefers a retryable error; otherwise the newer one. */
const better = (before: LlmError.LlmError | undefined, error: LlmError.LlmError): LlmError.LlmError =>
  before !== undefined && LlmError.isRetryable(before) && !LlmError.isRetryable(error) ? before : error

/**
 * Takes a place with another member after an error that another can fix; fails after any other error.
 *
 * @internal
 */
export const goOn = <Q>(selection: Selection<Q>, error: LlmError.LlmError): Effect.Effect<void, LlmError.LlmError> =>
  Effect.suspend(() => {
    const { index, members, request } = selection
    const now = Times.now(selection.clock)
    const until = untilAfter(selection, error, now)
    const mayRepeat = error.delivery !== "unknown" || members.isOnce?.(request) !== true
    if (until === undefined || !mayRepeat) return Effect.fail(error)
    leaveOut(selection, index, until)
    const next = Effect.suspend(() => select(selection))
    // If every member refuses and nothing was sent, the attempt fails with the time to return, not with this refusal.
    if (error._tag === "CircuitOpen") return next
    const failure = better(selection.error, error)
    selection.error = failure
    if (error.delivery === "not-sent") return next
    const at = outlookOf(selection, now).worthAt
    if (at <= now ? !Deadline.allows(selection.within, now, 0) : !mayWait(selection, at, now)) {
      return Effect.fail(failure)
    }
    selection.again = true
    selection.draw ??= Resilience.extraDraw(selection.context, (error) => About.groupIn(aboutOf(selection), error))
    // A dead key draws on no budget: it leaves at once, so only the requests in flight to it are sent again.
    const drawn =
      LlmError.healthOf(error) === "dead" ? Effect.succeed(0) : selection.draw.take(error, 0, selection.region.restore)
    return Effect.flatMap(drawn, (waited) => {
      const allowed = waited !== undefined
      selection.queued += waited ?? 0
      const then = allowed ? "asking another" : "no budget left to ask another"
      const text = `${LlmError.targetOf(error)} failed with key ${members.keys?.nameAt(index)}: ${error._tag}; ${then}`
      return Effect.zipRight(Call.warn(text, error), allowed ? next : Effect.fail(failure))
    })
  })

/**
 * Records how an attempt ended: its time or failure, the health of its key, and its draw on the budget.
 *
 * @internal
 */
export const record = <Q>(
  selection: Selection<Q>,
  exit: Exit.Exit<unknown, unknown>
): Effect.Effect<void> | undefined => {
  const { admission, aliveAt, draw, index, measure, members, startedAt, within } = selection
  const { balancer, keys } = members
  const now = Times.now(selection.clock)
  if (exit._tag === "Success") balancer.measured(index, measure, (aliveAt ?? now) - startedAt, now)
  else if (CircuitBreaker.classify(exit, now, within)._tag !== "Ignored") balancer.failed(index, now)
  const ended = admission && keys?.end({ index, admission, exit, within, startedAt, now })
  return exit._tag === "Success" && draw !== undefined ? Immediate.andThen(ended, () => draw.answered) : ended
}

/**
 * Marks an attempt as extra if a request was sent before it, so that it earns nothing for the retry budget; and gives
 * its record the waits.
 *
 * @internal
 */
export const marked = <Q, A, E, R>(selection: Selection<Q>, effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> => {
  const { again, queued } = selection
  selection.queued = 0
  const extra = again ? Effect.provideService(effect, Attempt.Extra, { reason: "again" }) : effect
  return queued === 0
    ? extra
    : Effect.mapInputContext(extra, (context: Context.Context<R>) => Waited.after(context, queued))
}
