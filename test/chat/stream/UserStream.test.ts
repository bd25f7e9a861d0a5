import { assert, describe, it } from "@effect/vitest"
import { Cause, Chunk, Effect, Fiber, Ref, Schedule, Stream, TestClock } from "effect"
import { Attempt, type Chat, ChatModel, ChatStream, LlmError, RetryPolicy } from "effect-steadfast"
import { attempts, elapse, prompt, readAll, recorded } from "../support.js"

const start: Chat.Event = { _tag: "Start", provider: "own", model: "m" }
const text = (text: string): Chat.Event => ({ _tag: "TextDelta", text })
const counted = (usage: Chat.Usage): Chat.Event => ({ _tag: "Usage", usage })
const finish: Chat.Event = { _tag: "Finish", reason: "stop" }
const down = new LlmError.ServerError({ provider: "own", model: "m", message: "down", delivery: "unknown" })

const answer: Chat.Response = { provider: "own", model: "m", text: "a b", toolCalls: [], finishReason: "stop" }

/** A model of the user's own, whose attempts are these streams, the last of them for ever. */
const own = (...streams: ReadonlyArray<Stream.Stream<Chat.Event, LlmError.LlmError>>) =>
  Effect.map(Ref.make(0), (count) =>
    ChatModel.make({
      provider: "own",
      model: "m",
      generate: () => Effect.succeed(answer),
      stream: () =>
        Stream.unwrap(
          Effect.map(
            Ref.getAndUpdate(count, (n) => n + 1),
            (n) => streams[Math.min(n, streams.length - 1)] ?? Stream.empty
          )
        )
    })
  )

const policy = RetryPolicy.make({ maxAttempts: 3, initialDelay: "1 second", jitter: "none" })

