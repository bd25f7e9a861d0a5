import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Exit, Fiber, TestClock } from "effect"
import { CircuitBreaker } from "effect-steadfast"
import { success } from "../../../src/policies/circuit/CircuitOutcome.js"
import { type Admission, admit, type Circuit, record } from "../../../src/policies/circuit/CircuitState.js"
import * as Store from "../../../src/policies/Store.js"
import { collectLogs } from "../../support/evidence.js"
import { drawing } from "../../support/time.js"
import { isRefused, remoteStore, server, standard } from "./CircuitBreaker.support.js"

const ask = { key: "openai" }
const failing = Effect.fail(server)

const sharing = (store: Store.KeyedStore) =>
  Effect.provideService(CircuitBreaker.make({ maxWait: 0 }), Store.KeyedStore, store)

describe("a store", () => {
  it.effect("lets breakers share circuits, and each see of them what it asks for", () =>
    drawing(0)(
      Effect.gen(function* () {
        const { store } = remoteStore()
        const [one, two] = [yield* sharing(store), yield* sharing(store)]
        yield* Effect.repeatN(Effect.exit(one.execute(failing, ask)), 2)
        assert.strictEqual(one.readyAt("openai"), 1000)
        assert.strictEqual(two.readyAt("openai"), 0)
        assert.isTrue(isRefused(yield* Effect.exit(two.admit(ask))))
        assert.strictEqual(two.readyAt("openai"), 1000)
        assert.deepInclude(yield* two.state("openai"), { _tag: "Open", error: "ServerError" })
        yield* TestClock.adjust("1 second")
        const probe = yield* two.admit(ask)
        assert.isTrue(isRefused(yield* Effect.exit(one.admit(ask))))
        yield* two.record("openai", probe, CircuitBreaker.success)
        yield* Effect.repeatN(one.execute(Effect.void, ask), 1)
        assert.strictEqual((yield* two.state("openai"))._tag, "Closed")
        yield* one.execute(Effect.void, ask)
        assert.strictEqual(one.readyAt("openai"), 0)
      })
    )
  )

  it.effect("admits one probe, whoever asks at the same time", () =>
    drawing(0)(
      Effect.gen(function* () {
        const { conflicts, store } = remoteStore()
        const breakers = yield* Effect.replicateEffect(sharing(store), 10)
        yield* Effect.forEach(breakers, (breaker) => Effect.exit(breaker.execute(failing, ask)), {
          concurrency: "unbounded"
        })
        assert.isAbove(conflicts(), 0)
        yield* TestClock.adjust("1 second")
        const exits = yield* Effect.forEach(breakers, (breaker) => Effect.exit(breaker.admit(ask)), {
          concurrency: "unbounded"
        })
        assert.strictEqual(exits.filter(Exit.isSuccess).length, 1)
        assert.strictEqual(exits.filter(isRefused).length, 9)
      })
    )
  )

  it.effect("has nothing to write where a closed circuit admits, or is looked at", () =>
    Effect.gen(function* () {
      const { rows, store } = remoteStore()
      const breaker = yield* sharing(store)
      yield* breaker.state("openai")
      yield* breaker.admit(ask)
      assert.strictEqual(rows.size, 0)
      yield* breaker.execute(Effect.void, ask)
      const before = rows.get("openai")
      yield* TestClock.adjust("1 minute")
      yield* breaker.admit(ask)
      yield* breaker.state("openai")
      assert.isDefined(before)
      assert.strictEqual(rows.get("openai"), before)
    })
  )

  it.effect("is captured when the breaker is made", () =>
    Effect.gen(function* () {
      const { rows, store } = remoteStore()
      const breaker = yield* sharing(store)
      const call = breaker.execute(Effect.void, ask)
      yield* Effect.provideService(call, Store.KeyedStore, remoteStore().store)
      assert.strictEqual(rows.size, 1)
    })
  )

  it.effect("that is slow keeps all that wait in one queue", () =>
    Effect.gen(function* () {
      const { store } = remoteStore()
      const slow: Store.KeyedStore = {
        modify: (key, f) => Effect.zipLeft(store.modify(key, f), Effect.sleep("100 millis"))
      }
      const breaker = yield* Effect.provideService(CircuitBreaker.make(), Store.KeyedStore, slow)
      yield* Effect.fork(Effect.repeatN(Effect.exit(breaker.execute(failing, ask)), 2))
      yield* TestClock.adjust("700 millis")
      // While twelve ask for the second time, to join the queue, another one comes.
      const calls = yield* Effect.forEach([...Array(12).fill(0), 150], (start) =>
        Effect.fork(Effect.delay(Effect.exit(breaker.execute(Effect.succeed(1), ask)), start))
      )
      yield* TestClock.adjust("30 seconds")
      const exits = yield* Effect.forEach(calls, Fiber.poll)
      assert.isTrue(
        exits.every((exit) => exit._tag === "Some" && Exit.isSuccess(exit.value) && Exit.isSuccess(exit.value.value))
      )
    })
  )

  it.effect("that is slow is not interrupted between a place and its probe", () =>
    drawing(0)(
      Effect.gen(function* () {
        const { store } = remoteStore()
        const slow: Store.KeyedStore = {
          modify: (key, f) => Effect.zipLeft(store.modify(key, f), Effect.sleep("1 second"))
        }
        const [fast, breaker] = [yield* sharing(store), yield* sharing(slow)]
        yield* Effect.repeatN(Effect.exit(fast.execute(failing, ask)), 2)
        yield* TestClock.adjust("1 second")
        const fiber = yield* Effect.fork(breaker.execute(Effect.never, ask))
        yield* TestClock.adjust("500 millis")
        assert.deepInclude(yield* fast.state("openai"), { _tag: "HalfOpen", probes: 1 })
        yield* Fiber.interruptFork(fiber)
        yield* TestClock.adjust("10 seconds")
        assert.isTrue(Exit.isInterrupted(yield* Fiber.await(fiber)))
        assert.deepInclude(yield* fast.state("openai"), { _tag: "HalfOpen", probes: 0 })
      })
    )
  )
})

