/**
 * One exchange with a provider as an effect: over the transport of a marked client, or else through the client itself.
 *
 * A call waits in one place for its answer, and a stream in one place for its next bytes: both in `TimeLimit.waiting`.
 * Interruption there, the end of the time, and the end of a stream's scope close the connection. After a whole answer
 * the rest of the body (most often only its end) is read in the background first, because a client reuses only
 * connections whose bodies were read to the end.
 *
 * @since 0.2.0
 */

import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import * as HttpBody from "@effect/platform/HttpBody"
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientError from "@effect/platform/HttpClientError"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import * as Cause from "effect/Cause"
import * as Chunk from "effect/Chunk"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Pull from "../../chat/stream/Pull.js"
import type * as Source from "../../chat/stream/Source.js"
import type * as Classify from "../../errors/Classify.js"
import type { LlmError } from "../../errors/LlmError.js"
import type * as RetryHint from "../../errors/RetryHint.js"
import * as Deadline from "../../policies/Deadline.js"
import * as FiberInternals from "../../policies/FiberInternals.js"
import * as TimeLimit from "../../policies/TimeLimit.js"
import * as Transport from "../Transport.js"
import * as BodyText from "./BodyText.js"

/** The next bytes of a body. Fails with `None` at its end, and with the cause if it broke. */
export type Bytes = Effect.Effect<Chunk.Chunk<Uint8Array>, Option.Option<unknown>>

type BytesExit = Exit.Exit<Chunk.Chunk<Uint8Array>, Option.Option<unknown>>

/** The reader of a response. `H` is its reading of status and headers. */
export interface Reader<A, H> {
  /** Reads status and headers. `now` in epoch milliseconds. */
  readonly head: (status: number, headers: RetryHint.Headers, now: number) => H
  /** Reads a body; only its beginning, if it is larger than `Request.maxBytes`. */
  readonly text: (text: string, head: H, isWhole: boolean) => Effect.Effect<A, LlmError>
  /** Classifies a failure; {@link causeOf} reads one that is found in the bytes of a body. */
  readonly failed: (cause: unknown, stage: Classify.Stage) => LlmError
  /** The reader of a body in pieces. Default: every body is read whole. */
  readonly pieces?: Pieces<A, H> | undefined
}

/** The reader of a body in pieces. */
export interface Pieces<A, H> {
  /** The finalizers of the stream: its end closes the body. */
  readonly closing: Source.Closing
  /** The limit of its waits, around that of the context. */
  readonly limit: Deadline.Limit
  /** Whether the body is read in pieces, and not as a whole. */
  readonly wanted: (head: H) => boolean
  /** Begins to read. */
  readonly read: (bytes: Bytes, head: H) => Effect.Effect<A, LlmError>
  /** Whether a whole answer has been read. */
  readonly whole: () => boolean
}

/** Sends a request and reads the response, under a context that need not be that of the fiber. */
export type Send = <A, H>(
  fiber: Fiber.RuntimeFiber<unknown, unknown>,
  context: Context.Context<never>,
  request: Transport.Request,
  reader: Reader<A, H>
) => Effect.Effect<A, LlmError>

/** The way that a client's requests take. */
export const make = (client: HttpClient.HttpClient): Send => {
  const transport = Transport.of(client)
  return transport === undefined ? overClient(client) : overTransport(transport)
}

/** The longest wait for the end of a body after a whole answer, in ms. Most often the end is there already. */
const drainMillis = 50

// -----------------------------------------------------------------------------
// over a transport
// -----------------------------------------------------------------------------

const overTransport =
  (transport: Transport.Transport): Send =>
  <A, H>(
    fiber: Fiber.RuntimeFiber<unknown, unknown>,
    context: Context.Context<never>,
    request: Transport.Request,
    reader: Reader<A, H>
  ) => {
    const { pieces } = reader
    const time = TimeLimit.timeOf(fiber)
    // The limit of the opening: a stream may be pulled from anywhere.
    const limit = pieces?.limit ?? Deadline.of(context)
    const body = pieces === undefined ? undefined : makeBody(pieces.whole, time, limit)
    const exchanging = TimeLimit.waiting<A, LlmError, never>(time, limit, (resume) => {
      let head: H
      const listener: Transport.Listener = {
        head: (status, headers) => {
          try {
            head = reader.head(status, headers, time.clock.unsafeCurrentTimeMillis())
          } catch (defect) {
            resume(Effect.die(defect))
            return "text"
          }
          if (pieces === undefined || body === undefined || !pieces.wanted(head)) return "text"
          resume(Effect.suspend(() => pieces.read(body.bytes, head)))
          return "data"
        },
        text: (text, isWhole) => resume(Effect.suspend(() => reader.text(text, head, isWhole))),
        data: (piece) => body?.push(piece) === true,
        end: () => body?.end(Option.none()),
        failed: (cause, stage) => {
          if (stage === "stream") body?.end(Option.some(cause))
          else resume(Effect.suspend(() => Effect.fail(reader.failed(cause, stage))))
        }
      }
      let exchange: Transport.Exchange
      try {
        exchange = transport.send(request, listener, context)
      } catch (cause) {
        // A transport that throws has failed like any other.
        resume(Effect.suspend(() => Effect.fail(reader.failed(cause, "before-headers"))))
        return undefined
      }
      if (body !== undefined) body.exchange = exchange
      return exchange.abort
    })
    // Before the request is sent, so that there is no moment in which nobody would close the connection.
    if (body !== undefined) pieces?.closing.add(body.close)
    return exchanging
  }

