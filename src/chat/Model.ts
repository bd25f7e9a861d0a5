/**
 * What a model is: its parts, how they become one, and the leaf, which is one target.
 *
 * The combinators of `ChatModel` and their neighbours take models apart and put them together again with
 * {@link compose}; what they need to know of a model beyond asking it stands in {@link About}.
 *
 * @since 0.2.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { identity } from "effect/Function"
import * as Option from "effect/Option"
import { type Pipeable, pipeArguments } from "effect/Pipeable"
import * as Predicate from "effect/Predicate"
import type * as Stream from "effect/Stream"
import * as Attempt from "../calls/Attempt.js"
import * as Call from "../calls/Call.js"
import { targetName } from "../calls/CallRecord.js"
import * as LlmError from "../errors/LlmError.js"
import * as Spend from "../policies/spend/Spend.js"
import * as Capabilities from "./Capabilities.js"
import type * as Chat from "./Chat.js"
import * as Spending from "./Spending.js"
import * as ChatStream from "./stream/ChatStream.js"
import * as Continuation from "./stream/Continuation.js"

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
 * A target of attempts, and what it can do.
 *
 * @since 0.2.0
 * @category models
 */
export interface Target extends Attempt.Target {
  readonly capabilities: Capabilities.Capabilities
}

/**
 * What is known of a model without asking it.
 *
 * - `continuation`: how it is asked to go on after a cut, if it can be.
 * - `targets`: where its attempts may go, the first choice first.
 * - `readyAt`: from when it takes traffic, in epoch milliseconds, as far as this process knows; 0 for now.
 *
 * @since 0.2.0
 * @category models
 */
export interface About {
  readonly continuation: Continuation.Method | undefined
  readonly targets: readonly [Target, ...ReadonlyArray<Target>]
  readonly readyAt: () => number
}

/**
 * What is known of a model that asks the one, or else the other.
 *
 * @since 0.2.0
 * @category combinators
 */
export const either = (self: About, that: About): About => ({
  continuation: self.continuation,
  targets: [...self.targets, ...that.targets],
  readyAt: () => Math.min(self.readyAt(), that.readyAt())
})

/**
 * Who shares a retry budget with the target that failed.
 *
 * @since 0.2.0
 * @category getters
 */
export const groupIn = ({ targets }: About, error: LlmError.LlmError): string =>
  Attempt.groupOf(
    targets.find(
      ({ model, provider }) => provider === error.provider && (error.model === undefined || model === error.model)
    ) ?? targets[0]
  )

/**
 * What runs inside of a call that is open: `generate` and `open` are `generate` and `stream` without looking for one,
 * or opening it.
 *
 * @since 0.2.0
 * @category models
 */
export interface Inside extends About {
  readonly generate: (request: Chat.Request) => Effect.Effect<Chat.Response, LlmError.LlmError>
  readonly open: (request: Chat.Request) => ChatStream.Source
}

/**
 * Anything that answers: one target, or a composition. `name` is how logs and spans call it.
 *
 * @since 0.1.0
 * @category models
 */
