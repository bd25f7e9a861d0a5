import { assert, describe, it } from "@effect/vitest"
import { Effect, FastCheck as fc } from "effect"
import { Ignored, valueOf } from "../../src/gateway/Ignored.js"
import { cases } from "../support/cases.js"
import { json, provider } from "./origin.js"
import { asking, chat, keys, stage } from "./stage.js"

const message = {
  id: "msg_1",
  type: "message",
  role: "assistant",
  model: "claude",
  content: [{ type: "text", text: "Hello" }],
  stop_reason: "end_turn",
  usage: { input_tokens: 3, output_tokens: 2 }
}

const completion = {
  id: "chatcmpl-1",
  object: "chat.completion",
  created: 1,
  model: "gpt",
  choices: [{ index: 0, message: { role: "assistant", content: "Hello" }, finish_reason: "stop" }],
  usage: { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 }
}

const frames = [
  { type: "message_start", message: { ...message, content: [], stop_reason: null } },
  { type: "content_block_start", index: 0, content_block: { type: "text", text: "" } },
  { type: "content_block_delta", index: 0, delta: { type: "text_delta", text: "Hello" } },
  { type: "content_block_stop", index: 0 },
  { type: "message_delta", delta: { stop_reason: "end_turn" }, usage: { output_tokens: 2 } },
  { type: "message_stop" }
]

const origin = provider(({ body, url }) => {
  if (url.endsWith("/embeddings")) {
    return json(200, { data: [{ index: 0, embedding: [1, 0] }], model: "e", usage: { prompt_tokens: 1 } })
  }
  const { model, stream } = JSON.parse(String(body)) as { readonly model: string; readonly stream?: boolean }
  if (model === "down") return json(503, { error: { message: "down" } })
  if (url.endsWith("/chat/completions")) return json(200, completion)
  if (stream !== true) return json(200, message)
  const text = frames.map((frame) => `event: ${frame.type}\ndata: ${JSON.stringify(frame)}\n\n`).join("")
  return (response) => void response.writeHead(200, { "content-type": "text/event-stream" }).end(text)
})

const gateway = (url: string) =>
  stage(`
providers:
  o: { kind: openai, baseUrl: "${url}", key: ${keys.first} }
  a: { kind: anthropic, baseUrl: "${url}", key: ${keys.second} }
keys: [{ name: alice, key: ${keys.alice} }]
defaults: { retry: { maxAttempts: 1 } }
models:
  same: o/m
  other: a/m
  next: { targets: [a/down, o/m] }
  last: { targets: [o/down, a/m] }
  going: { targets: [o/m], mode: continue }
  vectors: { kind: embeddings, targets: [o/e] }`)

const more = { logit_bias: { 5: -100 }, seed: 7, user: "someone-secret", made_up: "value-secret" }

describe("x-steadfast-ignored", () => {
  it.scopedLive("names what the target did not get, where the body did not pass as it came", () =>
    Effect.gen(function* () {
      const { heard, url } = yield* origin
      const { url: at } = yield* gateway(url)
      const of = (model: string, fields: object = more) =>
        Effect.map(asking(at, { key: keys.alice, body: chat(model, fields) }), (heard) => {
          assert.strictEqual(heard.status, 200, heard.body)
          assert.notInclude(JSON.stringify(heard.headers), "secret")
          return heard.headers["x-steadfast-ignored"]
        })
      assert.isUndefined(yield* of("same"))
      assert.isUndefined(yield* of("next"), "what another target ignored before does not count")
      assert.isUndefined(yield* of("other", { temperature: 0.5 }), "everything can be said")
      const told = yield* of("other")
      assert.sameMembers(told?.split(", ") ?? [], ["logit_bias", "user", "made_up", "seed"])
      assert.strictEqual(yield* of("last"), told)
      assert.strictEqual(yield* of("other", { ...more, stream: true }), told)
      // What may go on elsewhere is always said in our words.
      assert.strictEqual(yield* of("going"), "logit_bias, user, made_up")
      assert.notInclude(String(heard.at(-1)?.body), "made_up")
    })
  )

  it.scopedLive("names what was lost of a request in a dialect that no provider speaks", () =>
    Effect.gen(function* () {
      const { url } = yield* origin
      const { url: at } = yield* gateway(url)
      const messages = [{ role: "user", content: "Hello" }]
      for (const [path, fields, name] of [
        ["/api/chat", { stream: false, options: { top_k: 3 } }, "options.top_k"],
        ["/api/chat", { options: { top_k: 3 } }, "options.top_k"],
        ["/v2/chat", { k: 3 }, "k"]
      ] as const) {
        const told = yield* asking(at, { path, key: keys.alice, body: { model: "same", messages, ...fields } })
        assert.deepStrictEqual([told.status, told.headers["x-steadfast-ignored"]], [200, name])
        const body = { model: "same", messages, ...(path === "/v2/chat" ? {} : { stream: false }) }
        const plain = yield* asking(at, { path, key: keys.alice, body })
        assert.deepStrictEqual([plain.status, plain.headers["x-steadfast-ignored"]], [200, undefined])
      }
    })
  )

  it.scopedLive("names what a request for vectors lost", () =>
    Effect.gen(function* () {
      const { url } = yield* origin
      const { url: at } = yield* gateway(url)
      const path = "/v1/embeddings"
      const plain = yield* asking(at, { path, key: keys.alice, body: { model: "vectors", input: "a" } })
      assert.deepStrictEqual([plain.status, plain.headers["x-steadfast-ignored"]], [200, undefined])
      const body = { model: "vectors", input: "a", truncate: "END" }
      const told = yield* asking(at, { path, key: keys.alice, body })
      assert.strictEqual(told.headers["x-steadfast-ignored"], "truncate")
    })
  )
})

describe("Ignored", () => {
  it("spells our fields as the dialect does, and says nothing of names that are the client's", () => {
    const leftOut = ["toolChoice (there are no tools)", "strict lookup (a schema)", "messages[3] (empty)"]
    for (const [dialect, name] of [
      ["openai", "tool_choice"],
      ["gemini", "toolChoice"]
    ] as const) {
      const ignored = new Ignored(dialect, ["a"])
      ignored.encoded("p", leftOut)
      assert.deepStrictEqual(ignored.headers("p/m", true), { "x-steadfast-ignored": `a, ${name}` })
      assert.isUndefined(ignored.headers("q/m", true))
      assert.isUndefined(ignored.headers(undefined, true))
    }
  })

  it("is a short header, whatever the fields are", () => {
    const name = fc.stringMatching(/^\w[\w.[\]-]{0,299}$/)
    fc.assert(
      fc.property(fc.array(name, { maxLength: 60 }), (names) => {
        const value = valueOf(names) ?? ""
        assert.isAtMost(value.length, 200)
        const whole = value.split(", ").filter((one) => one !== "..." && one !== "")
        assert.deepStrictEqual(
          whole,
          [...new Set(names)].slice(0, whole.length).filter((one) => one !== "")
        )
        assert.strictEqual(value.split(", ").at(-1) === "...", whole.length < new Set(names).size)
      }),
      { numRuns: cases(200, 50) }
    )
  })
})
