/**
 * What a client is told of an error: `LlmError` -> status, headers and body.
 *
 * The status makes the right error class in the clients of every provider, and the headers keep them from repeating
 * what was already retried here. One body serves all dialects but Ollama's, whose clients read `error` as a text; only
 * Gemini and OpenRouter want a number as its code.
 *
 * Gotchas:
 * - Our own key that the provider refuses is a 500, not a 401: a client must not take its own key for wrong.
 * - The provider's text is shown only for mistakes of the caller, because other messages name accounts and hosts.
 *   `verbose` shows all.
 * - `retry-after` is sent only from 1 to 60 seconds: some clients sleep an hour without asking anybody. A longer wait
 *   stands in `x-steadfast-retry-after` and in the body.
 *
 * @example
 * import { LlmError } from "effect-steadfast"
 * import { ErrorResponse } from "effect-steadfast/http"
 *
 * const error = new LlmError.Timeout({ provider: "openai", message: "too late", phase: "total", delivery: "unknown" })
 * const { status } = ErrorResponse.make(error) // 504
 *
 * @since 0.2.0
 */

import * as Duration from "effect/Duration"
import type * as LlmError from "../errors/LlmError.js"
import type { Dialect } from "./Dialect.js"
import type { Sdk } from "./Sdk.js"

/**
 * What is told of an error.
 *
 * @since 0.2.0
 * @category models
 */
export interface Told {
  readonly status: number
  /** The type, in Anthropic's words, which OpenAI's clients take as they are. */
  readonly type: string
  readonly code: string
  /** The status in the words of Google's APIs. */
  readonly grpc: string
  /** `undefined` shows the error's own message. */
  readonly message: string | undefined
  /** Whether another try helps after the wait that the error names. */
  readonly waits: boolean
}

/** A row of the table. */
const row = (
  status: number,
  type: string,
  code: string,
  grpc: string,
  message?: string | undefined,
  waits = false
): Told => ({ status, type, code, grpc, message, waits })

const invalid = "invalid_request_error"

/**
 * What is told of each tag; `spent` is for a budget of money, tokens or attempts, `unpriced` for what has no price.
 *
 * @since 0.2.0
 * @category constants
 */
export const table: { readonly [K in LlmError.Tag | "spent" | "unpriced"]: Told } = {
  RateLimited: row(
    429,
    "rate_limit_error",
    "rate_limit_exceeded",
    "RESOURCE_EXHAUSTED",
    "the rate limit of the provider is reached",
    true
  ),
  QuotaExhausted: row(
    429,
    "rate_limit_error",
    "insufficient_quota",
    "RESOURCE_EXHAUSTED",
    "the quota of this service at the provider is used up"
  ),
  Overloaded: row(503, "overloaded_error", "overloaded", "UNAVAILABLE", "the provider is overloaded", true),
  ServerError: row(502, "api_error", "upstream_error", "INTERNAL", "the provider failed"),
  Timeout: row(504, "timeout_error", "timeout", "DEADLINE_EXCEEDED", "the answer took too long"),
  ConnectionError: row(502, "api_error", "upstream_unreachable", "INTERNAL", "the provider cannot be reached"),
  // Not 401 or 403: the key is ours, and nothing that the client changes helps. Of the 5xx, 500 is asked least often.
  AuthError: row(500, "api_error", "upstream_key_refused", "INTERNAL", "the provider refused the key of this service"),
  // Nobody repeats a 403, and another model may be permitted.
  PermissionDenied: row(
    403,
    "permission_error",
    "upstream_permission_denied",
    "PERMISSION_DENIED",
    "the provider does not permit this service to do that"
  ),
  ModelNotFound: row(404, "not_found_error", "model_not_found", "NOT_FOUND", "the model is not known"),
  ContextLengthExceeded: row(400, invalid, "context_length_exceeded", "INVALID_ARGUMENT"),
  ContentFiltered: row(400, invalid, "content_filter", "INVALID_ARGUMENT"),
  InvalidRequest: row(400, invalid, "invalid_request", "INVALID_ARGUMENT"),
  InvalidResponse: row(502, "api_error", "invalid_upstream_response", "INTERNAL", "the provider's answer is no answer"),
  StreamInterrupted: row(502, "api_error", "stream_interrupted", "INTERNAL", "the answer broke off"),
  CircuitOpen: row(503, "overloaded_error", "circuit_open", "UNAVAILABLE", "the provider is not asked now", true),
  // An empty retry budget fills again.
  BudgetExceeded: row(503, "overloaded_error", "retry_budget_empty", "UNAVAILABLE", "the provider fails too often"),
  spent: row(
    429,
    "rate_limit_error",
    "insufficient_quota",
    "RESOURCE_EXHAUSTED",
    "the budget of this service is used up"
  ),
  // Nothing is used up, and no time mends it: nobody repeats a 403.
  unpriced: row(
    403,
    "permission_error",
    "no_price",
    "PERMISSION_DENIED",
    "the model has no known price, and money is limited"
  )
}

