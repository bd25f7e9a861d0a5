/**
 * The metrics of what policies know: circuits, queues, budgets.
 *
 * @since 0.2.0
 */

import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type * as CircuitBreaker from "../policies/circuit/CircuitBreaker.js"
import type * as Pacer from "../policies/pacer/Pacer.js"
import * as RetryBudget from "../policies/retry/RetryBudget.js"
import * as Instrument from "./Instrument.js"
import { metrics } from "./MetricTable.js"

const levels = { Closed: 0, HalfOpen: 1, Open: 2 } as const

/** What is sampled. */
export interface Sources {
  readonly breaker: CircuitBreaker.CircuitBreaker | undefined
  readonly pacer: Pacer.Pacer | undefined
}

/** Sets a gauge for each key, and to 0 for those that are forgotten: a gauge cannot be taken back. */
const forKeys = (write: (key: string, value: number) => void) => {
  let before: Iterable<string> = []
  return (values: ReadonlyMap<string, number>): void => {
    for (const key of before) if (!values.has(key)) write(key, 0)
    for (const [key, value] of values) write(key, value)
    before = [...values.keys()]
  }
}

const mapped = <A>(states: ReadonlyMap<string, A>, f: (state: A) => number): ReadonlyMap<string, number> =>
  new Map(Array.from(states, ([key, state]) => [key, f(state)]))

/**
 * Samples states for as long as the scope is open. Transitions of circuits are counted as they happen.
 *
 * @internal
 */
export const sample = (
  { breaker, pacer }: Sources,
  interval: Duration.Duration
): Effect.Effect<void, never, Scope.Scope> =>
  Effect.gen(function* () {
    const bounds = Instrument.bounds()
    const gauge = (definition: Parameters<typeof Instrument.make>[0]) => {
      const instrument = Instrument.make(definition, bounds)
      return forKeys((key, value) => instrument(value, [key]))
    }
    const circuitState = gauge(metrics.circuitState)
    const pacerWaiting = gauge(metrics.pacerWaiting)
    const pacerInFlight = gauge(metrics.pacerInFlight)
    const pacerPause = gauge(metrics.pacerPause)
    const budget = Instrument.make(metrics.budgetLevel, bounds)
    const transitions = Instrument.make(metrics.circuitTransitions, bounds)

    const once = Effect.gen(function* () {
      if (breaker !== undefined) circuitState(mapped(yield* breaker.states, (state) => levels[state._tag]))
      if (pacer !== undefined) {
        const now = yield* Clock.currentTimeMillis
        const states = yield* pacer.states
        pacerWaiting(mapped(states, ({ waiting }) => waiting))
        pacerInFlight(mapped(states, ({ inFlight }) => inFlight))
        pacerPause(mapped(states, ({ pausedUntil = now }) => Math.max(0, pausedUntil - now) / 1000))
      }
      for (const [group, level] of yield* RetryBudget.states) budget(level, [group])
    }).pipe(Effect.catchAllCause((cause) => Effect.logDebug("the states of the policies were not read", cause)))

    yield* once
    yield* Effect.forkScoped(Effect.repeat(once, Schedule.spaced(interval)))
    if (breaker === undefined) return
    yield* breaker.transitions.pipe(
      Stream.runForEach((transition) =>
        Effect.sync(() =>
          transitions(1, [transition.key, transition.to, transition.to === "Open" ? transition.reason : undefined])
        )
      ),
      Effect.forkScoped
    )
    // The subscription is made by the fiber.
    yield* Effect.yieldNow()
  })
