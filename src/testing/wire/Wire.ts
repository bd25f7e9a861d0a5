/**
 * What the four wire formats share: reading a request, counting words, and the shape of a rendered answer.
 *
 * A format is decided by the path alone, so one provider serves all four at once. The files beside this one each render
 * a `Step.Reply` into one format; `ErrorBodies` does the same for errors.
 *
 * @since 0.1.0
 */
import type * as Step from "../Step.js"

/**
 * A wire format: OpenAI chat completions, OpenAI responses, Anthropic messages, Gemini generate content.
 *
 * @since 0.1.0
 * @category models
 */
export type Format = "openai-chat" | "openai-responses" | "anthropic" | "gemini"

/**
 * A request as it came: `url` is path and query, header names are in lower case, `body` is parsed where it is JSON.
 *
 * @since 0.1.0
 * @category models
 */
export interface Incoming {
  readonly method: string
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: unknown
}

/**
 * A request as a provider understands it. `format` is `undefined` on a path that no format has, `sse` is true when the
 * answer is a stream of server-sent events (Gemini without `alt=sse` streams a JSON array), `key` is the caller's key
 * from `authorization`, `x-api-key`, `x-goog-api-key`, `api-key` or `?key=`.
 *
 * @since 0.1.0
 * @category models
 */
export interface WireRequest extends Incoming {
  readonly path: string
  readonly format: Format | undefined
  readonly stream: boolean
  readonly sse: boolean
  readonly model: string | undefined
  readonly key: string | undefined
}

/**
 * What rendering needs beside the reply: the request, its number (ids are made of it) and the time in epoch
 * milliseconds. `kept` is set where a request asks for an answer that was given before, or its rest.
 *
 * @since 0.1.0
 * @category models
 */
export interface Context {
  readonly request: WireRequest
  readonly index: number
  readonly now: number
  readonly kept?: Kept | undefined
}

/**
 * An answer that a provider keeps, and the request that it answered; of its events, those numbered above `after` are
 * wanted.
 *
 * @since 0.1.0
 * @category models
 */
export interface Kept {
  readonly reply: Step.Reply
  readonly context: Context
  readonly after: number
}

/**
 * One event of a stream, framed. `token` is true for those that carry content: they are what a token delay stands
 * between.
 *
 * @since 0.1.0
 * @category models
 */
export interface Frame {
  readonly data: string
  readonly token: boolean
}

/**
 * A wire format's two ways to answer.
 *
 * @since 0.1.0
 * @category models
 */
export interface Renderer {
  readonly json: (reply: Step.Reply, context: Context) => unknown
  readonly frames: (reply: Step.Reply, context: Context) => ReadonlyArray<Frame>
}

const isRecord = (u: unknown): u is Readonly<Record<string, unknown>> =>
  typeof u === "object" && u !== null && !Array.isArray(u)

/**
 * A field of an unknown value, `undefined` where there is none.
 *
 * @since 0.1.0
 * @category requests
 */
export const field = (u: unknown, name: string): unknown => (isRecord(u) ? u[name] : undefined)

/**
 * The id of the response that a request asks for; `undefined` where it asks for a new one.
 *
 * @since 0.1.0
 * @category requests
 */
export const askedId = (request: { readonly method: string; readonly path: string }): string | undefined =>
  request.method === "GET" ? /\/responses\/([^/]+)$/.exec(request.path)?.[1] : undefined

const formatOf = (path: string): Format | undefined => {
  if (path.endsWith("/chat/completions")) return "openai-chat"
  if (path.endsWith("/responses")) return "openai-responses"
  if (path.endsWith("/messages")) return "anthropic"
  if (path.endsWith(":generateContent") || path.endsWith(":streamGenerateContent")) return "gemini"
  return undefined
}

const keyOf = (headers: Readonly<Record<string, string>>, query: string): string | undefined =>
  headers.authorization?.replace(/^Bearer\s+/i, "") ??
  headers["x-api-key"] ??
  headers["x-goog-api-key"] ??
  headers["api-key"] ??
  (query.includes("key=") ? (new URLSearchParams(query).get("key") ?? undefined) : undefined)

const modelOf = (path: string, body: unknown): string | undefined => {
  const inBody = field(body, "model")
  if (typeof inBody === "string") return inBody
  // Gemini names the model in the path, Azure the deployment.
  const inPath = /\/(?:models|deployments)\/([^/:]+)/.exec(path)?.[1]
  return inPath === undefined ? undefined : decodeURIComponent(inPath)
}

/**
 * Reads a request the way a provider does.
 *
 * @since 0.1.0
 * @category requests
 */
