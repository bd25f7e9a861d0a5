import { assert, describe, it } from "@effect/vitest"
import { FastCheck as fc } from "effect"
import { Capabilities, Chat } from "effect-steadfast"
import * as Continuation from "../../src/chat/stream/Continuation.js"
import { cases } from "../support/cases.js"
import { arbitraryCapabilities, arbitraryNeeds, kindsOf, more } from "./Fallback.support.js"

const runs = { numRuns: cases(10_000) }

const nothing: Capabilities.Needs = {
  tools: false,
  images: false,
  files: false,
  structuredOutput: false,
  prefill: false,
  contextTokens: 0,
  outputTokens: undefined
}

describe("known", () => {
  const windows: ReadonlyArray<readonly [string, string, number | undefined, number | undefined]> = [
    ["openai", "gpt-4o", 128_000, 16_384],
    ["openai", "gpt-4o-mini-2024-07-18", 128_000, 16_384],
    ["openai", "gpt-4o-2024-05-13", 128_000, 4096],
    ["azure-openai", "gpt-4o", 128_000, 16_384],
    ["openai", "ft:gpt-4o-mini-2024-07-18:acme::x1", 128_000, 16_384],
    ["openai", "gpt-4.1-nano", 1_047_576, 32_768],
    ["openai", "gpt-4.1-2025-04-14", 1_047_576, 32_768],
    ["openai", "o4-mini-2025-04-16", 200_000, 100_000],
    ["openai", "gpt-5", 400_000, 128_000],
    ["openai", "gpt-5-mini-2025-08-07", 400_000, 128_000],
    ["openai", "gpt-5.2", 400_000, 128_000],
    ["openai", "gpt-5.4", 1_050_000, 128_000],
    ["openai", "gpt-5.4-mini", 400_000, 128_000],
    ["openrouter", "openai/gpt-5.6-sol", 1_050_000, 128_000],
    ["openai", "gpt-6-astra", 1_050_000, 128_000],
    ["anthropic", "claude-3-5-haiku-20241022", 200_000, undefined],
    ["anthropic", "claude-3-7-sonnet-latest", 200_000, undefined],
    ["openrouter", "anthropic/claude-3.5-sonnet:beta", 200_000, undefined],
    ["anthropic", "claude-sonnet-4-20250514", 200_000, undefined],
    ["anthropic", "claude-opus-4-1-20250805", 200_000, undefined],
    ["vertex", "claude-opus-4@20250514", 200_000, undefined],
    ["bedrock", "us.anthropic.claude-sonnet-4-5-20250929-v1:0", 200_000, 64_000],
    ["anthropic", "claude-haiku-4-5", 200_000, 64_000],
    ["openrouter", "anthropic/claude-sonnet-4.5", 200_000, 64_000],
    ["anthropic", "claude-opus-4-6", 1_000_000, 128_000],
    ["openrouter", "anthropic/claude-sonnet-4.6", 1_000_000, 128_000],
    ["anthropic", "claude-sonnet-5", 1_000_000, 128_000],
    ["anthropic", "claude-haiku-5-5", 1_000_000, 128_000],
    ["gemini", "gemini-2.5-flash", 1_114_112, 65_536],
    ["gemini", "gemini-2.5-pro-preview-05-06", 1_114_112, 65_536],
    ["gemini", "models/gemini-2.5-flash-lite", 1_114_112, 65_536],
    ["gemini", "gemini-3-pro-preview", 1_114_112, 65_536],
    ["gemini", "gemini-3.8-flash", 1_114_112, 65_536],
    ["mistral", "mistral-large-2512", 262_144, undefined],
    ["mistral", "mistral-large-2411", 131_072, undefined],
    ["mistral", "mistral-medium-2505", 131_072, undefined],
    ["deepseek", "deepseek-v4-flash", 1_048_576, 393_216],
    ["xai", "grok-4.3", 1_000_000, undefined],
    ["xai", "grok-4.5-latest", 500_000, undefined]
  ]
  it.each(windows)("%s %s takes %s tokens and answers with up to %s", (provider, model, window, output) => {
    const { contextWindow, maxOutputTokens } = Capabilities.known({ provider, model })
    assert.deepStrictEqual([contextWindow, maxOutputTokens], [window, output])
  })

  const unknown: ReadonlyArray<readonly [string, string]> = [
    ["openai", "my-own-model"],
    ["openai", "my-gpt-4o"],
    ["openai", "gpt-4o-audio-preview"],
    ["openai", "gpt-4o-search-preview"],
    ["openai", "gpt-4o-transcribe"],
    ["openai", "gpt-4"],
    ["openai", "gpt-4-1106-preview"],
    ["openai", "gpt-5-chat-latest"],
    ["openai", "gpt-5.4-pro"],
    ["openai", "gpt-50"],
    ["anthropic", "claude-opus-4-10"],
    ["gemini", "gemini-2.5-flash-preview-tts"],
    ["gemini", "gemini-3-pro-image-preview"],
    ["mistral", "mistral-large-latest"],
    ["mistral", "magistral-medium-latest"],
    ["openrouter", "mistralai/mistral-large-2512"],
    ["deepseek", "deepseek-chat"],
    ["deepseek", "deepseek-v4-flash-vision-exp"],
    ["xai", "grok-3"],
    ["xai", "grok-4"],
    ["together", "meta-llama/Llama-3.3-70B-Instruct-Turbo"],
    ["ollama", "llama3.1:8b"],
    ["vllm", "Qwen/Qwen3-32B"]
  ]
  it.each(unknown)("%s %s: no window", (provider, model) => {
    const { contextWindow, maxOutputTokens } = Capabilities.known({ provider, model })
    assert.deepStrictEqual([contextWindow, maxOutputTokens], [undefined, undefined])
  })

  const images: ReadonlyArray<readonly [string, string, boolean | undefined]> = [
    ["openai", "gpt-4o", true],
    ["openai", "o3", true],
    ["openai", "o3-mini", false],
    ["anthropic", "claude-haiku-4-5", true],
    ["bedrock", "anthropic.claude-3-5-haiku-20241022-v1:0", undefined],
    ["gemini", "gemini-2.5-flash", true],
    ["mistral", "mistral-large-2512", true],
    ["mistral", "mistral-large-2411", false],
    ["mistral", "open-mistral-nemo", false],
    ["mistral", "codestral-2508", false],
    ["mistral", "codestral-latest", undefined],
    ["deepseek", "deepseek-chat", false],
    ["deepseek", "deepseek-v4-flash-vision-exp", undefined],
    ["fireworks", "accounts/fireworks/models/deepseek-v3p1", false],
    ["together", "deepseek-ai/DeepSeek-R1", false],
    ["xai", "grok-4.3", true],
    ["groq", "llama-3.3-70b-versatile", false],
    ["together", "meta-llama/Llama-3.3-70B-Instruct-Turbo", false],
    ["together", "meta-llama/Meta-Llama-3.1-8B-Instruct", false],
    ["fireworks", "accounts/fireworks/models/llama-v3p1-405b-instruct", false],
    ["bedrock", "us.meta.llama3-1-70b-instruct-v1:0", false],
    ["ollama", "llama3.1:8b", false],
    ["ollama", "llama3.3", false],
    ["ollama", "llama3.2-vision", undefined],
    ["together", "meta-llama/Llama-3.2-11B-Vision-Instruct-Turbo", undefined],
    ["groq", "meta-llama/llama-4-scout-17b-16e-instruct", undefined],
    ["together", "Qwen/Qwen2.5-72B-Instruct-Turbo", false],
    ["groq", "qwen/qwen3-32b", false],
    ["ollama", "qwen3:8b", false],
    ["together", "Qwen/Qwen3-Coder-480B-A35B-Instruct", false],
    ["together", "Qwen/Qwen2.5-VL-72B-Instruct", undefined],
    ["together", "Qwen/Qwen3-VL-32B-Instruct", undefined],
    ["together", "Qwen/Qwen3.5-27B", undefined],
    ["groq", "openai/gpt-oss-120b", false],
    ["ollama", "gpt-oss:20b", false]
  ]
  it.each(images)("%s %s: images %s", (provider, model, takes) => {
    assert.strictEqual(Capabilities.known({ provider, model }).images, takes)
  })

  it("says which hosts take no files", () => {
    const takes = (provider: string) => Capabilities.known({ provider, model: "gpt-oss-120b" }).files
    assert.isFalse(takes("groq"))
    assert.isUndefined(takes("openai"))
    assert.isUndefined(takes("acme"))
  })

  const formats: ReadonlyArray<readonly [string, string, Capabilities.Capabilities["structuredOutput"]]> = [
    ["openai", "gpt-4o", "json-schema"],
    ["openai", "gpt-4o-2024-08-06", "json-schema"],
    ["openai", "gpt-4o-2024-05-13", "json"],
    ["openai", "o3-mini", "json-schema"],
    ["anthropic", "claude-3-5-sonnet-20241022", "json"],
    ["anthropic", "claude-sonnet-4-0", "json"],
    ["openrouter", "anthropic/claude-sonnet-4", undefined],
    ["anthropic", "claude-opus-4-1", undefined],
    ["anthropic", "claude-sonnet-4-5-20250929", "json-schema"],
    ["anthropic", "claude-opus-5-5", "json-schema"],
    ["gemini", "gemini-2.5-pro", "json-schema"],
    ["deepseek", "deepseek-chat", "json"],
    ["deepseek", "deepseek-v4-pro", undefined],
    ["together", "deepseek-ai/DeepSeek-V3", undefined],
    ["groq", "llama-3.3-70b-versatile", undefined]
  ]
  it.each(formats)("%s %s: structured output %s", (provider, model, level) => {
    assert.strictEqual(Capabilities.known({ provider, model }).structuredOutput, level)
  })

  it("prefill is what Continuation knows", () => {
    const expected = { prefill: true, turn: false }
    for (const [provider, model] of [...windows, ...unknown, ...images]) {
      const method = Continuation.methodOf({ provider, model })
      assert.strictEqual(
        Capabilities.known({ provider, model }).prefill,
        method === undefined ? undefined : expected[method],
        model
      )
    }
  })

  it("knows nothing of a model that it does not know", () => {
    assert.deepStrictEqual(Capabilities.known({ provider: "openai", model: "m-1" }), {})
  })
})

