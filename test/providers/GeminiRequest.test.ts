import { assert, describe, it } from "@effect/vitest"
import { Effect, FastCheck as fc, Redacted, Schema } from "effect"
import { Chat, Gemini, LlmError } from "effect-steadfast"
import { Reply } from "effect-steadfast/testing"
import * as GeminiRequest from "../../src/providers/gemini/GeminiRequest.js"
import { cases } from "../support/cases.js"
import { at, generate, peer, secret } from "./support.js"

type Part = Record<string, unknown>
interface Body extends Record<string, unknown> {
  readonly contents: ReadonlyArray<{ readonly role: string; readonly parts: ReadonlyArray<Part> }>
}

const flash = "gemini-2.5-flash"
const pro3 = "gemini-3-pro-preview"

const encoded = (request: Chat.Request, model = flash) => {
  const found = GeminiRequest.encode("gemini", model)(request)
  if (found instanceof LlmError.InvalidRequest) return assert.fail(found.message)
  return { body: found.body as Body, leftOut: found.leftOut }
}

/** The settings of a short request, without its messages. */
const settings = (options: Omit<Chat.Request, "messages">, model?: string) => {
  const { body, leftOut } = encoded(Chat.prompt("hi", options), model)
  const { contents, ...fields } = body
  return { fields, leftOut }
}

const contentsOf = (messages: Chat.Request["messages"], model?: string) => encoded({ messages }, model).body.contents

const tool: Chat.Tool = { name: "clock", parameters: { type: "object" } }
const call = (id: string, args: unknown = {}, thoughtSignature?: unknown): Chat.ToolCall => ({
  id,
  name: "clock",
  arguments: args,
  ...(thoughtSignature === undefined
    ? {}
    : {
        providerData: { wire: "gemini", provider: "gemini", model: "gemini-3-pro-preview", reply: { thoughtSignature } }
      })
})
const functionCall = (id: string, args: unknown = {}) => ({ functionCall: { id, name: "clock", args } })
const answered = (content: string, parts: unknown, toolCalls?: ReadonlyArray<Chat.ToolCall>, wire = "gemini") =>
  ({
    ...Chat.assistant(content, toolCalls),
    providerData: { wire, provider: "gemini", model: "gemini-3-pro-preview", reply: { parts } }
  }) as Chat.Message

describe("every setting", () => {
  it("has its field; the user's options for the provider are merged and wipe nothing out", () => {
    const { fields, leftOut } = encodedSettings()
    assert.deepStrictEqual(leftOut, [])
    assert.deepStrictEqual(fields, {
      systemInstruction: { parts: [{ text: "Be short." }, { text: "And kind." }] },
      contents: [{ role: "user", parts: [{ text: "hi" }] }],
      tools: [
        {
          functionDeclarations: [
            { name: "weather", description: "of a city", parametersJsonSchema: { type: "object" } },
            { name: "clock", parametersJsonSchema: { type: "object" } }
          ]
        }
      ],
      toolConfig: { functionCallingConfig: { mode: "ANY" }, retrievalConfig: { languageCode: "no" } },
      generationConfig: {
        temperature: 0.5,
        topP: 0.1,
        maxOutputTokens: 100,
        stopSequences: ["END"],
        seed: 7,
        responseMimeType: "application/json",
        responseJsonSchema: { type: "object" },
        thinkingConfig: { thinkingLevel: "low" }
      },
      safetySettings: [{ category: "HARM_CATEGORY_HARASSMENT", threshold: "BLOCK_NONE" }]
    })
  })

  const encodedSettings = () => {
    const { body, leftOut } = encoded(
      {
        messages: [Chat.system("Be short."), Chat.user("hi"), Chat.system("And kind.")],
        temperature: 0.5,
        topP: 0.9,
        maxTokens: 100,
        stop: ["END"],
        seed: 7,
        tools: [{ name: "weather", description: "of a city", parameters: { type: "object" } }, tool],
        toolChoice: "required",
        responseFormat: { type: "json-schema", name: "city", schema: { type: "object" } },
        providerOptions: {
          gemini: {
            safetySettings: [{ category: "HARM_CATEGORY_HARASSMENT", threshold: "BLOCK_NONE" }],
            generationConfig: { thinkingConfig: { thinkingLevel: "low" }, topP: 0.1 },
            toolConfig: { retrievalConfig: { languageCode: "no" } }
          },
          openai: { user: "not for Gemini" }
        }
      },
      pro3
    )
    return { fields: body, leftOut }
  }

  it("without a counterpart is left out", () => {
    const { fields, leftOut } = settings({ metadata: { a: "b" }, tools: [{ ...tool, strict: true }] })
    assert.deepStrictEqual(Object.keys(fields), ["tools"])
    assert.deepStrictEqual(leftOut, ["metadata (Gemini has none)", "strict tools (Gemini has none)"])
  })

  it("beyond a limit of the API is cut to it", () => {
    const stop = ["", "1", "2", "3", "4", "5", "6"]
    const { fields, leftOut } = settings({ temperature: 3, seed: 2 ** 31, stop })
    assert.deepStrictEqual(fields, { generationConfig: { temperature: 2, stopSequences: ["1", "2", "3", "4", "5"] } })
    assert.deepStrictEqual(leftOut, [
      "temperature (2, not 3)",
      "seed (it has more than 32 bits)",
      "stop (at most 5, none empty)"
    ])
  })
})

