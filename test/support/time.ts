import {
  Clock,
  type Duration,
  Effect,
  Exit,
  Fiber,
  Random,
  Schedule,
  ScheduleDecision,
  ScheduleIntervals,
  TestClock
} from "effect"
import type { LlmError } from "effect-steadfast"

/** Runs an effect under `TestClock` for as long as `time`: how it ended, and when. */
export const under = <A, E, R>(effect: Effect.Effect<A, E, R>, time: Duration.DurationInput = "1 hour") =>
  Effect.gen(function* () {
    const start = yield* Clock.currentTimeMillis
    const ended = Effect.zip(Effect.exit(effect), Clock.currentTimeMillis)
    const fiber = yield* Effect.fork(ended)
    yield* TestClock.adjust(time)
    // Awaited, not joined: what a layer sets inside stays inside.
    const [exit, end] = yield* yield* Fiber.await(fiber)
    return { exit, millis: end - start }
  })

/** The error an exit failed with. */
export const errorIn = <A, E>(exit: Exit.Exit<A, E>): E | undefined =>
  exit._tag === "Failure" && exit.cause._tag === "Fail" ? exit.cause.error : undefined

/** An effect that fails with one error after the other and then answers, and notes when it was run. */
export const failing = (errors: ReadonlyArray<LlmError.LlmError>) => {
  const times: Array<number> = []
  const effect: Effect.Effect<string, LlmError.LlmError> = Effect.flatMap(Clock.currentTimeMillis, (now) => {
    const error = errors[times.length]
    times.push(now)
    return error === undefined ? Effect.succeed("ok") : Effect.fail(error)
  })
  return { effect, times }
}

/** The waits between points in time. */
export const gaps = (times: ReadonlyArray<number>): ReadonlyArray<number> =>
  times.slice(1).map((time, i) => time - (times[i] ?? 0))

/** Every draw is `value`. */
export const drawing =
  (value: number) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.withRandom(effect, Random.fixed([value]))

/** A clock that reads those times: its wall time is `millis`, its monotonic time `steady`, the same by default. */
export const clockOf = (millis: () => number, sleep: Clock.Clock["sleep"], steady = millis): Clock.Clock => {
  const nanos = () => BigInt(Math.round(steady() * 1_000_000))
  return {
    [Clock.ClockTypeId]: Clock.ClockTypeId,
    unsafeCurrentTimeMillis: millis,
    unsafeCurrentTimeNanos: nanos,
    currentTimeMillis: Effect.sync(millis),
    currentTimeNanos: Effect.sync(nanos),
    sleep
  }
}

/** A clock on which every sleep is over at once, and has taken its time. For laws over thousands of timelines. */
export const instantClock = (): Clock.Clock => {
  let now = 0
  return clockOf(
    () => now,
    (duration) =>
      Effect.sync(() => {
        now += Number(duration.value._tag === "Millis" ? duration.value.millis : 0)
      })
  )
}

/**
 * The waits that a schedule decides on for errors that follow each other, until it stops or they end. Each error comes
 * the moment the attempt begins.
 */
export const waits = <Out>(
  schedule: Schedule.Schedule<Out, LlmError.LlmError>,
  errors: ReadonlyArray<LlmError.LlmError>
): Effect.Effect<{
  readonly waits: ReadonlyArray<number>
  readonly stopped: boolean
  readonly outs: ReadonlyArray<Out>
}> =>
  Effect.gen(function* () {
    const all: Array<number> = []
    const outs: Array<Out> = []
    let state: unknown = schedule.initial
    let now = 0
    for (const error of errors) {
      const [next, out, decision] = yield* schedule.step(now, error, state)
      state = next
      outs.push(out)
      if (ScheduleDecision.isDone(decision)) return { waits: all, stopped: true, outs }
      const wait = Math.max(0, ScheduleIntervals.start(decision.intervals) - now)
      all.push(wait)
      now += wait
    }
    return { waits: all, stopped: false, outs }
  })
