/**
 * Chooses one of several members: keys of one provider, or interchangeable models.
 *
 * {@link choose} is the whole decision, a pure function over plain data. {@link make} keeps its data: each member's
 * requests in flight, recent speed and recent failures.
 *
 * | strategy | chosen |
 * |---|---|
 * | `weighted` | the least loaded for its weight; equals, to within one request, take turns by weight |
 * | `least-busy` | the one with the fewest requests in flight; equals take turns |
 * | `fastest` | of two random members, the one expected to answer sooner |
 * | `cheapest` | the one with the lowest cost; equals as under `weighted` |
 *
 * A session's key (`affinity`) overrides the strategy: the session goes to its first-ranked member (rendezvous hashing,
 * by weight). If a member leaves, only its own sessions move, each to its second choice, and they return with it.
 *
 * Gotchas: above {@link fewMembers} members, `weighted`, `least-busy` and `fastest` examine a few random members
 * instead of all. This costs the same for ten thousand, and balances almost as evenly (the power of two choices).
 * `cheapest` and `affinity` examine all.
 *
 * @example
 * import * as Balancer from "./Balancer.js"
 *
 * const members = [
 *   { name: "a", weight: 2, inFlight: 3 },
 *   { name: "b", weight: 1, inFlight: 1 }
 * ]
 * const chosen = Balancer.choose("weighted", Balancer.roster(members), { now: 0, seed: 0.5, readyAt: () => 0 }) // 1
 *
 * @since 0.2.0
 */

import type * as Types from "effect/Types"
import * as PolicyOptions from "../Options.js"
import * as Choice from "./Choice.js"
import type * as MemberQueue from "./MemberQueue.js"

export type { Circumstances, Measure, Measured, Member, Roster, Strategy } from "./Choice.js"
export { choose, fewMembers, measure, roster } from "./Choice.js"

/**
 * A balancer over members. The functions are synchronous; `index` is a member's place, `now` is in epoch milliseconds.
 *
 * @since 0.2.0
 * @category models
 */
export interface Balancer {
  /** The members with their current facts. */
  readonly members: ReadonlyArray<Choice.Member>
  /** {@link choose} with this balancer's strategy. */
  readonly choose: (circumstances: Choice.Circumstances) => number | undefined
  /** Starts a request of a member. */
  readonly begin: (index: number) => void
  /** Ends a request, after any outcome. */
  readonly end: (index: number) => void
  /**
   * Spares a member for some seconds after a failure. Otherwise a member that fails at once would have the fewest
   * requests in flight and attract all others.
   */
  readonly failed: (index: number, now: number) => void
  /**
   * The queues of attempts that wait for a member, of all models over them.
   *
   * @internal
   */
  readonly waiting: MemberQueue.Waiting
  /** Adds a measured time, in milliseconds. */
  readonly measured: (index: number, measure: Choice.Measure, millis: number, now: number) => void
}

/**
 * @internal
 */
export const weight = PolicyOptions.optional(
  PolicyOptions.number({ above: 0, max: 1_000_000 }),
  "The share of the requests, in proportion to the other weights",
  1
)

const strategyRule = PolicyOptions.oneOf("weighted", "least-busy", "fastest", "cheapest")

/**
 * The options of a choice among keys or models.
 *
 * @internal
 */
export const choosing = PolicyOptions.struct({
  strategy: PolicyOptions.optional(strategyRule, "The choice among the members that take traffic", "weighted"),
  maxWait: PolicyOptions.optional(
    PolicyOptions.duration(),
    "The longest wait while no member takes traffic, if the deadline allows it",
    "60 seconds"
  )
})

const member = PolicyOptions.struct({
  name: PolicyOptions.required(PolicyOptions.text, "Sessions are ranked by it, so keep it over restarts"),
  weight,
  cost: PolicyOptions.optional(
    PolicyOptions.number(),
    "The price, in a unit that all members share; by default unknown, so that cheapest chooses the member last"
  )
})

const memberList = PolicyOptions.list(member)

/**
 * A member in JSON or YAML.
 *
 * @since 0.2.0
 * @category options
 */
export const MemberOptions = member.schema

/**
 * A member of {@link make}.
 *
 * @since 0.2.0
 * @category options
 */
export interface MemberOptions {
  /** Sessions are ranked by it, so keep it over restarts. The second of equal names becomes `name#2`. */
  readonly name: string
  /** The share of the requests, in proportion to the other weights: above 0, at most 1,000,000. Default 1. */
  readonly weight?: number | undefined
  /**
   * The price, 0 or more, in a unit that all members share. By default unknown, so that `cheapest` chooses the member
   * last.
   */
  readonly cost?: number | undefined
}

/**
 * Makes names distinct: the second of equal names becomes `name#2`, and so on.
 *
 * @internal
 */
export const distinct = (names: ReadonlyArray<string>): ReadonlyArray<string> => {
  const seen = new Map<string, number>()
  return names.map((name) => {
    const count = (seen.get(name) ?? 0) + 1
    seen.set(name, count)
    return count === 1 ? name : `${name}#${count}`
  })
}

/**
 * A new balancer, over idle members.
 *
 * Throws a `RangeError` that names the option, the value found and the value expected.
 *
 * @since 0.2.0
 * @category constructors
 */
export const make = (options: ReadonlyArray<MemberOptions>, strategy: Choice.Strategy = "weighted"): Balancer => {
  strategyRule.read(strategy, "Balancer: strategy")
  const given = memberList.read(options, "Balancer: members")
  const names = distinct(given.map(({ name }) => name))
  const members = given.map(
    ({ cost, weight }, index): Types.Mutable<Choice.Member> => ({
      name: names[index] as string,
      weight,
      cost,
      inFlight: 0,
      turn: 0,
      // Present from the start: objects of one shape are faster.
      strain: undefined,
      firstToken: undefined,
      whole: undefined
    })
  )
  const roster = Choice.roster(members)
  // Members change in place: copying one costs 0.8 µs, three times for each request (Node 20).
  const memberAt = (index: number) => members[index] as Types.Mutable<Choice.Member>
  /** The current turn. A returning member does not catch up on missed turns (start-time fair queueing). */
  let round = 0
  return {
    members,
    waiting: new Set(),
    choose: (circumstances) => Choice.choose(strategy, roster, circumstances),
    begin: (index) => {
      const member = memberAt(index)
      member.inFlight += 1
      round = Math.max(round, member.turn ?? 0)
      member.turn = round + (strategy === "least-busy" ? 1 : 1 / member.weight)
    },
    end: (index) => {
      memberAt(index).inFlight -= 1
    },
    failed: (index, now) => {
      const member = memberAt(index)
      member.strain = { value: Choice.decayed(member.strain, now, Choice.strainHalfLife) + 1, at: now }
    },
    measured: (index, measure, millis, now) => {
      const member = memberAt(index)
      member[measure] = Choice.measure(member[measure], millis, now)
    }
  }
}
