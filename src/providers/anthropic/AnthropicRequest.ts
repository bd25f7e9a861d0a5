/**
 * Writes requests of Anthropic Messages.
 *
 * System messages become `system`, and the conversation the turns of `AnthropicTurns`. What the model refuses is left
 * out, or replaced by the nearest that it takes (`ClaudeModels`, `AnthropicThinking`). The options of the user for the
 * provider are merged in last, as they are.
 *
 * @since 0.2.0
 */

import type * as Chat from "../../chat/Chat.js"
import * as Continuation from "../../chat/stream/Continuation.js"
import { InvalidRequest } from "../../errors/LlmError.js"
import * as InWords from "../wire/InWords.js"
import * as Json from "../wire/Json.js"
import * as JsonSchemas from "../wire/JsonSchemas.js"
import * as SchemaRules from "../wire/SchemaRules.js"
import * as ToolResults from "../wire/ToolResults.js"
import * as WireFields from "../wire/WireFields.js"
import * as AnthropicThinking from "./AnthropicThinking.js"
import * as AnthropicTurns from "./AnthropicTurns.js"
import * as ClaudeModels from "./ClaudeModels.js"

export { defaultMaxTokens } from "./AnthropicThinking.js"

type Facts = ClaudeModels.Facts | undefined

/** The tools and the choice among them. */
const encodeTools = (
  { toolChoice, tools = [] }: Chat.Request,
  own: Json.Json,
  facts: Facts,
  mode: AnthropicThinking.Plan["mode"],
  leftOut: Set<string>
): Json.Json => {
  const takesStrict = facts === undefined || facts.schemas
  if (!takesStrict && tools.some(({ strict }) => strict === true)) leftOut.add("strict tools (the model has none)")
  const fields = {
    tools:
      tools.length === 0
        ? undefined
        : tools.map(({ description, name, parameters, strict }) => {
            const isStrict = takesStrict ? strict : undefined
            const chosen = JsonSchemas.choose(parameters, isStrict ?? false, SchemaRules.anthropic)
            if (chosen.why !== undefined) leftOut.add(`strict ${name} (${chosen.why})`)
            return Json.compact({
              name,
              description,
              input_schema: chosen.schema,
              strict: isStrict === undefined ? undefined : chosen.strict
            })
          })
  }
  if (toolChoice === undefined) return fields
  if (tools.length === 0 && Json.array(own.tools).length === 0) {
    leftOut.add("toolChoice (there are no tools)")
    return fields
  }
  const isForced = typeof toolChoice === "object" || toolChoice === "required"
  if (isForced && (mode === "budget" || facts?.forcedTools === false)) {
    const cause = mode === "budget" ? "thinking forbids to force a tool" : "the model cannot be forced"
    leftOut.add(`toolChoice (auto: ${cause})`)
    return { ...fields, tool_choice: { type: "auto" } }
  }
  const choice =
    typeof toolChoice === "object"
      ? { type: "tool", name: toolChoice.name }
      : { type: toolChoice === "required" ? "any" : toolChoice }
  return { ...fields, tool_choice: choice }
}

/** The least `top_p` that the API takes from a model that thinks. */
const minTopPWithThinking = 0.95

const encodeSampling = (
  request: Chat.Request,
  facts: Facts,
  mode: AnthropicThinking.Plan["mode"],
  leftOut: Set<string>
): Json.Json => {
  let { temperature, topP } = request
  const takes = facts?.sampling ?? "both"
  const thinks = facts !== undefined && mode !== "off"
  if (temperature !== undefined && (takes === "none" || thinks)) {
    // The default, which needs no word.
    if (temperature !== 1) leftOut.add(`temperature (${thinks ? "the model thinks" : "the model takes none"})`)
    temperature = undefined
  }
  if (temperature !== undefined && temperature > 1) {
    leftOut.add(`temperature (1, not ${temperature})`)
    temperature = 1
  }
  if (topP !== undefined && (takes === "none" || (thinks && topP < minTopPWithThinking))) {
    leftOut.add(`topP (${thinks ? "the model thinks" : "the model takes none"})`)
    topP = undefined
  }
  if (topP !== undefined && temperature !== undefined && takes === "one") {
    leftOut.add("topP (the model takes temperature or topP)")
    topP = undefined
  }
  return { temperature, top_p: topP }
}

const encodeStop = (stop: ReadonlyArray<string> = [], leftOut: Set<string>): ReadonlyArray<string> | undefined => {
  const visible = stop.filter((text) => text.trim() !== "")
  if (visible.length < stop.length) leftOut.add("stop (texts of white space)")
  return visible.length === 0 ? undefined : visible
}

type Target = { readonly provider: string; readonly model: string }

/** Whether the conversation ends with the beginning of the answer. */
const isBegun = (turns: ReadonlyArray<AnthropicTurns.Turn>): boolean => {
  const last = turns[turns.length - 1]
  return last?.role === "assistant" && last.content[last.content.length - 1]?.type === "text"
}

