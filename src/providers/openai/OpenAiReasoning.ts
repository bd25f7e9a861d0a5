/**
 * Says in the words of a server how much a model shall reason, for `OpenAiChatRequest` and `OpenAiResponsesRequest`.
 *
 * @since 0.2.0
 */

import type * as Chat from "../../chat/Chat.js"
import type * as Json from "../wire/Json.js"
import * as OpenAiModels from "./OpenAiModels.js"

/**
 * The field with which a server is asked to reason.
 *
 * - `"effort"`: `reasoning_effort`.
 * - `"thinking"`: `thinking.type` turns it on or off, and `reasoning_effort` sets it where the model has several.
 * - `"toggle"`: `reasoning.enabled`, and `reasoning_effort` for models that have several.
 * - `"openrouter"`: `reasoning` with `effort` or `max_tokens`, and `exclude`. The server finds the nearest itself.
 *
 * @since 0.2.0
 * @category models
 */
export type Style = "effort" | "thinking" | "toggle" | "openrouter"

// -----------------------------------------------------------------------------
// facts
// -----------------------------------------------------------------------------

const upTo = {
  high: ["low", "medium", "high"],
  xhigh: ["low", "medium", "high", "xhigh"],
  noneToHigh: ["none", "low", "medium", "high"],
  onOff: ["none", "high"]
} as const

/**
 * The efforts that a server takes for a model, from its documentation or its messages. The first matching row counts.
 * Empty: it refuses the field.
 */
const rows: ReadonlyArray<readonly [provider: RegExp, model: RegExp, efforts: ReadonlyArray<string>]> = [
  [/./, /gpt-oss/, upTo.high],
  // console.groq.com/docs/reasoning
  [/^groq$/, /qwen-?3/, ["none", "default"]],
  // docs.x.ai/developers/model-capabilities/text/reasoning
  [/^xai$/, /grok-3-mini/, ["low", "high"]],
  [/^xai$/, /grok-4\.3/, upTo.noneToHigh],
  [/^xai$/, /grok-4\.[56]/, upTo.high],
  [/^xai$/, /grok-4\.(?:7|20-multi-agent)/, upTo.xhigh],
  // docs.mistral.ai/capabilities/reasoning
  [/^mistral$/, /mistral-(?:small-(?:latest|2603|4)|medium-(?:latest|2604|3[-.]5))/, upTo.onOff],
  [/^mistral$/, /mistral-large-4/, upTo.high],
  // inference-docs.cerebras.ai/capabilities/reasoning
  [/^cerebras$/, /glm/, upTo.noneToHigh],
  // api-docs.deepseek.com/guides/thinking_mode
  [/^deepseek$/, /./, ["none", "low", "high"]],
  // platform.kimi.ai/docs/api/models-overview
  [/^moonshot$/, /kimi-k2\.[56](?:$|[^0-9])/, upTo.onOff],
  [/^moonshot$/, /kimi-k[3-9]/, ["low", "high"]],
  // docs.z.ai/guides/capabilities/thinking-mode
  [/^zai$/, /glm-(?:5\.[2-9]|[6-9])/, ["none", "minimal", ...upTo.xhigh]],
  [/^zai$/, /./, upTo.onOff],
  // docs.fireworks.ai/guides/reasoning
  [/^fireworks$/, /kimi/, upTo.high],
  [/^fireworks$/, /glm/, upTo.onOff],
  [/^(?:fireworks|vllm|ollama)$/, /./, upTo.noneToHigh],
  // docs.together.ai/docs/inference/chat/reasoning
  [/^together$/, /deepseek-v[34]|glm|kimi-k2\.|qwen3\.|cogito/, upTo.onOff],
  // ai.google.dev/gemini-api/docs/openai
  [/./, /gemini-2\.5-flash/, ["none", "minimal", ...upTo.high]],
  [/./, /gemini-/, ["minimal", ...upTo.high]],
  [/^(?:groq|xai|mistral|cerebras|moonshot|together)$/, /./, []]
]

