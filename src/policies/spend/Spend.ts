/**
 * Spending limits for a scope, such as one step of an agent: US dollars, tokens, attempts, time.
 *
 * {@link within} puts a scope around an effect. Before each attempt it takes a hold for the most that the attempt can
 * cost; afterwards the real cost replaces the hold. A hold that does not fit is refused with `BudgetExceeded`, so that
 * concurrent attempts cannot pass a limit together. An inner scope is charged to the outer ones too, and can spend no
 * more than they have left.
 *
 * The charge of an attempt: its usage, if known; only the attempt, if it was not sent or was rejected unprocessed;
 * otherwise the whole hold (a timeout, a cut stream, an interruption), because the provider may have billed it.
 *
 * Gotchas:
 * - Under a limit on dollars or tokens, a request without `maxTokens` gets one, so that the provider keeps the answer
 *   within the hold.
 * - The prompt is estimated (`Tokens.estimate`). A longer prompt is charged in full and can pass a limit. `strict`
 *   rules this out, and holds three to five times as much during an attempt.
 * - A prompt that asks to be written to the provider's cache is held at the highest rate of such writes. Only the
 *   request itself tells; a `prompt` in numbers does not.
 * - Dollars need `Prices`. A limit on dollars refuses attempts without a known price, unless `unpriced` allows them.
 * - Several answers to one request (`n` or `candidateCount` in `providerOptions`) are held for as many answers. Other
 *   extra output that they ask for is not held.
 *
 * @example
 * import { Effect } from "effect"
 * import { Chat, ChatModel, Prices, Spend } from "effect-steadfast"
 *
 * declare const model: ChatModel.ChatModel
 *
 * const step = Effect.zip(model.generate(Chat.prompt("Plan the trip")), Spend.spent).pipe(
 *   Spend.within({ usd: 0.05, attempts: 8, time: "1 minute" }, { name: "plan" })
 * )
 * // US dollars per million tokens. All public prices: `GenaiPrices.layer` from "effect-steadfast/prices".
 * const prices = Prices.layer(Prices.table({ "openai/gpt-4o-mini": { input: 0.15, output: 0.6 } }))
 * const program = Effect.provide(step, prices)
 *
 * @since 0.2.0
 */

import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import * as LlmError from "../../errors/LlmError.js"
import * as Deadline from "../Deadline.js"
import * as Immediate from "../Immediate.js"
import * as TimeLimit from "../TimeLimit.js"
import * as Times from "../Times.js"
import * as Usage from "../Usage.js"
import * as Answers from "./Answers.js"
import * as CacheWrite from "./CacheWrite.js"
import * as Prices from "./Prices.js"
import * as Account from "./SpendAccount.js"
import * as SpendOptions from "./SpendOptions.js"
import { type Scope, Spend } from "./SpendScope.js"
import * as Tokens from "./Tokens.js"

export { Limits, Options } from "./SpendOptions.js"
export { attempt, type Hold, type HoldOptions, hold, type Scope, type Settlement, Spend } from "./SpendScope.js"

// -----------------------------------------------------------------------------
// scopes
// -----------------------------------------------------------------------------

const nest = (outer: Scope | undefined, settings: SpendOptions.Settings, now: number): Scope => ({
  name: settings.name,
  limits: settings.limits,
  unpriced: settings.unpriced,
  until: Math.min(now + settings.millis, outer?.until ?? Number.POSITIVE_INFINITY),
  maxTokens: settings.maxTokens ?? outer?.maxTokens ?? 4096,
  strict: settings.strict || outer?.strict === true,
  outer,
  hold: take,
  account: Account.empty
})

/** The scope and its outer ones, innermost first. */
const chain = (scope: Scope | undefined): ReadonlyArray<Scope> => {
  const scopes: Array<Scope> = []
  for (let at = scope; at !== undefined; at = at.outer) scopes.push(at)
  return scopes
}

/**
 * Opens a scope inside the one in force. Provide it as {@link Spend}, around a stream or around several effects that
 * share it. Its time begins now and refuses later attempts; only {@link within} interrupts running ones.
 *
 * Throws a `RangeError` that names the option, the value found and the value expected.
 *
 * @since 0.2.0
 * @category constructors
 */
export const open = (limits: SpendOptions.Limits, options: SpendOptions.Options = {}): Effect.Effect<Scope> => {
  const chosen = SpendOptions.settings(limits, options)
  return Effect.withFiberRuntime((fiber) =>
    Effect.succeed(nest(Context.get(fiber.currentContext, Spend), chosen, Immediate.nowOf(fiber)))
  )
}

