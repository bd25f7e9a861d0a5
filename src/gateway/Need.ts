/**
 * What a request asks of its client's limits: tokens, and the most that an attempt may cost at any target.
 *
 * @since 0.2.0
 */

import type * as Chat from "../chat/Chat.js"
import * as Answers from "../policies/spend/Answers.js"
import * as CacheWrite from "../policies/spend/CacheWrite.js"
import * as Prices from "../policies/spend/Prices.js"
import * as Tokens from "../policies/spend/Tokens.js"
import type * as Current from "./Current.js"
import type * as ModelTable from "./ModelTable.js"

/** The answer to a request without a limit of its own, as `Spend` holds it. */
const assumed = 4096

/**
 * The need of a request.
 *
 * @since 0.2.0
 * @category models
 */
export interface Need {
  /** Tokens in, about. */
  readonly tokens: number
  /** The most that one attempt may cost, in US dollars. */
  readonly most: (prices: Prices.PriceList) => number
}

const most = (
  { table }: Current.Current,
  { config }: ModelTable.Entry,
  prices: Prices.PriceList,
  tokens: Pick<Prices.BoundAsk, "inputTokens" | "outputTokens" | "cacheWrite">
): number => {
  const others = config.fallbacks.flatMap((name) => table.get(name)?.config.targets ?? [])
  const at = Date.now()
  return [...config.targets, ...others].reduce(
    (most, { model, provider }) => Math.max(most, Prices.safeBound(prices, { provider, model, ...tokens, at }) ?? 0),
    0
  )
}

/**
 * A chat.
 *
 * @since 0.2.0
 * @category constructors
 */
export const chat = (now: Current.Current, entry: ModelTable.Entry, request: Chat.Request): Need => ({
  tokens: Tokens.glance(request),
  most: (prices) =>
    most(now, entry, prices, {
      inputTokens: Tokens.estimate(request),
      outputTokens: (request.maxTokens ?? assumed) * Answers.askedIn(request),
      cacheWrite: CacheWrite.isAsked(request)
    })
})

/**
 * Vectors of so many tokens.
 *
 * @since 0.2.0
 * @category constructors
 */
export const vectors = (now: Current.Current, entry: ModelTable.Entry, tokens: number): Need => ({
  tokens,
  most: (prices) => most(now, entry, prices, { inputTokens: tokens, outputTokens: 0, cacheWrite: false })
})

/**
 * A request that no price is known for.
 *
 * @since 0.2.0
 * @category constants
 */
export const free: Need = { tokens: 0, most: () => 0 }
