/**
 * The tables of the call log, and how they come to be.
 *
 * The same statements serve SQLite and PostgreSQL: `double precision` holds times, durations, tokens and dollars, since
 * both drivers return it as a number. Every statement can run twice, so that processes that start together do no harm.
 *
 * @since 0.2.0
 */

import * as SqlClient from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import * as Effect from "effect/Effect"

/**
 * A table: its columns with their types, in the order in which rows are written, and its key.
 *
 * @internal
 */
export interface Table {
  readonly name: string
  readonly columns: Readonly<Record<string, string>>
  readonly key: string
}

const number = "double precision"
const count = "integer not null"

/** Numbers of one call, and of all its attempts. Reports read nothing else, but for labels, handoffs and feedback. */
const calls: Table = {
  name: "steadfast_calls",
  columns: {
    id: "text not null",
    name: "text not null",
    operation: "text",
    started_at: `${number} not null`,
    day: "text not null",
    duration_ms: `${number} not null`,
    outcome: "text not null",
    provider: "text",
    model: "text",
    served_provider: "text",
    served_model: "text",
    error: "text",
    first_error: "text",
    attempts: count,
    retries: count,
    fallbacks: count,
    hedges: count,
    served_attempt: "integer",
    backoff_ms: `${number} not null`,
    queue_ms: `${number} not null`,
    first_token_ms: number,
    input_tokens: `${number} not null`,
    output_tokens: `${number} not null`,
    usd: number,
    wasted_usd: number,
    unpriced: count,
    usage_unknown: count,
    error_json: "text"
  },
  key: "id"
}

const attempts: Table = {
  name: "steadfast_attempts",
  columns: {
    call_id: "text not null",
    position: count,
    attempt: count,
    provider: "text not null",
    model: "text not null",
    key_name: "text",
    started_at: `${number} not null`,
    day: "text not null",
    duration_ms: `${number} not null`,
    outcome: "text not null",
    error: "text",
    status: number,
    request_id: "text",
    response_id: "text",
    response_model: "text",
    input_tokens: number,
    output_tokens: number,
    cached_input_tokens: number,
    cache_write_tokens: number,
    cache_write_hour_tokens: number,
    reasoning_tokens: number,
    cost: "text not null",
    usd: number,
    queued_ms: number,
    retry_ms: number,
    retry_reason: "text",
    fallback_from: "text",
    fallback_reason: "text",
    handoff: count,
    hedge: "integer",
    stream: "integer",
    first_token_ms: number,
    finish_reason: "text",
    limits_json: "text",
    error_json: "text"
  },
  key: "call_id, position"
}

const labels: Table = {
  name: "steadfast_labels",
  columns: { call_id: "text not null", name: "text not null", value: "text not null" },
  key: "call_id, name"
}

const feedback: Table = {
  name: "steadfast_feedback",
  columns: {
    call_id: "text not null",
    name: "text not null",
    score: `${number} not null`,
    given_at: `${number} not null`
  },
  key: "call_id, name"
}

const lost: Table = {
  name: "steadfast_lost",
  columns: {
    id: "text not null",
    reason: "text not null",
    records: count,
    first_at: `${number} not null`,
    last_at: `${number} not null`
  },
  key: "id"
}

/**
 * All tables.
 *
 * @internal
 */
export const tables = { calls, attempts, labels, feedback, lost }

const create = ({ columns, key, name }: Table): string =>
  `create table if not exists ${name} (${Object.entries(columns)
    .map(([column, type]) => `${column} ${type}`)
    .join(", ")}, primary key (${key}))`

/**
 * What a report counts by, in the order of its index. SQLite sorts nothing where it groups in the order of an index,
 * and sorting a million rows takes seconds.
 *
 * @internal
 */
export const groupColumns = ["day", "provider", "model", "first_error"] as const

const grouped = groupColumns.join(", ")

/** All that a report reads of a call, so that it reads this index, and not the wide rows. */
const reported =
  `${grouped}, outcome, served_attempt, started_at, attempts, retries, backoff_ms, queue_ms, usd, wasted_usd, ` +
  "unpriced, usage_unknown, input_tokens, output_tokens"

/** The statements of each version, the first one first. */
const versions: ReadonlyArray<ReadonlyArray<string>> = [
  [
    ...Object.values(tables).map(create),
    `create index if not exists steadfast_calls_report on steadfast_calls (${reported})`,
    ...["backoff_ms", "queue_ms"].map(
      (wait) =>
        `create index if not exists steadfast_calls_${wait} on steadfast_calls (${grouped}, started_at, ${wait}) ` +
        `where ${wait} > 0`
    ),
    "create index if not exists steadfast_calls_started on steadfast_calls (started_at)",
    "create index if not exists steadfast_calls_handoffs on steadfast_calls (started_at) where fallbacks > 0",
    "create index if not exists steadfast_calls_failed on steadfast_calls (started_at) where outcome <> 'success'",
    "create index if not exists steadfast_attempts_started on steadfast_attempts (started_at)"
  ]
]

const run: Effect.Effect<void, SqlError, SqlClient.SqlClient> = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  yield* sql.unsafe("create table if not exists steadfast_schema (version integer not null primary key)")
  const [found] = yield* sql.unsafe<{ readonly version: number | null }>(
    "select max(version) as version from steadfast_schema"
  )
  for (let version = found?.version ?? 0; version < versions.length; version++) {
    for (const statement of versions[version] ?? []) yield* sql.unsafe(statement)
    yield* sql`insert into steadfast_schema (version) values (${version + 1}) on conflict do nothing`
  }
})

/**
 * Makes the tables that are missing. Of two processes that make the same table at once, PostgreSQL refuses one: it
 * tries again, and finds the table.
 *
 * @since 0.2.0
 * @category schema
 */
export const migrate: Effect.Effect<void, SqlError, SqlClient.SqlClient> = Effect.retry(run, { times: 5 })
