import { assert, describe, it } from "@effect/vitest"
import { FastCheck as fc } from "effect"
import { Chat, LlmError, OpenAi } from "effect-steadfast"
import * as AnthropicRequest from "../../src/providers/anthropic/AnthropicRequest.js"
import * as GeminiRequest from "../../src/providers/gemini/GeminiRequest.js"
import * as OpenAiChatRequest from "../../src/providers/openai/OpenAiChatRequest.js"
import * as OpenAiResponsesRequest from "../../src/providers/openai/OpenAiResponsesRequest.js"
import * as ToolResults from "../../src/providers/wire/ToolResults.js"
import { cases } from "../support/cases.js"

const call = (id: string): Chat.ToolCall => ({ id, name: "look", arguments: {} })
const calls = (...ids: ReadonlyArray<string>) => Chat.assistant("", ids.map(call))
const result = (id: string, content = id) => Chat.toolResult(id, content)
const question = Chat.user("?")
const note = Chat.system("note")

type Messages = Chat.Request["messages"]

const settle = (messages: Messages) => {
  const leftOut = new Set<string>()
  const settled = ToolResults.settle(messages, { provider: "p", model: "m" }, leftOut)
  return { settled, leftOut: [...leftOut] }
}

const messageOf = (messages: Messages) => {
  const { settled } = settle(messages)
  if (!(settled instanceof LlmError.InvalidRequest)) return assert.fail("nothing was refused")
  assert.isFalse(LlmError.isFallbackable(settled))
  return settled.message
}

describe("a result", () => {
  it("in its place stays there", () => {
    const messages = [question, calls("a", "b"), result("b"), result("a"), question, calls("c"), result("c")] as const
    assert.deepStrictEqual(settle(messages), { settled: messages, leftOut: [] })
  })

  it("behind another message comes before it", () => {
    assert.deepStrictEqual(settle([question, calls("a", "b"), result("a"), note, result("b"), question]), {
      settled: [question, calls("a", "b"), result("a"), result("b"), note, question],
      leftOut: ["messages[4] (moved to its call)"]
    })
  })

  it("behind the next answer comes before it, also if that has calls", () => {
    const { settled } = settle([question, calls("a"), calls("b"), result("a"), result("b")])
    assert.deepStrictEqual(settled, [question, calls("a"), result("a"), calls("b"), result("b")])
  })

  it("that comes twice is sent once: the first", () => {
    assert.deepStrictEqual(settle([question, calls("a"), result("a", "1"), result("a", "2")]), {
      settled: [question, calls("a"), result("a", "1")],
      leftOut: ["messages[3] (a second result)"]
    })
  })

  it("belongs to the latest call with its id, and to one call of several", () => {
    const messages = [calls("a", "a"), result("a", "1"), result("a", "2"), calls("a"), result("a", "3")] as const
    assert.deepStrictEqual(settle(messages), { settled: messages, leftOut: [] })
  })

  it("without a call is refused, with no more than the beginning of its id", () => {
    assert.strictEqual(
      messageOf([question, result("x")]),
      'messages[1].toolCallId: found "x", expected the id of an earlier tool call'
    )
    assert.isBelow(messageOf([question, result("x".repeat(10_000))]).length, 200)
  })
})

describe("a call without a result", () => {
  it("is refused where the conversation goes on", () => {
    const message = 'messages[0].toolCalls: found no result of "b", expected one in a later message'
    assert.strictEqual(messageOf([calls("a", "b"), result("a")]), message)
    assert.strictEqual(messageOf([calls("b"), question]), message)
    assert.strictEqual(messageOf([calls("b"), calls("c")]), message)
  })

  it("is left to the provider at the end", () => {
    const messages = [question, calls("a", "b")] as const
    assert.deepStrictEqual(settle(messages), { settled: messages, leftOut: [] })
  })
})

describe("every wire format", () => {
  const late: Messages = [
    question,
    calls("call_a", "call_b"),
    note,
    result("call_b", ""),
    question,
    result("call_a", "")
  ]
  const formats: Record<string, (request: Chat.Request) => ReturnType<ReturnType<typeof AnthropicRequest.encode>>> = {
    chat: (request) =>
      OpenAiChatRequest.encode("acme", "m", OpenAi.dialects.get("vllm") ?? assert.fail())(request, false),
    responses: (request) => OpenAiResponsesRequest.encode("openai", "m")(request, false),
    anthropic: (request) => AnthropicRequest.encode("anthropic", "m", undefined)(request, false),
    gemini: (request) => GeminiRequest.encode("gemini", "m")(request)
  }
  const encoded = (format: string, messages: Messages) => formats[format]?.({ messages }) ?? assert.fail()
  /** The ids of calls and results, and the other texts, in their order. */
  const order = (body: unknown) => JSON.stringify(body).match(/call_[ab](?=")|\?(?=")|note(?=")/g)

  for (const [format, expected] of [
    ["chat", "? call_a call_b call_b call_a note ?"],
    ["responses", "? call_a call_b call_b call_a note ?"],
    ["anthropic", "note ? call_a call_b call_b call_a ?"],
    ["gemini", "note ? call_a call_b call_b call_a ?"]
  ] as const) {
    it(`has results next to their calls, and says so: ${format}`, () => {
      const found = encoded(format, late)
      if (found instanceof LlmError.InvalidRequest) return assert.fail(found.message)
      assert.strictEqual(order(found.body)?.join(" "), expected)
      assert.includeMembers([...found.leftOut], ["messages[3] (moved to its call)", "messages[5] (moved to its call)"])
    })

    it(`refuses a result without a call: ${format}`, () => {
      const found = encoded(format, [question, result("call_x")])
      assert.instanceOf(found, LlmError.InvalidRequest)
    })
  }
})

describe("any conversation", () => {
  /** Turns: the ids of their calls, and what stands before each result. */
  const id = fc.constantFrom("a", "b", "", "c")
  const before = fc.constantFrom<ReadonlyArray<Chat.Message>>([], [], [question], [note], [question, note])
  const turns = fc.array(
    fc.tuple(
      fc.uniqueArray(id, { minLength: 1, maxLength: 3 }),
      fc.array(before, { minLength: 3, maxLength: 3 }),
      fc.boolean()
    ),
    { minLength: 1, maxLength: 5 }
  )

  it("with a result for every call is settled: results follow their calls, and nothing else is lost", () => {
    fc.assert(
      fc.property(turns, (turns) => {
        const messages = turns.flatMap(([ids, between, isDouble], turn) => [
          calls(...ids),
          ...ids.flatMap((id, index) => [...(between[index] ?? []), result(id, `${turn} ${index}`)]),
          ...(isDouble ? [result(ids[0] ?? "", "again")] : [])
        ])
        const { settled } = settle([question, ...messages])
        if (settled instanceof LlmError.InvalidRequest) return assert.fail(settled.message)
        const others = (all: ReadonlyArray<Chat.Message>) => all.filter(({ role }) => role !== "tool")
        assert.deepStrictEqual(others(settled), others([question, ...messages]))
        const answers = settled.flatMap((message, index) => (message.role === "assistant" ? [index] : []))
        turns.forEach(([ids], turn) => {
          const from = (answers[turn] ?? 0) + 1
          assert.deepStrictEqual(
            settled.slice(from, from + ids.length),
            ids.map((id, index) => result(id, `${turn} ${index}`))
          )
        })
        assert.deepStrictEqual(settle(settled), { settled, leftOut: [] })
      }),
      { numRuns: cases(10_000, 200) }
    )
  })
})
