/**
 * Reserves the cost of a streamed attempt with `Spend`. For whole answers see `Spend.attempt`.
 *
 * @since 0.2.0
 */

import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type * as Attempt from "../calls/Attempt.js"
import { isAboutAnswer, type LlmError } from "../errors/LlmError.js"
import * as Immediate from "../policies/Immediate.js"
import * as SpendScope from "../policies/spend/SpendScope.js"
import type * as Chat from "./Chat.js"
import * as ChatStream from "./stream/ChatStream.js"
import * as Source from "./stream/Source.js"

const errorOf = (exit: Exit.Exit<unknown, LlmError>): LlmError | undefined =>
  exit._tag === "Failure" ? Option.getOrUndefined(Cause.failureOption(exit.cause)) : undefined

/**
 * If a `Spend` limit is in force, opens a stream under a hold, with the `maxTokens` that the hold allows. `told` takes
 * each usage that the attempt notes. It is final if the answer was filtered, or read and wrong; of a stream that broke
 * it is a part.
 *
 * @since 0.2.0
 * @category combinators
 */
export const source = (
  target: Attempt.Target,
  request: Chat.Request,
  open: (maxTokens: number | undefined, told?: (usage: Chat.Usage) => void) => ChatStream.Source
): ChatStream.Source =>
  Source.make((opening) => {
    const { closing, context, fiber } = opening
    const { maxTokens } = request
    if (Context.get(context, SpendScope.Spend) === undefined) return Source.open(open(maxTokens), opening)
    const ask = { provider: target.provider, model: target.model, prompt: request, maxTokens }
    const hold = SpendScope.hold(context, ask, Immediate.nowOf(fiber))
    if (hold === undefined) return Source.open(open(maxTokens), opening)
    if (hold._tag !== "Hold") return Exit.succeed(Effect.fail(Option.some(hold)))
    closing.add(() => {
      hold.release()
      return undefined
    })
    let noted: Chat.Usage | undefined
    const told = (usage: Chat.Usage): void => {
      noted = usage
    }
    const guarded = ChatStream.guarded(open(hold.maxTokens, told), () =>
      Effect.succeed(({ exit, usage }) =>
        Effect.sync(() => {
          const error = errorOf(exit)
          const isRead = error !== undefined && (error._tag === "ContentFiltered" || isAboutAnswer(error))
          const final = isRead ? (usage ?? noted) : usage
          hold.settle({ usage: final, delivery: error?.delivery ?? "unknown" })
        })
      )
    )
    return Source.open(guarded, opening)
  })
