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
import * as Option from "effect/Option"

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
    error_json: "text",
    label_set: "text"
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

/**
 * The different sets of labels of a day, which many calls share. A report counts by set first, and looks up few sets
 * instead of the labels of each call. They go with their day.
 */
const labelSets: Table = {
  name: "steadfast_label_sets",
  columns: { day: "text not null", id: "text not null", name: "text not null", value: "text not null" },
  key: "day, id, name"
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
export const tables = { calls, attempts, labels, labelSets, feedback, lost }

const create = ({ columns, key, name }: Table): string =>
  `create table if not exists ${name} (${Object.entries(columns)
    .map(([column, type]) => `${column} ${type}`)
    .join(", ")}, primary key (${key}))`

/**
 * What a report counts by, but for labels.
 *
 * @internal
 */
export const groupColumns = ["day", "provider", "model", "first_error"] as const

const grouped = groupColumns.join(", ")

/**
 * What calls are told apart by in the first step of a report, in the order of its index. SQLite sorts nothing where it
 * groups in the order of an index, and sorting a million rows takes seconds. Small whole numbers are among them: what
 * is equal in a group need not be added up call by call.
 *
 * @internal
 */
export const stepColumns = [
  ...groupColumns,
  ...["outcome", "served_attempt", "attempts", "retries", "unpriced", "usage_unknown"]
] as const

/** All that the first step reads of a call, so that it reads this index, and not the wide rows. */
const reported = `${stepColumns.join(", ")}, label_set, started_at, usd, wasted_usd, input_tokens, output_tokens`

const index = (name: string, on: string, where = ""): string =>
  `create index if not exists ${name} on ${on}${where === "" ? "" : ` where ${where}`}`

type Step = Effect.Effect<unknown, SqlError, SqlClient.SqlClient>

const run = (statement: string): Step => Effect.flatMap(SqlClient.SqlClient, (sql) => sql.unsafe(statement))

const runAll = (statements: ReadonlyArray<string>): Step => Effect.forEach(statements, run, { discard: true })

const first: Step = runAll([
  ...Object.values(tables).map(create),
  index("steadfast_calls_started", "steadfast_calls (started_at)"),
  index("steadfast_calls_failed", "steadfast_calls (started_at)", "outcome <> 'success'"),
  index("steadfast_attempts_started", "steadfast_attempts (started_at)")
])

/** SQLite has no `add column if not exists`. */
const addLabelSet: Step = Effect.catchAll(run("select label_set from steadfast_calls limit 0"), () =>
  run("alter table steadfast_calls add column label_set text")
)

/** Calls that are there share the set of the first call with equal labels, under its id. */
const fillLabelSets: Step = Effect.flatMap(SqlClient.SqlClient, (sql) => {
  const all = sql.onDialectOrElse({
    pg: () => "jsonb_object_agg(name, value)::text",
    orElse: () => "json_group_object(name, value)"
  })
  return runAll([
    `update steadfast_calls set label_set = s.id from (
      select call_id, min(call_id) over (partition by labels) as id from (
        select call_id, ${all} as labels from (select * from steadfast_labels order by call_id, name) l group by call_id
      ) sets
    ) s where s.call_id = steadfast_calls.id and steadfast_calls.label_set is null`,
    `insert into steadfast_label_sets (day, id, name, value)
      select distinct c.day, c.label_set, l.name, l.value
      from steadfast_calls c join steadfast_labels l on l.call_id = c.label_set
      where c.label_set is not null on conflict do nothing`
  ])
})

/**
 * An index covers a query only with the columns of its own condition in it, and is chosen for them.
 *
 * PostgreSQL bounds what an index holds: five names may be too long together. There the key of the table must do.
 */
const indexHandoffs: Step = Effect.flatMap(SqlClient.SqlClient, (sql) =>
  sql.onDialectOrElse({
    pg: () => Effect.void,
    orElse: () =>
      run(
        index(
          "steadfast_attempts_handoffs",
          "steadfast_attempts (call_id, handoff, fallback_from, provider, model, fallback_reason)",
          "handoff = 1"
        )
      )
  })
)

const second: Step = Effect.all(
  [
    run(create(labelSets)),
    // What has these names may be of the first version.
    runAll(
      ["report", "backoff_ms", "queue_ms", "handoffs"].map((name) => `drop index if exists steadfast_calls_${name}`)
    ),
    addLabelSet,
    fillLabelSets,
    run(index("steadfast_calls_reported", `steadfast_calls (${reported})`)),
    ...["backoff", "queue"].map((wait) =>
      run(
        index(
          `steadfast_calls_${wait}`,
          `steadfast_calls (${grouped}, label_set, started_at, ${wait}_ms)`,
          `${wait}_ms > 0`
        )
      )
    ),
    run(
      index(
        "steadfast_calls_handed",
        `steadfast_calls (${grouped}, label_set, started_at, fallbacks, id)`,
        "fallbacks > 0"
      )
    ),
    indexHandoffs
  ],
  { discard: true }
)

/** What each version does, the first one first. */
const versions: ReadonlyArray<Step> = [first, second]

const found = Effect.flatMap(SqlClient.SqlClient, (sql) =>
  Effect.map(
    sql.unsafe<{ readonly version: number | null }>("select max(version) as version from steadfast_schema"),
    ([row]) => row?.version ?? 0
  )
)

const make: Effect.Effect<void, SqlError, SqlClient.SqlClient> = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  yield* sql.unsafe("create table if not exists steadfast_schema (version integer not null primary key)")
  for (let version = yield* found; version < versions.length; version++) {
    yield* versions[version] ?? Effect.void
    yield* sql`insert into steadfast_schema (version) values (${version + 1}) on conflict do nothing`
  }
})

/**
 * Makes the tables that are missing, and brings those of an earlier version up to date. Of two processes that make the
 * same table at once, PostgreSQL refuses one: it tries again, and finds the table.
 *
 * @since 0.2.0
 * @category schema
 */
export const migrate: Effect.Effect<void, SqlError, SqlClient.SqlClient> = Effect.retry(make, { times: 5 })

/**
 * Brings a call log up to date, and makes none. Whether there is one.
 *
 * @internal
 */
export const upgrade: Effect.Effect<boolean, SqlError, SqlClient.SqlClient> = Effect.flatMap(
  Effect.option(found),
  Option.match({
    onNone: () => Effect.succeed(false),
    onSome: (version) => Effect.as(version < versions.length ? migrate : Effect.void, true)
  })
)
