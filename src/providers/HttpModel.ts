/**
 * A model over HTTP: sends requests in a `WireFormat` to an {@link Endpoint}, and reads the answers.
 *
 * A response is read to its end inside the attempt. Every failure on the way becomes a typed `LlmError`.
 *
 * Gotchas: the request never gets into an error, a span or a log, because its headers hold the key. The client's own
 * span is off, because the attempt has one. Trace headers are sent only with `traceHeaders`.
 *
 * @since 0.1.0
 */
import * as HttpBody from "@effect/platform/HttpBody"
import * as HttpClient from "@effect/platform/HttpClient"
import type * as HttpClientError from "@effect/platform/HttpClientError"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import type * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import * as HttpTraceContext from "@effect/platform/HttpTraceContext"
import * as Chunk from "effect/Chunk"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type * as Attempt from "../calls/Attempt.js"
import type * as Capabilities from "../chat/Capabilities.js"
import type * as Chat from "../chat/Chat.js"
import * as ChatModel from "../chat/ChatModel.js"
import type * as ChatStream from "../chat/stream/ChatStream.js"
import * as Replay from "../chat/stream/Replay.js"
import * as StreamDecoder from "../chat/stream/StreamDecoder.js"
import * as Classify from "../errors/Classify.js"
import * as ErrorMessage from "../errors/ErrorMessage.js"
import { InvalidRequest, type LlmError, StreamInterrupted } from "../errors/LlmError.js"
import * as Json from "./Json.js"
import * as WireFormat from "./WireFormat.js"

/**
 * A target and its address.
 *
 * @since 0.1.0
 * @category models
 */
export interface Endpoint extends Attempt.Target {
  /** The URL of requests; it may differ for streams. */
  readonly url: (streaming: boolean) => string
  /** Headers of every request, the key included. */
  readonly headers: Readonly<Record<string, string>>
  /** Literal strings to scrub from errors, ids and other texts of the provider. */
  readonly secrets: ReadonlyArray<string>
  /** Whether the provider gets the trace of the attempt. Default `false`. */
  readonly traceHeaders?: boolean | undefined
  /** Capabilities of the model, laid over the known ones. */
  readonly capabilities?: Capabilities.Capabilities | undefined
}

type Exchanged = Effect.Effect<HttpClientResponse.HttpClientResponse, LlmError>

