import { AiError, LanguageModel, Prompt, Response, Chat as TheirChat, Tool, Toolkit } from "@effect/ai"
import { HttpClient } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Exit, Option, Redacted, Schema, Stream } from "effect"
import { Anthropic, Chat, ChatModel, LlmError, RetryPolicy } from "effect-steadfast"
import { EffectAi } from "effect-steadfast/ai"
import { Fault, FaultyProvider, Reply, type Step } from "effect-steadfast/testing"
import { modelOf } from "../chat/support.js"
import { collectRecords, only } from "../support/evidence.js"
import { collectSpans } from "../support/spans.js"
import { elapse, ours } from "./support.js"

const Weather = Tool.make("weather", {
  description: "The weather of a city",
  parameters: { city: Schema.String },
  success: Schema.Struct({ degrees: Schema.Number })
})

const tools = Toolkit.make(Weather)

/** A toolkit whose handler notes each run. */
const counted = () => {
  const runs: Array<string> = []
  const layer = tools.toLayer({
    weather: ({ city }) =>
      Effect.sync(() => {
        runs.push(city)
        return { degrees: 3 }
      })
  })
  return { runs, layer }
}

/** A composition of ours over a faulty provider. */
const assistant = (...script: ReadonlyArray<Step.Step>) =>
  Effect.gen(function* () {
    const provider = yield* FaultyProvider.make({ script })
    const model = ChatModel.retry(yield* modelOf(provider), RetryPolicy.standard)
    return { provider, model, layer: EffectAi.layer(model) }
  })

/** The body of the last request. */
const lastBody = ({ requests }: Pick<FaultyProvider.Control, "requests">): Effect.Effect<unknown> =>
  Effect.map(requests, (all) => all.at(-1)?.body ?? {})

const failed = { provider: "ours", model: "m-2", message: "told", delivery: "rejected" } as const
const overloaded = new LlmError.Overloaded({ ...failed, status: 503 })

