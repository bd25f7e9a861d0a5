/**
 * Models of `@effect/ai` as models of this library: {@link fromLanguageModel}.
 *
 * @since 0.2.0
 */

import * as LanguageModel from "@effect/ai/LanguageModel"
import type * as Response from "@effect/ai/Response"
import * as Telemetry from "@effect/ai/Telemetry"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Call from "../calls/Call.js"
import * as Answer from "../chat/Answer.js"
import type * as Capabilities from "../chat/Capabilities.js"
import type * as Chat from "../chat/Chat.js"
import * as Model from "../chat/Model.js"
import * as ChatStream from "../chat/stream/ChatStream.js"
import * as Life from "../chat/stream/Life.js"
import * as StreamDecoder from "../chat/stream/StreamDecoder.js"
import * as ErrorMessage from "../errors/ErrorMessage.js"
import * as LlmError from "../errors/LlmError.js"
import * as AiErrors from "./AiErrors.js"
import * as PartReader from "./PartReader.js"
import * as SpanFilter from "./SpanFilter.js"
import * as TheirRequest from "./TheirRequest.js"

/**
 * The options of {@link fromLanguageModel}.
 *
 * @since 0.2.0
 * @category options
 */
export interface Options {
  /** The provider's name in records, errors and prices, such as `openai`. */
  readonly provider: string
  /** The model's name at the provider. */
  readonly model: string
  /** The API key's short hash (`KeyPool.nameOf`). Default: none. */
  readonly key?: string | undefined
  /** Targets of one group share a `RetryBudget`. Default: the provider. */
  readonly group?: string | undefined
  /** Overrides single capabilities of `Capabilities.known`. */
  readonly capabilities?: Capabilities.Capabilities | undefined
  /**
   * Settings of their provider for a request, as its `Config` tag takes them: `temperature`, `maxTokens` and the like
   * have no place in the options of `@effect/ai`. Default: the request's settings are left out.
   */
  readonly settings?: ((request: Chat.Request) => Context.Context<never>) | undefined
  /** The provider's keys, to be scrubbed from errors. Default: what looks like a key is scrubbed. */
  readonly secrets?: ReadonlyArray<Redacted.Redacted> | undefined
}

type Parts = ReadonlyArray<Response.AnyPart>

/** Their methods, without the types of tools that are known only when a request comes. */
interface Asked {
  readonly generateText: (options: unknown) => Effect.Effect<{ readonly content: Parts }, unknown>
  readonly generateObject: (options: unknown) => Effect.Effect<{ readonly content: Parts }, unknown>
  readonly streamText: (options: unknown) => Stream.Stream<Response.AnyPart, unknown>
}

/** Fails with what a cause tells. Interruption stays, and so does a defect that is not about the network. */
const failed = (failing: (now: number) => AiErrors.Failing, cause: Cause.Cause<unknown>) =>
  Effect.flatMap(Clock.currentTimeMillis, (now): Effect.Effect<never, LlmError.LlmError> => {
    const failure = Cause.failureOption(cause)
    if (Option.isSome(failure)) return Effect.fail(AiErrors.ofUnknown(failing(now), failure.value))
    const defect = Cause.isInterrupted(cause) ? Option.none() : Cause.dieOption(cause)
    return Option.isSome(defect) && AiErrors.isOfNetwork(defect.value)
      ? Effect.fail(AiErrors.ofUnknown(failing(now), defect.value))
      : // The failures were dealt with.
        Effect.failCause(cause as Cause.Cause<never>)
  })

/**
 * Asks for an answer by a schema. Theirs fails if the text is no JSON, or if there is none because the model calls
 * tools. Our providers hand both on, so the answer is taken where theirs shows it to telemetry, just before.
 */
const objectOf = (asked: Asked, options: object): Effect.Effect<{ readonly content: Parts }, unknown> =>
  Effect.flatMap(Effect.serviceOption(Telemetry.CurrentSpanTransformer), (outer) => {
    let seen: Parts | undefined
    return asked.generateObject(options).pipe(
      Effect.provideService(Telemetry.CurrentSpanTransformer, (shown) => {
        seen = shown.response
        if (Option.isSome(outer)) outer.value(shown)
      }),
      Effect.catchAll((error) => (seen === undefined ? Effect.fail(error) : Effect.succeed({ content: seen })))
    )
  })

/** A part that adds to the answer, and that no reader sees yet. */
const isLife = (part: Response.AnyPart): boolean =>
  part.type === "tool-params-delta" || part.type === "tool-call" || part.type === "file" || part.type === "tool-result"

