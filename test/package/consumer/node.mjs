import { Effect, Redacted } from "effect"
import { Chat, OpenAi } from "effect-steadfast"
import { NodeTransport } from "effect-steadfast/node"
import { FaultyProvider, Reply } from "effect-steadfast/testing"

const program = Effect.gen(function* () {
  const { url } = yield* FaultyProvider.serve({ script: [Reply.text("Paris.")] })
  const model = yield* OpenAi.make({ model: "gpt-4o-mini", apiKey: Redacted.make("sk-test"), baseUrl: `${url}/v1` })
  return yield* model.generate(Chat.prompt("The capital of France?"))
})

const { text } = await Effect.runPromise(program.pipe(Effect.scoped, Effect.provide(NodeTransport.layer)))
process.stdout.write(`${text}\n`)
