import { HttpClient } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, FastCheck as fc, Redacted, TestClock } from "effect"
import { Chat, ChatModel, LlmError, OpenAiResponses, RetryPolicy } from "effect-steadfast"
import { Fault, FaultyProvider, Reply, type Step } from "effect-steadfast/testing"
import * as OpenAiResponsesRequest from "../../src/providers/openai/OpenAiResponsesRequest.js"
import { cases } from "../support/cases.js"
import { at } from "./support.js"

const encode = (request: Chat.Request, model = "gpt-5", provider = "openai") =>
  OpenAiResponsesRequest.encode(provider, model)(request, false)

const written = (request: Chat.Request, model?: string, provider?: string) => {
  const encoded = encode(request, model, provider)
  if (encoded instanceof Error) return assert.fail(encoded.message)
  return { body: encoded.body as Record<string, unknown>, leftOut: encoded.leftOut }
}

const bodyOf = (request: Chat.Request, model?: string, provider?: string) => written(request, model, provider).body

const openai = (options: Record<string, unknown>, request: Omit<Chat.Request, "messages"> = {}) =>
  Chat.prompt("hi", { ...request, providerOptions: { openai: options } })

// -----------------------------------------------------------------------------
// what goes back
// -----------------------------------------------------------------------------

const reasoning = { id: "rs_1", type: "reasoning", summary: [], encrypted_content: "gAAA", status: "completed" }
const search = { id: "ws_1", type: "web_search_call", status: "completed", action: { type: "search", query: "q" } }
const text = { type: "output_text", text: "It is", annotations: [] }
const message = { id: "msg_1", type: "message", role: "assistant", status: "completed", content: [text] }
const called = {
  id: "fc_1",
  type: "function_call",
  status: "completed",
  call_id: "call_1",
  name: "look",
  arguments: '{"at": 1}'
}

const call: Chat.ToolCall = { id: "call_1", name: "look", arguments: { at: 1 } }

const reply = (items: ReadonlyArray<unknown>, fields: Record<string, unknown> = {}): Chat.Message => ({
  role: "assistant",
  content: "It is",
  toolCalls: [call],
  providerData: { wire: "openai-responses", provider: "openai", model: "gpt-5", reply: { items, stored: false } },
  ...fields
})

const inputOf = (assistant: Chat.Message, model?: string) =>
  bodyOf({ messages: [Chat.user("hi"), assistant, Chat.toolResult("call_1", "a cat")] }, model).input

const result = { type: "function_call_output", call_id: "call_1", output: "a cat" }
const user = { role: "user", content: "hi" }
const bareMessage = { type: "message", role: "assistant", content: [text] }
const bareCall = { type: "function_call", call_id: "call_1", name: "look", arguments: '{"at":1}' }
const plain = [
  user,
  { role: "assistant", content: [{ type: "output_text", text: "It is" }] },
  { type: "function_call", call_id: "call_1", name: "look", arguments: '{"at":1}' },
  result
]

