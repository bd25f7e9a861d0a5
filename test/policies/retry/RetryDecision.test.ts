import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Schedule, ScheduleDecision, ScheduleInterval, ScheduleIntervals } from "effect"
import { Deadline, type LlmError, RetryPolicy } from "effect-steadfast"
import * as Probe from "../../../src/policies/Probe.js"
import type * as RetryBudget from "../../../src/policies/retry/RetryBudget.js"
import * as RetryDecision from "../../../src/policies/retry/RetryDecision.js"
import { errorOf, hinted } from "../../support/errors.js"
import { collectLogs } from "../../support/evidence.js"
import { clockOf } from "../../support/time.js"

const server = errorOf("ServerError")
const { giveUp, retryIn } = RetryDecision

const opinion = (verdict: RetryDecision.Verdict, maxAttempts = 4): RetryDecision.Opinion => ({ maxAttempts, verdict })

/** A block that has these verdicts, one after the other, and does what they say. */
const saying = (...verdicts: ReadonlyArray<RetryDecision.Verdict>) =>
  Schedule.makeWithState(0, (now, _error: LlmError.LlmError, nth) => {
    const verdict = verdicts[nth] ?? giveUp("exhausted")
    const step =
      verdict._tag === "Retry"
        ? ScheduleDecision.continueWith(ScheduleInterval.after(now + verdict.delay))
        : ScheduleDecision.done
    return Effect.succeed([nth + 1, opinion(verdict), step] as const)
  })

type Step = readonly [decision: RetryDecision.Decision, next: number | "done"]

/** What an announced schedule decides on failures at these times, and the times of the attempts that follow. */
const decide = (
  schedule: Schedule.Schedule<unknown, LlmError.LlmError>,
  failures: ReadonlyArray<readonly [at: number, error: LlmError.LlmError]>,
  { deadline = Number.POSITIVE_INFINITY, draw }: { deadline?: number; draw?: RetryBudget.Draw["take"] } = {}
): ReadonlyArray<Step> => {
  const announced = RetryPolicy.announced(schedule, {
    take: draw ?? (() => Effect.succeed(0)),
    answered: Effect.void
  })
  const told: Array<readonly [RetryDecision.Decision, ReadonlyArray<LlmError.LlmError>]> = []
  let now = 0
  const clock = clockOf(
    () => now,
    () => Effect.void
  )
  const all = Effect.gen(function* () {
    const steps: Array<Step> = []
    let state: unknown = announced.initial
    for (const [at, error] of failures) {
      now = at
      const [next, decision, step] = yield* announced.step(at, error, state)
      state = next
      steps.push([decision, ScheduleDecision.isDone(step) ? "done" : ScheduleIntervals.start(step.intervals)])
    }
    return steps
  }).pipe(
    Effect.provideService(Deadline.Deadline, { at: deadline, phase: "total" }),
    Effect.withClock(clock),
    Effect.provideService(RetryPolicy.Listener, (...one) => Effect.sync(() => told.push(one)))
  )
  const steps = Effect.runSync(all)
  const errors = failures.map(([, error]) => error)
  assert.deepStrictEqual(
    told,
    steps.map(([decision], i) => [decision, errors.slice(0, i + 1)] as const)
  )
  return steps
}

const verdicts = (steps: ReadonlyArray<Step>) => steps.map(([{ verdict }, next]) => [verdict, next] as const)

