import { createServer, type IncomingMessage, type Server } from "node:http"
import type { AddressInfo } from "node:net"
import { Effect } from "effect"

// biome-ignore lint/suspicious/noExplicitAny: somebody else's format
export type Json = any

/** One export: the path, the headers, and the decoded body. */
export interface Export {
  readonly path: string
  readonly headers: IncomingMessage["headers"]
  readonly body: Json
  readonly text: string
}

const listening = (server: Server): Promise<number> =>
  new Promise((resolve, reject) => {
    server.once("error", reject)
    server.listen(0, "127.0.0.1", () => resolve((server.address() as AddressInfo).port))
  })

const closed = (server: Server) =>
  Effect.promise(() => {
    server.closeAllConnections()
    return new Promise<void>((resolve) => server.close(() => resolve()))
  })

/** A server on a free port, for as long as the scope is open. */
export const serving = (listener: Parameters<typeof createServer>[1]) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const server = createServer(listener as () => void)
      return { server, port: await listening(server) }
    }),
    ({ server }) => closed(server)
  )

/** A receiver of OTLP over HTTP, in JSON. */
export const collector = Effect.gen(function* () {
  const exports: Array<Export> = []
  const { port } = yield* serving((request, response) => {
    const chunks: Array<Buffer> = []
    request.on("data", (chunk: Buffer) => chunks.push(chunk))
    request.on("end", () => {
      const text = Buffer.concat(chunks).toString("utf8")
      exports.push({ path: request.url ?? "", headers: request.headers, body: JSON.parse(text), text })
      response.writeHead(200, { "content-type": "application/json" }).end("{}")
    })
  })
  return { exports, url: `http://127.0.0.1:${port}` }
})
