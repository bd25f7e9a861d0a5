/**
 * Pulls that cost the runtime little: the work of all layers on a chunk is done in one go.
 *
 * A pull of this module ({@link make}) tells what it does next as an effect. If that is already an exit, the layers
 * around it go on with plain function calls. If it waits, each layer adds its step to a list, and the runtime sees one
 * effect: the wait, and all steps after it. So a stream below five combinators takes as many runtime steps for a token
 * as a leaf. Any other effect is a pull too, and costs what it costs.
 *
 * A wait for something outside ({@link awaiting}) runs the steps where the answer comes, and enters the runtime only
 * for what they cannot do at once. So a reader with a plain function takes no runtime step for a token.
 *
 * @since 0.2.0
 */

import * as Cause from "effect/Cause"
import type * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Effectable from "effect/Effectable"
import * as Exit from "effect/Exit"
import type * as Option from "effect/Option"
import type { LlmError } from "../../errors/LlmError.js"
import * as FiberInternals from "../../policies/FiberInternals.js"
import { exitOf } from "../../policies/Immediate.js"
import type * as Chat from "../Chat.js"

/**
 * A chunk of events.
 *
 * @since 0.2.0
 * @category models
 */
export type Events = Chunk.NonEmptyChunk<Chat.Event>

/**
 * Reads the next events. Fails with `None` at the end of the stream.
 *
 * @since 0.2.0
 * @category models
 */
export type Pull = Effect.Effect<Events, Option.Option<LlmError>>

type Step<A, E, B, E2, R> = (exit: Exit.Exit<A, E>) => Effect.Effect<B, E2, R>

type AnyStep = Step<unknown, unknown, unknown, unknown, unknown>

/** A pull, made anew for each chunk. */
class Made<A, E> extends Effectable.Class<A, E> {
  constructor(readonly next: () => Effect.Effect<A, E>) {
    super()
  }
  commit(): Effect.Effect<A, E> {
    return this.next()
  }
}

/** Begins to wait for one answer. */
type Register<A, E> = (answer: (exit: Exit.Exit<A, E>) => void) => void

/** A wait for something outside. */
class Awaiting<A, E> extends Effectable.Class<A, E> {
  constructor(readonly register: Register<A, E>) {
    super()
  }
  commit(): Effect.Effect<A, E> {
    return FiberInternals.suspended((resume) => this.register(resume))
  }
}

/** A wait, and the steps after it, the innermost first. It runs once, so that whoever gets it may add a step. */
class Waiting extends Effectable.Class<unknown, unknown, unknown> {
  constructor(
    readonly wait: Effect.Effect<unknown, unknown, unknown>,
    readonly steps: Array<AnyStep>
  ) {
    super()
  }
  commit(): Effect.Effect<unknown, unknown, unknown> {
    const { steps, wait } = this
    if (wait instanceof Awaiting) return FiberInternals.suspended((resume) => listen(wait, steps, resume))
    return Effect.matchCauseEffect(this.wait, {
      onSuccess: (value) => run(steps, Exit.succeed(value)),
      onFailure: (cause) => run(steps, Exit.failCause(cause))
    })
  }
}

/** Runs the steps where the answer comes, and the steps of the waits after it; `resume` gets the first other effect. */
const listen = (
  wait: Awaiting<unknown, unknown>,
  steps: Array<AnyStep>,
  resume: (next: Effect.Effect<unknown, unknown, unknown>) => void
): void =>
  wait.register((exit) => {
    const next = run(steps, exit)
    if (next instanceof Waiting && next.wait instanceof Awaiting) listen(next.wait, next.steps, resume)
    else resume(next)
  })

const run = (steps: Array<AnyStep>, from: Exit.Exit<unknown, unknown>): Effect.Effect<unknown, unknown, unknown> => {
  let exit = from
  for (let index = 0; index < steps.length; index++) {
    const next = called(steps[index] as AnyStep, exit)
    const done = exitOf(next)
    if (done === undefined) return followed(next, steps.slice(index + 1))
    exit = done
  }
  return exit
}

const followed = (
  self: Effect.Effect<unknown, unknown, unknown>,
  steps: Array<AnyStep>
): Effect.Effect<unknown, unknown, unknown> => {
  if (steps.length === 0) return self
  if (!(self instanceof Waiting)) return new Waiting(self, steps)
  self.steps.push(...steps)
  return self
}

/** A layer that throws is a defect of the stream: the layers around it see it. */
const called = <A, B>(f: (value: A) => B, value: A): B | Exit.Exit<never> => {
  try {
    return f(value)
  } catch (defect) {
    return Exit.die(defect)
  }
}

/**
 * Waits for something outside, without a cancellation: an answer after an interruption is ignored. `register` must not
 * answer before it returns, because the stack would grow with each answer.
 *
 * @internal
 */
export const awaiting = <A, E>(register: Register<A, E>): Effect.Effect<A, E> => new Awaiting(register)

/**
 * A pull that asks `next` what to do for each chunk.
 *
 * @internal
 */
export const make = <A, E>(next: () => Effect.Effect<A, E>): Effect.Effect<A, E> => new Made(next)

/**
 * What a pull does next: an exit if it is done at once. The effect must be run, or given on, exactly once.
 *
 * @internal
 */
export const nextOf = <A, E>(pull: Effect.Effect<A, E>): Effect.Effect<A, E> => {
  if (!(pull instanceof Made)) return pull
  try {
    return pull.next()
  } catch (defect) {
    return Exit.die(defect)
  }
}

/**
 * Continues with the exit of what {@link nextOf} gave.
 *
 * @internal
 */
export const ended = <A, E, B, E2, R = never>(
  self: Effect.Effect<A, E, R>,
  then: Step<A, E, B, E2, R>
): Effect.Effect<B, E2, R> => {
  const exit = exitOf(self)
  if (exit !== undefined) return called(then, exit)
  return followed(
    self as Effect.Effect<unknown, unknown, unknown>,
    // The step gets the exit of the effect that it was made for.
    [then as unknown as AnyStep]
  ) as Effect.Effect<B, E2, R>
}

/**
 * A layer around a pull: `then` continues with the exit of each chunk.
 *
 * @internal
 */
export const layered = <A, E, B, E2>(pull: Effect.Effect<A, E>, then: Step<A, E, B, E2, never>): Effect.Effect<B, E2> =>
  make(() => ended(nextOf(pull), then))

/**
 * Changes the errors of a pull.
 *
 * @internal
 */
export const mapError = (pull: Pull, f: (error: Option.Option<LlmError>) => Option.Option<LlmError>): Pull =>
  layered(pull, (exit) => (Exit.isFailure(exit) ? Exit.failCause(Cause.map(exit.cause, f)) : exit))

/**
 * Pulls until `take` returns what the loop ends with; `undefined` asks for the next chunk. As many chunks as are there
 * at once are taken in a loop.
 *
 * @internal
 */
export const loop = <A, E, B, E2, R = never>(
  pull: () => Effect.Effect<A, E>,
  take: (exit: Exit.Exit<A, E>) => Effect.Effect<B, E2, R> | undefined
): (() => Effect.Effect<B, E2, R>) => {
  const step = (exit: Exit.Exit<A, E>): Effect.Effect<B, E2, R> => take(exit) ?? next()
  const next = (): Effect.Effect<B, E2, R> => {
    for (;;) {
      const pulled = nextOf(pull())
      const exit = exitOf(pulled)
      if (exit === undefined) return ended(pulled as Effect.Effect<A, E, R>, step)
      const taken = called(take, exit)
      if (taken !== undefined) return taken
    }
  }
  return next
}
