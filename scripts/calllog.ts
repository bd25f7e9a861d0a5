/**
 * What the call log costs: a record on the path of a call, rows a second into libSQL, and the time of reports.
 *
 * `npx tsx scripts/calllog.ts [calls]`: with a number, reports are timed over a log of so many calls. Time is that of the
 * processor, so that a busy machine changes it little: the driver works in this process.
 */
import { deepStrictEqual } from "node:assert"
import { mkdtempSync, rmSync, statSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as SqlClient from "@effect/sql/SqlClient"
import { createClient } from "@libsql/client"
import { Effect } from "effect"
import { Call, type CallRecord } from "effect-steadfast"
import { CallLog, CallReport } from "effect-steadfast/observability"
import * as CallLogLibsql from "effect-steadfast/observability/CallLogLibsql"
import { rowsOf } from "../src/observability/CallLogRows.js"
import { tables } from "../src/observability/CallLogSchema.js"
import { setsOf, write } from "../src/observability/CallLogWriter.js"
import { scriptedCall } from "../test/observability/scriptedDay.js"
import { byHand, ofReport } from "./reportByHand.js"

const folder = mkdtempSync(join(tmpdir(), "steadfast-calllog-"))
const start = Date.UTC(2026, 10, 1)
const day = 86_400_000
const month = 30 * day
const record = (index: number, seed = 1): CallRecord.CallRecord => scriptedCall(index, seed, start, month).record

/** Milliseconds of the processor, from the start of the process. */
const spent = (): number => {
  const { system, user } = process.cpuUsage()
  return (system + user) / 1000
}

const median = (values: ReadonlyArray<number>): number =>
  [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0

/** Microseconds for a record that goes to the observer, with the writer at work in the same process. */
const hotPath = Effect.gen(function* () {
  const [observer] = yield* Call.Observers
  if (observer === undefined) return 0
  const records = Array.from({ length: 5000 }, (_, index) => record(index, 2))
  const rounds: Array<number> = []
  for (let round = 0; round < 41; round++) {
    const began = spent()
    yield* Effect.forEach(records, observer, { discard: true })
    rounds.push(((spent() - began) * 1000) / records.length)
    yield* Effect.flatMap(CallLog.CallLog, (log) => log.flush)
  }
  return median(rounds)
}).pipe(Effect.provide(CallLogLibsql.layer({ file: join(folder, "hot.db"), flushEvery: "10 seconds" })))

/** Rows a second of the log's writer, and of bare INSERTs of the same rows, which are ready before the time begins. */
const speed = Effect.gen(function* () {
  const batch = 200
  const batches = Array.from({ length: 50 }, (_, n) =>
    Array.from({ length: batch }, (_, i) => record(n * batch + i, 3))
  )
  const rows = batches
    .flat()
    .reduce((sum, one) => sum + 1 + one.attempts.length + Object.keys(one.labels ?? {}).length, 0)
  const ours = Effect.gen(function* () {
    yield* CallLog.migrate
    const began = spent()
    for (const records of batches) yield* write(records)
    return rows / ((spent() - began) / 1000)
  })
  const bare = async (file: string): Promise<number> => {
    const client = createClient({ url: `file:${file}`, concurrency: 1 })
    await client.execute("pragma synchronous = normal")
    const statements = batches.flatMap((records) => {
      const all = records.map(rowsOf)
      return [
        { table: tables.attempts, rows: all.flatMap(({ attempts }) => attempts) },
        { table: tables.labels, rows: all.flatMap(({ labels }) => labels) },
        { table: tables.labelSets, rows: setsOf(all) },
        { table: tables.calls, rows: all.map(({ call }) => call) }
      ].map(({ rows, table }) => {
        const columns = Object.keys(table.columns)
        const group = `(${columns.map(() => "?").join(",")})`
        return {
          sql: `insert into ${table.name} (${columns.join(",")}) values ${rows.map(() => group).join(",")}${
            table === tables.labelSets ? " on conflict do nothing" : ""
          }`,
          args: rows.flatMap((row) => columns.map((column) => row[column] ?? null))
        }
      })
    })
    const began = spent()
    for (const statement of statements) await client.execute(statement)
    const result = rows / ((spent() - began) / 1000)
    client.close()
    return result
  }
  const measured: Array<readonly [number, number]> = []
  for (let round = 0; round < 7; round++) {
    const mine = yield* Effect.provide(ours, CallLogLibsql.client(join(folder, `ours-${round}.db`)))
    const file = join(folder, `bare-${round}.db`)
    yield* Effect.provide(CallLog.migrate, CallLogLibsql.client(file))
    measured.push([mine, yield* Effect.promise(() => bare(file))])
  }
  return [median(measured.map(([mine]) => mine)), median(measured.map(([, theirs]) => theirs))] as const
})

/** The most calls that are made up; the others are copies of them, three days later each. */
const mostMadeUp = 100_000

/** Copies in SQL: a million records take a quarter of an hour to make up and to write. */
const copy = (times: number) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    const moved = (column: string) =>
      `(${column} + k.k * ${3 * day} - case when ${column} + k.k * ${3 * day} < ${start + month} then 0 else ${month} end)`
    const dayOf = (at: string) => `strftime('%Y-%m-%d', ${at} / 1000, 'unixepoch')`
    const counting = `with recursive k (k) as (select 1 union all select k + 1 from k where k < ${times - 1})`
    for (const [table, key] of [
      [tables.attempts, "call_id"],
      [tables.labels, "call_id"],
      [tables.calls, "id"]
    ] as const) {
      const columns = Object.keys(table.columns)
      const values = columns.map((column) => {
        if (column === key) return `${key} || '-' || k.k`
        if (column === "started_at") return moved(column)
        return column === "day" ? dayOf(moved("started_at")) : column
      })
      yield* sql.unsafe(
        `insert into ${table.name} (${columns.join(",")}) ${counting} select ${values.join(",")} from k cross join ${table.name}`
      )
    }
    yield* sql.unsafe(`insert into steadfast_label_sets (day, id, name, value)
      select distinct c.day, c.label_set, l.name, l.value
      from steadfast_calls c join (select distinct id, name, value from steadfast_label_sets) l on l.id = c.label_set
      where true on conflict do nothing`)
  })

