import { assert, describe, it } from "@effect/vitest"
import { Duration } from "effect"
import * as LlmError from "../../src/errors/LlmError.js"
import * as RetryHint from "../../src/errors/RetryHint.js"
import { hintOf, respond } from "./support.js"

const hour = 3_600_000

describe("a long hint", () => {
  it("stays on a spent quota", () => {
    for (const hours of [7, 19, 24, 24 * 30]) {
      const error = respond(429, "", { "retry-after": String(hours * 3600) })
      assert.strictEqual(error._tag, "QuotaExhausted")
      assert.isFalse(LlmError.isRetryable(error))
      assert.strictEqual(hintOf(error), hours * hour)
    }
    assert.strictEqual(hintOf(respond(402, { error: { message: "No credits. Resets in 3 hours" } })), 3 * hour)
  })

  it("stays on an error that waiting helps", () => {
    assert.strictEqual(hintOf(respond(503, "", { "retry-after": "68400" })), 19 * hour)
    const reset = { "x-ratelimit-remaining": "0", "x-ratelimit-reset": "19h" }
    assert.strictEqual(hintOf(respond(429, "", reset)), 19 * hour)
  })
})

describe("a short hint", () => {
  it("says nothing of a spent quota", () => {
    const of = (seconds: number) =>
      hintOf(respond(429, { error: { code: "insufficient_quota" } }, { "retry-after": String(seconds) }))
    assert.isUndefined(of(60))
    assert.strictEqual(of(61), 61_000)
  })

  it("nor does the reset of a rate limit, unless that limit is the quota", () => {
    const reset = { "x-ratelimit-remaining": "0", "x-ratelimit-reset": "19h" }
    const of = (error: object) => respond(429, { error }, reset)
    assert.isUndefined(hintOf(of({ code: "insufficient_quota" })))
    const daily = of({ message: "Too many requests per day" })
    assert.deepStrictEqual([daily._tag, hintOf(daily)], ["QuotaExhausted", 19 * hour])
  })
})

describe("retry-after as asctime writes a date", () => {
  const now = Date.UTC(1994, 10, 6, 8, 49, 7)
  const wait = (headers: RetryHint.Headers, at = now) => {
    const found = RetryHint.fromHeaders(headers, at, "openai")
    return found && Duration.toMillis(found)
  }

  it("is in UTC", () => {
    assert.strictEqual(wait({ "retry-after": "Sun Nov  6 08:49:37 1994" }), 30_000)
    assert.strictEqual(wait({ "retry-after": "Sun Nov 6 08:49:37 1994" }), 30_000)
    assert.strictEqual(wait({ "retry-after": "Wed Nov 16 08:49:07 1994" }), 240 * hour)
  })

  it("is in UTC in the date of the response too", () => {
    const headers = { "retry-after": "Sun, 06 Nov 1994 08:49:37 GMT", date: "Sun Nov  6 08:49:27 1994" }
    assert.strictEqual(wait(headers, 0), 10_000)
  })

  it("is no hint once it is past", () => {
    assert.isUndefined(wait({ "retry-after": "Sun Nov  6 08:49:00 1994" }))
  })
})

describe("hours, minutes and seconds", () => {
  const millis = (found: Duration.Duration | undefined) => found && Duration.toMillis(found)
  const clock = (1 * 3600 + 23 * 60 + 45) * 1000
  const table: ReadonlyArray<readonly [message: string, expected: number | undefined]> = [
    ["try again in 01:23:45", clock],
    ["Quota will be replenished in 01:23:45.", clock],
    ["resets in 1:23:45.5", clock + 500],
    ["retry after 26:00:00", 26 * hour],
    ["try again in 1 day, 1:23:45", 24 * hour + clock],
    ["try again in 01:23:45 (hh:mm:ss)", clock],
    ["try again at 12:30:00", undefined],
    ["resets on Monday at 12:30:00", undefined],
    ["retry after 12:30:00 UTC", undefined],
    ["retry after 12:30:00 PM", undefined],
    ["retry after 12:30:00pm", undefined],
    ["retry after 12:30:00.250 UTC", undefined],
    ["retry after 12:30:00Z", undefined],
    ["retry after 12:30:00 EST", undefined],
    ["retry after 12:30:00 (CEST)", undefined],
    ["retry after 12:30:00 +0200", undefined],
    ["try again in 01:23:45.25 - or later", clock + 250],
    ["try again in 01:23:45 A", clock],
    ["try again at step 2 or 01:23:45", undefined],
    ["try again in 01:99:00", undefined],
    ["try again in 01:23", undefined]
  ]
  for (const [message, expected] of table) {
    it(JSON.stringify(message), () => assert.strictEqual(millis(RetryHint.fromMessage(message)), expected))
  }

  it("in a header and in a field", () => {
    assert.strictEqual(millis(RetryHint.fromHeaders({ "retry-after": "01:23:45" }, 0, "openai")), clock)
    assert.strictEqual(RetryHint.fromField("retry_after", "01:23:45"), clock)
  })
})
