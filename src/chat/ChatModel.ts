/**
 * Models, and the algebra over them: a composition of models is a model.
 *
 * A leaf ({@link make}) is one target; every request to it is one attempt. {@link retry}, {@link timeout},
 * {@link deadline} and {@link orElse} take models and give models, so that a composition can be named, put into a layer,
 * served and streamed like a leaf. For `generate` each is the combinator of `Resilience`; for `stream` it is the same
 * with the rules of `Replay`, by default those of `strict` mode: once content was delivered nothing is replayed, and what
 * was delivered is a prefix of exactly one attempt.
 *
 * Gotchas: the order is the order of the pipe, inside out. Put `timeout` before `retry` (one attempt each) and `deadline`
 * last (everything together).
 *
 * @example
 * import { ChatModel, RetryPolicy } from "effect-steadfast"
 *
 * declare const gpt: ChatModel.ChatModel
 * declare const claude: ChatModel.ChatModel
 *
 * const assistant = gpt.pipe(
 *   ChatModel.timeout({ attempt: "30 seconds", firstToken: "10 seconds" }),
 *   ChatModel.retry(RetryPolicy.standard),
 *   ChatModel.orElse(claude),
 *   ChatModel.deadline("90 seconds"),
 *   ChatModel.named("assistant")
 * )
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { dual, identity } from "effect/Function"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { type Pipeable, pipeArguments } from "effect/Pipeable"
import * as Predicate from "effect/Predicate"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import * as Attempt from "../calls/Attempt.js"
import * as Call from "../calls/Call.js"
import { targetName } from "../calls/CallRecord.js"
import * as Resilience from "../calls/Resilience.js"
import * as LlmError from "../errors/LlmError.js"
import type * as Chat from "./Chat.js"
import * as ChatStream from "./ChatStream.js"
import * as Continuation from "./Continuation.js"
import * as Replay from "./Replay.js"

/**
 * @since 0.1.0
 * @category symbols
 */
export const TypeId: unique symbol = Symbol.for("steadfast/ChatModel")

/**
 * @since 0.1.0
 * @category symbols
 */
export type TypeId = typeof TypeId

/**
 * Anything that answers: one target, or a composition. `name` is how logs and spans call it.
 *
 * @since 0.1.0
 * @category models
 */
export interface ChatModel extends Pipeable {
  readonly [TypeId]: Replay.Candidate
  readonly name: string
  readonly generate: (request: Chat.Request) => Effect.Effect<Chat.Response, LlmError.LlmError>
  readonly stream: (request: Chat.Request) => Stream.Stream<Chat.Event, LlmError.LlmError>
}

/**
 * The model of the application.
 *
 * @since 0.1.0
 * @category context
 */
export const ChatModel: Context.Tag<ChatModel, ChatModel> = Context.GenericTag<ChatModel>("steadfast/ChatModel")

/**
 * @since 0.1.0
 * @category refinements
 */
export const isChatModel = (u: unknown): u is ChatModel => Predicate.hasProperty(u, TypeId)

const Proto = {
  pipe() {
    // biome-ignore lint/complexity/noArguments: the shape that Effect's Pipeable has
    return pipeArguments(this, arguments)
  },
  toJSON(this: ChatModel) {
    return { _id: "steadfast/ChatModel", name: this.name }
  }
}

/** What a model is made of. */
interface Parts {
  readonly name: string
  readonly generate: (request: Chat.Request) => Effect.Effect<Chat.Response, LlmError.LlmError>
  readonly source: (request: Chat.Request) => ChatStream.Source
  readonly continuation: Continuation.Method | undefined
}

/** A model of parts: each request is a call where none is open. */
const compose = (parts: Parts, attributes: Record<string, unknown> = {}): ChatModel => {
  const implicit: Call.Implicit = {
    spanName: `chat ${parts.name}`,
    attributes: { "gen_ai.operation.name": "chat", ...attributes }
  }
  const source = (request: Chat.Request): ChatStream.Source =>
    Effect.withFiberRuntime((fiber) =>
      Call.isOpen(fiber)
        ? parts.source(request)
        : ChatStream.evidenced(
            (fiber) => Call.open(fiber, parts.name, implicit),
            () => parts.source(request)
          )
    )
  return Object.assign(Object.create(Proto), {
    [TypeId]: { open: source, continuation: parts.continuation },
    name: parts.name,
    generate: (request: Chat.Request) => Call.around(parts.generate(request), parts.name, implicit),
    stream: (request: Chat.Request) => ChatStream.toStream(source(request))
  })
}

// -----------------------------------------------------------------------------
// constructors
// -----------------------------------------------------------------------------

/**
 * How a leaf asks its target. `open` is the form that the providers of this library use for streams; `continuation` is how
 * the model is asked to go on after a cut, by default what `Continuation.methodOf` knows of it; `shown` scrubs what the
 * provider says of itself before it gets into spans and records.
 *
 * @since 0.1.0
 * @category models
 */
