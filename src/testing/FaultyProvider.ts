/**
 * A provider that fails on purpose: it follows a script of faults and replies, knows the providers' wire formats, and
 * records every request. In process it is an `HttpClient`, so a test needs no port and runs under `TestClock`; `serve`
 * does the same on a socket with real connections.
 *
 * Give `client` to a model, or `layer` to a program. The path of a request decides the format (`…/chat/completions`,
 * `…/responses`, `…/messages`, `…:generateContent`, `…:streamGenerateContent`, `…/embeddings`, `…:batchEmbedContents`,
 * `GET …/models`). So one provider can stand for several, with `rules` to tell their models or keys apart. A known host
 * such as `api.openai.com` serves its own paths only: without `/v1` it answers 404, as in production.
 *
 * A request for embeddings takes a step of the script like any other. Its vectors are made from the texts: the same
 * text has the same vector in every run. A list of models names the words of the reply's text.
 *
 * A response that was streamed with `background: true` is kept, and `GET …/responses/{id}` returns the rest of it. Such
 * a request takes a step of the script too: a fault applies to that rest.
 *
 * Gotchas: delays run on the Clock, so under `TestClock` a slow reply needs `TestClock.adjust`, and `Fault.hang` needs
 * a timeout in the client. A request counts as hung up if the client goes away before everything is sent; a response
 * that is sent at once never is. A response that is not read is aborted when it is garbage-collected, as with `fetch`.
 * Requests are recorded with their keys in clear text.
 *
 * @example
 * import { HttpClientRequest } from "@effect/platform"
 * import { Effect } from "effect"
 * import { Fault, FaultyProvider, Reply } from "effect-steadfast/testing"
 *
 * const program = Effect.gen(function* () {
 *   const provider = yield* FaultyProvider.make({ script: [Fault.status(503), Reply.text("hi")] })
 *   const ask = HttpClientRequest.post("https://api.openai.com/v1/chat/completions").pipe(
 *     HttpClientRequest.bodyUnsafeJson({ model: "gpt-4o-mini", messages: [] }),
 *     provider.client.execute
 *   )
 *   const statuses = [(yield* ask).status, (yield* ask).status] // [503, 200]
 *   return { statuses, requests: yield* provider.requests }
 * })
 *
 * @since 0.1.0
 */

import * as Headers from "@effect/platform/Headers"
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientError from "@effect/platform/HttpClientError"
import type * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import type * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as Core from "./Core.js"
import * as InProcessResponse from "./InProcessResponse.js"
import * as Plan from "./Plan.js"

export type { Control, Options, RecordedRequest } from "./Core.js"
export { type Served, type ServeOptions, serve } from "./FaultyServer.js"
export type { Answer } from "./Script.js"
export type { WireRequest } from "./wire/Wire.js"

/**
 * A faulty provider in process: its client and its controls.
 *
 * @since 0.1.0
 * @category models
 */
export interface Provider extends Core.Control {
  /** Answers requests to any host. */
  readonly client: HttpClient.HttpClient
}

/**
 * The provider behind the `HttpClient` of {@link layer}.
 *
 * @since 0.1.0
 * @category tags
 */
export class FaultyProvider extends Context.Tag("effect-steadfast/FaultyProvider")<FaultyProvider, Provider>() {}

const decoder = new TextDecoder()

const readBody = (request: HttpClientRequest.HttpClientRequest): unknown => {
  const body = request.body
  switch (body._tag) {
    case "Empty":
    case "Stream":
      return undefined
    case "Uint8Array":
      return Core.parseBody(decoder.decode(body.body))
    case "Raw":
      return typeof body.body === "string" ? Core.parseBody(body.body) : body.body
    case "FormData":
      return body.formData
  }
}

const readStream = (request: HttpClientRequest.HttpClientRequest, stream: Stream.Stream<Uint8Array, unknown>) =>
  stream.pipe(
    Stream.decodeText(),
    Stream.mkString,
    Effect.mapBoth({
      onFailure: (cause) => new HttpClientError.RequestError({ request, reason: "Encode", cause }),
      onSuccess: Core.parseBody
    })
  )

/** The error of Node's `fetch` if there is no response. */
const noResponse = (request: HttpClientRequest.HttpClientRequest, code: string) =>
  new HttpClientError.RequestError({
    request,
    reason: "Transport",
    cause: new TypeError("fetch failed", { cause: InProcessResponse.networkError(code) })
  })

const answer = (
  exchange: Core.Exchange,
  request: HttpClientRequest.HttpClientRequest,
  signal: AbortSignal,
  clock: Clock.Clock
): Effect.Effect<InProcessResponse.InProcessResponse, HttpClientError.HttpClientError> => {
  const { plan } = exchange
  const head = plan.head
  if (head === undefined) {
    return plan.ending === "stall"
      ? Effect.never
      : Effect.suspend(() => {
          exchange.finished(clock.unsafeCurrentTimeMillis())
          return Effect.fail(noResponse(request, plan.code ?? "ECONNRESET"))
        })
  }
  return Effect.sync(() => {
    const now = clock.unsafeCurrentTimeMillis()
    exchange.headSent()
    if (Plan.isImmediate(plan)) {
      exchange.finished(now)
    } else {
      signal.addEventListener("abort", () => exchange.hungUp(clock.unsafeCurrentTimeMillis()), { once: true })
    }
    return new InProcessResponse.InProcessResponse(
      request,
      head.status,
      Headers.fromInput(head.headers),
      exchange,
      signal,
      clock
    )
  })
}

const makeClient = (core: Core.Core): HttpClient.HttpClient =>
  HttpClient.make((request, url, signal) => {
    const respond = (body: unknown) =>
      Effect.clockWith((clock) => {
        const exchange = core.accept(
          {
            method: request.method,
            url: url.pathname + url.search,
            host: url.host,
            headers: { ...request.headers },
            body
          },
          clock.unsafeCurrentTimeMillis()
        )
        const answered = answer(exchange, request, signal, clock)
        if (exchange.plan.wait === 0 && exchange.plan.head !== undefined) return answered
        return Effect.zipRight(Effect.sleep(exchange.plan.wait), answered).pipe(
          Effect.onInterrupt(() => Effect.sync(() => exchange.hungUp(clock.unsafeCurrentTimeMillis())))
        )
      })
    return request.body._tag === "Stream"
      ? Effect.flatMap(readStream(request, request.body.stream), respond)
      : respond(readBody(request))
  })

/**
 * A faulty provider in process. Without options it answers `ok` to every request.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: Core.Options = {}): Effect.Effect<Provider> =>
  Effect.map(Core.make(options), (core) => ({
    client: makeClient(core),
    requests: core.requests,
    until: core.until,
    become: core.become,
    reset: core.reset
  }))

/**
 * A faulty provider as the `HttpClient` of a program; {@link FaultyProvider} gives access to its requests.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Core.Options = {}): Layer.Layer<HttpClient.HttpClient | FaultyProvider> =>
  Layer.effectContext(
    Effect.map(make(options), (provider) =>
      Context.make(FaultyProvider, provider).pipe(Context.add(HttpClient.HttpClient, provider.client))
    )
  )
