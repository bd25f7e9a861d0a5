import { assert, describe, it } from "@effect/vitest"
import {
  Cause,
  Clock,
  Context,
  Deferred,
  Duration,
  Effect,
  Exit,
  Fiber,
  Layer,
  Option,
  Random,
  type Scheduler,
  Stream,
  TestClock
} from "effect"
import { Chat, ChatModel, type LlmError, Pacer, Resilience } from "effect-steadfast"
import { CurrentPlace } from "../../../src/policies/pacer/RateLimits.js"
import { errorOf, hinted } from "../../support/errors.js"
import { drawing } from "../../support/time.js"
import { ask, callers, refusedBy, twoASecond } from "./Pacer.requests.js"

describe("a limit", () => {
  it.effect("lets through what it allows at once, and then each as soon as it can be, in order", () =>
    Effect.gen(function* () {
      const { come, times } = callers(yield* Pacer.make(twoASecond))
      for (const name of ["a", "b", "c", "d", "e"]) yield* come(name)
      yield* TestClock.adjust("5 seconds")
      assert.deepStrictEqual(times, [
        ["a", 0],
        ["b", 0],
        ["c", 500],
        ["d", 1000],
        ["e", 1500]
      ])
    })
  )

  it.effect("may hold less at once", () =>
    Effect.gen(function* () {
      const pacer = yield* Pacer.make({ requests: { limit: 60, burst: 1 } })
      const { come, times } = callers(pacer)
      for (const name of ["a", "b", "c"]) yield* come(name)
      yield* TestClock.adjust("5 seconds")
      assert.deepStrictEqual(
        times.map(([, at]) => at),
        [0, 1000, 2000]
      )
    })
  )

  it.effect("counts for its key alone", () =>
    Effect.gen(function* () {
      const { come, names } = callers(yield* Pacer.make({ requests: { limit: 1 } }))
      yield* come("a")
      yield* come("b")
      yield* come("other", { key: "other" })
      assert.deepStrictEqual(names(), ["a", "other"])
    })
  )

  it.effect("on tokens holds with the one on requests: all have room, or nobody goes", () =>
    Effect.gen(function* () {
      const pacer = yield* Pacer.make({
        requests: { limit: 10, window: "1 second" },
        tokens: { limit: 100, window: "1 second" }
      })
      const { come, times } = callers(pacer)
      yield* come("most", { inputTokens: 60, outputTokens: 20 })
      yield* come("large", { inputTokens: 40, outputTokens: 20 })
      // There would be room for it, but nobody overtakes.
      yield* come("small", { inputTokens: 1, outputTokens: 1 })
      assert.strictEqual((yield* pacer.state("k")).limits.requests?.left, 9)
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(times, [
        ["most", 0],
        ["large", 400],
        ["small", 420]
      ])
    })
  )

  it.effect("on input and output counts each by itself, and no token that was read from a cache", () =>
    Effect.gen(function* () {
      const pacer = yield* Pacer.make({ inputTokens: { limit: 1000 }, outputTokens: { limit: 100 } })
      const { come, end } = callers(pacer)
      yield* come("a", { inputTokens: 500, outputTokens: 50 })
      yield* end("a", { usage: { inputTokens: 500, outputTokens: 30, cachedInputTokens: 400 } })
      const { limits } = yield* pacer.state("k")
      assert.deepStrictEqual([limits.inputTokens?.left, limits.outputTokens?.left], [900, 70])
    })
  )

  it.effect("refuses at once what it can never hold", () =>
    Effect.gen(function* () {
      const pacer = yield* Pacer.make({ tokens: { limit: 1000, burst: 100 } })
      const error = yield* Effect.flip(pacer.acquire({ ...ask, inputTokens: 80, outputTokens: 21 }))
      assert.strictEqual(error._tag, "ContextLengthExceeded")
      assert.deepInclude(error, { delivery: "not-sent", provider: "openai", model: "gpt-4o-mini" })
      assert.strictEqual(error.message, "tokens: found 101, expected at most the 100 that the limit allows at once")
      assert.strictEqual((yield* pacer.state("k")).inFlight, 0)
    })
  )

  it.effect("that headers make smaller while calls wait holds back one that does not fit until it is all there", () =>
    Effect.gen(function* () {
      const pacer = yield* Pacer.make({ tokens: { limit: 1000 } })
      const { come, observe, times } = callers(pacer)
      yield* come("a", { inputTokens: 900, outputTokens: 0 })
      yield* come("large", { inputTokens: 600, outputTokens: 0 })
      yield* come("small", { inputTokens: 50, outputTokens: 0 })
      yield* observe("a", { tokens: { limit: 500, remaining: 0, resetMillis: 60_000, windowMillis: 60_000 } })
      yield* TestClock.adjust("66 seconds")
      assert.deepStrictEqual(times, [
        ["a", 0],
        ["large", 60_000],
        ["small", 66_000]
      ])
    })
  )
})

