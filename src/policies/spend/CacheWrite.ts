/**
 * Writes to a provider's cache: whether a request asks for them, and their price where a list has no rate for them.
 *
 * @since 0.2.0
 */

import type * as Tokens from "./Tokens.js"

/**
 * The price of a cache write without a rate, as a multiple of plain input: kept for minutes, or for an hour. Anthropic
 * has both; OpenAI has the first since GPT-5.6. Earlier models of OpenAI write for free, and report no written tokens.
 *
 * @since 0.2.0
 * @category constants
 */
export const factor = { minutes: 1.25, hour: 2 }

/**
 * Whether a prompt asks the provider to write it to its cache, by a `cache_control` in a message, a tool or the
 * provider's options. Anthropic reads it, and so do servers that pass requests on to Anthropic.
 *
 * @since 0.2.0
 * @category getters
 */
export const isAsked = ({ messages, providerOptions, tools }: Tokens.Prompt): boolean => {
  // Each value once: one that holds itself has no end.
  const open = new Set<unknown>([messages, tools, providerOptions])
  for (const value of open) {
    if (typeof value !== "object" || value === null) continue
    if ("cache_control" in value && value.cache_control != null) return true
    for (const inner of Object.values(value)) open.add(inner)
  }
  return false
}
