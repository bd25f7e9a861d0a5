import { assert, describe, it } from "@effect/vitest"
import { FastCheck as fc } from "effect"
import type { CallRecord } from "effect-steadfast"
import * as Evidence from "../../src/gateway/Evidence.js"
import { cases } from "../support/cases.js"

const attempt = (target: string, more: Partial<CallRecord.AttemptRecord> = {}): CallRecord.AttemptRecord => {
  const [provider = "", model = ""] = target.split("/")
  return { index: 1, provider, model, startedAt: 0, durationMillis: 1, outcome: "failure", ...more }
}

const retry = { delayMillis: 20.4, reason: "backoff" } as const
const fallback = { from: "a/m", reason: "ServerError" } as const

describe("factsOf", () => {
  it("counts attempts, retries, fallbacks and waits", () => {
    const attempts = [
      attempt("a/m", { queuedMillis: 5 }),
      attempt("a/m", { retry }),
      attempt("b/n", { fallback }),
      // The record keeps why the target is asked at all.
      attempt("b/n", { outcome: "success", retry, fallback })
    ]
    assert.deepStrictEqual(Evidence.factsOf({ id: "c", attempts }), {
      id: "c",
      attempts: 4,
      retries: 2,
      fallbacks: 1,
      servedBy: "b/n",
      waitMillis: 46
    })
  })

  it("names the target, whatever the provider calls its model", () => {
    const attempts = [attempt("a/m"), attempt("a/gpt", { outcome: "interrupted", retry })]
    const running = { provider: "a", model: "gpt-2026-01-01" }
    assert.strictEqual(Evidence.factsOf({ id: "c", attempts, running }).servedBy, "a/gpt")
  })

  it("tells two models of one provider apart, where one's name begins with the other's", () => {
    const attempts = [attempt("a/gpt"), attempt("a/gpt-mini", { outcome: "interrupted", fallback })]
    const facts = Evidence.factsOf({ id: "c", attempts, running: { provider: "a", model: "gpt-mini" } })
    assert.deepStrictEqual([facts.servedBy, facts.retries, facts.fallbacks], ["a/gpt-mini", 0, 1])
  })

  it("is served by nobody where all failed", () => {
    assert.isUndefined(Evidence.factsOf({ id: "c", attempts: [attempt("a/m")] }).servedBy)
  })
})

describe("headersOf and commentOf", () => {
  const facts: Evidence.Facts = { id: "c", attempts: 2, retries: 1, fallbacks: 0, servedBy: "a/m", waitMillis: 7 }

  it("say the same", () => {
    assert.deepStrictEqual(Evidence.headersOf(facts), {
      "x-steadfast-call-id": "c",
      "x-steadfast-attempts": "2",
      "x-steadfast-retries": "1",
      "x-steadfast-fallbacks": "0",
      "x-steadfast-served-by": "a/m",
      "x-steadfast-wait-ms": "7"
    })
    assert.strictEqual(
      Evidence.commentOf(facts),
      "steadfast call=c attempts=2 retries=1 fallbacks=0 served-by=a/m wait-ms=7"
    )
    assert.notProperty(Evidence.headersOf({ ...facts, servedBy: undefined }), "x-steadfast-served-by")
  })

  it.prop(
    "can stand in a header and in a line of a comment, whatever a model is called",
    [fc.string({ unit: "binary" })],
    ([servedBy]) => {
      const printable = /^[\x20-\x7e]*$/
      assert.match(Evidence.headersOf({ ...facts, servedBy })["x-steadfast-served-by"] ?? "", printable)
      assert.match(Evidence.commentOf({ ...facts, servedBy }), printable)
    },
    { fastCheck: { numRuns: cases(5000, 200) } }
  )
})
