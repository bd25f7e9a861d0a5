/**
 * The state of one key of a pacer, without its queue: may a request go, when may it, and what did it teach. Pure.
 *
 * Known limits ({@link Buckets}) and the lessons of refusals ({@link AdaptiveRate}) hold together: the later of the two
 * times counts. Every admitted request is settled once, with its {@link Outcome}. A state and an {@link Admission} are
 * plain JSON: written and read again, they decide the same.
 *
 * Without it each part would decide alone, and no state could be kept outside of the process.
 *
 * @since 0.2.0
 */

import { isPossible, type Usage } from "../Usage.js"
import * as AdaptiveRate from "./AdaptiveRate.js"
import * as Buckets from "./Buckets.js"
import * as Cost from "./Cost.js"
import type * as RateLimits from "./RateLimits.js"
import * as Reconcile from "./Reconcile.js"

/**
 * - `inFlight`: requests that were admitted and not settled.
 * - `output`: the tokens of an answer, averaged over the last answers.
 * - `used`: the share of a reservation that is not given back, averaged over the last answers.
 *
 * @since 0.2.0
 * @category models
 */
export interface PacerState {
  readonly buckets: Buckets.Buckets
  readonly rate: AdaptiveRate.AdaptiveRate
  readonly inFlight: number
  readonly output: number
  readonly used: number
}

/**
 * A request that was admitted: its estimated cost, and the marks of that moment.
 *
 * @since 0.2.0
 * @category models
 */
export interface Admission {
  readonly cost: Cost.Cost
  readonly buckets: Buckets.Mark
  readonly rate: AdaptiveRate.Mark
}

/**
 * The outcome of a request.
 *
 * - `Answered`: the provider answered with anything but a refusal.
 * - `Unclear`: it was sent, and may have run.
 * - `Rejected`: it did not run, for a reason that has nothing to do with limits.
 * - `Refused`: a rate limit refused it; `hint` in milliseconds, `random` from 0 to 1.
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

/** The share of the newest answer in the averages: about the last twenty answers count. */
const newest = 0.1

/**
 * The state before the first request.
 *
 * @since 0.2.0
 * @category constructors
 */
