// Real HTTP calls that fail, are retried as the server asks, fall back, and succeed.
// `-- --live` asks the real providers, with OPENAI_API_KEY or ANTHROPIC_API_KEY set.
import { Config, Effect, Layer, Logger, Redacted } from "effect"
import { Anthropic, Call, CallRecord, Chat, ChatModel, OpenAi, RetryPolicy } from "effect-steadfast"
import { NodeTransport } from "effect-steadfast/node"
import { Fault, FaultyProvider, Reply } from "effect-steadfast/testing"
import { printingTracer } from "./support/printing-tracer.js"

const records: Array<CallRecord.CallRecord> = []
const observed = Call.observe((record) => Effect.sync(() => records.push(record)))

const ask = (name: string, model: ChatModel.ChatModel) =>
  model.generate(Chat.prompt("Say hello in five words.")).pipe(
    Effect.tap((answer) => Effect.logInfo(`${answer.provider}/${answer.model} says: ${answer.text}`)),
    Effect.catchAll((error) => Effect.logInfo(`no answer: ${error._tag}`)),
    (call) => Effect.zipRight(Effect.logInfo(`--- ${name}`), call)
  )

// Each provider is a real server on a free port that fails as its script says.
const gpt = (model: string, script: FaultyProvider.Options["script"]) =>
  Effect.flatMap(FaultyProvider.serve({ script }), ({ url }) =>
    OpenAi.make({ model, baseUrl: `${url}/v1`, apiKey: Redacted.make("demo-key") })
  )

const demo = Effect.gen(function* () {
  const standby = yield* FaultyProvider.serve({ script: [Reply.text("Hello from the second target.")] })
  const claude = yield* Anthropic.make({ model: "claude-haiku-4-5", baseUrl: standby.url })
  const busy = yield* gpt("gpt-4o-mini", [
    Fault.rateLimited({ retryAfter: "1 second" }),
    Fault.status(503),
    Reply.text("Hello, worth the wait.")
  ])
  const down = yield* gpt("gpt-4o", [Fault.resetBeforeHeaders()])
  const locked = yield* gpt("gpt-4.1", [Fault.unauthorized()])
  const twice = RetryPolicy.make({ maxAttempts: 2 })

  yield* ask("a busy provider is retried as it asks", busy.pipe(ChatModel.retry(RetryPolicy.standard)))
  yield* ask("a broken provider, and a fallback", down.pipe(ChatModel.retry(twice), ChatModel.orElse(claude)))
  yield* ask("a wrong key fails at once", locked.pipe(ChatModel.retry(RetryPolicy.standard)))
})

const live = Effect.gen(function* () {
  const openAi = OpenAi.make({ model: "gpt-4o-mini", apiKey: Config.redacted("OPENAI_API_KEY") })
  const anthropic = Anthropic.make({ model: "claude-haiku-4-5", apiKey: Config.redacted("ANTHROPIC_API_KEY") })
  const model = yield* Effect.orElse(openAi, () => anthropic)
  yield* ask("live", model.pipe(ChatModel.retry(RetryPolicy.standard), ChatModel.deadline("90 seconds")))
})

const row = (record: CallRecord.CallRecord) => ({
  attempts: record.attempts.map((attempt) => attempt.error?._tag ?? "ok").join(" > "),
  "waited ms": Math.round(CallRecord.waitedMillis(record)),
  "took ms": record.durationMillis,
  "served by": CallRecord.servedBy(record)?.model ?? "nobody"
})

const program = Effect.scoped(process.argv.includes("--live") ? live : demo)
const services = Layer.mergeAll(NodeTransport.layer, Logger.pretty, observed, Layer.setTracer(printingTracer))
await Effect.runPromise(Effect.provide(program, services))
console.table(records.map(row))
console.log("A day of such calls, on a page: npm run dashboard")