/** A reader that rests lets so many bytes come, and no more: the most that a socket hands over at once. */
const highWaterMark = 65_536

/** The pieces between a transport and the reader of a stream. */
const makeBody = (whole: () => boolean, time: TimeLimit.Time, limit: Deadline.Limit) => {
  let pieces: Array<Uint8Array> = []
  let size = 0
  let paused = false
  let draining: ReturnType<typeof setTimeout> | undefined
  let ended: Option.Option<unknown> | undefined
  let wake: ((exit: BytesExit) => void) | undefined

  /** What is there: bytes, or the end. */
  const taken = (): BytesExit | undefined => {
    if (size === 0) return ended && Exit.fail(ended)
    const chunk = Chunk.unsafeFromArray(pieces)
    pieces = []
    size = 0
    resume()
    return Exit.succeed(chunk)
  }
  const answer = (how: () => BytesExit | undefined): void => {
    const resume = wake
    wake = undefined
    const exit = resume && how()
    if (exit !== undefined) resume?.(exit)
  }
  const alarm = TimeLimit.alarmOf(time, limit, () => answer(() => Exit.failCause(Cause.interrupt(FiberId.none))))
  const next: Bytes = Pull.awaiting((answer) => {
    wake = answer
    // Something may have come since `taken` looked.
    if (size > 0 || ended !== undefined) queueMicrotask(awake)
    else alarm.begin()
  })
  const awake = (): void => {
    alarm.end()
    answer(taken)
  }
  const resume = (): void => {
    if (!paused) return
    paused = false
    body.exchange?.resume()
  }

  const body = {
    exchange: undefined as Transport.Exchange | undefined,
    bytes: Pull.make(() => taken() ?? next),
    push: (piece: Uint8Array): boolean => {
      if (draining !== undefined || piece.length === 0) return true
      pieces.push(piece)
      size += piece.length
      awake()
      paused = size >= highWaterMark
      return !paused
    },
    end: (how: Option.Option<unknown>): void => {
      ended = how
      clearTimeout(draining)
      awake()
    },
    close: (): undefined => {
      const { exchange } = body
      alarm.stop()
      wake = undefined
      if (ended !== undefined || exchange === undefined) return
      if (whole()) {
        draining = setTimeout(exchange.abort, drainMillis)
        // It keeps no process alive: the open connection does, until it is read or closed.
        if (typeof draining === "object") draining.unref()
        resume()
      } else {
        exchange.abort()
      }
    }
  }
  return body
}

// -----------------------------------------------------------------------------
// over a client
// -----------------------------------------------------------------------------

const overClient = (client: HttpClient.HttpClient): Send => {
  const http = HttpClient.withTracerDisabledWhen(client, () => true)
  // Platform's client keeps no limits.
  return (_, context, request, reader) => {
    // A client that throws has failed like any other.
    const executed = Effect.catchAllDefect(
      Effect.suspend(() => http.execute(toPlatform(request))),
      (cause) =>
        Effect.fail(new HttpClientError.RequestError({ request: toPlatform(request), reason: "Transport", cause }))
    )
    const exchanging = Effect.flatMap(
      Effect.mapError(executed, (error) => reader.failed(causeOf(error), stageOf(error))),
      (response) =>
        Effect.flatMap(Clock.currentTimeMillis, (now) => {
          const head = reader.head(response.status, response.headers, now)
          const { pieces } = reader
          return pieces?.wanted(head) === true
            ? Effect.flatMap(pulled(response.stream, pieces, context), (bytes) => pieces.read(bytes, head))
            : Effect.matchEffect(Effect.catchAllDefect(textOf(response, request.maxBytes), Effect.fail), {
                onSuccess: (body) => reader.text(body.text(), head, body.isWhole()),
                onFailure: (error) => Effect.fail(reader.failed(causeOf(error), "body"))
              })
        })
    )
    const staying = withoutRedirects(context)
    return Effect.mapInputContext(TimeLimit.kept(exchanging), (_: Context.Context<never>) => staying)
  }
}

const ignore = (): void => {}

/** What platform's own clients answer with: the response of `fetch`, and around it a way to abort it. */
interface Own {
  readonly source?: { readonly body?: ReadableStream<Uint8Array> | null }
}
interface Abortable {
  readonly original?: HttpClientResponse.HttpClientResponse & Own
  readonly controller?: AbortController
}