describe("programs of @effect/ai", () => {
  it.effect("generateText with a toolkit runs a tool once, whatever failed before", () =>
    Effect.gen(function* () {
      const { layer, provider } = yield* assistant(
        Fault.rateLimited({ retryAfter: "2 seconds" }),
        Fault.status(503),
        Fault.resetInBody(),
        Reply.toolCall({ name: "weather", arguments: { city: "Oslo" } }, { text: "Let me see." })
      )
      const { layer: handlers, runs } = counted()
      const response = yield* elapse(
        LanguageModel.generateText({ prompt: "The weather in Oslo?", toolkit: tools }).pipe(
          Effect.provide([layer, handlers])
        )
      )
      assert.deepStrictEqual(runs, ["Oslo"])
      assert.strictEqual((yield* provider.requests).length, 4)
      assert.strictEqual(response.text, "Let me see.")
      assert.strictEqual(response.finishReason, "tool-calls")
      assert.deepStrictEqual(
        response.toolResults.map(({ name, result }) => [name, result]),
        [["weather", { degrees: 3 }]]
      )
      const asked = (yield* lastBody(provider)) as {
        readonly tools: ReadonlyArray<{ readonly function: unknown }>
      }
      assert.deepStrictEqual(asked.tools[0]?.function, {
        name: "weather",
        description: "The weather of a city",
        parameters: {
          type: "object",
          required: ["city"],
          properties: { city: { type: "string" } },
          additionalProperties: false
        }
      })
    })
  )

  it.effect("streamText with a toolkit runs a tool once, and never after a replay", () =>
    Effect.gen(function* () {
      const { layer } = yield* assistant(
        Fault.status(503),
        Fault.resetBeforeHeaders(),
        Reply.toolCall({ name: "weather", arguments: { city: "Oslo" } })
      )
      const { layer: handlers, runs } = counted()
      const parts = yield* elapse(
        Stream.runCollect(LanguageModel.streamText({ prompt: "The weather in Oslo?", toolkit: tools })).pipe(
          Effect.provide([layer, handlers])
        )
      )
      assert.deepStrictEqual(runs, ["Oslo"])
      assert.includeMembers(
        Array.from(parts, (part) => part.type),
        ["response-metadata", "tool-call", "tool-result", "finish"]
      )
    })
  )

  it.effect("streamText goes on where nothing was delivered, and fails where something was", () =>
    Effect.gen(function* () {
      const { layer } = yield* assistant(Fault.status(503), Reply.text("one two three"), Fault.earlyEnd())
      const read = Stream.runCollect(LanguageModel.streamText({ prompt: "Count" })).pipe(Effect.provide(layer))
      const parts = Array.from(yield* elapse(read))
      assert.strictEqual(parts.map((part) => (part.type === "text-delta" ? part.delta : "")).join(""), "one two three")
      assert.deepStrictEqual(
        parts.flatMap(({ type }) => (type === "text-delta" ? [] : [type])),
        ["response-metadata", "text-start", "text-end", "finish"]
      )
      const error = yield* Effect.flip(elapse(read))
      assert.strictEqual(EffectAi.llmErrorOf(error)?._tag, "StreamInterrupted")
    })
  )

  it.effect("generateObject asks by their schema, and gets its value", () =>
    Effect.gen(function* () {
      class Contact extends Schema.Class<Contact>("Contact")({ name: Schema.String, age: Schema.NumberFromString }) {}
      const { layer, provider } = yield* assistant(Fault.overloaded(), Reply.text('{"name":"Ada","age":"36"}'))
      const response = yield* elapse(
        LanguageModel.generateObject({ prompt: "Who?", schema: Contact, objectName: "a contact" }).pipe(
          Effect.provide(layer)
        )
      )
      assert.deepStrictEqual(response.value, new Contact({ name: "Ada", age: 36 }))
      const { response_format } = (yield* lastBody(provider)) as {
        readonly response_format: {
          readonly type: string
          readonly json_schema: { readonly name: string; readonly schema: { readonly required: unknown } }
        }
      }
      assert.strictEqual(response_format.type, "json_schema")
      assert.strictEqual(response_format.json_schema.name, "a_contact")
      assert.deepStrictEqual(response_format.json_schema.schema.required, ["name", "age"])
    })
  )

  it.effect("their Chat keeps the conversation over tools, with failures in between", () =>
    Effect.gen(function* () {
      const { layer, provider } = yield* assistant(
        Fault.status(503),
        Reply.toolCall({ name: "weather", arguments: { city: "Oslo" } }),
        Fault.rateLimited({ retryAfter: "1 second" }),
        Reply.text("Three degrees.")
      )
      const { layer: handlers, runs } = counted()
      const program = Effect.gen(function* () {
        const chat = yield* TheirChat.fromPrompt([{ role: "system", content: "Be short." }])
        yield* chat.generateText({ prompt: "The weather in Oslo?", toolkit: tools })
        return yield* chat.generateText({ prompt: [], toolkit: tools })
      })
      const response = yield* elapse(Effect.provide(program, [layer, handlers]))
      assert.strictEqual(response.text, "Three degrees.")
      assert.deepStrictEqual(runs, ["Oslo"])
      const { messages } = (yield* lastBody(provider)) as {
        readonly messages: ReadonlyArray<{ readonly role: string; readonly content: string }>
      }
      assert.deepStrictEqual(
        messages.map(({ role }) => role),
        ["system", "user", "assistant", "tool"]
      )
      assert.strictEqual(messages.at(-1)?.content, '{"degrees":3}')
    })
  )

  it.effect("their Chat does not lose the signed thoughts of a turn with tools", () =>
    Effect.gen(function* () {
      const thought = { type: "thinking", thinking: "hmm", signature: "c2lnbmVk" }
      const call = { type: "tool_use", id: "toolu_1", name: "weather", input: { city: "Oslo" } }
      const body = (content: ReadonlyArray<unknown>, stop_reason: string) =>
        Reply.json({
          id: "msg_1",
          type: "message",
          role: "assistant",
          model: "claude-sonnet-4-5",
          content,
          stop_reason,
          usage: { input_tokens: 3, output_tokens: 2 }
        })
      const provider = yield* FaultyProvider.make({
        script: [body([thought, call], "tool_use"), body([{ type: "text", text: "3" }], "end_turn")]
      })
      const model = yield* Anthropic.make({ model: "claude-sonnet-4-5", apiKey: Redacted.make("key-1") }).pipe(
        Effect.provideService(HttpClient.HttpClient, provider.client)
      )
      const { layer: handlers } = counted()
      const program = Effect.gen(function* () {
        const chat = yield* TheirChat.empty
        yield* chat.generateText({ prompt: "The weather?", toolkit: tools })
        return yield* chat.generateText({ prompt: [], toolkit: tools })
      })
      const request = { reasoning: { budgetTokens: 1024 } }
      yield* Effect.provide(program, [EffectAi.layer(model, { request }), handlers])
      const { messages } = (yield* lastBody(provider)) as {
        readonly messages: ReadonlyArray<{ readonly role: string; readonly content: ReadonlyArray<unknown> }>
      }
      assert.deepStrictEqual(messages[1]?.content, [thought, call])
    })
  )
})

