/**
 * Reads requests of Anthropic's Messages, the inverse of `AnthropicRequest`.
 *
 * Thoughts of earlier answers are kept as `ProviderData` of the message, with which a Claude gets them back.
 *
 * @since 0.2.0
 */

import type * as Chat from "../../chat/Chat.js"
import type { Asked, Options } from "./Asked.js"
import * as Fields from "./Fields.js"

type Parts = Exclude<Extract<Chat.Message, { role: "user" }>["content"], string>
type Part = Parts[number]

const known = new Set(
  [
    "model messages system max_tokens temperature top_p stop_sequences metadata",
    "tools tool_choice thinking output_config stream"
  ]
    .join(" ")
    .split(" ")
)

// -----------------------------------------------------------------------------
// messages
// -----------------------------------------------------------------------------

/** The text of a document, as base64 like every other file. */
const base64 = (text: string): string => {
  const bytes = new TextEncoder().encode(text)
  let binary = ""
  for (const byte of bytes) binary += String.fromCharCode(byte)
  return btoa(binary)
}

const mediaOf = (block: Fields.Json, type: "image" | "document", at: string): Part => {
  const source = Fields.needed(Fields.object, block.source, `${at}.source`, "an object")
  const field = (name: string): string => Fields.needed(Fields.string, source[name], `${at}.source.${name}`, "a string")
  const kind = Fields.needed(
    Fields.oneOf("base64", "url", "text"),
    source.type,
    `${at}.source.type`,
    '"base64", "url" or "text"'
  )
  const name = Fields.string(block.title, `${at}.title`)
  if (kind === "url") {
    const url = field("url")
    return type === "image"
      ? { type, url }
      : Fields.compact({ type: "file" as const, url, mediaType: "application/pdf", name })
  }
  const mediaType = field("media_type")
  const data = kind === "text" ? base64(field("data")) : field("data")
  return type === "image" ? { type, data, mediaType } : Fields.compact({ type: "file" as const, data, mediaType, name })
}

/** The messages of a user's turn: results of tools first, for they answer the turn before. */
const userTurn = (content: unknown, at: string): ReadonlyArray<Chat.Message> => {
  if (typeof content === "string") return [{ role: "user", content }]
  const blocks = Fields.needed(Fields.array, content, at, "a string or an array of blocks")
  const results: Array<Chat.Message> = []
  const parts: Array<Part> = []
  for (const [index, entry] of blocks.entries()) {
    const where = `${at}[${index}]`
    const block = Fields.needed(Fields.object, entry, where, "an object")
    const types = ["text", "image", "document", "tool_result"] as const
    const type = Fields.needed(Fields.oneOf(...types), block.type, `${where}.type`, "a string")
    if (type === "text") {
      parts.push({ type, text: Fields.needed(Fields.string, block.text, `${where}.text`, "a string") })
    } else if (type === "tool_result") {
      results.push({
        role: "tool",
        toolCallId: Fields.needed(Fields.string, block.tool_use_id, `${where}.tool_use_id`, "a string"),
        content: Fields.texts(block.content, `${where}.content`)
      })
    } else parts.push(mediaOf(block, type, where))
  }
  return parts.length === 0 ? results : [...results, { role: "user", content: parts }]
}

const isThought = (block: Fields.Json): boolean => block.type === "thinking" || block.type === "redacted_thinking"

const assistantTurn = (content: unknown, at: string, model: string): Chat.Message => {
  if (typeof content === "string") return { role: "assistant", content }
  const blocks = Fields.needed(Fields.array, content, at, "a string or an array of blocks").map((entry, index) =>
    Fields.needed(Fields.object, entry, `${at}[${index}]`, "an object")
  )
  let text = ""
  const toolCalls: Array<Chat.ToolCall> = []
  for (const [index, block] of blocks.entries()) {
    const where = `${at}[${index}]`
    const types = ["text", "tool_use", "thinking", "redacted_thinking"] as const
    const type = Fields.needed(Fields.oneOf(...types), block.type, `${where}.type`, "a string")
    if (type === "text") text += Fields.needed(Fields.string, block.text, `${where}.text`, "a string")
    else if (type === "tool_use") {
      toolCalls.push({
        id: Fields.needed(Fields.string, block.id, `${where}.id`, "a string"),
        name: Fields.needed(Fields.string, block.name, `${where}.name`, "a string"),
        arguments: Fields.object(block.input, `${where}.input`) ?? {}
      })
    }
  }
  // A thought without a signature is refused by the API.
  const kept = blocks.filter((block) => block.type !== "thinking" || (block.signature ?? "") !== "")
  return {
    role: "assistant",
    content: text,
    ...(toolCalls.length === 0 ? {} : { toolCalls }),
    ...(kept.some(isThought)
      ? { providerData: { wire: "anthropic", provider: "anthropic", model, reply: { content: kept } } }
      : {})
  }
}

const systemOf = (value: unknown): ReadonlyArray<Chat.Message> => {
  const content = Fields.texts(value, "system")
  return content === "" ? [] : [{ role: "system", content }]
}

// -----------------------------------------------------------------------------
// fields
// -----------------------------------------------------------------------------

