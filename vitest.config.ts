import { readFileSync } from "node:fs"
import { availableParallelism } from "node:os"
import { fileURLToPath } from "node:url"
import { defineConfig } from "vitest/config"
import { BaseSequencer, type TestSpecification } from "vitest/node"

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url))

const { exports, name }: { name: string; exports: Record<string, string | { default: string }> } = JSON.parse(
  readFileSync(here("package.json"), "utf8")
)

/** Files that mostly wait, for timers, sockets and other processes, begin first: the others run meanwhile. */
class WaitingFirst extends BaseSequencer {
  override async sort(files: Array<TestSpecification>): Promise<Array<TestSpecification>> {
    const sorted = await super.sort(files)
    const waits = ({ moduleId }: TestSpecification) =>
      /\/(?:examples|package|Sockets|Runtimes)\.test\.ts$/.test(moduleId)
    return [...sorted.filter(waits), ...sorted.filter((file) => !waits(file))]
  }
}

/** What every random choice of the run begins with. `SEED=… npm test` makes the same choices again. */
const seed = process.env.SEED ?? String(Date.now() % 2 ** 31)
if (process.env.SEED === undefined) console.log(`seed ${seed}`)
process.env.SEED = seed

/** One more than there are cores, for the files that wait. */
const workers = availableParallelism() + 1

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    setupFiles: ["test/support/setup.ts"],
    env: { SEED: seed },
    // Against what hangs, not against what is slow: a busy machine fails no law.
    testTimeout: 900_000,
    hookTimeout: 900_000,
    // Loading Effect costs a test file a second: files that share a worker load it once.
    isolate: false,
    // As many at the least: the runner fails at times when it ends a worker that has nothing to do.
    minWorkers: workers,
    maxWorkers: workers,
    sequence: { sequencer: WaitingFirst },
    // The examples, each of which mostly waits.
    maxConcurrency: 16
  },
  resolve: {
    // The entry points, from the sources.
    alias: Object.entries(exports).flatMap(([entry, target]) =>
      typeof target === "string"
        ? []
        : {
            find: new RegExp(`^${name}${entry.slice(1)}$`),
            replacement: here(target.default.replace("dist", "src").replace(/\.js$/, ".ts"))
          }
    )
  }
})
