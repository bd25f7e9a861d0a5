/**
 * Writes requests in OpenAI's Chat Completions.
 *
 * What the server or the model refuses is translated or left out, and said in `leftOut`. The user's provider options
 * are sent as they are: a field that they have is not written a second time.
 *
 * @since 0.2.0
 */

import type * as Chat from "../../chat/Chat.js"
import { InvalidRequest } from "../../errors/LlmError.js"
import * as InWords from "../wire/InWords.js"
import * as Json from "../wire/Json.js"
import * as JsonSchemas from "../wire/JsonSchemas.js"
import * as SchemaRules from "../wire/SchemaRules.js"
import * as ToolIds from "../wire/ToolIds.js"
import * as ToolResults from "../wire/ToolResults.js"
import * as WireFields from "../wire/WireFields.js"
import * as OpenAiFiles from "./OpenAiFiles.js"
import * as OpenAiModels from "./OpenAiModels.js"
import * as OpenAiReasoning from "./OpenAiReasoning.js"

/**
 * The name of this wire format in `ProviderData`.
 *
 * @since 0.2.0
 * @category constants
 */
export const wire = "openai-chat"

/**
 * The differences of a server that speaks Chat Completions.
 *
 * @since 0.1.0
 * @category models
 */
export interface Dialect {
  /** The server's base URL, if it is known. */
  readonly baseUrl?: string
  /** The name of the field for the most tokens of an answer. OpenAI's reasoning models have their own. */
  readonly maxTokens: "max_tokens" | "max_completion_tokens"
  /** The name of the field for the seed. */
  readonly seed: "seed" | "random_seed"
  /** Whether usage is requested with `stream_options`; the other servers send it anyway, or refuse the field. */
  readonly streamUsage: boolean
  /** Whether a last message of the assistant is marked as the beginning of the answer. Default `false`. */
  readonly prefix?: boolean
  /** Whether the server takes `metadata`; `"stored"`: only with `store: true`. Default `"never"`. */
  readonly metadata?: "always" | "stored" | "never"
  /** The field that asks for reasoning. Default `"effort"`. */
  readonly reasoning?: OpenAiReasoning.Style
  /** The files that the server takes. Default `"any"`. */
  readonly files?: OpenAiFiles.Files
  /** Whether the server takes a JSON schema for the answer; else it is asked for any JSON. Default `true`. */
  readonly schemas?: boolean
  /** Whether the server itself leaves out what a model does not take. Default `false`. */
  readonly adapts?: boolean
}

/** A server and a model, and the facts about them. */
interface Target {
  readonly provider: string
  readonly model: string
  readonly dialect: Dialect
  /** The model, if it is OpenAI's own and the server does not adapt requests to it. */
  readonly own: OpenAiModels.OpenAiModel | undefined
  /** The ids of tool calls that it takes. */
  readonly ids: RegExp
}

/** Mistral's models want ids of nine letters and digits, also on other servers. OpenAI's API takes 40 characters. */
const targetOf = (provider: string, model: string, dialect: Dialect): Target => ({
  provider,
  model,
  dialect,
  own: dialect.adapts === true ? undefined : OpenAiModels.of(model),
  ids:
    provider === "mistral" || /(?:mi(?:ni)?|magi|code|dev)stral|[mp]ixtral/i.test(model)
      ? /^[a-zA-Z0-9]{9}$/
      : /^[\s\S]{1,40}$/
})

// -----------------------------------------------------------------------------
// messages
// -----------------------------------------------------------------------------

/** The fields of a reply that go back on its message; its content is compared first. */
const replyFields = ["reasoning_content", "reasoning", "reasoning_details", "extra_content"] as const

/** What an earlier answer of this server wants to see again. */
const replyOf = (data: Chat.ProviderData | undefined, provider: string): Json.Json =>
  data?.wire === wire && data.provider === provider ? Json.object(data.reply) : Json.object(undefined)

const textOf = (parts: ReadonlyArray<unknown>): string =>
  parts.map((part) => Json.string(Json.object(part).text) ?? "").join("")

type Assistant = Extract<Chat.Message, { role: "assistant" }>

