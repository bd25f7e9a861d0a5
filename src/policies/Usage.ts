/**
 * The token usage of an answer.
 *
 * @since 0.1.0
 */

import * as Schema from "effect/Schema"

const Count = Schema.NonNegativeInt

/**
 * Tokens by the provider's count. A field that the provider does not report is absent.
 *
 * - `inputTokens` includes `cachedInputTokens` (read from the provider's cache) and `cacheWriteTokens` (written to it).
 * - `cacheWriteTokens` includes `cacheWriteHourTokens`: those that are kept for an hour, not for minutes.
 * - `outputTokens` includes `reasoningTokens`.
 *
 * @since 0.1.0
 * @category models
 */
export const Usage = Schema.Struct({
  inputTokens: Count,
  outputTokens: Count,
  cachedInputTokens: Schema.optional(Count),
  cacheWriteTokens: Schema.optional(Count),
  cacheWriteHourTokens: Schema.optional(Count),
  reasoningTokens: Schema.optional(Count)
})

/**
 * @since 0.1.0
 * @category models
 */
export type Usage = typeof Usage.Type

/** No answer takes a billion tokens: the largest windows are of a few millions. */
const most = 1e9

/**
 * Whether one answer can have that usage: each count from 0 to a billion. A larger one comes from a mistake, and counts
 * as no usage.
 *
 * @since 0.2.0
 * @category predicates
 */
export const isPossible = (usage: Usage): boolean =>
  Object.values(usage).every((count) => count === undefined || (count >= 0 && count <= most))

const parts = ["cachedInputTokens", "cacheWriteTokens", "cacheWriteHourTokens", "reasoningTokens"] as const

/** A sum beyond the safe integers is no count, and no schema would take it. */
const plus = (x: number, y: number): number => Math.min(x + y, Number.MAX_SAFE_INTEGER)

/** Merges two usages field by field. A field that neither knows stays absent. */
const merge = (a: Usage, b: Usage, pick: (x: number, y: number) => number): Usage => {
  const merged: { -readonly [K in keyof Usage]: Usage[K] } = {
    inputTokens: pick(a.inputTokens, b.inputTokens),
    outputTokens: pick(a.outputTokens, b.outputTokens)
  }
  for (const part of parts) {
    const x = a[part]
    const y = b[part]
    if (x !== undefined || y !== undefined) merged[part] = pick(x ?? 0, y ?? 0)
  }
  return merged
}

/**
 * A usage in which no part is larger than its whole. If a provider reports such a part, the whole is raised to it: a
 * token that is counted anywhere may be billed.
 *
 * @since 0.2.0
 * @category constructors
 */
export const make = (counts: Usage): Usage => {
  const { cachedInputTokens = 0, cacheWriteHourTokens = 0, cacheWriteTokens = 0, reasoningTokens = 0 } = counts
  const written = Math.max(cacheWriteTokens, cacheWriteHourTokens)
  const input = Math.max(counts.inputTokens, plus(cachedInputTokens, written))
  const output = Math.max(counts.outputTokens, reasoningTokens)
  if (input === counts.inputTokens && output === counts.outputTokens && written === cacheWriteTokens) return counts
  const raised = { ...counts, inputTokens: input, outputTokens: output }
  return written === cacheWriteTokens ? raised : { ...raised, cacheWriteTokens: written }
}

/**
 * The sum of two usages. An unknown usage or field counts as absent.
 *
 * @since 0.2.0
 * @category combinators
 */
export const add = (a: Usage | undefined, b: Usage | undefined): Usage | undefined =>
  a === undefined || b === undefined ? (a ?? b) : merge(a, b, plus)
