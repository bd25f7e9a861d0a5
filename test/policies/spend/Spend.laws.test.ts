import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, FastCheck as fc } from "effect"
import { type LlmError, Prices, Spend } from "effect-steadfast"
import * as Account from "../../../src/policies/spend/SpendAccount.js"
import { cases } from "../../support/cases.js"
import { errorOf } from "../../support/errors.js"

const runs = { numRuns: cases(10_000) }

/** Rates whose products are no whole billionths. */
const prices = Prices.table({ "p/m": { input: 0.15, output: 0.6, cachedInput: 0.0375 } })

const limits = fc.record(
  {
    usd: fc.double({ min: 0, max: 0.0004, noNaN: true }),
    tokens: fc.nat(800),
    attempts: fc.nat(8)
  },
  { requiredKeys: [] }
)

const options = fc.record(
  { maxTokens: fc.integer({ min: 1, max: 120 }), unpriced: fc.constantFrom("allow" as const, "refuse" as const) },
  { requiredKeys: [] }
)

/** A tree of scopes: each inside one before it, or in none. */
const tree = fc.array(fc.tuple(limits, options, fc.option(fc.nat(5), { freq: 4 })), { minLength: 1, maxLength: 4 })

/** What a scope is to its account. */
interface Ledger extends Account.Ledger {
  readonly outer: Ledger | undefined
  readonly maxTokens: number
  account: Account.Account
}

const open = (scopes: ReadonlyArray<readonly [Spend.Limits, Spend.Options, number | null]>): Array<Ledger> => {
  const opened: Array<Ledger> = []
  for (const [limits, options, parent] of scopes) {
    opened.push({
      limits: Account.toLimits({ usd: limits.usd, tokens: limits.tokens, attempts: limits.attempts }),
      unpriced: options.unpriced ?? "refuse",
      maxTokens: options.maxTokens ?? 100,
      account: Account.empty,
      outer: parent === null ? undefined : opened[parent % Math.max(1, opened.length)]
    })
  }
  return opened
}

type Shares = readonly [input: number, output: number, cached: number]

const share = fc.double({ min: 0, max: 1, noNaN: true })

type End = "usage" | "free" | "unknown" | "release"

const step = fc.oneof(
  fc.record({
    _tag: fc.constant("hold" as const),
    scope: fc.nat(4),
    inputTokens: fc.nat(150),
    maxTokens: fc.option(fc.integer({ min: 1, max: 150 }), { nil: undefined }),
    model: fc.constantFrom("m", "m", "m", "unknown")
  }),
  fc.record({
    _tag: fc.constant("settle" as const),
    which: fc.nat(20),
    end: fc.constantFrom<End>("usage", "usage", "free", "unknown", "release"),
    shares: fc.tuple(share, share, share)
  })
)

const around = <L extends { readonly outer: L | undefined }>(scope: L): ReadonlyArray<L> =>
  scope.outer === undefined ? [scope] : [scope, ...around(scope.outer)]

const budgets = ["usd", "tokens", "attempts"] as const

type Step = typeof step extends fc.Arbitrary<infer A> ? A : never

/** Asked after every step of every case: an assertion each would be most of the time. */
const assertWithin = (ledgers: Iterable<Account.Ledger>): void => {
  for (const { account, limits } of ledgers) {
    for (const budget of budgets) {
      const held = account.held[budget]
      if (account.spent[budget] + held <= limits[budget] && held >= 0 && Number.isInteger(held)) continue
      assert.fail(`${budget}: ${account.spent[budget]} spent, ${held} held, ${limits[budget]} allowed`)
    }
  }
}

