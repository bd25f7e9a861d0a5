import { assert, describe, it } from "@effect/vitest"
import { Effect, Schedule } from "effect"
import { type LlmError, Resilience, RetryPolicy } from "effect-steadfast"
import { errorOf, hinted } from "../../support/errors.js"
import { collectLogs } from "../../support/evidence.js"
import { drawing, failing, gaps, under, waits } from "../../support/time.js"

const server = errorOf("ServerError")
const many = Array.from({ length: 30 }, () => server)

const decided = (schedule: Schedule.Schedule<unknown, LlmError.LlmError>, errors: ReadonlyArray<LlmError.LlmError>) =>
  Effect.map(drawing(1)(waits(schedule, errors)), ({ stopped, waits }) => ({ waits, stopped }))

describe("each block alone is a Schedule", () => {
  it.effect("backoff doubles to its cap and never stops", () =>
    Effect.gen(function* () {
      const { stopped, waits } = yield* decided(RetryPolicy.backoff({ maxDelay: "3 seconds" }), many)
      assert.deepStrictEqual(waits.slice(0, 5), [500, 1000, 2000, 3000, 3000])
      assert.deepStrictEqual([waits.length, stopped], [30, false])
    })
  )

  it.effect("backoff goes on even after what is not retryable", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* decided(RetryPolicy.backoff(), [errorOf("AuthError")]), {
        waits: [500],
        stopped: false
      })
    })
  )

  it.effect("backoff without jitter draws no number", () =>
    Effect.gen(function* () {
      const schedule = RetryPolicy.backoff({ jitter: "none", initialDelay: "100 millis", backoffFactor: 3 })
      const { waits: all } = yield* drawing(0)(waits(schedule, many.slice(0, 3)))
      assert.deepStrictEqual(all, [100, 300, 900])
    })
  )

  it.effect("serverHint waits where there is a hint, and goes on at once where there is none", () =>
    Effect.gen(function* () {
      const errors = [server, hinted("2 seconds"), server, hinted("40 seconds")]
      assert.deepStrictEqual(yield* decided(RetryPolicy.serverHint(), errors), {
        waits: [0, 2500, 0, 50_000],
        stopped: false
      })
    })
  )

  it.effect("serverHint stops at a hint above maxHint, and without jitter waits exactly the hint", () =>
    Effect.gen(function* () {
      const schedule = RetryPolicy.serverHint({ maxHint: "5 seconds", jitter: "none" })
      assert.deepStrictEqual(yield* decided(schedule, [hinted("5 seconds"), hinted("5001 millis")]), {
        waits: [5000],
        stopped: true
      })
    })
  )

  it.effect("attempts counts, and waits for nothing", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* decided(RetryPolicy.attempts(3), many), { waits: [0, 0], stopped: true })
      assert.deepStrictEqual(yield* decided(RetryPolicy.attempts(1), many), { waits: [], stopped: true })
    })
  )

  it.effect("whileRetryable stops at the first error that stays", () =>
    Effect.gen(function* () {
      const errors = [server, errorOf("Overloaded"), errorOf("QuotaExhausted"), server]
      assert.deepStrictEqual(yield* decided(RetryPolicy.whileRetryable, errors), { waits: [0, 0], stopped: true })
    })
  )

  it.effect("a block drives Effect.retry as it is", () =>
    Effect.gen(function* () {
      const { effect, times } = failing(many)
      yield* under(drawing(1)(Effect.retry(effect, Schedule.intersect(RetryPolicy.backoff(), RetryPolicy.attempts(3)))))
      assert.deepStrictEqual(times, [0, 500, 1500])
    })
  )

  it.effect("a schedule can be run twice and starts anew", () =>
    Effect.gen(function* () {
      const once = yield* decided(RetryPolicy.standard, many.slice(0, 3))
      assert.deepStrictEqual(yield* decided(RetryPolicy.standard, many.slice(0, 3)), once)
    }).pipe(Effect.provideService(RetryPolicy.Listener, () => Effect.void))
  )
})

const logged = (effect: Effect.Effect<unknown, unknown>, random = 1) =>
  Effect.gen(function* () {
    const { layer, lines } = collectLogs()
    yield* under(drawing(random)(Effect.provide(effect, layer)))
    return lines
  })

