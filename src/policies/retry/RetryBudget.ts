/**
 * Retry budgets: they keep retries from making an outage worse.
 *
 * Every first attempt deposits a tenth of a retry. Every retry, hedge and fallback within the same provider draws one,
 * and gets it back if its attempt is answered. If every call fails, ten calls then make one retry, instead of three
 * retries each. A retry that waits for the hint of a `RateLimited`, a second or longer, draws nothing: it comes when
 * the server asked for it. A shorter hint asks for no wait, and another key does not wait.
 *
 * Each provider and key group has one budget, which all its attempts share. `Attempt` deposits, `ChatModel.retry`
 * draws. {@link layer} changes the numbers of all budgets, {@link layerUnlimited} turns them off.
 *
 * The bound, for every interleaving: attempts ≤ N · (1 + ratio) + cap + reserve · T. N counts the first attempts and
 * the answered attempts that drew; T is the elapsed time.
 *
 * With an empty budget a retry waits in order until the budget has room, as long as the deadline allows; without a
 * deadline for 60 seconds at most, or for the policy's `maxHint` if that is longer. A call whose fallback takes traffic
 * goes there at once instead. If the budget stays empty, the call fails with its last error.
 *
 * @example
 * import { RetryBudget } from "effect-steadfast"
 *
 * const stricter = RetryBudget.layer({ ratio: 0.05, cap: 5 })
 *
 * @since 0.2.0
 */

import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as LlmError from "../../errors/LlmError.js"
import * as Immediate from "../Immediate.js"
import * as PolicyOptions from "../Options.js"
import * as Sweep from "../Sweep.js"
import * as Times from "../Times.js"
import * as WaitQueue from "../WaitQueue.js"

const options = PolicyOptions.struct({
  ratio: PolicyOptions.optional(PolicyOptions.number({ min: 0, max: 1 }), "Retries for each first attempt", 0.1),
  cap: PolicyOptions.optional(
    PolicyOptions.number({ min: 1, max: 1_000_000 }),
    "The most retries that can be saved; a budget starts with as many",
    10
  ),
  reserve: PolicyOptions.optional(
    PolicyOptions.duration({ above: 0 }),
    "The time that earns one more retry, for callers with few calls",
    "10 seconds"
  )
})

/**
 * The options of {@link make} in JSON or YAML: durations are text with a unit.
 *
 * @since 0.2.0
 * @category options
 */
export const Options = options.schema

/**
 * The options of {@link make} and {@link layer}.
 *
 * @since 0.2.0
 * @category options
 */
export interface Options {
  /** Retries for each first attempt, 0 to 1. Default 0.1, the value of Finagle's and gRPC's budgets. */
  readonly ratio?: number | undefined
  /** The most retries that can be saved; a budget starts with as many: 1 to 1,000,000. Default 10. */
  readonly cap?: number | undefined
  /** The time that earns one more retry, for callers with few calls: above 0. Default 10 seconds. */
  readonly reserve?: Duration.DurationInput | undefined
}

/**
 * A budget. The functions are synchronous; `now` is in milliseconds of the monotonic clock (`Clock.currentTimeNanos`).
 *
 * @since 0.2.0
 * @category models
 */
export interface RetryBudget {
  /** Adds the share of one first attempt. */
  readonly deposit: (now: number) => void
  /** Takes one retry; `false` if less than one is left. */
  readonly draw: (now: number) => boolean
  /** Gives one retry back. */
  readonly refund: (now: number) => void
  /** The retries left. */
  readonly available: (now: number) => number
  /**
   * Takes one retry, after a wait if none is left; `false` if it cannot have one in time, or if another target takes
   * the call. `patience` is the longest wait without a deadline, in milliseconds; default 60,000.
   *
   * @internal
   */
  readonly drawLater: (region: Immediate.Region, patience?: number) => Effect.Effect<boolean>
}

type Settings = ReturnType<typeof settings>

/** The saved retries, as of `at` in milliseconds. */
interface State {
  readonly level: number
  readonly at: number
}

// -----------------------------------------------------------------------------
// the pure part
// -----------------------------------------------------------------------------

type Event = "deposit" | "draw" | "refund" | "time"

/** Makes ten deposits of a tenth one retry, despite rounding. */
const epsilon = 1e-9

