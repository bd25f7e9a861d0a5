import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { Fault, Reply } from "effect-steadfast/testing"
import { asking, chat, count, dialects, errorOf, eventually, isRefused, keys, staged } from "./stage.js"

describe("a client's key", () => {
  it.scopedLive("is taken where each dialect has it, and goes to no provider", () =>
    Effect.gen(function* () {
      const { first, url } = yield* staged()
      for (const [, path, body] of dialects) {
        for (const headers of [
          { authorization: `Bearer ${keys.alice}` },
          { "x-api-key": keys.alice },
          { "x-goog-api-key": keys.alice }
        ]) {
          const { status } = yield* asking(url, { path, body, headers })
          assert.strictEqual(status, 200, path)
        }
        const { status } = yield* asking(url, { path: `${path}?key=${keys.alice}&alt=json`, body })
        assert.strictEqual(status, 200, path)
      }
      const asked = yield* first.requests
      assert.lengthOf(asked, 4 * dialects.length)
      for (const { headers, url } of asked) {
        assert.strictEqual(headers.authorization, `Bearer ${keys.first}`)
        assert.notInclude(JSON.stringify([headers, url]), keys.alice)
      }
    })
  )

  it.scopedLive("that is missing or unknown is refused in the client's dialect, before its body", () =>
    Effect.gen(function* () {
      const { first, url } = yield* staged()
      for (const [dialect, path, body] of dialects) {
        isRefused(yield* asking(url, { path, body }), 401, dialect)
        const wrong = yield* asking(url, { path, body, key: "sk-wrong" })
        isRefused(wrong, 401, dialect)
        assert.notInclude(wrong.body, "sk-wrong")
      }
      isRefused(yield* asking(url, { path: "/v1/files" }), 401, "openai")
      isRefused(yield* asking(url, { path: "/v1/models" }), 401, "openai")
      assert.strictEqual(yield* count(first), 0)
    })
  )

  it.scopedLive("opens its own models alone, also among the fallbacks", () =>
    Effect.gen(function* () {
      const { first, second, url } = yield* staged(
        { script: [Fault.serverError()] },
        {},
        {
          keys: `  - { name: bob, key: ${keys.bob}, models: [narrow, mine] }`,
          models: `
  narrow: { targets: [first/m1], fallbacks: [theirs], retry: { maxAttempts: 1 } }
  theirs: { targets: [second/m2], aliases: [theirs-too] }
  mine: { targets: [second/m3] }`
        }
      )
      for (const [dialect, path, body] of dialects) {
        isRefused(yield* asking(url, { path, body, key: keys.bob }), 403, dialect)
      }
      isRefused(yield* asking(url, { body: chat("theirs-too"), key: keys.bob }), 403, "openai")
      isRefused(yield* asking(url, { body: chat("nothing"), key: keys.bob }), 404, "openai")
      assert.strictEqual((yield* asking(url, { body: chat("mine"), key: keys.bob })).status, 200)
      assert.strictEqual(yield* count(second), 1)
      assert.strictEqual((yield* asking(url, { body: chat("narrow"), key: keys.bob })).status, 502)
      assert.deepStrictEqual([yield* count(first), yield* count(second)], [1, 1])
      const allowed = yield* asking(url, { body: chat("narrow"), key: keys.alice })
      assert.deepStrictEqual([allowed.status, allowed.headers["x-steadfast-served-by"]], [200, "second/m2"])
      const list = JSON.parse((yield* asking(url, { path: "/v1/models", key: keys.bob })).body)
      assert.deepStrictEqual(
        list.data.map(({ id }: { readonly id: string }) => id),
        ["narrow", "mine"]
      )
      const unknown = errorOf(yield* asking(url, { body: chat("nothing"), key: keys.bob }))
      assert.notInclude(String(unknown.message), "theirs")
    })
  )
})

