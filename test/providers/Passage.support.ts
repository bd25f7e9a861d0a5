import { HttpClient } from "@effect/platform"
import { Effect, Logger, Redacted } from "effect"
import {
  Anthropic,
  Call,
  type CallRecord,
  Chat,
  type ChatModel,
  Gemini,
  OpenAi,
  OpenAiResponses
} from "effect-steadfast"
import { type Dialect, HttpReply } from "effect-steadfast/http"
import { FaultyProvider, Reply, type Step } from "effect-steadfast/testing"
import * as Passage from "../../src/chat/Passage.js"
import * as PassedBody from "../../src/providers/http/PassedBody.js"
import type { Make } from "./support.js"

const apiKey = Redacted.make("key-of-a-test")

export const makes: { readonly [W in Passage.Wire]: Make } = {
  "openai-chat": OpenAi.make({ model: "target-1", apiKey }),
  "openai-responses": OpenAiResponses.make({ model: "target-1", apiKey }),
  anthropic: Anthropic.make({ model: "target-1", apiKey }),
  gemini: Gemini.make({ model: "target-1", apiKey })
}

export const dialectOf: { readonly [W in Passage.Wire]: Dialect.Dialect } = {
  "openai-chat": "openai",
  "openai-responses": "responses",
  anthropic: "anthropic",
  gemini: "gemini"
}

/** A client's body, with a field that nobody knows, and odd blanks. */
export const bodyOf = (wire: Passage.Wire, stream: boolean): string => {
  const odd = '"x_new" : [ {"model":"not this", "a":"}\\"{"} , 1.50e0 ]'
  if (wire === "gemini") return `{ "contents":[{"role":"user","parts":[{"text":"hi"}]}],\n ${odd}}`
  const asked = wire === "openai-responses" ? '"input":"hi"' : '"messages":[{"role":"user","content":"hi \\u00e9"}]'
  const usage = wire === "openai-chat" && stream ? ',"stream_options":{"include_usage":true, "x":1}' : ""
  return `{ ${odd},\n "model" : "mine" , ${asked},"max_tokens":9,"stream":${stream}${usage} }\n`
}

/** The body as the target gets it. */
export const sentOf = (body: string): string => body.replace('"mine"', '"target-1"')

/** A whole answer of each wire: a word and a call of a tool, with fields that nobody knows. */
export const answers: { readonly [W in Passage.Wire]: string } = {
  "openai-chat": `{"id":"c-1", "object":"chat.completion","created":1,"model":"m-9","x_new":{"a":[1.0]},
    "choices":[{"index":0,"message":{"role":"assistant","content":"hi","x_more":1,"tool_calls":[{"id":"t-1","type":"function",
    "function":{"name":"look","arguments":"{\\"a\\":1}"}}]},"finish_reason":"tool_calls"}],
    "usage":{"prompt_tokens":3,"completion_tokens":5,"total_tokens":8,"x_tokens":1}}`,
  "openai-responses": `{"id":"r-1", "object":"response","status":"completed","model":"m-9","x_new":{"a":[1.0]},
    "output":[{"type":"message","id":"i-1","role":"assistant","x_more":1,"content":[{"type":"output_text","text":"hi"}]},
    {"type":"function_call","id":"i-2","call_id":"t-1","name":"look","arguments":"{\\"a\\":1}"}],
    "usage":{"input_tokens":3,"output_tokens":5,"total_tokens":8}}`,
  anthropic: `{"id":"a-1", "type":"message","role":"assistant","model":"m-9","x_new":{"a":[1.0]},
    "content":[{"type":"text","text":"hi","x_more":1},{"type":"tool_use","id":"t-1","name":"look","input":{"a":1}}],
    "stop_reason":"tool_use","usage":{"input_tokens":3,"output_tokens":5}}`,
  gemini: `{"candidates":[{"content":{"role":"model","parts":[{"text":"hi","x_more":1},{"functionCall":{"name":"look",
    "args":{"a":1}}}]},"finishReason":"STOP"}],"x_new":{"a":[1.0]},"responseId":"g-1","modelVersion":"m-9",
    "usageMetadata":{"promptTokenCount":3,"candidatesTokenCount":5,"totalTokenCount":8}}`
}

