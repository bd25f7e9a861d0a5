/**
 * Decides which `LlmError` an error body is, by its codes, statuses and words, the server's hint and `x-should-retry`.
 *
 * `ErrorBody` collects the facts of a body, `ProviderFacts` has their meanings, `RetryHint` reads the wait, and
 * {@link classify} decides. Providers call it through `Classify`.
 *
 * Gotchas: a 429 for a spent quota, a too large request, or a day-long wait is not `RateLimited`. A hint is kept
 * only on errors that waiting helps, also if `x-should-retry: false` forbids the retry; a spent quota keeps a long one.
 * A web page comes from a proxy: its words are not read, and the caller is not blamed for it.
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
 * The target of an attempt, and its secrets.
 *
 * @since 0.1.0
 * @category models
 */
export interface Context {
  /** The name of the provider. */
  readonly provider: string
  /** The model as it was requested. */
  readonly model?: string | undefined
  /** Literal strings that are scrubbed from every message, code and id. Default none. */
  readonly secrets?: ReadonlyArray<string> | undefined
}

/**
 * A response whose headers have arrived.
 *
 * @since 0.1.0
 * @category models
 */
export interface Meta extends Context {
  /** The HTTP status. */
  readonly status: number
  /** The response's headers, names in lower case. */
  readonly headers: RetryHint.Headers
  /** When the response arrived, in epoch milliseconds. */
  readonly now: number
  /** Where the request went: host and path. A 404 that names no model says it. */
  readonly address?: string | undefined
}

/**
 * The context of a stream's events, with or without its response.
 *
 * @since 0.1.0
 * @category models
 */
export interface EventContext extends Context, Partial<Omit<Meta, keyof Context>> {}

/**
 * From this stated wait on, a rate limit is taken for a spent daily quota: 6 hours. Rolling windows of a day (Groq,
 * OpenAI) ask for minutes to a few hours; no open call waits for a quarter of a day.
 *
 * @since 0.1.0
 * @category constants
 */
export const dayLongWait: Duration.Duration = Duration.hours(6)

/** The headers in which providers send the id of a request; the most specific first. */
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

/** After an error of these kinds it is unknown whether the provider ran the request. */
const UNDECIDED: ReadonlyArray<LlmError.Tag> = ["ServerError", "Timeout", "ConnectionError", "InvalidResponse"]

/** The classes by their tags. Not the namespace of the module: bundlers would keep all of it. */
const classes = Object.fromEntries(LlmError.LlmError.members.map((one) => [one._tag, one])) as Pick<
  typeof LlmError,
  ProviderFacts.Kind
>

/**
 * Makes the error of a kind. A `Timeout` gets the phase `attempt`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (kind: ProviderFacts.Kind, fields: LlmError.Fields): LlmError.LlmError => {
  if (kind === "Timeout") return new LlmError.Timeout({ ...fields, phase: "attempt" })
  return new classes[kind](fields)
}

interface Verdict {
  readonly kind: ProviderFacts.Kind
  /** The code that decided, else the first code with a letter, else the first code. */
  readonly code: string | undefined
  /** The status that decided, if no code did: then the words of the message may narrow the kind. */
  readonly byStatus: number | undefined
}

/** The first defined result of `f`. */
const first = <A, B>(items: ReadonlyArray<A>, f: (item: A) => B | undefined): B | undefined => {
  for (const item of items) {
    const found = f(item)
    if (found !== undefined) return found
  }
  return undefined
}

/** Text as the tables of words expect it: lower case, plain apostrophes, folded whitespace, 4,096 characters. */
const normalize = (text: string): string =>
  text
    .slice(0, 4096)
    .toLowerCase()
    .replace(/[\u2018\u2019]/g, "'")
    .replace(/\s+/g, " ")

