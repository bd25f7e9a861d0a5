/**
 * The queues before the providers, in the primary: the real pacers, in which the calls of all workers wait in one
 * order.
 *
 * A worker's request waits here like one of this process. A worker that ends leaves the queues, and what it had sent
 * counts as requests without an answer.
 *
 * @since 0.2.0
 */

import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as LlmError from "../../errors/LlmError.js"
import * as Deadline from "../../policies/Deadline.js"
import * as Pacer from "../../policies/pacer/Pacer.js"
import { Limits } from "../../policies/pacer/RateLimits.js"
import * as Times from "../../policies/Times.js"
import { Usage } from "../../policies/Usage.js"
import type { Port } from "./Port.js"

const amount = Schema.optional(Schema.Number)

const Limit = Schema.UndefinedOr(
  Schema.Struct({
    limit: Schema.Number,
    window: Schema.UndefinedOr(Schema.Number),
    burst: Schema.UndefinedOr(Schema.Number)
  })
)

/** A new pacer by the limits of the file. Times are in milliseconds. */
const Opened = Schema.Struct({
  pacer: Schema.String,
  limits: Schema.Struct({
    requests: Limit,
    tokens: Limit,
    inputTokens: Limit,
    outputTokens: Limit,
    maxWait: Schema.UndefinedOr(Schema.Number),
    maxQueue: Schema.UndefinedOr(Schema.Number)
  })
})

const millisOf = (duration: Duration.DurationInput | undefined): number | undefined =>
  duration === undefined ? undefined : Duration.toMillis(duration)

const limitOf = (limit: Pacer.Options["requests"]): typeof Limit.Type =>
  limit && { limit: limit.limit, window: millisOf(limit.window), burst: limit.burst }

const Asked = Schema.Struct({
  pacer: Schema.String,
  key: Schema.String,
  provider: Schema.optional(Schema.String),
  model: Schema.optional(Schema.String),
  inputTokens: amount,
  outputTokens: amount,
  /** The number of the call, which gets its old place when it comes back. */
  place: amount,
  /** The time until the deadline, in milliseconds. */
  left: Schema.Number
})

const Observed = Schema.Struct({ permit: Schema.Number, headers: Limits })

const Ending = Schema.Struct({
  usage: Schema.optional(Usage),
  error: Schema.optional(LlmError.LlmError),
  interrupted: Schema.optional(Schema.Boolean),
  sent: Schema.optional(Schema.Literal(false))
})

const Settled = Schema.Struct({ permit: Schema.Number, ending: Ending, random: Schema.Number })

const encodedEnding = Schema.encodeUnknownEither(Ending)

/**
 * The end of a request, as it goes over the line. A usage that is none is left out.
 *
 * @internal
 */
export const encodeEnding = (ending: Pacer.Ending): unknown =>
  Either.getOrElse(encodedEnding(ending), () => ({ interrupted: true }))

/**
 * The limits of the file, as they go over the line.
 *
 * @internal
 */
export const encodeLimits = (limits: Pacer.Options = {}): (typeof Opened.Type)["limits"] => ({
  requests: limitOf(limits.requests),
  tokens: limitOf(limits.tokens),
  inputTokens: limitOf(limits.inputTokens),
  outputTokens: limitOf(limits.outputTokens),
  maxWait: millisOf(limits.maxWait),
  maxQueue: limits.maxQueue
})

/**
 * What a worker hears of its request: a place, or why there is none.
 *
 * @internal
 */
export const Answered = Schema.Struct({
  queuedMillis: Schema.optional(Schema.Number),
  refused: Schema.optional(Schema.Union(LlmError.RateLimited, LlmError.ContextLengthExceeded))
})

const encodeAnswered = Schema.encodeSync(Answered)

/**
 * From when on a key has a place, in milliseconds from now.
 *
 * @internal
 */
export const Ready = Schema.Struct({ pacer: Schema.String, key: Schema.String, millis: Schema.Number })

/** Calls that failed and may come back. One that is forgotten takes a new place. */
const mostPlaces = 10_000

/** Workers are told of another time if it is so far from the one they know, in milliseconds. */
const noticed = 50

