import { assert, describe, it } from "@effect/vitest"
import * as Classify from "../../src/errors/Classify.js"
import type * as LlmError from "../../src/errors/LlmError.js"

const chunk = (finish_reason: string, delta: object = {}) => ({ choices: [{ delta, finish_reason }] })
const event = (data: unknown) => Classify.event({ provider: "openai" }, data)

describe("a finish reason that is an error", () => {
  const table: ReadonlyArray<readonly [reason: string, tag: LlmError.Tag]> = [
    ["overloaded_error", "Overloaded"],
    ["rate_limit_error", "RateLimited"],
    ["timeout_error", "Timeout"],
    ["api_error", "ServerError"],
    ["invalid_request_error", "InvalidRequest"],
    ["strange_error", "ServerError"],
    ["StrangeError", "ServerError"],
    ["strange-error", "ServerError"],
    ["ThrottlingException", "RateLimited"],
    ["modelStreamErrorException", "ServerError"],
    ["error_finish", "ServerError"],
    ["errorFinish", "ServerError"],
    ["error: overloaded", "Overloaded"],
    ["error: stop", "ServerError"],
    ["overloaded", "Overloaded"],
    ["prompt_too_long", "ContextLengthExceeded"],
    ["content_filter: RECITATION", "ContentFiltered"],
    ["content_filter: other", "ContentFiltered"],
    ["contentFiltered", "ContentFiltered"],
    ["function_call_filter: MALFORMED_FUNCTION_CALL", "InvalidResponse"],
    ["MALFORMED_FUNCTION_CALL", "InvalidResponse"]
  ]
  for (const [reason, tag] of table) {
    it(`${reason} is ${tag}`, () => {
      const error = event(chunk(reason))
      assert.strictEqual(error?._tag, tag)
      assert.strictEqual(error?.code, reason)
      assert.strictEqual(
        Classify.event({ provider: "a" }, { type: "message_delta", delta: { stop_reason: reason } })?._tag,
        tag
      )
      assert.strictEqual(Classify.event({ provider: "g" }, { candidates: [{ finishReason: reason }] })?._tag, tag)
    })
  }
})

describe("a finish reason that is a true end", () => {
  const table: ReadonlyArray<readonly [reason: string, meaning: ReturnType<typeof Classify.finishReason>]> = [
    ["error_limit", "length"],
    ["max-tokens", "length"],
    ["maxTokens", "length"],
    ["FinishReason.MAX_TOKENS", "length"],
    ["FINISH_REASON_STOP", "stop"],
    ["contextLengthReached", "length"],
    ["endTurn", "stop"],
    ["tool-calls", "tool-calls"],
    ["no_error", "stop"],
    ["pause_turn", "other"],
    ["IMAGE_OTHER", "other"],
    ["x".repeat(300), "other"]
  ]
  for (const [reason, meaning] of table) {
    it(`${reason.slice(0, 40)} is ${meaning}`, () => {
      assert.strictEqual(Classify.finishReason(reason), meaning)
      assert.isUndefined(event(chunk(reason)))
    })
  }
})

describe("an error that is written into the text of an answer", () => {
  const written = (error: object) => chunk("error_finish", { content: JSON.stringify(error) })

  it("decides if the answer ended with an error", () => {
    const error = event(written({ error: { code: "rate_limit_exceeded", message: "slow" } }))
    assert.deepInclude(error, { _tag: "RateLimited", code: "rate_limit_exceeded", message: "slow" })
    assert.strictEqual(event(written({ code: 529, message: "full" }))?._tag, "Overloaded")
    assert.strictEqual(event(written({ code: "Throttling", msg: "slow" }))?._tag, "RateLimited")
  })

  it("decides in a whole answer too", () => {
    const choice = { message: { content: '{"error":{"code":"insufficient_quota"}}' }, finish_reason: "error" }
    const error = Classify.answer(
      { ...{ provider: "openai", status: 200, headers: {}, now: 0 } },
      { choices: [choice] }
    )
    assert.strictEqual(error?._tag, "QuotaExhausted")
  })

  it("is text in an answer with an ordinary end, and other text is no error", () => {
    const content = '{"error":{"code":"rate_limit_exceeded"}}'
    assert.isUndefined(event(chunk("stop", { content })))
    assert.strictEqual(event(chunk("error", { content: '{"a":1}' }))?._tag, "ServerError")
    assert.strictEqual(event(chunk("error", { content: "rate limit exceeded" }))?._tag, "ServerError")
  })
})