const fill = (calls: number) =>
  Effect.gen(function* () {
    yield* CallLog.migrate
    const times = Math.ceil(calls / mostMadeUp)
    const madeUp = Math.round(calls / times)
    for (let from = 0; from < madeUp; from += 500) {
      yield* write(Array.from({ length: Math.min(500, madeUp - from) }, (_, index) => record(from + index)))
    }
    if (times > 1) yield* copy(times)
  })

/** Milliseconds of a report by provider, and of the same figures in SQL by hand, in turns. */
const besideHand = Effect.gen(function* () {
  const rounds: Array<readonly [ours: number, hand: number]> = []
  for (let round = 0; round < 3; round++) {
    const began = spent()
    const ours = yield* CallReport.report({ by: "provider" })
    const between = spent()
    const hand = yield* byHand
    rounds.push([between - began, spent() - between])
    const sorted = (figures: ReadonlyArray<{ readonly group: string }>) =>
      [...figures].sort((a, b) => (a.group < b.group ? -1 : 1))
    deepStrictEqual(sorted(ofReport(ours)), sorted(hand))
  }
  return [median(rounds.map(([ours]) => ours)), median(rounds.map(([, hand]) => hand))] as const
})

const reports = (calls: number, file: string) =>
  Effect.gen(function* () {
    const began = spent()
    yield* fill(calls)
    const size = (statSync(file).size / 1e6).toFixed(0)
    console.log(`${calls} calls written in ${((spent() - began) / 1000).toFixed(0)} s, ${size} MB`)
    for (const by of ["provider", "model", "target", "day", "error", "label:tenant", "all"] as const) {
      const began = spent()
      const { rows } = yield* CallReport.report({ by })
      console.log(`report by ${by}: ${(spent() - began).toFixed(0)} ms, ${rows.length} rows`)
    }
    const [ours, hand] = yield* besideHand
    console.log(
      `report by provider: ${ours.toFixed(0)} ms, the same figures in SQL by hand ${hand.toFixed(0)} ms, ratio ${(ours / hand).toFixed(2)}`
    )
    const one = spent()
    yield* CallReport.report({ by: "target", since: start + month - 86_400_000 })
    console.log(`report by target, the last day: ${(spent() - one).toFixed(0)} ms`)
    const list = spent()
    yield* CallReport.calls({ failed: true })
    console.log(`the last 20 failed calls: ${(spent() - list).toFixed(0)} ms`)
    const bill = spent()
    yield* CallReport.reconcile("day,model,input_tokens,output_tokens,usd\n2026-11-01,m,1,1,1\n2026-11-30,m,1,1,1\n")
    console.log(`reconcile a month: ${(spent() - bill).toFixed(0)} ms`)
  })

const program = Effect.gen(function* () {
  console.log(`a record on the path of a call: ${(yield* hotPath).toFixed(2)} µs`)
  const [ours, bare] = yield* speed
  const kilo = (n: number) => `${(n / 1000).toFixed(1)}k`
  console.log(`rows a second: ${kilo(ours)}, bare INSERTs ${kilo(bare)}, ratio ${(ours / bare).toFixed(2)}`)
  const calls = Number(process.argv[2] ?? 0)
  if (calls > 0) {
    const file = join(folder, "month.db")
    yield* Effect.provide(reports(calls, file), CallLogLibsql.client(file))
  }
})

await Effect.runPromise(program).finally(() => rmSync(folder, { recursive: true, force: true }))