/**
 * The model at `endpoint`, in the wire format `format`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  client: HttpClient.HttpClient,
  endpoint: Endpoint,
  format: WireFormat.WireFormat
): ChatModel.ChatModel => {
  const { provider, model, secrets } = endpoint
  const target: Classify.Context = { provider, model, secrets }
  const http = HttpClient.withTracerDisabledWhen(client, () => true)
  const scrubbed = <T extends string | undefined>(text: T, max = 200): T | string =>
    text !== undefined && secrets.some((secret) => text.includes(secret))
      ? ErrorMessage.clean(text, secrets, max)
      : text
  const failed = (error: HttpClientError.HttpClientError, stage: "before-headers" | "body" | "stream"): LlmError =>
    Classify.transport(
      target,
      error.cause ?? error,
      error._tag === "RequestError" && error.reason !== "Transport" ? "before-send" : stage
    )

  const send = (request: Chat.Request, streaming: boolean): Exchanged => {
    const body = format.encode(request, streaming)
    if (body instanceof InvalidRequest) return Effect.fail(body)
    return execute(
      HttpClientRequest.post(endpoint.url(streaming), {
        headers: endpoint.headers,
        body: HttpBody.raw(JSON.stringify(body), { contentType: "application/json" })
      })
    )
  }

  const execute = (request: HttpClientRequest.HttpClientRequest): Exchanged =>
    Effect.mapError(endpoint.traceHeaders === true ? traced(http, request) : http.execute(request), (error) =>
      failed(error, "before-headers")
    )

  /**
   * Reads the headers, and notes them on the attempt before the body is read: a broken attempt keeps its request id.
   */
  const readHeaders = (
    response: HttpClientResponse.HttpClientResponse,
    attempt: Attempt.Attempt
  ): Effect.Effect<WireFormat.Exchange> =>
    Effect.map(Clock.currentTimeMillis, (now) => {
      const headers: WireFormat.Headers = response.headers
      const context: WireFormat.Exchange = {
        provider,
        model,
        secrets,
        status: response.status,
        headers,
        now,
        requestId: scrubbed(Classify.requestId(headers))
      }
      attempt.note({
        status: response.status,
        requestId: context.requestId,
        limits: format.limits(headers, now)
      })
      return context
    })

  const readText = (response: HttpClientResponse.HttpClientResponse): Effect.Effect<string, LlmError> =>
    Effect.mapError(response.text, (error) => failed(error, "body"))

  const answer = (text: string, context: WireFormat.Exchange): Effect.Effect<Chat.Response, LlmError> => {
    if (context.status < 200 || context.status > 299) return Effect.fail(Classify.response({ ...context, body: text }))
    const body = Json.parse(text)
    if (body === undefined) return Effect.fail(Classify.unreadable(context, text))
    const hidden = Classify.answer(context, body)
    if (hidden !== undefined) return Effect.fail(hidden)
    const decoded = format.decode(Json.object(body), context)
    return decoded instanceof Error ? Effect.fail(decoded) : Effect.succeed(decoded)
  }

  const generate = (request: Chat.Request, attempt: Attempt.Attempt) =>
    Effect.flatMap(send(request, false), (response) =>
      Effect.flatMap(readHeaders(response, attempt), (context) =>
        Effect.flatMap(readText(response), (text) => answer(text, context))
      )
    )

  /** The first pull sends the request; later pulls read the stream. */
  const open = (request: Chat.Request, attempt: Attempt.Attempt): ChatStream.Source =>
    Effect.map(Effect.context<Scope.Scope>(), (surroundings) => {
      const scope = Context.get(surroundings, Scope.Scope)
      const progress = Option.getOrUndefined(Context.getOption(surroundings as Context.Context<never>, Replay.Progress))
      const moved = (cursor: StreamDecoder.Cursor): void => {
        if (progress !== undefined) progress.cursor = cursor
        if (cursor.usage !== undefined) attempt.note({ usage: cursor.usage })
      }
      const from = Option.getOrUndefined(Context.getOption(surroundings as Context.Context<never>, Replay.Resume))

      /**
       * The error if the rest of an answer cannot be had. The cursor loses its `resume`, so it is not requested again.
       */
      const gone = (message: string, context?: WireFormat.Exchange): LlmError => {
        if (progress !== undefined) progress.cursor = { ...progress.cursor, resume: undefined }
        return new StreamInterrupted({
          provider,
          model,
          status: context?.status,
          requestId: context?.requestId,
          message: `the rest of the answer is gone: ${message}`,
          delivery: "unknown",
          received: 0,
          partial: ""
        })
      }

      /** Reads a response that is no stream: an error, or a whole answer. */
      const readWhole = (response: HttpClientResponse.HttpClientResponse, context: WireFormat.Exchange) => {
        const whole = Effect.flatMap(readText(response), (text) => answer(text, context))
        return from === undefined
          ? Effect.map(whole, replayed)
          : Effect.matchEffect(whole, {
              onSuccess: () => Effect.fail(gone("the answer came from its beginning", context)),
              onFailure: (error) => Effect.fail(isUnknown(error) ? gone(error.message, context) : error)
            })
      }

      const sendRequest = (): Exchanged =>
        from === undefined
          ? send(request, true)
          : format.resume === undefined
            ? Effect.fail(gone("it was another provider's"))
            : execute(
                HttpClientRequest.get(format.resume(endpoint.url(true), from), {
                  headers: { ...endpoint.headers, accept: "text/event-stream" }
                })
              )

      let reading: ChatStream.Pull | undefined
      const begin: ChatStream.Pull = Effect.flatMap(
        Effect.mapError(Effect.suspend(sendRequest), Option.some),
        (response) =>
          Effect.flatMap(readHeaders(response, attempt), (context) => {
            const started = isStream(context)
              ? readStream(
                  response,
                  format.decoder(
                    context,
                    from && { inside: "nothing", usage: undefined, ...progress?.cursor, resume: from }
                  ),
                  context,
                  scope,
                  moved
                )
              : readWhole(response, context)
            return Effect.flatMap(Effect.mapError(started, Option.some), (pull) => {
              reading = pull
              return pull
            })
          })
      )
      // The request belongs into the span of its attempt, also if the stream is pulled from another span.
      const first = Effect.mapInputContext(begin, (_: Context.Context<never>) => surroundings)
      return Effect.suspend(() => reading ?? first)
    })

  const readStream = (
    response: HttpClientResponse.HttpClientResponse,
    decoder: StreamDecoder.Decoder,
    context: WireFormat.Exchange,
    scope: Scope.Scope,
    moved: (cursor: StreamDecoder.Cursor) => void
  ): Effect.Effect<ChatStream.Pull> =>
    Effect.map(body(response.stream, scope, decoder.done), (pull) =>
      StreamDecoder.decode(pull, decoder, {
        provider,
        model,
        requestId: context.requestId,
        shown: (text) => scrubbed(text, text.length),
        broken: (error) => failed(error, "stream"),
        moved
      })
    )

  const { capabilities, group, key } = endpoint
  const shown = (text: string) => scrubbed(text)
  return ChatModel.fromLeaf({ provider, model, key, group, capabilities, generate, open, shown })
}

