import { FetchHttpClient, HttpClient } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Chunk, Deferred, Effect, Exit, Fiber, Layer, Logger, LogLevel, Option, Schedule, Stream } from "effect"
import {
  Call,
  type CallRecord,
  type Chat,
  ChatModel,
  ChatStream,
  type LlmError,
  RetryBudget,
  Transport
} from "effect-steadfast"
import { share } from "../support/cases.js"
import { collectSpans } from "../support/spans.js"
import { bytesOf, closed, type Format, formats, modelOf, pieces, prompt, shapes, stub } from "./support.js"
import { written } from "./wire.js"

type Events = Stream.Stream<Chat.Event, LlmError.LlmError>

const silent = Logger.withMinimumLogLevel(LogLevel.None)

/** A body that comes over a transport, piece by piece, as the reader asks for it. */
const overTransport = (
  answer: () => { readonly pieces: ReadonlyArray<Uint8Array>; readonly ending: "end" | "reset" }
) => {
  const state = { open: 0, pulled: 0 }
  const fetch: typeof globalThis.fetch = (_, init) => {
    const { ending, pieces } = answer()
    let next = 0
    state.open++
    let over = false
    const end = (): void => {
      if (!over) state.open--
      over = true
    }
    const body = new ReadableStream<Uint8Array>(
      {
        pull: (controller) => {
          const piece = pieces[next++]
          if (over) return
          if (piece !== undefined) {
            state.pulled++
            controller.enqueue(piece)
          } else {
            end()
            if (ending === "end") controller.close()
            else controller.error(Object.assign(new Error("read ECONNRESET"), { code: "ECONNRESET" }))
          }
        },
        cancel: end
      },
      { highWaterMark: 0 }
    )
    init?.signal?.addEventListener("abort", end)
    return Promise.resolve(new Response(body, { headers: { "content-type": "text/event-stream" } }))
  }
  const layer = Layer.provide(Transport.layerFetch, Layer.succeed(FetchHttpClient.Fetch, fetch))
  return { state, client: Effect.provide(HttpClient.HttpClient, layer) }
}

/** An answer of many pieces, for each a client that reads it. */
const clients = {
  client: (all: ReadonlyArray<Uint8Array>) => {
    const { client, state } = stub(() => ({ pieces: all, ending: "end" }))
    return { state, client: Effect.succeed(client) }
  },
  transport: (all: ReadonlyArray<Uint8Array>) => overTransport(() => ({ pieces: all, ending: "end" }))
}

const kinds = ["client", "transport"] as const

const words = Array.from({ length: 200 }, (_, index) => `⟦${index}⟧ `)

const byEvent = (format: Format): ReadonlyArray<Uint8Array> =>
  new TextDecoder()
    .decode(written(format, {}, words))
    .split(/(?<=\n\n)/)
    .map((event) => new TextEncoder().encode(event))

const manyOver = (kind: (typeof kinds)[number], format: Format) =>
  Effect.gen(function* () {
    const { client, state } = clients[kind](byEvent(format))
    const leaf = yield* modelOf(format, { client: yield* client })
    const model = leaf.pipe(ChatModel.timeout({ idle: "5 seconds" }), ChatModel.retry(Schedule.recurs(2)))
    return { leaf, model, state }
  })

// -----------------------------------------------------------------------------
// readers
// -----------------------------------------------------------------------------

/** What each reader saw, and how it ended. */
const readers: Record<string, (events: Events, seen: Array<Chat.Event>) => Effect.Effect<unknown, LlmError.LlmError>> =
  {
    "Stream.runForEach": (events, seen) => Stream.runForEach(events, (event) => Effect.sync(() => seen.push(event))),
    "a function": (events, seen) => ChatStream.forEach(events, (event) => seen.push(event)),
    "an effect": (events, seen) => ChatStream.forEach(events, (event) => Effect.sync(() => seen.push(event))),
    "an effect that waits": (events, seen) =>
      ChatStream.forEach(events, (event) =>
        Effect.zipRight(
          Effect.yieldNow(),
          Effect.sync(() => seen.push(event))
        )
      ),
    "any other stream": (events, seen) => ChatStream.forEach(Stream.rechunk(events, 3), (event) => seen.push(event))
  }

const read = (name: string, events: Events) =>
  Effect.suspend(() => {
    const seen: Array<Chat.Event> = []
    return Effect.map(Effect.exit((readers[name] as (typeof readers)[string])(events, seen)), (exit) => ({
      seen,
      exit
    }))
  })

/** An exit without the values that no reader shares. */
const shown = (exit: Exit.Exit<unknown, LlmError.LlmError>) =>
  Exit.match(exit, {
    onSuccess: () => "end",
    onFailure: (cause) =>
      Option.match(Cause.failureOption(cause), {
        onNone: () => Cause.pretty(cause),
        onSome: (error) => ({ ...error, message: error.message, cause: undefined })
      })
  })

