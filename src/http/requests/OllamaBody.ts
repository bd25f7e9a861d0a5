/**
 * Reads requests of Ollama's `/api/chat` and `/api/generate`.
 *
 * Gotchas: an answer is streamed unless the request says otherwise. A result of a tool may have no id: it belongs to
 * the first call of its tool that waits. Images have no media type, so that their first bytes tell it.
 *
 * @since 0.2.0
 */

import type * as Chat from "../../chat/Chat.js"
import type { Asked, Options } from "./Asked.js"
import * as Calls from "./Calls.js"
import * as Fields from "./Fields.js"
import * as Leftover from "./Leftover.js"
import * as OpenAiChatBody from "./OpenAiChatBody.js"
import type * as ToolResult from "./ToolResult.js"

const known = {
  chat: Leftover.names("model messages tools stream format options think"),
  generate: Leftover.names("model prompt system images stream format options think"),
  options: Leftover.names("temperature top_p num_predict stop seed")
}

// -----------------------------------------------------------------------------
// messages
// -----------------------------------------------------------------------------

/** How the base64 of each kind of image begins. */
const kinds = [
  ["iVBORw0KGgo", "image/png"],
  ["/9j/", "image/jpeg"],
  ["R0lGOD", "image/gif"],
  ["UklGR", "image/webp"]
] as const

const imageOf = (entry: unknown, at: string): ToolResult.Part => {
  const text = Fields.needed(Fields.string, entry, at, "the base64 of an image")
  const data = Fields.inline(text)
  if (data !== undefined) return { type: "image", ...data }
  const kind = kinds.find(([head]) => text.startsWith(head))
  if (kind === undefined) throw Fields.refusal(at, "another text", "the base64 of a PNG, JPEG, GIF or WebP")
  return { type: "image", data: text, mediaType: kind[1] }
}

/** A text with the images beside it. */
const contentOf = (text: string, images: unknown, at: string): string | ToolResult.Parts => {
  const found = Fields.array(images, at)?.map((entry, index) => imageOf(entry, `${at}[${index}]`)) ?? []
  if (found.length === 0) return text
  return text === "" ? found : [{ type: "text", text }, ...found]
}

const callOf = (entry: unknown, at: string, newId: string, calls: Calls.Calls): Chat.ToolCall => {
  const call = Fields.needed(Fields.object, entry, at, "an object")
  const fn = Fields.needed(Fields.object, call.function, `${at}.function`, "an object")
  const name = Fields.needed(Fields.string, fn.name, `${at}.function.name`, "a string")
  const id = Fields.string(call.id, `${at}.id`) || newId
  Calls.add(calls, id, name)
  return { id, name, arguments: Fields.object(fn.arguments, `${at}.function.arguments`) ?? {} }
}

const callFor = (message: Fields.Json, at: string, calls: Calls.Calls): string => {
  const name = Fields.string(message.tool_name, `${at}.tool_name`) || undefined
  const stated = Fields.string(message.tool_call_id, `${at}.tool_call_id`) || undefined
  const id = Calls.settle(calls, stated, name)
  if (id === undefined) {
    throw Fields.refusal(`${at}.tool_name`, "no call that waits for it", "the name of an earlier call")
  }
  return id
}

const roles = ["system", "user", "assistant", "tool"] as const

const messageOf = (entry: unknown, index: number, calls: Calls.Calls): Chat.Message => {
  const at = `messages[${index}]`
  const message = Fields.needed(Fields.object, entry, at, "an object")
  const role = Fields.needed(Fields.oneOf(...roles), message.role, `${at}.role`, "a string")
  const text = Fields.string(message.content, `${at}.content`) ?? ""
  const content = contentOf(text, message.images, `${at}.images`)
  if (role === "user") return { role, content }
  if (content !== text) throw Fields.refusal(`${at}.images`, "images", `none in a message of the role ${role}`)
  if (role === "system") return { role, content: text }
  if (role === "tool") return { role, toolCallId: callFor(message, at, calls), content: text }
  const made = Fields.array(message.tool_calls, `${at}.tool_calls`)?.map((call, place) =>
    callOf(call, `${at}.tool_calls[${place}]`, `call_${index}_${place}`, calls)
  )
  return { role, content: text, ...(made === undefined || made.length === 0 ? {} : { toolCalls: made }) }
}

