/** Five keys, one of which is dead for an hour. */
import * as Metrics from "../metrics.js"
import { type Fault, isDelivered } from "../provider.js"
import { type Group, type Scenario, simulate } from "../scenario.js"
import { answering, everybody, keyOf, minutes, seconds, target } from "./support.js"

const keys = [0, 1, 2, 3, 4].map((index) => keyOf("a", index))
const rate = 5
const life = seconds(60)
const dead = { from: minutes(1), to: minutes(61) }
/** Until a healed key is used again, at most. */
const patience = minutes(61)

type Kind = "bad key" | "no credit" | "black hole"

const run =
  (kind: Kind): Scenario["run"] =>
  async (world) => {
    // Which one is chance: some clients favour the first.
    const index = world.seed % keys.length
    const fault: Fault = { kind, keys: [keyOf("a", index)], ...dead }
    let usedAgain = Number.POSITIVE_INFINITY
    let next = 0
    const run = await simulate(world, {
      targets: [target("a", { keys, service: answering(1000), faults: [fault] })],
      setup: { attemptTimeoutMillis: seconds(10), deadlineMillis: life },
      workload: { kind: "open", rate, millis: dead.to + patience },
      horizonMillis: dead.to + patience,
      enough: ({ log }, now) => {
        if (now < dead.to + minutes(1)) return false
        for (; next < log.length && usedAgain === Number.POSITIVE_INFINITY; next++) {
          const arrival = log[next]
          if (arrival !== undefined && arrival.at >= dead.to && arrival.key === index && arrival.admitted) {
            usedAgain = arrival.at - dead.to
          }
        }
        return usedAgain < Number.POSITIVE_INFINITY
      }
    })
    if (run === undefined) return undefined
    const jobs = Metrics.submittedIn(run.jobs, dead)
    const touched = new Set(
      Metrics.arrivedIn(run.log, dead)
        .filter((arrival) => arrival.key === index && !isDelivered(arrival))
        .map(({ job }) => job)
    )
    return {
      metrics: {
        done: Metrics.donePercent(jobs),
        "done in time": Metrics.inTimePercent(jobs, life),
        touched: Metrics.percent(touched.size, jobs.length),
        "used again": usedAgain / 1000,
        "p99 wait": Metrics.quantile(Metrics.waits(jobs), 0.99) / 1000
      }
    }
  }

const scenario = (kind: Kind): Scenario => ({
  id: `dead key/${kind}`,
  metrics: [
    { name: "done", unit: "%", digits: 2 },
    { name: "done in time", unit: "%", digits: 2 },
    { name: "touched", unit: "%", digits: 3 },
    { name: "used again", unit: "s" },
    { name: "p99 wait", unit: "s", digits: 1 }
  ],
  goals: [
    { metric: "touched", is: "<=", value: kind === "black hole" ? 0.2 : 0.05 },
    // One probe interval: an hour for a dead key, five minutes for one that does not answer.
    { metric: "used again", is: "<=", value: kind === "black hole" ? 300 : 3600 },
    { metric: "done", is: ">=", value: 99.9 }
  ],
  // The adaptive one wakes all its waiters for every token: a minute of processor a seed, and 22 % success.
  takesPart: (policy) => everybody(policy) && policy.name !== "like AWS SDK, adaptive",
  peerSeeds: 1,
  run: run(kind)
})

export const deadKey: Group = {
  name: "dead key",
  title: "One dead key of five",
  about: [
    `An open loop of ${rate} jobs a second over five keys. One of them, another with each seed, is dead from minute 1 to 61: 401, 429`,
    "`insufficient_quota`, or never an answer. Answers take 1 s on average; an attempt may take 10 s, a call 60 s.",
    "",
    "*touched*: jobs of that hour of which a request reached the dead key in vain. *used again*: from its healing until the key is used.",
    "*done*, *done in time*, *p99 wait*: of the jobs of the hour."
  ].join("\n"),
  scenarios: (["bad key", "no credit", "black hole"] as const).map(scenario)
}
