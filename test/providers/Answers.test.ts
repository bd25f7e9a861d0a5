import { assert, describe, it } from "@effect/vitest"
import { Effect, Either, Redacted } from "effect"
import { Anthropic, type Chat, Gemini, type LlmError, OpenAi, OpenAiResponses } from "effect-steadfast"
import { Reply, type Step } from "effect-steadfast/testing"
import { collect, generate, type Make, secret, sse } from "./support.js"

const apiKey = Redacted.make(secret)
const chat = OpenAi.make({ model: "gpt-4o", apiKey })
const responses = OpenAiResponses.make({ model: "gpt-4o", apiKey })
const anthropic = Anthropic.make({ model: "claude-haiku-4-5", apiKey })
const gemini = Gemini.make({ model: "gemini-2.5-flash", apiKey })

// -----------------------------------------------------------------------------
// the smallest streams and bodies of each format
// -----------------------------------------------------------------------------

const chunk = (delta: object, finish: string | null = null, more: object = {}) => ({
  id: "c1",
  model: "m",
  choices: [{ index: 0, delta, finish_reason: finish }],
  ...more
})
const message = (content: object, finish: string | null = "stop", more: object = {}) => ({
  id: "c1",
  model: "m",
  choices: [{ index: 0, message: { role: "assistant", ...content }, finish_reason: finish }],
  ...more
})
const usage = (input: number, output: number, total = input + output) => ({
  usage: { prompt_tokens: input, completion_tokens: output, total_tokens: total }
})
const call = (index: unknown, fn: object, id?: string) => ({
  tool_calls: [{ ...(index === undefined ? {} : { index }), ...(id === undefined ? {} : { id }), function: fn }]
})

const started = { type: "message_start", message: { id: "m1", model: "m", usage: { input_tokens: 3 } } }
const block = (index: number, content_block: object, ...deltas: ReadonlyArray<object>) => [
  { type: "content_block_start", index, content_block },
  ...deltas.map((delta) => ({ type: "content_block_delta", index, delta })),
  { type: "content_block_stop", index }
]
const stopped = (reason: string, usage: object = { output_tokens: 5 }) => [
  { type: "message_delta", delta: { stop_reason: reason }, usage },
  { type: "message_stop" }
]
const textBlock = (text: string, index = 0) => block(index, { type: "text", text: "" }, { type: "text_delta", text })
const tool = { type: "tool_use", id: "t1", name: "f", input: {} }
const json = (partial_json: string) => ({ type: "input_json_delta", partial_json })

const parts = (parts: ReadonlyArray<object>, more: object = {}, tail: object = {}) => ({
  responseId: "r1",
  candidates: [{ content: { role: "model", parts }, ...more }],
  ...tail
})

const created = { type: "response.created", response: { id: "resp_1", model: "m", status: "in_progress" } }
const ended = (response: object, type = "response.completed") => ({
  type,
  response: { id: "resp_1", model: "m", status: "completed", ...response }
})
const said = (text: string) => ({ type: "message", content: [{ type: "output_text", text }] })

const streamed = (make: Make, ...events: ReadonlyArray<unknown>) => collect(make, sse(events))
const whole = (make: Make, body: unknown) => generate(make, Reply.json(body))

/** What an answer says, or the tag of its error. */
const outcome = (effect: Effect.Effect<Chat.Response, LlmError.LlmError>): Effect.Effect<object> =>
  Effect.map(Effect.either(effect), (either) =>
    Either.isLeft(either)
      ? { error: either.left._tag, code: either.left.code }
      : {
          text: either.right.text,
          calls: either.right.toolCalls.map((call) => [call.name, call.arguments]),
          finish: either.right.finishReason
        }
  )

const raw = (text: string, type = "text/event-stream"): Step.Raw =>
  Reply.raw([text], { headers: { "content-type": type } })

// -----------------------------------------------------------------------------
// the end
// -----------------------------------------------------------------------------

