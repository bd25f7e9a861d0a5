/** What an answer by a schema adds to a plain call with the same request and the same answer. */
import type { Effect } from "effect"
import type { Chat, ChatModel } from "effect-steadfast"
import type { Case, Goal, Table } from "./case.js"

const plain = "generate, all on"

const most: ReadonlyArray<Goal> = [{ figure: "cpu", against: plain, most: 1.15 }]

/** The row of an invoice. */
const invoice = async () => {
  const { Schema } = await import("effect")
  return Schema.Struct({
    number: Schema.NonEmptyString,
    due: Schema.DateFromString,
    currency: Schema.Literal("EUR", "USD"),
    paid: Schema.optional(Schema.Boolean),
    lines: Schema.Array(Schema.Struct({ item: Schema.String, count: Schema.Int, price: Schema.Number }))
  })
}

type Invoice = Awaited<ReturnType<typeof invoice>>

/** In one fiber, over a client without `fetch`. */
const inFiber = (
  name: string,
  make: (
    model: ChatModel.ChatModel,
    schema: Invoice,
    request: Chat.Request,
    steadfast: typeof import("effect-steadfast")
  ) => Effect.Effect<unknown, unknown>,
  goals: ReadonlyArray<Goal> = []
): Case => ({
  name,
  goals,
  make: async () => {
    const { HttpClient } = await import("@effect/platform")
    const { Effect, Redacted } = await import("effect")
    const steadfast = await import("effect-steadfast")
    const { effectsBatch, objectClient, request, resilient } = await import("./fixtures.js")
    const { model } = await import("./wire.js")
    const leaf = await steadfast.OpenAi.make({ model, apiKey: Redacted.make("sk-bench") }).pipe(
      Effect.provideService(HttpClient.HttpClient, objectClient),
      Effect.runPromise
    )
    const held = resilient(leaf, leaf)
    const schema = await invoice()
    return { batch: effectsBatch(() => Effect.withTracerEnabled(make(held, schema, request, steadfast), false)) }
  }
})

export const tables: ReadonlyArray<Table> = [
  {
    title: "an answer by a schema, answered at once by a client without fetch",
    base: plain,
    length: 0.5,
    cases: [
      inFiber(plain, (model, schema, request) =>
        model.generate({ ...request, responseFormat: { type: "json-schema", name: "invoice", schema, strict: true } })
      ),
      inFiber(
        "generateObject, all on",
        (model, schema, request, { ChatModel }) =>
          ChatModel.generateObject(model, schema, request, { name: "invoice" }),
        most
      )
    ]
  }
]
