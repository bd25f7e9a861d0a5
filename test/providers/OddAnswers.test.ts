import { assert, describe, it } from "@effect/vitest"
import { Effect, Either, Redacted } from "effect"
import { Anthropic, type Chat, Gemini, type LlmError, OpenAi, OpenAiResponses } from "effect-steadfast"
import { Reply, type Step } from "effect-steadfast/testing"
import { collect, generate, type Make, secret, sse } from "./support.js"

/** Answers of servers that speak a wire format in their own way. */

const apiKey = Redacted.make(secret)
const chat = OpenAi.make({ model: "gpt-4o", apiKey })
const responses = OpenAiResponses.make({ model: "gpt-4o", apiKey })
const anthropic = Anthropic.make({ model: "claude-haiku-4-5", apiKey })
const gemini = Gemini.make({ model: "gemini-2.5-flash", apiKey })

const streamed = (make: Make, ...events: ReadonlyArray<unknown>) => collect(make, sse(events))
const whole = (make: Make, body: unknown) => generate(make, Reply.json(body))
const raw = (text: string, type = "text/event-stream"): Step.Raw =>
  Reply.raw([text], { headers: { "content-type": type } })

type Answer = Effect.Effect<Chat.Response, LlmError.LlmError>

const callsOf = (answer: Answer) =>
  Effect.map(answer, ({ toolCalls }) => toolCalls.map((call) => [call.name, call.arguments]))
const replyOf = (answer: Answer) => Effect.map(answer, ({ providerData }) => providerData?.reply)
/** The tag of the error, or what was answered instead. */
const errorOf = (answer: Answer) =>
  Effect.map(Effect.either(answer), (either) =>
    Either.isLeft(either) ? either.left._tag : JSON.stringify(either.right)
  )

const chunk = (delta: unknown, finish: string | null = null, more: object = {}) => ({
  id: "c1",
  choices: [{ index: 0, delta, finish_reason: finish }],
  ...more
})
const message = (content: object, finish = "stop") => ({
  id: "c1",
  choices: [{ index: 0, message: content, finish_reason: finish }]
})
const calls = (...tool_calls: ReadonlyArray<unknown>) => ({ tool_calls })
const fn = (name: string | null, args: unknown) => ({ function: { name, arguments: args } })
const end = [chunk({}, "tool_calls"), "[DONE]"] as const
const x = { x: 1 }

// -----------------------------------------------------------------------------
// Chat Completions
// -----------------------------------------------------------------------------

