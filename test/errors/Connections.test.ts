import { assert, describe, it } from "@effect/vitest"
import * as Classify from "../../src/errors/Classify.js"
import * as LlmError from "../../src/errors/LlmError.js"
import { meta } from "./support.js"

const failed = (cause: object) => new TypeError("fetch failed", { cause: Object.assign(new Error(), cause) })
const of = (cause: object, stage: Classify.Stage = "before-headers") => Classify.transport(meta, failed(cause), stage)
const seen = (error: LlmError.LlmError) => [error._tag, LlmError.isRetryable(error), error.delivery]

describe("a TLS version that the sides do not share", () => {
  const faults = [
    { code: "EPROTO", message: "write EPROTO 00:error:0A00010B:SSL routines:ssl3_get_record:wrong version number" },
    { code: "ERR_SSL_UNSUPPORTED_PROTOCOL" },
    { code: "ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION" },
    { code: "ERR_TLS_INVALID_PROTOCOL_VERSION" },
    { message: "error:0A000102:SSL routines::unsupported protocol" }
  ]
  for (const fault of faults) {
    it(`${fault.code ?? fault.message} was not sent and is not retried`, () => {
      assert.deepStrictEqual(seen(of(fault)), ["ConnectionError", false, "not-sent"])
      assert.strictEqual(LlmError.fallbackOf(of(fault)), true)
    })
  }

  it("is none once the answer is read", () => {
    assert.strictEqual(of({ code: "EPROTO" }, "stream")._tag, "StreamInterrupted")
  })

  it("is none if a record breaks later, when the request may be on its way", () => {
    for (const fault of [
      { code: "ERR_SSL_SSLV3_ALERT_BAD_RECORD_MAC" },
      { code: "ERR_SSL_DECRYPTION_FAILED_OR_BAD_RECORD_MAC" },
      { code: "EPROTO", message: "write EPROTO ssl3_read_bytes:sslv3 alert bad record mac" }
    ]) {
      assert.deepStrictEqual(seen(of(fault)), ["ConnectionError", true, "unknown"], fault.code)
    }
  })
})

describe("something else than TLS", () => {
  const faults = [
    { code: "ERR_SSL_WRONG_VERSION_NUMBER" },
    { code: "ERR_SSL_PACKET_LENGTH_TOO_LONG" },
    { code: "ERR_SSL_HTTP_REQUEST" },
    { message: "error:0A00010B:SSL routines::wrong version number" },
    { message: "received corrupt message of type InvalidContentType" },
    { code: "EPROTO", message: "EPROTO: The TLS handshake failed. Does the server speak TLS on this port?" }
  ]
  it("is not retried; a proxy may have said it after the request", () => {
    for (const fault of faults) {
      assert.deepStrictEqual(seen(of(fault)), ["ConnectionError", false, "unknown"], fault.message ?? fault.code)
      assert.strictEqual(LlmError.fallbackOf(of(fault)), true)
      assert.strictEqual(of(fault, "stream")._tag, "StreamInterrupted")
    }
  })

  it("while connecting was not sent", () => {
    for (const fault of faults) {
      assert.deepStrictEqual(seen(of(fault, "connect")), ["ConnectionError", false, "not-sent"])
      assert.deepStrictEqual(seen(of({ ...fault, syscall: "connect" })), ["ConnectionError", false, "not-sent"])
    }
  })
})

describe("a reset", () => {
  const early = "Client network socket disconnected before secure TLS connection was established"

  it("while connecting was not sent", () => {
    for (const cause of [
      { code: "ECONNRESET", message: early },
      { code: "ECONNRESET", message: "connect ECONNRESET 127.0.0.1:1" },
      { code: "ECONNRESET", message: "reset", syscall: "connect" },
      { code: "UND_ERR_SOCKET", message: "other side closed", socket: { bytesWritten: 0 } }
    ]) {
      assert.deepStrictEqual(seen(of(cause)), ["ConnectionError", true, "not-sent"], cause.message)
    }
    const late = of({ code: "UND_ERR_CONNECT_TIMEOUT" })
    assert.deepInclude(late, { _tag: "Timeout", phase: "connect", delivery: "not-sent" })
  })

  it("after that may have been sent", () => {
    for (const cause of [
      { code: "ECONNRESET", message: "read ECONNRESET", syscall: "read" },
      { code: "UND_ERR_SOCKET", message: "other side closed", socket: { bytesWritten: 9 } },
      { code: "UND_ERR_SOCKET", message: "other side closed" }
    ]) {
      assert.deepStrictEqual(seen(of(cause)), ["ConnectionError", true, "unknown"], cause.message)
    }
  })

  it("that the transport knows to be of connecting was not sent", () => {
    const reset = { code: "ECONNRESET", message: "read ECONNRESET", syscall: "read" }
    assert.deepStrictEqual(seen(of(reset, "connect")), ["ConnectionError", true, "not-sent"])
    const alert = { code: "ERR_SSL_TLSV1_ALERT_INTERNAL_ERROR" }
    assert.deepStrictEqual(seen(of(alert, "connect")), ["ConnectionError", true, "not-sent"])
    assert.deepInclude(of({ name: "TimeoutError" }, "connect"), { phase: "connect", delivery: "not-sent" })
  })

  it("of Deno and Bun is read by its words", () => {
    for (const message of [
      "error sending request for url (https://x): client error (Connect): Connection reset by peer (os error 104)",
      "ECONNRESET: Unable to connect. Is the computer able to access the url?"
    ]) {
      assert.deepStrictEqual(seen(of({ message })), ["ConnectionError", true, "not-sent"], message)
    }
    for (const message of [
      "error sending request from x for y: client error (SendRequest): connection closed before message completed",
      "Connection reset by peer (os error 104)"
    ]) {
      assert.deepStrictEqual(seen(of({ message })), ["ConnectionError", true, "unknown"], message)
    }
  })
})

