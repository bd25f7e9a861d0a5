import type { HttpClient } from "@effect/platform"
import type { ConfigError, Schedule, Stream } from "effect"
import { Config, Effect, Layer } from "effect"
import { Chat, ChatModel, type Deadline, LlmError, OpenAi, Resilience, RetryPolicy } from "effect-steadfast"
import { describe, expectTypeOf, it } from "vitest"

declare const call: Effect.Effect<string, LlmError.LlmError>
declare const model: ChatModel.ChatModel

/** What is declared above has no value: the bodies are compiled, and never run. */
const typed = (_: () => void): void => {}

type Without<Tags extends LlmError.Tag> = Exclude<LlmError.LlmError, { readonly _tag: Tags }>

describe("the error channel", () => {
  it("loses what was caught by tag", () =>
    typed(() => {
      const caught = call.pipe(Effect.catchTag("AuthError", (error) => Effect.succeed(error.provider)))
      expectTypeOf(caught).toEqualTypeOf<Effect.Effect<string, Without<"AuthError">>>()
      expectTypeOf<Effect.Effect.Error<typeof caught>>().not.toExtend<{ readonly _tag: "AuthError" }>()

      const two = call.pipe(
        Effect.catchTags({ RateLimited: () => Effect.succeed(1), Timeout: () => Effect.succeed(2) })
      )
      expectTypeOf<Effect.Effect.Error<typeof two>>().toEqualTypeOf<Without<"RateLimited" | "Timeout">>()
    }))

  it("knows the fields of the one that was caught", () =>
    typed(() => {
      call.pipe(
        Effect.catchTag("StreamInterrupted", (error) => {
          expectTypeOf(error).toEqualTypeOf<LlmError.StreamInterrupted>()
          expectTypeOf(error.received).toBeNumber()
          return Effect.succeed(error.partial)
        })
      )
      call.pipe(
        Effect.catchTag("Timeout", (error) => {
          expectTypeOf(error.phase).toEqualTypeOf<"connect" | "attempt" | "first-token" | "idle" | "total">()
          return Effect.void
        })
      )
    }))

  it("isTag is a refinement", () =>
    typed(() => {
      const refined = call.pipe(
        Effect.catchIf(LlmError.isTag("RateLimited", "Overloaded"), () => Effect.succeed("busy"))
      )
      expectTypeOf<Effect.Effect.Error<typeof refined>>().toEqualTypeOf<Without<"RateLimited" | "Overloaded">>()
    }))

  it("is replaced by Effect.orElse", () =>
    typed(() => {
      const replaced = call.pipe(Effect.orElse(() => Effect.fail("mine" as const)))
      expectTypeOf<Effect.Effect.Error<typeof replaced>>().toEqualTypeOf<"mine">()
      const saved = call.pipe(Effect.orElse(() => Effect.succeed(7)))
      expectTypeOf(saved).toEqualTypeOf<Effect.Effect<string | number>>()
    }))
})

describe("Resilience.orElse", () => {
  it("keeps both errors by default", () =>
    typed(() => {
      const both = call.pipe(Resilience.orElse(() => Effect.fail("mine" as const)))
      expectTypeOf<Effect.Effect.Error<typeof both>>().toEqualTypeOf<LlmError.LlmError | "mine">()
    }))

  it("with a refinement keeps only what can remain", () =>
    typed(() => {
      const when = LlmError.isTag("RateLimited", "Overloaded")
      const last = call.pipe(Resilience.orElse(() => Effect.succeed(7), { when }))
      expectTypeOf<Effect.Effect.Success<typeof last>>().toEqualTypeOf<string | number>()
      expectTypeOf<Effect.Effect.Error<typeof last>>().toEqualTypeOf<Without<"RateLimited" | "Overloaded">>()

      const first = Resilience.orElse(call, () => Effect.fail("mine" as const), { when })
      expectTypeOf<Effect.Effect.Error<typeof first>>().toEqualTypeOf<Without<"RateLimited" | "Overloaded"> | "mine">()
    }))

  it("with a predicate keeps all of them", () =>
    typed(() => {
      const kept = Resilience.orElse(call, () => Effect.succeed(7), { when: LlmError.isFallbackable })
      expectTypeOf<Effect.Effect.Error<typeof kept>>().toEqualTypeOf<LlmError.LlmError>()
    }))

  it("knows what the error can still be", () =>
    typed(() => {
      const some = call.pipe(Effect.catchTag("AuthError", () => Effect.succeed("")))
      Resilience.orElse(some, (error) => {
        expectTypeOf(error).toEqualTypeOf<Without<"AuthError">>()
        return Effect.void
      })
    }))
})