describe("promptOf", () => {
  it.effect("keeps what has to go back, whole and streamed, through JSON", () =>
    Effect.gen(function* () {
      const data = { wire: "anthropic", provider: "ours", model: "m-2" } as const
      const answer = {
        text: "well",
        toolCalls: [
          { id: "c1", name: "weather", arguments: { city: "Oslo" }, providerData: { ...data, reply: "call" } }
        ],
        finishReason: "tool-calls",
        providerData: { ...data, reply: { blocks: [1] }, details: { tier: "x" } }
      } as const
      const { asked, model } = ours(answer)
      const ask = { prompt: "x", toolkit: tools, disableToolCallResolution: true } as const
      const handlers = counted().layer
      const whole = yield* LanguageModel.generateText(ask).pipe(Effect.provide([EffectAi.layer(model), handlers]))
      const parts = yield* Stream.runCollect(LanguageModel.streamText(ask)).pipe(
        Effect.provide([EffectAi.layer(model), handlers])
      )
      for (const content of [whole.content, Array.from(parts)]) {
        const json = Schema.encodeSync(Prompt.FromJson)(EffectAi.promptOf(content))
        const prompt = Schema.decodeSync(Prompt.FromJson)(json)
        // A service that has not seen the answer.
        yield* LanguageModel.generateText({ prompt }).pipe(Effect.provide(EffectAi.layer(model)), Effect.ignore)
        const { details: _, ...back } = answer.providerData
        assert.deepStrictEqual(asked.at(-1)?.messages, [
          { role: "assistant", content: "well", toolCalls: answer.toolCalls, providerData: back }
        ])
      }
    })
  )
})

