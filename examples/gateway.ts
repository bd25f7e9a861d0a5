// A gateway over two providers, and a client that knows nothing of it: the first provider fails, and the client never sees it.
import { Effect, Layer, Logger } from "effect"
import { Gateway, GatewayConfig, GatewayServer } from "effect-steadfast/gateway"
import { NodeTransport } from "effect-steadfast/node"
import { Fault, FaultyProvider, Reply } from "effect-steadfast/testing"

const file = (first: string, second: string) => `
providers:
  gpt: { kind: openai, baseUrl: ${first}/v1, key: key-of-gpt }
  claude: { kind: anthropic, baseUrl: ${second}/v1, key: key-of-claude }
models:
  assistant:
    targets: [gpt/gpt-4o-mini, claude/claude-haiku-4-5]
    retry: { maxAttempts: 2, initialDelay: 50ms }
    deadline: 30s
server: { port: 0 }
keys:
  - { name: team-a, key: sk-team-a }
`

/** What any client of OpenAI's API sends. */
const ask = (url: string, key: string) =>
  Effect.promise(async () => {
    const response = await fetch(`${url}/v1/chat/completions`, {
      method: "POST",
      headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
      body: JSON.stringify({ model: "assistant", messages: [{ role: "user", content: "Hello" }] })
    })
    const body = (await response.json()) as {
      readonly choices?: ReadonlyArray<{ readonly message: { readonly content: string } }>
      readonly error?: { readonly message: string }
    }
    const said = body.choices?.[0]?.message.content ?? body.error?.message
    const of = (name: string) => response.headers.get(`x-steadfast-${name}`)
    console.log(`${response.status} ${said}`)
    if (response.ok) {
      const counts = `${of("attempts")} attempts, ${of("retries")} retries, ${of("fallbacks")} fallbacks`
      console.log(`    ${counts}, ${of("wait-ms")} ms of waiting, served by ${of("served-by")}`)
    }
  })

const program = Effect.gen(function* () {
  const gpt = yield* FaultyProvider.serve({
    script: [Reply.text("Hello from GPT."), Fault.overloaded(), Reply.text("Hello again from GPT."), Fault.overloaded()]
  })
  const claude = yield* FaultyProvider.serve({ script: [Reply.text("Hello from Claude.")] })
  const config = yield* GatewayConfig.parse(file(gpt.url, claude.url), {
    file: "gateway.yaml",
    env: process.env,
    readFile: () => Effect.fail("no secret files here")
  })
  const gateway = yield* Gateway.make(config)
  const { url } = yield* GatewayServer.listen(gateway)
  console.log("All is well:")
  yield* ask(url, "sk-team-a")
  console.log("The provider is overloaded once, and is asked again:")
  yield* ask(url, "sk-team-a")
  console.log("It stays overloaded, and the other provider answers, in the dialect of the client:")
  yield* ask(url, "sk-team-a")
  console.log("Somebody else:")
  yield* ask(url, "sk-unknown")
})

const layers = Layer.merge(NodeTransport.layer, Logger.remove(Logger.defaultLogger))
await Effect.runPromise(program.pipe(Effect.scoped, Effect.provide(layers)))
