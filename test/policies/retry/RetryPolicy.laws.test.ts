import { assert, describe, it } from "@effect/vitest"
import { Effect, FastCheck as fc, Random, Schedule } from "effect"
import { Deadline, LlmError, Resilience, RetryPolicy } from "effect-steadfast"
import { cases } from "../../support/cases.js"
import { arbitraryError, errorOf, tags } from "../../support/errors.js"
import { drawing, failing, instantClock, waits } from "../../support/time.js"

const runs = { numRuns: cases(1000) }
const fewer = { numRuns: cases(300) }

const retryable = tags.filter((tag) => LlmError.isRetryable(errorOf(tag)))

const errors = fc.array(arbitraryError(90_000), { minLength: 1, maxLength: 12 })
const passing = fc.array(arbitraryError(60_000, retryable), { minLength: 1, maxLength: 12 })

const draw = fc.double({ min: 0, max: 1, noNaN: true })

const options = fc.record({
  maxAttempts: fc.integer({ min: 1, max: 12 }),
  initialDelay: fc.integer({ min: 0, max: 5000 }),
  overloadedDelay: fc.integer({ min: 0, max: 5000 }),
  backoffFactor: fc.double({ min: 1, max: 10, noNaN: true }),
  maxDelay: fc.integer({ min: 0, max: 60_000 }),
  maxHint: fc.integer({ min: 0, max: 90_000 }),
  jitter: fc.constantFrom("full" as const, "none" as const)
})

const hintOf = (error: LlmError.LlmError | undefined): number =>
  error?.hint === undefined ? 0 : Number(error.hint.value._tag === "Millis" ? error.hint.value.millis : 0)

const quiet = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.provideService(effect, RetryPolicy.Listener, () => Effect.void)

const decide = (
  schedule: Schedule.Schedule<unknown, LlmError.LlmError>,
  given: ReadonlyArray<LlmError.LlmError>,
  seed: string
) => Effect.runSync(quiet(Effect.withRandom(waits(schedule, given), Random.make(seed))))

describe("laws of every policy", () => {
  it("waits at least as long as the server asked, and never beyond maxHint and its spread", () => {
    fc.assert(
      fc.property(options, errors, fc.string(), (options, given, seed) => {
        decide(RetryPolicy.make(options), given, seed).waits.forEach((wait, i) => {
          const hint = hintOf(given[i])
          assert.isAtLeast(wait, hint)
          assert.isAtMost(hint, options.maxHint)
        })
      }),
      runs
    )
  })

  it("waits no longer than maxDelay unless the hint is longer, and then by its spread at most", () => {
    fc.assert(
      fc.property(options, errors, fc.string(), (options, given, seed) => {
        decide(RetryPolicy.make(options), given, seed).waits.forEach((wait, i) => {
          const hint = given[i]?.hint === undefined ? undefined : hintOf(given[i])
          const spread = hint === undefined ? 0 : Math.ceil(hint + Math.max(200, hint * 0.25))
          assert.isAtMost(wait, Math.max(options.maxDelay, spread))
        })
      }),
      runs
    )
  })

  it("tries no more than maxAttempts times, and exactly so often where only attempts end it", () => {
    fc.assert(
      fc.property(options, errors, fc.string(), (options, given, seed) => {
        assert.isAtMost(decide(RetryPolicy.make(options), given, seed).waits.length + 1, options.maxAttempts)
      }),
      runs
    )
    fc.assert(
      fc.property(
        options,
        fc.array(arbitraryError(60_000, retryable), { minLength: 12, maxLength: 12 }),
        (options, given) => {
          const policy = RetryPolicy.make({ ...options, maxHint: 60_000 })
          const { stopped, waits } = decide(policy, given, "seed")
          assert.deepStrictEqual([waits.length + 1, stopped], [options.maxAttempts, true])
        }
      ),
      runs
    )
  })

  it("goes on after nothing that is not retryable", () => {
    fc.assert(
      fc.property(options, errors, fc.string(), (options, given, seed) => {
        const { waits } = decide(RetryPolicy.make(options), given, seed)
        assert.isTrue(given.slice(0, waits.length).every(LlmError.isRetryable))
      }),
      runs
    )
  })

  it("is the intersection of its blocks: the same waits and stops for the same draws", () => {
    fc.assert(
      fc.property(options, errors, draw, (options, given, random) => {
        const blocks = RetryPolicy.whileRetryable.pipe(
          Schedule.intersect(RetryPolicy.attempts(options.maxAttempts)),
          Schedule.intersect(RetryPolicy.serverHint(options)),
          Schedule.intersect(RetryPolicy.backoff(options))
        )
        const run = (schedule: Schedule.Schedule<unknown, LlmError.LlmError>) => {
          const { stopped, waits: all } = Effect.runSync(quiet(drawing(random)(waits(schedule, given))))
          return { stopped, all }
        }
        assert.deepStrictEqual(run(RetryPolicy.make(options)), run(blocks))
      }),
      runs
    )
  })
})

type AnySchedule = Schedule.Schedule<unknown, LlmError.LlmError>

