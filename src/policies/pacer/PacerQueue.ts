/**
 * The queue of one key of a pacer: who waits, who goes, and what their answers teach the lane.
 *
 * Everything that decides stands in {@link PacerState}; here it is done, synchronously, whenever something happens: one
 * comes, one leaves, one is answered, or it is time. While somebody waits there is one sleeping fiber, until the head
 * may go; nothing else waits for anything, and no place is reserved for later.
 *
 * @since 0.2.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as Deadline from "../Deadline.js"
import * as Buckets from "./Buckets.js"
import * as Cost from "./Cost.js"
import type { Settings } from "./PacerOptions.js"
import * as PacerRequest from "./PacerRequest.js"
import * as PacerState from "./PacerState.js"
import type { Limits } from "./RateLimits.js"
import * as TicketQueue from "./TicketQueue.js"

// -----------------------------------------------------------------------------
// models
// -----------------------------------------------------------------------------

/**
 * A place that was given. `observe` tells the limits that the headers of its response told, `settle` how it ended, the
 * first time only, and answers with how long the key is paused for now, in milliseconds; `now` is in epoch
 * milliseconds, `random` from 0 to 1.
 *
 * @since 0.2.0
 * @category models
 */
export interface Permit {
  readonly observe: (limits: Limits, now: number) => void
  readonly settle: (end: PacerRequest.End, now: number, random: number) => number
}

/** Somebody who came: `ticket` says when first, `until` when it is too late, in epoch milliseconds. */
interface Visitor {
  readonly ask: PacerRequest.Ask
  readonly cost: Cost.Cost
  readonly ticket: number
  readonly clock: Clock.Clock
  readonly granted: ((permit: Permit) => void) | undefined
}

interface Waiter extends Visitor, TicketQueue.Entry {
  readonly until: number
  readonly deadline: Deadline.Limit
  permit: Permit | undefined
  answer: Effect.Effect<Permit, PacerRequest.Refusal> | undefined
  resume: ((answer: Effect.Effect<Permit, PacerRequest.Refusal>) => void) | undefined
}

/** The tickets of all keys of a pacer: a new one for who comes, the old one for who was turned away and comes back. */
interface Tickets {
  readonly take: (place: object | undefined) => number
  readonly keep: (place: object | undefined, ticket: number) => void
}

/**
 * The way to the places of one key, for who asks for many.
 *
 * - `enter` is `Pacer.acquire` for who runs in that fiber: where there is a place at once, the permit is there at once.
 * - `readyAt` is from when on a small request would have a place, in epoch milliseconds.
 *
 * @since 0.2.0
 * @category models
 */
export interface Gate {
  readonly enter: (
    ask: PacerRequest.Ask,
    fiber: Fiber.RuntimeFiber<unknown, unknown>,
    granted?: (permit: Permit) => void
  ) => Effect.Effect<Permit, PacerRequest.Refusal>
  readonly readyAt: () => number
}

/**
 * @since 0.2.0
 * @category models
 */
export interface PacerQueue extends Gate {
  readonly lane: () => PacerState.PacerState
  readonly waiting: () => number
}

/**
 * The queues of a pacer. Whoever holds one may come back to it when it was forgotten.
 *
 * @since 0.2.0
 * @category models
 */
export interface Queues {
  readonly of: (key: string) => PacerQueue
  readonly peek: (key: string) => PacerQueue | undefined
}

// -----------------------------------------------------------------------------
// constructors
// -----------------------------------------------------------------------------

/** Who comes more often than this, in milliseconds, is no visitor to be forgotten. */
const keptFor = 60_000

/** What a timer of the platform can hold; after that it is looked again. */
const longestSleep = 2 ** 31 - 1

/**
 * Calls `wake` when the clock says so, in whole milliseconds as timers count, and answers with the way to call it off.
 */
const sleep = (clock: Clock.Clock, millis: number, wake: () => void): (() => void) => {
  const fiber = Effect.runFork(
    Effect.map(clock.sleep(Duration.millis(Math.min(Math.ceil(millis), longestSleep))), wake)
  )
  return () => fiber.unsafeInterruptAsFork(FiberId.none)
}

const makeTickets = (): Tickets => {
  const kept = new WeakMap<object, number>()
  let last = 0
  let isAnyKept = false
  return {
    take: (place) => {
      // A look at a weak map gives every object a hash, which most would never need.
      const ticket = place === undefined || !isAnyKept ? undefined : kept.get(place)
      if (place === undefined || ticket === undefined) return ++last
      // It is good for one return: the next request of the same call comes when it comes.
      kept.delete(place)
      return ticket
    },
    keep: (place, ticket) => {
      if (place === undefined) return
      isAnyKept = true
      kept.set(place, ticket)
    }
  }
}

