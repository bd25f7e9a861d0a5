/**
 * The servers that the cases of `Cases.ts` ask: one for every fault, on ports of this machine.
 */
import { execFile } from "node:child_process"
import { readFileSync } from "node:fs"
import * as Http from "node:http"
import * as Https from "node:https"
import * as Net from "node:net"
import { fileURLToPath } from "node:url"
import { Worker } from "node:worker_threads"

/** Where the servers are. */
export interface Places {
  /** Answers; the first part of the path says how. */
  readonly http: string
  /** A port at which nobody listens. */
  readonly refused: string
  /** A host that never answers to a connection. */
  readonly dead: string
  /** Resets every connection as it comes. */
  readonly reset: string
  /** Resets a TLS connection after its first message. */
  readonly resetInHandshake: string
  /** TLS with a certificate that nobody trusts. */
  readonly untrusted: string
  /** TLS 1.1, with the trusted certificate. */
  readonly oldTls: string
  /** TLS that wants a certificate of the client. */
  readonly mutual: string
  /** TLS in which a proxy answers in plain text, after the request came. */
  readonly plainInTls: string
}

/** By client, by case: what the caller saw. */
export type Measured = Readonly<Record<string, Readonly<Record<string, string>>>>

/** The certificate of the authority that the subjects are told to trust. */
export const authority = fileURLToPath(new URL("authority.pem", import.meta.url))

const pem = (name: string) => {
  const both = readFileSync(new URL(`${name}.pem`, import.meta.url), "utf8")
  return { key: both, cert: both }
}

const listening = async (server: Net.Server): Promise<number> => {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  return (server.address() as Net.AddressInfo).port
}

/** A listener that accepts nobody: its thread sleeps, and the queue of connections before it is full. */
const sleeper = `
  const { parentPort } = require("node:worker_threads")
  const server = require("node:net").createServer()
  server.listen({ port: 0, host: "127.0.0.1", backlog: 1 }, () => {
    parentPort.postMessage(server.address().port)
    setTimeout(() => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0), 50)
  })
`

const answer = JSON.stringify({
  choices: [{ index: 0, message: { content: "hello" }, finish_reason: "stop" }],
  usage: { prompt_tokens: 1, completion_tokens: 1 }
})

const event = (content: string, reason: string | null = null): string =>
  `data: ${JSON.stringify({ choices: [{ index: 0, delta: { content }, finish_reason: reason }] })}\n\n`

/** Headers that are no HTTP, as they go over the wire. */
const raw: Readonly<Record<string, string>> = {
  "bad-header-name": "HTTP/1.1 200 OK\r\nbad header: x\r\ncontent-length: 0\r\n\r\n",
  "bad-header-value": "HTTP/1.1 200 OK\r\nx-bad: a\u0000b\r\ncontent-length: 0\r\n\r\n",
  "no-http": "+OK hello\r\n\r\n",
  "bad-chunk": "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n"
}

