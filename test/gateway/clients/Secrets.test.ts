import { Fault } from "effect-steadfast/testing"
import { assert, describe, it } from "vitest"
import { post } from "./asks.js"
import { clientKey, kinds, leaks, providerKeys, staged } from "./gateway.js"
import { text } from "./replies.js"

const message = `the key ${providerKeys[0]} may not do this`

/** Errors of a provider that says the key it was asked with. */
const tellTales = {
  "a bad request": Fault.badRequest({ message }),
  "a refused key": Fault.unauthorized({ message }),
  "a failure": Fault.serverError({ message, headers: { "x-request-id": providerKeys[0], "x-key": providerKeys[0] } }),
  "an error event": Fault.errorEvent("server-error", { message, afterTokens: 4, reply: text })
}

describe("keys at a gateway", () => {
  describe.each(kinds)("whose provider speaks the dialect of %s", (kind) => {
    it.each(Object.entries(tellTales))("do not come out with %s", async (_, step) => {
      for (const verbose of [false, true]) {
        for (const stream of [false, true]) {
          for (const dialect of kinds) {
            await staged({ kind, script: [step], verbose }, async (stage) => {
              // What broke off cannot be read to its end.
              await (await post(stage, dialect, stream)).text().catch(() => "")
              if (verbose) assert.include(stage.said(), "may not do this")
              assert.deepStrictEqual(await leaks(stage), [], `${dialect}, stream ${stream}, verbose ${verbose}`)
            })
          }
        }
      }
    })
  })

  it.each([
    `/v1beta/models/other:generateContent?key=${clientKey}`,
    `/v1beta/nothing?key=${clientKey}`,
    `/v1/models/other?key=${clientKey}`,
    `/healthz?key=${clientKey}`,
    `/?key=${clientKey}`
  ])("of clients in a query are not said again: %#", (path) =>
    staged({ kind: "gemini", script: [text] }, async (stage) => {
      for (const method of ["GET", "POST"]) await (await fetch(stage.url + path, { method })).text()
      assert.strictEqual(stage.heard.length, 2)
      assert.deepStrictEqual(await leaks(stage), [])
    })
  )
})
