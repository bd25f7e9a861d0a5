/**
 * Who of several is asked next, by their load, speed or cost. Pure.
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
 * A value that was measured at a time, in epoch milliseconds.
 *
 * @since 0.2.0
 * @category models
 */
export interface Measured {
  readonly value: number
  readonly at: number
}

/**
 * What is measured of a member: the time to the first content of its streams, and to its whole answers. The two are
 * kept apart, because a long answer is not a slow one.
 *
 * @since 0.2.0
 * @category models
 */
export type Measure = "firstToken" | "whole"

/**
 * Who can be asked, and what is known of it.
 *
 * - `name`: what sessions are ranked by; it has to be its own.
 * - `weight`: its share, above 0.
 * - `cost`: for `cheapest`, in any unit; a member without one comes last.
 * - `inFlight`: the requests that it has not ended yet.
 * - `turn`: where it stands in the round that members with equal load take: the lowest is next. Default 0.
 * - `strain`: how many failures it had of late.
 * - `firstToken`, `whole`: how long it took of late, in milliseconds; a member never measured has none.
 *
 * @since 0.2.0
 * @category models
 */
export interface Member {
  readonly name: string
  readonly weight: number
  readonly cost?: number | undefined
  readonly inFlight: number
  readonly turn?: number | undefined
  readonly strain?: Measured | undefined
  readonly firstToken?: Measured | undefined
  readonly whole?: Measured | undefined
}

/**
 * Members, with what need not be computed for each choice.
 *
 * @since 0.2.0
 * @category models
 */
export interface Roster {
  readonly members: ReadonlyArray<Member>
  readonly indices: ReadonlyArray<number>
  /** The sum of the weights up to and including each member; `undefined` where all weigh the same. */
  readonly cumulative: ReadonlyArray<number> | undefined
  readonly hashes: ReadonlyArray<number>
}

/**
 * What is asked.
 *
 * - `now`: in epoch milliseconds.
 * - `seed`: the chance in it, from 0 to below 1.
 * - `readyAt`: from when a member, given by its index, takes traffic, in epoch milliseconds; 0 for now. Who does not
 *   take any yet is not chosen.
 * - `measure`: what `fastest` goes by. Default `"whole"`.
 * - `affinity`: the key of a session that stays with its member.
 *
 * @since 0.2.0
 * @category models
 */
export interface Ask {
  readonly now: number
  readonly seed: number
  readonly readyAt: (index: number) => number
  readonly measure?: Measure | undefined
  readonly affinity?: string | undefined
}

// -----------------------------------------------------------------------------
// the pure part
// -----------------------------------------------------------------------------

/**
 * So many members are looked at one by one: a microsecond, and the choice is exact.
 *
 * @since 0.2.0
 * @category constants
 */
export const fewMembers = 32

/**
 * How many of more than {@link fewMembers} are looked at. Two make the difference (Mitzenmacher 2001: the longest queue
 * is log log n); the third makes up for one that takes no traffic.
 */
const samples = 3

/** So often so many are drawn before all are looked at, in case hardly any takes traffic. */
const maxRounds = 5

/**
 * A failure counts as half a request in flight after this time: long enough to tell, short enough to forget.
 *
 * @internal
 */
export const strainHalfLife = 10_000

/**
 * Without a new measurement the expected wait halves in this time, so that a member that was slow once is tried again,
 * the later the slower it was. As the half-life of the circuit breaker's failure ratio.
 */
const latencyHalfLife = 60_000

/** What a new measurement counts, at least: the mean is over the last five or so. */
const newest = 0.2

/**
 * What is left of a value after a time.
 *
 * @internal
 */
export const decayed = (measured: Measured | undefined, now: number, halfLife: number): number =>
  measured === undefined ? 0 : measured.value * 2 ** (-Math.max(0, now - measured.at) / halfLife)

/** Numbers from 0 to below 1, as many as are needed of one seed (mulberry32). */
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
 * Members to choose from.
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

/** A few at random of many. */
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

/** Who would be the least loaded with one request more. */
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
 * The least loaded. Requests are whole, so that with weights of 3 and 1 loads of 1 and 0 are as near to the shares as
 * can be: whoever has less, for its weight, than the best would have with one more, is as good, and they take turns.
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

/** How long a member is expected to take. One that was never measured goes first, but for one request at a time. */
const wait = (member: Member, other: Member, measure: Measure, now: number): number => {
  const own = member[measure]
  const load = loadOf(member, now)
  if (own === undefined && load < 1) return 0
  const known = own ?? other[measure]
  return (load + 1) * (known === undefined ? 1 : decayed(known, now, latencyHalfLife))
}