describe("what cannot be served", () => {
  it.scopedLive("is refused in the client's dialect", () =>
    Effect.gen(function* () {
      const { first, gateway, url } = yield* staged({}, {}, { server: ", maxBodyBytes: 2000" })
      const key = keys.alice
      for (const [dialect, path, body] of dialects) {
        const wrong = yield* asking(url, { path, key, method: "PUT", body })
        isRefused(wrong, 405, dialect)
        assert.strictEqual(wrong.headers.allow, "POST")
        isRefused(yield* asking(url, { path, key, body: Buffer.alloc(2001, " ") }), 413, dialect)
        for (const broken of ["", " ", "{", '{"model":', "null", "[]", "7", Buffer.from([0x7b, 0xff, 0x7d])]) {
          isRefused(yield* asking(url, { path, key, body: broken }), 400, dialect)
        }
      }
      isRefused(yield* asking(url, { path: "/v1/nothing", key }), 404, "openai")
      isRefused(yield* asking(url, { path: "/v1beta/nothing", key }), 404, "gemini")
      isRefused(yield* asking(url, { path: "/api/pull", key, body: { model: "fast" } }), 404, "ollama")
      isRefused(yield* asking(url, { path: "/v1/embeddings", key, body: { model: "fast", input: "x" } }), 404, "openai")
      isRefused(yield* asking(url, { key, body: { messages: chat("fast").messages } }), 400, "openai")
      isRefused(yield* asking(url, { key, body: chat(7 as never) }), 400, "openai")
      assert.strictEqual(yield* count(first), 0)
      yield* eventually(() => gateway.running() === 0, "places are given back")
    })
  )

  it.scopedLive("is refused, however deep it is nested, and never handed on", () =>
    Effect.gen(function* () {
      const { first, lines, url } = yield* staged({}, {}, { server: ", maxBodyBytes: 4 MiB" })
      const deep = "[".repeat(100_000) + "]".repeat(100_000)
      const said = '"messages":[{"role":"user","content":"x"}]'
      for (const body of [
        deep,
        `{"model":"fast","messages":${deep}}`,
        `{"model":"fast",${said},"extra":${deep}}`,
        `{"model":"fast","messages":[{"role":"user","content":${deep}}]}`,
        `{"model":"fast",${said},"tools":[{"type":"function","function":{"name":"f","parameters":{"a":${deep}}}}]}`
      ]) {
        for (const [dialect, path] of [
          ...dialects,
          ["openai", "/v1/embeddings"],
          ["ollama", "/api/embed"],
          ["cohere", "/v2/embed"],
          ["anthropic", "/v1/messages/count_tokens"]
        ] as const) {
          isRefused(yield* asking(url, { path, key: keys.alice, body }), 400, dialect)
        }
      }
      assert.strictEqual(yield* count(first), 0)
      assert.deepStrictEqual(lines, [])
    })
  )

  it.scopedLive("does not depend on what the content is called", () =>
    Effect.gen(function* () {
      const { url } = yield* staged()
      for (const type of ["text/plain", "application/x-www-form-urlencoded", "", "nonsense"]) {
        const { status } = yield* asking(url, {
          key: keys.alice,
          body: chat("fast"),
          headers: { "content-type": type }
        })
        assert.strictEqual(status, 200, type)
      }
    })
  )

  it.scopedLive("is as much as there is room for", () =>
    Effect.gen(function* () {
      const { first, gateway, url } = yield* staged({ script: [Fault.hang] }, {}, { server: ", maxConcurrent: 2" })
      const leave = new AbortController()
      for (let i = 0; i < 2; i++) {
        yield* Effect.fork(
          Effect.ignore(
            Effect.tryPromise(() =>
              fetch(`${url}/v1/chat/completions`, {
                method: "POST",
                signal: leave.signal,
                body: JSON.stringify(chat("single")),
                headers: { "x-api-key": keys.alice }
              })
            )
          )
        )
      }
      yield* first.until((requests) => requests.length === 2)
      const busy = yield* asking(url, { key: keys.alice, body: chat("single") })
      isRefused(busy, 503, "openai")
      assert.strictEqual(busy.headers["retry-after"], "1")
      assert.strictEqual((yield* asking(url, { path: "/healthz" })).status, 200)
      leave.abort()
      yield* first.until((requests) => requests.every(({ hungUp }) => hungUp))
      yield* eventually(() => gateway.running() === 0, "places are given back")
    })
  )
})

