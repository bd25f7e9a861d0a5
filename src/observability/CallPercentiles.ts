/**
 * Percentiles of the waits in a call log: exact, without a sort in the database.
 *
 * Most calls do not wait, and a wait is mostly a whole number of milliseconds: backoff is rounded, and clocks count
 * them. One statement for each wait reads its index in order, and returns the whole milliseconds of alike calls as one
 * text: a hundred thousand rows would cost more than all the rest of a report. Only if there are waits with fractions,
 * a second one reads those that share their whole milliseconds with a rank.
 *
 * @since 0.2.0
 */

import type * as SqlClient from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import type * as Statement from "@effect/sql/Statement"
import * as Effect from "effect/Effect"
import { number } from "./CallQuery.js"

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
 * @internal
 */
export const zeros: Percentiles = { p50: 0, p95: 0, p99: 0 }

/** Which calls, and the group of each. */
interface Source {
  readonly group: Statement.Fragment
  readonly from: Statement.Fragment
  readonly where: Statement.Fragment
  /** What tells the labels of a row of grouped calls. */
  readonly labels: Statement.Fragment
  /** What calls are told apart by before their group is known. */
  readonly alike: ReadonlyArray<string>
}

/** Calls by groups. */
interface Counted {
  readonly group: string
  readonly calls: number
}

type Found = Readonly<Record<string, unknown>>

/** The whole milliseconds of a rank, and its rank among the waits that share them, from 1; absent for no wait. */
type Place = { readonly floor: number; readonly rank: number } | undefined

const percents = [50, 95, 99] as const

/** Nearest rank, the calls without a wait before the others. `floors` are sorted. */
const placesOf = (calls: number, floors: Float64Array): ReadonlyArray<Place> =>
  percents.map((percent) => {
    const index = Math.ceil((calls * percent) / 100) - (calls - floors.length) - 1
    const floor = floors[index]
    return floor === undefined ? undefined : { floor, rank: index - floors.indexOf(floor) + 1 }
  })

const sortedOf = (texts: ReadonlyArray<string>): Float64Array =>
  Float64Array.from(
    texts.flatMap((text) => text.split(",")),
    Number
  ).sort()

const mergedOf = (all: ReadonlyArray<Float64Array>): Float64Array => {
  const merged = new Float64Array(all.reduce((sum, { length }) => sum + length, 0))
  let at = 0
  for (const floors of all) {
    merged.set(floors, at)
    at += floors.length
  }
  return merged.sort()
}

/** The pairs of one query: it binds two values for each. */
const portion = 2000

const keyOf = (group: string, floor: number): string => JSON.stringify([group, floor])

/** The waits of some groups that share their whole milliseconds, by {@link keyOf}. */
const exactly = (
  sql: SqlClient.SqlClient,
  { from, group, where }: Source,
  column: string,
  pairs: ReadonlyArray<readonly [group: string, floor: number]>
): Effect.Effect<ReadonlyMap<string, ReadonlyArray<number>>, SqlError> =>
  Effect.gen(function* () {
    const wait = sql.literal(`c.${column}`)
    const waits = new Map<string, Array<number>>()
    for (let start = 0; start < pairs.length; start += portion) {
      const values = pairs
        .slice(start, start + portion)
        .map(([group, floor]) => sql`(cast(${group} as text), cast(${floor} as double precision))`)
      const found = yield* sql<Found>`select ${group} as grp, ${wait} as wait from ${from}
        where ${where} and ${wait} > 0 and (${group}, floor(${wait})) in (values ${sql.csv(values)})`
      for (const row of found) {
        const key = keyOf(String(row.grp), Math.floor(number(row.wait)))
        const known = waits.get(key)
        if (known === undefined) waits.set(key, [number(row.wait)])
        else known.push(number(row.wait))
      }
    }
    return waits
  })

/**
 * The percentiles of a wait, of each group and of all calls.
 *
 * @internal
 */
export const percentiles = (
  sql: SqlClient.SqlClient,
  source: Source,
  column: "backoff_ms" | "queue_ms",
  counted: ReadonlyArray<Counted>
): Effect.Effect<{ readonly groups: ReadonlyMap<string, Percentiles>; readonly total: Percentiles }, SqlError> =>
  Effect.gen(function* () {
    const { alike, group, labels, where } = source
    const wait = sql.literal(`c.${column}`)
    const columns = sql.literal(alike.map((name) => `c.${name}`).join(", "))
    const floors = sql.literal(
      sql.onDialectOrElse({
        pg: () => `string_agg(cast(floor(c.${column}) as text), ',')`,
        orElse: () => `group_concat(cast(c.${column} as integer))`
      })
    )
    const rows = yield* sql<Found>`select ${group} as grp, c.floors as floors, c.fractions as fractions from (
        select ${columns}, ${floors} as floors, sum(case when ${wait} = floor(${wait}) then 0 else 1 end) as fractions
        from steadfast_calls c where ${where} and ${wait} > 0 group by ${columns}
      ) c ${labels}`
    const texts = new Map<string, Array<string>>()
    for (const { floors, grp } of rows) {
      const known = texts.get(String(grp))
      if (known === undefined) texts.set(String(grp), [String(floors)])
      else known.push(String(floors))
    }
    const sorted = new Map([...texts].map(([group, all]) => [group, sortedOf(all)]))
    const all = mergedOf([...sorted.values()])
    const total = placesOf(
      counted.reduce((sum, { calls }) => sum + calls, 0),
      all
    )
    const places = counted.map(({ calls, group }) => ({
      group,
      places: placesOf(calls, sorted.get(group) ?? new Float64Array())
    }))

    const wanted = new Map<string, readonly [group: string, floor: number]>()
    const want = (group: string, place: Place): void => {
      if (place !== undefined) wanted.set(keyOf(group, place.floor), [group, place.floor])
    }
    const whole = rows.every(({ fractions }) => number(fractions) === 0)
    if (!whole) for (const { group, places: own } of places) for (const place of [...own, ...total]) want(group, place)
    const waits = yield* exactly(sql, source, column, [...wanted.values()])

    const at = (groups: ReadonlyArray<string>, place: Place): number => {
      if (place === undefined) return 0
      if (whole) return place.floor
      const some = groups.flatMap((group) => waits.get(keyOf(group, place.floor)) ?? [])
      return some.sort((a, b) => a - b)[place.rank - 1] ?? 0
    }
    const read = (groups: ReadonlyArray<string>, [p50, p95, p99]: ReadonlyArray<Place>): Percentiles => ({
      p50: at(groups, p50),
      p95: at(groups, p95),
      p99: at(groups, p99)
    })
    return {
      groups: new Map(places.map(({ group, places: own }) => [group, read([group], own)])),
      total: read([...sorted.keys()], total)
    }
  })
