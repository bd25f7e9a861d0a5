import { assert, describe, it } from "@effect/vitest"
import { type Chat, LlmError } from "effect-steadfast"
import { Assembly, type Options } from "../../src/providers/wire/Assembly.js"

/** Of no shape by which it could be told for a key. */
const secret = "correct horse battery staple"

const begun = (options: Partial<Options> = {}, now = 36 ** 5) =>
  new Assembly(
    {
      provider: "openai",
      model: "gpt-4o",
      status: 200,
      headers: {},
      now,
      secrets: [secret],
      requestId: "req_1",
      maxBytes: 1_000_000
    },
    { wire: "chat", reasonField: "finish_reason", ...options }
  )

const start = { _tag: "Start", provider: "openai", model: "gpt-4o", id: undefined, requestId: "req_1" } as const
const text = (text: string) => ({ _tag: "TextDelta", text }) as const
const finish = (reason: Chat.FinishReason) => ({ _tag: "Finish", reason }) as const

/** A call whose arguments are there as one value. */
const call = (name = "f", id = "", value: unknown = { a: 1 }) => ({ field: "calls[0]", name, id, value })

const errorOf = (found: LlmError.LlmError | undefined): string | undefined => found && `${found._tag}: ${found.message}`

const ids = (assembly: Assembly) => assembly.out.flatMap((event) => (event._tag === "ToolCall" ? [event.id] : []))

describe("the beginning", () => {
  it("is the first event, once, with the first id and model that are not empty", () => {
    const one = begun()
    one.origin("", undefined)
    one.origin("a", "")
    one.begin("b", "m")
    one.begin("c", "n")
    one.text("x")
    assert.deepStrictEqual(one.out, [{ ...start, id: "a", model: "m" }, text("x")])
  })

  it("waits for content where it has no event of its own", () => {
    const one = begun()
    one.text("")
    one.reasoning("")
    one.alive("reasoning")
    assert.deepStrictEqual(one.out, [])
    one.origin("a", "m")
    one.reasoning("x")
    assert.deepStrictEqual(one.out, [
      { ...start, id: "a", model: "m" },
      { _tag: "ReasoningDelta", text: "x" }
    ])
  })

  it("was in an earlier stream of a resumed answer, and so was content", () => {
    const one = begun({ resumed: true })
    assert.deepStrictEqual([one.texted, one.reasoned], [true, true])
    one.finish("stop")
    assert.isUndefined(one.end())
    assert.deepStrictEqual(one.out, [finish("stop")])
    assert.deepStrictEqual([begun().texted, begun().reasoned], [false, false])
  })
})

describe("progress", () => {
  it("is every piece that adds to the answer, with its size, and no empty one", () => {
    const one = begun()
    const seen = () => [one.progress, one.size, one.inside, one.texted, one.reasoned, one.hasRefused]
    assert.deepStrictEqual(seen(), [0, 0, "nothing", false, false, false])
    for (const piece of ["", "ab"]) one.reasoning(piece)
    assert.deepStrictEqual(seen(), [1, 2, "reasoning", false, true, false])
    for (const piece of ["", "cde"]) one.text(piece)
    assert.deepStrictEqual(seen(), [2, 5, "text", true, true, false])
    for (const piece of ["", "no"]) one.refusal(piece)
    assert.deepStrictEqual(seen(), [3, 5, "text", true, true, true])
    const open = one.open({ field: "calls[0]" })
    assert.deepStrictEqual(seen(), [4, 5, "tool-call", true, true, true])
    one.alive("reasoning")
    for (const piece of ["", "{}"]) one.fragment(open, piece)
    assert.deepStrictEqual(seen(), [6, 7, "tool-call", true, true, true])
    one.alive()
    assert.deepStrictEqual(seen(), [7, 7, "tool-call", true, true, true])
  })

  it("of a tool call that is told at last is 'tool-call' too", () => {
    const one = begun()
    one.open({ field: "calls[0]" })
    assert.deepStrictEqual([one.inside, one.callCount, one.deliveredCalls], ["tool-call", 1, 0])
  })
})

