/**
 * What policies know at the moment: circuits, queues, retry budgets, keys, alarms.
 *
 * It lives in the memory of the process that makes the calls. A dashboard of another process reads the same log, but
 * knows nothing of this, and says so.
 *
 * @since 0.2.0
 */

import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type * as KeyPool from "../policies/balance/KeyPool.js"
import type * as CircuitBreaker from "../policies/circuit/CircuitBreaker.js"
import type * as Pacer from "../policies/pacer/Pacer.js"
import * as RetryBudget from "../policies/retry/RetryBudget.js"
import type * as Degradation from "./Degradation.js"
import type * as Evaluation from "./Evaluation.js"

// -----------------------------------------------------------------------------
// options
// -----------------------------------------------------------------------------

/**
 * What the application has of policies that know something. All of it is optional: `{}` shows its retry budgets alone.
 *
 * @since 0.2.0
 * @category options
 */
export interface Sources {
  /** Circuits of targets. Default none. */
  readonly breakers?: ReadonlyArray<CircuitBreaker.CircuitBreaker> | undefined
  /** Queues of targets. Default none. */
  readonly pacers?: ReadonlyArray<Pacer.Pacer> | undefined
  /** Pools of keys, by a name of your own. Default none. */
  readonly pools?: Readonly<Record<string, KeyPool.KeyPool>> | undefined
  /** The watch that raises alarms. Default none. */
  readonly degradation?: Degradation.Degradation | undefined
  /** Tells how many answers its judge did not judge. Default none. */
  readonly evaluation?: Evaluation.Evaluation | undefined
}

// -----------------------------------------------------------------------------
// models
// -----------------------------------------------------------------------------

/**
 * A circuit. Times are what is left, in milliseconds: the clocks of a browser and a server differ.
 *
 * @internal
 */
export interface CircuitNow {
  readonly key: string
  readonly state: CircuitBreaker.State["_tag"]
  readonly reason?: string
  readonly error?: string
  /** How often it opened in a row. */
  readonly openings?: number
  /** To the next probe; `null` until a reset by hand. */
  readonly probeInMillis?: number | null
  /** In flight now, and the most at once. */
  readonly probes?: readonly [now: number, most: number]
  /** The rest of a pause that the target asked for. */
  readonly throttledMillis?: number
}

/**
 * @internal
 */
export interface QueueNow {
  readonly key: string
  readonly waiting: number
  readonly inFlight: number
  readonly pausedMillis?: number
  readonly limits: ReadonlyArray<{ readonly of: string } & Pacer.LimitInForce>
}

/**
 * @internal
 */
export interface KeyNow {
  readonly pool: string
  readonly inFlight: number
  readonly circuit: CircuitNow
}

/**
 * @internal
 */
export interface Moved {
  readonly key: string
  /** Epoch milliseconds. */
  readonly at: number
  readonly from: string
  readonly to: string
  readonly error?: string
}

/**
 * What `api/live` answers.
 *
 * @internal
 */
export type Live =
  | { readonly known: false }
  | {
      readonly known: true
      /** Whether there are such policies, though none may have a state yet. */
      readonly has: {
        readonly breakers: boolean
        readonly pacers: boolean
        readonly degradation: boolean
        readonly evaluation: boolean
      }
      /** From when on `moved` and `changes` are known, in epoch milliseconds. */
      readonly since: number
      readonly circuits: ReadonlyArray<CircuitNow>
      readonly queues: ReadonlyArray<QueueNow>
      readonly keys: ReadonlyArray<KeyNow>
      /** The retries that each group has left. */
      readonly budgets: ReadonlyArray<{ readonly group: string; readonly left: number }>
      /** Of circuits, the newest first. */
      readonly moved: ReadonlyArray<Moved>
      readonly watched: ReadonlyArray<{ readonly target: string } & Degradation.State>
      /** Of alarms, the newest first. */
      readonly changes: ReadonlyArray<Degradation.Change>
      /** The answers that were not judged. */
      readonly unjudged: { readonly dropped: number; readonly failed: number }
    }

// -----------------------------------------------------------------------------
// the pure part
// -----------------------------------------------------------------------------

const rest = (until: number | undefined, now: number) => Math.max(0, Math.round((until ?? now) - now))

/**
 * A circuit as the page gets it.
 *
 * @internal
 */
export const circuitOf = (state: CircuitBreaker.State, now: number): CircuitNow => {
  const throttled = rest(state.throttledUntil, now)
  const about = { key: state.key, state: state._tag, ...(throttled > 0 ? { throttledMillis: throttled } : {}) }
  if (state._tag === "Closed") return about
  const { consecutiveOpenings: openings, error, reason } = state
  const opened = { ...about, reason, openings, ...(error === undefined ? {} : { error }) }
  if (state._tag === "HalfOpen") return { ...opened, probes: [state.probes, state.width] }
  const left = Duration.toMillis(state.retryAfter)
  return { ...opened, probeInMillis: Number.isFinite(left) ? Math.round(left) : null }
}

