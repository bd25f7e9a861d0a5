/**
 * Statements of the call log that happen together or not at all, and its INSERTs of many rows.
 *
 * A process may be killed between two statements. So what belongs together is one thing for the database: one statement
 * in PostgreSQL, the driver's batch in libSQL, and a transaction in another SQLite.
 *
 * @since 0.2.0
 */

import * as SqlClient from "@effect/sql/SqlClient"
import { SqlError } from "@effect/sql/SqlError"
import * as Effect from "effect/Effect"
import type { Row, Value } from "./CallLogRows.js"
import type { Table } from "./CallLogSchema.js"

/**
 * A statement with a `?` for each of its values.
 *
 * @internal
 */
export interface Statement {
  readonly text: string
  readonly values: ReadonlyArray<Value>
}

const isPostgres = (sql: SqlClient.SqlClient): boolean => sql.onDialectOrElse({ pg: () => true, orElse: () => false })

/** The most values of one statement: SQLite takes 32,766. */
const most = 8000

/** In parts, each of which has few enough values. */
const partsOf = (rows: ReadonlyArray<Row>, columns: number): ReadonlyArray<ReadonlyArray<Row>> => {
  const size = Math.max(1, Math.floor(most / columns))
  return Array.from({ length: Math.ceil(rows.length / size) }, (_, part) => rows.slice(part * size, (part + 1) * size))
}

/**
 * The statements that insert rows into a table. A row whose key is there already is left as it is. Columns that are
 * null in all rows are left out.
 *
 * PostgreSQL reads one value with JSON faster than a text with thousands of parameters. In SQLite it is the other way:
 * it reads JSON anew for each value of a row. Its statements are large, and need the {@link turn} after them.
 *
 * @internal
 */
export const inserts = (sql: SqlClient.SqlClient, table: Table, rows: ReadonlyArray<Row>): ReadonlyArray<Statement> => {
  if (rows.length === 0) return []
  const columns = Object.entries(table.columns).filter(([column]) => rows.some((row) => (row[column] ?? null) !== null))
  const names = columns.map(([column]) => column)
  const into = `insert into ${table.name} (${names.join(",")})`
  if (isPostgres(sql)) {
    const types = columns.map(([column, type]) => `${column} ${type.replace(" not null", "")}`).join(",")
    const text = `${into} select ${names.join(",")} from json_to_recordset(?::json) as r(${types}) on conflict do nothing`
    return [{ text, values: [JSON.stringify(rows)] }]
  }
  const row = `(${names.map(() => "?").join(",")})`
  return partsOf(rows, names.length).map((part) => {
    const values: Array<Value> = []
    for (const of of part) for (const name of names) values.push(of[name] ?? null)
    return { text: `${into} values ${part.map(() => row).join(",")} on conflict do nothing`, values }
  })
}

/** The libSQL driver behind a connection of `@effect/sql-libsql`. */
interface Batching {
  readonly batch: (
    statements: ReadonlyArray<{ readonly sql: string; readonly args: ReadonlyArray<Value> }>,
    mode: "write"
  ) => Promise<unknown>
}

const batchingOf = (connection: object): Batching | undefined => {
  const { sdk } = connection as { readonly sdk?: Partial<Batching> }
  return typeof sdk?.batch === "function" ? (sdk as Batching) : undefined
}

/**
 * A turn of the event loop. The driver's promises are done at once, so that a writer with much to do takes none, and
 * without one Node gives back no memory of the driver's statements: a million records took 1.1 GB.
 */
const turn = (): Promise<void> => new Promise((resolve) => void setTimeout(resolve, 0))

/** One statement: all parts of it see the tables as they were before it. */
const joined = (statements: ReadonlyArray<Statement>): Statement => {
  let number = 0
  const texts = statements.map(({ text }) => text.replace(/\?/g, () => `$${++number}`))
  const parts = texts.slice(0, -1).map((text, index) => `s${index} as (${text})`)
  const last = texts[texts.length - 1] ?? ""
  return {
    text: parts.length === 0 ? last : `with ${parts.join(", ")} ${last}`,
    values: statements.flatMap(({ values }) => values)
  }
}

/**
 * Runs statements together: what a killed process leaves is all of them, or none. In PostgreSQL none may need what
 * another of them wrote.
 *
 * @internal
 */
export const together = (statements: ReadonlyArray<Statement>): Effect.Effect<void, SqlError, SqlClient.SqlClient> =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    const run = ({ text, values }: Statement) => sql.unsafe(text, values)
    if (statements.length === 0) return
    if (isPostgres(sql)) return yield* Effect.asVoid(run(joined(statements)))
    // A place in the line of the client's transactions, which have the connection for themselves.
    const driver = batchingOf(yield* sql.reserve)
    if (driver === undefined) return yield* sql.withTransaction(Effect.forEach(statements, run, { discard: true }))
    // `withTransaction` of this client never gives its only permit back once it has met a lock.
    yield* Effect.tryPromise({
      try: () =>
        driver
          .batch(
            statements.map(({ text, values }) => ({ sql: text, args: values })),
            "write"
          )
          .then(turn),
      catch: (cause) => new SqlError({ cause, message: "Failed to execute a batch" })
    })
  }).pipe(Effect.scoped)
