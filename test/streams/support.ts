import { readFileSync } from "node:fs"
import { HttpClient, HttpClientError, type HttpClientRequest, HttpClientResponse } from "@effect/platform"
import { Cause, Chunk, Clock, Duration, Effect, Option, Redacted, Stream } from "effect"
import { Anthropic, Chat, type ChatModel, Gemini, type LlmError, OpenAi } from "effect-steadfast"

export const formats = ["openai-chat", "openai-responses", "anthropic", "gemini"] as const
export type Format = (typeof formats)[number]

export const shapes = ["plain", "tools", "reasoning", "multibyte"] as const
export type Shape = (typeof shapes)[number]

export interface Answer {
  readonly text: string
  readonly reasoning: string
  readonly toolCalls: ReadonlyArray<{ readonly name: string; readonly arguments: unknown }>
}

/** What every fixture of a shape says, in every format; the tags tell where a piece of it stands. */
export const answers: Record<Shape, Answer> = {
  plain: { text: "⟦0⟧ alpha ⟦1⟧ \n⟦2⟧ bravo  ⟦3⟧.", reasoning: "", toolCalls: [] },
  tools: {
    text: "⟦0⟧ Let me look. ⟦1⟧",
    reasoning: "",
    toolCalls: [
      { name: "get_weather", arguments: { city: "Köln 日本", days: 3 } },
      { name: "look_up", arguments: { q: "⟦t⟧ 🙂" } }
    ]
  },
  reasoning: { text: "⟦0⟧ 42 ⟦1⟧ is it.", reasoning: "⟪0⟫ hm, so ⟪1⟫", toolCalls: [] },
  multibyte: { text: "⟦0⟧ äößé 日本語 ⟦1⟧ 👩‍👩‍👧e\u0301\u00a0⟦2⟧ 🙂", reasoning: "", toolCalls: [] }
}

const read = (name: string): Uint8Array<ArrayBuffer> =>
  new Uint8Array(readFileSync(new URL(`../fixtures/streams/${name}`, import.meta.url)))

/** The bytes of a streamed answer. */
export const bytesOf = (format: Format, shape: Shape): Uint8Array => read(`${format}.${shape}.sse`)

/** The same answer when no stream is asked for. */
export const bodyOf = (format: Format, shape: Shape): string =>
  new TextDecoder().decode(read(`${format}.${shape}.json`))

// -----------------------------------------------------------------------------
// the oracle: what bytes say, read without the library
// -----------------------------------------------------------------------------

interface Part {
  readonly text?: string
  readonly thought?: boolean
  readonly functionCall?: unknown
}

/** Of all formats, the fields that are looked at here. */
interface WireEvent {
  readonly type?: string
  readonly delta?: string | { readonly text?: string; readonly thinking?: string }
  readonly item?: { readonly type?: string }
  readonly content_block?: { readonly type?: string }
  readonly choices?: ReadonlyArray<{
    readonly delta: { readonly content?: string; readonly reasoning_content?: string; readonly tool_calls?: unknown }
    readonly finish_reason: string | null
  }>
  readonly candidates?: ReadonlyArray<{
    readonly content: { readonly parts: ReadonlyArray<Part> }
    readonly finishReason?: string
  }>
}

/**
 * What was said up to an event. It ends at byte `at`, and its data is whole at byte `whole`, before the line ends that
 * belong to it; `tool` says whether a tool call has begun.
 */
export interface Mark {
  readonly at: number
  readonly whole: number
  readonly text: string
  readonly reasoning: string
  readonly tool: boolean
  readonly ended: boolean
}

const said = (event: WireEvent) => {
  const choice = event.choices?.[0]
  const candidate = event.candidates?.[0]
  const parts = candidate?.content.parts ?? []
  const delta = typeof event.delta === "object" ? event.delta : {}
  const streamed = typeof event.delta === "string" ? event.delta : ""
  const join = (thought: boolean) =>
    parts.map((part) => ((part.thought === true) === thought ? (part.text ?? "") : "")).join("")
  return {
    text:
      (choice?.delta.content ?? "") +
      (delta.text ?? "") +
      (event.type === "response.output_text.delta" ? streamed : "") +
      join(false),
    reasoning:
      (choice?.delta.reasoning_content ?? "") +
      (delta.thinking ?? "") +
      (event.type === "response.reasoning_summary_text.delta" ? streamed : "") +
      join(true),
    tool:
      choice?.delta.tool_calls !== undefined ||
      event.item?.type === "function_call" ||
      event.content_block?.type === "tool_use" ||
      parts.some((part) => part.functionCall !== undefined),
    ended:
      typeof choice?.finish_reason === "string" ||
      candidate?.finishReason !== undefined ||
      event.type === "response.completed" ||
      event.type === "message_stop"
  }
}

