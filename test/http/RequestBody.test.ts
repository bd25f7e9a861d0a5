import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { Chat } from "effect-steadfast"
import { RequestBody } from "effect-steadfast/http"

const messages = [{ role: "user", content: "hi" }]
const openai = (more: object) => ({ model: "m", messages, ...more })
const anthropic = (more: object) => ({ model: "m", max_tokens: 5, messages, ...more })
const responses = (more: object) => ({ model: "m", input: "hi", ...more })
const item = (one: object) => responses({ input: [one] })
const contents = [{ role: "user", parts: [{ text: "hi" }] }]
const gemini = (more: object) => ({ model: "models/m", contents, ...more })
const part = (one: object) => gemini({ contents: [{ parts: [one] }] })
const openaiMessage = (message: object) => openai({ messages: [message] })

const refusals: ReadonlyArray<readonly [RequestBody.Readable, unknown, string]> = [
  ["openai", undefined, "body: found nothing, expected a JSON object"],
  ["openai", [], "body: found an array, expected an object"],
  ["openai", { messages }, "model: found nothing, expected a string"],
  ["openai", openai({ messages: [] }), "messages: found an empty array, expected at least one message"],
  ["openai", openaiMessage({ role: "user", content: 7 }), "messages[0].content: found a number, expected a string or"],
  ["openai", openaiMessage({ role: "robot" }), 'messages[0].role: found "robot", expected one of "system"'],
  [
    "openai",
    openaiMessage({ role: "tool", content: "" }),
    "messages[0].tool_call_id: found nothing, expected a string"
  ],
  [
    "openai",
    openaiMessage({ role: "assistant", tool_calls: [{ id: "a", function: { name: "f", arguments: "{" } }] }),
    "messages[0].tool_calls[0].function.arguments: found text that is no JSON"
  ],
  [
    "openai",
    openaiMessage({ role: "user", content: [{ type: "video" }] }),
    'messages[0].content[0].type: found "video"'
  ],
  ["openai", openai({ n: 2 }), "n: found 2, expected 1"],
  ["openai", openai({ max_tokens: 0.5 }), "max_tokens: found 0.5, expected a whole number from 1 on"],
  ["openai", openai({ temperature: "hot" }), "temperature: found a string, expected a number"],
  ["openai", openai({ tools: [{ type: "function" }] }), "tools[0].function: found nothing, expected an object"],
  ["openai", openai({ tool_choice: "maybe" }), 'tool_choice: found "maybe"'],
  ["openai", openai({ metadata: { a: 1 } }), "metadata.a: found a number, expected a string"],
  ["anthropic", { model: "m", messages }, "max_tokens: found nothing, expected a whole number"],
  ["anthropic", anthropic({ messages: [{ role: "robot", content: "" }] }), 'messages[0].role: found "robot"'],
  ["anthropic", anthropic({ messages: [] }), "messages: found an empty array, expected at least one message"],
  [
    "anthropic",
    anthropic({ messages: [{ role: "user", content: [{ type: "image", source: { type: "file" } }] }] }),
    'messages[0].content[0].source.type: found "file"'
  ],
  ["anthropic", anthropic({ tools: [{ type: "bash_20250124" }] }), 'tools[0].type: found "bash_20250124"'],
  ["anthropic", anthropic({ thinking: { type: "enabled", budget_tokens: -1 } }), "thinking.budget_tokens: found -1"],
  ["responses", { model: "m" }, "input: found nothing, expected a string or an array of items"],
  ["responses", responses({ input: [] }), "input: found an empty array, expected at least one item"],
  [
    "responses",
    responses({ previous_response_id: "resp_1" }),
    "previous_response_id: found the id of an earlier answer"
  ],
  ["responses", responses({ conversation: "conv_1" }), "conversation: found a conversation"],
  ["responses", responses({ prompt: { id: "pmpt_1" } }), "prompt: found a stored prompt"],
  ["responses", responses({ background: true }), "background: found true, expected false"],
  [
    "responses",
    responses({ tools: [{ type: "web_search" }] }),
    'tools[0].type: found "web_search", expected one of "fu'
  ],
  ["responses", responses({ tool_choice: { type: "mcp" } }), 'tool_choice.type: found "mcp"'],
  ["responses", item({ type: "item_reference", id: "msg_1" }), "input[0]: found the reference to a stored item"],
  ["responses", item({ type: "computer_call" }), 'input[0].type: found "computer_call"'],
  [
    "responses",
    item({ role: "user", content: [{ type: "input_image", file_id: "file-1" }] }),
    "input[0].content[0].file_id: found the id of a stored file"
  ],
  ["gemini", { contents }, "model: found nothing, expected the name of a model in the path"],
  ["gemini", gemini({ contents: [] }), "contents: found an empty array, expected at least one content"],
  ["gemini", gemini({ contents: [{ parts: [] }] }), "contents[0].parts: found nothing, expected at least one part"],
  ["gemini", part({ video: 1 }), "contents[0].parts[0].text: found nothing, expected a text"],
  [
    "gemini",
    part({ functionResponse: { name: "f" } }),
    "contents[0].parts[0].functionResponse.name: found no call that waits for it"
  ],
  ["gemini", gemini({ tools: [{ google_search: {} }] }), "tools[0].googleSearch: found a tool of Google's"],
  ["gemini", gemini({ cachedContent: "cachedContents/1" }), "cachedContent: found the name of stored contents"],
  [
    "gemini",
    gemini({ generationConfig: { candidateCount: 2 } }),
    "generationConfig.candidateCount: found 2, expected 1"
  ]
]