const judge = (
  { page, messages, params, statuses }: ErrorBody.ErrorBody,
  codes: ReadonlyArray<string>,
  status: number,
  provider: string,
  speaks: boolean
): Verdict => {
  const texts = messages.map(normalize)
  const decisive = first(codes, (code) => {
    const kind = ProviderFacts.ofCode(code, provider)
    return kind && { kind, code }
  })
  const byCode =
    decisive?.kind ?? (status >= 500 && codes.some(ProviderFacts.blamesCaller) ? "InvalidRequest" : undefined)
  const told = first([...statuses, status], (inner) => {
    const kind = ProviderFacts.ofStatus(inner, page, provider)
    return kind && { kind, status: inner }
  })
  const known = byCode ?? told?.kind
  const byStatus = byCode === undefined ? told?.status : undefined
  const kind =
    // a page speaks of the proxy only (`speaks` is false), and a code that names the caller's mistake needs no words
    (speaks && !(decisive?.kind === "InvalidRequest" && /\D/.test(decisive.code))
      ? first(texts, (text) => ProviderFacts.ofWords(text, known, byStatus !== undefined))
      : undefined) ??
    known ??
    first(codes, ProviderFacts.ofWeakCode) ??
    "ServerError"
  const isLongField = kind === "ContextLengthExceeded" && ProviderFacts.isLongField(codes, params, texts[0] ?? "")
  return {
    // a request that is too large does not pass by waiting
    kind: isLongField ? "InvalidRequest" : kind === "RateLimited" && status === 413 ? "ContextLengthExceeded" : kind,
    code: decisive?.code ?? codes.find((code) => !/^\d+$/.test(code)) ?? codes[0],
    byStatus
  }
}

/**
 * The provider's id of a request, from the headers of a response.
 *
 * @since 0.1.0
 * @category getters
 */
export const requestId = (headers: RetryHint.Headers): string | undefined => {
  for (const name of REQUEST_IDS) if (headers[name]) return headers[name]
  return undefined
}

/** Prefers an id in the body to `cf-ray`, which the provider itself does not know. */
const requestIdOf = (headers: RetryHint.Headers, body: ErrorBody.ErrorBody): string | undefined => {
  const id = requestId(headers)
  return id === undefined || id === headers["cf-ray"] ? (body.requestId ?? id) : id
}

const deliveryOf = (kind: LlmError.Tag, status: number, isRefused: boolean): LlmError.Delivery =>
  status < 400 || (UNDECIDED.includes(kind) && status !== 409 && status !== 425 && !isRefused) ? "unknown" : "rejected"

/** Whether the content type of a response is that of a web page. */
export const isPageType = (headers: RetryHint.Headers | undefined): boolean =>
  /^\s*(?:text\/html|application\/xhtml)/i.test(headers?.["content-type"] ?? "")