describe("a model made of a user's own functions", () => {
  it.effect("answers, streams and leaves evidence", () =>
    Effect.gen(function* () {
      const usage = { inputTokens: 1, outputTokens: 2 }
      const model = yield* own(Stream.make(start, text("a"), text(" b"), counted(usage), finish))
      const { records, value } = yield* recorded(
        Effect.all([model.generate(prompt), ChatStream.collect(model.stream(prompt))])
      )
      assert.deepStrictEqual(value[0], answer)
      assert.deepStrictEqual(value[1], { ...answer, usage })
      assert.deepStrictEqual(
        records.map((record) => [record.name, attempts(record), record.attempts[0]?.responseModel]),
        [
          ["own/m", ["success"], "m"],
          ["own/m", ["success"], "m"]
        ]
      )
      assert.deepStrictEqual(records[1]?.attempts[0]?.usage, usage)
    })
  )

  it.effect("is retried while it has delivered no content, start or not", () =>
    Effect.gen(function* () {
      const model = yield* own(
        Stream.fail(down),
        Stream.concat(Stream.make(start), Stream.fail(down)),
        Stream.make(start, text("a"), finish)
      )
      const { tags, text: seen } = yield* readAll(model.pipe(ChatModel.retry(policy)))
      assert.deepStrictEqual([tags, seen], [["Start", "TextDelta", "Finish"], "a"])
    })
  )

  it.effect("is not retried once it has", () =>
    Effect.gen(function* () {
      const model = yield* own(
        Stream.concat(Stream.make(start, text("a")), Stream.fail(down)),
        Stream.make(start, text("b"), finish)
      )
      const { error, tags, text: seen } = yield* readAll(model.pipe(ChatModel.retry(policy)))
      assert.deepStrictEqual([error?._tag, tags, seen], ["ServerError", ["Start", "TextDelta"], "a"])
    })
  )

  it.effect("without a Finish is interrupted, never a success", () =>
    Effect.gen(function* () {
      const { records, value } = yield* recorded(Effect.flatMap(own(Stream.make(start, text("a b"))), readAll))
      assert.strictEqual(value.error?._tag, "StreamInterrupted")
      if (value.error?._tag === "StreamInterrupted") {
        assert.deepStrictEqual([value.error.received, value.error.partial, value.error.provider], [3, "a b", "own"])
      }
      assert.deepStrictEqual(attempts(records[0]), ["failure StreamInterrupted"])
      const empty = yield* readAll(yield* own(Stream.empty))
      assert.strictEqual(empty.error?._tag, "StreamInterrupted")
    })
  )

  it.effect("has one Finish, and nothing after it", () =>
    Effect.gen(function* () {
      const late = Stream.concat(Stream.make(start, text("a"), finish, text("b"), finish), Stream.fail(down))
      const { exit, tags } = yield* readAll(yield* own(late))
      assert.deepStrictEqual([exit._tag, tags], ["Success", ["Start", "TextDelta", "Finish"]])
    })
  )

  it.effect("is given empty chunks and one event at a time alike", () =>
    Effect.gen(function* () {
      const events = [start, text("a"), text("b"), finish]
      const chunks = Stream.fromChunks(Chunk.empty<Chat.Event>(), Chunk.of(start), Chunk.empty(), Chunk.of(text("a")))
      const model = yield* own(Stream.concat(chunks, Stream.fromChunks(Chunk.empty(), Chunk.make(text("b"), finish))))
      const { events: seen } = yield* readAll(model.pipe(ChatModel.retry(policy)))
      assert.deepStrictEqual(seen, events)
    })
  )

  it.effect("is timed by its content, not by its Start", () =>
    Effect.gen(function* () {
      const slow = Stream.concat(Stream.make(start), Stream.never)
      const { ended, error } = yield* readAll(
        (yield* own(slow)).pipe(ChatModel.timeout({ firstToken: "5 seconds", idle: "1 second" }))
      )
      assert.deepStrictEqual([error?._tag === "Timeout" ? error.phase : error, ended], ["first-token", 5000])
    })
  )

  it.effect("that dies is not retried, and is recorded as a defect", () =>
    Effect.gen(function* () {
      const model = yield* own(Stream.die("bug"), Stream.make(start, text("a"), finish))
      const { records, value } = yield* recorded(readAll(model.pipe(ChatModel.retry(Schedule.forever))))
      assert.isTrue(value.exit._tag === "Failure" && Cause.isDie(value.exit.cause))
      assert.deepStrictEqual([records[0]?.outcome, attempts(records[0])], ["defect", ["defect"]])
    })
  )

  it.effect("runs its stream inside the attempt: in its span, with its number", () =>
    Effect.gen(function* () {
      const seen: Array<readonly [span: string, attempt: number]> = []
      const note = Effect.gen(function* () {
        const span = yield* Effect.orDie(Effect.currentSpan)
        const attempt = yield* Effect.serviceOptional(Attempt.CurrentAttempt)
        seen.push([span.name, attempt.index])
      }).pipe(Effect.orDie)
      const noted = Stream.drain(Stream.fromEffect(note))
      const model = yield* own(
        Stream.concat(noted, Stream.fail(down)),
        Stream.concat(Stream.concat(noted, Stream.make(start, text("a"))), Stream.concat(noted, Stream.make(finish)))
      )
      yield* readAll(model.pipe(ChatModel.retry(policy)))
      assert.deepStrictEqual(seen, [
        ["attempt", 1],
        ["attempt", 2],
        ["attempt", 2]
      ])
    })
  )

  it.effect("is closed before the next attempt opens, and when its reader leaves", () =>
    Effect.gen(function* () {
      const log: Array<string> = []
      const logged = (name: string, stream: Stream.Stream<Chat.Event, LlmError.LlmError>) =>
        Stream.acquireRelease(
          Effect.sync(() => log.push(`open ${name}`)),
          () => Effect.sync(() => log.push(`close ${name}`))
        ).pipe(Stream.flatMap(() => stream))
      const model = yield* own(
        logged("1", Stream.fail(down)),
        logged("2", Stream.concat(Stream.make(start), Stream.fail(down))),
        logged("3", Stream.concat(Stream.make(start, text("a")), Stream.never))
      )
      yield* elapse(
        Stream.runDrain(Stream.take(ChatStream.text(model.pipe(ChatModel.retry(policy)).stream(prompt)), 1))
      )
      assert.deepStrictEqual(log, ["open 1", "close 1", "open 2", "close 2", "open 3", "close 3"])
    })
  )

  it.effect("is interrupted where it waits", () =>
    Effect.gen(function* () {
      const left = yield* Ref.make(false)
      const model = yield* own(Stream.fromEffect(Effect.onInterrupt(Effect.never, () => Ref.set(left, true))))
      const fiber = yield* Effect.fork(Stream.runDrain(model.stream(prompt)))
      yield* TestClock.adjust("1 second")
      yield* Fiber.interrupt(fiber)
      assert.isTrue(yield* Ref.get(left))
    })
  )
})
