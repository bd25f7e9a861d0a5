/**
 * Reports over the call log.
 *
 * {@link report} counts calls by target, day, error or label: how many needed a second attempt, which attempt
 * answered, what waiting added, what it cost. {@link calls} lists calls with their chain of attempts, {@link timeline}
 * returns one in full. {@link reconcile} compares the log with a provider's bill.
 *
 * A call belongs to the target that it asked first, whoever answered: so the report of a target tells what became of
 * the calls meant for it. Its error is the first that it met.
 *
 * Gotchas: numbers that are unknown are in no sum. `unpriced` and `unknown` count the attempts whose cost is missing,
 * and `lost` the records that are. A percentile is the value at its rank (nearest rank), over all calls: a call that
 * did not wait is a zero.
 *
 * @example
 * import { Effect } from "effect"
 * import { CallReport } from "effect-steadfast/observability"
 *
 * const today = Effect.map(CallReport.report({ by: "target", since: Date.parse("2026-11-30") }), ({ rows }) =>
 *   rows.map((row) => `${row.group}: ${row.retries.rate}`)
 * )
 *
 * @since 0.2.0
 */

import * as SqlClient from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import type * as Statement from "@effect/sql/Statement"
import * as Effect from "effect/Effect"
import { groupColumns } from "./CallLogSchema.js"
import { conditionsOf, type Filters, joined, number, parts, type Range, totals } from "./CallQuery.js"

export { type Attempted, type CallSummary, type CallsOptions, calls, timeline } from "./CallList.js"
export type { Filters, Range } from "./CallQuery.js"
export {
  BillError,
  type BillLine,
  type Counted,
  parseBill,
  type Reconciliation,
  type ReconciliationLine,
  reconcile
} from "./Reconciliation.js"

/**
 * What a report counts by. `error` is the first error that a call met.
 *
 * @since 0.2.0
 * @category models
 */
export type By = "provider" | "model" | "target" | "day" | "error" | `label:${string}`

/**
 * The options of {@link report}.
 *
 * @since 0.2.0
 * @category options
 */
export interface ReportOptions extends Range {
  /** What to count by. */
  readonly by: By
  /** Which calls to count. Default: all. */
  readonly filters?: Filters | undefined
}

/**
 * Milliseconds at three ranks.
 *
 * @since 0.2.0
 * @category models
 */
export interface Percentiles {
  readonly p50: number
  readonly p95: number
  readonly p99: number
}

/**
 * Calls whose cost is known, and their cost. `usdPerCall` is absent if there is none.
 *
 * @since 0.2.0
 * @category models
 */
export interface Priced {
  readonly calls: number
  readonly usd: number
  readonly usdPerCall: number | undefined
}

/**
 * Calls that went on from one target to another.
 *
 * @since 0.2.0
 * @category models
 */
export interface Handoff {
  readonly from: string
  readonly to: string
  readonly reason: string
  readonly count: number
}

/**
 * The scores of calls on one scale.
 *
 * @since 0.2.0
 * @category models
 */
export interface Score {
  readonly name: string
  readonly count: number
  readonly mean: number
}

/**
 * One line of a report. `group` is `none` for calls without a target, an error or a value of the label.
 *
 * @since 0.2.0
 * @category models
 */
export interface ReportRow {
  readonly group: string
  readonly calls: number
  readonly succeeded: number
  readonly failed: number
  readonly interrupted: number
  readonly defects: number
  /** Calls that sent nothing: a circuit was open, a budget empty. */
  readonly unsent: number
  readonly attempts: number
  /** Further attempts for each call that sent something. `rate` is the share of these that needed a second. */
  readonly retries: { readonly mean: number; readonly max: number; readonly rate: number }
  /** Successful calls by the number of the attempt that answered; of several answers in a call, the highest number. */
  readonly servedBy: {
    readonly first: number
    readonly second: number
    readonly third: number
    readonly later: number
  }
  /** What waiting before retries added. */
  readonly backoffMillis: Percentiles
  /** What waiting for our own gates added: circuits, budgets, pacers. */
  readonly queueMillis: Percentiles
  readonly inputTokens: number
  readonly outputTokens: number
  readonly usd: number
  /** The part of `usd` that went to attempts without use. */
  readonly wastedUsd: number
  /** Attempts with a usage and no price. */
  readonly unpriced: number
  /** Attempts that may have cost something, of which the provider told no usage. */
  readonly unknown: number
  /** Successful calls that the first attempt served. */
  readonly normal: Priced
  /** Successful calls that a later attempt served. */
  readonly retried: Priced
  readonly handoffs: ReadonlyArray<Handoff>
  readonly feedback: ReadonlyArray<Score>
}