export interface ChatModel extends Pipeable {
  readonly [TypeId]: Inside
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

/**
 * What a model is made of.
 *
 * @since 0.2.0
 * @category models
 */
export interface Parts {
  readonly name: string
  readonly generate: (request: Chat.Request) => Effect.Effect<Chat.Response, LlmError.LlmError>
  readonly source: (request: Chat.Request) => ChatStream.Source
  readonly about: About
}

/**
 * A model of parts: each request is a call where none is open.
 *
 * @since 0.2.0
 * @category constructors
 */
export const compose = (parts: Parts, attributes: Record<string, unknown> = {}): ChatModel => {
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
  const { continuation, readyAt, targets } = parts.about
  return Object.assign(Object.create(Proto), {
    [TypeId]: { generate: parts.generate, open: source, continuation, readyAt, targets },
    name: parts.name,
    generate: (request: Chat.Request) => Call.around(parts.generate(request), parts.name, implicit),
    stream: (request: Chat.Request) => ChatStream.toStream(source(request))
  })
}

// -----------------------------------------------------------------------------
// constructors
// -----------------------------------------------------------------------------

/**
 * How a leaf asks its target. `open` is the form that the providers of this library use for streams; `continuation` is
 * how the model is asked to go on after a cut, by default what `Continuation.methodOf` knows of it; `capabilities` is
 * what its user says of it, over what `Capabilities.known` does; `shown` scrubs what the provider says of itself before
 * it gets into spans and records.
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
  readonly capabilities?: Capabilities.Capabilities | undefined
  readonly shown?: ((text: string) => string) | undefined
}

/**
 * @internal
 */
export const usageOf = (response: Chat.Response): Chat.Usage | undefined => response.usage

/**
 * The span attributes of a model whose calls all go to one provider and model.
 *
 * @internal
 */
export const attributesOf = ({ model, provider }: Attempt.Target): Record<string, unknown> => ({
  "gen_ai.provider.name": provider,
  "gen_ai.system": provider,
  "gen_ai.request.model": model
})

/** The request with the limit that the provider itself keeps the answer within. */
const bounded = (request: Chat.Request, maxTokens: number | undefined): Chat.Request =>
  maxTokens === request.maxTokens ? request : { ...request, maxTokens }

/** A leaf takes traffic at any time: one answer for all. */
const always: About["readyAt"] = () => 0

/**
 * A leaf whose stream is a `ChatStream.Source`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const fromLeaf = (leaf: Leaf): ChatModel => {
  const target: Attempt.Target = {
    provider: leaf.provider,
    model: leaf.model,
    key: leaf.key,
    group: leaf.group
  }
  const known = Capabilities.known(target)
  const capabilities = leaf.capabilities === undefined ? known : Capabilities.merge(known, leaf.capabilities)
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
        const once = (maxTokens: number | undefined) =>
          Attempt.run(target, (attempt) =>
            Effect.map(leaf.generate(bounded(request, maxTokens), attempt), (response) => {
              // No spread with more behind it: its object gets a hidden class of its own each time (Node 20).
              const { responseId, responseModel } = answered(response)
              attempt.note({ responseId, responseModel, usage: response.usage })
              return response
            })
          )
        const { model, provider } = target
        const { maxTokens } = request
        return careful(request, Spend.attempt({ provider, model, prompt: request, maxTokens, usage: usageOf }, once))
      },
      source: (request) => {
        const once = (maxTokens: number | undefined) =>
          ChatStream.held(
            ChatStream.evidenced(
              (fiber) => Attempt.open(fiber, target),
              ({ attempt }) => leaf.open(bounded(request, maxTokens), attempt),
              noteEvent
            )
          )
        return carefulSource(request, Spending.source(target, request, once))
      },
      about: {
        continuation: leaf.continuation ?? Continuation.methodOf(target),
        targets: [{ ...target, capabilities }],
        readyAt: always
      }
    },
    attributesOf(target)
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

/**
 * Where running it twice does harm, what may have been run is not run again.
 *
 * @internal
 */
export const mayRepeat = (request: Chat.Request, error: LlmError.LlmError): boolean =>
  request.idempotent !== false || error.delivery !== "unknown"

/** The error tells it too, to whoever retries outside of the model. */
const onlyIfUnsent = (error: LlmError.LlmError): LlmError.LlmError =>
  error.delivery === "unknown" ? LlmError.override(error, { retryable: false, fallbackable: false }) : error

/**
 * The error of a request that may not be run twice tells so, to whoever retries outside of the model.
 *
 * @internal
 */
export const careful = <A>(
  request: Chat.Request,
  effect: Effect.Effect<A, LlmError.LlmError>
): Effect.Effect<A, LlmError.LlmError> =>
  request.idempotent === false ? Effect.mapError(effect, onlyIfUnsent) : effect

/**
 * As {@link careful}, for a source.
 *
 * @internal
 */
export const carefulSource = (request: Chat.Request, source: ChatStream.Source): ChatStream.Source =>
  request.idempotent === false ? Effect.map(source, Effect.mapError(Option.map(onlyIfUnsent))) : source
