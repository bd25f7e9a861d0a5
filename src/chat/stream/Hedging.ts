/**
 * The race of two streams to their first content: if the first target is late, a second one is asked, and the first to
 * answer wins.
 *
 * `Hedge` decides when; the `RetryBudget` of the second target's group and the health of both decide whether. Until
 * the first content each side runs in its own fiber and scope. Then the loser is interrupted and its scope closed,
 * before anything is delivered. All delivered events come from one attempt, as without a hedge.
 *
 * | while both run | then |
 * |---|---|
 * | a side delivers content | it wins; a winning hedge returns its draw to the budget |
 * | the first fails | the hedge goes on alone |
 * | the hedge fails, or dies | the first goes on alone; the hedge's error is only recorded |
 * | both fail | the stream fails with the error of the first |
 * | the reader leaves | both are interrupted |
 *
 * A first side that shows life (`Life`) before the delay, as by the arguments of a tool call, is answering: no hedge is
 * sent, and its time is that of the first sign. Once both run, only content wins, whichever side showed life before.
 *
 * If the first side fails before the delay, no hedge is sent: retry and fallback handle that. No hedge is sent either
 * for a request that is not idempotent, for the rest of a stored answer, or for an attempt that is itself a hedge.
 *
 * Both attempts belong to the same call. The loser's reported usage stands in its attempt record, and is added to the
 * usage of the stream.
 *
 * Gotchas: only streams are hedged, because a whole answer has no first token; `generate` never sends two requests. A
 * target may charge for an answer that it began between the delay and the end of the race.
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
import type { LlmError } from "../../errors/LlmError.js"
import * as FiberInternals from "../../policies/FiberInternals.js"
import type * as Hedge from "../../policies/Hedge.js"
import { RetryBudgets } from "../../policies/retry/RetryBudget.js"
import * as TimeLimit from "../../policies/TimeLimit.js"
import * as Times from "../../policies/Times.js"
import * as Usage from "../../policies/Usage.js"
import type * as Chat from "../Chat.js"
import * as ChatStream from "./ChatStream.js"
import * as Layers from "./Layers.js"
import * as Life from "./Life.js"
import * as Replay from "./Replay.js"
import * as Stopwatch from "./Stopwatch.js"
import * as StreamDecoder from "./StreamDecoder.js"

/**
 * The options of {@link source}.
 *
 * @since 0.2.0
 * @category options
 */
