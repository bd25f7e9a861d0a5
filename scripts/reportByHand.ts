/**
 * The figures of a report by provider, as one would write them by hand in SQL: what a report is measured against.
 */
import * as SqlClient from "@effect/sql/SqlClient"
import { Effect } from "effect"
import type { CallReport } from "effect-steadfast/observability"

const counts = `select coalesce(provider, 'none') as grp, count(*) as calls, sum(outcome = 'success') as succeeded,
  sum(outcome = 'failure') as failed, sum(outcome = 'interrupted'), sum(outcome = 'defect'), sum(attempts = 0),
  sum(attempts) as attempts, sum(retries), max(retries), sum(retries > 0),
  sum(served_attempt = 1), sum(served_attempt = 2), sum(served_attempt = 3), sum(served_attempt > 3),
  sum(input_tokens) as input, sum(output_tokens), sum(usd) as usd, sum(wasted_usd), sum(unpriced), sum(usage_unknown),
  count(usd) filter (where served_attempt = 1), sum(usd) filter (where served_attempt = 1),
  count(usd) filter (where served_attempt > 1), sum(usd) filter (where served_attempt > 1)
  from steadfast_calls group by 1`

/** Only waits are sorted: the calls that did not wait stand before them. */
const percentiles = (column: string, numbers: string): string => `with
  n (grp, calls, waits) as (values ${numbers}),
  waits as (select coalesce(provider, 'none') as grp, ${column} as wait from steadfast_calls where ${column} > 0),
  ranked as (
    select grp, wait, row_number() over (partition by grp order by wait) as rank from waits
    union all select 'total', wait, row_number() over (order by wait) from waits
  )
  select n.grp, p.column1 as percent, wait from n cross join (values (50), (95), (99)) p
    join ranked r on r.grp = n.grp and r.rank = ceil(n.calls * p.column1 / 100.0) - (n.calls - n.waits)`

const waited = "select coalesce(provider, 'none') as grp, count(*) as waits from steadfast_calls"

const handoffs = `select coalesce(c.provider, 'none') as grp, a.fallback_from, a.provider || '/' || a.model,
    a.fallback_reason, count(*) as times
  from steadfast_attempts a join steadfast_calls c on c.id = a.call_id where a.handoff = 1 group by 1, 2, 3, 4`

type Found = Readonly<Record<string, string | number>>

interface Figures {
  readonly group: string
  readonly calls: number
  readonly failed: number
  readonly inputTokens: number
  readonly backoff: ReadonlyArray<number>
  readonly queue: ReadonlyArray<number>
  readonly handoffs: number
}

/** Some of the figures, for each provider and in total. */
export const byHand = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const rows = yield* sql.unsafe<Found>(counts)
  const sum = (all: ReadonlyArray<Found>, name: string): number =>
    all.reduce((total, row) => total + Number(row[name]), 0)
  const waits = (column: string) =>
    Effect.gen(function* () {
      const counted = yield* sql.unsafe<Found>(`${waited} where ${column} > 0 group by 1`)
      const of = (group: unknown) => counted.find(({ grp }) => grp === group)?.waits ?? 0
      const numbers = rows.map(({ calls, grp }) => `('${grp}', ${calls}, ${of(grp)})`)
      numbers.push(`('total', ${sum(rows, "calls")}, ${sum(counted, "waits")})`)
      const found = yield* sql.unsafe<Found>(percentiles(column, numbers.join(", ")))
      return (group: unknown) =>
        [50, 95, 99].map((p) => Number(found.find(({ grp, percent }) => grp === group && percent === p)?.wait ?? 0))
    })
  const [backoff, queue] = [yield* waits("backoff_ms"), yield* waits("queue_ms")]
  const handed = yield* sql.unsafe<Found>(handoffs)
  const figures = (group: string, all: ReadonlyArray<Found>, moved: ReadonlyArray<Found>): Figures => ({
    group,
    calls: sum(all, "calls"),
    failed: sum(all, "failed"),
    inputTokens: sum(all, "input"),
    backoff: backoff(group),
    queue: queue(group),
    handoffs: sum(moved, "times")
  })
  return [
    ...rows.map((row) =>
      figures(
        String(row.grp),
        [row],
        handed.filter(({ grp }) => grp === row.grp)
      )
    ),
    figures("total", rows, handed)
  ]
})

/** The same figures of a report. */
export const ofReport = ({ rows, total }: CallReport.Report): ReadonlyArray<Figures> =>
  [...rows, ...(total === undefined ? [] : [{ ...total, group: "total" }])].map((row) => ({
    group: row.group,
    calls: row.calls,
    failed: row.failed,
    inputTokens: row.inputTokens,
    backoff: [row.backoffMillis.p50, row.backoffMillis.p95, row.backoffMillis.p99],
    queue: [row.queueMillis.p50, row.queueMillis.p95, row.queueMillis.p99],
    handoffs: row.handoffs.reduce((sum, { count }) => sum + count, 0)
  }))
