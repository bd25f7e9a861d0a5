/**
 * Reads contents of Gemini's `generateContent` as messages, the inverse of the provider's `GeminiContents`.
 *
 * A call of a function may have no id: it gets one, and the next result of a function with its name is its result.
 * Signatures of thoughts are kept as `ProviderData` of the message and its calls, with which a Gemini gets them back.
 *
 * @since 0.2.0
 */

import type * as Chat from "../../chat/Chat.js"
import * as MediaType from "../../chat/MediaType.js"
import * as Calls from "./Calls.js"
import * as Fields from "./Fields.js"
import * as Leftover from "./Leftover.js"
import * as ToolResult from "./ToolResult.js"

/**
 * The reader of the contents of one request.
 *
 * @since 0.2.0
 * @category models
 */
export interface Context {
  readonly left: Leftover.Leftover
  readonly provider: string
  readonly model: string
}

/**
 * An object, with the names of its fields in camel case.
 *
 * @since 0.2.0
 * @category readers
 */
export const object = (value: unknown, field: string): Fields.Json | undefined => {
  const found = Fields.object(value, field)
  return found === undefined ? undefined : Fields.camel(found)
}

/**
 * A list. Google's APIs take one that stands alone for a list of one.
 *
 * @since 0.2.0
 * @category readers
 */
export const list = (value: unknown, field: string): ReadonlyArray<unknown> | undefined =>
  typeof value === "object" && value !== null && !Array.isArray(value) ? [value] : Fields.array(value, field)

// -----------------------------------------------------------------------------
// parts
// -----------------------------------------------------------------------------

const known = {
  content: Leftover.names("role parts"),
  part: Leftover.names("text thought thoughtSignature inlineData fileData functionCall functionResponse"),
  media: Leftover.names("mimeType data fileUri displayName"),
  call: Leftover.names("id name args"),
  result: Leftover.names("id name response parts")
}

/** The placeholder for an unknown signature; documented at https://ai.google.dev/gemini-api/docs/thought-signatures */
const noSignature = "skip_thought_signature_validator"

/** The parts that a model makes beside text and calls: code that the provider runs. */
const own = ["executableCode", "codeExecutionResult"] as const

