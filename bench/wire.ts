/** What is asked and answered, as it is on the wire: the same short exchange for everybody. No package is needed here. */

export const model = "gpt-4o-mini"
export const url = "https://api.openai.com/v1/chat/completions"
export const question = "The capital of France?"

/** An answer of Chat Completions with a text, as the provider sends it. */
const bodyOf = (content: string, tokens: number): string =>
  JSON.stringify({
    id: "chatcmpl-1",
    object: "chat.completion",
    created: 1_750_000_000,
    model: "gpt-4o-mini-2024-07-18",
    choices: [
      {
        index: 0,
        message: { role: "assistant", content, refusal: null, annotations: [] },
        logprobs: null,
        finish_reason: "stop"
      }
    ],
    usage: {
      prompt_tokens: 12,
      completion_tokens: tokens,
      total_tokens: 12 + tokens,
      prompt_tokens_details: { cached_tokens: 0, audio_tokens: 0 },
      completion_tokens_details: { reasoning_tokens: 0, audio_tokens: 0 }
    },
    service_tier: "default",
    system_fingerprint: "fp_1"
  })

export const openAiBody = bodyOf("Paris.", 2)

/** An answer by a schema: the row of an invoice. */
export const objectBody = bodyOf(
  JSON.stringify({
    number: "2024-0117",
    due: "2024-03-01",
    currency: "EUR",
    paid: null,
    lines: [
      { item: "Desk", count: 2, price: 249.5 },
      { item: "Lamp", count: 4, price: 39 }
    ]
  }),
  60
)

/** The same answer of Anthropic's Messages. */
export const anthropicBody = JSON.stringify({
  id: "msg_1",
  type: "message",
  role: "assistant",
  model: "claude-haiku-4-5-20251001",
  content: [{ type: "text", text: "Paris." }],
  stop_reason: "end_turn",
  stop_sequence: null,
  usage: { input_tokens: 12, output_tokens: 2, cache_read_input_tokens: 0, cache_creation_input_tokens: 0 }
})

/**
 * Headers as OpenAI sends them, limits included. The limits are wide enough for a benchmark: a pacer keeps them, and
 * 10,000 requests a minute are 167 a second.
 */
export const responseHeaders = {
  "content-type": "application/json",
  "x-request-id": "req_0123456789abcdef",
  "openai-processing-ms": "312",
  "x-ratelimit-limit-requests": "100000000",
  "x-ratelimit-limit-tokens": "10000000000",
  "x-ratelimit-remaining-requests": "99999999",
  "x-ratelimit-remaining-tokens": "9999999984",
  "x-ratelimit-reset-requests": "1ms",
  "x-ratelimit-reset-tokens": "1ms"
}

/** A `fetch` that answers at once. */
export const stubFetch =
  (body: string): typeof globalThis.fetch =>
  () =>
    Promise.resolve(new Response(body, { headers: responseHeaders }))

const isRecord = (u: unknown): u is Readonly<Record<string, unknown>> => typeof u === "object" && u !== null

/** The text of an answer, with no more care than the shortest code takes. */
export const textOf = (text: string): string => {
  const body: unknown = JSON.parse(text)
  const choice: unknown = isRecord(body) && Array.isArray(body.choices) ? body.choices[0] : undefined
  const message = isRecord(choice) ? choice.message : undefined
  return isRecord(message) && typeof message.content === "string" ? message.content : ""
}

const asked = { model, messages: [{ role: "user", content: question }] }

export const bareBody = () => JSON.stringify(asked)
export const bareStreamBody = () => JSON.stringify({ ...asked, stream: true })

// -----------------------------------------------------------------------------
// streams
// -----------------------------------------------------------------------------

/** One chunk of Chat Completions, as OpenAI sends it. */
const chunk = (delta: object, finish: string | null): string =>
  `data: ${JSON.stringify({
    id: "chatcmpl-1",
    object: "chat.completion.chunk",
    created: 1_750_000_000,
    model: "gpt-4o-mini-2024-07-18",
    service_tier: "default",
    system_fingerprint: "fp_1",
    choices: [{ index: 0, delta, logprobs: null, finish_reason: finish }],
    usage: null,
    obfuscation: "k3Xq9"
  })}\n\n`

const usage = (tokens: number) =>
  `data: ${JSON.stringify({
    id: "chatcmpl-1",
    object: "chat.completion.chunk",
    created: 1_750_000_000,
    model: "gpt-4o-mini-2024-07-18",
    choices: [],
    usage: { prompt_tokens: 12, completion_tokens: tokens, total_tokens: 12 + tokens }
  })}\n\n`

export const head = chunk({ role: "assistant", content: "", refusal: null }, null)
export const token = (content: string) => chunk({ content }, null)
export const tail = (tokens: number) => `${chunk({}, "stop")}${usage(tokens)}data: [DONE]\n\n`

const words = (tokens: number): ReadonlyArray<string> =>
  Array.from({ length: tokens }, (_, index) => ` ${["Paris", "is", "the", "capital", "—"][index % 5]}`)

/** Characters of text in a stream of so many tokens, so that nobody is fast by losing some. */
export const lengthOf = (tokens: number): number => words(tokens).join("").length

/** The frames of a stream of so many tokens: one for each token, its head before the first and its end after the last. */
export const framesOf = (tokens: number): ReadonlyArray<string> => [head, ...words(tokens).map(token), tail(tokens)]

export const streamHeaders = { ...responseHeaders, "content-type": "text/event-stream; charset=utf-8" }

export const encoded = (text: string) => new TextEncoder().encode(text)

export const cut = (bytes: Uint8Array, size: number): ReadonlyArray<Uint8Array> =>
  Array.from({ length: Math.ceil(bytes.length / size) }, (_, index) => bytes.subarray(index * size, (index + 1) * size))

/** A `fetch` whose body hands out the next piece whenever it is asked for one. */
export const streamingFetch =
  (pieces: ReadonlyArray<Uint8Array>): typeof globalThis.fetch =>
  () => {
    let next = 0
    const body = new ReadableStream<Uint8Array>({
      pull: (controller) => {
        const piece = pieces[next++]
        if (piece === undefined) controller.close()
        else controller.enqueue(piece)
      }
    })
    return Promise.resolve(new Response(body, { headers: streamHeaders }))
  }

/** The text of a chunk, with no more care than the shortest code takes. */
export const deltaOf = (data: unknown): string => {
  const choice: unknown = isRecord(data) && Array.isArray(data.choices) ? data.choices[0] : undefined
  const delta = isRecord(choice) ? choice.delta : undefined
  return isRecord(delta) && typeof delta.content === "string" ? delta.content : ""
}
