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

/** What both databases do with the rows of one JSON text. A row whose key is there already is left as it is. */
const insertFrom = (table: string, names: string, values: string, source: string, rows: unknown): Statement => ({
  text: `insert into ${table} (${names}) select ${values} from ${source} where true on conflict do nothing`,
  values: [JSON.stringify(rows)]
})

/**
 * The statements that insert rows into a table, as one value with JSON. PostgreSQL reads it faster than a text with
 * thousands of parameters. SQLite makes of such a text a program of its own for each row, which stays in memory until
 * the collector finds the statement: writing took a gigabyte. Columns that are null in all rows are left out, since
 * SQLite reads JSON anew for each value.
 *
 * @internal
 */
export const inserts = (sql: SqlClient.SqlClient, table: Table, rows: ReadonlyArray<Row>): ReadonlyArray<Statement> => {
  if (rows.length === 0) return []
  const columns = Object.entries(table.columns).filter(([column]) => rows.some((row) => (row[column] ?? null) !== null))
  const names = columns.map(([column]) => column).join(",")
  if (isPostgres(sql)) {
    const types = columns.map(([column, type]) => `${column} ${type.replace(" not null", "")}`).join(",")
    return [insertFrom(table.name, names, names, `json_to_recordset(?::json) as r(${types})`, rows)]
  }
  const places = columns.map((_, index) => `value ->> ${index}`).join(",")
  const arrays = rows.map((row) => columns.map(([column]) => row[column] ?? null))
  return [insertFrom(table.name, names, places, "json_each(?)", arrays)]
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
    const [first] = statements
    if (first === undefined) return
    if (isPostgres(sql)) return yield* Effect.asVoid(run(joined(statements)))
    if (statements.length === 1) return yield* Effect.asVoid(run(first))
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
