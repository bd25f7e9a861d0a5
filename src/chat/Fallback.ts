/**
 * Decides whether another target is asked after an error, and why. Everything here is pure.
 *
 * {@link decide} asks four questions, in this order: May the request be sent again? Does a rule, or else the error's
 * own override, or else its class, allow another target? Does a target meet the needs of the request? If the prompt was
 * too long, does the target have a larger window? Rules are by tag ({@link Rules}). By default
 * `LlmError.isFallbackable` decides, `ContextLengthExceeded` goes only to a larger window, and `ContentFiltered` goes
 * to no other target.
 *
 * Gotchas: a rule overrides the error, but not the capabilities of a target. If the other model is a composition, one
 * single target of it must be able to do everything.
 *
 * @example
 * import { Chat, Fallback, LlmError } from "effect-steadfast"
 *
 * const error = new LlmError.ContextLengthExceeded({
 *   provider: "openai",
 *   model: "gpt-4o",
 *   message: "too long",
 *   status: 400,
 *   delivery: "rejected"
 * })
 * const decision = Fallback.decide({}, error, Chat.prompt("Hello"), {
 *   from: [{ provider: "openai", model: "gpt-4o", capabilities: { contextWindow: 128_000 } }],
 *   to: [{ provider: "anthropic", model: "claude-sonnet-4-6", capabilities: { contextWindow: 1_000_000 } }]
 * })
 * // Take: "ContextLengthExceeded: anthropic/claude-sonnet-4-6 takes 1000000 tokens, openai/gpt-4o 128000"
 *
 * @since 0.2.0
 */

import { targetName } from "../calls/CallRecord.js"
import type * as Handover from "../calls/Handover.js"
import * as LlmError from "../errors/LlmError.js"
import * as Capabilities from "./Capabilities.js"
import type * as Chat from "./Chat.js"
import * as AnswerCheck from "./structured/AnswerCheck.js"

/**
 * A target by the names that errors use, and its capabilities.
 *
 * @since 0.2.0
 * @category models
 */
export interface Target {
  /** The provider, as in `LlmError.provider`. */
  readonly provider: string
  /** The model, as in `LlmError.model`. */
  readonly model: string
  /** The target's capabilities; an absent one is unknown. */
  readonly capabilities: Capabilities.Capabilities
}

/**
 * The targets of a model with their capabilities: the known ones, overridden by those that the user states.
 *
 * @since 0.2.0
 * @category constructors
 */
export const targetsOf = (
  targets: ReadonlyArray<Omit<Target, "capabilities"> & { readonly stated: Capabilities.Capabilities }>
): ReadonlyArray<Target> =>
  targets.map((target) => ({
    provider: target.provider,
    model: target.model,
    capabilities: Capabilities.merge(Capabilities.known(target), target.stated)
  }))

/**
 * A rule for each tag of error.
 *
 * - `true`, `false`: ask another target, or do not.
 * - `"larger-window"`: ask it if its window is larger than that of the failed target, or if either is unknown.
 * - a function: decides by the error.
 *
 * @since 0.2.0
 * @category models
 */
export type Rules = {
  readonly [K in LlmError.Tag]?:
    | boolean
    | ((error: Extract<LlmError.LlmError, { readonly _tag: K }>) => boolean)
    | (K extends "ContextLengthExceeded" ? "larger-window" : never)
    | undefined
}

/**
 * Rules by tag, or one function for all errors.
 *
 * @since 0.2.0
 * @category models
 */
export type When = Rules | ((error: LlmError.LlmError) => boolean)

/**
 * Whether another target is asked. The reason of `Take` begins with the tag of the error. `unable` means that a rule
 * allowed the other target, but the target lacks a capability for the request.
 *
 * @since 0.2.0
 * @category models
 */
export type Decision = Handover.Decision

const take = (reason: string): Decision => ({ _tag: "Take", reason })

const leave = (reason: string, unable = false): Decision => ({ _tag: "Leave", reason, unable })