const modes = ["none", "strict", "restart", "continue"] as const

const within = (leaf: ChatModel.ChatModel, mode: (typeof modes)[number]): ChatModel.ChatModel =>
  mode === "none" ? leaf : ChatModel.retry(leaf, Schedule.recurs(1), { mode })

describe("readers of a stream that is cut", () => {
  for (const kind of kinds) {
    it.live.each(formats.flatMap((format) => shapes.map((shape) => [format, shape] as const)))(
      `agree with Stream.runForEach over a ${kind}: %s, %s`,
      ([format, shape]) =>
        Effect.gen(function* () {
          const bytes = bytesOf(format, shape)
          const now = { cut: 0, ending: "end" as "end" | "reset" }
          const answer = () => ({ pieces: pieces(bytes.subarray(0, now.cut), 67), ending: now.ending })
          const { client, state } =
            kind === "transport"
              ? overTransport(answer)
              : ((given) => ({ state: given.state, client: Effect.succeed(given.client) }))(stub(answer))
          const leaf = yield* modelOf(format, { client: yield* client })
          // Every seventeenth byte from the end: `Cuts.test.ts` cuts at every one.
          const cuts = share(
            Array.from({ length: Math.floor(bytes.length / 17) + 1 }, (_, cut) => bytes.length - 17 * cut),
            6
          )
          for (const [index, cut] of cuts.entries()) {
            now.cut = cut
            now.ending = index % 2 === 0 ? "end" : "reset"
            const model = within(leaf, modes[index % modes.length] as (typeof modes)[number])
            const expected = yield* read("Stream.runForEach", model.stream(prompt))
            for (const name in readers) {
              const { exit, seen } = yield* read(name, model.stream(prompt))
              assert.deepStrictEqual(seen, expected.seen, `${name}, ${cut}`)
              assert.deepStrictEqual(shown(exit), shown(expected.exit), `${name}, ${cut}`)
            }
            const whole = yield* Effect.exit(ChatStream.collect(model.stream(prompt)))
            const plain = yield* Effect.exit(ChatStream.collect(Stream.fromIterable(expected.seen)))
            if (Exit.isSuccess(expected.exit)) assert.deepStrictEqual(whole, plain)
            else assert.deepStrictEqual(shown(whole), shown(expected.exit))
            const text = yield* Effect.exit(Stream.runCollect(ChatStream.text(model.stream(prompt))))
            const other = yield* Effect.exit(
              Stream.runCollect(ChatStream.text(Stream.map(model.stream(prompt), (event) => event)))
            )
            assert.deepStrictEqual(shown(text), shown(other))
            if (Exit.isSuccess(text) && Exit.isSuccess(other)) {
              assert.deepStrictEqual(Chunk.toReadonlyArray(text.value), Chunk.toReadonlyArray(other.value))
            }
          }
          yield* closed(state)
        }).pipe(Effect.withTracerEnabled(false), Effect.provide(RetryBudget.layerUnlimited), silent)
    )
  }
})

// -----------------------------------------------------------------------------
// the callback
// -----------------------------------------------------------------------------

const cases = kinds.flatMap((kind) => formats.map((format) => [kind, format] as const))

describe("forEach with a slow effect", () => {
  it.live.each(cases)("%s, %s: is not run ahead of", ([kind, format]) =>
    Effect.gen(function* () {
      const { model, state } = yield* manyOver(kind, format)
      let read = 0
      let held = 0
      yield* ChatStream.forEach(model.stream(prompt), (event) => {
        if (event._tag === "TextDelta") read++
        held = Math.max(held, state.pulled - read)
        return Effect.zipRight(Effect.yieldNow(), Effect.yieldNow())
      })
      assert.isAtLeast(read, words.length)
      // A transport hands over 64 KiB at most while the reader rests: here that is the whole answer.
      if (kind === "client") assert.isAtMost(held, 6)
    })
  )

  it.live("leaves no more than the bound of a transport in memory", () =>
    Effect.gen(function* () {
      const size = 16 * 1024
      const all = byEvent("openai-chat").map((piece) => {
        // A comment fills the piece, and is no event.
        const out = new Uint8Array(size).fill(0x20)
        out.set(piece)
        out.set(new TextEncoder().encode(":"), piece.length)
        out.set(new TextEncoder().encode("\n"), size - 1)
        return out
      })
      const { client, state } = clients.transport(all)
      const leaf = yield* modelOf("openai-chat", { client: yield* client })
      let read = 0
      let ahead = 0
      yield* ChatStream.forEach(leaf.stream(prompt), (event) => {
        if (event._tag === "TextDelta") read++
        return Effect.map(
          Effect.promise(() => new Promise((resolve) => setImmediate(resolve))),
          () => {
            ahead = Math.max(ahead, state.pulled - read)
          }
        )
      })
      assert.strictEqual(read, words.length)
      // Those before the text, those of one chunk, and 64 KiB that wait.
      assert.isAtMost(ahead, 2 + 2 * (65_536 / size))
    })
  )

  it.live.each(cases)("%s, %s: closes the source if it is interrupted", ([kind, format]) =>
    Effect.gen(function* () {
      const { model, state } = yield* manyOver(kind, format)
      const begun = yield* Deferred.make<void>()
      let released = false
      const reading = ChatStream.forEach(model.stream(prompt), (event) =>
        event._tag === "TextDelta"
          ? Effect.onInterrupt(Effect.zipRight(Deferred.succeed(begun, undefined), Effect.never), () =>
              Effect.sync(() => {
                released = true
              })
            )
          : Effect.void
      )
      const fiber = yield* Effect.fork(reading)
      yield* Deferred.await(begun)
      assert.strictEqual(state.open, 1)
      const exit = yield* Fiber.interrupt(fiber)
      assert.isTrue(Exit.isInterrupted(exit))
      assert.isTrue(released)
      assert.strictEqual(state.open, 0)
    })
  )
})

