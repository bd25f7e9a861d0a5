/**
 * Calls over time: how many, the errors that they met, and for each target the share that needed another attempt. It
 * comes from one pass over the log.
 *
 * @since 0.2.0
 */

import type * as SqlClient from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import * as Effect from "effect/Effect"
import * as LlmError from "../errors/LlmError.js"
import { conditionsOf, joined, number } from "./CallQuery.js"
import type { Selected } from "./DashboardSearch.js"

// -----------------------------------------------------------------------------
// models
// -----------------------------------------------------------------------------

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
 * Calls that say something of their target: callers' mistakes and interrupted calls are left out.
 *
 * @internal
 */
export interface Counted {
  readonly calls: number
  /** Calls that a later attempt served. */
  readonly later: number
  /** Calls that nothing served. */
  readonly failed: number
}

/**
 * @internal
 */
export interface Step extends Counted {
  /** Its begin, in epoch milliseconds. */
  readonly at: number
}

/**
 * A time in which an alarm with the defaults of `Degradation` might have stood.
 *
 * @internal
 */
export interface Period extends Counted {
  readonly from: number
  readonly until: number
  /** The most frequent first error. */
  readonly reason: string | undefined
}

/**
 * A target over time: how many of its calls needed more than one attempt.
 *
 * @internal
 */
export interface TargetSteps extends Counted {
  readonly target: string
  /** Those with calls, the first first. */
  readonly steps: ReadonlyArray<Step>
  readonly periods: ReadonlyArray<Period>
}

/**
 * @internal
 */
export interface Series {
  /** Those with calls, the first first. */
  readonly buckets: ReadonlyArray<Bucket>
  /** The target with most calls first. */
  readonly again: ReadonlyArray<TargetSteps>
}

/** Calls that have a bucket, a target, and a first error in common. */
export interface Line {
  readonly place: number
  readonly target: string | undefined
  readonly error: string | undefined
  readonly calls: number
  readonly failed: number
  readonly defects: number
  readonly succeeded: number
  readonly later: number
}

// -----------------------------------------------------------------------------
// the pure part
// -----------------------------------------------------------------------------

const upsert = <K, V>(map: Map<K, V>, key: K, next: (before: V | undefined) => V): void =>
  void map.set(key, next(map.get(key)))

const bucketsOf = (lines: ReadonlyArray<Line>, { bucket, range }: Selected): ReadonlyArray<Bucket> => {
  const all = new Map<number, { at: number; calls: number; failed: number; errors: Record<string, number> }>()
  for (const { calls, defects, error, failed, place } of lines) {
    const at = range.since + place * bucket
    upsert(all, at, (known = { at, calls: 0, failed: 0, errors: {} }) => {
      known.calls += calls
      known.failed += failed + defects
      if (error !== undefined) known.errors[error] = (known.errors[error] ?? 0) + calls
      return known
    })
  }
  return [...all.values()].sort((a, b) => a.at - b.at)
}

/** Whether another attempt may mend an error, so that it is the target's and not the caller's. */
const isOfTarget = (tag: string | undefined): boolean => {
  if (tag === undefined || !Object.hasOwn(LlmError.rules, tag)) return false
  const { fallback, retry } = LlmError.rules[tag as LlmError.Tag]
  return retry || fallback === true
}

const none: Counted = { calls: 0, later: 0, failed: 0 }

const plus = (a: Counted, b: Counted): Counted => ({
  calls: a.calls + b.calls,
  later: a.later + b.later,
  failed: a.failed + b.failed
})

const countedOf = ({ error, failed, later, succeeded }: Line): Counted => {
  const lost = isOfTarget(error) ? failed : 0
  return { calls: succeeded + lost, later, failed: lost }
}

/** The defaults of `Degradation`: few calls say nothing, and one in five is many. */
const minimum = 20
const raiseShare = 0.2

/** @internal */
export const shareOf = ({ calls, failed, later }: Counted): number => (calls === 0 ? 0 : (later + failed) / calls)

const isHot = (step: Counted): boolean => step.calls >= minimum && shareOf(step) >= raiseShare

type Reasons = ReadonlyMap<number, ReadonlyMap<string, number>>

