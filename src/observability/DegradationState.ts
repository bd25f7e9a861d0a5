/**
 * When a target is degraded: the pure part. {@link step} decides for one target at the end of each slot of time, and
 * {@link watch} keeps all targets.
 *
 * @internal
 */

import type { Sample } from "./CallSample.js"
import * as DegradationAdvice from "./DegradationAdvice.js"
import * as Window from "./DegradationWindow.js"

// -----------------------------------------------------------------------------
// models
// -----------------------------------------------------------------------------

/**
 * How an alarm is to be taken. While it stands: `new` or `chronic`. Once it cleared: `blip` if it lasted no longer than
 * the window, else `episode`, or `chronic`. Chronic is one that lasted long, or came back too often in a day.
 *
 * @since 0.2.0
 * @category models
 */
export type Kind = "new" | "blip" | "episode" | "chronic"

/**
 * An alarm that was raised, turned chronic, or was cleared. Plain data.
 *
 * @since 0.2.0
 * @category models
 */
export interface Change {
  /** `Chronic` comes once, when an alarm has stood for so long; one that is raised as chronic is not told again. */
  readonly _tag: "Raised" | "Chronic" | "Cleared"
  /** The name of the target: `provider/model`. */
  readonly target: string
  /** Epoch milliseconds. */
  readonly at: number
  readonly kind: Kind
  /** What happened, with numbers, and what to change: one line for people. */
  readonly advice: string
  /** Over the window that decided. */
  readonly figures: Window.Figures
  /** The share of all other targets together; `undefined` with too few calls. */
  readonly others: number | undefined
  /** How long the alarm stood, in milliseconds; 0 for `Raised`, so far for `Chronic`. */
  readonly lastedMillis: number
  /** Why it cleared: `recovered`; `no traffic` in the window; `forgotten` for newer targets. */
  readonly why?: "recovered" | "no traffic" | "forgotten"
}

/**
 * A target at the moment.
 *
 * @since 0.2.0
 * @category models
 */
export interface State {
  readonly degraded: boolean
  /** The time of the alarm that stands, in epoch milliseconds. */
  readonly since: number | undefined
  /** `undefined` while no alarm stands. */
  readonly kind: Kind | undefined
  /** How often an alarm was raised in the last 24 hours; no more are counted than it takes to be chronic. */
  readonly raised: number
  /** Over the window, the running slot included. */
  readonly figures: Window.Figures
  /** What to change. `undefined` while no alarm stands. */
  readonly advice: string | undefined
}

/** Where an alarm is raised or cleared. */
export interface Level {
  readonly share: number
  readonly addedP95Millis: number
  /** The slots for which it must hold. */
  readonly slots: number
}

/** Times are in slots; one has `slotMillis`. */
export interface Settings {
  readonly slotMillis: number
  readonly windowSlots: number
  readonly minimum: number
  readonly raise: Level
  readonly clear: Level
  readonly chronicSlots: number
  readonly chronicRaises: number
  readonly maxTargets: number
}

/** The standing of one target, in numbers of slots. */
export interface Standing {
  readonly hotSince: number | undefined
  readonly calmSince: number | undefined
  readonly raisedAt: number | undefined
  /** The newest raises. */
  readonly raises: ReadonlyArray<number>
  /** Whether the alarm that stands was told as chronic. */
  readonly chronic: boolean
}

export const initial: Standing = {
  hotSince: undefined,
  calmSince: undefined,
  raisedAt: undefined,
  raises: [],
  chronic: false
}

type Move = "raised" | "chronic" | "recovered" | "no traffic" | undefined

// -----------------------------------------------------------------------------
// one target
// -----------------------------------------------------------------------------

const isAbove = ({ addedP95Millis, share }: Window.Figures, level: Level): boolean =>
  share >= level.share || addedP95Millis >= level.addedP95Millis

const isBelow = ({ addedP95Millis, share }: Window.Figures, level: Level): boolean =>
  share <= level.share && addedP95Millis <= level.addedP95Millis

