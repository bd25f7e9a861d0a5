/**
 * The account of a `Spend` scope: what is spent, what is held, and whether an attempt fits. Nothing here waits, reads a
 * clock or knows a price list.
 *
 * An attempt is held by every account from the inside out, or by none ({@link admit}); when it is over, each hold is
 * replaced by what the attempt cost ({@link replace}). The promise: while no charge is above its hold, `spent + held`
 * is within every limit, whatever runs at the same time.
 *
 * Gotchas: dollars are whole billionths, rounded up. Sums of them are exact, so that a thousand holds leave nothing
 * behind and three times $0.1 fit into $0.3; a limit of nine million dollars is the largest.
 *
 * @since 0.2.0
 */
import type { BudgetExceeded } from "../../errors/LlmError.js"
import type { Usage } from "../Usage.js"

// -----------------------------------------------------------------------------
// models
// -----------------------------------------------------------------------------

/**
 * `usd` in billionths of a dollar.
 *
 * @since 0.2.0
 * @category models
 */
export interface Amount {
  readonly usd: number
  readonly tokens: number
  readonly attempts: number
}

/**
 * `unpriced` counts the attempts in `spent` whose dollars are not known.
 *
 * @since 0.2.0
 * @category models
 */
export interface Account {
  readonly spent: Amount
  readonly held: Amount
  readonly unpriced: number
}

/**
 * What an account may not pass, `Infinity` where there is no limit, and what a limit on dollars does about an attempt
 * without a price.
 *
 * @since 0.2.0
 * @category models
 */
export interface Bounds {
  readonly limits: Amount
  readonly unpriced: "refuse" | "allow"
}

/**
 * An account and what it may not pass.
 *
 * @since 0.2.0
 * @category models
 */
export interface Ledger extends Bounds {
  readonly account: Account
}

/**
 * An attempt that wants to begin: `assumed` is the `maxTokens` of one that has none, and `cost` the dollars that it
 * costs at most with an answer of that many tokens, `undefined` where no price is known.
 *
 * @since 0.2.0
 * @category models
 */
export interface Ask {
  readonly inputTokens: number
  readonly maxTokens: number | undefined
  readonly assumed: number
  readonly cost: (outputTokens: number) => number | undefined
}

/**
 * The attempt may begin, with this `maxTokens`, and `amount` is to be taken from every account.
 *
 * @since 0.2.0
 * @category models
 */
export interface Held {
  readonly _tag: "Held"
  readonly amount: Amount
  readonly priced: boolean
  readonly maxTokens: number | undefined
}

/**
 * The attempt may not begin: it asked for more than the ledger `by` has left, or for something that has no price.
 *
 * @since 0.2.0
 * @category models
 */
export interface Refused<L> {
  readonly _tag: "Refused"
  readonly by: L
  readonly budget: Exclude<BudgetExceeded["budget"], "retry">
  readonly asked: number | undefined
}

/**
 * What an attempt cost.
 *
 * @since 0.2.0
 * @category models
 */
export interface Charge {
  readonly amount: Amount
  readonly priced: boolean
}

// -----------------------------------------------------------------------------
// amounts
// -----------------------------------------------------------------------------

const billion = 1_000_000_000

/**
 * What a product of floats may be off by, in billionths: without it the cost of a token at $0.1 a million would be 101,
 * not 100.
 */
const noise = 0.001

const billionths = (usd: number): number => Math.ceil(usd * billion - noise)

const zero: Amount = { usd: 0, tokens: 0, attempts: 0 }

const budgets = ["attempts", "tokens", "usd"] as const

const plus = (a: Amount, b: Amount): Amount => ({
  usd: a.usd + b.usd,
  tokens: a.tokens + b.tokens,
  attempts: a.attempts + b.attempts
})

const minus = (a: Amount, b: Amount): Amount => ({
  usd: a.usd - b.usd,
  tokens: a.tokens - b.tokens,
  attempts: a.attempts - b.attempts
})

/**
 * Limits as amounts; dollars are rounded down.
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
 * Nothing spent, nothing held.
 *
 * @since 0.2.0
 * @category constructors
 */
export const empty: Account = { spent: zero, held: zero, unpriced: 0 }

// -----------------------------------------------------------------------------
// decisions
// -----------------------------------------------------------------------------