/**
 * A report. `lost` counts the records that the log could not keep in that time, by reason; they are in no row.
 *
 * @since 0.2.0
 * @category models
 */
export interface Report {
  readonly rows: ReadonlyArray<ReportRow>
  readonly lost: { readonly records: number; readonly overflow: number; readonly refused: number }
}

type Found = Readonly<Record<string, unknown>>

/** The group of a call, by the columns of a row `c`. */
const groups: Readonly<Record<string, string>> = {
  provider: "coalesce(c.provider, 'none')",
  model: "coalesce(c.model, 'none')",
  target: "coalesce(c.provider || '/' || c.model, 'none')",
  day: "c.day",
  error: "coalesce(c.first_error, 'none')"
}

const millis: Percentiles = { p50: 0, p95: 0, p99: 0 }
const ranks = { p50: 50, p95: 95, p99: 99 } as const

/** The rank of a percentile among `n` values, from 1. */
const rankOf = (n: number, percent: number): number => Math.ceil((n * percent) / 100)

const priced = (calls: unknown, usd: unknown): Priced => {
  const [count, sum] = [number(calls), number(usd)]
  return { calls: count, usd: sum, usdPerCall: count === 0 ? undefined : sum / count }
}

const rowOf = (found: Found, backoff: Percentiles, queue: Percentiles): ReportRow => {
  const [calls, unsent] = [number(found.calls), number(found.unsent)]
  const sent = calls - unsent
  return {
    group: String(found.grp),
    calls,
    succeeded: number(found.succeeded),
    failed: number(found.failed),
    interrupted: number(found.interrupted),
    defects: number(found.defects),
    unsent,
    attempts: number(found.attempts),
    retries: {
      mean: sent === 0 ? 0 : number(found.retries) / sent,
      max: number(found.most),
      rate: sent === 0 ? 0 : number(found.again) / sent
    },
    servedBy: {
      first: number(found.first),
      second: number(found.second),
      third: number(found.third),
      later: number(found.later)
    },
    backoffMillis: backoff,
    queueMillis: queue,
    inputTokens: number(found.input_tokens),
    outputTokens: number(found.output_tokens),
    usd: number(found.usd),
    wastedUsd: number(found.wasted),
    unpriced: number(found.unpriced),
    unknown: number(found.unknown),
    normal: priced(found.normal_calls, found.normal_usd),
    retried: priced(found.retried_calls, found.retried_usd),
    handoffs: [],
    feedback: []
  }
}

/** What the queries of one report share. */
interface Source {
  /** The group of a call. */
  readonly group: Statement.Fragment
  /** The calls, and their label if it is asked for. */
  readonly from: Statement.Fragment
  readonly where: Statement.Fragment
  /** What is counted by, as columns. */
  readonly columns: string
}

const sourceOf = (sql: SqlClient.SqlClient, { by, filters, ...range }: ReportOptions): Source => {
  const where = joined(sql, conditionsOf(sql, range, filters))
  const known = groups[by]
  if (known !== undefined) {
    const columns = groupColumns.map((column) => `c.${column}`).join(", ")
    return { group: sql.literal(known), from: sql.literal("steadfast_calls c"), where, columns }
  }
  const name = by.slice("label:".length)
  return {
    group: sql.literal("coalesce(l.value, 'none')"),
    from: sql`steadfast_calls c left join steadfast_labels l on l.call_id = c.id and l.name = ${name}`,
    where,
    columns: "l.value"
  }
}

/** Counts in two steps: the first one reads the calls in the order of their index, the second one few rows. */
const totalsOf = (sql: SqlClient.SqlClient, by: By, { columns, from, where }: Source) => {
  const labelled = groups[by] === undefined
  const group = labelled ? "coalesce(c.value, 'none')" : groups[by]
  const steps = sql.literal(`${columns}, c.outcome, c.served_attempt`)
  return sql<Found>`select ${sql.literal(group ?? "")} as grp, ${sql.literal(totals)} from (
      select ${steps}, ${sql.literal(parts)} from ${from} where ${where} group by ${steps}
    ) c group by 1 order by ${sql.literal(by === "day" ? "1" : "calls desc, 1")}`
}

/** The groups of one query for percentiles: it binds four values for each. */
const portion = 1000

/**
 * The percentiles of a wait in each group. Most calls do not wait: only those that did are sorted, and the zeros before
 * them counted.
 */
