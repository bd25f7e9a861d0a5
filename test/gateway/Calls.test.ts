import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { Fault, Reply } from "effect-steadfast/testing"
import * as Chats from "../../src/gateway/Chats.js"
import {
  asking,
  chat,
  count,
  dial,
  dialects,
  errorOf,
  eventually,
  type Heard,
  isRefused,
  keys,
  stage,
  staged,
  swift
} from "./stage.js"

/** A gateway before a provider that keeps the bytes of its requests. */
const listening = Effect.gen(function* () {
  const heard: Array<string> = []
  const server = createServer((request, response) => {
    let text = ""
    request.on("data", (chunk) => {
      text += String(chunk)
    })
    request.on("end", () => {
      heard.push(text)
      response.writeHead(500).end()
    })
  })
  yield* Effect.acquireRelease(
    Effect.async<void>((resume) => void server.listen(0, "127.0.0.1", () => resume(Effect.void))),
    () => Effect.sync(() => server.close().closeAllConnections())
  )
  const { port } = server.address() as AddressInfo
  const { url } = yield* stage(`
providers: { first: { kind: openai, baseUrl: "http://127.0.0.1:${port}/v1", key: ${keys.first} } }
keys: [{ name: alice, key: ${keys.alice} }]
models: { fast: { targets: [first/m1], retry: { maxAttempts: 1 } } }`)
  return { heard, url }
})

describe("control headers", () => {
  it.scopedLive("change attempts, fallback and time within the bounds of the model", () =>
    Effect.gen(function* () {
      // A circuit is a target's: each of them has its own.
      const bounded = (name: string, index: number) =>
        `  ${name}: { targets: [first/${name}, second/${name}], ${swift}, bounds: { maxAttempts: 2, timeout: ${index === 3 ? 400 : 60_000} millis } }`
      const { first, second, url } = yield* staged(
        { script: [Fault.serverError()] },
        {},
        { models: ["one", "most", "alone", "late"].map(bounded).join("\n") }
      )
      const asked = (model: string, headers: Record<string, string>) =>
        Effect.gen(function* () {
          yield* first.reset
          yield* second.reset
          const heard = yield* asking(url, { key: keys.alice, body: chat(model), headers })
          return { heard, counts: [heard.status, yield* count(first), yield* count(second)] }
        })
      const attempts = (most: string) => ({ "x-steadfast-max-attempts": most })
      assert.deepStrictEqual((yield* asked("one", attempts("1"))).counts, [200, 1, 1])
      assert.deepStrictEqual((yield* asked("most", attempts("100"))).counts, [200, 2, 1])
      assert.deepStrictEqual((yield* asked("alone", { "x-steadfast-no-fallback": "true" })).counts, [502, 2, 0])
      yield* first.become({ script: [Fault.hang] })
      const late = yield* asked("late", { "x-steadfast-timeout-ms": "3600000" })
      assert.deepStrictEqual([late.heard.status, errorOf(late.heard).code], [504, "timeout"])
      for (const name of ["max-attempts", "timeout-ms", "no-fallback", "trace-id"]) {
        const headers = { [`x-steadfast-${name}`]: "?" }
        const wrong = yield* asking(url, { key: keys.alice, body: chat("fast"), headers })
        isRefused(wrong, 400, "openai")
        assert.include(String(errorOf(wrong).message), name)
      }
    })
  )

  it.scopedLive("label the call, and are no other client's", () =>
    Effect.gen(function* () {
      const { first, url } = yield* staged(
        {},
        {},
        {
          keys: `  - { name: bob, key: ${keys.bob}, labels: { team: blue } }`,
          rest: "observability: { metricLabels: [client, team, feature] }"
        }
      )
      const headers = {
        "x-steadfast-label-client": "alice",
        "x-steadfast-label-team": "red",
        "x-steadfast-label-feature": "labelled-here"
      }
      yield* asking(url, { key: keys.bob, body: chat("fast"), headers })
      const { body } = yield* asking(url, { path: "/metrics", key: keys.admin })
      const line = body.split("\n").find((line) => line.startsWith("steadfast_calls") && line.includes("labelled-here"))
      assert.include(line, 'client="bob"')
      assert.include(line, 'team="blue"')
      const sent = JSON.stringify((yield* first.requests)[0]?.headers)
      assert.notInclude(sent, "x-steadfast")
    })
  )
})

