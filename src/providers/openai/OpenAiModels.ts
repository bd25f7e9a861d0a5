/**
 * Facts about OpenAI's own models, wherever they are served: the efforts of reasoning that they take, and the fields
 * that they refuse while they reason.
 *
 * The facts are those of OpenAI's guides on reasoning and on its latest models, and of the API's own messages. A model
 * that is newer than this table counts as one that always reasons.
 *
 * @since 0.2.0
 */

/**
 * An effort of reasoning, as requests name it.
 *
 * @since 0.2.0
 * @category models
 */
export type Effort = "none" | "minimal" | "low" | "medium" | "high" | "xhigh"

/**
 * A model of OpenAI's.
 *
 * @since 0.2.0
 * @category models
 */
export interface OpenAiModel {
  /** Whether it can reason. */
  readonly reasons: boolean
  /** The efforts that it takes, the lowest first. Empty if it takes no such field. */
  readonly efforts: ReadonlyArray<Effort>
  /** Whether it reasons if no effort is stated. */
  readonly byDefault: boolean
  /**
   * The efforts that Chat Completions takes together with function tools: all of them, none stated (where the default
   * is not to reason), or only a stated `"none"`.
   */
  readonly chatTools: "all" | "unstated" | "none"
}

const always = (...efforts: ReadonlyArray<Effort>): OpenAiModel => ({
  reasons: true,
  efforts,
  byDefault: true,
  chatTools: "all"
})

const silent: OpenAiModel = { reasons: false, efforts: [], byDefault: false, chatTools: "all" }

const optional = (chatTools: OpenAiModel["chatTools"], ...efforts: ReadonlyArray<Effort>): OpenAiModel => ({
  reasons: true,
  efforts: ["none", ...efforts],
  byDefault: false,
  chatTools
})

/** A model's own name, after what a gateway puts before it: `gpt-5.2-codex`, `o3-mini`, `codex-mini-latest`. */
const pattern = /(?:^|[/.:])(?:chatgpt-|gpt-(\d{1,2})(?:\.(\d{1,2}))?(o?)|o(\d)|codex-mini)(?=$|[-:@])(.*)$/

const gpt = (major: number, minor: number, rest: string): OpenAiModel => {
  const version = major * 100 + minor
  if (version < 500) return silent
  if (/^-chat/.test(rest)) return version === 500 ? silent : always("medium")
  if (/-pro\b/.test(rest)) return version === 500 ? always("high") : always("medium", "high", "xhigh")
  if (/-codex/.test(rest)) {
    return version >= 502 || /-max/.test(rest)
      ? always("low", "medium", "high", "xhigh")
      : always("low", "medium", "high")
  }
  if (version === 500) return always("minimal", "low", "medium", "high")
  if (version === 501) return optional("all", "low", "medium", "high")
  if (version < 505) return optional("unstated", "low", "medium", "high", "xhigh")
  const canRest = version < 600 || (version === 600 && /^-(?:sol|luna)/.test(rest))
  return {
    ...always(...(canRest ? ["none" as const] : []), "low", "medium", "high", "xhigh"),
    chatTools: "none"
  }
}

/**
 * The facts about a model by its name; `undefined` if it is not one of OpenAI's.
 *
 * @since 0.2.0
 * @category facts
 */
export const of = (model: string): OpenAiModel | undefined => {
  const found = pattern.exec(model.toLowerCase())
  if (found === null) return undefined
  const [, major, minor, omni, series, rest = ""] = found
  // Azure's name of gpt-3.5.
  if (major !== undefined) return omni === "o" || major === "35" ? silent : gpt(Number(major), Number(minor ?? 0), rest)
  if (series === undefined) return found[0].includes("codex-mini") ? always("low", "medium", "high") : silent
  if (/^-(?:mini|preview)/.test(rest) && series === "1") return always()
  return rest.includes("deep-research") ? always("medium") : always("low", "medium", "high")
}

/**
 * Whether a model of OpenAI's takes a JSON schema for its answer: from gpt-4o-2024-08-06 on (guide "Structured model
 * outputs").
 *
 * @since 0.2.0
 * @category facts
 */
export const takesSchemas = (model: string): boolean => !/gpt-(?:3[.]?5|4(?![.o\d])|4o-2024-05-13)/i.test(model)

/**
 * Whether a model reasons at an effort, or by default: then it refuses `temperature` and `top_p`.
 *
 * @since 0.2.0
 * @category refinements
 */
export const isThinking = (model: OpenAiModel | undefined, effort: string | undefined): boolean =>
  model?.reasons === true && (effort === undefined ? model.byDefault : effort !== "none")

const order: ReadonlyArray<string> = ["none", "minimal", "low", "medium", "high", "xhigh"]

/**
 * The nearest of some efforts, which are not empty. Who asks for reasoning never gets `"none"`; of two equally near
 * efforts it is the higher.
 *
 * @since 0.2.0
 * @category combinators
 */
export const nearest = <E extends string>(effort: Effort, efforts: ReadonlyArray<E>): E | undefined => {
  let best: E | undefined
  const distance = (one: string) => Math.abs(order.indexOf(one) - order.indexOf(effort))
  for (const one of efforts) {
    if (one === "none" && effort !== "none") continue
    if (best === undefined || distance(one) <= distance(best)) best = one
  }
  return best
}