describe("the end of an answer", () => {
  it.effect("is the wire's own: a finish reason in every chunk ends nothing", () =>
    Effect.gen(function* () {
      const usageHere = usage(1, 1)
      const answer = yield* streamed(
        chat,
        chunk({ content: "a" }, "stop", usageHere),
        chunk({ content: "b" }, "stop", usage(1, 2)),
        chunk(call(0, { name: "f", arguments: '{"x"' }, "i"), "stop", usage(1, 3)),
        chunk(call(0, { arguments: ":1}" }), "tool_calls", usage(1, 4)),
        "[DONE]"
      )
      assert.strictEqual(answer.text, "ab")
      assert.deepStrictEqual(answer.toolCalls, [{ id: "i", name: "f", arguments: { x: 1 } }])
      assert.strictEqual(answer.finishReason, "tool-calls")
      assert.deepStrictEqual(answer.usage, { inputTokens: 1, outputTokens: 4 })
    })
  )

  it.effect("is the last finish reason, in every format", () =>
    Effect.gen(function* () {
      const two = yield* streamed(chat, chunk({ content: "a" }, "stop"), chunk({ content: "b" }, "length"), "[DONE]")
      assert.strictEqual(two.finishReason, "length")
      const google = yield* streamed(
        gemini,
        parts([{ text: "a" }], { finishReason: "STOP" }),
        parts([{ text: "b" }], { finishReason: "MAX_TOKENS" })
      )
      assert.deepStrictEqual([google.text, google.finishReason], ["ab", "length"])
    })
  )

  it.effect("[DONE] with counts and without a finish reason is one", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(
        yield* outcome(streamed(chat, chunk({ content: "a" }), { choices: [], ...usage(1, 1) }, "[DONE]")),
        { text: "a", calls: [], finish: "other" }
      )
      assert.deepStrictEqual(
        yield* outcome(
          streamed(chat, chunk(call(0, { name: "f", arguments: "{}" })), { choices: [], ...usage(1, 1) }, "[DONE]")
        ),
        { text: "", calls: [["f", {}]], finish: "tool-calls" }
      )
      const cut = yield* outcome(streamed(chat, chunk({ content: "a" }), "[DONE]"))
      assert.deepInclude(cut, { error: "StreamInterrupted" })
    })
  )

  it.effect("tool calls that are announced and do not come are no tool calls", () =>
    Effect.gen(function* () {
      for (const answer of [
        whole(chat, message({ content: "x" }, "tool_calls")),
        streamed(chat, chunk({ content: "x" }, "tool_calls"), "[DONE]"),
        whole(anthropic, { content: [{ type: "text", text: "x" }], stop_reason: "tool_use" }),
        streamed(anthropic, started, ...textBlock("x"), ...stopped("tool_use"))
      ]) {
        assert.deepStrictEqual(yield* outcome(answer), { text: "x", calls: [], finish: "other" })
      }
    })
  )

  it.effect("the response in the last event decides, not the event's name", () =>
    Effect.gen(function* () {
      const output = [said("half")]
      const cut = { status: "incomplete", incomplete_details: { reason: "max_output_tokens" }, output }
      const failed = { status: "failed", error: { code: "rate_limit_exceeded", message: "slow down" }, output }
      const filtered = { status: "incomplete", incomplete_details: { reason: "content_filter" }, output }
      for (const type of ["response.completed", "response.incomplete", "response.failed", "response.done"]) {
        for (const response of [cut, failed, filtered]) {
          assert.deepStrictEqual(
            yield* outcome(streamed(responses, created, ended(response, type))),
            yield* outcome(whole(responses, { id: "resp_1", model: "m", ...response })),
            type
          )
        }
      }
      const answer = yield* outcome(streamed(responses, created, ended(cut)))
      assert.deepStrictEqual(answer, { text: "half", calls: [], finish: "length" })
    })
  )
})

