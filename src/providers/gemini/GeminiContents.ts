/**
 * Writes the conversation of a request as contents of Gemini's `generateContent`.
 *
 * The results of parallel calls stand in one content, and so do neighbouring answers of the model. Empty text is left
 * out, because the API refuses it. The parts of an answer go back as they came, as long as the message says what it
 * said then; the signature of a function call always goes back with its call.
 *
 * @since 0.2.0
 */

import type * as Chat from "../../chat/Chat.js"
import * as Json from "../wire/Json.js"
import * as Media from "../wire/Media.js"
import * as ToolIds from "../wire/ToolIds.js"
import * as WireFields from "../wire/WireFields.js"

// -----------------------------------------------------------------------------
// facts
// -----------------------------------------------------------------------------

/** Gemini takes any id of a call, but a result finds its function by it: no two calls have the same. */
const anyId = /^[\s\S]/

/**
 * The placeholder for an unknown signature; documented at https://ai.google.dev/gemini-api/docs/thought-signatures
 *
 * @since 0.2.0
 * @category constants
 */
export const noSignature = "skip_thought_signature_validator"

/** Whether a model wants signatures back: not Gemini 1 and 2. */
const asksForSignatures = (model: string): boolean => !/gemini-[12]\b/.test(model)

// -----------------------------------------------------------------------------
// parts
// -----------------------------------------------------------------------------

const encodePart = (part: WireFields.UserPart): Json.Json => {
  if (part.type === "text") return { text: part.text }
  const media = Media.of(part)
  return "url" in media
    ? { fileData: Json.compact({ mimeType: media.mediaType, fileUri: media.url }) }
    : { inlineData: { mimeType: media.mediaType, data: media.data } }
}

const isEmpty = (part: Json.Json): boolean => part.text === "" && part.thoughtSignature === undefined

const signatureOf = ({ providerData }: Chat.ToolCall): string | undefined =>
  Json.text(Json.object(providerData?.reply).thoughtSignature)

const encodeCalls = (
  calls: ReadonlyArray<Chat.ToolCall>,
  model: string,
  leftOut: Set<string>
): ReadonlyArray<Json.Json> => {
  const signatures: Array<string | undefined> = calls.map(signatureOf)
  // Only the first of parallel calls is signed.
  if (asksForSignatures(model) && !signatures.some((signature) => signature !== undefined)) signatures[0] = noSignature
  return calls.map((call, index) =>
    Json.compact({
      functionCall: { id: call.id, name: call.name, args: WireFields.argumentsOf(call, leftOut) },
      thoughtSignature: signatures[index]
    })
  )
}

type Assistant = Extract<Chat.Message, { role: "assistant" }>

/** The parts in the data of an answer, if they say what its message says. */
const partsOf = ({ content, providerData, toolCalls = [] }: Assistant): ReadonlyArray<Json.Json> | undefined => {
  const entries = Json.array(Json.object(providerData?.reply).parts)
  const parts = entries.map(Json.object)
  if (parts.length === 0 || parts.some((part, index) => part !== entries[index])) return undefined
  const texts = parts.filter((part) => part.text !== undefined && part.thought !== true).map((part) => part.text)
  const calls = parts.filter((part) => part.functionCall !== undefined)
  return texts.every((text) => typeof text === "string") &&
    texts.join("") === content &&
    calls.length === toolCalls.length
    ? parts
    : undefined
}

const encodeAnswer = (message: Assistant, model: string, leftOut: Set<string>): ReadonlyArray<Json.Json> => {
  const calls = encodeCalls(message.toolCalls ?? [], model, leftOut)
  const parts = partsOf(message)
  if (parts === undefined) return [{ text: message.content }, ...calls]
  let next = 0
  return parts.map((part) => (part.functionCall === undefined ? part : (calls[next++] ?? part)))
}

/** The result of a function as an object, which the API requires. */
const encodeResult = (content: string): Json.Json => {
  const parsed = Json.parse(content)
  return Json.object(parsed) === parsed ? Json.object(parsed) : { output: content }
}

// -----------------------------------------------------------------------------
// contents
// -----------------------------------------------------------------------------

/**
 * A content: the parts of a message.
 *
 * @since 0.2.0
 * @category models
 */
export interface Content {
  readonly role: "user" | "model"
  readonly parts: Array<Json.Json>
}

/**
 * The contents of a conversation, and its system messages.
 *
 * @since 0.2.0
 * @category models
 */
export interface Contents {
  readonly system: ReadonlyArray<string>
  readonly contents: ReadonlyArray<Content>
}

/**
 * The contents of a conversation whose results follow their calls; `undefined` if there are none.
 *
 * @since 0.2.0
 * @category constructors
 */
export const encode = (
  messages: Chat.Request["messages"],
  model: string,
  leftOut: Set<string>
): Contents | undefined => {
  const system: Array<string> = []
  const contents: Array<Content> = []
  const names = new Map<string, string>()
  let results: Array<Json.Json> | undefined
  for (const message of ToolIds.map(messages, anyId)) {
    if (message.role === "system") {
      if (message.content !== "") system.push(message.content)
      continue
    }
    if (message.role === "tool") {
      const { content, toolCallId: id } = message
      if (results === undefined) {
        results = []
        contents.push({ role: "user", parts: results })
      }
      results.push({ functionResponse: { id, name: names.get(id), response: encodeResult(content) } })
      continue
    }
    const role = message.role === "user" ? "user" : "model"
    if (message.role === "assistant") for (const call of message.toolCalls ?? []) names.set(call.id, call.name)
    const all =
      message.role === "assistant"
        ? encodeAnswer(message, model, leftOut)
        : typeof message.content === "string"
          ? [{ text: message.content }]
          : message.content.map(encodePart)
    const parts = all.filter((part) => !isEmpty(part))
    if (parts.length === 0) {
      if (role === "user") leftOut.add("messages without content")
      continue
    }
    results = undefined
    const last = contents[contents.length - 1]
    if (role === "model" && last?.role === "model") last.parts.push(...parts)
    else contents.push({ role, parts })
  }
  return contents.length === 0 ? undefined : { system, contents }
}
