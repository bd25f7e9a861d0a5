/**
 * How the benchmarks measure: every case is warmed up and sized to a batch of equal time, then the cases take turns
 * for several rounds, so that a slow moment of the machine falls on all of them. What is compared is the lower decile:
 * whatever else the machine does only ever adds to a round, and a batch is long enough to hold its share of garbage
 * collection.
 */
import { Effect } from "effect"

/** `batch` runs the operation `times` times. */
export interface Case {
  readonly name: string
  readonly batch: (times: number) => Promise<void>
}

/** An operation that is an effect, made anew each time, and run inside one fiber. */
export const effectsCase = <A, E>(name: string, body: () => Effect.Effect<A, E>): Case => ({
  name,
  batch: (times) =>
    Effect.suspend(() => {
      let left = times
      return Effect.whileLoop({ while: () => left-- > 0, body, step: () => {} })
    }).pipe(Effect.orDie, Effect.runPromise)
})

/** An operation that is one effect, run over and over inside one fiber. */
export const effectCase = <A, E>(name: string, effect: Effect.Effect<A, E>): Case => effectsCase(name, () => effect)

/** An operation that is a promise, from its start until it is settled. */
export const promiseCase = (name: string, run: () => Promise<unknown>): Case => ({
  name,
  batch: async (times) => {
    for (let i = 0; i < times; i++) await run()
  }
})

/** Microseconds per operation: the lower decile of the rounds, and their median. */
export interface Measured {
  readonly name: string
  readonly time: number
  readonly median: number
}

const warmup = { millis: 400, runs: 10_000, most: 3000 }
const batchMillis = 40
const rounds = Number(process.env.BENCH_ROUNDS ?? 31)

/** Milliseconds: of the wall, or with `BENCH_CLOCK=cpu` of the processor, for a machine that has other work to do. */
const clock = (): number => {
  if (process.env.BENCH_CLOCK !== "cpu") return performance.now()
  const { system, user } = process.cpuUsage()
  return (system + user) / 1000
}

const timed = async (self: Case, times: number): Promise<number> => {
  const start = clock()
  await self.batch(times)
  return clock() - start
}

const size = async (self: Case): Promise<number> => {
  let times = 16
  let millis = 0
  let runs = 0
  const start = performance.now()
  const isCold = (elapsed: number) => elapsed < warmup.millis || (runs < warmup.runs && elapsed < warmup.most)
  while (isCold(performance.now() - start) || millis < batchMillis / 2) {
    millis = await timed(self, times)
    runs += times
    if (millis < batchMillis) times *= 2
  }
  return Math.max(1, Math.round((times * batchMillis) / millis))
}

const quantile = (sorted: ReadonlyArray<number>, q: number): number =>
  sorted[Math.round((sorted.length - 1) * q)] ?? Number.NaN

/** Measures the cases against each other. */
export const measure = async (cases: ReadonlyArray<Case>): Promise<ReadonlyArray<Measured>> => {
  const entries: Array<{ readonly self: Case; readonly times: number; readonly samples: Array<number> }> = []
  for (const self of cases) entries.push({ self, times: await size(self), samples: [] })
  for (let round = 0; round < rounds; round++) {
    for (const entry of round % 2 === 0 ? entries : entries.toReversed()) {
      entry.samples.push((1000 * (await timed(entry.self, entry.times))) / entry.times)
    }
  }
  return entries.map(({ self, samples }) => {
    const sorted = samples.toSorted((a, b) => a - b)
    return { name: self.name, time: quantile(sorted, 0.1), median: quantile(sorted, 0.5) }
  })
}

/** What the case of that name takes. */
export const timeOf = (measured: ReadonlyArray<Measured>, name: string): number =>
  measured.find((one) => one.name === name)?.time ?? Number.NaN

export const micros = (value: number): string => value.toFixed(value < 10 ? 2 : 1)

/** Prints rows under a head, the first column to the left. */
export const printTable = (title: string, rows: ReadonlyArray<ReadonlyArray<string>>): void => {
  const widths = rows.reduce<Array<number>>(
    (all, row) => row.map((cell, column) => Math.max(all[column] ?? 0, cell.length)),
    []
  )
  const line = (row: ReadonlyArray<string>) =>
    row
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0)))
      .join("  ")
  console.log(`\n${title}\n${rows.map(line).join("\n")}`)
}

/** Prints a table; the `base` of a case, if it has one, is what it is compared with. */
export const print = (
  title: string,
  measured: ReadonlyArray<Measured>,
  base: (name: string) => string | undefined
): void => {
  const rows = measured.map((one) => {
    const below = base(one.name)
    const against = below === undefined || below === one.name ? undefined : timeOf(measured, below)
    return [
      one.name,
      micros(one.time),
      micros(one.median),
      against === undefined ? "" : micros(one.time - against),
      against === undefined ? "" : `${(one.time / against).toFixed(2)}×`
    ]
  })
  printTable(title, [["", "µs", "median", "added", "ratio"], ...rows])
}