describe("tools", () => {
  it("that are none are left out, and the choice among them", () => {
    const { fields, leftOut } = settings({ tools: [], toolChoice: "auto" })
    assert.deepStrictEqual(fields, {})
    assert.deepStrictEqual(leftOut, ["toolChoice (there are no tools)"])
    const search = { gemini: { tools: [{ googleSearch: {} }] } }
    assert.isUndefined(settings({ toolChoice: "auto", providerOptions: search }).fields.toolConfig)
  })

  for (const [toolChoice, expected] of [
    ["auto", { mode: "AUTO" }],
    ["none", { mode: "NONE" }],
    ["required", { mode: "ANY" }],
    [{ name: "clock" }, { mode: "ANY", allowedFunctionNames: ["clock"] }]
  ] as const) {
    it(`are chosen by ${JSON.stringify(toolChoice)}`, () => {
      assert.deepStrictEqual(settings({ tools: [tool], toolChoice }).fields.toolConfig, {
        functionCallingConfig: expected
      })
    })
  }
})

describe("a format of the answer", () => {
  it("without a schema", () => {
    assert.deepStrictEqual(settings({ responseFormat: { type: "json" } }).fields, {
      generationConfig: { responseMimeType: "application/json" }
    })
  })

  it("beside tools is asked for in words before Gemini 3", () => {
    const options = { responseFormat: { type: "json" }, tools: [tool] } as const
    const { fields, leftOut } = settings(options)
    assert.deepStrictEqual(fields.systemInstruction, {
      parts: [{ text: "Answer with one JSON value and nothing else." }]
    })
    assert.isUndefined(fields.generationConfig)
    assert.deepStrictEqual(leftOut, ["responseFormat (asked for in words, because there are tools)"])
    assert.deepStrictEqual(settings(options, pro3).fields.generationConfig, { responseMimeType: "application/json" })
  })
})

