/**
 * Errors of `@effect/ai` as `LlmError`, and back.
 *
 * {@link toAiError} keeps the `LlmError` as the cause of theirs, and {@link llmErrorOf} finds it there.
 * {@link ofUnknown} reads every error and thrown value of their providers: by `Classify` where a status, a body or
 * words are known.
 *
 * Gotchas: their `HttpResponseError` has no field for a cause. The `LlmError` stands there all the same, as the `cause`
 * that every `Error` may have, which their schema does not encode. Status, headers and body are encoded, and enough to
 * classify the error again.
 *
 * @since 0.2.0
 */

import * as AiError from "@effect/ai/AiError"
import * as HttpClientError from "@effect/platform/HttpClientError"
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import * as Classify from "../errors/Classify.js"
import * as ErrorMessage from "../errors/ErrorMessage.js"
import * as LlmError from "../errors/LlmError.js"
import * as Transport from "../errors/Transport.js"

/** At most so many causes are read: a longer chain is a loop. */
const maxChain = 12

/**
 * The `LlmError` that an error of `@effect/ai` was made of, or `undefined`: the error itself, or one of its causes.
 *
 * @since 0.2.0
 * @category getters
 */
export const llmErrorOf = (error: unknown): LlmError.LlmError | undefined => {
  let value = error
  for (let depth = 0; depth < maxChain && typeof value === "object" && value !== null; depth++) {
    if (LlmError.isLlmError(value)) return value
    value = (value as { readonly cause?: unknown }).cause
  }
  return undefined
}

// -----------------------------------------------------------------------------
// ours to theirs
// -----------------------------------------------------------------------------

type Request = ConstructorParameters<typeof AiError.HttpRequestError>[0]["request"]

/** Their errors of HTTP name a request. Ours name a target: no URL, and no header. */
const requestOf = (error: LlmError.LlmError): Request => ({
  method: "POST",
  url: LlmError.targetOf(error),
  urlParams: [],
  hash: Option.none(),
  headers: {}
})

const headersOf = ({ hint, requestId }: LlmError.LlmError): Record<string, string> => {
  const millis = hint === undefined ? undefined : Math.ceil(Duration.toMillis(hint))
  return {
    "content-type": "application/json",
    ...(millis === undefined
      ? {}
      : { "retry-after": String(Math.ceil(millis / 1000)), "retry-after-ms": String(millis) }),
    ...(requestId === undefined ? {} : { "x-request-id": requestId })
  }
}

/**
 * The error of `@effect/ai` that says the same, with the `LlmError` as its cause.
 *
 * @internal
 */
export const toAiError = (method: string, error: LlmError.LlmError): AiError.AiError => {
  const description = `${error._tag}: ${error.message}`
  const place = { module: "Steadfast", method, description }
  const { code, status } = error
  if (status !== undefined && status >= 400) {
    const failed = new AiError.HttpResponseError({
      ...place,
      request: requestOf(error),
      response: { status, headers: headersOf(error) },
      body: JSON.stringify({ error: { message: error.message, ...(code === undefined ? {} : { code }) } }),
      reason: "StatusCode"
    })
    return Object.defineProperty(failed, "cause", { value: error, configurable: true })
  }
  switch (error._tag) {
    case "ConnectionError":
    case "Timeout":
      return new AiError.HttpRequestError({ ...place, request: requestOf(error), reason: "Transport", cause: error })
    case "InvalidRequest":
      return new AiError.MalformedInput({ ...place, cause: error })
    case "InvalidResponse":
      return new AiError.MalformedOutput({ ...place, cause: error })
    default:
      return new AiError.UnknownError({ ...place, cause: error })
  }
}

// -----------------------------------------------------------------------------
// theirs to ours
// -----------------------------------------------------------------------------

/**
 * The target that failed, when, how far it came (`stream` once a part of the answer was there), and how its body is
 * read.
 *
 * @internal
 */
