import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Fiber, FastCheck as fc, LogLevel, Option, Random, Schedule, TestClock } from "effect"
import {
  Call,
  CircuitBreaker,
  LlmError,
  Pacer,
  Prices,
  Resilience,
  RetryBudget,
  RetryPolicy,
  Spend
} from "effect-steadfast"
import * as EmbeddingModel from "effect-steadfast/EmbeddingModel"
import { Fault, FaultyProvider, Reply } from "effect-steadfast/testing"
import { breathe, cases } from "../support/cases.js"
import { collect, only } from "../support/evidence.js"
import { simulate } from "../support/simulate.js"
import { inputs, memory, modelOf, vectorOf } from "./support.js"

const texts = (count: number) => Array.from({ length: count }, (_, index) => `text ${index}`)

/** Runs under `TestClock` until it ends. */
const elapse = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const fiber = yield* Effect.fork(effect)
    yield* TestClock.adjust("1 hour")
    return yield* Fiber.join(fiber)
  })

const errorOf = <A>(exit: Exit.Exit<A, LlmError.LlmError>): LlmError.LlmError => {
  const error = Exit.isFailure(exit) ? Option.getOrUndefined(Cause.failureOption(exit.cause)) : undefined
  if (error === undefined) throw new Error("expected a failure")
  return error
}

describe("embed", () => {
  it.effect("gives a vector for each text in order, in as few requests as the limits allow", () =>
    Effect.gen(function* () {
      const { asked, model } = memory(undefined, { limits: { inputs: 4 } })
      const answer = yield* model.embed({ input: texts(10) })
      assert.deepStrictEqual(answer.vectors, texts(10).map(vectorOf))
      assert.deepStrictEqual(answer.usage, { inputTokens: 10, outputTokens: 0 })
      assert.deepStrictEqual(
        asked.map(({ length }) => length),
        [4, 4, 2]
      )
    })
  )

  it.effect("takes one text as a list of one", () =>
    Effect.gen(function* () {
      const { model } = memory()
      assert.deepStrictEqual((yield* model.embed({ input: "text 7" })).vectors, [vectorOf("text 7")])
      assert.deepStrictEqual(yield* EmbeddingModel.embedOne(model, "text 7"), vectorOf("text 7"))
      assert.deepStrictEqual(yield* EmbeddingModel.embedMany(model, texts(2)), texts(2).map(vectorOf))
    })
  )

  it.effect("answers no input without a request and without a record", () =>
    Effect.gen(function* () {
      const { asked, model } = memory()
      const evidence = collect()
      const answer = yield* Effect.provide(model.embed({ input: [] }), evidence.layer)
      assert.deepStrictEqual(answer, { vectors: [], provider: "p", model: "m-1" })
      assert.isEmpty(asked)
      assert.isEmpty(evidence.records)
    })
  )

  it.effect("refuses a text above the window before anything is sent, with a record", () =>
    Effect.gen(function* () {
      const { asked, model } = memory(undefined, { limits: { inputTokens: 3, count: (text) => text.length } })
      const evidence = collect()
      const error = yield* Effect.flip(Effect.provide(model.embed({ input: ["abc", "abcd"] }), evidence.layer))
      assert.strictEqual(error._tag, "ContextLengthExceeded")
      assert.strictEqual(error.message, "input 1 of 2: found 4 tokens, expected at most 3")
      assert.strictEqual(error.delivery, "not-sent")
      assert.isEmpty(asked)
      assert.strictEqual(only(evidence.records).outcome, "failure")
    })
  )

  it.effect.each(["dimensions", "concurrency"] as const)("refuses %s that are no count", (name) =>
    Effect.gen(function* () {
      const { asked, model } = memory()
      for (const found of [0, -1, 1.5, Number.NaN]) {
        const error = yield* Effect.flip(model.embed({ input: "a", [name]: found }))
        assert.strictEqual(error._tag, "InvalidRequest")
        assert.include(error.message, `${name}: found ${found}`)
      }
      assert.isEmpty(asked)
    })
  )

  it.effect("asks for as many parts at a time as the request says", () =>
    Effect.gen(function* () {
      for (const [concurrency, most] of [
        [1, 1],
        [3, 3],
        [undefined, 4]
      ] as const) {
        let open = 0
        let seen = 0
        const { model } = memory(
          () => {
            open++
            seen = Math.max(seen, open)
            return { millis: 10 }
          },
          { limits: { inputs: 1 } }
        )
        const closing = EmbeddingModel.compose({
          name: "counted",
          about: model[EmbeddingModel.TypeId],
          ask: (part) =>
            Effect.ensuring(
              model[EmbeddingModel.TypeId].ask(part),
              Effect.sync(() => open--)
            )
        })
        yield* elapse(closing.embed({ input: texts(10), concurrency }))
        assert.strictEqual(seen, most)
      }
    })
  )

  it.effect("is one call with one record of all attempts", () =>
    Effect.gen(function* () {
      const { model } = memory(undefined, { limits: { inputs: 2 } })
      const evidence = collect()
      yield* model.embed({ input: texts(5) }).pipe(Call.withLabels({ tenant: "t-1" }), Effect.provide(evidence.layer))
      const record = only(evidence.records)
      assert.strictEqual(record.operation, "embeddings")
      assert.deepStrictEqual(record.labels, { tenant: "t-1" })
      assert.deepStrictEqual(
        record.attempts.map(({ index, outcome, usage }) => [index, outcome, usage?.inputTokens]),
        [
          [1, "success", 2],
          [2, "success", 2],
          [3, "success", 1]
        ]
      )
    })
  )

  it.effect("joins an open call, whose first attempt tells the operation", () =>
    Effect.gen(function* () {
      const { model } = memory()
      const evidence = collect()
      yield* model.embed({ input: "a" }).pipe(Call.make("index"), Effect.provide(evidence.layer))
      const { name, operation } = only(evidence.records)
      assert.deepStrictEqual([name, operation], ["index", "embeddings"])
    })
  )
})

