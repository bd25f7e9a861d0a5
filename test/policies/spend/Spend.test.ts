import { assert, describe, it } from "@effect/vitest"
import { Context, Deferred, Effect, Exit, Fiber, TestClock } from "effect"
import { Deadline, LlmError, Prices, Spend, type Tokens } from "effect-steadfast"
import type { Usage } from "../../../src/policies/Usage.js"
import { errorOf } from "../../support/errors.js"
import { errorIn, under } from "../../support/time.js"

/** A dollar a million tokens in, ten dollars a million out. */
const prices = Prices.table({ "openai/gpt-4o-mini": { input: 1, output: 10, cacheWrite: 2 } })

const priced = Effect.provide(Prices.layer(prices))

const ask = (prompt: Spend.HoldOptions["prompt"], maxTokens?: number, model = "gpt-4o-mini"): Spend.HoldOptions => ({
  provider: "openai",
  model,
  prompt,
  maxTokens
})

const usage = (inputTokens: number, outputTokens: number): Usage => ({ inputTokens, outputTokens })

/** An attempt that took what it says, after it was sent with a `maxTokens`. */
const attempt = (asked: Spend.HoldOptions, taken: Usage | undefined, sent: Array<number | undefined> = []) =>
  Spend.attempt({ ...asked, usage: () => taken }, (maxTokens) =>
    Effect.sync(() => {
      sent.push(maxTokens)
      return "answer"
    })
  )

const failing = (asked: Spend.HoldOptions, error: LlmError.LlmError) =>
  Spend.attempt({ ...asked, usage: () => undefined }, () => Effect.fail(error))

const budgetOf = (exit: Exit.Exit<unknown, unknown>): LlmError.BudgetExceeded => {
  const error = errorIn(exit)
  assert.instanceOf(error, LlmError.BudgetExceeded)
  return error as LlmError.BudgetExceeded
}

describe("without a scope", () => {
  it.effect("nothing is held, refused or counted, and maxTokens is the request's own", () =>
    Effect.gen(function* () {
      assert.isUndefined(Spend.hold(Context.empty(), ask(1_000_000_000), 0))
      const sent: Array<number | undefined> = []
      yield* attempt(ask(5), usage(1, 1), sent)
      yield* attempt(ask(5, 7), usage(1, 1), sent)
      assert.deepStrictEqual(sent, [undefined, 7])
      assert.deepStrictEqual(yield* Spend.spent, { usd: 0, tokens: 0, attempts: 0, unpriced: 0 })
      const none = Number.POSITIVE_INFINITY
      assert.deepStrictEqual(yield* Spend.remaining, { usd: none, tokens: none, attempts: none, millis: none })
    })
  )
})

