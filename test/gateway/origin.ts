import { createServer, type IncomingMessage, type RequestListener } from "node:http"
import type { AddressInfo } from "node:net"
import { Effect } from "effect"

interface Request {
  readonly method: string
  readonly url: string
  readonly headers: IncomingMessage["headers"]
  readonly body: Buffer
}

type Answer = (
  request: Request,
  count: number
) => Parameters<RequestListener>[1] extends infer R ? (response: R) => void : never

/** A provider that answers as it is told, and keeps what it heard. */
export const provider = (answer: Answer) =>
  Effect.gen(function* () {
    const heard: Array<Request> = []
    const server = createServer((request, response) => {
      const chunks: Array<Buffer> = []
      request.on("data", (chunk: Buffer) => chunks.push(chunk))
      request.on("error", () => {})
      request.on("end", () => {
        const { headers, method = "", url = "" } = request
        const one = { method, url, headers, body: Buffer.concat(chunks) }
        heard.push(one)
        ;(answer(one, heard.length) as (given: typeof response) => void)(response)
      })
    })
    yield* Effect.acquireRelease(
      Effect.async<void>((resume) => void server.listen(0, "127.0.0.1", () => resume(Effect.void))),
      () => Effect.sync(() => server.close().closeAllConnections())
    )
    return { heard, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1` }
  })

/** An answer of JSON. */
export const json =
  (status: number, body: unknown, headers: Record<string, string> = {}): ReturnType<Answer> =>
  (response) =>
    void response.writeHead(status, { "content-type": "application/json", ...headers }).end(JSON.stringify(body))
