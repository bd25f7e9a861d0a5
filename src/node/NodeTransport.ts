/**
 * Node's transport: straight to undici's dispatcher, beside platform's client over the same dispatcher.
 *
 * Timeouts are left to the policies: as with platform's client, undici waits an hour for headers and without end for a
 * body. Only its connect timeout (10 s by default) is in force.
 *
 * Gotchas: undici asks for no compression. A body that comes compressed anyway is unpacked. The context of
 * `AsyncLocalStorage` is the caller's, as with undici's own `request`. In Bun, where undici is a stub, {@link layer} is
 * `Transport.layerFetch`.
 *
 * @example
 * import { Config, Effect } from "effect"
 * import { Chat, OpenAi } from "effect-steadfast"
 * import { NodeTransport } from "effect-steadfast/node"
 *
 * const answer = OpenAi.make({ model: "gpt-4o-mini", apiKey: Config.redacted("OPENAI_API_KEY") }).pipe(
 *   Effect.flatMap((gpt) => gpt.generate(Chat.prompt("Hello"))),
 *   Effect.provide(NodeTransport.layer)
 * )
 *
 * @since 0.2.0
 */

import { AsyncResource } from "node:async_hooks"
import type { Transform } from "node:stream"
import * as Zlib from "node:zlib"
import type * as HttpClient from "@effect/platform/HttpClient"
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import * as Undici from "@effect/platform-node/Undici"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as BodyText from "../providers/http/BodyText.js"
import * as Transport from "../providers/Transport.js"

type Controller = Undici.Dispatcher.DispatchController

const syncFlush = { flush: Zlib.constants.Z_SYNC_FLUSH, finishFlush: Zlib.constants.Z_SYNC_FLUSH }

const brotliFlush = { flush: Zlib.constants.BROTLI_OPERATION_FLUSH, finishFlush: Zlib.constants.BROTLI_OPERATION_FLUSH }

/** What unpacks a body; `undefined` for one that is not packed, or in an unknown way. */
const unpacker = (encoding: string | undefined): Transform | undefined => {
  switch (encoding?.trim().toLowerCase()) {
    case "gzip":
    case "x-gzip":
      return Zlib.createGunzip(syncFlush)
    case "deflate":
      return Zlib.createInflate(syncFlush)
    case "br":
      return Zlib.createBrotliDecompress(brotliFlush)
    default:
      return undefined
  }
}

type Received = Readonly<Record<string, string | ReadonlyArray<string> | undefined>>

const joined = (headers: Received): Record<string, string | undefined> => {
  const record: Record<string, string | undefined> = {}
  for (const name in headers) {
    const value = headers[name]
    record[name] = typeof value === "object" ? value.join(", ") : value
  }
  return record
}

/**
 * The handler of one request. It has undici's handler methods of version 7 and 8, and at the end the older ones: the
 * global dispatcher of Node 20 and 22, for one, knows only those.
 */
class Dispatched extends AsyncResource implements Transport.Exchange, Undici.Dispatcher.DispatchHandler {
  private readonly listener: Transport.Listener
  private controller: Controller | undefined
  private over = false
  private stage: "connect" | "before-headers" | "body" | "stream" = "connect"
  private unpacking: Transform | undefined
  private readonly body: BodyText.BodyText

  constructor(listener: Transport.Listener, maxBytes: number) {
    super("STEADFAST_EXCHANGE")
    this.listener = listener
    this.body = BodyText.make(maxBytes)
  }

  readonly abort = (): void => {
    if (this.over) return
    this.over = true
    this.hangUp()
  }

  readonly resume = (): void => {
    if (this.over) return
    if (this.unpacking === undefined) this.controller?.resume()
    else this.unpacking.resume()
  }

  failed(cause: unknown, stage: Parameters<Transport.Listener["failed"]>[1] = this.stage): void {
    if (this.over) return
    this.over = true
    this.unpacking?.destroy()
    this.runInAsyncScope(() => this.listener.failed(cause, stage))
  }

  private hangUp(): void {
    this.unpacking?.destroy()
    this.controller?.abort(new Error("the request was aborted"))
  }

  private take(piece: Uint8Array): boolean {
    if (this.over) return true
    if (this.stage === "stream") return this.runInAsyncScope(this.listener.data, undefined, piece)
    if (!this.body.push(piece)) {
      this.end()
      this.hangUp()
    }
    return true
  }

  private end(): void {
    if (this.over) return
    this.over = true
    if (this.stage === "stream") {
      this.runInAsyncScope(this.listener.end)
    } else {
      this.runInAsyncScope(this.listener.text, undefined, this.body.text(), this.body.isWhole())
    }
  }

  private unpack(unpacking: Transform, controller: Controller): void {
    this.unpacking = unpacking
    unpacking.on("data", (piece: Uint8Array) => {
      if (!this.take(piece)) unpacking.pause()
    })
    unpacking.on("drain", () => controller.resume())
    unpacking.on("end", () => this.end())
    unpacking.on("error", (cause) => {
      this.failed(cause)
      this.hangUp()
    })
  }

