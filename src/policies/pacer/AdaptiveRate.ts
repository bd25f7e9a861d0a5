/**
 * The rate that refusals teach where a provider tells no limit, and the pause after each refusal. Pure.
 *
 * - **Pause**: a refusal stops the whole key until its hint and some jitter. Without a hint the pause is twice as long
 *   as the last one, as long as no request gets through.
 * - **Slow start**: after a pause one request goes, then two, then four; before the first refusal ten, then twice as
 *   many as were really used; see `SlowStart`.
 * - **Rate**: two refusals measure it. The bucket was empty at both, so in between it let through as much as it
 *   refilled. A little less is sent then, evenly. The rate grows back, rests there, and probes beyond ever faster, as
 *   CUBIC does, until the next refusal.
 *
 * Without it a key ignores the hint of a refusal, and an unknown limit is met again and again.
 *
 * Gotcha: refusals that come back together are one event; requests that were sent before it have no say after it.
 *
 * @since 0.2.0
 */

import * as CubicRate from "./CubicRate.js"
import * as Gcra from "./Gcra.js"
import * as SlowStart from "./SlowStart.js"

/** A moment: how many requests were `sent` until then, and how many of those after it were `lost` to refusals. */
interface Moment {
  readonly at: number
  readonly sent: number
  readonly lost: number
}

/**
 * - `streak`: pauses in a row between which no request got through.
 * - `strikes`: events in a row, each soon after the other; 0 before the first event.
 * - `event`: the last event. `anchor`: the moment at which the provider had nothing left, from which the rate is
 *   measured.
 * - `patience`: the milliseconds in which a refusal comes back.
 *
 * @since 0.2.0
 * @category models
 */
export interface AdaptiveRate {
  readonly pausedUntil: number
  readonly streak: number
  readonly strikes: number
  readonly event: Moment
  readonly anchor: Moment | undefined
  readonly sent: number
  readonly sentAt: number
  readonly round: SlowStart.Round | undefined
  readonly patience: number
  readonly rate: CubicRate.Rate | undefined
}

/**
 * The time at which a request was sent, how many were sent until then, and its round.
 *
 * @since 0.2.0
 * @category models
 */
export interface Mark {
  readonly at: number
  readonly sent: number
  readonly round: number
}

/**
 * The answer of a provider that refused a request.
 *
 * - `hint`: the milliseconds that the provider asked to wait.
 * - `inFlight`: how many other requests have no answer yet.
 * - `isKnown`: whether configuration or headers tell limits.
 * - `random`: from 0 to 1.
 *
 * @since 0.2.0
 * @category models
 */
export interface Refused {
  readonly hint: number | undefined
  readonly inFlight: number
  readonly isKnown: boolean
  readonly random: number
}

// -----------------------------------------------------------------------------
// constants
// -----------------------------------------------------------------------------

/** The milliseconds in which a refusal comes back: before the first one was seen, and the bounds after that. */
const patience = { start: 1000, least: 200, most: 5000 }

/** The pause without a hint, in milliseconds: the official SDKs start with the first, a minute is the usual window. */
const pause = { first: 500, most: 60_000 }

/** Jitter, as `RetryPolicy` spreads hints: clients with the same hint must not come back at the same time. */
const spread = (wait: number): number => Math.max(200, wait * 0.25)

/** The requests that a measurement needs; `slowly` many are enough once they took so many milliseconds. */
const enough = { passed: 8, slowly: 2, millis: 5000 }

/** After so many milliseconds without a refusal everything learned is forgotten. */
const forgetAfter = CubicRate.longestGap

/** Known limits are believed until there were so many refusals, each within so many milliseconds of the last. */
const wrong = { count: 10, within: 20_000 }

// -----------------------------------------------------------------------------
// constructors
// -----------------------------------------------------------------------------

/**
 * Nothing learned yet. Keys that never hear a refusal share this value.
 *
 * @since 0.2.0
 * @category constructors
 */
export const fresh: AdaptiveRate = {
  pausedUntil: 0,
  streak: 0,
  strikes: 0,
  event: { at: 0, sent: 0, lost: 1 },
  anchor: undefined,
  // One counts as sent and lost: while nothing is counted before the first refusal, every request is that one.
  sent: 1,
  sentAt: 0,
  round: SlowStart.first,
  patience: patience.start,
  rate: undefined
}

/**
 * Whether there was no refusal, so that forgetting the value loses nothing.
 *
 * @since 0.2.0
 * @category predicates
 */
