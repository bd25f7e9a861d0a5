/**
 * What the wire formats share: reading a request, counting words, and the shape of a rendered answer.
 *
 * The path decides the format, so one provider serves all at once; three providers list their models under the same
 * path, and the header of the key tells them apart. Each format has a file here that renders
 * a `Step.Reply`; `ErrorBodies` renders errors.
 *
 * @since 0.1.0
 */

import type * as Step from "../Step.js"

/**
 * A wire format: OpenAI chat completions, OpenAI responses, Anthropic messages, Gemini generate content; OpenAI and
 * Gemini embeddings; and each provider's list of models.
 *
 * @since 0.1.0
 * @category models
 */
export type Format =
  | "openai-chat"
  | "openai-responses"
  | "anthropic"
  | "gemini"
  | "openai-embeddings"
  | "gemini-embeddings"
  | "openai-models"
  | "anthropic-models"
  | "gemini-models"

/**
 * A request as it arrived.
 *
 * @since 0.1.0
 * @category models
 */
export interface Incoming {
  /** The HTTP method. */
  readonly method: string
  /** Path and query. */
  readonly url: string
  /** The host; known hosts serve their own paths only, others any. */
  readonly host?: string | undefined
  /** The headers, names in lower case. */
  readonly headers: Readonly<Record<string, string>>
  /** The body; parsed if it is JSON. */
  readonly body: unknown
}

/**
 * A request as a provider understands it.
 *
 * @since 0.1.0
 * @category models
 */
export interface WireRequest extends Incoming {
  /** The path without the query. */
  readonly path: string
  /** The wire format; `undefined` on a path of no format. */
  readonly format: Format | undefined
  /** Whether the request asks for a stream. */
  readonly stream: boolean
  /** Whether the answer is a stream of server-sent events. Gemini without `alt=sse` streams a JSON array. */
  readonly sse: boolean
  /** The requested model, from the body or the path. */
  readonly model: string | undefined
  /** The caller's key from `authorization`, `x-api-key`, `x-goog-api-key`, `api-key` or `?key=`. */
  readonly key: string | undefined
}

/**
 * The data that rendering needs besides the reply.
 *
 * @since 0.1.0
 * @category models
 */
export interface Context {
  /** The request. */
  readonly request: WireRequest
  /** The number of the request, from 0; ids are made from it. */
  readonly index: number
  /** The time of the request, in epoch milliseconds. */
  readonly now: number
  /** The earlier answer that the request asks for, whole or in part. */
  readonly kept?: Kept | undefined
}

/**
 * An answer that a provider keeps.
 *
 * @since 0.1.0
 * @category models
 */
export interface Kept {
  /** The answer. */
  readonly reply: Step.Reply
  /** The request that it answered. */
  readonly context: Context
  /** Events with a number above this are requested. */
  readonly after: number
}

/**
 * One event of a stream, as it is sent.
 *
 * @since 0.1.0
 * @category models
 */
export interface Frame {
  /** The text of the event. */
  readonly data: string
  /** Whether the event has content; a token delay separates such events. */
  readonly token: boolean
}

/**
 * Renders replies in a wire format.
 *
 * @since 0.1.0
 * @category models
 */
export interface Renderer {
  /** The body of a whole answer. */
  readonly json: (reply: Step.Reply, context: Context) => unknown
  /** The events of a stream. */
  readonly frames: (reply: Step.Reply, context: Context) => ReadonlyArray<Frame>
}

const isRecord = (u: unknown): u is Readonly<Record<string, unknown>> =>
  typeof u === "object" && u !== null && !Array.isArray(u)

/**
 * A field of an unknown value; `undefined` if there is none.
 *
 * @since 0.1.0
 * @category requests
 */
export const field = (u: unknown, name: string): unknown => (isRecord(u) ? u[name] : undefined)

/**
 * The id of the earlier response that a request asks for; `undefined` for a request for a new answer.
 *
 * @since 0.1.0
 * @category requests
 */
export const askedId = (request: { readonly method: string; readonly path: string }): string | undefined =>
  request.method === "GET" ? /\/responses\/([^/]+)$/.exec(request.path)?.[1] : undefined

/** The paths before those of the formats, at hosts that are known: a wrong base URL fails here as it does there. */
const bases: Readonly<Record<string, RegExp>> = {
  "api.openai.com": /^\/v1\//,
  "api.anthropic.com": /^\/v1\//,
  "generativelanguage.googleapis.com": /^\/v1(?:alpha|beta)?\//,
  "api.groq.com": /^\/openai\/v1\//,
  "api.mistral.ai": /^\/v1\//,
  "api.together.xyz": /^\/v1\//,
  "api.fireworks.ai": /^\/inference\/v1\//,
  "openrouter.ai": /^\/api\/v1\//,
  "api.x.ai": /^\/v1\//,
  "api.cerebras.ai": /^\/v1\//
}

/** Base URLs with a part too many: that of the version twice, or the path of the endpoint. */
const doubled = /\/v1\/v1\/|\/(?:chat\/completions|responses|messages)\/.*(?:chat\/completions|responses|messages)$/

const isServed = (host: string | undefined, path: string): boolean =>
  !doubled.test(path) && (host === undefined || bases[host]?.test(path) !== false)

