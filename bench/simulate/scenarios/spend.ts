/** Steps of an agent that may spend only so much. */
import type { SpendLimit } from "../contract.js"
import * as Metrics from "../metrics.js"
import type { Arrival, Fault } from "../provider.js"
import { connect, type Goal, type Group, type Scenario } from "../scenario.js"
import { settled } from "../time.js"
import { makeJob } from "../workload.js"
import { answering, onlyOurs, seconds, target } from "./support.js"

const steps = 100
const callsPerStep = 10

const failing: Fault = {
  kind: "failing",
  p: 0.01,
  statuses: [500, 502, 503],
  after: 300,
  from: 0,
  to: Number.POSITIVE_INFINITY
}

const spentOf = (arrivals: ReadonlyArray<Arrival>, limit: SpendLimit): number =>
  Math.max(
    limit.attempts === undefined ? 0 : arrivals.length / limit.attempts,
    limit.tokens === undefined ? 0 : arrivals.reduce((sum, { tokens }) => sum + tokens, 0) / limit.tokens
  )

const run =
  (limit: SpendLimit): Scenario["run"] =>
  async (world) => {
    const { client, provider } = await connect(world, {
      targets: [target("a", { service: answering(1000), faults: [failing], noticesHangUp: false })],
      setup: { attemptTimeoutMillis: seconds(10) }
    })
    const { step } = client
    if (step === undefined) return undefined
    let answered = 0
    let refused = 0
    for (let index = 0; index < steps; index++) {
      const jobs = Array.from({ length: callsPerStep }, (_, call) =>
        makeJob(index * callsPerStep + call, { seed: world.seed })
      )
      const result = await settled(world.clock, step(jobs, limit))
      answered += result.answered
      refused += result.refused
    }
    await settled(world.clock, client.close?.())
    const spent = Array.from({ length: steps }, (_, index) =>
      spentOf(
        provider.log.filter(({ job }) => Math.floor(job / callsPerStep) === index),
        limit
      )
    )
    return {
      metrics: {
        answered: Metrics.percent(answered, steps * callsPerStep),
        refused: Metrics.percent(refused, steps * callsPerStep),
        "mean spent": 100 * Metrics.mean(spent),
        "most spent": 100 * Math.max(...spent)
      }
    }
  }

const scenario = (name: string, limit: SpendLimit, goals: ReadonlyArray<Goal>): Scenario => ({
  id: `spend/${name}`,
  metrics: [
    { name: "answered", unit: "%", digits: 1 },
    { name: "refused", unit: "%", digits: 1 },
    { name: "mean spent", unit: "% of the limit" },
    { name: "most spent", unit: "% of the limit" }
  ],
  goals: [{ metric: "most spent", is: "<=", value: 100, each: true }, ...goals],
  takesPart: onlyOurs,
  peerSeeds: 0,
  run: run(limit)
})

export const spend: Group = {
  name: "spend",
  title: "An agent's step under a spend limit",
  about: [
    `${steps} steps of ${callsPerStep} calls, one after the other; 1 % of the requests fail. A call takes 95 to 155 tokens by its usage, of which 55 on average`,
    "are the prompt's. Only ours has such a limit.",
    "",
    "*answered*, *refused*: of the calls. *spent*: what the provider counted for a step, against the limit: on average, and the most of",
    "all steps."
  ].join("\n"),
  scenarios: [
    scenario("ample", { tokens: 3000, attempts: 30 }, [
      { metric: "answered", is: ">=", value: 100 },
      { metric: "refused", is: "<=", value: 0, each: true }
    ]),
    scenario("800 tokens", { tokens: 800 }, [{ metric: "answered", is: ">=", value: 45 }]),
    scenario("8 attempts", { attempts: 8 }, [{ metric: "answered", is: ">=", value: 75 }])
  ]
}
