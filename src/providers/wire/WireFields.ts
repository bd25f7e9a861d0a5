/**
 * What the wire formats share: the exchange that is being read, errors about its fields and about requests, and the
 * limits in headers.
 *
 * @since 0.2.0
 */

import type * as Chat from "../../chat/Chat.js"
import type * as Classify from "../../errors/Classify.js"
import { InvalidRequest, InvalidResponse } from "../../errors/LlmError.js"
import * as RetryHint from "../../errors/RetryHint.js"
import type { Limits } from "../../policies/pacer/RateLimits.js"
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
  /** The most bytes of an answer that are held. */
  readonly maxBytes: number
}

/**
 * An encoded request.
 *
 * @since 0.2.0
 * @category models
 */
export interface Encoded {
  /** The body. */
  readonly body: Json.Json
  /** What the wire format or the model does not take, in words: it was left out, or translated. */
  readonly leftOut: ReadonlyArray<string>
  /** Whether the answer may be made later, and has to be fetched. Default `false`. */
  readonly later?: boolean
}

/**
 * Leaves out a field that is refused, and adds to `leftOut` which and why.
 *
 * @since 0.2.0
 * @category constructors
 */
export const leavingOut =
  (leftOut: Set<string>) =>
  <A>(isRefused: boolean, name: string, value: A | undefined, why: string): A | undefined => {
    if (value === undefined || !isRefused) return value
    leftOut.add(`${name} (${why})`)
    return undefined
  }

/**
 * The error for a request that cannot be sent. It is `fallbackable` if only this target refuses it.
 *
 * @since 0.2.0
 * @category constructors
 */
export const refusal = (
  { model, provider }: { readonly provider: string; readonly model: string },
  message: string,
  fallbackable = true
): InvalidRequest =>
  new InvalidRequest({ provider, model, message, delivery: "not-sent", ...(fallbackable ? { fallbackable } : {}) })

/**
 * The fields of an error in a decoded answer. `message` is not scrubbed.
 *
 * @since 0.2.0
 * @category constructors
 */
export const errorFields = ({ model, provider, requestId, status }: Exchange, message: string) =>
  ({ provider, model, status, requestId, message, delivery: "unknown" }) as const

/**
 * The error for what the reading of an answer threw, as at a value that is nested too deep.
 *
 * @since 0.2.0
 * @category constructors
 */
export const thrown = (context: Exchange, defect: unknown): InvalidResponse => {
  const name = defect instanceof Error ? defect.name : typeof defect
  return new InvalidResponse(errorFields(context, `an answer that cannot be read (${name})`))
}

/**
 * The error for an answer that is too large. The same request would get as large an answer again, and elsewhere too.
 *
 * @since 0.2.0
 * @category constructors
 */
export const tooLarge = (context: Exchange): InvalidResponse =>
  new InvalidResponse({
    ...errorFields(context, `the answer is too large: found more than ${context.maxBytes} bytes (maxAnswerBytes)`),
    retryable: false,
    fallbackable: false
  })

/**
 * The error for an answer that lacks a needed field: it names the field, the value found and the value expected.
 *
 * @since 0.1.0
 * @category constructors
 */
export const missing = (context: Exchange, field: string, found: unknown, expected: string): InvalidResponse =>
  new InvalidResponse(errorFields(context, `${field}: found ${Json.kindOf(found)}, expected ${expected}`))

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
 * A part of a user's message.
 *
 * @since 0.2.0
 * @category models
 */
export type UserPart = Exclude<Extract<Chat.Message, { role: "user" }>["content"], string>[number]

/**
 * The arguments of a call as an object, for targets that take nothing else; other values are wrapped in one.
 *
 * @since 0.2.0
 * @category getters
 */
export const argumentsOf = ({ arguments: value, name }: Chat.ToolCall, leftOut: Set<string>): Json.Json => {
  const fields = Json.object(value)
  if (value === undefined || value === null || fields === value) return fields
  leftOut.add(`arguments of ${name} (in an object)`)
  return { value }
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
 * Reads the rate limits in response headers, as the `limits` of a wire format. `names` are the headers of each limit.
 *
 * @since 0.2.0
 * @category constructors
 */
export const limits =
  (provider: string, names: { readonly [K in keyof Limits]: LimitHeaders }) =>
  (headers: Headers, now: number): Limits | undefined => {
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

/**
 * What a usage counts beyond the known fields, zeros left out; `undefined` if that is nothing.
 *
 * @since 0.2.0
 * @category getters
 */
export const uncounted = (usage: Json.Json, known: ReadonlySet<string>): Json.Json | undefined => {
  let found: Record<string, unknown> | undefined
  for (const key in usage) {
    const value = usage[key]
    if (known.has(key) || value == null || value === 0 || value === "" || value === false) continue
    found ??= {}
    found[key] = value
  }
  return found
}

/**
 * The messages without the `ProviderData` that a target did not make: nobody else's signature is sent to it.
 *
 * @since 0.2.0
 * @category combinators
 */
export const withOwnData = (
  messages: Chat.Request["messages"],
  isOwn: (data: Chat.ProviderData) => boolean
): Chat.Request["messages"] => {
  const own = <A extends { readonly providerData?: Chat.ProviderData | undefined }>(one: A): A => {
    if (one.providerData === undefined || isOwn(one.providerData)) return one
    const { providerData, ...rest } = one
    return rest as A
  }
  const [first, ...rest] = messages.map((message) => {
    if (message.role !== "assistant") return message
    const { toolCalls } = message
    return toolCalls === undefined ? own(message) : own({ ...message, toolCalls: toolCalls.map(own) })
  })
  return first === undefined ? messages : [first, ...rest]
}