describe("a part that fails", () => {
  it.effect("is asked for again alone", () =>
    Effect.gen(function* () {
      const failing = new Map([["text 2", 2]])
      const { asked, model } = memory(
        ({ input }) => {
          const left = failing.get(input[0] ?? "") ?? 0
          failing.set(input[0] ?? "", left - 1)
          return left > 0 ? { error: "server" } : undefined
        },
        { limits: { inputs: 2 } }
      )
      const held = EmbeddingModel.retry(model, RetryPolicy.standard)
      const answer = yield* elapse(held.embed({ input: texts(6) }))
      assert.deepStrictEqual(answer.vectors, texts(6).map(vectorOf))
      assert.deepStrictEqual(
        asked.map(([first]) => first).sort(),
        ["text 0", "text 2", "text 2", "text 2", "text 4"].sort()
      )
    })
  )

  it.effect("for good says which inputs it had, and ends the others", () =>
    Effect.gen(function* () {
      const { model } = memory(({ input }) => (input.includes("text 3") ? { error: "request" } : { millis: 1000 }), {
        limits: { inputs: 2 }
      })
      const evidence = collect()
      const error = yield* Effect.flip(
        elapse(
          Effect.provide(EmbeddingModel.retry(model, RetryPolicy.standard).embed({ input: texts(5) }), evidence.layer)
        )
      )
      assert.strictEqual(error._tag, "InvalidRequest")
      assert.strictEqual(error.message, "inputs 2 to 3 of 5: request")
      assert.strictEqual(error.status, 400)
      const record = only(evidence.records)
      assert.deepStrictEqual(record.attempts.map(({ outcome }) => outcome).sort(), [
        "failure",
        "interrupted",
        "interrupted"
      ])
      assert.strictEqual(record.error?.message, error.message)
    })
  )

  it.effect("of a request in one part keeps its message", () =>
    Effect.gen(function* () {
      const { model } = memory(() => ({ error: "request" }))
      assert.strictEqual((yield* Effect.flip(model.embed({ input: texts(5) }))).message, "request")
    })
  )

  it.effect("keeps the law: order kept, each text once, attempts bounded, only failed parts repeated", () => {
    const faults = fc.array(fc.integer({ min: 0, max: 4 }), { minLength: 1, maxLength: 12 })
    const law = fc.asyncProperty(
      faults,
      fc.integer({ min: 1, max: 4 }),
      fc.integer({ min: 1, max: 5 }),
      fc.integer({ min: 1, max: 5 }),
      async (failures, size, concurrency, maxAttempts) => {
        const input = texts(failures.length * size)
        const sent = new Map<number, number>()
        const { asked, model } = memory(
          ({ from }) => {
            const part = from / size
            const before = sent.get(part) ?? 0
            sent.set(part, before + 1)
            return { millis: 7 * ((part % 3) + 1), error: before < (failures[part] ?? 0) ? "server" : undefined }
          },
          { limits: { inputs: size } }
        )
        // A schedule of its own, without a budget: the law is about the parts.
        const policy = Schedule.intersect(Schedule.spaced(50), Schedule.recurs(maxAttempts - 1))
        const inside = model[EmbeddingModel.TypeId]
        const held = EmbeddingModel.compose({
          name: "held",
          about: inside,
          ask: (part) => Resilience.retry(inside.ask(part), policy)
        })
        const evidence = collect(LogLevel.None)
        await breathe()
        const exit = simulate(Effect.exit(Effect.provide(held.embed({ input, concurrency }), evidence.layer)))
        const record = only(evidence.records)
        assert.strictEqual(record.attempts.length, asked.length)
        for (const count of sent.values()) assert.isAtMost(count, maxAttempts)
        if (failures.every((count) => count < maxAttempts)) {
          if (!Exit.isSuccess(exit)) throw new Error("expected vectors")
          assert.deepStrictEqual(exit.value.vectors, input.map(vectorOf))
          for (const [part, count] of failures.entries()) assert.strictEqual(sent.get(part), count + 1)
        } else {
          assert.match(errorOf(exit).message, failures.length === 1 ? /^server$/ : /^inputs? \d/)
        }
      }
    )
    return Effect.promise(() => fc.assert(law, { numRuns: cases(2000) }))
  })
})

