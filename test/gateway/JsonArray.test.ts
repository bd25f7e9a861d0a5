import { assert, describe, it } from "@effect/vitest"
import { Effect, FastCheck as fc } from "effect"
import { EventStream } from "effect-steadfast/http"
import { Fault, Reply } from "effect-steadfast/testing"
import * as Framing from "../../src/http/Framing.js"
import { cases } from "../support/cases.js"
import { errorOf as errorNamed } from "../support/errors.js"
import { provider } from "./origin.js"
import { asking, errorOf, type Heard, isRefused, keys, stage, staged, swift } from "./stage.js"

const body = { contents: [{ role: "user", parts: [{ text: "say hello" }] }] }

const path = (model: string, query = "") => `/v1beta/models/${model}:streamGenerateContent${query}`

interface Chunk {
  readonly candidates?: ReadonlyArray<{
    readonly content?: { readonly parts?: ReadonlyArray<{ readonly text?: string }> }
  }>
  readonly error?: { readonly code: number; readonly status: string }
}

const chunksOf = (heard: Heard): ReadonlyArray<Chunk> => JSON.parse(heard.body) as ReadonlyArray<Chunk>

const textOf = (chunks: ReadonlyArray<Chunk>): string =>
  chunks.flatMap(({ candidates = [] }) => candidates[0]?.content?.parts?.map(({ text }) => text ?? "") ?? []).join("")

describe("a stream for Gemini's clients", () => {
  it.scopedLive("is a JSON array, unless they ask for server-sent events", () =>
    Effect.gen(function* () {
      const { url } = yield* staged({ script: [Reply.text("Hello you", { chunks: 3 })] })
      for (const query of ["", "?alt=json", `?key=${keys.alice}`, "?balt=sse&alt=ssex"]) {
        const heard = yield* asking(url, { path: path("fast", query), key: keys.alice, body })
        assert.deepStrictEqual([heard.status, heard.cut], [200, false])
        assert.strictEqual(heard.headers["content-type"], "application/json; charset=utf-8")
        assert.isAbove(chunksOf(heard).length, 1)
        assert.strictEqual(textOf(chunksOf(heard)), "Hello you")
        assert.strictEqual(heard.headers["x-steadfast-served-by"], "first/m1")
      }
      for (const query of ["?alt=sse", "?$alt=sse", "?key=x&alt=sse", "?%24alt=sse&x=1"]) {
        const heard = yield* asking(url, { path: path("fast", query), key: keys.alice, body })
        assert.include(heard.headers["content-type"], "text/event-stream")
        assert.match(heard.body, /^data: \{/)
      }
      const whole = yield* asking(url, { path: "/v1beta/models/fast:generateContent", key: keys.alice, body })
      assert.isArray(JSON.parse(whole.body).candidates)
    })
  )

  it.scopedLive("ends with an error in the array where it breaks, and is broken off", () =>
    Effect.gen(function* () {
      const { url } = yield* staged({ script: [Fault.resetInBody({ tokens: 3 })] })
      const heard = yield* asking(url, { path: path("single"), key: keys.alice, body })
      assert.deepStrictEqual([heard.status, heard.cut], [200, true])
      const chunks = chunksOf(heard)
      assert.isAbove(chunks.length, 1)
      assert.hasAllKeys(chunks.at(-1)?.error, ["code", "message", "status"])
      const early = yield* staged({ script: [Fault.serverError()] })
      const refused = yield* asking(early.url, { path: path("single"), key: keys.alice, body })
      isRefused(refused, 502, "gemini")
      assert.strictEqual(errorOf(refused).code, 502)
    })
  )

  it.scopedLive("has a provider's own frames as they came, and is asked for as events", () =>
    Effect.gen(function* () {
      const chunk = (text: string, more: object = {}) => ({
        candidates: [{ content: { role: "model", parts: [{ text }] }, ...more }],
        own: { text }
      })
      const sent = [chunk("a"), chunk("b\n\ndata: c"), chunk("d", { finishReason: "STOP" })]
      const { heard, url } = yield* provider(() => (response) => {
        response.writeHead(200, { "content-type": "text/event-stream" })
        response.end(sent.map((one) => `data: ${JSON.stringify(one)}\r\n\r\n`).join(""))
      })
      const { url: at } = yield* stage(`
providers: { g: { kind: gemini, baseUrl: "${url}", key: ${keys.first} } }
keys: [{ name: alice, key: ${keys.alice} }]
models: { g: { targets: [g/m], ${swift} } }`)
      const answer = yield* asking(at, { path: path("g"), key: keys.alice, body })
      assert.deepStrictEqual(chunksOf(answer), sent)
      assert.include(heard[0]?.url, "alt=sse")
    })
  )
})

describe("Framing.array", () => {
  const text = fc.string({ unit: "grapheme", minLength: 1 })

  it("has every frame as an element, and comments nowhere", () => {
    fc.assert(
      fc.property(fc.array(text, { minLength: 1 }), fc.boolean(), (texts, fails) => {
        const encoder = Framing.array.over(EventStream.make("gemini", { id: "i", created: 1 }))
        let body = Framing.array.idle ?? ""
        const push = (event: Parameters<typeof encoder.push>[0]): void => {
          body += encoder.push(event) as string
          body += Framing.array.idle
        }
        for (const text of texts) push({ _tag: "TextDelta", text })
        if (fails) body += encoder.fail(errorNamed("Timeout"))
        else {
          push({ _tag: "Finish", reason: "stop" })
          body += Framing.array.end("of the call") ?? ""
        }
        const chunks = JSON.parse(body) as ReadonlyArray<Chunk>
        assert.lengthOf(chunks, texts.length + 1)
        assert.strictEqual(textOf(chunks), texts.join(""))
        assert.strictEqual(chunks.at(-1)?.error !== undefined, fails)
      }),
      { numRuns: cases(200, 50) }
    )
  })

  it("is whole with an error alone", () => {
    const encoder = Framing.array.over(EventStream.make("gemini", { id: "i", created: 1 }))
    assert.lengthOf(JSON.parse(Framing.array.idle + encoder.fail(errorNamed("Timeout"))), 1)
  })

  it("joins data of several lines", () => {
    const encoder = Framing.array.over({ push: () => ": c\n\nevent: x\ndata: [1,\ndata: 2]\n\n", fail: () => "" })
    assert.strictEqual(encoder.push({ _tag: "Finish", reason: "stop" }), "[[1,\n2]")
  })
})
