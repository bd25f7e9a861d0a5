import { assert, describe, it } from "@effect/vitest"
import { Context, Duration, Effect, Exit, Fiber, Option, Scope, Stream, TestClock } from "effect"
import { Chat, ChatModel, ChatStream, type LlmError, RetryPolicy } from "effect-steadfast"
import * as Balance from "../../../src/chat/balance/Balance.js"
import * as Layers from "../../../src/chat/stream/Layers.js"
import * as Replay from "../../../src/chat/stream/Replay.js"
import { errorOf } from "../../support/errors.js"
import { errorIn, under } from "../../support/time.js"
import { read } from "../support.js"
import { ledger, memberOf, pooledOf } from "./Balance.support.js"

const prompt = Chat.prompt("Hello")
const source = (model: ChatModel.ChatModel) => model[ChatModel.TypeId].open(prompt)
const events = (texts: ReadonlyArray<string>): ReadonlyArray<Chat.Event> => [
  { _tag: "Start", provider: "openai", model: "gpt" },
  ...texts.map((text) => ({ _tag: "TextDelta" as const, text }))
]
const whole = (...texts: ReadonlyArray<string>): ReadonlyArray<Chat.Event> => [
  ...events(texts),
  { _tag: "Finish", reason: "stop" }
]

/** A leaf whose nth stream is this one. */
const leafOf = (name: string, streams: ReadonlyArray<Stream.Stream<Chat.Event, LlmError.LlmError>>) => {
  let nth = 0
  return ChatModel.make({
    provider: "openai",
    model: "gpt",
    key: name,
    generate: () => Effect.never,
    stream: () => Stream.suspend(() => streams[Math.min(nth++, streams.length - 1)] ?? Stream.empty)
  })
}

