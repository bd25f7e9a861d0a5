/**
 * Turns a step and a request into a plan of the response: a status, headers, timed pieces of body, and an ending. Pure.
 *
 * The faulty provider in process and the one on a socket follow the same plan.
 *
 * Gotcha: `at` counts from the headers, not from the previous piece, so a slow reader does not make the provider slow.
 *
 * @since 0.1.0
 */

import * as Fault from "./Fault.js"
import type * as Step from "./Step.js"
import * as AnthropicMessages from "./wire/AnthropicMessages.js"
import * as Embeddings from "./wire/Embeddings.js"
import * as ErrorBodies from "./wire/ErrorBodies.js"
import * as GeminiContent from "./wire/GeminiContent.js"
import * as ModelList from "./wire/ModelList.js"
import * as OpenAiChat from "./wire/OpenAiChat.js"
import * as OpenAiResponses from "./wire/OpenAiResponses.js"
import * as Wire from "./wire/Wire.js"

/**
 * Some bytes, or text, of a body.
 *
 * @since 0.1.0
 * @category models
 */
export interface Piece {
  /** The time of sending, in milliseconds after the headers. */
  readonly at: number
  /** The bytes, or text that is sent as UTF-8. */
  readonly data: string | Uint8Array
}

/**
 * The response to one request.
 *
 * @since 0.1.0
 * @category models
 */
export interface Plan {
  /** Milliseconds from the request to the headers, or to the ending if there is no `head`. */
  readonly wait: number
  /** Status and headers; `undefined` if the connection hangs or is reset before them. */
  readonly head: { readonly status: number; readonly headers: Readonly<Record<string, string>> } | undefined
  /** The body, in order of time. */
  readonly pieces: ReadonlyArray<Piece>
  /** A proper end, a reset, or silence. */
  readonly ending: "end" | "reset" | "stall"
  /** The way to declare the length of the body. */
  readonly framing: Step.Framing
  /** The length of the whole body in bytes for the framing `overstated-length`, else 0. */
  readonly whole: number
  /** A ping for a stall: `data`, sent every `every` milliseconds. */
  readonly pulse?: { readonly every: number; readonly data: string } | undefined
  /** The code of Node's network error if there is no response. */
  readonly code?: string | undefined
}

interface Body {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly wait: number
  readonly pieces: ReadonlyArray<Piece & { readonly token: boolean }>
  readonly stream: boolean
}

const renderers: Readonly<Record<Wire.Format, Wire.Renderer>> = {
  "openai-chat": OpenAiChat.renderer,
  "openai-responses": OpenAiResponses.renderer,
  anthropic: AnthropicMessages.renderer,
  gemini: GeminiContent.renderer,
  "openai-embeddings": Embeddings.openAi,
  "gemini-embeddings": Embeddings.gemini,
  "openai-models": ModelList.openAi,
  "anthropic-models": ModelList.anthropic,
  "gemini-models": ModelList.gemini
}

const encoder = new TextEncoder()
const bytesOf = (data: string | Uint8Array): Uint8Array => (typeof data === "string" ? encoder.encode(data) : data)
const sizeOf = (pieces: ReadonlyArray<Piece>): number =>
  pieces.reduce((sum, piece) => sum + bytesOf(piece.data).length, 0)

const contentType = (request: Wire.WireRequest): string => {
  if (request.sse) return request.format === "gemini" ? "text/event-stream" : "text/event-stream; charset=utf-8"
  return Wire.providerOf(request.format) === "gemini" ? "application/json; charset=UTF-8" : "application/json"
}

const headersOf = (context: Wire.Context): Record<string, string> => ({
  ...ErrorBodies.baseHeaders(Wire.providerOf(context.request.format), context),
  "content-type": contentType(context.request)
})

/**
 * Gives each frame its time: the first token after `firstTokenDelay`, each further token `tokenDelay` later. A frame
 * without content is sent together with the frame before it.
 */
