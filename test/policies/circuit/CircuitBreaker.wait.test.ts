import { assert, describe, it } from "@effect/vitest"
import { Clock, Duration, Effect, Exit, Fiber, FastCheck as fc, Logger, LogLevel, Random, TestClock } from "effect"
import { CircuitBreaker, LlmError, Resilience, RetryPolicy } from "effect-steadfast"
import { Elsewhere } from "../../../src/policies/WaitQueue.js"
import { breathe, cases } from "../../support/cases.js"
import { errorOf } from "../../support/errors.js"
import { simulate } from "../../support/simulate.js"
import { drawing, errorIn, under } from "../../support/time.js"

const ask = { key: "openai/gpt-4o-mini", provider: "openai", model: "gpt-4o-mini" }

const at = (seconds: number) => Effect.zipRight(Effect.sleep(Duration.seconds(seconds)), Effect.void)

const quiet = Logger.withMinimumLogLevel(LogLevel.None)

/** A server that is down until `until` seconds, and answers after `latency` milliseconds; and what it was sent. */
const serverOf = (until: number, latency = 100) => {
  const sent: Array<{ readonly job: number; readonly at: number; readonly ok: boolean; end: number }> = []
  let inFlight = 0
  let most = 0
  const attempt = (job: number): Effect.Effect<number, LlmError.LlmError> =>
    Effect.gen(function* () {
      const now = yield* Clock.currentTimeMillis
      const ok = now >= until * 1000
      const row = { job, at: now, ok, end: Number.POSITIVE_INFINITY }
      sent.push(row)
      most = Math.max(most, ++inFlight)
      yield* Effect.ensuring(
        Effect.sleep(ok ? latency : 10),
        Effect.map(Clock.currentTimeMillis, (now) => {
          inFlight -= 1
          row.end = now
        })
      )
      return yield* ok ? Effect.succeed(job) : Effect.fail(errorOf("ServerError"))
    })
  return { attempt, sent, most: () => most, during: () => sent.filter(({ ok }) => !ok).length }
}

/** A server that is down until second 30, and then serves `perSecond` calls a second and refuses the others at once. */
const sheddingServer = (perSecond: number, downAgain = Number.POSITIVE_INFINITY) => {
  const sent: Array<{ readonly at: number; readonly ok: boolean }> = []
  let tokens = perSecond
  let filledAt = 0
  const attempt = (job: number): Effect.Effect<number, LlmError.LlmError> =>
    Effect.gen(function* () {
      const now = yield* Clock.currentTimeMillis
      tokens = Math.min(perSecond, tokens + ((now - filledAt) * perSecond) / 1000)
      filledAt = now
      const up = now >= 30_000 && now < downAgain * 1000
      const ok = up && tokens >= 1
      if (ok) tokens -= 1
      sent.push({ at: now, ok })
      yield* Effect.sleep(ok ? 300 : 10)
      return yield* ok ? Effect.succeed(job) : Effect.fail(errorOf(up ? "Overloaded" : "ServerError"))
    })
  return { attempt, sent }
}

interface Job {
  readonly start: number
  readonly deadline?: number
}

/** Runs jobs from their start on, each with a retry and a deadline in seconds, and tells how and when each ended. */
const run = (
  server: Pick<ReturnType<typeof serverOf>, "attempt">,
  jobs: ReadonlyArray<Job>,
  options?: CircuitBreaker.Options
) =>
  Effect.gen(function* () {
    const breaker = yield* CircuitBreaker.make(options)
    const one = ({ deadline, start }: Job, job: number) =>
      Effect.gen(function* () {
        yield* at(start)
        const guarded = server.attempt(job).pipe(breaker.execute(ask), Resilience.retry(RetryPolicy.standard))
        const exit = yield* Effect.exit(
          deadline === undefined ? guarded : Resilience.deadline(guarded, Duration.seconds(deadline))
        )
        return { exit, ended: (yield* Clock.currentTimeMillis) / 1000 }
      })
    return yield* Effect.forEach(jobs, one, { concurrency: "unbounded" })
  }).pipe(Effect.withRandom(Random.make("outage")), quiet, simulate)

const timesBetween = (sent: ReadonlyArray<{ readonly at: number }>, from: number, to: number): number =>
  sent.filter(({ at }) => at >= from * 1000 && at < to * 1000).length

const every = (seconds: number, count: number, deadline?: number): ReadonlyArray<Job> =>
  Array.from({ length: count }, (_, index) => ({
    start: index * seconds,
    ...(deadline === undefined ? {} : { deadline })
  }))