export interface Failing extends Classify.Context {
  readonly now: number
  readonly stage: "before-headers" | "stream"
  readonly reading: "body" | "stream"
}

const text = (u: unknown): string => (typeof u === "string" ? u : "")

const parsed = (body: string): unknown => {
  try {
    return JSON.parse(body)
  } catch {
    return undefined
  }
}

/** Their errors hold secret headers as `Redacted`, which are none of the classification's business. */
const plain = (headers: Readonly<Record<string, unknown>>): Readonly<Record<string, string>> =>
  Object.fromEntries(
    Object.entries(headers).flatMap(([name, value]) => (typeof value === "string" ? [[name.toLowerCase(), value]] : []))
  )

/**
 * They write a body as JSON: also one that was text, which then stands in quotes. In place of a body that broke stands
 * the error of their client, with the whole request and its key: nothing of it is read but the cause.
 */
const bodyOf = (body: string): { readonly text: string } | { readonly cause: unknown } => {
  const value = parsed(body)
  if (typeof value === "string") return { text: value }
  const found = value as { readonly _tag?: unknown; readonly request?: unknown; readonly cause?: unknown } | null
  return /^(?:Response|Request)Error$/.test(text(found?._tag)) && found?.request !== undefined
    ? { cause: found.cause }
    : { text: body }
}

const fieldsOf = (context: Failing, message: string, delivery: LlmError.Delivery): LlmError.Fields => ({
  provider: context.provider,
  model: context.model,
  message: ErrorMessage.clean(message, context.secrets),
  delivery
})

/** What was wrong, in their words, without the advice that their messages end with. */
const wordsOf = (error: AiError.AiError): string => {
  const cause = "cause" in error ? error.cause : undefined
  const told = error.description ?? text((cause as { readonly message?: unknown } | undefined)?.message)
  return `${error.module}.${error.method}: ${told === "" ? "no description" : told.slice(0, 300)}`
}

const ofStatus = (
  context: Failing,
  status: number,
  headers: Readonly<Record<string, unknown>>,
  body: string,
  words: string
): LlmError.LlmError => {
  const meta = { ...context, status, headers: plain(headers) }
  if (status >= 300) return Classify.response({ ...meta, body })
  const value = parsed(body)
  if (value === undefined) return Classify.unreadable(meta, body)
  const hidden = Classify.answer(meta, value)
  return hidden ?? new LlmError.InvalidResponse({ ...fieldsOf(context, words, "unknown"), status })
}

const ofHttpClient = (context: Failing, error: HttpClientError.HttpClientError): LlmError.LlmError => {
  if (error._tag === "RequestError") return ofRequest(context, error.reason, error.cause ?? error)
  const { headers, status } = error.response
  if (error.reason === "StatusCode" || status >= 300) return ofStatus(context, status, headers, "", error.message)
  return unread(context, status, error.cause)
}

/** The body of an answer broke, or was nonsense. */
const unread = (context: Failing, status: number, cause: unknown): LlmError.LlmError =>
  context.reading === "stream" || isOfNetwork(cause)
    ? Classify.transport(context, cause ?? { message: "the body broke off" }, context.reading)
    : new LlmError.InvalidResponse({ ...fieldsOf(context, "a body that could not be read", "unknown"), status })

const ofResponse = (context: Failing, error: AiError.HttpResponseError): LlmError.LlmError => {
  const { headers, status } = error.response
  const body = error.body === undefined ? { text: "" } : bodyOf(error.body)
  if ("text" in body) return ofStatus(context, status, headers, body.text, wordsOf(error))
  return status >= 300 ? ofStatus(context, status, headers, "", "") : unread(context, status, body.cause)
}

