import { HttpClient } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Fiber, Redacted, Stream, TestClock } from "effect"
import {
  Chat,
  ChatModel,
  ChatStream,
  CircuitBreaker,
  KeyPool,
  type LlmError,
  OpenAi,
  Pacer,
  Prices,
  RetryBudget,
  RetryPolicy,
  Spend,
  Tokens
} from "effect-steadfast"
import { Fault, FaultyProvider, Reply } from "effect-steadfast/testing"
import { apiKey, collectRecords, only } from "../support/evidence.js"
import { elapse, prompt } from "./support.js"

const setup = (options: FaultyProvider.Options) =>
  Effect.gen(function* () {
    const provider = yield* FaultyProvider.make(options)
    const model = yield* OpenAi.make({ model: "gpt-4o-mini", apiKey: Redacted.make(apiKey) }).pipe(
      Effect.provideService(HttpClient.HttpClient, provider.client)
    )
    return { provider, model, sent: Effect.map(provider.requests, (requests) => requests.length) }
  })

type Ask = (model: ChatModel.ChatModel) => Effect.Effect<Chat.Response, LlmError.LlmError>

/** Both ways of asking; every policy means the same for each. */
const ways: ReadonlyArray<readonly [string, Ask]> = [
  ["generate", (model) => model.generate(prompt)],
  ["stream", (model) => ChatStream.collect(model.stream(prompt))]
]

const tagOf = (exit: Effect.Effect<Chat.Response, LlmError.LlmError>) =>
  Effect.match(exit, { onSuccess: () => "ok", onFailure: (error) => error._tag as string })

describe.each(ways)("a breaker, %s", (_, ask) => {
  it.effect("hears each attempt, refuses then, and lets one through when it is time", () =>
    Effect.gen(function* () {
      const failing = [Fault.status(500), Fault.status(500), Fault.status(500), Reply.text("hi")]
      const { model, sent } = yield* setup({ script: failing })
      const breaker = yield* CircuitBreaker.make({ maxWait: 0 })
      const guarded = model.pipe(ChatModel.breaker(breaker))
      const ends = []
      for (let i = 0; i < 5; i++) ends.push(yield* elapse(tagOf(ask(guarded)), "0 millis"))
      assert.deepStrictEqual(ends, ["ServerError", "ServerError", "ServerError", "CircuitOpen", "CircuitOpen"])
      assert.strictEqual(yield* sent, 3)
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* elapse(tagOf(ask(guarded)), "0 millis"), "ok")
      assert.strictEqual((yield* breaker.state(ChatModel.keyOf(model)))._tag, "HalfOpen")
    })
  )

  it.effect("sends a call to the next target at once", () =>
    Effect.gen(function* () {
      const down = yield* setup({ script: [Fault.status(500)] })
      const up = yield* setup({ script: [Reply.text("hi")] })
      const breaker = yield* CircuitBreaker.make()
      const policy = ChatModel.retry(RetryPolicy.make({ initialDelay: 0 }))
      const model = down.model.pipe(ChatModel.breaker(breaker, { key: "down" }), policy, ChatModel.orElse(up.model))
      for (let i = 0; i < 10; i++) assert.strictEqual(yield* elapse(tagOf(ask(model)), "0 millis"), "ok")
      assert.strictEqual(yield* down.sent, 3)
    })
  )

  it.effect("what it refuses is no attempt, and earns no retry", () =>
    Effect.gen(function* () {
      const { model, sent } = yield* setup({ script: [Reply.text("hi")] })
      const breaker = yield* CircuitBreaker.make()
      const guarded = model.pipe(ChatModel.breaker(breaker))
      yield* breaker.open(ChatModel.keyOf(model))
      const clock = yield* Effect.clock
      const [target] = model[ChatModel.TypeId].targets
      const budget = (yield* RetryBudget.RetryBudgets).of(target.group ?? target.provider, clock)
      for (let i = 0; i < 10; i++) budget.draw(0)
      const { layer, records } = collectRecords()
      yield* elapse(Effect.replicateEffect(tagOf(ask(guarded)), 10), "0 millis").pipe(Effect.provide(layer))
      assert.deepStrictEqual(
        records.flatMap(({ attempts }) => attempts),
        []
      )
      assert.strictEqual(budget.available(0), 0)
      assert.strictEqual(yield* sent, 0)
    })
  )

  it.effect("an interrupted probe gives its place to another", () =>
    Effect.gen(function* () {
      const script = [Fault.status(500), Fault.hang, Reply.text("hi")]
      const { model } = yield* setup({ script })
      const breaker = yield* CircuitBreaker.make({ tripPolicy: CircuitBreaker.consecutive(1), maxWait: 0 })
      const guarded = model.pipe(ChatModel.breaker(breaker))
      yield* elapse(tagOf(ask(guarded)), "0 millis")
      yield* TestClock.adjust("1 second")
      const probe = yield* Effect.fork(ask(guarded))
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* elapse(tagOf(ask(guarded)), "0 millis"), "CircuitOpen")
      yield* Fiber.interrupt(probe)
      assert.strictEqual(yield* elapse(tagOf(ask(guarded)), "0 millis"), "ok")
    })
  )
})

