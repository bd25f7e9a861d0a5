/**
 * The time limits of a stream: to its first content, between its content, and to its end.
 *
 * A limit is a `Deadline` in the context of the opening. It moves with each pull, because only the time counts in which
 * the reader waits; and with each sign of life (`Life`), so that a tool call may take its time to become whole.
 *
 * @since 0.2.0
 */

import * as Chunk from "effect/Chunk"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberId from "effect/FiberId"
import * as Option from "effect/Option"
import * as Resilience from "../../calls/Resilience.js"
import type { LlmError, TimeoutPhase } from "../../errors/LlmError.js"
import * as Deadline from "../../policies/Deadline.js"
import * as FiberInternals from "../../policies/FiberInternals.js"
import * as TimeLimit from "../../policies/TimeLimit.js"
import * as Times from "../../policies/Times.js"
import * as Life from "./Life.js"
import * as Pull from "./Pull.js"
import * as Source from "./Source.js"

/**
 * The time limits of a stream, in milliseconds. Default for each: no limit.
 *
 * @since 0.1.0
 * @category models
 */
export interface TimeLimits {
  /** The longest time of one attempt. */
  readonly attempt?: number | undefined
  /** The longest time of all attempts and waits together. */
  readonly total?: number | undefined
  /** The longest time to the first content, or to what shows before it that the answer comes (`Life`). */
  readonly firstToken?: number | undefined
  /** The longest time between such signs. Only the time during which the reader waits counts. */
  readonly idle?: number | undefined
}

/**
 * The limit of a stream, which moves with each pull and each sign of life. The source gets it when it is opened; each
 * wait reads it.
 */
class PullLimit implements Deadline.Limit {
  /** The end of the time of this pull, in milliseconds. */
  private own = Number.POSITIVE_INFINITY
  private length = Number.POSITIVE_INFINITY
  phase: TimeoutPhase
  expired?: LlmError
  asked?: NonNullable<Deadline.Limit["asked"]>
  readonly outer: Deadline.Limit
  private readonly named: Resilience.Named

  constructor(outer: Deadline.Limit, phase: TimeoutPhase, named: Resilience.Named) {
    this.outer = outer
    this.phase = phase
    this.named = named
  }

  get at(): number {
    return Math.min(this.own, this.outer.at)
  }

  set(at: number, length: number, phase: TimeoutPhase): void {
    this.own = at
    this.length = length
    this.phase = phase
  }

  error(asked: Deadline.Limit["asked"]): LlmError {
    return Resilience.timeUp(this.length, this.phase, this.named)(asked)
  }
}

/** The most events that a reader gets before it is known how long it takes for one. */
const firstPortion = 16

/**
 * Hands out events so that the reader comes back before the end of the time. A reader that is slower than the server
 * never waits, so no timer looks at it; and it would read all that came meanwhile without looking at the time.
 */
class Portions {
  private rest: Pull.Events | undefined
  private finished = false
  /** When the last portion was handed out, and how many events it had. */
  private at = 0
  private size = 0
  /** When the reader came back for more. */
  private back = 0

  constructor(
    private readonly clock: Clock.Clock,
    private readonly latest: () => number
  ) {}

  /** Whether the time is up before the end of the answer has been handed out. */
  isLate(): boolean {
    const latest = this.latest()
    if (latest === Infinity || this.finished) return false
    this.back = Times.now(this.clock)
    return this.back >= latest
  }

  /** The events that are left of those that came. */
  next(): Exit.Exit<Pull.Events> | undefined {
    return this.rest === undefined ? undefined : this.take(this.rest)
  }

  /** As many of the events as the reader can read in time, at least one. */
  take(events: Pull.Events): Exit.Exit<Pull.Events> {
    const latest = this.latest()
    if (latest === Infinity) return Exit.succeed(events)
    const now = Times.now(this.clock)
    const each = this.size === 0 ? 0 : (this.back - this.at) / this.size
    const most = this.size === 0 ? firstPortion : each > 0 ? Math.max(1, Math.floor((latest - now) / each)) : Infinity
    const isAll = events.length <= most
    const portion = isAll ? events : (Chunk.take(events, most) as Pull.Events)
    this.rest = isAll ? undefined : (Chunk.drop(events, most) as Pull.Events)
    this.at = now
    this.size = portion.length
    this.finished = Chunk.unsafeGet(portion, portion.length - 1)._tag === "Finish"
    return Exit.succeed(portion)
  }
}

/**
 * Ends a stream that exceeds a limit with the `Timeout` of that limit. The source keeps limits.
 *
 * @since 0.1.0
 * @category combinators
 */
export const limited = (source: Source.Source, limits: TimeLimits, named: Resilience.Named): Source.Source =>
  Source.make((opening) => {
    const { context, fiber } = opening
    const clock = Context.get(fiber.currentDefaultServices, Clock.Clock)
    const start = Times.now(clock)
    const phase: TimeoutPhase = limits.attempt === undefined ? "total" : "attempt"
    const { attempt = Infinity, firstToken = Infinity, idle = Infinity, total = Infinity } = limits
    const whole = Math.min(attempt, total)
    const limit = new PullLimit(Deadline.of(context), phase, named)
    let first = true
    const end = start + whole
    /** The nearest end of the whole time. A limit without an error ends nothing. */
    const latest = (): number => (limit.outer.error === undefined ? end : Math.min(end, limit.outer.at))
    const portions = new Portions(clock, latest)
    const begin = (): void => {
      const length = first ? firstToken : idle
      const at = length === Infinity ? length : length + (first ? start : Times.now(clock))
      if (at < end) limit.set(at, length, first ? "first-token" : "idle")
      else limit.set(end, whole, phase)
    }
    begin()
    const onLife = (): void => {
      first = false
      begin()
    }
    const inner = FiberInternals.added(context, Deadline.Deadline, limit)
    const moves = firstToken < Infinity || idle < Infinity
    return Pull.ended(
      Source.open(source, { ...opening, context: moves ? Life.heard(inner, onLife) : inner }),
      Exit.map((pull): Pull.Pull => {
        const onExit = (exit: Exit.Exit<Pull.Events, Option.Option<LlmError>>) => {
          if (Exit.isFailure(exit)) return TimeLimit.named(limit, exit, Option.some)
          first = false
          return portions.take(exit.value)
        }
        return Pull.make(() => {
          if (portions.isLate()) {
            limit.set(end, whole, phase)
            Deadline.expire(limit)
            return TimeLimit.named(limit, Exit.interrupt(FiberId.none), Option.some)
          }
          const rest = portions.next()
          if (rest !== undefined) return rest
          begin()
          return Pull.ended(Pull.nextOf(pull), onExit)
        })
      })
    )
  })

/**
 * A source that keeps no limits itself, under the limit in force at its opening.
 *
 * @internal
 */
export const kept = (source: Source.Source): Source.Source =>
  Source.make((opening) => {
    const { context } = opening
    const opened = Source.open(source, opening)
    return Deadline.of(context) === Deadline.none
      ? opened
      : Pull.ended(
          opened,
          Exit.map((pull) => Effect.mapInputContext(TimeLimit.kept(pull), (_: Context.Context<never>) => context))
        )
  })
