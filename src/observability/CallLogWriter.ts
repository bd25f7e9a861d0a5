/**
 * The writes of the call log: what is written and deleted, and what to do when that fails.
 *
 * @since 0.2.0
 */

import * as SqlClient from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type { CallRecord } from "../calls/CallRecord.js"
import { dayOf, type Row, type Rows, rowsOf } from "./CallLogRows.js"
import { type Table, tables } from "./CallLogSchema.js"
import { inserts, together } from "./CallLogStatements.js"

/**
 * Inserts rows into a table. A row whose key is there already is left as it is.
 *
 * @internal
 */
export const insert = (table: Table, rows: ReadonlyArray<Row>): Effect.Effect<void, SqlError, SqlClient.SqlClient> =>
  Effect.flatMap(SqlClient.SqlClient, (sql) => together(inserts(sql, table, rows)))

/**
 * Each set of labels once, whichever calls share it.
 *
 * @internal
 */
export const setsOf = (rows: ReadonlyArray<Rows>): ReadonlyArray<Row> => {
  const sets = new Map(rows.map(({ call, labels }) => [`${call.day} ${call.label_set}`, { call, labels }]))
  return [...sets.values()].flatMap(({ call, labels }) =>
    labels.map(({ name = null, value = null }) => ({ day: call.day ?? null, id: call.label_set ?? null, name, value }))
  )
}

/**
 * Writes records with all that belongs to them, together: no call is there without its attempts, and none of these
 * without its call.
 *
 * @internal
 */
export const write = (records: ReadonlyArray<CallRecord>): Effect.Effect<void, SqlError, SqlClient.SqlClient> =>
  Effect.flatMap(SqlClient.SqlClient, (sql) => {
    const all = records.map(rowsOf)
    const attempts: Array<Row> = []
    const labels: Array<Row> = []
    const calls: Array<Row> = []
    for (const rows of all) {
      calls.push(rows.call)
      for (const row of rows.attempts) attempts.push(row)
      for (const row of rows.labels) labels.push(row)
    }
    return together([
      ...inserts(sql, tables.attempts, attempts),
      ...inserts(sql, tables.labels, labels),
      ...inserts(sql, tables.labelSets, setsOf(all)),
      ...inserts(sql, tables.calls, calls)
    ])
  })

/** What a driver says of values that no later try makes good: SQLite by name, PostgreSQL by class. */
const refusals = /^(?:SQLITE_(?:CONSTRAINT|TOOBIG|MISMATCH|RANGE)|22|23|54)/

/**
 * Whether the database took offence at the values, so that trying again is of no use.
 *
 * @internal
 */
export const isRefusal = (cause: Cause.Cause<SqlError>): boolean => {
  const error: unknown = Cause.squash(cause)
  const inner = (error as { readonly cause?: unknown } | undefined)?.cause ?? error
  if (inner instanceof RangeError || inner instanceof TypeError) return true
  return refusals.test(String((inner as { readonly code?: unknown } | undefined)?.code ?? ""))
}

/**
 * Why a statement failed, in a line.
 *
 * @internal
 */
export const whyOf = (cause: Cause.Cause<unknown>): string => {
  const error: unknown = Cause.squash(cause)
  const inner = (error as { readonly cause?: unknown } | undefined)?.cause ?? error
  const message = inner instanceof Error ? inner.message : String(inner)
  return message.slice(0, 200)
}

/** The calls that one statement deletes: few enough not to hold up a writer. */
const portion = 500

/** The tables that hold rows of a call, and the columns that name it. */
const owners = [
  { name: tables.labels.name, key: "call_id" },
  { name: tables.feedback.name, key: "call_id" },
  { name: tables.attempts.name, key: "call_id" },
  { name: tables.calls.name, key: "id" }
]

/** The rest between two portions, in which others write. */
const rest = "20 millis"

/**
 * Deletes what began before a time, in portions of whole calls.
 *
 * @internal
 */
export const deleteBefore = (cutoff: number): Effect.Effect<void, SqlError, SqlClient.SqlClient> =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    for (;;) {
      const old = yield* sql<{ readonly id: string }>`select id from steadfast_calls where started_at < ${cutoff}
        order by started_at limit ${sql.literal(String(portion))}`
      if (old.length === 0) break
      const values = old.map(({ id }) => id)
      const places = values.map(() => "?").join(",")
      yield* together(
        owners.map(({ key, name }) => ({ text: `delete from ${name} where ${key} in (${places})`, values }))
      )
      yield* Effect.sleep(rest)
    }
    yield* sql`delete from steadfast_label_sets where day < ${dayOf(cutoff)}`
    yield* sql`delete from steadfast_lost where last_at < ${cutoff}`
  })
