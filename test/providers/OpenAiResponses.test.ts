import { HttpBody, HttpClient } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import {
  Cause,
  Effect,
  Exit,
  Fiber,
  FastCheck as fc,
  Logger,
  LogLevel,
  Option,
  Redacted,
  Schedule,
  Stream,
  TestClock
} from "effect"
import { Chat, ChatModel, ChatStream, LlmError, OpenAiResponses, RetryBudget, RetryPolicy } from "effect-steadfast"
import { Fault, FaultyProvider, Reply, type Step } from "effect-steadfast/testing"
import type * as Replay from "../../src/chat/stream/Replay.js"
import { cases, exhaustive, share } from "../support/cases.js"
import { at, plain } from "./support.js"

const prompt = Chat.prompt("four words of prompt")
const kept = Chat.prompt("four words of prompt", { providerOptions: { openai: { background: true } } })

const modelOf = (provider: FaultyProvider.Provider, options: Partial<OpenAiResponses.Options> = {}) =>
  OpenAiResponses.make({ model: "m-1", apiKey: Redacted.make("key-1"), ...options }).pipe(
    Effect.provideService(HttpClient.HttpClient, provider.client),
    Effect.orDie
  )

const scripted = (...script: ReadonlyArray<Step.Step>) =>
  Effect.gen(function* () {
    const provider = yield* FaultyProvider.make({ script })
    return { provider, model: yield* modelOf(provider) }
  })

const quietly = Logger.withMinimumLogLevel(LogLevel.None)

/** Runs under `TestClock` to its end. */
const elapse = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const fiber = yield* Effect.fork(effect)
    yield* TestClock.adjust("10 minutes")
    return yield* Fiber.join(fiber)
  }).pipe(quietly)

/** What a reader saw of a stream, and the error that ended it. */
const read = (stream: Stream.Stream<Chat.Event, LlmError.LlmError>) =>
  elapse(
    Effect.gen(function* () {
      const events: Array<Chat.Event> = []
      const exit = yield* Effect.exit(Stream.runForEach(stream, (event) => Effect.sync(() => events.push(event))))
      assert.isFalse(Exit.isFailure(exit) && Cause.isDie(exit.cause), "a stream must not die")
      const error = Exit.isFailure(exit) ? Option.getOrUndefined(Cause.failureOption(exit.cause)) : undefined
      const text = events.map((event) => (event._tag === "TextDelta" ? event.text : "")).join("")
      return { events, error, text, tags: events.map((event) => event._tag) }
    })
  )

const count = (tags: ReadonlyArray<string>, tag: string) => tags.filter((one) => one === tag).length

const sentBy = (provider: FaultyProvider.Provider) =>
  Effect.map(provider.requests, (requests) => requests.map(({ method, url }) => `${method} ${url}`))

const sse = { headers: { "content-type": "text/event-stream" } }

/** Events as OpenAI writes them, numbered. */
const stream = (...events: ReadonlyArray<{ readonly type: string } & Readonly<Record<string, unknown>>>) =>
  Reply.raw(
    events
      .map(
        (event, sequence_number) => `event: ${event.type}\ndata: ${JSON.stringify({ sequence_number, ...event })}\n\n`
      )
      .join(""),
    sse
  )

const created = { type: "response.created", response: { id: "resp_1", model: "m-1-dated", status: "in_progress" } }
const delta = (text: string) => ({ type: "response.output_text.delta", output_index: 0, delta: text })
const ended = (response: object, type = "response.completed") => ({ type, response: { id: "resp_1", ...response } })

/** Everything that an answer can hold. */
const everything: Step.Reply = {
  ...Reply.toolCall(
    [
      { name: "weather", arguments: { city: "Oslo" }, id: "call_a" },
      { name: "time", arguments: {}, id: "call_b" }
    ],
    { usage: { inputTokens: 9, outputTokens: 7, cachedTokens: 4, reasoningTokens: 2 } }
  ),
  parts: [
    { _tag: "Reasoning", chunks: ["let", " me", " see"] },
    { _tag: "Text", chunks: ["I", " will", " look", " it up."] },
    { _tag: "ToolCall", id: "call_a", name: "weather", arguments: JSON.stringify({ city: "Oslo" }) },
    { _tag: "ToolCall", id: "call_b", name: "time", arguments: "{}" }
  ]
}

