/**
 * Reserves the cost of a streamed attempt with `Spend`. For whole answers see `Spend.attempt`.
 *
 * @since 0.2.0
 */

import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type * as Attempt from "../calls/Attempt.js"
import type { Delivery, LlmError } from "../errors/LlmError.js"
import * as SpendScope from "../policies/spend/SpendScope.js"
import type * as Chat from "./Chat.js"
import * as ChatStream from "./stream/ChatStream.js"

const deliveryOf = (exit: Exit.Exit<unknown, LlmError>): Delivery => {
  const failure = exit._tag === "Failure" ? Option.getOrUndefined(Cause.failureOption(exit.cause)) : undefined
  return failure?.delivery ?? "unknown"
}

/**
 * If a `Spend` limit is in force, opens a stream under a hold, with the `maxTokens` that the hold allows.
 *
 * @since 0.2.0
 * @category combinators
 */
export const source = (
  target: Attempt.Target,
  request: Chat.Request,
  open: (maxTokens: number | undefined) => ChatStream.Source
): ChatStream.Source =>
  Effect.withFiberRuntime((fiber) => {
    const { maxTokens } = request
    if (Context.get(fiber.currentContext, SpendScope.Spend) === undefined) return open(maxTokens)
    const ask = { provider: target.provider, model: target.model, prompt: request, maxTokens }
    const taken = Effect.acquireRelease(
      Effect.map(Clock.currentTimeMillis, (now) => SpendScope.hold(fiber.currentContext, ask, now)),
      (hold) => Effect.sync(() => (hold?._tag === "Hold" ? hold.release() : undefined))
    )
    return Effect.flatMap(taken, (hold) => {
      if (hold === undefined) return open(maxTokens)
      if (hold._tag !== "Hold") return Effect.succeed(Effect.fail(Option.some(hold)))
      return ChatStream.guarded(open(hold.maxTokens), () =>
        Effect.succeed(({ exit, usage }) => Effect.sync(() => hold.settle({ usage, delivery: deliveryOf(exit) })))
      )
    })
  })
