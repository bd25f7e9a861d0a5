import { assert, describe, it } from "@effect/vitest"
import { Effect, FastCheck as fc, Logger, LogLevel } from "effect"
import { Chat, LlmError, OpenAi } from "effect-steadfast"
import { Reply } from "effect-steadfast/testing"
import * as OpenAiChatRequest from "../../src/providers/openai/OpenAiChatRequest.js"
import * as OpenAiModels from "../../src/providers/openai/OpenAiModels.js"
import * as OpenAiReasoning from "../../src/providers/openai/OpenAiReasoning.js"
import { cases } from "../support/cases.js"
import { at, peer } from "./support.js"

/** What is written for a server and a model. */
const encode = (provider: string, model: string, request: Chat.Request, streaming = false) => {
  const dialect = OpenAi.dialects.get(provider) ?? { maxTokens: "max_tokens", seed: "seed", streamUsage: true }
  return OpenAiChatRequest.encode(provider, model, dialect)(request, streaming)
}

const written = (provider: string, model: string, request: Chat.Request) => {
  const encoded = encode(provider, model, request)
  if (encoded instanceof Error) return assert.fail(encoded.message)
  return { body: encoded.body as Record<string, unknown>, leftOut: encoded.leftOut }
}

const bodyOf = (provider: string, model: string, request: Chat.Request) => written(provider, model, request).body

const refused = (provider: string, model: string, request: Chat.Request) => {
  const encoded = encode(provider, model, request)
  return encoded instanceof Error ? encoded : assert.fail("nothing was refused")
}

const asking = (request: Omit<Chat.Request, "messages"> = {}) => Chat.prompt("hi", request)
const messagesOf = (provider: string, messages: ReadonlyArray<Chat.Message>, model = "m") =>
  bodyOf(provider, model, { messages: [Chat.user("hi"), ...messages] }).messages as ReadonlyArray<unknown>

const look: Chat.Tool = { name: "look", parameters: { type: "object" } }
const call = (id: string, providerData?: Chat.ProviderData): Chat.ToolCall => ({
  id,
  name: "look",
  arguments: {},
  ...(providerData === undefined ? {} : { providerData })
})
const data = (reply: unknown, provider = "deepseek", wire = "openai-chat"): Chat.ProviderData => ({
  wire,
  provider,
  model: "m",
  reply
})
const said = (content: string, providerData: Chat.ProviderData, toolCalls: ReadonlyArray<Chat.ToolCall> = []) =>
  ({ role: "assistant", content, toolCalls, providerData }) as const

