/**
 * Writes requests of Anthropic Messages.
 *
 * System messages become `system`, tool results become blocks of a user message, neighbours of the same role become one
 * message. `seed` has no counterpart; of `metadata` only `user_id` is sent; a JSON answer without a schema is asked for
 * in words.
 *
 * @since 0.2.0
 */

import type * as Chat from "../chat/Chat.js"
import { InvalidRequest } from "../errors/LlmError.js"
import * as Json from "./Json.js"
import * as WireFields from "./WireFields.js"

/**
 * `max_tokens` if neither the request nor the options set it: every model allows it, and most answers fit into it.
 *
 * @since 0.1.0
 * @category facts
 */
export const defaultMaxTokens = 4096

const encodeImage = (part: Chat.ImagePart): Json.Json => {
  const image = WireFields.image(part)
  return {
    type: "image",
    source:
      "url" in image
        ? { type: "url", url: image.url }
        : { type: "base64", media_type: image.mediaType, data: image.data }
  }
}

const encodeText = (text: string): Json.Json => ({ type: "text", text })

/** The blocks of a message, without empty text of an assistant, which the API refuses. */
const encodeBlocks = (message: Exclude<Chat.Message, { role: "system" }>): Array<Json.Json> => {
  switch (message.role) {
    case "user":
      return typeof message.content === "string"
        ? [encodeText(message.content)]
        : message.content.map((part) =>
            part.type === "text" ? encodeText(part.text) : encodeImage(part as Chat.ImagePart)
          )
    case "assistant": {
      const calls = message.toolCalls ?? []
      return [
        ...(message.content === "" ? [] : [encodeText(message.content)]),
        ...calls.map(({ id, name, arguments: input }) => ({ type: "tool_use", id, name, input: input ?? {} }))
      ]
    }
    case "tool":
      return [{ type: "tool_result", tool_use_id: message.toolCallId, content: message.content }]
  }
}

const encodeMessages = (messages: Chat.Request["messages"]) => {
  const system: Array<string> = []
  const turns: Array<{ readonly role: "user" | "assistant"; readonly content: Array<Json.Json> }> = []
  for (const message of messages) {
    if (message.role === "system") {
      system.push(message.content)
      continue
    }
    const role = message.role === "assistant" ? "assistant" : "user"
    const content = encodeBlocks(message)
    const last = turns[turns.length - 1]
    if (last?.role === role) last.content.push(...content)
    else if (content.length > 0) turns.push({ role, content })
  }
  return { system, turns }
}

const encodeChoice = (choice: Chat.Request["toolChoice"]): unknown =>
  choice === undefined
    ? undefined
    : typeof choice === "object"
      ? { type: "tool", name: choice.name }
      : { type: choice === "required" ? "any" : choice }

/**
 * The body of a request. `maxTokens` is for requests that do not set it.
 *
 * @since 0.2.0
 * @category constructors
 */
export const encode =
  (provider: string, model: string, maxTokens: number | undefined) =>
  (request: Chat.Request, streaming: boolean): WireFields.Encoded | InvalidRequest => {
    const { system, turns } = encodeMessages(request.messages)
    if (turns.length === 0) {
      return new InvalidRequest({
        provider,
        model,
        message: "messages: found only system messages, expected one of a user",
        delivery: "not-sent"
      })
    }
    const { responseFormat } = request
    if (responseFormat?.type === "json") system.push("Answer with one JSON value and nothing else.")
    const options = request.providerOptions?.[provider] ?? {}
    // Thoughts count as answer: `max_tokens` must be larger than their budget.
    const thinking = Json.count(Json.object(options.thinking).budget_tokens) ?? 0
    const userId = request.metadata?.user_id
    const body = Json.merge(
      Json.compact({
        model,
        max_tokens: request.maxTokens ?? maxTokens ?? defaultMaxTokens + thinking,
        system: system.length === 0 ? undefined : system.join("\n\n"),
        messages: turns,
        temperature: request.temperature,
        top_p: request.topP,
        stop_sequences: request.stop,
        metadata: userId === undefined ? undefined : { user_id: userId },
        output_config:
          responseFormat?.type === "json-schema"
            ? { format: { type: "json_schema", schema: responseFormat.schema } }
            : undefined,
        tools: request.tools?.map(({ name, description, parameters, strict }) =>
          Json.compact({ name, description, input_schema: parameters, strict })
        ),
        tool_choice: encodeChoice(request.toolChoice),
        stream: streaming ? true : undefined
      }),
      options
    )
    return { body, leftOut: [] }
  }
