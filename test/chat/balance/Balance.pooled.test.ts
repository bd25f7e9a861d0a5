import { assert, describe, it } from "@effect/vitest"
import { Clock, Duration, Effect, Fiber, Logger, LogLevel, TestClock } from "effect"
import { type CallRecord, Chat, ChatModel, type LlmError, RetryBudget } from "effect-steadfast"
import * as KeyPool from "../../../src/policies/balance/KeyPool.js"
import * as CircuitBreaker from "../../../src/policies/circuit/CircuitBreaker.js"
import { errorOf, hinted } from "../../support/errors.js"
import { collect } from "../../support/evidence.js"
import { simulate } from "../../support/simulate.js"
import { errorIn, under } from "../../support/time.js"
import { type Answer, errorTag, memberOf, pooledOf, ways } from "./Balance.support.js"

const prompt = Chat.prompt("Hello")
const keys = ["a", "b", "c", "d", "e"]
const fine = () => undefined

/** A pool of which some keys answer with an error. */
const broken = (errors: { readonly [key: string]: LlmError.LlmError }, among: ReadonlyArray<string> = keys) =>
  pooledOf(among, (key) => ({ error: errors[key] }))

for (const [name, ask] of Object.entries(ways)) {
  describe(`pooled, asked to ${name}`, () => {
    it.effect("gives every key a turn", () =>
      Effect.gen(function* () {
        const { all, model } = yield* pooledOf(keys, fine)
        for (let i = 0; i < 10; i++) yield* ask(model, prompt)
        assert.deepStrictEqual(keys.map(all.count), [2, 2, 2, 2, 2])
      })
    )

    for (const error of [
      errorOf("AuthError"),
      errorOf("QuotaExhausted"),
      errorOf("RateLimited"),
      hinted("20 seconds")
    ]) {
      it.effect(`goes on with another key at once after ${error._tag}`, () =>
        Effect.gen(function* () {
          const { all, model } = yield* broken({ a: error })
          for (let i = 0; i < 10; i++) {
            const { exit, millis } = yield* under(ask(model, prompt), "1 millis")
            assert.strictEqual(errorTag(exit), "answered")
            assert.strictEqual(millis, 0)
          }
          assert.strictEqual(all.count("a"), 1)
        })
      )
    }

    it.effect("asks each key at most once, and then fails with the error that another attempt may mend", () =>
      Effect.gen(function* () {
        const { all, model } = yield* broken(
          { a: errorOf("AuthError"), b: hinted("90 seconds"), c: errorOf("QuotaExhausted") },
          ["a", "b", "c"]
        )
        const { exit } = yield* under(ask(model, prompt))
        assert.strictEqual(errorTag(exit), "RateLimited")
        assert.deepStrictEqual(["a", "b", "c"].map(all.count), [1, 1, 1])
      })
    )

    it.effect("lets every other error stand", () =>
      Effect.gen(function* () {
        for (const tag of ["ServerError", "InvalidRequest", "Timeout", "Overloaded", "PermissionDenied"] as const) {
          const { all, model } = yield* pooledOf(keys, () => ({ error: errorOf(tag) }))
          const { exit } = yield* under(ask(model, prompt))
          assert.strictEqual(errorTag(exit), tag)
          assert.strictEqual(all.names().length, 1)
        }
      })
    )

    it.effect("does not run again what may have been run", () =>
      Effect.gen(function* () {
        const { all, model } = yield* pooledOf(keys, () => ({ error: errorOf("RateLimited", { delivery: "unknown" }) }))
        const { exit } = yield* under(ask(model, { ...prompt, idempotent: false }))
        assert.strictEqual(errorTag(exit), "RateLimited")
        assert.strictEqual(all.names().length, 1)
      })
    )

    it.effect("says so where all keys are refused", () =>
      Effect.gen(function* () {
        const { all, model } = yield* pooledOf(keys, () => ({ error: errorOf("AuthError") }))
        assert.strictEqual(errorTag((yield* under(ask(model, prompt), "0 millis")).exit), "AuthError")
        assert.strictEqual(all.names().length, 5)
        const { exit, millis } = yield* under(ask(model, prompt), "1 second")
        const error = errorIn(exit)
        assert.strictEqual(error?._tag, "CircuitOpen")
        assert.strictEqual(error?.message, "all 5 keys are out: AuthError")
        assert.strictEqual(error?.provider, "openai")
        assert.isAtMost(Duration.toMillis(error?.hint ?? Duration.infinity), 60_000)
        assert.strictEqual(millis, 0, "nobody waits for dead keys")
        assert.strictEqual(all.names().length, 5)
      })
    )

    it.effect("waits for the first key that comes back", () =>
      Effect.gen(function* () {
        const hints: { readonly [key: string]: Duration.DurationInput } = { a: "30 seconds", b: "10 seconds" }
        const { all, model } = yield* pooledOf(["a", "b", "c"], (key, nth) =>
          nth > 1 ? undefined : { error: key === "c" ? errorOf("AuthError") : hinted(hints[key] ?? 0) }
        )
        yield* Effect.forEach([1, 2, 3], () => Effect.fork(Effect.exit(ask(model, prompt))))
        yield* TestClock.adjust("1 millis")
        assert.strictEqual(all.names().length, 3)
        const { exit, millis } = yield* under(ask(model, prompt))
        assert.strictEqual(exit._tag === "Success" && exit.value, "b")
        assert.isAtLeast(millis, 9999)
        assert.isAtMost(millis, 10_200)
      })
    )

    it.effect("does not wait longer than it may, nor beyond the deadline", () =>
      Effect.gen(function* () {
        const limited = (hint: Duration.DurationInput, options: Partial<KeyPool.Options> = {}) =>
          Effect.gen(function* () {
            const pooled = yield* pooledOf(["a", "b"], () => ({ error: hinted(hint) }), options)
            yield* under(ask(pooled.model, prompt), "0 millis")
            return pooled.model
          })
        const far = yield* under(ask(yield* limited("61 seconds"), prompt))
        assert.deepStrictEqual([errorTag(far.exit), far.millis], ["CircuitOpen", 0])
        assert.strictEqual(errorIn(far.exit)?.message, "all 2 keys are out: RateLimited")
        assert.strictEqual(Duration.toMillis(errorIn(far.exit)?.hint ?? 0), 61_000)
        const none = yield* under(ask(yield* limited("2 seconds", { maxWait: 0 }), prompt))
        assert.deepStrictEqual([errorTag(none.exit), none.millis], ["CircuitOpen", 0])
        const late = (yield* limited("30 seconds")).pipe(ChatModel.deadline("20 seconds"))
        const soon = yield* under(ask(late, prompt))
        assert.deepStrictEqual([errorTag(soon.exit), soon.millis], ["CircuitOpen", 0])
      })
    )

    it.effect(
      "draws on the budget of the provider for each key it goes on with, and gives back what was answered",
      () =>
        Effect.gen(function* () {
          const clock = yield* Effect.clock
          const left = Effect.map(Effect.zip(RetryBudget.RetryBudgets, Clock.currentTimeMillis), ([budgets, at]) =>
            budgets.of("openai", clock).available(at)
          )
          const { all, model } = yield* pooledOf(keys, () => ({ error: errorOf("RateLimited") }))
          yield* under(ask(model, prompt), "0 millis")
          assert.strictEqual(all.names().length, 5)
          // Ten were saved up; four were drawn.
          assert.approximately(yield* left, 6, 1e-6)
          const answered = yield* broken({ a: errorOf("RateLimited") }, ["a", "b"])
          for (let i = 0; i < 2; i++) yield* under(ask(answered.model, prompt), "0 millis")
          assert.isAtLeast(yield* left, 6)
        })
    )

    for (const hint of ["0 millis", "1 millis", "20 seconds"] as const) {
      it.effect(`draws for another key after a rate limit with a hint of ${hint} too, because it does not wait`, () =>
        Effect.gen(function* () {
          const { all, model } = yield* pooledOf(keys, () => ({ error: hinted(hint) }))
          const asked = ask(ChatModel.deadline(model, "1 millis"), prompt)
          yield* Effect.provide(under(asked, "0 millis"), RetryBudget.layer({ cap: 1, ratio: 0 }))
          assert.strictEqual(all.names().length, 2)
        })
      )
    }

    it.effect("stays with the error where no budget is left", () =>
      Effect.gen(function* () {
        const { all, model } = yield* pooledOf(keys, () => ({ error: errorOf("RateLimited") }))
        const evidence = collect()
        const { exit } = yield* Effect.provide(under(ask(ChatModel.deadline(model, "1 millis"), prompt), "0 millis"), [
          RetryBudget.layer({ cap: 2, ratio: 0 }),
          evidence.layer
        ])
        assert.strictEqual(errorTag(exit), "RateLimited")
        assert.strictEqual(all.names().length, 3)
        assert.isTrue(evidence.lines.some((line) => line.message.includes("no budget left to ask another")))
      })
    )

    it.effect("needs no budget to leave a dead key", () =>
      Effect.gen(function* () {
        const { all, model } = yield* pooledOf(keys, () => ({ error: errorOf("AuthError") }))
        const none = RetryBudget.layer({ cap: 1, ratio: 0 })
        yield* Effect.provide(under(ask(model, prompt), "0 millis"), none)
        assert.strictEqual(all.names().length, keys.length)
      })
    )

    it.effect("leaves one record with an attempt for each key, and says which key it was", () =>
      Effect.gen(function* () {
        const evidence = collect()
        const { model, pool } = yield* broken({ a: errorOf("AuthError") }, ["a", "b"])
        yield* Effect.provide(under(Effect.replicateEffect(ask(model, prompt), 2), "0 millis"), evidence.layer)
        const records: ReadonlyArray<CallRecord.CallRecord> = evidence.records
        const record = records.find(({ attempts }) => attempts.length === 2)
        assert.deepStrictEqual(
          record?.attempts.map((attempt) => [attempt.key, attempt.error?._tag]),
          [
            [pool.keys[0]?.name, "AuthError"],
            [pool.keys[1]?.name, undefined]
          ]
        )
        assert.isTrue(
          evidence.lines.some(
            (line) =>
              line.level === "WARN" && line.message.includes(`key ${pool.keys[0]?.name}: AuthError; asking another`)
          )
        )
      })
    )

    it.effect("passes over a key whose own breaker or queue refuses, as nothing was sent", () =>
      Effect.gen(function* () {
        const refusals = {
          a: errorOf("CircuitOpen", { delivery: "not-sent", hint: Duration.seconds(30) }),
          b: errorOf("RateLimited", { delivery: "not-sent" }),
          d: errorOf("RateLimited", { delivery: "not-sent" })
        }
        const { model } = yield* broken(refusals, ["a", "b", "d", "c"])
        const asked = Effect.replicateEffect(ask(model, prompt), 6)
        const { exit } = yield* Effect.provide(under(asked, "0 millis"), RetryBudget.layer({ cap: 1, ratio: 0 }))
        assert.deepStrictEqual(exit._tag === "Success" && exit.value, ["c", "c", "c", "c", "c", "c"])
      })
    )

    it.effect("gives back its place whatever the end", () =>
      Effect.gen(function* () {
        const ends: ReadonlyArray<Answer> = [
          {},
          { error: errorOf("ServerError") },
          { error: errorOf("AuthError") },
          { hangs: true },
          { millis: 5000 }
        ]
        const { inFlight, model } = yield* pooledOf(keys, (key) => ends[keys.indexOf(key)])
        const timed = model.pipe(ChatModel.timeout({ attempt: "10 seconds", firstToken: "10 seconds" }))
        const fibers = yield* Effect.forEach(keys, (_, index) =>
          Effect.fork(Effect.exit(ask(index % 2 === 0 ? model : timed, prompt)))
        )
        yield* TestClock.adjust("1 second")
        assert.isAbove(Math.max(...inFlight()), 0)
        yield* Fiber.interruptAll(fibers)
        assert.deepStrictEqual(inFlight(), [0, 0, 0, 0, 0])
        yield* under(ask(timed, prompt), "1 minute")
        assert.deepStrictEqual(inFlight(), [0, 0, 0, 0, 0])
      })
    )

    it.effect("keeps a session with its key", () =>
      Effect.gen(function* () {
        const { all, model } = yield* pooledOf(keys, fine, { affinity: (request) => String(request.maxTokens) })
        for (let session = 0; session < 20; session++) {
          const request = { ...prompt, maxTokens: session }
          const first = yield* ask(model, request)
          for (let i = 0; i < 3; i++) assert.strictEqual(yield* ask(model, request), first)
        }
        assert.isAbove(new Set(all.names()).size, 2)
      })
    )
  })
}

