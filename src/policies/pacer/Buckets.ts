/**
 * What one key may still take, by the limits that are known: those of the configuration and those that headers tell.
 * Pure.
 *
 * Each {@link Cost.Dimension} has a `Gcra` bucket of its own, and a request is admitted by all of them together or not
 * at all. Where configuration and headers disagree, the smaller rate and the smaller burst win. What a request might
 * cost is taken when it goes, and put right when it is known; what responses prove beyond that stands in `Remaining`.
 *
 * @since 0.2.0
 */
import type * as Types from "effect/Types"
import * as Cost from "./Cost.js"
import * as Gcra from "./Gcra.js"
import * as HeaderLimit from "./HeaderLimit.js"

/**
 * The bucket of one limit in force. `returned` is the share of an unused reservation that the provider proved to give
 * back; `inDoubt` is what was given back since the level was last found right, `withheld` what was not.
 *
 * @since 0.2.0
 * @category models
 */
export interface Part extends Gcra.Bucket {
  readonly limit: Gcra.Limit
  readonly source: "config" | "headers"
  readonly told: HeaderLimit.HeaderLimit | undefined
  readonly returned: number
  readonly inDoubt: number
  readonly withheld: number
}

/**
 * The configured limits.
 *
 * @since 0.2.0
 * @category models
 */
export type Config = { readonly [K in Cost.Dimension]?: Gcra.Limit | undefined }

/**
 * What is known of each dimension; every one has its place, so that all are of one shape for the engine.
 *
 * @since 0.2.0
 * @category models
 */
export type Parts = { readonly [K in Cost.Dimension]: Part | undefined }

/**
 * What is known of one key. `spent` counts everything that was ever taken, less what was given back.
 *
 * @since 0.2.0
 * @category models
 */
export interface Buckets {
  readonly config: Config
  readonly spent: Cost.Cost
  readonly parts: Parts
}

/**
 * What was known when a request was admitted.
 *
 * @since 0.2.0
 * @category models
 */
export interface Mark {
  readonly at: number
  readonly spent: Cost.Cost
}

// -----------------------------------------------------------------------------
// constructors
// -----------------------------------------------------------------------------

/**
 * A limit that nothing was taken from.
 *
 * @internal
 */
export const fresh = (limit: Gcra.Limit, source: Part["source"], now: number): Part => {
  const { at, level } = Gcra.full(limit, now)
  return { limit, source, told: undefined, level, at, returned: 1, inDoubt: 0, withheld: 0 }
}

/**
 * Nothing taken yet.
 *
 * @since 0.2.0
 * @category constructors
 */
export const make = (config: Config, now: number): Buckets => {
  const part = (limit: Gcra.Limit | undefined) => (limit === undefined ? undefined : fresh(limit, "config", now))
  const parts = {
    requests: part(config.requests),
    tokens: part(config.tokens),
    inputTokens: part(config.inputTokens),
    outputTokens: part(config.outputTokens)
  }
  return { config, spent: Cost.none, parts }
}

/**
 * The smaller rate and the smaller burst; of equal rates the configured one.
 *
 * @internal
 */
export const smaller = (
  config: Gcra.Limit | undefined,
  told: Gcra.Limit
): { readonly limit: Gcra.Limit; readonly source: Part["source"] } => {
  if (config === undefined) return { limit: told, source: "headers" }
  const source = Gcra.perMilli(told) < Gcra.perMilli(config) ? "headers" : "config"
  const slower = source === "headers" ? told : config
  const burst = Math.min(told.burst, config.burst)
  return { limit: burst === slower.burst ? slower : { ...slower, burst }, source }
}

// -----------------------------------------------------------------------------
// questions
// -----------------------------------------------------------------------------

/**
 * Whether any limit is known.
 *
 * @since 0.2.0
 * @category predicates
 */
export const isKnown = ({ parts }: Buckets): boolean =>
  parts.requests !== undefined ||
  parts.tokens !== undefined ||
  parts.inputTokens !== undefined ||
  parts.outputTokens !== undefined

/**
 * Whether every bucket holds its part of the cost now.
 *
 * @since 0.2.0
 * @category predicates
 */
export const admits = ({ parts }: Buckets, cost: Cost.Cost, now: number): boolean =>
  holds(parts.requests, cost.requests, now) &&
  holds(parts.tokens, cost.tokens, now) &&
  holds(parts.inputTokens, cost.inputTokens, now) &&
  holds(parts.outputTokens, cost.outputTokens, now)