/** The place to which a redirect points, without its query, which may hold a secret. */
const redirect = (status: number, headers: RetryHint.Headers): string | undefined => {
  const place = status >= 300 && status < 400 ? headers.location?.slice(0, 2048).split(/[?#]/)[0]?.trim() : undefined
  return place ? `${status} redirects to ${place}` : undefined
}

/** What an error overrides of the rule of its class, by its status and words; `x-should-retry` is not known here. */
const exceptions = (
  kind: ProviderFacts.Kind,
  byStatus: number | undefined,
  isPage: boolean,
  codes: ReadonlyArray<string>,
  words: string
): { readonly isLasting: boolean; readonly isElsewhere: boolean } => ({
  isLasting:
    byStatus !== undefined &&
    (kind === "ServerError" || (kind === "ConnectionError" && byStatus < 400)) &&
    ProviderFacts.isLasting(byStatus),
  // the limit of a proxy is not that of the model, and another target may take what this one does not
  isElsewhere:
    (kind === "ContextLengthExceeded" && isPage && byStatus === 413) ||
    (kind === "InvalidRequest" && ProviderFacts.isUnsupported(codes, words))
})

/**
 * The common fields of an error, `delivery` unknown. Message, code and id are scrubbed; unknown values are left out.
 *
 * @since 0.1.0
 * @category constructors
 */
export const fieldsOf = (
  { model, provider, secrets }: Context,
  status: number | undefined,
  message: string,
  code?: string,
  id?: string
): LlmError.Fields => ({
  provider,
  message: ErrorMessage.clean(message, secrets),
  delivery: "unknown",
  ...(model === undefined ? {} : { model }),
  ...(status !== undefined && Number.isInteger(status) ? { status } : {}),
  ...(code ? { code: ErrorMessage.clean(code, secrets, 100) } : {}),
  ...(id ? { requestId: ErrorMessage.clean(id, secrets, 200) } : {})
})

/** A spent quota keeps a hint above this: a wait of a minute is that of another limit, and no credit comes by it. */
const minute = 60_000

/**
 * Whether the hint says when it is worth to come back. The reset headers of rate limits say nothing of credit;
 * `isLimit` tells that a rate limit was taken for the quota.
 */
const isKept = (kind: ProviderFacts.Kind, wait: ReturnType<typeof RetryHint.decide>, isLimit: boolean): boolean =>
  LlmError.rules[kind].retry ||
  (kind === "QuotaExhausted" &&
    wait !== undefined &&
    (wait.stated || isLimit) &&
    Duration.toMillis(wait.duration) > minute)

/**
 * The error of a response, from its status, headers and error body.
 *
 * @since 0.1.0
 * @category deciding
 */
export const classify = (context: Meta, found: ErrorBody.ErrorBody): LlmError.LlmError => {
  const { headers, now, provider, status } = context
  const body = found.text && isPageType(headers) ? { ...found, page: true } : found
  const thrown = headers["x-amzn-errortype"]
  const codes = thrown === undefined ? body.codes : [thrown.split(":")[0] ?? "", ...body.codes]
  const speaks = !found.page && !(body.page && status >= 500)
  const verdict = judge(body, codes, status, provider.toLowerCase(), speaks)
  let kind = verdict.kind
  let wait =
    LlmError.rules[kind].retry || kind === "QuotaExhausted"
      ? RetryHint.decide({ provider, now, headers, fields: body.waits, messages: body.messages, echoed: body.headers })
      : undefined
  const words = normalize(body.messages.join(" "))
  if (kind === "RateLimited") {
    const stated = wait?.stated === true ? Duration.toMillis(wait.duration) : undefined
    if (
      body.quotas.some((quota) => quota === "0" || /per_?day/i.test(quota)) ||
      (stated === undefined ? ProviderFacts.isDaily(words) : stated >= Duration.toMillis(dayLongWait))
    ) {
      kind = "QuotaExhausted"
    }
  } else if (
    kind === "QuotaExhausted" &&
    status === 402 &&
    verdict.byStatus !== undefined &&
    headers["retry-after"] !== undefined &&
    provider.includes("openrouter")
  ) {
    // OpenRouter sends a time with a 402 only while other requests in flight hold the credit
    kind = "RateLimited"
  }
  const { isElsewhere, isLasting } = exceptions(kind, verdict.byStatus, body.page, codes, words)
  const ordered = headers["x-should-retry"]
  const should = ordered === "true" ? true : ordered === "false" || isLasting ? false : undefined
  if (!isKept(kind, wait, verdict.kind === "RateLimited") && should !== true) wait = undefined
  const said =
    redirect(status, headers) ??
    body.messages[0] ??
    (verdict.code?.trim() || (status >= 300 ? ErrorMessage.ofStatus(status) : "an error without a message"))
  // Most often a wrong base URL: the server knows the model, and not the path.
  const isLost = (status === 404 || status === 405) && verdict.byStatus !== undefined && context.address !== undefined
  const message = isLost ? `${ErrorMessage.clean(said, context.secrets, 300)} (at ${context.address})` : said
  const fields: LlmError.Fields = {
    ...fieldsOf(context, status, message, verdict.code, requestIdOf(headers, body)),
    delivery: deliveryOf(kind, status, isLasting && status < 500),
    ...(wait === undefined ? {} : { hint: wait.duration }),
    ...(should === undefined || should === LlmError.rules[kind].retry ? {} : { retryable: should }),
    ...(isElsewhere ? { fallbackable: true } : {})
  }
  if (kind !== "RateLimited") return make(kind, fields)
  const scope = ProviderFacts.scope(`${words} ${codes.join(" ").toLowerCase()}`)
  return new LlmError.RateLimited(scope === undefined ? fields : { ...fields, scope })
}
