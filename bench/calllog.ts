/** What the call log costs: a record on the path of a call, and rows into a libSQL file against bare INSERTs of them. */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { CallRecord } from "effect-steadfast"
import type { Figures, Settings, Table } from "./case.js"

const size = 200
const inRound = 50 * size

/** Of ten calls three needed a second attempt. */
const recordsFrom = async (from: number, count: number): Promise<ReadonlyArray<CallRecord.CallRecord>> => {
  const { LlmError } = await import("effect-steadfast")
  const target = { provider: "openai", model: "gpt-4o-mini" }
  const startedAt = Date.UTC(2026, 10, 30)
  const base = { index: 1, ...target, startedAt, durationMillis: 812, status: 200 }
  const paid = { outcome: "success", usage: { inputTokens: 120, outputTokens: 30 }, usd: 0.0001 } as const
  const error = new LlmError.RateLimited({ ...target, message: "slow down", status: 429, delivery: "rejected" })
  const retry = { delayMillis: 512, reason: "backing off" }
  return Array.from({ length: count }, (_, index) => ({
    ...{ id: `call-${from + index}`, name: "chat gpt-4o-mini", operation: "chat", outcome: "success" as const },
    ...{ startedAt: startedAt + index, durationMillis: 1400, labels: { tenant: `tenant-${index % 5}` } },
    attempts:
      index % 10 < 7
        ? [{ ...base, ...paid }]
        : [
            { ...base, status: 429, outcome: "failure" as const, error },
            { ...base, index: 2, retry, ...paid }
          ]
  }))
}

/** Microseconds of the processor. */
const spent = (): number => {
  const { system, user } = process.cpuUsage()
  return system + user
}

const inFolder = async <A>(use: (folder: string) => Promise<A>): Promise<A> => {
  const folder = mkdtempSync(join(tmpdir(), "steadfast-bench-"))
  try {
    return await use(folder)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Opens a log, hands records over, and waits until they are written: the processor's time for both. */
const logged = async (file: string, records: ReadonlyArray<CallRecord.CallRecord>) => {
  const { Effect } = await import("effect")
  const { Call } = await import("effect-steadfast")
  const { CallLog } = await import("effect-steadfast/observability")
  const { layer } = await import("effect-steadfast/observability/CallLogLibsql")
  return Effect.gen(function* () {
    const [observer] = yield* Call.Observers
    const log = yield* CallLog.CallLog
    if (observer === undefined) throw new Error("there is no observer")
    const first = records.slice(0, size)
    yield* Effect.forEach(first, observer, { discard: true })
    yield* log.flush
    const begun = spent()
    yield* Effect.forEach(records.slice(size), observer, { discard: true })
    const handed = spent()
    yield* log.flush
    return { handing: handed - begun, all: spent() - begun, records: records.length - size }
  }).pipe(Effect.provide(layer({ file, batchSize: size, maxBuffered: 2 * inRound })), Effect.runPromise)
}

const ours = (): Promise<Figures> =>
  inFolder(async (folder) => {
    const file = join(folder, "calls.db")
    const { all, handing, records } = await logged(file, await recordsFrom(0, inRound + size))
    const rows = await rowsIn(file)
    return { hot: handing / records, rows: (1e6 * rows * (records / (records + size))) / all, records }
  })

const names = ["steadfast_attempts", "steadfast_labels", "steadfast_calls"]

const rowsIn = async (file: string): Promise<number> => {
  const { createClient } = await import("@libsql/client")
  const client = createClient({ url: `file:${file}` })
  let sum = 0
  for (const name of names) sum += Number((await client.execute(`select count(*) from ${name}`)).rows[0]?.[0])
  client.close()
  return sum
}

/** The same rows as they stand in a log, ready in batches, by one INSERT for each table. */
const bare = (): Promise<Figures> =>
  inFolder(async (folder) => {
    const { createClient } = await import("@libsql/client")
    const file = join(folder, "calls.db")
    await logged(file, await recordsFrom(0, inRound + size))
    const client = createClient({ url: `file:${file}`, concurrency: 1 })
    await client.execute("pragma synchronous = normal")
    const statements: Array<{ readonly sql: string; readonly args: Array<string | number | null> }> = []
    const tables = await Promise.all(
      names.map(async (name) => {
        const { columns, rows } = await client.execute(`select * from ${name}`)
        return { name, columns, rows: rows.map((row) => Array.from(row) as Array<string | number | null>) }
      })
    )
    const batches = inRound / size
    let count = 0
    for (let batch = 0; batch < batches; batch++) {
      for (const { columns, name, rows } of tables) {
        const each = Math.ceil(rows.length / batches)
        const some = rows.slice(batch * each, (batch + 1) * each)
        if (some.length === 0) continue
        count += some.length
        const group = `(${columns.map(() => "?").join(",")})`
        statements.push({
          sql: `insert into ${name} (${columns.join(",")}) values ${some.map(() => group).join(",")}`,
          args: some.flat()
        })
      }
    }
    for (const name of names) await client.execute(`delete from ${name}`)
    await client.execute("vacuum")
    const begun = spent()
    for (const statement of statements) await client.execute(statement)
    const rows = (1e6 * count) / (spent() - begun)
    client.close()
    return { rows }
  })

/** Takes the mean of as many samples as the time allows; the first is the warm-up. */
const sampled = (sample: () => Promise<Figures>) => ({
  warm: async () => (await sample()).records ?? inRound,
  sample: async ({ seconds }: Settings): Promise<Figures> => {
    const sums: Record<string, number> = {}
    const begun = spent()
    let samples = 0
    do {
      for (const [name, value] of Object.entries(await sample())) sums[name] = (sums[name] ?? 0) + value
      samples++
    } while (spent() - begun < 1e6 * seconds)
    return Object.fromEntries(Object.entries(sums).map(([name, sum]) => [name, sum / samples]))
  }
})

const bareName = "bare INSERTs of the same rows"

const writing: Table = {
  title: "the call log: a record on the path of a call, and rows a second of the processor into libSQL",
  base: bareName,
  columns: [
    { head: "µs on the path", figure: "hot", show: "mean" },
    { head: "rows/s", figure: "rows", show: "mean", digits: 0 },
    { head: "± %", figure: "rows", show: "spread", digits: 1 },
    { head: "ratio", figure: "rows", show: "ratio" }
  ],
  cases: [
    { name: bareName, make: async () => sampled(bare) },
    {
      name: "Steadfast's call log",
      make: async () => sampled(ours),
      goals: [
        { figure: "hot", most: 3 },
        { figure: "rows", against: bareName, least: 0.7 }
      ]
    }
  ]
}

export const tables: ReadonlyArray<Table> = [writing]
