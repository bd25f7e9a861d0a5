import { assert, describe, it } from "@effect/vitest"
import { calcPrice, findProvider } from "@pydantic/genai-prices"
import { Effect, FastCheck as fc } from "effect"
import { Prices } from "effect-steadfast"
import { GenaiPrices } from "effect-steadfast/prices"
import { afterAll, beforeAll } from "vitest"
import * as Usage from "../../src/policies/Usage.js"
import { cases } from "../support/cases.js"

const million = 1_000_000
const now = Date.UTC(2026, 5, 1, 12)

const price = (provider: string, model: string, usage: Usage.Usage, at = now) =>
  GenaiPrices.list.price({ provider, model, usage, at })

const bound = (provider: string, model: string, inputTokens: number, outputTokens: number, cacheWrite = false) =>
  GenaiPrices.list.bound({ provider, model, inputTokens, outputTokens, cacheWrite, at: now })

const { fetch } = globalThis
const fetched: Array<unknown> = []

beforeAll(() => {
  globalThis.fetch = (input) => {
    fetched.push(input)
    return Promise.reject(new Error("offline"))
  }
})

afterAll(() => {
  globalThis.fetch = fetch
  assert.deepStrictEqual(fetched, [], "prices are bundled")
})

const known: ReadonlyArray<readonly [provider: string, model: string]> = [
  ["openai", "gpt-4o-mini"],
  ["anthropic", "claude-haiku-4-5"],
  ["gemini", "gemini-2.5-flash"],
  ["azure-openai", "gpt-4o-mini"],
  ["groq", "llama-3.3-70b-versatile"],
  ["mistral", "mistral-large-latest"],
  ["deepseek", "deepseek-chat"],
  ["together", "meta-llama/Llama-3.3-70B-Instruct-Turbo"],
  ["fireworks", "accounts/fireworks/models/gpt-oss-120b"],
  ["openrouter", "openai/gpt-4o-mini"],
  ["xai", "grok-4"],
  ["bedrock", "anthropic.claude-haiku-4-5-20251001-v1:0"],
  ["vertex", "gemini-2.5-flash"]
]

