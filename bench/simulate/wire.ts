/** Chat Completions as OpenAI speaks it: what a request says, and how answers and refusals look. */
import * as Bucket from "./bucket.js"

// -----------------------------------------------------------------------------
// requests
// -----------------------------------------------------------------------------

export interface Request {
  readonly url: string
  readonly key: string
  /** The job that it is for: every prompt names its own, see {@link promptOf}. */
  readonly job: number
  readonly streaming: boolean
  readonly promptTokens: number
  readonly maxTokens: number
  readonly signal: AbortSignal | undefined
}

/** The prompt of a job. `length` is in characters. */
export const promptOf = (job: number, length: number): string => `job ${job}: `.padEnd(length, "lorem ipsum ")

/** By OpenAI's rule of thumb. */
const charactersPerToken = 4

/** What an answer is charged for that no `max_tokens` bounds. */
const defaultMaxTokens = 256

const isRecord = (u: unknown): u is Readonly<Record<string, unknown>> => typeof u === "object" && u !== null

const textOf = (content: unknown): string =>
  typeof content === "string"
    ? content
    : Array.isArray(content)
      ? content.map((part) => (isRecord(part) && typeof part.text === "string" ? part.text : "")).join("")
      : ""

const headerOf = (headers: RequestInit["headers"], name: string): string | undefined =>
  headers === undefined
    ? undefined
    : headers instanceof Headers
      ? (headers.get(name) ?? undefined)
      : Array.isArray(headers)
        ? headers.find(([key]) => key?.toLowerCase() === name)?.[1]
        : Object.entries(headers).find(([key]) => key.toLowerCase() === name)?.[1]

const countOf = (value: unknown): number | undefined => (typeof value === "number" ? value : undefined)

/** Reads what a client gave to `fetch`. */
export const readRequest = (input: string | URL | globalThis.Request, init: RequestInit = {}): Request => {
  const { body } = init
  if (input instanceof globalThis.Request || body == null) throw new Error("expected fetch(url, { body })")
  const text = typeof body === "string" ? body : new TextDecoder().decode(body as Uint8Array)
  const json: unknown = JSON.parse(text)
  if (!isRecord(json) || !Array.isArray(json.messages)) throw new Error(`expected a chat completion, found ${text}`)
  const prompt = json.messages.map((message) => textOf(isRecord(message) ? message.content : undefined)).join("\n")
  return {
    url: String(input),
    key: headerOf(init.headers, "authorization")?.replace(/^Bearer /, "") ?? "",
    job: Number(/job (\d+)/.exec(prompt)?.[1] ?? -1),
    streaming: json.stream === true,
    promptTokens: Math.ceil(prompt.length / charactersPerToken),
    maxTokens: countOf(json.max_tokens) ?? countOf(json.max_completion_tokens) ?? defaultMaxTokens,
    signal: init.signal ?? undefined
  }
}

// -----------------------------------------------------------------------------
// answers
// -----------------------------------------------------------------------------

