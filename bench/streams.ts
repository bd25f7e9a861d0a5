/** A streamed answer: how fast its tokens come through, and what a long one with a slow reader keeps in memory. */
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import { createOpenAI } from "@ai-sdk/openai"
import { FetchHttpClient } from "@effect/platform"
import { streamText } from "ai"
import { Effect, Layer, ManagedRuntime, Redacted, Stream } from "effect"
import { Call, type Chat, type ChatModel, OpenAi } from "effect-steadfast"
import OpenAI from "openai"
import { bareBody, model, question, request, resilient, responseHeaders, url } from "./fixtures.js"
import { type Measured, measure, printTable, promiseCase, timeOf } from "./support.js"

export const run = async (): Promise<void> => {
  await speed()
  await memory()
}

// -----------------------------------------------------------------------------
// the answer
// -----------------------------------------------------------------------------

const tokens = 1000

/** One chunk of Chat Completions, as OpenAI sends it. */
const chunk = (delta: object, finish: string | null): string =>
  `data: ${JSON.stringify({
    id: "chatcmpl-1",
    object: "chat.completion.chunk",
    created: 1_750_000_000,
    model: "gpt-4o-mini-2024-07-18",
    service_tier: "default",
    system_fingerprint: "fp_1",
    choices: [{ index: 0, delta, logprobs: null, finish_reason: finish }],
    usage: null,
    obfuscation: "k3Xq9"
  })}\n\n`

const usage = `data: ${JSON.stringify({
  id: "chatcmpl-1",
  object: "chat.completion.chunk",
  created: 1_750_000_000,
  model: "gpt-4o-mini-2024-07-18",
  choices: [],
  usage: { prompt_tokens: 12, completion_tokens: tokens, total_tokens: 12 + tokens }
})}\n\n`

const head = chunk({ role: "assistant", content: "", refusal: null }, null)
const token = (content: string) => chunk({ content }, null)
const tail = `${chunk({}, "stop")}${usage}data: [DONE]\n\n`

const streamHeaders = { ...responseHeaders, "content-type": "text/event-stream; charset=utf-8" }

const isRecord = (u: unknown): u is Readonly<Record<string, unknown>> => typeof u === "object" && u !== null

/** The text of a chunk, with no more care than the shortest code takes. */
const deltaOf = (data: unknown): string => {
  const choice: unknown = isRecord(data) && Array.isArray(data.choices) ? data.choices[0] : undefined
  const delta = isRecord(choice) ? choice.delta : undefined
  return isRecord(delta) && typeof delta.content === "string" ? delta.content : ""
}

// -----------------------------------------------------------------------------
// speed
// -----------------------------------------------------------------------------

const words = Array.from({ length: tokens }, (_, index) => ` ${["Paris", "is", "the", "capital", "—"][index % 5]}`)
const textLength = words.join("").length

const encoded = (text: string) => new TextEncoder().encode(text)

const cut = (bytes: Uint8Array, size: number): ReadonlyArray<Uint8Array> =>
  Array.from({ length: Math.ceil(bytes.length / size) }, (_, index) => bytes.subarray(index * size, (index + 1) * size))

/** A `fetch` whose body hands out the next piece whenever it is asked for one. */
const streamingFetch =
  (pieces: ReadonlyArray<Uint8Array>): typeof globalThis.fetch =>
  () => {
    let next = 0
    const body = new ReadableStream<Uint8Array>({
      pull: (controller) => {
        const piece = pieces[next++]
        if (piece === undefined) controller.close()
        else controller.enqueue(piece)
      }
    })
    return Promise.resolve(new Response(body, { headers: streamHeaders }))
  }

const byHand = "fetch, split and JSON.parse by hand"
const ours = "  Steadfast, all resilience, spans and record"
const sdk = "  openai SDK"
const aiSdk = "  AI SDK streamText"

/** How many characters of text came out, so that nobody is fast by losing some. */
const characters = <E>(events: Stream.Stream<Chat.Event, E>): Effect.Effect<number, E> =>
  Effect.suspend(() => {
    let length = 0
    return Effect.map(
      Stream.runForEachChunk(events, (chunk) =>
        Effect.sync(() => {
          for (const event of chunk) if (event._tag === "TextDelta") length += event.text.length
        })
      ),
      () => length
    )
  })

