/**
 * A place on the network where a wire format is spoken: from `Chat.Request` to `ChatModel`.
 *
 * A provider is a `WireFormat` (pure: encode, decode, limits) and an {@link Endpoint} (URL, headers, secrets);
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
import * as Config from "effect/Config"
import * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
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
import * as KeyName from "../policies/balance/KeyName.js"
import * as Json from "./Json.js"
import type * as WireFormat from "./WireFormat.js"

/**
 * Where and as whom: the target, and how it is reached. `url` may differ for streams; `secrets` are scrubbed from
 * whatever the provider echoes.
 *
 * @since 0.1.0
 * @category models
 */
export interface Endpoint extends Attempt.Target {
  readonly url: (streaming: boolean) => string
  readonly headers: Readonly<Record<string, string>>
  readonly secrets: ReadonlyArray<string>
  readonly traceHeaders?: boolean | undefined
  readonly capabilities?: Capabilities.Capabilities | undefined
}

/**
 * The model that speaks `format` at `endpoint`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const model = (
  client: HttpClient.HttpClient,
  endpoint: Endpoint,
  format: WireFormat.WireFormat
): ChatModel.ChatModel => {
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
  const meet = (
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

      /** What comes instead of a stream: an error, or an answer that came whole. */
      const read = (response: HttpClientResponse.HttpClientResponse, context: WireFormat.Exchange) => {
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
      // The request belongs into the span of its attempt, whoever pulls.
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
 * How long the end of a body is waited for after the answer is whole. On a connection that works it is there already.
 */
const drainMillis = 50

/**
 * The bytes of a body. Closing the scope closes the socket, but for an answer that is whole: then what is left, the end
 * as a rule, is read in the background first, because a client keeps only connections whose bodies were read to their
 * end.
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

const isStream = (context: WireFormat.Exchange): boolean => {
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

// -----------------------------------------------------------------------------
// options
// -----------------------------------------------------------------------------

/**
 * The options that every provider takes.
 *
 * - `model`: as the provider names it.
 * - `apiKey`: a key, or the `Config` that holds it; without one none is sent.
 * - `provider`: how errors, spans, records and `providerOptions` name it. Default: the name of the module.
 * - `baseUrl`: up to, and without, the path that is the same for all. Default: the provider's own.
 * - `headers`: sent with every request.
 * - `traceHeaders`: whether the provider is sent the trace of the attempt. Default `false`.
 * - `capabilities`: what the model can do, over what is known of it: a fallback asks only who can do what is asked.
 * - `keyGroup`: whose key it is, where not all keys are one's own: each group has a `RetryBudget` of its own. Default:
 *   all models at the same base URL share one.
 *
 * @since 0.1.0
 * @category options
 */
export interface Options {
  readonly model: string
  readonly apiKey?: Redacted.Redacted | Config.Config<Redacted.Redacted> | undefined
  readonly provider?: string | undefined
  readonly baseUrl?: string | undefined
  readonly headers?: Readonly<Record<string, string>> | undefined
  readonly traceHeaders?: boolean | undefined
  readonly capabilities?: Capabilities.Capabilities | undefined
  readonly keyGroup?: string | undefined
}

/**
 * Options as they are when every value has been read from its `Config`.
 *
 * @since 0.1.0
 * @category models
 */
export type Plain<O> = { readonly [K in keyof O]: Exclude<O[K], Config.Config<Redacted.Redacted>> }

/**
 * What a provider adds to its options to be reached: where it is, and how the key is sent.
 *
 * @since 0.1.0
 * @category models
 */
export interface Place {
  readonly provider: string
  readonly baseUrl: string | undefined
  readonly url: (baseUrl: string, streaming: boolean) => string
  readonly auth: (key: string) => Readonly<Record<string, string>>
  readonly headers?: Readonly<Record<string, string>> | undefined
}

/**
 * A model from options. Fails with a `ConfigError` where the key is not configured, or the base URL missing or none.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  options: Omit<Options, "provider" | "baseUrl">,
  place: Place,
  format: WireFormat.WireFormat
): Effect.Effect<ChatModel.ChatModel, ConfigError.ConfigError, HttpClient.HttpClient> =>
  Effect.gen(function* () {
    const client = yield* HttpClient.HttpClient
    const key = yield* readKey(options.apiKey)
    const baseUrl = yield* readUrl(place)
    const endpoint: Endpoint = {
      provider: place.provider,
      model: options.model,
      key: key === undefined ? undefined : KeyName.nameOf(Redacted.make(key)),
      group: [place.provider, baseUrl, ...(options.keyGroup === undefined ? [] : [options.keyGroup])].join(" "),
      url: (streaming) => place.url(baseUrl, streaming),
      headers: { ...place.headers, ...(key === undefined ? {} : place.auth(key)), ...options.headers },
      secrets: key === undefined ? [] : [key],
      traceHeaders: options.traceHeaders,
      capabilities: options.capabilities
    }
    return model(client, endpoint, format)
  })

/** The key in the clear, for the wire alone. */
const readKey = (apiKey: Options["apiKey"]): Effect.Effect<string | undefined, ConfigError.ConfigError> =>
  apiKey === undefined
    ? Effect.succeed(undefined)
    : Redacted.isRedacted(apiKey)
      ? Effect.succeed(Redacted.value(apiKey))
      : Effect.map(apiKey, Redacted.value)

const readUrl = ({ baseUrl, provider }: Place): Effect.Effect<string, ConfigError.ConfigError> =>
  baseUrl !== undefined && URL.canParse(baseUrl)
    ? Effect.succeed(baseUrl.replace(/\/+$/, ""))
    : Effect.fail(
        baseUrl === undefined
          ? ConfigError.MissingData(["baseUrl"], `${provider} has no known address: expected a baseUrl`)
          : ConfigError.InvalidData(["baseUrl"], `found "${baseUrl}", expected a URL`)
      )

/**
 * The model of the application, as a provider's `make` makes it.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer =
  <O>(make: (options: O) => Effect.Effect<ChatModel.ChatModel, ConfigError.ConfigError, HttpClient.HttpClient>) =>
  (options: O): Layer.Layer<ChatModel.ChatModel, ConfigError.ConfigError, HttpClient.HttpClient> =>
    ChatModel.layer(make(options))

/**
 * The same with every option from a `Config`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig =
  <O>(make: (options: O) => Effect.Effect<ChatModel.ChatModel, ConfigError.ConfigError, HttpClient.HttpClient>) =>
  (
    options: Config.Config.Wrap<Plain<O>>
  ): Layer.Layer<ChatModel.ChatModel, ConfigError.ConfigError, HttpClient.HttpClient> =>
    ChatModel.layer(Effect.flatMap(Config.unwrap<Plain<O>>(options), (options) => make(options as O)))