const formatOf = ({ headers, host, method }: Incoming, path: string): Format | undefined => {
  if (path.endsWith("/chat/completions")) return "openai-chat"
  if (path.endsWith("/responses")) return "openai-responses"
  if (path.endsWith("/messages")) return "anthropic"
  if (path.endsWith(":generateContent") || path.endsWith(":streamGenerateContent")) return "gemini"
  if (path.endsWith("/embeddings")) return "openai-embeddings"
  if (path.endsWith(":batchEmbedContents")) return "gemini-embeddings"
  if (method !== "GET" || !path.endsWith("/models")) return undefined
  if (headers["anthropic-version"] !== undefined) return "anthropic-models"
  const isGoogle = headers["x-goog-api-key"] !== undefined || host === "generativelanguage.googleapis.com"
  return isGoogle ? "gemini-models" : "openai-models"
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
  const format = !isServed(incoming.host, path) ? undefined : asked ? "openai-responses" : formatOf(incoming, path)
  const stream = asked
    ? new URLSearchParams(query).get("stream") === "true"
    : format === "gemini"
      ? path.endsWith(":streamGenerateContent")
      : field(incoming.body, "stream") === true
  return {
    method: incoming.method,
    url: incoming.url,
    host: incoming.host,
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
 * The provider of a format; OpenAI for an unknown format.
 *
 * @since 0.1.0
 * @category requests
 */
export const providerOf = (format: Format | undefined): Step.Provider => {
  const [provider] = (format ?? "openai").split("-")
  return provider === "anthropic" || provider === "gemini" ? provider : "openai"
}

const countWords = (text: string): number => text.match(/\S+/g)?.length ?? 0

/**
 * The texts of a request for embeddings; `undefined` for another request.
 *
 * @since 0.2.0
 * @category requests
 */
export const textsOf = ({ body, format }: WireRequest): ReadonlyArray<string> | undefined => {
  const texts = (u: unknown): ReadonlyArray<string> =>
    typeof u === "string" ? [u] : Array.isArray(u) ? u.filter((one) => typeof one === "string") : []
  if (format === "openai-embeddings") return texts(field(body, "input"))
  if (format !== "gemini-embeddings") return undefined
  const requests = field(body, "requests")
  const parts = (one: unknown): unknown => field(field(one, "content"), "parts")
  return (Array.isArray(requests) ? requests : []).map((one) => {
    const all = parts(one)
    return (Array.isArray(all) ? all : []).flatMap((part) => texts(field(part, "text"))).join("")
  })
}

const prompts = ["messages", "input", "contents", "system", "instructions", "systemInstruction"]
// Names and ids inside a prompt do not count as words.
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
 * The usage of a reply: its own numbers, and counted words for missing numbers.
 *
 * @since 0.1.0
 * @category usage
 */
export const usageOf = (
  reply: Step.Reply,
  request: WireRequest
): { readonly [K in keyof Required<Step.Usage>]: number } => {
  const given = reply.usage ?? {}
  const texts = textsOf(request)
  const counted =
    texts === undefined
      ? prompts.reduce((sum, name) => sum + countPrompt(field(request.body, name)), 0)
      : countPrompt(texts)
  const written = reply.parts.reduce((sum, part) => sum + partWords(part), 0)
  return {
    inputTokens: given.inputTokens ?? counted,
    outputTokens: given.outputTokens ?? (texts === undefined ? written : 0),
    cachedTokens: given.cachedTokens ?? 0,
    cacheWriteTokens: given.cacheWriteTokens ?? 0,
    cacheWriteHourTokens: given.cacheWriteHourTokens ?? 0,
    reasoningTokens:
      given.reasoningTokens ??
      reply.parts.reduce((sum, part) => (part._tag === "Reasoning" ? sum + partWords(part) : sum), 0)
  }
}

/**
 * OpenAI's count of the tokens written to its cache, which only newer models report.
 *
 * @since 0.2.0
 * @category usage
 */
export const cacheWrites = (tokens: number) => (tokens === 0 ? {} : { cache_write_tokens: tokens })

/**
 * Whether the model refuses.
 *
 * @since 0.2.0
 * @category rendering
 */
export const isRefusal = (reply: Step.Reply): boolean => reply.parts.some(({ _tag }) => _tag === "Refusal")

/**
 * The joined text of all parts with a tag.
 *
 * @since 0.1.0
 * @category rendering
 */
export const join = (reply: Step.Reply, tag: "Text" | "Reasoning" | "Refusal"): string =>
  reply.parts.reduce((text, part) => (part._tag === tag ? text + part.chunks.join("") : text), "")

/**
 * An id in a provider's style, made from the request's number, so that tests know it in advance.
 *
 * @since 0.1.0
 * @category rendering
 */
export const id = (prefix: string, index: number, item = 0): string =>
  `${prefix}${String(index).padStart(16, "0")}${String(item).padStart(8, "0")}`

/**
 * The model that an answer names.
 *
 * @since 0.1.0
 * @category rendering
 */
export const modelName = (reply: Step.Reply, context: Context): string =>
  reply.model ?? context.request.model ?? "unknown"

/**
 * Cuts the arguments of a tool call into pieces of eight characters, inside the JSON, as providers do in streams.
 *
 * @since 0.1.0
 * @category rendering
 */
export const argumentPieces = (json: string): ReadonlyArray<string> => {
  const points = Array.from(json)
  return Array.from({ length: Math.ceil(points.length / 8) }, (_, i) => points.slice(i * 8, i * 8 + 8).join(""))
}

/**
 * A server-sent event: `event: name` if the format has names, and `data:`.
 *
 * @since 0.1.0
 * @category rendering
 */
export const event = (data: unknown, options: { readonly name?: string; readonly token?: boolean } = {}): Frame => ({
  data: `${options.name === undefined ? "" : `event: ${options.name}\n`}data: ${JSON.stringify(data)}\n\n`,
  token: options.token ?? false
})
