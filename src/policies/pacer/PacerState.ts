/**
 * One key under the pacer, but for its queue: may a request go, when may it, and what did it teach. Pure.
 *
 * The limits that are known ({@link Buckets}) and what refusals teach ({@link AdaptiveRate}) hold together: the later
 * of the two times counts. Every request that is admitted is settled once, with what became of it.
 *
 * @since 0.2.0
 */

import type { Usage } from "../Usage.js"
import * as AdaptiveRate from "./AdaptiveRate.js"
import * as Buckets from "./Buckets.js"
import * as Cost from "./Cost.js"
import type { Limits } from "./RateLimits.js"
import * as Reconcile from "./Reconcile.js"

/**
 * - `output`: the tokens of an answer, by the last answers.
 * - `used`: the share of a reservation that is not given back, by the last answers.
 *
 * @since 0.2.0
 * @category models
 */
export interface PacerState {
  readonly allowance: Buckets.Buckets
  readonly rate: AdaptiveRate.AdaptiveRate
  readonly inFlight: number
  readonly output: number
  readonly used: number
}

/**
 * A request that was admitted: what it was thought to cost, and what was known then.
 *
 * @since 0.2.0
 * @category models
 */
export interface Ticket {
  readonly cost: Cost.Cost
  readonly allowance: Buckets.Mark
  readonly rate: AdaptiveRate.Mark
}

/**
 * What became of a request.
 *
 * - `Answered`: with anything but a refusal.
 * - `Unclear`: it was sent, and may have run.
 * - `Rejected`: it did not run, for a reason that has nothing to do with limits.
 * - `Refused`: by a rate limit; `hint` in milliseconds, `random` from 0 to 1.
 * - `NotSent`: it never left.
 *
 * @since 0.2.0
 * @category models
 */
export type Outcome =
  | { readonly _tag: "Answered" | "Unclear"; readonly usage: Usage | undefined }
  | { readonly _tag: "Rejected" }
  | { readonly _tag: "NotSent" }
  | {
      readonly _tag: "Refused"
      readonly hint: number | undefined
      readonly scope: "requests" | "tokens" | undefined
      readonly random: number
    }

/** The tokens of an answer of two hundred words. Only the first few requests depend on it. */
const firstOutput = 300

/** The share of the newest answer in what is learned from answers: about the last twenty count. */
const newest = 0.1

/**
 * Nothing sent yet.
 *
 * @since 0.2.0
 * @category constructors
 */
export const make = (config: Buckets.Config, now: number): PacerState => ({
  allowance: Buckets.make(config, now),
  rate: AdaptiveRate.fresh,
  inFlight: 0,
  output: firstOutput,
  used: 1
})

// -----------------------------------------------------------------------------
// questions
// -----------------------------------------------------------------------------

/**
 * Whether a request of that cost may go now.
 *
 * @since 0.2.0
 * @category predicates
 */
export const admits = (self: PacerState, cost: Cost.Cost, now: number): boolean =>
  Buckets.admits(self.allowance, cost, now) &&
  AdaptiveRate.readyAt(self.rate, Buckets.isKnown(self.allowance), now) <= now

/**
 * The first millisecond at which it may; `Infinity` if it never may.
 *
 * @since 0.2.0
 * @category getters
 */
export const readyAt = (self: PacerState, cost: Cost.Cost, now: number): number =>
  Buckets.readyAt(self.allowance, cost, AdaptiveRate.readyAt(self.rate, Buckets.isKnown(self.allowance), now))

/**
 * When a request may be expected to go that has so much before it.
 *
 * @since 0.2.0
 * @category getters
 */
export const expectedAt = (self: PacerState, ahead: Cost.Cost, cost: Cost.Cost, now: number): number => {
  const all = ahead === Cost.none ? cost : Cost.plus(Cost.scaleTokens(ahead, self.used), cost)
  return Math.max(AdaptiveRate.drainedAt(self.rate, all.requests, now), Buckets.drainedAt(self.allowance, all, now))
}

/**
 * Whether it is as if nothing had ever been sent.
 *
 * @since 0.2.0
 * @category predicates
 */
export const isIdle = (self: PacerState, now: number): boolean =>
  self.inFlight === 0 &&
  Buckets.isFull(self.allowance, now) &&
  AdaptiveRate.isFresh(AdaptiveRate.current(self.rate, now))

// -----------------------------------------------------------------------------
// what happens
// -----------------------------------------------------------------------------

/**
 * A request goes. `isWaited`: whether it, or another, had to wait for that.
 *
 * @since 0.2.0
 * @category combinators
 */
