/** A provider of whose answers one in five is an error. */
import * as Metrics from "../metrics.js"
import type { Fault } from "../provider.js"
import { type Group, type Scenario, simulate } from "../scenario.js"
import { answering, everybody, minutes, seconds, target, withFallback } from "./support.js"

const rate = 5
const life = seconds(60)
const lasting = seconds(200)

const failing: Fault = {
  kind: "failing",
  p: 0.2,
  statuses: [500, 502, 503],
  after: 300,
  from: 0,
  to: Number.POSITIVE_INFINITY
}

const run =
  (fallback: boolean): Scenario["run"] =>
  async (world) => {
    const service = answering(1500)
    const struck = target("a", { service, faults: [failing] })
    const run = await simulate(world, {
      targets: fallback ? [struck, target("b", { service })] : [struck],
      setup: { attemptTimeoutMillis: seconds(30), deadlineMillis: life },
      workload: { kind: "open", rate, millis: lasting },
      horizonMillis: lasting + minutes(2)
    })
    if (run === undefined) return undefined
    return {
      metrics: {
        done: Metrics.donePercent(run.jobs),
        "done in time": Metrics.inTimePercent(run.jobs, life),
        "attempts per call": run.log.length / run.jobs.length,
        "median wait": Metrics.median(Metrics.waits(run.jobs)) / 1000,
        "p95 wait": Metrics.quantile(Metrics.waits(run.jobs), 0.95) / 1000
      }
    }
  }

const scenario = (fallback: boolean): Scenario => ({
  id: `errors/${fallback ? "second target" : "one target"}`,
  metrics: [
    { name: "done", unit: "%", digits: 2 },
    { name: "done in time", unit: "%", digits: 2 },
    { name: "attempts per call", unit: "", digits: 3 },
    { name: "median wait", unit: "s", digits: 1 },
    { name: "p95 wait", unit: "s", digits: 1 }
  ],
  goals: [
    { metric: "done", is: ">=", value: fallback ? 99.9 : 99 },
    // A fifth of the attempts fail, so 1.25 are what an answer takes.
    { metric: "attempts per call", is: "<=", value: 1.26 }
  ],
  takesPart: fallback ? withFallback : everybody,
  peerSeeds: 3,
  run: run(fallback)
})

export const errors: Group = {
  name: "errors",
  title: "One answer in five is an error",
  about: [
    `An open loop of ${rate} jobs a second for 200 s. A fifth of the requests to the first target are answered with 500, 502 or 503 after`,
    "0.3 s, the others after 1.5 s on average. An attempt may take 30 s, a call 60 s.",
    "",
    "*done*: jobs with an answer, *in time*: within 60 s. *attempts per call*: requests that arrived at any target, over jobs."
  ].join("\n"),
  scenarios: [scenario(false), scenario(true)]
}
