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
      ([label, value]) => sql`exists (select 1 from steadfast_label_sets x
        where x.day = c.day and x.id = c.label_set and x.name = ${label} and x.value = ${value})`
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
 * The columns of a report's first step, beside those by which it tells calls apart.
 *
 * @internal
 */
export const parts = `count(*) as calls, sum(c.input_tokens) as input_tokens, sum(c.output_tokens) as output_tokens,
  count(c.usd) as priced, sum(c.usd) as usd, sum(c.wasted_usd) as wasted`

/** A sum over those calls that fulfil a condition. */
const sumWhere = (condition: string, column: string, name: string): string =>
  `sum(case when ${condition} then ${column} else 0 end) as ${name}`

/**
 * The columns of its second step, over the rows of the first: the calls of one are alike.
 *
 * @internal
 */
export const totals = [
  ...["calls", "input_tokens", "output_tokens", "usd", "wasted"].map((column) => `sum(c.${column}) as ${column}`),
  ...["attempts", "retries", "unpriced"].map((column) => `sum(c.calls * c.${column}) as ${column}`),
  "sum(c.calls * c.usage_unknown) as unknown",
  "max(c.retries) as most",
  sumWhere("c.attempts = 0", "c.calls", "unsent"),
  sumWhere("c.retries > 0", "c.calls", "again"),
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
