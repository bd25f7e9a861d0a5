import { assert, describe, it } from "@effect/vitest"
import { Effect, Stream } from "effect"
import { Chat } from "effect-steadfast"
import { type Dialect, HttpReply, RequestBody } from "effect-steadfast/http"

const png = { type: "image" as const, data: "aGk=", mediaType: "image/png" }
const empty = { type: "object", properties: {} }

/** What is read of the bodies of one dialect. */
const reading =
  (dialect: Dialect.Dialect, base: object) =>
  (more: object, options: RequestBody.Options = {}) =>
    RequestBody.decode(dialect, { model: "m", ...base, ...more }, options)

/** A case: the fields of a body, and the fields of the request that they give. */
type Case = readonly [name: string, sent: object, read: Partial<Chat.Request>, unread?: ReadonlyArray<string>]

const table = (read: ReturnType<typeof reading>, cases: ReadonlyArray<Case>): void => {
  it.effect.each(cases)("%s", ([, sent, expected, unread = []]) =>
    Effect.gen(function* () {
      const asked = yield* read(sent)
      const given = Object.keys(expected).map((key) => [key, asked.request[key as keyof Chat.Request]])
      assert.deepStrictEqual(Object.fromEntries(given), expected)
      assert.deepStrictEqual(asked.unread, unread)
    })
  )
}

describe("a request of Responses", () => {
  const read = reading("responses", { input: "hi" })

  table(read, [
    ["holds a text", {}, { messages: [Chat.user("hi")] }],
    [
      "begins with its instructions",
      { instructions: "be brief", input: [{ role: "developer", content: [{ type: "input_text", text: "more" }] }] },
      { messages: [Chat.system("be brief"), Chat.system("more")] }
    ],
    [
      "holds images and files",
      {
        input: [
          {
            type: "message",
            role: "user",
            content: [
              { type: "input_image", image_url: "data:image/png;base64,aGk=", detail: "high" },
              { type: "input_file", file_data: "aGk=", filename: "a.csv" },
              { type: "input_file", file_url: "https://a.test/a.pdf" }
            ]
          }
        ]
      },
      {
        messages: [
          Chat.user([
            png,
            { type: "file", data: "aGk=", mediaType: "text/csv", name: "a.csv" },
            { type: "file", url: "https://a.test/a.pdf" }
          ])
        ]
      },
      ["input[].content[].detail"]
    ],
    [
      "makes one answer of neighbouring items, and puts the images of a result behind it",
      {
        input: [
          { type: "reasoning", id: "rs_1", summary: [] },
          { type: "message", id: "msg_1", status: "completed", role: "assistant", content: "so" },
          { type: "function_call", call_id: "a", name: "f", arguments: "" },
          { type: "function_call", call_id: "b", name: "g", arguments: '{"x":1}' },
          {
            type: "function_call_output",
            call_id: "a",
            output: [{ type: "input_image", image_url: "data:image/png;base64,aGk=" }]
          },
          { type: "function_call_output", call_id: "b", output: "done" }
        ]
      },
      {
        messages: [
          {
            role: "assistant",
            content: "so",
            toolCalls: [
              { id: "a", name: "f", arguments: {} },
              { id: "b", name: "g", arguments: { x: 1 } }
            ]
          },
          Chat.toolResult("a", "See the next message."),
          Chat.toolResult("b", "done"),
          Chat.user([{ type: "text", text: "From the tool call a:" }, png])
        ]
      }
    ],
    [
      "makes two answers of two steps",
      {
        input: ["a", "b"].flatMap((id) => [
          { type: "function_call", call_id: id, name: "f", arguments: "{}" },
          { type: "function_call_output", call_id: id, output: id }
        ])
      },
      {
        messages: ["a", "b"].flatMap((id) => [
          { role: "assistant" as const, content: "", toolCalls: [{ id, name: "f", arguments: {} }] },
          Chat.toolResult(id, id)
        ]) as unknown as Chat.Request["messages"]
      }
    ],
    [
      "keeps two answers apart",
      {
        input: [
          { role: "assistant", content: "one" },
          { role: "assistant", content: [{ type: "output_text", text: "two" }], phase: "commentary" }
        ]
      },
      {
        messages: [
          { role: "assistant", content: "one" },
          { role: "assistant", content: "two" }
        ]
      },
      ["input[].phase"]
    ],
    [
      "takes tools, of which it may allow some",
      {
        tools: [
          { type: "function", name: "f", parameters: null, strict: false },
          { type: "function", name: "g", parameters: empty, strict: true, defer_loading: true }
        ],
        tool_choice: { type: "allowed_tools", mode: "required", tools: [{ type: "function", name: "g" }] }
      },
      { tools: [{ name: "g", parameters: empty, strict: true }], toolChoice: "required" },
      ["tools[].defer_loading"]
    ],
    [
      "takes effort, summary and format",
      { reasoning: { effort: "max", summary: "auto" }, text: { format: { type: "json_object" } } },
      { reasoning: { effort: "xhigh", summary: true }, responseFormat: { type: "json" } }
    ],
    [
      "says which fields it does not read, but for those that ask for what is done anyway",
      { store: false, background: false, include: ["reasoning.encrypted_content"], truncation: "auto" },
      {},
      ["truncation"]
    ],
    [
      "says that it stores nothing",
      { store: true, include: ["message.output_text.logprobs"], text: { verbosity: "low" } },
      {},
      ["store", "include", "text.verbosity"]
    ]
  ])

  it.effect("gives the fields that it does not read to a provider", () =>
    Effect.gen(function* () {
      const sent = { store: true, text: { verbosity: "low" }, reasoning: { context: "auto" } }
      const { request, unread } = yield* read(sent, { passTo: "openai" })
      assert.deepStrictEqual<unknown>(request.providerOptions, {
        openai: { store: true, text: { verbosity: "low" }, reasoning: { context: "auto" } }
      })
      assert.deepStrictEqual(unread, [])
    })
  )
})

