/**
 * Turns what a provider sent, or what the transport threw, into one `LlmError`.
 *
 * Providers call {@link response} for a failing status, {@link answer} and {@link unreadable} for a whole 200 body,
 * {@link event} for every event of a 200 stream and {@link transport} for what `fetch` threw. Signals are trusted in
 * this order: `x-should-retry` > codes > types > statuses > words of the error message field. The tables stand in
 * `ProviderFacts`, the digging in `ErrorBody`, the waits in `RetryHint`, the thrown values in `Transport`.
 *
 * Gotchas: everything is pure, takes the time as an argument and never throws. {@link answer} and {@link event} cost a
 * few property reads on the happy path. A hint is set only on errors that waiting helps.
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
import * as Duration from "effect/Duration"
import * as ErrorBody from "./ErrorBody.js"
import * as ErrorMessage from "./ErrorMessage.js"
import * as LlmError from "./LlmError.js"
import * as ProviderFacts from "./ProviderFacts.js"
import * as RetryHint from "./RetryHint.js"
import * as Transport from "./Transport.js"

export {
  /**
   * @since 0.1.0
   * @category facts
   */
  finishReason
} from "./ProviderFacts.js"
export {
  /**
   * @since 0.1.0
   * @category refinements
   */
  isAbort
} from "./Transport.js"

/**
 * Who was asked, and what must never be shown: `secrets` are literal strings scrubbed from every message.
 *
 * @since 0.1.0
 * @category models
 */
export interface Context {
  readonly provider: string
  readonly model?: string | undefined
  readonly secrets?: ReadonlyArray<string> | undefined
}

/**
 * A response and when it arrived; header names in lower case, `now` in epoch milliseconds.
 *
 * @since 0.1.0
 * @category models
 */
export interface Meta extends Context {
  readonly status: number
  readonly headers: RetryHint.Headers
  readonly now: number
}

/**
 * A whole failed response.
 *
 * @since 0.1.0
 * @category models
 */
export interface ResponseInput extends Meta {
  readonly body: string
}

/**
 * The context of a stream's events; what is known of its response is optional.
 *
 * @since 0.1.0
 * @category models
 */
export interface EventContext extends Context {
  readonly status?: number | undefined
  readonly headers?: RetryHint.Headers | undefined
  readonly now?: number | undefined
}

/**
 * Where a transport failed: `body` reads a whole answer, `stream` the events of one.
 *
 * @since 0.1.0
 * @category models
 */
export type Stage = "before-send" | "before-headers" | "body" | "stream" | "decode"

/**
 * A stated wait from this on is a spent daily quota and no rate limit: 6 hours. Rolling windows of a day (Groq, OpenAI)
 * name minutes to a few hours and pass; nobody who holds a call open waits for a quarter of a day.
 *
 * @since 0.1.0
 * @category constants
 */
export const dayLongWait: Duration.Duration = Duration.hours(6)

const DAY_LONG = 6 * 3_600_000

const NO_HEADERS: RetryHint.Headers = {}

/** Where providers put the id that their support asks for; the most specific first. */
const REQUEST_IDS = [
  "x-request-id",
  "request-id",
  "apim-request-id",
  "x-ms-request-id",
  "x-amzn-requestid",
  "x-generation-id",
  "x-groq-request-id",
  "nvcf-reqid",
  "x-trace-id",
  "cf-ray"
]

/** The kinds that waiting helps; only they carry a hint. */
const PASSING: ReadonlySet<LlmError.Tag> = new Set<LlmError.Tag>([
  "RateLimited",
  "Overloaded",
  "ServerError",
  "Timeout",
  "ConnectionError",
  "InvalidResponse"
])

/** The kinds that say nothing about whether the request was run. */
const UNDECIDED: ReadonlySet<LlmError.Tag> = new Set<LlmError.Tag>([
  "ServerError",
  "Timeout",
  "ConnectionError",
  "InvalidResponse"
])

