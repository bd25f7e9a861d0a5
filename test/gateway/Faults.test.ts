import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Scope } from "effect"
import { Fault, FaultyProvider, Reply } from "effect-steadfast/testing"
import * as Prometheus from "../observability/prometheus.js"
import { collectGarbage } from "../observability/support.js"
import { cases, exhaustive } from "../support/cases.js"
import {
  asking,
  chat,
  count,
  dial,
  eventually,
  type Heard,
  heardOn,
  isRefused,
  keys,
  stage,
  staged,
  swift
} from "./stage.js"

/** The sum of a counter. */
const total = (url: string, name: string) =>
  Effect.map(asking(url, { path: "/metrics", key: keys.admin }), ({ body }) =>
    (Prometheus.parse(body).get(name)?.samples ?? []).reduce((sum, { value }) => sum + value, 0)
  )

const sockets = (): number => process.getActiveResourcesInfo().filter((name) => name === "TCPSocketWrap").length

/** A request as bytes. */
const line = (body: object, more = ""): string => {
  const text = JSON.stringify(body)
  return `POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nx-api-key: ${keys.alice}\r\n${more}content-length: ${Buffer.byteLength(text)}\r\n\r\n${text}`
}

/** More than the buffers of both ends take, and less than the library takes from a provider. */
const long = Reply.text("word ".repeat(2_600_000), { chunks: 4000 })

describe("clients that hang up", () => {
  it.scopedLive("at any moment leave no socket, no place, no fiber and no memory behind", () =>
    Effect.gen(function* () {
      const clients = exhaustive ? 10_000 : 2000
      const { first, gateway, lines, server, url } = yield* staged(
        {
          script: [
            Fault.slowTokens("3 millis", Reply.text("a b c d e f g h")),
            Fault.hang,
            Fault.slowHeaders("10 millis")
          ],
          onExhausted: "cycle",
          record: true
        },
        {},
        { server: ", maxConcurrent: 20000, rememberFailures: 0s" }
      )
      const wave = (size: number) =>
        Effect.forEach(
          Array.from({ length: size }, (_, index) => index),
          (index) =>
            Effect.gen(function* () {
              const socket = yield* Effect.promise(() => dial(server.port))
              const text = line(chat("fast", { stream: index % 2 === 0 }))
              // Some leave in the middle of their request.
              socket.write(index % 7 === 0 ? text.slice(0, text.length - 20) : text)
              socket.resume()
              yield* Effect.sleep(Math.random() * 30)
              if (index % 3 === 0) socket.resetAndDestroy()
              else socket.destroy()
            }),
          { concurrency: 100, discard: true }
        )
      const settled = Effect.gen(function* () {
        yield* eventually(() => gateway.running() === 0, "all requests end", 60_000)
        yield* first.until((requests) => requests.every(({ finishedAt, hungUp }) => hungUp || finishedAt !== undefined))
        // Connections to the provider are kept for the next request, as many as there were at once.
        yield* first.reset
        return collectGarbage()
      })
      const calls = yield* total(url, "steadfast_calls_total")
      const attempts = yield* total(url, "steadfast_attempts_total")
      yield* wave(clients / 4)
      const asked = yield* count(first)
      const early = yield* settled
      yield* wave(clients)
      const more = yield* count(first)
      const late = yield* settled
      assert.isBelow(late - early, 12e6)
      assert.isAtMost(sockets(), 450)
      const made = (yield* total(url, "steadfast_calls_total")) - calls
      const sent = (yield* total(url, "steadfast_attempts_total")) - attempts
      assert.isAtMost(made, (clients * 5) / 4)
      assert.isAtLeast(sent, asked + more)
      assert.isAtMost(sent, made)
      assert.deepStrictEqual(lines.filter((text) => /"logLevel":"(?:ERROR|FATAL)"/.test(text)).slice(0, 3), [])
      // It serves as before.
      yield* first.become({})
      assert.strictEqual((yield* asking(url, { key: keys.alice, body: chat("fast") })).status, 200)
    })
  )
})

