/**
 * What is asked and what is answered, the same for every provider.
 *
 * The canonical form is that of OpenAI's Chat Completions, the field's lingua franca, in camel case: a provider
 * translates it to its own wire format and back. Everything is plain data with a `Schema`, so a request can come from a
 * file or the network ({@link Request} decodes it) and an answer can be stored.
 *
 * Gotchas: `arguments` of a tool call are parsed, never text. What one provider alone can do goes into
 * `providerOptions` under its name, and is merged into that provider's body as it is; other providers never see it.
 *
 * @example
 * import { Chat } from "effect-steadfast"
 *
 * const request = Chat.request({
 *   messages: [Chat.system("Answer in one word."), Chat.user("The capital of France?")],
 *   temperature: 0
 * })
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import { Usage } from "../calls/CallRecord.js"

export { Usage } from "../calls/CallRecord.js"

// -----------------------------------------------------------------------------
// requests
// -----------------------------------------------------------------------------

const JsonObject = Schema.Record({ key: Schema.String, value: Schema.Unknown })

/**
 * @since 0.1.0
 * @category models
 */
export const TextPart = Schema.Struct({ type: Schema.Literal("text"), text: Schema.String })

/**
 * An image by URL, or inline as base64 with its media type.
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
 * A function that the model asked to be called. `arguments` is the parsed JSON.
 *
 * @since 0.1.0
 * @category models
 */
export const ToolCall = Schema.Struct({ id: Schema.String, name: Schema.String, arguments: Schema.Unknown })

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
    content: Schema.Union(Schema.String, Schema.Array(Schema.Union(TextPart, ImagePart)))
  }),
  Schema.Struct({
    role: Schema.Literal("assistant"),
    content: Schema.String,
    toolCalls: Schema.optional(Schema.Array(ToolCall))
  }),
  Schema.Struct({ role: Schema.Literal("tool"), toolCallId: Schema.String, content: Schema.String })
)

/**
 * @since 0.1.0
 * @category models
 */
export type Message = typeof Message.Type

/**
 * A function that the model may ask for; `parameters` is a JSON schema of an object.
 *
 * @since 0.1.0
 * @category models
 */
export const Tool = Schema.Struct({
  name: Schema.String,
  description: Schema.optional(Schema.String),
  parameters: JsonObject,
  strict: Schema.optional(Schema.Boolean)
})

/**
 * @since 0.1.0
 * @category models
 */
export type Tool = typeof Tool.Type

/**
 * @since 0.1.0
 * @category models
 */
export const ToolChoice = Schema.Union(
  Schema.Literal("auto", "none", "required"),
  Schema.Struct({ name: Schema.String })
)

/**
 * The answer must be JSON: any, or by a JSON schema.
 *
 * @since 0.1.0
 * @category models
 */
export const ResponseFormat = Schema.Union(
  Schema.Struct({ type: Schema.Literal("json") }),
  Schema.Struct({
    type: Schema.Literal("json-schema"),
    name: Schema.String,
    schema: JsonObject,
    strict: Schema.optional(Schema.Boolean)
  })
)

/**
 * What is sent to one provider alone, by the provider's name. Each provider module adds its own options here.
 *
 * @since 0.1.0
 * @category models
 */
// biome-ignore lint/suspicious/noEmptyInterface: provider modules merge their options into it
export interface ProviderOptions {}

/**
 * A request.
 *
 * - `maxTokens`: the most tokens to answer with. Default: the provider's own.
 * - `temperature`, `topP`, `seed`, `stop`: as every provider understands them; one that cannot leaves them out.
 * - `metadata`: sent where the provider keeps it.
 * - `idempotent`: `false` if running the request twice does harm; then nothing that may have been run is retried.
 *   Default `true`: a chat completion has no effect but its price.
 * - `providerOptions`: merged into the body of the provider of that name.
 *
 * @since 0.1.0
 * @category models
 */
