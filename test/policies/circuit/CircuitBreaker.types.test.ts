import { type Context, Effect, type Exit, type Layer, type Stream } from "effect"
import { CircuitBreaker, type LlmError } from "effect-steadfast"
import { describe, expectTypeOf, it } from "vitest"

interface Needed {
  readonly needed: true
}

declare const breaker: CircuitBreaker.CircuitBreaker
declare const call: Effect.Effect<string, LlmError.RateLimited | "mine", Needed>

/** What is declared above has no value: the bodies are compiled, and never run. */
const typed = (_: () => void): void => {}

type Guarded = Effect.Effect<string, LlmError.RateLimited | "mine" | LlmError.CircuitOpen, Needed>

describe("execute", () => {
  it("adds CircuitOpen to the errors, and nothing else", () =>
    typed(() => {
      expectTypeOf(call.pipe(breaker.execute({ key: "k" }))).toEqualTypeOf<Guarded>()
      expectTypeOf(breaker.execute(call, { key: "k" })).toEqualTypeOf<Guarded>()
      expectTypeOf(breaker.execute(Effect.succeed(1), { key: "k" })).toEqualTypeOf<
        Effect.Effect<number, LlmError.CircuitOpen>
      >()
      const reused = breaker.execute({ key: "k", provider: "openai", model: "gpt-4o-mini" })
      expectTypeOf(reused(call)).toEqualTypeOf<Guarded>()
      expectTypeOf(reused(Effect.fail(1))).toEqualTypeOf<Effect.Effect<never, number | LlmError.CircuitOpen>>()
    }))

  it("knows what classify is asked about", () =>
    typed(() => {
      const classified = call.pipe(
        breaker.execute({
          key: "k",
          classify: (exit, now) => {
            expectTypeOf(exit).toEqualTypeOf<Exit.Exit<string, LlmError.RateLimited | "mine">>()
            return CircuitBreaker.throttled(now)
          }
        })
      )
      expectTypeOf(classified).toEqualTypeOf<Guarded>()
      expectTypeOf(breaker.execute(call, { key: "k", classify: CircuitBreaker.classify })).toEqualTypeOf<Guarded>()
      // @ts-expect-error a key is needed
      call.pipe(breaker.execute({ provider: "openai" }))
      // @ts-expect-error an outcome is needed
      breaker.execute(call, { key: "k", classify: () => "bad" })
    }))
})

describe("a breaker", () => {
  it("can fail with nothing but a refusal, and needs nothing", () => {
    expectTypeOf(CircuitBreaker.make).returns.toEqualTypeOf<Effect.Effect<CircuitBreaker.CircuitBreaker>>()
    expectTypeOf(CircuitBreaker.layer).returns.toEqualTypeOf<Layer.Layer<CircuitBreaker.CircuitBreaker>>()
    type Breaker = CircuitBreaker.CircuitBreaker
    expectTypeOf<ReturnType<Breaker["admit"]>>().toEqualTypeOf<
      Effect.Effect<CircuitBreaker.Admission, LlmError.CircuitOpen>
    >()
    expectTypeOf<ReturnType<Breaker["record"]>>().toEqualTypeOf<Effect.Effect<void>>()
    expectTypeOf<ReturnType<Breaker["state"]>>().toEqualTypeOf<Effect.Effect<CircuitBreaker.State>>()
    expectTypeOf<Breaker["transitions"]>().toEqualTypeOf<Stream.Stream<CircuitBreaker.Transition>>()
    expectTypeOf(CircuitBreaker.CircuitBreaker).toEqualTypeOf<Context.Tag<Breaker, Breaker>>()
  })
})
