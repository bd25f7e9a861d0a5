/**
 * Where the circuits of a breaker are kept: in its memory, or in a store shared by processes.
 *
 * @since 0.2.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { type Circuit, isForgotten } from "./CircuitState.js"

/**
 * Where circuits are kept, if not in the memory of the breaker.
 *
 * `modify` replaces the circuit of a key in one step. `f` is pure and may be run more than once, so compare-and-swap
 * will do; it gets and gives `undefined` where there is nothing to keep, and gives the circuit it got where there is
 * nothing to write. A circuit is plain JSON; from its `keepUntil` on, in epoch milliseconds, it may be dropped. The
 * clocks of the processes have to agree to within a fraction of the open times.
 *
 * A store has no error to fail with. Where it dies, the call runs, its outcome is not recorded, and a warning is
 * logged. It is not interrupted, so it has to bound its own time.
 *
 * @since 0.2.0
 * @category models
 */
export interface CircuitBreakerStore {
  readonly modify: <A>(
    key: string,
    f: (circuit: Circuit | undefined) => readonly [A, Circuit | undefined]
  ) => Effect.Effect<A>
}

/**
 * The store that `CircuitBreaker.make` takes where there is one. Without it each breaker keeps its circuits for itself,
 * in memory, for an hour after their last use.
 *
 * @since 0.2.0
 * @category context
 */
export const CircuitBreakerStore: Context.Tag<CircuitBreakerStore, CircuitBreakerStore> =
  Context.GenericTag<CircuitBreakerStore>("steadfast/CircuitBreakerStore")

/**
 * A change of a circuit, and what was answered.
 *
 * @internal
 */
export interface Changed<A> {
  readonly answer: A
  readonly before: Circuit | undefined
  readonly next: Circuit | undefined
}

type Modify<A> = (circuit: Circuit | undefined) => readonly [A, Circuit | undefined]

/**
 * Circuits in memory: a change is made at once, and costs no step of the runtime. `peek` looks at one.
 *
 * @internal
 */
export interface InMemory {
  readonly _tag: "InMemory"
  readonly peek: (key: string) => Circuit | undefined
  readonly modify: <A>(key: string, now: number, f: Modify<A>) => Changed<A>
  readonly size: () => number
}

/**
 * Circuits in a store: a change is an effect, with `undefined` where the store died. `peek` is what was seen last of
 * one.
 *
 * @internal
 */
export interface InStore {
  readonly _tag: "InStore"
  readonly peek: (key: string) => Circuit | undefined
  readonly modify: <A>(key: string, now: number, f: Modify<A>) => Effect.Effect<Changed<A> | undefined>
}

/** Often enough that what is forgotten takes no room, and seldom enough that looking for it takes no time. */
const sweepMillis = 60_000

/** Circuits by key, without those that may be forgotten. */
const makeMemory = () => {
  const circuits = new Map<string, Circuit>()
  let sweptAt = Number.NEGATIVE_INFINITY
  return {
    get: (key: string): Circuit | undefined => circuits.get(key),
    set: (key: string, circuit: Circuit | undefined, now: number): void => {
      if (circuit === undefined) circuits.delete(key)
      else circuits.set(key, circuit)
      if (now - sweptAt < sweepMillis) return
      sweptAt = now
      for (const [known, kept] of circuits) if (isForgotten(kept, now)) circuits.delete(known)
    },
    size: (): number => circuits.size
  }
}

/**
 * Circuits in memory.
 *
 * @internal
 */
export const inMemory = (): InMemory => {
  const memory = makeMemory()
  return {
    _tag: "InMemory",
    size: memory.size,
    peek: memory.get,
    modify: (key, now, f) => {
      const before = memory.get(key)
      const [answer, next] = f(before)
      if (next !== before) memory.set(key, next, now)
      return { answer, before, next }
    }
  }
}

/**
 * Circuits in a store, and what this process saw of them last.
 *
 * @internal
 */
export const inStore = (store: CircuitBreakerStore): InStore => {
  const seen = makeMemory()
  return {
    _tag: "InStore",
    peek: seen.get,
    modify: (key, now, f) => {
      const change = Effect.suspend(() =>
        store.modify(key, (before) => {
          const [answer, next] = f(before)
          return [{ answer, before, next }, next]
        })
      )
      return Effect.matchCauseEffect(change, {
        onFailure: (cause) =>
          Effect.as(
            Effect.annotateLogs(Effect.logWarning("the circuit breaker's store died, going on without it", cause), {
              circuit: key
            }),
            undefined
          ),
        onSuccess: (changed) => {
          seen.set(key, changed.next, now)
          return Effect.succeed(changed)
        }
      })
    }
  }
}