describe("a request of Gemini", () => {
  const read = reading("gemini", { contents: [{ parts: [{ text: "hi" }] }] })
  const called = (fn: object, more: object = {}) => ({ role: "model", parts: [{ functionCall: fn, ...more }] })
  const answered = (...all: ReadonlyArray<object>) => ({ parts: all.map((one) => ({ functionResponse: one })) })

  table(read, [
    ["holds a text", {}, { messages: [Chat.user([{ type: "text", text: "hi" }])] }],
    [
      "may hold one content where a list is wanted, and names with underscores",
      {
        contents: { parts: { inline_data: { mime_type: "image/png", data: "aGk=" } } },
        system_instruction: { parts: { text: "be brief" } },
        tools: { function_declarations: { name: "f" } },
        generation_config: { max_output_tokens: 5, response_mime_type: "application/json" }
      },
      {
        messages: [Chat.system("be brief"), Chat.user([png])],
        tools: [{ name: "f", parameters: empty }],
        maxTokens: 5,
        responseFormat: { type: "json" }
      }
    ],
    [
      "holds files by URL",
      {
        contents: [
          {
            parts: [
              { fileData: { fileUri: "https://a.test/cat.png", mimeType: "image/png" } },
              { fileData: { fileUri: "https://a.test/files/1", mimeType: "image/png" } },
              { inlineData: { data: "aGk=", mimeType: "audio/wav" }, videoMetadata: { fps: 1 } }
            ]
          }
        ]
      },
      {
        messages: [
          Chat.user([
            { type: "image", url: "https://a.test/cat.png" },
            { type: "file", url: "https://a.test/files/1", mediaType: "image/png" },
            { type: "file", data: "aGk=", mediaType: "audio/wav" }
          ])
        ]
      },
      ["contents[].parts[].videoMetadata"]
    ],
    [
      "finds the calls of results by their names, one after the other",
      {
        contents: [
          { role: "model", parts: [{ functionCall: { name: "f", args: { x: 1 } } }, { functionCall: { name: "f" } }] },
          answered({ name: "f", response: { output: "one" } }, { name: "f", response: { x: 1 } })
        ]
      },
      {
        messages: [
          {
            role: "assistant",
            content: "",
            toolCalls: [
              { id: "call_1_0", name: "f", arguments: { x: 1 } },
              { id: "call_1_1", name: "f", arguments: {} }
            ]
          },
          Chat.toolResult("call_1_0", "one"),
          Chat.toolResult("call_1_1", '{"x":1}')
        ]
      }
    ],
    [
      "finds the calls of results by their ids first",
      {
        contents: [
          called({ id: "a", name: "f" }),
          called({ id: "b", name: "f" }),
          answered({ id: "b", name: "f", response: { output: "b" } }, { name: "f", response: { output: "a" } })
        ]
      },
      {
        messages: [
          {
            role: "assistant",
            content: "",
            toolCalls: [
              { id: "a", name: "f", arguments: {} },
              { id: "b", name: "f", arguments: {} }
            ]
          },
          Chat.toolResult("b", "b"),
          Chat.toolResult("a", "a")
        ]
      }
    ],
    [
      "takes the schemas of OpenAPI",
      {
        tools: [
          {
            functionDeclarations: [
              {
                name: "f",
                parameters: {
                  type: "OBJECT",
                  properties: {
                    nullable: { type: "STRING", format: "enum", enum: ["a"], nullable: true },
                    any_of: { type: "ARRAY", items: { any_of: [{ type: "NUMBER" }] }, min_items: "2" }
                  },
                  required: ["nullable"]
                }
              },
              { name: "g", parametersJsonSchema: { type: "object", properties: { a: { type: ["string", "null"] } } } }
            ]
          }
        ]
      },
      {
        tools: [
          {
            name: "f",
            parameters: {
              type: "object",
              properties: {
                nullable: { type: ["string", "null"], enum: ["a", null] },
                any_of: { type: "array", items: { anyOf: [{ type: "number" }] }, minItems: 2 }
              },
              required: ["nullable"]
            }
          },
          { name: "g", parameters: { type: "object", properties: { a: { type: ["string", "null"] } } } }
        ]
      }
    ],
    [
      "allows some tools",
      {
        tools: [{ functionDeclarations: [{ name: "f" }, { name: "g" }, { name: "h" }] }],
        toolConfig: { functionCallingConfig: { mode: "any", allowedFunctionNames: ["g", "h"] } }
      },
      {
        tools: [
          { name: "g", parameters: empty },
          { name: "h", parameters: empty }
        ],
        toolChoice: "required"
      }
    ],
    [
      "asks not to think",
      { generationConfig: { thinkingConfig: { thinkingBudget: 0 } } },
      { reasoning: { effort: "none" } }
    ],
    [
      "leaves it to the model how much it thinks",
      { generationConfig: { thinkingConfig: { thinkingBudget: -1, includeThoughts: true } } },
      { reasoning: { summary: true } }
    ],
    [
      "asks for an effort, and for an answer by a schema",
      {
        generationConfig: {
          thinkingConfig: { thinkingLevel: "LOW" },
          responseSchema: { type: "STRING" },
          responseMimeType: "application/json",
          topK: 3
        },
        safetySettings: []
      },
      {
        reasoning: { effort: "low" },
        responseFormat: { type: "json-schema", name: "answer", schema: { type: "string" } }
      },
      ["safetySettings", "generationConfig.topK"]
    ],
    [
      "leaves out thoughts without signatures, and the placeholder of one",
      {
        contents: [
          { parts: [{ text: "hi" }] },
          { role: "model", parts: [{ text: "hm", thought: true }, { text: "so" }] },
          called({ id: "a", name: "f" }, { thoughtSignature: "skip_thought_signature_validator" })
        ]
      },
      {
        messages: [
          Chat.user([{ type: "text", text: "hi" }]),
          { role: "assistant", content: "so", toolCalls: [{ id: "a", name: "f", arguments: {} }] }
        ]
      }
    ],
    [
      "joins the pieces of a streamed answer",
      {
        contents: [
          { role: "model", parts: [{ text: "o" }] },
          { role: "model", parts: [{ text: "ne" }] },
          { role: "model", parts: [{ text: "", thoughtSignature: "czE=" }] },
          { role: "model" }
        ]
      },
      {
        messages: [
          {
            role: "assistant",
            content: "one",
            providerData: {
              wire: "gemini",
              provider: "gemini",
              model: "m",
              reply: { parts: [{ text: "one" }, { text: "", thoughtSignature: "czE=" }] }
            }
          }
        ]
      }
    ],
    [
      "opens what clients put around their results",
      {
        contents: [
          { role: "model", parts: ["f", "g", "h"].map((name) => ({ functionCall: { name } })) },
          answered(
            { name: "f", response: { result: "one" } },
            { name: "g", response: { name: "g", content: { x: 1 } } },
            { name: "h", response: { name: "g", content: "x" } }
          )
        ]
      },
      {
        messages: [
          {
            role: "assistant",
            content: "",
            toolCalls: ["f", "g", "h"].map((name, index) => ({ id: `call_1_${index}`, name, arguments: {} }))
          },
          Chat.toolResult("call_1_0", "one"),
          Chat.toolResult("call_1_1", '{"x":1}'),
          Chat.toolResult("call_1_2", '{"name":"g","content":"x"}')
        ]
      }
    ]
  ])

  it.effect("has its model and its stream in the path", () =>
    Effect.gen(function* () {
      const { model, stream } = yield* read({ model: "other" }, { model: "models/gemini-9", stream: true })
      assert.deepStrictEqual([model, stream], ["gemini-9", true])
    })
  )

  it.effect("gives the fields that it does not read to a provider", () =>
    Effect.gen(function* () {
      const { request } = yield* read({ generationConfig: { topK: 3 }, safetySettings: [] }, { passTo: "gemini" })
      assert.deepStrictEqual(request.providerOptions, { gemini: { generationConfig: { topK: 3 }, safetySettings: [] } })
    })
  )
})

