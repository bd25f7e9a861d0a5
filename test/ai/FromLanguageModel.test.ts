import { AiError, LanguageModel, Prompt, type Response, Tool } from "@effect/ai"
import { HttpClientError, HttpClientRequest, HttpClientResponse } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Context, Effect, Exit, Layer, Option, Schema, Stream } from "effect"
import { Chat, ChatModel, ChatStream, LlmError, RetryPolicy } from "effect-steadfast"
import { EffectAi } from "effect-steadfast/ai"
import { Fault, Reply } from "effect-steadfast/testing"
import { collectRecords, only } from "../support/evidence.js"
import { collectSpans } from "../support/spans.js"
import { elapse, finish, theirs, tiny, usage } from "./support.js"

const object = { type: "object", properties: { city: { type: "string" } }, required: ["city"] }
const weather: Chat.Tool = { name: "weather", description: "the weather", parameters: object }

const encode = Schema.encodeSync(Prompt.Prompt)

const bare = (value: unknown): unknown =>
  Array.isArray(value)
    ? value.map(bare)
    : typeof value === "object" && value !== null
      ? Object.fromEntries(
          Object.entries(value).flatMap(([key, one]) =>
            key === "options" && Object.keys(one as object).length === 0 ? [] : [[key, bare(one)]]
          )
        )
      : value

/** The messages of a prompt, without the options that say nothing. */
const shown = (prompt: Prompt.Prompt | undefined) =>
  bare(prompt === undefined ? [] : encode(prompt).content) as ReadonlyArray<{
    readonly role: string
    readonly content: ReadonlyArray<unknown>
  }>

const failure = <A, E>(exit: Exit.Exit<A, E>): E | undefined =>
  Exit.isFailure(exit) ? Option.getOrUndefined(Cause.failureOption(exit.cause)) : undefined

/** How `generate` and `stream` fail. */
const errorsOf = (model: ChatModel.ChatModel, request: Chat.Request = Chat.prompt("hi")) =>
  Effect.all([Effect.flip(model.generate(request)), Effect.flip(ChatStream.collect(model.stream(request)))])