describe("Chat Completions: calls keep their own arguments", () => {
  const two = [
    ["f", x],
    ["g", { y: 2 }]
  ]
  const cases: ReadonlyArray<readonly [name: string, expected: unknown, ...events: ReadonlyArray<object>]> = [
    [
      "fragments are told apart by their ids, without an index",
      two,
      chunk(calls({ id: "a", ...fn("f", "") }, { id: "b", ...fn("g", "") })),
      chunk(calls({ id: "a", ...fn(null, '{"x":1}') }, { id: "b", ...fn(null, '{"y":2}') }))
    ],
    [
      "another name after closed arguments is another call, also with one index and no ids",
      two,
      chunk(calls({ index: 0, ...fn("f", '{"x":1}') })),
      chunk(calls({ index: 0, ...fn("g", "") })),
      chunk(calls({ index: 0, ...fn(null, '{"y":2}') }))
    ],
    [
      "two calls of one tool with objects as arguments, without index and ids",
      [
        ["f", x],
        ["f", { x: 2 }]
      ],
      chunk(calls(fn("f", x))),
      chunk(calls(fn("f", { x: 2 })))
    ],
    [
      "an index that comes only with the fragments",
      [["f", x]],
      chunk(calls({ id: "a", ...fn("f", "") })),
      chunk(calls({ index: 0, ...fn(null, '{"x":1}') }))
    ],
    [
      "all arguments again at the end, written otherwise",
      [["f", x]],
      chunk(calls({ index: 0, id: "a", ...fn("f", '{"x"') })),
      chunk(calls({ index: 0, ...fn(null, ":1}") })),
      chunk(calls({ index: 0, ...fn(null, '{"x": 1}') }))
    ],
    [
      "all arguments after the beginning of them",
      [["f", x]],
      chunk(calls({ index: 0, id: "a", ...fn("f", '{"x":') })),
      chunk(calls({ index: 0, ...fn(null, '{"x":1}') }))
    ],
    ["arguments that are encoded twice", [["f", x]], chunk(calls({ id: "a", ...fn("f", JSON.stringify('{"x":1}')) }))],
    ["null as arguments", [["f", {}]], chunk(calls({ id: "a", ...fn("f", "null") }))]
  ]
  for (const [name, expected, ...events] of cases) {
    it.effect(name, () =>
      Effect.gen(function* () {
        assert.deepStrictEqual(yield* callsOf(streamed(chat, ...events, ...end)), expected)
      })
    )
  }

  it.effect("other arguments after closed ones are no repetition", () =>
    Effect.gen(function* () {
      const events = [
        chunk(calls({ index: 0, id: "a", ...fn("f", '{"x":1}') })),
        chunk(calls({ index: 0, ...fn(null, '{"x":2}') }))
      ]
      assert.strictEqual(yield* errorOf(streamed(chat, ...events, ...end)), "InvalidResponse")
    })
  )

  it.effect("a repetition that nobody could compare is none, and no defect", () =>
    Effect.gen(function* () {
      const deep = "[".repeat(100_000) + "]".repeat(100_000)
      const events = [
        chunk(calls({ index: 0, id: "a", ...fn("f", deep) })),
        chunk(calls({ index: 0, ...fn(null, ` ${deep}`) }))
      ]
      assert.strictEqual(yield* errorOf(streamed(chat, ...events, ...end)), "InvalidResponse")
    })
  )

  it.effect("an entry that says nothing is no call", () =>
    Effect.gen(function* () {
      for (const entry of [null, {}, { index: 0, id: null, ...fn(null, "") }]) {
        const answer = yield* streamed(chat, chunk({ content: "hi", ...calls(entry) }), chunk({}, "stop"), "[DONE]")
        assert.deepStrictEqual([answer.text, answer.toolCalls], ["hi", []])
        assert.deepStrictEqual((yield* whole(chat, message({ content: "hi", ...calls(entry) }))).toolCalls, [])
      }
    })
  )
})

describe("Chat Completions: odd pieces", () => {
  it.effect("reasoning is read from the field that has some", () =>
    Effect.gen(function* () {
      const both = { reasoning_content: "", reasoning: "Hm." }
      assert.strictEqual((yield* whole(chat, message({ content: "a", ...both }))).reasoning, "Hm.")
      const answer = yield* streamed(chat, chunk(both), chunk({ content: "a" }, "stop"), "[DONE]")
      assert.strictEqual(answer.reasoning, "Hm.")
    })
  )

  it.effect("text that follows thoughts in a list goes back with them", () =>
    Effect.gen(function* () {
      const thinking = { type: "thinking", thinking: [{ type: "text", text: "Hm." }] }
      const events = [
        chunk({ content: [thinking] }),
        chunk({ content: "ye" }),
        chunk({ content: "s" }, "stop"),
        "[DONE]"
      ]
      assert.deepStrictEqual(yield* replyOf(streamed(chat, ...events)), {
        content: [
          { ...thinking, closed: true },
          { type: "text", text: "yes" }
        ]
      })
    })
  )

  it.effect("citations that come in every chunk are counted once", () =>
    Effect.gen(function* () {
      const cited = { citations: ["https://a.example"] }
      const answer = yield* streamed(chat, chunk({ content: "a" }, null, cited), chunk({}, "stop", cited), "[DONE]")
      assert.deepStrictEqual(answer.providerData?.details, cited)
    })
  )

  it.effect("the log probabilities of pieces are joined", () =>
    Effect.gen(function* () {
      const piece = (token: string, finish: string | null) => ({
        choices: [{ index: 0, delta: { content: token }, logprobs: { content: [{ token }] }, finish_reason: finish }]
      })
      const answer = yield* streamed(chat, piece("a", null), piece("b", "stop"), "[DONE]")
      assert.deepStrictEqual(answer.providerData?.details, { logprobs: [{ token: "a" }, { token: "b" }] })
    })
  )

  it.effect("the whole message after its pieces is not said again", () =>
    Effect.gen(function* () {
      const again = { object: "chat.completion", ...message({ content: "ab" }) }
      const answer = yield* streamed(chat, chunk({ content: "a" }), chunk({ content: "b" }), again, "[DONE]")
      assert.deepStrictEqual([answer.text, answer.finishReason], ["ab", "stop"])
    })
  )

  it.effect("an index of a choice may be a text", () =>
    Effect.gen(function* () {
      const events = [{ choices: [{ index: "0", delta: { content: "a" }, finish_reason: "stop" }] }, "[DONE]"]
      assert.strictEqual((yield* streamed(chat, ...events)).text, "a")
    })
  )
})

