import { FastCheck as fc } from "effect"
import { Chat } from "effect-steadfast"

/**
 * The other side of the dialects that no provider of ours speaks: what their clients read, and what they write.
 */

export type Json = Readonly<Record<string, unknown>>

/** What a client has read of a stream. */
export interface Read {
  text: string
  thoughts: string
  calls: Array<readonly [id: unknown, name: unknown, args: unknown]>
  /** The last frame of a whole answer. */
  end?: Json
  error?: unknown
}

export const nothing = (): Read => ({ text: "", thoughts: "", calls: [] })

/** A text in pieces of some sizes, as bytes come over a network. */
export const inPieces = (text: string, sizes: ReadonlyArray<number>): ReadonlyArray<Uint8Array> => {
  const bytes = new TextEncoder().encode(text)
  const pieces: Array<Uint8Array> = []
  let at = 0
  for (let turn = 0; at < bytes.length; turn++) {
    const size = Math.max(1, sizes[turn % Math.max(1, sizes.length)] ?? bytes.length)
    pieces.push(bytes.slice(at, at + size))
    at += size
  }
  return pieces
}

const png = "iVBORw0KGgo="

const word = fc.stringMatching(/^[a-z€😀\n]{1,8}[a-z]$/u)

/** Requests that each of these clients can write. */
export const requests: fc.Arbitrary<Chat.Request> = fc
  .record({
    system: fc.array(word, { maxLength: 1 }),
    user: word,
    image: fc.boolean(),
    turn: fc.option(
      fc.record({
        text: word,
        calls: fc.array(
          fc.record({
            name: fc.constantFrom("f", "g"),
            arguments: fc.dictionary(word, fc.jsonValue({ maxDepth: 1 })),
            result: word
          }),
          { maxLength: 3 }
        )
      }),
      { nil: undefined }
    ),
    options: fc.record(
      {
        maxTokens: fc.integer({ min: 1, max: 9999 }),
        temperature: fc.double({ min: 0, max: 1, noNaN: true }),
        topP: fc.double({ min: 0.01, max: 1, noNaN: true }),
        stop: fc.array(word, { minLength: 1, maxLength: 2 }),
        seed: fc.nat({ max: 9999 }),
        responseFormat: fc.constantFrom<NonNullable<Chat.Request["responseFormat"]>>(
          { type: "json" },
          { type: "json-schema", name: "answer", schema: { type: "object", properties: {} } }
        ),
        tools: fc.constant([
          { name: "f", description: "says f", parameters: { type: "object", properties: {} } },
          { name: "g", parameters: { type: "object", properties: {} } }
        ])
      },
      { requiredKeys: [] }
    )
  })
  .map(({ image, options, system, turn, user }) => {
    const said: Chat.Message = image
      ? Chat.user([
          { type: "text", text: user },
          { type: "image", data: png, mediaType: "image/png" }
        ])
      : Chat.user(user)
    const before = system.map(Chat.system)
    const at = before.length + 1
    const calls = turn?.calls.map((call, index) => ({ id: `call_${at}_${index}`, ...call })) ?? []
    const toolCalls = calls.map(({ result: _, ...call }) => call)
    return {
      ...options,
      messages: [
        ...before,
        said,
        ...(turn === undefined ? [] : [Chat.assistant(turn.text, toolCalls.length === 0 ? undefined : toolCalls)]),
        ...calls.map(({ id, result }) => Chat.toolResult(id, result))
      ] as unknown as Chat.Request["messages"]
    }
  })

/** Without the fields that are `undefined`, and with `-0` as JSON has it. */
export const plain = (u: unknown): unknown => JSON.parse(JSON.stringify(u))

/** The tools of a request, as OpenAI's, Ollama's and Cohere's clients write them. */
export const toolsOf = (request: Chat.Request): ReadonlyArray<Json> | undefined =>
  request.tools?.map((tool) => ({ type: "function", function: tool }))

/** The text and the images of a message of the user. */
export const partsOf = (message: Extract<Chat.Message, { role: "user" }>) => {
  const parts =
    typeof message.content === "string" ? [{ type: "text" as const, text: message.content }] : message.content
  return {
    text: parts.flatMap((part) => (part.type === "text" ? [part.text] : [])).join(""),
    images: parts.flatMap((part) => (part.type === "image" && "data" in part ? [part.data] : []))
  }
}
