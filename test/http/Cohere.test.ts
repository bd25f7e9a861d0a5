import { assert, describe, it } from "@effect/vitest"
import { Effect, FastCheck as fc, Stream } from "effect"
import { Chat, ChatStream } from "effect-steadfast"
import { AnswerBody, EventStream, RequestBody } from "effect-steadfast/http"
import { cases } from "../support/cases.js"
import { errorOf } from "../support/errors.js"
import { answers } from "./support.js"
import { inPieces, type Json, nothing, partsOf, plain, type Read, requests, toolsOf } from "./wires.js"

const origin = { id: "answer-0", created: 1_790_000_000 }

const message = (one: Json): Json => (one.delta as { readonly message: Json }).message

/** Checks that blocks are opened, filled and closed in turns, and keeps what they say. */
const reader = () => {
  const read = nothing()
  let open: readonly [type: "content" | "tool-call", index: unknown, kind: string] | undefined
  let contents = 0
  const take = (event: string, one: Json): void => {
    if ("error" in one) {
      read.error = one.error
      return
    }
    assert.strictEqual(one.type, event)
    assert.isUndefined(read.end, "nothing follows the end")
    switch (event) {
      case "message-start":
        assert.deepStrictEqual(
          [one.id, message(one).role, contents, read.calls.length],
          ["answer-1", "assistant", 0, 0]
        )
        return
      case "content-start": {
        assert.isUndefined(open)
        assert.strictEqual(one.index, contents++)
        const { type, ...empty } = message(one).content as Json
        assert.deepStrictEqual(empty, { [String(type)]: "" })
        open = ["content", one.index, String(type)]
        return
      }
      case "content-delta": {
        assert.deepStrictEqual(open?.slice(0, 2), ["content", one.index])
        const piece = (message(one).content as Json)[open?.[2] ?? ""]
        assert.isString(piece)
        read[open?.[2] === "text" ? "text" : "thoughts"] += piece
        return
      }
      case "tool-call-start": {
        assert.isUndefined(open)
        assert.strictEqual(one.index, read.calls.length)
        const call = message(one).tool_calls as { readonly id: string; readonly type: string; readonly function: Json }
        assert.deepStrictEqual([call.type, call.function.arguments], ["function", ""])
        read.calls.push([call.id, call.function.name, ""])
        open = ["tool-call", one.index, ""]
        return
      }
      case "tool-call-delta": {
        assert.deepStrictEqual(open?.slice(0, 2), ["tool-call", one.index])
        const [id, name, args] = read.calls.pop() ?? []
        const more = (message(one).tool_calls as { readonly function: Json }).function.arguments
        read.calls.push([id, name, `${args}${more}`])
        return
      }
      case "content-end":
      case "tool-call-end":
        assert.deepStrictEqual(open?.slice(0, 2), [event.replace("-end", ""), one.index])
        open = undefined
        return
      case "message-end":
        assert.isUndefined(open)
        read.end = one.delta as Json
        return
      default:
        assert.fail(event)
    }
  }
  return { read, take }
}

/** Reads frames as Cohere's own client does: line by line, and up to the first `[DONE]` in any of them. */
const reading = (pieces: ReadonlyArray<Uint8Array>): Read => {
  const decoder = new TextDecoder()
  const { read, take } = reader()
  let left = ""
  let event = ""
  for (const piece of pieces) {
    const lines = (left + decoder.decode(piece, { stream: true })).split("\n")
    left = lines.pop() ?? ""
    for (const line of lines) {
      if (line.includes("[DONE]")) return read
      if (line.startsWith("event: ")) event = line.slice("event: ".length)
      if (line.startsWith("data: ")) take(event, JSON.parse(line.slice("data: ".length)))
    }
  }
  assert.isUndefined(read.end, "a whole stream ends with its terminator")
  return read
}

const reasons = { stop: "COMPLETE", length: "MAX_TOKENS", "tool-calls": "TOOL_CALL", other: "COMPLETE" } as const

const isSaid = (read: Read, answer: Chat.Response): void => {
  assert.deepStrictEqual([read.text, read.thoughts], [answer.text, answer.reasoning ?? ""])
  assert.deepStrictEqual(
    read.calls,
    answer.toolCalls.map((call) => [call.id, call.name, JSON.stringify(call.arguments)])
  )
  const { usage } = answer
  const tokens = usage && { input_tokens: usage.inputTokens, output_tokens: usage.outputTokens }
  assert.deepStrictEqual(
    plain(read.end),
    plain({
      finish_reason: reasons[answer.finishReason],
      usage: usage && { billed_units: tokens, tokens, cached_tokens: usage.cachedInputTokens }
    })
  )
}