describe("time", () => {
  it.effect("a deadline that is outermost limits all parts together", () =>
    Effect.gen(function* () {
      const { asked, model } = memory(() => ({ millis: 400 }), { limits: { inputs: 1 } })
      const held = EmbeddingModel.deadline(model, "1 second")
      const fiber = yield* Effect.fork(Effect.exit(held.embed({ input: texts(5), concurrency: 1 })))
      yield* TestClock.adjust("1 second")
      const error = errorOf(yield* Fiber.join(fiber))
      assert.strictEqual(error._tag, "Timeout")
      assert.propertyVal(error, "phase", "total")
      assert.lengthOf(asked, 3)
    })
  )

  it.effect("holds for parts that are asked for at the same time, and keeps its name", () =>
    Effect.gen(function* () {
      const { model } = memory(() => ({ millis: 400 }), { limits: { inputs: 1 } })
      const held = model.pipe(EmbeddingModel.deadline("300 millis"), EmbeddingModel.named("index"))
      assert.strictEqual(held.name, "index")
      const fiber = yield* Effect.fork(Effect.exit(held.embed({ input: texts(5) })))
      yield* TestClock.adjust("300 millis")
      assert.propertyVal(errorOf(yield* Fiber.join(fiber)), "phase", "total")
    })
  )

  it.effect("inside of another policy it limits each part", () =>
    Effect.gen(function* () {
      const { model } = memory(() => ({ millis: 400 }), { limits: { inputs: 1 } })
      const held = model.pipe(EmbeddingModel.deadline("1 second"), EmbeddingModel.retry(RetryPolicy.standard))
      const answer = yield* elapse(held.embed({ input: texts(5), concurrency: 1 }))
      assert.lengthOf(answer.vectors, 5)
    })
  )

  it.effect("a timeout limits each attempt", () =>
    Effect.gen(function* () {
      let attempts = 0
      const { model } = memory(() => ({ millis: attempts++ === 0 ? 60_000 : 10 }))
      const held = model.pipe(EmbeddingModel.timeout("1 second"), EmbeddingModel.retry(RetryPolicy.standard))
      const evidence = collect()
      yield* elapse(Effect.provide(held.embed({ input: "a" }), evidence.layer))
      const [first, second] = only(evidence.records).attempts
      assert.propertyVal(first?.error, "phase", "attempt")
      assert.strictEqual(second?.outcome, "success")
    })
  )
})

