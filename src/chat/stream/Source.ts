/**
 * Sources: streams that are not yet opened.
 *
 * A source of this module ({@link make}) is opened by a plain function call, which gets the context as a value and a
 * list of finalizers ({@link Closing}). Any other effect that returns a pull in a scope is a source too; it gets a
 * scope of its own. In both, the end of the stream runs the finalizers, the last one first.
 *
 * @since 0.2.0
 */

import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Effectable from "effect/Effectable"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import type { LlmError } from "../../errors/LlmError.js"
import * as FiberInternals from "../../policies/FiberInternals.js"
import { exitOf } from "../../policies/Immediate.js"
import * as Pull from "./Pull.js"

/**
 * Opens a stream. Nothing is sent before the first pull. Closing the scope releases the stream's resources.
 *
 * @since 0.2.0
 * @category models
 */
export type Source = Effect.Effect<Pull.Pull, never, Scope.Scope>

type AnyExit = Exit.Exit<unknown, unknown>

/** Releases something at the end of a stream. Returns the remaining work, if any. */
type Finalizer = (exit: AnyExit) => Effect.Effect<unknown> | undefined

/**
 * The finalizers of a stream: a `Scope` without a runtime step for those that are done at once.
 *
 * @internal
 */
export class Closing {
  private readonly finalizers: Array<Finalizer> = []
  private failed: Cause.Cause<never> | undefined

  add(finalizer: Finalizer): void {
    this.finalizers.push(finalizer)
  }

  /** Runs all finalizers, also if one of them dies. Returns the remaining work, if any. */
  close(exit: AnyExit): Effect.Effect<void> | undefined {
    for (;;) {
      const finalizer = this.finalizers.pop()
      if (finalizer === undefined) break
      const run = finalizing(finalizer, exit)
      if (run === undefined) continue
      const done = exitOf(run)
      if (done !== undefined) this.note(done)
      else {
        return Effect.uninterruptible(
          Effect.flatMap(Effect.exit(run), (done) => {
            this.note(done)
            return this.close(exit) ?? Effect.void
          })
        )
      }
    }
    const { failed } = this
    this.failed = undefined
    return failed === undefined ? undefined : Exit.failCause(failed)
  }

  private note(exit: Exit.Exit<unknown>): void {
    if (Exit.isFailure(exit)) {
      this.failed = this.failed === undefined ? exit.cause : Cause.sequential(this.failed, exit.cause)
    }
  }
}

const finalizing = (finalizer: Finalizer, exit: AnyExit): ReturnType<Finalizer> => {
  try {
    return finalizer(exit)
  } catch (defect) {
    return Exit.die(defect)
  }
}

/**
 * What a source is opened with.
 *
 * @internal
 */
export interface Opening {
  /** The fiber that opens it, for its clock, tracer and log level. */
  readonly fiber: Fiber.RuntimeFiber<unknown, unknown>
  /** The context to open it under, which is not that of the fiber. */
  readonly context: Context.Context<never>
  /** The finalizers of the stream. */
  readonly closing: Closing
}

class Made extends Effectable.Class<Pull.Pull, never, Scope.Scope> {
  constructor(readonly open: (opening: Opening) => Effect.Effect<Pull.Pull>) {
    super()
  }
  commit(): Source {
    return Effect.withFiberRuntime<Pull.Pull, never, Scope.Scope>((fiber) => {
      const context = fiber.currentContext as Context.Context<Scope.Scope>
      const closing = new Closing()
      const close = (exit: AnyExit): Effect.Effect<void> => closing.close(exit) ?? Effect.void
      return Effect.zipRight(
        Scope.addFinalizerExit(Context.get(context, Scope.Scope), close),
        Effect.suspend(() => this.open({ fiber, context, closing }))
      )
    })
  }
}

/**
 * A source that is opened by a function: with an exit, if it does not wait.
 *
 * @internal
 */
export const make = (open: (opening: Opening) => Effect.Effect<Pull.Pull>): Source => new Made(open)

/**
 * Opens a source.
 *
 * @internal
 */
export const open = (source: Source, opening: Opening): Effect.Effect<Pull.Pull> => {
  if (source instanceof Made) {
    try {
      return source.open(opening)
    } catch (defect) {
      return Exit.die(defect)
    }
  }
  return Effect.flatMap(Scope.make(), (scope) => {
    opening.closing.add((exit) => Scope.close(scope, exit))
    return Effect.mapInputContext(source, () => FiberInternals.added(opening.context, Scope.Scope, scope))
  })
}

/**
 * A source that fails at the first pull.
 *
 * @internal
 */
export const failing = (error: LlmError): Source => make(() => Exit.succeed(Exit.fail(Option.some(error))))

/**
 * Opens a source under another context.
 *
 * @internal
 */
export const under = (source: Source, change: (context: Context.Context<never>) => Context.Context<never>): Source =>
  make((opening) => open(source, { ...opening, context: change(opening.context) }))

/**
 * Puts a layer around the pull of a source.
 *
 * @internal
 */
export const map = (source: Source, f: (pull: Pull.Pull) => Pull.Pull): Source =>
  make((opening) => Pull.ended(open(source, opening), Exit.map(f)))