export const Request = Schema.Struct({
  messages: Schema.NonEmptyArray(Message),
  tools: Schema.optional(Schema.Array(Tool)),
  toolChoice: Schema.optional(ToolChoice),
  responseFormat: Schema.optional(ResponseFormat),
  temperature: Schema.optional(Schema.Number),
  topP: Schema.optional(Schema.Number),
  maxTokens: Schema.optional(Schema.Int.pipe(Schema.positive())),
  stop: Schema.optional(Schema.Array(Schema.String)),
  seed: Schema.optional(Schema.Int),
  metadata: Schema.optional(Schema.Record({ key: Schema.String, value: Schema.String })),
  idempotent: Schema.optional(Schema.Boolean),
  providerOptions: Schema.optional(Schema.Record({ key: Schema.String, value: JsonObject }))
})

/**
 * @since 0.1.0
 * @category models
 */
export interface Request extends Omit<typeof Request.Type, "providerOptions"> {
  readonly providerOptions?: (ProviderOptions & Readonly<Record<string, Readonly<Record<string, unknown>>>>) | undefined
}

/**
 * @since 0.1.0
 * @category constructors
 */
export const request = (request: Request): Request => request

/**
 * The shortest request: one user message.
 *
 * @since 0.1.0
 * @category constructors
 */
export const prompt = (text: string, options: Omit<Request, "messages"> = {}): Request => ({
  ...options,
  messages: [user(text)]
})

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

// -----------------------------------------------------------------------------
// answers
// -----------------------------------------------------------------------------

/**
 * Why the answer ended. An answer that was filtered is no answer but the error `ContentFiltered`.
 *
 * @since 0.1.0
 * @category models
 */
export const FinishReason = Schema.Literal("stop", "length", "tool-calls", "other")

/**
 * @since 0.1.0
 * @category models
 */
export type FinishReason = typeof FinishReason.Type

/**
 * A whole answer. `model` is the one that answered, which may be a dated version of the one asked for; `id` is the
 * provider's id of the answer, `requestId` the one of the HTTP exchange.
 *
 * @since 0.1.0
 * @category models
 */
export const Response = Schema.Struct({
  id: Schema.optional(Schema.String),
  requestId: Schema.optional(Schema.String),
  provider: Schema.String,
  model: Schema.String,
  text: Schema.String,
  reasoning: Schema.optional(Schema.String),
  toolCalls: Schema.Array(ToolCall),
  finishReason: FinishReason,
  usage: Schema.optional(Usage)
})

/**
 * @since 0.1.0
 * @category models
 */
export type Response = typeof Response.Type

// -----------------------------------------------------------------------------
// streams
// -----------------------------------------------------------------------------

/**
 * One event of a streamed answer. `Start` comes first, `Finish` last and only if the provider's own end was seen; a
 * `ToolCall` comes when it is whole and parsed.
 *
 * `Reset` (in `restart` mode) takes back everything before it: attempt number `attempt` of this stream begins, because
 * the one before failed with `cause`. `Seam` (in `continue` mode) marks where, after `offset` characters of text, the
 * next attempt goes on, by which method it was asked to, how many repeated characters were cut off there (`overlap`),
 * and whether it started over instead (`startedOver`).
 *
 * @since 0.1.0
 * @category models
 */
export const Event = Schema.Union(
  Schema.TaggedStruct("Start", {
    provider: Schema.String,
    model: Schema.String,
    id: Schema.optional(Schema.String),
    requestId: Schema.optional(Schema.String)
  }),
  Schema.TaggedStruct("TextDelta", { text: Schema.String }),
  Schema.TaggedStruct("ReasoningDelta", { text: Schema.String }),
  Schema.TaggedStruct("ToolCall", ToolCall.fields),
  Schema.TaggedStruct("Usage", { usage: Usage }),
  Schema.TaggedStruct("Reset", { attempt: Schema.Int, cause: Schema.String }),
  Schema.TaggedStruct("Seam", {
    offset: Schema.Int,
    method: Schema.Literal("prefill", "turn"),
    overlap: Schema.Int,
    startedOver: Schema.Boolean
  }),
  Schema.TaggedStruct("Finish", { reason: FinishReason })
)

/**
 * @since 0.1.0
 * @category models
 */
export type Event = typeof Event.Type