describe("what was reserved", () => {
  const hundred = { tokens: { limit: 100, window: "1 second" } } as const
  const left = (pacer: Pacer.Pacer) => Effect.map(pacer.state("k"), ({ limits }) => limits.tokens?.left)
  const cases: ReadonlyArray<readonly [string, Pacer.Ending, number]> = [
    ["and not used comes back", { usage: { inputTokens: 20, outputTokens: 10 } }, 70],
    ["too low becomes a debt", { usage: { inputTokens: 100, outputTokens: 50 } }, -50],
    ["stays taken where no usage is told", {}, 20],
    ["comes back after a refusal, half of it", { error: hinted("1 second") }, -60],
    ["comes back from a request that was rejected", { error: errorOf("InvalidRequest") }, 100],
    ["comes back from one that was not sent", { error: errorOf("ConnectionError", { delivery: "not-sent" }) }, 100],
    ["comes back where its place was not used", { sent: false }, 100],
    ["stays taken where nobody knows", { error: errorOf("Timeout", { delivery: "unknown" }) }, 20],
    ["stays taken by one that was interrupted", { interrupted: true }, 20]
  ]
  for (const [what, end, tokens] of cases) {
    it.effect(what, () =>
      Effect.gen(function* () {
        const pacer = yield* Pacer.make(hundred)
        const all = callers(pacer)
        yield* all.come("a", { inputTokens: 40, outputTokens: 40 })
        assert.strictEqual(yield* left(pacer), 20)
        yield* all.end("a", end)
        assert.strictEqual(yield* left(pacer), tokens)
        assert.strictEqual((yield* pacer.state("k")).inFlight, 0)
        yield* all.end("a", { sent: false })
        assert.strictEqual(yield* left(pacer), tokens, "it is settled once")
      })
    )
  }

  it.effect("lets those who wait go earlier when it comes back", () =>
    Effect.gen(function* () {
      const { come, end, times } = callers(yield* Pacer.make({ tokens: { limit: 100 } }))
      yield* come("a", { inputTokens: 10, outputTokens: 90 })
      yield* come("b", { inputTokens: 10, outputTokens: 50 })
      yield* TestClock.adjust("1 second")
      yield* end("a", { usage: { inputTokens: 10, outputTokens: 20 } })
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(times, [
        ["a", 0],
        ["b", 1000]
      ])
    })
  )

  it.effect("for an answer is what answers took lately, 300 before there was any", () =>
    Effect.gen(function* () {
      const pacer = yield* Pacer.make({ outputTokens: { limit: 10_000 } })
      const { come, end } = callers(pacer)
      const spent = Effect.map(pacer.state("k"), ({ limits }) => 10_000 - (limits.outputTokens?.left ?? 0))
      yield* come("a", { outputTokens: undefined })
      assert.strictEqual(yield* spent, 300)
      yield* end("a", { usage: { inputTokens: 10, outputTokens: 100 } })
      assert.strictEqual(yield* spent, 100)
      yield* come("b", { outputTokens: undefined })
      assert.strictEqual(yield* spent, 380)
    })
  )

  it.effect("of requests is not given back to one that was refused", () =>
    Effect.gen(function* () {
      const pacer = yield* Pacer.make({ requests: { limit: 10 } })
      const { come, end } = callers(pacer)
      for (const name of ["a", "b"]) yield* come(name)
      yield* end("a", { error: errorOf("InvalidRequest") })
      yield* end("b", { sent: false })
      assert.strictEqual((yield* pacer.state("k")).limits.requests?.left, 9)
    })
  )
})

