import { assert, describe, it } from "@effect/vitest"
import { Duration, FastCheck as fc } from "effect"
import { LlmError } from "effect-steadfast"
import * as Controls from "../../src/gateway/Controls.js"
import { cases } from "../support/cases.js"

const bounds = { maxAttempts: 5, timeout: Duration.seconds(60) }

const read = (headers: Controls.Headers) => Controls.read(headers, bounds)

const good = (headers: Controls.Headers): Controls.Controls => {
  const controls = read(headers)
  if (controls instanceof LlmError.InvalidRequest) throw controls
  return controls
}

describe("read", () => {
  it("is nothing without headers of its own", () => {
    assert.strictEqual(read({ "user-agent": "x", authorization: "Bearer k" }), Controls.none)
  })

  it("cuts what a client asks for to the bounds", () => {
    const asked = (attempts: string, timeout: string) => {
      const { maxAttempts, timeout: millis } = good({
        "x-steadfast-max-attempts": attempts,
        "x-steadfast-timeout-ms": timeout
      })
      return [maxAttempts, millis]
    }
    assert.deepStrictEqual(asked("1", "1"), [1, 1])
    assert.deepStrictEqual(asked(" 5 ", "60000"), [5, 60_000])
    assert.deepStrictEqual(asked("6", "60001"), [5, 60_000])
    assert.deepStrictEqual(asked("999999999999", "999999999999"), [5, 60_000])
  })

  it("refuses what is no whole number from 1, and names the header", () => {
    for (const name of ["x-steadfast-max-attempts", "x-steadfast-timeout-ms"]) {
      for (const value of ["0", "-1", "1.5", "1e3", "0x10", "", " ", "many", "1".repeat(13), "NaN", "١"]) {
        const found = read({ [name]: value })
        assert.instanceOf(found, LlmError.InvalidRequest, `${name}: ${value}`)
        assert.include((found as LlmError.InvalidRequest).message, `${name}: found ${JSON.stringify(value)}, expected `)
      }
    }
    const long = read({ "x-steadfast-max-attempts": "x".repeat(10_000) }) as LlmError.InvalidRequest
    assert.isBelow(long.message.length, 300)
  })

  it("reads whether there is a fallback", () => {
    for (const [value, no] of [
      ["true", true],
      ["TRUE ", true],
      ["1", true],
      ["false", false],
      ["0", false]
    ] as const) {
      assert.strictEqual(good({ "x-steadfast-no-fallback": value }).noFallback, no, value)
    }
    assert.instanceOf(read({ "x-steadfast-no-fallback": "yes" }), LlmError.InvalidRequest)
  })

  it("takes a trace of ours, else that of traceparent, and leaves alone what it cannot read", () => {
    const trace = "0af7651916cd43dd8448eb211c80319c"
    const parent = `00-${trace}-b7ad6b7169203331-01`
    const own = good({
      "x-steadfast-trace-id": "0AF76519-16CD-43DD-8448-EB211C80319C",
      traceparent: `00-${"1".repeat(32)}-${"2".repeat(16)}-00`
    })
    assert.strictEqual(own.parent?.traceId, trace)
    const theirs = good({ traceparent: parent }).parent
    assert.deepStrictEqual([theirs?.traceId, theirs?.spanId, theirs?.sampled], [trace, "b7ad6b7169203331", true])
    assert.isFalse(good({ traceparent: `00-${trace}-b7ad6b7169203331-00` }).parent?.sampled)
    for (const value of ["", "00", parent.toUpperCase(), `${parent}x`, "00-xyz-1-1"]) {
      assert.isUndefined(good({ traceparent: value }).parent, value)
    }
    assert.instanceOf(read({ "x-steadfast-trace-id": "xyz" }), LlmError.InvalidRequest)
  })

  it("takes no trace or span of zeros, which is none", () => {
    const zeros = "0".repeat(32)
    assert.isUndefined(good({ traceparent: `00-${zeros}-b7ad6b7169203331-01` }).parent)
    assert.isUndefined(good({ traceparent: `00-${"1".repeat(32)}-${"0".repeat(16)}-01` }).parent)
    assert.isUndefined(good({ traceparent: `ff-${"1".repeat(32)}-${"2".repeat(16)}-01` }).parent)
    assert.instanceOf(read({ "x-steadfast-trace-id": zeros }), LlmError.InvalidRequest)
  })

  it("reads labels, whatever their names", () => {
    const headers = {
      "x-steadfast-label-team": "search",
      "x-steadfast-label-": "no name",
      "x-steadfast-label-__proto__": "x",
      "x-steadfast-label-two": ["first", "second"]
    }
    const { labels } = good(headers)
    assert.strictEqual(labels?.team, "search")
    assert.strictEqual(labels?.two, "first")
    assert.strictEqual(Object.getPrototypeOf(labels), Object.prototype)
    assert.notProperty(labels, "")
  })

  const name = fc.constantFrom(
    "x-steadfast-max-attempts",
    "x-steadfast-timeout-ms",
    "x-steadfast-no-fallback",
    "x-steadfast-trace-id",
    "traceparent",
    "x-steadfast-label-a",
    "x-steadfast-other"
  )
  const value = fc.oneof(fc.string(), fc.integer().map(String), fc.array(fc.string()), fc.constant(undefined))

  it.prop(
    "is within the bounds or a refusal, for any headers",
    [fc.dictionary(name, value)],
    ([headers]) => {
      const controls = read(headers)
      if (controls instanceof LlmError.InvalidRequest) return
      const { maxAttempts = 1, timeout = 1 } = controls
      assert.isTrue(Number.isInteger(maxAttempts) && maxAttempts >= 1 && maxAttempts <= 5)
      assert.isTrue(Number.isInteger(timeout) && timeout >= 1 && timeout <= 60_000)
    },
    { fastCheck: { numRuns: cases(20_000, 300) } }
  )
})