export interface Leaf extends Attempt.Target {
  readonly generate: (
    request: Chat.Request,
    attempt: Attempt.Attempt
  ) => Effect.Effect<Chat.Response, LlmError.LlmError>
  readonly open: (request: Chat.Request, attempt: Attempt.Attempt) => ChatStream.Source
  readonly continuation?: Continuation.Method | undefined
  readonly shown?: ((text: string) => string) | undefined
}

/**
 * A leaf whose stream is a `ChatStream.Source`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const fromLeaf = (leaf: Leaf): ChatModel => {
  const target: Attempt.Target = { provider: leaf.provider, model: leaf.model }
  const shown = leaf.shown ?? identity
  const answered = (answer: { readonly id?: string | undefined; readonly model: string }) => ({
    responseId: answer.id === undefined ? undefined : shown(answer.id),
    responseModel: shown(answer.model)
  })
  const noteEvent = (event: Chat.Event, { attempt }: Attempt.Opened): void => {
    if (event._tag === "Start") attempt.note(answered(event))
    else if (event._tag === "Usage") attempt.note({ usage: event.usage })
  }
  return compose(
    {
      name: targetName(target),
      generate: (request) => {
        const once = Attempt.run(target, (attempt) =>
          Effect.map(leaf.generate(request, attempt), (response) => {
            attempt.note({ ...answered(response), usage: response.usage })
            return response
          })
        )
        return careful(request, once)
      },
      source: (request) => {
        const once = ChatStream.held(
          ChatStream.evidenced(
            (fiber) => Attempt.open(fiber, target),
            ({ attempt }) => leaf.open(request, attempt),
            noteEvent
          )
        )
        return carefulSource(request, once)
      },
      continuation: leaf.continuation ?? Continuation.methodOf(target)
    },
    {
      "gen_ai.provider.name": target.provider,
      "gen_ai.system": target.provider,
      "gen_ai.request.model": target.model
    }
  )
}

/**
 * A leaf: one target. `generate` and `stream` send one request each and note on the attempt what they learn; calls,
 * attempts, records and spans are seen to here.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  options: Omit<Leaf, "open"> & {
    readonly stream: (request: Chat.Request, attempt: Attempt.Attempt) => Stream.Stream<Chat.Event, LlmError.LlmError>
  }
): ChatModel =>
  fromLeaf({ ...options, open: (request, attempt) => ChatStream.fromStream(options.stream(request, attempt), options) })

/** Where running it twice does harm, what may have been run is not run again. */
const mayRepeat = (request: Chat.Request, error: LlmError.LlmError): boolean =>
  request.idempotent !== false || error.delivery !== "unknown"

/** The error tells it too, to whoever retries outside of the model. */
const onlyIfUnsent = (error: LlmError.LlmError): LlmError.LlmError =>
  error.delivery === "unknown" ? LlmError.override(error, { retryable: false, fallbackable: false }) : error

const careful = <A>(
  request: Chat.Request,
  effect: Effect.Effect<A, LlmError.LlmError>
): Effect.Effect<A, LlmError.LlmError> =>
  request.idempotent === false ? Effect.mapError(effect, onlyIfUnsent) : effect

const carefulSource = (request: Chat.Request, source: ChatStream.Source): ChatStream.Source =>
  request.idempotent === false ? Effect.map(source, Effect.mapError(Option.map(onlyIfUnsent))) : source

/**
 * Puts a model into the context of an application.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = <E, R>(model: Effect.Effect<ChatModel, E, R>): Layer.Layer<ChatModel, E, R> =>
  Layer.effect(ChatModel, model)

/**
 * Asks the model in the context for a whole answer.
 *
 * @since 0.1.0
 * @category accessors
 */
export const generate = (request: Chat.Request): Effect.Effect<Chat.Response, LlmError.LlmError, ChatModel> =>
  Effect.flatMap(ChatModel, (model) => model.generate(request))

/**
 * Asks the model in the context for a streamed answer.
 *
 * @since 0.1.0
 * @category accessors
 */
export const stream = (request: Chat.Request): Stream.Stream<Chat.Event, LlmError.LlmError, ChatModel> =>
  Stream.unwrap(Effect.map(ChatModel, (model) => model.stream(request)))

// -----------------------------------------------------------------------------
// combinators
// -----------------------------------------------------------------------------

/**
 * What happens to a stream that breaks after content was delivered. Default `"strict"`: nothing is replayed then. See
 * `Replay` for what each mode promises.
 *
 * @since 0.1.0
 * @category options
 */
export interface ReplayOptions {
  readonly mode?: Replay.Mode | undefined
}

/**
 * Retries by a policy, or by any schedule over `LlmError`; a stream only until its first content, unless `mode` says
 * otherwise.
 *
 * @since 0.1.0
 * @category combinators
 */
