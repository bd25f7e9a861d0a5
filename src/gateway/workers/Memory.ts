/**
 * The remembered failures of all workers: what one remembers, the others learn. A client that repeats a failed request
 * on another connection meets another worker.
 *
 * @since 0.2.0
 */

import * as Schema from "effect/Schema"
import type { Echo, Known } from "../Failures.js"
import type { Port } from "./Port.js"

const Failed = Schema.Struct({
  key: Schema.String,
  model: Schema.String,
  response: Schema.Struct({
    status: Schema.Number,
    headers: Schema.Record({ key: Schema.String, value: Schema.String }),
    body: Schema.Record({ key: Schema.String, value: Schema.Unknown })
  }),
  millis: Schema.Number
})

/** A worker that is new learns as many. */
const most = 4096

/**
 * The primary's half. `others` are the lines to the workers but that one.
 *
 * @internal
 */
export const make = (others: (port: Port) => Iterable<Port>) => {
  const failures = new Map<string, typeof Failed.Type & { readonly until: number }>()
  const drop = (now: number): void => {
    for (const [key, { until }] of failures) {
      if (until > now && failures.size < most) return
      failures.delete(key)
    }
  }
  return {
    /** Forgets all: the configuration has changed. */
    clear: (): void => failures.clear(),
    serve: (port: Port): void => {
      const now = performance.now()
      drop(now)
      for (const { until, ...failed } of failures.values()) port.note("learn", { ...failed, millis: until - now })
      port.on("failed", Failed, (failed) => {
        const now = performance.now()
        drop(now)
        failures.set(failed.key, { ...failed, until: now + failed.millis })
        for (const other of others(port)) other.note("learn", failed)
      })
      port.on("answered", Schema.String, (model) => {
        for (const [key, failed] of failures) if (failed.model === model) failures.delete(key)
        for (const other of others(port)) other.note("forget", model)
      })
    }
  }
}

/**
 * The worker's half.
 *
 * @internal
 */
export const echo =
  (port: Port) =>
  (known: Known): Echo => {
    port.on("learn", Failed, ({ key, millis, model, response }) => known.learn(key, model, response, millis))
    port.on("forget", Schema.String, known.forget)
    return {
      added: (key, model, response, millis) => port.note("failed", { key, model, response, millis }),
      answered: (model) => port.note("answered", model)
    }
  }