describe("thoughts", () => {
  it("go back as the fields that they came in, and nothing else with them", () => {
    const reply = {
      reasoning_content: "Hm.",
      reasoning_details: [{ type: "reasoning.encrypted", data: "x" }],
      extra_content: { google: { thought_signature: "s" } },
      role: "system",
      tool_calls: "?"
    }
    const [, message] = messagesOf("deepseek", [said("", data(reply), [call("a")])])
    assert.deepStrictEqual(message, {
      role: "assistant",
      content: null,
      reasoning_content: "Hm.",
      reasoning_details: reply.reasoning_details,
      extra_content: reply.extra_content,
      tool_calls: [{ id: "a", type: "function", function: { name: "look", arguments: "{}" } }]
    })
  })

  it("of another provider or another wire format stay where they are", () => {
    for (const foreign of [
      data({ reasoning_content: "Hm." }, "groq"),
      data({ reasoning_content: "Hm." }, "deepseek", "anthropic")
    ]) {
      assert.deepStrictEqual(messagesOf("deepseek", [said("yes", foreign)])[1], { role: "assistant", content: "yes" })
    }
  })

  it("in a list of parts go back as long as the text is the same", () => {
    const parts = [
      { type: "thinking", thinking: [{ type: "text", text: "Hm." }], closed: true },
      { type: "text", text: "yes" }
    ]
    const providerData = data({ content: parts }, "mistral")
    assert.deepStrictEqual(at(messagesOf("mistral", [said("yes", providerData)]), 1, "content"), parts)
    assert.strictEqual(at(messagesOf("mistral", [said("no", providerData)]), 1, "content"), "no")
  })

  it("without parts leave the content as it is", () => {
    const [, message] = messagesOf("mistral", [said("", data({ content: [] }, "mistral"), [call("abcdefghi")])])
    assert.isNull(at(message, "content"))
  })

  it("on a tool call go back on it", () => {
    const extra_content = { google: { thought_signature: "s" } }
    const calls = [call("a", data({ extra_content }, "google")), call("b"), call("c", data({ extra_content }, "other"))]
    const [, message] = messagesOf("google", [Chat.assistant("", calls)])
    assert.deepStrictEqual(at(message, "tool_calls", 0, "extra_content"), extra_content)
    assert.isUndefined(at(message, "tool_calls", 1, "extra_content"))
    assert.isUndefined(at(message, "tool_calls", 2, "extra_content"))
  })

  it("that are anything break no request", () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.string(), (reply, content) => {
        const providerData = data(reply, "mistral")
        const messages = messagesOf("mistral", [said(content, providerData, [call("abcdefghi", providerData)])])
        assert.strictEqual(messages.length, 2)
      }),
      { numRuns: cases(1000, 100) }
    )
  })

  it.effect("of an answer are in the next request", () =>
    Effect.gen(function* () {
      const tool_calls = [{ id: "a", type: "function", function: { name: "look", arguments: "{}" } }]
      const message = { role: "assistant", content: null, reasoning_content: "Hm.", tool_calls }
      const { model, provider } = yield* peer(OpenAi.make({ provider: "deepseek", model: "deepseek-v4-pro" }), {
        script: [Reply.json({ id: "1", choices: [{ message, finish_reason: "tool_calls" }] }), Reply.text("ok")]
      })
      const answer = yield* model.generate(Chat.prompt("hi"))
      yield* model.generate({ messages: [Chat.user("hi"), Chat.reply(answer), Chat.toolResult("a", "a cat")] })
      const [, second] = yield* provider.requests
      assert.deepStrictEqual(at(second?.body, "messages", 1), message)
    })
  )
})

describe("tools", () => {
  it("that are none take their other fields with them", () => {
    const { body, leftOut } = written(
      "openai",
      "gpt-4o",
      asking({ tools: [], toolChoice: "auto", providerOptions: { openai: { parallel_tool_calls: false } } })
    )
    assert.deepStrictEqual(Object.keys(body), ["model", "messages"])
    assert.deepStrictEqual(leftOut, ["toolChoice (there are no tools)", "parallel_tool_calls (there are no tools)"])
  })

  it("of the provider options count", () => {
    const options = { tools: [{ type: "web_search" }], parallel_tool_calls: false }
    const body = bodyOf("openai", "gpt-4o", asking({ toolChoice: "required", providerOptions: { openai: options } }))
    assert.deepInclude(body, { ...options, tool_choice: "required" })
  })

  it("have ids that the server takes", () => {
    const messages = [Chat.assistant("", [call("x".repeat(41))]), Chat.toolResult("x".repeat(41), "a cat")]
    for (const [provider, model, pattern] of [
      ["openai", "gpt-4o", /^.{1,40}$/],
      ["mistral", "m", /^[a-zA-Z0-9]{9}$/],
      ["vllm", "mistralai/Devstral-Small", /^[a-zA-Z0-9]{9}$/]
    ] as const) {
      const [, assistant, result] = messagesOf(provider, messages, model)
      const id = at(assistant, "tool_calls", 0, "id")
      assert.match(String(id), pattern)
      assert.strictEqual(at(result, "tool_call_id"), id)
    }
  })

  it("that Chat Completions takes only without reasoning", () => {
    const effortOf = (model: string, request: Omit<Chat.Request, "messages">) => {
      const { body, leftOut } = written("openai", model, asking({ tools: [look], ...request }))
      return [body.reasoning_effort, leftOut.length]
    }
    const high = { reasoning: { effort: "high" } } as const
    assert.deepStrictEqual(effortOf("gpt-5.1", high), ["high", 0])
    assert.deepStrictEqual(effortOf("gpt-5.4", high), [undefined, 1])
    assert.deepStrictEqual(effortOf("gpt-5.4", {}), [undefined, 0])
    assert.deepStrictEqual(effortOf("gpt-5.6-sol", high), ["none", 1])
    assert.deepStrictEqual(effortOf("gpt-5.6-sol", {}), ["none", 1])
    assert.deepStrictEqual(effortOf("gpt-5.6-sol", { reasoning: { effort: "none" } }), ["none", 0])
    assert.deepStrictEqual(effortOf("gpt-5.6-sol", { providerOptions: { openai: { reasoning_effort: "high" } } }), [
      "high",
      0
    ])
    assert.strictEqual(bodyOf("openai", "gpt-5.6-sol", asking(high)).reasoning_effort, "high")
  })
})

