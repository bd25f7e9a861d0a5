import { assert, describe, it } from "@effect/vitest"
import { Chunk, Duration, Effect, Fiber, Layer, Schedule, Stream, TestClock } from "effect"
import { Call, Chat, ChatModel, ChatStream, LlmError, RetryPolicy } from "effect-steadfast"
import { Fault, FaultyProvider, Reply, type Step } from "effect-steadfast/testing"
import { attempts, elapse, modelOf, prompt, readAll, recorded, scripted } from "./support.js"

const policy = RetryPolicy.make({ maxAttempts: 3, initialDelay: "1 second", jitter: "none" })

/** Two models over one provider, each with its own script. */
const pair = (first: ReadonlyArray<Step.Step>, second: ReadonlyArray<Step.Step>) =>
  Effect.gen(function* () {
    const provider = yield* FaultyProvider.make({
      rules: [
        { model: "m-1", script: first },
        { model: "m-2", script: second }
      ]
    })
    return {
      provider,
      one: yield* modelOf(provider),
      two: yield* modelOf(provider, { model: "m-2" }),
      asked: Effect.map(provider.requests, (all) => all.map((request) => request.model))
    }
  })

describe("names", () => {
  it.effect("a leaf has its target's, a composition that of what it is made of", () =>
    Effect.gen(function* () {
      const { one, two } = yield* pair([], [])
      assert.strictEqual(one.name, "openai/m-1")
      const held = one.pipe(ChatModel.timeout({ attempt: "1 second" }), ChatModel.retry(policy))
      assert.strictEqual(held.name, "openai/m-1")
      const both = held.pipe(ChatModel.orElse(two), ChatModel.deadline("1 minute"))
      assert.strictEqual(both.name, "openai/m-1 | openai/m-2")
      const named = both.pipe(ChatModel.named("assistant"))
      assert.strictEqual(named.name, "assistant")
      assert.strictEqual(named.pipe(ChatModel.orElse(one)).name, "assistant | openai/m-1")
      assert.deepStrictEqual(JSON.parse(JSON.stringify(named)), { _id: "steadfast/ChatModel", name: "assistant" })
      assert.isTrue(ChatModel.isChatModel(named))
      assert.isFalse(ChatModel.isChatModel({ name: "assistant" }))
    })
  )

  it.effect("are those of the records", () =>
    Effect.gen(function* () {
      const { one, two } = yield* pair([Fault.status(500)], [Reply.text("b")])
      const assistant = one.pipe(ChatModel.orElse(two), ChatModel.named("assistant"))
      const { records } = yield* recorded(
        Effect.zipRight(assistant.generate(prompt), ChatStream.collect(assistant.stream(prompt)))
      )
      assert.deepStrictEqual(
        records.map((record) => [record.name, record.outcome, attempts(record)]),
        [
          ["assistant", "success", ["failure ServerError", "success"]],
          ["assistant", "success", ["failure ServerError", "success"]]
        ]
      )
      for (const record of records) {
        assert.deepStrictEqual(record.attempts[1]?.fallback, { from: "openai/m-1", reason: "ServerError" })
      }
    })
  )
})

describe("data-first and data-last are the same", () => {
  it.effect("for every combinator", () =>
    Effect.gen(function* () {
      const { asked, one, two } = yield* pair([Fault.status(500)], [Reply.text("b")])
      const first = ChatModel.named(
        ChatModel.deadline(
          ChatModel.orElse(ChatModel.retry(ChatModel.timeout(one, { attempt: "5 seconds" }), policy), two, {
            when: LlmError.isTag("ServerError")
          }),
          "1 minute"
        ),
        "x"
      )
      const last = one.pipe(
        ChatModel.timeout({ attempt: "5 seconds" }),
        ChatModel.retry(policy),
        ChatModel.orElse(two, { when: LlmError.isTag("ServerError") }),
        ChatModel.deadline("1 minute"),
        ChatModel.named("x")
      )
      for (const model of [first, last]) {
        assert.strictEqual((yield* elapse(model.generate(prompt))).text, "b")
        assert.strictEqual((yield* readAll(model)).text, "b")
      }
      const once = ["m-1", "m-1", "m-1", "m-2"]
      assert.deepStrictEqual(yield* asked, [...once, ...once, ...once, ...once])
    })
  )
})

describe("in the context", () => {
  it.effect("a layer gives the model that the accessors ask", () =>
    Effect.gen(function* () {
      const { model } = yield* scripted(Reply.text("a b"))
      const program = Effect.all([
        ChatModel.generate(prompt),
        ChatStream.collect(ChatModel.stream(prompt)),
        Effect.map(ChatModel.ChatModel, (_) => _.name)
      ])
      const [whole, streamed, name] = yield* Effect.provide(program, ChatModel.layer(Effect.succeed(model)))
      assert.deepStrictEqual([whole.text, streamed.text, name], ["a b", "a b", "openai/m-1"])
    })
  )

  it.effect("a layer fails as its model fails to be made", () =>
    Effect.gen(function* () {
      const broken = ChatModel.layer(Effect.fail("no key" as const))
      assert.strictEqual(yield* Effect.flip(Effect.scoped(Layer.build(broken))), "no key")
    })
  )
})