export const make = (config: Buckets.Config, now: number): PacerState => ({
  buckets: Buckets.make(config, now),
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
  Buckets.admits(self.buckets, cost, now) && AdaptiveRate.readyAt(self.rate, Buckets.isKnown(self.buckets), now) <= now

/**
 * The first millisecond at which a request of that cost may go.
 *
 * @since 0.2.0
 * @category getters
 */
export const readyAt = (self: PacerState, cost: Cost.Cost, now: number): number =>
  Buckets.readyAt(self.buckets, cost, AdaptiveRate.readyAt(self.rate, Buckets.isKnown(self.buckets), now))

/**
 * The time at which a request may be expected to go, behind others that cost `ahead` together.
 *
 * @since 0.2.0
 * @category getters
 */
export const expectedAt = (self: PacerState, ahead: Cost.Cost, cost: Cost.Cost, now: number): number => {
  const all = ahead === Cost.none ? cost : Cost.plus(Cost.scaleTokens(ahead, self.used), cost)
  return Math.max(AdaptiveRate.drainedAt(self.rate, all.requests, now), Buckets.drainedAt(self.buckets, all, now))
}

/**
 * Whether forgetting the state changes nothing.
 *
 * @since 0.2.0
 * @category predicates
 */
export const isIdle = (self: PacerState, now: number): boolean =>
  self.inFlight === 0 && Buckets.isFull(self.buckets, now) && AdaptiveRate.isFresh(AdaptiveRate.current(self.rate, now))

// -----------------------------------------------------------------------------
// what happens
// -----------------------------------------------------------------------------

/**
 * A request goes. `isWaited`: whether it, or another, had to wait for its place.
 *
 * @since 0.2.0
 * @category combinators
 */
export const admit = (
  self: PacerState,
  estimate: Cost.Cost,
  isWaited: boolean,
  now: number
): readonly [Admission, PacerState] => {
  // Headers may have told smaller limits while it waited.
  const cost = Buckets.fitted(self.buckets, estimate)
  const buckets = Buckets.take(self.buckets, cost, now)
  const before = AdaptiveRate.current(self.rate, now)
  const rate = AdaptiveRate.send(before, Buckets.isKnown(self.buckets), isWaited, now)
  const admission = { cost, buckets: { at: now, spent: buckets.spent }, rate: AdaptiveRate.mark(rate, now) }
  return [admission, { buckets, rate, inFlight: self.inFlight + 1, output: self.output, used: self.used }]
}

/**
 * The state after the headers of a response.
 *
 * @since 0.2.0
 * @category combinators
 */
export const observe = (
  self: PacerState,
  admission: Admission,
  headers: RateLimits.Limits,
  now: number
): PacerState => {
  const buckets = Reconcile.observe(self.buckets, admission.buckets, admission.cost, headers, now)
  return buckets === self.buckets ? self : { ...self, buckets }
}

/** Only Anthropic counts input by itself, and it does not count tokens read from its cache. */
const costOf = (usage: Usage): Cost.Cost => ({
  requests: 1,
  tokens: usage.inputTokens + usage.outputTokens,
  inputTokens: Math.max(0, usage.inputTokens - (usage.cachedInputTokens ?? 0)),
  outputTokens: usage.outputTokens
})

const towards = (before: number, now: number): number => before + newest * (now - before)

/** An answer counts for so many times the average at most: one odd number is forgotten as soon as others come. */
const mostTimes = 10

/** The average length of answers after one more. */
const averaged = (output: number, tokens: number): number =>
  towards(output, Math.min(tokens, mostTimes * Math.max(output, firstOutput)))

/** The state after a request that ran, or may have run; with its usage if that is known. */
const reconciled = (
  self: PacerState,
  rate: AdaptiveRate.AdaptiveRate,
  { cost }: Admission,
  told: Usage | undefined,
  now: number
): PacerState => {
  const inFlight = self.inFlight - 1
  const { output, used } = self
  const usage = told === undefined || !isPossible(told) ? undefined : told
  if (usage === undefined) return { buckets: self.buckets, rate, inFlight, output, used }
  const buckets = Buckets.reconcile(self.buckets, cost, costOf(usage), now)
  const charged = cost.tokens + buckets.spent.tokens - self.buckets.spent.tokens
  return {
    buckets,
    rate,
    inFlight,
    output: averaged(output, usage.outputTokens),
    used: cost.tokens > 0 ? towards(used, Math.min(1, charged / cost.tokens)) : used
  }
}

/**
 * The state after a request is over.
 *
 * @since 0.2.0
 * @category combinators
 */
export const settle = (self: PacerState, admission: Admission, outcome: Outcome, now: number): PacerState => {
  const { buckets, rate } = self
  const { cost } = admission
  const isKnown = Buckets.isKnown(buckets)
  const inFlight = self.inFlight - 1
  switch (outcome._tag) {
    case "Answered":
      return reconciled(self, AdaptiveRate.answer(rate, isKnown, admission.rate, now), admission, outcome.usage, now)
    case "Unclear":
      return reconciled(self, rate, admission, outcome.usage, now)
    case "Rejected":
      return {
        ...self,
        inFlight,
        buckets: Buckets.giveBack(buckets, Cost.tokensOnly(cost), now),
        rate: AdaptiveRate.answer(rate, isKnown, admission.rate, now)
      }
    case "NotSent":
      return {
        ...self,
        inFlight,
        buckets: Buckets.withdraw(buckets, cost, now),
        rate: AdaptiveRate.withdraw(rate, isKnown, admission.rate, now)
      }
    case "Refused":
      return {
        ...self,
        inFlight,
        buckets: Reconcile.refused(buckets, admission.buckets, cost, outcome, now),
        rate: AdaptiveRate.refuse(rate, admission.rate, { ...outcome, inFlight, isKnown }, now)
      }
  }
}
