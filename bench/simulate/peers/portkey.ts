/**
 * In the manner of Portkey's gateway: every key of a target is a target of a load balancer with equal weights, the
 * load balancers are the targets of a fallback, and each leaf retries for itself.
 */
import type { Job, Policy, Setup, Target } from "../contract.js"
import { beforeDeadline, isNetworkError, Refused, read, send, sleep, TimedOut, within } from "./bare.js"

/** As in the examples of its documentation; 5 are the most that can be set. */
const retriesOf = (setup: Setup): number => (setup.patient === true ? 5 : 3)
const retriedStatuses = [429, 500, 502, 503, 504]
/** `MAX_RETRY_LIMIT_MS`: all the waiting that the headers of a provider can bring about in one request. */
const patienceMillis = 60_000
/** async-retry as the gateway calls it: from 1 s, doubling, no jitter. */
const backoffMillis = (retry: number): number => 1000 * 2 ** retry

/** The circuit breaker as in the example of its documentation, which says 401, 429 and 500, and for the other 5xx too. */
const breaker = { failureShare: 0.2, from: 10, cooldownMillis: 60_000, statuses: [401, ...retriedStatuses] }

/** The first of these that is there decides; `retry-after` is in seconds. */
const hintHeaders = ["retry-after-ms", "x-ms-retry-after-ms", "retry-after"]

const hintMillisOf = (error: Refused): number | undefined => {
  const name = hintHeaders.find((header) => error.headers.get(header))
  const value = Number.parseInt(name === undefined ? "" : (error.headers.get(name) ?? ""), 10)
  const millis = name === "retry-after" ? value * 1000 : value
  return millis > 0 ? millis : undefined
}

/** What a status was good for is broken afterwards: the gateway gives up, without a fallback. */
class GatewayFailure extends Error {
  override readonly name = "GatewayFailure"
}

interface Leaf {
  readonly target: Target
  readonly key: string
  readonly isOpen: () => boolean
  readonly record: (status: number) => void
}

/** How long counts are kept is not documented; here it is since the circuit last closed. */
const makeLeaf = (target: Target, key: string): Leaf => {
  let failures = 0
  let total = 0
  let openUntil = 0
  return {
    target,
    key,
    isOpen: () => Date.now() < openUntil,
    record: (status) => {
      total += 1
      if (breaker.statuses.includes(status)) failures += 1
      if (total < breaker.from || failures / total <= breaker.failureShare) return
      openUntil = Date.now() + breaker.cooldownMillis
      failures = 0
      total = 0
    }
  }
}

/** The leaves that take requests; the breaker is bypassed where none does. */
const available = <A>(items: ReadonlyArray<A>, isOpen: (item: A) => boolean): ReadonlyArray<A> => {
  const closed = items.filter((item) => !isOpen(item))
  return closed.length > 0 ? closed : items
}

const make = (setup: Setup) => {
  const retries = retriesOf(setup)
  const balancers: ReadonlyArray<ReadonlyArray<Leaf>> = setup.targets.map((target) =>
    target.keys.map((key) => makeLeaf(target, key))
  )

  const runOnce = (leaf: Leaf, job: Job, outer: AbortSignal): Promise<string> =>
    within(setup.attemptTimeoutMillis, outer, async (signal) => {
      const response = await send(setup, leaf.target, leaf.key, job, signal)
      try {
        return await read(response)
      } catch (error) {
        if (error instanceof Refused || signal.aborted) throw error
        throw new GatewayFailure("the answer cannot be read", { cause: error })
      }
    })

  const withRetries = async (leaf: Leaf, job: Job, signal: AbortSignal): Promise<void> => {
    let patience = patienceMillis
    let hasHint = false
    for (let retry = 0; ; retry++) {
      try {
        await runOnce(leaf, job, signal)
        return
      } catch (error) {
        // A timeout becomes a 408, which is none of the statuses that are retried.
        const canRetry = error instanceof Refused ? retriedStatuses.includes(error.status) : isNetworkError(error)
        if (signal.aborted || !canRetry || retry >= retries) throw error
        const hint = error instanceof Refused && error.status === 429 ? hintMillisOf(error) : undefined
        if (hint === undefined) {
          // Once a header was followed, what is left of the backoff is 0.
          if (!hasHint) await sleep(backoffMillis(retry), signal)
        } else {
          if (hint >= patienceMillis || hint > patience) throw error
          patience -= hint
          hasHint = true
          await sleep(hint, signal)
        }
      }
    }
  }

  const withRecord = async (leaf: Leaf, job: Job, signal: AbortSignal): Promise<void> => {
    try {
      await withRetries(leaf, job, signal)
      leaf.record(200)
    } catch (error) {
      if (!signal.aborted) leaf.record(error instanceof Refused ? error.status : error instanceof TimedOut ? 408 : 500)
      throw error
    }
  }

  const balanced = (leaves: ReadonlyArray<Leaf>, job: Job, signal: AbortSignal): Promise<void> => {
    const closed = available(leaves, (leaf) => leaf.isOpen())
    const leaf = closed[Math.floor(setup.random() * closed.length)]
    if (leaf === undefined) throw new RangeError("keys: found none, expected at least one")
    return withRecord(leaf, job, signal)
  }

  const withFallbacks = async (job: Job, signal: AbortSignal): Promise<void> => {
    let last: unknown
    for (const leaves of available(balancers, (leaves) => leaves.every((leaf) => leaf.isOpen()))) {
      try {
        return await balanced(leaves, job, signal)
      } catch (error) {
        if (signal.aborted || error instanceof GatewayFailure) throw error
        last = error
      }
    }
    throw last
  }

  return { call: (job: Job) => beforeDeadline(setup, (signal) => withFallbacks(job, signal)) }
}

export const portkey: Policy = {
  name: "like Portkey",
  kind: "manner",
  about:
    "3 retries (5, the most, for batch work) of 429, 500, 502, 503, 504 and network errors after 1 s, doubling, no jitter, use_retry_after_header within 60 s in all; keys balanced by equal weights, then the next target; circuit breaker: over 20 % of at least 10 requests with 401 or one of these, 60 s (Portkey-AI/gateway 1.15: src/handlers/retryHandler.ts, handlerUtils.ts; portkey.ai/docs/product/ai-gateway: automatic-retries, fallbacks, circuit-breaker)",
  make
}