const readByHand = async (response: Response): Promise<number> => {
  let length = 0
  let rest = ""
  const decoder = new TextDecoder()
  const reader = response.body?.getReader()
  for (let piece = await reader?.read(); piece?.value !== undefined; piece = await reader?.read()) {
    const events = (rest + decoder.decode(piece.value, { stream: true })).split("\n\n")
    rest = events.pop() ?? ""
    for (const event of events) {
      if (event !== "data: [DONE]") length += deltaOf(JSON.parse(event.slice(6))).length
    }
  }
  return length
}

const runtimes = (fetch: typeof globalThis.fetch) => {
  const http = FetchHttpClient.layer.pipe(Layer.provideMerge(Layer.succeed(FetchHttpClient.Fetch, fetch)))
  const observe = Call.observe(() => Effect.void)
  return { plain: ManagedRuntime.make(http), observed: ManagedRuntime.make(Layer.merge(http, observe)) }
}

const streamed = async (pieces: ReadonlyArray<Uint8Array>): Promise<ReadonlyArray<Measured>> => {
  const fetch = streamingFetch(pieces)
  const { observed, plain } = runtimes(fetch)
  const leaf = await plain.runPromise(OpenAi.make({ model, apiKey: Redacted.make("sk-bench") }))
  const assistant = resilient(leaf, leaf)
  const openai = new OpenAI({ apiKey: "sk-bench", fetch })
  const aiModel = createOpenAI({ apiKey: "sk-bench", fetch }).chat(model)
  const whole = (name: string, read: () => Promise<number>) =>
    promiseCase(name, async () => {
      const length = await read()
      if (length !== textLength) throw new Error(`${name.trim()} read ${length} of ${textLength} characters`)
    })

  const measured = await measure([
    whole(byHand, async () => {
      const headers = { authorization: "Bearer sk-bench", "content-type": "application/json" }
      return readByHand(await fetch(url, { method: "POST", headers, body: bareBody() }))
    }),
    whole("  Steadfast, leaf, no tracer", () =>
      plain.runPromise(Effect.withTracerEnabled(characters(leaf.stream(request)), false))
    ),
    whole("  Steadfast, all resilience, no tracer", () =>
      plain.runPromise(Effect.withTracerEnabled(characters(assistant.stream(request)), false))
    ),
    whole(ours, () => observed.runPromise(characters(assistant.stream(request)))),
    whole(sdk, async () => {
      const messages = [{ role: "user" as const, content: question }]
      let length = 0
      for await (const chunk of await openai.chat.completions.create({ model, messages, stream: true })) {
        length += chunk.choices[0]?.delta.content?.length ?? 0
      }
      return length
    }),
    whole(aiSdk, async () => {
      let length = 0
      for await (const text of streamText({ model: aiModel, prompt: question }).textStream) length += text.length
      return length
    })
  ])
  await Promise.all([plain.dispose(), observed.dispose()])
  return measured
}

/** Against each of the columns: above 1 is faster. */
const printSpeed = (title: string, measured: ReadonlyArray<Measured>): void => {
  const perSecond = (micros: number) => Math.round((1e6 * tokens) / micros).toLocaleString("en")
  const against = (one: Measured, name: string) =>
    one.name === name ? "" : `${(timeOf(measured, name) / one.time).toFixed(2)}×`
  printTable(title, [
    ["", "tokens/s", "median", "by hand", "openai", "ai"],
    ...measured.map((one) => [
      one.name,
      perSecond(one.time),
      perSecond(one.median),
      ...[byHand, sdk, aiSdk].map((name) => against(one, name))
    ])
  ])
  const ratio = (name: string) => (timeOf(measured, name) / timeOf(measured, ours)).toFixed(2)
  console.log(
    `Steadfast with everything on is ${ratio(sdk)}× as fast as the openai SDK, ${ratio(aiSdk)}× as the AI SDK`
  )
}

