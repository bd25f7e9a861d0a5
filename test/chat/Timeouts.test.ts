import { assert, describe, it } from "@effect/vitest"
import { Effect, Stream } from "effect"
import { ChatModel, ChatStream, type LlmError, RetryPolicy } from "effect-steadfast"
import { Fault, Reply } from "effect-steadfast/testing"
import { attempts, elapse, prompt, readAll, recorded, scripted } from "./support.js"

const policy = RetryPolicy.make({ maxAttempts: 3, initialDelay: "1 second", jitter: "none" })

const phaseOf = (error: LlmError.LlmError | undefined) => (error?._tag === "Timeout" ? error.phase : error?._tag)

const words = Reply.text("a b c d")

describe("attempt", () => {
  it.effect("ends an answer and a stream at its time exactly", () =>
    Effect.gen(function* () {
      for (const step of [Fault.hang, Fault.stall({ tokens: 0 }), Fault.slowHeaders("1 minute")]) {
        const { model, provider } = yield* scripted(step)
        const limited = model.pipe(ChatModel.timeout({ attempt: "7 seconds" }))
        const error = yield* elapse(Effect.flip(limited.generate(prompt)))
        const streamed = yield* readAll(limited)
        assert.deepStrictEqual([phaseOf(error), phaseOf(streamed.error)], ["attempt", "attempt"])
        assert.deepStrictEqual([streamed.ended, streamed.events], [7000, []])
        assert.deepStrictEqual([error.provider, error.model, error.delivery], ["openai", "m-1", "unknown"])
        assert.deepStrictEqual(
          (yield* provider.requests).map((request) => (request.hungUpAt ?? 0) - request.at),
          [7000, 7000]
        )
      }
    })
  )

  it.effect("counts the whole of a stream, however lively it is", () =>
    Effect.gen(function* () {
      const { model } = yield* scripted(Fault.slowTokens("2 seconds", Reply.text("a b c d e f")))
      const { ended, error, text } = yield* readAll(
        model.pipe(ChatModel.timeout({ attempt: "7 seconds", firstToken: "3 seconds", idle: "3 seconds" }))
      )
      assert.deepStrictEqual([phaseOf(error), ended, text], ["attempt", 7000, "a b c d"])
    })
  )

  it.effect("leaves what is in time alone", () =>
    Effect.gen(function* () {
      const { model } = yield* scripted(Fault.slowTokens("2 seconds", words))
      const { exit, times } = yield* readAll(
        model.pipe(ChatModel.timeout({ attempt: "6001 millis", firstToken: "1 millis", idle: "2001 millis" }))
      )
      assert.strictEqual(exit._tag, "Success")
      assert.strictEqual(times.at(-1), 6000)
    })
  )

  it.effect("holds for each attempt anew", () =>
    Effect.gen(function* () {
      for (const streaming of [true, false]) {
        const { model, provider } = yield* scripted(Fault.hang, Fault.hang, Fault.slowHeaders("4 seconds", words))
        const held = model.pipe(ChatModel.timeout({ attempt: "5 seconds" }), ChatModel.retry(policy))
        const { records, value } = yield* recorded(
          elapse(streaming ? ChatStream.collect(held.stream(prompt)) : held.generate(prompt))
        )
        assert.strictEqual(value.text, "a b c d")
        const [start = 0, ...later] = (yield* provider.requests).map((request) => request.at)
        assert.deepStrictEqual(
          later.map((at) => at - start),
          [6000, 13_000]
        )
        assert.deepStrictEqual(attempts(records[0]), ["failure Timeout", "failure Timeout", "success"])
      }
    })
  )
})

describe("firstToken", () => {
  it.effect("is the time to the first content: headers and pings are none", () =>
    Effect.gen(function* () {
      const steps = [
        Fault.hang,
        Fault.slowHeaders("1 minute"),
        Fault.slowFirstToken("1 minute"),
        Fault.stall({ tokens: 0, pings: "1 second" })
      ]
      for (const step of steps) {
        const { model, provider } = yield* scripted(step)
        const { records, value } = yield* recorded(readAll(model.pipe(ChatModel.timeout({ firstToken: "5 seconds" }))))
        assert.deepStrictEqual([phaseOf(value.error), value.ended, value.events], ["first-token", 5000, []])
        const [request] = yield* provider.requests
        assert.strictEqual((request?.hungUpAt ?? 0) - (request?.at ?? 0), 5000)
        assert.deepStrictEqual(attempts(records[0]), ["failure Timeout"])
      }
    })
  )

  it.effect("is replayed, for nothing was delivered", () =>
    Effect.gen(function* () {
      const { model } = yield* scripted(Fault.slowFirstToken("1 minute"), words)
      const { ended, tags, text } = yield* readAll(
        model.pipe(ChatModel.timeout({ firstToken: "5 seconds" }), ChatModel.retry(policy))
      )
      assert.deepStrictEqual([text, ended], ["a b c d", 6000])
      assert.deepStrictEqual(tags.filter((tag) => tag === "Start").length, 1)
    })
  )
})