const dayMillis = 24 * 60 * 60 * 1000

const raisesToday = ({ slotMillis }: Settings, { raises }: Standing, slot: number): number =>
  raises.filter((at) => (slot - at) * slotMillis < dayMillis).length

/** `lasted` is in slots. */
const kindOf = (settings: Settings, standing: Standing, slot: number, lasted: number, stands: boolean): Kind => {
  if (lasted >= settings.chronicSlots || raisesToday(settings, standing, slot) > settings.chronicRaises)
    return "chronic"
  if (stands) return "new"
  return lasted <= settings.windowSlots ? "blip" : "episode"
}

/**
 * The end of a slot. Few calls raise no alarm, and few good ones clear one; without a call in the whole window it is
 * cleared at once, because nothing is known any more. One that ends just when it would turn chronic is cleared only.
 */
export const step = (
  settings: Settings,
  before: Standing,
  figures: Window.Figures,
  slot: number
): readonly [Standing, Move] => {
  const { clear, minimum, raise } = settings
  const hotSince = figures.calls >= minimum && isAbove(figures, raise) ? (before.hotSince ?? slot) : undefined
  const calmSince = isBelow(figures, clear) ? (before.calmSince ?? slot) : undefined
  const now = { ...before, hotSince, calmSince }
  if (before.raisedAt === undefined) {
    if (hotSince === undefined || slot - hotSince < raise.slots) return [now, undefined]
    const raised = { ...now, raisedAt: slot, raises: [...before.raises, slot].slice(-settings.chronicRaises - 1) }
    return [{ ...raised, chronic: kindOf(settings, raised, slot, 0, true) === "chronic" }, "raised"]
  }
  const cleared = { ...now, raisedAt: undefined, chronic: false }
  if (figures.calls === 0) return [cleared, "no traffic"]
  if (calmSince !== undefined && slot - calmSince >= clear.slots) return [cleared, "recovered"]
  if (before.chronic || slot - before.raisedAt < settings.chronicSlots) return [now, undefined]
  return [{ ...now, chronic: true }, "chronic"]
}

// -----------------------------------------------------------------------------
// all targets
// -----------------------------------------------------------------------------

interface Watched {
  readonly slots: Window.Slots
  standing: Standing
}

/** The watch over all targets. Synchronous; times are in milliseconds, `wall` in epoch milliseconds. */
export interface Watch {
  /** Only adds: nothing depends on the order of samples within a slot. */
  readonly add: (sample: Sample, now: number) => void
  /** Decides for every slot that ended meanwhile. */
  readonly advance: (now: number, wall: number) => ReadonlyArray<Change>
  readonly states: (now: number, wall: number) => ReadonlyMap<string, State>
}

const shareOf = (calls: number, first: number, minimum: number): number | undefined =>
  calls < Math.max(1, minimum) ? undefined : (calls - first) / calls

