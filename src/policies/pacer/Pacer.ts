/**
 * A queue before a provider: calls wait, first in first out, for a place under its rate limits.
 *
 * A pacer has a queue for each key. A call goes when requests, tokens, input tokens and output tokens a minute all have
 * room for it; else it waits behind those that came before it. It reserves its estimated cost when it goes, and its
 * usage puts that right. The limits are the configured ones and those in the headers of every response, the smaller of
 * the two; where neither tells a limit, the pacer finds it out.
 *
 * - A 429 pauses the whole key until the server's hint and some jitter; then one call goes, then two, then four.
 * - A call that the provider refused and that comes back has its old place again.
 * - A call that can never fit fails with `ContextLengthExceeded`, and a wait that cannot end in time with
 *   `RateLimited`, both before anything was sent.
 *
 * A pacer stands inside the retry and the breaker and around the attempt's timeout, so that waiting is no part of the
 * attempt. Without it every client of a key finds out its limit by its own 429s, and retries meet them again.
 *
 * Gotchas: no call overtakes, so a large request at the head holds up small ones behind it. A key says whose limits
 * they are; two pacers, or two processes, know of each other only by the headers.
 *
 * @example
 * import { Effect } from "effect"
 * import { LlmError, Pacer } from "effect-steadfast"
 *
 * declare const call: Effect.Effect<string, LlmError.LlmError>
 *
 * const program = Effect.gen(function* () {
 *   const pacer = yield* Pacer.make({ requests: { limit: 5, window: "1 second" } })
 *   const paced = call.pipe(pacer.pace({ key: "my-account" }))
 *   return yield* Effect.all(Array.from({ length: 20 }, () => paced), { concurrency: "unbounded" })
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
import * as Random from "effect/Random"
import * as FiberInternals from "../FiberInternals.js"
import * as Immediate from "../Immediate.js"
import * as Times from "../Times.js"
import type { Usage } from "../Usage.js"
import * as AdaptiveRate from "./AdaptiveRate.js"
import * as Cost from "./Cost.js"
import * as Gcra from "./Gcra.js"
import { type Options, type Settings, settings } from "./PacerOptions.js"
import * as PacerQueue from "./PacerQueue.js"
import * as PacerRequest from "./PacerRequest.js"
import * as PacerState from "./PacerState.js"
import { CurrentPlace } from "./RateLimits.js"

export { LimitOptions, Options } from "./PacerOptions.js"
export type { Permit } from "./PacerQueue.js"
export { type AcquireOptions, type Ending, hinted, type Refusal } from "./PacerRequest.js"

// -----------------------------------------------------------------------------
// models
// -----------------------------------------------------------------------------

/**
 * A limit in force: how much of it is left, and its source.
 *
 * @since 0.2.0
 * @category models
 */
export interface LimitInForce {
  readonly limit: number
  readonly windowMillis: number
  readonly left: number
  readonly source: "config" | "headers" | "learned"
}

/**
 * One key: how many requests wait, how many have no answer yet, its pause in epoch milliseconds, and its limits.
 *
 * @since 0.2.0
 * @category models
 */
export interface State {
  readonly waiting: number
  readonly inFlight: number
  readonly pausedUntil: number | undefined
  readonly limits: { readonly [K in Cost.Dimension]?: LimitInForce }
}

/**
 * The options of a paced effect.
 *
 * @since 0.2.0
 * @category options
 */
export interface PaceOptions<in A> extends PacerRequest.AcquireOptions {
  /** Reads the tokens that an answer took. Default: the estimate counts. */
  readonly usage?: ((value: A) => Usage | undefined) | undefined
}

/**
 * The queues of an application.
 *
 * @since 0.2.0
 * @category models
 */
export interface Pacer {
  /**
   * Runs an effect when it has a place. Response headers, its usage and its error teach the pacer. A `RateLimited`
   * without a hint gets the pause of the key as its hint.
   */
  readonly pace: {
    <A = unknown>(
      options: PaceOptions<A>
    ): <B extends A, E, R>(self: Effect.Effect<B, E, R>) => Effect.Effect<B, E | PacerRequest.Refusal, R>
    <A, E, R>(self: Effect.Effect<A, E, R>, options: PaceOptions<A>): Effect.Effect<A, E | PacerRequest.Refusal, R>
  }
  /**
   * Waits for a place, for work that is no single effect. The permit must be settled. `granted` gets it at once,
   * because the fiber may be interrupted before it goes on.
   */
  readonly acquire: (
    options: PacerRequest.AcquireOptions,
    granted?: (permit: PacerQueue.Permit) => void
  ) => Effect.Effect<PacerQueue.Permit, PacerRequest.Refusal>
  /**
   * The time from which a small request of the key would have a place, in milliseconds of the monotonic clock
   * (`Clock.currentTimeNanos`); 0 for now.
   */
  readonly readyAt: (key: string) => number
  /** The state of one key. */
  readonly state: (key: string) => Effect.Effect<State>
  /**
   * The states of all known keys. A key without requests for a minute, whose buckets are full, is forgotten in time.
   */
  readonly states: Effect.Effect<ReadonlyMap<string, State>>
}

