import { assert, describe, it } from "@effect/vitest"
import { Duration, FastCheck as fc } from "effect"
import { type CallRecord, LlmError } from "effect-steadfast"
import { ErrorResponse } from "effect-steadfast/http"
import * as Soonest from "../../src/gateway/Soonest.js"
import { cases } from "../support/cases.js"
import { arbitraryError, errorOf, hinted } from "../support/errors.js"

const attempt = (provider: string, error: LlmError.LlmError | undefined): CallRecord.AttemptRecord => ({
  index: 1,
  provider,
  model: "m",
  startedAt: 0,
  durationMillis: 1,
  outcome: error === undefined ? "success" : "failure",
  ...(error === undefined ? {} : { error })
})

const told = (last: LlmError.LlmError, ...before: ReadonlyArray<LlmError.LlmError>) =>
  Soonest.of(
    before.map((error, index) => attempt(`p${index}`, error)),
    last
  )

describe("of", () => {
  it("is the soonest wait of all targets", () => {
    const error = told(hinted("30 seconds"), hinted("3 seconds"), hinted("9 seconds"))
    assert.strictEqual(error._tag, "RateLimited")
    assert.strictEqual(ErrorResponse.make(error).headers["retry-after"], "3")
  })

  it("is a wait of another target where the last one knows none", () => {
    for (const tag of ["AuthError", "ServerError", "Timeout", "QuotaExhausted", "ConnectionError"] as const) {
      const error = told(errorOf(tag), hinted("3 seconds"))
      assert.deepStrictEqual([error._tag, error.hint && Duration.toSeconds(error.hint)], ["RateLimited", 3], tag)
    }
  })

  it("looks at the newest error of each target", () => {
    const last = errorOf("ServerError")
    const attempts = [attempt("p", hinted("3 seconds")), attempt("p", errorOf("ServerError"))]
    assert.strictEqual(Soonest.of(attempts, last), last)
  })

  it("leaves a mistake of the caller as it is", () => {
    for (const tag of [
      "InvalidRequest",
      "ContextLengthExceeded",
      "ContentFiltered",
      "ModelNotFound",
      "PermissionDenied"
    ] as const) {
      const last = errorOf(tag)
      assert.strictEqual(told(last, hinted("1 seconds")), last, tag)
    }
  })

  it("is the failure of a target that was asked, where the last one cannot be asked in its dialect", () => {
    const unsaid = new LlmError.InvalidRequest({
      provider: "q",
      message: "n: found 2, expected 1",
      delivery: "not-sent"
    })
    assert.strictEqual(told(unsaid, errorOf("ConnectionError"))._tag, "ConnectionError")
    const waiting = told(unsaid, hinted("3 seconds"), errorOf("ServerError"))
    assert.deepStrictEqual([waiting._tag, waiting.hint && Duration.toSeconds(waiting.hint)], ["RateLimited", 3])
    // Nobody was asked: the request itself is the news.
    assert.strictEqual(told(unsaid), unsaid)
    assert.strictEqual(told(unsaid, errorOf("InvalidRequest")), unsaid)
  })

  it("promises no wait to a client whose own money is used up", () => {
    const last = new LlmError.BudgetExceeded({ provider: "p", message: "spent", delivery: "not-sent", budget: "usd" })
    assert.strictEqual(told(last, hinted("1 seconds")), last)
    assert.isUndefined(ErrorResponse.make(told(last, hinted("1 seconds"))).headers["retry-after"])
    // A retry budget fills again, as a limit does.
    assert.strictEqual(told(errorOf("BudgetExceeded"), hinted("1 seconds"))._tag, "RateLimited")
  })

  it.prop(
    "never waits longer than any error that waits, and invents none",
    [fc.array(arbitraryError(90_000)), arbitraryError(90_000)],
    ([before, last]) => {
      // What could not be said is no failure of its target: it has an example of its own.
      fc.pre(last._tag !== "InvalidRequest" || last.status !== undefined || last.delivery !== "not-sent")
      const error = told(last, ...before)
      const waits = [...before, last].filter(({ _tag }) => ["RateLimited", "Overloaded", "CircuitOpen"].includes(_tag))
      const hints = waits.flatMap(({ hint }) => (hint === undefined ? [] : [Duration.toMillis(hint)]))
      if (error === last) return
      assert.include(
        waits.map(({ _tag }) => _tag),
        error._tag
      )
      if (hints.length > 0) assert.strictEqual(error.hint && Duration.toMillis(error.hint), Math.min(...hints))
    },
    { fastCheck: { numRuns: cases(5000, 200) } }
  )
})
