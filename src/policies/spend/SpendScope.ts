/**
 * The scope of a spending limit as an attempt sees it: the innermost scope in force, and the holds taken on it.
 *
 * `Spend` makes scopes and does the accounts. A scope brings its own `hold`, so that an application without limits does
 * not carry the accounts.
 *
 * @since 0.2.0
 */

import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as LlmError from "../../errors/LlmError.js"
import * as Immediate from "../Immediate.js"
import type { Usage } from "../Usage.js"
import * as Prices from "./Prices.js"
import type * as Account from "./SpendAccount.js"
import type * as Tokens from "./Tokens.js"

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
  /** Takes a hold on a scope and its outer ones, or returns the error that refuses it. */
  readonly hold: (
    scope: Scope,
    ask: HoldOptions,
    prices: Prices.PriceList,
    now: number
  ) => Hold | LlmError.BudgetExceeded | LlmError.Timeout
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
  readonly usage?: Usage | undefined
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
  const scope = Context.get(context, Spend)
  return scope?.hold(scope, ask, Context.get(context, Prices.Prices), now)
}

/** The most that is known of the usage of an attempt. */
interface Reading<A> {
  /** Reads the usage off the answer. */
  readonly usage: (value: A) => Usage | undefined
  /** The usage of an attempt that fails after its answer came, for example because the answer does not fit. */
  readonly failed?: (() => Usage | undefined) | undefined
}

/** The settlement of an exit. Only an `LlmError` can prove that the attempt cost nothing. */
const endOf = <A>(exit: Exit.Exit<A, unknown>, { failed, usage }: Reading<A>): Settlement => {
  if (Exit.isSuccess(exit)) return { usage: usage(exit.value), delivery: "unknown" }
  const failure = Option.getOrUndefined(Cause.failureOption(exit.cause))
  return { usage: failed?.(), delivery: LlmError.isLlmError(failure) ? failure.delivery : "unknown" }
}

/**
 * Runs an attempt under a hold. `body` gets the `maxTokens` to send, `usage` reads the usage off the answer, and
 * `failed` tells that of an attempt that fails after its answer came. A `ChatModel` does this itself.
 *
 * @since 0.2.0
 * @category holds
 */
export const attempt = <A, E, R>(
  ask: HoldOptions & Reading<A>,
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
            held.settle(endOf(exit, ask))
            return exit
          })
        })
  )
