import { writeFileSync } from "node:fs"
import { join } from "node:path"
import * as SqlClient from "@effect/sql/SqlClient"
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Scope } from "effect"
import * as CallLogLibsql from "effect-steadfast/observability/CallLogLibsql"
import { Fault, FaultyProvider, Reply } from "effect-steadfast/testing"
import { ask, type Fleet, fleet, type Heard } from "./fleet.js"

const admin = "sk-admin-77aa01bc9f"
const keys = { open: "sk-open-1", rate: "sk-rate-2", slots: "sk-slots-3", money: "sk-money-4", slow: "sk-slow-5" }

const once = "retry: { maxAttempts: 1 }"

const head = (drain: string) => `
server: { adminKey: ${admin}, drain: ${drain}, rememberFailures: 10 seconds }
keys:
  - { name: open, key: ${keys.open} }
  - { name: rate, key: ${keys.rate}, requestsPerMinute: 5 }
  - { name: slots, key: ${keys.slots}, maxConcurrent: 3 }
  - { name: money, key: ${keys.money}, usdPerDay: 0.0105 }
  - { name: slow, key: ${keys.slow}, maxConcurrent: 8, usdPerDay: 1 }
prices:
  first/paid: { input: 0, output: 100 }
  first/slow: { input: 0, output: 100 }
`

const fileOf = (first: string, limited: string, more = "") => `${head("5 seconds")}
observability: { callLog: "{folder}/calls.db", logFormat: json }
providers:
  first: { kind: openai, baseUrl: "${first}/v1", key: sk-first }
  limited: { kind: openai, baseUrl: "${limited}/v1", key: sk-limited, limits: { requests: { limit: 10, window: 1 second } } }
  told: { kind: openai, baseUrl: "${limited}/v1", key: sk-told }
models:
  ok: { targets: [first/ok] }
  slow: { targets: [first/slow] }
  paid: { targets: [first/paid] }
  # An attempt that the deadline ends says nothing of its target: on a busy machine one takes most of a second.
  down: { targets: [first/down], deadline: 1500 millis, ${once} }
  broken: { targets: [first/broken], ${once} }
  limited: { targets: [limited/any] }
  paused: { targets: [told/paused] }
${more}`

const ten = "one two three four five six seven eight nine ten"

const running = Scope.make().pipe(Effect.runSync)

const first = Effect.runSync(
  Effect.cached(
    FaultyProvider.serve({
      script: [Reply.text("hello")],
      rules: [
        { model: "slow", script: [Fault.slowTokens("60 millis", Reply.text(ten))] },
        { model: "paid", script: [Reply.text(ten)] },
        { model: "down", script: [Fault.status(500)] },
        { model: "broken", script: [Fault.status(500)] }
      ]
    }).pipe(Scope.extend(running))
  )
)

const limited = Effect.runSync(
  Effect.cached(
    FaultyProvider.serve({
      script: [Reply.text("hello")],
      rules: [{ model: "paused", script: [Fault.rateLimited({ retryAfter: "1500 millis" }), Reply.text("hello")] }],
      // A little more than the file says: a place may be used a moment late.
      limits: { requests: { limit: 13, window: "1 second" } }
    }).pipe(Scope.extend(running))
  )
)

const chat = (model: string, seed: number, more: object = {}) => ({
  model,
  seed,
  messages: [{ role: "user", content: "say hello" }],
  ...more
})

/** Waits until something is so. */
const eventually = (what: string, found: Effect.Effect<boolean>): Effect.Effect<void> =>
  Effect.gen(function* () {
    for (let tries = 0; tries < 200; tries++) {
      if (yield* found) return
      yield* Effect.sleep("50 millis")
    }
    assert.fail(what)
  })

interface Status {
  readonly running: number
  readonly workers: ReadonlyArray<{ readonly pid: number; readonly running: number }>
  readonly clients: ReadonlyArray<{ readonly name: string; readonly running: number; readonly usdToday?: number }>
  readonly callLog: { readonly written: number; readonly lost: number }
  readonly models: ReadonlyArray<{ readonly name: string; readonly readyInMillis: number | null }>
  readonly live: {
    readonly circuits: ReadonlyArray<{ readonly key: string; readonly state: string }>
    readonly queues: ReadonlyArray<{ readonly key: string; readonly inFlight: number }>
  }
}

