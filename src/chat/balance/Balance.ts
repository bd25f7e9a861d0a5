/**
 * One model of several that can stand in for each other: {@link balance} over models, {@link pooled} over the keys of
 * one provider. Which of them an attempt goes to is chosen by a `Balancer`, anew for each attempt.
 *
 * | an attempt ends with | `balance` | `pooled` |
 * |---|---|---|
 * | `CircuitOpen` of the member's own breaker | the next is asked at once | the next is asked at once |
 * | `AuthError`, `QuotaExhausted`, `RateLimited` | the error | another key is asked at once, each at most once |
 * | any other error | the error | the error |
 * | everyone is out | waits for the first, within deadline and `maxWait`, or fails | the same, not for dead keys |
 *
 * What is left to the caller belongs outside: a `retry` around it chooses anew. What was sent, and is sent again with
 * another key, draws on the provider's `RetryBudget`, unless the key is dead. A stream goes over only until its first
 * content.
 *
 * Gotchas: `retry` and `deadline` belong outside. A `timeout` outside bounds the wait for a member too, and nobody
 * waits who would not be done before it; inside it bounds each member alone. In an answer that breaks in the middle
 * only `restart` and `continue` go on, as ever, and never by asking a provider for the rest of what it kept: another
 * may be asked.
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
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Redacted from "effect/Redacted"
import { targetName } from "../../calls/CallRecord.js"
import * as LlmError from "../../errors/LlmError.js"
import * as Balancer from "../../policies/balance/Balancer.js"
import * as KeyPool from "../../policies/balance/KeyPool.js"
import type * as Chat from "../Chat.js"
import * as Fallback from "../Fallback.js"
import { type ChatModel, isChatModel, TypeId } from "../Model.js"
import * as Members from "./Members.js"
import * as MembersModel from "./MembersModel.js"

// -----------------------------------------------------------------------------
// combinators
// -----------------------------------------------------------------------------

/**
 * A model, or a model with the numbers by which it is chosen.
 *
 * @since 0.2.0
 * @category options
 */
export type BalanceMember =
  | ChatModel
  | {
      readonly model: ChatModel
      /** The share of the requests: above 0, at most 1,000,000. Default 1. */
      readonly weight?: number | undefined
      /**
       * The price in any unit that all members share, for `"cheapest"`. Default: not known, and the member is asked
       * last.
       */
      readonly cost?: number | undefined
    }

/**
 * The options of {@link balance} as they stand in JSON or YAML: durations are text with a unit, `affinity` is left out.
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
export interface BalanceOptions {
  /** Which of the members that take traffic is asked. Default `"weighted"`. */
  readonly strategy?: Balancer.Strategy | undefined
  /**
   * A key that requests for the same member share, such as the id of a conversation whose prompt the provider keeps in
   * its cache. It comes before the strategy. Default: none.
   */
  readonly affinity?: ((request: Chat.Request) => string | undefined) | undefined
  /**
   * How long an attempt waits if no member takes traffic and its deadline allows the wait. Default 60 seconds, the
   * longest hint that `RetryPolicy` waits for. With a fallback outside, 0 sends it there at once.
   */
  readonly maxWait?: Duration.DurationInput | undefined
}

const nobody = (count: number): string => (count === 1 ? "the only model takes" : `none of the ${count} models takes`)

/** What tells a member from others in another process too. */
const identity = (model: ChatModel): string => {
  const { key, model: name, provider } = model[TypeId].targets[0]
  return [model.name, provider, name, key ?? ""].join(" ")
}

/** Who cannot do what a request needs, unless nobody can: then the provider may say so itself. */
const unableOf = (models: ReadonlyArray<ChatModel>): Members.Members["unable"] => {
  const kinds = new Set(
    models.map((model) => JSON.stringify(model[TypeId].targets.map(({ capabilities }) => capabilities)))
  )
  if (kinds.size === 1) return undefined
  return (request) => {
    const unable: Array<number> = []
    for (let index = 0; index < models.length; index++) {
      if (Fallback.cannot((models[index] as ChatModel)[TypeId].targets, request) !== undefined) unable.push(index)
    }
    return unable.length < models.length ? unable : []
  }
}