describe("merge", () => {
  it("what is said counts over what is known, and what is not said counts nothing", () => {
    const known = Capabilities.known({ provider: "openai", model: "gpt-4o" })
    assert.deepStrictEqual(Capabilities.merge(known, {}), known)
    assert.deepStrictEqual(Capabilities.merge(known, { tools: undefined, images: false, contextWindow: 32_000 }), {
      ...known,
      images: false,
      contextWindow: 32_000
    })
    assert.strictEqual(Capabilities.merge(known, { structuredOutput: false }).structuredOutput, false)
  })

  it.each([0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY])("refuses a window of %s tokens", (found) => {
    for (const option of ["contextWindow", "maxOutputTokens"]) {
      assert.throws(
        () => Capabilities.merge({}, { [option]: found }),
        RangeError,
        `capabilities.${option}: found ${found}, expected a positive integer`
      )
    }
  })
})

describe("needs", () => {
  const image = Chat.user([
    { type: "text", text: "what is this?" },
    { type: "image", url: "https://example.com/a.png" }
  ])
  const file = (mediaType: string | undefined) =>
    Chat.user([{ type: "file", url: "https://example.com/a", ...(mediaType === undefined ? {} : { mediaType }) }])
  const tool: Chat.Tool = { name: "clock", parameters: { type: "object" } }
  const call: Chat.ToolCall = { id: "c-1", name: "clock", arguments: {} }
  const hi = Chat.user("hi")

  it("of a plain prompt are its tokens", () => {
    assert.deepStrictEqual(Capabilities.needs(Chat.prompt("hi")), nothing)
  })

  const table: ReadonlyArray<readonly [string, Chat.Request, Partial<Capabilities.Needs>]> = [
    ["an image", { messages: [image, Chat.assistant("a"), hi] }, { images: true }],
    ["a file", { messages: [file("application/pdf")] }, { files: true }],
    ["a file of no stated type", { messages: [file(undefined)] }, { files: true }],
    ["a file that is an image", { messages: [file("image/png")] }, { images: true }],
    ["tools", { messages: [hi], tools: [tool] }, { tools: true }],
    ["no tools at all", { messages: [hi], tools: [] }, {}],
    [
      "tools that were called",
      { messages: [hi, Chat.assistant("", [call]), Chat.toolResult("c-1", "noon")] },
      { tools: true }
    ],
    ["a result whose call is not there any more", { messages: [Chat.toolResult("c-1", "noon"), hi] }, { tools: true }],
    ["any JSON", { messages: [hi], responseFormat: { type: "json" } }, { structuredOutput: "json" }],
    [
      "JSON by a schema",
      { messages: [hi], responseFormat: { type: "json-schema", name: "a", schema: {} } },
      { structuredOutput: "json-schema" }
    ],
    ["an answer that was begun", { messages: [hi, Chat.assistant("Once")] }, { prefill: true }],
    ["an answer before a question", { messages: [Chat.assistant("Once"), hi] }, {}],
    ["calls that wait for results", { messages: [hi, Chat.assistant("", [call])] }, { tools: true }],
    ["a long answer", { messages: [hi], maxTokens: 1000 }, { contextTokens: 1000, outputTokens: 1000 }]
  ]
  it.each(table)("%s", (_, request, needs) => {
    const { contextTokens, ...found } = Capabilities.needs(request)
    const { contextTokens: expected, ...rest } = { ...nothing, ...needs }
    assert.deepStrictEqual(found, rest)
    assert.isAtLeast(contextTokens, expected)
    assert.isAtMost(contextTokens, expected + 4)
  })

  // What o200k_base counts, whose tokens are long.
  const counted: ReadonlyArray<readonly [string, string, number]> = [
    [
      "English",
      "The licensee shall not, without the prior written consent of the licensor, assign this agreement.",
      20
    ],
    [
      "German",
      "Die Donaudampfschifffahrtsgesellschaft hat im vergangenen Jahr mehrere neue Schiffe bestellt, weil die alten den gestiegenen Anforderungen nicht mehr genügten. ",
      35
    ],
    ["code", "const last = request.messages[request.messages.length - 1]", 13],
    ["Chinese", "大型语言模型是一种人工智能系统,它能够理解和生成自然语言文本。", 18],
    ["Korean", "대규모 언어 모델은 인간의 언어를 이해하고 생성할 수 있는 인공지능 시스템입니다.", 24],
    ["Japanese", "ありがとうございました。よろしくお願いいたします。", 8],
    ["indents", `${" ".repeat(60)}x\n`.repeat(60), 180],
    ["rules", `${"-".repeat(79)}\n`.repeat(50), 100],
    ["emoji", "👍".repeat(20), 20]
  ]
  it.each(counted)("estimates no more tokens than there are: %s", (_, text, tokens) => {
    assert.isAtMost(Capabilities.needs(Chat.prompt(text)).contextTokens, tokens)
  })

  it("and enough to see that a prompt is far too long", () => {
    const english = "The quick brown fox jumps over the lazy dog. "
    const chinese = "大型语言模型是一种人工智能系统。"
    assert.isAtLeast(Capabilities.needs(Chat.prompt(english.repeat(10_000))).contextTokens, 70_000)
    assert.isAtLeast(Capabilities.needs(Chat.prompt(chinese.repeat(10_000))).contextTokens, 40_000)
  })

  it("counts every text of a conversation, and no image", () => {
    const words = "one two three four five six seven eight nine ten "
    const long = Chat.request({
      messages: [
        Chat.system(words),
        Chat.user([
          { type: "text", text: words },
          { type: "image", data: "iVBORw0KGgo".repeat(10_000), mediaType: "image/png" }
        ]),
        Chat.assistant(words, [call]),
        Chat.toolResult("c-1", words)
      ]
    })
    const one = Capabilities.needs(Chat.prompt(words)).contextTokens
    assert.isAtLeast(Capabilities.needs(long).contextTokens, 4 * one)
    assert.isAtMost(Capabilities.needs(long).contextTokens, 4 * one + 3)
  })

  it("does not count a prompt that fits whatever it says, and says the same of every window from there on", () => {
    const text = fc.string({ unit: fc.constantFrom("a", "b", " ", "大", "型", "👍"), maxLength: 60 })
    const windows = fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1, maxLength: 4 })
    const maxTokens = fc.option(fc.integer({ min: 1, max: 20 }), { nil: undefined })
    fc.assert(
      fc.property(text, windows, maxTokens, (text, windows, maxTokens) => {
        const request = Chat.prompt(text, { maxTokens })
        const counted = Capabilities.needs(request)
        const bounded = Capabilities.needs(request, Math.min(...windows))
        for (const contextWindow of windows) {
          assert.deepStrictEqual(
            Capabilities.lacking({ contextWindow }, bounded),
            Capabilities.lacking({ contextWindow }, counted)
          )
        }
      }),
      runs
    )
    assert.strictEqual(Capabilities.needs(Chat.prompt("abc".repeat(100), { maxTokens: 5 }), 80).contextTokens, 5)
    assert.strictEqual(Capabilities.needs(Chat.prompt("abc".repeat(100), { maxTokens: 6 }), 80).contextTokens, 56)
  })
})

