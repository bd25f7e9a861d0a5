/**
 * In the manner of the AWS SDK for JavaScript v3: standard mode (a retry quota that all calls of a client share) and
 * adaptive mode (standard, behind a rate limiter that learns the sending rate as TCP CUBIC does). With
 * the delays and costs that AWS revised in 2026.
 */
import type { Job, Policy, Setup } from "../contract.js"
import { attempt, beforeDeadline, isNetworkError, Refused, retriesOf, sleep, TimedOut, takingTurns } from "./bare.js"

type ErrorType = "throttling" | "transient"

/** The longest backoff, `MAXIMUM_RETRY_DELAY`. */
const longestMillis = 20_000
/** What the quota of retries holds, `INITIAL_RETRY_TOKENS`. */
const quota = 500

const edition = {
  baseMillis: { throttling: 1000, transient: 50 },
  cost: { throttling: 5, transient: 14 },
  /** The wait, from the backoff of its own and what `retry-after` asks for. */
  heed: (backoff: number, asked: number): number => Math.max(backoff, Math.min(asked, backoff + 5000))
}

const transientStatuses = [500, 502, 503, 504]

/** Statuses such as 529, and bodies that cannot be read, are not retried. */
const errorTypeOf = (error: unknown): ErrorType | undefined => {
  if (error instanceof TimedOut || isNetworkError(error)) return "transient"
  if (!(error instanceof Refused)) return undefined
  if (error.status === 429) return "throttling"
  return transientStatuses.includes(error.status) ? "transient" : undefined
}

const askedMillisOf = (error: unknown): number => {
  const value = error instanceof Refused ? error.headers.get("retry-after") : null
  if (value === null) return 0
  const seconds = Number(value)
  const millis = Number.isNaN(seconds) ? Date.parse(value) - Date.now() : seconds * 1000
  return Number.isNaN(millis) ? 0 : Math.max(0, millis)
}

/** The client side limiter of adaptive mode: without effect until the first throttling error. */
const makeLimiter = () => {
  const beta = 0.7
  const smooth = 0.8
  const scale = 0.4
  const slowest = 0.5
  const smallest = 1
  const seconds = () => Date.now() / 1000

  let enabled = false
  let tokens = 0
  let fillRate = slowest
  let capacity = smallest
  let filledAt = 0
  let lastMaxRate = 0
  let throttledAt = seconds()
  let measuredRate = 0
  let counted = 0
  let countedSince = Math.floor(seconds())

  const refill = () => {
    const now = seconds()
    if (filledAt > 0) tokens = Math.min(capacity, tokens + (now - filledAt) * fillRate)
    filledAt = now
  }

  const measure = () => {
    counted += 1
    const halfSecond = Math.floor(seconds() * 2) / 2
    if (halfSecond <= countedSince) return
    measuredRate = (counted / (halfSecond - countedSince)) * smooth + measuredRate * (1 - smooth)
    counted = 0
    countedSince = halfSecond
  }

  /** Where the cubic passes its last maximum, in seconds after the last throttling error. */
  const plateau = () => ((lastMaxRate * (1 - beta)) / scale) ** (1 / 3)

  return {
    observe: (throttled: boolean): void => {
      measure()
      let rate: number
      if (throttled) {
        lastMaxRate = enabled ? Math.min(measuredRate, fillRate) : measuredRate
        throttledAt = seconds()
        rate = lastMaxRate * beta
        enabled = true
      } else {
        rate = scale * (seconds() - throttledAt - plateau()) ** 3 + lastMaxRate
      }
      refill()
      const next = Math.min(rate, 2 * measuredRate)
      fillRate = Math.max(next, slowest)
      capacity = Math.max(next, smallest)
      tokens = Math.min(tokens, capacity)
    },
    token: async (signal: AbortSignal): Promise<void> => {
      if (!enabled) return
      refill()
      while (tokens < 1) {
        await sleep(((1 - tokens) / fillRate) * 1000, signal)
        refill()
      }
      tokens -= 1
    }
  }
}

const make = (adaptive: boolean) => (setup: Setup) => {
  const [target] = setup.targets
  const nextKey = takingTurns(target.keys)
  const retries = retriesOf(setup, 2)
  const limiter = adaptive ? makeLimiter() : undefined
  let left = quota
  return {
    call: (job: Job): Promise<void> =>
      beforeDeadline(setup, async (signal) => {
        const key = nextKey()
        let refund = 1
        await limiter?.token(signal)
        for (let retry = 0; ; retry++) {
          try {
            await attempt(setup, target, key, job, signal)
            limiter?.observe(false)
            left = Math.min(quota, left + refund)
            return
          } catch (error) {
            if (signal.aborted) throw error
            const type = errorTypeOf(error)
            limiter?.observe(type === "throttling")
            if (type === undefined || retry >= retries || left < edition.cost[type]) throw error
            left -= edition.cost[type]
            refund = edition.cost[type]
            const backoff = Math.floor(setup.random() * Math.min(longestMillis, 2 ** retry * edition.baseMillis[type]))
            await sleep(edition.heed(backoff, askedMillisOf(error)), signal)
            await limiter?.token(signal)
          }
        }
      })
  }
}

const about =
  "3 attempts (11 for batch work) of 429, 500, 502, 503, 504 and network errors; full jitter from 50 ms (throttling 1 s), at most 20 s; retry-after up to 5 s over the backoff; quota 500, a retry costs 14 (throttling 5)"
const source = "@smithy/core 3.41.0 and docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html"
const limiterAbout =
  "behind a rate limiter after CUBIC: beta 0.7, scale 0.4, smooth 0.8, at least 0.5/s, on from the first throttling error"

export const awsStandard: Policy = {
  name: "like AWS SDK, standard",
  kind: "manner",
  about: `${about} (${source})`,
  make: make(false)
}

export const awsAdaptive: Policy = {
  name: "like AWS SDK, adaptive",
  kind: "manner",
  about: `standard, ${limiterAbout} and for retries too (${source})`,
  make: make(true)
}
