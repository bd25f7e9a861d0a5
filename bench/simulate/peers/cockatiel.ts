/** cockatiel as its readme combines it: a retry through a circuit breaker, and a timeout inside. */
import {
  ConsecutiveBreaker,
  circuitBreaker,
  ExponentialBackoff,
  handleAll,
  retry,
  TimeoutStrategy,
  timeout,
  wrap
} from "cockatiel"
import type { Policy } from "../contract.js"
import { beforeDeadline, read, retriesOf, send, takingTurns } from "./bare.js"

export const cockatiel: Policy = {
  name: "cockatiel",
  kind: "package",
  about:
    "cockatiel 3, the wrap of its readme: retry(handleAll, 3 attempts (10 for batch work), ExponentialBackoff), circuitBreaker(handleAll, halfOpenAfter 10 s, ConsecutiveBreaker(5)), an aggressive timeout; a breaker for each key, attempts take turns",
  make: (setup) => {
    const [target] = setup.targets
    const nextLane = takingTurns(
      target.keys.map((key) => ({
        key,
        policy: wrap(
          circuitBreaker(handleAll, { halfOpenAfter: 10_000, breaker: new ConsecutiveBreaker(5) }),
          timeout(setup.attemptTimeoutMillis, TimeoutStrategy.Aggressive)
        )
      }))
    )
    const retrying = retry(handleAll, { maxAttempts: retriesOf(setup, 3), backoff: new ExponentialBackoff() })
    return {
      call: (job) =>
        beforeDeadline(setup, async (outer) => {
          await retrying.execute(() => {
            const { key, policy } = nextLane()
            return policy.execute(async ({ signal }) => read(await send(setup, target, key, job, signal)), outer)
          }, outer)
        })
    }
  }
}
