/**
 * Faults of a provider, each a {@link Step.Step} for a script.
 *
 * An HTTP error has the headers and the body that the provider of the request's wire format really sends, so a test
 * covers the whole way from bytes to a decision. Transport faults (`hang`, `reset…`, `earlyEnd`, `stall`) behave alike
 * in process and on a socket.
 *
 * Gotchas: the status of a kind depends on the provider (`overloaded` is 529 at Anthropic and 503 elsewhere, a bad key
 * is 400 at Gemini): set `status` in the options to fix it. Faults inside a body cut {@link defaultReply}, unless
 * another reply is given.
 *
 * @example
 * import { Fault, Reply } from "effect-steadfast/testing"
 *
 * Fault.rateLimited({ retryAfter: "2 seconds" })
 * Fault.status(503, { headers: { "retry-after": "1" } })
 * Fault.resetInBody({ tokens: 3, reply: Reply.text("one two three four") })
 *
 * @since 0.1.0
 */

import * as Duration from "effect/Duration"
import * as Reply from "./Reply.js"
import type * as Step from "./Step.js"

/**
 * Settings of every HTTP error.
 *
 * @since 0.1.0
 * @category models
 */
export interface ErrorOptions {
  /** The provider to imitate. Default: the provider of the request's wire format. */
  readonly provider?: Step.Provider | undefined
  /** The status. Default: the provider's own for this error. */
  readonly status?: number | undefined
  /** The message. Default: the provider's own for this error. */
  readonly message?: string | undefined
  /** Additional headers; they replace the provider's own of the same name. */
  readonly headers?: Readonly<Record<string, string>> | undefined
  /** The whole body; a value other than a string is sent as JSON. Default: the provider's own for this error. */
  readonly body?: unknown
  /** The time before the response. Default zero. */
  readonly delay?: Duration.DurationInput | undefined
}

/**
 * Settings of a rate limit.
 *
 * @since 0.1.0
 * @category models
 */
export interface RateLimitOptions extends ErrorOptions {
  /** The server's hint. Default none. */
  readonly retryAfter?: Duration.DurationInput | undefined
  /** The place of the hint in the response. Default `"native"`. */
  readonly form?: Step.HintForm | undefined
  /** The limit that was hit. Default `"requests"`. */
  readonly scope?: Step.HttpError["scope"] | undefined
}

/**
 * The answer that faults inside a body are cut from: nine words, `"The quick brown fox jumps over the lazy dog."`.
 *
 * @since 0.1.0
 * @category constants
 */
export const defaultReply: Step.Reply = Reply.text("The quick brown fox jumps over the lazy dog.")

const millis = (duration: Duration.DurationInput | undefined): number =>
  duration === undefined ? 0 : Duration.toMillis(duration)

/**
 * An HTTP error of the given kind, with the provider's status for it.
 *
 * @since 0.1.0
 * @category HTTP errors
 */
export const error = (kind: Step.ErrorKind, options: RateLimitOptions = {}): Step.HttpError => ({
  _tag: "HttpError",
  kind,
  status: options.status,
  provider: options.provider,
  message: options.message,
  retryAfter: options.retryAfter === undefined ? undefined : Duration.toMillis(options.retryAfter),
  form: options.form ?? "native",
  scope: options.scope ?? "requests",
  headers: options.headers ?? {},
  body: options.body === undefined || typeof options.body === "string" ? options.body : JSON.stringify(options.body),
  delay: millis(options.delay)
})

const kinds: Readonly<Record<number, Step.ErrorKind>> = {
  400: "bad-request",
  401: "unauthorized",
  402: "payment-required",
  403: "forbidden",
  404: "model-not-found",
  408: "timeout",
  409: "conflict",
  413: "too-large",
  422: "unprocessable",
  429: "rate-limited",
  500: "server-error",
  502: "bad-gateway",
  503: "unavailable",
  504: "gateway-timeout",
  529: "overloaded"
}

/**
 * An error with any HTTP status, and the body that belongs to it: 520 to 527 have Cloudflare's HTML pages; a status
 * without a body of its own gets that of a server error (5xx) or a bad request.
 *
 * @since 0.1.0
 * @category HTTP errors
 */