  onRequestStart(controller: Controller): void {
    this.controller = controller
    // undici says so when it has a connection, before it writes: whatever fails earlier was not sent.
    this.stage = "before-headers"
    if (this.over) this.hangUp()
  }

  onResponseStart(controller: Controller, status: number, received: Received): void {
    // Before the answer there may be news about it, such as 103.
    if (this.over || status < 200) return
    const headers = joined(received)
    const form = this.runInAsyncScope(this.listener.head, undefined, status, headers)
    this.stage = form === "text" ? "body" : "stream"
    const unpacking = unpacker(headers["content-encoding"])
    if (unpacking !== undefined) this.unpack(unpacking, controller)
  }

  onResponseData(controller: Controller, piece: Uint8Array): void {
    if (this.over) return
    const more = this.unpacking === undefined ? this.take(piece) : this.unpacking.write(piece)
    if (!more) controller.pause()
  }

  onResponseEnd(): void {
    if (this.unpacking === undefined) this.end()
    else this.unpacking.end()
  }

  onResponseError(_: Controller, cause: Error): void {
    this.failed(cause)
  }

  // ---------------------------------------------------------------------------
  // before undici 7
  // ---------------------------------------------------------------------------

  private unpause: () => void = () => {}

  private readonly older: Controller & { paused: boolean } = {
    aborted: false,
    reason: null,
    paused: false,
    abort: () => {},
    pause: () => {
      this.older.paused = true
    },
    resume: () => {
      this.older.paused = false
      this.unpause()
    }
  }

  onConnect(abort: (cause?: Error) => void): void {
    this.older.abort = abort
    this.onRequestStart(this.older)
  }

  onHeaders(status: number, raw: ReadonlyArray<Uint8Array>, resume: () => void): boolean {
    this.unpause = resume
    const headers: Record<string, string> = {}
    for (let i = 0; i + 1 < raw.length; i += 2) {
      const [name = "", value = ""] = raw.slice(i, i + 2).map((bytes) => Buffer.from(bytes).toString("latin1"))
      const key = name.toLowerCase()
      headers[key] = headers[key] === undefined ? value : `${headers[key]}, ${value}`
    }
    this.onResponseStart(this.older, status, headers)
    return !this.older.paused
  }

  onData(piece: Uint8Array): boolean {
    this.onResponseData(this.older, piece)
    return !this.older.paused
  }

  onComplete(): void {
    this.onResponseEnd()
  }

  onError(cause: Error): void {
    this.failed(cause)
  }
}

const send =
  (dispatcher: Undici.Dispatcher, layered: Context.Context<never>): Transport.Transport["send"] =>
  ({ body = null, headers, maxBytes, method, url }, listener, context) => {
    const { key } = NodeHttpClient.UndiciRequestOptions
    const options: Undici.Dispatcher.RequestOptions = context.unsafeMap.get(key) ?? layered.unsafeMap.get(key)
    const exchange = new Dispatched(listener, maxBytes)
    let to: URL
    try {
      to = new URL(url)
    } catch (cause) {
      exchange.failed(cause, "before-send")
      return exchange
    }
    try {
      // The two timeouts are platform's.
      const timeouts = { headersTimeout: 60 * 60 * 1000, bodyTimeout: 0 }
      const own = { method, headers, body, origin: to.origin, path: to.pathname + to.search, ...timeouts }
      dispatcher.dispatch(options === undefined ? own : { ...options, ...own }, exchange)
    } catch (cause) {
      exchange.failed(cause)
    }
    return exchange
  }

/**
 * Platform's undici client with the fast transport, over the application's dispatcher, such as a `ProxyAgent`. It dies
 * where undici has no dispatchers, as in Bun: a proxy must not be passed by.
 *
 * @since 0.2.0
 * @category layers
 */
export const layerWithoutDispatcher: Layer.Layer<HttpClient.HttpClient, never, NodeHttpClient.Dispatcher> =
  Transport.layer(NodeHttpClient.layerUndiciWithoutDispatcher, (context) =>
    Effect.flatMap(NodeHttpClient.Dispatcher, (dispatcher) =>
      typeof dispatcher.dispatch === "function"
        ? Effect.succeed({ send: send(dispatcher, context) })
        : Effect.dieMessage("the undici of this runtime has no dispatchers: use Transport.layerFetch")
    )
  )

/**
 * Platform's undici client with the fast transport, over an `Agent` of its own that lives as long as the layer. In Bun,
 * which replaces undici by a stub without dispatchers, it is `Transport.layerFetch`.
 *
 * @since 0.2.0
 * @category layers
 */
export const layer: Layer.Layer<HttpClient.HttpClient> = Layer.suspend(() =>
  typeof Undici.Agent.prototype.dispatch === "function"
    ? Layer.provide(layerWithoutDispatcher, NodeHttpClient.dispatcherLayer)
    : Transport.layerFetch
)