export const watch = (settings: Settings, began: number): Watch => {
  const { clear, maxTargets, minimum, raise, slotMillis, windowSlots } = settings
  const slotOf = (now: number): number => Math.floor(now / slotMillis)
  /** The target whose last sample is oldest comes first. */
  const targets = new Map<string, Watched>()
  /** The alarms of targets that were forgotten. */
  let orphans: Array<readonly [target: string, left: Watched]> = []
  let decided = slotOf(began) - 1
  /** After so many slots without a decision nothing older matters. */
  const memory = windowSlots + Math.max(raise.slots, clear.slots) + 1

  const figuresOfAll = (slot: number) => {
    const all = new Map<string, Window.Figures>()
    let calls = 0
    let first = 0
    for (const [target, { slots }] of targets) {
      const figures = Window.figures(slots, slot, windowSlots)
      all.set(target, figures)
      calls += figures.calls
      first += figures.first
    }
    const othersOf = (own: Window.Figures) => shareOf(calls - own.calls, first - own.first, minimum)
    return { all, othersOf }
  }

  const changed = (
    target: string,
    standing: Standing,
    figures: Window.Figures,
    others: number | undefined,
    slot: number,
    at: number,
    move: Exclude<Move, undefined> | "forgotten",
    lasted: number
  ): Change => {
    const stands = move === "raised" || move === "chronic"
    const kind = kindOf(settings, standing, slot, lasted, stands)
    const lastedMillis = lasted * slotMillis
    const facts = { target, at, kind, figures, others, lastedMillis }
    if (!stands) {
      const advice = DegradationAdvice.cleared(target, figures, move, lastedMillis)
      return { _tag: "Cleared", ...facts, why: move, advice }
    }
    const advice = DegradationAdvice.raised(target, figures, others, settings)
    if (move === "raised") return { _tag: "Raised", ...facts, advice }
    return { _tag: "Chronic", ...facts, advice: DegradationAdvice.chronic(advice, lastedMillis) }
  }

  const endOf = (slot: number, at: number): ReadonlyArray<Change> => {
    const { all, othersOf } = figuresOfAll(slot)
    const changes: Array<Change> = []
    for (const [target, one] of targets) {
      const figures = all.get(target) ?? Window.figures(one.slots, slot, windowSlots)
      const before = one.standing
      const [standing, move] = step(settings, before, figures, slot)
      one.standing = standing
      Window.forget(one.slots, slot - windowSlots + 1)
      if (move !== undefined) {
        const lasted = slot - (before.raisedAt ?? slot)
        changes.push(changed(target, standing, figures, othersOf(figures), slot, at, move, lasted))
      }
      const remembered = raisesToday(settings, standing, slot) > 0 || standing.raisedAt !== undefined
      if (one.slots.size === 0 && !remembered) targets.delete(target)
    }
    return changes
  }

  const forgotten = (slot: number, at: number): ReadonlyArray<Change> => {
    const left = orphans
    orphans = []
    return left.map(([target, { slots, standing }]) => {
      const figures = Window.figures(slots, slot, windowSlots)
      return changed(target, standing, figures, undefined, slot, at, "forgotten", slot - (standing.raisedAt ?? slot))
    })
  }

  return {
    add: (sample, now) => {
      const one: Watched = targets.get(sample.target) ?? { slots: new Map(), standing: initial }
      // Taken out and put back: the order of the map is the order of the last samples.
      targets.delete(sample.target)
      targets.set(sample.target, one)
      Window.add(one.slots, slotOf(now), sample)
      // Nobody decides any more once the watch is closed.
      if (one.slots.size > 2 * memory) Window.forget(one.slots, slotOf(now) - memory)
      if (targets.size <= maxTargets) return
      const [oldest] = targets
      if (oldest === undefined) return
      targets.delete(oldest[0])
      if (oldest[1].standing.raisedAt !== undefined && orphans.length < maxTargets) orphans.push(oldest)
    },
    advance: (now, wall) => {
      const ended = slotOf(now) - 1
      const changes = [...forgotten(Math.max(decided, ended), wall)]
      for (let slot = Math.max(decided + 1, ended - memory); slot <= ended; slot++) changes.push(...endOf(slot, wall))
      decided = Math.max(decided, ended)
      return changes
    },
    states: (now, wall) => {
      const slot = slotOf(now)
      const { all, othersOf } = figuresOfAll(slot)
      const states = new Map<string, State>()
      for (const [target, figures] of all) {
        const standing = targets.get(target)?.standing ?? initial
        const { raisedAt } = standing
        const degraded = raisedAt !== undefined
        states.set(target, {
          degraded,
          since: degraded ? wall - (now - (raisedAt + 1) * slotMillis) : undefined,
          kind: degraded ? kindOf(settings, standing, slot, slot - 1 - raisedAt, true) : undefined,
          raised: raisesToday(settings, standing, slot),
          figures,
          advice: degraded ? DegradationAdvice.raised(target, figures, othersOf(figures), settings) : undefined
        })
      }
      return states
    }
  }
}
