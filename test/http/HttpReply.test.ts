import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Logger, type Scope, Stream, TestClock } from "effect"
import type { Chat, LlmError } from "effect-steadfast"
import { HttpReply } from "effect-steadfast/http"
import { errorOf } from "../support/errors.js"

const start: Chat.Event = { _tag: "Start", provider: "openai", model: "m-1", id: "answer-1" }
const text = (text: string): Chat.Event => ({ _tag: "TextDelta", text })
const finish: Chat.Event = { _tag: "Finish", reason: "stop" }

const answer: Chat.Response = {
  provider: "openai",
  model: "m-1",
  text: "hi",
  toolCalls: [],
  finishReason: "stop"
}

type Events = Stream.Stream<Chat.Event, LlmError.LlmError>

const broken = (...events: ReadonlyArray<Chat.Event>): Events =>
  Stream.concat(Stream.fromIterable(events), Stream.fail(errorOf("StreamInterrupted")))

const respond = (events: Events, options: HttpReply.Options = {}) =>
  HttpReply.toWebResponse(HttpReply.stream(events, options))

/** What a reader gets to the end, and how it ends. */
const readAll = (response: Response) =>
  Effect.promise(async () => {
    const decoder = new TextDecoder()
    let text = ""
    const reader = response.body?.getReader()
    if (reader === undefined) return { text, error: undefined }
    try {
      for (;;) {
        const { done, value } = await reader.read()
        if (done) return { text, error: undefined }
        text += decoder.decode(value, { stream: true })
      }
    } catch (error) {
      return { text, error: error as Error }
    }
  })

const json = (response: Response) => Effect.promise(() => response.json() as Promise<Record<string, unknown>>)

/** A stream that tells when it is asked for, and when it is let go. */
const observed = (pieces: ReadonlyArray<Chat.Event>, rest: Events = Stream.never) => {
  const seen = { taken: 0, closed: false }
  const events = Stream.fromIterable(pieces).pipe(
    Stream.rechunk(1),
    Stream.tap(() =>
      Effect.sync(() => {
        seen.taken++
      })
    ),
    Stream.concat(rest),
    Stream.ensuring(
      Effect.sync(() => {
        seen.closed = true
      })
    )
  )
  return { seen, events }
}

/** Under the real clock: promises do not wait for a test's. */
const live = (name: string, test: () => Effect.Effect<void, unknown, Scope.Scope>) => it.scopedLive(name, test)

describe("a whole stream", () => {
  live("has own headers in any case, of which none changes ours", () =>
    Effect.gen(function* () {
      const headers = { "Content-Type": "text/plain", "X-Request-ID": "other", "X-Own": "mine" }
      const response = yield* respond(Stream.make(start, text("a"), finish), { headers, requestId: "req_1" })
      assert.strictEqual(response.headers.get("content-type"), "text/event-stream; charset=utf-8")
      assert.strictEqual(response.headers.get("x-request-id"), "req_1")
      assert.strictEqual(response.headers.get("x-own"), "mine")
      yield* readAll(response)
    })
  )

  live("is a stream of events, which ends at once after its terminator", () =>
    Effect.gen(function* () {
      const response = yield* respond(Stream.make(start, text("a"), finish), { requestId: "req_1" })
      assert.strictEqual(response.status, 200)
      assert.strictEqual(response.headers.get("content-type"), "text/event-stream; charset=utf-8")
      assert.strictEqual(response.headers.get("x-request-id"), "req_1")
      assert.strictEqual(response.headers.get("x-should-retry"), null)
      const { error, text: frames } = yield* readAll(response)
      assert.strictEqual(error, undefined)
      assert.match(frames, /data: \[DONE\]\n\n$/)
    })
  )

  live("as a whole answer is JSON, with its length", () =>
    Effect.gen(function* () {
      const response = yield* HttpReply.toWebResponse(HttpReply.answer(Effect.succeed({ ...answer, text: "héllo" })))
      assert.strictEqual(response.headers.get("content-type"), "application/json")
      const body = yield* Effect.promise(() => response.clone().arrayBuffer())
      assert.strictEqual(response.headers.get("content-length"), String(body.byteLength))
      const { choices } = (yield* json(response)) as { choices: ReadonlyArray<{ message: { content: string } }> }
      assert.strictEqual(choices[0]?.message.content, "héllo")
    })
  )
})

