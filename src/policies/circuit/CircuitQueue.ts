/**
 * The calls that wait for open circuits: they take turns as probes, and when the target is back they come in a slow
 * start.
 *
 * A circuit has a queue only while calls wait for it. Then every other call joins the queue too, unless its fallback
 * takes traffic, so the first in is the first out. A circuit opened by hand, or for a dead key, is not waited for: that
 * needs a person.
 *
 * @since 0.2.0
 */

import * as Effect from "effect/Effect"
import { factsOf } from "../../errors/ErrorFacts.js"
import { type CircuitOpen, targetOf } from "../../errors/LlmError.js"
import * as Immediate from "../Immediate.js"
import * as WaitQueue from "../WaitQueue.js"
import * as AnswerTime from "./AnswerTime.js"
import type { Admission, Refusal } from "./Circuit.js"
import type { Settings } from "./CircuitOptions.js"
import type { Outcome } from "./CircuitOutcome.js"
import { isRefusal } from "./CircuitState.js"
import { type AdmitOptions, refused } from "./CircuitView.js"
import * as Window from "./Window.js"

/**
 * The queues of a breaker.
 *
 * @internal
 */
export interface CircuitQueue {
  /** Admits a call, at once or after a wait, or refuses it. */
  readonly enter: (options: AdmitOptions, region: Immediate.Region) => Effect.Effect<Admission, CircuitOpen>
  /**
   * Whether a call ended in the slow start of a target that still answers. Its failure shows that the window is too
   * wide, not that the target is down.
   */
  readonly isTooWide: (key: string, now: number) => boolean
  /** The number of calls that wait for a circuit. */
  readonly size: (key: string) => number
  /**
   * Tells that a call ended, how long it took, in milliseconds, if that is known, and whether its deadline ended it.
   */
  readonly ended: (
    key: string,
    admission: Admission,
    outcome: Outcome,
    now: number,
    took: number | undefined,
    isCut: boolean
  ) => void
  /** Tells that a circuit was changed by hand. */
  readonly changed: (key: string) => void
}

/** The calls that wait for one circuit, and those that came out of the queue since it closed. */
interface Line {
  readonly queue: WaitQueue.WaitQueue<Refusal>
  /** The calls that wait in it or ask for a place. */
  users: number
  readonly admitted: Set<Admission>
  window: Window.Window | undefined
  /** The times until which the places of failed calls stay taken, in epoch milliseconds, in their order. */
  cooling: Array<number>
  /** The time of the last answer, in epoch milliseconds. */
  answeredAt: number
  /** The least time of an answer, in milliseconds, as the calls tell that their deadline ended. */
  least: number
}

/** The most circuits whose answer times are kept. */
const maxAnswers = 10_000

/** While a probe runs, another process may end it: the first in the queue looks again after this, in milliseconds. */
const lookAgain = 1000

/**
 * During the slow start a failed call keeps its place for this time, in milliseconds: that of the first backoff after
 * `Overloaded`. A target above its capacity refuses at once, so its freed places would turn into a flood of refusals.
 */
const coolMillis = 1000

/**
 * During the slow start failures count only from this time after the last answer, in milliseconds. A target above its
 * capacity refuses many calls in a row between two answers. In simulation, one that served 10 calls a second opened its
 * circuit every 15 seconds and lost one job in twenty.
 */
const silentMillis = 1000

/** A refusal by the slow start alone. */
const busy: Refusal = { retryAfter: 0, reason: "Unhealthy", error: undefined, probing: true, isBack: true }

/** Whether a circuit is worth a wait: a dead key, or one opened by hand, needs a person. */
const isWaitedFor = ({ reason }: Refusal): boolean => reason === "Unhealthy"

const waitFor = (refusal: Refusal, now: number): WaitQueue.Wait<Refusal> => {
  if (!isWaitedFor(refusal)) return new WaitQueue.Wait(Number.POSITIVE_INFINITY, refusal)
  // A probe may end at any moment.
  return refusal.probing
    ? new WaitQueue.Wait(now, refusal, now + Math.min(lookAgain, refusal.retryAfter))
    : new WaitQueue.Wait(now + refusal.retryAfter, refusal)
}

/**
 * New queues. `ask` admits a call or refuses it at once; `soonest` is the time at which the first of the waiting calls
 * must leave.
 *
 * @internal
 */