describe("a code that comes while connecting, and later", () => {
  const routes = ["ETIMEDOUT", "EHOSTUNREACH", "EHOSTDOWN", "ENETUNREACH", "ENETDOWN", "EPERM"]

  it("was not sent if it is of connecting", () => {
    for (const code of routes) {
      const error = of({ code, syscall: "connect", message: `connect ${code} 192.0.2.1:443` })
      const tag = code === "ETIMEDOUT" ? "Timeout" : "ConnectionError"
      assert.deepStrictEqual(seen(error), [tag, true, "not-sent"], code)
      if (error._tag === "Timeout") assert.strictEqual(error.phase, "connect")
    }
    const address = { code: "ETIMEDOUT", syscall: "connect", message: "connect ETIMEDOUT 192.0.2.1:443" }
    const several = { code: "ETIMEDOUT", errors: [address, { ...address, code: "ENETUNREACH" }] }
    assert.deepStrictEqual(seen(of(several)), ["Timeout", true, "not-sent"])
    const deno = { message: "client error (Connect): tcp connect error: Connection timed out (os error 110)" }
    assert.deepInclude(of(deno), { _tag: "Timeout", phase: "connect", delivery: "not-sent" })
  })

  it("may have been sent if it is of a connection that was made", () => {
    for (const code of [...routes, "EACCES", "EADDRNOTAVAIL"]) {
      for (const syscall of ["read", "write"]) {
        const cause = { code, syscall, message: `${syscall} ${code}` }
        assert.deepStrictEqual(seen(of(cause)), ["ConnectionError", true, "unknown"], cause.message)
        assert.strictEqual(of(cause, "stream")._tag, "StreamInterrupted", cause.message)
      }
    }
  })

  it("may have been sent if nobody says where", () => {
    for (const code of routes) assert.strictEqual(of({ code }).delivery, "unknown", code)
    for (const message of ["Connection timed out (os error 110)", "timeout of 1000ms exceeded"]) {
      assert.deepInclude(of({ message }), { _tag: "Timeout", phase: "attempt", delivery: "unknown" }, message)
    }
  })
})

describe("an alert of TLS", () => {
  const alert = (words: string) => ({
    code: "EPROTO",
    message: `write EPROTO 805C:error:0A00045C:SSL routines:ssl3_read_bytes:${words}:../deps/openssl/ssl/record/rec.c:1601`
  })

  it("about the certificate of the client refuses a request that may have come", () => {
    for (const cause of [
      { code: "ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED" },
      { code: "ERR_SSL_SSLV3_ALERT_BAD_CERTIFICATE" },
      { code: "ERR_SSL_TLSV1_ALERT_UNKNOWN_CA" },
      alert("tlsv13 alert certificate required"),
      { message: "received fatal alert: CertificateRequired" }
    ]) {
      assert.deepStrictEqual(seen(of(cause)), ["ConnectionError", false, "rejected"], cause.message)
      assert.strictEqual(LlmError.fallbackOf(of(cause)), true)
      assert.deepStrictEqual(seen(of(cause, "connect")), ["ConnectionError", false, "not-sent"], cause.message)
    }
  })

  it("that ends a handshake was not sent", () => {
    for (const cause of [
      alert("tlsv1 alert protocol version"),
      alert("sslv3 alert handshake failure"),
      { code: "ERR_SSL_TLSV1_UNRECOGNIZED_NAME" },
      { message: "client error (Connect): received fatal alert: ProtocolVersion" },
      { message: "client error (Connect): received corrupt message of type InvalidContentType" }
    ]) {
      assert.deepStrictEqual(seen(of(cause)), ["ConnectionError", false, "not-sent"], cause.message)
    }
  })

  it("that comes at any time may have been sent", () => {
    for (const cause of [
      { code: "ERR_SSL_TLSV1_ALERT_INTERNAL_ERROR" },
      { code: "ERR_SSL_SSLV3_ALERT_UNEXPECTED_MESSAGE" },
      alert("tlsv1 alert internal error"),
      alert("sslv3 alert bad record mac")
    ]) {
      assert.deepStrictEqual(seen(of(cause)), ["ConnectionError", true, "unknown"], cause.code)
    }
  })
})

describe("an answer that is no HTTP", () => {
  it("came from a server, whatever it says of headers", () => {
    for (const cause of [
      { code: "HPE_INVALID_HEADER_TOKEN", message: "Parse Error: Invalid header value char" },
      { name: "HTTPParserError", message: "Response does not match the HTTP/1.1 protocol (Invalid header token)" },
      { message: "client error (SendRequest): invalid HTTP header parsed" },
      { code: "Malformed_HTTP_Response" }
    ]) {
      assert.deepStrictEqual(seen(of(cause)), ["ConnectionError", true, "unknown"], cause.message)
      assert.strictEqual(of(cause, "stream")._tag, "StreamInterrupted")
    }
  })
})

describe("an address or a header that the client refuses", () => {
  it("was not sent; another target may serve the request", () => {
    for (const cause of [
      { message: "bad port" },
      { message: "Fetch failed: Requests to port 6000 are blocked" },
      { code: "ERR_INVALID_CHAR", message: 'Invalid character in header content ["authorization"]' },
      { code: "ERR_INVALID_URL", message: "Invalid URL" }
    ]) {
      assert.deepStrictEqual(seen(of(cause)), ["InvalidRequest", false, "not-sent"], cause.message)
      assert.strictEqual(LlmError.fallbackOf(of(cause)), true)
    }
  })
})
