/**
 * Reads requests of Cohere's `/v2/chat`, whose messages, tools and calls are mostly those of OpenAI's Chat Completions.
 *
 * Gotchas: thoughts that a client sends back are left out. Documents of the request are refused, because no other model
 * cites them; those in results of tools are read as JSON.
 *
 * @since 0.2.0
 */

import type * as Chat from "../../chat/Chat.js"
import type { Asked, Options } from "./Asked.js"
import * as Fields from "./Fields.js"
import * as Leftover from "./Leftover.js"
import * as OpenAiChatBody from "./OpenAiChatBody.js"

const known = {
  body: Leftover.names(
    "model messages tools strict_tools tool_choice response_format max_tokens stop_sequences temperature p seed " +
      "thinking stream documents"
  ),
  thinking: Leftover.names("type token_budget")
}

// -----------------------------------------------------------------------------
// messages
// -----------------------------------------------------------------------------

const isPart = (part: unknown, type: string): part is Fields.Json =>
  typeof part === "object" && part !== null && (part as Fields.Json).type === type

/** A document in the result of a tool, as a part with its text. */
const documentOf = (part: Fields.Json, at: string): Fields.Json => {
  const document = Fields.needed(Fields.object, part.document, `${at}.document`, "an object")
  const data = document.data ?? {}
  return { type: "text", text: typeof data === "string" ? data : JSON.stringify(data) }
}

/** A message in the words of OpenAI. */
const asOpenAi = (entry: unknown, at: string): unknown => {
  if (typeof entry !== "object" || entry === null) return entry
  const message = entry as Fields.Json
  const { content, role } = message
  const parts = Array.isArray(content) ? content : undefined
  if (role === "tool" && parts !== undefined) {
    const texts = parts.map((part, index) =>
      isPart(part, "document") ? documentOf(part, `${at}.content[${index}]`) : part
    )
    return { ...message, content: texts }
  }
  if (role !== "assistant") return message
  const plan = Fields.string(message.tool_plan, `${at}.tool_plan`) ?? ""
  if (parts !== undefined) {
    const said = parts.filter((part) => !isPart(part, "thinking"))
    return { ...message, content: plan === "" ? said : [{ type: "text", text: plan }, ...said] }
  }
  return plan === "" ? message : { ...message, content: plan + (Fields.string(content, `${at}.content`) ?? "") }
}

// -----------------------------------------------------------------------------
// fields
// -----------------------------------------------------------------------------

const reasoningOf = (value: unknown, left: Leftover.Leftover): Chat.Reasoning | undefined => {
  const thinking = Fields.object(value, "thinking")
  if (thinking === undefined) return undefined
  left.fields(thinking, known.thinking, "thinking")
  const type = Fields.needed(Fields.oneOf("enabled", "disabled"), thinking.type, "thinking.type", "a string")
  if (type === "disabled") return { effort: "none" }
  const budgetTokens = Fields.integer(1)(thinking.token_budget, "thinking.token_budget")
  return Fields.compact({ effort: budgetTokens === undefined ? "high" : undefined, budgetTokens, summary: true })
}

const formatOf = (value: unknown): Chat.Request["responseFormat"] => {
  const format = Fields.object(value, "response_format")
  if (format === undefined) return undefined
  const types = ["text", "json_object"] as const
  const type = Fields.needed(Fields.oneOf(...types), format.type, "response_format.type", "a string")
  if (type === "text") return undefined
  const schema = Fields.object(format.json_schema, "response_format.json_schema")
  return schema === undefined ? { type: "json" } : { type: "json-schema", name: "answer", schema }
}

const choices = { REQUIRED: "required", NONE: "none" } as const

/**
 * What a client asks for; throws the refusal of the first field that is wrong.
 *
 * @since 0.2.0
 * @category decoding
 */
export const read = (body: unknown, { passTo }: Options): Asked => {
  const fields = Fields.needed(Fields.object, body, "body", "a JSON object")
  const documents = Fields.array(fields.documents, "documents") ?? []
  if (documents.length > 0) throw Fields.refusal("documents", "documents to cite", "their texts in a message")
  const left = Leftover.make()
  left.fields(fields, known.body)
  const reasoning = reasoningOf(fields.thinking, left)
  const { providerOptions, unread } = left.end(passTo)
  const choice = Fields.oneOf("REQUIRED", "NONE")(fields.tool_choice, "tool_choice")
  const strict = Fields.boolean(fields.strict_tools, "strict_tools")
  const tools = OpenAiChatBody.toolsOf(fields.tools)
  return {
    model: Fields.needed(Fields.string, fields.model, "model", "a string"),
    request: Fields.compact({
      messages: OpenAiChatBody.messagesOf(fields.messages, asOpenAi),
      tools: strict === undefined ? tools : tools?.map((tool) => ({ ...tool, strict })),
      toolChoice: choice && choices[choice],
      responseFormat: formatOf(fields.response_format),
      temperature: Fields.number(fields.temperature, "temperature"),
      topP: Fields.number(fields.p, "p"),
      maxTokens: Fields.integer(1)(fields.max_tokens, "max_tokens"),
      reasoning,
      stop: Fields.strings(fields.stop_sequences, "stop_sequences"),
      seed: Fields.integer()(fields.seed, "seed"),
      providerOptions
    }),
    stream: Fields.boolean(fields.stream, "stream") ?? false,
    includeUsage: true,
    unread
  }
}