/** How many events a stream of a reply has, and the number of the first one with content. */
const shape = (reply: Step.Reply) =>
  Effect.gen(function* () {
    const { provider } = yield* scripted(reply)
    const client = provider.client
    const response = yield* client.post("https://x.example/v1/responses", {
      body: HttpBody.unsafeJson({ stream: true })
    })
    const types = [...(yield* response.text).matchAll(/^event: (.*)$/gm)].map((found) => found[1] ?? "")
    return { events: types.length, first: types.findIndex((type) => type.endsWith(".delta")) }
  })

const bodyOf = (request: Chat.Request, how: "generate" | "stream" = "generate") =>
  Effect.gen(function* () {
    const { model, provider } = yield* scripted(Reply.text("ok"))
    yield* how === "generate" ? model.generate(request) : Stream.runDrain(model.stream(request))
    return (yield* provider.requests)[0]?.body
  })

/** An object without fields, by the rules of strict schemas. */
const empty = { type: "object", properties: {}, required: [], additionalProperties: false }

describe("encode", () => {
  it.effect("turns a request into input items, in their order", () =>
    Effect.gen(function* () {
      const body = yield* bodyOf({
        messages: [
          Chat.system("Be brief."),
          Chat.user([
            { type: "text", text: "What is this?" },
            { type: "image", url: "https://x.example/a.png" },
            { type: "image", data: "aGk=", mediaType: "image/png" }
          ]),
          Chat.assistant("I will look.", [{ id: "call_1", name: "look", arguments: { at: 1 } }]),
          Chat.toolResult("call_1", "a cat"),
          Chat.assistant("", [{ id: "call_2", name: "look", arguments: undefined }]),
          Chat.toolResult("call_2", "a dog"),
          Chat.system("Now in French."),
          Chat.user("Well?")
        ],
        tools: [
          { name: "look", description: "looks", parameters: { type: "object" } },
          { name: "hear", parameters: empty, strict: true }
        ],
        toolChoice: { name: "look" },
        responseFormat: { type: "json-schema", name: "animal", schema: empty },
        maxTokens: 50,
        temperature: 0.5,
        topP: 0.9,
        stop: ["\n"],
        seed: 7,
        metadata: { job: "1" }
      })
      assert.deepStrictEqual(body, {
        model: "m-1",
        input: [
          { role: "system", content: "Be brief." },
          {
            role: "user",
            content: [
              { type: "input_text", text: "What is this?" },
              { type: "input_image", image_url: "https://x.example/a.png" },
              { type: "input_image", image_url: "data:image/png;base64,aGk=" }
            ]
          },
          { role: "assistant", content: [{ type: "output_text", text: "I will look." }] },
          { type: "function_call", call_id: "call_1", name: "look", arguments: '{"at":1}' },
          { type: "function_call_output", call_id: "call_1", output: "a cat" },
          { type: "function_call", call_id: "call_2", name: "look", arguments: "{}" },
          { type: "function_call_output", call_id: "call_2", output: "a dog" },
          { role: "system", content: "Now in French." },
          { role: "user", content: "Well?" }
        ],
        max_output_tokens: 50,
        temperature: 0.5,
        top_p: 0.9,
        metadata: { job: "1" },
        tools: [
          { type: "function", name: "look", description: "looks", parameters: { type: "object" }, strict: false },
          { type: "function", name: "hear", parameters: empty, strict: true }
        ],
        tool_choice: { type: "function", name: "look" },
        store: false,
        text: { format: { type: "json_schema", name: "animal", schema: empty, strict: true } }
      })
    })
  )

  it.effect("lets the options of the provider win, and stores what is made in the background", () =>
    Effect.gen(function* () {
      const request = Chat.prompt("hi", {
        responseFormat: { type: "json" },
        toolChoice: "required",
        tools: [{ name: "look", parameters: { type: "object" } }],
        providerOptions: {
          openai: { background: true, reasoning: { effort: "low", summary: "auto" }, text: { verbosity: "low" } },
          anthropic: { thinking: { type: "disabled" } }
        }
      })
      const same = {
        model: "m-1",
        input: [{ role: "user", content: "hi" }],
        tools: [{ type: "function", name: "look", parameters: { type: "object" }, strict: false }],
        tool_choice: "required",
        reasoning: { effort: "low", summary: "auto" },
        text: { format: { type: "json_object" }, verbosity: "low" },
        store: true,
        background: true
      }
      assert.deepStrictEqual(yield* bodyOf(request), same)
      assert.deepStrictEqual(yield* bodyOf(request, "stream"), { ...same, stream: true })
      const stored = Chat.prompt("hi", { providerOptions: { openai: { store: true } } })
      assert.deepInclude(yield* bodyOf(stored), { store: true })
    })
  )

  it.effect("asks an Azure resource for responses beside its deployments", () =>
    Effect.gen(function* () {
      const provider = yield* FaultyProvider.make()
      const make = (apiVersion?: string) =>
        OpenAiResponses.azure({
          endpoint: "https://x.example",
          deployment: "d-1",
          apiKey: Redacted.make("key-1"),
          apiVersion
        }).pipe(
          Effect.provideService(HttpClient.HttpClient, provider.client),
          Effect.flatMap((model) => model.generate(prompt))
        )
      yield* make()
      yield* make("preview")
      assert.deepStrictEqual(yield* sentBy(provider), [
        "POST /openai/v1/responses",
        "POST /openai/v1/responses?api-version=preview"
      ])
    })
  )
})

