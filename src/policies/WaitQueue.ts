/**
 * Queues before our own gates: a call that a gate refuses waits in order until the gate lets it through.
 *
 * A gate is an open circuit, an empty retry budget, or a model of several members of which none takes traffic. A call
 * joins the queue if its wait can end in time, and fails at once otherwise. Only the first in the queue asks the gate,
 * so waiting costs the provider nothing and the first in is the first out.
 *
 * - The wait ends before the deadline, or `maxWait` after its start. Without a deadline and without `maxWait` it ends
 *   after 60 seconds.
 * - A call whose fallback takes traffic ({@link Elsewhere}) does not wait. If the fallback opens sooner than the gate,
 *   the call leaves the queue for it then.
 * - An interrupted call leaves the queue at once.
 *
 * The first in the queue holds the only timer. It asks again when the gate should open, when the gate says that it
 * changed (`wake`), and when the time of some waiting call is up; then it turns away all that cannot be served.
 *
 * @since 0.2.0
 */

import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Deadline from "./Deadline.js"
import * as FiberInternals from "./FiberInternals.js"
import * as Immediate from "./Immediate.js"
import * as PolicyOptions from "./Options.js"

// -----------------------------------------------------------------------------
// models
// -----------------------------------------------------------------------------

/**
 * Set around a call that has a fallback: gives the time from which another target takes the call, in epoch
 * milliseconds; 0 for now, `Infinity` for never.
 *
 * @since 0.2.0
 * @category context
 */
export class Elsewhere extends Context.Tag("steadfast/WaitQueue/Elsewhere")<Elsewhere, () => number>() {}

/**
 * A gate's answer to a call that must wait. Times are in epoch milliseconds.
 *
 * @since 0.2.0
 * @category models
 */
export class Wait<out Why> {
  constructor(
    /** The earliest time at which the gate may open: a call that cannot wait until then is turned away. */
    readonly at: number,
    /** Why the gate is shut. */
    readonly why: Why,
    /** The time to ask again, unless the gate wakes the queue before. */
    readonly look: number = at
  ) {}
}

/**
 * A gate, as one call sees it.
 *
 * @since 0.2.0
 * @category models
 */
export interface Gate<out A, in out Why, out E> {
  /**
   * Asks for a place. `soonest` is the time at which the first of the waiting calls must leave, in epoch milliseconds.
   * Runs uninterruptibly, so that a place is not lost.
   */
  readonly ask: (now: number, soonest: number) => Effect.Effect<A | Wait<Why>>
  /** Tells that a call begins to wait. */
  readonly waits: (wait: Wait<Why>) => Effect.Effect<void>
  /** The error of a call that is turned away. */
  readonly refused: (wait: Wait<Why>, now: number) => E
}

/**
 * The options of a queue, checked.
 *
 * @since 0.2.0
 * @category models
 */
export interface Settings {
  /** The longest wait, in milliseconds; `undefined` for the deadline, or 60 seconds without one. */
  readonly maxWait: number | undefined
  /** The most calls that wait. */
  readonly maxQueue: number
}

/**
 * What a queue should know of one call.
 *
 * @since 0.2.0
 * @category models
 */
export interface Terms {
  /** The context with the deadline and the fallback. Default: that of the fiber. */
  readonly context?: Context.Context<never> | undefined
  /** The start of the wait, in epoch milliseconds. Default: now. */
  readonly since?: number | undefined
  /** The longest wait without a deadline and without `maxWait`, in milliseconds. Default 60,000. */
  readonly patience?: number | undefined
  /**
   * The time that an answer takes now, in milliseconds: the wait ends as much before the deadline. Asked at the start
   * and at the head of the queue. Default: 1.
   */
  readonly takes?: (() => number) | undefined
}

/**
 * A queue before one gate.
 *
 * @since 0.2.0
 * @category models
 */
export interface WaitQueue<in out Why> {
  /**
   * Takes a place with the gate, or waits for one. The deadline and the fallback are those of the fiber's context,
   * unless {@link Terms} say otherwise.
   */
  readonly pass: <A, E>(region: Immediate.Region, gate: Gate<A, Why, E>, terms?: Terms) => Effect.Effect<A, E>
  /** The number of waiting calls. */
  readonly size: () => number
  /** Tells that the gate may have changed. */
  readonly wake: () => void
}

// -----------------------------------------------------------------------------
// limits
// -----------------------------------------------------------------------------

/**
 * The longest wait without a deadline, in milliseconds: the longest hint that `RetryPolicy.standard` waits for.
 *
 * @internal
 */
export const defaultWait = 60_000

