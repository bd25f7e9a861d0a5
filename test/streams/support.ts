import { readFileSync } from "node:fs"
import { HttpClient, HttpClientError, HttpClientRequest, HttpClientResponse } from "@effect/platform"
import { Cause, Chunk, type Clock, Duration, Effect, Option, Redacted, Stream } from "effect"
import { Anthropic, Chat, type ChatModel, Gemini, type LlmError, OpenAi, OpenAiResponses } from "effect-steadfast"
import { assert } from "vitest"
import { clockOf } from "../support/time.js"

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
  plain: { text: "⟦0⟧ a \n⟦1⟧ b ⟦2⟧.", reasoning: "", toolCalls: [] },
  tools: {
    text: "⟦0⟧ Look ⟦1⟧",
    reasoning: "",
    toolCalls: [
      { name: "get_weather", arguments: { city: "Köln 日", n: 3 } },
      { name: "look_up", arguments: { q: "⟦t⟧ 🙂" } }
    ]
  },
  reasoning: { text: "⟦0⟧ 42 ⟦1⟧", reasoning: "⟪0⟫ hm, ⟪1⟫", toolCalls: [] },
  multibyte: { text: "⟦0⟧ äö 日本 👩‍👩‍👧e\u0301\u00a0⟦1⟧🙂", reasoning: "", toolCalls: [] }
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
  /** The model said that it was through, which is not the protocol's end where that comes after it. */
  readonly over: boolean
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
    over: event.type === "message_delta",
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
  let mark: Mark = { at: 0, whole: 0, text: "", reasoning: "", tool: false, over: false, ended: false }
  const marks = [mark]
  for (const [event, body = ""] of new TextDecoder().decode(bytes).matchAll(/([\s\S]*?)(?:\r\n\r\n|\n\n)/g)) {
    const data = /^data: (.*)$/m.exec(body)?.[1]?.trim()
    const news = said(data === undefined || data === "[DONE]" ? {} : (JSON.parse(data) as WireEvent))
    mark = {
      at: mark.at + encoder.encode(event).length,
      whole: mark.at + encoder.encode(body).length,
      text: mark.text + news.text,
      reasoning: mark.reasoning + news.reasoning,
      tool: mark.tool || news.tool,
      over: mark.over || news.over,
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

const streaming = HttpClientResponse.fromWeb(
  HttpClientRequest.get("http://localhost"),
  new Response(null, { headers: { "content-type": "text/event-stream" } })
)
const headers = streaming.headers

/**
 * A client that answers every request with `reply`. It records the requests; `open` counts the bodies not yet closed,
 * `pulled` the pieces read from them.
 */
export const stub = (reply: (body: string, index: number) => Reply) => {
  const asked: Array<string> = []
  const state = { open: 0, pulled: 0 }

  const body = (given: Extract<Reply, { pieces: unknown }>, failure: () => HttpClientError.ResponseError) =>
    Effect.acquireRelease(
      Effect.sync(() => {
        state.open++
        let next = 0
        return Effect.suspend(() => {
          const piece = given.pieces[next++]
          if (piece === undefined) {
            return given.ending === "stall"
              ? Effect.never
              : Effect.fail(given.ending === "end" ? Option.none() : Option.some(failure()))
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

  const respond = (request: HttpClientRequest.HttpClientRequest): HttpClientResponse.HttpClientResponse => {
    const sent = request.body._tag === "Raw" ? String(request.body.body) : ""
    const given = reply(sent, asked.push(sent) - 1)
    if ("body" in given) {
      const init = { status: given.status ?? 200, headers: { "content-type": "application/json" } }
      return HttpClientResponse.fromWeb(request, new Response(given.body, init))
    }
    const response: HttpClientResponse.HttpClientResponse = Object.create(streaming, {
      headers: { value: headers },
      stream: { value: Stream.fromPull(body(given, () => broken(request, response))) }
    })
    return response
  }
  const client = HttpClient.makeWith<never, never, HttpClientError.HttpClientError, never>(
    Effect.map(respond),
    Effect.succeed
  )
  return { client, asked, state }
}

const apiKey = Redacted.make("key-1")

const makers: Record<Format, (model?: string) => ReturnType<typeof OpenAi.make>> = {
  "openai-chat": (model = "gpt-4o-mini") => OpenAi.make({ model, apiKey }),
  "openai-responses": (model = "gpt-4o-mini") => OpenAiResponses.make({ model, apiKey }),
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

/** How a request asks to continue: the answer so far, and whether a user message follows it. */
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
  return clockOf(
    () => now,
    (duration) =>
      Effect.async((resume) => {
        const timer = setImmediate(() => {
          now += Duration.toMillis(duration)
          resume(Effect.void)
        })
        return Effect.sync(() => clearImmediate(timer))
      })
  )
}

/**
 * Asserts that every body is closed, a moment later at most: the rest of a whole answer is read in the background, so
 * that its connection can be used again.
 */
export const closed = (state: { readonly open: number }): Effect.Effect<void> =>
  Effect.gen(function* () {
    for (let turn = 0; turn < 20 && state.open > 0; turn++) {
      yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
    }
    assert.strictEqual(state.open, 0)
  })
