import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Schedule, TestClock } from "effect"
import { LlmError, Resilience, RetryPolicy } from "effect-steadfast"
import { errorOf, hinted, tags } from "../../support/errors.js"
import { collectLogs } from "../../support/evidence.js"
import { drawing, errorIn, failing, gaps, under } from "../../support/time.js"

const server = errorOf("ServerError")
const overloaded = errorOf("Overloaded")

/** The times of the attempts, and the end, of a program that is retried under `TestClock`. */
const timeline = (
  policy: Schedule.Schedule<unknown, LlmError.LlmError>,
  errors: ReadonlyArray<LlmError.LlmError>,
  random = 1
) =>
  Effect.gen(function* () {
    const { effect, times } = failing(errors)
    const { exit, millis } = yield* under(drawing(random)(Effect.retry(effect, policy)))
    return { times, waits: gaps(times), attempts: times.length, exit, millis, error: errorIn(exit) }
  })

const forever = <A>(value: A): ReadonlyArray<A> => Array.from({ length: 50 }, () => value)

describe("standard", () => {
  it.effect("doubles from 500 ms where chance draws the most", () =>
    Effect.gen(function* () {
      const { error, times } = yield* timeline(RetryPolicy.standard, forever(server))
      assert.deepStrictEqual(times, [0, 500, 1500, 3500])
      assert.strictEqual(error, server)
    })
  )

  it.effect("draws each backoff from 0 to its value", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual((yield* timeline(RetryPolicy.standard, forever(server), 0.5)).waits, [250, 500, 1000])
      assert.deepStrictEqual((yield* timeline(RetryPolicy.standard, forever(server), 0)).waits, [0, 0, 0])
    })
  )

  it.effect("starts from 1 second when overloaded", () =>
    Effect.gen(function* () {
      const { waits } = yield* timeline(RetryPolicy.standard, forever(overloaded))
      assert.deepStrictEqual(waits, [1000, 2000, 4000])
    })
  )

  it.effect("the newest error decides the backoff, its number the exponent", () =>
    Effect.gen(function* () {
      const { waits } = yield* timeline(RetryPolicy.standard, [server, overloaded, server])
      assert.deepStrictEqual(waits, [500, 2000, 2000])
    })
  )

  it.effect("succeeds with the first answer", () =>
    Effect.gen(function* () {
      const { exit, times } = yield* timeline(RetryPolicy.standard, [server])
      assert.deepStrictEqual(exit, Exit.succeed("ok"))
      assert.deepStrictEqual(times, [0, 500])
    })
  )
})

describe("the server's hint", () => {
  it.effect("is a floor where it is longer than the backoff, with 25 % of jitter on top", () =>
    Effect.gen(function* () {
      const errors = forever(hinted("10 seconds"))
      assert.deepStrictEqual((yield* timeline(RetryPolicy.standard, errors, 0)).waits, [10_000, 10_000, 10_000])
      assert.deepStrictEqual((yield* timeline(RetryPolicy.standard, errors, 0.5)).waits, [11_250, 11_250, 11_250])
      assert.deepStrictEqual((yield* timeline(RetryPolicy.standard, errors, 1)).waits, [12_500, 12_500, 12_500])
    })
  )

  it.effect("is spread by 200 ms at least", () =>
    Effect.gen(function* () {
      const policy = RetryPolicy.make({ initialDelay: 0 })
      assert.deepStrictEqual((yield* timeline(policy, [hinted("100 millis")], 1)).waits, [300])
      assert.deepStrictEqual((yield* timeline(policy, [hinted("800 millis")], 1)).waits, [1000])
      assert.deepStrictEqual((yield* timeline(policy, [hinted("802 millis")], 1)).waits, [1003])
    })
  )

  it.effect("counts for nothing where the backoff is longer", () =>
    Effect.gen(function* () {
      const { waits } = yield* timeline(RetryPolicy.standard, forever(hinted("300 millis")))
      assert.deepStrictEqual(waits, [500, 1000, 2000])
    })
  )

  it.effect("of zero is no more than the spread", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual((yield* timeline(RetryPolicy.standard, [hinted(0)], 0)).waits, [0])
      assert.deepStrictEqual((yield* timeline(RetryPolicy.make({ initialDelay: 0 }), [hinted(0)], 1)).waits, [200])
    })
  )

  it.effect("at maxHint is waited for, above it ends retrying at once", () =>
    Effect.gen(function* () {
      const at = yield* timeline(RetryPolicy.standard, [hinted("60 seconds")], 0)
      assert.deepStrictEqual(at.times, [0, 60_000])
      const above = yield* timeline(RetryPolicy.standard, forever(hinted("60001 millis")), 0)
      assert.strictEqual(above.attempts, 1)
      assert.strictEqual(above.millis, 0)
      assert.strictEqual(above.error?._tag, "RateLimited")
    })
  )

  it.effect("of any error is respected, not of rate limits alone", () =>
    Effect.gen(function* () {
      const error = errorOf("ServerError", { hint: hinted("3 seconds").hint })
      assert.deepStrictEqual((yield* timeline(RetryPolicy.standard, [error], 0)).waits, [3000])
    })
  )
})

