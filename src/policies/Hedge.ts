/**
 * When a call that has no first token yet is worth asking a second target for: the policy of a hedge.
 *
 * It learns how long the first target takes to its first token, and says after how long a call belongs to the slowest
 * (`quantile`, by default the p95). {@link Hedge} keeps what is known for one pair of targets; `Hedging` races the
 * streams.
 *
 * A hedge must be worth it, on four counts:
 *
 * - **Known**: there is none before the quantile was seen, which takes 1 / (1 − quantile) first tokens: 20 for the p95.
 * - **Sooner**: it must be expected to end the wait at least a third sooner, by the mean of what slower calls still
 *   took and the median of the second target. So where times hardly differ, or the second target is slow too, there is
 *   none.
 * - **Allowed**: each call earns `ratio` of a hedge. None is there at the start, so that there are never more than
 *   `ratio` of the calls; and at most 5 can be saved up, so that there are at most 5 more than `ratio` of any stretch
 *   of calls.
 * - **Winning**: a hedge counts as lost until it wins. Losing lowers the ratio by a fifth, down to a tenth of `ratio`;
 *   winning doubles it. Where hedges win one time in four the ratio holds.
 *
 * Times are kept in a histogram of 161 buckets, each 9 % wider than the one before, that halves its weights every 100
 * calls: memory is bounded, an update costs the same for ever, and a quantile is at most 9 % too long, never too short.
 *
 * What is cut short tells a lower bound, and that counts too: the call is spread over the slower ones in the
 * proportions in which they were seen (the redistribution to the right of the Kaplan–Meier estimate). Without it every
 * call that a hedge beats would vanish, the slow tail would seem to shrink and the delay would creep down to nothing.
 *
 * Gotcha: a target that is slow as a whole is no case for hedging. Its own p95 is soon slow too, and hedging ends;
 * timeouts, a breaker and a fallback are for that.
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
    "Which of the times to a first token is waited for before a hedge",
    0.95
  ),
  ratio: PolicyOptions.optional(PolicyOptions.number({ above: 0, max: 0.2 }), "Hedges for each call", 0.05)
})

/**
 * The options of {@link make} as they stand in JSON or YAML.
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
  /** Which of the times to a first token is waited for before a hedge: 0.5 to 0.99. Default 0.95. */
  readonly quantile?: number | undefined
  /** Hedges for each call: above 0, at most 0.2. Default 0.05, as many as are slower than the p95. */
  readonly ratio?: number | undefined
}

/**
 * Which of the two was asked: the target of the call, or that of the hedge.
 *
 * @since 0.2.0
 * @category models
 */
export type Side = "first" | "second"

/**
 * What is known at a moment: how long a call is waited for (`undefined` while too little is known), the median of both
 * targets as far as they were seen, the ratio that hedges have at present, and how many might be sent now.
 *
 * @since 0.2.0
 * @category models
 */
export interface Snapshot {
  readonly delayMillis: number | undefined
  readonly medianMillis: Readonly<Record<Side, number | undefined>>
  readonly ratio: number
  readonly available: number
}

/**
 * The hedging of one pair of targets. The functions are synchronous.
 *
 * - `begin`: a call begins. The milliseconds after which it is to be hedged, or `undefined` where it is not.
 * - `launch`: the call has waited that long. Whether a hedge may be sent, for which `agreed` is asked last.
 * - `answered`: a side gave its first content, so many milliseconds after it was asked; the second one wins with it.
 * - `silent`: a side was left, or failed, after so many milliseconds without content.
 *
 * @since 0.2.0
 * @category models
 */
export interface Hedge {
  readonly begin: () => number | undefined
  readonly launch: (agreed: () => boolean) => boolean
  readonly answered: (side: Side, millis: number) => void
  readonly silent: (side: Side, millis: number) => void
  readonly snapshot: () => Snapshot
}

interface Settings {
  readonly quantile: number
  readonly ratio: number
  /** So many first tokens must have been seen: with fewer, the quantile lies beyond the longest of them. */
  readonly minimum: number
}

/** The weights are those of the call with number `at`. */
interface Histogram {
  readonly weights: ReadonlyArray<number>
  readonly total: number
  readonly at: number
}

interface State {
  readonly calls: number
  /** How many first tokens of the first target were seen. */
  readonly seen: number
  readonly available: number
  readonly ratio: number
  readonly times: Readonly<Record<Side, Histogram>>
}

type Event =
  | { readonly _tag: "Call" }
  | { readonly _tag: "Launch" }
  | { readonly _tag: "Answered"; readonly side: Side; readonly millis: number }
  | { readonly _tag: "Silent"; readonly side: Side; readonly millis: number }

// -----------------------------------------------------------------------------
// the pure part: times
// -----------------------------------------------------------------------------

/** Eight buckets to each doubling: the next edge is at most 9.1 % away, well below the noise of a p95 of 290 calls. */
const perDoubling = 8

/** From 1 ms to 2^20 ms, 17 minutes, which no first token takes. */
const buckets = 20 * perDoubling + 1

/**
 * After so many calls a time counts half. In effect some 290 calls are remembered, so that the rank of the p95 is known
 * to 1.3 % of calls, and calls that are all slow of a sudden are the new p95 after eight.
 */
const halfLife = 100

const keep = 2 ** (-1 / halfLife)

const empty: Histogram = { weights: new Array<number>(buckets).fill(0), total: 0, at: 0 }

const bucketOf = (millis: number): number =>
  Math.max(0, Math.min(buckets - 1, Math.ceil(Math.log2(millis) * perDoubling)))

/** The longest time in a bucket. */
const edge = (bucket: number): number => 2 ** (bucket / perDoubling)

