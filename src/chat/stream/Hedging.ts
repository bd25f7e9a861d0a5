/**
 * The race of two streams to their first content: asks a second target when the first one is late, and reads on from
 * whichever speaks first.
 *
 * `Hedge` says when, the `RetryBudget` of the second target's group and its health say whether. Until the first content
 * both run in fibers and scopes of their own; then the loser is interrupted and its scope closed, before anything is
 * delivered. What is delivered comes from one attempt, as without a hedge.
 *
 * | while both run | then |
 * |---|---|
 * | one gives content | it is the answer; a hedge that wins gets back what it drew from the budget |
 * | the first fails | the hedge goes on alone, and its end counts |
 * | the hedge fails, or dies | the first goes on alone; the error stands in the evidence only |
 * | both fail | with the error of the first |
 * | the reader leaves | both end |
 *
 * A first that fails before it is late is not hedged: retry and fallback are for that. Nor is a request that may not
 * run twice, the rest of an answer that one target keeps, or a hedge itself.
 *
 * Both attempts are children of the same call. What the loser is known to have cost stands in its record, and is added
 * to the usage that the stream tells, as for every attempt that was lost.
 *
 * Gotchas: only streams are hedged, because a whole answer has no first token to see; `generate` never sends two
 * requests. Between the delay and the end of the race a target may have been paid for an answer that nobody reads.
 *
 * @example
 * import { ChatModel } from "effect-steadfast"
 *
 * declare const gpt: ChatModel.ChatModel
 * declare const claude: ChatModel.ChatModel
 *
 * const assistant = gpt.pipe(ChatModel.hedge(claude))
 *
 * @since 0.2.0
 */
import * as Cause from "effect/Cause"
import type * as Chunk from "effect/Chunk"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as ExecutionStrategy from "effect/ExecutionStrategy"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type * as FiberId from "effect/FiberId"
import * as Option from "effect/Option"
import * as Runtime from "effect/Runtime"
import * as Scope from "effect/Scope"
import * as Attempt from "../../calls/Attempt.js"
import * as Call from "../../calls/Call.js"
import * as Resilience from "../../calls/Resilience.js"
import type { LlmError } from "../../errors/LlmError.js"
import type * as Hedge from "../../policies/Hedge.js"
import { RetryBudgets } from "../../policies/retry/RetryBudget.js"
import * as Usage from "../../policies/Usage.js"
import type * as Chat from "../Chat.js"
import * as ChatStream from "./ChatStream.js"
import * as Replay from "./Replay.js"

/**
 * - `hedge`: what is known of this pair of targets. It is shared by all calls to them.
 * - `group`: whose retry budget a hedge draws on: the group of the second target.
 * - `healthy`: whether both targets take traffic, at a time in epoch milliseconds. Asked when a hedge is due.
 *
 * @since 0.2.0
 * @category options
 */
export interface Options {
  readonly hedge: Hedge.Hedge
  readonly group: string
  readonly healthy: (now: number) => boolean
}

type Open = (request: Chat.Request) => ChatStream.Source

type Progress = Replay.Progress["Type"]

type Events = Chunk.NonEmptyChunk<Chat.Event>

// -----------------------------------------------------------------------------
// one side
// -----------------------------------------------------------------------------

const clockOf = (fiber: Fiber.RuntimeFiber<unknown, unknown>): Clock.Clock =>
  Context.get(fiber.currentDefaultServices, Clock.Clock)

/** Takes the time of one side from now on, and tells it once. */
const watching = (hedge: Hedge.Hedge, side: Hedge.Side, clock: Clock.Clock) => {
  const start = clock.unsafeCurrentTimeMillis()
  let told = false
  return {
    told: () => told,
    tell: (answered: boolean): void => {
      if (told) return
      told = true
      const millis = clock.unsafeCurrentTimeMillis() - start
      if (answered) hedge.answered(side, millis)
      else hedge.silent(side, millis)
    }
  }
}

