/**
 * What refusals teach: when to pause, how to start again, and how fast a provider takes requests that tells no limit.
 * Pure.
 *
 * - **Pause**: a refusal stops the whole key until its hint and some jitter, or without a hint for twice as long as the
 *   last time, as long as nothing gets through.
 * - **Slow start**: after a pause one goes, then two, then four; before the first refusal ten, then twice as many as
 *   were really used. The next round begins when the last one was answered, or when a refusal would have come by now.
 * - **Rate**: two refusals measure it, for a bucket that was empty twice let through in between what it refilled. A
 *   little less than that is sent, evenly; then it grows back, rests there, and probes beyond it ever faster, as CUBIC
 *   does, until the next refusal.
 *
 * Gotcha: refusals that come back together are one event; what was sent before it has no say after it.
 *
 * @since 0.2.0
 */
import * as Gcra from "./Gcra.js"
import * as SlowStart from "./SlowStart.js"

/** Requests each millisecond: from `low` to the `plateau` and beyond it, after growing for so many milliseconds. */
interface Rate {
  readonly low: number
  readonly plateau: number
  readonly grown: number
  readonly bucket: Gcra.Bucket
}

/** A moment: how many were sent until then, and how many of those sent after it did not get through. */
interface Moment {
  readonly at: number
  readonly sent: number
  readonly lost: number
}

/**
 * - `streak`: pauses in a row between which nothing got through; `strikes`: events in a row, each soon after the other.
 * - `event`: the last one. `anchor`: when the provider is known to have had nothing left, and from when it is measured.
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
  readonly rate: Rate | undefined
}

/**
 * What was known when a request was sent.
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
 * A refusal.
 *
 * - `hint`: the milliseconds that the provider asked to wait.
 * - `inFlight`: how many others are on their way.
 * - `isKnown`: whether limits are known from elsewhere.
 * - `random`: from 0 to 1.
 *
 * @since 0.2.0
 * @category models
 */
export interface Refusal {
  readonly hint: number | undefined
  readonly inFlight: number
  readonly isKnown: boolean
  readonly random: number
}

// -----------------------------------------------------------------------------
// constants
// -----------------------------------------------------------------------------

/** How long a refusal takes to come back, in milliseconds, before the first one was seen; and its bounds after that. */
const patience = { start: 1000, least: 200, most: 5000 }

/** Without a hint: from what the official SDKs start with to the longest window that is usual. */
const pause = { first: 500, most: 60_000 }

/** Clients that were told the same second must not come back in the same second: as `RetryPolicy` spreads hints. */
const spread = (wait: number): number => Math.max(200, wait * 0.25)

/** CUBIC sends 0.7 of what failed; the rate here is measured and not guessed, so less has to be given up. */
const beta = 0.9

/** A cut that no measurement supports is CUBIC's. */
const blindBeta = 0.7

/**
 * Milliseconds from a cut back to the plateau, or for as long as so many requests take: a slow limit is probed seldom.
 */
const recovery = { millis: 10_000, requests: 25 }

/** Fewer are too rough a measurement, unless they took so long that waiting for more would only cost refusals. */
const enough = { passed: 8, slowly: 2, millis: 5000 }

/** What the learned rate may catch up with when a timer came late, in milliseconds. */
const slack = 20

/** After so long without a refusal nothing that was learned is believed any more, in milliseconds. */
const forgetAfter = 600_000

/**
 * Where limits are known, a refusal says little about them; so many, each soon after the other, say that they are
 * wrong.
 */
const wrong = { count: 10, within: 20_000 }

// -----------------------------------------------------------------------------
// constructors
// -----------------------------------------------------------------------------

/**
 * Nothing learned yet. One for all, so that keys which never hear a refusal share it.
 *
 * @since 0.2.0
 * @category constructors
 */
export const fresh: AdaptiveRate = {
  pausedUntil: 0,
  streak: 0,
  strikes: 0,
  event: { at: Number.NEGATIVE_INFINITY, sent: 0, lost: 1 },
  anchor: undefined,
  // As if one had been sent, and lost: where nothing is counted until the first refusal, all are that one.
  sent: 1,
  sentAt: 0,
  round: SlowStart.first,
  patience: patience.start,
  rate: undefined
}

/**
 * Whether nothing is known that would be lost.
 *
 * @since 0.2.0
 * @category predicates
 */
export const isFresh = (self: AdaptiveRate): boolean => self.event.at === Number.NEGATIVE_INFINITY