/**
 * The efforts that a server takes for a model; `undefined` if they are not known, and empty if it refuses the field.
 *
 * @since 0.2.0
 * @category facts
 */
export const efforts = (provider: string, model: string): ReadonlyArray<string> | undefined => {
  const name = model.toLowerCase()
  const own = OpenAiModels.of(name)?.efforts
  return own ?? rows.find(([servers, models]) => servers.test(provider) && models.test(name))?.[2]
}

// -----------------------------------------------------------------------------
// translation
// -----------------------------------------------------------------------------

/** From so many tokens on, a budget is that effort; Gemini's endpoint maps them so. */
const budgets: ReadonlyArray<readonly [tokens: number, effort: OpenAiModels.Effort]> = [
  [16_384, "high"],
  [4096, "medium"],
  [0, "low"]
]

/**
 * The effort that a request asks for, as the model takes it. Adds to `leftOut` what was translated or left out.
 *
 * @since 0.2.0
 * @category constructors
 */
export const effortOf = (
  { budgetTokens, effort: asked }: Chat.Reasoning,
  provider: string,
  model: string,
  leftOut: Set<string>
): string | undefined => {
  const effort = asked ?? budgets.find(([tokens]) => budgetTokens !== undefined && budgetTokens >= tokens)?.[1]
  if (effort === undefined) return undefined
  const taken = efforts(provider, model)
  if (taken?.length === 0) {
    leftOut.add(`reasoning (${model} takes no effort)`)
    return undefined
  }
  const found =
    taken === undefined
      ? effort
      : taken.includes("default") && effort !== "none"
        ? "default"
        : OpenAiModels.nearest(effort, taken)
  if (budgetTokens !== undefined) leftOut.add(`reasoning.budgetTokens (the effort is ${found})`)
  else if (found !== effort) leftOut.add(`reasoning effort ${effort} as ${found} (${model} takes ${taken?.join(", ")})`)
  return found
}

/** What a chat request says of reasoning. */
export interface ForChat {
  readonly fields: Json.Json
  /** The effort that was asked for, as the model takes it. */
  readonly effort: string | undefined
}

const nothing: ForChat = { fields: {}, effort: undefined }

const openRouter = ({ budgetTokens, effort, summary }: Chat.Reasoning): ForChat => {
  const reasoning = {
    ...(budgetTokens !== undefined ? { max_tokens: budgetTokens } : effort === undefined ? {} : { effort }),
    ...(summary === undefined ? {} : { exclude: !summary })
  }
  return { fields: Object.keys(reasoning).length === 0 ? {} : { reasoning }, effort }
}

/**
 * The fields of a chat request for its `reasoning`.
 *
 * @since 0.2.0
 * @category constructors
 */
export const forChat = (
  style: Style,
  reasoning: Chat.Reasoning | undefined,
  provider: string,
  model: string,
  leftOut: Set<string>
): ForChat => {
  if (reasoning === undefined) return nothing
  if (style === "openrouter") return openRouter(reasoning)
  if (reasoning.summary !== undefined) leftOut.add("reasoning.summary (the server decides)")
  const effort = effortOf(reasoning, provider, model, leftOut)
  if (effort === undefined) return nothing
  const isSwitch = efforts(provider, model)?.every((one) => one === "none" || one === "high") === true
  if (style === "effort" || (style === "toggle" && !isSwitch)) return { fields: { reasoning_effort: effort }, effort }
  if (style === "toggle") return { fields: { reasoning: { enabled: effort !== "none" } }, effort }
  const type = effort === "none" ? "disabled" : "enabled"
  const isOn = type === "enabled" && !isSwitch
  const thinks = efforts(provider, model)?.includes("none") !== false
  return {
    fields: { ...(thinks ? { thinking: { type } } : {}), ...(isOn ? { reasoning_effort: effort } : {}) },
    effort
  }
}
