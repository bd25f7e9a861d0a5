import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Command from "../../src/gateway/Command.js"
import * as Nearby from "../../src/gateway/Nearby.js"
import { asking, configOf, isRefused, stage } from "./stage.js"

describe("isForeign", () => {
  const cases: ReadonlyArray<readonly [headers: Record<string, string>, foreign: boolean]> = [
    [{ host: "127.0.0.1:4000" }, false],
    [{ host: "localhost" }, false],
    [{ host: "[::1]:4000" }, false],
    [{ host: "localhost:4000", origin: "http://localhost:3000" }, false],
    [{}, true],
    [{ host: "gateway.example" }, true],
    [{ host: "localhost.example" }, true],
    [{ host: "127.0.0.1.example:4000" }, true],
    [{ host: "127.0.0.1:4000", origin: "https://page.example" }, true],
    [{ host: "127.0.0.1:4000", origin: "http://localhost.example" }, true],
    [{ host: "127.0.0.1:4000", origin: "null" }, true]
  ]
  for (const [headers, foreign] of cases) {
    it(`${JSON.stringify(headers)}: ${foreign}`, () => assert.strictEqual(Nearby.isForeign(headers), foreign))
  }
})

describe("isSafe", () => {
  const files = { none: "", keys: "keys: [{ name: a, key: sk-a-sk-a-sk-a }]", open: "server: { open: true }" }
  const hosts = { "127.0.0.1": true, localhost: true, "[::1]": true, "0.0.0.0": false, "127.evil.example": false }
  for (const [name, text] of Object.entries(files)) {
    for (const [host, isOwn] of Object.entries(hosts)) {
      const safe = isOwn || name !== "none"
      it(`${host} with ${name}: ${safe}`, () => {
        const config = configOf(`models: { m: demo/m }\nproviders: { demo: { kind: faulty } }\n${text}\n`)
        assert.strictEqual(Command.isSafe(config, host), safe)
      })
    }
  }
})

describe("a gateway without client keys", () => {
  const config = (open: boolean) =>
    `{ models: { m: demo/m }, providers: { demo: { kind: faulty } }, server: { open: ${open} } }`
  const asked = { path: "/v1/models", headers: { host: "gateway.example", origin: "https://page.example" } }

  it.scopedLive("serves programs of this machine, and no web page", () =>
    Effect.gen(function* () {
      const { url } = yield* stage(config(false))
      assert.strictEqual((yield* asking(url, { path: "/v1/models" })).status, 200)
      const refused = yield* asking(url, asked)
      isRefused(refused, 403, "openai")
      assert.include(refused.body, "server.open")
    })
  )

  it.scopedLive("serves everybody where it is open", () =>
    Effect.gen(function* () {
      const { url } = yield* stage(config(true))
      assert.strictEqual((yield* asking(url, asked)).status, 200)
    })
  )
})
