/** Jobs that one target must do although it is away for a while: what becomes of each, and what the target has to bear. */
import { seeded } from "../chance.js"
import * as Metrics from "../metrics.js"
import type { Fault, LimitOptions, TargetOptions, Window } from "../provider.js"
import { type Goal, type Group, type Metric, type Plan, type Scenario, simulate } from "../scenario.js"
import { waitOf } from "../workload.js"
import { answering, jobsToo, minutes, seconds, target } from "./support.js"

/** The median of the answer times is 300 ms. */
const answerMillis = 300 * Math.exp(0.5 ** 2 / 2)
const attemptMillis = seconds(10)

const metrics: ReadonlyArray<Metric> = [
  { name: "done", unit: "%", digits: 1 },
  { name: "possible done", unit: "%", digits: 1 },
  { name: "calls in the outage", unit: "" },
  { name: "beyond one timeout", unit: "" },
  { name: "calls per answer", unit: "", digits: 3 },
  { name: "requests", unit: "" },
  { name: "queue empty", unit: "s", digits: 1 },
  { name: "p95 wait", unit: "s", digits: 1 },
  { name: "makespan", unit: "s", digits: 1 }
]

type Kind = "503" | "refused" | "black hole"

const faultOf = (kind: Kind, window: Window): Fault =>
  kind === "503"
    ? { kind: "failing", p: 1, statuses: [503], after: 30, ...window }
    : kind === "refused"
      ? { kind: "refused", ...window }
      : { kind: "black hole", ...window }

interface Variant {
  readonly id: string
  readonly workload: Plan["workload"]
  readonly setup: Plan["setup"]
  /** The outage of a seed, if there is one. */
  readonly outage?: ((seed: number) => Window) | undefined
  readonly kind?: Kind
  readonly faults?: ReadonlyArray<Fault>
  readonly service?: Pick<TargetOptions, "slots" | "limits">
  readonly goals: ReadonlyArray<Goal>
}

/** A job with this much left after the outage can be done: one answer takes less. */
const margin = seconds(1)

const run =
  ({ faults = [], kind = "503", outage, service, setup, workload }: Variant): Scenario["run"] =>
  async (world) => {
    const window = outage?.(world.seed)
    const server = target("a", {
      service: answering(answerMillis),
      ...service,
      faults: window === undefined ? faults : [...faults, faultOf(kind, window)]
    })
    const { deadlineMillis = minutes(10) } = setup
    const plan: Plan = {
      targets: [server],
      setup: { ...setup, deadlineMillis },
      workload,
      horizonMillis: minutes(60)
    }
    const run = await simulate(world, plan)
    if (run === undefined) return undefined
    const { jobs, log } = run
    const ended = jobs.map(({ endedAt }) => (Number.isNaN(endedAt) ? plan.horizonMillis : endedAt))
    const waited = window && jobs.filter((job) => job.submittedAt < window.to && job.endedAt >= window.to)
    const possible = jobs.filter(
      ({ submittedAt }) =>
        window === undefined || submittedAt < window.from - margin || submittedAt + deadlineMillis > window.to + margin
    )
    return {
      metrics: {
        done: Metrics.successPercent(jobs),
        "possible done": Metrics.successPercent(possible),
        "calls in the outage": window === undefined ? Number.NaN : Metrics.arrivedIn(log, window).length,
        "beyond one timeout":
          window === undefined
            ? Number.NaN
            : Metrics.arrivedIn(log, window).length -
              Metrics.submittedIn(jobs, { from: window.from, to: window.from + attemptMillis }).length,
        "calls per answer": Metrics.callsPerAnswer(log),
        requests: log.length,
        "queue empty":
          window === undefined || waited === undefined
            ? Number.NaN
            : (Math.max(window.to, ...waited.map(({ endedAt }) => endedAt)) - window.to) / 1000,
        "p95 wait": Metrics.quantile(jobs.filter(({ ok }) => ok).map(waitOf), 0.95) / 1000,
        makespan: Math.max(...ended) / 1000
      }
    }
  }

const all: Goal = { metric: "done", is: ">=", value: 100 }
const atMost = (metric: string, value: number): Goal => ({ metric, is: "<=", value })

const short = (): Window => ({ from: seconds(20), to: seconds(30) })
/** 50 to 70 seconds, by seed: a probe at a lucky moment helps nobody. */
const long = (seed: number): Window => ({ from: seconds(20), to: seconds(70 + 20 * seeded("outage", seed)()) })
const open = (rate: number, length: number): Plan["workload"] => ({ kind: "open", rate, millis: seconds(length) })

const steady = { attemptTimeoutMillis: attemptMillis, deadlineMillis: minutes(10) }
const patient = { attemptTimeoutMillis: seconds(30), deadlineMillis: minutes(30), patient: true }