const make = (kind: ProviderFacts.Kind, fields: LlmError.Fields, extra: Extra): LlmError.LlmError => {
  switch (kind) {
    case "RateLimited":
      return new LlmError.RateLimited(extra.scope === undefined ? fields : { ...fields, scope: extra.scope })
    case "Timeout":
      return new LlmError.Timeout({ ...fields, phase: extra.phase ?? "attempt" })
    case "QuotaExhausted":
      return new LlmError.QuotaExhausted(fields)
    case "Overloaded":
      return new LlmError.Overloaded(fields)
    case "ServerError":
      return new LlmError.ServerError(fields)
    case "ConnectionError":
      return new LlmError.ConnectionError(fields)
    case "AuthError":
      return new LlmError.AuthError(fields)
    case "PermissionDenied":
      return new LlmError.PermissionDenied(fields)
    case "ModelNotFound":
      return new LlmError.ModelNotFound(fields)
    case "ContextLengthExceeded":
      return new LlmError.ContextLengthExceeded(fields)
    case "ContentFiltered":
      return new LlmError.ContentFiltered(fields)
    case "InvalidRequest":
      return new LlmError.InvalidRequest(fields)
    case "InvalidResponse":
      return new LlmError.InvalidResponse(fields)
  }
}

interface Extra {
  readonly scope?: "requests" | "tokens" | "day" | undefined
  readonly phase?: LlmError.TimeoutPhase | undefined
}

interface Verdict {
  readonly kind: ProviderFacts.Kind
  /** the code that decided, else the first one there is */
  readonly code: string | undefined
  /** decided by a status, so that words may narrow it further */
  readonly byStatus: boolean
}

/** Text as the tables of words expect it: lower case, plain apostrophes, whitespace folded, at most 4 kB. */
const plain = (text: string): string =>
  text
    .slice(0, 4096)
    .toLowerCase()
    .replace(/[\u2018\u2019]/g, "'")
    .replace(/\s+/g, " ")

const judge = (body: ErrorBody.ErrorBody, codes: ReadonlyArray<string>, status: number, provider: string): Verdict => {
  let kind: ProviderFacts.Kind | undefined
  let code: string | undefined
  for (const candidate of codes) {
    kind = ProviderFacts.ofCode(candidate, provider)
    if (kind !== undefined) {
      code = candidate
      break
    }
  }
  let byStatus = false
  if (kind === undefined && status >= 500 && codes.some(ProviderFacts.blamesCaller)) kind = "InvalidRequest"
  if (kind === undefined) {
    for (const inner of [...body.statuses, status]) {
      kind ??= ProviderFacts.ofStatus(inner, body.html, provider)
    }
    byStatus = kind !== undefined
  }
  for (const message of body.messages) {
    const said = ProviderFacts.ofWords(plain(message), kind, byStatus)
    if (said !== undefined) {
      kind = said
      break
    }
  }
  for (let i = 0; kind === undefined && i < codes.length; i++) kind = ProviderFacts.ofWeakCode(codes[i] ?? "")
  // a size that is refused does not pass by waiting, whatever limit it broke
  if (kind === "RateLimited" && status === 413) kind = "ContextLengthExceeded"
  return { kind: kind ?? "ServerError", code: code ?? codes.find((c) => !/^\d+$/.test(c)) ?? codes[0], byStatus }
}

/**
 * The id that the provider's support asks for, from the headers of any response.
 *
 * @since 0.1.0
 * @category getters
 */
export const requestId = (headers: RetryHint.Headers): string | undefined => {
  for (const name of REQUEST_IDS) if (headers[name]) return headers[name]
  return undefined
}

/** An edge's `cf-ray` says less than an id in the body. */
const requestIdOf = (headers: RetryHint.Headers, body: ErrorBody.ErrorBody): string | undefined => {
  const id = requestId(headers)
  return id === undefined || id === headers["cf-ray"] ? (body.requestId ?? id) : id
}

const deliveryOf = (kind: LlmError.Tag, status: number): LlmError.Delivery =>
  status < 400 || (UNDECIDED.has(kind) && status !== 409 && status !== 425) ? "unknown" : "rejected"

const optional = (context: Context, status: number | undefined, code?: string, id?: string) => {
  const secrets = context.secrets ?? []
  return {
    ...(context.model === undefined ? {} : { model: context.model }),
    ...(status !== undefined && Number.isInteger(status) ? { status } : {}),
    ...(code ? { code: ErrorMessage.clean(code, secrets, 100) } : {}),
    ...(id ? { requestId: ErrorMessage.clean(id, secrets, 200) } : {})
  }
}

