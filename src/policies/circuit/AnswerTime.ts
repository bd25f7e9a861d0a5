/**
 * How long answers of a target take: their mean and mean deviation, as TCP measures round trips (RFC 6298).
 *
 * A call that waits for the target needs so much time for its answer; later it would only take the place of another.
 *
 * @since 0.2.0
 */

/**
 * Times in milliseconds.
 *
 * @internal
 */
export interface AnswerTime {
  readonly mean: number
  readonly deviation: number
}

/**
 * The estimate after one more answer.
 *
 * @internal
 */
export const seen = (before: AnswerTime | undefined, millis: number): AnswerTime =>
  before === undefined
    ? { mean: millis, deviation: millis / 2 }
    : {
        mean: before.mean + (millis - before.mean) / 8,
        deviation: before.deviation + (Math.abs(millis - before.mean) - before.deviation) / 4
      }

/**
 * The time within which most answers come; 0 if no answer was seen.
 *
 * @internal
 */
export const most = (time: AnswerTime | undefined): number => (time === undefined ? 0 : time.mean + 2 * time.deviation)
