import { assert, describe, it } from "@effect/vitest"
import { Effect, Either, FastCheck as fc, ParseResult, Random, Schema, Stream } from "effect"
import { Chat, ChatModel, LlmError, RetryPolicy } from "effect-steadfast"
import { Fault, Reply } from "effect-steadfast/testing"
import { cases } from "../../support/cases.js"
import { errorOf, tags } from "../../support/errors.js"
import { scripted } from "../../support/evidence.js"
import { drawing, failing, under, waits } from "../../support/time.js"

const quiet = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.provideService(effect, RetryPolicy.Listener, () => Effect.void)

/** Whether a policy retries an error, and its reason. */
const verdictOf = (options: RetryPolicy.Options, error: LlmError.LlmError) => {
  const { outs } = Effect.runSync(quiet(waits(RetryPolicy.make({ jitter: "none", ...options }), [error])))
  const verdict = outs[0]?.verdict
  return verdict?._tag === "Retry" ? "retry" : verdict?.reason
}

const refusals: ReadonlyArray<LlmError.Tag> = ["CircuitOpen", "BudgetExceeded"]
const named = tags.filter((tag) => !refusals.includes(tag)) as NonNullable<RetryPolicy.Conditions["retryOn"]>

const conflict = errorOf("InvalidRequest", { status: 409 })
const server = errorOf("ServerError", { status: 503 })
const total = new LlmError.Timeout({ provider: "openai", message: "late", delivery: "unknown", phase: "total" })
const once = errorOf("ServerError", { status: 503, delivery: "unknown", retryable: false, fallbackable: false })

