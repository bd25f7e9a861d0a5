/** What the policies of traffic add to a call that is answered at once, with few and with many keys and waiting calls. */
import type { Batch, Case, Table } from "./case.js"

type Models = typeof import("./trafficModels.js")

const traffic = (name: string, make: (models: Models) => Promise<Batch>, base?: string): Case => ({
  name,
  ...(base === undefined ? {} : { base }),
  make: async () => ({ batch: await make(await import("./trafficModels.js")) })
})

const length = 0.4

const bare = "bare call: a leaf"

const keyed = (count: number): ReadonlyArray<Case> => {
  const base = `bare call: one of ${count} leaves`
  return [
    traffic(base, ({ oneOf }) => oneOf(count)),
    traffic(`all of them, ${count} keys`, ({ everything }) => everything(count), base)
  ]
}

const inMemory = "bare call: a leaf in memory"
const queue = (waiting: number): string => `join a queue of ${waiting} and leave it`

export const tables: ReadonlyArray<Table> = [
  {
    title: "traffic, answered at once",
    base: bare,
    length,
    rounds: 2,
    cases: [
      traffic(bare, ({ leaf }) => leaf()),
      traffic("retry and its budget", ({ retried }) => retried()),
      traffic("pacer", ({ paced }) => paced()),
      traffic("breaker", ({ broken }) => broken()),
      traffic("pool of 5 keys", ({ pooled }) => pooled(5)),
      traffic("all of them, 5 keys", ({ everything }) => everything(5)),
      ...keyed(100),
      ...keyed(10_000)
    ]
  },
  {
    title: "traffic, with nothing below it",
    base: inMemory,
    length,
    rounds: 2,
    cases: [
      traffic(inMemory, ({ leafInMemory }) => leafInMemory()),
      traffic("all of them, 5 keys", ({ everythingInMemory }) => everythingInMemory(5))
    ]
  },
  {
    title: "queues",
    base: queue(10),
    length,
    rounds: 2,
    cases: [10, 10_000].map((waiting) => traffic(queue(waiting), ({ queueOf }) => queueOf(waiting)))
  }
]
