/**
 * A streamed answer as frames of server-sent events, or as lines of JSON for Ollama's clients: events in, text out.
 *
 * The encoder is the inverse of a provider's decoder: what `OpenAi`, `OpenAiResponses`, `Anthropic` and `Gemini` read
 * from its frames is the answer that went in. It neither waits nor sends; `HttpReply` does.
 *
 * Gotchas:
 * - `Start` has no frame of its own. The first content brings it, so that an error before can still be a status.
 * - After `fail` the connection has to be broken off, not ended: many clients take a clean end for a whole answer.
 * - Each call of a tool is whole in one delta, and no finish reason is made up: `other` is told as `stop`.
 *
 * @example
 * import { EventStream } from "effect-steadfast/http"
 *
 * const encoder = EventStream.make("openai", { id: "chatcmpl-1", created: 1_790_000_000 })
 * const frames = [
 *   encoder.push({ _tag: "Start", provider: "openai", model: "gpt-4o-mini" }), // ""
 *   encoder.push({ _tag: "TextDelta", text: "Hello" }),
 *   encoder.push({ _tag: "Finish", reason: "stop" }) // ends with "data: [DONE]"
 * ]
 *
 * @since 0.2.0
 */

import type { Dialect, Encoder, Origin } from "./Dialect.js"
import { codecs } from "./dialects/Codecs.js"
import * as Frames from "./dialects/Frames.js"

export type { Encoder, Origin } from "./Dialect.js"

/**
 * An encoder for one answer in a dialect.
 *
 * @since 0.2.0
 * @category constructors
 */
export const make = (dialect: Dialect, origin: Origin): Encoder => codecs[dialect].encoder(origin)

/**
 * The headers of a stream of events. The last two keep proxies from holding it back, or from changing it.
 *
 * @since 0.2.0
 * @category constants
 */
export const headers: Readonly<Record<string, string>> = {
  "content-type": "text/event-stream; charset=utf-8",
  "cache-control": "no-cache, no-transform",
  "x-accel-buffering": "no"
}

const lineHeaders = { ...headers, "content-type": "application/x-ndjson" }

/**
 * The headers of a stream in a dialect.
 *
 * @since 0.2.0
 * @category getters
 */
export const headersOf = (dialect: Dialect): Readonly<Record<string, string>> =>
  codecs[dialect].lines === true ? lineHeaders : headers

/**
 * A comment between frames, which keeps a connection alive and says nothing.
 *
 * @since 0.2.0
 * @category constants
 */
export const comment: string = Frames.comment

/**
 * A comment of a text, in one line.
 *
 * @internal
 */
export const commentOf = (text: string): string => `: ${text.replace(/[\r\n]+/g, " ")}\n\n`
