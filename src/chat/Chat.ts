/**
 * Requests, answers and stream events, the same for every provider.
 *
 * The form is that of OpenAI's Chat Completions in camel case; a provider module translates it to its own wire format
 * and back. Everything is plain data with a `Schema`, so a request can come from a file or the network ({@link Request}
 * decodes it) and an answer can be stored.
 *
 * Gotchas: `arguments` of a tool call are parsed JSON, never text. Options that only one provider has go into
 * `providerOptions` under its name and are merged into that provider's body unchanged; other providers never see them.
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
import { JsonSchema } from "./JsonSchema.js"
import { JsonObject, Message, ProviderData, ToolCall, user } from "./Message.js"

export { Usage } from "../calls/CallRecord.js"
export { JsonSchema } from "./JsonSchema.js"
export {
  assistant,
  FilePart,
  ImagePart,
  Message,
  ProviderData,
  system,
  TextPart,
  ToolCall,
  toolResult,
  user
} from "./Message.js"

// -----------------------------------------------------------------------------
// requests
// -----------------------------------------------------------------------------

/**
 * A function that the model may call. `parameters` is the schema of an object: a `Schema`, a JSON schema made of one,
 * or a plain object. `strict` asks the provider to enforce it.
 *
 * @since 0.1.0
 * @category models
 */
export const Tool = Schema.Struct({
  name: Schema.String,
  description: Schema.optional(Schema.String),
  parameters: JsonSchema,
  strict: Schema.optional(Schema.Boolean)
})

/**
 * @since 0.1.0
 * @category models
 */
export type Tool = typeof Tool.Type

/**
 * Whether the model calls a tool: as it likes, never, at least one, or the one with this name.
 *
 * @since 0.1.0
 * @category models
 */
export const ToolChoice = Schema.Union(
  Schema.Literal("auto", "none", "required"),
  Schema.Struct({ name: Schema.String })
)

/**
 * Asks for an answer in JSON: any JSON, or by a schema (a `Schema`, a JSON schema made of one, or a plain object).
 *
 * `strict: true` rewrites the schema to the rules of a provider that enforces schemas: an optional field becomes one
 * that may be `null`, and what the provider cannot enforce is said in the description. `false` sends the schema as it
 * is. Default: enforced where the schema already follows the rules, else sent as it is. `ChatModel.generateObject`
 * reads the answer to a strict schema, nulls included.
 *
 * @since 0.1.0
 * @category models
 */
export const ResponseFormat = Schema.Union(
  Schema.Struct({ type: Schema.Literal("json") }),
  Schema.Struct({
    type: Schema.Literal("json-schema"),
    name: Schema.String,
    schema: JsonSchema,
    strict: Schema.optional(Schema.Boolean)
  })
)

/**
 * How much the model shall reason before it answers. Each wire format translates it; a target that cannot reason, or
 * not so, gets the nearest that it takes.
 *
 * @since 0.2.0
 * @category models
 */
export const Reasoning = Schema.Struct({
  /** The effort. `"none"` asks for no reasoning. Default: the model's. */
  effort: Schema.optional(Schema.Literal("none", "minimal", "low", "medium", "high", "xhigh")),
  /** The most tokens of reasoning, for models that take a number. It counts before `effort`. */
  budgetTokens: Schema.optional(Schema.Int.pipe(Schema.positive())),
  /** Whether the answer shall show its reasoning, or a summary of it. Default: the provider's. */
  summary: Schema.optional(Schema.Boolean)
})

/**
 * @since 0.2.0
 * @category models
 */
export type Reasoning = typeof Reasoning.Type

/**
 * Options for a single provider, by its name. Each provider module adds its own options here.
 *
 * @since 0.1.0
 * @category models
 */
// biome-ignore lint/suspicious/noEmptyInterface: provider modules merge their options into it
export interface ProviderOptions {}

/**
 * A request.
 *
 * @since 0.1.0
 * @category models
 */