export const make = (
  settings: Settings,
  ask: (key: string, now: number, soonest: number) => Effect.Effect<Admission | Refusal>
): CircuitQueue => {
  const lines = new Map<string, Line>()
  const answers = new Map<string, AnswerTime.AnswerTime>()
  const firstWidth = settings.ramp[settings.ramp.length - 1] ?? 1

  const forget = (key: string, line: Line): void => {
    if (line.users === 0 && line.admitted.size === 0) lines.delete(key)
  }

  const wait = (options: AdmitOptions, region: Immediate.Region): Effect.Effect<Admission, CircuitOpen> => {
    const { key } = options
    const line: Line = lines.get(key) ?? {
      queue: WaitQueue.make(settings),
      users: 0,
      admitted: new Set(),
      window: undefined,
      cooling: [],
      answeredAt: Number.NEGATIVE_INFINITY,
      least: 0
    }
    lines.set(key, line)
    const admitted = (decision: Admission | Refusal, now: number): Admission | WaitQueue.Wait<Refusal> => {
      if (isRefusal(decision)) {
        line.window = undefined
        return waitFor(decision, now)
      }
      // No probe any more: the circuit closed.
      if (decision.probe === undefined && line.window === undefined) {
        line.window = Window.begin(firstWidth, now)
        line.admitted.clear()
        line.cooling = []
        line.answeredAt = now
      }
      line.admitted.add(decision)
      return decision
    }
    /** While the slow start has no place: the time to look again. */
    const fullUntil = (now: number): number | undefined => {
      if (line.window === undefined) return undefined
      line.cooling = line.cooling.filter((until) => now < until)
      const taken = line.admitted.size + line.cooling.length
      return taken < line.window.width ? undefined : Math.min(now + lookAgain, line.cooling[0] ?? now + lookAgain)
    }
    const gate: WaitQueue.Gate<Admission, Refusal, CircuitOpen> = {
      ask: (now, soonest) => {
        const look = fullUntil(now)
        return look !== undefined
          ? Effect.succeed(new WaitQueue.Wait(now, busy, look))
          : Immediate.entered(ask(key, now, soonest), (decision) => Effect.succeed(admitted(decision, now)))
      },
      waits: ({ why }) => {
        const refusal = refused(options, why)
        return Effect.annotateLogs(
          Effect.logInfo(`waiting for ${targetOf(refusal)}: ${refusal.message}`),
          factsOf(refusal)
        )
      },
      refused: ({ at, why }, now) =>
        refused(options, Number.isFinite(at) && !why.probing ? { ...why, retryAfter: Math.max(0, at - now) } : why)
    }
    // Calls that are served too late for their answer take the places of others, and the queue never shrinks: in
    // simulation, no job was done for five minutes after an outage of one.
    const takes = () => Math.max(line.least, AnswerTime.most(answers.get(key)))
    line.users += 1
    return Effect.ensuring(
      line.queue.pass(region, gate, { takes }),
      Effect.sync(() => {
        line.users -= 1
        forget(key, line)
      })
    )
  }

  return {
    enter: (options, region) => {
      const line = lines.get(options.key)
      if (line !== undefined && line.queue.size() > 0) return wait(options, region)
      const now = Immediate.nowOf(region.fiber)
      return Immediate.entered(ask(options.key, now, Number.POSITIVE_INFINITY), (decision) => {
        if (!isRefusal(decision)) return Effect.succeed(decision)
        return settings.maxWait === 0 || !isWaitedFor(decision)
          ? Effect.fail(refused(options, decision))
          : wait(options, region)
      })
    },
    isTooWide: (key, now) => {
      const line = lines.get(key)
      return line?.window !== undefined && now < line.answeredAt + silentMillis
    },
    size: (key) => lines.get(key)?.queue.size() ?? 0,
    ended: (key, admission, outcome, now, took, isCut) => {
      if (outcome._tag === "Success" && took !== undefined) {
        const known = answers.get(key)
        if (known === undefined && answers.size >= maxAnswers) answers.delete(answers.keys().next().value as string)
        answers.set(key, AnswerTime.seen(known, took))
      }
      const line = lines.get(key)
      if (line === undefined) return
      if (outcome._tag === "Success") {
        line.answeredAt = now
        line.least = 0
      }
      // Without an answer to tell how long they take, each call that was served too late would be followed by another.
      if (isCut && took !== undefined && !answers.has(key)) line.least = Math.max(line.least, 2 * took)
      if (line.admitted.delete(admission) && line.window !== undefined) {
        line.window = Window.next(line.window, outcome, now)
        if (outcome._tag !== "Success" && outcome._tag !== "Ignored") {
          // Places that were lost together come back one by one.
          const previous = (line.cooling.at(-1) ?? 0) + coolMillis / line.window.width
          line.cooling.push(Math.max(now + coolMillis, previous))
        }
      }
      line.queue.wake()
      forget(key, line)
    },
    changed: (key) => lines.get(key)?.queue.wake()
  }
}
