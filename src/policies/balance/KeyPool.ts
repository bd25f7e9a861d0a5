/**
 * A pool of API keys of one provider: it spreads requests over the keys, and takes out keys that fail.
 *
 * Make a pool once and share it among all models of the provider. `ChatModel.pooled` makes one model of a pool and a
 * model for each key. A refused key is out for all models, and single probes test it again.
 *
 * | an attempt with the key ends with | the key |
 * |---|---|
 * | `AuthError`, `QuotaExhausted` | is dead: one probe after 60 seconds, doubling to an hour |
 * | three failures or timeouts in a row, other keys answer | is out for 15 seconds, doubling to 5 minutes; one probe |
 * | `RateLimited` | pauses for this model only: for the hint, else for 1 second, doubling to 16 |
 * | an answer | works |
 *
 * A probe is a real call and costs that call time. A dead key refuses at once, and the call goes on to another key. A
 * key with hanging requests may cost a whole attempt's time. Its probe is therefore a request that may run again and
 * has time for another attempt of the same length; after `KeyHealth.patience` without such a request, any request that
 * may run again. While no other key takes traffic, every request may be the probe.
 *
 * Gotchas:
 * - Failures take a key out only if other keys answer. If all keys fail, the provider is down, and the target's breaker
 *   acts. So failures never take out the last key. The failing attempt must also have begun after another key answered:
 *   a key with hanging requests is out after about twice the attempt's timeout.
 * - A circuit unused for an hour is dropped (`CircuitBreaker`), and its key counts as new.
 * - A stream counts as an answer once it begins. A later break says nothing about the key.
 * - Logs and records name keys by {@link nameOf}, and show no key.
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
import * as Config from "effect/Config"
import * as ConfigError from "effect/ConfigError"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Redacted from "effect/Redacted"
import * as LlmError from "../../errors/LlmError.js"
import * as CircuitBreaker from "../circuit/CircuitBreaker.js"
import * as CircuitOutcome from "../circuit/CircuitOutcome.js"
import type * as Deadline from "../Deadline.js"
import * as PolicyOptions from "../Options.js"
import * as Balancer from "./Balancer.js"
import * as KeyHealth from "./KeyHealth.js"
import { nameOf } from "./KeyName.js"

export { nameOf } from "./KeyName.js"

// -----------------------------------------------------------------------------
// models
// -----------------------------------------------------------------------------

type Secret = Redacted.Redacted | Config.Config<Redacted.Redacted>

/**
 * A key or the `Config` that holds it, optionally with its weight.
 *
 * @since 0.2.0
 * @category options
 */
export type KeyOption =
  | Secret
  | {
      /** The key, or the `Config` that holds it. */
      readonly apiKey: Secret
      /**
       * The share of the requests, in proportion to the weights of the others: above 0, at most 1,000,000. Default 1.
       */
      readonly weight?: number | undefined
    }

/**
 * The options of {@link make} in JSON or YAML: durations are text with a unit. `keys` is missing, because a key does
 * not belong in a file.
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
  /** The choice among the keys that take traffic. Default `"weighted"`. */
  readonly strategy?: Balancer.Strategy | undefined
  /**
   * The longest wait for a key if all are out and the deadline allows it. Default 60 seconds, the longest hint that
   * `RetryPolicy` waits for.
   */
  readonly maxWait?: Duration.DurationInput | undefined
}

/**
 * A key of the pool.
 *
 * @since 0.2.0
 * @category models
 */
export interface Key {
  /** The key's name in logs and records: {@link nameOf}, distinct. */
  readonly name: string
  /** The key. */
  readonly apiKey: Redacted.Redacted
  /** The share of the requests, in proportion to the other weights. */
  readonly weight: number
}

/**
 * The state of a key.
 *
 * @since 0.2.0
 * @category models
 */
export interface KeyState {
  /** The key's name in logs and records. */
  readonly name: string
  /** The requests that have not ended. */
  readonly inFlight: number
  /** The key's circuit, shared by all models. */
  readonly circuit: CircuitBreaker.State
}

/**
 * The keys for one model. `index` is the key's place in the pool. A `RateLimited` pauses a key for this model alone.
 *
 * @since 0.2.0
 * @category models
 */
export interface View {
  /** The time from which a key takes traffic, in epoch milliseconds; 0 for now. */
  readonly readyAt: (index: number) => number
  /** Admits one attempt. Pass the admission to `end` exactly once, interruption included; run both uninterruptibly. */
  readonly admit: (index: number) => Effect.Effect<CircuitBreaker.Admission, LlmError.CircuitOpen>
  /** Records the end of an attempt. */
  readonly end: (end: AttemptEnd) => Effect.Effect<void>
  /**
   * The outlook while no key takes traffic. `notBefore` gives the earliest time for each key, in epoch milliseconds.
   */
  readonly outlook: (now: number, notBefore: (index: number) => number) => Outlook
}

