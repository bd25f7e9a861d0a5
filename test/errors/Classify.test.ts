import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as FastCheck from "effect/FastCheck"
import * as Schema from "effect/Schema"
import * as Classify from "../../src/errors/Classify.js"
import * as LlmError from "../../src/errors/LlmError.js"
import { cases, exhaustive } from "../support/cases.js"
import { meta, respond } from "./support.js"

const oops = (message: string, code: string | null = null, type: string | null = null) => ({
  error: { message, type, code }
})

describe("Classify.response", () => {
  describe("order of trust", () => {
    it("a code outranks the status", () => {
      assert.strictEqual(respond(400, oops("no", "insufficient_quota"))._tag, "QuotaExhausted")
      assert.strictEqual(respond(500, oops("no", "context_length_exceeded"))._tag, "ContextLengthExceeded")
    })

    it("a code outranks a type", () => {
      assert.strictEqual(respond(403, oops("no", "model_not_found", "permission_error"))._tag, "ModelNotFound")
    })

    it("the status outranks words that only advise", () => {
      const advice = oops("Too many. Reduce the prompt length or the maximum tokens, or upgrade your billing.")
      assert.strictEqual(respond(429, advice)._tag, "RateLimited")
    })

    it("words narrow what a status leaves open", () => {
      assert.strictEqual(respond(400, oops("prompt is too long: 9 tokens > 8 maximum"))._tag, "ContextLengthExceeded")
      assert.strictEqual(respond(403, oops("Your input was flagged by moderation"))._tag, "ContentFiltered")
    })

    it("only the message is read, never what the body echoes", () => {
      const body = {
        error: { message: "Bad value", failed_generation: "rate limit, quota, api key invalid", param: "overloaded" }
      }
      assert.strictEqual(respond(400, body)._tag, "InvalidRequest")
    })

    it("x-should-retry outranks the class, both ways, and keeps the hint", () => {
      const vetoed = respond(429, "", { "x-should-retry": "false", "retry-after": "3" })
      assert.strictEqual(vetoed._tag, "RateLimited")
      assert.isFalse(LlmError.isRetryable(vetoed))
      assert.deepStrictEqual(vetoed.hint, Duration.millis(3000))
      assert.isTrue(LlmError.isRetryable(respond(400, "", { "x-should-retry": "true" })))
    })

    it("a failing body of a gateway names the true cause", () => {
      const wrapped = JSON.stringify({ error: { message: JSON.stringify(oops("gone", "model_not_found")) } })
      assert.strictEqual(respond(502, { message: wrapped })._tag, "ModelNotFound")
    })
  })

  describe("a 429 that waiting does not cure", () => {
    it("no credit", () => assert.strictEqual(respond(429, oops("Insufficient balance"))._tag, "QuotaExhausted"))
    it("larger than the limit", () =>
      assert.strictEqual(
        respond(429, oops("Request too large for m: Limit 1, Requested 2."))._tag,
        "ContextLengthExceeded"
      ))
    it("a day-long wait", () => {
      assert.strictEqual(respond(429, "", { "retry-after": "86400" })._tag, "QuotaExhausted")
      assert.strictEqual(respond(429, "", { "retry-after": "3600" })._tag, "RateLimited")
    })
    it("a daily limit, unless the server names a short wait", () => {
      assert.strictEqual(respond(429, oops("Too many requests per day"))._tag, "QuotaExhausted")
      assert.strictEqual(respond(429, oops("Limit of tokens per day. Try again in 9s"))._tag, "RateLimited")
    })
    it("carries no hint", () =>
      assert.isUndefined(respond(429, oops("no", "insufficient_quota"), { "retry-after": "9" }).hint))
  })

  describe("fields", () => {
    it("scope", () => {
      const scope = (message: string) => {
        const error = respond(429, oops(message), { "retry-after": "1" })
        return error._tag === "RateLimited" ? error.scope : "not RateLimited"
      }
      assert.strictEqual(scope("Rate limit on tokens per min (TPM)"), "tokens")
      assert.strictEqual(scope("Rate limit on requests per min (RPM)"), "requests")
      assert.strictEqual(scope("Rate limit on requests per day (RPD)"), "day")
      assert.isUndefined(scope("slow down"))
    })

    it("request ids, from headers and from the body", () => {
      assert.strictEqual(respond(500, "", { "x-request-id": "a", "cf-ray": "b" }).requestId, "a")
      assert.strictEqual(respond(500, "", { "cf-ray": "b" }).requestId, "b")
      assert.strictEqual(respond(500, { error: { message: "x" }, request_id: "c" }, { "cf-ray": "b" }).requestId, "c")
    })

    it("code, status, provider and model", () => {
      const { code, model, provider, status } = respond(429, oops("no", "rate_limit_exceeded"))
      assert.deepStrictEqual(
        { code, model, provider, status },
        { code: "rate_limit_exceeded", model: "m", provider: "openai", status: 429 }
      )
    })

    const delivery: ReadonlyArray<readonly [status: number, LlmError.Delivery]> = [
      [400, "rejected"],
      [401, "rejected"],
      [408, "unknown"],
      [409, "rejected"],
      [429, "rejected"],
      [499, "unknown"],
      [500, "unknown"],
      [502, "unknown"],
      [503, "rejected"],
      [504, "unknown"],
      [529, "rejected"]
    ]
    for (const [status, expected] of delivery) {
      it(`delivery of ${status} is ${expected}`, () => assert.strictEqual(respond(status, "").delivery, expected))
    }
  })

  describe("message", () => {
    const said = (status: number, body: unknown) => respond(status, body).message

    it("is the provider's own", () => assert.strictEqual(said(400, oops(" two\n  words ")), "two words"))
    it("is the title of a web page", () =>
      assert.strictEqual(said(502, "<html><head><title>502 Bad Gateway</title></head></html>"), "502 Bad Gateway"))
    it("is the status where nothing was said", () => assert.strictEqual(said(502, ""), "502 Bad Gateway"))
    it("is at most 500 characters", () => assert.strictEqual(said(400, oops("x".repeat(9999))).length, 500))
  })

  describe("secrets", () => {
    const secret = "my-very-own+secret/value"
    const keys = [
      secret,
      encodeURIComponent(secret),
      "sk-proj-abcdefghijklmnop",
      "sk-ant-api03-abcdefghijklmnop",
      "AIzaSyA1234567890abcdefghijklmnop",
      "gsk_abcdefghijklmnopqrstuvwx",
      "xai-abcdefghijklmnopqrstuvwx"
    ]
    const shows = (text: string, key: string) => text.includes(key.slice(0, 8)) || text.includes(key.slice(-8))

    for (const key of keys) {
      it(`${key.slice(0, 6)}… shows in no field`, () => {
        const error = Classify.response({
          ...meta,
          secrets: [secret],
          body: JSON.stringify(oops(`key ${key} is bad`, key, key)),
          headers: { "x-request-id": key }
        })
        assert.isFalse(shows(JSON.stringify(Schema.encodeSync(LlmError.LlmError)(error)), key))
      })
      it(`${key.slice(0, 6)}… shows in no thrown cause`, () => {
        const url = `https://user:${key}@host.test/v1?key=${key}`
        const error = Classify.transport(
          { ...meta, secrets: [secret] },
          {
            name: "TypeError",
            message: `fetch ${url} failed`,
            cause: { name: "Error", message: `Bearer ${key}`, code: key }
          },
          "before-headers"
        )
        assert.isFalse(shows(JSON.stringify(Schema.encodeSync(LlmError.LlmError)(error)), key))
      })
    }

    it("a secret at the edge of the shown text is not cut in half", () => {
      for (const length of [480, 495, 16_360, 16_380]) {
        const error = Classify.response({
          ...meta,
          secrets: [secret],
          body: JSON.stringify(oops(`${" ".repeat(length - 480)}${"x".repeat(480)} ${secret}`))
        })
        assert.isFalse(shows(error.message, secret))
      }
    })
  })
})

