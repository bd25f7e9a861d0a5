import { Effect, Redacted, Schema, Stream } from "effect"
import { Chat, OpenAi, Resilient, Transport } from "effect-steadfast"
import { Agent, Tool, Toolkit } from "effect-steadfast/agent"
import { model, question, type Shop } from "./shop.js"

const tools = Toolkit.make(
  Tool.make({
    name: "refund",
    description: "Pays an order back.",
    parameters: Schema.Struct({ order: Schema.Int })
  })
)

const assistant = ({ baseUrl }: Shop) =>
  Effect.flatMap(OpenAi.make({ model, baseUrl, apiKey: Redacted.make("key") }), (gpt) => Resilient.make(gpt))

const provided = (shop: Shop) =>
  [tools.toLayer({ refund: ({ order }) => Effect.sync(() => shop.refund(order)) }), Transport.layerFetch] as const

export const whole = (shop: Shop): Promise<string> =>
  Effect.flatMap(assistant(shop), (model) => Agent.run(model, tools, Chat.prompt(question), { steps: 10 })).pipe(
    Effect.map(({ text }) => text),
    Effect.provide(provided(shop)),
    Effect.runPromise
  )

export const streamed = (shop: Shop): Promise<string> =>
  Stream.unwrap(
    Effect.map(assistant(shop), (model) => Agent.stream(model, tools, Chat.prompt(question), { steps: 10 }))
  ).pipe(
    Stream.runFold("", (text, event) => (event._tag === "Done" ? event.result.text : text)),
    Effect.provide(provided(shop)),
    Effect.runPromise
  )
