/**
 * How a call goes over to another model after an error: whether it does, who pays for it, and what the evidence is
 * told.
 *
 * @since 0.2.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Attempt from "../calls/Attempt.js"
import * as Call from "../calls/Call.js"
import * as Resilience from "../calls/Resilience.js"
import type { LlmError } from "../errors/LlmError.js"
import type * as RetryBudget from "../policies/retry/RetryBudget.js"
import type * as Chat from "./Chat.js"
import * as Fallback from "./Fallback.js"
import { type About, groupIn } from "./Model.js"

/** A fallback that was wanted and is not made explains a call that failed. */
const declined = (reason: string, name: string): Effect.Effect<void> =>
  Effect.logWarning(`not falling back to ${name}: ${reason}`)

/**
 * From one model to another, of that name: goes over after an error, or fails with it. `sent` is whether an attempt was
 * made before; without one, this is the first, which draws on no budget.
 *
 * @since 0.2.0
 * @category constructors
 */
export const make =
  (from: About, to: About, name: string, when: Fallback.When = {}) =>
  (request: Chat.Request, draw: RetryBudget.Draw, sent: () => boolean) =>
  (error: LlmError): Effect.Effect<Context.Context<Attempt.Fallback>, LlmError> => {
    const decision = Fallback.decide(when, error, request, { from: from.targets, to: to.targets })
    if (decision._tag === "Leave") {
      return decision.unable ? Effect.zipRight(declined(decision.reason, name), Effect.fail(error)) : Effect.fail(error)
    }
    const again = sent() && groupIn(from, error) === Attempt.groupOf(to.targets[0])
    return Effect.flatMap(again ? draw.take(error) : Effect.succeed(true), (drawn) =>
      drawn
        ? Effect.map(Resilience.fallingBack(error, decision.reason), (fallback) => {
            const services = Context.make(Attempt.Fallback, fallback)
            return again ? Context.add(services, Attempt.Extra, { reason: "again" }) : services
          })
        : Effect.zipRight(declined(`${error._tag}: no retry budget left`, name), Effect.fail(error))
    )
  }

/**
 * A model that is itself a fallback is passed over where it is known that it cannot do what is asked, and the next can.
 * `sent`: whether the call has made an attempt since.
 *
 * @since 0.2.0
 * @category combinators
 */
export const skipping = <A, E, R>(
  self: About,
  that: About,
  request: Chat.Request,
  options: (sent: () => boolean) => { readonly ask: Effect.Effect<A, E, R>; readonly skip: Effect.Effect<A, E, R> }
): Effect.Effect<A, E, R> =>
  Effect.withFiberRuntime((fiber) => {
    const call = Call.peek(fiber.currentContext, Call.CurrentCall)
    const before = call?.attempts.length
    const { ask, skip } = options(() => call?.attempts.length !== before)
    return Call.peek(fiber.currentContext, Attempt.Fallback) !== undefined &&
      Fallback.cannot(self.targets, request) !== undefined &&
      Fallback.cannot(that.targets, request) === undefined
      ? skip
      : ask
  })
