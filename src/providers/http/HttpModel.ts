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

import type * as HttpClient from "@effect/platform/HttpClient"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type * as Attempt from "../../calls/Attempt.js"
import * as Call from "../../calls/Call.js"
import type * as Capabilities from "../../chat/Capabilities.js"
import type * as Chat from "../../chat/Chat.js"
import * as ChatModel from "../../chat/ChatModel.js"
import * as Passage from "../../chat/Passage.js"
import * as EndLimit from "../../chat/stream/EndLimit.js"
import * as Life from "../../chat/stream/Life.js"
import * as Pull from "../../chat/stream/Pull.js"
import * as Replay from "../../chat/stream/Replay.js"
import * as Source from "../../chat/stream/Source.js"
import * as StreamDecoder from "../../chat/stream/StreamDecoder.js"
import * as Classify from "../../errors/Classify.js"
import * as ErrorMessage from "../../errors/ErrorMessage.js"
import { InvalidRequest, type LlmError, StreamInterrupted } from "../../errors/LlmError.js"
import * as Deadline from "../../policies/Deadline.js"
import * as Times from "../../policies/Times.js"
import type * as Transport from "../Transport.js"
import * as Json from "../wire/Json.js"
import type * as Relay from "../wire/Relay.js"
import * as WireFields from "../wire/WireFields.js"
import * as WireFormat from "../wire/WireFormat.js"
import * as Background from "./Background.js"
import * as HttpExchange from "./HttpExchange.js"
import * as HttpTarget from "./HttpTarget.js"
import type * as PassedBody from "./PassedBody.js"

/**
 * A target and its address.
 *
 * @since 0.1.0
 * @category models
 */
export interface Endpoint extends HttpTarget.Endpoint {
  /** Capabilities of the model, laid over the known ones. */
  readonly capabilities?: Capabilities.Capabilities | undefined
}

const meansOf = ({ means }: Passage.Passage): PassedBody.Means => means as PassedBody.Means

