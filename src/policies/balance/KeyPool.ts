/**
 * Several keys of one provider: which of them work, how busy each is, and whose turn it is.
 *
 * A pool is made once and shared by all models of the provider; `ChatModel.pooled` makes one model of a pool and a
 * model for each key. A key that is refused is out for all of them, and is asked again by single probes.
 *
 * | the key's attempt ends with | the key |
 * |---|---|
 * | `AuthError`, `QuotaExhausted` | is dead: one probe after 60 seconds, doubling to an hour |
 * | three failures or timeouts in a row, other keys answer | is out for 15 seconds, doubling to 5 minutes; one probe |
 * | `RateLimited` | waits, for this model only, as long as the hint says, or else 1 second, doubling to 16 |
 * | an answer | works |
 *
 * A probe is somebody's call, and what it risks is that call's time. A dead key says so at once, and the call goes on
 * to another. A key that let requests hang may take the time of an attempt: so its probe is a request that may be run
 * again, and one with time for another attempt of the same length after this one; where for {@link patience} none such
 * came, any that may be run again. While no other key takes traffic, anyone is the probe.
 *
 * Gotchas:
 * - Failures take a key out only if other keys answer: where all fail it is the provider that is down, which is for the
 *   breaker of the target to say. So the last key is never taken out by failures. It takes an attempt that began after
 *   another key answered: a key that lets requests hang is out after about twice the time that an attempt may take.
 * - A circuit that nobody asked for an hour is forgotten (`CircuitBreaker`), and its key is as new.
 * - A stream that began to answer has answered: what breaks afterwards says nothing about the key.
 * - Keys are named by {@link nameOf}, in the evidence too, and are nowhere shown themselves.
 *
 * @example
 * import { Config, Effect } from "effect"
 * import { ChatModel, KeyPool, OpenAi } from "effect-steadfast"
 *
 * const program = Effect.gen(function* () {
 *   const pool = yield* KeyPool.make({
 *     keys: [Config.redacted("OPENAI_KEY_A"), { apiKey: Config.redacted("OPENAI_KEY_B"), weight: 3 }]
 *   })
 *   return yield* ChatModel.pooled(pool, (apiKey) => OpenAi.make({ model: "gpt-4o-mini", apiKey }))
 * })
 *
 * @since 0.2.0
 */
import * as Cause from "effect/Cause"
import * as Config from "effect/Config"
import * as ConfigError from "effect/ConfigError"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as LlmError from "../../errors/LlmError.js"
import * as CircuitBreaker from "../circuit/CircuitBreaker.js"
import * as Deadline from "../Deadline.js"
import * as PolicyOptions from "../Options.js"
import * as Balancer from "./Balancer.js"
import * as KeyHealth from "./KeyHealth.js"
import { nameOf } from "./KeyName.js"

export { nameOf } from "./KeyName.js"

// -----------------------------------------------------------------------------
// models
// -----------------------------------------------------------------------------

/**
 * A key, or the `Config` that holds it, and its share.
 *
 * @since 0.2.0
 * @category options
 */
export type KeyOption =
  | Redacted.Redacted
  | Config.Config<Redacted.Redacted>
  | {
      /** The key, or the `Config` that holds it. */
      readonly apiKey: Redacted.Redacted | Config.Config<Redacted.Redacted>
      /**
       * The share of the requests, in proportion to the weights of the others: above 0, at most 1,000,000. Default 1.
       */
      readonly weight?: number | undefined
    }

/**
 * The options of {@link make} as they stand in JSON or YAML: durations are text with a unit. `keys` is not among them,
 * because a key has no place in a file.
 *
 * @since 0.2.0
 * @category options
 */
export const Options = Balancer.choosing.schema

/**
 * The options of {@link make}.
 *
 * @since 0.2.0
 * @category options
 */
export interface Options {
  /** The keys: at least one, and none twice. */
  readonly keys: ReadonlyArray<KeyOption>
  /** Which of the keys that take traffic is asked. Default `"weighted"`. */
  readonly strategy?: Balancer.Strategy | undefined
  /**
   * How long a call waits for a key where all are out, if its deadline allows it. Default 60 seconds, the longest hint
   * that `RetryPolicy` waits for.
   */
  readonly maxWait?: Duration.DurationInput | undefined
}

