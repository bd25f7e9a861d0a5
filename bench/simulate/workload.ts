/**
 * Who asks for what, and when. The jobs and their times depend on the seed alone, so every policy is given the same ones.
 * In an open loop jobs come whether or not earlier ones are done; in a closed loop workers take them from one list, each
 * the next when it is done with its last.
 */
import { exponential, seeded } from "./chance.js"
import type { Client, Job } from "./contract.js"
import type { VirtualClock } from "./time.js"
import { promptOf } from "./wire.js"

/** What became of a job. Times are virtual milliseconds, `NaN` for what has not happened. */
export interface JobRecord {
  readonly id: number
  readonly submittedAt: number
  endedAt: number
  ok: boolean
  /** What the client gave up with. */
  error?: unknown
}

/** From its submission to its end; `Infinity` while there is none. */
export const waitOf = (job: JobRecord): number =>
  Number.isNaN(job.endedAt) ? Number.POSITIVE_INFINITY : job.endedAt - job.submittedAt

export type Workload =
  | { readonly kind: "closed"; readonly workers: number; readonly jobs: number }
  /** `rate` per second, for `millis` from the start. */
  | { readonly kind: "open"; readonly rate: number; readonly millis: number }

export interface JobOptions {
  readonly seed: number
  readonly streaming?: boolean | undefined
  /** Characters, from and to. Default: 40 to 400, 10 to 100 tokens. */
  readonly promptLength?: readonly [number, number] | undefined
  /** Default 100. */
  readonly maxTokens?: number | undefined
}

export const makeJob = (id: number, { maxTokens = 100, promptLength = [40, 400], seed }: JobOptions): Job => {
  const [low, high] = promptLength
  const random = seeded("job", seed, id)
  return { id, prompt: promptOf(id, Math.round(low + (high - low) * random())), maxTokens }
}

/** Submission times of an open workload: a Poisson process. */
export const arrivals = (rate: number, millis: number, seed: number): ReadonlyArray<number> => {
  const random = seeded("arrivals", seed)
  const times: Array<number> = []
  for (let at = exponential(random, 1000 / rate); at < millis; at += exponential(random, 1000 / rate)) times.push(at)
  return times
}

export interface Running {
  readonly jobs: ReadonlyArray<JobRecord>
  /** All were submitted, and all are over. */
  readonly done: () => boolean
  /** Submits no more. */
  readonly stop: () => void
}

/** Submits the jobs of a workload, from now on. */
export const start = (clock: VirtualClock, client: Client, workload: Workload, options: JobOptions): Running => {
  const jobs: Array<JobRecord> = []
  let total = 0
  let over = 0
  let stopped = false

  const submit = (after: () => void): void => {
    const job = makeJob(jobs.length, options)
    const record: JobRecord = { id: job.id, submittedAt: clock.now(), endedAt: Number.NaN, ok: false }
    jobs.push(record)
    const end = (ok: boolean): void => {
      record.ok = ok
      record.endedAt = clock.now()
      over += 1
      after()
    }
    const answer: Promise<unknown> | undefined = options.streaming === true ? client.stream?.(job) : client.call(job)
    answer?.then(
      () => end(true),
      (error: unknown) => {
        record.error = error
        end(false)
      }
    )
  }

  if (workload.kind === "closed") {
    total = workload.jobs
    const next = (): void => {
      if (jobs.length < total && !stopped) submit(next)
    }
    // A millisecond apart: workers that begin at the very same instant exist only in simulations.
    for (let worker = 0; worker < workload.workers; worker++) clock.schedule(worker, next)
  } else {
    const times = arrivals(workload.rate, workload.millis, options.seed)
    total = times.length
    const next = (): void => {
      if (stopped) return
      submit(() => {})
      const at = times[jobs.length]
      if (at !== undefined) clock.schedule(Math.max(0, at - clock.now()), next)
    }
    clock.schedule(times[0] ?? 0, next)
  }
  return {
    jobs,
    done: () => (jobs.length === total || stopped) && over === jobs.length,
    stop: () => {
      stopped = true
    }
  }
}
