/**
 * The response of a provider in process: an `HttpClientResponse` with a body that arrives by its plan, on the Clock.
 *
 * Time produces the body, not demand: pieces that are due before they are read wait, as in the buffers of a connection.
 * The body can be read more than once, and its times always count from the headers.
 *
 * @since 0.1.0
 */

import * as Cookies from "@effect/platform/Cookies"
import type * as Headers from "@effect/platform/Headers"
import * as HttpClientError from "@effect/platform/HttpClientError"
import type * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import * as HttpIncomingMessage from "@effect/platform/HttpIncomingMessage"
import * as UrlParams from "@effect/platform/UrlParams"
import * as Chunk from "effect/Chunk"
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Inspectable from "effect/Inspectable"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as Times from "../policies/Times.js"
import type * as Core from "./Core.js"
import * as Plan from "./Plan.js"

/**
 * The error of the network beneath a failed request, as Node makes it.
 *
 * @since 0.1.0
 * @category errors
 */
export const networkError = (code: string): Error =>
  code === "ECONNRESET"
    ? Object.assign(new Error("read ECONNRESET"), { errno: -104, code, syscall: "read" })
    : Object.assign(new Error(`connect ${code}`), { code })

const otherSideClosed = (): Error =>
  Object.assign(new Error("other side closed"), { name: "SocketError", code: "UND_ERR_SOCKET" })

/**
 * A response that follows the plan of an exchange.
 *
 * @since 0.1.0
 * @category models
 */
export class InProcessResponse extends Inspectable.Class implements HttpClientResponse.HttpClientResponse {
  readonly [HttpIncomingMessage.TypeId]: HttpIncomingMessage.TypeId = HttpIncomingMessage.TypeId
  readonly [HttpClientResponse.TypeId]: HttpClientResponse.TypeId = HttpClientResponse.TypeId

  private readonly sentAt: number

  constructor(
    readonly request: HttpClientRequest.HttpClientRequest,
    readonly status: number,
    readonly headers: Headers.Headers,
    private readonly exchange: Core.Exchange,
    private readonly signal: AbortSignal,
    private readonly clock: Clock.Clock
  ) {
    super()
    this.sentAt = Times.now(clock)
  }

  get cookies(): Cookies.Cookies {
    const header = this.headers["set-cookie"]
    return header === undefined ? Cookies.empty : Cookies.fromSetCookie(header)
  }

  get remoteAddress(): Option.Option<string> {
    return Option.none()
  }

  get stream(): Stream.Stream<Uint8Array, HttpClientError.ResponseError> {
    return Stream.unfoldChunkEffect(0, (from) => this.pull(from)).pipe(
      Stream.ensuring(Effect.sync(() => this.exchange.hungUp(this.clock.unsafeCurrentTimeMillis())))
    )
  }

  get arrayBuffer(): Effect.Effect<ArrayBuffer, HttpClientError.ResponseError> {
    return Effect.map(Stream.runCollect(this.stream), (pieces) => {
      const whole = new Uint8Array(Chunk.reduce(pieces, 0, (size, piece) => size + piece.length))
      let at = 0
      for (const piece of pieces) {
        whole.set(piece, at)
        at += piece.length
      }
      return whole.buffer
    })
  }

  get text(): Effect.Effect<string, HttpClientError.ResponseError> {
    const { ending, framing, pieces } = this.exchange.plan
    const only = pieces[0]
    // Most answers are one text without a delay, and need no stream.
    if (pieces.length === 1 && typeof only?.data === "string" && only.at === 0 && ending === "end") {
      if (framing !== "overstated-length") return Effect.succeed(only.data)
    }
    return Effect.map(this.arrayBuffer, (buffer) => new TextDecoder().decode(buffer))
  }

  get json(): Effect.Effect<unknown, HttpClientError.ResponseError> {
    return Effect.flatMap(this.text, (text) =>
      Effect.try({
        try: () => (text === "" ? null : (JSON.parse(text) as unknown)),
        catch: (cause) => this.broken(cause)
      })
    )
  }

