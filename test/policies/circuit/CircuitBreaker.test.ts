import { assert, describe, it } from "@effect/vitest"
import { Cause, Chunk, Deferred, Duration, Effect, Exit, Fiber, Layer, Option, Stream, TestClock } from "effect"
import { CircuitBreaker, Deadline, LlmError, Resilience } from "effect-steadfast"
import { errorOf, tags } from "../../support/errors.js"
import { drawing, errorIn, under } from "../../support/time.js"
import { auth, isRefused, mistake, server } from "./CircuitBreaker.support.js"

const ask = { key: "openai/gpt-4o-mini#k1", provider: "openai", model: "gpt-4o-mini" }

const exact = drawing(0)

/** A breaker, and what it takes to fail and answer through it. */
const setup = (options?: CircuitBreaker.Options) =>
  Effect.map(CircuitBreaker.make({ maxWait: 0, ...options }), (breaker) => {
    let sent = 0
    const through = <A, E>(effect: Effect.Effect<A, E>) =>
      Effect.zipRight(
        Effect.sync(() => {
          sent++
        }),
        effect
      ).pipe(breaker.execute(ask))
    const fail = (error: LlmError.LlmError = server) => Effect.exit(through(Effect.fail(error)))
    const trip = (error?: LlmError.LlmError) => Effect.repeatN(fail(error), 2)
    const refusal = Effect.map(fail(), errorIn)
    const answer = through(Effect.succeed("ok"))
    return { breaker, through, fail, trip, refusal, answer, state: breaker.state(ask.key), sent: () => sent }
  })

/** Something that waits to be told how to end. */
const hanging = Effect.map(Deferred.make<string, LlmError.LlmError>(), (end) => ({ end, effect: Deferred.await(end) }))

