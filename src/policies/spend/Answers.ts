/**
 * How many answers a request asks for: each of them may be as long as the request allows.
 *
 * @since 0.2.0
 */

import type * as Tokens from "./Tokens.js"

/** The names of the number, and the object that it may stand in. */
const names = ["n", "candidateCount", "candidate_count"]
const inside = ["generationConfig", "generation_config"]

/** No provider makes more: OpenAI takes 128, Gemini 8. */
const largest = 1000

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value)

const countIn = (fields: unknown): number =>
  isObject(fields)
    ? names.reduce((most, name) => {
        const count = fields[name]
        return typeof count === "number" && count > most ? Math.min(count, largest) : most
      }, 1)
    : 1

/**
 * The number of answers that the body of a request, or the options of a provider in `providerOptions`, ask for: `n` or
 * `candidateCount`, at least 1.
 *
 * @since 0.2.0
 * @category getters
 */
export const countOf = (body: unknown): number =>
  isObject(body) ? Math.max(countIn(body), ...inside.map((name) => countIn(body[name]))) : 1

/**
 * The most answers that a prompt asks of any provider, by `providerOptions`.
 *
 * @since 0.2.0
 * @category getters
 */
export const askedIn = ({ providerOptions }: Pick<Tokens.Prompt, "providerOptions">): number =>
  isObject(providerOptions)
    ? Object.values(providerOptions).reduce<number>((most, own) => Math.max(most, countOf(own)), 1)
    : 1
