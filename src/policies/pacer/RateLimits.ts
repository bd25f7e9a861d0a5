/**
 * A provider's rate limits, as the headers of its responses tell them.
 *
 * Without it a wire format could not tell the pacer about limits, because it knows no pacer.
 *
 * @since 0.1.0
 */

import * as Context from "effect/Context"
import * as Schema from "effect/Schema"

/**
 * One limit as headers tell it: `limit` in all, `remaining` of it, and full again in `resetMillis`, which is not the
 * time to wait. `windowMillis` is the documented window of the limit: a minute for most providers, a day for Groq's
 * requests.
 *
 * @since 0.1.0
 * @category models
 */
export const Limit = Schema.Struct({
  limit: Schema.optional(Schema.Number),
  remaining: Schema.optional(Schema.Number),
  resetMillis: Schema.optional(Schema.Number),
  windowMillis: Schema.optional(Schema.Number)
})

/**
 * @since 0.1.0
 * @category models
 */
export type Limit = typeof Limit.Type

/**
 * The limits that a response's headers told. `tokens` counts input and output together.
 *
 * @since 0.1.0
 * @category models
 */
export const Limits = Schema.Struct({
  requests: Schema.optional(Limit),
  tokens: Schema.optional(Limit),
  inputTokens: Schema.optional(Limit),
  outputTokens: Schema.optional(Limit)
})

/**
 * @since 0.1.0
 * @category models
 */
export type Limits = typeof Limits.Type

/**
 * The place that a pacer gave to an attempt. `now` is in epoch milliseconds.
 *
 * @since 0.2.0
 * @category models
 */
export interface Place {
  /** The time that the request waited for its place, in milliseconds. */
  readonly queuedMillis: number
  /** Takes the limits in the headers of the response. */
  readonly observe: (headers: Limits, now: number) => void
}

/**
 * The place of the attempt that runs. A pacer sets it around each attempt that it lets through.
 *
 * @since 0.2.0
 * @category context
 */
export class CurrentPlace extends Context.Tag("steadfast/Pacer/CurrentPlace")<CurrentPlace, Place>() {}
