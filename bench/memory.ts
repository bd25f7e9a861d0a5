/** What is kept in memory: calls that wait for their answer, streams that wait for more, a long stream with a slow reader. */
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { type Case, type Figures, type Goal, type Table, units } from "./case.js"
import { encoded, head, openAiBody, streamHeaders, stubFetch, tail, token } from "./wire.js"

/** Children run with `--expose-gc`. */
const collect = (): void => globalThis.gc?.()

const pause = (millis: number) => new Promise<void>((resolve) => setTimeout(resolve, millis))

// -----------------------------------------------------------------------------
// many at once
// -----------------------------------------------------------------------------

const many = 5000
/** Calls before the first reading of memory, so that what is made once is there. */
const first = 500

const settledMemory = async (): Promise<{ readonly heap: number; readonly rss: number }> => {
  for (let i = 0; i < 3; i++) {
    await pause(20)
    collect()
  }
  const { external, heapUsed, rss } = process.memoryUsage()
  return { heap: heapUsed + external, rss }
}

/** Starts many at once, which never end, and takes the memory of each when all of them have begun. */
const held = async (start: () => unknown, begun: () => number): Promise<Figures> => {
  const before = await settledMemory()
  const offset = begun()
  const kept = Array.from({ length: many }, start)
  while (begun() - offset < many) await pause(5)
  const after = await settledMemory()
  if (kept.length !== many) throw new Error("they must be reachable")
  return { heap: (after.heap - before.heap) / many, rss: (after.rss - before.rss) / many }
}

/** What would end a wait: as long as it is here, what waits is in memory. */
const waits: Array<unknown> = []

const never = <A>(): Promise<A> => new Promise((resolve) => waits.push(resolve))

/** A `fetch` that answers the first calls, and then none. */
const silent = () => {
  const answer = stubFetch(openAiBody)
  const state = { asked: 0 }
  const fetch: typeof globalThis.fetch = (...request) =>
    state.asked++ < first ? answer(...request) : never<Response>()
  return { fetch, asked: () => state.asked }
}

/** A `fetch` whose streams end at first, and then wait after their first token. */
const waiting = () => {
  let asked = 0
  const begin = encoded(head + token(" Paris"))
  const end = encoded(tail(1))
  const fetch: typeof globalThis.fetch = () => {
    const ends = asked++ < first
    let next = 0
    const body = new ReadableStream<Uint8Array>({
      pull: (controller) => {
        next += 1
        if (next === 1) controller.enqueue(begin)
        else if (!ends) return never<void>()
        else if (next === 2) controller.enqueue(end)
        else controller.close()
        return
      }
    })
    return Promise.resolve(new Response(body, { headers: streamHeaders }))
  }
  return { fetch }
}

const inFlight = (
  name: string,
  load: () => Promise<() => Promise<unknown>>,
  goals: ReadonlyArray<Goal> = []
): Case => ({
  name: `a call in flight: ${name}`,
  goals,
  make: async () => {
    const { asked, fetch } = silent()
    globalThis.fetch = fetch
    const call = await load()
    for (let i = 0; i < first; i++) await call()
    return { sample: () => held(call, asked) }
  }
})

/** `load` gives what reads a stream and says when its first text is there. */
const openStream = (
  name: string,
  load: () => Promise<(onText: () => void) => Promise<unknown>>,
  goals: ReadonlyArray<Goal> = []
): Case => ({
  name: `an open stream: ${name}`,
  goals,
  make: async () => {
    globalThis.fetch = waiting().fetch
    const read = await load()
    let texts = 0
    const onText = () => {
      texts += 1
    }
    for (let i = 0; i < first; i++) await read(onText)
    return {
      sample: () =>
        held(
          () => read(onText),
          () => texts
        )
    }
  }
})

const ourStream = async (evidence: boolean) => {
  const { Effect, Stream } = await import("effect")
  const { open } = await import("./ours.js")
  const { request } = await import("./fixtures.js")
  const { assistant, runtime } = await open({ evidence })
  return (onText: () => void) =>
    runtime.runPromise(
      Stream.runForEach(assistant.stream(request), (event) =>
        Effect.sync(() => {
          if (event._tag === "TextDelta") onText()
        })
      )
    )
}

