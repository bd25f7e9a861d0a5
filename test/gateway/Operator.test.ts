import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect } from "effect"
import { CallLog } from "effect-steadfast/observability"
import { Fault, FaultyProvider, Reply } from "effect-steadfast/testing"
import * as StatusText from "../../src/gateway/StatusText.js"
import * as Prometheus from "../observability/prometheus.js"
import { asking, chat, count, eventually, type Heard, isRefused, keys, stage, staged } from "./stage.js"

/** A folder that is gone afterwards. */
const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "steadfast-gateway-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
)

const pages = ["/metrics", "/status", "/dashboard/", "/dashboard"] as const

describe("who may look", () => {
  it.scopedLive("anybody at /healthz, /readyz and the front page; at the others who has the admin key", () =>
    Effect.gen(function* () {
      const { url } = yield* staged()
      for (const path of ["/healthz", "/readyz", "/"]) {
        assert.strictEqual((yield* asking(url, { path })).status, 200, path)
        assert.strictEqual((yield* asking(url, { path, method: "HEAD" })).status, 200, path)
      }
      for (const path of pages) {
        for (const headers of [
          {},
          { authorization: `Bearer ${keys.alice}` },
          { authorization: `Basic ${Buffer.from(`x:${keys.alice}`).toString("base64")}` },
          { authorization: "Basic %%%" },
          { "x-api-key": "" }
        ]) {
          const refused = yield* asking(url, { path, headers })
          assert.strictEqual(refused.status, 401, path)
          assert.match(refused.headers["www-authenticate"] ?? "", /^Basic realm=/)
        }
        for (const headers of [
          { authorization: `Bearer ${keys.admin}` },
          { "x-api-key": keys.admin },
          { authorization: `Basic ${Buffer.from(`:${keys.admin}`).toString("base64")}` },
          { authorization: `Basic ${Buffer.from(`any:${keys.admin}`).toString("base64")}` }
        ]) {
          const { status } = yield* asking(url, { path, headers })
          assert.strictEqual(status, path.startsWith("/dashboard") ? 404 : 200, path)
        }
      }
      // The admin key is for pages alone.
      assert.strictEqual((yield* asking(url, { key: keys.admin, body: chat("fast") })).status, 401)
    })
  )

  it.scopedLive("without an admin key this machine, by its own name and directly", () =>
    Effect.gen(function* () {
      const { url } = yield* stage(
        "models: { fast: { targets: [first/m1] } }\nproviders: { first: { kind: openai, baseUrl: 'http://127.0.0.1:9', key: k } }"
      )
      const { port } = new URL(url)
      for (const host of [`127.0.0.1:${port}`, `localhost:${port}`, "LOCALHOST", `[::1]:${port}`]) {
        assert.strictEqual((yield* asking(url, { path: "/status", headers: { host } })).status, 200, host)
      }
      for (const headers of [
        { host: "evil.example" },
        { host: "localhost.evil.example" },
        { host: "127.0.0.1.evil.example:4000" },
        { "x-forwarded-for": "1.2.3.4" },
        { forwarded: "for=1.2.3.4" }
      ]) {
        for (const path of ["/metrics", "/status", "/dashboard/"]) {
          assert.strictEqual((yield* asking(url, { path, headers })).status, 403, JSON.stringify(headers))
        }
        assert.strictEqual((yield* asking(url, { path: "/healthz", headers })).status, 200)
      }
    })
  )
})

describe("/readyz", () => {
  it.scopedLive("is 503 while no model takes traffic, and when the gateway stops", () =>
    Effect.gen(function* () {
      const { first, gateway, url } = yield* staged(
        { script: [Fault.unauthorized()] },
        { script: [Fault.unauthorized()] }
      )
      const ready = Effect.map(asking(url, { path: "/readyz" }), ({ body, status }) => ({
        status,
        ...JSON.parse(body)
      }))
      assert.deepInclude(yield* ready, { status: 200, ready: true, stopping: false })
      assert.strictEqual((yield* asking(url, { key: keys.alice, body: chat("fast") })).status, 500)
      const shut = yield* ready
      assert.deepInclude(shut, { status: 503, ready: false })
      assert.deepStrictEqual(
        shut.models.map(({ ready }: { readonly ready: boolean }) => ready),
        [false, false]
      )
      // Nobody is asked meanwhile, and the gateway lives.
      const asked = yield* count(first)
      assert.strictEqual((yield* asking(url, { path: "/healthz" })).status, 200)
      assert.strictEqual(yield* count(first), asked)
      gateway.stopping()
      const stops = yield* asking(url, { path: "/readyz" })
      assert.deepStrictEqual([stops.status, JSON.parse(stops.body).stopping], [503, true])
      assert.strictEqual(stops.headers.connection, "close")
    })
  )

  it.scopedLive("is 200 while one model takes traffic", () =>
    Effect.gen(function* () {
      const { url } = yield* staged({ script: [Fault.unauthorized()] })
      yield* asking(url, { key: keys.alice, body: chat("single") })
      const { body, status } = yield* asking(url, { path: "/readyz" })
      assert.strictEqual(status, 200)
      assert.deepStrictEqual(JSON.parse(body).models, [
        { name: "fast", ready: true },
        { name: "single", ready: false }
      ])
    })
  )
})

