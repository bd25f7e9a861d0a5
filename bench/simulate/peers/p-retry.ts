/** p-retry around the bare call, with the classification that its readme leaves to the user. */
import pRetry, { AbortError } from "p-retry"
import type { Policy } from "../contract.js"
import { attempt, beforeDeadline, Refused, takingTurns } from "./bare.js"

/** What a further attempt cannot mend: 4xx, but for timeouts, conflicts and rate limits. */
const isFinal = (error: unknown): error is Refused =>
  error instanceof Refused && error.status < 500 && ![408, 409, 429].includes(error.status)

export const pRetryPolicy: Policy = {
  name: "p-retry",
  kind: "package",
  about:
    "p-retry 7: 10 retries, 1 s doubling, no jitter (its defaults); AbortError on 4xx except 408, 409, 429; a timeout for each attempt, keys take turns",
  make: (setup) => {
    const [target] = setup.targets
    const nextKey = takingTurns(target.keys)
    return {
      call: (job) =>
        beforeDeadline(setup, async (signal) => {
          const run = async () => {
            try {
              return await attempt(setup, target, nextKey(), job, signal)
            } catch (error) {
              throw isFinal(error) ? new AbortError(error) : error
            }
          }
          await pRetry(run, { signal })
        })
    }
  }
}
