/** Headers that tell a limit and not its window: a drain of jobs that all come at once. */
import type { BucketOptions } from "../bucket.js"
import type { LimitOptions } from "../provider.js"
import { type Group, type Scenario, simulate } from "../scenario.js"
import { allDone, allInTime, atMost, doneMetrics, doneNumbers, waitMetrics, waitNumbers } from "./goals.js"
import { answeringAbout, everybodyAnd, minutes, seconds, target } from "./support.js"

const life = minutes(10)
/** The median of answers, in milliseconds. */
const answers = 300

const bySecond = { limit: 10, windowMillis: 1000, burst: 10 }
const byMinute = { limit: 10, windowMillis: 60_000, burst: 10 }

interface Variant {
  readonly id: string
  readonly jobs: number
  readonly requests: BucketOptions
  readonly told: Pick<LimitOptions, "hints" | "ownWindow" | "reset">
  /** Default 1.05. */
  readonly callsPerJob?: number
}

/** What the drain takes where every place is used: the burst at once, the others as the limit refills. */
const physical = ({ jobs, requests: { burst, limit, windowMillis } }: Variant): number =>
  ((jobs - burst) * windowMillis) / limit + answers

const scenario = (variant: Variant): Scenario => ({
  id: `jobs/headers · ${variant.id}`,
  metrics: [
    ...doneMetrics,
    { name: "calls per job", unit: "", digits: 3 },
    { name: "drain", unit: "s", digits: 1 },
    { name: "over the physical", unit: "", digits: 2 },
    ...waitMetrics
  ],
  goals: [allDone, allInTime, atMost("calls per job", variant.callsPerJob ?? 1.05), atMost("over the physical", 1.15)],
  takesPart: everybodyAnd("jobs"),
  peerSeeds: 1,
  run: async (world) => {
    const { jobs, requests, told } = variant
    const horizonMillis = life + minutes(1)
    const run = await simulate(world, {
      targets: [target("a", { service: answeringAbout(answers), limits: { requests, countRefused: false, ...told } })],
      setup: { attemptTimeoutMillis: seconds(30), deadlineMillis: life },
      workload: { kind: "closed", workers: jobs, jobs },
      horizonMillis
    })
    if (run === undefined) return undefined
    const drain = Math.max(...run.jobs.map(({ endedAt }) => (Number.isNaN(endedAt) ? horizonMillis : endedAt)))
    return {
      metrics: {
        ...doneNumbers(run, life),
        "calls per job": run.log.length / jobs,
        drain: drain / 1000,
        "over the physical": drain / physical(variant),
        ...waitNumbers(run)
      }
    }
  }
})

const second = { jobs: 200, requests: bySecond } as const

export const headers: Group = {
  name: "jobs/headers",
  title: "Limits told without their window",
  about: [
    "Jobs with 600 s to live that all come at once, against 10 requests a second, or in the last table a minute, and a burst of 10. The",
    "headers tell the limit as 10 in every case, what remains of it, and as reset the wait for one place (`0.1s`), the same in whole",
    "seconds (`1`), or the time until it is full again. Refused requests are free.",
    "",
    "*drain*: until the last job is over. *over the physical*: against the time that it takes where every place is used, 19.3 s for 200",
    "jobs and 10 a second."
  ].join("\n"),
  scenarios: [
    scenario({
      ...second,
      id: "10 a second · reset of a place",
      told: { hints: true, ownWindow: true, reset: "place" }
    }),
    scenario({
      ...second,
      id: "10 a second · reset in whole seconds",
      told: { hints: true, ownWindow: true, reset: "place in whole seconds" }
    }),
    scenario({ ...second, id: "10 a second · reset until full", told: { hints: true, ownWindow: true } }),
    scenario({ ...second, id: "10 a second · no headers", told: { hints: false } }),
    // A probe or two for each of the three minutes may ask whether it is a minute indeed.
    scenario({
      id: "10 a minute · reset until full",
      jobs: 40,
      requests: byMinute,
      told: { hints: true },
      callsPerJob: 1.2
    })
  ]
}
