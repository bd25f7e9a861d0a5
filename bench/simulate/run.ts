/**
 * `npm run simulate`: every policy in every scenario over 20 seeds, in virtual time. It takes minutes of real time; the
 * numbers do not depend on the machine, and the same seeds give the same report to the byte.
 *
 *   npx tsx bench/simulate/run.ts --only jobs --policies Steadfast --seeds 1
 *   npx tsx bench/simulate/run.ts --only outage,limits/known --policies Steadfast,openai --seeds 3
 *
 * `--only` and `--policies` choose by parts of names; a run of everything also writes bench/results.
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { availableParallelism } from "node:os"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import { ours } from "./ours.js"
import { peers } from "./peers/index.js"
import { pictures } from "./pictures.js"
import { type Answer, runAll, type Task } from "./pool.js"
import { markdown, type Row } from "./report.js"
import { groups } from "./scenarios/index.js"

const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "20" },
    only: { type: "string", default: "" },
    policies: { type: "string", default: "" },
    workers: { type: "string", default: String(availableParallelism()) },
    out: { type: "string" }
  }
})

const chosen = (list: string, name: string): boolean =>
  list === "" || list.split(",").some((part) => name.toLowerCase().includes(part.trim().toLowerCase()))

const seeds = Number(values.seeds)
const policies = [...ours, ...peers].filter(({ name }) => chosen(values.policies, name))
const scenarios = groups.flatMap((group) => group.scenarios).filter(({ id }) => chosen(values.only, id))
const everything = values.only === "" && values.policies === ""

const tasks: ReadonlyArray<Task> = scenarios.flatMap((scenario) =>
  policies.filter(scenario.takesPart).flatMap((policy) =>
    Array.from({ length: policy.kind === "ours" ? seeds : Math.min(seeds, scenario.peerSeeds) }, (_, index) => ({
      scenario: scenario.id,
      policy: policy.name,
      seed: index + 1
    }))
  )
)

// -----------------------------------------------------------------------------
// run
// -----------------------------------------------------------------------------

const answers: Array<Answer> = []
const began = performance.now()
await runAll(tasks, Number(values.workers), (answer) => {
  answers.push(answer)
  const { policy, scenario, seed } = answer.task
  if (answer.error !== undefined) console.error(`${scenario}, ${policy}, seed ${seed}: ${answer.error}`)
  if (answers.length % 50 === 0) {
    const elapsed = Math.round((performance.now() - began) / 1000)
    console.error(`${answers.length} of ${tasks.length} runs, ${elapsed} s`)
  }
})

const rowsOf = (scenario: string): ReadonlyArray<Row> =>
  policies.flatMap((policy) => {
    const own = answers
      .filter(({ task }) => task.scenario === scenario && task.policy === policy.name)
      .sort((a, b) => a.task.seed - b.task.seed)
    const outcomes = own.flatMap(({ outcome }) => outcome ?? [])
    const errors = own.flatMap(({ error }) => error ?? [])
    return outcomes.length + errors.length === 0 ? [] : [{ policy, outcomes, errors }]
  })

const results = new Map(scenarios.map(({ id }) => [id, rowsOf(id)] as const))

// -----------------------------------------------------------------------------
// report
// -----------------------------------------------------------------------------

/** The version of a package that the simulation imports; its manifest may not be among its exports. */
const versionOf = (name: string, folder: string): string => {
  const manifest: unknown = JSON.parse(
    readFileSync(fileURLToPath(new URL(`${folder}/node_modules/${name}/package.json`, import.meta.url)), "utf8")
  )
  return `${name} ${typeof manifest === "object" && manifest !== null && "version" in manifest ? manifest.version : "?"}`
}

const versions = [
  ...["effect", "@effect/platform"].map((name) => versionOf(name, "../..")),
  ...["openai", "ai", "@ai-sdk/openai", "cockatiel", "p-retry"].map((name) => versionOf(name, ".."))
]

const head = [
  "# Traffic control, simulated",
  [
    "Written by `npm run simulate` (parts of it: `npx tsx bench/simulate/run.ts --only outage --policies Steadfast,openai --seeds 3`).",
    "Clients run against a fake OpenAI in virtual time: real packages as they are, with timers, dates and `Math.random` replaced. Only",
    "the provider's log and the times of the jobs count. Nothing here depends on the machine; the same seeds give the same numbers."
  ].join("\n"),
  `Each number is the median over the seeds, in brackets the 5th and the 95th percentile where they differ. Packages: ${versions.join(", ")}.`
]

const drawn = pictures(results)
const report = markdown(
  head,
  groups.map((group) => ({ ...group, scenarios: group.scenarios.filter(({ id }) => results.has(id)) })),
  results,
  ({ name }) => drawn.filter(({ group }) => group === name).map(({ file }) => file)
)
console.log(report)

const out = values.out ?? (everything ? fileURLToPath(new URL("../results", import.meta.url)) : undefined)
if (out !== undefined) {
  mkdirSync(out, { recursive: true })
  writeFileSync(`${out}/simulation.md`, report)
  for (const { file, svg } of drawn) writeFileSync(`${out}/${file}`, svg)
}

const sum = (of: (answer: Answer) => number): number => answers.reduce((total, answer) => total + of(answer), 0)
console.error(
  [
    `${answers.length} runs`,
    `${(sum(({ events }) => events) / 1e6).toFixed(1)} million events`,
    `${Math.round(sum(({ cpuMillis }) => cpuMillis) / 1000)} s of processors`,
    `${Math.round((performance.now() - began) / 1000)} s`
  ].join(", ")
)
if (answers.some(({ error }) => error !== undefined)) process.exitCode = 1