describe("a store that dies", () => {
  const dying = () => {
    const { store } = remoteStore()
    let dead = true
    const modify: Store.KeyedStore["modify"] = (key, f) =>
      dead ? Effect.die("no route to the store") : store.modify(key, f)
    return {
      store: { modify } satisfies Store.KeyedStore,
      set: (to: boolean) => {
        dead = to
      }
    }
  }

  it.effect("lets the call run, unrecorded, with a warning", () =>
    Effect.gen(function* () {
      const { set, store } = dying()
      const { layer, lines } = collectLogs()
      const breaker = yield* sharing(store)
      const call = Effect.provide(Effect.exit(breaker.execute(failing, ask)), layer)
      for (let i = 0; i < 5; i++) assert.deepStrictEqual(yield* call, Exit.fail(server))
      assert.strictEqual(lines.length, 5)
      for (const line of lines) {
        assert.strictEqual(line.level, "WARN")
        assert.include(line.message, "store died")
        assert.include(line.cause, "no route to the store")
        assert.deepStrictEqual(line.annotations, { circuit: "openai" })
      }
      set(false)
      assert.strictEqual((yield* breaker.state("openai"))._tag, "Closed")
    })
  )

  it.effect("while the call runs loses its outcome, and nothing else", () =>
    Effect.gen(function* () {
      const { set, store } = dying()
      const { layer, lines } = collectLogs()
      const breaker = yield* sharing(store)
      set(false)
      const attempt = Effect.zipRight(
        Effect.sync(() => set(true)),
        Effect.succeed("ok")
      )
      assert.strictEqual(yield* Effect.provide(breaker.execute(attempt, ask), layer), "ok")
      assert.strictEqual(lines.length, 1)
    })
  )

  it.effect("is told where the circuit is asked for by other ways, and what was seen last is shown", () =>
    drawing(0)(
      Effect.gen(function* () {
        const { set, store } = dying()
        const { layer, lines } = collectLogs()
        const breaker = yield* sharing(store)
        set(false)
        yield* Effect.repeatN(Effect.exit(breaker.execute(failing, ask)), 2)
        set(true)
        const program = Effect.gen(function* () {
          assert.deepInclude(yield* breaker.state("openai"), { _tag: "Open", retryAfter: Duration.seconds(1) })
          assert.strictEqual(breaker.readyAt("openai"), 1000)
          const admission = yield* breaker.admit(ask)
          yield* breaker.record("openai", admission, CircuitBreaker.dead)
          yield* breaker.open("openai")
          yield* breaker.reset("openai")
        })
        yield* Effect.provide(program, layer)
        assert.strictEqual(lines.length, 4)
        set(false)
        assert.deepInclude(yield* breaker.state("openai"), { _tag: "Open", reason: "Unhealthy" })
      })
    )
  )

  it.effect("by throwing is one that dies", () =>
    Effect.gen(function* () {
      const { layer, lines } = collectLogs()
      const breaker = yield* sharing({
        modify: () => {
          throw new Error("not even an effect")
        }
      })
      assert.strictEqual(yield* Effect.provide(breaker.execute(Effect.succeed("ok"), ask), layer), "ok")
      assert.strictEqual(lines.length, 1)
    })
  )
})

describe("memory", () => {
  it("is given back an hour after the last use", () => {
    const circuits = Store.inMemory<Circuit>()
    const size = () => [...circuits.keys()].length
    const use = (key: string, now: number) =>
      circuits.modify(key, now, (circuit) => [
        undefined,
        record(standard, circuit, admit(standard, circuit, now)[0] as Admission, success, now, 0)
      ])
    for (let i = 0; i < 10_000; i++) use(`tenant ${i}`, i)
    assert.strictEqual(size(), 10_000)
    use("last", 3_600_000 + 4999)
    assert.strictEqual(size(), 5001)
    use("still the last", 3_700_000)
    assert.strictEqual(size(), 2)
  })

  it.effect("is each breaker's own", () =>
    Effect.gen(function* () {
      const [one, two] = [yield* CircuitBreaker.make({ maxWait: 0 }), yield* CircuitBreaker.make({ maxWait: 0 })]
      yield* one.open("openai")
      assert.strictEqual((yield* two.state("openai"))._tag, "Closed")
    })
  )
})