/** Starts the servers. */
export const start = async (): Promise<{ readonly places: Places; readonly stop: () => Promise<void> }> => {
  const seen = new Map<string, number>()
  const closed = new Set<string>()
  /** What goes on when the client says so: a reset throws away what it has not read. */
  const waiting = new Map<string, () => void>()
  const count = (id: string): number => {
    const before = seen.get(id) ?? 0
    seen.set(id, before + 1)
    return before
  }

  const json = (response: Http.ServerResponse, body: string): void => {
    response.writeHead(200, { "content-type": "application/json" }).end(body)
  }
  const replies: Readonly<Record<string, (response: Http.ServerResponse, id: string) => void>> = {
    ok: (response) => json(response, answer),
    basic: (response) => json(response, response.req.headers.authorization === "Basic bWU6c2VjcmV0" ? answer : "{}"),
    counted: (response, id) => {
      count(id)
      json(response, answer)
    },
    count: (response, id) => json(response, JSON.stringify({ count: seen.get(id) ?? 0, closed: closed.has(id) })),
    stream: (response) => {
      response.writeHead(200, { "content-type": "text/event-stream" }).write(event("hel"))
      setTimeout(() => response.end(`${event("lo", "stop")}data: [DONE]\n\n`), 20)
    },
    cut: (response, id) => {
      response.writeHead(200, { "content-type": "text/event-stream" }).write(event("hel"))
      waiting.set(id, () => response.socket?.resetAndDestroy())
    },
    go: (response, id) => {
      waiting.get(id)?.()
      json(response, "{}")
    },
    limited: (response, id) => {
      if (count(id) > 0) json(response, answer)
      else response.writeHead(429, { "retry-after-ms": "300" }).end('{"error":{"message":"slow down"}}')
    },
    reset: (response) => response.socket?.resetAndDestroy(),
    close: (response) => response.socket?.end(),
    "reset-in-body": (response) => {
      response.writeHead(200, { "content-type": "application/json", "content-length": "1000" }).write('{"choices":')
      setTimeout(() => response.socket?.resetAndDestroy(), 20)
    },
    redirect: (response, id) => {
      response.writeHead(307, { location: `/counted/${id}/v1/chat/completions` }).end()
    },
    huge: (response) => json(response, answer.replace("hello", "x".repeat(200_000))),
    hang: (response, id) => {
      count(id)
      response.on("close", () => closed.add(id))
    },
    raw: (response, id) => response.socket?.end(Buffer.from(raw[id] ?? "", "latin1"))
  }
  const http = Http.createServer((request, response) => {
    const [, kind = "", id = ""] = (request.url ?? "").split("/")
    response.on("error", () => {})
    request.resume().on("end", () => replies[kind]?.(response, id))
  })

  const sockets = new Set<Net.Socket>()
  const tcp = (accept: (socket: Net.Socket) => void): Net.Server =>
    Net.createServer((socket) => {
      sockets.add(socket.on("error", () => {}))
      accept(socket)
    })
  const reset = tcp((socket) => socket.resetAndDestroy())
  const resetInHandshake = tcp((socket) => socket.once("data", () => socket.resetAndDestroy()))

  const https = (options: Https.ServerOptions) =>
    Https.createServer(options, (request, response) => {
      request.resume()
      response.writeHead(200, { "content-type": "application/json" }).end(answer)
    })
  const untrusted = https(pem("untrusted"))
  const oldTls = https({
    ...pem("trusted"),
    minVersion: "TLSv1",
    maxVersion: "TLSv1.1",
    ciphers: "DEFAULT@SECLEVEL=0"
  })
  const mutual = https({ ...pem("trusted"), requestCert: true, rejectUnauthorized: true })

  const gone = Net.createServer()
  const port = await listening(gone)
  await new Promise((resolve) => gone.close(resolve))

  const worker = new Worker(sleeper, { eval: true })
  const deadPort = await new Promise<number>((resolve) => worker.once("message", resolve))
  await new Promise((resolve) => setTimeout(resolve, 100))
  // Until nobody gets in: so many wait at the door that one more is not heard.
  for (let waiting = 0; waiting < 64; waiting++) {
    const isIn = await new Promise<boolean>((resolve) => {
      const socket = Net.connect(deadPort, "127.0.0.1").on("error", () => resolve(false))
      sockets.add(socket)
      socket.on("connect", () => resolve(true))
      setTimeout(() => resolve(false), 300)
    })
    if (!isIn) break
  }

  /** By the port of their other end: the connections that a proxy holds. */
  const held = new Map<number | undefined, Net.Socket>()
  const backend = Https.createServer(pem("trusted"), (request) => {
    request.resume().on("end", () => held.get(request.socket.remotePort)?.write("HTTP/1.1 408 Too late\r\n\r\n"))
  })
  const behind = await listening(backend)
  const plainInTls = tcp((socket) => {
    const other = Net.connect(behind, "127.0.0.1", () => held.set(other.localPort, socket))
    sockets.add(other.on("error", () => {}))
    socket.pipe(other).pipe(socket)
  })

  const servers = [http, reset, resetInHandshake, untrusted, oldTls, mutual, plainInTls, backend]
  const ports: Array<number> = []
  for (const server of servers.slice(0, -1)) ports.push(await listening(server.on("tlsClientError", () => {})))
  const at = (scheme: string, index: number): string => `${scheme}://127.0.0.1:${ports[index]}`
  return {
    places: {
      http: at("http", 0),
      refused: `http://127.0.0.1:${port}`,
      dead: `http://127.0.0.1:${deadPort}`,
      reset: at("http", 1),
      resetInHandshake: at("https", 2),
      untrusted: at("https", 3),
      oldTls: at("https", 4),
      mutual: at("https", 5),
      plainInTls: at("https", 6)
    },
    stop: async () => {
      for (const socket of sockets) socket.destroy()
      for (const server of servers) {
        if ("closeAllConnections" in server) (server as Http.Server).closeAllConnections()
        server.close()
      }
      await worker.terminate()
    }
  }
}

/** What a subject says that runs in `command`, with the servers of this process. */
export const measuredBy = (
  command: string,
  args: ReadonlyArray<string>,
  places: Places,
  cwd: string
): Promise<Measured> =>
  new Promise((resolve, reject) => {
    const env = { ...process.env, NODE_EXTRA_CA_CERTS: authority, DENO_CERT: authority, NODE_NO_WARNINGS: "1" }
    execFile(command, [...args, JSON.stringify(places)], { cwd, env, timeout: 120_000 }, (error, stdout, stderr) => {
      if (error === null) resolve(JSON.parse(stdout))
      else reject(new Error(`${command} ${args.join(" ")} failed\n${stderr}`, { cause: error }))
    })
  })