interface Waiting {
  readonly pacer: string
  readonly key: string
  readonly place: number | undefined
  fiber: Fiber.RuntimeFiber<unknown, unknown> | undefined
  permit: Pacer.Permit | undefined
}

/**
 * The primary's half. `tell` tells all workers from when on a key has a place.
 *
 * @internal
 */
export const make = (tell: (ready: typeof Ready.Type) => void) => {
  const pacers = new Map<string, Pacer.Pacer>()
  const told = new Map<string, number>()

  const now = (): number => Times.now(Times.liveClock)

  /** Tells when a key is free again, if that has changed. */
  const announce = (name: string, key: string): void => {
    const at = pacers.get(name)?.readyAt(key) ?? 0
    const id = `${name}\n${key}`
    if (Math.abs(at - (told.get(id) ?? 0)) < noticed) return
    if (at === 0) told.delete(id)
    else told.set(id, at)
    tell({ pacer: name, key, millis: at === 0 ? 0 : Math.max(0, at - now()) })
  }

  /** Serves a worker. Returns what to do when it is gone. */
  const serve = (port: Port): (() => void) => {
    const all = new Map<number, Waiting>()
    const places = new Map<number, object>()

    const placeOf = (place: number | undefined): object | undefined => {
      if (place === undefined) return undefined
      const object = places.get(place) ?? {}
      places.delete(place)
      places.set(place, object)
      const [oldest] = places.keys()
      if (places.size > mostPlaces && oldest !== undefined) places.delete(oldest)
      return object
    }

    const settle = (id: number, ending: Pacer.Ending, random: number): number => {
      const found = all.get(id)
      if (found?.permit === undefined) return 0
      all.delete(id)
      const paused = found.permit.settle(ending, now(), random)
      if (ending.error === undefined && found.place !== undefined) places.delete(found.place)
      announce(found.pacer, found.key)
      return paused
    }

    port.on("pacer", Opened, ({ limits, pacer }) => {
      if (!pacers.has(pacer)) pacers.set(pacer, Effect.runSync(Pacer.make(limits)))
    })

    port.on("acquire", Asked, ({ left, pacer: name, place, ...asked }, reply, id) => {
      const pacer = pacers.get(name)
      if (pacer === undefined) return reply(undefined)
      const waiting: Waiting = { pacer: name, key: asked.key, place, fiber: undefined, permit: undefined }
      all.set(id, waiting)
      const acquired = pacer.acquire({ ...asked, place: placeOf(place) }, (permit) => {
        waiting.permit = permit
      })
      const limit: Deadline.Limit = { at: now() + left, phase: "total" }
      const fiber = Effect.runFork(Effect.provideService(acquired, Deadline.Deadline, limit))
      waiting.fiber = fiber
      announce(name, asked.key)
      fiber.addObserver((exit) => {
        if (Exit.isSuccess(exit)) return reply(encodeAnswered({ queuedMillis: exit.value.queuedMillis }))
        all.delete(id)
        announce(name, asked.key)
        reply(
          Option.match(Cause.failureOption(exit.cause), {
            onNone: () => undefined,
            onSome: (refused) => encodeAnswered({ refused })
          })
        )
      })
    })

    /** The worker waits no more. A place that it was given meanwhile was not used. */
    const leave = (id: number): void => {
      const found = all.get(id)
      if (found?.permit !== undefined) settle(id, { sent: false }, 0)
      else found?.fiber?.unsafeInterruptAsFork(FiberId.none)
    }

    port.on("unasked", Schema.Number, leave)
    port.on("observe", Observed, ({ headers, permit }) => {
      const found = all.get(permit)
      found?.permit?.observe(headers, now())
      if (found !== undefined) announce(found.pacer, found.key)
    })
    port.on("settle", Settled, ({ ending, permit, random }, reply) => reply(settle(permit, ending, random)))
    port.on("pacers", Schema.String, (name, reply) => {
      const pacer = pacers.get(name)
      reply(pacer === undefined ? [] : [...Effect.runSync(pacer.states)])
    })

    return () => {
      for (const [id, { permit }] of all) {
        // What it had sent may have been run.
        if (permit !== undefined) settle(id, { interrupted: true }, 0)
        else leave(id)
      }
    }
  }

  return { serve }
}
