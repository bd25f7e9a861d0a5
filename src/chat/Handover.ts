/**
 * How a call goes over to another model after an error: the decision, the draw on the retry budget, and the evidence.
 *
 * @since 0.2.0
 */

import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { groupIn } from "../calls/About.js"
import * as Attempt from "../calls/Attempt.js"
import * as Call from "../calls/Call.js"
import * as Resilience from "../calls/Resilience.js"
import { CircuitOpen, type LlmError } from "../errors/LlmError.js"
import type * as RetryBudget from "../policies/retry/RetryBudget.js"
import * as Waited from "../policies/Waited.js"
import type * as Chat from "./Chat.js"
import * as Fallback from "./Fallback.js"
import type { About } from "./Model.js"

/** One handover of a call. */
interface Handover {
  /** Decides after an error: returns the services for the other model's attempts, or fails with the error. */
  readonly decide: (error: LlmError) => Effect.Effect<Context.Context<Attempt.Fallback>, LlmError>
  /** The draw on the retry budget. */
  readonly draw: RetryBudget.Draw
  /** The time from which the other model takes the call after an open circuit, in epoch milliseconds. */
  readonly elsewhere: () => number
}

/**
 * Builds handovers from one model to another with this name.
 *
 * A fallback draws on a retry budget only if it goes to the same group and the call has made an attempt before. If the
 * first model is itself a fallback and lacks a capability for the request, but the other does not, only `skip` runs.
 *
 * @since 0.2.0
 * @category constructors
 */
export const make = (from: About, to: About, name: string, when: Fallback.When = {}) => {
  const { model, provider } = from.targets[0]
  /** Whether this error would go over decides whether a call waits for a circuit. */
  const refusal = new CircuitOpen({ provider, model, message: "the circuit is open", delivery: "not-sent" })
  let known: { readonly from: ReadonlyArray<Fallback.Target>; readonly to: ReadonlyArray<Fallback.Target> } | undefined
  /** Read at the first need, because most calls have none. */
  const targets = () => (known ??= { from: Fallback.targetsOf(from.targets), to: Fallback.targetsOf(to.targets) })
  const declined = (reason: string, error: LlmError): Effect.Effect<never, LlmError> =>
    Effect.zipRight(Call.warn(`not falling back to ${name}: ${reason}`, error, { reason }), Effect.fail(error))

  return <A>(
    request: Chat.Request,
    context: Context.Context<never>,
    options: (handover: Handover) => { readonly ask: A; readonly skip: A }
  ): A => {
    const call = Call.peek(context, Call.CurrentCall)
    const before = call?.attempts.length
    const draw = Resilience.extraDraw(context, (error) => groupIn(from, error))
    const decide: Handover["decide"] = (error) => {
      const decision = Fallback.decide(when, error, request, targets())
      if (decision._tag === "Leave") {
        return decision.unable ? declined(decision.reason, error) : Effect.fail(error)
      }
      const sent = call?.attempts.length !== before
      const again = sent && groupIn(from, error) === Attempt.groupOf(to.targets[0])
      return Effect.flatMap(again ? draw.take(error, 0) : Effect.succeed(0), (drawn) => {
        if (drawn === undefined) return declined(`${error._tag}: no retry budget left`, error)
        return Effect.map(Resilience.fallingBack(error, decision.reason), (fallback) => {
          const fallen = Context.make(Attempt.Fallback, fallback)
          const services = drawn > 0 ? Waited.after(fallen, drawn) : fallen
          return again ? Context.add(services, Attempt.Extra, { reason: "again" }) : services
        })
      })
    }
    let takes: boolean | undefined
    const elsewhere = (): number => {
      takes ??= Fallback.decide(when, refusal, request, targets())._tag === "Take"
      return takes ? to.readyAt() : Number.POSITIVE_INFINITY
    }
    const { ask, skip } = options({ decide, draw, elsewhere })
    return Call.peek(context, Attempt.Fallback) !== undefined &&
      Fallback.cannot(targets().from, request) !== undefined &&
      Fallback.cannot(targets().to, request) === undefined
      ? skip
      : ask
  }
}
