/**
 * List prices of about 1,200 models at 20 providers, from the package `@pydantic/genai-prices`, which you install
 * beside this one. Its data are bundled: nothing is fetched unless you call `updatePrices` of that package, and then
 * the newer data are used here too. Prices are as new as the version that you install.
 *
 * The data have tiers by the length of the prompt, cache reads, prices by date and by hour. The package's rules for
 * each provider map names to models; a provider must have its exact name.
 *
 * Gotcha: a model without a price for input or for output in the data is unknown here, even if it is free. Put a
 * `Prices.table` of your own first for such a model.
 *
 * @example
 * import { Prices } from "effect-steadfast"
 * import { GenaiPrices } from "effect-steadfast/prices"
 *
 * const mine = Prices.table({ "openai/gpt-4o-mini": { input: 0.12, output: 0.48 } })
 * const layer = Prices.layer(Prices.orElse(mine, GenaiPrices.list))
 *
 * @since 0.2.0
 */

import { calcPrice, findProvider, type Usage } from "@pydantic/genai-prices"
import type * as Layer from "effect/Layer"
import * as Prices from "../policies/spend/Prices.js"

/** Providers that have another name in the package. */
const names: ReadonlyMap<string, string> = new Map([
  ["azure-openai", "azure"],
  ["bedrock", "aws"],
  ["gemini", "google"],
  ["vertex", "google"],
  ["xai", "x-ai"]
])

/** The package matches names loosely ("my-openai-proxy" is "openai"): only an exact match counts here. */
const providerOf = (provider: string): string | undefined => {
  const id = names.get(provider) ?? provider
  return findProvider({ providerId: id })?.id === id ? id : undefined
}

const total = (provider: string, model: string, at: number, usage: Usage): number | undefined => {
  const providerId = providerOf(provider)
  if (providerId === undefined) return undefined
  try {
    const found = calcPrice(usage, model, { providerId, timestamp: new Date(at) })
    // A missing rate adds nothing to the sum, so tokens without a price would count as free.
    return found === null || found.model_price.input_mtok === undefined || found.model_price.output_mtok === undefined
      ? undefined
      : found.total_price
  } catch {
    // Newer data may have a shape that the installed code refuses. A call must not die of that.
    return undefined
  }
}

/** The package refuses contradictory counts, so a part is at most the whole here. */
const toUsage = ({
  cachedInputTokens,
  cacheWriteTokens,
  inputTokens,
  outputTokens,
  reasoningTokens
}: Prices.Billed) => {
  const cached = Math.min(cachedInputTokens ?? 0, inputTokens)
  return {
    input_tokens: inputTokens,
    cache_read_tokens: cached,
    cache_write_tokens: Math.min(cacheWriteTokens ?? 0, inputTokens - cached),
    output_tokens: outputTokens,
    output_reasoning_tokens: Math.min(reasoningTokens ?? 0, outputTokens)
  }
}

/** The highest price of the tokens: all input at the rate of one-hour cache writes, or at the plain rate if higher. */
const bound = ({ at, inputTokens, model, outputTokens, provider }: Prices.BoundAsk): number | undefined => {
  const plain = { input_tokens: inputTokens, output_tokens: outputTokens }
  const written = { ...plain, cache_write_tokens: inputTokens, cache_write_1h_tokens: inputTokens }
  const usd = total(provider, model, at, plain)
  return usd === undefined ? undefined : Math.max(usd, total(provider, model, at, written) ?? 0)
}

/**
 * The bundled list of prices.
 *
 * @since 0.2.0
 * @category constructors
 */
export const list: Prices.PriceList = {
  price: ({ at, model, provider, usage }) => total(provider, model, at, toUsage(usage)),
  bound
}

/**
 * A layer that makes {@link list} the price list of the program.
 *
 * @since 0.2.0
 * @category layers
 */
export const layer: Layer.Layer<never> = Prices.layer(list)
