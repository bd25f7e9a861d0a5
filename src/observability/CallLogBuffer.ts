/**
 * The records that wait for the call log's writer, and the account of those that were lost.
 *
 * @since 0.2.0
 */

import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as FiberId from "effect/FiberId"
import type { CallRecord } from "../calls/CallRecord.js"
import type { Row } from "./CallLogRows.js"

/** Why a record was lost. */
type Loss = "overflow" | "refused"

/** How often the same trouble is told, in milliseconds. */
const tellEvery = 60_000

/** The lost records of one kind, until they are noted. */
interface Losses {
  records: number
  firstAt: number
  lastAt: number
}

/**
 * @internal
 */
export type CallLogBuffer = ReturnType<typeof make>

/**
 * A buffer of at most `most` records, from which batches of `batchSize` are taken. Adding never waits.
 *
 * @internal
 */
export const make = (most: number, batchSize: number) => {
  const some = Effect.unsafeMakeLatch(false)
  const full = Effect.unsafeMakeLatch(false)
  const closed = Effect.unsafeMakeLatch(false)
  const waiters: Array<{ readonly until: number; readonly done: Deferred.Deferred<void> }> = []
  const losses = new Map<Loss, Losses>()
  const told = new Map<string, number>()
  let queue: Array<CallRecord> = []
  let noting: Array<Row> = []
  let [accepted, removed, refused, overflown] = [0, 0, 0, 0]
  let closing = false

  const lose = (record: CallRecord, reason: Loss): void => {
    if (reason === "refused") refused++
    else overflown++
    const at = record.startedAt
    const known = losses.get(reason)
    if (known === undefined) losses.set(reason, { records: 1, firstAt: at, lastAt: at })
    else {
      known.records++
      known.firstAt = Math.min(known.firstAt, at)
      known.lastAt = Math.max(known.lastAt, at)
    }
  }

  const settled = (): void => {
    while (waiters[0] !== undefined && waiters[0].until <= removed) {
      const waiter = waiters.shift()
      if (waiter !== undefined) Deferred.unsafeDone(waiter.done, Effect.void)
    }
  }

  return {
    get closing(): boolean {
      return closing
    },

    /** Takes a record. False if there is no room: then it is lost. */
    add: (record: CallRecord): boolean => {
      if (queue.length >= most) {
        lose(record, "overflow")
        return false
      }
      accepted++
      const length = queue.push(record)
      if (length === 1) some.unsafeOpen()
      if (length === batchSize) full.unsafeOpen()
      return true
    },

    lose,

    /** Completes when there is a batch to write: a full one, an older one, or any that somebody waits for. */
    ready: (flushEvery: number): Effect.Effect<void> =>
      Effect.suspend(() => {
        if (closing || waiters.length > 0 || queue.length >= batchSize) return Effect.void
        full.unsafeClose()
        const older = Effect.raceFirst(Effect.sleep(flushEvery), full.await)
        if (queue.length > 0) return older
        some.unsafeClose()
        return Effect.zipRight(
          some.await,
          Effect.suspend(() => (closing || waiters.length > 0 ? Effect.void : older))
        )
      }),

    /** The oldest records. They stay in the buffer until they are written. */
    peek: (count: number): ReadonlyArray<CallRecord> => queue.slice(0, count),

    /** Removes the oldest records: they are written, or were lost. */
    remove: (count: number): void => {
      queue = queue.slice(count)
      removed += count
      settled()
    },

    /** The rows of losses that are not noted yet. */
    lost: (): ReadonlyArray<Row> => {
      for (const [reason, { firstAt, lastAt, records }] of losses) {
        const id = globalThis.crypto.randomUUID()
        noting.push({ id, reason, records, first_at: firstAt, last_at: lastAt })
      }
      losses.clear()
      return noting
    },

    /** Those rows are in the database. */
    noted: (rows: ReadonlyArray<Row>): void => {
      noting = noting.filter((row) => !rows.includes(row))
    },

    /** A line about a trouble, unless it was told within the last minute. */
    tell: (now: number, trouble: "is full" | "cannot write"): string | undefined => {
      const last = told.get(trouble)
      if (last !== undefined && now - last < tellEvery) return undefined
      told.set(trouble, now)
      return `call log ${trouble}: ${queue.length} records wait, ${refused + overflown} are lost`
    },

    /** A wait that the begin of the close ends. */
    pause: (millis: number): Effect.Effect<void> =>
      Effect.suspend(() => (closing ? Effect.sleep(millis) : Effect.raceFirst(Effect.sleep(millis), closed.await))),

    /** Completes when the records up to now are gone. */
    flush: Effect.suspend(() => {
      if (removed >= accepted) return Effect.void
      const done = Deferred.unsafeMake<void>(FiberId.none)
      waiters.push({ until: accepted, done })
      some.unsafeOpen()
      full.unsafeOpen()
      return Deferred.await(done)
    }),

    /** From here on nothing waits for company. */
    close: (): void => {
      closing = true
      for (const latch of [some, full, closed]) latch.unsafeOpen()
    },

    /** Whether the close has nothing left to do. */
    finished: (): boolean => closing && queue.length === 0 && losses.size === 0 && noting.length === 0,

    stats: () => ({ written: removed - refused, waiting: queue.length, lost: refused + overflown })
  }
}