describe("a decision", () => {
  it("is found alone and in tuples of tuples, the first of several", () => {
    const [one, two] = [opinion(giveUp("exhausted"), 1), opinion(giveUp("exhausted"), 2)]
    for (const output of [one, [one], [1, [[null, one], two]], [undefined, one, two]]) {
      assert.strictEqual(RetryDecision.findDecision(output), one)
    }
    for (const output of [undefined, null, 3, "verdict", [], [[]], {}, { verdict: 1 }, { maxAttempts: 1 }]) {
      assert.isUndefined(RetryDecision.findDecision(output))
    }
  })

  it("counts the attempts, and has the limit and the patience of its policy, or none", () => {
    const patient = Schedule.map(saying(retryIn(5, "backoff")), (out) => [{ ...out, patience: 9 }])
    const [[first] = [], [second] = []] = decide(patient, [
      [0, server],
      [7, server]
    ])
    assert.deepInclude(first, { attempt: 1, maxAttempts: 4, patience: 9, error: server })
    assert.deepInclude(second, { attempt: 2, maxAttempts: 4, patience: 9 })
    const [[own] = []] = decide(Schedule.spaced(5), [[0, server]])
    assert.deepInclude(own, { maxAttempts: Number.POSITIVE_INFINITY, patience: undefined })
  })

  it("is the step of a composed schedule, with the policy's reason where it is the policy's step", () => {
    const policy = saying(retryIn(500, "backoff"), giveUp("not-retryable"))
    const two: ReadonlyArray<readonly [number, LlmError.LlmError]> = [
      [0, server],
      [1000, server]
    ]
    const of = (schedule: Schedule.Schedule<unknown, LlmError.LlmError>) => verdicts(decide(schedule, two))
    assert.deepStrictEqual(of(policy), [
      [retryIn(500, "backoff"), 500],
      [giveUp("not-retryable"), "done"]
    ])
    assert.deepStrictEqual(of(Schedule.intersect(policy, Schedule.spaced(500)))[0], [retryIn(500, "backoff"), 500])
    assert.deepStrictEqual(of(Schedule.intersect(policy, Schedule.spaced(501)))[0], [retryIn(501, "schedule"), 501])
    assert.deepStrictEqual(of(Schedule.intersect(policy, Schedule.stop))[0], [giveUp("schedule"), "done"])
    // A schedule that goes on where the policy gives up.
    assert.deepStrictEqual(of(Schedule.union(policy, Schedule.spaced(9000)))[1], [retryIn(9000, "schedule"), 10_000])
    assert.deepStrictEqual(of(Schedule.recurs(0)), [
      [giveUp("schedule"), "done"],
      [giveUp("schedule"), "done"]
    ])
    assert.deepStrictEqual(of(Schedule.recurs(1))[0], [retryIn(0, "schedule"), 0])
  })

  it("of one announced inside another is told and limited once, by the outer one", () => {
    const asked: Array<number> = []
    const draw: RetryBudget.Draw["take"] = (_error, wait) => Effect.sync(() => asked.push(wait) * 0)
    const inner = RetryPolicy.announced(saying(retryIn(500, "backoff")), { take: draw, answered: Effect.void })
    // The outer schedule waits less than the inner one: the deadline allows that.
    const shorter = Schedule.union(inner, Schedule.spaced(100))
    assert.deepStrictEqual(verdicts(decide(shorter, [[0, server]], { deadline: 200 })), [
      [retryIn(100, "schedule"), 100]
    ])
    assert.deepStrictEqual(asked, [500])
  })
})

describe("a limit", () => {
  it("of time forbids a wait that ends with it, and asks no budget for that", () => {
    const asked: Array<unknown> = []
    const draw: RetryBudget.Draw["take"] = (...all) => Effect.sync(() => void asked.push(all)).pipe(Effect.as(0))
    const policy = saying(retryIn(500, "backoff"))
    const at = (deadline: number) => verdicts(decide(policy, [[1000, server]], { deadline, draw }))
    assert.deepStrictEqual(at(1500), [[giveUp("deadline"), "done"]])
    assert.deepStrictEqual(verdicts(decide(saying(giveUp("exhausted")), [[0, server]], { draw })), [
      [giveUp("exhausted"), "done"]
    ])
    assert.deepStrictEqual(asked, [])
    assert.deepStrictEqual(at(1501), [[retryIn(500, "backoff"), 1500]])
    assert.deepStrictEqual(asked, [[server, 500, undefined, undefined]])
  })

  it("is an empty budget, and its wait is part of the delay", () => {
    const policy = Schedule.map(saying(retryIn(500, "hint")), (out) => ({ ...out, patience: 9 }))
    const drawing = (waited: number | undefined) => {
      const draw: RetryBudget.Draw["take"] = (_error, _wait, _restore, patience) =>
        Effect.sync(() => assert.strictEqual(patience, 9)).pipe(Effect.as(waited))
      return decide(policy, [[1000, server]], { draw }).map(([{ queuedMillis, verdict }, next]) => [
        verdict,
        queuedMillis,
        next
      ])
    }
    assert.deepStrictEqual(drawing(undefined), [[giveUp("budget"), undefined, "done"]])
    assert.deepStrictEqual(drawing(0), [[retryIn(500, "hint"), undefined, 1500]])
    assert.deepStrictEqual(drawing(200), [[retryIn(300, "hint"), 200, 1300]])
    assert.deepStrictEqual(drawing(700), [[retryIn(0, "hint"), 700, 1000]])
  })
})