const collected = (events: ReadonlyArray<Chat.Event>) => Effect.runSync(ChatStream.collect(Stream.fromIterable(events)))

describe("an answer", () => {
  it("is the same from its frames, however they are cut", () => {
    fc.assert(
      fc.property(answers, fc.array(fc.integer({ min: 1, max: 40 })), (events, sizes) => {
        const encoder = EventStream.make("cohere", origin)
        const frames = events.map((event) => String(encoder.push(event))).join("")
        assert.isTrue(frames.endsWith("data: [DONE]\n\n"))
        isSaid(reading(inPieces(frames, sizes)), collected(events))
      }),
      { numRuns: cases(2000) }
    )
  })

  it("is the same from its body", () => {
    fc.assert(
      fc.property(answers, (events) => {
        const answer = collected(events)
        const { id, message, ...end } = plain(AnswerBody.make("cohere", answer, origin)) as Json
        const said = message as {
          readonly content: ReadonlyArray<Json>
          readonly tool_calls?: ReadonlyArray<{ readonly id: string; readonly function: Json }>
        }
        const read = { ...nothing(), end }
        for (const part of said.content) {
          read.text += part.text ?? ""
          read.thoughts += part.thinking ?? ""
        }
        for (const call of said.tool_calls ?? [])
          read.calls.push([call.id, call.function.name, call.function.arguments])
        isSaid(read, answer)
        assert.strictEqual(id, "answer-1")
      }),
      { numRuns: cases(2000) }
    )
  })

  it("that broke is never a whole one, and says why", () => {
    fc.assert(
      fc.property(answers, fc.nat({ max: 99 }), (events, cut) => {
        const encoder = EventStream.make("cohere", origin)
        const some = events.slice(0, cut % (events.length - 1))
        const frames = some.map((event) => String(encoder.push(event))).join("") + encoder.fail(errorOf("Overloaded"))
        const read = reading(inPieces(frames, []))
        assert.strictEqual(read.error, "the provider is overloaded")
        assert.isUndefined(read.end)
      }),
      { numRuns: cases(1000) }
    )
  })

  it("that says nothing has a text", () => {
    const answer = { provider: "p", model: "m", text: "", toolCalls: [], finishReason: "stop" } as const
    const { message } = AnswerBody.make("cohere", answer, origin)
    assert.deepStrictEqual((message as Json).content, [{ type: "text", text: "" }])
  })
})

/** A request as a client writes it. */
const written = (request: Chat.Request): Json => {
  const { maxTokens, messages, responseFormat, seed, stop, temperature, topP } = request
  const schema = responseFormat?.type === "json-schema" ? { json_schema: responseFormat.schema } : {}
  return {
    model: "m",
    messages: messages.map((one) => {
      switch (one.role) {
        case "user": {
          const { images, text } = partsOf(one)
          const urls = images.map((data) => ({
            type: "image_url",
            image_url: { url: `data:image/png;base64,${data}` }
          }))
          return { role: "user", content: urls.length === 0 ? text : [{ type: "text", text }, ...urls] }
        }
        case "assistant": {
          const calls = one.toolCalls?.map(({ arguments: args, id, name }) => ({
            id,
            type: "function",
            function: { name, arguments: JSON.stringify(args) }
          }))
          // What comes before calls is a plan in Cohere's words, and thoughts do not come back.
          return calls === undefined
            ? {
                role: "assistant",
                content: [
                  { type: "thinking", thinking: "hm" },
                  { type: "text", text: one.content }
                ]
              }
            : { role: "assistant", tool_plan: one.content, tool_calls: calls }
        }
        case "tool":
          return { role: "tool", tool_call_id: one.toolCallId, content: [{ type: "text", text: one.content }] }
        default:
          return one
      }
    }),
    tools: toolsOf(request),
    response_format: responseFormat && { type: "json_object", ...schema },
    max_tokens: maxTokens,
    temperature,
    p: topP,
    stop_sequences: stop,
    seed
  }
}