describe("decode", () => {
  it.effect("reads text, reasoning, tool calls and usage", () =>
    Effect.gen(function* () {
      const { model } = yield* scripted(everything)
      const { providerData, raw, ...answer } = yield* model.generate(prompt)
      const items = at(raw, "output")
      assert.deepStrictEqual(providerData, {
        wire: "openai-responses",
        provider: "openai",
        model: "m-1",
        reply: { items, stored: false }
      })
      assert.deepStrictEqual(answer, {
        id: "resp_000000000000000000000000",
        requestId: "req_000000000000000000000000",
        provider: "openai",
        model: "m-1",
        text: "I will look it up.",
        reasoning: "let me see",
        toolCalls: [
          { id: "call_a", name: "weather", arguments: { city: "Oslo" } },
          { id: "call_b", name: "time", arguments: {} }
        ],
        finishReason: "tool-calls",
        usage: { inputTokens: 9, outputTokens: 7, cachedInputTokens: 4, reasoningTokens: 2 }
      })
    })
  )

  it.effect("gives in a stream what it gives at once", () =>
    Effect.forEach([everything, Reply.text("one two"), Reply.text("one", { finish: "length" })], (reply) =>
      Effect.gen(function* () {
        const { model } = yield* scripted(reply)
        const whole = plain(yield* model.generate(prompt))
        const streamed = yield* elapse(ChatStream.collect(model.stream(prompt)))
        assert.deepStrictEqual(
          { ...streamed, id: undefined, requestId: undefined, providerData: undefined },
          { ...whole, id: undefined, requestId: undefined, providerData: undefined }
        )
      })
    )
  )

  it.effect("joins the paragraphs of a reasoning alike in both", () =>
    Effect.gen(function* () {
      const output = [
        {
          type: "reasoning",
          summary: [
            { type: "summary_text", text: "a" },
            { type: "summary_text", text: "b" }
          ]
        },
        { type: "reasoning", summary: [], content: [{ type: "reasoning_text", text: "c" }] },
        { type: "message", content: [{ type: "output_text", text: "d" }] }
      ]
      const part = (type: string, name: string) => ({ type, part: { type: name, text: "" } })
      const thought = (text: string, type = "response.reasoning_summary_text.delta") => ({ type, delta: text })
      const summary = part("response.reasoning_summary_part.added", "summary_text")
      const { model } = yield* scripted(
        Reply.json({ id: "resp_1", status: "completed", output }),
        stream(
          created,
          summary,
          thought("a"),
          summary,
          thought("b"),
          part("response.content_part.added", "reasoning_text"),
          thought("c", "response.reasoning_text.delta"),
          part("response.content_part.added", "output_text"),
          delta("d"),
          ended({ output })
        )
      )
      const whole = yield* model.generate(prompt)
      const streamed = yield* elapse(ChatStream.collect(model.stream(prompt)))
      assert.strictEqual(whole.reasoning, "a\n\nb\n\nc")
      assert.strictEqual(streamed.reasoning, whole.reasoning)
      assert.strictEqual(streamed.text, "d")
    })
  )

  it.effect("says of an answer that ended early why", () =>
    Effect.gen(function* () {
      const { model } = yield* scripted(
        Reply.text("one two", { finish: "length" }),
        Reply.text("one", { finish: "content-filter" }),
        Reply.json({ status: "failed", error: { code: "rate_limit_exceeded", message: "slow down" }, output: [] }),
        Reply.json({ status: "queued", output: [] }),
        Reply.json({ status: "completed" }),
        Reply.json({ status: "completed", output: [{ type: "function_call", name: "f", arguments: "{" }] }),
        Reply.json({
          status: "incomplete",
          incomplete_details: { reason: "max_output_tokens" },
          output: [{ type: "function_call", status: "incomplete", name: "f", arguments: "{" }]
        })
      )
      assert.strictEqual((yield* model.generate(prompt)).finishReason, "length")
      const tags = yield* Effect.replicateEffect(Effect.flip(model.generate(prompt)), 5)
      assert.deepStrictEqual(
        tags.map((error) => error._tag),
        ["ContentFiltered", "RateLimited", "InvalidResponse", "InvalidResponse", "InvalidResponse"]
      )
      const cut = yield* model.generate(prompt)
      assert.deepStrictEqual([cut.finishReason, cut.toolCalls], ["length", []])
    })
  )

  it.effect("takes a refusal for what it is", () =>
    Effect.gen(function* () {
      const output = [{ type: "message", content: [{ type: "refusal", refusal: "I cannot help with that." }] }]
      const { model } = yield* scripted(
        Reply.json({ status: "completed", output }),
        stream(created, { type: "response.refusal.delta", delta: "I cannot" }, ended({ output })),
        stream(created, { type: "response.refusal.delta", delta: "I cannot" }, ended({}))
      )
      const error = yield* Effect.flip(model.generate(prompt))
      assert.strictEqual(error._tag, "ContentFiltered")
      assert.include(error.message, "I cannot help with that.")
      assert.strictEqual((yield* read(model.stream(prompt))).error?._tag, "ContentFiltered")
      assert.strictEqual((yield* read(model.stream(prompt))).error?._tag, "ContentFiltered")
    })
  )
})

