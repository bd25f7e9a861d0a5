/**
 * The questions that the dashboard's page asks of the call log.
 *
 * @since 0.2.0
 */

import * as SqlClient from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { textOf } from "./CallLogRows.js"
import { conditionsOf, type Filters, joined, number, type Range } from "./CallQuery.js"
import { type CallSummary, calls, type Report, type ReportRow, report } from "./CallReport.js"

const Text = Schema.NonEmptyString.pipe(Schema.maxLength(256))
const maybe = <A extends string>(self: Schema.Schema<A>) => Schema.optionalWith(self, { exact: true })
const labelPrefix = "label."

const selection = {
  range: maybe(
    Schema.Literal("1h", "24h", "7d", "30d").annotations({
      message: () => ({ message: "expected 1h, 24h, 7d or 30d", override: true })
    })
  ),
  provider: maybe(Text),
  model: maybe(Text)
}

const labels = Schema.Record({ key: Schema.TemplateLiteral(labelPrefix, Schema.String), value: Text })

/**
 * The query of `api/overview`.
 *
 * @internal
 */
export const OverviewSearch = Schema.Struct(selection, labels)

/**
 * The query of `api/calls`.
 *
 * @internal
 */
export const CallsSearch = Schema.Struct({ ...selection, failed: maybe(Schema.Literal("1")) }, labels)

const minute = 60_000
const hour = 60 * minute

/** Each time with the width of a point in its chart: 200 points at most, each of a length that people count in. */
const spans = {
  "1h": { millis: hour, bucket: minute },
  "24h": { millis: 24 * hour, bucket: 10 * minute },
  "7d": { millis: 7 * 24 * hour, bucket: hour },
  "30d": { millis: 30 * 24 * hour, bucket: 4 * hour }
} as const

/**
 * The calls of some minutes or hours.
 *
 * @internal
 */
export interface Bucket {
  /** Its begin, in epoch milliseconds. */
  readonly at: number
  readonly calls: number
  /** Calls that failed, or died of a defect. */
  readonly failed: number
  /** Calls by the first error that they met, whatever became of them. */
  readonly errors: Readonly<Record<string, number>>
}

/**
 * What the page shows but for single calls.
 *
 * @internal
 */
export interface Overview {
  readonly since: number
  readonly until: number
  readonly bucketMillis: number
  /** All calls in one row; absent if there are none. */
  readonly totals: ReportRow | undefined
  readonly lost: Report["lost"]
  readonly targets: ReadonlyArray<ReportRow>
  /** Those with calls, the first first. */
  readonly buckets: ReadonlyArray<Bucket>
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

interface Selected {
  readonly range: { readonly since: number; readonly until: number }
  readonly bucket: number
  readonly filters: Filters
}

/** As the log holds it: PostgreSQL refuses the rest. */
const stored = (text: string | undefined) => (text === undefined ? undefined : textOf(text))

/** Both ends lie where a bucket begins: no bucket is cut, and answers stay the same while nothing is written. */
const selected = ({ model, provider, range = "24h", ...rest }: typeof OverviewSearch.Type, now: number): Selected => {
  const { bucket, millis } = spans[range]
  const until = Math.floor(now / bucket) * bucket + bucket
  return {
    range: { since: until - millis, until },
    bucket,
    filters: {
      provider: stored(provider),
      model: stored(model),
      labels: Object.fromEntries(
        Object.entries(rest).map(([name, value]) => [textOf(name.slice(labelPrefix.length)), textOf(String(value))])
      )
    }
  }
}

type Found = Readonly<Record<string, unknown>>

const bucketsOf = (
  { bucket, filters, range }: Selected,
  sql: SqlClient.SqlClient
): Effect.Effect<ReadonlyArray<Bucket>, SqlError> =>
  Effect.map(
    sql<Found>`select floor((c.started_at - ${range.since}) / ${bucket}) as place, c.first_error as error,
        count(*) as calls, sum(case when c.outcome in ('failure', 'defect') then 1 else 0 end) as failed
      from steadfast_calls c where ${joined(sql, conditionsOf(sql, range, filters))}
      group by 1, 2 order by 1`,
    (found) => {
      const all = new Map<number, Bucket>()
      for (const { calls, error, failed, place } of found) {
        const at = range.since + number(place) * bucket
        const known = all.get(at) ?? { at, calls: 0, failed: 0, errors: {} }
        all.set(at, {
          at,
          calls: known.calls + number(calls),
          failed: known.failed + number(failed),
          errors: error === null ? known.errors : { ...known.errors, [String(error)]: number(calls) }
        })
      }
      return [...all.values()]
    }
  )

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

/**
 * The figures of a time.
 *
 * @internal
 */
export const overview = (search: typeof OverviewSearch.Type): Effect.Effect<Overview, SqlError, SqlClient.SqlClient> =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    const chosen = selected(search, yield* Clock.currentTimeMillis)
    const { bucket, filters, range } = chosen
    const targets = yield* report({ by: "target", filters, ...range })
    return {
      ...range,
      bucketMillis: bucket,
      totals: targets.total,
      lost: targets.lost,
      targets: targets.rows,
      buckets: yield* bucketsOf(chosen, sql),
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
