/**
 * The questions that the dashboard's page asks of the call log.
 *
 * @since 0.2.0
 */

import * as SqlClient from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { CallRecord } from "../calls/CallRecord.js"
import { conditionsOf, joined, number, type Range } from "./CallQuery.js"
import { type CallSummary, calls, type Report, type ReportRow, report, timeline } from "./CallReport.js"
import { quality, type Said, type Scale, saidOf } from "./DashboardQuality.js"
import { type CallsSearch, type OverviewSearch, selected } from "./DashboardSearch.js"
import { type Series, series } from "./DashboardSeries.js"

/**
 * What the page shows but for single calls.
 *
 * @internal
 */
export interface Overview extends Series {
  readonly since: number
  readonly until: number
  readonly bucketMillis: number
  /** The width of a step of `again`. */
  readonly stepMillis: number
  /** All calls in one row; absent if there are none. */
  readonly totals: ReportRow | undefined
  /** `from` and `to`: the begins of the first and the last lost call; absent if none was lost. */
  readonly lost: Report["lost"] & { readonly from?: number; readonly to?: number }
  readonly targets: ReadonlyArray<ReportRow>
  /** What judges and users said. */
  readonly scales: ReadonlyArray<Scale>
  /** What can be chosen, of all calls of the time. */
  readonly choices: {
    readonly targets: ReadonlyArray<{ readonly provider: string; readonly model: string }>
    readonly labels: ReadonlyArray<{ readonly name: string; readonly value: string }>
  }
}

/**
 * What `api/calls` answers.
 *
 * @internal
 */
export interface Latest {
  readonly calls: ReadonlyArray<CallSummary>
}

/**
 * What `api/calls/:id` answers: the record, and what was said of the call.
 *
 * @internal
 */
export type Whole = typeof CallRecord.Encoded & { readonly feedback: ReadonlyArray<Said> }

type Found = Readonly<Record<string, unknown>>

/** Enough to know the labels in use, and quick in a log of millions. */
const labelledCalls = "2000"

const choicesOf = (range: Range, sql: SqlClient.SqlClient): Effect.Effect<Overview["choices"], SqlError> =>
  Effect.gen(function* () {
    const where = joined(sql, conditionsOf(sql, range))
    const targets = yield* sql<Found>`select c.provider as provider, c.model as model from steadfast_calls c
      where ${where} and c.provider is not null group by 1, 2 order by 1, 2`
    const found = yield* sql<Found>`select l.name as name, l.value as value, count(*) as calls
      from (select c.id as id from steadfast_calls c where ${where}
        order by c.started_at desc limit ${sql.literal(labelledCalls)}) newest
      join steadfast_labels l on l.call_id = newest.id group by 1, 2 order by calls desc, 1, 2 limit 200`
    return {
      targets: targets.map(({ model, provider }) => ({ provider: String(provider), model: String(model) })),
      labels: found.map(({ name, value }) => ({ name: String(name), value: String(value) }))
    }
  })

/** When the lost records were lost. */
const lostTimes = (lost: Report["lost"], { since = 0, until = 0 }: Range, sql: SqlClient.SqlClient) =>
  lost.records === 0
    ? Effect.succeed(lost)
    : Effect.map(
        sql<Found>`select min(first_at) as first, max(last_at) as last from steadfast_lost
          where last_at >= ${since} and first_at < ${until}`,
        ([found]) => ({ ...lost, from: number(found?.first), to: number(found?.last) })
      )

/**
 * The figures of a time.
 *
 * @internal
 */
export const overview = (search: typeof OverviewSearch.Type): Effect.Effect<Overview, SqlError, SqlClient.SqlClient> =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    const chosen = selected(search, yield* Clock.currentTimeMillis)
    const { bucket, filters, range, step } = chosen
    const targets = yield* report({ by: "target", filters, ...range })
    return {
      ...range,
      bucketMillis: bucket,
      stepMillis: step,
      totals: targets.total,
      lost: yield* lostTimes(targets.lost, range, sql),
      targets: targets.rows,
      ...(yield* series(chosen, sql)),
      scales: yield* quality(chosen, sql),
      choices: yield* choicesOf(range, sql)
    }
  })

/** As many as one looks through. */
const latestCalls = 30

/**
 * The newest calls of a time.
 *
 * @internal
 */
export const latest = ({
  failed,
  ...search
}: typeof CallsSearch.Type): Effect.Effect<Latest, SqlError, SqlClient.SqlClient> =>
  Effect.gen(function* () {
    const { filters, range } = selected(search, yield* Clock.currentTimeMillis)
    return { calls: yield* calls({ ...range, filters, failed: failed === "1", limit: latestCalls }) }
  })

const encode = Schema.encode(CallRecord)

/**
 * One call in full. None if the log does not hold it.
 *
 * @internal
 */
export const whole = (id: string): Effect.Effect<Option.Option<Whole>, SqlError, SqlClient.SqlClient> =>
  Effect.gen(function* () {
    const found = yield* timeline(id)
    if (Option.isNone(found)) return Option.none()
    const record = yield* Effect.orDie(encode(found.value))
    return Option.some({ ...record, feedback: yield* saidOf(id, yield* SqlClient.SqlClient) })
  })