/** From when each takes traffic. Taken out of the models: of thousands the one that is asked is in no cache. */
const readyAtOf = (models: ReadonlyArray<ChatModel>): ((index: number) => number) => {
  const all = models.map((model) => model[TypeId].readyAt)
  return (index) => (all[index] as () => number)()
}

/**
 * One model of several. Each attempt goes to one that takes traffic and can do what the request needs (`Fallback`), by
 * the strategy; one whose breaker refuses is passed over in the same attempt. Other errors are those of the member that
 * was asked: a `retry` outside chooses anew.
 *
 * Throws a `RangeError` that names the option, what was found and what was expected.
 *
 * @since 0.2.0
 * @category combinators
 */
export const balance = (members: ReadonlyArray<BalanceMember>, options: BalanceOptions = {}): ChatModel => {
  const { maxWait, strategy } = Balancer.choosing.read(options, "ChatModel.balance")
  const given = members.map((member) => (isChatModel(member) ? { model: member } : member))
  const models = given.map(({ model }) => model)
  const readyAt = readyAtOf(models)
  const group: Members.Members = {
    models,
    balancer: Balancer.make(
      given.map(({ model, ...member }) => ({ ...member, name: identity(model) })),
      strategy
    ),
    maxWait,
    affinity: options.affinity,
    unable: unableOf(models),
    readyAt,
    spares: () => false,
    admit: undefined,
    judge: () => undefined,
    goesOn: (error, now) => (error._tag === "CircuitOpen" ? Members.afterRefusal(error, now) : undefined),
    outlook: (_, notBefore) => {
      let first = Number.POSITIVE_INFINITY
      for (let index = 0; index < models.length; index++) {
        first = Math.min(first, Math.max(readyAt(index), notBefore(index)))
      }
      return { readyAt: first, worthAt: first, why: `${nobody(models.length)} traffic` }
    },
    nameAt: (index) => (models[index] as ChatModel).name
  }
  return MembersModel.make(group, [...new Set(models.map(({ name }) => name))].join(" + "))
}

/**
 * What of {@link BalanceOptions} is a matter of the request; the rest is the pool's.
 *
 * @since 0.2.0
 * @category options
 */
export type PooledOptions = Pick<BalanceOptions, "affinity">

/**
 * One model over the keys of a pool, with a model for each of them. A key that is refused, without credit or over its
 * limit is left out, and the attempt goes on with another at once.
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
    (models) => {
      const { name, [TypeId]: about } = models[0] as ChatModel
      const target = about.targets[0]
      const view = pool.for(targetName(target))
      const ownReadyAt = readyAtOf(models)
      const members: Members.Members = {
        models,
        balancer: pool.balancer,
        maxWait: pool.maxWait,
        affinity: options.affinity,
        unable: undefined,
        readyAt: (index) => Math.max(view.readyAt(index), ownReadyAt(index)),
        spares: (request, index, within, now, again) => {
          const due = pool.dueAt(index)
          if (due === undefined || due > now) return false
          if (request.idempotent === false || again) return true
          return now - due <= KeyPool.patience && !KeyPool.affords(within, now)
        },
        admit: view.admit,
        judge: view.end,
        goesOn: (error, now) => {
          if (error._tag === "CircuitOpen") return Members.afterRefusal(error, now)
          return isOwn(error) ? Number.POSITIVE_INFINITY : undefined
        },
        outlook: (now, notBefore) => view.outlook(now, (index) => Math.max(ownReadyAt(index), notBefore(index))),
        nameAt: (index) => (pool.keys[index] as KeyPool.Key).name
      }
      return MembersModel.make(members, name, {
        "gen_ai.provider.name": target.provider,
        "gen_ai.system": target.provider,
        "gen_ai.request.model": target.model
      })
    }
  )

/** Whether another key may mend it. */
const isOwn = (error: LlmError.LlmError): boolean => {
  const health = LlmError.healthOf(error)
  return health === "dead" || health === "throttled"
}
