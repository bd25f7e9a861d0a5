/**
 * What judges and users said of calls, apart for those that a later attempt served. The figures come from the scores in
 * the call log (`CallLog.feedback`).
 *
 * Scales are told apart by their names: `thumbs` is up from 0.5 on; `escalated` counts calls whose user went to a
 * person (a score above 0); a name that begins with `judge` is a judge's; any other one is a score by users.
 *
 * @since 0.2.0
 */

import type * as SqlClient from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import * as Effect from "effect/Effect"
import { conditionsOf, joined, number } from "./CallQuery.js"
import type { Selected } from "./DashboardSearch.js"
import * as Judged from "./Judged.js"
import * as ScoreStats from "./ScoreStats.js"

// -----------------------------------------------------------------------------
// models
// -----------------------------------------------------------------------------

/**
 * How the scores of a scale are to be read.
 *
 * @internal
 */
export type ScaleKind = "judge" | "thumbs" | "escalated" | "score"

/**
 * The scores of some calls. `yes` counts the thumbs up, or the escalations. The interval is that of the mean, at 95 %;
 * absent without scores, and where scores are not from 0 to 1.
 *
 * @internal
 */
export interface Scores {
  readonly count: number
  readonly yes: number
  readonly mean: number | undefined
  readonly interval: readonly [low: number, high: number] | undefined
}

/**
 * A scale: the answers of first attempts, those of later ones, and calls that nothing served.
 *
 * @internal
 */
export interface Scale extends Pick<Judged.Summary, "difference" | "verdict"> {
  readonly name: string
  readonly kind: ScaleKind
  readonly normal: Scores
  readonly retried: Scores
  readonly unserved: Scores
}

/** The scores of one scale and one group, summed. */
export interface Line {
  readonly name: string
  readonly group: "normal" | "retried" | "unserved"
  readonly count: number
  readonly sum: number
  readonly squares: number
  readonly least: number
  readonly most: number
  /** Scores of at least 0.5. */
  readonly up: number
  /** Scores above 0. */
  readonly above: number
}

// -----------------------------------------------------------------------------
// the pure part
// -----------------------------------------------------------------------------

const kindOf = (name: string): ScaleKind => {
  if (name === "thumbs" || name === "escalated") return name
  return name.startsWith("judge") ? "judge" : "score"
}

/** As many of each group as `Evaluation` asks for by default. */
const minimum = 30

const yesOf = (kind: ScaleKind, line: Line): number => (kind === "escalated" ? line.above : line.up)

/** Of thumbs and escalations only the sign counts: down may be 0 or -1. */
const sumsOf = (kind: ScaleKind, line: Line | undefined): ScoreStats.Sums => {
  if (line === undefined) return ScoreStats.none
  if (kind === "judge" || kind === "score") return { count: line.count, sum: line.sum, squares: line.squares }
  const yes = yesOf(kind, line)
  return { count: line.count, sum: yes, squares: yes }
}

/**
 * The scales of some lines, by name.
 *
 * @internal
 */
export const scalesOf = (lines: ReadonlyArray<Line>): ReadonlyArray<Scale> =>
  [...new Set(lines.map(({ name }) => name))].sort().map((name) => {
    const kind = kindOf(name)
    const own = lines.filter((line) => line.name === name)
    const known = kind === "thumbs" || kind === "escalated" || own.every(({ least, most }) => least >= 0 && most <= 1)
    const lineOf = (group: Line["group"]) => own.find((line) => line.group === group)
    const scores = (group: Line["group"]): Scores => {
      const line = lineOf(group)
      const sums = sumsOf(kind, line)
      return {
        count: sums.count,
        yes: line === undefined ? 0 : yesOf(kind, line),
        mean: ScoreStats.mean(sums),
        interval: known && sums.count > 0 ? ScoreStats.around(sums) : undefined
      }
    }
    const { difference, verdict } = known
      ? Judged.compare(sumsOf(kind, lineOf("retried")), sumsOf(kind, lineOf("normal")), minimum)
      : ({ difference: undefined, verdict: "too few to tell" } as const)
    return {
      name,
      kind,
      normal: scores("normal"),
      retried: scores("retried"),
      unserved: scores("unserved"),
      difference,
      verdict
    }
  })

// -----------------------------------------------------------------------------
// the query
// -----------------------------------------------------------------------------

type Found = Readonly<Record<string, unknown>>

const groups = ["normal", "retried", "unserved"] as const

/** Feedback comes after its call; the clocks of two machines may differ by so much. */
const skew = 60_000

/**
 * The scales of the calls that are meant.
 *
 * @internal
 */
export const quality = (
  { filters, range }: Selected,
  sql: SqlClient.SqlClient
): Effect.Effect<ReadonlyArray<Scale>, SqlError> =>
  Effect.map(
    sql<Found>`select f.name as name,
        case when c.served_attempt is null then 2 when c.served_attempt > 1 then 1 else 0 end as place,
        count(*) as times, sum(f.score) as total, sum(f.score * f.score) as squares,
        min(f.score) as least, max(f.score) as most,
        sum(case when f.score >= 0.5 then 1 else 0 end) as up, sum(case when f.score > 0 then 1 else 0 end) as above
      from steadfast_feedback f cross join steadfast_calls c
      where f.given_at >= ${range.since - skew} and c.id = f.call_id
        and ${joined(sql, conditionsOf(sql, range, filters))}
      group by 1, 2`,
    (found) =>
      scalesOf(
        found.map((row) => ({
          name: String(row.name),
          group: groups[number(row.place)] ?? "unserved",
          count: number(row.times),
          sum: number(row.total),
          squares: number(row.squares),
          least: number(row.least),
          most: number(row.most),
          up: number(row.up),
          above: number(row.above)
        }))
      )
  )

/**
 * What was said of one call.
 *
 * @internal
 */
export interface Said {
  readonly name: string
  readonly kind: ScaleKind
  readonly score: number
  /** Epoch milliseconds. */
  readonly at: number
}

/**
 * @internal
 */
export const saidOf = (id: string, sql: SqlClient.SqlClient): Effect.Effect<ReadonlyArray<Said>, SqlError> =>
  Effect.map(
    sql<Found>`select name, score, given_at from steadfast_feedback where call_id = ${id} order by given_at, name`,
    (found) =>
      found.map((row) => ({
        name: String(row.name),
        kind: kindOf(String(row.name)),
        score: number(row.score),
        at: number(row.given_at)
      }))
  )