const holds = (part: Part | undefined, cost: number, now: number): boolean =>
  part === undefined || Gcra.admits(part.limit, part, cost, now)

/**
 * The first millisecond at which every bucket does; `Infinity` if one never will.
 *
 * @since 0.2.0
 * @category getters
 */
export const readyAt = (self: Buckets, cost: Cost.Cost, now: number): number => latest(self, cost, now, Gcra.readyAt)

/**
 * When so much can have been taken, one request after the other.
 *
 * @since 0.2.0
 * @category getters
 */
export const drainedAt = (self: Buckets, cost: Cost.Cost, now: number): number =>
  latest(self, cost, now, Gcra.drainedAt)

const latest = ({ parts }: Buckets, cost: Cost.Cost, now: number, when: typeof Gcra.readyAt): number =>
  Math.max(
    at(parts.requests, cost.requests, now, when),
    at(parts.tokens, cost.tokens, now, when),
    at(parts.inputTokens, cost.inputTokens, now, when),
    at(parts.outputTokens, cost.outputTokens, now, when)
  )

const at = (part: Part | undefined, cost: number, now: number, when: typeof Gcra.readyAt): number =>
  part === undefined ? now : when(part.limit, part, cost, now)

/**
 * A cost that a bucket can never hold.
 *
 * @since 0.2.0
 * @category models
 */
export interface Exceeded {
  readonly dimension: Cost.Dimension
  readonly found: number
  readonly limit: Gcra.Limit
}

/**
 * The limit that such a cost can never meet, if there is one.
 *
 * @since 0.2.0
 * @category getters
 */
export const exceeded = ({ parts }: Buckets, cost: Cost.Cost): Exceeded | undefined =>
  exceeding("requests", parts.requests, cost.requests) ??
  exceeding("tokens", parts.tokens, cost.tokens) ??
  exceeding("inputTokens", parts.inputTokens, cost.inputTokens) ??
  exceeding("outputTokens", parts.outputTokens, cost.outputTokens)

const exceeding = (dimension: Cost.Dimension, part: Part | undefined, found: number): Exceeded | undefined =>
  part === undefined || Gcra.fits(part.limit, found) ? undefined : { dimension, found, limit: part.limit }

/**
 * Whether every bucket is full, so that forgetting them changes nothing.
 *
 * @since 0.2.0
 * @category predicates
 */
export const isFull = (self: Buckets, now: number): boolean =>
  Cost.dimensions.every((name) => {
    const part = self.parts[name]
    return part === undefined || Gcra.levelAt(part.limit, part, now) >= part.limit.burst
  })

// -----------------------------------------------------------------------------
// changes
// -----------------------------------------------------------------------------

type Change = (part: Part, cost: number, now: number) => Part

const changed = (part: Part | undefined, cost: number, now: number, f: Change): Part | undefined =>
  part === undefined ? undefined : f(part, cost, now)

const each = ({ parts }: Buckets, cost: Cost.Cost, now: number, f: Change): Parts => ({
  requests: changed(parts.requests, cost.requests, now, f),
  tokens: changed(parts.tokens, cost.tokens, now, f),
  inputTokens: changed(parts.inputTokens, cost.inputTokens, now, f),
  outputTokens: changed(parts.outputTokens, cost.outputTokens, now, f)
})

/**
 * The same with so much in the bucket.
 *
 * @internal
 */
export const withLevel = (part: Part, { at, level }: Gcra.Bucket): Part => ({
  limit: part.limit,
  source: part.source,
  told: part.told,
  level,
  at,
  returned: part.returned,
  inDoubt: part.inDoubt,
  withheld: part.withheld
})

/**
 * Takes the cost of a request, whether it is there or not.
 *
 * @since 0.2.0
 * @category combinators
 */
export const take = (self: Buckets, cost: Cost.Cost, now: number): Buckets => ({
  config: self.config,
  spent: Cost.plus(self.spent, cost),
  parts: each(self, cost, now, taken)
})

const taken: Change = (part, cost, now) => withLevel(part, Gcra.take(part.limit, part, cost, now))

/**
 * Gives back what a request that did not run was to cost.
 *
 * @since 0.2.0
 * @category combinators
 */
export const giveBack = (self: Buckets, cost: Cost.Cost, now: number): Buckets => ({
  config: self.config,
  spent: Cost.plus(self.spent, cost, -1),
  parts: each(self, cost, now, givenBack)
})