/**
 * Fewer tokens hold no answer, and OpenAI's Responses API refuses a `max_output_tokens` below it.
 */
const leastAnswer = 16

const left = ({ account, limits }: Ledger): Amount => minus(limits, plus(account.spent, account.held))

/** The first limit that the amount would pass. Without a price, a limit on dollars cannot be kept. */
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
 * Whether an attempt fits into every ledger. Where dollars or tokens are limited, one without `maxTokens` is given what
 * the ledgers have left for it, `assumed` at most.
 *
 * @since 0.2.0
 * @category decisions
 */
export const admit = <L extends Ledger>(ledgers: ReadonlyArray<L>, ask: Ask): Held | Refused<L> => {
  const tried = (outputTokens: number, maxTokens: number | undefined): Held | Refused<L> => {
    const usd = ask.cost(outputTokens)
    const priced = usd !== undefined
    const amount = { usd: priced ? billionths(usd) : 0, tokens: ask.inputTokens + outputTokens, attempts: 1 }
    return check(ledgers, amount, priced) ?? { _tag: "Held", amount, priced, maxTokens }
  }
  const bounded = ledgers.some(({ limits }) => Math.min(limits.usd, limits.tokens) < Number.POSITIVE_INFINITY)
  if (ask.maxTokens !== undefined || !bounded) return tried(ask.maxTokens ?? ask.assumed, ask.maxTokens)
  const whole = tried(ask.assumed, ask.assumed)
  if (whole._tag === "Held") return whole
  let fits = Math.min(leastAnswer, ask.assumed)
  let best = tried(fits, fits)
  if (best._tag === "Refused") return best
  for (let tooLong = ask.assumed; tooLong - fits > 1; ) {
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
 * The account with an amount held.
 *
 * @since 0.2.0
 * @category decisions
 */
export const take = (account: Account, amount: Amount): Account => ({ ...account, held: plus(account.held, amount) })

/**
 * The account with a hold replaced by its charge, or given back where there is none.
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
 * What a hold becomes, by how its attempt ended: the usage where it is known; else nothing but the attempt where it
 * cost nothing for certain (`free`), and all of the hold where nobody can tell. `usd` prices the usage.
 *
 * @since 0.2.0
 * @category decisions
 */
export const charge = (hold: Held, usage: Usage | undefined, usd: number | undefined, free: boolean): Charge => {
  if (usage === undefined) return free ? { amount: { ...zero, attempts: 1 }, priced: true } : hold
  // What had a price before it has one now: a list that forgot it is no discount.
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
 * What was spent, with dollars as dollars.
 *
 * @since 0.2.0
 * @category getters
 */
export const spent = ({ spent, unpriced }: Account) => ({ ...spent, usd: spent.usd / billion, unpriced })

/**
 * What is left in the tightest of the ledgers, with dollars as dollars; never below 0.
 *
 * @since 0.2.0
 * @category getters
 */
export const remaining = (ledgers: ReadonlyArray<Ledger>): Amount => {
  const least = (budget: keyof Amount) => Math.max(0, Math.min(...ledgers.map((ledger) => left(ledger)[budget])))
  return { usd: least("usd") / billion, tokens: least("tokens"), attempts: least("attempts") }
}

/** No exponent and no zeros at the end: $0.05, $0.0000031. */
const dollars = (usd: number): string => `$${(usd / billion).toFixed(9).replace(/\.?0+$/, "")}`

/**
 * A refusal in words: the limit, what was spent, what is held, what was asked for.
 *
 * @since 0.2.0
 * @category getters
 */
export const describe = ({ asked, budget, by }: Refused<Ledger>, target: string): string => {
  if (asked === undefined) {
    const remedy = 'give one (Prices.table, effect-steadfast/prices) or set unpriced: "allow"'
    return `no price is known for ${target}, and the limit is ${dollars(by.limits.usd)}: ${remedy}`
  }
  const shown = budget === "usd" ? dollars : String
  const limit = budget === "usd" ? dollars(by.limits.usd) : `${by.limits[budget]} ${budget}`
  const { held, spent } = by.account
  return `the limit is ${limit}: ${shown(spent[budget])} spent, ${shown(held[budget])} held, ${shown(asked)} asked`
}
