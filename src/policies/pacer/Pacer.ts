/**
 * A queue before a provider: calls wait, first in first out, for a place under its rate limits.
 *
 * A 429 is not a reason to sleep and hope, but the sign of a missing queue. A pacer has a lane for each key; a call
 * goes when requests, tokens, input and output tokens a minute all have room for it, and else it waits, behind those
 * who came before. What it will cost is reserved before, and put right with its usage after. The limits are the
 * configured ones and those that the headers of every response tell (the smaller of the two); where there are neither,
 * they are found out.
 *
 * - A 429 pauses the whole key until the server's hint and some jitter; then one goes, then two, then four.
 * - A call that was turned away and comes back has its old place again.
 * - What can never fit is refused with `ContextLengthExceeded`, and a wait that cannot end in time with `RateLimited`,
 *   both before anything was sent.
 *
 * It stands inside the retry and the breaker and around the attempt's timeout, so that waiting is no part of the
 * attempt.
 *
 * Gotchas: nobody overtakes, so a large request at the head holds up small ones behind it. A key says whose limits they
 * are; two pacers, or two processes, know of each other only by the headers.
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
import * as Immediate from "../Immediate.js"
import type { Usage } from "../Usage.js"
import * as AdaptiveRate from "./AdaptiveRate.js"
import * as Cost from "./Cost.js"
import * as Gcra from "./Gcra.js"
import { type Options, type Settings, settings } from "./PacerOptions.js"
import * as PacerQueue from "./PacerQueue.js"
import * as PacerRequest from "./PacerRequest.js"
import * as PacerState from "./PacerState.js"
import { LimitsListener } from "./RateLimits.js"

export {
  /**
   * @since 0.2.0
   * @category options
   */
  LimitOptions,
  /**
   * @since 0.2.0
   * @category options
   */
  Options
} from "./PacerOptions.js"
export type {
  /**
   * @since 0.2.0
   * @category models
   */
  Gate,
  /**
   * @since 0.2.0
   * @category models
   */
  Permit
} from "./PacerQueue.js"
export {
  /**
   * @since 0.2.0
   * @category models
   */
  type Ask,
  /**
   * @since 0.2.0
   * @category models
   */
  type End,
  /**
   * @since 0.2.0
   * @category combinators
   */
  hinted,
  /**
   * @since 0.2.0
   * @category models
   */
  type Refusal
} from "./PacerRequest.js"

// -----------------------------------------------------------------------------
// models
// -----------------------------------------------------------------------------

/**
 * A limit in force, what is left of it, and where it comes from.
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
 * How it stands with one key.
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
 * What an effect asks for, and how its answer tells what it took.
 *
 * @since 0.2.0
 * @category options
 */
export interface PaceOptions<in A> extends PacerRequest.Ask {
  /** The tokens that an answer took. Default: unknown, and the estimate stands. */
  readonly usage?: ((value: A) => Usage | undefined) | undefined
}

/**
 * - `pace` lets an effect through; `usage` reads from its answer what it took.
 * - `acquire` is its first half, for what is no single effect: a permit that must be settled. `granted` hears of it at
 *   once, should the fiber be interrupted before it goes on.
 * - `gate` is the way to the places of one key, for who asks for many.
 * - `state` looks at a key.
 *
 * @since 0.2.0
 * @category models
 */
export interface Pacer {
  readonly pace: {
    <A = unknown>(
      options: PaceOptions<A>
    ): <B extends A, E, R>(self: Effect.Effect<B, E, R>) => Effect.Effect<B, E | PacerRequest.Refusal, R>
    <A, E, R>(self: Effect.Effect<A, E, R>, options: PaceOptions<A>): Effect.Effect<A, E | PacerRequest.Refusal, R>
  }
  readonly acquire: (
    ask: PacerRequest.Ask,
    granted?: (permit: PacerQueue.Permit) => void
  ) => Effect.Effect<PacerQueue.Permit, PacerRequest.Refusal>
  readonly readyAt: (key: string) => number
  readonly state: (key: string) => Effect.Effect<State>
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

const stateOf = (lane: PacerState.PacerState, waiting: number, now: number): State => {
  const limits: { [K in Cost.Dimension]?: LimitInForce } = {}
  for (const name of Cost.dimensions) {
    const part = lane.allowance.parts[name]
    if (part !== undefined) limits[name] = inForce(part.limit, part, part.source, now)
  }
  const learned = AdaptiveRate.learned(lane.rate)
  const known = lane.allowance.parts.requests
  if (learned !== undefined && (known === undefined || Gcra.perMilli(learned.limit) < Gcra.perMilli(known.limit))) {
    limits.requests = inForce(learned.limit, learned.bucket, "learned", now)
  }
  const { pausedUntil } = lane.rate
  return { waiting, inFlight: lane.inFlight, pausedUntil: pausedUntil > now ? pausedUntil : undefined, limits }
}

// -----------------------------------------------------------------------------
// constructors
// -----------------------------------------------------------------------------

const fromSettings = (chosen: Settings): Pacer => {
  const queues = PacerQueue.make(chosen)
  const acquire: Pacer["acquire"] = (ask, granted) =>
    Effect.withFiberRuntime((fiber) => queues.of(ask.key).enter(ask, fiber, granted))

  const pace = <A, E, R>(
    self: Effect.Effect<A, E, R>,
    options: PaceOptions<A>
  ): Effect.Effect<A, E | PacerRequest.Refusal, R> =>
    Immediate.masked<A, E | PacerRequest.Refusal, R>((region) => {
      const { fiber, restore } = region
      let permit: PacerQueue.Permit | undefined
      const acquired = queues.of(options.key).enter(options, fiber, (given) => {
        permit = given
      })
      const clock = Context.get(fiber.currentDefaultServices, Clock.Clock)
      const settle = (end: PacerRequest.End, random: number): number =>
        permit?.settle(end, clock.unsafeCurrentTimeMillis(), random) ?? 0
      const waited = Immediate.exitOf(acquired) ?? restore(acquired)
      return Immediate.ended<PacerQueue.Permit, PacerRequest.Refusal, never, A, E | PacerRequest.Refusal, R>(
        waited,
        (acquired) => {
          if (Exit.isFailure(acquired)) {
            settle({ sent: false }, 0)
            return Exit.failCause(acquired.cause)
          }
          const context = Context.add(fiber.currentContext, LimitsListener, acquired.value.observe)
          return Immediate.under(region, context, self, (exit) => {
            const end = PacerRequest.endOf(exit, options.usage)
            if (end.error === undefined) {
              settle(end, 0)
              return exit
            }
            return Effect.flatMap(Random.next, (random) => {
              const paused = settle(end, random)
              return Exit.mapError(exit, (error) => PacerRequest.hinted(error, paused))
            })
          })
        }
      )
    })

  return {
    pace: dual((args) => Effect.isEffect(args[0]), pace),
    acquire,
    readyAt: (key) => queues.peek(key)?.readyAt() ?? 0,
    state: (key) =>
      Effect.map(Clock.currentTimeMillis, (now) => {
        const queue = queues.peek(key)
        return stateOf(queue?.lane() ?? PacerState.make(chosen.config, now), queue?.waiting() ?? 0, now)
      })
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
