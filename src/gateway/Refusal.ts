/**
 * What the gateway itself refuses, before any model is asked. The body is that of every other error, so that each
 * client finds its own error class.
 *
 * @since 0.2.0
 */

import type * as ErrorResponse from "../http/ErrorResponse.js"

/**
 * A refusal: the facts that a client is told.
 *
 * @since 0.2.0
 * @category models
 */
export type Refusal = ErrorResponse.Facts

const make = (
  status: number,
  type: string,
  code: string,
  grpc: string,
  message: string,
  more: { readonly param?: string; readonly seconds?: number } = {}
): Refusal => ({ status, type, code, grpc, message, param: more.param ?? null, seconds: more.seconds })

const invalid = "invalid_request_error"

/** Whole seconds, at least one. */
const secondsOf = (millis: number): number => Math.max(1, Math.ceil(millis / 1000))

/** A name as the client sent it, as far as one wants to read it. */
const quoted = (text: string): string => JSON.stringify(text.length > 100 ? `${text.slice(0, 100)}…` : text)

/**
 * The key is missing or unknown.
 *
 * @since 0.2.0
 * @category constructors
 */
export const unauthorized = (isShown: boolean): Refusal =>
  make(
    401,
    "authentication_error",
    "invalid_api_key",
    "UNAUTHENTICATED",
    isShown ? "this key is not known here" : "a key is needed: authorization: Bearer KEY, or x-api-key"
  )

/**
 * The client may not ask this model.
 *
 * @since 0.2.0
 * @category constructors
 */
export const notAllowed = (what: string): Refusal =>
  make(403, "permission_error", "not_allowed", "PERMISSION_DENIED", `this key may not use ${quoted(what)}`, {
    param: "model"
  })

/**
 * A gateway without keys serves this machine alone.
 *
 * @since 0.2.0
 * @category constants
 */
export const foreign: Refusal = make(
  403,
  "permission_error",
  "not_allowed",
  "PERMISSION_DENIED",
  "without client keys this gateway serves programs of its own machine, at 127.0.0.1 or localhost; see server.open"
)

/**
 * No model has this name.
 *
 * @since 0.2.0
 * @category constructors
 */
export const unknownModel = (name: string, known: ReadonlyArray<string>): Refusal => {
  const some = known.length > 8 ? [...known.slice(0, 8), "…"] : known
  return make(
    404,
    "not_found_error",
    "model_not_found",
    "NOT_FOUND",
    `model: found ${quoted(name)}, expected one of ${some.join(", ") || "none, there are no models for this key"}`,
    { param: "model" }
  )
}

/**
 * Nothing is served at this path. A query is not said again: it may hold a key.
 *
 * @since 0.2.0
 * @category constructors
 */
export const unknownPath = (method: string, url: string): Refusal =>
  make(
    404,
    "not_found_error",
    "unknown_path",
    "NOT_FOUND",
    `nothing is served at ${method} ${quoted(url.split("?", 1)[0] ?? "")}; there are /v1/chat/completions, ` +
      "/v1/responses, /v1/messages, /v1/embeddings, /v1/models, /api/chat and /v2/chat"
  )

/**
 * @since 0.2.0
 * @category constructors
 */
export const wrongMethod = (method: string, allowed: string): Refusal =>
  make(405, invalid, "method_not_allowed", "UNIMPLEMENTED", `method: found ${method}, expected ${allowed}`)

/**
 * @since 0.2.0
 * @category constructors
 */
export const tooLarge = (maxBytes: number): Refusal =>
  make(
    413,
    "request_too_large",
    "request_too_large",
    "INVALID_ARGUMENT",
    `body: found more than ${maxBytes} bytes, expected at most that many`
  )

/**
 * The body or a header cannot be read. `found` says why, and nothing that was said.
 *
 * @since 0.2.0
 * @category constructors
 */
export const unreadable = (message: string): Refusal =>
  make(400, invalid, "invalid_request", "INVALID_ARGUMENT", message, { param: "body" })

/**
 * A limit of the client's own key is reached.
 *
 * @since 0.2.0
 * @category constructors
 */
export const limited = (message: string, waitMillis: number): Refusal =>
  make(429, "rate_limit_error", "rate_limit_exceeded", "RESOURCE_EXHAUSTED", message, {
    seconds: secondsOf(waitMillis)
  })

/**
 * A client with a limit of money asks for what has no known price.
 *
 * @since 0.2.0
 * @category constructors
 */
export const uncounted = (path: string): Refusal =>
  make(
    403,
    "permission_error",
    "no_price",
    "PERMISSION_DENIED",
    `${path} has no known price, and this key has a limit of money`
  )

/**
 * The gateway has as much to do as it may.
 *
 * @since 0.2.0
 * @category constants
 */
export const busy: Refusal = make(
  503,
  "overloaded_error",
  "gateway_busy",
  "UNAVAILABLE",
  "this gateway has as many requests as it may have",
  { seconds: 1 }
)

/**
 * No provider of the configuration serves this.
 *
 * @since 0.2.0
 * @category constructors
 */
export const notServed = (message: string): Refusal => make(404, "not_found_error", "not_served", "NOT_FOUND", message)