/** The state after an event, and whether the event was possible. Only a draw can be impossible. */
const step = (settings: Settings, state: State, event: Event, now: number): readonly [boolean, State] => {
  const earned = Math.max(0, now - state.at) / settings.reserve
  const level = Math.min(settings.cap, state.level + earned)
  const at = Math.max(now, state.at)
  switch (event) {
    case "deposit":
      return [true, { level: Math.min(settings.cap, level + settings.ratio), at }]
    case "draw":
      return level >= 1 - epsilon ? [true, { level: Math.max(0, level - 1), at }] : [false, { level, at }]
    case "refund":
      return [true, { level: Math.min(settings.cap, level + 1), at }]
    case "time":
      return [true, { level, at }]
  }
}

const settings = (input: Options) => options.read(input, "RetryBudget")

// -----------------------------------------------------------------------------
// constructors
// -----------------------------------------------------------------------------

/**
 * A new budget. Throws a `RangeError` that names the option, the value found and the value expected.
 *
 * @since 0.2.0
 * @category constructors
 */
export const make = (options: Options = {}): RetryBudget => {
  const chosen = settings(options)
  let state: State = { level: chosen.cap, at: Number.NEGATIVE_INFINITY }
  const run = (event: Event, now: number): boolean => {
    const [possible, next] = step(chosen, state, event, now)
    state = next
    return possible
  }
  const available = (now: number): number => step(chosen, state, "time", now)[1].level
  const queue = WaitQueue.make<undefined>(WaitQueue.defaults)
  const gate: WaitQueue.Gate<true, undefined, false> = {
    ask: (now) => {
      if (run("draw", now)) return Effect.succeed(true)
      // Deposits and refunds wake the queue before.
      const at = now + Math.max(1, Math.ceil((1 - available(now)) * chosen.reserve))
      return Effect.succeed(new WaitQueue.Wait(now, undefined, at))
    },
    waits: () => Effect.logInfo("waiting for the retry budget: too many retries already"),
    refused: () => false
  }
  return {
    deposit: (now) => {
      run("deposit", now)
      queue.wake()
    },
    draw: (now) => queue.size() === 0 && run("draw", now),
    refund: (now) => {
      run("refund", now)
      queue.wake()
    },
    available,
    drawLater: (region, patience) =>
      queue.size() === 0 && run("draw", Immediate.nowOf(region.fiber))
        ? Effect.succeed(true)
        : Effect.merge(queue.pass(region, gate, { patience }))
  }
}

const unlimited: RetryBudget = {
  deposit: () => {},
  draw: () => true,
  refund: () => {},
  available: () => Number.POSITIVE_INFINITY,
  drawLater: () => Effect.succeed(true)
}

/** A shorter hint asks for no wait: servers that mean none send 0 or 1 ms. In milliseconds. */
const leastHint = 1000

/** The errors whose hint is the pause of a pacer. */
const pauses = new WeakSet<LlmError.LlmError>()

/**
 * Marks an error whose hint is the pause of a pacer. However short that is, the pacer lets no attempt through before.
 *
 * @internal
 */
export const markPause = <E extends LlmError.LlmError>(error: E): E => {
  pauses.add(error)
  return error
}

/**
 * Whether an attempt that comes `wait` milliseconds after this error draws on the budget. It does not if it waits for
 * the hint of a rate limit, and the hint is a second or longer.
 *
 * @since 0.2.0
 * @category predicates
 */
export const isCharged = (error: LlmError.LlmError, wait: number): boolean => {
  if (LlmError.healthOf(error) !== "throttled" || error.hint === undefined) return true
  const hint = Duration.toMillis(error.hint)
  return wait < hint || (hint < leastHint && !pauses.has(error))
}

// -----------------------------------------------------------------------------
// budgets by group
// -----------------------------------------------------------------------------

/**
 * The budgets of all groups. A budget follows one clock: under another clock, such as each test's, a group has another
 * budget.
 *
 * @since 0.2.0
 * @category models
 */
export interface Budgets {
  /** The budget of a group. */
  readonly of: (group: string, clock: Clock.Clock) => RetryBudget
  /** The budgets that exist, by group. */
  readonly known: (clock: Clock.Clock) => ReadonlyMap<string, RetryBudget>
}

/** Above this number of groups, each new one drops full budgets among two others: a new budget is the same. */
const maxGroups = 1000

/** The budgets under one clock. */
interface Groups {
  readonly known: Map<string, RetryBudget>
  readonly sweep: ReturnType<typeof Sweep.make<RetryBudget>>
}