describe("what is known only later", () => {
  live("is in headers that are made when the head is written, and in a comment after the end", () =>
    Effect.gen(function* () {
      let attempts = 0
      const counted = Effect.sync(() => {
        attempts++
      })
      const headers = () => ({ "X-Attempts": String(attempts) })
      const trailer = () => `attempts=${attempts}\nand no more`
      const events = Stream.concat(Stream.drain(Stream.fromEffect(counted)), Stream.make(start, text("a"), finish))
      const response = yield* respond(events, { headers, trailer })
      assert.strictEqual(response.headers.get("x-attempts"), "1")
      const { error, text: frames } = yield* readAll(response)
      assert.isUndefined(error)
      assert.isTrue(frames.endsWith("data: [DONE]\n\n: attempts=1 and no more\n\n"), frames)
      const whole = yield* HttpReply.toWebResponse(HttpReply.answer(Effect.as(counted, answer), { headers, trailer }))
      assert.strictEqual(whole.headers.get("x-attempts"), "2")
      assert.notInclude(yield* Effect.promise(() => whole.text()), "no more")
      const early = yield* respond(Stream.fail(errorOf("RateLimited")), { headers, trailer })
      assert.strictEqual(early.headers.get("x-attempts"), "2")
    })
  )

  live("is no comment where there is none, and none after an error", () =>
    Effect.gen(function* () {
      const none = yield* readAll(yield* respond(Stream.make(start, text("a"), finish), { trailer: () => undefined }))
      assert.isTrue(none.text.endsWith("data: [DONE]\n\n"))
      const cut = yield* readAll(yield* respond(broken(start, text("a")), { trailer: () => "the end" }))
      assert.notInclude(cut.text, "the end")
    })
  )
})

describe("an error", () => {
  live("before the first content has its own status and a body of JSON, also after the start", () =>
    Effect.gen(function* () {
      const early: ReadonlyArray<readonly [Events, number]> = [
        [Stream.fail(errorOf("RateLimited")), 429],
        [broken(start), 502]
      ]
      for (const [events, status] of early) {
        const response = yield* respond(events)
        assert.strictEqual(response.status, status)
        assert.strictEqual(response.headers.get("x-should-retry"), "false")
        assert.strictEqual(response.headers.get("content-type"), "application/json")
      }
    })
  )

  live("after some content is the error frame, and a body that breaks off", () =>
    Effect.gen(function* () {
      const response = yield* respond(broken(start, text("a")))
      assert.strictEqual(response.status, 200)
      const { error, text: frames } = yield* readAll(response)
      assert.instanceOf(error, Error)
      assert.match(frames, /"content":"a".*data: \{"error":\{.*"code":"stream_interrupted"\}\}\n\n$/s)
      assert.notInclude(frames, "[DONE]")
    })
  )

  live("is an end without Finish too", () =>
    Effect.gen(function* () {
      const empty = yield* respond(Stream.empty)
      assert.strictEqual(empty.status, 502)
      const { error, text: frames } = yield* readAll(yield* respond(Stream.make(start, text("a"))))
      assert.instanceOf(error, Error)
      assert.match(frames, /"content":"a".*"code":"stream_interrupted"/s)
    })
  )

  live("is an answer that cannot be written", () =>
    Effect.gen(function* () {
      const odd = { ...answer, toolCalls: [{ id: "call-1", name: "look", arguments: { a: 1n } }] }
      const response = yield* HttpReply.toWebResponse(HttpReply.answer(Effect.succeed(odd)))
      assert.strictEqual(response.status, 500)
      assert.nestedPropertyVal(yield* json(response), "error.code", "internal_error")
    }).pipe(Effect.provide(Logger.remove(Logger.defaultLogger)))
  )

  live("that is a bug tells nothing of it", () =>
    Effect.gen(function* () {
      const early = yield* respond(Stream.die(new Error("secret")))
      assert.strictEqual(early.status, 500)
      assert.notInclude(JSON.stringify(yield* json(early)), "secret")
      const late = yield* respond(Stream.concat(Stream.make(start, text("a")), Stream.die(new Error("secret"))))
      const { error, text: frames } = yield* readAll(late)
      assert.instanceOf(error, Error)
      assert.notInclude(frames, "secret")
      assert.include(frames, '"error"')
    }).pipe(Effect.provide(Logger.remove(Logger.defaultLogger)))
  )

  live("of an answer that starts over ends it", () =>
    Effect.gen(function* () {
      const again: Chat.Event = { _tag: "Reset", attempt: 2, cause: "Timeout" }
      const { error, text: frames } = yield* readAll(yield* respond(Stream.make(start, text("a"), again, text("b"))))
      assert.instanceOf(error, Error)
      assert.include(frames, "stream_interrupted")
      assert.notInclude(frames, '"b"')
    })
  )

  live("of one request is answered in its dialect", () =>
    Effect.gen(function* () {
      const response = yield* HttpReply.toWebResponse(HttpReply.fail(errorOf("Timeout"), { dialect: "gemini" }))
      assert.strictEqual(response.status, 504)
      assert.strictEqual(((yield* json(response)).error as { code: number }).code, 504)
    })
  )
})