// -----------------------------------------------------------------------------
// tool calls
// -----------------------------------------------------------------------------

describe("tool calls are told apart", () => {
  const one = { name: "get_time", arguments: '{"zone":"CET"}' }
  const other = { name: "file_write", arguments: '{"path":"a"}' }
  const first = ["get_time", { zone: "CET" }]
  const both = [first, ["file_write", { path: "a" }]]
  const cases: ReadonlyArray<readonly [name: string, ...events: ReadonlyArray<object>]> = [
    ["one index, other ids", chunk(call(0, one, "a")), chunk(call(0, other, "b"))],
    ["no index, other ids", chunk(call(undefined, one, "a")), chunk(call(undefined, other, "b"))],
    ["one index, no ids", chunk(call(0, one)), chunk(call(0, other))],
    ["no index, no ids", chunk(call(undefined, one)), chunk(call(undefined, other))],
    ["no index, in one chunk", chunk({ tool_calls: [{ function: one }, { function: other }] })],
    ["an index as text", chunk(call("0", one, "a")), chunk(call("1", other, "b"))],
    [
      "in fragments, one index",
      chunk(call(0, { name: "get_time", arguments: "" }, "a")),
      chunk(call(0, { arguments: '{"zone":' })),
      chunk(call(0, { arguments: '"CET"}' })),
      chunk(call(0, { name: "file_write", arguments: "" }, "b")),
      chunk(call(0, { arguments: '{"path":"a"}' }))
    ],
    [
      "fragments that repeat id and name",
      chunk(call(0, { name: "get_time", arguments: '{"zone":' }, "a")),
      chunk(call(0, { name: "get_time", arguments: '"CET"}' }, "a")),
      chunk(call(1, other, "b"))
    ],
    [
      "fragments with a new id each",
      chunk(call(0, { name: "get_time", arguments: '{"zone":' }, "a")),
      chunk(call(0, { arguments: '"CET"}' }, "a2")),
      chunk(call(1, other, "b"))
    ],
    ["a call that is repeated whole", chunk(call(0, one, "a")), chunk(call(0, one, "a")), chunk(call(1, other, "b"))],
    [
      "a name in pieces",
      chunk(call(0, { name: "get_" }, "a")),
      chunk(call(0, { name: "time" })),
      chunk(call(0, { arguments: one.arguments })),
      chunk(call(1, other, "b"))
    ]
  ]
  for (const [name, ...events] of cases) {
    it.effect(name, () =>
      Effect.gen(function* () {
        const answer = yield* streamed(chat, ...events, chunk({}, "tool_calls"), "[DONE]")
        assert.deepStrictEqual(
          answer.toolCalls.map((call) => [call.name, call.arguments]),
          both
        )
        assert.strictEqual(new Set(answer.toolCalls.map(({ id }) => id)).size, 2)
      })
    )
  }

  it.effect("two calls of one tool without ids", () =>
    Effect.gen(function* () {
      const events = [chunk(call(0, one)), chunk(call(0, one)), chunk({}, "tool_calls"), "[DONE]"]
      assert.strictEqual((yield* streamed(chat, ...events)).toolCalls.length, 2)
    })
  )

  it.effect("calls in a choice of their own are those of the answer; an alternative answer is not", () =>
    Effect.gen(function* () {
      const entry = { id: "a", type: "function", function: one }
      const apart = (finish: string) => ({
        choices: [
          { message: { content: "Let me see." }, finish_reason: finish },
          { message: { tool_calls: [entry] }, finish_reason: "tool_calls" }
        ]
      })
      assert.deepStrictEqual(yield* outcome(whole(chat, apart("tool_calls"))), {
        text: "Let me see.",
        calls: [first],
        finish: "tool-calls"
      })
      assert.deepStrictEqual(yield* outcome(whole(chat, apart("stop"))), {
        text: "Let me see.",
        calls: [],
        finish: "stop"
      })
      const pieces = [
        { choices: [{ index: 0, delta: { content: "Let me see." } }] },
        { choices: [{ index: 1, delta: { tool_calls: [{ index: 0, id: "a", function: one }] } }] },
        { choices: [{ index: 0, delta: {}, finish_reason: "tool_calls" }] },
        "[DONE]"
      ]
      assert.deepStrictEqual((yield* streamed(chat, ...pieces)).toolCalls.length, 1)
    })
  )

  it.effect("the form of 2023 is a call too", () =>
    Effect.gen(function* () {
      const expected = { text: "", calls: [first], finish: "tool-calls" as const }
      assert.deepStrictEqual(yield* outcome(whole(chat, message({ function_call: one }, "function_call"))), expected)
      assert.deepStrictEqual(
        yield* outcome(
          streamed(
            chat,
            chunk({ function_call: { name: "get_time", arguments: '{"zone"' } }),
            chunk({ function_call: { arguments: ':"CET"}' } }, "function_call"),
            "[DONE]"
          )
        ),
        expected
      )
    })
  )

  it.effect("ids that are made here differ from answer to answer", () =>
    Effect.gen(function* () {
      const ids = yield* Effect.forEach(["x", "y"], (id) =>
        Effect.map(whole(chat, { ...message(call(0, one), "tool_calls"), id }), ({ toolCalls }) => toolCalls[0]?.id)
      )
      assert.strictEqual(new Set(ids).size, 2)
    })
  )
})

