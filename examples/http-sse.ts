// A service that speaks OpenAI's API: retries inside, honest streams outside, and a client that leaves costs nothing.
import { createServer, type Server } from "node:http"
import type { AddressInfo } from "node:net"
import { Effect, Logger, Redacted, Runtime } from "effect"
import { Chat, ChatModel, ChatStream, OpenAi, RetryPolicy } from "effect-steadfast"
import { HttpReply } from "effect-steadfast/http"
import { NodeReply, NodeTransport } from "effect-steadfast/node"
import { Fault, FaultyProvider, Reply } from "effect-steadfast/testing"

const target = (url: string) =>
  OpenAi.make({ model: "gpt-4o-mini", apiKey: Redacted.make("key"), baseUrl: `${url}/v1` })

const serve = (model: ChatModel.ChatModel, runtime: Runtime.Runtime<never>) =>
  Effect.async<Server>((resume) => {
    const server = createServer((request, response) => {
      const reply = Effect.map(NodeReply.json(request), (body) => HttpReply.serve("openai", body, () => model))
      Runtime.runFork(runtime)(Effect.flatMap(reply, (reply) => NodeReply.send(reply, response)))
    })
    server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
  })

const service = Effect.fnUntraced(function* (provider: string) {
  const model = (yield* target(provider)).pipe(
    ChatModel.timeout({ firstToken: "5 seconds", idle: "5 seconds" }),
    ChatModel.retry(RetryPolicy.make({ initialDelay: "50 millis" })),
    ChatModel.deadline("30 seconds")
  )
  const stop = (server: Server) => Effect.sync(() => server.close().closeAllConnections())
  const { port } = (yield* Effect.acquireRelease(serve(model, yield* Effect.runtime()), stop)).address() as AddressInfo
  return `http://127.0.0.1:${port}`
})

const poem = Reply.text("Shall I compare thee to a summer's day? Thou art more lovely and more temperate.")
const script = [Fault.overloaded(), poem, Fault.earlyEnd({ tokens: 6, reply: poem }), Fault.stall({ tokens: 3 })]
const prompt = Chat.prompt("Two lines of Shakespeare, please")

const program = Effect.gen(function* () {
  const provider = yield* FaultyProvider.serve({ script })
  const client = yield* target(yield* service(provider.url))
  const read = client.stream(prompt).pipe(
    ChatStream.forEach((event) => {
      if (event._tag === "TextDelta") process.stdout.write(event.text)
    }),
    Effect.catchAll((error) => Effect.sync(() => console.log(` ✂ ${error._tag}`)))
  )
  console.log("An overload that the client never sees:")
  yield* read
  console.log("\n\nAn answer that breaks in the middle is an error for the client too:")
  yield* read
  console.log("\nA client that hangs up:")
  yield* Effect.ignore(Effect.timeout(read, "300 millis"))
  const requests = yield* provider.until((all) => all.at(-1)?.hungUp === true)
  console.log(`\nthe provider saw ${requests.length} requests, and the last one was cancelled`)
})

const layers = [NodeTransport.layer, Logger.remove(Logger.defaultLogger)] as const
await Effect.runPromise(program.pipe(Effect.scoped, Effect.provide(layers)))