describe("a pacer around several keys", () => {
  const poolOf = (keys: ReadonlyArray<string>, around: (model: ChatModel.ChatModel) => ChatModel.ChatModel) =>
    Effect.gen(function* () {
      const { client } = yield* FaultyProvider.make({ script: [Reply.text("hi")] })
      const pool = yield* KeyPool.make({ keys: keys.map((key) => Redacted.make(key)) })
      return yield* ChatModel.pooled(pool, (apiKey) =>
        Effect.map(OpenAi.make({ model: "gpt-4o-mini", apiKey }), around)
      ).pipe(Effect.provideService(HttpClient.HttpClient, client))
    })
  const same = (model: ChatModel.ChatModel) => model

  it.effect("is refused, and the message says what to write", () =>
    Effect.gen(function* () {
      const pacer = yield* Pacer.make()
      const pool = yield* poolOf(["sk-one", "sk-two"], same)
      const around = [pool, pool.pipe(ChatModel.retry(RetryPolicy.standard)), ChatModel.named(pool, "other")]
      for (const model of around)
        assert.throws(
          () => ChatModel.pace(model, pacer),
          RangeError,
          /several API keys at openai.*Pace each member: ChatModel\.pooled/
        )
    })
  )

  it.effect("is fine inside of the pool, with one key, and where the keys are said to share a queue", () =>
    Effect.gen(function* () {
      const pacer = yield* Pacer.make()
      const pool = yield* poolOf(["sk-one", "sk-two"], ChatModel.pace(pacer))
      const one = ChatModel.pace(yield* poolOf(["sk-one"], same), pacer)
      const shared = ChatModel.pace(yield* poolOf(["sk-one", "sk-two"], same), pacer, { key: "account" })
      for (const model of [pool, one, shared]) assert.strictEqual(yield* elapse(tagOf(model.generate(prompt))), "ok")
    })
  )
})