describe("a tool call that is not whole is never delivered", () => {
  const limit = { text: "", calls: [], finish: "length" }

  it.effect("in Chat Completions", () =>
    Effect.gen(function* () {
      for (const args of ['{"path":"a', "", '{"n": 12', "{"]) {
        const fn = { name: "delete_files", arguments: args }
        assert.deepStrictEqual(yield* outcome(whole(chat, message(call(0, fn, "a"), "length"))), limit)
        assert.deepStrictEqual(yield* outcome(streamed(chat, chunk(call(0, fn, "a"), "length"), "[DONE]")), limit)
      }
    })
  )

  it.effect("in Messages, where the body of a whole answer does not show that it was cut", () =>
    Effect.gen(function* () {
      for (const pieces of [[], ['{"path":"a'], ['{"path":', '"a"}']]) {
        const events = [started, ...block(0, tool, ...pieces.map(json)), ...stopped("max_tokens")]
        assert.deepStrictEqual(yield* outcome(streamed(anthropic, ...events)), limit)
      }
      for (const input of [{}, { path: "a" }]) {
        const body = { content: [{ ...tool, input }], stop_reason: "max_tokens" }
        assert.deepStrictEqual(yield* outcome(whole(anthropic, body)), limit)
      }
      const unstopped = [
        started,
        ...block(0, tool, json("{")).slice(0, -1),
        ...stopped("max_tokens", { output_tokens: 9 })
      ]
      const answer = yield* streamed(anthropic, ...unstopped)
      assert.deepStrictEqual([answer.finishReason, answer.usage?.outputTokens], ["length", 9])
    })
  )

  it.effect("the calls before it are", () =>
    Effect.gen(function* () {
      const second = { ...tool, id: "t2", name: "g" }
      const events = [
        started,
        ...block(0, tool, json('{"a":1}')),
        ...block(1, second, json('{"b"')),
        ...stopped("max_tokens")
      ]
      assert.deepStrictEqual(yield* outcome(streamed(anthropic, ...events)), {
        text: "",
        calls: [["f", { a: 1 }]],
        finish: "length"
      })
    })
  )

  it.effect("in Responses", () =>
    Effect.gen(function* () {
      const cut = { status: "incomplete", incomplete_details: { reason: "max_output_tokens" } }
      for (const item of [
        { type: "function_call", status: "incomplete", call_id: "a", name: "f", arguments: '{"a":1}' },
        { type: "function_call", call_id: "a", name: "f", arguments: '{"a":' },
        { type: "function_call", call_id: "a", name: "f", arguments: "" }
      ]) {
        const response = { ...cut, output: [item] }
        assert.deepStrictEqual(yield* outcome(whole(responses, { id: "resp_1", ...response })), limit)
        const events = [
          created,
          { type: "response.output_item.added", output_index: 0, item: { ...item, arguments: "" } },
          { type: "response.output_item.done", output_index: 0, item },
          ended(response, "response.incomplete")
        ]
        assert.deepStrictEqual(yield* outcome(streamed(responses, ...events)), limit)
      }
    })
  )

  it.effect("in Gemini, whose arguments may come in pieces by their paths", () =>
    Effect.gen(function* () {
      const piece = (jsonPath: string, stringValue: string, more = false) => ({
        functionCall: { partialArgs: [{ jsonPath, stringValue, willContinue: more }], willContinue: true }
      })
      const begun = parts([{ functionCall: { name: "delete_files", id: "g1", willContinue: true } }])
      const events = [
        begun,
        parts([piece("$.paths[0]", "a/", true)]),
        parts([piece("$.paths[0]", "b")]),
        parts([piece("$.paths[1]", "c")]),
        parts([{ functionCall: { partialArgs: [{ jsonPath: "$.force", boolValue: true }] } }], { finishReason: "STOP" })
      ]
      assert.deepStrictEqual(yield* outcome(streamed(gemini, ...events)), {
        text: "",
        calls: [["delete_files", { paths: ["a/b", "c"], force: true }]],
        finish: "tool-calls"
      })
      assert.deepStrictEqual(yield* outcome(streamed(gemini, begun, parts([], { finishReason: "MAX_TOKENS" }))), limit)
      const unended = yield* outcome(streamed(gemini, begun, parts([], { finishReason: "STOP" })))
      assert.deepInclude(unended, { error: "InvalidResponse" })
    })
  )

  it.effect("arguments that are broken without a limit are an error that may be retried", () =>
    Effect.gen(function* () {
      const fn = { name: "f", arguments: '{"a":' }
      const error = yield* Effect.flip(streamed(chat, chunk(call(0, fn, "a"), "tool_calls"), "[DONE]"))
      assert.strictEqual(error._tag, "InvalidResponse")
    })
  )
})

