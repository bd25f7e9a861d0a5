/** What is asked and answered: the same short exchange for everybody. */
import { HttpClient, HttpClientRequest, HttpClientResponse } from "@effect/platform"
import { Effect } from "effect"
import { Chat, ChatModel, RetryPolicy } from "effect-steadfast"

export const model = "gpt-4o-mini"
export const url = "https://api.openai.com/v1/chat/completions"
export const question = "The capital of France?"
export const request = Chat.prompt(question)

/** An answer of Chat Completions, as the provider sends it. */
export const openAiBody = JSON.stringify({
  id: "chatcmpl-1",
  object: "chat.completion",
  created: 1_750_000_000,
  model: "gpt-4o-mini-2024-07-18",
  choices: [
    {
      index: 0,
      message: { role: "assistant", content: "Paris.", refusal: null, annotations: [] },
      logprobs: null,
      finish_reason: "stop"
    }
  ],
  usage: {
    prompt_tokens: 12,
    completion_tokens: 2,
    total_tokens: 14,
    prompt_tokens_details: { cached_tokens: 0, audio_tokens: 0 },
    completion_tokens_details: { reasoning_tokens: 0, audio_tokens: 0 }
  },
  service_tier: "default",
  system_fingerprint: "fp_1"
})

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

/** Headers as OpenAI sends them, limits included. */
export const responseHeaders = {
  "content-type": "application/json",
  "x-request-id": "req_0123456789abcdef",
  "openai-processing-ms": "312",
  "x-ratelimit-limit-requests": "10000",
  "x-ratelimit-limit-tokens": "200000",
  "x-ratelimit-remaining-requests": "9999",
  "x-ratelimit-remaining-tokens": "199984",
  "x-ratelimit-reset-requests": "8.64s",
  "x-ratelimit-reset-tokens": "4ms"
}

/** A `fetch` that answers at once. */
export const stubFetch =
  (body: string): typeof globalThis.fetch =>
  () =>
    Promise.resolve(new Response(body, { headers: responseHeaders }))

const stubbed = (all: ReadonlyArray<Record<string, string>>) => {
  const ready = all.map((headers) => ({
    status: 200,
    headers: new Headers(headers),
    text: () => Promise.resolve(openAiBody)
  }))
  let next = 0
  return HttpClient.make((request) =>
    Effect.sync(() => HttpClientResponse.fromWeb(request, ready[next++ % ready.length] as unknown as Response))
  )
}

/** An `HttpClient` whose response is there before it is asked for; only its body is a promise. */
export const stubClient = stubbed([responseHeaders])

/** The same with limits that a call every few microseconds does not exhaust, and a little less or more of them left each time. */
export const roomyClient = stubbed(
  Array.from({ length: 4 }, (_, index) => ({
    ...responseHeaders,
    "x-ratelimit-limit-requests": "600000000",
    "x-ratelimit-limit-tokens": "600000000000",
    "x-ratelimit-remaining-requests": `${600_000_000 - 10 * (1 + index)}`,
    "x-ratelimit-remaining-tokens": `${600_000_000_000 - 3000 * (1 + index)}`,
    "x-ratelimit-reset-requests": "1ms",
    "x-ratelimit-reset-tokens": "1ms"
  }))
)

const isRecord = (u: unknown): u is Readonly<Record<string, unknown>> => typeof u === "object" && u !== null

/** The text of an answer, with no more care than the shortest code takes. */
export const textOf = (text: string): string => {
  const body: unknown = JSON.parse(text)
  const choice: unknown = isRecord(body) && Array.isArray(body.choices) ? body.choices[0] : undefined
  const message = isRecord(choice) ? choice.message : undefined
  return isRecord(message) && typeof message.content === "string" ? message.content : ""
}

export const bareBody = () => JSON.stringify({ model, messages: [{ role: "user", content: question }] })

/** One exchange over a client, by hand: encode, execute, read, parse. */
export const bareExchange = (client: HttpClient.HttpClient) =>
  Effect.suspend(() =>
    client
      .execute(
        HttpClientRequest.post(url, { headers: { authorization: "Bearer sk-bench" } }).pipe(
          HttpClientRequest.bodyText(bareBody(), "application/json")
        )
      )
      .pipe(
        Effect.flatMap((response) => response.text),
        Effect.map(textOf)
      )
  )

/** Everything that keeps a call alive, in the order that the documentation recommends. */
export const resilient = (leaf: ChatModel.ChatModel, next: ChatModel.ChatModel): ChatModel.ChatModel =>
  leaf.pipe(
    ChatModel.timeout({ attempt: "30 seconds", firstToken: "10 seconds", idle: "20 seconds" }),
    ChatModel.retry(RetryPolicy.standard),
    ChatModel.orElse(next.pipe(ChatModel.retry(RetryPolicy.standard))),
    ChatModel.deadline("90 seconds"),
    ChatModel.named("assistant")
  )