describe("reasoning", () => {
  const config = (reasoning: Chat.Reasoning, model: string) => {
    const { fields, leftOut } = settings({ reasoning }, model)
    return { config: at(fields, "generationConfig", "thinkingConfig"), leftOut }
  }

  for (const [model, reasoning, expected, said] of [
    ["gemini-2.5-flash", { effort: "none" }, 0, 0],
    ["gemini-2.5-flash-lite", { effort: "none" }, 0, 0],
    ["gemini-2.5-pro", { effort: "none" }, 128, 1],
    ["gemini-2.5-flash", { effort: "low" }, 1024, 0],
    ["gemini-2.5-flash", { effort: "medium" }, 8192, 0],
    ["models/gemini-2.5-flash", { effort: "xhigh" }, 24_576, 0],
    ["gemini-2.5-pro", { effort: "xhigh" }, 32_768, 0],
    ["gemini-2.5-flash", { budgetTokens: 5, effort: "high" }, 5, 0],
    ["gemini-2.5-flash-lite", { budgetTokens: 5 }, 512, 1],
    ["gemini-2.5-pro", { budgetTokens: 50_000 }, 32_768, 1]
  ] as const) {
    it(`${JSON.stringify(reasoning)} on ${model} is a budget of ${expected}`, () => {
      const found = config(reasoning, model)
      assert.deepStrictEqual(found.config, { thinkingBudget: expected })
      assert.strictEqual(found.leftOut.length, said)
    })
  }

  for (const [model, reasoning, expected, said] of [
    ["gemini-3-flash-preview", { effort: "none" }, "minimal", 1],
    ["gemini-3-flash-preview", { effort: "medium" }, "medium", 0],
    ["gemini-3.1-flash-lite", { effort: "minimal" }, "minimal", 0],
    ["gemini-3.7-flash", { effort: "minimal" }, "low", 1],
    ["gemini-3-pro-preview", { effort: "none" }, "low", 1],
    ["gemini-3-pro-preview", { effort: "medium" }, "high", 1],
    ["gemini-3.1-pro-preview", { effort: "medium" }, "medium", 0],
    ["gemini-4-argon", { effort: "none" }, "low", 1],
    ["gemini-4-argon", { effort: "xhigh" }, "high", 1],
    ["gemini-flash-latest", { effort: "minimal" }, "low", 1],
    ["gemini-3.1-pro-preview", { budgetTokens: 1000 }, "low", 1],
    ["gemini-3.1-pro-preview", { budgetTokens: 5000 }, "medium", 1],
    ["gemini-3.1-pro-preview", { budgetTokens: 50_000 }, "high", 1]
  ] as const) {
    it(`${JSON.stringify(reasoning)} on ${model} is the level ${expected}`, () => {
      const found = config(reasoning, model)
      assert.deepStrictEqual(found.config, { thinkingLevel: expected })
      assert.strictEqual(found.leftOut.length, said)
    })
  }

  for (const model of [
    "gemini-2.0-flash",
    "gemini-1.5-pro",
    "gemini-2.5-flash-image",
    "gemini-robotics-er-1.5-preview",
    "gemma-3"
  ]) {
    it(`is left out for ${model}`, () => {
      assert.deepStrictEqual(config({ effort: "high", summary: true }, model), {
        config: undefined,
        leftOut: ["reasoning (no setting of this model is known)"]
      })
      assert.deepStrictEqual(config({ effort: "none" }, model), { config: undefined, leftOut: [] })
    })
  }

  it("is shown as asked, but not where there is none", () => {
    assert.deepStrictEqual(config({ summary: true }, flash).config, { includeThoughts: true })
    assert.deepStrictEqual(config({ summary: false, effort: "low" }, pro3).config, {
      thinkingLevel: "low",
      includeThoughts: false
    })
    assert.deepStrictEqual(config({ summary: true, effort: "none" }, flash).config, { thinkingBudget: 0 })
  })

  it("of the provider's options counts before that of the request", () => {
    const own = { thinkingBudget: 7 }
    const providerOptions = { gemini: { generationConfig: { thinkingConfig: own } } }
    const { fields, leftOut } = settings({ reasoning: { effort: "high" }, providerOptions }, pro3)
    assert.deepStrictEqual(fields, { generationConfig: { thinkingConfig: own } })
    assert.deepStrictEqual(leftOut, ["reasoning (providerOptions have their own)"])
  })
})

