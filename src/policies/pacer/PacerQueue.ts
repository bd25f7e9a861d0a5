/**
 * The queues of a pacer, one for each key: they give places, and hear what became of them.
 *
 * {@link PacerState} decides. A queue asks it whenever something happens: a request comes, leaves or ends, or it is
 * time. While requests wait, one fiber sleeps until the head may go; no place is reserved for later.
 *
 * Without it waiting requests would race for each free place, and each would wake by a timer of its own.
 *
 * @since 0.2.0
 */

import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Deadline from "../Deadline.js"
import * as Sweep from "../Sweep.js"
import * as TimeLimit from "../TimeLimit.js"
import * as Times from "../Times.js"
import * as Buckets from "./Buckets.js"
import * as Cost from "./Cost.js"
import type { Settings } from "./PacerOptions.js"
import * as PacerRequest from "./PacerRequest.js"
import * as PacerState from "./PacerState.js"
import type * as RateLimits from "./RateLimits.js"
import * as TicketQueue from "./TicketQueue.js"

// -----------------------------------------------------------------------------
// models
// -----------------------------------------------------------------------------

/**
 * A place for one request. `now` is in epoch milliseconds, `random` from 0 to 1.
 *
 * - `settle` takes the ending, the first time only, and answers how long the key is paused for now, in milliseconds.
 *
 * @since 0.2.0
 * @category models
 */
export interface Permit extends RateLimits.Place {
  readonly settle: (ending: PacerRequest.Ending, now: number, random: number) => number
  /**
   * The pause after `settle`, for a queue in another process: there `settle` answers 0.
   *
   * @internal
   */
  readonly pause?: () => Effect.Effect<number>
}

type Granted = ((permit: Permit) => void) | undefined

type Answer = Effect.Effect<Permit, PacerRequest.Refusal>

/** A request that came. The lowest `ticket` goes first. */
interface Request {
  readonly options: PacerRequest.AcquireOptions
  readonly cost: Cost.Cost
  readonly ticket: number
  readonly clock: Clock.Clock
  readonly granted: Granted
  /** In epoch milliseconds. */
  readonly arrivedAt: number
}

/** A request that waits, until `until` in epoch milliseconds at most. */
interface Waiter extends Request, TicketQueue.Entry {
  readonly until: number
  readonly deadline: Deadline.Limit
  permit: Permit | undefined
  answer: Answer | undefined
  resume: ((answer: Answer) => void) | undefined
}

/** The tickets of all keys: a new request takes a new one, a request that comes back takes its old one. */
interface Tickets {
  readonly take: (place: object | undefined) => number
  readonly keep: (place: object | undefined, ticket: number) => void
}

/**
 * The queues of a pacer. `enter` is for a request that runs in that fiber: where there is a place at once, it answers
 * with an exit. `known` are the keys that were not forgotten.
 *
 * @since 0.2.0
 * @category models
 */
export interface Queues {
  readonly enter: (
    options: PacerRequest.AcquireOptions,
    fiber: Fiber.RuntimeFiber<unknown, unknown>,
    granted: Granted
  ) => Answer
  readonly known: ReadonlyMap<string, Queue>
}

// -----------------------------------------------------------------------------
// constructors
// -----------------------------------------------------------------------------

/** A queue is not forgotten in the first milliseconds after a request. */
const keptFor = 60_000

