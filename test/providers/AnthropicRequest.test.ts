import { assert, describe, it } from "@effect/vitest"
import { Effect, FastCheck as fc, Redacted, Schema } from "effect"
import { Anthropic, Chat, LlmError } from "effect-steadfast"
import { Reply } from "effect-steadfast/testing"
import * as AnthropicRequest from "../../src/providers/anthropic/AnthropicRequest.js"
import * as ClaudeModels from "../../src/providers/anthropic/ClaudeModels.js"
import { cases } from "../support/cases.js"
import { at, generate, peer, secret } from "./support.js"

type Fields = Record<string, unknown>
type Block = Fields & { readonly type: string }
interface Body extends Fields {
  readonly messages: ReadonlyArray<{ readonly role: string; readonly content: ReadonlyArray<Block> }>
}

const encoded = (request: Chat.Request, model = "claude-haiku-4-5", maxTokens?: number) => {
  const found = AnthropicRequest.encode("anthropic", model, maxTokens)(request, false)
  if (found instanceof LlmError.InvalidRequest) return assert.fail(found.message)
  return { body: found.body as Body, leftOut: found.leftOut }
}

/** The settings of a short request, without its messages. */
const settings = (options: Omit<Chat.Request, "messages">, model?: string, maxTokens?: number) => {
  const { body, leftOut } = encoded(Chat.prompt("hi", options), model, maxTokens)
  const { messages, model: _, ...fields } = body
  return { fields, leftOut }
}

const turnsOf = (messages: Chat.Request["messages"], model?: string) => encoded({ messages }, model).body.messages

const refused = (request: Chat.Request, model = "claude-haiku-4-5") => {
  const found = AnthropicRequest.encode("anthropic", model, undefined)(request, false)
  if (!(found instanceof LlmError.InvalidRequest)) return assert.fail("not refused")
  assert.strictEqual(found.delivery, "not-sent")
  assert.isTrue(LlmError.isFallbackable(found))
  return found.message
}

const text = (words: string) => ({ type: "text", text: words })
/** An object without fields, by the rules of enforced schemas. */
const empty = { type: "object", properties: {}, additionalProperties: false }

const tool: Chat.Tool = { name: "clock", parameters: { type: "object" } }
const call = (id: string, args: unknown = {}): Chat.ToolCall => ({ id, name: "clock", arguments: args })
const thinking = { type: "thinking", thinking: "Hm.", signature: "c2ln" }
const redacted = { type: "redacted_thinking", data: "c2VjcmV0" }

/** An answer with the blocks that a model sent. */
const answered = (content: string, blocks: unknown, toolCalls?: ReadonlyArray<Chat.ToolCall>, wire = "anthropic") => ({
  ...Chat.assistant(content, toolCalls),
  providerData: { wire, provider: "anthropic", model: "claude-haiku-4-5", reply: { content: blocks } }
})

const budget = { reasoning: { budgetTokens: 2000 } } as const

describe("every setting", () => {
  it("has its field", () => {
    const request = Chat.request({
      messages: [Chat.system("Be short."), Chat.user("hi"), Chat.system("And kind.")],
      temperature: 0.5,
      maxTokens: 100,
      stop: ["END"],
      metadata: { user_id: "u-1" },
      tools: [{ name: "weather", description: "of a city", parameters: empty, strict: true }, tool],
      toolChoice: "required",
      responseFormat: { type: "json-schema", name: "city", schema: empty },
      providerOptions: {
        anthropic: { top_k: 5, output_config: { effort: "low" } },
        openai: { user: "not for Anthropic" }
      }
    })
    assert.deepStrictEqual(encoded(request), {
      leftOut: [],
      body: {
        model: "claude-haiku-4-5",
        max_tokens: 100,
        system: "Be short.\n\nAnd kind.",
        messages: [{ role: "user", content: [text("hi")] }],
        temperature: 0.5,
        stop_sequences: ["END"],
        metadata: { user_id: "u-1" },
        output_config: {
          format: { type: "json_schema", schema: empty },
          effort: "low"
        },
        tools: [
          { name: "weather", description: "of a city", input_schema: empty, strict: true },
          { name: "clock", input_schema: { type: "object" } }
        ],
        tool_choice: { type: "any" },
        top_k: 5
      }
    })
  })

  it("without a counterpart is left out", () => {
    const { fields, leftOut } = settings({ seed: 7, metadata: { team: "red", user_id: "u" } })
    assert.deepStrictEqual(fields, { max_tokens: 4096, metadata: { user_id: "u" } })
    assert.deepStrictEqual(leftOut, ["seed (Anthropic has none)", "metadata (team)"])
  })

  it("of the user for the provider is sent as it is", () => {
    const own = {
      temperature: 3,
      top_p: 0.1,
      tools: [],
      tool_choice: { type: "any" },
      thinking: { type: "disabled" }
    } as const
    const { fields } = settings({ temperature: 0.5, providerOptions: { anthropic: own } }, "claude-opus-5-5")
    assert.deepStrictEqual(fields, { max_tokens: 4096, ...own })
  })
})