/** The class of the responses that hold one of `fetch`. */
let ownClass: unknown

/** The body of a response that nobody has changed, and how to leave it; `undefined` for others, and without a body. */
const webBodyOf = (response: HttpClientResponse.HttpClientResponse & Abortable) => {
  ownClass ??= HttpClientResponse.fromWeb(HttpClientRequest.get("/"), new Response(null)).constructor
  // Platform's wrapper has these two fields, and changes nothing.
  const { controller, original } = response
  if (original?.constructor !== ownClass || !(controller instanceof AbortController)) return undefined
  if (original === undefined || Object.keys(response).length > 2) return undefined
  const body = original.source?.body
  return body instanceof ReadableStream ? { body, abort: () => controller.abort() } : undefined
}

/** Reads a body by its reader: Effect's stream of it costs a millisecond and 400 KiB (effect 3.22, Node 20). */
const readWeb = (from: ReadableStream<Uint8Array>, abort: () => void, maxBytes: number) =>
  Effect.async<BodyText.BodyText, unknown>((resume) => {
    const reader = from.getReader()
    const body = BodyText.make(maxBytes)
    const leave = (): void => {
      abort()
      reader.cancel().catch(ignore)
    }
    const failed = (cause: unknown): void => resume(Effect.fail(cause))
    const take = (next: ReadableStreamReadResult<Uint8Array>): void => {
      if (!next.done && body.push(next.value)) {
        reader.read().then(take, failed)
        return
      }
      if (!next.done) leave()
      resume(Effect.succeed(body))
    }
    reader.read().then(take, failed)
    return Effect.sync(leave)
  })

/** The body of a response, as far as it is held. Its stream fails if there is none. */
const textOf = (
  response: HttpClientResponse.HttpClientResponse,
  maxBytes: number
): Effect.Effect<BodyText.BodyText, unknown> => {
  const web = webBodyOf(response)
  if (web !== undefined) return readWeb(web.body, web.abort, maxBytes)
  const body = BodyText.make(maxBytes)
  const reading = Effect.suspend(() =>
    Stream.runForEachWhile(response.stream, (piece) => Effect.sync(() => body.push(piece)))
  )
  return Effect.as(
    Effect.catchIf(
      reading,
      (error) => HttpClientError.isHttpClientError(error) && error.reason === "EmptyBody",
      () => Effect.void
    ),
    body
  )
}

/**
 * Platform's client over `fetch` follows redirects by default, and would take the key in a header to another server.
 * What the application says in `RequestInit` holds.
 */
const withoutRedirects = (context: Context.Context<never>): Context.Context<never> => {
  const { key } = FetchHttpClient.RequestInit
  const init = context.unsafeMap.get(key) as RequestInit | undefined
  return FiberInternals.added(context, FetchHttpClient.RequestInit, { redirect: "manual", ...init })
}

const toPlatform = ({ body, headers, method, url }: Transport.Request): HttpClientRequest.HttpClientRequest =>
  body === undefined
    ? HttpClientRequest.make(method)(url, { headers })
    : HttpClientRequest.make(method)(url, {
        headers,
        body: HttpBody.raw(body, { contentType: headers["content-type"] })
      })

const stageOf = (error: HttpClientError.HttpClientError): Classify.Stage =>
  error._tag === "RequestError" && error.reason !== "Transport" ? "before-send" : "before-headers"

/** The failure of a transport, without what platform put around it. */
export const causeOf = (error: unknown): unknown =>
  HttpClientError.isHttpClientError(error) ? (error.cause ?? error) : error

const pulled = <E>(
  bytes: Stream.Stream<Uint8Array, E>,
  { closing, limit, whole }: Pick<Pieces<unknown, unknown>, "closing" | "limit" | "whole">,
  context: Context.Context<never>
): Effect.Effect<Bytes> =>
  Effect.flatMap(Scope.make(), (own) =>
    Effect.flatMap(Scope.extend(Stream.toPull(bytes), own), (pulled) => {
      // Platform's errors hold the request, and with it the key: a fiber that fails with one would log it.
      const pull: Bytes = Effect.catchAllDefect(Effect.mapError(pulled, Option.map(causeOf)), (cause) =>
        Effect.fail(Option.some(cause))
      )
      const close = Scope.close(own, Exit.void)
      const drain = Effect.ensuring(Effect.timeout(Effect.ignore(Effect.forever(pull)), drainMillis), close)
      closing.add(() => (whole() ? Effect.forkDaemon(Effect.interruptible(drain)) : close))
      const limited = FiberInternals.added(context, Deadline.Deadline, limit)
      return Effect.succeed(Effect.mapInputContext(TimeLimit.kept(pull), (_: Context.Context<never>) => limited))
    })
  )
