import { Prices } from "effect-steadfast"
import { GenaiPrices } from "effect-steadfast/prices"

const usage = { inputTokens: 1_000_000, outputTokens: 1_000_000 }
const list = Prices.orElse(Prices.none, GenaiPrices.list)
const priceOf = (model) => list.price({ provider: "openai", model, usage, at: Date.UTC(2026, 0, 1) })

process.stdout.write(`${priceOf("gpt-4o-mini")} ${priceOf("gpt-unheard-of")}\n`)
