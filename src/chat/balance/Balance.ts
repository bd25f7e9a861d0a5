/**
 * One model of several interchangeable members: {@link balance} over models, {@link pooled} over the keys of one
 * provider. A `Balancer` chooses a member for each attempt.
 *
 * | an attempt ends with | `balance` | `pooled` |
 * |---|---|---|
 * | `CircuitOpen` of the member's own breaker | asks the next member at once | asks the next key at once |
 * | `AuthError`, `QuotaExhausted`, `RateLimited` | fails with it | asks another key at once, each at most once |
 * | any other error | fails with it | fails with it |
 * | no member takes traffic | waits in order within deadline and `maxWait`, or fails | the same; not for dead keys |
 *
 * A `retry` around the model chooses again for each attempt. Sending a request again with another key draws on the
 * provider's `RetryBudget`, unless the first key is dead. A stream changes its member only until its first content.
 *
 * Gotchas: put `retry` and `deadline` outside. A `timeout` outside limits the wait for a member too, and a wait that
 * cannot end in time is not begun; a `timeout` inside limits each member alone. An answer that breaks in the middle
 * goes on only in the modes `restart` and `continue`, and never by resuming the provider's stored answer, because the
 * next attempt may go to another member.
 *
 * @example
 * import { ChatModel, RetryPolicy } from "effect-steadfast"
 *
 * declare const east: ChatModel.ChatModel
 * declare const west: ChatModel.ChatModel
 *
 * const model = ChatModel.balance([{ model: east, weight: 3 }, west], { strategy: "weighted" }).pipe(
 *   ChatModel.retry(RetryPolicy.standard),
 *   ChatModel.deadline("90 seconds")
 * )
 *
 * @since 0.2.0
 */

import * as Effect from "effect/Effect"
import type * as Redacted from "effect/Redacted"
import * as Balanced from "../../calls/balance/Balance.js"
import * as Balancer from "../../policies/balance/Balancer.js"
import type * as KeyPool from "../../policies/balance/KeyPool.js"
import type * as Chat from "../Chat.js"
import * as Fallback from "../Fallback.js"
import { type ChatModel, isChatModel, TypeId } from "../Model.js"
import * as Members from "./Members.js"

// -----------------------------------------------------------------------------
// combinators
// -----------------------------------------------------------------------------

/**
 * A model, alone or with its weight and cost.
 *
 * @since 0.2.0
 * @category options
 */
export type BalanceMember = Balanced.Member<ChatModel>

/**
 * The schema of {@link balance}'s options in JSON or YAML: durations are text with a unit, `affinity` is left out.
 *
 * @since 0.2.0
 * @category options
 */
export const BalanceOptions = Balancer.choosing.schema

/**
 * The options of {@link balance}.
 *
 * @since 0.2.0
 * @category options
 */
export interface BalanceOptions extends Balanced.Options<Chat.Request> {}

const isOnce = (request: Chat.Request): boolean => request.idempotent === false

const namedOf = (model: ChatModel): Balanced.Named => ({ name: model.name, about: model[TypeId] })

/** The members that lack a capability for a request. If all do, none is left out: the provider's error tells why. */
const unableOf = (models: ReadonlyArray<ChatModel>): ((request: Chat.Request) => ReadonlyArray<number>) | undefined => {
  const targets = models.map((model) => Fallback.targetsOf(model[TypeId].targets))
  const kinds = new Set(targets.map((several) => JSON.stringify(several.map(({ capabilities }) => capabilities))))
  if (kinds.size === 1) return undefined
  return (request) => {
    const unable = [...models.keys()].filter(
      (index) => Fallback.cannot(targets[index] as ReadonlyArray<Fallback.Target>, request) !== undefined
    )
    return unable.length < models.length ? unable : []
  }
}

/**
 * One model of several. Each attempt goes to a member that takes traffic and has the capabilities for the
 * request (`Fallback`), chosen by the strategy. If the member's breaker refuses, the same attempt asks the next member.
 * Any other error is the result of the attempt; a `retry` outside chooses again.
 *
 * Throws a `RangeError` that names the option, the value found and the values expected.
 *
 * @since 0.2.0
 * @category combinators
 */
export const balance = (members: ReadonlyArray<BalanceMember>, options: BalanceOptions = {}): ChatModel => {
  const given = members.map((member) => (isChatModel(member) ? { model: member } : member))
  const models = given.map(({ model }) => model)
  const all = given.map(({ model, ...member }) => ({ ...member, ...namedOf(model) }))
  return Members.make(
    Balanced.balanced(all, options, { unable: unableOf(models), isOnce }, "ChatModel.balance"),
    models,
    [...new Set(models.map(({ name }) => name))].join(" + ")
  )
}

/**
 * The options of {@link balance} that concern the request; the others are options of the pool.
 *
 * @since 0.2.0
 * @category options
 */
export type PooledOptions = Pick<BalanceOptions, "affinity">

/**
 * One model over the keys of a pool: `make` builds the model of each key. If a key is refused, out of credit or over
 * its limit, it is left out and the same attempt goes on with another key at once.
 *
 * @since 0.2.0
 * @category constructors
 */
export const pooled = <E, R>(
  pool: KeyPool.KeyPool,
  make: (apiKey: Redacted.Redacted) => Effect.Effect<ChatModel, E, R>,
  options: PooledOptions = {}
): Effect.Effect<ChatModel, E, R> =>
  Effect.map(
    Effect.forEach(pool.keys, ({ apiKey }) => make(apiKey)),
    (models) =>
      Members.make(
        Balanced.pooled(pool, models.map(namedOf), options, { unable: undefined, isOnce }),
        models,
        (models[0] as ChatModel).name
      )
  )
