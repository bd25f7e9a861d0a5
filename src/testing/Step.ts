/**
 * One step of a script: the reaction of a faulty provider to one request, as plain data that can be compared and
 * printed.
 *
 * `Reply` and `Fault` make steps, `Plan` turns a step and a request into bytes and times. A step does not depend on the
 * wire format: the same `Fault.rateLimited()` is OpenAI's 429 under `/chat/completions` and Google's
 * `RESOURCE_EXHAUSTED` under `:generateContent`.
 *
 * Gotcha: times inside a step are numbers of milliseconds, because a step is data; the constructors take durations.
 *
 * @example
 * import { Fault, Reply, Step } from "effect-steadfast/testing"
 *
 * const steps = [Fault.rateLimited({ retryAfter: "2 seconds" }), Reply.text("hi")]
 * console.log(steps.map(Step.describe)) // ["rate-limited, retry after 2000 ms", "reply \"hi\""]
 *
 * @since 0.1.0
 */

/**
 * The finish reason of an answer; each wire format has its own words for it.
 *
 * @since 0.1.0
 * @category models
 */
export type FinishReason = "stop" | "length" | "tool-calls" | "content-filter"

/**
 * Token counts. A wire format that counts cached or reasoning tokens apart gets the difference.
 *
 * @since 0.1.0
 * @category models
 */
export interface Usage {
  /** Tokens of the prompt, included those read from a cache or written to it. */
  readonly inputTokens: number
  /** Tokens of the answer, reasoning tokens included. */
  readonly outputTokens: number
  /** Tokens of the prompt that were read from a cache. Default 0. */
  readonly cachedTokens?: number | undefined
  /** Tokens of the prompt that were written to a cache. Default 0. */
  readonly cacheWriteTokens?: number | undefined
  /** Those of `cacheWriteTokens` that are kept for an hour. Default 0. Only Anthropic tells. */
  readonly cacheWriteHourTokens?: number | undefined
  /** Tokens of the thoughts. Default: their words. */
  readonly reasoningTokens?: number | undefined
}

/**
 * A part of an answer. `chunks` are the deltas of a stream; joined, they are the whole text.
 *
 * @since 0.1.0
 * @category models
 */
export type Part =
  | { readonly _tag: "Text"; readonly chunks: ReadonlyArray<string> }
  | { readonly _tag: "Reasoning"; readonly chunks: ReadonlyArray<string> }
  | { readonly _tag: "Refusal"; readonly chunks: ReadonlyArray<string> }
  | { readonly _tag: "ToolCall"; readonly id?: string | undefined; readonly name: string; readonly arguments: string }

/**
 * Delays of an answer, in milliseconds. An answer that is not streamed is generated before it is sent, so it waits for
 * the sum of all delays before its headers.
 *
 * @since 0.1.0
 * @category models
 */
export interface Timing {
  /** From the request to the response headers. */
  readonly delay: number
  /** From the headers to the first content of a stream. */
  readonly firstTokenDelay: number
  /** From one content chunk to the next. */
  readonly tokenDelay: number
}

/**
 * An answer of the model, in the wire format of the request.
 *
 * @since 0.1.0
 * @category models
 */
export interface Reply extends Timing {
  readonly _tag: "Reply"
  /** The content, in order. */
  readonly parts: ReadonlyArray<Part>
  /** The finish reason. */
  readonly finish: FinishReason
  /** Token counts; missing counts are counted in words. */
  readonly usage?: Partial<Usage> | undefined
  /** The model that the answer names. Default: the requested model. */
  readonly model?: string | undefined
  /** Additional response headers. */
  readonly headers: Readonly<Record<string, string>>
  /** The size of network pieces in bytes. Default: one piece per frame. */
  readonly fragment?: number | undefined
}

/**
 * A response given byte for byte.
 *
 * @since 0.1.0
 * @category models
 */
export interface Raw extends Timing {
  readonly _tag: "Raw"
  /** The HTTP status. */
  readonly status: number
  /** All response headers. */
  readonly headers: Readonly<Record<string, string>>
  /** The body; its pieces are sent `tokenDelay` apart. */
  readonly pieces: ReadonlyArray<string | Uint8Array>
}

/**
 * The kind of an HTTP error. Each provider has its own status, headers and words for each kind.
 *
 * @since 0.1.0
 * @category models
 */
export type ErrorKind =
  | "bad-request"
  | "unauthorized"
  | "payment-required"
  | "forbidden"
  | "model-not-found"
  | "timeout"
  | "conflict"
  | "too-large"
  | "context-length"
  | "content-filter"
  | "unprocessable"
  | "rate-limited"
  | "insufficient-quota"
  | "server-error"
  | "bad-gateway"
  | "unavailable"
  | "gateway-timeout"
  | "overloaded"

/**
 * The provider that an error imitates.
 *
 * @since 0.1.0
 * @category models
 */
export type Provider = "openai" | "anthropic" | "gemini"

/**
 * The place of the hint in a rate limit error.
 *
 * - `native`: as the provider really does it. OpenAI: `retry-after` (whole seconds, rounded up), `retry-after-ms` and
 *   prose; Anthropic: `retry-after`; Gemini: `RetryInfo` and prose in the body.
 * - `header`: `retry-after` in seconds, with decimals if needed. `header-ms`: `retry-after-ms` alone.
 * - `http-date`: `retry-after` as a date, counted from the response's own `date` header, both in whole seconds.
 * - `body`: `google.rpc.RetryInfo` for Gemini, `error.retry_after` in seconds for the others.
 * - `prose`: in the message only ("Please try again in 1m9.696s").
 * - `reset`: `x-ratelimit-remaining-*: 0` and `x-ratelimit-reset-*` only; no hint at Gemini, which has no such headers.
 *
 * @since 0.1.0
 * @category models
 */