describe("a pool", () => {
  it.effect("is shared by the models of its provider: what one finds out the others know", () =>
    Effect.gen(function* () {
      const { all, model, pool } = yield* pooledOf(["a", "b"], (key) => ({
        error: key === "a" ? errorOf("AuthError") : undefined
      }))
      const { pooled } = ChatModel
      const other = yield* pooled(pool, (apiKey) =>
        Effect.succeed(memberOf(all, `mini ${KeyPool.nameOf(apiKey)}`, fine, { model: "mini" }))
      )
      for (let i = 0; i < 2; i++) yield* under(ways.generate(model, prompt), "0 millis")
      assert.strictEqual(all.count("a"), 1)
      const dead = pool.keys[0]?.name
      for (let i = 0; i < 4; i++) yield* ways.generate(other, prompt)
      assert.strictEqual(all.count(`mini ${dead}`), 0)
    })
  )

  it.effect("lets models of other names pass where one is over its limit", () =>
    Effect.gen(function* () {
      const { all, model, pool } = yield* pooledOf(["a"], () => ({ error: hinted("30 seconds") }))
      const other = yield* ChatModel.pooled(pool, () => Effect.succeed(memberOf(all, "mini", fine, { model: "mini" })))
      yield* under(ways.generate(model, prompt), "0 millis")
      assert.strictEqual(model[ChatModel.TypeId].readyAt(), 30_000)
      assert.strictEqual(other[ChatModel.TypeId].readyAt(), 0)
      assert.strictEqual(yield* ways.generate(other, prompt), "mini")
    })
  )

  it.effect("fails where a model for one of its keys cannot be made", () =>
    Effect.gen(function* () {
      const pool = (yield* pooledOf(["a", "b"], fine)).pool
      assert.strictEqual(yield* Effect.flip(ChatModel.pooled(pool, () => Effect.fail("no address"))), "no address")
    })
  )
})

