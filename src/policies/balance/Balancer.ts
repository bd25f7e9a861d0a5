/**
 * Which of several members is asked next: keys of one provider, or models that can stand in for each other.
 *
 * {@link choose} is the whole decision, a pure function over plain data. Around it, {@link make} keeps what it decides
 * by: how many requests a member has in flight, how fast it was, how it failed of late.
 *
 * | strategy | who is asked |
 * |---|---|
 * | `weighted` | the least loaded for its weight; among equals, to within one request, each in turn by its weight |
 * | `least-busy` | the one with the fewest requests in flight, then each in turn |
 * | `fastest` | of two at random the one that is expected to answer sooner |
 * | `cheapest` | the one that costs least, and among equals as `weighted` |
 *
 * With a session's key (`affinity`) the strategy has no say: the session goes to the member that ranks first for it
 * (rendezvous hashing, by weight). When a member leaves, only its own sessions move, each to its second choice, and
 * they come back with it.
 *
 * Gotchas: above {@link fewMembers} members `weighted`, `least-busy` and `fastest` look at a few at random instead of
 * at all, which costs the same for ten thousand and loads them almost as evenly (the power of two choices). `cheapest`
 * and `affinity` look at all.
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

export type { Ask, Measure, Measured, Member, Roster, Strategy } from "./Choice.js"
export { choose, fewMembers, measure, roster } from "./Choice.js"

/**
 * What is kept of members while they are asked. All functions are synchronous; `now` is in epoch milliseconds.
 *
 * - `choose` is {@link choose} with the strategy of this one.
 * - `begin` and `end` stand around each request, whatever its end.
 * - `failed` spares a member for some seconds: otherwise one that fails at once would have the fewest requests in
 *   flight, and get all the others.
 * - `measured` takes how long an answer took, in milliseconds.
 *
 * @since 0.2.0
 * @category models
 */
export interface Balancer {
  readonly members: ReadonlyArray<Choice.Member>
  readonly choose: (ask: Choice.Ask) => number | undefined
  readonly begin: (index: number) => void
  readonly end: (index: number) => void
  readonly failed: (index: number, now: number) => void
  readonly measured: (index: number, measure: Choice.Measure, millis: number, now: number) => void
}

/**
 * @internal
 */
export const weight = PolicyOptions.optional(
  PolicyOptions.number({ above: 0, max: 1_000_000 }),
  "The share of the requests, in proportion to the weights of the others",
  1
)

/**
 * @internal
 */
export const strategyRule = PolicyOptions.oneOf("weighted", "least-busy", "fastest", "cheapest")

/**
 * The options by which a key or a model is chosen.
 *
 * @internal
 */
export const choosing = PolicyOptions.struct({
  strategy: PolicyOptions.optional(strategyRule, "Which of the members that take traffic is asked", "weighted"),
  maxWait: PolicyOptions.optional(
    PolicyOptions.duration(),
    "How long a call waits if no member takes traffic and its deadline allows the wait",
    "60 seconds"
  )
})

const member = PolicyOptions.struct({
  name: PolicyOptions.required(PolicyOptions.text, "What sessions are ranked by, so it should outlive a restart"),
  weight,
  cost: PolicyOptions.optional(
    PolicyOptions.number(),
    "The price, in any unit that all members share; by default not known, and cheapest asks the member last"
  )
})

const memberList = PolicyOptions.list(member)

/**
 * A member as it stands in JSON or YAML.
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
  /** What sessions are ranked by, so it should outlive a restart. Of equal names the second is called `name#2`. */
  readonly name: string
  /** The share of the requests, in proportion to the weights of the others: above 0, at most 1,000,000. Default 1. */
  readonly weight?: number | undefined
  /**
   * The price, 0 or more, in any unit that all members share. By default not known, and `cheapest` asks the member
   * last.
   */
  readonly cost?: number | undefined
}

/** Written in place, as the lanes of a pacer are: see `PacerState.Kept`. */
interface Kept extends Types.Mutable<Choice.Member> {
  turn: number
  firstToken: Types.Mutable<Choice.Measured> | undefined
  whole: Types.Mutable<Choice.Measured> | undefined
}

/**
 * Of equal names the second is called `name#2`, and so on.
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
 * A balancer over members none of which was asked yet.
 *
 * Throws a `RangeError` that names the option, what was found and what was expected.
 *
 * @since 0.2.0
 * @category constructors
 */
export const make = (options: ReadonlyArray<MemberOptions>, strategy: Choice.Strategy = "weighted"): Balancer => {
  strategyRule.read(strategy, "Balancer: strategy")
  const members = memberList.read(options, "Balancer: members")
  const names = distinct(members.map(({ name }) => name))
  const kept = members.map(
    ({ cost, weight }, index): Kept => ({
      // What is not known yet has its place, so that all are of one shape for the engine.
      inFlight: 0,
      turn: 0,
      strain: undefined,
      weight,
      cost,
      firstToken: undefined,
      whole: undefined,
      name: names[index] as string
    })
  )
  const all = Choice.roster(kept)
  /** Where the round is: whoever was away does not catch up on the turns that it missed (start-time fair queueing). */
  let round = 0
  return {
    members: kept,
    choose: (ask) => Choice.choose(strategy, all, ask),
    begin: (index) => {
      const member = kept[index] as Kept
      member.inFlight += 1
      round = Math.max(round, member.turn)
      member.turn = round + (strategy === "least-busy" ? 1 : 1 / member.weight)
    },
    end: (index) => {
      const member = kept[index] as Kept
      member.inFlight -= 1
    },
    failed: (index, now) => {
      const member = kept[index] as Kept
      member.strain = { value: Choice.decayed(member.strain, now, Choice.strainHalfLife) + 1, at: now }
    },
    measured: (index, what, millis, now) => {
      const member = kept[index] as Kept
      const before = member[what]
      const next = Choice.measure(before, millis, now)
      if (before === undefined) member[what] = { value: next.value, at: next.at }
      else {
        before.value = next.value
        before.at = next.at
      }
    }
  }
}