/** A request, what it could not say, whether its answer is made later, and whether it is relayed as it comes. */
type Sent = Transport.Request &
  Required<Omit<WireFields.Encoded, "body">> & { readonly relay: Relay.Relaying | undefined }

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
  const { failed, headersIn, isSuccess, maxBytes, readHead, refused, scrubbed } = HttpTarget.make(
    endpoint,
    endpoint.url(false),
    format.limits
  )
  const send = HttpExchange.make(client)
  const asked = HttpTarget.lowerCased(endpoint.headers)
  const posted = { ...asked, "content-type": "application/json" }
  const listening = { ...asked, accept: "text/event-stream" }

  /** The request that carries `request`. One that cannot be written, as a circular schema, is an `InvalidRequest`. */
  const post = (request: Chat.Request, streaming: boolean, context: Context.Context<never>): Sent | InvalidRequest => {
    const passage = Passage.of(context, request)
    const means = passage && meansOf(passage)
    const passed = passage && means?.make(passage, request, format, endpoint, streaming)
    if (passed instanceof InvalidRequest) return passed
    const relay = passage && means?.relay(passage, format)
    const own = headersIn(posted, context)
    const headers = relay === undefined || means === undefined ? own : means.headers(own, passage?.headers)
    const url = endpoint.url(streaming)
    if (passed !== undefined) {
      const { body, later } = passed
      return { method: "POST", url, headers, body, maxBytes, leftOut: [], later, relay }
    }
    try {
      const encoded = format.encode(request, streaming)
      if (encoded instanceof InvalidRequest) return encoded
      const { later = false, leftOut } = encoded
      passage?.encoded?.(provider, leftOut)
      const body = JSON.stringify(encoded.body)
      return { method: "POST", url, headers, body, maxBytes, leftOut, later, relay }
    } catch (cause) {
      const why = ErrorMessage.clean(cause instanceof Error ? cause.message : String(cause), secrets)
      const message = `the request cannot be written as JSON: ${why}`
      return new InvalidRequest({ provider, model, message, delivery: "not-sent" })
    }
  }

  const relayed: typeof format = { ...format, answers: { ...format.answers, relayed: true } }

  const answer = (
    text: string,
    context: WireFields.Exchange,
    isWhole: boolean,
    attempt: Attempt.Attempt,
    relay: Relay.Relaying | undefined
  ): Effect.Effect<Chat.Response, LlmError> => {
    if (!isSuccess(context)) return Effect.fail(refused(text, context))
    if (!isWhole) return Effect.fail(WireFields.tooLarge(context))
    const decoded = WireFormat.decode(relay === undefined ? format : relayed, text, context, (usage) =>
      attempt.note({ usage })
    )
    if (decoded instanceof Error) {
      if (decoded._tag === "ContentFiltered") relay?.filtered?.(decoded, text)
      return Effect.fail(decoded)
    }
    // What came as the events of a stream is no answer to this client.
    if (relay !== undefined && decoded.raw !== undefined && !text.trimEnd().endsWith("[DONE]")) {
      Passage.keep(decoded, relay.wire, text)
    }
    return Effect.succeed(decoded)
  }

  const generate = (request: Chat.Request, attempt: Attempt.Attempt): Effect.Effect<Chat.Response, LlmError> =>
    Effect.withFiberRuntime((fiber) => {
      const sent = post(request, false, fiber.currentContext)
      if (sent instanceof InvalidRequest) return Effect.fail(sent)
      return HttpTarget.said(
        sent.leftOut,
        sent.later && format.later !== undefined
          ? Background.answer(requestsAbout(sent, format.later, attempt))
          : send(fiber, fiber.currentContext, sent, {
              head: readHead(attempt),
              text: (text, context, isWhole) => answer(text, context, isWhole, attempt, sent.relay),
              failed
            })
      )
    })

  /** The requests about an answer that is made in the background. */
  const requestsAbout = (
    sent: Sent,
    later: WireFormat.Later,
    attempt: Attempt.Attempt
  ): Background.Requests<Chat.Response> => {
    type Read = Effect.Effect<Background.State<Chat.Response>, LlmError>
    const read = (text: string, context: WireFields.Exchange, isWhole: boolean, known?: string): Read => {
      const body = isSuccess(context) ? Json.object(Json.parse(text)) : {}
      const state = later.stateOf(body)
      const id = known ?? later.idOf(body)
      if (state === "pending" && id !== undefined) return Effect.succeed({ id })
      const end = answer(text, context, isWhole, attempt, sent.relay)
      return state === "ended" || known === undefined ? Effect.succeed({ end }) : Effect.map(end, () => ({ end }))
    }
    const exchange = (request: (context: Context.Context<never>) => Transport.Request, known?: string): Read =>
      Effect.withFiberRuntime((fiber) =>
        send(fiber, fiber.currentContext, request(fiber.currentContext), {
          head: readHead(attempt),
          text: (text, context, isWhole) => read(text, context, isWhole, known),
          failed
        })
      )
    const about = (method: "GET" | "POST", id: string, action?: "cancel") =>
      exchange((context) => {
        const headers = headersIn(asked, context)
        return { method, url: later.url(sent.url, id, action), headers, body: undefined, maxBytes }
      }, id)
    return {
      start: exchange(() => sent),
      ask: (id) => about("GET", id),
      // The limit in force may be over.
      cancel: (id) => Effect.provideService(about("POST", id, "cancel"), Deadline.Deadline, Deadline.none)
    }
  }

  /** The first pull sends the request; later pulls read the stream. */
  const open = (request: Chat.Request, attempt: Attempt.Attempt): Source.Source =>
    Source.make(({ closing, context, fiber: { currentDefaultServices } }) => {
      const clock = Context.get(currentDefaultServices, Clock.Clock)
      const ending = new EndLimit.EndLimit(Deadline.of(context))
      const progress = Call.peek(context, Replay.Progress)
      const moved = (cursor: StreamDecoder.Cursor): void => {
        if (decoder?.over() === true) ending.over(Times.now(clock))
        else ending.goOn()
        if (progress !== undefined) progress.cursor = cursor
        if (cursor.usage !== undefined) attempt.note({ usage: cursor.usage })
      }
      const alive = Call.peek(context, Life.Life)
      const from = Call.peek(context, Replay.Resume)

      /**
       * The error if the rest of an answer cannot be had. The cursor loses its `resume`, so it is not requested again.
       */
      const gone = (message: string, context?: WireFields.Exchange): LlmError => {
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

      /** The error of a response that is no stream. */
      const readWhole = (text: string, context: WireFields.Exchange): Effect.Effect<never, LlmError> => {
        const error = isSuccess(context) ? undefined : refused(text, context)
        if (from === undefined) return Effect.fail(error ?? Classify.unreadable(context, text))
        if (error === undefined) return Effect.fail(gone("the answer came from its beginning", context))
        return Effect.fail(isUnknown(error) ? gone(error.message, context) : error)
      }

      const relayOf = (): Relay.Relaying | undefined => {
        const passage = Passage.of(context, request)
        return passage && meansOf(passage).relay(passage, format)
      }

      const requested = (): Sent | LlmError => {
        if (from === undefined) return post(request, true, context)
        return format.resume === undefined
          ? gone("it was another provider's")
          : {
              method: "GET",
              url: format.resume(endpoint.url(true), from),
              headers: headersIn(listening, context),
              body: undefined,
              maxBytes,
              leftOut: [],
              later: false,
              relay: relayOf()
            }
      }

      let decoder: StreamDecoder.Decoder | undefined
      let relay: Relay.Relaying | undefined
      const readStream = (bytes: HttpExchange.Bytes, context: WireFields.Exchange): Effect.Effect<Pull.Pull> => {
        const start = from && { inside: "nothing" as const, usage: undefined, ...progress?.cursor, resume: from }
        decoder = WireFormat.decoder(format, context, start, relay)
        const pull = StreamDecoder.decode(bytes, decoder, {
          provider,
          model,
          requestId: context.requestId,
          shown: (text) => ErrorMessage.scrub(text, secrets),
          broken: (error) => failed(HttpExchange.causeOf(error), "stream"),
          moved,
          maxEventLength: maxBytes,
          lapsed: () => ending.lapsed(),
          alive
        })
        return Effect.succeed(pull)
      }

      /** Whether a response is read in pieces. What a server calls JSON may be a stream, and the other way round. */
      const isWanted = (context: WireFields.Exchange): boolean => {
        const type = context.headers["content-type"] ?? ""
        return isSuccess(context) && !/\bhtml\b/i.test(type) && (from === undefined || !/\bjson\b/i.test(type))
      }

      let reading: Pull.Pull | undefined
      const begin: Pull.Pull = Effect.withFiberRuntime((fiber) => {
        const sent = requested()
        if (sent instanceof Error) return Effect.fail(Option.some(sent))
        relay = sent.relay
        const pieces = {
          closing,
          limit: ending,
          wanted: isWanted,
          read: readStream,
          whole: () => decoder?.done() === true
        }
        // The request belongs into the span of its attempt, also if the stream is pulled from another span.
        const asked = HttpTarget.said(
          sent.leftOut,
          send(fiber, context, sent, { head: readHead(attempt), text: readWhole, failed, pieces })
        )
        return Pull.ended(asked, (exit): Pull.Pull => {
          if (Exit.isFailure(exit)) return Exit.failCause(Cause.map(exit.cause, Option.some))
          reading = exit.value
          return Pull.nextOf(reading)
        })
      })
      return Exit.succeed(Pull.make(() => (reading === undefined ? begin : Pull.nextOf(reading))))
    })

  const { capabilities, group, key } = endpoint
  const shown = (text: string) => scrubbed(text)
  return ChatModel.fromLeaf({ provider, model, key, group, capabilities, generate, open, keepsLimits: true, shown })
}

/** Whether an error means that the provider does not have the answer, or no longer. */
const isUnknown = (error: LlmError): boolean => error._tag === "ModelNotFound" || error._tag === "InvalidRequest"