describe("forEach with a function that fails", () => {
  it.live.each(cases)("%s, %s: a defect, or an error, closes the source at once", ([kind, format]) =>
    Effect.gen(function* () {
      const { model, state } = yield* manyOver(kind, format)
      const bug = new Error("a bug")
      let calls = 0
      const thrown = yield* Effect.exit(
        ChatStream.forEach(model.stream(prompt), (event) => {
          calls++
          if (event._tag === "TextDelta") throw bug
        })
      )
      assert.deepStrictEqual(thrown, Exit.die(bug))
      assert.strictEqual(state.open, 0)
      const seen = calls
      const failed = yield* Effect.exit(
        ChatStream.forEach(model.stream(prompt), (event) => {
          calls++
          return event._tag === "TextDelta" ? Effect.fail("enough") : undefined
        })
      )
      assert.deepStrictEqual(failed, Exit.fail("enough"))
      assert.strictEqual(calls, 2 * seen)
      assert.strictEqual(state.open, 0)
    })
  )

  it.live("reads the same stream again from its beginning", () =>
    Effect.gen(function* () {
      const { leaf } = yield* manyOver("transport", "anthropic")
      const stream = leaf.stream(prompt)
      const [once, again] = [yield* ChatStream.collect(stream), yield* ChatStream.collect(stream)]
      assert.strictEqual(once.text, words.join(""))
      assert.deepStrictEqual(again, once)
    })
  )
})

describe("the evidence of a stream that forEach reads", () => {
  const enough = () => Effect.fail("enough")
  const bug = () => Effect.die("a bug")
  type Reader = (events: Events) => Effect.Effect<unknown, unknown>

  const evidence = (run: Reader, kind: (typeof kinds)[number]) =>
    Effect.gen(function* () {
      const { model } = yield* manyOver(kind, "openai-chat")
      const records: Array<CallRecord.CallRecord> = []
      const spans = collectSpans()
      yield* Effect.exit(run(model.stream(prompt))).pipe(
        Effect.provide(
          Layer.merge(
            Call.observe((record) => Effect.sync(() => records.push(record))),
            spans.layer
          )
        )
      )
      const bare = records.map(({ attempts, error, name, outcome }) => ({
        name,
        outcome,
        error: error?._tag,
        attempts: attempts.map(({ durationMillis: _, firstTokenMillis: __, startedAt: ___, ...attempt }) => attempt)
      }))
      return {
        records: bare,
        spans: spans.spans().map(({ attributes, name, status }) => [name, Object.keys(attributes), status])
      }
    })

  const ways = {
    "to its end": [Stream.runDrain, ChatStream.forEach(() => {})],
    "until the reader fails": [Stream.runForEach(enough), ChatStream.forEach(enough)],
    "until the reader dies": [Stream.runForEach(bug), ChatStream.forEach(bug)]
  } satisfies Record<string, readonly [Reader, Reader]>

  for (const [name, [stream, forEach]] of Object.entries<readonly [Reader, Reader]>(ways)) {
    it.live.each(kinds.map((kind) => [kind] as const))(`%s: is that of Stream.runForEach, ${name}`, ([kind]) =>
      Effect.gen(function* () {
        const expected = yield* evidence(stream, kind)
        assert.strictEqual(expected.records.length, 1)
        assert.strictEqual(expected.spans.length, 2)
        assert.deepStrictEqual(yield* evidence(forEach, kind), expected)
      })
    )
  }
})