const makeTickets = (): Tickets => {
  const kept = new WeakMap<object, number>()
  let last = 0
  let isAnyKept = false
  return {
    take: (place) => {
      // A look at a weak map gives every object a hash, which most would never need.
      const ticket = place === undefined || !isAnyKept ? undefined : kept.get(place)
      if (place === undefined || ticket === undefined) return ++last
      // It is good for one return: the next request of the same call takes a new ticket.
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

const tooLong = "the provider pauses this key for too long, and no maxWait allows it"

/** The smallest request. */
const smallest = Cost.make(1, 1, 1)

/** A class, because there may be thousands: its methods are not made anew for each. */
class Queue {
  private readonly waiters = TicketQueue.make<Waiter>()
  /** The cost of all waiters together. */
  private ahead = Cost.none
  private arrivals = 0
  /** The time of the newest event. */
  private heardAt = 0
  private alarm: { readonly at: number; readonly off: () => void } | undefined = undefined
  private lastAt = 0
  private current: PacerState.PacerState

  constructor(
    private readonly settings: Settings,
    private readonly tickets: Tickets
  ) {
    // Full from the beginning of time.
    this.current = PacerState.make(settings.config, 0)
  }

  state(): PacerState.PacerState {
    return this.current
  }

  waiting(): number {
    return this.waiters.size()
  }

  /** The time from which a small request would have a place, in epoch milliseconds. */
  readyAt(): number {
    const { ahead, current, heardAt } = this
    const at = PacerState.expectedAt(current, ahead, Buckets.fitted(current.buckets, smallest), heardAt)
    return at <= heardAt ? 0 : at
  }

  /** Whether no request came for a while, and forgetting the state changes nothing. */
  isIdle(now: number): boolean {
    return now - this.lastAt >= keptFor && this.waiting() === 0 && PacerState.isIdle(this.current, now)
  }

  enter(
    options: PacerRequest.AcquireOptions,
    deadline: Deadline.Limit,
    clock: Clock.Clock,
    now: number,
    granted: Granted
  ): Answer {
    const { current, settings, tickets, waiters } = this
    this.lastAt = now
    this.heardAt = now
    const [input, output] = [PacerRequest.count(options.inputTokens), PacerRequest.count(options.outputTokens)]
    const exceeded = Buckets.exceeded(current.buckets, Cost.make(1, input ?? 0, output ?? 0))
    if (exceeded !== undefined) return Effect.fail(PacerRequest.tooLarge(options, exceeded))
    const cost = Buckets.fitted(current.buckets, Cost.make(1, input ?? 0, output ?? Math.ceil(current.output)))
    const request = { options, cost, ticket: tickets.take(options.place), clock, granted, arrivedAt: now }
    if (waiters.size() === 0 && PacerState.admits(current, cost, now))
      return Effect.succeed(this.admit(request, false, now))
    const refuse = (why: string) => {
      tickets.keep(options.place, request.ticket)
      return Effect.fail(PacerRequest.turnedAway(options, why, at - now))
    }
    const isFirst = request.ticket < (waiters.head()?.ticket ?? Number.POSITIVE_INFINITY)
    const at = PacerState.expectedAt(current, isFirst ? Cost.none : this.ahead, cost, now)
    if (at >= deadline.at) return refuse("no place before the deadline")
    if (at - now > settings.maxWait) return refuse("no place within maxWait")
    if (this.isShut(now)) return refuse(tooLong)
    if (waiters.size() >= settings.maxQueue) return refuse(`the queue is full: ${waiters.size()} wait`)
    return this.wait(request, now + settings.maxWait, deadline)
  }

  /** Whether the key is paused for longer than anybody should wait, so that another target is asked instead. */
  private isShut(now: number): boolean {
    return this.current.rate.pausedUntil - now > this.settings.maxPause
  }

  private admit({ arrivedAt, cost, granted, options, ticket }: Request, isWaited: boolean, now: number): Permit {
    const [admission, admitted] = PacerState.admit(this.current, cost, isWaited, now)
    this.current = admitted
    let isSettled = false
    const permit: Permit = {
      queuedMillis: now - arrivedAt,
      observe: (headers, now) => {
        if (isSettled) return
        this.heardAt = now
        this.current = PacerState.observe(this.current, admission, headers, now)
        this.drain()
      },
      settle: (ending, now, random) => {
        if (!isSettled) {
          isSettled = true
          this.heardAt = now
          const outcome = PacerRequest.outcomeOf(ending, random)
          this.current = PacerState.settle(this.current, admission, outcome, now)
          if (ending.error !== undefined) this.tickets.keep(options.place, ticket)
          this.drain()
        }
        return Math.max(0, this.current.rate.pausedUntil - now)
      }
    }
    granted?.(permit)
    return permit
  }

  private wait(request: Request, until: number, deadline: Deadline.Limit): Answer {
    // A waiter must be able to leave: it enters the queue inside of the region that ends with `leave`.
    return Effect.uninterruptibleMask((restore) => {
      const order = ++this.arrivals
      const rest = { order, at: -1, permit: undefined, answer: undefined, resume: undefined }
      const waiter: Waiter = { ...request, until, deadline, ...rest }
      this.waiters.add(waiter)
      this.ahead = Cost.plus(this.ahead, waiter.cost)
      this.drain()
      const answered = TimeLimit.waiting<Permit, PacerRequest.Refusal, never>(waiter, deadline, (resume) => {
        waiter.resume = resume
        if (waiter.answer !== undefined) resume(waiter.answer)
        return () => this.leave(waiter)
      })
      return Effect.onError(restore(answered), () => Effect.sync(() => this.leave(waiter)))
    })
  }

  private leave(waiter: Waiter): void {
    if (waiter.permit !== undefined) {
      waiter.permit.settle({ sent: false }, Times.now(waiter.clock), 0)
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

  private answer(waiter: Waiter, answer: Answer): void {
    this.remove(waiter)
    waiter.answer = answer
    waiter.resume?.(answer)
  }

  private turnAway(waiter: Waiter, why: string, wait: number): void {
    this.tickets.keep(waiter.options.place, waiter.ticket)
    this.answer(waiter, Effect.fail(PacerRequest.turnedAway(waiter.options, why, wait)))
  }

  /** Answers each head whose time has come, and sets the alarm for the next one. */
  private drain(): void {
    const { waiters } = this
    for (let head = waiters.head(); head !== undefined; head = waiters.head()) {
      const now = Times.now(head.clock)
      this.heardAt = now
      const at = PacerState.readyAt(this.current, head.cost, now)
      if (at <= now) {
        head.permit = this.admit(head, true, now)
        this.answer(head, Effect.succeed(head.permit))
      } else if (at >= head.deadline.at) {
        this.turnAway(head, "no place before the deadline", at - now)
      } else if (at > head.until) {
        this.turnAway(head, "no place within maxWait", at - now)
      } else if (this.isShut(now)) {
        this.turnAway(head, tooLong, at - now)
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
      off: TimeLimit.startTimer({ clock }, at - now, () => {
        this.alarm = undefined
        this.drain()
      })
    }
  }
}

/**
 * The queues of a pacer with those settings.
 *
 * @since 0.2.0
 * @category constructors
 */
export const make = (settings: Settings): Queues => {
  const known = new Map<string, Queue>()
  const tickets = makeTickets()
  const sweep = Sweep.make(known)

  const open = (key: string, now: number): Queue => {
    sweep((queue) => !queue.isIdle(now))
    const queue = new Queue(settings, tickets)
    known.set(key, queue)
    return queue
  }

  return {
    known,
    enter: (options, fiber, granted) => {
      const clock = Context.get(fiber.currentDefaultServices, Clock.Clock)
      const now = Times.now(clock)
      const queue = known.get(options.key) ?? open(options.key, now)
      return queue.enter(options, Deadline.of(fiber.currentContext), clock, now, granted)
    }
  }
}
