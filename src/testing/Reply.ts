/**
 * What a faulty provider answers when it does not fail.
 *
 * A reply says what the model "said"; the request decides whether it goes out as OpenAI chat completions, OpenAI
 * responses, Anthropic messages or Gemini content, in one piece or as a stream. For failures see `Fault`.
 *
 * Gotchas: a stream is split by word unless `chunks` says otherwise; token usage is the number of words, so that a test
 * can tell it by looking, unless `usage` gives numbers.
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
 * Settings that every reply takes.
 *
 * - `finish`: why the answer ended. Default: `"tool-calls"` when there is one, else `"stop"`.
 * - `usage`: token counts; what is not given is counted in words (prompt and answer).
 * - `model`: the model that says it answered. Default: the requested one.
 * - `chunks`: the deltas of a stream: their number, or the pieces themselves, which must join to the text. Default: by
 *   word.
 * - `delay`: before the response headers. `firstTokenDelay`: then before the first content. `tokenDelay`: between
 *   content chunks. All default to zero; an answer that is not streamed waits their sum before its headers.
 * - `fragment`: split the body into network pieces of this many bytes, across events and characters.
 * - `headers`: more response headers; they win over the provider's own.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options extends Timing {
  readonly finish?: Step.FinishReason | undefined
  readonly usage?: Partial<Step.Usage> | undefined
  readonly model?: string | undefined
  readonly chunks?: number | ReadonlyArray<string> | undefined
  readonly fragment?: number | undefined
  readonly headers?: Readonly<Record<string, string>> | undefined
}

/**
 * When the pieces of an answer come; see {@link Options}.
 *
 * @since 0.1.0
 * @category models
 */
export interface Timing {
  readonly delay?: Duration.DurationInput | undefined
  readonly firstTokenDelay?: Duration.DurationInput | undefined
  readonly tokenDelay?: Duration.DurationInput | undefined
}

/**
 * One call of a tool. `arguments` is sent as JSON; a string is sent as it is, so that broken JSON can be tested. `id`
 * defaults to one made from the request's number.
 *
 * @since 0.1.0
 * @category models
 */
export interface ToolCall {
  readonly name: string
  readonly arguments?: unknown
  readonly id?: string | undefined
}

/**
 * Splits a text into its words, each with the space before it.
 */
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
 * An answer that calls one tool, or several, after some `text` if there is any.
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
 * An answer that thinks aloud before its text. In chat completions the thoughts are `reasoning_content`, as DeepSeek
 * and others send them: OpenAI itself keeps them.
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
 * Settings of replies given byte for byte. `status` defaults to 200. `tokenDelay` is the time between pieces.
 *
 * @since 0.1.0
 * @category models
 */
export interface RawOptions extends Timing {
  readonly status?: number | undefined
  readonly headers?: Readonly<Record<string, string>> | undefined
}

/**
 * Any JSON value as the body, whatever the request asked for: also an error with status 200, or JSON in place of a
 * stream.
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
