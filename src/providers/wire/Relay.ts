/**
 * Gives the raw frames of a stream to the events that are decoded from it, for a client of the same wire.
 *
 * An event that is content brings the frames since the one before. Frames before the first content wait for it, so that
 * a stream that fails before can still be replayed unnoticed; arguments of a tool call are content too, and come with
 * an empty `TextDelta`. Whatever may be the end of the answer waits for `Finish`, the only success.
 *
 * Gotchas: what a provider's own tool does before the first content waits too. Frames without JSON, as heartbeats, are
 * left out. A protocol's terminator that never came is added.
 *
 * @since 0.2.0
 */

import type * as Chat from "../../chat/Chat.js"
import * as Passage from "../../chat/Passage.js"
import * as Layers from "../../chat/stream/Layers.js"
import type * as Sse from "../../chat/stream/Sse.js"
import type { ContentFiltered } from "../../errors/LlmError.js"
import * as Json from "./Json.js"

/**
 * The options of a relay.
 *
 * @since 0.2.0
 * @category options
 */
export interface Options {
  /** The wire of the client and the provider. */
  readonly wire: string
  /** Whether the usage of a stream is left out, because the client did not ask for it. */
  readonly dropsUsage: boolean
  /** Whether the client takes no `null` for what a chunk may lack. */
  readonly dropsNulls: boolean
}

/**
 * How the answer to one request is relayed. It brings its own code, which who passes nothing on does not load.
 *
 * @since 0.2.0
 * @category models
 */
export interface Relaying extends Options {
  /** A relay of one stream. `seen` is the number of the last frame of an earlier stream of the answer, or -1. */
  readonly frames: (seen: number) => Relay
  /** Hears of a whole answer in which the model refused. */
  readonly filtered: ((error: ContentFiltered, text: string) => void) | undefined
}

/**
 * The state of an answer after a frame.
 *
 * @since 0.2.0
 * @category models
 */
export interface State {
  /** Whether the answer grew by text, thoughts or arguments. */
  readonly grew: boolean
  /** Whether it grew by anything. */
  readonly moved: boolean
  /** Whether the frame may be the end of the answer. */
  readonly isEnd: boolean
}

/**
 * Collects the frames of one stream.
 *
 * @since 0.2.0
 * @category models
 */
export interface Relay {
  /**
   * Takes a frame, and gives the frames so far to the first content in `out` from `first` on. If the answer grew
   * without content, `make` adds an event for them.
   */
  readonly take: (
    sent: Sse.Event,
    out: ReadonlyArray<Chat.Event>,
    first: number,
    state: State,
    make: () => Chat.Event
  ) => void
  /** Gives the last frames to the `Finish` in `out` from `first` on. */
  readonly end: (out: ReadonlyArray<Chat.Event>, first: number) => void
  /** The size of the frames that wait, in UTF-16 units. */
  readonly size: () => number
  /** The number of the last frame that was given; -1 if none was, or it had none. */
  readonly after: () => number
}

const textOf = ({ data, event }: Sse.Event): string => {
  const name = event === undefined || event === "" ? "" : `event: ${event}\n`
  return `${name}data: ${data.includes("\n") ? data.replaceAll("\n", "\ndata: ") : data}\n\n`
}

const isTerminator = (data: string): boolean => data.length < 16 && data.trim() === "[DONE]"

/** A quote inside of a text is escaped: where none is, it is the name of a field. */
const numberIn = (data: string): number => Number(/"sequence_number"\s*:\s*(\d+)/.exec(data)?.[1] ?? -1)

const isUsageAlone = (data: string): boolean => {
  if (!/"choices"\s*:\s*\[\s*\]/.test(data)) return false
  const chunk = Json.object(Json.parse(data))
  return Array.isArray(chunk.choices) && chunk.choices.length === 0 && Json.object(chunk.usage) === chunk.usage
}

/** A chunk says so because we ask for the usage, and some clients take no `null` there. */
const noUsage = /,\s*"usage"\s*:\s*null(?=\s*[,}])|"usage"\s*:\s*null\s*,/

/** What a client may take no `null` for. */
const nulls = /,\s*"(?:usage|system_fingerprint)"\s*:\s*null(?=\s*[,}])|"(?:usage|system_fingerprint)"\s*:\s*null\s*,/g

/** The frames that end a stream, and how they are known. */
const terminators: Readonly<Record<string, { readonly known: RegExp; readonly text: string } | undefined>> = {
  "openai-chat": { known: /^\s*\[DONE\]\s*$/, text: "data: [DONE]\n\n" },
  anthropic: {
    known: /"type"\s*:\s*"message_stop"/,
    text: 'event: message_stop\ndata: {"type":"message_stop"}\n\n'
  }
}

/**
 * A relay. `seen` is the number of the last frame of an earlier stream of the answer.
 *
 * @internal
 */
export const make = ({ dropsNulls, dropsUsage, wire }: Options, seen = -1): Relay => {
  const terminator = terminators[wire]
  const dropped = dropsNulls ? nulls : dropsUsage ? noUsage : undefined
  const isNumbered = wire === "openai-responses"
  let waiting = ""
  /** The number of the last frame that waits, and of the last that was given. */
  let number = seen
  let after = seen
  let begun = seen >= 0
  let ended = false
  /** Whether the answer came in another form than frames. */
  let off = false

  const hold = (sent: Sse.Event): void => {
    const { data } = sent
    const isDone = isTerminator(data)
    if (isDone ? wire !== "openai-chat" : !/^\s*[{[]/.test(data)) return
    if (dropsUsage && isUsageAlone(data)) return
    const own = isNumbered ? numberIn(data) : -1
    if (own >= 0) {
      if (own <= seen) return
      number = own
    }
    waiting += textOf(dropped === undefined ? sent : { ...sent, data: data.replace(dropped, "") })
  }

  const give = (event: Chat.Event): void => {
    Passage.keep(event, wire, waiting)
    waiting = ""
    after = number
    begun = true
  }

  return {
    take: (sent, out, first, { grew, isEnd, moved }, make) => {
      if (sent.stray) off ||= out.length > first
      if (off || sent.stray) return
      if (!isEnd) hold(sent)
      let given = false
      for (let index = first; index < out.length; index++) {
        const event = out[index] as Chat.Event
        if (!Layers.isContent(event)) continue
        give(event)
        given = true
      }
      if (!given && waiting !== "" && (grew || (moved && begun))) give(make())
      if (!isEnd) return
      hold(sent)
      ended ||= terminator?.known.test(sent.data) === true
    },
    end: (out, first) => {
      if (off) return
      for (let index = first; index < out.length; index++) {
        const event = out[index] as Chat.Event
        if (event._tag === "Finish") {
          if (terminator !== undefined && !ended) waiting += terminator.text
          give(event)
        } else if (Layers.isContent(event)) Passage.keep(event, wire, "")
      }
    },
    size: () => waiting.length,
    after: () => after
  }
}