/** A wait ends this much before the deadline, in milliseconds, so that its error tells what the call waited for. */
const margin = 1

/**
 * The end of a wait that begins now, in epoch milliseconds. It leaves time for the answer, but waits for half of the
 * call's time at least.
 *
 * @internal
 */
export const limitOf = (
  deadline: Deadline.Limit,
  maxWait: number | undefined,
  now: number,
  { patience = defaultWait, since = now, takes }: Omit<Terms, "context"> = {}
): number =>
  Math.min(
    since + (maxWait ?? (Number.isFinite(deadline.at) ? Number.POSITIVE_INFINITY : patience)),
    deadline.at - Math.max(margin, Math.min(takes?.() ?? 0, (deadline.at - since) / 2))
  )

/**
 * The context of a call that another target may take: from `at` on, or when a fallback further out takes it.
 *
 * @internal
 */
export const besides = (context: Context.Context<never>, at: () => number): Context.Context<Elsewhere> => {
  const outer = context.unsafeMap.get(Elsewhere.key) as Elsewhere["Type"] | undefined
  return FiberInternals.added(context, Elsewhere, outer === undefined ? at : () => Math.min(at(), outer()))
}

/** As many waiting calls as in the queue of a pacer. */
const defaultQueue = 10_000

/**
 * The settings without options.
 *
 * @internal
 */
export const defaults: Settings = { maxWait: undefined, maxQueue: defaultQueue }

/**
 * The options of every policy that has a queue.
 *
 * @internal
 */
export const options = {
  maxWait: PolicyOptions.optional(
    PolicyOptions.duration(),
    "The longest wait for a place; 0 refuses at once. Default: until the deadline, or 60 seconds if there is none"
  ),
  maxQueue: PolicyOptions.optional(
    PolicyOptions.number({ min: 1, whole: true }),
    "The most calls that wait for a place",
    defaultQueue
  )
}

/**
 * The options of every policy that has a queue.
 *
 * @since 0.2.0
 * @category options
 */
export interface Options {
  /**
   * The longest wait for a place: 0 or more; 0 refuses at once. Default: until the deadline, or 60 seconds if there is
   * none.
   */
  readonly maxWait?: Duration.DurationInput | undefined
  /** The most calls that wait for one place: a whole number, 1 or more. Default 10,000. */
  readonly maxQueue?: number | undefined
}

// -----------------------------------------------------------------------------
// the queue
// -----------------------------------------------------------------------------

interface Waiter<Why> {
  /** The time at which it must leave, and the same as it is known now: answers may take longer than they did. */
  limit: number
  readonly limitNow: () => number
  /** The time from which another target takes it. */
  readonly elsewhere: (() => number) | undefined
  /** Why it was turned away. */
  turned: Wait<Why> | undefined
  /** Whether it was woken since it last looked. */
  woken: boolean
  resume: (() => void) | undefined
}

/** Another target may open at any moment, so the first in the queue looks again after this time, in milliseconds. */
const pollMillis = 1000

const elsewhereOf = ({ elsewhere }: Waiter<unknown>): number => elsewhere?.() ?? Number.POSITIVE_INFINITY

/** Whether a call has to go: its time is up or will be before anything opens, or another target takes it. */
const mustGo = (waiter: Waiter<unknown>, { at }: Wait<unknown>, now: number): boolean => {
  const elsewhere = elsewhereOf(waiter)
  return elsewhere <= now || waiter.limit <= now || Math.min(at, elsewhere) > waiter.limit
}

const signal = (waiter: Waiter<unknown> | undefined): void => {
  if (waiter === undefined) return
  waiter.woken = true
  const { resume } = waiter
  waiter.resume = undefined
  resume?.()
}

const signalled = (waiter: Waiter<unknown>): Effect.Effect<void> =>
  Effect.async<void>((resume) => {
    if (waiter.woken) return resume(Effect.void)
    waiter.resume = () => resume(Effect.void)
    return Effect.sync(() => {
      waiter.resume = undefined
    })
  })

/**
 * A new queue.
 *
 * @internal
 */