export const retry: {
  <Out>(policy: Schedule.Schedule<Out, LlmError.LlmError>, options?: ReplayOptions): (self: ChatModel) => ChatModel
  <Out>(self: ChatModel, policy: Schedule.Schedule<Out, LlmError.LlmError>, options?: ReplayOptions): ChatModel
} = dual(
  (args) => isChatModel(args[0]),
  <Out>(self: ChatModel, policy: Schedule.Schedule<Out, LlmError.LlmError>, options?: ReplayOptions): ChatModel => {
    const allowed = (request: Chat.Request) =>
      request.idempotent === false ? Schedule.whileInput(policy, (error) => mayRepeat(request, error)) : policy
    return compose({
      name: self.name,
      generate: (request) => Resilience.retry(self.generate(request), allowed(request)),
      source: (request) => Replay.retry(self[TypeId], request, allowed(request), options?.mode ?? "strict"),
      continuation: self[TypeId].continuation
    })
  }
)

/**
 * How long an attempt may take.
 *
 * - `attempt`: from its start to its end.
 * - `firstToken`: to the first content of a stream; headers and pings are none.
 * - `idle`: between the content of a stream; comments and pings are none.
 *
 * @since 0.1.0
 * @category options
 */
export interface Timeouts {
  readonly attempt?: Duration.DurationInput | undefined
  readonly firstToken?: Duration.DurationInput | undefined
  readonly idle?: Duration.DurationInput | undefined
}

/**
 * Ends what takes too long with a `Timeout` of its phase, and closes its socket. Put it before `retry`.
 *
 * @since 0.1.0
 * @category combinators
 */
export const timeout: {
  (timeouts: Timeouts): (self: ChatModel) => ChatModel
  (self: ChatModel, timeouts: Timeouts): ChatModel
} = dual(
  2,
  (self: ChatModel, timeouts: Timeouts): ChatModel =>
    compose({
      name: self.name,
      generate: (request) => {
        if (timeouts.attempt === undefined) return self.generate(request)
        const once = Resilience.attemptTimeout(self.generate(request), timeouts.attempt, namedBy(self))
        return careful(request, once)
      },
      source: (request) => {
        return carefulSource(request, ChatStream.limited(self[TypeId].open(request), timeouts, namedBy(self)))
      },
      continuation: self[TypeId].continuation
    })
)

/**
 * Bounds everything below, all attempts and waits together, with a `Timeout` of phase `total`. A retry whose wait would
 * outlive it is not begun.
 *
 * @since 0.1.0
 * @category combinators
 */
export const deadline: {
  (duration: Duration.DurationInput): (self: ChatModel) => ChatModel
  (self: ChatModel, duration: Duration.DurationInput): ChatModel
} = dual(
  2,
  (self: ChatModel, duration: Duration.DurationInput): ChatModel =>
    compose({
      name: self.name,
      generate: (request) => careful(request, Resilience.deadline(self.generate(request), duration, namedBy(self))),
      source: (request) =>
        carefulSource(request, ChatStream.limited(self[TypeId].open(request), { total: duration }, namedBy(self))),
      continuation: self[TypeId].continuation
    })
)

/**
 * When another model is asked, and what happens to a stream then. `when` is by default `LlmError.isFallbackable`.
 *
 * @since 0.1.0
 * @category options
 */
export interface FallbackOptions extends ReplayOptions {
  readonly when?: (error: LlmError.LlmError) => boolean
}

/**
 * Asks another model when this one fails with an error that another target may mend: by default
 * `LlmError.isFallbackable`, or `when`. A stream goes over only until its first content, unless `mode` says otherwise.
 *
 * @since 0.1.0
 * @category combinators
 */
export const orElse: {
  (that: ChatModel, options?: FallbackOptions): (self: ChatModel) => ChatModel
  (self: ChatModel, that: ChatModel, options?: FallbackOptions): ChatModel
} = dual(
  (args) => isChatModel(args[1]),
  (self: ChatModel, that: ChatModel, options?: FallbackOptions): ChatModel => {
    const mayMend = options?.when ?? LlmError.isFallbackable
    const when = (request: Chat.Request) => (error: LlmError.LlmError) => mayRepeat(request, error) && mayMend(error)
    return compose({
      name: `${self.name} | ${that.name}`,
      generate: (request) =>
        Resilience.orElse(self.generate(request), () => that.generate(request), { when: when(request) }),
      source: (request) => Replay.orElse(self[TypeId], that[TypeId], request, when(request), options?.mode ?? "strict"),
      continuation: self[TypeId].continuation
    })
  }
)

/**
 * The same model under another name, for logs, spans and records.
 *
 * @since 0.1.0
 * @category combinators
 */
export const named: {
  (name: string): (self: ChatModel) => ChatModel
  (self: ChatModel, name: string): ChatModel
} = dual(
  2,
  (self: ChatModel, name: string): ChatModel =>
    compose({
      name,
      generate: self.generate,
      source: self[TypeId].open,
      continuation: self[TypeId].continuation
    })
)

const namedBy = (model: ChatModel): Resilience.Named => ({ provider: model.name })
