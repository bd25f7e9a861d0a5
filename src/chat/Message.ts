/**
 * The messages of a conversation and their parts, the same for every provider. `Chat` exports all of this module.
 *
 * @since 0.2.0
 */

import * as Schema from "effect/Schema"

/**
 * A JSON object.
 *
 * @internal
 */
export const JsonObject = Schema.Record({ key: Schema.String, value: Schema.Unknown })

/**
 * A part of a message: text.
 *
 * @since 0.1.0
 * @category models
 */
export const TextPart = Schema.Struct({ type: Schema.Literal("text"), text: Schema.String })

/**
 * A part of a message: an image by URL, or inline as base64 with its media type.
 *
 * @since 0.1.0
 * @category models
 */
export const ImagePart = Schema.Union(
  Schema.Struct({ type: Schema.Literal("image"), url: Schema.String }),
  Schema.Struct({ type: Schema.Literal("image"), data: Schema.String, mediaType: Schema.String })
)

/**
 * @since 0.1.0
 * @category models
 */
export type ImagePart = typeof ImagePart.Type

/**
 * A part of a message: a file (a PDF, audio, a video, a text) by URL, or inline as base64. A target that cannot take
 * the file refuses the request with `InvalidRequest`.
 *
 * @since 0.2.0
 * @category models
 */
export const FilePart = Schema.Union(
  Schema.Struct({
    type: Schema.Literal("file"),
    url: Schema.String,
    mediaType: Schema.optional(Schema.String),
    name: Schema.optional(Schema.String)
  }),
  Schema.Struct({
    type: Schema.Literal("file"),
    data: Schema.String,
    mediaType: Schema.String,
    name: Schema.optional(Schema.String)
  })
)

/**
 * @since 0.2.0
 * @category models
 */
export type FilePart = typeof FilePart.Type

/**
 * What one wire format said that has no field of its own. Plain JSON, which can be stored with a conversation.
 *
 * `reply` has to go back with the message in the next request: signed or encrypted reasoning, without which the next
 * turn after a tool call is refused or forgets its train of thought. Only the wire format that made it sends it, and
 * only as long as the message says what it said then. `details` is for the reader: log probabilities, citations,
 * annotations, the service tier, counts that `Usage` cannot hold.
 *
 * @since 0.2.0
 * @category models
 */
export const ProviderData = Schema.Struct({
  /** The wire format: `"openai-chat"`, `"openai-responses"`, `"anthropic"` or `"gemini"`. */
  wire: Schema.String,
  /** The provider, by its name in this application. */
  provider: Schema.String,
  /** The model, as it was requested. */
  model: Schema.String,
  reply: Schema.optional(Schema.Unknown),
  details: Schema.optional(JsonObject)
})

/**
 * @since 0.2.0
 * @category models
 */
export type ProviderData = typeof ProviderData.Type

/**
 * A call of a tool, as the model asked for it. `arguments` is the parsed JSON.
 *
 * @since 0.1.0
 * @category models
 */
export const ToolCall = Schema.Struct({
  id: Schema.String,
  name: Schema.String,
  arguments: Schema.Unknown,
  /** The provider's data for this call. The next request sends its `reply` back. */
  providerData: Schema.optional(ProviderData)
})

/**
 * @since 0.1.0
 * @category models
 */
export type ToolCall = typeof ToolCall.Type

/**
 * One message of a conversation. A `tool` message answers the tool call `toolCallId`.
 *
 * @since 0.1.0
 * @category models
 */
export const Message = Schema.Union(
  Schema.Struct({ role: Schema.Literal("system"), content: Schema.String }),
  Schema.Struct({
    role: Schema.Literal("user"),
    content: Schema.Union(Schema.String, Schema.Array(Schema.Union(TextPart, ImagePart, FilePart)))
  }),
  Schema.Struct({
    role: Schema.Literal("assistant"),
    content: Schema.String,
    toolCalls: Schema.optional(Schema.Array(ToolCall)),
    providerData: Schema.optional(ProviderData)
  }),
  Schema.Struct({ role: Schema.Literal("tool"), toolCallId: Schema.String, content: Schema.String })
)

/**
 * @since 0.1.0
 * @category models
 */
export type Message = typeof Message.Type

/**
 * @since 0.1.0
 * @category constructors
 */
export const system = (content: string): Message => ({ role: "system", content })

/**
 * @since 0.1.0
 * @category constructors
 */
export const user = (content: Extract<Message, { role: "user" }>["content"]): Message => ({ role: "user", content })

/**
 * @since 0.1.0
 * @category constructors
 */
export const assistant = (content: string, toolCalls?: ReadonlyArray<ToolCall>): Message => ({
  role: "assistant",
  content,
  toolCalls
})

/**
 * @since 0.1.0
 * @category constructors
 */
export const toolResult = (toolCallId: string, content: string): Message => ({ role: "tool", toolCallId, content })
