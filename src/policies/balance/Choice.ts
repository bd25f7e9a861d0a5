/**
 * The choice of a member by load, speed or cost. Pure.
 *
 * @since 0.2.0
 */

import * as Rendezvous from "./Rendezvous.js"

// -----------------------------------------------------------------------------
// models
// -----------------------------------------------------------------------------

/**
 * @since 0.2.0
 * @category models
 */
export type Strategy = "weighted" | "least-busy" | "fastest" | "cheapest"

/**
 * A measured value.
 *
 * @since 0.2.0
 * @category models
 */
export interface Measured {
  /** The value. */
  readonly value: number
  /** The time of the measurement, in epoch milliseconds. */
  readonly at: number
}

/**
 * The measured times: to the first sign of a streamed answer, and to a whole answer. They are kept apart, because a
 * long answer is not a slow one.
 *
 * @since 0.2.0
 * @category models
 */
export type Measure = "firstToken" | "whole"

/**
 * A member, and the facts that a choice depends on.
 *
 * @since 0.2.0
 * @category models
 */
export interface Member {
  /** Sessions are ranked by it. Distinct. */
  readonly name: string
  /** The share of the requests, above 0. */
  readonly weight: number
  /** The price for `cheapest`, in any unit. A member without one comes last. */
  readonly cost?: number | undefined
  /** The requests that have not ended. */
  readonly inFlight: number
  /** The place in the rotation of members with equal load: the lowest is next. Default 0. */
  readonly turn?: number | undefined
  /** The recent failures. */
  readonly strain?: Measured | undefined
  /** The recent time to the first sign of a streamed answer, in milliseconds. */
  readonly firstToken?: Measured | undefined
  /** The recent time to a whole answer, in milliseconds. */
  readonly whole?: Measured | undefined
}

/**
 * Members, with values computed once for all choices.
 *
 * @since 0.2.0
 * @category models
 */
export interface Roster {
  /** The members. */
  readonly members: ReadonlyArray<Member>
  /** The index of each member. */
  readonly indices: ReadonlyArray<number>
  /** The sum of the weights up to each member, included; `undefined` if all weights are equal. */
  readonly cumulative: ReadonlyArray<number> | undefined
  /** The hash of each name. */
  readonly hashes: ReadonlyArray<number>
}

/**
 * The circumstances of one choice.
 *
 * @since 0.2.0
 * @category models
 */
export interface Circumstances {
  /** Epoch milliseconds. */
  readonly now: number
  /** The randomness of the choice, from 0 to below 1. */
  readonly seed: number
  /** The time from which a member takes traffic, by index, in epoch milliseconds. A later member is not chosen. */
  readonly readyAt: (index: number) => number
  /** The measure for `fastest`. Default `"whole"`. */
  readonly measure?: Measure | undefined
  /** The key of a session that stays with its member. Default: none. */
  readonly affinity?: string | undefined
}

// -----------------------------------------------------------------------------
// the pure part
// -----------------------------------------------------------------------------

/**
 * Up to this number, every member is examined: the choice is exact and takes microseconds.
 *
 * @since 0.2.0
 * @category constants
 */
export const fewMembers = 32

/**
 * The members examined above {@link fewMembers}. Two make the difference (Mitzenmacher 2001: the longest queue is log
 * log n); the third makes up for a member without traffic.
 */
const samples = 3

/** After this many draws every member is examined, in case hardly any takes traffic. */
const maxRounds = 5

/**
 * The half-life of a failure, which counts as one request in flight, in milliseconds: long enough to matter, short
 * enough to forget.
 *
 * @internal
 */
export const strainHalfLife = 10_000

/**
 * Without a new measurement the expected time halves in this time, in milliseconds. A member that was slow once is
 * therefore tried again, later if it was slower. The same as the half-life of the circuit breaker's failure ratio.
 */
const latencyHalfLife = 60_000

/** The least weight of a new measurement: the mean covers about the last five. */
const newest = 0.2

/**
 * A value after exponential decay.
 *
 * @internal
 */
export const decayed = (measured: Measured | undefined, now: number, halfLife: number): number =>
  measured === undefined ? 0 : measured.value * 2 ** (-Math.max(0, now - measured.at) / halfLife)

