import { HttpClient } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { type ConfigError, Duration, Effect, FastCheck as fc, Runtime, Schema, Stream } from "effect"
import { Call, type CallRecord, Chat, type ChatModel, ChatStream, LlmError } from "effect-steadfast"
import { Fault, FaultyProvider, Reply, type Step } from "effect-steadfast/testing"
import { cases, exhaustive, step } from "../support/cases.js"

/** Does not look like a key: what is scrubbed is the text itself, not its form. */
export const secret = "Correct Horse Battery Staple 7".replaceAll(" ", ".")

export type Make = Effect.Effect<ChatModel.ChatModel, ConfigError.ConfigError, HttpClient.HttpClient>

/** A model that talks to a provider of this behaviour. */
export const peer = (make: Make, options: FaultyProvider.Options = {}) =>
  Effect.gen(function* () {
    const provider = yield* FaultyProvider.make(options)
    const model = yield* Effect.orDie(Effect.provideService(make, HttpClient.HttpClient, provider.client))
    return { provider, model }
  })

/** An answer without the provider's own object, which a stream has not. */
export const plain = ({ raw, ...answer }: Chat.Response): Chat.Response => answer

/** The model's answer to one request, with the provider doing one step. */
export const generate = (make: Make, step: Step.Step, request: Chat.Request = Chat.prompt("hi")) =>
  Effect.flatMap(peer(make, { script: [step] }), ({ model }) => Effect.map(model.generate(request), plain))

export const collect = (make: Make, step: Step.Step, request: Chat.Request = Chat.prompt("hi")) =>
  Effect.flatMap(peer(make, { script: [step] }), ({ model }) => ChatStream.collect(model.stream(request)))

/** The events that were delivered, and how the stream ended. */
export const events = (make: Make, step: Step.Step) =>
  Effect.flatMap(peer(make, { script: [step] }), ({ model }) =>
    Effect.gen(function* () {
      const delivered: Array<Chat.Event> = []
      const end = yield* Effect.either(
        Stream.runForEach(model.stream(Chat.prompt("hi")), (event) => Effect.sync(() => delivered.push(event)))
      )
      return { delivered, error: end._tag === "Left" ? end.left : undefined }
    })
  )

export const textOf = (all: ReadonlyArray<Chat.Event>): string =>
  all.map((event) => (event._tag === "TextDelta" ? event.text : "")).join("")

/** What the provider got: the body, and where. */
export const sent = (make: Make, request: Chat.Request, streaming = false) =>
  Effect.gen(function* () {
    const { model, provider } = yield* peer(make)
    yield* streaming ? Stream.runDrain(model.stream(request)) : model.generate(request)
    const [recorded] = yield* provider.requests
    if (recorded === undefined) return assert.fail("nothing was sent")
    return recorded
  })

export const body = (make: Make, request: Chat.Request, streaming = false) =>
  Effect.map(sent(make, request, streaming), (recorded) => recorded.body as Record<string, unknown>)

/** A value inside a value: `at(x, "messages", 0, "content")`. */
export const at = (u: unknown, ...path: ReadonlyArray<string | number>): unknown =>
  path.reduce<unknown>(
    (value, key) => (typeof value === "object" && value !== null ? (value as Record<string, unknown>)[key] : undefined),
    u
  )

/** The records of the calls that an effect made. */
export const recorded = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const records: Array<CallRecord.CallRecord> = []
    const result = yield* Effect.either(
      Effect.provide(
        effect,
        Call.observe((record) => Effect.sync(() => void records.push(record)))
      )
    )
    return { result, records }
  })

export const sse = (events: ReadonlyArray<unknown>): Step.Raw =>
  Reply.raw(
    events.map((event) => {
      const type = (event as { readonly type?: unknown } | null)?.type
      const data = typeof event === "string" ? event : JSON.stringify(event)
      return `${typeof type === "string" ? `event: ${type}\n` : ""}data: ${data}\n\n`
    }),
    { headers: { "content-type": "text/event-stream" } }
  )

/** An answer that is refused must say in which field what was found and what was expected. */
export const assertRefused = (error: unknown, field: string) => {
  if (!(error instanceof LlmError.InvalidResponse)) return assert.fail(`no InvalidResponse but ${String(error)}`)
  assert.include(error.message, field)
  assert.match(error.message, /found .+, expected .+/)
}

const tools: ReadonlyArray<Reply.ToolCall> = [
  { name: "weather", arguments: { city: "Øslo 🌧", days: [1, 2], deep: { a: null } }, id: "call-a" },
  { name: "clock", arguments: {}, id: "call-b" }
]