describe("retry and orElse", () => {
  it.effect("do for a stream what they do for generate", () =>
    Effect.gen(function* () {
      const faults = [
        [Fault.rateLimited({ retryAfter: "2 seconds" }), Fault.status(503), Reply.text("a")],
        [Fault.status(503)],
        [Fault.unauthorized()],
        [Fault.badRequest()],
        [Fault.contentFilter()],
        [Fault.resetBeforeHeaders(), Fault.noConnection(), Reply.text("a")]
      ]
      for (const script of faults) {
        const observed = yield* Effect.forEach([true, false], (streaming) =>
          Effect.gen(function* () {
            const { asked, one, two } = yield* pair(script, [Reply.text("b")])
            const model = one.pipe(ChatModel.retry(policy), ChatModel.orElse(two))
            const answer = streaming ? ChatStream.collect(model.stream(prompt)) : model.generate(prompt)
            const end = yield* elapse(Effect.match(answer, { onFailure: (e) => e._tag, onSuccess: (a) => a.text }))
            return { end, asked: yield* asked, text: "" }
          })
        )
        assert.deepStrictEqual(observed[0], observed[1])
      }
    })
  )

  it.effect("wait the same time, and remember why", () =>
    Effect.gen(function* () {
      const script = [Fault.rateLimited({ retryAfter: "2 seconds" }), Fault.status(503), Reply.text("a")]
      for (const streaming of [true, false]) {
        const { model, provider } = yield* scripted(...script)
        const held = model.pipe(ChatModel.retry(policy))
        const { records } = yield* recorded(
          elapse(streaming ? ChatStream.collect(held.stream(prompt)) : held.generate(prompt))
        )
        const [start = 0, ...later] = (yield* provider.requests).map((request) => request.at)
        assert.deepStrictEqual(
          later.map((at) => at - start),
          [2000, 4000]
        )
        assert.deepStrictEqual(
          records[0]?.attempts.map(({ index, retry }) => [index, retry]),
          [
            [1, undefined],
            [2, { delayMillis: 2000, reason: "hint" }],
            [3, { delayMillis: 2000, reason: "backoff" }]
          ]
        )
        assert.lengthOf(records, 1)
      }
    })
  )

  it.effect("a stream that has delivered goes nowhere else", () =>
    Effect.gen(function* () {
      const { asked, one, two } = yield* pair([Fault.earlyEnd({ tokens: 1 })], [Reply.text("b")])
      const model = one.pipe(
        ChatModel.retry(Schedule.forever),
        ChatModel.orElse(two, { when: () => true }),
        ChatModel.retry(Schedule.forever)
      )
      const { error, text } = yield* readAll(model)
      assert.deepStrictEqual([text, error?._tag, yield* asked], ["The", "StreamInterrupted", ["m-1"]])
    })
  )

  it.effect("the error of the last target stands", () =>
    Effect.gen(function* () {
      const { one, two } = yield* pair([Fault.status(503)], [Fault.unauthorized()])
      const model = one.pipe(ChatModel.orElse(two))
      for (const error of [yield* Effect.flip(model.generate(prompt)), (yield* readAll(model)).error]) {
        assert.deepStrictEqual([error?._tag, error?.model], ["AuthError", "m-2"])
      }
    })
  )
})

describe("a request that must not run twice", () => {
  const careful = Chat.prompt("pay", { idempotent: false })
  const unknown: ReadonlyArray<Step.Step> = [
    Fault.resetBeforeHeaders(),
    Fault.resetInBody({ tokens: 0 }),
    Fault.earlyEnd({ tokens: 0 }),
    Fault.emptyBody,
    Fault.status(504),
    Fault.hang,
    Fault.stall({ tokens: 0 })
  ]

  const compositions = (one: ChatModel.ChatModel, two: ChatModel.ChatModel): ReadonlyArray<ChatModel.ChatModel> => [
    one.pipe(ChatModel.timeout({ attempt: "5 seconds" }), ChatModel.retry(policy), ChatModel.orElse(two)),
    one.pipe(ChatModel.deadline("5 seconds"), ChatModel.retry(policy), ChatModel.orElse(two)),
    one.pipe(ChatModel.timeout({ attempt: "5 seconds" }), ChatModel.retry(Schedule.recurs(2))),
    one.pipe(ChatModel.timeout({ attempt: "5 seconds" }), ChatModel.orElse(two, { when: () => true }))
  ]

  it.effect("is not retried and does not fall back where it may have run", () =>
    Effect.gen(function* () {
      for (const step of unknown) {
        for (const streaming of [false, true]) {
          const { asked, one, provider, two } = yield* pair([step], [Reply.text("b")])
          for (const [i, model] of compositions(one, two).entries()) {
            yield* provider.reset
            const answer = streaming ? Stream.runDrain(model.stream(careful)) : model.generate(careful)
            const error = yield* elapse(Effect.flip(answer))
            assert.strictEqual(error.delivery, "unknown", `${step._tag}, composition ${i}`)
            assert.deepStrictEqual(yield* asked, ["m-1"], `${step._tag}, composition ${i}, streaming: ${streaming}`)
          }
        }
      }
    })
  )

  it.effect("is retried and falls back where it was refused or never sent", () =>
    Effect.gen(function* () {
      const script = [Fault.status(429), Fault.noConnection("ECONNREFUSED"), Fault.overloaded()]
      for (const streaming of [false, true]) {
        const { asked, one, two } = yield* pair(script, [Reply.text("b")])
        const model = one.pipe(ChatModel.retry(policy), ChatModel.orElse(two))
        const answer = streaming ? ChatStream.collect(model.stream(careful)) : model.generate(careful)
        assert.strictEqual((yield* elapse(answer)).text, "b")
        assert.deepStrictEqual(yield* asked, ["m-1", "m-1", "m-1", "m-2"])
      }
    })
  )
})

