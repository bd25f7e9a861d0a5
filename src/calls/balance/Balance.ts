/**
 * The members of a balance or a pool, for whatever is called: the options, and the rules for choosing a member.
 *
 * `ChatModel.balance` and `EmbeddingModel.balance` put models behind them; `Members` asks the chosen one.
 *
 * @since 0.2.0
 */

import type * as Duration from "effect/Duration"
import * as Balancer from "../../policies/balance/Balancer.js"
import * as KeyHealth from "../../policies/balance/KeyHealth.js"
import type * as KeyPool from "../../policies/balance/KeyPool.js"
import type * as About from "../About.js"
import { targetName } from "../CallRecord.js"
import * as Members from "./Members.js"

// -----------------------------------------------------------------------------
// options
// -----------------------------------------------------------------------------

/**
 * A model, alone or with its weight and cost.
 *
 * @since 0.2.0
 * @category options
 */
export type Member<M> =
  | M
  | {
      /** The model. */
      readonly model: M
      /** The share of the requests: above 0, at most 1,000,000. Default 1. */
      readonly weight?: number | undefined
      /** The price for `"cheapest"`, in any unit that all members share. Default: unknown; the member is asked last. */
      readonly cost?: number | undefined
    }

/**
 * The options of a balance, for requests of type `Q`.
 *
 * @since 0.2.0
 * @category options
 */
export interface Options<Q> {
  /** How to choose among the members that take traffic. Default `"weighted"`. */
  readonly strategy?: Balancer.Strategy | undefined
  /**
   * A key that requests for the same member share, such as the id of a conversation whose prompt the provider keeps in
   * its cache. It outranks the strategy. Default: none.
   */
  readonly affinity?: ((request: Q) => string | undefined) | undefined
  /**
   * The longest wait while no member takes traffic, if the deadline allows it; 0 refuses at once. Default 60 seconds,
   * the longest hint that `RetryPolicy` waits for. A request whose fallback takes traffic does not wait.
   */
  readonly maxWait?: Duration.DurationInput | undefined
}

// -----------------------------------------------------------------------------
// members
// -----------------------------------------------------------------------------

/**
 * A model as a member: its name, and the facts about it.
 *
 * @since 0.2.0
 * @category models
 */
export interface Named {
  /** The name in logs. */
  readonly name: string
  /** The facts about the model. */
  readonly about: About.About
}

/** The requests that a member serves. */
type Requests<Q> = Pick<Members.Members<Q>, "unable" | "isOnce">

/** Names a member in the same way in every process. */
const identity = ({ about, name }: Named): string => {
  const { key, model, provider } = about.targets[0]
  return [name, provider, model, key ?? ""].join(" ")
}

/** The members' own times, read once, because among thousands of models the chosen one is in no CPU cache. */
const timesOf = (members: ReadonlyArray<Named>, time: "readyAt" | "soonestAt"): ((index: number) => number) => {
  const all = members.map(({ about }) => about[time])
  return (index) => (all[index] as () => number)()
}

/**
 * The members of a balance. Throws a `RangeError` that names the option of `where`, the value found and those expected.
 *
 * @since 0.2.0
 * @category constructors
 */
export const balanced = <Q>(
  members: ReadonlyArray<Named & { readonly weight?: number | undefined; readonly cost?: number | undefined }>,
  options: Options<Q>,
  requests: Requests<Q>,
  where: string
): Members.Members<Q> => {
  const { maxWait, strategy } = Balancer.choosing.read(options, where)
  const readyAt = timesOf(members, "readyAt")
  const soonestAt = timesOf(members, "soonestAt")
  const none = members.length === 1 ? "the only model takes" : `none of the ${members.length} models takes`
  return {
    ...requests,
    members: members.map(({ about }) => about),
    balancer: Balancer.make(
      members.map(({ about, name, ...member }) => ({ ...member, name: identity({ about, name }) })),
      strategy
    ),
    maxWait,
    affinity: options.affinity,
    readyAt,
    outlook: (_, notBefore) => {
      const first = (time: (index: number) => number) =>
        Members.earliest(members, (index) => Math.max(time(index), notBefore(index)))
      return { readyAt: first(readyAt), worthAt: first(soonestAt), why: `${none} traffic` }
    },
    keys: undefined
  }
}

/**
 * The members of a pool, one for each of its keys.
 *
 * @since 0.2.0
 * @category constructors
 */
export const pooled = <Q>(
  pool: KeyPool.KeyPool,
  members: ReadonlyArray<Named>,
  { affinity }: Pick<Options<Q>, "affinity">,
  requests: Requests<Q>
): Members.Members<Q> => {
  const [first] = members as readonly [Named, ...ReadonlyArray<Named>]
  const { admit, end, outlook, readyAt } = pool.for(targetName(first.about.targets[0]))
  const ownReadyAt = timesOf(members, "readyAt")
  const ownSoonestAt = timesOf(members, "soonestAt")
  return {
    ...requests,
    members: members.map(({ about }) => about),
    balancer: pool.balancer,
    maxWait: pool.maxWait,
    affinity,
    readyAt: (index) => Math.max(readyAt(index), ownReadyAt(index)),
    outlook: (now, notBefore) => outlook(now, (index) => Math.max(ownSoonestAt(index), notBefore(index))),
    keys: {
      admit,
      end,
      spares: ({ again, request, within }, index, now) => {
        const due = pool.dueAt(index)
        if (due === undefined || due > now) return false
        if (requests.isOnce?.(request) === true || again) return true
        return now - due <= KeyHealth.patience && !KeyHealth.affords(within, now)
      },
      nameAt: (index) => (pool.keys[index] as KeyPool.Key).name
    }
  }
}
