import { assert, describe, it } from "@effect/vitest"
import { FastCheck as fc } from "effect"
import { Capabilities, Chat, Fallback, LlmError } from "effect-steadfast"
import { cases } from "../support/cases.js"
import { errorOf, tags } from "../support/errors.js"
import { arbitraryCapabilities } from "./Fallback.support.js"

const runs = { numRuns: cases(10_000) }

const target = (model: string, capabilities: Capabilities.Capabilities = {}): Fallback.Target => ({
  provider: model.startsWith("claude") ? "anthropic" : "openai",
  model,
  capabilities
})

const small = target("gpt-4o-mini", { contextWindow: 128_000 })
const same = target("gpt-4o", { contextWindow: 128_000 })
const large = target("claude-sonnet-4-6", { contextWindow: 1_000_000 })
const unknown = target("my-own")

const hello = Chat.prompt("Hello")
const tooLong = errorOf("ContextLengthExceeded", { status: 400 })

const decide = (
  error: LlmError.LlmError,
  to: ReadonlyArray<Fallback.Target> = [unknown],
  when: Fallback.When = {},
  request: Chat.Request = hello,
  from: ReadonlyArray<Fallback.Target> = [small]
) => Fallback.decide(when, error, request, { from, to })

const taken = (reason: string): Fallback.Decision => ({ _tag: "Take", reason })
/** `unable` is expected if the reason names a missing capability or a window. */
const left = (reason: string): Fallback.Decision => ({
  _tag: "Leave",
  reason,
  unable: / cannot: | takes /.test(reason)
})

describe("without a rule", () => {
  it("the class of the error decides, for all but a prompt that is too long", () => {
    for (const tag of tags.filter((tag) => tag !== "ContextLengthExceeded")) {
      const error = errorOf(tag)
      assert.deepStrictEqual(
        decide(error),
        LlmError.isFallbackable(error) ? taken(tag) : left(`${tag}: not for another target`)
      )
    }
  })

  it("the error itself counts over its class", () => {
    assert.deepStrictEqual(decide(errorOf("ContentFiltered", { fallbackable: true })), taken("ContentFiltered"))
    assert.strictEqual(decide(errorOf("ServerError", { fallbackable: false }))._tag, "Leave")
    assert.deepStrictEqual(
      decide(errorOf("ContextLengthExceeded", { status: 400, fallbackable: true }), [same]),
      taken("ContextLengthExceeded")
    )
    assert.strictEqual(decide(errorOf("ContextLengthExceeded", { fallbackable: false }), [large])._tag, "Leave")
  })
})

describe("a prompt that was too long", () => {
  it("goes to a larger window", () => {
    assert.deepStrictEqual(
      decide(tooLong, [large]),
      taken("ContextLengthExceeded: anthropic/claude-sonnet-4-6 takes 1000000 tokens, openai/gpt-4o-mini 128000")
    )
  })

  it("goes to no window of the same size, and to no smaller one", () => {
    assert.deepStrictEqual(
      decide(tooLong, [same]),
      left("ContextLengthExceeded: openai/gpt-4o takes 128000 tokens, openai/gpt-4o-mini 128000")
    )
    assert.deepStrictEqual(
      decide(tooLong, [same, target("gpt-3", { contextWindow: 16_385 })]),
      left(
        "ContextLengthExceeded: openai/gpt-4o takes 128000 tokens, openai/gpt-4o-mini 128000; openai/gpt-3 takes 16385 tokens, openai/gpt-4o-mini 128000"
      )
    )
  })

  it("goes where one of the two windows is not known", () => {
    assert.deepStrictEqual(
      decide(tooLong, [unknown]),
      taken("ContextLengthExceeded: the window of openai/my-own is not known")
    )
    assert.deepStrictEqual(
      decide(errorOf("ContextLengthExceeded", { status: 400, model: "my-own" }), [same], {}, hello, [unknown]),
      taken("ContextLengthExceeded: the window of openai/my-own is not known")
    )
  })

  it("was too long for the target that refused it, not for the largest beside it", () => {
    const between = target("claude-haiku-4-5", { contextWindow: 200_000 })
    assert.strictEqual(decide(tooLong, [between], {}, hello, [large, small])._tag, "Take")
    const elsewhere = errorOf("ContextLengthExceeded", { status: 400, provider: "anthropic", model: large.model })
    assert.strictEqual(decide(elsewhere, [between], {}, hello, [large, small])._tag, "Leave")
  })

  it("goes anywhere where it was not the window that was too small", () => {
    for (const fields of [{ status: 429 }, { status: 413 }, { delivery: "not-sent" as const }]) {
      assert.deepStrictEqual(
        decide(errorOf("ContextLengthExceeded", fields), [same]),
        taken("ContextLengthExceeded: a limit of openai/gpt-4o-mini that is not its window")
      )
    }
  })

  it("goes to one of several that has the window and all the rest", () => {
    const blind = target("claude-text", { contextWindow: 1_000_000, images: false })
    const picture = Chat.request({ messages: [Chat.user([{ type: "image", url: "https://example.com/a.png" }])] })
    assert.strictEqual(decide(tooLong, [blind], {}, picture)._tag, "Leave")
    assert.strictEqual(decide(tooLong, [blind, same], {}, picture)._tag, "Leave")
    assert.deepStrictEqual(
      decide(tooLong, [blind, same, large], {}, picture),
      taken("ContextLengthExceeded: anthropic/claude-sonnet-4-6 takes 1000000 tokens, openai/gpt-4o-mini 128000")
    )
  })
})

