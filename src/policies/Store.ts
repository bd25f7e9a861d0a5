/**
 * Where a policy keeps its states by key: in its own memory, or in a {@link KeyedStore} that processes share.
 *
 * @since 0.2.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"

/**
 * A state in a store: plain JSON. A store may drop it from `keepUntil` on, in epoch milliseconds, and never if that is
 * `null`.
 *
 * @since 0.2.0
 * @category models
 */
export interface Entry {
  readonly keepUntil: number | null
}

/**
 * A store of states that processes share.
 *
 * `modify` replaces the state of a key in one step. `f` is pure and may run more than once, so a store may use
 * compare-and-swap. `undefined` stands for no state; `f` returns the state that it got where there is nothing to write.
 * The clocks of the processes must agree to within a fraction of a second.
 *
 * A store has no error channel. If it dies, the policy lets the call run, records nothing, and logs a warning. A policy
 * does not interrupt it, so a store must bound its own time.
 *
 * @since 0.2.0
 * @category models
 */
export interface KeyedStore {
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
 * A change of a state, and the answer of the function that made it.
 *
 * @internal
 */
export interface Changed<S, A> {
  readonly answer: A
  readonly before: S | undefined
  readonly next: S | undefined
}

/**
 * The states of one policy as this process knows them. `modify` succeeds with `undefined` if the store died; in memory
 * it is an exit already. `peek` and `keys` read the states that this process saw last.
 *
 * @internal
 */
export interface States<S> {
  readonly peek: (key: string) => S | undefined
  readonly keys: () => Iterable<string>
  readonly modify: <A>(
    key: string,
    now: number,
    f: (state: S | undefined) => readonly [A, S | undefined]
  ) => Effect.Effect<Changed<S, A> | undefined>
}

/** Dropped states take no room for longer than this, in milliseconds, and the sweep takes no time that counts. */
const sweepMillis = 60_000

/**
 * Whether a store may have dropped a state, which then counts as absent.
 *
 * @internal
 */
export const isDropped = ({ keepUntil }: Entry, now: number): boolean => keepUntil !== null && now >= keepUntil

const makeMemory = <S extends Entry>() => {
  const states = new Map<string, S>()
  let sweptAt = Number.NEGATIVE_INFINITY
  return {
    peek: (key: string): S | undefined => states.get(key),
    keys: (): Iterable<string> => states.keys(),
    set: (key: string, state: S | undefined, now: number): void => {
      if (state === undefined) states.delete(key)
      else states.set(key, state)
      if (now - sweptAt < sweepMillis) return
      sweptAt = now
      for (const [known, kept] of states) if (isDropped(kept, now)) states.delete(known)
    }
  }
}

/**
 * States in the memory of this process.
 *
 * @internal
 */
export const inMemory = <S extends Entry>(): States<S> => {
  const { keys, peek, set } = makeMemory<S>()
  return {
    peek,
    keys,
    modify: (key, now, f) => {
      const before = peek(key)
      const [answer, next] = f(before)
      if (next !== before) set(key, next, now)
      return Effect.succeed({ answer, before, next })
    }
  }
}

/**
 * States in a store. `name` says what a key names, in the warning that the store died.
 *
 * @internal
 */
export const inStore = <S extends Entry>(store: KeyedStore, name: string): States<S> => {
  const { keys, peek, set } = makeMemory<S>()
  return {
    peek,
    keys,
    modify: <A>(key: string, now: number, f: (state: S | undefined) => readonly [A, S | undefined]) => {
      const change = Effect.suspend(() =>
        store.modify<S, Changed<S, A>>(key, (before) => {
          const [answer, next] = f(before)
          return [{ answer, before, next }, next]
        })
      )
      const changed = Effect.matchCauseEffect(change, {
        onFailure: (cause) =>
          Effect.as(
            Effect.annotateLogs(Effect.logWarning("the store died, going on without it", cause), { [name]: key }),
            undefined
          ),
        onSuccess: (changed) => {
          set(key, changed.next, now)
          return Effect.succeed(changed)
        }
      })
      return Effect.uninterruptible(changed)
    }
  }
}
