import { FetchHttpClient, HttpClient } from "@effect/platform"
import { type Clock, Duration, Effect, Fiber } from "effect"
import { type ChatModel, Transport } from "effect-steadfast"
import { type Format, modelOf } from "./support.js"

/** The pieces of a body, each with the milliseconds since the one before; `null` is its end. */
export type Timed = ReadonlyArray<readonly [after: number, data: string | null]>

const event = (data: Record<string, unknown>): string =>
  `${data.type === undefined ? "" : `event: ${data.type}\n`}data: ${JSON.stringify(data)}\n\n`

const done = "data: [DONE]\n\n"

/** An answer that is one tool call, and other pieces, as a format writes them. */
interface Wire {
  /** The beginning of a message without content. */
  readonly begin: string
  /** The beginning of the call. */
  readonly open: string
  /** A piece that adds to the answer, and gives no event. */
  readonly more: string
  /** The end of the call and of the answer. */
  readonly close: string
  /** A thought that nobody can read, outside of the call. */
  readonly hidden: string
  readonly text: string
  /** What keeps a connection open and adds nothing. */
  readonly pings: ReadonlyArray<string>
  /** The same, once the call is open. */
  readonly inside: ReadonlyArray<string>
}

const delta = (delta: object, finish_reason: string | null = null): string =>
  event({ id: "c-1", model: "m-1", choices: [{ index: 0, delta, finish_reason }] })

const calling = (fn: object, more: object = {}): string => delta({ tool_calls: [{ index: 0, function: fn, ...more }] })

const parts = (parts: ReadonlyArray<object>, finishReason?: string): string =>
  event({ responseId: "c-1", candidates: [{ content: { role: "model", parts }, finishReason }] })

/** The arguments that the pieces of a call make together. */
const json = { first: '{"a":"', more: "x", last: '"}' }

export const argumentsOf = (pieces: number): unknown => ({ a: "x".repeat(pieces) })

const item = { type: "function_call", id: "fc-1", call_id: "call-1", name: "f" }

const block = { type: "content_block_delta", index: 0 }

export const wires: Record<Format, Wire> = {
  "openai-chat": {
    begin: delta({ role: "assistant", content: "" }),
    open: calling({ name: "f", arguments: json.first }, { id: "call-1", type: "function" }),
    more: calling({ arguments: json.more }),
    close: calling({ arguments: json.last }) + delta({}, "tool_calls") + done,
    hidden: delta({ reasoning_details: [{ type: "reasoning.encrypted", data: "c2VjcmV0", index: 0 }] }),
    text: delta({ content: "t" }),
    pings: [": OPENROUTER PROCESSING\n\n", delta({}), delta({ content: "" }), delta({ role: "assistant" })],
    inside: [delta({ tool_calls: [] }), calling({ arguments: "" })]
  },
  "openai-responses": {
    begin: event({ type: "response.created", response: { id: "r-1", model: "m-1", status: "in_progress" } }),
    open:
      event({ type: "response.output_item.added", output_index: 0, item: { ...item, arguments: "" } }) +
      event({ type: "response.function_call_arguments.delta", output_index: 0, delta: json.first }),
    more: event({ type: "response.function_call_arguments.delta", output_index: 0, delta: json.more }),
    close: "",
    hidden: event({
      type: "response.output_item.done",
      output_index: 1,
      item: { type: "reasoning", id: "rs-1", summary: [], encrypted_content: "c2VjcmV0" }
    }),
    text: event({ type: "response.output_text.delta", output_index: 2, content_index: 0, delta: "t" }),
    pings: [
      ": ping\n\n",
      event({ type: "keepalive", sequence_number: 3 }),
      event({ type: "response.in_progress", response: { id: "r-1", model: "m-1", status: "in_progress" } })
    ],
    inside: [event({ type: "response.function_call_arguments.delta", output_index: 0, delta: "" })]
  },
  anthropic: {
    begin: event({ type: "message_start", message: { id: "msg-1", model: "m-1", usage: { input_tokens: 3 } } }),
    open:
      event({
        type: "content_block_start",
        index: 0,
        content_block: { type: "tool_use", id: "call-1", name: "f", input: {} }
      }) + event({ ...block, delta: { type: "input_json_delta", partial_json: json.first } }),
    more: event({ ...block, delta: { type: "input_json_delta", partial_json: json.more } }),
    close:
      event({ ...block, delta: { type: "input_json_delta", partial_json: json.last } }) +
      event({ type: "content_block_stop", index: 0 }) +
      event({ type: "message_delta", delta: { stop_reason: "tool_use" }, usage: { output_tokens: 5 } }) +
      event({ type: "message_stop" }),
    hidden:
      event({
        type: "content_block_start",
        index: 1,
        content_block: { type: "redacted_thinking", data: "c2VjcmV0" }
      }) + event({ type: "content_block_stop", index: 1 }),
    text:
      event({ type: "content_block_start", index: 2, content_block: { type: "text", text: "" } }) +
      event({ type: "content_block_delta", index: 2, delta: { type: "text_delta", text: "t" } }) +
      event({ type: "content_block_stop", index: 2 }),
    pings: [": ping\n\n", event({ type: "ping" })],
    inside: [event({ ...block, delta: { type: "input_json_delta", partial_json: "" } })]
  },
  // Here a call comes whole. What takes its time before it is a tool of the provider's own.
  gemini: {
    begin: event({ responseId: "c-1", modelVersion: "m-1", usageMetadata: { promptTokenCount: 3 } }),
    open: parts([{ executableCode: { language: "PYTHON", code: "print(" } }]),
    more: parts([{ executableCode: { language: "PYTHON", code: "x" } }]),
    close: "",
    hidden: parts([{ text: "", thoughtSignature: "c2VjcmV0" }]),
    text: parts([{ text: "t" }]),
    pings: [": ping\n\n", parts([]), parts([{ text: "" }])],
    inside: []
  }
}

