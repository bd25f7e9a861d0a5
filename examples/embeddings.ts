// Vectors for 250 texts from a provider that fails: only the parts that failed are asked for again.
import { Effect, Layer, Logger, LogLevel } from "effect"
import { Call, CallRecord, RetryPolicy } from "effect-steadfast"
import * as EmbeddingModel from "effect-steadfast/EmbeddingModel"
import * as Models from "effect-steadfast/Models"
import { NodeTransport } from "effect-steadfast/node"
import * as OpenAiEmbeddings from "effect-steadfast/OpenAiEmbeddings"
import { Fault, FaultyProvider, Reply } from "effect-steadfast/testing"

const documents = Array.from({ length: 250 }, (_, index) => `document ${index}`)

const cosine = (a: ReadonlyArray<number>, b: ReadonlyArray<number>) =>
  a.reduce((sum, value, index) => sum + value * (b[index] ?? 0), 0)

const tell = Call.observe((record) => {
  const tags = record.attempts.map(({ error }) => error?._tag ?? "ok")
  const tokens = record.attempts.reduce((sum, { usage }) => sum + (usage?.inputTokens ?? 0), 0)
  const waited = CallRecord.waitedMillis(record)
  return Effect.sync(() =>
    console.log(`${record.operation}: ${tags.join(", ")}; ${tokens} tokens, waited: ${waited > 0}`)
  )
})

const program = Effect.gen(function* () {
  const busy = yield* FaultyProvider.serve({
    script: [Reply.text(""), Fault.status(503), Fault.rateLimited({ retryAfter: "1 second" }), Reply.text("")]
  })
  const spare = yield* FaultyProvider.serve({ script: [Reply.text("text-embedding-3-small gpt-4o-mini")] })
  const make = (baseUrl: string, model = "text-embedding-3-small") =>
    OpenAiEmbeddings.make({ model, baseUrl: `${baseUrl}/v1`, limits: { inputs: 50 } })

  const model = yield* EmbeddingModel.resilient([yield* make(busy.url), yield* make(spare.url)], {
    deadline: "1 minute",
    retry: RetryPolicy.standard
  })
  const { vectors } = yield* model.embed({ input: documents })
  console.log(
    `${vectors.length} vectors of ${vectors[0]?.length} numbers, in ${(yield* busy.requests).length} requests`
  )

  const query = yield* EmbeddingModel.embedOne(model, "document 123")
  const best = vectors.reduce(
    (top, vector, index) => (cosine(query, vector) > cosine(query, vectors[top] ?? []) ? index : top),
    0
  )
  console.log(`the nearest is "${documents[best]}"`)

  const large = yield* make(spare.url, "text-embedding-3-large")
  yield* Effect.try(() => EmbeddingModel.orElse(model, large)).pipe(
    Effect.catchAll((error) => Effect.sync(() => console.log(String(error.error).replace(/, expected.*/, ""))))
  )
  const offered = yield* Models.list({ baseUrl: `${spare.url}/v1` })
  console.log(`offered: ${offered.map(({ id }) => id).join(", ")}`)
})

const services = Layer.mergeAll(NodeTransport.layer, tell, Logger.minimumLogLevel(LogLevel.Error))
await Effect.runPromise(Effect.provide(Effect.scoped(program), services))