/**
 * A key, and the name by which the evidence calls it.
 *
 * @since 0.2.0
 * @category models
 */
export interface Key {
  readonly name: string
  readonly apiKey: Redacted.Redacted
  readonly weight: number
}

/**
 * How a key is now: its circuit, and its requests that have not ended.
 *
 * @since 0.2.0
 * @category models
 */
export interface KeyState {
  readonly name: string
  readonly inFlight: number
  readonly circuit: CircuitBreaker.State
}

/**
 * The keys as one model uses them; each is given by its index. What `RateLimited` says holds for this model alone.
 *
 * - `readyAt`: from when a key takes traffic, in epoch milliseconds; 0 for now.
 * - `admit`: the right to make one attempt. Hand it back with `end`, exactly once, interruption included. Run both
 *   uninterruptibly.
 * - `outlook`: what is to be expected where none takes traffic; `notBefore` is from when a key is asked at the
 *   earliest.
 *
 * @since 0.2.0
 * @category models
 */
export interface View {
  readonly readyAt: (index: number) => number
  readonly admit: (index: number) => Effect.Effect<CircuitBreaker.Admission, LlmError.CircuitOpen>
  readonly end: (end: End) => Effect.Effect<void>
  readonly outlook: (now: number, notBefore: (index: number) => number) => Outlook
}

/**
 * How an attempt with a key ended. `within` is the limit in time that it ran under; `startedAt` and `now` are in epoch
 * milliseconds.
 *
 * @since 0.2.0
 * @category models
 */
export interface End {
  readonly index: number
  readonly admission: CircuitBreaker.Admission
  readonly exit: Exit.Exit<unknown, unknown>
  readonly within: Deadline.Limit
  readonly startedAt: number
  readonly now: number
}

/**
 * - `readyAt`: when the first key is asked again, dead ones too; `Infinity` where that is never.
 * - `worthAt`: the same without dead keys, for which nobody should wait.
 * - `why`: how many are out, and with which error.
 *
 * @since 0.2.0
 * @category models
 */
export interface Outlook {
  readonly readyAt: number
  readonly worthAt: number
  readonly why: string
}

/**
 * - `balancer`: who has how much in flight, over all models.
 * - `circuits`: the health of the keys, by their names; `open` takes one out by hand until `reset`.
 * - `for`: the keys as the model of that name uses them.
 * - `dueAt`: since when a key that let requests hang waits for a probe, in epoch milliseconds; `undefined` for all
 *   others.
 *
 * @since 0.2.0
 * @category models
 */
export interface KeyPool {
  readonly keys: ReadonlyArray<Key>
  readonly balancer: Balancer.Balancer
  readonly circuits: CircuitBreaker.CircuitBreaker
  readonly maxWait: number
  readonly for: (model: string) => View
  readonly dueAt: (index: number) => number | undefined
  readonly states: Effect.Effect<ReadonlyMap<string, KeyState>>
}

// -----------------------------------------------------------------------------
// the pure part
// -----------------------------------------------------------------------------

/**
 * How long a probe of a key that let requests hang waits for a caller who can afford it, in milliseconds: as long as
 * the key is left alone the first time.
 *
 * @since 0.2.0
 * @category constants
 */
export const patience = 15_000

/**
 * Whether a caller loses no more than time, and has it: after this attempt there is room for another as long.
 *
 * @since 0.2.0
 * @category predicates
 */
export const affords = (within: Deadline.Limit, now: number): boolean => {
  if (!Number.isFinite(within.at)) return true
  const rest = (within.outer?.at ?? Number.POSITIVE_INFINITY) - within.at
  return within.phase !== "total" && rest >= within.at - now
}

/** The error that an attempt ended with; one that was interrupted because its time was up ended with that `Timeout`. */
const errorOf = (end: End): LlmError.LlmError | undefined => {
  if (end.exit._tag === "Success") return undefined
  const error = Cause.isInterruptedOnly(end.exit.cause)
    ? Deadline.expired(end.within)
    : Option.getOrUndefined(Cause.failureOption(end.exit.cause))
  return LlmError.isLlmError(error) ? error : undefined
}

/**
 * What an attempt says about its key. Time that is up for the whole call was spent on this key too, and where nothing
 * else limits an attempt it is all that ever tells.
 */