describe("messages", () => {
  it("of the assistant that say nothing are left out", () => {
    const { body, leftOut } = written("openai", "gpt-4o", {
      messages: [Chat.user("hi"), Chat.assistant(""), Chat.user("and?")]
    })
    assert.strictEqual((body.messages as ReadonlyArray<unknown>).length, 2)
    assert.deepStrictEqual(leftOut, ["messages[1] (empty)"])
  })

  it("of the assistant at the end are marked as a beginning where the server wants it, unless they call", () => {
    assert.isTrue(at(messagesOf("mistral", [Chat.assistant("He")]), 1, "prefix"))
    assert.isUndefined(at(messagesOf("mistral", [Chat.assistant("He", [call("abcdefghi")])]), 1, "prefix"))
    assert.isUndefined(at(messagesOf("openai", [Chat.assistant("He")]), 1, "prefix"))
  })

  it("lose empty parts beside others", () => {
    const text = (text: string) => ({ type: "text", text }) as const
    const contentOf = (...parts: ReadonlyArray<ReturnType<typeof text>>) =>
      at(bodyOf("openai", "gpt-4o", { messages: [Chat.user(parts)] }).messages, 0, "content")
    assert.deepStrictEqual(contentOf(text(""), text("hi")), [text("hi")])
    assert.deepStrictEqual(contentOf(text("")), [text("")])
    assert.strictEqual(contentOf(text(""), text("")), "")
  })
})

