import { assert, describe, it } from "@effect/vitest"
import { Effect, FastCheck as fc, Stream } from "effect"
import { Chat, ChatStream } from "effect-steadfast"
import { AnswerBody, ErrorResponse, EventStream, RequestBody } from "effect-steadfast/http"
import { cases } from "../support/cases.js"
import { errorOf, tags } from "../support/errors.js"
import { answers } from "./support.js"
import { inPieces, type Json, nothing, partsOf, plain, type Read, requests, toolsOf } from "./wires.js"

const origin = { id: "answer-0", created: 1_790_000_000, model: "assistant" }

const forms = ["ollama", "ollama-generate"] as const

type Form = (typeof forms)[number]

/** What a client reads of a line or a body. */
const take = (read: Read, form: Form, one: Json): void => {
  if ("error" in one) {
    read.error = one.error
    return
  }
  assert.deepInclude(one, { model: "assistant", created_at: "2026-09-21T14:13:20Z" })
  const said = (form === "ollama" ? one.message : one) as Json
  if (form === "ollama") assert.strictEqual(said.role, "assistant")
  read.text += said[form === "ollama" ? "content" : "response"]
  read.thoughts += said.thinking ?? ""
  for (const call of (said.tool_calls ?? []) as ReadonlyArray<Json>) {
    const fn = call.function as Json
    assert.strictEqual(fn.index, read.calls.length)
    read.calls.push([call.id, fn.name, JSON.stringify(fn.arguments)])
  }
  if (one.done === true) read.end = one
}

/** Reads lines, however their bytes are cut: as the client `ollama` does. */
const reading = (form: Form, pieces: ReadonlyArray<Uint8Array>): Read => {
  const decoder = new TextDecoder()
  const read = nothing()
  let left = ""
  for (const piece of pieces) {
    const lines = (left + decoder.decode(piece, { stream: true })).split("\n")
    left = lines.pop() ?? ""
    for (const line of lines) take(read, form, JSON.parse(line))
  }
  assert.strictEqual(left, "", "each line is ended")
  return read
}

const framesOf = (form: Form, events: ReadonlyArray<Chat.Event>): string => {
  const encoder = EventStream.make(form, origin)
  return events.map((event) => String(encoder.push(event))).join("")
}

const reasons: Readonly<Record<string, string>> = { stop: "stop", length: "length", "tool-calls": "stop" }

/** What a client shall have read of an answer. */
const isSaid = (read: Read, answer: Chat.Response): void => {
  assert.deepStrictEqual([read.text, read.thoughts], [answer.text, answer.reasoning ?? ""])
  assert.deepStrictEqual(
    read.calls,
    answer.toolCalls.map((call) => [call.id, call.name, JSON.stringify(call.arguments)])
  )
  const { done_reason: reason, eval_count: output, prompt_eval_count: input, ...rest } = read.end ?? {}
  for (const time of ["total_duration", "load_duration", "prompt_eval_duration", "eval_duration"]) {
    assert.strictEqual(rest[time], 0)
  }
  assert.deepStrictEqual(
    [reason, input, output],
    [reasons[answer.finishReason], answer.usage?.inputTokens ?? 0, answer.usage?.outputTokens ?? 0]
  )
}

const collected = (events: ReadonlyArray<Chat.Event>) => Effect.runSync(ChatStream.collect(Stream.fromIterable(events)))

describe.each(forms)("an answer in the dialect %s", (form) => {
  it("is the same from its lines, however they are cut", () => {
    fc.assert(
      fc.property(answers, fc.array(fc.integer({ min: 1, max: 40 })), (events, sizes) => {
        isSaid(reading(form, inPieces(framesOf(form, events), sizes)), collected(events))
      }),
      { numRuns: cases(2000) }
    )
  })

  it("is the same from its body", () => {
    fc.assert(
      fc.property(answers, (events) => {
        const answer = collected(events)
        const read = nothing()
        take(read, form, JSON.parse(JSON.stringify(AnswerBody.make(form, answer, origin))))
        isSaid(read, answer)
      }),
      { numRuns: cases(2000) }
    )
  })

  it("that broke is never a whole one, and says why", () => {
    fc.assert(
      fc.property(answers, fc.nat({ max: 99 }), (events, cut) => {
        const encoder = EventStream.make(form, origin)
        const some = events.slice(0, cut % (events.length - 1))
        const frames = some.map((event) => String(encoder.push(event))).join("") + encoder.fail(errorOf("Overloaded"))
        const read = reading(form, inPieces(frames, []))
        assert.strictEqual(read.error, "the provider is overloaded")
        assert.isUndefined(read.end)
      }),
      { numRuns: cases(1000) }
    )
  })

  it("has a head of lines, and no comments", () => {
    assert.strictEqual(EventStream.headersOf(form)["content-type"], "application/x-ndjson")
    assert.strictEqual(EventStream.headersOf("openai"), EventStream.headers)
  })
})

