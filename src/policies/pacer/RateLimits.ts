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
 * Hears the limits that the headers of a response tell, as soon as they are known; `now` is in epoch milliseconds. A
 * pacer sets it around the attempt that it lets through.
 *
 * @since 0.2.0
 * @category context
 */
export class LimitsListener extends Context.Tag("steadfast/Attempt/LimitsListener")<
  LimitsListener,
  (limits: Limits, now: number) => void
>() {}
