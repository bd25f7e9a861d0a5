/**
 * The targets that clients with a limit of money cannot use, because no price is known for them.
 *
 * @since 0.2.0
 */

import * as Effect from "effect/Effect"
import * as Prices from "../policies/spend/Prices.js"
import type { Config } from "./config/Resolved.js"
import * as FilePrices from "./FilePrices.js"

/**
 * A line for each target without a price that a client with `usdPerDay` may ask.
 *
 * @since 0.2.0
 * @category getters
 */
export const linesOf = ({ keys, models }: Config, prices: Prices.PriceList, at: number): ReadonlyArray<string> =>
  models.flatMap(({ kind, name, targets }) => {
    const clients = keys.filter((key) => key.usdPerDay !== undefined && (key.models?.includes(name) ?? true))
    if (clients.length === 0) return []
    const outputTokens = kind === "chat" ? 1 : 0
    return targets.flatMap(({ model, provider }) => {
      if (Prices.safeBound(prices, { provider, model, inputTokens: 1, outputTokens, at }) !== undefined) return []
      const who = clients.map((client) => client.name).join(", ")
      return [
        `${name}: no price for ${provider}/${model}, and usdPerDay for ${who}: they are refused there; see prices`
      ]
    })
  })

/**
 * The same with the prices that a configuration gives its gateway. Loads none where nobody has a limit of money.
 *
 * @since 0.2.0
 * @category getters
 */
export const lines = (config: Config): Effect.Effect<ReadonlyArray<string>> =>
  config.keys.some(({ usdPerDay }) => usdPerDay !== undefined)
    ? Effect.map(FilePrices.of(config.prices), (prices) => linesOf(config, prices, Date.now()))
    : Effect.succeed([])
