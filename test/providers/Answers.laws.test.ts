import { assert, describe } from "@effect/vitest"
import { Effect, Either, FastCheck as fc, Redacted } from "effect"
import { Anthropic, type Chat, Gemini, type LlmError, OpenAi, OpenAiResponses } from "effect-steadfast"
import { Reply } from "effect-steadfast/testing"
import { cases } from "../support/cases.js"
import { collect, generate, law, type Make, secret } from "./support.js"

/**
 * The law of answers: for every answer of every wire format, `collect(stream)` and `generate` agree, in the answer or
 * in the error, however the stream is cut into pieces.
 */

const apiKey = Redacted.make(secret)

// -----------------------------------------------------------------------------
// any answer
// -----------------------------------------------------------------------------

type Part =
  | { readonly _tag: "text"; readonly pieces: ReadonlyArray<string> }
  | { readonly _tag: "thought"; readonly pieces: ReadonlyArray<string> }
  | { readonly _tag: "call"; readonly id: string; readonly name: string; readonly args: string; readonly cut: number }

interface Answer {
  readonly id: string
  readonly parts: ReadonlyArray<Part>
  readonly end: string
  readonly counts: { readonly input: number; readonly output: number; readonly reasoning: number } | undefined
  /** Whether the wire repeats what it can: usage in every chunk, a finish reason in every chunk, ids in every piece. */
  readonly chatty: boolean
  /** Bytes of the pieces in which the stream comes. */
  readonly fragment: number
}

const word = fc.oneof(fc.string({ maxLength: 8 }), fc.constantFrom("é€", "😀", "\n\n", "data: x", "{}", "[DONE]"))
const call = fc.record({
  _tag: fc.constant("call" as const),
  id: fc.constantFrom("a", "b", "c", ""),
  name: fc.constantFrom("f", "g"),
  args: fc
    .dictionary(fc.constantFrom("x", "y"), fc.jsonValue({ maxDepth: 1 }), { maxKeys: 2 })
    .map((args) => JSON.stringify(args)),
  cut: fc.nat({ max: 20 })
})
const part: fc.Arbitrary<Part> = fc.oneof(
  fc.record({ _tag: fc.constantFrom("text" as const, "thought" as const), pieces: fc.array(word, { maxLength: 3 }) }),
  call
)
/** The same ends in the words of each wire; `chat`, `anthropic`, `gemini`, `responses`. */
const ends: Record<string, readonly [string, string, string, string]> = {
  stop: ["stop", "end_turn", "STOP", "completed"],
  length: ["length", "max_tokens", "MAX_TOKENS", "max_output_tokens"],
  calls: ["tool_calls", "tool_use", "STOP", "completed"],
  filtered: ["content_filter", "refusal", "SAFETY", "content_filter"],
  error: ["overloaded_error", "overloaded_error", "overloaded_error", "overloaded_error"],
  unknown: ["some_new_word", "some_new_word", "SOME_NEW_WORD", "some_new_word"]
}
const answers: fc.Arbitrary<Answer> = fc.record({
  id: fc.constantFrom("answer-1", ""),
  parts: fc.array(part, { maxLength: 4 }),
  end: fc.constantFrom(...Object.keys(ends)),
  counts: fc.option(
    fc.record({ input: fc.nat({ max: 9 }), output: fc.nat({ max: 9 }), reasoning: fc.nat({ max: 3 }) }),
    { nil: undefined }
  ),
  chatty: fc.boolean(),
  fragment: fc.integer({ min: 1, max: 200 })
})

const wordOf = (answer: Answer, wire: 0 | 1 | 2 | 3): string => ends[answer.end]?.[wire] ?? ""

const halves = (text: string, at: number): ReadonlyArray<string> => [text.slice(0, at), text.slice(at)]

