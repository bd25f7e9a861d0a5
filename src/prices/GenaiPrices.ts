/**
 * List prices of about 1,200 models at 20 providers, from the package `@pydantic/genai-prices`, which you install
 * beside this one. Its data are bundled: nothing is fetched unless you call `updatePrices` of that package, and then
 * the newer data are used here too. Prices are as new as the version that you install.
 *
 * The data have tiers by the length of the prompt, cache reads and writes, prices by date and by hour. Where they have
 * no rate for cache writes, the defaults of `Prices.Rates` apply. The package's rules for each provider map names to
 * models; a provider must have its exact name.
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

import { type Usage as Counts, calcPrice, findProvider } from "@pydantic/genai-prices"
import type * as Layer from "effect/Layer"
import * as CacheWrite from "../policies/spend/CacheWrite.js"
import * as Prices from "../policies/spend/Prices.js"
import * as Usage from "../policies/Usage.js"

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

type Model = Pick<Prices.PriceAsk, "provider" | "model" | "at">

const calculate = ({ at, model, provider }: Model, counts: Counts) => {
  const providerId = providerOf(provider)
  if (providerId === undefined) return undefined
  try {
    const found = calcPrice(counts, model, { providerId, timestamp: new Date(at) })
    // A missing rate adds nothing to the sum, so tokens without a price would count as free.
    return found === null || found.model_price.input_mtok === undefined || found.model_price.output_mtok === undefined
      ? undefined
      : { usd: found.total_price, rates: found.model_price }
  } catch {
    // Newer data may have a shape that the installed code refuses. A call must not die of that.
    return undefined
  }
}

/** Dollars for the prompt alone, all of it plain input. */
const plain = (model: Model, inputTokens: number): number =>
  calculate(model, { input_tokens: inputTokens, output_tokens: 0 })?.usd ?? 0

/**
 * The price of an answer. The package charges a cache write without a rate as plain input, and one for an hour as any
 * other; here they cost what `Prices.Rates` has as defaults.
 */
const price = (ask: Prices.PriceAsk): number | undefined => {
  const { inputTokens, outputTokens, ...parts } = Usage.make(ask.usage)
  const hour = parts.cacheWriteHourTokens ?? 0
  const minutes = (parts.cacheWriteTokens ?? 0) - hour
  const cost = (minutes: number, hour: number) =>
    calculate(ask, {
      input_tokens: inputTokens,
      cache_read_tokens: parts.cachedInputTokens ?? 0,
      cache_write_tokens: minutes + hour,
      cache_write_1h_tokens: hour,
      output_tokens: outputTokens,
      output_reasoning_tokens: parts.reasoningTokens ?? 0
    })
  const found = cost(minutes, hour)
  if (found === undefined) return undefined
  const unknownMinutes = found.rates.cache_write_mtok === undefined ? minutes : 0
  const unknownHour = found.rates.cache_write_1h_mtok === undefined ? hour : 0
  if (unknownMinutes + unknownHour === 0) return found.usd
  const known = cost(minutes - unknownMinutes, hour - unknownHour)?.usd ?? 0
  const { factor } = CacheWrite
  const more = unknownMinutes * (factor.minutes - 1) + unknownHour * (factor.hour - 1)
  return Math.max(found.usd, known + (plain(ask, inputTokens) / inputTokens) * more)
}

/** The highest price of the tokens: all input at the rate of one-hour cache writes, or at the plain rate if higher. */
const bound = (ask: Prices.BoundAsk): number | undefined => {
  const counts = { input_tokens: ask.inputTokens, output_tokens: ask.outputTokens }
  const found = calculate(ask, counts)
  if (found === undefined) return undefined
  const written = { ...counts, cache_write_tokens: ask.inputTokens, cache_write_1h_tokens: ask.inputTokens }
  const known = Math.max(found.usd, calculate(ask, written)?.usd ?? 0)
  if (ask.cacheWrite !== true || found.rates.cache_write_1h_mtok !== undefined) return known
  return Math.max(known, found.usd + plain(ask, ask.inputTokens) * (CacheWrite.factor.hour - 1))
}

/**
 * The bundled list of prices.
 *
 * @since 0.2.0
 * @category constructors
 */
export const list: Prices.PriceList = { price, bound }

/**
 * A layer that makes {@link list} the price list of the program.
 *
 * @since 0.2.0
 * @category layers
 */
export const layer: Layer.Layer<never> = Prices.layer(list)
