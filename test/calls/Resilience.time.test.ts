import { assert, describe, it } from "@effect/vitest"
import { Cause, Clock, Deferred, Duration, Effect, Exit, Fiber, FiberRef, TestClock } from "effect"
import { Call, Chat, LlmError, Resilience } from "effect-steadfast"
import { Fault } from "effect-steadfast/testing"
import { scripted } from "../support/evidence.js"
import { errorIn, under } from "../support/time.js"

const limits = [
  ["timeout", Resilience.timeout, "attempt"],
  ["deadline", Resilience.deadline, "total"]
] as const

const timeoutIn = <A, E>(exit: Exit.Exit<A, E>): LlmError.Timeout => {
  const error = errorIn(exit)
  return error instanceof LlmError.Timeout ? error : assert.fail(`no Timeout: ${String(exit)}`)
}

for (const [name, limit, phase] of limits) {
  describe(name, () => {
    it.effect("ends what takes too long, to the millisecond, with its phase", () =>
      Effect.gen(function* () {
        const { exit, millis } = yield* under(limit(Effect.never, "5 seconds"))
        assert.strictEqual(millis, 5000)
        assert.strictEqual(timeoutIn(exit).phase, phase)
      })
    )

    it.effect("leaves what ends just before", () =>
      Effect.gen(function* () {
        const { exit, millis } = yield* under(limit(Effect.as(Effect.sleep("4999 millis"), 7), "5 seconds"))
        assert.deepStrictEqual([exit, millis], [Exit.succeed(7), 4999])
      })
    )

    it.effect("leaves what ends at once, even with no time at all", () =>
      Effect.gen(function* () {
        assert.strictEqual(yield* limit(Effect.succeed(7), "0 millis"), 7)
        assert.strictEqual(yield* Effect.flip(limit(Effect.fail("no"), "1 second")), "no")
        const { exit, millis } = yield* under(limit(Effect.never, "0 millis"))
        assert.deepStrictEqual([timeoutIn(exit).phase, millis], [phase, 0])
      })
    )

    it.effect("an infinite one is none", () =>
      Effect.gen(function* () {
        const { exit, millis } = yield* under(limit(Effect.sleep("40 days"), Duration.infinity), "50 days")
        assert.deepStrictEqual([exit, millis], [Exit.void, 40 * 86_400_000])
      })
    )

    it.effect("interrupts the effect and waits for its finalizers before the error is delivered", () =>
      Effect.gen(function* () {
        const seen: Array<string> = []
        const note = (what: string) =>
          Effect.map(Clock.currentTimeMillis, (now) => {
            seen.push(`${what} ${now}`)
          })
        const effect = Effect.onInterrupt(Effect.never, () =>
          note("interrupted").pipe(Effect.zipRight(Effect.sleep("2 seconds")), Effect.zipRight(note("released")))
        )
        const program = Effect.catchTag(limit(effect, "5 seconds"), "Timeout", () => note("delivered"))
        yield* under(program)
        assert.deepStrictEqual(seen, ["interrupted 5000", "released 7000", "delivered 7000"])
      })
    )

    it.effect("waits for what cannot be interrupted", () =>
      Effect.gen(function* () {
        const stubborn = Effect.uninterruptible(Effect.as(Effect.sleep("6 seconds"), "late"))
        const { exit, millis } = yield* under(limit(stubborn, "5 seconds"))
        assert.deepStrictEqual([timeoutIn(exit).phase, millis], [phase, 6000])
      })
    )

    it.effect("a caller's interruption goes inward, waits for finalizers, and is no Timeout", () =>
      Effect.gen(function* () {
        const released = yield* Deferred.make<number>()
        const inner = Effect.onInterrupt(Effect.never, () =>
          Effect.sleep("1 second").pipe(Effect.zipRight(Clock.currentTimeMillis), Effect.intoDeferred(released))
        )
        const fiber = yield* Effect.fork(limit(inner, "5 seconds"))
        yield* TestClock.adjust("4500 millis")
        const interrupting = yield* Effect.fork(Fiber.interrupt(fiber))
        yield* TestClock.adjust("900 millis")
        assert.isNull(fiber.unsafePoll())
        yield* TestClock.adjust("100 millis")
        const exit = yield* Fiber.join(interrupting)
        assert.isTrue(Exit.isInterrupted(exit))
        assert.isTrue(exit._tag === "Failure" && Cause.isInterruptedOnly(exit.cause))
        assert.strictEqual(yield* Deferred.await(released), 5500)
      })
    )

    it.effect("a defect stays a defect, now or later", () =>
      Effect.gen(function* () {
        assert.deepStrictEqual(yield* Effect.exit(limit(Effect.die("a bug"), "5 seconds")), Exit.die("a bug"))
        const later = Effect.zipRight(Effect.sleep("1 second"), Effect.die("a bug"))
        assert.deepStrictEqual((yield* under(limit(later, "5 seconds"))).exit, Exit.die("a bug"))
      })
    )

    it.effect("an effect that interrupts itself is interrupted, not timed out", () =>
      Effect.gen(function* () {
        const itself = Effect.zipRight(Effect.sleep("1 second"), Effect.interrupt)
        const { exit, millis } = yield* under(limit(itself, "5 seconds"))
        assert.deepStrictEqual([Exit.isInterrupted(exit), millis], [true, 1000])
      })
    )

    it.effect("keeps the fiber's own settings inside", () =>
      Effect.gen(function* () {
        const ref = yield* FiberRef.make("outer")
        const seen = yield* Effect.locally(limit(FiberRef.get(ref), "5 seconds"), ref, "inner")
        assert.strictEqual(seen, "inner")
      }).pipe(Effect.scoped)
    )

    it.effect("names who was asked, and says what may have happened to the request", () =>
      Effect.gen(function* () {
        const { model } = yield* scripted({ script: [Fault.hang] })
        const ask = model.generate(Chat.prompt("Hello"))
        const inCall = timeoutIn((yield* under(Call.make("greeting")(limit(ask, "5 seconds")))).exit)
        assert.deepInclude(inCall, { provider: "openai", model: "gpt-4o-mini", delivery: "unknown", phase })
        const around = timeoutIn((yield* under(limit(ask, "5 seconds"))).exit)
        assert.deepInclude(around, { provider: "openai", model: "gpt-4o-mini", delivery: "unknown", phase })
      })
    )

    it.effect("names what it was told to where nothing was asked yet", () =>
      Effect.gen(function* () {
        const named = limit(Effect.never, "5 seconds", { provider: "assistant", model: "m-1" })
        const error = timeoutIn((yield* under(Call.make("greeting")(named))).exit)
        assert.deepInclude(error, { provider: "assistant", model: "m-1", delivery: "not-sent" })
        assert.include(error.message, "5s")
      })
    )
  })
}

