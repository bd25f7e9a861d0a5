import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Exit, Schedule } from "effect"
import { Call, Chat, LlmError, Resilience, RetryPolicy } from "effect-steadfast"
import { Fault, Reply } from "effect-steadfast/testing"
import { cases } from "../support/cases.js"
import { errorOf, hinted, tags } from "../support/errors.js"
import { collect, only, scripted } from "../support/evidence.js"
import { drawing, errorIn, failing, under } from "../support/time.js"

const server = errorOf("ServerError")
const quiet = Effect.provideService(RetryPolicy.Listener, () => Effect.void)

describe("retry", () => {
  it.effect("does not so much as look at the schedule when the first attempt succeeds", () =>
    Effect.gen(function* () {
      let touched = 0
      const watched = new Proxy(RetryPolicy.standard, {
        get: (schedule, key) => {
          touched++
          return Reflect.get(schedule, key)
        }
      })
      assert.strictEqual(yield* Resilience.retry(Effect.succeed("ok"), watched), "ok")
      assert.strictEqual(touched, 0)
      yield* under(quiet(Resilience.retry(failing([server]).effect, watched)))
      assert.isAbove(touched, 0)
    })
  )

  it.effect("takes any schedule over LlmError", () =>
    Effect.gen(function* () {
      const { effect, times } = failing([server, server, server])
      const { exit } = yield* under(quiet(Resilience.retry(effect, Schedule.spaced("3 seconds"))))
      assert.deepStrictEqual(times, [0, 3000, 6000, 9000])
      assert.deepStrictEqual(exit, Exit.succeed("ok"))
    })
  )

  it.effect("fails with the newest error", () =>
    Effect.gen(function* () {
      const last = errorOf("Overloaded")
      const { effect } = failing([hinted("1 second"), server, last])
      const { exit } = yield* under(quiet(Resilience.retry(effect, RetryPolicy.make({ maxAttempts: 3 }))))
      assert.strictEqual(errorIn(exit), last)
    })
  )

  it.effect("gives the schedule what it requires", () =>
    Effect.gen(function* () {
      class Limit extends Context.Tag("test/Limit")<Limit, number>() {}
      const limited = Schedule.recurs(10).pipe(Schedule.whileOutputEffect((n) => Effect.map(Limit, (max) => n < max)))
      const { effect, times } = failing(Array.from({ length: 20 }, () => server))
      yield* under(quiet(Effect.provideService(Resilience.retry(effect, limited), Limit, 2)))
      assert.strictEqual(times.length, 3)
    })
  )

  it.effect("data first and data last are the same", () =>
    Effect.gen(function* () {
      const first = failing([server, server])
      const last = failing([server, server])
      yield* under(drawing(1)(quiet(Resilience.retry(first.effect, RetryPolicy.standard))))
      yield* under(drawing(1)(quiet(last.effect.pipe(Resilience.retry(RetryPolicy.standard)))))
      assert.deepStrictEqual(
        last.times.map((time) => time - 3_600_000),
        first.times
      )
    })
  )

  it.effect("runs a thousand rounds without growing the stack", () =>
    Effect.gen(function* () {
      const rounds = cases(5000, 1000)
      const { effect, times } = failing(Array.from({ length: rounds }, () => server))
      const { exit } = yield* under(quiet(Resilience.retry(effect, Schedule.forever)))
      assert.deepStrictEqual([exit, times.length], [Exit.succeed("ok"), rounds + 1])
    })
  )
})

