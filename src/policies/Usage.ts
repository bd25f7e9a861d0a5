/**
 * The token usage of an answer.
 *
 * @since 0.1.0
 */

import * as Schema from "effect/Schema"

const Count = Schema.NonNegativeInt

/**
 * Tokens by the provider's count. `inputTokens` includes `cachedInputTokens`, `outputTokens` includes
 * `reasoningTokens`.
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

/**
 * The sum of two usages. An unknown usage or field counts as absent.
 *
 * @since 0.2.0
 * @category combinators
 */
export const add = (a: Usage | undefined, b: Usage | undefined): Usage | undefined => {
  if (a === undefined || b === undefined) return a ?? b
  const sum = (x: number | undefined, y: number | undefined) =>
    x === undefined && y === undefined ? undefined : (x ?? 0) + (y ?? 0)
  return {
    inputTokens: a.inputTokens + b.inputTokens,
    outputTokens: a.outputTokens + b.outputTokens,
    cachedInputTokens: sum(a.cachedInputTokens, b.cachedInputTokens),
    reasoningTokens: sum(a.reasoningTokens, b.reasoningTokens)
  }
}
