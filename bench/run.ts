/**
 * `npm run bench`, or `npm run bench -- call memory` for some of it.
 *
 * Measured is the package as it is built. Each case has a process of its own; when all of a table are warm they take
 * turns, forwards and backwards, so that a slow moment of the machine falls on all of them.
 *
 * - `--fresh` gives each round of a case a new process: longer, but what V8 decides by luck is then in the spread.
 * - `--no-pretenuring` adds a column: V8 may decide from what it saw to allocate in the old space; with this each case
 *   runs once more without that.
 * - `--platform-layers` takes the HTTP layers of platform where Steadfast has its own.
 * - `--rounds=5`, `--seconds=3`, `--warm=20`: if not given, 3 rounds of 1.3 s after a warm-up of 50,000 calls or 5 s,
 *   but 8000 calls at the least. Seconds are of the processor, so that a busy machine does not cut them.
 */
import { type ChildProcess, fork, spawnSync } from "node:child_process"
import { once } from "node:events"
import { existsSync, mkdirSync, readFileSync, rmSync, symlinkSync } from "node:fs"
import { cpus } from "node:os"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import { type Asked, type Figures, type Settings, type Table, warmCalls } from "./case.js"
import { parts } from "./parts.js"
import { print, type Row, type Verdict } from "./report.js"

/** Seconds of a warm-up. */
const usualWarm = 5

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    fresh: { type: "boolean", default: false },
    "no-pretenuring": { type: "boolean", default: false },
    "platform-layers": { type: "boolean", default: false },
    rounds: { type: "string", default: "3" },
    seconds: { type: "string", default: "1.3" },
    warm: { type: "string", default: String(usualWarm) }
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
const { fresh } = values
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

/** The next message of a process. */
const message = async <A>(from: ChildProcess): Promise<A> => {
  const [value] = await Promise.race([
    once(from, "message"),
    once(from, "exit").then(([code]) => {
      throw new Error(`${from.spawnargs.slice(-4).join(" ")} ended with ${code}`)
    })
  ])
  return value as A
}

const ask = (child: ChildProcess, asked: Asked): Promise<Figures> => {
  const answer = message<Figures>(child)
  child.send(asked)
  return answer
}

/** A process of one case that is warm. */
const open = async (part: string, table: number, one: number, settings: Settings, more: ReadonlyArray<string> = []) => {
  const args = [part, String(table), String(one)]
  const child = fork(here("child.js"), args, { execArgv: [...flags, ...more] })
  await message(child)
  const warmed = await ask(child, { what: "warm", settings })
  return {
    round: async (): Promise<Figures> => ({ ...warmed, ...(await ask(child, { what: "round", settings })) }),
    close: async (): Promise<void> => {
      const ended = once(child, "exit")
      child.disconnect()
      await ended
    }
  }
}

type Process = Awaited<ReturnType<typeof open>>

/** Gives the rounds of a case: each in a process of its own, or all in one that stays. */
const keeper = (isFresh: boolean, start: () => Promise<Process>) => {
  let kept: Process | undefined
  return {
    warm: async (): Promise<void> => {
      if (!isFresh) kept = await start()
    },
    round: async (): Promise<Figures> => {
      const current = kept ?? (await start())
      const figures = await current.round()
      if (kept === undefined) await current.close()
      return figures
    },
    close: async (): Promise<void> => kept?.close()
  }
}

const run = async (part: string, index: number, table: Table): Promise<ReadonlyArray<Verdict>> => {
  const length = table.length ?? 1
  const isFresh = fresh || table.fresh === true
  const isTwice = twice && table.fresh !== true
  const measured = table.cases.map((one, number) => {
    const share = one.rounds === undefined ? length : length / 2
    const settings: Settings = {
      warm: share * warm,
      least: (share * (warm / usualWarm) * warmCalls.least) / (one.units ?? 1),
      seconds: length * seconds
    }
    const keep = (...more: ReadonlyArray<string>) => keeper(isFresh, () => open(part, index, number, settings, more))
    return {
      ...one,
      rounds: Array.of<Figures>(),
      most: Math.min(rounds, one.rounds ?? table.rounds ?? rounds),
      usual: keep(),
      plain: isTwice ? keep("--no-allocation-site-pretenuring") : undefined
    }
  })
  for (const { plain, usual } of measured) {
    await usual.warm()
    await plain?.warm()
  }
  for (let round = 0; round < rounds; round++) {
    const inTurn = measured.filter(({ most }) => round < most)
    for (const { plain, rounds, usual } of round % 2 === 0 ? inTurn : inTurn.toReversed()) {
      const figures = await usual.round()
      const cpu = (await plain?.round())?.cpu
      rounds.push(cpu === undefined ? figures : { ...figures, "cpu, not pretenured": cpu })
    }
  }
  for (const { plain, usual } of measured) {
    await usual.close()
    await plain?.close()
  }
  const of =
    (round: number) =>
    (name: string): Figures =>
      measured.find((row) => row.name === name)?.rounds[round] ?? {}
  const derived: ReadonlyArray<Row> = (table.derived ?? []).map((row) => ({
    ...row,
    rounds: (measured[0]?.rounds ?? []).map((_, round) => row.from(of(round))).filter(({ cpu }) => !Number.isNaN(cpu))
  }))
  return print(table, [...measured, ...derived], isTwice)
}

const version = (name: string): string => {
  const paths = [here(`../node_modules/${name}/package.json`), here(`../../node_modules/${name}/package.json`)]
  const path = paths.find(existsSync)
  return path === undefined ? "" : `${name} ${(JSON.parse(readFileSync(path, "utf8")) as { version: string }).version}`
}

link()
if (values["platform-layers"]) process.env.BENCH_LAYERS = "platform"
const server = fork(here("server.js"), [], { execArgv: [] })
process.env.BENCH_SERVER = await message<string>(server)

const { layers } = await import("./layers.js")
const packages = ["effect", "@effect/platform", "openai", "@anthropic-ai/sdk", "ai", "p-retry", "cockatiel"]
const start = performance.now()
console.log(
  [
    `Node ${process.version} ${flags.join(" ")}, ${cpus().length} × ${cpus()[0]?.model ?? "unknown processor"}`,
    packages.map(version).join(", "),
    `layers: fetch is ${layers.fetch.name}, undici is ${layers.undici.name}`,
    `each case in a process of its own; a warm-up of ${warmCalls.most.toLocaleString("en")} calls or ${warm} s of CPU ` +
      `(less for some; column "warm-up": the calls), then ${rounds} rounds in turns of ${seconds} s of CPU (1 round where ` +
      `"± %" is empty; column "calls": those of a round)`,
    "CPU µs: user and system time of the process for each call, the mean of the rounds, garbage collection included",
    "± %: half of what lies between the least and the most of the rounds; allocated: on the heap, without buffers"
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
for (const { name, reached, text } of missed) console.log(`  ${name}: ${text}, ${reached}`)