describe("the slow start", () => {
  it("drains the queue of a target that refuses what is above its capacity, and the circuit stays closed", () => {
    const server = sheddingServer(10)
    // 150 jobs of the outage leave 100 seconds at most for what is beyond the 5 that come each second.
    const ends = run(server, every(0.2, 500, 600))
    const waited = ends.filter((_, job) => job * 0.2 < 30)
    assert.isBelow(Math.max(...waited.map(({ ended }) => ended)), 30 + 15 + (1.2 * 150) / 5)
    assert.isTrue(ends.every(({ exit }) => Exit.isSuccess(exit)))
    assert.isAtMost(server.sent.length, 1.4 * 500)
  })

  it("serves those that have time for their answer, so that the queue of an outage shrinks", () => {
    // 16 at a time, 2 seconds each: 8 a second. 6.4 a second come, each with a minute to live, and the outage takes one.
    const slots = Effect.unsafeMakeSemaphore(16)
    const attempt = (job: number): Effect.Effect<number, LlmError.LlmError> =>
      Effect.flatMap(Clock.currentTimeMillis, (now) =>
        now >= 20_000 && now < 80_000
          ? Effect.delay(Effect.fail(errorOf("ServerError")), "30 millis")
          : slots.withPermits(1)(Effect.as(Effect.sleep("2 seconds"), job))
      )
    const ends = run({ attempt }, every(1 / 6.4, 2500, 60))
    const done = (from: number, to: number) => {
      const jobs = ends.filter((_, job) => job / 6.4 >= from && job / 6.4 < to)
      return jobs.filter(({ exit }) => Exit.isSuccess(exit)).length / jobs.length
    }
    assert.isAtLeast(done(0, 20), 1)
    assert.isAtLeast(done(30, 80), 0.7)
    assert.isAtLeast(done(80, 200), 0.9)
    const lateWaits = ends.flatMap(({ ended }, job) => (job / 6.4 >= 380 ? [ended - job / 6.4] : []))
    assert.isBelow(Math.max(...lateWaits), 10)
  })

  it("serves those that have time where nothing is known of the answers yet", () => {
    // The program starts in the outage: the first in the queue have less time left than the two seconds of an answer.
    const ends = run(serverOf(60, 2000), every(0.2, 600, 30))
    const after = ends.filter((_, job) => job * 0.2 >= 65)
    assert.isTrue(after.every(({ exit }) => Exit.isSuccess(exit)))
    assert.isAtLeast(ends.filter(({ exit }, job) => job * 0.2 >= 35 && Exit.isSuccess(exit)).length / 425, 0.9)
  })

  it("ends with a target that is down again: the circuit opens within a second and the calls in flight", () => {
    const server = sheddingServer(10, 50)
    run(server, every(0.2, 500, 60))
    assert.isAbove(timesBetween(server.sent, 49, 50), 5)
    assert.isAtMost(timesBetween(server.sent, 50, 53), 40)
    assert.isAtMost(timesBetween(server.sent, 53, 90), 20)
  })
})