describe("text", () => {
  for (const [name, messages] of [
    ["an empty message", [Chat.user("")]],
    ["no parts", [Chat.user([])]],
    ["only system messages", [Chat.system("hi")]],
    ["only an empty answer", [Chat.assistant("")]]
  ] as const) {
    it(`is refused if there is none: ${name}`, () => {
      const found = GeminiRequest.encode("gemini", flash)({ messages })
      if (!(found instanceof LlmError.InvalidRequest)) return assert.fail("not refused")
      assert.strictEqual(found.delivery, "not-sent")
      assert.include(found.message, "messages: found only system messages or empty ones")
    })
  }

  it("that is empty is left out", () => {
    const { body, leftOut } = encoded({
      messages: [
        Chat.user(""),
        Chat.user([
          { type: "text", text: "" },
          { type: "text", text: "a" }
        ]),
        Chat.system("")
      ]
    })
    assert.deepStrictEqual(body, { contents: [{ role: "user", parts: [{ text: "a" }] }] })
    assert.deepStrictEqual(leftOut, ["messages without content"])
  })

  it("that begins the answer is followed by a question from Gemini 4 on", () => {
    const messages = [Chat.user("a"), Chat.assistant("He")] as const
    assert.strictEqual(contentsOf(messages, pro3).length, 2)
    const { body, leftOut } = encoded({ messages }, "gemini-4-argon")
    assert.deepStrictEqual(
      body.contents.map(({ role }) => role),
      ["user", "model", "user"]
    )
    assert.deepStrictEqual(leftOut, ["the beginning of the answer (a user message asks for the rest)"])
  })
})

describe("a conversation with tools", () => {
  it("has results that know their function and stand together, and answers that stand together", () => {
    assert.deepStrictEqual(
      contentsOf([
        Chat.user("Time here and there?"),
        Chat.assistant("I look."),
        Chat.assistant("", [call("a", { zone: 1 }), { id: "b", name: "weather", arguments: undefined }]),
        Chat.toolResult("b", '{"sun":true}'),
        Chat.system("Be short."),
        Chat.toolResult("a", "12"),
        Chat.assistant("At 12."),
        Chat.assistant(""),
        Chat.user("And now?")
      ]),
      [
        { role: "user", parts: [{ text: "Time here and there?" }] },
        {
          role: "model",
          parts: [
            { text: "I look." },
            functionCall("a", { zone: 1 }),
            { functionCall: { id: "b", name: "weather", args: {} } }
          ]
        },
        {
          role: "user",
          parts: [
            { functionResponse: { id: "b", name: "weather", response: { sun: true } } },
            { functionResponse: { id: "a", name: "clock", response: { output: "12" } } }
          ]
        },
        { role: "model", parts: [{ text: "At 12." }] },
        { role: "user", parts: [{ text: "And now?" }] }
      ]
    )
  })

  it("has the results of a second round in a content of their own", () => {
    const round = (id: string) => [Chat.assistant("", [call(id)]), Chat.toolResult(id, id)]
    const contents = contentsOf([Chat.user("hi"), ...round("a"), ...round("b")])
    assert.deepStrictEqual(
      [2, 4].map((index) => contents[index]?.parts),
      ["a", "b"].map((id) => [{ functionResponse: { id, name: "clock", response: { output: id } } }])
    )
  })

  it("has results that find their function, also if all calls have the same id", () => {
    const calls = ["clock", "weather"].map((name) => ({ id: "call_0", name, arguments: {} }))
    const [, , results] = contentsOf([
      Chat.user("hi"),
      Chat.assistant("", calls),
      Chat.toolResult("call_0", "12"),
      Chat.toolResult("call_0", "sun")
    ])
    assert.deepStrictEqual(
      results?.parts.map((part) => [at(part, "functionResponse", "name"), at(part, "functionResponse", "response")]),
      [
        ["clock", { output: "12" }],
        ["weather", { output: "sun" }]
      ]
    )
  })

  it("has arguments that are objects", () => {
    const { body, leftOut } = encoded({ messages: [Chat.user("a"), Chat.assistant("", [call("x", "12")])] })
    assert.deepStrictEqual(body.contents[1]?.parts, [functionCall("x", { value: "12" })])
    assert.deepStrictEqual(leftOut, ["arguments of clock (in an object)"])
  })
})