/** Nobody reads the lines of these hours. */
const quiet = Logger.withMinimumLogLevel(LogLevel.None)

describe("a key that lets requests hang", () => {
  const run = <A, E>(program: Effect.Effect<A, E>) => simulate(quiet(program))
  const timeout = ChatModel.timeout({ attempt: "10 seconds" })

  /** A pool whose first key hangs for good; it was found out, and its probe is due. */
  const hanging = Effect.gen(function* () {
    const pooled = yield* pooledOf(["a", "b", "c"], (key) => (key === "a" ? { hangs: true } : { millis: 100 }))
    const timed = pooled.model.pipe(timeout)
    for (let i = 0; i < 100 && pooled.pool.dueAt(0) === undefined; i++) {
      yield* Effect.fork(Effect.exit(ways.generate(timed, prompt)))
      yield* Effect.sleep("500 millis")
    }
    const before = pooled.all.count("a")
    const due = pooled.pool.dueAt(0) ?? Number.NaN
    yield* Effect.sleep(Duration.millis(due - (yield* Clock.currentTimeMillis)))
    return { ...pooled, timed, probes: () => pooled.all.count("a") - before }
  })

  it("is out after three timeouts, while others answer", () => {
    const program = Effect.gen(function* () {
      const { all, pool } = yield* hanging
      // Whoever hangs is busy: least loaded, it was asked again only when the one before had timed out.
      assert.strictEqual(all.count("a"), 3)
      assert.strictEqual([...(yield* pool.states).values()][0]?.circuit._tag, "Open")
    })
    run(program)
  })

  it("is probed by one at a time", () => {
    const program = Effect.gen(function* () {
      const { probes, timed } = yield* hanging
      const fibers = yield* Effect.forEach([1, 2, 3, 4, 5, 6, 7, 8], () =>
        Effect.fork(Effect.exit(ways.generate(timed, prompt)))
      )
      yield* Effect.sleep("1 second")
      assert.strictEqual(probes(), 1)
      yield* Fiber.interruptAll(fibers)
    })
    run(program)
  })

  it("is not probed by what must not be run twice, unless nothing else takes traffic", () => {
    const program = Effect.gen(function* () {
      const { pool, probes, timed } = yield* hanging
      const once = { ...prompt, idempotent: false }
      for (let i = 0; i < 20; i++) yield* Effect.exit(ways.generate(timed, once))
      yield* Effect.sleep("50 minutes")
      for (let i = 0; i < 20; i++) yield* Effect.exit(ways.generate(timed, once))
      assert.strictEqual(probes(), 0)
      for (const { name } of pool.keys.slice(1)) yield* pool.circuits.open(name)
      yield* Effect.exit(ways.generate(timed, once))
      assert.strictEqual(probes(), 1)
    })
    run(program)
  })

  it("is probed by those that have time for another attempt, or else after a while by anyone", () => {
    const program = Effect.gen(function* () {
      const { model, probes, timed } = yield* hanging
      const last = timed.pipe(ChatModel.deadline("15 seconds"))
      const untimed = model.pipe(ChatModel.deadline("30 seconds"))
      for (const hurried of [last, untimed]) {
        for (let i = 0; i < 10; i++) yield* Effect.exit(ways.generate(hurried, prompt))
      }
      assert.strictEqual(probes(), 0)
      const enough = timed.pipe(ChatModel.deadline("25 seconds"))
      const fibers = yield* Effect.forEach([1, 2, 3, 4], () => Effect.fork(Effect.exit(ways.generate(enough, prompt))))
      yield* Effect.sleep("11 seconds")
      assert.strictEqual(probes(), 1)
      yield* Fiber.interruptAll(fibers)
      yield* Effect.sleep("1 minute")
      for (let i = 0; i < 10; i++) yield* Effect.fork(Effect.exit(ways.generate(last, prompt)))
      yield* Effect.sleep("20 seconds")
      assert.strictEqual(probes(), 2)
    })
    run(program)
  })

  it("is not probed by a call that already failed with another key", () => {
    const program = Effect.gen(function* () {
      let session = 0
      const { all, model, pool } = yield* pooledOf(
        ["a", "b", "c"],
        (key) => ({ error: key === "b" ? hinted("1 second") : undefined }),
        { affinity: () => `session ${session}` }
      )
      /** The first of the remaining keys in the session's ranking. */
      const first = (...left: ReadonlyArray<number>) =>
        pool.balancer.choose({
          now: 0,
          seed: 0,
          readyAt: (index) => (left.includes(index) ? 0 : 1),
          affinity: `session ${session}`
        })
      while (first(0, 1, 2) !== 1 || first(0, 2) !== 0) session += 1
      const key = pool.keys[0]?.name ?? ""
      yield* pool.circuits.record(key, yield* pool.circuits.admit({ key }), CircuitBreaker.failure())
      yield* Effect.sleep("15 seconds")
      assert.isAtMost(pool.dueAt(0) ?? Number.NaN, yield* Clock.currentTimeMillis)
      assert.strictEqual(yield* ways.generate(model, prompt), "c")
      assert.deepStrictEqual(all.names(), ["b", "c"])
      assert.strictEqual(yield* ways.generate(model, prompt), "a", "from the beginning it would be")
    })
    run(program)
  })

  it("is told from a provider that is down as a whole", () => {
    const program = Effect.gen(function* () {
      let down = false
      const { all, model, pool } = yield* pooledOf(keys, () => (down ? { hangs: true } : { millis: 100 }))
      const timed = model.pipe(timeout)
      for (let i = 0; i < 100; i++) {
        if (i === 20) down = true
        if (i === 80) down = false
        yield* Effect.fork(Effect.exit(ways.generate(timed, prompt)))
        yield* Effect.sleep("500 millis")
      }
      assert.isTrue([...(yield* pool.states).values()].every(({ circuit }) => circuit._tag === "Closed"))
      assert.isAbove(all.names().length, 90)
    })
    run(program)
  })
})
