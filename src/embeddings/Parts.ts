/**
 * A long input in parts that providers take, and the answer from the answers of the parts. Everything here is pure.
 *
 * A part is a run of texts that stand together, so the order is kept by putting the answers together in the order of
 * the parts. A text that is too long for any request is found before one is sent.
 *
 * @since 0.2.0
 */

import * as Tokens from "../policies/spend/Tokens.js"
import * as Usage from "../policies/Usage.js"
import type * as Embedding from "./Embedding.js"

/**
 * A part of an input: the content of one request.
 *
 * @since 0.2.0
 * @category models
 */
export interface Part {
  /** The request that it is a part of. */
  readonly request: Embedding.Request
  /** The texts. */
  readonly input: ReadonlyArray<string>
  /** The position of the first text in the whole input. */
  readonly from: number
  /** The number of attempts that were begun for it. Each run of a request makes its own parts. */
  attempts: number
}

/**
 * A text that no request can hold.
 *
 * @since 0.2.0
 * @category models
 */
export interface TooLong {
  readonly _tag: "TooLong"
  /** The position of the text in the whole input. */
  readonly index: number
  /** The size found, and the largest one, in words. */
  readonly message: string
}

/** The UTF-16 units of the longest tokens of OpenAI's cl100k and o200k: runs of 128 blanks. */
const longestToken = 128

/** No text has more tokens for each of its UTF-16 units, by the weights of `Tokens.estimate`. */
const mostTokens = 2

const tooLong = (text: string, index: number, { count, inputTokens }: Embedding.Limits): TooLong | undefined => {
  if (inputTokens === undefined) return undefined
  // A text has fewer tokens than bytes: most texts need no counting.
  if (text.length * 3 <= inputTokens) return undefined
  if (count === undefined) {
    const most = inputTokens * longestToken
    if (text.length <= most) return undefined
    const message = `found ${text.length} characters, expected at most ${most}, as ${inputTokens} tokens can have`
    return { _tag: "TooLong", index, message }
  }
  const found = count(text)
  return found <= inputTokens
    ? undefined
    : { _tag: "TooLong", index, message: `found ${found} tokens, expected at most ${inputTokens}` }
}

/**
 * The parts of a request, or the first text that is too long. Each part has as many texts as the limits allow.
 *
 * @since 0.2.0
 * @category constructors
 */
export const split = (
  request: Embedding.Request,
  texts: ReadonlyArray<string>,
  limits: Embedding.Limits
): ReadonlyArray<Part> | TooLong => {
  const { count = Tokens.ofText, inputs = Number.POSITIVE_INFINITY, tokens = Number.POSITIVE_INFINITY } = limits
  const part = (from: number, to: number): Part => ({
    request,
    input: from === 0 && to === texts.length ? texts : texts.slice(from, to),
    from,
    attempts: 0
  })
  let characters = 0
  for (const [index, text] of texts.entries()) {
    const refused = tooLong(text, index, limits)
    if (refused !== undefined) return refused
    characters += text.length
  }
  // Without a counter of the application, most inputs need no counting.
  const few = limits.count === undefined ? characters * mostTokens <= tokens : tokens === Number.POSITIVE_INFINITY
  if (few && texts.length <= inputs) return [part(0, texts.length)]
  const parts: Array<Part> = []
  let from = 0
  let held = 0
  for (const [index, text] of texts.entries()) {
    const size = few ? 0 : count(text)
    if (index > from && (index - from >= inputs || held + size > tokens)) {
      parts.push(part(from, index))
      from = index
      held = 0
    }
    held += size
  }
  parts.push(part(from, texts.length))
  return parts
}

/**
 * The inputs of a part in words, for the error of a part: `inputs 2048 to 4095 of 5000`.
 *
 * @since 0.2.0
 * @category getters
 */
export const words = ({ from, input }: Part, all: number): string =>
  input.length === 1 ? `input ${from} of ${all}` : `inputs ${from} to ${from + input.length - 1} of ${all}`

/**
 * The answer of a whole request from the answers of its parts, in their order.
 *
 * @since 0.2.0
 * @category combinators
 */
export const join = (
  answers: readonly [Embedding.Response, ...ReadonlyArray<Embedding.Response>]
): Embedding.Response => {
  const [{ model, provider }] = answers
  let usage: Usage.Usage | undefined
  let isKnown = true
  const vectors: Array<ReadonlyArray<number>> = []
  for (const answer of answers) {
    isKnown = isKnown && answer.usage !== undefined
    usage = Usage.add(usage, answer.usage)
    for (const vector of answer.vectors) vectors.push(vector)
  }
  return { vectors, usage: isKnown ? usage : undefined, provider, model }
}

const least = (a: number | undefined, b: number | undefined): number | undefined =>
  a === undefined ? b : b === undefined ? a : Math.min(a, b)

/**
 * The limits that a request to either of two targets keeps.
 *
 * @since 0.2.0
 * @category combinators
 */
export const narrower = (a: Embedding.Limits, b: Embedding.Limits): Embedding.Limits => ({
  inputs: least(a.inputs, b.inputs),
  tokens: least(a.tokens, b.tokens),
  inputTokens: least(a.inputTokens, b.inputTokens),
  count: a.count ?? b.count
})