describe("fallback", () => {
  it.effect("asks the other model for the part that failed, and says so", () =>
    Effect.gen(function* () {
      const first = memory(({ from }) => (from === 2 ? { error: "auth" } : undefined), { limits: { inputs: 2 } })
      const second = memory(undefined, { provider: "q" })
      const evidence = collect()
      const held = EmbeddingModel.orElse(first.model, second.model)
      const answer = yield* Effect.provide(held.embed({ input: texts(6) }), evidence.layer)
      assert.deepStrictEqual(answer.vectors, texts(6).map(vectorOf))
      assert.deepStrictEqual(second.asked, [["text 2", "text 3"]])
      const fallen = only(only(evidence.records).attempts.filter(({ fallback }) => fallback !== undefined))
      assert.deepStrictEqual(fallen.fallback, { from: "p/m-1", reason: "AuthError" })
    })
  )

  it.effect("keeps the narrower limits, and does not go over for a mistake of the caller", () =>
    Effect.gen(function* () {
      const first = memory(() => ({ error: "request" }), { limits: { inputs: 10 } })
      const second = memory(undefined, { provider: "q", limits: { inputs: 3 } })
      const held = EmbeddingModel.orElse(first.model, second.model)
      assert.strictEqual(held[EmbeddingModel.TypeId].limits.inputs, 3)
      yield* Effect.flip(held.embed({ input: texts(4) }))
      assert.isEmpty(second.asked)
      const wide = EmbeddingModel.orElse(first.model, second.model, { when: { InvalidRequest: true } })
      assert.lengthOf((yield* wide.embed({ input: texts(4) })).vectors, 4)
    })
  )

  it.effect("draws on the budget of its group only if the part itself was sent, whatever the other parts do", () =>
    Effect.gen(function* () {
      const run = (sent: boolean, error?: "server") => {
        const first = memory(({ from }) => (from === 1 ? { millis: 10, error: "server" } : undefined), {
          limits: { inputs: 1 }
        })
        const inside = first.model[EmbeddingModel.TypeId]
        const refusal = new LlmError.CircuitOpen({ provider: "p", model: "m-1", message: "shut", delivery: "not-sent" })
        const gated = EmbeddingModel.compose({
          name: "gated",
          about: inside,
          // The other parts are sent while this one waits.
          ask: (part) => (part.from === 1 && !sent ? Effect.delay(Effect.fail(refusal), "10 millis") : inside.ask(part))
        })
        const spare = memory(() => ({ error }))
        const asked = EmbeddingModel.orElse(gated, spare.model).embed({ input: texts(3) })
        return Effect.map(Effect.exit(asked), (exit) => [Exit.isSuccess(exit), spare.asked.length])
      }
      const all = Effect.all([run(true, "server"), run(true), run(false)])
      // One draw, which an answer would give back, and none for a day.
      const budget = RetryBudget.layer({ cap: 1, ratio: 0, reserve: "1 day" })
      assert.deepStrictEqual(yield* elapse(Effect.provide(all, budget)), [
        [false, 1],
        [false, 0],
        [true, 1]
      ])
    })
  )
})

describe("spaces", () => {
  const of = (space: string | undefined, more: Partial<EmbeddingModel.Leaf> = {}) =>
    memory(undefined, { space, provider: "q", ...more }).model

  it("are refused at composition if they differ", () => {
    const say = /^EmbeddingModel.orElse: found p\/m-1 of the space "m\/3" and q\/m-1 of the space "n\/3", expected/
    assert.throws(() => EmbeddingModel.orElse(of("m/3", { provider: "p" }), of("n/3")), RangeError, say)
    assert.throws(() => EmbeddingModel.balance([of("m/3"), of("m/4")]), RangeError, /^EmbeddingModel.balance: found/)
    assert.throws(
      () => Effect.runSync(EmbeddingModel.resilient([of("m/3"), of("m/4")])),
      /expected models of one space/
    )
  })

  it("must be stated where they are not known, unless the models are the same one", () => {
    assert.throws(() => EmbeddingModel.orElse(of(undefined), of("m/3")), RangeError, /state the same `space` for both/)
    assert.throws(() => EmbeddingModel.orElse(of(undefined), of(undefined, { provider: "r" })), RangeError)
    assert.strictEqual(EmbeddingModel.orElse(of(undefined), of(undefined, { key: "b" })).space, undefined)
  })

  it("are known by the model and its dimensions", () => {
    const known = { model: "text-embedding-3-small" }
    assert.strictEqual(of(undefined, known).space, "text-embedding-3-small/1536")
    assert.strictEqual(of(undefined, { ...known, dimensions: 256 }).space, "text-embedding-3-small/256")
    assert.strictEqual(of(undefined, { model: "openai/text-embedding-3-large" }).space, "text-embedding-3-large/3072")
    assert.throws(() => EmbeddingModel.orElse(of(undefined, known), of(undefined, { ...known, dimensions: 256 })))
  })
})