describe("Classify.answer", () => {
  const ok: Classify.Meta = { ...meta, status: 200 }
  const tag = (body: unknown) => Classify.answer(ok, body)?._tag

  it("leaves ordinary answers alone", () => {
    assert.isUndefined(
      tag({ choices: [{ message: { content: "rate limit exceeded" }, finish_reason: "stop" }], error: null })
    )
    assert.isUndefined(tag({ type: "message", content: [], stop_reason: "end_turn" }))
    assert.isUndefined(tag({ candidates: [{ content: { parts: [{ text: "" }] }, finishReason: "STOP" }] }))
    assert.isUndefined(tag({ message: { role: "assistant", content: "x" }, done: true, done_reason: "stop" }))
    assert.isUndefined(tag({ object: "response", status: "completed", error: null, output: [] }))
  })

  it("finds what hides in a 200", () => {
    assert.strictEqual(tag(oops("slow", "rate_limit_exceeded")), "RateLimited")
    assert.strictEqual(tag({ code: "The service is currently unavailable", error: "Timed out" }), "Overloaded")
    assert.strictEqual(tag({ stopReason: "guardrail_intervened" }), "ContentFiltered")
    assert.strictEqual(tag({ candidates: [{ finishReason: "MALFORMED_FUNCTION_CALL" }] }), "InvalidResponse")
    assert.strictEqual(tag({ choices: [] }), "InvalidResponse")
  })

  it("calls what is no answer invalid", () => {
    for (const body of [null, 1, "", "text", true, [], {}]) assert.strictEqual(tag(body), "InvalidResponse")
  })

  it("is unknown in its delivery: it may have been billed", () => {
    assert.strictEqual(Classify.answer(ok, oops("no", "rate_limit_exceeded"))?.delivery, "unknown")
  })
})

