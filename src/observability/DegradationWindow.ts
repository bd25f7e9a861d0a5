/**
 * A rolling window over the samples of one target, in slots of time. Plain data: what stands in a slot does not depend
 * on the order in which it came.
 *
 * @internal
 */

import type { Sample } from "./CallSample.js"

/**
 * The figures of a target over the window.
 *
 * @since 0.2.0
 * @category models
 */
export interface Figures {
  /** The calls that were meant for the target. Callers' mistakes and interrupted calls are left out. */
  readonly calls: number
  /** The calls that its first attempt served. */
  readonly first: number
  /** The calls that a later attempt served. */
  readonly later: number
  /** The calls whose first attempt failed, and which nothing served. */
  readonly failed: number
  /** The share of the calls that needed a second attempt: `(later + failed) / calls`; 0 without calls. */
  readonly share: number
  /** The share of those that a second attempt served: `later / (later + failed)`; 1 if none needed it. */
  readonly rescued: number
  /** The 95th percentile of the time that backoff and queues added to a call, in milliseconds; up to 9 % too long. */
  readonly addedP95Millis: number
  /** The sum of the waits before retries, in milliseconds. */
  readonly backoffMillis: number
  /** The sum of the waits for our own gates, in milliseconds. */
  readonly queuedMillis: number
  /** The known cost of the calls, in US dollars. */
  readonly usd: number
  /** The part of it that went to attempts without use. */
  readonly wastedUsd: number
  /** How often each error was the first one, by tag; `hedge` counts the hedges that won. */
  readonly reasons: Readonly<Record<string, number>>
}

/** @internal */
export interface Slot {
  first: number
  later: number
  failed: number
  backoffMillis: number
  queuedMillis: number
  usd: number
  wastedUsd: number
  readonly reasons: Map<string, number>
  /** The calls by the bucket of the time that was added to them. */
  readonly added: Map<number, number>
}

/** By the number of the slot since the epoch of the clock. */
export type Slots = Map<number, Slot>

/** Eight buckets for each doubling, up to 2^32 milliseconds: bounded memory, and a percentile 9 % too long at most. */
const perDoubling = 8

const longest = 32 * perDoubling

/** 0 has a bucket of its own. */
const bucketOf = (millis: number): number =>
  millis > 0 ? Math.max(1, Math.min(longest, Math.ceil(Math.log2(millis) * perDoubling) + 1)) : 0

const edge = (bucket: number): number => (bucket === 0 ? 0 : 2 ** ((bucket - 1) / perDoubling))

/** There are 16 tags. Other reasons are the application's, and may be any text. */
const mostReasons = 24

const other = "other"

const count = <K>(counts: Map<K, number>, key: K, by = 1): void => void counts.set(key, (counts.get(key) ?? 0) + by)

const empty = (): Slot => ({
  first: 0,
  later: 0,
  failed: 0,
  backoffMillis: 0,
  queuedMillis: 0,
  usd: 0,
  wastedUsd: 0,
  reasons: new Map(),
  added: new Map()
})

/** @internal */
export const add = (slots: Slots, at: number, sample: Sample): void => {
  let slot = slots.get(at)
  if (slot === undefined) {
    slot = empty()
    slots.set(at, slot)
  }
  slot[sample.end]++
  slot.backoffMillis += sample.backoffMillis
  slot.queuedMillis += sample.queuedMillis
  slot.usd += sample.usd
  slot.wastedUsd += sample.wastedUsd
  count(slot.added, bucketOf(sample.backoffMillis + sample.queuedMillis))
  const { reason } = sample
  if (reason === undefined) return
  count(slot.reasons, slot.reasons.has(reason) || slot.reasons.size < mostReasons ? reason : other)
}

/** Forgets the slots up to one. */
export const forget = (slots: Slots, upTo: number): void => {
  for (const at of slots.keys()) if (at <= upTo) slots.delete(at)
}

const percentile = (added: ReadonlyArray<number>, calls: number): number => {
  let left = Math.ceil(0.95 * calls)
  for (const [bucket, many] of added.entries()) {
    left -= many
    if (left <= 0) return edge(bucket)
  }
  return 0
}

/** The figures over `length` slots, of which the last is `to`. */
export const figures = (slots: Slots, to: number, length: number): Figures => {
  const sum = empty()
  // Summed in an array: with a thousand targets a map for each would hold up the process.
  const added = new Array<number>(longest + 1).fill(0)
  for (const [at, slot] of slots) {
    if (at <= to - length || at > to) continue
    sum.first += slot.first
    sum.later += slot.later
    sum.failed += slot.failed
    sum.backoffMillis += slot.backoffMillis
    sum.queuedMillis += slot.queuedMillis
    sum.usd += slot.usd
    sum.wastedUsd += slot.wastedUsd
    for (const [reason, many] of slot.reasons) count(sum.reasons, reason, many)
    for (const [bucket, many] of slot.added) added[bucket] = (added[bucket] ?? 0) + many
  }
  const again = sum.later + sum.failed
  const calls = sum.first + again
  const { added: _, reasons, ...sums } = sum
  return {
    ...sums,
    calls,
    share: calls === 0 ? 0 : again / calls,
    rescued: again === 0 ? 1 : sum.later / again,
    addedP95Millis: percentile(added, calls),
    reasons: Object.fromEntries([...reasons].sort(([a, n], [b, m]) => m - n || (a < b ? -1 : 1)))
  }
}