describe("nested limits", () => {
  const nested = (attempt: string, total: string) =>
    under(Effect.never.pipe(Resilience.timeout(attempt as "1 second"), Resilience.deadline(total as "1 second")))

  it.effect("the nearer one ends it, and the error says which", () =>
    Effect.gen(function* () {
      const inner = yield* nested("3 seconds", "5 seconds")
      assert.deepStrictEqual([timeoutIn(inner.exit).phase, inner.millis], ["attempt", 3000])
      const outer = yield* nested("5 seconds", "3 seconds")
      assert.deepStrictEqual([timeoutIn(outer.exit).phase, outer.millis], ["total", 3000])
      const same = yield* nested("3 seconds", "3 seconds")
      assert.deepStrictEqual([timeoutIn(same.exit).phase, same.millis], ["total", 3000])
    })
  )

  it.effect("a deadline inside a deadline cannot move it away", () =>
    Effect.gen(function* () {
      const { exit, millis } = yield* under(
        Effect.never.pipe(Resilience.deadline("1 minute"), Resilience.deadline("2 seconds"))
      )
      assert.deepStrictEqual([timeoutIn(exit).phase, millis], ["total", 2000])
    })
  )

  it.effect("each attempt has its own time inside the deadline", () =>
    Effect.gen(function* () {
      const times: Array<number> = []
      const attempt = Effect.zipRight(
        Effect.map(Clock.currentTimeMillis, (now) => times.push(now)),
        Effect.never
      )
      const once = Resilience.timeout(attempt, "2 seconds")
      const program = Resilience.deadline(Effect.retry(once, { times: 10 }), "5 seconds")
      const { exit, millis } = yield* under(program)
      assert.deepStrictEqual(times, [0, 2000, 4000])
      assert.deepStrictEqual([timeoutIn(exit).phase, millis], ["total", 5000])
    })
  )
})