describe("an earlier answer", () => {
  it("goes back in its items, in their order", () => {
    const { status: _, ...thought } = reasoning
    assert.deepStrictEqual(inputOf(reply([reasoning, search, message, called])), [
      user,
      thought,
      search,
      bareMessage,
      bareCall,
      result
    ])
  })

  it("that the provider stores keeps its ids, and reasoning without content", () => {
    const thought = { id: "rs_1", type: "reasoning", summary: [] }
    const providerData = { wire: "openai-responses", provider: "openai", model: "gpt-5" }
    const stored = reply([], {
      providerData: { ...providerData, reply: { items: [thought, message, called], stored: true } }
    })
    assert.deepStrictEqual(inputOf(stored), [
      user,
      thought,
      { ...bareMessage, id: "msg_1" },
      { ...bareCall, id: "fc_1" },
      result
    ])
  })

  it("loses reasoning that nobody can read", () => {
    const thought = { id: "rs_1", type: "reasoning", summary: [], encrypted_content: null }
    assert.deepStrictEqual(inputOf(reply([thought, message, called])), [user, bareMessage, bareCall, result])
    assert.deepStrictEqual(inputOf(reply([reasoning, message, called]), "gpt-4o"), [
      user,
      bareMessage,
      bareCall,
      result
    ])
    const end = reply([message, called, { ...reasoning, id: "rs_2" }])
    assert.deepStrictEqual(inputOf(end), [user, bareMessage, bareCall, result])
  })

  it("takes the arguments of its calls from the message", () => {
    const changed = reply([reasoning, message, called], { toolCalls: [{ ...call, arguments: { at: 2 } }] })
    assert.strictEqual(at(inputOf(changed), 3, "arguments"), '{"at":2}')
  })

  it("goes back as the message says if it was changed, or if another made it", () => {
    const items = [reasoning, message, called]
    const other = (data: object) => ({
      providerData: {
        wire: "openai-responses",
        provider: "openai",
        model: "gpt-5",
        reply: { items, stored: false },
        ...data
      }
    })
    for (const changed of [
      reply(items, other({ wire: "openai-chat" })),
      reply(items, other({ provider: "acme" })),
      reply(items, other({ reply: { items: "?" } })),
      reply([reasoning, { ...message, content: [{ ...text, text: "It was" }] }, called]),
      reply([reasoning, message, { ...called, call_id: "call_2" }]),
      reply([reasoning, message]),
      reply([reasoning, message, called, called])
    ]) {
      assert.deepStrictEqual(inputOf(changed), plain)
    }
  })

  it("that is anything breaks no request", () => {
    const item = fc.record({ type: fc.constantFrom("reasoning", "message", "function_call", "x"), id: fc.jsonValue() })
    const items = fc.oneof(fc.jsonValue(), fc.array(fc.oneof(item, fc.jsonValue())))
    fc.assert(
      fc.property(items, fc.jsonValue(), (items, stored) => {
        const providerData = { wire: "openai-responses", provider: "openai", model: "gpt-5", reply: { items, stored } }
        const input = inputOf(reply([], { providerData })) as ReadonlyArray<unknown>
        assert.deepStrictEqual(input.at(-1), result)
      }),
      { numRuns: cases(1000, 100) }
    )
  })

  it("sends new ids of calls in its items too", () => {
    const id = "x".repeat(65)
    const long = reply([reasoning, message, { ...called, call_id: id }], { toolCalls: [{ ...call, id }] })
    const { input } = bodyOf({ messages: [Chat.user("hi"), long, Chat.toolResult(id, "a cat")] })
    const sent = at(input, 3, "call_id")
    assert.match(String(sent), /^.{1,64}$/)
    assert.strictEqual(at(input, 1, "encrypted_content"), "gAAA")
    assert.strictEqual(at(input, 4, "call_id"), sent)
  })

  it("that says nothing is left out", () => {
    const { body, leftOut } = written({ messages: [Chat.user("hi"), Chat.assistant(""), Chat.user("and?")] })
    assert.strictEqual((body.input as ReadonlyArray<unknown>).length, 2)
    assert.deepStrictEqual(leftOut, ["messages[1] (empty)"])
  })

  it.effect("is in the next request, from the answer that it was", () =>
    Effect.gen(function* () {
      const output = [reasoning, message, called]
      const { model, provider } = yield* served(
        Reply.json({ id: "resp_1", status: "completed", output }),
        Reply.text("ok")
      )
      const answer = yield* model.generate(Chat.prompt("hi"))
      yield* model.generate({ messages: [Chat.user("hi"), Chat.reply(answer), Chat.toolResult("call_1", "a cat")] })
      const [, second] = yield* provider.requests
      assert.strictEqual(at(second?.body, "input", 1, "encrypted_content"), "gAAA")
    })
  )
})

// -----------------------------------------------------------------------------
// fields
// -----------------------------------------------------------------------------

