import { assert, describe, it } from "@effect/vitest"
import { Clock, Duration, Effect, Fiber, TestClock } from "effect"
import { LlmError, Pacer } from "effect-steadfast"
import { errorOf, hinted } from "../../support/errors.js"
import { ask, callers, refusedBy, twoASecond } from "./Pacer.requests.js"

describe("a refusal by the provider", () => {
  const pausedUntil = (pacer: Pacer.Pacer) => Effect.map(pacer.state("k"), ({ pausedUntil }) => pausedUntil)

  it.effect("pauses the key until the hint and up to a quarter more, at least up to 200 ms", () =>
    Effect.gen(function* () {
      for (const [hint, random, expected] of [
        [4000, 0, 4000],
        [4000, 1, 5000],
        [100, 1, 300],
        [100, 0.5, 200]
      ] as const) {
        const pacer = yield* Pacer.make()
        const { come, end } = callers(pacer)
        yield* come("a")
        yield* end("a", { error: hinted(Duration.millis(hint)) }, random)
        assert.strictEqual(yield* pausedUntil(pacer), expected)
      }
    })
  )

  it.effect("with a hint of many hours pauses for an hour, then one request finds out", () =>
    Effect.gen(function* () {
      for (const hint of [Duration.hours(19), Duration.infinity]) {
        const pacer = yield* Pacer.make()
        const { come, end } = callers(pacer)
        const start = yield* Clock.currentTimeMillis
        yield* come("a")
        yield* end("a", { error: hinted(hint) })
        assert.strictEqual(yield* pausedUntil(pacer), start + 3_600_000)
        yield* TestClock.adjust("1 hour")
        assert.isUndefined(yield* refusedBy(yield* come("b")))
      }
    })
  )

  it.effect("that pauses for more than 75 seconds sends all away, with the time that is left", () =>
    Effect.gen(function* () {
      for (const [hint, isLong] of [
        [75_000, false],
        [75_100, true],
        [3_600_000, true]
      ] as const) {
        const pacer = yield* Pacer.make({ requests: { limit: 2 } })
        const { come, end } = callers(pacer)
        for (const name of ["a", "b"]) yield* come(name)
        const waiting = [yield* come("c"), yield* come("d")]
        yield* end("a", { error: hinted(Duration.millis(hint)) })
        assert.strictEqual((yield* pacer.state("k")).waiting, isLong ? 0 : 2)
        if (!isLong) continue
        for (const one of waiting) {
          const error = yield* refusedBy(one)
          assert.deepInclude(error, { _tag: "RateLimited", delivery: "not-sent", code: "pacer-queue" })
          assert.deepStrictEqual(error?.hint, Duration.millis(hint))
        }
        yield* TestClock.adjust("10 millis")
        const late = yield* Effect.flip(pacer.acquire(ask))
        assert.deepStrictEqual(late.hint, Duration.millis(hint - 10))
        // What is left of a pause is waited for as soon as it is short enough.
        yield* TestClock.adjust(hint - 75_010)
        assert.strictEqual(yield* Fiber.status(yield* come("e")).pipe(Effect.map((s) => s._tag)), "Suspended")
      }
    })
  )

  it.effect("that pauses for long is waited for where maxWait allows it", () =>
    Effect.gen(function* () {
      const pacer = yield* Pacer.make({ maxWait: "2 hours" })
      const { come, end, names } = callers(pacer)
      yield* come("a")
      yield* end("a", { error: hinted("1 hour") })
      yield* come("b")
      yield* TestClock.adjust("1 hour")
      assert.deepStrictEqual(names(), ["a", "b"])
    })
  )

  it.effect("with a longer hint extends the pause, and with a shorter one does not shorten it", () =>
    Effect.gen(function* () {
      const pacer = yield* Pacer.make()
      const { come, end } = callers(pacer)
      for (const name of ["a", "b", "c"]) yield* come(name)
      yield* end("a", { error: hinted("4 seconds") })
      yield* end("b", { error: hinted("1 second") })
      assert.strictEqual(yield* pausedUntil(pacer), 4000)
      yield* end("c", { error: hinted("6 seconds") })
      assert.strictEqual(yield* pausedUntil(pacer), 6000)
    })
  )

  it.effect("without a hint pauses twice as long each time nothing got through, and once for many at a time", () =>
    Effect.gen(function* () {
      const pacer = yield* Pacer.make()
      const { come, end } = callers(pacer)
      for (const name of ["a", "b"]) yield* come(name)
      yield* end("a", { error: errorOf("RateLimited") })
      yield* end("b", { error: errorOf("RateLimited") })
      assert.strictEqual(yield* pausedUntil(pacer), 500)
      const pauses: Array<number | undefined> = []
      for (const name of ["c", "d", "e"]) {
        yield* come(name)
        const start = (yield* pausedUntil(pacer)) ?? 0
        yield* TestClock.setTime(start)
        yield* end(name, { error: errorOf("RateLimited") })
        pauses.push(((yield* pausedUntil(pacer)) ?? 0) - start)
      }
      assert.deepStrictEqual(pauses, [1000, 2000, 4000])
    })
  )

  it.effect("is followed by one, then two, then four: those who waited do not burst", () =>
    Effect.gen(function* () {
      const { come, end, names } = callers(yield* Pacer.make({ requests: { limit: 1000 } }))
      const flying = Array.from({ length: 20 }, (_, index) => `flying ${index}`)
      for (const name of flying) yield* come(name)
      yield* end("flying 0", {
        error: new LlmError.RateLimited({ ...hinted("10 seconds"), message: "", scope: "tokens" })
      })
      for (let index = 0; index < 20; index++) yield* come(`${index}`)
      yield* TestClock.adjust("9999 millis")
      assert.strictEqual(names().length, 20)
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual(names().slice(20), ["0"])
      yield* end("0", {})
      yield* TestClock.adjust("0 millis")
      assert.deepStrictEqual(names().slice(21), ["1", "2"])
      yield* end("1", {})
      yield* TestClock.adjust("0 millis")
      assert.deepStrictEqual(names().slice(23), ["3"])
      yield* end("2", {})
      yield* TestClock.adjust("0 millis")
      assert.deepStrictEqual(names().slice(24), ["4", "5", "6", "7"])
      // No refusal came back in the time that refusals take, so the next round need not wait for answers.
      yield* TestClock.adjust("199 millis")
      assert.deepStrictEqual(names().length, 20 + 8)
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual(names().length, 20 + 16)
      yield* TestClock.adjust("200 millis")
      assert.deepStrictEqual(names().length, 20 + 20)
    })
  )

  it.effect("gives a call that comes back its place before those that came later", () =>
    Effect.gen(function* () {
      const { come, end, names } = callers(yield* Pacer.make(twoASecond))
      const [first, second] = [{}, {}]
      yield* come("first", { place: first })
      yield* come("second", { place: second })
      for (const name of ["x", "y"]) yield* come(name)
      yield* end("second", { error: hinted("1 second") })
      yield* end("first", { error: hinted("1 second") })
      yield* come("second again", { place: second })
      yield* come("first again", { place: first })
      yield* come("z")
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(names(), ["first", "second", "first again", "second again", "x", "y", "z"])
    })
  )

  it.effect("is none where there is no money, where it was our own, and where it is another error", () =>
    Effect.gen(function* () {
      for (const error of [
        errorOf("QuotaExhausted", { hint: Duration.seconds(5) }),
        errorOf("RateLimited", { hint: Duration.seconds(5), delivery: "not-sent" }),
        errorOf("Overloaded", { hint: Duration.seconds(5) })
      ]) {
        const pacer = yield* Pacer.make()
        const { come, end, names } = callers(pacer)
        yield* come("a")
        yield* end("a", { error })
        yield* come("b")
        assert.deepStrictEqual(names(), ["a", "b"])
        assert.strictEqual((yield* pacer.state("k")).pausedUntil, undefined)
      }
    })
  )
})