/**
 * The end of an attempt with a key.
 *
 * @since 0.2.0
 * @category models
 */
export interface AttemptEnd {
  /** The key's place in the pool. */
  readonly index: number
  /** The admission from `admit`. */
  readonly admission: CircuitBreaker.Admission
  /** The attempt's exit. */
  readonly exit: Exit.Exit<unknown, unknown>
  /** The deadline over the attempt. */
  readonly within: Deadline.Limit
  /** The attempt's begin, in epoch milliseconds. */
  readonly startedAt: number
  /** The attempt's end, in epoch milliseconds. */
  readonly now: number
}

/**
 * The outlook while no key takes traffic.
 *
 * @since 0.2.0
 * @category models
 */
export interface Outlook {
  /** The time at which the first key takes traffic again, dead keys included; `Infinity` for never. */
  readonly readyAt: number
  /** The same without dead keys: nobody should wait for those. */
  readonly worthAt: number
  /** The errors of the keys in one line. */
  readonly why: string
}

/**
 * A pool of keys.
 *
 * @since 0.2.0
 * @category models
 */
export interface KeyPool {
  /** The keys, in the order of the options. */
  readonly keys: ReadonlyArray<Key>
  /** The requests in flight for each key, over all models. */
  readonly balancer: Balancer.Balancer
  /** The circuits of the keys, by name. `open` takes a key out by hand until `reset`. */
  readonly circuits: CircuitBreaker.CircuitBreaker
  /** The longest wait for a key, in milliseconds. */
  readonly maxWait: number
  /** The keys for a model. */
  readonly for: (model: string) => View
  /**
   * The time at which a key with hanging requests became ready for a probe, in epoch milliseconds; `undefined` for all
   * other keys.
   */
  readonly dueAt: (index: number) => number | undefined
  /** The states of all keys, by name. */
  readonly states: Effect.Effect<ReadonlyMap<string, KeyState>>
}

// -----------------------------------------------------------------------------
// the pure part
// -----------------------------------------------------------------------------

/**
 * The outcome of an attempt for its key's circuit. A timeout of the whole call counts as a failure too: without another
 * limit it is the only sign of a key with hanging requests.
 */
const outcomeOf = (end: AttemptEnd, error: LlmError.LlmError | undefined): CircuitBreaker.Outcome =>
  error?._tag === "Timeout" && error.phase === "total" && error.delivery !== "not-sent"
    ? { _tag: "Failure", error: error._tag }
    : CircuitBreaker.classify(end.exit, end.now, end.within)

const isDead = (reason: LlmError.Tag | undefined): boolean =>
  reason !== undefined && LlmError.rules[reason].health === "dead"

// -----------------------------------------------------------------------------
// constructors
// -----------------------------------------------------------------------------

const isSecret = (option: KeyOption): option is Secret => Redacted.isRedacted(option) || Config.isConfig(option)

/** The first secret that repeats an earlier one. */
const repeated = (secrets: ReadonlyArray<Redacted.Redacted>): Redacted.Redacted | undefined => {
  const seen = new Set<string>()
  return secrets.find((secret) => seen.size === seen.add(Redacted.value(secret)).size)
}

/** The state of a key for all models, updated in place. */
interface KeyRecord {
  readonly name: string
  health: KeyHealth.Health
  answeredAt: number
  /** The last error that took the key out. */
  reason: LlmError.Tag | undefined
  /** The probes in flight. */
  probes: number
}