/**
 * The longest wait for the end of a body after a whole answer, in ms. On a good connection the end is there already.
 */
const drainMillis = 50

/**
 * The bytes of a body. Closing the scope closes the socket. After a whole answer the rest of the body (most often only
 * its end) is read in the background first, because a client reuses only connections whose bodies were read to the end.
 */
const body = <E>(
  bytes: Stream.Stream<Uint8Array, E>,
  scope: Scope.Scope,
  whole: () => boolean
): Effect.Effect<Effect.Effect<Chunk.Chunk<Uint8Array>, Option.Option<E>>> =>
  Effect.flatMap(Scope.make(), (own) =>
    Effect.flatMap(Scope.extend(Stream.toPull(bytes), own), (pull) => {
      const close = Scope.close(own, Exit.void)
      const drain = Effect.ensuring(Effect.timeout(Effect.ignore(Effect.forever(pull)), drainMillis), close)
      return Effect.as(
        Scope.addFinalizer(
          scope,
          Effect.suspend(() => (whole() ? Effect.asVoid(Effect.forkDaemon(Effect.interruptible(drain))) : close))
        ),
        pull
      )
    })
  )

/** Whether an error means that the provider does not have the answer, or no longer. */
const isUnknown = (error: LlmError): boolean => error._tag === "ModelNotFound" || error._tag === "InvalidRequest"

const isStream = (context: WireFormat.Exchange): boolean => {
  if (context.status < 200 || context.status > 299) return false
  const type = context.headers["content-type"]
  return type === undefined || !/\b(?:json|html)\b/i.test(type)
}

/** The events of a whole answer to a request for a stream. */
const replayed = (response: Chat.Response): ChatStream.Pull => {
  const { finishReason, id, model, provider, reasoning, requestId, text, toolCalls, usage } = response
  const events: Array<Chat.Event> = [{ _tag: "Start", provider, model, id, requestId }]
  if (reasoning !== undefined && reasoning !== "") events.push({ _tag: "ReasoningDelta", text: reasoning })
  if (text !== "") events.push({ _tag: "TextDelta", text })
  for (const call of toolCalls) events.push({ _tag: "ToolCall", ...call })
  WireFormat.finish(events, usage, finishReason)
  let done = false
  return Effect.suspend(() => {
    if (done) return Effect.fail(Option.none())
    done = true
    return Effect.succeed(Chunk.unsafeFromArray(events) as Chunk.NonEmptyChunk<Chat.Event>)
  })
}

const traced = (
  client: HttpClient.HttpClient,
  request: HttpClientRequest.HttpClientRequest
): Effect.Effect<HttpClientResponse.HttpClientResponse, HttpClientError.HttpClientError> =>
  Effect.flatMap(Effect.option(Effect.currentSpan), (span) =>
    client.execute(
      span._tag === "None" ? request : HttpClientRequest.setHeaders(request, HttpTraceContext.toHeaders(span.value))
    )
  )
