/**
 * Turns a provider's failure, or a value thrown by the transport, into one `LlmError`.
 *
 * Providers call {@link response} for a failing status, {@link answer} and {@link unreadable} for a whole 200 body of
 * a chat, {@link hidden} for one of another API, {@link event} for every event of a 200 stream, {@link frame} for one
 * that is not JSON, and {@link transport} for a value that `fetch` threw. Signals are trusted in this order:
 * `x-should-retry` > codes > types > statuses > words of the error message field. `Verdict` decides, `ProviderFacts`
 * and `FinishReason` have the tables, `ErrorBody` reads bodies with `Markup` and `JsonText`, `RetryHint` reads waits,
 * `Transport` reads thrown values.
 *
 * Gotchas: all functions are pure, take the time as an argument and never throw. {@link answer} and {@link event} cost
 * a few property reads on the happy path. A hint is set only on errors that waiting helps, and on a spent quota.
 *
 * @example
 * import { Classify } from "effect-steadfast"
 *
 * const error = Classify.response({
 *   provider: "openai",
 *   status: 429,
 *   headers: { "retry-after": "2" },
 *   body: '{"error":{"code":"rate_limit_exceeded","message":"Slow down"}}',
 *   now: 0
 * })
 * // RateLimited, hint 2 s, delivery "rejected"
 *
 * @since 0.1.0
 */

import * as ErrorBody from "./ErrorBody.js"
import * as ErrorMessage from "./ErrorMessage.js"
import { errorOf, finishReason } from "./FinishReason.js"
import * as JsonText from "./JsonText.js"
import * as LlmError from "./LlmError.js"
import * as Markup from "./Markup.js"
import * as ProviderFacts from "./ProviderFacts.js"
import type * as RetryHint from "./RetryHint.js"
import * as Transport from "./Transport.js"
import {
  type Context,
  classify,
  type EventContext,
  fieldsOf,
  isPageType,
  type Meta,
  make,
  requestId
} from "./Verdict.js"

export { finishReason } from "./FinishReason.js"
export { isAbort } from "./Transport.js"
export { type Context, dayLongWait, type EventContext, type Meta, requestId } from "./Verdict.js"

/**
 * A whole failed response.
 *
 * @since 0.1.0
 * @category models
 */
export interface ResponseInput extends Meta {
  /** The text of the body. */
  readonly body: string
}

/**
 * The stage at which a transport failed: `connect` comes before the first byte of the request, `body` reads a whole
 * answer, `stream` reads events. A transport that does not know when it has connected says `before-headers`.
 *
 * @since 0.1.0
 * @category models
 */
export type Stage = "before-send" | "connect" | "before-headers" | "body" | "stream" | "decode"

const NO_HEADERS: RetryHint.Headers = {}

/** Runs a classification. If it throws (a hostile getter, a broken proxy object), the answer is unreadable. */
const safely = <A>(context: Context, status: number | undefined, run: () => A): A | LlmError.LlmError => {
  try {
    return run()
  } catch {
    return new LlmError.InvalidResponse(fieldsOf(context, status, "an answer that cannot be read"))
  }
}

/**
 * Classifies a response with a failing status: always an error.
 *
 * @since 0.1.0
 * @category classification
 */
export const response = (input: ResponseInput): LlmError.LlmError =>
  safely(input, input.status, () => classify(input, ErrorBody.read(input.body)))

/** The fields of an error that an answer with a success status hides. */
const answerFields = (context: EventContext, message: string, code?: string): LlmError.Fields =>
  fieldsOf(context, context.status, message, code, requestId(context.headers ?? NO_HEADERS))

const invalid = (context: EventContext, message: string): LlmError.LlmError =>
  new LlmError.InvalidResponse(answerFields(context, message))

/**
 * Classifies the text of a 200 answer that is not JSON: empty, cut, or a web page, which no retry cures.
 *
 * @since 0.1.0
 * @category classification
 */
