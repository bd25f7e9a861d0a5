/**
 * The corrections that responses make to {@link Buckets}: by their headers, and by refusals. Pure.
 *
 * A level counts our own requests alone until a header tells the rest. The header does not know the requests that went
 * after its own, so their cost is taken off first. A provider may write headers when the request comes or when the
 * answer leaves, so the larger of both readings counts. So a late header costs nothing, and ten that tell of one loss
 * cost it once.
 *
 * Headers also show whether a provider gives unused reservations back: OpenAI and Azure charge the most that a request
 * might use, others its real usage.
 *
 * Without it the pacer does not notice other processes under the same key, nor a provider that charges reservations.
 *
 * @since 0.2.0
 */

import * as Buckets from "./Buckets.js"
import * as Cost from "./Cost.js"
import * as Gcra from "./Gcra.js"
import * as HeaderLimit from "./HeaderLimit.js"
import type * as RateLimits from "./RateLimits.js"
import * as Seen from "./Seen.js"

// -----------------------------------------------------------------------------
// headers
// -----------------------------------------------------------------------------

/** A smaller difference teaches nothing, because headers are rounded. */
const noise = 1

/**
 * Less is left than the level says. The reason may be that too much was given back here: half of that is believed.
 */
const lower = (part: Buckets.Part, most: number, now: number): Buckets.Part => {
  const surplus = Gcra.levelAt(part.limit, part, now) - most
  if (surplus <= 0) return part
  const lowered = Buckets.withLevel(part, Gcra.atMost(part.limit, part, most, now))
  if (surplus <= noise) return lowered
  const wrong = part.inDoubt > 0 ? Math.min(1, surplus / part.inDoubt) : 0
  return { ...lowered, returned: part.returned * (1 - wrong / 2), inDoubt: 0 }
}

/** More is left than the level says: the provider gave back some of what is withheld here. */
const raise = (part: Buckets.Part, missing: number, now: number): Buckets.Part => ({
  ...part,
  ...Gcra.giveBack(part.limit, part, missing, now),
  returned: part.returned + ((1 - part.returned) * missing) / part.withheld / 2,
  withheld: part.withheld - missing
})

/** The bucket under the limit that headers tell. */
const limited = (
  part: Buckets.Part | undefined,
  config: Gcra.Limit | undefined,
  fromHeaders: HeaderLimit.HeaderLimit,
  now: number
): Buckets.Part => {
  const { limit, source } = Buckets.smaller(config, fromHeaders.bound)
  const before = part ?? Buckets.fresh(limit, source, now)
  const { at, level } = Gcra.change(before.limit, limit, before, now)
  return {
    limit,
    source,
    fromHeaders,
    level,
    at,
    // From here on headers show how much is given back; until they do, nothing is.
    returned: before.fromHeaders === undefined ? 0 : before.returned,
    inDoubt: before.inDoubt,
    withheld: before.withheld,
    seen: before.seen
  }
}

/** The documented window; a header with the configured number means the configured limit. */
const documentedOf = (config: Gcra.Limit | undefined, header: RateLimits.Limit): number =>
  config !== undefined && config.limit === header.limit
    ? config.windowMillis
    : (header.windowMillis ?? HeaderLimit.minute)

/** A request was admitted at that time for `cost`. `before` was spent until it went, and `spent` until now. */
interface Sent {
  readonly cost: number
  readonly at: number
  readonly before: number
  readonly spent: number
}

/** Nothing is guessed of a configured limit, nor of one whose headers agree with each other. */
const isGuessed = (config: Gcra.Limit | undefined, known: HeaderLimit.HeaderLimit | undefined): boolean =>
  config === undefined && known !== undefined && !known.isFound

/** The bucket after what was seen of a limit that headers tell, where its window is a guess. */
const learned = (
  part: Buckets.Part,
  header: RateLimits.Limit,
  remaining: number,
  sent: Sent,
  isExact: boolean,
  now: number
): Buckets.Part => {
  const before = part.fromHeaders
  if (before === undefined || before.isFound) return part.seen === undefined ? part : { ...part, seen: undefined }
  const response = {
    remaining,
    reset: HeaderLimit.resetOf(header),
    sentAt: sent.at,
    spentThen: sent.before,
    spentNow: sent.spent,
    isExact
  }
  const { isMore, seen, windowMillis } = Seen.hear(part.seen ?? Seen.nothing, before.bound, response, now)
  const next =
    windowMillis === undefined ? part : limited(part, undefined, HeaderLimit.proven(before, windowMillis), now)
  const left = Math.min(next.limit.burst, remaining - (sent.spent - sent.before))
  const isRaised = isMore && left >= noise && left > Gcra.levelAt(next.limit, next, now) + noise
  if (isRaised) return Buckets.withLevel(next, { level: left, at: Math.max(now, next.at) }, seen)
  // Nothing is left: whatever the reset means, nothing is promised before it. It is counted from when the request came.
  const held = isExact && remaining < 1 && sent.at === seen.toldAt ? sent.at + (response.reset ?? 0) - now : 0
  if (held <= 0) return Buckets.withLevel(next, next, seen)
  const most = -Math.min(next.limit.burst, held * Gcra.perMilli(next.limit))
  return Buckets.withLevel(next, Gcra.atMost(next.limit, next, most, now), seen)
}

