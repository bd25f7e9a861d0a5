/**
 * What responses prove about an {@link Buckets}: their headers, and their refusals. Pure.
 *
 * A level is ours alone until a response says what remained. What we took since its request was admitted is not in its
 * headers, so that is taken off first; and headers may be written when the request comes or when the answer leaves, so
 * the better of the two readings counts. So no stale header costs anything, and ten that tell of the same loss cost it
 * once.
 *
 * Headers also show whether a provider gives back what was reserved and not used: OpenAI and Azure charge what a
 * request might use, others what it did use.
 *
 * @since 0.2.0
 */
import * as Buckets from "./Buckets.js"
import * as Cost from "./Cost.js"
import * as Gcra from "./Gcra.js"
import * as HeaderLimit from "./HeaderLimit.js"
import type { Limit, Limits } from "./RateLimits.js"

type Part = Buckets.Part

// -----------------------------------------------------------------------------
// headers
// -----------------------------------------------------------------------------

/** Below this there is nothing to learn from a difference: what remains is rounded. */
const noise = 1

/**
 * Where less is left than was thought, what was given back in the meantime may have been the reason: half of that is
 * believed.
 */
const lower = (part: Part, most: number, now: number): Part => {
  const surplus = Gcra.levelAt(part.limit, part, now) - most
  if (surplus <= 0) return part
  const lowered = Buckets.withLevel(part, Gcra.atMost(part.limit, part, most, now))
  if (surplus <= noise) return lowered
  const wrong = part.inDoubt > 0 ? Math.min(1, surplus / part.inDoubt) : 0
  return { ...lowered, returned: part.returned * (1 - wrong / 2), inDoubt: 0 }
}

/** Where more is left than we think, it is what was withheld: that much was given back after all. */
const raise = (part: Part, missing: number, now: number): Part => ({
  ...part,
  ...Gcra.giveBack(part.limit, part, missing, now),
  returned: part.returned + ((1 - part.returned) * missing) / part.withheld / 2,
  withheld: part.withheld - missing
})

/** A limit becomes known, or known better. */
const underTold = (
  part: Part | undefined,
  config: Gcra.Limit | undefined,
  known: HeaderLimit.HeaderLimit,
  now: number
): Part => {
  const { limit, source } = Buckets.smaller(config, known.bound)
  const before = part ?? Buckets.fresh(limit, source, now)
  const { at, level } = Gcra.change(before.limit, limit, before, now)
  return {
    limit,
    source,
    told: known,
    level,
    at,
    // From here on headers prove what is given back; until they do, nothing is.
    returned: before.told === undefined ? 0 : before.returned,
    inDoubt: before.inDoubt,
    withheld: before.withheld
  }
}

/** A header with the configured number speaks of the configured limit, whatever its window is documented to be. */
const documentedOf = (config: Gcra.Limit | undefined, header: Limit): number =>
  config !== undefined && config.limit === header.limit
    ? config.windowMillis
    : (header.windowMillis ?? HeaderLimit.minute)

/** One limit after a response; `since` is what was spent after its request, of that cost, was admitted `millis` ago. */
const heard = (
  before: Part | undefined,
  config: Gcra.Limit | undefined,
  header: Limit | undefined,
  cost: number,
  since: number,
  millis: number,
  now: number
): Part | undefined => {
  if (header === undefined) return before
  const known = HeaderLimit.tell(before?.told, header, documentedOf(config, header), now)
  const part = known === undefined || known === before?.told ? before : underTold(before, config, known, now)
  const remaining = HeaderLimit.remainingOf(header)
  if (part === undefined || remaining === undefined) return part
  const refilled = Math.min(part.limit.burst, remaining + Math.max(0, millis) * Gcra.perMilli(part.limit))
  const then = refilled - since
  // A refused request is not in its headers either, and whether it was refused is not known yet.
  const least = Math.min(then, remaining) - cost
  const missing = Math.min(part.withheld, least - Gcra.levelAt(part.limit, part, now))
  return missing > noise ? raise(part, missing, now) : lower(part, Math.max(then, remaining), now)
}