const encodeAssistant = (message: Assistant, provider: string): Json.Json => {
  const { content, providerData, toolCalls = [] } = message
  const reply = replyOf(providerData, provider)
  const back: Record<string, unknown> = {}
  for (const field of replyFields) if (reply[field] !== undefined) back[field] = reply[field]
  const list = Json.array(reply.content)
  const parts = list.length > 0 && textOf(list) === content ? list : undefined
  return {
    role: "assistant",
    content: parts ?? (content === "" && toolCalls.length > 0 ? null : content),
    ...back,
    ...(toolCalls.length === 0
      ? {}
      : {
          tool_calls: toolCalls.map((call) => ({
            id: call.id,
            type: "function",
            function: { name: call.name, arguments: JSON.stringify(call.arguments ?? {}) },
            ...Json.optional("extra_content", replyOf(call.providerData, provider).extra_content)
          }))
        })
  }
}

const encodePart =
  (dialect: Dialect) =>
  (part: WireFields.UserPart): Json.Json | string =>
    part.type === "text" ? part : OpenAiFiles.forChat(part, dialect.files ?? "any")

const encodeMessage = (message: Chat.Message, index: number, target: Target): Json.Json | InvalidRequest => {
  switch (message.role) {
    case "system":
      return { role: "system", content: message.content }
    case "user": {
      if (typeof message.content === "string") return { role: "user", content: message.content }
      const { dialect, model, provider } = target
      const at = `messages[${index}].content`
      const parts = OpenAiFiles.parts(message.content, encodePart(dialect), at, { provider, model })
      if (parts instanceof InvalidRequest) return parts
      return { role: "user", content: parts.length === 0 ? "" : parts }
    }
    case "assistant":
      return encodeAssistant(message, target.provider)
    case "tool":
      return { role: "tool", tool_call_id: message.toolCallId, content: message.content }
  }
}

/** Whether a message of the assistant says nothing: servers refuse it. */
const isEmpty = (message: Chat.Message): boolean =>
  message.role === "assistant" && message.content === "" && (message.toolCalls?.length ?? 0) === 0

const encodeMessages = (
  messages: Chat.Request["messages"],
  target: Target,
  leftOut: Set<string>
): ReadonlyArray<Json.Json> | InvalidRequest => {
  const settled = ToolResults.settle(messages, target, leftOut)
  if (settled instanceof InvalidRequest) return settled
  const out: Array<Json.Json> = []
  for (const [index, message] of ToolIds.map(settled, target.ids).entries()) {
    if (isEmpty(message)) {
      leftOut.add(`messages[${index}] (empty)`)
      continue
    }
    const encoded = encodeMessage(message, index, target)
    if (encoded instanceof InvalidRequest) return encoded
    // Marks the beginning of an answer, for servers that ask for the mark.
    const isBegun = index === settled.length - 1 && encoded.role === "assistant" && encoded.tool_calls === undefined
    const isPrefix = target.dialect.prefix === true && isBegun
    out.push(isPrefix ? { ...encoded, prefix: true } : encoded)
  }
  return out
}

// -----------------------------------------------------------------------------
// fields
// -----------------------------------------------------------------------------

/** The format of the answer. Who takes no schema is asked for JSON, and told the schema in words. */
const encodeFormat = (
  format: Chat.Request["responseFormat"],
  { dialect, model }: Target,
  leftOut: Set<string>
): { readonly field?: Json.Json; readonly words?: string } => {
  if (format === undefined) return {}
  if (format.type === "json") return { field: { type: "json_object" } }
  if (dialect.schemas === false || !OpenAiModels.takesSchemas(model)) {
    leftOut.add("responseFormat.schema (asked for in words)")
    return { words: InWords.json(format), field: { type: "json_object" } }
  }
  const { schema, strict, why } = JsonSchemas.choose(format.schema, format.strict, SchemaRules.openai)
  if (why !== undefined) leftOut.add(`responseFormat.strict (${why})`)
  return { field: { type: "json_schema", json_schema: { name: format.name, schema, strict } } }
}

/** The parameters of a tool. They are enforced only if that was asked for. */
const encodeTool = ({ description, name, parameters, strict }: Chat.Tool, leftOut: Set<string>): Json.Json => {
  const chosen = JsonSchemas.choose(parameters, strict ?? false, SchemaRules.openai)
  if (chosen.why !== undefined) leftOut.add(`strict ${name} (${chosen.why})`)
  return Json.compact({
    name,
    description,
    parameters: chosen.schema,
    strict: strict === undefined ? undefined : chosen.strict
  })
}

