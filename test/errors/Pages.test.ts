import { assert, describe, it } from "@effect/vitest"
import * as Classify from "../../src/errors/Classify.js"
import * as LlmError from "../../src/errors/LlmError.js"
import * as Markup from "../../src/errors/Markup.js"
import { meta, respond, verdict } from "./support.js"

const page = (title: string) => `<html><head><title>${title}</title></head></html>`

describe("what a web page is", () => {
  const pages = [
    "<!DOCTYPE html><p>x</p>",
    "<html></html>",
    "<HTML><HEAD></HEAD></HTML>",
    "\uFEFF \n<html></html>",
    "<title>502 Bad Gateway</title>",
    "<h1>502</h1>",
    "<center><h1>502</h1></center>",
    "<!-- made by a proxy --><html></html>",
    "<!-- a --> <!-- b -->\n<body></body>",
    '<?xml version="1.0"?>\n<!DOCTYPE html PUBLIC "x">\n<html></html>',
    "<!-- cut"
  ]
  for (const text of pages) it(JSON.stringify(text), () => assert.isTrue(Markup.isPage(text)))

  const others = [
    "",
    "text",
    "a < b",
    "{}",
    "<Error><Code>SlowDown</Code></Error>",
    '<?xml version="1.0"?><Error><Code>SlowDown</Code></Error>',
    "<header>x</header>"
  ]
  for (const text of others) it(`not ${JSON.stringify(text)}`, () => assert.isFalse(Markup.isPage(text)))
})

describe("a web page in place of an error", () => {
  it("with a status that blames the caller is a proxy's refusal: not run, not repeated, sent elsewhere", () => {
    for (const status of [400, 405, 406, 411, 414, 417, 421, 422, 426, 431, 494, 495, 496, 497]) {
      const error = respond(status, page(`${status} refused`))
      assert.deepStrictEqual(verdict(error), ["ServerError", false, true, "rejected"], String(status))
    }
  })

  it("keeps the meaning of a status that says more", () => {
    const table: ReadonlyArray<readonly [status: number, tag: LlmError.Tag, retry: boolean]> = [
      [401, "AuthError", false],
      [402, "QuotaExhausted", false],
      [403, "PermissionDenied", false],
      [404, "ModelNotFound", false],
      [408, "Timeout", true],
      [409, "ServerError", true],
      [429, "RateLimited", true],
      [500, "ServerError", true],
      [502, "ServerError", true],
      [504, "Timeout", true]
    ]
    for (const [status, tag, retry] of table) {
      const [is, retries, fallback] = verdict(respond(status, page("x")))
      assert.deepStrictEqual([is, retries, fallback], [tag, retry, true], String(status))
    }
  })

  it("with a 503 may come after the request ran, whatever its title says", () => {
    for (const body of [
      page("503 Service Temporarily Unavailable"),
      '<?xml version="1.0"?><!DOCTYPE html><html><title>503 Service Not Available</title></html>',
      "<title>Unavailable</title>"
    ]) {
      assert.deepStrictEqual(verdict(respond(503, body)), ["ServerError", true, true, "unknown"], body)
    }
  })

  it("with a 413 tells the limit of a proxy, so any target may take the request", () => {
    const error = respond(413, page("413 Request Entity Too Large"))
    assert.deepStrictEqual(verdict(error), ["ContextLengthExceeded", false, true, "rejected"])
    assert.strictEqual(LlmError.fallbackOf(respond(413, "")), "larger-window")
  })

  it("is told by its content type alone", () => {
    const html = { "content-type": "text/html; charset=utf-8" }
    assert.strictEqual(respond(405, "Method Not Allowed", html)._tag, "ServerError")
    assert.strictEqual(respond(405, "Method Not Allowed")._tag, "InvalidRequest")
    assert.strictEqual(respond(503, "Service Temporarily Unavailable", html).delivery, "unknown")
    const long = respond(400, "prompt is too long", html)
    assert.deepStrictEqual([long._tag, LlmError.fallbackOf(long)], ["ContextLengthExceeded", "larger-window"])
    assert.isFalse(LlmError.isRetryable(Classify.unreadable({ ...meta, status: 200, headers: html }, "Log in")))
  })

  it("is no page if it is JSON with the content type of one", () => {
    const html = { "content-type": "text/html" }
    assert.strictEqual(respond(400, { error: { message: "Bad value" } }, html)._tag, "InvalidRequest")
  })

  it("is a page inside the message of a gateway too", () => {
    const error = respond(400, { error: { message: page("400 No required SSL certificate was sent") } })
    assert.strictEqual(error._tag, "ServerError")
    assert.strictEqual(error.message, "400 No required SSL certificate was sent")
  })

  it("is no page if a message only begins with a tag", () => {
    const error = respond(400, { error: { message: "<html> is not allowed here" } })
    assert.deepInclude(error, { _tag: "InvalidRequest", message: "<html> is not allowed here" })
    assert.strictEqual(respond(400, { error: { message: "<p>prompt is too long</p>" } })._tag, "ContextLengthExceeded")
  })

  it("obeys x-should-retry", () => {
    assert.isTrue(LlmError.isRetryable(respond(405, page("x"), { "x-should-retry": "true" })))
  })

  it("says its title, its heading, or its first text", () => {
    const said = (body: string) => respond(400, body).message
    assert.strictEqual(said("<title>a</title><h1>b</h1>"), "a")
    assert.strictEqual(said("<html><body><h1>400 Bad request</h1></body></html>"), "400 Bad request")
    assert.strictEqual(said("<title>Error</title><body><pre>Cannot POST /v1/x</pre>"), "Cannot POST /v1/x")
    assert.strictEqual(said("<html><body>Bad Request</body></html>"), "Bad Request")
    assert.strictEqual(said("<html></html>"), "400 Bad Request")
  })
})

