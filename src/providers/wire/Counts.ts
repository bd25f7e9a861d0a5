/**
 * The counts of an answer, and the usage that they tell.
 *
 * @since 0.2.0
 */

import type * as Chat from "../../chat/Chat.js"
import * as Usage from "../../policies/Usage.js"

/**
 * The counts of an answer, as far as the wire told them. `input` includes `cached` and `written`.
 *
 * @since 0.2.0
 * @category models
 */
export interface Counts {
  readonly input?: number | undefined
  readonly output?: number | undefined
  readonly total?: number | undefined
  readonly cached?: number | undefined
  readonly written?: number | undefined
  /** The part of `written` that is kept for an hour. */
  readonly writtenHour?: number | undefined
  readonly reasoning?: number | undefined
}

const most = (a: number | undefined, b: number | undefined): number | undefined =>
  a === undefined ? b : b === undefined ? a : Math.max(a, b)

/**
 * The larger of two counts, field by field: counts are cumulative.
 *
 * @since 0.2.0
 * @category combinators
 */
export const larger = (a: Counts, b: Counts): Counts => ({
  input: most(a.input, b.input),
  output: most(a.output, b.output),
  total: most(a.total, b.total),
  cached: most(a.cached, b.cached),
  written: most(a.written, b.written),
  writtenHour: most(a.writtenHour, b.writtenHour),
  reasoning: most(a.reasoning, b.reasoning)
})

const rest = (total: number | undefined, half: number | undefined): number | undefined =>
  total === undefined || half === undefined ? undefined : Math.max(0, total - half)

const safe = (count: number): number => Math.min(count, Number.MAX_SAFE_INTEGER)

/**
 * The usage that counts tell; `undefined` if a half is unknown and no total tells it, so that nobody takes it for 0.
 *
 * @since 0.2.0
 * @category getters
 */
export const usage = (counts: Counts): Chat.Usage | undefined => {
  const { cached, reasoning, total, written, writtenHour } = counts
  const { input = rest(total, counts.output), output = rest(total, counts.input) } = counts
  if (input === undefined || output === undefined) return undefined
  const usage: { -readonly [K in keyof Chat.Usage]: Chat.Usage[K] } = {
    inputTokens: safe(input),
    // Some servers count reasoning outside of the output, but in the total.
    outputTokens: safe(Math.max(output, total === undefined ? 0 : total - input))
  }
  if (cached !== undefined) usage.cachedInputTokens = cached
  if (written !== undefined && written > 0) usage.cacheWriteTokens = written
  if (writtenHour !== undefined && writtenHour > 0) usage.cacheWriteHourTokens = writtenHour
  if (reasoning !== undefined) usage.reasoningTokens = reasoning
  return Usage.make(usage)
}