/** Policies, blocks and schedules of a user, composed, and announced here and there. */
const { schedule: composed } = fc.letrec<{ schedule: AnySchedule }>((tie) => {
  const pair = fc.tuple(tie("schedule"), tie("schedule"))
  return {
    schedule: fc.oneof(
      { maxDepth: 3 },
      options.map((options): AnySchedule => RetryPolicy.make(options)),
      options.map((options): AnySchedule => RetryPolicy.backoff(options)),
      fc.integer({ min: 1, max: 12 }).map((max): AnySchedule => RetryPolicy.attempts(max)),
      fc.integer({ min: 0, max: 9000 }).map((gap): AnySchedule => Schedule.spaced(gap)),
      fc.integer({ min: 0, max: 12 }).map((times): AnySchedule => Schedule.recurs(times)),
      pair.map(([one, other]): AnySchedule => Schedule.intersect(one, other)),
      pair.map(([one, other]): AnySchedule => Schedule.union(one, other)),
      tie("schedule").map((schedule): AnySchedule => RetryPolicy.announced(schedule))
    )
  }
})

const limit = fc.option(fc.integer({ min: 0, max: 30_000 }), { nil: undefined })

/** All that can be seen of a schedule: waits, outputs, and each decision and line that is told. */
const seen = <Out>(
  schedule: Schedule.Schedule<Out, LlmError.LlmError>,
  given: ReadonlyArray<LlmError.LlmError>,
  seed: string,
  at: number | undefined
) => {
  const told: Array<readonly [RetryPolicy.Decision, number]> = []
  const all = waits(schedule, given).pipe(
    Effect.provideService(RetryPolicy.Listener, (decision, failures) =>
      Effect.sync(() => told.push([decision, failures.length]))
    ),
    Effect.provideService(Deadline.Deadline, at === undefined ? Deadline.none : { at, phase: "total" }),
    Effect.withRandom(Random.make(seed))
  )
  return { ...Effect.runSync(all), told }
}

describe("announced", () => {
  it("twice is announced once: the same waits, decisions and lines", () => {
    fc.assert(
      fc.property(composed, errors, fc.string(), limit, (schedule, given, seed, at) => {
        const once = RetryPolicy.announced(schedule)
        assert.deepStrictEqual(seen(RetryPolicy.announced(once), given, seed, at), seen(once, given, seed, at))
      }),
      fewer
    )
  })

  it("tells each decision once, as it is carried out, and gives it out", () => {
    fc.assert(
      fc.property(composed, errors, fc.string(), limit, (schedule, given, seed, at) => {
        const { outs, stopped, told, waits } = seen(RetryPolicy.announced(schedule), given, seed, at)
        assert.deepStrictEqual(
          told.map(([decision]) => decision),
          outs
        )
        assert.deepStrictEqual(
          outs.flatMap(({ verdict }) => (verdict._tag === "Retry" ? [verdict.delay] : [])),
          waits
        )
        assert.strictEqual(outs.at(-1)?.verdict._tag === "GiveUp", stopped)
        outs.forEach(({ attempt, error }, i) => {
          assert.deepStrictEqual([attempt, told[i]?.[1]], [i + 1, i + 1])
          assert.strictEqual(error, given[i])
        })
      }),
      fewer
    )
  })

  it("begins no wait that would outlive the deadline", () => {
    fc.assert(
      fc.property(composed, errors, fc.string(), fc.integer({ min: 0, max: 30_000 }), (schedule, given, seed, at) => {
        const { waits } = seen(RetryPolicy.announced(schedule), given, seed, at)
        if (waits.length > 0) {
          assert.isBelow(
            waits.reduce((all, wait) => all + wait),
            at
          )
        }
      }),
      fewer
    )
  })
})

describe("Effect.retry and Resilience.retry", () => {
  const run = (
    retry: (effect: Effect.Effect<string, LlmError.LlmError>) => Effect.Effect<string, LlmError.LlmError>,
    given: ReadonlyArray<LlmError.LlmError>,
    seed: string
  ) => {
    const { effect, times } = failing(given)
    const exit = Effect.runSyncExit(
      quiet(retry(effect)).pipe(Effect.withRandom(Random.make(seed)), Effect.withClock(instantClock()))
    )
    return { exit, times }
  }

  for (const [name, given] of [
    ["any errors", errors],
    ["errors that pass", passing]
  ] as const) {
    it(`give the same timeline and the same end: ${name}`, () => {
      fc.assert(
        fc.property(options, given, fc.string(), (options, given, seed) => {
          const policy = RetryPolicy.make(options)
          assert.deepStrictEqual(run(Resilience.retry(policy), given, seed), run(Effect.retry(policy), given, seed))
        }),
        runs
      )
    })
  }

  it("for a schedule of the user's own as well", () => {
    fc.assert(
      fc.property(passing, fc.integer({ min: 0, max: 12 }), fc.integer({ min: 0, max: 9000 }), (given, times, gap) => {
        const own = Schedule.intersect(Schedule.recurs(times), Schedule.spaced(gap))
        assert.deepStrictEqual(run(Resilience.retry(own), given, ""), run(Effect.retry(own), given, ""))
      }),
      runs
    )
  })
})
