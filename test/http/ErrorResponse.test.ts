import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, FastCheck as fc } from "effect"
import { LlmError } from "effect-steadfast"
import { ErrorResponse, EventStream } from "effect-steadfast/http"
import { Reply } from "effect-steadfast/testing"
import { generate } from "../providers/support.js"
import { cases } from "../support/cases.js"
import { arbitraryError, errorOf, hinted, tags } from "../support/errors.js"
import { dialects, readers } from "./support.js"

/** The status of each tag, and the tag that a client of ours makes of it. */
const expected: { readonly [K in LlmError.Tag]: readonly [status: number, read: LlmError.Tag] } = {
  RateLimited: [429, "RateLimited"],
  QuotaExhausted: [429, "QuotaExhausted"],
  Overloaded: [503, "Overloaded"],
  ServerError: [502, "ServerError"],
  Timeout: [504, "Timeout"],
  ConnectionError: [502, "ServerError"],
  AuthError: [500, "ServerError"],
  PermissionDenied: [403, "PermissionDenied"],
  ModelNotFound: [404, "ModelNotFound"],
  ContextLengthExceeded: [400, "ContextLengthExceeded"],
  ContentFiltered: [400, "ContentFiltered"],
  InvalidRequest: [400, "InvalidRequest"],
  InvalidResponse: [502, "ServerError"],
  StreamInterrupted: [502, "ServerError"],
  CircuitOpen: [503, "Overloaded"],
  BudgetExceeded: [503, "Overloaded"]
}

/** What clients repeat for no reason, or do not know. */
const odd = [401, 402, 407, 408, 409, 421, 422, 425, 499]

const inner = ({ body }: ErrorResponse.ErrorResponse) => body.error as Readonly<Record<string, unknown>>

describe("the status of an error", () => {
  it("is known for every tag of the union", () => {
    const members = LlmError.LlmError.members.map((member) => member._tag)
    assert.sameMembers([...members], [...tags])
    assert.sameMembers(Object.keys(ErrorResponse.table), [...members, "spent", "unpriced"])
    for (const tag of tags) assert.strictEqual(ErrorResponse.make(errorOf(tag)).status, expected[tag][0], tag)
  })

  it("is never one that clients repeat for no reason, nor a redirect", () => {
    for (const { status } of Object.values(ErrorResponse.table)) {
      assert.isAtLeast(status, 400)
      assert.notInclude(odd, status)
    }
  })

  it("is Anthropic's own for an overload in its dialect", () => {
    assert.strictEqual(ErrorResponse.make(errorOf("Overloaded"), { dialect: "anthropic" }).status, 529)
  })

  it("of a spent budget is that of a quota", () => {
    const spent = new LlmError.BudgetExceeded({ ...errorOf("Timeout"), message: "5 usd", budget: "usd" })
    const response = ErrorResponse.make(spent)
    assert.deepStrictEqual([response.status, inner(response).code], [429, "insufficient_quota"])
  })

  it("of a model without a price is no spent budget", () => {
    const unpriced = new LlmError.BudgetExceeded({
      ...errorOf("Timeout"),
      message: "no price is known",
      budget: "usd",
      code: "no_price"
    })
    const response = ErrorResponse.make(unpriced)
    assert.deepStrictEqual([response.status, inner(response).code], [403, "no_price"])
    assert.notInclude(JSON.stringify(response.body), "used up")
  })

  for (const dialect of dialects) {
    it.effect(`is read as the right error by our own client of ${dialect}`, () =>
      Effect.forEach(tags, (tag) =>
        Effect.gen(function* () {
          const { body, headers, status } = ErrorResponse.make(errorOf(tag), { dialect })
          const step = Reply.raw([JSON.stringify(body)], { status, headers })
          const error = yield* Effect.flip(generate(readers[dialect], step))
          assert.strictEqual(error._tag, expected[tag][1], `${tag}: ${error.message}`)
          assert.isFalse(LlmError.isRetryable(error), tag)
        })
      )
    )
  }
})