const statusOf = ({ url }: Fleet): Effect.Effect<Status> =>
  Effect.map(ask(url, "/status", undefined, admin), ({ body }) => JSON.parse(body) as Status)

const clientOf = (fleet: Fleet, name: string) =>
  Effect.map(statusOf(fleet), ({ clients }) => clients.find((client) => client.name === name))

const times = (size: number): ReadonlyArray<number> => Array.from({ length: size }, (_, index) => index)

const statuses = (heard: ReadonlyArray<Heard>): Readonly<Record<number, number>> => {
  const all: Record<number, number> = {}
  for (const { status } of heard) all[status] = (all[status] ?? 0) + 1
  return all
}

/** Requests at a provider for a model. */
const requestsOf = (provider: FaultyProvider.Served, model: string) =>
  Effect.map(provider.requests, (all) => all.filter((request) => request.model === model))

let shared: Fleet
let other: Fleet

beforeAll(
  () =>
    Effect.gen(function* () {
      const urls = [(yield* first).url, (yield* limited).url] as const
      const both = [fleet(fileOf(...urls), 3), fleet(fileOf(...urls), 2)]
      const [one, two] = yield* Effect.all(both, { concurrency: 2 })
      shared = one as Fleet
      other = two as Fleet
    }).pipe(Scope.extend(running), Effect.runPromise),
  60_000
)

afterAll(() => Effect.runPromise(Scope.close(running, Exit.void)))