/** The arguments as far as they came: at the limit the last call is cut. */
const argsOf = (answer: Answer, at: number): string => {
  const part = answer.parts[at]
  if (part?._tag !== "call") return ""
  return answer.end === "length" && at === answer.parts.length - 1 ? part.args.slice(0, part.cut) : part.args
}

const texts = (answer: Answer, tag: "text" | "thought"): string =>
  answer.parts.flatMap((part) => (part._tag === tag ? part.pieces : [])).join("")

// -----------------------------------------------------------------------------
// the wires
// -----------------------------------------------------------------------------

interface Wire {
  readonly make: Make
  readonly whole: (answer: Answer) => unknown
  readonly events: (answer: Answer) => ReadonlyArray<unknown>
}

const chatUsage = ({ counts }: Answer) =>
  counts && {
    usage: {
      prompt_tokens: counts.input,
      completion_tokens: counts.output,
      completion_tokens_details: { reasoning_tokens: counts.reasoning }
    }
  }

const chat: Wire = {
  make: OpenAi.make({ model: "gpt-4o", apiKey }),
  whole: (answer) => ({
    id: answer.id,
    choices: [
      {
        index: 0,
        message: {
          role: "assistant",
          content: texts(answer, "text"),
          reasoning_content: texts(answer, "thought"),
          tool_calls: answer.parts.flatMap((part, at) =>
            part._tag === "call"
              ? [{ id: part.id, type: "function", function: { name: part.name, arguments: argsOf(answer, at) } }]
              : []
          )
        },
        finish_reason: wordOf(answer, 0)
      }
    ],
    ...chatUsage(answer)
  }),
  events: (answer) => {
    let index = -1
    const bad = answer.end === "filtered" || answer.end === "error"
    const chunk = (delta: object) => ({
      id: answer.id,
      choices: [{ index: 0, delta, finish_reason: answer.chatty && !bad ? "stop" : null }],
      ...(answer.chatty ? chatUsage(answer) : {})
    })
    const deltas = answer.parts.flatMap((part, at): ReadonlyArray<object> => {
      if (part._tag === "text") return part.pieces.map((content) => ({ content }))
      if (part._tag === "thought") return part.pieces.map((reasoning_content) => ({ reasoning_content }))
      index++
      const [first, ...more] = halves(argsOf(answer, at), part.cut)
      const piece = (fn: object) => ({ tool_calls: [{ index, function: fn }] })
      return [
        { tool_calls: [{ index, id: part.id, function: { name: part.name, arguments: first } }] },
        ...more.map((text) => piece({ arguments: text, ...(answer.chatty ? { name: part.name } : {}) }))
      ]
    })
    return [
      ...deltas.map(chunk),
      { id: answer.id, choices: [{ index: 0, delta: {}, finish_reason: wordOf(answer, 0) }] },
      { choices: [], ...chatUsage(answer) },
      "[DONE]"
    ]
  }
}

const anthropicBlock = (answer: Answer, part: Part, at: number) => {
  if (part._tag === "text") return { type: "text", text: part.pieces.join("") }
  if (part._tag === "thought") return { type: "thinking", thinking: part.pieces.join(""), signature: "c2ln" }
  const isCut = answer.end === "length" && at === answer.parts.length - 1
  return { type: "tool_use", id: part.id, name: part.name, input: isCut ? {} : JSON.parse(part.args) }
}