/** Anthropic's own status for an overload; its clients treat it as they do 503. */
const overloaded = 529

/** The longest `retry-after`: what some clients do with a longer one is worse than an error. */
const maxRetryAfter = 60

const errorInfo = "type.googleapis.com/google.rpc.ErrorInfo"

/** The field that a message of a request's decoder begins with. */
const field = /^([A-Za-z_][\w.[\]-]{0,199}): found /

/**
 * The options of {@link make}.
 *
 * @since 0.2.0
 * @category options
 */
export interface Options {
  /** The dialect of the client. Default `"openai"`, whose body all but the clients of Gemini and Ollama understand. */
  readonly dialect?: Dialect | undefined
  /** The id of the request in our logs. */
  readonly requestId?: string | undefined
  /** Whether the client sees what the provider said, which may name accounts and hosts. Default `false`. */
  readonly verbose?: boolean | undefined
  /**
   * The client, if it has a need of its own.
   *
   * @internal
   */
  readonly sdk?: Sdk | undefined
}

/**
 * A response to a client.
 *
 * @since 0.2.0
 * @category models
 */
export interface ErrorResponse {
  readonly status: number
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>
  /** The body, to be sent as JSON. */
  readonly body: Readonly<Record<string, unknown>>
}

/**
 * The facts that are told of an error.
 *
 * @internal
 */
export interface Facts {
  readonly status: number
  readonly type: string
  readonly code: string
  readonly grpc: string
  readonly message: string
  readonly param: string | null
  /** The seconds to wait, if another try helps then. */
  readonly seconds: number | undefined
}

const rowOf = (error: LlmError.LlmError): Told => {
  if (error._tag !== "BudgetExceeded" || error.budget === "retry") return table[error._tag]
  return table[error.code === "no_price" ? "unpriced" : "spent"]
}

/**
 * The facts that are told of an error.
 *
 * @internal
 */
export const factsOf = (error: LlmError.LlmError, { dialect = "openai", verbose = false }: Options = {}): Facts => {
  const told = rowOf(error)
  const { code, grpc, type, waits } = told
  const wait = error.hint === undefined ? 0 : Math.ceil(Duration.toSeconds(error.hint))
  return {
    status: dialect === "anthropic" && error._tag === "Overloaded" ? overloaded : told.status,
    type,
    code,
    grpc,
    message: told.message === undefined || verbose ? error.message : told.message,
    param: error._tag === "InvalidRequest" ? (field.exec(error.message)?.[1] ?? null) : null,
    seconds: waits && wait >= 1 && Number.isSafeInteger(wait) ? wait : undefined
  }
}

/** What is told of a defect, which is a bug of this service. */
const defect: Facts = {
  status: 500,
  type: "api_error",
  code: "internal_error",
  grpc: "INTERNAL",
  message: "this service failed",
  param: null,
  seconds: undefined
}

const bodyOf = (facts: Facts, { dialect = "openai", requestId, sdk }: Options): ErrorResponse["body"] => {
  const { code, grpc, message, param, seconds, status, type } = facts
  if (dialect === "ollama" || dialect === "ollama-generate") return { error: message }
  const id = requestId === undefined ? undefined : { request_id: requestId }
  return {
    type: "error",
    message,
    ...id,
    error: {
      type,
      message,
      param,
      code: dialect === "gemini" || sdk === "openrouter" ? status : code,
      status: grpc,
      ...(seconds === undefined ? {} : { retry_after: seconds }),
      // Where the code is a number, Google's APIs tell the word for it so.
      ...(dialect === "gemini" ? { details: [{ "@type": errorInfo, reason: code.toUpperCase() }] } : {})
    }
  }
}

/**
 * The response for facts that are no error of a model.
 *
 * @internal
 */
export const ofFacts = (facts: Facts, options: Options): ErrorResponse => {
  const { seconds, status } = facts
  const { requestId, sdk } = options
  return {
    status: sdk === "huggingface" && status === 503 ? overloaded : status,
    headers: {
      "content-type": "application/json",
      "x-should-retry": "false",
      ...(requestId === undefined ? {} : { "x-request-id": requestId }),
      ...(seconds === undefined ? {} : { "x-steadfast-retry-after": String(seconds) }),
      ...(seconds === undefined || seconds > maxRetryAfter ? {} : { "retry-after": String(seconds) })
    },
    body: bodyOf(facts, options)
  }
}

/**
 * The response to a client for an error.
 *
 * @since 0.2.0
 * @category constructors
 */
export const make = (error: LlmError.LlmError, options: Options = {}): ErrorResponse =>
  ofFacts(factsOf(error, options), options)

/**
 * The response to a client for a defect, which is told nothing of.
 *
 * @since 0.2.0
 * @category constructors
 */
export const internal = (options: Options = {}): ErrorResponse => ofFacts(defect, options)