const toolOf = (entry: unknown, at: string): Chat.Tool => {
  const tool = Fields.needed(Fields.object, entry, at, "an object")
  // Tools that Anthropic runs itself have a type.
  Fields.oneOf("custom")(tool.type, `${at}.type`)
  return Fields.compact({
    name: Fields.needed(Fields.string, tool.name, `${at}.name`, "a string"),
    description: Fields.string(tool.description, `${at}.description`),
    parameters: Fields.needed(Fields.object, tool.input_schema, `${at}.input_schema`, "an object"),
    strict: Fields.boolean(tool.strict, `${at}.strict`)
  })
}

const choiceOf = (value: unknown): Chat.Request["toolChoice"] => {
  const choice = Fields.object(value, "tool_choice")
  if (choice === undefined) return undefined
  const types = ["auto", "any", "none", "tool"] as const
  const type = Fields.needed(Fields.oneOf(...types), choice.type, "tool_choice.type", "a string")
  if (type === "tool") return { name: Fields.needed(Fields.string, choice.name, "tool_choice.name", "a string") }
  return type === "any" ? "required" : type
}

const efforts = ["minimal", "low", "medium", "high", "xhigh"] as const

const reasoningOf = (thinking: unknown, output: Fields.Json | undefined): Chat.Reasoning | undefined => {
  const fields = Fields.object(thinking, "thinking")
  const effort = Fields.oneOf(...efforts)(output?.effort, "output_config.effort")
  if (fields === undefined) return effort === undefined ? undefined : { effort }
  const types = ["enabled", "adaptive", "disabled"] as const
  const type = Fields.needed(Fields.oneOf(...types), fields.type, "thinking.type", "a string")
  if (type === "disabled") return { effort: "none" }
  const budgetTokens = Fields.integer(1)(fields.budget_tokens, "thinking.budget_tokens")
  return Fields.compact({ effort: effort ?? (budgetTokens === undefined ? "high" : undefined), budgetTokens })
}

const formatOf = (output: Fields.Json | undefined): Chat.Request["responseFormat"] => {
  const format = Fields.object(output?.format, "output_config.format")
  if (format === undefined) return undefined
  Fields.needed(Fields.oneOf("json_schema"), format.type, "output_config.format.type", "a string")
  const schema = Fields.needed(Fields.object, format.schema, "output_config.format.schema", "an object")
  return { type: "json-schema", name: "answer", schema }
}

/**
 * What a client asks for; throws the refusal of the first field that is wrong.
 *
 * @since 0.2.0
 * @category decoding
 */
export const read = (body: unknown, { passTo }: Options): Asked => {
  const fields = Fields.needed(Fields.object, body, "body", "a JSON object")
  const model = Fields.needed(Fields.string, fields.model, "model", "a string")
  const entries = Fields.needed(Fields.array, fields.messages, "messages", "an array")
  const turns = entries.flatMap((entry, index) => {
    const at = `messages[${index}]`
    const message = Fields.needed(Fields.object, entry, at, "an object")
    const role = Fields.needed(Fields.oneOf("user", "assistant"), message.role, `${at}.role`, "a string")
    return role === "user"
      ? userTurn(message.content, `${at}.content`)
      : [assistantTurn(message.content, `${at}.content`, model)]
  })
  if (turns.length === 0) throw Fields.refusal("messages", "an empty array", "at least one message")
  const [first, ...rest] = [...systemOf(fields.system), ...turns] as [Chat.Message, ...Array<Chat.Message>]
  const tools = Fields.array(fields.tools, "tools")?.map((tool, index) => toolOf(tool, `tools[${index}]`))
  const userId = Fields.string(Fields.object(fields.metadata, "metadata")?.user_id, "metadata.user_id")
  const output = Fields.object(fields.output_config, "output_config")
  const stop = Fields.array(fields.stop_sequences, "stop_sequences")?.map((entry, index) =>
    Fields.needed(Fields.string, entry, `stop_sequences[${index}]`, "a string")
  )
  const unread = Fields.unread(fields, known)
  const request: Chat.Request = Fields.compact({
    messages: [first, ...rest] as const,
    tools: tools?.length === 0 ? undefined : tools,
    toolChoice: choiceOf(fields.tool_choice),
    responseFormat: formatOf(output),
    temperature: Fields.number(fields.temperature, "temperature"),
    topP: Fields.number(fields.top_p, "top_p"),
    maxTokens: Fields.needed(Fields.integer(1), fields.max_tokens, "max_tokens", "a whole number from 1 on"),
    reasoning: reasoningOf(fields.thinking, output),
    stop: stop?.length === 0 ? undefined : stop,
    metadata: userId === undefined ? undefined : { user_id: userId },
    providerOptions:
      passTo === undefined || unread.length === 0
        ? undefined
        : { [passTo]: Object.fromEntries(unread.map((name) => [name, fields[name]])) }
  })
  return {
    model,
    request,
    stream: Fields.boolean(fields.stream, "stream") ?? false,
    includeUsage: true,
    unread: passTo === undefined ? unread : []
  }
}