describe("the headers of an error", () => {
  it("always say JSON, and that nothing is won by asking again", () => {
    fc.assert(
      fc.property(arbitraryError(200_000), (error) => {
        const { headers } = ErrorResponse.make(error, { requestId: "req_1" })
        assert.strictEqual(headers["content-type"], "application/json")
        assert.strictEqual(headers["x-should-retry"], "false")
        assert.strictEqual(headers["x-request-id"], "req_1")
      }),
      { numRuns: cases(1000) }
    )
  })

  it("name a wait in whole seconds, of 1 to 60, where another try helps then", () => {
    const waits = ["RateLimited", "Overloaded", "CircuitOpen"]
    fc.assert(
      fc.property(arbitraryError(200_000), (error) => {
        const response = ErrorResponse.make(error)
        const { "retry-after": after, "x-steadfast-retry-after": own } = response.headers
        const millis = error.hint === undefined ? 0 : Duration.toMillis(error.hint)
        const seconds = waits.includes(error._tag) && millis > 0 ? String(Math.ceil(millis / 1000)) : undefined
        assert.strictEqual(own, seconds)
        assert.strictEqual(after, millis <= 60_000 ? seconds : undefined)
        assert.strictEqual(inner(response).retry_after, seconds === undefined ? undefined : Number(seconds))
      }),
      { numRuns: cases(1000) }
    )
    assert.strictEqual(ErrorResponse.make(hinted("1 hour")).headers["retry-after"], undefined)
    assert.strictEqual(ErrorResponse.make(hinted("1 hour")).headers["x-steadfast-retry-after"], "3600")
    const never = ErrorResponse.make(hinted(Duration.infinity))
    assert.strictEqual(never.headers["x-steadfast-retry-after"], undefined)
  })
})

describe("the body of an error", () => {
  it("serves every dialect at once", () => {
    const response = ErrorResponse.make(errorOf("InvalidRequest", { message: "tools[0].name: found nothing" }), {
      requestId: "req_1"
    })
    assert.deepStrictEqual(response.body, {
      type: "error",
      message: "tools[0].name: found nothing",
      request_id: "req_1",
      error: {
        type: "invalid_request_error",
        message: "tools[0].name: found nothing",
        param: "tools[0].name",
        code: "invalid_request",
        status: "INVALID_ARGUMENT"
      }
    })
  })

  it("has a number as its code for Gemini's clients, and a text for the others", () => {
    for (const dialect of dialects) {
      const { code } = inner(ErrorResponse.make(errorOf("Timeout"), { dialect }))
      assert.strictEqual(code, dialect === "gemini" ? 504 : "timeout")
    }
  })

  it("shows the provider's words only for mistakes of the caller, or if asked", () => {
    const words = "project proj_7 of acme at http://vllm.internal:8000"
    const shown = ["ContextLengthExceeded", "ContentFiltered", "InvalidRequest"]
    const origin = { id: "a", created: 1 }
    for (const tag of tags) {
      const error = errorOf(tag, { message: words })
      const said = [JSON.stringify(ErrorResponse.make(error).body)]
      for (const dialect of dialects) said.push(EventStream.make(dialect, origin).fail(error))
      for (const text of said) assert.strictEqual(text.includes("proj_7"), shown.includes(tag), `${tag}: ${text}`)
      assert.include(JSON.stringify(ErrorResponse.make(error, { verbose: true }).body), "proj_7")
    }
  })

  it("never says that the client's own key is wrong", () => {
    for (const dialect of dialects) {
      const error = errorOf("AuthError", {
        message: "Incorrect API key provided",
        status: 401,
        code: "invalid_api_key"
      })
      const { body, status } = ErrorResponse.make(error, { dialect })
      assert.strictEqual(status, 500)
      assert.notMatch(JSON.stringify(body), /incorrect|invalid_api_key|authentication_error/i)
    }
  })

  it("tells nothing of a defect", () => {
    assert.deepStrictEqual(ErrorResponse.internal().body, {
      type: "error",
      message: "this service failed",
      error: {
        type: "api_error",
        message: "this service failed",
        param: null,
        code: "internal_error",
        status: "INTERNAL"
      }
    })
  })
})
