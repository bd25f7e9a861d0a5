/**
 * The parts of a model, and the leaf, a model of one target.
 *
 * A combinator takes a model apart with {@link partsOf}, changes some parts, and puts them together with
 * {@link compose}. {@link About} holds what combinators must know of a model before they ask it.
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
import * as Facts from "../calls/About.js"
import * as Attempt from "../calls/Attempt.js"
import * as Call from "../calls/Call.js"
import { targetName } from "../calls/CallRecord.js"
import * as LlmError from "../errors/LlmError.js"
import * as SpendScope from "../policies/spend/SpendScope.js"
import * as TimeLimit from "../policies/TimeLimit.js"
import * as Capabilities from "./Capabilities.js"
import type * as Chat from "./Chat.js"
import * as JsonSchema from "./JsonSchema.js"
import * as Spending from "./Spending.js"
import * as ChatStream from "./stream/ChatStream.js"
import * as Continuation from "./stream/Continuation.js"
import * as Pull from "./stream/Pull.js"
import * as Source from "./stream/Source.js"
import * as StreamLimits from "./stream/StreamLimits.js"
import * as AnswerCheck from "./structured/AnswerCheck.js"

/**
 * The key of a model's {@link Inside}.
 *
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
 * A target of attempts, and the capabilities that its user states. `Fallback.targetsOf` adds the known ones.
 *
 * @since 0.2.0
 * @category models
 */
export interface Target extends Attempt.Target {
  /** The stated capabilities, which override the known ones. */
  readonly stated: Capabilities.Capabilities
}

/**
 * The facts about a model that are known before it is asked.
 *
 * @since 0.2.0
 * @category models
 */
export interface About extends Facts.About<Target> {
  /** How to ask the model to continue a cut answer; `undefined` if it cannot. */
  readonly continuation: Continuation.Method | undefined
}

/**
 * The facts about a model that asks `self` first and `that` as a fallback.
 *
 * @since 0.2.0
 * @category combinators
 */
export const either = (self: About, that: About): About => ({
  continuation: self.continuation,
  ...Facts.either(self, that)
})

/**
 * The model without the check for an open call: the combinators use it inside a call that is already open.
 *
 * @since 0.2.0
 * @category models
 */
export interface Inside extends About {
  /** `generate` inside an open call. */
  readonly generate: (request: Chat.Request) => Effect.Effect<Chat.Response, LlmError.LlmError>
  /** `stream` inside an open call, as a source. */
  readonly open: (request: Chat.Request) => ChatStream.Source
}

/**
 * A chat model: one target, or a composition of models.
 *
 * @since 0.1.0
 * @category models
 */
