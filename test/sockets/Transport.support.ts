import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { HttpClient } from "@effect/platform"
import { NodeHttpClient, Undici } from "@effect/platform-node"
import { Context, Effect, Layer } from "effect"
import { Transport } from "effect-steadfast"
import { NodeTransport } from "effect-steadfast/node"

/** A dispatcher that knows only the handler methods that undici had before version 7, as the one inside Node 20 and 22. */
class Older extends Undici.Dispatcher {
  private readonly agent = new Undici.Agent()

  override dispatch(options: Undici.Dispatcher.DispatchOptions, handler: Undici.Dispatcher.DispatchHandler): boolean {
    return this.agent.dispatch(options, {
      onConnect: (abort) => handler.onConnect?.(abort),
      onHeaders: (status, headers, resume, text) => handler.onHeaders?.(status, headers, resume, text) ?? true,
      onData: (piece) => handler.onData?.(piece) ?? true,
      onComplete: (trailers) => handler.onComplete?.(trailers),
      onError: (cause) => handler.onError?.(cause)
    })
  }

  override destroy = (): Promise<void> => this.agent.destroy()
}

const older = Layer.provide(
  NodeTransport.layerWithoutDispatcher,
  Layer.scoped(
    NodeHttpClient.Dispatcher,
    Effect.acquireRelease(
      Effect.sync(() => new Older()),
      (dispatcher) => Effect.promise(() => dispatcher.destroy())
    )
  )
)

/** Every transport of ours. */
export const transports: ReadonlyArray<readonly [name: string, layer: Layer.Layer<HttpClient.HttpClient>]> = [
  ["fetch", Transport.layerFetch],
  ["undici", NodeTransport.layer],
  ["undici before 7", older]
]

/** The transport of the client at hand. */
export const transport = Effect.flatMap(HttpClient.HttpClient, (client) => {
  const found = Transport.of(client)
  return found === undefined ? Effect.dieMessage("the client has no transport") : Effect.succeed(found)
})

/** A server on a free port, for as long as the scope lives. */
export const serving = (answer: (request: IncomingMessage, response: ServerResponse) => void) =>
  Effect.acquireRelease(
    Effect.async<{ readonly url: string; readonly close: () => void }>((resume) => {
      const server = createServer((request, response) => {
        response.on("error", () => {})
        request.resume()
        answer(request, response)
      })
      server.listen(0, "127.0.0.1", () => {
        const { port } = server.address() as AddressInfo
        const close = () => {
          server.closeAllConnections()
          server.close()
        }
        resume(Effect.succeed({ url: `http://127.0.0.1:${port}`, close }))
      })
    }),
    ({ close }) => Effect.sync(close)
  )

/** What a listener was told, in order. `pieces` are joined. */
export interface Told {
  readonly order: Array<string>
  readonly pieces: Array<Uint8Array>
  status: number
  headers: Readonly<Record<string, string | undefined>>
  text: string
  cause: unknown
  stage: string
}

/** Sends, and listens until the last word. `goOn` answers each piece. */
export const listen = (
  self: Transport.Transport,
  url: string,
  form: "text" | "data",
  options: {
    readonly goOn?: (told: Told, exchange: () => Transport.Exchange) => boolean
    readonly context?: Context.Context<never>
    readonly body?: string
  } = {}
) => {
  const told: Told = { order: [], pieces: [], status: 0, headers: {}, text: "", cause: undefined, stage: "" }
  let done = (): void => {}
  const last = new Promise<Told>((resolve) => {
    done = () => resolve(told)
  })
  const exchange: Transport.Exchange = self.send(
    {
      method: options.body === undefined ? "GET" : "POST",
      url,
      headers: { "x-own": "1" },
      body: options.body,
      maxBytes: 16 * 1024 * 1024
    },
    {
      head: (status, headers) => {
        told.order.push("head")
        told.status = status
        told.headers = headers
        return form
      },
      text: (text) => {
        told.order.push("text")
        told.text = text
        done()
      },
      data: (piece) => {
        told.order.push("data")
        told.pieces.push(piece)
        return options.goOn?.(told, () => exchange) ?? true
      },
      end: () => {
        told.order.push("end")
        done()
      },
      failed: (cause, stage) => {
        told.order.push("failed")
        told.cause = cause
        told.stage = stage
        done()
      }
    },
    options.context ?? Context.empty()
  )
  return { told, exchange, last: Effect.promise(() => last) }
}