// -----------------------------------------------------------------------------
// noise, odd frames and odd bodies
// -----------------------------------------------------------------------------

describe("harmless noise is passed over", () => {
  const noise = [
    "data:\n\n",
    "data: : PROCESSING\n\n",
    ": comment\n\n",
    "event: ping\ndata:\n\n",
    "event: ping\ndata: x\n\n"
  ]
  const streams = {
    chat: [chat, [chunk({ content: "hi" }), chunk({}, "stop")]],
    anthropic: [anthropic, [started, ...textBlock("hi"), ...stopped("end_turn")]],
    gemini: [gemini, [parts([{ text: "hi" }]), parts([], { finishReason: "STOP" })]],
    responses: [responses, [created, { type: "response.output_text.delta", delta: "hi" }, ended({ output: [] })]]
  } as const
  for (const [name, [make, events]] of Object.entries(streams)) {
    const frames = events.map((event) => {
      const type = (event as { readonly type?: string }).type
      return `${type === undefined ? "" : `event: ${type}\n`}data: ${JSON.stringify(event)}\n\n`
    })
    it.effect(name, () =>
      Effect.gen(function* () {
        for (const one of noise) {
          const text = frames.map((frame) => one + frame).join("") + one
          assert.strictEqual((yield* collect(make, raw(text))).text, "hi", one)
        }
        const done = `${frames.join("")}data: [DONE] \n\n`
        assert.strictEqual((yield* collect(make, raw(done))).text, "hi")
      })
    )
    it.effect(`${name}: events that are parted by one line end`, () =>
      Effect.gen(function* () {
        const text = `${frames.map((frame) => frame.trimEnd()).join("\n")}\ndata: [DONE]\n`
        assert.strictEqual((yield* collect(make, raw(text))).text, "hi")
      })
    )
    it.effect(`${name}: a stream that is called JSON, and one that nobody asked for`, () =>
      Effect.gen(function* () {
        const text = `${frames.join("")}data: [DONE]\n\n`
        assert.strictEqual((yield* collect(make, raw(text, "application/json"))).text, "hi")
        assert.strictEqual((yield* generate(make, raw(text))).text, "hi")
        assert.strictEqual((yield* generate(make, raw(text, "application/json"))).text, "hi")
      })
    )
  }

  const bodies = {
    chat: [chat, message({ content: "hi" })],
    anthropic: [anthropic, { content: [{ type: "text", text: "hi" }], stop_reason: "end_turn" }],
    gemini: [gemini, parts([{ text: "hi" }], { finishReason: "STOP" })],
    responses: [responses, { id: "resp_1", status: "completed", output: [said("hi")] }]
  } as const
  for (const [name, [make, body]] of Object.entries(bodies)) {
    it.effect(`${name}: a whole answer where a stream was asked for, under any type`, () =>
      Effect.gen(function* () {
        for (const type of ["application/json", "text/plain", "text/event-stream"]) {
          for (const text of [JSON.stringify(body), JSON.stringify(body, null, 2), `${JSON.stringify(body)}\n\n`]) {
            assert.strictEqual((yield* collect(make, raw(text, type))).text, "hi", type)
          }
        }
        const followed = `${JSON.stringify(body)}\n\ndata: [DONE]\n\n`
        assert.strictEqual((yield* generate(make, raw(followed, "application/json"))).text, "hi")
        assert.strictEqual((yield* collect(make, raw(followed, "application/json"))).text, "hi")
      })
    )
  }
})