/** What a typical time in each bucket is; a power costs more than all else that a call is asked here. */
const typical = Array.from({ length: buckets }, (_, i) => 2 ** ((i - 0.5) / perDoubling))

const totalAt = (self: Histogram, calls: number): number => self.total * keep ** (calls - self.at)

/** One more, in each bucket as much of it as `share` says. */
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

/**
 * Part of the whole weight: what is left of one time after some 1000 calls, and too little to conclude anything from.
 */
const negligible = 1e-5

const massAbove = (self: Histogram, bucket: number): number => {
  let mass = 0
  for (let i = bucket + 1; i < buckets; i++) mass += self.weights[i] ?? 0
  return mass > negligible * self.total ? mass : 0
}

/**
 * One that took longer than this, who knows how much: as long as those did that took longer still, by the first of
 * `like` that knows any. If none does, this is the longest time that is known.
 */
const longerThan = (
  self: Histogram,
  calls: number,
  millis: number,
  like: readonly [Histogram, ...ReadonlyArray<Histogram>]
): Histogram => {
  const bucket = bucketOf(millis)
  const known = like.find((one) => massAbove(one, bucket) > 0)
  if (known !== undefined) {
    const mass = massAbove(known, bucket)
    return add(self, calls, bucket + 1, (i) => (known.weights[i] ?? 0) / mass)
  }
  // A quick failure, before anything else was seen, says nothing.
  return like.every((one) => one.total === 0) ? self : seenIn(self, calls, millis)
}

/** Of all, so many took at most as long as the edge of this bucket. */
const quantileOf = (self: Histogram, quantile: number): number => {
  const above = self.total * (1 - quantile)
  let mass = 0
  for (let i = buckets - 1; i > 0; i--) {
    mass += self.weights[i] ?? 0
    if (mass > above) return i
  }
  return 0
}

/** How much longer those took, on average, that took longer than the edge of a bucket; `undefined` if none did. */
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
 * So many hedges can be saved up, for calls that are slow by chance one soon after the other. Measured over 30 runs of
 * the scenario in the tests, a tail of 3 % (p99 with hedging as a part of that without, the worst run), and one stall
 * of all targets for ten minutes at one call a second (extra requests, the worst run): 3: 40 %, 0.5 %; 5: 22 %, 0.8 %;
 * 8: 20 %, 1.3 %.
 */
const maxAvailable = 5

/** Three losses undo one win: with one win in four, the ratio holds. */
const afterLaunch = 0.8
const afterWin = 2 / afterLaunch

/** The ratio never falls below this part of what it may be, or nobody would notice that hedges win again. */
const floor = 0.1

/** What a hedge must be expected to leave of the whole wait: with less to gain, it is not worth what it costs. */
const worthwhile = 2 / 3

/** One hedge or two that were slow by chance are no evidence. */
const enough = 3

/** Until the second target was seen often enough, it is taken to be as fast as the first. */
const secondOf = ({ calls, times }: State): Histogram =>
  totalAt(times.second, calls) >= enough ? times.second : times.first

/** After how many milliseconds a call is to be hedged, or `undefined` where it is not. */
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

const step = (settings: Settings, state: State, event: Event): State => {
  const { available, calls, ratio, seen, times } = state
  switch (event._tag) {
    case "Call":
      return { ...state, calls: calls + 1, available: Math.min(maxAvailable, available + ratio) }
    case "Launch":
      return { ...state, available: available - 1, ratio: Math.max(settings.ratio * floor, ratio * afterLaunch) }
    case "Answered": {
      const known = seenIn(times[event.side], calls, event.millis)
      return event.side === "first"
        ? { ...state, seen: seen + 1, times: { ...times, first: known } }
        : { ...state, ratio: Math.min(settings.ratio, ratio * afterWin), times: { ...times, second: known } }
    }
    case "Silent": {
      const { first, second } = times
      // The second target, where it has not told, is taken to be like the first.
      return event.side === "first"
        ? { ...state, times: { first: longerThan(first, calls, event.millis, [first]), second } }
        : { ...state, times: { first, second: longerThan(second, calls, event.millis, [second, first]) } }
    }
  }
}

const settingsOf = (input: Options): Settings => {
  const chosen = options.read(input, "Hedge")
  return { ...chosen, minimum: Math.round(1 / (1 - chosen.quantile)) }
}

// -----------------------------------------------------------------------------
// constructors
// -----------------------------------------------------------------------------

/**
 * Hedging that knows nothing yet. Throws a `RangeError` that names the option, what was found and what was expected.
 *
 * @since 0.2.0
 * @category constructors
 */
export const make = (options: Options = {}): Hedge => {
  const settings = settingsOf(options)
  let state: State = {
    calls: 0,
    seen: 0,
    available: 0,
    ratio: settings.ratio,
    times: { first: empty, second: empty }
  }
  const hear = (event: Event): void => {
    state = step(settings, state, event)
  }
  const medianOf = (self: Histogram): number | undefined => (self.total === 0 ? undefined : edge(quantileOf(self, 0.5)))
  return {
    begin: () => {
      hear({ _tag: "Call" })
      return decide(settings, state)
    },
    launch: (agreed) => {
      if (state.available < 1 || !agreed()) return false
      hear({ _tag: "Launch" })
      return true
    },
    answered: (side, millis) => hear({ _tag: "Answered", side, millis }),
    silent: (side, millis) => hear({ _tag: "Silent", side, millis }),
    snapshot: () => ({
      delayMillis: state.seen < settings.minimum ? undefined : edge(quantileOf(state.times.first, settings.quantile)),
      medianMillis: { first: medianOf(state.times.first), second: medianOf(state.times.second) },
      ratio: state.ratio,
      available: state.available
    })
  }
}
