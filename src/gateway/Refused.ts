/**
 * The answer in which a model refused to say something, as it came. A client of the model's own dialect knows how to
 * read it, and gets it where no other target answered. For everybody else, and in records, it is a `ContentFiltered`.
 *
 * @since 0.2.0
 */

import type * as Chat from "../chat/Chat.js"
import * as Passage from "../chat/Passage.js"
import type { ContentFiltered, LlmError } from "../errors/LlmError.js"

/** A longer answer is not kept, in UTF-16 units: a refusal has few words. */
const longest = 65_536

/**
 * What was refused to one client.
 *
 * @since 0.2.0
 * @category models
 */
export class Refused {
  private last: { readonly error: ContentFiltered; readonly text: string } | undefined

  /** Hears of an answer that came over the client's own wire. */
  readonly filtered = (error: ContentFiltered, text: string): void => {
    // What came as events is no answer to a client who asked for a whole one.
    this.last = text.length <= longest && /^\s*\{/.test(text) ? { error, text } : undefined
  }

  /** The answer that a client of a wire gets for the error with which its call ended; mostly none. */
  answerTo(error: LlmError, wire: Passage.Wire): Chat.Response | undefined {
    const { last } = this
    const { _tag, model = "", provider } = error
    if (last === undefined || _tag !== "ContentFiltered") return undefined
    if (last.error.provider !== provider || last.error.model !== error.model) return undefined
    const answer: Chat.Response = { provider, model, text: "", toolCalls: [], finishReason: "other" }
    Passage.keep(answer, wire, last.text)
    return answer
  }
}
