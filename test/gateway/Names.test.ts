import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { Fault, FaultyProvider, Reply, type Step } from "effect-steadfast/testing"
import { asking, chat, errorOf, keys, stage } from "./stage.js"

const kinds = ["openai", "responses", "anthropic", "gemini"] as const

type Kind = (typeof kinds)[number]

const paths = { openai: "/v1", responses: "/v1", anthropic: "/v1", gemini: "/v1beta" } as const

const secret = "provider-model-name"

/** A model at a provider of each kind, under a name of its own and another one. */
const staged = (script: ReadonlyArray<Step.Step>) =>
  Effect.gen(function* () {
    const { url } = yield* FaultyProvider.serve({ script })
    const provider = (kind: Kind) => `  ${kind}: { kind: ${kind}, baseUrl: "${url}${paths[kind]}", key: ${keys.first} }`
    const model = (kind: Kind) =>
      `  own-${kind}: { targets: [${kind}/${secret}], aliases: [alias-${kind}], retry: { maxAttempts: 1 }, deadline: 5s }`
    return yield* stage(`
providers:
${kinds.map(provider).join("\n")}
keys: [{ name: alice, key: ${keys.alice} }]
models:
${kinds.map(model).join("\n")}
  vectors: { kind: embeddings, targets: [openai/${secret}], aliases: [alias-vectors] }`)
  })

const parameters = { type: "object", properties: { city: { type: "string" } } }

const tool = { name: "weather", description: "The weather", parameters }

/** A request of a dialect for a model. */
const requestOf = (dialect: Kind, model: string, stream: boolean) => {
  const more = stream ? { stream } : {}
  switch (dialect) {
    case "openai":
      return {
        path: "/v1/chat/completions",
        body: chat(model, { ...more, tools: [{ type: "function", function: tool }] })
      }
    case "responses":
      return {
        path: "/v1/responses",
        body: { model, input: "say hello", ...more, tools: [{ type: "function", ...tool }] }
      }
    case "anthropic":
      return {
        path: "/v1/messages",
        body: chat(model, { ...more, max_tokens: 99, tools: [{ name: tool.name, input_schema: parameters }] })
      }
    case "gemini":
      return {
        path: `/v1beta/models/${model}:${stream ? "streamGenerateContent?alt=sse" : "generateContent"}`,
        body: {
          contents: [{ role: "user", parts: [{ text: "say hello" }] }],
          tools: [{ functionDeclarations: [tool] }]
        }
      }
  }
}

/** All names of models that an answer has. */
const namesIn = (body: string): ReadonlySet<string> =>
  new Set(Array.from(body.matchAll(/"(?:model|modelVersion)":\s*"([^"]*)"/g), ([, name = ""]) => name))

const answers = [
  ["words", Reply.text("Hello you")],
  ["a tool call", Reply.toolCall({ name: "weather", arguments: { city: "Bern" } })]
] as const

describe("the name of the model in an answer", () => {
  for (const [what, reply] of answers) {
    it.scopedLive(`with ${what} is the one that the client asked for, where it was translated`, () =>
      Effect.gen(function* () {
        const { url } = yield* staged([reply])
        for (const dialect of kinds) {
          for (const kind of kinds) {
            for (const stream of [false, true]) {
              for (const name of [`own-${kind}`, `alias-${kind}`]) {
                const heard = yield* asking(url, { key: keys.alice, ...requestOf(dialect, name, stream) })
                const where = `${dialect} ${kind} ${stream} ${name}: ${heard.body}`
                assert.deepStrictEqual([heard.status, heard.cut], [200, false], where)
                const expected = dialect === kind ? secret : name
                assert.deepStrictEqual([...namesIn(heard.body)], [expected], where)
                assert.strictEqual(heard.headers["x-steadfast-served-by"], `${kind}/${secret}`)
              }
            }
          }
        }
      })
    )
  }

  it.scopedLive("is that also where the stream breaks, and an error has none", () =>
    Effect.gen(function* () {
      const { url } = yield* staged([Fault.resetInBody({ tokens: 3 })])
      for (const dialect of kinds) {
        const kind = dialect === "openai" ? "anthropic" : "openai"
        const name = `alias-${kind}`
        const heard = yield* asking(url, { key: keys.alice, ...requestOf(dialect, name, true) })
        assert.deepStrictEqual([heard.status, heard.cut], [200, true], heard.body)
        assert.deepStrictEqual([...namesIn(heard.body)], [name], heard.body)
        assert.notInclude(heard.body.replace(/^: .*$/gm, ""), secret)
      }
      const down = yield* staged([Fault.serverError()])
      for (const dialect of kinds) {
        const heard = yield* asking(down.url, { key: keys.alice, ...requestOf(dialect, `alias-${dialect}`, false) })
        assert.isAtLeast(heard.status, 500)
        assert.isString(errorOf(heard).message)
        assert.notInclude(heard.body, secret)
      }
    })
  )

  it.scopedLive("of vectors is the one that the client asked for", () =>
    Effect.gen(function* () {
      const { url } = yield* staged([Reply.text("unused")])
      for (const model of ["vectors", "alias-vectors"]) {
        const heard = yield* asking(url, { key: keys.alice, path: "/v1/embeddings", body: { model, input: "a" } })
        assert.strictEqual(heard.status, 200, heard.body)
        assert.strictEqual(JSON.parse(heard.body).model, model)
      }
    })
  )
})
