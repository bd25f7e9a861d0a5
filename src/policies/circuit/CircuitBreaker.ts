/**
 * Circuit breakers for LLM targets: an attempt at a target that is known to fail is refused at once, with
 * `CircuitOpen`, and can go to another.
 *
 * One breaker holds a circuit for each key, which names a target.
 *
 * - Closed: attempts run, and the trip policies count their outcomes.
 * - Open: attempts are refused. For an unhealthy target 1, 2, 4, 8, at most 15 seconds; for a dead key 60 seconds,
 *   doubling to an hour. A probe that hung takes twice its time off that, but for the first of those times.
 * - Half-open: one attempt at a time is let through, then two, then four; each step takes one success of an attempt
 *   that began in it. Any failure opens the circuit again, for longer. Interruption and `Ignored` give the place to
 *   another.
 *
 * The backoff survives a close, so that a target that flaps is left alone for longer each time, and begins anew when
 * the circuit stayed closed as long as it was last open. For a dead key it begins anew with the close.
 *
 * It stands inside the retry and outside the pacer and the attempt's timeout, and hears each attempt: at these rates
 * one outcome for a whole call would come too late. It never waits; whoever is refused falls back, and the refusal's
 * `hint` says when to come again.
 *
 * Gotchas:
 * - A 429 never opens a circuit: it is the pacer's business, and is only kept in sight in {@link State}.
 * - What was admitted before a transition runs to its end, and its outcome changes nothing.
 * - Errors that are no `LlmError` are `Ignored` unless you `classify` them.
 * - Breakers that share a store share the circuits of equal keys, and have to have equal options.
 *
 * @example
 * import { Effect } from "effect"
 * import { CircuitBreaker, LlmError } from "effect-steadfast"
 *
 * const down = Effect.fail(
 *   new LlmError.ServerError({ provider: "openai", message: "internal error", delivery: "unknown" })
 * )
 * const program = Effect.gen(function* () {
 *   const breaker = yield* CircuitBreaker.make()
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
import type * as Fiber from "effect/Fiber"
import { dual } from "effect/Function"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as PubSub from "effect/PubSub"
import * as Random from "effect/Random"
import * as Stream from "effect/Stream"
import { CircuitOpen } from "../../errors/LlmError.js"
import * as Immediate from "../Immediate.js"
import * as Store from "../Store.js"
import * as CircuitOptions from "./CircuitOptions.js"
import * as CircuitOutcome from "./CircuitOutcome.js"
import * as CircuitState from "./CircuitState.js"
import * as CircuitView from "./CircuitView.js"

export { type OpenDuration, Options } from "./CircuitOptions.js"
export { classify, dead, failure, ignored, type Outcome, success, throttled } from "./CircuitOutcome.js"
export type { Admission, Circuit, Reason } from "./CircuitState.js"
export type { Ask, State, Transition } from "./CircuitView.js"
export { consecutive, type RateOptions, rate, type StreakOptions, streak, type TripPolicy } from "./TripPolicy.js"

// -----------------------------------------------------------------------------
// models
// -----------------------------------------------------------------------------

/**
 * An {@link Ask}, and how an exit becomes an outcome.
 *
 * @since 0.2.0
 * @category options
 */
export interface ExecuteOptions<A, E> extends CircuitView.Ask {
  /**
   * The outcome of an exit; `now` is in epoch milliseconds. It is not asked about an exit that is nothing but
   * interruption. If it throws, the outcome is `Ignored` and the call dies. Default: `classify` of this module.
   */
  readonly classify?: ((exit: Exit.Exit<A, E>, now: number) => CircuitOutcome.Outcome) | undefined
}

/**
 * Keyed circuits under one policy. Times are in epoch milliseconds.
 *
 * @since 0.2.0
 * @category models
 */
