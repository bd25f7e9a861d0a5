import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, FastCheck as fc, Redacted } from "effect"
import * as KeyPool from "../../../src/policies/balance/KeyPool.js"
import type * as CircuitBreaker from "../../../src/policies/circuit/CircuitBreaker.js"
import * as Deadline from "../../../src/policies/Deadline.js"
import { cases, exhaustive } from "../../support/cases.js"
import { errorOf, hinted } from "../../support/errors.js"
import { clockOf } from "../../support/time.js"

const runs = { numRuns: cases(10_000) }

const exits = {
  answers: Exit.succeed("an answer"),
  dead: Exit.fail(errorOf("AuthError")),
  hangs: Exit.fail(errorOf("Timeout")),
  limited: Exit.fail(hinted("5 seconds")),
  wrong: Exit.fail(errorOf("InvalidRequest")),
  leaves: Exit.interrupt(0 as never)
}
type End = keyof typeof exits

/** After a time an attempt begins with a key, one of those under way ends, or one does both. */
interface Step {
  readonly what: "begin" | "end" | "both"
  readonly index: number
  readonly end: End
  readonly pick: number
  readonly millis: number
}

const step: fc.Arbitrary<Step> = fc.record({
  what: fc.constantFrom("begin", "end", "both", "both", "both"),
  index: fc.nat({ max: 2 }),
  end: fc.constantFrom<End>("answers", "answers", "dead", "hangs", "hangs", "hangs", "limited", "wrong", "leaves"),
  pick: fc.nat({ max: 100 }),
  millis: fc.oneof(fc.nat({ max: 2000 }), fc.nat({ max: 30_000 }))
})

interface Running {
  readonly index: number
  readonly admission: CircuitBreaker.Admission
  readonly startedAt: number
}

/** What a step did to its key, and what the circuit was before and after. */
interface Seen {
  readonly what: "begun" | "refused" | "ended"
  readonly index: number
  readonly end: End
  readonly at: number
  /** From when the key took traffic, as the pool said before. */
  readonly readyAt: number
  readonly before: CircuitBreaker.State
  readonly after: CircuitBreaker.State
  /** Whether another key takes traffic. */
  readonly other: boolean
}

const names = ["a", "b", "c"].map((key) => KeyPool.nameOf(Redacted.make(key)))

/** Lets it happen to a pool of three keys. */
const history = (steps: ReadonlyArray<Step>): ReadonlyArray<Seen> => {
  let now = 1_000_000
  const clock = clockOf(
    () => now,
    () => Effect.never
  )
  const seen: Array<Seen> = []
  const program = Effect.gen(function* () {
    const pool = yield* Effect.orDie(KeyPool.make({ keys: ["a", "b", "c"].map((key) => Redacted.make(key)) }))
    const { circuits } = pool
    const view = pool.for("gpt")
    const running: Array<Running> = []
    const note = (what: Seen["what"], index: number, end: End, readyAt: number, before: CircuitBreaker.State) =>
      Effect.map(circuits.state(names[index] ?? ""), (after) => {
        const other = names.some((name, one) => one !== index && circuits.readyAt(name) <= now)
        seen.push({ what, index, end, at: now, readyAt, before, after, other })
      })
    for (const { end, index, millis, pick, what } of steps) {
      now += millis
      if (what !== "end") {
        const readyAt = circuits.readyAt(names[index] ?? "")
        const before = yield* circuits.state(names[index] ?? "")
        const exit = yield* Effect.exit(view.admit(index))
        if (Exit.isSuccess(exit)) running.unshift({ index, admission: exit.value, startedAt: now })
        yield* note(Exit.isSuccess(exit) ? "begun" : "refused", index, end, readyAt, before)
        if (Exit.isFailure(exit)) continue
      }
      if (what !== "begin") {
        const [by] = running.splice(what === "both" ? 0 : pick % Math.max(1, running.length), 1)
        if (by === undefined) continue
        const readyAt = circuits.readyAt(names[by.index] ?? "")
        const before = yield* circuits.state(names[by.index] ?? "")
        yield* view.end({ ...by, exit: exits[end], within: Deadline.none, now })
        yield* note("ended", by.index, end, readyAt, before)
      }
    }
  })
  Effect.runSync(Effect.withClock(program, clock))
  return seen
}

describe("for any history", () => {
  it("a key that is out is asked by one at a time and not before its time, and failures never take the last one out", () => {
    const count = { probed: 0, refused: 0, failed: 0 }
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30, size: "max" }), (steps) => {
        const openedAt = new Map<number, number>()
        for (const { after, at, before, end, index, other, readyAt, what } of history(steps)) {
          if (what === "begun") {
            assert.isAtMost(readyAt, at, "whoever is let through was told so")
            if (after._tag !== "HalfOpen") continue
            count.probed += 1
            if (after.width === 1) assert.strictEqual(after.probes, 1)
            // Four fifths of the shortest time that such a key is left alone.
            assert.isAtLeast(at - (openedAt.get(index) ?? Number.NaN), after.reason === "Dead" ? 48_000 : 12_000)
          } else if (what === "refused") {
            count.refused += 1
            assert.isAbove(readyAt, at, "whoever is refused was told so")
          } else if (after._tag === "Open" && before._tag !== "Open") {
            openedAt.set(index, at)
            assert.include(["dead", "hangs"], end)
            if (before._tag !== "Closed" || end === "dead") continue
            count.failed += 1
            assert.isTrue(other, "another key serves")
          }
        }
      }),
      runs
    )
    if (exhaustive) for (const seen of Object.values(count)) assert.isAbove(seen, 500)
  })
})