const schedule = (frames: ReadonlyArray<Wire.Frame>, timing: Step.Timing): Body["pieces"] => {
  let at = 0
  let tokens = 0
  return frames.map((frame) => {
    if (frame.token) {
      at += tokens === 0 ? timing.firstTokenDelay : timing.tokenDelay
      tokens += 1
    }
    return { at, data: frame.data, token: frame.token }
  })
}

const replyBody = (reply: Step.Reply, context: Wire.Context, renderer: Wire.Renderer): Body => {
  const headers = { ...headersOf(context), ...reply.headers }
  if (context.request.stream) {
    const pieces = schedule(renderer.frames(reply, context), reply)
    return { status: 200, headers, wait: reply.delay, pieces, stream: true }
  }
  const chunks = reply.parts.reduce((sum, part) => sum + (part._tag === "ToolCall" ? 1 : part.chunks.length), 0)
  const writing = chunks === 0 ? 0 : reply.firstTokenDelay + (chunks - 1) * reply.tokenDelay
  const data = JSON.stringify(renderer.json(reply, context))
  return { status: 200, headers, wait: reply.delay + writing, pieces: [{ at: 0, data, token: true }], stream: false }
}

const rawBody = (raw: Step.Raw): Body => ({
  status: raw.status,
  headers: raw.headers,
  wait: raw.delay,
  pieces: raw.pieces.map((data, i) => ({ at: raw.firstTokenDelay + i * raw.tokenDelay, data, token: true })),
  stream: raw.pieces.length > 1
})

const body = (step: Step.Reply | Step.Raw, context: Wire.Context, renderer: Wire.Renderer): Body =>
  step._tag === "Raw" ? rawBody(step) : replyBody(step, context, renderer)

const cutBytes = (pieces: Body["pieces"], bytes: number): Body["pieces"] => {
  const kept: Array<Body["pieces"][number]> = []
  let left = bytes
  for (const piece of pieces) {
    if (left <= 0) break
    const data = bytesOf(piece.data)
    kept.push(data.length <= left ? piece : { ...piece, data: data.subarray(0, left) })
    left -= data.length
  }
  return kept
}

const cutTokens = (pieces: Body["pieces"], tokens: number): Body["pieces"] => {
  if (tokens <= 0) {
    const first = pieces.findIndex((piece) => piece.token)
    return first === -1 ? pieces : pieces.slice(0, first)
  }
  let seen = 0
  const end = pieces.findIndex((piece) => piece.token && ++seen === tokens)
  return end === -1 ? pieces : pieces.slice(0, end + 1)
}

const cutAt = (whole: Body, at: Step.CutPoint): Body["pieces"] => {
  const { pieces, stream } = whole
  const cuts = [
    ...(at.bytes === undefined ? [] : [cutBytes(pieces, at.bytes)]),
    ...(at.events === undefined || !stream ? [] : [pieces.slice(0, at.events)]),
    ...(at.tokens === undefined || !stream ? [] : [cutTokens(pieces, at.tokens)])
  ]
  if (cuts.length === 0) {
    return stream
      ? cutTokens(pieces, Math.floor(pieces.filter((piece) => piece.token).length / 2))
      : cutBytes(pieces, Math.floor(sizeOf(pieces) / 2))
  }
  return cuts.reduce((smallest, cut) => (sizeOf(cut) < sizeOf(smallest) ? cut : smallest))
}

const fragment = (pieces: ReadonlyArray<Piece>, size: number): ReadonlyArray<Piece> =>
  pieces.flatMap(({ at, data }) => {
    const bytes = bytesOf(data)
    return Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) => ({
      at,
      data: bytes.subarray(i * size, (i + 1) * size)
    }))
  })

const answer = (whole: Body, options: Partial<Plan> = {}): Plan => ({
  wait: whole.wait,
  head: { status: whole.status, headers: whole.headers },
  pieces: whole.pieces,
  ending: "end",
  framing: whole.stream ? "chunked" : "content-length",
  whole: 0,
  ...options
})

const silence = (wait: number, ending: "reset" | "stall", code?: string): Plan => ({
  wait,
  head: undefined,
  pieces: [],
  ending,
  framing: "close",
  whole: 0,
  code
})

