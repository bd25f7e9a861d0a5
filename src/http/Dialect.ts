/**
 * The dialects in which clients are answered, and what the codec of each can do.
 *
 * A codec is the inverse of a provider's decoder: events and answers go in, frames and bodies come out. It is made of
 * functions that neither wait nor send. `EventStream`, `AnswerBody` and `ErrorResponse` are its public faces.
 *
 * @since 0.2.0
 */

import * as Schema from "effect/Schema"
import type * as Chat from "../chat/Chat.js"
import type { LlmError, StreamInterrupted } from "../errors/LlmError.js"
import type { Sdk } from "./Sdk.js"

/**
 * The form of the answers: OpenAI's Chat Completions (`openai`) or Responses (`responses`), Anthropic's Messages,
 * Gemini's `generateContent`, Ollama's `/api/chat` (`ollama`) or `/api/generate` (`ollama-generate`), or Cohere's
 * `/v2/chat`.
 *
 * @since 0.2.0
 * @category models
 */
export const Dialect = Schema.Literal(
  "openai",
  "responses",
  "anthropic",
  "gemini",
  "ollama",
  "ollama-generate",
  "cohere"
)

/**
 * @since 0.2.0
 * @category models
 */
export type Dialect = typeof Dialect.Type

/**
 * What an answer says that no event tells.
 *
 * @since 0.2.0
 * @category models
 */
export interface Origin {
  /** The id of the answer, where the provider gave none. */
  readonly id: string
  /** When the answer was made, in seconds since 1970. */
  readonly created: number
  /** The model that the client is told. Default: the model that answered. */
  readonly model?: string | undefined
  /** Whether a stream of Chat Completions ends with the usage. Default `true`. */
  readonly includeUsage?: boolean | undefined
  /** The id of the request, which error frames tell. */
  readonly requestId?: string | undefined
  /** Whether errors show what the provider said. Default `false`. */
  readonly verbose?: boolean | undefined
  /**
   * The client, if it has a need of its own.
   *
   * @internal
   */
  readonly sdk?: Sdk | undefined
}

/**
 * Writes the events of one answer as frames of server-sent events, or as lines of JSON where the dialect has those.
 *
 * @since 0.2.0
 * @category models
 */
export interface Encoder {
  /**
   * The frames of an event; `""` where it has none. `Finish` gives the terminator too. A `Reset` after some content
   * cannot be said in any dialect: it gives the `StreamInterrupted` with which the stream has to end.
   */
  readonly push: (event: Chat.Event) => string | StreamInterrupted
  /** The frames of an error, after which the connection is broken off. */
  readonly fail: (error: LlmError) => string
}

/**
 * The codec of a dialect.
 *
 * @since 0.2.0
 * @category models
 */
export interface Codec {
  /** An encoder for one answer. */
  readonly encoder: (origin: Origin) => Encoder
  /** The body of a whole answer. */
  readonly body: (answer: Chat.Response, origin: Origin) => Readonly<Record<string, unknown>>
  /** Whether a stream is lines of JSON, which have no comments. Default `false`: server-sent events. */
  readonly lines?: boolean | undefined
}