describe("execute", () => {
  it.effect("gives back what the effect ends with", () =>
    Effect.gen(function* () {
      const { breaker } = yield* setup()
      const end = <A, E>(effect: Effect.Effect<A, E>) => Effect.exit(breaker.execute(effect, ask))
      assert.deepStrictEqual(yield* end(Effect.succeed(7)), Exit.succeed(7))
      assert.deepStrictEqual(yield* end(Effect.fail(server)), Exit.fail(server))
      assert.deepStrictEqual(yield* end(Effect.die("x")), Exit.die("x"))
    })
  )

  it.effect("refuses without running, and says what opened the circuit and when to come again", () =>
    exact(
      Effect.gen(function* () {
        const { refusal, sent, trip } = yield* setup()
        yield* trip()
        assert.strictEqual(sent(), 3)
        yield* TestClock.adjust("300 millis")
        const error = yield* refusal
        assert.strictEqual(sent(), 3)
        assert.instanceOf(error, LlmError.CircuitOpen)
        assert.deepInclude(error, {
          provider: "openai",
          model: "gpt-4o-mini",
          delivery: "not-sent",
          hint: Duration.millis(700)
        })
        assert.strictEqual(error?.message, "the circuit is open after ServerError")
        assert.isTrue(error !== undefined && LlmError.isFallbackable(error) && !LlmError.isRetryable(error))
      })
    )
  )

  it.effect("says of a dead key that it is taken out", () =>
    exact(
      Effect.gen(function* () {
        const { fail, refusal } = yield* setup()
        yield* fail(auth)
        const error = yield* refusal
        assert.strictEqual(error?.message, "the key is taken out after AuthError")
        assert.deepStrictEqual(error?.hint, Duration.seconds(60))
      })
    )
  )

  it.effect("says of a circuit that is probed that it is", () =>
    exact(
      Effect.gen(function* () {
        const { refusal, through, trip } = yield* setup()
        yield* trip()
        yield* TestClock.adjust("1 second")
        const probe = yield* Effect.fork(through(Effect.never))
        yield* Effect.yieldNow()
        const error = yield* refusal
        assert.strictEqual(error?.message, "the circuit is open after ServerError, and is being probed")
        assert.deepStrictEqual(error?.hint, Duration.seconds(1))
        yield* Fiber.interrupt(probe)
      })
    )
  )

  it.effect("names the key where it knows no provider", () =>
    Effect.gen(function* () {
      const breaker = yield* CircuitBreaker.make({ maxWait: 0 })
      yield* breaker.open("local")
      const error = yield* Effect.flip(breaker.admit({ key: "local" }))
      assert.strictEqual(LlmError.targetOf(error), "local")
      assert.isUndefined(error.hint)
    })
  )

  it.effect("keeps the circuits of keys apart", () =>
    Effect.gen(function* () {
      const { breaker, trip } = yield* setup()
      yield* trip()
      assert.strictEqual(yield* breaker.execute(Effect.succeed(1), { ...ask, key: "other" }), 1)
    })
  )

  it.effect("recovers: a probe, the ramp, and closed again", () =>
    exact(
      Effect.gen(function* () {
        const { answer, fail, state, trip } = yield* setup()
        yield* trip()
        yield* TestClock.adjust("1 second")
        yield* fail()
        assert.deepInclude(yield* state, { _tag: "Open", retryAfter: Duration.seconds(2), error: "ServerError" })
        yield* TestClock.adjust("2 seconds")
        for (const width of [2, 4]) {
          yield* answer
          assert.deepInclude(yield* state, { _tag: "HalfOpen", width })
        }
        yield* answer
        assert.strictEqual((yield* state)._tag, "Closed")
      })
    )
  )

  it.effect("draws the open time, so that processes part", () =>
    Effect.gen(function* () {
      const opened = Effect.flatMap(setup(), ({ state, trip }) => Effect.zipRight(trip(), state))
      const states = yield* Effect.replicateEffect(opened, 50)
      const lasts = states.map((state) => (state._tag === "Open" ? Duration.toMillis(state.retryAfter) : 0))
      assert.isAbove(new Set(lasts).size, 20)
      assert.isTrue(lasts.every((millis) => millis >= 800 && millis <= 1000))
    })
  )

  it.effect("a probe that is interrupted gives its place to the next", () =>
    exact(
      Effect.gen(function* () {
        const { answer, state, through, trip } = yield* setup()
        yield* trip()
        yield* TestClock.adjust("1 second")
        const probe = yield* Effect.fork(through(Effect.never))
        yield* Effect.yieldNow()
        assert.isTrue(isRefused(yield* Effect.exit(answer)))
        yield* Fiber.interrupt(probe)
        assert.deepInclude(yield* state, { _tag: "HalfOpen", probes: 0 })
        assert.strictEqual(yield* answer, "ok")
      })
    )
  )

  it.effect("many failures that arrive at once open the circuit once", () =>
    exact(
      Effect.gen(function* () {
        const { state, through } = yield* setup()
        const { effect, end } = yield* hanging
        const fibers = yield* Effect.forkAll(Array.from({ length: 50 }, () => through(effect)))
        yield* Effect.yieldNow()
        yield* Deferred.fail(end, server)
        assert.isTrue(Exit.isFailure(yield* Fiber.await(fibers)))
        assert.deepInclude(yield* state, { retryAfter: Duration.seconds(1), consecutiveOpenings: 1 })
      })
    )
  )

  it.effect("an answer from before the circuit opened does not close it", () =>
    Effect.gen(function* () {
      const { state, through, trip } = yield* setup()
      const { effect, end } = yield* hanging
      const slow = yield* Effect.fork(through(effect))
      yield* Effect.yieldNow()
      yield* trip()
      const before = yield* state
      yield* Deferred.succeed(end, "late")
      assert.strictEqual(yield* Fiber.join(slow), "late")
      assert.deepStrictEqual(yield* state, before)
    })
  )

  it.effect("leaves the attempt interruptible, also where the caller is not", () =>
    Effect.gen(function* () {
      const { through } = yield* setup()
      const fiber = yield* Effect.fork(through(Effect.never))
      yield* Effect.yieldNow()
      assert.isTrue(Exit.isInterrupted(yield* Fiber.interrupt(fiber)))
      let whole = false
      const held = yield* through(
        Effect.map(Effect.sleep("1 second"), () => {
          whole = true
        })
      ).pipe(Effect.uninterruptible, Effect.fork)
      yield* Effect.yieldNow()
      yield* Fiber.interruptFork(held)
      yield* TestClock.adjust("1 second")
      yield* Fiber.await(held)
      assert.isTrue(whole)
    })
  )
})

