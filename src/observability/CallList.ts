/**
 * Calls of the log, one by one.
 *
 * @since 0.2.0
 */

import * as SqlClient from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { CallRecord } from "../calls/CallRecord.js"
import { type Row, recordOf } from "./CallLogRows.js"
import { conditionsOf, type Filters, joined, number, type Range } from "./CallQuery.js"

/**
 * The options of {@link calls}.
 *
 * @since 0.2.0
 * @category options
 */
export interface CallsOptions extends Range {
  /** Only calls that did not succeed. Default false. */
  readonly failed?: boolean | undefined
  /** Only the call with this id. Default: any. */
  readonly id?: string | undefined
  /** The most calls, from 1 to 1,000; the newest come first. Default 20. */
  readonly limit?: number | undefined
  /** Which calls are meant. Default: all. */
  readonly filters?: Filters | undefined
}

/**
 * A call in a line.
 *
 * @since 0.2.0
 * @category models
 */
export interface CallSummary {
  readonly id: string
  readonly name: string
  /** Epoch milliseconds. */
  readonly startedAt: number
  readonly durationMillis: number
  readonly outcome: string
  /** The tag of its error, if it failed with one. */
  readonly error: string | undefined
  readonly attempts: number
  /** Dollars; absent if no cost is known. */
  readonly usd: number | undefined
  /** Attempts whose cost is not in `usd`. */
  readonly uncounted: number
  /** Its attempts: `gpt ✕429 → gpt ✕429 → claude ✓ 3.1 s`. */
  readonly chain: string
}

/**
 * What a chain tells of an attempt.
 *
 * @since 0.2.0
 * @category models
 */
export interface Attempted {
  readonly model: string
  readonly outcome: string
  readonly status?: number | undefined
  readonly error?: string | undefined
  readonly hedge?: boolean | undefined
}

const markOf = ({ error, outcome, status }: Omit<Attempted, "model">): string =>
  outcome === "success" ? "✓" : outcome === "interrupted" ? "⊘" : `✕${status ?? error ?? outcome}`

/** Attempts in a line: `→` leads to the next one, `∥` to a hedge that ran beside. */
const chainOf = (attempts: ReadonlyArray<Attempted>, call: Omit<Attempted, "model">, millis: number): string => {
  const parts = attempts.map(
    ({ hedge, model, ...end }, index) => `${index === 0 ? "" : hedge === true ? " ∥ " : " → "}${model} ${markOf(end)}`
  )
  return `${parts.length === 0 ? markOf(call) : parts.join("")} ${(millis / 1000).toFixed(1)} s`
}

const text = (value: unknown): string | undefined => (value === null || value === undefined ? undefined : String(value))

const attemptedOf = (row: Row): Attempted => ({
  model: String(row.model),
  outcome: String(row.outcome),
  status: row.status === null ? undefined : number(row.status),
  error: text(row.error),
  hedge: number(row.hedge) === 1
})

const most = 1000

/**
 * Lists calls, the newest first.
 *
 * @since 0.2.0
 * @category queries
 */
export const calls = (
  options: CallsOptions = {}
): Effect.Effect<ReadonlyArray<CallSummary>, SqlError, SqlClient.SqlClient> =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    const { failed = false, filters, id, limit = 20, ...range } = options
    const count = Math.min(Math.max(Math.trunc(limit) || 1, 1), most)
    const where = joined(sql, [
      ...conditionsOf(sql, range, filters),
      ...(failed ? [sql`c.outcome <> 'success'`] : []),
      ...(id === undefined ? [] : [sql`c.id = ${id}`])
    ])
    const found =
      yield* sql<Row>`select c.id, c.name, c.started_at, c.duration_ms, c.outcome, c.error, c.attempts, c.usd,
        c.unpriced, c.usage_unknown from steadfast_calls c
      where ${where} order by c.started_at desc limit ${sql.literal(String(count))}`
    if (found.length === 0) return []
    const ids = found.map((row) => String(row.id))
    const attempts = yield* sql<Row>`select call_id, model, outcome, status, error, hedge from steadfast_attempts
      where ${sql.in("call_id", ids)} order by call_id, position`
    const byCall = new Map<string, Array<Attempted>>()
    for (const row of attempts) {
      const key = String(row.call_id)
      const all = byCall.get(key)
      if (all === undefined) byCall.set(key, [attemptedOf(row)])
      else all.push(attemptedOf(row))
    }
    return found.map((row): CallSummary => {
      const [outcome, error, durationMillis] = [String(row.outcome), text(row.error), number(row.duration_ms)]
      return {
        id: String(row.id),
        name: String(row.name),
        startedAt: number(row.started_at),
        durationMillis,
        outcome,
        error,
        attempts: number(row.attempts),
        usd: row.usd === null ? undefined : number(row.usd),
        uncounted: number(row.unpriced) + number(row.usage_unknown),
        chain: chainOf(byCall.get(String(row.id)) ?? [], { outcome, error }, durationMillis)
      }
    })
  })

/**
 * The record of one call, with all its attempts, as it was observed. None if the log does not hold it.
 *
 * @since 0.2.0
 * @category queries
 */
export const timeline = (id: string): Effect.Effect<Option.Option<CallRecord>, SqlError, SqlClient.SqlClient> =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    const [call] = yield* sql<Row>`select * from steadfast_calls where id = ${id}`
    if (call === undefined) return Option.none()
    const attempts = yield* sql<Row>`select * from steadfast_attempts where call_id = ${id} order by position`
    const labels = yield* sql<Row>`select * from steadfast_labels where call_id = ${id} order by name`
    return Option.some(recordOf({ call, attempts, labels }))
  })