/** What the queues of a pacer share. */
interface Common {
  readonly settings: Settings
  readonly tickets: Tickets
  /** The queue that counts for its key: this one, unless it was forgotten and there is another by now. */
  readonly counting: (queue: Queue, now: number) => Queue
  readonly peek: (key: string) => Queue | undefined
}

/** The smallest request. */
const smallest = Cost.make(1, 1, 1)

/** One for each key, of which there may be thousands: what it can do is not made anew for each. */
class Queue implements PacerQueue {
  private readonly waiters = TicketQueue.make<Waiter>()
  private readonly kept: PacerState.Kept
  /** What those who wait will cost together. */
  private ahead = Cost.none
  private arrivals = 0
  private alarm: { readonly at: number; readonly off: () => void } | undefined = undefined
  private lastAt = Number.NEGATIVE_INFINITY
  /** Whether it is the one that counts for its key. */
  isKnown = false

  constructor(
    readonly key: string,
    private readonly common: Common
  ) {
    // Full from the beginning of time.
    this.kept = PacerState.kept(common.settings.config, 0)
  }

  lane(): PacerState.PacerState {
    return this.kept
  }

  waiting(): number {
    return this.waiters.size()
  }

  readyAt(): number {
    // At the beginning of time: what is ready now has been so since then.
    const queue = this.isKnown ? this : this.common.peek(this.key)
    return queue?.expectedAt(smallest, 0) ?? 0
  }

  /** Whether nobody came for a while, and it is as if nobody ever had. */
  isIdle(now: number): boolean {
    return now - this.lastAt >= keptFor && this.waiting() === 0 && PacerState.isIdle(this.kept, now)
  }

  enter(
    ask: PacerRequest.Ask,
    fiber: Fiber.RuntimeFiber<unknown, unknown>,
    granted?: (permit: Permit) => void
  ): Effect.Effect<Permit, PacerRequest.Refusal> {
    const clock = Context.get(fiber.currentDefaultServices, Clock.Clock)
    const deadline = Deadline.of(fiber.currentContext)
    const now = clock.unsafeCurrentTimeMillis()
    const queue = this.isKnown ? this : this.common.counting(this, now)
    return queue.come(ask, deadline, clock, now, granted)
  }

  private expectedAt(cost: Cost.Cost, now: number): number {
    return PacerState.expectedAt(this.kept, this.ahead, cost, now)
  }

  private come(
    ask: PacerRequest.Ask,
    deadline: Deadline.Limit,
    clock: Clock.Clock,
    now: number,
    granted: ((permit: Permit) => void) | undefined
  ): Effect.Effect<Permit, PacerRequest.Refusal> {
    const { kept, waiters } = this
    const { settings, tickets } = this.common
    this.lastAt = now
    const cost = Cost.make(1, ask.inputTokens ?? 0, ask.outputTokens ?? Math.ceil(kept.output))
    const exceeded = Buckets.exceeded(kept.allowance, cost)
    if (exceeded !== undefined) return Effect.fail(PacerRequest.tooLarge(ask, exceeded))
    const visitor = { ask, cost, ticket: tickets.take(ask.place), clock, granted }
    if (waiters.size() === 0 && PacerState.admits(kept, cost, now))
      return Effect.succeed(this.permit(visitor, false, now))
    const refuse = (why: string, at: number) => {
      tickets.keep(ask.place, visitor.ticket)
      return Effect.fail(PacerRequest.turnedAway(ask, why, at - now))
    }
    const isFirst = visitor.ticket < (waiters.head()?.ticket ?? Number.POSITIVE_INFINITY)
    const at = isFirst ? PacerState.expectedAt(kept, Cost.none, cost, now) : this.expectedAt(cost, now)
    if (at >= deadline.at) return refuse("no place before the deadline", at)
    if (at - now > settings.maxWait) return refuse("no place within maxWait", at)
    if (waiters.size() >= settings.maxQueue) return refuse(`the queue is full: ${waiters.size()} wait`, at)
    return this.wait(visitor, now + settings.maxWait, deadline)
  }

  private permit({ ask, cost, granted, ticket }: Visitor, isWaited: boolean, now: number): Permit {
    const { kept } = this
    const { tickets } = this.common
    const [admission, admitted] = PacerState.admit(kept, cost, isWaited, now)
    PacerState.overwrite(kept, admitted)
    let isSettled = false
    const permit: Permit = {
      observe: (limits, now) => {
        if (isSettled) return
        PacerState.overwrite(kept, PacerState.told(kept, admission, limits, now))
        this.drain()
      },
      settle: (end, now, random) => {
        if (!isSettled) {
          isSettled = true
          PacerState.overwrite(kept, PacerState.settle(kept, admission, PacerRequest.outcomeOf(end, random), now))
          if (end.error !== undefined) tickets.keep(ask.place, ticket)
          this.drain()
        }
        return Math.max(0, kept.rate.pausedUntil - now)
      }
    }
    granted?.(permit)
    return permit
  }