/** What a stream says after each of its events. */
export const marksOf = (bytes: Uint8Array): ReadonlyArray<Mark> => {
  const encoder = new TextEncoder()
  let mark: Mark = { at: 0, whole: 0, text: "", reasoning: "", tool: false, ended: false }
  const marks = [mark]
  for (const [event, body = ""] of new TextDecoder().decode(bytes).matchAll(/([^]*?)(?:\r\n\r\n|\n\n)/g)) {
    const data = /^data: (.*)$/m.exec(body)?.[1]?.trim()
    const news = said(data === undefined || data === "[DONE]" ? {} : (JSON.parse(data) as WireEvent))
    mark = {
      at: mark.at + encoder.encode(event).length,
      whole: mark.at + encoder.encode(body).length,
      text: mark.text + news.text,
      reasoning: mark.reasoning + news.reasoning,
      tool: mark.tool || news.tool,
      ended: mark.ended || news.ended
    }
    marks.push(mark)
  }
  return marks
}

// -----------------------------------------------------------------------------
// providers that answer byte for byte
// -----------------------------------------------------------------------------

/** What is answered: pieces of a stream and how it ends, or a whole body. */
export type Reply =
  | { readonly pieces: ReadonlyArray<Uint8Array>; readonly ending: "end" | "reset" | "stall" }
  | { readonly body: string; readonly status?: number }

const broken = (request: HttpClientRequest.HttpClientRequest, response: HttpClientResponse.HttpClientResponse) =>
  new HttpClientError.ResponseError({
    request,
    response,
    reason: "Decode",
    cause: new TypeError("terminated", {
      cause: Object.assign(new Error("read ECONNRESET"), { errno: -104, code: "ECONNRESET", syscall: "read" })
    })
  })

/** A client whose every request is answered by `reply`, and what was asked. `open` counts the bodies nobody closed. */
export const stub = (reply: (body: string, index: number) => Reply) => {
  const asked: Array<string> = []
  const state = { open: 0, pulled: 0 }
  const client = HttpClient.make((request) =>
    Effect.sync(() => {
      const sent = request.body._tag === "Raw" ? String(request.body.body) : ""
      const given = reply(sent, asked.push(sent) - 1)
      if ("body" in given) {
        const init = { status: given.status ?? 200, headers: { "content-type": "application/json" } }
        return HttpClientResponse.fromWeb(request, new Response(given.body, init))
      }
      const headers = { "content-type": "text/event-stream" }
      const response = HttpClientResponse.fromWeb(request, new Response(null, { headers }))
      const opened = Effect.acquireRelease(
        Effect.sync(() => {
          state.open++
          let next = 0
          return Effect.suspend(() => {
            const piece = given.pieces[next++]
            if (piece === undefined) {
              return given.ending === "stall"
                ? Effect.never
                : Effect.fail(given.ending === "end" ? Option.none() : Option.some(broken(request, response)))
            }
            state.pulled++
            return Effect.succeed(Chunk.of(piece))
          })
        }),
        () =>
          Effect.sync(() => {
            state.open--
          })
      )
      return Object.defineProperty(response, "stream", { value: Stream.fromPull(opened) })
    })
  )
  return { client, asked, state }
}

const apiKey = Redacted.make("key-1")

const makers: Record<Format, (model?: string) => ReturnType<typeof OpenAi.make>> = {
  "openai-chat": (model = "gpt-4o-mini") => OpenAi.make({ model, apiKey }),
  "openai-responses": (model = "gpt-4o-mini") => OpenAi.make({ model, apiKey, api: "responses" }),
  anthropic: (model = "claude-haiku-4-5") => Anthropic.make({ model, apiKey }),
  gemini: (model = "gemini-2.5-flash") => Gemini.make({ model, apiKey })
}

