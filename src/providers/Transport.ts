/**
 * How a request reaches a provider: three ways, one of them chosen by the application's `HttpClient`.
 *
 * A {@link Transport} sends a request and tells a {@link Listener} what comes back, in callbacks: no span, no scope, no
 * fiber. It rides on an `HttpClient`, as a mark on the client object. {@link layerFetch}, and `NodeTransport.layer` of
 * `effect-steadfast/node`, provide an ordinary client of platform that is marked.
 *
 * Gotchas: a client that is transformed (`mapRequest`, `retry`, a proxy, a test provider) is another object without the
 * mark. Its requests go through `HttpClient.execute`, so nothing that was added to it is passed by.
 *
 * @example
 * import { Config, Effect } from "effect"
 * import { Chat, OpenAi, Transport } from "effect-steadfast"
 *
 * const answer = OpenAi.make({ model: "gpt-4o-mini", apiKey: Config.redacted("OPENAI_API_KEY") }).pipe(
 *   Effect.flatMap((gpt) => gpt.generate(Chat.prompt("Hello"))),
 *   Effect.provide(Transport.layerFetch)
 * )
 *
 * @since 0.2.0
 */

import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import * as HttpClient from "@effect/platform/HttpClient"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Classify from "../errors/Classify.js"
import type * as RetryHint from "../errors/RetryHint.js"
import * as BodyText from "./http/BodyText.js"

// -----------------------------------------------------------------------------
// models
// -----------------------------------------------------------------------------

/**
 * A request.
 *
 * @since 0.2.0
 * @category models
 */
export interface Request {
  readonly method: "GET" | "POST"
  readonly url: string
  /** Names in lower case. They hold the key: they get into no error, log or span. */
  readonly headers: Readonly<Record<string, string>>
  /** The whole body, or none. */
  readonly body: string | undefined
  /** The most bytes of a response that are held as one text. */
  readonly maxBytes: number
}

/**
 * The receiver of a response. `head` comes first, then, as it answers, one `text` or any number of `data`. Exactly one
 * of `text`, `end` and `failed` is the last. After `Exchange.abort` nothing is told. No function may throw.
 *
 * @since 0.2.0
 * @category models
 */
export interface Listener {
  /** Status, and headers with names in lower case. Answers whether it wants the body as one text, or in pieces. */
  readonly head: (status: number, headers: RetryHint.Headers) => "text" | "data"
  /**
   * The body, decoded as UTF-8 without its byte order mark. If it has more than `Request.maxBytes`, it is its
   * beginning, `isWhole` is `false`, and the connection is closed.
   */
  readonly text: (text: string, isWhole: boolean) => void
  /** A piece of the body. `false` stops the pieces until `Exchange.resume`; a few may still be on their way. */
  readonly data: (piece: Uint8Array) => boolean
  /** The end of the pieces. */
  readonly end: () => void
  /** A failure, and the stage that it broke. */
  readonly failed: (cause: unknown, stage: Exclude<Classify.Stage, "decode">) => void
}

/**
 * A request that was sent.
 *
 * @since 0.2.0
 * @category models
 */
export interface Exchange {
  /** Closes the connection, unless the response was read to its end. */
  readonly abort: () => void
  /** Goes on with the pieces after a `data` that answered `false`. */
  readonly resume: () => void
}

/**
 * A way to send requests. `context` is the context of the fiber that waits, for services that a client reads there.
 *
 * @since 0.2.0
 * @category models
 */
export interface Transport {
  readonly send: (request: Request, listener: Listener, context: Context.Context<never>) => Exchange
}

// -----------------------------------------------------------------------------
// marks
// -----------------------------------------------------------------------------

const marks = new WeakMap<HttpClient.HttpClient, Transport>()

/**
 * The transport of a client; `undefined` for a client without a mark.
 *
 * @since 0.2.0
 * @category getters
 */
export const of = (client: HttpClient.HttpClient): Transport | undefined => marks.get(client)

/**
 * A layer whose client is marked: the models over it send through the transport, everybody else through the client.
 * Both must reach the same servers in the same way. `make` gets the context in which the layer is built.
 *
 * @since 0.2.0
 * @category layers
 */