describe("a stream of several", () => {
  it.effect("takes its place with the first pull, and not before", () =>
    Effect.gen(function* () {
      const { all, inFlight, model } = yield* pooledOf(["a", "b"], () => undefined)
      const scope = yield* Scope.make()
      const pull = yield* Scope.extend(source(model), scope)
      assert.deepStrictEqual([inFlight(), all.names().length], [[0, 0], 0])
      yield* pull
      assert.deepStrictEqual(
        inFlight().reduce((sum, one) => sum + one),
        1
      )
      yield* Scope.close(scope, Exit.void)
      assert.deepStrictEqual(inFlight(), [0, 0])
    })
  )

  it.effect("gives its place back when its reader leaves", () =>
    Effect.gen(function* () {
      const { inFlight, model } = yield* pooledOf(["a"], () => undefined)
      yield* Stream.runHead(model.stream(prompt))
      assert.deepStrictEqual(inFlight(), [0])
      const reader = yield* Effect.fork(Stream.runForEach(model.stream(prompt), () => Effect.never))
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(inFlight(), [1])
      yield* Fiber.interrupt(reader)
      assert.deepStrictEqual(inFlight(), [0])
    })
  )

  it.effect("gives its place back when its reader goes before there was anything to read", () =>
    Effect.gen(function* () {
      const { all, inFlight, model } = yield* pooledOf(["a"], () => ({ hangs: true }))
      const reader = yield* Effect.fork(Stream.runDrain(model.stream(prompt)))
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual([inFlight(), all.openAt("a")], [[1], 1])
      yield* Fiber.interrupt(reader)
      assert.deepStrictEqual([inFlight(), all.openAt("a")], [[0], 0])
    })
  )

  it.effect("closes what failed before it opens the next", () =>
    Effect.gen(function* () {
      const seen: Array<string> = []
      const noted = (name: string, stream: Stream.Stream<Chat.Event, LlmError.LlmError>) =>
        Stream.concat(Stream.execute(Effect.sync(() => seen.push(`open ${name}`))), stream).pipe(
          Stream.ensuring(Effect.sync(() => seen.push(`close ${name}`)))
        )
      const { pool } = yield* pooledOf(["a", "b"], () => undefined, { affinity: () => "a session" })
      let made = 0
      const model = yield* ChatModel.pooled(
        pool,
        () => {
          made += 1
          const name = `${made}`
          return Effect.succeed(
            leafOf(name, [
              noted(name, Stream.fail(errorOf("AuthError"))),
              noted(name, Stream.fromIterable(whole("hi")))
            ])
          )
        },
        { affinity: () => "a session" }
      )
      yield* Effect.exit(Stream.runDrain(model.stream(prompt)))
      assert.strictEqual(seen.length, 4)
      assert.deepStrictEqual(
        seen.map((one) => one.split(" ")[0]),
        ["open", "close", "open", "close"]
      )
    })
  )

  it.effect("goes to nobody else once something was delivered", () =>
    Effect.gen(function* () {
      const cut = Stream.concat(Stream.fromIterable(events(["half an"])), Stream.fail(errorOf("RateLimited")))
      const { pool } = yield* pooledOf(["a", "b"], () => undefined)
      const model = yield* ChatModel.pooled(pool, () => Effect.succeed(leafOf("k", [cut])))
      const { error, text } = yield* read(model.stream(prompt))
      assert.deepStrictEqual([error?._tag, text], ["RateLimited", "half an"])
      assert.deepStrictEqual(
        pool.balancer.members.map((member) => member.inFlight),
        [0, 0]
      )
      assert.isTrue([...(yield* pool.states).values()].every(({ circuit }) => circuit._tag === "Closed"))
    })
  )

  it.effect("is over when it failed, whoever pulls again", () =>
    Effect.gen(function* () {
      const { all, model } = yield* pooledOf(["a"], () => ({ error: errorOf("ServerError") }))
      const again = yield* Effect.scoped(
        Effect.gen(function* () {
          const pull = yield* source(model)
          yield* Effect.exit(pull)
          return yield* Effect.flip(pull)
        })
      )
      assert.deepStrictEqual(again, Option.none())
      assert.strictEqual(all.count("a"), 1)
    })
  )

  it.effect("takes the key out whose first content does not come", () =>
    Effect.gen(function* () {
      const { model, pool } = yield* pooledOf(["a", "b"], (key) => (key === "a" ? { hangs: true } : { millis: 100 }))
      const timed = model.pipe(ChatModel.timeout({ firstToken: "5 seconds" }))
      for (let i = 0; i < 60; i++) {
        yield* Effect.fork(Effect.exit(Stream.runDrain(timed.stream(prompt))))
        yield* TestClock.adjust("500 millis")
      }
      const [a, b] = [...(yield* pool.states).values()]
      assert.strictEqual(a?.circuit._tag, "Open")
      assert.strictEqual(b?.circuit._tag, "Closed")
    })
  )

  it.effect("is retried at another, as far as the mode allows", () =>
    Effect.gen(function* () {
      const cut = Stream.concat(Stream.fromIterable(events(["half an"])), Stream.fail(errorOf("ServerError")))
      const model = Balance.balance([
        leafOf("a", [cut]),
        leafOf("b", [cut, Stream.fromIterable(whole("a whole answer"))])
      ])
      const policy = RetryPolicy.make({ initialDelay: "1 second" })
      const restarted = model.pipe(ChatModel.retry(policy, { mode: "restart" }))
      const { exit } = yield* under(ChatStream.collect(restarted.stream(prompt)))
      assert.strictEqual(exit._tag === "Success" && exit.value.text, "a whole answer")
      const strict = Balance.balance([leafOf("a", [cut])]).pipe(ChatModel.retry(policy))
      assert.strictEqual(errorIn((yield* under(ChatStream.collect(strict.stream(prompt)))).exit)?._tag, "ServerError")
    })
  )

  it.effect("tells whoever replays it where it stands, but of no rest that another could be asked for", () =>
    Effect.gen(function* () {
      const progress: Replay.Progress["Type"] = { cursor: { inside: "nothing", usage: undefined } }
      const usage = { inputTokens: 3, outputTokens: 2 }
      const model = ChatModel.fromLeaf({
        provider: "openai",
        model: "gpt",
        generate: () => Effect.never,
        open: () =>
          Effect.map(Effect.context<never>(), (context) => {
            const own = Option.getOrThrow(Context.getOption(context, Replay.Progress))
            return Effect.sync(() => {
              own.cursor = { inside: "text", usage, resume: { id: "resp-1", after: 3 } }
              return Layers.toChunk(whole("hi"))
            })
          })
      })
      const scoped = Effect.scoped(Effect.flatten(source(Balance.balance([model]))))
      yield* Effect.provideService(scoped, Replay.Progress, progress)
      assert.deepStrictEqual(progress.cursor, { inside: "text", usage })
    })
  )

  it.effect("waits under the limits of its reader", () =>
    Effect.gen(function* () {
      const all = ledger()
      const refusal = errorOf("CircuitOpen", { delivery: "not-sent", hint: Duration.seconds(20) })
      const model = Balance.balance([memberOf(all, "a", (nth) => (nth === 1 ? { error: refusal } : undefined))])
      const patient = yield* under(Stream.runDrain(model.stream(prompt)))
      assert.strictEqual(patient.exit._tag, "Success")
      const hurried = Balance.balance([memberOf(all, "b", () => ({ error: refusal }))]).pipe(
        ChatModel.deadline("10 seconds")
      )
      const { exit, millis } = yield* under(Stream.runDrain(hurried.stream(prompt)))
      assert.deepStrictEqual([errorIn(exit)?._tag, millis], ["CircuitOpen", 0])
    })
  )
})
