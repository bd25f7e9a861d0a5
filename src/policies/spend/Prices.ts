/**
 * What tokens cost.
 *
 * A {@link PriceList} answers two questions: what an answer cost ({@link PriceList.price}), and what it can cost at
 * most before it is asked for ({@link PriceList.bound}). The one in force is a value in the context ({@link Prices})
 * and knows nothing unless one is given: your own {@link table}, the bundled list of `effect-steadfast/prices`, or
 * both, with {@link orElse}. What is not known is `undefined`, never 0.
 *
 * Gotchas: a list knows list prices. A discount, a priority or flex tier, a regional surcharge or what a provider's own
 * tools cost is for your table to say.
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
import type { Usage } from "../Usage.js"

// -----------------------------------------------------------------------------
// models
// -----------------------------------------------------------------------------

/**
 * Usage with what was written to the provider's cache, where that is known and priced apart. `inputTokens` includes it.
 *
 * @since 0.2.0
 * @category models
 */
export interface Billed extends Usage {
  readonly cacheWriteTokens?: number | undefined
}

/**
 * An answer to be priced. `at` is when it was asked for, in milliseconds of the `Clock`: prices change.
 *
 * @since 0.2.0
 * @category models
 */
export interface PriceAsk {
  readonly provider: string
  readonly model: string
  readonly usage: Billed
  readonly at: number
}

/**
 * A request to be bounded: the tokens it has at most.
 *
 * @since 0.2.0
 * @category models
 */
export interface BoundAsk {
  readonly provider: string
  readonly model: string
  readonly inputTokens: number
  readonly outputTokens: number
  readonly at: number
}

/**
 * What tokens cost, in US dollars.
 *
 * - `price`: what an answer cost; `undefined` where the price is not known.
 * - `bound`: what a request costs at most: no token in is cheap for being cached, and each may be written to the cache.
 *   It never falls as tokens grow, and no answer of as many tokens or fewer is above it.
 *
 * A list that knows one knows the other.
 *
 * @since 0.2.0
 * @category models
 */
export interface PriceList {
  readonly price: (ask: PriceAsk) => number | undefined
  readonly bound: (ask: BoundAsk) => number | undefined
}

/**
 * The price list in force; {@link none} unless one is provided.
 *
 * @since 0.2.0
 * @category context
 */
export class Prices extends Context.Reference<Prices>()("steadfast/Prices", {
  defaultValue: (): PriceList => none
}) {}

/**
 * Knows no price.
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
 * What one model costs, in US dollars per million tokens.
 *
 * - `input`, `output`: what is sent and what is answered, thoughts included.
 * - `cachedInput`: input read from the provider's cache. Default `input`: no discount is known.
 * - `cacheWrite`: input written to it, where that costs more (Anthropic: 1.25 times `input`, for an hour 2 times).
 *   Default `input`.
 *
 * @since 0.2.0
 * @category models
 */
export const Rates = Schema.Struct({
  input: Rate,
  output: Rate,
  cachedInput: Schema.optional(Rate),
  cacheWrite: Schema.optional(Rate)
})

/**
 * @since 0.2.0
 * @category models
 */
export type Rates = typeof Rates.Type

/**
 * A table of prices as it stands in JSON or YAML: {@link Rates} by `provider/model`. The provider is what stands before
 * the first slash; the name of a model may have more of them.
 *
 * @since 0.2.0
 * @category models
 */
export const Table = Schema.Record({
  key: Schema.String.pipe(Schema.pattern(/^[^/]+\/.+$/, { description: "provider/model" })),
  value: Rates
}).annotations({
  // a misspelt name would be a price that is silently not there
  parseOptions: { onExcessProperty: "error" }
})

/**
 * @since 0.2.0
 * @category models
 */
export type Table = typeof Table.Type

/** How providers date a version: `-2024-07-18` (OpenAI), `-20251001` (Anthropic), `@20251001` (Vertex AI). */
const dated = /[-@]20\d\d(-?)(?:0[1-9]|1[0-2])\1(?:0[1-9]|[12]\d|3[01])$/

const million = 1_000_000

const priceOf = (rates: Rates, usage: Billed): number => {
  const cached = Math.min(usage.cachedInputTokens ?? 0, usage.inputTokens)
  const written = Math.min(usage.cacheWriteTokens ?? 0, usage.inputTokens - cached)
  const fresh = usage.inputTokens - cached - written
  const input =
    fresh * rates.input + cached * (rates.cachedInput ?? rates.input) + written * (rates.cacheWrite ?? rates.input)
  return (input + usage.outputTokens * rates.output) / million
}

const boundOf = (rates: Rates, ask: BoundAsk): number => {
  const dearest = Math.max(rates.input, rates.cachedInput ?? 0, rates.cacheWrite ?? 0)
  return (ask.inputTokens * dearest + ask.outputTokens * rates.output) / million
}

/**
 * A list from a table. A model is found by its exact name or else, where the name ends in a date (`-2024-07-18`,
 * `-20251001`, `@20251001`), by the name before it; nothing else is the same model.
 *
 * Throws a `RangeError` that names the entry, the value found and what was expected.
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
  const find = ({ model, provider }: { readonly provider: string; readonly model: string }): Rates | undefined => {
    const name = `${provider}/${model}`
    return entries.get(name) ?? entries.get(name.replace(dated, ""))
  }
  return {
    price: (ask) => {
      const rates = find(ask)
      return rates === undefined ? undefined : priceOf(rates, ask.usage)
    },
    bound: (ask) => {
      const rates = find(ask)
      return rates === undefined ? undefined : boundOf(rates, ask)
    }
  }
}

// -----------------------------------------------------------------------------
// combinators
// -----------------------------------------------------------------------------

/**
 * Asks another list for what this one does not know: put your own prices first.
 *
 * @since 0.2.0
 * @category combinators
 */
export const orElse: {
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
 * Puts a list into force.
 *
 * @since 0.2.0
 * @category layers
 */
export const layer = (prices: PriceList): Layer.Layer<never> =>
  Layer.succeedContext(Context.make(Prices, prices) as Context.Context<never>)
