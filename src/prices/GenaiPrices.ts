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

import { type Usage as Counts, calcPrice, findProvider, type Provider } from "@pydantic/genai-prices"
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
const providerOf = (provider: string): Provider | undefined => {
  const id = names.get(provider) ?? provider
  const found = findProvider({ providerId: id })
  return found?.id === id ? found : undefined
}

type Model = Pick<Prices.PriceAsk, "provider" | "model" | "at">

type Found = { readonly usd: number; readonly rates: Rates }

type Rates = Readonly<Record<string, unknown>>

/** The kinds of tokens that are counted here, the whole prompt and the whole answer first. */
const kinds = [
  "input_tokens",
  "output_tokens",
  "cache_read_tokens",
  "cache_write_tokens",
  "cache_write_1h_tokens",
  "output_reasoning_tokens"
] as const

/**
 * The price of a model as a sum: so many dollars for each token of a kind, on top of what the whole costs.
 *
 * The package takes 8 µs to calculate one price, of which most is to sort the kinds of tokens. Where its result is such
 * a sum, the sum is taken: no tiers, no prices by the hour.
 */
interface Linear {
  readonly rates: Rates
  readonly usd: ReadonlyArray<number>
}

const million = 1_000_000

/** Whether the parts fit into their wholes; the package has its own ways with others. */
const isWhole = (counts: Counts): boolean => {
  const of = (kind: (typeof kinds)[number]): number => counts[kind] ?? 0
  return (
    kinds.every((kind) => of(kind) >= 0) &&
    of("cache_read_tokens") + of("cache_write_tokens") <= of("input_tokens") &&
    of("cache_write_1h_tokens") <= of("cache_write_tokens") &&
    of("output_reasoning_tokens") <= of("output_tokens")
  )
}

const isNear = (a: number, b: number): boolean => Math.abs(a - b) <= 1e-9 * Math.max(Math.abs(a), Math.abs(b))

const linearOf = (provider: Provider, model: string, at: number): Linear | undefined => {
  const priced = (counts: Counts) => calcPrice(counts, model, { provider, timestamp: new Date(at) })
  const found = priced({ input_tokens: million, output_tokens: million })
  if (found === null || Array.isArray(found.model.prices)) return undefined
  const rates: Rates = found.model_price
  if (rates.input_mtok === undefined || rates.output_mtok === undefined) return undefined
  if (Object.values(rates).some((rate) => rate !== undefined && typeof rate !== "number")) return undefined
  const wholes = { input_tokens: million, output_tokens: million }
  const all = found.total_price
  const input = priced({ input_tokens: million, output_tokens: 0 })?.total_price ?? Number.NaN
  const more = (counts: Counts) => (priced({ ...wholes, ...counts })?.total_price ?? Number.NaN) - all
  const written = more({ cache_write_tokens: million })
  const usd = [
    input,
    all - input,
    more({ cache_read_tokens: million }),
    written,
    more({ cache_write_tokens: million, cache_write_1h_tokens: million }) - written,
    more({ output_reasoning_tokens: million })
  ].map((dollars) => dollars / million)
  const sample: Counts = {
    input_tokens: 987_654,
    output_tokens: 123_456,
    cache_read_tokens: 111_111,
    cache_write_tokens: 222_222,
    cache_write_1h_tokens: 33_333,
    output_reasoning_tokens: 44_444
  }
  const isSum = isNear(sumOf({ rates, usd }, sample), priced(sample)?.total_price ?? Number.NaN)
  return isSum ? { rates, usd } : undefined
}

const sumOf = ({ usd }: Linear, counts: Counts): number => {
  let sum = 0
  for (let i = 0; i < kinds.length; i++) sum += (usd[i] ?? 0) * (counts[kinds[i] as string] ?? 0)
  return Math.max(0, sum)
}

/** What was found out of the models of a provider's data. Newer data are other objects. */
const known = new WeakMap<Provider, Map<string, Linear | undefined>>()

/** Names come from outside: no more are remembered of each provider. */
const mostKnown = 1000

const linear = (provider: Provider, model: string, at: number): Linear | undefined => {
  let models = known.get(provider)
  if (models === undefined || models.size > mostKnown) {
    models = new Map()
    known.set(provider, models)
  }
  if (models.has(model)) return models.get(model)
  const found = linearOf(provider, model, at)
  models.set(model, found)
  return found
}

const calculate = ({ at, model, provider: name }: Model, counts: Counts): Found | undefined => {
  const provider = providerOf(name)
  if (provider === undefined) return undefined
  try {
    const simple = isWhole(counts) ? linear(provider, model, at) : undefined
    if (simple !== undefined) return { usd: sumOf(simple, counts), rates: simple.rates }
    const found = calcPrice(counts, model, { provider, timestamp: new Date(at) })
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
