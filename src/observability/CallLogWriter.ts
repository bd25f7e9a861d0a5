/**
 * The writes of the call log: many rows in one statement, and what to do when a statement fails.
 *
 * @since 0.2.0
 */

import * as SqlClient from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type { CallRecord } from "../calls/CallRecord.js"
import { dayOf, type Row, type Rows, rowsOf, type Value } from "./CallLogRows.js"
import { type Table, tables } from "./CallLogSchema.js"

/** SQLite binds 32,766 values in a statement, PostgreSQL 65,535. */
const mostValues = 32_000

const texts = new Map<string, string>()

/** One INSERT of many rows. The texts are kept: batches have few sizes. */
const insertText = (table: Table, rows: number, numbered: boolean): string => {
  const key = `${table.name} ${rows} ${numbered}`
  const known = texts.get(key)
  if (known !== undefined) return known
  const columns = Object.keys(table.columns)
  const group = (row: number) =>
    `(${columns.map((_, index) => (numbered ? `$${row * columns.length + index + 1}` : "?")).join(",")})`
  const values = Array.from({ length: rows }, (_, row) => group(row)).join(",")
  const text = `insert into ${table.name} (${columns.join(",")}) values ${values} on conflict do nothing`
  if (texts.size > 1000) texts.clear()
  texts.set(key, text)
  return text
}

/**
 * Inserts rows into a table. A row whose key is there already is left as it is.
 *
 * @internal
 */
export const insert = (table: Table, rows: ReadonlyArray<Row>): Effect.Effect<void, SqlError, SqlClient.SqlClient> =>
  Effect.flatMap(SqlClient.SqlClient, (sql) => {
    const columns = Object.keys(table.columns)
    const most = Math.floor(mostValues / columns.length)
    const numbered = sql.onDialectOrElse({ pg: () => true, orElse: () => false })
    const chunks: Array<ReadonlyArray<Row>> = []
    for (let start = 0; start < rows.length; start += most) chunks.push(rows.slice(start, start + most))
    return Effect.forEach(
      chunks,
      (chunk) => {
        const values: Array<Value> = []
        for (const row of chunk) for (const column of columns) values.push(row[column] ?? null)
        return sql.unsafe(insertText(table, chunk.length, numbered), values)
      },
      { discard: true }
    )
  })

/**
 * Each set of labels once, whichever calls share it.
 *
 * @internal
 */
export const setsOf = (rows: ReadonlyArray<Rows>): ReadonlyArray<Row> => [
  ...new Map(rows.flatMap(({ labelSet }) => labelSet.map((row) => [`${row.day} ${row.id} ${row.name}`, row]))).values()
]

/**
 * Writes records with all that belongs to them. The row of a call comes last: where it is, its attempts are too,
 * without a transaction.
 *
 * @internal
 */
export const write = (records: ReadonlyArray<CallRecord>): Effect.Effect<void, SqlError, SqlClient.SqlClient> =>
  Effect.suspend(() => {
    const rows = records.map(rowsOf)
    return insert(
      tables.attempts,
      rows.flatMap(({ attempts }) => attempts)
    ).pipe(
      Effect.zipRight(
        insert(
          tables.labels,
          rows.flatMap(({ labels }) => labels)
        )
      ),
      Effect.zipRight(insert(tables.labelSets, setsOf(rows))),
      Effect.zipRight(
        insert(
          tables.calls,
          rows.map(({ call }) => call)
        )
      )
    )
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

/** The rest between two portions, in which others write. */
const rest = "20 millis"

/**
 * Deletes what began before a time, in portions.
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
      const ids = old.map(({ id }) => id)
      yield* sql`delete from steadfast_labels where ${sql.in("call_id", ids)}`
      yield* sql`delete from steadfast_feedback where ${sql.in("call_id", ids)}`
      yield* sql`delete from steadfast_attempts where ${sql.in("call_id", ids)}`
      yield* sql`delete from steadfast_calls where ${sql.in("id", ids)}`
      yield* Effect.sleep(rest)
    }
    yield* sql`delete from steadfast_label_sets where day < ${dayOf(cutoff)}`
    yield* sql`delete from steadfast_lost where last_at < ${cutoff}`
  })