const outcomeOf = (end: End, error: LlmError.LlmError | undefined): CircuitBreaker.Outcome =>
  error?._tag === "Timeout" && error.phase === "total" && error.delivery !== "not-sent"
    ? { _tag: "Failure", error: error._tag }
    : CircuitBreaker.classify(end.exit, end.now, end.within)

const isDead = (reason: LlmError.Tag | undefined): boolean =>
  reason !== undefined && LlmError.rules[reason].health === "dead"

/** "all 5 keys are out: 3 AuthError, 2 RateLimited" */
const summary = (tags: ReadonlyArray<string>): string => {
  const counts = new Map<string, number>()
  for (const tag of tags) counts.set(tag, (counts.get(tag) ?? 0) + 1)
  const [first] = counts.keys()
  const reasons = counts.size === 1 ? first : Array.from(counts, ([tag, count]) => `${count} ${tag}`).join(", ")
  return `${tags.length === 1 ? "the only key is" : `all ${tags.length} keys are`} out: ${reasons}`
}

// -----------------------------------------------------------------------------
// constructors
// -----------------------------------------------------------------------------

type Secret = Redacted.Redacted | Config.Config<Redacted.Redacted>

const isSecret = (option: KeyOption): option is Secret => Redacted.isRedacted(option) || Config.isConfig(option)

const read = (secret: Secret): Effect.Effect<Redacted.Redacted, ConfigError.ConfigError> =>
  Redacted.isRedacted(secret) ? Effect.succeed(secret) : secret

/** The first that is there a second time. */
const repeated = (secrets: ReadonlyArray<Redacted.Redacted>): Redacted.Redacted | undefined => {
  const seen = new Set<string>()
  return secrets.find((secret) => seen.size === seen.add(Redacted.value(secret)).size)
}

const viewOf = (pool: {
  readonly keys: ReadonlyArray<Key>
  readonly circuits: CircuitBreaker.CircuitBreaker
  readonly records: Array<KeyHealth.Health>
  readonly answeredAt: Array<number>
  readonly reasons: Array<LlmError.Tag | undefined>
  readonly probing: Array<number>
}): View => {
  const { answeredAt, circuits, keys, probing, reasons, records } = pool
  const pauses: Array<KeyHealth.Pause> = keys.map(() => KeyHealth.running)
  const nameAt = (index: number) => (keys[index] as Key).name
  const pausedUntil = (index: number) => (pauses[index] as KeyHealth.Pause).until
  const readyAt = (index: number): number => Math.max(circuits.readyAt(nameAt(index)), pausedUntil(index))
  const admit: View["admit"] = (index) =>
    Effect.matchEffect(circuits.admit({ key: nameAt(index) }), {
      onSuccess: (admission) => {
        if (admission.probe !== undefined) probing[index] = (probing[index] as number) + 1
        return Effect.succeed(admission)
      },
      // Another process may have opened it.
      onFailure: (refusal) =>
        Effect.flatMap(circuits.state(nameAt(index)), (state) => {
          if (state._tag !== "Closed") reasons[index] = state.error
          return Effect.fail(refusal)
        })
    })

  /** When another key last answered that takes traffic now. */
  const othersAnsweredAt = (index: number): number => {
    let last = KeyHealth.never
    for (let other = 0; other < keys.length; other++) {
      if (other !== index && circuits.readyAt(nameAt(other)) === 0) {
        last = Math.max(last, answeredAt[other] as number)
      }
    }
    return last
  }

  /** What the circuit is told: of the failures of a key that was not out only the one that is enough. */
  const judged = (end: End, outcome: CircuitBreaker.Outcome): CircuitBreaker.Outcome => {
    const record = records[end.index] as KeyHealth.Health
    if (outcome._tag === "Success") {
      records[end.index] = KeyHealth.unasked
      answeredAt[end.index] = end.now
      const pause = pauses[end.index] as KeyHealth.Pause
      if (pause.unhinted > 0) pauses[end.index] = { until: pause.until, unhinted: 0 }
      return outcome
    }
    if (outcome._tag !== "Failure" || end.admission.probe !== undefined) return outcome
    const [enough, next] = KeyHealth.failed(record, othersAnsweredAt(end.index), end.startedAt, end.now)
    records[end.index] = enough ? KeyHealth.unasked : next
    return enough ? outcome : CircuitBreaker.ignored
  }

  return {
    readyAt,
    admit,
    end: (end) => {
      if (end.admission.probe !== undefined) probing[end.index] = (probing[end.index] as number) - 1
      const error = errorOf(end)
      const outcome = judged(end, outcomeOf(end, error))
      if (error?._tag === "RateLimited") {
        pauses[end.index] = KeyHealth.paused(pauses[end.index] as KeyHealth.Pause, error.hint, end.now)
      }
      if (outcome._tag === "Failure" || outcome._tag === "Dead") reasons[end.index] = outcome.error
      return circuits.record(nameAt(end.index), end.admission, outcome)
    },
    outlook: (now, notBefore) => {
      const tags: Array<string> = []
      let first = Number.POSITIVE_INFINITY
      let worth = Number.POSITIVE_INFINITY
      for (let index = 0; index < keys.length; index++) {
        const reason = circuits.readyAt(nameAt(index)) > now ? (reasons[index] ?? "CircuitOpen") : undefined
        tags.push(reason ?? (pausedUntil(index) > now ? "RateLimited" : "CircuitOpen"))
        // A probe may end any moment, and then the key takes traffic again.
        const at = Math.max((probing[index] as number) > 0 ? pausedUntil(index) : readyAt(index), notBefore(index))
        first = Math.min(first, at)
        if (!isDead(reason)) worth = Math.min(worth, at)
      }
      return { readyAt: first, worthAt: worth, why: summary(tags) }
    }
  }
}

