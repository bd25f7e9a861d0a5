/**
 * Hedging: when a call without a first token should ask a second target too.
 *
 * The policy learns the first target's time to first token, and hedges calls that are slower than its `quantile` (by
 * default the p95). Whatever adds to the answer is a token, delivered or not. {@link Hedge} keeps the data of one pair
 * of targets; `Hedging` races their streams.
 *
 * A hedge needs four things:
 *
 * - **Data**: the quantile is unknown until 1 / (1 − quantile) first tokens arrived: 20 for the p95.
 * - **Gain**: it must be expected to shorten the whole wait by a third, by the mean of slower calls' remaining time and
 *   the median of the second target. If times hardly differ, or the second target is slow too, there is no hedge.
 * - **Allowance**: each call earns `ratio` of a hedge. None is there at the start, so hedges never exceed `ratio` of
 *   the calls. At most 5 are saved, so any stretch of calls has at most 5 hedges above `ratio`.
 * - **Success**: a hedge counts as lost until it wins. A loss lowers the ratio by a fifth, down to a tenth of `ratio`;
 *   a win doubles it. If one hedge in four wins, the ratio holds.
 *
 * Times are kept in a histogram of 161 buckets, each 9 % wider than the one before. Its weights halve every 100 calls.
 * So memory is bounded, an update has a constant cost, and a quantile is at most 9 % too long, never too short.
 *
 * An interrupted call gives a lower bound of its time, which counts too: the call is spread over the longer times in
 * their observed proportions (the redistribution to the right of the Kaplan–Meier estimate). Otherwise every call
 * beaten by a hedge would vanish, the slow tail would seem to shrink, and the delay would drop to nothing.
 *
 * Gotcha: a target that is always slow is no case for hedging. Its p95 soon becomes slow too, and hedging ends. Use
 * timeouts, a breaker and a fallback there.
 *
 * @example
 * import { Hedge } from "effect-steadfast"
 *
 * const hedge = Hedge.make({ ratio: 0.02 })
 * const delay = hedge.begin() // undefined: nothing is known yet
 *
 * @since 0.2.0
 */

import * as PolicyOptions from "./Options.js"

const options = PolicyOptions.struct({
  quantile: PolicyOptions.optional(
    PolicyOptions.number({ min: 0.5, max: 0.99 }),
    "The quantile of the time to first token after which a call is hedged",
    0.95
  ),
  ratio: PolicyOptions.optional(PolicyOptions.number({ above: 0, max: 0.2 }), "Hedges for each call", 0.05)
})

/**
 * The options of {@link make} in JSON or YAML.
 *
 * @since 0.2.0
 * @category options
 */
export const Options = options.schema

/**
 * The options of {@link make}.
 *
 * @since 0.2.0
 * @category options
 */
export interface Options {
  /** The quantile of the time to first token after which a call is hedged: 0.5 to 0.99. Default 0.95. */
  readonly quantile?: number | undefined
  /** Hedges for each call: above 0, at most 0.2. Default 0.05, the share of calls slower than the p95. */
  readonly ratio?: number | undefined
}

/**
 * The target of the call, or the target of the hedge.
 *
 * @since 0.2.0
 * @category models
 */
export type Side = "first" | "second"

/**
 * The current data of a pair.
 *
 * @since 0.2.0
 * @category models
 */
export interface Snapshot {
  /** The time before a hedge, in milliseconds; `undefined` with too little data. */
  readonly delayMillis: number | undefined
  /** The median time to first token of both targets, in milliseconds; `undefined` without data. */
  readonly medianMillis: Readonly<Record<Side, number | undefined>>
  /** The current ratio of hedges to calls. */
  readonly ratio: number
  /** The hedges that may be sent now. */
  readonly available: number
}

/**
 * The hedging of one pair of targets. The functions are synchronous.
 *
 * @since 0.2.0
 * @category models
 */
export interface Hedge {
  /** Starts a call. Returns the time before its hedge, in milliseconds, or `undefined` for no hedge. */
  readonly begin: () => number | undefined
  /** Whether a call that has waited that long may send a hedge. Asks `agreed` last. */
  readonly launch: (agreed: () => boolean) => boolean
  /** Records a first token, `millis` after the request. The second target wins with it. */
  readonly answered: (side: Side, millis: number) => void
  /** Records `millis` without a first token, for a request that failed or was interrupted. */
  readonly silent: (side: Side, millis: number) => void
  readonly snapshot: () => Snapshot
}