describe("without any limit", () => {
  it.effect("a program with few calls never waits", () =>
    Effect.gen(function* () {
      const { come, names } = callers(yield* Pacer.make())
      for (let index = 0; index < 10; index++) yield* come(`${index}`)
      assert.strictEqual(names().length, 10)
    })
  )

  it.effect("as many go as were seen to be taken, twice as many each time, and none of it is a rate", () =>
    Effect.gen(function* () {
      const pacer = yield* Pacer.make()
      const { come, names } = callers(pacer)
      for (let index = 0; index < 100; index++) yield* come(`${index}`)
      const counts: Array<number> = []
      for (let second = 0; second < 4; second++) {
        counts.push(names().length)
        yield* TestClock.adjust("1 second")
      }
      assert.deepStrictEqual(counts, [10, 30, 70, 100])
      assert.deepStrictEqual((yield* pacer.state("k")).limits, {})
    })
  )

  it.effect("two refusals tell the rate, which is then sent evenly, and forgotten after ten quiet minutes", () =>
    Effect.gen(function* () {
      const pacer = yield* Pacer.make()
      const { come, end } = callers(pacer)
      for (let index = 0; index < 200; index++) yield* come(`${index}`)
      // What a bucket of one a second lets through.
      yield* end("9", { error: errorOf("RateLimited") })
      for (let second = 0; second < 20; second++) yield* TestClock.adjust("1 second")
      const state = yield* pacer.state("k")
      const flying = state.inFlight
      yield* end(`${flying - 1}`, { error: errorOf("RateLimited") })
      const { limits } = yield* pacer.state("k")
      assert.strictEqual(limits.requests?.source, "learned")
      const perSecond = ((limits.requests?.limit ?? 0) * 1000) / (limits.requests?.windowMillis ?? 1)
      assert.isAbove(perSecond, 0)
      for (let index = 0; index < 300; index++) yield* come(`late ${index}`, { key: "other" })
      yield* TestClock.adjust("30 minutes")
      yield* come("last")
      assert.deepStrictEqual((yield* pacer.state("k")).limits, {})
    })
  )
})
