/**
 * The wire format of a provider, and the parts that all wire formats share.
 *
 * A {@link WireFormat} is a set of functions that neither wait nor send: encode, decode, a decoder for one stream,
 * limits. `HttpModel` sends and reads with them.
 *
 * @since 0.1.0
 */

import type * as Chat from "../chat/Chat.js"
import type * as Replay from "../chat/stream/Replay.js"
import type * as StreamDecoder from "../chat/stream/StreamDecoder.js"
import * as Classify from "../errors/Classify.js"
import * as ErrorMessage from "../errors/ErrorMessage.js"
import { type InvalidRequest, InvalidResponse, type LlmError } from "../errors/LlmError.js"
import * as RetryHint from "../errors/RetryHint.js"
import type { Limits } from "../policies/pacer/RateLimits.js"
import * as Json from "./Json.js"

/**
 * Headers of a response, names in lower case.
 *
 * @since 0.1.0
 * @category models
 */
export type Headers = RetryHint.Headers

/**
 * A response whose body is being decoded.
 *
 * @since 0.1.0
 * @category models
 */
export interface Exchange extends Classify.Meta {
  /** The model as it was requested. */
  readonly model: string
  /** The provider's id of the request, if its headers have one. */
  readonly requestId: string | undefined
}

/**
 * The wire format of a provider: functions that neither wait nor send. Their only state is a {@link Memory}.
 *
 * @since 0.1.0
 * @category models
 */
export interface WireFormat {
  /** The body of a request; an `InvalidRequest` if the format cannot express the request. */
  readonly encode: (request: Chat.Request, streaming: boolean) => Json.Json | InvalidRequest
  /** The answer in a body in which `Classify.answer` found no error. */
  readonly decode: (body: Json.Json, context: Exchange) => Chat.Response | LlmError
  /** A decoder for one stream, or, with the cursor of a broken stream, for the rest of that answer. */
  readonly decoder: (context: Exchange, from?: StreamDecoder.Cursor) => StreamDecoder.Decoder
  /** The URL of the rest of an answer, from the URL of the request. Absent if the provider keeps no answers. */
  readonly resume?: ((url: string, from: Replay.Resume["Type"]) => string) | undefined
  /** The rate limits in the headers; `undefined` if there are none. `now` in epoch milliseconds. */
  readonly limits: (headers: Headers, now: number) => Limits | undefined
}

/**
 * The fields of an error in a decoded answer. `message` is not scrubbed.
 *
 * @since 0.2.0
 * @category constructors
 */
export const errorFields = ({ model, provider, requestId, status }: Exchange, message: string) =>
  ({ provider, model, status, requestId, message, delivery: "unknown" }) as const

/**
 * The error for an answer that lacks a needed field: it names the field, the value found and the value expected.
 *
 * @since 0.1.0
 * @category constructors
 */
export const missing = (context: Exchange, field: string, found: unknown, expected: string): InvalidResponse =>
  new InvalidResponse(errorFields(context, `${field}: found ${Json.kindOf(found)}, expected ${expected}`))

/**
 * A tool call from its parts. Arguments in a string are parsed; a string that is not JSON is an `InvalidResponse`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const toolCall = (
  context: Exchange,
  call: { readonly id: string; readonly name: string; readonly arguments: unknown }
): Chat.ToolCall | InvalidResponse => {
  const { id, name } = call
  if (typeof call.arguments !== "string") return { id, name, arguments: call.arguments ?? {} }
  const text = call.arguments.trim()
  const parsed = text === "" ? {} : Json.parse(text)
  if (parsed !== undefined) return { id, name, arguments: parsed }
  const message = `the arguments of tool call ${name} are no JSON: ${text}`
  return new InvalidResponse(errorFields(context, ErrorMessage.clean(message, context.secrets)))
}

/**
 * The fields that an answer and the `Start` event of a stream share; empty ids and models count as absent.
 *
 * @since 0.2.0
 * @category constructors
 */
export const origin = (context: Exchange, id: unknown, model: unknown) => ({
  provider: context.provider,
  model: Json.text(model) ?? context.model,
  id: Json.text(id),
  requestId: context.requestId
})

/**
 * Token counts, or `undefined` if there is neither an input nor an output count. `input` includes `cached`, and
 * `output` includes `reasoning`.
 *
 * @since 0.2.0
 * @category constructors
 */
export const usage = (
  input: number | undefined,
  output: number | undefined,
  cached: number | undefined,
  reasoning: number | undefined
): Chat.Usage | undefined =>
  input === undefined && output === undefined
    ? undefined
    : {
        inputTokens: input ?? 0,
        outputTokens: output ?? 0,
        ...Json.optional("cachedInputTokens", cached),
        ...Json.optional("reasoningTokens", reasoning)
      }

/**
 * Reads one event of a stream: the error that it stands for, or the result of `read`. A `stray` event, which is outside
 * the protocol, may be an error or is ignored.
 *
 * @since 0.2.0
 * @category getters
 */
