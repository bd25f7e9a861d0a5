/**
 * A process that runs what it is told to, in virtual time. Time is installed before any package is imported, because
 * some keep what they find at their import.
 */
import { setMaxListeners } from "node:events"
import { seeded } from "./chance.js"
import { install } from "./globals.js"
import type { Answer, Task } from "./pool.js"
import type { Outcome } from "./scenario.js"
import { make } from "./time.js"

const clock = make()
let random = Math.random
install(clock, () => random())
// Node warns where many attempts listen to the one signal of their call.
setMaxListeners(0)

const { ours } = await import("./ours.js")
const { peers } = await import("./peers/index.js")
const { groups } = await import("./scenarios/index.js")

const policies = [...ours, ...peers]
const scenarios = groups.flatMap((group) => group.scenarios)

/** What no one awaited has failed: a client that does that is broken, and its numbers would be too. */
let stray: unknown
process.on("unhandledRejection", (error) => {
  stray ??= error
})
process.on("uncaughtException", (error) => {
  stray ??= error
})

const outcomeOf = async (task: Task): Promise<Outcome | undefined> => {
  const scenario = scenarios.find(({ id }) => id === task.scenario)
  const policy = policies.find(({ name }) => name === task.policy)
  if (scenario === undefined || policy === undefined) throw new Error(`unknown: ${task.scenario}, ${task.policy}`)
  random = seeded("Math.random", task.scenario, task.policy, task.seed)
  stray = undefined
  const outcome = await scenario.run({ clock, policy, seed: task.seed })
  if (stray !== undefined) throw stray
  return outcome
}

const answer = async (task: Task): Promise<Answer> => {
  const before = process.cpuUsage()
  const result = await outcomeOf(task).then(
    (outcome) => ({ outcome }),
    (error: unknown) => ({ error: error instanceof Error ? (error.stack ?? error.message) : String(error) })
  )
  const { system, user } = process.cpuUsage(before)
  return { task, ...result, events: clock.count(), cpuMillis: (system + user) / 1000 }
}

process.on("message", async (task: Task) => {
  process.send?.(await answer(task))
})
process.on("disconnect", () => process.exit())
process.send?.("ready")
