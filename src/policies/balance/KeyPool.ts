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
import * as Redacted from "effect/Redacted"
import * as CircuitBreaker from "../circuit/CircuitBreaker.js"
import * as PolicyOptions from "../Options.js"
import * as Balancer from "./Balancer.js"
import * as KeyHealth from "./KeyHealth.js"
import { nameOf } from "./KeyName.js"
import * as KeyView from "./KeyView.js"

export { nameOf } from "./KeyName.js"
export type { AttemptEnd, Outlook, View } from "./KeyView.js"

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
   * The longest wait for a key if all are out and the deadline allows it; 0 refuses at once. Default 60 seconds, the
   * longest hint that `RetryPolicy` waits for. A request whose fallback takes traffic does not wait.
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
  /**
   * The keys for a model. Two models with one name share the pauses of the keys, unless a thousand others were asked
   * for in between.
   */
  readonly for: (model: string) => KeyView.View
  /**
   * The time at which a key with hanging requests became ready for a probe, in epoch milliseconds; `undefined` for all
   * other keys.
   */
  readonly dueAt: (index: number) => number | undefined
  /** The states of all keys, by name. */
  readonly states: Effect.Effect<ReadonlyMap<string, KeyState>>
}

// -----------------------------------------------------------------------------
// constructors
// -----------------------------------------------------------------------------

const isSecret = (option: KeyOption): option is Secret => Redacted.isRedacted(option) || Config.isConfig(option)

/** Names of models may come from requests, so only the newest are remembered. */
const maxModels = 1000

/** The first secret that repeats an earlier one. */
const repeated = (secrets: ReadonlyArray<Redacted.Redacted>): Redacted.Redacted | undefined => {
  const seen = new Set<string>()
  return secrets.find((secret) => seen.size === seen.add(Redacted.value(secret)).size)
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
      // `KeyView` records only failures that prove the key's fault.
      tripPolicy: CircuitBreaker.consecutive(1),
      // Slower than a target's breaker: other keys serve meanwhile, and a probe may hang.
      openDuration: { initial: "15 seconds", max: "5 minutes" },
      deadDuration: { initial: "60 seconds", max: "1 hour" },
      // The model over the pool waits, for whichever key comes first.
      maxWait: 0
    })
    const balancer = Balancer.make(keys, strategy)
    const records = keys.map(
      ({ name }): KeyView.KeyRecord => ({
        name,
        health: KeyHealth.unasked,
        answeredAt: KeyHealth.never,
        reason: undefined,
        probes: 0
      })
    )
    const views = new Map<string, KeyView.View>()
    return {
      keys,
      balancer,
      circuits,
      maxWait,
      for: (model) => {
        const view = views.get(model) ?? KeyView.make(records, circuits)
        // The model asked for last stands last.
        views.delete(model)
        views.set(model, view)
        const [oldest] = views.keys()
        if (views.size > maxModels && oldest !== undefined) views.delete(oldest)
        return view
      },
      dueAt: (index) => {
        const at = circuits.readyAt((keys[index] as Key).name)
        return at === 0 || KeyView.isDead(records[index]?.reason) ? undefined : at
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