export const within: {
  /**
   * Runs an effect in a new scope, inside the one in force. When its time is up, the effect is interrupted and fails
   * with `Timeout` (`phase: "total"`). As under a deadline, a retry whose wait would outlive the time is not begun.
   *
   * Throws a `RangeError` that names the option, the value found and the value expected.
   *
   * @since 0.2.0
   * @category combinators
   */
  (
    limits: SpendOptions.Limits,
    options?: SpendOptions.Options
  ): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E | LlmError.Timeout, R>
  <A, E, R>(
    self: Effect.Effect<A, E, R>,
    limits: SpendOptions.Limits,
    options?: SpendOptions.Options
  ): Effect.Effect<A, E | LlmError.Timeout, R>
} = dual(
  (args) => Effect.isEffect(args[0]),
  <A, E, R>(self: Effect.Effect<A, E, R>, limits: SpendOptions.Limits, options: SpendOptions.Options = {}) => {
    const chosen = SpendOptions.settings(limits, options)
    return Effect.withFiberRuntime<A, E | LlmError.Timeout, R>((fiber) => {
      const now = Immediate.nowOf(fiber)
      const inScope = Effect.provideService(self, Spend, nest(Context.get(fiber.currentContext, Spend), chosen, now))
      const inForce = Deadline.of(fiber.currentContext)
      const limit = Deadline.narrow(inForce, now, chosen.millis, "total", (asked) => timeUp(chosen.name, asked))
      return limit === inForce
        ? inScope
        : TimeLimit.keptUnder(fiber, limit, inScope, (error) => error as LlmError.Timeout)
    })
  }
)

const timeUp = (
  name: string,
  asked: Deadline.Limit["asked"],
  delivery: LlmError.Delivery = asked === undefined ? "not-sent" : "unknown"
): LlmError.Timeout =>
  new LlmError.Timeout({
    provider: asked?.provider ?? "steadfast",
    model: asked?.model,
    message: `${name}: the time is up (total)`,
    phase: "total",
    delivery
  })

// -----------------------------------------------------------------------------
// holds
// -----------------------------------------------------------------------------

/** Takes a hold on a scope and its outer ones: {@link Scope}'s `hold`. */
const take: Scope["hold"] = (inner, ask, prices, now) => {
  const { model, prompt, provider } = ask
  if (now >= inner.until) return timeUp(inner.name, { provider, model }, "not-sent")
  const scopes = chain(inner)
  const inputTokens = typeof prompt === "number" ? prompt : (inner.strict ? Tokens.bound : Tokens.estimate)(prompt)
  const cacheWrite = typeof prompt !== "number" && CacheWrite.isAsked(prompt)
  const decision = Account.admit(scopes, {
    inputTokens,
    answers: typeof prompt === "number" ? 1 : Answers.askedIn(prompt),
    maxTokens: ask.maxTokens,
    assumed: inner.maxTokens,
    cost: (outputTokens) =>
      Prices.safeBound(prices, { provider, model, inputTokens, outputTokens, cacheWrite, at: now })
  })
  if (decision._tag === "Refused") {
    return new LlmError.BudgetExceeded({
      provider,
      model,
      message: `${decision.by.name}: ${Account.describe(decision, `${provider}/${model}`)}`,
      delivery: "not-sent",
      ...(decision.asked === undefined ? { code: "no_price" } : {}),
      budget: decision.budget
    })
  }
  for (const scope of scopes) scope.account = Account.take(scope.account, decision.amount)
  let open = true
  const close = (charge: Account.Charge | undefined): void => {
    if (open) for (const scope of scopes) scope.account = Account.replace(scope.account, decision.amount, charge)
    open = false
  }
  return {
    _tag: "Hold",
    maxTokens: decision.maxTokens,
    settle: ({ delivery, usage: reported }) => {
      const usage = reported && Usage.make(reported)
      const usd = usage && Prices.safePrice(prices, { provider, model, usage, at: now })
      close(Account.charge(decision, usage, usd, delivery !== "unknown"))
    },
    release: () => close(undefined)
  }
}

// -----------------------------------------------------------------------------
// getters
// -----------------------------------------------------------------------------

/**
 * The amounts spent in a scope, inner scopes included.
 *
 * @since 0.2.0
 * @category models
 */
export interface Spent {
  /** US dollars, by finished attempts. */
  readonly usd: number
  /** Tokens in and out, by finished attempts. */
  readonly tokens: number
  /** Finished attempts. */
  readonly attempts: number
  /** Attempts without a known price, whose dollars `usd` does not contain. */
  readonly unpriced: number
}

/**
 * The amounts spent so far in the scope in force; zeros outside a scope.
 *
 * @since 0.2.0
 * @category getters
 */
export const spent: Effect.Effect<Spent> = Effect.map(Spend, (scope) => Account.spent(scope?.account ?? Account.empty))

/**
 * The amounts left for the next attempt in the tightest scope in force; `Infinity` without a limit. Holds of running
 * attempts are subtracted. Never below 0.
 *
 * @since 0.2.0
 * @category models
 */
export interface Remaining {
  /** US dollars. */
  readonly usd: number
  /** Tokens in and out. */
  readonly tokens: number
  /** Attempts. */
  readonly attempts: number
  /** Milliseconds. */
  readonly millis: number
}

/**
 * The amounts left in the scopes in force.
 *
 * @since 0.2.0
 * @category getters
 */
export const remaining: Effect.Effect<Remaining> = Effect.zipWith(Spend, Times.current, (scope, now) => ({
  ...Account.remaining(chain(scope)),
  millis: scope === undefined ? Number.POSITIVE_INFINITY : Math.max(0, scope.until - now)
}))