const anthropic: Wire = {
  make: Anthropic.make({ model: "claude-haiku-4-5", apiKey }),
  whole: (answer) => ({
    id: answer.id,
    content: answer.parts.map((part, at) => anthropicBlock(answer, part, at)),
    stop_reason: wordOf(answer, 1),
    ...(answer.counts && { usage: { input_tokens: answer.counts.input, output_tokens: answer.counts.output } })
  }),
  events: (answer) => [
    {
      type: "message_start",
      message: { id: answer.id, ...(answer.counts && { usage: { input_tokens: answer.counts.input } }) }
    },
    ...answer.parts.flatMap((part, index) => {
      const delta = (delta: object) => ({ type: "content_block_delta", index, delta })
      const start =
        part._tag === "call"
          ? { type: "tool_use", id: part.id, name: part.name, input: {} }
          : part._tag === "text"
            ? { type: "text", text: "" }
            : { type: "thinking", thinking: "", signature: "" }
      const pieces =
        part._tag === "call"
          ? halves(argsOf(answer, index), part.cut).map((partial_json) => ({ type: "input_json_delta", partial_json }))
          : part._tag === "text"
            ? part.pieces.map((text) => ({ type: "text_delta", text }))
            : [
                ...part.pieces.map((thinking) => ({ type: "thinking_delta", thinking })),
                { type: "signature_delta", signature: "c2ln" }
              ]
      return [
        { type: "content_block_start", index, content_block: start },
        ...pieces.map(delta),
        { type: "content_block_stop", index },
        ...(answer.chatty ? [{ type: "ping" }] : [])
      ]
    }),
    {
      type: "message_delta",
      delta: { stop_reason: wordOf(answer, 1) },
      ...(answer.counts && {
        usage: { output_tokens: answer.counts.output, ...(answer.chatty ? { input_tokens: 0 } : {}) }
      })
    },
    { type: "message_stop" }
  ]
}

const geminiPart = (part: Part): ReadonlyArray<object> =>
  part._tag === "call"
    ? [
        {
          functionCall: { name: part.name, args: JSON.parse(part.args), ...(part.id === "" ? {} : { id: part.id }) },
          thoughtSignature: "c2ln"
        }
      ]
    : part.pieces.map((text) => ({ text, ...(part._tag === "thought" ? { thought: true } : {}) }))

const geminiUsage = ({ counts }: Answer) =>
  counts && {
    usageMetadata: {
      promptTokenCount: counts.input,
      candidatesTokenCount: counts.output,
      thoughtsTokenCount: counts.reasoning
    }
  }

const gemini: Wire = {
  make: Gemini.make({ model: "gemini-2.5-flash", apiKey }),
  whole: (answer) => ({
    responseId: answer.id,
    candidates: [{ content: { parts: answer.parts.flatMap(geminiPart) }, finishReason: wordOf(answer, 2) }],
    ...geminiUsage(answer)
  }),
  events: (answer) => {
    const bad = answer.end === "filtered" || answer.end === "error"
    return [
      ...answer.parts.flatMap((part) =>
        geminiPart(part).map((one) => ({
          responseId: answer.id,
          candidates: [{ content: { parts: [one] }, ...(answer.chatty && !bad ? { finishReason: "STOP" } : {}) }],
          ...(answer.chatty ? geminiUsage(answer) : {})
        }))
      ),
      {
        responseId: answer.id,
        candidates: [{ content: { parts: [] }, finishReason: wordOf(answer, 2) }],
        ...geminiUsage(answer)
      }
    ]
  }
}

const responseOf = (answer: Answer, output: boolean) => {
  const reason = wordOf(answer, 3)
  const isCut = answer.end === "length" || answer.end === "filtered" || answer.end === "unknown"
  return {
    id: answer.id === "" ? "resp_1" : answer.id,
    status: answer.end === "error" ? "failed" : isCut ? "incomplete" : "completed",
    ...(answer.end === "error" ? { error: { code: reason, message: "full" } } : {}),
    ...(isCut ? { incomplete_details: { reason } } : {}),
    output: output ? answer.parts.map((part, at) => itemOf(answer, part, at)) : [],
    ...(answer.counts && {
      usage: {
        input_tokens: answer.counts.input,
        output_tokens: answer.counts.output,
        output_tokens_details: { reasoning_tokens: answer.counts.reasoning }
      }
    })
  }
}

