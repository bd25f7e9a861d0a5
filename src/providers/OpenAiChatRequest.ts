/**
 * Writes requests in OpenAI's Chat Completions.
 *
 * @since 0.2.0
 */

import type * as Chat from "../chat/Chat.js"
import * as Json from "./Json.js"
import * as WireFields from "./WireFields.js"

/**
 * The differences of a server that speaks Chat Completions.
 *
 * @since 0.1.0
 * @category models
 */
export interface Dialect {
  /** The server's base URL, if it is known. */
  readonly baseUrl?: string
  /** The name of the field for the most tokens of an answer. */
  readonly maxTokens: "max_tokens" | "max_completion_tokens"
  /** The name of the field for the seed. */
  readonly seed: "seed" | "random_seed"
  /** Whether usage is requested with `stream_options`; the other servers send it anyway, or refuse the field. */
  readonly streamUsage: boolean
  /** Whether a last message of the assistant is marked as the beginning of the answer. Default `false`. */
  readonly prefix?: boolean
}

// -----------------------------------------------------------------------------
// encode
// -----------------------------------------------------------------------------

const encodePart = (part: WireFields.UserPart) =>
  part.type === "text" ? part : { type: "image_url", image_url: { url: WireFields.imageUrl(part as Chat.ImagePart) } }

const encodeMessage = (message: Chat.Message): Json.Json => {
  switch (message.role) {
    case "system":
      return message
    case "user":
      return typeof message.content === "string"
        ? { role: "user", content: message.content }
        : { role: "user", content: message.content.map(encodePart) }
    case "assistant":
      return message.toolCalls === undefined || message.toolCalls.length === 0
        ? { role: "assistant", content: message.content }
        : {
            role: "assistant",
            content: message.content === "" ? null : message.content,
            tool_calls: message.toolCalls.map((call) => ({
              id: call.id,
              type: "function",
              function: { name: call.name, arguments: JSON.stringify(call.arguments ?? {}) }
            }))
          }
    case "tool":
      return { role: "tool", tool_call_id: message.toolCallId, content: message.content }
  }
}

/** Marks a last message of the assistant, which the model shall continue, for servers that ask for the mark. */
const encodeMessages = (messages: Chat.Request["messages"], dialect: Dialect): ReadonlyArray<Json.Json> =>
  messages.map((message, index) =>
    dialect.prefix === true && message.role === "assistant" && index === messages.length - 1
      ? { ...encodeMessage(message), prefix: true }
      : encodeMessage(message)
  )

const encodeFormat = (format: Chat.Request["responseFormat"]): unknown =>
  format === undefined
    ? undefined
    : format.type === "json"
      ? { type: "json_object" }
      : {
          type: "json_schema",
          json_schema: Json.compact({ name: format.name, schema: format.schema, strict: format.strict ?? true })
        }

/**
 * The body of a request, in the dialect of a server.
 *
 * @since 0.2.0
 * @category constructors
 */
export const encode =
  (provider: string, model: string, dialect: Dialect) =>
  (request: Chat.Request, streaming: boolean): WireFields.Encoded => {
    const body = {
      ...Json.compact({
        model,
        messages: encodeMessages(request.messages, dialect),
        [dialect.maxTokens]: request.maxTokens,
        temperature: request.temperature,
        top_p: request.topP,
        stop: request.stop,
        [dialect.seed]: request.seed,
        metadata: request.metadata,
        response_format: encodeFormat(request.responseFormat),
        tools: request.tools?.map(({ name, description, parameters, strict }) => ({
          type: "function",
          function: Json.compact({ name, description, parameters, strict })
        })),
        tool_choice:
          typeof request.toolChoice === "object"
            ? { type: "function", function: { name: request.toolChoice.name } }
            : request.toolChoice,
        stream: streaming ? true : undefined,
        stream_options: streaming && dialect.streamUsage ? { include_usage: true } : undefined
      }),
      ...request.providerOptions?.[provider]
    }
    return { body, leftOut: [] }
  }