describe("a request of Anthropic", () => {
  const read = reading("anthropic", { max_tokens: 5, messages: [{ role: "user", content: "hi" }] })
  const cached = { cache_control: { type: "ephemeral" } }
  const result = (more: object) => ({
    messages: [{ role: "user", content: [{ type: "tool_result", tool_use_id: "a", ...more }] }]
  })

  table(read, [
    [
      "may change its instructions between its messages",
      {
        system: [{ type: "text", text: "be brief" }],
        messages: [
          { role: "user", content: "hi" },
          { role: "system", content: [{ type: "text", text: "be long", ...cached }] },
          { role: "user", content: "so?" }
        ]
      },
      { messages: [Chat.system("be brief"), Chat.user("hi"), Chat.system("be long"), Chat.user("so?")] },
      ["system[].cache_control"]
    ],
    [
      "holds documents and images",
      {
        messages: [
          {
            role: "user",
            content: [
              { type: "document", source: { type: "text", media_type: "text/plain", data: "hi" }, title: "t" },
              { type: "document", source: { type: "content", content: [{ type: "text", text: "hi" }] } },
              { type: "document", source: { type: "url", url: "https://a.test/a.pdf" }, citations: { enabled: true } },
              { type: "image", source: { type: "base64", media_type: "image/png", data: "aGk=" } }
            ]
          }
        ]
      },
      {
        messages: [
          Chat.user([
            { type: "file", data: "aGk=", mediaType: "text/plain", name: "t" },
            { type: "file", data: "aGk=", mediaType: "text/plain" },
            { type: "file", url: "https://a.test/a.pdf", mediaType: "application/pdf" },
            png
          ])
        ]
      },
      ["messages[].content[].citations"]
    ],
    [
      "puts the images of a result behind it",
      result({
        content: [
          { type: "text", text: "seen" },
          { type: "image", source: { type: "base64", media_type: "image/png", data: "aGk=" } }
        ]
      }),
      {
        messages: [Chat.toolResult("a", "seen"), Chat.user([{ type: "text", text: "From the tool call a:" }, png])]
      }
    ],
    ["may have a result that says nothing", result({}), { messages: [Chat.toolResult("a", "")] }],
    [
      "says in words that a tool failed",
      result({ content: "no such file", is_error: true }),
      { messages: [Chat.toolResult("a", "Error: no such file")] }
    ],
    [
      "does not say it twice",
      result({ content: "<error>no</error>", is_error: true }),
      { messages: [Chat.toolResult("a", "<error>no</error>")] }
    ],
    [
      "takes a budget, and whether thoughts are shown",
      { thinking: { type: "enabled", budget_tokens: 2000, display: "omitted" } },
      { reasoning: { budgetTokens: 2000, summary: false } }
    ],
    [
      "takes an effort and a format",
      { output_config: { effort: "max", format: { type: "json_schema", schema: empty } } },
      { reasoning: { effort: "xhigh" }, responseFormat: { type: "json-schema", name: "answer", schema: empty } }
    ],
    [
      "says what it cannot say of tools",
      {
        tools: [{ name: "f", input_schema: empty, ...cached }],
        tool_choice: { type: "any", disable_parallel_tool_use: true }
      },
      { tools: [{ name: "f", parameters: empty }], toolChoice: "required" },
      ["tool_choice.disable_parallel_tool_use", "tools[].cache_control"]
    ]
  ])

  it.effect("gives a provider what has a place in its body, the cache of the whole conversation too", () =>
    Effect.gen(function* () {
      const sent = {
        messages: [{ role: "user", content: [{ type: "text", text: "hi", ...cached }] }],
        tool_choice: { type: "auto", disable_parallel_tool_use: true },
        service_tier: "auto"
      }
      const { request, unread } = yield* read(sent, { passTo: "anthropic" })
      assert.deepStrictEqual<unknown>(request.providerOptions, {
        anthropic: { ...cached, tool_choice: { disable_parallel_tool_use: true }, service_tier: "auto" }
      })
      assert.deepStrictEqual(unread, ["messages[].content[].cache_control"])
    })
  )
})