export interface ChatModel extends Pipeable {
  /** For combinators. */
  readonly [TypeId]: Inside
  /** The name in logs, spans and records. */
  readonly name: string
  /** Asks for a whole answer. */
  readonly generate: (request: Chat.Request) => Effect.Effect<Chat.Response, LlmError.LlmError>
  /** Asks for a streamed answer; nothing is sent before it runs. */
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
 * The parts of a model.
 *
 * @since 0.2.0
 * @category models
 */
export interface Parts {
  /** The name in logs, spans and records. */
  readonly name: string
  /** Asks for a whole answer, inside an open call. */
  readonly generate: (request: Chat.Request) => Effect.Effect<Chat.Response, LlmError.LlmError>
  /** Opens a streamed answer, inside an open call. */
  readonly source: (request: Chat.Request) => ChatStream.Source
  /** The facts about the model. */
  readonly about: About
}

/**
 * Takes a model apart, for a combinator that changes some of its parts.
 *
 * @internal
 */
export const partsOf = ({ name, [TypeId]: inside }: ChatModel): Parts => ({
  name,
  generate: inside.generate,
  source: inside.open,
  about: inside
})

/** The model in the name of a span: that of the only target, else the name of the composition. */
const asked = ({ about: { targets }, name }: Parts): string => {
  const [first] = targets
  return first !== undefined && name === targetName(first) ? first.model : name
}

/**
 * Makes a model of parts. A request outside of a call opens its own call. `lone` is for a leaf: see `Call.Implicit`.
 *
 * @since 0.2.0
 * @category constructors
 */
export const compose = (parts: Parts, lone = false): ChatModel => {
  const implicit: Call.Implicit = { lone, spanName: `chat ${asked(parts)}`, operation: "chat" }
  const { continuation, readyAt, soonestAt, targets } = parts.about
  const source = (given: Chat.Request): ChatStream.Source =>
    Source.make((opening) => {
      const request = JsonSchema.plain(given, targets[0])
      const asked = request instanceof Error ? Source.failing(request) : parts.source(request)
      return Source.open(
        Call.isOpen(opening.context)
          ? asked
          : ChatStream.evidenced(
              (fiber, context) => Call.open(fiber, context, parts.name, implicit),
              () => asked
            ),
        opening
      )
    })
  return Object.assign(Object.create(Proto), {
    [TypeId]: { generate: parts.generate, open: source, continuation, readyAt, soonestAt, targets },
    name: parts.name,
    generate: (given: Chat.Request) => {
      const request = JsonSchema.plain(given, targets[0])
      return Call.around(request instanceof Error ? request : parts.generate(request), parts.name, implicit)
    },
    stream: (request: Chat.Request) => ChatStream.toStream(source(request))
  })
}

// -----------------------------------------------------------------------------
// constructors
// -----------------------------------------------------------------------------

/**
 * One target, and how to ask it.
 *
 * @since 0.1.0
 * @category models
 */
export interface Leaf extends Attempt.Target {
  /** Sends one request and reads the whole answer. */
  readonly generate: (
    request: Chat.Request,
    attempt: Attempt.Attempt
  ) => Effect.Effect<Chat.Response, LlmError.LlmError>
  /** Opens one streamed answer: the form that the providers of this library use. */
  readonly open: (request: Chat.Request, attempt: Attempt.Attempt) => ChatStream.Source
  /**
   * Whether both end their waits when the limit in force is up (`TimeLimit.waiting`). Default `false`: they run in a
   * fiber that is interrupted then.
   *
   * @internal
   */
  readonly keepsLimits?: boolean | undefined
  /** How to ask the model to continue a cut answer. Default: the method that `Continuation.methodOf` knows. */
  readonly continuation?: Continuation.Method | undefined
  /** Overrides single capabilities of `Capabilities.known`. */
  readonly capabilities?: Capabilities.Capabilities | undefined
  /** Removes secrets from ids and model names of the provider before they get into spans and records. */
  readonly shown?: ((text: string) => string) | undefined
}

/**
 * @internal
 */
export const usageOf = (response: Chat.Response): Chat.Usage | undefined => response.usage

/** Sets the `maxTokens` that a spend limit allows. */
const bounded = (request: Chat.Request, maxTokens: number | undefined): Chat.Request =>
  maxTokens === request.maxTokens ? request : { ...request, maxTokens }

/** The attempt, which tells a spending limit of each usage that it notes. */
const heard = (attempt: Attempt.Attempt, told: ((usage: Chat.Usage) => void) | undefined): Attempt.Attempt =>
  told === undefined
    ? attempt
    : {
        ...attempt,
        note: (facts) => {
          attempt.note(facts)
          if (facts.usage !== undefined) told(facts.usage)
        }
      }

/**
 * A leaf whose stream is a `ChatStream.Source`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const fromLeaf = (leaf: Leaf): ChatModel => {
  const { group, key, model, provider, shown = identity } = leaf
  const target: Attempt.Target = { provider, model, key, group }
  const stated = leaf.capabilities === undefined ? {} : Capabilities.merge({}, leaf.capabilities)
  const generate: Leaf["generate"] = leaf.keepsLimits
    ? leaf.generate
    : (request, attempt) => TimeLimit.kept(leaf.generate(request, attempt))
  const open: Leaf["open"] = leaf.keepsLimits
    ? leaf.open
    : (request, attempt) => StreamLimits.kept(leaf.open(request, attempt))
  const answered = (answer: { readonly id?: string | undefined; readonly model: string }) => ({
    responseId: answer.id === undefined ? undefined : shown(answer.id),
    responseModel: shown(answer.model)
  })
  const noteEvent = (event: Chat.Event, { attempt }: Attempt.Opened): void => {
    if (ChatStream.isContent(event)) attempt.begun()
    else if (event._tag === "Start") attempt.note(answered(event))
    else if (event._tag === "Usage") attempt.note({ usage: event.usage })
    else if (event._tag === "Finish") attempt.note({ finishReason: event.reason })
  }
  /** `given` is the request of the first attempt: another `request` tells of a wrong answer. */
  const generated = (request: Chat.Request, check?: AnswerCheck.AnswerCheck, given = request) => {
    const once = (maxTokens: number | undefined, told?: (usage: Chat.Usage) => void) =>
      Attempt.run(target, (opened) => {
        const attempt = heard(opened, told)
        if (request !== given) attempt.note({ correction: true })
        const answer = Effect.map(generate(bounded(request, maxTokens), attempt), (response) => {
          // Not `{ ...answered(response), usage }`: each such object gets its own hidden class (Node 20).
          const { responseId, responseModel } = answered(response)
          attempt.note({ responseId, responseModel, usage: response.usage, finishReason: response.finishReason })
          return response
        })
        return check === undefined ? answer : Effect.flatMap(answer, (response) => AnswerCheck.checked(check, response))
      })
    const { maxTokens } = request
    return guardRepeat(
      request,
      SpendScope.attempt({ provider, model, prompt: request, maxTokens, usage: usageOf }, once)
    )
  }
  const streamed = (request: Chat.Request, check?: AnswerCheck.AnswerCheck, given = request) => {
    const once = (maxTokens: number | undefined, told?: (usage: Chat.Usage) => void) =>
      ChatStream.held(
        ChatStream.evidenced(
          (fiber, context) => Attempt.open(fiber, context, target),
          ({ attempt }) => {
            attempt.note({ stream: true, correction: request === given ? undefined : true })
            const answer = open(bounded(request, maxTokens), heard(attempt, told))
            return check === undefined ? answer : AnswerCheck.source(check, answer)
          },
          told === undefined
            ? noteEvent
            : (event, opened) => {
                if (event._tag === "Usage") told(event.usage)
                noteEvent(event, opened)
              }
        )
      )
    return guardRepeatSource(request, Spending.source(target, request, once))
  }
  return compose(
    {
      name: targetName(target),
      generate: (request) => {
        const check = AnswerCheck.of(request)
        return check === undefined
          ? generated(request)
          : Effect.suspend(() => generated(check.ask(request), check, request))
      },
      source: (request) => {
        const check = AnswerCheck.of(request)
        return check === undefined
          ? streamed(request)
          : Source.make((opening) => Source.open(streamed(check.ask(request), check, request), opening))
      },
      about: {
        continuation: leaf.continuation ?? Continuation.methodOf(target),
        targets: [{ ...target, stated }],
        readyAt: Facts.always,
        soonestAt: Facts.always
      }
    },
    true
  )
}