const replies: Record<string, Step.Reply> = {
  "one word": Reply.text("hi"),
  "many words": Reply.text("The quick brown fox jumps over the lazy dog."),
  "several bytes a character": Reply.text("Grüße, 世界! 👩‍👩‍👧‍👦 e\u0301 \u{1F1F3}\u{1F1F4}", { chunks: 5 }),
  "line ends and braces": Reply.text('{"a":\n"b"}\r\n\r\ndata: [DONE]\n\n'),
  "cut by length": Reply.text("and so", { finish: "length" }),
  "one tool": Reply.toolCall(tools[0] ?? { name: "" }),
  "several tools after text": Reply.toolCall(tools, { text: "Let me look." }),
  "thoughts and text": Reply.reasoning("Hm, 私は思う…", { text: "Well then." }),
  "cached tokens": Reply.text("hi", { usage: { inputTokens: 100, outputTokens: 7, cachedTokens: 60 } })
}

const isOurs = Schema.is(LlmError.LlmError)
const isAnswer = Schema.is(Chat.Response)

/** An answer or a typed error, and never a defect. */
const total = (effect: Effect.Effect<Chat.Response, LlmError.LlmError>) =>
  Effect.map(Effect.exit(effect), (exit) => {
    if (exit._tag === "Success") {
      assert.isTrue(isAnswer(exit.value), JSON.stringify(exit.value))
      return
    }
    assert.strictEqual(exit.cause._tag, "Fail", String(exit.cause))
    if (exit.cause._tag === "Fail") assert.isTrue(isOurs(exit.cause.error), String(exit.cause.error))
  })

type JsonValue = null | boolean | number | string | Array<JsonValue> | { [key: string]: JsonValue }

/** Every place in a value. */
const paths = (value: unknown, at: ReadonlyArray<string> = []): ReadonlyArray<ReadonlyArray<string>> =>
  typeof value === "object" && value !== null
    ? [at, ...Object.entries(value).flatMap(([key, child]) => paths(child, [...at, key]))]
    : [at]

const replaced = (value: unknown, path: ReadonlyArray<string>, by: unknown): unknown => {
  const [key, ...rest] = path
  if (key === undefined) return by
  const copy = (Array.isArray(value) ? [...value] : { ...(value as object) }) as Record<string, unknown>
  copy[key] = replaced(copy[key], rest, by)
  return copy
}

/** Fields that nobody knows, in every object of a value but the arguments of tools, which are the caller's. */
const decorated = (value: unknown, extra: Record<string, JsonValue>): unknown => {
  if (Array.isArray(value)) return value.map((item) => decorated(item, extra))
  if (typeof value !== "object" || value === null) return value
  return {
    ...Object.fromEntries(
      Object.entries(value).map(([key, child]) => [
        key,
        key === "input" || key === "args" ? child : decorated(child, extra)
      ])
    ),
    ...extra
  }
}

const unknownFields = fc
  .dictionary(
    fc.string({ maxLength: 8 }).map((name) => `x_${name}`),
    fc.jsonValue()
  )
  .map((fields) => fields as Record<string, JsonValue>)

/** A property of many runs in one runtime: what `it.effect.prop` builds anew for each run costs more than the run. */
export const law = <T extends [unknown, ...Array<unknown>]>(
  name: string,
  arbitraries: { readonly [K in keyof T]: fc.Arbitrary<T[K]> },
  holds: (values: T) => Effect.Effect<void, unknown>,
  { fastCheck }: { readonly fastCheck: fc.Parameters<[T]> }
) =>
  it.effect(name, () =>
    Effect.flatMap(Effect.runtime<never>(), (runtime) =>
      Effect.promise(() =>
        fc.assert(
          fc.asyncProperty(fc.tuple<T>(...arbitraries), (values) => Runtime.runPromise(runtime)(holds(values))),
          fastCheck
        )
      )
    )
  )

export interface Subject {
  readonly make: Make
  /** A good answer whole and as the events of a stream, with the same content: text, and tool calls. */
  readonly answer: unknown
  readonly events: ReadonlyArray<unknown>
  /** An event that the protocol may send one day. */
  readonly unknownEvent: (content: JsonValue) => unknown
  /** The tag of an error by status, where it is not the one below. */
  readonly errors?: Record<number, LlmError.Tag>
  /** The header that holds the key. */
  readonly keyHeader: string
  /** The header that holds the request id, if there is one. */
  readonly requestId: string | undefined
}

