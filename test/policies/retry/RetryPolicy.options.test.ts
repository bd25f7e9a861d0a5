import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Duration, Effect, Either, ParseResult, Schema } from "effect"
import { type LlmError, RetryPolicy } from "effect-steadfast"
import { errorOf, hinted } from "../../support/errors.js"
import { drawing, waits } from "../../support/time.js"

const server = errorOf("ServerError")
const many: ReadonlyArray<LlmError.LlmError> = Array.from({ length: 120 }, () => server)

const waitsOf = (policy: RetryPolicy.RetryPolicy, errors = many) =>
  drawing(1)(waits(policy, errors)).pipe(
    Effect.map(({ waits }) => waits),
    Effect.provideService(RetryPolicy.Listener, () => Effect.void)
  )

const fromEnv = (env: Record<string, string>) =>
  RetryPolicy.config.pipe(Effect.withConfigProvider(ConfigProvider.fromMap(new Map(Object.entries(env)))))

describe("config", () => {
  it.effect("is standard where nothing is set", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* waitsOf(yield* fromEnv({})), [500, 1000, 2000])
    })
  )

  it.effect("reads each variable", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* waitsOf(yield* fromEnv({ LLM_MAX_RETRIES: "1" })), [500])
      assert.deepStrictEqual(yield* waitsOf(yield* fromEnv({ LLM_MAX_RETRIES: "0" })), [])
      assert.strictEqual((yield* waitsOf(yield* fromEnv({ LLM_MAX_RETRIES: "99" }))).length, 99)
      assert.deepStrictEqual(yield* waitsOf(yield* fromEnv({ LLM_RETRY_INITIAL_DELAY: "0.25" })), [250, 500, 1000])
      assert.deepStrictEqual(yield* waitsOf(yield* fromEnv({ LLM_RETRY_MAX_DELAY: "0.75" })), [500, 750, 750])
      assert.deepStrictEqual(yield* waitsOf(yield* fromEnv({ LLM_RETRY_BACKOFF_FACTOR: "1.5" })), [500, 750, 1125])
    })
  )

  it.effect("reads them together, with space around them", () =>
    Effect.gen(function* () {
      const policy = yield* fromEnv({
        LLM_MAX_RETRIES: " 4 ",
        LLM_RETRY_INITIAL_DELAY: " 1 ",
        LLM_RETRY_MAX_DELAY: "5",
        LLM_RETRY_BACKOFF_FACTOR: "3"
      })
      assert.deepStrictEqual(yield* waitsOf(policy), [1000, 3000, 5000, 5000])
    })
  )

  for (const [variable, value, expected] of [
    ["LLM_MAX_RETRIES", "three", "a whole number from 0 to 99"],
    ["LLM_MAX_RETRIES", "-1", "a whole number from 0 to 99"],
    ["LLM_MAX_RETRIES", "100", "a whole number from 0 to 99"],
    ["LLM_MAX_RETRIES", "2.5", "a whole number from 0 to 99"],
    ["LLM_MAX_RETRIES", "", "a whole number from 0 to 99"],
    ["LLM_RETRY_INITIAL_DELAY", "500ms", "seconds"],
    ["LLM_RETRY_INITIAL_DELAY", "-0.5", "seconds"],
    ["LLM_RETRY_INITIAL_DELAY", "NaN", "seconds"],
    ["LLM_RETRY_MAX_DELAY", "Infinity", "seconds"],
    ["LLM_RETRY_MAX_DELAY", "1 minute", "seconds"],
    ["LLM_RETRY_BACKOFF_FACTOR", "0.5", "a number from 1 to 10"],
    ["LLM_RETRY_BACKOFF_FACTOR", "11", "a number from 1 to 10"],
    ["LLM_RETRY_BACKOFF_FACTOR", "two", "a number from 1 to 10"]
  ] as const) {
    it.effect(`${variable}="${value}" is refused by name`, () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(fromEnv({ [variable]: value }))
        const text = String(error)
        assert.include(text, variable)
        assert.include(text, `"${value}"`)
        assert.include(text, expected)
      })
    )
  }
})