describe("orElse", () => {
  const backup = Effect.succeed("backup")

  for (const tag of tags) {
    const goes = LlmError.isFallbackable(errorOf(tag))
    it.effect(`${tag} ${goes ? "goes to the next target" : "stays"}`, () =>
      Effect.gen(function* () {
        const error = errorOf(tag)
        const exit = yield* Effect.exit(Resilience.orElse(Effect.fail(error), () => backup))
        assert.deepStrictEqual(exit, goes ? Exit.succeed("backup") : Exit.fail(error))
      })
    )
  }

  it("what stays by default are the caller's own mistakes and limits", () => {
    assert.deepStrictEqual(
      tags.filter((tag) => !LlmError.isFallbackable(errorOf(tag))),
      ["ContentFiltered", "InvalidRequest", "BudgetExceeded"]
    )
  })

  it.effect("an instance overrides its class, both ways", () =>
    Effect.gen(function* () {
      const go = errorOf("ContentFiltered", { fallbackable: true })
      const stay = errorOf("ServerError", { fallbackable: false })
      assert.strictEqual(yield* Resilience.orElse(Effect.fail(go), () => backup), "backup")
      assert.strictEqual(yield* Effect.flip(Resilience.orElse(Effect.fail(stay), () => backup)), stay)
    })
  )

  it.effect("`when` decides in place of the class", () =>
    Effect.gen(function* () {
      const when = LlmError.isTag("ContentFiltered", "RateLimited")
      const go: Effect.Effect<string, LlmError.LlmError> = Effect.fail(errorOf("ContentFiltered"))
      const stay: Effect.Effect<string, LlmError.LlmError> = Effect.fail(server)
      assert.strictEqual(yield* Resilience.orElse(go, () => backup, { when }), "backup")
      assert.strictEqual(yield* Effect.flip(Resilience.orElse(stay, () => backup, { when })), server)
      assert.strictEqual(yield* stay.pipe(Resilience.orElse(() => backup, { when: () => true })), "backup")
    })
  )

  it.effect("gives the error to the next effect, and fails with the newest one", () =>
    Effect.gen(function* () {
      const second = errorOf("Overloaded")
      let seen: unknown
      const failed = Resilience.orElse(Effect.fail(server), (error) => {
        seen = error
        return Effect.fail(second)
      })
      assert.strictEqual(yield* Effect.flip(failed), second)
      assert.strictEqual(seen, server)
    })
  )

  it.effect("does not build the next effect where there is nothing to fall back from", () =>
    Effect.gen(function* () {
      let built = 0
      const next = () => {
        built++
        return backup
      }
      const first: Effect.Effect<string, LlmError.LlmError> = Effect.succeed("first")
      assert.strictEqual(yield* Resilience.orElse(first, next), "first")
      assert.deepStrictEqual(yield* Effect.exit(Resilience.orElse(Effect.die("a bug"), next)), Exit.die("a bug"))
      assert.isTrue(Exit.isInterrupted(yield* Effect.exit(Resilience.orElse(Effect.interrupt, next))))
      assert.strictEqual(built, 0)
    })
  )

  it.effect("with no time left, the error stands", () =>
    Effect.gen(function* () {
      let built = 0
      // Uninterruptible work that ends after the deadline: the timer cannot cut it, and no time is left behind it.
      const late = Effect.uninterruptible(Effect.zipRight(Effect.sleep("2 seconds"), Effect.fail(server)))
      const program = Resilience.orElse(late, () => {
        built++
        return backup
      })
      const { exit } = yield* under(Resilience.deadline(program, "1 second"))
      assert.strictEqual(built, 0)
      assert.isTrue(Exit.isFailure(exit))
    })
  )

  it.effect("writes one WARN that says from where and why", () =>
    Effect.gen(function* () {
      const { layer, lines } = collect()
      yield* under(
        Effect.provide(
          Resilience.orElse(Effect.fail(server), () => backup),
          layer
        )
      )
      const line = only(lines)
      assert.strictEqual(line.level, "WARN")
      assert.include(line.message, "openai/gpt-4o-mini")
      assert.include(line.message, "ServerError")
      assert.deepInclude(line.annotations, { error: "ServerError", provider: "openai", model: "gpt-4o-mini" })
    })
  )

  it.effect("the next target's attempts know what they are for", () =>
    Effect.gen(function* () {
      const { layer, records } = collect()
      const first = yield* scripted({ script: [Fault.unauthorized()] })
      const second = yield* scripted({ script: [Fault.serverError(), Reply.text("hi")] }, { model: "gpt-4.1" })
      const request = Chat.prompt("Hello")
      const program = first.model.generate(request).pipe(
        Resilience.orElse(() => Resilience.retry(second.model.generate(request), RetryPolicy.standard)),
        Call.make("greeting"),
        Effect.provide(layer)
      )
      yield* under(program)
      const fallback = { from: "openai/gpt-4o-mini", reason: "AuthError" }
      assert.deepStrictEqual(
        only(records).attempts.map((attempt) => [attempt.index, attempt.model, attempt.fallback]),
        [
          [1, "gpt-4o-mini", undefined],
          [2, "gpt-4.1", fallback],
          [3, "gpt-4.1", fallback]
        ]
      )
    })
  )

  it.effect("of three, each knows the one before it", () =>
    Effect.gen(function* () {
      const { layer, records } = collect()
      const request = Chat.prompt("Hello")
      const [a, b, c] = [
        yield* scripted({ script: [Fault.unauthorized()] }, { model: "a" }),
        yield* scripted({ script: [Fault.forbidden()] }, { model: "b" }),
        yield* scripted({}, { model: "c" })
      ]
      const program = a.model.generate(request).pipe(
        Resilience.orElse(() => b.model.generate(request)),
        Resilience.orElse(() => c.model.generate(request)),
        Call.make("greeting"),
        Effect.provide(layer)
      )
      yield* under(program)
      assert.deepStrictEqual(
        only(records).attempts.map((attempt) => attempt.fallback?.from),
        [undefined, "openai/a", "openai/b"]
      )
    })
  )
})