/**
 * A queue as the page gets it.
 *
 * @internal
 */
export const queueOf = (key: string, state: Pacer.State, now: number): QueueNow => {
  const paused = rest(state.pausedUntil, now)
  return {
    key,
    waiting: state.waiting,
    inFlight: state.inFlight,
    ...(paused > 0 ? { pausedMillis: paused } : {}),
    limits: Object.entries(state.limits).map(([of, limit]) => ({ of, ...limit }))
  }
}

const severity = { Open: 0, HalfOpen: 1, Closed: 2 } as const

/** What is in trouble comes first. */
const byTrouble = (a: CircuitNow, b: CircuitNow): number =>
  severity[a.state] - severity[b.state] || (a.key < b.key ? -1 : 1)

const movedOf = (change: CircuitBreaker.Transition): Moved => ({
  key: change.key,
  at: change.at,
  from: change.from,
  to: change.to,
  ...(change.to === "Open" && change.error !== undefined ? { error: change.error } : {})
})

// -----------------------------------------------------------------------------
// constructors
// -----------------------------------------------------------------------------

/** The states of a process that makes no calls. */
export const unknown: Effect.Effect<Live> = Effect.succeed({ known: false })

/** As many changes as one looks through. */
const kept = 30

/** Keeps the newest of a stream for as long as the scope is open. */
const newest = <A, B>(
  streams: ReadonlyArray<Stream.Stream<A>>,
  f: (a: A) => B
): Effect.Effect<() => ReadonlyArray<B>, never, Scope.Scope> =>
  Effect.gen(function* () {
    let all: ReadonlyArray<B> = []
    for (const stream of streams) {
      yield* stream.pipe(
        Stream.runForEach((a) =>
          Effect.sync(() => {
            all = [f(a), ...all].slice(0, kept)
          })
        ),
        Effect.forkScoped
      )
    }
    // The subscriptions are made by the fibers.
    yield* Effect.yieldNow()
    return () => all
  })

/** The values of several maps, each with its key. */
const entries = <A>(all: ReadonlyArray<Effect.Effect<ReadonlyMap<string, A>>>) =>
  Effect.map(
    Effect.forEach(all, (states) => states),
    (maps) => maps.flatMap((map) => [...map])
  )

/**
 * Reads the states whenever it is asked, and keeps the changes that happen meanwhile. The retry budgets are those of
 * the context that it is made in.
 *
 * @internal
 */
export const make = (sources: Sources): Effect.Effect<Effect.Effect<Live>, never, Scope.Scope> =>
  Effect.gen(function* () {
    const { breakers = [], degradation, evaluation, pacers = [], pools = {} } = sources
    const since = yield* Clock.currentTimeMillis
    const context = yield* Effect.context<never>()
    const moved = yield* newest(
      breakers.map(({ transitions }) => transitions),
      movedOf
    )
    const changes = yield* newest(degradation === undefined ? [] : [degradation.changes], (change) => change)
    return Effect.gen(function* () {
      const now = yield* Clock.currentTimeMillis
      const circuits = yield* entries(breakers.map(({ states }) => states))
      const queues = yield* entries(pacers.map(({ states }) => states))
      const keys = yield* Effect.forEach(Object.entries(pools), ([pool, { states }]) =>
        Effect.map(states, (all) =>
          Array.from(all.values(), ({ circuit, inFlight }) => ({ pool, inFlight, circuit: circuitOf(circuit, now) }))
        )
      )
      const budgets = yield* Effect.provide(RetryBudget.states, context)
      const watched = degradation === undefined ? new Map<string, Degradation.State>() : yield* degradation.states
      const summary = evaluation === undefined ? undefined : yield* evaluation.summary
      return {
        known: true,
        has: {
          breakers: breakers.length > 0,
          pacers: pacers.length > 0,
          degradation: degradation !== undefined,
          evaluation: evaluation !== undefined
        },
        since,
        circuits: circuits.map(([, state]) => circuitOf(state, now)).sort(byTrouble),
        queues: queues.map(([key, state]) => queueOf(key, state, now)),
        keys: keys.flat(),
        budgets: Array.from(budgets, ([group, left]) => ({ group, left: Math.floor(left * 10) / 10 })),
        moved: moved(),
        watched: Array.from(watched, ([target, state]) => ({ target, ...state })),
        changes: changes(),
        unjudged: { dropped: summary?.dropped ?? 0, failed: summary?.judgeFailures ?? 0 }
      }
    })
  })