const classify = (context: Meta, body: ErrorBody.ErrorBody): LlmError.LlmError => {
  const { headers, now, provider, status } = context
  const thrown = headers["x-amzn-errortype"]
  const codes = thrown === undefined ? body.codes : [thrown.split(":")[0] ?? "", ...body.codes]
  const verdict = judge(body, codes, status, provider.toLowerCase())
  let kind = verdict.kind
  let wait =
    PASSING.has(kind) || kind === "QuotaExhausted"
      ? RetryHint.decide({ provider, now, headers, fields: body.waits, messages: body.messages, echoed: body.headers })
      : undefined
  const words = plain(body.messages.join(" "))
  if (kind === "RateLimited") {
    const stated = wait?.stated === true ? Duration.toMillis(wait.duration) : undefined
    if (
      body.quotas.some((quota) => quota === "0" || /per_?day/i.test(quota)) ||
      (stated === undefined ? ProviderFacts.isDaily(words) : stated >= DAY_LONG)
    ) {
      kind = "QuotaExhausted"
    }
  } else if (
    kind === "QuotaExhausted" &&
    status === 402 &&
    verdict.byStatus &&
    headers["retry-after"] !== undefined &&
    provider.includes("openrouter")
  ) {
    // OpenRouter names a time on a 402 only while other requests in flight hold the money
    kind = "RateLimited"
  }
  const ordered = headers["x-should-retry"]
  const should = ordered === "true" ? true : ordered === "false" ? false : undefined
  if (!PASSING.has(kind) && should !== true) wait = undefined
  const message =
    body.messages[0] ?? verdict.code ?? (status >= 400 ? ErrorMessage.ofStatus(status) : "an error without a message")
  return make(
    kind,
    {
      provider,
      message: ErrorMessage.clean(message, context.secrets ?? []) || ErrorMessage.ofStatus(status),
      delivery: deliveryOf(kind, status),
      ...optional(context, status, verdict.code, requestIdOf(headers, body)),
      ...(wait === undefined ? {} : { hint: wait.duration }),
      ...(should === undefined || should === PASSING.has(kind) ? {} : { retryable: should })
    },
    { scope: kind === "RateLimited" ? ProviderFacts.scope(`${words} ${codes.join(" ").toLowerCase()}`) : undefined }
  )
}

