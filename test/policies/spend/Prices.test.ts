import { assert, describe, it } from "@effect/vitest"
import { Effect, Either, FastCheck as fc, Schema } from "effect"
import { Prices } from "effect-steadfast"
import * as Usage from "../../../src/policies/Usage.js"
import { cases } from "../../support/cases.js"

const million = 1_000_000
const at = Date.UTC(2026, 0, 1)

const usage = (inputTokens: number, outputTokens: number, more: Partial<Usage.Usage> = {}): Usage.Usage => ({
  inputTokens,
  outputTokens,
  ...more
})

const priceOf = (list: Prices.PriceList, provider: string, model: string, billed = usage(million, million)) =>
  list.price({ provider, model, usage: billed, at })

const boundOf = (list: Prices.PriceList, provider: string, model: string, inputTokens: number, outputTokens: number) =>
  list.bound({ provider, model, inputTokens, outputTokens, at })

const mini = Prices.table({ "openai/gpt-4o-mini": { input: 0.15, cachedInput: 0.075, output: 0.6 } })
const haiku = Prices.table({
  "anthropic/claude-haiku-4-5": { input: 1, cachedInput: 0.1, cacheWrite: 1.25, output: 5 }
})

const messageOf = (run: () => unknown): string => {
  try {
    run()
  } catch (error) {
    assert.instanceOf(error, RangeError)
    return (error as RangeError).message
  }
  return assert.fail("nothing was thrown")
}

