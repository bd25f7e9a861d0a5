// Texts become typed rows, though the provider answers with prose, with rows that do not fit, and with 429 in between.
import { Effect, Logger, LogLevel, Schema } from "effect"
import { Call, Chat, ChatModel, OpenAi, Resilient } from "effect-steadfast"
import { Fault, FaultyProvider, Reply } from "effect-steadfast/testing"

class Order extends Schema.Class<Order>("Order")({
  customer: Schema.NonEmptyString,
  item: Schema.Literal("desk", "lamp", "chair"),
  count: Schema.Int.pipe(Schema.between(1, 100)),
  due: Schema.optional(Schema.DateFromString)
}) {}

const texts = [
  "Ada wants two desks by May 1st",
  "A lamp for Grace, no hurry",
  "Edsger: 4 chairs, please",
  "Barbara needs one desk on June 2nd"
]

const program = Effect.gen(function* () {
  const model = yield* Resilient.make(yield* OpenAi.make({ model: "gpt-4o-mini" }))
  const read = (text: string) => ChatModel.generateObject(model, Order, Chat.prompt(`Read the order: ${text}`))
  const answers = yield* Effect.forEach(texts, read, { concurrency: 2 })
  for (const { value } of answers) {
    const due = value.due === undefined ? "some day" : value.due.toISOString().slice(0, 10)
    console.log(`${value.count} × ${value.item} for ${value.customer}, due ${due}`)
  }
})

// What follows is only here so that it runs without a key: a provider that fails on purpose, and a printed record.

/** What the provider says of each text, one after the other. */
const answers: Record<string, Array<FaultyProvider.Answer>> = {
  Ada: [
    Reply.text("Sure! Ada wants two desks."),
    Reply.text('{"customer":"Ada","item":"desk","count":2,"due":"2026-05-01"}')
  ],
  Grace: [Fault.rateLimited(), Reply.text('```json\n{"customer":"Grace","item":"lamp","count":1,"due":null}\n```')],
  Edsger: [
    Reply.text('{"customer":"Edsger","item":"stool","count":400,"due":null}'),
    Reply.text('{"customer":"Edsger","item":"chair","count":4,"due":null}')
  ],
  Barbara: [Reply.text('{"customer":"Barbara","item":"desk","count":1,"due":"2026-06-02"}')]
}

const provider = FaultyProvider.layer({
  script: [
    (request) => {
      const customer = Object.keys(answers).find((name) => JSON.stringify(request.body).includes(name)) ?? ""
      const next = answers[customer]?.shift() ?? Fault.status(500)
      return typeof next === "function" ? next(request) : next
    }
  ]
})
const observer = Call.observe(({ attempts }) =>
  Effect.sync(() => console.log(attempts.map(({ error }) => error?.message ?? "ok").join("\n  then ")))
)
const quiet = Logger.withMinimumLogLevel(LogLevel.None)
await Effect.runPromise(program.pipe(Effect.provide(observer), Effect.provide(provider), quiet))
