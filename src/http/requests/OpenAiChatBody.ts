/**
 * Reads requests in OpenAI's Chat Completions, the inverse of `OpenAiChatRequest`.
 *
 * @since 0.2.0
 */

import type * as Chat from "../../chat/Chat.js"
import type { Asked, Options } from "./Asked.js"
import * as Fields from "./Fields.js"
import * as Leftover from "./Leftover.js"

type Parts = Exclude<Extract<Chat.Message, { role: "user" }>["content"], string>
type Part = Parts[number]

const known = Leftover.names(
  "model messages tools tool_choice response_format temperature top_p max_tokens max_completion_tokens " +
    "reasoning_effort stop seed metadata stream stream_options n"
)

// -----------------------------------------------------------------------------
// messages
// -----------------------------------------------------------------------------

const fileOf = (part: Fields.Json, at: string): Part => {
  const file = Fields.needed(Fields.object, part.file, `${at}.file`, "an object")
  const url = Fields.needed(Fields.string, file.file_data, `${at}.file.file_data`, "a data: URL of the file")
  const name = Fields.string(file.filename, `${at}.file.filename`)
  return Fields.compact({ type: "file" as const, ...(Fields.inline(url) ?? { url }), name })
}

const partOf = (entry: unknown, at: string): Part => {
  const part = Fields.needed(Fields.object, entry, at, "an object")
  const types = ["text", "image_url", "input_audio", "file"] as const
  switch (Fields.needed(Fields.oneOf(...types), part.type, `${at}.type`, "a string")) {
    case "text":
      return { type: "text", text: Fields.needed(Fields.string, part.text, `${at}.text`, "a string") }
    case "image_url": {
      const image = Fields.needed(Fields.object, part.image_url, `${at}.image_url`, "an object")
      const url = Fields.needed(Fields.string, image.url, `${at}.image_url.url`, "a string")
      return { type: "image", ...(Fields.inline(url) ?? { url }) }
    }
    case "input_audio": {
      const audio = Fields.needed(Fields.object, part.input_audio, `${at}.input_audio`, "an object")
      const format = Fields.needed(Fields.string, audio.format, `${at}.input_audio.format`, "a string")
      const data = Fields.needed(Fields.string, audio.data, `${at}.input_audio.data`, "a string")
      return { type: "file", data, mediaType: `audio/${format}` }
    }
    case "file":
      return fileOf(part, at)
  }
}

const userContent = (content: unknown, at: string): string | Parts => {
  if (typeof content === "string") return content
  if (!Array.isArray(content)) throw Fields.refusal(at, Fields.kindOf(content), "a string or an array of parts")
  return content.map((entry, index) => partOf(entry, `${at}[${index}]`))
}

const callOf = (entry: unknown, at: string): Chat.ToolCall => {
  const call = Fields.needed(Fields.object, entry, at, "an object")
  const fn = Fields.needed(Fields.object, call.function, `${at}.function`, "an object")
  const args = Fields.string(fn.arguments, `${at}.function.arguments`) ?? ""
  return {
    id: Fields.needed(Fields.string, call.id, `${at}.id`, "a string"),
    name: Fields.needed(Fields.string, fn.name, `${at}.function.name`, "a string"),
    arguments: Fields.parsed(args, `${at}.function.arguments`)
  }
}

const roles = ["system", "developer", "user", "assistant", "tool"] as const

const messageOf = (entry: unknown, at: string): Chat.Message => {
  const message = Fields.needed(Fields.object, entry, at, "an object")
  const role = Fields.needed(Fields.oneOf(...roles), message.role, `${at}.role`, "a string")
  const content = `${at}.content`
  switch (role) {
    case "system":
    case "developer":
      return { role: "system", content: Fields.texts(message.content, content) }
    case "user":
      return { role, content: userContent(message.content, content) }
    case "assistant": {
      const calls = Fields.array(message.tool_calls, `${at}.tool_calls`) ?? []
      const text = Fields.texts(message.content, content, ["text", "refusal"])
      if (calls.length === 0) return { role, content: text }
      return { role, content: text, toolCalls: calls.map((call, index) => callOf(call, `${at}.tool_calls[${index}]`)) }
    }
    case "tool":
      return {
        role,
        toolCallId: Fields.needed(Fields.string, message.tool_call_id, `${at}.tool_call_id`, "a string"),
        content: Fields.texts(message.content, content)
      }
  }
}

/**
 * The messages of a request, each as `mended` makes it: Cohere says some of them in its own way.
 *
 * @since 0.2.0
 * @category readers
 */