export const layer = <E, R, E2, R2>(
  client: Layer.Layer<HttpClient.HttpClient, E, R>,
  make: (context: Context.Context<never>) => Effect.Effect<Transport, E2, R2>
): Layer.Layer<HttpClient.HttpClient, E | E2, R | R2> =>
  Layer.effect(
    HttpClient.HttpClient,
    Effect.gen(function* () {
      const own = yield* HttpClient.HttpClient
      marks.set(own, yield* make(yield* Effect.context<never>()))
      return own
    })
    // Fresh: the mark stays on a client of its own, also where the application uses the same layer without it.
  ).pipe(Layer.provide(Layer.fresh(client)))

// -----------------------------------------------------------------------------
// fetch
// -----------------------------------------------------------------------------

const ignore = (): void => {}

const plain = (headers: Headers): RetryHint.Headers => {
  const record: Record<string, string> = {}
  headers.forEach((value, name) => {
    record[name] = value
  })
  return record
}

const initOf = (init: RequestInit, { body, headers, method }: Request, signal: AbortSignal): RequestInit => {
  const own: Record<string, string> = {}
  if (init.headers !== undefined) {
    new Headers(init.headers).forEach((value, name) => {
      if (name !== "content-length") own[name] = value
    })
  }
  // A redirect is an answer: the key in the headers belongs to this server and no other.
  return { redirect: "manual", ...init, method, headers: Object.assign(own, headers), body: body ?? null, signal }
}

/** Over `fetch`. Platform's `Fetch` and `RequestInit` are those of the call's context, or else of the layer's. */
const overFetch = (layered: Context.Context<never>): Transport => ({
  send: (request, listener, context) => {
    const service = <A>({ key }: { readonly key: string }): A | undefined =>
      context.unsafeMap.get(key) ?? layered.unsafeMap.get(key)
    const controller = new AbortController()
    let reader: ReadableStreamDefaultReader<Uint8Array> | undefined
    let over = false

    const last = <A>(tell: (value: A) => void) => {
      return (value: A): void => {
        if (over) return
        over = true
        tell(value)
      }
    }
    const read = (from: ReadableStreamDefaultReader<Uint8Array>): void => {
      from.read().then(onRead, broken)
    }
    const onRead = (next: ReadableStreamReadResult<Uint8Array>): void => {
      if (over) return
      if (next.done) ended()
      else if (listener.data(next.value) && reader !== undefined) read(reader)
    }
    const ended = last<void>(listener.end)
    const broken = last((cause: unknown) => listener.failed(cause, "stream"))
    const unsent = last((cause: unknown) => listener.failed(cause, "before-headers"))
    const readText = (from: ReadableStreamDefaultReader<Uint8Array>): void => {
      const body = BodyText.make(request.maxBytes)
      const told = last<void>(() => listener.text(body.text(), body.isWhole()))
      const failed = last((cause: unknown) => listener.failed(cause, "body"))
      const take = (next: ReadableStreamReadResult<Uint8Array>): void => {
        if (over) return
        if (next.done) told()
        else if (body.push(next.value)) from.read().then(take, failed)
        else {
          told()
          controller.abort()
          from.cancel().catch(ignore)
        }
      }
      from.read().then(take, failed)
    }
    const answered = (response: Response): void => {
      if (over) {
        response.body?.cancel().catch(ignore)
      } else if (listener.head(response.status, plain(response.headers)) === "text") {
        if (response.body === null) last<void>(() => listener.text("", true))()
        else {
          reader = response.body.getReader()
          readText(reader)
        }
      } else if (response.body === null) {
        ended()
      } else {
        reader = response.body.getReader()
        read(reader)
      }
    }

    try {
      const fetch = service<typeof globalThis.fetch>(FetchHttpClient.Fetch) ?? globalThis.fetch
      const init = service<RequestInit>(FetchHttpClient.RequestInit) ?? {}
      fetch(request.url, initOf(init, request, controller.signal)).then(answered, unsent)
    } catch (cause) {
      unsent(cause)
    }
    return {
      abort: () => {
        if (over) return
        over = true
        controller.abort()
        // The body of a `fetch` that heeds no signal.
        reader?.cancel().catch(ignore)
      },
      resume: () => {
        if (!over && reader !== undefined) read(reader)
      }
    }
  }
})

/**
 * Platform's client over `fetch`, with the fast transport: for any runtime, also browsers and edge workers. Models
 * follow no redirect over it, unless `FetchHttpClient.RequestInit` says so.
 *
 * @since 0.2.0
 * @category layers
 */
export const layerFetch: Layer.Layer<HttpClient.HttpClient> = /* @__PURE__ */ layer(FetchHttpClient.layer, (context) =>
  Effect.succeed(overFetch(context))
)