/** The fields about tools; without tools, servers refuse the others. */
const encodeTools = (request: Chat.Request, options: Json.Json, leftOut: Set<string>): Json.Json => {
  const tools = request.tools ?? []
  if (tools.length === 0 && Json.array(options.tools).length === 0) {
    if (request.toolChoice !== undefined) leftOut.add("toolChoice (there are no tools)")
    return {}
  }
  const { toolChoice } = request
  return Json.compact({
    tools:
      tools.length === 0 ? undefined : tools.map((tool) => ({ type: "function", function: encodeTool(tool, leftOut) })),
    tool_choice: typeof toolChoice === "object" ? { type: "function", function: { name: toolChoice.name } } : toolChoice
  })
}

/** The options that name how much the model shall reason. */
const reasoningOptions = ["reasoning_effort", "reasoning", "thinking"]

/** The reasoning of a request, and what the model takes together with it. */
const encodeReasoning = (request: Chat.Request, options: Json.Json, target: Target, leftOut: Set<string>) => {
  const { dialect, model, own, provider } = target
  if (reasoningOptions.some((name) => options[name] !== undefined)) {
    return { fields: {}, effort: Json.string(options.reasoning_effort) }
  }
  const asked = OpenAiReasoning.forChat(dialect.reasoning ?? "effort", request.reasoning, provider, model, leftOut)
  const hasTools = (request.tools?.length ?? 0) > 0 || Json.array(options.tools).length > 0
  if (own === undefined || own.chatTools === "all" || !hasTools) return asked
  const rests = own.chatTools === "none" && own.efforts.includes("none")
  if (rests ? asked.effort !== "none" : asked.effort !== undefined) {
    leftOut.add(`reasoning (Chat Completions takes no tools with it for ${model}; OpenAiResponses does)`)
  }
  return rests
    ? { fields: { reasoning_effort: "none" }, effort: "none" }
    : { fields: {}, effort: own.byDefault ? undefined : "none" }
}

/** The models whose sampling is fixed, and those that take no `stop`, by what their servers answer. */
const refusals = ({ model, own, provider }: Target, effort: string | undefined) => ({
  sampling: OpenAiModels.isThinking(own, effort) || (provider === "moonshot" && /^kimi-/.test(model)),
  stop: own?.reasons === true || (provider === "xai" && !/grok-[23](?!-mini)|non-reasoning/.test(model))
})

/**
 * The body of a request, in the dialect of a server.
 *
 * @since 0.2.0
 * @category constructors
 */
export const encode = (provider: string, model: string, dialect: Dialect) => {
  const target = targetOf(provider, model, dialect)
  return (request: Chat.Request, streaming: boolean): WireFields.Encoded | InvalidRequest => {
    const leftOut = new Set<string>()
    const messages = encodeMessages(request.messages, target, leftOut)
    if (messages instanceof InvalidRequest) return messages
    const options = Json.object(request.providerOptions?.[provider])
    const tools = encodeTools(request, options, leftOut)
    const format = encodeFormat(request.responseFormat, target, leftOut)
    const reasoning = encodeReasoning(request, options, target, leftOut)
    const refused = refusals(target, reasoning.effort)
    const unless = WireFields.leavingOut(leftOut)
    const takesNone = `${model} takes none`
    const isKept = dialect.metadata === "always" || (dialect.metadata === "stored" && options.store === true)
    const metadataWhy = `${provider} takes ${dialect.metadata === "stored" ? "it with store: true" : "none"}`
    const maxTokens = target.own?.reasons === true ? "max_completion_tokens" : dialect.maxTokens
    const limited = options.max_tokens !== undefined || options.max_completion_tokens !== undefined
    const body: Record<string, unknown> = {
      ...Json.compact({
        model,
        messages: format.words === undefined ? messages : [{ role: "system", content: format.words }, ...messages],
        [maxTokens]: limited ? undefined : request.maxTokens,
        temperature: unless(refused.sampling, "temperature", request.temperature, takesNone),
        top_p: unless(refused.sampling, "topP", request.topP, takesNone),
        stop: request.stop?.length === 0 ? undefined : unless(refused.stop, "stop", request.stop, takesNone),
        [dialect.seed]: request.seed,
        metadata: unless(!isKept, "metadata", request.metadata, metadataWhy),
        response_format: format.field,
        ...tools,
        ...reasoning.fields,
        stream: streaming ? true : undefined,
        stream_options: streaming && dialect.streamUsage ? { include_usage: true } : undefined
      }),
      ...options
    }
    if (body.tools === undefined && body.parallel_tool_calls !== undefined) {
      delete body.parallel_tool_calls
      leftOut.add("parallel_tool_calls (there are no tools)")
    }
    return { body, leftOut: [...leftOut] }
  }
}