describe("requests", () => {
  it.effect("become prompts, tools and options of theirs", () =>
    Effect.gen(function* () {
      const { asked, model } = yield* theirs([{ type: "text", text: "ok" }, finish()])
      yield* model.generate({
        messages: [
          Chat.system("be short"),
          Chat.user([
            { type: "text", text: "look" },
            { type: "image", data: "iVBORw0KGgo=", mediaType: "image/png" },
            { type: "image", url: "data:image/gif;base64,R0lGOA==" },
            { type: "image", url: "https://example.com/a.png" },
            { type: "file", url: "https://example.com/a.pdf", name: "a.pdf" }
          ]),
          Chat.assistant("", [
            { id: "c1", name: "weather", arguments: { city: "Oslo" } },
            { id: "c2", name: "weather", arguments: { city: "Bergen" } }
          ]),
          Chat.toolResult("c1", '{"degrees":3}'),
          Chat.toolResult("c2", "no idea"),
          Chat.user("so?")
        ],
        tools: [weather],
        toolChoice: { name: "weather" }
      })
      const { prompt, responseFormat, toolChoice, tools } = only(asked)
      const [, user] = prompt.content
      assert.deepStrictEqual(
        user?.role === "user"
          ? user.content.map((part) => (part.type === "file" ? [part.mediaType, part.data] : part.text))
          : [],
        [
          "look",
          ["image/png", Uint8Array.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a])],
          ["image/gif", Uint8Array.from([0x47, 0x49, 0x46, 0x38])],
          ["image/*", new URL("https://example.com/a.png")],
          ["application/pdf", new URL("https://example.com/a.pdf")]
        ]
      )
      const rest = Prompt.fromMessages(prompt.content.filter(({ role }) => role === "assistant" || role === "tool"))
      const call = (id: string, city: string) => ({
        type: "tool-call",
        id,
        name: "weather",
        params: { city },
        providerExecuted: false
      })
      const result = { type: "tool-result", name: "weather", isFailure: false, providerExecuted: false }
      assert.deepStrictEqual(shown(rest), [
        { role: "assistant", content: [call("c1", "Oslo"), call("c2", "Bergen")] },
        {
          role: "tool",
          content: [
            { ...result, id: "c1", result: { degrees: 3 } },
            { ...result, id: "c2", result: "no idea" }
          ]
        }
      ])
      assert.deepStrictEqual(
        tools.map((tool) => [tool.name, tool.description, Tool.getJsonSchema(tool as never)]),
        [["weather", "the weather", object]] as never
      )
      assert.deepStrictEqual(toolChoice, { tool: "weather" })
      assert.deepStrictEqual(responseFormat, { type: "text" })
    })
  )

  it.effect("for an answer by a schema ask for an object, and give its text", () =>
    Effect.gen(function* () {
      const { asked, model } = yield* theirs([{ type: "text", text: '{"city":"Oslo"}' }, finish()])
      const request = Chat.prompt("where?", { responseFormat: { type: "json-schema", name: "place", schema: object } })
      const answer = yield* model.generate(request)
      const collected = yield* ChatStream.collect(model.stream(request))
      assert.strictEqual(answer.text, '{"city":"Oslo"}')
      assert.deepStrictEqual(collected, answer)
      for (const { responseFormat } of asked) {
        assert(responseFormat.type === "json")
        assert.strictEqual(responseFormat.objectName, "place")
        assert.deepStrictEqual(Tool.getJsonSchemaFromSchemaAst(responseFormat.schema.ast), object as never)
      }
    })
  )

  it.effect("for an answer by a schema keep tool calls, and text that is no JSON", () =>
    Effect.gen(function* () {
      const call: Response.ToolCallPartEncoded = {
        type: "tool-call",
        id: "c1",
        name: "weather",
        params: { city: "Oslo" }
      }
      const { model } = yield* theirs([call, finish("tool-calls")], [{ type: "text", text: "sorry" }, finish()])
      const request = Chat.prompt("where?", {
        tools: [weather],
        responseFormat: { type: "json-schema", name: "place", schema: object }
      })
      const first = yield* model.generate(request)
      assert.deepStrictEqual(first.toolCalls, [{ id: "c1", name: "weather", arguments: { city: "Oslo" } }])
      assert.strictEqual((yield* model.generate(request)).text, "sorry")
    })
  )

  it.effect("that theirs has no place for are refused, and another target may take them", () =>
    Effect.gen(function* () {
      const { asked, model } = yield* theirs([finish()])
      const refused = [
        Chat.prompt("x", { responseFormat: { type: "json" } }),
        Chat.request({ messages: [Chat.user([{ type: "image", data: "%%", mediaType: "image/png" }])] }),
        Chat.request({ messages: [Chat.user([{ type: "image", url: "no url" }])] })
      ]
      for (const request of refused) {
        for (const error of yield* errorsOf(model, request)) {
          assert.strictEqual(error._tag, "InvalidRequest")
          assert.strictEqual(error.delivery, "not-sent")
          assert.isTrue(LlmError.isFallbackable(error))
        }
      }
      assert.deepStrictEqual(asked, [])
    })
  )

  it.effect("give their settings to the provider's own tag", () =>
    Effect.gen(function* () {
      class Config extends Context.Tag("Config")<Config, { readonly temperature: number | undefined }>() {}
      const seen: Array<unknown> = []
      const note = Effect.map(Effect.serviceOption(Config), (config) => {
        seen.push(Option.getOrUndefined(config))
        return seen.length === 1
          ? [{ type: "text", text: "ok" } as const, finish()]
          : [{ type: "text-delta", id: "0", delta: "ok" } as const, finish()]
      })
      const { service } = yield* theirs(note)
      const model = EffectAi.fromLanguageModel(service, {
        provider: "theirs",
        model: "m-1",
        settings: ({ temperature }) => Context.make(Config, { temperature }) as Context.Context<never>
      })
      yield* model.generate(Chat.prompt("x", { temperature: 0.5 }))
      yield* ChatStream.collect(model.stream(Chat.prompt("x", { temperature: 0.25 })))
      assert.deepStrictEqual(seen, [{ temperature: 0.5 }, { temperature: 0.25 }])
    })
  )
})

