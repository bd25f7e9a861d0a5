/**
 * From what an error body says to the `LlmError` it is: the one place where codes, statuses, words, hints and
 * `x-should-retry` are weighed against each other.
 *
 * `ErrorBody` found what was said, `ProviderFacts` knows what it means, `RetryHint` reads the wait; {@link classify}
 * decides. `Classify` is the face of it that providers call.
 *
 * Gotchas: a quota, a size and a day-long wait answered with 429 are not `RateLimited`; a hint is kept only where
 * waiting helps, or where only `x-should-retry: false` forbids the retry.
 *
 * @example
 * import * as ErrorBody from "./ErrorBody.js"
 * import * as Verdict from "./Verdict.js"
 *
 * const meta = { provider: "openai", status: 503, headers: {}, now: 0 }
 * Verdict.classify(meta, ErrorBody.read("")) // Overloaded
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import type * as ErrorBody from "./ErrorBody.js"
import * as ErrorMessage from "./ErrorMessage.js"
import * as LlmError from "./LlmError.js"
import * as ProviderFacts from "./ProviderFacts.js"
import * as RetryHint from "./RetryHint.js"

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
 * A stated wait from this on is a spent daily quota and no rate limit: 6 hours. Rolling windows of a day (Groq, OpenAI)
 * name minutes to a few hours and pass; nobody who holds a call open waits for a quarter of a day.
 *
 * @since 0.1.0
 * @category constants
 */
export const dayLongWait: Duration.Duration = Duration.hours(6)

const DAY_LONG = 6 * 3_600_000

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

/** The kinds that say nothing about whether the request was run. */
const UNDECIDED: ReadonlySet<LlmError.Tag> = new Set<LlmError.Tag>([
  "ServerError",
  "Timeout",
  "ConnectionError",
  "InvalidResponse"
])

type Plain = Exclude<ProviderFacts.Kind, "RateLimited" | "Timeout">

/** The classes that have the common fields only. */
const PLAIN: { readonly [K in Plain]: new (fields: LlmError.Fields) => Extract<LlmError.LlmError, { _tag: K }> } = {
  QuotaExhausted: LlmError.QuotaExhausted,
  Overloaded: LlmError.Overloaded,
  ServerError: LlmError.ServerError,
  ConnectionError: LlmError.ConnectionError,
  AuthError: LlmError.AuthError,
  PermissionDenied: LlmError.PermissionDenied,
  ModelNotFound: LlmError.ModelNotFound,
  ContextLengthExceeded: LlmError.ContextLengthExceeded,
  ContentFiltered: LlmError.ContentFiltered,
  InvalidRequest: LlmError.InvalidRequest,
  InvalidResponse: LlmError.InvalidResponse
}

/**
 * Makes the error of a kind.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (kind: ProviderFacts.Kind, fields: LlmError.Fields, extra: Extra): LlmError.LlmError =>
  kind === "RateLimited"
    ? new LlmError.RateLimited(extra.scope === undefined ? fields : { ...fields, scope: extra.scope })
    : kind === "Timeout"
      ? new LlmError.Timeout({ ...fields, phase: extra.phase ?? "attempt" })
      : new PLAIN[kind](fields)

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

/**
 * The fields that are there only when known; codes and ids are scrubbed like messages.
 *
 * @since 0.1.0
 * @category constructors
 */
export const optional = (context: Context, status: number | undefined, code?: string, id?: string) => {
  const secrets = context.secrets ?? []
  return {
    ...(context.model === undefined ? {} : { model: context.model }),
    ...(status !== undefined && Number.isInteger(status) ? { status } : {}),
    ...(code ? { code: ErrorMessage.clean(code, secrets, 100) } : {}),
    ...(id ? { requestId: ErrorMessage.clean(id, secrets, 200) } : {})
  }
}

/**
 * Judges an error body and builds its error, hint and override included.
 *
 * @since 0.1.0
 * @category deciding
 */
export const classify = (context: Meta, body: ErrorBody.ErrorBody): LlmError.LlmError => {
  const { headers, now, provider, status } = context
  const thrown = headers["x-amzn-errortype"]
  const codes = thrown === undefined ? body.codes : [thrown.split(":")[0] ?? "", ...body.codes]
  const verdict = judge(body, codes, status, provider.toLowerCase())
  let kind = verdict.kind
  let wait =
    LlmError.rules[kind].retry || kind === "QuotaExhausted"
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
  if (!LlmError.rules[kind].retry && should !== true) wait = undefined
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
      ...(should === undefined || should === LlmError.rules[kind].retry ? {} : { retryable: should })
    },
    { scope: kind === "RateLimited" ? ProviderFacts.scope(`${words} ${codes.join(" ").toLowerCase()}`) : undefined }
  )
}
