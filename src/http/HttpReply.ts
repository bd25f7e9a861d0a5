/**
 * Answers clients over HTTP: a model's answer, whole or streamed, in the dialect of the client.
 *
 * A reply is a value: {@link stream}, {@link answer}, {@link serve} and {@link fail} make it. {@link toWebResponse} and
 * {@link toServerResponse} send it, and `NodeReply` of `effect-steadfast/node` does so on `node:http`.
 *
 * - The status is decided by the first content: an error before it has its own status and a JSON body.
 * - An error after it is the error frame of the dialect, and then the connection is broken off: most clients take a
 *   clean end for a whole answer.
 * - A slow reader slows the provider down, and one that leaves closes the provider's socket at once.
 *
 * Gotchas: put the retries inside of the model. The clients are told not to repeat (`x-should-retry: false`), but not
 * all obey. Behind nginx set `proxy_http_version 1.1`, else a broken answer looks whole to the client.
 *
 * @example
 * import { HttpRouter, HttpServerRequest } from "@effect/platform"
 * import { Effect } from "effect"
 * import type { ChatModel } from "effect-steadfast"
 * import { HttpReply } from "effect-steadfast/http"
 *
 * declare const model: ChatModel.ChatModel
 *
 * const router = HttpRouter.empty.pipe(
 *   HttpRouter.post(
 *     "/v1/chat/completions",
 *     Effect.gen(function* () {
 *       const request = yield* HttpServerRequest.HttpServerRequest
 *       const body = yield* request.json
 *       return yield* HttpReply.toServerResponse(HttpReply.serve("openai", body, () => model))
 *     })
 *   )
 * )
 *
 * @since 0.2.0
 */

import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Runtime from "effect/Runtime"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type * as Chat from "../chat/Chat.js"
import type { ChatModel } from "../chat/Model.js"
import { InvalidRequest, LlmError } from "../errors/LlmError.js"
import * as Pump from "./Pump.js"
import * as RequestBody from "./RequestBody.js"

export type { Options } from "./Pump.js"

// -----------------------------------------------------------------------------
// models
// -----------------------------------------------------------------------------

/**
 * An answer that is to be sent.
 *
 * @since 0.2.0
 * @category models
 */
export interface HttpReply<R = never> {
  readonly work: Pump.Work<R>
  readonly options: Pump.Options
}

/**
 * What answers: a model, or anything with its two methods.
 *
 * @since 0.2.0
 * @category models
 */
export type Answering = Pick<ChatModel, "generate" | "stream">

// -----------------------------------------------------------------------------
// constructors
// -----------------------------------------------------------------------------

/**
 * Answers with a stream of events.
 *
 * @since 0.2.0
 * @category constructors
 */
export const stream = <R = never>(
  events: Stream.Stream<Chat.Event, LlmError, R>,
  options: Pump.Options = {}
): HttpReply<R> => ({ work: { _tag: "Stream", events }, options })

/**
 * Answers with a whole answer.
 *
 * @since 0.2.0
 * @category constructors
 */
export const answer = <R = never>(
  effect: Effect.Effect<Chat.Response, LlmError, R>,
  options: Pump.Options = {}
): HttpReply<R> => ({ work: { _tag: "Answer", answer: effect }, options })

/**
 * Answers with an error.
 *
 * @since 0.2.0
 * @category constructors
 */
export const fail = (error: LlmError, options: Pump.Options = {}): HttpReply => answer(Effect.fail(error), options)

/**
 * Answers the body of a client's request: reads it, asks the model that `modelOf` finds for it, and answers whole or in
 * pieces, as the client asked. `modelOf` returns an error for a request that it does not serve. For a client of Gemini,
 * `model` and `stream` are what its path says.
 *
 * @since 0.2.0
 * @category constructors
 */
export const serve = (
  dialect: RequestBody.Readable,
  body: unknown,
  modelOf: (asked: RequestBody.Asked) => Answering | LlmError,
  options: Omit<Pump.Options, "dialect"> & RequestBody.Options = {}
): HttpReply => {
  const { passTo, stream: streams, ...rest } = options
  const asked = RequestBody.read(dialect, body, { passTo, model: rest.model, stream: streams })
  if (asked instanceof InvalidRequest) return fail(asked, { ...rest, dialect })
  const found = modelOf(asked)
  const own = { includeUsage: asked.includeUsage, ...rest, dialect }
  if (!("generate" in found)) return fail(found, own)
  return asked.stream ? stream(found.stream(asked.request), own) : answer(found.generate(asked.request), own)
}

/**
 * Sends a reply to a connection of your own.
 *
 * @since 0.2.0
 * @category running
 */
export const run = <R>({ options, work }: HttpReply<R>, sink: Pump.Sink): Effect.Effect<void, never, R> =>
  Pump.run(work, sink, options)

// -----------------------------------------------------------------------------
// web
// -----------------------------------------------------------------------------

/** The bytes that may wait for the reader before the provider has to. */
const maxWaiting = 16_384

const encoder = new TextEncoder()