// -----------------------------------------------------------------------------
// Messages
// -----------------------------------------------------------------------------

describe("Messages: blocks that are mixed up", () => {
  const start = (index: number, content_block: object) => ({ type: "content_block_start", index, content_block })
  const delta = (index: number, delta: object) => ({ type: "content_block_delta", index, delta })
  const stop = (reason: string) => [{ type: "message_delta", delta: { stop_reason: reason } }, { type: "message_stop" }]
  const tool = (name: string) => ({ type: "tool_use", id: name, name, input: {} })
  const json = (partial_json: string) => ({ type: "input_json_delta", partial_json })

  it.effect("text with the index of a thought does not change what was signed", () =>
    Effect.gen(function* () {
      const answer = yield* streamed(
        anthropic,
        start(0, { type: "thinking", thinking: "" }),
        delta(0, { type: "thinking_delta", thinking: "Hm." }),
        delta(0, { type: "signature_delta", signature: "c2ln" }),
        delta(0, { type: "text_delta", text: "yes" }),
        ...stop("end_turn")
      )
      assert.strictEqual(answer.text, "yes")
      assert.deepStrictEqual(answer.providerData?.reply, {
        content: [{ type: "thinking", thinking: "Hm.", signature: "c2ln" }]
      })
    })
  )

  it.effect("arguments with the index of a text are nobody's: the call has lost them", () =>
    Effect.gen(function* () {
      const events = [
        start(0, { type: "text", text: "a" }),
        start(1, tool("f")),
        delta(0, json('{"x":1}')),
        ...stop("tool_use")
      ]
      assert.strictEqual(yield* errorOf(streamed(anthropic, ...events)), "InvalidResponse")
    })
  )

  it.effect("a block ends where another begins with its index", () =>
    Effect.gen(function* () {
      const events = [
        start(0, tool("f")),
        delta(0, json('{"x":1}')),
        start(0, tool("g")),
        delta(0, json("{")),
        ...stop("max_tokens")
      ]
      assert.deepStrictEqual(yield* callsOf(streamed(anthropic, ...events)), [["f", x]])
    })
  )

  it.effect("an input as text is read", () =>
    Effect.gen(function* () {
      const body = { content: [{ ...tool("f"), input: '{"x":1}' }], stop_reason: "tool_use" }
      assert.deepStrictEqual(yield* callsOf(whole(anthropic, body)), [["f", x]])
      const broken = { content: [{ ...tool("f"), input: '{"x":' }], stop_reason: "tool_use" }
      assert.strictEqual(yield* errorOf(whole(anthropic, broken)), "InvalidResponse")
    })
  )
})

// -----------------------------------------------------------------------------
// Gemini
// -----------------------------------------------------------------------------