describe("thoughts", () => {
  /** The parts of an answer as they are sent back. */
  const back = (answer: Chat.Message, model = pro3) => contentsOf([Chat.user("?"), answer], model)[1]?.parts
  const code = { executableCode: { language: "PYTHON", code: "1" } }

  it("go back in their places, with the arguments of the message", () => {
    const parts = [
      { text: "a" },
      code,
      { functionCall: {} },
      { text: "", thoughtSignature: "cw==" },
      { functionCall: {} }
    ]
    assert.deepStrictEqual(back(answered("a", parts, [call("x", { n: 1 }, "eA=="), call("y")])), [
      { text: "a" },
      code,
      { ...functionCall("x", { n: 1 }), thoughtSignature: "eA==" },
      { text: "", thoughtSignature: "cw==" },
      functionCall("y")
    ])
  })

  const signed = [{ text: "a", thoughtSignature: "cw==" }, { functionCall: {} }]
  for (const [name, answer] of [
    ["the text is another", answered("b", signed, [call("x", {}, "eA==")])],
    ["a call is missing", answered("b", [...signed, { functionCall: {} }], [call("x", {}, "eA==")])],
    ["another wire format made them", answered("b", signed, [call("x", {}, "eA==")], "anthropic")],
    ["they are no list", answered("b", "parts", [call("x", {}, "eA==")])],
    ["they are no objects", answered("b", [1, ...signed], [call("x", {}, "eA==")])],
    ["they have odd text", answered("b", [{ text: 1 }], [call("x", {}, "eA==")])]
  ] as const) {
    it(`are left out if ${name}, but for the signature of the call`, () => {
      assert.deepStrictEqual(back(answer), [{ text: "b" }, { ...functionCall("x"), thoughtSignature: "eA==" }])
    })
  }

  it("have a placeholder on the first of calls without signature, where the model asks for them", () => {
    const skip = { ...functionCall("x"), thoughtSignature: "skip_thought_signature_validator" }
    for (const first of [call("x"), call("x", {}, ""), call("x", {}, 1)]) {
      const answer = Chat.assistant("", [first, call("y")])
      assert.deepStrictEqual(back(answer), [skip, functionCall("y")])
      assert.deepStrictEqual(back(answer, flash), [functionCall("x"), functionCall("y")])
    }
    const foreign = {
      wire: "anthropic",
      provider: "gemini",
      model: "gemini-3-pro-preview",
      reply: { thoughtSignature: "eA==" }
    }
    assert.deepStrictEqual(back(Chat.assistant("", [{ ...call("x"), providerData: foreign }])), [skip])
  })

  it.effect("survive a stored conversation and another model value", () =>
    Effect.gen(function* () {
      const sent = { functionCall: { name: "clock", args: { zone: 1 } } }
      const parts = [
        { text: "Hm.", thought: true },
        { text: "Let me " },
        { text: "look.", thoughtSignature: "dA==" },
        { ...sent, thoughtSignature: "eA==" },
        sent
      ]
      const make = Gemini.make({ model: pro3, apiKey: Redacted.make(secret) })
      const candidates = [{ content: { role: "model", parts }, finishReason: "STOP" }]
      const first = yield* generate(make, Reply.json({ candidates, modelVersion: pro3, responseId: "r" }))
      const stored = JSON.parse(JSON.stringify(Chat.reply(first)))
      const message = yield* Schema.decodeUnknown(Chat.Message)(stored)
      const [one = "", two = ""] = first.toolCalls.map(({ id }) => id)
      const { model, provider } = yield* peer(make)
      yield* model.generate({
        messages: [Chat.user("?"), message, Chat.toolResult(one, "1"), Chat.toolResult(two, "2")]
      })
      const [request] = yield* provider.requests
      assert.deepStrictEqual(at(request?.body, "contents", 1, "parts"), [
        { text: "Let me " },
        { text: "look.", thoughtSignature: "dA==" },
        { ...functionCall(one, { zone: 1 }), thoughtSignature: "eA==" },
        functionCall(two, { zone: 1 })
      ])
    })
  )
})

