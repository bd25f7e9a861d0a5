/**
 * The call log: every call with its attempts, in SQL.
 *
 * {@link layer} installs an observer (`Call.observe`). It puts each record into a bounded buffer and never waits; one
 * fiber writes the buffer, many rows in a statement. A database that is slow or away delays the rows, never a call:
 * writes are tried again until they succeed. Records that find the buffer full are dropped, counted, told in the log
 * once a minute, and noted in `steadfast_lost` when the database is back, so that a report can say so.
 *
 * The newest are dropped, not the oldest: those in the buffer may already be half written, one that never entered it
 * is certainly not. So the count is exact.
 *
 * No prompt and no answer is stored, nor a header or a key: a record holds none. `CallReport` reads the tables.
 *
 * Any `SqlClient` for SQLite or PostgreSQL will do. `CallLogLibsql.layer` keeps the log in a file.
 *
 * Gotchas: what is in the buffer is lost if the process is killed; close the layer's scope to write it. {@link layer}
 * takes a client that is there; {@link layerFrom} makes one when it can, so that a program starts without its database.
 *
 * @example
 * import { PgClient } from "@effect/sql-pg"
 * import { Config } from "effect"
 * import { CallLog } from "effect-steadfast/observability"
 *
 * const log = CallLog.layerFrom(PgClient.layerConfig({ url: Config.redacted("DATABASE_URL") }), { keep: "90 days" })
 *
 * @since 0.2.0
 */

import * as SqlClient from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as ExecutionStrategy from "effect/ExecutionStrategy"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as Call from "../calls/Call.js"
import type { CallRecord } from "../calls/CallRecord.js"
import * as PolicyOptions from "../policies/Options.js"
import * as Buffer from "./CallLogBuffer.js"
import { textOf } from "./CallLogRows.js"
import { migrate, tables } from "./CallLogSchema.js"
import { deleteBefore, insert, isRefusal, whyOf, write } from "./CallLogWriter.js"

export { migrate } from "./CallLogSchema.js"

const settings = PolicyOptions.struct({
  maxBuffered: PolicyOptions.optional(
    PolicyOptions.number({ min: 1, max: 10_000_000, whole: true }),
    "The most records that wait to be written; what comes when it is full is dropped and counted",
    10_000
  ),
  batchSize: PolicyOptions.optional(
    PolicyOptions.number({ min: 1, max: 10_000, whole: true }),
    "The records that are written together",
    200
  ),
  flushEvery: PolicyOptions.optional(
    PolicyOptions.duration({ above: 0, finite: true }),
    "The longest time that a record waits for others",
    "1 second"
  ),
  keep: PolicyOptions.optional(PolicyOptions.duration({ above: 0 }), "The age at which records are deleted", "30 days"),
  closeWithin: PolicyOptions.optional(
    PolicyOptions.duration({ finite: true }),
    "The time to write what is left when the layer closes",
    "5 seconds"
  )
})

/**
 * The options of {@link layer} in JSON or YAML: durations are text with a unit.
 *
 * @since 0.2.0
 * @category options
 */
export const Options = settings.schema

/**
 * The options of {@link layer}.
 *
 * @since 0.2.0
 * @category options
 */
export interface Options {
  /** The most records that wait to be written; what comes when it is full is dropped and counted. Default 10,000. */
  readonly maxBuffered?: number | undefined
  /** The records that are written together. Default 200. */
  readonly batchSize?: number | undefined
  /** The longest time that a record waits for others. Default 1 second. */
  readonly flushEvery?: Duration.DurationInput | undefined
  /** The age at which records are deleted; `Infinity` keeps all. Default 30 days. */
  readonly keep?: Duration.DurationInput | undefined
  /** The time to write what is left when the layer closes. Default 5 seconds. */
  readonly closeWithin?: Duration.DurationInput | undefined
}

/**
 * What people, or a judge, thought of a call.
 *
 * @since 0.2.0
 * @category models
 */
export interface Feedback {
  /** The id of the call's record. */
  readonly call: string
  /** The scale: `thumbs`, `judge`. A call has one score on each; a later one replaces it. */
  readonly name: string
  /** The score. A report tells the mean. */
  readonly score: number
}

/**
 * Records since the start, by what became of them.
 *
 * @since 0.2.0
 * @category models
 */
export interface Stats {
  /** In the database. */
  readonly written: number
  /** In the buffer. */
  readonly waiting: number
  /** Dropped since the buffer was full, or refused by the database. */
  readonly lost: number
}