interface Settings {
  readonly quantile: number
  readonly ratio: number
  /** The first tokens needed: with fewer, the quantile lies beyond the longest of them. */
  readonly minimum: number
}

/** The weights as of call number `at`. */
interface Histogram {
  readonly weights: ReadonlyArray<number>
  readonly total: number
  readonly at: number
}

interface State {
  readonly calls: number
  /** The number of first tokens of the first target. */
  readonly seen: number
  readonly available: number
  readonly ratio: number
  readonly times: Readonly<Record<Side, Histogram>>
}

// -----------------------------------------------------------------------------
// the pure part: times
// -----------------------------------------------------------------------------

/** Eight buckets for each doubling: the next edge is at most 9.1 % away, well below the noise of a p95 of 290 calls. */
const perDoubling = 8

/** From 1 ms to 2^20 ms, 17 minutes, longer than any first token takes. */
const buckets = 20 * perDoubling + 1

/**
 * The calls after which a time counts half. In effect some 290 calls are remembered: the rank of the p95 is known to
 * 1.3 % of calls, and a sudden slowdown of all calls is the new p95 after eight.
 */
const halfLife = 100

const keep = 2 ** (-1 / halfLife)

const empty: Histogram = { weights: new Array<number>(buckets).fill(0), total: 0, at: 0 }

const bucketOf = (millis: number): number =>
  Math.max(0, Math.min(buckets - 1, Math.ceil(Math.log2(millis) * perDoubling)))

/** The longest time of a bucket, in milliseconds. */
const edge = (bucket: number): number => 2 ** (bucket / perDoubling)

/** A typical time of each bucket, in milliseconds. Precomputed: a power costs more than the rest of a call's update. */
const typical = Array.from({ length: buckets }, (_, i) => 2 ** ((i - 0.5) / perDoubling))

const totalAt = (self: Histogram, calls: number): number => self.total * keep ** (calls - self.at)

/** Adds one observation, spread over the buckets by `share`. */
const add = (self: Histogram, calls: number, from: number, share: (bucket: number) => number): Histogram => {
  const factor = keep ** (calls - self.at)
  const weights = new Array<number>(buckets)
  for (let i = 0; i < buckets; i++) {
    const weight = (self.weights[i] ?? 0) * factor
    weights[i] = i < from ? weight : weight + share(i)
  }
  return { weights, total: self.total * factor + 1, at: calls }
}

const seenIn = (self: Histogram, calls: number, millis: number): Histogram => {
  const bucket = bucketOf(millis)
  return add(self, calls, bucket, (i) => (i === bucket ? 1 : 0))
}

/** The share of the whole weight that is too little for a conclusion: the rest of one time after some 1000 calls. */
const negligible = 1e-5

const massAbove = (self: Histogram, bucket: number): number => {
  let mass = 0
  for (let i = bucket + 1; i < buckets; i++) mass += self.weights[i] ?? 0
  return mass > negligible * self.total ? mass : 0
}

/**
 * Adds an observation longer than `millis`, spread like the longer times in the first histogram of `like` that has any.
 * Without any, `millis` itself counts: it is the longest known time.
 */
const longerThan = (self: Histogram, calls: number, millis: number, like: ReadonlyArray<Histogram>): Histogram => {
  const bucket = bucketOf(millis)
  const known = like.find((one) => massAbove(one, bucket) > 0)
  if (known !== undefined) {
    const mass = massAbove(known, bucket)
    return add(self, calls, bucket + 1, (i) => (known.weights[i] ?? 0) / mass)
  }
  // A quick failure before any other observation says nothing.
  return like.every((one) => one.total === 0) ? self : seenIn(self, calls, millis)
}

/** The bucket of a quantile. */
const quantileOf = (self: Histogram, quantile: number): number => {
  const above = self.total * (1 - quantile)
  let mass = 0
  for (let i = buckets - 1; i > 0; i--) {
    mass += self.weights[i] ?? 0
    if (mass > above) return i
  }
  return 0
}

/** The mean excess of the times above a bucket's edge, in milliseconds; `undefined` if there are none. */
const excess = (self: Histogram, bucket: number): number | undefined => {
  const mass = massAbove(self, bucket)
  if (mass === 0) return undefined
  let sum = 0
  for (let i = bucket + 1; i < buckets; i++) sum += (self.weights[i] ?? 0) * (typical[i] ?? 0)
  return sum / mass - edge(bucket)
}

