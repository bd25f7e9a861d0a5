/** A batch whose workers meet an outage: rows that are fed into it must not be burnt. */
import * as Metrics from "../metrics.js"
import type { Fault, Window } from "../provider.js"
import { type Group, type Scenario, simulate } from "../scenario.js"
import { allDone, allInTime, atMost, callsMetric, doneMetrics, doneNumbers, waitMetrics, waitNumbers } from "./goals.js"
import { answeringAbout, everybody, minutes, seconds, target } from "./support.js"

const rows = 1000
const workers = 64
const life = minutes(30)
const horizonMillis = minutes(90)
/** Later than this a probe or two may come before the rows do. */
const probes = 20

const outages = {
  "a minute of 503": [seconds(60), (outage) => ({ kind: "failing", p: 1, statuses: [503], after: 30, ...outage })],
  "5 s refused": [seconds(5), (outage) => ({ kind: "refused", ...outage })],
  "a minute of black hole": [seconds(60), (outage) => ({ kind: "black hole", ...outage })]
} satisfies Record<string, readonly [number, (outage: Window) => Fault]>

interface Variant {
  readonly outage: keyof typeof outages
  /** When it begins. From the start, with fast answers, or in the middle, with slower ones. */
  readonly from: "the start" | "second 5"
  /** With `retry(RetryPolicy.patient)` alone. */
  readonly alone: boolean
}

const run =
  ({ from, outage }: Variant): Scenario["run"] =>
  async (world) => {
    const [length, faultOf] = outages[outage]
    const begins = from === "the start" ? 0 : seconds(5)
    const window: Window = { from: begins, to: begins + length }
    const service = answeringAbout(from === "the start" ? 300 : 2000)
    const run = await simulate(world, {
      targets: [target("a", { service, faults: [faultOf(window)] })],
      setup: { attemptTimeoutMillis: seconds(30), deadlineMillis: life, patient: true },
      workload: { kind: "closed", workers, jobs: rows },
      horizonMillis
    })
    if (run === undefined) return undefined
    return {
      metrics: {
        ...doneNumbers(run, life),
        requests: run.log.length,
        "calls in outage": Metrics.arrivedIn(run.log, window).length,
        "calls per answer": Metrics.callsPerAnswer(run.log),
        makespan: Math.max(...run.jobs.map(({ endedAt }) => (Number.isNaN(endedAt) ? horizonMillis : endedAt))) / 1000,
        ...waitNumbers(run)
      }
    }
  }

const scenario = (variant: Variant): Scenario => ({
  id: `jobs/batch · ${variant.outage} from ${variant.from}${variant.alone ? " · retry(patient) alone" : ""}`,
  metrics: [
    ...doneMetrics,
    { name: "requests", unit: "" },
    { name: "calls in outage", unit: "" },
    callsMetric,
    { name: "makespan", unit: "s" },
    ...waitMetrics
  ],
  goals: [allDone, allInTime, atMost("requests", variant.alone ? 1100 : rows + workers + probes)],
  takesPart: variant.alone ? (policy) => policy.only?.includes("batch") === true : everybody,
  peerSeeds: 1,
  run: run(variant)
})

const names = Object.keys(outages) as ReadonlyArray<Variant["outage"]>

export const batch: Group = {
  name: "jobs/batch",
  title: "A batch that meets an outage",
  about: [
    `${rows} rows, ${workers} at a time (a closed loop), each with 30 minutes to live. The provider is away from the start, and answers take`,
    "0.3 s (median); or from second 5, and answers take 2 s. An attempt may take 30 s. Clients are set up for batch work. *Alone*: ours",
    "with `retry(RetryPolicy.patient)` and nothing else but the timeout of an attempt.",
    "",
    "*done*: rows with an answer. *in time*: within 30 minutes. *requests*: all that arrived; *calls in outage*: those of the outage.",
    "*makespan*: until the last row is over."
  ].join("\n"),
  scenarios: (["the start", "second 5"] as const).flatMap((from) =>
    names.flatMap((outage) => [false, true].map((alone) => scenario({ outage, from, alone })))
  )
}
