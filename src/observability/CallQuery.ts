/**
 * What the queries over the call log have in common.
 *
 * @since 0.2.0
 */

import type * as SqlClient from "@effect/sql/SqlClient"
import type * as Statement from "@effect/sql/Statement"
import { dayOf } from "./CallLogRows.js"

/**
 * A time, in epoch milliseconds.
 *
 * @since 0.2.0
 * @category options
 */
export interface Range {
  /** The begin of the first call. Default: any. */
  readonly since?: number | undefined
  /** Calls that began from here on are left out. Default: none. */
  readonly until?: number | undefined
}

/**
 * Which calls are meant; all that is given must hold.
 *
 * @since 0.2.0
 * @category options
 */
export interface Filters {
  /** The provider that was asked first. */
  readonly provider?: string | undefined
  /** The model that was asked first. */
  readonly model?: string | undefined
  /** The name of the call. */
  readonly name?: string | undefined
  /** What was asked for: `chat`, `embeddings`. */
  readonly operation?: string | undefined
  /** Labels with their values. */
  readonly labels?: Readonly<Record<string, string>> | undefined
}

/**
 * A number as drivers return it: PostgreSQL's counts are text.
 *
 * @internal
 */
export const number = (value: unknown): number => Number(value ?? 0)

/** The last time that has a day. */
const latest = 8.64e15

/**
 * The conditions on a call `c`.
 *
 * @internal
 */
export const conditionsOf = (
  sql: SqlClient.SqlClient,
  { since = 0, until = latest }: Range,
  { labels = {}, model, name, operation, provider }: Filters = {}
): ReadonlyArray<Statement.Fragment> => {
  const is = (column: string, value: string | undefined) =>
    value === undefined ? [] : [sql`${sql.literal(column)} = ${value}`]
  return [
    // The day comes first in the index of reports; the plus keeps SQLite from another one, which holds the time alone.
    ...(since > 0 ? [sql`c.day >= ${dayOf(since)}`] : []),
    ...(until < latest ? [sql`c.day <= ${dayOf(until)}`] : []),
    sql`+c.started_at >= ${since} and +c.started_at < ${until}`,
    ...is("c.provider", provider),
    ...is("c.model", model),
    ...is("c.name", name),
    ...is("c.operation", operation),
    ...Object.entries(labels).map(
      ([label, value]) => sql`exists (select 1 from steadfast_labels x
        where x.call_id = c.id and x.name = ${label} and x.value = ${value})`
    )
  ]
}

/**
 * All conditions.
 *
 * @internal
 */
export const joined = (sql: SqlClient.SqlClient, conditions: ReadonlyArray<Statement.Fragment>): Statement.Fragment =>
  sql.join(" and ", false)(conditions)

/**
 * The columns of a report's first step: calls that agree in all that is counted by, in their outcome and in the attempt
 * that answered.
 *
 * @internal
 */
export const parts = `count(*) as calls,
  sum(case when c.attempts = 0 then 1 else 0 end) as unsent,
  sum(c.attempts) as attempts, sum(c.retries) as retries, max(c.retries) as most,
  sum(case when c.retries > 0 then 1 else 0 end) as again,
  sum(case when c.backoff_ms > 0 then 1 else 0 end) as backoffs,
  sum(case when c.queue_ms > 0 then 1 else 0 end) as queues,
  sum(c.input_tokens) as input_tokens, sum(c.output_tokens) as output_tokens,
  count(c.usd) as priced, sum(c.usd) as usd, sum(c.wasted_usd) as wasted,
  sum(c.unpriced) as unpriced, sum(c.usage_unknown) as unknown`

/** A sum over those calls that fulfil a condition. */
const sumWhere = (condition: string, column: string, name: string): string =>
  `sum(case when ${condition} then ${column} else 0 end) as ${name}`

/**
 * The columns of its second step, over the rows of the first.
 *
 * @internal
 */
export const totals = [
  ...["calls", "unsent", "attempts", "retries", "again", "backoffs", "queues", "input_tokens", "output_tokens"].map(
    (column) => `sum(c.${column}) as ${column}`
  ),
  ...["usd", "wasted", "unpriced", "unknown"].map((column) => `sum(c.${column}) as ${column}`),
  "max(c.most) as most",
  sumWhere("c.outcome = 'success'", "c.calls", "succeeded"),
  sumWhere("c.outcome = 'failure'", "c.calls", "failed"),
  sumWhere("c.outcome = 'interrupted'", "c.calls", "interrupted"),
  sumWhere("c.outcome = 'defect'", "c.calls", "defects"),
  sumWhere("c.served_attempt = 1", "c.calls", "first"),
  sumWhere("c.served_attempt = 2", "c.calls", "second"),
  sumWhere("c.served_attempt = 3", "c.calls", "third"),
  sumWhere("c.served_attempt > 3", "c.calls", "later"),
  sumWhere("c.served_attempt = 1", "c.priced", "normal_calls"),
  sumWhere("c.served_attempt = 1", "c.usd", "normal_usd"),
  sumWhere("c.served_attempt > 1", "c.priced", "retried_calls"),
  sumWhere("c.served_attempt > 1", "c.usd", "retried_usd")
].join(", ")