/** Random numbers from 0 to below 1 from one seed (mulberry32). */
const numbers = (seed: number): (() => number) => {
  let state = (seed * 0x1_0000_0000) | 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 0x1_0000_0000
  }
}

/**
 * Prepares members for {@link choose}.
 *
 * @since 0.2.0
 * @category constructors
 */
export const roster = (members: ReadonlyArray<Member>): Roster => {
  let sum = 0
  const cumulative = members.map((member) => {
    sum += member.weight
    return sum
  })
  return {
    members,
    indices: members.map((_, index) => index),
    cumulative: members.some(({ weight }) => weight !== members[0]?.weight) ? cumulative : undefined,
    hashes: members.map((member) => Rendezvous.hash(member.name))
  }
}

/** The member at which the sum of the weights passes `point`. */
const at = (cumulative: ReadonlyArray<number>, point: number): number => {
  let low = 0
  let high = cumulative.length - 1
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((cumulative[middle] as number) > point) high = middle
    else low = middle + 1
  }
  return low
}

/** A few random members; under `weighted` in proportion to their weights. */
const drawn = (strategy: Strategy, { cumulative, members }: Roster, random: () => number): Array<number> => {
  const found: Array<number> = []
  for (let draws = 0; draws < samples; draws++) {
    const index =
      strategy === "weighted" && cumulative !== undefined
        ? at(cumulative, random() * (cumulative[cumulative.length - 1] as number))
        : Math.floor(random() * members.length)
    if (!found.includes(index)) found.push(index)
  }
  return found
}

const loadOf = (member: Member, now: number): number => member.inFlight + decayed(member.strain, now, strainHalfLife)

/** The member with the least load after one more request. */
const nearest = (among: ReadonlyArray<number>, roster: Roster, now: number, weighted: boolean): number => {
  let best = among[0] as number
  let level = Number.POSITIVE_INFINITY
  for (const index of among) {
    const next = levelOf(roster.members[index] as Member, 1, now, weighted)
    if (next >= level) continue
    best = index
    level = next
  }
  return best
}

const levelOf = (member: Member, more: number, now: number, weighted: boolean): number =>
  (loadOf(member, now) + more) / (weighted ? member.weight : 1)

/**
 * The least loaded member. Requests are whole, so loads of 1 and 0 match weights of 3 and 1 as well as possible. A
 * member therefore counts as equal if its load, for its weight, is below the load that the best would have with one
 * more request. Equal members take turns.
 */
const lightest = (
  among: ReadonlyArray<number>,
  roster: Roster,
  now: number,
  weighted: boolean,
  random: () => number,
  first = nearest(among, roster, now, weighted)
): number => {
  const level = levelOf(roster.members[first] as Member, 1, now, weighted)
  let best = first
  let lowest = Number.POSITIVE_INFINITY
  let ties = 0
  for (const index of among) {
    const member = roster.members[index] as Member
    const { turn = 0 } = member
    if (turn > lowest || levelOf(member, 0, now, weighted) >= level) continue
    ties = turn < lowest ? 1 : ties + 1
    lowest = turn
    if (ties === 1 || random() * ties < 1) best = index
  }
  return best
}

/** The expected time to an answer. An unmeasured member goes first, for one request at a time. */
const wait = (member: Member, other: Member, measure: Measure, now: number): number => {
  const own = member[measure]
  const load = loadOf(member, now)
  if (own === undefined && load < 1) return 0
  const known = own ?? other[measure]
  return (load + 1) * (known === undefined ? 1 : decayed(known, now, latencyHalfLife))
}

/** The power of two choices: the faster of two random members, so that not all requests rush to the fastest one. */
const fastest = (
  among: ReadonlyArray<number>,
  roster: Roster,
  circumstances: Circumstances,
  random: () => number
): number => {
  const first = Math.floor(random() * among.length)
  const second = (first + 1 + Math.floor(random() * (among.length - 1))) % among.length
  const [one, other] = [among[first] as number, among[second] as number]
  const [member, rival] = [roster.members[one] as Member, roster.members[other] as Member]
  const measure = circumstances.measure ?? "whole"
  return wait(rival, member, measure, circumstances.now) < wait(member, rival, measure, circumstances.now) ? other : one
}