describe("fields", () => {
  const encrypted = "reasoning.encrypted_content"

  it("ask for encrypted reasoning where it would be lost, and the model has it", () => {
    const includeOf = (options: Record<string, unknown>, model?: string) => bodyOf(openai(options), model).include
    for (const model of ["gpt-5", "gpt-5.1-codex", "o4-mini", "codex-mini-latest", "gpt-6-sol"]) {
      assert.deepStrictEqual(includeOf({}, model), [encrypted], model)
    }
    for (const model of ["gpt-4o", "gpt-4.1", "gpt-5-chat-latest", "acme-1"]) {
      assert.isUndefined(includeOf({}, model), model)
    }
    assert.isUndefined(includeOf({ store: true }))
    assert.isUndefined(includeOf({ background: true }))
    assert.deepStrictEqual(includeOf({ include: ["x", encrypted] }), [encrypted, "x"])
    assert.deepStrictEqual(includeOf({ include: ["x"] }, "gpt-4o"), ["x"])
  })

  it("that the API or the model refuses are left out, and said", () => {
    const request = Chat.prompt("hi", {
      temperature: 0,
      topP: 0.5,
      stop: ["x"],
      seed: 1,
      maxTokens: 5,
      metadata: { a: "b" },
      tools: [],
      toolChoice: "auto",
      providerOptions: { openai: { parallel_tool_calls: true }, acme: {} }
    })
    const { body, leftOut } = written(request)
    const input = [user]
    assert.deepStrictEqual(body, {
      model: "gpt-5",
      input,
      max_output_tokens: 16,
      metadata: { a: "b" },
      store: false,
      include: [encrypted]
    })
    assert.deepStrictEqual(leftOut, [
      "maxTokens 5 as 16",
      "stop (this API has none)",
      "seed (this API has none)",
      "temperature (gpt-5 takes none)",
      "topP (gpt-5 takes none)",
      "toolChoice (there are no tools)",
      "parallel_tool_calls (there are no tools)"
    ])
    const elsewhere = bodyOf(request, "acme-1", "acme")
    assert.deepStrictEqual(elsewhere, {
      model: "acme-1",
      input,
      max_output_tokens: 5,
      temperature: 0,
      top_p: 0.5,
      store: false
    })
  })

  it("say how much to reason", () => {
    const reasoningOf = (request: Chat.Request, model?: string) => bodyOf(request, model).reasoning
    const asked = (reasoning: Chat.Reasoning) => Chat.prompt("hi", { reasoning })
    assert.deepStrictEqual(reasoningOf(asked({ effort: "none", summary: true })), {
      effort: "minimal",
      summary: "auto"
    })
    assert.deepStrictEqual(reasoningOf(asked({ effort: "none" }), "o3"), { effort: "low" })
    assert.isUndefined(reasoningOf(asked({ effort: "high", summary: true }), "gpt-4o"))
    assert.deepStrictEqual(written(asked({ effort: "high", summary: true }), "gpt-4o").leftOut, [
      "reasoning (gpt-4o takes no effort)",
      "reasoning.summary (gpt-4o has none)"
    ])
    assert.deepStrictEqual(reasoningOf(openai({ reasoning_effort: "low" })), { effort: "low" })
    assert.isUndefined(bodyOf(openai({ reasoning_effort: "low" })).reasoning_effort)
    const both = openai({ reasoning_effort: "low", reasoning: { effort: "xhigh", summary: "detailed" } })
    assert.deepStrictEqual(reasoningOf(both), { effort: "xhigh", summary: "detailed" })
    const mixed = openai({ reasoning: { summary: "concise" } }, { reasoning: { effort: "low", summary: true } })
    assert.deepStrictEqual(reasoningOf(mixed), { effort: "low", summary: "concise" })
  })

  it("of sampling are sent where the model does not reason", () => {
    assert.strictEqual(bodyOf(Chat.prompt("hi", { temperature: 0 }), "gpt-5.1").temperature, 0)
    assert.isUndefined(bodyOf(openai({ reasoning: { effort: "low" } }, { temperature: 0 }), "gpt-5.1").temperature)
    assert.strictEqual(bodyOf(openai({ temperature: 0.1 }, { temperature: 0 })).temperature, 0.1)
  })
})

