import { assert, describe, it } from "@effect/vitest"
import { FastCheck as fc } from "effect"
import { Chat } from "effect-steadfast"
import * as ToolIds from "../../src/providers/wire/ToolIds.js"
import { cases } from "../support/cases.js"

const call = (id: string): Chat.ToolCall => ({ id, name: "look", arguments: {} })
const calls = (...ids: ReadonlyArray<string>) => Chat.assistant("", ids.map(call))
const result = (id: string, content = "") => Chat.toolResult(id, content)

const mistral = /^[a-zA-Z0-9]{9}$/
const short = /^[\s\S]{1,40}$/
const anthropic = /^[a-zA-Z0-9_-]{1,64}$/

/** The ids of a conversation in their order: of calls and of results. */
const idsOf = (messages: ReadonlyArray<Chat.Message>) => ({
  calls: messages.flatMap((message) =>
    message.role === "assistant" ? (message.toolCalls ?? []).map(({ id }) => id) : []
  ),
  results: messages.flatMap((message) => (message.role === "tool" ? [message.toolCallId] : []))
})

describe("ids of tool calls", () => {
  it("stay as they are where they fit", () => {
    const messages = [Chat.user("hi"), calls("a", "b"), result("b"), result("a"), calls("c"), result("c")]
    assert.strictEqual(JSON.stringify(ToolIds.map(messages, short)), JSON.stringify(messages))
  })

  it("change where they do not fit, and the results with them", () => {
    for (const pattern of [mistral, short, anthropic]) {
      const messages = [calls("x".repeat(90), "é é"), result("é é"), result("x".repeat(90))]
      const found = idsOf(ToolIds.map(messages, pattern))
      for (const id of found.calls) assert.match(id, pattern)
      assert.deepStrictEqual(found.results, [...found.calls].reverse())
    }
  })

  it("that come again in every turn lead to the latest call", () => {
    const found = idsOf(
      ToolIds.map([calls("call_0"), result("call_0"), calls("call_0"), result("call_0"), calls("call_0")], short)
    )
    assert.strictEqual(found.calls[0], "call_0")
    assert.strictEqual(new Set(found.calls).size, 3)
    assert.deepStrictEqual(found.results, found.calls.slice(0, 2))
  })

  it("that come twice in a message lead to their calls in order", () => {
    const found = idsOf(ToolIds.map([calls("", "", "b"), result(""), result("b"), result("")], short))
    assert.strictEqual(new Set(found.calls).size, 3)
    assert.deepStrictEqual(found.results, [found.calls[0], found.calls[2], found.calls[1]])
  })

  it("leave everything else of a call as it is", () => {
    const providerData = { wire: "w", provider: "p", model: "m", reply: { a: 1 } }
    const [message] = ToolIds.map([Chat.assistant("t", [{ ...call("é"), providerData }])], anthropic)
    if (message?.role !== "assistant") return assert.fail("no assistant")
    const [mapped] = message.toolCalls ?? []
    assert.deepStrictEqual({ ...mapped, id: "é" }, { ...call("é"), providerData })
    assert.strictEqual(message.content, "t")
  })
})

describe("any conversation", () => {
  const id = fc.oneof(
    fc.constantFrom("", "call_0", "call_1", "abcdefghi", "x".repeat(70), "é"),
    fc.string({ maxLength: 12 })
  )
  /** Turns: the ids that a message asks for, and the order of their results. */
  const turns = fc.array(fc.array(id, { minLength: 1, maxLength: 4 }), { minLength: 1, maxLength: 6 })
  const pattern = fc.constantFrom(mistral, short, anthropic)
  /** Each turn's results in reverse order of the different ids, in order for equal ones. */
  const order = (ids: ReadonlyArray<string>) =>
    [...new Set(ids)].reverse().flatMap((one) => ids.flatMap((other, index) => (one === other ? [index] : [])))
  const conversation = (all: ReadonlyArray<ReadonlyArray<string>>) =>
    all.flatMap((ids, turn) => [
      Chat.user("and?"),
      calls(...ids),
      ...order(ids).map((index) => result(ids[index] ?? "", `${turn} ${index}`))
    ])

  it("gets ids that fit and differ, results that lead to their calls, and nothing else", () => {
    fc.assert(
      fc.property(turns, pattern, (all, pattern) => {
        const messages = conversation(all)
        const mapped = ToolIds.map(messages, pattern)
        const found = idsOf(mapped)
        for (const id of found.calls) assert.match(id, pattern)
        assert.strictEqual(new Set(found.calls).size, found.calls.length)
        // The result names its turn and its call.
        const starts = all.map((_, turn) => all.slice(0, turn).flat().length)
        for (const message of mapped) {
          if (message.role !== "tool") continue
          const [turn = 0, index = 0] = message.content.split(" ").map(Number)
          assert.strictEqual(message.toolCallId, found.calls[(starts[turn] ?? 0) + index])
        }
        // The first use of an id that fits keeps it.
        const flat = all.flat()
        flat.forEach((id, index) => {
          if (pattern.test(id) && flat.indexOf(id) === index) assert.strictEqual(found.calls[index], id)
        })
        assert.deepStrictEqual(ToolIds.map(mapped, pattern), mapped)
      }),
      { numRuns: cases(10_000, 200) }
    )
  })

  it("keeps its ids when it grows", () => {
    fc.assert(
      fc.property(turns, fc.array(id, { minLength: 1, maxLength: 3 }), pattern, (all, more, pattern) => {
        const before = ToolIds.map(conversation(all), pattern)
        const after = ToolIds.map(conversation([...all, more]), pattern)
        assert.deepStrictEqual(after.slice(0, before.length), before)
      }),
      { numRuns: cases(10_000, 200) }
    )
  })
})