export const make = <Why>({ maxQueue, maxWait }: Settings): WaitQueue<Why> => {
  const waiters = new Set<Waiter<Why>>()
  let last: Wait<Why> | undefined
  /** The limit of the newest; whether each limit so far was at least that of the one before, as is usual. */
  let newest = Number.NEGATIVE_INFINITY
  let ascending = true
  /** The waiting calls with a fallback. */
  let elsewheres = 0
  let sweptAt = Number.NEGATIVE_INFINITY

  const first = (): Waiter<Why> | undefined => waiters.values().next().value

  /** The least limit. Looked for only if the calls did not come in the order of their limits. */
  const soonestLimit = (): number => {
    if (ascending) return first()?.limit ?? Number.POSITIVE_INFINITY
    let soonest = Number.POSITIVE_INFINITY
    for (const { limit } of waiters) soonest = Math.min(soonest, limit)
    return soonest
  }

  const enter = (waiter: Waiter<Why>): void => {
    ascending = waiters.size === 0 || (ascending && waiter.limit >= newest)
    newest = waiter.limit
    if (waiter.elsewhere !== undefined) elsewheres += 1
    waiters.add(waiter)
  }

  const leave = (waiter: Waiter<Why>): void => {
    const isFirst = first() === waiter
    if (!waiters.delete(waiter)) return
    if (waiter.elsewhere !== undefined) elsewheres -= 1
    if (isFirst) signal(first())
  }

  /** Turns away all that have to go. Returns the time to look again. */
  const sweep = (wait: Wait<Why>, now: number): number => {
    last = wait
    const soonest = soonestLimit()
    const calm = soonest > now && wait.at <= soonest
    if (!calm || (elsewheres > 0 && now >= sweptAt + pollMillis)) {
      sweptAt = now
      for (const waiter of [...waiters]) {
        if (!mustGo(waiter, wait, now)) continue
        waiter.turned = wait
        leave(waiter)
        signal(waiter)
      }
    }
    return Math.min(wait.look, soonestLimit(), elsewheres > 0 ? sweptAt + pollMillis : Number.POSITIVE_INFINITY)
  }

  const wait = <A, E>(
    waiter: Waiter<Why>,
    gate: Gate<A, Why, E>,
    answer: Wait<Why>,
    { fiber, restore }: Immediate.Region
  ): Effect.Effect<A, E> => {
    const look = (): Effect.Effect<A, E> => {
      waiter.woken = false
      const now = Immediate.nowOf(fiber)
      if (waiter.turned !== undefined) return Effect.fail(gate.refused(waiter.turned, now))
      if (first() !== waiter) return Effect.flatMap(restore(signalled(waiter)), look)
      waiter.limit = Math.min(waiter.limit, waiter.limitNow())
      if (waiter.limit <= now) waiter.turned = last
      if (waiter.turned !== undefined) return look()
      return Effect.flatMap(gate.ask(now, soonestLimit()), (answer) => {
        if (!(answer instanceof Wait)) return Effect.succeed(answer)
        const now = Immediate.nowOf(fiber)
        const next = sweep(answer, now)
        if (waiter.turned !== undefined) return look()
        const woken = signalled(waiter)
        // Never without a pause: a gate that says "now" and stays shut is asked again after a millisecond.
        const sleep = Effect.sleep(Math.max(1, next - now))
        return Effect.flatMap(restore(next === Number.POSITIVE_INFINITY ? woken : Effect.raceFirst(woken, sleep)), look)
      })
    }
    return Effect.ensuring(
      Effect.flatMap(gate.waits(answer), look),
      Effect.sync(() => leave(waiter))
    )
  }

  return {
    pass: (region, gate, terms = {}) => {
      const { context = region.fiber.currentContext } = terms
      const now = Immediate.nowOf(region.fiber)
      const limitNow = () => limitOf(Deadline.of(context), maxWait, now, terms)
      const waiter: Waiter<Why> = {
        limit: limitNow(),
        limitNow,
        elsewhere: Option.getOrUndefined(Context.getOption(context, Elsewhere)),
        turned: undefined,
        woken: false,
        resume: undefined
      }
      const join = (answer: Wait<Why>) => {
        // A nearer limit than all others may change the gate's mind, so the gate is asked before it is turned away.
        const nearer = waiters.size > 0 && waiter.limit < soonestLimit()
        if (waiters.size >= maxQueue || mustGo(waiter, nearer ? new Wait(now, answer.why) : answer, now)) {
          return Effect.fail(gate.refused(answer, now))
        }
        last = answer
        enter(waiter)
        // The first in the queue holds the timer: for a nearer limit, or the first fallback, it sets it anew.
        if (nearer || (waiter.elsewhere !== undefined && elsewheres === 1)) signal(first())
        return wait(waiter, gate, answer, region)
      }
      if (waiters.size > 0 && last !== undefined) return join(last)
      return Immediate.entered(gate.ask(now, waiter.limit), (answer) =>
        answer instanceof Wait ? join(answer) : Effect.succeed(answer)
      )
    },
    size: () => waiters.size,
    wake: () => {
      if (waiters.size > 0) signal(first())
    }
  }
}