describe("images and files", () => {
  for (const [part, expected] of [
    [{ type: "image", data: "QUJD", mediaType: "image/png" }, { inlineData: { mimeType: "image/png", data: "QUJD" } }],
    [
      { type: "image", url: "https://a.example/a.JPG?size=1" },
      { fileData: { mimeType: "image/jpeg", fileUri: "https://a.example/a.JPG?size=1" } }
    ],
    [{ type: "image", url: "https://a.example/files/abc" }, { fileData: { fileUri: "https://a.example/files/abc" } }],
    [{ type: "image", url: "data:image/webp;base64,REVG" }, { inlineData: { mimeType: "image/webp", data: "REVG" } }],
    [{ type: "file", data: "QUJD", mediaType: "audio/mp3" }, { inlineData: { mimeType: "audio/mp3", data: "QUJD" } }],
    [
      { type: "file", url: "https://a.example/v", mediaType: "video/mp4", name: "v" },
      { fileData: { mimeType: "video/mp4", fileUri: "https://a.example/v" } }
    ],
    [
      { type: "file", url: "gs://bucket/a.pdf" },
      { fileData: { mimeType: "application/pdf", fileUri: "gs://bucket/a.pdf" } }
    ]
  ] as const) {
    it(`${JSON.stringify(part)} is a part`, () => {
      assert.deepStrictEqual(contentsOf([Chat.user([part])])[0]?.parts, [expected])
    })
  }
})

describe("any conversation", () => {
  const words = fc.constantFrom("", " ", "a")
  const id = fc.constantFrom("a", "b")
  const toolCalls = fc.array(
    fc.tuple(id, fc.jsonValue(), fc.option(fc.jsonValue(), { nil: undefined })).map((args) => call(...args)),
    { maxLength: 2 }
  )
  const parts = fc.oneof(
    fc.jsonValue(),
    fc.array(
      fc.oneof(
        fc.constantFrom<unknown>({ functionCall: {} }, { text: "", thoughtSignature: "s" }),
        words,
        fc.jsonValue()
      )
    )
  )
  const message = fc.oneof(
    fc.tuple(words, parts, toolCalls).map((args) => answered(...args)),
    words.map((text) => Chat.user(text)),
    fc.tuple(id, words).map(([id, text]) => Chat.toolResult(id, text))
  )

  it("is encoded without what the API refuses, or refused", () => {
    fc.assert(
      fc.property(fc.array(message, { minLength: 1, maxLength: 8 }), fc.constantFrom(flash, pro3), (list, model) => {
        const [first = Chat.user("a"), ...rest] = list
        const found = GeminiRequest.encode("gemini", model)({ messages: [first, ...rest] })
        if (found instanceof LlmError.InvalidRequest) return
        const { contents } = found.body as Body
        contents.forEach(({ parts, role }, index) => {
          assert.isAbove(parts.length, 0)
          if (role === "model") assert.notStrictEqual(contents[index - 1]?.role, "model")
          const calls = parts.filter(({ functionCall }) => functionCall !== undefined)
          if (model === pro3 && calls.length > 0) {
            assert.isTrue(calls.some(({ thoughtSignature }) => typeof thoughtSignature === "string"))
          }
          for (const part of parts) {
            assert.isFalse(part.text === "" && part.thoughtSignature === undefined)
            const args = at(part, "functionCall", "args")
            if (args !== undefined) assert.isTrue(typeof args === "object" && !Array.isArray(args))
          }
        })
      }),
      { numRuns: cases(10_000, 300) }
    )
  })
})
