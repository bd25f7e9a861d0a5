/**
 * Prices of tokens.
 *
 * A {@link PriceList} answers two questions: what an answer cost ({@link PriceList.price}), and the most that a request
 * can cost ({@link PriceList.bound}). The list in force is a service in the context ({@link Prices}); the default list
 * is empty. Provide your own {@link table}, the bundled list of `effect-steadfast/prices`, or both, with {@link
 * orElse}. An unknown price is `undefined`, never 0.
 *
 * Gotchas: the bundled list holds list prices. Put discounts, priority or flex tiers, regional surcharges and the
 * prices of a provider's own tools into your table.
 *
 * @example
 * import { Effect } from "effect"
 * import { Prices } from "effect-steadfast"
 *
 * const mine = Prices.table({
 *   "openai/gpt-4o-mini": { input: 0.15, cachedInput: 0.075, output: 0.6 },
 *   "vllm/llama-3.3-70b": { input: 0, output: 0 }
 * })
 * const program = Effect.provide(Effect.void, Prices.layer(mine))
 *
 * @since 0.2.0
 */

import * as Context from "effect/Context"
import * as Either from "effect/Either"
import { dual } from "effect/Function"
import * as Layer from "effect/Layer"
import * as ParseResult from "effect/ParseResult"
import * as Schema from "effect/Schema"
import * as Usage from "../Usage.js"
import * as CacheWrite from "./CacheWrite.js"

// -----------------------------------------------------------------------------
// models
// -----------------------------------------------------------------------------

/**
 * An answer to price.
 *
 * @since 0.2.0
 * @category models
 */
export interface PriceAsk {
  /** The provider, as in the target's name. */
  readonly provider: string
  /** The model, as in the target's name. */
  readonly model: string
  /** The tokens of the answer. */
  readonly usage: Usage.Usage
  /** The time of the request, in milliseconds of the `Clock`: prices change. */
  readonly at: number
}

/**
 * A request to price before it is sent.
 *
 * @since 0.2.0
 * @category models
 */
export interface BoundAsk {
  /** The provider, as in the target's name. */
  readonly provider: string
  /** The model, as in the target's name. */
  readonly model: string
  /** The most tokens in. */
  readonly inputTokens: number
  /** The most tokens out. */
  readonly outputTokens: number
  /**
   * Whether the request asks the provider to write the prompt to its cache. Then the bound covers that also if the list
   * has no rate for it. Default `false`.
   */
  readonly cacheWrite?: boolean | undefined
  /** The time of the request, in milliseconds of the `Clock`. */
  readonly at: number
}

/**
 * Prices in US dollars. A list that knows `price` for a model knows `bound` too.
 *
 * @since 0.2.0
 * @category models
 */
export interface PriceList {
  /** The cost of an answer; `undefined` if the price is unknown. */
  readonly price: (ask: PriceAsk) => number | undefined
  /**
   * The most that a request can cost. It assumes no cache discount, and that every token in may be written to the
   * cache, at the highest rate that the list knows. It never falls as tokens grow, and is never below the price of an
   * answer with as many tokens or fewer; except if tokens are written to a cache at a rate that the list does not know,
   * and the ask is without `cacheWrite`.
   */
  readonly bound: (ask: BoundAsk) => number | undefined
}

/**
 * The price list in force. Default: {@link none}.
 *
 * @since 0.2.0
 * @category context
 */
export class Prices extends Context.Reference<Prices>()("steadfast/Prices", {
  defaultValue: (): PriceList => none
}) {}

/** What a list says, if it is an amount. A list is the application's: one that throws knows no price. */
const amount = (say: () => number | undefined): number | undefined => {
  try {
    const usd = say()
    return usd !== undefined && usd >= 0 && Number.isFinite(usd) ? usd : undefined
  } catch {
    return undefined
  }
}

/**
 * `price` of a list; `undefined` if it throws, or gives what is no amount.
 *
 * @internal
 */
export const safePrice = (prices: PriceList, ask: PriceAsk): number | undefined => amount(() => prices.price(ask))

/**
 * `bound` of a list; `undefined` if it throws, or gives what is no amount.
 *
 * @internal
 */
export const safeBound = (prices: PriceList, ask: BoundAsk): number | undefined => amount(() => prices.bound(ask))

/**
 * An empty list.
 *
 * @since 0.2.0
 * @category constructors
 */
export const none: PriceList = { price: () => undefined, bound: () => undefined }

// -----------------------------------------------------------------------------
// tables
// -----------------------------------------------------------------------------

const Rate = Schema.Number.pipe(Schema.finite(), Schema.nonNegative()).annotations({
  message: ({ actual }) => ({
    message: `expected US dollars per million tokens, 0 or more, found ${String(actual)}`,
    override: true
  })
})

/**
 * The prices of one model, in US dollars per million tokens. A cache write without a rate never costs less than plain
 * input.
 *
 * - `input`: tokens sent.
 * - `output`: tokens answered, reasoning included.
 * - `cachedInput`: tokens read from the provider's cache. Default `input`, as without a discount.
 * - `cacheWrite`: tokens written to the cache. Default 1.25 times `input`, as at Anthropic, and at OpenAI since
 *   GPT-5.6.
 * - `cacheWriteHour`: tokens written to the cache for an hour. Default 2 times `input`, as at Anthropic, or
 *   `cacheWrite` if that is higher.
 *
 * @since 0.2.0
 * @category models
 */
