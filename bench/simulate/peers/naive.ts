/** What is written first: no retry at all, and the two loops that come after the first failure in production. */
import type { Job, Policy, Setup } from "../contract.js"
import { attempt, beforeDeadline, retriesOf, sleep, takingTurns } from "./bare.js"

const loop =
  (retries: number, pauseMillis: number) =>
  (setup: Setup): { readonly call: (job: Job) => Promise<void> } => {
    const [target] = setup.targets
    const nextKey = takingTurns(target.keys)
    const times = retries === 0 ? 0 : retriesOf(setup, retries)
    return {
      call: (job) =>
        beforeDeadline(setup, async (signal) => {
          for (let retry = 0; ; retry++) {
            try {
              await attempt(setup, target, nextKey(), job, signal)
              return
            } catch (error) {
              if (retry >= times || signal.aborted) throw error
              if (pauseMillis > 0) await sleep(pauseMillis, signal)
            }
          }
        })
    }
  }

export const once: Policy = {
  name: "no retry",
  kind: "naive",
  about: "one fetch with a timeout",
  make: loop(0, 0)
}

export const everySecond: Policy = {
  name: "retry every second",
  kind: "naive",
  about: "3 retries (10 for batch work) of whatever failed, 1 s apart",
  make: loop(3, 1000)
}
