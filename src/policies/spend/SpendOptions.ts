/**
 * The options of a `Spend` scope and their defaults.
 *
 * @since 0.2.0
 */

import type * as Duration from "effect/Duration"
import * as PolicyOptions from "../Options.js"
import * as Account from "./SpendAccount.js"

const whole = PolicyOptions.number({ whole: true })

const limits = PolicyOptions.struct({
  usd: PolicyOptions.optional(PolicyOptions.number(), "US dollars; default no limit"),
  tokens: PolicyOptions.optional(whole, "Tokens in and out together; default no limit"),
  attempts: PolicyOptions.optional(whole, "Requests sent, retries and fallbacks included; default no limit"),
  time: PolicyOptions.optional(PolicyOptions.duration(), "Time from the start of the scope; default no limit")
})

const options = PolicyOptions.struct({
  name: PolicyOptions.optional(PolicyOptions.text, "The name of the scope in errors", "spend"),
  maxTokens: PolicyOptions.optional(
    PolicyOptions.number({ min: 1, whole: true }),
    "The longest answer to a request without maxTokens, in tokens; default as in the outer scope, else 4096"
  ),
  strict: PolicyOptions.optional(
    PolicyOptions.boolean,
    "Whether the prompt is held at its highest possible token count, in inner scopes too",
    false
  ),
  unpriced: PolicyOptions.optional(
    PolicyOptions.oneOf("refuse", "allow"),
    "Whether a limit on dollars refuses or allows attempts without a known price",
    "refuse"
  )
})

/**
 * The limits of a scope in JSON or YAML: durations are text with a unit.
 *
 * @since 0.2.0
 * @category options
 */
export const Limits = limits.schema

/**
 * The limits of a scope. A limit left out does not apply.
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
  /** Time from the start of the scope. Default: no limit. */
  readonly time?: Duration.DurationInput | undefined
}

/**
 * The options of a scope in JSON or YAML.
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
  /** The name of the scope in errors. Default `"spend"`. */
  readonly name?: string | undefined
  /**
   * The longest answer to a request without `maxTokens`, in tokens, 1 or more; shorter if less is left. Default: that
   * of the outer scope, else 4096, which all current models support.
   */
  readonly maxTokens?: number | undefined
  /**
   * Whether the prompt is held at `Tokens.bound`, which it cannot exceed. Also applies to inner scopes. Default
   * `false`.
   */
  readonly strict?: boolean | undefined
  /**
   * Under a limit on dollars, refuse or allow attempts without a known price. Allowed ones are counted in {@link
   * Spent.unpriced}. Default `"refuse"`.
   */
  readonly unpriced?: "refuse" | "allow" | undefined
}

/**
 * The options of a scope, checked. `millis` is its time.
 *
 * @internal
 */
export interface Settings extends Account.Bounds {
  readonly name: string
  readonly maxTokens: number | undefined
  readonly strict: boolean
  readonly millis: number
}

/**
 * Checks the options of a scope.
 *
 * @internal
 */
export const settings = (max: Limits, input: Options): Settings => {
  const most = limits.read(max, "Spend")
  const { maxTokens, name, strict, unpriced } = options.read(input, "Spend")
  // Field by field: an agent opens a scope for each step, and spreading these objects costs ten times as much.
  return { name, maxTokens, strict, unpriced, limits: Account.toLimits(most), millis: most.time ?? Infinity }
}