describe("time and retry", () => {
  it("a limit adds Timeout and nothing else", () =>
    typed(() => {
      const limited = Effect.fail("mine" as const).pipe(Resilience.timeout("1 second"))
      expectTypeOf(limited).toEqualTypeOf<Effect.Effect<never, "mine" | LlmError.Timeout>>()
      const whole = Effect.fail("mine" as const).pipe(Resilience.deadline("1 second"))
      expectTypeOf(whole).toEqualTypeOf<Effect.Effect<never, "mine" | LlmError.Timeout>>()
      // @ts-expect-error a bare word is no duration
      Resilience.deadline(call, "soon")
    }))

  it("retry keeps the type, and asks for what the schedule asks for", () =>
    typed(() => {
      expectTypeOf(call.pipe(Resilience.retry(RetryPolicy.standard))).toEqualTypeOf<typeof call>()
      expectTypeOf(call.pipe(Effect.retry(RetryPolicy.standard))).toEqualTypeOf<typeof call>()
      const asking = {} as Schedule.Schedule<number, LlmError.LlmError, HttpClient.HttpClient>
      expectTypeOf(Resilience.retry(call, asking)).toEqualTypeOf<
        Effect.Effect<string, LlmError.LlmError, HttpClient.HttpClient>
      >()
      // @ts-expect-error errors that are none of ours need a schedule of their own
      Resilience.retry(Effect.fail("mine"), RetryPolicy.standard)
    }))

  it("a policy is a Schedule over LlmError that requires nothing", () => {
    expectTypeOf(RetryPolicy.standard).toEqualTypeOf<Schedule.Schedule<RetryPolicy.Decision, LlmError.LlmError>>()
    expectTypeOf(RetryPolicy.make).returns.toEqualTypeOf<RetryPolicy.RetryPolicy>()
    expectTypeOf(RetryPolicy.config).toEqualTypeOf<Config.Config<RetryPolicy.RetryPolicy>>()
    expectTypeOf<typeof Deadline.remaining>().toEqualTypeOf<Effect.Effect<number>>()
  })
})

describe("models", () => {
  it("make asks for a client and can only fail with a ConfigError", () =>
    typed(() => {
      const made = OpenAi.make({ model: "gpt-4o-mini", apiKey: Config.redacted("OPENAI_API_KEY") })
      expectTypeOf(made).toEqualTypeOf<
        Effect.Effect<ChatModel.ChatModel, ConfigError.ConfigError, HttpClient.HttpClient>
      >()
      expectTypeOf(OpenAi.layer({ model: "gpt-4o-mini" })).toEqualTypeOf<
        Layer.Layer<ChatModel.ChatModel, ConfigError.ConfigError, HttpClient.HttpClient>
      >()
      // @ts-expect-error a key is never plain text
      OpenAi.make({ model: "gpt-4o-mini", apiKey: "sk-1" })
    }))

  it("combinators take models and give models", () =>
    typed(() => {
      const composed = model.pipe(
        ChatModel.timeout({ attempt: "30 seconds", firstToken: "10 seconds", idle: "20 seconds" }),
        ChatModel.retry(RetryPolicy.standard),
        ChatModel.orElse(model, { when: LlmError.isTag("RateLimited") }),
        ChatModel.deadline("90 seconds"),
        ChatModel.named("assistant")
      )
      expectTypeOf(composed).toEqualTypeOf<ChatModel.ChatModel>()
      expectTypeOf(ChatModel.retry(model, RetryPolicy.standard)).toEqualTypeOf<ChatModel.ChatModel>()
      expectTypeOf(ChatModel.orElse(model, model)).toEqualTypeOf<ChatModel.ChatModel>()
    }))

  it("answer with LlmError and no requirement", () =>
    typed(() => {
      expectTypeOf(model.generate).returns.toEqualTypeOf<Effect.Effect<Chat.Response, LlmError.LlmError>>()
      expectTypeOf(model.stream).returns.toEqualTypeOf<Stream.Stream<Chat.Event, LlmError.LlmError>>()
      expectTypeOf(ChatModel.generate(Chat.prompt("Hello"))).toEqualTypeOf<
        Effect.Effect<Chat.Response, LlmError.LlmError, ChatModel.ChatModel>
      >()
    }))
})
