import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Random from "effect/Random"
import * as Attempt from "../../calls/Attempt.js"
import * as LlmError from "../../errors/LlmError.js"
import type * as Balancer from "../../policies/balance/Balancer.js"
import type * as KeyPool from "../../policies/balance/KeyPool.js"
import * as CircuitBreaker from "../../policies/circuit/CircuitBreaker.js"
import * as Deadline from "../../policies/Deadline.js"
import * as Immediate from "../../policies/Immediate.js"
import * as RetryBudget from "../../policies/retry/RetryBudget.js"
import type * as Chat from "../Chat.js"
import { type ChatModel, groupIn, mayRepeat, TypeId } from "../Model.js"

// -----------------------------------------------------------------------------
// models
// -----------------------------------------------------------------------------

/**
 * Those who can be asked, each given by its index. Times are in epoch milliseconds.
 *
 * - `maxWait`: how many milliseconds an attempt waits where nobody takes traffic.
 * - `affinity`: what requests that should go to the same member have in common.
 * - `unable`: who cannot do what a request needs.
 * - `readyAt`: from when a member takes traffic; 0 for now.
 * - `spares`: whether a request should rather go to somebody else, `again` if it comes from another member.
 * - `admit`: the right to make an attempt, where it takes one; `judge` takes it back, with what the attempt says.
 * - `goesOn`: from when whoever failed so may be asked again in the same attempt, which goes on with another;
 *   `undefined` where the error stands.
 * - `outlook`: what is to be expected where nobody takes traffic.
 * - `nameAt`: how the log calls a member.
 *
 * @since 0.2.0
 * @category models
 */
export interface Members {
  readonly models: ReadonlyArray<ChatModel>
  readonly balancer: Balancer.Balancer
  readonly maxWait: number
  readonly affinity: ((request: Chat.Request) => string | undefined) | undefined
  readonly unable: ((request: Chat.Request) => ReadonlyArray<number>) | undefined
  readonly readyAt: (index: number) => number
  readonly spares: (
    request: Chat.Request,
    index: number,
    within: Deadline.Limit,
    now: number,
    again: boolean
  ) => boolean
  readonly admit: ((index: number) => Effect.Effect<CircuitBreaker.Admission, LlmError.CircuitOpen>) | undefined
  readonly judge: (end: KeyPool.AttemptEnd) => Effect.Effect<void> | undefined
  readonly goesOn: (error: LlmError.LlmError, now: number) => number | undefined
  readonly outlook: (now: number, notBefore: (index: number) => number) => KeyPool.Outlook
  readonly nameAt: (index: number) => string
}

/**
 * One attempt on its way, until somebody answers it.
 *
 * @internal
 */
export interface Selection {
  readonly request: Chat.Request
  readonly measure: Balancer.Measure
  readonly session: string | undefined
  readonly clock: Clock.Clock
  readonly random: Random.Random
  readonly within: Deadline.Limit
  /** Who was asked last, and when. */
  index: number
  admission: CircuitBreaker.Admission | undefined
  startedAt: number
  /** Whether something was sent before. */
  again: boolean
  /** From when on those who refused or failed may be asked again. */
  notBefore: Map<number, number> | undefined
  /** Since when it waits for somebody. */
  waitsSince: number | undefined
  /** The error to fail with where nobody else can be asked. */
  error: LlmError.LlmError | undefined
  draw: RetryBudget.Draw | undefined
}

// -----------------------------------------------------------------------------
// who is asked
// -----------------------------------------------------------------------------

const without = (unable: ReadonlyArray<number> | undefined): Map<number, number> | undefined =>
  unable === undefined || unable.length === 0
    ? undefined
    : new Map(unable.map((index) => [index, Number.POSITIVE_INFINITY]))

/**
 * `context`: what it runs under, where that is not the context of the fiber.
 *
 * @internal
 */