describe("evidence", () => {
  const facts = ({ headers }: Heard) =>
    ["attempts", "retries", "fallbacks", "served-by"].map((name) => headers[`x-steadfast-${name}`])

  it.scopedLive("tells attempts, retries, fallbacks and the target, whole and streamed alike", () =>
    Effect.gen(function* () {
      for (const stream of [false, true]) {
        for (const [script, expected] of [
          [[Reply.text("hi")], ["1", "0", "0", "first/m1"]],
          [
            [Fault.serverError(), Reply.text("hi")],
            ["2", "1", "0", "first/m1"]
          ],
          [
            [Fault.serverError(), Fault.serverError()],
            ["3", "1", "1", "second/m2"]
          ]
        ] as const) {
          for (const [dialect, path, body] of dialects) {
            // One gateway for all these failures would stop asking.
            const { url } = yield* staged({ script })
            const at = stream ? path.replace("generateContent", "streamGenerateContent?alt=sse") : path
            const sent = stream ? { ...body, stream: true } : body
            const heard = yield* asking(url, { key: keys.alice, path: at, body: sent })
            assert.strictEqual(heard.status, 200, heard.body)
            assert.deepStrictEqual(facts(heard), [...expected], `${path} ${stream}`)
            assert.strictEqual(heard.headers["x-steadfast-call-id"], heard.headers["x-request-id"])
            const [attempts, retries, fallbacks, servedBy] = expected
            const trailer = /^: steadfast (.*)$/m.exec(heard.body)?.[1]
            // Lines of JSON have no comments.
            if (!stream || dialect === "ollama") assert.isUndefined(trailer)
            else {
              assert.include(trailer, `call=${heard.headers["x-request-id"]} attempts=${attempts} retries=${retries}`)
              assert.include(trailer, `fallbacks=${fallbacks} served-by=${servedBy} `)
            }
          }
        }
      }
    })
  )

  it.scopedLive("stands with an error too", () =>
    Effect.gen(function* () {
      for (const stream of [false, true]) {
        const { url } = yield* staged({ script: [Fault.serverError()] })
        const heard = yield* asking(url, { key: keys.alice, body: chat("single", { stream }) })
        isRefused(heard, 502, "openai")
        assert.deepStrictEqual(facts(heard), ["2", "1", "0", undefined])
      }
    })
  )
})

/** A request as it stands on the wire. */
const raw = (body: object) => {
  const text = JSON.stringify(body)
  return `POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nx-api-key: ${keys.alice}\r\ncontent-length: ${text.length}\r\n\r\n${text}`
}

describe("a failed request that a client repeats", () => {
  it.scopedLive("is answered from memory, until the model answers anybody", () =>
    Effect.gen(function* () {
      const { first, url } = yield* staged(
        { script: [Fault.serverError()] },
        {},
        {
          keys: `  - { name: bob, key: ${keys.bob} }`,
          models: "  once: { targets: [first/m1], retry: { maxAttempts: 1 } }"
        }
      )
      const ask = (key: string, words: string, headers = {}) =>
        asking(url, { key, headers, body: { model: "once", messages: [{ role: "user", content: words }] } })
      const remembered = ({ headers }: Heard) => headers["x-steadfast-remembered"]
      const failed = yield* ask(keys.alice, "one")
      const again = yield* ask(keys.alice, "one", { "x-stainless-retry-count": "1" })
      assert.deepStrictEqual([again.status, remembered(again)], [502, "true"])
      assert.strictEqual(again.body, failed.body)
      assert.strictEqual(again.headers["x-should-retry"], "false")
      assert.strictEqual(yield* count(first), 1)
      // Another client has not heard of it.
      assert.isUndefined(remembered(yield* ask(keys.bob, "one")))
      yield* first.become({ script: [Reply.text("well again")] })
      assert.strictEqual(remembered(yield* ask(keys.alice, "one")), "true")
      assert.strictEqual((yield* ask(keys.alice, "two")).status, 200)
      assert.strictEqual((yield* ask(keys.alice, "one")).status, 200)
    })
  )

  it.scopedLive("is another one where it asks for another feature, or another configuration is in force", () =>
    Effect.gen(function* () {
      // A circuit is a target's: each of them has its own.
      const once = (model: string) => `  ${model}: { targets: [first/${model}], retry: { maxAttempts: 1 } }`
      const { first, gateway, url } = yield* staged(
        { script: [Fault.serverError()] },
        {},
        { models: [once("featured"), once("reloaded")].join("\n") }
      )
      const ask = (model: string, headers = {}) =>
        Effect.map(asking(url, { key: keys.alice, headers, body: chat(model) }), ({ headers, status }) => {
          assert.strictEqual(status, 502)
          return headers["x-steadfast-remembered"]
        })
      assert.isUndefined(yield* ask("featured"))
      assert.isUndefined(yield* ask("featured", { "openai-beta": "other" }))
      assert.strictEqual(yield* ask("featured", { "openai-beta": "other" }), "true")
      assert.isUndefined(yield* ask("reloaded"))
      yield* gateway.reload(gateway.config())
      assert.isUndefined(yield* ask("reloaded"))
      assert.strictEqual(yield* ask("reloaded"), "true")
      assert.strictEqual(yield* count(first), 4)
    })
  )

  it.scopedLive("at once and without end is answered ever later, until the client leaves", () =>
    Effect.gen(function* () {
      const { first, gateway, server, url } = yield* staged(
        { script: [Fault.serverError()] },
        {},
        { models: "  once: { targets: [first/m1], retry: { maxAttempts: 1 } }" }
      )
      // Dialed before, so that a busy machine asks at once.
      const socket = yield* Effect.promise(() => dial(server.port))
      const began = performance.now()
      let asked = 0
      while (performance.now() - began < 1000) {
        assert.strictEqual((yield* asking(url, { key: keys.alice, body: chat("once") })).status, 502)
        asked++
      }
      // The first, and those after 0.1, 0.3, 0.7 and 1.5 seconds.
      assert.isAtMost(asked, 5)
      assert.isAtLeast(asked, 3)
      socket.write(raw(chat("once")))
      yield* eventually(() => gateway.running() === 1, "it waits")
      socket.destroy()
      yield* eventually(() => gateway.running() === 0, "it has left", 1000)
      assert.strictEqual(yield* count(first), 1)
    })
  )
})

