/**
 * How a part of an input goes over to another model after an error.
 *
 * By default `LlmError.isFallbackable` decides. `ContextLengthExceeded` goes to no other model, because models of one
 * space have one window, and neither does `ContentFiltered`.
 *
 * @since 0.2.0
 */

import * as Effect from "effect/Effect"
import * as Handover from "../calls/Handover.js"
import * as Resilience from "../calls/Resilience.js"
import * as LlmError from "../errors/LlmError.js"
import type { Inside } from "./Model.js"
import type * as Parts from "./Parts.js"

/**
 * The options of `EmbeddingModel.orElse`.
 *
 * @since 0.2.0
 * @category options
 */
export interface FallbackOptions {
  /** Whether another model is asked, by the tag of an error or for all errors. Default: as `LlmError` says. */
  readonly when?:
    | Readonly<{ [K in LlmError.Tag]?: boolean | undefined }>
    | ((error: LlmError.LlmError) => boolean)
    | undefined
}

/**
 * Decides after an error whether the other model is asked.
 *
 * @since 0.2.0
 * @category combinators
 */
export const decide = (error: LlmError.LlmError, when: FallbackOptions["when"] = {}): Handover.Decision => {
  const rule = typeof when === "function" ? when(error) : when[error._tag]
  return (rule ?? LlmError.fallbackOf(error) === true)
    ? { _tag: "Take", reason: error._tag }
    : { _tag: "Leave", reason: error._tag, unable: false }
}

/**
 * Asks one model for a part, and the other after an error that it may fix.
 *
 * @since 0.2.0
 * @category combinators
 */
export const asking = (from: Inside, to: Inside, name: string, options: FallbackOptions = {}): Inside["ask"] => {
  const begin = Handover.make<Parts.Part>({
    from,
    to,
    name,
    decide: (error) => decide(error, options.when),
    // The other parts of the call are asked for at the same time.
    attempts: (part) => part.attempts
  })
  return (part) =>
    Effect.withFiberRuntime((fiber) => {
      const { decide, draw, elsewhere } = begin(part, fiber.currentContext)
      const next = Effect.suspend(() => to.ask(part))
      return Resilience.handingOver(Resilience.besides(from.ask(part), elsewhere), decide, () =>
        Effect.tap(next, draw.answered)
      )
    })
}
