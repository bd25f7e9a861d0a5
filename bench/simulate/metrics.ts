/** Numbers from the records of jobs and the provider's log. */
import { type Arrival, isDelivered, type Window } from "./provider.js"
import { type JobRecord, waitOf } from "./workload.js"

/** The value below which a share `q` lies, between neighbours where it falls between; `NaN` of nothing. */
export const quantile = (values: ReadonlyArray<number>, q: number): number => {
  const sorted = values.toSorted((a, b) => a - b)
  const at = (sorted.length - 1) * q
  const low = sorted[Math.floor(at)] ?? Number.NaN
  const high = sorted[Math.ceil(at)] ?? Number.NaN
  return low === high ? low : low + (high - low) * (at - Math.floor(at))
}

export const median = (values: ReadonlyArray<number>): number => quantile(values, 0.5)

export const mean = (values: ReadonlyArray<number>): number =>
  values.length === 0 ? Number.NaN : values.reduce((sum, value) => sum + value, 0) / values.length

export const percent = (part: number, whole: number): number => (whole === 0 ? Number.NaN : (100 * part) / whole)

export const within = ({ from, to }: Window, at: number): boolean => from <= at && at < to

export const submittedIn = (jobs: ReadonlyArray<JobRecord>, window: Window): ReadonlyArray<JobRecord> =>
  jobs.filter(({ submittedAt }) => within(window, submittedAt))

export const arrivedIn = (log: ReadonlyArray<Arrival>, window: Window): ReadonlyArray<Arrival> =>
  log.filter(({ at }) => within(window, at))

/** The share of the jobs that have their answer, in percent. */
export const donePercent = (jobs: ReadonlyArray<JobRecord>): number =>
  percent(jobs.filter(({ ok }) => ok).length, jobs.length)

/** The share of the jobs that have their answer within so many milliseconds, in percent. */
export const inTimePercent = (jobs: ReadonlyArray<JobRecord>, lifeMillis: number): number =>
  percent(jobs.filter((job) => job.ok && waitOf(job) <= lifeMillis).length, jobs.length)

/** How long the jobs with an answer took. */
export const waits = (jobs: ReadonlyArray<JobRecord>): ReadonlyArray<number> => jobs.filter(({ ok }) => ok).map(waitOf)

/** Requests for each answer that a client got. */
export const callsPerAnswer = (log: ReadonlyArray<Arrival>): number => log.length / log.filter(isDelivered).length

/** Requests a second. */
export const rate = (log: ReadonlyArray<Arrival>, window: Window): number =>
  (1000 * arrivedIn(log, window).length) / (window.to - window.from)

/** Requests in each second from the start. */
export const perSecond = (log: ReadonlyArray<Arrival>, seconds: number): ReadonlyArray<number> => {
  const counts = Array.from({ length: seconds }, () => 0)
  for (const { at } of log) {
    const second = Math.floor(at / 1000)
    if (second < seconds) counts[second] = (counts[second] ?? 0) + 1
  }
  return counts
}

/** From the submission of each job to the first token of the answer that it got. */
export const firstTokens = (jobs: ReadonlyArray<JobRecord>, log: ReadonlyArray<Arrival>): ReadonlyArray<number> => {
  const at = new Map<number, number>()
  for (const arrival of log) if (isDelivered(arrival)) at.set(arrival.job, arrival.firstTokenAt)
  return jobs.flatMap(({ id, submittedAt }) => {
    const first = at.get(id)
    return first === undefined ? [] : [first - submittedAt]
  })
}

// -----------------------------------------------------------------------------
// recovery
// -----------------------------------------------------------------------------

/** What counts as recovered: a window of so many milliseconds, of whose jobs so many succeed in time. */
export const recoveryWindow = { millis: 10_000, share: 0.95, within: 2 }

/**
 * Finds the first second after `end` from which the jobs submitted in the 10 seconds that follow succeed to 95 %, each
 * within twice the normal 95th percentile. Asked again as time passes, it goes on where it was; `undefined` until a
 * window is good, and until the jobs of it had the time.
 */
export const recovery = (end: number, normalP95: number) => {
  const limit = recoveryWindow.within * normalP95
  let from = end
  let found: number | undefined
  return (jobs: ReadonlyArray<JobRecord>, now: number): number | undefined => {
    while (found === undefined && from + recoveryWindow.millis + limit <= now) {
      const asked = submittedIn(jobs, { from, to: from + recoveryWindow.millis })
      const good = asked.filter((job) => job.ok && waitOf(job) <= limit).length
      if (asked.length > 0 && good >= recoveryWindow.share * asked.length) found = from - end
      from += 1000
    }
    return found
  }
}
