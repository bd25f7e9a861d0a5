/**
 * Writes requests of Gemini's `generateContent`.
 *
 * @since 0.2.0
 */

import type * as Chat from "../chat/Chat.js"
import { InvalidRequest } from "../errors/LlmError.js"
import * as Json from "./Json.js"
import * as WireFields from "./WireFields.js"

// -----------------------------------------------------------------------------
// facts
// -----------------------------------------------------------------------------

/** The placeholder for an unknown signature; documented at https://ai.google.dev/gemini-api/docs/thought-signatures */
const noSignature = "skip_thought_signature_validator"

/** Whether a model wants signatures back: not Gemini 1 and 2. */
const asksForSignatures = (model: string): boolean => !/gemini-[12]\b/.test(model)

// -----------------------------------------------------------------------------
// encode
// -----------------------------------------------------------------------------

/** The media type of a file, from the extension in its URL; without one it is left out of the request. */
const mimeTypeOf = (url: string): string | undefined => {
  const extension = /\.(png|jpe?g|webp|gif|heic|heif)(?:[?#]|$)/i.exec(url)?.[1]?.toLowerCase()
  return extension && `image/${extension === "jpg" ? "jpeg" : extension}`
}

const encodePart = (part: WireFields.UserPart): Json.Json => {
  if (part.type === "text") return { text: part.text }
  const image = WireFields.image(part as Chat.ImagePart)
  return "url" in image
    ? { fileData: Json.compact({ mimeType: mimeTypeOf(image.url), fileUri: image.url }) }
    : { inlineData: { mimeType: image.mediaType, data: image.data } }
}

const encodeCalls = (calls: ReadonlyArray<Chat.ToolCall>, model: string): ReadonlyArray<Json.Json> => {
  const known: Array<string | undefined> = calls.map(({ id }) => undefined)
  // Only the first of parallel calls is signed.
  if (asksForSignatures(model) && !known.some((signature) => signature !== undefined)) known[0] = noSignature
  return calls.map(({ id, name, arguments: args }, index) =>
    Json.compact({ functionCall: { id, name, args: args ?? {} }, thoughtSignature: known[index] })
  )
}

/** The result of a function as an object, which the API requires. */
const encodeResult = (content: string): Json.Json => {
  const parsed = Json.parse(content)
  return Json.object(parsed) === parsed ? Json.object(parsed) : { output: content }
}

const encodeMessages = (messages: Chat.Request["messages"], model: string) => {
  const system: Array<Json.Json> = []
  const contents: Array<{ readonly role: "user" | "model"; readonly parts: Array<Json.Json> }> = []
  const names = new Map<string, string>()
  let results: Array<Json.Json> | undefined
  for (const [index, message] of messages.entries()) {
    if (message.role === "tool") {
      const { content, toolCallId: id } = message
      const name = names.get(id)
      if (name === undefined)
        return `messages[${index}].toolCallId: found "${id}", expected the id of an earlier tool call`
      // The results of parallel calls belong into one content.
      if (results === undefined) {
        results = []
        contents.push({ role: "user", parts: results })
      }
      results.push({ functionResponse: { id, name, response: encodeResult(content) } })
      continue
    }
    results = undefined
    if (message.role === "system") {
      system.push({ text: message.content })
      continue
    }
    if (message.role === "user") {
      const { content } = message
      contents.push({
        role: "user",
        parts: typeof content === "string" ? [{ text: content }] : content.map(encodePart)
      })
      continue
    }
    const calls = message.toolCalls ?? []
    for (const call of calls) names.set(call.id, call.name)
    const text = message.content === "" ? [] : [{ text: message.content }]
    const parts = [...text, ...encodeCalls(calls, model)]
    if (parts.length > 0) contents.push({ role: "model", parts })
  }
  return contents.length === 0
    ? "messages: found only system messages, expected one of a user"
    : Json.compact({ systemInstruction: system.length === 0 ? undefined : { parts: system }, contents })
}

const encodeChoice = (choice: Chat.Request["toolChoice"]): unknown => {
  if (choice === undefined) return undefined
  const functionCallingConfig =
    typeof choice === "object"
      ? { mode: "ANY", allowedFunctionNames: [choice.name] }
      : { mode: choice === "required" ? "ANY" : choice.toUpperCase() }
  return { functionCallingConfig }
}

/**
 * The body of a request.
 *
 * @since 0.2.0
 * @category constructors
 */
export const encode =
  (provider: string, model: string) =>
  (request: Chat.Request): WireFields.Encoded | InvalidRequest => {
    const messages = encodeMessages(request.messages, model)
    if (typeof messages === "string") {
      return new InvalidRequest({ provider, model, message: messages, delivery: "not-sent" })
    }
    const { responseFormat } = request
    const generationConfig = Json.compact({
      temperature: request.temperature,
      topP: request.topP,
      maxOutputTokens: request.maxTokens,
      stopSequences: request.stop,
      seed: request.seed,
      responseMimeType: responseFormat && "application/json",
      responseJsonSchema: responseFormat?.type === "json-schema" ? responseFormat.schema : undefined
    })
    const body = Json.merge(
      Json.compact({
        ...messages,
        tools: request.tools?.length
          ? [
              {
                functionDeclarations: request.tools.map(({ name, description, parameters }) =>
                  Json.compact({ name, description, parametersJsonSchema: parameters })
                )
              }
            ]
          : undefined,
        toolConfig: encodeChoice(request.toolChoice),
        generationConfig: Object.keys(generationConfig).length === 0 ? undefined : generationConfig
      }),
      request.providerOptions?.[provider] ?? {}
    )
    return { body, leftOut: [] }
  }
