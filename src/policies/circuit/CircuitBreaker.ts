/**
 * Circuit breakers for LLM targets: an attempt at a failing target goes to another target at once, or waits until the
 * target is back.
 *
 * One breaker holds one circuit for each key. A key names a target.
 *
 * - Closed: attempts run, and the trip policies count their outcomes.
 * - Open: no attempt runs. An unhealthy target stays open for 1, 2, 4, 8, at most 15 seconds; a dead key for 60
 *   seconds, doubling to an hour. Twice the time that the failed probe hung is subtracted, down to the first of these
 *   times.
 * - Half-open: one attempt at a time is admitted, then two, then four. Each step needs one success of an attempt that
 *   began in it. A failure in the first step opens the circuit again, for longer; a later one returns to the first
 *   step. After interruption and `Ignored` the place is free again.
 *
 * The backoff survives a close, so that a flapping target stays open longer each time. It resets after the circuit
 * stayed closed for as long as it was last open; for a dead key it resets at the close.
 *
 * A breaker stands inside the retry, and outside the pacer and the attempt's timeout. It records each attempt: at LLM
 * rates, one outcome per call would come too late.
 *
 * An attempt that is not admitted has three ways:
 *
 * - It has a fallback (`ChatModel.orElse`, `Resilience.orElse`, `ChatModel.balance`) that takes traffic: it fails with
 *   `CircuitOpen`, and the fallback is asked at once.
 * - It waits in order, until its deadline or `maxWait`. Waiting calls take turns as probes; the error of a failed probe
 *   does not count towards the attempts of a retry policy. When the target is back they come in a slow start. A call
 *   whose deadline is near makes the next probe sooner.
 * - It cannot be admitted in time, or the circuit is open for a dead key or by hand: it fails with `CircuitOpen`, and
 *   the `hint` is the time until the next probe.
 *
 * Gotchas:
 * - Effect's own `Effect.orElse` outside cannot be seen from here. Use `Resilience.orElse`, or `maxWait: 0`.
 * - A 429 never opens a circuit: the pacer handles it. {@link State} shows it.
 * - An attempt admitted before a transition runs to its end, and its outcome changes nothing.
 * - Errors other than `LlmError` are `Ignored` unless you `classify` them.
 * - Breakers with a common store share the circuits of equal keys, and need equal options.
 *
 * @example
 * import { Effect } from "effect"
 * import { CircuitBreaker, LlmError } from "effect-steadfast"
 *
 * const down = Effect.fail(
 *   new LlmError.ServerError({ provider: "openai", message: "internal error", delivery: "unknown" })
 * )
 * const program = Effect.gen(function* () {
 *   const breaker = yield* CircuitBreaker.make({ maxWait: 0 })
 *   const guarded = down.pipe(breaker.execute({ key: "openai/gpt-4o-mini", provider: "openai" }))
 *   yield* Effect.flip(guarded).pipe(Effect.repeatN(2))
 *   return (yield* Effect.flip(guarded))._tag // "CircuitOpen", and nothing was sent
 * })
 *
 * @since 0.2.0
 */

import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { dual } from "effect/Function"
import * as Layer from "effect/Layer"
import * as PubSub from "effect/PubSub"
import * as Random from "effect/Random"
import * as Stream from "effect/Stream"
import type { CircuitOpen, LlmError } from "../../errors/LlmError.js"
import * as Deadline from "../Deadline.js"
import * as Immediate from "../Immediate.js"
import * as Probe from "../Probe.js"
import * as Store from "../Store.js"
import * as Times from "../Times.js"
import * as Waited from "../Waited.js"
import * as WaitQueue from "../WaitQueue.js"
import * as CircuitOptions from "./CircuitOptions.js"
import * as CircuitOutcome from "./CircuitOutcome.js"
import * as CircuitQueue from "./CircuitQueue.js"
import * as CircuitState from "./CircuitState.js"
import * as CircuitView from "./CircuitView.js"

export { type OpenDuration, Options } from "./CircuitOptions.js"
export { classify, dead, failure, ignored, type Outcome, success, throttled } from "./CircuitOutcome.js"
export type { Admission, Circuit, Reason } from "./CircuitState.js"
export type { AdmitOptions, State, Transition } from "./CircuitView.js"
export { consecutive, type RateOptions, rate, type StreakOptions, streak, type TripPolicy } from "./TripPolicy.js"

// -----------------------------------------------------------------------------
// models
// -----------------------------------------------------------------------------

/**
 * The options of `execute`.
 *
 * @since 0.2.0
 * @category options
 */
export interface ExecuteOptions<A, E> extends CircuitView.AdmitOptions {
  /**
   * The outcome of an exit; `now` is in milliseconds. Not called for mere interruption. If it throws, the outcome
   * is `Ignored` and the call dies. Default: `classify` of this module.
   */
  readonly classify?: ((exit: Exit.Exit<A, E>, now: number) => CircuitOutcome.Outcome) | undefined
}

/**
 * Keyed circuits under one policy. Times are in milliseconds of the monotonic clock (`Clock.currentTimeNanos`); those
 * of `state` and `transitions` are in epoch milliseconds.
 *
 * @since 0.2.0
 * @category models
 */
