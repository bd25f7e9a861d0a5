/** What the composition `timeout ∘ retry ∘ orElse ∘ deadline` adds to an exchange that is answered at once. */
import type { Effect } from "effect"
import type { ChatModel } from "effect-steadfast"
import type { Case, Table } from "./case.js"

const exchange = "bare exchange: encode, execute, read, parse"

type Run = (effect: Effect.Effect<unknown, unknown>) => Effect.Effect<unknown, unknown>

/** In one fiber; `evidence` is a tracer and an observer of records. */
const inFiber = (
  name: string,
  evidence: boolean,
  make: (models: {
    readonly bare: Effect.Effect<unknown, unknown>
    readonly leaf: ChatModel.ChatModel
    readonly assistant: ChatModel.ChatModel
    readonly call: (model: ChatModel.ChatModel) => Effect.Effect<unknown, unknown>
  }) => Effect.Effect<unknown, unknown>
): Case => ({
  name,
  make: async () => {
    const { HttpClient } = await import("@effect/platform")
    const { Effect, Redacted } = await import("effect")
    const { Call, OpenAi } = await import("effect-steadfast")
    const { bareExchange, effectBatch, request, resilient, stubClient } = await import("./fixtures.js")
    const { model } = await import("./wire.js")
    const leaf = await OpenAi.make({ model, apiKey: Redacted.make("sk-bench") }).pipe(
      Effect.provideService(HttpClient.HttpClient, stubClient),
      Effect.runPromise
    )
    const run: Run = evidence
      ? Effect.provideService(Call.Observers, [() => Effect.void])
      : Effect.withTracerEnabled(false)
    const models = { bare: bareExchange(stubClient), leaf, assistant: resilient(leaf, leaf) }
    return { batch: effectBatch(run(make({ ...models, call: (model) => model.generate(request) }))) }
  }
})

export const tables: ReadonlyArray<Table> = [
  {
    title: "composition, answered at once by a client without fetch",
    base: exchange,
    length: 0.5,
    rounds: 2,
    cases: [
      inFiber(exchange, false, ({ bare }) => bare),
      inFiber("leaf", false, ({ call, leaf }) => call(leaf)),
      inFiber("leaf, spans and record", true, ({ call, leaf }) => call(leaf)),
      inFiber("all on", false, ({ assistant, call }) => call(assistant)),
      inFiber("all on, spans and record", true, ({ assistant, call }) => call(assistant))
    ]
  }
]