describe.each(ways)("a pacer, %s", (_, ask) => {
  const everySecond = { requests: { limit: 1, window: "1 second" } } as const

  it.effect("lets calls through in their order, as the limit allows", () =>
    Effect.gen(function* () {
      const { model, provider } = yield* setup({ script: [Reply.text("hi")], limits: everySecond })
      const pacer = yield* Pacer.make(everySecond)
      const paced = model.pipe(ChatModel.pace(pacer))
      const asked = Effect.forEach([0, 1, 2, 3], () => ask(paced), { concurrency: "unbounded" })
      yield* elapse(asked)
      const requests = yield* provider.requests
      assert.deepStrictEqual(
        requests.map(({ at }) => at),
        [0, 1000, 2000, 3000]
      )
      assert.isTrue(requests.every(({ limited }) => !limited))
    })
  )

  it.effect("what waits is no attempt yet, and its time is not up", () =>
    Effect.gen(function* () {
      const { model } = yield* setup({ script: [Reply.text("hi", { delay: "400 millis" })] })
      const pacer = yield* Pacer.make({ requests: { limit: 1, window: "10 seconds" } })
      const paced = model.pipe(
        ChatModel.timeout({ attempt: "1 second", firstToken: "1 second" }),
        ChatModel.pace(pacer)
      )
      const { layer, records } = collectRecords()
      const asked = Effect.forEach([0, 1, 2], () => tagOf(ask(paced)), { concurrency: "unbounded" })
      assert.deepStrictEqual(yield* elapse(asked).pipe(Effect.provide(layer)), ["ok", "ok", "ok"])
      assert.deepStrictEqual(
        records.map(({ attempts, durationMillis }) => [attempts[0]?.durationMillis, durationMillis]),
        [
          [400, 400],
          [400, 10_400],
          [400, 20_400]
        ]
      )
    })
  )

  const between: Readonly<Record<string, (model: ChatModel.ChatModel) => ChatModel.ChatModel>> = {
    "a leaf": (model) => model,
    "a timeout": ChatModel.timeout({ attempt: "1 minute" }),
    "a breaker and another name": (model) =>
      model.pipe(ChatModel.breaker(Effect.runSync(CircuitBreaker.make())), ChatModel.named("other"))
  }
  for (const [name, around] of Object.entries(between)) {
    it.effect(`learns the limit from the headers, around ${name}`, () =>
      Effect.gen(function* () {
        const { model } = yield* setup({
          script: [Reply.text("hi")],
          limits: { requests: { limit: 60 }, tokens: { limit: 1000 } }
        })
        const pacer = yield* Pacer.make()
        yield* elapse(ask(around(model).pipe(ChatModel.pace(pacer))))
        const { inFlight, limits } = yield* pacer.state(ChatModel.keyOf(model))
        assert.strictEqual(inFlight, 0)
        assert.strictEqual(limits.requests?.limit, 60)
        assert.strictEqual(limits.requests?.source, "headers")
        assert.strictEqual(limits.tokens?.limit, 1000)
      })
    )
  }

  it.effect("a call that was turned away comes back by the pacer's time, and first", () =>
    Effect.gen(function* () {
      const { model, provider } = yield* setup({ script: [Fault.rateLimited(), Reply.text("hi")] })
      const pacer = yield* Pacer.make()
      const held = model.pipe(ChatModel.pace(pacer), ChatModel.retry(RetryPolicy.standard))
      const first = yield* Effect.fork(ask(held))
      yield* TestClock.adjust("1 millis")
      const later = yield* Effect.fork(ask(held))
      yield* TestClock.adjust("1 minute")
      yield* Fiber.join(first)
      yield* Fiber.join(later)
      assert.strictEqual((yield* provider.requests).length, 3)
    })
  )

  it.effect("an interrupted call leaves the queue, and one that runs gives back its place", () =>
    Effect.gen(function* () {
      const { model, sent } = yield* setup({ script: [Fault.hang, Reply.text("hi")] })
      const pacer = yield* Pacer.make(everySecond)
      const paced = model.pipe(ChatModel.pace(pacer))
      const running = yield* Effect.fork(ask(paced))
      yield* TestClock.adjust("1 millis")
      const waiting = yield* Effect.fork(ask(paced))
      yield* TestClock.adjust("1 millis")
      assert.strictEqual((yield* pacer.state(ChatModel.keyOf(model))).waiting, 1)
      yield* Fiber.interrupt(waiting)
      yield* Fiber.interrupt(running)
      const state = yield* pacer.state(ChatModel.keyOf(model))
      assert.deepStrictEqual([state.waiting, state.inFlight, yield* sent], [0, 0, 1])
    })
  )

  it.effect("a long pause sends the calls that wait to the fallback, at once", () =>
    Effect.gen(function* () {
      const first = yield* setup({ script: [Fault.rateLimited({ retryAfter: "1 hour" })] })
      const second = yield* setup({ script: [Reply.text("hi")] })
      const pacer = yield* Pacer.make({ requests: { limit: 1 } })
      const model = first.model.pipe(
        ChatModel.pace(pacer),
        ChatModel.retry(RetryPolicy.standard),
        ChatModel.orElse(second.model)
      )
      const asked = Effect.forEach([0, 1, 2], () => tagOf(ask(model)), { concurrency: "unbounded" })
      assert.deepStrictEqual(yield* elapse(asked, "0 millis"), ["ok", "ok", "ok"])
      assert.deepStrictEqual([yield* first.sent, yield* second.sent], [1, 3])
    })
  )

  for (const limits of [{}, { requests: { limit: 100 } }]) {
    it.effect(`no call waits for a long pause, nor for what is left of it: ${Object.keys(limits).length} limits`, () =>
      Effect.gen(function* () {
        const first = yield* setup({ script: [Fault.rateLimited({ retryAfter: "1 hour" })] })
        const second = yield* setup({ script: [Reply.text("hi")] })
        const pacer = yield* Pacer.make(limits)
        const model = first.model.pipe(
          ChatModel.pace(pacer),
          ChatModel.retry(RetryPolicy.standard),
          ChatModel.orElse(second.model)
        )
        for (const pause of ["0 millis", "1 minute", "50 minutes"] as const) {
          yield* TestClock.adjust(pause)
          assert.strictEqual(yield* elapse(tagOf(ask(model)), "0 millis"), "ok")
        }
        assert.deepStrictEqual([yield* first.sent, yield* second.sent], [1, 3])
      })
    )
  }

  it.effect("a wait that would outlive the deadline is not begun", () =>
    Effect.gen(function* () {
      const { model, sent } = yield* setup({ script: [Reply.text("hi")] })
      const pacer = yield* Pacer.make({ requests: { limit: 1 } })
      const held = model.pipe(ChatModel.pace(pacer), ChatModel.deadline("10 seconds"))
      yield* elapse(ask(held), "0 millis")
      const start = yield* Clock.currentTimeMillis
      assert.strictEqual(yield* elapse(tagOf(ask(held)), "0 millis"), "RateLimited")
      assert.strictEqual(yield* Clock.currentTimeMillis, start)
      assert.strictEqual(yield* sent, 1)
    })
  )
})

