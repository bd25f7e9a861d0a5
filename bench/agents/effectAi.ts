import { Chat, Tool, Toolkit } from "@effect/ai"
import { OpenAiClient, OpenAiLanguageModel } from "@effect/ai-openai"
import { FetchHttpClient } from "@effect/platform"
import { Effect, Layer, Redacted, Schema, Stream } from "effect"
import { model, question, type Shop } from "./shop.js"

const tools = Toolkit.make(
  Tool.make("refund", {
    description: "Pays an order back.",
    parameters: { order: Schema.Int },
    success: Schema.String
  })
)

const provided = ({ baseUrl, refund }: Shop) =>
  Layer.mergeAll(
    tools.toLayer({ refund: ({ order }) => Effect.sync(() => refund(order)) }),
    OpenAiLanguageModel.layer({ model }).pipe(
      Layer.provide(OpenAiClient.layer({ apiUrl: baseUrl, apiKey: Redacted.make("key") })),
      Layer.provide(FetchHttpClient.layer)
    )
  )

export const whole = (shop: Shop): Promise<string> =>
  Effect.gen(function* () {
    const chat = yield* Chat.fromPrompt([])
    let answer = yield* chat.generateText({ prompt: question, toolkit: tools })
    for (let step = 1; step < 10 && answer.toolCalls.length > 0; step++) {
      answer = yield* chat.generateText({ prompt: [], toolkit: tools })
    }
    return answer.text
  }).pipe(Effect.provide(provided(shop)), Effect.runPromise)

export const streamed = (shop: Shop): Promise<string> =>
  Effect.gen(function* () {
    const chat = yield* Chat.fromPrompt([])
    let text = ""
    for (let step = 0; step < 10; step++) {
      const parts = yield* Stream.runCollect(chat.streamText({ prompt: step === 0 ? question : [], toolkit: tools }))
      text = Array.from(parts, (part) => (part.type === "text-delta" ? part.delta : "")).join("")
      if (!Array.from(parts).some(({ type }) => type === "tool-call")) break
    }
    return text
  }).pipe(Effect.provide(provided(shop)), Effect.runPromise)