/**
 * Makes a model of one target. `generate` and `stream` send one request each and note facts on the attempt. Calls,
 * attempts, records and spans are handled here.
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
 * Whether a request may be sent again after an error: not if it is not idempotent and may already have run.
 *
 * @internal
 */
export const mayRepeat = (request: Chat.Request, error: LlmError.LlmError): boolean =>
  request.idempotent !== false || error.delivery !== "unknown"

const onceOnly = (error: LlmError.LlmError): LlmError.LlmError =>
  error.delivery === "unknown" ? LlmError.override(error, { retryable: false, fallbackable: false }) : error

/**
 * If the request is not idempotent and may already have run, marks the error as not retryable, for a retry outside of
 * the model.
 *
 * @internal
 */
export const guardRepeat = <A>(
  request: Chat.Request,
  effect: Effect.Effect<A, LlmError.LlmError>
): Effect.Effect<A, LlmError.LlmError> => (request.idempotent === false ? Effect.mapError(effect, onceOnly) : effect)

/**
 * Like {@link guardRepeat}, for a source.
 *
 * @internal
 */
export const guardRepeatSource = (request: Chat.Request, source: ChatStream.Source): ChatStream.Source =>
  request.idempotent === false ? Source.map(source, (pull) => Pull.mapError(pull, Option.map(onceOnly))) : source