describe("answers", () => {
  const meta = { type: "response-metadata", id: "r-1", modelId: "m-1-dated" } as const
  const whole: ReadonlyArray<Response.PartEncoded> = [
    meta,
    { type: "reasoning", text: "hmm", metadata: { anthropic: { signature: "s1" } } },
    { type: "text", text: "Let me see. " },
    { type: "tool-call", id: "c1", name: "weather", params: { city: "Oslo" }, metadata: { openai: { itemId: "i1" } } },
    { type: "tool-call", id: "x1", name: "weather", params: {}, providerExecuted: true },
    { type: "source", sourceType: "url", id: "u1", url: "https://example.com/", title: "Example" },
    { ...finish("tool-calls"), usage: usage(3, 2, { cachedInputTokens: 1 }) }
  ]
  const streamed: ReadonlyArray<Response.StreamPartEncoded> = [
    meta,
    { type: "reasoning-start", id: "0" },
    { type: "reasoning-delta", id: "0", delta: "hm" },
    { type: "reasoning-delta", id: "0", delta: "m" },
    { type: "reasoning-end", id: "0", metadata: { anthropic: { signature: "s1" } } },
    { type: "text-start", id: "1" },
    { type: "text-delta", id: "1", delta: "Let me " },
    { type: "text-delta", id: "1", delta: "see. " },
    { type: "text-end", id: "1" },
    { type: "tool-params-start", id: "c1", name: "weather", providerExecuted: false },
    { type: "tool-params-delta", id: "c1", delta: '{"city":"Oslo"}' },
    { type: "tool-params-end", id: "c1" },
    ...(whole.slice(3) as ReadonlyArray<Response.StreamPartEncoded>)
  ]

  it.effect("whole and streamed are the same answer", () =>
    Effect.gen(function* () {
      const { model } = yield* theirs(whole, streamed)
      const request = Chat.prompt("hi", { tools: [weather] })
      const answer = yield* model.generate(request)
      const collected = yield* ChatStream.collect(model.stream(request))
      assert.deepStrictEqual(collected, answer)
      const { providerData, ...rest } = answer
      assert.deepStrictEqual(rest, {
        provider: "theirs",
        model: "m-1-dated",
        id: "r-1",
        text: "Let me see. ",
        reasoning: "hmm",
        toolCalls: [{ id: "c1", name: "weather", arguments: { city: "Oslo" } }],
        finishReason: "tool-calls",
        usage: { inputTokens: 3, outputTokens: 2, cachedInputTokens: 1 }
      })
      assert.strictEqual(providerData?.wire, "effect-ai")
      assert.deepStrictEqual(providerData?.details?.sources, [
        { sourceType: "url", id: "u1", title: "Example", url: "https://example.com/" }
      ])
    })
  )

  it.effect("come piece by piece", () =>
    Effect.gen(function* () {
      const { model } = yield* theirs(streamed)
      const events = yield* Stream.runCollect(model.stream(Chat.prompt("hi", { tools: [weather] })))
      assert.deepStrictEqual(
        Array.from(events, (event) => event._tag),
        ["Start", "ReasoningDelta", "ReasoningDelta", "TextDelta", "TextDelta", "ToolCall", "Usage", "Finish"]
      )
    })
  )

  it.effect("give back what has to go back, to the target that made it and to no other", () =>
    Effect.gen(function* () {
      const { asked, model, service } = yield* theirs(whole, [{ type: "text", text: "ok" }, finish()])
      const request = Chat.prompt("hi", { tools: [weather] })
      const message = Chat.reply(yield* model.generate(request))
      const next = { ...request, messages: [Chat.user("hi"), message, Chat.toolResult("c1", "3")] } as Chat.Request
      yield* model.generate(next)
      const kept = [
        { type: "reasoning", text: "hmm", options: { anthropic: { signature: "s1" } } },
        { type: "text", text: "Let me see. " },
        {
          type: "tool-call",
          id: "c1",
          name: "weather",
          params: { city: "Oslo" },
          providerExecuted: false,
          options: { openai: { itemId: "i1" } }
        },
        { type: "tool-call", id: "x1", name: "weather", params: {}, providerExecuted: true }
      ]
      assert.deepStrictEqual(shown(asked[1]?.prompt)[1], { role: "assistant", content: kept })

      const plain = [
        { type: "text", text: "Let me see. " },
        { type: "tool-call", id: "c1", name: "weather", params: { city: "Oslo" }, providerExecuted: false }
      ]
      const other = EffectAi.fromLanguageModel(service, { provider: "theirs", model: "m-9" })
      yield* other.generate(next)
      assert.deepStrictEqual(shown(asked[2]?.prompt)[1], { role: "assistant", content: plain })

      // A message that says something else now goes without the signature of what it said.
      const edited = { ...message, content: "edited" } as Chat.Message
      yield* model.generate({ ...next, messages: [Chat.user("hi"), edited, Chat.toolResult("c1", "3")] })
      assert.deepStrictEqual(shown(asked[3]?.prompt)[1]?.content[0], { type: "text", text: "edited" })
    })
  )

  const reasons = [
    ["stop", "stop"],
    ["length", "length"],
    ["pause", "other"],
    ["other", "other"],
    ["unknown", "other"]
  ] as const
  it.effect.each(reasons)("that end with %s end with %s", ([reason, ours]) =>
    Effect.gen(function* () {
      const { model } = yield* theirs([{ type: "text", text: "hi" }, finish(reason)])
      assert.strictEqual((yield* model.generate(Chat.prompt("x"))).finishReason, ours)
    })
  )

  it.effect("without whole counts have no usage", () =>
    Effect.gen(function* () {
      const text = { type: "text", text: "hi" } as const
      const end = (inputs: number | undefined) => [text, { ...finish(), usage: usage(inputs, 2) }]
      const { model } = yield* theirs(end(undefined), end(Number.NaN), end(-1))
      for (const _ of [1, 2, 3]) assert.isUndefined((yield* model.generate(Chat.prompt("x"))).usage)
    })
  )
})