describe("classify", () => {
  const outcome = (error: LlmError.LlmError) => CircuitBreaker.classify(Exit.fail(error), 1000)

  const expected: { readonly [K in LlmError.Tag]: CircuitBreaker.Outcome["_tag"] } = {
    ConnectionError: "Failure",
    ServerError: "Failure",
    Overloaded: "Failure",
    InvalidResponse: "Failure",
    StreamInterrupted: "Failure",
    Timeout: "Failure",
    AuthError: "Dead",
    QuotaExhausted: "Dead",
    RateLimited: "Throttled",
    InvalidRequest: "Ignored",
    ContextLengthExceeded: "Ignored",
    ContentFiltered: "Ignored",
    ModelNotFound: "Ignored",
    PermissionDenied: "Ignored",
    CircuitOpen: "Ignored",
    BudgetExceeded: "Ignored"
  }

  it.each(tags)("%s", (tag) => {
    assert.strictEqual(outcome(errorOf(tag))._tag, expected[tag])
  })

  it.each(tags)("%s that was never sent", (tag) => {
    const unsent = outcome(errorOf(tag, { delivery: "not-sent" }))._tag
    assert.strictEqual(unsent, tag === "ConnectionError" ? "Failure" : "Ignored")
  })

  it.each([
    ["connect", "not-sent", "Failure"],
    ["attempt", "not-sent", "Ignored"],
    ["first-token", "unknown", "Failure"],
    ["idle", "unknown", "Failure"],
    ["total", "unknown", "Ignored"]
  ] as const)("Timeout of %s, %s", (phase, delivery, tag) => {
    const timeout = new LlmError.Timeout({ provider: "openai", message: "late", phase, delivery })
    assert.strictEqual(outcome(timeout)._tag, tag)
  })

  it("takes the hint along", () => {
    const hint = Duration.seconds(7)
    assert.deepStrictEqual(outcome(errorOf("Overloaded", { hint })), {
      _tag: "Failure",
      retryAfter: hint,
      error: "Overloaded"
    })
    assert.deepStrictEqual(outcome(errorOf("RateLimited", { hint })), CircuitBreaker.throttled(8000))
    assert.deepStrictEqual(outcome(errorOf("RateLimited")), CircuitBreaker.throttled(1000))
  })

  it("of anything else", () => {
    const of = (exit: Exit.Exit<unknown, unknown>) => CircuitBreaker.classify(exit, 0)._tag
    assert.strictEqual(of(Exit.succeed(1)), "Success")
    assert.strictEqual(of(Exit.die("x")), "Ignored")
    assert.strictEqual(of(Exit.fail("mine")), "Ignored")
    assert.strictEqual(of(Exit.failCause(Cause.interrupt(0 as never))), "Ignored")
    assert.strictEqual(of(Exit.failCause(Cause.sequential(Cause.fail(server), Cause.die("x")))), "Failure")
  })

  it("of what was interrupted because a limit was up", () => {
    const limit = Deadline.narrow(Deadline.none, 0, 100, "attempt")
    const interrupted = Exit.failCause(Cause.interrupt(0 as never))
    assert.strictEqual(CircuitBreaker.classify(interrupted, 0, limit)._tag, "Ignored")
    limit.expired = errorOf("Timeout")
    assert.strictEqual(CircuitBreaker.classify(interrupted, 0, limit)._tag, "Failure")
    assert.strictEqual(CircuitBreaker.classify(Exit.die("x"), 0, limit)._tag, "Ignored")
  })

  it.effect("mistakes, defects, 429 and interruption open nothing, however many", () =>
    Effect.gen(function* () {
      const { fail, state, through } = yield* setup()
      const limited = errorOf("RateLimited", { hint: Duration.seconds(9) })
      for (let i = 0; i < 20; i++) {
        yield* fail(mistake)
        yield* fail(limited)
        yield* Effect.exit(through(Effect.die("x")))
        yield* Effect.exit(through(Effect.interrupt))
      }
      assert.deepStrictEqual(yield* state, { _tag: "Closed", key: ask.key, throttledUntil: 9000 })
    })
  )

  it.effect("an attempt's timeout counts inside and around, the deadline of the call never", () =>
    Effect.gen(function* () {
      const stateAfter = (
        limited: (breaker: CircuitBreaker.CircuitBreaker) => Effect.Effect<unknown, LlmError.LlmError>
      ) =>
        Effect.gen(function* () {
          const breaker = yield* CircuitBreaker.make({ tripPolicy: CircuitBreaker.consecutive(1), maxWait: 0 })
          const { exit } = yield* under(limited(breaker))
          assert.strictEqual(errorIn(exit)?._tag, "Timeout")
          return (yield* breaker.state(ask.key))._tag
        })
      const asked = Effect.suspend(() => Effect.never)
      const noted = Effect.flatMap(Deadline.Deadline, (limit) => {
        Deadline.asking(limit, { provider: "openai", model: "gpt-4o-mini" })
        return asked
      })
      const attempt = Resilience.timeout("1 second")
      const whole = Resilience.deadline("1 second")
      assert.strictEqual(yield* stateAfter(({ execute }) => noted.pipe(attempt, execute(ask))), "Open")
      assert.strictEqual(yield* stateAfter(({ execute }) => noted.pipe(execute(ask), attempt)), "Open")
      assert.strictEqual(yield* stateAfter(({ execute }) => noted.pipe(whole, execute(ask))), "Closed")
      assert.strictEqual(yield* stateAfter(({ execute }) => noted.pipe(execute(ask), whole)), "Closed")
      // nobody was asked in time: the time went by on our side
      assert.strictEqual(yield* stateAfter(({ execute }) => asked.pipe(execute(ask), attempt)), "Closed")
    })
  )

  it.effect("can be one's own, of a value too", () =>
    Effect.gen(function* () {
      const { breaker } = yield* setup({ tripPolicy: CircuitBreaker.consecutive(1) })
      const empty = Effect.succeed("").pipe(
        breaker.execute({
          ...ask,
          classify: (exit) =>
            Exit.isSuccess(exit) && exit.value === "" ? CircuitBreaker.failure() : CircuitBreaker.success
        })
      )
      assert.strictEqual(yield* empty, "")
      assert.isTrue(isRefused(yield* Effect.exit(empty)))
    })
  )

  it.effect("is not asked about interruption", () =>
    Effect.gen(function* () {
      const { breaker, state } = yield* setup()
      yield* Effect.exit(breaker.execute(Effect.interrupt, { ...ask, classify: () => CircuitBreaker.dead }))
      assert.strictEqual((yield* state)._tag, "Closed")
    })
  )

  it.effect("that throws makes the call die, and says nothing about the target", () =>
    exact(
      Effect.gen(function* () {
        const { breaker, state, trip } = yield* setup()
        yield* trip()
        yield* TestClock.adjust("1 second")
        const classify = () => {
          throw new Error("mine")
        }
        const exit = yield* Effect.exit(breaker.execute(Effect.fail(server), { ...ask, classify }))
        assert.isTrue(Exit.isFailure(exit) && Cause.isDie(exit.cause))
        assert.isTrue(Exit.isFailure(exit) && Option.contains(Cause.failureOption(exit.cause), server))
        assert.deepInclude(yield* state, { _tag: "HalfOpen", probes: 0 })
      })
    )
  )
})