  private wait(visitor: Visitor, until: number, deadline: Deadline.Limit): Effect.Effect<Permit, PacerRequest.Refusal> {
    // Nobody stands in the queue who could not leave it: it is entered where interruption comes later.
    return Effect.uninterruptibleMask((restore) => {
      const waiter: Waiter = {
        ask: visitor.ask,
        cost: visitor.cost,
        ticket: visitor.ticket,
        clock: visitor.clock,
        granted: visitor.granted,
        until,
        deadline,
        order: ++this.arrivals,
        at: -1,
        permit: undefined,
        answer: undefined,
        resume: undefined
      }
      this.waiters.add(waiter)
      this.ahead = Cost.plus(this.ahead, waiter.cost)
      this.drain()
      const answered = Effect.async<Permit, PacerRequest.Refusal>((resume) => {
        waiter.resume = resume
        if (waiter.answer !== undefined) resume(waiter.answer)
      })
      return Effect.onError(restore(answered), () => Effect.sync(() => this.leave(waiter)))
    })
  }

  private leave(waiter: Waiter): void {
    if (waiter.permit !== undefined) {
      waiter.permit.settle({ sent: false }, waiter.clock.unsafeCurrentTimeMillis(), 0)
      return
    }
    const wasHead = this.waiters.head() === waiter
    this.remove(waiter)
    if (wasHead) this.drain()
  }

  private remove(waiter: Waiter): void {
    if (!this.waiters.remove(waiter)) return
    this.ahead = this.waiters.size() === 0 ? Cost.none : Cost.plus(this.ahead, waiter.cost, -1)
  }

  private answer(waiter: Waiter, effect: Effect.Effect<Permit, PacerRequest.Refusal>): void {
    this.remove(waiter)
    waiter.answer = effect
    waiter.resume?.(effect)
  }

  private turnAway(waiter: Waiter, why: string, wait: number): void {
    this.common.tickets.keep(waiter.ask.place, waiter.ticket)
    this.answer(waiter, Effect.fail(PacerRequest.turnedAway(waiter.ask, why, wait)))
  }

  /** Everybody at the head whose time has come, either way. */
  private drain(): void {
    const { kept, waiters } = this
    for (let head = waiters.head(); head !== undefined; head = waiters.head()) {
      const now = head.clock.unsafeCurrentTimeMillis()
      const exceeded = Buckets.exceeded(kept.allowance, head.cost)
      if (exceeded !== undefined) {
        this.answer(head, Effect.fail(PacerRequest.tooLarge(head.ask, exceeded)))
        continue
      }
      const at = PacerState.readyAt(kept, head.cost, now)
      if (at <= now) {
        head.permit = this.permit(head, true, now)
        this.answer(head, Effect.succeed(head.permit))
      } else if (at >= head.deadline.at) {
        this.turnAway(head, "no place before the deadline", at - now)
      } else if (at > head.until) {
        this.turnAway(head, "no place within maxWait", at - now)
      } else {
        this.setAlarm(head.clock, at, now)
        return
      }
    }
    this.alarm?.off()
    this.alarm = undefined
  }

  private setAlarm(clock: Clock.Clock, at: number, now: number): void {
    if (this.alarm !== undefined && this.alarm.at <= at) return
    this.alarm?.off()
    this.alarm = {
      at,
      off: sleep(clock, at - now, () => {
        this.alarm = undefined
        this.drain()
      })
    }
  }
}

/**
 * @since 0.2.0
 * @category constructors
 */
export const make = (settings: Settings): Queues => {
  const known = new Map<string, Queue>()
  let sweep = known.entries()

  /** Whenever a key is new, two others are looked at: what is idle, and as good as new, is forgotten in time. */
  const forget = (now: number): void => {
    for (let looks = 0; looks < 2; looks++) {
      const next = sweep.next()
      if (next.done === true) {
        sweep = known.entries()
        return
      }
      const [key, queue] = next.value
      if (!queue.isIdle(now)) continue
      known.delete(key)
      queue.isKnown = false
    }
  }

  const common: Common = {
    settings,
    tickets: makeTickets(),
    counting: (queue, now) => {
      const other = known.get(queue.key)
      if (other !== undefined) return other
      forget(now)
      known.set(queue.key, queue)
      queue.isKnown = true
      return queue
    },
    peek: (key) => known.get(key)
  }
  return { of: (key) => known.get(key) ?? new Queue(key, common), peek: common.peek }
}
