/**
 * What the codecs share: frames of server-sent events, and what an encoder keeps of an answer.
 *
 * @since 0.2.0
 */

import type * as Chat from "../../chat/Chat.js"
import { StreamInterrupted } from "../../errors/LlmError.js"
import type { Encoder, Origin } from "../Dialect.js"

/**
 * A frame with data alone. JSON has no line ends, so that it is one line.
 *
 * @since 0.2.0
 * @category constructors
 */
export const data = (value: unknown): string => `data: ${JSON.stringify(value)}\n\n`

/**
 * A frame with the name of its event.
 *
 * @since 0.2.0
 * @category constructors
 */
export const named = (event: string, value: unknown): string => `event: ${event}\n${data(value)}`

/**
 * A comment, which every client skips. It is a block of its own, because one above data hides the data from some.
 *
 * @since 0.2.0
 * @category constants
 */
export const comment = ": keep-alive\n\n"

/**
 * The terminator of OpenAI's streams, and of Cohere's.
 *
 * @since 0.2.0
 * @category constants
 */
export const done = "data: [DONE]\n\n"

/**
 * The arguments of a call as JSON text: `"{}"` where there are none, for clients that parse it.
 *
 * @since 0.2.0
 * @category getters
 */
export const argumentsOf = (call: Pick<Chat.ToolCall, "arguments">): string => JSON.stringify(call.arguments ?? {})

/**
 * A call in the words of OpenAI, which Cohere uses too.
 *
 * @since 0.2.0
 * @category conversions
 */
export const functionOf = (call: Chat.ToolCall) => ({
  id: call.id,
  type: "function",
  function: { name: call.name, arguments: argumentsOf(call) }
})

/**
 * What a provider's own data says to its own wire; nothing to another.
 *
 * @since 0.2.0
 * @category getters
 */
export const replyOf = (
  providerData: Chat.ProviderData | undefined,
  wire: string
): Readonly<Record<string, unknown>> =>
  providerData?.wire === wire && typeof providerData.reply === "object" && providerData.reply !== null
    ? (providerData.reply as Readonly<Record<string, unknown>>)
    : {}

/**
 * The part of an encoder that differs from dialect to dialect.
 *
 * @since 0.2.0
 * @category models
 */
export interface Writer {
  /** The first frames, once, before any other. */
  readonly first: () => string
  readonly text: (text: string) => string
  readonly reasoning: (text: string) => string
  readonly toolCall: (call: Chat.ToolCall) => string
  /** The end of the answer, with the terminator. */
  readonly finish: (finish: Finish, usage: Chat.Usage | undefined) => string
  readonly fail: Encoder["fail"]
  /** Whether the first frames go before an error. */
  readonly failsLate: boolean
}

/**
 * @since 0.2.0
 * @category models
 */
export type Finish = Extract<Chat.Event, { readonly _tag: "Finish" }>

/**
 * Blocks of an answer, of which one is open at a time: text and thoughts take turns.
 *
 * @since 0.2.0
 * @category models
 */
export interface Blocks {
  /** The frames of a piece: the block before is closed where it is of another kind. */
  readonly piece: (kind: BlockKind, text: string) => string
  /** Closes the open block, and takes the number of the next one for something else. */
  readonly next: () => readonly [closed: string, index: number]
  /** Closes the open block. */
  readonly close: () => string
}

/**
 * @since 0.2.0
 * @category models
 */
export type BlockKind = "text" | "thinking"

/**
 * Blocks, by the frames of a dialect for them.
 *
 * @since 0.2.0
 * @category constructors
 */
export const blocks = (frames: {
  readonly start: (index: number, kind: BlockKind) => string
  readonly delta: (index: number, kind: BlockKind, text: string) => string
  readonly stop: (index: number) => string
}): Blocks => {
  let index = -1
  let open: BlockKind | undefined
  const close = (): string => {
    if (open === undefined) return ""
    open = undefined
    return frames.stop(index)
  }
  return {
    piece: (kind, text) => {
      const before = open === kind ? "" : close() + frames.start(++index, kind)
      open = kind
      return before + frames.delta(index, kind, text)
    },
    next: () => [close(), ++index],
    close
  }
}

/**
 * The names under which the answer goes: known when its first frame is written.
 *
 * @since 0.2.0
 * @category models
 */
export interface Names {
  id: string
  model: string
}

/**
 * The names of an answer.
 *
 * @since 0.2.0
 * @category getters
 */
export const namesOf = (
  origin: Origin,
  start?: { readonly id?: string | undefined; readonly model: string }
): Names => ({
  id: start?.id ?? origin.id,
  model: origin.model ?? start?.model ?? ""
})

/**
 * An encoder of a writer: keeps the names and the usage, and begins with the first content, so that an error before it
 * still has a status of its own.
 *
 * @since 0.2.0
 * @category constructors
 */
export const encoder = (origin: Origin, make: (names: Names) => Writer): Encoder => {
  const names = namesOf(origin)
  const writer = make(names)
  let provider = "steadfast"
  let usage: Chat.Usage | undefined
  let begun = false

  const after = (frames: () => string): string => {
    if (begun) return frames()
    begun = true
    return writer.first() + frames()
  }

  return {
    push: (event) => {
      switch (event._tag) {
        case "Start":
          provider = event.provider
          if (!begun) Object.assign(names, namesOf(origin, event))
          return ""
        case "TextDelta":
          return event.text === "" ? "" : after(() => writer.text(event.text))
        case "ReasoningDelta":
          return event.text === "" ? "" : after(() => writer.reasoning(event.text))
        case "ToolCall":
          return after(() => writer.toolCall(event))
        case "Usage":
          usage = event.usage
          return ""
        case "Finish":
          return after(() => writer.finish(event, usage))
        case "Seam":
          return ""
        case "Reset":
          usage = undefined
          if (!begun) return ""
          return new StreamInterrupted({
            provider,
            model: names.model,
            message: `the answer started over (${event.cause}), and delivered events cannot be taken back`,
            delivery: "unknown",
            retryable: false,
            received: 0,
            partial: ""
          })
      }
    },
    fail: (error) => (writer.failsLate ? after(() => writer.fail(error)) : writer.fail(error))
  }
}
