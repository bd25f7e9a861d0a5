/**
 * A pacer in a worker: it asks the primary's for each place, so that the calls of all workers stand in one queue.
 *
 * @since 0.2.0
 */

import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import { dual } from "effect/Function"
import * as Random from "effect/Random"
import * as Schema from "effect/Schema"
import * as Deadline from "../../policies/Deadline.js"
import type * as Pacer from "../../policies/pacer/Pacer.js"
import * as PacerRequest from "../../policies/pacer/PacerRequest.js"
import { CurrentPlace } from "../../policies/pacer/RateLimits.js"
import * as Times from "../../policies/Times.js"
import type { Port } from "./Port.js"
import { Lost } from "./Port.js"
import * as Queues from "./Queues.js"

const answered = Schema.decodeUnknownEither(Queues.Answered)

const LimitInForce = Schema.Struct({
  limit: Schema.Number,
  windowMillis: Schema.Number,
  left: Schema.Number,
  source: Schema.Literal("config", "headers", "learned")
})

const limit = Schema.optionalWith(LimitInForce, { exact: true })

const State = Schema.Struct({
  waiting: Schema.Number,
  inFlight: Schema.Number,
  pausedUntil: Schema.UndefinedOr(Schema.Number),
  limits: Schema.Struct({ requests: limit, tokens: limit, inputTokens: limit, outputTokens: limit })
})

const States = Schema.Array(Schema.Tuple(Schema.String, State))

const unknown: Pacer.State = { waiting: 0, inFlight: 0, pausedUntil: undefined, limits: {} }

/** The place while the primary does not answer: the call goes on without a queue. */
const free: Pacer.Permit = { queuedMillis: 0, observe: () => {}, settle: () => 0 }

const settled = <A, E>(
  permit: Pacer.Permit,
  exit: Exit.Exit<A, E>,
  usage: Pacer.PaceOptions<A>["usage"]
): Effect.Effect<A, E> => {
  let ending: Pacer.Ending
  try {
    ending = PacerRequest.endingOf(exit, usage)
  } catch (defect) {
    permit.settle({}, 0, 0)
    return Effect.die(defect)
  }
  if (ending.error === undefined) {
    permit.settle(ending, 0, 0)
    return exit
  }
  return Effect.flatMap(Random.next, (random) => {
    permit.settle(ending, 0, random)
    return Effect.flatMap(permit.pause?.() ?? Effect.succeed(0), (millis) =>
      Exit.mapError(exit, (error) => PacerRequest.hinted(error, millis))
    )
  })
}

/**
 * All pacers of a worker.
 *
 * @internal
 */
export const make = (port: Port): ((name: string, limits: Pacer.Options | undefined) => Effect.Effect<Pacer.Pacer>) => {
  /** From when on a key has a place, in milliseconds of `Times.now`. */
  const ready = new Map<string, number>()
  const calls = new WeakMap<object, number>()
  let lastCall = 0

  port.on("ready-at", Queues.Ready, ({ key, millis, pacer }) => {
    const id = `${pacer}\n${key}`
    if (millis === 0) ready.delete(id)
    else ready.set(id, Times.now(Times.liveClock) + millis)
  })

  const numberOf = (call: object | undefined): number | undefined => {
    if (call === undefined) return undefined
    const known = calls.get(call)
    if (known !== undefined) return known
    lastCall += 1
    calls.set(call, lastCall)
    return lastCall
  }

  const permitOf = (id: number, queuedMillis: number): Pacer.Permit => {
    let isSettled = false
    let pause: Effect.Effect<number> = Effect.succeed(0)
    return {
      queuedMillis,
      observe: (headers) => port.note("observe", { permit: id, headers }),
      settle: (ending, _, random) => {
        if (isSettled) return 0
        isSettled = true
        const body = { permit: id, ending: Queues.encodeEnding(ending), random }
        const isPaused = ending.error?._tag === "RateLimited" && ending.error.hint === undefined
        if (!isPaused) {
          port.note("settle", body)
          return 0
        }
        // The question goes now; its answer is awaited by those who want to know.
        let told: number | undefined
        let hear: (millis: number) => void = () => {}
        port.post("settle", body, (value) => {
          told = typeof value === "number" ? value : 0
          hear(told)
        })
        pause = Effect.async((resume) => {
          if (told !== undefined) return resume(Effect.succeed(told))
          hear = (millis) => resume(Effect.succeed(millis))
        })
        return 0
      },
      pause: () => pause
    }
  }

  const acquire =
    (name: string): Pacer.Pacer["acquire"] =>
    (options, granted) =>
      Effect.withFiberRuntime((fiber) => {
        const clock = Context.get(fiber.currentDefaultServices, Clock.Clock)
        const { place, ...asked } = options
        const body = {
          pacer: name,
          key: asked.key,
          provider: asked.provider,
          model: asked.model,
          inputTokens: PacerRequest.count(asked.inputTokens),
          outputTokens: PacerRequest.count(asked.outputTokens),
          place: numberOf(place),
          left: Deadline.of(fiber.currentContext).at - Times.now(clock)
        }
        return Effect.async<Pacer.Permit, PacerRequest.Refusal>((resume) => {
          const id = port.post("acquire", body, (value) => {
            const read = answered(value)
            if (Either.isRight(read) && read.right.refused !== undefined) return resume(Effect.fail(read.right.refused))
            const permit =
              Either.isLeft(read) || read.right.queuedMillis === undefined
                ? free
                : permitOf(id, read.right.queuedMillis)
            granted?.(permit)
            resume(Effect.succeed(permit))
          })
          return Effect.sync(() => {
            port.forget(id)
            port.note("unasked", id)
          })
        })
      })

  const pace =
    (name: string) =>
    <A, E, R>(
      self: Effect.Effect<A, E, R>,
      options: Pacer.PaceOptions<A>
    ): Effect.Effect<A, E | PacerRequest.Refusal, R> =>
      Effect.uninterruptibleMask((restore) => {
        let late: Pacer.Permit | undefined
        const acquired = acquire(name)(options, (permit) => {
          late = permit
        })
        return Effect.matchCauseEffect(restore(acquired), {
          onFailure: (cause) => {
            late?.settle({ sent: false }, 0, 0)
            return Effect.failCause(cause)
          },
          onSuccess: (permit) =>
            Effect.flatMap(Effect.exit(restore(Effect.provideService(self, CurrentPlace, permit))), (exit) =>
              settled(permit, exit, options.usage)
            )
        })
      })

  return (name, limits) =>
    Effect.sync(() => {
      port.note("pacer", { pacer: name, limits: Queues.encodeLimits(limits) })
      const states = port.ask("pacers", name, States).pipe(
        Effect.map((all) => new Map<string, Pacer.State>(all)),
        Effect.catchTag("Lost", (lost: Lost) =>
          Effect.as(Effect.logWarning("the queues cannot be told", lost), new Map<string, Pacer.State>())
        )
      )
      return {
        pace: dual((args) => Effect.isEffect(args[0]), pace(name)),
        acquire: acquire(name),
        readyAt: (key) => ready.get(`${name}\n${key}`) ?? 0,
        state: (key) => Effect.map(states, (all) => all.get(key) ?? unknown),
        states
      }
    })
}