export interface CircuitBreaker {
  /** Runs an attempt through the circuit of its key and records its outcome. */
  readonly execute: {
    (
      options: CircuitView.Ask & { readonly classify?: undefined }
    ): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E | CircuitOpen, R>
    <A, E>(options: ExecuteOptions<A, E>): <R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E | CircuitOpen, R>
    <A, E, R>(self: Effect.Effect<A, E, R>, options: ExecuteOptions<A, E>): Effect.Effect<A, E | CircuitOpen, R>
  }
  /**
   * The first half of `execute`, for an attempt that is no single effect, such as a stream. Pass every admission to
   * `record` exactly once, interruption included; a probe without a record holds its place until its lease ends.
   */
  readonly admit: (ask: CircuitView.Ask) => Effect.Effect<CircuitState.Admission, CircuitOpen>
  /** The second half of `execute`. */
  readonly record: (
    key: string,
    admission: CircuitState.Admission,
    outcome: CircuitOutcome.Outcome
  ) => Effect.Effect<void>
  /** The state of a circuit. */
  readonly state: (key: string) => Effect.Effect<CircuitView.State>
  /** The states of all circuits that this process knows, by key. A circuit is forgotten an hour after its last use. */
  readonly states: Effect.Effect<ReadonlyMap<string, CircuitView.State>>
  /**
   * The time from which a circuit takes traffic: 0 for now, `Infinity` until a reset. It is the latest time while a
   * probe is out, and it is from what this process saw last.
   */
  readonly readyAt: (key: string) => number
  /** Opens a circuit by hand, until `reset`. */
  readonly open: (key: string) => Effect.Effect<void>
  /** Makes a circuit as new. */
  readonly reset: (key: string) => Effect.Effect<void>
  /** The transitions that this breaker makes, from the subscription on. A slow subscriber keeps the last 128. */
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

const nowOf = (fiber: Fiber.RuntimeFiber<unknown, unknown>): number =>
  Context.get(fiber.currentDefaultServices, Clock.Clock).unsafeCurrentTimeMillis()

/** The admission of an attempt whose store died: nothing is recorded of it. */
const unrecorded: CircuitState.Admission = { generation: -1 }

type Change<A> = (circuit: CircuitState.Circuit | undefined) => readonly [A, CircuitState.Circuit | undefined]

const fromCircuits = (
  settings: CircuitOptions.Settings,
  circuits: Store.States<CircuitState.Circuit>,
  hub: PubSub.PubSub<CircuitView.Transition>
): CircuitBreaker => {
  /** Changes a circuit and publishes the transition, if there is one; `undefined` if the store died. */
  const change = <A>(key: string, now: number, f: Change<A>): Effect.Effect<A | undefined> =>
    Immediate.entered(circuits.modify(key, now, f), (changed) => {
      const transition =
        changed === undefined ? undefined : CircuitView.transition(key, changed.before, changed.next, now)
      return transition === undefined
        ? Effect.succeed(changed?.answer)
        : Effect.as(PubSub.publish(hub, transition), changed?.answer)
    })

  const admit = (ask: CircuitView.Ask, now: number): Effect.Effect<CircuitState.Admission, CircuitOpen> =>
    Immediate.entered(
      change(ask.key, now, (circuit) => CircuitState.admit(settings, circuit, now)),
      (decision = unrecorded) =>
        CircuitState.isRefusal(decision) ? Effect.fail(CircuitView.refused(ask, decision)) : Effect.succeed(decision)
    )

  const record = (
    key: string,
    admission: CircuitState.Admission,
    outcome: CircuitOutcome.Outcome,
    now: number
  ): Effect.Effect<void> => {
    if (admission === unrecorded) return Effect.void
    const write = (random: number) =>
      change(key, now, (circuit) => [
        undefined,
        CircuitState.record(settings, circuit, admission, outcome, now, random)
      ])
    return CircuitState.mayOpen(outcome) ? Effect.flatMap(Random.next, write) : write(0)
  }

  const execute = <A, E, R>(
    self: Effect.Effect<A, E, R>,
    options: ExecuteOptions<A, E>
  ): Effect.Effect<A, E | CircuitOpen, R> =>
    Immediate.masked<A, E | CircuitOpen, R>(({ fiber, restore }) =>
      Immediate.entered(admit(options, nowOf(fiber)), (admission) =>
        Immediate.ended(restore(self), (exit) => {
          const now = nowOf(fiber)
          const [outcome, judged] = CircuitOutcome.judge(exit, options.classify, now, fiber.currentContext)
          return Immediate.andThen(record(options.key, admission, outcome, now), () => judged)
        })
      )
    )

  const atNow = <A, E>(f: (now: number) => Effect.Effect<A, E>): Effect.Effect<A, E> =>
    Effect.withFiberRuntime((fiber) => f(nowOf(fiber)))

  const byHand = (
    key: string,
    f: (circuit: CircuitState.Circuit | undefined, now: number) => CircuitState.Circuit
  ): Effect.Effect<void> =>
    Effect.uninterruptible(atNow((now) => change(key, now, (circuit) => [undefined, f(circuit, now)])))

  const state = (key: string): Effect.Effect<CircuitView.State> =>
    atNow((now) =>
      Effect.map(
        circuits.modify(key, now, (circuit) => [undefined, circuit]),
        () => CircuitView.view(key, circuits.peek(key), now)
      )
    )

  return {
    execute: dual((args) => Effect.isEffect(args[0]), execute),
    admit: (ask) => atNow((now) => admit(ask, now)),
    record: (key, admission, outcome) => atNow((now) => record(key, admission, outcome, now)),
    state,
    states: Effect.suspend(() =>
      Effect.map(
        Effect.forEach([...circuits.keys()], (key) => Effect.map(state(key), (state) => [key, state] as const)),
        (states) => new Map(states)
      )
    ),
    readyAt: (key) => CircuitView.readyAt(circuits.peek(key)),
    open: (key) => byHand(key, CircuitState.open),
    reset: (key) => byHand(key, CircuitState.reset),
    transitions: Stream.fromPubSub(hub)
  }
}

/**
 * A breaker. Its circuits are in the `KeyedStore` of the context, or else in its own memory.
 *
 * Throws a `RangeError` that names the option, what was found and what was expected.
 *
 * @since 0.2.0
 * @category constructors
 */
export const make = (options?: CircuitOptions.Options): Effect.Effect<CircuitBreaker> => {
  const chosen = CircuitOptions.settings(options)
  return Effect.gen(function* () {
    const store = yield* Effect.serviceOption(Store.KeyedStore)
    const circuits = Option.isSome(store)
      ? Store.inStore<CircuitState.Circuit>(store.value, "circuit")
      : Store.inMemory<CircuitState.Circuit>()
    return fromCircuits(chosen, circuits, yield* PubSub.sliding<CircuitView.Transition>(keptTransitions))
  })
}

/**
 * The breaker of the application, with the options of {@link make}.
 *
 * @since 0.2.0
 * @category layers
 */
export const layer = (options?: CircuitOptions.Options): Layer.Layer<CircuitBreaker> =>
  Layer.effect(CircuitBreaker, make(options))
