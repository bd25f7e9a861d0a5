/**
 * `npm run bench`, or `npm run bench -- call memory` for some of it.
 *
 * Measured is the package as it is built. Each case runs in processes of its own, one in each round; the rounds go
 * through the cases of a table in turn, forwards and backwards, so that a slow moment of the machine falls on all of them.
 *
 * - `--no-pretenuring` adds a column: V8 may decide from what it saw to allocate in the old space, which is a matter of
 *   luck from process to process; with this each case runs once more without that.
 * - `--platform-layers` takes the HTTP layers of platform where Steadfast has its own.
 * - `--rounds=5`, `--seconds=3`, `--warm=5`: if not given, 3 rounds of 1.3 s after a warm-up of 2.5 s at the most. Seconds
 *   are of the processor, so that a busy machine does not cut them.
 */
import { type ChildProcess, fork, spawnSync } from "node:child_process"
import { once } from "node:events"
import { existsSync, mkdirSync, readFileSync, rmSync, symlinkSync } from "node:fs"
import { cpus } from "node:os"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import { type Figures, type Settings, type Table, warmCalls } from "./case.js"
import { parts } from "./parts.js"
import { print, type Row, type Verdict } from "./report.js"

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    "no-pretenuring": { type: "boolean", default: false },
    "platform-layers": { type: "boolean", default: false },
    rounds: { type: "string", default: "3" },
    seconds: { type: "string", default: "1.3" },
    warm: { type: "string", default: "2.5" }
  }
})

const names = [...Object.keys(parts), "steps"]
for (const name of positionals) {
  if (!names.includes(name)) throw new Error(`no part is called ${name}; there are ${names.join(", ")}`)
}
const isAsked = (name: string): boolean => positionals.length === 0 || positionals.includes(name)
const rounds = Number(values.rounds)
const seconds = Number(values.seconds)
const warm = Number(values.warm)
const twice = values["no-pretenuring"]

const here = (file: string): string => fileURLToPath(new URL(file, import.meta.url))

/** Garbage is collected by the thread that made it, so that all of it is in the time of the case, and always the same way. */
const flags = ["--single-threaded-gc", "--expose-gc"]

/** Makes the package resolve as it does where it is installed: by its own `exports`, to what was built. */
const link = (): void => {
  const root = here("../../")
  if (!existsSync(`${root}dist/index.js`)) throw new Error("the package is not built: npm run build")
  mkdirSync(here("node_modules"), { recursive: true })
  rmSync(here("node_modules/effect-steadfast"), { force: true })
  symlinkSync(root, here("node_modules/effect-steadfast"), "dir")
}

const message = async <A>(from: ChildProcess, name: string): Promise<A> => {
  const [value] = await Promise.race([
    once(from, "message"),
    once(from, "exit").then(([code]) => {
      throw new Error(`${name} ended with ${code}`)
    })
  ])
  return value as A
}

const sample = async (
  part: string,
  [table, one]: readonly [table: number, one: number],
  settings: Settings,
  more: ReadonlyArray<string> = []
): Promise<Figures> => {
  const child = fork(here("child.js"), [part, String(table), String(one), JSON.stringify(settings)], {
    execArgv: [...flags, ...more]
  })
  const ended = once(child, "exit")
  const figures = await message<Figures>(child, `case ${one} of table ${table} of ${part}`)
  await ended
  return figures
}

const run = async (part: string, index: number, table: Table): Promise<ReadonlyArray<Verdict>> => {
  const length = table.length ?? 1
  const settings: Settings = { warm: length * warm, seconds: length * seconds }
  const measured: ReadonlyArray<Array<Figures>> = table.cases.map(() => [])
  const rows = table.cases.map((one, index) => ({ ...one, rounds: measured[index] ?? [] }))
  for (let round = 0; round < rounds; round++) {
    const order = table.cases.flatMap((one, index) => (round < (one.rounds ?? table.rounds ?? rounds) ? [index] : []))
    for (const one of round % 2 === 0 ? order : order.toReversed()) {
      const figures = await sample(part, [index, one], settings)
      const second =
        twice && table.columns === undefined
          ? await sample(part, [index, one], settings, ["--no-allocation-site-pretenuring"])
          : undefined
      measured[one]?.push({
        ...figures,
        ...(second?.cpu === undefined ? {} : { "cpu, not pretenured": second.cpu })
      })
    }
  }
  const of =
    (round: number) =>
    (name: string): Figures =>
      rows.find((row) => row.name === name)?.rounds[round] ?? {}
  const derived: ReadonlyArray<Row> = (table.derived ?? []).map((row) => ({
    ...row,
    rounds: (measured[0] ?? []).map((_, round) => row.from(of(round))).filter(({ cpu }) => !Number.isNaN(cpu))
  }))
  return print(table, [...rows, ...derived], twice)
}

const version = (name: string): string => {
  const paths = [here(`../node_modules/${name}/package.json`), here(`../../node_modules/${name}/package.json`)]
  const path = paths.find(existsSync)
  return path === undefined ? "" : `${name} ${(JSON.parse(readFileSync(path, "utf8")) as { version: string }).version}`
}

link()
if (values["platform-layers"]) process.env.BENCH_LAYERS = "platform"
const server = fork(here("server.js"), [], { execArgv: [] })
process.env.BENCH_SERVER = await message<string>(server, "the server")

const { layers } = await import("./layers.js")
const packages = ["effect", "@effect/platform", "openai", "@anthropic-ai/sdk", "ai", "p-retry", "cockatiel"]
const start = performance.now()
console.log(
  [
    `Node ${process.version} ${flags.join(" ")}, ${cpus().length} × ${cpus()[0]?.model ?? "unknown processor"}`,
    packages.map(version).join(", "),
    `layers: fetch is ${layers.fetch.name}, undici is ${layers.undici.name}`,
    `${rounds} rounds (one for what has "± %" of 0); in each a case has a process of its own: a warm-up of ` +
      `${warmCalls.toLocaleString("en")} calls or ${warm} s of CPU, then a run of ${seconds} s; columns "warm-up" and ` +
      "calls: how many that were in a round",
    "CPU µs: user and system time of the process for each call, the mean of the rounds, garbage collection included",
    "± %: half of what lies between the least and the most of the rounds; KiB: allocated on the heap, buffers left out"
  ].join("\n")
)
const verdicts: Array<Verdict> = []
for (const [name, load] of Object.entries(parts)) {
  if (!isAsked(name)) continue
  for (const [index, table] of (await load()).tables.entries()) verdicts.push(...(await run(name, index, table)))
}
server.kill()
if (isAsked("steps")) {
  const { error, status } = spawnSync(process.execPath, [...flags, here("child.js"), "steps"], { stdio: "inherit" })
  if (status !== 0) throw error ?? new Error(`steps ended with ${status}`)
}
const missed = verdicts.filter(({ met }) => !met)
console.log(
  `\n${verdicts.length - missed.length} of ${verdicts.length} goals met, in ${Math.round((performance.now() - start) / 1000)} s`
)
for (const { name, text } of missed) console.log(`  ${name}: ${text}`)
