/**
 * A relay between a client and a provider, all in processes of their own: how many requests a core of the relay carries.
 * The provider answers with JSON or with a stream of frames; the client keeps its connections busy.
 */
import { type ChildProcess, fork } from "node:child_process"
import { once } from "node:events"
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { fileURLToPath } from "node:url"
import type { Chat as Chats } from "effect-steadfast"
import { type Case, type Figures, type Goal, once as oneRound, type Table } from "./case.js"
import { bareBody, bareStreamBody, encoded } from "./wire.js"

export interface Load {
  readonly url: string
  readonly body: string
  readonly connections: number
  /** It ends after so many seconds and answers. */
  readonly seconds: number
  readonly least: number
  /** What a right answer holds, and how often. */
  readonly expected: { readonly text: string; readonly times: number }
  readonly headers: Readonly<Record<string, string>>
}

export const connections = 32
const frames = 20

/** What is asked, where the provider answers it, and what a right answer holds. */
export interface Kind {
  readonly name: string
  readonly path: string
  /** The path at the relay. */
  readonly asked?: string
  readonly body: string
  readonly expected: Load["expected"]
  readonly units: number
}

export const kinds = {
  JSON: { name: "JSON", path: "/json/v1", body: bareBody(), expected: { text: "Paris", times: 1 }, units: 1 },
  SSE: {
    name: "SSE",
    path: `/sse/${frames}/v1`,
    body: bareStreamBody(),
    expected: { text: "data: ", times: frames + 4 },
    units: 4
  }
} satisfies Record<string, Kind>

// -----------------------------------------------------------------------------
// relays
// -----------------------------------------------------------------------------

const readBody = async (incoming: IncomingMessage): Promise<string> => {
  const pieces: Array<Buffer> = []
  for await (const piece of incoming) pieces.push(piece)
  return Buffer.concat(pieces).toString()
}

/** Hands on what comes, in both directions, and looks at nothing. */
export const proxy = async (baseUrl: string): Promise<RequestListener> => {
  const { Pool } = await import("@effect/platform-node/Undici")
  const { origin, pathname } = new URL(baseUrl)
  const pool = new Pool(origin, { connections })
  const path = `${pathname}/chat/completions`
  return (incoming, response) => {
    pool
      .request({
        path,
        method: "POST",
        headers: { "content-type": "application/json", authorization: "Bearer sk-bench" },
        body: incoming
      })
      .then(({ body, headers, statusCode }) => {
        delete headers["transfer-encoding"]
        delete headers.connection
        delete headers["keep-alive"]
        response.writeHead(statusCode, headers)
        body.pipe(response)
      })
      .catch((error: unknown) => response.writeHead(502).end(String(error)))
  }
}

/** Reads the request, calls the model with all that keeps a call alive, and writes the answer in OpenAI's format. */
const ours = async (baseUrl: string, evidence: boolean): Promise<RequestListener> => {
  const { Effect, Stream } = await import("effect")
  const { Chat } = await import("effect-steadfast")
  const { open } = await import("./ours.js")
  const { assistant, runtime } = await open({ baseUrl, layer: "undici", evidence })

  const frame = (delta: object, finish: string | null): string =>
    `data: ${JSON.stringify({
      id: "chatcmpl-relay",
      object: "chat.completion.chunk",
      created: Math.floor(Date.now() / 1000),
      model: "assistant",
      choices: [{ index: 0, delta, finish_reason: finish }]
    })}\n\n`

  const whole = (asked: string, response: ServerResponse) =>
    Effect.map(assistant.generate(Chat.prompt(asked)), ({ finishReason, model, text, usage }) => {
      const body = encoded(
        JSON.stringify({
          id: "chatcmpl-relay",
          object: "chat.completion",
          created: Math.floor(Date.now() / 1000),
          model,
          choices: [{ index: 0, message: { role: "assistant", content: text }, finish_reason: finishReason }],
          usage: { prompt_tokens: usage?.inputTokens, completion_tokens: usage?.outputTokens }
        })
      )
      response.writeHead(200, { "content-type": "application/json", "content-length": body.length }).end(body)
    })

  const write = (event: Chats.Event, response: ServerResponse): void => {
    if (event._tag === "Start") {
      response.writeHead(200, { "content-type": "text/event-stream; charset=utf-8" })
      response.write(frame({ role: "assistant", content: "" }, null))
    } else if (event._tag === "TextDelta") response.write(frame({ content: event.text }, null))
    else if (event._tag === "Usage") response.write(`data: ${JSON.stringify({ choices: [], usage: event.usage })}\n\n`)
    else if (event._tag === "Finish") {
      response.write(frame({}, event.reason))
      response.end("data: [DONE]\n\n")
    }
  }
  const streamed = (asked: string, response: ServerResponse) =>
    Stream.runForEach(assistant.stream(Chat.prompt(asked)), (event) => Effect.sync(() => write(event, response)))

  return async (incoming, response) => {
    const { messages, stream } = JSON.parse(await readBody(incoming)) as {
      readonly messages: ReadonlyArray<{ readonly content: string }>
      readonly stream?: boolean
    }
    const asked = messages.at(-1)?.content ?? ""
    const effect = stream === true ? streamed(asked, response) : whole(asked, response)
    runtime.runPromise(effect).catch((error: unknown) => response.writeHead(502).end(String(error)))
  }
}