describe("clients that read nothing", () => {
  it.scopedLive("are left, and the provider too", () =>
    Effect.gen(function* () {
      const { first, gateway, server } = yield* staged(
        { script: [long] },
        {},
        { server: ", readerTimeout: 500 millis" }
      )
      for (const stream of [true, false]) {
        const socket = yield* Effect.promise(() => dial(server.port))
        socket.pause().write(line(chat("fast", { stream })))
        yield* eventually(() => gateway.running() === 1, "the request runs")
        const began = performance.now()
        yield* eventually(() => gateway.running() === 0, `a reader of ${stream ? "a stream" : "an answer"} is left`)
        assert.isAbove(performance.now() - began, 450)
        socket.destroy()
      }
      yield* first.until((requests) => requests.every(({ finishedAt, hungUp }) => hungUp || finishedAt !== undefined))
    })
  )

  it.scopedLive("for a while, and then read on, miss nothing; nor do those that read all the time", () =>
    Effect.gen(function* () {
      const { server } = yield* staged({ script: [long] }, {}, { server: ", readerTimeout: 10 seconds" })
      for (const wait of [0, 300]) {
        const socket = yield* Effect.promise(() => dial(server.port))
        socket.pause().write(line(chat("fast", { stream: true }), "connection: close\r\n"))
        yield* Effect.sleep(wait)
        const text = yield* Effect.promise(() => heardOn(socket.resume()))
        assert.include(text, "[DONE]")
        assert.include(text, ": steadfast call=")
        assert.strictEqual(text.split("word").length - 1, 2_600_000)
      }
    })
  )
})

describe("a connection that is kept", () => {
  it.scopedLive("takes a slow answer after a large one, however short the patience with readers is", () =>
    Effect.gen(function* () {
      for (const more of ["", ", keepAlive: 0s"]) {
        const { server } = yield* staged(
          { script: [long, Fault.slowHeaders("900 millis")] },
          {},
          { server: `, readerTimeout: 300 millis${more}` }
        )
        const socket = yield* Effect.promise(() => dial(server.port))
        const heard = Effect.promise(() => heardOn(socket))
        const all = yield* Effect.fork(heard)
        // Both in a line.
        socket.write(line(chat("fast")) + line(chat("fast"), "connection: close\r\n"))
        const text = yield* Fiber.join(all)
        assert.strictEqual(text.split("HTTP/1.1 200 OK").length - 1, 2)
        assert.include(text.slice(-2000), "quick brown fox")
      }
    })
  )
})

describe("a stream that breaks after its first words", () => {
  it.scopedLive("ends with the error of the dialect and a connection that is broken off", () =>
    Effect.gen(function* () {
      for (const fault of [
        Fault.resetInBody({ tokens: 3 }),
        Fault.earlyEnd({ tokens: 3 }),
        Fault.errorEvent("server-error", { afterTokens: 3 })
      ]) {
        const { second, url } = yield* staged({ script: [fault] })
        const heard = yield* asking(url, { key: keys.alice, body: chat("fast", { stream: true }) })
        assert.deepStrictEqual([heard.status, heard.cut], [200, true])
        const frames = heard.body.split("\n\n").filter((frame) => frame.startsWith("data:"))
        const last = JSON.parse((frames.at(-1) ?? "").slice(5)) as { readonly error?: { readonly message: unknown } }
        assert.isString(last.error?.message, heard.body)
        assert.notInclude(heard.body, "[DONE]")
        assert.strictEqual(yield* count(second), 0)
      }
    })
  )
})

describe("requests that are none", () => {
  it.scopedLive("are told so, and hold nothing", () =>
    Effect.gen(function* () {
      const { first, gateway, server } = yield* staged(
        {},
        {},
        { server: ", maxBodyBytes: 1 MiB, requestTimeout: 1 second" }
      )
      const say = (...parts: ReadonlyArray<string>) =>
        Effect.promise(async () => {
          const socket = await dial(server.port)
          const heard = heardOn(socket)
          for (const part of parts) socket.write(part)
          return heard
        })
      const head = `POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nx-api-key: ${keys.alice}\r\n`
      const [half, silent, chunked, many, nonsense, smuggled] = yield* Effect.all(
        [
          say(line(chat("fast")).slice(0, -5)),
          say("POST /v1/chat"),
          say(`${head}transfer-encoding: chunked\r\n\r\n`, `${(2 ** 21).toString(16)}\r\n${"x".repeat(2 ** 21)}`),
          say(`${head}${Array.from({ length: 500 }, (_, index) => `x-${index}: ${"y".repeat(100)}\r\n`).join("")}\r\n`),
          say("\u0016\u0003\u0001 this is TLS or so\r\n\r\n"),
          say(`${head}transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n`)
        ],
        { concurrency: "unbounded" }
      )
      assert.match(half, /^HTTP\/1\.1 408 /)
      assert.match(silent, /^HTTP\/1\.1 408 /)
      assert.match(chunked, /^HTTP\/1\.1 413 /)
      assert.match(many, /^HTTP\/1\.1 431 /)
      assert.match(nonsense, /^HTTP\/1\.1 400 /)
      assert.match(smuggled, /^HTTP\/1\.1 400 /)
      for (const text of [half, silent, chunked, many, nonsense, smuggled]) {
        assert.include(text, "x-should-retry: false")
        assert.notInclude(text, keys.alice)
        const body = text.slice(text.indexOf("\r\n\r\n") + 4)
        assert.isString((JSON.parse(body) as { readonly error: { readonly message: unknown } }).error.message)
      }
      yield* eventually(() => gateway.running() === 0, "places are given back")
      assert.strictEqual(yield* count(first), 0)
    })
  )
})