describe("the failed probe of a circuit", () => {
  const probe = (until: number) => {
    const error = errorOf("ConnectionError")
    Probe.mark(error, until)
    return error
  }
  const policy = saying(retryIn(500, "backoff"), retryIn(1000, "backoff"))
  const of = (
    schedule: Schedule.Schedule<unknown, LlmError.LlmError>,
    all: ReadonlyArray<[number, LlmError.LlmError]>
  ) => decide(schedule, all).map(([{ attempt, maxAttempts, verdict }, next]) => [attempt, maxAttempts, verdict, next])

  it("is followed at once, and counts for nothing", () => {
    assert.deepStrictEqual(
      of(policy, [
        [0, server],
        [10, probe(1000)],
        [20, probe(1000)],
        [30, server],
        [40, server]
      ]),
      [
        [1, 4, retryIn(500, "backoff"), 500],
        [2, 5, retryIn(0, "circuit"), 10],
        [3, 6, retryIn(0, "circuit"), 20],
        [4, 6, retryIn(1000, "backoff"), 1030],
        [5, 6, giveUp("exhausted"), "done"]
      ]
    )
  })

  it("counts once the time is up that the first of them had", () => {
    const probes: ReadonlyArray<[number, LlmError.LlmError]> = [
      [999, probe(1000)],
      [1000, probe(5000)],
      [1001, server]
    ]
    assert.deepStrictEqual(of(policy, probes), [
      [1, 5, retryIn(0, "circuit"), 999],
      [2, 5, retryIn(500, "backoff"), 1500],
      [3, 5, retryIn(1000, "backoff"), 2001]
    ])
  })

  it("is followed where only the attempts are at their end, and not where the error cannot be mended", () => {
    assert.deepStrictEqual(of(saying(giveUp("exhausted")), [[0, probe(9)]]), [[1, 5, retryIn(0, "circuit"), 0]])
    for (const reason of ["not-retryable", "give-up-on", "hint-too-long"] as const) {
      assert.deepStrictEqual(of(saying(giveUp(reason)), [[0, probe(9)]]), [[1, 4, giveUp(reason), "done"]])
    }
  })

  it("is taken by the outermost policy", () => {
    assert.deepStrictEqual(of(RetryPolicy.announced(policy), [[0, probe(9)]]), [[1, 5, retryIn(0, "circuit"), 0]])
  })
})

describe("a decision in words", () => {
  const decision = (verdict: RetryDecision.Verdict, more: Partial<RetryDecision.Decision> = {}) => ({
    attempt: 1,
    maxAttempts: 4,
    error: server,
    verdict,
    ...more
  })
  const target = "openai/gpt-4o-mini"

  it.each([
    [retryIn(500, "backoff"), "retrying in 500ms, backing off"],
    [retryIn(999.4, "schedule"), "retrying in 999ms, as the schedule says"],
    [retryIn(1000, "circuit"), "retrying in 1.0s, as soon as the circuit allows"],
    [retryIn(2540, "hint"), "retrying in 2.5s, the server asked for 2.0s"],
    [giveUp("exhausted"), "giving up, no attempts left"],
    [giveUp("not-retryable"), "giving up, another attempt cannot mend it"],
    [giveUp("give-up-on"), "giving up, the policy gives up on it"],
    [giveUp("hint-too-long"), "giving up, the server asked for 2.0s, too long to wait"],
    [giveUp("deadline"), "giving up, the wait would outlive the deadline"],
    [giveUp("budget"), "giving up, too many retries already: no budget left"],
    [giveUp("schedule"), "giving up, as the schedule says"]
  ] as const)("says %o: %s", (verdict, words) => {
    const [line, annotations] = RetryDecision.describe(decision(verdict, { error: hinted("2 seconds") }))
    assert.strictEqual(line, `attempt 1 of 4 at ${target} failed: RateLimited; ${words}`)
    assert.deepInclude(annotations, { attempt: 1, reason: verdict.reason, error: "RateLimited" })
    assert.strictEqual(annotations.delay_ms, verdict._tag === "Retry" ? Math.round(verdict.delay) : undefined)
  })

  it("names no limit where there is none, and says what was not sent", () => {
    const of = (error: LlmError.LlmError, sent?: boolean) =>
      RetryDecision.describe(decision(giveUp("schedule"), { error, maxAttempts: Number.POSITIVE_INFINITY }), sent)[0]
    const words = (tag: string, ended: string) =>
      `attempt 1 at ${target} ${ended}: ${tag}; giving up, as the schedule says`
    assert.strictEqual(of(server), words("ServerError", "failed"))
    assert.strictEqual(of(server, false), words("ServerError", "was not sent"))
    assert.strictEqual(of(errorOf("CircuitOpen")), words("CircuitOpen", "was not sent"))
    assert.strictEqual(of(errorOf("BudgetExceeded")), words("BudgetExceeded", "was not sent"))
    assert.strictEqual(of(errorOf("CircuitOpen"), true), words("CircuitOpen", "failed"))
  })

  it("without a hint has none to tell", () => {
    assert.strictEqual(RetryDecision.why(decision(retryIn(5, "hint"))), "the server asked for 0ms")
  })

  it.effect("is a line of the log where nobody listens, and all failures are in the last", () =>
    Effect.gen(function* () {
      const { layer, lines } = collectLogs()
      const policy = RetryPolicy.announced(saying(retryIn(0, "backoff")))
      yield* Effect.fail(errorOf("Timeout", { hint: Duration.millis(7) })).pipe(
        Effect.retry(policy),
        Effect.ignore,
        Effect.provide(layer)
      )
      assert.deepStrictEqual(
        lines.map(({ annotations, level, message }) => [level, message, annotations.attempts]),
        [
          ["WARN", `attempt 1 of 4 at ${target} failed: Timeout; retrying in 0ms, backing off`, undefined],
          [
            "WARN",
            `attempt 2 of 4 at ${target} failed: Timeout; giving up, no attempts left`,
            ["Timeout: it failed", "Timeout: it failed"]
          ]
        ]
      )
    })
  )
})