describe.each(ways)("spend, %s", (_, ask) => {
  const answer = Reply.text("hi", { usage: { inputTokens: 100, outputTokens: 50 } })

  it.effect("is charged for every attempt, and refuses by name before one is sent", () =>
    Effect.gen(function* () {
      const { model, sent } = yield* setup({ script: [answer] })
      const step = Effect.gen(function* () {
        yield* ask(model)
        yield* ask(model)
        const spent = yield* Spend.spent
        return [spent, yield* Effect.flip(ask(model))] as const
      }).pipe(Spend.within({ attempts: 2 }, { name: "step" }))
      const [spent, error] = yield* elapse(step)
      assert.deepStrictEqual([spent.tokens, spent.attempts], [300, 2])
      assert.strictEqual(error._tag === "BudgetExceeded" && error.budget, "attempts")
      assert.include(error.message, "step")
      assert.strictEqual(yield* sent, 2)
    })
  )

  it.effect("bounds the answer, so that the provider keeps the limit", () =>
    Effect.gen(function* () {
      const { model, provider } = yield* setup({ script: [answer] })
      yield* elapse(ask(model).pipe(Spend.within({ tokens: 500 })))
      const body = only(yield* provider.requests).body as { readonly max_completion_tokens?: number }
      assert.isAtMost(body.max_completion_tokens ?? Number.POSITIVE_INFINITY, 500)
    })
  )

  it.effect("counts dollars by the prices there are, and refuses what has none", () =>
    Effect.gen(function* () {
      const { model } = yield* setup({ script: [answer] })
      const priced = Prices.layer(Prices.table({ "openai/gpt-4o-mini": { input: 1, output: 10 } }))
      const cost = ask(model).pipe(Effect.zipRight(Spend.spent), Spend.within({ usd: 1 }))
      assert.closeTo((yield* elapse(Effect.provide(cost, priced))).usd, 0.0006, 1e-9)
      const error = yield* elapse(Effect.flip(cost))
      assert.strictEqual(error._tag === "BudgetExceeded" && error.budget, "usd")
    })
  )

  it.effect("charges the whole hold for an answer that does not tell its usage", () =>
    Effect.gen(function* () {
      const message = { role: "assistant", content: "hi" }
      const silent = Reply.json({ model: "gpt-4o-mini", choices: [{ index: 0, message, finish_reason: "stop" }] })
      const { model } = yield* setup({ script: [silent] })
      const cost = Effect.zip(ask(model), Spend.spent).pipe(Spend.within({ tokens: 10_000 }, { maxTokens: 200 }))
      const [answer, spent] = yield* elapse(cost)
      assert.deepStrictEqual([answer.text, answer.usage], ["hi", undefined])
      assert.deepStrictEqual([spent.tokens, spent.attempts], [Tokens.estimate(prompt) + 200, 1])
    })
  )
})

