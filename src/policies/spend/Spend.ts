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
 * - Dollars need `Prices`. A limit on dollars refuses attempts without a known price, unless `unpriced` allows them.
 * - Extra output that `providerOptions` ask for, such as `n`, is not held.
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
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { dual } from "effect/Function"
import * as Option from "effect/Option"
import * as LlmError from "../../errors/LlmError.js"
import * as Deadline from "../Deadline.js"
import * as Immediate from "../Immediate.js"
import * as TimeLimit from "../TimeLimit.js"
import type { Usage } from "../Usage.js"
import * as Prices from "./Prices.js"
import * as Account from "./SpendAccount.js"
import * as SpendOptions from "./SpendOptions.js"
import * as Tokens from "./Tokens.js"

export { Limits, Options } from "./SpendOptions.js"

// -----------------------------------------------------------------------------
// scopes
// -----------------------------------------------------------------------------

/**
 * A scope: its limits, and its account, which changes as attempts begin and end.
 *
 * @since 0.2.0
 * @category models
 */
export interface Scope extends Account.Bounds {
  /** The name in errors. */
  readonly name: string
  /** The end of its time, in milliseconds of the `Clock`. */
  readonly until: number
  /** The longest answer to a request without `maxTokens`, in tokens. */
  readonly maxTokens: number
  /** Whether prompts are held at `Tokens.bound`. */
  readonly strict: boolean
  /** The scope around it, if any. */
  readonly outer: Scope | undefined
  /** The amounts spent and held. */
  account: Account.Account
}

/**
 * The innermost scope in force. Default: none.
 *
 * @since 0.2.0
 * @category context
 */
export class Spend extends Context.Reference<Spend>()("steadfast/Spend", {
  defaultValue: (): Scope | undefined => undefined
}) {}

const nest = (outer: Scope | undefined, settings: SpendOptions.Settings, now: number): Scope => ({
  name: settings.name,
  limits: settings.limits,
  unpriced: settings.unpriced,
  until: Math.min(now + settings.millis, outer?.until ?? Number.POSITIVE_INFINITY),
  maxTokens: settings.maxTokens ?? outer?.maxTokens ?? 4096,
  strict: settings.strict || outer?.strict === true,
  outer,
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

/**
 * The options of {@link hold}: the next attempt.
 *
 * @since 0.2.0
 * @category models
 */
export interface HoldOptions {
  /** The target's provider. */
  readonly provider: string
  /** The target's model. */
  readonly model: string
  /** The request, or the most tokens that it can have. */
  readonly prompt: Tokens.Prompt | number
  /** The request's limit of the answer, in tokens. Default: none. */
  readonly maxTokens?: number | undefined
}

/**
 * The end of an attempt.
 *
 * @since 0.2.0
 * @category models
 */
export interface Settlement {
  /** The provider's final count. Default: unknown. */
  readonly usage?: Prices.Billed | undefined
  /**
   * The delivery of the attempt's error; `"unknown"` for everything else: an answer without usage, an interruption, a
   * defect.
   */
  readonly delivery: LlmError.Delivery
}

/**
 * An amount held for an attempt. The first call of `settle` or `release` counts.
 *
 * @since 0.2.0
 * @category models
 */
export interface Hold {
  readonly _tag: "Hold"
  /** The `maxTokens` that the request must be sent with. */
  readonly maxTokens: number | undefined
  /** Replaces the hold by the attempt's cost. */
  readonly settle: (end: Settlement) => void
  /** Gives the whole hold back, for an attempt that never began. */
  readonly release: () => void
}

/**
 * Takes a hold on every scope in force, or returns the error that refuses it; `undefined` without a scope, for the
 * price of one lookup. `now` is the time of the `Clock`, which also sets the prices of the attempt.
 *
 * @since 0.2.0
 * @category holds
 */
export const hold = (
  context: Context.Context<never>,
  ask: HoldOptions,
  now: number
): Hold | LlmError.BudgetExceeded | LlmError.Timeout | undefined => {
  const inner = Context.get(context, Spend)
  if (inner === undefined) return undefined
  const { model, provider } = ask
  if (now >= inner.until) return timeUp(inner.name, { provider, model }, "not-sent")
  const scopes = chain(inner)
  const prices = Context.get(context, Prices.Prices)
  const inputTokens =
    typeof ask.prompt === "number" ? ask.prompt : (inner.strict ? Tokens.bound : Tokens.estimate)(ask.prompt)
  const decision = Account.admit(scopes, {
    inputTokens,
    maxTokens: ask.maxTokens,
    assumed: inner.maxTokens,
    cost: (outputTokens) => prices.bound({ provider, model, inputTokens, outputTokens, at: now })
  })
  if (decision._tag === "Refused") {
    return new LlmError.BudgetExceeded({
      provider,
      model,
      message: `${decision.by.name}: ${Account.describe(decision, `${provider}/${model}`)}`,
      delivery: "not-sent",
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
    settle: ({ delivery, usage }) =>
      close(
        Account.charge(
          decision,
          usage,
          usage === undefined ? undefined : prices.price({ provider, model, usage, at: now }),
          delivery !== "unknown"
        )
      ),
    release: () => close(undefined)
  }
}

/** The settlement of an exit. Only an `LlmError` can prove that the attempt cost nothing. */
const endOf = <A>(exit: Exit.Exit<A, unknown>, usage: (value: A) => Usage | undefined): Settlement => {
  if (Exit.isSuccess(exit)) return { usage: usage(exit.value), delivery: "unknown" }
  const failure = Option.getOrUndefined(Cause.failureOption(exit.cause))
  return { delivery: LlmError.isLlmError(failure) ? failure.delivery : "unknown" }
}

/**
 * Runs an attempt under a hold. `body` gets the `maxTokens` to send, and `usage` reads the usage off the answer. A
 * `ChatModel` does this itself.
 *
 * @since 0.2.0
 * @category holds
 */
export const attempt = <A, E, R>(
  ask: HoldOptions & { readonly usage: (value: A) => Usage | undefined },
  body: (maxTokens: number | undefined) => Effect.Effect<A, E, R>
): Effect.Effect<A, E | LlmError.BudgetExceeded | LlmError.Timeout, R> =>
  Effect.withFiberRuntime<A, E | LlmError.BudgetExceeded | LlmError.Timeout, R>((fiber) =>
    Context.get(fiber.currentContext, Spend) === undefined
      ? body(ask.maxTokens)
      : Immediate.masked<A, E | LlmError.BudgetExceeded | LlmError.Timeout, R>(({ fiber, restore }) => {
          const held = hold(fiber.currentContext, ask, Immediate.nowOf(fiber))
          if (held === undefined) return restore(body(ask.maxTokens))
          if (held._tag !== "Hold") return Effect.fail(held)
          return Immediate.ended(restore(Effect.suspend(() => body(held.maxTokens))), (exit) => {
            held.settle(endOf(exit, ask.usage))
            return exit
          })
        })
  )

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
export const remaining: Effect.Effect<Remaining> = Effect.zipWith(Spend, Clock.currentTimeMillis, (scope, now) => ({
  ...Account.remaining(chain(scope)),
  millis: scope === undefined ? Number.POSITIVE_INFINITY : Math.max(0, scope.until - now)
}))
