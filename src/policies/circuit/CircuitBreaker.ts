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
import * as CircuitOptions from "./CircuitOptions.js"
import * as CircuitOutcome from "./CircuitOutcome.js"
import * as CircuitState from "./CircuitState.js"
import * as CircuitStore from "./CircuitStore.js"
import * as CircuitView from "./CircuitView.js"

export {
  /**
   * @since 0.2.0
   * @category options
   */
  type OpenDuration,
  /**
   * @since 0.2.0
   * @category options
   */
  Options
} from "./CircuitOptions.js"
export {
  /**
   * @since 0.2.0
   * @category outcomes
   */
  classify,
  /**
   * @since 0.2.0
   * @category outcomes
   */
  dead,
  /**
   * @since 0.2.0
   * @category outcomes
   */
  failure,
  /**
   * @since 0.2.0
   * @category outcomes
   */
  ignored,
  /**
   * @since 0.2.0
   * @category models
   */
  type Outcome,
  /**
   * @since 0.2.0
   * @category outcomes
   */
  success,
  /**
   * @since 0.2.0
   * @category outcomes
   */
  throttled
} from "./CircuitOutcome.js"
export {
  /**
   * @since 0.2.0
   * @category models
   */
  type Admission,
  /**
   * @since 0.2.0
   * @category models
   */
  type Circuit,
  /**
   * @since 0.2.0
   * @category predicates
   */
  isForgotten,
  /**
   * @since 0.2.0
   * @category models
   */
  type Reason
} from "./CircuitState.js"
export {
  /**
   * @since 0.2.0
   * @category context
   */
  CircuitBreakerStore
} from "./CircuitStore.js"
export type {
  /**
   * @since 0.2.0
   * @category options
   */
  Ask,
  /**
   * @since 0.2.0
   * @category models
   */
  State,
  /**
   * @since 0.2.0
   * @category models
   */
  Transition
} from "./CircuitView.js"
export {
  /**
   * @since 0.2.0
   * @category trip policies
   */
  consecutive,
  /**
   * @since 0.2.0
   * @category options
   */
  type RateOptions,
  /**
   * @since 0.2.0
   * @category trip policies
   */
  rate,
  /**
   * @since 0.2.0
   * @category options
   */
  type StreakOptions,
  /**
   * @since 0.2.0
   * @category trip policies
   */
  streak,
  /**
   * @since 0.2.0
   * @category models
   */
  type TripPolicy
} from "./TripPolicy.js"

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
   * The outcome of an exit; `now` is in epoch milliseconds. It is not asked about an exit that is nothing but interruption.
   * If it throws, the outcome is `Ignored` and the call dies. Default: `classify` of this module.
   */
  readonly classify?: ((exit: Exit.Exit<A, E>, now: number) => CircuitOutcome.Outcome) | undefined
}

/**
 * Keyed circuits under one policy.
 *
 * - `execute` runs an attempt through the circuit of its key and records how it ended.
 * - `admit` and `record` are its two halves, for what is no single effect, such as a stream. Hand every admission back
 *   exactly once, interruption included; a probe that is not heard of holds its place until its lease is over.
 * - `enter` and `leave` are the same for who knows the time, in epoch milliseconds, and runs them uninterruptibly: in
 *   memory they are over at once.
 * - `state` looks at a circuit.
 * - `readyAt` is the time from which a circuit takes traffic, in epoch milliseconds: 0 for now, `Infinity` until a
 *   reset. It is what this process saw last, and the latest time where a probe is out.
 * - `open` opens by hand, until `reset`, which makes a circuit as new.
 * - `transitions` are those that this breaker made, from the moment of subscription; of those that a subscriber does
 *   not take in time, the last 128 are kept.
 *
 * @since 0.2.0
 * @category models
 */