const data = (...all: ReadonlyArray<string>): ReadonlyArray<string> => all.map((one) => `data: ${one}\n\n`)

const named = (...all: ReadonlyArray<string>): ReadonlyArray<string> =>
  all.map((one) => `event: ${JSON.parse(one).type}\ndata: ${one}\n\n`)

const chunk = (delta: string, reason = "null"): string =>
  `{"id":"c-1", "object":"chat.completion.chunk","model":"m-9","x_new":1,"choices":[{"index":0,"delta":${delta},"finish_reason":${reason}}],"usage":null}`

export const usageChunk =
  'data: {"id":"c-1","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":5,"total_tokens":8}}\n\n'

/** Frames of each wire: what comes before the content, the content in pieces, and the end. */
export const frames: {
  readonly [W in Passage.Wire]: {
    readonly before: ReadonlyArray<string>
    readonly content: ReadonlyArray<string>
    readonly end: ReadonlyArray<string>
  }
} = {
  "openai-chat": {
    before: data(chunk('{"role":"assistant","content":""}')),
    content: data(
      chunk('{"content":"h"}'),
      chunk('{"content":"i","x_more":[1.0]}'),
      chunk('{"tool_calls":[{"index":0,"id":"t-1","type":"function","function":{"name":"look","arguments":""}}]}'),
      chunk('{"tool_calls":[{"index":0,"function":{"arguments":"{\\"a\\""}}]}'),
      chunk('{"tool_calls":[{"index":0,"function":{"arguments":":1}"}}]}')
    ),
    end: [...data(chunk("{}", '"tool_calls"')), usageChunk, "data: [DONE]\n\n"]
  },
  "openai-responses": {
    before: named(
      '{"type":"response.created", "sequence_number":0,"response":{"id":"r-1","model":"m-9","status":"in_progress"}}',
      '{"type":"response.output_item.added","sequence_number":1,"output_index":0,"item":{"type":"message","id":"i-1"}}'
    ),
    content: named(
      '{"type":"response.output_text.delta","sequence_number":2,"output_index":0,"delta":"h","x_more":[1.0]}',
      '{"type":"response.output_text.delta","sequence_number":3,"output_index":0,"delta":"i"}',
      '{"type":"response.output_item.added","sequence_number":4,"output_index":1,"item":{"type":"function_call","id":"i-2","call_id":"t-1","name":"look","arguments":""}}',
      '{"type":"response.function_call_arguments.delta","sequence_number":5,"output_index":1,"delta":"{\\"a\\""}',
      '{"type":"response.function_call_arguments.delta","sequence_number":6,"output_index":1,"delta":":1}"}',
      '{"type":"response.output_item.done","sequence_number":7,"output_index":1,"item":{"type":"function_call","id":"i-2","call_id":"t-1","name":"look","arguments":"{\\"a\\":1}"}}'
    ),
    end: named(
      `{"type":"response.completed","sequence_number":8,"response":${answers["openai-responses"].replaceAll("\n", "")}}`
    )
  },
  anthropic: {
    before: named(
      '{"type":"message_start", "message":{"id":"a-1","model":"m-9","usage":{"input_tokens":3,"output_tokens":1}}}',
      '{"type":"ping"}',
      '{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}'
    ),
    content: named(
      '{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"h","x_more":[1.0]}}',
      '{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"i"}}',
      '{"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"t-1","name":"look","input":{}}}',
      '{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{\\"a\\""}}',
      '{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":":1}"}}'
    ),
    end: named(
      '{"type":"content_block_stop","index":1}',
      '{"type":"message_delta","delta":{"stop_reason":"tool_use"},"usage":{"output_tokens":5}}',
      '{"type":"message_stop"}'
    )
  },
  gemini: {
    before: data('{"candidates":[{"content":{"role":"model","parts":[{"text":""}]}}], "responseId":"g-1"}'),
    content: data(
      '{"candidates":[{"content":{"role":"model","parts":[{"text":"h","x_more":[1.0]}]}}]}',
      '{"candidates":[{"content":{"role":"model","parts":[{"text":"i"}]}}],"x_new":1}',
      '{"candidates":[{"content":{"role":"model","parts":[{"functionCall":{"name":"look","args":{"a":1}}}]}}]}'
    ),
    end: data(
      '{"candidates":[{"content":{"role":"model","parts":[]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":3,"candidatesTokenCount":5,"totalTokenCount":8}}'
    )
  }
}