describe("errors", () => {
  const text = { type: "text", text: "hi" } as const
  const deltas: ReadonlyArray<Response.StreamPartEncoded> = [
    { type: "text-start", id: "0" },
    { type: "text-delta", id: "0", delta: "one " },
    { type: "text-delta", id: "0", delta: "two" }
  ]

  it.effect("are classified from what theirs knows: status, headers, body, words, thrown values", () =>
    Effect.gen(function* () {
      const request = { method: "POST", url: "https://x.y", urlParams: [], hash: Option.none(), headers: {} } as const
      const response = (status: number, body: string | undefined, headers: Record<string, string> = {}) =>
        new AiError.HttpResponseError({
          module: "M",
          method: "m",
          request,
          response: { status, headers },
          reason: "StatusCode",
          ...(body === undefined ? {} : { body })
        })
      const place = { module: "M", method: "m" }
      const unknown = (description: string | undefined, cause?: unknown) =>
        new AiError.UnknownError({ ...place, ...(description === undefined ? {} : { description }), cause })
      const fetchFailed = Object.assign(new TypeError("fetch failed"), {
        cause: Object.assign(new Error("connect ECONNREFUSED 1.2.3.4:443"), {
          code: "ECONNREFUSED",
          syscall: "connect"
        })
      })
      const sent = HttpClientRequest.post("https://x.y")
      const web = HttpClientResponse.fromWeb(sent, new globalThis.Response("", { status: 503 }))
      const leaked = JSON.stringify({
        request: { headers: { authorization: "Bearer sk-proj-9fK2mQ7xTzL4wVb8NcR1" }, body: "a secret prompt" },
        reason: "Decode",
        _tag: "ResponseError"
      })
      const cases: ReadonlyArray<readonly [unknown, LlmError.Tag]> = [
        [
          response(429, '{"error":{"code":"rate_limit_exceeded","message":"slow"}}', { "retry-after": "7" }),
          "RateLimited"
        ],
        [response(429, '{"error":{"code":"insufficient_quota","message":"pay"}}'), "QuotaExhausted"],
        [response(401, undefined), "AuthError"],
        [response(503, '"Service Unavailable"'), "Overloaded"],
        [response(400, '{"error":{"code":"context_length_exceeded","message":"long"}}'), "ContextLengthExceeded"],
        [response(500, leaked), "ServerError"],
        [response(200, leaked), "InvalidResponse"],
        [response(200, '{"error":{"type":"overloaded_error","message":"Overloaded"}}'), "Overloaded"],
        [
          new AiError.HttpRequestError({ ...place, request, reason: "Transport", cause: fetchFailed }),
          "ConnectionError"
        ],
        [new AiError.HttpRequestError({ ...place, request, reason: "Encode" }), "InvalidRequest"],
        [new AiError.MalformedInput({ ...place, description: "no such file type" }), "InvalidRequest"],
        [new AiError.MalformedOutput({ ...place, description: "what?" }), "InvalidResponse"],
        [unknown("rate limit exceeded, try again in 2s"), "RateLimited"],
        [unknown(undefined, fetchFailed), "ConnectionError"],
        [unknown("odd"), "ServerError"],
        [new HttpClientError.ResponseError({ request: sent, response: web, reason: "StatusCode" }), "Overloaded"],
        [
          new HttpClientError.RequestError({ request: sent, reason: "Transport", cause: fetchFailed }),
          "ConnectionError"
        ],
        [fetchFailed, "ConnectionError"]
      ]
      for (const [thrown, tag] of cases) {
        const { model } = yield* theirs(Effect.fail(thrown))
        const [generated, streamed] = yield* errorsOf(model)
        assert.strictEqual(generated._tag, tag, String(thrown))
        if (thrown !== cases[6]?.[0]) assert.strictEqual(streamed._tag, tag, String(thrown))
        assert.strictEqual(generated.provider, "theirs")
        assert.strictEqual(generated.model, "m-1")
        assert.notMatch(JSON.stringify(generated), /sk-proj|secret prompt/)
      }
      const { model } = yield* theirs(Effect.fail(cases[0]?.[0]))
      const [limited] = yield* errorsOf(model)
      assert.strictEqual(String(limited.hint), "Duration(7s)")
      assert.strictEqual(limited.status, 429)
    })
  )

  it.effect("of the network are typed, also if they are thrown; bugs stay defects", () =>
    Effect.gen(function* () {
      const reset = Object.assign(new Error("read ECONNRESET"), { code: "ECONNRESET" })
      const { model } = yield* theirs(Effect.die(reset))
      for (const error of yield* errorsOf(model)) assert.strictEqual(error._tag, "ConnectionError")

      const bug = new TypeError("x is not a function")
      const { model: broken } = yield* theirs(Effect.die(bug))
      for (const run of [broken.generate(Chat.prompt("x")), ChatStream.collect(broken.stream(Chat.prompt("x")))]) {
        const exit = yield* Effect.exit(run)
        assert.strictEqual(
          Exit.isFailure(exit) && String(Option.getOrUndefined(Cause.dieOption(exit.cause))),
          String(bug)
        )
      }

      const { model: stopped } = yield* theirs(Effect.interrupt)
      const exit = yield* Effect.exit(stopped.generate(Chat.prompt("x")))
      assert.isTrue(Exit.isInterrupted(exit))
    })
  )

  it.effect("a method that throws has failed like any other", () =>
    Effect.gen(function* () {
      const { service } = yield* theirs()
      const thrown = () => {
        throw Object.assign(new Error("socket hang up"), { code: "ECONNRESET" })
      }
      const model = EffectAi.fromLanguageModel(
        { ...service, generateText: thrown, streamText: thrown } as LanguageModel.Service,
        { provider: "theirs", model: "m-1" }
      )
      for (const error of yield* errorsOf(model)) assert.strictEqual(error._tag, "ConnectionError")
    })
  )

  it.effect("a filtered answer is ContentFiltered, an answer that ended with an error is one", () =>
    Effect.gen(function* () {
      const { model } = yield* theirs([text, finish("content-filter")])
      const streams = yield* theirs([...deltas, finish("content-filter")])
      assert.strictEqual((yield* Effect.flip(model.generate(Chat.prompt("x"))))._tag, "ContentFiltered")
      assert.strictEqual(
        (yield* Effect.flip(ChatStream.collect(streams.model.stream(Chat.prompt("x")))))._tag,
        "ContentFiltered"
      )
      const failed = yield* theirs([text, finish("error")])
      assert.strictEqual((yield* Effect.flip(failed.model.generate(Chat.prompt("x"))))._tag, "ServerError")
    })
  )

  it.effect("an answer without its end is none", () =>
    Effect.gen(function* () {
      const { model } = yield* theirs([text])
      assert.strictEqual((yield* Effect.flip(model.generate(Chat.prompt("x"))))._tag, "InvalidResponse")
      const cut = yield* theirs(deltas)
      const error = yield* Effect.flip(ChatStream.collect(cut.model.stream(Chat.prompt("x"))))
      assert(error._tag === "StreamInterrupted")
      assert.strictEqual(error.partial, "one two")
      assert.strictEqual(error.received, 7)
    })
  )

  it.effect("an answer without content is none, unless it was cut or the model chose to be silent", () =>
    Effect.gen(function* () {
      const end = (reason: Response.FinishReason, outputs: number) => [{ ...finish(reason), usage: usage(3, outputs) }]
      const { model } = yield* theirs(end("stop", 0), end("length", 0), end("stop", 1))
      assert.strictEqual((yield* Effect.flip(model.generate(Chat.prompt("x"))))._tag, "InvalidResponse")
      assert.strictEqual((yield* model.generate(Chat.prompt("x"))).finishReason, "length")
      assert.strictEqual((yield* model.generate(Chat.prompt("x"))).text, "")
    })
  )

  it.effect("an error part is the error that it tells", () =>
    Effect.gen(function* () {
      const told = (error: unknown) => [...deltas, { type: "error", error } as const, finish()]
      const { model } = yield* theirs(
        told({ type: "overloaded_error", message: "Overloaded" }),
        told({ type: "error", code: "rate_limit_exceeded", message: "slow", param: null }),
        told(new AiError.MalformedOutput({ module: "M", method: "m", description: "what?" })),
        told("boom")
      )
      const tags: Array<string> = []
      for (const _ of [1, 2, 3, 4]) {
        tags.push((yield* Effect.flip(ChatStream.collect(model.stream(Chat.prompt("x")))))._tag)
      }
      assert.deepStrictEqual(tags, ["Overloaded", "RateLimited", "InvalidResponse", "ServerError"])
    })
  )

  it.effect("a stream that breaks tells what it delivered", () =>
    Effect.gen(function* () {
      const reset = Object.assign(new Error("read ECONNRESET"), { code: "ECONNRESET" })
      const service = yield* LanguageModel.make({
        generateText: () => Effect.die("unused"),
        streamText: () => Stream.concat(Stream.fromIterable(deltas), Stream.die(reset))
      })
      const model = EffectAi.fromLanguageModel(service, { provider: "theirs", model: "m-1" })
      const error = failure(yield* Effect.exit(ChatStream.collect(model.stream(Chat.prompt("x")))))
      assert(error?._tag === "StreamInterrupted")
      assert.strictEqual(error.partial, "one two")
      assert.strictEqual(error.code, "ECONNRESET")
    })
  )
})

