/**
 * The queues before the members of one model: an attempt waits in order while no member takes traffic.
 *
 * There is one queue for each set of members that attempts leave out for good, so that nobody waits behind an attempt
 * that needs another member. A queue exists only while attempts wait in it. It is woken when an attempt at one of the
 * members ended ({@link wake}), and looks again after a second at the latest.
 *
 * When a member is back, those who waited return within {@link spreadMillis}. A member that lets only some through,
 * as a probe or a pacer does, sets the pace itself.
 *
 * @since 0.2.0
 */

import * as Effect from "effect/Effect"
import * as WaitQueue from "../WaitQueue.js"

// -----------------------------------------------------------------------------
// models
// -----------------------------------------------------------------------------

/**
 * A queue, and the pace at which it lets attempts return.
 *
 * @since 0.2.0
 * @category models
 */
export interface Line {
  readonly queue: WaitQueue.WaitQueue<undefined>
  /** The attempts that use it. */
  users: number
  /** The most that waited when a member came back. */
  burst: number
  /** The time from which the next may return, in epoch milliseconds. */
  nextAt: number
}

/**
 * The members' shared part of all queues: those who wait for the members of one balancer.
 *
 * @internal
 */
export type Waiting = Set<WaitQueue.WaitQueue<undefined>>

/**
 * The queues of one model.
 *
 * @since 0.2.0
 * @category models
 */
export interface MemberQueues {
  /** Whether attempts that leave out the same members for good wait. */
  readonly isWaitedIn: (leftOut: ReadonlyMap<number, number> | undefined) => boolean
  /** Runs an attempt's wait in its queue, or in a queue of its own that nobody shares. */
  readonly within: <A, E>(
    leftOut: ReadonlyMap<number, number> | undefined,
    alone: boolean,
    wait: (line: Line) => Effect.Effect<A, E>
  ) => Effect.Effect<A, E>
}

// -----------------------------------------------------------------------------
// the pace
// -----------------------------------------------------------------------------

/** A waiting attempt looks again after this time, in milliseconds, because a running probe may end at any moment. */
export const pollMillis = 1000

/** Attempts that wait for the same member return spread over this time: the least that `RetryPolicy` adds to a hint. */
export const spreadMillis = 200

/**
 * A wait until the line's next turn; `undefined` if it is now.
 *
 * @internal
 */
export const turnOf = ({ nextAt }: Line, now: number): WaitQueue.Wait<undefined> | undefined =>
  now < nextAt ? new WaitQueue.Wait(now, undefined, nextAt) : undefined

/**
 * Tells a line that its first attempt got a place. `random` from 0 to 1 keeps processes apart.
 *
 * @internal
 */
export const admitted = (line: Line, now: number, random: number): void => {
  const waiting = line.queue.size()
  line.burst = Math.max(line.burst, waiting)
  if (waiting <= 1) return
  const gap = (((1 + random) / 2) * spreadMillis) / (line.burst - 1)
  // A timer is up to a millisecond late; those who come back in that time make up for it.
  line.nextAt = (line.nextAt > now - 1 ? line.nextAt : now) + gap
}

/**
 * Tells a line that no member takes traffic.
 *
 * @internal
 */
export const shut = (line: Line): void => {
  line.burst = 0
  line.nextAt = 0
}

// -----------------------------------------------------------------------------
// the queues
// -----------------------------------------------------------------------------

/** The members that are left out for good, in order. */
const signatureOf = (leftOut: ReadonlyMap<number, number> | undefined): string =>
  leftOut === undefined
    ? ""
    : Array.from(leftOut.keys())
        .filter((index) => leftOut.get(index) === Number.POSITIVE_INFINITY)
        .sort((a, b) => a - b)
        .join()

/**
 * Wakes the queues of all models that share the members.
 *
 * @internal
 */
export const wake = (waiting: Waiting): void => {
  if (waiting.size === 0) return
  for (const queue of [...waiting]) queue.wake()
}

/**
 * The queues of one model. `maxWait` is in milliseconds.
 *
 * @internal
 */
export const make = (maxWait: number, waiting: Waiting): MemberQueues => {
  const settings: WaitQueue.Settings = { ...WaitQueue.defaults, maxWait }
  const lines = new Map<string, Line>()
  const open = (): Line => ({ queue: WaitQueue.make(settings), users: 0, burst: 0, nextAt: 0 })
  return {
    isWaitedIn: (leftOut) => lines.size > 0 && (lines.get(signatureOf(leftOut))?.queue.size() ?? 0) > 0,
    within: (leftOut, alone, wait) => {
      if (alone) return wait(open())
      const signature = signatureOf(leftOut)
      const line = lines.get(signature) ?? open()
      lines.set(signature, line)
      waiting.add(line.queue)
      line.users += 1
      return Effect.ensuring(
        wait(line),
        Effect.sync(() => {
          line.users -= 1
          if (line.users > 0) return
          lines.delete(signature)
          waiting.delete(line.queue)
        })
      )
    }
  }
}