describe("the lists of a policy", () => {
  for (const [name, options, error, expected] of [
    ["none: the class decides yes", {}, server, "retry"],
    ["none: the class decides no", {}, conflict, "not-retryable"],
    ["empty ones change nothing", { retryOn: [], giveUpOn: [], providers: {} }, server, "retry"],
    ["retryOn a status widens", { retryOn: [409] }, conflict, "retry"],
    ["retryOn a tag widens", { retryOn: ["InvalidRequest"] }, conflict, "retry"],
    ["retryOn another status does not", { retryOn: [408, 425] }, conflict, "not-retryable"],
    ["retryOn narrows nothing", { retryOn: [409] }, server, "retry"],
    [
      "retryOn overrules what the server said",
      { retryOn: [503] },
      errorOf("ServerError", { status: 503, retryable: false }),
      "retry"
    ],
    ["giveUpOn a status", { giveUpOn: [503] }, server, "give-up-on"],
    ["giveUpOn a tag", { giveUpOn: ["ServerError"] }, server, "give-up-on"],
    ["giveUpOn another status does not", { giveUpOn: [500] }, server, "retry"],
    ["giveUpOn wins", { retryOn: ["ServerError", 503], giveUpOn: [503] }, server, "give-up-on"],
    [
      "giveUpOn overrules what the server said",
      { giveUpOn: [409] },
      errorOf("InvalidRequest", { status: 409, retryable: true }),
      "give-up-on"
    ],
    ["a provider's retryOn is for it", { providers: { openai: { retryOn: [409] } } }, conflict, "retry"],
    ["and for no other", { providers: { anthropic: { retryOn: [409] } } }, conflict, "not-retryable"],
    [
      "a provider's retryOn wins over the general giveUpOn",
      { giveUpOn: [503], providers: { openai: { retryOn: ["ServerError"] } } },
      server,
      "retry"
    ],
    [
      "a provider's giveUpOn wins over the general retryOn",
      { retryOn: [409], providers: { openai: { giveUpOn: [409] } } },
      conflict,
      "give-up-on"
    ],
    [
      "where a provider's lists say nothing, the general ones do",
      { giveUpOn: [503], providers: { openai: { retryOn: [409] } } },
      server,
      "give-up-on"
    ],
    [
      "a provider's giveUpOn wins over its retryOn",
      { providers: { openai: { retryOn: [409], giveUpOn: [409] } } },
      conflict,
      "give-up-on"
    ],
    [
      "a provider with the name of a method",
      { providers: {} },
      errorOf("ServerError", { provider: "constructor" }),
      "retry"
    ],
    ["the whole call's time is final", { retryOn: ["Timeout"] }, total, "not-retryable"],
    ["an attempt's time is not", { retryOn: ["Timeout"] }, errorOf("Timeout"), "retry"],
    ["a request that may not be repeated is final", { retryOn: ["ServerError", 503] }, once, "not-retryable"]
  ] as ReadonlyArray<readonly [string, RetryPolicy.Options, LlmError.LlmError, string]>) {
    it(name, () => {
      assert.strictEqual(verdictOf(options, error), expected)
    })
  }

  it("never retry a refusal of our own, even where a status is given to one", () => {
    for (const tag of refusals) {
      const lists = { retryOn: [...named, 429] }
      assert.strictEqual(
        verdictOf({ ...lists, providers: { openai: lists } }, errorOf(tag, { status: 429 })),
        "not-retryable"
      )
    }
  })

  const condition = fc.oneof(fc.constantFrom(...named), fc.constantFrom(400, 409, 429, 500, 503))
  const lists = fc.record(
    { retryOn: fc.array(condition, { maxLength: 4 }), giveUpOn: fc.array(condition, { maxLength: 4 }) },
    { requiredKeys: [] }
  )
  const providers = fc.dictionary(fc.constantFrom("openai", "anthropic", "gemini"), lists)
  const error = fc
    .tuple(
      fc.constantFrom(...tags),
      fc.option(fc.constantFrom(400, 409, 429, 500, 503), { nil: undefined }),
      fc.constantFrom("openai", "anthropic", "vllm"),
      fc.option(fc.boolean(), { nil: undefined })
    )
    .map(([tag, status, provider, retryable]) =>
      errorOf(tag, {
        provider,
        ...(status === undefined ? {} : { status }),
        ...(retryable === undefined ? {} : { retryable })
      })
    )

  it("decide by the first match, and only then by the error", () => {
    fc.assert(
      fc.property(lists, providers, error, (general, providers, error) => {
        const match = (list: ReadonlyArray<LlmError.Tag | number> = []) =>
          list.includes(error._tag) || (error.status !== undefined && list.includes(error.status))
        const own = providers[error.provider]
        const retry = refusals.includes(error._tag) ? () => false : match
        const expected = match(own?.giveUpOn)
          ? "give-up-on"
          : retry(own?.retryOn)
            ? "retry"
            : match(general.giveUpOn)
              ? "give-up-on"
              : retry(general.retryOn) || LlmError.isRetryable(error)
                ? "retry"
                : "not-retryable"
        assert.strictEqual(verdictOf({ ...general, providers }, error), expected)
      }),
      { numRuns: cases(10_000) }
    )
  })

  it("hold what they decide in a file: JSON decodes to the same policy", () => {
    fc.assert(
      fc.property(lists, providers, error, (general, providers, error) => {
        const options = { ...general, providers }
        const decoded = Schema.decodeUnknownSync(RetryPolicy.Options)(JSON.parse(JSON.stringify(options)))
        assert.deepStrictEqual(Schema.encodeSync(RetryPolicy.Options)(decoded), options)
        assert.strictEqual(verdictOf(decoded, error), verdictOf(options, error))
      }),
      { numRuns: cases(1000) }
    )
  })
})

describe("a wrong list is refused", () => {
  const issuesOf = (json: unknown): ReadonlyArray<string> => {
    const result = Schema.decodeUnknownEither(RetryPolicy.Options, { errors: "all" })(json)
    return Either.isRight(result)
      ? []
      : ParseResult.ArrayFormatter.formatErrorSync(result.left).map(
          ({ message, path }) => `${path.join(".")}: ${message}`
        )
  }

  for (const [at, path, value] of [
    ["retryOn[0]", "retryOn.0", "SeverError"],
    ["retryOn[0]", "retryOn.0", "CircuitOpen"],
    ["retryOn[0]", "retryOn.0", "BudgetExceeded"],
    ["retryOn[0]", "retryOn.0", "total"],
    ["giveUpOn[0]", "giveUpOn.0", "503"],
    ["giveUpOn[0]", "giveUpOn.0", 99],
    ["giveUpOn[0]", "giveUpOn.0", 600],
    ["giveUpOn[0]", "giveUpOn.0", 503.5],
    ["providers.azure.retryOn[0]", "providers.azure.retryOn.0", "Teapot"]
  ] as const) {
    it(`${path}: ${value}`, () => {
      const [field = "", , list = ""] = path.split(".")
      const json = field === "providers" ? { providers: { azure: { [list]: [value] } } } : { [field]: [value] }
      const found = `found ${typeof value === "string" ? `"${value}"` : value}, expected a whole number from 100 to 599 or "RateLimited" or `
      assert.throws(() => RetryPolicy.make(json as RetryPolicy.Options), RangeError, `RetryPolicy: ${at}: ${found}`)
      const [issue, ...others] = issuesOf(json)
      assert.isTrue(issue?.startsWith(`${path}: ${found}`), issue)
      // That a list may also be left out is said beside it.
      assert.isTrue(others.every((other) => other.includes("Expected undefined")))
    })
  }

  it("also where it is no list, and providers are no object", () => {
    const give = (options: unknown) => () => RetryPolicy.make(options as RetryPolicy.Options)
    assert.throws(give({ retryOn: "ServerError" }), 'RetryPolicy: retryOn: found "ServerError", expected a list')
    assert.throws(give({ providers: [] }), "RetryPolicy: providers: found none, expected an object")
    assert.throws(give({ providers: { openai: 409 } }), "RetryPolicy: providers.openai: found 409, expected an object")
    assert.isNotEmpty(issuesOf({ retryOn: "ServerError" }))
    assert.isNotEmpty(issuesOf({ providers: { openai: 409 } }))
  })
})