describe("Classify.unreadable", () => {
  it("does not retry a web page", () => {
    const page = Classify.unreadable(meta, "<!DOCTYPE html><html><title>Sign in</title></html>")
    assert.strictEqual(page._tag, "InvalidResponse")
    assert.isFalse(LlmError.isRetryable(page))
    assert.isTrue(page.message.includes("Sign in"))
  })
  it("retries an empty and a cut answer", () => {
    assert.isTrue(LlmError.isRetryable(Classify.unreadable(meta, "")))
    assert.isTrue(LlmError.isRetryable(Classify.unreadable(meta, '{"choices":[{"me')))
  })
})

describe("Classify.event", () => {
  const tag = (data: unknown, name?: string) => Classify.event({ provider: "openai" }, data, name)?._tag

  it("leaves ordinary events alone", () => {
    assert.isUndefined(tag({ choices: [{ delta: { content: "error" }, finish_reason: null }], error: null }))
    assert.isUndefined(tag({ choices: [], usage: { total_tokens: 2 } }))
    assert.isUndefined(tag({ type: "ping" }, "ping"))
    assert.isUndefined(tag({ type: "content_block_delta", delta: { type: "text_delta", text: "x" } }))
    assert.isUndefined(tag({ type: "response.output_text.delta", delta: "x" }))
    assert.isUndefined(tag({ type: "message_delta", delta: { stop_reason: "end_turn" } }))
    assert.isUndefined(tag({ done: true, done_reason: "stop" }))
    assert.isUndefined(tag({ contentBlockDelta: { delta: { text: "x" } } }))
    assert.isUndefined(tag("text"))
    assert.isUndefined(tag(null))
  })

  it("reads errors in every place", () => {
    assert.strictEqual(tag(oops("no", "server_is_overloaded")), "Overloaded")
    assert.strictEqual(
      tag({ choices: [{ finish_reason: "error", error: { code: 502, message: "gone" } }] }),
      "ServerError"
    )
    assert.strictEqual(tag({ type: "error", error: { type: "overloaded_error" } }, "error"), "Overloaded")
    assert.strictEqual(tag({ type: "error", code: "rate_limit_exceeded", message: "slow" }), "RateLimited")
    assert.strictEqual(
      tag({ type: "response.failed", response: { error: { code: "invalid_prompt" } } }),
      "ContentFiltered"
    )
    assert.strictEqual(
      tag({ error_type: "validation_error", error_message: "Input is too long" }),
      "ContextLengthExceeded"
    )
    assert.strictEqual(tag({ throttlingException: { message: "Too many requests" } }), "RateLimited")
    assert.strictEqual(tag({ type: "message-end", delta: { finish_reason: "ERROR" } }), "ServerError")
    assert.strictEqual(tag("upstream timed out", "error"), "Timeout")
  })
})