describe("errors in odd frames", () => {
  const begin = `data: ${JSON.stringify(chunk({ content: "a" }))}\n\n`
  const cases: ReadonlyArray<readonly [name: string, text: string, tag: string]> = [
    [
      "a field named error",
      'error: {"code":503,"message":"loading model","type":"unavailable_error"}\n\n',
      "Overloaded"
    ],
    ["an error event in plain words", "event: error\ndata: upstream failed\n\n", "ServerError"],
    ["an error in x_groq", 'data: {"id":"c","choices":[],"x_groq":{"error":"over capacity"}}\n\n', "Overloaded"],
    ["JSON that is cut inside an event", 'data: {"id":"c","choi\n\n', "InvalidResponse"],
    [
      "an error's JSON as content",
      `data: ${JSON.stringify(chunk({ content: '{"error":{"code":429,"message":"rate limited"}}' }, "error_finish"))}\n\n`,
      "RateLimited"
    ]
  ]
  for (const [name, text, tag] of cases) {
    it.effect(name, () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(collect(chat, raw(begin + text)))
        assert.strictEqual(error._tag, tag, error.message)
      })
    )
  }

  it.effect("an end that names an error is that error", () =>
    Effect.gen(function* () {
      for (const [reason, tag] of [
        ["overloaded_error", "Overloaded"],
        ["rate_limit_error", "RateLimited"],
        ["function_call_filter: MALFORMED_FUNCTION_CALL", "InvalidResponse"],
        ["content_filter: RECITATION", "ContentFiltered"],
        ["SomeNewException", "ServerError"]
      ] as const) {
        assert.deepInclude(yield* outcome(whole(chat, message({ content: "a" }, reason))), { error: tag }, reason)
        assert.deepInclude(yield* outcome(streamed(chat, chunk({ content: "a" }, reason))), { error: tag }, reason)
      }
    })
  )
})