describe("admit and record", () => {
  it.effect("are the two halves of execute", () =>
    exact(
      Effect.gen(function* () {
        const { breaker, state } = yield* setup()
        const run = (outcome: CircuitBreaker.Outcome) =>
          Effect.flatMap(breaker.admit(ask), (admission) => breaker.record(ask.key, admission, outcome))
        yield* Effect.repeatN(run(CircuitBreaker.failure({ retryAfter: "4 seconds" })), 2)
        assert.deepInclude(yield* state, { _tag: "Open", retryAfter: Duration.seconds(5), error: undefined })
        const error = yield* Effect.flip(run(CircuitBreaker.success))
        assert.strictEqual(error.message, "the circuit is open")
        yield* TestClock.adjust("5 seconds")
        const probe = yield* breaker.admit(ask)
        assert.isTrue(isRefused(yield* Effect.exit(breaker.admit(ask))))
        yield* breaker.record(ask.key, probe, CircuitBreaker.ignored)
        yield* Effect.repeatN(run(CircuitBreaker.success), 2)
        assert.strictEqual((yield* state)._tag, "Closed")
      })
    )
  )
})

describe("readyAt", () => {
  it.effect("follows the circuit", () =>
    exact(
      Effect.gen(function* () {
        const { answer, breaker, through, trip } = yield* setup()
        const at = () => breaker.readyAt(ask.key)
        assert.strictEqual(at(), 0)
        yield* TestClock.adjust("10 seconds")
        yield* answer
        assert.strictEqual(at(), 0)
        yield* trip()
        assert.strictEqual(at(), 11_000)
        yield* TestClock.adjust("5 seconds")
        const probe = yield* Effect.fork(through(Effect.never))
        yield* Effect.yieldNow()
        assert.strictEqual(at(), 135_000)
        yield* Fiber.interrupt(probe)
        assert.strictEqual(at(), 0)
        yield* breaker.open(ask.key)
        assert.strictEqual(at(), Number.POSITIVE_INFINITY)
        yield* breaker.reset(ask.key)
        assert.strictEqual(at(), 0)
      })
    )
  )
})