const inlineOf = (value: unknown, at: string, { left }: Context): ToolResult.Part => {
  const media = Fields.needed(object, value, at, "an object")
  left.lost(media, known.media, "contents[].parts[].inlineData")
  const mediaType = Fields.needed(Fields.string, media.mimeType, `${at}.mimeType`, "a string")
  const data = Fields.needed(Fields.string, media.data, `${at}.data`, "a string")
  if (/^image\//i.test(mediaType)) return { type: "image", data, mediaType }
  return Fields.compact({
    type: "file" as const,
    data,
    mediaType,
    name: Fields.string(media.displayName, `${at}.displayName`)
  })
}

const linkedOf = (value: unknown, at: string, { left }: Context): ToolResult.Part => {
  const media = Fields.needed(object, value, at, "an object")
  left.lost(media, known.media, "contents[].parts[].fileData")
  const url = Fields.needed(Fields.string, media.fileUri, `${at}.fileUri`, "a string")
  const mediaType = Fields.string(media.mimeType, `${at}.mimeType`)
  // An image has no media type of its own beside its URL.
  if (mediaType?.startsWith("image/") && MediaType.ofName(url) === mediaType) return { type: "image", url }
  const name = Fields.string(media.displayName, `${at}.displayName`)
  return Fields.compact({ type: "file" as const, url, mediaType, name })
}

/** A part of a user. */
const partOf = (part: Fields.Json, at: string, context: Context): ToolResult.Part => {
  context.left.lost(part, known.part, "contents[].parts[]")
  if (part.inlineData != null) return inlineOf(part.inlineData, `${at}.inlineData`, context)
  if (part.fileData != null) return linkedOf(part.fileData, `${at}.fileData`, context)
  return { type: "text", text: Fields.needed(Fields.string, part.text, `${at}.text`, "a text, or another part") }
}

// -----------------------------------------------------------------------------
// calls
// -----------------------------------------------------------------------------

const callOf = (value: unknown, at: string, newId: string, calls: Calls.Calls, context: Context): Chat.ToolCall => {
  const call = Fields.needed(object, value, at, "an object")
  context.left.lost(call, known.call, "contents[].parts[].functionCall")
  const name = Fields.needed(Fields.string, call.name, `${at}.name`, "a string")
  const id = Fields.string(call.id, `${at}.id`) || newId
  Calls.add(calls, id, name)
  return { id, name, arguments: Fields.object(call.args, `${at}.args`) ?? {} }
}

/** The id of the call that a result belongs to. */
const callFor = (result: Fields.Json, at: string, calls: Calls.Calls): string => {
  const name = Fields.string(result.name, `${at}.name`) ?? ""
  const id = Calls.settle(calls, Fields.string(result.id, `${at}.id`) || undefined, name)
  if (id === undefined) throw Fields.refusal(`${at}.name`, "no call that waits for it", "the name of an earlier call")
  return id
}

/** The text of a result. An object around a text alone is opened, and that which the AI SDK puts around its results. */
const responseOf = (value: unknown, name: unknown, at: string): string => {
  const response = Fields.object(value, at) ?? {}
  const keys = Object.keys(response).join(" ")
  const inner = keys === "output" || keys === "result" ? response[keys] : undefined
  if (typeof inner === "string") return inner
  if (keys !== "name content" || response.name !== name) return JSON.stringify(response)
  return typeof response.content === "string" ? response.content : JSON.stringify(response.content)
}

const resultOf = (value: unknown, at: string, calls: Calls.Calls, context: Context): ToolResult.ToolResult => {
  const result = Fields.needed(object, value, at, "an object")
  context.left.lost(result, known.result, "contents[].parts[].functionResponse")
  const media = list(result.parts, `${at}.parts`) ?? []
  return ToolResult.make(callFor(result, at, calls), [
    { type: "text", text: responseOf(result.response, result.name, `${at}.response`) },
    ...media.map((entry, index) => {
      const where = `${at}.parts[${index}]`
      return partOf(Fields.needed(object, entry, where, "an object"), where, context)
    })
  ])
}

// -----------------------------------------------------------------------------
// contents
// -----------------------------------------------------------------------------

type Placed = readonly [part: Fields.Json, at: string]

const userTurn = (parts: ReadonlyArray<Placed>, calls: Calls.Calls, context: Context): ReadonlyArray<Chat.Message> => {
  const results: Array<ToolResult.ToolResult> = []
  const said: Array<ToolResult.Part> = []
  for (const [part, at] of parts) {
    if (part.functionResponse == null) said.push(partOf(part, at, context))
    else results.push(resultOf(part.functionResponse, `${at}.functionResponse`, calls, context))
  }
  return ToolResult.messages(results, said)
}

const modelTurn = (parts: ReadonlyArray<Placed>, index: number, calls: Calls.Calls, context: Context): Chat.Message => {
  const { model, provider } = context
  const data = (reply: unknown): Chat.ProviderData => ({ wire: "gemini", provider, model, reply })
  const kept: Array<Record<string, unknown>> = []
  const toolCalls: Array<Chat.ToolCall> = []
  let text = ""
  for (const [part, at] of parts) {
    const stated = Fields.string(part.thoughtSignature, `${at}.thoughtSignature`)
    const thoughtSignature = stated === noSignature || stated === "" ? undefined : stated
    const isThought = Fields.boolean(part.thought, `${at}.thought`) === true
    if (part.functionCall != null) {
      const newId = `call_${index}_${toolCalls.length}`
      const call = callOf(part.functionCall, `${at}.functionCall`, newId, calls, context)
      const signed = thoughtSignature === undefined ? {} : { providerData: data({ thoughtSignature }) }
      toolCalls.push({ ...call, ...signed })
      // The call itself is written anew.
      kept.push({ functionCall: {} })
    } else if (own.some((name) => part[name] != null)) kept.push(part)
    else {
      const one = partOf(part, at, context)
      if (one.type !== "text") throw Fields.refusal(at, "a file of the model", "a text or a call")
      if (!isThought) text += one.text
      const last = kept[kept.length - 1]
      if (thoughtSignature !== undefined) {
        kept.push({ text: one.text, thoughtSignature, ...(isThought ? { thought: true } : {}) })
      } else if (!isThought && one.text !== "") {
        // The pieces of a streamed answer.
        if (last?.text === undefined || last.thoughtSignature !== undefined) kept.push({ text: one.text })
        else last.text += one.text
      }
    }
  }
  const isOwn = kept.some((part) => part.thoughtSignature !== undefined || own.some((name) => part[name] != null))
  return {
    role: "assistant",
    content: text,
    ...(toolCalls.length === 0 ? {} : { toolCalls }),
    ...(isOwn ? { providerData: data({ parts: kept }) } : {})
  }
}

/**
 * The messages of the contents. Neighbours of the model are one answer: Google's client keeps one for each piece of a
 * stream.
 *
 * @since 0.2.0
 * @category decoding
 */
export const read = (value: unknown, context: Context): ReadonlyArray<Chat.Message> => {
  const calls = Calls.make()
  const messages: Array<Chat.Message> = []
  let answer: Array<Placed> = []
  const settle = (index: number): void => {
    if (answer.length > 0) messages.push(modelTurn(answer, index, calls, context))
    answer = []
  }
  const contents = Fields.needed(list, value, "contents", "an array")
  for (const [index, entry] of contents.entries()) {
    const at = `contents[${index}]`
    const content = Fields.needed(object, entry, at, "an object")
    context.left.lost(content, known.content, "contents[]")
    // Results of functions had a role of their own once.
    const role = Fields.oneOf("user", "model", "function")(content.role, `${at}.role`) ?? "user"
    const entries = list(content.parts, `${at}.parts`) ?? []
    const parts = entries.map((part, position): Placed => {
      const where = `${at}.parts[${position}]`
      return [Fields.needed(object, part, where, "an object"), where]
    })
    if (role === "model") for (const part of parts) answer.push(part)
    else {
      if (parts.length === 0) throw Fields.refusal(`${at}.parts`, "nothing", "at least one part")
      settle(index)
      for (const message of userTurn(parts, calls, context)) messages.push(message)
    }
  }
  settle(contents.length)
  return messages
}

/**
 * The system messages of `systemInstruction`, one for each part.
 *
 * @since 0.2.0
 * @category decoding
 */
export const system = (value: unknown, context: Context): ReadonlyArray<Chat.Message> => {
  const at = "systemInstruction"
  if (typeof value === "string") return value === "" ? [] : [{ role: "system", content: value }]
  const content = object(value, at)
  return (list(content?.parts, `${at}.parts`) ?? []).map((entry, index) => {
    const where = `${at}.parts[${index}]`
    const part = partOf(Fields.needed(object, entry, where, "an object"), where, context)
    if (part.type !== "text") throw Fields.refusal(where, "a file", "a text")
    return { role: "system", content: part.text }
  })
}
