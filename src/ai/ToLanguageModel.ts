/**
 * Models of this library as the `LanguageModel` of `@effect/ai`: {@link toLanguageModel} and {@link layer}.
 *
 * @since 0.2.0
 */

import * as LanguageModel from "@effect/ai/LanguageModel"
import * as Prompt from "@effect/ai/Prompt"
import type * as Response from "@effect/ai/Response"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as Tracer from "effect/Tracer"
import * as Answer from "../chat/Answer.js"
import type * as Chat from "../chat/Chat.js"
import * as Model from "../chat/Model.js"
import * as Replay from "../chat/stream/Replay.js"
import type * as LlmError from "../errors/LlmError.js"
import * as AiErrors from "./AiErrors.js"
import * as Marks from "./Marks.js"
import * as OurRequest from "./OurRequest.js"
import * as PartWriter from "./PartWriter.js"
import * as Replies from "./Replies.js"

/**
 * The options of {@link toLanguageModel} and {@link layer}.
 *
 * @since 0.2.0
 * @category options
 */
export interface Options {
  /** What every request says besides its conversation: `temperature`, `maxTokens` and so on. Default: nothing. */
  readonly request?: OurRequest.Settings | undefined
}

/**
 * What the requests of a part of a program say besides their conversation. It overrides the `request` of the options,
 * setting by setting. Default: nothing.
 *
 * @since 0.2.0
 * @category context
 */
export class RequestSettings extends Context.Reference<RequestSettings>()("steadfast/ai/RequestSettings", {
  defaultValue: (): OurRequest.Settings => ({})
}) {}

/**
 * Makes the service of a model.
 *
 * @since 0.2.0
 * @category conversions
 */
export const toLanguageModel = (model: Model.ChatModel, options?: Options): Effect.Effect<LanguageModel.Service> =>
  Effect.suspend(() => {
    const replies = Replies.make()
    const failed = (method: string) => (error: LlmError.LlmError) => AiErrors.toAiError(method, error)
    /** The settings are those of the caller's context. */
    const requestOf = (asked: LanguageModel.ProviderOptions) =>
      Effect.map(RequestSettings, (settings) =>
        OurRequest.of(asked, model.name, { ...options?.request, ...settings }, replies.recall)
      )
    return LanguageModel.make({
      generateText: (asked) => {
        const method = asked.responseFormat.type === "json" ? "generateObject" : "generateText"
        return Effect.flatMap(requestOf(asked), (request) =>
          "_tag" in request ? Effect.fail(request) : model.generate(request)
        ).pipe(
          Effect.map((response) => {
            replies.keep(response)
            return PartWriter.whole(response)
          }),
          Effect.mapError(failed(method))
        )
      },
      streamText: (asked) =>
        Stream.unwrap(
          Effect.map(requestOf(asked), (request) =>
            "_tag" in request ? Stream.fail(request) : partsOf(model.stream(request), replies)
          )
        ).pipe(
          Stream.mapError(failed("streamText")),
          // Theirs makes a span for the stream, and does not put the stream under it.
          Stream.provideSomeContext<never>(
            Context.make(Tracer.ParentSpan, asked.span).pipe(Context.add(Replay.Strict, true as const))
          )
        )
    })
  })

/** The parts of a stream. */
const partsOf = (
  events: Stream.Stream<Chat.Event, LlmError.LlmError>,
  replies: Replies.Replies
): Stream.Stream<Response.StreamPartEncoded, LlmError.LlmError> =>
  Stream.suspend(() => {
    const write = PartWriter.streamed()
    const answer = Answer.make()
    return events.pipe(
      Stream.mapEffect((event) => {
        answer.add([event])
        if (event._tag === "Finish") replies.keep(answer.response())
        const parts = write(event)
        return "_tag" in parts ? Effect.fail(parts) : Effect.succeed(parts)
      }),
      Stream.mapConcat((parts) => parts)
    )
  })

/**
 * Puts a model into the context as the `LanguageModel` of `@effect/ai`. The tag `ChatModel.ChatModel` gives the model
 * of the application.
 *
 * @since 0.2.0
 * @category layers
 */
export const layer = <E = never, R = never>(
  model: Model.ChatModel | Effect.Effect<Model.ChatModel, E, R>,
  options?: Options
): Layer.Layer<LanguageModel.LanguageModel, E, R> =>
  Layer.effect(
    LanguageModel.LanguageModel,
    Model.isChatModel(model)
      ? toLanguageModel(model, options)
      : Effect.flatMap(model, (made) => toLanguageModel(made, options))
  )

/**
 * The messages of an answer for the next prompt, with everything that has to go back to the provider. Their
 * `Prompt.fromResponseParts` leaves it out. Takes the `content` of an answer, or all parts of a stream.
 *
 * @since 0.2.0
 * @category conversions
 */
export const promptOf = (parts: ReadonlyArray<Response.AnyPart>): Prompt.Prompt => {
  const calls = new Map<string, Record<string, Record<string, unknown>>>()
  let options = {}
  for (const part of parts) {
    const { providerData } = Marks.read(part.metadata)
    if (providerData === undefined) continue
    const { details: _, ...back } = providerData
    if (part.type === "tool-call") calls.set(part.id, Marks.write({ providerData }))
    else if (part.type === "finish" && back.reply !== undefined) options = Marks.write({ providerData: back })
  }
  return Prompt.fromMessages(
    Prompt.fromResponseParts(parts).content.map((message) =>
      message.role !== "assistant"
        ? message
        : Prompt.makeMessage("assistant", {
            options,
            content: message.content.map((part) =>
              part.type === "tool-call"
                ? Prompt.makePart("tool-call", { ...part, options: calls.get(part.id) ?? {} })
                : part
            )
          })
    )
  )
}