const givenBack: Change = (part, cost, now) =>
  cost === 0 ? part : withLevel(part, Gcra.giveBack(part.limit, part, cost, now))

/** A share as small as this is what rounding makes of none. */
const negligible = 0.1

/** How much of what was reserved comes back: below zero, what was used beyond it. */
const backOf = (part: Part | undefined, unused: number): number =>
  unused > 0 && part !== undefined ? unused * (part.returned < negligible ? 0 : part.returned) : unused

const reconciled: Change = (part, unused, now) => {
  if (unused === 0) return part
  const back = backOf(part, unused)
  if (unused < 0) return taken(part, -unused, now)
  const { at, level } = Gcra.giveBack(part.limit, part, back, now)
  return {
    limit: part.limit,
    source: part.source,
    told: part.told,
    level,
    at,
    returned: part.returned,
    inDoubt: part.inDoubt + back,
    withheld: Math.min(part.limit.burst, part.withheld + unused - back)
  }
}

/**
 * Puts right what was reserved when it is known what was used: what was not used is given back as far as this provider
 * gives it back, and what was used beyond it becomes a debt.
 *
 * @since 0.2.0
 * @category combinators
 */
export const reconcile = (self: Buckets, reserved: Cost.Cost, used: Cost.Cost, now: number): Buckets => {
  const { config, parts, spent } = self
  const unused = Cost.plus(reserved, used, -1)
  const back = {
    requests: backOf(parts.requests, unused.requests),
    tokens: backOf(parts.tokens, unused.tokens),
    inputTokens: backOf(parts.inputTokens, unused.inputTokens),
    outputTokens: backOf(parts.outputTokens, unused.outputTokens)
  }
  return { config, spent: Cost.plus(spent, back, -1), parts: each(self, unused, now, reconciled) }
}

// -----------------------------------------------------------------------------
// what is kept
// -----------------------------------------------------------------------------

/**
 * One that is written in place: see `PacerState.Kept`.
 *
 * @internal
 */
export interface Kept extends Buckets {
  readonly spent: Types.Mutable<Cost.Cost>
  readonly parts: { [K in Cost.Dimension]: KeptPart | undefined }
}

interface KeptPart extends Types.Mutable<Part> {
  told: HeaderLimit.Kept | undefined
}

/**
 * A copy to be written in place.
 *
 * @internal
 */
export const kept = ({ config, parts, spent }: Buckets): Kept => ({
  config,
  spent: Cost.plus(spent, Cost.none),
  parts: {
    requests: overPart(undefined, parts.requests),
    tokens: overPart(undefined, parts.tokens),
    inputTokens: overPart(undefined, parts.inputTokens),
    outputTokens: overPart(undefined, parts.outputTokens)
  }
})

/**
 * Writes what is known now over what was known before.
 *
 * @internal
 */
export const overwrite = ({ parts, spent }: Kept, next: Buckets): void => {
  // Written out: to store by a name in a variable is slow (Node 20).
  spent.requests = next.spent.requests
  spent.tokens = next.spent.tokens
  spent.inputTokens = next.spent.inputTokens
  spent.outputTokens = next.spent.outputTokens
  parts.requests = overPart(parts.requests, next.parts.requests)
  parts.tokens = overPart(parts.tokens, next.parts.tokens)
  parts.inputTokens = overPart(parts.inputTokens, next.parts.inputTokens)
  parts.outputTokens = overPart(parts.outputTokens, next.parts.outputTokens)
}

const overPart = (kept: KeptPart | undefined, next: Part | undefined): KeptPart | undefined => {
  if (kept === next || next === undefined) return next === undefined ? undefined : kept
  if (kept === undefined) {
    const { at, inDoubt, level, limit, returned, source, withheld } = next
    // Written out, as in `HeaderLimit`: to write over numbers that a spread copied is slow (Node 20).
    return { limit, source, told: HeaderLimit.overwrite(undefined, next.told), level, at, returned, inDoubt, withheld }
  }
  kept.limit = Gcra.shared(kept.limit, next.limit)
  kept.source = next.source
  kept.told = HeaderLimit.overwrite(kept.told, next.told)
  kept.level = next.level
  kept.at = next.at
  kept.returned = next.returned
  kept.inDoubt = next.inDoubt
  kept.withheld = next.withheld
  return kept
}
