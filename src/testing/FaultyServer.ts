/**
 * The faulty provider on a real socket, for faults that only a socket shows: RST before and inside a body, a connection
 * that closes in the middle, a client that hangs up.
 *
 * It follows the same plans as the provider in process. Node only; Node's modules are loaded when {@link serve} runs,
 * so other platforms can import this file.
 *
 * Gotchas: a reset can discard bytes that the client has not read yet, or look like a plain end; so the server waits
 * 10 ms of real time between the last byte and the reset. Delays run on the Clock of {@link serve}: use the real Clock
 * (`it.live`), because sockets do not wait for a `TestClock`.
 *
 * @example
 * import { Effect } from "effect"
 * import { Fault, FaultyProvider } from "effect-steadfast/testing"
 *
 * const program = Effect.gen(function* () {
 *   const server = yield* FaultyProvider.serve({ script: [Fault.resetInBody()] })
 *   const response = yield* Effect.promise(() => fetch(`${server.url}/v1/chat/completions`, { method: "POST" }))
 *   return yield* Effect.tryPromise(() => response.text()) // fails: terminated
 * }).pipe(Effect.scoped)
 *
 * @since 0.1.0
 */

import type { IncomingMessage, ServerResponse } from "node:http"
import * as Effect from "effect/Effect"
import * as FiberId from "effect/FiberId"
import * as FiberSet from "effect/FiberSet"
import type * as Scope from "effect/Scope"
import * as Core from "./Core.js"
import * as Plan from "./Plan.js"

/**
 * The behaviour of a provider, and its address.
 *
 * @since 0.1.0
 * @category models
 */
export interface ServeOptions extends Core.Options {
  /** The port. Default 0: any free port. */
  readonly port?: number | undefined
  /** The address to listen on. Default `127.0.0.1`. */
  readonly host?: string | undefined
}

/**
 * A faulty provider that listens on a socket.
 *
 * @since 0.1.0
 * @category models
 */
export interface Served extends Core.Control {
  /** The URL without a path: `http://127.0.0.1:40123`. */
  readonly url: string
  /** The port. */
  readonly port: number
}

// Long enough for a client on the same machine to read all bytes. If libuv polls bytes and a reset together, it reports
// bytes and an end.
const lingerMillis = 10

const readBody = (request: IncomingMessage): Promise<string> =>
  new Promise((resolve, reject) => {
    const chunks: Array<Uint8Array> = []
    request.on("data", (chunk: Uint8Array) => chunks.push(chunk))
    request.on("end", () => {
      const decoder = new TextDecoder()
      resolve(chunks.map((chunk) => decoder.decode(chunk, { stream: true })).join("") + decoder.decode())
    })
    request.on("error", reject)
  })

const headersOf = (request: IncomingMessage): Record<string, string> =>
  Object.fromEntries(
    Object.entries(request.headers).flatMap(([name, value]) =>
      value === undefined ? [] : [[name, typeof value === "string" ? value : value.join(", ")]]
    )
  )

/** A page of any origin may ask, and read all headers, as with the providers themselves. */
const anyOrigin = { "access-control-allow-origin": "*", "access-control-expose-headers": "*" }

/** Answers the question of a browser before its request. It takes no step, and is not recorded. */
const allow = (request: IncomingMessage, response: ServerResponse) => {
  response.writeHead(204, {
    ...anyOrigin,
    "access-control-allow-methods": "GET, POST",
    "access-control-allow-headers": request.headers["access-control-request-headers"] ?? "*",
    "access-control-max-age": "600"
  })
  response.end()
}

const sendHead = (response: ServerResponse, plan: Plan.Plan, head: NonNullable<Plan.Plan["head"]>) => {
  const framed: Record<string, string> = { ...anyOrigin, ...head.headers }
  switch (plan.framing) {
    case "content-length":
      framed["content-length"] = String(plan.pieces.reduce((sum, piece) => sum + Plan.bytes(piece).length, 0))
      break
    case "overstated-length":
      framed["content-length"] = String(plan.whole)
      break
    case "close":
      framed.connection = "close"
      // Without a length and chunks, the end of the connection is the end of the body.
      response.useChunkedEncodingByDefault = false
      break
    case "chunked":
      break
  }
  response.writeHead(head.status, framed)
  response.flushHeaders()
}