describe("a request that is wrong", () => {
  it.effect.each(refusals)(
    "in %s: %j is told which field, what was found and what was expected",
    ([dialect, sent, said]) =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(RequestBody.decode(dialect, sent))
        assert.strictEqual(error._tag, "InvalidRequest")
        assert.include(error.message, said)
        assert.include(error.message, ", expected ")
      })
  )

  it.effect("never shows a prompt", () =>
    Effect.gen(function* () {
      const prompt = "my secret prompt, which is longer than any word of an API"
      const error = yield* Effect.flip(RequestBody.decode("openai", openaiMessage({ role: prompt })))
      assert.notInclude(error.message, "secret")
    })
  )
})

describe("fields that are not read", () => {
  const sent = openai({ service_tier: "priority", store: true, user: null })

  it.effect("are named, and sent on only where that is asked for", () =>
    Effect.gen(function* () {
      const kept = yield* RequestBody.decode("openai", sent)
      assert.deepStrictEqual(kept.unread, ["service_tier", "store"])
      assert.strictEqual(kept.request.providerOptions, undefined)
      const passed = yield* RequestBody.decode("openai", sent, { passTo: "openai" })
      assert.deepStrictEqual(passed.unread, [])
      assert.deepStrictEqual(passed.request.providerOptions, { openai: { service_tier: "priority", store: true } })
    })
  )

  it.effect("are null without meaning anything", () =>
    Effect.gen(function* () {
      const nothing = openai({ stop: null, tools: null, temperature: null, stream: null, response_format: null })
      const { request, stream } = yield* RequestBody.decode("openai", nothing)
      assert.deepStrictEqual(request, { messages: [Chat.user("hi")] })
      assert.isFalse(stream)
    })
  )
})

describe("thoughts of earlier answers", () => {
  it.effect("go back to a Claude, if they are signed", () =>
    Effect.gen(function* () {
      const thought = { type: "thinking", thinking: "hm", signature: "c2ln" }
      const said = { type: "text", text: "yes" }
      const turns = [
        ...messages,
        { role: "assistant", content: [thought, { ...thought, signature: "" }, said] },
        ...messages
      ]
      const { request } = yield* RequestBody.decode("anthropic", anthropic({ messages: turns }))
      const [, answer] = request.messages
      if (answer?.role !== "assistant") return assert.fail("no answer")
      assert.strictEqual(answer.content, "yes")
      assert.deepStrictEqual(answer.providerData?.reply, { content: [thought, said] })
    })
  )
})
