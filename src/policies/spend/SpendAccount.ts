/**
 * The account of a `Spend` scope: the amounts spent and held, and whether an attempt fits. Pure: no waiting, no clock,
 * no price list.
 *
 * Every account, from the innermost out, holds an attempt, or none does ({@link admit}). When the attempt ends, its
 * cost replaces each hold ({@link replace}). The promise: while no charge exceeds its hold, `spent + held` stays within
 * every limit, with any number of concurrent attempts.
 *
 * Gotchas: dollars are whole billionths, rounded up. Their sums are exact: a thousand holds leave no remainder, and
 * three times $0.1 fit into $0.3. The largest limit is nine million dollars.
 *
 * @since 0.2.0
 */

import type { BudgetExceeded } from "../../errors/LlmError.js"
import { isPossible, type Usage } from "../Usage.js"

// -----------------------------------------------------------------------------
// models
// -----------------------------------------------------------------------------

/**
 * An amount of money, tokens and attempts.
 *
 * @since 0.2.0
 * @category models
 */
export interface Amount {
  /** Billionths of a dollar. */
  readonly usd: number
  /** Tokens in and out. */
  readonly tokens: number
  /** Attempts. */
  readonly attempts: number
}

/**
 * The amounts spent and held in a scope.
 *
 * @since 0.2.0
 * @category models
 */
export interface Account {
  /** By finished attempts. */
  readonly spent: Amount
  /** By running attempts. */
  readonly held: Amount
  /** Attempts in `spent` with unknown dollars. */
  readonly unpriced: number
}

/**
 * The limits of an account.
 *
 * @since 0.2.0
 * @category models
 */
export interface Bounds {
  /** The most to spend; `Infinity` without a limit. */
  readonly limits: Amount
  /** Whether a limit on dollars refuses attempts without a price. */
  readonly unpriced: "refuse" | "allow"
}

/**
 * An account and its limits.
 *
 * @since 0.2.0
 * @category models
 */
export interface Ledger extends Bounds {
  /** The account. */
  readonly account: Account
}

/**
 * The next attempt.
 *
 * @since 0.2.0
 * @category models
 */
export interface Plan {
  /** The tokens of the prompt. */
  readonly inputTokens: number
  /** The answers that the request asks for. Default 1. */
  readonly answers?: number | undefined
  /** The request's limit of an answer, in tokens. */
  readonly maxTokens: number | undefined
  /** The `maxTokens` of a request without one. */
  readonly assumed: number
  /** The most that the attempt can cost with so many tokens out, in dollars; `undefined` without a price. */
  readonly cost: (outputTokens: number) => number | undefined
}

/**
 * An amount held or charged for an attempt.
 *
 * @since 0.2.0
 * @category models
 */
export interface Charge {
  /** The most that a running attempt can cost, or the cost of a finished one. */
  readonly amount: Amount
  /** Whether the dollars of `amount` are known. */
  readonly priced: boolean
}

/**
 * The attempt may begin, with `amount` held in every account.
 *
 * @since 0.2.0
 * @category models
 */
export interface Held extends Charge {
  readonly _tag: "Held"
  /** The `maxTokens` to send. */
  readonly maxTokens: number | undefined
}

/**
 * The attempt may not begin.
 *
 * @since 0.2.0
 * @category models
 */
export interface Refused<L> {
  readonly _tag: "Refused"
  /** The first ledger that refuses. */
  readonly by: L
  /** The limit that the attempt would pass. */
  readonly budget: Exclude<BudgetExceeded["budget"], "retry">
  /** The amount asked for; `undefined` if its price is unknown. */
  readonly asked: number | undefined
}

// -----------------------------------------------------------------------------
// amounts
// -----------------------------------------------------------------------------

const billion = 1_000_000_000

/**
 * The rounding error of a product of floats, in billionths. Without it, one token at $0.1 per million would cost 101
 * billionths, not 100.
 */
const noise = 0.001

const billionths = (usd: number): number => Math.ceil(usd * billion - noise)

const zero: Amount = { usd: 0, tokens: 0, attempts: 0 }

const budgets = ["attempts", "tokens", "usd"] as const

const plus = (a: Amount, b: Amount, sign = 1): Amount => ({
  usd: a.usd + sign * b.usd,
  tokens: a.tokens + sign * b.tokens,
  attempts: a.attempts + sign * b.attempts
})

const minus = (a: Amount, b: Amount): Amount => plus(a, b, -1)

/**
 * Converts limits to amounts. Dollars are rounded down.
 *
 * @since 0.2.0
 * @category constructors
 */
export const toLimits = (limits: { readonly [K in keyof Amount]: number | undefined }): Amount => ({
  usd: limits.usd === undefined ? Number.POSITIVE_INFINITY : Math.floor(limits.usd * billion + noise),
  tokens: limits.tokens ?? Number.POSITIVE_INFINITY,
  attempts: limits.attempts ?? Number.POSITIVE_INFINITY
})

/**
 * A new account: nothing spent, nothing held.
 *
 * @since 0.2.0
 * @category constructors
 */
export const empty: Account = { spent: zero, held: zero, unpriced: 0 }

// -----------------------------------------------------------------------------
// decisions
// -----------------------------------------------------------------------------

/** The smallest `maxTokens` to offer: OpenAI's Responses API refuses a lower `max_output_tokens`. */
const leastAnswer = 16

const left = ({ account, limits }: Ledger): Amount => minus(limits, plus(account.spent, account.held))

