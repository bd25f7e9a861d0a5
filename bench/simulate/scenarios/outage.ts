/** A provider that is away for a minute, in the middle of steady traffic. */
import * as Metrics from "../metrics.js"
import type { Fault, TargetOptions } from "../provider.js"
import { type Goal, type Group, type Metric, type Plan, type Scenario, simulate } from "../scenario.js"
import { waitOf } from "../workload.js"
import { answering, everybody, minutes, seconds, target, withFallback } from "./support.js"

/** Capacity is slots over service time: 8 requests a second. */
const slots = 16
const serviceMillis = 2000
const capacity = (1000 * slots) / serviceMillis

export const outage = { from: seconds(60), to: seconds(120) }
/** The traffic of a policy is judged once it had the time to notice. */
const noticed = { from: outage.from + seconds(15), to: outage.to }
const normal = { from: seconds(20), to: outage.from }
/** The jobs of the outage and of what follows at once. */
const struck = { from: outage.from, to: outage.to + seconds(30) }
/** Long enough for the plots, whoever recovers sooner. */
const watched = outage.to + seconds(60)
const patience = minutes(25)
const life = seconds(60)

const metrics: ReadonlyArray<Metric> = [
  { name: "done", unit: "%", digits: 1 },
  { name: "done in time", unit: "%", digits: 1 },
  { name: "traffic", unit: "%" },
  { name: "recovery", unit: "s" },
  { name: "never", unit: "%" },
  { name: "p95 wait", unit: "s", digits: 1 }
]

const kinds = {
  "fast 503": { kind: "failing", p: 1, statuses: [503], after: 30, ...outage },
  refused: { kind: "refused", ...outage },
  "black hole": { kind: "black hole", ...outage },
  "deaf black hole": { kind: "black hole", ...outage }
} satisfies Record<string, Fault>

interface Variant {
  readonly kind: keyof typeof kinds
  readonly load: number
  readonly fallback: boolean
}

const targets = ({ fallback, kind }: Variant): Plan["targets"] => {
  const healthy = (name: string): TargetOptions => target(name, { service: answering(serviceMillis), slots })
  const struck: TargetOptions = { ...healthy("a"), faults: [kinds[kind]], noticesHangUp: kind !== "deaf black hole" }
  return fallback ? [struck, healthy("b")] : [struck]
}

const run =
  (variant: Variant): Scenario["run"] =>
  async (world) => {
    let recover: ReturnType<typeof Metrics.recovery> | undefined
    let recovered: number | undefined
    const run = await simulate(world, {
      targets: targets(variant),
      setup: { attemptTimeoutMillis: seconds(10), deadlineMillis: life },
      workload: { kind: "open", rate: variant.load * capacity, millis: outage.to + patience },
      horizonMillis: outage.to + patience + minutes(1),
      enough: ({ jobs }, now) => {
        if (now < watched) return false
        recover ??= Metrics.recovery(outage.to, Metrics.quantile(Metrics.submittedIn(jobs, normal).map(waitOf), 0.95))
        recovered = recover(jobs, now)
        return recovered !== undefined && Metrics.submittedIn(jobs, struck).every(({ endedAt }) => endedAt <= now)
      }
    })
    if (run === undefined) return undefined
    const log = run.log.filter((arrival) => arrival.target === 0)
    const jobs = Metrics.submittedIn(run.jobs, struck)
    return {
      metrics: {
        done: Metrics.donePercent(jobs),
        "done in time": Metrics.inTimePercent(jobs, life),
        traffic: Metrics.percent(Metrics.rate(log, noticed), Metrics.rate(log, normal)),
        recovery: recovered === undefined ? Number.POSITIVE_INFINITY : recovered / 1000,
        never: recovered === undefined ? 100 : 0,
        "p95 wait": Metrics.quantile(Metrics.waits(jobs), 0.95) / 1000
      },
      series: { traffic: Metrics.perSecond(log, watched / 1000) }
    }
  }

/**
 * The longest recovery, in seconds. With a second target: the next probe. With one target calls wait, and the queue of
 * the outage must first be worked off by the capacity that is left.
 */
const longestRecovery = ({ fallback, load }: Variant): number =>
  fallback ? 15 : Math.round(15 + 5 + (1.2 * load * (outage.to - outage.from)) / 1000 / (1 - load))

const goals = (variant: Variant): ReadonlyArray<Goal> => [
  { metric: "traffic", is: "<=", value: 20 },
  { metric: "recovery", is: "<=", value: longestRecovery(variant) },
  { metric: "never", is: "<=", value: 0, each: true },
  ...(variant.fallback ? [{ metric: "done", is: ">=", value: 99.5 } as const] : [])
]

const scenario = (variant: Variant): Scenario => ({
  id: `outage/${variant.kind} · load ${variant.load}${variant.fallback ? " · second target" : ""}`,
  metrics,
  goals: goals(variant),
  takesPart: variant.fallback ? withFallback : everybody,
  peerSeeds: variant.load === usualLoad ? 2 : 1,
  run: run(variant)
})

const names = Object.keys(kinds) as ReadonlyArray<Variant["kind"]>

const usualLoad = 0.8
export const loads = [0.5, 0.6, 0.7, usualLoad, 0.9]

export const outages: Group = {
  name: "outage",
  title: "A minute without the provider",
  about: [
    `An open loop (Poisson) against ${slots} slots of ${serviceMillis / 1000} s on average, capacity ${capacity} a second, at the load given. From second 60 to`,
    "120 the provider answers 503 at once, refuses connections, or takes requests and starts none (a black hole; *deaf*: it does",
    "not notice that clients hang up, so what they left behind is still worked on). An attempt may take 10 s, a call 60 s. The",
    "run goes on until the policy has recovered, at most 12 minutes.",
    "",
    "*traffic*: requests that arrived from 15 s into the outage until its end, per second, against those in the 40 s before it.",
    "*recovery*: from the end of the outage to the first second from which the jobs of 10 s succeed to 95 %, each within twice the 95th",
    "percentile that is normal. *never*: runs in which that did not happen within 12 minutes. *done*, *done in time* and *p95 wait*:",
    "of the jobs submitted from the start of the outage until 30 s after its end; the wait is that of jobs with an answer."
  ].join("\n"),
  scenarios: [
    ...names.map((kind) => scenario({ kind, load: usualLoad, fallback: false })),
    ...names.map((kind) => scenario({ kind, load: usualLoad, fallback: true })),
    ...loads
      .filter((load) => load !== usualLoad)
      .map((load) => scenario({ kind: "deaf black hole", load, fallback: false }))
  ]
}
