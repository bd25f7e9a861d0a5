/** What an answer by a schema adds to a plain call with the same request and answer, and to one decoded by hand. */
import { Effect, ParseResult, Schema } from "effect"
import type { Chat, ChatModel } from "effect-steadfast"
import { type Case, type Goal, promiseBatch, type Table } from "./case.js"
import { objectBody, stubFetch } from "./wire.js"

const plain = "generate, all on"

const byHand = "generate, JSON.parse and decode by hand"

const most: ReadonlyArray<Goal> = [{ figure: "cpu", against: plain, most: 1.15 }]

/** An invoice. Its decoder is made once, as an app has it. */
const Invoice = Schema.Struct({
  number: Schema.NonEmptyString,
  due: Schema.DateFromString,
  currency: Schema.Literal("EUR", "USD"),
  paid: Schema.optional(Schema.Boolean),
  lines: Schema.Array(Schema.Struct({ item: Schema.String, count: Schema.Int, price: Schema.Number }))
})

type Invoice = typeof Invoice

/** From promise to promise, over a `fetch` that answers at once; each call is made anew. */
const over = (
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
    globalThis.fetch = stubFetch(objectBody)
    const steadfast = await import("effect-steadfast")
    const { request } = await import("./fixtures.js")
    const { assistant, runtime } = await (await import("./ours.js")).open()
    return { batch: promiseBatch(() => runtime.runPromise(make(assistant, Invoice, request, steadfast))) }
  }
})

export const tables: ReadonlyArray<Table> = [
  {
    title: "an answer by a schema, over a stub fetch",
    base: plain,
    cases: [
      over(plain, (model, schema, request) =>
        model.generate({ ...request, responseFormat: { type: "json-schema", name: "invoice", schema, strict: true } })
      ),
      over(byHand, (model, schema, request) =>
        Effect.flatMap(
          model.generate({
            ...request,
            responseFormat: { type: "json-schema", name: "invoice", schema, strict: true }
          }),
          ({ text }) => {
            const { paid, ...rest } = JSON.parse(text)
            return ParseResult.decodeUnknown(schema)(paid === null ? rest : { ...rest, paid })
          }
        )
      ),
      over(
        "generateObject, all on",
        (model, schema, request, { ChatModel }) =>
          ChatModel.generateObject(model, schema, request, { name: "invoice" }),
        most
      )
    ]
  }
]