describe("a call that waits", () => {
  const one = { requests: { limit: 1, window: "10 seconds" } } as const

  it.effect("leaves at once when interrupted, and those behind it move up", () =>
    Effect.gen(function* () {
      const pacer = yield* Pacer.make({ tokens: { limit: 100, window: "100 seconds" } })
      const { come, times } = callers(pacer)
      yield* come("a", { inputTokens: 90, outputTokens: 0 })
      const large = yield* come("large", { inputTokens: 100, outputTokens: 0 })
      const middle = yield* come("middle", { inputTokens: 5, outputTokens: 0 })
      yield* come("small", { inputTokens: 5, outputTokens: 0 })
      yield* TestClock.adjust("1 second")
      yield* Fiber.interrupt(middle)
      yield* Fiber.interrupt(large)
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(times, [
        ["a", 0],
        ["small", 1000]
      ])
      assert.strictEqual((yield* pacer.state("k")).waiting, 0)
    })
  )

  it.effect("gives its place back when interrupted the moment it gets it", () =>
    Effect.gen(function* () {
      const pacer = yield* Pacer.make(one)
      const { come, end } = callers(pacer)
      yield* come("a")
      const waiting = yield* come("b")
      yield* end("a", { sent: false })
      // It has its place, and has not gone on yet.
      assert.deepInclude(yield* pacer.state("k"), { waiting: 0, inFlight: 1 })
      yield* Fiber.interrupt(waiting)
      assert.deepInclude(yield* pacer.state("k"), { waiting: 0, inFlight: 0 })
      assert.strictEqual((yield* pacer.state("k")).limits.requests?.left, 1)
    })
  )

  it.effect("is refused at once where the wait would be longer than maxWait, and told how long", () =>
    Effect.gen(function* () {
      const pacer = yield* Pacer.make({ ...one, maxWait: "15 seconds" })
      const { come, names } = callers(pacer)
      for (const name of ["a", "b"]) yield* come(name)
      const error = yield* Effect.flip(pacer.acquire(ask))
      assert.deepInclude(error, { _tag: "RateLimited", delivery: "not-sent", code: "pacer-queue" })
      assert.deepStrictEqual(error.hint, Duration.seconds(20))
      assert.strictEqual(error.message, "no place within maxWait; the wait would be 20s")
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(names(), ["a", "b"])
    })
  )

  it.effect("is refused at once where the wait cannot end before the deadline, or turns out not to", () =>
    Effect.gen(function* () {
      const pacer = yield* Pacer.make(one)
      const { come, end } = callers(pacer)
      yield* come("a")
      const inTime = yield* Effect.fork(Resilience.deadline(pacer.acquire(ask), "11 seconds"))
      yield* Effect.yieldNow()
      const late = yield* Effect.flip(Resilience.deadline(pacer.acquire(ask), "20 seconds"))
      assert.deepInclude(late, { _tag: "RateLimited", delivery: "not-sent", code: "pacer-queue" })
      assert.strictEqual(late.message, "no place before the deadline; the wait would be 20s")
      yield* end("a", { error: hinted("15 seconds") })
      assert.strictEqual((yield* refusedBy(inTime))?.message, "no place before the deadline; the wait would be 15s")
    })
  )

  it.effect("is refused where the queue is full", () =>
    Effect.gen(function* () {
      const pacer = yield* Pacer.make({ ...one, maxQueue: 2 })
      const { come } = callers(pacer)
      for (const name of ["a", "b", "c"]) yield* come(name)
      const error = yield* Effect.flip(pacer.acquire(ask))
      assert.strictEqual(error.message, "the queue is full: 2 wait; the wait would be 30s")
      assert.deepInclude(yield* pacer.state("k"), { waiting: 2, inFlight: 1 })
    })
  )
})