export const isFresh = (self: AdaptiveRate): boolean => self.strikes === 0

/**
 * The same value, or a fresh one where the last refusal is too old to be believed.
 *
 * @since 0.2.0
 * @category combinators
 */
export const current = (self: AdaptiveRate, now: number): AdaptiveRate =>
  isFresh(self) || now < Math.max(self.event.at, self.pausedUntil) + forgetAfter
    ? self
    : { ...fresh, patience: self.patience }

// -----------------------------------------------------------------------------
// the rate
// -----------------------------------------------------------------------------

/**
 * Requests in a millisecond since the anchor: `low` if refused ones do not count against the limit, `high` if they do.
 */
const measure = (anchor: Moment, mark: Mark): readonly [low: number, high: number] | undefined => {
  const sent = mark.sent - anchor.sent - 1
  const passed = mark.sent - anchor.sent - anchor.lost
  const elapsed = mark.at - anchor.at
  const isEnough = passed >= enough.passed || (passed >= enough.slowly && elapsed >= enough.millis)
  return isEnough && elapsed > 0 ? [passed / elapsed, sent / elapsed] : undefined
}

/**
 * The learned limit, if there is one.
 *
 * @since 0.2.0
 * @category getters
 */
export const learned = (
  self: AdaptiveRate
): { readonly limit: Gcra.Limit; readonly bucket: Gcra.Bucket } | undefined =>
  self.rate === undefined ? undefined : { limit: CubicRate.limitOf(self.rate), bucket: self.rate.bucket }

// -----------------------------------------------------------------------------
// when one may be sent
// -----------------------------------------------------------------------------

const roundReadyAt = ({ patience, round }: AdaptiveRate, isKnown: boolean, now: number): number =>
  round === undefined || (isKnown && SlowStart.isOpenEnded(round)) ? now : SlowStart.readyAt(round, patience, now)

/**
 * The first millisecond at which one more request may go. `isKnown`: whether configuration or headers tell limits.
 *
 * @since 0.2.0
 * @category getters
 */
export const readyAt = (self: AdaptiveRate, isKnown: boolean, now: number): number => {
  const at = roundReadyAt(self, isKnown, Math.max(now, self.pausedUntil))
  return self.rate === undefined
    ? at
    : Math.max(at, Gcra.readyAt(CubicRate.limitOf(self.rate), self.rate.bucket, 1, now))
}

/**
 * The earliest time at which so many requests can have been sent.
 *
 * @since 0.2.0
 * @category getters
 */
export const drainedAt = (self: AdaptiveRate, requests: number, now: number): number => {
  const from = Math.max(now, self.pausedUntil)
  if (self.rate === undefined) return from
  return Math.max(from, Gcra.drainedAt(CubicRate.limitOf(self.rate), self.rate.bucket, requests, now))
}

// -----------------------------------------------------------------------------
// what happens
// -----------------------------------------------------------------------------

/** Where limits are known, nothing is counted before the first refusal. */
const isQuiet = (self: AdaptiveRate, isKnown: boolean): boolean => isKnown && isFresh(self)

/**
 * One request goes. `isKnown`: whether configuration or headers tell limits; `isWaited`: whether any request had to
 * wait.
 *
 * @since 0.2.0
 * @category combinators
 */
export const send = (self: AdaptiveRate, isKnown: boolean, isWaited: boolean, now: number): AdaptiveRate =>
  isQuiet(self, isKnown) ? self : counting(self, isWaited, now)

const counting = (self: AdaptiveRate, isWaited: boolean, now: number): AdaptiveRate => ({
  pausedUntil: self.pausedUntil,
  streak: self.streak,
  strikes: self.strikes,
  event: self.event,
  // While no request waits, the rate sent does not show how much the provider would take.
  anchor: isWaited ? self.anchor : undefined,
  sent: self.sent + 1,
  sentAt: now,
  round: self.round === undefined ? undefined : SlowStart.send(self.round, self.patience, now),
  patience: self.patience,
  rate: self.rate === undefined ? undefined : CubicRate.grow(self.rate, isWaited, now - self.sentAt, now)
})

/**
 * The mark of the request that was sent last.
 *
 * @since 0.2.0
 * @category getters
 */
export const mark = (self: AdaptiveRate, now: number): Mark => ({
  at: now,
  sent: self.sent,
  round: self.round?.id ?? 0
})

/**
 * One request was answered, with anything but a refusal.
 *
 * @since 0.2.0
 * @category combinators
 */