/**
 * The open call log.
 *
 * @since 0.2.0
 * @category context
 */
export class CallLog extends Context.Tag("steadfast/CallLog")<
  CallLog,
  {
    /** Completes when the records up to now are written or lost. */
    readonly flush: Effect.Effect<void>
    /** What became of the records. */
    readonly stats: Effect.Effect<Stats>
    /** Stores a score of a call. The call's own row may come later. */
    readonly feedback: (feedback: Feedback) => Effect.Effect<void, SqlError>
  }
>() {}

/** The waits after failed writes, in milliseconds: the first, doubled up to the last; and each while the log closes. */
const waits = { first: 100, most: 5_000, closing: 100 }

/** A write that takes longer is given up and tried again: a connection may be dead without a sign. */
const longestWrite = "30 seconds"

/** How often old records are looked for. */
const retentionEvery = "1 hour"

/** The time that a driver has to close its connections. */
const disconnectWithin = "1 second"

/** Does what needs the database until it succeeds. What fails is told, and once a minute again. */
const persist = <A, R>(buffer: Buffer.CallLogBuffer, self: Effect.Effect<A, unknown, R>): Effect.Effect<A, never, R> =>
  Effect.gen(function* () {
    for (let tries = 0; ; tries++) {
      const exit = yield* Effect.exit(Effect.timeout(Effect.disconnect(self), longestWrite))
      if (Exit.isSuccess(exit)) return exit.value
      if (Exit.isInterrupted(exit)) return yield* Effect.interrupt
      const line = buffer.tell(yield* Clock.currentTimeMillis, "cannot write")
      if (line !== undefined) yield* Effect.logWarning(`${line}: ${whyOf(exit.cause)}`)
      yield* buffer.pause(buffer.closing ? waits.closing : Math.min(waits.first * 2 ** tries, waits.most))
    }
  })

/** Writes a batch. A record that the database refuses does not hold up the others: it is found by halves. */
const writeAll = (
  buffer: Buffer.CallLogBuffer,
  batch: ReadonlyArray<CallRecord>
): Effect.Effect<void, SqlError, SqlClient.SqlClient> =>
  Effect.catchAllCause(write(batch), (cause) => {
    if (!isRefusal(cause)) return Effect.failCause(cause)
    if (batch.length > 1) {
      const half = Math.ceil(batch.length / 2)
      const halves = [batch.slice(0, half), batch.slice(half)]
      return Effect.forEach(halves, (part) => writeAll(buffer, part), { discard: true })
    }
    for (const record of batch) buffer.lose(record, "refused")
    return Effect.logWarning(`call log: the database refused a record: ${whyOf(cause)}`)
  })

/** Writes what comes until the log is closed and the buffer empty. */
const writer = (
  buffer: Buffer.CallLogBuffer,
  options: { readonly batchSize: number; readonly flushEvery: number }
): Effect.Effect<void, never, SqlClient.SqlClient> =>
  Effect.gen(function* () {
    while (!buffer.finished()) {
      yield* buffer.ready(options.flushEvery)
      const batch = buffer.peek(options.batchSize)
      if (batch.length > 0) {
        yield* persist(buffer, writeAll(buffer, batch))
        buffer.remove(batch.length)
      }
      const lost = buffer.lost()
      if (lost.length === 0) continue
      yield* persist(buffer, insert(tables.lost, lost))
      buffer.noted(lost)
      const records = lost.reduce((sum, row) => sum + Number(row.records), 0)
      yield* Effect.logWarning(`call log: ${records} records were lost; steadfast_lost tells when`)
    }
  })

/** Deletes what is too old, again and again. */
const retention = (keep: number): Effect.Effect<never, never, SqlClient.SqlClient> =>
  keep === Number.POSITIVE_INFINITY
    ? Effect.never
    : Effect.flatMap(Clock.currentTimeMillis, (now) => deleteBefore(now - keep)).pipe(
        Effect.catchAllCause((cause) =>
          Cause.isInterrupted(cause)
            ? Effect.interrupt
            : Effect.logWarning(`call log: old records were not deleted: ${whyOf(cause)}`)
        ),
        Effect.zipRight(Effect.sleep(retentionEvery)),
        Effect.forever
      )