describe("requests", () => {
  it.effect("are translated, with the settings of the options and of the context", () =>
    Effect.gen(function* () {
      const { asked, model } = ours({ text: "ok" })
      const layer = EffectAi.layer(model, { request: { temperature: 0, maxTokens: 10 } })
      const prompt: Prompt.RawInput = [
        { role: "system", content: "s" },
        {
          role: "user",
          content: [
            { type: "text", text: "look" },
            {
              type: "file",
              mediaType: "image/*",
              data: Uint8Array.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a])
            },
            { type: "file", mediaType: "image/png", data: new URL("https://x.y/a.png") },
            { type: "file", mediaType: "application/pdf", data: "JVBERg==", fileName: "a.pdf" }
          ]
        },
        {
          role: "assistant",
          content: [
            { type: "reasoning", text: "hmm" },
            { type: "text", text: "well" }
          ]
        },
        { role: "user", content: "go on" }
      ]
      yield* LanguageModel.generateText({ prompt }).pipe(
        Effect.provideService(EffectAi.RequestSettings, { maxTokens: 20 }),
        Effect.provide(layer)
      )
      assert.deepStrictEqual(only(asked), {
        temperature: 0,
        maxTokens: 20,
        messages: [
          Chat.system("s"),
          Chat.user([
            { type: "text", text: "look" },
            { type: "image", data: "iVBORw0KGgo=", mediaType: "image/png" },
            { type: "image", url: "https://x.y/a.png" },
            { type: "file", data: "JVBERg==", mediaType: "application/pdf", name: "a.pdf" }
          ]),
          { role: "assistant", content: "well" },
          Chat.user("go on")
        ]
      })
    })
  )

  it.effect("choose tools", () =>
    Effect.gen(function* () {
      const Other = Tool.make("other")
      const kit = Toolkit.make(Weather, Other)
      const handlers = kit.toLayer({ weather: () => Effect.succeed({ degrees: 1 }), other: () => Effect.void })
      const { asked, model } = ours({ text: "ok" })
      for (const toolChoice of [
        undefined,
        "required",
        { tool: "other" },
        { oneOf: ["other"] },
        { mode: "required", oneOf: ["other"] }
      ] as const) {
        yield* LanguageModel.generateText({ prompt: "x", toolkit: kit, ...(toolChoice && { toolChoice }) }).pipe(
          Effect.provide([EffectAi.layer(model), handlers])
        )
      }
      assert.deepStrictEqual(
        asked.map(({ toolChoice, tools }) => [toolChoice, tools?.map(({ name }) => name)]),
        [
          ["auto", ["weather", "other"]],
          ["required", ["weather", "other"]],
          [{ name: "other" }, ["weather", "other"]],
          ["auto", ["other"]],
          ["required", ["other"]]
        ]
      )
      const { $schema: _, ...none } = { $schema: "", ...asked[0]?.tools?.[1]?.parameters }
      assert.deepStrictEqual(none as unknown, {
        type: "object",
        required: [],
        properties: {},
        additionalProperties: false
      })
    })
  )

  it.effect("that ours has no place for are MalformedInput, and nothing is sent", () =>
    Effect.gen(function* () {
      const { asked, model } = ours({ text: "ok" })
      const file = { type: "file", mediaType: "image/png", data: "aaaa" } as const
      const prompts: ReadonlyArray<Prompt.RawInput> = [[], [{ role: "assistant", content: [file] }]]
      for (const prompt of prompts) {
        const error = yield* Effect.flip(
          LanguageModel.generateText({ prompt }).pipe(Effect.provide(EffectAi.layer(model)))
        )
        assert(error._tag === "MalformedInput")
        assert.strictEqual(EffectAi.llmErrorOf(error)?._tag, "InvalidRequest")
      }
      assert.deepStrictEqual(asked, [])
    })
  )
})