// -----------------------------------------------------------------------------
// fields
// -----------------------------------------------------------------------------

/** `true` asks for thoughts without an effort: the middle one is nobody's extreme. */
const reasoningOf = (think: unknown): Chat.Reasoning | undefined => {
  if (think === undefined || think === null) return undefined
  if (think === false) return { effort: "none" }
  const effort = think === true ? "medium" : Fields.effort(think, "think")
  return Fields.compact({ effort, summary: true })
}

const formatOf = (value: unknown): Chat.Request["responseFormat"] => {
  if (typeof value !== "string") {
    const schema = Fields.object(value, "format")
    return schema && { type: "json-schema", name: "answer", schema }
  }
  return Fields.oneOf("", "json")(value, "format") === "json" ? { type: "json" } : undefined
}

/** What both requests say in the same way, beside what only one of them says. */
const reading = (
  fields: Fields.Json,
  names: ReadonlySet<string>,
  own: Pick<Chat.Request, "messages" | "tools">,
  { passTo }: Options
): Asked => {
  const options = Fields.object(fields.options, "options") ?? {}
  const left = Leftover.make()
  left.fields(fields, names)
  left.fields(options, known.options, "options")
  const { providerOptions, unread } = left.end(passTo)
  // Below 1 there is no limit.
  const limit = Fields.integer()(options.num_predict, "options.num_predict") ?? 0
  return {
    model: Fields.needed(Fields.string, fields.model, "model", "a string"),
    request: Fields.compact({
      ...own,
      responseFormat: formatOf(fields.format),
      temperature: Fields.number(options.temperature, "options.temperature"),
      topP: Fields.number(options.top_p, "options.top_p"),
      maxTokens: limit > 0 ? limit : undefined,
      reasoning: reasoningOf(fields.think),
      stop: Fields.stop(options.stop, "options.stop"),
      seed: Fields.integer()(options.seed, "options.seed"),
      providerOptions
    }),
    stream: Fields.boolean(fields.stream, "stream") ?? true,
    includeUsage: true,
    unread
  }
}

/**
 * What a client asks of `/api/chat`; throws the refusal of the first field that is wrong.
 *
 * @since 0.2.0
 * @category decoding
 */
export const readChat = (body: unknown, options: Options): Asked => {
  const fields = Fields.needed(Fields.object, body, "body", "a JSON object")
  const calls = Calls.make()
  const entries = Fields.needed(Fields.array, fields.messages, "messages", "an array")
  const [first, ...rest] = entries.map((entry, index) => messageOf(entry, index, calls))
  if (first === undefined) throw Fields.refusal("messages", "an empty array", "at least one message")
  return reading(
    fields,
    known.chat,
    { messages: [first, ...rest], tools: OpenAiChatBody.toolsOf(fields.tools) },
    options
  )
}

/**
 * What a client asks of `/api/generate`; throws the refusal of the first field that is wrong.
 *
 * @since 0.2.0
 * @category decoding
 */
export const readGenerate = (body: unknown, options: Options): Asked => {
  const fields = Fields.needed(Fields.object, body, "body", "a JSON object")
  // Without them the answer would be one to something else.
  const suffix = Fields.string(fields.suffix, "suffix") ?? ""
  if (suffix !== "") throw Fields.refusal("suffix", "a text", "none: no model here fills in the middle of a text")
  const context = Fields.array(fields.context, "context") ?? []
  if (context.length > 0) throw Fields.refusal("context", "a stored conversation", "the conversation, at /api/chat")
  const prompt = Fields.needed(Fields.string, fields.prompt, "prompt", "a string")
  const content = contentOf(prompt, fields.images, "images")
  if (content === "") throw Fields.refusal("prompt", "an empty text", "a text")
  const system = Fields.string(fields.system, "system") ?? ""
  const user = { role: "user", content } as const
  const messages = system === "" ? ([user] as const) : ([{ role: "system", content: system }, user] as const)
  return reading(fields, known.generate, { messages }, options)
}
