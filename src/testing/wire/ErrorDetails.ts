/**
 * Status, type, code and message of each kind of error at OpenAI, Anthropic and Gemini: one table for each provider.
 *
 * The messages are real ones without their ids, so that they test a classifier that reads messages.
 *
 * @since 0.1.0
 */

import type * as Step from "../Step.js"

/**
 * A duration in the notation of Go, as OpenAI and Groq write it: `174ms`, `3.89s`, `1m9.696s`, `7m12s`.
 *
 * @since 0.1.0
 * @category rendering
 */
export const goDuration = (millis: number): string => {
  if (millis > 0 && millis < 1000) return `${millis}ms`
  const hours = Math.floor(millis / 3_600_000)
  const minutes = Math.floor((millis % 3_600_000) / 60_000)
  const seconds = Number(((millis % 60_000) / 1000).toFixed(3))
  return `${hours > 0 ? `${hours}h` : ""}${hours > 0 || minutes > 0 ? `${minutes}m` : ""}${seconds}s`
}

/**
 * The content of an error: OpenAI's `type` and `code`, Anthropic's `type`, Google's `status` as `type`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Details {
  readonly status: number
  readonly type: string
  readonly code?: string | null | undefined
  readonly param?: string | undefined
  readonly message: string
}

const prose = (error: Step.HttpError): string =>
  error.retryAfter !== undefined && (error.form === "native" || error.form === "prose")
    ? ` Please try again in ${goDuration(error.retryAfter)}.`
    : ""

const limits: Readonly<Record<Step.HttpError["scope"], string>> = {
  requests: "on requests per min (RPM): Limit 500, Used 500, Requested 1",
  tokens: "on tokens per min (TPM): Limit 30000, Used 28039, Requested 3906",
  day: "on requests per day (RPD): Limit 200, Used 200, Requested 1"
}

const openAi = (error: Step.HttpError, model: string): Details => {
  const invalid = "invalid_request_error"
  switch (error.kind) {
    case "bad-request":
      return {
        status: 400,
        type: invalid,
        param: "messages",
        message: "Invalid type for 'messages': expected an array."
      }
    case "unauthorized":
      return {
        status: 401,
        type: invalid,
        code: "invalid_api_key",
        message:
          "Incorrect API key provided: sk-proj-********MxYA. " +
          "You can find your API key at https://platform.openai.com/account/api-keys."
      }
    case "payment-required":
      return { status: 402, type: "unknown_error", code: invalid, message: "Insufficient Balance" }
    case "forbidden":
      return {
        status: 403,
        type: "request_forbidden",
        code: "unsupported_country_region_territory",
        message: "Country, region, or territory not supported"
      }
    case "model-not-found":
      return {
        status: 404,
        type: invalid,
        code: "model_not_found",
        message: `The model \`${model}\` does not exist or you do not have access to it.`
      }
    case "timeout":
      return { status: 408, type: "timeout", message: "Request timed out." }
    case "conflict":
      return { status: 409, type: invalid, message: "The resource was changed by another request. Please try again." }
    case "too-large":
      return {
        status: 413,
        type: "tokens",
        code: "rate_limit_exceeded",
        message:
          `Request too large for model \`${model}\` in organization \`org_XXXX\` on tokens per minute (TPM): ` +
          "Limit 6000, Requested 12328, please reduce your message size and try again."
      }
    case "context-length":
      return {
        status: 400,
        type: invalid,
        code: "context_length_exceeded",
        param: "messages",
        message:
          "This model's maximum context length is 128000 tokens. However, your messages resulted in 213462 tokens. " +
          "Please reduce the length of the messages."
      }
    case "content-filter":
      return {
        status: 400,
        type: invalid,
        code: "content_policy_violation",
        message:
          "Your request was rejected as a result of our safety system. " +
          "Your prompt may contain text that is not allowed by our safety system."
      }
    case "unprocessable":
      return { status: 422, type: invalid, param: "temperature", message: "Input should be less than or equal to 2" }
    case "rate-limited":
      return {
        status: 429,
        type: error.scope === "tokens" ? "tokens" : "requests",
        code: "rate_limit_exceeded",
        message:
          `Rate limit reached for ${model} in organization org-XXXX ${limits[error.scope]}.${prose(error)} ` +
          "Visit https://platform.openai.com/account/rate-limits to learn more."
      }
    case "insufficient-quota":
      return {
        status: 429,
        type: "insufficient_quota",
        code: "insufficient_quota",
        message:
          "You exceeded your current quota, please check your plan and billing details. For more information on this " +
          "error, read the docs: https://platform.openai.com/docs/guides/error-codes/api-errors."
      }
    case "overloaded":
      return {
        status: 503,
        type: "service_unavailable_error",
        code: "server_is_overloaded",
        message: `Our servers are currently overloaded. Please try again later.${prose(error)}`
      }
    case "unavailable":
      return {
        status: 503,
        type: "server_error",
        message: `The engine is currently unavailable. Please try again later.${prose(error)}`
      }
    case "server-error":
    case "bad-gateway":
    case "gateway-timeout":
      return {
        status: 500,
        type: "server_error",
        message: "The server had an error while processing your request. Sorry about that!"
      }
  }
}

const anthropic = (error: Step.HttpError, model: string): Details => {
  const invalid = "invalid_request_error"
  switch (error.kind) {
    case "bad-request":
      return { status: 400, type: invalid, message: "messages: Input should be a valid list" }
    case "unauthorized":
      return { status: 401, type: "authentication_error", message: "invalid x-api-key" }
    case "payment-required":
      return { status: 402, type: "billing_error", message: "Your organization has a billing issue." }
    case "forbidden":
      return {
        status: 403,
        type: "permission_error",
        message: "Your API key does not have permission to use the specified resource."
      }
    case "model-not-found":
      return { status: 404, type: "not_found_error", message: `model: ${model}` }
    case "timeout":
      return { status: 408, type: "timeout_error", message: "Request timed out" }
    case "conflict":
      return { status: 409, type: invalid, message: "Conflict" }
    case "too-large":
      return { status: 413, type: "request_too_large", message: "Request exceeds the maximum size" }
    case "context-length":
      return { status: 400, type: invalid, message: "prompt is too long: 213462 tokens > 200000 maximum" }
    case "content-filter":
      return { status: 400, type: invalid, message: "Output blocked by content filtering policy" }
    case "unprocessable":
      return { status: 422, type: invalid, message: "temperature: Input should be less than or equal to 1" }
    case "rate-limited": {
      const limit = error.scope === "tokens" ? "30,000 input tokens per minute" : "50 requests per minute"
      return {
        status: 429,
        type: "rate_limit_error",
        message:
          `This request would exceed your organization's rate limit of ${limit} (org: ` +
          `00000000-0000-0000-0000-000000000000, model: ${model}). For details, refer to: ` +
          "https://docs.claude.com/en/api/rate-limits. You can see the response headers for current usage. Please " +
          "reduce the prompt length or the maximum tokens requested, or try again later." +
          (error.form === "prose" ? prose(error) : "")
      }
    }
    case "insufficient-quota":
      return {
        status: 400,
        type: invalid,
        message:
          "Your credit balance is too low to access the Anthropic API. " +
          "Please go to Plans & Billing to upgrade or purchase credits."
      }
    case "overloaded":
      return { status: 529, type: "overloaded_error", message: "Overloaded" }
    case "gateway-timeout":
      return { status: 504, type: "timeout_error", message: "Request timed out" }
    case "unavailable":
      return { status: 503, type: "api_error", message: "Service temporarily unavailable" }
    case "server-error":
    case "bad-gateway":
      return { status: 500, type: "api_error", message: "Internal server error" }
  }
}

const googleDocs = "For more information on this error, head to: https://ai.google.dev/gemini-api/docs/rate-limits."
const googleQuota = `You exceeded your current quota, please check your plan and billing details. ${googleDocs}`
const googleMetric = "generativelanguage.googleapis.com/generate_content_free_tier_requests"

const gemini = (error: Step.HttpError, model: string): Details => {
  const invalid = "INVALID_ARGUMENT"
  switch (error.kind) {
    case "bad-request":
      return { status: 400, type: invalid, message: 'Invalid JSON payload received. Unknown name "contents".' }
    case "unauthorized":
      return error.status === 401
        ? {
            status: 401,
            type: "UNAUTHENTICATED",
            message:
              "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other " +
              "valid authentication credential."
          }
        : { status: 400, type: invalid, message: "API key not valid. Please pass a valid API key." }
    case "payment-required":
      return { status: 402, type: "FAILED_PRECONDITION", message: "Billing is not enabled for this project." }
    case "forbidden":
      return { status: 403, type: "PERMISSION_DENIED", message: "The caller does not have permission" }
    case "model-not-found":
      return {
        status: 404,
        type: "NOT_FOUND",
        message:
          `models/${model} is not found for API version v1beta, or is not supported for generateContent. ` +
          "Call ListModels to see the list of available models and their supported methods."
      }
    case "timeout":
      return { status: 408, type: "DEADLINE_EXCEEDED", message: "Request timed out." }
    case "conflict":
      return { status: 409, type: "ABORTED", message: "The operation was aborted." }
    case "too-large":
      return { status: 413, type: invalid, message: "Request payload size exceeds the limit: 20971520 bytes." }
    case "context-length":
      return {
        status: 400,
        type: invalid,
        message: "The input token count (3475108) exceeds the maximum number of tokens allowed (1048576)."
      }
    case "content-filter":
      return { status: 400, type: invalid, message: "The request was blocked by the safety filters." }
    case "unprocessable":
      return { status: 422, type: invalid, message: "Invalid value at 'generation_config.temperature'" }
    case "rate-limited": {
      const at =
        error.retryAfter !== undefined && (error.form === "native" || error.form === "prose")
          ? `\nPlease retry in ${error.retryAfter / 1000}s.`
          : ""
      return {
        status: 429,
        type: "RESOURCE_EXHAUSTED",
        message: `${googleQuota}\n* Quota exceeded for metric: ${googleMetric}, limit: 2${at}`
      }
    }
    case "insufficient-quota":
      return {
        status: 429,
        type: "RESOURCE_EXHAUSTED",
        message: `${googleQuota}\n* Quota exceeded for metric: ${googleMetric}, limit: 0`
      }
    case "overloaded":
      return { status: 503, type: "UNAVAILABLE", message: "The model is overloaded. Please try again later." }
    case "unavailable":
      return { status: 503, type: "UNAVAILABLE", message: "The service is currently unavailable." }
    case "gateway-timeout":
      return {
        status: 504,
        type: "DEADLINE_EXCEEDED",
        message: "The request timed out. Please try again."
      }
    case "server-error":
    case "bad-gateway":
      return {
        status: 500,
        type: "INTERNAL",
        message:
          "An internal error has occurred. Please retry or report in " +
          "https://developers.generativeai.google/guide/troubleshooting"
      }
  }
}

const googleType = (name: string) => `type.googleapis.com/google.rpc.${name}`

/**
 * Google's `details`: the quota, the reason, the wait.
 *
 * @since 0.1.0
 * @category tables
 */