// -----------------------------------------------------------------------------
// empty and refused answers
// -----------------------------------------------------------------------------

describe("an answer that says nothing", () => {
  const invalid = { error: "InvalidResponse", code: undefined }
  const counted = { text: "", calls: [], finish: "stop" }

  it.effect("is no answer, whole and streamed", () =>
    Effect.gen(function* () {
      for (const answer of [
        whole(chat, message({ content: "" })),
        whole(chat, message({ content: null }, "stop", usage(3, 0))),
        streamed(chat, chunk({ content: "" }, "stop"), "[DONE]"),
        streamed(chat, chunk({}, "tool_calls"), "[DONE]"),
        whole(anthropic, { content: [], stop_reason: "end_turn" }),
        streamed(anthropic, started, ...stopped("end_turn", {})),
        whole(responses, { id: "resp_1", status: "completed", output: [] }),
        streamed(responses, created, ended({ output: [] })),
        whole(gemini, parts([], { finishReason: "STOP" })),
        streamed(gemini, parts([], { finishReason: "STOP" })),
        whole(gemini, parts([], { finishReason: "OTHER" })),
        streamed(gemini, parts([], { finishReason: "OTHER" }))
      ]) {
        assert.deepStrictEqual(yield* outcome(answer), invalid)
      }
    })
  )

  it.effect("is one if the model generated tokens for it, or the limit left none", () =>
    Effect.gen(function* () {
      for (const answer of [
        whole(chat, message({ content: "" }, "stop", usage(3, 2))),
        streamed(chat, chunk({}, "stop"), { choices: [], ...usage(3, 2) }, "[DONE]"),
        whole(anthropic, { content: [], stop_reason: "end_turn", usage: { input_tokens: 1, output_tokens: 2 } }),
        streamed(anthropic, started, ...stopped("end_turn", { output_tokens: 2 }))
      ]) {
        assert.deepStrictEqual(yield* outcome(answer), counted)
      }
      for (const answer of [
        whole(chat, message({ content: "" }, "length")),
        streamed(chat, chunk({}, "length"), "[DONE]")
      ]) {
        assert.deepStrictEqual(yield* outcome(answer), { ...counted, finish: "length" })
      }
    })
  )

  it.effect("a refusal is ContentFiltered", () =>
    Effect.gen(function* () {
      const refused = { error: "ContentFiltered", code: "refusal" }
      const part = { type: "message", content: [{ type: "refusal", refusal: "I cannot." }] }
      for (const answer of [
        whole(chat, message({ content: null, refusal: "I cannot." })),
        whole(chat, message({ content: [{ type: "refusal", refusal: "I cannot." }] })),
        streamed(chat, chunk({ refusal: "I can" }), chunk({ refusal: "not." }, "stop"), "[DONE]"),
        whole(responses, { id: "resp_1", status: "completed", output: [part] }),
        streamed(responses, created, { type: "response.refusal.delta", delta: "I cannot." }, ended({ output: [part] })),
        streamed(responses, created, ended({ output: [part] }))
      ]) {
        assert.deepStrictEqual(yield* outcome(answer), refused)
      }
      const error = yield* Effect.flip(streamed(chat, chunk({ refusal: "I cannot." }, "stop"), "[DONE]"))
      assert.include(error.message, "I cannot.")
    })
  )

  it.effect("a message in the place of a delta is read", () =>
    Effect.gen(function* () {
      const events = [{ choices: [{ index: 0, message: { content: "hi" }, finish_reason: "stop" }] }, "[DONE]"]
      assert.strictEqual((yield* streamed(chat, ...events)).text, "hi")
    })
  )
})

// -----------------------------------------------------------------------------
// counts
// -----------------------------------------------------------------------------