describe("a table", () => {
  it("prices a million tokens in and out", () => {
    assert.strictEqual(priceOf(mini, "openai", "gpt-4o-mini"), 0.75)
    assert.strictEqual(boundOf(mini, "openai", "gpt-4o-mini", million, million), 0.75)
  })

  it("takes the discount off what was read from the cache, and adds what writing to it costs", () => {
    assert.closeTo(priceOf(haiku, "anthropic", "claude-haiku-4-5", usage(1000, 0)) ?? 0, 0.001, 1e-12)
    const read = usage(1000, 0, { cachedInputTokens: 900 })
    assert.closeTo(priceOf(haiku, "anthropic", "claude-haiku-4-5", read) ?? 0, 0.000_19, 1e-12)
    const written = usage(1000, 0, { cacheWriteTokens: 1000 })
    assert.closeTo(priceOf(haiku, "anthropic", "claude-haiku-4-5", written) ?? 0, 0.001_25, 1e-12)
  })

  it("gives no discount that it was not told of", () => {
    const plain = Prices.table({ "p/m": { input: 2, output: 4 } })
    const cached = usage(million, 0, { cachedInputTokens: million, cacheWriteTokens: 0 })
    assert.strictEqual(priceOf(plain, "p", "m", cached), 2)
  })

  it("counts thoughts once: they are part of the output", () => {
    assert.strictEqual(priceOf(mini, "openai", "gpt-4o-mini", usage(0, million, { reasoningTokens: 600_000 })), 0.6)
  })

  const opus = (rates: Partial<Prices.Rates>, billed: Usage.Usage) =>
    priceOf(Prices.table({ "anthropic/opus": { input: 10, output: 50, ...rates } }), "anthropic", "opus", billed)

  const minutes = usage(100_000, 0, { cacheWriteTokens: 100_000 })
  const hour = usage(100_000, 0, { cacheWriteTokens: 100_000, cacheWriteHourTokens: 100_000 })

  it("has a rate of its own for what is written to the cache for an hour", () => {
    const rates = { cacheWrite: 12.5, cacheWriteHour: 18 }
    assert.closeTo(opus(rates, minutes) ?? 0, 1.25, 1e-12)
    assert.closeTo(opus(rates, hour) ?? 0, 1.8, 1e-12)
    const mixed = usage(100_000, 0, {
      cachedInputTokens: 10_000,
      cacheWriteTokens: 60_000,
      cacheWriteHourTokens: 20_000
    })
    assert.closeTo(opus({ ...rates, cachedInput: 1 }, mixed) ?? 0, 0.3 + 0.01 + 0.5 + 0.36, 1e-12)
  })

  it("charges 1.25 times the input for a write without a rate, and twice the input for one for an hour", () => {
    assert.closeTo(opus({}, minutes) ?? 0, 1.25, 1e-12)
    assert.closeTo(opus({}, hour) ?? 0, 2, 1e-12)
    assert.closeTo(opus({ cacheWrite: 12.5 }, hour) ?? 0, 2, 1e-12)
    assert.closeTo(opus({ cacheWrite: 30 }, hour) ?? 0, 3, 1e-12, "an hour costs no less than minutes")
  })

  it("takes a rate for writes as it is, also where that is lower than the input", () => {
    assert.closeTo(opus({ cacheWrite: 5, cacheWriteHour: 5 }, hour) ?? 0, 0.5, 1e-12)
    assert.strictEqual(opus({ cacheWrite: 0 }, minutes), 0)
  })

  it("charges every token that is counted, where a part is larger than its whole", () => {
    assert.closeTo(opus({}, usage(0, 0, { cacheWriteHourTokens: 100_000 })) ?? 0, 2, 1e-12)
    assert.closeTo(opus({}, usage(10, 0, { cachedInputTokens: 50_000, cacheWriteTokens: 40_000 })) ?? 0, 1, 1e-12)
    assert.closeTo(opus({}, usage(0, 0, { reasoningTokens: 100_000 })) ?? 0, 5, 1e-12)
    const most = Number.MAX_SAFE_INTEGER
    const absurd = usage(most, 0, { cachedInputTokens: most, cacheWriteTokens: most })
    assert.strictEqual(opus({ cachedInput: 0, cacheWrite: 0 }, absurd), 0, "no count is paid back")
  })

  it("bounds at the dearest rate that is known, and at the default of a write that is asked for", () => {
    const bound = (rates: Partial<Prices.Rates>, cacheWrite?: boolean) =>
      Prices.table({ "p/m": { input: 10, output: 50, ...rates } }).bound({
        provider: "p",
        model: "m",
        inputTokens: 100_000,
        outputTokens: 0,
        cacheWrite,
        at
      })
    assert.strictEqual(bound({}), 1)
    assert.strictEqual(bound({}, false), 1)
    assert.strictEqual(bound({}, true), 2)
    assert.strictEqual(bound({ cacheWrite: 12.5 }), 1.25)
    assert.strictEqual(bound({ cacheWrite: 12.5 }, true), 2)
    assert.strictEqual(bound({ cacheWrite: 12.5, cacheWriteHour: 15 }), 1.5)
    assert.strictEqual(bound({ cacheWrite: 12.5, cacheWriteHour: 15 }, true), 1.5)
  })

  it("bounds at the dearest rate for input", () => {
    assert.strictEqual(boundOf(haiku, "anthropic", "claude-haiku-4-5", million, 0), 1.25)
  })

  it("knows a free model, which is not the same as not knowing", () => {
    const local = Prices.table({ "vllm/llama": { input: 0, output: 0 } })
    assert.strictEqual(priceOf(local, "vllm", "llama"), 0)
    assert.isUndefined(priceOf(local, "vllm", "qwen"))
  })

  it("keeps the slashes of a model's name", () => {
    const routed = Prices.table({ "openrouter/openai/gpt-4o-mini": { input: 1, output: 1 } })
    assert.strictEqual(priceOf(routed, "openrouter", "openai/gpt-4o-mini"), 2)
    assert.isUndefined(priceOf(routed, "openrouter/openai", "gpt-4o"))
  })
})