/** A request as a client writes it. */
const written = (request: Chat.Request, ids: "stated" | "by name" | "by place"): Json => {
  const { maxTokens, messages, responseFormat, seed, stop, temperature, topP } = request
  const names = new Map<string, string>()
  return {
    model: "m",
    messages: messages.map((message) => {
      switch (message.role) {
        case "user": {
          const { images, text } = partsOf(message)
          return { role: "user", content: text, ...(images.length === 0 ? {} : { images }) }
        }
        case "assistant": {
          for (const { id, name } of message.toolCalls ?? []) names.set(id, name)
          const calls = message.toolCalls?.map(({ id, ...call }) => ({
            ...(ids === "stated" ? { id } : {}),
            function: call
          }))
          return { role: "assistant", content: message.content, tool_calls: calls }
        }
        case "tool": {
          const name = ids === "by name" ? { tool_name: names.get(message.toolCallId) } : {}
          const id = ids === "stated" ? { tool_call_id: message.toolCallId } : {}
          return { role: "tool", content: message.content, ...name, ...id }
        }
        default:
          return message
      }
    }),
    tools: toolsOf(request),
    format: responseFormat?.type === "json-schema" ? responseFormat.schema : responseFormat && "json",
    options: { num_predict: maxTokens, temperature, top_p: topP, stop, seed }
  }
}

