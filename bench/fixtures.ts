/** The same exchange on our side: requests, clients that answer at once, and the composition of the documentation. */
import { HttpClient, HttpClientRequest, HttpClientResponse } from "@effect/platform"
import { Effect } from "effect"
import { Chat, ChatModel, RetryPolicy } from "effect-steadfast"
import type { Batch } from "./case.js"
import { bareBody, encoded, openAiBody, question, responseHeaders, textOf, url } from "./wire.js"

export const request = Chat.prompt(question)

const bytes = encoded(openAiBody)

const stubbed = (all: ReadonlyArray<Record<string, string>>) => {
  const ready = all.map((headers) => ({
    status: 200,
    headers: new Headers(headers),
    text: () => Promise.resolve(openAiBody),
    // A body is read once: each reading gets a new one.
    get body() {
      return new ReadableStream({
        start: (controller) => {
          controller.enqueue(bytes)
          controller.close()
        }
      })
    }
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

/** Runs effects inside one fiber, each made anew. */
export const effectsBatch =
  <A, E>(body: () => Effect.Effect<A, E>): Batch =>
  (times) =>
    Effect.suspend(() => {
      let left = times
      return Effect.whileLoop({ while: () => left-- > 0, body, step: () => {} })
    }).pipe(Effect.orDie, Effect.runPromise)

/** Runs one effect over and over inside one fiber. */
export const effectBatch = <A, E>(effect: Effect.Effect<A, E>): Batch => effectsBatch(() => effect)
