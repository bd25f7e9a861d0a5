/**
 * The states of a policy by key: in its own memory, or in a {@link KeyedStore} that processes share.
 *
 * @since 0.2.0
 */

import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"

/**
 * A state in a store: plain JSON.
 *
 * @since 0.2.0
 * @category models
 */
export interface Entry {
  /** The time from which a store may drop the state, in epoch milliseconds; `null` for never. */
  readonly keepUntil: number | null
}

/**
 * A store of states that processes share.
 *
 * The wall times of the processes must agree to within a fraction of a second; a state whose wait is longer than its
 * policy makes one is not believed. A store has no error channel: if it dies,
 * the policy lets the call run, records nothing, and logs a warning. A policy does not interrupt a store, so a store
 * must limit its own time.
 *
 * @since 0.2.0
 * @category models
 */
export interface KeyedStore {
  /**
   * Replaces the state of a key in one step; `undefined` stands for no state. `f` is pure and may run more than once,
   * so a store may use compare-and-swap. `f` returns the state unchanged if there is nothing to write.
   */
  readonly modify: <S extends Entry, A>(
    key: string,
    f: (state: S | undefined) => readonly [A, S | undefined]
  ) => Effect.Effect<A>
}

/**
 * The store that `CircuitBreaker.make` and `KeyPool.make` use if it is in the context. Without it each keeps its states
 * in memory.
 *
 * @since 0.2.0
 * @category context
 */
export const KeyedStore: Context.Tag<KeyedStore, KeyedStore> = Context.GenericTag<KeyedStore>("steadfast/KeyedStore")

/**
 * A change of a state, with the answer of the function that made it.
 *
 * @internal
 */
export interface Changed<S, A> {
  /** The time of the change, as in the states. */
  readonly at: number
  readonly answer: A
  readonly before: S | undefined
  readonly next: S | undefined
}

/**
 * The states of one policy. Their times are those of `Times.now` in memory, and wall times in a store.
 *
 * @internal
 */
export interface States<S> {
  /** The state of a key as this process last saw it. */
  readonly peek: (key: string) => S | undefined
  /** How far the times of that state are ahead of `Times.now`, in milliseconds. */
  readonly ahead: (key: string) => number
  /** The keys that this process knows. */
  readonly keys: () => Iterable<string>
  /**
   * Changes a state: `now` is that of `Times.now`, `at` the same time as in the states. Already an exit in memory;
   * succeeds with `undefined` if the store died.
   */
  readonly modify: <A>(
    key: string,
    now: number,
    f: (state: S | undefined, at: number) => readonly [A, S | undefined]
  ) => Effect.Effect<Changed<S, A> | undefined>
}

/**
 * The time between two sweeps of dropped states, in milliseconds: short enough to free memory, long enough to cost
 * nothing.
 */
const sweepMillis = 60_000

/**
 * Whether a store may have dropped a state. The state then counts as absent.
 *
 * @internal
 */
export const isDropped = ({ keepUntil }: Entry, now: number): boolean => keepUntil !== null && now >= keepUntil

/**
 * States in the memory of this process.
 *
 * @internal
 */
export const inMemory = <S extends Entry>(): States<S> => {
  const states = new Map<string, S>()
  let sweptAt = Number.NEGATIVE_INFINITY
  const set = (key: string, state: S | undefined, now: number): void => {
    if (state === undefined) states.delete(key)
    else states.set(key, state)
    if (now - sweptAt < sweepMillis) return
    sweptAt = now
    for (const [known, kept] of states) if (isDropped(kept, now)) states.delete(known)
  }
  return {
    peek: (key) => states.get(key),
    ahead: () => 0,
    keys: () => states.keys(),
    modify: (key, now, f) => {
      const before = states.get(key)
      const [answer, next] = f(before, now)
      if (next !== before) set(key, next, now)
      return Effect.succeed({ at: now, answer, before, next })
    }
  }
}

/** A state of a store as this process last saw it, and how far the wall time was ahead of `Times.now` then. */
interface Held<S> extends Entry {
  readonly state: S
  readonly ahead: number
}

/** A state that did not change keeps its `ahead`: the wall time may have jumped since. */
const hold = <S extends Entry>(before: Held<S> | undefined, state: S, ahead: number): Held<S> =>
  before !== undefined && JSON.stringify(before.state) === JSON.stringify(state)
    ? before
    : { state, ahead, keepUntil: state.keepUntil }

const inStore = <S extends Entry>(store: KeyedStore, name: string): States<S> => {
  const local = inMemory<Held<S>>()
  return {
    peek: (key) => local.peek(key)?.state,
    ahead: (key) => local.peek(key)?.ahead ?? 0,
    keys: local.keys,
    modify: <A>(key: string, now: number, f: (state: S | undefined, at: number) => readonly [A, S | undefined]) =>
      Effect.flatMap(Clock.currentTimeMillis, (at) => {
        const change = Effect.suspend(() =>
          store.modify<S, Changed<S, A>>(key, (before) => {
            const [answer, next] = f(before, at)
            return [{ at, answer, before, next }, next]
          })
        )
        const changed = Effect.matchCauseEffect(change, {
          onFailure: (cause) =>
            Effect.as(
              Effect.annotateLogs(Effect.logWarning("the store died, going on without it", cause), { [name]: key }),
              undefined
            ),
          onSuccess: (changed) =>
            Effect.as(
              local.modify(key, at, (held) => [undefined, changed.next && hold(held, changed.next, at - now)]),
              changed
            )
        })
        return Effect.uninterruptible(changed)
      })
  }
}

/**
 * States in the {@link KeyedStore} of the context, or else in memory. `name` names the key in the warning about a dead
 * store.
 *
 * @internal
 */
export const states = <S extends Entry>(name: string): Effect.Effect<States<S>> =>
  Effect.map(
    Effect.serviceOption(KeyedStore),
    Option.match({ onNone: () => inMemory<S>(), onSome: (store) => inStore<S>(store, name) })
  )