describe("an outage of the only target", () => {
  it("loses no job that has time, in order, with few calls, and ends in a slow start", () => {
    const server = serverOf(60)
    const ends = run(server, every(0.2, 400, 600))
    assert.strictEqual(ends.filter(({ exit }) => Exit.isSuccess(exit)).length, 400)
    assert.isAtMost(server.during(), 15)
    assert.isAtMost(server.sent.length, 400 + 15)
    // All who waited were served within the next probe and a few seconds.
    const waited = ends.filter((_, job) => job * 0.2 < 60)
    assert.isBelow(Math.max(...waited.map(({ ended }) => ended)), 80)
    assert.isBelow(server.most(), 200)
    const answered = server.sent.filter(({ ok }) => ok).map(({ job }) => job)
    const firsts = answered.filter((job) => !server.sent.some((one) => one.job === job && !one.ok))
    assert.deepStrictEqual(
      firsts,
      [...firsts].sort((a, b) => a - b)
    )
  })

  it("is probed sooner for jobs that cannot wait, and the others fail as soon as that is known", () => {
    const server = serverOf(60)
    const ends = run(server, every(0.2, 400, 30))
    const possible = ends.filter((_, job) => job * 0.2 + 30 > 61)
    assert.isAtLeast(possible.filter(({ exit }) => Exit.isSuccess(exit)).length / possible.length, 0.9)
    assert.isAtMost(server.during(), 30)
    for (const { ended, exit } of ends) if (Exit.isFailure(exit)) assert.isBelow(ended, 65)
  })

  it.effect("is not probed before the time that the target named", () =>
    Effect.gen(function* () {
      const server = serverOf(0)
      const breaker = yield* CircuitBreaker.make({ tripPolicy: CircuitBreaker.consecutive(1) })
      const hinted = Effect.fail(errorOf("ServerError", { hint: Duration.seconds(8) }))
      yield* Effect.exit(breaker.execute(hinted, ask))
      const { millis } = yield* under(Resilience.deadline(breaker.execute(server.attempt(0), ask), "12 seconds"))
      assert.isAtLeast(millis, 8000)
    })
  )

  it("ends a call without a deadline some day", () => {
    const server = serverOf(1e9)
    const ends = run(server, every(0.2, 5))
    for (const { ended, exit } of ends) {
      assert.isTrue(Exit.isFailure(exit))
      assert.isBelow(ended, 300)
    }
  })

  it.effect("refuses at once where no wait is wanted, and for a dead key or a circuit opened by hand", () =>
    Effect.gen(function* () {
      for (const [options, error] of [
        [{ maxWait: 0 }, errorOf("ServerError")],
        [{}, errorOf("AuthError")]
      ] as const) {
        const breaker = yield* CircuitBreaker.make({ tripPolicy: CircuitBreaker.consecutive(1), ...options })
        yield* Effect.exit(breaker.execute(Effect.fail(error), ask))
        assert.strictEqual((yield* Effect.flip(breaker.execute(Effect.void, ask)))._tag, "CircuitOpen")
      }
      const breaker = yield* CircuitBreaker.make()
      yield* breaker.open(ask.key)
      assert.strictEqual((yield* Effect.flip(breaker.execute(Effect.void, ask)))._tag, "CircuitOpen")
    })
  )

  it.effect("says of a call that comes while the others go first that the target is back", () =>
    Effect.gen(function* () {
      const breaker = yield* CircuitBreaker.make({ tripPolicy: CircuitBreaker.consecutive(1), ramp: [1], maxQueue: 3 })
      yield* Effect.exit(breaker.execute(Effect.fail(errorOf("ServerError")), ask))
      const slow = breaker.execute(Effect.sleep("10 seconds"), ask)
      yield* Effect.fork(breaker.execute(Effect.sleep("1 millis"), ask))
      for (let i = 0; i < 3; i++) yield* Effect.fork(slow)
      yield* TestClock.adjust("1100 millis")
      const late = yield* Effect.fork(Effect.flip(Effect.provideService(slow, Elsewhere, () => 0)))
      yield* TestClock.adjust("0 millis")
      assert.match((yield* Fiber.join(late)).message, /^the target is back, and the calls that waited go first/)
    })
  )

  it.effect("turns away calls that wait where the probe finds the key dead", () =>
    Effect.gen(function* () {
      const breaker = yield* CircuitBreaker.make({ tripPolicy: CircuitBreaker.consecutive(1) })
      yield* Effect.exit(breaker.execute(Effect.fail(errorOf("ServerError")), ask))
      const probe = Effect.fail(errorOf("AuthError"))
      const calls = yield* Effect.fork(
        Effect.forEach([probe, Effect.void, Effect.void], (one) => Effect.exit(breaker.execute(one, ask)), {
          concurrency: "unbounded"
        })
      )
      yield* TestClock.adjust("1 second")
      const [first, ...rest] = yield* Fiber.join(calls)
      assert.strictEqual(first && errorIn(first)?._tag, "AuthError")
      for (const exit of rest) {
        const error = errorIn(exit)
        assert.strictEqual(error?._tag, "CircuitOpen")
        assert.isAbove(Duration.toMillis(error?.hint ?? 0), 40_000)
      }
    })
  )

  it.effect("lets those that wait go on at once when the circuit is reset by hand", () =>
    Effect.gen(function* () {
      const breaker = yield* CircuitBreaker.make({
        tripPolicy: CircuitBreaker.consecutive(1),
        openDuration: "50 seconds"
      })
      yield* Effect.exit(breaker.execute(Effect.fail(errorOf("ServerError")), ask))
      const waiting = yield* Effect.fork(breaker.execute(Effect.succeed("ok"), ask))
      yield* TestClock.adjust("1 second")
      yield* breaker.reset(ask.key)
      yield* TestClock.adjust("0 millis")
      assert.strictEqual(yield* Fiber.join(waiting), "ok")
    })
  )
})

