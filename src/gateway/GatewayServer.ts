/**
 * A gateway on a port: `node:http`, bounds of connections, reload and an end in order.
 *
 * - A client that sends its request too slowly is cut off; so is one that reads nothing.
 * - {@link Running.drain} takes no new connections, lets running answers end within a bound, and closes what is left.
 *
 * @since 0.2.0
 */

import { createServer, type Server } from "node:http"
import { type AddressInfo, Server as NetServer } from "node:net"
import type { Duplex } from "node:stream"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Gateway } from "./Gateway.js"

/**
 * The gateway cannot listen.
 *
 * @since 0.2.0
 * @category errors
 */
export class ListenError extends Data.TaggedError("ListenError")<{
  readonly host: string
  readonly port: number
  readonly cause: unknown
}> {
  override get message(): string {
    const { code } = (this.cause ?? {}) as { readonly code?: unknown }
    if (code === "EADDRINUSE") return `port ${this.port} of ${this.host} is taken; choose another with --port`
    if (code === "EACCES") return `port ${this.port} of ${this.host} is not allowed; choose another with --port`
    return `cannot listen on ${this.host}, port ${this.port}: ${String(code ?? this.cause)}`
  }
}

/**
 * A gateway that listens.
 *
 * @since 0.2.0
 * @category models
 */
export interface Running {
  /** The address, as a URL. */
  readonly url: string
  readonly port: number
  /** Stops: no new connections, running answers end within the configured time, then all is closed. */
  readonly drain: Effect.Effect<void>
}

/** The head of a request has so long, whatever the body may take. */
const headersMillis = 60_000

/** How often connections are looked at for their time. */
const checkMillis = 2000

const badRequest = (status: string): string =>
  `HTTP/1.1 ${status}\r\nconnection: close\r\ncontent-type: application/json\r\nx-should-retry: false\r\n\r\n` +
  JSON.stringify({
    type: "error",
    error: { type: "invalid_request_error", message: `this is no HTTP request: ${status}` }
  })

/** Tells a client what was wrong with its HTTP, as far as it listens. */
const onClientError = (error: Error & { readonly code?: string }, socket: Duplex): void => {
  // In an answer that has begun it would be read as a part of it.
  const { _httpMessage: answer } = socket as { readonly _httpMessage?: { readonly headersSent: boolean } | null }
  if (!socket.writable || error.code === "ECONNRESET" || answer?.headersSent === true) {
    socket.destroy()
    return
  }
  const status =
    error.code === "HPE_HEADER_OVERFLOW"
      ? "431 Request Header Fields Too Large"
      : error.code === "ERR_HTTP_REQUEST_TIMEOUT"
        ? "408 Request Timeout"
        : "400 Bad Request"
  socket.end(badRequest(status), () => socket.destroy())
}

const listening = (server: Server, host: string, port: number): Effect.Effect<AddressInfo, ListenError> =>
  Effect.async((resume) => {
    const failed = (cause: unknown): void => resume(Effect.fail(new ListenError({ host, port, cause })))
    server.once("error", failed)
    server.listen({ host, port, backlog: 2048 }, () => {
      server.off("error", failed)
      resume(Effect.succeed(server.address() as AddressInfo))
    })
  })

const shownHost = (host: string): string => (host.includes(":") ? `[${host}]` : host)

/**
 * Listens until the scope closes, and then closes all connections at once; {@link Running.drain} goes before.
 *
 * @since 0.2.0
 * @category running
 */
export const listen = (
  gateway: Gateway,
  at: { readonly host?: string | undefined; readonly port?: number | undefined } = {}
): Effect.Effect<Running, ListenError, Scope.Scope> =>
  Effect.gen(function* () {
    const { server: settings } = gateway.config()
    const { host = settings.host, port = settings.port } = at
    const requestTimeout = Duration.toMillis(settings.requestTimeout)
    const server = createServer(
      {
        requestTimeout,
        headersTimeout: Math.min(headersMillis, requestTimeout),
        keepAliveTimeout: Duration.toMillis(settings.keepAlive),
        connectionsCheckingInterval: checkMillis
      },
      gateway.handle
    )
    server.maxConnections = settings.maxConnections
    server.on("clientError", onClientError)
    const address = yield* Effect.acquireRelease(listening(server, host, port), () =>
      Effect.async<void>((resume) => {
        server.close(() => resume(Effect.void))
        server.closeAllConnections()
      })
    )
    const idle = Effect.repeat(
      Effect.sync(() => {
        server.closeIdleConnections()
        return gateway.running() === 0
      }).pipe(Effect.delay("25 millis")),
      { until: (isIdle) => isIdle }
    )
    const drain = Effect.suspend(() => {
      gateway.stopping()
      // Not that of `node:http`, which at once breaks off connections whose request has come but was not read yet.
      NetServer.prototype.close.call(server)
      // A finalizer cannot be interrupted, and so neither what waits in one, unless it says so.
      return Effect.asVoid(Effect.timeoutOption(Effect.interruptible(idle), gateway.config().server.drain))
    })
    return { url: `http://${shownHost(host)}:${address.port}`, port: address.port, drain }
  })