export interface CircuitBreaker {
  readonly execute: {
    (
      options: CircuitView.Ask & { readonly classify?: undefined }
    ): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E | CircuitOpen, R>
    <A, E>(options: ExecuteOptions<A, E>): <R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E | CircuitOpen, R>
    <A, E, R>(self: Effect.Effect<A, E, R>, options: ExecuteOptions<A, E>): Effect.Effect<A, E | CircuitOpen, R>
  }
  readonly admit: (ask: CircuitView.Ask) => Effect.Effect<CircuitState.Admission, CircuitOpen>
  readonly record: (
    key: string,
    admission: CircuitState.Admission,
    outcome: CircuitOutcome.Outcome
  ) => Effect.Effect<void>
  readonly enter: (ask: CircuitView.Ask, now: number) => Effect.Effect<CircuitState.Admission, CircuitOpen>
  readonly leave: (
    key: string,
    admission: CircuitState.Admission,
    outcome: CircuitOutcome.Outcome,
    now: number
  ) => Effect.Effect<void>
  readonly state: (key: string) => Effect.Effect<CircuitView.State>
  readonly readyAt: (key: string) => number
  readonly open: (key: string) => Effect.Effect<void>
  readonly reset: (key: string) => Effect.Effect<void>
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

/** What an attempt is admitted with whose store died: nothing is recorded of it. */
const unrecorded: CircuitState.Admission = { generation: -1 }

const fromCircuits = (
  settings: CircuitOptions.Settings,
  circuits: CircuitStore.InMemory | CircuitStore.InStore,
  hub: PubSub.PubSub<CircuitView.Transition>
): CircuitBreaker => {
  /** Goes on with what was answered, after telling of the transition, if it is one. */
  const told = <A, B, E, R>(
    key: string,
    now: number,
    { answer, before, next }: CircuitStore.Changed<A>,
    then: (answer: A) => Effect.Effect<B, E, R>
  ): Effect.Effect<B, E, R> => {
    const transition = before === next ? undefined : CircuitView.transition(key, before, next, now)
    return transition === undefined
      ? then(answer)
      : Effect.zipRight(
          PubSub.publish(hub, transition),
          Effect.suspend(() => then(answer))
        )
  }

  /** Changes a circuit and goes on; without an answer where the store died. */
  const change = <A, B, E, R>(
    key: string,
    now: number,
    f: (circuit: CircuitState.Circuit | undefined) => readonly [A, CircuitState.Circuit | undefined],
    then: (answer: A | undefined) => Effect.Effect<B, E, R>
  ): Effect.Effect<B, E, R> => {
    if (circuits._tag === "InMemory") return told(key, now, circuits.modify(key, now, f), then)
    return Effect.flatMap(circuits.modify(key, now, f), (changed) =>
      changed === undefined ? then(undefined) : told(key, now, changed, then)
    )
  }

  const enter = <A, E, R>(
    ask: CircuitView.Ask,
    now: number,
    then: (admission: CircuitState.Admission) => Effect.Effect<A, E, R>
  ): Effect.Effect<A, E | CircuitOpen, R> =>
    change<CircuitState.Admission | CircuitState.Refusal, A, E | CircuitOpen, R>(
      ask.key,
      now,
      (circuit) => CircuitState.admit(settings, circuit, now),
      (decision = unrecorded) =>
        CircuitState.isRefusal(decision) ? Effect.fail(CircuitView.refused(ask, decision)) : then(decision)
    )

  const write = <A, E>(
    key: string,
    admission: CircuitState.Admission,
    outcome: CircuitOutcome.Outcome,
    now: number,
    end: Effect.Effect<A, E>,
    random: number
  ): Effect.Effect<A, E> =>
    change(
      key,
      now,
      (circuit) => [undefined, CircuitState.record(settings, circuit, admission, outcome, now, random)],
      () => end
    )

  const leave = <A, E>(
    key: string,
    admission: CircuitState.Admission,
    outcome: CircuitOutcome.Outcome,
    now: number,
    end: Effect.Effect<A, E>
  ): Effect.Effect<A, E> => {
    if (admission === unrecorded) return end
    return CircuitState.mayOpen(outcome)
      ? Effect.flatMap(Random.next, (random) => write(key, admission, outcome, now, end, random))
      : write(key, admission, outcome, now, end, 0)
  }

  const execute = <A, E, R>(
    self: Effect.Effect<A, E, R>,
    options: ExecuteOptions<A, E>
  ): Effect.Effect<A, E | CircuitOpen, R> =>
    Immediate.masked<A, E | CircuitOpen, R>(({ fiber, restore }) =>
      enter(options, nowOf(fiber), (admission) => {
        const end = (exit: Exit.Exit<A, E>): Effect.Effect<A, E> => {
          const now = nowOf(fiber)
          const [outcome, judged] = CircuitOutcome.judge(exit, options.classify, now, fiber.currentContext)
          return leave(options.key, admission, outcome, now, judged)
        }
        return Immediate.ended(restore(self), end)
      })
    )

  const byHand = (
    key: string,
    f: (circuit: CircuitState.Circuit | undefined, now: number) => CircuitState.Circuit
  ): Effect.Effect<void> =>
    Effect.uninterruptible(
      Effect.withFiberRuntime<void>((fiber) => {
        const now = nowOf(fiber)
        return change(
          key,
          now,
          (circuit) => [undefined, f(circuit, now)],
          () => Effect.void
        )
      })
    )

  return {
    execute: dual((args) => Effect.isEffect(args[0]), execute),
    admit: (ask) =>
      Effect.uninterruptible(
        Effect.withFiberRuntime<CircuitState.Admission, CircuitOpen>((fiber) =>
          enter(ask, nowOf(fiber), Effect.succeed)
        )
      ),
    record: (key, admission, outcome) =>
      Effect.uninterruptible(
        Effect.withFiberRuntime<void>((fiber) => leave(key, admission, outcome, nowOf(fiber), Effect.void))
      ),
    enter: (ask, now) => enter(ask, now, Effect.succeed),
    leave: (key, admission, outcome, now) => leave(key, admission, outcome, now, Effect.void),
    state: (key) =>
      Effect.withFiberRuntime((fiber) => {
        const now = nowOf(fiber)
        const asked =
          circuits._tag === "InMemory" ? Effect.void : circuits.modify(key, now, (circuit) => [undefined, circuit])
        return Effect.map(asked, () => CircuitView.view(key, circuits.peek(key), now))
      }),
    readyAt: (key) => CircuitView.readyAt(circuits.peek(key)),
    open: (key) => byHand(key, CircuitState.open),
    reset: (key) => byHand(key, CircuitState.reset),
    transitions: Stream.fromPubSub(hub)
  }
}

/**
 * A breaker. Its circuits are in the `CircuitBreakerStore` of the context, or else in its own memory.
 *
 * Throws a `RangeError` that names the option, what was found and what was expected.
 *
 * @since 0.2.0
 * @category constructors
 */
export const make = (options?: CircuitOptions.Options): Effect.Effect<CircuitBreaker> => {
  const chosen = CircuitOptions.settings(options)
  return Effect.gen(function* () {
    const store = yield* Effect.serviceOption(CircuitStore.CircuitBreakerStore)
    const circuits = Option.isSome(store) ? CircuitStore.inStore(store.value) : CircuitStore.inMemory()
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