describe("what an attempt is charged", () => {
  const held = ask(1000, 500)
  const hold = 0.002 + 0.005 // the prompt may be written to the cache

  const charged = (run: Effect.Effect<unknown, unknown>) =>
    Effect.gen(function* () {
      yield* Effect.exit(run)
      const { attempts, usd } = yield* Spend.remaining
      const spent = yield* Spend.spent
      assert.closeTo(usd, 1 - spent.usd, 1e-12, "nothing is held any more")
      assert.strictEqual(attempts, 10 - spent.attempts)
      return spent
    }).pipe(Spend.within({ usd: 1, attempts: 10 }), priced)

  it.effect("its usage, where that is known", () =>
    Effect.gen(function* () {
      const spent = yield* charged(attempt(held, usage(800, 100)))
      assert.deepStrictEqual(spent, { usd: 0.0018, tokens: 900, attempts: 1, unpriced: 0 })
    })
  )

  it.effect("its usage, also where the prompt had more tokens than were held", () =>
    Effect.gen(function* () {
      const spent = yield* charged(attempt(held, usage(100_000, 100)))
      assert.deepStrictEqual(spent, { usd: 0.101, tokens: 100_100, attempts: 1, unpriced: 0 })
    })
  )

  it.effect("every token that its usage counts, where a part is larger than its whole", () =>
    Effect.gen(function* () {
      const parts = { cachedInputTokens: 300, cacheWriteTokens: 500, reasoningTokens: 200 }
      const spent = yield* charged(attempt(held, { ...usage(100, 100), ...parts }))
      assert.deepStrictEqual(spent, { usd: 0.0033, tokens: 1000, attempts: 1, unpriced: 0 })
    })
  )

  for (const delivery of ["not-sent", "rejected"] as const) {
    it.effect(`the attempt alone, where it was ${delivery}`, () =>
      Effect.gen(function* () {
        const spent = yield* charged(failing(held, errorOf("ServerError", { delivery })))
        assert.deepStrictEqual(spent, { usd: 0, tokens: 0, attempts: 1, unpriced: 0 })
      })
    )
  }

  const whole = { usd: hold, tokens: 1500, attempts: 1, unpriced: 0 }

  it.effect("the whole hold, where it may have been billed", () =>
    Effect.gen(function* () {
      for (const tag of ["Timeout", "StreamInterrupted"] as const) {
        assert.deepStrictEqual(yield* charged(failing(held, errorOf(tag, { delivery: "unknown" }))), whole)
      }
    })
  )

  it.effect("the whole hold, where the answer did not tell its usage", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* charged(attempt(held, undefined)), whole)
    })
  )

  for (const tokens of [Number.MAX_SAFE_INTEGER, 4_294_967_295, 1_000_000_001]) {
    it.effect(`the whole hold, where the answer told ${tokens} tokens, which none takes`, () =>
      Effect.gen(function* () {
        assert.deepStrictEqual(yield* charged(attempt(held, usage(10, tokens))), whole)
      })
    )
  }

  it.effect("the whole hold, where it died or failed with what is none of ours", () =>
    Effect.gen(function* () {
      const run = (effect: Effect.Effect<never, unknown>) =>
        charged(Spend.attempt({ ...held, usage: () => undefined }, () => effect))
      assert.deepStrictEqual(yield* run(Effect.die("a bug")), whole)
      assert.deepStrictEqual(yield* run(Effect.fail("rejected")), whole)
    })
  )

  it.effect("the whole hold, where it was interrupted", () =>
    Effect.gen(function* () {
      const started = yield* Deferred.make<void>()
      const endless = Spend.attempt({ ...held, usage: () => undefined }, () =>
        Effect.zipRight(Deferred.succeed(started, undefined), Effect.never)
      )
      const spent = yield* charged(
        Effect.gen(function* () {
          const fiber = yield* Effect.fork(endless)
          yield* Deferred.await(started)
          assert.closeTo((yield* Spend.remaining).usd, 1 - hold, 1e-12)
          yield* Fiber.interrupt(fiber)
        })
      )
      assert.deepStrictEqual(spent, whole)
    })
  )

  it.effect("nothing at all, where it was given back before it began", () =>
    Effect.gen(function* () {
      const spent = yield* charged(
        Effect.gen(function* () {
          const context = yield* Effect.context<never>()
          const held = Spend.hold(context, ask(1000, 500), 0)
          assert(held?._tag === "Hold")
          held.release()
          held.settle({ delivery: "unknown" })
        })
      )
      assert.deepStrictEqual(spent, { usd: 0, tokens: 0, attempts: 0, unpriced: 0 })
    })
  )

  it.effect("once, whoever settles again", () =>
    Effect.gen(function* () {
      const spent = yield* charged(
        Effect.gen(function* () {
          const held = Spend.hold(yield* Effect.context<never>(), ask(1000, 500), 0)
          assert(held?._tag === "Hold")
          held.settle({ usage: usage(10, 10), delivery: "unknown" })
          held.settle({ delivery: "unknown" })
          held.release()
        })
      )
      assert.deepStrictEqual(spent, { usd: 0.00011, tokens: 20, attempts: 1, unpriced: 0 })
    })
  )

  it.effect("the hold's dollars, where the list forgot the price meanwhile", () =>
    Effect.gen(function* () {
      const forgetful = { ...prices, price: () => undefined }
      const spent = yield* attempt(held, usage(1, 1)).pipe(
        Effect.zipRight(Spend.spent),
        Spend.within({ usd: 1 }),
        Effect.provide(Prices.layer(forgetful))
      )
      assert.deepStrictEqual(spent, { usd: hold, tokens: 2, attempts: 1, unpriced: 0 })
    })
  )

  it.effect("at the prices of when it began", () =>
    Effect.gen(function* () {
      const times: Array<number> = []
      const dated: Prices.PriceList = {
        bound: ({ at }) => times.push(at),
        price: ({ at }) => times.push(at)
      }
      const slow = Spend.attempt({ ...held, usage: () => usage(1, 1) }, () => Effect.sleep("5 seconds"))
      yield* TestClock.adjust("1 second")
      yield* under(slow.pipe(Spend.within({ usd: 100 }), Effect.provide(Prices.layer(dated))))
      assert.deepStrictEqual(times, [1000, 1000])
    })
  )
})

