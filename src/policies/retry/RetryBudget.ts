/**
 * How much may be sent again: what keeps retries from making an outage worse.
 *
 * Every first attempt deposits a tenth of a retry; every retry, hedge and fallback within the same provider draws one,
 * and gets it back if it is answered. So where everything fails, there is one retry for ten calls, and not three for
 * each. A `RateLimited` that says when to come back draws nothing: it is the pacer's business, and the server asked for
 * it.
 *
 * There is one budget for each provider and key group: whatever goes there shares it, without being told to. `Attempt`
 * deposits, `ChatModel.retry` draws; {@link layer} makes all of them with other numbers, {@link layerUnlimited} none.
 *
 * The theorem, for every interleaving: attempts ≤ N · (1 + ratio) + cap + reserve · T, where N counts the first
 * attempts and those that drew and were answered, over a time T.
 *
 * Gotcha: without budget left a retry is not made, and the call fails with its last error, so that a fallback to
 * another provider still happens.
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
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as LlmError from "../../errors/LlmError.js"
import * as PolicyOptions from "../Options.js"

const options = PolicyOptions.struct({
  ratio: PolicyOptions.optional(PolicyOptions.number({ min: 0, max: 1 }), "Retries for each first attempt", 0.1),
  cap: PolicyOptions.optional(
    PolicyOptions.number({ min: 1, max: 1_000_000 }),
    "The most retries that can be saved up, and how many there are at the start",
    10
  ),
  reserve: PolicyOptions.optional(
    PolicyOptions.duration({ above: 0 }),
    "The time in which one more retry is earned, for those that call seldom",
    "10 seconds"
  )
})

/**
 * The options of {@link make} as they stand in JSON or YAML: durations are text with a unit.
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
  /** The most retries that can be saved up, and how many there are at the start: 1 to 1,000,000. Default 10. */
  readonly cap?: number | undefined
  /** The time in which one more retry is earned, for those that call seldom: above 0. Default 10 seconds. */
  readonly reserve?: Duration.DurationInput | undefined
}

/**
 * A budget. The functions are synchronous; `now` is in milliseconds of the `Clock`.
 *
 * @since 0.2.0
 * @category models
 */
export interface RetryBudget {
  readonly deposit: (now: number) => void
  readonly draw: (now: number) => boolean
  readonly refund: (now: number) => void
  readonly available: (now: number) => number
}

type Settings = ReturnType<typeof settings>

/** What was saved up, and when that was. */
interface State {
  readonly level: number
  readonly at: number
}

// -----------------------------------------------------------------------------
// the pure part
// -----------------------------------------------------------------------------

type Event = "deposit" | "draw" | "refund" | "time"

/** Ten tenths are one, whatever floating point makes of them. */
const epsilon = 1e-9

/** What an event leaves, and whether it was possible: only a draw may not be. */
const step = (settings: Settings, state: State, event: Event, now: number): readonly [boolean, State] => {
  const earned = Math.max(0, now - state.at) / settings.reserve
  const level = Math.min(settings.cap, state.level + earned)
  switch (event) {
    case "deposit":
      return [true, { level: Math.min(settings.cap, level + settings.ratio), at: now }]
    case "draw":
      return level >= 1 - epsilon ? [true, { level: Math.max(0, level - 1), at: now }] : [false, { level, at: now }]
    case "refund":
      return [true, { level: Math.min(settings.cap, level + 1), at: now }]
    case "time":
      return [true, { level, at: now }]
  }
}

const settings = (input: Options) => options.read(input, "RetryBudget")

// -----------------------------------------------------------------------------
// constructors
// -----------------------------------------------------------------------------