describe("by hand", () => {
  it.effect("open refuses until reset", () =>
    Effect.gen(function* () {
      const { answer, breaker, refusal, state } = yield* setup()
      yield* breaker.open(ask.key)
      yield* TestClock.adjust("2 days")
      assert.strictEqual((yield* refusal)?.message, "the circuit was opened by hand")
      assert.deepInclude(yield* state, { _tag: "Open", reason: "Manual", retryAfter: Duration.infinity })
      yield* breaker.reset(ask.key)
      assert.strictEqual(yield* answer, "ok")
    })
  )

  it.effect("reset lets a dead key in at once", () =>
    Effect.gen(function* () {
      const { answer, breaker, fail } = yield* setup()
      yield* fail(auth)
      yield* breaker.reset(ask.key)
      assert.strictEqual(yield* answer, "ok")
    })
  )
})

describe("transitions", () => {
  const collecting = (breaker: CircuitBreaker.CircuitBreaker, count: number) =>
    Effect.gen(function* () {
      const fiber = yield* Effect.fork(Stream.runCollect(Stream.take(breaker.transitions, count)))
      yield* Effect.yieldNow()
      yield* Effect.yieldNow()
      return fiber
    })

  it.effect("reach every subscriber from the moment it subscribes", () =>
    exact(
      Effect.gen(function* () {
        const { answer, breaker, trip } = yield* setup()
        const early = yield* collecting(breaker, 3)
        yield* trip()
        const late = yield* collecting(breaker, 2)
        yield* TestClock.adjust("1 second")
        yield* Effect.repeatN(answer, 2)
        const all = Chunk.toReadonlyArray(yield* Fiber.join(early))
        assert.deepStrictEqual(all, [
          {
            key: ask.key,
            at: 0,
            from: "Closed",
            to: "Open",
            reason: "Unhealthy",
            error: "ServerError",
            retryAfter: Duration.seconds(1),
            consecutiveOpenings: 1
          },
          { key: ask.key, at: 1000, from: "Open", to: "HalfOpen" },
          { key: ask.key, at: 1000, from: "HalfOpen", to: "Closed" }
        ])
        assert.deepStrictEqual(Chunk.toReadonlyArray(yield* Fiber.join(late)), all.slice(1))
      })
    )
  )

  it.effect("by hand are told too, where something changes", () =>
    Effect.gen(function* () {
      const { breaker } = yield* setup()
      const fiber = yield* collecting(breaker, 3)
      yield* breaker.reset("a")
      yield* breaker.open("a")
      yield* breaker.open("a")
      yield* breaker.reset("a")
      yield* breaker.open("b")
      const told = Chunk.toReadonlyArray(yield* Fiber.join(fiber)).map(({ from, key, to }) => [key, from, to])
      assert.deepStrictEqual(told, [
        ["a", "Closed", "Open"],
        ["a", "Open", "Closed"],
        ["b", "Closed", "Open"]
      ])
    })
  )

  it.effect("a subscriber that does not listen keeps the last 128 and nobody waiting", () =>
    Effect.gen(function* () {
      const { breaker } = yield* setup()
      const gate = yield* Deferred.make<void>()
      const fiber = yield* breaker.transitions.pipe(
        Stream.mapEffect((transition) => Effect.as(Deferred.await(gate), transition.key)),
        Stream.takeUntil((key) => key === "999"),
        Stream.runCollect,
        Effect.fork
      )
      yield* Effect.repeatN(Effect.yieldNow(), 9)
      yield* breaker.open("first")
      yield* Effect.repeatN(Effect.yieldNow(), 9)
      for (let i = 0; i < 1000; i++) yield* breaker.open(`${i}`)
      yield* Deferred.succeed(gate, undefined)
      const last = Array.from({ length: 128 }, (_, i) => `${872 + i}`)
      assert.deepStrictEqual(Chunk.toReadonlyArray(yield* Fiber.join(fiber)), ["first", ...last])
    })
  )
})

describe("layer", () => {
  it.effect("provides the breaker of the application", () =>
    Effect.gen(function* () {
      const program = Effect.gen(function* () {
        const breaker = yield* CircuitBreaker.CircuitBreaker
        yield* Effect.exit(breaker.execute(Effect.fail(server), ask))
        return yield* breaker.state(ask.key)
      })
      const one = CircuitBreaker.layer({ tripPolicy: CircuitBreaker.consecutive(1) })
      assert.strictEqual((yield* Effect.provide(program, one))._tag, "Open")
      assert.strictEqual((yield* Effect.provide(program, CircuitBreaker.layer()))._tag, "Closed")
      assert.isTrue(Layer.isLayer(one))
    })
  )

  it("and make refuse wrong options at once", () => {
    assert.throws(() => CircuitBreaker.make({ ramp: [0] }), RangeError, "ramp")
    assert.throws(() => CircuitBreaker.layer({ ramp: [0] }), RangeError, "ramp")
  })
})