describe("files", () => {
  const partOf = (part: Chat.FilePart) => at(bodyOf({ messages: [Chat.user([part])] }).input, 0, "content", 0)

  it("go by URL or by data", () => {
    assert.deepStrictEqual(partOf({ type: "file", url: "https://x.example/a.csv" }), {
      type: "input_file",
      file_url: "https://x.example/a.csv"
    })
    assert.deepStrictEqual(partOf({ type: "file", data: "QUJD", mediaType: "text/csv", name: "a.csv" }), {
      type: "input_file",
      filename: "a.csv",
      file_data: "data:text/csv;base64,QUJD"
    })
    assert.deepStrictEqual(partOf({ type: "file", data: "QUJD", mediaType: "image/png" }), {
      type: "input_image",
      image_url: "data:image/png;base64,QUJD"
    })
  })

  it("that are sounds or films are for another target", () => {
    for (const mediaType of ["audio/wav", "video/mp4"]) {
      const error = encode({ messages: [Chat.user([{ type: "file", data: "QUJD", mediaType }])] })
      if (!(error instanceof LlmError.InvalidRequest)) return assert.fail("nothing was refused")
      assert.strictEqual(error.delivery, "not-sent")
      assert.isTrue(LlmError.isFallbackable(error))
      assert.include(error.message, "messages[0].content[0]")
    }
  })
})

// -----------------------------------------------------------------------------
// in the background
// -----------------------------------------------------------------------------

const served = (...script: ReadonlyArray<Step.Step>) =>
  Effect.gen(function* () {
    const provider = yield* FaultyProvider.make({ script })
    const model = yield* OpenAiResponses.make({ model: "gpt-5", apiKey: Redacted.make("key-1") }).pipe(
      Effect.provideService(HttpClient.HttpClient, provider.client),
      Effect.orDie
    )
    return { provider, model }
  })