describe("counts", () => {
  it.effect("are cumulative: the larger holds, also over a later zero", () =>
    Effect.gen(function* () {
      const first = { ...started, message: { ...started.message, usage: { input_tokens: 100, output_tokens: 1 } } }
      const events = [first, ...textBlock("a"), ...stopped("end_turn", { input_tokens: 0, output_tokens: 7 })]
      assert.deepStrictEqual((yield* streamed(anthropic, ...events)).usage, { inputTokens: 100, outputTokens: 7 })
      const chunks = [chunk({ content: "a" }, "stop", usage(9, 4)), { choices: [], ...usage(0, 0) }, "[DONE]"]
      assert.deepStrictEqual((yield* streamed(chat, ...chunks)).usage, { inputTokens: 9, outputTokens: 4 })
      const google = [
        parts([{ text: "a" }], {}, { usageMetadata: { promptTokenCount: 5, candidatesTokenCount: 3 } }),
        parts([], { finishReason: "STOP" }, { usageMetadata: { promptTokenCount: 5, totalTokenCount: 8 } })
      ]
      assert.deepStrictEqual((yield* streamed(gemini, ...google)).usage, { inputTokens: 5, outputTokens: 3 })
    })
  )

  it.effect("include what is counted only in the total", () =>
    Effect.gen(function* () {
      const { usage: counted } = yield* whole(chat, message({ content: "a" }, "stop", usage(32, 9, 340)))
      assert.deepStrictEqual(counted, { inputTokens: 32, outputTokens: 308 })
      const google = parts(
        [{ text: "a" }],
        { finishReason: "STOP" },
        {
          usageMetadata: { promptTokenCount: 5, totalTokenCount: 25 }
        }
      )
      assert.deepStrictEqual((yield* whole(gemini, google)).usage, { inputTokens: 5, outputTokens: 20 })
    })
  )

  it.effect("of which a half is unknown are unknown", () =>
    Effect.gen(function* () {
      for (const broken of [undefined, null, "12", -1, 1.5, {}]) {
        const body = message({ content: "a" }, "stop", { usage: { prompt_tokens: 12, completion_tokens: broken } })
        assert.isUndefined((yield* whole(chat, body)).usage, String(broken))
      }
    })
  )

  it.effect("are read from a choice too", () =>
    Effect.gen(function* () {
      const choice = { index: 0, delta: { content: "a" }, finish_reason: "stop", ...usage(2, 1) }
      const answer = yield* streamed(chat, { choices: [choice] }, "[DONE]")
      assert.deepStrictEqual(answer.usage, { inputTokens: 2, outputTokens: 1 })
    })
  )

  it.effect("of cache writes, by their time to live, are parts of the input", () =>
    Effect.gen(function* () {
      const written = {
        input_tokens: 10,
        output_tokens: 1,
        cache_read_input_tokens: 5,
        cache_creation_input_tokens: 100,
        cache_creation: { ephemeral_5m_input_tokens: 40, ephemeral_1h_input_tokens: 60 }
      }
      const expected = {
        inputTokens: 115,
        outputTokens: 1,
        cachedInputTokens: 5,
        cacheWriteTokens: 100,
        cacheWriteHourTokens: 60
      }
      const body = { content: [{ type: "text", text: "a" }], stop_reason: "end_turn", usage: written }
      assert.deepStrictEqual((yield* whole(anthropic, body)).usage, expected)
      const first = { ...started, message: { ...started.message, usage: written } }
      assert.deepStrictEqual(
        (yield* streamed(anthropic, first, ...textBlock("a"), ...stopped("end_turn", { output_tokens: 1 }))).usage,
        expected
      )
    })
  )

  it.effect("that no field holds are in the details", () =>
    Effect.gen(function* () {
      const more = { usage: { prompt_tokens: 1, completion_tokens: 1, cost: 0.25, num_search_queries: 0 } }
      const answer = yield* whole(chat, message({ content: "a" }, "stop", more))
      assert.deepStrictEqual(answer.providerData?.details, { usage: { cost: 0.25 } })
    })
  )
})
