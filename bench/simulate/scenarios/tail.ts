/** Streams of which some begin late, and minutes in which all do. */
import { between, lognormal, type Random } from "../chance.js"
import * as Metrics from "../metrics.js"
import type { Window } from "../provider.js"
import { type Goal, type Group, type Run, type Scenario, simulate } from "../scenario.js"
import { everybodyAnd, minutes, seconds, target } from "./support.js"

const rate = 5
const lasting = seconds(400)
const life = minutes(3)
const slowMinutes: Window = { from: seconds(120), to: seconds(300) }

/** The first token after 0.5 s (median), of 3 % of the streams after 10 to 20 times that; the rest takes 1.5 s. */
const streaming =
  (slow: Window | undefined) =>
  (random: Random, now: number): { readonly firstToken: number; readonly total: number } => {
    const isLate = random() < 0.03
    const late = between(random, 10, 20)
    const usual = lognormal(random, 500, 0.3)
    const factor = Math.max(isLate ? late : 1, slow !== undefined && Metrics.within(slow, now) ? 10 : 1)
    const firstToken = usual * factor
    return { firstToken, total: firstToken + lognormal(random, 1500, 0.3) }
  }

/** Requests above one for each of the jobs submitted then. */
const extra = ({ jobs, log }: Run, window: Window): number => {
  const then = new Set(Metrics.submittedIn(jobs, window).map(({ id }) => id))
  return Metrics.percent(log.filter(({ job }) => then.has(job)).length - then.size, then.size)
}

const run =
  (slow: Window | undefined): Scenario["run"] =>
  async (world) => {
    const service = streaming(slow)
    const run = await simulate(world, {
      targets: [target("a", { service }), target("b", { service })],
      setup: { attemptTimeoutMillis: minutes(2), deadlineMillis: life },
      workload: { kind: "open", rate, millis: lasting },
      jobs: { streaming: true },
      horizonMillis: lasting + minutes(5)
    })
    if (run === undefined) return undefined
    const first = Metrics.firstTokens(run.jobs, run.log).map((millis) => millis / 1000)
    return {
      metrics: {
        done: Metrics.donePercent(run.jobs),
        "done in time": Metrics.inTimePercent(run.jobs, life),
        p50: Metrics.median(first),
        p95: Metrics.quantile(first, 0.95),
        p99: Metrics.quantile(first, 0.99),
        "extra calls": Metrics.percent(run.log.length - run.jobs.length, run.jobs.length),
        ...(slow === undefined ? {} : { "extra while slow": extra(run, slow) })
      },
      series: { firstTokens: Array.from({ length: 101 }, (_, index) => Metrics.quantile(first, index / 100)) }
    }
  }

const scenario = (slow: Window | undefined, goals: ReadonlyArray<Goal>): Scenario => ({
  id: `tail/${slow === undefined ? "3 % late" : "3 % late · three slow minutes"}`,
  metrics: [
    { name: "done", unit: "%", digits: 1 },
    { name: "done in time", unit: "%", digits: 1 },
    { name: "p50", unit: "s", digits: 2 },
    { name: "p95", unit: "s", digits: 2 },
    { name: "p99", unit: "s", digits: 2 },
    { name: "extra calls", unit: "%", digits: 1 },
    ...(slow === undefined ? [] : [{ name: "extra while slow", unit: "%", digits: 1 }])
  ],
  goals: [{ metric: "done", is: ">=", value: 100 }, { metric: "extra calls", is: "<=", value: 5 }, ...goals],
  takesPart: everybodyAnd("tail"),
  peerSeeds: 1,
  run: run(slow)
})

export const tail: Group = {
  name: "tail",
  title: "Late first tokens",
  about: [
    `Streams, an open loop of ${rate} a second for 400 s, two targets. The first token comes after 0.5 s (median; lognormal, sigma 0.3), for`,
    "3 % of the requests after 10 to 20 times that. In the second table both targets are ten times as slow from second 120 to 300,",
    "when another request helps nobody. Policies without streams do not take part.",
    "",
    "*p50, p95, p99*: from submission to the first token of the stream that was delivered to its end. *extra calls*: requests above one",
    "for each job."
  ].join("\n"),
  scenarios: [
    // Unhedged the 99th percentile is 8.3 s: two thirds into the late ones. A quarter of it is 2.1 s.
    scenario(undefined, [{ metric: "p99", is: "<=", value: 2.08 }]),
    scenario(slowMinutes, [{ metric: "extra while slow", is: "<=", value: 1 }])
  ]
}
