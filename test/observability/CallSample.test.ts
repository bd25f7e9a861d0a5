import { assert, describe, it } from "@effect/vitest"
import type { CallRecord } from "effect-steadfast"
import { isServedLater, sampleOf } from "../../src/observability/CallSample.js"
import { recordOf, type Sketch } from "./support.js"

const bad: Sketch = { errors: ["Overloaded"] }

describe("a record says of its target", () => {
  const attempt = recordOf().attempts[0] as CallRecord.AttemptRecord
  const withAttempts = (...attempts: ReadonlyArray<Partial<CallRecord.AttemptRecord>>): CallRecord.CallRecord => ({
    ...recordOf(),
    attempts: attempts.map((one, index) => ({ ...attempt, index: index + 1, ...one }))
  })
  const seen = (record: CallRecord.CallRecord) => {
    const sample = sampleOf(record)
    return sample && [sample.target, sample.end, sample.reason]
  }

  it.each<readonly [string, CallRecord.CallRecord, ReadonlyArray<unknown> | undefined]>([
    ["served at once", recordOf(), ["openai/gpt-4o", "first", undefined]],
    ["served by a retry", recordOf(bad), ["openai/gpt-4o", "later", "Overloaded"]],
    ["the first error", recordOf({ errors: ["Timeout", "Overloaded"] }), ["openai/gpt-4o", "later", "Timeout"]],
    ["served by a fallback", recordOf({ ...bad, servedBy: "a/b" }), ["openai/gpt-4o", "later", "Overloaded"]],
    ["sent elsewhere by an open circuit", recordOf({ servedBy: "a/b" }), ["openai/gpt-4o", "later", "CircuitOpen"]],
    ["failed", recordOf({ ...bad, served: false }), ["openai/gpt-4o", "failed", "Overloaded"]],
    ["refused before any attempt", recordOf({ served: false }), ["openai/gpt-4o", "failed", "CircuitOpen"]],
    ["a caller's mistake", recordOf({ errors: ["InvalidRequest"], served: false }), undefined],
    ["a prompt too long", recordOf({ errors: ["ContextLengthExceeded"], served: false }), undefined],
    [
      "interrupted",
      { ...recordOf(), outcome: "interrupted", attempts: [{ ...attempt, outcome: "interrupted" }] },
      undefined
    ],
    [
      "interrupted between attempts",
      { ...recordOf({ ...bad, served: false }), outcome: "interrupted" },
      ["openai/gpt-4o", "failed", "Overloaded"]
    ],
    ["nothing asked", { ...recordOf(), attempts: [] }, undefined],
    ["many questions, all answered", withAttempts({}, {}, {}), ["openai/gpt-4o", "first", undefined]],
    [
      "a hedge that won",
      withAttempts({ outcome: "interrupted" }, { hedge: true }),
      ["openai/gpt-4o", "later", "hedge"]
    ],
    [
      "a hedge that lost",
      withAttempts({}, { hedge: true, outcome: "interrupted" }),
      ["openai/gpt-4o", "first", undefined]
    ],
    [
      "a hedge that failed",
      withAttempts({}, { hedge: true, outcome: "failure" }),
      ["openai/gpt-4o", "first", undefined]
    ],
    ["a round of a schedule", withAttempts({ index: 2 }), ["openai/gpt-4o", "later", "retry"]]
  ])("%s", (_, record, expected) => {
    assert.deepStrictEqual(seen(record), expected)
    assert.strictEqual(isServedLater(record), expected?.[1] === "later")
  })
})