describe("/metrics", () => {
  const metrics = (url: string) =>
    Effect.map(asking(url, { path: "/metrics", key: keys.admin }), ({ body, headers }) => {
      assert.include(headers["content-type"], "text/plain; version=0.0.4")
      return Prometheus.parse(body)
    })

  it.scopedLive("has one call for each request that was asked of a model, and one attempt for each at a provider", () =>
    Effect.gen(function* () {
      const faults = [
        Fault.serverError(),
        Reply.text("a"),
        Fault.resetBeforeHeaders(),
        Reply.text("b"),
        Reply.text("c")
      ]
      const { first, second, url } = yield* staged({ script: faults, onExhausted: "cycle" })
      const sum = (all: ReturnType<typeof Prometheus.parse>, name: string): number =>
        (all.get(name)?.samples ?? [])
          .filter((sample) => sample.name === name)
          .reduce((total, { value }) => total + value, 0)
      const before = yield* metrics(url)
      const asked = Array.from({ length: 60 }, (_, index) =>
        asking(url, { key: keys.alice, body: chat("fast", { seed: index, stream: index % 3 === 0 }) })
      )
      const heard = yield* Effect.all(asked, { concurrency: 10 })
      yield* asking(url, { key: "wrong", body: chat("fast") })
      yield* asking(url, { key: keys.alice, body: "{" })
      const after = yield* metrics(url)
      const grown = (name: string): number => sum(after, name) - sum(before, name)
      assert.isTrue(heard.every(({ status }) => status === 200))
      assert.strictEqual(grown("steadfast_calls_total"), 60)
      const attempts = heard.reduce((total, { headers }) => total + Number(headers["x-steadfast-attempts"]), 0)
      assert.strictEqual(grown("steadfast_attempts_total"), (yield* count(first)) + (yield* count(second)))
      assert.strictEqual(grown("steadfast_attempts_total"), attempts)
    })
  )
})

describe("/status", () => {
  it.scopedLive("tells models, clients and circuits, and is read by the command", () =>
    Effect.gen(function* () {
      const { first, url } = yield* staged({ script: [Fault.unauthorized()] })
      yield* asking(url, { key: keys.alice, body: chat("fast") })
      yield* first.become({ script: [Fault.hang] })
      const { body } = yield* asking(url, { path: "/status", key: keys.admin })
      const found = JSON.parse(body)
      assert.deepInclude(found.models[0], { name: "fast", targets: ["first/m1", "second/m2"] })
      assert.deepInclude(found.clients[0], { name: "alice", running: 0 })
      assert.isNumber(found.uptimeSeconds)
      const text = StatusText.text(found)
      assert.include(text, "fast: ready (first/m1, second/m2)")
      assert.match(text, /circuit .*first.*: Open/)
      for (const secret of Object.values(keys)) assert.notInclude(body, secret)
    })
  )
})

describe("/dashboard", () => {
  it.scopedLive("shows the calls of the log", () =>
    Effect.gen(function* () {
      const path = join(yield* folder, "calls.db")
      const { services, url } = yield* staged(
        { script: [Fault.serverError(), Reply.text("hi")] },
        {},
        {
          rest: `observability: { callLog: "${path}" }`
        }
      )
      const heard = yield* asking(url, { key: keys.alice, body: chat("fast") })
      yield* Context.get(services, CallLog.CallLog).flush
      const moved = yield* asking(url, { path: "/dashboard", key: keys.admin })
      assert.deepStrictEqual([moved.status, moved.headers.location], [308, "/dashboard/"])
      const page = yield* asking(url, { path: "/dashboard/", key: keys.admin })
      assert.strictEqual(page.status, 200)
      assert.include(page.headers["content-type"], "text/html")
      const { body } = yield* asking(url, { path: "/status", key: keys.admin })
      assert.deepInclude(JSON.parse(body).callLog, { written: 1, lost: 0 })
      const api = `/dashboard/api/calls/${heard.headers["x-steadfast-call-id"]}`
      const call = yield* asking(url, { path: api, key: keys.admin })
      assert.strictEqual(call.status, 200, call.body)
      assert.include(call.body, "ServerError")
      assert.strictEqual((yield* asking(url, { path: api, key: keys.alice })).status, 401)
    })
  )
})