export const Request = Schema.Struct({
  /** The conversation, at least one message. */
  messages: Schema.NonEmptyArray(Message),
  /** The functions that the model may call. Default: none. */
  tools: Schema.optional(Schema.Array(Tool)),
  /** Whether the model calls a tool. Default: the provider's, usually `"auto"`. */
  toolChoice: Schema.optional(ToolChoice),
  /** The format of the answer. Default: text. */
  responseFormat: Schema.optional(ResponseFormat),
  /** The sampling temperature. Left out for providers that do not take it, as are `topP`, `stop` and `seed`. */
  temperature: Schema.optional(Schema.Number),
  /** The share of probability to sample from (nucleus sampling). */
  topP: Schema.optional(Schema.Number),
  /** The most tokens of the answer. Default: the provider's. */
  maxTokens: Schema.optional(Schema.Int.pipe(Schema.positive())),
  /** How much the model shall reason. */
  reasoning: Schema.optional(Reasoning),
  /** Texts that end the answer. */
  stop: Schema.optional(Schema.Array(Schema.String)),
  /** The seed of the sampling. */
  seed: Schema.optional(Schema.Int),
  /** Sent to providers that store metadata. */
  metadata: Schema.optional(Schema.Record({ key: Schema.String, value: Schema.String })),
  /**
   * `false` if it does harm to run the request twice: then a request that may have run is not retried. Default `true`,
   * because a chat completion has no effect but its price.
   */
  idempotent: Schema.optional(Schema.Boolean),
  /** Merged into the body of the provider of that name. */
  providerOptions: Schema.optional(Schema.Record({ key: Schema.String, value: JsonObject }))
})

/**
 * @since 0.1.0
 * @category models
 */
export interface Request extends Omit<typeof Request.Type, "providerOptions"> {
  /** Merged into the body of the provider of that name. */
  readonly providerOptions?: (ProviderOptions & Readonly<Record<string, Readonly<Record<string, unknown>>>>) | undefined
}

/**
 * A request, checked by its type.
 *
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
 * The message of an answer, for the next request of the conversation, with everything that has to go back: its text,
 * its tool calls, and the reasoning that the provider wants to see again (`ProviderData`).
 *
 * @since 0.2.0
 * @category constructors
 */
export const reply = ({ providerData, text, toolCalls }: Response): Message => {
  const { details, ...back } = providerData ?? { wire: "", provider: "", model: "" }
  return {
    role: "assistant",
    content: text,
    ...(toolCalls.length === 0 ? {} : { toolCalls }),
    ...(back.reply === undefined ? {} : { providerData: back })
  }
}

// -----------------------------------------------------------------------------
// answers
// -----------------------------------------------------------------------------

/**
 * Why the answer ended. A filtered answer is the error `ContentFiltered` instead.
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
 * A whole answer.
 *
 * @since 0.1.0
 * @category models
 */
export const Response = Schema.Struct({
  /** The provider's id of the answer. */
  id: Schema.optional(Schema.String),
  /** The provider's id of the HTTP exchange. */
  requestId: Schema.optional(Schema.String),
  /** The provider that answered. */
  provider: Schema.String,
  /** The model that answered: it may be a dated version of the requested one. */
  model: Schema.String,
  /** The text; empty if there is none. */
  text: Schema.String,
  /** The reasoning that the provider shows. */
  reasoning: Schema.optional(Schema.String),
  /** The tool calls, with parsed arguments. */
  toolCalls: Schema.Array(ToolCall),
  /** Why the answer ended. */
  finishReason: FinishReason,
  /** The tokens, as far as the provider reports them. */
  usage: Schema.optional(Usage),
  /** What only this provider says. {@link reply} keeps the part that has to go back. */
  providerData: Schema.optional(ProviderData),
  /** The provider's own object, as it came; absent for an answer that was collected from a stream. */
  raw: Schema.optional(Schema.Unknown)
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
 * One event of a streamed answer. `Start` comes first. `Finish` comes last, and only after the end that the provider's
 * protocol defines. A `ToolCall` comes when it is complete and parsed.
 *
 * `Reset` (in `restart` mode) takes back all events before it: attempt number `attempt` of this stream begins, because
 * the one before failed with the error tag `cause`. `Seam` (in `continue` mode) marks the place, after `offset`
 * characters of text, from which the next attempt continues: by which `method` it was asked, how many repeated
 * characters were removed there (`overlap`), and whether it started over instead (`startedOver`).
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
  Schema.TaggedStruct("Finish", { reason: FinishReason, providerData: Schema.optional(ProviderData) })
)

/**
 * @since 0.1.0
 * @category models
 */
export type Event = typeof Event.Type