export const parse = (incoming: Incoming): WireRequest => {
  const mark = incoming.url.indexOf("?")
  const path = mark === -1 ? incoming.url : incoming.url.slice(0, mark)
  const query = mark === -1 ? "" : incoming.url.slice(mark + 1)
  const asked = askedId({ method: incoming.method, path }) !== undefined
  const format = asked ? "openai-responses" : formatOf(path)
  const stream = asked
    ? new URLSearchParams(query).get("stream") === "true"
    : format === "gemini"
      ? path.endsWith(":streamGenerateContent")
      : field(incoming.body, "stream") === true
  return {
    method: incoming.method,
    url: incoming.url,
    headers: incoming.headers,
    body: incoming.body,
    path,
    format,
    stream,
    sse: stream && (format !== "gemini" || /(?:^|&)alt=sse(?:&|$)/.test(query)),
    model: modelOf(path, incoming.body),
    key: keyOf(incoming.headers, query)
  }
}

/**
 * Whose conventions a format follows.
 *
 * @since 0.1.0
 * @category requests
 */
export const providerOf = (format: Format | undefined): Step.Provider =>
  format === "anthropic" || format === "gemini" ? format : "openai"

const countWords = (text: string): number => text.match(/\S+/g)?.length ?? 0

const prompts = ["messages", "input", "contents", "system", "instructions", "systemInstruction"]
// Names and ids inside a prompt are not words of it.
const labels = new Set(["role", "type", "id", "name", "tool_call_id", "call_id", "tool_use_id"])

const countPrompt = (u: unknown): number => {
  if (typeof u === "string") return countWords(u)
  if (Array.isArray(u)) return u.reduce<number>((sum, item) => sum + countPrompt(item), 0)
  if (!isRecord(u)) return 0
  return Object.entries(u).reduce((sum, [key, value]) => (labels.has(key) ? sum : sum + countPrompt(value)), 0)
}

const partWords = (part: Step.Part): number =>
  countWords(part._tag === "ToolCall" ? part.arguments : part.chunks.join(""))

/**
 * The usage of a reply: what it says itself, and words where it does not.
 *
 * @since 0.1.0
 * @category usage
 */
export const usageOf = (
  reply: Step.Reply,
  request: WireRequest
): { readonly [K in keyof Required<Step.Usage>]: number } => {
  const given = reply.usage ?? {}
  return {
    inputTokens: given.inputTokens ?? prompts.reduce((sum, name) => sum + countPrompt(field(request.body, name)), 0),
    outputTokens: given.outputTokens ?? reply.parts.reduce((sum, part) => sum + partWords(part), 0),
    cachedTokens: given.cachedTokens ?? 0,
    reasoningTokens:
      given.reasoningTokens ??
      reply.parts.reduce((sum, part) => (part._tag === "Reasoning" ? sum + partWords(part) : sum), 0)
  }
}

/**
 * The text of a part, whole.
 *
 * @since 0.1.0
 * @category rendering
 */
export const join = (reply: Step.Reply, tag: "Text" | "Reasoning"): string =>
  reply.parts.reduce((text, part) => (part._tag === tag ? text + part.chunks.join("") : text), "")

/**
 * An id that looks like a provider's and is made of the request's number, so that tests can tell it in advance.
 *
 * @since 0.1.0
 * @category rendering
 */
export const id = (prefix: string, index: number, item = 0): string =>
  `${prefix}${String(index).padStart(16, "0")}${String(item).padStart(8, "0")}`

/**
 * The model that answers.
 *
 * @since 0.1.0
 * @category rendering
 */
export const modelName = (reply: Step.Reply, context: Context): string =>
  reply.model ?? context.request.model ?? "unknown"

/**
 * The pieces in which the arguments of a tool call are streamed: cut inside the JSON, as providers do.
 *
 * @since 0.1.0
 * @category rendering
 */
export const argumentPieces = (json: string): ReadonlyArray<string> => {
  const points = Array.from(json)
  return Array.from({ length: Math.ceil(points.length / 8) }, (_, i) => points.slice(i * 8, i * 8 + 8).join(""))
}

/**
 * A server-sent event: `event: name` where the format has names, and `data:`.
 *
 * @since 0.1.0
 * @category rendering
 */
export const event = (data: unknown, options: { readonly name?: string; readonly token?: boolean } = {}): Frame => ({
  data: `${options.name === undefined ? "" : `event: ${options.name}\n`}data: ${JSON.stringify(data)}\n\n`,
  token: options.token ?? false
})