describe("a reader", () => {
  live("that does not read makes the provider wait", () =>
    Effect.gen(function* () {
      const many = Array.from({ length: 10_000 }, () => text("word ".repeat(20)))
      const { events, seen } = observed([start, ...many])
      const response = yield* respond(events)
      yield* Effect.sleep("50 millis")
      const waiting = seen.taken
      // 16 kB of frames wait, each of some 300 bytes.
      assert.isBelow(waiting, 100)
      const reader = response.body?.getReader()
      yield* Effect.promise(async () => {
        for (let i = 0; i < 200; i++) await reader?.read()
      })
      assert.isAbove(seen.taken, 190)
      assert.isBelow(seen.taken, 300)
      yield* Effect.promise(async () => reader?.cancel())
      assert.isTrue(seen.closed)
    })
  )

  live("that cancels interrupts the call", () =>
    Effect.gen(function* () {
      const { events, seen } = observed([start, text("a")])
      const response = yield* respond(events)
      assert.isFalse(seen.closed)
      yield* Effect.promise(async () => response.body?.cancel())
      assert.isTrue(seen.closed)
    })
  )

  live("whose request is aborted before the head interrupts the call", () =>
    Effect.gen(function* () {
      const abort = new AbortController()
      const { events, seen } = observed([start])
      const reply = HttpReply.toWebResponse(HttpReply.stream(events), { signal: abort.signal })
      const fiber = yield* Effect.fork(Effect.exit(reply))
      yield* Effect.sleep("5 millis")
      abort.abort()
      const exit = yield* Fiber.join(fiber)
      assert.isTrue(Exit.isFailure(exit))
      assert.isTrue(seen.closed)
    })
  )

  live("that takes nothing for too long is given up", () =>
    Effect.gen(function* () {
      const many = Array.from({ length: 1000 }, () => text("word ".repeat(20)))
      const { events, seen } = observed([start, ...many])
      const response = yield* respond(events, { readerTimeout: "20 millis" })
      yield* Effect.sleep("200 millis")
      assert.isTrue(seen.closed)
      const { error } = yield* readAll(response)
      assert.instanceOf(error, Error)
    })
  )
})