describe("streams", () => {
  const broken = (...tags: ReadonlyArray<Chat.Event>) =>
    ChatModel.make({
      provider: "ours",
      model: "m-2",
      generate: () => Effect.die("unused"),
      stream: () => Stream.fromIterable(tags)
    })
  const reset: Chat.Event = { _tag: "Reset", attempt: 2, cause: "ServerError" }
  const start: Chat.Event = { _tag: "Start", provider: "ours", model: "m-2" }
  const finish: Chat.Event = { _tag: "Finish", reason: "stop" }
  const delta = (text: string): Chat.Event => ({ _tag: "TextDelta", text })
  const read = (model: ChatModel.ChatModel) =>
    Stream.runCollect(LanguageModel.streamText({ prompt: "x" })).pipe(Effect.provide(EffectAi.layer(model)))

  it.effect("of a model in restart mode are strict here, and restart elsewhere", () =>
    Effect.gen(function* () {
      for (const mode of ["restart", "continue"] as const) {
        const provider = yield* FaultyProvider.make({ script: [Fault.earlyEnd(), Reply.text("done")] })
        const model = ChatModel.retry(yield* modelOf(provider), RetryPolicy.standard, { mode })
        const error = yield* Effect.flip(elapse(read(model)))
        assert.strictEqual(EffectAi.llmErrorOf(error)?._tag, "StreamInterrupted")
        assert.strictEqual((yield* provider.requests).length, 1)
      }
      const provider = yield* FaultyProvider.make({ script: [Fault.earlyEnd(), Reply.text("done")] })
      const model = ChatModel.retry(yield* modelOf(provider), RetryPolicy.standard, { mode: "restart" })
      const events = yield* elapse(Stream.runCollect(model.stream(Chat.prompt("x"))))
      assert.include(
        Array.from(events, ({ _tag }) => _tag),
        "Reset"
      )
    })
  )

  it.effect("that start over by themselves fail once something was delivered", () =>
    Effect.gen(function* () {
      const early = yield* read(broken(start, reset, start, delta("hi"), finish))
      assert.include(
        Array.from(early, ({ type }) => type),
        "finish"
      )
      const error = yield* Effect.flip(read(broken(start, delta("hi"), reset, start, delta("hi"), finish)))
      const own = EffectAi.llmErrorOf(error)
      assert(own?._tag === "StreamInterrupted")
      assert.isFalse(LlmError.isRetryable(own))
      assert.strictEqual(own.received, 2)
    })
  )
})

describe("errors", () => {
  const fields = { provider: "ours", model: "m-2", message: "told", delivery: "unknown" } as const
  const all: ReadonlyArray<LlmError.LlmError> = [
    ...[undefined, 429, 503, 401, 400].flatMap((status) => [
      new LlmError.RateLimited({ ...fields, status }),
      new LlmError.QuotaExhausted({ ...fields, status }),
      new LlmError.Overloaded({ ...fields, status }),
      new LlmError.ServerError({ ...fields, status }),
      new LlmError.Timeout({ ...fields, status, phase: "attempt" }),
      new LlmError.ConnectionError({ ...fields, status }),
      new LlmError.AuthError({ ...fields, status }),
      new LlmError.PermissionDenied({ ...fields, status }),
      new LlmError.ModelNotFound({ ...fields, status }),
      new LlmError.ContextLengthExceeded({ ...fields, status }),
      new LlmError.ContentFiltered({ ...fields, status }),
      new LlmError.InvalidRequest({ ...fields, status }),
      new LlmError.InvalidResponse({ ...fields, status })
    ]),
    new LlmError.StreamInterrupted({ ...fields, received: 1, partial: "a" }),
    new LlmError.CircuitOpen(fields),
    new LlmError.BudgetExceeded({ ...fields, budget: "usd" })
  ]

  const encode = Schema.encodeSync(LlmError.LlmError)
  const plain = (error: LlmError.LlmError | undefined) => error && encode(error)

  it.effect("of every tag are an AiError that has the LlmError inside", () =>
    Effect.gen(function* () {
      for (const error of all) {
        const { model } = ours(error)
        const run = LanguageModel.generateText({ prompt: "x" }).pipe(Effect.provide(EffectAi.layer(model)))
        const theirs = yield* Effect.flip(run)
        assert.isTrue(AiError.isAiError(theirs))
        assert.deepStrictEqual(plain(EffectAi.llmErrorOf(theirs)), plain(error))
        const streamed = yield* Effect.flip(
          Stream.runDrain(LanguageModel.streamText({ prompt: "x" })).pipe(Effect.provide(EffectAi.layer(model)))
        )
        assert.deepStrictEqual(plain(EffectAi.llmErrorOf(streamed)), plain(error))
      }
    })
  )

  it.effect("with a status are HttpResponseError, which another process can classify again", () =>
    Effect.gen(function* () {
      const error = new LlmError.RateLimited({
        ...fields,
        status: 429,
        code: "rate_limit_exceeded",
        requestId: "req-1",
        hint: Duration.millis(1500)
      })
      const { model } = ours(error)
      const theirs = yield* Effect.flip(
        LanguageModel.generateText({ prompt: "x" }).pipe(Effect.provide(EffectAi.layer(model)))
      )
      assert(theirs._tag === "HttpResponseError")
      assert.strictEqual(theirs.response.status, 429)
      assert.strictEqual(theirs.response.headers["x-request-id"], "req-1")
      const json = JSON.parse(JSON.stringify(Schema.encodeSync(AiError.AiError)(theirs)))
      const decoded = Schema.decodeUnknownSync(AiError.AiError)(json)
      assert.isUndefined(EffectAi.llmErrorOf(decoded))
      const back = EffectAi.fromLanguageModel(
        yield* LanguageModel.make({ generateText: () => Effect.fail(decoded), streamText: () => Stream.fail(decoded) }),
        { provider: "p", model: "m" }
      )
      const again = yield* Effect.flip(back.generate(Chat.prompt("x")))
      assert.strictEqual(again._tag, "RateLimited")
      assert.strictEqual(again.requestId, "req-1")
      assert.strictEqual(String(again.hint), "Duration(1s 500ms)")
    })
  )

  it("of others have none", () => {
    assert.isUndefined(EffectAi.llmErrorOf(new AiError.UnknownError({ module: "M", method: "m" })))
    assert.isUndefined(EffectAi.llmErrorOf(undefined))
    const loop: { cause?: unknown } = {}
    loop.cause = loop
    assert.isUndefined(EffectAi.llmErrorOf(loop))
    assert.strictEqual(EffectAi.llmErrorOf({ cause: { cause: overloaded } }), overloaded)
  })
})