describe("a hedge", () => {
  it.effect("asks another where the first content is late, and the evidence tells it apart", () =>
    Effect.gen(function* () {
      // Some late streams teach the hedge first: after its delay a late stream takes long, so a hedge is worth it.
      const replies = Array.from({ length: 40 }, (_, i) =>
        Reply.text("one", { delay: i === 10 || i === 15 ? 5000 : 100 })
      )
      const first = yield* setup({ script: [...replies, Fault.hang] })
      const second = yield* setup({ script: [Reply.text("two", { delay: "100 millis" })] })
      const hedged = first.model.pipe(ChatModel.hedge(second.model))
      const read = ChatStream.collect(hedged.stream(prompt))
      yield* elapse(Effect.replicateEffect(read, 40))
      assert.strictEqual(yield* second.sent, 0)
      const { layer, records } = collectRecords()
      const answer = yield* elapse(Effect.provide(read, layer))
      assert.strictEqual(answer.text, "two")
      const { attempts } = only(records)
      assert.deepStrictEqual(
        attempts.map(({ hedge, outcome }) => [hedge, outcome]),
        [
          [undefined, "interrupted"],
          [true, "success"]
        ]
      )
    })
  )

  it.effect("is for streams alone", () =>
    Effect.gen(function* () {
      const first = yield* setup({ script: [Reply.text("one")] })
      const second = yield* setup({ script: [Reply.text("two")] })
      const hedged = first.model.pipe(ChatModel.hedge(second.model))
      yield* elapse(Effect.replicateEffect(hedged.generate(prompt), 50))
      yield* elapse(Stream.runDrain(hedged.stream(prompt)))
      assert.deepStrictEqual([yield* first.sent, yield* second.sent], [51, 0])
    })
  )
})

describe("the key of an attempt", () => {
  it.effect("is named in the record by a short hash, and never shown", () =>
    Effect.gen(function* () {
      const { layer, records } = collectRecords()
      const { model } = yield* setup({ script: [Reply.text("hi")] })
      yield* elapse(Effect.provide(model.generate(prompt), layer))
      assert.match(only(only(records).attempts).key ?? "", /^[0-9a-f]{8}$/)
      assert.notInclude(JSON.stringify(records), apiKey)
      assert.notInclude(ChatModel.keyOf(model), apiKey)
    })
  )
})
