import { assert, describe, it } from "@effect/vitest"
import { ModelsBody } from "effect-steadfast/http"
import type { Json } from "./wires.js"

describe("the models of a service", () => {
  const models = [{ id: "fast" }, { id: "careful", name: "Careful", created: 1_790_000_000, ownedBy: "us" }]
  const fast = {
    id: "fast",
    object: "model",
    type: "model",
    created: 0,
    created_at: "1970-01-01T00:00:00Z",
    owned_by: "steadfast",
    display_name: "fast"
  }

  const supportedGenerationMethods = ["generateContent", "streamGenerateContent"]
  const toGemini = [
    { name: "models/fast", displayName: "fast", supportedGenerationMethods },
    { name: "models/careful", displayName: "Careful", supportedGenerationMethods }
  ]

  it("are told to all clients at once", () => {
    const careful = {
      id: "careful",
      object: "model",
      type: "model",
      created: 1_790_000_000,
      created_at: "2026-09-21T14:13:20Z",
      owned_by: "us",
      display_name: "Careful"
    }
    assert.deepStrictEqual(ModelsBody.list(models), {
      object: "list",
      data: [fast, careful],
      models: toGemini,
      has_more: false,
      first_id: "fast",
      last_id: "careful"
    })
    const { first_id, last_id } = ModelsBody.list([])
    assert.deepStrictEqual([first_id, last_id], [null, null])
  })

  it.each([Number.NaN, Number.POSITIVE_INFINITY, 1e300])("have a date, whatever is told as one: %s", (created) => {
    assert.deepStrictEqual(ModelsBody.one({ id: "fast", created }), { ...fast, ...toGemini[0] })
  })

  it("are told to the clients of Gemini", () => {
    assert.deepStrictEqual(ModelsBody.geminiList(models), { models: toGemini })
  })
})

describe("models for Ollama's clients", () => {
  it("have all fields that clients read", () => {
    const { models } = ModelsBody.ollamaList([{ id: "fast", created: 1_790_000_000 }]) as {
      readonly models: ReadonlyArray<Json>
    }
    assert.deepInclude(models[0], { name: "fast", model: "fast", modified_at: "2026-09-21T14:13:20Z" })
    assert.hasAllKeys(models[0], ["name", "model", "modified_at", "size", "digest", "details"])
    assert.deepInclude(ModelsBody.ollamaOne({ id: "fast" }, ["completion"]), { capabilities: ["completion"] })
  })
})

describe("models for Cohere's clients", () => {
  it("have their names and endpoints", () => {
    assert.deepStrictEqual(
      (ModelsBody.cohereList([{ id: "a" }, { id: "b", kind: "embeddings" }]).models as ReadonlyArray<Json>).map(
        ({ endpoints, name }) => [name, endpoints]
      ),
      [
        ["a", ["chat"]],
        ["b", ["embed"]]
      ]
    )
  })
})