describe("retry-after", () => {
  it.scopedLive("is the soonest of all targets, and a client that obeys it is served", () =>
    Effect.gen(function* () {
      const limited = (seconds: number) => Fault.rateLimited({ retryAfter: `${seconds} seconds` })
      const { first, url } = yield* staged(
        { script: [limited(1), Reply.text("now")] },
        { script: [limited(50)] },
        { models: "  hasty: { targets: [first/m1, second/m2], retry: { maxAttempts: 1, maxHint: 0s } }" }
      )
      const heard = yield* asking(url, { key: keys.alice, body: chat("hasty") })
      isRefused(heard, 429, "openai")
      assert.strictEqual(heard.headers["retry-after"], "1")
      yield* Effect.sleep("1100 millis")
      const again = yield* asking(url, { key: keys.alice, body: chat("hasty") })
      assert.strictEqual(again.status, 200, again.body)
      assert.strictEqual(yield* count(first), 2)
    })
  )
})

describe("a body on its way", () => {
  it.scopedLive("keeps the fields that only its own dialect knows, number for number", () =>
    Effect.gen(function* () {
      const { heard, url } = yield* listening
      const odd = `"frobnicate": {"level": 3.0, "list": [1e400, 12345678901234567890, "\\u00e9"]}`
      yield* asking(url, {
        key: keys.alice,
        body: `{"model":"fast", ${odd}, "messages":[{"role":"user","content":"x"}]}`
      })
      assert.include(heard[0], odd)
      assert.include(heard[0], '"m1"')
    })
  )

  it.scopedLive("that we refuse reaches targets of its dialect alone", () =>
    Effect.gen(function* () {
      const { first, second, url } = yield* staged(
        { script: [Fault.serverError()] },
        {},
        {
          models: `
  mixed: { targets: [claude/m9, first/m1, second/m2], retry: { maxAttempts: 1 } }
  foreign: { targets: [claude/m9] }`,
          providers: '  claude: { kind: anthropic, baseUrl: "http://127.0.0.1:9/v1", key: sk-x }'
        }
      )
      const heard = yield* asking(url, { key: keys.alice, body: chat("mixed", { n: 2 }) })
      assert.strictEqual(heard.status, 200, heard.body)
      assert.deepStrictEqual([yield* count(first), yield* count(second)], [1, 1])
      assert.deepInclude((yield* second.requests)[0]?.body as object, { n: 2, model: "m2" })
      const foreign = yield* asking(url, { key: keys.alice, body: chat("foreign", { n: 2 }) })
      isRefused(foreign, 400, "openai")
      assert.include(String(errorOf(foreign).message), "n: found 2")
    })
  )
})

describe("a connection", () => {
  it.scopedLive("with requests in a line gives back all their places when it is closed", () =>
    Effect.gen(function* () {
      const { first, gateway, server } = yield* staged({ script: [Fault.hang] })
      const socket = yield* Effect.promise(() => dial(server.port))
      socket.write(raw(chat("single")).repeat(20))
      yield* eventually(() => gateway.running() === 20, "all run")
      socket.destroy()
      yield* eventually(() => gateway.running() === 0, "all end")
      yield* first.until((requests) => requests.every(({ hungUp }) => hungUp))
    })
  )

  it("of HTTP/1.0, or through a proxy, hears of no other status before its own", () => {
    const of = (headers: Record<string, string>, httpVersionMinor = 1) =>
      Chats.isDirect({ headers, httpVersionMinor } as never)
    assert.isTrue(of({}))
    assert.isFalse(of({}, 0))
    for (const name of ["via", "x-forwarded-for", "forwarded"]) assert.isFalse(of({ [name]: "x" }), name)
  })
})
