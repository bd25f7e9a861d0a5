/**
 * How a chat call goes over to another model after an error: by the rules of `Fallback`.
 *
 * @since 0.2.0
 */

import type * as Context from "effect/Context"
import * as Attempt from "../calls/Attempt.js"
import * as Call from "../calls/Call.js"
import * as Handover from "../calls/Handover.js"
import type * as Chat from "./Chat.js"
import * as Fallback from "./Fallback.js"
import type { About } from "./Model.js"

/**
 * Builds handovers from one model to another with this name.
 *
 * If the first model is itself a fallback and lacks a capability for the request, but the other does not, only `skip`
 * runs.
 *
 * @since 0.2.0
 * @category constructors
 */
export const make = (from: About, to: About, name: string, when: Fallback.When = {}) => {
  let known: { readonly from: ReadonlyArray<Fallback.Target>; readonly to: ReadonlyArray<Fallback.Target> } | undefined
  /** Read at the first need, because most calls have none. */
  const targets = () => (known ??= { from: Fallback.targetsOf(from.targets), to: Fallback.targetsOf(to.targets) })
  const begin = Handover.make<Chat.Request>({
    from,
    to,
    name,
    decide: (error, request) => Fallback.decide(when, error, request, targets())
  })

  return <A>(
    request: Chat.Request,
    context: Context.Context<never>,
    options: (handover: Handover.Handover) => { readonly ask: A; readonly skip: A }
  ): A => {
    const { ask, skip } = options(begin(request, context))
    return Call.peek(context, Attempt.Fallback) !== undefined &&
      Fallback.cannot(targets().from, request) !== undefined &&
      Fallback.cannot(targets().to, request) === undefined
      ? skip
      : ask
  }
}
