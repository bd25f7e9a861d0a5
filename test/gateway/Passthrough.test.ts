import { createHash, randomBytes } from "node:crypto"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { cases } from "../support/cases.js"
import { json, provider } from "./origin.js"
import { asking, dial, errorOf, eventually, isRefused, keys, stage } from "./stage.js"

const gateway = (url: string, more = "") =>
  stage(`
server: { readerTimeout: 400 millis }
providers: { first: { kind: openai, baseUrl: "${url}", key: ${keys.first} } }
keys:
  - { name: alice, key: ${keys.alice} }
  - { name: bob, key: ${keys.bob}, models: [fast] }
models: { fast: first/m1, other: first/m2 }
${more}`)

describe("passthrough", () => {
  it.scopedLive("hands a request on with our key, and the answer back", () =>
    Effect.gen(function* () {
      const { heard, url } = yield* provider(() =>
        json(200, { id: "f-1" }, { "x-ratelimit-remaining-requests": "9", "set-cookie": "a=b", server: "theirs" })
      )
      const { gateway: made, url: at } = yield* gateway(url)
      const headers = {
        "x-steadfast-label-a": "b",
        "openai-beta": "v2",
        cookie: "c",
        "x-forwarded-for": "1.2.3.4",
        "openai-organization": "theirs"
      }
      const list = yield* asking(at, { path: `/v1/files?limit=2&key=${keys.alice}`, key: keys.alice, headers })
      assert.deepStrictEqual([list.status, list.body], [200, '{"id":"f-1"}'])
      assert.strictEqual(list.headers["x-ratelimit-remaining-requests"], "9")
      assert.isString(list.headers["x-request-id"])
      assert.notProperty(list.headers, "set-cookie")
      const body = { model: "fast", input: "no harm", extra: [1, 2] }
      yield* asking(at, { path: "/openai/v1/moderations", key: keys.alice, body })
      yield* asking(at, { path: "/v1/files/f-1", key: keys.alice, method: "DELETE" })
      assert.deepStrictEqual(
        heard.map(({ method, url }) => `${method} ${url}`),
        ["GET /v1/files?limit=2", "POST /v1/moderations", "DELETE /v1/files/f-1"]
      )
      assert.deepStrictEqual(JSON.parse(String(heard[1]?.body)), { ...body, model: "m1" })
      for (const request of heard) {
        assert.strictEqual(request.headers.authorization, `Bearer ${keys.first}`)
        assert.notInclude(JSON.stringify([request.headers, request.url]), keys.alice)
        for (const name of ["cookie", "x-forwarded-for", "x-steadfast-label-a", "openai-organization"])
          assert.notProperty(request.headers, name)
      }
      assert.strictEqual(heard[0]?.headers["openai-beta"], "v2")
      yield* eventually(() => made.running() === 0, "places are given back")
    })
  )

  it.scopedLive("leads nowhere else, whatever stands in the path", () =>
    Effect.gen(function* () {
      const { heard, url } = yield* provider(() => json(200, {}))
      const { url: at } = yield* gateway(url)
      for (const path of [
        "/v1/files/../models",
        "/v1/files/%2e%2e/organization/keys",
        "/v1/files/..\\..\\x",
        "/v1/files/.%2E/x"
      ]) {
        isRefused(yield* asking(at, { path, key: keys.alice }), 404, "openai")
      }
      assert.lengthOf(heard, 0)
    })
  )

  it.scopedLive("hands nothing on that costs what nobody can count, for a client whose money is limited", () =>
    Effect.gen(function* () {
      const { heard, url } = yield* provider(() => json(200, {}))
      const { url: at } = yield* stage(`
providers: { first: { kind: openai, baseUrl: "${url}", key: ${keys.first} } }
keys: [{ name: bob, key: ${keys.bob}, usdPerDay: 5 }]
models: { fast: first/m1 }`)
      const body = { model: "some-model", prompt: "x" }
      for (const path of ["/v1/images/generations", "/v1/audio/speech", "/v1/rerank", "/v1/batches", "/batches/"]) {
        const refused = yield* asking(at, { path, key: keys.bob, body })
        isRefused(refused, 403, "openai")
        assert.strictEqual(errorOf(refused).code, "no_price")
      }
      assert.lengthOf(heard, 0)
      for (const path of ["/v1/files", "/v1/moderations", "/v1/batches/b-1/cancel"]) {
        assert.strictEqual((yield* asking(at, { path, key: keys.bob, body })).status, 200, path)
      }
      assert.strictEqual((yield* asking(at, { path: "/v1/batches", key: keys.bob })).status, 200)
      assert.lengthOf(heard, 4)
    })
  )

  it.scopedLive("hands on no header that is for a gateway", () =>
    Effect.gen(function* () {
      const { heard, url } = yield* provider(() => json(200, {}))
      const { url: at } = yield* gateway(url, "")
      const headers = {
        "x-portkey-api-key": keys.alice,
        "x-portkey-aws-secret-access-key": "secret",
        "x-steadfast-max-attempts": "1",
        "x-own": "kept"
      }
      const response = yield* Effect.promise(() => fetch(`${at}/v1/files`, { headers }))
      assert.strictEqual(response.status, 200)
      assert.strictEqual(heard[0]?.headers["x-own"], "kept")
      assert.notMatch(JSON.stringify(heard[0]?.headers), /portkey|steadfast|secret/)
      assert.notInclude(JSON.stringify(heard[0]?.headers), keys.alice)
    })
  )

  it.scopedLive("streams an upload through, byte for byte", () =>
    Effect.gen(function* () {
      const hash = (bytes: Buffer): string => createHash("sha256").update(bytes).digest("hex")
      const { heard, url } = yield* provider(({ body }) => json(200, { sha256: hash(body) }))
      const { url: at } = yield* gateway(url, "")
      const file = randomBytes(40 * 1024 * 1024)
      const form = new FormData()
      form.set("purpose", "batch")
      form.set("file", new Blob([file]), "input.jsonl")
      const response = yield* Effect.promise(() =>
        fetch(`${at}/v1/files`, { method: "POST", body: form, headers: { authorization: `Bearer ${keys.alice}` } })
      )
      assert.strictEqual(response.status, 200)
      const found = (yield* Effect.promise(() => response.json())) as { readonly sha256: string }
      assert.strictEqual(found.sha256, hash(heard[0]?.body ?? Buffer.alloc(0)))
      assert.isTrue(heard[0]?.body.includes(file))
      assert.include(heard[0]?.headers["content-type"], "multipart/form-data; boundary=")
    })
  )

  it.scopedLive("tells a client that its upload was broken off, and does not send it again", () =>
    Effect.gen(function* () {
      let asked = 0
      const server = createServer((request) => {
        asked++
        request.once("data", () => request.socket.destroy())
      })
      yield* Effect.acquireRelease(
        Effect.async<void>((resume) => void server.listen(0, "127.0.0.1", () => resume(Effect.void))),
        () => Effect.sync(() => server.close().closeAllConnections())
      )
      const { gateway: made, url: at } = yield* gateway(`http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`)
      const headers = { "content-type": "multipart/form-data; boundary=x" }
      const heard = yield* asking(at, { path: "/v1/files", key: keys.alice, headers, body: Buffer.alloc(20_000_000) })
      isRefused(heard, 502, "openai")
      assert.strictEqual(asked, 1)
      yield* eventually(() => made.running() === 0, "the place is given back")
    })
  )

  it.scopedLive("hands bytes back as they are, also where they are packed", () =>
    Effect.gen(function* () {
      const bytes = randomBytes(3_000_000)
      const { url } = yield* provider(
        () => (response) =>
          void response.writeHead(200, { "content-type": "audio/mpeg", "content-encoding": "x-own" }).end(bytes)
      )
      const { url: at } = yield* gateway(url)
      const response = yield* Effect.promise(() =>
        fetch(`${at}/v1/audio/speech`, {
          method: "POST",
          body: "{}",
          headers: { "x-api-key": keys.alice, "content-type": "application/json" }
        })
      )
      assert.deepStrictEqual(Buffer.from(yield* Effect.promise(() => response.arrayBuffer())), bytes)
      assert.strictEqual(response.headers.get("content-encoding"), "x-own")
      assert.strictEqual(response.headers.get("content-type"), "audio/mpeg")
    })
  )

  it.scopedLive("repeats what was read, and nothing that may have had an effect", () =>
    Effect.gen(function* () {
      const { heard, url } = yield* provider((_, count) =>
        count % 2 === 1 ? (response) => void response.socket?.destroy() : json(200, {})
      )
      const { url: at } = yield* gateway(url)
      assert.strictEqual((yield* asking(at, { path: "/v1/files", key: keys.alice })).status, 200)
      assert.lengthOf(heard, 2)
      const posted = yield* asking(at, { path: "/v1/batches", key: keys.alice, body: { input_file_id: "f" } })
      isRefused(posted, 502, "openai")
      assert.lengthOf(heard, 3)
      heard.pop()
      isRefused(yield* asking(at, { path: "/v1/files/f", key: keys.alice, method: "DELETE" }), 502, "openai")
      assert.lengthOf(heard, 3)
    })
  )

  it.scopedLive("sends again what was refused because of a limit, for as many attempts as the client allows", () =>
    Effect.gen(function* () {
      const { heard, url } = yield* provider((_, count) =>
        json(count === 1 ? 429 : 200, { error: { message: "slow down" } })
      )
      const { url: at } = yield* gateway(url)
      assert.strictEqual((yield* asking(at, { path: "/v1/batches", key: keys.alice, body: {} })).status, 200)
      assert.lengthOf(heard, 2)
      heard.length = 0
      const once = { "x-steadfast-max-attempts": "1" }
      const limited = yield* asking(at, { path: "/v1/batches", key: keys.alice, body: {}, headers: once })
      isRefused(limited, 429, "openai")
      assert.lengthOf(heard, 1)
    })
  )

  it.scopedLive("ends when the client's time is over", () =>
    Effect.gen(function* () {
      const { url } = yield* provider(() => () => {})
      const { gateway: made, url: at } = yield* gateway(url)
      const headers = { "x-steadfast-timeout-ms": "100" }
      isRefused(yield* asking(at, { path: "/v1/files", key: keys.alice, headers }), 504, "openai")
      yield* eventually(() => made.running() === 0, "the place is given back")
    })
  )

  it.scopedLive("tells the client its own mistakes, and ours as ours", () =>
    Effect.gen(function* () {
      const { url } = yield* provider(({ url }) =>
        json(Number(url.split("/").at(-1)), { error: { message: `account acme, key ${keys.first}` } })
      )
      const { lines, url: at } = yield* gateway(url)
      for (const [theirs, ours] of [
        [400, 400],
        [404, 404],
        [409, 409],
        [422, 422],
        [401, 500],
        [403, 403],
        [500, 502]
      ] as const) {
        const heard = yield* asking(at, {
          path: `/v1/files/${theirs}`,
          key: keys.alice,
          headers: { "x-steadfast-max-attempts": "1" }
        })
        assert.strictEqual(heard.status, ours, String(theirs))
        if (ours !== theirs || ours === 403) {
          isRefused(heard, ours, "openai")
          assert.notInclude(heard.body, "acme")
        }
      }
      assert.notInclude(lines.join("\n"), keys.first)
    })
  )

  it.scopedLive("follows no redirect, and tells nobody where it leads", () =>
    Effect.gen(function* () {
      const other = yield* provider(() => json(200, {}))
      const { heard, url } = yield* provider(
        () => (response) => void response.writeHead(302, { location: `${other.url}/files` }).end()
      )
      const { url: at } = yield* gateway(url)
      const headers = { "x-steadfast-max-attempts": "1" }
      const told = yield* asking(at, { path: "/v1/files", key: keys.alice, headers })
      isRefused(told, 502, "openai")
      assert.notProperty(told.headers, "location")
      assert.deepStrictEqual([heard.length, other.heard.length], [1, 0])
    })
  )

  it.scopedLive("is for keys without models of their own, or names one of those", () =>
    Effect.gen(function* () {
      const { heard, url } = yield* provider(() => json(200, {}))
      const { url: at } = yield* gateway(url)
      for (const asked of [
        { path: "/v1/files" },
        { path: "/v1/audio/speech", body: { model: "other" } },
        { path: "/v1/audio/speech", body: { model: "m1" } },
        { path: "/v1/audio/speech", body: {} },
        { path: "/v1/files/f", method: "DELETE" }
      ]) {
        isRefused(yield* asking(at, { key: keys.bob, ...asked }), 403, "openai")
      }
      assert.strictEqual(
        (yield* asking(at, { key: keys.bob, path: "/v1/audio/speech", body: { model: "fast" } })).status,
        200
      )
      assert.lengthOf(heard, 1)
    })
  )

  it.scopedLive("ends with a client that leaves, or takes nothing", () =>
    Effect.gen(function* () {
      let closed = 0
      const { url } = yield* provider(() => (response) => {
        response.writeHead(200, { "content-type": "application/octet-stream" })
        const more = (): void => {
          while (!response.destroyed && response.write(Buffer.alloc(65_536))) {}
        }
        response.on("drain", more).on("close", () => closed++)
        more()
      })
      const { gateway: made, url: at } = yield* gateway(url)
      const leave = new AbortController()
      const open = (signal: AbortSignal) =>
        Effect.promise(() => fetch(`${at}/v1/files/f/content`, { signal, headers: { "x-api-key": keys.alice } }))
      yield* open(leave.signal)
      leave.abort()
      yield* eventually(() => closed === 1 && made.running() === 0, "the provider is left too")
      // This one holds its response, and reads nothing of it.
      const held = yield* open(new AbortController().signal)
      yield* eventually(() => closed === 2 && made.running() === 0, "a reader that takes nothing is left")
      assert.strictEqual(held.status, 200)
    })
  )

  it.scopedLive("leaves nothing at the provider for clients that hang up at any moment", () =>
    Effect.gen(function* () {
      let open = 0
      const { heard, url } = yield* provider(() => (response) => {
        open++
        response.on("close", () => open--)
        setTimeout(() => {
          response.writeHead(200, { "content-type": "audio/mpeg" }).write(Buffer.alloc(1000))
          setTimeout(() => response.end(Buffer.alloc(100_000)), 5)
        }, Math.random() * 10)
      })
      const { gateway: made, server } = yield* gateway(url)
      yield* Effect.forEach(
        Array.from({ length: cases(5000, 300) }, (_, index) => index),
        (index) =>
          Effect.gen(function* () {
            const socket = yield* Effect.promise(() => dial(server.port))
            const upload = `POST /v1/files HTTP/1.1\r\nhost: x\r\nx-api-key: ${keys.alice}\r\ncontent-length: 3000000\r\n\r\n`
            const download = `GET /v1/files/f HTTP/1.1\r\nhost: x\r\nx-api-key: ${keys.alice}\r\n\r\n`
            socket.resume().write(index % 3 === 0 ? upload : download)
            if (index % 3 === 0) socket.write(Buffer.alloc(500_000))
            yield* Effect.sleep(Math.random() * 20)
            socket.destroy()
          }),
        { concurrency: 50, discard: true }
      )
      yield* eventually(() => made.running() === 0 && open === 0, "all are left")
      assert.isAbove(heard.length, 0)
    })
  )
})