export type HintForm = "native" | "header" | "header-ms" | "http-date" | "body" | "prose" | "reset"

/**
 * An HTTP error response with the provider's own headers and body.
 *
 * @since 0.1.0
 * @category models
 */
export interface HttpError {
  readonly _tag: "HttpError"
  /** The kind of the error. */
  readonly kind: ErrorKind
  /** The status. Default: the provider's own. */
  readonly status?: number | undefined
  /** The provider to imitate. Default: the provider of the request's wire format. */
  readonly provider?: Provider | undefined
  /** The message. Default: the provider's own. */
  readonly message?: string | undefined
  /** The hint in milliseconds. Default none. */
  readonly retryAfter?: number | undefined
  /** The place of the hint. */
  readonly form: HintForm
  /** The limit that was hit. */
  readonly scope: "requests" | "tokens" | "day"
  /** Additional response headers. */
  readonly headers: Readonly<Record<string, string>>
  /** The body. Default: the provider's own. */
  readonly body?: string | undefined
  /** Milliseconds before the response. */
  readonly delay: number
}

/**
 * The connection opens, but no response comes.
 *
 * @since 0.1.0
 * @category models
 */
export interface Hang {
  readonly _tag: "Hang"
}

/**
 * The connection is reset before any header, or cannot be made. On a socket it is a reset for every `code`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Reset {
  readonly _tag: "Reset"
  /** The code of Node's network error. */
  readonly code: string
  /** Milliseconds before the reset. */
  readonly delay: number
}

/**
 * The point at which a body is cut: the earliest of the given points, or the middle of the body without any.
 *
 * @since 0.1.0
 * @category models
 */
export interface CutPoint {
  /** Cut after so many bytes. */
  readonly bytes?: number | undefined
  /** Cut a stream after so many server-sent events. */
  readonly events?: number | undefined
  /** Cut a stream after so many content chunks. */
  readonly tokens?: number | undefined
}

/**
 * The way to declare the length of a cut body. It decides whether a client can notice the cut.
 *
 * - `close`: no length; the end of the connection is the end of the body. The client cannot notice.
 * - `chunked`: chunked and properly ended. The client cannot notice.
 * - `content-length`: the length of the bytes that are sent. The client cannot notice.
 * - `overstated-length`: the length of the whole answer; then the connection closes. The client sees `terminated`.
 *
 * @since 0.1.0
 * @category models
 */
export type Framing = "close" | "chunked" | "content-length" | "overstated-length"

/**
 * A reply with an incomplete body: the connection is reset, ends early, or stalls without an end.
 *
 * @since 0.1.0
 * @category models
 */
export interface Cut {
  readonly _tag: "Cut"
  /** The reply to cut. */
  readonly reply: Reply | Raw
  /** The point of the cut. */
  readonly at: CutPoint
  /** The end of the connection after the cut. */
  readonly ending: "reset" | "end" | "stall"
  /** The way to declare the length. Default `close` for an early end of a body without events, else `chunked`. */
  readonly framing?: Framing | undefined
  /** The interval of pings without content during a stall, in milliseconds. Default: no pings. */
  readonly pings?: number | undefined
}

/**
 * A reply that turns into an error: an error event inside a stream of status 200. A request that does not stream gets
 * status 200 with the error as its body, as from some routers.
 *
 * @since 0.1.0
 * @category models
 */
export interface ErrorEvent {
  readonly _tag: "ErrorEvent"
  /** The kind of the error. */
  readonly kind: ErrorKind
  /** The message. Default: the provider's own. */
  readonly message?: string | undefined
  /** The hint in milliseconds. Default none. */
  readonly retryAfter?: number | undefined
  /** The number of content chunks before the error. */
  readonly afterTokens: number
  /** The reply that the chunks come from. */
  readonly reply: Reply
}

/**
 * Status 200 and a body that is not JSON; inside a proper event if the request streams.
 *
 * @since 0.1.0
 * @category models
 */
export interface Garbage {
  readonly _tag: "Garbage"
  /** Milliseconds before the response. */
  readonly delay: number
}

/**
 * Status 200, the content type of an answer, and no body.
 *
 * @since 0.1.0
 * @category models
 */
export interface Empty {
  readonly _tag: "Empty"
  /** Milliseconds before the response. */
  readonly delay: number
}

/**
 * The reaction to one request.
 *
 * @since 0.1.0
 * @category models
 */
export type Step = Reply | Raw | HttpError | Hang | Reset | Cut | ErrorEvent | Garbage | Empty

/**
 * Describes a step in a few words, for messages of failing tests.
 *
 * @since 0.1.0
 * @category inspection
 */
export const describe = (step: Step): string => {
  switch (step._tag) {
    case "Reply":
      return `reply ${step.parts.map(describePart).join(" + ") || "nothing"}`
    case "Raw":
      return `raw ${step.status} in ${step.pieces.length} piece(s)`
    case "HttpError":
      return (
        `${step.kind}${step.status === undefined ? "" : ` ${step.status}`}` +
        `${step.retryAfter === undefined ? "" : `, retry after ${step.retryAfter} ms`}`
      )
    case "Hang":
      return "hang"
    case "Reset":
      return step.code === "ECONNRESET" ? "reset before headers" : step.code
    case "Cut":
      return `${step.ending} inside ${describe(step.reply)}`
    case "ErrorEvent":
      return `${step.kind} event after ${step.afterTokens} token(s) of ${describe(step.reply)}`
    case "Garbage":
      return "garbage"
    case "Empty":
      return "empty body"
  }
}

const describePart = (part: Part): string =>
  part._tag === "ToolCall" ? `${part.name}(${part.arguments})` : JSON.stringify(part.chunks.join(""))