describe("log lines", () => {
  it.effect("one WARN a retry with attempt, tag, wait and why; one more with all attempts", () =>
    Effect.gen(function* () {
      const { effect } = failing([hinted("2 seconds"), errorOf("Overloaded"), server, errorOf("Timeout")])
      const lines = yield* logged(Effect.retry(effect, RetryPolicy.standard))
      assert.deepStrictEqual(
        lines.map((line) => line.level),
        ["WARN", "WARN", "WARN", "WARN"]
      )
      assert.deepStrictEqual(
        lines.map(({ annotations: { attempt, delay_ms, error, reason } }) => [attempt, error, delay_ms, reason]),
        [
          [1, "RateLimited", 2500, "hint"],
          [2, "Overloaded", 2000, "backoff"],
          [3, "ServerError", 2000, "backoff"],
          [4, "Timeout", undefined, "exhausted"]
        ]
      )
      assert.match(lines[0]?.message ?? "", /attempt 1 of 4 .*RateLimited.* 2\.5s.* asked for 2\.0s/)
      assert.match(lines[1]?.message ?? "", /attempt 2 of 4 .*Overloaded.* 2\.0s/)
      assert.match(lines[3]?.message ?? "", /attempt 4 of 4 .*Timeout.*giving up/)
      assert.deepStrictEqual(lines[3]?.annotations.attempts, [
        "RateLimited: it failed",
        "Overloaded: it failed",
        "ServerError: it failed",
        "Timeout: it failed"
      ])
    })
  )

  it.effect("nothing where nothing failed", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* logged(Effect.retry(failing([]).effect, RetryPolicy.standard)), [])
    })
  )

  it.effect("giving up says why", () =>
    Effect.gen(function* () {
      for (const [errors, reason] of [
        [[errorOf("AuthError")], "not-retryable"],
        [[hinted("2 minutes")], "hint-too-long"],
        [many, "exhausted"]
      ] as const) {
        const lines = yield* logged(Effect.retry(failing(errors).effect, RetryPolicy.standard))
        assert.strictEqual(lines.at(-1)?.level, "WARN")
        assert.strictEqual(lines.at(-1)?.annotations.reason, reason)
      }
    })
  )

  it.effect("the deadline is named, by whichever schedule waits", () =>
    Effect.gen(function* () {
      const schedules: ReadonlyArray<Schedule.Schedule<unknown, LlmError.LlmError>> = [
        RetryPolicy.make({ initialDelay: "2 seconds" }),
        Schedule.spaced("2 seconds")
      ]
      for (const schedule of schedules) {
        const retried = Resilience.retry(failing(many).effect, schedule)
        const lines = yield* logged(Resilience.deadline(retried, "1 second"))
        assert.deepStrictEqual(
          lines.map((line) => [line.level, line.annotations.reason]),
          [["WARN", "deadline"]]
        )
      }
    })
  )

  it.effect("Resilience.retry writes the same lines, and only once", () =>
    Effect.gen(function* () {
      const given = [hinted("2 seconds"), server, server, server]
      const theirs = yield* logged(Effect.retry(failing(given).effect, RetryPolicy.standard))
      const ours = yield* logged(Resilience.retry(failing(given).effect, RetryPolicy.standard))
      assert.deepStrictEqual(ours, theirs)
    })
  )
})

describe("a policy intersected with a user's own schedule, and announced", () => {
  const own = RetryPolicy.standard.pipe(Schedule.intersect(Schedule.spaced("3 seconds")), RetryPolicy.announced)

  it.effect("says what really happens, in one line each", () =>
    Effect.gen(function* () {
      const { effect, times } = failing(many)
      const lines = yield* logged(Effect.retry(effect, own))
      assert.deepStrictEqual(gaps(times), [3000, 3000, 3000])
      assert.deepStrictEqual(
        lines.map(({ annotations, level }) => [level, annotations.delay_ms, annotations.reason]),
        [
          ["WARN", 3000, "schedule"],
          ["WARN", 3000, "schedule"],
          ["WARN", 3000, "schedule"],
          ["WARN", undefined, "exhausted"]
        ]
      )
    })
  )

  it.effect("keeps the policy's reason where the policy's wait is the longer one", () =>
    Effect.gen(function* () {
      const lines = yield* logged(Effect.retry(failing([hinted("20 seconds")]).effect, own), 0)
      assert.deepStrictEqual(
        lines.map(({ annotations }) => [annotations.delay_ms, annotations.reason]),
        [[20_000, "hint"]]
      )
    })
  )

  it.effect("tells a stop of the user's own", () =>
    Effect.gen(function* () {
      const { effect, times } = failing(many)
      const twice = RetryPolicy.standard.pipe(Schedule.intersect(Schedule.recurs(1)), RetryPolicy.announced)
      const lines = yield* logged(Effect.retry(effect, twice))
      assert.strictEqual(times.length, 2)
      assert.deepStrictEqual(
        lines.map(({ annotations, level }) => [level, annotations.reason]),
        [
          ["WARN", "backoff"],
          ["WARN", "schedule"]
        ]
      )
    })
  )

  it.effect("of announced ones in each other only the outermost speaks", () =>
    Effect.gen(function* () {
      const nested = RetryPolicy.announced(RetryPolicy.announced(RetryPolicy.announced(own)))
      const lines = yield* logged(Effect.retry(failing(many).effect, nested))
      assert.strictEqual(lines.length, 4)
    })
  )

  it.effect("blocks of the user's own making are announced too", () =>
    Effect.gen(function* () {
      const policy = RetryPolicy.backoff().pipe(Schedule.intersect(RetryPolicy.attempts(2)), RetryPolicy.announced)
      const lines = yield* logged(Effect.retry(failing(many).effect, policy))
      assert.deepStrictEqual(
        lines.map(({ annotations, level }) => [level, annotations.attempt, annotations.delay_ms]),
        [
          ["WARN", 1, 500],
          ["WARN", 2, undefined]
        ]
      )
    })
  )
})
