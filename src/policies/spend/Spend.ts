/**
 * What a scope, such as one step of an agent, may spend: US dollars, tokens, attempts, time.
 *
 * {@link within} puts a scope around an effect. Before each attempt in it a hold is taken for the most that the attempt
 * can cost; after it the hold is replaced by what it did cost. A hold that does not fit is refused with
 * `BudgetExceeded`, so that attempts which run at the same time cannot pass a limit together. A scope inside another is
 * charged to both, and narrows: it can spend no more than what is left outside.
 *
 * What an attempt is charged: its usage where that is known; nothing where it was not sent, or refused without being
 * run; the whole hold where nobody can tell (a timeout, a cut stream, an interruption), because it may have been
 * billed.
 *
 * Gotchas:
 * - With a limit on dollars or tokens, a request without `maxTokens` is given one, so that the provider itself keeps
 *   the answer within the hold.
 * - The prompt is estimated (`Tokens.estimate`). One that has more tokens is charged what it had, which is the one way
 *   past a limit; `strict` closes it and holds three to five times as much while an attempt runs.
 * - Dollars need `Prices`. What has no known price is refused under a limit on dollars, unless `unpriced` allows it.
 * - What asks a provider for more than the request shows, such as `n` in `providerOptions`, is not held.
 *
 * @example
 * import { Effect } from "effect"
 * import { Chat, ChatModel, Spend } from "effect-steadfast"
 *
 * declare const model: ChatModel.ChatModel
 *
 * const step = Effect.zip(model.generate(Chat.prompt("Plan the trip")), Spend.spent).pipe(
 *   Spend.within({ usd: 0.05, attempts: 8, time: "1 minute" }, { name: "plan" })
 * )
 *
 * @since 0.2.0
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import { dual } from "effect/Function"
import * as Option from "effect/Option"
import * as LlmError from "../../errors/LlmError.js"
import * as Deadline from "../Deadline.js"
import type { Usage } from "../Usage.js"
import * as Prices from "./Prices.js"
import * as Account from "./SpendAccount.js"
import * as Tokens from "./Tokens.js"

// -----------------------------------------------------------------------------
// options
// -----------------------------------------------------------------------------

/**
 * What may be spent in all; what is left out has no limit.
 *
 * - `usd`: US dollars, 0 or more.
 * - `tokens`: in and out together.
 * - `attempts`: requests sent, retries and fallbacks included.
 * - `time`: from the beginning of the scope.
 *
 * @since 0.2.0
 * @category options
 */
export interface Limits {
  readonly usd?: number | undefined
  readonly tokens?: number | undefined
  readonly attempts?: number | undefined
  readonly time?: Duration.DurationInput | undefined
}

/**
 * - `name`: how errors call the scope. Default `"spend"`.
 * - `maxTokens`: the longest answer to a request that does not limit it, 1 or more; shorter where less is left. Default
 *   as in the scope around, else 4096, what the models of the field can at least.
 * - `strict`: whether the prompt is held at `Tokens.bound`, which it cannot exceed. Default `false`; holds for the
 *   scopes inside too.
 * - `unpriced`: what happens under a limit on dollars to an attempt whose price is not known: `"refuse"` (default), or
 *   `"allow"`, and then it is counted in {@link spent}.
 *
 * @since 0.2.0
 * @category options
 */
export interface Options {
  readonly name?: string | undefined
  readonly maxTokens?: number | undefined
  readonly strict?: boolean | undefined
  readonly unpriced?: "refuse" | "allow" | undefined
}

interface Settings extends Account.Bounds {
  readonly name: string
  readonly maxTokens: number | undefined
  readonly strict: boolean
  readonly millis: number
}

const number = (key: string, value: number | undefined, least: number, whole: boolean): number | undefined => {
  if (
    value === undefined ||
    (value >= least && value < Number.POSITIVE_INFINITY && (!whole || Number.isInteger(value)))
  )
    return value
  throw new RangeError(
    `Spend: ${key}: expected ${whole ? "a whole number" : "a number"}, ${least} or more, found ${value}`
  )
}

const duration = (key: string, input: Duration.DurationInput | undefined): number => {
  if (input === undefined) return Number.POSITIVE_INFINITY
  // Effect takes a negative duration for zero; where a person wrote it, it is a mistake.
  const negative = typeof input === "number" ? input < 0 : typeof input === "string" && input.trim().startsWith("-")
  const decoded = Duration.decodeUnknown(input)
  if (decoded._tag === "Some" && !negative) return Duration.toMillis(decoded.value)
  throw new RangeError(`Spend: ${key}: expected a duration, found ${JSON.stringify(input)}`)
}

