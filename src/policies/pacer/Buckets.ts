/**
 * The buckets of one key: one for each limit that the configuration or the headers tell. Pure.
 *
 * Each {@link Cost.Dimension} has a `Gcra` bucket, and a request takes from all of them together or from none. Where
 * configuration and headers disagree, the smaller rate and the smaller burst win. A request takes its estimated cost
 * when it goes; {@link reconcile} puts that right when its usage is known. `Reconcile` learns from headers and
 * refusals.
 *
 * Only a configured limit refuses a request for its size. Headers and estimates may be wrong, so they only hold it
 * back: a request that costs more than a bucket holds takes all of it, and goes when it is full. And where headers tell
 * the limit, one request goes an hour after the last one that the bucket heard of, whatever they told.
 *
 * Without it a known limit is found out again by refusals, and a token limit is broken by the first large prompts.
 *
 * @since 0.2.0
 */

import * as Times from "../Times.js"
import * as Cost from "./Cost.js"
import * as Gcra from "./Gcra.js"
import type * as HeaderLimit from "./HeaderLimit.js"
import * as Seen from "./Seen.js"

/**
 * The bucket of one limit in force.
 *
 * - `fromHeaders`: what headers told of the limit.
 * - `returned`: the share of an unused reservation that the provider was seen to give back, from 0 to 1.
 * - `inDoubt`: how much was given back here since the level was last found right.
 * - `withheld`: how much of unused reservations was not given back here.
 * - `seen`: the evidence of earlier responses about its window, while the window is a guess.
 *
 * @since 0.2.0
 * @category models
 */
export interface Part extends Gcra.Bucket {
  readonly limit: Gcra.Limit
  readonly source: "config" | "headers"
  readonly fromHeaders: HeaderLimit.HeaderLimit | undefined
  readonly returned: number
  readonly inDoubt: number
  readonly withheld: number
  readonly seen: Seen.Seen | undefined
}

/**
 * The configured limits.
 *
 * @since 0.2.0
 * @category models
 */
export type Config = { readonly [K in Cost.Dimension]?: Gcra.Limit | undefined }

/**
 * The buckets of one key. `spent` counts all that was ever taken, less what was given back.
 *
 * @since 0.2.0
 * @category models
 */
export interface Buckets {
  readonly config: Config
  readonly spent: Cost.Cost
  readonly parts: { readonly [K in Cost.Dimension]?: Part | undefined }
}

/**
 * The time at which a request was admitted, and what was spent until then, its own cost included.
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
 * A full bucket.
 *
 * @internal
 */
export const fresh = (limit: Gcra.Limit, source: Part["source"], now: number): Part => {
  const { at, level } = Gcra.full(limit, now)
  return { limit, source, fromHeaders: undefined, level, at, returned: 1, inDoubt: 0, withheld: 0, seen: undefined }
}

/**
 * Full buckets for the configured limits.
 *
 * @since 0.2.0
 * @category constructors
 */
export const make = (config: Config, now: number): Buckets => {
  const parts = Cost.each((name) => {
    const limit = config[name]
    return limit === undefined ? undefined : fresh(limit, "config", now)
  })
  return { config, spent: Cost.none, parts }
}

/**
 * The smaller rate and the smaller burst; of equal rates the configured one.
 *
 * @internal
 */
