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
import * as Immediate from "../Immediate.js"
import * as PolicyOptions from "../Options.js"
import type { Usage } from "../Usage.js"
import * as Prices from "./Prices.js"
import * as Account from "./SpendAccount.js"
import * as Tokens from "./Tokens.js"

// -----------------------------------------------------------------------------
// options
// -----------------------------------------------------------------------------

const limits = PolicyOptions.struct({
  usd: PolicyOptions.optional(PolicyOptions.number(), "US dollars; by default without limit"),
  tokens: PolicyOptions.optional(
    PolicyOptions.number({ whole: true }),
    "Tokens in and out together; by default without limit"
  ),
  attempts: PolicyOptions.optional(
    PolicyOptions.number({ whole: true }),
    "Requests sent, retries and fallbacks included; by default without limit"
  ),
  time: PolicyOptions.optional(
    PolicyOptions.duration(),
    "Time from the beginning of the scope; by default without limit"
  )
})

const options = PolicyOptions.struct({
  name: PolicyOptions.optional(PolicyOptions.text, "How errors call the scope", "spend"),
  maxTokens: PolicyOptions.optional(
    PolicyOptions.number({ min: 1, whole: true }),
    "The longest answer to a request that does not limit it, in tokens; by default as in the scope around, else 4096"
  ),
  strict: PolicyOptions.optional(
    PolicyOptions.boolean,
    "Whether the prompt is held at the most tokens that it can have, in the scopes inside too",
    false
  ),
  unpriced: PolicyOptions.optional(
    PolicyOptions.oneOf("refuse", "allow"),
    "What happens under a limit on dollars to an attempt whose price is not known",
    "refuse"
  )
})

/**
 * The limits of a scope as they stand in JSON or YAML: durations are text with a unit.
 *
 * @since 0.2.0
 * @category options
 */
export const Limits = limits.schema

/**
 * What may be spent in all; what is left out has no limit.
 *
 * @since 0.2.0
 * @category options
 */
export interface Limits {
  /** US dollars, 0 or more. Default: no limit. */
  readonly usd?: number | undefined
  /** Tokens in and out together, a whole number. Default: no limit. */
  readonly tokens?: number | undefined
  /** Requests sent, retries and fallbacks included, a whole number. Default: no limit. */
  readonly attempts?: number | undefined
  /** Time from the beginning of the scope. Default: no limit. */
  readonly time?: Duration.DurationInput | undefined
}

/**
 * The options of a scope as they stand in JSON or YAML.
 *
 * @since 0.2.0
 * @category options
 */
export const Options = options.schema

/**
 * The options of a scope.
 *
 * @since 0.2.0
 * @category options
 */
export interface Options {
  /** How errors call the scope. Default `"spend"`. */
  readonly name?: string | undefined
  /**
   * The longest answer to a request that does not limit it, in tokens, 1 or more; shorter where less is left. Default
   * as in the scope around, else 4096, what the models of the field can at least.
   */
  readonly maxTokens?: number | undefined
  /**
   * Whether the prompt is held at `Tokens.bound`, which it cannot exceed. Default `false`; holds for the scopes inside
   * too.
   */
  readonly strict?: boolean | undefined
  /**
   * What happens under a limit on dollars to an attempt whose price is not known: `"refuse"`, or `"allow"`, and then it
   * is counted in {@link spent}. Default `"refuse"`.
   */
  readonly unpriced?: "refuse" | "allow" | undefined
}

interface Settings extends Account.Bounds {
  readonly name: string
  readonly maxTokens: number | undefined
  readonly strict: boolean
  readonly millis: number
}

const settings = (max: Limits, input: Options): Settings => {
  const most = limits.read(max, "Spend")
  const { maxTokens, name, strict, unpriced } = options.read(input, "Spend")
  // Field by field: a scope is opened for each step of an agent, and to spread these objects costs ten times as much.
  return { name, maxTokens, strict, unpriced, limits: Account.toLimits(most), millis: most.time ?? Infinity }
}

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
  Effect.withFiberRuntime<A, E | LlmError.BudgetExceeded | LlmError.Timeout, R>((fiber) =>
    Context.get(fiber.currentContext, Spend) === undefined
      ? body(ask.maxTokens)
      : Immediate.masked<A, E | LlmError.BudgetExceeded | LlmError.Timeout, R>(({ fiber, restore }) => {
          const held = hold(fiber.currentContext, ask, nowOf(fiber))
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