describe("vectors", () => {
  const answering = (vectors: ReadonlyArray<ReadonlyArray<number>>, options: Partial<EmbeddingModel.Leaf> = {}) =>
    EmbeddingModel.make({
      provider: "p",
      model: "m-1",
      ...options,
      embed: () => Effect.succeed({ vectors })
    })

  it.effect.each([
    ["one too few", [[1, 2]], "found 1 vectors, expected 2"],
    ["one too many", [[1], [2], [3]], "found 3 vectors, expected 2"],
    ["of two lengths", [[1, 2], [1]], "vector 1: found 1 numbers, expected 2"],
    ["empty", [[], []], "vector 0: found 0 numbers"],
    ["NaN", [[1], [Number.NaN]], "vector 1: found NaN at 0"],
    ["infinite", [[1], [Number.POSITIVE_INFINITY]], "vector 1: found Infinity at 0"],
    ["null", [[1], [null as unknown as number]], "vector 1: found null at 0"],
    ["text", [["1" as unknown as number], [1]], "vector 0: found 1 at 0"]
  ] as const)("that are %s are an InvalidResponse, which is retried", ([, vectors, message]) =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(answering(vectors).embed({ input: ["a", "b"] }))
      assert.strictEqual(error._tag, "InvalidResponse")
      assert.include(error.message, message)
      assert.isUndefined(error.retryable)
    })
  )

  it.effect("of another length than the space, the model or the request says are refused for good", () =>
    Effect.gen(function* () {
      for (const [options, dimensions] of [
        [{ space: "x/4" }, undefined],
        [{ dimensions: 4 }, undefined],
        [{ model: "text-embedding-3-small" }, undefined],
        [{}, 4]
      ] as const) {
        const error = yield* Effect.flip(answering([[1, 2]], options).embed({ input: "a", dimensions }))
        assert.match(error.message, /^found vectors of 2 numbers, expected (?:4|1536)$/)
        assert.isFalse(error.retryable)
      }
      assert.lengthOf((yield* answering([[1, 2]], { space: "x/4" }).embed({ input: "a", dimensions: 2 })).vectors, 1)
    })
  )
})

