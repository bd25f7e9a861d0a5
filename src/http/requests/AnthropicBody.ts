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
import * as Leftover from "./Leftover.js"
import * as ToolResult from "./ToolResult.js"

const known = {
  body: Leftover.names(
    "model messages system max_tokens temperature top_p stop_sequences metadata tools tool_choice thinking " +
      "output_config stream"
  ),
  metadata: Leftover.names("user_id"),
  output: Leftover.names("effort format"),
  choice: Leftover.names("type name"),
  thinking: Leftover.names("type budget_tokens display"),
  tool: Leftover.names("type name description input_schema strict"),
  text: Leftover.names("type text"),
  media: Leftover.names("type source title"),
  result: Leftover.names("type tool_use_id content is_error"),
  call: Leftover.names("type id name input")
}

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

const mediaOf = (block: Fields.Json, type: "image" | "document", at: string): ToolResult.Part => {
  const source = Fields.needed(Fields.object, block.source, `${at}.source`, "an object")
  const field = (name: string): string => Fields.needed(Fields.string, source[name], `${at}.source.${name}`, "a string")
  const kinds = ["base64", "url", "text", "content"] as const
  const kind = Fields.needed(Fields.oneOf(...kinds), source.type, `${at}.source.type`, "a string")
  const name = Fields.string(block.title, `${at}.title`)
  if (kind === "url") {
    const url = field("url")
    return type === "image"
      ? { type, url }
      : Fields.compact({ type: "file" as const, url, mediaType: "application/pdf", name })
  }
  if (kind === "content") {
    const data = base64(Fields.texts(source.content, `${at}.source.content`))
    return Fields.compact({ type: "file" as const, data, mediaType: "text/plain", name })
  }
  const mediaType = field("media_type")
  const data = kind === "text" ? base64(field("data")) : field("data")
  return type === "image" ? { type, data, mediaType } : Fields.compact({ type: "file" as const, data, mediaType, name })
}

/** A text, an image or a document. */
const partOf = (
  block: Fields.Json,
  type: "text" | "image" | "document",
  at: string,
  left: Leftover.Leftover
): ToolResult.Part => {
  left.lost(block, type === "text" ? known.text : known.media, "messages[].content[]")
  return type === "text"
    ? { type, text: Fields.needed(Fields.string, block.text, `${at}.text`, "a string") }
    : mediaOf(block, type, at)
}

const blockAt = (entry: unknown, at: string): Fields.Json => Fields.needed(Fields.object, entry, at, "an object")

/** The result of a tool. No message of a tool says that it failed: its text does. */
const resultOf = (block: Fields.Json, at: string, left: Leftover.Leftover): ToolResult.ToolResult => {
  left.lost(block, known.result, "messages[].content[]")
  const id = Fields.needed(Fields.string, block.tool_use_id, `${at}.tool_use_id`, "a string")
  const failed = Fields.boolean(block.is_error, `${at}.is_error`) === true
  const { content } = block
  const parts: ReadonlyArray<ToolResult.Part> =
    typeof content === "string"
      ? [{ type: "text", text: content }]
      : (Fields.array(content, `${at}.content`) ?? []).map((entry, index) => {
          const where = `${at}.content[${index}]`
          const one = blockAt(entry, where)
          const types = ["text", "image", "document"] as const
          return partOf(one, Fields.needed(Fields.oneOf(...types), one.type, `${where}.type`, "a string"), where, left)
        })
  const said = parts.some((part) => part.type === "text" && /^\W*error\b/i.test(part.text))
  return ToolResult.make(id, failed && !said ? [{ type: "text", text: "Error: " }, ...parts] : parts)
}

/** The messages of a user's turn: results of tools first, for they answer the turn before. */
const userTurn = (content: unknown, at: string, left: Leftover.Leftover): ReadonlyArray<Chat.Message> => {
  if (typeof content === "string") return [{ role: "user", content }]
  const blocks = Fields.needed(Fields.array, content, at, "a string or an array of blocks")
  const results: Array<ToolResult.ToolResult> = []
  const parts: Array<ToolResult.Part> = []
  for (const [index, entry] of blocks.entries()) {
    const where = `${at}[${index}]`
    const block = blockAt(entry, where)
    const types = ["text", "image", "document", "tool_result"] as const
    const type = Fields.needed(Fields.oneOf(...types), block.type, `${where}.type`, "a string")
    if (type === "tool_result") results.push(resultOf(block, where, left))
    else parts.push(partOf(block, type, where, left))
  }
  return ToolResult.messages(results, parts)
}