describe("silence", () => {
  const sinkOf = () => {
    const seen: Array<string> = []
    return {
      seen,
      sink: {
        head: ({ status }: { readonly status: number }) => void seen.push(String(status)),
        write: (frames: string) => {
          seen.push(...frames.split("\n\n").filter((block) => block !== ""))
          return undefined
        },
        end: () => void seen.push("end"),
        abort: (last: string | undefined) =>
          Effect.sync(() => void seen.push(...(last ?? "").split("\n\n").filter((block) => block !== ""), "abort"))
      }
    }
  }

  it.effect("before the first content is broken by a comment, which decides for the status", () =>
    Effect.gen(function* () {
      const gate = yield* Deferred.make<void>()
      const { seen, sink } = sinkOf()
      const events = Stream.concat(Stream.drain(Stream.fromEffect(Deferred.await(gate))), broken())
      const fiber = yield* Effect.fork(HttpReply.run(HttpReply.stream(events), sink))
      yield* TestClock.adjust("14 seconds")
      assert.deepStrictEqual(seen, [])
      yield* TestClock.adjust("20 seconds")
      assert.deepStrictEqual(seen, ["200", ": keep-alive", ": keep-alive"])
      yield* Deferred.succeed(gate, undefined)
      yield* Fiber.join(fiber)
      assert.lengthOf(seen, 6)
      assert.include(seen[3], '"role":"assistant"')
      assert.include(seen[4], '"error"')
      assert.strictEqual(seen[5], "abort")
    })
  )

  it.effect("in the middle is broken by comments, and no comment follows a frame at once", () =>
    Effect.gen(function* () {
      const { seen, sink } = sinkOf()
      const slow = Stream.make(start, text("a"), text("b"), finish).pipe(
        Stream.rechunk(1),
        Stream.tap(({ _tag }) => Effect.sleep(_tag === "Finish" ? "25 seconds" : "4 seconds"))
      )
      const fiber = yield* Effect.fork(HttpReply.run(HttpReply.stream(slow, { keepAlive: "10 seconds" }), sink))
      yield* TestClock.adjust("1 minute")
      yield* Fiber.join(fiber)
      assert.strictEqual(seen.filter((one) => one === ": keep-alive").length, 1)
      assert.strictEqual(seen.at(-1), "end")
    })
  )

  it.effect("stays silence where lines of JSON have no comments, also after the end", () =>
    Effect.gen(function* () {
      const { seen, sink } = sinkOf()
      const slow = Stream.tap(Stream.rechunk(Stream.make(start, text("a"), finish), 1), () => Effect.sleep("1 minute"))
      const options = { dialect: "ollama", trailer: () => "the end" } as const
      const open = { ...sink, end: (last?: string) => void seen.push(last ?? "end") }
      const fiber = yield* Effect.fork(HttpReply.run(HttpReply.stream(slow, options), open))
      yield* TestClock.adjust("119 seconds")
      assert.deepStrictEqual(seen, [])
      yield* TestClock.adjust("2 minutes")
      yield* Fiber.join(fiber)
      const lines = seen.slice(1, -1).map((line) => JSON.parse(line).done)
      assert.deepStrictEqual([seen[0], lines, seen.at(-1)], ["200", [false, true], "end"])
    })
  )

  it.effect("of a whole answer is left to the client", () =>
    Effect.gen(function* () {
      const { seen, sink } = sinkOf()
      const late = Effect.delay(Effect.succeed(answer), "1 minute")
      const fiber = yield* Effect.fork(HttpReply.run(HttpReply.answer(late), sink))
      yield* TestClock.adjust("59 seconds")
      assert.deepStrictEqual(seen, [])
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(fiber)
      assert.strictEqual(seen[0], "200")
    })
  )
})

describe("a request that is served", () => {
  const usage: Chat.Event = { _tag: "Usage", usage: { inputTokens: 1, outputTokens: 1 } }
  const model: HttpReply.Answering = {
    generate: () => Effect.succeed(answer),
    stream: () => Stream.make(start, text("a"), usage, finish)
  }
  const messages = [{ role: "user", content: "hi" }]
  const served = (body: unknown) => HttpReply.toWebResponse(HttpReply.serve("openai", body, () => model))

  live("is answered as it asks", () =>
    Effect.gen(function* () {
      const whole = yield* served({ model: "m", messages })
      assert.strictEqual((yield* json(whole)).object, "chat.completion")
      const { text: plain } = yield* readAll(yield* served({ model: "m", messages, stream: true }))
      assert.notInclude(plain, "usage")
      const counted = { model: "m", messages, stream: true, stream_options: { include_usage: true } }
      assert.include((yield* readAll(yield* served(counted))).text, '"usage":{')
    })
  )

  live("and is wrong, or is for a model that is not known, is told so", () =>
    Effect.gen(function* () {
      const wrong = yield* served({ model: "m", messages: [{ role: "user", content: 7 }] })
      assert.strictEqual(wrong.status, 400)
      assert.strictEqual(((yield* json(wrong)).error as { param: string }).param, "messages[0].content")
      const unknown = HttpReply.serve("anthropic", { model: "m", max_tokens: 5, messages }, ({ model }) =>
        errorOf("ModelNotFound", { message: `no model ${model}` })
      )
      assert.strictEqual((yield* HttpReply.toWebResponse(unknown)).status, 404)
    })
  )
})