describe("fields", () => {
  const sampling = { temperature: 0.2, topP: 0.9, stop: ["END"], maxTokens: 5 }
  const sampled = { temperature: 0.2, top_p: 0.9 }

  it("that a reasoning model refuses are left out, and said", () => {
    for (const model of ["o1", "o3-mini-2025-01-31", "gpt-5", "gpt-5-codex", "gpt-5.5", "gpt-6-luna", "openai/gpt-7"]) {
      const { body, leftOut } = written("acme", model, asking(sampling))
      assert.deepStrictEqual(Object.keys(body), ["model", "messages", "max_completion_tokens"], model)
      const none = (name: string) => `${name} (${model} takes none)`
      assert.deepStrictEqual(leftOut, [none("temperature"), none("topP"), none("stop")])
    }
  })

  it("are sent where the model does not reason", () => {
    for (const model of ["gpt-4o", "gpt-4.1-mini", "gpt-3.5-turbo", "gpt-35-turbo", "gpt-5-chat-latest", "llama-3"]) {
      assert.deepInclude(bodyOf("acme", model, asking(sampling)), { ...sampled, stop: ["END"], max_tokens: 5 }, model)
    }
    assert.deepInclude(bodyOf("openai", "gpt-5.1", asking(sampling)), sampled)
    assert.isUndefined(bodyOf("openai", "gpt-5.1", asking({ ...sampling, reasoning: { effort: "low" } })).temperature)
    assert.deepInclude(bodyOf("openai", "gpt-5.5", asking({ ...sampling, reasoning: { effort: "none" } })), sampled)
    assert.isUndefined(
      bodyOf("openai", "gpt-5.1", asking({ ...sampling, providerOptions: { openai: { reasoning_effort: "low" } } }))
        .temperature
    )
  })

  it("of the provider options are sent as they are, once", () => {
    const options = { temperature: 0.5, stop: "x", metadata: { a: "b" }, max_tokens: 7 }
    const body = bodyOf("openai", "gpt-5", asking({ ...sampling, providerOptions: { openai: options } }))
    assert.deepInclude(body, options)
    assert.isUndefined(body.max_completion_tokens)
  })

  it("are left to a server that knows what its models take", () => {
    assert.deepInclude(bodyOf("openrouter", "openai/gpt-5", asking(sampling)), {
      ...sampled,
      stop: ["END"],
      max_tokens: 5
    })
  })

  it("that are fixed for a model, or unknown to it", () => {
    assert.isUndefined(bodyOf("moonshot", "kimi-k2.6", asking(sampling)).temperature)
    assert.strictEqual(bodyOf("moonshot", "moonshot-v1-8k", asking(sampling)).temperature, 0.2)
    assert.isUndefined(bodyOf("xai", "grok-4.5", asking(sampling)).stop)
    assert.deepStrictEqual(bodyOf("xai", "grok-3", asking(sampling)).stop, ["END"])
    assert.isUndefined(bodyOf("groq", "llama", asking({ stop: [] })).stop)
  })

  it("metadata: where the server takes it", () => {
    const metadata = { job: "1" }
    const takes = (provider: string, options: object = {}) =>
      bodyOf(provider, "m", asking({ metadata, providerOptions: { [provider]: { ...options } } })).metadata !==
      undefined
    for (const provider of ["openrouter", "fireworks", "vllm"]) assert.isTrue(takes(provider), provider)
    for (const provider of ["openai", "azure-openai", "groq", "xai", "mistral", "acme"]) {
      assert.isFalse(takes(provider), provider)
    }
    assert.isTrue(takes("openai", { store: true }))
    assert.deepStrictEqual(written("groq", "m", asking({ metadata })).leftOut, ["metadata (groq takes none)"])
  })

  it.effect("that are left out are said in the log", () =>
    Effect.gen(function* () {
      const lines: Array<unknown> = []
      const logger = Logger.make<unknown, void>(({ message }) => void lines.push(...(message as Array<unknown>)))
      const { model } = yield* peer(OpenAi.make({ model: "gpt-5" }))
      yield* model
        .generate(asking({ temperature: 0 }))
        .pipe(Effect.provide(Logger.replace(Logger.defaultLogger, logger)), Logger.withMinimumLogLevel(LogLevel.Debug))
      assert.include(lines, "not sent as asked: temperature (gpt-5 takes none)")
    })
  )
})