// -----------------------------------------------------------------------------
// the pure part: hedges
// -----------------------------------------------------------------------------

/**
 * The most hedges saved, for slow calls that follow each other by chance. Measured over 30 runs of the scenario in the
 * tests, worst run each: a tail of 3 % (p99 with hedging, relative to the p99 without), and one stall of all targets
 * for ten minutes at one call a second (extra requests). 3: 40 %, 0.5 %; 5: 22 %, 0.8 %; 8: 20 %, 1.3 %.
 */
const maxAvailable = 5

/** Three losses undo one win: with one win in four, the ratio holds. */
const afterLaunch = 0.8
const afterWin = 2 / afterLaunch

/** The lowest part of `ratio`. Without hedges nobody would notice that they win again. */
const floor = 0.1

/** The largest expected part of the whole wait that a hedge may leave. With less gain it is not worth its cost. */
const worthwhile = 2 / 3

/** The observations of the second target needed: one or two slow hedges are no evidence. */
const enough = 3

/** The times of the second target. With too few, it counts as fast as the first. */
const secondOf = ({ calls, times }: State): Histogram =>
  totalAt(times.second, calls) >= enough ? times.second : times.first

/** The time before a call's hedge, in milliseconds, or `undefined` for no hedge. */
const decide = (settings: Settings, state: State): number | undefined => {
  if (state.available < 1 || state.seen < settings.minimum) return undefined
  const { first } = state.times
  const bucket = quantileOf(first, settings.quantile)
  const more = excess(first, bucket)
  if (more === undefined) return undefined
  const delay = edge(bucket)
  const hedged = delay + edge(quantileOf(secondOf(state), 0.5))
  return hedged <= worthwhile * (delay + more) ? delay : undefined
}

const begun = (state: State): State => ({
  ...state,
  calls: state.calls + 1,
  available: Math.min(maxAvailable, state.available + state.ratio)
})

const launched = (settings: Settings, state: State): State => ({
  ...state,
  available: state.available - 1,
  ratio: Math.max(settings.ratio * floor, state.ratio * afterLaunch)
})

const answered = (settings: Settings, state: State, side: Side, millis: number): State => {
  const times = { ...state.times, [side]: seenIn(state.times[side], state.calls, millis) }
  return side === "first"
    ? { ...state, seen: state.seen + 1, times }
    : { ...state, ratio: Math.min(settings.ratio, state.ratio * afterWin), times }
}

const silent = (state: State, side: Side, millis: number): State => {
  const { first, second } = state.times
  // Without longer times of its own, the second target counts as like the first.
  const known = longerThan(state.times[side], state.calls, millis, side === "first" ? [first] : [second, first])
  return { ...state, times: { ...state.times, [side]: known } }
}

// -----------------------------------------------------------------------------
// constructors
// -----------------------------------------------------------------------------

/**
 * Hedging without data yet. Throws a `RangeError` that names the option, the value found and the value expected.
 *
 * @since 0.2.0
 * @category constructors
 */
export const make = (input: Options = {}): Hedge => {
  const { quantile, ratio } = options.read(input, "Hedge")
  const settings: Settings = { quantile, ratio, minimum: Math.round(1 / (1 - quantile)) }
  let state: State = { calls: 0, seen: 0, available: 0, ratio, times: { first: empty, second: empty } }
  const medianOf = (self: Histogram): number | undefined => (self.total === 0 ? undefined : edge(quantileOf(self, 0.5)))
  return {
    begin: () => {
      state = begun(state)
      return decide(settings, state)
    },
    launch: (agreed) => {
      if (state.available < 1 || !agreed()) return false
      state = launched(settings, state)
      return true
    },
    answered: (side, millis) => {
      state = answered(settings, state, side, millis)
    },
    silent: (side, millis) => {
      state = silent(state, side, millis)
    },
    snapshot: () => ({
      delayMillis: state.seen < settings.minimum ? undefined : edge(quantileOf(state.times.first, settings.quantile)),
      medianMillis: { first: medianOf(state.times.first), second: medianOf(state.times.second) },
      ratio: state.ratio,
      available: state.available
    })
  }
}
