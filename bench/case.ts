/**
 * What is measured, and how a process measures it. A case has a process of its own, so that code which the compiler made
 * for one does not serve another. It is warmed up, and then runs long enough to pay for its garbage: what counts is the
 * mean of the processor's time, in the process and in the kernel.
 */
import { GCProfiler } from "node:v8"

/** Figures by name. Times are microseconds, sizes are bytes. */
export type Figures = Readonly<Record<string, number>>

/** Seconds of the processor: of the warm-up, if its calls do not take longer, and of the run. */
export interface Settings {
  readonly warm: number
  /** Calls of the warm-up, at the least: what is not compiled yet is not measured on a slow machine either. */
  readonly least: number
  readonly seconds: number
}

/** Runs an operation so many times. */
export type Batch = (times: number) => Promise<void>

/** What a case measures: an operation, or something that has its own way. */
export type Subject =
  | { readonly batch: Batch }
  | {
      readonly sample: (settings: Settings) => Promise<Figures>
      /** Tells how many calls the warm-up had. */
      readonly warm?: (settings: Settings) => Promise<number>
      readonly batch?: never
    }

/** What a process is asked for: to warm up, which tells the calls of it, or for the figures of a round. */
export interface Asked {
  readonly what: "warm" | "round"
  readonly settings: Settings
}

/** A bound of a figure; with `against`, of its ratio to that figure of another case. */
export interface Goal {
  readonly figure: string
  readonly against?: string
  readonly most?: number
  readonly least?: number
}

export interface Case {
  readonly name: string
  /** Runs in the process that measures; so what it needs is imported in it. */
  readonly make: () => Promise<Subject>
  /** What it is compared with, if not with that of its table. */
  readonly base?: string
  readonly goals?: ReadonlyArray<Goal>
  /** How many usual operations one of it is as long as: its warm-up has so many times fewer calls. */
  readonly units?: number
  /** In how many rounds it runs, if not in all: one is enough for what is only there to be seen. */
  readonly rounds?: number
}

/** A case that is there for comparison alone: it runs once. */
export const once = (self: Case): Case => ({ ...self, rounds: 1 })

/** A row that is computed from the others. */
export interface Derived extends Omit<Case, "make" | "rounds" | "units"> {
  readonly from: (of: (name: string) => Figures) => Figures
}

/** Bytes of each unit of size. */
export const units = { kB: 1000, KiB: 1024, MiB: 1024 * 1024 }

export type Unit = keyof typeof units

export interface Column {
  readonly head: string
  readonly figure: string
  /** `ratio` and `added` are against the base; `spread` is of the rounds, in per cent of their mean. */
  readonly show: "mean" | "spread" | "ratio" | "added"
  readonly digits?: number
  /** Of a size. */
  readonly unit?: Unit
}

export interface Table {
  readonly title: string
  readonly cases: ReadonlyArray<Case>
  readonly derived?: ReadonlyArray<Derived>
  readonly columns?: ReadonlyArray<Column>
  readonly base?: string
  /** Of the usual length of a warm-up and a run; 1 if not given. */
  readonly length?: number
  readonly rounds?: number
  /** What cannot be measured twice in one process, or must be cold, has a new process in each round. */
  readonly fresh?: boolean
  readonly note?: string
}

// -----------------------------------------------------------------------------
// measuring
// -----------------------------------------------------------------------------

/** An operation that is a promise, from its start until it is settled. */
export const promiseBatch =
  (run: () => Promise<unknown>): Batch =>
  async (times) => {
    for (let i = 0; i < times; i++) await run()
  }

/** Calls of the warm-up: at the most, and at the least in one of usual length, however long they take. */
export const warmCalls = { most: 50_000, least: 8000 }

/** Seconds of the processor that this process has used. */
const used = (): number => {
  const { system, user } = process.cpuUsage()
  return (system + user) / 1e6
}

/** Runs a batch until it is enough; the batches grow to some twentieth of a second. */
const runUntil = async (batch: Batch, isEnough: (calls: number, seconds: number) => boolean): Promise<number> => {
  const start = used()
  let size = 1
  let calls = 0
  while (!isEnough(calls, used() - start)) {
    const before = performance.now()
    await batch(size)
    calls += size
    const each = (performance.now() - before) / size
    size = Math.max(1, Math.min(2 * size, Math.ceil(50 / each)))
  }
  return calls
}

/** Bytes that a run allocates on the heap: what is there after it, and what was collected meanwhile. */
export const allocated = async (run: () => Promise<unknown>): Promise<number> => {
  const profiler = new GCProfiler()
  profiler.start()
  const before = process.memoryUsage().heapUsed
  await run()
  const after = process.memoryUsage().heapUsed
  const collected = profiler
    .stop()
    .statistics.reduce(
      (sum, { afterGC, beforeGC }) => sum + beforeGC.heapStatistics.usedHeapSize - afterGC.heapStatistics.usedHeapSize,
      0
    )
  return after - before + collected
}

/** Runs an operation until its code is compiled: how many calls that were. */
export const warmUp = (batch: Batch, { least, warm }: Settings): Promise<number> =>
  runUntil(batch, (calls, seconds) => calls >= warmCalls.most || (seconds >= warm && calls >= least))

/** A long run, and a short one that counts bytes. */
export const measure = async (batch: Batch, { seconds }: Settings): Promise<Figures> => {
  const start = performance.now()
  const before = used()
  const calls = await runUntil(batch, (_, used) => used >= seconds)
  const cpu = (1e6 * (used() - before)) / calls
  const wall = (1000 * (performance.now() - start)) / calls
  const few = Math.max(1, Math.ceil(calls / 10))
  const bytes = (await allocated(() => batch(few))) / few
  return { cpu, wall, bytes, calls }
}

export const mean = (values: ReadonlyArray<number>): number =>
  values.reduce((sum, value) => sum + value, 0) / values.length
