import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { json, provider } from "./origin.js"
import { asking, errorOf, isRefused, keys, stage, swift } from "./stage.js"

const user = { role: "user", content: "hi" }

/** A body of each dialect that no reader takes, with the client's limit of tokens and where it stands. */
const bodies = [
  ["o", "/v1/chat/completions", { n: 2, messages: [user], max_tokens: 7 }],
  ["o", "/v1/chat/completions", { n: 2, messages: [user], max_tokens: 9, max_completion_tokens: 7 }],
  [
    "a",
    "/v1/messages",
    { max_tokens: 7, messages: [user], tools: [{ type: "web_search_20250305", name: "web_search" }] }
  ],
  ["r", "/v1/responses", { max_output_tokens: 7, input: "hi", tools: [{ type: "web_search" }] }],
  [
    "g",
    "/v1beta/models/g:generateContent",
    { contents: [{ parts: [{ text: "hi" }] }], tools: [{ googleSearch: {} }], generationConfig: { maxOutputTokens: 7 } }
  ]
] as const

const gateway = (url: string) =>
  stage(`
providers:
  o: { kind: openai, baseUrl: "${url}", key: ${keys.first} }
  r: { kind: responses, baseUrl: "${url}", key: ${keys.first} }
  a: { kind: anthropic, baseUrl: "${url}", key: ${keys.second} }
  g: { kind: gemini, baseUrl: "${url}", key: ${keys.second} }
keys:
  - { name: alice, key: ${keys.alice}, usdPerDay: 5 }
  - { name: bob, key: ${keys.bob} }
models:
  o: { targets: [o/m], ${swift} }
  r: { targets: [r/m], ${swift} }
  a: { targets: [a/m], ${swift} }
  g: { targets: [g/m], ${swift} }
  free: { targets: [o/unpriced], ${swift} }
  both: { targets: [o/m, a/m], ${swift} }
prices: { o/m: { input: 1, output: 1 }, r/m: { input: 1, output: 1 }, a/m: { input: 1, output: 1 }, g/m: { input: 1, output: 1 } }`)

describe("a body that cannot be read", () => {
  it.scopedLive("keeps the client's own limit of tokens under a limit of money", () =>
    Effect.gen(function* () {
      const { heard, url } = yield* provider(() => json(400, { error: { message: "no" } }))
      const { url: at } = yield* gateway(url)
      for (const [model, path, body] of bodies) {
        yield* asking(at, { path, key: keys.alice, body: model === "g" ? body : { model, ...body } })
        const sent = JSON.parse(String(heard.at(-1)?.body))
        assert.deepStrictEqual(sent, model === "g" ? body : { model: "m", ...body }, path)
      }
      assert.lengthOf(heard, bodies.length)
    })
  )

  it.scopedLive("fails as its only target does, and not as if it were wrong", () =>
    Effect.gen(function* () {
      const { heard, url } = yield* provider(() => json(503, { error: { message: "down" } }))
      const { url: at } = yield* gateway(url)
      const body = { model: "both", n: 2, messages: [user] }
      const failed = yield* asking(at, { key: keys.bob, body })
      isRefused(failed, 503, "openai")
      assert.strictEqual(errorOf(failed).code, "overloaded")
      assert.lengthOf(heard, 2)
    })
  )
})

describe("an answer without words", () => {
  it.scopedLive("is one to a client of its dialect, and to no other", () =>
    Effect.gen(function* () {
      const parts = [{ inlineData: { mimeType: "image/png", data: "AAAA" } }]
      const answer = {
        candidates: [{ content: { role: "model", parts }, finishReason: "STOP" }],
        usageMetadata: { promptTokenCount: 1, candidatesTokenCount: 9, totalTokenCount: 10 }
      }
      const { heard, url } = yield* provider(({ url }) =>
        url.includes("stream")
          ? (response) =>
              void response
                .writeHead(200, { "content-type": "text/event-stream" })
                .end(`data: ${JSON.stringify(answer)}\n\n`)
          : json(200, answer)
      )
      const { url: at } = yield* gateway(url)
      const body = { contents: [{ parts: [{ text: "draw" }] }] }
      const whole = yield* asking(at, { path: "/v1beta/models/g:generateContent", key: keys.bob, body })
      assert.deepStrictEqual([whole.status, JSON.parse(whole.body)], [200, answer])
      const path = "/v1beta/models/g:streamGenerateContent?alt=sse"
      const streamed = yield* asking(at, { path, key: keys.bob, body })
      assert.deepStrictEqual([streamed.status, streamed.cut], [200, false])
      assert.include(streamed.body, JSON.stringify(parts))
      assert.lengthOf(heard, 2)
      const other = yield* asking(at, { key: keys.bob, body: { model: "g", messages: [user] } })
      isRefused(other, 502, "openai")
    })
  )
})

describe("a limit of money", () => {
  it.scopedLive("holds what all answers to one request may cost, and charges what they did", () =>
    Effect.gen(function* () {
      const choice = (index: number) => ({ index, message: { role: "assistant", content: "a" }, finish_reason: "stop" })
      const { heard, url } = yield* provider(() =>
        json(200, {
          id: "c",
          model: "m",
          choices: [choice(0), choice(1), choice(2)],
          usage: { prompt_tokens: 1, completion_tokens: 30, total_tokens: 31 }
        })
      )
      const { url: at } = yield* stage(`
server: { adminKey: ${keys.admin} }
providers: { o: { kind: openai, baseUrl: "${url}", key: ${keys.first} } }
keys: [{ name: alice, key: ${keys.alice}, usdPerDay: 40 }]
models: { o: { targets: [o/m], ${swift} } }
prices: { o/m: { input: 0, output: 100000 } }`)
      const ask = (n: number) =>
        asking(at, { key: keys.alice, body: { model: "o", n, messages: [user], max_tokens: 100 } })
      const spent = Effect.map(asking(at, { path: "/status", key: keys.admin }), ({ body }) => JSON.parse(body))
      // 100 tokens cost $10.
      isRefused(yield* ask(5), 429, "openai")
      assert.lengthOf(heard, 0)
      assert.strictEqual((yield* ask(3)).status, 200)
      assert.strictEqual((yield* spent).clients[0].usdToday, 3)
      assert.strictEqual((yield* ask(1)).status, 200)
      assert.strictEqual((yield* spent).clients[0].usdToday, 6)
      assert.lengthOf(heard, 2)
    })
  )

  it.scopedLive("refuses a model without a price, and says so", () =>
    Effect.gen(function* () {
      const { heard, url } = yield* provider(() => json(200, {}))
      const { lines, url: at } = yield* gateway(url)
      const refused = yield* asking(at, { key: keys.alice, body: { model: "free", messages: [user] } })
      isRefused(refused, 403, "openai")
      assert.strictEqual(errorOf(refused).code, "no_price")
      assert.lengthOf(heard, 0)
      assert.isTrue(lines.some((line) => line.includes("in the file of a gateway: prices")))
    })
  )
})