describe("a price list that throws, or gives what is no amount", () => {
  const fails = (): never => {
    throw new Error("no list")
  }
  const lists: Record<string, Prices.PriceList> = {
    throws: { price: fails, bound: fails },
    "not a number": { price: () => Number.NaN, bound: () => Number.NaN },
    "below zero": { price: () => -1, bound: () => -1 }
  }
  for (const [name, list] of Object.entries(lists)) {
    it.effect(`knows no price: ${name}`, () =>
      Effect.gen(function* () {
        const one = attempt(ask(5, 10), usage(5, 5))
        const error = budgetOf(yield* Effect.exit(Spend.within(one, { usd: 1 })))
        assert.include(error.message, "price")
        const both = Effect.zipRight(one, Spend.spent)
        const spent = yield* Spend.within(both, { usd: 1 }, { unpriced: "allow" })
        assert.deepInclude(spent, { usd: 0, unpriced: 1 })
      }).pipe(Effect.provide(Prices.layer(list)))
    )
  }
})

describe("a limit", () => {
  it.effect("on attempts counts retries, and names what it has", () =>
    Effect.gen(function* () {
      const exit = yield* Effect.exit(
        Effect.replicateEffect(attempt(ask(1), usage(1, 1)), 3).pipe(Spend.within({ attempts: 2 }, { name: "plan" }))
      )
      const error = budgetOf(exit)
      assert.deepInclude(error, { provider: "openai", model: "gpt-4o-mini", budget: "attempts", delivery: "not-sent" })
      assert.strictEqual(error.message, "plan: the limit is 2 attempts: 2 spent, 0 held, 1 asked")
      assert.isFalse(LlmError.isRetryable(error))
      assert.isFalse(LlmError.isFallbackable(error))
    })
  )

  it.effect("on tokens counts in and out, and what is held for others", () =>
    Effect.gen(function* () {
      const exit = yield* Effect.gen(function* () {
        yield* attempt(ask(100, 100), usage(90, 10))
        yield* Effect.fork(
          Spend.attempt({ ...ask(200, 50), usage: () => undefined }, () => Effect.never as Effect.Effect<string>)
        )
        yield* Effect.yieldNow()
        yield* attempt(ask(300, 300), undefined)
      }).pipe(Spend.within({ tokens: 900 }), Effect.scoped, Effect.exit)
      assert.strictEqual(budgetOf(exit).message, "spend: the limit is 900 tokens: 100 spent, 250 held, 600 asked")
      assert.strictEqual(budgetOf(exit).budget, "tokens")
    })
  )

  it.effect("on dollars holds the most that the attempt can cost", () =>
    Effect.gen(function* () {
      const exit = yield* Effect.exit(
        Effect.zipRight(attempt(ask(1000, 500), usage(1000, 400)), attempt(ask(1000, 500), undefined)).pipe(
          Spend.within({ usd: 0.0119 }),
          priced
        )
      )
      assert.strictEqual(budgetOf(exit).message, "spend: the limit is $0.0119: $0.005 spent, $0 held, $0.007 asked")
      assert.strictEqual(budgetOf(exit).budget, "usd")
    })
  )

  it.effect("is reached exactly: three times a third of it fits", () =>
    Effect.gen(function* () {
      const dime = Prices.table({ "openai/gpt-4o-mini": { input: 100_000, output: 0 } })
      const spent = yield* Effect.replicateEffect(attempt(ask(1, 1), usage(1, 0)), 3).pipe(
        Effect.zipRight(Spend.spent),
        Spend.within({ usd: 0.3, attempts: 3, tokens: 4 }),
        Effect.provide(Prices.layer(dime))
      )
      assert.deepStrictEqual(spent, { usd: 0.3, tokens: 3, attempts: 3, unpriced: 0 })
    })
  )

  const priceOf = (input: number) =>
    Effect.provide(Prices.layer(Prices.table({ "openai/gpt-4o-mini": { input, output: 0 } })))

  it.effect("is reached exactly, whatever floats make of its billionths", () =>
    Effect.gen(function* () {
      const spend = (tokens: number, usd: number) =>
        attempt(ask(tokens, 1), usage(tokens, 0)).pipe(Effect.zipRight(Spend.spent), Spend.within({ usd }))
      // 0.0157 * 1e9 is a little less than 15,700,000; 0.1 / 1e6 * 1e9 a little more than 100
      assert.strictEqual((yield* priceOf(15.7)(spend(1000, 0.0157))).usd, 0.0157)
      assert.strictEqual((yield* priceOf(0.1)(spend(1, 0.000_000_1))).usd, 0.000_000_1)
    })
  )

  it.effect("counts what is less than a billionth as one, and never as nothing", () =>
    Effect.gen(function* () {
      const spent = yield* priceOf(0.0004)(
        attempt(ask(1, 1), usage(1, 0)).pipe(Effect.zipRight(Spend.spent), Spend.within({ usd: 1 }))
      )
      assert.strictEqual(spent.usd, 0.000_000_001)
    })
  )

  it.effect("that a prompt passed has nothing left, and not less", () =>
    Effect.gen(function* () {
      const [left, exit] = yield* attempt(ask(10, 10), usage(5000, 10)).pipe(
        Effect.zipRight(Effect.zip(Spend.remaining, Effect.exit(attempt(ask(1, 1), undefined)))),
        Spend.within({ tokens: 100, attempts: 5 })
      )
      assert.deepInclude(left, { tokens: 0, attempts: 4 })
      assert.strictEqual(budgetOf(exit).message, "spend: the limit is 100 tokens: 5010 spent, 0 held, 2 asked")
    })
  )

  it.effect("of nothing refuses everything", () =>
    Effect.gen(function* () {
      for (const limits of [{ usd: 0 }, { tokens: 0 }, { attempts: 0 }]) {
        const exit = yield* Effect.exit(attempt(ask(1), undefined).pipe(Spend.within(limits), priced))
        assert.strictEqual(budgetOf(exit).budget, Object.keys(limits)[0])
      }
    })
  )

  it.effect("holds for calls that run at the same time", () =>
    Effect.gen(function* () {
      const slow = Spend.attempt({ ...ask(50, 50), usage: () => usage(50, 50) }, () => Effect.sleep("1 second"))
      const { exit } = yield* under(
        Effect.all(
          Array.from({ length: 10 }, () => Effect.exit(slow)),
          { concurrency: "unbounded" }
        ).pipe(
          Effect.map((exits) => exits.filter(Exit.isSuccess).length),
          Effect.zip(Spend.spent),
          Spend.within({ tokens: 350 })
        )
      )
      assert.deepStrictEqual(exit, Exit.succeed([3, { usd: 0, tokens: 300, attempts: 3, unpriced: 3 }]))
    })
  )
})