describe("pace", () => {
  const run = (outcome: Effect.Effect<number, LlmError.LlmError>) =>
    Effect.gen(function* () {
      const pacer = yield* Pacer.make({ tokens: { limit: 100 } })
      const paced = pacer.pace(outcome, { ...ask, usage: (n) => ({ inputTokens: n, outputTokens: 0 }) })
      const exit = yield* Effect.exit(paced)
      return { exit, state: yield* pacer.state("k") }
    })

  it.effect("settles with the usage of the answer", () =>
    Effect.gen(function* () {
      const { exit, state } = yield* run(Effect.succeed(5))
      assert.deepStrictEqual(exit, Exit.succeed(5))
      assert.deepStrictEqual([state.inFlight, state.limits.tokens?.left], [0, 95])
    })
  )

  it.effect("settles with the error, and pauses by it", () =>
    drawing(0.5)(
      Effect.gen(function* () {
        const { state } = yield* run(Effect.fail(hinted("10 seconds")))
        assert.deepInclude(state, { inFlight: 0, pausedUntil: 11_250 })
      })
    )
  )

  it.effect("settles after a defect", () =>
    Effect.gen(function* () {
      const { exit, state } = yield* run(Effect.die("bug"))
      assert.isTrue(Exit.isFailure(exit))
      assert.deepStrictEqual([state.inFlight, state.limits.tokens?.left], [0, 80])
    })
  )

  it.effect("settles where its usage cannot be read", () =>
    Effect.gen(function* () {
      const pacer = yield* Pacer.make({ tokens: { limit: 100 } })
      const usage = () => {
        throw new Error("bug")
      }
      const exit = yield* Effect.exit(pacer.pace(Effect.succeed(5), { ...ask, usage }))
      assert.isTrue(Exit.isFailure(exit) && Cause.isDie(exit.cause))
      assert.strictEqual((yield* pacer.state("k")).inFlight, 0)
    })
  )

  it.effect("gives its place back when interrupted the moment it gets it, and never runs", () =>
    Effect.gen(function* () {
      const pacer = yield* Pacer.make({ requests: { limit: 1, window: "10 seconds" } })
      const { come, end } = callers(pacer)
      yield* come("a")
      let runs = 0
      const paced = pacer.pace(
        Effect.sync(() => runs++),
        ask
      )
      const waiting = yield* Effect.fork(paced)
      yield* Effect.yieldNow()
      yield* end("a", { sent: false })
      assert.deepInclude(yield* pacer.state("k"), { waiting: 0, inFlight: 1 })
      yield* Fiber.interrupt(waiting)
      assert.deepInclude(yield* pacer.state("k"), { waiting: 0, inFlight: 0 })
      assert.strictEqual((yield* pacer.state("k")).limits.requests?.left, 1)
      assert.strictEqual(runs, 0)
    })
  )

  it.effect("settles when interrupted, and leaves the queue when interrupted there", () =>
    Effect.gen(function* () {
      const pacer = yield* Pacer.make({ requests: { limit: 1 } })
      const started = yield* Deferred.make<void>()
      const call = Effect.zipRight(Deferred.succeed(started, undefined), Effect.never)
      const running = yield* Effect.fork(call.pipe(pacer.pace(ask)))
      yield* Deferred.await(started)
      const waiting = yield* Effect.fork(call.pipe(pacer.pace(ask)))
      yield* Effect.yieldNow()
      assert.deepInclude(yield* pacer.state("k"), { waiting: 1, inFlight: 1 })
      yield* Fiber.interrupt(waiting)
      yield* Fiber.interrupt(running)
      assert.deepInclude(yield* pacer.state("k"), { waiting: 0, inFlight: 0 })
    })
  )

  const limits = { requests: { limit: 60, remaining: 29, resetMillis: 30_000, windowMillis: 60_000 } }
  const heard = Effect.flatMap(Effect.serviceOption(CurrentPlace), (listener) =>
    Effect.map(Clock.currentTimeMillis, (now) => Option.map(listener, ({ observe }) => observe(limits, now)))
  )

  it.effect("hears the limits in the headers of a response, also of one that fails", () =>
    Effect.gen(function* () {
      for (const call of [heard, Effect.zipRight(heard, Effect.fail(errorOf("ServerError")))]) {
        const pacer = yield* Pacer.make()
        yield* Effect.exit(pacer.pace(call, ask))
        assert.deepInclude((yield* pacer.state("k")).limits.requests, { limit: 60, left: 29, source: "headers" })
      }
    })
  )

  it.effect("hears them for the nearest pacer alone, and no more after its effect", () =>
    Effect.gen(function* () {
      const [inner, outer] = [yield* Pacer.make(), yield* Pacer.make()]
      yield* heard.pipe(inner.pace(ask), outer.pace(ask))
      assert.deepStrictEqual((yield* outer.state("k")).limits, {})
      assert.strictEqual((yield* inner.state("k")).limits.requests?.left, 29)
      assert.isTrue(Option.isNone(yield* Effect.serviceOption(CurrentPlace)))
    })
  )

  it.effect("hears what an attempt of a model tells, without a policy on the model", () =>
    Effect.gen(function* () {
      const pacer = yield* Pacer.make()
      const model = ChatModel.make({
        provider: "memory",
        model: "m",
        generate: (_, attempt) => {
          attempt.note({ limits })
          return Effect.succeed({
            provider: "memory",
            model: "m",
            text: "",
            toolCalls: [],
            finishReason: "stop" as const
          })
        },
        stream: () => Stream.empty
      })
      yield* model.generate(Chat.prompt("Hello")).pipe(pacer.pace(ask))
      assert.deepInclude((yield* pacer.state("k")).limits.requests, { limit: 60, left: 29, source: "headers" })
    })
  )

  it("adds no more than eight steps of the runtime", async () => {
    const pacer = Effect.runSync(Pacer.make({ requests: { limit: 1e9 } }))
    const stepsOf = async (effect: Effect.Effect<unknown, unknown>): Promise<number> => {
      let steps = 0
      const counting: Scheduler.Scheduler = {
        shouldYield: () => {
          steps++
          return false
        },
        scheduleTask: (task) => queueMicrotask(task)
      }
      await Effect.runPromise(Effect.withScheduler(effect, counting))
      return steps
    }
    const call = Effect.sync(() => 1)
    assert.isAtMost((await stepsOf(pacer.pace(call, ask))) - (await stepsOf(call)), 8)
  })

  it.effect("draws a number only for an error", () =>
    Effect.gen(function* () {
      const pacer = yield* Pacer.make()
      const none = { ...Random.make(1), next: Effect.die("drawn") }
      assert.strictEqual(yield* pacer.pace(Effect.succeed(5), ask).pipe(Effect.withRandom(none)), 5)
      const exit = yield* Effect.exit(pacer.pace(Effect.fail(hinted("1 second")), ask).pipe(Effect.withRandom(none)))
      assert.isTrue(Exit.isFailure(exit) && Cause.isDie(exit.cause))
    })
  )

  it.effect("queues any effect, and keeps its error channel", () =>
    Effect.gen(function* () {
      const pacer = yield* Pacer.Pacer
      const times: Array<number> = []
      const call = Effect.map(Clock.currentTimeMillis, (now) => times.push(now))
      const all = Effect.all(
        Array.from({ length: 4 }, () => pacer.pace(call, { key: "k" })),
        {
          concurrency: "unbounded"
        }
      )
      const fiber = yield* Effect.fork(all)
      yield* TestClock.adjust("2 seconds")
      yield* Fiber.join(fiber)
      assert.deepStrictEqual(times, [0, 0, 500, 1000])
    }).pipe(Effect.provide(Pacer.layer(twoASecond)))
  )
})

