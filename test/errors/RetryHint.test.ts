import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as FastCheck from "effect/FastCheck"
import * as RetryHint from "../../src/errors/RetryHint.js"
import { cases } from "../support/cases.js"

const now = Date.UTC(2026, 0, 1)

const millis = (duration: Duration.Duration | undefined): number | undefined =>
  duration === undefined ? undefined : Duration.toMillis(duration)

const headers = (input: RetryHint.Headers, provider = "openai") => millis(RetryHint.fromHeaders(input, now, provider))

describe("RetryHint", () => {
  describe("fromHeaders", () => {
    const table: ReadonlyArray<readonly [name: string, headers: RetryHint.Headers, expected: number | undefined]> = [
      ["whole seconds", { "retry-after": "7" }, 7000],
      ["decimal seconds", { "retry-after": "0.25" }, 250],
      ["zero", { "retry-after": "0" }, 0],
      ["milliseconds win", { "retry-after-ms": "1500.2", "retry-after": "9" }, 1501],
      ["Azure's milliseconds", { "x-ms-retry-after-ms": "80", "retry-after": "1" }, 80],
      ["Amazon's milliseconds come last", { "x-amz-retry-after": "70" }, 70],
      ["a bad first one falls through", { "retry-after-ms": "soon", "retry-after": "2" }, 2000],
      ["a negative first one falls through", { "retry-after-ms": "-1", "retry-after": "2" }, 2000],
      ["an HTTP-date", { "retry-after": "Thu, 01 Jan 2026 00:00:30 GMT" }, 30_000],
      [
        "an HTTP-date against the server's clock",
        { "retry-after": "Wed, 21 Oct 2026 07:28:30 GMT", date: "Wed, 21 Oct 2026 07:28:00 GMT" },
        30_000
      ],
      ["a doubled date", { "retry-after": "Thu, 01 Jan 2026 00:00:12 GMT, 12" }, 12_000],
      ["doubled seconds", { "retry-after": "30, 30" }, 30_000],
      ["a duration", { "retry-after": "1m30s" }, 90_000],
      ["a past date", { "retry-after": "Wed, 31 Dec 2025 00:00:00 GMT" }, undefined],
      ["negative", { "retry-after": "-3" }, undefined],
      ["not a number", { "retry-after": "NaN" }, undefined],
      ["infinite", { "retry-after": "Infinity" }, undefined],
      ["an epoch by mistake", { "retry-after": "1767225600" }, undefined],
      ["a day", { "retry-after": "86400" }, 86_400_000],
      ["the longest wait", { "retry-after": "2678400" }, 2_678_400_000],
      ["a second more", { "retry-after": "2678401" }, undefined],
      ["space around it, and a sign", { "retry-after-ms": " +5 " }, 5],
      ["space around a duration", { "retry-after": " 1m30s " }, 90_000],
      ["rubbish after a duration", { "retry-after": "1m30s or so" }, undefined],
      ["RFC 3339", { "retry-after": "2026-01-01T00:00:30Z" }, 30_000],
      ["RFC 3339 in space", { "retry-after": " 2026-01-01T00:00:30Z" }, 30_000],
      ["an HTTP-date without the space", { "retry-after": "Thu,01 Jan 2026 00:00:30 GMT" }, 30_000],
      ["a date after a word", { "retry-after": "at Thu, 01 Jan 2026 00:00:30 GMT" }, undefined],
      ["a date of asctime after a word", { "retry-after": "at Thu Jan  1 00:00:30 2026" }, undefined],
      ["RFC 3339 after a sign", { "retry-after": "(b) 2026-01-01T00:00:30Z" }, undefined],
      [
        "the server's clock with an offset for its zone",
        { "retry-after": "Wed, 21 Oct 2026 07:28:30 GMT", date: "Wed, 21 Oct 2026 09:28:00 +0200" },
        30_000
      ],
      [
        "a clock of the server that tells no time",
        { "retry-after": "Thu, 01 Jan 2026 00:00:30 GMT", date: "now" },
        30_000
      ],
      [
        "a reset while something remains",
        { "x-ratelimit-remaining-tokens": "5", "x-ratelimit-reset-tokens": "9s" },
        undefined
      ],
      [
        "a reset when nothing remains",
        { "x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "6m0s" },
        360_000
      ],
      [
        "the longest of the spent limits",
        {
          "x-ratelimit-remaining-requests": "0",
          "x-ratelimit-reset-requests": "120ms",
          "x-ratelimit-remaining-tokens": "0",
          "x-ratelimit-reset-tokens": "2s",
          "x-ratelimit-remaining-images": "0",
          "x-ratelimit-reset-images": "1s",
          "x-ratelimit-remaining-audio": "0",
          "x-ratelimit-reset-audio": "soon",
          "x-ratelimit-remaining-video": "0"
        },
        2000
      ],
      ["a reset at once", { "x-ratelimit-remaining": "0", "x-ratelimit-reset": "0" }, 0],
      ["a limit of nothing", { "x-ratelimit-limit": "0", "x-ratelimit-reset": "9" }, undefined],
      ["what is left of something else", { "x-disk-remaining": "0", "x-disk-reset": "9" }, undefined],
      [
        "a reset never beats retry-after",
        { "retry-after": "1", "x-ratelimit-remaining": "0", "x-ratelimit-reset": "60" },
        1000
      ],
      [
        "Anthropic's order of words",
        { "anthropic-ratelimit-tokens-remaining": "0", "anthropic-ratelimit-tokens-reset": "2026-01-01T00:00:05Z" },
        5000
      ],
      [
        "Anthropic's unified limit",
        { "anthropic-ratelimit-unified-status": "rejected", "anthropic-ratelimit-unified-reset": "1767225610" },
        10_000
      ],
      [
        "Anthropic's unified limit while it allows",
        { "anthropic-ratelimit-unified-status": "allowed_warning", "anthropic-ratelimit-unified-reset": "1767225610" },
        undefined
      ],
      ["nothing", {}, undefined]
    ]
    for (const [name, input, expected] of table) it(name, () => assert.strictEqual(headers(input), expected))
  })

  describe("parseReset", () => {
    const table: ReadonlyArray<readonly [value: string, provider: string, expected: number | undefined]> = [
      ["6ms", "openai", 6],
      ["1s", "openai", 1000],
      ["6m0s", "openai", 360_000],
      ["2m59.56s", "groq", 179_560],
      ["1h2m3s", "openai", 3_723_000],
      ["2026-01-01T00:01:00Z", "anthropic", 60_000],
      ["1767225660", "cohere", 60_000],
      ["1767225660000", "openrouter", 60_000],
      ["12", "azure-openai", 12_000],
      ["0", "azure-openai", undefined],
      ["-1", "azure-openai", undefined],
      ["0", "openai", 0],
      ["2025-01-01T00:00:00Z", "anthropic", undefined],
      ["", "openai", undefined],
      ["soon", "openai", undefined],
      ["5 apples", "openai", undefined],
      ["5s apples", "openai", undefined],
      [" 12 ", "openai", 12_000],
      ["2026-01-01 00:01:00Z", "openai", 60_000],
      ["(a) 2026-01-01 00:01:00Z", "openai", undefined]
    ]
    for (const [value, provider, expected] of table) {
      it(`${JSON.stringify(value)} of ${provider}`, () => {
        assert.strictEqual(RetryHint.parseReset(value, provider, now), expected)
      })
    }
  })

  describe("fromMessage", () => {
    const table: ReadonlyArray<readonly [message: string, expected: number | undefined]> = [
      ["Please try again in 174ms.", 174],
      ["Please try again in 3.89s. Visit …", 3890],
      ["Please try again in 1m9.696s", 69_696],
      ["Please try again in 7m12s", 432_000],
      ["Please try again in 50.597142857s", 50_598],
      ["Try again in 35 seconds.", 35_000],
      ["Please retry after 60 seconds.", 60_000],
      ["Please retry in 900.2ms", 901],
      ["Your quota will reset after 19h14m47s.", 69_287_000],
      ["Please wait 41 seconds before retrying.", 41_000],
      ["Rate limit resets in 2 minutes and 5 seconds", 125_000],
      ["Please try again after 1,809 seconds", 1_809_000],
      ["You can retry in about 1 hour", 3_600_000],
      ["decrease input length and try again", undefined],
      ["wait a moment and try again", undefined],
      ["Please retry shortly", undefined],
      ["try again with a maximum tokens value lower than 4096.", undefined],
      ["The SDK will retry the operation up to 5 times.", undefined],
      ["Limit 30000, Used 1. The wait is over 9000", undefined],
      ["try again with less than 10M tokens", undefined],
      ["Rate limit of 50 per 86400s exceeded", undefined],
      ["Available again in 5 s", 5000],
      ["Come back in 5 s", 5000],
      ["The SDK did retry 3 times. Try again in 5 s", 5000],
      ["Please try again after 10,809 seconds", 10_809_000],
      ["Please try again in 1,000,000 ms", 1_000_000],
      ["Retry 3 requests in 5 s", undefined],
      ["Retry within 30 seconds", undefined],
      ["You may retry every 5 seconds", undefined],
      ["Please wait up to 3 minutes", undefined],
      ["", undefined]
    ]
    for (const [message, expected] of table) {
      it(JSON.stringify(message), () => assert.strictEqual(millis(RetryHint.fromMessage(message)), expected))
    }
  })

  it.each([
    [1, "ms", "millisecond", "milliseconds", "msec", "msecs"],
    [1000, "s", "sec", "secs", "second", "seconds", "Second", "Seconds"],
    [60_000, "m", "min", "mins", "minute", "minutes", "Minutes"],
    [3_600_000, "h", "hr", "hrs", "hour", "hours", "Hours"],
    [86_400_000, "d", "day", "days", "Days"]
  ])("knows every word for %i ms", (unit, ...words) => {
    for (const word of words) {
      assert.strictEqual(RetryHint.parseReset(`2 ${word}`, "openai", now), 2 * Number(unit), `${word}`)
      assert.strictEqual(RetryHint.parseReset(`2${word}`, "openai", now), 2 * Number(unit), `${word}`)
    }
  })

  it("looks for a wait in the first 4096 characters", () => {
    const said = (before: number) => millis(RetryHint.fromMessage(`${" ".repeat(before)}Try again in 5s`))
    assert.deepStrictEqual([said(4096 - 15), said(4096)], [5000, undefined])
  })

  describe("fromField", () => {
    const table: ReadonlyArray<readonly [name: string, value: unknown, expected: number | undefined]> = [
      ["retryDelay", "54s", 54_000],
      ["retryDelay", "0.539477544s", 540],
      ["retryDelay", { seconds: "3", nanos: 500_000_000 }, 3500],
      ["estimated_time", 35.6677131652832, 35_668],
      ["retry_after", 2, 2000],
      ["retry_after", "2.5", 2500],
      ["retryAfterMs", 20, 20],
      ["resets_in_seconds", 5, 5000],
      ["retry_after", -1, undefined],
      ["retry_after", Number.NaN, undefined],
      ["retry_after", null, undefined],
      ["retry_after", true, undefined],
      ["retry_after", " 5s ", 5000],
      ["retry_after", "5s or so", undefined],
      ["Retry-After-Seconds", 5, 5000],
      ["may_retry_after", 5, undefined],
      ["retry_after_at", 5, undefined],
      ["temperature", "5s", undefined],
      ["temperature", 2, undefined],
      ["__proto__", 2, undefined]
    ]
    for (const [name, value, expected] of table) {
      it(`${name} ${JSON.stringify(value)}`, () => assert.strictEqual(RetryHint.fromField(name, value), expected))
    }
  })

  describe("decide", () => {
    const sources: RetryHint.Sources = {
      provider: "openai",
      now,
      headers: { "retry-after": "1", "x-ratelimit-remaining": "0", "x-ratelimit-reset": "9" },
      fields: [2000],
      messages: ["try again in 3s"],
      echoed: {}
    }
    const wait = (input: RetryHint.Sources) => millis(RetryHint.decide(input)?.duration)

    it("asks headers, then fields, then prose, then resets", () => {
      const resetOnly = { "x-ratelimit-remaining": "0", "x-ratelimit-reset": "9" }
      assert.strictEqual(wait(sources), 1000)
      assert.strictEqual(wait({ ...sources, headers: resetOnly }), 2000)
      assert.strictEqual(wait({ ...sources, headers: resetOnly, fields: [] }), 3000)
      assert.strictEqual(wait({ ...sources, headers: resetOnly, fields: [], messages: [] }), 9000)
      assert.isUndefined(wait({ ...sources, headers: {}, fields: [], messages: [] }))
    })

    it("says whether the server stated it", () => {
      assert.isTrue(RetryHint.decide(sources)?.stated)
      const reset = { ...sources, headers: {}, fields: [], messages: [], echoed: sources.headers }
      assert.isTrue(RetryHint.decide(reset)?.stated)
    })
  })

  it("never names a negative, broken or endless wait, and never throws", () => {
    const max = Duration.toMillis(RetryHint.maxHint)
    const holds = (found: number | undefined) =>
      found === undefined || (Number.isInteger(found) && found >= 0 && found <= max)
    const text = FastCheck.oneof(
      FastCheck.string(),
      FastCheck.double().map(String),
      FastCheck.tuple(FastCheck.double(), FastCheck.constantFrom("s", "ms", "h", " days")).map(
        ([n, unit]) => `retry in ${n}${unit}`
      )
    )
    FastCheck.assert(
      FastCheck.property(text, text, (a, b) => {
        assert.isTrue(holds(millis(RetryHint.fromMessage(a))))
        assert.isTrue(holds(RetryHint.parseReset(a, "azure", now)))
        assert.isTrue(holds(headers({ "retry-after": a, "retry-after-ms": b, date: b })))
        assert.isTrue(holds(RetryHint.fromField("retry_after", a)))
      }),
      { numRuns: cases(2000) }
    )
  })
})
