/**
 * The checks of a provider's vectors. A wrong vector in an index is found by nobody, so each is looked at once.
 *
 * @since 0.2.0
 */

import type * as Attempt from "../calls/Attempt.js"
import { InvalidResponse } from "../errors/LlmError.js"

/** Whether a vector holds a value that is no finite number. */
const findOdd = (vector: ReadonlyArray<unknown>): number => {
  for (let index = 0; index < vector.length; index++) if (!Number.isFinite(vector[index])) return index
  return -1
}

/**
 * The error of vectors that are no answer: not one for each text, not of one length, not of the length asked for, or
 * with a value that is no finite number. `undefined` for good ones.
 *
 * A length other than that asked for is the way of the model, so it is not retried.
 *
 * @since 0.2.0
 * @category errors
 */
export const wrong = (
  vectors: ReadonlyArray<ReadonlyArray<number>>,
  texts: number,
  length: number | undefined,
  { model, provider }: Attempt.Target
): InvalidResponse | undefined => {
  const error = (message: string, retryable?: boolean) =>
    new InvalidResponse({
      provider,
      model,
      message,
      delivery: "unknown",
      ...(retryable === undefined ? {} : { retryable })
    })
  if (vectors.length !== texts) return error(`found ${vectors.length} vectors, expected ${texts}, one for each text`)
  const first = vectors[0]?.length ?? 0
  for (const [index, vector] of vectors.entries()) {
    if (vector.length !== first || vector.length === 0) {
      return error(`vector ${index}: found ${vector.length} numbers, expected ${first === 0 ? "some" : first}`)
    }
    const odd = findOdd(vector)
    if (odd >= 0) return error(`vector ${index}: found ${String(vector[odd])} at ${odd}, expected a finite number`)
  }
  return length === undefined || first === length
    ? undefined
    : error(`found vectors of ${first} numbers, expected ${length}`, false)
}