export interface CircuitBreaker {
  readonly execute: {
    /** Runs an attempt through the circuit of its key, and records its outcome. */
    (
      options: CircuitView.AdmitOptions & { readonly classify?: undefined }
    ): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E | CircuitOpen, R>
    <A, E>(options: ExecuteOptions<A, E>): <R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E | CircuitOpen, R>
    <A, E, R>(self: Effect.Effect<A, E, R>, options: ExecuteOptions<A, E>): Effect.Effect<A, E | CircuitOpen, R>
  }
  /**
   * The first half of `execute`, for an attempt that is not a single effect, such as a stream. Pass every admission to
   * `record` exactly once, interruption included. A probe without a record holds its place until its lease ends.
   *
   * In an uninterruptible region pass its `restore`, so that a wait can be interrupted.
   */
  readonly admit: (
    options: CircuitView.AdmitOptions,
    restore?: Immediate.Region["restore"]
  ) => Effect.Effect<CircuitState.Admission, CircuitOpen>
  /**
   * The second half of `execute`. `error`: the attempt's, so that a retry outside can tell the failure of a probe.
   * `admitted`: the time of the admission, in milliseconds, and its deadline, to learn how long answers take.
   * Default: an unknown time, and the deadline of the fiber.
   */
  readonly record: (
    key: string,
    admission: CircuitState.Admission,
    outcome: CircuitOutcome.Outcome,
    error?: LlmError,
    admitted?: { readonly at: number; readonly limit: Deadline.Limit }
  ) => Effect.Effect<void>
  /** The state of a circuit. */
  readonly state: (key: string) => Effect.Effect<CircuitView.State>
  /** The states of all circuits that this process knows, by key. A circuit is forgotten an hour after its last use. */
  readonly states: Effect.Effect<ReadonlyMap<string, CircuitView.State>>
  /**
   * The time from which a circuit takes traffic, in milliseconds: 0 for now, `Infinity` until a reset. During a
   * probe it is the latest possible time. Read from the state that this process last saw.
   */
  readonly readyAt: (key: string) => number
  /**
   * The same, but during a probe the earliest possible time.
   *
   * @internal
   */
  readonly soonestAt: (key: string) => number
  /** Opens a circuit by hand, until `reset`. */
  readonly open: (key: string) => Effect.Effect<void>
  /** Resets a circuit to its initial state. */
  readonly reset: (key: string) => Effect.Effect<void>
  /** The transitions made by this breaker, from the subscription on. A slow subscriber gets the last 128. */
  readonly transitions: Stream.Stream<CircuitView.Transition>
}

/**
 * The breaker of the application.
 *
 * @since 0.2.0
 * @category context
 */
export const CircuitBreaker: Context.Tag<CircuitBreaker, CircuitBreaker> =
  Context.GenericTag<CircuitBreaker>("steadfast/CircuitBreaker")

// -----------------------------------------------------------------------------
// constructors
// -----------------------------------------------------------------------------

/** As many transitions as Effect's own breaker keeps for a slow subscriber. */
const keptTransitions = 128

/** The admission while the store is dead. Nothing is recorded for it. */
const unrecorded: CircuitState.Admission = { generation: -1 }

/** `at` is the time as in the circuits. */
type Change<A> = (
  circuit: CircuitState.Circuit | undefined,
  at: number
) => readonly [A, CircuitState.Circuit | undefined]

