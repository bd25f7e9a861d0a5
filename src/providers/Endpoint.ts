/**
 * A place on the network where a wire format is spoken: from `Chat.Request` to `ChatModel`.
 *
 * A provider is a {@link WireFormat} (pure: encode, decode, limits) and an {@link Endpoint} (URL, headers, secrets);
 * {@link model} puts them together over an `HttpClient`. Here a response is read to its end inside the attempt, and
 * whatever comes back, or does not, becomes an answer or a typed `LlmError`.
 *
 * Gotchas: the request itself never gets into an error, a span or a log, because its headers hold the key. The client's
 * own span is off: the attempt is the span. Trace headers are not sent unless `traceHeaders` asks for it.
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
import type * as Config from "effect/Config"
import * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type * as Attempt from "../calls/Attempt.js"
import type { Limits } from "../calls/CallRecord.js"
import type * as Chat from "../chat/Chat.js"
import * as ChatModel from "../chat/ChatModel.js"
import type * as ChatStream from "../chat/ChatStream.js"
import * as Replay from "../chat/Replay.js"
import * as StreamDecoder from "../chat/StreamDecoder.js"
import * as Classify from "../errors/Classify.js"
import * as ErrorMessage from "../errors/ErrorMessage.js"
import { InvalidRequest, InvalidResponse, type LlmError, StreamInterrupted } from "../errors/LlmError.js"
import * as Json from "./Json.js"

/**
 * Headers of a response, names in lower case.
 *
 * @since 0.1.0
 * @category models
 */
export type Headers = Readonly<Record<string, string | undefined>>

/**
 * What is known of an answer while it is decoded.
 *
 * @since 0.1.0
 * @category models
 */
export interface Exchange extends Classify.Meta {
  readonly model: string
  readonly requestId: string | undefined
}

/**
 * How a provider speaks: functions that neither wait nor send; a {@link Memory} is all the state that they may have.
 *
 * - `encode`: the body of a request; a request that the format cannot express is an `InvalidRequest`.
 * - `decode`: the answer in a body that `Classify.answer` found no error in.
 * - `decoder`: a decoder for one stream; with where an answer stands, for the rest of that answer.
 * - `resume`: where the rest of an answer is asked for, given the URL where the answer was asked for. Absent where
 *   providers of this format keep none.
 * - `limits`: what the headers say about rate limits, if they do.
 *
 * @since 0.1.0
 * @category models
 */
export interface WireFormat {
  readonly encode: (request: Chat.Request, streaming: boolean) => Json.Json | InvalidRequest
  readonly decode: (body: Json.Json, context: Exchange) => Chat.Response | LlmError
  readonly decoder: (context: Exchange, from?: StreamDecoder.Cursor) => StreamDecoder.Decoder
  readonly resume?: ((url: string, from: Replay.Resume["Type"]) => string) | undefined
  readonly limits: (headers: Headers, now: number) => Limits | undefined
}

/**
 * Where and as whom. `url` may differ for streams; `secrets` are scrubbed from whatever the provider echoes.
 *
 * @since 0.1.0
 * @category models
 */
export interface Endpoint {
  readonly provider: string
  readonly model: string
  readonly url: (streaming: boolean) => string
  readonly headers: Readonly<Record<string, string>>
  readonly secrets: ReadonlyArray<string>
  readonly traceHeaders?: boolean | undefined
}

