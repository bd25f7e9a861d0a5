import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Option } from "effect"
import { Deadline, LlmError, Resilience } from "effect-steadfast"
import * as TimeLimit from "../../src/policies/TimeLimit.js"
import { simulate } from "../support/simulate.js"
import { clockOf } from "../support/time.js"

/** A clock that is set by hand, whose sleepers are woken by hand: as timers, which do not follow it. */
const handClock = () => {
  let now = 0
  const sleepers: Array<() => void> = []
  const clock = clockOf(
    () => now,
    () =>
      Effect.async<void>((resume) => {
        sleepers.push(() => resume(Effect.void))
      })
  )
  return {
    clock,
    set: (millis: number) => {
      now = millis
    },
    fire: () => {
      for (const wake of sleepers.splice(0)) wake()
    }
  }
}

const never = Effect.flatMap(Deadline.Deadline, (limit) =>
  Effect.withFiberRuntime<never>((fiber) => TimeLimit.waiting(TimeLimit.timeOf(fiber), limit, () => undefined))
)

const tick = Effect.promise(() => new Promise<void>((resolve) => setImmediate(resolve)))

const errorOf = (exit: Exit.Exit<unknown, unknown>) =>
  Exit.isFailure(exit) && exit.cause._tag === "Fail" && LlmError.isLlmError(exit.cause.error)
    ? exit.cause.error._tag
    : undefined

describe("a clock that is set back", () => {
  const waits = {
    "a wait that keeps limits": Resilience.limited(never, 30_000, "total", {}),
    "somebody else's effect": Resilience.deadline(Effect.never, "30 seconds")
  }
  it.live.each(Object.entries(waits))("does not make the limit of %s longer", ([, wait]) =>
    Effect.gen(function* () {
      const { clock, fire, set } = handClock()
      const fiber = yield* Effect.fork(Effect.withClock(wait, clock))
      yield* tick
      set(-3_600_000)
      fire()
      yield* tick
      const exit = yield* Effect.map(Fiber.poll(fiber), Option.getOrUndefined)
      assert.isDefined(exit)
      assert.strictEqual(exit && errorOf(exit), "Timeout")
    })
  )

  it.live("does not make a limit that moves longer", () =>
    Effect.gen(function* () {
      const { clock, fire, set } = handClock()
      let at = 30_000
      const limit: Deadline.Limit = {
        get at() {
          return at
        },
        phase: "idle",
        error: Resilience.timeUp(30_000, "idle", {})
      }
      let fired = 0
      const alarm = TimeLimit.alarmOf({ clock }, limit, () => {
        fired++
      })
      alarm.begin()
      yield* tick
      // A later pull moved the limit: the first timer looks again.
      at = 40_000
      set(30_000)
      fire()
      yield* tick
      assert.strictEqual(fired, 0)
      set(-3_600_000)
      fire()
      yield* tick
      assert.strictEqual(fired, 1)
      assert.strictEqual(limit.expired?._tag, "Timeout")
    })
  )
})

describe("a limit that the application put into the context by itself", () => {
  const later = Effect.withFiberRuntime<string>((fiber) => {
    const time = TimeLimit.timeOf(fiber)
    return TimeLimit.waiting(time, Deadline.of(fiber.currentContext), (resume) =>
      TimeLimit.startTimer(time, 2000, () => resume(Effect.succeed("answer")))
    )
  })
  const own: Deadline.Limit = { at: 1000, phase: "total" }

  it("ends no wait that has begun, because nobody would name its error", () => {
    assert.strictEqual(simulate(Effect.provideService(later, Deadline.Deadline, own)), "answer")
    const kept = TimeLimit.kept(Effect.as(Effect.sleep("2 seconds"), "answer"))
    assert.strictEqual(simulate(Effect.provideService(kept, Deadline.Deadline, own)), "answer")
  })

  it("leaves the limits around it in force", () => {
    const inside = Effect.flatMap(Deadline.Deadline, (outer) =>
      Effect.provideService(later, Deadline.Deadline, { ...own, outer })
    )
    const exit = simulate(Effect.exit(Resilience.limited(inside, 1500, "total", {})))
    assert.strictEqual(errorOf(exit), "Timeout")
  })
})