describe("sampling", () => {
  const both = { temperature: 0.3, topP: 0.9 }
  for (const [model, expected] of [
    ["claude-opus-4-20250514", { temperature: 0.3, top_p: 0.9 }],
    ["claude-opus-4-1-20250805", { temperature: 0.3 }],
    ["us.anthropic.claude-sonnet-4-6-v1:0", { temperature: 0.3 }],
    ["claude-opus-4-7", {}],
    ["claude-haiku-5-5", {}],
    ["claude-fable-5-2", {}],
    ["claude-newest", {}],
    ["MiniMax-M2", { temperature: 0.3, top_p: 0.9 }]
  ] as const) {
    it(`of ${model} is ${JSON.stringify(expected)}`, () => {
      const { fields, leftOut } = settings(both, model)
      const { max_tokens, ...sampling } = fields
      assert.deepStrictEqual(sampling, expected)
      assert.strictEqual(leftOut.length, 2 - Object.keys(expected).length)
    })
  }

  it("alone, topP is kept", () => {
    assert.strictEqual(settings({ topP: 0.9 }).fields.top_p, 0.9)
  })

  it("is no hotter than 1", () => {
    const { fields, leftOut } = settings({ temperature: 1.4 })
    assert.strictEqual(fields.temperature, 1)
    assert.deepStrictEqual(leftOut, ["temperature (1, not 1.4)"])
  })

  it("is left out where the model thinks, but a topP near 1", () => {
    const { fields, leftOut } = settings({ ...budget, temperature: 0.3, topP: 0.9 })
    assert.isUndefined(fields.temperature)
    assert.isUndefined(fields.top_p)
    assert.deepStrictEqual(leftOut, ["temperature (the model thinks)", "topP (the model thinks)"])
    assert.strictEqual(settings({ ...budget, topP: 0.96 }).fields.top_p, 0.96)
  })

  it("has no texts of white space that end the answer", () => {
    assert.deepStrictEqual(settings({ stop: ["\n", "END"] }).fields.stop_sequences, ["END"])
    assert.isUndefined(settings({ stop: ["  "] }).fields.stop_sequences)
  })
})