const isThought = (block: Fields.Json): boolean => block.type === "thinking" || block.type === "redacted_thinking"

const assistantTurn = (content: unknown, at: string, { left, model, provider }: Context): Chat.Message => {
  if (typeof content === "string") return { role: "assistant", content }
  const blocks = Fields.needed(Fields.array, content, at, "a string or an array of blocks").map((entry, index) =>
    blockAt(entry, `${at}[${index}]`)
  )
  let text = ""
  const toolCalls: Array<Chat.ToolCall> = []
  for (const [index, block] of blocks.entries()) {
    const where = `${at}[${index}]`
    const types = ["text", "tool_use", "thinking", "redacted_thinking"] as const
    const type = Fields.needed(Fields.oneOf(...types), block.type, `${where}.type`, "a string")
    if (type === "text") {
      left.lost(block, known.text, "messages[].content[]")
      text += Fields.needed(Fields.string, block.text, `${where}.text`, "a string")
    } else if (type === "tool_use") {
      left.lost(block, known.call, "messages[].content[]")
      toolCalls.push({
        id: Fields.needed(Fields.string, block.id, `${where}.id`, "a string"),
        name: Fields.needed(Fields.string, block.name, `${where}.name`, "a string"),
        arguments: Fields.object(block.input, `${where}.input`) ?? {}
      })
    }
  }
  // A thought without a signature is refused by the API. The input of a call is that of the message.
  const kept = blocks.flatMap((block) => {
    const { input, ...call } = block
    if (block.type === "tool_use") return [call]
    return block.type !== "thinking" || (block.signature ?? "") !== "" ? [block] : []
  })
  return {
    role: "assistant",
    content: text,
    ...(toolCalls.length === 0 ? {} : { toolCalls }),
    ...(kept.some(isThought) ? { providerData: { wire: "anthropic", provider, model, reply: { content: kept } } } : {})
  }
}

const systemOf = (value: unknown, at: string, left: Leftover.Leftover): ReadonlyArray<Chat.Message> => {
  const content = Fields.texts(value, at)
  if (Array.isArray(value)) for (const block of value) left.lost(block, known.text, "system[]")
  return content === "" ? [] : [{ role: "system", content }]
}

/** The reader of one request. */
interface Context {
  readonly left: Leftover.Leftover
  readonly provider: string
  readonly model: string
}

const roles = ["user", "assistant", "system"] as const

/** A system message stands in the list of messages, too, where it changes what was said before. */
const turnOf = (entry: unknown, at: string, context: Context): ReadonlyArray<Chat.Message> => {
  const message = blockAt(entry, at)
  const role = Fields.needed(Fields.oneOf(...roles), message.role, `${at}.role`, "a string")
  const { content } = message
  const where = `${at}.content`
  if (role === "user") return userTurn(content, where, context.left)
  return role === "system" ? systemOf(content, where, context.left) : [assistantTurn(content, where, context)]
}

// -----------------------------------------------------------------------------
// fields
// -----------------------------------------------------------------------------

const toolOf = (entry: unknown, at: string, left: Leftover.Leftover): Chat.Tool => {
  const tool = Fields.needed(Fields.object, entry, at, "an object")
  // Tools that Anthropic runs itself have a type.
  Fields.oneOf("custom")(tool.type, `${at}.type`)
  left.lost(tool, known.tool, "tools[]")
  return Fields.compact({
    name: Fields.needed(Fields.string, tool.name, `${at}.name`, "a string"),
    description: Fields.string(tool.description, `${at}.description`),
    parameters: Fields.needed(Fields.object, tool.input_schema, `${at}.input_schema`, "an object"),
    strict: Fields.boolean(tool.strict, `${at}.strict`)
  })
}

const choiceOf = (value: unknown, left: Leftover.Leftover): Chat.Request["toolChoice"] => {
  const choice = Fields.object(value, "tool_choice")
  if (choice === undefined) return undefined
  // Whether it calls several at once (`disable_parallel_tool_use`) only a provider knows.
  left.fields(choice, known.choice, "tool_choice")
  const types = ["auto", "any", "none", "tool"] as const
  const type = Fields.needed(Fields.oneOf(...types), choice.type, "tool_choice.type", "a string")
  if (type === "tool") return { name: Fields.needed(Fields.string, choice.name, "tool_choice.name", "a string") }
  return type === "any" ? "required" : type
}