describe("a rule", () => {
  it("counts over the error and its class", () => {
    assert.deepStrictEqual(
      decide(errorOf("ContentFiltered"), [same], { ContentFiltered: true }),
      taken("ContentFiltered")
    )
    assert.strictEqual(decide(errorOf("ServerError"), [same], { ServerError: false })._tag, "Leave")
    const stubborn = errorOf("ServerError", { fallbackable: false })
    assert.strictEqual(decide(stubborn, [same], { ServerError: true })._tag, "Take")
  })

  it("of another tag counts nothing", () => {
    assert.strictEqual(decide(errorOf("ServerError"), [same], { Overloaded: false, InvalidRequest: true })._tag, "Take")
    assert.strictEqual(decide(errorOf("InvalidRequest"), [same], { ServerError: true })._tag, "Leave")
  })

  it("that is undefined is none", () => {
    assert.strictEqual(decide(errorOf("ServerError"), [same], { ServerError: undefined })._tag, "Take")
  })

  it("can look at the error", () => {
    const when: Fallback.Rules = {
      RateLimited: (error) => error.scope === "day",
      Timeout: (error) => error.phase !== "idle"
    }
    assert.strictEqual(decide(errorOf("RateLimited"), [same], when)._tag, "Leave")
    const day = new LlmError.RateLimited({ provider: "openai", message: "", delivery: "rejected", scope: "day" })
    assert.strictEqual(decide(day, [same], when)._tag, "Take")
    assert.strictEqual(decide(errorOf("Timeout"), [same], when)._tag, "Take")
  })

  it("for all errors counts over everything too", () => {
    const when = LlmError.isTag("InvalidRequest", "ContextLengthExceeded")
    assert.deepStrictEqual(decide(errorOf("InvalidRequest"), [same], when), taken("InvalidRequest"))
    assert.deepStrictEqual(decide(tooLong, [same], when), taken("ContextLengthExceeded"))
    assert.strictEqual(decide(errorOf("ServerError"), [same], when)._tag, "Leave")
  })

  it("lets a long prompt go anywhere, to a larger window, or nowhere", () => {
    assert.strictEqual(decide(tooLong, [same], { ContextLengthExceeded: true })._tag, "Take")
    assert.strictEqual(decide(tooLong, [same], { ContextLengthExceeded: "larger-window" })._tag, "Leave")
    assert.strictEqual(decide(tooLong, [large], { ContextLengthExceeded: "larger-window" })._tag, "Take")
    assert.strictEqual(decide(tooLong, [large], { ContextLengthExceeded: false })._tag, "Leave")
  })

  it("counts not over what a target cannot do", () => {
    const picture = Chat.request({ messages: [Chat.user([{ type: "image", url: "https://example.com/a.png" }])] })
    const blind = target("gpt-blind", { images: false })
    for (const when of [{}, { ServerError: true }, () => true]) {
      assert.deepStrictEqual(
        decide(errorOf("ServerError", { fallbackable: true }), [blind], when, picture),
        left("openai/gpt-blind cannot: images")
      )
    }
  })
})

describe("a request that must not run twice", () => {
  const careful = Chat.prompt("pay", { idempotent: false })

  it("goes nowhere where it may have run, whatever the rules say", () => {
    for (const when of [{}, { Timeout: true }, () => true]) {
      assert.deepStrictEqual(
        decide(errorOf("Timeout", { delivery: "unknown", fallbackable: true }), [same], when, careful),
        left("Timeout: the request may have been run, and must not be twice")
      )
    }
    assert.strictEqual(decide(errorOf("Timeout", { delivery: "unknown" }))._tag, "Take")
  })

  it("goes on where it was refused or never sent", () => {
    for (const delivery of ["rejected", "not-sent"] as const) {
      assert.strictEqual(decide(errorOf("ServerError", { delivery }), [same], {}, careful)._tag, "Take")
    }
  })
})