/** The model of a format over a client. */
export const modelOf = (
  format: Format,
  { client }: { readonly client: HttpClient.HttpClient },
  model?: string
): Effect.Effect<ChatModel.ChatModel> =>
  Effect.orDie(Effect.provideService(makers[format](model), HttpClient.HttpClient, client))

interface SentMessage {
  readonly role?: string
  readonly content?: string | ReadonlyArray<Part>
  readonly parts?: ReadonlyArray<Part>
  readonly prefix?: boolean
}

/** How a request asks to go on: what it says was answered so far, and whether a user message comes after that. */
export const continuing = (body: string) => {
  const { contents, input, messages } = JSON.parse(body) as Record<string, ReadonlyArray<SentMessage> | undefined>
  const all = messages ?? input ?? contents ?? []
  const index = all.findLastIndex((message) => message.role === "assistant" || message.role === "model")
  const message = all[index]
  if (message === undefined) return undefined
  const content = message.content ?? message.parts ?? []
  return {
    text: typeof content === "string" ? content : content.map((part) => part.text ?? "").join(""),
    method: index === all.length - 1 ? ("prefill" as const) : ("turn" as const),
    prefix: message.prefix
  }
}

const encoder = new TextEncoder()
const lines = (events: ReadonlyArray<object>): string =>
  events.map((event) => `data: ${JSON.stringify(event)}\n\n`).join("")

/** An answer as bytes, as short as the format allows. */
export const written = (format: Format, answer: Partial<Answer>, pieces?: ReadonlyArray<string>): Uint8Array => {
  const texts = pieces ?? [answer.text ?? ""]
  const calls = (answer.toolCalls ?? []).map((call, i) => ({ ...call, id: `c_${i}`, json: JSON.stringify(call.arguments) }))
  const usage = { input: 12, output: 9 }
  switch (format) {
    case "openai-chat":
      return encoder.encode(
        `${lines([
          ...texts.map((content) => ({ choices: [{ delta: { content }, finish_reason: null }] })),
          ...calls.map((call, index) => ({
            choices: [{ delta: { tool_calls: [{ index, id: call.id, function: { name: call.name, arguments: call.json } }] } }]
          })),
          { choices: [{ delta: {}, finish_reason: calls.length > 0 ? "tool_calls" : "stop" }] },
          { choices: [], usage: { prompt_tokens: usage.input, completion_tokens: usage.output } }
        ])}data: [DONE]\n\n`
      )
    case "openai-responses": {
      const items = calls.map((call) => ({ type: "function_call", call_id: call.id, name: call.name, arguments: call.json }))
      const message = { type: "message", content: [{ type: "output_text", text: texts.join("") }] }
      const response = { id: "resp_2", model: "m", output: [message, ...items], status: "completed" }
      return encoder.encode(
        lines([
          { type: "response.created", response: { id: "resp_2", model: "m" } },
          ...texts.map((delta) => ({ type: "response.output_text.delta", delta })),
          ...items.map((item, output_index) => ({ type: "response.output_item.done", output_index, item })),
          {
            type: "response.completed",
            response: { ...response, usage: { input_tokens: usage.input, output_tokens: usage.output } }
          }
        ])
      )
    }
    case "anthropic":
      return encoder.encode(
        lines([
          { type: "message_start", message: { id: "m_2", model: "m", usage: { input_tokens: usage.input, output_tokens: 1 } } },
          { type: "content_block_start", index: 0, content_block: { type: "text", text: "" } },
          ...texts.map((text) => ({ type: "content_block_delta", index: 0, delta: { type: "text_delta", text } })),
          { type: "content_block_stop", index: 0 },
          ...calls.flatMap((call, i) => [
            { type: "content_block_start", index: i + 1, content_block: { type: "tool_use", id: call.id, name: call.name, input: {} } },
            { type: "content_block_delta", index: i + 1, delta: { type: "input_json_delta", partial_json: call.json } },
            { type: "content_block_stop", index: i + 1 }
          ]),
          {
            type: "message_delta",
            delta: { stop_reason: calls.length > 0 ? "tool_use" : "end_turn" },
            usage: { output_tokens: usage.output }
          },
          { type: "message_stop" }
        ])
      )
    case "gemini":
      return encoder.encode(
        lines([
          ...texts.map((text) => ({ responseId: "g_2", candidates: [{ content: { parts: [{ text }] } }] })),
          ...calls.map((call) => ({
            candidates: [{ content: { parts: [{ functionCall: { name: call.name, args: call.arguments } }] } }]
          })),
          {
            candidates: [{ content: { parts: [] }, finishReason: "STOP" }],
            usageMetadata: { promptTokenCount: usage.input, candidatesTokenCount: usage.output }
          }
        ])
      )
  }
}