/** The refusal by the first limit that the amount would pass. Without a price, a limit on dollars cannot be kept. */
const check = <L extends Ledger>(
  ledgers: ReadonlyArray<L>,
  amount: Amount,
  priced: boolean
): Refused<L> | undefined => {
  for (const by of ledgers) {
    const room = left(by)
    if (!priced && by.limits.usd < Number.POSITIVE_INFINITY && by.unpriced === "refuse") {
      return { _tag: "Refused", by, budget: "usd", asked: undefined }
    }
    const budget = budgets.find((budget) => !(amount[budget] <= room[budget]))
    if (budget !== undefined) return { _tag: "Refused", by, budget, asked: amount[budget] }
  }
  return undefined
}

/**
 * Decides whether an attempt fits into every ledger. Under a limit on dollars or tokens, a request without `maxTokens`
 * gets as many as the ledgers have left, at most `assumed`.
 *
 * @since 0.2.0
 * @category decisions
 */
export const admit = <L extends Ledger>(ledgers: ReadonlyArray<L>, plan: Plan): Held | Refused<L> => {
  const { answers = 1 } = plan
  const tried = (tokens: number, maxTokens: number | undefined): Held | Refused<L> => {
    const outputTokens = tokens * answers
    const usd = plan.cost(outputTokens)
    const priced = usd !== undefined
    const amount = { usd: priced ? billionths(usd) : 0, tokens: plan.inputTokens + outputTokens, attempts: 1 }
    return check(ledgers, amount, priced) ?? { _tag: "Held", amount, priced, maxTokens }
  }
  const bounded = ledgers.some(({ limits }) => Math.min(limits.usd, limits.tokens) < Number.POSITIVE_INFINITY)
  if (plan.maxTokens !== undefined || !bounded) return tried(plan.maxTokens ?? plan.assumed, plan.maxTokens)
  const whole = tried(plan.assumed, plan.assumed)
  if (whole._tag === "Held") return whole
  let fits = Math.min(leastAnswer, plan.assumed)
  let best = tried(fits, fits)
  if (best._tag === "Refused") return best
  for (let tooLong = plan.assumed; tooLong - fits > 1; ) {
    const middle = Math.floor((fits + tooLong) / 2)
    const next = tried(middle, middle)
    if (next._tag === "Refused") tooLong = middle
    else {
      fits = middle
      best = next
    }
  }
  return best
}

/**
 * Adds a hold to an account.
 *
 * @since 0.2.0
 * @category decisions
 */
export const take = (account: Account, amount: Amount): Account => ({ ...account, held: plus(account.held, amount) })

/**
 * Replaces a hold by its charge; without a charge the hold is given back.
 *
 * @since 0.2.0
 * @category decisions
 */
export const replace = (account: Account, hold: Amount, charge: Charge | undefined): Account => ({
  spent: charge === undefined ? account.spent : plus(account.spent, charge.amount),
  held: minus(account.held, hold),
  unpriced: account.unpriced + (charge === undefined || charge.priced ? 0 : 1)
})

/**
 * The charge that replaces a hold: the usage, if known and possible; else only the attempt, if it certainly cost
 * nothing (`free`); else the whole hold. `usd` is the price of the usage.
 *
 * @since 0.2.0
 * @category decisions
 */
export const charge = (hold: Held, usage: Usage | undefined, usd: number | undefined, free: boolean): Charge => {
  if (usage === undefined || !isPossible(usage)) return free ? { amount: { ...zero, attempts: 1 }, priced: true } : hold
  // A price that was known for the hold still counts if the list has lost it since.
  const billed = usd === undefined ? hold.amount.usd : billionths(usd)
  return {
    amount: { usd: billed, tokens: usage.inputTokens + usage.outputTokens, attempts: 1 },
    priced: usd !== undefined || hold.priced
  }
}

// -----------------------------------------------------------------------------
// getters
// -----------------------------------------------------------------------------

/**
 * The amounts spent, in dollars.
 *
 * @since 0.2.0
 * @category getters
 */
export const spent = ({ spent, unpriced }: Account) => ({ ...spent, usd: spent.usd / billion, unpriced })

/**
 * The amounts left in the tightest of the ledgers, in dollars; never below 0.
 *
 * @since 0.2.0
 * @category getters
 */
export const remaining = (ledgers: ReadonlyArray<Ledger>): Amount => {
  const least = (budget: keyof Amount) => Math.max(0, Math.min(...ledgers.map((ledger) => left(ledger)[budget])))
  return { usd: least("usd") / billion, tokens: least("tokens"), attempts: least("attempts") }
}

/** Formats billionths as dollars, without exponent and trailing zeros: $0.05, $0.0000031. */
const dollars = (usd: number): string => `$${(usd / billion).toFixed(9).replace(/\.?0+$/, "")}`

/**
 * A refusal in words: the limit, and the amounts spent, held and asked for.
 *
 * @since 0.2.0
 * @category getters
 */
export const describe = ({ asked, budget, by }: Refused<Ledger>, target: string): string => {
  if (asked === undefined) {
    const table = `Prices.layer(Prices.table({ "${target}": { input, output } }))`
    const own = `provide ${table} (in the file of a gateway: prices)`
    const remedy = `${own} or GenaiPrices.layer from effect-steadfast/prices, or set unpriced: "allow"`
    return `no price is known for ${target}, and the limit is ${dollars(by.limits.usd)}: ${remedy}`
  }
  const shown = budget === "usd" ? dollars : String
  const limit = budget === "usd" ? dollars(by.limits.usd) : `${by.limits[budget]} ${budget}`
  const { held, spent } = by.account
  return `the limit is ${limit}: ${shown(spent[budget])} spent, ${shown(held[budget])} held, ${shown(asked)} asked`
}
