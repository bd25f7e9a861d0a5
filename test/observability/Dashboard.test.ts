import { gzipSync } from "node:zlib"
import * as HttpApp from "@effect/platform/HttpApp"
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServer from "@effect/platform/HttpServer"
import type * as SqlClient from "@effect/sql/SqlClient"
import { describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { assert } from "vitest"
import { CallRecord } from "../../src/calls/CallRecord.js"
import { migrate } from "../../src/observability/CallLog.js"
import * as CallReport from "../../src/observability/CallReport.js"
import * as Dashboard from "../../src/observability/Dashboard.js"
import { load } from "../../src/observability/DashboardAssets.js"
import type { Latest, Overview, Whole } from "../../src/observability/DashboardQuery.js"
import type { Bucket } from "../../src/observability/DashboardSeries.js"
import * as DashboardServer from "../../src/observability/DashboardServer.js"
import { collectLogs } from "../support/evidence.js"
import { database, scripted } from "./Dashboard.support.js"

/** Asks the routes below `/ops/llm`, without a socket. */
const client = Effect.gen(function* () {
  const app = HttpRouter.empty.pipe(HttpRouter.mount("/ops/llm", Dashboard.routes))
  const handler = HttpApp.toWebHandlerRuntime(yield* Effect.runtime<SqlClient.SqlClient>())(app)
  return (path: string, init?: RequestInit) =>
    Effect.promise(() => handler(new Request(new URL(path, "http://test/ops/llm/"), init)))
})

const json = <A>(response: Response): Effect.Effect<A> => Effect.promise(() => response.json())

const read = <A>(path: string) =>
  Effect.gen(function* () {
    const response = yield* Effect.flatMap(client, (ask) => ask(path))
    assert.strictEqual(response.status, 200, path)
    return yield* json<A>(response)
  })

/** As JSON has it. */
const plain = (value: unknown): unknown => JSON.parse(JSON.stringify(value))

const sum = (buckets: ReadonlyArray<Bucket>, of: (bucket: Bucket) => number) =>
  buckets.reduce((all, bucket) => all + of(bucket), 0)

describe("api/overview", () => {
  it.live("returns the figures of CallReport", () =>
    Effect.gen(function* () {
      yield* scripted
      for (const range of ["1h", "24h", "7d", "30d"]) {
        const { buckets, lost, since, targets, totals, until } = yield* read<Overview>(`api/overview?range=${range}`)
        const report = yield* CallReport.report({ by: "target", since, until })
        assert.deepStrictEqual(plain(targets), plain(report.rows), range)
        const { from, to, ...counted } = lost
        assert.deepStrictEqual(counted, report.lost)
        assert.strictEqual(from, to)
        assert(from !== undefined && from > since && from < until)
        assert.strictEqual(lost.records, 3)
        const calls = range === "1h" || range === "24h" ? 6 : 7
        assert(totals !== undefined)
        assert.strictEqual(totals.calls, calls)
        assert.strictEqual(
          totals.succeeded,
          report.rows.reduce((all, row) => all + row.succeeded, 0)
        )
        assert.deepStrictEqual(totals.handoffs, [
          { from: "openai/gpt", to: "anthropic/claude", reason: "RateLimited", count: 1 }
        ])
        assert.deepStrictEqual(totals.backoffMillis, { p50: 0, p95: 1500, p99: 1500 })
        assert.strictEqual(
          sum(buckets, (bucket) => bucket.calls),
          calls
        )
        assert.strictEqual(
          sum(buckets, (bucket) => bucket.failed),
          totals.failed
        )
        const byError = yield* CallReport.report({ by: "error", since, until })
        for (const { calls, group } of byError.rows.filter((row) => row.group !== "none")) {
          assert.strictEqual(
            sum(buckets, ({ errors }) => errors[group] ?? 0),
            calls,
            group
          )
        }
      }
    }).pipe(Effect.provide(database))
  )

  it.live("puts each call into its part of the time, of which there are 200 at most", () =>
    Effect.gen(function* () {
      const records = yield* scripted
      for (const range of ["1h", "24h", "7d", "30d"]) {
        const { bucketMillis, buckets, since, until } = yield* read<Overview>(`api/overview?range=${range}`)
        assert.isAtMost((until - since) / bucketMillis, 200)
        assert.strictEqual(since % bucketMillis, 0)
        const expected = records
          .map(({ startedAt }) => Math.floor(startedAt / bucketMillis) * bucketMillis)
          .filter((at) => at >= since)
        assert.deepStrictEqual(
          buckets.map(({ at }) => at),
          [...new Set(expected)].sort((a, b) => a - b)
        )
      }
    }).pipe(Effect.provide(database))
  )

  it.live("tells apart what was said of first attempts, of later ones, and of calls that nothing served", () =>
    Effect.gen(function* () {
      yield* scripted
      const { again, scales } = yield* read<Overview>("api/overview")
      assert.deepStrictEqual(
        scales.map(({ kind, name, normal, retried, unserved }) => [
          ...[name, kind],
          ...[normal, retried, unserved].map(({ count, yes }) => `${yes}/${count}`)
        ]),
        [
          ["escalated", "escalated", "0/0", "1/1", "0/0"],
          ["judge", "judge", "1/1", "1/1", "0/0"],
          ["stars", "score", "1/1", "0/0", "0/0"],
          ["thumbs", "thumbs", "1/1", "1/2", "0/1"]
        ]
      )
      // Not from 0 to 1: the interval is made for those.
      assert.isUndefined(scales[2]?.normal.interval)
      assert.strictEqual(scales[2]?.normal.mean, 4)
      assert.isDefined(scales[1]?.normal.interval)
      assert.deepStrictEqual(
        again.map(({ calls, failed, later, target }) => [target, calls, later, failed]),
        [
          ["openai/gpt", 3, 2, 0],
          ["anthropic/claude", 1, 0, 1],
          ["vllm/llama <b>&amp;", 1, 0, 0]
        ]
      )
      const filtered = yield* read<Overview>("api/overview?label.tenant=globex")
      assert.deepStrictEqual(
        filtered.scales.map(({ name }) => name),
        ["judge", "thumbs"]
      )
    }).pipe(Effect.provide(database))
  )

  it.live("counts what the filters let through, and offers what there is", () =>
    Effect.gen(function* () {
      yield* scripted
      const calls = (query: string) =>
        Effect.map(read<Overview>(`api/overview?${query}`), ({ totals }) => totals?.calls ?? 0)
      assert.strictEqual(yield* calls("provider=openai"), 4)
      assert.strictEqual(yield* calls("provider=openai&range=7d"), 5)
      assert.strictEqual(yield* calls("model=claude"), 1)
      assert.strictEqual(yield* calls("label.tenant=globex"), 2)
      assert.strictEqual(yield* calls("label.tenant=globex&provider=openai"), 1)
      assert.strictEqual(yield* calls(`label.tenant=${encodeURIComponent("a:b=c&d")}`), 1)
      assert.strictEqual(yield* calls("label.__proto__=x"), 0)
      assert.strictEqual(yield* calls("provider=none"), 0)
      assert.strictEqual(yield* calls("provider=%00&model=%00&label.%00=%00"), 0)
      const { choices } = yield* read<Overview>("api/overview?provider=nobody")
      assert.deepStrictEqual(
        choices.targets.map(({ provider }) => provider),
        ["anthropic", "openai", "vllm"]
      )
      assert.sameMembers(
        choices.labels.map(({ value }) => value),
        ["acme", "globex", "a:b=c&d"]
      )
    }).pipe(Effect.provide(database))
  )

  it.live("tells what is unknown instead of a zero", () =>
    Effect.gen(function* () {
      yield* scripted
      const { totals } = yield* read<Overview>("api/overview?provider=vllm")
      assert.include(totals, { calls: 1, unpriced: 1, unknown: 0 })
      assert.isUndefined(totals?.normal.usdPerCall)
      assert.strictEqual((yield* read<Overview>("api/overview?model=claude")).totals?.unknown, 1)
    }).pipe(Effect.provide(database))
  )

  it.live("is empty over an empty log", () =>
    Effect.gen(function* () {
      yield* migrate
      const { buckets, targets, totals } = yield* read<Overview>("api/overview")
      assert.deepStrictEqual({ buckets, targets, totals }, { buckets: [], targets: [], totals: undefined })
      assert.deepStrictEqual(yield* read<Latest>("api/calls"), { calls: [] })
    }).pipe(Effect.provide(database))
  )
})

describe("api/calls", () => {
  it.live("lists the newest calls with their chains", () =>
    Effect.gen(function* () {
      yield* scripted
      const { calls } = yield* read<Latest>("api/calls")
      assert.deepStrictEqual(
        calls.map(({ id }) => id),
        ["fast", "retried", "handed on", "late", "unpriced", "a/b"]
      )
      assert.strictEqual(calls[2]?.chain, "gpt ✕429 → gpt ✕429 → claude ✓ 3.6 s")
      assert.isFalse("usd" in (calls[4] ?? {}))
      const failed = yield* read<Latest>("api/calls?failed=1")
      assert.deepStrictEqual(
        failed.calls.map(({ id }) => id),
        ["late", "a/b"]
      )
    }).pipe(Effect.provide(database))
  )

  it.live("returns the record of one", () =>
    Effect.gen(function* () {
      const records = yield* scripted
      const ask = yield* client
      for (const id of ["handed on", "a/b"]) {
        const found = yield* read<unknown>(`api/calls/${encodeURIComponent(id)}`)
        const record = yield* Schema.decodeUnknown(CallRecord)(found)
        assert.deepStrictEqual(plain(record), plain(records.find((one) => one.id === id)))
      }
      const said = (id: string) =>
        Effect.map(read<Whole>(`api/calls/${encodeURIComponent(id)}`), ({ feedback }) =>
          feedback.map(({ kind, name, score }) => [name, kind, score])
        )
      assert.deepStrictEqual(yield* said("handed on"), [
        ["judge", "judge", 0.5],
        ["thumbs", "thumbs", 1]
      ])
      assert.deepStrictEqual(yield* said("unpriced"), [["stars", "score", 4]])
      assert.deepStrictEqual(yield* said("a/b"), [])
      assert.strictEqual((yield* ask("api/calls/%00")).status, 404)
      const none = yield* ask("api/calls/nobody")
      assert.strictEqual(none.status, 404)
      assert.deepStrictEqual(yield* json(none), { error: "the log holds no such call" })
    }).pipe(Effect.provide(database))
  )
})

describe("wrong questions", () => {
  it.live.each([
    ["api/overview?range=2h", "range: expected 1h, 24h, 7d or 30d"],
    ["api/overview?provider=", "provider: "],
    ["api/overview?provider=a&provider=b", "provider: "],
    [`api/overview?model=${"x".repeat(257)}`, "model: "],
    ["api/overview?since=1", "since: is unexpected"],
    ["api/calls?failed=yes", "failed: "],
    ["api/calls?label.tenant=", "label.tenant: "]
  ] as ReadonlyArray<readonly [path: string, message: string]>)(
    "%s is a 400 that names the parameter",
    ([path, message]) =>
      Effect.gen(function* () {
        yield* migrate
        const response = yield* Effect.flatMap(client, (ask) => ask(path))
        assert.strictEqual(response.status, 400)
        const { error } = yield* json<{ readonly error: string }>(response)
        assert.include(error, message)
        assert.strictEqual(error.split("; ").length, 1)
      }).pipe(Effect.provide(database))
  )

  it.live("a database without a log is a 503; only the server's log tells more", () => {
    const { layer, lines } = collectLogs()
    return Effect.gen(function* () {
      const ask = yield* client
      for (const path of ["api/overview", "api/calls", "api/calls/x"]) {
        const response = yield* ask(path)
        assert.strictEqual(response.status, 503, path)
        assert.notInclude(yield* Effect.promise(() => response.text()), "steadfast_calls")
        assert.match(lines.at(-1)?.message ?? "", /^dashboard: cannot read .*steadfast_/)
      }
    }).pipe(Effect.provide(database), Effect.provide(layer))
  })
})

describe("the page", () => {
  const linked = (html: string) =>
    Array.from(html.matchAll(/(?:src|href)="(?!data:)([^"]+)"/g), ([, link = ""]) => link)

  it.live.each(["/ops/llm", "/ops/llm/", "/ops/llm?range=1h", "/ops/llm/?call=a/b"])(
    "at %s finds its script and style, which may be kept for ever",
    (path) =>
      Effect.gen(function* () {
        const ask = yield* client
        const page = yield* ask(path)
        assert.strictEqual(page.headers.get("cache-control"), "private, no-cache")
        const links = linked(yield* Effect.promise(() => page.text()))
        assert.strictEqual(links.length, 2)
        for (const link of links) {
          const asset = yield* ask(new URL(link, new URL(path, "http://test")).href)
          assert.strictEqual(asset.status, 200, link)
          assert.match(asset.headers.get("content-type") ?? "", /^text\/(?:javascript|css)/)
          assert.strictEqual(asset.headers.get("cache-control"), "public, max-age=31536000, immutable")
        }
      }).pipe(Effect.provide(database))
  )

  it.live("allows nothing inline and nothing from elsewhere", () =>
    Effect.gen(function* () {
      yield* migrate
      const ask = yield* client
      const html = yield* Effect.flatMap(ask("."), (page) => Effect.promise(() => page.text()))
      assert.notMatch(html, /<script(?![^>]* src=)|<style|\sstyle=|\son\w+=|https?:/)
      const paths = [
        ".",
        ...linked(html),
        "api/overview",
        "api/calls",
        "api/calls/x",
        "api/live",
        "api/calls?x=1",
        "assets/none.js"
      ]
      for (const path of paths) {
        const { headers } = yield* ask(path)
        assert.match(
          headers.get("content-security-policy") ?? "",
          /^default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:;/,
          path
        )
        assert.strictEqual(headers.get("x-content-type-options"), "nosniff", path)
      }
      assert.strictEqual((yield* ask("assets/none.js")).status, 404)
    }).pipe(Effect.provide(database))
  )

  it.live("is not sent again to who has it, nor are figures that did not change", () =>
    Effect.gen(function* () {
      yield* migrate
      const ask = yield* client
      for (const path of [".", "api/overview?range=30d", "api/calls"]) {
        const etag = (yield* ask(path)).headers.get("etag") ?? ""
        const same = yield* ask(path, { headers: { "if-none-match": `"other", W/${etag}` } })
        assert.strictEqual(same.status, 304, path)
        assert.strictEqual(yield* Effect.promise(() => same.text()), "")
      }
      const etag = (yield* ask("api/calls")).headers.get("etag") ?? ""
      yield* scripted
      assert.strictEqual((yield* ask("api/calls", { headers: { "if-none-match": etag } })).status, 200)
    }).pipe(Effect.provide(database))
  )

  it("is small: 32 kB of script and 5 kB of style, compressed", async () => {
    const { script, style } = await load()
    assert.isBelow(gzipSync(script).length, 32_000)
    assert.isBelow(gzipSync(style).length, 5_000)
    assert.isAbove(script.length, 20_000)
    assert.isAbove(style.length, 2_000)
  })
})

describe("DashboardServer", () => {
  it.live("answers this machine alone, and only by its own names", () =>
    Effect.gen(function* () {
      yield* migrate
      const { address } = yield* HttpServer.HttpServer
      assert.strictEqual(address._tag === "TcpAddress" && address.hostname, "127.0.0.1")
      const { request } = yield* Effect.promise(() => import("node:http"))
      const port = address._tag === "TcpAddress" ? address.port : 0
      const status = (host: string) =>
        Effect.async<number | undefined>((resume) => {
          request({ host: "127.0.0.1", port, path: "/api/calls", headers: { host } }, (response) => {
            response.resume()
            resume(Effect.succeed(response.statusCode))
          }).end()
        })
      assert.strictEqual(yield* status(`localhost:${port}`), 200)
      assert.strictEqual(yield* status(`127.0.0.1:${port}`), 200)
      assert.strictEqual(yield* status("evil.example"), 403)
      assert.strictEqual(yield* status("localhost.evil.example"), 403)
    }).pipe(Effect.provide(DashboardServer.layer({ port: 0 })), Effect.provide(database))
  )
})