describe("an answer is over", () => {
  it("with content and a finish reason, unless its wire has an end of its own", () => {
    const [free, bound] = [begun(), begun({ needsEnd: true })]
    for (const one of [free, bound]) {
      one.finish("stop")
      assert.isFalse(one.over(), "a reason before any content")
      one.text("x")
      assert.isFalse(one.over(), "content after the reason")
    }
    for (const one of [begun(), begun({ needsEnd: true })]) {
      assert.isFalse(one.over())
      one.text("x")
      assert.isFalse(one.over())
      for (const none of ["", null, undefined, 1]) one.finish(none)
      assert.isFalse(one.over())
      assert.strictEqual(one.position(undefined).inside, "text")
      one.finish("stop")
      assert.strictEqual(one.position(undefined).inside, "end")
    }
    const over = (options: Partial<Options>, closed: boolean) => {
      const one = begun(options)
      one.text("x")
      one.closed = closed
      const before = one.over()
      one.finish("stop")
      return [before, one.over()]
    }
    assert.deepStrictEqual(over({}, false), [false, true])
    assert.deepStrictEqual(over({ needsEnd: true }, false), [false, false])
    assert.deepStrictEqual(over({ needsEnd: true }, true), [false, true])
  })

  it("not with a reason that content contradicts, until the wire's own end", () => {
    const one = begun()
    one.text("x")
    one.finish("stop")
    one.alive("reasoning")
    one.finish("stop")
    assert.isFalse(one.over())
    assert.deepStrictEqual(one.position({ id: "r", after: 3 }), {
      inside: "reasoning",
      usage: undefined,
      resume: { id: "r", after: 3 }
    })
    one.closed = true
    assert.isTrue(one.over())
  })
})

describe("the end", () => {
  it("is none where the answer was cut", () => {
    const cut = begun()
    cut.text("x")
    assert.isUndefined(cut.end())
    const bound = begun({ needsEnd: true })
    bound.text("x")
    bound.finish("stop")
    assert.isUndefined(bound.end())
    assert.deepStrictEqual(
      [cut.out, bound.out],
      [
        [start, text("x")],
        [start, text("x")]
      ]
    )
    bound.closed = true
    assert.isUndefined(bound.end())
    assert.deepStrictEqual(bound.out, [start, text("x"), finish("stop")])
  })

  it("of a wire that closes without reason and content names the reason that is missing", () => {
    const one = begun()
    assert.isUndefined(one.end())
    one.closed = true
    assert.strictEqual(errorOf(one.end()), "InvalidResponse: finish_reason: found nothing, expected an answer")
    one.alive()
    assert.isUndefined(one.end())
    const resumed = begun({ resumed: true })
    resumed.closed = true
    assert.isUndefined(resumed.end())
  })

  it.each([
    ["stop", 0, 0, "stop"],
    ["stop", 1, 0, "tool-calls"],
    ["stop", 0, 1, "tool-calls"],
    ["tool_calls", 0, 0, "other"],
    ["tool_calls", 1, 0, "tool-calls"],
    ["length", 1, 0, "length"],
    ["a new word", 0, 0, "other"]
  ] as const)("for the word %s, with %i calls and %i earlier ones, is %s", (word, calls, earlier, reason) => {
    const one = begun()
    one.text("x")
    one.earlierCalls = earlier
    for (let i = 0; i < calls; i++) one.open(call())
    one.finish(word)
    assert.isUndefined(one.end())
    assert.deepStrictEqual(one.out.at(-1), finish(reason))
    assert.deepStrictEqual([one.callCount, one.deliveredCalls], [calls, calls])
  })

  it("is the last reason", () => {
    const one = begun()
    one.text("x")
    one.finish("stop")
    one.finish("length")
    one.finish("")
    one.end()
    assert.deepStrictEqual(one.out.at(-1), finish("length"))
  })

  it("has the usage, and what only this provider says", () => {
    const one = begun()
    one.text("x")
    one.finish("stop")
    one.count({ input: 3, output: 5 })
    assert.deepInclude(one.usage(), { inputTokens: 3, outputTokens: 5 })
    one.count({ output: 4 })
    one.count({ output: 9 })
    assert.deepInclude(one.position(undefined).usage, { inputTokens: 3, outputTokens: 9 })
    one.detail("list", [1])
    one.detail("list", [])
    one.detail("list", null)
    one.detail("list", [2, 3])
    one.detail("word", "a")
    one.detail("word", undefined)
    one.detail("word", "b")
    for (const tier of ["default", "standard", "auto"]) one.tier(tier)
    one.tier("priority")
    one.end(() => ["kept"])
    const providerData = {
      wire: "chat",
      provider: "openai",
      model: "gpt-4o",
      reply: ["kept"],
      details: { list: [1, 2, 3], word: "b", service_tier: "priority" }
    }
    assert.deepInclude(one.out.at(-2), { _tag: "Usage" })
    assert.deepStrictEqual(one.out.at(-1), { ...finish("stop"), providerData })
  })

  it("has details alone, a reply alone, or neither", () => {
    const of = (tier: string, reply?: () => unknown) => {
      const one = begun()
      one.text("x")
      one.tier(tier)
      one.finish("stop")
      one.end(reply)
      return one.out.at(-1)
    }
    const data = { wire: "chat", provider: "openai", model: "gpt-4o" }
    const details = { service_tier: "flex" }
    assert.deepStrictEqual(of("flex"), { ...finish("stop"), providerData: { ...data, details } })
    assert.deepStrictEqual(
      of("auto", () => 1),
      { ...finish("stop"), providerData: { ...data, reply: 1 } }
    )
    assert.deepStrictEqual(
      of("auto", () => undefined),
      finish("stop")
    )
    for (const usual of ["default", "standard", "auto"]) assert.deepStrictEqual(of(usual), finish("stop"))
  })

  it("takes a list for a list, whatever was said before under that name", () => {
    const one = begun()
    one.text("x")
    const given = [1]
    one.detail("a", "word")
    one.detail("a", given)
    one.detail("a", [2])
    one.finish("stop")
    one.end()
    assert.deepStrictEqual(given, [1])
    const last = one.out.at(-1)
    assert.deepStrictEqual(last?._tag === "Finish" && last.providerData?.details, { a: [1, 2] })
  })
})

