/**
 * A client's request as it came in over a wire, for a service that sends it on.
 *
 * Where the target speaks the client's own wire, the target gets the client's body, and the client gets the provider's
 * answer, both as they came: fields that nobody here knows survive. The model decodes and counts as always, so that
 * retries, fallbacks, errors, commits and records stay the same. The raw text of an answer is kept beside its
 * `Chat.Response`, and the raw frames of a stream beside its events; {@link rawOf} finds them.
 *
 * Gotchas: provide it around the effect that reads a stream, not with `Stream.provideService`. Only the request that
 * the passage stands for is sent raw: a copy that a policy made of it is encoded. A stream with a passage is `strict`.
 *
 * @since 0.2.0
 */

import * as Context from "effect/Context"
import * as Call from "../calls/Call.js"
import type { ContentFiltered, InvalidRequest } from "../errors/LlmError.js"
import type * as Chat from "./Chat.js"

/**
 * The wire formats, by their names in `ProviderData`.
 *
 * @internal
 */
export type Wire = "openai-chat" | "openai-responses" | "anthropic" | "gemini"

/**
 * A client's request.
 *
 * @internal
 */
export interface Passage {
  /** The wire of the body. */
  readonly wire: Wire
  /** The body: the text of a JSON object. */
  readonly body: string
  /** How providers pass it on: `PassedBody.means` of the providers, which no application without a passage loads. */
  readonly means: unknown
  /** The request that the body stands for, by identity. */
  readonly request: Chat.Request
  /** Why the body could not be read as a request: a target of another wire refuses with it. */
  readonly only?: InvalidRequest | undefined
  /** The client's headers, of which the features and the version of the API are sent on. Names in lower case. */
  readonly headers?: Readonly<Record<string, string>> | undefined
  /** Hears that the request is sent in a provider's own words, not as it came, and what they could not say. */
  readonly encoded?: ((provider: string, leftOut: ReadonlyArray<string>) => void) | undefined
  /** Hears of a whole answer over the client's wire in which the model refused, and its text. */
  readonly filtered?: ((error: ContentFiltered, text: string) => void) | undefined
  /**
   * Whether the client speaks Chat Completions as OpenRouter does: it gets the usage of a stream without asking for it,
   * and no `null` for what a chunk may lack. Default `false`.
   */
  readonly openrouter?: boolean | undefined
}

/**
 * The passage in force; absent outside of one.
 *
 * @internal
 */
export const Passage: Context.Tag<Passage, Passage> = Context.GenericTag<Passage>("steadfast/Passage")

/**
 * The passage in force, if a request is its request or a copy with the same messages.
 *
 * @internal
 */
export const of = (context: Context.Context<never>, request: Chat.Request): Passage | undefined => {
  const passage = Call.peek(context, Passage)
  return passage !== undefined && passage.request.messages === request.messages ? passage : undefined
}

/** An answer or an event keeps its raw text in this field. A `WeakMap` would cost the garbage collector more. */
const raw: unique symbol = Symbol("steadfast/Passage/raw")

interface Raw {
  /** Whose it is: a copy that a policy made says something else. */
  readonly of: object
  readonly wire: string
  readonly text: string
}

interface Kept {
  [raw]?: Raw
}

const own = (of: Chat.Response | Chat.Event): Raw | undefined => {
  const found = (of as Kept)[raw]
  return found?.of === of ? found : undefined
}

/**
 * Keeps the raw text of an answer, or the frames that came with an event: those since the event before.
 *
 * @internal
 */
export const keep = (of: Chat.Response | Chat.Event, wire: string, text: string): void => {
  ;(of as Kept)[raw] = { of, wire, text }
}

/**
 * The raw text of an answer, or the frames of an event (`""` if it has none of its own); `undefined` if it did not come
 * over this wire in a passage.
 *
 * @internal
 */
export const rawOf = (of: Chat.Response | Chat.Event, wire: Wire): string | undefined => {
  const found = own(of)
  return found?.wire === wire ? found.text : undefined
}

/**
 * Whether an event brings raw frames, so that it is no empty event although it may have no text.
 *
 * @internal
 */
export const isKept = (event: Chat.Event): boolean => own(event) !== undefined