export interface Options {
  /** The statistics of this pair of targets, shared by all calls to it. */
  readonly hedge: Hedge.Hedge
  /** The group whose retry budget a hedge draws on: that of the second target. */
  readonly group: string
  /** Whether both targets take traffic at a time in epoch milliseconds. Called when a hedge is due. */
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

const hasContent = (events: Events): boolean => {
  for (const event of events) if (ChatStream.isContent(event) || event._tag === "Finish") return true
  return false
}

/** A stream that cannot be hedged: only its time to the first sign of life is measured. */
const timed = (source: ChatStream.Source, hedge: Hedge.Hedge, scope: Scope.Scope): ChatStream.Source => {
  let watch: Stopwatch.Stopwatch | undefined
  const listening = Effect.mapInputContext(source, (context: Context.Context<Scope.Scope>) =>
    Life.heard(context, () => watch?.alive())
  )
  return Effect.flatMap(listening, (pull) => {
    const first: ChatStream.Pull = Effect.withFiberRuntime((fiber) => {
      const mine = watch ?? Stopwatch.start(hedge, "first", clockOf(fiber))
      watch = mine
      return Effect.map(pull, (events) => {
        if (hasContent(events)) mine.stop(true)
        return events
      })
    })
    // A stream that ended without content would have taken longer still.
    const ended = Effect.sync(() => watch?.stop(false))
    return Effect.as(
      Scope.addFinalizer(scope, ended),
      Effect.suspend(() => (watch?.stopped() === true ? pull : first))
    )
  })
}

/** The first content of a side, and the pull for the events after it. */
interface Answer {
  readonly events: Events
  readonly pull: ChatStream.Pull
}

type Reading = Effect.Effect<Answer, Option.Option<LlmError>>

type AnswerExit = Exit.Exit<Answer, Option.Option<LlmError>>

/** Reads to the first content. Closes the scope on any other end. */
const answerIn = (scope: Scope.CloseableScope, opened: Effect.Effect<ChatStream.Pull>): Reading =>
  Effect.onExit(
    Effect.flatMap(opened, (pull) => Effect.map(pull, (events) => ({ events, pull }))),
    (exit) => (Exit.isSuccess(exit) ? Effect.void : Scope.close(scope, exit))
  )

/** Opens a source inside a scope, with its own progress. `onLife` is told of its life. */
const openIn = (
  scope: Scope.Scope,
  source: ChatStream.Source,
  context: Context.Context<never>,
  progress: Progress,
  onLife: () => void
): Effect.Effect<ChatStream.Pull> =>
  Effect.mapInputContext(ChatStream.held(source), () =>
    Life.heard(
      FiberInternals.added(FiberInternals.added(context, Scope.Scope, scope), Replay.Progress, progress),
      onLife
    )
  )

/**
 * A scope within another that is opened by one fiber and closed by another. It is closed in a fiber of its own: a
 * finalizer takes on the fiber refs under which it was added, and each time leaves some of them behind (effect 3.22),
 * so that a fiber that closes many of them becomes slow.
 */
const scopeIn = (outer: Scope.Scope): Effect.Effect<Scope.CloseableScope> =>
  Effect.tap(Scope.make(), (scope) =>
    Scope.addFinalizerExit(outer, (exit) => Effect.flatMap(Effect.fork(Scope.close(scope, exit)), Fiber.await))
  )

/** A side that runs. */
interface Running {
  readonly watch: Stopwatch.Stopwatch
  readonly progress: Progress
  readonly fiber: Fiber.RuntimeFiber<Answer, Option.Option<LlmError>>
  /** Called when this side wins the race. */
  readonly won: () => void
}

/** Interrupts a side at once. The effect waits until its finalizers have run. */
const leave = ({ fiber, watch }: Running, by: FiberId.FiberId): Effect.Effect<unknown> => {
  watch.stop(false)
  fiber.unsafeInterruptAsFork(by)
  return Fiber.await(fiber)
}

// -----------------------------------------------------------------------------
// the race
// -----------------------------------------------------------------------------

/** Makes the reader's pull from the exit of the side that counts; `loser` was interrupted for it. */
type Deliver = (side: Running, exit: AnswerExit, loser: Running | undefined) => ChatStream.Pull

/** Waits for the first content of either side. `launch` sends the hedge, if one may be sent now. */
const race = (
  reader: Fiber.RuntimeFiber<unknown, unknown>,
  delay: number,
  first: Running,
  launch: () => Running | undefined,
  deliver: Deliver
): ChatStream.Pull =>
  Effect.async<Events, Option.Option<LlmError>>((resume) => {
    let second: Running | undefined
    /** The failure of the first, while the hedge goes on alone. */
    let firstFailure: AnswerExit | undefined
    let secondFailed = false
    let over = false
    let stopTimer = (): void => {}

    const end = (side: Running, exit: AnswerExit, other: Running | undefined): void => {
      over = true
      stopTimer()
      side.watch.stop(Exit.isSuccess(exit))
      if (Exit.isSuccess(exit)) side.won()
      const left = other === undefined ? Effect.void : leave(other, reader.id())
      resume(Effect.flatMap(left, () => deliver(side, exit, other)))
    }

    const onFirst = (exit: AnswerExit): void => {
      if (over) return
      // A defect is a bug, which another target does not fix.
      const failed = Exit.isFailure(exit) && Option.isSome(Cause.failureOption(exit.cause))
      if (second !== undefined && !secondFailed && failed) {
        firstFailure = exit
        first.watch.stop(false)
      } else end(first, exit, second)
    }

    const onSecond = (hedge: Running, exit: AnswerExit): void => {
      if (over) return
      if (Exit.isSuccess(exit)) end(hedge, exit, first)
      else if (firstFailure !== undefined) end(first, firstFailure, hedge)
      else {
        secondFailed = true
        hedge.watch.stop(false)
      }
    }

    const onLate = (): void => {
      const hedge = over || first.watch.stopped() ? undefined : launch()
      second = hedge
      hedge?.fiber.addObserver((exit) => onSecond(hedge, exit))
    }

    first.fiber.addObserver(onFirst)
    if (!over) stopTimer = TimeLimit.startTimer(TimeLimit.timeOf(reader), delay, onLate)
    return Effect.suspend(() => {
      over = true
      stopTimer()
      const left = leave(first, reader.id())
      return Effect.asVoid(second === undefined ? left : Effect.zipRight(left, leave(second, reader.id())))
    })
  })

/** Adds the usage of the loser once: to the first usage of the winner, or before its `Finish`. */
const addingLost = (lost: Chat.Usage | undefined) => {
  let rest = lost
  return (events: Events): Events => {
    if (rest === undefined) return events
    const out: Array<Chat.Event> = []
    for (const event of events) {
      if (event._tag === "Usage") {
        out.push({ _tag: "Usage", usage: Usage.add(rest, event.usage) ?? event.usage })
        rest = undefined
      } else {
        if (event._tag === "Finish" && rest !== undefined) out.push({ _tag: "Usage", usage: rest })
        out.push(event)
      }
    }
    return Layers.toChunk(out)
  }
}

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
  const progress = above ?? { cursor: StreamDecoder.start }
  /** The pull for the events after the race. */
  let rest: ChatStream.Pull | undefined
  let firstWatch: Stopwatch.Stopwatch | undefined