const write = (response: ServerResponse, data: Uint8Array): Effect.Effect<void> =>
  Effect.async((resume) => {
    // An error means that the connection is gone; the close event reports that.
    response.write(data, () => resume(Effect.void))
  })

const linger = Effect.async<void>((resume) => {
  let next: ReturnType<typeof setImmediate> | undefined
  // If the timer of a busy event loop is late, a client in this process may not have run: two turns of the loop let it.
  const turn = (left: number) => {
    next = setImmediate(() => (left > 0 ? turn(left - 1) : resume(Effect.void)))
  }
  const timer = setTimeout(() => turn(1), lingerMillis)
  return Effect.sync(() => {
    clearTimeout(timer)
    clearImmediate(next)
  })
})

const now = Effect.clockWith((clock) => clock.currentTimeMillis)

const follow = Effect.fnUntraced(function* (exchange: Core.Exchange, response: ServerResponse) {
  const { plan } = exchange
  if (plan.wait > 0) yield* Effect.sleep(plan.wait)
  if (plan.head === undefined) {
    if (plan.ending === "stall") return
    exchange.finished(yield* now)
    response.socket?.resetAndDestroy()
    return
  }
  sendHead(response, plan, plan.head)
  exchange.headSent()
  const start = yield* now
  for (const piece of plan.pieces) {
    const early = start + piece.at - (piece.at === 0 ? start : yield* now)
    if (early > 0) yield* Effect.sleep(early)
    yield* write(response, Plan.bytes(piece))
  }
  switch (plan.ending) {
    case "stall": {
      const { pulse } = plan
      if (pulse === undefined) return
      const bytes = Plan.bytes({ at: 0, data: pulse.data })
      return yield* Effect.forever(Effect.zipRight(Effect.sleep(pulse.every), write(response, bytes)))
    }
    case "reset": {
      yield* linger
      exchange.finished(yield* now)
      response.socket?.resetAndDestroy()
      return
    }
    case "end": {
      exchange.finished(yield* now)
      if (plan.framing === "overstated-length") response.socket?.end()
      else response.end()
    }
  }
})

/**
 * A faulty provider on a socket. Closing the scope closes the socket and every connection. Dies when it cannot listen.
 *
 * @since 0.1.0
 * @category constructors
 */
export const serve = Effect.fnUntraced(function* (
  options: ServeOptions = {}
): Effect.fn.Return<Served, never, Scope.Scope> {
  const http = yield* Effect.promise(() => import("node:http"))
  const core = yield* Core.make(options)
  const clock = yield* Effect.clock
  const run = yield* FiberSet.makeRuntime<never>()
  const host = options.host ?? "127.0.0.1"
  let closing = false

  const handle = (request: IncomingMessage, response: ServerResponse) => {
    if (request.method === "OPTIONS") return allow(request, response)
    readBody(request).then(
      (text) => {
        const exchange = core.accept(
          {
            method: request.method ?? "GET",
            url: request.url ?? "/",
            host: request.headers.host,
            headers: headersOf(request),
            body: Core.parseBody(text)
          },
          clock.unsafeCurrentTimeMillis()
        )
        const fiber = run(follow(exchange, response))
        response.on("close", () => {
          if (closing) return
          exchange.hungUp(clock.unsafeCurrentTimeMillis())
          fiber.unsafeInterruptAsFork(FiberId.none)
        })
        // A write to a connection that is gone; the close event reports that.
        response.on("error", () => {})
      },
      // A client that goes away before its request is complete leaves no record.
      () => {}
    )
  }

  const server = http.createServer(handle)
  yield* Effect.acquireRelease(
    Effect.async<void>((resume) => {
      server.once("error", (error) => resume(Effect.die(error)))
      server.listen(options.port ?? 0, host, () => resume(Effect.void))
    }),
    () =>
      Effect.async<void>((resume) => {
        closing = true
        server.close(() => resume(Effect.void))
        server.closeAllConnections()
      })
  )
  const address = server.address()
  const port = typeof address === "object" && address !== null ? address.port : 0
  return {
    url: `http://${host}:${port}`,
    port,
    requests: core.requests,
    until: core.until,
    become: core.become,
    reset: core.reset
  }
})