describe("lacking", () => {
  const everything: Capabilities.Needs = {
    tools: true,
    images: true,
    files: true,
    structuredOutput: "json-schema",
    prefill: true,
    contextTokens: 150_000,
    outputTokens: 20_000
  }

  it("is said in words", () => {
    const words = Capabilities.lacking(
      {
        contextWindow: 128_000,
        maxOutputTokens: 16_384,
        tools: false,
        images: false,
        files: false,
        structuredOutput: "json",
        prefill: false
      },
      everything
    )
    assert.deepStrictEqual(words, [
      "tools",
      "images",
      "files",
      "answers by a JSON schema",
      "a prefilled answer",
      "a context window of 150000 tokens (has 128000)",
      "answers of 20000 tokens (has 16384)"
    ])
    assert.deepStrictEqual(
      Capabilities.lacking({ structuredOutput: false }, { ...nothing, structuredOutput: "json" }),
      ["JSON answers"]
    )
  })

  it("is nothing where the window and the answer just fit", () => {
    assert.deepStrictEqual(Capabilities.lacking({ contextWindow: 150_000, maxOutputTokens: 20_000 }, everything), [])
  })

  it("is nothing where nothing is known", () => {
    fc.assert(
      fc.property(arbitraryNeeds, (needs) => {
        assert.deepStrictEqual(Capabilities.lacking({}, needs), [])
      }),
      runs
    )
  })

  it("is nothing where nothing is needed", () => {
    fc.assert(
      fc.property(arbitraryCapabilities, (capabilities) => {
        assert.deepStrictEqual(Capabilities.lacking(capabilities, nothing), [])
      }),
      runs
    )
  })

  it("never grows with what can be done", () => {
    fc.assert(
      fc.property(arbitraryCapabilities, arbitraryCapabilities, arbitraryNeeds, (a, b, needs) => {
        assert.includeMembers(kindsOf(Capabilities.lacking(a, needs)), kindsOf(Capabilities.lacking(more(a, b), needs)))
      }),
      runs
    )
  })

  it("never grows with what is not known", () => {
    fc.assert(
      fc.property(
        arbitraryCapabilities,
        fc.subarray([
          "contextWindow",
          "maxOutputTokens",
          "tools",
          "images",
          "files",
          "structuredOutput",
          "prefill"
        ] as const),
        arbitraryNeeds,
        (a, forgotten, needs) => {
          const less = { ...a, ...Object.fromEntries(forgotten.map((key) => [key, undefined])) }
          assert.includeMembers([...Capabilities.lacking(a, needs)], [...Capabilities.lacking(less, needs)])
        }
      ),
      runs
    )
  })
})