export const admit = (
  self: PacerState,
  cost: Cost.Cost,
  isWaited: boolean,
  now: number
): readonly [Ticket, PacerState] => {
  const allowance = Buckets.take(self.allowance, cost, now)
  const before = AdaptiveRate.current(self.rate, now)
  const rate = AdaptiveRate.send(before, Buckets.isKnown(self.allowance), isWaited, now)
  const ticket = { cost, allowance: { at: now, spent: allowance.spent }, rate: AdaptiveRate.mark(rate, now) }
  return [ticket, { allowance, rate, inFlight: self.inFlight + 1, output: self.output, used: self.used }]
}

/**
 * The headers of a response told limits.
 *
 * @since 0.2.0
 * @category combinators
 */
export const told = (self: PacerState, ticket: Ticket, limits: Limits, now: number): PacerState => {
  const allowance = Reconcile.told(self.allowance, ticket.allowance, ticket.cost, limits, now)
  return allowance === self.allowance ? self : { ...self, allowance }
}

/** Anthropic does not count what it read from its cache, and is the only one that counts input by itself. */
const amountOf = (usage: Usage): Cost.Cost => ({
  requests: 1,
  tokens: usage.inputTokens + usage.outputTokens,
  inputTokens: Math.max(0, usage.inputTokens - (usage.cachedInputTokens ?? 0)),
  outputTokens: usage.outputTokens
})

const towards = (before: number, now: number): number => before + newest * (now - before)

/** The lane after an answer or something like it, with what was used if that is known. */
const reconciled = (
  self: PacerState,
  rate: AdaptiveRate.AdaptiveRate,
  { cost }: Ticket,
  usage: Usage | undefined,
  now: number
): PacerState => {
  const inFlight = self.inFlight - 1
  const { output, used } = self
  if (usage === undefined) return { allowance: self.allowance, rate, inFlight, output, used }
  const allowance = Buckets.reconcile(self.allowance, cost, amountOf(usage), now)
  const kept = cost.tokens + allowance.spent.tokens - self.allowance.spent.tokens
  return {
    allowance,
    rate,
    inFlight,
    output: towards(output, usage.outputTokens),
    used: cost.tokens > 0 ? towards(used, Math.min(1, kept / cost.tokens)) : used
  }
}

/**
 * A request is over.
 *
 * @since 0.2.0
 * @category combinators
 */
export const settle = (self: PacerState, ticket: Ticket, outcome: Outcome, now: number): PacerState => {
  const { allowance, rate } = self
  const { cost } = ticket
  const isKnown = Buckets.isKnown(allowance)
  const inFlight = self.inFlight - 1
  switch (outcome._tag) {
    case "Answered":
      return reconciled(self, AdaptiveRate.answer(rate, isKnown, ticket.rate, now), ticket, outcome.usage, now)
    case "Unclear":
      return reconciled(self, rate, ticket, outcome.usage, now)
    case "Rejected":
      return {
        ...self,
        inFlight,
        allowance: Buckets.giveBack(allowance, Cost.tokensOnly(cost), now),
        rate: AdaptiveRate.answer(rate, isKnown, ticket.rate, now)
      }
    case "NotSent":
      return {
        ...self,
        inFlight,
        allowance: Buckets.giveBack(allowance, cost, now),
        rate: AdaptiveRate.withdraw(rate, isKnown, ticket.rate, now)
      }
    case "Refused":
      return {
        ...self,
        inFlight,
        allowance: Reconcile.refused(allowance, ticket.allowance, cost, outcome, now),
        rate: AdaptiveRate.refuse(rate, ticket.rate, { ...outcome, inFlight, isKnown }, now)
      }
  }
}

// -----------------------------------------------------------------------------
// what is kept
// -----------------------------------------------------------------------------

/**
 * A lane that is written in place. What a request leaves behind would be old, and in no cache, when the next one comes
 * with thousands of keys, and be copied twice by the collector before: so it is written where it is.
 *
 * @internal
 */
export interface Kept extends PacerState {
  readonly allowance: Buckets.Kept
  rate: AdaptiveRate.AdaptiveRate
  inFlight: number
  output: number
  used: number
}

/**
 * A lane without requests, to be written in place.
 *
 * @internal
 */
export const kept = (config: Buckets.Config, now: number): Kept => {
  const { allowance, inFlight, output, rate, used } = make(config, now)
  return { allowance: Buckets.kept(allowance), rate, inFlight, output, used }
}

/**
 * Writes how it stands now over how it stood before.
 *
 * @internal
 */
export const overwrite = (kept: Kept, next: PacerState): void => {
  // The same: nothing happened.
  if (kept === next) return
  Buckets.overwrite(kept.allowance, next.allowance)
  kept.rate = next.rate
  kept.inFlight = next.inFlight
  kept.output = next.output
  kept.used = next.used
}