const limitOf = (rate: number, more: Partial<LimitOptions> = {}): LimitOptions => ({
  requests: { limit: rate, windowMillis: 1000, burst: rate },
  countRefused: true,
  hints: true,
  ...more
})

const arriving = 5
/** The next probe is 15 seconds away at most; then 5 seconds, and 1.2 times what the backlog takes. */
const drained = (capacity: number): number => 20 + (1.2 * arriving * 60) / (capacity - arriving)

const batch = (id: string, kind: Kind, length: number): Variant => ({
  id: `batch, ${id}`,
  workload: { kind: "closed", workers: 64, jobs: 1000 },
  setup: patient,
  kind,
  outage: () => ({ from: seconds(2), to: seconds(2 + length) }),
  goals: [all, atMost("requests", 1100)]
})

const kinds: ReadonlyArray<Kind> = ["503", "refused"]

const variants: ReadonlyArray<Variant> = [
  ...kinds.map((kind) => ({
    id: `10 s, ${kind}`,
    workload: open(10, 60),
    setup: steady,
    kind,
    outage: short,
    goals: [all, atMost("calls in the outage", 12), atMost("calls per answer", 1.05)]
  })),
  ...kinds.map((kind) => ({
    id: `60 s, ${kind}`,
    workload: open(arriving, 120),
    setup: steady,
    kind,
    outage: long,
    goals: [all, atMost("calls in the outage", 15), atMost("queue empty", 20)]
  })),
  {
    id: "60 s, black hole",
    workload: open(arriving, 120),
    setup: steady,
    kind: "black hole",
    outage: long,
    goals: [all, atMost("beyond one timeout", 10), atMost("queue empty", 20)]
  },
  ...[10, 7].map((capacity) => ({
    id: `60 s, 503, then a limit of ${capacity} a second`,
    workload: open(arriving, 180),
    setup: steady,
    outage: long,
    service: { limits: limitOf(capacity) },
    goals: [all, atMost("queue empty", drained(capacity))]
  })),
  ...[10, 7].map((capacity) => ({
    id: `60 s, 503, then slots for ${capacity} a second`,
    workload: open(arriving, 180),
    setup: steady,
    outage: long,
    service: { slots: Math.round((capacity * answerMillis) / 1000) },
    goals: [all]
  })),
  ...[30, 120].map((deadline) => ({
    id: `60 s, 503, deadline ${deadline} s`,
    workload: open(arriving, 120),
    setup: { ...steady, deadlineMillis: seconds(deadline) },
    outage: long,
    goals: [deadline === 30 ? ({ metric: "possible done", is: ">=", value: 90 } as const) : all]
  })),
  {
    id: "brown-out 20 %",
    workload: open(10, 120),
    setup: steady,
    faults: [{ kind: "failing", p: 0.2, statuses: [500, 503], after: 100, from: 0, to: minutes(60) }],
    goals: [all, atMost("calls per answer", 1.25)]
  },
  ...[true, false].map((hints) => ({
    id: `10 a second, ${hints ? "told as 10" : "not told"}`,
    workload: { kind: "closed", workers: 200, jobs: 200 } as const,
    setup: steady,
    service: { limits: limitOf(10, { hints, ownWindow: hints }) },
    goals: [all, atMost("makespan", (hints ? 1.15 : 1.3) * 19.3), atMost("calls per answer", hints ? 1.05 : 1.25)]
  })),
  batch("60 s, 503", "503", 60),
  batch("5 s, refused", "refused", 5),
  batch("60 s, black hole", "black hole", 60)
]

export const jobs: Group = {
  name: "jobs",
  title: "Jobs that have time",
  about: [
    "One target; answers take 0.3 s in the median, an attempt may take 10 s (30 s in the batch), a job lives 10 minutes unless a",
    "deadline is named (30 minutes in the batch). Jobs come at 10 a second for 60 s where the outage has 10 s, else at 5 a second;",
    "the long outage takes 50 to 70 s, by seed. The batch has 1,000 rows, 64 at a time. *told as 10*: headers tell a limit of 10",
    "requests, and mean a second.",
    "",
    "*done*: jobs with an answer. *possible done*: of those that were over before the outage, or had a second left after it. *calls",
    "in the outage*: requests that arrived in it. *beyond one timeout*: those above the jobs of the outage's first 10 s. *queue empty*: from the end of the outage until all who came before are over."
  ].join("\n"),
  scenarios: variants.map(
    (variant): Scenario => ({
      id: `jobs/${variant.id}`,
      metrics,
      goals: variant.goals,
      takesPart: jobsToo,
      peerSeeds: 1,
      run: run(variant)
    })
  )
}