const hasContent = (events: Events): boolean => {
  for (const event of events) if (ChatStream.isContent(event) || event._tag === "Finish") return true
  return false
}

/** No hedge is possible: only the time to the first content is taken. */
const timed = (source: ChatStream.Source, hedge: Hedge.Hedge, scope: Scope.Scope): ChatStream.Source =>
  Effect.flatMap(source, (pull) => {
    let watch: ReturnType<typeof watching> | undefined
    const first: ChatStream.Pull = Effect.withFiberRuntime((fiber) => {
      const mine = watch ?? watching(hedge, "first", clockOf(fiber))
      watch = mine
      return Effect.map(pull, (events) => {
        if (hasContent(events)) mine.tell(true)
        return events
      })
    })
    // However it ended without content, it would have taken longer still.
    const ended = Effect.sync(() => watch?.tell(false))
    return Effect.as(
      Scope.addFinalizer(scope, ended),
      Effect.suspend(() => (watch?.told() === true ? pull : first))
    )
  })

/** The first content of a side, and what is to be read after it. */
interface Answer {
  readonly events: Events
  readonly pull: ChatStream.Pull
}

type Outcome = Exit.Exit<Answer, Option.Option<LlmError>>

type Reading = Effect.Effect<Answer, Option.Option<LlmError>>

const firstOf = (pull: ChatStream.Pull): Reading => Effect.map(pull, (events) => ({ events, pull }))

/** Reads to the first content in a scope, which is closed unless that comes. */
const ask = (scope: Scope.CloseableScope, reading: Reading): Reading =>
  Effect.onExit(reading, (exit) => (Exit.isSuccess(exit) ? Effect.void : Scope.close(scope, exit)))

/** Opens a source inside a scope, where it notes how far it came. */
const openIn = (
  scope: Scope.Scope,
  source: ChatStream.Source,
  context: Context.Context<never>,
  progress: Progress
): Effect.Effect<ChatStream.Pull> =>
  Effect.mapInputContext(ChatStream.held(source), () =>
    Context.add(Context.add(context, Scope.Scope, scope), Replay.Progress, progress)
  )

/**
 * A scope within another for what is opened by one fiber and closed by another, which it is in a fiber of its own: a
 * finalizer takes on the fiber refs under which it was added, and each time leaves some of them behind (effect 3.22),
 * so that a fiber which closes many of them becomes slow.
 */
const scopeIn = (outer: Scope.Scope): Effect.Effect<Scope.CloseableScope> =>
  Effect.tap(Scope.make(), (scope) =>
    Scope.addFinalizerExit(outer, (exit) => Effect.flatMap(Effect.fork(Scope.close(scope, exit)), Fiber.await))
  )

/** A side that is being asked. */
interface Running {
  readonly watch: ReturnType<typeof watching>
  readonly progress: Progress
  readonly fiber: Fiber.RuntimeFiber<Answer, Option.Option<LlmError>>
}

/** Ends a side at once, and answers with what waits until it has cleaned up behind itself. */
const leave = ({ fiber, watch }: Running, by: FiberId.FiberId): Effect.Effect<unknown> => {
  watch.tell(false)
  fiber.unsafeInterruptAsFork(by)
  return Fiber.await(fiber)
}

// -----------------------------------------------------------------------------
// the race
// -----------------------------------------------------------------------------

/** A hedge that was sent; `won` gives back what was drawn for it. */
interface Second extends Running {
  readonly won: () => void
}

interface Race {
  readonly reader: Fiber.RuntimeFiber<unknown, unknown>
  readonly runtime: Runtime.Runtime<never>
  readonly delay: number
  readonly first: Running
  /** Sends the hedge, if one may be sent now. */
  readonly launch: () => Second | undefined
  /** What the reader gets: how a side ended, and which side was left for it. */
  readonly deliver: (side: Running, outcome: Outcome, left: Running | undefined) => ChatStream.Pull
}