describe("cannot", () => {
  const begun = Chat.request({ messages: [Chat.user("Hi"), Chat.assistant("Once")] })
  const ofTable = (provider: string, model: string): Fallback.Target => ({
    provider,
    model,
    capabilities: Capabilities.known({ provider, model })
  })

  it("tells why, of every target", () => {
    assert.strictEqual(
      Fallback.cannot([ofTable("anthropic", "claude-opus-4-6"), ofTable("openai", "gpt-4o")], begun),
      "anthropic/claude-opus-4-6 cannot: a prefilled answer; openai/gpt-4o cannot: a prefilled answer"
    )
  })

  it("is nothing where one can, or may", () => {
    assert.isUndefined(Fallback.cannot([ofTable("openai", "gpt-4o"), ofTable("anthropic", "claude-haiku-4-5")], begun))
    assert.isUndefined(Fallback.cannot([ofTable("openai", "gpt-4o"), ofTable("openai", "my-own")], begun))
  })

  it("two that can half of it each cannot do it", () => {
    const request = Chat.request({
      messages: [Chat.user([{ type: "image", url: "https://example.com/a.png" }])],
      tools: [{ name: "clock", parameters: {} }]
    })
    const blind = target("blind", { tools: true, images: false })
    const idle = target("idle", { tools: false, images: true })
    assert.strictEqual(
      Fallback.cannot([blind, idle], request),
      "openai/blind cannot: images; openai/idle cannot: tools"
    )
  })
})

describe("laws", () => {
  const targets = fc.array(
    fc.tuple(fc.constantFrom("a", "b", "c"), arbitraryCapabilities).map(([model, capabilities]) => ({
      provider: "openai",
      model,
      capabilities
    })),
    { minLength: 1, maxLength: 3 }
  )
  const requests: fc.Arbitrary<Chat.Request> = fc
    .record({
      image: fc.boolean(),
      tools: fc.boolean(),
      format: fc.constantFrom(undefined, { type: "json" as const }),
      begun: fc.boolean(),
      text: fc.nat(600),
      maxTokens: fc.option(fc.integer({ min: 1, max: 200 }), { nil: undefined }),
      idempotent: fc.option(fc.boolean(), { nil: undefined })
    })
    .map(({ begun, format, idempotent, image, maxTokens, text, tools }) => ({
      messages: [
        Chat.user([
          { type: "text", text: "ab".repeat(text) },
          ...(image ? [{ type: "image" as const, url: "https://example.com/a.png" }] : [])
        ]),
        ...(begun ? [Chat.assistant("Once")] : [])
      ],
      tools: tools ? [{ name: "clock", parameters: {} }] : undefined,
      responseFormat: format,
      maxTokens,
      idempotent
    }))
  // Errors are made once: their classes check every field.
  const errors = fc.constantFrom(
    ...tags.flatMap((tag) =>
      (["a", "d"] as const).flatMap((model) =>
        (["not-sent", "rejected", "unknown"] as const).flatMap((delivery) =>
          [400, 429].flatMap((status) =>
            [undefined, true, false].map((fallbackable) =>
              errorOf(tag, { model, delivery, status, ...(fallbackable === undefined ? {} : { fallbackable }) })
            )
          )
        )
      )
    )
  )
  const rule = fc.option(fc.boolean(), { nil: undefined })
  const rules: fc.Arbitrary<Fallback.Rules> = fc.record(
    Object.fromEntries(tags.map((tag) => [tag, rule])) as Record<LlmError.Tag, typeof rule>
  )

  it("a target is taken only if it lacks nothing known, and after an error that is allowed", () => {
    fc.assert(
      fc.property(rules, errors, requests, targets, targets, targets, (when, error, request, from, to, others) => {
        const decision = Fallback.decide(when, error, request, { from, to })
        if (decision._tag === "Leave") return
        const needs = Capabilities.needs(request)
        const able = to.filter(({ capabilities }) => Capabilities.lacking(capabilities, needs).length === 0)
        assert.isNotEmpty(able)
        // by a rule, or else the error itself, or else its class
        assert.isTrue(when[error._tag] ?? LlmError.isFallbackable(error))
        assert.isTrue(request.idempotent !== false || error.delivery !== "unknown")
        assert.isTrue(decision.reason.startsWith(error._tag))
        // a target more is never one too many
        assert.strictEqual(Fallback.decide(when, error, request, { from, to: [...to, ...others] })._tag, "Take")
      }),
      runs
    )
  })

  it("a target that lacks nothing is left only because of the error", () => {
    fc.assert(
      fc.property(rules, errors, targets, targets, (when, error, from, to) => {
        const decision = Fallback.decide(when, error, hello, { from, to })
        const allowed = when[error._tag] ?? LlmError.isFallbackable(error)
        const byWindow = error._tag === "ContextLengthExceeded" && when[error._tag] === undefined
        if (!byWindow) assert.strictEqual(decision._tag, allowed ? "Take" : "Leave")
      }),
      runs
    )
  })

  it("a long prompt goes on if, and only if, a window is larger or may be", () => {
    const error = errorOf("ContextLengthExceeded", { status: 400, model: "a" })
    fc.assert(
      fc.property(targets, targets, (from, to) => {
        const had = from.find(({ model }) => model === "a")?.capabilities.contextWindow ?? 0
        const larger = to.some(({ capabilities: { contextWindow } }) => (contextWindow ?? had + 1) > had)
        assert.strictEqual(Fallback.decide({}, error, hello, { from, to })._tag, larger ? "Take" : "Leave")
      }),
      runs
    )
  })
})
