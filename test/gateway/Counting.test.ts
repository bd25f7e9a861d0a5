import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { Fault, FaultyProvider } from "effect-steadfast/testing"
import { json, provider } from "./origin.js"
import { asking, chat, count, errorOf, isRefused, keys, stage } from "./stage.js"

describe("count_tokens", () => {
  const body = { model: "claude", messages: [{ role: "user", content: "some words to count" }] }

  const counting = (url: string) =>
    stage(`
providers:
  anthropic: { kind: anthropic, baseUrl: "${url}", key: ${keys.second} }
  first: { kind: openai, baseUrl: "${url}", key: ${keys.first} }
keys: [{ name: alice, key: ${keys.alice} }]
models:
  claude: { targets: [first/m1, anthropic/claude-x] }
  fast: first/m1`)

  it.scopedLive("is asked of Anthropic, where a target is there", () =>
    Effect.gen(function* () {
      const { heard, url } = yield* provider(() => json(200, { input_tokens: 42 }))
      const { url: at } = yield* counting(url)
      const found = yield* asking(at, { path: "/v1/messages/count_tokens?beta=true", key: keys.alice, body })
      assert.deepStrictEqual([found.status, JSON.parse(found.body)], [200, { input_tokens: 42 }])
      assert.notProperty(found.headers, "x-steadfast-estimated")
      assert.strictEqual(heard[0]?.url, "/v1/messages/count_tokens")
      assert.strictEqual(heard[0]?.headers["x-api-key"], keys.second)
      assert.deepStrictEqual(JSON.parse(String(heard[0]?.body)), { ...body, model: "claude-x" })
    })
  )

  it.scopedLive("is asked of Anthropic also for what only Anthropic understands", () =>
    Effect.gen(function* () {
      const { heard, url } = yield* provider(() => json(200, { input_tokens: 42 }))
      const { url: at } = yield* counting(url)
      const path = "/v1/messages/count_tokens"
      const tools = [{ type: "web_search_20250305", name: "web_search" }]
      const found = yield* asking(at, { path, key: keys.alice, body: { ...body, tools } })
      assert.deepStrictEqual([found.status, JSON.parse(found.body)], [200, { input_tokens: 42 }])
      assert.deepStrictEqual(JSON.parse(String(heard[0]?.body)), { ...body, tools, model: "claude-x" })
      isRefused(yield* asking(at, { path, key: keys.alice, body: { ...body, tools, model: "fast" } }), 400, "anthropic")
      isRefused(yield* asking(at, { path, key: keys.alice, body: { model: "claude", tools } }), 400, "anthropic")
      isRefused(yield* asking(at, { path, key: keys.alice, body: { ...body, model: 7 } }), 400, "anthropic")
      assert.lengthOf(heard, 1)
    })
  )

  it.scopedLive("is estimated elsewhere, and where the provider cannot", () =>
    Effect.gen(function* () {
      const { url } = yield* provider(() => json(401, { error: { message: "no" } }))
      const { url: at } = yield* counting(url)
      for (const model of ["fast", "claude"]) {
        const path = "/v1/messages/count_tokens"
        const found = yield* asking(at, { path, key: keys.alice, body: { ...body, model } })
        assert.deepStrictEqual([found.status, found.headers["x-steadfast-estimated"]], [200, "true"])
        const { input_tokens } = JSON.parse(found.body)
        assert.isTrue(input_tokens >= 4 && input_tokens < 100, String(input_tokens))
      }
      const contents = [{ role: "user", parts: [{ text: "some words to count" }] }]
      for (const body of [{ contents }, { generateContentRequest: { model: "models/fast", contents } }]) {
        const found = yield* asking(at, { path: "/v1beta/models/fast:countTokens", key: keys.alice, body })
        assert.strictEqual(found.status, 200, found.body)
        assert.isAbove(JSON.parse(found.body).totalTokens, 3)
      }
      const unknown = yield* asking(at, {
        path: "/v1/messages/count_tokens",
        key: keys.alice,
        body: { ...body, model: "x" }
      })
      isRefused(unknown, 404, "anthropic")
      assert.strictEqual(errorOf(unknown).type, "not_found_error")
    })
  )
})

describe("embeddings", () => {
  it.scopedLive("are served with retries and evidence, and fail as answers do", () =>
    Effect.gen(function* () {
      const first = yield* FaultyProvider.serve({ script: [Fault.serverError()], onExhausted: Fault.serverError() })
      const { url } = yield* stage(`
providers: { first: { kind: openai, baseUrl: "${first.url}/v1", key: ${keys.first} } }
keys: [{ name: alice, key: ${keys.alice} }]
models:
  vectors: { kind: embeddings, targets: [first/e1], retry: { maxAttempts: 2, initialDelay: "1 millis", jitter: none } }`)
      const path = "/v1/embeddings"
      const body = { model: "vectors", input: ["one", "two"] }
      const failed = yield* asking(url, { path, key: keys.alice, body })
      isRefused(failed, 502, "openai")
      assert.strictEqual(failed.headers["x-steadfast-attempts"], "2")
      assert.strictEqual(
        (yield* asking(url, { path, key: keys.alice, body })).headers["x-steadfast-remembered"],
        "true"
      )
      yield* first.become({})
      const found = yield* asking(url, { path, key: keys.alice, body: { ...body, input: "three" } })
      assert.deepStrictEqual([found.status, JSON.parse(found.body).data.length], [200, 1])
      assert.strictEqual(found.headers["x-steadfast-served-by"], "first/e1")
      const own = { path: "/api/embed", key: keys.alice }
      const told = JSON.parse((yield* asking(url, { ...own, body })).body)
      assert.deepStrictEqual([told.model, told.embeddings.length], ["vectors", 2])
      isRefused(yield* asking(url, { ...own, body: { model: "vectors" } }), 400, "ollama")
      const cohere = { path: "/v2/embed", key: keys.alice }
      const embedded = yield* asking(url, { ...cohere, body: { model: "vectors", texts: ["four"] } })
      const { embeddings, id } = JSON.parse(embedded.body)
      assert.deepStrictEqual([id, embeddings.float.length], [embedded.headers["x-request-id"], 1])
      isRefused(yield* asking(url, { ...cohere, body: { model: "vectors" } }), 400, "cohere")
      isRefused(yield* asking(url, { path, key: keys.alice, body: { model: "vectors" } }), 400, "openai")
      isRefused(yield* asking(url, { key: keys.alice, body: chat("vectors") }), 404, "openai")
      assert.strictEqual(yield* count(first), 5)
    })
  )
})
