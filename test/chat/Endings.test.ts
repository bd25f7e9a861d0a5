import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Fiber, Redacted, Stream, TestClock, Tracer } from "effect"
import { Chat, ChatModel, CircuitBreaker, KeyPool, LlmError, Pacer, Prices, RetryPolicy, Spend } from "effect-steadfast"
import { collectRecords, only } from "../support/evidence.js"

const answer: Chat.Response = {
  provider: "memory",
  model: "m",
  text: "hi",
  toolCalls: [],
  finishReason: "stop",
  usage: { inputTokens: 1, outputTokens: 1 }
}

type Generate = ChatModel.Leaf["generate"]

/** Every policy around every key, and what each of them still waits for. */
const surrounded = (
  generate: Generate,
  affinity?: (request: Chat.Request) => string | undefined,
  limits: Pacer.Options = {}
) =>
  Effect.gen(function* () {
    const pacer = yield* Pacer.make(limits)
    // Half-open, so that each call is a probe, and its place shows that its end was heard.
    const breaker = yield* CircuitBreaker.make({ tripPolicy: CircuitBreaker.consecutive(1) })
    yield* Effect.exit(breaker.execute(Effect.fail(down), { key: "target" }))
    yield* TestClock.adjust("1 second")
    const pool = yield* KeyPool.make({ keys: [Redacted.make("sk-a")] })
    const leaf = (key: string) => ChatModel.make({ provider: "memory", model: "m", key, generate, stream: broken })
    const pooled = yield* ChatModel.pooled(
      pool,
      () => Effect.succeed(leaf("a").pipe(ChatModel.pace(pacer, { key: "lane" }))),
      { affinity }
    )
    return {
      model: pooled.pipe(ChatModel.breaker(breaker, { key: "target" }), ChatModel.retry(RetryPolicy.standard)),
      left: Effect.gen(function* () {
        const { inFlight, waiting } = yield* pacer.state("lane")
        const circuit = yield* breaker.state("target")
        return {
          open: circuit._tag === "HalfOpen" ? circuit.probes : 0,
          inFlight,
          waiting,
          keys: only([...(yield* pool.states).values()]).inFlight
        }
      })
    }
  })

const down = new LlmError.ServerError({ provider: "memory", message: "down", delivery: "unknown" })

const nothing = { open: 0, inFlight: 0, waiting: 0, keys: 0 }

const broken = (): never => {
  throw new Error("a bug")
}

const died = (exit: Exit.Exit<unknown, unknown>): boolean =>
  Exit.isFailure(exit) && Cause.isDie(exit.cause) && Cause.pretty(exit.cause).includes("a bug")

const fine: Generate = () => Effect.succeed(answer)

/** A span that cannot be ended. */
const brokenTracer = Tracer.make({
  span: (name, parent, context, links, startTime, kind) => ({
    _tag: "Span",
    spanId: "1",
    traceId: "1",
    name,
    sampled: true,
    parent,
    context,
    links,
    kind,
    status: { _tag: "Started", startTime },
    attributes: new Map(),
    attribute: () => {},
    event: () => {},
    addLinks: () => {},
    end: name === "attempt" ? broken : () => {}
  }),
  context: (f) => f()
})

type Ask = Effect.Effect<Chat.Response, LlmError.LlmError>

const priced: Prices.PriceList = { ...Prices.table({}), bound: broken }

const breaking: Readonly<
  Record<string, readonly [Generate, ((request: Chat.Request) => string) | undefined, (ask: Ask) => Ask]>
> = {
  "a leaf": [broken, undefined, (ask) => ask],
  "the effect of a leaf": [() => Effect.sync(broken), undefined, (ask) => ask],
  "what a leaf does later": [() => Effect.delay(Effect.sync(broken), "1 second"), undefined, (ask) => ask],
  "an affinity": [fine, broken, (ask) => ask],
  "a tracer": [fine, undefined, (ask) => Effect.withTracer(ask, brokenTracer)]
}

describe("whatever throws, every policy hears of the end", () => {
  for (const [name, [generate, affinity, around]] of Object.entries(breaking)) {
    it.effect(name, () =>
      Effect.gen(function* () {
        const { left, model } = yield* surrounded(generate, affinity)
        const fiber = yield* Effect.fork(Effect.exit(around(model.generate(Chat.prompt("hi", { maxTokens: 5 })))))
        yield* TestClock.adjust("5 seconds")
        assert.isTrue(died(yield* Fiber.join(fiber)))
        assert.deepStrictEqual(yield* left, nothing)
      })
    )
  }

  it.effect("and of a price list that throws, which is a refusal and no defect", () =>
    Effect.gen(function* () {
      const { left, model } = yield* surrounded(fine, undefined)
      const ask = Effect.provide(model.generate(Chat.prompt("hi", { maxTokens: 5 })), Prices.layer(priced))
      const fiber = yield* Effect.fork(Effect.flip(Spend.within(ask, { usd: 1 })))
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual((yield* Fiber.join(fiber))._tag, "BudgetExceeded")
      assert.deepStrictEqual(yield* left, nothing)
    })
  )

  const ways: Readonly<Record<string, (model: ChatModel.ChatModel) => Effect.Effect<unknown, LlmError.LlmError>>> = {
    generate: (model) => model.generate(Chat.prompt("hi")),
    stream: (model) => Stream.runDrain(model.stream(Chat.prompt("hi")))
  }
  for (const [name, ask] of Object.entries(ways)) {
    it.effect(`and the attempt of a leaf that throws is recorded, ${name}`, () =>
      Effect.gen(function* () {
        const { layer, records } = collectRecords()
        const { left, model } = yield* surrounded(broken)
        assert.isTrue(died(yield* Effect.exit(Effect.provide(ask(model), layer))))
        assert.strictEqual(only(only(records).attempts).outcome, "defect")
        assert.deepStrictEqual(yield* left, nothing)
      })
    )
  }
})

describe("wherever a call is interrupted, every policy hears of the end", () => {
  it.effect("while it is answered", () =>
    Effect.gen(function* () {
      const { left, model } = yield* surrounded(() => Effect.never)
      const fiber = yield* Effect.fork(model.generate(Chat.prompt("hi")))
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* left, { open: 1, inFlight: 1, waiting: 0, keys: 1 })
      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual(yield* left, nothing)
    })
  )

  it.effect("while it waits for a key", () =>
    Effect.gen(function* () {
      const { left, model } = yield* surrounded(fine, undefined, { requests: { limit: 1, window: "30 seconds" } })
      yield* model.generate(Chat.prompt("hi"))
      const { layer, records } = collectRecords()
      const fiber = yield* Effect.fork(Effect.provide(model.generate(Chat.prompt("hi")), layer))
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* left, { open: 1, inFlight: 0, waiting: 0, keys: 0 })
      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual(yield* left, nothing)
      assert.lengthOf(only(records).attempts, 0)
    })
  )

  it.effect("while it waits for a place", () =>
    Effect.gen(function* () {
      const { left, model } = yield* surrounded(
        () => Effect.succeed({ ...answer, usage: { inputTokens: 40, outputTokens: 50 } }),
        undefined,
        { tokens: { limit: 100 } }
      )
      yield* model.generate(Chat.prompt("hi", { maxTokens: 80 }))
      const { layer, records } = collectRecords()
      const fiber = yield* Effect.fork(Effect.provide(model.generate(Chat.prompt("hi", { maxTokens: 80 })), layer))
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* left, { open: 1, inFlight: 0, waiting: 1, keys: 1 })
      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual(yield* left, nothing)
      assert.lengthOf(only(records).attempts, 0)
    })
  )
})