describe("Gemini: odd parts", () => {
  const parts = (...parts: ReadonlyArray<object>) => ({ candidates: [{ content: { parts } }] })
  const last = (...parts: ReadonlyArray<object>) => ({ candidates: [{ content: { parts }, finishReason: "STOP" }] })

  it.effect("null is nothing", () =>
    Effect.gen(function* () {
      const answer = yield* whole(
        gemini,
        last({ text: "a", functionCall: null }, { text: null, executableCode: { a: 1 } })
      )
      assert.strictEqual(answer.text, "a")
      assert.deepStrictEqual(answer.providerData?.reply, { parts: [{ text: "a" }, { executableCode: { a: 1 } }] })
      assert.deepStrictEqual(yield* callsOf(whole(gemini, last({ text: null, functionCall: { name: "f" } }))), [
        ["f", {}]
      ])
    })
  )

  it.effect("arguments as text are read", () =>
    Effect.gen(function* () {
      const call = (args: string) => last({ functionCall: { name: "f", args } })
      assert.deepStrictEqual(yield* callsOf(whole(gemini, call('{"x":1}'))), [["f", x]])
      assert.strictEqual(yield* errorOf(whole(gemini, call('{"x":'))), "InvalidResponse")
    })
  )

  it.effect("a signed part goes back alone, as it came, also if it is empty or a thought", () =>
    Effect.gen(function* () {
      const signed = [
        { text: "Hm.", thought: true, thoughtSignature: "YQ==" },
        { text: "b", thoughtSignature: "Yg==" },
        { text: "", thoughtSignature: "Yw==" }
      ] as const
      const events = [parts(signed[0]), parts({ text: "a" }), parts({ text: "a" }), parts(signed[1]), last(signed[2])]
      assert.deepStrictEqual(yield* replyOf(streamed(gemini, ...events)), {
        parts: [signed[0], { text: "aa" }, signed[1], signed[2]]
      })
    })
  )

  it.effect("a call whose pieces repeat its name is one", () =>
    Effect.gen(function* () {
      const piece = (more: object) => parts({ functionCall: { name: "f", id: "1", ...more } })
      const events = [
        piece({ willContinue: true }),
        piece({ partialArgs: [{ jsonPath: "$.x", numberValue: 1 }], willContinue: true }),
        last({ functionCall: {} })
      ]
      assert.deepStrictEqual(yield* callsOf(streamed(gemini, ...events)), [["f", x]])
    })
  )

  it.effect("a list is a stream of its elements", () =>
    Effect.gen(function* () {
      const list = raw(JSON.stringify([parts({ text: "a" }), last({ text: "b" })], null, 2), "application/json")
      assert.strictEqual((yield* collect(gemini, list)).text, "ab")
      assert.strictEqual((yield* generate(gemini, list)).text, "ab")
      const half = raw(JSON.stringify([parts({ text: "a" })]), "application/json")
      assert.strictEqual(yield* errorOf(generate(gemini, half)), "InvalidResponse")
      const nested = raw("[".repeat(100_000) + "]".repeat(100_000), "application/json")
      assert.strictEqual(yield* errorOf(generate(gemini, nested)), "InvalidResponse")
    })
  )
})

// -----------------------------------------------------------------------------
// Responses
// -----------------------------------------------------------------------------

describe("Responses: what is told only once", () => {
  const created = { type: "response.created", response: { id: "resp_1", status: "in_progress" } }
  const item = { type: "function_call", id: "i", call_id: "a", name: "f", arguments: "" }
  const added = { type: "response.output_item.added", output_index: 0, item }
  const delta = { type: "response.function_call_arguments.delta", output_index: 0, item_id: "i", delta: '{"x":1}' }
  const completed = { type: "response.completed", response: { id: "resp_1", status: "completed", output: [] } }

  const cases: ReadonlyArray<readonly [name: string, ...events: ReadonlyArray<object>]> = [
    [
      "arguments in their last event",
      added,
      { type: "response.function_call_arguments.done", output_index: 0, arguments: '{"x":1}' }
    ],
    ["arguments in their first event", { ...added, item: { ...item, arguments: '{"x":1}' } }],
    [
      "arguments in pieces, and an end without them",
      added,
      delta,
      { type: "response.function_call_arguments.done", output_index: 0, arguments: "" },
      { type: "response.output_item.done", output_index: 0, item }
    ],
    [
      "arguments of an item whose id nobody knows",
      { type: "response.output_item.added", item },
      { type: "response.function_call_arguments.delta", item_id: "other", delta: '{"x":1}' }
    ]
  ]
  for (const [name, ...events] of cases) {
    it.effect(name, () =>
      Effect.gen(function* () {
        assert.deepStrictEqual(yield* callsOf(streamed(responses, created, ...events, completed)), [["f", x]])
      })
    )
  }

  it.effect("a call of which no arguments were told is not delivered", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* errorOf(streamed(responses, created, added, completed)), "InvalidResponse")
    })
  )

  it.effect("text in its last event, part for part", () =>
    Effect.gen(function* () {
      const done = (text: string) => ({ type: "response.output_text.done", text })
      const piece = { type: "response.output_text.delta", delta: "a" }
      const answer = yield* streamed(responses, created, piece, done("a"), done("b"), completed)
      assert.strictEqual(answer.text, "ab")
    })
  )

  it.effect("a refusal in its last event", () =>
    Effect.gen(function* () {
      const done = { type: "response.refusal.done", refusal: "I cannot." }
      assert.strictEqual(yield* errorOf(streamed(responses, created, done, completed)), "ContentFiltered")
    })
  )
})

