/**
 * One step of a script: what a faulty provider does with one request, as plain data that can be compared and printed.
 *
 * `Reply` and `Fault` make steps, `Plan` turns a step and a request into bytes and times. A step says what happens and
 * not in which wire format: the same `Fault.rateLimited()` is OpenAI's 429 under `/chat/completions` and Google's
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
 * Why an answer ended, in the words of the chat completions protocol; each wire format has its own word for it.
 *
 * @since 0.1.0
 * @category models
 */
export type FinishReason = "stop" | "length" | "tool-calls" | "content-filter"

/**
 * Token counts. `inputTokens` includes the cached ones and `outputTokens` the reasoning ones; where a format counts
 * them apart, they are taken off on the wire.
 *
 * @since 0.1.0
 * @category models
 */
export interface Usage {
  readonly inputTokens: number
  readonly outputTokens: number
  readonly cachedTokens?: number | undefined
  readonly reasoningTokens?: number | undefined
}

/**
 * One piece of an answer. `chunks` are the deltas of a stream; joined, they are the whole.
 *
 * @since 0.1.0
 * @category models
 */
export type Part =
  | { readonly _tag: "Text"; readonly chunks: ReadonlyArray<string> }
  | { readonly _tag: "Reasoning"; readonly chunks: ReadonlyArray<string> }
  | { readonly _tag: "ToolCall"; readonly id?: string | undefined; readonly name: string; readonly arguments: string }

/**
 * When the pieces of an answer come, in milliseconds.
 *
 * - `delay`: from the request to the response headers.
 * - `firstTokenDelay`: from the headers to the first content of a stream.
 * - `tokenDelay`: from one content chunk to the next.
 *
 * An answer that is not streamed is generated before it is sent, so it takes the sum of all three before its headers.
 *
 * @since 0.1.0
 * @category models
 */
export interface Timing {
  readonly delay: number
  readonly firstTokenDelay: number
  readonly tokenDelay: number
}

/**
 * A whole answer of the model, in whatever format the request speaks.
 *
 * @since 0.1.0
 * @category models
 */
export interface Reply extends Timing {
  readonly _tag: "Reply"
  readonly parts: ReadonlyArray<Part>
  readonly finish: FinishReason
  readonly usage?: Partial<Usage> | undefined
  readonly model?: string | undefined
  readonly headers: Readonly<Record<string, string>>
  readonly fragment?: number | undefined
}

/**
 * A response given byte for byte: `pieces` are written one after the other, `tokenDelay` apart.
 *
 * @since 0.1.0
 * @category models
 */
export interface Raw extends Timing {
  readonly _tag: "Raw"
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly pieces: ReadonlyArray<string | Uint8Array>
}

/**
 * What an error is about. Each provider has its own status, headers and words for each.
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
 * Whose words an error uses. Without one, the request's path decides.
 *
 * @since 0.1.0
 * @category models
 */
export type Provider = "openai" | "anthropic" | "gemini"

/**
 * Where a rate limit error says when to come back.
 *
 * - `native`: as this provider really does it. OpenAI: `retry-after` (whole seconds, rounded up), `retry-after-ms` and
 *   prose; Anthropic: `retry-after`; Gemini: `RetryInfo` and prose in the body.
 * - `header`: `retry-after` in seconds, decimal where the duration is. `header-ms`: `retry-after-ms` alone.
 * - `http-date`: `retry-after` as a date, counted from the response's own `date` header, both in whole seconds.
 * - `body`: `google.rpc.RetryInfo` for Gemini, `error.retry_after` in seconds for the others.
 * - `prose`: in the message only ("Please try again in 1m9.696s").
 * - `reset`: `x-ratelimit-remaining-*: 0` and `x-ratelimit-reset-*` only; Gemini has no such headers and says nothing.
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
  readonly kind: ErrorKind
  readonly status?: number | undefined
  readonly provider?: Provider | undefined
  readonly message?: string | undefined
  readonly retryAfter?: number | undefined
  readonly form: HintForm
  readonly scope: "requests" | "tokens" | "day"
  readonly headers: Readonly<Record<string, string>>
  readonly body?: string | undefined
  readonly delay: number
}

/**
 * The connection opens and nothing ever comes back.
 *
 * @since 0.1.0
 * @category models
 */
export interface Hang {
  readonly _tag: "Hang"
}

/**
 * The connection is reset before any header, after `delay` milliseconds; or there never was one: `code` says why. On a
 * socket it is a reset whatever the code.
 *
 * @since 0.1.0
 * @category models
 */
export interface Reset {
  readonly _tag: "Reset"
  readonly code: string
  readonly delay: number
}

/**
 * Where a body is cut. The smallest that applies wins; without any, it is cut in the middle.
 *
 * - `bytes`: after that many bytes of body.
 * - `events`: after that many server-sent events. `tokens`: after that many content chunks. Both only cut streams.
 *
 * @since 0.1.0
 * @category models
 */
export interface CutPoint {
  readonly bytes?: number | undefined
  readonly events?: number | undefined
  readonly tokens?: number | undefined
}

/**
 * How the length of a cut body is declared, and so whether a client can see that it was cut.
 *
 * - `close`: no length, the end of the connection is the end of the body. The cut is invisible.
 * - `chunked`: chunked and properly ended. Invisible.
 * - `content-length`: the length of what is sent, too short for the answer. Invisible.
 * - `overstated-length`: the length of the whole answer, and then the connection closes: a client sees `terminated`.
 *
 * @since 0.1.0
 * @category models
 */
export type Framing = "close" | "chunked" | "content-length" | "overstated-length"

/**
 * A reply whose body does not arrive whole: it is reset, ends early, or stops moving without an end. With `pings`, in
 * milliseconds, what has stalled still sends signs of life that carry nothing.
 *
 * @since 0.1.0
 * @category models
 */
export interface Cut {
  readonly _tag: "Cut"
  readonly reply: Reply | Raw
  readonly at: CutPoint
  readonly ending: "reset" | "end" | "stall"
  readonly framing?: Framing | undefined
  readonly pings?: number | undefined
}

/**
 * A reply that turns into an error after `afterTokens` content chunks: an error event inside a stream of status 200. A
 * request that does not stream gets status 200 with the error as its body, as some routers do.
 *
 * @since 0.1.0
 * @category models
 */
export interface ErrorEvent {
  readonly _tag: "ErrorEvent"
  readonly kind: ErrorKind
  readonly message?: string | undefined
  readonly retryAfter?: number | undefined
  readonly afterTokens: number
  readonly reply: Reply
}

/**
 * Status 200 and a body that is not what it says: bytes that no JSON parser reads, inside proper events where the
 * request streams.
 *
 * @since 0.1.0
 * @category models
 */
export interface Garbage {
  readonly _tag: "Garbage"
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
  readonly delay: number
}

/**
 * What is done with one request.
 *
 * @since 0.1.0
 * @category models
 */
export type Step = Reply | Raw | HttpError | Hang | Reset | Cut | ErrorEvent | Garbage | Empty

/**
 * A step in a few words, for messages of failing tests.
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