/** The end of an answer whose call had so many pieces. */
export const closing = (format: Format, pieces: number): string => {
  const whole = json.first + json.more.repeat(pieces) + json.last
  switch (format) {
    case "openai-responses": {
      const called = { ...item, status: "completed", arguments: whole }
      const response = { id: "r-1", model: "m-1", status: "completed", output: [called] }
      return (
        event({ type: "response.output_item.done", output_index: 0, item: called }) +
        event({ type: "response.completed", response })
      )
    }
    case "gemini":
      return parts([{ functionCall: { id: "call-1", name: "f", args: JSON.parse(whole) } }], "STOP")
    default:
      return wires[format].close
  }
}

// -----------------------------------------------------------------------------
// a provider that writes its pieces in time
// -----------------------------------------------------------------------------

/** A `fetch` that answers the n-th request with the n-th body, the last of them for ever. A body without an end hangs. */
export const serving = (clock: Clock.Clock, ...bodies: ReadonlyArray<Timed>) => {
  const requests: Array<{ readonly at: number; hungUpAt?: number }> = []
  const fetch = (_url: unknown, init?: RequestInit): Promise<Response> => {
    const body = bodies[Math.min(requests.length, bodies.length - 1)] ?? []
    const request: (typeof requests)[number] = { at: clock.unsafeCurrentTimeMillis() }
    requests.push(request)
    const encoder = new TextEncoder()
    const stream = new ReadableStream<Uint8Array>({
      start: (controller) => {
        const writing = Effect.forEach(body, ([after, data]) =>
          Effect.map(clock.sleep(Duration.millis(after)), () =>
            data === null ? controller.close() : controller.enqueue(encoder.encode(data))
          )
        )
        const fiber = Effect.runFork(writing)
        init?.signal?.addEventListener("abort", () => {
          request.hungUpAt = clock.unsafeCurrentTimeMillis()
          Effect.runFork(Fiber.interrupt(fiber))
          controller.error(new DOMException("aborted", "AbortError"))
        })
      }
    })
    return Promise.resolve(new Response(stream, { headers: { "content-type": "text/event-stream" } }))
  }
  return { fetch: fetch as typeof globalThis.fetch, requests }
}

/** The two ways to a provider: over a transport of ours, and over a client that has none. */
export const ways = { "a transport": Transport.layerFetch, "a plain client": FetchHttpClient.layer } as const
export type Way = keyof typeof ways

/** A model of a format that reaches a `fetch` in one of the ways. The effects must run under {@link reaching}. */
export const modelOver = (format: Format, way: Way): Effect.Effect<ChatModel.ChatModel> =>
  Effect.provide(
    Effect.flatMap(HttpClient.HttpClient, (client) => modelOf(format, { client })),
    ways[way]
  )

export const reaching =
  (fetch: typeof globalThis.fetch) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.provideService(effect, FetchHttpClient.Fetch, fetch) as Effect.Effect<A, E, R>
