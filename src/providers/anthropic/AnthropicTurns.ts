/**
 * Writes the conversation of a request as turns of Anthropic Messages.
 *
 * Neighbours of the same role become one turn. Text that the API refuses is left out:
 * empty text, text without a visible character that stands alone, and white space at the end of a beginning that the
 * model shall continue.
 *
 * The thoughts of an answer go back as they came, as long as the message says what it said then; else only the signed
 * thoughts that led it do.
 *
 * @since 0.2.0
 */

import type * as Chat from "../../chat/Chat.js"
import * as Json from "../wire/Json.js"
import * as Media from "../wire/Media.js"
import * as ToolIds from "../wire/ToolIds.js"
import * as WireFields from "../wire/WireFields.js"

/**
 * A turn.
 *
 * @since 0.2.0
 * @category models
 */
export interface Turn {
  readonly role: "user" | "assistant"
  readonly content: Array<Json.Json>
}

/**
 * The turns of a conversation, and its system messages.
 *
 * @since 0.2.0
 * @category models
 */
export interface Turns {
  readonly system: ReadonlyArray<string>
  readonly turns: ReadonlyArray<Turn>
}

type Assistant = Extract<Chat.Message, { role: "assistant" }>

/** The ids of tool calls that the API takes. */
const toolId = /^[a-zA-Z0-9_-]{1,64}$/

const isBlank = (text: string): boolean => text.trim() === ""

const textBlock = (text: string): Json.Json => ({ type: "text", text })

/**
 * Whether a block is a thought.
 *
 * @since 0.2.0
 * @category getters
 */
export const isThought = (block: Json.Json): boolean => block.type === "thinking" || block.type === "redacted_thinking"

const isText = (block: Json.Json): boolean => block.type === "text"

// -----------------------------------------------------------------------------
// users
// -----------------------------------------------------------------------------

