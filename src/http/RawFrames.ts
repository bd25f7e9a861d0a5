/**
 * An encoder that writes a provider's own frames, where the events of a stream bring some of the client's dialect.
 *
 * The first content decides: an answer is all raw, or all written by the codec. Errors are always written by the codec.
 *
 * @since 0.2.0
 */

import type * as Chat from "../chat/Chat.js"
import * as Passage from "../chat/Passage.js"
import * as ChatStream from "../chat/stream/ChatStream.js"
import { StreamInterrupted } from "../errors/LlmError.js"
import type { Dialect, Encoder } from "./Dialect.js"
import type { Sdk } from "./Sdk.js"

/**
 * The wire of each dialect that a provider speaks too.
 *
 * @internal
 */
export const wires: { readonly [K in Dialect]?: Passage.Wire } = {
  openai: "openai-chat",
  responses: "openai-responses",
  anthropic: "anthropic",
  gemini: "gemini"
}

/**
 * The raw text of an answer, if it came in a dialect and the client takes it as it is: OpenRouter's wants a field that
 * many servers leave out.
 *
 * @internal
 */
export const textOf = (dialect: Dialect, answer: Chat.Response, sdk?: Sdk): string | undefined => {
  const wire = wires[dialect]
  const text = wire && Passage.rawOf(answer, wire)
  return sdk === "openrouter" && text !== undefined && !/"system_fingerprint"\s*:/.test(text) ? undefined : text
}

/** The number after that of the last frame: in Responses an error has one too. */
const numbered = (error: string, frames: string): string => {
  const last = [...frames.matchAll(/"sequence_number"\s*:\s*(\d+)/g)].at(-1)?.[1]
  return last === undefined
    ? error
    : error.replace(/("sequence_number":)\d+/, (_, name) => `${name}${Number(last) + 1}`)
}

/**
 * An encoder over that of the codec.
 *
 * @internal
 */
export const encoder = (dialect: Dialect, codec: Encoder): Encoder => {
  const wire = wires[dialect]
  if (wire === undefined) return codec
  let form: "raw" | "codec" | undefined
  /** The last frames that were written. */
  let frames = ""

  const raw = (text: string): string => {
    if (text !== "") frames = text
    return text
  }

  return {
    push: (event) => {
      if (form === "codec") return codec.push(event)
      const isContent = ChatStream.isContent(event) || event._tag === "Finish"
      const text = isContent ? Passage.rawOf(event, wire) : undefined
      if (form === undefined) {
        if (!isContent) return codec.push(event)
        form = text === undefined ? "codec" : "raw"
        if (text === undefined) return codec.push(event)
        // Now the codec knows of content, for an error or a `Reset` after it.
        codec.push({ _tag: "TextDelta", text: " " })
        return raw(text)
      }
      if (text !== undefined) return raw(text)
      if (!isContent && event._tag !== "Seam") return codec.push(event)
      return new StreamInterrupted({
        provider: "steadfast",
        message: "the answer goes on in another form than it began, and delivered frames cannot be taken back",
        delivery: "unknown",
        retryable: false,
        received: 0,
        partial: ""
      })
    },
    fail: (error) =>
      dialect === "responses" && form === "raw" ? numbered(codec.fail(error), frames) : codec.fail(error)
  }
}