// -----------------------------------------------------------------------------
// measuring
// -----------------------------------------------------------------------------

const heard = async <A>(from: ChildProcess): Promise<A> => {
  const [message] = await Promise.race([
    once(from, "message"),
    once(from, "exit").then(([code]) => {
      throw new Error(`the load ended with ${code}`)
    })
  ])
  return message as A
}

/** The seconds of CPU of this process. */
const ownCpu = (): number => {
  const { system, user } = process.cpuUsage()
  return (system + user) / 1e6
}

/** Puts a load on a relay that has begun to listen: how many answers there were, for what CPU of its process. */
export const underLoad = async (
  port: number,
  { asked: path = "/v1/chat/completions", body, expected }: Kind,
  seconds: number,
  least: number,
  headers: Readonly<Record<string, string>> = {},
  used: () => number = ownCpu
): Promise<Figures> => {
  const url = `http://127.0.0.1:${port}${path}`
  const asked: Load = { url, body, connections, seconds, least, expected, headers }
  const before = used()
  const load = fork(fileURLToPath(new URL("load.js", import.meta.url)), [JSON.stringify(asked)], { execArgv: [] })
  const { answers, wall, wrong } = await heard<Record<"answers" | "wall" | "wrong", number>>(load)
  const cpu = ((used() - before) * 1e6) / answers
  return { cpu, perCore: 1e6 / cpu, perSecond: answers / wall, answers, wrong }
}

export const relayed = (
  kind: Kind,
  name: string,
  make: (baseUrl: string) => Promise<RequestListener>,
  goals: ReadonlyArray<Goal> = [],
  headers: Readonly<Record<string, string>> = {}
): Case => ({
  name: `${kind.name}: ${name}`,
  base: `${kind.name}: ${raw}`,
  units: kind.units,
  goals,
  make: async () => {
    const listener = await make(`${process.env.BENCH_SERVER}${kind.path}`)
    const server = createServer(listener).listen(0, "127.0.0.1")
    await once(server, "listening")
    const { port } = server.address() as AddressInfo
    return {
      warm: async ({ least, warm }) => (await underLoad(port, kind, warm / 2, least, headers)).answers ?? Number.NaN,
      sample: ({ seconds }) => underLoad(port, kind, 2 * seconds, 0, headers)
    }
  }
})

export const raw = "raw undici proxy"
const least = { JSON: 0.45, SSE: 0.6 }

const relays = (name: keyof typeof kinds): ReadonlyArray<Case> => {
  const kind = kinds[name]
  return [
    relayed(kind, raw, proxy),
    relayed(kind, "Steadfast, all on, undici", (baseUrl) => ours(baseUrl, false), [
      { figure: "perCore", against: `${name}: ${raw}`, least: least[name] }
    ]),
    oneRound(relayed(kind, "Steadfast, all on, undici, spans and record", (baseUrl) => ours(baseUrl, true)))
  ]
}

/** The columns of a relay. */
export const columns: NonNullable<Table["columns"]> = [
  { head: "requests/s of one core", figure: "perCore", show: "mean", digits: 0 },
  { head: "ratio", figure: "perCore", show: "ratio" },
  { head: "± %", figure: "perCore", show: "spread", digits: 1 },
  { head: "CPU µs", figure: "cpu", show: "mean" },
  { head: "requests/s seen", figure: "perSecond", show: "mean", digits: 0 },
  { head: "warm-up", figure: "warmed", show: "mean", digits: 0 },
  { head: "calls", figure: "answers", show: "mean", digits: 0 },
  { head: "wrong", figure: "wrong", show: "mean", digits: 0 }
]

export const tables: ReadonlyArray<Table> = [
  {
    title: `a relay, ${connections} connections; SSE is ${frames} frames`,
    cases: [...relays("JSON"), ...relays("SSE")],
    columns,
    note: "Requests/s of one core: answers over seconds of CPU of the relay's process; client and provider have their own."
  }
]
