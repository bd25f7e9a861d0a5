/**
 * In the manner of LiteLLM's router: a key of a target is a deployment, a target is a model group. A retry picks again
 * among the deployments of the group that are not cooling down, a fallback moves to the next group.
 */
import type { Job, Policy, Setup, Target } from "../contract.js"
import { attempt, beforeDeadline, isNetworkError, Refused, retriesOf, sleep, TimedOut } from "./bare.js"

/** `INITIAL_RETRY_DELAY`, `MAX_RETRY_DELAY` and `JITTER`, which is added, in milliseconds. */
const shortestMillis = 500
const longestMillis = 8000
const jitterMillis = 750
/** The longest `retry-after` that a retry waits for. */
const longestHintMillis = 60_000
/** `DEFAULT_COOLDOWN_TIME_SECONDS`. */
const cooldownMillis = 5000
/** How long failures and successes of a deployment are counted. */
const windowMillis = 60_000
/** `DEFAULT_FAILURE_THRESHOLD_PERCENT` and `DEFAULT_FAILURE_THRESHOLD_MINIMUM_REQUESTS`. */
const failingShare = 0.5
const failingFrom = 5
/** `SINGLE_DEPLOYMENT_TRAFFIC_FAILURE_THRESHOLD`: from here on a deployment that only fails cools down though alone. */
const deadFrom = 1000
/** `ROUTER_MAX_FALLBACKS`. */
const mostFallbacks = 5

class NoDeployment extends Error {
  override readonly name = "NoDeployment"
}

/** A timeout is a 408, an error without a status of its own a 500. */
const statusOf = (error: unknown): number =>
  error instanceof Refused ? error.status : error instanceof TimedOut ? 408 : 500

const isTransient = (status: number): boolean => [408, 409, 429].includes(status) || status >= 500

/** Whole seconds or a date; anything else is as if there was none. */
const hintMillisOf = (error: unknown): number | undefined => {
  const value = error instanceof Refused ? error.headers.get("retry-after") : null
  if (value === null) return undefined
  if (/^\s*\d+\s*$/.test(value)) return Number(value) * 1000
  const date = Date.parse(value)
  return Number.isNaN(date) ? undefined : Math.floor((date - Date.now()) / 1000) * 1000
}

/** Counts within a window that starts at the first count. */
const makeCounter = () => {
  let count = 0
  let until = 0
  const read = () => (Date.now() < until ? count : 0)
  return {
    read,
    add: (): void => {
      count = read() + 1
      if (count === 1) until = Date.now() + windowMillis
    }
  }
}

interface Deployment {
  readonly target: Target
  readonly key: string
  readonly isHealthy: () => boolean
  readonly succeeded: () => void
  readonly failed: (error: unknown) => void
}

const makeDeployment = (target: Target, key: string): Deployment => {
  const isAlone = target.keys.length === 1
  const failures = makeCounter()
  const successes = makeCounter()
  let coolUntil = 0

  const mustCool = (error: unknown): boolean => {
    const status = statusOf(error)
    // Network errors never cool a deployment down, and of 4xx only these do.
    if (isNetworkError(error)) return false
    if (status < 500 && ![401, 404, 408, 429].includes(status)) return false
    if (status === 429 && !isAlone) return true
    const total = failures.read() + successes.read()
    if (successes.read() === 0 && total >= deadFrom) return true
    if (failures.read() / total > failingShare && total >= failingFrom && !isAlone) return true
    return !isTransient(status)
  }

  return {
    target,
    key,
    isHealthy: () => Date.now() >= coolUntil,
    succeeded: successes.add,
    failed: (error) => {
      failures.add()
      const hint = hintMillisOf(error)
      // A `retry-after` of 0 is a cooldown of 0.
      if (hint !== 0 && mustCool(error)) {
        coolUntil = Date.now() + (hint !== undefined && hint > 0 ? hint : cooldownMillis)
      }
    }
  }
}

type Group = ReadonlyArray<Deployment>

const worthRetrying = (error: unknown, group: Group): boolean => {
  const status = statusOf(error)
  if (status === 401 || status === 403) {
    if (group.length === 1) return false
  } else if (!isTransient(status)) {
    return false
  }
  return group.some((deployment) => deployment.isHealthy())
}

const make = (setup: Setup) => {
  const retries = retriesOf(setup, 2)
  const groups: ReadonlyArray<Group> = setup.targets.map((target) =>
    target.keys.map((key) => makeDeployment(target, key))
  )

  /** At once where another deployment may answer, else as long as the error asks for, or a backoff. */
  const pauseMillis = (error: unknown, retry: number, group: Group): number => {
    if (group.length > 1 && group.some((deployment) => deployment.isHealthy())) return 0
    const jitter = jitterMillis * setup.random()
    const hint = hintMillisOf(error)
    if (hint !== undefined && hint > 0 && hint <= longestHintMillis) return hint + jitter
    return Math.min(shortestMillis * 2 ** retry, longestMillis) + jitter
  }

  const runOnce = async (group: Group, skipped: ReadonlySet<Deployment>, job: Job, signal: AbortSignal) => {
    const healthy = group.filter((deployment) => deployment.isHealthy())
    const wanted = healthy.filter((deployment) => !skipped.has(deployment))
    const among = wanted.length > 0 ? wanted : healthy
    const deployment = among[Math.floor(setup.random() * among.length)]
    if (deployment === undefined) throw new NoDeployment("no deployment available")
    try {
      await attempt(setup, deployment.target, deployment.key, job, signal)
      deployment.succeeded()
      return undefined
    } catch (error) {
      if (signal.aborted) throw error
      deployment.failed(error)
      return { deployment, error }
    }
  }

  const withRetries = async (group: Group, job: Job, signal: AbortSignal): Promise<void> => {
    const skipped = new Set<Deployment>()
    for (let retry = 0; ; retry++) {
      const failure = await runOnce(group, skipped, job, signal)
      if (failure === undefined) return
      if (!worthRetrying(failure.error, group)) throw failure.error
      if (!isTransient(statusOf(failure.error))) skipped.add(failure.deployment)
      // The router waits after its last attempt as well.
      await sleep(pauseMillis(failure.error, retry, group), signal)
      if (retry >= retries) throw failure.error
    }
  }

  const withFallbacks = async (job: Job, signal: AbortSignal): Promise<void> => {
    let first: unknown
    for (const [index, group] of groups.slice(0, mostFallbacks + 1).entries()) {
      try {
        return await withRetries(group, job, signal)
      } catch (error) {
        if (signal.aborted) throw error
        if (index === 0) first = error
      }
    }
    throw first
  }

  return { call: (job: Job) => beforeDeadline(setup, (signal) => withFallbacks(job, signal)) }
}

export const litellm: Policy = {
  name: "like LiteLLM",
  kind: "manner",
  about:
    "the router's defaults: simple-shuffle over keys, num_retries 2 (10 for batch work), at once if another key is healthy, else retry-after up to 60 s or 0.5 s doubling to 8 s, plus up to 0.75 s; cooldown 5 s or retry-after on 429 (not if alone), 401, 404, or over half of at least 5 calls failed; then the next target (BerriAI/litellm: router.py, router_utils/cooldown_handlers.py, constants.py, utils.py; docs.litellm.ai/docs/router/learn/reliability)",
  make
}