const budgets = (options: Options): Budgets => {
  const full = settings(options).cap
  const byClock = new WeakMap<Clock.Clock, Groups>()
  const groupsOf = (clock: Clock.Clock): Groups => {
    const groups = byClock.get(clock)
    if (groups !== undefined) return groups
    const known = new Map<string, RetryBudget>()
    const made = { known, sweep: Sweep.make(known) }
    byClock.set(clock, made)
    return made
  }
  const of = (group: string, clock: Clock.Clock): RetryBudget => {
    const { known, sweep } = groupsOf(clock)
    const budget = known.get(group)
    if (budget !== undefined) return budget
    if (known.size >= maxGroups) {
      const now = Times.now(clock)
      sweep((other) => other.available(now) < full)
    }
    const made = make(options)
    known.set(group, made)
    return made
  }
  return { of, known: (clock) => groupsOf(clock).known }
}

/**
 * The budgets of all groups.
 *
 * @since 0.2.0
 * @category context
 */
export class RetryBudgets extends Context.Reference<RetryBudgets>()("steadfast/RetryBudgets", {
  defaultValue: () => budgets({})
}) {}

/**
 * Budgets with other options, shared by the program under this layer.
 *
 * @since 0.2.0
 * @category layers
 */
export const layer = (options: Options = {}): Layer.Layer<never> =>
  Layer.sync(RetryBudgets, () => budgets(options)) as Layer.Layer<never>

/**
 * Unlimited budgets: the retry policy alone decides.
 *
 * @since 0.2.0
 * @category layers
 */
export const layerUnlimited: Layer.Layer<never> = Layer.succeed(RetryBudgets, {
  of: () => unlimited,
  known: () => new Map()
}) as Layer.Layer<never>

/**
 * The retries that each group has now, by group: provider, base URL and key group.
 *
 * @since 0.2.0
 * @category getters
 */
export const states: Effect.Effect<ReadonlyMap<string, number>> = Effect.withFiberRuntime((fiber) => {
  const clock = Context.get(fiber.currentDefaultServices, Clock.Clock)
  const now = Times.now(clock)
  const budgets = Context.get(fiber.currentContext, RetryBudgets).known(clock)
  return Effect.succeed(new Map(Array.from(budgets, ([group, budget]) => [group, budget.available(now)])))
})

/**
 * The budget of one call's retries.
 *
 * @since 0.2.0
 * @category models
 */
export interface Draw {
  /**
   * Asks for one more attempt, `wait` milliseconds after an error, and waits for it if the budget is empty. Returns
   * the wait for the budget in milliseconds, or `undefined` if there is no attempt in time. In an uninterruptible
   * region pass its `restore`. `patience` is the longest wait without a deadline, in milliseconds; default 60,000.
   */
  readonly take: (
    error: LlmError.LlmError,
    wait: number,
    restore?: Immediate.Region["restore"],
    patience?: number
  ) => Effect.Effect<number | undefined>
  /** Gives the last draw back: its attempt was answered. */
  readonly answered: Effect.Effect<void>
}

/**
 * A draw on the budget of an error's group. Without a group there is no limit.
 *
 * @since 0.2.0
 * @category constructors
 */
export const draw = (groupOf?: (error: LlmError.LlmError) => string | undefined): Draw => {
  let drawn: RetryBudget | undefined
  return {
    take: (error, wait, restore, patience) =>
      Immediate.masked((region) => {
        const { fiber } = region
        drawn = undefined
        const group = groupOf?.(error)
        if (group === undefined || !isCharged(error, wait)) return Effect.succeed(0)
        const clock = Context.get(fiber.currentDefaultServices, Clock.Clock)
        const budget = Context.get(fiber.currentContext, RetryBudgets).of(group, clock)
        const taken = budget.drawLater(restore === undefined ? region : { fiber, restore }, patience)
        const began = Times.now(clock)
        const atOnce = Immediate.exitOf(taken) !== undefined
        return Immediate.entered(taken, (taken) => {
          if (taken) drawn = budget
          return Effect.succeed(!taken ? undefined : atOnce ? 0 : Times.now(clock) - began)
        })
      }),
    answered: Effect.suspend(() => {
      if (drawn === undefined) return Effect.void
      const budget = drawn
      drawn = undefined
      return Effect.map(Times.current, budget.refund)
    })
  }
}
