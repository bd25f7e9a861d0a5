import { HttpClient } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Redacted, TestClock } from "effect"
import { RetryPolicy } from "effect-steadfast"
import * as Models from "effect-steadfast/Models"
import { Fault, FaultyProvider, Reply } from "effect-steadfast/testing"
import { collect, only } from "../support/evidence.js"

const apiKey = Redacted.make("sk-models-8xW2")

const over = (script: ReadonlyArray<FaultyProvider.Answer>) =>
  Effect.map(FaultyProvider.make({ script }), (provider) => ({
    provider,
    list: (options: Models.Options) =>
      Effect.provideService(Models.list({ apiKey, ...options }), HttpClient.HttpClient, provider.client)
  }))

const many = Array.from({ length: 2500 }, (_, index) => `m-${index}`)

describe("list", () => {
  it.effect("names the models of OpenAI, and of servers that speak its API", () =>
    Effect.gen(function* () {
      const { list, provider } = yield* over([Reply.text("gpt-4o-mini text-embedding-3-small")])
      assert.deepStrictEqual(yield* list({}), [
        { id: "gpt-4o-mini", owner: "system", createdAt: Date.UTC(2025, 0, 1) },
        { id: "text-embedding-3-small", owner: "system", createdAt: Date.UTC(2025, 0, 1) }
      ])
      const request = only(yield* provider.requests)
      assert.deepStrictEqual([request.method, request.host, request.url], ["GET", "api.openai.com", "/v1/models"])
      assert.lengthOf(yield* list({ provider: "groq" }), 2)
      const last = (yield* provider.requests).at(-1)
      assert.deepStrictEqual([last?.host, last?.url], ["api.groq.com", "/openai/v1/models"])
    })
  )

  it.effect("reads all pages of Anthropic", () =>
    Effect.gen(function* () {
      const { list, provider } = yield* over([Reply.text(many.join(" "))])
      const models = yield* list({ provider: "anthropic" })
      assert.deepStrictEqual(
        models.map(({ id }) => id),
        many
      )
      assert.deepStrictEqual(models[0], { id: "m-0", name: "m-0", createdAt: Date.UTC(2025, 0, 1) })
      assert.deepStrictEqual(
        (yield* provider.requests).map(({ url }) => url),
        ["/v1/models?limit=1000", "/v1/models?limit=1000&after_id=m-999", "/v1/models?limit=1000&after_id=m-1999"]
      )
      assert.strictEqual((yield* provider.requests)[0]?.headers["x-api-key"], "sk-models-8xW2")
    })
  )

  it.effect("reads all pages of Gemini, with windows and methods", () =>
    Effect.gen(function* () {
      const { list, provider } = yield* over([Reply.text(["gemini-embedding-001", ...many].join(" "))])
      const models = yield* list({ provider: "gemini" })
      assert.lengthOf(models, 2501)
      assert.deepStrictEqual(models[0], {
        id: "gemini-embedding-001",
        name: "gemini-embedding-001",
        contextWindow: 1_048_576,
        maxTokens: 65_536,
        methods: ["embedContent"]
      })
      assert.lengthOf(yield* provider.requests, 3)
    })
  )

  it.effect("is bounded: a list that does not end is an InvalidResponse", () =>
    Effect.gen(function* () {
      const { list, provider } = yield* over([Reply.text(many.join(" "))])
      const error = yield* Effect.flip(list({ provider: "anthropic", maxPages: 2 }))
      assert.propertyVal(error, "_tag", "InvalidResponse")
      assert.include(String(error.message), "found more than 2 pages")
      assert.lengthOf(yield* provider.requests, 2)

      const loop = yield* over([Reply.json({ data: [{ id: "a" }], has_more: true, last_id: "a" })])
      const same = yield* Effect.flip(loop.list({ provider: "anthropic" }))
      assert.include(String(same.message), "names itself as the next")
      assert.lengthOf(yield* loop.provider.requests, 2)
    })
  )

  it.effect.each([
    [{ api: "openai" }, {}, "data: found nothing, expected an array"],
    [{ api: "anthropic" }, { data: 1 }, "data: found a number, expected an array"]
  ] as const)("of no list is an InvalidResponse: %#", ([options, body, message]) =>
    Effect.gen(function* () {
      const { list } = yield* over([Reply.json(body)])
      const error = yield* Effect.flip(list(options))
      assert.propertyVal(error, "_tag", "InvalidResponse")
      assert.include(String(error.message), message)
    })
  )

  it.effect("takes a bare list, an empty one, and leaves out what has no name", () =>
    Effect.gen(function* () {
      const bare = yield* over([Reply.json([{ id: "a" }, { id: "" }, null])])
      assert.deepStrictEqual(yield* bare.list({ provider: "together" }), [{ id: "a" }])
      const empty = yield* over([Reply.json({})])
      assert.deepStrictEqual(yield* empty.list({ api: "gemini" }), [])
    })
  )

  it.effect.each(["openai", "anthropic", "gemini"] as const)("of %s fails with typed errors", (api) =>
    Effect.gen(function* () {
      for (const [step, tag] of [
        [Fault.unauthorized(), "AuthError"],
        [Fault.rateLimited(), "RateLimited"],
        [Fault.resetBeforeHeaders(), "ConnectionError"],
        [Fault.garbage, "InvalidResponse"]
      ] as const) {
        const { list } = yield* over([step])
        const error = yield* Effect.flip(list({ api }))
        assert.propertyVal(error, "_tag", tag)
        assert.propertyVal(error, "model", undefined)
        assert.notInclude(JSON.stringify(error), "sk-models-8xW2")
      }
    })
  )

  it.effect("is retried by a policy, and leaves no record", () =>
    Effect.gen(function* () {
      const { list } = yield* over([Fault.status(500), Reply.text("a")])
      const evidence = collect()
      const fiber = yield* Effect.fork(Effect.provide(list({ retry: RetryPolicy.standard }), evidence.layer))
      yield* TestClock.adjust("1 minute")
      assert.lengthOf(yield* Fiber.join(fiber), 1)
      assert.isEmpty(evidence.records)
    })
  )

  it.effect("without an address is a ConfigError", () =>
    Effect.gen(function* () {
      const { list } = yield* over([])
      const error = yield* Effect.flip(list({ provider: "nobody" }))
      assert.include(String(error), "expected a baseUrl")
    })
  )
})
