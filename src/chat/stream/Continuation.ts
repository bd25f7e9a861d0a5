/**
 * How an answer that was cut is asked to go on, and how its two parts are joined. Nothing here needs a runtime.
 *
 * Only models that are known to go on are asked to ({@link methodOf}): by `prefill`, where the answer so far stands as
 * the beginning of the model's own message, or by `turn`, where a user message asks it to go on. What the model repeats
 * of the end of what was delivered is cut off at the seam, and only if it is exactly that and long enough to be no
 * chance ({@link minOverlap}).
 *
 * @since 0.1.0
 */
import * as Chat from "../Chat.js"

/**
 * How a model is asked to go on.
 *
 * @since 0.1.0
 * @category models
 */
export type Method = "prefill" | "turn"

/**
 * Which models go on, and how; the first row that fits counts, and a model in no row is not asked.
 *
 * - Claude up to 4.5 takes a prefilled answer; from 4.6 on it is refused with a 400 (Anthropic's migration guide), and
 *   a user message is what that guide advises.
 * - Gemini goes on from a last turn of the role `model` (Gemini API, multi-turn conversations).
 * - Mistral goes on from an assistant message with `prefix: true` (Mistral, prefix completion).
 * - GPT-4o, GPT-4.1 and GPT-5, DeepSeek chat, Grok, Llama and Qwen chat models have no prefill at the providers' own
 *   endpoints, and follow a user message that asks for the rest.
 */
const facts: ReadonlyArray<readonly [provider: RegExp, model: RegExp, method: Method]> = [
  [/./, /claude-(?:instant|[23])/, "prefill"],
  [/./, /claude-(?:opus|sonnet|haiku)-4(?:[-.][015])?(?:-2025\d{4})?(?:-v\d.*)?(?:$|[@:])/, "prefill"],
  [/./, /claude/, "turn"],
  [/gemini|vertex|google/, /gemini/, "prefill"],
  [/mistral/, /mistral|ministral|codestral|pixtral|magistral/, "prefill"],
  [/./, /gpt-4o|gpt-4\.1|gpt-5|deepseek-(?:chat|v3)|grok|llama|qwen/i, "turn"]
]

/**
 * How a model is asked to go on; `undefined` where that is not known.
 *
 * @since 0.1.0
 * @category facts
 */
export const methodOf = (target: { readonly provider: string; readonly model: string }): Method | undefined =>
  facts.find(([provider, model]) => provider.test(target.provider) && model.test(target.model))?.[2]

const goOn =
  "Your previous message was cut off. Continue it from exactly where it stopped: start with the very next character, repeat nothing, and add no remark about the interruption."

/**
 * The request that asks for what follows `text`.
 *
 * @since 0.1.0
 * @category combinators
 */
export const request = (request: Chat.Request, text: string, method: Method): Chat.Request => ({
  ...request,
  messages: [...request.messages, Chat.assistant(text), ...(method === "turn" ? [Chat.user(goOn)] : [])]
})

/**
 * The shortest repetition that is taken for one, in UTF-16 units: shorter ones occur by chance in ordinary prose.
 *
 * @since 0.1.0
 * @category facts
 */
export const minOverlap = 16

/** How far back a repetition is looked for: a paragraph. */
const maxOverlap = 2000

/**
 * What is known of a seam when it is settled: how much of the new text repeated the end of the old and was cut off, and
 * whether the new text started over from the beginning of the old.
 *
 * @since 0.1.0
 * @category models
 */
export interface Settled {
  readonly overlap: number
  readonly startedOver: boolean
  readonly text: string
}

/**
 * A seam that is being looked at: `add` takes the new text piece by piece and answers once it can be settled; `end`
 * settles it with what there is.
 *
 * @since 0.1.0
 * @category models
 */
export interface Seam {
  readonly add: (text: string) => Settled | undefined
  readonly end: () => Settled
}

/**
 * A seam after `delivered`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const seam = (delivered: string): Seam => {
  const tail = delivered.slice(-maxOverlap)
  const head = delivered.slice(0, minOverlap)
  /** The lengths that may still turn out to be the repetition, longest first. */
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