describe("the failed probe", () => {
  it.effect("does not count towards the attempts, and the decision says so", () =>
    Effect.gen(function* () {
      const server = serverOf(40)
      const breaker = yield* CircuitBreaker.make({ tripPolicy: CircuitBreaker.consecutive(1) })
      const decisions: Array<RetryPolicy.Decision> = []
      const call = server.attempt(0).pipe(
        breaker.execute(ask),
        Resilience.retry(RetryPolicy.make({ maxAttempts: 2, initialDelay: 0 })),
        Resilience.deadline("2 minutes"),
        Effect.provideService(RetryPolicy.Listener, (decision) => Effect.sync(() => decisions.push(decision)))
      )
      const { exit } = yield* under(drawing(0)(call))
      assert.isTrue(Exit.isSuccess(exit))
      const reasons = decisions.map(({ verdict }) => verdict.reason)
      assert.strictEqual(reasons[0], "backoff")
      assert.isAtLeast(reasons.length, 4)
      assert.isTrue(reasons.slice(1).every((reason) => reason === "circuit"))
      assert.deepStrictEqual(
        decisions.map(({ attempt, maxAttempts }) => [attempt, maxAttempts]),
        reasons.map((_, index) => [index + 1, 2 + index])
      )
    })
  )

  it.effect("of an error that the policy gives up on ends the call", () =>
    Effect.gen(function* () {
      const server = serverOf(40)
      const breaker = yield* CircuitBreaker.make({ tripPolicy: CircuitBreaker.consecutive(1) })
      yield* under(breaker.execute(server.attempt(0), ask), "10 millis")
      const call = server
        .attempt(1)
        .pipe(breaker.execute(ask), Resilience.retry(RetryPolicy.make({ giveUpOn: ["ServerError"] })))
      const { exit } = yield* under(call)
      assert.strictEqual(errorIn(exit)?._tag, "ServerError")
    })
  )
})

describe("laws of waiting", () => {
  const scenario = fc.record({
    until: fc.integer({ min: 0, max: 80 }),
    jobs: fc.array(
      fc.record({
        start: fc.integer({ min: 0, max: 900 }).map((tenths) => tenths / 10),
        deadline: fc.option(fc.integer({ min: 1, max: 120 }), { nil: undefined }),
        cancelled: fc.option(
          fc.integer({ min: 0, max: 400 }).map((tenths) => tenths / 10),
          { nil: undefined }
        ),
        elsewhere: fc.boolean()
      }),
      { minLength: 1, maxLength: 40 }
    ),
    seed: fc.string()
  })

  it("hold for every interleaving of arrivals, cancellations, fallbacks and outages", async () => {
    await fc.assert(
      fc
        .asyncProperty(scenario, async ({ jobs, seed, until }) => {
          const server = serverOf(until)
          const arrival = (job: number) => Math.round((jobs[job]?.start ?? 0) * 1000) + job
          const asked = new Map<number, number>()
          const program = Effect.gen(function* () {
            const breaker = yield* CircuitBreaker.make({ tripPolicy: CircuitBreaker.consecutive(2) })
            const one = ({ cancelled, deadline, elsewhere }: (typeof jobs)[number], job: number) =>
              Effect.gen(function* () {
                yield* Effect.sleep(arrival(job))
                const begun = Effect.map(Clock.currentTimeMillis, (now) => asked.set(job, now))
                const guarded = breaker.execute(Effect.zipRight(begun, server.attempt(job)), ask)
                const limited =
                  deadline === undefined ? guarded : Resilience.deadline(guarded, Duration.seconds(deadline))
                const beside = elsewhere ? Effect.provideService(limited, Elsewhere, () => 0) : limited
                const exit = yield* Effect.exit(
                  cancelled === undefined
                    ? Effect.asVoid(beside)
                    : Effect.asVoid(Effect.timeoutOption(beside, Duration.seconds(cancelled)))
                )
                const wait = (asked.get(job) ?? (yield* Clock.currentTimeMillis)) - arrival(job)
                // A wait never outlives its deadline, or 60 seconds without one.
                assert.isAtMost(wait, (deadline ?? 60) * 1000)
                // A call whose fallback takes traffic never waits.
                if (elsewhere) assert.strictEqual(wait, 0)
                // What is refused was not sent.
                if (errorIn(exit)?._tag === "CircuitOpen") assert.isFalse(asked.has(job))
              })
            yield* Effect.forEach(jobs, one, { concurrency: "unbounded", discard: true })
            // Nothing is left of those that waited: the next call is asked at once.
            yield* Effect.sleep("20 seconds")
            const before = yield* Clock.currentTimeMillis
            assert.strictEqual(yield* breaker.execute(Effect.succeed("ok"), ask), "ok")
            assert.strictEqual(yield* Clock.currentTimeMillis, before)
          })
          simulate(quiet(Effect.withRandom(program, Random.make(seed))))
          // First in, first out: those that were admitted after a wait came in the order of their arrival.
          const waited = [...asked].filter(([job, at]) => at > arrival(job)).map(([job]) => arrival(job))
          assert.deepStrictEqual(
            waited,
            [...waited].sort((a, b) => a - b)
          )
          // One probe at a time while the circuit is open.
          for (const { at, end, job } of server.sent) {
            const together = server.sent.filter((one) => !one.ok && one.job !== job && one.at < end && at < one.end)
            if (waited.includes(arrival(job)) && at < until * 1000) assert.strictEqual(together.length, 0)
          }
        })
        .beforeEach(breathe),
      { numRuns: cases(10_000) }
    )
  })
})