export const begin = (
  members: Members,
  request: Chat.Request,
  measure: Balancer.Measure,
  fiber: Fiber.RuntimeFiber<unknown, unknown>,
  context: Context.Context<never> = fiber.currentContext
): Selection => ({
  request,
  measure,
  session: members.affinity?.(request),
  clock: Context.get(fiber.currentDefaultServices, Clock.Clock),
  random: Context.get(fiber.currentDefaultServices, Random.Random),
  within: Deadline.of(context),
  index: 0,
  admission: undefined,
  startedAt: 0,
  again: false,
  notBefore: without(members.unable?.(request)),
  waitsSince: undefined,
  error: undefined,
  draw: undefined
})

/** How often those who wait look again: a probe that is under way may end any moment. */
const pollMillis = 1000

/** Those who wait for the same come back spread over this time; as the least that `RetryPolicy` adds to a hint. */
const spreadMillis = 200

const leaveOut = (selection: Selection, index: number, until: number): void => {
  selection.notBefore ??= new Map()
  selection.notBefore.set(index, until)
}

/**
 * From when whoever refused may be asked again.
 *
 * @internal
 */
export const afterRefusal = (refusal: LlmError.LlmError, now: number): number =>
  now + (refusal.hint === undefined ? pollMillis : Duration.toMillis(refusal.hint))

const pick = (members: Members, selection: Selection, now: number, seed: number): number | undefined => {
  const { measure, notBefore, session } = selection
  const readyAt =
    notBefore === undefined
      ? members.readyAt
      : (index: number) => Math.max(members.readyAt(index), notBefore.get(index) ?? 0)
  const index = members.balancer.choose({ now, seed, readyAt, measure, affinity: session })
  if (index === undefined || !spares(members, selection, index, now)) return index
  const others = (index: number) => (spares(members, selection, index, now) ? Number.POSITIVE_INFINITY : readyAt(index))
  return members.balancer.choose({ now, seed, readyAt: others, measure, affinity: session }) ?? index
}

const spares = (members: Members, selection: Selection, index: number, now: number): boolean =>
  members.spares(selection.request, index, selection.within, now, selection.again)

const closed = (members: Members, outlook: KeyPool.Outlook, now: number): LlmError.CircuitOpen => {
  const target = (members.models[0] as ChatModel)[TypeId].targets[0]
  return new LlmError.CircuitOpen({
    provider: target.provider,
    model: target.model,
    message: outlook.why,
    hint: Number.isFinite(outlook.readyAt) ? Duration.millis(Math.max(0, outlook.readyAt - now)) : undefined,
    delivery: "not-sent"
  })
}

const outlookOf = (members: Members, selection: Selection, now: number): KeyPool.Outlook =>
  members.outlook(now, (index) => selection.notBefore?.get(index) ?? 0)

const inTime = (selection: Selection, at: number, now: number): boolean =>
  Deadline.allows(selection.within, now, Math.max(0, at - now))

/** Whether somebody who comes back at a time is worth waiting for. */
const mayWait = (members: Members, selection: Selection, at: number, now: number): boolean =>
  Math.max(at, now + 1) <= (selection.waitsSince ?? now) + members.maxWait && inTime(selection, at, now)

/**
 * What may be interrupted of what may not.
 *
 * @internal
 */
export type Restore = Immediate.Region["restore"]

/**
 * Takes a place with a member, or waits for one. Runs uninterruptibly, so that the place is not lost.
 *
 * @internal
 */