describe("a request", () => {
  it("is read as it was written", () => {
    fc.assert(
      fc.property(requests, fc.constantFrom(true, false, undefined), (request, stream) => {
        const asked = Effect.runSync(RequestBody.decode("cohere", plain({ ...written(request), stream })))
        assert.deepStrictEqual(plain(asked.request), plain(request))
        assert.deepStrictEqual([asked.model, asked.stream, asked.unread], ["m", stream ?? false, []])
      }),
      { numRuns: cases(2000) }
    )
  })

  const hello = { model: "m", messages: [{ role: "user", content: "hi" }] }
  const read = (more: object) => Effect.runSync(RequestBody.decode("cohere", { ...hello, ...more }))

  it("thinks as it is asked to", () => {
    const think = (thinking: unknown) => read({ thinking }).request.reasoning
    assert.deepStrictEqual(think({ type: "enabled" }), { effort: "high", summary: true })
    assert.deepStrictEqual(think({ type: "enabled", token_budget: 900 }), { budgetTokens: 900, summary: true })
    assert.deepStrictEqual(think({ type: "disabled" }), { effort: "none" })
  })

  it("chooses tools, and wants them strict", () => {
    const tools = [{ type: "function", function: { name: "f", parameters: { type: "object" } } }]
    const { request } = read({ tools, strict_tools: true, tool_choice: "REQUIRED" })
    assert.deepStrictEqual(request.tools, [{ name: "f", parameters: { type: "object" }, strict: true }])
    assert.strictEqual(request.toolChoice, "required")
    assert.strictEqual(read({ tool_choice: "NONE" }).request.toolChoice, "none")
  })

  it("has the plan before what is said, and documents of tools as JSON", () => {
    const call = { id: "a", type: "function", function: { name: "f", arguments: "" } }
    const document = (data: unknown) => ({ type: "document", document: { data, id: "1" } })
    const turns = [
      { role: "assistant", tool_plan: "First. ", content: "Then.", tool_calls: [call] },
      { role: "tool", tool_call_id: "a", content: [document({ a: 1 }), document("b"), { type: "text", text: "c" }] },
      { role: "assistant", tool_plan: "Plan.", content: [{ type: "text", text: " Said." }] }
    ]
    const { messages } = read({ messages: turns }).request
    assert.deepStrictEqual(plain(messages), [
      { role: "assistant", content: "First. Then.", toolCalls: [{ id: "a", name: "f", arguments: {} }] },
      { role: "tool", toolCallId: "a", content: '{"a":1}bc' },
      { role: "assistant", content: "Plan. Said." }
    ])
  })

  it("names what it did not read, and gives that to a provider alone", () => {
    const more = { k: 3, safety_mode: "OFF", documents: [] }
    assert.deepStrictEqual(read(more).unread, ["k", "safety_mode"])
    const passed = Effect.runSync(RequestBody.decode("cohere", { ...hello, ...more }, { passTo: "p" }))
    assert.deepStrictEqual(passed.request.providerOptions, { p: { k: 3, safety_mode: "OFF" } })
  })

  const refusals: ReadonlyArray<readonly [object, string]> = [
    [{ model: null }, "model: found nothing, expected a string"],
    [{ messages: [] }, "messages: found an empty array, expected at least one message"],
    [{ messages: [7] }, "messages[0]: found a number, expected an object"],
    [{ messages: [{ role: "tool", content: "x" }] }, "messages[0].tool_call_id: found nothing, expected a string"],
    [
      { messages: [{ role: "tool", tool_call_id: "a", content: [{ type: "document", document: "x" }] }] },
      "messages[0].content[0].document: found a string, expected an object"
    ],
    [{ messages: [{ role: "assistant", tool_plan: 1 }] }, "messages[0].tool_plan: found a number, expected a string"],
    [{ documents: ["x"] }, "documents: found documents to cite, expected their texts in a message"],
    [{ tool_choice: "auto" }, 'tool_choice: found "auto", expected one of "REQUIRED", "NONE"'],
    [{ response_format: {} }, "response_format.type: found nothing, expected a string"],
    [{ thinking: { type: "on" } }, 'thinking.type: found "on", expected one of "enabled", "disabled"'],
    [{ thinking: { type: "enabled", token_budget: 0 } }, "thinking.token_budget: found 0, expected a whole number"],
    [{ max_tokens: 0 }, "max_tokens: found 0, expected a whole number from 1 on"],
    [{ stop_sequences: "x" }, "stop_sequences: found a string, expected an array"]
  ]

  it.each(refusals)("that is wrong is told so: %j", (more, said) => {
    const error = Effect.runSync(Effect.flip(RequestBody.decode("cohere", { ...hello, ...more })))
    assert.include(error.message, said)
  })
})
