/**
 * The policies that all models of a gateway share, and that outlive a reload: what was learned of a provider stays.
 *
 * @since 0.2.0
 */

import type * as HttpClient from "@effect/platform/HttpClient"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as KeyPool from "../policies/balance/KeyPool.js"
import * as CircuitBreaker from "../policies/circuit/CircuitBreaker.js"
import * as Pacer from "../policies/pacer/Pacer.js"
import { KeyedStore } from "../policies/Store.js"
import * as FaultyProvider from "../testing/FaultyProvider.js"
import type { Faults, Provider } from "./config/Resolved.js"
import * as Demo from "./Demo.js"
import { Shared } from "./Shared.js"

/**
 * The shared policies.
 *
 * @since 0.2.0
 * @category models
 */
export interface Policies {
  readonly breaker: CircuitBreaker.CircuitBreaker
  /** The pacer of a provider: one for each set of limits. */
  readonly pacer: (provider: Provider) => Effect.Effect<Pacer.Pacer>
  /** The pool of a provider's keys; asked for only where there are several. */
  readonly pool: (provider: Provider) => Effect.Effect<KeyPool.KeyPool>
  /** The client of an embedded provider. */
  readonly demo: (name: string, faults: Faults) => Effect.Effect<HttpClient.HttpClient>
  readonly pacers: () => ReadonlyArray<Pacer.Pacer>
  readonly pools: () => Readonly<Record<string, KeyPool.KeyPool>>
}

/** Makes one value for each key, and remembers it. */
const memoized = <A>() => {
  const made = new Map<string, A>()
  const of = (key: string, make: () => Effect.Effect<A>): Effect.Effect<A> =>
    Effect.suspend(() => {
      const known = made.get(key)
      if (known !== undefined) return Effect.succeed(known)
      return Effect.tap(make(), (value) => Effect.sync(() => made.set(key, value)))
    })
  return { made, of }
}

/** A pool's part of a store that it shares with others: two providers may have one key. */
const partOf = (context: Context.Context<never>, name: string): Context.Context<never> =>
  Option.match(Context.getOption(context, KeyedStore), {
    onNone: () => context,
    onSome: (store) => {
      const part: KeyedStore = { modify: (key, f) => store.modify(`${name} ${key}`, f) }
      return Context.add(context, KeyedStore, part)
    }
  })

/**
 * New policies. A breaker and pools keep their states in the `KeyedStore` of the context, if there is one, and pacers
 * are those of `Shared`.
 *
 * @since 0.2.0
 * @category constructors
 */
export const make: Effect.Effect<Policies> = Effect.gen(function* () {
  const context = yield* Effect.context<never>()
  const shared = Option.getOrUndefined(yield* Effect.serviceOption(Shared))
  const breaker = yield* CircuitBreaker.make()
  const pacers = memoized<Pacer.Pacer>()
  const pools = memoized<KeyPool.KeyPool>()
  const demos = memoized<HttpClient.HttpClient>()
  return {
    breaker,
    pacer: ({ limits, name }) =>
      Effect.suspend(() => {
        const id = limits === undefined ? "" : `${name} ${JSON.stringify(limits)}`
        return pacers.of(id, () => (shared === undefined ? Pacer.make(limits) : shared.pacer(id, limits)))
      }),
    pool: ({ keys, name }) =>
      pools.of(`${name} ${keys.map(KeyPool.nameOf).join(" ")}`, () =>
        // The keys are there already: no `Config` can fail.
        Effect.provide(Effect.orDie(KeyPool.make({ keys })), partOf(context, name))
      ),
    demo: (name, faults) =>
      demos.of(`${name} ${JSON.stringify(faults)}`, () =>
        Effect.map(FaultyProvider.make({ ...Demo.behaviour(faults), record: false }), ({ client }) => client)
      ),
    pacers: () => [...pacers.made.values()],
    pools: () => Object.fromEntries([...pools.made].map(([key, pool]) => [key.split(" ")[0] ?? key, pool]))
  }
})