describe("plain HTTP to a port of TLS", () => {
  it("is no mistake of the caller and is not repeated", () => {
    for (const said of [
      "Client sent an HTTP request to an HTTPS server.",
      page("400 The plain HTTP request was sent to HTTPS port")
    ]) {
      assert.deepStrictEqual(verdict(respond(400, said)), ["ServerError", false, true, "rejected"])
    }
  })
})

describe("an XML document", () => {
  it("is an error by its code", () => {
    const of = (status: number, body: string) => respond(status, body, { "content-type": "application/xml" })
    assert.strictEqual(of(503, "<Error><Code>SlowDown</Code><Message>Reduce</Message></Error>")._tag, "Overloaded")
    assert.strictEqual(
      of(400, "<ErrorResponse><Error><Code>Throttling</Code></Error></ErrorResponse>")._tag,
      "RateLimited"
    )
    assert.strictEqual(of(400, "<?xml version='1.0'?><Error><Code>Bad</Code></Error>")._tag, "InvalidRequest")
  })

  it("is an error by the name of the document", () => {
    assert.strictEqual(respond(400, "<ThrottlingException/>")._tag, "RateLimited")
  })
})

describe("other text that begins with <", () => {
  it("is the message", () => {
    const text = "<urlopen error [Errno 111] Connection refused>"
    assert.strictEqual(respond(500, text).message, text)
  })
})

describe("a status that comes again at each attempt", () => {
  it("is not retried and may fall back", () => {
    for (const status of [501, 505, 510, 511, 526, 300, 301, 302, 303, 304, 307, 308]) {
      const [tag, retry, fallback] = verdict(respond(status, ""))
      assert.deepStrictEqual(
        [tag, retry, fallback],
        [status < 400 ? "ConnectionError" : "ServerError", false, true],
        String(status)
      )
    }
    assert.isTrue(LlmError.isRetryable(respond(525, "")))
  })

  it("does not outrank a code", () => {
    assert.isTrue(LlmError.isRetryable(respond(501, { error: { code: "overloaded_error" } })))
  })

  it("names the place of a redirect, without its query and without secrets", () => {
    const location = "https://user:pass-123456@login.test/a/sk-abcdefghijkl?key=secret-value#top"
    const error = respond(302, page("302 Found"), { location })
    assert.strictEqual(error.message, "302 redirects to https://…login.test/a/sk-…")
    assert.strictEqual(respond(302, page("302 Found")).message, "302 Found")
    assert.strictEqual(respond(302, "").message, "302 redirect")
  })
})