export const status = (code: number, options: RateLimitOptions = {}): Step.HttpError =>
  error(kinds[code] ?? (code >= 520 && code <= 527 ? "bad-gateway" : code >= 500 ? "server-error" : "bad-request"), {
    ...options,
    status: code
  })

/**
 * 429: the rate limit, which passes by waiting.
 *
 * @since 0.1.0
 * @category HTTP errors
 */
export const rateLimited = (options: RateLimitOptions = {}): Step.HttpError => error("rate-limited", options)

/**
 * No credit: 429 `insufficient_quota` (OpenAI), 400 "credit balance is too low" (Anthropic), 429 with `limit: 0`
 * (Gemini).
 *
 * @since 0.1.0
 * @category HTTP errors
 */
export const insufficientQuota = (options: ErrorOptions = {}): Step.HttpError => error("insufficient-quota", options)

/**
 * No capacity: 529 (Anthropic) or 503 (OpenAI, Gemini). `retryAfter` as in {@link rateLimited}.
 *
 * @since 0.1.0
 * @category HTTP errors
 */
export const overloaded = (options: RateLimitOptions = {}): Step.HttpError => error("overloaded", options)

/**
 * A wrong key: 401, at Gemini 400 with `API_KEY_INVALID`.
 *
 * @since 0.1.0
 * @category HTTP errors
 */
export const unauthorized = (options: ErrorOptions = {}): Step.HttpError => error("unauthorized", options)

/**
 * 403: the key is not allowed to do this.
 *
 * @since 0.1.0
 * @category HTTP errors
 */
export const forbidden = (options: ErrorOptions = {}): Step.HttpError => error("forbidden", options)

/**
 * 404: no such model.
 *
 * @since 0.1.0
 * @category HTTP errors
 */
export const modelNotFound = (options: ErrorOptions = {}): Step.HttpError => error("model-not-found", options)

/**
 * 400: the caller's mistake.
 *
 * @since 0.1.0
 * @category HTTP errors
 */
export const badRequest = (options: ErrorOptions = {}): Step.HttpError => error("bad-request", options)

/**
 * 400: the prompt is larger than the model's context window. Some providers send 413: set `status`.
 *
 * @since 0.1.0
 * @category HTTP errors
 */
export const contextLength = (options: ErrorOptions = {}): Step.HttpError => error("context-length", options)

/**
 * 400: moderation refused the request. For an answer that moderation cut, use
 * `Reply.text("", { finish: "content-filter" })`.
 *
 * @since 0.1.0
 * @category HTTP errors
 */
export const contentFilter = (options: ErrorOptions = {}): Step.HttpError => error("content-filter", options)

/**
 * 500: the provider failed.
 *
 * @since 0.1.0
 * @category HTTP errors
 */
export const serverError = (options: ErrorOptions = {}): Step.HttpError => error("server-error", options)

/**
 * 502 with a proxy's HTML page.
 *
 * @since 0.1.0
 * @category HTTP errors
 */
export const badGateway = (options: ErrorOptions = {}): Step.HttpError => error("bad-gateway", options)

/**
 * The provider never answers.
 *
 * @since 0.1.0
 * @category transport faults
 */
export const hang: Step.Hang = { _tag: "Hang" }

/**
 * The connection is reset before any response header, at once or after `delay`.
 *
 * @since 0.1.0
 * @category transport faults
 */
export const resetBeforeHeaders = (
  options: { readonly delay?: Duration.DurationInput | undefined } = {}
): Step.Reset => ({ _tag: "Reset", code: "ECONNRESET", delay: millis(options.delay) })

/**
 * There is no connection: `ECONNREFUSED`, `ENOTFOUND`, `CERT_HAS_EXPIRED`, `UND_ERR_CONNECT_TIMEOUT` or another code,
 * as the `code` of the cause, like in Node. Only in process; on a socket it is a reset.
 *
 * @since 0.1.0
 * @category transport faults
 */
export const noConnection = (
  code: string = "ECONNREFUSED",
  options: { readonly delay?: Duration.DurationInput | undefined } = {}
): Step.Reset => ({ _tag: "Reset", code, delay: millis(options.delay) })

/**
 * A good answer with late headers.
 *
 * @since 0.1.0
 * @category slowness
 */
