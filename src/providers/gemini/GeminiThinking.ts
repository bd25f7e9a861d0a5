/**
 * Translates the reasoning of a request into the `thinkingConfig` of Gemini.
 *
 * Gemini 2.5 takes a budget, Gemini 3 and later a level, and the API refuses the one in place of the other. The nearest
 * value that the model takes is sent. The sources are Google's guides on thinking and on Gemini 4.
 *
 * @since 0.2.0
 */

import type * as Chat from "../../chat/Chat.js"
import type * as Json from "../wire/Json.js"

// -----------------------------------------------------------------------------
// facts
// -----------------------------------------------------------------------------

/**
 * The version of a Gemini as a whole number, 205 for 2.5; infinity for the names of the latest, `undefined` for other
 * models.
 *
 * @since 0.2.0
 * @category facts
 */
export const versionOf = (model: string): number | undefined => {
  const found = /gemini-(\d{1,2})(?:\.(\d{1,2}))?(?!\d)/i.exec(model)
  if (found !== null) return Number(found[1]) * 100 + Number(found[2] ?? 0)
  return /gemini-(?:pro|flash|flash-lite)-latest/i.test(model) ? Number.POSITIVE_INFINITY : undefined
}

/** The budgets that a Gemini 2.5 takes; the smallest is 0 where thinking can be turned off. */
interface Budgets {
  readonly canBeOff: boolean
  readonly min: number
  readonly max: number
}

const budgetsOf = (model: string): Budgets =>
  /flash-lite/i.test(model)
    ? { canBeOff: true, min: 512, max: 24_576 }
    : /flash/i.test(model)
      ? { canBeOff: true, min: 1, max: 24_576 }
      : { canBeOff: false, min: 128, max: 32_768 }

type Level = "minimal" | "low" | "medium" | "high"

const levels: ReadonlyArray<Level> = ["minimal", "low", "medium", "high"]

/** The levels that a Gemini takes: `minimal` only a Flash up to 3.6, and `medium` every model but the first Pro. */
const levelsOf = (model: string, version: number): ReadonlyArray<Level> => {
  const isSmall = /flash/i.test(model) && version < 307
  return levels.filter((level) => (level !== "minimal" || isSmall) && (level !== "medium" || isSmall || version > 300))
}

/** Google's own budgets for the efforts of OpenAI (guide on OpenAI compatibility). `xhigh` is the largest budget. */
const budgets = { minimal: 1024, low: 1024, medium: 8192, high: 24_576 } as const

// -----------------------------------------------------------------------------
// settings
// -----------------------------------------------------------------------------

const budgetFor = ({ budgetTokens, effort }: Chat.Reasoning, model: string, leftOut: Set<string>): number => {
  const { canBeOff, max, min } = budgetsOf(model)
  if (budgetTokens === undefined && effort === "none") {
    if (canBeOff) return 0
    leftOut.add(`reasoning.effort (none; the least is ${min} tokens)`)
    return min
  }
  const wanted = budgetTokens ?? (effort === "xhigh" ? max : budgets[effort === "none" ? "low" : (effort ?? "medium")])
  const taken = Math.min(max, Math.max(min, wanted))
  if (taken !== wanted) leftOut.add(`reasoning (a budget of ${taken} tokens, not of ${wanted})`)
  return taken
}

const levelFor = (reasoning: Chat.Reasoning, taken: ReadonlyArray<Level>, leftOut: Set<string>): Level => {
  const { budgetTokens, effort } = reasoning
  const asked =
    effort ?? (levels.find((level) => level !== "minimal" && (budgetTokens ?? 0) <= budgets[level]) || "high")
  if (budgetTokens !== undefined) leftOut.add(`reasoning.budgetTokens (the effort ${asked})`)
  const wanted = asked === "none" ? "minimal" : asked === "xhigh" ? "high" : asked
  // The next larger one: a model has no smaller one than its smallest, and `high` is in every list.
  const level =
    levels.find((level) => levels.indexOf(level) >= levels.indexOf(wanted) && taken.includes(level)) ?? "high"
  if (level !== asked) leftOut.add(`reasoning.effort (${level}, not ${asked})`)
  return level
}

/**
 * The `thinkingConfig` of a request; `undefined` for none. What the model does not take is added to `leftOut`.
 *
 * @since 0.2.0
 * @category constructors
 */
export const config = (
  reasoning: Chat.Request["reasoning"],
  model: string,
  leftOut: Set<string>
): Json.Json | undefined => {
  if (reasoning === undefined) return undefined
  const { budgetTokens, effort, summary } = reasoning
  const asksForDepth = effort !== undefined || budgetTokens !== undefined
  const version = versionOf(model)
  if (version === undefined || version < 205 || /-(?:image|tts|live|audio|embedding)/i.test(model)) {
    if (summary === true || budgetTokens !== undefined || (asksForDepth && effort !== "none")) {
      leftOut.add("reasoning (no setting of this model is known)")
    }
    return undefined
  }
  const shown = summary === undefined ? {} : { includeThoughts: summary }
  if (!asksForDepth) return summary === undefined ? undefined : shown
  if (version >= 300) return { thinkingLevel: levelFor(reasoning, levelsOf(model, version), leftOut), ...shown }
  const thinkingBudget = budgetFor(reasoning, model, leftOut)
  // The API refuses `includeThoughts` where there are none.
  return thinkingBudget === 0 ? { thinkingBudget } : { thinkingBudget, ...shown }
}