  /** Reports to a `Replay` outside where the stream broke, with the usage of the loser added. */
  const report = ({ progress }: Running, lost: Chat.Usage | undefined): void => {
    if (above === undefined) return
    const usage = Usage.add(lost, progress.cursor.usage)
    // Only the first target can be asked to resume an answer, and it does not have the answer of the second.
    above.cursor = progress === above ? { ...above.cursor, usage } : { inside: progress.cursor.inside, usage }
  }

  const deliver: Deliver = (side, exit, loser) => {
    const lost = loser?.progress.cursor.usage
    if (Exit.isFailure(exit)) {
      report(side, lost)
      rest = Effect.failCause(exit.cause)
      return rest
    }
    const { events, pull } = exit.value
    if (loser === undefined) {
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
      const run = (watch: Stopwatch.Stopwatch, reading: Reading, progress: Progress, won: () => void): Running => ({
        watch,
        progress,
        fiber: Runtime.runFork(runtime)(reading),
        won
      })
      const launch = (): Running | undefined => {
        const now = Times.now(clock)
        const budget = Context.get(context, RetryBudgets).of(group, clock)
        if (!healthy(now) || !hedge.launch(() => budget.draw(now))) return undefined
        const progress = { cursor: StreamDecoder.start }
        const inside = FiberInternals.added(context, Attempt.Extra, { reason: "hedge" as const })
        const watch = Stopwatch.start(hedge, "second", clock)
        const reading = Effect.flatMap(scopeIn(outer), (scope) =>
          answerIn(scope, openIn(scope, second(request), inside, progress, watch.alive))
        )
        // A hedge that fails is in the record of the call; one that dies outside of an attempt is only in the log.
        const logged = Effect.zipRight(
          Effect.logDebug(`no first token within ${Math.round(delay)}ms: asking another target too`),
          Effect.tapDefect(reading, (cause) => Effect.logWarning("a hedge died", cause))
        )
        // Within a retry the answer gives that draw back.
        const givesBack = Call.roundOf(context) === undefined
        return run(watch, logged, progress, () => {
          if (givesBack) budget.refund(Times.now(clock))
        })
      }
      const watch = Stopwatch.start(hedge, "first", clock)
      firstWatch = watch
      const mine = run(watch, answerIn(scope, Effect.succeed(pull)), progress, () => {})
      const exit = mine.fiber.unsafePoll()
      if (exit === null) return race(reader, delay, mine, launch, deliver)
      mine.watch.stop(Exit.isSuccess(exit))
      return deliver(mine, exit, undefined)
    })

  return Effect.flatMap(Scope.fork(outer, ExecutionStrategy.sequential), (scope) =>
    Effect.map(
      openIn(scope, first(request), context, progress, () => firstWatch?.alive()),
      (pull) => {
        const beginning = begin(scope, pull)
        return Effect.suspend(() => rest ?? beginning)
      }
    )
  )
}

// -----------------------------------------------------------------------------
// the combinator
// -----------------------------------------------------------------------------

/**
 * Opens a stream of the first target, and one of the second if the first is late and a hedge may be sent.
 *
 * @since 0.2.0
 * @category combinators
 */
export const source = (first: Open, second: Open, request: Chat.Request, options: Options): ChatStream.Source =>
  Effect.withFiberRuntime<ChatStream.Pull, never, Scope.Scope>((fiber) => {
    const context = fiber.currentContext
    // The rest of a stored answer comes at another speed than a new answer.
    if (Call.peek(context, Replay.Resume) !== undefined) return first(request)
    const outer = Context.get(context as Context.Context<Scope.Scope>, Scope.Scope)
    const may = request.idempotent !== false && Call.peek(context, Attempt.Extra)?.reason !== "hedge"
    const delay = may ? options.hedge.begin() : undefined
    return delay === undefined
      ? timed(first(request), options.hedge, outer)
      : racing(first, second, request, delay, options, context, outer)
  })
