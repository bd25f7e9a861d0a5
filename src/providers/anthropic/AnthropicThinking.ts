/**
 * Translates the reasoning of a request into the settings of Anthropic Messages, and finds a `max_tokens` that fits.
 *
 * Up to Claude 4.5 a model thinks within a budget, from 4.6 on as an effort says (`ClaudeModels`). The nearest setting
 * that the model takes is sent. Other models behind this wire format get a budget.
 *
 * Thoughts count as answer. `max_tokens` of the request stays as it is wherever that leaves room for the answer.
 *
 * @since 0.2.0
 */

import type * as Chat from "../../chat/Chat.js"
import * as Json from "../wire/Json.js"
import type * as ClaudeModels from "./ClaudeModels.js"

/**
 * `max_tokens` if neither the request nor the options set it: every model allows it, and most answers fit into it.
 *
 * @since 0.1.0
 * @category facts
 */
export const defaultMaxTokens = 4096

/**
 * The smallest budget that the API takes.
 *
 * @since 0.2.0
 * @category facts
 */
export const minBudget = 1024

/**
 * The budget of an effort, for models that take a budget, and the room for thoughts in a default `max_tokens`. Claude
 * gains little from more than 32,000 tokens (Anthropic, extended thinking).
 */
const budgets = { minimal: minBudget, low: 2048, medium: 8192, high: 16_384, xhigh: 32_768 } as const

type Effort = keyof typeof budgets

/** The smallest effort whose budget holds a number of tokens. */
const effortOf = (tokens: number): Effort =>
  (Object.keys(budgets) as Array<Effort>).find((effort) => tokens <= budgets[effort]) ?? "xhigh"

/**
 * The settings of a request.
 *
 * @since 0.2.0
 * @category models
 */
export interface Plan {
  /** The field `thinking`. */
  readonly thinking: Json.Json | undefined
  /** The field `effort` of `output_config`. */
  readonly effort: string | undefined
  /** The field `max_tokens`. */
  readonly maxTokens: number
  /** Whether the model thinks, and by a budget: then it refuses more settings. */
  readonly mode: "off" | "on" | "budget"
}

/**
 * The request, and what decides about its thinking.
 *
 * @since 0.2.0
 * @category models
 */
export interface Subject {
  readonly request: Chat.Request
  /** The facts about the model; `undefined` if it is no Claude. */
  readonly facts: ClaudeModels.Facts | undefined
  /** The `thinking` in the user's options for the provider: it is sent as it is. */
  readonly own: unknown
  /** `max_tokens` by the user's options for the provider, by the request, or by the options of the model. */
  readonly limit: number | undefined
  /** The largest `max_tokens`: that of the user's options for the provider, or of the model. */
  readonly cap: number
  /** Why the conversation, or the user's own options, allow no budget. */
  readonly obstacle: string | undefined
}

/** A budget and a `max_tokens` that is larger. */
const budgetFor = (subject: Subject, wanted: number, isGiven: boolean, leftOut: Set<string>) => {
  const { cap, limit } = subject
  const answer = limit ?? defaultMaxTokens
  const half = Math.floor(answer / 2)
  let budget = Math.max(minBudget, wanted)
  // A limit that the user sets holds for thoughts and answer together, if both fit into it.
  if (limit !== undefined && !isGiven) budget = Math.max(minBudget, Math.min(budget, half))
  const fits = limit !== undefined && (isGiven ? budget < limit : half >= minBudget)
  let maxTokens = fits ? limit : answer + budget
  if (maxTokens > cap) {
    maxTokens = cap
    budget = Math.max(minBudget, Math.min(budget, cap - Math.min(answer, Math.floor(cap / 2))))
  }
  if (budget !== wanted) leftOut.add(`reasoning (a budget of ${budget} tokens, not of ${wanted})`)
  if (limit !== undefined && maxTokens !== limit) leftOut.add(`maxTokens (${maxTokens}, not ${limit})`)
  return { budget, maxTokens }
}

/** `max_tokens` without a budget. */
const plainLimit = ({ cap, limit }: Subject, thoughts: number, leftOut: Set<string>): number => {
  const wanted = limit ?? defaultMaxTokens + thoughts
  if (wanted > cap) leftOut.add(`maxTokens (${cap}, not ${wanted})`)
  return Math.min(cap, wanted)
}

/** The display of thoughts, for models that have the option. */
const display = (summary: boolean | undefined): Json.Json =>
  summary === undefined ? {} : { display: summary ? "summarized" : "omitted" }