describe("an answer without a limit of its own", () => {
  const sentUnder = (limits: Spend.Limits, options?: Spend.Options, asked = ask(100)) =>
    Effect.gen(function* () {
      const sent: Array<number | undefined> = []
      const exit = yield* Effect.exit(attempt(asked, undefined, sent).pipe(Spend.within(limits, options), priced))
      return { exit, sent }
    })

  it.effect("is limited to 4096 tokens, or to what the scope says", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual((yield* sentUnder({ tokens: 100_000 })).sent, [4096])
      assert.deepStrictEqual((yield* sentUnder({ usd: 1 })).sent, [4096])
      assert.deepStrictEqual((yield* sentUnder({ usd: 1 }, { maxTokens: 800 })).sent, [800])
    })
  )

  it.effect("is limited to what is left, to the token", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual((yield* sentUnder({ tokens: 1000 })).sent, [900])
      assert.deepStrictEqual((yield* sentUnder({ usd: 0.01 })).sent, [980])
      assert.deepStrictEqual((yield* sentUnder({ usd: 0.01, tokens: 500 })).sent, [400])
      assert.deepStrictEqual((yield* sentUnder({ tokens: 116 })).sent, [16])
    })
  )

  it.effect("is refused where no answer fits", () =>
    Effect.gen(function* () {
      const tokens = yield* sentUnder({ tokens: 115 })
      assert.deepStrictEqual(tokens.sent, [])
      assert.include(budgetOf(tokens.exit).message, "116 asked")
      assert.strictEqual(budgetOf((yield* sentUnder({ usd: 0.0003 })).exit).budget, "usd")
      assert.strictEqual(budgetOf((yield* sentUnder({ tokens: 50 })).exit).budget, "tokens")
      assert.deepStrictEqual((yield* sentUnder({ tokens: 105 }, { maxTokens: 5 })).sent, [5])
    })
  )

  it.effect("is left as it is where only attempts or time are limited", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual((yield* sentUnder({ attempts: 3, time: "1 minute" })).sent, [undefined])
    })
  )

  it.effect("is not shortened where the request says how long it may be", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual((yield* sentUnder({ tokens: 1000 }, {}, ask(100, 900))).sent, [900])
      const exceeded = yield* sentUnder({ tokens: 1000 }, {}, ask(100, 901))
      assert.deepStrictEqual(exceeded.sent, [])
      assert.strictEqual(budgetOf(exceeded.exit).budget, "tokens")
    })
  )
})