export const Rates = Schema.Struct({
  input: Rate,
  output: Rate,
  cachedInput: Schema.optional(Rate),
  cacheWrite: Schema.optional(Rate),
  cacheWriteHour: Schema.optional(Rate)
})

/**
 * @since 0.2.0
 * @category models
 */
export type Rates = typeof Rates.Type

/**
 * A price table in JSON or YAML: {@link Rates} by `provider/model`. The first slash ends the provider; a model's name
 * may contain more slashes.
 *
 * @since 0.2.0
 * @category models
 */
export const Table = Schema.Record({
  key: Schema.String.pipe(Schema.pattern(/^[^/]+\/.+$/, { description: "provider/model" })),
  value: Rates
}).annotations({
  // A misspelt field would silently lose its price.
  parseOptions: { onExcessProperty: "error" }
})

/**
 * @since 0.2.0
 * @category models
 */
export type Table = typeof Table.Type

/** The date suffixes of providers: `-2024-07-18` (OpenAI), `-20251001` (Anthropic), `@20251001` (Vertex AI). */
const dated = /[-@]20\d\d(-?)(?:0[1-9]|1[0-2])\1(?:0[1-9]|[12]\d|3[01])$/

const million = 1_000_000

type Model = Pick<PriceAsk, "provider" | "model">

/** The rates of cache writes, with the defaults. */
const writeRates = ({ cacheWrite, cacheWriteHour, input }: Rates) => {
  const minutes = cacheWrite ?? input * CacheWrite.factor.minutes
  return { minutes, hour: cacheWriteHour ?? Math.max(minutes, input * CacheWrite.factor.hour) }
}

const priceOf = (rates: Rates, { usage }: PriceAsk): number => {
  const { cachedInputTokens = 0, cacheWriteHourTokens = 0, cacheWriteTokens = 0, ...all } = Usage.make(usage)
  const writes = writeRates(rates)
  const input =
    Math.max(0, all.inputTokens - cachedInputTokens - cacheWriteTokens) * rates.input +
    cachedInputTokens * (rates.cachedInput ?? rates.input) +
    (cacheWriteTokens - cacheWriteHourTokens) * writes.minutes +
    cacheWriteHourTokens * writes.hour
  return (input + all.outputTokens * rates.output) / million
}

const boundOf = (rates: Rates, ask: BoundAsk): number => {
  const known = Math.max(rates.input, rates.cachedInput ?? 0, rates.cacheWrite ?? 0, rates.cacheWriteHour ?? 0)
  const writes = writeRates(rates)
  const dearest = ask.cacheWrite === true ? Math.max(known, writes.minutes, writes.hour) : known
  return (ask.inputTokens * dearest + ask.outputTokens * rates.output) / million
}

/**
 * A price list from a table. A model is found by its exact name, or by its name without a date suffix (`-2024-07-18`,
 * `-20251001`, `@20251001`).
 *
 * Throws a `RangeError` that names the entry, the value found and the value expected.
 *
 * @since 0.2.0
 * @category constructors
 */
export const table = (prices: Table): PriceList => {
  const decoded = Schema.decodeUnknownEither(Table)(prices)
  if (Either.isLeft(decoded)) {
    const [issue] = ParseResult.ArrayFormatter.formatErrorSync(decoded.left)
    throw new RangeError(`Prices.table: ${issue?.path.join(": ")}: ${issue?.message}`)
  }
  const entries = new Map(Object.entries(decoded.right))
  const find = ({ model, provider }: Model): Rates | undefined => {
    const name = `${provider}/${model}`
    return entries.get(name) ?? entries.get(name.replace(dated, ""))
  }
  const withRates =
    <Ask extends Model>(compute: (rates: Rates, ask: Ask) => number) =>
    (ask: Ask): number | undefined => {
      const rates = find(ask)
      return rates && compute(rates, ask)
    }
  return { price: withRates(priceOf), bound: withRates(boundOf) }
}

// -----------------------------------------------------------------------------
// combinators
// -----------------------------------------------------------------------------

export const orElse: {
  /**
   * Asks another list for prices that this one does not know. Put your own prices first.
   *
   * @since 0.2.0
   * @category combinators
   */
  (that: PriceList): (self: PriceList) => PriceList
  (self: PriceList, that: PriceList): PriceList
} = dual(
  2,
  (self: PriceList, that: PriceList): PriceList => ({
    price: (ask) => self.price(ask) ?? that.price(ask),
    bound: (ask) => self.bound(ask) ?? that.bound(ask)
  })
)

/**
 * Provides a price list.
 *
 * @since 0.2.0
 * @category layers
 */
export const layer = (prices: PriceList): Layer.Layer<never> =>
  Layer.succeedContext(Context.make(Prices, prices) as Context.Context<never>)