describe("a field that no API has", () => {
  it.effect("is not named", () =>
    Effect.gen(function* () {
      const { unread } = yield* RequestBody.decode("responses", { model: "m", input: "hi", "a\r\nset-cookie: b": 1 })
      assert.deepStrictEqual(unread, ["?"])
    })
  )
})

describe("a service", () => {
  const answer: Chat.Response = { provider: "p", model: "m", text: "yes", toolCalls: [], finishReason: "stop" }
  const model: HttpReply.Answering = {
    generate: () => Effect.succeed(answer),
    stream: () =>
      Stream.make<Array<Chat.Event>>(
        { _tag: "Start", provider: "p", model: "m" },
        { _tag: "TextDelta", text: "yes" },
        { _tag: "Finish", reason: "stop" }
      )
  }
  const served = (dialect: Dialect.Dialect, body: object, options: RequestBody.Options = {}) =>
    Effect.flatMap(HttpReply.toWebResponse(HttpReply.serve(dialect, body, () => model, options)), (response) =>
      Effect.promise(() => response.text())
    )

  it.live("answers the clients of Responses and of Gemini, whole and in pieces", () =>
    Effect.gen(function* () {
      const responses = { model: "m", input: "hi" }
      const gemini = { contents: [{ parts: [{ text: "hi" }] }] }
      assert.strictEqual(JSON.parse(yield* served("responses", responses)).output_text, "yes")
      assert.include(yield* served("responses", { ...responses, stream: true }), "event: response.completed")
      const whole = JSON.parse(yield* served("gemini", gemini, { model: "m" }))
      assert.deepStrictEqual(whole.candidates[0].content.parts, [{ text: "yes" }])
      assert.match(yield* served("gemini", gemini, { model: "m", stream: true }), /^data: /)
    })
  )
})