describe("the newest error decides", () => {
  it.effect("hint, then backoff, then stop", () =>
    Effect.gen(function* () {
      const auth = errorOf("AuthError")
      const { error, times } = yield* timeline(RetryPolicy.standard, [hinted("7 seconds"), server, auth], 0.5)
      assert.deepStrictEqual(times, [0, 7875, 8375])
      assert.strictEqual(error, auth)
    })
  )
})

describe("how often", () => {
  it.effect("maxAttempts counts the first one", () =>
    Effect.gen(function* () {
      for (const maxAttempts of [1, 2, 3, 7, 20]) {
        const policy = RetryPolicy.make({ maxAttempts, initialDelay: "1 millis" })
        assert.strictEqual((yield* timeline(policy, forever(server))).attempts, maxAttempts)
      }
    })
  )

  for (const tag of tags) {
    it.effect(`${tag} is tried ${LlmError.isRetryable(errorOf(tag)) ? "four times" : "once"}`, () =>
      Effect.gen(function* () {
        const error = errorOf(tag)
        const { attempts, error: last, millis } = yield* timeline(RetryPolicy.standard, forever(error), 0)
        assert.strictEqual(attempts, LlmError.isRetryable(error) ? 4 : 1)
        assert.strictEqual(last, error)
        assert.strictEqual(millis, 0)
      })
    )
  }

  it.effect("an instance overrides its class, both ways", () =>
    Effect.gen(function* () {
      const stop = errorOf("ServerError", { retryable: false })
      const go = errorOf("InvalidRequest", { retryable: true })
      assert.strictEqual((yield* timeline(RetryPolicy.standard, forever(stop))).attempts, 1)
      assert.strictEqual((yield* timeline(RetryPolicy.standard, forever(go))).attempts, 4)
    })
  )

  it.effect("the timeout of the whole call is not retried, that of an attempt is", () =>
    Effect.gen(function* () {
      const total = new LlmError.Timeout({ provider: "openai", message: "late", delivery: "unknown", phase: "total" })
      assert.strictEqual((yield* timeline(RetryPolicy.standard, forever(total))).attempts, 1)
      assert.strictEqual((yield* timeline(RetryPolicy.standard, forever(errorOf("Timeout")))).attempts, 4)
    })
  )

  it.effect("patient tries twenty times and takes hints of up to 10 minutes", () =>
    Effect.gen(function* () {
      const { waits } = yield* timeline(RetryPolicy.patient, forever(server))
      assert.deepStrictEqual(waits, [
        ...[500, 1000, 2000, 4000, 8000, 16_000, 32_000],
        ...Array.from({ length: 12 }, () => 60_000)
      ])
      assert.deepStrictEqual((yield* timeline(RetryPolicy.patient, [hinted("10 minutes")], 0)).waits, [600_000])
      assert.strictEqual((yield* timeline(RetryPolicy.patient, forever(hinted("601 seconds")))).attempts, 1)
    })
  )

  it.effect("none tries once", () =>
    Effect.gen(function* () {
      const { attempts, millis } = yield* timeline(RetryPolicy.none, forever(server))
      assert.deepStrictEqual([attempts, millis], [1, 0])
    })
  )
})