const settings = (limits: Limits, options: Options): Settings => ({
  name: options.name ?? "spend",
  limits: Account.toLimits({
    usd: number("usd", limits.usd, 0, false),
    tokens: number("tokens", limits.tokens, 0, true),
    attempts: number("attempts", limits.attempts, 0, true)
  }),
  millis: duration("time", limits.time),
  maxTokens: number("maxTokens", options.maxTokens, 1, true),
  strict: options.strict === true,
  unpriced: options.unpriced ?? "refuse"
})

// -----------------------------------------------------------------------------
// scopes
// -----------------------------------------------------------------------------

/**
 * A scope: its limits, and the account of what was spent and is held in it. `until` is when its time is up, in
 * milliseconds of the `Clock`. The account changes as attempts begin and end.
 *
 * @since 0.2.0
 * @category models
 */
export interface Scope extends Account.Bounds {
  readonly name: string
  readonly until: number
  readonly maxTokens: number
  readonly strict: boolean
  readonly outer: Scope | undefined
  account: Account.Account
}

/**
 * The innermost scope in force, if there is one.
 *
 * @since 0.2.0
 * @category context
 */
export class Spend extends Context.Reference<Spend>()("steadfast/Spend", {
  defaultValue: (): Scope | undefined => undefined
}) {}

const nest = (outer: Scope | undefined, settings: Settings, now: number): Scope => ({
  name: settings.name,
  limits: settings.limits,
  unpriced: settings.unpriced,
  until: Math.min(now + settings.millis, outer?.until ?? Number.POSITIVE_INFINITY),
  maxTokens: settings.maxTokens ?? outer?.maxTokens ?? 4096,
  strict: settings.strict || outer?.strict === true,
  outer,
  account: Account.empty
})

/** From the inside out. */
const chain = (scope: Scope | undefined): ReadonlyArray<Scope> => {
  const scopes: Array<Scope> = []
  for (let at = scope; at !== undefined; at = at.outer) scopes.push(at)
  return scopes
}

const nowOf = (fiber: Fiber.RuntimeFiber<unknown, unknown>): number =>
  Context.get(fiber.currentDefaultServices, Clock.Clock).unsafeCurrentTimeMillis()

/**
 * Opens a scope inside the one in force, for whoever provides it as {@link Spend}: around a stream, or around several
 * effects that share it. Its time begins now and refuses attempts after it; only {@link within} ends what is running.
 *
 * Throws a `RangeError` that names the option, the value and what was expected.
 *
 * @since 0.2.0
 * @category constructors
 */
export const open = (limits: Limits, options: Options = {}): Effect.Effect<Scope> => {
  const chosen = settings(limits, options)
  return Effect.withFiberRuntime((fiber) =>
    Effect.succeed(nest(Context.get(fiber.currentContext, Spend), chosen, nowOf(fiber)))
  )
}

/**
 * Runs an effect in a scope of its own, inside the one in force. When its time is up, the effect is interrupted and
 * fails with `Timeout` (`phase: "total"`), as under a deadline: a retry whose wait would outlive it is not begun.
 *
 * Throws a `RangeError` that names the option, the value and what was expected.
 *
 * @since 0.2.0
 * @category combinators
 */