const leafOf = (service: LanguageModel.Service, options: Options): Model.Leaf => {
  const asked = service as unknown as Asked
  const { capabilities, group, key, model, provider, settings } = options
  const target = { provider, model }
  const secrets = options.secrets?.map(Redacted.value) ?? []
  const failing =
    (stage: AiErrors.Failing["stage"], reading: AiErrors.Failing["reading"]) =>
    (now: number): AiErrors.Failing => ({ ...target, secrets, now, stage, reading })

  const set = (request: Chat.Request) => (context: Context.Context<never>) =>
    settings === undefined ? context : Context.merge(context, settings(request))

  const wrong = (message: string) => new LlmError.InvalidResponse({ ...target, message, delivery: "unknown" })

  /** Reads a whole answer. What names it stands first, wherever they put it. */
  const eventsOf = (content: Parts): Effect.Effect<ReadonlyArray<Chat.Event>, LlmError.LlmError> => {
    const reader = PartReader.make(target)
    const events: Array<Chat.Event> = []
    const isName = (part: Response.AnyPart): boolean => part.type === "response-metadata"
    for (const part of [...content.filter(isName), ...content.filter((part) => !isName(part))]) {
      const read = reader.take(part)
      if ("_tag" in read) return Effect.fail(read)
      events.push(...read)
    }
    return reader.finished() ? Effect.succeed(events) : Effect.fail(wrong("an answer without its end"))
  }

  const whole = (request: Chat.Request): Effect.Effect<ReadonlyArray<Chat.Event>, LlmError.LlmError> => {
    const theirs = TheirRequest.of(target, request)
    if (theirs instanceof LlmError.InvalidRequest) return Effect.fail(theirs)
    const asking = Effect.suspend(() =>
      theirs.object === undefined
        ? asked.generateText(theirs.options)
        : objectOf(asked, { ...theirs.options, ...theirs.object })
    )
    return SpanFilter.around(asking).pipe(
      Effect.mapInputContext(set(request)),
      Effect.catchAllCause((cause) => failed(failing("before-headers", "body"), cause)),
      Effect.flatMap(({ content }) => eventsOf(content))
    )
  }

  const streamed = (theirs: TheirRequest.TheirRequest, request: Chat.Request, alive: () => void) =>
    Stream.suspend(() => {
      const reader = PartReader.make(target)
      const tally = StreamDecoder.makeTally({ ...target, shown: (text) => ErrorMessage.scrub(text, secrets) })
      let stage: AiErrors.Failing["stage"] = "before-headers"
      let begun = false
      const take = (part: Response.AnyPart): Effect.Effect<ReadonlyArray<Chat.Event>, LlmError.LlmError> => {
        stage = "stream"
        if (part.type === "error") {
          return Effect.flatMap(Clock.currentTimeMillis, (now) =>
            Effect.fail(AiErrors.ofPart(failing(stage, "stream")(now), part.error))
          )
        }
        if (isLife(part)) alive()
        const read = reader.take(part)
        if ("_tag" in read) return Effect.fail(read)
        tally.count(read)
        begun ||= read.some((event) => event._tag === "TextDelta")
        return Effect.succeed(read)
      }
      const parts = Stream.suspend(() => asked.streamText(theirs.options))
      // Their spans are made while the stream is read.
      const filtered = Stream.fromPull(Effect.map(SpanFilter.around(Stream.toPull(parts)), SpanFilter.around))
      return filtered.pipe(
        Stream.mapInputContext(set(request)),
        Stream.catchAllCause((cause) => Stream.fromEffect(failed(failing(stage, "stream"), cause))),
        Stream.mapEffect(take),
        Stream.mapConcat((events) => events),
        // Whoever classifies a broken stream does not know what it delivered.
        Stream.mapError((error) =>
          error._tag === "StreamInterrupted" && error.received === 0 && begun
            ? tally.interrupted(error.message, error)
            : error
        )
      )
    })

  const stream = (request: Chat.Request): Stream.Stream<Chat.Event, LlmError.LlmError> =>
    Stream.unwrap(
      Effect.contextWith((context: Context.Context<never>) => {
        const theirs = TheirRequest.of(target, request)
        if (theirs instanceof LlmError.InvalidRequest) return Stream.fail(theirs)
        // Theirs streams no objects: the answer comes in one piece.
        if (theirs.object !== undefined) return Stream.fromIterableEffect(whole(request))
        return streamed(theirs, request, () => Call.peek(context, Life.Life)?.())
      })
    )

  return {
    ...target,
    key,
    group,
    capabilities,
    shown: (text) => ErrorMessage.scrub(text, secrets),
    generate: (request) =>
      Effect.map(whole(request), (events) => {
        const answer = Answer.make()
        answer.add(events)
        return answer.response()
      }),
    open: (request) => ChatStream.fromStream(stream(request), target)
  }
}

export const fromLanguageModel: {
  /**
   * A model of `@effect/ai` as a model of one target, from its layer, such as `OpenAiLanguageModel.layer` or
   * `OpenAiLanguageModel.model`. The scope holds what the layer builds.
   *
   * @since 0.2.0
   * @category constructors
   */
  <E, R>(
    self: Layer.Layer<LanguageModel.LanguageModel, E, R>,
    options: Options
  ): Effect.Effect<Model.ChatModel, E, R | Scope.Scope>
  /** From an effect, such as `OpenAiLanguageModel.make` or the tag `LanguageModel.LanguageModel`. */
  <E, R>(self: Effect.Effect<LanguageModel.Service, E, R>, options: Options): Effect.Effect<Model.ChatModel, E, R>
  /** From the service itself. */
  (self: LanguageModel.Service, options: Options): Model.ChatModel
} = ((self: unknown, options: Options): unknown => {
  const made = (service: LanguageModel.Service) => Model.fromLeaf(leafOf(service, options))
  if (Layer.isLayer(self)) {
    const layer = self as Layer.Layer<LanguageModel.LanguageModel>
    return Effect.map(Layer.build(layer), (context) => made(Context.get(context, LanguageModel.LanguageModel)))
  }
  if (Effect.isEffect(self)) return Effect.map(self as Effect.Effect<LanguageModel.Service>, made)
  return made(self as LanguageModel.Service)
}) as never