export const unreadable = (context: EventContext, text: string): LlmError.LlmError =>
  safely(context, context.status, () => {
    const isPage = Markup.isPage(text) || (isPageType(context.headers) && /^\s*[^\s{[]/.test(text))
    if (isPage) {
      const message = `a web page instead of an answer: ${ErrorBody.read(text).messages[0] ?? "untitled"}`
      return new LlmError.InvalidResponse({ ...answerFields(context, message), retryable: false })
    }
    const start = ErrorMessage.clean(text, context.secrets, 200)
    return invalid(context, start === "" ? "an empty answer" : `an answer that is not JSON: ${start}`)
  })

type Json = ErrorBody.Json

const isObject = ErrorBody.isObject

/** Whether a field has a value other than `null`, `false`, `""`, `0` and `{}`. */
const filled = (u: unknown): boolean => {
  if (typeof u !== "object" || u === null) return u != null && u !== false && u !== "" && u !== 0
  for (const _ in u) return true
  return false
}

const string = (u: unknown): string | undefined => (typeof u === "string" ? u : undefined)

const judged = (context: EventContext, body: ErrorBody.ErrorBody): LlmError.LlmError =>
  classify(
    { ...context, status: context.status ?? 200, headers: context.headers ?? NO_HEADERS, now: context.now ?? 0 },
    body
  )

const embeddedError = (context: EventContext, error: unknown): LlmError.LlmError =>
  judged(context, ErrorBody.dig(error))

/** The error that a finish reason stands for; `undefined` for an ordinary end. */
const reasonError = (context: EventContext, reason: unknown): LlmError.LlmError | undefined => {
  const kind = typeof reason === "string" ? errorOf(reason) : undefined
  return kind && endError(context, kind, String(reason))
}

/**
 * The error that a gateway wrote into the text of an answer that ended with an error: `{"error": {…}}`, or a code and a
 * message.
 */
const writtenError = (context: EventContext, text: unknown): LlmError.LlmError | undefined => {
  const found = typeof text === "string" && /^\s*\{/.test(text) ? JsonText.find(text) : undefined
  if (!isObject(found)) return undefined
  const isError = filled(found.error) || disguised(found) || (filled(found.code) && typeof found.msg === "string")
  return isError ? embeddedError(context, found) : undefined
}

/** The error of a choice that ended with one. */
const endedError = (context: EventContext, choice: Json): LlmError.LlmError | undefined => {
  const ended = reasonError(context, choice.finish_reason)
  if (ended === undefined) return undefined
  const part = isObject(choice.delta) ? choice.delta : isObject(choice.message) ? choice.message : choice
  return writtenError(context, part.content ?? part.text) ?? ended
}

const endError = (context: EventContext, kind: ProviderFacts.Kind, reason: string): LlmError.LlmError =>
  make(kind, answerFields(context, `the answer ended with ${reason}`, reason))

/** The error of the first choice or candidate, or the error that its finish reason stands for. */
const choiceError = (context: EventContext, body: Json): LlmError.LlmError | undefined => {
  const choices = body.choices
  if (Array.isArray(choices)) {
    const one: unknown = choices[0]
    if (!isObject(one)) return undefined
    return filled(one.error) ? embeddedError(context, body) : endedError(context, one)
  }
  const candidates = body.candidates
  const blocked = isObject(body.promptFeedback) ? string(body.promptFeedback.blockReason) : undefined
  if (blocked !== undefined && blocked !== "BLOCK_REASON_UNSPECIFIED")
    return endError(context, "ContentFiltered", blocked)
  if (!Array.isArray(candidates)) return undefined
  return isObject(candidates[0]) ? reasonError(context, candidates[0].finishReason) : undefined
}

/** Shapes of errors without an `error` field: MiniMax, Cloudflare, DashScope, FastAPI, flat bodies, coral. */
const disguised = (body: Json): boolean =>
  body.type === "error" ||
  body.object === "error" ||
  body.success === false ||
  filled(body.error_type) ||
  filled(body.error_message) ||
  filled(body.error_code) ||
  body[":message-type"] === "exception" ||
  (Array.isArray(body.errors) && body.errors.length > 0) ||
  (isObject(body.base_resp) && filled(body.base_resp.status_code)) ||
  (filled(body.code) && typeof body.message === "string" && body.choices === undefined && body.output === undefined) ||
  (filled(body.detail) && body.choices === undefined) ||
  (isObject(body.Output) && filled(body.Output.__type))

/** Responses API: `failed`, `cancelled`, or `incomplete` for a reason that is an error. */
const responsesError = (context: EventContext, body: Json): LlmError.LlmError | undefined => {
  if (body.status === "failed" || body.status === "cancelled") return endError(context, "ServerError", body.status)
  if (body.status !== "incomplete" || !isObject(body.incomplete_details)) return undefined
  return reasonError(context, body.incomplete_details.reason)
}

/** The error in a body that is one. */
const hiddenIn = (context: Meta, body: unknown): LlmError.LlmError | undefined => {
  const one: unknown = Array.isArray(body) ? body[0] : body
  if (!isObject(one)) return undefined
  return filled(one.error) || (one === body && disguised(one)) ? embeddedError(context, body) : undefined
}

const answerOf = (context: Meta, body: unknown): LlmError.LlmError | undefined => {
  const hidden = hiddenIn(context, body)
  if (hidden !== undefined) return hidden
  if (Array.isArray(body)) {
    return body[0] === undefined ? invalid(context, "an empty list instead of an answer") : undefined
  }
  if (!isObject(body)) return invalid(context, "an answer that is no object")
  const ended =
    choiceError(context, body) ??
    reasonError(context, body.stop_reason ?? body.stopReason ?? body.finish_reason ?? body.done_reason) ??
    responsesError(context, body)
  if (ended !== undefined) return ended
  return empty(body) ? invalid(context, "an answer without content") : undefined
}

/** Whether an answer in a known shape has no content. */
const empty = (body: Json): boolean => {
  if (Array.isArray(body.choices)) {
    const one: unknown = body.choices[0]
    if (!isObject(one)) return true
    const { message } = one
    if (!isObject(message)) return one.text === undefined && one.delta === undefined
    const { content, reasoning, reasoning_content, refusal } = message
    if (filled(content) || filled(refusal) || filled(reasoning_content) || filled(reasoning)) return false
    const usage = isObject(body.usage) ? body.usage.completion_tokens : undefined
    const isCut = finishReason(string(one.finish_reason)) === "length"
    return usage === 0 && !isCut && !filled(message.tool_calls) && !filled(message.function_call)
  }
  if (body.choices === null) return true
  if (Array.isArray(body.candidates)) {
    const one: unknown = body.candidates[0]
    if (!isObject(one)) return true
    const parts = isObject(one.content) ? one.content.parts : undefined
    return finishReason(string(one.finishReason)) === "stop" && !(Array.isArray(parts) && parts.length > 0)
  }
  if (body.usageMetadata !== undefined) return true
  for (const key in body) if (body[key] != null) return false
  return true
}

/**
 * Classifies a whole answer with a success status: the error that it hides, or `undefined` for an ordinary answer.
 *
 * @since 0.1.0
 * @category classification
 */
export const answer = (context: Meta, body: unknown): LlmError.LlmError | undefined =>
  safely(context, context.status, () => answerOf(context, body))

/**
 * Classifies a body with a success status that is no chat's answer, such as vectors or a list of models: the error that
 * it hides, or `undefined`.
 *
 * @since 0.2.0
 * @category classification
 */
export const hidden = (context: Meta, body: unknown): LlmError.LlmError | undefined =>
  safely(context, context.status, () => hiddenIn(context, body))

/** Whether an event's name alone makes it an error. */
const isErrorName = (name: string | undefined): boolean =>
  name !== undefined && /^(?:response\.)?(?:error|exception)$/i.test(name)

const eventOf = (context: EventContext, data: unknown, name: string | undefined): LlmError.LlmError | undefined => {
  if (isErrorName(name) && !(isObject(data) && data.type === "ping")) return embeddedError(context, data)
  if (!isObject(data)) return undefined
  if (Array.isArray(data)) return isObject(data[0]) && filled(data[0].error) ? embeddedError(context, data) : undefined
  if (filled(data.error)) return embeddedError(context, data)
  if (isObject(data.x_groq) && filled(data.x_groq.error)) return embeddedError(context, data.x_groq)
  if (data.choices !== undefined || data.candidates !== undefined) return choiceError(context, data)
  const type = data.type
  if (typeof type === "string") {
    switch (type) {
      case "error":
      case "response.error":
      case "exception":
        return embeddedError(context, data)
      case "response.failed":
        return isObject(data.response) && filled(data.response.error)
          ? embeddedError(context, data)
          : endError(context, "ServerError", type)
      case "response.incomplete":
        return isObject(data.response) ? responsesError(context, { ...data.response, status: "incomplete" }) : undefined
      case "message_delta":
        return isObject(data.delta) ? reasonError(context, data.delta.stop_reason) : undefined
      case "message-end": {
        if (!isObject(data.delta)) return undefined
        return filled(data.delta.error) ? embeddedError(context, data) : reasonError(context, data.delta.finish_reason)
      }
    }
    if (type.includes("_") || type.includes(".") || type.includes("-")) return disguisedType(context, data)
  }
  const stop = isObject(data.messageStop) ? data.messageStop.stopReason : undefined
  const ended = reasonError(
    context,
    stop ?? data.stop_reason ?? data.stopReason ?? data.finish_reason ?? data.done_reason
  )
  if (ended !== undefined) return ended
  return disguised(data) || framed(data) ? embeddedError(context, data) : choiceError(context, data)
}

/** An event of unknown type is ordinary, unless it is a flat error such as `{type: "server_error", message: "…"}`. */
const disguisedType = (context: EventContext, data: Json): LlmError.LlmError | undefined =>
  typeof data.message === "string" && /_error$/.test(String(data.type)) ? embeddedError(context, data) : undefined

/** Whether an event is an exception of Bedrock's stream: `{"throttlingException": {…}}`. */
const framed = (data: Json): boolean => {
  for (const key in data) return key.endsWith("Exception")
  return false
}

/**
 * Classifies one parsed event of a stream with a success status: the error that it stands for, or `undefined` for an
 * ordinary event. `name` is the event's name, if the protocol has names.
 *
 * @since 0.1.0
 * @category classification
 */
export const event = (context: EventContext, data: unknown, name?: string): LlmError.LlmError | undefined =>
  safely(context, context.status, () => eventOf(context, data, name))

/**
 * Classifies an event whose data is not JSON: the error if the event's name says that it is one, by the words of the
 * text or by what can be read of JSON that was cut; `undefined` for every other event.
 *
 * @since 0.2.0
 * @category classification
 */
export const frame = (context: EventContext, text: string, name: string | undefined): LlmError.LlmError | undefined =>
  isErrorName(name) ? safely(context, context.status, () => judged(context, ErrorBody.read(text))) : undefined

/**
 * Classifies a thrown value. A connection that breaks at stage `body` is a `ConnectionError`, at stage `stream` a
 * `StreamInterrupted` with `received: 0`, which the caller replaces. Check {@link isAbort} first.
 *
 * @since 0.1.0
 * @category classification
 */
export const transport = (context: Context, error: unknown, stage: Stage): LlmError.LlmError =>
  safely(context, undefined, () => thrown(context, error, stage))

const thrown = (context: Context, error: unknown, stage: Stage): LlmError.LlmError => {
  const { secrets } = context
  const { cause, fault, message } = Transport.find(error)
  const reading = stage === "body" || stage === "stream" || stage === "decode"
  const base: LlmError.Fields = {
    ...fieldsOf(context, undefined, message, cause.code),
    ...(stage === "connect" ? { delivery: "not-sent" } : {}),
    cause: {
      name: ErrorMessage.clean(cause.name, secrets, 100),
      message: ErrorMessage.clean(cause.message, secrets),
      ...(cause.code === undefined ? {} : { code: ErrorMessage.clean(cause.code, secrets, 100) })
    }
  }
  const refusal = stage === "connect" ? "not-sent" : "rejected"
  const unsent: LlmError.Fields = reading ? base : { ...base, delivery: "not-sent" }
  switch (fault) {
    case "connect-timeout":
      return new LlmError.Timeout({ ...unsent, phase: reading ? "idle" : "connect" })
    case "timeout":
      return new LlmError.Timeout({ ...base, phase: stage === "connect" ? "connect" : "attempt" })
    case "idle-timeout":
      return new LlmError.Timeout({ ...base, phase: "idle" })
    case "tls":
      if (!reading) return new LlmError.ConnectionError({ ...unsent, retryable: false })
      break
    case "no-tls":
      if (!reading) return new LlmError.ConnectionError({ ...base, retryable: false })
      break
    case "unwelcome":
      if (!reading) return new LlmError.ConnectionError({ ...base, delivery: refusal, retryable: false })
      break
    case "refused":
      return new LlmError.ConnectionError(unsent)
    case "bad-request":
      // The address, the headers or the client of this target: those of another may be right.
      return new LlmError.InvalidRequest({ ...base, delivery: "not-sent", fallbackable: true })
    case "endless":
      return new LlmError.ConnectionError({ ...base, retryable: false })
    case "html":
      return new LlmError.InvalidResponse({ ...base, retryable: false })
    case "bad-response":
      if (stage !== "stream" && stage !== "before-send") return new LlmError.InvalidResponse(base)
  }
  switch (stage) {
    case "before-send":
      return new LlmError.InvalidRequest({ ...base, delivery: "not-sent" })
    case "decode":
      return new LlmError.InvalidResponse(base)
    case "stream":
      return new LlmError.StreamInterrupted({ ...base, received: 0, partial: "" })
    default:
      return new LlmError.ConnectionError(base)
  }
}
