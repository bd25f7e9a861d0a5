/**
 * What the pages tell of all workers: metrics, and the state of each process.
 *
 * Connections are spread over the workers, so a page is asked of any of them. It asks the primary, and that asks all.
 * The counts of a worker that is gone stay in the sums, as far as they were told.
 *
 * @since 0.2.0
 */

import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Metric from "effect/Metric"
import * as Schema from "effect/Schema"
import * as PrometheusText from "../../observability/PrometheusText.js"
import type { Everywhere, Process } from "../Shared.js"
import type { Port } from "./Port.js"

const Family = Schema.Struct({
  type: Schema.String,
  help: Schema.String,
  shape: Schema.String,
  values: Schema.Array(Schema.Tuple(Schema.String, Schema.Number))
})

const Metrics = Schema.Array(Schema.Tuple(Schema.String, Family))

type Metrics = typeof Metrics.Type

const Told = Schema.Struct({
  pid: Schema.Number,
  running: Schema.Number,
  residentBytes: Schema.Number,
  clients: Schema.Record({ key: Schema.String, value: Schema.Number }),
  callLog: Schema.optional(Schema.Record({ key: Schema.String, value: Schema.Number }))
})

const All = Schema.Struct({
  processes: Schema.Array(Told),
  clients: Schema.Record({
    key: Schema.String,
    value: Schema.Struct({ running: Schema.Number, usdToday: Schema.optional(Schema.Number) })
  })
})

const metricsOf = Schema.decodeUnknownEither(Metrics)
const toldOf = Schema.decodeUnknownEither(Told)

/** Whether a sum goes on when a process ends. */
const isLasting = (type: string): boolean => type === "counter" || type === "histogram"

/**
 * The sum of metrics. A name whose type or boundaries differ is left out after the first.
 *
 * @internal
 */
export const sum = (all: ReadonlyArray<Metrics>): Metrics => {
  const families = new Map<string, Omit<PrometheusText.Family, "values"> & { readonly values: Map<string, number> }>()
  for (const [name, { values, ...about }] of all.flat()) {
    const family = families.get(name) ?? { ...about, values: new Map<string, number>() }
    families.set(name, family)
    if (family.type !== about.type || family.shape !== about.shape) continue
    for (const [series, value] of values) family.values.set(series, (family.values.get(series) ?? 0) + value)
  }
  return Array.from(families, ([name, { values, ...about }]) => [name, { ...about, values: [...values] }] as const)
}

const here = (): Metrics =>
  Array.from(
    PrometheusText.families(Metric.unsafeSnapshot()),
    ([name, { help, shape, type, values }]) =>
      [
        name,
        { help, shape, type, values: Array.from(values, ([series, value]) => [series, Number(value)] as const) }
      ] as const
  )

/** A worker that does not answer so long is left out, or told by its last words; in milliseconds. */
const patience = 500

/**
 * The primary's half. `ports` are the lines to the workers, and `clients` tells what the clients with limits use.
 *
 * @internal
 */
export const make = (ports: () => Iterable<Port>, clients: () => Everywhere["clients"]) => {
  const last = new Map<Port, Metrics>()
  let gone: Metrics = []

  /** Asks all workers, and goes on with what each said, or with `undefined`. */
  const ask = (op: string, then: (answers: ReadonlyArray<readonly [Port, unknown]>) => void): void => {
    const all = [...ports()]
    const answers = new Map<Port, unknown>()
    const done = (): void => {
      clearTimeout(timer)
      then(all.map((port) => [port, answers.get(port)]))
    }
    const timer = setTimeout(done, patience)
    for (const port of all) {
      port.post(op, undefined, (value) => {
        answers.set(port, value)
        if (answers.size === all.length) done()
      })
    }
  }

  const keep = (port: Port, value: unknown): void => {
    const read = metricsOf(value)
    if (Either.isRight(read)) last.set(port, read.right)
  }

  return {
    serve: (port: Port): (() => void) => {
      port.on("all-metrics", Schema.Undefined, (_, reply) =>
        ask("metrics", (answers) => {
          for (const [from, value] of answers) keep(from, value)
          reply(sum([gone, ...answers.flatMap(([from]) => [last.get(from) ?? []])]))
        })
      )
      port.on("last-metrics", Schema.Unknown, (value) => keep(port, value))
      port.on("everywhere", Schema.Undefined, (_, reply) =>
        ask("told", (answers) => {
          const processes = answers.flatMap(([, value]) => {
            const read = toldOf(value)
            return Either.isRight(read) ? [read.right] : []
          })
          reply({ processes, clients: clients() })
        })
      )
      return () => {
        gone = sum([gone, (last.get(port) ?? []).filter(([, { type }]) => isLasting(type))])
        last.delete(port)
      }
    }
  }
}

const textOf = (metrics: Metrics): string =>
  PrometheusText.textOf(new Map(metrics.map(([name, family]) => [name, { ...family, values: new Map(family.values) }])))

/**
 * The worker's half.
 *
 * @internal
 */
export const of = (port: Port) => {
  port.on("metrics", Schema.Undefined, (_, reply) => reply(here()))
  return {
    metrics: Effect.map(Effect.orDie(port.ask("all-metrics", undefined, Metrics)), textOf),
    everywhere: Effect.orDie(port.ask("everywhere", undefined, All)),
    tells: (process: Effect.Effect<Process>): void =>
      port.on("told", Schema.Undefined, (_, reply) => reply(Effect.runSync(process))),
    /** The last words of a worker that ends in order. */
    end: (): void => port.note("last-metrics", here())
  }
}
