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
    { code: "ERR_SSL_WRONG_VERSION_NUMBER" },
    { code: "ERR_SSL_UNSUPPORTED_PROTOCOL" },
    { code: "ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION" },
    { code: "ERR_SSL_PACKET_LENGTH_TOO_LONG" },
    { code: "ERR_SSL_HTTP_REQUEST" },
    { code: "ERR_TLS_INVALID_PROTOCOL_VERSION" },
    { message: "error:0A000102:SSL routines::unsupported protocol" },
    { message: "error:0A00010B:SSL routines::wrong version number" }
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
})