describe("readyAt", () => {
  it.effect("is the time from which a small request would have its place, behind the queue", () =>
    Effect.gen(function* () {
      const pacer = yield* Pacer.make(twoASecond)
      const { come, end } = callers(pacer)
      assert.strictEqual(pacer.readyAt("k"), 0)
      yield* TestClock.setTime(1_000_000)
      yield* come("a")
      assert.isAtMost(pacer.readyAt("k"), 1_000_000)
      for (const name of ["b", "c", "d"]) yield* come(name)
      assert.strictEqual(pacer.readyAt("k"), 1_001_500)
      yield* end("a", { error: hinted("1 minute") })
      assert.strictEqual(pacer.readyAt("k"), 1_060_000)
      assert.strictEqual(pacer.readyAt("other"), 0)
    })
  )
})

describe("keys", () => {
  it.effect("that are idle and as good as new are forgotten when others come", () =>
    Effect.gen(function* () {
      const pacer = yield* Pacer.make()
      const { come, end, observe } = callers(pacer)
      const limit = { limit: 60, remaining: 59, windowMillis: 60_000 }
      yield* come("idle", { key: "idle" })
      yield* observe("idle", { requests: limit })
      yield* end("idle", {})
      yield* come("busy", { key: "busy" })
      yield* observe("busy", { requests: limit })
      yield* TestClock.adjust("2 minutes")
      for (let index = 0; index < 10; index++) yield* come(`${index}`, { key: `${index}` })
      assert.deepStrictEqual((yield* pacer.state("idle")).limits, {})
      assert.deepInclude((yield* pacer.state("busy")).limits.requests, { limit: 60, left: 60 })
    })
  )
})