describe("reasoning", () => {
  const fields = (provider: string, model: string, reasoning: Chat.Reasoning) => {
    const { body, leftOut } = written(provider, model, asking({ reasoning }))
    const { messages: _, model: __, ...rest } = body
    return [rest, leftOut.length]
  }
  const effort = (reasoning_effort: string) => ({ reasoning_effort })

  it("becomes the nearest effort that the model takes", () => {
    for (const [provider, model, asked, sent] of [
      ["openai", "gpt-5", "none", "minimal"],
      ["openai", "gpt-5", "xhigh", "high"],
      ["openai", "gpt-5-mini-2025-08-07", "medium", "medium"],
      ["openai", "gpt-5-pro", "low", "high"],
      ["openai", "gpt-5.1", "none", "none"],
      ["openai", "gpt-5.1", "minimal", "low"],
      ["openai", "gpt-5.2", "xhigh", "xhigh"],
      ["openai", "gpt-5.1-codex-max", "xhigh", "xhigh"],
      ["openai", "gpt-5.1-codex", "none", "low"],
      ["openai", "gpt-6-astra", "none", "low"],
      ["openai", "gpt-6-luna", "none", "none"],
      ["openai", "o3", "none", "low"],
      ["openai", "o4-mini", "xhigh", "high"],
      ["acme", "openai/o3", "minimal", "low"],
      ["groq", "openai/gpt-oss-120b", "none", "low"],
      ["groq", "qwen/qwen3-32b", "none", "none"],
      ["groq", "qwen/qwen3-32b", "low", "default"],
      ["xai", "grok-4.3", "none", "none"],
      ["xai", "grok-4.5", "none", "low"],
      ["mistral", "mistral-small-2603", "low", "high"],
      ["cerebras", "gpt-oss-120b", "xhigh", "high"],
      ["fireworks", "accounts/fireworks/models/kimi-k2p6", "none", "low"],
      ["vllm", "any", "minimal", "low"],
      ["google", "gemini-3-pro", "none", "minimal"],
      ["google", "gemini-2.5-flash", "none", "none"],
      ["acme", "acme-1", "xhigh", "xhigh"]
    ] as const) {
      const expected = [effort(sent), asked === sent ? 0 : 1]
      assert.deepStrictEqual(fields(provider, model, { effort: asked }), expected, `${provider}/${model} ${asked}`)
    }
  })

  it("is left out where it is refused, and said", () => {
    for (const [provider, model] of [
      ["openai", "gpt-4o"],
      ["acme", "gpt-4.1"],
      ["openai", "gpt-5-chat-latest"],
      ["openai", "o1-mini"],
      ["groq", "llama-3.3-70b-versatile"],
      ["xai", "grok-4-fast-reasoning"],
      ["mistral", "codestral-2508"],
      ["moonshot", "moonshot-v1-8k"]
    ] as const) {
      assert.deepStrictEqual(fields(provider, model, { effort: "high" }), [{}, 1], model)
    }
  })

  it("is asked for in the words of the server", () => {
    const thinking = (type: string) => ({ thinking: { type } })
    const deepseek = (effort: Chat.Reasoning["effort"]) => fields("deepseek", "deepseek-v4-pro", { effort })[0]
    assert.deepStrictEqual(deepseek("none"), thinking("disabled"))
    assert.deepStrictEqual(deepseek("medium"), { ...thinking("enabled"), ...effort("high") })
    assert.deepStrictEqual(fields("moonshot", "kimi-k2.6", { effort: "low" })[0], thinking("enabled"))
    assert.deepStrictEqual(fields("moonshot", "kimi-k3", { effort: "none" })[0], effort("low"))
    assert.deepStrictEqual(fields("together", "zai-org/GLM-5", { effort: "none" })[0], {
      reasoning: { enabled: false }
    })
    assert.deepStrictEqual(fields("together", "openai/gpt-oss-20b", { effort: "low" })[0], effort("low"))
    const openrouter = (reasoning: Chat.Reasoning) => fields("openrouter", "openai/gpt-5", reasoning)
    assert.deepStrictEqual(openrouter({ effort: "xhigh" }), [{ reasoning: { effort: "xhigh" } }, 0])
    assert.deepStrictEqual(openrouter({}), [{}, 0])
    assert.deepStrictEqual(openrouter({ effort: "low", budgetTokens: 2000, summary: false }), [
      { reasoning: { max_tokens: 2000, exclude: true } },
      0
    ])
  })

  it("by tokens becomes an effort, and a summary cannot be asked for", () => {
    assert.deepStrictEqual(fields("openai", "gpt-5", { budgetTokens: 1000 }), [effort("low"), 1])
    assert.deepStrictEqual(fields("openai", "gpt-5", { budgetTokens: 20_000 }), [effort("high"), 1])
    assert.deepStrictEqual(fields("openai", "gpt-5", { budgetTokens: 20_000, effort: "low" }), [effort("low"), 1])
    assert.deepStrictEqual(fields("openai", "gpt-5", { summary: true }), [{}, 1])
  })

  it("in the provider options is not asked for twice", () => {
    const body = bodyOf(
      "deepseek",
      "deepseek-v4-pro",
      asking({ reasoning: { effort: "high" }, providerOptions: { deepseek: { thinking: { type: "disabled" } } } })
    )
    assert.deepStrictEqual(body.thinking, { type: "disabled" })
    assert.isUndefined(body.reasoning_effort)
  })

  it("never becomes none unless that was asked, and is always an effort that is taken", () => {
    const model = fc.constantFrom(
      "gpt-5",
      "gpt-5.1",
      "gpt-5.4",
      "o3",
      "gpt-oss-20b",
      "mistral-small-latest",
      "grok-4.3"
    )
    const asked = fc.constantFrom(
      "none",
      "minimal",
      "low",
      "medium",
      "high",
      "xhigh"
    ) as fc.Arbitrary<OpenAiModels.Effort>
    fc.assert(
      fc.property(model, asked, fc.constantFrom("openai", "mistral", "xai", "acme"), (model, asked, provider) => {
        const taken = OpenAiReasoning.efforts(provider, model)
        if (taken === undefined || taken.length === 0) return
        const found = OpenAiModels.nearest(asked, taken)
        assert.include(taken, found)
        assert.isFalse(found === "none" && asked !== "none")
        if (taken.includes(asked)) assert.strictEqual(found, asked)
      }),
      { numRuns: cases(1000, 100) }
    )
  })
})