/**
 * A pool of keys, none of which was asked yet. Their circuits are in the `KeyedStore` of the context, where there
 * is one.
 *
 * Fails with a `ConfigError` where a key is not configured, or is there twice. Throws a `RangeError` that names the
 * option, what was found and what was expected.
 *
 * @since 0.2.0
 * @category constructors
 */
export const make = (input: Options): Effect.Effect<KeyPool, ConfigError.ConfigError> => {
  if (input.keys.length === 0) throw PolicyOptions.wrong("KeyPool: keys", input.keys, "at least one")
  const { maxWait, strategy } = Balancer.choosing.read(input, "KeyPool")
  const given = input.keys.map((option) => (isSecret(option) ? { apiKey: option } : option))
  const weights = given.map(({ weight }, index) => Balancer.weight.read(weight, `KeyPool: keys[${index}].weight`))
  return Effect.gen(function* () {
    const secrets = yield* Effect.forEach(given, ({ apiKey }) => read(apiKey))
    const twice = repeated(secrets)
    if (twice !== undefined) {
      return yield* Effect.fail(ConfigError.InvalidData(["keys"], `found the key ${nameOf(twice)} twice`))
    }
    const names = Balancer.distinct(secrets.map(nameOf))
    const keys = secrets.map(
      (apiKey, index): Key => ({ name: names[index] as string, apiKey, weight: weights[index] as number })
    )
    const circuits = yield* CircuitBreaker.make({
      // One that is told of is one that is enough: see `failed`.
      tripPolicy: CircuitBreaker.consecutive(1),
      // Slower than the breaker of a target: other keys serve meanwhile, and a probe may hang.
      openDuration: { initial: "15 seconds", max: "5 minutes" },
      deadDuration: { initial: "60 seconds", max: "1 hour" }
    })
    const balancer = Balancer.make(keys, strategy)
    const reasons: Array<LlmError.Tag | undefined> = keys.map(() => undefined)
    const records: Array<KeyHealth.Health> = keys.map(() => KeyHealth.unasked)
    const answeredAt = keys.map(() => KeyHealth.never)
    const probing = keys.map(() => 0)
    const views = new Map<string, View>()
    return {
      keys,
      balancer,
      circuits,
      maxWait,
      for: (model) => {
        const view = views.get(model) ?? viewOf({ keys, circuits, records, answeredAt, reasons, probing })
        views.set(model, view)
        return view
      },
      dueAt: (index) => {
        const at = circuits.readyAt((keys[index] as Key).name)
        return at === 0 || isDead(reasons[index]) ? undefined : at
      },
      states: Effect.map(
        Effect.forEach(keys, ({ name }, index) =>
          Effect.map(
            circuits.state(name),
            (circuit) => [name, { name, inFlight: balancer.members[index]?.inFlight ?? 0, circuit }] as const
          )
        ),
        (states) => new Map(states)
      )
    }
  })
}