describe("evidence", () => {
  it.effect("of a call stands once: one record, one span with usage, under theirs", () =>
    Effect.gen(function* () {
      const usage = { inputTokens: 3, outputTokens: 2, cacheWriteTokens: 1 }
      for (const streamed of [false, true]) {
        const { model } = ours(overloaded, { text: "hi", usage, id: "r-1", requestId: "q-1" })
        const layer = EffectAi.layer(ChatModel.retry(model, RetryPolicy.standard))
        const { layer: tracing, spans } = collectSpans()
        const { layer: observing, records } = collectRecords()
        const run = streamed
          ? Effect.map(Stream.runCollect(LanguageModel.streamText({ prompt: "x" })), (parts) => Array.from(parts))
          : Effect.map(LanguageModel.generateText({ prompt: "x" }), ({ content }): Array<Response.AnyPart> => content)
        const parts = yield* elapse(run.pipe(Effect.provide([layer, observing, tracing])))
        const end = parts.find((part) => part.type === "finish")
        assert(end?.type === "finish")
        assert.deepStrictEqual({ ...end.usage }, {
          inputTokens: 3,
          outputTokens: 2,
          totalTokens: 5,
          reasoningTokens: undefined,
          cachedInputTokens: undefined
        } as never)
        assert.deepStrictEqual(end.metadata.steadfast?.usage, usage)
        const named = parts.find((part) => part.type === "response-metadata")
        assert(named?.type === "response-metadata")
        assert.deepStrictEqual(named.id, Option.some("r-1"))
        assert.strictEqual(only(records).attempts.length, 2)
        const counted = spans().filter(({ attributes }) => "gen_ai.usage.input_tokens" in attributes)
        const outer = only(spans().filter(({ name }) => name.startsWith("LanguageModel.")))
        assert.strictEqual(only(counted).parentSpanContext?.spanId, outer.spanContext().spanId)
      }
    })
  )

  it.effect("an interrupted program interrupts the call", () =>
    Effect.gen(function* () {
      const { layer, provider } = yield* assistant(Fault.hang)
      const exit = yield* elapse(
        Effect.exit(
          LanguageModel.generateText({ prompt: "x" }).pipe(Effect.timeout("5 seconds"), Effect.provide(layer))
        )
      )
      assert.isTrue(Exit.isFailure(exit))
      assert.strictEqual((yield* provider.requests).length, 1)
    })
  )
})
