/**
 * Percentiles of the waits in a call log: exact, without sorting the waits.
 *
 * Most calls do not wait. Those that did are counted by groups and narrow buckets; a rank tells its bucket, and only
 * the waits of such buckets are read. The counts of all groups together make the percentiles of the total.
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
}

/** Calls by groups. */
interface Counted {
  readonly group: string
  readonly calls: number
}

type Found = Readonly<Record<string, unknown>>

/** The buckets of some calls: how many waited so long. */
type Buckets = ReadonlyMap<number, number>

/** The bucket of a rank, and the rank in it, from 1. `undefined` if the call at the rank did not wait. */
type Place = { readonly bucket: number; readonly rank: number } | undefined

const percents = [50, 95, 99] as const

/** From short to long: 1000 of 0.1 ms, 5990 of 10 ms, then of 1 s. Longer waits have higher numbers. */
const bucketOf = (wait: string): string =>
  `case when ${wait} < 100 then floor(${wait} * 10) when ${wait} < 60000 then 990 + floor(${wait} / 10)
    else 6930 + floor(${wait} / 1000) end`

/** Nearest rank, the calls without a wait before the others. */
const placesOf = (calls: number, buckets: Buckets): ReadonlyArray<Place> => {
  const sorted = [...buckets].sort(([a], [b]) => a - b)
  const waits = sorted.reduce((sum, [, count]) => sum + count, 0)
  return percents.map((percent) => {
    let rank = Math.ceil((calls * percent) / 100) - (calls - waits)
    if (rank <= 0) return undefined
    for (const [bucket, count] of sorted) {
      if (rank <= count) return { bucket, rank }
      rank -= count
    }
    return undefined
  })
}

const sumOf = (all: Iterable<Buckets>): Buckets => {
  const sum = new Map<number, number>()
  for (const buckets of all) for (const [bucket, count] of buckets) sum.set(bucket, (sum.get(bucket) ?? 0) + count)
  return sum
}

/** The pairs of one query: it binds two values for each. */
const portion = 2000

const keyOf = (group: string, bucket: number): string => JSON.stringify([group, bucket])

/**
 * The percentiles of a wait, of each group and of all calls.
 *
 * @internal
 */
export const percentiles = (
  sql: SqlClient.SqlClient,
  { from, group, where }: Source,
  column: "backoff_ms" | "queue_ms",
  counted: ReadonlyArray<Counted>
): Effect.Effect<{ readonly groups: ReadonlyMap<string, Percentiles>; readonly total: Percentiles }, SqlError> =>
  Effect.gen(function* () {
    const wait = sql.literal(`c.${column}`)
    const bucket = sql.literal(bucketOf(`c.${column}`))
    const rows = yield* sql<Found>`select ${group} as grp, ${bucket} as bucket, count(*) as times
      from ${from} where ${where} and ${wait} > 0 group by 1, 2`
    const byGroup = new Map<string, Map<number, number>>()
    for (const row of rows) {
      const key = String(row.grp)
      const known = byGroup.get(key) ?? new Map<number, number>()
      byGroup.set(key, known.set(number(row.bucket), number(row.times)))
    }
    const all = counted.reduce((sum, { calls }) => sum + calls, 0)
    const total = placesOf(all, sumOf(byGroup.values()))
    const places = counted.map(({ calls, group }) => ({
      group,
      places: placesOf(calls, byGroup.get(group) ?? new Map())
    }))

    const wanted = new Map<string, readonly [group: string, bucket: number]>()
    const want = (group: string, place: Place): void => {
      if (place !== undefined && byGroup.get(group)?.has(place.bucket) === true) {
        wanted.set(keyOf(group, place.bucket), [group, place.bucket])
      }
    }
    for (const { group, places: own } of places) for (const place of [...own, ...total]) want(group, place)

    const waits = new Map<string, Array<number>>()
    const pairs = [...wanted.values()]
    for (let start = 0; start < pairs.length; start += portion) {
      const values = pairs
        .slice(start, start + portion)
        .map(([group, bucket]) => sql`(cast(${group} as text), cast(${bucket} as double precision))`)
      const found = yield* sql<Found>`with n (grp, bucket) as (values ${sql.csv(values)}), p as (
          select ${group} as grp, ${bucket} as bucket, ${wait} as wait from ${from} where ${where} and ${wait} > 0
        )
        select p.grp as grp, p.bucket as bucket, p.wait as wait from p join n on n.grp = p.grp and n.bucket = p.bucket`
      for (const row of found) {
        const key = keyOf(String(row.grp), number(row.bucket))
        const known = waits.get(key)
        if (known === undefined) waits.set(key, [number(row.wait)])
        else known.push(number(row.wait))
      }
    }
    const at = (groups: ReadonlyArray<string>, place: Place): number => {
      if (place === undefined) return 0
      const some = groups.flatMap((group) => waits.get(keyOf(group, place.bucket)) ?? [])
      return some.sort((a, b) => a - b)[place.rank - 1] ?? 0
    }
    const read = (groups: ReadonlyArray<string>, [p50, p95, p99]: ReadonlyArray<Place>): Percentiles => ({
      p50: at(groups, p50),
      p95: at(groups, p95),
      p99: at(groups, p99)
    })
    return {
      groups: new Map(places.map(({ group, places: own }) => [group, read([group], own)])),
      total: read([...byGroup.keys()], total)
    }
  })
