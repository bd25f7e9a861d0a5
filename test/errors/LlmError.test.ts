import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as FastCheck from "effect/FastCheck"
import * as Schema from "effect/Schema"
import * as LlmError from "../../src/errors/LlmError.js"

const base: LlmError.Fields = { provider: "openai", message: "no", delivery: "rejected" }

const full: LlmError.Fields = {
  provider: "openai",
  model: "gpt-4o-mini",
  message: "slow down",
  status: 429,
  code: "rate_limit_exceeded",
  requestId: "req_1",
  hint: Duration.millis(1500),
  delivery: "rejected",
  retryable: false,
  fallbackable: true,
  cause: { name: "Error", message: "beneath", code: "ECONNRESET" }
}

/** One of each tag, made from the same fields. */
const all = (fields: LlmError.Fields): ReadonlyArray<LlmError.LlmError> => [
  new LlmError.RateLimited({ ...fields, scope: "tokens" }),
  new LlmError.QuotaExhausted(fields),
  new LlmError.Overloaded(fields),
  new LlmError.ServerError(fields),
  new LlmError.Timeout({ ...fields, phase: "idle" }),
  new LlmError.ConnectionError(fields),
  new LlmError.AuthError(fields),
  new LlmError.PermissionDenied(fields),
  new LlmError.ModelNotFound(fields),
  new LlmError.ContextLengthExceeded(fields),
  new LlmError.ContentFiltered(fields),
  new LlmError.InvalidRequest(fields),
  new LlmError.InvalidResponse(fields),
  new LlmError.StreamInterrupted({ ...fields, received: 3, partial: "abc" }),
  new LlmError.CircuitOpen(fields),
  new LlmError.BudgetExceeded({ ...fields, budget: "usd" })
]

const encode = Schema.encodeSync(LlmError.LlmError)
const decode = Schema.decodeUnknownSync(LlmError.LlmError)

/** Through JSON, as between two processes. */
const roundTrip = (error: LlmError.LlmError): LlmError.LlmError => decode(JSON.parse(JSON.stringify(encode(error))))

describe("LlmError", () => {
  describe("encoding", () => {
    for (const error of all(full)) {
      it(`${error._tag} survives JSON as its own class`, () => {
        const back = roundTrip(error)
        assert.strictEqual(back.constructor, error.constructor)
        assert.deepStrictEqual(encode(back), encode(error))
        assert.isTrue(LlmError.isLlmError(back))
      })
    }

    it("writes the hint as milliseconds", () => {
      assert.strictEqual(encode(new LlmError.Overloaded(full)).hint, 1500)
    })

    it("is the identity after decoding, for arbitrary field values", () => {
      const text = FastCheck.string()
      const fields: FastCheck.Arbitrary<LlmError.Fields> = FastCheck.record(
        {
          provider: text,
          model: text,
          message: text,
          status: FastCheck.integer({ min: 100, max: 599 }),
          code: text,
          requestId: text,
          hint: FastCheck.nat().map(Duration.millis),
          delivery: FastCheck.constantFrom("not-sent" as const, "rejected" as const, "unknown" as const),
          retryable: FastCheck.boolean(),
          fallbackable: FastCheck.boolean(),
          cause: FastCheck.record({ name: text, message: text, code: text }, { requiredKeys: ["name", "message"] })
        },
        { requiredKeys: ["provider", "message", "delivery"] }
      )
      FastCheck.assert(
        FastCheck.property(fields, (input) => {
          for (const error of all(input)) assert.deepStrictEqual(encode(roundTrip(error)), encode(error))
        })
      )
    })

    it("refuses an unknown tag", () => {
      assert.throws(() => decode({ ...base, _tag: "Surprise" }))
    })
  })

  describe("what policies may do", () => {
    const table: Readonly<Record<LlmError.Tag, readonly [boolean, LlmError.Rule["fallback"], LlmError.Health]>> = {
      RateLimited: [true, true, "throttled"],
      QuotaExhausted: [false, true, "dead"],
      Overloaded: [true, true, "failure"],
      ServerError: [true, true, "failure"],
      Timeout: [true, true, "failure"],
      ConnectionError: [true, true, "failure"],
      AuthError: [false, true, "dead"],
      PermissionDenied: [false, true, "ignored"],
      ModelNotFound: [false, true, "ignored"],
      ContextLengthExceeded: [false, "larger-window", "ignored"],
      ContentFiltered: [false, false, "ignored"],
      InvalidRequest: [false, false, "ignored"],
      InvalidResponse: [true, true, "failure"],
      StreamInterrupted: [true, true, "failure"],
      CircuitOpen: [false, true, "ignored"],
      BudgetExceeded: [false, false, "ignored"]
    }

    for (const error of all(base)) {
      const [retry, fallback, health] = table[error._tag]
      it(`${error._tag}: retry ${retry}, fallback ${fallback}, health ${health}`, () => {
        assert.strictEqual(LlmError.isRetryable(error), retry)
        assert.strictEqual(LlmError.fallbackOf(error), fallback)
        assert.strictEqual(LlmError.isFallbackable(error), fallback !== false)
        assert.strictEqual(LlmError.healthOf(error), health)
      })
    }

    it("an instance overrides its class", () => {
      for (const error of all({ ...base, retryable: true, fallbackable: true })) {
        assert.isTrue(LlmError.isRetryable(error) && LlmError.isFallbackable(error), error._tag)
      }
      for (const error of all({ ...base, retryable: false, fallbackable: false })) {
        assert.isFalse(LlmError.isRetryable(error) || LlmError.isFallbackable(error), error._tag)
      }
    })

    it("a timeout of the whole call is never retried, and blames nobody", () => {
      const total = new LlmError.Timeout({ ...base, phase: "total" })
      assert.isFalse(LlmError.isRetryable(total))
      assert.strictEqual(LlmError.healthOf(total), "ignored")
      assert.isTrue(LlmError.isRetryable(new LlmError.Timeout({ ...base, phase: "first-token" })))
    })
  })

  describe("isTag", () => {
    it("narrows to one or more tags", () => {
      const busy = LlmError.isTag("RateLimited", "Overloaded")
      const tags = all(base)
        .filter(busy)
        .map((error) => error._tag)
      assert.deepStrictEqual(tags, ["RateLimited", "Overloaded"])
    })
  })

  it("hint reads the wait", () => {
    assert.deepStrictEqual(LlmError.hint(new LlmError.RateLimited(full)), Duration.millis(1500))
    assert.isUndefined(LlmError.hint(new LlmError.RateLimited(base)))
  })
})