describe("idle", () => {
  it.effect("ends a stream in which nothing comes any more; comments do not count as life", () =>
    Effect.gen(function* () {
      for (const pings of [undefined, "1 second"] as const) {
        const { model, provider } = yield* scripted(Fault.stall({ tokens: 2, reply: words, pings }))
        const { records, value } = yield* recorded(
          readAll(model.pipe(ChatModel.timeout({ idle: "5 seconds" }), ChatModel.retry(policy)))
        )
        assert.deepStrictEqual([phaseOf(value.error), value.ended, value.text], ["idle", 5000, "a b"])
        assert.deepStrictEqual([value.error?.delivery, value.error?.model], ["unknown", "m-1"])
        assert.deepStrictEqual(
          (yield* provider.requests).map((request) => (request.hungUpAt ?? 0) - request.at),
          [5000]
        )
        assert.deepStrictEqual(attempts(records[0]), ["failure Timeout"])
      }
    })
  )

  it.effect("starts with the first content", () =>
    Effect.gen(function* () {
      const { model } = yield* scripted(Fault.slowFirstToken("1 minute", words))
      const { exit, text } = yield* readAll(model.pipe(ChatModel.timeout({ idle: "5 seconds" })))
      assert.deepStrictEqual([exit._tag, text], ["Success", "a b c d"])
    })
  )

  it.effect("does not count the reader's own time", () =>
    Effect.gen(function* () {
      const { model } = yield* scripted(Fault.slowTokens("4 seconds", words))
      const slow = ChatStream.text(model.pipe(ChatModel.timeout({ idle: "5 seconds" })).stream(prompt)).pipe(
        Stream.mapEffect((text) => Effect.as(Effect.sleep("1 minute"), text)),
        Stream.mkString
      )
      assert.strictEqual(yield* elapse(slow), "a b c d")
    })
  )
})

describe("deadline", () => {
  it.effect("bounds all attempts and waits together", () =>
    Effect.gen(function* () {
      for (const streaming of [true, false]) {
        const { model, provider } = yield* scripted(Fault.status(500, { delay: "4 seconds" }), Fault.hang)
        const held = model.pipe(ChatModel.retry(policy), ChatModel.deadline("10 seconds"))
        const { records, value } = yield* recorded(
          elapse(Effect.flip(streaming ? Stream.runDrain(held.stream(prompt)) : held.generate(prompt)))
        )
        assert.strictEqual(phaseOf(value), "total")
        assert.strictEqual(records[0]?.durationMillis, 10_000)
        assert.deepStrictEqual(attempts(records[0]), ["failure ServerError", "failure Timeout"])
        assert.lengthOf(yield* provider.requests, 2)
      }
    })
  )

  it.effect("a wait that would outlive it is not begun", () =>
    Effect.gen(function* () {
      for (const streaming of [true, false]) {
        const { model } = yield* scripted(Fault.rateLimited({ retryAfter: "30 seconds" }))
        const held = model.pipe(ChatModel.retry(policy), ChatModel.deadline("10 seconds"))
        const { records, value } = yield* recorded(
          elapse(Effect.flip(streaming ? Stream.runDrain(held.stream(prompt)) : held.generate(prompt)))
        )
        assert.deepStrictEqual([value._tag, records[0]?.durationMillis], ["RateLimited", 0])
      }
    })
  )

  it.effect("ends a stream that is delivering", () =>
    Effect.gen(function* () {
      const { model } = yield* scripted(Fault.slowTokens("3 seconds", words))
      const { ended, error, text } = yield* readAll(model.pipe(ChatModel.deadline("7 seconds")))
      assert.deepStrictEqual([phaseOf(error), ended, text], ["total", 7000, "a b c"])
    })
  )

  it.effect("of two the nearer one counts, wherever it stands", () =>
    Effect.gen(function* () {
      const { model } = yield* scripted(Fault.hang)
      const cases = [
        [model.pipe(ChatModel.deadline("5 seconds"), ChatModel.deadline("9 seconds")), "total", 5000],
        [model.pipe(ChatModel.deadline("9 seconds"), ChatModel.deadline("5 seconds")), "total", 5000],
        [model.pipe(ChatModel.timeout({ attempt: "9 seconds" }), ChatModel.deadline("5 seconds")), "total", 5000],
        [model.pipe(ChatModel.timeout({ attempt: "5 seconds" }), ChatModel.deadline("9 seconds")), "attempt", 5000],
        [
          model.pipe(ChatModel.timeout({ firstToken: "4 seconds" }), ChatModel.deadline("5 seconds")),
          "first-token",
          4000
        ]
      ] as const
      for (const [limited, phase, millis] of cases) {
        const { ended, error } = yield* readAll(limited)
        assert.deepStrictEqual([phaseOf(error), ended], [phase, millis])
      }
      for (const [limited, phase, millis] of cases.slice(0, 4)) {
        const { records, value } = yield* recorded(elapse(Effect.flip(limited.generate(prompt))))
        assert.deepStrictEqual([phaseOf(value), records[0]?.durationMillis], [phase, millis])
      }
    })
  )
})