export const wires = Object.keys(frames) as ReadonlyArray<Passage.Wire>

export const framesOf = (wire: Passage.Wire): ReadonlyArray<string> => {
  const { before, content, end } = frames[wire]
  return [...before, ...content, ...end]
}

export const eventStream = { headers: { "content-type": "text/event-stream" } }

export const sse = (pieces: ReadonlyArray<string | Uint8Array>): Step.Raw => Reply.raw(pieces, eventStream)

export const answer = (wire: Passage.Wire): Step.Raw =>
  Reply.raw(answers[wire], { headers: { "content-type": "application/json" } })

export interface Asked {
  readonly wire: Passage.Wire
  readonly stream: boolean
  /** The client's body. Default: that of `bodyOf`. */
  readonly body?: string
  /** What makes the target. Default: that of the wire. */
  readonly target?: Make
  readonly options?: FaultyProvider.Options
  readonly compose?: (
    model: ChatModel.ChatModel,
    other: (wire: Passage.Wire) => Effect.Effect<ChatModel.ChatModel>
  ) => ChatModel.ChatModel | Effect.Effect<ChatModel.ChatModel>
  readonly passage?: Partial<Passage.Passage>
  readonly reply?: HttpReply.Options
  readonly within?: <A>(self: Effect.Effect<A>) => Effect.Effect<A, unknown>
}

/** What a client got, what the targets got, and the record of the call. */
export const ask = ({ body, compose, options, passage, reply, stream, target, wire, within = (self) => self }: Asked) =>
  Effect.gen(function* () {
    const bodies: Array<string> = []
    const provider = yield* FaultyProvider.make(options)
    const client = HttpClient.mapRequest(provider.client, (request) => {
      const { body } = request
      if (body._tag === "Uint8Array") bodies.push(new TextDecoder().decode(body.body))
      else if (body._tag === "Raw") bodies.push(String(body.body))
      return request
    })
    const connected = (one: Make) => Effect.orDie(Effect.provideService(one, HttpClient.HttpClient, client))
    const make = (wire: Passage.Wire) => connected(makes[wire])
    const own = yield* connected(target ?? makes[wire])
    const composed = compose?.(own, make) ?? own
    const model = Effect.isEffect(composed) ? yield* composed : composed
    const request = Chat.prompt("hi")
    const records: Array<CallRecord.CallRecord> = []
    const given = { wire, means: PassedBody.means, body: body ?? bodyOf(wire, stream), request, ...passage }
    const told: HttpReply.Options = {
      dialect: dialectOf[wire],
      raw: true,
      keepAlive: Number.POSITIVE_INFINITY,
      ...reply
    }
    const work = stream
      ? HttpReply.stream(model.stream(request), told)
      : HttpReply.answer(model.generate(request), told)
    const response = yield* HttpReply.toWebResponse(work).pipe(
      within,
      Effect.orDie,
      Effect.provideService(Passage.Passage, given),
      Effect.provide(Call.observe((record) => Effect.sync(() => void records.push(record)))),
      Effect.provide(Logger.remove(Logger.defaultLogger))
    )
    const got = yield* Effect.promise(() => readAll(response))
    return {
      ...got,
      status: response.status,
      headers: response.headers,
      bodies,
      records,
      requests: yield* provider.requests
    }
  })

const readAll = async (response: Response): Promise<{ text: string; broken: boolean }> => {
  const decoder = new TextDecoder()
  const reader = response.body?.getReader()
  let text = ""
  try {
    for (;;) {
      const next = await reader?.read()
      if (next === undefined || next.done) return { text, broken: false }
      text += decoder.decode(next.value, { stream: true })
    }
  } catch {
    return { text, broken: true }
  }
}