describe("limits of a key", () => {
  it.scopedLive("of requests, tokens and places are told with the wait", () =>
    Effect.gen(function* () {
      const { first, url } = yield* staged(
        {},
        {},
        {
          keys: `
  - { name: few, key: sk-few, requestsPerMinute: 2 }
  - { name: short, key: sk-short, tokensPerMinute: 100 }`
        }
      )
      for (let i = 0; i < 2; i++)
        assert.strictEqual((yield* asking(url, { key: "sk-few", body: chat("fast") })).status, 200)
      const limited = yield* asking(url, { key: "sk-few", body: chat("fast") })
      isRefused(limited, 429, "openai")
      assert.match(limited.headers["retry-after"] ?? "", /^(?:2\d|30)$/)
      const long = { model: "fast", messages: [{ role: "user", content: "word ".repeat(500) }] }
      assert.strictEqual((yield* asking(url, { key: "sk-short", body: long })).status, 200)
      isRefused(yield* asking(url, { key: "sk-short", body: chat("fast") }), 429, "openai")
      assert.strictEqual((yield* asking(url, { key: keys.alice, body: chat("fast") })).status, 200)
      assert.strictEqual(yield* count(first), 4)
    })
  )

  const prices = `prices:
  first/m1: { input: 0, output: 1000000 }
  second/m2: { input: 0, output: 1000000 }`
  const bob = `  - { name: bob, key: ${keys.bob}, usdPerDay: 5 }`
  const spending = { keys: bob, rest: prices }

  it.scopedLive("of money end it for the day, and no other", () =>
    Effect.gen(function* () {
      const reply = Reply.text("ok", { usage: { inputTokens: 1, outputTokens: 3 } })
      const { first, url } = yield* staged({ script: [reply] }, {}, spending)
      const ask = asking(url, { key: keys.bob, body: chat("fast", { max_tokens: 3 }) })
      assert.strictEqual((yield* ask).status, 200)
      const spent = yield* ask
      isRefused(spent, 429, "openai")
      assert.strictEqual(errorOf(spent).code, "insufficient_quota")
      assert.isUndefined(spent.headers["retry-after"])
      assert.strictEqual(yield* count(first), 1)
      assert.strictEqual((yield* asking(url, { key: keys.alice, body: chat("fast") })).status, 200)
      const status = JSON.parse((yield* asking(url, { path: "/status", key: keys.admin })).body)
      const found = status.clients.find(({ name }: { readonly name: string }) => name === "bob")
      assert.deepStrictEqual([found.usdToday, found.usdPerDay], [3, 5])
    })
  )

  it.scopedLive("of money are looked at before each attempt: a retry that it has no money for is not sent", () =>
    Effect.gen(function* () {
      // The answer is paid for and is none.
      const cut = Reply.json({
        id: "x",
        object: "chat.completion",
        model: "m1",
        choices: [],
        usage: { prompt_tokens: 1, completion_tokens: 6, total_tokens: 7 }
      })
      const { first, second, url } = yield* staged({ script: [cut] }, {}, spending)
      const heard = yield* asking(url, { key: keys.bob, body: chat("fast", { max_tokens: 4 }) })
      isRefused(heard, 429, "openai")
      assert.strictEqual(errorOf(heard).code, "insufficient_quota")
      assert.deepStrictEqual([yield* count(first), yield* count(second)], [1, 0])
    })
  )
})