describe("a prompt", () => {
  const prompt = { messages: [{ role: "user", content: "Say it again. ".repeat(100) }] }

  const heldUnder = (options?: Spend.Options) =>
    Effect.gen(function* () {
      const spent = yield* attempt(ask(prompt, 100), undefined).pipe(
        Effect.zipRight(Spend.spent),
        Spend.within({ tokens: 10_000 }, options)
      )
      return spent.tokens - 100
    })

  it.effect("is held at its estimate, and where that is strict at its bytes", () =>
    Effect.gen(function* () {
      const estimated = yield* heldUnder()
      const strict = yield* heldUnder({ strict: true })
      assert.isAtLeast(estimated, 1400 / 4)
      assert.isBelow(estimated, 1400 / 2)
      assert.isAtLeast(strict, 1400)
    })
  )

  it.effect("is held strictly in every scope inside a strict one", () =>
    Effect.gen(function* () {
      const inside = yield* heldUnder({ strict: false }).pipe(Spend.within({}, { strict: true }))
      assert.strictEqual(inside, yield* heldUnder({ strict: true }))
    })
  )
})

describe("a prompt that is written to the provider's cache", () => {
  const asked = { type: "ephemeral", ttl: "1h" }
  const text = (more: object) => ({ type: "text", text: "You are a poet.", ...more })
  const tool = (more: object) => ({ name: "weather", parameters: { type: "object" }, ...more })
  const messages = [{ role: "user", content: "Hello" }]

  /** The dollars that are held for the input of a prompt, by the token. */
  const heldFor = (prompt: Tokens.Prompt) =>
    attempt(ask(prompt, 0), undefined).pipe(
      Effect.zipRight(Spend.spent),
      Effect.map(({ tokens, usd }) => Math.round((usd * 1_000_000 * 100) / tokens) / 100),
      Spend.within({ usd: 1 }),
      Effect.provide(Prices.layer(Prices.table({ "openai/gpt-4o-mini": { input: 10, output: 50 } })))
    )

  const prompts: ReadonlyArray<readonly [where: string, prompt: Tokens.Prompt]> = [
    ["in a part of a message", { messages: [{ role: "user", content: [text({ cache_control: asked })] }] }],
    ["in a message", { messages: [...messages, { role: "user", content: "More", cache_control: asked }] }],
    ["in a tool", { messages, tools: [tool({}), tool({ cache_control: asked })] }],
    ["in the provider's options", { messages, providerOptions: { anthropic: { cache_control: asked } } }],
    [
      "in a block of the provider's options",
      { messages, providerOptions: { anthropic: { system: [text({}), text({ cache_control: asked })] } } }
    ]
  ]
  for (const [where, prompt] of prompts) {
    it.effect(`is held at the rate of a write for an hour, where that is asked for ${where}`, () =>
      Effect.gen(function* () {
        assert.strictEqual(yield* heldFor(prompt), 20)
      })
    )
  }

  it.effect("is held as plain input where nothing asks for it", () =>
    Effect.gen(function* () {
      const mentioned = 'Explain {"cache_control":{"type":"ephemeral"}}'
      assert.strictEqual(yield* heldFor({ messages: [{ role: "user", content: mentioned }] }), 10)
      const options = { anthropic: { cache_control: undefined }, openai: { cache_control: null } }
      assert.strictEqual(yield* heldFor({ messages, tools: [tool({})], providerOptions: options }), 10)
    })
  )

  it.effect("is charged within its hold", () =>
    Effect.gen(function* () {
      const written = { ...usage(100_000, 0), cacheWriteTokens: 100_000, cacheWriteHourTokens: 100_000 }
      const long = {
        messages: [{ role: "user", content: [{ ...text({ cache_control: asked }), text: "a ".repeat(200_000) }] }]
      }
      const [held, spent] = yield* Effect.gen(function* () {
        const hold = Spend.hold(yield* Effect.context<never>(), ask(long, 1), 0)
        assert(hold?._tag === "Hold")
        const held = 10 - (yield* Spend.remaining).usd
        hold.settle({ usage: written, delivery: "unknown" })
        return [held, yield* Spend.spent] as const
      }).pipe(
        Spend.within({ usd: 10 }),
        Effect.provide(Prices.layer(Prices.table({ "openai/gpt-4o-mini": { input: 10, output: 50 } })))
      )
      assert.strictEqual(spent.usd, 2)
      assert.isAtLeast(held, 2)
    })
  )
})

