/**
 * Reads the input items of OpenAI's Responses API as messages, the inverse of the provider's `OpenAiResponsesItems`.
 *
 * The neighbouring items of a model are one answer: reasoning, text and calls. Where its reasoning is encrypted, the
 * items are kept as they came, as `ProviderData` of the message, with which a Responses target gets them back.
 *
 * @since 0.2.0
 */

import type * as Chat from "../../chat/Chat.js"
import * as MediaType from "../../chat/MediaType.js"
import * as Fields from "./Fields.js"
import * as Leftover from "./Leftover.js"
import * as ToolResult from "./ToolResult.js"

/**
 * The reader of the items of one request.
 *
 * @since 0.2.0
 * @category models
 */
export interface Context {
  readonly left: Leftover.Leftover
  readonly provider: string
  readonly model: string
}

// -----------------------------------------------------------------------------
// parts
// -----------------------------------------------------------------------------

const known = {
  text: Leftover.names("type text annotations logprobs"),
  image: Leftover.names("type image_url file_id"),
  file: Leftover.names("type file_data file_url filename file_id"),
  message: Leftover.names("type role content id status"),
  answer: Leftover.names("type role content id status phase"),
  call: Leftover.names("type call_id name arguments id status"),
  output: Leftover.names("type call_id output id status")
}

const noFileId = (part: Fields.Json, at: string): void => {
  if (part.file_id == null) return
  throw Fields.refusal(`${at}.file_id`, "the id of a stored file", "the file itself or its URL")
}

const fileOf = (part: Fields.Json, at: string): ToolResult.Part => {
  noFileId(part, at)
  const name = Fields.string(part.filename, `${at}.filename`)
  const url = Fields.string(part.file_url, `${at}.file_url`)
  if (url !== undefined) return Fields.compact({ type: "file" as const, url, name })
  const data = Fields.needed(Fields.string, part.file_data, `${at}.file_data`, "the data of the file, or file_url")
  const mediaType = name === undefined ? undefined : MediaType.ofName(name)
  const inline = Fields.inline(data) ?? { data, mediaType: mediaType ?? "application/pdf" }
  return Fields.compact({ type: "file" as const, ...inline, name })
}

const partTypes = ["input_text", "output_text", "text", "input_image", "input_file"] as const

const partOf = (entry: unknown, at: string, { left }: Context): ToolResult.Part => {
  const part = Fields.needed(Fields.object, entry, at, "an object")
  const type = Fields.needed(Fields.oneOf(...partTypes), part.type, `${at}.type`, "a string")
  const place = "input[].content[]"
  switch (type) {
    case "input_image": {
      // The detail that a model chooses itself anyway.
      left.lost(part.detail === "auto" ? { ...part, detail: null } : part, known.image, place)
      noFileId(part, at)
      const url = Fields.needed(Fields.string, part.image_url, `${at}.image_url`, "a URL")
      return { type: "image", ...(Fields.inline(url) ?? { url }) }
    }
    case "input_file":
      left.lost(part, known.file, place)
      return fileOf(part, at)
    default:
      left.lost(part, known.text, place)
      return { type: "text", text: Fields.needed(Fields.string, part.text, `${at}.text`, "a string") }
  }
}

const partsOf = (value: unknown, at: string, context: Context): ToolResult.Parts =>
  Fields.needed(Fields.array, value, at, "a string or an array of parts").map((entry, index) =>
    partOf(entry, `${at}[${index}]`, context)
  )

// -----------------------------------------------------------------------------
// answers
// -----------------------------------------------------------------------------

/** An answer whose items are being read. */
interface Answer {
  readonly items: Array<Fields.Json>
  readonly calls: Array<Chat.ToolCall>
  text: string | undefined
}

const isEncrypted = (item: Fields.Json): boolean =>
  item.type === "reasoning" && typeof item.encrypted_content === "string" && item.encrypted_content !== ""

const messageOf = ({ calls, items, text = "" }: Answer, { left, model, provider }: Context): Chat.Message => {
  const isKept = items.some(isEncrypted)
  if (!isKept) for (const item of items) if (item.type === "message") left.lost(item, known.message, "input[]")
  return {
    role: "assistant",
    content: text,
    ...(calls.length === 0 ? {} : { toolCalls: calls }),
    ...(isKept ? { providerData: { wire: "openai-responses", provider, model, reply: { items, stored: false } } } : {})
  }
}