export interface Reply {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

const model = "gpt-4o-mini-2024-07-18"
const created = 1_767_225_600

const usageOf = (promptTokens: number, completionTokens: number): string =>
  `{"prompt_tokens":${promptTokens},"completion_tokens":${completionTokens},"total_tokens":${promptTokens + completionTokens},` +
  '"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":0}}'

export const completion = (job: number, promptTokens: number, completionTokens: number): string =>
  `{"id":"chatcmpl-${job}","object":"chat.completion","created":${created},"model":"${model}","choices":[{"index":0,` +
  `"message":{"role":"assistant","content":"Answer ${job}.","refusal":null,"annotations":[]},"logprobs":null,` +
  `"finish_reason":"stop"}],"usage":${usageOf(promptTokens, completionTokens)},"service_tier":"default"}`

const chunk = (job: number, choices: string, usage = "null"): string =>
  `data: {"id":"chatcmpl-${job}","object":"chat.completion.chunk","created":${created},"model":"${model}",` +
  `"service_tier":"default","choices":[${choices}],"usage":${usage}}\n\n`

const choice = (delta: string, finish = "null"): string =>
  `{"index":0,"delta":${delta},"logprobs":null,"finish_reason":${finish}}`

const encoder = new TextEncoder()

/** The head of a stream with its first word. */
export const firstEvents = (job: number): Uint8Array =>
  encoder.encode(
    chunk(job, choice('{"role":"assistant","content":"","refusal":null}')) +
      chunk(job, choice(`{"content":"Answer ${job}"}`))
  )

/** The rest of it. */
export const lastEvents = (job: number, promptTokens: number, completionTokens: number): Uint8Array =>
  encoder.encode(
    chunk(job, choice('{"content":"."}')) +
      chunk(job, choice("{}", '"stop"')) +
      chunk(job, "", usageOf(promptTokens, completionTokens)) +
      "data: [DONE]\n\n"
  )

export const jsonType = { "content-type": "application/json" }
export const streamType = { "content-type": "text/event-stream; charset=utf-8" }

// -----------------------------------------------------------------------------
// refusals
// -----------------------------------------------------------------------------

const errorBody = (message: string, type: string, code: string | null): string =>
  JSON.stringify({ error: { message, type, param: null, code } })

const error = (status: number, message: string, type: string, code: string | null = null): Reply => ({
  status,
  headers: jsonType,
  body: errorBody(message, type, code)
})

const html = (status: number, title: string): Reply => ({
  status,
  headers: { "content-type": "text/html", server: "cloudflare" },
  body: `<html>\r\n<head><title>${status} ${title}</title></head>\r\n<body>\r\n<center><h1>${status} ${title}</h1></center>\r\n<hr><center>cloudflare</center>\r\n</body>\r\n</html>\r\n`
})

/** What the servers of OpenAI and the proxy before them answer with when they fail. */
export const failures: Readonly<Record<500 | 502 | 503, Reply>> = {
  500: error(
    500,
    "The server had an error while processing your request. Sorry about that! You can retry your request, or contact us through our help center at help.openai.com if the error persists.",
    "server_error"
  ),
  502: html(502, "Bad Gateway"),
  503: {
    status: 503,
    headers: { "content-type": "text/plain" },
    body: "upstream connect error or disconnect/reset before headers. reset reason: connection failure"
  }
}

export const overloaded: Reply = error(
  503,
  "The engine is currently overloaded, please try again later",
  "server_error"
)

export const badKey: Reply = error(
  401,
  "Incorrect API key provided: sk-*****. You can find your API key at https://platform.openai.com/account/api-keys.",
  "invalid_request_error",
  "invalid_api_key"
)

export const noCredit: Reply = error(
  429,
  "You exceeded your current quota, please check your plan and billing details. For more information on this error, read the docs: https://platform.openai.com/docs/guides/error-codes/api-errors.",
  "insufficient_quota",
  "insufficient_quota"
)

/** A 429; `wait` is what its hints say, in milliseconds, `undefined` for a server that gives none. */
export const rateLimited = (what: "requests" | "tokens", bucket: Bucket.Bucket, wait: number | undefined): Reply => {
  const unit = what === "requests" ? "RPM" : "TPM"
  const place = `Rate limit reached for gpt-4o-mini in organization org-1 on ${what} per min (${unit})`
  if (wait === undefined) return error(429, `${place}.`, what, "rate_limit_exceeded")
  const millis = Math.ceil(wait)
  const limit = Bucket.perMinute(bucket.options)
  return {
    status: 429,
    headers: {
      ...jsonType,
      "retry-after-ms": String(millis),
      "retry-after": String(Math.ceil(millis / 1000))
    },
    body: errorBody(
      `${place}: Limit ${limit}, Used ${limit}, Requested 1. Please try again in ${millis}ms.`,
      what,
      "rate_limit_exceeded"
    )
  }
}

/**
 * The time that `x-ratelimit-reset-*` tells: until the limit is full again, as OpenAI's, `20ms`; until one more place is
 * free, in seconds, `0.1s`; or that one rounded up to whole seconds and without a unit, `1`.
 */
export type Reset = "full" | "place" | "place in whole seconds"

const placesOf = (bucket: Bucket.Bucket): number => Math.max(0, Math.floor(bucket.level + 1e-9))

const resetText = (bucket: Bucket.Bucket, reset: Reset): string => {
  if (reset === "full") return `${Math.ceil(Bucket.millisUntilFull(bucket))}ms`
  const next = Math.min(bucket.options.burst, placesOf(bucket) + 1)
  const seconds = Math.ceil(Bucket.millisUntil(bucket, next)) / 1000
  return reset === "place" ? `${seconds}s` : String(Math.ceil(seconds))
}

/**
 * OpenAI's headers about a limit. The limit is told for a minute, as OpenAI does whatever window it enforces; what
 * remains and the time until it is full again are those of the bucket. With `ownWindow` the limit is the bucket's own
 * number. `reset` says another time than the one until it is full: see {@link Reset}.
 */
export const limitHeaders = (
  what: "requests" | "tokens",
  bucket: Bucket.Bucket,
  ownWindow = false,
  reset: Reset = "full"
): Record<string, string> => ({
  [`x-ratelimit-limit-${what}`]: String(ownWindow ? bucket.options.limit : Bucket.perMinute(bucket.options)),
  [`x-ratelimit-remaining-${what}`]: String(placesOf(bucket)),
  [`x-ratelimit-reset-${what}`]: resetText(bucket, reset)
})
