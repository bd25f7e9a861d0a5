/**
 * A process that asks a server which sends without an end, and tells how much memory that took: the most of the resident
 * set while it asked, over what it was before. Run by `Memory.test.ts` with the client's name, the address and whether
 * it streams.
 */
import { Effect, Either, Layer, Logger } from "effect"
import { Chat, ChatStream, LlmError } from "effect-steadfast"
import { clients, modelAt } from "./clients.js"

const [client = "", url = "", path = "", mode = ""] = process.argv.slice(2)
const layer = new Map(clients).get(client)
if (layer === undefined || globalThis.gc === undefined) throw new Error(`no client ${client}, or no --expose-gc`)
const collect = globalThis.gc

const program = Effect.gen(function* () {
  const ask = (at: string) =>
    Effect.flatMap(modelAt(url + at), (model) =>
      Effect.either(
        mode === "stream" ? ChatStream.collect(model.stream(Chat.prompt("hi"))) : model.generate(Chat.prompt("hi"))
      )
    )
  // What is loaded and grown once is not of the answer.
  yield* ask("/small")
  collect()
  const base = process.memoryUsage.rss()
  let most = base
  const timer = setInterval(() => {
    most = Math.max(most, process.memoryUsage.rss())
  }, 2)
  const answer = yield* ask(path)
  clearInterval(timer)
  most = Math.max(most, process.memoryUsage.rss())
  const error = Either.isLeft(answer) ? answer.left : undefined
  const megabytes = Math.round((most - base) / 1e6)
  console.log(JSON.stringify({ tag: error?._tag, retryable: error && LlmError.isRetryable(error), megabytes }))
})

await Effect.runPromise(Effect.provide(program, Layer.merge(layer, Logger.remove(Logger.defaultLogger))))
process.exit(0)