/** What a header gave back is not spent after all. */
const raised = (before: Part | undefined, after: Part | undefined): number =>
  before === undefined || after === undefined ? 0 : before.withheld - after.withheld

/**
 * What a response told of the limits, and of what remained of them when its request, of that mark and cost, was
 * admitted or refused.
 *
 * @since 0.2.0
 * @category combinators
 */
export const told = (
  self: Buckets.Buckets,
  mark: Buckets.Mark,
  cost: Cost.Cost,
  limits: Limits,
  now: number
): Buckets.Buckets => {
  const { config, parts, spent } = self
  const since = Cost.plus(spent, mark.spent, -1)
  const millis = now - mark.at
  const { inputTokens, outputTokens, requests } = limits
  // Anthropic's sum of both is what its separate limits leave, and counts what was read from the cache unlike they do.
  const tokens = inputTokens === undefined && outputTokens === undefined ? limits.tokens : undefined
  const next = {
    requests: heard(parts.requests, config.requests, requests, cost.requests, since.requests, millis, now),
    tokens: heard(parts.tokens, config.tokens, tokens, cost.tokens, since.tokens, millis, now),
    inputTokens: heard(
      parts.inputTokens,
      config.inputTokens,
      inputTokens,
      cost.inputTokens,
      since.inputTokens,
      millis,
      now
    ),
    outputTokens: heard(
      parts.outputTokens,
      config.outputTokens,
      outputTokens,
      cost.outputTokens,
      since.outputTokens,
      millis,
      now
    )
  }
  if (
    next.requests === parts.requests &&
    next.tokens === parts.tokens &&
    next.inputTokens === parts.inputTokens &&
    next.outputTokens === parts.outputTokens
  ) {
    return self
  }
  const back = {
    requests: raised(parts.requests, next.requests),
    tokens: raised(parts.tokens, next.tokens),
    inputTokens: raised(parts.inputTokens, next.inputTokens),
    outputTokens: raised(parts.outputTokens, next.outputTokens)
  }
  return { config, spent: Cost.plus(spent, back, -1), parts: next }
}

// -----------------------------------------------------------------------------
// refusals
// -----------------------------------------------------------------------------

/**
 * So much of the cost of a refused request is kept free from then on where tokens are counted: estimates are off by
 * something like it, and a level that is a little too low costs a little of the burst once, but nothing of the rate.
 */
const margin = 0.5

/** The dimension that a refusal speaks of; where it names none, the one that is nearest to empty. */
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

/**
 * What a refusal teaches. Its tokens come back. Whether its place does is not known (OpenAI's does not), so that is
 * withheld until a header shows it; or the hint says it: when the request of that mark came, a bucket held less than
 * its cost, by what refills until the hint is over. `hint` is in milliseconds.
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
  const next = isPlaceKnown
    ? Buckets.giveBack(self, cost, now)
    : withhold(Buckets.giveBack(self, Cost.tokensOnly(cost), now), cost)
  const part = name === undefined ? undefined : next.parts[name]
  if (name === undefined || part === undefined) return next
  const millis = Math.max(0, now - mark.at) - (hint ?? 0)
  // A pause stands for a hint that is longer than the bucket takes to fill.
  const refilled = Math.max(-part.limit.burst, millis * Gcra.perMilli(part.limit))
  // What was sent after it may have been refused as well, and then it took nothing.
  const empty = Math.max(refilled - (self.spent[name] - mark.spent[name]), Math.min(refilled, 0))
  const most = name !== "requests" ? empty + cost[name] * (1 - margin) : isPlaceKnown ? empty + cost[name] : empty
  const bucket = Gcra.atMost(part.limit, part, most, now)
  return { ...next, parts: { ...next.parts, [name]: Buckets.withLevel(part, bucket) } }
}