/** The body of a web response, which is read by whoever gets it. */
const webBody = (cancel: () => Promise<void>) => {
  let controller: ReadableStreamDefaultController<Uint8Array> | undefined
  let wake: (() => void) | undefined
  let gone = false
  /** Ends at the reader's next step at which a condition holds. */
  const when = (condition: () => boolean): Effect.Effect<void> =>
    Effect.async((resume) => {
      const look = (): void => {
        if (!gone && !condition()) return
        wake = undefined
        resume(Effect.void)
      }
      wake = look
      look()
      return Effect.sync(() => {
        wake = undefined
      })
    })
  const room = (): number => controller?.desiredSize ?? 0
  const body = new ReadableStream<Uint8Array>(
    {
      start: (given) => {
        controller = given
      },
      pull: () => wake?.(),
      cancel: () => {
        gone = true
        return cancel()
      }
    },
    { highWaterMark: maxWaiting, size: (chunk) => chunk?.byteLength ?? 0 }
  )
  return {
    body,
    write: (text: string): Effect.Effect<void> | undefined => {
      if (gone || text === "") return undefined
      controller?.enqueue(encoder.encode(text))
      return room() > 0 ? undefined : when(() => room() > 0)
    },
    end: (last?: string): void => {
      if (gone) return
      if (last !== undefined && last !== "") controller?.enqueue(encoder.encode(last))
      controller?.close()
    },
    abort: (last: string | undefined): Effect.Effect<void> => {
      if (last !== undefined && last !== "" && !gone) controller?.enqueue(encoder.encode(last))
      // An error throws away what waits: the reader takes that first.
      const taken = last === undefined ? Effect.void : when(() => room() >= maxWaiting)
      return Effect.map(taken, () => {
        if (!gone) controller?.error(new Error("the answer broke off"))
      })
    }
  }
}

/**
 * A web `Response`, for servers that answer with one (Bun, Deno, workers, Hono, Next). The provider waits for the
 * reader; a reader that cancels, or the `signal` of its request, closes the provider's socket.
 *
 * @since 0.2.0
 * @category conversions
 */
export const toWebResponse = <R = never>(
  reply: HttpReply<R>,
  { signal }: { readonly signal?: AbortSignal | undefined } = {}
): Effect.Effect<Response, never, R> =>
  Effect.gen(function* () {
    const runtime = yield* Effect.runtime<R>()
    const head = yield* Deferred.make<Pump.Head>()
    const leave = (): Promise<void> => Runtime.runPromise(runtime)(Effect.asVoid(Fiber.interrupt(sending)))
    const { body, ...sink } = webBody(leave)
    const given: Pump.Sink = { ...sink, head: (one) => Deferred.unsafeDone(head, Exit.succeed(one)) }
    const sending: Fiber.RuntimeFiber<void> = Runtime.runFork(runtime)(run(reply, given))
    const onAbort = (): void => void leave()
    signal?.addEventListener("abort", onAbort, { once: true })
    sending.addObserver(() => signal?.removeEventListener("abort", onAbort))
    if (signal?.aborted === true) onAbort()
    // One that ends without a head was interrupted before it.
    const { headers, status } = yield* Effect.raceFirst(
      Deferred.await(head),
      Effect.zipRight(Fiber.join(sending), Deferred.await(head))
    ).pipe(Effect.onInterrupt(() => Fiber.interrupt(sending)))
    return new Response(body, { status, headers })
  })

// -----------------------------------------------------------------------------
// platform
// -----------------------------------------------------------------------------

/** What the platform's request holds on Node. */
interface NodeSource {
  readonly socket?: { readonly destroySoon?: (() => void) | undefined } | undefined
}

/**
 * A response of `@effect/platform`, in the scope of its request: a client that leaves interrupts the call.
 *
 * @since 0.2.0
 * @category conversions
 */
export const toServerResponse = <R = never>(
  reply: HttpReply<R>
): Effect.Effect<HttpServerResponse.HttpServerResponse, never, R | Scope.Scope | HttpServerRequest.HttpServerRequest> =>
  Effect.gen(function* () {
    const { source } = yield* HttpServerRequest.HttpServerRequest
    const { headers, body, status } = yield* parts(reply)
    const { "content-type": contentType, ...rest } = headers
    // The platform's server on Node ends a stream that fails as if it were whole, so that the socket is closed first.
    const broken = Effect.sync(() => (source as NodeSource).socket?.destroySoon?.())
    return HttpServerResponse.stream(
      Stream.tapError(body, () => broken),
      { status, headers: rest, contentType }
    )
  })

/** The head of a reply, and its body as a stream that fails where the connection has to be broken off. */
const parts = <R>(reply: HttpReply<R>) =>
  Effect.gen(function* () {
    const head = yield* Deferred.make<Pump.Head>()
    const left = yield* Deferred.make<void>()
    const { body, ...sink } = webBody(async () => Deferred.unsafeDone(left, Exit.void))
    const given: Pump.Sink = { ...sink, head: (one) => Deferred.unsafeDone(head, Exit.succeed(one)) }
    const sending = yield* Effect.forkScoped(Effect.raceFirst(run(reply, given), Deferred.await(left)))
    const found = yield* Effect.raceFirst(
      Deferred.await(head),
      Effect.zipRight(Fiber.join(sending), Deferred.await(head))
    )
    return {
      ...found,
      body: Stream.fromReadableStream(
        () => body,
        () => "broken" as const
      )
    }
  })