export const select = (
  members: Members,
  selection: Selection,
  restore: Restore
): Effect.Effect<void, LlmError.LlmError> =>
  Effect.flatMap(selection.random.next, (seed) => {
    const now = selection.clock.unsafeCurrentTimeMillis()
    const index = pick(members, selection, now, seed)
    if (index === undefined) {
      const outlook = outlookOf(members, selection, now)
      if (!mayWait(members, selection, outlook.worthAt, now)) {
        return Effect.fail(selection.error ?? closed(members, outlook, now))
      }
      selection.waitsSince ??= now
      const millis = Math.min(pollMillis, Math.max(0, outlook.worthAt - now)) + spreadMillis * seed
      return Effect.flatMap(restore(Effect.sleep(Duration.millis(millis))), () => select(members, selection, restore))
    }
    const taken = (admission: CircuitBreaker.Admission | undefined): Effect.Effect<void> => {
      selection.index = index
      selection.admission = admission
      selection.startedAt = now
      members.balancer.begin(index)
      return Effect.void
    }
    if (members.admit === undefined) return taken(undefined)
    return Effect.matchEffect(members.admit(index), {
      onSuccess: taken,
      onFailure: (refusal) => {
        leaveOut(selection, index, afterRefusal(refusal, now))
        return select(members, selection, restore)
      }
    })
  })

/** Of two errors the one that another attempt may mend, and else the newer. */
const hopeful = (before: LlmError.LlmError | undefined, error: LlmError.LlmError): LlmError.LlmError =>
  before !== undefined && LlmError.isRetryable(before) && !LlmError.isRetryable(error) ? before : error

const told = (members: Members, selection: Selection, error: LlmError.LlmError, then: string): Effect.Effect<void> =>
  Effect.annotateLogs(
    Effect.logWarning(
      `${LlmError.targetOf(error)} failed with key ${members.nameAt(selection.index)}: ${error._tag}; ${then}`
    ),
    { provider: error.provider, model: error.model, error: error._tag, reason: error.message }
  )

/**
 * Takes a place with another member after an error that this mends, or fails.
 *
 * @internal
 */
export const goOn = (
  members: Members,
  selection: Selection,
  error: LlmError.LlmError,
  restore: Restore
): Effect.Effect<void, LlmError.LlmError> =>
  Effect.suspend(() => {
    const now = selection.clock.unsafeCurrentTimeMillis()
    const until = members.goesOn(error, now)
    if (until === undefined || !mayRepeat(selection.request, error)) return Effect.fail(error)
    leaveOut(selection, selection.index, until)
    const next = select(members, selection, restore)
    // Where all refused and nothing was sent, the answer is when to come back.
    if (error._tag === "CircuitOpen") return next
    const standing = hopeful(selection.error, error)
    selection.error = standing
    if (error.delivery === "not-sent") return next
    const at = outlookOf(members, selection, now).worthAt
    if (at <= now ? !inTime(selection, at, now) : !mayWait(members, selection, at, now)) return Effect.fail(standing)
    selection.again = true
    selection.draw ??= RetryBudget.draw((error) =>
      groupIn((members.models[selection.index] as ChatModel)[TypeId], error)
    )
    return Effect.flatMap(isDead(error) ? Effect.succeed(true) : selection.draw.take(error), (drawn) =>
      drawn
        ? Effect.zipRight(told(members, selection, error, "asking another"), next)
        : Effect.zipRight(told(members, selection, error, "no budget left to ask another"), Effect.fail(standing))
    )
  })

/** A key that is found dead leaves at once: what it costs to go on is bounded by what was on its way to it. */
const isDead = (error: LlmError.LlmError): boolean => LlmError.healthOf(error) === "dead"

/**
 * What an attempt says about whom it was made with.
 *
 * @internal
 */
export const judge = (
  members: Members,
  selection: Selection,
  exit: Exit.Exit<unknown, unknown>
): Effect.Effect<void> | undefined => {
  const { admission, index, measure, startedAt, within } = selection
  const now = selection.clock.unsafeCurrentTimeMillis()
  if (exit._tag === "Success") members.balancer.measured(index, measure, now - startedAt, now)
  else if (CircuitBreaker.classify(exit, now, within)._tag !== "Ignored") members.balancer.failed(index, now)
  return admission === undefined ? undefined : members.judge({ index, admission, exit, within, startedAt, now })
}

/**
 * An attempt that follows one that was sent says so, to the budget.
 *
 * @internal
 */
export const marked = <A, E, R>(selection: Selection, effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  selection.again ? Effect.provideService(effect, Attempt.Extra, { reason: "again" }) : effect
