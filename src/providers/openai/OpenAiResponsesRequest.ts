/**
 * Writes requests of OpenAI's Responses API: the messages become a list of input items.
 *
 * What the API or the model refuses is translated or left out, and said in `leftOut`. The user's provider options are
 * sent as they are.
 *
 * @since 0.2.0
 */

import type * as Chat from "../../chat/Chat.js"
import { InvalidRequest } from "../../errors/LlmError.js"
import * as Json from "../wire/Json.js"
import * as JsonSchemas from "../wire/JsonSchemas.js"
import * as SchemaRules from "../wire/SchemaRules.js"
import * as WireFields from "../wire/WireFields.js"
import * as OpenAiModels from "./OpenAiModels.js"
import * as OpenAiReasoning from "./OpenAiReasoning.js"
import * as OpenAiResponsesItems from "./OpenAiResponsesItems.js"

const encodeFormat = (format: NonNullable<Chat.Request["responseFormat"]>, leftOut: Set<string>): Json.Json => {
  if (format.type === "json") return { type: "json_object" }
  const { schema, strict, why } = JsonSchemas.choose(format.schema, format.strict, SchemaRules.openai)
  if (why !== undefined) leftOut.add(`responseFormat.strict (${why})`)
  return { type: "json_schema", name: format.name, schema, strict }
}

const encodeTool = ({ description, name, parameters, strict }: Chat.Tool, leftOut: Set<string>): Json.Json => {
  const chosen = JsonSchemas.choose(parameters, strict ?? false, SchemaRules.openai)
  if (chosen.why !== undefined) leftOut.add(`strict ${name} (${chosen.why})`)
  return Json.compact({ type: "function", name, description, parameters: chosen.schema, strict: chosen.strict })
}

/** The fields about tools; without tools, the API refuses the others. */
const encodeTools = (request: Chat.Request, options: Json.Json, leftOut: Set<string>): Json.Json => {
  const tools = request.tools ?? []
  const { toolChoice } = request
  if (tools.length === 0 && Json.array(options.tools).length === 0) {
    if (toolChoice !== undefined) leftOut.add("toolChoice (there are no tools)")
    return {}
  }
  return Json.compact({
    // `strict` is on by default here and off in Chat Completions. Off is sent, so that both read a request alike.
    tools: tools.length === 0 ? undefined : tools.map((tool) => encodeTool(tool, leftOut)),
    tool_choice: typeof toolChoice === "object" ? { type: "function", name: toolChoice.name } : toolChoice
  })
}

/** The servers with this API that take `metadata`; xAI's refuses it. */
const keepsMetadata = (provider: string): boolean => /^(?:openai|azure-openai|openrouter)$/.test(provider)

/** OpenAI's API takes no smaller limit. */
const leastTokens = 16

/** The field that brings the reasoning along, so that the next request can send it back. */
const encrypted = "reasoning.encrypted_content"

/** Whether a model sends encrypted reasoning when it is asked to. The others refuse the request. */
const encrypts = (provider: string, own: OpenAiModels.OpenAiModel | undefined, model: string): boolean =>
  own?.reasons === true || (provider === "xai" && /grok-4\.[3-9](?!\d)/.test(model))

/** The reasoning of a request. The option of Chat Completions is taken too. */
const encodeReasoning = (
  { reasoning }: Chat.Request,
  options: Json.Json,
  provider: string,
  model: string,
  leftOut: Set<string>
): Json.Json => {
  const isSilent = OpenAiReasoning.efforts(provider, model)?.length === 0
  const stated = { ...Json.optional("effort", options.reasoning_effort), ...Json.object(options.reasoning) }
  const asked = Json.compact({
    effort:
      reasoning === undefined || stated.effort !== undefined
        ? undefined
        : OpenAiReasoning.effortOf(reasoning, provider, model, leftOut),
    summary: reasoning?.summary === true && !isSilent ? "auto" : undefined
  })
  if (reasoning?.summary === true && isSilent) leftOut.add(`reasoning.summary (${model} has none)`)
  return { ...asked, ...stated }
}

/**
 * The body of a request.
 *
 * @since 0.2.0
 * @category constructors
 */
export const encode = (provider: string, model: string) => {
  const own = OpenAiModels.of(model)
  return (request: Chat.Request, streaming: boolean): WireFields.Encoded | InvalidRequest => {
    const leftOut = new Set<string>()
    const input = OpenAiResponsesItems.encode(request.messages, { provider, model }, leftOut)
    if (input instanceof InvalidRequest) return input
    const given = Json.object(request.providerOptions?.[provider])
    const { reasoning_effort: _, ...options } = given
    const reasoning = encodeReasoning(request, given, provider, model, leftOut)
    const isThinking = OpenAiModels.isThinking(own, Json.string(reasoning.effort))
    const unless = WireFields.leavingOut(leftOut)
    const least = provider === "openai" || provider === "azure-openai" ? leastTokens : 1
    const maxTokens = request.maxTokens === undefined ? undefined : Math.max(least, request.maxTokens)
    if (maxTokens !== request.maxTokens) leftOut.add(`maxTokens ${request.maxTokens} as ${maxTokens}`)
    unless(true, "stop", request.stop, "this API has none")
    unless(true, "seed", request.seed, "this API has none")
    const text = {
      ...(request.responseFormat === undefined ? {} : { format: encodeFormat(request.responseFormat, leftOut) }),
      ...Json.object(options.text)
    }
    // This API stores answers for 30 days by default. Here it stores only those that are made in the background, unless
    // the provider options ask for it.
    const store = options.store ?? options.background === true
    const include = [
      ...(store !== true && encrypts(provider, own, model) ? [encrypted] : []),
      ...Json.array(options.include)
    ]
    const body: Record<string, unknown> = {
      ...Json.compact({
        model,
        input,
        max_output_tokens: maxTokens,
        temperature: unless(isThinking, "temperature", request.temperature, `${model} takes none`),
        top_p: unless(isThinking, "topP", request.topP, `${model} takes none`),
        metadata: unless(!keepsMetadata(provider), "metadata", request.metadata, `${provider} takes none`),
        ...encodeTools(request, options, leftOut),
        stream: streaming ? true : undefined,
        store
      }),
      ...options,
      ...(Object.keys(text).length === 0 ? {} : { text }),
      ...(Object.keys(reasoning).length === 0 ? {} : { reasoning }),
      ...(include.length === 0 ? {} : { include: [...new Set(include)] })
    }
    if (body.tools === undefined && body.parallel_tool_calls !== undefined) {
      delete body.parallel_tool_calls
      leftOut.add("parallel_tool_calls (there are no tools)")
    }
    return { body, leftOut: [...leftOut], later: !streaming && options.background === true }
  }
}