const itemOf = (answer: Answer, part: Part, at: number) => {
  const id = `item_${at}`
  if (part._tag === "text")
    return { id, type: "message", content: [{ type: "output_text", text: part.pieces.join("") }] }
  if (part._tag === "thought") {
    return {
      id,
      type: "reasoning",
      encrypted_content: "c2Vj",
      summary: part.pieces.map((text) => ({ type: "summary_text", text }))
    }
  }
  // Ids of this API are never repeated.
  return { id, type: "function_call", call_id: `call_${at}`, name: part.name, arguments: argsOf(answer, at) }
}

const responses: Wire = {
  make: OpenAiResponses.make({ model: "gpt-5", apiKey }),
  whole: (answer) => responseOf(answer, true),
  events: (answer) => {
    const { id } = responseOf(answer, false)
    const end = answer.end === "unknown" ? "response.completed" : `response.${responseOf(answer, false).status}`
    return [
      { type: "response.created", response: { id, status: "in_progress" } },
      ...answer.parts.flatMap((part, output_index): ReadonlyArray<object> => {
        const item = itemOf(answer, part, output_index)
        const at = { output_index, item_id: item.id }
        if (part._tag === "text") {
          return [
            { type: "response.output_item.added", output_index, item: { ...item, content: [] } },
            ...part.pieces.map((delta) => ({ type: "response.output_text.delta", ...at, delta })),
            { type: "response.output_item.done", output_index, item }
          ]
        }
        if (part._tag === "thought") {
          return [
            { type: "response.output_item.added", output_index, item: { ...item, summary: [] } },
            ...part.pieces.flatMap((delta, summary_index) => [
              {
                type: "response.reasoning_summary_part.added",
                ...at,
                summary_index,
                part: { type: "summary_text", text: "" }
              },
              { type: "response.reasoning_summary_text.delta", ...at, summary_index, delta }
            ]),
            { type: "response.output_item.done", output_index, item }
          ]
        }
        return [
          { type: "response.output_item.added", output_index, item: { ...item, arguments: "" } },
          ...halves(argsOf(answer, output_index), part.cut).map((delta) => ({
            type: "response.function_call_arguments.delta",
            ...at,
            delta
          })),
          { type: "response.output_item.done", output_index, item }
        ]
      }),
      // Some servers do not repeat the answer at its end.
      { type: end, response: responseOf(answer, !answer.chatty) }
    ]
  }
}

// -----------------------------------------------------------------------------
// the law
// -----------------------------------------------------------------------------

const outcome = (effect: Effect.Effect<Chat.Response, LlmError.LlmError>): Effect.Effect<object> =>
  Effect.map(Effect.either(effect), (either) =>
    Either.isLeft(either)
      ? { error: either.left._tag, code: either.left.code, retryable: either.left.retryable }
      : { ...either.right, requestId: undefined }
  )

const bytes = (events: ReadonlyArray<unknown>, fragment: number) => {
  const text = events
    .map((event) => {
      const type = (event as { readonly type?: unknown }).type
      const data = typeof event === "string" ? event : JSON.stringify(event)
      return `${typeof type === "string" ? `event: ${type}\n` : ""}data: ${data}\n\n`
    })
    .join("")
  const all = new TextEncoder().encode(text)
  const pieces = Array.from({ length: Math.ceil(all.length / fragment) }, (_, index) =>
    all.slice(index * fragment, (index + 1) * fragment)
  )
  return Reply.raw(pieces, { headers: { "content-type": "text/event-stream" } })
}

describe("a whole answer and a streamed one agree", () => {
  for (const [name, { events, make, whole }] of Object.entries({ chat, anthropic, gemini, responses })) {
    law(
      name,
      [answers],
      ([answer]) =>
        Effect.gen(function* () {
          const expected = yield* outcome(generate(make, Reply.json(whole(answer))))
          const streamed = yield* outcome(collect(make, bytes(events(answer), answer.fragment)))
          assert.deepStrictEqual(streamed, expected)
        }),
      { fastCheck: { numRuns: cases(4000, 100) } }
    )
  }
})