describe("an attempt without a price", () => {
  const unknown = ask(100, 100, "gpt-unheard-of")

  it.effect("is refused under a limit on dollars, and told how to give one", () =>
    Effect.gen(function* () {
      const error = budgetOf(yield* Effect.exit(attempt(unknown, usage(1, 1)).pipe(Spend.within({ usd: 5 }), priced)))
      assert.strictEqual(error.budget, "usd")
      for (const part of [
        "spend",
        "openai/gpt-unheard-of",
        "$5",
        "Prices.table",
        "effect-steadfast/prices",
        '"allow"'
      ]) {
        assert.include(error.message, part)
      }
    })
  )

  it.effect("is refused without any price list, also where the request has no maxTokens", () =>
    Effect.gen(function* () {
      const error = budgetOf(yield* Effect.exit(attempt(ask(1), undefined).pipe(Spend.within({ usd: 5 }))))
      assert.include(error.message, "no price is known")
    })
  )

  it.effect("is counted as unpriced where that is allowed, and still as tokens", () =>
    Effect.gen(function* () {
      const spent = yield* attempt(unknown, usage(10, 20)).pipe(
        Effect.zipRight(attempt(ask(100, 100), usage(10, 20))),
        Effect.zipRight(Spend.spent),
        Spend.within({ usd: 5 }, { unpriced: "allow" }),
        priced
      )
      assert.deepStrictEqual(spent, { usd: 0.00021, tokens: 60, attempts: 2, unpriced: 1 })
    })
  )

  it.effect("is counted as unpriced where no usage tells what it took", () =>
    Effect.gen(function* () {
      const spent = yield* attempt(unknown, undefined).pipe(Effect.zipRight(Spend.spent), Spend.within({ tokens: 500 }))
      assert.deepStrictEqual(spent, { usd: 0, tokens: 200, attempts: 1, unpriced: 1 })
    })
  )

  it.effect("is not counted as unpriced where it cost nothing", () =>
    Effect.gen(function* () {
      const spent = yield* Effect.exit(failing(unknown, errorOf("ServerError", { delivery: "rejected" }))).pipe(
        Effect.zipRight(Spend.spent),
        Spend.within({ attempts: 5 })
      )
      assert.deepStrictEqual(spent, { usd: 0, tokens: 0, attempts: 1, unpriced: 0 })
    })
  )

  it.effect("needs the leave of every scope with a limit on dollars", () =>
    Effect.gen(function* () {
      const inside = (outer: Spend.Options, limits: Spend.Limits) =>
        Effect.exit(
          attempt(unknown, usage(1, 1)).pipe(
            Spend.within(limits, { unpriced: "allow", name: "inner" }),
            Spend.within({ usd: 5 }, { name: "outer", ...outer })
          )
        )
      assert.include(budgetOf(yield* inside({}, { usd: 1 })).message, "outer: no price")
      assert.include(budgetOf(yield* inside({}, {})).message, "outer: no price")
      assert.isTrue(Exit.isSuccess(yield* inside({ unpriced: "allow" }, { usd: 1 })))
    })
  )
})

describe("a scope inside another", () => {
  it.effect("is charged to both", () =>
    Effect.gen(function* () {
      const [inner, outer] = yield* Effect.gen(function* () {
        yield* attempt(ask(100, 100), usage(100, 10))
        const inner = yield* attempt(ask(100, 100), usage(50, 5)).pipe(
          Effect.zipRight(Spend.spent),
          Spend.within({ tokens: 500 })
        )
        return [inner, yield* Spend.spent] as const
      }).pipe(Spend.within({ tokens: 1000 }), priced)
      assert.deepStrictEqual(inner, { usd: 0.0001, tokens: 55, attempts: 1, unpriced: 0 })
      assert.deepStrictEqual(outer, { usd: 0.0003, tokens: 165, attempts: 2, unpriced: 0 })
    })
  )

  it.effect("cannot spend more than is left outside, whatever it says", () =>
    Effect.gen(function* () {
      const exit = yield* Effect.exit(
        attempt(ask(100, 901), undefined).pipe(
          Spend.within({ tokens: 5000 }, { name: "inner" }),
          Spend.within({ tokens: 1000 }, { name: "outer" })
        )
      )
      assert.strictEqual(budgetOf(exit).message, "outer: the limit is 1000 tokens: 0 spent, 0 held, 1001 asked")
    })
  )

  it.effect("holds nothing anywhere when one of them refuses", () =>
    Effect.gen(function* () {
      const left = yield* Effect.exit(
        attempt(ask(100, 100), undefined).pipe(Spend.within({ attempts: 5 }), Spend.within({ attempts: 5 }))
      ).pipe(Effect.zipRight(Spend.remaining), Spend.within({ tokens: 199 }))
      assert.deepInclude(left, { tokens: 199 })
    })
  )

  it.effect("sees what is left in the tighter of the two", () =>
    Effect.gen(function* () {
      const left = yield* Spend.remaining.pipe(
        Spend.within({ usd: 0.5, tokens: 2000, time: "1 minute" }),
        Spend.within({ usd: 2, tokens: 1000, attempts: 7, time: "30 seconds" })
      )
      assert.deepStrictEqual(left, { usd: 0.5, tokens: 1000, attempts: 7, millis: 30_000 })
    })
  )

  it.effect("takes over how long an answer may be, unless it says so itself", () =>
    Effect.gen(function* () {
      const sent: Array<number | undefined> = []
      const one = attempt(ask(1), usage(1, 1), sent)
      yield* Spend.within(one, { tokens: 9000 }).pipe(
        Effect.zipRight(Spend.within(one, { tokens: 9000 }, { maxTokens: 2000 })),
        Spend.within({}, { maxTokens: 700 })
      )
      assert.deepStrictEqual(sent, [700, 2000])
    })
  )

  it.effect("is gone after its effect", () =>
    Effect.gen(function* () {
      yield* Spend.within(Effect.void, { attempts: 0 })
      yield* attempt(ask(1), undefined)
      assert.deepInclude(yield* Spend.remaining, { attempts: Number.POSITIVE_INFINITY })
    })
  )

  it.effect("may be opened once and shared by several effects", () =>
    Effect.gen(function* () {
      const scope = yield* Spend.open({ attempts: 2 }, { name: "session" })
      const one = Effect.provideService(attempt(ask(1), undefined), Spend.Spend, scope)
      yield* one
      yield* one
      assert.include(budgetOf(yield* Effect.exit(one)).message, "session: the limit is 2 attempts")
    })
  )
})