/**
 * The pacer of the application.
 *
 * @since 0.2.0
 * @category context
 */
export const Pacer: Context.Tag<Pacer, Pacer> = Context.GenericTag<Pacer>("steadfast/Pacer")

// -----------------------------------------------------------------------------
// getters
// -----------------------------------------------------------------------------

const inForce = (
  limit: Gcra.Limit,
  bucket: Gcra.Bucket,
  source: LimitInForce["source"],
  now: number
): LimitInForce => ({
  limit: limit.limit,
  windowMillis: limit.windowMillis,
  left: Gcra.levelAt(limit, bucket, now),
  source
})

const stateOf = (state: PacerState.PacerState, waiting: number, now: number, wall: number): State => {
  const limits: { [K in Cost.Dimension]?: LimitInForce } = {}
  for (const name of Cost.dimensions) {
    const part = state.buckets.parts[name]
    if (part !== undefined) limits[name] = inForce(part.limit, part, part.source, now)
  }
  const learned = AdaptiveRate.learned(state.rate)
  const known = state.buckets.parts.requests
  if (learned !== undefined && (known === undefined || Gcra.perMilli(learned.limit) < Gcra.perMilli(known.limit))) {
    limits.requests = inForce(learned.limit, learned.bucket, "learned", now)
  }
  const { pausedUntil } = state.rate
  return {
    waiting,
    inFlight: state.inFlight,
    pausedUntil: pausedUntil > now ? wall + pausedUntil - now : undefined,
    limits
  }
}

// -----------------------------------------------------------------------------
// constructors
// -----------------------------------------------------------------------------

/** Settles a permit with the exit of its effect. Chance has a say only in a pause, so only an error draws a number. */
const settled = <A, E>(
  permit: PacerQueue.Permit,
  exit: Exit.Exit<A, E>,
  usage: PaceOptions<A>["usage"],
  clock: Clock.Clock
): Effect.Effect<A, E> => {
  let ending: PacerRequest.Ending
  try {
    ending = PacerRequest.endingOf(exit, usage)
  } catch (defect) {
    permit.settle({}, Times.now(clock), 0)
    return Exit.die(defect)
  }
  const settle = (random: number): number => permit.settle(ending, Times.now(clock), random)
  if (ending.error === undefined) {
    settle(0)
    return exit
  }
  return Effect.flatMap(Random.next, (random) => {
    const paused = settle(random)
    return Exit.mapError(exit, (error) => PacerRequest.hinted(error, paused))
  })
}

const fromSettings = (chosen: Settings): Pacer => {
  const { enter, known } = PacerQueue.make(chosen)

  const pace = <A, E, R>(
    self: Effect.Effect<A, E, R>,
    options: PaceOptions<A>
  ): Effect.Effect<A, E | PacerRequest.Refusal, R> =>
    Immediate.masked((region) => {
      const { fiber, restore } = region
      const clock = Context.get(fiber.currentDefaultServices, Clock.Clock)
      let late: PacerQueue.Permit | undefined
      const entering = enter(options, fiber, (permit) => {
        late = permit
      })
      return Immediate.ended<PacerQueue.Permit, PacerRequest.Refusal, never, A, E | PacerRequest.Refusal, R>(
        Immediate.exitOf(entering) ?? restore(entering),
        (entered) => {
          if (entered._tag === "Failure") {
            // The place may have come in the moment of the interruption.
            late?.settle({ sent: false }, Times.now(clock), 0)
            return Exit.failCause(entered.cause)
          }
          const permit = entered.value
          const context = FiberInternals.added(fiber.currentContext, CurrentPlace, permit)
          return Immediate.under(region, context, self, (exit) => settled(permit, exit, options.usage, clock))
        }
      )
    })

  return {
    pace: dual((args) => Effect.isEffect(args[0]), pace),
    acquire: (options, granted) => Effect.withFiberRuntime((fiber) => enter(options, fiber, granted)),
    readyAt: (key) => known.get(key)?.readyAt() ?? 0,
    state: (key) =>
      Effect.zipWith(Times.current, Clock.currentTimeMillis, (now, wall) => {
        const queue = known.get(key)
        return stateOf(queue?.state() ?? PacerState.make(chosen.config, now), queue?.waiting() ?? 0, now, wall)
      }),
    states: Effect.zipWith(
      Times.current,
      Clock.currentTimeMillis,
      (now, wall) =>
        new Map(Array.from(known, ([key, queue]) => [key, stateOf(queue.state(), queue.waiting(), now, wall)]))
    )
  }
}

/**
 * A pacer. Throws a `RangeError` that names the option, what was found and what was expected.
 *
 * @since 0.2.0
 * @category constructors
 */
export const make = (options: Options = {}): Effect.Effect<Pacer> => {
  const chosen = settings(options)
  return Effect.sync(() => fromSettings(chosen))
}

/**
 * The pacer of the application, with the options of {@link make}.
 *
 * @since 0.2.0
 * @category layers
 */
export const layer = (options: Options = {}): Layer.Layer<Pacer> => Layer.effect(Pacer, make(options))