describe("streams", () => {
  it.effect("give each tool call once, when it is whole", () =>
    Effect.gen(function* () {
      const { model } = yield* scripted(everything)
      const { events, tags } = yield* read(model.stream(prompt))
      assert.deepStrictEqual(
        tags.filter((tag) => tag !== "TextDelta" && tag !== "ReasoningDelta"),
        ["Start", "ToolCall", "ToolCall", "Usage", "Finish"]
      )
      const last = events.at(-1)
      assert.strictEqual(last?._tag === "Finish" ? last.reason : undefined, "tool-calls")
    })
  )

  it.effect("give what came only with the last event", () =>
    Effect.gen(function* () {
      const output = [
        { type: "message", content: [{ type: "output_text", text: "hi" }] },
        { type: "function_call", call_id: "c", name: "f", arguments: "{}" }
      ]
      const { model } = yield* scripted(
        stream(created, ended({ output, usage: { input_tokens: 1, output_tokens: 0 } }))
      )
      const { events } = yield* read(model.stream(prompt))
      assert.deepStrictEqual(events.slice(1), [
        { _tag: "TextDelta", text: "hi" },
        { _tag: "ToolCall", id: "c", name: "f", arguments: {} },
        { _tag: "Usage", usage: { inputTokens: 1, outputTokens: 0 } },
        { _tag: "Finish", reason: "tool-calls" }
      ])
    })
  )

  it.effect("end with the first error that they name, nested or flat", () =>
    Effect.gen(function* () {
      const failed = ended({ status: "failed", error: { code: "server_error", message: "no" } }, "response.failed")
      const { model } = yield* scripted(
        Fault.errorEvent("overloaded", { afterTokens: 1 }),
        stream(created, { type: "error", error: { code: "server_is_overloaded", message: "full" } }, failed),
        stream(created, {
          type: "error",
          code: "rate_limit_exceeded",
          message: "Rate limit reached. Please try again in 1.5s.",
          param: null
        }),
        stream(created, delta("one"), failed),
        stream(created, ended({ incomplete_details: { reason: "content_filter" } }, "response.incomplete")),
        stream(created, ended({ status: "cancelled" }, "response.cancelled"))
      )
      const seen: Array<string | undefined> = []
      for (let i = 0; i < 6; i++) seen.push((yield* read(model.stream(prompt))).error?._tag)
      assert.deepStrictEqual(seen, [
        "Overloaded",
        "Overloaded",
        "RateLimited",
        "ServerError",
        "ContentFiltered",
        "ServerError"
      ])
    })
  )

  it.effect("pass over what they do not know", () =>
    Effect.gen(function* () {
      const { model } = yield* scripted(
        stream(
          { type: "keepalive" },
          created,
          { type: "response.web_search_call.searching", item_id: "ws" },
          delta("a"),
          { type: "response.output_text.delta" },
          { type: "something.else", delta: 7, response: [] },
          { type: "response.output_item.done", item: { type: "computer_call", action: null } },
          delta("b"),
          ended({})
        )
      )
      const { events, text } = yield* read(model.stream(prompt))
      assert.strictEqual(text, "ab")
      assert.deepInclude(events[0], { _tag: "Start", id: "resp_1", model: "m-1-dated" })
      assert.strictEqual(events.at(-1)?._tag, "Finish")
    })
  )

  it.effect("are interrupted wherever they are cut before their end", () =>
    Effect.gen(function* () {
      const whole = yield* scripted(everything)
      const { text } = yield* read(whole.model.stream(prompt))
      const all = yield* shape(everything)
      for (let events = 0; events < all.events; events++) {
        for (const fault of [Fault.earlyEnd, Fault.resetInBody]) {
          const { model } = yield* scripted(fault({ events, reply: everything }))
          const cut = yield* read(model.stream(prompt))
          assert.strictEqual(cut.error?._tag, "StreamInterrupted", `after ${events} events`)
          assert.isTrue(text.startsWith(cut.text))
          assert.strictEqual(count(cut.tags, "Finish"), 0)
        }
      }
    })
  )
})