const addText = (answer: Answer, item: Fields.Json, at: string, { left }: Context): void => {
  const { content } = item
  const text = Fields.texts(content, `${at}.content`, ["output_text", "refusal", "input_text", "text"])
  left.lost(item, known.answer, "input[]")
  answer.text = (answer.text ?? "") + text
  const parts = Array.isArray(content) ? content : [{ type: "output_text", text }]
  answer.items.push({ ...item, type: "message", content: parts })
}

const addCall = (answer: Answer, item: Fields.Json, at: string, { left }: Context): void => {
  left.lost(item, known.call, "input[]")
  const args = Fields.string(item.arguments, `${at}.arguments`) ?? ""
  answer.calls.push({
    id: Fields.needed(Fields.string, item.call_id, `${at}.call_id`, "a string"),
    name: Fields.needed(Fields.string, item.name, `${at}.name`, "a string"),
    arguments: Fields.parsed(args, `${at}.arguments`)
  })
  answer.items.push(item)
}

// -----------------------------------------------------------------------------
// items
// -----------------------------------------------------------------------------

const itemTypes = ["message", "function_call", "function_call_output", "reasoning"] as const
const roles = ["user", "assistant", "system", "developer"] as const

const resultOf = (item: Fields.Json, at: string, context: Context): ToolResult.ToolResult => {
  context.left.lost(item, known.output, "input[]")
  const id = Fields.needed(Fields.string, item.call_id, `${at}.call_id`, "a string")
  const { output } = item
  return ToolResult.make(
    id,
    typeof output === "string" ? [{ type: "text", text: output }] : partsOf(output ?? [], `${at}.output`, context)
  )
}

/** An item without a type is a message, or the reference to a stored item. */
const typeOf = (item: Fields.Json, at: string): (typeof itemTypes)[number] => {
  if (item.type === "item_reference" || (item.type == null && item.role == null && item.id != null)) {
    throw Fields.refusal(at, "the reference to a stored item", "the item itself, because answers are not stored")
  }
  return Fields.oneOf(...itemTypes)(item.type, `${at}.type`) ?? "message"
}

/**
 * The messages of the items.
 *
 * @since 0.2.0
 * @category decoding
 */
export const read = (input: unknown, context: Context): ReadonlyArray<Chat.Message> => {
  if (typeof input === "string") return [{ role: "user", content: input }]
  const messages: Array<Chat.Message> = []
  let answer: Answer | undefined
  let results: Array<ToolResult.ToolResult> = []
  const settle = (): void => {
    if (answer !== undefined) messages.push(messageOf(answer, context))
    for (const message of ToolResult.messages(results)) messages.push(message)
    answer = undefined
    results = []
  }
  /** The answer that an item belongs to. Two texts without reasoning are two answers. */
  const open = (isText: boolean): Answer => {
    const isNext = isText && answer?.text !== undefined && answer.calls.length === 0 && !answer.items.some(isEncrypted)
    if (results.length > 0 || isNext) settle()
    answer ??= { items: [], calls: [], text: undefined }
    return answer
  }
  for (const [index, entry] of Fields.needed(Fields.array, input, "input", "a string or an array of items").entries()) {
    const at = `input[${index}]`
    const item = Fields.needed(Fields.object, entry, at, "an object")
    const type = typeOf(item, at)
    if (type === "reasoning") open(false).items.push(item)
    else if (type === "function_call") addCall(open(false), item, at, context)
    else if (type === "function_call_output") {
      if (answer !== undefined) settle()
      results.push(resultOf(item, at, context))
    } else {
      const role = Fields.needed(Fields.oneOf(...roles), item.role, `${at}.role`, "a string")
      if (role === "assistant") addText(open(true), item, at, context)
      else {
        settle()
        context.left.lost(item, known.message, "input[]")
        const { content } = item
        if (role !== "user") {
          messages.push({ role: "system", content: Fields.texts(content, `${at}.content`, ["input_text", "text"]) })
        } else if (typeof content === "string") messages.push({ role, content })
        else messages.push({ role, content: partsOf(content, `${at}.content`, context) })
      }
    }
  }
  settle()
  return messages
}
