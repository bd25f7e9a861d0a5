/**
 * The prices that a gateway counts with: those of its file, and behind them the built-in ones.
 *
 * @since 0.2.0
 */

import * as Effect from "effect/Effect"
import * as Prices from "../policies/spend/Prices.js"

/**
 * The prices of a file, and behind them the built-in ones if their package is there.
 *
 * @since 0.2.0
 * @category constructors
 */
export const of = (table: Prices.Table): Effect.Effect<Prices.PriceList> =>
  Effect.map(
    Effect.promise(() => import("../prices/index.js").catch(() => undefined)),
    (built) => {
      const own = Prices.table(table)
      return built === undefined ? own : Prices.orElse(own, built.GenaiPrices.list)
    }
  )