const cheap = (among: ReadonlyArray<number>, roster: Roster): ReadonlyArray<number> => {
  const costOf = (index: number) => roster.members[index]?.cost ?? Number.POSITIVE_INFINITY
  let lowest = Number.POSITIVE_INFINITY
  for (const index of among) lowest = Math.min(lowest, costOf(index))
  return among.filter((index) => costOf(index) === lowest)
}

/** The member that ranks first for a session, among those that take traffic. */
const preferred = (roster: Roster, circumstances: Circumstances, session: string): number | undefined => {
  const hashed = Rendezvous.hash(session)
  let best: number | undefined
  let highest = Number.NEGATIVE_INFINITY
  for (let index = 0; index < roster.members.length; index++) {
    if (circumstances.readyAt(index) > circumstances.now) continue
    const { weight } = roster.members[index] as Member
    const score = Rendezvous.score(hashed, roster.hashes[index] as number, weight)
    if (score > highest) {
      best = index
      highest = score
    }
  }
  return best
}

/**
 * Chooses a member: its index, or `undefined` if none takes traffic.
 *
 * @since 0.2.0
 * @category decisions
 */
export const choose = (strategy: Strategy, roster: Roster, circumstances: Circumstances): number | undefined => {
  if (circumstances.affinity !== undefined) return preferred(roster, circumstances, circumstances.affinity)
  const random = numbers(circumstances.seed)
  const found = atOnce(strategy, roster, circumstances, random)
  if (found !== undefined) return found
  const ready = roster.indices.filter((index) => circumstances.readyAt(index) <= circumstances.now)
  return ready.length < 2 ? ready[0] : bestOf(strategy, ready, roster, circumstances, random)
}

/** The choice, if it can be made without asking every member whether it takes traffic, which is the dearest part. */
const atOnce = (
  strategy: Strategy,
  roster: Roster,
  circumstances: Circumstances,
  random: () => number
): number | undefined => {
  if (strategy === "cheapest" || roster.members.length < 2) return undefined
  if (roster.members.length > fewMembers) return ofMany(strategy, roster, circumstances, random)
  return strategy === "fastest" ? undefined : ofReady(roster, circumstances, strategy === "weighted", random)
}

const bestOf = (
  strategy: Strategy,
  among: ReadonlyArray<number>,
  roster: Roster,
  circumstances: Circumstances,
  random: () => number
): number => {
  switch (strategy) {
    case "weighted":
      return lightest(among, roster, circumstances.now, true, random)
    case "least-busy":
      return lightest(among, roster, circumstances.now, false, random)
    case "fastest":
      return among.length < 2 ? (among[0] as number) : fastest(among, roster, circumstances, random)
    case "cheapest":
      return lightest(cheap(among, roster), roster, circumstances.now, true, random)
  }
}

/** The best of a few members that takes traffic. */
const ofMany = (
  strategy: Strategy,
  roster: Roster,
  circumstances: Circumstances,
  random: () => number
): number | undefined => {
  for (let round = 0; round < maxRounds; round++) {
    let among = drawn(strategy, roster, random)
    while (among.length > 0) {
      const index = bestOf(strategy, among, roster, circumstances, random)
      if (circumstances.readyAt(index) <= circumstances.now) return index
      among = among.filter((other) => other !== index)
    }
  }
  return undefined
}

/** The best of all members, if both it and the member that it is compared with take traffic. */
const ofReady = (
  roster: Roster,
  circumstances: Circumstances,
  weighted: boolean,
  random: () => number
): number | undefined => {
  const { now, readyAt } = circumstances
  const first = nearest(roster.indices, roster, now, weighted)
  if (readyAt(first) > now) return undefined
  const index = lightest(roster.indices, roster, now, weighted, random, first)
  return index === first || readyAt(index) <= now ? index : undefined
}

/**
 * Adds a measurement: a mean that moves by a fifth, and by more if the previous one is old.
 *
 * @since 0.2.0
 * @category combinators
 */
export const measure = (before: Measured | undefined, value: number, now: number): Measured => {
  if (before === undefined) return { value, at: now }
  const share = Math.max(newest, 1 - 2 ** (-Math.max(0, now - before.at) / latencyHalfLife))
  return { value: before.value + (value - before.value) * share, at: Math.max(now, before.at) }
}