const speed = async (): Promise<void> => {
  const events = [head, ...words.map(token), tail].map(encoded)
  printSpeed(`a stream of ${tokens.toLocaleString("en")} tokens, one in each piece`, await streamed(events))
  const pieces = cut(encoded([head, ...words.map(token), tail].join("")), 16 * 1024)
  printSpeed("the same in pieces of 16 KiB", await streamed(pieces))
}

// -----------------------------------------------------------------------------
// memory
// -----------------------------------------------------------------------------

const mebi = 1024 * 1024
const streamBytes = 100 * mebi
/** The reader rests so long after so many chunks of events. */
const rest = { millis: 5, chunks: 8 }

/** A server on a real socket: it writes whenever the socket takes more. `sent` counts what it wrote. */
const serve = async (event: string) => {
  const piece = Buffer.from(event.repeat(64))
  const pieces = Math.ceil(streamBytes / piece.length)
  const state = { sent: 0 }
  const server = createServer((incoming, response) => {
    incoming.resume()
    response.writeHead(200, streamHeaders)
    response.write(head)
    let left = pieces
    const write = (): void => {
      while (left > 0) {
        left -= 1
        state.sent += piece.length
        if (!response.write(piece)) {
          response.once("drain", write)
          return
        }
      }
      response.end(tail)
    }
    write()
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  const { port } = server.address() as AddressInfo
  return { baseUrl: `http://127.0.0.1:${port}/v1`, state, events: 64 * pieces, close: () => server.close() }
}

const collectGarbage = (): (() => void) => {
  setFlagsFromString("--expose-gc")
  return runInNewContext("gc")
}

/** The largest of each figure above where it stood when the watch began. */
const watch = () => {
  const collect = collectGarbage()
  collect()
  const before = process.memoryUsage()
  const peak = { heap: 0, live: 0, rss: 0 }
  return {
    peak,
    sample: (): void => {
      const now = process.memoryUsage()
      peak.heap = Math.max(peak.heap, now.heapUsed - before.heapUsed)
      peak.rss = Math.max(peak.rss, now.rss - before.rss)
    },
    /** What is left when everything that can be collected is. */
    sampleLive: (): void => {
      collect()
      const { arrayBuffers, heapUsed } = process.memoryUsage()
      peak.live = Math.max(peak.live, heapUsed + arrayBuffers - before.heapUsed - before.arrayBuffers)
    }
  }
}

const readSlowly = (assistant: ChatModel.ChatModel, onChunk: (events: number) => void): Promise<void> => {
  let chunks = 0
  const reading = Stream.runForEachChunk(assistant.stream(request), (chunk) => {
    let events = 0
    for (const event of chunk) if (event._tag === "TextDelta") events += 1
    onChunk(events)
    return ++chunks % rest.chunks === 0 ? Effect.sleep(rest.millis) : Effect.void
  })
  return Effect.runPromise(reading)
}

const memory = async (): Promise<void> => {
  const event = token(" Paris is")
  const server = await serve(event)
  const leaf = await OpenAi.make({ model, baseUrl: server.baseUrl }).pipe(
    Effect.provide(FetchHttpClient.layer),
    Effect.runPromise
  )
  const { peak, sample, sampleLive } = watch()
  const start = performance.now()
  let read = 0
  let chunks = 0
  let ahead = 0
  await readSlowly(resilient(leaf, leaf), (events) => {
    read += events
    chunks += 1
    ahead = Math.max(ahead, server.state.sent - read * event.length)
    sample()
    if (chunks % 100 === 0) sampleLive()
  })
  const seconds = (performance.now() - start) / 1000
  server.close()
  if (read !== server.events) throw new Error(`read ${read} of ${server.events} events`)

  const size = (bytes: number) => `${(bytes / mebi).toFixed(1)} MiB`
  printTable(`memory: ${size(server.state.sent)} of events over a socket, all resilience, a reader that rests`, [
    ["", "most above the start"],
    ["  heap, after a collection, and buffers", size(peak.live)],
    ["  heap, as sampled", size(peak.heap)],
    ["  resident", size(peak.rss)],
    ["  written by the server and not yet read, sockets included", size(ahead)]
  ])
  console.log(`${read.toLocaleString("en")} events in ${chunks.toLocaleString("en")} chunks, ${seconds.toFixed(1)} s`)
}