describe("a request to /api/chat", () => {
  it("is read as it was written, with ids of calls or without", () => {
    fc.assert(
      fc.property(
        requests,
        fc.constantFrom("stated" as const, "by name" as const, "by place" as const),
        fc.constantFrom(true, false, undefined),
        (request, ids, stream) => {
          const sent = plain({ ...written(request, ids), stream })
          const asked = Effect.runSync(RequestBody.decode("ollama", sent))
          assert.deepStrictEqual(plain(asked.request), plain(request))
          assert.deepStrictEqual([asked.model, asked.stream, asked.unread], ["m", stream ?? true, []])
        }
      ),
      { numRuns: cases(2000) }
    )
  })

  const hello = { model: "m", messages: [{ role: "user", content: "hi" }] }
  const read = (more: object) => Effect.runSync(RequestBody.decode("ollama", { ...hello, ...more }))

  it("thinks as it is asked to", () => {
    const think = (think: unknown) => read({ think }).request.reasoning
    assert.deepStrictEqual(think(true), { effort: "medium", summary: true })
    assert.deepStrictEqual(think("high"), { effort: "high", summary: true })
    assert.deepStrictEqual(think(false), { effort: "none" })
    assert.isUndefined(think(null))
  })

  it("has no limit of tokens below 1, and no format where that is empty", () => {
    for (const limit of [-1, -2, 0]) assert.isUndefined(read({ options: { num_predict: limit } }).request.maxTokens)
    assert.isUndefined(read({ format: "" }).request.responseFormat)
  })

  it("names what it did not read, and gives that to a provider alone", () => {
    const more = { keep_alive: "5m", options: { top_k: 3, seed: 1 } }
    assert.deepStrictEqual(read(more).unread, ["keep_alive", "options.top_k"])
    const passed = Effect.runSync(RequestBody.decode("ollama", { ...hello, ...more }, { passTo: "p" }))
    assert.deepStrictEqual(passed.request.providerOptions, { p: { keep_alive: "5m", options: { top_k: 3 } } })
  })

  it("knows the images of each kind", () => {
    const kinds = { iVBORw0KGgoAAA: "png", "/9j/4AAQ": "jpeg", R0lGODlh: "gif", UklGRiQA: "webp" }
    const images = [...Object.keys(kinds), "data:image/bmp;base64,Qk0="]
    const { messages } = read({ messages: [{ role: "user", content: "", images }] }).request
    assert.deepStrictEqual(messages[0].content as unknown, [
      ...Object.entries(kinds).map(([data, kind]) => ({ type: "image", data, mediaType: `image/${kind}` })),
      { type: "image", data: "Qk0=", mediaType: "image/bmp" }
    ])
  })

  const called = { role: "assistant", tool_calls: [{ function: { name: "f", arguments: {} } }] }
  const refusals: ReadonlyArray<readonly [object, string]> = [
    [{ model: 7 }, "model: found a number, expected a string"],
    [{ messages: [] }, "messages: found an empty array, expected at least one message"],
    [{ messages: [{ role: "bot" }] }, 'messages[0].role: found "bot", expected one of "system", "user", "assistant",'],
    [{ messages: [{ role: "user", content: [] }] }, "messages[0].content: found an array, expected a string"],
    [
      { messages: [{ role: "user", images: ["Zm9v"] }] },
      "messages[0].images[0]: found another text, expected the base64"
    ],
    [
      { messages: [{ role: "system", content: "", images: ["/9j/"] }] },
      "messages[0].images: found images, expected none in a message of the role system"
    ],
    [
      { messages: [called, { role: "tool", tool_name: "g" }] },
      "messages[1].tool_name: found no call that waits for it"
    ],
    [
      { messages: [{ role: "tool", content: "x" }] },
      "messages[0].tool_name: found no call that waits for it, expected"
    ],
    [
      { messages: [{ role: "assistant", tool_calls: [{ function: { name: "f", arguments: "{}" } }] }] },
      "messages[0].tool_calls[0].function.arguments: found a string, expected an object"
    ],
    [{ tools: [{ type: "function" }] }, "tools[0].function: found nothing, expected an object"],
    [{ format: "xml" }, 'format: found "xml", expected one of "", "json"'],
    [{ format: [] }, "format: found an array, expected an object"],
    [{ think: "hard" }, 'think: found "hard", expected one of'],
    [{ options: { num_predict: 1.5 } }, "options.num_predict: found 1.5, expected a whole number"],
    [{ options: { stop: [1] } }, "options.stop[0]: found a number, expected a string"],
    [{ stream: "no" }, "stream: found a string, expected true or false"]
  ]

  it.each(refusals)("that is wrong is told so: %j", (more, said) => {
    const error = Effect.runSync(Effect.flip(RequestBody.decode("ollama", { ...hello, ...more })))
    assert.include(error.message, said)
  })
})

describe("a request to /api/generate", () => {
  const read = (more: object) => RequestBody.decode("ollama-generate", { model: "m", prompt: "hi", ...more })

  it("is a system text, a prompt and its images", () => {
    const more = { system: "be brief", images: ["/9j/"], context: [], suffix: "", options: { seed: 3 }, stream: false }
    const asked = Effect.runSync(read(more))
    assert.deepStrictEqual(plain(asked.request), {
      messages: [
        { role: "system", content: "be brief" },
        {
          role: "user",
          content: [
            { type: "text", text: "hi" },
            { type: "image", data: "/9j/", mediaType: "image/jpeg" }
          ]
        }
      ],
      seed: 3
    })
    assert.isFalse(asked.stream)
    assert.isTrue(Effect.runSync(read({})).stream)
  })

  it.each([
    [{ suffix: "}" }, "suffix: found a text, expected none"],
    [{ context: [1] }, "context: found a stored conversation, expected the conversation, at /api/chat"],
    [{ prompt: "" }, "prompt: found an empty text, expected a text"],
    [{ prompt: undefined }, "prompt: found nothing, expected a string"]
  ])("that is wrong is told so: %j", (more, said) => {
    assert.include(Effect.runSync(Effect.flip(read(more))).message, said)
  })
})

describe("an error", () => {
  it("is one text, with the status and the headers of the others", () => {
    for (const dialect of forms) {
      for (const tag of tags) {
        const error = errorOf(tag, { message: "words of a provider" })
        const { body, ...rest } = ErrorResponse.make(error, { dialect, requestId: "req_1" })
        const { body: other, ...same } = ErrorResponse.make(error, { requestId: "req_1" })
        assert.deepStrictEqual(rest, same)
        assert.deepStrictEqual(body, { error: other.message })
      }
    }
  })
})