const ruleOf = (when: When, error: LlmError.LlmError): boolean | "larger-window" => {
  // The rule of a tag takes errors of that tag, and `error` is one.
  const rule = (typeof when === "function" ? when : when[error._tag]) as
    | boolean
    | "larger-window"
    | ((error: LlmError.LlmError) => boolean)
    | undefined
  if (rule !== undefined) return typeof rule === "function" ? rule(error) : rule
  return LlmError.fallbackOf(error)
}

/**
 * Whether the context window was too small. A 413 is a limit on the size of a body, a 429 one on the tokens of a
 * minute, and an unsent request exceeded a limit of our own.
 */
const isOfWindow = (error: LlmError.LlmError): boolean =>
  error.delivery !== "not-sent" && error.status !== 413 && error.status !== 429

/** The needs of a request. The prompt is counted only if it might exceed the smallest window of these targets. */
const needsOf = (request: Chat.Request, targets: ReadonlyArray<Target>): Capabilities.Needs => {
  let smallest = Number.POSITIVE_INFINITY
  for (const { capabilities } of targets) smallest = Math.min(smallest, capabilities.contextWindow ?? smallest)
  const needs = Capabilities.needs(request, smallest)
  // The answer is decoded here: a target that takes no schema is asked for it in words.
  return AnswerCheck.of(request) === undefined ? needs : { ...needs, structuredOutput: "json" }
}

const refusals = (targets: ReadonlyArray<Target>, needs: Capabilities.Needs): string | undefined => {
  const words: Array<string> = []
  for (const target of targets) {
    const lacking = Capabilities.lacking(target.capabilities, needs)
    if (lacking.length === 0) return undefined
    words.push(`${targetName(target)} cannot: ${lacking.join(", ")}`)
  }
  return words.join("; ")
}

/**
 * The capabilities that each of these targets lacks for a request. `undefined` if one target lacks none.
 *
 * @since 0.2.0
 * @category combinators
 */
export const cannot = (targets: ReadonlyArray<Target>, request: Chat.Request): string | undefined =>
  refusals(targets, needsOf(request, targets))

/** Takes a target whose window is larger than that of the failed target, or unknown. */
const byWindow = (error: LlmError.LlmError, failed: Target | undefined, to: ReadonlyArray<Target>): Decision => {
  const from = LlmError.targetOf(error)
  if (!isOfWindow(error)) return take(`${error._tag}: a limit of ${from} that is not its window`)
  const had = failed?.capabilities.contextWindow
  const notes: Array<string> = []
  for (const target of to) {
    const has = target.capabilities.contextWindow
    if (had === undefined || has === undefined) {
      return take(`${error._tag}: the window of ${had === undefined ? from : targetName(target)} is not known`)
    }
    const note = `${targetName(target)} takes ${has} tokens, ${from} ${had}`
    if (has > had) return take(`${error._tag}: ${note}`)
    notes.push(note)
  }
  return leave(`${error._tag}: ${notes.join("; ")}`, true)
}

/**
 * Decides after an error whether one of the targets in `to` is asked. `from` are the targets of the model that failed;
 * the error names the one that was asked.
 *
 * @since 0.2.0
 * @category combinators
 */
export const decide = (
  when: When,
  error: LlmError.LlmError,
  request: Chat.Request,
  targets: { readonly from: ReadonlyArray<Target>; readonly to: ReadonlyArray<Target> }
): Decision => {
  if (request.idempotent === false && error.delivery === "unknown") {
    return leave(`${error._tag}: the request may have been run, and must not be twice`)
  }
  const rule = ruleOf(when, error)
  if (rule === false) return leave(`${error._tag}: not for another target`)
  const { from, to } = targets
  const needs = needsOf(request, to)
  const refused = refusals(to, needs)
  if (refused !== undefined) return leave(refused, true)
  if (rule === true) return take(error._tag)
  return byWindow(
    error,
    from.find(({ model, provider }) => provider === error.provider && model === error.model),
    to.filter(({ capabilities }) => Capabilities.lacking(capabilities, needs).length === 0)
  )
}