describe("what is no error of ours", () => {
  it.effect("defects are not retried", () =>
    Effect.gen(function* () {
      let runs = 0
      const bug = Effect.suspend((): Effect.Effect<never, LlmError.LlmError> => {
        runs++
        return Effect.die("a bug")
      })
      for (const retried of [Effect.retry(bug, RetryPolicy.standard), Resilience.retry(bug, RetryPolicy.standard)]) {
        runs = 0
        const { exit, millis } = yield* under(retried)
        assert.deepStrictEqual(exit, Exit.die("a bug"))
        assert.deepStrictEqual([runs, millis], [1, 0])
      }
    })
  )

  it.effect("interruption ends the wait at once and writes no second line", () =>
    Effect.gen(function* () {
      const { layer, levels } = collectLogs()
      const { effect, times } = failing(forever(server))
      const retried = Effect.provide(drawing(1)(Effect.retry(effect, RetryPolicy.standard)), layer)
      const fiber = yield* Effect.fork(retried)
      yield* TestClock.adjust("700 millis")
      const exit = yield* Fiber.interrupt(fiber)
      assert.isTrue(Exit.isInterrupted(exit))
      yield* TestClock.adjust("1 hour")
      assert.deepStrictEqual(times, [0, 500])
      assert.deepStrictEqual(levels(), ["WARN", "WARN"])
    })
  )

  it.effect("interruption during an attempt interrupts the attempt and is not retried", () =>
    Effect.gen(function* () {
      let runs = 0
      let interrupted = 0
      const slow = Effect.suspend((): Effect.Effect<never, LlmError.LlmError> => {
        runs++
        return Effect.onInterrupt(Effect.never, () => Effect.sync(() => interrupted++))
      })
      for (const retried of [Effect.retry(slow, RetryPolicy.standard), Resilience.retry(slow, RetryPolicy.standard)]) {
        const fiber = yield* Effect.fork(retried)
        yield* TestClock.adjust("1 second")
        assert.isTrue(Exit.isInterrupted(yield* Fiber.interrupt(fiber)))
      }
      yield* TestClock.adjust("1 hour")
      assert.deepStrictEqual([runs, interrupted], [2, 2])
    })
  )
})

describe("within a deadline", () => {
  it.effect("a wait that would cross it is not begun: the last error comes now", () =>
    Effect.gen(function* () {
      const { effect, times } = failing(forever(server))
      const bounded = Resilience.deadline(Effect.retry(effect, RetryPolicy.standard), "1400 millis")
      const { exit, millis } = yield* under(drawing(1)(bounded))
      assert.deepStrictEqual(times, [0, 500])
      assert.strictEqual(millis, 500)
      assert.strictEqual(errorIn(exit), server)
    })
  )

  it.effect("nor one that ends with it, and one that ends a millisecond before is", () =>
    Effect.gen(function* () {
      for (const [limit, expected] of [
        ["1500 millis", [500]],
        ["1501 millis", [500, 1000]]
      ] as const) {
        const { effect, times } = failing(forever(server))
        yield* under(drawing(1)(Resilience.deadline(Effect.retry(effect, RetryPolicy.standard), limit)))
        assert.deepStrictEqual(gaps(times), [...expected])
      }
    })
  )

  it.effect("a hint beyond it fails at once", () =>
    Effect.gen(function* () {
      const { effect, times } = failing(forever(hinted("20 seconds")))
      const { exit, millis } = yield* under(
        drawing(0)(Resilience.deadline(Effect.retry(effect, RetryPolicy.standard), "10 seconds"))
      )
      assert.deepStrictEqual([times.length, millis, errorIn(exit)?._tag], [1, 0, "RateLimited"])
    })
  )

  it.effect("Resilience.retry keeps a user's own schedule within it too", () =>
    Effect.gen(function* () {
      const { effect, times } = failing(forever(server))
      const bounded = Resilience.deadline(Resilience.retry(effect, Schedule.spaced("2 seconds")), "5 seconds")
      const { exit, millis } = yield* under(bounded)
      assert.deepStrictEqual(times, [0, 2000, 4000])
      assert.deepStrictEqual([millis, errorIn(exit)], [4000, server])
    })
  )
})