describe("files", () => {
  const file = (mediaType: string, name?: string): Chat.FilePart => ({
    type: "file",
    data: "QUJD",
    mediaType,
    ...(name === undefined ? {} : { name })
  })
  const url = (url: string): Chat.FilePart => ({ type: "file", url })
  const request = (part: Chat.FilePart): Chat.Request => ({
    messages: [Chat.system("Be short."), Chat.user([{ type: "text", text: "Read." }, part])]
  })
  const partOf = (provider: string, part: Chat.FilePart) =>
    at(bodyOf(provider, "m", request(part)).messages, 1, "content", 1)

  it("go as the parts that the server has for them", () => {
    assert.deepStrictEqual(partOf("openai", file("application/pdf", "a.pdf")), {
      type: "file",
      file: { filename: "a.pdf", file_data: "data:application/pdf;base64,QUJD" }
    })
    assert.strictEqual(at(partOf("openai", file("application/pdf")), "file", "filename"), "file.pdf")
    for (const [mediaType, format] of [
      ["audio/wav", "wav"],
      ["audio/mpeg", "mp3"],
      ["audio/mp3; rate=1", "mp3"]
    ] as const) {
      const expected = { type: "input_audio", input_audio: { data: "QUJD", format } }
      assert.deepStrictEqual(partOf("openai", file(mediaType)), expected)
    }
    assert.deepStrictEqual(partOf("groq", file("image/png")), {
      type: "image_url",
      image_url: { url: "data:image/png;base64,QUJD" }
    })
    assert.deepStrictEqual(partOf("mistral", url("https://x.example/a.pdf")), {
      type: "document_url",
      document_url: "https://x.example/a.pdf"
    })
    assert.deepStrictEqual(partOf("openrouter", url("https://x.example/a.pdf")), {
      type: "file",
      file: { filename: "file.pdf", file_data: "https://x.example/a.pdf" }
    })
    assert.strictEqual(at(partOf("acme", file("text/csv")), "type"), "file")
    assert.deepStrictEqual(partOf("groq", url("https://x.example/a.PNG?b")), {
      type: "image_url",
      image_url: { url: "https://x.example/a.PNG?b" }
    })
  })

  it("as data: URLs go as the same files inline", () => {
    for (const mediaType of ["application/pdf", "audio/wav", "image/png"]) {
      const same = partOf("openai", file(mediaType))
      assert.deepStrictEqual(partOf("openai", url(`data:${mediaType};base64,QUJD`)), same)
    }
    assert.deepStrictEqual(partOf("acme", url("data:text/csv,ABC")), partOf("acme", file("text/csv")))
  })

  it("that cannot be sent are named, and another target may take them", () => {
    for (const [provider, part] of [
      ["openai", url("https://x.example/a.pdf")],
      ["openai", file("text/csv")],
      ["openai", file("audio/ogg")],
      ["groq", file("application/pdf")],
      ["acme", { type: "file", url: "https://x.example/a.wav", mediaType: "audio/wav" }],
      ["openrouter", url("https://x.example/a.mp3")],
      ["mistral", file("video/mp4")]
    ] as const) {
      const error = refused(provider, "m", request(part))
      assert.strictEqual(error._tag, "InvalidRequest")
      assert.strictEqual(error.delivery, "not-sent")
      assert.isTrue(LlmError.isFallbackable(error))
      assert.match(error.message, /^messages\[1\]\.content\[1\]: found a file \(.+\), expected /)
    }
  })
})
