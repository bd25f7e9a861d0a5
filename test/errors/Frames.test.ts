import { assert, describe, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import * as Classify from "../../src/errors/Classify.js"
import * as JsonText from "../../src/errors/JsonText.js"
import * as LlmError from "../../src/errors/LlmError.js"
import { cases } from "../support/cases.js"

const context = { provider: "groq" }

describe("an error in an odd place of an event", () => {
  it("x_groq.error", () => {
    const of = (error: unknown) => Classify.event(context, { choices: [{ delta: {} }], x_groq: { id: "r", error } })
    assert.strictEqual(of("over capacity")?._tag, "Overloaded")
    assert.strictEqual(of({ code: "rate_limit_exceeded", message: "slow" })?._tag, "RateLimited")
    assert.isUndefined(of(undefined))
  })

  it("error as text in a chunk", () => {
    const error = Classify.event(context, { choices: [{ delta: {} }], error: "rate limit exceeded" })
    assert.deepInclude(error, { _tag: "RateLimited", message: "rate limit exceeded" })
  })

  it("an event with the name of an error is one, whatever it holds", () => {
    for (const name of ["error", "Error", "exception", "response.error"]) {
      for (const data of [{}, null, "", 1]) assert.strictEqual(Classify.event(context, data, name)?._tag, "ServerError")
    }
    assert.isUndefined(Classify.event(context, { type: "ping" }, "error"))
  })
})

describe("Classify.frame", () => {
  const frame = (text: string) => Classify.frame(context, text, "error")

  it("reads words", () => {
    assert.deepInclude(frame("upstream timed out"), { _tag: "Timeout", message: "upstream timed out" })
    assert.deepInclude(frame("it broke"), { _tag: "ServerError", message: "it broke" })
    assert.strictEqual(frame("")?._tag, "ServerError")
  })

  it("reads what is left of cut JSON", () => {
    assert.strictEqual(frame('{"type":"error","error":{"type":"overloaded_error","mess')?._tag, "Overloaded")
    assert.deepInclude(frame('{"error":{"code":"rate_limit_exceeded","message":"Too ma'), {
      _tag: "RateLimited",
      message: "Too ma"
    })
    assert.strictEqual(frame('{"error":')?._tag, "ServerError")
  })

  it("leaves other events alone", () => {
    assert.isUndefined(Classify.frame(context, "rate limit exceeded", undefined))
    assert.isUndefined(Classify.frame(context, "rate limit exceeded", "message"))
  })
})

describe("JSON that was cut", () => {
  it("is read in an error body and in a message of a gateway", () => {
    const cut = '{"error":{"code":"insufficient_quota","message":"no cre'
    const of = (body: string) => Classify.response({ ...context, status: 429, headers: {}, now: 0, body })._tag
    assert.strictEqual(of(cut), "QuotaExhausted")
    assert.strictEqual(of(JSON.stringify({ message: cut })), "QuotaExhausted")
  })

  it("is closed at its last character, or else at its last whole value", () => {
    const table: ReadonlyArray<readonly [text: string, found: unknown]> = [
      ['{"a":"b', { a: "b" }],
      ['{"a":"b\\', { a: "b" }],
      ['{"a":{"b":1},"c', { a: { b: 1 } }],
      ['{"a":[{"b":1},{"c":2}', { a: [{ b: 1 }, { c: 2 }] }],
      ['{"a":1,"b":{"c":', { a: 1, b: {} }],
      ["{'a': None, 'b': 'it", { a: null, b: "it" }],
      ['a bracket {"a":1', undefined]
    ]
    for (const [text, found] of table) assert.deepStrictEqual(JsonText.find(text), found, text)
  })

  it("gives an error wherever it is cut", () => {
    const whole = JSON.stringify({
      type: "error",
      error: { type: "overloaded_error", message: 'It "broke" \\ {[', details: [{ a: 1 }] }
    })
    FastCheck.assert(
      FastCheck.property(FastCheck.nat(whole.length), (length) => {
        const error = Classify.frame(context, whole.slice(0, length), "error")
        assert.isTrue(LlmError.isLlmError(error))
        if (length > whole.indexOf('","message"')) assert.strictEqual(error?._tag, "Overloaded")
      }),
      { numRuns: cases(1000) }
    )
  })
})