describe("a provider that dies", () => {
  /** A provider on its own scope, which is closed and opened again on the same port. */
  const mortal = Effect.gen(function* () {
    const outer = yield* Effect.scope
    let scope = yield* Scope.fork(outer, { _tag: "Sequential" } as never)
    const options = { script: [Fault.slowTokens("2 millis", Reply.text("a b c d e"))] }
    const first = yield* Scope.extend(FaultyProvider.serve(options), scope)
    return {
      url: first.url,
      kill: Effect.suspend(() => Scope.close(scope, Exit.void)),
      rise: Effect.gen(function* () {
        scope = yield* Scope.fork(outer, { _tag: "Sequential" } as never)
        yield* Scope.extend(FaultyProvider.serve({ ...options, port: first.port }), scope)
      })
    }
  })

  const isWhole = ({ body, cut, status }: Heard): boolean =>
    status === 200 && !cut && /\[DONE\]|"finish_reason":"stop"/.test(body)

  it.scopedLive("under load costs no call where another target is there", () =>
    Effect.gen(function* () {
      const { kill, rise, url: at } = yield* mortal
      const second = yield* FaultyProvider.serve({})
      const { gateway, url } = yield* stage(`
server: { adminKey: ${keys.admin} }
providers:
  first: { kind: openai, baseUrl: "${at}/v1", key: ${keys.first} }
  second: { kind: openai, baseUrl: "${second.url}/v1", key: ${keys.second} }
models: { fast: { targets: [first/m1, second/m2], ${swift} } }`)
      const calls = yield* total(url, "steadfast_calls_total")
      const size = cases(4000, 300)
      const load = yield* Effect.fork(
        Effect.forEach(
          Array.from({ length: size }, (_, seed) => seed),
          // What has begun to stream cannot be said anew.
          (seed) => asking(url, { body: chat("fast", { seed }) }),
          { concurrency: 20 }
        )
      )
      for (let round = 0; round < 3; round++) {
        yield* Effect.sleep("150 millis")
        yield* kill
        yield* Effect.sleep("100 millis")
        yield* rise
      }
      const heard = yield* Fiber.join(load)
      assert.deepStrictEqual(
        heard
          .filter((one) => !isWhole(one))
          .map(({ body, status }) => `${status} ${body}`)
          .slice(0, 3),
        []
      )
      assert.strictEqual((yield* total(url, "steadfast_calls_total")) - calls, size)
      yield* eventually(() => gateway.running() === 0, "places are given back")
    })
  )

  it.scopedLive("and comes back serves the jobs that have waited, within their deadline", () =>
    Effect.gen(function* () {
      const { kill, rise, url: at } = yield* mortal
      const { url } = yield* stage(`
server: { adminKey: ${keys.admin} }
providers: { first: { kind: openai, baseUrl: "${at}/v1", key: ${keys.first} } }
models: { fast: { targets: [first/m1], deadline: 40 seconds } }`)
      assert.strictEqual((yield* asking(url, { body: chat("fast") })).status, 200)
      yield* kill
      const jobs = yield* Effect.fork(
        Effect.forEach(
          Array.from({ length: 20 }, (_, seed) => seed),
          (seed) => asking(url, { body: chat("fast", { seed, stream: seed % 2 === 0 }) }),
          { concurrency: "unbounded" }
        )
      )
      yield* Effect.sleep("1500 millis")
      assert.strictEqual((yield* asking(url, { path: "/healthz" })).status, 200)
      yield* rise
      const heard = yield* Fiber.join(jobs)
      assert.deepStrictEqual(
        heard
          .filter((one) => !isWhole(one))
          .map(({ body, status }) => `${status} ${body}`)
          .slice(0, 3),
        []
      )
    })
  )

  it.scopedLive("for longer than the time of the call is a 504 or 502 then, and no hang", () =>
    Effect.gen(function* () {
      const { url } = yield* stage(`
providers: { first: { kind: openai, baseUrl: "http://127.0.0.1:9/v1", key: k } }
models: { fast: { targets: [first/m1], deadline: 700 millis } }`)
      for (const stream of [true, false]) {
        const heard = yield* asking(url, { body: chat("fast", { stream }) })
        assert.include([502, 503, 504], heard.status)
        isRefused(heard, heard.status, "openai")
      }
    })
  )
})