/** Runs a classification; what cannot even be read (a hostile getter, a broken proxy) is a broken answer. */
const safely = <A>(context: Context, status: number | undefined, run: () => A): A | LlmError.LlmError => {
  try {
    return run()
  } catch {
    return new LlmError.InvalidResponse({
      provider: context.provider,
      message: "an answer that cannot be read",
      delivery: "unknown",
      ...optional(context, status)
    })
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

const invalid = (context: Context & Partial<Meta>, message: string, retryable?: boolean): LlmError.LlmError =>
  new LlmError.InvalidResponse({
    provider: context.provider,
    message: ErrorMessage.clean(message, context.secrets ?? []),
    delivery: "unknown",
    ...optional(context, context.status, undefined, requestId(context.headers ?? NO_HEADERS)),
    ...(retryable === undefined ? {} : { retryable })
  })

/**
 * Classifies the text of a 200 answer that is no usable JSON: empty, cut, or a web page, which no retry cures.
 *
 * @since 0.1.0
 * @category classification
 */
export const unreadable = (context: Context & Partial<Meta>, text: string): LlmError.LlmError =>
  safely(context, context.status, () => {
    if (ErrorBody.isHtml(text)) {
      return invalid(
        context,
        `a web page instead of an answer: ${ErrorBody.read(text).messages[0] ?? "untitled"}`,
        false
      )
    }
    return text.trim() === ""
      ? invalid(context, "an empty answer")
      : invalid(context, `an answer that is not JSON: ${text.trim().slice(0, 200)}`)
  })

type Json = { readonly [key: string]: unknown }

const isObject = (u: unknown): u is Json => typeof u === "object" && u !== null

const filled = (u: unknown): boolean => u != null && u !== false && u !== "" && u !== 0

const string = (u: unknown): string | undefined => (typeof u === "string" ? u : undefined)

const hidden = (context: EventContext, error: unknown): LlmError.LlmError =>
  classify(
    { ...context, status: context.status ?? 200, headers: context.headers ?? NO_HEADERS, now: context.now ?? 0 },
    ErrorBody.dig(error)
  )

/** What a finish reason makes of an answer or an event; ordinary ends are no error. */
const finished = (context: EventContext, reason: unknown): LlmError.LlmError | undefined => {
  if (typeof reason !== "string") return undefined
  switch (ProviderFacts.finishReason(reason)) {
    case "content-filter":
      return finish(context, "ContentFiltered", reason)
    case "error":
      return finish(context, ProviderFacts.ofCode(reason, "") ?? "ServerError", reason)
    case "malformed":
      return finish(context, "InvalidResponse", reason)
    default:
      return undefined
  }
}

const finish = (context: EventContext, kind: ProviderFacts.Kind, reason: string): LlmError.LlmError =>
  make(
    kind,
    {
      provider: context.provider,
      message: ErrorMessage.clean(`the answer ended with ${reason}`, context.secrets ?? []),
      delivery: "unknown",
      ...optional(context, context.status, reason, requestId(context.headers ?? NO_HEADERS))
    },
    {}
  )

/** The finish reason of the first choice, candidate or message, and an error beside it. */
const choice = (context: EventContext, body: Json): LlmError.LlmError | undefined => {
  const choices = body.choices
  if (Array.isArray(choices)) {
    const one: unknown = choices[0]
    if (!isObject(one)) return undefined
    return filled(one.error) ? hidden(context, body) : finished(context, one.finish_reason)
  }
  const candidates = body.candidates
  const blocked = isObject(body.promptFeedback) ? string(body.promptFeedback.blockReason) : undefined
  if (blocked !== undefined && blocked !== "BLOCK_REASON_UNSPECIFIED")
    return finish(context, "ContentFiltered", blocked)
  if (!Array.isArray(candidates)) return undefined
  return isObject(candidates[0]) ? finished(context, candidates[0].finishReason) : undefined
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

/** Responses API: `failed`, or `incomplete` for any reason but length. */
const responses = (context: EventContext, body: Json): LlmError.LlmError | undefined => {
  if (body.status === "failed" || body.status === "cancelled") return finish(context, "ServerError", body.status)
  if (body.status !== "incomplete" || !isObject(body.incomplete_details)) return undefined
  return finished(context, body.incomplete_details.reason)
}

const answerOf = (context: Meta, body: unknown): LlmError.LlmError | undefined => {
  if (Array.isArray(body)) {
    const one: unknown = body[0]
    if (one === undefined) return invalid(context, "an empty list instead of an answer")
    return isObject(one) && filled(one.error) ? hidden(context, body) : undefined
  }
  if (!isObject(body)) return invalid(context, "an answer that is no object")
  if (filled(body.error) || disguised(body)) return hidden(context, body)
  const ended =
    choice(context, body) ??
    finished(context, body.stop_reason ?? body.stopReason ?? body.finish_reason ?? body.done_reason) ??
    responses(context, body)
  if (ended !== undefined) return ended
  return empty(body) ? invalid(context, "an answer without content") : undefined
}

/** An answer in a known shape that holds nothing where its content belongs. */
const empty = (body: Json): boolean => {
  if (Array.isArray(body.choices)) {
    const one: unknown = body.choices[0]
    if (!isObject(one)) return true
    const { message } = one
    if (!isObject(message)) return one.text === undefined && one.delta === undefined
    if (filled(message.refusal) || filled(message.content)) return false
    const usage = isObject(body.usage) ? body.usage.completion_tokens : undefined
    return usage === 0 && !filled(message.tool_calls) && !filled(message.function_call)
  }
  if (body.choices === null) return true
  if (Array.isArray(body.candidates)) {
    const one: unknown = body.candidates[0]
    if (!isObject(one)) return true
    const parts = isObject(one.content) ? one.content.parts : undefined
    return (
      ProviderFacts.finishReason(string(one.finishReason)) === "stop" && !(Array.isArray(parts) && parts.length > 0)
    )
  }
  if (body.usageMetadata !== undefined) return true
  for (const _ in body) return false
  return true
}

/**
 * Classifies a whole answer with a success status: the error that it hides, or undefined for an ordinary one.
 *
 * @since 0.1.0
 * @category classification
 */
export const answer = (context: Meta, body: unknown): LlmError.LlmError | undefined =>
  safely(context, context.status, () => answerOf(context, body))

const eventOf = (context: EventContext, data: unknown, name: string | undefined): LlmError.LlmError | undefined => {
  if (name === "error" || name === "exception") {
    if (isObject(data) ? data.type !== "ping" : filled(data)) return hidden(context, data)
  }
  if (!isObject(data)) return undefined
  if (Array.isArray(data)) return isObject(data[0]) && filled(data[0].error) ? hidden(context, data) : undefined
  if (filled(data.error)) return hidden(context, data)
  if (data.choices !== undefined || data.candidates !== undefined) return choice(context, data)
  const type = data.type
  if (typeof type === "string") {
    switch (type) {
      case "error":
      case "response.error":
      case "exception":
        return hidden(context, data)
      case "response.failed":
        return isObject(data.response) && filled(data.response.error)
          ? hidden(context, data)
          : finish(context, "ServerError", type)
      case "response.incomplete":
        return isObject(data.response) ? responses(context, { ...data.response, status: "incomplete" }) : undefined
      case "message_delta":
        return isObject(data.delta) ? finished(context, data.delta.stop_reason) : undefined
      case "message-end": {
        if (!isObject(data.delta)) return undefined
        return filled(data.delta.error) ? hidden(context, data) : finished(context, data.delta.finish_reason)
      }
    }
    if (type.includes("_") || type.includes(".") || type.includes("-")) return disguisedType(context, data)
  }
  const stop = isObject(data.messageStop) ? data.messageStop.stopReason : undefined
  const ended = finished(context, stop ?? data.stop_reason ?? data.stopReason ?? data.finish_reason ?? data.done_reason)
  if (ended !== undefined) return ended
  return disguised(data) || framed(data) ? hidden(context, data) : choice(context, data)
}

/** An event whose type is no known event's: ordinary, unless it is a flat error such as `{type: "server_error"}`. */
const disguisedType = (context: EventContext, data: Json): LlmError.LlmError | undefined =>
  typeof data.message === "string" && /_error$/.test(String(data.type)) ? hidden(context, data) : undefined

/** Members of Bedrock's stream that are exceptions: `{"throttlingException": {…}}`. */
const framed = (data: Json): boolean => {
  for (const key in data) return key.endsWith("Exception")
  return false
}

/**
 * Classifies one parsed event of a stream with a success status: the error that it is, or undefined for an ordinary
 * one. `name` is the event's name, where the protocol has names.
 *
 * @since 0.1.0
 * @category classification
 */
export const event = (context: EventContext, data: unknown, name?: string): LlmError.LlmError | undefined =>
  safely(context, context.status, () => eventOf(context, data, name))

/**
 * Classifies a thrown value. `body` breaks are `ConnectionError`s, `stream` breaks are `StreamInterrupted` with nothing
 * received: the caller, who knows, fills that in. Ask {@link isAbort} first.
 *
 * @since 0.1.0
 * @category classification
 */
export const transport = (context: Context, error: unknown, stage: Stage): LlmError.LlmError =>
  safely(context, undefined, () => thrown(context, error, stage))

const thrown = (context: Context, error: unknown, stage: Stage): LlmError.LlmError => {
  const secrets = context.secrets ?? []
  const { cause, fault, message } = Transport.find(error)
  const reading = stage === "body" || stage === "stream" || stage === "decode"
  const base: LlmError.Fields = {
    provider: context.provider,
    message: ErrorMessage.clean(message, secrets),
    delivery: "unknown",
    ...optional(context, undefined, cause.code),
    cause: {
      name: ErrorMessage.clean(cause.name, secrets, 100),
      message: ErrorMessage.clean(cause.message, secrets),
      ...(cause.code === undefined ? {} : { code: ErrorMessage.clean(cause.code, secrets, 100) })
    }
  }
  const unsent: LlmError.Fields = reading ? base : { ...base, delivery: "not-sent" }
  switch (fault) {
    case "connect-timeout":
      return reading
        ? new LlmError.Timeout({ ...base, phase: "idle" })
        : new LlmError.Timeout({ ...unsent, phase: "connect" })
    case "timeout":
      return new LlmError.Timeout({ ...base, phase: "attempt" })
    case "idle-timeout":
      return new LlmError.Timeout({ ...base, phase: "idle" })
    case "certificate":
      return new LlmError.ConnectionError({ ...unsent, retryable: false })
    case "refused":
      return new LlmError.ConnectionError(unsent)
    case "bad-request":
      return new LlmError.InvalidRequest({ ...base, delivery: "not-sent" })
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
