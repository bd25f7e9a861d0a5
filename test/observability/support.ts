import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import { CallRecord, type LlmError } from "effect-steadfast"
import { errorOf } from "../support/errors.js"

/** What matters of a call in a record. */
export interface Sketch {
  readonly target?: string
  /** The errors of its first attempts. */
  readonly errors?: ReadonlyArray<LlmError.Tag>
  /** Whether an attempt then served it. Default true. */
  readonly served?: boolean
  /** The target of the attempt that served it, if another. */
  readonly servedBy?: string
  readonly backoffMillis?: number
  readonly queuedMillis?: number
  /** What each attempt cost. */
  readonly usd?: number
  readonly id?: string
}

const split = (target: string) => {
  const [provider = "", model = ""] = target.split("/")
  return { provider, model }
}

/** The record of such a call. */
export const recordOf = (sketch: Sketch = {}): CallRecord.CallRecord => {
  const { backoffMillis, errors = [], id = "call", queuedMillis, served = true, servedBy, usd } = sketch
  const target = sketch.target ?? "openai/gpt-4o"
  const money = usd === undefined ? {} : { usd, usage: { inputTokens: 1, outputTokens: 1 } }
  const attempts: Array<CallRecord.AttemptRecord> = errors.map((tag, index) => ({
    index: index + 1,
    ...split(target),
    startedAt: 0,
    durationMillis: 10,
    outcome: "failure",
    error: errorOf(tag, split(target)),
    ...money
  }))
  if (served) {
    attempts.push({
      index: attempts.length + 1,
      ...split(servedBy ?? target),
      startedAt: 0,
      durationMillis: 10,
      outcome: "success",
      ...(servedBy === undefined ? {} : { fallback: { from: target, reason: errors[0] ?? "CircuitOpen" } }),
      ...(errors.length > 0 && backoffMillis !== undefined
        ? { retry: { delayMillis: backoffMillis, reason: "backoff" } }
        : {}),
      ...(queuedMillis === undefined ? {} : { queuedMillis }),
      ...money
    })
  }
  return {
    id,
    name: "test",
    operation: "chat",
    startedAt: 0,
    durationMillis: 10,
    outcome: served ? "success" : "failure",
    ...(served ? {} : { error: errorOf(errors.at(-1) ?? "CircuitOpen", split(target)) }),
    attempts
  }
}

/** Leaves only what is still reachable: so many bytes. */
export const collectGarbage = (): number => {
  setFlagsFromString("--expose-gc")
  const collect = runInNewContext("gc") as () => void
  collect()
  return process.memoryUsage().heapUsed
}