export const smaller = (
  config: Gcra.Limit | undefined,
  found: Gcra.Limit
): { readonly limit: Gcra.Limit; readonly source: Part["source"] } => {
  if (config === undefined) return { limit: found, source: "headers" }
  const source = Gcra.perMilli(found) < Gcra.perMilli(config) ? "headers" : "config"
  const slower = source === "headers" ? found : config
  const burst = Math.min(found.burst, config.burst)
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
export const isKnown = ({ parts }: Buckets): boolean => Cost.dimensions.some((name) => parts[name] !== undefined)

/** A request that costs more than a bucket holds takes all of it. */
const atMostAll = ({ limit }: Part, cost: number): number => Math.min(cost, limit.burst)

/**
 * The cost as the buckets take it: no part of it is more than its bucket holds.
 *
 * @since 0.2.0
 * @category getters
 */
export const fitted = ({ parts }: Buckets, cost: Cost.Cost): Cost.Cost => {
  for (const dimension of Cost.dimensions) {
    const part = parts[dimension]
    if (part === undefined || cost[dimension] <= part.limit.burst) continue
    return Cost.each((name) => {
      const part = parts[name]
      return part === undefined ? cost[name] : atMostAll(part, cost[name])
    })
  }
  return cost
}

/**
 * Whether every bucket holds its part of the cost now.
 *
 * @since 0.2.0
 * @category predicates
 */
export const admits = (self: Buckets, cost: Cost.Cost, now: number): boolean => readyAt(self, cost, now) <= now

/** Headers may tell anything. An hour after the last news of them one request finds out, as after a long pause. */
const longestWait = 3_600_000

/** The time from which one request may go ahead of what the bucket holds. */
const aheadAt = ({ at, limit, seen, source }: Part, now: number): number => {
  const probeAt = seen === undefined ? Number.POSITIVE_INFINITY : Seen.probeAt(seen)
  return source === "config" ? probeAt : Math.min(probeAt, Times.believed(at, now, limit.windowMillis) + longestWait)
}

/**
 * Whether the window of a limit is a guess that nothing was seen to confirm: then it does not tell how long a queue is.
 *
 * @internal
 */
export const isGuess = ({ fromHeaders, seen }: Part): boolean =>
  seen !== undefined && seen.failed === 0 && fromHeaders?.proven === undefined

/**
 * The first millisecond at which every bucket holds its part of the cost, or all that it can hold.
 *
 * @since 0.2.0
 * @category getters
 */
export const readyAt = (self: Buckets, cost: Cost.Cost, now: number): number => latest(self, cost, now, partReadyAt)

const partReadyAt: When = (part, cost, now) => {
  const at = Gcra.readyAt(part.limit, part, atMostAll(part, cost), now)
  return at <= now ? now : Math.min(at, Math.max(now, aheadAt(part, now)))
}

/**
 * The time at which so much can have been taken, one request after the other. A limit that is a guess does not count.
 *
 * @since 0.2.0
 * @category getters
 */
export const drainedAt = (self: Buckets, cost: Cost.Cost, now: number): number => latest(self, cost, now, partDrainedAt)

const partDrainedAt: When = (part, cost, now) => (isGuess(part) ? now : Gcra.drainedAt(part.limit, part, cost, now))

type When = (part: Part, cost: number, now: number) => number

const latest = ({ parts }: Buckets, cost: Cost.Cost, now: number, when: When): number =>
  Cost.dimensions.reduce((at, name) => {
    const part = parts[name]
    return part === undefined ? at : Math.max(at, when(part, cost[name], now))
  }, now)

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
 * The first configured limit that can never hold the cost, if there is one.
 *
 * @since 0.2.0
 * @category getters
 */
export const exceeded = ({ config }: Buckets, cost: Cost.Cost): Exceeded | undefined => {
  for (const dimension of Cost.dimensions) {
    const limit = config[dimension]
    const found = cost[dimension]
    if (limit !== undefined && !Gcra.fits(limit, found)) return { dimension, found, limit }
  }
  return undefined
}

/**
 * Whether every bucket is full, so that forgetting them changes nothing.
 *
 * @since 0.2.0
 * @category predicates
 */
export const isFull = ({ parts }: Buckets, now: number): boolean =>
  Cost.dimensions.every((name) => {
    const part = parts[name]
    return part === undefined || Gcra.levelAt(part.limit, part, now) >= part.limit.burst
  })

// -----------------------------------------------------------------------------
// changes
// -----------------------------------------------------------------------------

type Change = (part: Part, cost: number, now: number) => Part

const changed = ({ parts }: Buckets, cost: Cost.Cost, now: number, f: Change): Buckets["parts"] =>
  Cost.each((name) => {
    const part = parts[name]
    return part === undefined ? undefined : f(part, cost[name], now)
  })

/**
 * The same bucket at another level.
 *
 * @internal
 */
export const withLevel = (part: Part, { at, level }: Gcra.Bucket, seen: Part["seen"] = part.seen): Part => ({
  // Written out: an object of a spread with more behind it gets a hidden class of its own each time (Node 20).
  limit: part.limit,
  source: part.source,
  fromHeaders: part.fromHeaders,
  level,
  at,
  returned: part.returned,
  inDoubt: part.inDoubt,
  withheld: part.withheld,
  seen
})

/**
 * Takes the cost of a request, whether the buckets hold it or not.
 *
 * @since 0.2.0
 * @category combinators
 */
export const take = (self: Buckets, cost: Cost.Cost, now: number): Buckets => ({
  config: self.config,
  spent: Cost.plus(self.spent, cost),
  parts: changed(self, cost, now, taken)
})

const taken: Change = (part, cost, now) => {
  const { limit, seen } = part
  const isAhead = seen !== undefined && Seen.mayProbe(seen, now) && !Gcra.admits(limit, part, cost, now)
  return withLevel(part, Gcra.take(limit, part, cost, now), isAhead ? Seen.probed(seen, now) : seen)
}

/**
 * Gives back the cost of a request that did not run.
 *
 * @since 0.2.0
 * @category combinators
 */
export const giveBack = (self: Buckets, cost: Cost.Cost, now: number): Buckets => ({
  config: self.config,
  spent: Cost.plus(self.spent, cost, -1),
  parts: changed(self, cost, now, givenBack)
})

/**
 * Gives back the cost of a request that was never sent.
 *
 * @since 0.2.0
 * @category combinators
 */
export const withdraw = (self: Buckets, cost: Cost.Cost, now: number): Buckets => {
  const next = giveBack(self, cost, now)
  const parts = Cost.each((name) => {
    const part = next.parts[name]
    return part?.seen === undefined ? part : { ...part, seen: Seen.forgot(part.seen) }
  })
  return { ...next, parts }
}

const givenBack: Change = (part, cost, now) =>
  cost === 0 ? part : withLevel(part, Gcra.giveBack(part.limit, part, cost, now))

/** Rounding turns a share of nothing into one as small as this. */
const negligible = 0.1

/** How much of an unused reservation comes back. Below zero: how much was used beyond the reservation. */
const backOf = (part: Part | undefined, unused: number): number =>
  unused > 0 && part !== undefined ? unused * (part.returned < negligible ? 0 : part.returned) : unused

const reconciled: Change = (part, unused, now) => {
  if (unused === 0) return part
  if (unused < 0) return taken(part, -unused, now)
  const back = backOf(part, unused)
  const { at, level } = Gcra.giveBack(part.limit, part, back, now)
  return {
    limit: part.limit,
    source: part.source,
    fromHeaders: part.fromHeaders,
    level,
    at,
    returned: part.returned,
    inDoubt: part.inDoubt + back,
    withheld: Math.min(part.limit.burst, part.withheld + unused - back),
    seen: part.seen
  }
}

/**
 * Puts a reservation right when its usage is known: the unused part is given back as far as this provider gives it
 * back, and what was used beyond it becomes a debt.
 *
 * @since 0.2.0
 * @category combinators
 */
export const reconcile = (self: Buckets, reserved: Cost.Cost, used: Cost.Cost, now: number): Buckets => {
  const unused = Cost.plus(reserved, used, -1)
  const back = Cost.each((name) => backOf(self.parts[name], unused[name]))
  return { config: self.config, spent: Cost.plus(self.spent, back, -1), parts: changed(self, unused, now, reconciled) }
}