export const messagesOf = (
  value: unknown,
  mended: (entry: unknown, at: string) => unknown = (entry) => entry
): Chat.Request["messages"] => {
  const [first, ...rest] = Fields.needed(Fields.array, value, "messages", "an array").map((entry, index) => {
    const at = `messages[${index}]`
    return messageOf(mended(entry, at), at)
  })
  if (first === undefined) throw Fields.refusal("messages", "an empty array", "at least one message")
  return [first, ...rest]
}

// -----------------------------------------------------------------------------
// fields
// -----------------------------------------------------------------------------

const toolOf = (entry: unknown, at: string): Chat.Tool => {
  const tool = Fields.needed(Fields.object, entry, at, "an object")
  Fields.oneOf("function")(tool.type, `${at}.type`)
  const fn = Fields.needed(Fields.object, tool.function, `${at}.function`, "an object")
  return Fields.compact({
    name: Fields.needed(Fields.string, fn.name, `${at}.function.name`, "a string"),
    description: Fields.string(fn.description, `${at}.function.description`),
    parameters: Fields.object(fn.parameters, `${at}.function.parameters`) ?? { type: "object", properties: {} },
    strict: Fields.boolean(fn.strict, `${at}.function.strict`)
  })
}

/**
 * The tools of a request; no value where there is none. Ollama and Cohere write theirs in the same way.
 *
 * @since 0.2.0
 * @category readers
 */
export const toolsOf = (value: unknown): ReadonlyArray<Chat.Tool> | undefined => {
  const tools = Fields.array(value, "tools")?.map((tool, index) => toolOf(tool, `tools[${index}]`))
  return tools?.length === 0 ? undefined : tools
}

const choiceOf = (value: unknown): Chat.Request["toolChoice"] => {
  if (value === undefined || value === null) return undefined
  if (typeof value === "string") return Fields.oneOf("auto", "none", "required")(value, "tool_choice")
  const choice = Fields.needed(Fields.object, value, "tool_choice", "an object")
  const fn = Fields.needed(Fields.object, choice.function, "tool_choice.function", "an object")
  return { name: Fields.needed(Fields.string, fn.name, "tool_choice.function.name", "a string") }
}

const formatOf = (value: unknown): Chat.Request["responseFormat"] => {
  const format = Fields.object(value, "response_format")
  if (format === undefined) return undefined
  const types = ["text", "json_object", "json_schema"] as const
  switch (Fields.needed(Fields.oneOf(...types), format.type, "response_format.type", "a string")) {
    case "text":
      return undefined
    case "json_object":
      return { type: "json" }
    case "json_schema": {
      const at = "response_format.json_schema"
      const schema = Fields.needed(Fields.object, format.json_schema, at, "an object")
      return Fields.compact({
        type: "json-schema" as const,
        name: Fields.needed(Fields.string, schema.name, `${at}.name`, "a string"),
        schema: Fields.needed(Fields.object, schema.schema, `${at}.schema`, "an object"),
        strict: Fields.boolean(schema.strict, `${at}.strict`)
      })
    }
  }
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
  const messages = messagesOf(fields.messages)
  // Several answers to one request are several calls.
  const answers = Fields.integer(1)(fields.n, "n") ?? 1
  if (answers !== 1) throw Fields.refusal("n", String(answers), "1")
  const effort = Fields.effort(fields.reasoning_effort, "reasoning_effort")
  const limit = fields.max_completion_tokens ?? fields.max_tokens
  const left = Leftover.make()
  left.fields(fields, known)
  const { providerOptions, unread } = left.end(passTo)
  const request: Chat.Request = Fields.compact({
    messages,
    tools: toolsOf(fields.tools),
    toolChoice: choiceOf(fields.tool_choice),
    responseFormat: formatOf(fields.response_format),
    temperature: Fields.number(fields.temperature, "temperature"),
    topP: Fields.number(fields.top_p, "top_p"),
    maxTokens: Fields.integer(1)(limit, fields.max_completion_tokens == null ? "max_tokens" : "max_completion_tokens"),
    reasoning: effort === undefined ? undefined : { effort },
    stop: Fields.stop(fields.stop, "stop"),
    seed: Fields.integer()(fields.seed, "seed"),
    metadata: Fields.words(fields.metadata, "metadata"),
    providerOptions
  })
  const streamOptions = Fields.object(fields.stream_options, "stream_options")
  return {
    model,
    request,
    stream: Fields.boolean(fields.stream, "stream") ?? false,
    includeUsage: Fields.boolean(streamOptions?.include_usage, "stream_options.include_usage") ?? false,
    unread
  }
}