describe("leaving", () => {
  it.effect("a stream early closes its socket at once and is recorded as interrupted", () =>
    Effect.gen(function* () {
      const { model, provider } = yield* scripted(Fault.slowTokens("1 second"))
      const held = model.pipe(ChatModel.timeout({ idle: "5 seconds" }), ChatModel.retry(policy))
      const { records, value } = yield* recorded(
        elapse(Stream.runCollect(ChatStream.text(held.stream(prompt)).pipe(Stream.take(2))))
      )
      assert.deepStrictEqual(Chunk.toReadonlyArray(value), ["The", " quick"])
      const [request] = yield* provider.requests
      assert.deepStrictEqual([request?.hungUp, (request?.hungUpAt ?? 0) - (request?.at ?? 0)], [true, 1000])
      assert.deepStrictEqual([records[0]?.outcome, attempts(records[0])], ["interrupted", ["interrupted"]])
    })
  )

  it.effect("a stream at its Finish is a success", () =>
    Effect.gen(function* () {
      const { model } = yield* scripted(Reply.text("a b"))
      const { records } = yield* recorded(
        Stream.runDrain(Stream.takeUntil(model.stream(prompt), (event) => event._tag === "Finish"))
      )
      assert.deepStrictEqual([records[0]?.outcome, attempts(records[0])], ["success", ["success"]])
      assert.deepStrictEqual(records[0]?.attempts[0]?.usage?.outputTokens, 2)
    })
  )

  it.effect("by interruption in the middle of a stream, before its headers, and of a generate", () =>
    Effect.gen(function* () {
      for (const step of [Fault.stall({ tokens: 1 }), Fault.hang]) {
        for (const streaming of [true, false]) {
          const { model, provider } = yield* scripted(step)
          const held = model.pipe(ChatModel.timeout({ attempt: "1 hour", idle: "1 hour" }), ChatModel.retry(policy))
          const { records } = yield* recorded(
            Effect.gen(function* () {
              const fiber = yield* Effect.fork(streaming ? Stream.runDrain(held.stream(prompt)) : held.generate(prompt))
              yield* TestClock.adjust("3 seconds")
              yield* Fiber.interrupt(fiber)
            })
          )
          const [request] = yield* provider.requests
          assert.deepStrictEqual([request?.hungUp, (request?.hungUpAt ?? 0) - (request?.at ?? 0)], [true, 3000])
          assert.deepStrictEqual([records[0]?.outcome, attempts(records[0])], ["interrupted", ["interrupted"]])
          assert.strictEqual(records[0]?.attempts[0]?.durationMillis, 3000)
        }
      }
    })
  )

  it.effect("while a retry waits ends at once, and nothing more is asked", () =>
    Effect.gen(function* () {
      const { model, provider } = yield* scripted(Fault.status(503))
      const held = model.pipe(ChatModel.retry(RetryPolicy.make({ initialDelay: "10 seconds", jitter: "none" })))
      for (const streaming of [true, false]) {
        yield* provider.reset
        const { records } = yield* recorded(
          Effect.gen(function* () {
            const fiber = yield* Effect.fork(streaming ? Stream.runDrain(held.stream(prompt)) : held.generate(prompt))
            yield* TestClock.adjust("3 seconds")
            yield* Fiber.interrupt(fiber)
            yield* TestClock.adjust("1 hour")
          })
        )
        assert.lengthOf(yield* provider.requests, 1)
        assert.deepStrictEqual([records[0]?.outcome, records[0]?.durationMillis], ["interrupted", 3000])
      }
    })
  )
})

describe("a call around it", () => {
  it.effect("joins streams and answers into one record", () =>
    Effect.gen(function* () {
      const { model } = yield* scripted(Fault.status(500), Reply.text("a"), Reply.text("b"))
      const both = Effect.all([
        model.pipe(ChatModel.retry(policy)).generate(prompt),
        ChatStream.collect(model.stream(prompt))
      ])
      const { records, value } = yield* recorded(elapse(both.pipe(Call.make("job"))))
      assert.deepStrictEqual(
        value.map((answer) => answer.text),
        ["a", "b"]
      )
      assert.deepStrictEqual(
        records.map((record) => [record.name, attempts(record), record.durationMillis]),
        [["job", ["failure ServerError", "success", "success"], Duration.toMillis("1 second")]]
      )
    })
  )
})
