/**
 * Asks a model to continue a cut answer, and joins the two parts. Everything here is pure.
 *
 * Only models that are known to continue are asked ({@link methodOf}). With `prefill` the answer so far is the
 * beginning of the model's own message; with `turn` a user message asks the model to continue. If the model repeats the
 * end of the delivered text, the repetition is removed at the seam, if it is exact and at least {@link minOverlap}
 * long.
 *
 * @since 0.1.0
 */

import * as Chat from "../Chat.js"

/**
 * How a model is asked to continue: in its own message (`prefill`), or by a user message (`turn`).
 *
 * @since 0.1.0
 * @category models
 */
export type Method = "prefill" | "turn"

/**
 * The method of each model. The first matching row counts; a model without a row is not asked.
 *
 * - Claude up to 4.5 takes a prefilled answer. From 4.6 on it refuses one with a 400, and Anthropic's migration guide
 *   advises a user message.
 * - Gemini continues a last turn of the role `model` (Gemini API, multi-turn conversations), up to Gemini 3. Gemini 4
 *   takes no prefilled answer ("What's new in Gemini 4 Argon").
 * - Mistral continues an assistant message with `prefix: true` (Mistral, prefix completion).
 * - GPT-4o, GPT-4.1 and GPT-5, DeepSeek chat, Grok, Llama and Qwen chat models have no prefill at the providers' own
 *   endpoints, and follow a user message that asks for the rest.
 */
const facts: ReadonlyArray<readonly [provider: RegExp, model: RegExp, method: Method]> = [
  [/./, /claude-(?:instant|[23])/, "prefill"],
  [/./, /claude-(?:opus|sonnet|haiku)-4(?:[-.][015])?(?:-2025\d{4})?(?:-v\d.*)?(?:$|[@:])/, "prefill"],
  [/./, /claude/, "turn"],
  [/gemini|vertex|google/, /gemini-(?:[4-9]|\d\d)/, "turn"],
  [/gemini|vertex|google/, /gemini/, "prefill"],
  [/mistral/, /mistral|ministral|codestral|pixtral|magistral/, "prefill"],
  [/./, /gpt-4o|gpt-4\.1|gpt-5|deepseek-(?:chat|v3)|grok|llama|qwen/i, "turn"]
]

/**
 * The method for a model; `undefined` if none is known.
 *
 * @since 0.1.0
 * @category facts
 */
export const methodOf = (target: { readonly provider: string; readonly model: string }): Method | undefined =>
  facts.find(([provider, model]) => provider.test(target.provider) && model.test(target.model))?.[2]

/**
 * The user message that asks for the rest of an answer.
 *
 * @since 0.2.0
 * @category facts
 */
export const continueText =
  "Your previous message was cut off. Continue it from exactly where it stopped: start with the very next character, repeat nothing, and add no remark about the interruption."

/**
 * The request that asks for the continuation of `text`.
 *
 * @since 0.1.0
 * @category combinators
 */
export const request = (request: Chat.Request, text: string, method: Method): Chat.Request => ({
  ...request,
  messages: [...request.messages, Chat.assistant(text), ...(method === "turn" ? [Chat.user(continueText)] : [])]
})

/**
 * The shortest repetition that is removed, in UTF-16 units: shorter ones occur by chance in ordinary prose.
 *
 * @since 0.1.0
 * @category facts
 */
export const minOverlap = 16

/** The longest repetition that is looked for, in UTF-16 units: a paragraph. */
const maxOverlap = 2000

/**
 * The result at a seam.
 *
 * @since 0.1.0
 * @category models
 */
export interface Settled {
  /** The length of the removed repetition, in UTF-16 units. */
  readonly overlap: number
  /** Whether the new text started over from the beginning of the old. */
  readonly startedOver: boolean
  /** The new text without the repetition. */
  readonly text: string
}

/**
 * The text after a seam, until its repetition is known.
 *
 * @since 0.1.0
 * @category models
 */
export interface Seam {
  /** Adds new text. Returns the result as soon as it is certain. */
  readonly add: (text: string) => Settled | undefined
  /** Returns the result for the text so far. */
  readonly end: () => Settled
}

/**
 * A seam after the delivered text.
 *
 * @since 0.1.0
 * @category constructors
 */
export const seam = (delivered: string): Seam => {
  const tail = delivered.slice(-maxOverlap)
  const head = delivered.slice(0, minOverlap)
  /** The possible lengths of the repetition, longest first. */
  let open = Array.from({ length: Math.max(0, tail.length - minOverlap + 1) }, (_, index) => tail.length - index)
  let text = ""
  const settle = (): Settled => {
    const overlap = open.find((length) => text.length >= length) ?? 0
    return {
      overlap,
      startedOver: overlap < delivered.length && head.length === minOverlap && text.startsWith(head),
      text: text.slice(overlap)
    }
  }
  return {
    add: (piece) => {
      const seen = text.length
      text += piece
      open = open.filter((length) => {
        const end = Math.min(length, text.length)
        return end <= seen || text.slice(seen, end) === tail.substr(tail.length - length + seen, end - seen)
      })
      const longest = open[0]
      const undecidedHead = text.length < minOverlap && head.startsWith(text)
      return (longest === undefined || text.length >= longest) && !undecidedHead ? settle() : undefined
    },
    end: settle
  }
}
