/**
 * Our requests as prompts, tools and options of `@effect/ai`.
 *
 * Gotchas: their tools and answers have schemas, ours JSON schemas. A schema that accepts anything carries ours as its
 * annotation, which is all that their providers read of it. Their options have no temperature and the like: those are
 * settings of each provider.
 *
 * @since 0.2.0
 */

import type * as LanguageModel from "@effect/ai/LanguageModel"
import * as Prompt from "@effect/ai/Prompt"
import * as Tool from "@effect/ai/Tool"
import type * as Toolkit from "@effect/ai/Toolkit"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Encoding from "effect/Encoding"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type * as Chat from "../chat/Chat.js"
import * as JsonSchema from "../chat/JsonSchema.js"
import { InvalidRequest } from "../errors/LlmError.js"
import * as Marks from "./Marks.js"

/**
 * The name of their parts in `ProviderData`.
 *
 * @internal
 */
export const wire = "effect-ai"

/**
 * The target of a request.
 *
 * @internal
 */
export interface Target {
  readonly provider: string
  readonly model: string
}

/**
 * What their methods take, and the format of the answer.
 *
 * @internal
 */
export interface TheirRequest {
  readonly options: {
    readonly prompt: Prompt.Prompt
    readonly toolkit?: Toolkit.WithHandler<Record<string, Tool.Any>>
    readonly toolChoice?: LanguageModel.ToolChoice<string>
    readonly disableToolCallResolution: true
  }
  /** Set if the answer shall follow a schema. */
  readonly object: { readonly objectName: string; readonly schema: Schema.Schema<unknown> } | undefined
}

/** Only this model does not support it. */
const unsupported = (target: Target, message: string): InvalidRequest =>
  new InvalidRequest({ ...target, message, delivery: "not-sent", fallbackable: true })

/** A schema of anything, which their providers see as the given JSON schema. */
const schemaOf = (jsonSchema: Chat.JsonSchema): Schema.Schema<unknown> =>
  Schema.Unknown.annotations({ jsonSchema: JsonSchema.of(jsonSchema) })

const toolOf = ({ description, name, parameters }: Chat.Tool): Tool.Any =>
  Tool.make(name, { description, success: Schema.Unknown, failure: Schema.Unknown }).setParameters(
    // They ask for a struct, for the types of handlers. Nobody handles these tools.
    schemaOf(parameters) as unknown as Tool.AnyParametersSchema
  )

const toolkitOf = (tools: ReadonlyArray<Chat.Tool>): Toolkit.WithHandler<Record<string, Tool.Any>> => ({
  tools: Object.fromEntries(tools.map((tool) => [tool.name, toolOf(tool)])),
  handle: (name) => Effect.dieMessage(`effect-steadfast/ai: the tool ${name} is not resolved here`)
})

// -----------------------------------------------------------------------------
// messages
// -----------------------------------------------------------------------------

const dataUrl = /^data:([^;,]{0,100})((?:;[^,;]{0,100}){0,4}),/i

/** Bytes, because their providers take a text for the id of a stored file. */
const bytesOf = (target: Target, base64: string): Uint8Array | InvalidRequest => {
  const bytes = Encoding.decodeBase64(base64)
  return Either.isRight(bytes) ? bytes.right : unsupported(target, "an image or a file whose data is not base64")
}