const percentilesOf = (
  sql: SqlClient.SqlClient,
  { from, group, where }: Source,
  rows: ReadonlyArray<Found>,
  column: "backoff_ms" | "queue_ms",
  counted: "backoffs" | "queues"
): Effect.Effect<ReadonlyMap<string, Percentiles>, SqlError> =>
  Effect.gen(function* () {
    const wait = sql.literal(`c.${column}`)
    const wanted = rows.flatMap((row) => {
      const [total, waits] = [number(row.calls), number(row[counted])]
      const place = (percent: number) => rankOf(total, percent) - (total - waits)
      const places = { p50: place(ranks.p50), p95: place(ranks.p95), p99: place(ranks.p99) }
      return places.p99 > 0 ? [{ key: String(row.grp), places }] : []
    })
    const all = new Map<string, Percentiles>()
    for (let start = 0; start < wanted.length; start += portion) {
      const some = wanted.slice(start, start + portion)
      const values = some.map(({ key, places: { p50, p95, p99 } }) => {
        const whole = [p50, p95, p99].map((place) => sql`cast(${place} as integer)`)
        return sql`(cast(${key} as text), ${sql.csv(whole)})`
      })
      const found = yield* sql<Found>`with n (grp, a, b, d) as (values ${sql.csv(values)}), p as (
          select ${group} as grp, ${wait} as wait, row_number() over (partition by ${group} order by ${wait}) as place
          from ${from} where ${where} and ${wait} > 0
        )
        select p.grp as grp, p.wait as wait, p.place as place from p join n on n.grp = p.grp
        where p.place in (n.a, n.b, n.d)`
      const waits = new Map(found.map(({ grp, place, wait }) => [JSON.stringify([grp, number(place)]), number(wait)]))
      for (const { key, places } of some) {
        const at = (place: number): number => waits.get(JSON.stringify([key, place])) ?? 0
        all.set(key, { p50: at(places.p50), p95: at(places.p95), p99: at(places.p99) })
      }
    }
    return all
  })

const handoffsOf = (sql: SqlClient.SqlClient, { from, group, where }: Source) =>
  sql<Found>`select ${group} as grp, a.fallback_from as source, a.provider || '/' || a.model as target,
      a.fallback_reason as reason, count(*) as times
    from ${from} cross join steadfast_attempts a
    where ${where} and c.fallbacks > 0 and a.call_id = c.id and a.handoff = 1
    group by 1, 2, 3, 4 order by times desc, 2, 3, 4`

const feedbackOf = (sql: SqlClient.SqlClient, { from, group, where }: Source) =>
  sql<Found>`select ${group} as grp, f.name as name, count(*) as times, avg(f.score) as mean
    from steadfast_feedback f cross join ${from}
    where c.id = f.call_id and ${where}
    group by 1, 2 order by 2`

const lostOf = (sql: SqlClient.SqlClient, { since = 0, until = Number.MAX_SAFE_INTEGER }: Range) =>
  Effect.map(
    sql<Found>`select reason, sum(records) as records from steadfast_lost
      where last_at >= ${since} and first_at < ${until} group by reason`,
    (found) => {
      const of = (reason: string) => number(found.find((row) => row.reason === reason)?.records)
      const [overflow, refused] = [of("overflow"), of("refused")]
      return { records: overflow + refused, overflow, refused }
    }
  )

/**
 * Counts the calls of a time by one of their properties; the groups with most calls come first, days in their order.
 *
 * @since 0.2.0
 * @category queries
 */
export const report = (options: ReportOptions): Effect.Effect<Report, SqlError, SqlClient.SqlClient> =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    const source = sourceOf(sql, options)
    const found = yield* totalsOf(sql, options.by, source)
    const backoff = yield* percentilesOf(sql, source, found, "backoff_ms", "backoffs")
    const queue = yield* percentilesOf(sql, source, found, "queue_ms", "queues")
    const handoffs = yield* handoffsOf(sql, source)
    const feedback = yield* feedbackOf(sql, source)
    const lost = yield* lostOf(sql, options)
    const rows = found.map((row): ReportRow => {
      const of = (all: ReadonlyArray<Found>) => all.filter(({ grp }) => grp === row.grp)
      const key = String(row.grp)
      return {
        ...rowOf(row, backoff.get(key) ?? millis, queue.get(key) ?? millis),
        handoffs: of(handoffs).map(({ reason, source, target, times }) => ({
          from: String(source),
          to: String(target),
          reason: String(reason),
          count: number(times)
        })),
        feedback: of(feedback).map(({ mean, name, times }) => ({
          name: String(name),
          count: number(times),
          mean: number(mean)
        }))
      }
    })
    return { rows, lost }
  })
