/**
 * How a call goes over to another model after an error: the decision, the draw on the retry budget, and the evidence.
 *
 * @since 0.2.0
 */

import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { CircuitOpen, type LlmError } from "../errors/LlmError.js"
import type * as RetryBudget from "../policies/retry/RetryBudget.js"
import * as Waited from "../policies/Waited.js"
import * as About from "./About.js"
import * as Attempt from "./Attempt.js"
import * as Call from "./Call.js"
import * as Resilience from "./Resilience.js"

/**
 * Whether another model is asked after an error, and why. `unable` means that a rule allowed the other model, but the
 * model lacks something that the request needs.
 *
 * @since 0.2.0
 * @category models
 */
export type Decision =
  | { readonly _tag: "Take"; readonly reason: string }
  | { readonly _tag: "Leave"; readonly reason: string; readonly unable: boolean }

/**
 * One handover of a call.
 *
 * @since 0.2.0
 * @category models
 */
export interface Handover {
  /** Decides after an error: returns the services for the other model's attempts, or fails with the error. */
  readonly decide: (error: LlmError) => Effect.Effect<Context.Context<Attempt.Fallback>, LlmError>
  /** The draw on the retry budget. */
  readonly draw: RetryBudget.Draw
  /** The time from which the other model takes the call after an open circuit, in epoch milliseconds. */
  readonly elsewhere: () => number
}

/**
 * The two models of a handover.
 *
 * @since 0.2.0
 * @category options
 */
export interface Options<Q> {
  /** The model that is asked first. */
  readonly from: About.About
  /** The model that is asked next. */
  readonly to: About.About
  /** The name of the next model in log lines. */
  readonly name: string
  /** Whether an error goes over. */
  readonly decide: (error: LlmError, request: Q) => Decision
  /** The number of attempts that were begun for a request so far. Default: those of the call. */
  readonly attempts?: ((request: Q) => number) | undefined
}

/**
 * Builds handovers. A fallback draws on a retry budget only if it goes to the same group, and an attempt was made
 * before.
 *
 * @since 0.2.0
 * @category constructors
 */
export const make = <Q>({ attempts, decide: decideBy, from, name, to }: Options<Q>) => {
  const { model, provider } = from.targets[0]
  /** Whether this error would go over decides whether a call waits for a circuit. */
  const refusal = new CircuitOpen({ provider, model, message: "the circuit is open", delivery: "not-sent" })
  const declined = (reason: string, error: LlmError): Effect.Effect<never, LlmError> =>
    Effect.zipRight(Call.warn(`not falling back to ${name}: ${reason}`, error, { reason }), Effect.fail(error))

  return (request: Q, context: Context.Context<never>): Handover => {
    const call = Call.peek(context, Call.CurrentCall)
    const begun = (): number | undefined => (attempts === undefined ? call?.attempts.length : attempts(request))
    const before = begun()
    const draw = Resilience.extraDraw(context, (error) => About.groupIn(from, error))
    const decide: Handover["decide"] = (error) => {
      const decision = decideBy(error, request)
      if (decision._tag === "Leave") {
        return decision.unable ? declined(decision.reason, error) : Effect.fail(error)
      }
      const again = begun() !== before && About.groupIn(from, error) === Attempt.groupOf(to.targets[0])
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
      takes ??= decideBy(refusal, request)._tag === "Take"
      return takes ? to.readyAt() : Number.POSITIVE_INFINITY
    }
    return { decide, draw, elsewhere }
  }
}
