/**
 * Instruments: Effect metrics made from the table, with a bounded number of series.
 *
 * The tags of a series are one array that is kept: Effect finds a series by the identity of that array, without a hash.
 *
 * @since 0.2.0
 */

import * as Metric from "effect/Metric"
import * as MetricBoundaries from "effect/MetricBoundaries"
import * as MetricLabel from "effect/MetricLabel"
import type { Definition } from "./MetricTable.js"

/** What an attribute says beyond its bound. */
const other = "other"

/** The most values of an attribute: a gateway with some hundred models is large. */
const maxValues = 256

/** The most values of a label: each of them multiplies the series of many metrics. */
const maxLabelValues = 64

/** The most series of one metric: the default limit of the OpenTelemetry SDKs. */
const maxSeries = 2000

/** Models and errors have shorter names; what a server sends may not. */
const maxLength = 256

/** The prefix of the attributes that come from labels. */
const label = "steadfast.label."

/**
 * The values of attributes so far. The first ones are kept, the rest become `other`.
 *
 * @internal
 */
export interface Bounds {
  readonly of: (attribute: string, value: string) => string
}

/**
 * @internal
 */
export const bounds = (): Bounds => {
  const known = new Map<string, Set<string>>()
  return {
    of: (attribute, value) => {
      let values = known.get(attribute)
      if (values === undefined) {
        values = new Set()
        known.set(attribute, values)
      }
      const short = value.length > maxLength ? value.slice(0, maxLength) : value
      if (values.has(short)) return short
      if (values.size >= (attribute.startsWith(label) ? maxLabelValues : maxValues)) return other
      values.add(short)
      return short
    }
  }
}

type Tags = ReadonlyArray<MetricLabel.MetricLabel>

/**
 * Made once for each definition: to Effect's registry two histograms of one name are two, as their boundaries are equal
 * only if they are the same object.
 */
const made = new WeakMap<Definition, ReturnType<typeof metricOf>>()

const metricOf = ({
  boundaries,
  description,
  kind,
  name
}: Definition): { readonly unsafeUpdate: (amount: number, tags: Tags) => void } => {
  switch (kind) {
    case "counter":
      // Without `incremental` exporters take it for a gauge.
      return Metric.counter(name, { description, incremental: true })
    case "gauge":
      return Metric.gauge(name, { description })
    case "histogram":
      return Metric.histogram(name, MetricBoundaries.fromIterable(boundaries ?? []), description)
  }
}

type Values = ReadonlyArray<string | undefined>

/** A tree of the series by their values, one after the other: a joined text would be hashed for each update. */
interface Branch {
  readonly next: Map<string | undefined, Branch>
  tags: Tags | undefined
}

const branch = (): Branch => ({ next: new Map(), tags: undefined })

/**
 * Changes the series of these values by an amount. An attribute whose value is `undefined` is left out.
 *
 * @internal
 */
export type Instrument = (amount: number, values: Values) => void

/**
 * @internal
 */
export const make = (definition: Definition, bounds: Bounds, labels: ReadonlyArray<string> = []): Instrument => {
  const metric = made.get(definition) ?? metricOf(definition)
  made.set(definition, metric)
  const names =
    definition.labels === true
      ? [...definition.attributes, ...labels.map((name) => label + name)]
      : definition.attributes
  const known = new Map<string, Tags>()
  const overflow = names.map((name) => MetricLabel.make(name, other))

  /** The series within the bounds; `undefined` if there is none. */
  const bounded = (values: Values): Tags | undefined => {
    const own = names.map((name, index) => {
      const value = values[index]
      return value === undefined ? undefined : bounds.of(name, value)
    })
    // The last one of several would hide the others.
    if (definition.kind === "gauge" && own.includes(other)) return undefined
    const key = own.map((value) => (value === undefined ? "\u0001" : `${value}\u0000`)).join("")
    const found = known.get(key)
    if (found !== undefined) return found
    if (known.size >= maxSeries) return definition.kind === "gauge" ? undefined : overflow
    const tags = names.flatMap((name, index) => {
      const value = own[index]
      return value === undefined ? [] : [MetricLabel.make(name, value)]
    })
    known.set(key, tags)
    return tags
  }

  // The bounds never change what they said of a value: a series that was found stays the one of its values.
  const seen = branch()
  let size = 0
  const find = (values: Values): Branch | undefined => {
    let at: Branch | undefined = seen
    for (let index = 0; index < names.length && at !== undefined; index++) at = at.next.get(values[index])
    return at
  }
  const keep = (values: Values, tags: Tags): void => {
    let at = seen
    for (let index = 0; index < names.length; index++) {
      const next = at.next.get(values[index]) ?? branch()
      at.next.set(values[index], next)
      at = next
    }
    at.tags = tags
    size++
  }
  const seriesOf = (values: Values): Tags | undefined => {
    const known = find(values)?.tags
    if (known !== undefined) return known
    const tags = bounded(values)
    const isShort = values.every((value) => value === undefined || value.length <= maxLength)
    if (tags !== undefined && size < maxSeries && isShort) keep(values, tags)
    return tags
  }

  return (amount, values) => {
    const tags = seriesOf(values)
    if (tags !== undefined) metric.unsafeUpdate(amount, tags)
  }
}