/** The event by which a provider says, in the middle of a stream, that it is overloaded. */
export const errorEvents: Record<Format, Uint8Array> = {
  "openai-chat": encoder.encode(lines([{ error: { message: "The server is overloaded", type: "server_error", code: "overloaded" } }])),
  "openai-responses": encoder.encode(
    'event: error\ndata: {"type":"error","sequence_number":99,"code":"server_error","message":"The server had an error","param":null}\n\n'
  ),
  anthropic: encoder.encode(
    'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}\n\n'
  ),
  gemini: encoder.encode(
    'data: {"error":{"code":503,"message":"The model is overloaded. Please try again later.","status":"UNAVAILABLE"}}\r\n\r\n'
  )
}

/** The bytes up to a cut, in pieces of a size. */
export const pieces = (bytes: Uint8Array, size: number): ReadonlyArray<Uint8Array> =>
  Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) => bytes.subarray(i * size, (i + 1) * size))

export const concat = (...all: ReadonlyArray<Uint8Array>): Uint8Array => {
  const whole = new Uint8Array(all.reduce((size, one) => size + one.length, 0))
  let at = 0
  for (const one of all) {
    whole.set(one, at)
    at += one.length
  }
  return whole
}

// -----------------------------------------------------------------------------
// readers
// -----------------------------------------------------------------------------

export interface Seen {
  readonly events: ReadonlyArray<Chat.Event>
  readonly error: LlmError.LlmError | undefined
}

export const prompt = Chat.prompt("Say it.")

/** What a reader saw of a stream to its end. */
export const see = (stream: Stream.Stream<Chat.Event, LlmError.LlmError>): Effect.Effect<Seen> =>
  Effect.suspend(() => {
    const events: Array<Chat.Event> = []
    const reading = Stream.runForEachChunk(stream, (chunk) =>
      Effect.sync(() => {
        events.push(...chunk)
      })
    )
    return Effect.map(Effect.exit(reading), (exit) => ({
      events,
      error: exit._tag === "Failure" ? Option.getOrUndefined(Cause.failureOption(exit.cause)) : undefined
    }))
  })

export const textOf = (events: ReadonlyArray<Chat.Event>): string =>
  events.map((event) => (event._tag === "TextDelta" ? event.text : "")).join("")

export const reasoningOf = (events: ReadonlyArray<Chat.Event>): string =>
  events.map((event) => (event._tag === "ReasoningDelta" ? event.text : "")).join("")

export const callsOf = (events: ReadonlyArray<Chat.Event>): Answer["toolCalls"] =>
  events.flatMap((event) => (event._tag === "ToolCall" ? [{ name: event.name, arguments: event.arguments }] : []))

export const tagsOf = (events: ReadonlyArray<Chat.Event>): ReadonlyArray<string> => events.map((event) => event._tag)

export const find = <Tag extends Chat.Event["_tag"]>(
  events: ReadonlyArray<Chat.Event>,
  tag: Tag
): ReadonlyArray<Extract<Chat.Event, { _tag: Tag }>> =>
  events.filter((event): event is Extract<Chat.Event, { _tag: Tag }> => event._tag === tag)

/** A clock whose sleeps are over as soon as nothing else can go on, and have taken their time. */
export const idleClock = (): Clock.Clock => {
  let now = 0
  const millis = () => now
  const nanos = () => BigInt(now) * 1_000_000n
  return {
    [Clock.ClockTypeId]: Clock.ClockTypeId,
    unsafeCurrentTimeMillis: millis,
    unsafeCurrentTimeNanos: nanos,
    currentTimeMillis: Effect.sync(millis),
    currentTimeNanos: Effect.sync(nanos),
    sleep: (duration) =>
      Effect.async((resume) => {
        const timer = setImmediate(() => {
          now += Duration.toMillis(duration)
          resume(Effect.void)
        })
        return Effect.sync(() => clearImmediate(timer))
      })
  }
}