const displays = ["summarized", "omitted"] as const

const reasoningOf = (
  thinking: unknown,
  output: Fields.Json | undefined,
  left: Leftover.Leftover
): Chat.Reasoning | undefined => {
  const fields = Fields.object(thinking, "thinking")
  const effort = Fields.effort(output?.effort, "output_config.effort")
  if (fields === undefined) return effort === undefined ? undefined : { effort }
  left.fields(fields, known.thinking, "thinking")
  const types = ["enabled", "adaptive", "disabled", "between_tools"] as const
  const type = Fields.needed(Fields.oneOf(...types), fields.type, "thinking.type", "a string")
  // A model that always thinks between its calls gets that again for the least effort.
  if (type === "disabled" || type === "between_tools") return { effort: "none" }
  const budgetTokens = Fields.integer(1)(fields.budget_tokens, "thinking.budget_tokens")
  const display = Fields.oneOf(...displays)(fields.display, "thinking.display")
  return Fields.compact({
    effort: effort ?? (budgetTokens === undefined ? "high" : undefined),
    budgetTokens,
    summary: display === undefined ? undefined : display === "summarized"
  })
}

const formatOf = (output: Fields.Json | undefined): Chat.Request["responseFormat"] => {
  const format = Fields.object(output?.format, "output_config.format")
  if (format === undefined) return undefined
  Fields.needed(Fields.oneOf("json_schema"), format.type, "output_config.format.type", "a string")
  const schema = Fields.needed(Fields.object, format.schema, "output_config.format.schema", "an object")
  return { type: "json-schema", name: "answer", schema }
}

/**
 * The mark of a cache at the end of the conversation. The API has a field for that one, which a provider can be passed;
 * the marks inside of blocks have no place in a `Chat.Request`.
 */
const cacheOf = (messages: ReadonlyArray<unknown>): unknown => {
  const { content } = messages[messages.length - 1] as Fields.Json
  return Array.isArray(content) ? content[content.length - 1]?.cache_control : undefined
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
  const left = Leftover.make()
  left.fields(fields, known.body)
  const context = { left, provider: passTo ?? "anthropic", model }
  const turns = entries.flatMap((entry, index) => turnOf(entry, `messages[${index}]`, context))
  if (turns.length === 0) throw Fields.refusal("messages", "an empty array", "at least one message")
  const [first, ...rest] = [...systemOf(fields.system, "system", left), ...turns] as [
    Chat.Message,
    ...Array<Chat.Message>
  ]
  const tools = Fields.array(fields.tools, "tools")?.map((tool, index) => toolOf(tool, `tools[${index}]`, left))
  const metadata = Fields.object(fields.metadata, "metadata") ?? {}
  const userId = Fields.string(metadata.user_id, "metadata.user_id")
  const output = Fields.object(fields.output_config, "output_config")
  left.fields(metadata, known.metadata, "metadata")
  left.fields(output ?? {}, known.output, "output_config")
  const cache = cacheOf(entries)
  if (passTo !== undefined && fields.cache_control == null) left.fields({ cache_control: cache }, known.body)
  const toolChoice = choiceOf(fields.tool_choice, left)
  const reasoning = reasoningOf(fields.thinking, output, left)
  const { providerOptions, unread } = left.end(passTo)
  const request: Chat.Request = Fields.compact({
    messages: [first, ...rest] as const,
    tools: tools?.length === 0 ? undefined : tools,
    toolChoice,
    responseFormat: formatOf(output),
    temperature: Fields.number(fields.temperature, "temperature"),
    topP: Fields.number(fields.top_p, "top_p"),
    maxTokens: Fields.needed(Fields.integer(1), fields.max_tokens, "max_tokens", "a whole number from 1 on"),
    reasoning,
    stop: Fields.strings(fields.stop_sequences, "stop_sequences"),
    metadata: userId === undefined ? undefined : { user_id: userId },
    providerOptions
  })
  return {
    model,
    request,
    stream: Fields.boolean(fields.stream, "stream") ?? false,
    includeUsage: true,
    unread
  }
}