export const googleDetails = (error: Step.HttpError, model: string): ReadonlyArray<unknown> => {
  const retryInfo =
    error.retryAfter !== undefined && (error.form === "native" || error.form === "body")
      ? [{ "@type": googleType("RetryInfo"), retryDelay: `${error.retryAfter / 1000}s` }]
      : []
  switch (error.kind) {
    case "unauthorized":
      return error.status === 401
        ? []
        : [
            {
              "@type": googleType("ErrorInfo"),
              reason: "API_KEY_INVALID",
              domain: "googleapis.com",
              metadata: { service: "generativelanguage.googleapis.com" }
            }
          ]
    case "insufficient-quota":
    case "rate-limited": {
      const period = error.scope === "day" || error.kind === "insufficient-quota" ? "Day" : "Minute"
      const unit = error.scope === "tokens" ? "InputTokens" : "Requests"
      return [
        {
          "@type": googleType("QuotaFailure"),
          violations: [
            {
              quotaMetric: googleMetric,
              quotaId: `Generate${unit}Per${period}PerProjectPerModel-FreeTier`,
              quotaDimensions: { location: "global", model },
              quotaValue: error.kind === "insufficient-quota" ? "0" : "2"
            }
          ]
        },
        {
          "@type": googleType("Help"),
          links: [
            {
              description: "Learn more about Gemini API quotas",
              url: "https://ai.google.dev/gemini-api/docs/rate-limits"
            }
          ]
        },
        ...retryInfo
      ]
    }
    default:
      return retryInfo
  }
}

/**
 * The provider's content for an error; a status and message set on the error replace it.
 *
 * @since 0.1.0
 * @category tables
 */
export const detailsOf = (error: Step.HttpError, provider: Step.Provider, model: string): Details => {
  const details = { openai: openAi, anthropic, gemini }[provider](error, model)
  return {
    ...details,
    status: error.status ?? details.status,
    ...(error.message === undefined ? {} : { message: error.message })
  }
}