/** The media type of a file by URL that tells none. */
const typeOfUrl = (url: string): string =>
  /\.pdf(?:[?#]|$)/i.test(url) ? "application/pdf" : "application/octet-stream"

const fileOf = (target: Target, part: Chat.ImagePart | Chat.FilePart): Prompt.FilePart | InvalidRequest => {
  const fileName = part.type === "file" && part.name !== undefined ? { fileName: part.name } : {}
  if ("data" in part) {
    const data = bytesOf(target, part.data)
    return data instanceof InvalidRequest
      ? data
      : Prompt.makePart("file", { mediaType: part.mediaType, data, ...fileName })
  }
  const { url } = part
  const inline = dataUrl.exec(url)
  if (inline !== null && /;base64$/i.test(inline[2] ?? "")) {
    const data = bytesOf(target, url.slice(inline[0].length))
    return data instanceof InvalidRequest
      ? data
      : Prompt.makePart("file", { mediaType: inline[1] || "text/plain", data, ...fileName })
  }
  if (!URL.canParse(url)) return unsupported(target, "an image or a file whose URL cannot be read")
  const mediaType = part.type === "image" ? "image/*" : (part.mediaType ?? typeOfUrl(url))
  return Prompt.makePart("file", { mediaType, data: new URL(url), ...fileName })
}

type Assistant = Extract<Chat.Message, { role: "assistant" }>

const decodeAssistant = Schema.decodeUnknownOption(Prompt.AssistantMessage)

/** Whether their parts still say what the message says. */
const agrees = (parts: ReadonlyArray<Prompt.AssistantMessagePart>, { content, toolCalls = [] }: Assistant): boolean => {
  const text = parts.map((part) => (part.type === "text" ? part.text : "")).join("")
  const calls = parts.flatMap((part) =>
    part.type === "tool-call" && !part.providerExecuted ? [[part.id, part.name, part.params]] : []
  )
  return (
    text === content &&
    JSON.stringify(calls) === JSON.stringify(toolCalls.map((call) => [call.id, call.name, call.arguments]))
  )
}

/** The parts of their own that an answer of the same target was made of, with all that has to go back. */
const ownParts = (target: Target, message: Assistant): ReadonlyArray<Prompt.AssistantMessagePart> | undefined => {
  const data = message.providerData
  if (data?.wire !== wire || data.provider !== target.provider || data.model !== target.model) return undefined
  const reply = data.reply as { readonly parts?: unknown } | null | undefined
  const decoded = decodeAssistant({ role: "assistant", content: reply?.parts })
  return Option.isSome(decoded) && agrees(decoded.value.content, message) ? decoded.value.content : undefined
}

/** Data of a wire of ours goes along: the model behind may be one of ours. */
const foreign = (providerData: Chat.ProviderData | undefined) =>
  Marks.write({ providerData: providerData?.wire === wire ? undefined : providerData })

const assistantOf = (target: Target, message: Assistant): Prompt.AssistantMessage => {
  const plain = (): ReadonlyArray<Prompt.AssistantMessagePart> => [
    ...(message.content === "" ? [] : [Prompt.makePart("text", { text: message.content })]),
    ...(message.toolCalls ?? []).map(({ arguments: params, id, name, providerData }) =>
      Prompt.makePart("tool-call", { id, name, params, providerExecuted: false, options: foreign(providerData) })
    )
  ]
  return Prompt.makeMessage("assistant", {
    content: ownParts(target, message) ?? plain(),
    options: foreign(message.providerData)
  })
}

/**
 * A tool's result is text with us and any value with them, which their providers write as JSON. Text that is the JSON
 * of a value is given as that value, so that the model reads the same text.
 */
const resultOf = (content: string): unknown => {
  try {
    const value: unknown = JSON.parse(content)
    return typeof value !== "string" && JSON.stringify(value) === content ? value : content
  } catch {
    return content
  }
}

const promptOf = (target: Target, messages: Chat.Request["messages"]): Prompt.Prompt | InvalidRequest => {
  const out: Array<Prompt.Message> = []
  const names = new Map<string, string>()
  let results: Array<Prompt.ToolMessagePart> | undefined
  for (const message of messages) {
    if (message.role !== "tool") results = undefined
    switch (message.role) {
      case "system":
        out.push(Prompt.makeMessage("system", { content: message.content }))
        break
      case "user": {
        const { content } = message
        const parts: Array<Prompt.UserMessagePart> = []
        for (const part of typeof content === "string" ? [{ type: "text" as const, text: content }] : content) {
          const theirs = part.type === "text" ? Prompt.makePart("text", { text: part.text }) : fileOf(target, part)
          if (theirs instanceof InvalidRequest) return theirs
          parts.push(theirs)
        }
        out.push(Prompt.makeMessage("user", { content: parts }))
        break
      }
      case "assistant":
        for (const { id, name } of message.toolCalls ?? []) names.set(id, name)
        out.push(assistantOf(target, message))
        break
      case "tool": {
        // The results of one turn stand in one message with them.
        if (results === undefined) {
          results = []
          out.push(Prompt.makeMessage("tool", { content: results }))
        }
        const { content, toolCallId: id } = message
        const name = names.get(id) ?? id
        results.push(
          Prompt.makePart("tool-result", {
            id,
            name,
            isFailure: false,
            result: resultOf(content),
            providerExecuted: false
          })
        )
      }
    }
  }
  return Prompt.fromMessages(out)
}

/**
 * Translates a request; the error if theirs has no place for a part of it.
 *
 * @internal
 */
export const of = (target: Target, request: Chat.Request): TheirRequest | InvalidRequest => {
  const { messages, responseFormat, toolChoice, tools = [] } = request
  if (responseFormat?.type === "json") return unsupported(target, "@effect/ai takes JSON answers by a schema only")
  const prompt = promptOf(target, messages)
  if (prompt instanceof InvalidRequest) return prompt
  const choice = typeof toolChoice === "object" ? { tool: toolChoice.name } : toolChoice
  return {
    options: {
      prompt,
      ...(tools.length === 0 ? {} : { toolkit: toolkitOf(tools) }),
      ...(choice === undefined ? {} : { toolChoice: choice }),
      disableToolCallResolution: true
    },
    object: responseFormat && { objectName: responseFormat.name, schema: schemaOf(responseFormat.schema) }
  }
}