const fromCircuits = (
  settings: CircuitOptions.Settings,
  circuits: Store.States<CircuitState.Circuit>,
  hub: PubSub.PubSub<CircuitView.Transition>
): CircuitBreaker => {
  /** Changes a circuit and publishes its transition, if any. `undefined` if the store died. */
  const change = <A>(key: string, now: number, f: Change<A>): Effect.Effect<A | undefined> =>
    Immediate.entered(circuits.modify(key, now, f), (changed) => {
      const transition = changed && CircuitView.transition(key, changed.before, changed.next, changed.at)
      const published =
        transition && Effect.flatMap(Clock.currentTimeMillis, (at) => PubSub.publish(hub, { ...transition, at }))
      return Immediate.andThen(published, () => Effect.succeed(changed?.answer))
    })

  const queue = CircuitQueue.make(settings, (key, now, soonest) =>
    Immediate.entered(
      change(key, now, (circuit, at) => CircuitState.admit(settings, circuit, at, soonest - now + at)),
      (decision = unrecorded) => Effect.succeed(decision)
    )
  )

  const record = (
    key: string,
    admission: CircuitState.Admission,
    outcome: CircuitOutcome.Outcome,
    now: number,
    error: LlmError | undefined,
    limit: Deadline.Limit,
    took?: number
  ): Effect.Effect<void> => {
    const tooWide = outcome._tag === "Failure" && queue.isTooWide(key, now)
    if (error !== undefined && settings.maxWait !== 0) {
      // Those that wait behind it tell how a call comes back: at the tail. Without them it would come at once.
      const tried = outcome._tag === "Failure" && (admission.probe !== undefined || (tooWide && queue.size(key) > 0))
      if (tried) Probe.mark(error, WaitQueue.limitOf(limit, settings.maxWait, now))
      else Probe.take(error)
    }
    const recorded = (done: Effect.Effect<void>) =>
      Immediate.entered(done, () => {
        queue.ended(key, admission, outcome, now, took, outcome._tag === "Ignored" && now >= limit.at)
        return Effect.void
      })
    if (admission === unrecorded) return recorded(Effect.void)
    const counted = tooWide ? CircuitOutcome.ignored : outcome
    const write = (random: number) =>
      recorded(
        change(key, now, (circuit, at) => [
          undefined,
          CircuitState.record(settings, circuit, admission, CircuitOutcome.later(counted, at - now), at, random)
        ])
      )
    return CircuitState.mayOpen(counted) ? Effect.flatMap(Random.next, write) : write(0)
  }

  const execute = <A, E, R>(
    self: Effect.Effect<A, E, R>,
    options: ExecuteOptions<A, E>
  ): Effect.Effect<A, E | CircuitOpen, R> =>
    Immediate.masked<A, E | CircuitOpen, R>((region) => {
      const { fiber, restore } = region
      const began = Immediate.nowOf(fiber)
      return Immediate.entered(queue.enter(options, region), (admission) => {
        const admittedAt = Immediate.nowOf(fiber)
        const waited = admittedAt - began
        const recorded = (exit: Exit.Exit<A, E>): Effect.Effect<A, E> => {
          const now = Immediate.nowOf(fiber)
          const limit = Deadline.of(fiber.currentContext)
          const [outcome, judged] = CircuitOutcome.judge(exit, options.classify, now, limit)
          const error = exit._tag === "Failure" ? CircuitOutcome.errorOf(exit, limit) : undefined
          return Immediate.andThen(
            record(options.key, admission, outcome, now, error, limit, now - admittedAt),
            () => judged
          )
        }
        return waited === 0
          ? Immediate.ended(restore(self), recorded)
          : Immediate.under(region, Waited.after(fiber.currentContext, waited), self, recorded)
      })
    })

  const byHand = (
    key: string,
    f: (circuit: CircuitState.Circuit | undefined, at: number) => CircuitState.Circuit
  ): Effect.Effect<void> =>
    Effect.uninterruptible(
      Effect.flatMap(Times.current, (now) =>
        Effect.map(
          change(key, now, (circuit, at) => [undefined, f(circuit, at)]),
          () => queue.changed(key)
        )
      )
    )

  const state = (key: string): Effect.Effect<CircuitView.State> =>
    Effect.flatMap(Times.current, (now) =>
      Effect.zipWith(
        circuits.modify(key, now, (circuit) => [undefined, circuit]),
        Clock.currentTimeMillis,
        (_, wall) => CircuitView.view(key, circuits.peek(key), now + circuits.ahead(key), wall)
      )
    )

  const local = (key: string, at: number): number => (at === 0 ? 0 : at - circuits.ahead(key))

  return {
    execute: dual((args) => Effect.isEffect(args[0]), execute),
    admit: (options, restore) =>
      Immediate.masked((region) =>
        queue.enter(options, restore === undefined ? region : { fiber: region.fiber, restore })
      ),
    record: (key, admission, outcome, error, admitted) =>
      Effect.withFiberRuntime((fiber) => {
        const now = Immediate.nowOf(fiber)
        const limit = admitted?.limit ?? Deadline.of(fiber.currentContext)
        return record(key, admission, outcome, now, error, limit, admitted && now - admitted.at)
      }),
    state,
    states: Effect.suspend(() =>
      Effect.map(
        Effect.forEach([...circuits.keys()], (key) => Effect.map(state(key), (state) => [key, state] as const)),
        (states) => new Map(states)
      )
    ),
    readyAt: (key) => local(key, CircuitView.readyAt(circuits.peek(key))),
    soonestAt: (key) => local(key, CircuitView.soonestAt(circuits.peek(key))),
    open: (key) => byHand(key, CircuitState.open),
    reset: (key) => byHand(key, CircuitState.reset),
    transitions: Stream.fromPubSub(hub)
  }
}

/**
 * A new breaker. Its circuits live in the `KeyedStore` of the context, or else in memory.
 *
 * Throws a `RangeError` that names the option, the value found and the value expected.
 *
 * @since 0.2.0
 * @category constructors
 */
export const make = (options?: CircuitOptions.Options): Effect.Effect<CircuitBreaker> => {
  const settings = CircuitOptions.settings(options)
  const hub = PubSub.sliding<CircuitView.Transition>(keptTransitions)
  return Effect.zipWith(Store.states<CircuitState.Circuit>("circuit"), hub, (circuits, hub) =>
    fromCircuits(settings, circuits, hub)
  )
}

/**
 * The breaker of the application, with the options of {@link make}.
 *
 * @since 0.2.0
 * @category layers
 */
export const layer = (options?: CircuitOptions.Options): Layer.Layer<CircuitBreaker> =>
  Layer.effect(CircuitBreaker, make(options))