describe("three workers are one gateway", () => {
  it.live("a circuit opens for all of them", () =>
    Effect.gen(function* () {
      const down = (seed: number) => ask(shared.url, "/v1/chat/completions", chat("down", seed), keys.open)
      const heard = [
        ...(yield* Effect.forEach(times(3), down)),
        ...(yield* Effect.forEach(times(12), (seed) => down(10 + seed), { concurrency: "unbounded" }))
      ]
      assert.isTrue(heard.every(({ status }) => status >= 500))
      const at = (yield* requestsOf(yield* first, "down")).map(({ at }) => at)
      // A slow machine may see the first probe: a second later, which jitter shortens to 800 ms at the most.
      assert.isAtLeast(at.length, 3)
      assert.isTrue(at.slice(3).every((later) => later - (at[2] ?? 0) >= 800) && at.length < 6, String(at))
      // Whichever worker tells of it, also one that has seen nothing.
      for (const { live } of yield* Effect.forEach(times(8), () => statusOf(shared))) {
        const [circuit] = live.circuits.filter(({ key }) => / down(?: |$)/.test(key))
        assert.notStrictEqual(circuit?.state ?? "Closed", "Closed", JSON.stringify(live.circuits))
      }
    })
  )

  it.live("a failed request that comes back is answered from memory, whichever worker gets it", () =>
    Effect.gen(function* () {
      const again = ask(shared.url, "/v1/chat/completions", chat("broken", 1), keys.open)
      const begun = yield* again
      assert.strictEqual(begun.status, 502)
      yield* Effect.sleep("50 millis")
      const heard = yield* Effect.forEach(times(6), () => again)
      assert.isTrue(heard.every(({ headers }) => headers["x-steadfast-remembered"] === "true"))
      assert.lengthOf(yield* requestsOf(yield* first, "broken"), 1)
    })
  )

  it.live("a key has its requests a minute once", () =>
    Effect.gen(function* () {
      const heard = yield* Effect.forEach(
        times(12),
        (seed) => ask(shared.url, "/v1/chat/completions", chat("ok", seed), keys.rate),
        { concurrency: 4 }
      )
      assert.deepStrictEqual(statuses(heard), { 200: 5, 429: 7 })
    })
  )

  it.live("a key has its places once", () =>
    Effect.gen(function* () {
      const heard = yield* Effect.forEach(
        times(10),
        (seed) => ask(shared.url, "/v1/chat/completions", chat("slow", seed, { stream: true }), keys.slots),
        { concurrency: "unbounded" }
      )
      assert.deepStrictEqual(statuses(heard), { 200: 3, 429: 7 })
      yield* eventually(
        "places are given back",
        Effect.map(clientOf(shared, "slots"), (client) => client?.running === 0)
      )
    })
  )

  it.live("a key spends its money once, to the last call that fits", () =>
    Effect.gen(function* () {
      const paid = (seed: number) =>
        ask(shared.url, "/v1/chat/completions", chat("paid", seed, { max_tokens: 10 }), keys.money)
      const heard = yield* Effect.forEach(times(30), paid, { concurrency: "unbounded" })
      const rest = yield* Effect.forEach(times(12), (seed) => paid(100 + seed))
      const all = [...heard, ...rest]
      assert.strictEqual(all.filter(({ status }) => status === 200).length, 10)
      assert.lengthOf(yield* requestsOf(yield* first, "paid"), 10)
      assert.closeTo((yield* clientOf(shared, "money"))?.usdToday ?? 0, 0.01, 1e-9)
    })
  )

  it.live("calls of all workers wait in one queue: the provider refuses none", () =>
    Effect.gen(function* () {
      const begun = performance.now()
      const heard = yield* Effect.forEach(
        times(30),
        (seed) => ask(shared.url, "/v1/chat/completions", chat("limited", seed), keys.open),
        { concurrency: "unbounded" }
      )
      assert.deepStrictEqual(statuses(heard), { 200: 30 })
      assert.isAbove(performance.now() - begun, 1800)
      const requests = yield* requestsOf(yield* limited, "any")
      assert.lengthOf(requests, 30)
      assert.isTrue(requests.every(({ limited }) => !limited))
    })
  )

  it.live("a pause that one worker is told holds for all", () =>
    Effect.gen(function* () {
      const heard = yield* Effect.forEach(
        times(6),
        (seed) =>
          Effect.delay(ask(shared.url, "/v1/chat/completions", chat("paused", seed), keys.open), seed === 0 ? 0 : 150),
        { concurrency: "unbounded" }
      )
      assert.deepStrictEqual(statuses(heard), { 200: 6 })
      const requests = yield* requestsOf(yield* limited, "paused")
      assert.lengthOf(requests, 7)
      const [refused, next] = requests.map(({ at }) => at)
      assert.isAtLeast((next ?? 0) - (refused ?? 0), 1500)
    })
  )

  it.live("each tells the metrics and the state of all", () =>
    Effect.gen(function* () {
      const calls = (text: string): number =>
        text
          .split("\n")
          .filter((line) => line.startsWith("steadfast_attempts_total{") && line.includes('"first/ok"'))
          .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(" "))), 0)
      const counts = Effect.forEach(times(6), () =>
        Effect.map(ask(shared.url, "/metrics", undefined, admin), ({ body }) => calls(body))
      )
      const [before = 0] = yield* counts
      yield* Effect.forEach(times(9), (seed) => ask(shared.url, "/v1/chat/completions", chat("ok", seed), keys.open))
      assert.deepStrictEqual(new Set(yield* counts), new Set([before + 9]))
      const status = yield* statusOf(shared)
      assert.lengthOf(new Set(status.workers.map(({ pid }) => pid)), 3)
    })
  )

  it.live("SIGTERM loses no call that was taken, and no record", () =>
    Effect.gen(function* () {
      const size = 30
      const provider = yield* first
      const before = (yield* requestsOf(provider, "slow")).length
      const load = yield* Effect.fork(
        Effect.forEach(
          times(size),
          (seed) => ask(shared.url, "/v1/chat/completions", chat("slow", seed, { stream: seed % 2 === 0 }), keys.open),
          { concurrency: "unbounded" }
        )
      )
      yield* eventually(
        "all are asked",
        Effect.map(requestsOf(provider, "slow"), (all) => all.length === before + size)
      )
      shared.signal("SIGTERM")
      const heard = yield* Fiber.join(load)
      assert.isTrue(heard.every(({ cut, status }) => status === 200 && !cut))
      assert.strictEqual(yield* Effect.promise(() => shared.ended), 0, shared.said())
      assert.strictEqual((yield* ask(shared.url, "/healthz")).status, 0)
      const rows = yield* Effect.flatMap(
        SqlClient.SqlClient,
        (sql) =>
          sql<{
            readonly name: string
            readonly n: number
          }>`SELECT name, count(*) AS n FROM steadfast_calls GROUP BY name`
      ).pipe(Effect.provide(CallLogLibsql.client(join(shared.folder, "calls.db"))), Effect.orDie)
      assert.deepStrictEqual(Object.fromEntries(rows.map(({ n, name }) => [name, n])), {
        down: 15,
        broken: 1,
        ok: 14,
        slow: 33,
        paid: 42,
        limited: 30,
        paused: 6
      })
    })
  )
})