describe("Classify.finishReason", () => {
  const table: ReadonlyArray<readonly [reason: string | null | undefined, meaning: string]> = [
    ["stop", "stop"],
    ["STOP", "stop"],
    ["end_turn", "stop"],
    ["COMPLETE", "stop"],
    ["length", "length"],
    ["MAX_TOKENS", "length"],
    ["tool_use", "tool-calls"],
    ["TOOL_CALL", "tool-calls"],
    ["refusal", "content-filter"],
    ["SAFETY", "content-filter"],
    ["ERROR", "error"],
    ["malformed_tool_use", "malformed"],
    ["", "none"],
    [null, "none"],
    [undefined, "none"],
    ["pause_turn", "other"],
    ["__proto__", "other"],
    ["constructor", "other"]
  ]
  for (const [reason, meaning] of table) {
    it(`${reason} is ${meaning}`, () => assert.strictEqual(Classify.finishReason(reason), meaning))
  }
})

describe("Classify.transport", () => {
  const fetchFailed = (code: string, message = code) =>
    new TypeError("fetch failed", { cause: Object.assign(new Error(message), { code }) })
  const of = (error: unknown, stage: Classify.Stage = "before-headers") => Classify.transport(meta, error, stage)

  it("says what never left", () => {
    for (const code of [
      "ENOTFOUND",
      "ECONNREFUSED",
      "CERT_HAS_EXPIRED",
      "UND_ERR_CONNECT_TIMEOUT",
      "ERR_INVALID_URL"
    ]) {
      assert.strictEqual(of(fetchFailed(code)).delivery, "not-sent", code)
    }
    for (const code of ["ECONNRESET", "UND_ERR_SOCKET", "UND_ERR_HEADERS_TIMEOUT", "EPIPE"]) {
      assert.strictEqual(of(fetchFailed(code)).delivery, "unknown", code)
    }
  })

  it("names the phase of a timeout", () => {
    const phase = (error: LlmError.LlmError) => (error._tag === "Timeout" ? error.phase : error._tag)
    assert.strictEqual(phase(of(fetchFailed("UND_ERR_CONNECT_TIMEOUT"))), "connect")
    assert.strictEqual(phase(of(fetchFailed("UND_ERR_HEADERS_TIMEOUT"))), "attempt")
    assert.strictEqual(phase(of(fetchFailed("UND_ERR_BODY_TIMEOUT"), "stream")), "idle")
    assert.strictEqual(phase(of(new DOMException("late", "TimeoutError"))), "attempt")
  })

  it("tells a broken body from a broken stream", () => {
    const broken = new TypeError("terminated", { cause: Object.assign(new Error("x"), { code: "UND_ERR_SOCKET" }) })
    assert.strictEqual(of(broken, "body")._tag, "ConnectionError")
    const stream = of(broken, "stream")
    assert.strictEqual(stream._tag, "StreamInterrupted")
    assert.strictEqual(stream._tag === "StreamInterrupted" ? stream.partial : undefined, "")
  })

  it("finds the cause in an AggregateError and through loops", () => {
    const many = new AggregateError([Object.assign(new Error("no"), { code: "ECONNREFUSED" })], "")
    assert.strictEqual(of(new TypeError("fetch failed", { cause: many })).code, "ECONNREFUSED")
    const loop: { name: string; message: string; cause?: unknown } = { name: "Error", message: "again" }
    loop.cause = loop
    assert.strictEqual(of(loop)._tag, "ConnectionError")
  })

  it("isAbort knows a cancellation from a timeout", () => {
    assert.isTrue(Classify.isAbort(new DOMException("stop", "AbortError")))
    assert.isTrue(Classify.isAbort({ name: "CanceledError", message: "canceled", code: "ERR_CANCELED" }))
    assert.isTrue(Classify.isAbort(new TypeError("terminated", { cause: new DOMException("stop", "AbortError") })))
    assert.isFalse(Classify.isAbort(new DOMException("late", "TimeoutError")))
    assert.isFalse(Classify.isAbort(Object.assign(new Error("aborted"), { code: "ECONNRESET" })))
    assert.isFalse(Classify.isAbort(undefined))
  })
})