/**
 * The same without what is too old to be believed.
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

const recoveryOf = (rate: Rate): number => Math.max(recovery.millis, recovery.requests / rate.plateau)

/** Fast at first, at the plateau after the recovery, and then beyond it, slowly at first. */
const perMilliOf = (rate: Rate): number => {
  const x = rate.grown / recoveryOf(rate) - 1
  return rate.plateau + (x < 0 ? rate.plateau - rate.low : rate.plateau * (1 - beta)) * x ** 3
}

const limitOf = (rate: Rate): Gcra.Limit => {
  const perMilli = perMilliOf(rate)
  return { limit: perMilli * 1000, windowMillis: 1000, burst: 1 + perMilli * slack }
}

/** Beyond the plateau only what is used grows. */
const grow = (rate: Rate, isWaited: boolean, elapsed: number, now: number): Rate => {
  const grown = rate.grown + Math.max(0, elapsed)
  const next = { ...rate, grown: isWaited ? grown : Math.min(grown, Math.max(rate.grown, recoveryOf(rate))) }
  const limit = limitOf(next)
  return { ...next, bucket: Gcra.take(limit, Gcra.change(limitOf(rate), limit, rate.bucket, now), 1, now) }
}

/** Requests each millisecond since the anchor: if refused ones do not count against the limit, and if they do. */
const measure = (anchor: Moment, mark: Mark): readonly [low: number, high: number] | undefined => {
  const sent = mark.sent - anchor.sent - 1
  const passed = mark.sent - anchor.sent - anchor.lost
  const elapsed = mark.at - anchor.at
  const isEnough = passed >= enough.passed || (passed >= enough.slowly && elapsed >= enough.millis)
  return isEnough && elapsed > 0 ? [passed / elapsed, sent / elapsed] : undefined
}

/**
 * The measurement is right for a bucket that saves up what is not sent; for one that does not, the rate is the one that
 * was refused. The plateau is between the two.
 */