describe("a key that was forgotten", () => {
  const oneAMinute = { requests: { limit: 1 } }
  const begin = <A, E>(effect: Effect.Effect<A, E>) => Effect.tap(Effect.fork(effect), () => Effect.yieldNow())

  it.effect("is ready at once, and has one queue again when calls come back", () =>
    Effect.gen(function* () {
      const pacer = yield* Pacer.make(oneAMinute)
      const permit = yield* pacer.acquire(ask)
      permit.settle({}, 0, 0)
      assert.strictEqual(pacer.readyAt("k"), 60_000)
      yield* TestClock.adjust("2 minutes")
      for (const key of ["a", "b", "c"]) yield* pacer.acquire({ ...ask, key })
      assert.strictEqual(pacer.readyAt("k"), 0)
      assert.deepStrictEqual([...(yield* pacer.states).keys()], ["a", "b", "c"])
      yield* pacer.acquire(ask)
      assert.strictEqual(pacer.readyAt("k"), 180_000)
      for (let index = 0; index < 2; index++) yield* begin(pacer.acquire(ask))
      assert.deepInclude(yield* pacer.state("k"), { waiting: 2, inFlight: 1 })
      assert.strictEqual(pacer.readyAt("k"), 300_000)
    })
  )
})

describe("states", () => {
  it.effect("are the states of all known keys", () =>
    Effect.gen(function* () {
      const pacer = yield* Pacer.make({ requests: { limit: 1 } })
      assert.strictEqual((yield* pacer.states).size, 0)
      const { come } = callers(pacer)
      for (const [name, key] of [
        ["1", "a"],
        ["2", "a"],
        ["3", "b"]
      ] as const)
        yield* come(name, { key })
      const states = yield* pacer.states
      assert.deepStrictEqual([...states.keys()], ["a", "b"])
      for (const [key, state] of states) assert.deepStrictEqual(state, yield* pacer.state(key))
      assert.deepInclude(states.get("a"), { waiting: 1, inFlight: 1 })
    })
  )
})

describe("options", () => {
  const cases: ReadonlyArray<readonly [Pacer.Options, string]> = [
    [{ requests: { limit: 0 } }, "requests.limit: found 0, expected a finite number above 0"],
    [{ tokens: { limit: Number.NaN } }, "tokens.limit: found NaN, expected a finite number above 0"],
    [{ tokens: { limit: 5, burst: 0.5 } }, "tokens.burst: found 0.5, expected a finite number of 1 or more"],
    [{ inputTokens: { limit: 5, window: 0 } }, "inputTokens.window: found 0, expected a finite duration above 0"],
    [{ maxWait: "-5 seconds" }, 'maxWait: found "-5 seconds", expected a duration of 0 or more'],
    [{ maxQueue: 1.5 }, "maxQueue: found 1.5, expected a whole number of 0 or more"]
  ]
  for (const [options, message] of cases) {
    it(`that cannot be are refused: ${message}`, () => {
      assert.throws(() => Pacer.make(options), RangeError, `Pacer: ${message}`)
    })
  }

  it("below one a window let one go at a time", () => {
    const pacer = Effect.runSync(Pacer.make({ requests: { limit: 0.5 } }))
    assert.strictEqual(Effect.runSync(pacer.state("k")).limits.requests?.left, 1)
  })

  it.effect("let nobody wait where maxWait is 0", () =>
    Effect.gen(function* () {
      const pacer = yield* Pacer.make({ requests: { limit: 1 }, maxWait: 0 })
      yield* pacer.acquire(ask)
      assert.strictEqual((yield* Effect.flip(pacer.acquire(ask)))._tag, "RateLimited")
    })
  )

  it.effect("come with a layer", () =>
    Effect.gen(function* () {
      const context = yield* Layer.build(Pacer.layer({ requests: { limit: 7 } }))
      const state = yield* Context.get(context, Pacer.Pacer).state("k")
      assert.deepInclude(state.limits.requests, { limit: 7, windowMillis: 60_000, source: "config" })
    }).pipe(Effect.scoped)
  )
})