/** The most frequent first error of some steps. */
const reasonOf = (steps: ReadonlyArray<Step>, reasons: Reasons): string | undefined => {
  const sums = new Map<string, number>()
  for (const { at } of steps) {
    for (const [tag, calls] of reasons.get(at) ?? []) upsert(sums, tag, (before = 0) => before + calls)
  }
  return [...sums].sort(([a, n], [b, m]) => m - n || (a < b ? -1 : 1))[0]?.[0]
}

/** Steps in a row that are hot. */
const periodsOf = (steps: ReadonlyArray<Step>, width: number, reasons: Reasons): ReadonlyArray<Period> => {
  const runs: Array<Array<Step>> = []
  for (const step of steps) {
    if (!isHot(step)) continue
    const run = runs.at(-1)
    if (run?.at(-1)?.at === step.at - width) run.push(step)
    else runs.push([step])
  }
  return runs.map((run) => ({
    ...run.reduce<Counted>(plus, none),
    from: (run[0] as Step).at,
    until: (run.at(-1) as Step).at + width,
    reason: reasonOf(run, reasons)
  }))
}

const againOf = (lines: ReadonlyArray<Line>, { bucket, range, step }: Selected): ReadonlyArray<TargetSteps> => {
  const targets = new Map<string, { steps: Map<number, Step>; reasons: Map<number, Map<string, number>> }>()
  for (const line of lines) {
    if (line.target === undefined) continue
    const counted = countedOf(line)
    if (counted.calls === 0) continue
    const at = range.since + Math.floor((line.place * bucket) / step) * step
    upsert(targets, line.target, (known = { steps: new Map(), reasons: new Map() }) => {
      upsert(known.steps, at, (before = { at, ...none }) => ({ at, ...plus(before, counted) }))
      const again = counted.later + counted.failed
      const { error } = line
      if (error !== undefined && again > 0) {
        upsert(known.reasons, at, (tags = new Map()) => {
          upsert(tags, error, (before = 0) => before + again)
          return tags
        })
      }
      return known
    })
  }
  return Array.from(targets, ([target, { reasons, steps: found }]): TargetSteps => {
    const steps = [...found.values()].sort((a, b) => a.at - b.at)
    return { target, ...steps.reduce<Counted>(plus, none), steps, periods: periodsOf(steps, step, reasons) }
  }).sort((a, b) => b.calls - a.calls || (a.target < b.target ? -1 : 1))
}

/**
 * What the lines of a time make.
 *
 * @internal
 */
export const seriesOf = (lines: ReadonlyArray<Line>, selected: Selected): Series => ({
  buckets: bucketsOf(lines, selected),
  again: againOf(lines, selected)
})

// -----------------------------------------------------------------------------
// the query
// -----------------------------------------------------------------------------

type Found = Readonly<Record<string, unknown>>

const text = (value: unknown): string | undefined => (value === null || value === undefined ? undefined : String(value))

const lineOf = (found: Found): Line => {
  const [provider, model] = [text(found.provider), text(found.model)]
  return {
    place: number(found.place),
    target: provider === undefined || model === undefined ? undefined : `${provider}/${model}`,
    error: text(found.error),
    calls: number(found.calls),
    failed: number(found.failed),
    defects: number(found.defects),
    succeeded: number(found.succeeded),
    later: number(found.later)
  }
}

/**
 * Calls over time.
 *
 * @internal
 */
export const series = (selected: Selected, sql: SqlClient.SqlClient): Effect.Effect<Series, SqlError> => {
  const { bucket, filters, range } = selected
  const outcome = (name: string) => sql.literal(`sum(case when c.outcome = '${name}' then 1 else 0 end)`)
  return Effect.map(
    sql<Found>`select floor((c.started_at - ${range.since}) / ${bucket}) as place, c.provider as provider,
        c.model as model, c.first_error as error, count(*) as calls, ${outcome("failure")} as failed,
        ${outcome("defect")} as defects, ${outcome("success")} as succeeded,
        sum(case when c.served_attempt > 1 then 1 else 0 end) as later
      from steadfast_calls c where ${joined(sql, conditionsOf(sql, range, filters))}
      group by 1, 2, 3, 4`,
    (found) => seriesOf(found.map(lineOf), selected)
  )
}