describe("no input throws or hangs", () => {
  const deep = (open: string, close: string, levels: number) => `${open.repeat(levels)}1${close.repeat(levels)}`
  /** Of the processor, not of the wall, and far above what is linear: ten times as long as on a slow machine. */
  const inTime = (run: () => void) => {
    const start = process.cpuUsage()
    run()
    const { system, user } = process.cpuUsage(start)
    assert.isBelow((system + user) / 1e6, 20, "seconds")
  }
  const everything = (value: unknown) => {
    const text = typeof value === "string" ? value : (JSON.stringify(value) ?? "")
    for (const status of [200, 400, 403, 429, 500, 503]) Classify.response({ ...meta, status, body: text })
    Classify.answer(meta, value)
    Classify.event(meta, value)
    Classify.event(meta, value, "error")
    Classify.unreadable(meta, text)
    Classify.isAbort(value)
    for (const stage of ["before-send", "before-headers", "body", "stream", "decode"] as const) {
      assert.isTrue(LlmError.isLlmError(Classify.transport(meta, value, stage)))
    }
  }

  it("arbitrary text", () => {
    FastCheck.assert(FastCheck.property(FastCheck.string({ unit: "binary" }), everything), { numRuns: cases(300) })
  })

  it("arbitrary JSON", () => {
    FastCheck.assert(FastCheck.property(FastCheck.jsonValue(), everything), { numRuns: cases(300) })
  })

  it("arbitrary values where errors have their fields", () => {
    const key = FastCheck.constantFrom(
      ..."error message code type status detail details metadata raw choices candidates errors cause name headers response base_resp __proto__ constructor".split(
        " "
      )
    )
    const { node } = FastCheck.letrec((tie) => ({
      node: FastCheck.oneof(
        { maxDepth: 5 },
        FastCheck.constantFrom<unknown>(
          null,
          true,
          0,
          429,
          "",
          "429",
          "__proto__",
          "constructor",
          "rate_limit_error",
          '{"error":{}}'
        ),
        FastCheck.string(),
        FastCheck.array(tie("node"), { maxLength: 3 }),
        FastCheck.dictionary(key, tie("node"), { maxKeys: 5, noNullPrototype: true })
      )
    }))
    FastCheck.assert(FastCheck.property(node, everything), { numRuns: cases(1000) })
  })

  it("hostile values", () => {
    const trap = new Proxy(
      {},
      {
        get: () => {
          throw new Error("no")
        },
        ownKeys: () => {
          throw new Error("no")
        }
      }
    )
    for (const value of [trap, { error: trap }, Object.create(null), Symbol("x"), () => 1, 10n, new Map()]) {
      Classify.answer(meta, value)
      Classify.event(meta, value, "error")
      Classify.isAbort(value)
      Classify.transport(meta, value, "body")
    }
  })

  it("deep nesting", () => {
    for (const body of [deep("[", "]", 10_000), deep('{"error":', "}", 10_000), deep('{"message":"', '"}', 10_000)]) {
      inTime(() => respond(429, body))
    }
  })

  it("large bodies", () => {
    const size = exhaustive ? 5_000_000 : 500_000
    for (const unit of [
      "x",
      " ",
      "{",
      "[{'",
      '{"error":',
      "<",
      "<!--",
      "<!---->",
      "<?xml?>",
      '{"a":"',
      '{"a":1,',
      "error: ",
      "01:23:45 ",
      "usage limits ",
      "max_tokens ",
      "1",
      "'",
      "try again in ",
      "model is "
    ]) {
      const body = unit.repeat(size / unit.length)
      inTime(() => {
        for (const status of [400, 429, 500]) respond(status, body)
        respond(400, JSON.stringify(oops(body)))
        Classify.unreadable(meta, body)
        Classify.transport(meta, new Error(body), "decode")
      })
    }
  })

  it("names of the prototype as codes", () => {
    for (const name of ["__proto__", "constructor", "toString", "hasOwnProperty", "valueOf"]) {
      assert.strictEqual(respond(400, oops("no", name, name))._tag, "InvalidRequest")
      assert.strictEqual(respond(400, JSON.stringify({ [name]: oops("no") }))._tag, "InvalidRequest")
    }
  })
})