describe("tools", () => {
  it("that are none are left out, and the choice among them", () => {
    const { fields, leftOut } = settings({ tools: [], toolChoice: "auto" })
    assert.deepStrictEqual(fields, { max_tokens: 4096 })
    assert.deepStrictEqual(leftOut, ["toolChoice (there are no tools)"])
  })

  for (const [toolChoice, expected] of [
    ["auto", { type: "auto" }],
    ["none", { type: "none" }],
    ["required", { type: "any" }],
    [{ name: "clock" }, { type: "tool", name: "clock" }]
  ] as const) {
    it(`are chosen by ${JSON.stringify(toolChoice)}`, () => {
      assert.deepStrictEqual(settings({ tools: [tool], toolChoice }).fields.tool_choice, expected)
    })
  }

  it("of the provider may be chosen too", () => {
    const providerOptions = { anthropic: { tools: [{ type: "web_search_20250305", name: "web_search" }] } }
    assert.deepStrictEqual(settings({ toolChoice: "required", providerOptions }).fields.tool_choice, { type: "any" })
  })

  for (const [model, options] of [
    ["claude-haiku-4-5", budget],
    ["claude-opus-4-6", budget],
    ["claude-opus-5-5", {}],
    ["claude-fable-5-1", {}],
    ["claude-sonnet-5-5", {}]
  ] as const) {
    it(`are not forced on ${model} with ${JSON.stringify(options)}`, () => {
      for (const toolChoice of ["required", { name: "clock" }] as const) {
        const { fields, leftOut } = settings({ ...options, tools: [tool], toolChoice }, model)
        assert.deepStrictEqual(fields.tool_choice, { type: "auto" })
        assert.match(leftOut.join(), /^toolChoice \(auto: /)
      }
    })
  }

  it("are forced where a model thinks as an effort says", () => {
    const { fields } = settings(
      { tools: [tool], toolChoice: "required", reasoning: { effort: "low" } },
      "claude-opus-5"
    )
    assert.deepStrictEqual(fields.tool_choice, { type: "any" })
  })

  it("are not strict before Claude 4.1", () => {
    const { fields, leftOut } = settings({ tools: [{ ...tool, strict: true }] }, "claude-sonnet-4-0")
    assert.deepStrictEqual(fields.tools, [{ name: "clock", input_schema: { type: "object" } }])
    assert.deepStrictEqual(leftOut, ["strict tools (the model has none)"])
  })
})

describe("a format of the answer", () => {
  it("without a schema is asked for in words", () => {
    const { fields, leftOut } = settings({ responseFormat: { type: "json" } })
    assert.strictEqual(fields.system, "Answer with one JSON value and nothing else.")
    assert.isUndefined(fields.output_config)
    assert.deepStrictEqual(leftOut, ["responseFormat (asked for in words)"])
  })

  it("with a schema is asked for in words before Claude 4.1", () => {
    const schema = { type: "object", properties: {} }
    const { fields } = settings(
      { responseFormat: { type: "json-schema", name: "x", schema } },
      "claude-3-haiku-20240307"
    )
    assert.include(String(fields.system), JSON.stringify(schema))
    assert.isUndefined(fields.output_config)
  })
})

describe("facts about models", () => {
  for (const [name, same] of [
    ["us.anthropic.claude-opus-4-6-v1", "claude-opus-4-6"],
    ["claude-opus-4@20250514", "claude-opus-4-20250514"],
    ["anthropic/claude-sonnet-4.5", "claude-sonnet-4-5"],
    ["anthropic.claude-3-7-sonnet-20250219-v1:0", "claude-3.7-sonnet"],
    ["claude-4.5-sonnet", "claude-sonnet-4-5-20250929"],
    ["claude-v2:1", "claude-2.1"]
  ] as const) {
    it(`${name} is ${same}`, () => {
      assert.deepStrictEqual(ClaudeModels.factsOf(name), ClaudeModels.factsOf(same))
    })
  }

  it("of other models are none", () => {
    for (const name of ["MiniMax-M2", "glm-4.6", "kimi-k2"]) assert.isUndefined(ClaudeModels.factsOf(name))
  })
})

describe("reasoning", () => {
  const reasons = (reasoning: Chat.Reasoning, model: string, maxTokens?: number) => {
    const { fields, leftOut } = settings({ reasoning, maxTokens }, model)
    const { max_tokens, output_config, thinking } = fields
    return { thinking, effort: at(output_config, "effort"), max_tokens, leftOut }
  }
  const enabled = (budget_tokens: number) => ({ type: "enabled", budget_tokens })
  const adaptive = { type: "adaptive" }

  it("by a budget is on top of the default for the answer", () => {
    assert.deepStrictEqual(reasons({ budgetTokens: 2000 }, "claude-haiku-4-5"), {
      thinking: enabled(2000),
      effort: undefined,
      max_tokens: 6096,
      leftOut: []
    })
  })

  it("takes at least 1024 tokens", () => {
    const { leftOut, thinking } = reasons({ budgetTokens: 10 }, "claude-haiku-4-5")
    assert.deepStrictEqual(thinking, enabled(1024))
    assert.deepStrictEqual(leftOut, ["reasoning (a budget of 1024 tokens, not of 10)"])
  })

  for (const [limit, expected] of [
    [2001, [2000, 2001]],
    [2000, [2000, 4000]],
    [50, [2000, 2050]]
  ] as const) {
    it(`with a budget of 2000 and ${limit} tokens for the answer is ${expected.join(" of ")}`, () => {
      const { max_tokens, thinking } = reasons({ budgetTokens: 2000 }, "claude-haiku-4-5", limit)
      assert.deepStrictEqual([at(thinking, "budget_tokens"), max_tokens], [...expected])
    })
  }

  for (const [limit, expected] of [
    [40_000, [16_384, 40_000]],
    [10_000, [5000, 10_000]],
    [2048, [1024, 2048]],
    [100, [1024, 1124]]
  ] as const) {
    it(`with the effort high and ${limit} tokens is a budget of ${expected.join(" of ")}`, () => {
      const { max_tokens, thinking } = reasons({ effort: "high" }, "claude-haiku-4-5", limit)
      assert.deepStrictEqual([at(thinking, "budget_tokens"), max_tokens], [...expected])
    })
  }

  it("fits into the largest answer of the model", () => {
    const { max_tokens, thinking } = reasons({ effort: "xhigh" }, "claude-opus-4-1")
    assert.deepStrictEqual([at(thinking, "budget_tokens"), max_tokens], [32_000 - 4096, 32_000])
    const { fields, leftOut } = settings({ maxTokens: 70_000 }, "claude-haiku-4-5")
    assert.strictEqual(fields.max_tokens, 64_000)
    assert.deepStrictEqual(leftOut, ["maxTokens (64000, not 70000)"])
  })

  for (const [model, effort, expected] of [
    ["claude-opus-4-6", "minimal", "low"],
    ["claude-opus-4-6", "medium", "medium"],
    ["claude-opus-4-6", "xhigh", "high"],
    ["claude-opus-4-8", "xhigh", "xhigh"],
    ["claude-mythos-preview", "xhigh", "high"],
    ["claude-sonnet-5-5", "high", "high"]
  ] as const) {
    it(`of the effort ${effort} on ${model} is ${expected}`, () => {
      const found = reasons({ effort }, model)
      assert.deepStrictEqual([found.thinking, found.effort], [adaptive, expected])
      assert.strictEqual(found.leftOut.length, effort === expected ? 0 : 1)
    })
  }

  it("by a number goes where the model takes one, and is an effort elsewhere", () => {
    assert.deepStrictEqual(reasons({ budgetTokens: 3000, effort: "low" }, "claude-sonnet-4-6").thinking, enabled(3000))
    const elsewhere = reasons({ budgetTokens: 3000 }, "claude-opus-4-7")
    assert.deepStrictEqual([elsewhere.thinking, elsewhere.effort], [adaptive, "medium"])
    assert.deepStrictEqual(elsewhere.leftOut, ["reasoning.budgetTokens (the effort medium)"])
    assert.strictEqual(reasons({ budgetTokens: 3000, effort: "low" }, "claude-opus-4-7").effort, "low")
  })

  for (const [model, thinking, effort] of [
    ["claude-haiku-4-5", undefined, undefined],
    ["claude-opus-4-8", undefined, undefined],
    ["claude-opus-5", { type: "disabled" }, undefined],
    ["claude-haiku-5-5", { type: "disabled" }, undefined],
    ["claude-sonnet-5-5", { type: "between_tools" }, undefined],
    ["claude-opus-5-5", undefined, "low"],
    ["claude-fable-5", undefined, "low"],
    ["claude-opus-6", undefined, "low"],
    ["MiniMax-M2", { type: "disabled" }, undefined]
  ] as const) {
    it(`none on ${model} is ${JSON.stringify(thinking ?? effort ?? "nothing")}`, () => {
      const found = reasons({ effort: "none" }, model)
      assert.deepStrictEqual([found.thinking, found.effort], [thinking, effort])
    })
  }

  it("is left out for models that have none", () => {
    const found = reasons({ effort: "high" }, "claude-3-5-haiku-20241022")
    assert.deepStrictEqual(found, {
      thinking: undefined,
      effort: undefined,
      max_tokens: 4096,
      leftOut: ["reasoning (the model has none)"]
    })
  })

  it("is shown where the model has the option", () => {
    const shown = (summary: boolean) => ({ ...adaptive, display: summary ? "summarized" : "omitted" })
    for (const summary of [true, false]) {
      assert.deepStrictEqual(reasons({ effort: "low", summary }, "claude-opus-4-7").thinking, shown(summary))
      assert.deepStrictEqual(reasons({ summary }, "claude-opus-5").thinking, shown(summary))
    }
    assert.deepStrictEqual(reasons({ budgetTokens: 2000, summary: true }, "claude-haiku-4-5").thinking, enabled(2000))
    const silent = reasons({ summary: true }, "claude-opus-4-7")
    assert.isUndefined(silent.thinking)
    assert.strictEqual(silent.leftOut.length, 1)
  })

  it("that the model does unasked has room in the default for the answer", () => {
    assert.strictEqual(settings({}, "claude-opus-5").fields.max_tokens, 4096 + 16_384)
    assert.strictEqual(settings({}, "claude-opus-4-8").fields.max_tokens, 4096)
    assert.strictEqual(settings({}, "claude-opus-5", 50).fields.max_tokens, 50)
    assert.strictEqual(settings({ maxTokens: 9 }, "claude-opus-5", 50).fields.max_tokens, 9)
  })

  it("of the provider's options counts before that of the request", () => {
    const own = { type: "enabled", budget_tokens: 1024 } as const
    const { fields, leftOut } = settings({
      reasoning: { effort: "high" },
      providerOptions: { anthropic: { thinking: own } }
    })
    assert.deepStrictEqual(fields, { max_tokens: 5120, thinking: own })
    assert.deepStrictEqual(leftOut, ["reasoning (providerOptions have their own)"])
  })

  it("by a budget is off where the tool calls came without thoughts", () => {
    const loop: Chat.Request["messages"] = [
      Chat.user("Time?"),
      Chat.assistant("", [call("a")]),
      Chat.toolResult("a", "12")
    ]
    const { body, leftOut } = encoded({ messages: loop, tools: [tool], ...budget })
    assert.isUndefined(body.thinking)
    assert.deepStrictEqual(leftOut, ["reasoning (the tool calls have no thoughts of this provider)"])
    assert.isDefined(
      encoded({ messages: [...loop, Chat.assistant("12"), Chat.user("Sure?")], ...budget }).body.thinking
    )
    assert.isDefined(encoded({ messages: loop, reasoning: { effort: "low" } }, "claude-opus-4-6").body.thinking)
  })

  it("by a budget stays on where only later answers of the turn came without thoughts", () => {
    const messages: Chat.Request["messages"] = [
      Chat.user("Time?"),
      answered("", [thinking, { type: "tool_use", id: "a", name: "clock" }], [call("a")]),
      Chat.toolResult("a", "12"),
      Chat.assistant("", [call("b")]),
      Chat.toolResult("b", "13")
    ]
    assert.isDefined(encoded({ messages, ...budget }).body.thinking)
  })

  for (const [own, options] of [
    [{ top_k: 5 }, {}],
    [{ temperature: 0.5 }, {}],
    [{ tool_choice: { type: "any" } }, { tools: [tool] }],
    [{ max_tokens: 1024 }, {}]
  ] as const) {
    it(`by a budget is off where the user's options forbid it: ${Object.keys(own)}`, () => {
      const { fields, leftOut } = settings({ ...budget, ...options, providerOptions: { anthropic: own } })
      assert.isUndefined(fields.thinking)
      assert.deepStrictEqual(leftOut, ["reasoning (providerOptions do not allow it)"])
    })
  }

  it("by a budget fits into the user's own max_tokens", () => {
    const { fields, leftOut } = settings({ ...budget, providerOptions: { anthropic: { max_tokens: 1500 } } })
    assert.strictEqual(fields.max_tokens, 1500)
    assert.deepStrictEqual(fields.thinking, { type: "enabled", budget_tokens: 1024 })
    assert.deepStrictEqual(leftOut, ["reasoning (a budget of 1024 tokens, not of 2000)"])
  })

  it("by a budget is off where the answer has begun", () => {
    const { body, leftOut } = encoded({ messages: [Chat.user("hi"), Chat.assistant("He")], ...budget })
    assert.isUndefined(body.thinking)
    assert.deepStrictEqual(leftOut, ["reasoning (the answer has begun)"])
  })
})

describe("text", () => {
  for (const [name, messages] of [
    ["an empty message", [Chat.user("")]],
    ["a message of white space", [Chat.user(" \n")]],
    ["empty parts", [Chat.user([{ type: "text", text: "" }])]],
    ["no parts", [Chat.user([])]],
    ["only system messages", [Chat.system("hi")]],
    ["only an empty answer", [Chat.assistant("")]]
  ] as const) {
    it(`is refused if there is none: ${name}`, () => {
      assert.include(refused({ messages }), "messages: found only system messages or empty ones")
    })
  }

  it("that is empty is left out, and neighbours become one turn", () => {
    const { body, leftOut } = encoded({
      messages: [
        Chat.user([
          { type: "text", text: "" },
          { type: "text", text: "a" },
          { type: "text", text: " " }
        ]),
        Chat.assistant(" "),
        Chat.user("b"),
        Chat.system(" ")
      ]
    })
    assert.deepStrictEqual(body.messages, [{ role: "user", content: [text("a"), text(" "), text("b")] }])
    assert.isUndefined(body.system)
    assert.deepStrictEqual(leftOut, ["messages without content"])
  })

  it("of white space before a tool call stays, because the API takes it", () => {
    const [, second] = turnsOf([Chat.user("a"), Chat.assistant("\n\n", [call("x")]), Chat.toolResult("x", "")])
    assert.deepStrictEqual(second?.content, [text("\n\n"), { type: "tool_use", id: "x", name: "clock", input: {} }])
  })

  it("that begins the answer ends with no white space", () => {
    const [, second] = turnsOf([Chat.user("a"), Chat.assistant("He \n")])
    assert.deepStrictEqual(second?.content, [text("He")])
    const three = turnsOf([Chat.user("a"), Chat.assistant("He "), Chat.assistant("\n\n")])
    assert.deepStrictEqual(three[1]?.content, [text("He")])
  })

  it("that begins the answer is followed by a question where the model continues none", () => {
    const { body, leftOut } = encoded({ messages: [Chat.user("a"), Chat.assistant("He")] }, "claude-opus-4-6")
    assert.deepStrictEqual(
      body.messages.map(({ role }) => role),
      ["user", "assistant", "user"]
    )
    assert.deepStrictEqual(leftOut, ["the beginning of the answer (a user message asks for the rest)"])
  })
})

describe("a conversation with tools", () => {
  it("has the results in one turn, in front", () => {
    assert.deepStrictEqual(
      turnsOf([
        Chat.user("Time here and there?"),
        Chat.assistant("", [call("a", { zone: 1 }), call("b", null)]),
        Chat.toolResult("b", "sun"),
        Chat.user("Well?"),
        Chat.toolResult("a", "")
      ]).slice(1),
      [
        {
          role: "assistant",
          content: [
            { type: "tool_use", id: "a", name: "clock", input: { zone: 1 } },
            { type: "tool_use", id: "b", name: "clock", input: {} }
          ]
        },
        {
          role: "user",
          content: [
            { type: "tool_result", tool_use_id: "b", content: "sun" },
            { type: "tool_result", tool_use_id: "a", content: "" },
            text("Well?")
          ]
        }
      ]
    )
  })

  it("has ids that the API takes, none twice", () => {
    const messages = ["functions.clock:0", "call_0", "call_0", "x".repeat(65)].flatMap((id) => [
      Chat.assistant("", [call(id)]),
      Chat.toolResult(id, "12")
    ])
    const turns = turnsOf([Chat.user("Time?"), ...messages]).slice(1)
    const calls = turns.flatMap(({ content }) =>
      content.flatMap((block) => (block.type === "tool_use" ? [block.id] : []))
    )
    const results = turns.flatMap(({ content }) => content.flatMap(({ tool_use_id }) => tool_use_id ?? []))
    for (const id of calls) assert.match(String(id), /^[a-zA-Z0-9_-]{1,64}$/)
    assert.strictEqual(new Set(calls).size, 4)
    assert.deepStrictEqual(results, calls)
  })

  it("has inputs that are objects", () => {
    const { body, leftOut } = encoded({ messages: [Chat.user("a"), Chat.assistant("", [call("x", [1])])] })
    assert.deepStrictEqual(at(body.messages, 1, "content", 0, "input"), { value: [1] })
    assert.deepStrictEqual(leftOut, ["arguments of clock (in an object)"])
  })
})

describe("thoughts", () => {
  const use = (id: string) => ({ type: "tool_use", id, name: "clock" })
  const whole = (id: string, input: unknown = {}) => ({ ...use(id), input })
  const think = { providerOptions: { anthropic: { thinking: { type: "adaptive" } } } } as const
  /** The blocks of an answer as they are sent back. */
  const back = (answer: Chat.Message, options: Omit<Chat.Request, "messages"> = think, model?: string) => {
    const calls = answer.role === "assistant" ? (answer.toolCalls ?? []) : []
    const results = calls.map(({ id }) => Chat.toolResult(id, ""))
    const messages = [Chat.user("?"), answer, ...results, Chat.user("!")] as const
    return encoded({ ...options, messages }, model).body.messages[1]?.content
  }

  it("go back in their places, with the inputs of the message", () => {
    const search = { type: "server_tool_use", id: "s", name: "web_search", input: { q: 1 } }
    const cited = { type: "text", text: "b", citations: [{ url: "u" }] }
    const blocks = [thinking, text("a"), search, redacted, cited, use("x"), use("y")]
    assert.deepStrictEqual(back(answered("ab", blocks, [call("x", { n: 1 }), call("y")])), [
      ...blocks.slice(0, 5),
      whole("x", { n: 1 }),
      whole("y")
    ])
  })

  it("lead the answer where the message was changed", () => {
    const blocks = [thinking, redacted, text("a"), thinking, use("x")]
    assert.deepStrictEqual(back(answered("A", blocks, [call("x")])), [thinking, redacted, text("A"), whole("x")])
    assert.deepStrictEqual(back(answered("a", blocks, [call("z")])), [thinking, redacted, text("a"), whole("z")])
    assert.deepStrictEqual(back(answered("a", blocks)), [thinking, redacted, text("a")])
  })

  it("go back with calls that have other ids now", () => {
    const sent = back(answered("", [thinking, use("a.b")], [call("a.b")]))
    assert.deepStrictEqual(sent?.[0], thinking)
    assert.match(String(sent?.[1]?.id), /^[a-zA-Z0-9_-]{1,64}$/)
  })

  for (const [name, answer] of [
    ["another wire format's", answered("a", [thinking, text("a")], undefined, "gemini")],
    ["no list", answered("a", "thinking")],
    ["no blocks", answered("a", [thinking, 1, text("a")])],
    ["without a signature", answered("a", [{ ...thinking, signature: "" }, text("a")])],
    ["of odd text", answered("a", [thinking, { type: "text", text: 1 }])]
  ] as const) {
    it(`are not sent if they are ${name}`, () => {
      assert.deepStrictEqual(back(answer), [text("a")])
    })
  }

  it("alone are no message, and end none", () => {
    assert.deepStrictEqual(encoded({ ...think, messages: [Chat.user("?"), answered("", [thinking])] }).body.messages, [
      { role: "user", content: [text("?")] }
    ])
    assert.deepStrictEqual(back(answered("a", [text("a"), thinking])), [text("a")])
  })

  it("are sent only where the model thinks", () => {
    const answer = answered("a", [thinking, text("a")])
    const both = [thinking, text("a")]
    for (const [options, model, expected] of [
      [{}, "claude-haiku-4-5", [text("a")]],
      [budget, "claude-haiku-4-5", both],
      [{}, "claude-opus-5-5", both],
      [{ reasoning: { effort: "none" } }, "claude-opus-5", [text("a")]],
      [{ reasoning: { effort: "none" } }, "claude-opus-5-5", both],
      // The signature of another maker.
      [{}, "MiniMax-M2", [text("a")]]
    ] as const) {
      assert.deepStrictEqual(back(answer, options, model), expected, `${model} ${JSON.stringify(options)}`)
    }
    const { leftOut } = encoded({ messages: [Chat.user("?"), answer, Chat.user("!")] })
    assert.deepStrictEqual(leftOut, ["thoughts of earlier answers"])
  })

  it("before a system message are not sent to a model that binds them to what was before", () => {
    const answer = answered("a", [thinking, text("a")])
    const conversation = [Chat.system("s"), Chat.user("1"), answer, Chat.system("t"), Chat.user("2"), answer] as const
    const contents = (model: string) =>
      encoded({ messages: [...conversation, Chat.user("3")] }, model).body.messages.map(({ content }) => content.length)
    assert.deepStrictEqual(contents("claude-opus-5-5"), [1, 1, 1, 2, 1])
    assert.deepStrictEqual(contents("claude-opus-5"), [1, 2, 1, 2, 1])
  })

  it.effect("survive a stored conversation and another model value", () =>
    Effect.gen(function* () {
      const content = [thinking, redacted, text("Let me look."), whole("t1", { zone: 1 }), whole("t2")]
      const make = Anthropic.make({ model: "claude-haiku-4-5", apiKey: Redacted.make(secret) })
      const first = yield* generate(
        make,
        Reply.json({ id: "m", model: "claude-haiku-4-5", type: "message", content, stop_reason: "tool_use" })
      )
      const stored = JSON.parse(JSON.stringify(Chat.reply(first)))
      const message = yield* Schema.decodeUnknown(Chat.Message)(stored)
      const { model, provider } = yield* peer(make)
      const messages = [Chat.user("?"), message, Chat.toolResult("t1", "1"), Chat.toolResult("t2", "2")] as const
      yield* model.generate({ messages, ...budget })
      const [request] = yield* provider.requests
      assert.deepStrictEqual(at(request?.body, "messages", 1, "content"), content)
      assert.deepStrictEqual(at(request?.body, "thinking"), { type: "enabled", budget_tokens: 2000 })
    })
  )
})

describe("images and files", () => {
  const part = (one: Chat.ImagePart | Chat.FilePart): Chat.Request => ({ messages: [Chat.user([one])] })
  const block = (one: Chat.ImagePart | Chat.FilePart) => encoded(part(one)).body.messages[0]?.content[0]

  for (const [one, expected] of [
    [
      { type: "image", data: "QUJD", mediaType: "image/png" },
      { type: "image", source: { type: "base64", media_type: "image/png", data: "QUJD" } }
    ],
    [
      { type: "image", url: "https://a.example/a.png" },
      { type: "image", source: { type: "url", url: "https://a.example/a.png" } }
    ],
    [
      { type: "image", url: "data:image/webp;charset=x;base64,REVG" },
      { type: "image", source: { type: "base64", media_type: "image/webp", data: "REVG" } }
    ],
    [
      { type: "file", data: "JVBERg==", mediaType: "application/pdf", name: "a.pdf" },
      {
        type: "document",
        source: { type: "base64", media_type: "application/pdf", data: "JVBERg==" },
        title: "a.pdf"
      }
    ],
    [
      { type: "file", url: "https://a.example/paper" },
      { type: "document", source: { type: "url", url: "https://a.example/paper" } }
    ],
    [
      { type: "file", data: "R3LDvMOfZQ==", mediaType: "text/plain" },
      { type: "document", source: { type: "text", media_type: "text/plain", data: "Grüße" } }
    ],
    [
      { type: "file", url: "data:application/json,%7B%7D" },
      { type: "document", source: { type: "text", media_type: "text/plain", data: "{}" } }
    ],
    [
      { type: "file", data: "QUJD", mediaType: "image/png" },
      { type: "image", source: { type: "base64", media_type: "image/png", data: "QUJD" } }
    ]
  ] as const) {
    it(`${JSON.stringify(one)} is a block`, () => {
      assert.deepStrictEqual(block(one), expected)
    })
  }

  for (const [one, message] of [
    [{ type: "file", data: "QUJD", mediaType: "audio/mpeg" }, "found a file of type audio/mpeg, expected"],
    [{ type: "file", url: "https://a.example/a.mp4" }, "found a file of type video/mp4, expected"],
    [{ type: "file", url: "https://a.example/a.txt" }, "found the URL of a text, expected"],
    [{ type: "file", data: "*", mediaType: "text/plain" }, "found a text that is no base64"]
  ] as const) {
    it(`${JSON.stringify(one)} is refused, and another target may take it`, () => {
      assert.include(refused(part(one)), `messages[0].content[0]: ${message}`)
    })
  }
})

describe("any conversation", () => {
  const words = fc.constantFrom("", " ", "\n", "a", "a ")
  const id = fc.constantFrom("", "a", "b", "functions.f:0", "é")
  const toolCalls = fc.array(
    id.map((id) => call(id)),
    { maxLength: 3 }
  )
  const blocks = fc.array(
    fc.oneof(
      fc.constantFrom<unknown>(thinking, redacted, { ...thinking, signature: 1 }),
      words.map(text),
      id.map((id) => ({ type: "tool_use", id, name: "clock" })),
      fc.jsonValue()
    ),
    { maxLength: 5 }
  )
  /** An answer whose data say what it says, or anything else. */
  const answer = fc
    .tuple(words, toolCalls, blocks, fc.boolean(), fc.boolean())
    .map(([said, calls, data, same, first]) => {
      const own = calls.map(({ id, name }) => ({ type: "tool_use", id, name }))
      return answered(said, same ? [...(first ? [thinking] : []), text(said), ...own] : data, calls)
    })
  const message = fc.oneof(
    answer,
    words.map((words) => Chat.user(words)),
    words.map((words) => Chat.system(words)),
    fc.tuple(id, words).map(([id, content]) => Chat.toolResult(id, content))
  )
  const options = fc.record(
    {
      reasoning: fc.record(
        {
          effort: fc.constantFrom<NonNullable<Chat.Reasoning["effort"]>>(
            "none",
            "minimal",
            "low",
            "medium",
            "high",
            "xhigh"
          ),
          budgetTokens: fc.integer({ min: 1, max: 200_000 }),
          summary: fc.boolean()
        },
        { requiredKeys: [] }
      ),
      maxTokens: fc.integer({ min: 1, max: 200_000 }),
      toolChoice: fc.constantFrom<NonNullable<Chat.Request["toolChoice"]>>("auto", "required", { name: "clock" }),
      tools: fc.constantFrom([], [tool])
    },
    { requiredKeys: [] }
  )
  const model = fc.constantFrom(
    "claude-3-opus",
    "claude-haiku-4-5",
    "claude-opus-4-6",
    "claude-opus-5",
    "claude-opus-5-5"
  )
  const isThought = ({ type }: Block) => type === "thinking" || type === "redacted_thinking"

  it("is encoded without what the API refuses, or refused", () => {
    fc.assert(
      fc.property(fc.array(message, { minLength: 1, maxLength: 8 }), options, model, (list, options, model) => {
        const [first = Chat.user("a"), ...rest] = list
        const found = AnthropicRequest.encode(
          "anthropic",
          model,
          undefined
        )({ ...options, messages: [first, ...rest] }, false)
        if (found instanceof LlmError.InvalidRequest) return
        const { max_tokens, messages, thinking: field, tool_choice, tools } = found.body as Body
        messages.forEach(({ content, role }, index) => {
          assert.notStrictEqual(role, messages[index - 1]?.role)
          assert.isFalse(content.some((block) => block.type === "text" && block.text === ""))
          assert.isTrue(content.some((block) => block.type !== "text" || String(block.text).trim() !== ""))
          assert.isFalse(isThought(content[content.length - 1] ?? { type: "thinking" }))
          const results = content.filter(({ type }) => type === "tool_result").length
          assert.isTrue(content.slice(0, results).every(({ type }) => type === "tool_result"))
        })
        const last = messages[messages.length - 1]?.content.slice(-1)[0]
        if (messages[messages.length - 1]?.role === "assistant" && last?.type === "text") {
          assert.strictEqual(last.text, String(last.text).trimEnd())
        }
        const type = at(field, "type")
        if (type === "enabled") {
          const budget = Number(at(field, "budget_tokens"))
          assert.isAtLeast(budget, 1024)
          assert.isBelow(budget, Number(max_tokens))
        }
        assert.isAtMost(Number(max_tokens), ClaudeModels.factsOf(model)?.maxOutput ?? 0)
        if (tool_choice !== undefined) assert.isDefined(tools)
        if (type === "enabled") assert.notInclude(["any", "tool"], at(tool_choice, "type"))
        const thinks = type === undefined ? ClaudeModels.factsOf(model)?.thinks : type !== "disabled"
        if (thinks !== true) assert.isFalse(messages.some(({ content }) => content.some(isThought)))
      }),
      { numRuns: cases(10_000, 300) }
    )
  })
})
