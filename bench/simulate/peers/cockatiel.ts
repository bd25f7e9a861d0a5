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
import type { Client, Policy, Setup } from "../contract.js"
import { beforeDeadline, read, retriesOf, send, takingTurns, withTenRetries } from "./bare.js"

const make =
  (retries: (setup: Setup) => number) =>
  (setup: Setup): Client => {
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
    const retrying = retry(handleAll, { maxAttempts: retries(setup), backoff: new ExponentialBackoff() })
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

export const cockatiel: Policy = {
  name: "cockatiel",
  kind: "package",
  about:
    "cockatiel 3, the wrap of its readme: retry(handleAll, 3 attempts (10 for batch work), ExponentialBackoff), circuitBreaker(handleAll, halfOpenAfter 10 s, ConsecutiveBreaker(5)), an aggressive timeout; a breaker for each key, attempts take turns",
  make: make((setup) => retriesOf(setup, 3))
}

export const cockatielTen = withTenRetries(cockatiel, make)
