/**
 * The error responses of OpenAI, Anthropic and Gemini: status, headers and body for each kind of error, and the error
 * events of streams. The words are in `ErrorDetails`.
 *
 * Gotchas, all true of the real providers: Gemini answers 400 to a bad key and 429 without credit; Anthropic answers
 * 400 without credit; errors made at the edge (413, 502, 504) are flat JSON or HTML; only OpenAI and Anthropic send a
 * request id.
 *
 * @since 0.1.0
 */

import type * as Step from "../Step.js"
import * as ErrorDetails from "./ErrorDetails.js"
import * as OpenAiChat from "./OpenAiChat.js"
import * as OpenAiResponses from "./OpenAiResponses.js"
import * as Wire from "./Wire.js"

/**
 * An error response.
 *
 * @since 0.1.0
 * @category models
 */
export interface ErrorResponse {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

/**
 * The headers that a provider puts on every response, good or bad.
 *
 * @since 0.1.0
 * @category rendering
 */
export const baseHeaders = (provider: Step.Provider, context: Wire.Context): Record<string, string> => {
  const date = new Date(context.now).toUTCString()
  switch (provider) {
    case "openai":
      return {
        date,
        "x-request-id": Wire.id("req_", context.index),
        "openai-organization": "org-XXXX",
        "openai-processing-ms": "21",
        "openai-version": "2020-10-01"
      }
    case "anthropic":
      return {
        date,
        "request-id": Wire.id("req_", context.index),
        "anthropic-organization-id": "00000000-0000-0000-0000-000000000000"
      }
    case "gemini":
      return { date, "server-timing": "gfet4t7; dur=21" }
  }
}

const resetHeaders = (error: Step.HttpError, provider: Step.Provider, now: number, retryAfter: number) => {
  const unit = error.scope === "tokens" ? "tokens" : "requests"
  switch (provider) {
    case "openai":
      return {
        [`x-ratelimit-limit-${unit}`]: unit === "tokens" ? "30000" : "500",
        [`x-ratelimit-remaining-${unit}`]: "0",
        [`x-ratelimit-reset-${unit}`]: ErrorDetails.goDuration(retryAfter)
      }
    case "anthropic":
      return {
        [`anthropic-ratelimit-${unit}-limit`]: unit === "tokens" ? "30000" : "50",
        [`anthropic-ratelimit-${unit}-remaining`]: "0",
        [`anthropic-ratelimit-${unit}-reset`]: new Date(now + retryAfter).toISOString()
      }
    case "gemini":
      return {}
  }
}

const hintHeaders = (error: Step.HttpError, provider: Step.Provider, now: number): Record<string, string> => {
  const retryAfter = error.retryAfter
  if (retryAfter === undefined) return {}
  const seconds = Math.ceil(retryAfter / 1000)
  switch (error.form) {
    case "native":
      if (provider === "gemini") return {}
      return provider === "anthropic"
        ? { "retry-after": String(seconds) }
        : { "retry-after": String(seconds), "retry-after-ms": String(retryAfter) }
    case "header":
      return { "retry-after": String(retryAfter / 1000) }
    case "header-ms":
      return { "retry-after-ms": String(retryAfter) }
    case "http-date":
      // The date header has whole seconds; counting from it keeps the difference exact.
      return { "retry-after": new Date(Math.floor(now / 1000) * 1000 + seconds * 1000).toUTCString() }
    case "reset":
      return resetHeaders(error, provider, now, retryAfter)
    case "body":
    case "prose":
      return {}
  }
}

const page = (status: number, title: string, server: string): string =>
  `<html>\r\n<head><title>${status} ${title}</title></head>\r\n<body>\r\n<center><h1>${status} ${title}</h1></center>\r\n` +
  `<hr><center>${server}</center>\r\n</body>\r\n</html>\r\n`

const edgeTitles: Readonly<Record<number, string>> = {
  520: "Web server is returning an unknown error",
  521: "Web server is down",
  522: "Connection timed out",
  523: "Origin is unreachable",
  524: "A timeout occurred",
  525: "SSL handshake failed",
  526: "Invalid SSL certificate",
  527: "Railgun error"
}

const edgePage = (error: Step.HttpError, provider: Step.Provider): string | undefined => {
  if (error.kind === "bad-gateway") {
    const status = error.status ?? 502
    const title = edgeTitles[status]
    return title === undefined
      ? page(status, "Bad Gateway", "cloudflare")
      : `<!DOCTYPE html>\n<html class="no-js" lang="en-US">\n<head>\n<title>api.example.com | ${status}: ${title}</title>\n` +
          `<meta charset="UTF-8" />\n</head>\n<body></body>\n</html>\n`
  }
  // Anthropic and Google send JSON; other providers leave this error to their proxy.
  return error.kind === "gateway-timeout" && provider === "openai" ? page(504, "Gateway Time-out", "nginx") : undefined
}

const bodyOf = (error: Step.HttpError, provider: Step.Provider, context: Wire.Context): unknown => {
  const model = context.request.model ?? "unknown"
  const details = ErrorDetails.detailsOf(error, provider, model)
  const hint = error.retryAfter !== undefined && error.form === "body" ? { retry_after: error.retryAfter / 1000 } : {}
  switch (provider) {
    case "openai":
      return {
        error: {
          message: details.message,
          type: details.type,
          param: details.param ?? null,
          code: details.code ?? null,
          ...hint
        }
      }
    case "anthropic": {
      const inner = { type: details.type, message: details.message, ...hint }
      // Made at the edge, before the request has an id.
      return error.kind === "too-large"
        ? { error: inner }
        : { type: "error", error: inner, request_id: Wire.id("req_", context.index) }
    }
    case "gemini": {
      const more = ErrorDetails.googleDetails(error, model)
      return {
        error: {
          code: details.status,
          message: details.message,
          status: details.type,
          ...(more.length === 0 ? {} : { details: more })
        }
      }
    }
  }
}

/**
 * The response that a provider gives for an error.
 *
 * @since 0.1.0
 * @category rendering
 */
export const response = (error: Step.HttpError, context: Wire.Context): ErrorResponse => {
  const provider = error.provider ?? Wire.providerOf(context.request.format)
  const status = ErrorDetails.detailsOf(error, provider, context.request.model ?? "unknown").status
  const html = edgePage(error, provider)
  const hints = hintHeaders(error, provider, context.now)
  if (html !== undefined && error.body === undefined) {
    return {
      status: error.status ?? (error.kind === "bad-gateway" ? 502 : 504),
      headers: {
        date: new Date(context.now).toUTCString(),
        "content-type": "text/html; charset=UTF-8",
        server: "cloudflare",
        ...hints,
        ...error.headers
      },
      body: html
    }
  }
  const json = bodyOf(error, provider, context)
  return {
    status: error.kind === "bad-gateway" ? (error.status ?? 502) : status,
    headers: {
      ...baseHeaders(provider, context),
      "content-type": provider === "gemini" ? "application/json; charset=UTF-8" : "application/json",
      ...hints,
      ...error.headers
    },
    // Google prints its errors over several lines.
    body: error.body ?? (provider === "gemini" ? `${JSON.stringify(json, null, 2)}\n` : JSON.stringify(json))
  }
}

/**
 * The last frames of a stream of status 200 that fails after `sent` events.
 *
 * @since 0.1.0
 * @category rendering
 */
export const streamError = (
  error: Step.HttpError,
  reply: Step.Reply,
  context: Wire.Context,
  sent: number
): ReadonlyArray<Wire.Frame> => {
  const model = context.request.model ?? "unknown"
  switch (context.request.format) {
    case "anthropic": {
      const { message, type } = ErrorDetails.detailsOf(error, "anthropic", model)
      const data = {
        type: "error",
        error: { details: null, type, message },
        request_id: Wire.id("req_", context.index)
      }
      return [Wire.event(data, { name: "error" })]
    }
    case "gemini": {
      // Google writes the bare JSON between events, without `data:`.
      const json = JSON.stringify(bodyOf(error, "gemini", context))
      if (context.request.sse) return [{ data: json, token: false }]
      return [{ data: `${sent === 0 ? "[" : ",\r\n"}${json}]`, token: false }]
    }
    case "openai-responses": {
      const { code, message, param, type } = ErrorDetails.detailsOf(error, "openai", model)
      const failed = OpenAiResponses.response(reply, context, {
        status: "failed",
        error: { code: code ?? type, message }
      })
      return OpenAiResponses.number(
        [
          { type: "error", error: { type, code: code ?? type, message, param: param ?? null } },
          { type: "response.failed", response: failed }
        ],
        sent + (context.kept === undefined ? 0 : context.kept.after + 1)
      )
    }
    default:
      // As captured: `[DONE]` follows the error, though the answer is not complete.
      return [Wire.event(bodyOf(error, "openai", context)), OpenAiChat.done]
  }
}