/** Waits for the first content of either side. */
const awaited = ({ delay, deliver, first, launch, reader, runtime }: Race): ChatStream.Pull =>
  Effect.async<Events, Option.Option<LlmError>>((resume) => {
    let second: Second | undefined
    /** How the first failed, where the hedge goes on alone. */
    let failed: Outcome | undefined
    /** Whether the hedge failed, so that the first goes on alone. */
    let alone = false
    let over = false
    let stop = (): void => {}

    const end = (side: Running, outcome: Outcome, other: Running | undefined): void => {
      over = true
      stop()
      side.watch.tell(Exit.isSuccess(outcome))
      if (other === undefined) {
        resume(deliver(side, outcome, undefined))
        return
      }
      resume(Effect.flatMap(leave(other, reader.id()), () => deliver(side, outcome, other)))
    }

    const onFirst = (outcome: Outcome): void => {
      if (over) return
      // A defect is a bug, which no other target mends.
      const mendable = Exit.isFailure(outcome) && Option.isSome(Cause.failureOption(outcome.cause))
      if (second !== undefined && !alone && mendable) {
        failed = outcome
        first.watch.tell(false)
      } else end(first, outcome, second)
    }

    const onSecond = (hedge: Second, outcome: Outcome): void => {
      if (over) return
      if (Exit.isSuccess(outcome)) {
        hedge.won()
        end(hedge, outcome, first)
      } else if (failed !== undefined) end(first, failed, hedge)
      else {
        alone = true
        hedge.watch.tell(false)
      }
    }

    const onLate = (): void => {
      const hedge = over ? undefined : launch()
      second = hedge
      hedge?.fiber.addObserver((outcome) => onSecond(hedge, outcome))
    }

    first.fiber.addObserver(onFirst)
    if (!over) stop = Resilience.startTimer(reader, runtime, delay, onLate)
    return Effect.suspend(() => {
      over = true
      stop()
      const left = leave(first, reader.id())
      return Effect.asVoid(second === undefined ? left : Effect.zipRight(left, leave(second, reader.id())))
    })
  })

/** The usage that was lost with the other side is told once: with the usage of this one, or before its end. */
const addingLost = (lost: Chat.Usage | undefined) => {
  let untold = lost
  return (events: Events): Events => {
    if (untold === undefined) return events
    const out: Array<Chat.Event> = []
    for (const event of events) {
      if (event._tag === "Usage") {
        out.push({ _tag: "Usage", usage: Usage.add(untold, event.usage) ?? event.usage })
        untold = undefined
      } else {
        if (event._tag === "Finish" && untold !== undefined) out.push({ _tag: "Usage", usage: untold })
        out.push(event)
      }
    }
    return ChatStream.toChunk(out)
  }
}

const begun: Progress["cursor"] = { inside: "nothing", usage: undefined }