describe("an answer that says nothing", () => {
  const ended = (word: string, output: number | undefined, reasoning: number | undefined, options = {}) => {
    const one = begun(options)
    one.finish(word)
    one.count({ input: 1, output, reasoning })
    return one.end()?._tag
  }

  it.each([
    ["stop", undefined, undefined, "InvalidResponse"],
    ["stop", 0, undefined, "InvalidResponse"],
    ["stop", 5, 5, "InvalidResponse"],
    ["stop", 5, 4, undefined],
    ["stop", 5, undefined, undefined],
    ["length", undefined, undefined, undefined]
  ] as const)("and ends with %s after %s tokens, %s of reasoning: %s", (word, output, reasoning, tag) => {
    assert.strictEqual(ended(word, output, reasoning), tag)
  })

  it("is never meant where its wire never means it", () => {
    assert.strictEqual(ended("stop", 5, 4, { neverSilent: true }), "InvalidResponse")
    assert.isUndefined(ended("length", 5, 4, { neverSilent: true }))
  })

  it("says something with a call, or with reasoning", () => {
    const [called, thought] = [begun(), begun()]
    called.open(call())
    thought.reasoning("x")
    for (const one of [called, thought]) {
      one.finish("stop")
      assert.isUndefined(one.end())
    }
  })
})

describe("a refusal", () => {
  it("is the error of the answer, in the model's words, without secrets, cut", () => {
    const refused = (...pieces: ReadonlyArray<string>) => {
      const one = begun()
      one.text("x")
      for (const piece of pieces) one.refusal(piece)
      one.finish("stop")
      return one.end()
    }
    const error = refused("I can ", `not ${secret}.`)
    assert.instanceOf(error, LlmError.ContentFiltered)
    assert.deepInclude(error, { code: "refusal", status: 200, requestId: "req_1" })
    assert.match(error?.message ?? "", /^the model refused: I can not [a-z]*….$/)
    // No piece is kept beyond 400 characters, and the message has no more of them.
    const long = refused("a".repeat(399), "b", "c")
    assert.match(long?.message ?? "", /^the model refused: a+…$/)
    assert.lengthOf(long?.message ?? "", 400)
  })
})