/**
 * A budget of its own. Throws a `RangeError` that names the option, what was found and what was expected.
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
  return {
    deposit: (now) => {
      run("deposit", now)
    },
    draw: (now) => run("draw", now),
    refund: (now) => {
      run("refund", now)
    },
    available: (now) => step(chosen, state, "time", now)[1].level
  }
}

const unlimited: RetryBudget = {
  deposit: () => {},
  draw: () => true,
  refund: () => {},
  available: () => Number.POSITIVE_INFINITY
}

/**
 * Whether an attempt that follows this error draws on the budget. After a rate limit with a hint it does not.
 *
 * @since 0.2.0
 * @category predicates
 */
export const isCharged = (error: LlmError.LlmError): boolean =>
  LlmError.healthOf(error) !== "throttled" || error.hint === undefined

// -----------------------------------------------------------------------------
// who shares which
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

/** So many groups may be remembered before those that have all they can save are forgotten, which changes nothing. */
const maxGroups = 1000

const budgets = (options: Options): Budgets => {
  const full = settings(options).cap
  const byClock = new WeakMap<Clock.Clock, Map<string, RetryBudget>>()
  const groupsOf = (clock: Clock.Clock): Map<string, RetryBudget> => {
    const known = byClock.get(clock)
    if (known !== undefined) return known
    const groups = new Map<string, RetryBudget>()
    byClock.set(clock, groups)
    return groups
  }
  const of = (group: string, clock: Clock.Clock): RetryBudget => {
    const groups = groupsOf(clock)
    const known = groups.get(group)
    if (known !== undefined) return known
    if (groups.size >= maxGroups) {
      const now = clock.unsafeCurrentTimeMillis()
      for (const [name, kept] of groups) if (kept.available(now) >= full) groups.delete(name)
    }
    const budget = make(options)
    groups.set(group, budget)
    return budget
  }
  return { of, known: groupsOf }
}

/**
 * Where the budgets of all groups are.
 *
 * @since 0.2.0
 * @category context
 */
export class RetryBudgets extends Context.Reference<RetryBudgets>()("steadfast/RetryBudgets", {
  defaultValue: () => budgets({})
}) {}

/**
 * Budgets with other numbers, shared by whatever runs under this layer.
 *
 * @since 0.2.0
 * @category layers
 */
export const layer = (options: Options = {}): Layer.Layer<never> =>
  Layer.sync(RetryBudgets, () => budgets(options)) as Layer.Layer<never>

/**
 * No budgets: every retry that the policy wants is made.
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
  const now = clock.unsafeCurrentTimeMillis()
  const budgets = Context.get(fiber.currentContext, RetryBudgets).known(clock)
  return Effect.succeed(new Map(Array.from(budgets, ([group, budget]) => [group, budget.available(now)])))
})

/**
 * What one call takes from budgets: `take` asks for one more attempt after an error, `answered` gives back what was
 * drawn for the attempt that was answered.
 *
 * @since 0.2.0
 * @category models
 */
export interface Draw {
  readonly take: (error: LlmError.LlmError) => Effect.Effect<boolean>
  readonly answered: Effect.Effect<void>
}

/**
 * The draw of a call whose errors are those of that group; no group, no budget.
 *
 * @since 0.2.0
 * @category constructors
 */
export const draw = (groupOf?: (error: LlmError.LlmError) => string | undefined): Draw => {
  let drawn: RetryBudget | undefined
  return {
    take: (error) =>
      Effect.withFiberRuntime((fiber) => {
        drawn = undefined
        const group = groupOf?.(error)
        if (group === undefined || !isCharged(error)) return Effect.succeed(true)
        const clock = Context.get(fiber.currentDefaultServices, Clock.Clock)
        const budget = Context.get(fiber.currentContext, RetryBudgets).of(group, clock)
        if (!budget.draw(clock.unsafeCurrentTimeMillis())) return Effect.succeed(false)
        drawn = budget
        return Effect.succeed(true)
      }),
    answered: Effect.suspend(() => {
      if (drawn === undefined) return Effect.void
      const budget = drawn
      drawn = undefined
      return Effect.map(Clock.currentTimeMillis, budget.refund)
    })
  }
}
