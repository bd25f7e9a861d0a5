/**
 * Asks a model as one call that the gateway watches: its id is known before its answer, and its attempts while it runs.
 *
 * @since 0.2.0
 */

import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import type * as Stream from "effect/Stream"
import * as Call from "../calls/Call.js"
import type { AttemptRecord } from "../calls/CallRecord.js"
import type * as Chat from "../chat/Chat.js"
import { type ChatModel, TypeId } from "../chat/ChatModel.js"
import * as ChatStream from "../chat/stream/ChatStream.js"
import * as Pull from "../chat/stream/Pull.js"
import * as Source from "../chat/stream/Source.js"
import type * as EmbeddingModel from "../embeddings/EmbeddingModel.js"
import type { LlmError } from "../errors/LlmError.js"
import * as ClientKeys from "./ClientKeys.js"
import type { Controls } from "./Controls.js"
import * as Evidence from "./Evidence.js"
import type { Allowed } from "./ModelTable.js"

/**
 * A call, as far as it has come.
 *
 * @since 0.2.0
 * @category models
 */
export class Watch {
  private call: Call.Call | undefined
  private running: { readonly provider: string; readonly model: string } | undefined

  /** Opens the call under a context. */
  readonly open = (
    fiber: Fiber.RuntimeFiber<unknown, unknown>,
    context: Context.Context<never>,
    name: string,
    operation: string
  ): Call.Opened => {
    const implicit = { lone: false, spanName: `${operation} ${name}`, operation }
    const opened = Call.open(fiber, context, name, implicit)
    this.call = Context.unsafeGet(opened.context, Call.CurrentCall)
    return opened
  }

  /** Hears who began to answer. */
  readonly heard = (event: Chat.Event): void => {
    if (event._tag === "Start") this.running = { provider: event.provider, model: event.model }
  }

  /** Hears that the call failed: nobody has answered it. */
  readonly failed = (): void => {
    this.running = undefined
  }

  get attempts(): ReadonlyArray<AttemptRecord> {
    return this.call?.attempts ?? []
  }

  /** The facts by now; `undefined` before the call has begun. */
  facts(): Evidence.Facts | undefined {
    const { call, running } = this
    return call && Evidence.factsOf({ id: call.id, attempts: call.attempts, running })
  }
}

/** The error that the client is told, for the one that a model failed with. */
type Told = (error: LlmError) => LlmError

const telling =
  (watch: Watch, told: Told): Told =>
  (error) => {
    watch.failed()
    return told(error)
  }

/** An effect as a call that is watched. */
const watched = <A>(
  name: string,
  operation: string,
  effect: () => Effect.Effect<A, LlmError>,
  watch: Watch,
  told: Told
): Effect.Effect<A, LlmError> =>
  Effect.mapError(
    Call.under((fiber) => watch.open(fiber, fiber.currentContext, name, operation), effect),
    told
  )

/**
 * What a call may do: as the client's headers say, within the rights of its key.
 *
 * @since 0.2.0
 * @category getters
 */
export const allowed = (client: ClientKeys.Client, { maxAttempts, noFallback }: Controls): Allowed => ({
  maxAttempts,
  fallback: !noFallback,
  mayAsk: (model) => ClientKeys.mayAsk(client, model)
})

/**
 * Asks for a whole answer.
 *
 * @since 0.2.0
 * @category running
 */
export const answer = (
  model: ChatModel,
  request: Chat.Request,
  watch: Watch,
  told: Told
): Effect.Effect<Chat.Response, LlmError> => watched(model.name, "chat", () => model.generate(request), watch, told)

/**
 * Asks for a streamed answer.
 *
 * @since 0.2.0
 * @category running
 */
export const stream = (
  model: ChatModel,
  request: Chat.Request,
  watch: Watch,
  told: Told
): Stream.Stream<Chat.Event, LlmError> => {
  const source = ChatStream.evidenced(
    (fiber, context) => watch.open(fiber, context, model.name, "chat"),
    () => model[TypeId].open(request),
    watch.heard
  )
  // On the source, so that the stream is read without the machinery of `Stream`.
  return ChatStream.toStream(Source.map(source, (pull) => Pull.mapError(pull, Option.map(telling(watch, told)))))
}

/**
 * Asks for vectors.
 *
 * @since 0.2.0
 * @category running
 */
export const vectors = (
  model: EmbeddingModel.EmbeddingModel,
  request: EmbeddingModel.Request,
  watch: Watch,
  told: Told
): Effect.Effect<EmbeddingModel.Response, LlmError> =>
  watched(model.name, "embeddings", () => model.embed(request), watch, told)