/** What could not be decoded may be an error with a success status. */
const ofOutput = (context: Failing, error: AiError.MalformedOutput): LlmError.LlmError => {
  if (isOfNetwork(error.cause)) return ofUnknown(context, error.cause)
  const { issue } = (error.cause ?? {}) as { readonly issue?: { readonly actual?: unknown } }
  const found = issue?.actual
  const isBody = typeof found === "object" && found !== null && !Array.isArray(found)
  const hidden = isBody ? Classify.answer({ ...context, status: 200, headers: {} }, found) : undefined
  return hidden ?? new LlmError.InvalidResponse(fieldsOf(context, wordsOf(error), "unknown"))
}

const ofRequest = (context: Failing, reason: AiError.HttpRequestError["reason"], cause: unknown): LlmError.LlmError => {
  if (reason === "Transport") return Classify.transport(context, cause, context.stage)
  const message = `the request could not be sent: ${reason}`
  // The address or the body is wrong for this target; that of another may be right.
  return new LlmError.InvalidRequest({ ...fieldsOf(context, message, "not-sent"), fallbackable: true })
}

const ofAiError = (context: Failing, error: AiError.AiError): LlmError.LlmError => {
  switch (error._tag) {
    case "HttpResponseError":
      return ofResponse(context, error)
    case "HttpRequestError":
      return ofRequest(context, error.reason, error.cause ?? { message: error.description ?? "no connection" })
    case "MalformedInput":
      // Their provider could not translate the request. Another may.
      return new LlmError.InvalidRequest({ ...fieldsOf(context, wordsOf(error), "not-sent"), fallbackable: true })
    case "MalformedOutput":
      return ofOutput(context, error)
    case "UnknownError":
      return isOfNetwork(error.cause) ? ofUnknown(context, error.cause) : ofWords(context, wordsOf(error))
  }
}

/** An error of which only words are known. */
const ofWords = (context: Failing, message: string): LlmError.LlmError => {
  const told = { error: { message } }
  const error =
    Classify.event(context, told, "error") ?? new LlmError.ServerError(fieldsOf(context, message, "unknown"))
  // Nobody told a status.
  return LlmError.override(error, { status: undefined })
}

/** Words of a broken connection that stand without a code. */
const broken =
  /fetch failed|failed to fetch|terminated|network|socket|other side closed|premature close|connection (?:reset|closed|lost)|hang ?up/i

const isHttpClientError = (u: unknown): u is HttpClientError.HttpClientError =>
  typeof u === "object" && u !== null && HttpClientError.isHttpClientError(u)

/**
 * Whether an error or a thrown value tells of the network. Every other defect is a bug, and stays one.
 *
 * @internal
 */
export const isOfNetwork = (u: unknown): boolean => {
  if (u === undefined || u === null) return false
  if (AiError.isAiError(u) || isHttpClientError(u) || llmErrorOf(u) !== undefined) return true
  const { cause, fault, message } = Transport.find(u)
  return fault !== "broken" || /^(?:E[A-Z]{3,}|UND_ERR_|HPE_|ERR_SSL_)/.test(cause.code ?? "") || broken.test(message)
}

/**
 * The `LlmError` of an error, or of a thrown value, of their provider.
 *
 * @internal
 */
export const ofUnknown = (context: Failing, error: unknown): LlmError.LlmError => {
  const own = llmErrorOf(error)
  if (own !== undefined) return own
  if (AiError.isAiError(error)) return ofAiError(context, error)
  if (isHttpClientError(error)) return ofHttpClient(context, error)
  if (isOfNetwork(error)) return Classify.transport(context, error, context.stage)
  const message = text(error) || text((error as { readonly message?: unknown } | null | undefined)?.message)
  return ofWords(context, message === "" ? "an unknown failure" : message)
}

/**
 * The `LlmError` of an `error` part of a stream: what the provider sent, or an error of its adapter.
 *
 * @internal
 */
export const ofPart = (context: Failing, error: unknown): LlmError.LlmError =>
  typeof error === "object" && error !== null && !(error instanceof Error) && !AiError.isAiError(error)
    ? (Classify.event(context, error, "error") ?? ofWords(context, "an error without words"))
    : ofUnknown(context, error)
