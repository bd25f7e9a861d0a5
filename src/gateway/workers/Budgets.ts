/**
 * The retry budgets of all workers, in the primary.
 *
 * A worker tells the primary of first attempts and of answered retries, and asks it for each retry. Calls that wait for
 * an empty budget wait in order within their worker; the first of each worker asks.
 *
 * A hedge cannot wait for an answer: a worker that hedges holds one retry of the budget for its next hedge.
 *
 * @since 0.2.0
 */

import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Schema from "effect/Schema"
import type * as Immediate from "../../policies/Immediate.js"
import * as RetryBudget from "../../policies/retry/RetryBudget.js"
import * as Times from "../../policies/Times.js"
import * as WaitQueue from "../../policies/WaitQueue.js"
import type { Port } from "./Port.js"

/** Whether there was a retry, and how many are left. */
const Drawn = Schema.Struct({ drawn: Schema.Boolean, left: Schema.Number })

const drawnOf = Schema.decodeUnknownEither(Drawn)

/**
 * The primary's half.
 *
 * @internal
 */
export const make = () => {
  const budgets = new Map<string, RetryBudget.RetryBudget>()
  const of = (group: string): RetryBudget.RetryBudget => {
    const known = budgets.get(group)
    if (known !== undefined) return known
    const made = RetryBudget.make()
    budgets.set(group, made)
    return made
  }
  const now = (): number => Times.now(Times.liveClock)
  return {
    serve: (port: Port): void => {
      port.on("deposit", Schema.String, (group) => of(group).deposit(now()))
      port.on("refund", Schema.String, (group) => of(group).refund(now()))
      port.on("draw", Schema.String, (group, reply) => {
        const budget = of(group)
        reply({ drawn: budget.draw(now()), left: budget.available(now()) })
      })
    }
  }
}

/** A new retry comes at the latest in this time, whoever deposits: that of the reserve, in milliseconds. */
const reserve = 10_000

/** The first of those that wait asks so often: another worker's deposits do not wake it. */
const lookMillis = 500

const remote = (port: Port, group: string): RetryBudget.RetryBudget => {
  let left = Number.NaN
  /** Retries that this worker has drawn for its next hedge. */
  let held = 0
  let isAsked = false
  const queue = WaitQueue.make<undefined>(WaitQueue.defaults)

  const heard = (value: unknown): boolean | undefined => {
    const read = drawnOf(value)
    if (Either.isLeft(read)) return undefined
    left = read.right.left
    return read.right.drawn
  }
  /** `true` also where the primary does not answer: retries go on without a budget. */
  const ask = Effect.map(
    Effect.catchTag(port.ask("draw", group, Drawn), "Lost", () => Effect.succeed(undefined)),
    (found) => found === undefined || heard(found) === true
  )
  const refill = (): void => {
    if (isAsked || held > 0) return
    isAsked = true
    port.post("draw", group, (value) => {
      isAsked = false
      if (heard(value) === true) held += 1
    })
  }
  const gate: WaitQueue.Gate<true, undefined, false> = {
    ask: (now) =>
      Effect.map(ask, (drawn) => {
        if (drawn) return true
        const wait = Math.max(1, Math.ceil((1 - left) * reserve))
        return new WaitQueue.Wait(now, undefined, now + Math.min(lookMillis, wait))
      }),
    waits: () => Effect.logInfo("waiting for the retry budget: too many retries already"),
    refused: () => false
  }
  return {
    deposit: () => {
      port.note("deposit", group)
      queue.wake()
    },
    draw: () => {
      if (held === 0) {
        refill()
        return false
      }
      held -= 1
      refill()
      return true
    },
    refund: () => {
      port.note("refund", group)
      queue.wake()
    },
    available: () => (Number.isNaN(left) ? 0 : left),
    drawLater: (region: Immediate.Region, patience) => Effect.merge(queue.pass(region, gate, { patience }))
  }
}

/**
 * The worker's half. The clock is that of the process.
 *
 * @internal
 */
export const budgets = (port: Port): RetryBudget.Budgets => {
  const known = new Map<string, RetryBudget.RetryBudget>()
  return {
    of: (group: string, _clock: Clock.Clock) => {
      const found = known.get(group)
      if (found !== undefined) return found
      const made = remote(port, group)
      known.set(group, made)
      return made
    },
    known: () => known
  }
}