describe("a model under a policy with lists", () => {
  const script = [Fault.status(422), Reply.text("hi")]
  const ask = (options: RetryPolicy.Options, request: Chat.Request) =>
    Effect.gen(function* () {
      const exits = []
      for (const streamed of [false, true]) {
        const { model, provider } = yield* scripted({ script })
        const held = ChatModel.retry(model, RetryPolicy.make(options))
        const asked = streamed ? Stream.runDrain(held.stream(request)) : held.generate(request)
        const { exit } = yield* under(asked)
        exits.push([exit._tag, (yield* provider.requests).length])
      }
      return exits
    })

  it.effect("asks again, whole and streamed", () =>
    Effect.gen(function* () {
      const hello = Chat.prompt("Hello")
      const retried = yield* ask({ retryOn: [422] }, hello)
      assert.deepStrictEqual(retried, [
        ["Success", 2],
        ["Success", 2]
      ])
      const left = yield* ask({ providers: { anthropic: { retryOn: [422] } } }, hello)
      assert.deepStrictEqual(left, [
        ["Failure", 1],
        ["Failure", 1]
      ])
    })
  )
})

describe("patient", () => {
  /** When the attempts of a row begin that is refused at once, each time. */
  const row = (seed: number): ReadonlyArray<number> => {
    const errors = Array.from({ length: 30 }, () => errorOf("ConnectionError"))
    const { waits: all } = Effect.runSync(
      quiet(Effect.withRandom(waits(RetryPolicy.patient, errors), Random.make(seed)))
    )
    const times = [0]
    for (const wait of all) times.push((times.at(-1) ?? 0) + wait)
    return times
  }

  it("outlasts a minute without a server, and five seconds, whatever the jitter", () => {
    const rows = Array.from({ length: cases(1000, 200) }, (_, seed) => row(seed))
    assert.isTrue(rows.every((times) => times.length === 20))
    // Far from the edge: the shortest of all these rows would have outlasted two minutes.
    assert.isAbove(Math.min(...rows.map((times) => times.at(-1) ?? 0)), 120_000)
    // A row is served within the longest wait after the end.
    for (const end of [5000, 60_000]) {
      for (const times of rows) assert.isBelow((times.find((time) => time >= end) ?? Infinity) - end, 60_000)
    }
  })

  it("is too short for a minute with a chance below 1 in 479,001,600", () => {
    const most = Effect.runSync(
      quiet(
        drawing(1)(
          waits(
            RetryPolicy.patient,
            Array.from({ length: 30 }, () => errorOf("ServerError"))
          )
        )
      )
    ).waits
    assert.strictEqual(
      most.reduce((all, wait) => all + wait),
      783_500
    )
    // n waits, each drawn evenly from 0 to a minute, sum up to less than a minute with a chance of 1 in n!.
    const minutes = most.filter((wait) => wait === 60_000).length
    const factorial = Array.from({ length: minutes }, (_, i) => i + 1).reduce((all, one) => all * one, 1)
    assert.strictEqual(factorial, 479_001_600)
  })

  it.effect("answers after a minute of refusals under a clock too", () =>
    Effect.gen(function* () {
      const { effect, times } = failing(Array.from({ length: 7 }, () => errorOf("ServerError")))
      const { exit, millis } = yield* under(drawing(1)(quiet(Effect.retry(effect, RetryPolicy.patient))))
      assert.deepStrictEqual([exit._tag, times.length, millis], ["Success", 8, 63_500])
    })
  )
})