  get urlParamsBody(): Effect.Effect<UrlParams.UrlParams, HttpClientError.ResponseError> {
    return Effect.map(this.text, (text) => UrlParams.fromInput(new URLSearchParams(text)))
  }

  get formData(): Effect.Effect<FormData, HttpClientError.ResponseError> {
    return Effect.flatMap(this.arrayBuffer, (body) =>
      Effect.tryPromise({
        try: () => new Response(body, { headers: { ...this.headers } }).formData(),
        catch: (cause) => this.broken(cause)
      })
    )
  }

  toJSON(): unknown {
    return {
      _id: "@effect/platform/HttpClientResponse",
      request: this.request.toJSON(),
      status: this.status,
      headers: this.headers
    }
  }

  private broken(cause: unknown): HttpClientError.ResponseError {
    return new HttpClientError.ResponseError({ request: this.request, response: this, reason: "Decode", cause })
  }

  /** The pieces that are due; if none is due, waits for the next piece. */
  private pull(
    from: number
  ): Effect.Effect<Option.Option<readonly [Chunk.Chunk<Uint8Array>, number]>, HttpClientError.ResponseError> {
    return Effect.suspend(() => {
      if (this.signal.aborted) return Effect.fail(this.aborted())
      const { pieces } = this.exchange.plan
      const next = pieces[from] ?? this.pulse(from)
      if (next === undefined) return this.end()
      const elapsed = Times.now(this.clock) - this.sentAt
      return next.at > elapsed
        ? Effect.zipRight(this.unlessAborted(Effect.sleep(next.at - elapsed)), this.pull(from))
        : Effect.sync(() => this.take(from, elapsed))
    })
  }

  /** The ping of a stall at a position after the last piece. */
  private pulse(position: number): Plan.Piece | undefined {
    const { ending, pieces, pulse } = this.exchange.plan
    if (ending !== "stall" || pulse === undefined) return undefined
    const stalledAt = pieces[pieces.length - 1]?.at ?? 0
    return { at: stalledAt + (position - pieces.length + 1) * pulse.every, data: pulse.data }
  }

  private take(from: number, elapsed: number): Option.Option<readonly [Chunk.Chunk<Uint8Array>, number]> {
    const { ending, pieces } = this.exchange.plan
    const ping = this.pulse(from)
    if (from >= pieces.length && ping !== undefined) {
      return Option.some([Chunk.of(Plan.bytes(ping)), from + 1] as const)
    }
    let to = from
    for (let piece = pieces[to]; piece !== undefined && piece.at <= elapsed; piece = pieces[to]) to++
    if (to === pieces.length && ending === "end") this.exchange.finished(this.clock.unsafeCurrentTimeMillis())
    return Option.some([Chunk.unsafeFromArray(pieces.slice(from, to).map(Plan.bytes)), to] as const)
  }

  private end(): Effect.Effect<Option.Option<never>, HttpClientError.ResponseError> {
    const { ending, framing } = this.exchange.plan
    if (ending === "stall") return this.unlessAborted(Effect.never)
    this.exchange.finished(this.clock.unsafeCurrentTimeMillis())
    if (ending === "reset") {
      return Effect.fail(this.broken(new TypeError("terminated", { cause: networkError("ECONNRESET") })))
    }
    return framing === "overstated-length"
      ? Effect.fail(this.broken(new TypeError("terminated", { cause: otherSideClosed() })))
      : Effect.succeed(Option.none())
  }

  private aborted(): HttpClientError.ResponseError {
    return this.broken(new DOMException("This operation was aborted", "AbortError"))
  }

  /** Fails if the client aborts the request, also while another fiber reads. */
  private unlessAborted<A>(effect: Effect.Effect<A>): Effect.Effect<A, HttpClientError.ResponseError> {
    return Effect.raceFirst(
      effect,
      Effect.async<never, HttpClientError.ResponseError>((resume) => {
        const abort = () => resume(Effect.fail(this.aborted()))
        this.signal.addEventListener("abort", abort, { once: true })
        return Effect.sync(() => this.signal.removeEventListener("abort", abort))
      })
    )
  }
}