describe("holds and settlements in any order", () => {
  interface Live {
    readonly chain: ReadonlyArray<Ledger>
    readonly held: Account.Held
    readonly inputTokens: number
    readonly model: string
  }

  const costOf = (model: string, inputTokens: number) => (outputTokens: number) =>
    prices.bound({ provider: "p", model, inputTokens, outputTokens, at: 0 })

  const admit = (chain: ReadonlyArray<Ledger>, ask: Extract<Step, { _tag: "hold" }>, assumed: number) =>
    Account.admit(chain, { ...ask, assumed, cost: costOf(ask.model, ask.inputTokens) })

  const chargeOf = (live: Live, end: End, [input, output, cached]: Shares): Account.Charge | undefined => {
    if (end === "release") return undefined
    if (end !== "usage") return Account.charge(live.held, undefined, undefined, end === "free")
    const inputTokens = Math.floor(live.inputTokens * input)
    const outputTokens = Math.floor((live.held.amount.tokens - live.inputTokens) * output)
    const usage = { inputTokens, outputTokens, cachedInputTokens: Math.floor(inputTokens * cached) }
    const usd = prices.price({ provider: "p", model: live.model, usage, at: 0 })
    return Account.charge(live.held, usage, usd, false)
  }

  it("pass no limit of any scope, lose nothing, and leave nothing held", () => {
    fc.assert(
      fc.property(tree, fc.array(step, { maxLength: 20 }), (described, steps) => {
        const ledgers = open(described)
        const live: Array<Live> = []
        const charged = new Map<Ledger, Array<Account.Charge>>(ledgers.map((ledger) => [ledger, []]))
        const settle = (one: Live, end: End, shares: Shares) => {
          const charge = chargeOf(one, end, shares)
          for (const ledger of one.chain) {
            ledger.account = Account.replace(ledger.account, one.held.amount, charge)
            if (charge !== undefined) charged.get(ledger)?.push(charge)
          }
        }
        for (const step of steps) {
          if (step._tag === "hold") {
            const ledger = ledgers[step.scope % ledgers.length] as Ledger
            const chain = around(ledger)
            const held = admit(chain, step, ledger.maxTokens)
            if (held._tag === "Refused") continue
            for (const ledger of chain) ledger.account = Account.take(ledger.account, held.amount)
            live.push({ chain, held, inputTokens: step.inputTokens, model: step.model })
          } else if (live.length > 0) {
            const [one] = live.splice(step.which % live.length, 1) as [Live]
            settle(one, step.end, step.shares)
          }
          assertWithin(ledgers)
        }
        for (const one of live) settle(one, "usage", [1, 1, 1])
        assertWithin(ledgers)
        for (const ledger of ledgers) {
          const charges = charged.get(ledger) ?? []
          const sum = (budget: (typeof budgets)[number]) => charges.reduce((all, { amount }) => all + amount[budget], 0)
          assert.deepStrictEqual(ledger.account, {
            spent: { usd: sum("usd"), tokens: sum("tokens"), attempts: charges.length },
            held: Account.empty.held,
            unpriced: charges.filter(({ priced }) => !priced).length
          })
        }
      }),
      runs
    )
  })

  it("are refused only where not even the shortest answer fits, and given all that does", () => {
    fc.assert(
      fc.property(tree, fc.array(step, { minLength: 1, maxLength: 10 }), (described, steps) => {
        const ledgers = open(described)
        for (const step of steps) {
          if (step._tag !== "hold") continue
          const ledger = ledgers[step.scope % ledgers.length] as Ledger
          const chain = around(ledger)
          const { inputTokens, maxTokens, model } = step
          const priced = model === "m"
          const fits = (outputTokens: number): boolean =>
            chain.every(({ account, limits, unpriced }) => {
              const usd = priced ? Math.ceil(inputTokens * 150 + outputTokens * 600 - 0.001) : 0
              return (
                (priced || limits.usd === Number.POSITIVE_INFINITY || unpriced === "allow") &&
                account.held.usd + usd <= limits.usd &&
                account.held.tokens + inputTokens + outputTokens <= limits.tokens &&
                account.held.attempts + 1 <= limits.attempts
              )
            })
          const bounded = chain.some(({ limits }) => Math.min(limits.usd, limits.tokens) < Number.POSITIVE_INFINITY)
          const shortest = maxTokens ?? (bounded ? Math.min(16, ledger.maxTokens) : ledger.maxTokens)
          let longest = shortest
          while (maxTokens === undefined && longest < ledger.maxTokens && fits(longest + 1)) longest++
          const held = admit(chain, step, ledger.maxTokens)
          assert.strictEqual(held._tag, fits(shortest) ? "Held" : "Refused")
          if (held._tag === "Refused") continue
          assert.strictEqual(held.maxTokens, bounded ? longest : maxTokens)
          assert.strictEqual(held.amount.tokens, inputTokens + longest)
          for (const ledger of chain) ledger.account = Account.take(ledger.account, held.amount)
        }
      }),
      runs
    )
  })
})

describe("fibers that run at the same time", () => {
  const ends = ["usage", "no usage", "rejected", "unknown", "defect"] as const

  const failures = {
    rejected: Effect.fail(errorOf("ServerError", { delivery: "rejected" })),
    unknown: Effect.fail(errorOf("ServerError", { delivery: "unknown" })),
    defect: Effect.die("a bug")
  }

  const worker = fc.record({
    limits: fc.option(limits, { nil: undefined }),
    steps: fc.nat(3),
    input: fc.nat(80),
    maxTokens: fc.option(fc.integer({ min: 1, max: 80 }), { nil: undefined }),
    end: fc.constantFrom(...ends),
    interruptedAfter: fc.option(fc.nat(4), { nil: undefined })
  })

  const yields = (times: number): Effect.Effect<void> =>
    times === 0 ? Effect.yieldNow() : Effect.zipRight(Effect.yieldNow(), yields(times - 1))

  it("pass no limit, whoever is interrupted when, and leave nothing held", () => {
    fc.assert(
      fc.property(limits, fc.array(worker, { minLength: 1, maxLength: 3 }), (outer, workers) => {
        const seen = new Set<Spend.Scope>()
        const look = Effect.map(Spend.Spend, (scope) => {
          if (scope === undefined) return
          for (const one of around(scope)) seen.add(one)
          assertWithin(seen)
        })
        const body = (steps: number, end: (typeof ends)[number]): Effect.Effect<void, LlmError.LlmError> =>
          Effect.zipRight(Effect.zipRight(look, yields(steps)), look).pipe(
            Effect.zipRight(end === "usage" || end === "no usage" ? Effect.void : failures[end])
          )
        const run = workers.map(({ end, input, interruptedAfter, limits, maxTokens, steps }) => {
          const usage = () =>
            end === "usage"
              ? { inputTokens: Math.floor(input / 2), outputTokens: Math.floor((maxTokens ?? 0) / 2) }
              : undefined
          const one = Spend.attempt({ provider: "p", model: "m", prompt: input, maxTokens, usage }, () =>
            body(steps, end)
          )
          const scoped = limits === undefined ? one : Spend.within(one, limits)
          return interruptedAfter === undefined
            ? Effect.exit(scoped)
            : Effect.flatMap(Effect.fork(scoped), (fiber) =>
                Effect.zipRight(yields(interruptedAfter), Fiber.interrupt(fiber))
              )
        })
        Effect.runSync(
          Effect.zipRight(Effect.all(run, { concurrency: "unbounded" }), look).pipe(
            Spend.within(outer, { maxTokens: 60 }),
            Effect.provideService(Prices.Prices, prices)
          )
        )
        assertWithin(seen)
        for (const { account } of seen) assert.deepStrictEqual(account.held, Account.empty.held)
      }),
      // a case is a dozen fibers, which takes as long as ten cases of the laws above
      { numRuns: cases(4000) }
    )
  })
})