// -----------------------------------------------------------------------------
// frames
// -----------------------------------------------------------------------------

describe("odd frames", () => {
  const good = `data: ${JSON.stringify(chunk({ content: "hi" }, "stop"))}\n\ndata: [DONE]\n\n`

  it.effect("heartbeats in words are passed over", () =>
    Effect.gen(function* () {
      for (const beat of ["data: ping", "data: [PING]", "data: keep-alive", "event: heartbeat\ndata: alive"]) {
        assert.strictEqual((yield* collect(chat, raw(`${beat}\n\n${good}`))).text, "hi", beat)
      }
    })
  )

  it.effect("a byte order mark before a body is passed over", () =>
    Effect.gen(function* () {
      const body = raw(`\uFEFF${JSON.stringify(message({ content: "hi" }))}`, "application/json")
      assert.strictEqual((yield* generate(chat, body)).text, "hi")
    })
  )

  it.effect("pieces outside of events are no whole answer", () =>
    Effect.gen(function* () {
      const pieces = [chunk({ content: "a" }), chunk({ content: "b" }, "stop")].map(
        (one) => `${JSON.stringify(one)}\n\n`
      )
      assert.strictEqual(yield* errorOf(collect(chat, raw(pieces.join("")))), "InvalidResponse")
    })
  )
})

describe("Chat Completions: several choices", () => {
  const at = (index: number, delta: unknown, finish_reason: string | null = null) => ({
    id: "c1",
    choices: [{ index, delta, finish_reason }]
  })
  const begun = [at(0, { content: "a" }), at(1, { content: "b" }), at(0, {}, "stop"), at(1, { content: "c" })]

  it.effect("end where all of them have ended, or the stream", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* errorOf(streamed(chat, ...begun)), "StreamInterrupted")
      assert.strictEqual((yield* streamed(chat, ...begun, at(1, {}, "stop"))).text, "a")
      assert.strictEqual((yield* streamed(chat, ...begun, "[DONE]")).text, "a")
      const last = [at(1, { content: "b" }), at(1, {}, "stop"), at(0, { content: "a" })]
      assert.strictEqual(yield* errorOf(streamed(chat, ...last)), "StreamInterrupted")
      assert.strictEqual((yield* streamed(chat, ...last, at(0, {}, "stop"))).text, "a")
    })
  )
})

describe("Chat Completions: custom tools", () => {
  const custom = (name: string | undefined, input: string, index = 0) => ({
    index,
    ...(name === undefined ? {} : { id: `call-${name}`, type: "custom" }),
    custom: { ...(name === undefined ? {} : { name }), input }
  })

  it.effect("have the text of their call as input", () =>
    Effect.gen(function* () {
      const expected = [
        ["sql", { input: 'select "a"' }],
        ["f", x]
      ]
      const both = [custom("sql", 'select "a"'), { index: 1, id: "b", type: "function", ...fn("f", '{"x":1}') }]
      assert.deepStrictEqual(yield* callsOf(whole(chat, message(calls(...both), "tool_calls"))), expected)
      const pieces = [
        chunk(calls(custom("sql", ""))),
        chunk(calls(custom(undefined, "select "))),
        chunk(calls(custom(undefined, '"a"'))),
        chunk(calls(both[1]))
      ]
      assert.deepStrictEqual(yield* callsOf(streamed(chat, ...pieces, ...end)), expected)
      assert.strictEqual(yield* errorOf(streamed(chat, ...pieces)), "StreamInterrupted")
      // The limit may have cut the text.
      const cut = [chunk(calls(custom("sql", "sel"))), chunk({}, "length"), "[DONE]"]
      assert.deepStrictEqual(yield* callsOf(streamed(chat, ...cut)), [])
    })
  )
})