describe("a worker that is killed", () => {
  it.live("takes no other with it, comes back, and its places and money are given back", () =>
    Effect.gen(function* () {
      const slow = (seed: number) =>
        ask(other.url, "/v1/chat/completions", chat("slow", seed, { stream: true, max_tokens: 10 }), keys.slow)
      const before = yield* statusOf(other)
      const provider = yield* first
      const asked = (yield* requestsOf(provider, "slow")).length
      const load = yield* Effect.fork(Effect.forEach(times(8), slow, { concurrency: "unbounded" }))
      // Each has taken its money by then.
      yield* eventually(
        "all run",
        Effect.map(requestsOf(provider, "slow"), (all) => all.length === asked + 8)
      )
      const [victim] = before.workers
      // New connections meanwhile: some may be broken off, none hangs.
      const others = yield* Effect.fork(
        Effect.forEach(times(60), (seed) => ask(other.url, "/v1/chat/completions", chat("ok", seed), keys.open), {
          concurrency: 6
        })
      )
      yield* Effect.sleep("50 millis")
      process.kill(victim?.pid ?? 0, "SIGKILL")
      const heard = yield* Fiber.join(load)
      // The system gave each worker some of them, or all to one: what is not whole is broken off, and not ended.
      assert.isTrue(heard.every(({ body, cut }) => cut || body.includes("[DONE]")))
      // What was under way with the dead worker may have been billed.
      yield* eventually(
        "its places are free, and its money counts",
        Effect.map(clientOf(other, "slow"), (client) => client?.running === 0 && client.usdToday === 0.008)
      )
      const { live } = yield* statusOf(other)
      assert.isTrue(live.queues.every(({ inFlight }) => inFlight === 0))
      assert.isTrue((yield* Fiber.join(others)).filter(({ status }) => status === 200).length > 40)
      const rest = yield* Effect.forEach(times(10), (seed) =>
        ask(other.url, "/v1/chat/completions", chat("ok", seed), keys.open)
      )
      assert.deepStrictEqual(statuses(rest), { 200: 10 })
      yield* eventually(
        "another worker comes",
        Effect.map(
          statusOf(other),
          ({ workers }) => workers.length === 2 && workers.every(({ pid }) => pid !== victim?.pid)
        )
      )
      assert.include(other.said(), `worker ${victim?.pid} was ended by SIGKILL`)
      const again = yield* Effect.forEach(times(8), (seed) => slow(100 + seed), { concurrency: "unbounded" })
      assert.deepStrictEqual(statuses(again), { 200: 8 })
    })
  )
})

describe("a reload", () => {
  it.live("reaches all workers, and a bad file none", () =>
    Effect.gen(function* () {
      const urls = [(yield* first).url, (yield* limited).url] as const
      const has = (name: string) =>
        Effect.map(
          Effect.forEach(times(6), () => ask(other.url, "/v1/models", undefined, keys.open)),
          (all) => all.filter(({ body }) => body.includes(`"${name}"`)).length
        )
      const put = (more: string) =>
        writeFileSync(other.file, fileOf(...urls, more).replaceAll("{folder}", other.folder))
      put("  fresh: { targets: [first/ok] }\n")
      other.signal("SIGHUP")
      yield* eventually(
        "all know the new model",
        Effect.map(has("fresh"), (count) => count === 6)
      )
      put("  stale: { targets: [nobody/ok] }\n")
      other.signal("SIGHUP")
      yield* eventually(
        "it is told",
        Effect.sync(() => other.said().includes("not reloaded"))
      )
      assert.strictEqual(yield* has("fresh"), 6)
      assert.strictEqual(yield* has("stale"), 0)
    })
  )
})