describe("tool calls", () => {
  it("have their own id, or one that is unique in the answer and the conversation", () => {
    const of = (id: string | undefined, ...calls: ReadonlyArray<string>) => {
      const one = begun()
      one.begin(id, undefined)
      for (const id of calls) one.settle(one.open(call("f", id)))
      return ids(one)
    }
    assert.deepStrictEqual(of("r1", "a", "b"), ["a", "b"])
    assert.deepStrictEqual(of("r1", "", "", "a", ""), ["call_r1_0", "call_r1_1", "a", "call_r1_3"])
    assert.deepStrictEqual(of(undefined, ""), ["call_100000_0"])
    assert.deepStrictEqual(of("r1", "a", "a", "a"), ["a", "a_1", "a_2"])
    assert.deepStrictEqual(of("r1", "a_2", "a", "a", "a"), ["a_2", "a", "a_3", "a_4"])
    assert.deepStrictEqual(of("r1", "call_r1_1", ""), ["call_r1_1", "call_r1_2"])
  })

  it("carry their arguments and what goes back with them", () => {
    const one = begun()
    const open = one.open({ field: "calls[0]", id: "a", name: "f", reply: { signature: "s" } })
    for (const piece of ['{"a"', ":1}"]) one.fragment(open, piece)
    assert.isUndefined(one.settle(open))
    const providerData = { wire: "chat", provider: "openai", model: "gpt-4o", reply: { signature: "s" } }
    assert.deepStrictEqual(one.out, [
      start,
      { _tag: "ToolCall", id: "a", name: "f", arguments: { a: 1 }, providerData }
    ])
    assert.deepStrictEqual([one.callCount, one.deliveredCalls], [1, 1])
  })

  it("without a name, or with arguments that are no JSON, are errors and are not delivered", () => {
    const one = begun()
    const nameless = one.settle(one.open(call("")))
    assert.strictEqual(errorOf(nameless), "InvalidResponse: calls[0].name: found nothing, expected a string")
    const cut = one.open({ field: "calls[0]", name: "f" })
    one.fragment(cut, '{"a')
    assert.match(errorOf(one.settle(cut)) ?? "", /^InvalidResponse: the arguments of tool call f are no JSON/)
    assert.deepStrictEqual([one.out, one.callCount], [[], 0])
  })

  it("that were given up are gone", () => {
    const one = begun()
    one.text("x")
    one.drop(one.open(call()))
    one.finish("stop")
    assert.isUndefined(one.end())
    assert.deepStrictEqual(one.out, [start, text("x"), finish("stop")])
  })

  it("that the wire closed are delivered in order once something comes after them, once each", () => {
    const one = begun()
    assert.isUndefined(one.passed())
    for (const id of ["a", "b"]) one.close(one.open({ ...call("f", id), proof: "next" }))
    assert.deepStrictEqual(ids(one), [])
    assert.isUndefined(one.passed())
    assert.deepStrictEqual(ids(one), ["a", "b"])
    assert.isUndefined(one.passed())
    assert.deepStrictEqual(ids(one), ["a", "b"])
    one.close(one.open({ ...call(""), proof: "next" }))
    assert.strictEqual(one.passed()?._tag, "InvalidResponse")
  })

  describe("that are open at the end", () => {
    const ended = (word: string, open: Parameters<Assembly["open"]>[0], pieces: ReadonlyArray<string> = []) => {
      const one = begun()
      one.text("x")
      const opened = one.open(open)
      for (const piece of pieces) one.fragment(opened, piece)
      one.finish(word)
      const error = one.end()
      return error === undefined ? ids(one).length : errorOf(error)
    }
    const open = { field: "calls[0]", name: "f" }

    it("are delivered where their text is whole, also at the limit", () => {
      assert.strictEqual(ended("stop", open, ["{}"]), 1)
      assert.strictEqual(ended("length", open, ["{}"]), 1)
    })

    it("are left out at the limit where they are not whole, or nothing came after them", () => {
      assert.strictEqual(ended("length", open, ['{"a']), 0)
      assert.strictEqual(ended("length", { ...open, proof: "next" }, ["{}"]), 0)
      assert.strictEqual(ended("stop", { ...open, proof: "next" }, ["{}"]), 1)
      assert.match(String(ended("stop", open, ['{"a'])), /are no JSON/)
    })

    it("are an error where their reader should have settled them", () => {
      const missing = "InvalidResponse: calls[0]: found nothing, expected the end of the call of f"
      assert.strictEqual(ended("stop", { ...open, proof: "given" }, ["{}"]), missing)
      assert.strictEqual(ended("length", { ...open, proof: "given" }, ["{}"]), 0)
    })
  })
})
