import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as SqlClient from "@effect/sql/SqlClient"
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Redacted } from "effect"
import { CallLog } from "effect-steadfast/observability"
import * as ProviderKey from "../../src/gateway/ProviderKey.js"
import { json, provider } from "./origin.js"
import { asking, isRefused, keys, stage, swift } from "./stage.js"

const clients = ["alice", "bob", "carol", "dave", "erin", "frank"]

const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "steadfast-keys-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
)

const keyOf = (headers: { readonly authorization?: string | undefined }): string =>
  (headers.authorization ?? "").replace("Bearer ", "")

/** A provider with two keys, of which those in `refused` are answered so. */
const staged = (refused: Map<string, number>) =>
  Effect.gen(function* () {
    const path = join(yield* folder, "calls.db")
    const { heard, url } = yield* provider(({ headers }) => {
      const status = refused.get(keyOf(headers)) ?? 200
      return json(status, status === 200 ? { ok: true } : { error: { message: "no" } })
    })
    const made = yield* stage(`
providers: { first: { kind: openai, baseUrl: "${url}", keys: [${keys.first}, ${keys.second}] } }
keys: [${clients.map((name) => `{ name: ${name}, key: sk-${name} }`).join(", ")}]
models: { fast: { targets: [first/m1], ${swift} } }
observability: { callLog: "${path}" }`)
    const ask = (client: string, path: string, more: object = {}) =>
      Effect.gen(function* () {
        heard.length = 0
        const answer = yield* asking(made.url, { path, key: `sk-${client}`, ...more })
        return { ...answer, keys: heard.map(({ headers }) => keyOf(headers)) }
      })
    const attempts = Effect.gen(function* () {
      yield* Context.get(made.services, CallLog.CallLog).flush
      const sql = Context.get(made.services, SqlClient.SqlClient)
      return yield* sql<{ readonly key_hash: string | null; readonly outcome: string; readonly operation: string }>`
        SELECT * FROM steadfast_attempts ORDER BY started_at`
    }).pipe(Effect.orDie)
    return { ...made, ask, attempts }
  })

describe("the key of a request that is handed on", () => {
  it.scopedLive("is the client's own where an account stores something", () =>
    Effect.gen(function* () {
      const refused = new Map<string, number>()
      const { ask } = yield* staged(refused)
      const used = new Map<string, string>()
      for (const client of clients) {
        for (const [path, more] of [
          ["/v1/files", { body: "x", headers: { "content-type": "text/plain" } }],
          ["/v1/files?limit=2", {}],
          ["/v1/files/f-1", { method: "DELETE" }],
          ["/v1/uploads/u-1/parts", { body: Buffer.alloc(2_000_000), headers: { "content-type": "x/y" } }],
          ["/v1/batches", { body: { input_file_id: "f-1" } }]
        ] as const) {
          const heard = yield* ask(client, path, more)
          assert.strictEqual(heard.status, 200)
          assert.lengthOf(heard.keys, 1)
          assert.strictEqual(heard.keys[0], used.get(client) ?? heard.keys[0], path)
          used.set(client, heard.keys[0] as string)
        }
      }
      assert.strictEqual(new Set(used.values()).size, 2, "clients share the keys")
      // Another account has not got it: it is not asked.
      refused.set(used.get("alice") as string, 401)
      const broken = yield* ask("alice", "/v1/files/f-1")
      isRefused(broken, 500, "openai")
      assert.deepStrictEqual(broken.keys, [used.get("alice")])
    })
  )

  for (const [status, name] of [
    [401, "refused"],
    [429, "over its limit"]
  ] as const) {
    it.scopedLive(`is another one where one is ${name}, and both attempts are recorded`, () =>
      Effect.gen(function* () {
        const refused = new Map<string, number>([[keys.first, status]])
        const { ask, attempts } = yield* staged(refused)
        let asked = 0
        for (let index = 0; index < 8; index++) {
          const heard = yield* ask("alice", "/v1/moderations", { body: { input: "x" } })
          assert.strictEqual(heard.status, 200, heard.body)
          assert.strictEqual(heard.keys.at(-1), keys.second)
          asked += heard.keys.length
        }
        assert.strictEqual(asked, 9, "a key that was refused is left alone")
        const found = yield* attempts
        assert.lengthOf(found, 9)
        assert.strictEqual(
          new Set(found.map((row) => JSON.stringify(row)).filter((row) => /failure/.test(row))).size,
          1
        )
      })
    )
  }

  it.scopedLive("is one that works where the body cannot be sent again", () =>
    Effect.gen(function* () {
      const { ask } = yield* staged(new Map([[keys.first, 401]]))
      for (let index = 0; index < 8; index++) yield* ask("alice", "/v1/moderations", { body: {} })
      const headers = { "content-type": "multipart/form-data; boundary=x" }
      for (const client of clients) {
        const heard = yield* ask(client, "/v1/audio/transcriptions", { body: Buffer.alloc(2_000_000), headers })
        assert.deepStrictEqual([heard.status, heard.keys], [200, [keys.second]])
      }
    })
  )
})

describe("indexOf", () => {
  it("moves only the clients of a new key to it", () => {
    const all = ["a", "b", "c", "d"].map((key) => Redacted.make(`sk-${key}-0123456789`))
    const three = all.slice(0, 3)
    const counts = [0, 0, 0, 0]
    for (let index = 0; index < 400; index++) {
      const before = ProviderKey.indexOf(`client-${index}`, three)
      const after = ProviderKey.indexOf(`client-${index}`, all)
      assert.isTrue(after === before || after === 3)
      counts[after] = (counts[after] ?? 0) + 1
    }
    for (const count of counts) assert.isAbove(count, 50)
  })
})
