import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { json, provider } from "./origin.js"
import { asking, chat, errorOf, isRefused, keys, stage } from "./stage.js"

const usage = { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 }
const completion = (message: object, reason: string) => ({
  id: "c-1",
  object: "chat.completion",
  created: 1,
  model: "gpt",
  choices: [{ index: 0, message: { role: "assistant", ...message }, finish_reason: reason }],
  usage,
  own: "kept"
})

/** What a model of each kind says where it refuses. */
const refusals = {
  openai: [
    completion({ content: null, refusal: "I cannot." }, "stop"),
    completion({ content: "I", refusal: null }, "content_filter")
  ],
  responses: [
    {
      id: "r-1",
      object: "response",
      status: "completed",
      model: "gpt",
      output: [
        {
          id: "m",
          type: "message",
          role: "assistant",
          status: "completed",
          content: [{ type: "refusal", refusal: "No." }]
        }
      ],
      usage: { input_tokens: 3, output_tokens: 2, total_tokens: 5 },
      own: "kept"
    }
  ],
  anthropic: [
    {
      id: "msg_1",
      type: "message",
      role: "assistant",
      model: "claude",
      content: [{ type: "text", text: "I" }],
      stop_reason: "refusal",
      usage: { input_tokens: 3, output_tokens: 2 },
      own: "kept"
    }
  ],
  gemini: [
    {
      candidates: [{ content: { role: "model", parts: [{ text: "I" }] }, finishReason: "SAFETY", index: 0 }],
      usageMetadata: { promptTokenCount: 3, candidatesTokenCount: 2, totalTokenCount: 5 },
      own: "kept"
    },
    {
      promptFeedback: { blockReason: "PROHIBITED_CONTENT" },
      usageMetadata: { promptTokenCount: 3, totalTokenCount: 3 },
      own: "kept"
    }
  ]
} as const

type Kind = keyof typeof refusals

const kinds = Object.keys(refusals) as ReadonlyArray<Kind>

const requests = {
  openai: (model: string) => ({ path: "/v1/chat/completions", body: chat(model) }),
  responses: (model: string) => ({ path: "/v1/responses", body: { model, input: "say hello" } }),
  anthropic: (model: string) => ({ path: "/v1/messages", body: chat(model, { max_tokens: 9 }) }),
  gemini: (model: string) => ({
    path: `/v1beta/models/${model}:generateContent`,
    body: { contents: [{ role: "user", parts: [{ text: "say hello" }] }] }
  })
} as const

/** A model of each kind that answers so, and models that go on after a refusal. */
const staged = (answers: Record<string, ReturnType<typeof json>>) =>
  Effect.gen(function* () {
    const { heard, url } = yield* provider(({ body, url }) => {
      const named = /models\/([^:]+):/.exec(url)?.[1] ?? JSON.parse(String(body)).model
      return answers[named] ?? json(500, { error: { message: "down" } })
    })
    const made = yield* stage(`
server: { adminKey: ${keys.admin} }
providers:
${kinds.map((kind) => `  ${kind}: { kind: ${kind}, baseUrl: "${url}", key: ${keys.first} }`).join("\n")}
keys: [{ name: alice, key: ${keys.alice} }]
defaults: { retry: { maxAttempts: 1 }, deadline: 5s }
models:
${kinds.map((kind) => `  ${kind}: ${kind}/no-${kind}`).join("\n")}
  going: { targets: [openai/no-openai], mode: continue }
  next: { targets: [openai/no-openai, anthropic/yes], fallback: { ContentFiltered: true } }
  both: { targets: [openai/no-openai, anthropic/no-anthropic], fallback: { ContentFiltered: true } }
  down: { targets: [openai/no-openai, openai/down], fallback: { ContentFiltered: true } }`)
    const ask = (kind: Kind, model: string, more: object = {}) =>
      asking(made.url, { key: keys.alice, ...requests[kind](model), ...more })
    return { ...made, ask, heard }
  })

const of = (kind: Kind, index = 0) => json(200, refusals[kind][index])

describe("a whole answer in which a model refuses", () => {
  for (const kind of kinds) {
    for (const [index, refusal] of refusals[kind].entries()) {
      it.scopedLive(`${index + 1} of ${kind} is what its own clients get, and an error to others`, () =>
        Effect.gen(function* () {
          const { ask, url } = yield* staged({ [`no-${kind}`]: of(kind, index) })
          for (const dialect of kinds) {
            const heard = yield* ask(dialect, kind)
            if (dialect !== kind) {
              isRefused(heard, 400, dialect)
              assert.include(JSON.stringify(errorOf(heard)).toLowerCase(), "content_filter")
              continue
            }
            assert.deepStrictEqual([heard.status, JSON.parse(heard.body)], [200, refusal])
            assert.strictEqual(heard.headers["x-steadfast-served-by"], `${kind}/no-${kind}`)
            assert.strictEqual(heard.headers["x-steadfast-attempts"], "1")
            assert.include(heard.headers["content-type"], "application/json")
          }
          const { body: metrics } = yield* asking(url, { path: "/metrics", key: keys.admin })
          const attempts = metrics.split("\n").filter((line) => line.startsWith("steadfast_attempts_total{"))
          const own = attempts.filter((line) => line.includes(`"${kind}/no-${kind}"`))
          assert.lengthOf(own, 1)
          // The counts are the process's.
          assert.match(own[0] ?? "", /outcome="failure",error_type="ContentFiltered"\} (?:4|8)$/)
        })
      )
    }
  }

  it.scopedLive("is no answer where another target gives one, or where the call ends otherwise", () =>
    Effect.gen(function* () {
      const yes = { ...refusals.anthropic[0], content: [{ type: "text", text: "Yes" }], stop_reason: "end_turn" }
      const { ask, heard } = yield* staged({
        "no-openai": of("openai"),
        "no-anthropic": of("anthropic"),
        yes: json(200, yes)
      })
      const next = yield* ask("openai", "next")
      assert.deepStrictEqual([next.status, next.headers["x-steadfast-served-by"]], [200, "anthropic/yes"])
      assert.notInclude(next.body, "kept")
      isRefused(yield* ask("openai", "both"), 400, "openai")
      const claude = yield* ask("anthropic", "both")
      assert.deepStrictEqual([claude.status, JSON.parse(claude.body)], [200, refusals.anthropic[0]])
      isRefused(yield* ask("openai", "down"), 502, "openai")
      // What may go on elsewhere is always said in our words.
      isRefused(yield* ask("openai", "going"), 400, "openai")
      assert.lengthOf(heard, 9)
    })
  )

  it.scopedLive("is an error where it is long, is none of JSON, or its client reads no other's frames", () =>
    Effect.gen(function* () {
      const long = { ...refusals.openai[0], more: "x".repeat(70_000) }
      const { ask } = yield* staged({ "no-openai": json(200, long), "no-anthropic": json(200, refusals.anthropic[0]) })
      isRefused(yield* ask("openai", "openai"), 400, "openai")
      const mistral = { headers: { "user-agent": "mistral-client-typescript/2.7" } }
      isRefused(yield* ask("anthropic", "anthropic", mistral), 400, "anthropic")
    })
  )
})
