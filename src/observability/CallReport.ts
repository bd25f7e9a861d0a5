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
import { groupColumns as alike, stepColumns } from "./CallLogSchema.js"
import { type Percentiles, percentiles, zeros } from "./CallPercentiles.js"
import { conditionsOf, type Filters, joined, number, parts, type Range, totals } from "./CallQuery.js"

export { type Attempted, type CallSummary, type CallsOptions, calls, timeline } from "./CallList.js"
export type { Percentiles } from "./CallPercentiles.js"
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
 * What a report counts by. `error` is the first error that a call met; `all` counts all calls together.
 *
 * @since 0.2.0
 * @category models
 */
export type By = "provider" | "model" | "target" | "day" | "error" | "all" | `label:${string}`

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
 * A report. `total` counts all calls of its rows together, and is absent without a call. `lost` counts the records that
 * the log could not keep in that time, by reason; they are in no row.
 *
 * @since 0.2.0
 * @category models
 */
export interface Report {
  readonly rows: ReadonlyArray<ReportRow>
  readonly total: ReportRow | undefined
  readonly lost: { readonly records: number; readonly overflow: number; readonly refused: number }
}

type Found = Readonly<Record<string, unknown>>

/** The group of a call, by the columns of a row `c`. */
const groups: Readonly<Record<string, string>> = {
  provider: "coalesce(c.provider, 'none')",
  model: "coalesce(c.model, 'none')",
  target: "coalesce(c.provider || '/' || c.model, 'none')",
  day: "c.day",
  error: "coalesce(c.first_error, 'none')",
  all: "'all'"
}

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
  /** What the second step of counting adds to the rows of the first. */
  readonly labels: Statement.Fragment
  /** What calls are told apart by where they are not counted, in the order of the indexes of waits. */
  readonly alike: ReadonlyArray<string>
  /** What the first step tells apart. */
  readonly steps: ReadonlyArray<string>
}

const sourceOf = (sql: SqlClient.SqlClient, { by, filters, ...range }: ReportOptions): Source => {
  const where = joined(sql, conditionsOf(sql, range, filters))
  const known = groups[by]
  const calls = sql.literal("steadfast_calls c")
  if (known !== undefined) {
    return { group: sql.literal(known), from: calls, where, labels: sql.literal(""), alike, steps: stepColumns }
  }
  const name = by.slice("label:".length)
  const labels = sql`left join steadfast_label_sets l on l.day = c.day and l.id = c.label_set and l.name = ${name}`
  return {
    group: sql.literal("coalesce(l.value, 'none')"),
    from: sql`${calls} ${labels}`,
    where,
    labels,
    alike: [...alike, "label_set"],
    steps: [...stepColumns, "label_set"]
  }
}

/** Counts in two steps: the first one reads the calls in the order of their index, the second one few rows. */
const totalsOf = (sql: SqlClient.SqlClient, { group, labels, steps, where }: Source) => {
  const columns = sql.literal(steps.map((column) => `c.${column}`).join(", "))
  return sql<Found>`select ${group} as grp, ${sql.literal(totals)} from (
      select ${columns}, ${sql.literal(parts)} from steadfast_calls c where ${where} group by ${columns}
    ) c ${labels} group by 1`
}

/** All rows in one. */
const sumOf = (rows: ReadonlyArray<Found>): Found => {
  const sum: Record<string, unknown> = { grp: "all" }
  for (const { grp, ...numbers } of rows) {
    for (const [name, value] of Object.entries(numbers)) sum[name] = number(sum[name]) + number(value)
  }
  return { ...sum, most: rows.reduce((most, row) => Math.max(most, number(row.most)), 0) }
}

const handoffsOf = (sql: SqlClient.SqlClient, { from, group, where }: Source) =>
  sql<Found>`select ${group} as grp, a.fallback_from as source, a.provider || '/' || a.model as target,
      a.fallback_reason as reason, count(*) as times
    from ${from} cross join steadfast_attempts a
    where ${where} and c.fallbacks > 0 and a.call_id = c.id and a.handoff = 1
    group by 1, 2, 3, 4`

const feedbackOf = (sql: SqlClient.SqlClient, { from, group, where }: Source) =>
  sql<Found>`select ${group} as grp, f.name as name, count(*) as times, sum(f.score) as score
    from steadfast_feedback f cross join ${from}
    where c.id = f.call_id and ${where}
    group by 1, 2`

const byText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)

/** The same handoffs of some groups are one, the most frequent first. */
const handoffsIn = (found: ReadonlyArray<Found>): ReadonlyArray<Handoff> => {
  const all = new Map<string, Handoff>()
  for (const { reason, source, target, times } of found) {
    const key = JSON.stringify([source, target, reason])
    const count = (all.get(key)?.count ?? 0) + number(times)
    all.set(key, { from: String(source), to: String(target), reason: String(reason), count })
  }
  return [...all.entries()].sort(([x, a], [y, b]) => b.count - a.count || byText(x, y)).map(([, handoff]) => handoff)
}

const scoresIn = (found: ReadonlyArray<Found>): ReadonlyArray<Score> => {
  const all = new Map<string, { readonly count: number; readonly sum: number }>()
  for (const { name, score, times } of found) {
    const { count, sum } = all.get(String(name)) ?? { count: 0, sum: 0 }
    all.set(String(name), { count: count + number(times), sum: sum + number(score) })
  }
  return [...all.entries()]
    .sort(([a], [b]) => byText(a, b))
    .map(([name, { count, sum }]) => ({ name, count, mean: sum / count }))
}

const byGroup = (found: ReadonlyArray<Found>): ReadonlyMap<string, ReadonlyArray<Found>> => {
  const all = new Map<string, Array<Found>>()
  for (const row of found) {
    const key = String(row.grp)
    const known = all.get(key)
    if (known === undefined) all.set(key, [row])
    else known.push(row)
  }
  return all
}

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
    const found = yield* totalsOf(sql, source)
    const counted = found.map((row) => ({ group: String(row.grp), calls: number(row.calls) }))
    const backoff = yield* percentiles(sql, source, "backoff_ms", counted)
    const queue = yield* percentiles(sql, source, "queue_ms", counted)
    const handoffs = yield* handoffsOf(sql, source)
    const feedback = yield* feedbackOf(sql, source)
    const lost = yield* lostOf(sql, options)
    const [handoffsBy, feedbackBy] = [byGroup(handoffs), byGroup(feedback)]
    const rows = found.map((row): ReportRow => {
      const key = String(row.grp)
      return {
        ...rowOf(row, backoff.groups.get(key) ?? zeros, queue.groups.get(key) ?? zeros),
        handoffs: handoffsIn(handoffsBy.get(key) ?? []),
        feedback: scoresIn(feedbackBy.get(key) ?? [])
      }
    })
    const sorted =
      options.by === "day"
        ? rows.sort((a, b) => byText(a.group, b.group))
        : rows.sort((a, b) => b.calls - a.calls || byText(a.group, b.group))
    const total: ReportRow | undefined =
      rows.length === 0
        ? undefined
        : {
            ...rowOf(sumOf(found), backoff.total, queue.total),
            handoffs: handoffsIn(handoffs),
            feedback: scoresIn(feedback)
          }
    return { rows: sorted, total, lost }
  })