export const event = (
  context: Exchange,
  { data, event, stray }: Parameters<StreamDecoder.Decoder["push"]>[0],
  read: (data: Json.Json) => LlmError | undefined
): LlmError | undefined => {
  const parsed = Json.parse(data)
  if (parsed === undefined) return stray ? undefined : missing(context, "data", data.slice(0, 200), "JSON")
  const error = Classify.event(context, parsed, event)
  return error !== undefined || stray ? error : read(Json.object(parsed))
}

/**
 * Appends the last events of a stream: `Usage`, if it is known, and `Finish`.
 *
 * @since 0.2.0
 * @category getters
 */
export const finish = (out: Array<Chat.Event>, usage: Chat.Usage | undefined, reason: Chat.FinishReason): void => {
  if (usage !== undefined) out.push({ _tag: "Usage", usage })
  out.push({ _tag: "Finish", reason })
}

/**
 * The finish reason of an answer, from the provider's word for it. An answer with tool calls ended with them, unless it
 * was cut at the token limit.
 *
 * @since 0.1.0
 * @category getters
 */
export const finishReason = (reason: string | undefined, toolCalls: number): Chat.FinishReason => {
  const meaning = Classify.finishReason(reason)
  if (meaning === "length" || meaning === "tool-calls") return meaning
  return toolCalls > 0 ? "tool-calls" : meaning === "stop" ? "stop" : "other"
}

/**
 * A part of a user's message.
 *
 * @since 0.2.0
 * @category models
 */
export type UserPart = Exclude<Extract<Chat.Message, { role: "user" }>["content"], string>[number]

/**
 * An image as a URL; an inline image becomes a `data:` URL.
 *
 * @since 0.2.0
 * @category getters
 */
export const imageUrl = (part: Chat.ImagePart): string =>
  "url" in part ? part.url : `data:${part.mediaType};base64,${part.data}`

/**
 * An image for providers that take inline images: a `data:` URL becomes data and media type.
 *
 * @since 0.1.0
 * @category getters
 */
export const image = (
  part: Chat.ImagePart
): { readonly url: string } | { readonly data: string; readonly mediaType: string } => {
  if (!("url" in part)) return part
  const head = /^data:([^;,]{1,100})[^,]{0,100};base64,/i.exec(part.url)
  return head?.[1] === undefined ? part : { mediaType: head[1], data: part.url.slice(head[0].length) }
}

/**
 * Data that a provider wants back with its tool calls and for which `Chat.ToolCall` has no field, such as signatures of
 * thoughts. Keyed by the id of the call; kept for the newest 256 calls of a model value.
 *
 * @since 0.1.0
 * @category models
 */
export interface Memory<V> {
  readonly get: (id: string) => V | undefined
  readonly set: (id: string, value: V) => void
}

/**
 * An empty {@link Memory}.
 *
 * @since 0.1.0
 * @category constructors
 */
export const memory = <V>(): Memory<V> => {
  const values = new Map<string, V>()
  return {
    get: (id) => values.get(id),
    set: (id, value) => {
      values.delete(id)
      values.set(id, value)
      for (const oldest of values.keys()) {
        if (values.size <= 256) break
        values.delete(oldest)
      }
    }
  }
}

/**
 * The names of the headers of one limit.
 *
 * @since 0.2.0
 * @category models
 */
export interface LimitHeaders {
  /** The size of the limit. */
  readonly limit: string
  /** The rest of it. */
  readonly remaining: string
  /** When it is full again. */
  readonly reset: string
  /** The window that the limit counts in, in milliseconds, if the provider documents it. */
  readonly windowMillis?: number | undefined
}

/**
 * Reads the rate limits in response headers, as {@link WireFormat} `limits`. `names` are the headers of each limit.
 *
 * @since 0.2.0
 * @category constructors
 */
export const limits =
  (provider: string, names: { readonly [K in keyof Limits]: LimitHeaders }): WireFormat["limits"] =>
  (headers, now) => {
    const found: { -readonly [K in keyof Limits]: Limits[K] } = {}
    for (const name of Object.keys(names) as Array<keyof Limits>) {
      const one = names[name] && limit(headers, names[name], provider, now)
      if (one !== undefined) found[name] = one
    }
    return Object.keys(found).length === 0 ? undefined : found
  }

const limit = (headers: Headers, names: LimitHeaders, provider: string, now: number): Limits["requests"] => {
  const all = headers[names.limit]
  const left = headers[names.remaining]
  const at = headers[names.reset]
  if (all === undefined && left === undefined && at === undefined) return undefined
  return {
    limit: numeric(all),
    remaining: numeric(left),
    resetMillis: at === undefined ? undefined : numeric(RetryHint.parseReset(at, provider, now)),
    windowMillis: all === undefined ? undefined : names.windowMillis
  }
}

const numeric = (value: string | number | undefined): number | undefined => {
  const number = value === undefined || value === "" ? Number.NaN : Number(value)
  return Number.isFinite(number) && number >= 0 ? number : undefined
}
