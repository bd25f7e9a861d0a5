/**
 * Writes the messages of a conversation as input items of OpenAI's Responses API.
 *
 * An answer of the same provider goes back as the items that it came in, with its encrypted reasoning, as long as the
 * message still says what it said then.
 *
 * @since 0.2.0
 */

import type * as Chat from "../../chat/Chat.js"
import { InvalidRequest } from "../../errors/LlmError.js"
import * as Json from "../wire/Json.js"
import * as ToolIds from "../wire/ToolIds.js"
import * as ToolResults from "../wire/ToolResults.js"
import * as WireFields from "../wire/WireFields.js"
import * as OpenAiFiles from "./OpenAiFiles.js"
import * as OpenAiModels from "./OpenAiModels.js"

/**
 * The name of this wire format in `ProviderData`.
 *
 * @since 0.2.0
 * @category constants
 */
export const wire = "openai-responses"

interface Target {
  readonly provider: string
  readonly model: string
}

type Assistant = Extract<Chat.Message, { role: "assistant" }>

// -----------------------------------------------------------------------------
// earlier answers
// -----------------------------------------------------------------------------

/** The fields of an item without some of them. */
const without = (item: Json.Json, ...names: ReadonlyArray<string>): Json.Json =>
  Object.fromEntries(Object.entries(item).filter(([name]) => !names.includes(name)))

const callIdOf = (item: Json.Json): string | undefined => Json.text(item.call_id) ?? Json.text(item.id)

/** The text of the messages among some items. */
const textOf = (items: ReadonlyArray<Json.Json>): string =>
  items
    .filter(({ type }) => type === "message")
    .flatMap(({ content }) => Json.array(content))
    .map((part) => Json.string(Json.object(part).text) ?? "")
    .join("")

/** Whether an item of reasoning can be read again: its content is in it, or the provider has it. */
const isReadable = (item: Json.Json, stored: boolean): boolean =>
  stored || Json.text(item.encrypted_content) !== undefined

/**
 * The items of an earlier answer, or `undefined` if they do not say what the message says. `message` has its calls'
 * first ids, `calls` those that are sent.
 */
const replayed = (
  message: Assistant,
  calls: ReadonlyArray<Chat.ToolCall>,
  { model, provider }: Target
): ReadonlyArray<Json.Json> | undefined => {
  const data = message.providerData
  if (data?.wire !== wire || data.provider !== provider) return undefined
  const reply = Json.object(data.reply)
  const stored = reply.stored === true
  const items = Json.array(reply.items).map(Json.object)
  const called = items.filter(({ type }) => type === "function_call")
  const isSame =
    items.length > 0 &&
    textOf(items) === message.content &&
    called.length === calls.length &&
    called.every((item, index) => callIdOf(item) === message.toolCalls?.[index]?.id)
  if (!isSame) return undefined
  // The API refuses reasoning that nothing follows.
  const last = items.findLastIndex(({ type }) => type !== "reasoning")
  // A model that does not reason refuses the reasoning of another.
  const reasons = OpenAiModels.of(model)?.reasons !== false
  // The id of an item binds it to its reasoning, which the provider looks up.
  const ids = stored && reasons ? [] : ["id"]
  let next = 0
  return items.slice(0, last + 1).flatMap((item): ReadonlyArray<Json.Json> => {
    switch (item.type) {
      case "reasoning":
        // Beside encrypted content, the API takes no other.
        return reasons && isReadable(item, stored)
          ? [{ summary: [], ...without(item, "status", ...(stored ? [] : ["content"])) }]
          : []
      case "function_call": {
        const call = calls[next++]
        return call === undefined ? [] : [{ ...without(item, "status", ...ids), ...encodeCall(call) }]
      }
      case "message":
        return [without(item, "status", ...ids)]
      default:
        return [item]
    }
  })
}

// -----------------------------------------------------------------------------
// messages
// -----------------------------------------------------------------------------

const encodeCall = (call: Chat.ToolCall): Json.Json => ({
  type: "function_call",
  call_id: call.id,
  name: call.name,
  arguments: JSON.stringify(call.arguments ?? {})
})

const encodeAssistant = ({ content, toolCalls = [] }: Assistant): ReadonlyArray<Json.Json> => [
  ...(content === "" ? [] : [{ role: "assistant", content: [{ type: "output_text", text: content }] }]),
  ...toolCalls.map(encodeCall)
]

const encodePart = (part: WireFields.UserPart): Json.Json | string =>
  part.type === "text" ? { type: "input_text", text: part.text } : OpenAiFiles.forResponses(part)

/** System messages stay where they are: `instructions` would move them all to the front. */
const encodeMessage = (
  message: Chat.Message,
  index: number,
  target: Target
): ReadonlyArray<Json.Json> | InvalidRequest => {
  switch (message.role) {
    case "system":
      return [{ role: "system", content: message.content }]
    case "user": {
      if (typeof message.content === "string") return [{ role: "user", content: message.content }]
      const parts = OpenAiFiles.parts(message.content, encodePart, `messages[${index}].content`, target)
      if (parts instanceof InvalidRequest) return parts
      return [{ role: "user", content: parts.length === 0 ? "" : parts }]
    }
    case "assistant":
      return encodeAssistant(message)
    case "tool":
      return [{ type: "function_call_output", call_id: message.toolCallId, output: message.content }]
  }
}

/** The ids of calls that the API takes. */
const callIds = /^[\s\S]{1,64}$/

/**
 * The input items of a conversation. Adds to `leftOut` what was left out.
 *
 * @since 0.2.0
 * @category constructors
 */
export const encode = (
  messages: Chat.Request["messages"],
  target: Target,
  leftOut: Set<string>
): ReadonlyArray<Json.Json> | InvalidRequest => {
  const settled = ToolResults.settle(messages, target, leftOut)
  if (settled instanceof InvalidRequest) return settled
  const out: Array<Json.Json> = []
  for (const [index, mapped] of ToolIds.map(settled, callIds).entries()) {
    const message = settled[index]
    const again =
      message?.role === "assistant" && mapped.role === "assistant"
        ? replayed(message, mapped.toolCalls ?? [], target)
        : undefined
    const items = again ?? encodeMessage(mapped, index, target)
    if (items instanceof InvalidRequest) return items
    if (items.length === 0) leftOut.add(`messages[${index}] (empty)`)
    out.push(...items)
  }
  return out
}