describe("an answer in the background", () => {
  const slow = openai({ background: true })
  const state = (status: string, fields: object = {}) => Reply.json({ id: "resp_1", status, output: [], ...fields })
  const whole = { id: "resp_1", model: "gpt-5", status: "completed", store: true, output: [message] }
  const sent = (provider: FaultyProvider.Provider) =>
    Effect.map(provider.requests, (all) => all.map(({ method, url }) => `${method} ${url}`))
  const started = "POST /v1/responses"
  const asked = "GET /v1/responses/resp_1"
  const cancelled = "POST /v1/responses/resp_1/cancel"
  const elapse = <A, E>(effect: Effect.Effect<A, E>) =>
    Effect.gen(function* () {
      const fiber = yield* Effect.fork(effect)
      yield* TestClock.adjust("10 minutes")
      return yield* Fiber.join(fiber)
    })

  it.effect("is started once, asked for until it is there, and the same as one that is not", () =>
    Effect.gen(function* () {
      const { model, provider } = yield* served(
        state("queued"),
        state("in_progress"),
        state("in_progress"),
        Reply.json(whole)
      )
      const answer = yield* elapse(model.generate(slow))
      assert.deepStrictEqual(yield* sent(provider), [started, asked, asked, asked])
      const [first, second] = yield* provider.requests
      assert.deepInclude(first?.body as object, { background: true, store: true })
      assert.strictEqual(second?.headers.authorization, "Bearer key-1")
      const { model: other } = yield* served(Reply.json(whole))
      assert.deepStrictEqual(answer, yield* other.generate(Chat.prompt("hi")))
    })
  )

  it.effect("that is there at once is not asked for", () =>
    Effect.gen(function* () {
      const { model, provider } = yield* served(Reply.json(whole))
      assert.strictEqual((yield* model.generate(slow)).text, "It is")
      assert.deepStrictEqual(yield* sent(provider), [started])
    })
  )

  it.effect("is asked for after 1 s, then less and less often", () =>
    Effect.gen(function* () {
      const { model, provider } = yield* served(...Array.from({ length: 30 }, () => state("in_progress")))
      const fiber = yield* Effect.fork(model.generate(slow))
      const counts: Array<number> = []
      for (const wait of ["999 millis", "1 millis", "1500 millis", "1 minutes"] as const) {
        yield* TestClock.adjust(wait)
        counts.push((yield* sent(provider)).length - 1)
      }
      assert.deepStrictEqual(counts.slice(0, 3), [0, 1, 2])
      assert.isBelow(counts[3] ?? 0, 12)
      yield* Fiber.interrupt(fiber)
    })
  )

  it.effect("is asked for again if asking fails, and never started again", () =>
    Effect.gen(function* () {
      const { model, provider } = yield* served(
        state("queued"),
        Fault.status(503),
        Reply.raw(["not json"]),
        Fault.resetBeforeHeaders(),
        state("in_progress"),
        Reply.json(whole)
      )
      const retrying = ChatModel.retry(model, RetryPolicy.make({ maxAttempts: 4 }))
      assert.strictEqual((yield* elapse(retrying.generate(slow))).text, "It is")
      assert.deepStrictEqual(yield* sent(provider), [started, asked, asked, asked, asked, asked])
    })
  )

  it.effect("is asked for again after the server's hint, but not later than in a minute", () =>
    Effect.gen(function* () {
      const { model, provider } = yield* served(
        state("queued"),
        Fault.rateLimited({ retryAfter: "20 seconds" }),
        Fault.rateLimited({ retryAfter: "1 hours" }),
        Reply.json(whole)
      )
      const fiber = yield* Effect.fork(model.generate(slow))
      const counts: Array<number> = []
      for (const wait of ["1 seconds", "19 seconds", "1 seconds", "58 seconds", "2 seconds"] as const) {
        yield* TestClock.adjust(wait)
        counts.push((yield* sent(provider)).length - 1)
      }
      assert.deepStrictEqual(counts, [1, 1, 2, 2, 3])
      assert.strictEqual((yield* Fiber.join(fiber)).text, "It is")
    })
  )

  it.effect("whose state stays unknown is given up, cancelled, and not started again", () =>
    Effect.gen(function* () {
      const { model, provider } = yield* served(
        state("queued"),
        ...Array.from({ length: 5 }, () => Fault.status(503)),
        Reply.json({})
      )
      const retrying = ChatModel.retry(model, RetryPolicy.make({ maxAttempts: 4 }))
      const error = yield* elapse(Effect.flip(retrying.generate(slow)))
      assert.strictEqual(error._tag, "Overloaded")
      assert.strictEqual(error.delivery, "unknown")
      assert.deepStrictEqual(yield* sent(provider), [started, asked, asked, asked, asked, asked, cancelled])
    })
  )

  it.effect("that the provider ends badly is a typed error, and is not cancelled", () =>
    Effect.gen(function* () {
      for (const [end, tag] of [
        [state("failed", { error: { code: "server_error", message: "broken" } }), "ServerError"],
        [state("failed", { error: { code: "rate_limit_exceeded", message: "slow down" } }), "RateLimited"],
        [state("cancelled"), "ServerError"],
        [state("incomplete", { incomplete_details: { reason: "content_filter" } }), "ContentFiltered"],
        [Fault.status(404), "ModelNotFound"]
      ] as const) {
        const { model, provider } = yield* served(state("queued"), end)
        const error = yield* elapse(Effect.flip(model.generate(slow)))
        assert.strictEqual(error._tag, tag)
        assert.deepStrictEqual((yield* sent(provider)).slice(0, 2), [started, asked])
      }
    })
  )

  it.effect("is cancelled when nobody waits for it any more", () =>
    Effect.gen(function* () {
      const pending = Array.from({ length: 9 }, () => state("in_progress"))
      const { model, provider } = yield* served(...pending)
      const fiber = yield* Effect.fork(model.generate(slow))
      yield* TestClock.adjust("1 seconds")
      const exit = yield* Fiber.interrupt(fiber)
      assert.isTrue(Exit.isInterrupted(exit))
      yield* TestClock.adjust("1 minutes")
      assert.deepStrictEqual(yield* sent(provider), [started, asked, cancelled])
    })
  )

  it.effect("is cancelled when the time is up", () =>
    Effect.gen(function* () {
      const { model, provider } = yield* served(...Array.from({ length: 9 }, () => state("in_progress")))
      const limited = ChatModel.timeout(model, { attempt: "2 seconds" })
      const error = yield* elapse(Effect.flip(limited.generate(slow)))
      assert.strictEqual(error._tag, "Timeout")
      assert.deepStrictEqual(yield* sent(provider), [started, asked, cancelled])
    })
  )

  it.effect("with an id that no URL can hold is refused", () =>
    Effect.gen(function* () {
      for (const id of ["../x", "", 7]) {
        const { model, provider } = yield* served(Reply.json({ id, status: "queued", output: [] }))
        const error = yield* elapse(Effect.flip(model.generate(slow)))
        assert.strictEqual(error._tag, "InvalidResponse")
        assert.deepStrictEqual(yield* sent(provider), [started])
      }
    })
  )
})