export const within: {
  (
    limits: Limits,
    options?: Options
  ): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E | LlmError.Timeout, R>
  <A, E, R>(self: Effect.Effect<A, E, R>, limits: Limits, options?: Options): Effect.Effect<A, E | LlmError.Timeout, R>
} = dual(
  (args) => Effect.isEffect(args[0]),
  <A, E, R>(self: Effect.Effect<A, E, R>, limits: Limits, options: Options = {}) => {
    const chosen = settings(limits, options)
    return Effect.withFiberRuntime<A, E | LlmError.Timeout, R>((fiber) => {
      const now = nowOf(fiber)
      const inScope = Effect.provideService(self, Spend, nest(Context.get(fiber.currentContext, Spend), chosen, now))
      const inForce = Deadline.of(fiber.currentContext)
      const limit = Deadline.narrow(inForce, now, chosen.millis, "total")
      return limit === inForce ? inScope : timed(inScope, chosen, limit)
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

/**
 * A race, which costs what `Effect.timeout` costs, but once a scope and not once a call. Whoever is interrupted by it
 * can tell why. The sleep can be called off even where the effect cannot.
 */
const timed = <A, E, R>(
  self: Effect.Effect<A, E, R>,
  { millis, name }: Settings,
  limit: Deadline.Limit
): Effect.Effect<A, E | LlmError.Timeout, R> => {
  const expire = Effect.suspend(() => {
    const error = timeUp(name, limit.asked)
    limit.expired = error
    return Effect.fail(error)
  })
  return Effect.raceFirst(
    Effect.provideService(self, Deadline.Deadline, limit),
    Effect.zipRight(Effect.interruptible(Effect.sleep(Duration.millis(millis))), expire)
  )
}

// -----------------------------------------------------------------------------
// holds
// -----------------------------------------------------------------------------

/**
 * An attempt that wants to begin. `prompt` is what will be sent, or how many tokens that has at most where it is known;
 * `maxTokens` is the limit of the answer, where the request has one.
 *
 * @since 0.2.0
 * @category models
 */
export interface Ask {
  readonly provider: string
  readonly model: string
  readonly prompt: Tokens.Prompt | number
  readonly maxTokens?: number | undefined
}

/**
 * How an attempt ended. `usage` is the provider's final count, if there is one; `delivery` is that of its error, and
 * `"unknown"` for everything else: an answer without usage, an interruption, a defect.
 *
 * @since 0.2.0
 * @category models
 */
export interface End {
  readonly usage?: Prices.Billed | undefined
  readonly delivery: LlmError.Delivery
}

/**
 * What was put aside for an attempt. The request must be sent with this `maxTokens`. `settle` replaces the hold by what
 * the attempt cost; `release` gives all of it back, for an attempt that was never begun. The first of them counts.
 *
 * @since 0.2.0
 * @category models
 */
export interface Hold {
  readonly _tag: "Hold"
  readonly maxTokens: number | undefined
  readonly settle: (end: End) => void
  readonly release: () => void
}

const refusal = ({ model, provider }: Ask, refused: Account.Refused<Scope>): LlmError.BudgetExceeded =>
  new LlmError.BudgetExceeded({
    provider,
    model,
    message: `${refused.by.name}: ${Account.describe(refused, `${provider}/${model}`)}`,
    delivery: "not-sent",
    budget: refused.budget
  })

/**
 * Takes a hold on every scope in force, or says why not; `undefined` where none is in force, for the price of one
 * lookup. `now` is the time of the `Clock`, at whose prices the attempt is charged.
 *
 * @since 0.2.0
 * @category holds
 */
export const hold = (
  context: Context.Context<never>,
  ask: Ask,
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
  if (decision._tag === "Refused") return refusal(ask, decision)
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

/** How an effect ended, as an end: only what failed as one of ours can tell that it cost nothing. */
const endOf = <A>(exit: Exit.Exit<A, unknown>, usage: (value: A) => Usage | undefined): End => {
  if (Exit.isSuccess(exit)) return { usage: usage(exit.value), delivery: "unknown" }
  const failure = Option.getOrUndefined(Cause.failureOption(exit.cause))
  return { delivery: LlmError.isLlmError(failure) ? failure.delivery : "unknown" }
}

/**
 * Runs one attempt of your own under a hold: `body` gets the `maxTokens` to send, and `usage` reads what the answer
 * took. A `ChatModel` does this by itself.
 *
 * @since 0.2.0
 * @category holds
 */
export const attempt = <A, E, R>(
  ask: Ask & { readonly usage: (value: A) => Usage | undefined },
  body: (maxTokens: number | undefined) => Effect.Effect<A, E, R>
): Effect.Effect<A, E | LlmError.BudgetExceeded | LlmError.Timeout, R> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.withFiberRuntime<A, E | LlmError.BudgetExceeded | LlmError.Timeout, R>((fiber) => {
      const held = hold(fiber.currentContext, ask, nowOf(fiber))
      const run = (maxTokens: number | undefined) => restore(Effect.suspend(() => body(maxTokens)))
      if (held === undefined) return run(ask.maxTokens)
      return held._tag === "Hold"
        ? Effect.onExit(run(held.maxTokens), (exit) => Effect.sync(() => held.settle(endOf(exit, ask.usage))))
        : Effect.fail(held)
    })
  )

// -----------------------------------------------------------------------------
// getters
// -----------------------------------------------------------------------------

/**
 * What was spent: `usd` and `tokens` by attempts that are over, `attempts` in all, and `unpriced` of them whose price
 * is not known and is not in `usd`.
 *
 * @since 0.2.0
 * @category models
 */
export interface Spent {
  readonly usd: number
  readonly tokens: number
  readonly attempts: number
  readonly unpriced: number
}

/**
 * What was spent so far in the scope in force, and in those inside it; nothing outside of any.
 *
 * @since 0.2.0
 * @category getters
 */
export const spent: Effect.Effect<Spent> = Effect.map(Spend, (scope) => Account.spent(scope?.account ?? Account.empty))

/**
 * What an attempt may still take, by the tightest of the scopes in force; `Infinity` where there is no limit. What is
 * held for attempts that run is not left. `millis` is the time.
 *
 * @since 0.2.0
 * @category models
 */
export interface Remaining {
  readonly usd: number
  readonly tokens: number
  readonly attempts: number
  readonly millis: number
}

/**
 * What is left; never below 0.
 *
 * @since 0.2.0
 * @category getters
 */
export const remaining: Effect.Effect<Remaining> = Effect.zipWith(Spend, Clock.currentTimeMillis, (scope, now) => ({
  ...Account.remaining(chain(scope)),
  millis: scope === undefined ? Number.POSITIVE_INFINITY : Math.max(0, scope.until - now)
}))
