/**
 * A small server that tells metrics to Prometheus. It needs Node, and loads its modules only when it starts.
 *
 * @since 0.2.0
 */

import type { IncomingMessage, ServerResponse } from "node:http"
import { ServeError } from "@effect/platform/HttpServerError"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { contentType, current } from "./PrometheusText.js"

const answer = (request: IncomingMessage, response: ServerResponse): void => {
  const [path] = (request.url ?? "").split("?", 1)
  const plain = { "content-type": "text/plain; charset=utf-8" }
  if (path !== "/metrics") {
    response.writeHead(404, plain).end("the metrics are at /metrics\n")
  } else if (request.method !== "GET" && request.method !== "HEAD") {
    response.writeHead(405, { ...plain, allow: "GET, HEAD" }).end("GET only\n")
  } else {
    response.writeHead(200, { "content-type": contentType, "cache-control": "no-store" })
    response.end(request.method === "HEAD" ? undefined : current())
  }
}

/**
 * Serves `GET /metrics` for as long as the scope is open. Fails if the port cannot be had.
 *
 * @internal
 */
export const serve = (host: string, port: number): Effect.Effect<void, ServeError, Scope.Scope> =>
  Effect.flatMap(
    Effect.promise(() => import("node:http")),
    (http) =>
      Effect.acquireRelease(
        Effect.async<ReturnType<typeof http.createServer>, ServeError>((resume) => {
          const server = http.createServer(answer)
          server.once("error", (cause) => resume(Effect.fail(new ServeError({ cause }))))
          server.listen(port, host, () => {
            // Later errors are of single connections; without a listener they would end the process.
            server.on("error", () => {})
            resume(Effect.succeed(server))
          })
        }),
        (server) =>
          Effect.async<void>((resume) => {
            server.close(() => resume(Effect.void))
            server.closeAllConnections()
          })
      ).pipe(
        Effect.tap((server) => {
          const address = server.address()
          const bound = typeof address === "object" && address !== null ? address.port : port
          return Effect.logInfo(`metrics at http://${host.includes(":") ? `[${host}]` : host}:${bound}/metrics`)
        }),
        Effect.asVoid
      )
  )