describe("the names of models", () => {
  for (const model of ["gpt-4o-mini", "gpt-4o-mini-2024-07-18", "gpt-4o-mini-20240718", "gpt-4o-mini@20240718"]) {
    it(`finds ${model}`, () => {
      assert.strictEqual(priceOf(mini, "openai", model), 0.75)
    })
  }

  for (const model of [
    "gpt-4o",
    "gpt-4o-mini-",
    "gpt-4o-mini-latest",
    "gpt-4o-mini-0718",
    "gpt-4o-mini-2024-13-18",
    "gpt-4o-mini-2024-0718",
    "gpt-4o-mini-2024-07-18-preview",
    "GPT-4o-mini",
    "ft:gpt-4o-mini-2024-07-18",
    ""
  ]) {
    it(`does not take "${model}" for it`, () => {
      assert.isUndefined(priceOf(mini, "openai", model))
      assert.isUndefined(boundOf(mini, "openai", model, 1, 1))
    })
  }

  it("is not the same at another provider", () => {
    assert.isUndefined(priceOf(mini, "azure-openai", "gpt-4o-mini"))
  })

  it("prefers the dated entry, and does not take a date away that the table has", () => {
    const both = Prices.table({
      "openai/gpt-4o": { input: 2.5, output: 10 },
      "openai/gpt-4o-2024-05-13": { input: 5, output: 15 }
    })
    assert.strictEqual(priceOf(both, "openai", "gpt-4o-2024-05-13"), 20)
    assert.strictEqual(priceOf(both, "openai", "gpt-4o-2024-08-06"), 12.5)
    const dated = Prices.table({ "openai/gpt-4o-2024-05-13": { input: 5, output: 15 } })
    assert.isUndefined(priceOf(dated, "openai", "gpt-4o"))
  })

  it("is not found on the prototype of an object", () => {
    assert.isUndefined(priceOf(Prices.table({}), "constructor", "x"))
    assert.isUndefined(priceOf(Prices.table({}), "", ""))
  })
})

describe("a wrong table", () => {
  const rejected: ReadonlyArray<readonly [name: string, table: unknown, named: ReadonlyArray<string>]> = [
    ["a negative rate", { "p/m": { input: -1, output: 1 } }, ["p/m", "input", "-1"]],
    ["no rate for the output", { "p/m": { input: 1 } }, ["p/m", "output", "missing"]],
    ["text for a number", { "p/m": { input: 1, output: "free" } }, ["p/m", "output", "free"]],
    ["NaN", { "p/m": { input: Number.NaN, output: 1 } }, ["p/m", "input", "NaN"]],
    ["an infinite rate", { "p/m": { input: 1, output: Number.POSITIVE_INFINITY } }, ["p/m", "output", "Infinity"]],
    ["a misspelt rate", { "p/m": { input: 1, output: 1, cached: 1 } }, ["p/m", "cached"]],
    ["a name without a provider", { "gpt-4o": { input: 1, output: 1 } }, ["gpt-4o"]],
    ["a name without a model", { "openai/": { input: 1, output: 1 } }, ["openai/"]]
  ]
  for (const [name, table, named] of rejected) {
    it(`is refused: ${name}`, () => {
      const message = messageOf(() => Prices.table(table as Prices.Table))
      for (const part of ["Prices.table", ...named]) assert.include(message, part)
    })
  }

  it("is what the schema refuses too", () => {
    const decode = Schema.decodeUnknownEither(Prices.Table)
    assert.isTrue(Either.isRight(decode(JSON.parse('{"openai/gpt-4o-mini":{"input":0.15,"output":0.6}}'))))
    assert.isTrue(Either.isLeft(decode({ "openai/gpt-4o-mini": { input: 0.15 } })))
    assert.isTrue(Either.isLeft(decode({ nobody: { input: 0.15, output: 1 } })))
    assert.isTrue(Either.isLeft(decode({ "openai/gpt-4o-mini": { input: 0.15, output: 1, cached: 1 } })))
  })
})

describe("orElse", () => {
  const mine = Prices.table({ "openai/gpt-4o-mini": { input: 9, output: 9 } })

  it("asks the first, and the second for what that does not know", () => {
    const list = Prices.orElse(mine, Prices.orElse(mini, haiku))
    assert.strictEqual(priceOf(list, "openai", "gpt-4o-mini"), 18)
    assert.strictEqual(boundOf(list, "openai", "gpt-4o-mini", million, 0), 9)
    assert.strictEqual(priceOf(list, "anthropic", "claude-haiku-4-5"), 6)
    assert.strictEqual(boundOf(list, "anthropic", "claude-haiku-4-5", 0, million), 5)
    assert.isUndefined(priceOf(list, "nobody", "nothing"))
    assert.isUndefined(boundOf(list, "nobody", "nothing", 1, 1))
  })

  it("takes a price of 0 for an answer", () => {
    const free = Prices.table({ "openai/gpt-4o-mini": { input: 0, output: 0 } })
    assert.strictEqual(priceOf(Prices.orElse(mini)(free), "openai", "gpt-4o-mini"), 0)
    assert.strictEqual(boundOf(Prices.orElse(mini)(free), "openai", "gpt-4o-mini", 5, 5), 0)
  })
})