describe("Options", () => {
  const decode = Schema.decodeUnknownEither(RetryPolicy.Options, { errors: "all" })
  const reject = (json: unknown): string => {
    const result = decode(json)
    return Either.isLeft(result) ? ParseResult.TreeFormatter.formatErrorSync(result.left) : assert.fail("accepted")
  }

  it("decodes what stands in JSON, and make takes it", () => {
    const json = `{ "maxAttempts": 3, "initialDelay": "500 millis", "overloadedDelay": "2 seconds", "backoffFactor": 1.5,
      "maxDelay": "30 seconds", "maxHint": "1 minute", "jitter": "none" }`
    const options = Either.getOrThrow(decode(JSON.parse(json)))
    assert.isTrue(Duration.equals(options.initialDelay ?? 0, "500 millis"))
    assert.isTrue(Duration.equals(options.maxHint ?? 0, "60 seconds"))
    const all = Effect.runSync(waitsOf(RetryPolicy.make(options)))
    assert.deepStrictEqual(all, [500, 750])
  })

  it("takes nothing at all", () => {
    assert.deepStrictEqual(Either.getOrThrow(decode({})), {})
  })

  it("encodes what it decoded", () => {
    const options = Either.getOrThrow(decode({ maxAttempts: 2, maxDelay: "30 seconds" }))
    const encoded = Schema.encodeSync(RetryPolicy.Options)(options)
    assert.deepStrictEqual(encoded, { maxAttempts: 2, maxDelay: "30000 millis" })
    assert.deepStrictEqual(Either.getOrThrow(decode(encoded)), options)
  })

  for (const field of ["initialDelay", "overloadedDelay", "maxDelay", "maxHint"]) {
    it(`${field} is text with a unit`, () => {
      for (const value of [500, "500", "5 parsecs", "", "-1 seconds", "2 weeks", null]) {
        assert.include(reject({ [field]: value }), field)
      }
    })
  }

  it("refuses numbers out of range by name", () => {
    assert.include(reject({ maxAttempts: 0 }), "maxAttempts")
    assert.include(reject({ maxAttempts: 1.5 }), "maxAttempts")
    assert.include(reject({ maxAttempts: 101 }), "maxAttempts")
    assert.include(reject({ backoffFactor: 0.9 }), "backoffFactor")
    assert.include(reject({ jitter: "half" }), "jitter")
  })
})

describe("make", () => {
  for (const [option, value] of [
    ["maxAttempts", 0],
    ["maxAttempts", 2.5],
    ["maxAttempts", Number.NaN],
    ["initialDelay", Number.POSITIVE_INFINITY],
    ["initialDelay", -5],
    ["initialDelay", "-1 seconds"],
    ["overloadedDelay", "2 weeks"],
    ["maxDelay", "infinite"],
    ["maxHint", Duration.infinity],
    ["backoffFactor", 0],
    ["backoffFactor", Number.NaN],
    ["jitter", "some"]
  ] as const) {
    it(`names the option: ${option} = ${value}`, () => {
      const options = { [option]: value } as RetryPolicy.Options
      assert.throws(() => RetryPolicy.make(options), RangeError, option)
    })
  }

  it("blocks refuse wrong options alike", () => {
    assert.throws(() => RetryPolicy.attempts(0), RangeError, "maxAttempts")
    assert.throws(() => RetryPolicy.backoff({ backoffFactor: 99 }), RangeError, "backoffFactor")
    assert.throws(() => RetryPolicy.serverHint({ maxHint: "2 weeks" }), RangeError, "maxHint")
  })

  it("overloadedDelay is never shorter than initialDelay", () => {
    const policy = RetryPolicy.make({ initialDelay: "4 seconds", overloadedDelay: "1 second", maxAttempts: 2 })
    assert.deepStrictEqual(Effect.runSync(waitsOf(policy, [errorOf("Overloaded"), server])), [4000])
  })

  it("without jitter takes the hint as it is", () => {
    const policy = RetryPolicy.make({ jitter: "none" })
    assert.deepStrictEqual(Effect.runSync(waitsOf(policy, [hinted("7 seconds")])), [7000])
  })
})