const call = async (evidence: boolean) => (await import("./ours.js")).caller({ evidence })

const most = (kibi: number): ReadonlyArray<Goal> => [{ figure: "heap", most: kibi * units.KiB }]

const atOnce: Table = {
  title: `memory of each of ${many.toLocaleString("en")} at once, over a stub fetch`,
  rounds: 1,
  fresh: true,
  columns: [
    { head: "heap and buffers", figure: "heap", show: "mean", unit: "KiB" },
    { head: "resident", figure: "rss", show: "mean", unit: "KiB" }
  ],
  cases: [
    inFlight("openai SDK", async () => (await (await import("./peers.js")).openai()).call),
    inFlight("Steadfast, all on", () => call(false), most(14)),
    inFlight("Steadfast, all on, spans and record", () => call(true), most(14)),
    openStream("openai SDK", async () => {
      const { open } = await (await import("./peers.js")).openai()
      return async (onText) => {
        for await (const chunk of await open()) if (chunk.choices[0]?.delta.content) onText()
      }
    }),
    openStream("Steadfast, all on", () => ourStream(false), most(24)),
    openStream("Steadfast, all on, spans and record", () => ourStream(true), most(24))
  ]
}

// -----------------------------------------------------------------------------
// a slow reader
// -----------------------------------------------------------------------------

const streamBytes = 100 * units.MiB
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
      response.end(tail(64 * pieces))
    }
    write()
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  const { port } = server.address() as AddressInfo
  return { baseUrl: `http://127.0.0.1:${port}/v1`, state, events: 64 * pieces, close: () => server.close() }
}

/** The largest of each figure above where it stood when the watch began. */
const watch = () => {
  collect()
  const before = process.memoryUsage()
  const peak = { live: 0, rss: 0 }
  return {
    peak,
    sample: (): void => {
      peak.rss = Math.max(peak.rss, process.memoryUsage().rss - before.rss)
    },
    /** What is left when everything that can be collected is. */
    sampleLive: (): void => {
      collect()
      const { arrayBuffers, heapUsed } = process.memoryUsage()
      peak.live = Math.max(peak.live, heapUsed + arrayBuffers - before.heapUsed - before.arrayBuffers)
    }
  }
}

const readSlowly = async (): Promise<Figures> => {
  const { Effect, Stream } = await import("effect")
  const { open } = await import("./ours.js")
  const { request } = await import("./fixtures.js")
  const event = token(" Paris is")
  const server = await serve(event)
  const { assistant, runtime } = await open({ baseUrl: server.baseUrl })
  const { peak, sample, sampleLive } = watch()
  let read = 0
  let chunks = 0
  let ahead = 0
  await runtime.runPromise(
    Stream.runForEachChunk(assistant.stream(request), (chunk) => {
      for (const event of chunk) if (event._tag === "TextDelta") read += 1
      chunks += 1
      ahead = Math.max(ahead, server.state.sent - read * event.length)
      sample()
      if (chunks % 100 === 0) sampleLive()
      return chunks % rest.chunks === 0 ? Effect.sleep(rest.millis) : Effect.void
    })
  )
  server.close()
  if (read !== server.events) throw new Error(`read ${read} of ${server.events} events`)
  return { ...peak, ahead }
}

const slowReader: Table = {
  title: `memory with ${streamBytes / units.MiB} MiB of events over a socket and a reader that rests, most above the start`,
  rounds: 1,
  fresh: true,
  columns: [
    { head: "heap and buffers after a collection", figure: "live", show: "mean", unit: "MiB" },
    { head: "resident", figure: "rss", show: "mean", unit: "MiB" },
    { head: "written and not yet read, sockets included", figure: "ahead", show: "mean", unit: "MiB" }
  ],
  cases: [{ name: "Steadfast, all on, fetch", make: async () => ({ sample: readSlowly }) }]
}

export const tables: ReadonlyArray<Table> = [atOnce, slowReader]