describe("the list in force", () => {
  it.effect("knows nothing unless one is provided", () =>
    Effect.gen(function* () {
      const list = yield* Prices.Prices
      assert.isUndefined(priceOf(list, "openai", "gpt-4o-mini"))
      assert.isUndefined(boundOf(list, "openai", "gpt-4o-mini", 1, 1))
      const provided = yield* Effect.provide(Prices.Prices, Prices.layer(mini))
      assert.strictEqual(priceOf(provided, "openai", "gpt-4o-mini"), 0.75)
    })
  )
})

describe("the laws of a table", () => {
  const rate = fc.double({ min: 0, max: 200, noNaN: true })
  const optional = { cachedInput: rate, cacheWrite: rate, cacheWriteHour: rate }
  const rates = fc.record({ input: rate, output: rate, ...optional }, { requiredKeys: ["input", "output"] })
  const count = fc.nat(2_000_000)
  const runs = { numRuns: cases(10_000) }

  const shares = fc.tuple(fc.nat(100), fc.nat(100), fc.nat(100))

  const billed = fc.tuple(count, count, shares).map(([inputTokens, outputTokens, [read, write, hour]]) => {
    const cachedInputTokens = Math.floor((inputTokens * read) / 100)
    const cacheWriteTokens = Math.floor(((inputTokens - cachedInputTokens) * write) / 100)
    const cacheWriteHourTokens = Math.floor((cacheWriteTokens * hour) / 100)
    return usage(inputTokens, outputTokens, { cachedInputTokens, cacheWriteTokens, cacheWriteHourTokens })
  })

  const priceAt = (rates: Prices.Rates, billed: Usage.Usage) =>
    priceOf(Prices.table({ "p/m": rates }), "p", "m", billed) ?? Number.NaN

  it("no answer within a bound costs more than the bound, however much of it was cached", () => {
    fc.assert(
      fc.property(rates, billed, count, count, fc.boolean(), (rates, billed, more, longer, cacheWrite) => {
        const list = Prices.table({ "p/m": rates })
        const asksOrKnows = cacheWrite || (rates.cacheWrite !== undefined && rates.cacheWriteHour !== undefined)
        const actual = asksOrKnows ? billed : { ...billed, cacheWriteTokens: 0, cacheWriteHourTokens: 0 }
        const bound = list.bound({
          provider: "p",
          model: "m",
          inputTokens: actual.inputTokens + more,
          outputTokens: actual.outputTokens + longer,
          cacheWrite,
          at
        })
        const price = priceAt(rates, actual)
        assert.isAtLeast(price, 0)
        assert.isAtMost(price, (bound ?? Number.NaN) * (1 + 1e-12))
      }),
      runs
    )
  })

  it("no token more makes an answer cheaper, whatever it is counted as", () => {
    const fields = [
      ["inputTokens"],
      ["outputTokens"],
      ["inputTokens", "cachedInputTokens"],
      ["inputTokens", "cacheWriteTokens"],
      ["inputTokens", "cacheWriteTokens", "cacheWriteHourTokens"],
      ["outputTokens", "reasoningTokens"]
    ] as const
    fc.assert(
      fc.property(rates, billed, fc.constantFrom(...fields), count, (rates, billed, fields, more) => {
        const grown = { ...billed }
        for (const field of fields) grown[field] = (billed[field] ?? 0) + more
        assert.isAtLeast(priceAt(rates, grown) * (1 + 1e-12), priceAt(rates, billed))
      }),
      runs
    )
  })

  it("a write without a rate costs no less than plain input, and for an hour no less than for minutes", () => {
    const plain = fc.record({ input: rate, output: rate })
    fc.assert(
      fc.property(plain, billed, (rates, billed) => {
        const dearer = priceAt(rates, billed)
        const minutes = priceAt(rates, { ...billed, cacheWriteHourTokens: 0 })
        const unwritten = priceAt(rates, { ...billed, cacheWriteTokens: 0, cacheWriteHourTokens: 0 })
        assert.isAtLeast(dearer * (1 + 1e-12), minutes)
        assert.isAtLeast(minutes * (1 + 1e-12), unwritten)
      }),
      runs
    )
  })
})