describe("known models", () => {
  for (const [provider, model] of known) {
    it(`${provider}/${model} has a price for input and output`, () => {
      const input = price(provider, model, { inputTokens: 1000, outputTokens: 0 }) ?? 0
      const output = price(provider, model, { inputTokens: 0, outputTokens: 1000 }) ?? 0
      assert.isAbove(input, 0)
      assert.isAtLeast(output, input)
      assert.isAtLeast(bound(provider, model, 1000, 1000) ?? 0, input + output)
    })
  }

  for (const [provider, model] of known.slice(0, 3)) {
    it(`${provider}/${model} is cheaper where it reads its cache`, () => {
      const fresh = price(provider, model, { inputTokens: 1000, outputTokens: 0 }) ?? 0
      const cached = price(provider, model, { inputTokens: 1000, outputTokens: 0, cachedInputTokens: 1000 }) ?? 0
      assert.isAbove(cached, 0)
      assert.isBelow(cached, fresh)
      assert.isAtLeast(bound(provider, model, 1000, 0) ?? 0, fresh)
    })
  }

  it("are found by the name of a dated version", () => {
    const usage = { inputTokens: 1000, outputTokens: 1000 }
    for (const [provider, model, version] of [
      ["openai", "gpt-4o-mini", "gpt-4o-mini-2024-07-18"],
      ["anthropic", "claude-haiku-4-5", "claude-haiku-4-5-20251001"]
    ] as const) {
      assert.strictEqual(price(provider, version, usage), price(provider, model, usage))
    }
  })

  it("count thoughts once, as part of the output", () => {
    const usage = { inputTokens: 0, outputTokens: 1000 }
    assert.strictEqual(price("openai", "gpt-5", { ...usage, reasoningTokens: 900 }), price("openai", "gpt-5", usage))
  })

  it("price thoughts apart where the data do", () => {
    const usage = { inputTokens: 0, outputTokens: 1000 }
    assert.isBelow(
      price("perplexity", "sonar-deep-research", { ...usage, reasoningTokens: 1000 }) ?? 1,
      price("perplexity", "sonar-deep-research", usage) ?? 0
    )
  })

  it("cost more by the token where the prompt is long", () => {
    const rate = (inputTokens: number) =>
      (price("gemini", "gemini-2.5-pro", { inputTokens, outputTokens: 0 }) ?? 0) / inputTokens
    assert.isAbove(rate(300_000), rate(100_000))
  })

  it("cost what they did at the time", () => {
    const usage = { inputTokens: million, outputTokens: 0 }
    const before = price("openai", "o3", usage, Date.UTC(2025, 4, 1)) ?? 0
    assert.isAbove(before, price("openai", "o3", usage) ?? Number.POSITIVE_INFINITY)
  })

  it("may be written to the cache for an hour, which the bound covers", () => {
    const plain = price("anthropic", "claude-haiku-4-5", { inputTokens: million, outputTokens: 0 }) ?? 0
    const written =
      price("anthropic", "claude-haiku-4-5", { inputTokens: million, outputTokens: 0, cacheWriteTokens: million }) ?? 0
    assert.closeTo(written, plain * 1.25, 1e-9)
    assert.closeTo(bound("anthropic", "claude-haiku-4-5", million, 0) ?? 0, plain * 2, 1e-9)
  })

  const minutes = { inputTokens: million, outputTokens: 0, cacheWriteTokens: million }
  const hour = { ...minutes, cacheWriteHourTokens: million }

  it("have prices of their own for what is written to the cache for minutes and for an hour", () => {
    assert.closeTo(price("anthropic", "claude-opus-4-5", minutes) ?? 0, 6.25, 1e-9)
    assert.closeTo(price("anthropic", "claude-opus-4-5", hour) ?? 0, 10, 1e-9)
    const mixed = { inputTokens: million, outputTokens: 0, cacheWriteTokens: 800_000, cacheWriteHourTokens: 400_000 }
    assert.closeTo(price("anthropic", "claude-opus-4-5", mixed) ?? 0, 1 + 2.5 + 4, 1e-9)
    assert.closeTo(bound("anthropic", "claude-opus-4-5", million, 0, true) ?? 0, 10, 1e-9)
  })

  it("cost twice the input for an hour where the data have a price for minutes alone", () => {
    assert.closeTo(price("vertex", "claude-opus-4-7", minutes) ?? 0, 6.25, 1e-9)
    assert.closeTo(price("vertex", "claude-opus-4-7", hour) ?? 0, 10, 1e-9)
    const mixed = { ...hour, inputTokens: 2 * million, cacheWriteHourTokens: 400_000 }
    assert.closeTo(price("vertex", "claude-opus-4-7", mixed) ?? 0, 5 + 3.75 + 4, 1e-9)
    assert.closeTo(bound("vertex", "claude-opus-4-7", million, 0) ?? 0, 6.25, 1e-9)
    assert.closeTo(bound("vertex", "claude-opus-4-7", million, 0, true) ?? 0, 10, 1e-9)
  })

  it("cost 1.25 times the input, or twice for an hour, where the data have no price for writes", () => {
    assert.closeTo(price("openai", "gpt-4o-mini", minutes) ?? 0, 0.15 * 1.25, 1e-9)
    assert.closeTo(price("openai", "gpt-4o-mini", hour) ?? 0, 0.15 * 2, 1e-9)
    assert.closeTo(bound("openai", "gpt-4o-mini", million, 0) ?? 0, 0.15, 1e-9)
    assert.closeTo(bound("openai", "gpt-4o-mini", million, 0, true) ?? 0, 0.15 * 2, 1e-9)
  })

  it("are priced by every token that is counted, where a part is larger than its whole", () => {
    const priceOf = (usage: Usage.Usage) => price("anthropic", "claude-haiku-4-5", usage) ?? 0
    const parts = { cachedInputTokens: million, cacheWriteTokens: 0, cacheWriteHourTokens: million }
    assert.closeTo(
      priceOf({ inputTokens: 10, outputTokens: 10, ...parts, reasoningTokens: million }),
      0.1 + 2 + 5,
      1e-9
    )
  })
})

describe("what is not known", () => {
  const usage = { inputTokens: million, outputTokens: million }
  for (const [provider, model, why] of [
    ["openai", "gpt-unheard-of", "no such model"],
    ["nobody", "gpt-4o-mini", "no such provider"],
    ["my-openai-proxy", "gpt-4o-mini", "a provider whose name is only like another"],
    ["ollama", "llama3.2", "a local server"],
    ["vllm", "gpt-4o-mini", "a local server with a known name"],
    ["openai", "", "an empty name"],
    ["", "gpt-4o-mini", "an empty provider"],
    ["openai", "text-embedding-3-small", "no price for output"],
    ["cerebras", "qwen-3-coder-480b", "an entry without a price"]
  ] as const) {
    it(`is undefined and never 0: ${why}`, () => {
      assert.isUndefined(price(provider, model, usage))
      assert.isUndefined(bound(provider, model, 1000, 1000))
    })
  }

  it("is undefined where the time is nonsense", () => {
    assert.isUndefined(price("openai", "o3", usage, Number.NaN))
  })
})

