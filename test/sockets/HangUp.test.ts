import { assert, describe } from "@effect/vitest"
import { Clock, Deferred, Effect, Option, Stream } from "effect"
import { Chat, ChatModel, ChatStream, RetryPolicy } from "effect-steadfast"
import { Fault, Reply } from "effect-steadfast/testing"
import { attempts, recorded } from "../chat/support.js"
import { hangUp, nobodyOnTheLine, onEveryClient, patience, served } from "./support.js"

const prompt = Chat.prompt("four words of prompt")

const held = (model: ChatModel.ChatModel) =>
  model.pipe(
    ChatModel.timeout({ attempt: "1 minute", firstToken: "1 minute", idle: "1 minute" }),
    ChatModel.retry(RetryPolicy.standard),
    ChatModel.deadline("1 minute")
  )

describe("interruption closes the socket", () => {
  onEveryClient("of an answer, before its headers and in its body", () =>
    Effect.gen(function* () {
      for (const step of [Fault.hang, Fault.stall()]) {
        const { model, server } = yield* served(step)
        const took = yield* hangUp(server, held(model).generate(prompt))
        assert.isBelow(took, patience)
      }
    })
  )

  onEveryClient("of a stream, before its headers", () =>
    Effect.gen(function* () {
      const { model, server } = yield* served(Fault.hang)
      assert.isBelow(yield* hangUp(server, Stream.runDrain(held(model).stream(prompt))), patience)
    })
  )

  onEveryClient("of a stream, in its middle", () =>
    Effect.gen(function* () {
      const { model, server } = yield* served(Fault.stall({ tokens: 2 }))
      const reading = yield* Deferred.make<void>()
      const stream = Stream.tap(held(model).stream(prompt), () => Deferred.succeed(reading, undefined))
      assert.isBelow(yield* hangUp(server, Stream.runDrain(stream), Deferred.await(reading)), patience)
    })
  )
})

describe("a reader that leaves", () => {
  onEveryClient("early closes the socket, and is recorded as interrupted", () =>
    Effect.gen(function* () {
      const { model, server } = yield* served(Fault.slowTokens("10 millis", Reply.text("word ".repeat(1000))))
      const { records, value } = yield* recorded(
        Stream.runCollect(Stream.take(ChatStream.text(held(model).stream(prompt)), 3))
      )
      const left = yield* Clock.currentTimeMillis
      assert.lengthOf(value, 3)
      const [request] = yield* nobodyOnTheLine(server)
      assert.isTrue(request?.hungUp)
      assert.isBelow((request?.hungUpAt ?? Number.POSITIVE_INFINITY) - left, patience)
      assert.deepStrictEqual([records[0]?.outcome, attempts(records[0])], ["interrupted", ["interrupted"]])
    })
  )

  onEveryClient("because another was faster closes its socket too", () =>
    Effect.gen(function* () {
      const { model: slow, server } = yield* served(Fault.hang)
      const { model: fast } = yield* served(Fault.slowHeaders("50 millis"))
      const answer = yield* Effect.race(held(slow).generate(prompt), held(fast).generate(prompt))
      assert.isNotEmpty(answer.text)
      const [request] = yield* nobodyOnTheLine(server)
      assert.isTrue(request?.hungUp)
    })
  )

  onEveryClient("after the whole answer hangs up on nobody", () =>
    Effect.gen(function* () {
      const { model, server } = yield* served(Reply.text("a b c"))
      for (let i = 0; i < 3; i++) yield* ChatStream.collect(model.stream(prompt))
      const last = yield* Stream.runLast(model.stream(prompt))
      assert.deepStrictEqual(Option.getOrUndefined(last), { _tag: "Finish", reason: "stop" })
      yield* nobodyOnTheLine(server)
      assert.isFalse((yield* server.requests).some((request) => request.hungUp))
    })
  )
})