const byStatus: Record<number, LlmError.Tag> = {
  400: "InvalidRequest",
  401: "AuthError",
  402: "QuotaExhausted",
  403: "PermissionDenied",
  404: "ModelNotFound",
  408: "Timeout",
  413: "ContextLengthExceeded",
  422: "InvalidRequest",
  429: "RateLimited",
  500: "ServerError",
  502: "ServerError",
  503: "Overloaded",
  504: "Timeout",
  529: "Overloaded"
}

/** What holds for every provider. */
export const laws = ({ answer, errors, events: stream, keyHeader, make, requestId, unknownEvent }: Subject) => {
  const whole = (value: unknown) => generate(make, Reply.json(value))
  const streamed = (all: ReadonlyArray<unknown>) => collect(make, sse(all))

  describe("a stream and a whole answer", () => {
    for (const [name, reply] of Object.entries(replies)) {
      it.effect(`say the same: ${name}`, () =>
        Effect.gen(function* () {
          const expected = yield* generate(make, reply)
          assert.deepStrictEqual(yield* collect(make, reply), expected)
          for (const fragment of [1, 3, 64]) {
            assert.deepStrictEqual(yield* collect(make, { ...reply, fragment }), expected)
          }
        })
      )
    }

    it.effect("carry text, thoughts, tool calls, usage and the reason of the end", () =>
      Effect.gen(function* () {
        const thought = yield* generate(make, Reply.reasoning("Let me think", { text: "Yes." }))
        assert.strictEqual(thought.reasoning, "Let me think")
        assert.strictEqual(thought.text, "Yes.")
        assert.strictEqual(thought.finishReason, "stop")
        const called = yield* generate(make, replies["several tools after text"] ?? Fault.defaultReply)
        assert.strictEqual(called.text, "Let me look.")
        assert.deepStrictEqual(called.toolCalls, [
          { id: "call-a", name: "weather", arguments: tools[0]?.arguments },
          { id: "call-b", name: "clock", arguments: {} }
        ])
        assert.strictEqual(called.finishReason, "tool-calls")
        const cached = yield* generate(make, replies["cached tokens"] ?? Fault.defaultReply)
        assert.strictEqual(cached.usage?.inputTokens, 100)
        assert.strictEqual(cached.usage?.outputTokens, 7)
        assert.strictEqual(cached.usage?.cachedInputTokens, 60)
        assert.strictEqual(
          (yield* generate(make, replies["cut by length"] ?? Fault.defaultReply)).finishReason,
          "length"
        )
      })
    )

    it.effect("the fixtures say the same, too", () =>
      Effect.gen(function* () {
        assert.deepStrictEqual(yield* streamed(stream), yield* whole(answer))
      })
    )

    it.effect("an answer that comes whole although a stream was asked for is taken", () =>
      Effect.gen(function* () {
        assert.deepStrictEqual(yield* collect(make, Reply.json(answer)), yield* whole(answer))
      })
    )
  })

  describe("what is unknown", () => {
    law(
      "fields never break a good answer",
      [unknownFields],
      ([extra]) =>
        Effect.gen(function* () {
          // What a usage counts beyond the known fields is in the details.
          const { providerData: _, ...expected } = yield* whole(answer)
          const known = ({ providerData: _, ...answer }: Chat.Response) => answer
          assert.deepStrictEqual(known(yield* whole(decorated(answer, extra))), expected)
          assert.deepStrictEqual(known(yield* streamed(stream.map((event) => decorated(event, extra)))), expected)
        }),
      { fastCheck: { numRuns: cases(200, 10) } }
    )

    law(
      "events never break a good stream",
      [fc.array(fc.tuple(fc.nat(), fc.jsonValue()), { maxLength: 4 })],
      ([extra]) =>
        Effect.gen(function* () {
          const all = [...stream]
          for (const [at, content] of extra) all.splice(at % stream.length, 0, unknownEvent(content as JsonValue))
          assert.deepStrictEqual(yield* streamed(all), yield* whole(answer))
        }),
      { fastCheck: { numRuns: cases(200, 10) } }
    )
  })

  describe("no body is a defect", () => {
    law("any JSON as an answer", [fc.jsonValue()], ([value]) => total(whole(value)), {
      fastCheck: { numRuns: cases(300, 10) }
    })

    law(
      "a good answer with any value anywhere",
      [fc.constantFrom(...paths(answer)), fc.jsonValue()],
      ([path, value]) => total(whole(replaced(answer, path, value))),
      { fastCheck: { numRuns: cases(300, 10) } }
    )

    law(
      "a good stream with any value anywhere",
      [fc.constantFrom(...paths(stream).filter((path) => path.length > 0)), fc.jsonValue()],
      ([path, value]) => total(streamed(replaced(stream, path, value) as ReadonlyArray<unknown>)),
      { fastCheck: { numRuns: cases(300, 10) } }
    )

    law(
      "a good stream without some of its events, or with them in another order",
      [fc.shuffledSubarray([...stream])],
      ([some]) => total(streamed(some)),
      { fastCheck: { numRuns: cases(300, 10) } }
    )

    law(
      "any bytes",
      [
        fc.array(fc.uint8Array({ maxLength: 60 }), { maxLength: 6 }),
        fc.constantFrom("text/event-stream", "application/json")
      ],
      ([pieces, type]) =>
        Effect.gen(function* () {
          const step = Reply.raw(pieces, { headers: { "content-type": type } })
          yield* total(collect(make, step))
          yield* total(generate(make, step))
        }),
      { fastCheck: { numRuns: cases(300, 10) } }
    )

    law("any JSON as events", [fc.array(fc.jsonValue(), { maxLength: 5 })], ([all]) => total(streamed(all)), {
      fastCheck: { numRuns: cases(300, 10) }
    })
  })

  describe("a stream that is cut", () => {
    it.effect("anywhere is no success, and says what was received", () =>
      Effect.gen(function* () {
        const reply = Reply.text("Grüße an alle 🦊 im Wald")
        const expected = yield* collect(make, reply)
        let interrupted = 0
        let gone = false
        for (let bytes = 0; !gone; bytes += Math.max(5, step(101))) {
          for (const step of [Fault.earlyEnd({ reply, bytes }), Fault.resetInBody({ reply, bytes })]) {
            const { delivered, error } = yield* events(make, step)
            if (error === undefined) {
              gone = true
              assert.strictEqual(textOf(delivered), expected.text)
              assert.strictEqual(delivered.at(-1)?._tag, "Finish")
              continue
            }
            assert.strictEqual(error._tag, "StreamInterrupted")
            if (error._tag !== "StreamInterrupted") continue
            interrupted++
            assert.strictEqual(error.partial, textOf(delivered))
            assert.strictEqual(error.received, error.partial.length)
            assert.isTrue(expected.text.startsWith(error.partial))
            assert.isFalse(delivered.some((event) => event._tag === "Finish"))
          }
        }
        assert.isAbove(interrupted, exhaustive ? 30 : 4)
      })
    )

    it.effect("after an event, by a clean end, is StreamInterrupted", () =>
      Effect.gen(function* () {
        const { delivered, error } = yield* events(make, Fault.earlyEnd({ tokens: 3 }))
        assert.strictEqual(textOf(delivered), "The quick brown")
        if (error?._tag !== "StreamInterrupted") return assert.fail(String(error))
        assert.strictEqual(error.partial, "The quick brown")
        assert.strictEqual(error.received, 15)
        assert.strictEqual(error.delivery, "unknown")
      })
    )

    it.effect("before its first content delivers nothing", () =>
      Effect.gen(function* () {
        const { delivered, error } = yield* events(make, Fault.earlyEnd({ tokens: 0 }))
        assert.deepStrictEqual(delivered, [])
        assert.strictEqual(error?._tag, "StreamInterrupted")
      })
    )

    it.effect("inside a tool call delivers no part of it", () =>
      Effect.gen(function* () {
        const reply = Reply.toolCall({ name: "weather", arguments: { city: "Trondheim, Norway" } })
        const { delivered, error } = yield* events(make, Fault.earlyEnd({ reply, tokens: 0 }))
        assert.deepStrictEqual(delivered, [])
        assert.isDefined(error)
      })
    )
  })

  describe("errors", () => {
    for (const [status, tag] of Object.entries({ ...byStatus, ...errors })) {
      it.effect(`${status} is ${tag}, whole and streamed`, () =>
        Effect.gen(function* () {
          const step = Fault.status(Number(status))
          const error = yield* Effect.flip(generate(make, step))
          assert.strictEqual(error._tag, tag)
          assert.strictEqual(error.status, Number(status))
          assert.strictEqual((yield* Effect.flip(collect(make, step)))._tag, tag)
        })
      )
    }

    it.effect("a hint of the provider is on the error", () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(generate(make, Fault.rateLimited({ retryAfter: "3 seconds" })))
        assert.strictEqual(error._tag, "RateLimited")
        assert.strictEqual(error.hint && Duration.toMillis(error.hint), 3000)
      })
    )

    it.effect("an error event is the error that it names, before and after content", () =>
      Effect.gen(function* () {
        for (const [kind, tag] of [
          ["overloaded", "Overloaded"],
          ["rate-limited", "RateLimited"],
          ["server-error", "ServerError"]
        ] as const) {
          for (const afterTokens of [0, 2]) {
            const { delivered, error } = yield* events(make, Fault.errorEvent(kind, { afterTokens }))
            assert.strictEqual(error?._tag, tag)
            assert.strictEqual(textOf(delivered), afterTokens === 0 ? "" : "The quick")
          }
        }
      })
    )

    it.effect("a filtered answer is ContentFiltered", () =>
      Effect.gen(function* () {
        const reply = Reply.text("I", { finish: "content-filter" })
        assert.strictEqual((yield* Effect.flip(generate(make, reply)))._tag, "ContentFiltered")
        assert.strictEqual((yield* Effect.flip(collect(make, reply)))._tag, "ContentFiltered")
      })
    )

    it.effect("what is no answer at all is InvalidResponse or ConnectionError", () =>
      Effect.gen(function* () {
        for (const step of [Fault.garbage, Fault.emptyBody, Fault.htmlPage()]) {
          assert.strictEqual((yield* Effect.flip(generate(make, step)))._tag, "InvalidResponse")
        }
        assert.strictEqual((yield* Effect.flip(collect(make, Fault.garbage)))._tag, "InvalidResponse")
        assert.strictEqual((yield* Effect.flip(generate(make, Fault.noConnection())))._tag, "ConnectionError")
        assert.strictEqual((yield* Effect.flip(generate(make, Fault.resetInBody())))._tag, "ConnectionError")
        assert.include(
          ["InvalidResponse", "ConnectionError"],
          (yield* Effect.flip(generate(make, Fault.earlyEnd())))._tag
        )
      })
    )
  })

  describe("evidence", () => {
    it.effect("the attempt records status, request id and usage, of failures too", () =>
      Effect.gen(function* () {
        const { model } = yield* peer(make, {
          script: [Fault.status(500), Reply.text("hi", { usage: { inputTokens: 3 } })]
        })
        const { records } = yield* recorded(
          Effect.either(model.generate(Chat.prompt("a"))).pipe(Effect.zipRight(model.generate(Chat.prompt("b"))))
        )
        const [failed, good] = records.map((record) => record.attempts[0])
        assert.strictEqual(failed?.status, 500)
        assert.strictEqual(failed?.error?._tag, "ServerError")
        assert.strictEqual(good?.status, 200)
        assert.strictEqual(good?.usage?.inputTokens, 3)
        if (requestId !== undefined) {
          assert.match(failed?.requestId ?? "", /^req_/)
          assert.strictEqual(failed?.error?.requestId, failed?.requestId)
          assert.match(good?.requestId ?? "", /^req_/)
        }
      })
    )

    it.effect("the key is in its header and nowhere else, even if the provider echoes it", () =>
      Effect.gen(function* () {
        const { model, provider } = yield* peer(make, {
          script: [
            Fault.unauthorized({ message: `Incorrect API key provided: ${secret}.` }),
            Fault.errorEvent("server-error", { message: `no ${secret}` }),
            Reply.json({ error: { message: `no ${secret}`, code: secret } })
          ]
        })
        const { records, result } = yield* recorded(
          Effect.all(
            [
              Effect.flip(model.generate(Chat.prompt("a"))),
              Effect.flip(ChatStream.collect(model.stream(Chat.prompt("b")))),
              Effect.flip(model.generate(Chat.prompt("c")))
            ],
            { concurrency: 1 }
          )
        )
        if (result._tag === "Left") return assert.fail(String(result.left))
        for (const error of result.right) {
          assert.notInclude(JSON.stringify(error), secret)
          assert.notInclude(String(error), secret)
          assert.notInclude(String(error.stack), secret)
        }
        assert.strictEqual(records.length, 3)
        assert.notInclude(JSON.stringify(records), secret)
        for (const request of yield* provider.requests) {
          assert.notInclude(request.url, secret)
          assert.notInclude(JSON.stringify(request.body), secret)
          const holding = Object.entries(request.headers).filter(([, value]) => value.includes(secret))
          assert.deepStrictEqual(
            holding.map(([name]) => name),
            [keyHeader]
          )
          assert.isUndefined(request.headers.traceparent)
          assert.strictEqual(request.headers["content-type"], "application/json")
        }
      })
    )
  })
}
