/**
 * How a provider speaks, and what its wire formats have in common.
 *
 * A {@link WireFormat} is functions that neither wait nor send: encode, decode, a decoder for one stream, limits. An
 * `Endpoint` is where it is spoken.
 *
 * @since 0.1.0
 */
import type * as Chat from "../chat/Chat.js"
import type * as Replay from "../chat/stream/Replay.js"
import type * as StreamDecoder from "../chat/stream/StreamDecoder.js"
import * as Classify from "../errors/Classify.js"
import * as ErrorMessage from "../errors/ErrorMessage.js"
import { type InvalidRequest, InvalidResponse, type LlmError } from "../errors/LlmError.js"
import type { Limits } from "../policies/pacer/RateLimits.js"
import * as Json from "./Json.js"

/**
 * Headers of a response, names in lower case.
 *
 * @since 0.1.0
 * @category models
 */
export type Headers = Readonly<Record<string, string | undefined>>

/**
 * What is known of an answer while it is decoded.
 *
 * @since 0.1.0
 * @category models
 */
export interface Exchange extends Classify.Meta {
  readonly model: string
  readonly requestId: string | undefined
}

/**
 * How a provider speaks: functions that neither wait nor send; a {@link Memory} is all the state that they may have.
 *
 * - `encode`: the body of a request; a request that the format cannot express is an `InvalidRequest`.
 * - `decode`: the answer in a body that `Classify.answer` found no error in.
 * - `decoder`: a decoder for one stream; with where an answer stands, for the rest of that answer.
 * - `resume`: where the rest of an answer is asked for, given the URL where the answer was asked for. Absent where
 *   providers of this format keep none.
 * - `limits`: what the headers say about rate limits, if they do.
 *
 * @since 0.1.0
 * @category models
 */
export interface WireFormat {
  readonly encode: (request: Chat.Request, streaming: boolean) => Json.Json | InvalidRequest
  readonly decode: (body: Json.Json, context: Exchange) => Chat.Response | LlmError
  readonly decoder: (context: Exchange, from?: StreamDecoder.Cursor) => StreamDecoder.Decoder
  readonly resume?: ((url: string, from: Replay.Resume["Type"]) => string) | undefined
  readonly limits: (headers: Headers, now: number) => Limits | undefined
}

/**
 * The error for an answer that lacks what it must have: it names the field, what was found and what was expected.
 *
 * @since 0.1.0
 * @category constructors
 */
export const missing = (context: Exchange, field: string, found: unknown, expected: string): InvalidResponse =>
  new InvalidResponse({
    provider: context.provider,
    model: context.model,
    status: context.status,
    requestId: context.requestId,
    message: `${field}: found ${Json.kindOf(found)}, expected ${expected}`,
    delivery: "unknown"
  })

/**
 * A tool call from its parts; arguments that are no JSON are an `InvalidResponse` with their text.
 *
 * @since 0.1.0
 * @category constructors
 */
export const toolCall = (
  context: Exchange,
  call: { readonly id: string; readonly name: string; readonly arguments: string }
): Chat.ToolCall | InvalidResponse => {
  const text = call.arguments.trim()
  const parsed = text === "" ? {} : Json.parse(text)
  return parsed === undefined
    ? new InvalidResponse({
        provider: context.provider,
        model: context.model,
        status: context.status,
        requestId: context.requestId,
        message: ErrorMessage.clean(
          `the arguments of tool call ${call.name} are no JSON: ${text}`,
          context.secrets ?? []
        ),
        delivery: "unknown"
      })
    : { id: call.id, name: call.name, arguments: parsed }
}

/**
 * Why an answer ended, from the provider's word for it: an answer with tool calls ended with them whatever it says.
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
 * An image as the providers with inline images want it: one that comes as a `data:` URL is taken apart.
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
 * What a provider wants back with a tool call that it made and the canonical form has no place for (signatures of
 * thoughts), by the id of the call. Kept for the newest 256 calls of one model value.
 *
 * @since 0.1.0
 * @category models
 */
export interface Memory<V> {
  readonly get: (id: string) => V | undefined
  readonly set: (id: string, value: V) => void
}

/**
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
 * The names of the headers that tell one limit.
 *
 * @since 0.2.0
 * @category models
 */
export interface LimitHeaders {
  readonly limit: string
  readonly remaining: string
  readonly reset: string
}

/**
 * One limit from three headers, and what it is per where that is known; `undefined` where none of them is there.
 *
 * @since 0.1.0
 * @category getters
 */
export const limit = (
  headers: Headers,
  names: LimitHeaders,
  reset: (value: string) => number | undefined,
  windowMillis?: number
): Limits["requests"] => {
  const all = headers[names.limit]
  const left = headers[names.remaining]
  const at = headers[names.reset]
  if (all === undefined && left === undefined && at === undefined) return undefined
  return {
    limit: numeric(all),
    remaining: numeric(left),
    resetMillis: at === undefined ? undefined : numeric(reset(at)),
    windowMillis: all === undefined ? undefined : windowMillis
  }
}

const numeric = (value: string | number | undefined): number | undefined => {
  const number = value === undefined || value === "" ? Number.NaN : Number(value)
  return Number.isFinite(number) && number >= 0 ? number : undefined
}