describe("time", () => {
  it.effect("ends what runs with a Timeout of the whole, which cost the whole hold", () =>
    Effect.gen(function* () {
      const slow = Spend.attempt({ ...ask(10, 10), usage: () => undefined }, () => Effect.sleep("1 minute"))
      const { exit, millis } = yield* under(
        Effect.exit(Spend.within(slow, { time: "10 seconds" }, { name: "plan" })).pipe(
          Effect.zip(Spend.spent),
          Spend.within({ tokens: 100 })
        )
      )
      assert.strictEqual(millis, 10_000)
      assert(Exit.isSuccess(exit))
      const [ended, spent] = exit.value
      const error = errorIn(ended)
      assert.instanceOf(error, LlmError.Timeout)
      assert.deepInclude(error, { phase: "total", message: "plan: the time is up (total)", delivery: "not-sent" })
      assert.isFalse(LlmError.isRetryable(error as LlmError.Timeout))
      assert.strictEqual(spent.tokens, 20)
    })
  )

  it.effect("names who was asked, and tells those it interrupts", () =>
    Effect.gen(function* () {
      let told: LlmError.LlmError | undefined
      const sleeper = Effect.flatMap(Deadline.Deadline, (limit) => {
        Deadline.asking(limit, { provider: "groq", model: "llama" })
        return Effect.onInterrupt(Effect.never, () =>
          Effect.sync(() => {
            told = Deadline.expired(limit)
          })
        )
      })
      const { exit } = yield* under(Spend.within(sleeper, { time: "10 seconds" }))
      assert.deepInclude(errorIn(exit), { provider: "groq", model: "llama", delivery: "unknown" })
      assert.strictEqual(told, errorIn(exit))
    })
  )

  it.effect("narrows the deadline that others ask, and is not longer than one in force", () =>
    Effect.gen(function* () {
      const seen = yield* Deadline.remaining.pipe(
        Spend.within({ time: "1 minute" }),
        Effect.zip(Deadline.remaining),
        Spend.within({ time: "20 seconds" })
      )
      assert.deepStrictEqual(seen, [20_000, 20_000])
      assert.strictEqual(yield* Spend.within(Deadline.remaining, { time: "5 seconds" }), 5000)
      assert.strictEqual(yield* Spend.within(Deadline.remaining, { attempts: 1 }), Number.POSITIVE_INFINITY)
    })
  )

  it.effect("leaves alone what ends before it", () =>
    Effect.gen(function* () {
      const { exit, millis } = yield* under(
        Spend.within(Effect.as(Effect.sleep("9 seconds"), "in time"), { time: "10 seconds" })
      )
      assert.deepStrictEqual([exit, millis], [Exit.succeed("in time"), 9000])
      const failed = yield* Effect.exit(Spend.within(Effect.fail("its own"), { time: "10 seconds" }))
      assert.deepStrictEqual(failed, Exit.fail("its own"))
    })
  )

  it.effect("does not keep waiting for what cannot be interrupted", () =>
    Effect.gen(function* () {
      const { exit, millis } = yield* under(
        Effect.uninterruptible(Spend.within(Effect.as(Effect.sleep("1 second"), "done"), { time: "10 seconds" }))
      )
      assert.deepStrictEqual([exit, millis], [Exit.succeed("done"), 1000])
    })
  )

  it.effect("refuses attempts of those who stayed behind", () =>
    Effect.gen(function* () {
      const scope = yield* Spend.open({ time: "10 seconds" }, { name: "session" })
      const one = Effect.provideService(attempt(ask(1), undefined), Spend.Spend, scope)
      yield* TestClock.adjust("9 seconds")
      yield* one
      yield* TestClock.adjust("1 second")
      const error = errorIn(yield* Effect.exit(one))
      assert.instanceOf(error, LlmError.Timeout)
      assert.deepInclude(error, {
        provider: "openai",
        model: "gpt-4o-mini",
        phase: "total",
        delivery: "not-sent",
        message: "session: the time is up (total)"
      })
    })
  )
})