/**
 * The model that speaks `format` at `endpoint`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const model = (client: HttpClient.HttpClient, endpoint: Endpoint, format: WireFormat): ChatModel.ChatModel => {
  const { provider, model, secrets } = endpoint
  const who: Classify.Context = { provider, model, secrets }
  const http = HttpClient.withTracerDisabledWhen(client, () => true)
  const scrubbed = <T extends string | undefined>(text: T, max = 200): T | string =>
    text !== undefined && secrets.some((secret) => text.includes(secret))
      ? ErrorMessage.clean(text, secrets, max)
      : text
  const failed = (error: HttpClientError.HttpClientError, stage: "before-headers" | "body" | "stream"): LlmError =>
    Classify.transport(
      who,
      error.cause ?? error,
      error._tag === "RequestError" && error.reason !== "Transport" ? "before-send" : stage
    )

  const send = (
    request: Chat.Request,
    streaming: boolean
  ): Effect.Effect<HttpClientResponse.HttpClientResponse, LlmError> => {
    const body = format.encode(request, streaming)
    if (body instanceof InvalidRequest) return Effect.fail(body)
    return execute(
      HttpClientRequest.post(endpoint.url(streaming), {
        headers: endpoint.headers,
        body: HttpBody.raw(JSON.stringify(body), { contentType: "application/json" })
      })
    )
  }

  const execute = (
    request: HttpClientRequest.HttpClientRequest
  ): Effect.Effect<HttpClientResponse.HttpClientResponse, LlmError> =>
    Effect.mapError(endpoint.traceHeaders === true ? traced(http, request) : http.execute(request), (error) =>
      failed(error, "before-headers")
    )

  /** What the response says before its body; noted at once, so that a broken attempt keeps its request id. */
  const meet = (response: HttpClientResponse.HttpClientResponse, attempt: Attempt.Attempt): Effect.Effect<Exchange> =>
    Effect.map(Clock.currentTimeMillis, (now) => {
      const headers: Headers = response.headers
      const context: Exchange = {
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

  const answer = (text: string, context: Exchange): Effect.Effect<Chat.Response, LlmError> => {
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
      Effect.flatMap(meet(response, attempt), (context) =>
        Effect.flatMap(readText(response), (text) => answer(text, context))
      )
    )

  /** The first pull sends the request; the ones after it read. */
  const open = (request: Chat.Request, attempt: Attempt.Attempt): ChatStream.Source =>
    Effect.map(Effect.context<Scope.Scope>(), (surroundings) => {
      const scope = Context.get(surroundings, Scope.Scope)
      const progress = Option.getOrUndefined(Context.getOption(surroundings as Context.Context<never>, Replay.Progress))
      const moved = (cursor: StreamDecoder.Cursor): void => {
        if (progress !== undefined) progress.cursor = cursor
        if (cursor.usage !== undefined) attempt.note({ usage: cursor.usage })
      }
      const from = Option.getOrUndefined(Context.getOption(surroundings as Context.Context<never>, Replay.Resume))

      /** There is no rest of the answer: it stays broken, and is not asked for again. */
      const gone = (message: string, context?: Exchange): LlmError => {
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

      /** What comes instead of a stream: an error, or an answer that came whole. */
      const read = (response: HttpClientResponse.HttpClientResponse, context: Exchange) => {
        const whole = Effect.flatMap(readText(response), (text) => answer(text, context))
        return from === undefined
          ? Effect.map(whole, replayed)
          : Effect.matchEffect(whole, {
              onSuccess: () => Effect.fail(gone("the answer came from its beginning", context)),
              onFailure: (error) => Effect.fail(isUnknown(error) ? gone(error.message, context) : error)
            })
      }

      const ask = (): Effect.Effect<HttpClientResponse.HttpClientResponse, LlmError> =>
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
      const begin: ChatStream.Pull = Effect.flatMap(Effect.mapError(Effect.suspend(ask), Option.some), (response) =>
        Effect.flatMap(meet(response, attempt), (context) => {
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
            : read(response, context)
          return Effect.flatMap(Effect.mapError(started, Option.some), (pull) => {
            reading = pull
            return pull
          })
        })
      )
      return Effect.suspend(() => reading ?? begin)
    })

  const readStream = (
    response: HttpClientResponse.HttpClientResponse,
    decoder: StreamDecoder.Decoder,
    context: Exchange,
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

  return ChatModel.fromLeaf({ provider, model, generate, open, shown: (text) => scrubbed(text) })
}

/** How long the end of a body is waited for after the answer is whole. On a connection that works it is there already. */
const drainMillis = 50

/**
 * The bytes of a body. Closing the scope closes the socket, but for an answer that is whole: then what is left, the end as
 * a rule, is read in the background first, because a client keeps only connections whose bodies were read to their end.
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

/** What a provider says of an answer that it does not have, or not any more. */
const isUnknown = (error: LlmError): boolean => error._tag === "ModelNotFound" || error._tag === "InvalidRequest"

const isStream = (context: Exchange): boolean => {
  if (context.status < 200 || context.status > 299) return false
  const type = context.headers["content-type"]
  return type === undefined || !/\b(?:json|html)\b/i.test(type)
}

/** The events of an answer that came whole although a stream was asked for. */
const replayed = (response: Chat.Response): ChatStream.Pull => {
  const { finishReason, id, model, provider, reasoning, requestId, text, toolCalls, usage } = response
  const events: Array<Chat.Event> = [{ _tag: "Start", provider, model, id, requestId }]
  if (reasoning !== undefined && reasoning !== "") events.push({ _tag: "ReasoningDelta", text: reasoning })
  if (text !== "") events.push({ _tag: "TextDelta", text })
  for (const call of toolCalls) events.push({ _tag: "ToolCall", ...call })
  if (usage !== undefined) events.push({ _tag: "Usage", usage })
  events.push({ _tag: "Finish", reason: finishReason })
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

/**
 * The error for an answer that lacks what it must have: it names the field, what was found and what was expected.
 *
 * @since 0.1.0
 * @category constructors
 */
export const missing = (context: Exchange, field: string, found: unknown, expected: string): InvalidResponse =>
  new InvalidResponse({
    provider: context.provider,
    model: context.model,
    status: context.status,
    requestId: context.requestId,
    message: `${field}: found ${Json.kindOf(found)}, expected ${expected}`,
    delivery: "unknown"
  })

/**
 * A tool call from its parts; arguments that are no JSON are an `InvalidResponse` with their text.
 *
 * @since 0.1.0
 * @category constructors
 */
export const toolCall = (
  context: Exchange,
  call: { readonly id: string; readonly name: string; readonly arguments: string }
): Chat.ToolCall | InvalidResponse => {
  const text = call.arguments.trim()
  const parsed = text === "" ? {} : Json.parse(text)
  return parsed === undefined
    ? new InvalidResponse({
        provider: context.provider,
        model: context.model,
        status: context.status,
        requestId: context.requestId,
        message: ErrorMessage.clean(
          `the arguments of tool call ${call.name} are no JSON: ${text}`,
          context.secrets ?? []
        ),
        delivery: "unknown"
      })
    : { id: call.id, name: call.name, arguments: parsed }
}

/**
 * Why an answer ended, from the provider's word for it: an answer with tool calls ended with them whatever it says.
 *
 * @since 0.1.0
 * @category getters
 */
export const finishReason = (reason: string | undefined, toolCalls: number): Chat.FinishReason => {
  const meaning = Classify.finishReason(reason)
  if (meaning === "length" || meaning === "tool-calls") return meaning
  return toolCalls > 0 ? "tool-calls" : meaning === "stop" ? "stop" : "other"
}

/**
 * An image as the providers with inline images want it: one that comes as a `data:` URL is taken apart.
 *
 * @since 0.1.0
 * @category getters
 */
export const image = (
  part: Chat.ImagePart
): { readonly url: string } | { readonly data: string; readonly mediaType: string } => {
  if (!("url" in part)) return part
  const head = /^data:([^;,]{1,100})[^,]{0,100};base64,/i.exec(part.url)
  return head?.[1] === undefined ? part : { mediaType: head[1], data: part.url.slice(head[0].length) }
}

/**
 * What a provider wants back with a tool call that it made and the canonical form has no place for (signatures of
 * thoughts), by the id of the call. Kept for the newest 256 calls of one model value.
 *
 * @since 0.1.0
 * @category models
 */
export interface Memory<V> {
  readonly get: (id: string) => V | undefined
  readonly set: (id: string, value: V) => void
}

/**
 * @since 0.1.0
 * @category constructors
 */
export const memory = <V>(): Memory<V> => {
  const values = new Map<string, V>()
  return {
    get: (id) => values.get(id),
    set: (id, value) => {
      values.delete(id)
      values.set(id, value)
      for (const oldest of values.keys()) {
        if (values.size <= 256) break
        values.delete(oldest)
      }
    }
  }
}

/**
 * One limit from three headers; `undefined` where none of them is there.
 *
 * @since 0.1.0
 * @category getters
 */
export const limit = (
  headers: Headers,
  names: { readonly limit: string; readonly remaining: string; readonly reset: string },
  reset: (value: string) => number | undefined
): Limits["requests"] => {
  const all = headers[names.limit]
  const left = headers[names.remaining]
  const at = headers[names.reset]
  if (all === undefined && left === undefined && at === undefined) return undefined
  return {
    ...numeric("limit", all),
    ...numeric("remaining", left),
    ...(at === undefined ? {} : numeric("resetMillis", reset(at)))
  }
}

const numeric = (key: "limit" | "remaining" | "resetMillis", value: string | number | undefined) => {
  const number = value === undefined || value === "" ? Number.NaN : Number(value)
  return Number.isFinite(number) && number >= 0 ? { [key]: number } : {}
}

/**
 * Options as they are when every value has been read from its `Config`.
 *
 * @since 0.1.0
 * @category models
 */
export type Plain<O> = { readonly [K in keyof O]: Exclude<O[K], Config.Config<Redacted.Redacted>> }

/**
 * The key in the clear, for the wire alone; `undefined` where none was given.
 *
 * @since 0.1.0
 * @category getters
 */
export const key = (
  apiKey: Redacted.Redacted | Config.Config<Redacted.Redacted> | undefined
): Effect.Effect<string | undefined, ConfigError.ConfigError> =>
  apiKey === undefined
    ? Effect.succeed(undefined)
    : Redacted.isRedacted(apiKey)
      ? Effect.succeed(Redacted.value(apiKey))
      : Effect.map(apiKey, Redacted.value)

/**
 * A base URL without a slash at its end. Fails where it is missing or no URL.
 *
 * @since 0.1.0
 * @category getters
 */
export const baseUrl = (url: string | undefined, provider: string): Effect.Effect<string, ConfigError.ConfigError> =>
  url !== undefined && URL.canParse(url)
    ? Effect.succeed(url.replace(/\/+$/, ""))
    : Effect.fail(
        url === undefined
          ? ConfigError.MissingData(["baseUrl"], `${provider} has no known address: expected a baseUrl`)
          : ConfigError.InvalidData(["baseUrl"], `found "${url}", expected a URL`)
      )