/** What is left when the layer closes has its time, and is told if that was not enough. */
const close = (
  buffer: Buffer.CallLogBuffer,
  fiber: Fiber.RuntimeFiber<void>,
  resources: Scope.CloseableScope,
  within: number
): Effect.Effect<void> =>
  Effect.gen(function* () {
    buffer.close()
    // A finalizer cannot be interrupted: what has a limit in it must say that it can be.
    yield* Effect.timeoutOption(Effect.interruptible(Fiber.await(fiber)), within)
    yield* Fiber.interruptFork(fiber)
    const { waiting } = buffer.stats()
    if (waiting > 0) yield* Effect.logWarning(`call log closed: ${waiting} records were not written, and are lost`)
    const closing = yield* Effect.forkDaemon(Scope.close(resources, Exit.void))
    yield* Effect.timeoutOption(Effect.interruptible(Fiber.join(closing)), disconnectWithin)
  })

const noteFeedback = ({ call, name, score }: Feedback): Effect.Effect<void, SqlError, SqlClient.SqlClient> =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    const now = yield* Clock.currentTimeMillis
    yield* sql`insert into steadfast_feedback (call_id, name, score, given_at)
      values (${textOf(call)}, ${textOf(name)}, ${score}, ${now})
      on conflict (call_id, name) do update set score = excluded.score, given_at = excluded.given_at`
  })

/** The log over a client that is made in a scope of its own, which outlives the last write. */
const open = <R>(
  connect: Effect.Effect<SqlClient.SqlClient, unknown, R | Scope.Scope>,
  given: Options
): Effect.Effect<Layer.Layer<CallLog>, never, Scope.Scope | Exclude<R, Scope.Scope>> =>
  Effect.gen(function* () {
    const options = settings.read(given, "CallLog")
    const buffer = Buffer.make(options.maxBuffered, options.batchSize)
    const resources = yield* Scope.make()
    const connected = yield* Deferred.make<SqlClient.SqlClient>()
    const attempt = Effect.flatMap(Scope.fork(resources, ExecutionStrategy.sequential), (scope) =>
      Effect.onError(Effect.provideService(connect, Scope.Scope, scope), (cause) =>
        Scope.close(scope, Exit.failCause(cause))
      )
    )
    const work = Effect.gen(function* () {
      const client = yield* persist(buffer, attempt)
      const ready = Effect.zipRight(persist(buffer, migrate), Deferred.succeed(connected, client))
      const all = Effect.zipRight(ready, Effect.raceFirst(writer(buffer, options), retention(options.keep)))
      yield* Effect.provideService(all, SqlClient.SqlClient, client)
    })
    // Daemon: the finalizer lets it end by itself. Its statements belong to no trace of the application.
    const fiber = yield* Effect.forkDaemon(Effect.interruptible(Effect.withTracerEnabled(work, false)))
    yield* Effect.addFinalizer(() => close(buffer, fiber, resources, options.closeWithin))
    const observer = (record: CallRecord): Effect.Effect<void> => {
      if (buffer.add(record)) return Effect.void
      return Effect.flatMap(Clock.currentTimeMillis, (now) => {
        const line = buffer.tell(now, "is full")
        return line === undefined ? Effect.void : Effect.logWarning(line)
      })
    }
    const log: Context.Tag.Service<CallLog> = {
      flush: buffer.flush,
      stats: Effect.sync(buffer.stats),
      feedback: (feedback) =>
        Effect.flatMap(Deferred.await(connected), (client) =>
          Effect.provideService(noteFeedback(feedback), SqlClient.SqlClient, client)
        )
    }
    // A layer: built here, its observer would hide those of the layers beside it, or they this one.
    return Layer.merge(Layer.succeed(CallLog, log), Call.observe(observer))
  })

/**
 * The call log over a client that is there. See {@link Options}.
 *
 * @since 0.2.0
 * @category layers
 */
export const layer = (options: Options = {}): Layer.Layer<CallLog, never, SqlClient.SqlClient> =>
  Layer.unwrapScoped(open(SqlClient.SqlClient, options))

/**
 * The call log over a client of its own, which is made when the database is there. A program starts without it, and its
 * calls are not slower: the records wait.
 *
 * @since 0.2.0
 * @category layers
 */
export const layerFrom = <E, R>(
  client: Layer.Layer<SqlClient.SqlClient, E, R>,
  options: Options = {}
): Layer.Layer<CallLog, never, R> => {
  const connect = Effect.map(Layer.build(client), (context) => Context.get(context, SqlClient.SqlClient))
  return Layer.unwrapScoped(open(connect, options)) as Layer.Layer<CallLog, never, R>
}
