import { assert, describe, it } from "@effect/vitest"
import type * as LlmError from "../../src/errors/LlmError.js"
import { respond, verdict } from "./support.js"

const oops = (message: string, code: string | null = null, param: string | null = null) => ({
  error: { message, type: "invalid_request_error", code, param }
})

describe("details.error_code", () => {
  const of = (status: number, error_code: string, message = "no") =>
    respond(
      status,
      { type: "error", error: { type: "invalid_request_error", message, details: { error_code } } },
      {},
      "anthropic"
    )

  it("decides as a code does", () => {
    assert.strictEqual(of(400, "rate_limit_exceeded")._tag, "RateLimited")
    assert.strictEqual(of(400, "rate_limit_exceeded").code, "rate_limit_exceeded")
  })

  it("of a locked account or key falls back", () => {
    for (const code of ["organization_on_hold", "cmek_key_disabled"]) {
      for (const status of [400, 403]) {
        assert.deepStrictEqual(verdict(of(status, code)), ["PermissionDenied", false, true, "rejected"], code)
      }
    }
  })

  it("of a body that is too large once decoded is the caller's mistake, whatever the message says", () => {
    const error = of(413, "request_body_too_large_after_decoding", "The request body is too large after decoding.")
    assert.deepStrictEqual(verdict(error), ["InvalidRequest", false, false, "rejected"])
  })
})

describe("a string that is too long", () => {
  const message = (field: string) =>
    `Invalid '${field}': string too long. Expected a string with maximum length 40, but got a string with length 41.`
  const table: ReadonlyArray<readonly [field: string, tag: LlmError.Tag]> = [
    ["messages[1].content", "ContextLengthExceeded"],
    ["messages[1].content[0].text", "ContextLengthExceeded"],
    ["input", "ContextLengthExceeded"],
    ["input[2].output", "ContextLengthExceeded"],
    ["prompt", "ContextLengthExceeded"],
    ["instructions", "ContextLengthExceeded"],
    ["messages[2].tool_calls[0].id", "InvalidRequest"],
    ["input[3].call_id", "InvalidRequest"],
    ["tools[0].function.name", "InvalidRequest"],
    ["user", "InvalidRequest"]
  ]
  for (const [field, tag] of table) {
    it(`in ${field} is ${tag}`, () => {
      const code = "string_above_max_length"
      assert.strictEqual(respond(400, oops(message(field), code))._tag, tag)
      assert.strictEqual(respond(400, oops("string too long", code, field))._tag, tag)
      assert.strictEqual(respond(400, oops(message(field)))._tag, tag)
    })
  }

  it("in no named field is the caller's mistake by its code", () => {
    assert.strictEqual(respond(400, oops("no", "string_above_max_length"))._tag, "InvalidRequest")
  })
})

describe("words", () => {
  it("not allowed to use a model is PermissionDenied", () => {
    const message = "Project `p` is not allowed to use Publisher Model `projects/p/publishers/a/models/m`"
    const body = { error: { code: 400, message, status: "FAILED_PRECONDITION" } }
    assert.strictEqual(respond(400, body)._tag, "PermissionDenied")
  })

  it("usage limits without a word of money or of a long window pass", () => {
    const of = (message: string) => respond(429, { error: { message } })._tag
    assert.strictEqual(of("You have exceeded your usage limits. Please try again later."), "RateLimited")
    for (const word of ["billing", "credit", "plan", "quota", "monthly"]) {
      assert.strictEqual(of(`You have hit the usage limit of your ${word}. Try again later.`), "QuotaExhausted", word)
    }
    assert.strictEqual(of("You have reached your usage limit."), "QuotaExhausted")
  })
})

describe("what a model does not support", () => {
  it("is not retried, and another target may take it", () => {
    for (const body of [
      oops("no", "unsupported_parameter"),
      oops("no", "unsupported_value"),
      oops("Unsupported parameter: 'x' is not supported with this model."),
      oops("This model does not support tools."),
      oops("litellm.UnsupportedParamsError: a does not support parameters: ['b']")
    ]) {
      assert.deepStrictEqual(verdict(respond(400, body)), ["InvalidRequest", false, true, "rejected"])
    }
  })

  it("says its whole sentence", () => {
    assert.strictEqual(respond(400, oops("not supported: ['a', 'b']")).message, "not supported: ['a', 'b']")
  })

  it("is another thing than a mistake", () => {
    assert.deepStrictEqual(verdict(respond(400, oops("Bad value"))), ["InvalidRequest", false, false, "rejected"])
  })
})