const racing = (
  first: Open,
  second: Open,
  request: Chat.Request,
  delay: number,
  { group, healthy, hedge }: Options,
  context: Context.Context<never>,
  outer: Scope.Scope
): ChatStream.Source => {
  const above = Call.peek(context, Replay.Progress)
  const progress = above ?? { cursor: begun }
  /** What is read from now on, once it is known who is. */
  let rest: ChatStream.Pull | undefined

  /** Whoever replays us finds where the stream stood that broke, with what was lost on the other side. */
  const report = ({ progress }: Running, lost: Chat.Usage | undefined): void => {
    if (above === undefined) return
    const usage = Usage.add(lost, progress.cursor.usage)
    // The rest of an answer would be asked for at the first target, which does not have that of the second.
    above.cursor = progress === above ? { ...above.cursor, usage } : { inside: progress.cursor.inside, usage }
  }

  const deliver: Race["deliver"] = (side, outcome, left) => {
    const lost = left?.progress.cursor.usage
    if (Exit.isFailure(outcome)) {
      report(side, lost)
      rest = Effect.failCause(outcome.cause)
      return rest
    }
    const { events, pull } = outcome.value
    if (left === undefined) {
      rest = pull
      return Effect.succeed(events)
    }
    const adding = addingLost(lost)
    rest = Effect.mapBoth(pull, {
      onSuccess: adding,
      onFailure: (failure) => {
        report(side, lost)
        return failure
      }
    })
    return Effect.succeed(adding(events))
  }

  const begin = (scope: Scope.CloseableScope, pull: ChatStream.Pull): ChatStream.Pull =>
    Effect.withFiberRuntime((reader) => {
      const clock = clockOf(reader)
      const runtime = Runtime.make({
        context: reader.currentContext as Context.Context<never>,
        fiberRefs: reader.getFiberRefs(),
        runtimeFlags: Runtime.defaultRuntimeFlags
      })
      const run = (side: Hedge.Side, asking: Reading, progress: Progress) => ({
        watch: watching(hedge, side, clock),
        progress,
        fiber: Runtime.runFork(runtime)(asking)
      })
      const launch = (): Second | undefined => {
        const now = clock.unsafeCurrentTimeMillis()
        const budget = Context.get(context, RetryBudgets).of(group, clock)
        if (!healthy(now) || !hedge.launch(() => budget.draw(now))) return undefined
        const progress = { cursor: begun }
        const inside = Context.add(context, Attempt.Extra, { reason: "hedge" })
        const asking = Effect.flatMap(scopeIn(outer), (scope) =>
          ask(scope, Effect.flatMap(openIn(scope, second(request), inside, progress), firstOf))
        )
        return {
          ...run("second", hedging(asking, delay), progress),
          won: () => budget.refund(clock.unsafeCurrentTimeMillis())
        }
      }
      const mine = run("first", ask(scope, firstOf(pull)), progress)
      const outcome = mine.fiber.unsafePoll()
      if (outcome === null) return awaited({ reader, runtime, delay, first: mine, launch, deliver })
      mine.watch.tell(Exit.isSuccess(outcome))
      return deliver(mine, outcome, undefined)
    })

  return Effect.flatMap(Scope.fork(outer, ExecutionStrategy.sequential), (scope) =>
    Effect.map(openIn(scope, first(request), context, progress), (pull) => {
      const beginning = begin(scope, pull)
      return Effect.suspend(() => rest ?? beginning)
    })
  )
}

/** A hedge that fails is in the record of the call. One that dies outside of an attempt would be nowhere. */
const hedging = <A, E>(asking: Effect.Effect<A, E>, delay: number): Effect.Effect<A, E> =>
  Effect.zipRight(
    Effect.logDebug(`no first token within ${Math.round(delay)}ms: asking another target too`),
    Effect.tapDefect(asking, (cause) => Effect.logWarning("a hedge died", cause))
  )

// -----------------------------------------------------------------------------
// the combinator
// -----------------------------------------------------------------------------

/**
 * A stream of the first target, and of the second where the first is late and `Hedge` finds it worth it.
 *
 * @since 0.2.0
 * @category combinators
 */
export const source = (first: Open, second: Open, request: Chat.Request, options: Options): ChatStream.Source =>
  Effect.withFiberRuntime<ChatStream.Pull, never, Scope.Scope>((fiber) => {
    const context = fiber.currentContext
    // How soon the rest of an answer comes says nothing of other calls.
    if (Call.peek(context, Replay.Resume) !== undefined) return first(request)
    const outer = Context.get(context as Context.Context<Scope.Scope>, Scope.Scope)
    const may = request.idempotent !== false && Call.peek(context, Attempt.Extra)?.reason !== "hedge"
    const delay = may ? options.hedge.begin() : undefined
    return delay === undefined
      ? timed(first(request), options.hedge, outer)
      : racing(first, second, request, delay, options, context, outer)
  })