const slowed = (
  rate: Rate | undefined,
  measured: readonly [low: number, high: number] | undefined,
  now: number
): Rate | undefined => {
  const bucket = { level: 0, at: now }
  if (measured === undefined) {
    if (rate === undefined) return undefined
    const refused = perMilliOf(rate)
    return { low: refused * blindBeta, plateau: refused * beta, grown: 0, bucket }
  }
  const most = rate === undefined ? measured[1] : perMilliOf(rate)
  const least = Math.min(measured[0], most)
  return { low: least * beta, plateau: Math.sqrt(least * most), grown: 0, bucket }
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
  self.rate === undefined ? undefined : { limit: limitOf(self.rate), bucket: self.rate.bucket }

// -----------------------------------------------------------------------------
// when one may be sent
// -----------------------------------------------------------------------------

const roundReadyAt = ({ patience, round }: AdaptiveRate, isKnown: boolean, now: number): number =>
  round === undefined || (isKnown && SlowStart.isOpenEnded(round)) ? now : SlowStart.readyAt(round, patience, now)

/**
 * The first millisecond at which one more may be sent. `isKnown`: whether limits are known from elsewhere.
 *
 * @since 0.2.0
 * @category getters
 */
export const readyAt = (self: AdaptiveRate, isKnown: boolean, now: number): number => {
  const at = roundReadyAt(self, isKnown, Math.max(now, self.pausedUntil))
  return self.rate === undefined ? at : Math.max(at, Gcra.readyAt(limitOf(self.rate), self.rate.bucket, 1, now))
}

/**
 * When so many can have been sent, at the earliest.
 *
 * @since 0.2.0
 * @category getters
 */
export const drainedAt = (self: AdaptiveRate, requests: number, now: number): number => {
  const from = Math.max(now, self.pausedUntil)
  if (self.rate === undefined) return from
  return Math.max(from, Gcra.drainedAt(limitOf(self.rate), self.rate.bucket, requests, now))
}

// -----------------------------------------------------------------------------
// what happens
// -----------------------------------------------------------------------------

/** Where limits are known, there is nothing to count before the first refusal. */
const isQuiet = (self: AdaptiveRate, isKnown: boolean): boolean => isKnown && isFresh(self)

/**
 * One is sent. `isKnown`: whether limits are known from elsewhere; `isWaited`: whether it, or another, had to wait for
 * that.
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
  // What nobody waits for does not show how much there would have been.
  anchor: isWaited ? self.anchor : undefined,
  sent: self.sent + 1,
  sentAt: now,
  round: self.round === undefined ? undefined : SlowStart.send(self.round, self.patience, now),
  patience: self.patience,
  rate: self.rate === undefined ? undefined : grow(self.rate, isWaited, now - self.sentAt, now)
})

/**
 * @since 0.2.0
 * @category getters
 */
export const mark = (self: AdaptiveRate, now: number): Mark => ({
  at: now,
  sent: self.sent,
  round: self.round?.id ?? 0
})

/**
 * One was answered, with anything but a refusal.
 *
 * @since 0.2.0
 * @category combinators
 */
export const answer = (self: AdaptiveRate, isKnown: boolean, mark: Mark, now: number): AdaptiveRate => {
  const { round } = self
  if (round === undefined || round.id !== mark.round || isQuiet(self, isKnown)) return self
  return { ...self, round: SlowStart.answer(round, now) }
}

/** Of those sent after a moment, one more did not get through. */
const lose = (moment: Moment, mark: Mark): Moment =>
  mark.sent > moment.sent ? { ...moment, lost: moment.lost + 1 } : moment

const lost = (self: AdaptiveRate, mark: Mark): AdaptiveRate => ({
  ...self,
  event: lose(self.event, mark),
  anchor: self.anchor === undefined ? undefined : lose(self.anchor, mark)
})

/**
 * One was not sent after all: its place is free again.
 *
 * @since 0.2.0
 * @category combinators
 */
export const withdraw = (self: AdaptiveRate, isKnown: boolean, mark: Mark, now: number): AdaptiveRate => {
  if (isQuiet(self, isKnown)) return self
  const next = answer(lost(self, mark), isKnown, mark, now)
  if (next.rate === undefined) return next
  return { ...next, rate: { ...next.rate, bucket: Gcra.giveBack(limitOf(next.rate), next.rate.bucket, 1, now) } }
}

/**
 * One was refused.
 *
 * @since 0.2.0
 * @category combinators
 */
export const refuse = (self: AdaptiveRate, mark: Mark, refusal: Refusal, now: number): AdaptiveRate => {
  const least = isFresh(self) ? patience.least : Math.max(patience.least, self.patience * 0.8)
  const waited = { ...self, patience: Math.min(patience.most, Math.max(least, (now - mark.at) * 2)) }
  const next = lost(waited, mark)
  return mark.sent > self.event.sent ? happen(next, mark, refusal, now) : paused(next, refusal, now)
}

const paused = (self: AdaptiveRate, refusal: Refusal, now: number): AdaptiveRate => {
  const { hint } = refusal
  // Without hints the refusals of one event are one pause.
  if (hint === undefined && self.pausedUntil > now) return self
  const first = self.rate === undefined ? pause.first : Math.max(pause.first, 1 / perMilliOf(self.rate))
  const backoff = Math.min(pause.most, first * 2 ** self.streak)
  // A hint that was kept, and was not enough, is not the whole truth.
  const wait = hint === undefined ? backoff : self.streak > 0 ? Math.max(hint, backoff) : hint
  return { ...self, pausedUntil: Math.max(self.pausedUntil, Math.ceil(now + wait + refusal.random * spread(wait))) }
}

/** A new event: it ends what was tried, and measures what the provider lets through. */
const happen = (self: AdaptiveRate, mark: Mark, refusal: Refusal, now: number): AdaptiveRate => {
  const through = mark.sent - self.event.sent - self.event.lost
  const isThrough = through > 0
  const strikes = now - self.event.at <= wrong.within ? self.strikes + 1 : 1
  const next = {
    ...self,
    strikes,
    // What took several pauses to end is likely to take as many again.
    streak: isThrough || isFresh(self) ? Math.floor(self.streak / 2) : self.streak + 1,
    event: { at: now, sent: self.sent, lost: 0 }
  }
  const taught = isThrough ? learn(next, mark, refusal.isKnown && strikes < wrong.count, now) : next
  // Where nothing else holds it back, a slow start must not run far beyond what there was room for.
  const bounds =
    refusal.isKnown || taught.rate !== undefined
      ? { doubleUntil: Number.POSITIVE_INFINITY, until: Math.max(2, refusal.inFlight) }
      : { doubleUntil: Math.max(2, through / 2), until: Number.POSITIVE_INFINITY }
  return paused({ ...taught, round: SlowStart.again(self.round, bounds, now) }, refusal, now)
}

const learn = (self: AdaptiveRate, mark: Mark, isIgnored: boolean, now: number): AdaptiveRate => {
  const here = { at: mark.at, sent: mark.sent, lost: 0 }
  const measured = isIgnored || self.anchor === undefined ? undefined : measure(self.anchor, mark)
  const rate = slowed(self.rate, measured, now)
  // A rough measurement goes on from where it began.
  const isRough = !isIgnored && self.anchor !== undefined && measured === undefined
  return { ...self, anchor: isRough ? self.anchor : here, rate }
}