/** Why a conversation, or the user's own options, allow no thinking by a budget. */
const obstacleOf = (turns: ReadonlyArray<AnthropicTurns.Turn>, target: Target, own: Json.Json): string | undefined => {
  const { max_tokens: limit, temperature = 1, tool_choice: choice, top_k: topK } = own
  const isForced = /^(?:any|tool)$/.test(String(Json.object(choice).type))
  const isSmall = typeof limit === "number" && limit <= AnthropicThinking.minBudget
  if (isForced || isSmall || temperature !== 1 || topK !== undefined) return "providerOptions do not allow it"
  if (isBegun(turns)) return Continuation.methodOf(target) === "turn" ? undefined : "the answer has begun"
  return AnthropicTurns.isUnthought(turns) ? "the tool calls have no thoughts of this provider" : undefined
}

/** Asks in a user message for the rest of an answer that has begun, if the model does not continue it. */
const askForRest = (
  turns: ReadonlyArray<AnthropicTurns.Turn>,
  target: Target,
  leftOut: Set<string>
): ReadonlyArray<AnthropicTurns.Turn> => {
  if (!isBegun(turns) || Continuation.methodOf(target) !== "turn") return turns
  leftOut.add("the beginning of the answer (a user message asks for the rest)")
  return [...turns, { role: "user", content: [{ type: "text", text: Continuation.continueText }] }]
}

const isClaude = (model: string): boolean => /claude/i.test(model)

/** Whether a signature holds for a model: those of Claude do on every platform, those of other makers do not. */
const isOwn = ({ model: maker, wire }: Chat.ProviderData, model: string): boolean =>
  wire === "anthropic" && (maker === model || (isClaude(maker) && isClaude(model)))

/**
 * The body of a request. `maxTokens` is for requests that do not set it.
 *
 * @since 0.2.0
 * @category constructors
 */
export const encode =
  (provider: string, model: string, maxTokens: number | undefined) =>
  (request: Chat.Request, streaming: boolean): WireFields.Encoded | InvalidRequest => {
    const own: Json.Json = request.providerOptions?.[provider] ?? {}
    const facts = ClaudeModels.factsOf(model)
    const target = { provider, model }
    const leftOut = new Set<string>()
    const settled = ToolResults.settle(request.messages, target, leftOut)
    if (settled instanceof InvalidRequest) return settled
    const messages = WireFields.withOwnData(settled, (data) => isOwn(data, model))
    const noted = new Set<string>()
    // System messages become `system`, which is before every thought: a later one changes it for the thoughts before.
    const lastSystem = messages.map(({ role }) => role).lastIndexOf("system")
    const whole = AnthropicTurns.encode(messages, facts?.bindsThoughts === true ? lastSystem : 0, noted)
    if (typeof whole === "string") return WireFields.refusal(target, whole)
    const ownLimit = Json.count(own.max_tokens)
    const limit = ownLimit ?? request.maxTokens ?? maxTokens
    const cap = ownLimit ?? facts?.maxOutput ?? Number.POSITIVE_INFINITY
    const obstacle = obstacleOf(whole.turns, target, own)
    const plan = AnthropicThinking.plan({ request, facts, own: own.thinking, limit, cap, obstacle }, leftOut)
    // A model that does not think refuses thoughts.
    const isCut = plan.mode === "off" && whole.turns.some(({ content }) => content.some(AnthropicTurns.isThought))
    const conversation = isCut ? AnthropicTurns.encode(messages, Number.POSITIVE_INFINITY, leftOut) : whole
    if (typeof conversation === "string") return WireFields.refusal(target, conversation)
    if (!isCut) for (const words of noted) leftOut.add(words)
    const turns = askForRest(conversation.turns, target, leftOut)

    const { metadata = {}, responseFormat } = request
    const system = [...conversation.system]
    const takesSchemas = facts === undefined || facts.schemas
    const found =
      responseFormat?.type === "json-schema" && takesSchemas
        ? JsonSchemas.enforced(responseFormat.schema, SchemaRules.anthropic)
        : undefined
    const schema = found !== undefined && "schema" in found ? found.schema : undefined
    if (responseFormat !== undefined && schema === undefined) {
      system.push(InWords.json(responseFormat))
      const why = found !== undefined && "why" in found ? `: ${found.why}` : ""
      leftOut.add(`responseFormat (asked for in words${why})`)
    }
    if (request.seed !== undefined) leftOut.add("seed (Anthropic has none)")
    const { user_id: userId, ...others } = metadata
    if (Object.keys(others).length > 0) leftOut.add(`metadata (${Object.keys(others).join(", ")})`)
    const output = Json.compact({
      format: schema === undefined ? undefined : { type: "json_schema", schema },
      effort: plan.effort
    })
    const body = Json.merge(
      Json.compact({
        model,
        max_tokens: plan.maxTokens,
        system: system.length === 0 ? undefined : system.join("\n\n"),
        messages: turns,
        ...encodeSampling(request, facts, plan.mode, leftOut),
        stop_sequences: encodeStop(request.stop, leftOut),
        metadata: userId === undefined ? undefined : { user_id: userId },
        thinking: plan.thinking,
        output_config: Object.keys(output).length === 0 ? undefined : output,
        ...encodeTools(request, own, facts, plan.mode, leftOut),
        stream: streaming ? true : undefined
      }),
      own
    )
    return { body, leftOut: [...leftOut] }
  }