const viewOf = (records: ReadonlyArray<KeyRecord>, circuits: CircuitBreaker.CircuitBreaker): View => {
  const pauses: Array<KeyHealth.Pause> = records.map(() => KeyHealth.running)
  const recordOf = (index: number) => records[index] as KeyRecord
  const pauseOf = (index: number) => pauses[index] as KeyHealth.Pause
  const openUntil = (index: number) => circuits.readyAt(recordOf(index).name)
  const readyAt = (index: number): number => Math.max(openUntil(index), pauseOf(index).until)

  /** When any other key that takes traffic now last answered. */
  const othersAnsweredAt = (index: number): number =>
    records.reduce(
      (last, { answeredAt }, other) => (other === index || openUntil(other) > 0 ? last : Math.max(last, answeredAt)),
      KeyHealth.never
    )

  /** The outcome to record. Failures of a key in service are ignored until one is the key's fault. */
  const judged = ({ admission, index, now, startedAt }: AttemptEnd, outcome: CircuitBreaker.Outcome) => {
    const record = recordOf(index)
    if (outcome._tag === "Success") {
      record.health = KeyHealth.unasked
      record.answeredAt = now
      if (pauseOf(index).unhinted > 0) pauses[index] = { until: pauseOf(index).until, unhinted: 0 }
      return outcome
    }
    if (outcome._tag !== "Failure" || admission.probe !== undefined) return outcome
    const [atFault, next] = KeyHealth.failed(record.health, othersAnsweredAt(index), startedAt, now)
    record.health = atFault ? KeyHealth.unasked : next
    return atFault ? outcome : CircuitBreaker.ignored
  }

  return {
    readyAt,
    admit: (index) => {
      const record = recordOf(index)
      return Effect.matchEffect(circuits.admit({ key: record.name }), {
        onSuccess: (admission) => {
          if (admission.probe !== undefined) record.probes += 1
          return Effect.succeed(admission)
        },
        // Another process may have opened it.
        onFailure: (refusal) =>
          Effect.flatMap(circuits.state(record.name), (state) => {
            if (state._tag !== "Closed") record.reason = state.error
            return Effect.fail(refusal)
          })
      })
    },
    end: (end) => {
      const { admission, exit, index, now, within } = end
      const record = recordOf(index)
      if (admission.probe !== undefined) record.probes -= 1
      const error = CircuitOutcome.errorOf(exit, within)
      const outcome = judged(end, outcomeOf(end, error))
      if (error?._tag === "RateLimited") pauses[index] = KeyHealth.paused(pauseOf(index), error.hint, now)
      if (outcome._tag === "Failure" || outcome._tag === "Dead") record.reason = outcome.error
      return circuits.record(record.name, admission, outcome)
    },
    outlook: (now, notBefore) => {
      const tags: Array<string> = []
      let first = Number.POSITIVE_INFINITY
      let worth = Number.POSITIVE_INFINITY
      for (let index = 0; index < records.length; index++) {
        const record = recordOf(index)
        const pausedUntil = pauseOf(index).until
        const reason = openUntil(index) > now ? (record.reason ?? "CircuitOpen") : undefined
        tags.push(reason ?? (pausedUntil > now ? "RateLimited" : "CircuitOpen"))
        // A probe may end at any moment, and then the key takes traffic again.
        const at = Math.max(record.probes > 0 ? pausedUntil : readyAt(index), notBefore(index))
        first = Math.min(first, at)
        if (!isDead(reason)) worth = Math.min(worth, at)
      }
      return { readyAt: first, worthAt: worth, why: KeyHealth.summary(tags) }
    }
  }
}

/**
 * A new pool of keys. Its circuits live in the `KeyedStore` of the context, if there is one.
 *
 * Fails with a `ConfigError` if a key is not configured or appears twice. Throws a `RangeError` that names the option,
 * the value found and the value expected.
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
    const secrets = yield* Effect.forEach(given, ({ apiKey }) =>
      Redacted.isRedacted(apiKey) ? Effect.succeed(apiKey) : apiKey
    )
    const twice = repeated(secrets)
    if (twice !== undefined) {
      return yield* Effect.fail(ConfigError.InvalidData(["keys"], `found the key ${nameOf(twice)} twice`))
    }
    const names = Balancer.distinct(secrets.map(nameOf))
    const keys = secrets.map(
      (apiKey, index): Key => ({ name: names[index] as string, apiKey, weight: weights[index] as number })
    )
    const circuits = yield* CircuitBreaker.make({
      // `viewOf` records only failures that prove the key's fault.
      tripPolicy: CircuitBreaker.consecutive(1),
      // Slower than a target's breaker: other keys serve meanwhile, and a probe may hang.
      openDuration: { initial: "15 seconds", max: "5 minutes" },
      deadDuration: { initial: "60 seconds", max: "1 hour" },
      // The model over the pool waits, for whichever key comes first.
      maxWait: 0
    })
    const balancer = Balancer.make(keys, strategy)
    const records = keys.map(
      ({ name }): KeyRecord => ({
        name,
        health: KeyHealth.unasked,
        answeredAt: KeyHealth.never,
        reason: undefined,
        probes: 0
      })
    )
    const views = new Map<string, View>()
    return {
      keys,
      balancer,
      circuits,
      maxWait,
      for: (model) => {
        const view = views.get(model) ?? viewOf(records, circuits)
        views.set(model, view)
        return view
      },
      dueAt: (index) => {
        const at = circuits.readyAt((keys[index] as Key).name)
        return at === 0 || isDead(records[index]?.reason) ? undefined : at
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