describe("policies", () => {
  it.effect("retry a provider of theirs over HTTP, with the hints of its headers", () =>
    Effect.gen(function* () {
      const { model, provider } = yield* tiny([
        Fault.rateLimited({ retryAfter: "2 seconds" }),
        Fault.status(503),
        Fault.resetInBody(),
        Reply.text("hi")
      ])
      const { layer, records } = collectRecords()
      const retried = model.pipe(ChatModel.retry(RetryPolicy.standard))
      const answer = yield* elapse(retried.generate(Chat.prompt("x"))).pipe(Effect.provide(layer))
      assert.strictEqual(answer.text, "hi")
      const [first, second] = yield* provider.requests
      assert.isAtLeast((second?.at ?? 0) - (first?.at ?? 0), 2000)
      const { attempts } = only(records)
      assert.deepStrictEqual(
        attempts.map(({ error, status }) => [error?._tag, status]),
        [
          ["RateLimited", 429],
          ["Overloaded", 503],
          ["InvalidResponse", 200],
          [undefined, undefined]
        ]
      )
      assert.notMatch(JSON.stringify(records), /sk-proj|secret prompt/)
    })
  )

  it.effect("see life in the pieces of a tool call that nobody sees yet", () =>
    Effect.gen(function* () {
      const call: ReadonlyArray<Response.StreamPartEncoded> = [
        { type: "tool-params-start", id: "c1", name: "weather", providerExecuted: false },
        ...Array.from({ length: 5 }, () => ({ type: "tool-params-delta", id: "c1", delta: " " }) as const),
        { type: "tool-call", id: "c1", name: "weather", params: { city: "Oslo" } },
        finish("tool-calls")
      ]
      const service = yield* LanguageModel.make({
        generateText: () => Effect.die("unused"),
        streamText: () =>
          Stream.fromIterable(call).pipe(
            Stream.rechunk(1),
            Stream.mapEffect((part) => Effect.as(Effect.sleep("8 seconds"), part))
          )
      })
      const model = EffectAi.fromLanguageModel(service, { provider: "theirs", model: "m-1" })
      const ask = (limits: ChatModel.Timeouts) =>
        elapse(
          Effect.exit(
            ChatStream.collect(ChatModel.timeout(model, limits).stream(Chat.prompt("x", { tools: [weather] })))
          )
        )
      assert.isUndefined(failure(yield* ask({ firstToken: "20 seconds", idle: "10 seconds" })))
      const error = failure(yield* ask({ firstToken: "20 seconds", idle: "5 seconds" }))
      assert(error?._tag === "Timeout")
    })
  )

  it.effect("end a call of theirs at the deadline", () =>
    Effect.gen(function* () {
      const { model } = yield* theirs(Effect.never)
      const limited = ChatModel.deadline(model, "3 seconds")
      for (const error of yield* elapse(errorsOf(limited))) {
        assert(error._tag === "Timeout")
        assert.strictEqual(error.phase, "total")
      }
    })
  )

  it.effect("leave usage and operation on one span", () =>
    Effect.gen(function* () {
      const { model } = yield* tiny([Fault.status(503), Reply.text("hi")])
      const { layer, spans } = collectSpans()
      yield* elapse(ChatModel.retry(model, RetryPolicy.standard).generate(Chat.prompt("x"))).pipe(Effect.provide(layer))
      const names = spans().map(({ name }) => name)
      assert.strictEqual(names.filter((name) => name === "LanguageModel.generateText").length, 2)
      for (const attribute of ["gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens", "gen_ai.operation.name"]) {
        assert.deepStrictEqual(
          spans().flatMap(({ attributes, name }) => (attribute in attributes ? [name] : [])),
          ["chat gpt-4o-mini"]
        )
      }
      const inner = spans().filter(({ name }) => name === "LanguageModel.generateText")
      assert.strictEqual(inner.at(-1)?.attributes["gen_ai.response.model"], "gpt-4o-mini")
    })
  )
})

describe("fromLanguageModel", () => {
  it.effect("takes a service, an effect, a tag or a layer", () =>
    Effect.gen(function* () {
      const { service } = yield* theirs([{ type: "text", text: "hi" }, finish()])
      const options = { provider: "theirs", model: "m-1" }
      const layer = Layer.succeed(LanguageModel.LanguageModel, service)
      const models = [
        EffectAi.fromLanguageModel(service, options),
        yield* EffectAi.fromLanguageModel(Effect.succeed(service), options),
        yield* Effect.provide(EffectAi.fromLanguageModel(LanguageModel.LanguageModel, options), layer),
        yield* EffectAi.fromLanguageModel(layer, options)
      ]
      for (const model of models) {
        assert.strictEqual(model.name, "theirs/m-1")
        assert.strictEqual((yield* model.generate(Chat.prompt("x"))).text, "hi")
      }
    }).pipe(Effect.scoped)
  )
})