describe("all of the data", () => {
  const targets = ["openai", "anthropic", "google", "azure", "groq", "mistral", "deepseek", "together", "fireworks"]
    .concat("openrouter", "x-ai", "aws", "perplexity", "cohere", "moonshotai", "cerebras", "novita", "zhipuai")
    .flatMap(
      (provider) => findProvider({ providerId: provider })?.models.map(({ id }) => [provider, id] as const) ?? []
    )

  it("is large", () => {
    assert.isAbove(targets.length, 900)
  })

  const count = fc.nat(400_000)
  const share = fc.nat(100)

  const answer = fc
    .tuple(count, count, share, share, share, share)
    .map(([input, output, read, write, hour, thought]) => {
      const part = (whole: number, share: number) => Math.floor((whole * share) / 100)
      const cachedInputTokens = part(input, read)
      const cacheWriteTokens = part(input - cachedInputTokens, write)
      return {
        inputTokens: input,
        outputTokens: output,
        cachedInputTokens,
        cacheWriteTokens,
        cacheWriteHourTokens: part(cacheWriteTokens, hour),
        reasoningTokens: part(output, thought)
      }
    })

  it("keeps its law: no answer within a bound costs more than the bound", () => {
    const numRuns = cases(10_000)
    let priced = 0
    fc.assert(
      fc.property(fc.constantFrom(...targets), answer, count, count, ([provider, model], answer, more, longer) => {
        const most = bound(provider, model, answer.inputTokens + more, answer.outputTokens + longer, true)
        const actual = price(provider, model, answer)
        assert.strictEqual(actual === undefined, most === undefined)
        if (actual === undefined || most === undefined) return
        priced++
        assert.isAtMost(actual, most * (1 + 1e-12))
      }),
      { numRuns }
    )
    assert.isAbove(priced, numRuns / 2)
  })

  it("never charges less for an hour than for minutes", () => {
    fc.assert(
      fc.property(fc.constantFrom(...targets), answer, ([provider, model], answer) => {
        const hour = price(provider, model, answer)
        const minutes = price(provider, model, { ...answer, cacheWriteHourTokens: 0 })
        if (hour !== undefined) assert.isAtLeast(hour * (1 + 1e-12), minutes ?? 0)
      }),
      { numRuns: cases(10_000) }
    )
  })
})

describe("the layer", () => {
  it.effect("puts the list into force, behind your own prices", () =>
    Effect.gen(function* () {
      const usage = { inputTokens: million, outputTokens: 0 }
      const list = yield* Effect.provide(Prices.Prices, GenaiPrices.layer)
      assert.strictEqual(list.price({ provider: "openai", model: "gpt-4o-mini", usage, at: now }), 0.15)
      const mine = Prices.orElse(Prices.table({ "openai/gpt-4o-mini": { input: 0.1, output: 0.4 } }), list)
      assert.strictEqual(mine.price({ provider: "openai", model: "gpt-4o-mini", usage, at: now }), 0.1)
    })
  )
})

describe("a price", () => {
  const providers = ["openai", "anthropic", "google", "groq", "mistral", "deepseek", "x-ai", "openrouter", "together"]
  const models = providers.flatMap((id) =>
    (findProvider({ providerId: id })?.models ?? []).map((model) => ({ provider: id, model: model.id }))
  )
  const count = fc.nat({ max: 300_000 })
  const at = Date.parse("2026-11-01T12:00:00Z")

  it("is the one that the package calculates, for every model and all kinds of tokens", () => {
    assert.isAbove(models.length, 300)
    fc.assert(
      fc.property(
        fc.constantFrom(...models),
        fc.tuple(count, count, count, count),
        ({ model, provider }, [plain, cached, answer, thought]) => {
          const usage = {
            inputTokens: plain + cached,
            cachedInputTokens: cached,
            outputTokens: answer + thought,
            reasoningTokens: thought
          }
          const ours = GenaiPrices.list.price({ provider, model, at, usage })
          const counts = {
            input_tokens: usage.inputTokens,
            cache_read_tokens: cached,
            cache_write_tokens: 0,
            output_tokens: usage.outputTokens,
            output_reasoning_tokens: thought
          }
          let theirs: number | undefined
          try {
            const found = calcPrice(counts, model, { providerId: provider, timestamp: new Date(at) })
            const { input_mtok: input, output_mtok: output } = found?.model_price ?? {}
            theirs = input === undefined || output === undefined ? undefined : found?.total_price
          } catch {}
          if (ours === undefined || theirs === undefined) assert.strictEqual(ours, theirs, `${provider}/${model}`)
          else assert.closeTo(ours, theirs, 1e-9 * Math.max(1, theirs), `${provider}/${model}`)
        }
      ),
      { numRuns: 5000 }
    )
  })
})
