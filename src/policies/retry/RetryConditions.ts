/**
 * The errors that a retry policy retries or gives up on, as plain lists: by tag and by HTTP status, for all providers
 * and for single ones.
 *
 * {@link decide} asks in this order, and the first match counts: the provider's `giveUpOn`, its `retryOn`, the general
 * `giveUpOn`, the general `retryOn`. Without a match the error itself and the rule of its class decide
 * (`LlmError.isRetryable`).
 *
 * Gotcha: `retryOn` never retries a refusal of our own (`CircuitOpen`, `BudgetExceeded`, the `Timeout` of the whole
 * call), nor a request that is not idempotent and may have been run.
 *
 * @since 0.2.0
 */

import * as LlmError from "../../errors/LlmError.js"
import * as PolicyOptions from "../Options.js"

// -----------------------------------------------------------------------------
// options
// -----------------------------------------------------------------------------

/**
 * The tags of our own refusals. Another attempt would meet the same refusal.
 *
 * @since 0.2.0
 * @category models
 */
export type Refusal = "CircuitOpen" | "BudgetExceeded"

/**
 * The lists of errors.
 *
 * @since 0.2.0
 * @category options
 */
export interface Conditions {
  /**
   * Retries these errors too: tags, such as `"InvalidRequest"`, and HTTP statuses, such as `409`. Not allowed are the
   * tags of our own refusals. Default: none.
   */
  readonly retryOn?: ReadonlyArray<Exclude<LlmError.Tag, Refusal> | number> | undefined
  /** Gives up on these errors, also if `retryOn` names them: tags and HTTP statuses. Default: none. */
  readonly giveUpOn?: ReadonlyArray<LlmError.Tag | number> | undefined
}

const isRefusal = (tag: LlmError.Tag): tag is Refusal => tag === "CircuitOpen" || tag === "BudgetExceeded"

const tags = (Object.keys(LlmError.rules) as ReadonlyArray<LlmError.Tag | "total">).filter((tag) => tag !== "total")

const status = PolicyOptions.number({ min: 100, max: 599, whole: true })

const lists = {
  retryOn: PolicyOptions.optional(
    PolicyOptions.list(
      PolicyOptions.either(
        status,
        tags.filter((tag) => !isRefusal(tag)) as ReadonlyArray<Exclude<LlmError.Tag, Refusal>>
      ),
      0
    ),
    "Error tags and HTTP statuses to retry too; default none"
  ),
  giveUpOn: PolicyOptions.optional(
    PolicyOptions.list(PolicyOptions.either(status, tags), 0),
    "Error tags and HTTP statuses to give up on, also if retryOn names them; default none"
  )
}

/**
 * The fields of the options.
 *
 * @internal
 */
export const fields = {
  ...lists,
  providers: PolicyOptions.optional(
    PolicyOptions.record(PolicyOptions.struct(lists)),
    "Lists for single providers, by name; they overrule the general ones; default none"
  )
}

// -----------------------------------------------------------------------------
// the decision
// -----------------------------------------------------------------------------

/**
 * The checked lists of a policy.
 *
 * @since 0.2.0
 * @category models
 */
export interface Lists extends Conditions {
  /** The lists of single providers, by name. */
  readonly providers?: ReadonlyMap<string, Conditions> | undefined
}

/** An error of the whole call's time, and one that `Model.guardRepeat` marked: no list may repeat it. */
const isFinal = (error: LlmError.LlmError): boolean =>
  isRefusal(error._tag) ||
  (error._tag === "Timeout" && error.phase === "total") ||
  (error.delivery === "unknown" && error.retryable === false && error.fallbackable === false)

const names = (list: ReadonlyArray<LlmError.Tag | number> | undefined, error: LlmError.LlmError): boolean =>
  list?.some((one) => one === error._tag || one === error.status) === true

/**
 * Whether an error is retried; `give-up-on` if a list says no.
 *
 * @since 0.2.0
 * @category decisions
 */
export const decide = (lists: Lists, error: LlmError.LlmError): "retry" | "not-retryable" | "give-up-on" => {
  for (const { giveUpOn, retryOn } of [lists.providers?.get(error.provider) ?? {}, lists]) {
    if (names(giveUpOn, error)) return "give-up-on"
    if (names(retryOn, error) && !isFinal(error)) return "retry"
  }
  return LlmError.isRetryable(error) ? "retry" : "not-retryable"
}