describe("taking up a stream", () => {
  const policy = RetryPolicy.make({ maxAttempts: 10 })
  const text = "one two three four five"
  const id = "resp_000000000000000000000000"
  const get = (after?: number) =>
    `GET /v1/responses/${id}?stream=true${after === undefined ? "" : `&starting_after=${after}`}`

  it.effect("gives the whole answer once, wherever it was cut", () =>
    Effect.gen(function* () {
      const reply = Reply.text(text)
      const { events, first } = yield* shape(reply)
      assert.isAbove(events, 10)
      for (let cut = 1; cut < events; cut++) {
        const { model, provider } = yield* scripted(Fault.earlyEnd({ events: cut, reply }), Reply.text("of no account"))
        const seen = yield* read(ChatModel.retry(model, policy).stream(kept))
        assert.isUndefined(seen.error, `cut after ${cut}`)
        assert.strictEqual(seen.text, text)
        assert.deepStrictEqual(
          [count(seen.tags, "Start"), count(seen.tags, "Finish"), count(seen.tags, "Usage")],
          [1, 1, 1]
        )
        // Before the first content nothing was delivered, and all of it is asked for.
        assert.deepStrictEqual(yield* sentBy(provider), ["POST /v1/responses", cut <= first ? get() : get(cut - 1)])
      }
    })
  )

  it.effect("gives everything once in every mode, in whatever pieces it comes, however it breaks", () =>
    Effect.gen(function* () {
      const { events } = yield* shape(everything)
      const whole = yield* scripted(everything)
      const expected = yield* elapse(ChatStream.collect(whole.model.stream(prompt)))
      const modes = ["strict", "restart", "continue"] as const
      const check = Effect.fnUntraced(function* (fault: Step.Step, mode: Replay.Mode) {
        const { model, provider } = yield* scripted(fault, Reply.text("of no account"))
        const resilient = model.pipe(
          ChatModel.timeout({ idle: "1 second", firstToken: "1 second" }),
          ChatModel.retry(policy, { mode })
        )
        const seen = yield* read(resilient.stream(kept))
        const answer = yield* ChatStream.collect(Stream.fromIterable(seen.events))
        // Whether the answer is stored is in what goes back with it.
        const said = { ...answer, requestId: undefined, providerData: undefined }
        assert.deepStrictEqual(said, { ...expected, requestId: undefined, providerData: undefined }, mode)
        assert.isUndefined(seen.error)
        assert.isFalse(seen.tags.includes("Reset") || seen.tags.includes("Seam"))
        assert.strictEqual(count(seen.tags, "Start"), 1)
        assert.strictEqual((yield* provider.requests)[1]?.method, "GET")
      })
      const cuts = Array.from({ length: events - 1 }, (_, i) => i + 1)
      for (const cut of share(cuts, 4)) {
        for (const mode of exhaustive ? modes : modes.slice(cut % 3, (cut % 3) + 1))
          yield* check(Fault.resetInBody({ events: cut, reply: everything }), mode)
        const slow = { ...everything, tokenDelay: 10 }
        yield* check(Fault.stall({ events: cut, reply: slow }), modes[cut % 3] ?? "strict")
      }
    })
  )

  it.effect("goes on when it is cut again, and when asking fails", () =>
    Effect.gen(function* () {
      const reply = Reply.text(text)
      const { model, provider } = yield* scripted(
        Fault.resetInBody({ tokens: 1, reply }),
        Fault.status(503),
        Fault.resetBeforeHeaders(),
        Fault.earlyEnd({ tokens: 2 }),
        Fault.earlyEnd({ events: 0 }),
        Reply.text("of no account")
      )
      const seen = yield* read(ChatModel.retry(model, policy).stream(kept))
      assert.strictEqual(seen.text, text)
      assert.deepStrictEqual([count(seen.tags, "Start"), count(seen.tags, "Finish")], [1, 1])
      assert.deepStrictEqual(yield* sentBy(provider), ["POST /v1/responses", get(4), get(4), get(4), get(6), get(6)])
    })
  )

  it.effect("leaves the stream broken where the provider has the answer no more", () =>
    Effect.gen(function* () {
      const lost = [Fault.status(404, { body: { error: { message: `Response with id '${id}' not found.` } } })]
      const whole = [Reply.json({ id, status: "completed", output: [] })]
      for (const second of [...lost, ...whole]) {
        const { model, provider } = yield* scripted(Fault.earlyEnd({ tokens: 2 }), second, Reply.text("another"))
        const seen = yield* read(ChatModel.retry(model, policy).stream(kept))
        assert.strictEqual(seen.error?._tag, "StreamInterrupted")
        assert.strictEqual(seen.text, "The quick")
        assert.lengthOf(yield* provider.requests, 2)
      }
      // The mode says what then; nothing was delivered, or it can be taken back.
      const { model, provider } = yield* scripted(Fault.earlyEnd({ tokens: 2 }), ...lost, Reply.text("another"))
      const seen = yield* read(ChatModel.retry(model, policy, { mode: "restart" }).stream(kept))
      assert.deepStrictEqual(seen.tags.slice(-5), ["Reset", "Start", "TextDelta", "Usage", "Finish"])
      assert.lengthOf(yield* provider.requests, 3)
      const early = yield* scripted(Fault.earlyEnd({ events: 2 }), ...lost, Reply.text("another"))
      const begun = yield* read(ChatModel.retry(early.model, policy).stream(kept))
      assert.strictEqual(begun.text, "another")
      assert.deepStrictEqual(yield* sentBy(early.provider), ["POST /v1/responses", get(), "POST /v1/responses"])
    })
  )

  it.effect("ends with another error where that is what it meets", () =>
    Effect.gen(function* () {
      const { model } = yield* scripted(Fault.earlyEnd({ tokens: 2 }), Fault.unauthorized())
      const seen = yield* read(ChatModel.retry(model, policy).stream(kept))
      assert.strictEqual(seen.error?._tag, "AuthError")
      assert.strictEqual(seen.text, "The quick")
    })
  )

  it.effect("is not for what the provider ended itself, nor for what it does not keep", () =>
    Effect.gen(function* () {
      for (const [fault, request] of [
        [Fault.errorEvent("server-error", { afterTokens: 2 }), kept],
        [Fault.earlyEnd({ tokens: 2 }), prompt]
      ] as const) {
        const { model, provider } = yield* scripted(fault, Reply.text("another"))
        const seen = yield* read(ChatModel.retry(model, policy).stream(request))
        assert.isDefined(seen.error)
        assert.strictEqual(seen.text, "The quick")
        assert.lengthOf(yield* provider.requests, 1)
      }
      // Before any content a failed answer is asked for anew.
      const { model, provider } = yield* scripted(Fault.errorEvent("server-error"), Reply.text("another"))
      assert.strictEqual((yield* read(ChatModel.retry(model, policy).stream(kept))).text, "another")
      assert.deepStrictEqual(yield* sentBy(provider), ["POST /v1/responses", "POST /v1/responses"])
    })
  )

  it.effect("never asks somebody else for the rest", () =>
    Effect.gen(function* () {
      const { model, provider } = yield* scripted(Fault.earlyEnd({ tokens: 2 }))
      const other = yield* scripted(Reply.text("another"))
      const cut = model.pipe(ChatModel.orElse(other.model), ChatModel.retry(policy))
      const seen = yield* read(cut.stream(kept))
      assert.strictEqual(seen.error?._tag, "StreamInterrupted")
      assert.lengthOf(yield* other.provider.requests, 0)
      assert.lengthOf(yield* provider.requests, 1)
      const restarted = yield* read(model.pipe(ChatModel.orElse(other.model, { mode: "restart" })).stream(kept))
      assert.include(restarted.tags, "Reset")
      assert.deepStrictEqual(yield* sentBy(other.provider), ["POST /v1/responses"])
    })
  )

  it.effect("takes what the provider repeats for what it is", () =>
    Effect.gen(function* () {
      const background = { ...created, response: { ...created.response, background: true } }
      const all = [background, delta("a"), delta("b"), ended({})]
      const { model } = yield* scripted(stream(...all.slice(0, 2)), stream(...all))
      const seen = yield* read(ChatModel.retry(model, policy).stream(kept))
      assert.deepStrictEqual(seen.tags, ["Start", "TextDelta", "TextDelta", "Finish"])
      assert.strictEqual(seen.text, "ab")
    })
  )

  it.effect("restarts nothing where events have no number", () =>
    Effect.gen(function* () {
      const unnumbered = (...events: ReadonlyArray<object>) =>
        Reply.raw(events.map((event) => `data: ${JSON.stringify(event)}\n\n`).join(""), sse)
      const background = { ...created, response: { ...created.response, background: true } }
      const { model, provider } = yield* scripted(unnumbered(background, delta("a")), Reply.text("another"))
      const seen = yield* read(ChatModel.retry(model, policy).stream(kept))
      assert.strictEqual(seen.error?._tag, "StreamInterrupted")
      assert.lengthOf(yield* provider.requests, 1)
    })
  )
})

