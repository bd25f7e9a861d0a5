import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Exit, Layer, Logger, LogLevel, Random, Redacted } from "effect"
import {
  Chat,
  ChatModel,
  ChatStream,
  CircuitBreaker,
  KeyPool,
  type LlmError,
  Pacer,
  Resilient,
  RetryPolicy
} from "effect-steadfast"
import { Fault, Reply } from "effect-steadfast/testing"
import { errorOf } from "../support/errors.js"
import { apiKey, collectLogs, collectRecords, only, scripted } from "../support/evidence.js"
import { simulate } from "../support/simulate.js"
import { errorIn, under } from "../support/time.js"

const prompt = Chat.prompt("Hello")

describe("one target", () => {
  it.effect("is waited for: whole and streamed", () =>
    Effect.gen(function* () {
      const { model } = yield* scripted({
        script: [...Array.from({ length: 5 }, () => Fault.status(503)), Reply.text("hi")]
      })
      const held = yield* Resilient.make(model, { deadline: "2 minutes", name: "assistant" })
      assert.strictEqual(held.name, "assistant")
      const { exit } = yield* under(held.generate(prompt))
      assert.isTrue(Exit.isSuccess(exit))
      const streamed = yield* under(ChatStream.collect(held.stream(prompt)))
      assert.isTrue(Exit.isSuccess(streamed.exit))
    })
  )

  it.effect("gets up to 8 attempts, one with a fallback 4", () =>
    Effect.gen(function* () {
      const failing = (model: string) => scripted({ script: [Fault.status(500)] }, { model })
      const [one, two, three] = yield* Effect.all([failing("one"), failing("two"), failing("three")])
      const attemptsOf = (targets: ReadonlyArray<{ readonly model: ChatModel.ChatModel }>) =>
        Effect.gen(function* () {
          const held = yield* Resilient.make(targets.map(({ model }) => model))
          const { layer, records } = collectRecords()
          yield* Effect.provide(under(held.generate(prompt)), layer)
          return only(records).attempts.map(({ model }) => model)
        })
      const times = (model: string, number: number) => Array.from({ length: number }, () => model)
      // Circuits that never open, because their probes are no attempts.
      const run = Effect.all([attemptsOf([one]), attemptsOf([two, three])])
      assert.deepStrictEqual(
        yield* Effect.provide(run, CircuitBreaker.layer({ tripPolicy: CircuitBreaker.consecutive(100) })),
        [times("one", 8), [...times("two", 4), ...times("three", 8)]]
      )
    })
  )

  it.effect("does not hang: an attempt takes ten minutes, a call ends", () =>
    Effect.gen(function* () {
      const { model } = yield* scripted({ script: [Fault.hang] })
      const held = yield* Resilient.make(model, { retry: RetryPolicy.none })
      const { exit, millis } = yield* under(held.generate(prompt))
      assert.strictEqual(errorIn(exit)?._tag, "Timeout")
      assert.strictEqual(millis, 600_000)
    })
  )
})

describe("several targets", () => {
  it.effect("are asked in their order, with the rules that are given", () =>
    Effect.gen(function* () {
      const down = (yield* scripted({ script: [Fault.unauthorized()] }, { model: "down" })).model
      const up = (yield* scripted({ script: [Reply.text("hi")] }, { model: "up" })).model
      const held = yield* Resilient.make([down, up], { deadline: "1 minute" })
      const { exit } = yield* under(held.generate(prompt))
      assert.strictEqual(exit._tag === "Success" ? exit.value.text : undefined, "hi")
      const never = yield* Resilient.make([down, up], { when: { AuthError: false } })
      assert.strictEqual(errorIn((yield* under(never.generate(prompt))).exit)?._tag, "AuthError")
    })
  )

  it("must be one at least, and options are checked", () => {
    assert.throws(() => Resilient.make([]), /Resilient: targets: found none, expected at least one/)
    assert.throws(
      () => Resilient.around({ provider: "p", model: "m", timeout: "-1 seconds" }),
      /found "-1 seconds", expected a duration/
    )
  })
})

