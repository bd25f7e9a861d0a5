/**
 * The states of circuits and keys, in the primary: a `KeyedStore` by compare-and-swap.
 *
 * A worker keeps what it last saw, runs the change on that, and asks the primary to swap it. If another worker was
 * first, it gets the newer state and runs the change again. Changes of one key that come while a swap is under way go
 * together in the next one, so that a worker never races with itself.
 *
 * @since 0.2.0
 */

import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { Entry, KeyedStore } from "../../policies/Store.js"
import * as Store from "../../policies/Store.js"
import * as Port from "./Port.js"

const isState = (u: unknown): u is Entry => {
  if (typeof u !== "object" || u === null || !("keepUntil" in u)) return false
  return u.keepUntil === null || typeof u.keepUntil === "number"
}

const State = Schema.declare(isState)

const Swap = Schema.Struct({
  key: Schema.String,
  /** The version that the change was made of; 0 for no state, -1 for none that is known. */
  version: Schema.Number,
  /** The new state, `null` for none; absent to keep the one that is there. */
  state: Schema.optional(Schema.NullOr(State))
})

const Swapped = Schema.Struct({
  swapped: Schema.Boolean,
  version: Schema.Number,
  state: Schema.optional(Schema.NullOr(State))
})

/** The time between two sweeps of states that may be dropped, in milliseconds. */
const sweepMillis = 60_000

/**
 * The primary's half.
 *
 * @internal
 */
export const table = () => {
  const states = new Map<string, { readonly version: number; readonly state: Entry }>()
  let last = 0
  let sweptAt = 0

  const get = (key: string, now: number) => {
    const found = states.get(key)
    if (found === undefined || !Store.isDropped(found.state, now)) return found
    states.delete(key)
    return undefined
  }

  const sweep = (now: number): void => {
    if (now - sweptAt < sweepMillis) return
    sweptAt = now
    for (const [key, { state }] of states) if (Store.isDropped(state, now)) states.delete(key)
  }

  /** Changes a state if it has the version that was seen. */
  const swap = ({ key, state, version }: typeof Swap.Type, now: number): typeof Swapped.Type => {
    sweep(now)
    const found = get(key, now)
    const current = found?.version ?? 0
    if (current !== version) return { swapped: false, version: current, state: found?.state ?? null }
    if (state === undefined) return { swapped: true, version }
    if (state === null) {
      states.delete(key)
      return { swapped: true, version: 0 }
    }
    last += 1
    states.set(key, { version: last, state })
    return { swapped: true, version: last }
  }

  return {
    swap,
    serve: (port: Port.Port): void => port.on("swap", Swap, (ask, reply) => reply(swap(ask, Date.now())))
  }
}

interface Change {
  readonly f: (state: Entry | undefined) => readonly [unknown, Entry | undefined]
  readonly resume: (answer: Effect.Effect<unknown>) => void
}

/** A key in a worker: what it last saw, and the changes that wait for the swap under way. */
interface Line {
  version: number
  state: Entry | undefined
  busy: boolean
  changes: Array<Change>
}

/** A worker remembers so many keys; one that it forgets costs a round more. */
const mostLines = 10_000

/** A swap that met another worker's is made again so often. Each time some other worker was first. */
const mostTries = 100

/**
 * The worker's half.
 *
 * @internal
 */
export const store = (port: Port.Port): KeyedStore => {
  const lines = new Map<string, Line>()

  const lineOf = (key: string): Line => {
    const known = lines.get(key)
    if (known !== undefined) return known
    for (const [old, { busy }] of lines) {
      if (lines.size < mostLines) break
      if (!busy) lines.delete(old)
    }
    const made = { version: -1, state: undefined, busy: false, changes: [] }
    lines.set(key, made)
    return made
  }

  const fail = (changes: ReadonlyArray<Change>, line: Line, cause: unknown): void => {
    line.version = -1
    for (const { resume } of changes) resume(Effect.die(cause))
  }

  /** Runs the changes on the state that is known, and swaps it. */
  const tried = (key: string, line: Line, before: ReadonlyArray<Change>, tries: number): Effect.Effect<void> => {
    const changes = [...before, ...line.changes]
    line.changes = []
    const answers: Array<readonly [Change, Effect.Effect<unknown>]> = []
    let { state } = line
    if (line.version >= 0) {
      for (const change of changes) {
        try {
          const [answer, next] = change.f(state)
          state = next
          answers.push([change, Effect.succeed(answer)])
        } catch (cause) {
          answers.push([change, Effect.die(cause)])
        }
      }
    }
    const written = state === line.state ? {} : { state: state ?? null }
    return Effect.matchEffect(port.ask("swap", { key, version: line.version, ...written }, Swapped), {
      onFailure: (lost) => Effect.sync(() => fail(changes, line, lost)),
      onSuccess: (found) => {
        line.version = found.version
        if (found.swapped) {
          line.state = state
          for (const [{ resume }, answer] of answers) resume(answer)
          return Effect.void
        }
        line.state = found.state ?? undefined
        if (tries < mostTries) return tried(key, line, changes, tries + 1)
        return Effect.sync(() => fail(changes, line, new Port.Lost({ op: "swap", why: "other workers are faster" })))
      }
    })
  }

  const drain = (key: string, line: Line): Effect.Effect<void> =>
    Effect.flatMap(tried(key, line, [], 0), () =>
      Effect.suspend(() => {
        if (line.changes.length > 0) return drain(key, line)
        line.busy = false
        return Effect.void
      })
    )

  return {
    modify: (key, f) =>
      Effect.async((resume) => {
        const line = lineOf(key)
        line.changes.push({ f: f as Change["f"], resume: resume as Change["resume"] })
        if (line.busy) return
        line.busy = true
        Effect.runFork(drain(key, line))
      })
  }
}
