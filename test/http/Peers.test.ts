import { existsSync } from "node:fs"
import { createServer } from "node:http"
import { createRequire } from "node:module"
import type { AddressInfo } from "node:net"
import { fileURLToPath } from "node:url"
import { Effect, Stream } from "effect"
import type { Chat } from "effect-steadfast"
import { HttpReply } from "effect-steadfast/http"
import { NodeReply } from "effect-steadfast/node"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { errorOf } from "../support/errors.js"

/** The clients that people use. They are installed for the benchmarks only: `npm ci --prefix bench`. */
const manifest = fileURLToPath(new URL("../../bench/package.json", import.meta.url))
const installed = existsSync(fileURLToPath(new URL("../../bench/node_modules/openai", import.meta.url)))
if (!installed) console.warn("SKIPPED: the clients of OpenAI and Anthropic are not installed in bench/")

const text = (text: string): Chat.Event => ({ _tag: "TextDelta", text })
const start: Chat.Event = { _tag: "Start", provider: "p", model: "m", id: "a1" }
const finish: Chat.Event = { _tag: "Finish", reason: "stop" }
const broken = Stream.fail(errorOf("StreamInterrupted"))

const streams: Readonly<Record<string, Stream.Stream<Chat.Event, ReturnType<typeof errorOf>>>> = {
  good: Stream.make(start, text("hello"), finish),
  cut: Stream.concat(Stream.make(start, text("hel")), broken),
  refused: Stream.fail(errorOf("RateLimited"))
}

let requests = 0

const server = createServer((request, response) => {
  requests++
  const stream = streams[String(request.headers["x-case"])] ?? broken
  const model: HttpReply.Answering = { generate: () => Effect.fail(errorOf("RateLimited")), stream: () => stream }
  const path = request.url ?? ""
  const dialect = path.includes("messages") ? "anthropic" : path.includes("responses") ? "responses" : "openai"
  Effect.runFork(
    Effect.flatMap(NodeReply.json(request), (body) =>
      NodeReply.send(
        HttpReply.serve(dialect, body, () => model),
        response
      )
    )
  )
})

beforeAll(() => new Promise<void>((resolve) => server.listen(0, "127.0.0.1", () => resolve())))
afterAll(() => {
  server.close()
  server.closeAllConnections()
})

// biome-ignore lint/suspicious/noExplicitAny: the types of the clients are not installed everywhere
type Client = any

const messages = [{ role: "user", content: "hi" }]

/** The text that a client reads of a stream, or the name of the error that it throws. */
const clients: Readonly<Record<string, (name: string) => Promise<string>>> = {
  openai: async (name) => {
    const OpenAI: Client = createRequire(manifest)("openai")
    const { port } = server.address() as AddressInfo
    const client = new OpenAI.OpenAI({
      apiKey: "k",
      baseURL: `http://127.0.0.1:${port}/v1`,
      defaultHeaders: { "x-case": name }
    })
    let read = ""
    for await (const chunk of await client.chat.completions.create({ model: "m", messages, stream: true })) {
      read += chunk.choices[0]?.delta.content ?? ""
    }
    return read
  },
  responses: async (name) => {
    const OpenAI: Client = createRequire(manifest)("openai")
    const { port } = server.address() as AddressInfo
    const client = new OpenAI.OpenAI({
      apiKey: "k",
      baseURL: `http://127.0.0.1:${port}/v1`,
      defaultHeaders: { "x-case": name }
    })
    let read = ""
    for await (const event of await client.responses.create({ model: "m", input: messages, stream: true })) {
      if (event.type === "response.output_text.delta") read += event.delta
      // This client gives the error of a stream as an event.
      if (event.type === "error") throw new Error(event.message)
    }
    return read
  },
  anthropic: async (name) => {
    const Anthropic: Client = createRequire(manifest)("@anthropic-ai/sdk")
    const { port } = server.address() as AddressInfo
    const client = new Anthropic.Anthropic({
      apiKey: "k",
      baseURL: `http://127.0.0.1:${port}`,
      defaultHeaders: { "x-case": name }
    })
    let read = ""
    const asked = { model: "m", max_tokens: 5, messages, stream: true }
    for await (const event of await client.messages.create(asked)) read += event.delta?.text ?? ""
    return read
  }
}

describe.skipIf(!installed).each(Object.keys(clients))("the client of %s", (name) => {
  const outcome = async (kind: string) => {
    requests = 0
    const said = await clients[name]?.(kind).catch((error: Error) => error)
    return { said, requests }
  }

  it("reads a whole stream", async () => {
    assert.deepStrictEqual(await outcome("good"), { said: "hello", requests: 1 })
  })

  it("throws for a stream that broke, and does not ask again", async () => {
    const { requests, said } = await outcome("cut")
    assert.instanceOf(said, Error)
    assert.include(String(said), "the answer broke off")
    assert.strictEqual(requests, 1)
  })

  it("throws its own error for the status, and does not ask again", async () => {
    const { requests, said } = await outcome("refused")
    assert.strictEqual((said as { readonly status?: number }).status, 429)
    assert.strictEqual((said as Error).constructor.name, "RateLimitError")
    assert.strictEqual(requests, 1)
  })
})