/** One bucket after the header of a response. */
const corrected = (
  before: Buckets.Part | undefined,
  config: Gcra.Limit | undefined,
  header: RateLimits.Limit | undefined,
  sent: Sent,
  isExact: boolean,
  now: number
): Buckets.Part | undefined => {
  if (header === undefined) return before
  const { cost } = sent
  const since = sent.spent - sent.before
  const known = HeaderLimit.observe(before?.fromHeaders, header, documentedOf(config, header), now)
  const part = known === undefined || known === before?.fromHeaders ? before : limited(before, config, known, now)
  const remaining = HeaderLimit.remainingOf(header)
  if (part === undefined || remaining === undefined) return part
  const refilled = Math.min(part.limit.burst, remaining + Math.max(0, now - sent.at) * Gcra.perMilli(part.limit))
  const then = refilled - since
  // The headers of a refused request do not count it, and whether it was refused is not known yet.
  const least = Math.min(then, remaining) - cost
  const missing = Math.min(part.withheld, least - Gcra.levelAt(part.limit, part, now))
  // What went before the first header is not in a bucket that is new.
  const isNew = before === undefined
  const most = isNew ? Math.max(0, then) : Math.max(then, remaining)
  const next = missing > noise ? raise(part, missing, now) : lower(part, most, now)
  return isGuessed(config, known) || next.seen !== undefined
    ? learned(next, header, remaining, sent, isExact, now)
    : next
}

/**
 * The buckets after the headers of a response, whose request was admitted with that mark and cost.
 *
 * @since 0.2.0
 * @category combinators
 */
export const observe = (
  self: Buckets.Buckets,
  mark: Buckets.Mark,
  cost: Cost.Cost,
  headers: RateLimits.Limits,
  now: number
): Buckets.Buckets => {
  const { config, spent } = self
  // Anthropic's sum of both is the rest of its separate limits, and unlike them it counts tokens read from the cache.
  const isSplit = headers.inputTokens !== undefined || headers.outputTokens !== undefined
  const parts = Cost.each((name) => {
    const header = isSplit && name === "tokens" ? undefined : headers[name]
    const sent = { cost: cost[name], at: mark.at, before: mark.spent[name], spent: spent[name] }
    return corrected(self.parts[name], config[name], header, sent, name === "requests", now)
  })
  if (Cost.dimensions.every((name) => parts[name] === self.parts[name])) return self
  // A raised bucket gave back some of its reservations, so they are not spent after all.
  const back = Cost.each((name) => (self.parts[name]?.withheld ?? 0) - (parts[name]?.withheld ?? 0))
  return { config, spent: Cost.plus(spent, back, -1), parts }
}

// -----------------------------------------------------------------------------
// refusals
// -----------------------------------------------------------------------------

/**
 * The share of the cost of a refused request that is kept free where tokens are counted. Estimates are about as wrong,
 * and a level that is a little too low costs a little of the burst once, but nothing of the rate.
 */
const margin = 0.5

/** The dimension that a refusal names; where it names none, the one that is nearest to empty. */
const refusing = (
  self: Buckets.Buckets,
  scope: "requests" | "tokens" | undefined,
  now: number
): Cost.Dimension | undefined => {
  let nearest: Cost.Dimension | undefined
  let least = Number.POSITIVE_INFINITY
  for (const name of Cost.dimensions) {
    const part = self.parts[name]
    if (part === undefined || (scope !== undefined && (name === "requests") !== (scope === "requests"))) continue
    const level = Gcra.levelAt(part.limit, part, now) / part.limit.burst
    if (level >= least) continue
    nearest = name
    least = level
  }
  return nearest
}

const withhold = (self: Buckets.Buckets, cost: Cost.Cost): Buckets.Buckets => {
  const { requests } = self.parts
  if (requests === undefined) return self
  const withheld = Math.min(requests.limit.burst, requests.withheld + cost.requests)
  return { ...self, parts: { ...self.parts, requests: { ...requests, withheld } } }
}

/** What was seen, after a refusal: it may have been a probe, and it took no place. */
const unproven = (self: Buckets.Buckets, mark: Buckets.Mark, lost: number, now: number): Buckets.Buckets => {
  const parts = Cost.each((name) => {
    const part = self.parts[name]
    if (part?.seen === undefined) return part
    return Buckets.withLevel(part, part, Seen.refused(part.seen, mark.at, name === "requests" ? lost : 0, now))
  })
  return { ...self, parts }
}

/**
 * The buckets after a refusal. The tokens of the request come back. Its place may not (with OpenAI it does not), so
 * that is withheld until a header shows it, or the hint: when the request came, the bucket was short of its cost by the
 * refill of the hint's time. `hint` is in milliseconds.
 *
 * @since 0.2.0
 * @category combinators
 */
export const refused = (
  self: Buckets.Buckets,
  mark: Buckets.Mark,
  cost: Cost.Cost,
  refusal: { readonly scope: "requests" | "tokens" | undefined; readonly hint: number | undefined },
  now: number
): Buckets.Buckets => {
  const { hint, scope } = refusal
  const name = refusing(self, scope, now)
  const isPlaceKnown = name === "requests" && hint !== undefined
  const next = unproven(
    isPlaceKnown
      ? Buckets.giveBack(self, cost, now)
      : withhold(Buckets.giveBack(self, Cost.tokensOnly(cost), now), cost),
    mark,
    isPlaceKnown ? 0 : cost.requests,
    now
  )
  const part = name === undefined ? undefined : next.parts[name]
  if (name === undefined || part === undefined) return next
  const millis = Math.max(0, now - mark.at) - (hint ?? 0)
  // A hint longer than the bucket takes to fill is left to the pause.
  const refilled = Math.max(-part.limit.burst, millis * Gcra.perMilli(part.limit))
  // Requests after it may have been refused as well, and then took nothing.
  const empty = Math.max(refilled - (self.spent[name] - mark.spent[name]), Math.min(refilled, 0))
  const most = name !== "requests" ? empty + cost[name] * (1 - margin) : isPlaceKnown ? empty + cost[name] : empty
  const bucket = Gcra.atMost(part.limit, part, most, now)
  return { ...next, parts: { ...next.parts, [name]: Buckets.withLevel(part, bucket) } }
}