describe("traffic", () => {
  it.effect("a breaker hears of each part, and opens", () =>
    Effect.gen(function* () {
      const breaker = yield* CircuitBreaker.make({ tripPolicy: CircuitBreaker.consecutive(3) })
      const { asked, model } = memory(() => ({ error: "server" }))
      const held = EmbeddingModel.breaker(model, breaker)
      for (let i = 0; i < 3; i++) yield* Effect.flip(held.embed({ input: "a" }))
      const other = memory(undefined, { provider: "q" })
      yield* EmbeddingModel.orElse(held, other.model).embed({ input: "a" })
      assert.lengthOf(asked, 3)
      assert.lengthOf(other.asked, 1)
    })
  )

  it.effect("a pacer starts parts as fast as the limits allow", () =>
    Effect.gen(function* () {
      const pacer = yield* Pacer.make({ requests: { limit: 60, burst: 1 } })
      const times: Array<number> = []
      const clock = yield* Effect.clock
      const { model } = memory(
        () => {
          times.push(clock.unsafeCurrentTimeMillis())
          return undefined
        },
        { limits: { inputs: 1 } }
      )
      yield* elapse(EmbeddingModel.pace(model, pacer).embed({ input: texts(4) }))
      const gaps = times.slice(1).map((at, index) => at - (times[index] as number))
      assert.lengthOf(gaps, 3)
      for (const gap of gaps) assert.isAtLeast(gap, 999)
    })
  )

  it.effect("a balance spreads parts, goes on with the next member, and keeps their order", () =>
    Effect.gen(function* () {
      const east = memory(undefined, { limits: { inputs: 1 } })
      const west = memory(undefined, { provider: "q" })
      const held = EmbeddingModel.balance([{ model: east.model, weight: 1 }, west.model])
      const answer = yield* held.embed({ input: texts(20) })
      assert.deepStrictEqual(answer.vectors, texts(20).map(vectorOf))
      assert.strictEqual(east.asked.length + west.asked.length, 20)
      assert.isAtLeast(Math.min(east.asked.length, west.asked.length), 5)
      assert.strictEqual(held.space, "m/3")
    })
  )

  it.effect("affinity sends requests with one key to one member", () =>
    Effect.gen(function* () {
      const members = [memory(), memory(undefined, { provider: "q" }), memory(undefined, { provider: "r" })]
      const held = EmbeddingModel.balance(
        members.map(({ model }) => model),
        { affinity: ({ input }) => (Array.isArray(input) ? "list" : "one") }
      )
      for (let i = 0; i < 9; i++) yield* held.embed({ input: ["a"] })
      assert.deepStrictEqual(members.map(({ asked }) => asked.length).sort(), [0, 0, 9])
    })
  )
})

describe("spend", () => {
  it.effect("holds each part, and refuses one that passes the limit", () =>
    Effect.gen(function* () {
      const { asked, model } = memory(undefined, { limits: { inputs: 2 } })
      const error = yield* Effect.flip(
        model.embed({ input: texts(6), concurrency: 1 }).pipe(Spend.within({ attempts: 2 }))
      )
      assert.strictEqual(error._tag, "BudgetExceeded")
      assert.match(error.message, /^inputs 4 to 5 of 6: /)
      assert.lengthOf(asked, 2)
    })
  )

  it.effect("prices the tokens of the prompt alone", () =>
    Effect.gen(function* () {
      const { model } = memory()
      const evidence = collect()
      const prices = Prices.layer(Prices.table({ "p/m-1": { input: 1_000_000, output: 5_000_000 } }))
      yield* model.embed({ input: texts(3) }).pipe(Effect.provide(evidence.layer), Effect.provide(prices))
      assert.strictEqual(only(only(evidence.records).attempts).usd, 3)
    })
  )
})

describe("resilient", () => {
  it.effect("recovers parts from faults in the order of Resilient", () =>
    Effect.gen(function* () {
      const provider = yield* FaultyProvider.make({
        script: [Fault.status(503), Fault.rateLimited({ retryAfter: "2 seconds" }), Fault.resetInBody(), Reply.text("")]
      })
      const model = yield* EmbeddingModel.resilient(yield* modelOf(provider, { limits: { inputs: 3 } }), {
        deadline: "5 minutes",
        name: "index"
      })
      const evidence = collect()
      const answer = yield* elapse(model.embed({ input: texts(7) }).pipe(Effect.provide(evidence.layer)))
      assert.lengthOf(answer.vectors, 7)
      const record = only(evidence.records)
      assert.strictEqual(record.name, "index")
      assert.deepStrictEqual(record.attempts.map(({ error }) => error?._tag).filter(Boolean), [
        "Overloaded",
        "RateLimited",
        "ConnectionError"
      ])
      const counts = new Map<unknown, number>()
      for (const input of inputs(yield* provider.requests)) {
        const name = JSON.stringify(input)
        counts.set(name, (counts.get(name) ?? 0) + 1)
      }
      assert.strictEqual(counts.size, 3)
      assert.strictEqual(
        [...counts.values()].reduce((a, b) => a + b),
        6
      )
    }).pipe(Effect.withRandom(Random.make("resilient")))
  )

  it("needs a target", () => {
    assert.throws(() => EmbeddingModel.resilient([]), RangeError, /^EmbeddingModel.resilient: targets/)
  })
})
