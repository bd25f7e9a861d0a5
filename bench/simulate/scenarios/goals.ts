/** The numbers that every table about jobs begins with, and the goals that several scenarios share. */
import * as Metrics from "../metrics.js"
import { type Arrival, refusalMillis, type Window } from "../provider.js"
import type { Goal, Metric, Run } from "../scenario.js"
import { type JobRecord, waitOf } from "../workload.js"
import { seconds } from "./support.js"

/** The time that is left to a job for one answer: more than the 99th percentile of answers about 0.3 s. */
const margin = seconds(1)

// -----------------------------------------------------------------------------
// metrics
// -----------------------------------------------------------------------------

export const doneMetrics: ReadonlyArray<Metric> = [
  { name: "done", unit: "%", digits: 1 },
  { name: "done in time", unit: "%", digits: 1 }
]

export const waitMetrics: ReadonlyArray<Metric> = [
  { name: "median wait", unit: "s", digits: 1 },
  { name: "p95 wait", unit: "s", digits: 1 }
]

export const outageMetrics: ReadonlyArray<Metric> = [
  { name: "possible done", unit: "%", digits: 1 },
  { name: "of the outage", unit: "%", digits: 1 },
  { name: "calls in outage", unit: "" },
  { name: "queue empty", unit: "s", digits: 1 }
]

export const callsMetric: Metric = { name: "calls per answer", unit: "", digits: 2 }

// -----------------------------------------------------------------------------
// numbers
// -----------------------------------------------------------------------------

type Numbers = Readonly<Record<string, number>>

export const doneNumbers = ({ jobs }: Run, lifeMillis: number): Numbers => ({
  done: Metrics.donePercent(jobs),
  "done in time": Metrics.inTimePercent(jobs, lifeMillis)
})

export const waitNumbers = ({ jobs }: Run): Numbers => ({
  "median wait": Metrics.median(Metrics.waits(jobs)) / 1000,
  "p95 wait": Metrics.quantile(Metrics.waits(jobs), 0.95) / 1000
})

/** Jobs whose time to live ends after the outage, late enough for one answer. */
const possible = (jobs: ReadonlyArray<JobRecord>, lifeMillis: number, { to }: Window): ReadonlyArray<JobRecord> =>
  jobs.filter(({ submittedAt }) => submittedAt + lifeMillis >= to + margin)

/** From the end of the outage until these jobs that came before it are done; `Infinity` where one of them never is. */
const emptyAfter = (jobs: ReadonlyArray<JobRecord>, { to }: Window): number =>
  Math.max(
    0,
    ...jobs
      .filter(({ submittedAt }) => submittedAt < to)
      .map(({ endedAt, ok }) => (ok ? endedAt - to : Number.POSITIVE_INFINITY))
  )

export const outageNumbers = ({ jobs, log }: Run, lifeMillis: number, outage: Window): Numbers => {
  const saved = possible(jobs, lifeMillis, outage)
  return {
    "possible done": Metrics.donePercent(saved),
    "of the outage": Metrics.donePercent(Metrics.submittedIn(saved, outage)),
    "calls in outage": Metrics.arrivedIn(log, outage).length,
    "queue empty": emptyAfter(saved, outage) / 1000
  }
}

/** When a client knew how a request ended; `NaN` while it did not. */
const settledAt = ({ at, cancelledAt, endedAt, status }: Arrival): number =>
  !Number.isNaN(cancelledAt)
    ? cancelledAt
    : !Number.isNaN(endedAt)
      ? endedAt
      : status === 0
        ? Number.NaN
        : at + refusalMillis

/**
 * How long jobs are kept that cannot be done any more: from the last news that came of the provider within their time
 * to live, or from their submission, to their end. The 95th percentile in milliseconds, 0 where all are done.
 */
export const keptInVain = ({ jobs, log }: Run, lifeMillis: number): number => {
  const news = log
    .map(settledAt)
    .filter((at) => !Number.isNaN(at))
    .toSorted((a, b) => a - b)
  const failed = jobs.filter((job) => !job.ok)
  const kept = failed.map((job) => {
    const last = news.findLast((at) => at <= job.submittedAt + lifeMillis) ?? 0
    return Math.max(0, waitOf(job) - Math.max(0, last - job.submittedAt))
  })
  return kept.length === 0 ? 0 : Metrics.quantile(kept, 0.95)
}

// -----------------------------------------------------------------------------
// goals
// -----------------------------------------------------------------------------

export const allDone: Goal = { metric: "done", is: ">=", value: 100 }
export const allInTime: Goal = { metric: "done in time", is: ">=", value: 100 }
export const atMost = (metric: string, value: number): Goal => ({ metric, is: "<=", value })
export const atLeast = (metric: string, value: number): Goal => ({ metric, is: ">=", value })