const ping = (request: Wire.WireRequest): string => {
  // Whitespace is allowed before, between and after the values of a JSON body.
  if (!request.sse) return "\n"
  return request.format === "anthropic" ? AnthropicMessages.ping.data : ": keep-alive\n\n"
}

const single = (status: number, headers: Readonly<Record<string, string>>, data: string, wait: number): Plan => ({
  wait,
  head: { status, headers },
  pieces: data === "" ? [] : [{ at: 0, data }],
  ending: "end",
  framing: "content-length",
  whole: 0
})

const errorEvent = (step: Step.ErrorEvent, context: Wire.Context, renderer: Wire.Renderer): Plan => {
  const error = Fault.error(step.kind, { message: step.message, retryAfter: step.retryAfter })
  const whole = replyBody(step.reply, context, renderer)
  if (!context.request.stream) {
    return single(200, whole.headers, ErrorBodies.response(error, context).body, whole.wait)
  }
  // With `afterTokens: 0` the error is the first event, as overload errors are.
  const kept = step.afterTokens <= 0 ? [] : cutTokens(whole.pieces, step.afterTokens)
  const at = kept[kept.length - 1]?.at ?? 0
  const frames = ErrorBodies.streamError(error, step.reply, context, kept.length)
  return answer(whole, { pieces: [...kept, ...frames.map(({ data }) => ({ at, data }))] })
}

const garbage = (step: Step.Garbage, context: Wire.Context): Plan => {
  const noise = '%%% {"id": 17, "choi\u0000ces": [ ]] not json'
  return single(200, headersOf(context), context.request.sse ? `data: ${noise}\n\n` : noise, step.delay)
}

/**
 * The plan for a request on a path without a wire format: a 404.
 *
 * @since 0.1.0
 * @category plans
 */
export const unknownPath = (context: Wire.Context): Plan => {
  const { host = "", method, path } = context.request
  const error = {
    message: `Invalid URL (${method} ${host}${path})`,
    type: "invalid_request_error",
    param: null,
    code: null
  }
  return single(404, headersOf(context), JSON.stringify({ error }), 0)
}

/**
 * The plan of a step for one request.
 *
 * @since 0.1.0
 * @category plans
 */
export const make = (step: Step.Step, context: Wire.Context): Plan => {
  const renderer = renderers[context.request.format ?? "openai-chat"]
  switch (step._tag) {
    case "Reply": {
      const plan = answer(replyBody(step, context, renderer))
      return step.fragment === undefined ? plan : { ...plan, pieces: fragment(plan.pieces, Math.max(1, step.fragment)) }
    }
    case "Raw":
      return answer(rawBody(step))
    case "HttpError": {
      const { body, headers, status } = ErrorBodies.response(step, context)
      return single(status, headers, body, step.delay)
    }
    case "Hang":
      return silence(0, "stall")
    case "Reset":
      return silence(step.delay, "reset", step.code)
    case "Cut": {
      const whole = body(step.reply, context, renderer)
      const isEvents = context.request.sse && step.reply._tag === "Reply"
      const framing = step.framing ?? (isEvents || step.ending !== "end" ? "chunked" : "close")
      return answer(whole, {
        pieces: cutAt(whole, step.at),
        ending: step.ending,
        framing,
        pulse: step.pings === undefined ? undefined : { every: step.pings, data: ping(context.request) },
        whole: framing === "overstated-length" ? sizeOf(whole.pieces) : 0
      })
    }
    case "ErrorEvent":
      return errorEvent(step, context, renderer)
    case "Garbage":
      return garbage(step, context)
    case "Empty":
      return single(200, headersOf(context), "", step.delay)
  }
}

/**
 * Whether the whole response is sent with the headers, so that the client cannot hang up on it.
 *
 * @since 0.1.0
 * @category inspection
 */
export const isImmediate = (plan: Plan): boolean =>
  plan.ending === "end" && (plan.pieces[plan.pieces.length - 1]?.at ?? 0) === 0

/**
 * The bytes of a piece.
 *
 * @since 0.1.0
 * @category inspection
 */
export const bytes = (piece: Piece): Uint8Array => bytesOf(piece.data)