describe("one provider in all dialects", () => {
  it.scopedLive("lists models in each", () =>
    Effect.gen(function* () {
      const { url } = yield* staged({}, {}, { models: "  named: { targets: [first/m1], aliases: [other/name] }" })
      const get = (path: string) => asking(url, { path, key: keys.alice })
      const openai = JSON.parse((yield* get("/v1/models")).body)
      assert.deepStrictEqual(
        openai.data.map(({ id }: { readonly id: string }) => id),
        ["fast", "single", "named", "other/name"]
      )
      assert.strictEqual(JSON.parse((yield* get("/v1/models/other%2Fname")).body).id, "other/name")
      const gemini = JSON.parse((yield* get("/v1beta/models")).body)
      assert.strictEqual(gemini.models[0].name, "models/fast")
      assert.strictEqual((yield* get("/v1beta/models/fast")).status, 200)
      assert.strictEqual((yield* get("/v1/models/nothing")).status, 404)
      const headers = { "user-agent": "cohere-ai/8.1.0" }
      const cohere = yield* asking(url, { path: "/v1/models?endpoint=chat", key: keys.alice, headers })
      assert.deepInclude(JSON.parse(cohere.body).models[0], { name: "fast", endpoints: ["chat"] })
      const own = yield* asking(url, { path: "/v1/models/fast", key: keys.alice, headers })
      assert.strictEqual(JSON.parse(own.body).name, "fast")
      const ollama = JSON.parse((yield* get("/api/tags")).body)
      assert.deepStrictEqual(
        ollama.models.map(({ model }: { readonly model: string }) => model),
        ["fast", "single", "named", "other/name"]
      )
    })
  )

  it.scopedLive("tells Ollama's clients of a model and of their server", () =>
    Effect.gen(function* () {
      const { url } = yield* staged(
        {},
        {},
        {
          keys: `  - { name: bob, key: ${keys.bob}, models: [blind, vectors] }`,
          models: "  blind: { targets: [first/o3-mini] }\n  vectors: { kind: embeddings, targets: [first/e1] }"
        }
      )
      const show = (model: unknown, key: string = keys.bob) => asking(url, { path: "/api/show", key, body: { model } })
      const capabilities = (heard: Heard) => JSON.parse(heard.body).capabilities
      assert.deepStrictEqual(capabilities(yield* show("blind")), ["completion", "tools", "thinking"])
      assert.deepStrictEqual(capabilities(yield* show("vectors")), ["embedding"])
      assert.deepStrictEqual(capabilities(yield* show("fast", keys.alice)), [
        "completion",
        "tools",
        "vision",
        "thinking"
      ])
      for (const name of ["fast", "nothing"]) isRefused(yield* show(name), 404, "ollama")
      const wrong = yield* show(7)
      isRefused(wrong, 400, "ollama")
      assert.strictEqual(JSON.parse(wrong.body).error, "model: found a number, expected a string")
      const version = yield* asking(url, { path: "/api/version", key: keys.bob })
      assert.match(JSON.parse(version.body).version, /^\d+\.\d+\.\d+$/)
      isRefused(yield* asking(url, { path: "/api/version" }), 401, "ollama")
    })
  )
})

describe("a gateway that stops", () => {
  it.scopedLive("serves what runs to its end, within the bound", () =>
    Effect.gen(function* () {
      const words = Fault.slowTokens("40 millis", Reply.text("one two three four five six seven eight"))
      const first = yield* FaultyProvider.serve({ script: [words, Fault.stall({ tokens: 2 })] })
      const { gateway, server, url } = yield* stage(`
server: { drain: 2 seconds }
providers: { first: { kind: openai, baseUrl: "${first.url}/v1", key: k } }
models: { fast: { targets: [first/m1], retry: { maxAttempts: 1 } } }`)
      const ask = asking(url, { body: chat("fast", { stream: true }) })
      const whole = yield* Effect.fork(ask)
      yield* first.until((requests) => requests.length === 1)
      const endless = yield* Effect.fork(ask)
      yield* first.until((requests) => requests.length === 2)
      const started = performance.now()
      const draining = yield* Effect.fork(server.drain)
      yield* eventually(() => gateway.running() === 1, "the first one ends")
      const heard = yield* whole
      assert.deepStrictEqual([heard.status, heard.cut], [200, false])
      assert.include(heard.body, "[DONE]")
      yield* draining
      const took = performance.now() - started
      assert.isTrue(took > 1900 && took < 10_000, String(took))
      void endless
    })
  )
})