export const slowHeaders = (delay: Duration.DurationInput, reply: Step.Reply = defaultReply): Step.Reply => ({
  ...reply,
  delay: Duration.toMillis(delay)
})

/**
 * A good answer with prompt headers and late first content.
 *
 * @since 0.1.0
 * @category slowness
 */
export const slowFirstToken = (delay: Duration.DurationInput, reply: Step.Reply = defaultReply): Step.Reply => ({
  ...reply,
  firstTokenDelay: Duration.toMillis(delay)
})

/**
 * A good answer with `delay` between one content chunk and the next; the first is not delayed.
 *
 * @since 0.1.0
 * @category slowness
 */
export const slowTokens = (delay: Duration.DurationInput, reply: Step.Reply = defaultReply): Step.Reply => ({
  ...reply,
  tokenDelay: Duration.toMillis(delay)
})

/**
 * The point of a cut, and the reply to cut. Without a point the reply is cut in the middle.
 *
 * @since 0.1.0
 * @category models
 */
export interface CutOptions extends Step.CutPoint {
  /** The reply to cut. Default {@link defaultReply}. */
  readonly reply?: Step.Reply | Step.Raw | undefined
}

const cut = (
  ending: Step.Cut["ending"],
  options: CutOptions,
  more: Pick<Step.Cut, "framing" | "pings"> = {}
): Step.Cut => ({
  _tag: "Cut",
  reply: options.reply ?? defaultReply,
  at: { bytes: options.bytes, events: options.events, tokens: options.tokens },
  ending,
  ...more
})

/**
 * Status 200 and part of the body; then the connection is reset.
 *
 * @since 0.1.0
 * @category transport faults
 */
export const resetInBody = (options: CutOptions = {}): Step.Cut => cut("reset", options)

/**
 * Status 200, part of the body, and a clean end. `framing` decides whether the client can notice the cut; the defaults,
 * `"chunked"` for a stream of events and `"close"` otherwise, hide it.
 *
 * @since 0.1.0
 * @category transport faults
 */
export const earlyEnd = (options: CutOptions & { readonly framing?: Step.Framing | undefined } = {}): Step.Cut =>
  cut("end", options, { framing: options.framing })

/**
 * Status 200 and part of the body; then no byte and no end. With `pings`, a ping without content is sent at that
 * interval: an Anthropic ping, a comment, or an empty line in a body that is not streamed.
 *
 * @since 0.1.0
 * @category transport faults
 */
export const stall = (options: CutOptions & { readonly pings?: Duration.DurationInput | undefined } = {}): Step.Cut =>
  cut("stall", options, { pings: options.pings === undefined ? undefined : Duration.toMillis(options.pings) })

/**
 * An error event inside a stream of status 200, after `afterTokens` content chunks (default 0: the first event). The
 * hint `retryAfter` is in the body as the provider writes it: in the message, or in `RetryInfo`.
 *
 * @since 0.1.0
 * @category broken answers
 */
export const errorEvent = (
  kind: Step.ErrorKind,
  options: {
    readonly afterTokens?: number | undefined
    readonly message?: string | undefined
    readonly retryAfter?: Duration.DurationInput | undefined
    readonly reply?: Step.Reply | undefined
  } = {}
): Step.ErrorEvent => ({
  _tag: "ErrorEvent",
  kind,
  message: options.message,
  retryAfter: options.retryAfter === undefined ? undefined : Duration.toMillis(options.retryAfter),
  afterTokens: options.afterTokens ?? 0,
  reply: options.reply ?? defaultReply
})

/**
 * Status 200 and a body, or events, that cannot be parsed.
 *
 * @since 0.1.0
 * @category broken answers
 */
export const garbage: Step.Garbage = { _tag: "Garbage", delay: 0 }

/**
 * Status 200 and an empty body.
 *
 * @since 0.1.0
 * @category broken answers
 */
export const emptyBody: Step.Empty = { _tag: "Empty", delay: 0 }

/**
 * An HTML page in place of an answer, such as a login page. Default status 200.
 *
 * @since 0.1.0
 * @category broken answers
 */
export const htmlPage = (options: { readonly status?: number | undefined } = {}): Step.Raw =>
  Reply.raw("<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body><h1>Sign in</h1></body></html>\n", {
    status: options.status,
    headers: { "content-type": "text/html; charset=utf-8" }
  })