export const answer = (self: AdaptiveRate, isKnown: boolean, mark: Mark, now: number): AdaptiveRate => {
  const { round } = self
  if (round === undefined || round.id !== mark.round || isQuiet(self, isKnown)) return self
  return { ...self, round: SlowStart.answer(round, now) }
}

/** One more of the requests sent after a moment did not get through. */
const lose = (moment: Moment, mark: Mark): Moment =>
  mark.sent > moment.sent ? { ...moment, lost: moment.lost + 1 } : moment

const lost = (self: AdaptiveRate, mark: Mark): AdaptiveRate => ({
  ...self,
  event: lose(self.event, mark),
  anchor: self.anchor === undefined ? undefined : lose(self.anchor, mark)
})

/**
 * One request was not sent after all: its place is free again.
 *
 * @since 0.2.0
 * @category combinators
 */
export const withdraw = (self: AdaptiveRate, isKnown: boolean, mark: Mark, now: number): AdaptiveRate => {
  if (isQuiet(self, isKnown)) return self
  const next = answer(lost(self, mark), isKnown, mark, now)
  if (next.rate === undefined) return next
  return {
    ...next,
    rate: { ...next.rate, bucket: Gcra.giveBack(CubicRate.limitOf(next.rate), next.rate.bucket, 1, now) }
  }
}

/**
 * One request was refused.
 *
 * @since 0.2.0
 * @category combinators
 */
export const refuse = (self: AdaptiveRate, mark: Mark, refusal: Refused, now: number): AdaptiveRate => {
  const least = isFresh(self) ? patience.least : Math.max(patience.least, self.patience * 0.8)
  const waited = { ...self, patience: Math.min(patience.most, Math.max(least, (now - mark.at) * 2)) }
  const next = lost(waited, mark)
  return mark.sent > self.event.sent ? happen(next, mark, refusal, now) : paused(next, refusal, now)
}

const paused = (self: AdaptiveRate, refusal: Refused, now: number): AdaptiveRate => {
  const { hint } = refusal
  // Without hints the refusals of one event are one pause.
  if (hint === undefined && self.pausedUntil > now) return self
  const first = self.rate === undefined ? pause.first : Math.max(pause.first, 1 / CubicRate.perMilliOf(self.rate))
  const backoff = Math.min(pause.most, first * 2 ** self.streak)
  // A hint that was kept and was too short is not believed alone.
  const wait = hint === undefined ? backoff : self.streak > 0 ? Math.max(hint, backoff) : hint
  return { ...self, pausedUntil: Math.max(self.pausedUntil, Math.ceil(now + wait + refusal.random * spread(wait))) }
}

/** A new event: the rate that was tried ends, and the requests since the anchor measure a new one. */
const happen = (self: AdaptiveRate, mark: Mark, refusal: Refused, now: number): AdaptiveRate => {
  const through = mark.sent - self.event.sent - self.event.lost
  const isThrough = through > 0
  const strikes = now - self.event.at <= wrong.within ? self.strikes + 1 : 1
  const next = {
    ...self,
    strikes,
    // A shortage that took several pauses to end is likely to take as many again.
    streak: isThrough || isFresh(self) ? Math.floor(self.streak / 2) : self.streak + 1,
    event: { at: now, sent: self.sent, lost: 0 }
  }
  const taught = isThrough ? learn(next, mark, refusal.isKnown && strikes < wrong.count, now) : next
  // Where nothing else holds it back, a slow start must not run far beyond the number that got through.
  const bounds =
    refusal.isKnown || taught.rate !== undefined
      ? { doubleUntil: SlowStart.unbounded, until: Math.max(2, refusal.inFlight) }
      : { doubleUntil: Math.max(2, through / 2), until: SlowStart.unbounded }
  return paused({ ...taught, round: SlowStart.again(self.round, bounds, now) }, refusal, now)
}

const learn = (self: AdaptiveRate, mark: Mark, isIgnored: boolean, now: number): AdaptiveRate => {
  const here = { at: mark.at, sent: mark.sent, lost: 0 }
  const measured = isIgnored || self.anchor === undefined ? undefined : measure(self.anchor, mark)
  const rate = CubicRate.slowed(self.rate, measured, now)
  // A rough measurement goes on from where it began.
  const isRough = !isIgnored && self.anchor !== undefined && measured === undefined
  return { ...self, anchor: isRough ? self.anchor : here, rate }
}