/** No thinking, or the least that the model offers. */
const least = (subject: Subject, summary: boolean | undefined, leftOut: Set<string>): Plan => {
  const way = subject.facts?.least ?? "disabled"
  const maxTokens = plainLimit(subject, 0, leftOut)
  if (way === "omit" || way === "disabled") {
    const thinking = way === "disabled" ? { type: "disabled" } : undefined
    return { thinking, effort: undefined, maxTokens, mode: "off" }
  }
  leftOut.add(`reasoning.effort (none; the least is ${way})`)
  return way === "between_tools"
    ? { thinking: { type: way }, effort: undefined, maxTokens, mode: "on" }
    : {
        thinking: summary === undefined ? undefined : { type: "adaptive", ...display(summary) },
        effort: way,
        maxTokens: plainLimit(subject, budgets[way], leftOut),
        mode: "on"
      }
}

const byBudget = (subject: Subject, { budgetTokens, effort, summary }: Chat.Reasoning, leftOut: Set<string>): Plan => {
  const { facts, obstacle } = subject
  if (facts !== undefined && obstacle !== undefined) {
    leftOut.add(`reasoning (${obstacle})`)
    return { thinking: undefined, effort: undefined, maxTokens: plainLimit(subject, 0, leftOut), mode: "off" }
  }
  const wanted = budgetTokens ?? budgets[effort === undefined || effort === "none" ? "medium" : effort]
  const { budget, maxTokens } = budgetFor(subject, wanted, budgetTokens !== undefined, leftOut)
  const hasDisplay = facts?.thinking === "either"
  if (!hasDisplay && summary === false) leftOut.add("reasoning.summary (thoughts are always shown)")
  const thinking = { type: "enabled", budget_tokens: budget, ...(hasDisplay ? display(summary) : {}) }
  return { thinking, effort: undefined, maxTokens, mode: "budget" }
}

const byEffort = (
  subject: Subject,
  facts: ClaudeModels.Facts,
  effort: Effort,
  summary: boolean | undefined,
  leftOut: Set<string>
): Plan => {
  const taken = effort === "minimal" ? "low" : effort === "xhigh" && !facts.xhigh ? "high" : effort
  if (taken !== effort) leftOut.add(`reasoning.effort (${taken}, not ${effort})`)
  return {
    thinking: { type: "adaptive", ...display(summary) },
    effort: taken,
    maxTokens: plainLimit(subject, budgets[taken], leftOut),
    mode: "on"
  }
}

/** Without words about its depth. */
const byDefault = (subject: Subject, summary: boolean | undefined, leftOut: Set<string>): Plan => {
  const { facts } = subject
  if (facts?.thinks === true) {
    const thinking = summary === undefined ? undefined : { type: "adaptive", ...display(summary) }
    return { thinking, effort: undefined, maxTokens: plainLimit(subject, budgets.high, leftOut), mode: "on" }
  }
  if (summary === true) leftOut.add("reasoning.summary (the model does not think unless it is told how much)")
  const maxTokens = plainLimit(subject, 0, leftOut)
  return { thinking: undefined, effort: undefined, maxTokens, mode: facts === undefined ? "on" : "off" }
}

/**
 * The settings of a request. What the model does not take is added to `leftOut`.
 *
 * @since 0.2.0
 * @category constructors
 */
export const plan = (subject: Subject, leftOut: Set<string>): Plan => {
  const { facts, own, request } = subject
  const { budgetTokens, effort, summary } = request.reasoning ?? {}
  if (own !== undefined) {
    const { budget_tokens, type } = Json.object(own)
    const maxTokens = plainLimit(
      subject,
      Json.count(budget_tokens) ?? (type === "adaptive" ? budgets.high : 0),
      leftOut
    )
    if (request.reasoning !== undefined) leftOut.add("reasoning (providerOptions have their own)")
    const mode = type === "disabled" ? "off" : type === "enabled" ? "budget" : "on"
    return { thinking: undefined, effort: undefined, maxTokens, mode }
  }
  const takesNumber = facts === undefined || facts.thinking === "budget" || facts.thinking === "either"
  if (effort === undefined && budgetTokens === undefined) return byDefault(subject, summary, leftOut)
  if (effort === "none" && !(takesNumber && budgetTokens !== undefined)) return least(subject, summary, leftOut)
  if (facts?.thinking === "none") {
    leftOut.add("reasoning (the model has none)")
    return byDefault(subject, undefined, leftOut)
  }
  if (facts === undefined || facts.thinking === "budget" || (takesNumber && budgetTokens !== undefined)) {
    return byBudget(subject, { budgetTokens, effort, summary }, leftOut)
  }
  const asked = effort === undefined || effort === "none" ? effortOf(budgetTokens ?? 0) : effort
  if (budgetTokens !== undefined) leftOut.add(`reasoning.budgetTokens (the effort ${asked})`)
  return byEffort(subject, facts, asked, summary, leftOut)
}