describe("the policies of the context", () => {
  it.effect("are used, so that models share them", () =>
    Effect.gen(function* () {
      const breaker = yield* CircuitBreaker.make()
      const pacer = yield* Pacer.make()
      const { model } = yield* scripted({ script: [Fault.status(500)] })
      const one = yield* Resilient.make(model, { retry: RetryPolicy.none })
      const layers = Layer.merge(
        Layer.succeed(CircuitBreaker.CircuitBreaker, breaker),
        Layer.succeed(Pacer.Pacer, pacer)
      )
      const shared = yield* Effect.provide(Resilient.make(model, { retry: RetryPolicy.none }), layers)
      yield* under(Effect.replicateEffect(Effect.exit(one.generate(prompt)), 3), "1 second")
      assert.strictEqual((yield* breaker.states).size, 0)
      yield* under(Effect.replicateEffect(Effect.exit(shared.generate(prompt)), 3), "1 second")
      assert.strictEqual((yield* breaker.state(ChatModel.keyOf(model)))._tag, "Open")
      assert.strictEqual((yield* pacer.states).size, 1)
    })
  )
})

describe("around", () => {
  it("holds an effect that is no chat, as one call with one record", () => {
    let sent = 0
    const rerank: Effect.Effect<string, LlmError.LlmError> = Effect.flatMap(Clock.currentTimeMillis, (now) => {
      sent += 1
      return now < 40_000 ? Effect.fail(errorOf("ServerError")) : Effect.succeed("ranked")
    })
    const { layer, records } = collectRecords()
    const program = Effect.gen(function* () {
      const held = yield* Resilient.around({ provider: "cohere", model: "rerank", deadline: "2 minutes" })
      return yield* Effect.forEach(Array.from({ length: 50 }), () => Effect.exit(held(rerank)), {
        concurrency: "unbounded"
      })
    })
    const ends = simulate(
      program.pipe(
        Effect.provide(layer),
        Effect.withRandom(Random.make("around")),
        Logger.withMinimumLogLevel(LogLevel.None)
      )
    )
    assert.isTrue(ends.every(Exit.isSuccess))
    assert.strictEqual(records.length, 50)
    assert.strictEqual(records.flatMap(({ attempts }) => attempts).length, sent)
    assert.strictEqual(only([...new Set(records.map(({ name }) => name))]), "cohere/rerank")
  })
})

describe("a pool of keys", () => {
  it.effect("is paced key by key inside, and held as a whole outside", () =>
    Effect.gen(function* () {
      const { model } = yield* scripted({ script: [Reply.text("hi")] })
      const keys = yield* KeyPool.make({ keys: [Redacted.make("k-1"), Redacted.make("k-2")] })
      const leaf = (apiKey: Redacted.Redacted) =>
        Effect.succeed(
          ChatModel.fromLeaf({
            provider: "openai",
            model: "m",
            key: KeyPool.nameOf(apiKey),
            generate: (request) => model.generate(request),
            open: () => Effect.never
          })
        )
      const pacer = yield* Pacer.make()
      const pool = yield* ChatModel.pooled(keys, leaf)
      const held = yield* Effect.provideService(Resilient.make(pool), Pacer.Pacer, pacer)
      const { exit } = yield* under(held.generate(prompt))
      assert.isTrue(Exit.isSuccess(exit))
      assert.strictEqual((yield* pacer.states).size, 0)
    })
  )
})

describe("the line of a call that waits", () => {
  it.effect("names the target, and shows neither the key nor a secret in the address", () =>
    Effect.gen(function* () {
      const secret = "hunter2-hunter2"
      const { model } = yield* scripted(
        { script: [Fault.status(503), Fault.status(503), Fault.status(503), Fault.status(503), Reply.text("hi")] },
        { baseUrl: `https://me:${secret}@proxy.example/v1` }
      )
      const { layer, lines } = collectLogs()
      const held = yield* Resilient.make(model, { deadline: "5 minutes" })
      const calls = Effect.replicateEffect(Effect.exit(held.generate(prompt)), 6, { concurrency: "unbounded" })
      yield* Effect.provide(under(calls), layer)
      const waiting = lines.filter(({ message }) => message.startsWith("waiting for"))
      assert.isAtLeast(waiting.length, 1)
      assert.match(waiting[0]?.message ?? "", /^waiting for openai[^ ]*\/[^ ]+: the circuit is open after \w+/)
      assert.notInclude(ChatModel.keyOf(model), secret)
      for (const line of lines) {
        assert.notInclude(JSON.stringify(line), secret)
        assert.notInclude(JSON.stringify(line), apiKey)
      }
    })
  )
})