/** The power of two choices: two at random, so that not all rush to the one that was the fastest a moment ago. */
const fastest = (among: ReadonlyArray<number>, roster: Roster, ask: Ask, random: () => number): number => {
  const first = Math.floor(random() * among.length)
  const second = (first + 1 + Math.floor(random() * (among.length - 1))) % among.length
  const [one, other] = [among[first] as number, among[second] as number]
  const [member, rival] = [roster.members[one] as Member, roster.members[other] as Member]
  const measure = ask.measure ?? "whole"
  return wait(rival, member, measure, ask.now) < wait(member, rival, measure, ask.now) ? other : one
}

const cheap = (among: ReadonlyArray<number>, roster: Roster): ReadonlyArray<number> => {
  const costOf = (index: number) => roster.members[index]?.cost ?? Number.POSITIVE_INFINITY
  let lowest = Number.POSITIVE_INFINITY
  for (const index of among) lowest = Math.min(lowest, costOf(index))
  return among.filter((index) => costOf(index) === lowest)
}

/** Whoever ranks first for a session among those that take traffic. */
const preferred = (roster: Roster, ask: Ask, session: string): number | undefined => {
  const hashed = Rendezvous.hash(session)
  let best: number | undefined
  let highest = Number.NEGATIVE_INFINITY
  for (let index = 0; index < roster.members.length; index++) {
    if (ask.readyAt(index) > ask.now) continue
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
 * Who is asked: its index, or `undefined` where nobody takes traffic.
 *
 * @since 0.2.0
 * @category decisions
 */
export const choose = (strategy: Strategy, roster: Roster, ask: Ask): number | undefined => {
  if (ask.affinity !== undefined) return preferred(roster, ask, ask.affinity)
  const random = numbers(ask.seed)
  const found = atOnce(strategy, roster, ask, random)
  if (found !== undefined) return found
  const ready = roster.indices.filter((index) => ask.readyAt(index) <= ask.now)
  return ready.length < 2 ? ready[0] : bestOf(strategy, ready, roster, ask, random)
}

/** Who is asked, where not everybody's readiness has to be known for that: it is the dearest part. */
const atOnce = (strategy: Strategy, roster: Roster, ask: Ask, random: () => number): number | undefined => {
  if (strategy === "cheapest" || roster.members.length < 2) return undefined
  if (roster.members.length > fewMembers) return ofMany(strategy, roster, ask, random)
  return strategy === "fastest" ? undefined : ofReady(roster, ask, strategy === "weighted", random)
}

const bestOf = (
  strategy: Strategy,
  among: ReadonlyArray<number>,
  roster: Roster,
  ask: Ask,
  random: () => number
): number => {
  switch (strategy) {
    case "weighted":
      return lightest(among, roster, ask.now, true, random)
    case "least-busy":
      return lightest(among, roster, ask.now, false, random)
    case "fastest":
      return among.length < 2 ? (among[0] as number) : fastest(among, roster, ask, random)
    case "cheapest":
      return lightest(cheap(among, roster), roster, ask.now, true, random)
  }
}

/** The best of a few that takes traffic. */
const ofMany = (strategy: Strategy, roster: Roster, ask: Ask, random: () => number): number | undefined => {
  for (let round = 0; round < maxRounds; round++) {
    let among = drawn(strategy, roster, random)
    while (among.length > 0) {
      const index = bestOf(strategy, among, roster, ask, random)
      if (ask.readyAt(index) <= ask.now) return index
      among = among.filter((other) => other !== index)
    }
  }
  return undefined
}

/** The best of all, where it takes traffic, and so does whoever it is compared with: as if nobody else were there. */
const ofReady = (roster: Roster, ask: Ask, weighted: boolean, random: () => number): number | undefined => {
  const { now, readyAt } = ask
  const first = nearest(roster.indices, roster, now, weighted)
  if (readyAt(first) > now) return undefined
  const index = lightest(roster.indices, roster, now, weighted, random, first)
  return index === first || readyAt(index) <= now ? index : undefined
}

/**
 * A measurement more: a mean that moves by a fifth, and by more where the last one is old.
 *
 * @since 0.2.0
 * @category combinators
 */
export const measure = (before: Measured | undefined, value: number, now: number): Measured => {
  if (before === undefined) return { value, at: now }
  const share = Math.max(newest, 1 - 2 ** (-Math.max(0, now - before.at) / latencyHalfLife))
  return { value: before.value + (value - before.value) * share, at: Math.max(now, before.at) }
}
