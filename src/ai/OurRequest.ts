/**
 * Prompts, tools and options of `@effect/ai` as our requests.
 *
 * Gotchas: what only one provider reads in their `options` (a cache mark, the detail of an image) has no place in a
 * request of ours and is left out. A file in an answer, and a tool that runs at the provider, are refused.
 *
 * @since 0.2.0
 */

import type * as LanguageModel from "@effect/ai/LanguageModel"
import type * as Prompt from "@effect/ai/Prompt"
import * as Tool from "@effect/ai/Tool"
import * as Encoding from "effect/Encoding"
import type * as Schema from "effect/Schema"
import type * as SchemaAST from "effect/SchemaAST"
import type * as Chat from "../chat/Chat.js"
import { InvalidRequest } from "../errors/LlmError.js"
import * as Marks from "./Marks.js"

/**
 * What a request says besides the conversation, its tools and the format of the answer.
 *
 * @since 0.2.0
 * @category options
 */
export type Settings = Omit<Chat.Request, "messages" | "tools" | "toolChoice" | "responseFormat">

/**
 * Finds what has to go back with an assistant message that lost it on the way.
 *
 * @internal
 */
export type Recall = (message: Extract<Chat.Message, { role: "assistant" }>) => Chat.Message

const refused = (name: string, message: string): InvalidRequest =>
  new InvalidRequest({ provider: name, message, delivery: "not-sent" })

// -----------------------------------------------------------------------------
// messages
// -----------------------------------------------------------------------------

/** The media type of an image that tells only that it is one, by its first bytes. */
const sniffed = (base64: string): string =>
  base64.startsWith("iVBORw0KGgo")
    ? "image/png"
    : base64.startsWith("R0lGOD")
      ? "image/gif"
      : base64.startsWith("UklGR")
        ? "image/webp"
        : "image/jpeg"

const fileOf = ({ data, fileName: name, mediaType }: Prompt.FilePart): Chat.ImagePart | Chat.FilePart => {
  const named = name === undefined ? {} : { name }
  const isImage = mediaType.startsWith("image/")
  const isUrl = data instanceof URL || (typeof data === "string" && /^(?:https?|data):/i.test(data))
  if (isUrl) {
    const url = data.toString()
    return isImage ? { type: "image", url } : { type: "file", url, mediaType, ...named }
  }
  const base64 = typeof data === "string" ? data : Encoding.encodeBase64(data as Uint8Array)
  return isImage
    ? { type: "image", data: base64, mediaType: mediaType === "image/*" ? sniffed(base64) : mediaType }
    : { type: "file", data: base64, mediaType, ...named }
}

const userOf = ({ content }: Prompt.UserMessage): Chat.Message => {
  const [first] = content
  if (content.length === 1 && first?.type === "text") return { role: "user", content: first.text }
  return {
    role: "user",
    content: content.map((part) => (part.type === "text" ? { type: "text", text: part.text } : fileOf(part)))
  }
}

const assistantOf = (message: Prompt.AssistantMessage): Extract<Chat.Message, { role: "assistant" }> | undefined => {
  let text = ""
  const toolCalls: Array<Chat.ToolCall> = []
  for (const part of message.content) {
    if (part.type === "file") return undefined
    if (part.type === "text") text += part.text
    // What ran at the provider goes back in its own data only.
    if (part.type !== "tool-call" || part.providerExecuted) continue
    const { providerData } = Marks.read(part.options)
    const call = { id: part.id, name: part.name, arguments: part.params }
    toolCalls.push(providerData === undefined ? call : { ...call, providerData })
  }
  const { providerData } = Marks.read(message.options)
  return {
    role: "assistant",
    content: text,
    ...(toolCalls.length === 0 ? {} : { toolCalls }),
    ...(providerData === undefined ? {} : { providerData })
  }
}

const textOf = (result: unknown): string => (typeof result === "string" ? result : (JSON.stringify(result) ?? ""))

const messagesOf = (prompt: Prompt.Prompt, name: string, recall: Recall) => {
  const messages: Array<Chat.Message> = []
  for (const message of prompt.content) {
    switch (message.role) {
      case "system":
        messages.push({ role: "system", content: message.content })
        break
      case "user":
        messages.push(userOf(message))
        break
      case "assistant": {
        const ours = assistantOf(message)
        if (ours === undefined) return refused(name, "a file in a message of the assistant")
        messages.push(recall(ours))
        break
      }
      case "tool":
        for (const { id, result } of message.content) {
          messages.push({ role: "tool", toolCallId: id, content: textOf(result) })
        }
    }
  }
  const [first, ...rest] = messages
  return first === undefined ? refused(name, "a prompt without messages") : ([first, ...rest] as const)
}

// -----------------------------------------------------------------------------
// tools and formats
// -----------------------------------------------------------------------------

type JsonSchema = Readonly<Record<string, unknown>>

/** Providers want an object. A struct without fields is written as any object or array. */
const jsonSchemaOf = (ast: SchemaAST.AST): JsonSchema => {
  const { $schema: _, ...schema } = Tool.getJsonSchemaFromSchemaAst(ast) as unknown as Record<string, unknown>
  return schema.$id === "/schemas/%7B%7D" ? { type: "object", properties: {}, additionalProperties: false } : schema
}

const toolOf = (tool: Tool.Any): Chat.Tool => {
  const description = Tool.getDescription(tool as never)
  return {
    name: tool.name,
    ...(description === undefined ? {} : { description }),
    parameters: jsonSchemaOf((tool.parametersSchema as Schema.Schema.Any).ast)
  }
}

const choiceOf = (choice: LanguageModel.ToolChoice<string>): Chat.Request["toolChoice"] => {
  if (typeof choice === "string") return choice
  // Theirs leaves out the tools that are not among those of `oneOf`.
  return "tool" in choice ? { name: choice.tool } : (choice.mode ?? "auto")
}

/** Providers take letters, digits, `_` and `-`, at most 64. */
const formatName = (objectName: string): string => objectName.replace(/[^\w-]/g, "_").slice(0, 64) || "object"

const formatOf = (format: LanguageModel.ProviderOptions["responseFormat"]): Chat.Request["responseFormat"] =>
  format.type === "text"
    ? undefined
    : { type: "json-schema", name: formatName(format.objectName), schema: jsonSchemaOf(format.schema.ast) }

/**
 * Translates what their `LanguageModel` hands to a provider; the error if ours has no place for a part of it.
 *
 * @internal
 */
export const of = (
  options: LanguageModel.ProviderOptions,
  name: string,
  settings: Settings,
  recall: Recall
): Chat.Request | InvalidRequest => {
  const { prompt, tools } = options
  const hosted = tools.find(Tool.isProviderDefined)
  if (hosted !== undefined) return refused(name, `the tool ${hosted.name} runs at one provider only`)
  const messages = messagesOf(prompt, name, recall)
  if (messages instanceof InvalidRequest) return messages
  try {
    const responseFormat = formatOf(options.responseFormat)
    const toolChoice = choiceOf(options.toolChoice)
    return {
      ...settings,
      messages: [...messages],
      ...(tools.length === 0 ? {} : { tools: tools.map(toolOf), toolChoice }),
      ...(responseFormat === undefined ? {} : { responseFormat })
    }
  } catch (error) {
    // A schema that no JSON schema can say.
    return refused(name, error instanceof Error ? error.message.slice(0, 300) : "a schema without a JSON schema")
  }
}
