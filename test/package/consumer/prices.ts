import type { Layer } from "effect"
import { Prices } from "effect-steadfast"
import { GenaiPrices } from "effect-steadfast/prices"

const mine: Prices.Table = { "openai/gpt-4o-mini": { input: 0.12, output: 0.48 } }

export const layer: Layer.Layer<never> = Prices.layer(Prices.orElse(Prices.table(mine), GenaiPrices.list))