describe("whatever comes", () => {
  const types = fc.constantFrom(
    "response.created",
    "response.output_text.delta",
    "response.output_text.done",
    "response.reasoning_summary_part.added",
    "response.reasoning_text.delta",
    "response.refusal.delta",
    "response.output_item.added",
    "response.output_item.done",
    "response.function_call_arguments.delta",
    "response.content_part.added",
    "response.completed",
    "response.incomplete",
    "response.failed",
    "response.cancelled",
    "error",
    "keepalive"
  )
  const item = fc.record(
    {
      type: fc.oneof(fc.constantFrom("message", "function_call", "reasoning"), fc.jsonValue()),
      status: fc.jsonValue(),
      name: fc.oneof(fc.string(), fc.jsonValue()),
      call_id: fc.oneof(fc.string(), fc.jsonValue()),
      arguments: fc.oneof(fc.json(), fc.string(), fc.jsonValue()),
      content: fc.oneof(fc.array(fc.record({ type: fc.jsonValue(), text: fc.jsonValue() })), fc.jsonValue()),
      summary: fc.jsonValue()
    },
    { requiredKeys: [] }
  )
  const response = fc.oneof(
    fc.record(
      {
        id: fc.oneof(fc.constantFrom("resp_1", "..", "\ud800"), fc.string(), fc.jsonValue()),
        status: fc.oneof(fc.constantFrom("completed", "incomplete", "failed", "queued"), fc.jsonValue()),
        background: fc.boolean(),
        error: fc.jsonValue(),
        incomplete_details: fc.oneof(fc.record({ reason: fc.jsonValue() }), fc.jsonValue()),
        output: fc.oneof(fc.array(fc.oneof(item, fc.jsonValue())), fc.jsonValue()),
        usage: fc.oneof(fc.record({ input_tokens: fc.jsonValue(), output_tokens: fc.nat() }), fc.jsonValue())
      },
      { requiredKeys: [] }
    ),
    fc.jsonValue()
  )
  const event = fc.oneof(
    fc.record(
      {
        type: fc.oneof(types, fc.jsonValue()),
        sequence_number: fc.oneof(fc.nat(9), fc.jsonValue()),
        delta: fc.oneof(fc.string(), fc.jsonValue()),
        item: fc.oneof(item, fc.jsonValue()),
        part: fc.record({ type: fc.oneof(fc.constant("summary_text"), fc.jsonValue()) }),
        output_index: fc.jsonValue(),
        response
      },
      { requiredKeys: [] }
    ),
    fc.jsonValue()
  )
  const body = fc
    .array(fc.tuple(fc.oneof(fc.constant(""), fc.constant("event: error\n")), event), { maxLength: 8 })
    .map((events) => events.map(([name, data]) => `${name}data: ${JSON.stringify(data)}\n\n`).join(""))

  it.effect("a body is an answer or an error", () =>
    Effect.promise(() =>
      fc.assert(
        fc.asyncProperty(fc.oneof(response, fc.anything()), (json) =>
          Effect.runPromise(
            Effect.gen(function* () {
              const { model } = yield* scripted(
                Reply.raw(JSON.stringify(json) ?? "", { headers: { "content-type": "application/json" } })
              )
              const exit = yield* Effect.exit(model.generate(prompt))
              assert.isFalse(Exit.isFailure(exit) && !Cause.isFailType(exit.cause))
            }).pipe(quietly)
          )
        ),
        { numRuns: cases(500, 10) }
      )
    )
  )

  it.effect("a stream ends in one way, also where it is taken up", () =>
    Effect.promise(() =>
      fc.assert(
        fc.asyncProperty(body, body, (first, second) =>
          Effect.runPromise(
            Effect.gen(function* () {
              const { model } = yield* scripted(Reply.raw(first, sse), Reply.raw(second, sse))
              const tags: Array<string> = []
              const exit = yield* Effect.exit(
                Stream.runForEach(ChatModel.retry(model, Schedule.recurs(2)).stream(kept), (event) =>
                  Effect.sync(() => tags.push(event._tag))
                )
              )
              assert.isFalse(Exit.isFailure(exit) && !Cause.isFailType(exit.cause))
              assert.strictEqual(count(tags, "Finish"), Exit.isSuccess(exit) ? 1 : 0)
              assert.isAtMost(count(tags, "Start"), 1)
            }).pipe(Effect.provide(RetryBudget.layerUnlimited), quietly)
          )
        ),
        { numRuns: cases(500, 10) }
      )
    )
  )
})