describe("wrong options", () => {
  const rejected: ReadonlyArray<readonly [limits: Spend.Limits, options: Spend.Options, named: ReadonlyArray<string>]> =
    [
      [{ usd: -1 }, {}, ["usd", "-1"]],
      [{ usd: Number.NaN }, {}, ["usd", "NaN"]],
      [{ usd: Number.POSITIVE_INFINITY }, {}, ["usd", "Infinity"]],
      [{ tokens: 1.5 }, {}, ["tokens", "1.5", "whole"]],
      [{ attempts: -2 }, {}, ["attempts", "-2"]],
      [{ time: -5 }, {}, ["time", "-5"]],
      [{ time: "-5 seconds" }, {}, ["time", "-5 seconds"]],
      [{ time: "soon" as "1 second" }, {}, ["time", "soon"]],
      [{}, { maxTokens: 0 }, ["maxTokens", "0", "1 or more"]]
    ]
  for (const [limits, options, named] of rejected) {
    it(`are refused before anything runs: ${named.slice(0, 2).join(" ")}`, () => {
      for (const run of [() => Spend.within(Effect.void, limits, options), () => Spend.open(limits, options)]) {
        assert.throws(run, RangeError)
        for (const part of ["Spend", ...named]) assert.throws(run, part)
      }
    })
  }
})

describe("several answers to one request", () => {
  const prompt = (providerOptions?: Tokens.Prompt["providerOptions"]): Tokens.Prompt => ({
    messages: [{ role: "user", content: "hi" }],
    providerOptions
  })
  const heldFor = (asked: Spend.HoldOptions) =>
    Effect.gen(function* () {
      const before = yield* Spend.remaining
      const held = Spend.hold(yield* Effect.context<never>(), asked, 0)
      assert.strictEqual(held?._tag, "Hold")
      const { tokens, usd } = yield* Spend.remaining
      if (held?._tag === "Hold") held.release()
      return { tokens: before.tokens - tokens, usd: before.usd - usd }
    }).pipe(Spend.within({ usd: 1000, tokens: 100_000_000 }), priced)

  it.effect("are held as many times, whatever name the number has", () =>
    Effect.gen(function* () {
      const out = function* (options?: Tokens.Prompt["providerOptions"]) {
        const asked = prompt(options)
        const few = yield* heldFor(ask(asked, 1))
        const many = yield* heldFor(ask(asked, 1001))
        assert.closeTo(many.usd - few.usd, ((many.tokens - few.tokens) * 10) / 1e6, 1e-9)
        return (many.tokens - few.tokens) / 1000
      }
      for (const [options, answers] of [
        [undefined, 1],
        [{ openai: { n: 3 } }, 3],
        [{ openai: { n: 1 }, azure: { n: 4 } }, 4],
        [{ gemini: { generationConfig: { candidateCount: 8 } } }, 8],
        [{ gemini: { generation_config: { candidate_count: 2 } } }, 2],
        [{ openai: { n: "5" } }, 1],
        [{ openai: { n: -5 } }, 1],
        [{ openai: { n: Number.POSITIVE_INFINITY } }, 1000]
      ] as const) {
        assert.strictEqual(yield* out(options), answers, JSON.stringify(options))
      }
    })
  )

  it.effect("get a maxTokens that fits all of them", () =>
    Effect.gen(function* () {
      const sent: Array<number | undefined> = []
      yield* attempt(ask(prompt({ openai: { n: 4 } })), usage(10, 400), sent)
      assert.isAtMost((sent[0] ?? 0) * 4, 1000)
      assert.isAbove((sent[0] ?? 0) * 4, 900)
      assert.strictEqual((yield* Spend.spent).tokens, 410)
    }).pipe(Spend.within({ tokens: 1000 }))
  )
})