/** A block for an image or a file; in words what the API takes instead, if it does not take this one. */
const encodeMedia = (part: Chat.ImagePart | Chat.FilePart): Json.Json | string => {
  const media = Media.of(part)
  const type = media.mediaType ?? (part.type === "image" ? "image/" : "application/pdf")
  const source =
    "url" in media ? { type: "url", url: media.url } : { type: "base64", media_type: media.mediaType, data: media.data }
  if (part.type === "image" || /^image\//i.test(type)) return { type: "image", source }
  const document = (source: Json.Json): Json.Json => Json.compact({ type: "document", source, title: media.name })
  if (/^application\/pdf\b/i.test(type)) return document(source)
  if (!Media.isText(type)) return `a file of type ${type}, expected a PDF, a text or an image`
  if ("url" in media) return "the URL of a text, expected its data"
  const data = Media.text(media.data)
  return data === undefined
    ? "a text that is no base64 of UTF-8, expected one"
    : document({ type: "text", media_type: "text/plain", data })
}

const encodeUser = (
  content: string | ReadonlyArray<WireFields.UserPart>
): Array<Json.Json> | readonly [number, string] => {
  if (typeof content === "string") return [textBlock(content)]
  const blocks: Array<Json.Json> = []
  for (const [index, part] of content.entries()) {
    const block = part.type === "text" ? textBlock(part.text) : encodeMedia(part)
    if (typeof block === "string") return [index, block] as const
    blocks.push(block)
  }
  return blocks
}

// -----------------------------------------------------------------------------
// assistants
// -----------------------------------------------------------------------------

const encodeCall = (call: Chat.ToolCall, leftOut: Set<string>): Json.Json => ({
  type: "tool_use",
  id: call.id,
  name: call.name,
  input: WireFields.argumentsOf(call, leftOut)
})

/** The blocks in the data of an answer; `undefined` if they are none. */
const blocksOf = (data: Chat.ProviderData | undefined): ReadonlyArray<Json.Json> | undefined => {
  const content = Json.array(Json.object(data?.reply).content)
  const isWhole = (u: unknown): boolean => {
    const block = Json.object(u)
    if (block.type === "text") return typeof block.text === "string"
    if (block.type === "thinking") return typeof block.thinking === "string" && Json.text(block.signature) !== undefined
    if (block.type === "redacted_thinking") return Json.text(block.data) !== undefined
    return Json.text(block.type) !== undefined
  }
  return content.length > 0 && content.every(isWhole) ? content.map(Json.object) : undefined
}

/** Whether blocks say what their message says. */
const saysTheSame = (blocks: ReadonlyArray<Json.Json>, { content, toolCalls = [] }: Assistant): boolean => {
  const texts = blocks.filter(isText).map((block) => block.text)
  const ids = blocks.filter((block) => block.type === "tool_use").map((block) => block.id)
  return (
    texts.join("") === content &&
    ids.length === toolCalls.length &&
    ids.every((id, index) => id === toolCalls[index]?.id)
  )
}

/** The blocks of an answer. `message` has ids that fit, `original` those of the answer. */
const encodeAssistant = (
  message: Assistant,
  original: Assistant,
  thoughts: boolean,
  leftOut: Set<string>
): ReadonlyArray<Json.Json> => {
  const calls = (message.toolCalls ?? []).map((call) => encodeCall(call, leftOut))
  const plain = [textBlock(message.content), ...calls]
  const found = blocksOf(original.providerData)
  if (found === undefined) return plain
  if (!thoughts && found.some(isThought)) leftOut.add("thoughts of earlier answers")
  const kept = thoughts ? found : found.filter((block) => !isThought(block))
  if (!saysTheSame(found, original)) {
    const end = kept.findIndex((block) => !isThought(block))
    return [...kept.slice(0, end < 0 ? kept.length : end), ...plain]
  }
  let next = 0
  return kept.map((block) => (block.type === "tool_use" ? (calls[next++] ?? block) : block))
}

/** Without what the API refuses: empty text, text that only shows white space, a thought at the end. */
const withoutRefused = (blocks: ReadonlyArray<Json.Json>, leftOut: Set<string>): ReadonlyArray<Json.Json> => {
  const full = blocks.filter((block) => !isText(block) || block.text !== "")
  const shown = full.some((block) => !isThought(block) && (!isText(block) || !isBlank(String(block.text))))
  if (shown && !isThought(full[full.length - 1] ?? {})) return full
  leftOut.add(shown ? "a thought at the end of an answer" : "messages without content")
  let end = shown ? full.length : 0
  while (end > 0 && isThought(full[end - 1] ?? {})) end--
  return full.slice(0, end)
}

// -----------------------------------------------------------------------------
// conversations
// -----------------------------------------------------------------------------

/** Adds blocks to the turns. */
const add = (turns: Array<Turn>, role: Turn["role"], blocks: ReadonlyArray<Json.Json>): void => {
  const last = turns[turns.length - 1]
  if (blocks.length === 0) return
  if (last?.role === role) last.content.push(...blocks)
  else turns.push({ role, content: [...blocks] })
}

/** Cuts white space off the end of a beginning that the model shall continue. */
const trimEnd = (turns: Array<Turn>): void => {
  for (let last = turns[turns.length - 1]; last?.role === "assistant"; last = turns[turns.length - 1]) {
    const block = last.content[last.content.length - 1]
    if (block !== undefined && !isText(block)) return
    const text = String(block?.text ?? "").trimEnd()
    last.content.pop()
    if (text !== "") {
      last.content.push({ ...block, text })
      return
    }
    if (last.content.length === 0) turns.pop()
  }
}

/**
 * The turns of a conversation; in words the field that cannot be sent. Thoughts go back with the messages from the
 * index `thoughtsFrom` on.
 *
 * @since 0.2.0
 * @category constructors
 */
export const encode = (
  messages: Chat.Request["messages"],
  thoughtsFrom: number,
  leftOut: Set<string>
): Turns | string => {
  const system: Array<string> = []
  const turns: Array<Turn> = []
  for (const [index, message] of ToolIds.map(messages, toolId).entries()) {
    const original = messages[index]
    if (message.role === "system") {
      if (!isBlank(message.content)) system.push(message.content)
    } else if (message.role === "tool") {
      const { content, toolCallId } = message
      add(turns, "user", [{ type: "tool_result", tool_use_id: toolCallId, content }])
    } else if (message.role === "user") {
      const blocks = encodeUser(message.content)
      if (isRefusal(blocks)) return `messages[${index}].content[${blocks[0]}]: found ${blocks[1]}`
      add(turns, "user", withoutRefused(blocks, leftOut))
    } else if (original?.role === "assistant") {
      const isEmpty = message.content === "" && (message.toolCalls ?? []).length === 0
      const blocks = encodeAssistant(message, original, index >= thoughtsFrom, leftOut)
      add(turns, "assistant", withoutRefused(blocks, isEmpty ? new Set() : leftOut))
    }
  }
  trimEnd(turns)
  return turns.length === 0
    ? "messages: found only system messages or empty ones, expected one of a user"
    : { system, turns }
}

const isRefusal = (u: Array<Json.Json> | readonly [number, string]): u is readonly [number, string] =>
  typeof u[0] === "number"

/**
 * Whether the tool calls that wait for the model's next step came without thoughts: then it cannot think by a budget.
 *
 * All answers and tool results since the last message of the user are one turn of the model, which must begin with a
 * thought. Its later answers need none.
 *
 * @since 0.2.0
 * @category getters
 */
export const isUnthought = (turns: ReadonlyArray<Turn>): boolean => {
  let first: Turn | undefined
  for (let index = turns.length - 1; index > 0; index -= 2) {
    if (turns[index]?.content[0]?.type !== "tool_result") break
    first = turns[index - 1]
  }
  return first !== undefined && !isThought(first.content[0] ?? {})
}
