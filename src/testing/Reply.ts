/**
 * Good answers of a faulty provider.
 *
 * A reply has the content of an answer. The request decides whether it is sent as OpenAI chat completions, OpenAI
 * responses, Anthropic messages or Gemini content, in one piece or as a stream. For failures see `Fault`.
 *
 * Gotchas: a stream is split by word unless `chunks` is set. Token usage is the number of words, which is easy to count
 * in a test, unless `usage` gives numbers.
 *
 * @example
 * import { Reply } from "effect-steadfast/testing"
 *
 * Reply.text("Hello, world")
 * Reply.text("Slow and long", { tokenDelay: "50 millis", finish: "length" })
 * Reply.toolCall({ name: "weather", arguments: { city: "Oslo" } })
 *
 * @since 0.1.0
 */

import * as Duration from "effect/Duration"
import type * as Step from "./Step.js"

/**
 * Settings of every reply.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options extends Timing {
  /** The finish reason. Default: `"tool-calls"` with a tool call, else `"stop"`. */
  readonly finish?: Step.FinishReason | undefined
  /** Token counts. Default: the number of words of prompt and answer. */
  readonly usage?: Partial<Step.Usage> | undefined
  /** The model that the answer names. Default: the requested model. */
  readonly model?: string | undefined
  /** The deltas of a stream: their number, or the pieces themselves, which must join to the text. Default: by word. */
  readonly chunks?: number | ReadonlyArray<string> | undefined
  /** Splits the body into network pieces of so many bytes, across events and characters. Default: not split. */
  readonly fragment?: number | undefined
  /** Additional response headers; they replace the provider's own of the same name. */
  readonly headers?: Readonly<Record<string, string>> | undefined
}

/**
 * Delays of an answer. An answer that is not streamed waits for their sum before its headers.
 *
 * @since 0.1.0
 * @category models
 */
export interface Timing {
  /** From the request to the response headers. Default zero. */
  readonly delay?: Duration.DurationInput | undefined
  /** From the headers to the first content. Default zero. */
  readonly firstTokenDelay?: Duration.DurationInput | undefined
  /** From one content chunk to the next. Default zero. */
  readonly tokenDelay?: Duration.DurationInput | undefined
}

/**
 * A call of a tool.
 *
 * @since 0.1.0
 * @category models
 */
export interface ToolCall {
  /** The name of the tool. */
  readonly name: string
  /** Sent as JSON; a string is sent unchanged, so that a test can send broken JSON. Default `{}`. */
  readonly arguments?: unknown
  /** The id of the call. Default: made from the request's number. */
  readonly id?: string | undefined
}

/** Splits a text into its words, each with the space before it. */
const words = (text: string): ReadonlyArray<string> => text.match(/\s*\S+(?:\s+$)?|^\s+$/g) ?? []

const split = (text: string, chunks: Options["chunks"]): ReadonlyArray<string> => {
  if (chunks === undefined) return words(text)
  if (typeof chunks !== "number") return chunks
  // By code point: a surrogate pair cut in two cannot be encoded.
  const points = Array.from(text)
  const size = Math.max(1, Math.ceil(points.length / Math.max(1, chunks)))
  return Array.from({ length: Math.ceil(points.length / size) }, (_, i) =>
    points.slice(i * size, (i + 1) * size).join("")
  )
}

const timing = (options: Timing): Step.Timing => ({
  delay: Duration.toMillis(options.delay ?? Duration.zero),
  firstTokenDelay: Duration.toMillis(options.firstTokenDelay ?? Duration.zero),
  tokenDelay: Duration.toMillis(options.tokenDelay ?? Duration.zero)
})

const make = (parts: ReadonlyArray<Step.Part>, options: Options): Step.Reply => ({
  _tag: "Reply",
  parts,
  finish: options.finish ?? (parts.some((part) => part._tag === "ToolCall") ? "tool-calls" : "stop"),
  usage: options.usage,
  model: options.model,
  headers: options.headers ?? {},
  fragment: options.fragment,
  ...timing(options)
})

const textPart = (text: string, chunks: Options["chunks"]): ReadonlyArray<Step.Part> =>
  text === "" ? [] : [{ _tag: "Text", chunks: split(text, chunks) }]

const toolPart = (call: ToolCall): Step.Part => ({
  _tag: "ToolCall",
  id: call.id,
  name: call.name,
  arguments: typeof call.arguments === "string" ? call.arguments : JSON.stringify(call.arguments ?? {})
})

/**
 * An answer of text.
 *
 * @since 0.1.0
 * @category constructors
 */
export const text = (content: string, options: Options = {}): Step.Reply =>
  make(textPart(content, options.chunks), options)

/**
 * An answer that calls one or more tools, after the optional `text`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const toolCall = (
  call: ToolCall | ReadonlyArray<ToolCall>,
  options: Options & { readonly text?: string | undefined } = {}
): Step.Reply =>
  make([...textPart(options.text ?? "", options.chunks), ...(isCalls(call) ? call : [call]).map(toolPart)], options)

const isCalls = (call: ToolCall | ReadonlyArray<ToolCall>): call is ReadonlyArray<ToolCall> => Array.isArray(call)

/**
 * An answer with thoughts before its text. In chat completions the thoughts are in `reasoning_content`, as from
 * DeepSeek and others: OpenAI itself does not send them.
 *
 * @since 0.1.0
 * @category constructors
 */
export const reasoning = (
  thoughts: string,
  options: Options & { readonly text?: string | undefined } = {}
): Step.Reply =>
  make([{ _tag: "Reasoning", chunks: words(thoughts) }, ...textPart(options.text ?? "", options.chunks)], options)

/**
 * An answer by which the model itself refuses. OpenAI's formats have a field for its words and end as usual. Anthropic
 * ends with the stop reason `refusal`, and Gemini without a word, with the finish reason `SAFETY`.
 *
 * @since 0.2.0
 * @category constructors
 */
export const refusal = (words: string, options: Options = {}): Step.Reply =>
  make([{ _tag: "Refusal", chunks: split(words, options.chunks) }], options)

/**
 * Settings of replies given byte for byte. `tokenDelay` is the time between pieces.
 *
 * @since 0.1.0
 * @category models
 */
export interface RawOptions extends Timing {
  /** The status. Default 200. */
  readonly status?: number | undefined
  /** The response headers. */
  readonly headers?: Readonly<Record<string, string>> | undefined
}

/**
 * Any JSON value as the body, for any request: for example an error with status 200, or JSON in place of a stream.
 *
 * @since 0.1.0
 * @category constructors
 */
export const json = (value: unknown, options: RawOptions = {}): Step.Raw =>
  raw(JSON.stringify(value), { ...options, headers: { "content-type": "application/json", ...options.headers } })

/**
 * A body given byte for byte, in one piece or several. `content-type` defaults to `text/plain`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const raw = (
  body: string | Uint8Array | ReadonlyArray<string | Uint8Array>,
  options: RawOptions = {}
): Step.Raw => ({
  _tag: "Raw",
  status: options.status ?? 200,
  headers: { "content-type": "text/plain", ...options.headers },
  pieces: typeof body === "string" || body instanceof Uint8Array ? [body] : body,
  ...timing(options)
})
